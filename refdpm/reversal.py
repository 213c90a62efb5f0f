"""How much a reverse step can be expected to know: the two bounds on its entropy (eq. 24, appendix A).

    H(X_t|X_{t−1}) + H(X_{t−1}|X_0) − H(X_t|X_0)  ≤  H(X_{t−1}|X_t)  ≤  H(X_t|X_{t−1})

The middle is the entropy of the true reverse step, which nobody knows for real data; both sides come from the forward process.
The entropy of a pair does not depend on its order (eq. 25), and the chain rule splits it in both ways (eq. 26).  Hence the middle:

    H(X_{t−1}|X_t) = H(X_t|X_{t−1}) + H(X_{t−1}) − H(X_t)                                                               (eq. 27)

So both bounds are bounds on H(X_{t−1}) − H(X_t).

**The lower bound** holds always.  A further step of a Markov chain does not tell more about its start: H(X_0|X_t) is at least
H(X_0|X_{t−1}) (eq. 31).  Add that to the difference (eq. 32), join the entropies to those of pairs by the chain rule (eq. 33), and
split the pairs the other way, where H(X_0) cancels (eq. 34):

    H(X_{t−1}) − H(X_t)  ≥  [H(X_0|X_{t−1}) + H(X_{t−1})] − [H(X_0|X_t) + H(X_t)]
                         =  H(X_0, X_{t−1}) − H(X_0, X_t)  =  H(X_{t−1}|X_0) − H(X_t|X_0)

Put into eq. 27, that is the lower bound (eq. 35).

**The upper bound** (eq. 30) is the same as H(X_t) ≥ H(X_{t−1}) (eqs. 28, 29).  The paper argues that π has the largest entropy,
which does not prove it.  Write D_t = KL(q(x_t) ‖ π) = −H(X_t) − E log π(x_t).  In both kernels (see `bound`)
E log π(x_t) = ᾱ_t E log π(x_0) − (1−ᾱ_t) H(π), so that

    H(X_t) − H(X_{t−1}) = [D_{t−1} − D_t] + (ᾱ_{t−1} − ᾱ_t) [E log π(x_0) + H(π)].

The first bracket is never negative: a step of the chain brings no law further from π.  So it is enough, for every t, that

    E log π(x_0) ≥ −H(π)        normal π: E|x_0|² ≤ n        bits: (M − n·r) log(r/(1−r)) ≥ 0, M the expected number of ones

which for r < ½ means no more ones than under π, and for r = ½ is always true.  It is the condition C ≥ 0, under which K is sure
to be a bound (see `bound`).  It is not necessary, because D may fall by more than the second term takes away.
Where it does not hold,

    N(0, s), s > 1                      the upper bound fails at every t: the variance falls, and with it the entropy
    x_0 = ±10, β_t = 0.1                it holds for t = 2..25, while the two humps widen, and fails from t = 26 on, when they merge
    three fair bits, r = 0.2            it fails at every t.

Summed over t the bounds say no more than H(X_0) ≤ H(X_T), and for bits that x_T tells at most H(X_0) about x_0.  They are for one
step (eq. 36).
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
    """Bounds on H(X_{t−1} | X_t), in nats: their averages over examples; `upper` if H(X_t) ≥ H(X_{t−1})."""

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
