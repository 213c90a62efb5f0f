"""Value checks: the package against facts that share no line with it.

A check compares some functions of the package with an oracle, with fractions or closed forms worked out by hand, with loops, or
with a law, and returns its worst error in units of its tolerance.  A tolerance is some thousands of roundings, so that another
way of writing the same formula passes; how near to the last bit a formula comes is judged by `conformance.accuracy`.  Where
something is drawn, the seed is fixed, and the chance of a false alarm with another one is stated.

Every check is shown failing: for each there is a named mistake (`conformance.mistakes`) that it finds.
"""

from refdpm.conformance.checks import binomial, bits, heartbeat, data, image, image_network, model, objective, process, product
from refdpm.conformance.checks import categorical, later, later_chain, norm
from refdpm.conformance.checks.common import Check, residual

CHECKS: tuple[Check, ...] = (process.CHECKS + binomial.CHECKS + objective.CHECKS + bits.CHECKS + model.CHECKS + product.CHECKS
                             + data.CHECKS + heartbeat.CHECKS + image.CHECKS + image_network.CHECKS
                             + later.CHECKS + later_chain.CHECKS + categorical.CHECKS + norm.CHECKS)

__all__ = ["CHECKS", "Check", "residual"]
