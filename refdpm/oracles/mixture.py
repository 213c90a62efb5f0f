"""Data from a mixture of diagonal Gaussians: the smallest data set on which a denoiser is not linear.

x_0 ~ Σ_c w_c N(m_c, diag s_c). The forward chain leaves each component Gaussian,

    x_t | c ~ N(√ᾱ m_c, v_c),   v_c = ᾱ s_c + 1 − ᾱ   (a variance in each dimension),

so every law of the reversal is a mixture again, with the responsibilities r_c(x_t) = P(c | x_t) as its
weights, and its moments are those of the components, averaged, plus the spread of their means. Nothing here
goes through the posterior given x_0: x_{t−1} and x_t are conditioned inside each component.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from .common import Array, Moments, one_minus_alpha_bar, open_doors


class Mixture(NamedTuple):
    """Σ_c weight[c] N(mean[c], diag var[c]).   Shapes: weight (C,), mean, var (C, n).   Domain: var ≥ 0."""

    weight: Array
    mean: Array
    var: Array


def draw(data: Mixture, N: int, rng: np.random.Generator) -> Array:
    """N examples x_0, (N, n)."""
    c = rng.choice(len(data.weight), size=N, p=data.weight)
    return data.mean[c] + np.sqrt(data.var[c]) * rng.standard_normal((N, data.mean.shape[1]))


def moments(data: Mixture) -> Moments:
    """Mean and covariance of x_0, one row: shapes (1, n) and (1, n, n)."""
    return _pool(np.asarray(data.weight)[None], data.mean[None], data.var[None])


def diffuse(data: Mixture, log_alpha_bar: float) -> Mixture:
    """The law of x_t at the level log ᾱ, itself a mixture."""
    alpha_bar = np.exp(log_alpha_bar)
    return Mixture(np.asarray(data.weight, dtype=float), np.sqrt(alpha_bar) * data.mean,
                   alpha_bar * data.var + one_minus_alpha_bar(log_alpha_bar))


def log_density(data: Mixture, x_t: Array, log_alpha_bar: float) -> Array:
    """log q(x_t) at the level log ᾱ; that of the data at log ᾱ = 0.   Shapes: x_t (N, n), result (N,)."""
    return logsumexp(_log_joint(diffuse(data, log_alpha_bar), x_t), axis=1)


def responsibilities(data: Mixture, x_t: Array, log_alpha_bar: float) -> Array:
    """P(c | x_t), (N, C)."""
    return softmax(_log_joint(diffuse(data, log_alpha_bar), x_t), axis=1)


def score(data: Mixture, x_t: Array, log_alpha_bar: float) -> Array:
    """∇ log q(x_t).   Σ_c r_c (√ᾱ m_c − x_t)/v_c.   Shapes: (N, n)."""
    law = diffuse(data, log_alpha_bar)
    pull = (law.mean - x_t[:, None, :]) / law.var
    return np.einsum("nc,ncd->nd", responsibilities(data, x_t, log_alpha_bar), pull)


def denoiser_moments(data: Mixture, x_t: Array, log_alpha_bar: float) -> Moments:
    """E[x_0 | x_t] and Cov(x_0 | x_t).

    Derivation: given c, the mean is m_c + √ᾱ s_c (x_t − √ᾱ m_c)/v_c and the variance s_c (1 − ᾱ)/v_c.
    """
    law = diffuse(data, log_alpha_bar)
    gain = np.exp(log_alpha_bar / 2) * data.var / law.var
    mean = data.mean + gain * (x_t[:, None, :] - law.mean)
    var = data.var * one_minus_alpha_bar(log_alpha_bar) / law.var
    return _pool(responsibilities(data, x_t, log_alpha_bar), mean, var[None])


def posterior_moments(data: Mixture, x_t: Array, log_alpha_bar_prev: float, log_alpha_bar: float) -> Moments:
    """Mean and covariance of q(x_{t−1} | x_t): of the best Gaussian reverse kernel.

    Derivation: with ρ = ᾱ_t/ᾱ_{t−1}, x_t = √ρ x_{t−1} + √(1−ρ) ε. Inside component c the two are jointly
    Gaussian with variances u_c, v_c and √ρ u_c between them; so the variance is u_c (1 − ρ)/v_c, the mean

        √ᾱ_{t−1} m_c + √ρ u_c (x_t − √ᾱ_t m_c)/v_c

    Domain: log_alpha_bar ≤ log_alpha_bar_prev.
    """
    before, after = diffuse(data, log_alpha_bar_prev), diffuse(data, log_alpha_bar)
    step = log_alpha_bar - log_alpha_bar_prev
    mean = before.mean + np.exp(step / 2) * before.var / after.var * (x_t[:, None, :] - after.mean)
    var = before.var * one_minus_alpha_bar(step) / after.var
    return _pool(responsibilities(data, x_t, log_alpha_bar), mean, var[None])


def _log_joint(law: Mixture, x: Array) -> Array:
    """log w_c + log N(x; m_c, s_c), (N, C)."""
    square = (x[:, None, :] - law.mean) ** 2 / law.var
    return np.log(law.weight) - 0.5 * np.sum(square + np.log(2 * np.pi * law.var), axis=-1)


def _pool(weight: Array, mean: Array, var: Array) -> Moments:
    """m̄ = Σ w m and Σ w [diag s + (m − m̄)(m − m̄)ᵀ].   Shapes: weight (N, C), mean, var (N, C, n)."""
    centre = np.einsum("nc,ncd->nd", weight, mean)
    off = mean - centre[:, None, :]
    cov = np.einsum("nc,nci,ncj->nij", weight, off, off)
    within = np.einsum("nc,ncd->nd", weight, np.broadcast_to(var, mean.shape))
    return Moments(centre, cov + within[:, :, None] * np.eye(mean.shape[-1]))


open_doors(globals())
