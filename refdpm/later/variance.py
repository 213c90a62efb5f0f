"""The variance of the reverse step, where it is fixed and where it is learned; and what to do at t = 1.

The step's best variance lies between two that need no network: β̃_t = βv/w, right if x_0 is known, and β_t, right if x_0 is
N(0, 1) and unknown.  A head chooses between them, by logarithms (Nichol, Dhariwal 2021).  They differ by w/v, which
is far from 1 for small t only.  The paper's own head ("eq64") moves the variance about β_t, and its mean follows (eq. 65).

At t = 1 the posterior is a point: β̃_1 = 0, log β̃_1 = −∞, and no level but one has any mass.  What people put there instead is a
choice of its own, and has a name here (`FIRST`):

    next     β̃_2                                                     Nichol, Dhariwal 2021
    floor    1e-20                                                    Ho, Jain, Abbeel 2020: a clamp of the logarithm
    beta     β_1
    fixed    β_1, about √(1−β_1) x_1: the paper's edge (eq. 44), the forward kernel, in which the network has no say

Shapes: heads (N, …); beta, log_alpha_bar_prev, small and the columns of a step (N, 1, …).
"""

import numpy as np

from refdpm import schedule
from refdpm.doors import open_doors
from refdpm.gaussian import Gaussian, shares
from refdpm.later.mean import mean_from_vjp
from refdpm.networks.readout import Heads, eq65_vjp
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, unbroadcast

VARIANCES = ("small", "large", "ranged", "eq64")
WITH_HEAD = ("ranged", "eq64")  # of those, what has a head of the network
FIRST = ("next", "floor", "beta", "fixed")
FLOOR = 1e-20


def small(beta: Array, log_alpha_bar_prev: Array) -> Array:
    """β̃_t = βv/w, the posterior's variance.   Edge: 0 at t = 1."""
    _, v, w = shares(beta, log_alpha_bar_prev)
    return beta * v / w


def small_vjp(beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Pullback]:
    """Adjoint of `small`.  With ℓ = log a,   dβ̃ = (v/w)² dβ − a (β/w)² dℓ."""
    a, v, w = shares(beta, log_alpha_bar_prev)

    def pullback(dvar: Array) -> tuple[Array, Array]:
        return (unbroadcast((v / w) ** 2 * dvar, beta.shape),
                unbroadcast(-a * (beta / w) ** 2 * dvar, log_alpha_bar_prev.shape))

    return small(beta, log_alpha_bar_prev), pullback


def first(beta: Array, *, policy: str) -> Array:
    """The variance at t = 1 under one of the policies `FIRST`.

    Derivation: at t = 2, v = β_1 and a = 1 − β_1, so that β̃_2 = β_1 β_2/(β_1 + (1−β_1) β_2), and 1/β̃_2 = 1/β_1 + 1/β_2 − 1.
    Shapes: beta (T+1,) → (1,).
    Raises: ValueError for another policy, for "next" where T = 1, and for what is no schedule.
    """
    schedule.checked(beta)
    if policy == "next" and len(beta) > 2:
        return beta[1:2] * beta[2:3] / (beta[1:2] + (1 - beta[1:2]) * beta[2:3])
    if policy == "floor":
        return FLOOR + 0 * beta[1:2]
    if policy in ("beta", "fixed"):
        return +beta[1:2]
    raise ValueError(f"policy: expected one of {FIRST}, and T > 1 for 'next', got {policy!r} and T = {len(beta) - 1}")


def first_vjp(beta: Array, *, policy: str) -> tuple[Array, Pullback]:
    """Adjoint of `first`:   dβ̃_2 = (β̃_2/β_1)² dβ_1 + (β̃_2/β_2)² dβ_2   for "next", 0 for "floor", dβ_1 for the others."""
    value = first(beta, policy=policy)

    def pullback(dvalue: Array) -> Array:
        dbeta = np.zeros(len(beta), dtype=np.result_type(beta, dvalue))
        if policy == "next":
            dbeta[1:3] = (value / beta[1:3]) ** 2 * dvalue
        elif policy != "floor":
            dbeta[1:2] = dvalue
        return dbeta

    return value, pullback


def ranged(head: Array, beta: Array, small: Array) -> Array:
    """β^f β̃^(1−f) with f = (1 + head)/2: β̃ at head −1, β at head 1, and nothing stops the head from going beyond.

    Domain: small > 0.
    """
    return small * np.exp((1 + head) / 2 * np.log(beta / small))


def ranged_vjp(head: Array, beta: Array, small: Array) -> tuple[Array, Pullback]:
    """Adjoint of `ranged`:   dvar = var [½ log(β/β̃) dhead + (f/β) dβ + ((1−f)/β̃) dβ̃]."""
    value, share = ranged(head, beta, small), (1 + head) / 2

    def pullback(dvar: Array) -> tuple[Array, Array, Array]:
        dlog = value * dvar
        return (unbroadcast(np.log(beta / small) / 2 * dlog, head.shape), unbroadcast(share / beta * dlog, beta.shape),
                unbroadcast((1 - share) / small * dlog, small.shape))

    return value, pullback


# -- from heads to the reverse step ------------------------------------------------------------------------------------

def read_out(heads: Heads, x_t: Array, step: Step, small: Array, *, predicts: str, variance: str) -> Gaussian:
    """p(x_{t−1} | x_t) from what the network predicts (heads.mean) and, if that is learned, its head for the variance (heads.var).
    With "eq64" both heads are those of eqs. 64 and 65, whatever `predicts` says.

    Shapes: heads.mean, heads.var and x_t (N, …), step and small columns (N, 1, …) → mean (N, …), var (N, 1, …), or of a learned
    variance (N, …).
    `small` is β̃, or at t = 1 what stands for it.
    Raises: ValueError for a name that is not in `mean.PREDICTIONS` or `VARIANCES`.
    """
    return read_out_vjp(heads, x_t, step, small, predicts=predicts, variance=variance)[0]


def read_out_vjp(heads: Heads, x_t: Array, step: Step, small: Array, *, predicts: str, variance: str
                 ) -> tuple[Gaussian, Pullback]:
    """Adjoint of `read_out`; what it does not take gets zeros."""
    if variance == "eq64":                                   # the paper's variance, on which its mean depends
        return _as_in_the_paper_vjp(heads, x_t, step, small)
    mean, back_mean = mean_from_vjp(heads.mean, x_t, step, predicts=predicts)
    var, back_var = _variance_vjp(heads.var, step.beta, small, variance)

    def pullback(dp: Gaussian) -> tuple[Heads, Array, Step, Array]:
        dprediction, dx_t, dstep = back_mean(dp.mean)
        dhead, dbeta, dsmall = back_var(dp.var)
        return Heads(dprediction, dhead), dx_t, dstep._replace(beta=dstep.beta + dbeta), dsmall

    return Gaussian(mean, var), pullback


def _as_in_the_paper_vjp(heads: Heads, x_t: Array, step: Step, small: Array) -> tuple[Gaussian, Pullback]:
    """`readout.eq65`, which takes nothing but β_t of the schedule."""
    p, back = eq65_vjp(heads, x_t, step.beta)

    def pullback(dp: Gaussian) -> tuple[Heads, Array, Step, Array]:
        dheads, dx_t, dbeta = back(dp)
        return dheads, dx_t, Step(*map(np.zeros_like, step))._replace(beta=dbeta), np.zeros_like(small)

    return p, pullback


def _variance_vjp(head: Array, beta: Array, small: Array, variance: str) -> tuple[Array, Pullback]:
    """The variance of that name, for every component, and its adjoint for (head, β, β̃)."""
    if variance == "ranged":
        return ranged_vjp(head, beta, small)
    if variance not in VARIANCES:
        raise ValueError(f"variance: expected one of {VARIANCES}, got {variance!r}")
    chosen = small if variance == "small" else beta

    def pullback(dvar: Array) -> tuple[Array, Array, Array]:
        dchosen, nothing = unbroadcast(dvar, chosen.shape), np.zeros_like(beta if variance == "small" else small)
        return (np.zeros_like(head), *((nothing, dchosen) if variance == "small" else (dchosen, nothing)))

    return chosen + np.zeros_like(head), pullback


open_doors(globals())
