"""The schedule of diffusion rates β_t, and the level ᾱ_t = ∏_{s≤t} (1 − β_s) of signal that is left after t steps.

A schedule is a float array `beta` of shape (T+1,) with `beta[0] == 0`, so that `beta[t]` *is* β_t for t = 1..T.

Everything the kernels need of ᾱ they take from its logarithm ℓ_t = Σ_{s≤t} log(1 − β_s), with ℓ_0 = 0:

    √ᾱ = exp(ℓ/2)        1 − ᾱ = −expm1(ℓ)

both to rounding error for every ℓ ≤ 0, from β = 1e-12 (where 1 − ᾱ by subtraction would have four digits left) to β = 1
(where ℓ = −∞, ᾱ = 0 and 1 − ᾱ = 1 are exact).  So `log_alpha_bar`, and not ᾱ, is what is passed on.

The gradient with respect to β_s has two parts: one from the step s, whose rate it is, and one from every level that contains it,
ℓ_t for t ≥ s.  `step_at_vjp` adds them up.  `bound` lists where in K they come from.

A schedule that a function here returns has the shape (T+1,).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import log1p

from refdpm.activation import logit, sigmoid, sigmoid_vjp
from refdpm.doors import open_doors
from refdpm.paper import eq
from refdpm.vjp import Array, Pullback


class Step(NamedTuple):
    """What one step t of the chain knows of the schedule: β_t, ℓ_{t−1}, ℓ_t, one row per example, shape (N, 1, …)."""

    beta: Array
    log_alpha_bar_prev: Array
    log_alpha_bar: Array


# -- named schedules ---------------------------------------------------------------------------------------------------

def checked(beta: Array) -> Array:
    """`beta` itself, (T+1,), if it is a schedule; of complex numbers, which a complex step gives, the real part has to be one.

    Raises: ValueError that names the first offending t.  β_t must lie in (0, 1); β_T = 1 is allowed (ᾱ_T = 0).
    """
    if beta.ndim != 1 or len(beta) < 2:
        raise ValueError(f"beta: expected shape (T+1,) with T ≥ 1, got {beta.shape}")
    rates = np.real(beta)
    if rates[0] != 0:
        raise ValueError(f"beta: expected beta[0] == 0 (beta[t] is β_t, t = 1..T), got {rates[0]}")
    if not (rates[1:].min() > 0 and rates[:-1].max() < 1 and rates[-1] <= 1):
        inside = (rates > 0) & (rates < 1)
        inside[0], inside[-1] = True, 0 < rates[-1] <= 1
        t = int(np.argmin(inside))
        raise ValueError(f"beta: expected values in (0, 1) for t = 1..T (1 is allowed at T), got {rates[t]} at t = {t}")
    return beta


def check(beta: Array, *, t: Array | list[int] | int, first: int = 1) -> None:
    """Check once that `beta` is a schedule, and that t, one step or many, are steps of it from `first` to T.

    Raises: ValueError for what is no schedule, and for other t.
    """
    T = len(checked(beta)) - 1
    steps = np.asarray(t)
    if steps.size and not first <= steps.min() <= steps.max() <= T:
        outside = steps[(steps < first) | (steps > T)]
        raise ValueError(f"t: expected steps from {first} to T = {T}, got {outside.flat[0]}")


def reciprocal(T: int) -> Array:
    """β_t = 1/(T − t + 1), so that ᾱ_t = 1 − t/T falls by the same amount at every step and ᾱ_T = 0.

    Derivation: 1 − β_s = (T − s)/(T − s + 1), and in the product over s = 1..t every numerator but the last cancels the next
    denominator.
    Source: sec. 2.4.1, the binomial experiments.
    """
    return _schedule(1 / np.arange(_steps(T), 0, -1.0))


def geometric(T: int, *, beta_1: float, beta_T: float) -> Array:
    """β_t = β_1^(1−f) β_T^f with f = (t−1)/(T−1): equal ratios, both ends exact.   Raises: ValueError for two ends of one step."""
    gaps, k = max(_steps_between(T, beta_1, beta_T), 1), np.arange(T)
    return _schedule(beta_1 ** ((gaps - k) / gaps) * beta_T ** (k / gaps))


def linear(T: int, *, beta_1: float, beta_T: float) -> Array:
    """β_t from beta_1 to beta_T in equal steps.   Raises: ValueError for two ends of one step."""
    return _schedule(np.linspace(beta_1, beta_T, _steps_between(T, beta_1, beta_T) + 1))


def cosine(T: int, *, offset: float = 0.008, cap: float = 0.999) -> Array:
    """ᾱ_t = cos²(φ_t)/cos²(φ_0) with φ_t = (π/2)(t/T + offset)/(1 + offset), and β_t cut off at `cap`.

    Derivation: 1 − cos²φ_t/cos²φ_{t−1} = sin(φ_t − φ_{t−1}) sin(φ_t + φ_{t−1})/cos²φ_{t−1}, which does not cancel; and φ_T = π/2,
    so that counted from the end cos φ_{t−1} = sin((T−t+1)·h) with h = φ_t − φ_{t−1}.
    Source: Nichol and Dhariwal 2021; not in the 2015 paper.
    """
    h = np.pi / 2 / (1 + offset) / _steps(T)
    left = np.arange(T, 0, -1.0)
    before = np.sin(left * h)
    between = np.minimum(2 * left - 1, 2 * (T - left + T * offset) + 1)         # φ_t + φ_{t−1}, or π less that, in units of h
    return _schedule(np.minimum(np.sin(h) * np.sin(between * h) / (before * before), cap))


def linear_for(T: int, *, beta_1: float = 1e-4, beta_T: float = 0.02, cap: float = 0.999) -> Array:
    """The linear schedule whose ends are those of 1000 steps, times 1000/T, cut off at `cap`: about the same ᾱ_T for every T.

    Source: the programs of Nichol and Dhariwal 2021.
    """
    share = 1000 / _steps(T)
    return _schedule(np.minimum(np.linspace(share * beta_1, share * beta_T, T), cap))


def to_zero(beta: Array) -> Array:
    """The schedule with ᾱ_T = 0: every √ᾱ_t less √ᾱ_T, and stretched so that ᾱ_1 stays what it was.

    Derivation: with r_t = √ᾱ_t − √ᾱ_T the new β_t = 1 − (r_t/r_{t−1})² = (r_{t−1} − r_t)(r_{t−1} + r_t)/r_{t−1}² for t ≥ 2, where
    r_{t−1} − r_t = √ᾱ_{t−1} β_t/(1 + √(1−β_t)), and r_t = √ᾱ_T (e^s − 1) with s = −½ Σ_{r>t} log(1 − β_r): nothing cancels.
    Domain: T ≥ 2 and β_T < 1; with β_T = 1 there is nothing to do.
    Source: Lin et al. 2023.
    """
    checked(beta)
    left = -np.cumsum(log1p(-beta[:0:-1]))[::-1] / 2                # s_0 … s_{T−1}
    before, after, rates = np.expm1(left[1:-1]), np.expm1(left[2:]), beta[2:-1]
    fall = np.exp(left[1:-1]) * rates / (1 + np.sqrt(1 - rates))
    return np.concatenate([beta[:2], fall * (before + after) / before ** 2, np.ones(1)])


def _steps(T: int) -> int:
    if T < 1:
        raise ValueError(f"T: expected at least 1 step, got {T}")
    return T


def _steps_between(T: int, beta_1: float, beta_T: float) -> int:
    if _steps(T) == 1 and beta_1 != beta_T:
        raise ValueError(f"beta_T: expected beta_1 = {beta_1} where T = 1 and both are the rate of one step, got {beta_T}")
    return T - 1


def _schedule(rates: Array) -> Array:
    return checked(np.concatenate([[0.0], rates]))


# -- the learned schedule ----------------------------------------------------------------------------------------------

@eq("15")
def learned(logit_beta: Array, *, beta_1: float) -> Array:
    """The schedule with β_1 held fixed and β_t = sigmoid(logit_beta[t−2]) for t = 2..T.

    β_1 sets the ceiling of the bound (K ≤ −H(X¹)): if it were learned, K would rise although nothing about the data is learned.

    Shapes: logit_beta (T−1,) → (T+1,).
    Source: sec. 2.4.1.
    """
    return np.concatenate([[0.0, beta_1], sigmoid(logit_beta)])


def learned_vjp(logit_beta: Array, *, beta_1: float) -> tuple[Array, Pullback]:
    """Adjoint of `learned`:   dβ_t = β_t (1 − β_t) dlogit_beta[t−2]   for t ≥ 2, and 0 for t = 0, 1."""
    _, back_sigmoid = sigmoid_vjp(logit_beta)
    return learned(logit_beta, beta_1=beta_1), lambda dbeta: back_sigmoid(dbeta[2:])


def logits_of(beta: Array) -> Array:
    """The argument with which `learned` returns `beta` again: logit β_t for t = 2..T (β_T < 1), shape (T−1,)."""
    return logit(beta[2:])


# -- levels ------------------------------------------------------------------------------------------------------------

def log_alpha_bar(beta: Array) -> Array:
    """ℓ_t = Σ_{s≤t} log(1 − β_s), with ℓ_0 = 0; β_0 is a constant and counts for nothing.

    The running sum carries along what each addition rounds off, so that the error stays at a few u·Σ|log(1 − β_s)| for any T.

    Shapes: (T+1,) → (T+1,).
    """
    with np.errstate(divide="ignore"):                      # at β_T = 1
        return _running_sum(np.append(0 * beta[:1], log1p(-beta[1:])))


def log_alpha_bar_vjp(beta: Array) -> tuple[Array, Pullback]:
    """Adjoint of `log_alpha_bar`:   dℓ_t = −Σ_{s≤t} dβ_s/(1 − β_s), s ≥ 1.

    Domain: β_t < 1; at β_T = 1 the derivative is infinite.
    """
    level = log_alpha_bar(beta)

    def pullback(dlevel: Array) -> Array:
        dbeta = -np.cumsum(dlevel[::-1])[::-1] / (1 - beta)
        dbeta[0] = 0
        return dbeta

    return level, pullback


def _running_sum(x: Array) -> Array:
    total = np.cumsum(x)
    before = np.concatenate([[0.0], total[:-1]])
    with np.errstate(invalid="ignore"):                     # ∞ − ∞ where a term is infinite; set to 0 in the next line
        added = total - before
        rounded_off = (before - (total - added)) + (x - added)
        return total + np.cumsum(np.where(np.isfinite(total), rounded_off, 0.0))


def alpha_bar(beta: Array) -> Array:
    """ᾱ_t = ∏_{s≤t} (1 − β_s), ᾱ_0 = 1, shape (T+1,): for display.  Formulas take `log_alpha_bar`.

    Raises: ValueError for what is no schedule.
    """
    return np.exp(log_alpha_bar(checked(beta)))


# -- from a schedule to the rows of a batch ----------------------------------------------------------------------------

def step(beta: Array, log_alpha_bar: Array, *, t: Array, ndim: int) -> Step:
    """Row i holds the schedule at step t[i], as columns that broadcast against states of `ndim` axes.

    Shapes: beta, log_alpha_bar (T+1,), t integers (N,) in 1..T → three arrays (N, 1, …, 1).
    """
    column = (-1,) + (1,) * (ndim - 1)
    return Step(beta[t].reshape(column), log_alpha_bar[t - 1].reshape(column), log_alpha_bar[t].reshape(column))


def step_vjp(beta: Array, log_alpha_bar: Array, *, t: Array, ndim: int) -> tuple[Step, Pullback]:
    """Adjoint of `step`: what was gathered is scattered back, and rows that share a t add up."""
    value = step(beta, log_alpha_bar, t=t, ndim=ndim)

    def pullback(dstep: Step) -> tuple[Array, Array]:
        dbeta, dlevel = np.zeros_like(beta, dtype=dstep.beta.dtype), np.zeros_like(beta, dtype=dstep.beta.dtype)
        np.add.at(dbeta, t, dstep.beta.ravel())
        np.add.at(dlevel, t - 1, dstep.log_alpha_bar_prev.ravel())
        np.add.at(dlevel, t, dstep.log_alpha_bar.ravel())
        return dbeta, dlevel

    return value, pullback


def step_at(beta: Array, *, t: Array, ndim: int) -> Step:
    """`step` with the levels of that schedule: from its rates to the columns at steps t.   Shapes as in `step`."""
    return step_at_vjp(beta, t=t, ndim=ndim)[0]


def step_at_vjp(beta: Array, *, t: Array, ndim: int) -> tuple[Step, Pullback]:
    """Adjoint of `step_at`: β_t counts as the rate of its own step and in every level from t on."""
    level, back_level = log_alpha_bar_vjp(beta)
    value, back_step = step_vjp(beta, level, t=t, ndim=ndim)

    def pullback(dstep: Step) -> Array:
        dbeta, dlevel = back_step(dstep)
        return dbeta + back_level(dlevel)

    return value, pullback


open_doors(globals())
