"""Gaussian data under the Gaussian chain: everything exact, in covariance matrices.

x_0 ~ N(0, S0). Every x_t is Gaussian with covariance V_t = ᾱ_t S0 + (1 − ᾱ_t) I, and so is every reverse
step:

    q(x_{t−1} | x_t) = N(G_t x_t, W_t),   G_t = √(1−β_t) V_{t−1} V_t⁻¹,   W_t = β_t V_{t−1} V_t⁻¹,

exactly, at any β. All these matrices have the eigenvectors of S0, so the best model is a set of
one-dimensional problems with s_j, the eigenvalues, and v_t = ᾱ_t s + 1 − ᾱ_t. Kernels that may only have a
diagonal covariance lose something, unless S0 is diagonal itself: their best mean is the same, their best
covariance is the diagonal of W_t.

A model is a `Kernels`, or the name of one: "full", "diagonal" (the two optima) and "forward", in which every
reverse step is the forward step over again, where networks usually start. In all three, step 1 is the fixed
edge step of the paper, the forward kernel, which has nothing to learn (eq. 44); a `Kernels` brings its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .common import Array, levels, one_minus_alpha_bar, open_doors, snr_drop

LOG_2PI = float(np.log(2 * np.pi))


class Kernels(NamedTuple):
    """A linear Gaussian reverse model, p(x_{t−1} | x_t) = N(gain[t] x_t, cov[t]), t = 1..T.

    Shapes: gain, cov (T+1, n, n).
    Edge: entry 0 is never used; the builders put gain I and covariance 0 there.
    """

    gain: Array
    cov: Array


# -- the two sides -------------------------------------------------------------------------------------------

def covariances(S0: Array, beta: Array) -> Array:
    """V_t = ᾱ_t S0 + (1 − ᾱ_t) I of q(x_t), t = 0..T.   Shapes: S0 (n, n), result (T+1, n, n)."""
    level = levels(beta)[:, None, None]
    S0 = _covariance(S0)
    return np.exp(level) * S0 + one_minus_alpha_bar(level) * np.eye(len(S0))


def reverse_kernels(S0: Array, beta: Array, *, kernels: str = "full") -> Kernels:
    """The exact reversal ("full"), the best of diagonal covariance ("diagonal"), or the forward step.

    Derivation: x_{t−1} and x_t are jointly Gaussian with covariances V_{t−1}, V_t and √(1−β_t) V_{t−1}
    between them; conditioning gives G_t and W_t. A covariance C costs ½ [log det C + tr C⁻¹ W_t], which among
    diagonal ones is smallest at C = diag W_t.
    """
    beta = np.asarray(beta, dtype=float)
    s, U, v = _spectrum(S0, beta)
    n, keep = len(s), np.sqrt(1 - beta)
    gain, cov = (np.stack([np.eye(n) * a for a in column]) for column in (keep, beta))
    if kernels == "forward":
        return Kernels(gain, cov)
    ratio = v[1:-1] / v[2:]
    gain[2:] = np.einsum("ij,tj,kj->tik", U, keep[2:, None] * ratio, U)
    cov[2:] = np.einsum("ij,tj,kj->tik", U, beta[2:, None] * ratio, U)
    if kernels == "diagonal":
        cov[2:] *= np.eye(n)
    elif kernels != "full":
        raise ValueError(f"kernels: expected 'full', 'diagonal', 'forward' or Kernels, got {kernels!r}")
    return Kernels(gain, cov)


def model_covariances(S0: Array, beta: Array, *, kernels: str | Kernels = "full") -> Array:
    """Covariance of x_t under the *model*, t = T..0, from x_T ~ N(0, I):  P_{t−1} = G_t P_t G_tᵀ + C_t.

    Shapes: result (T+1, n, n), entry t belongs to x_t; entry 0 is the covariance of the samples.
    """
    model = _model(S0, beta, kernels)
    P = np.empty_like(model.cov)
    P[-1] = np.eye(P.shape[-1])
    for t in range(len(P) - 1, 0, -1):
        P[t - 1] = model.gain[t] @ P[t] @ model.gain[t].T + model.cov[t]
    return P


# -- the bound -----------------------------------------------------------------------------------------------

def step_costs(S0: Array, beta: Array, *, kernels: str | Kernels = "full") -> Array:
    """E KL( q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t) ), the terms of eq. 14, at t = 2..T; entries 0, 1 are 0.

    For the optima, with x_j = (SNR_{t−1} − SNR_t) Var(x_0 | x_t) in eigen-direction j:

        full   ½ Σ_j log(1 + x_j)           diagonal   ½ Σ_i log(1 + Σ_j U_ij² x_j)

    Derivation: the optimum pays ½ [log det C_t − n log s̃²], s̃² the variance of q(x_{t−1} | x_t, x_0), and
    W_t = s̃² (I + ΔSNR Cov(x_0 | x_t)). Any other model: `_kl`.
    """
    if isinstance(kernels, Kernels) or kernels == "forward":
        return _kl(_covariance(S0), beta, _model(S0, beta, kernels))
    level = levels(beta)
    s, U, v = _spectrum(S0, beta)
    posterior_var = s * one_minus_alpha_bar(level[2:, None]) / v[2:]
    x = snr_drop(level[1:-1], level[2:])[:, None] * posterior_var
    if kernels == "diagonal":
        x = x @ (U * U).T
    elif kernels != "full":
        raise ValueError(f"kernels: expected 'full', 'diagonal', 'forward' or Kernels, got {kernels!r}")
    return np.concatenate([[0.0, 0.0], 0.5 * np.log1p(x).sum(axis=1)])


def bound(S0: Array, beta: Array, *, kernels: str | Kernels = "full") -> float:
    """K of eq. 14.   −Σ_{t≥2} E KL + H_q(X^T | X^0) − H_q(X^1 | X^0) − H(π)

    Units: nats per example.
    """
    n, noise = len(_covariance(S0)), one_minus_alpha_bar(levels(beta)[-1])
    entropies = 0.5 * n * (np.log(noise) - np.log(beta[1]) - LOG_2PI - 1)
    return float(entropies - step_costs(S0, beta, kernels=kernels).sum())


def strict_bound(S0: Array, beta: Array, *, kernels: str | Kernels = "full") -> float:
    """Eq. 12, term by term.   E log π(x_T) + Σ_{t≥1} E [ log p(x_{t−1} | x_t) − log q(x_t | x_{t−1}) ]

    Derivation: each log is a quadratic form, and its mean needs only the covariance of its residual: I β_t
    for the forward step, R_t = Cov(x_{t−1} − G_t x_t) for the reverse one.  With x_t = √(1−β_t) x_{t−1} + √β_t ε
    the residual is (I − √(1−β_t) G_t) x_{t−1} − √β_t G_t ε, and R_t a sum of two covariances.
    Units: nats per example.
    """
    model, V, n = _model(S0, beta, kernels), covariances(S0, beta), len(_covariance(S0))
    gain, cov = model.gain[1:], model.cov[1:]
    rate = np.asarray(beta, dtype=float)[1:, None, None]
    left = np.eye(n) - np.sqrt(1 - rate) * gain
    residual = left @ V[:-1] @ _transpose(left) + rate * gain @ _transpose(gain)
    reverse = _log_normal(cov, residual)
    forward = -0.5 * n * (LOG_2PI + np.log(beta[1:]) + 1)
    return float(np.sum(reverse - forward) + _log_normal(np.eye(n), V[-1]))


# -- likelihoods ---------------------------------------------------------------------------------------------

def log_likelihood(S0: Array, beta: Array, *, kernels: str | Kernels = "full") -> float:
    """L = E_q log p(x_0) of the model (eq. 10), whose samples are N(0, P_0).

        −½ [ n log 2π + log det P_0 + tr P_0⁻¹ S0 ]

    Units: nats per example.
    """
    return float(_log_normal(model_covariances(S0, beta, kernels=kernels)[0], _covariance(S0)))


def null_log_likelihood(S0: Array) -> float:
    """L_null, the same for the model π = N(0, I).   −½ [n log 2π + tr S0]"""
    S0 = _covariance(S0)
    return float(_log_normal(np.eye(len(S0)), S0))


def entropy(S0: Array) -> float:
    """H(X) of N(0, S0), in nats.   ½ [n log 2πe + log det S0];  −∞ for a singular covariance."""
    S0 = _covariance(S0)
    return float(0.5 * (len(S0) * (LOG_2PI + 1) + np.linalg.slogdet(S0)[1]))


# -- parts ---------------------------------------------------------------------------------------------------

def _kl(S0: Array, beta: Array, model: Kernels) -> Array:
    """E KL of every step for any linear model, in full matrices.

    Derivation: KL = ½ [log det C − n log s̃² + tr C⁻¹(s̃² I + D) − n], D = E d dᵀ; the difference of
    the means is d = a x_0 + (b I − G) x_t, with a, b the coefficients of the mean of q(x_{t−1} | x_t, x_0).
    """
    level, beta = levels(beta), np.asarray(beta, dtype=float)
    before, after = one_minus_alpha_bar(level[1:-1]), one_minus_alpha_bar(level[2:])
    a = (np.exp(level[1:-1] / 2) * beta[2:] / after)[:, None, None]
    b = (np.sqrt(1 - beta[2:]) * before / after)[:, None, None]
    var = beta[2:] * before / after
    n, gain, cov = len(S0), model.gain[2:], model.cov[2:]
    off = b * np.eye(n) - gain
    cross = a * np.exp(level[2:, None, None] / 2) * (off @ S0)
    spread = a * a * S0 + cross + _transpose(cross) + off @ covariances(S0, beta)[2:] @ _transpose(off)
    spread = spread + var[:, None, None] * np.eye(n)
    kl = -_log_normal(cov, spread) - 0.5 * n * (LOG_2PI + np.log(var) + 1)
    return np.concatenate([[0.0, 0.0], kl])


def _log_normal(cov: Array, second: Array) -> Array:
    """E log N(r; 0, cov) for a residual r with second moment E r rᵀ = second."""
    trace = np.trace(np.linalg.solve(cov, second), axis1=-2, axis2=-1)
    return -0.5 * (cov.shape[-1] * LOG_2PI + np.linalg.slogdet(cov)[1] + trace)


def _model(S0: Array, beta: Array, kernels: str | Kernels) -> Kernels:
    return kernels if isinstance(kernels, Kernels) else reverse_kernels(S0, beta, kernels=kernels)


def _spectrum(S0: Array, beta: Array) -> tuple[Array, Array, Array]:
    """Eigenvalues s (n,), eigenvectors U (n, n) in columns, and v_t = ᾱ_t s + 1 − ᾱ_t, (T+1, n)."""
    s, U = np.linalg.eigh(_covariance(S0))
    level = levels(beta)[:, None]
    return s, U, np.exp(level) * s + one_minus_alpha_bar(level)


def _covariance(S0: Array) -> Array:
    S0 = np.asarray(S0, dtype=float)
    if S0.ndim != 2 or S0.shape[0] != S0.shape[1] or not np.isfinite(S0).all() or not np.allclose(S0, S0.T):
        raise ValueError(f"S0: expected a symmetric matrix (n, n) of finite numbers, got shape {S0.shape}")
    least = np.linalg.eigvalsh(S0).min(initial=0)
    if least < -1e-12 * np.abs(S0).max(initial=0):
        raise ValueError(f"S0: expected a covariance, without a negative eigenvalue, got {least}")
    return S0


def _transpose(a: Array) -> Array:
    return np.swapaxes(a, -1, -2)


open_doors(globals())
