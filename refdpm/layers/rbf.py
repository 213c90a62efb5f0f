"""The normalised radial basis layer of the Swiss-roll network."""

import numpy as np

from refdpm.vjp import Array, Pullback


def rbf(x: Array, centre: Array, log_width: Array) -> Array:
    """g_k(x) = exp(s_k)/Σ_j exp(s_j) with s_k = −|x − c_k|²/(2 w_k²): a soft choice of the nearest centre, Σ_k g_k = 1.

    Shapes: x (N, D), centre (K, D), log_width (K,) → (N, K).
    Source: App. D.1.1; the widths are given as logarithms, so they stay positive.
    """
    s = _exponents(x, centre, log_width)
    g = np.exp(s - np.max(np.real(s), axis=1, keepdims=True))
    g /= g.sum(axis=1, keepdims=True)
    return g


def _exponents(x: Array, centre: Array, log_width: Array) -> Array:
    """s_k; |x − c_k|² coordinate by coordinate, because expanding the square would cancel near a centre."""
    squared = 0.0
    for x_d, centre_d in zip(x.T, centre.T):
        difference = x_d[:, None] - centre_d
        squared = squared + difference * difference
    return squared * (-np.exp(-2 * log_width) / 2)


def rbf_vjp(x: Array, centre: Array, log_width: Array) -> tuple[Array, Pullback]:
    """Adjoint of `rbf`.

        dg_k = g_k (ds_k − Σ_j g_j ds_j)
        ds_k = −(x − c_k)·(dx − dc_k)/w_k² − 2 s_k dlog w_k
    """
    g = rbf(x, centre, log_width)

    def pullback(dg: Array) -> tuple[Array, Array, Array]:
        ds = g * (dg - (g * dg).sum(axis=1, keepdims=True))
        dlog_width = -2 * (ds * _exponents(x, centre, log_width)).sum(axis=0)
        pull = ds * np.exp(-2 * log_width)
        dx = pull @ centre - x * pull.sum(axis=1, keepdims=True)
        dcentre = pull.T @ x - centre * pull.sum(axis=0)[:, None]
        return dx, dcentre, dlog_width

    return g, pullback
