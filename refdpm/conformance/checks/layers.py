"""Checks of layers: SciPy's correlation, laws of pooling, numbers by hand.

No two sides are equal: N, H, W, C, those of the kernel, the widths.
"""

from math import exp, log

import numpy as np
from scipy import ndimage

from refdpm import activation
from refdpm.conformance.checks.common import apart, check, passes, refused, worst
from refdpm.layers import conv, norm, pool, rbf, temporal
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


@check("layers at special points", "activation.softplus", "activation.sigmoid", "activation.sigmoids", "activation.logit",
       "activation.tanh", "activation.leaky_relu", "activation.log1p", "layers.rbf.rbf")
def layers_at_special_points() -> float:
    """Values known in closed form, at 0, at ±log 3, and where an exponential would overflow; bumps that all underflow: the widest
    wins; half way between two alike: ½ each."""
    x = np.array([0, log(3), -log(3), 800, -800])
    centre, log_width = np.array([[0.0, 0.0], [2.0, 0.0], [-1.0, 3.0]]), np.log([1.0, 1.0, 2.0])
    far = rbf.rbf(np.array([[300.0, 400.0], [-1e4, 0]]), centre, log_width)
    return worst(apart(activation.softplus(np.append(x, log(np.e - 1))), [log(2), log(4), log(4 / 3), 800, 0, 1]),
                 apart(activation.sigmoid(x), [0.5, 0.75, 0.25, 1, 0]), apart(activation.tanh(x / 2), [0, 0.5, -0.5, 1, -1]),
                 apart(np.stack(activation.sigmoids(x)), [[0.5, 0.75, 0.25, 1, 0], [0.5, 0.25, 0.75, 0, 1]]),
                 apart(activation.logit(np.array([0.5, 0.75, 0.25, 1])), [0, log(3), -log(3), np.inf]),
                 apart(activation.log1p(np.array([np.e - 1, -0.5, 1e-20])), [1, -log(2), 1e-20]),
                 apart(activation.leaky_relu(np.array([3.0, -2.0, 0.0])), [3, -0.1, 0]), apart(far, [[0, 0, 1]] * 2),
                 apart(rbf.rbf(np.array([[1.0, 7.0]]), centre[:2], log_width[:2]), [[0.5, 0.5]]))


@check("softmax by hand", "activation.softmax", "activation.off_average")
def softmax_by_hand() -> float:
    """Of the logarithms of 1, 2, 5: one, two and five eighths, row by row; far away on either side; equal numbers.
    1 and 3 with a quarter and three quarters have the average 2½."""
    logs, shares = np.log([1.0, 2, 5]), np.array([0.125, 0.25, 0.625])
    rows = np.stack([logs, logs[::-1]])
    return worst(*(apart(activation.softmax(rows + far), [shares, shares[::-1]], within=1e-11) for far in (0.0, -1e4, 1e4)),
                 apart(activation.softmax(np.full((2, 7), -3.0)), np.full((2, 7), 1 / 7)),
                 passes(activation.softmax(np.array([[800.0, -800]])) == [1, 0]),
                 apart(activation.off_average(np.array([[1.0, 3]]), np.array([[0.25, 0.75]])), [[-1.5, 0.5]]),
                 apart(activation.off_average(np.array([[0.0, 1]]), np.array([[1, 1e-20]])), [[-1e-20, 1]],
                       scale=[[1e-20, 1]]))


@check("group normalisation by hand", "layers.norm.group_norm")
def group_norm_by_hand() -> float:
    """1, 3, 5, 7 have mean 4 and variance 5, with ε = 4 the root 3; a group of equal numbers leaves the shift.
    For ε → 0 a shift and a factor of x for each group and example change nothing."""
    x = np.array([[[1.0, 5, 2, 2], [3, 7, 2, 2]]])
    y = norm.group_norm(x, np.array([3.0, 6, 1, 1]), np.array([0.0, 1, 5, -5]), groups=2, epsilon=4.0)
    pixels = normal(3, 4, 2, 6)
    moved = pixels * np.repeat(normal(3, 1, 1, 2, seed=1) ** 2 + 1, 3, axis=-1) + np.repeat(normal(3, 1, 1, 2, seed=2), 3, axis=-1)
    once, again = (norm.group_norm(z, np.ones(6), np.zeros(6), groups=2, epsilon=1e-14) for z in (pixels, moved))
    return worst(apart(y, [[[-3, 3, 5, -5], [-1, 7, 5, -5]]]), apart(again, once))
