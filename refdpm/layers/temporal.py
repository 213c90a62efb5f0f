"""How outputs depend on t: as a sum of a few bumps in t, with coefficients that the network puts out.

A read-out of its own for every t has too many weights for an image.  Instead the network, which does not know t, puts out J
coefficients for each number that is wanted, and those of neighbouring steps are neighbouring mixtures of them.
"""

from math import prod

import numpy as np

from refdpm.activation import softmax
from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.paper import eq
from refdpm.vjp import Array, Pullback

BASES = ("paper", "released")


@eq("63")
def bumps(t: Array, *, T: int, count: int, basis: str = "paper") -> Array:
    """g_j(t) = exp(−(t − τ_j)²/2w²)/Σ_k exp(−(t − τ_k)²/2w²), j = 1..J: each step's weights on the J bumps, Σ_j g_j = 1.

        paper       τ_j = T (j − ½)/J, the middles of J equal parts of (0, T); w = T/J, their spacing
        released    τ_j from 1 to T, both ends included; w half their spacing: narrower, so the g_j are less alike

    Shapes: t integers (N,) → (N, J).
    Edge: one bump is 1 at every t.
    Raises: ValueError for another basis.
    """
    if basis == "paper":
        position, width = t * count / T - 0.5, 1.0                                  # in spacings, from τ_1
    elif basis == "released":
        position, width = (t - 1) * (count - 1) / (T - 1), 0.5
    else:
        raise ValueError(f"basis: expected one of {BASES}, got {basis!r}")
    return softmax(-((position[:, None] - np.arange(count)) / width) ** 2 / 2)


@eq("62")
def temporal(y: Array, *, g: Array) -> Array:
    """z = Σ_j y_j g_j(t).

    What is mixed may be outputs of a layer, or its weights: Σ_j g_j (x W_j + b_j) = x (Σ_j g_j W_j) + Σ_j g_j b_j.  The second is
    less work where many rows share a t.

    Shapes: y (N, …, J), or (1, …, J) for what all rows share, g (N, J) → (N, …).
    """
    matrices = y.reshape(len(y), prod(y.shape[1:-1]), y.shape[-1])
    z = g @ matrices[0].T if len(y) == 1 else np.matmul(matrices, g[:, :, None])
    return z.reshape(len(z), *y.shape[1:-1])


def temporal_vjp(y: Array, *, g: Array) -> tuple[Array, Pullback]:
    """Adjoint of `temporal`:   dz = Σ_j g_j dy_j."""
    columns = g.reshape(len(g), *(1,) * (y.ndim - 2), g.shape[1])

    def pullback(dz: Array) -> Array:
        return np.tensordot(dz, g, (0, 0))[None] if len(y) == 1 else dz[..., None] * columns

    return temporal(y, g=g), pullback


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
