"""How much a reverse step can be expected to know: the two bounds on its entropy (eq. 24, appendix A).

    H(X_t|X_{t−1}) + H(X_{t−1}|X_0) − H(X_t|X_0)  ≤  H(X_{t−1}|X_t)  ≤  H(X_t|X_{t−1})

The middle is the entropy of the true reverse step, which nobody knows for real data; both sides come from the forward process.

The lower bound holds always: by the chain rule H(X_{t−1}|X_t) = H(X_t|X_{t−1}) + H(X_{t−1}) − H(X_t) (eq. 27), and what x_t tells
about x_0 is no more than what x_{t−1} does (eq. 31).  The upper bound needs H(X_t) ≥ H(X_{t−1}) (eq. 28).  The paper argues that π
has the largest entropy, which does not prove it: the distance to π shrinks, and the entropy grows with that only if E log π(x_t) is
the same at every t.  So it holds for Gaussian data with E|x|² = n (and, by another argument, with less), for bits with r = ½ or a
share r of ones (if r < ½, or fewer).  For Gaussian data more spread out than π it fails, for bits with more ones it can.  Summed
over t the bounds say little; they are for one step.
"""

from typing import NamedTuple

import numpy as np

from refdpm import schedule
from refdpm.bound import entropy_at
from refdpm.likelihood import total
from refdpm.paper import eq
from refdpm.vjp import Array, Module


class EntropyBounds(NamedTuple):
    """Bounds on H(X_{t−1} | X_t), in nats: their averages over examples."""

    lower: Array
    upper: Array


@eq("24", "30", "35", "36")
def entropy_bounds(beta: Array, x_0: Array, *, t: int, noise: Array, kernel: Module) -> EntropyBounds:
    """Both bounds of eq. 24 per example, to be averaged.

    H(X_t|X_{t−1}) is taken at an x_{t−1} drawn with frozen noise; for Gaussian steps and for bits with r = ½ all are alike.

    Shapes: beta (T+1,), x_0 and noise (N, …) → two arrays (N,).
    Domain: t = 2..T; at t = 1 the lower bound contains H(X_0|X_0), which is −∞ for densities and says nothing.
    """
    step = schedule.step_at(beta, t=np.full(len(x_0), t), ndim=x_0.ndim)
    x_prev = kernel.draw(kernel.marginal(x_0, step.log_alpha_bar_prev), noise=noise)
    upper = total(kernel.entropy(kernel.forward(x_prev, np.broadcast_to(step.beta, x_prev.shape))))
    gained = entropy_at(beta, x_0, t=t, kernel=kernel) - entropy_at(beta, x_0, t=t - 1, kernel=kernel)
    return EntropyBounds(upper - gained, upper)
