"""The best factorised reverse kernels of a finite data set: what a network that knew its training set by heart would do.

x_0 is one of M given rows, each as likely as the others. Given x_t, row m has a probability w_m(x_t) ∝ q(x_t | x_0 = row m), and
everything about x_0 and x_{t−1} is a sum over rows with these weights. Normal noise:

    x_{t−1} | x_t, row   ~  N(c_0 row + c_t x_t, s²),    so the best diagonal Gaussian has
    mean  c_0 E[x_0 | x_t] + c_t x_t,    variances  s² + c_0² Var(x_0 | x_t),

and the step of eq. 14 costs ½ Σ_d log(1 + (SNR_{t−1} − SNR_t) Var(x_0,d | x_t)), averaged over x_t. Bits: the best product of
Bernoullis has P(1) = E[x_{t−1} | x_t], and a step costs Σ_i [h(that) − E h(P(x_{t−1,i} = 1 | x_t, x_0))], h the entropy of a bit.

No network, whatever its size, has a larger K on these rows. Averages over x_t are estimated from draws, with standard errors;
for few bits they are sums.

Units: nats per example.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import entr, softmax

from .common import Array, levels, one_minus_alpha_bar, open_doors, snr_drop
from .enumeration import bit_kernel, states

CHUNK = 2_000_000       # numbers held at once


class Law(NamedTuple):
    """Mean and variance of every component.   Shapes: (N, n) each."""

    mean: Array
    var: Array


class Estimate(NamedTuple):
    """A value and its standard error, 0 if it is exact."""

    value: float
    stderr: float


# -- real numbers ------------------------------------------------------------------------------------------------

def weights(rows: Array, x_t: Array, log_alpha_bar: float) -> Array:
    """P(row m | x_t).   softmax_m −|x_t − √ᾱ row_m|²/2(1 − ᾱ).   Shapes: rows (M, n), x_t (N, n) → (N, M)"""
    centre, noise = np.exp(log_alpha_bar / 2) * rows, one_minus_alpha_bar(log_alpha_bar)
    squares = [np.square(part[:, None, :] - centre).sum(axis=2) for part in _chunks(x_t, rows.size)]
    return softmax(-np.concatenate(squares) / (2 * noise), axis=1)


def denoised(rows: Array, x_t: Array, log_alpha_bar: float) -> Law:
    """E[x_0 | x_t] and Var(x_0 | x_t), component by component."""
    share = weights(rows, x_t, log_alpha_bar)
    mean = share @ rows
    var = [np.einsum("km,kmd->kd", w, np.square(rows - m[:, None, :]))
           for w, m in zip(_chunks(share, rows.size), _chunks(mean, rows.size))]
    return Law(mean, np.concatenate(var))


def reverse(rows: Array, x_t: Array, log_alpha_bar_prev: float, log_alpha_bar: float) -> Law:
    """Mean and variances of q(x_{t−1} | x_t), the best diagonal Gaussian.

    Derivation: given the row, x_{t−1} has variance u = 1 − ᾱ_{t−1} about √ᾱ_{t−1} row, and x_t = √ρ x_{t−1} + √(1−ρ) ε. So by
    regression c_t = √ρ u/v, c_0 = √ᾱ_{t−1} − c_t √ᾱ_t = √ᾱ_{t−1} (1 − ρ)/v, and s² = u (1 − ρ)/v, with v = 1 − ᾱ_t.
    """
    log_rho = log_alpha_bar - log_alpha_bar_prev
    drawn, u, v = one_minus_alpha_bar(log_rho), one_minus_alpha_bar(log_alpha_bar_prev), one_minus_alpha_bar(log_alpha_bar)
    c_0, c_t = np.exp(log_alpha_bar_prev / 2) * drawn / v, np.exp(log_rho / 2) * u / v
    x_0 = denoised(rows, x_t, log_alpha_bar)
    return Law(c_0 * x_0.mean + c_t * x_t, u * drawn / v + c_0 * c_0 * x_0.var)


def step_cost(rows: Array, x_t: Array, log_alpha_bar_prev: float, log_alpha_bar: float) -> Array:
    """The KL of step t at x_t, averaged over x_0 given x_t, under the best diagonal Gaussian.   (N,)"""
    drop = snr_drop(log_alpha_bar_prev, log_alpha_bar)
    return 0.5 * np.log1p(drop * denoised(rows, x_t, log_alpha_bar).var).sum(axis=1)


def bound(rows: Array, beta: Array, *, draws: int, rng: np.random.Generator) -> Estimate:
    """K* of eq. 14 on the rows, the largest with diagonal Gaussian kernels, from `draws` states at every t = 2..T.

        ½ n log((1 − ᾱ_T)/β_1) − ½ n log 2πe − Σ_t E cost
    """
    level, n = levels(beta), rows.shape[1]
    ends = 0.5 * n * (np.log(one_minus_alpha_bar(level[-1]) / beta[1]) - np.log(2 * np.pi * np.e))
    return _total(float(ends), (step_cost(rows, _diffuse(rows, level[t], draws, rng), level[t - 1], level[t])
                                for t in range(2, len(level))))


def _diffuse(rows: Array, level: float, draws: int, rng: np.random.Generator) -> Array:
    """x_t of rows taken in turn, so that none is missed."""
    x_0 = rows[np.arange(draws) % len(rows)]
    return np.exp(level / 2) * x_0 + np.sqrt(one_minus_alpha_bar(level)) * rng.standard_normal(x_0.shape)


# -- bits ----------------------------------------------------------------------------------------------------------

def bit_weights(rows: Array, x_t: Array, log_alpha_bar: float, *, rate: float) -> Array:
    """P(row m | x_t).   ∝ Π_i q(x_t,i | x_0,i = row_m,i).   Shapes: rows (M, n), x_t (N, n) → (N, M).   Domain: ᾱ < 1"""
    log_q = np.log(bit_kernel(one_minus_alpha_bar(log_alpha_bar), rate))
    log_joint = sum(np.equal(x_t, b).astype(float) @ np.equal(rows, a).T * log_q[a, b] for a in (0, 1) for b in (0, 1))
    return softmax(log_joint, axis=1)


def bit_reverse(rows: Array, x_t: Array, log_alpha_bar_prev: float, log_alpha_bar: float, *, rate: float) -> Array:
    """P(1) = E[x_{t−1} | x_t] of every bit, the best product of Bernoullis.   (N, n)"""
    one = bit_weights(rows, x_t, log_alpha_bar, rate=rate) @ rows
    given = _posterior_table(log_alpha_bar_prev, log_alpha_bar, rate)
    return (1 - one) * given[0, x_t.astype(int)] + one * given[1, x_t.astype(int)]


def bit_step_cost(rows: Array, x_t: Array, log_alpha_bar_prev: float, log_alpha_bar: float, *, rate: float) -> Array:
    """The KL of step t at x_t, averaged over x_0 given x_t, under the best product of Bernoullis.   (N,)"""
    one = bit_weights(rows, x_t, log_alpha_bar, rate=rate) @ rows
    given = _entropy(_posterior_table(log_alpha_bar_prev, log_alpha_bar, rate))
    best = _entropy(bit_reverse(rows, x_t, log_alpha_bar_prev, log_alpha_bar, rate=rate))
    return (best - (1 - one) * given[0, x_t.astype(int)] - one * given[1, x_t.astype(int)]).sum(axis=1)


def bit_bound(rows: Array, beta: Array, *, rate: float, draws: int | None = None, rng: np.random.Generator | None = None
              ) -> Estimate:
    """K* of eq. 14 on the rows: from `draws` states at every t, or, without, exactly, by all 2ⁿ states.

        H_q(X_T | X_0) − H_q(X_1 | X_0) − n h(r) − Σ_t E cost
    """
    level, n = levels(beta), rows.shape[1]
    first, last = (float(_entropy(bit_kernel(one_minus_alpha_bar(level[t]), rate)[:, 1])[rows.astype(int)].sum(axis=1).mean())
                   for t in (1, -1))
    ends = last - first - n * float(_entropy(np.asarray(rate)))
    if draws is None:
        costs = (_mean_cost(rows, level[t - 1], level[t], rate) for t in range(2, len(level)))
        return Estimate(ends - sum(costs), 0.0)
    rng = rng if rng is not None else np.random.default_rng()
    return _total(ends, (bit_step_cost(rows, _redraw(rows, level[t], draws, rate, rng), level[t - 1], level[t], rate=rate)
                         for t in range(2, len(level))))


def _mean_cost(rows: Array, log_alpha_bar_prev: float, log_alpha_bar: float, rate: float) -> float:
    """E cost over q(x_t), the average of q(x_t | row) over rows, state by state."""
    x, q = states(rows.shape[1]), bit_kernel(one_minus_alpha_bar(log_alpha_bar), rate)
    law = np.stack([q[row.astype(int), x].prod(axis=1) for row in rows]).mean(axis=0)
    return float(law @ bit_step_cost(rows, x, log_alpha_bar_prev, log_alpha_bar, rate=rate))


def _posterior_table(log_alpha_bar_prev: float, log_alpha_bar: float, rate: float) -> Array:
    """P(x_{t−1} = 1 | x_0, x_t) as a table [x_0, x_t]: Bayes' rule on two-by-two tables."""
    before = bit_kernel(one_minus_alpha_bar(log_alpha_bar_prev), rate)
    step = bit_kernel(one_minus_alpha_bar(log_alpha_bar - log_alpha_bar_prev), rate)
    joint = before[:, :, None] * step[None]                                     # [x_0, x_{t−1}, x_t]
    return joint[:, 1] / joint.sum(axis=1)


def _redraw(rows: Array, level: float, draws: int, rate: float, rng: np.random.Generator) -> Array:
    x_0 = rows[np.arange(draws) % len(rows)]
    anew = rng.random(x_0.shape) < one_minus_alpha_bar(level)
    return np.where(anew, rng.random(x_0.shape) < rate, x_0).astype(float)


def _entropy(p: Array) -> Array:
    """h(p) = −p log p − (1−p) log(1−p)."""
    return entr(p) + entr(1 - p)


# -- parts ---------------------------------------------------------------------------------------------------------

def _total(ends: float, costs: Iterator[Array]) -> Estimate:
    """ends − Σ of the means; the steps are drawn apart, so their variances add."""
    means, variances = zip(*((cost.mean(), cost.var(ddof=1) / len(cost)) for cost in costs), strict=True)
    return Estimate(float(ends - sum(means)), float(np.sqrt(sum(variances))))


def _chunks(x: Array, size: int) -> list[Array]:
    """The rows of x in parts, so that a part times `size` numbers has room."""
    return np.array_split(x, max(1, -(-len(x) * size // CHUNK)))


open_doors(globals())
