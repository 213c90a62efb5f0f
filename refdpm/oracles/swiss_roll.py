"""What can be known about the noiseless Swiss roll under the Gaussian chain: its ceiling, its denoiser, the best K.

The roll has no density, so K has no other limit than β_1: K ≤ K_max = −h(X^1), whatever the network. Below that, for
the best Gaussian kernels of a schedule, with Var for diagonal covariances and Cov for full ones,

    cost of a step   ½ E Σ_d log(1 + (SNR_{t−1} − SNR_t) Var(x_0d | x_t))      ½ E log det(I + ΔSNR Cov(x_0 | x_t))
    K*               log((1 − ᾱ_T)/β_1) − log 2πe − Σ_{t≥2} cost  ≤  K_max .

Everything is a sum over the lattice of `roll_field`, deterministic, in nats; the curve itself is in `roll_curve`, with
its mean (zero), `covariance`, `curve_entropy` and `distance_to_curve`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .best_schedule import CostTable, best_levels
from .common import Array, Moments, log_alpha_bar, snr_drop
from .roll_curve import covariance, curve, curve_entropy, curve_length, distance_to_curve, points
from .roll_field import Lattice, field_at, lattice

__all__ = ["Best", "best_schedule", "covariance", "curve", "curve_entropy", "curve_length", "denoiser_moments",
           "distance_to_curve", "k_max", "k_star_of", "log_density", "points", "score", "step_cost", "step_costs"]

SPACING = 0.7           # of the lattices, in noises; 0.5 changes no K by more than 3e-6 nats
LOG_2PI_E = float(np.log(2 * np.pi) + 1)


class Best(NamedTuple):
    """The best K of T steps, in nats, and the schedule that has it, (T+1,)."""

    k_star: float
    beta: Array


# -- given x_t -------------------------------------------------------------------------------------------------------

def log_density(x_t: Array, log_alpha_bar: float) -> Array:
    """log q(x_t) at the level log ᾱ < 0.   Shapes: x_t (N, 2), result (N,)."""
    return field_at(x_t * np.exp(-log_alpha_bar / 2), _noise(log_alpha_bar)).log_density - log_alpha_bar


def denoiser_moments(x_t: Array, log_alpha_bar: float) -> Moments:
    """E[x_0 | x_t] and Cov(x_0 | x_t), whose diagonal is `.var`.   Shapes: x_t (N, 2), mean (N, 2), cov (N, 2, 2).

    Domain: log ᾱ < 0; at −∞ these are the moments of the roll itself.
    """
    if log_alpha_bar == -np.inf:
        return Moments(np.zeros(np.shape(x_t)), np.broadcast_to(covariance(), (len(x_t), 2, 2)))
    return field_at(x_t * np.exp(-log_alpha_bar / 2), _noise(log_alpha_bar)).moments
