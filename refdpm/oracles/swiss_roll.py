"""What can be known about the noiseless Swiss roll under the Gaussian chain: ceiling of K, denoiser, best K.

The roll has no density, so K has no other limit than β_1: K ≤ K_max = −h(X^1), whatever the network. Below
that, for the best Gaussian kernels of a schedule,

    step cost, diagonal   ½ E Σ_d log(1 + (SNR_{t−1} − SNR_t) Var(x_0d | x_t))
    step cost, full       ½ E log det(I + (SNR_{t−1} − SNR_t) Cov(x_0 | x_t))
    K*                    log((1 − ᾱ_T)/β_1) − log 2πe − Σ_{t≥2} cost  ≤  K_max

Everything is a sum over the lattice of `roll_field`, deterministic, in nats; the curve itself, with its mean
(zero), `covariance`, `curve_entropy` and `distance_to_curve`, is in `roll_curve`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .schedule_search import CostTable, best_levels
from .common import Array, Moments, levels, open_doors, snr_drop
from .roll_curve import covariance, curve, curve_entropy, curve_length, distance_to_curve, points
from .roll_field import Lattice, field_at, lattice

__all__ = ["Best", "best_schedule", "covariance", "curve", "curve_entropy", "curve_length",
           "denoiser_moments", "distance_to_curve", "k_max", "k_star_of", "log_density", "points",
           "step_cost", "step_costs"]

SPACING = 0.7           # of the lattices, in noises; half of it changes no K_max by 2e-6 nats, no K* by 3e-5
LOG_2PI_E = float(np.log(2 * np.pi) + 1)


class Best(NamedTuple):
    """The best K of T steps, in nats, and the schedule that has it, (T+1,)."""

    k_star: float
    beta: Array


# -- given x_t -----------------------------------------------------------------------------------------------

def log_density(x_t: Array, log_alpha_bar: float) -> Array:
    """log q(x_t) at the level log ᾱ < 0.   Shapes: x_t (N, 2), result (N,)."""
    return field_at(x_t * np.exp(-log_alpha_bar / 2), _noise(log_alpha_bar)).log_density - log_alpha_bar


def denoiser_moments(x_t: Array, log_alpha_bar: float) -> Moments:
    """E[x_0 | x_t] and Cov(x_0 | x_t), whose diagonal is `.var`.   Shapes: x_t, mean (N, 2), cov (N, 2, 2).

    Domain: log ᾱ < 0; at −∞ these are the moments of the roll itself.
    """
    if log_alpha_bar == -np.inf:
        return Moments(np.zeros(np.shape(x_t)), np.broadcast_to(covariance(), (len(x_t), 2, 2)))
    return field_at(x_t * np.exp(-log_alpha_bar / 2), _noise(log_alpha_bar)).moments


# -- the ceiling and the best kernels ------------------------------------------------------------------------

def k_max(beta_1: float, *, spacing: float = SPACING) -> float:
    """−h(X^1), in nats: no model has a larger K, whatever its network and its T.   E log q(x_1)"""
    level = float(np.log1p(-beta_1))
    weight, field = lattice(_noise(level), spacing)
    return float(weight @ field.log_density - level)


def step_cost(log_alpha_bar_prev: float, log_alpha_bar: float, *, kernels: str = "diagonal",
              spacing: float = SPACING) -> float:
    """E KL( q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t) ) of the best kernels between two levels, in nats.

    Domain: log_alpha_bar < log_alpha_bar_prev < 0; −∞ allowed for the later level (β_T = 1).
    """
    drop = float(snr_drop(log_alpha_bar_prev, log_alpha_bar))
    if log_alpha_bar == -np.inf:
        return float(0.5 * np.log1p(drop * _spread(covariance()[None], kernels)).sum())
    weight, field = lattice(_noise(log_alpha_bar), spacing)
    return float(0.5 * weight @ np.log1p(drop * _spread(field.moments.cov, kernels)).sum(axis=1))


def step_costs(beta: Array, *, kernels: str = "diagonal", spacing: float = SPACING) -> Array:
    """The costs of a schedule at index t = 2..T; entries 0 and 1 are 0.   Shapes: beta and result (T+1,)."""
    level = levels(beta)
    pairs = zip(level[1:-1], level[2:])
    return np.array([0.0, 0.0] + [step_cost(a, b, kernels=kernels, spacing=spacing) for a, b in pairs])


def k_star_of(beta: Array, *, kernels: str = "diagonal", spacing: float = SPACING) -> float:
    """K* of a schedule: K of eq. 14, in nats, with the best diagonal (or "full") Gaussian kernels."""
    ends = np.log(-np.expm1(levels(beta)[-1])) - np.log(beta[1])
    return float(ends - LOG_2PI_E - step_costs(beta, kernels=kernels, spacing=spacing).sum())


def best_schedule(beta_1: float, T: int, *, kernels: str = "diagonal", spacing: float = SPACING,
                  level_step: float = 0.2, lowest: float = -8.0) -> Best:
    """The schedule of T steps with the largest K*, given β_1, and that K*: see `schedule_search`.

    The search works on a table over log SNR, from that of β_1 down to `lowest`, `level_step` apart; the K*
    that is returned is computed anew for the schedule found, so that it is not larger than what can be had.
    """
    table = _cost_table(beta_1, kernels, spacing, level_step, lowest)
    level = -np.log1p(np.exp(-best_levels(table, T, n=2)))
    beta = np.concatenate([[0.0, beta_1], -np.expm1(np.diff(level))])
    return Best(k_star_of(beta, kernels=kernels, spacing=spacing), beta)


# -- parts ---------------------------------------------------------------------------------------------------

def _noise(level: float) -> float:
    """ρ = √((1 − ᾱ)/ᾱ), the noise in units of the clean data."""
    if not -np.inf < level < 0:
        raise ValueError(f"log_alpha_bar: expected a finite negative number, got {level}")
    return float(np.sqrt(np.expm1(-level)))


def _spread(cov: Array, kernels: str) -> Array:
    """The two v of Σ log(1 + drop·v): variances, or eigenvalues of the covariance.   (N, 2, 2) -> (N, 2)"""
    a, b, d = cov[:, 0, 0], cov[:, 0, 1], cov[:, 1, 1]
    if kernels == "diagonal":
        return np.stack([a, d], axis=1)
    if kernels != "full":
        raise ValueError(f"kernels: expected 'diagonal' or 'full', got {kernels!r}")
    large = (a + d) / 2 + np.hypot((a - d) / 2, b)
    return np.stack([large, np.maximum(a * d - b * b, 0.0) / large], axis=1)


@lru_cache(maxsize=4)
def _cost_table(beta_1: float, kernels: str, spacing: float, level_step: float, lowest: float) -> CostTable:
    """Step costs over (λ, k).   ½ E Σ_d log(1 + (e^k − 1) SNR v_d)"""
    first = float(np.log1p(-beta_1) - np.log(beta_1))
    level = np.linspace(lowest, first, int(np.ceil((first - lowest) / level_step)) + 1)
    fall = level - lowest
    rows = [_costs(lattice(float(np.exp(-a / 2)), spacing), np.exp(a), fall, kernels) for a in level]
    return CostTable(level, fall, np.array(rows))


def _costs(where: Lattice, snr: float, fall: Array, kernels: str) -> Array:
    """One row of the table: the values SNR v are first gathered in bins of 1 %, each with its own mean."""
    value = (snr * _spread(where.field.moments.cov, kernels)).ravel()
    weight = np.repeat(where.weight, 2)
    bins = np.floor(100 * np.log(np.maximum(value, 1e-12))).astype(int)
    bins -= bins.min()
    mass = np.bincount(bins, weight)
    mean = np.bincount(bins, weight * value)[mass > 0] / mass[mass > 0]
    return 0.5 * mass[mass > 0] @ np.log1p(np.expm1(fall) * mean[:, None])


open_doors(globals())
