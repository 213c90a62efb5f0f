"""How uncertain a reverse step is: the two bounds on its entropy (eq. 24, appendix A).

    H(X_t|X_{t−1}) + H(X_{t−1}|X_0) − H(X_t|X_0)  ≤  H(X_{t−1}|X_t)  ≤  H(X_t|X_{t−1})

The middle is the entropy of the true reverse step, which nobody knows for real data; both sides are known from the forward process.
The entropy of a pair does not depend on the order of its two members (eq. 25), and the chain rule can begin with either of them
(eq. 26).  Hence the middle:

    H(X_{t−1}|X_t) = H(X_t|X_{t−1}) + H(X_{t−1}) − H(X_t)                                                               (eq. 27)

So both bounds are bounds on H(X_{t−1}) − H(X_t).

**The lower bound** always holds.  After a further step of a Markov chain its start is not better known: H(X_0|X_t) is at least
H(X_0|X_{t−1}) (eq. 31).  Add H(X_0|X_{t−1}) − H(X_0|X_t) ≤ 0 to the difference (eq. 32), write the sums as entropies of pairs by
the chain rule (eq. 33), and use the chain rule with X_0 first, where H(X_0) cancels (eq. 34):

    H(X_{t−1}) − H(X_t)  ≥  [H(X_0|X_{t−1}) + H(X_{t−1})] − [H(X_0|X_t) + H(X_t)]
                         =  H(X_0, X_{t−1}) − H(X_0, X_t)  =  H(X_{t−1}|X_0) − H(X_t|X_0)

With this in eq. 27 the lower bound follows (eq. 35).

**The upper bound** (eq. 30) is the same as H(X_t) ≥ H(X_{t−1}) (eqs. 28, 29).  The paper's reason is that π has the largest
entropy, but this does not prove it.  Write D_t = KL(q(x_t) ‖ π) = −H(X_t) − E log π(x_t).  In both kernels (see `bound`)
E log π(x_t) = ᾱ_t E log π(x_0) − (1−ᾱ_t) H(π), so that

    H(X_t) − H(X_{t−1}) = [D_{t−1} − D_t] + (ᾱ_{t−1} − ᾱ_t) [E log π(x_0) + H(π)].

The first bracket is never negative: a step of the chain brings no law further from π.  So it is enough, for every t, that

    E log π(x_0) ≥ −H(π)        normal π: E|x_0|² ≤ n        bits: (M − n·r) log(r/(1−r)) ≥ 0, M the expected number of ones

which for r < ½ means no more ones than under π, and for r = ½ is always true.  It is the condition C ≥ 0, under which K is sure
to be a bound (see `bound`).  The condition is not necessary, because the first bracket may be larger than the second term is
negative.  Three examples in which it does not hold:

    N(0, s), s > 1                      the upper bound fails at every t: the variance falls, and with it the entropy
    x_0 = ±10, β_t = 0.1                it holds for t = 2..25, while the two humps widen, and fails from t = 26 on, when they merge
    three fair bits, r = 0.2            it fails at every t.

The bounds are for one step (eq. 36).  Their sums over t only say that H(X_0) ≤ H(X_T), and for bits that x_T tells at most H(X_0)
about x_0.
"""

from typing import NamedTuple

import numpy as np

from refdpm import schedule
from refdpm.bound import entropy_at
from refdpm.doors import open_doors
from refdpm.likelihood import total
from refdpm.paper import eq
from refdpm.vjp import Array, Module


class EntropyBounds(NamedTuple):
    """Bounds on H(X_{t−1} | X_t), in nats, per example; their averages are the bounds, `upper` only if H(X_t) ≥ H(X_{t−1})."""

    lower: Array
    upper: Array


@eq("24", "30", "35", "36")
def entropy_bounds(beta: Array, x_0: Array, *, t: int, noise: Array, kernel: Module) -> EntropyBounds:
    """Both sides of eq. 24 per example, to be averaged.  The upper one is sure to be a bound if E log π(x_0) ≥ −H(π), see above.

    H(X_t|X_{t−1}) is taken at an x_{t−1} drawn with frozen noise; for Gaussian steps and for bits with r = ½ all are alike.

    Shapes: beta (T+1,), x_0 and noise (N, …) → two arrays (N,).
    Domain: t = 2..T; at t = 1 the lower bound contains H(X_0|X_0), which is −∞ for densities and says nothing.
    """
    schedule.check(beta, t=t, first=1)
    step = schedule.step_at(beta, t=np.full(len(x_0), t), ndim=x_0.ndim)
    x_prev = kernel.draw(kernel.marginal(x_0, step.log_alpha_bar_prev), noise=noise)
    upper = total(kernel.entropy(kernel.forward(x_prev, np.broadcast_to(step.beta, x_prev.shape))))
    gained = entropy_at(beta, x_0, t=t, kernel=kernel) - entropy_at(beta, x_0, t=t - 1, kernel=kernel)
    return EntropyBounds(upper - gained, upper)


open_doors(globals())
