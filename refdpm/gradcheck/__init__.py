"""Is a gradient the adjoint of its function?  Answered to rounding error, for the pairs of this package and for anybody's function.

An analytic f has Im f(x + ihv)/h = J v + O(h²), and nothing is subtracted: with h = 1e-20 the directional derivative is
exact to rounding.  If pullback(w) = Jᵀw, then ⟨w, J v⟩ = ⟨Jᵀw, v⟩ for every v and w.  The *adjoint gap* is the difference of
the two sides, relative to the size of what was multiplied.

v and w are random, never all ones, which many a transposed, permuted or averaged gradient would pass.

A gap of 1e-16 proves that f and f_vjp agree.  It cannot prove that f is right; that is what `oracles` are for.

    derivative      J v by the complex step and by differences, and the gap
    contract        the pairs of this package, and what `vjp` demands of them
    forms           the ways in which people write a gradient, and the arguments leaf by leaf
    question        a function and its gradient, asked leaf by leaf
    symptoms        what a wrong gradient is likely to be
    anybody         `adjoint_gaps` and `assert_adjoint` for a function of anybody's
    worked          one layer worked through: a mistake in its gradient, and what is said of it
"""

from refdpm.gradcheck.anybody import Gap, adjoint_gaps, assert_adjoint
from refdpm.gradcheck.contract import Pair, argument_names, asymmetry, breaches, contract_breaches, gaps, pairs
from refdpm.gradcheck.derivative import FLOOR, GAP, differences, directional, inner, norm, random_like, relative_gap

__all__ = [
    "FLOOR", "GAP", "Gap", "Pair", "adjoint_gaps", "argument_names", "assert_adjoint", "asymmetry", "breaches", "contract_breaches",
    "differences", "directional", "gaps", "inner", "norm", "pairs", "random_like", "relative_gap",
]
