"""Data: generated here or read from disk, and what the bound demands of them."""

import numpy as np

from refdpm.vjp import Array


LEAST = 100                   # with fewer examples a standard error says little


def checked(x_0: Array, *, name: str = "data") -> Array:
    """`x_0` as float64 if K may be computed on it: finite, two axes, centred, and E x² = 1 on average over components.

    With S = E|x_0|², K is off the strict bound by C = ½ (n − S)(ᾱ_T + β_1); S > n would make it too large, S < n too small.

    Tolerance: 0.02 plus six standard errors, so that a false alarm comes once in 10⁸ at most.
    Raises: ValueError that names what was expected and what came.
    """
    x_0 = np.asarray(x_0, dtype=np.float64)
    if x_0.ndim != 2 or len(x_0) < LEAST:
        raise ValueError(f"{name}: expected shape (N, D) with N ≥ {LEAST}, got {x_0.shape}")
    if not np.isfinite(x_0).all():
        row = int(np.argmin(np.isfinite(x_0).all(axis=1)))
        raise ValueError(f"{name}: expected finite numbers, got {x_0[row]} in row {row}")
    root = np.sqrt(len(x_0))
    for d, column in enumerate(x_0.T):
        if abs(column.mean()) > 0.02 + 6 * column.std() / root:
            raise ValueError(f"{name}: expected centred columns, got mean {column.mean():.4g} in column {d}")
    square = (x_0 * x_0).mean(axis=1)
    if abs(square.mean() - 1) > 0.02 + 6 * square.std() / root:
        raise ValueError(f"{name}: expected unit variance (mean square 1 over all components), got {square.mean():.4g}")
    return x_0
