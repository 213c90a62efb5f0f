"""From stored images to what the chain is run on, and back: dequantised, centred and scaled by constants of the training set.

Stored images are on a grid of levels, where a density can be infinite.  Noise as wide as one level makes an honest density of them,
and the bound then says something about the levels themselves.  The chain also wants E x² = 1 on average over the components, noise
included, or K is not a bound (`checked_images`, and `bound.correction` for what is left).  With values v of mean m and variance s²
over every component of every training image, and u uniform on [0, 1),

    x = (v + level (u − ½) − m) · scale,        E x² = (s² + level²/12) · scale²,

because u − ½ has mean 0 and variance 1/12, and is independent of v.  Hence scale = 1/√(s² + level²/12).  The noise is level · scale
wide in x: it is scaled like everything else.

The constants are those of the whole training set, never of a batch; held-out images are prepared with the same ones, so that their
mean square is only about 1.
"""

from collections.abc import Iterator
from math import fsum
from typing import NamedTuple

import numpy as np

from refdpm.data import LEAST
from refdpm.vjp import Array

_CHUNK = 1 << 20              # values made float64 at a time


class Constants(NamedTuple):
    """x = (v + level (u − ½) − mean) · scale.   `level` is the distance of two neighbouring values; 0 for data on no grid."""

    mean: float
    scale: float
    level: float


def constants_of(values: Array, *, level: float) -> Constants:
    """The constants of a training set, from all its values, without a copy of them all in float64.

    Bytes are counted, so that mean and variance are exact but for the last rounding; others are summed in two passes.

    Raises: ValueError when there are no values, one is not finite, the level is negative, or all are equal at level 0.
    """
    if not (np.isfinite(level) and level >= 0):
        raise ValueError(f"level: expected a finite number that is not negative, got {level}")
    if values.size == 0:
        raise ValueError(f"values: expected at least one, got shape {values.shape}")
    mean, variance = _moments_of_bytes(values) if values.dtype == np.uint8 else _moments(values)
    if not np.isfinite(variance):
        raise ValueError("values: expected finite numbers, got NaN, infinity, or numbers whose squares overflow")
    variance += level * level / 12
    if not variance > 0:
        raise ValueError(f"values: expected at least two different ones at level 0, got {mean} only")
    return Constants(mean, float(1 / np.sqrt(variance)), float(level))


def _moments_of_bytes(values: Array) -> tuple[float, float]:
    """Mean and variance of bytes, from how often each occurs, in whole numbers."""
    count = sum(np.bincount(chunk, minlength=256) for chunk in _chunks(values))
    n, total, squares = (sum(int(c) * v ** k for v, c in enumerate(np.asarray(count))) for k in range(3))
    return total / n, (n * squares - total * total) / (n * n)


def _moments(values: Array) -> tuple[float, float]:
    """Mean and variance of any values, the latter about the former."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = _total(float(chunk.sum(dtype=np.float64)) for chunk in _chunks(values)) / values.size
        deviations = (np.subtract(chunk, mean, dtype=np.float64) for chunk in _chunks(values))
        return mean, _total(float(np.square(deviation).sum()) for deviation in deviations) / values.size


def _total(sums: Iterator[float]) -> float:
    parts = list(sums)
    return fsum(parts) if np.isfinite(parts).all() else float("nan")


def _chunks(values: Array) -> Iterator[Array]:
    flat = values.reshape(-1)
    return (flat[start:start + _CHUNK] for start in range(0, values.size, _CHUNK))


def prepare(values: Array, constants: Constants, *, noise: Array) -> Array:
    """x = (v + level (noise − ½) − mean) · scale, in float64.

    Noise: uniform on [0, 1) and of the shape of `values`, fresh for each use in training, frozen in a comparison; without effect
    at level 0.
    """
    return (np.asarray(values, dtype=np.float64) + constants.level * (noise - 0.5) - constants.mean) * constants.scale


def restore(x: Array, constants: Constants, *, low: float = 0.0, high: float = 255.0) -> Array:
    """The picture in bytes: values from `low` to `high` on 0..255, rounded to the nearest, clipped.

    The inverse of `prepare` for bytes.
    Domain: finite x.
    """
    value = x / constants.scale + constants.mean
    return np.clip(np.floor((value - low) * (255 / (high - low)) + 0.5), 0, 255).astype(np.uint8)


def checked_images(x_0: Array, *, name: str = "data") -> Array:
    """`x_0` as float64 if K may be computed on it: finite, (N, H, W, C), and E x² = 1 on average over components.

    Pixels need not be centred one by one: the correction between K and the strict bound is ½ (n − S)(ᾱ_T + β_1), S = E|x|², so that
    only the sum of all second moments counts.

    Tolerance: 0.02 plus six standard errors over images, so that a false alarm comes once in 10⁸ at most.
    Raises: ValueError that names what was expected and what came.
    """
    x_0 = np.asarray(x_0, dtype=np.float64)
    if x_0.ndim != 4 or len(x_0) < LEAST or x_0.size == 0:
        raise ValueError(f"{name}: expected shape (N, H, W, C) with N ≥ {LEAST}, got {x_0.shape}")
    finite = np.isfinite(x_0).all(axis=(1, 2, 3))
    if not finite.all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity in image {int(np.argmin(finite))}")
    square = np.square(x_0).mean(axis=(1, 2, 3))
    if abs(square.mean() - 1) > 0.02 + 6 * square.std() / np.sqrt(len(x_0)):
        raise ValueError(f"{name}: expected mean square 1 over all components, got {square.mean():.4g}")
    return x_0
