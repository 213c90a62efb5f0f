"""Coarser and finer images: the mean over squares of pixels, and the repetition of pixels.

The two are each other's adjoint but for the number of pixels of a square:   ⟨upsample(x), y⟩ = factor² ⟨x, mean_pool(y)⟩.
"""

import numpy as np

from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.vjp import Array, Pullback


def mean_pool(x: Array, *, factor: int) -> Array:
    """The mean over squares of factor × factor pixels.

    Shapes: (N, H, W, C) → (N, H/factor, W/factor, C).   Domain: H and W divisible by factor.
    """
    return _sums(x, factor) / factor ** 2


def _sums(x: Array, factor: int) -> Array:
    """The sum over squares of factor × factor pixels."""
    total = np.zeros_like(x[:, ::factor, ::factor])
    for i, j in np.ndindex(factor, factor):
        total += x[:, i::factor, j::factor]
    return total


def mean_pool_vjp(x: Array, *, factor: int) -> tuple[Array, Pullback]:
    """Adjoint of `mean_pool`: each pixel of a square gets its share 1/factor² of dy."""
    return mean_pool(x, factor=factor), lambda dy: upsample(dy, factor=factor) / factor ** 2


def upsample(x: Array, *, factor: int) -> Array:
    """Every pixel as a square of factor × factor equal ones.

    Shapes: (N, H, W, C) → (N, H·factor, W·factor, C).
    """
    N, H, W, C = x.shape
    return np.broadcast_to(x[:, :, None, :, None], (N, H, factor, W, factor, C)).reshape(N, H * factor, W * factor, C)


def upsample_vjp(x: Array, *, factor: int) -> tuple[Array, Pullback]:
    """Adjoint of `upsample`: the sum over each square."""
    return upsample(x, factor=factor), lambda dy: _sums(dy, factor)


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
