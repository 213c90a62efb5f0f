"""What second moments alone can do with images: the best normal law, and the best linear denoiser.

A model of images should beat both.  With mean m and covariance C of the training images, the normal law N(m, C) has the largest
likelihood of all normal laws, and from y = x + √v ε, ε ~ N(0, I), the linear estimate of least mean squared error is Wiener's,

    x̂ = m + C (C + v I)⁻¹ (y − m),

with the error tr[(C⁻¹ + I/v)⁻¹] over all components: the same for every law with these moments, and the least possible for the
normal one.  A state of the chain is such a y after division: x_t/√ᾱ_t has v = (1 − ᾱ_t)/ᾱ_t.

Images (N, H, W, C) or rows (N, D) are flattened to D components.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .common import Array, open_doors

LOG_2PI = float(np.log(2 * np.pi))
_ROWS = 4096                  # rows centred at a time


class Law(NamedTuple):
    """A normal law by the spectrum of its covariance, U diag(s) Uᵀ.

    Shapes: mean (D,), variances s (D,) in ascending order, axes U (D, D) in columns.
    """

    mean: Array
    variances: Array
    axes: Array

    @property
    def covariance(self) -> Array:
        """U diag(s) Uᵀ, (D, D)."""
        return (self.axes * self.variances) @ self.axes.T


def law_of(mean: Array, covariance: Array) -> Law:
    """The law of given moments.   Raises: ValueError unless the covariance is symmetric and positive definite."""
    mean, covariance = np.asarray(mean, dtype=float), np.asarray(covariance, dtype=float)
    if covariance.shape != mean.shape * 2 or not np.allclose(covariance, covariance.T):
        raise ValueError(f"covariance: expected a symmetric matrix {mean.shape * 2}, got shape {covariance.shape}")
    variances, axes = np.linalg.eigh(covariance)
    if not variances[0] > 0:
        raise ValueError(f"covariance: expected positive eigenvalues, got {variances[0]:.3g}")
    return Law(mean, variances, axes)


def fit(x: Array) -> Law:
    """The normal law of largest likelihood: sample mean, and sample covariance with divisor N.

    Edge: fitted parameters cost likelihood on new data, for normal data about D (D + 3)/(4N) nats an image, so N must be ≫ D².
    Raises: ValueError when N ≤ D or a direction has no variance.
    """
    rows = _flat(x)
    n, size = rows.shape
    if n <= size:
        raise ValueError(f"x: expected more than {size} images of {size} components, got {n}")
    mean = rows.mean(axis=0, dtype=float)
    parts = (rows[start:start + _ROWS] - mean for start in range(0, n, _ROWS))
    return law_of(mean, sum(part.T @ part for part in parts) / n)


def log_likelihood(x: Array, law: Law) -> Array:
    """log N(x; m, C) of every image, in nats.   −½ Σ_j [log 2πs_j + (uⱼᵀ(x − m))²/s_j],  (N, …) → (N,)"""
    along = (_flat(x) - law.mean) @ law.axes
    return -0.5 * (along * along / law.variances + np.log(law.variances) + LOG_2PI).sum(axis=1)


def log_likelihood_per_pixel(x: Array, law: Law) -> Array:
    """The same divided by the number of pixels, H·W; all colours of a pixel count together.   (N, H, W, C) → (N,)"""
    _, height, width, _ = x.shape
    return log_likelihood(x, law) / (height * width)


def denoise(y: Array, law: Law, *, noise_var: float) -> Array:
    """Wiener's estimate x̂ of x from y = x + √v ε.   m + U diag(s/(s + v)) Uᵀ (y − m), in the shape of y.

    For the normal law it is E[x | y].
    """
    along = (_flat(y) - law.mean) @ law.axes
    estimate = law.mean + (along * (law.variances / (law.variances + noise_var))) @ law.axes.T
    return estimate.reshape(y.shape)


def squared_error(estimate: Array, x: Array) -> Array:
    """The mean over components of (x̂ − x)², for every image.   (N, …) → (N,)"""
    return np.square(_flat(estimate) - _flat(x)).mean(axis=1)


def expected_error(law: Law, *, noise_var: float) -> float:
    """E of `squared_error` of `denoise`, for any data with the law's moments.

    tr[(C⁻¹ + I/v)⁻¹]/D  =  (1/D) Σ_j s_j v/(s_j + v)
    """
    return float((law.variances * noise_var / (law.variances + noise_var)).mean())


def _flat(x: Array) -> Array:
    x = np.asarray(x)
    return x.reshape(len(x), -1)


open_doors(globals())
