"""Checks of the layers of images: SciPy's correlation, laws of pooling, numbers by hand.

No two sides are equal: N, H, W, C, those of the kernel, the widths.
"""

from math import exp

import numpy as np
from scipy import ndimage

from refdpm.conformance.checks.common import apart, check, passes, refused, worst
from refdpm.layers import conv, pool, temporal
from refdpm.vjp import Array


def normal(*shape: int, seed: int = 0) -> Array:
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def _whole(*shape: int, seed: int = 0) -> Array:
    """Whole numbers from −9 to 9: sums of products of them are exact."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(float)


@check("convolution by SciPy", "layers.conv.conv2d")
def convolution_by_scipy() -> float:
    """Of whole numbers; kernels wide, high, of one tap, larger than the image; more pixels than go through at a time."""
    found = []
    for kh, kw, C, K in ((3, 5, 2, 3), (5, 1, 3, 2), (1, 1, 2, 4), (9, 3, 1, 2)):
        for H, W in ((4, 3), (14, 13)):
            x, weight, bias = _whole(2, H, W, C), _whole(kh, kw, C, K, seed=1), _whole(K, seed=2)
            expected = np.zeros((2, H, W, K)) + bias
            for n, c, k in np.ndindex(2, C, K):
                expected[n, :, :, k] += ndimage.correlate(x[n, :, :, c], weight[:, :, c, k], mode="constant")
            found += [apart(conv.conv2d(x, weight, bias), expected)]
    return worst(*found)


@check("pooling and repetition by laws", "layers.pool.mean_pool", "layers.pool.upsample")
def pooling_and_repetition_by_laws() -> float:
    """⟨up x, y⟩ = f² ⟨x, pool y⟩; pool after up is nothing; the mean is kept by both."""
    x, y = _whole(2, 3, 4, 5), _whole(2, 6, 8, 5, seed=1)
    up, pooled = pool.upsample(x, factor=2), pool.mean_pool(y, factor=2)
    return worst(apart((up * y).sum(), 4 * (x * pooled).sum()), apart(pool.mean_pool(up, factor=2), x),
                 apart(up.mean(axis=(1, 2)), x.mean(axis=(1, 2))), apart(pooled.mean(axis=(1, 2)), y.mean(axis=(1, 2))))


@check("bumps and their mixtures by hand", "layers.temporal.bumps", "layers.temporal.temporal")
def bumps_by_hand() -> float:
    """Two bumps.  T = 4: centres 1 and 3, w = 2, so the odds are e^½ at t = 1, even at t = 2, e⁻¹ at t = 4.  Released, T = 5:
    centres 1 and 5, w = 2: e² at t = 1, even at t = 3, e⁻² at t = 5.  One bump is 1; another basis is refused.  (y_1 + 3 y_2)/4 for
    g = (¼, ¾), each row with its own."""
    def shares(*log_odds: float) -> list[list[float]]:
        return [[1 / (1 + exp(-s)), 1 / (1 + exp(s))] for s in log_odds]

    paper, released = np.array([1, 2, 4]), np.array([1, 3, 5])
    y = _whole(2, 3, 5, 2)
    mixed = temporal.temporal(y, g=np.array([[0.25, 0.75], [1, 0]]))
    return worst(apart(temporal.bumps(paper, T=4, count=2, basis="paper"), shares(0.5, 0, -1)),
                 apart(temporal.bumps(released, T=5, count=2, basis="released"), shares(2, 0, -2)),
                 *(apart(temporal.bumps(released, T=5, count=1, basis=basis), np.ones((3, 1))) for basis in temporal.BASES),
                 passes(refused(lambda: temporal.bumps(paper, T=4, count=2, basis="fourier"))),
                 apart(mixed[0], (y[0, ..., 0] + 3 * y[0, ..., 1]) / 4), apart(mixed[1], y[1, ..., 0]))
