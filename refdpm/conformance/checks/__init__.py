"""Value checks: the package against facts that share no line with it, nor with the textbook.

A check compares some functions of the package with an oracle (enumeration, quadrature, linear Gaussian models), with numbers that
come out by hand, or with a law, and returns its worst error in units of its tolerance.  What a formula gives is not computed again:
`conformance.accuracy` compares every function with the textbook in digits.  Checks are evidence of another kind, which a misprint
in the textbook would not survive; and they judge what no formula can, as paths, draws and optimisers.  A tolerance is some
thousands of roundings.  Where something is drawn, the seed is fixed, and the chance of a false alarm with another one is stated.

Every check is shown failing: for each there is a named mistake (`conformance.mistakes`) that it finds.
"""

from refdpm.conformance.checks import (binomial, bits, categorical, data, heartbeat, image_network, later, later_chain, later_flow,
                                       layers, model, objective, process, product)
from refdpm.conformance.checks.common import Check, residual

CHECKS: tuple[Check, ...] = tuple(
    found for module in (process, binomial, objective, bits, model, product, data, heartbeat, layers, image_network, later,
                         later_chain, later_flow, categorical)
    for found in vars(module).values() if isinstance(found, Check))

__all__ = ["CHECKS", "Check", "residual"]
