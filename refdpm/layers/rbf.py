"""The normalised radial basis layer of the Swiss-roll network."""

import numpy as np

from refdpm.activation import softmax, softmax_vjp
from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.vjp import Array, Pullback, unbroadcast


def rbf(x: Array, centre: Array, log_width: Array) -> Array:
    """g_k(x) = exp(s_k)/Σ_j exp(s_j) with s_k = −|x − c_k|²/(2 w_k²): a soft choice of the nearest centre, Σ_k g_k = 1.

    Shapes: x (N, D), centre (K, D), log_width (K,) → (N, K).
    Source: App. D.1.1; the widths are given as logarithms, so they stay positive.
    """
    return softmax(_exponents(x, centre, log_width))


def _exponents(x: Array, centre: Array, log_width: Array) -> Array:
    """s_k; |x − c_k|² coordinate by coordinate, because expanding the square would cancel near a centre.

    The rows of a unit lie next to each other in memory, not the units of a row: a centre is then one number for a long row.
    """
    coordinates = np.ascontiguousarray(x.T)
    squared = _squared_difference(coordinates[0], centre[:, 0])
    for d in range(1, len(coordinates)):
        squared += _squared_difference(coordinates[d], centre[:, d])
    return (squared * np.reshape(-np.exp(-2 * log_width) / 2, (-1, 1))).T


def _squared_difference(x_d: Array, centre_d: Array) -> Array:
    """(N,), (K,) → (K, N)."""
    difference = x_d - centre_d[:, None]
    difference *= difference
    return difference


def rbf_vjp(x: Array, centre: Array, log_width: Array) -> tuple[Array, Pullback]:
    """Adjoint of `rbf`, the softmax of s:

        ds_k = −(x − c_k)·(dx − dc_k)/w_k² − 2 s_k dlog w_k
    """
    s = _exponents(x, centre, log_width)
    g, back_softmax = softmax_vjp(s)

    def pullback(dg: Array) -> tuple[Array, Array, Array]:
        ds = back_softmax(dg)
        dlog_width = unbroadcast(-2 * np.einsum("nk,nk->k", ds, s), log_width.shape)
        precision = np.exp(-2 * log_width).reshape(-1, 1)
        # Σ a (c − x) as two products: its error is that of the larger one, which training and the adjoint gap do not notice
        to_centre, to_x = ds @ (precision * _with_one(centre)), precision * (ds.T @ _with_one(x))
        dx = to_centre[:, :-1] - x * to_centre[:, -1:]
        dcentre = to_x[:, :-1] - centre * to_x[:, -1:]
        return dx, unbroadcast(dcentre, centre.shape), dlog_width

    return g, pullback


def _with_one(points: Array) -> Array:
    """A column of ones beside the points, so that one product sums both Σ a_k c_k and Σ a_k."""
    return np.concatenate([points, np.ones((len(points), 1), points.dtype)], axis=1)


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
