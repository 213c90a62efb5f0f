"""Checks of the layers of images: SciPy's correlation, numbers by hand, and laws of convolution, of pooling and of the bumps in t.

No two sides are equal: N, H, W, C, those of the kernel, the widths.
"""

from math import exp
from typing import Any

import numpy as np
from scipy import ndimage

from refdpm.conformance.checks.common import Check, apart, passes, refused, worst
from refdpm.layers import conv, pool, stack, temporal
from refdpm.vjp import Array


def normal(*shape: int, seed: int = 0) -> Array:
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def _whole(*shape: int, seed: int = 0) -> Array:
    """Whole numbers from −9 to 9: sums of products of them are exact."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(float)


# -- convolution -------------------------------------------------------------------------------------------------------

def _by_scipy(x: Array, weight: Array, bias: Array) -> Array:
    """A convolution channel by channel."""
    y = np.zeros((*x.shape[:3], len(bias))) + bias
    for n, c, k in np.ndindex(len(x), x.shape[3], len(bias)):
        y[n, :, :, k] += ndimage.correlate(x[n, :, :, c], weight[:, :, c, k], mode="constant")
    return y


def convolution_by_scipy() -> float:
    """Of whole numbers; kernels wide, high, of one tap, larger than the image; more pixels than go through at a time."""
    found = []
    for kh, kw, C, K in ((3, 5, 2, 3), (5, 1, 3, 2), (1, 1, 2, 4), (9, 3, 1, 2)):
        for H, W in ((4, 3), (14, 13)):
            x, weight, bias = _whole(2, H, W, C), _whole(kh, kw, C, K, seed=1), _whole(K, seed=2)
            found += [apart(conv.conv2d(x, weight, bias), _by_scipy(x, weight, bias))]
    return worst(*found)


def convolution_of_a_point() -> float:
    """One white pixel: the kernel turned round about it, cut off at the border; in a later channel and image, and elsewhere b."""
    kernel, x, weight = np.arange(1.0, 16).reshape(3, 5), np.zeros((2, 4, 6, 2)), np.zeros((3, 5, 2, 1))
    x[1, 0, 3, 1], weight[:, :, 1, 0] = 1, kernel
    y = conv.conv2d(x, weight, np.array([0.5]))[..., 0] - 0.5
    return worst(apart(y[0], 0 * y[0], scale=15.0),
                 apart(y[1], [[0, 10, 9, 8, 7, 6], [0, 5, 4, 3, 2, 1], [0] * 6, [0] * 6]))


def convolution_moves_with_the_image() -> float:
    """An image in a black frame, wherever in it, gives the same; and what is outside of the image is black."""
    x, weight, bias = _whole(2, 4, 6, 3), _whole(5, 3, 3, 2, seed=1), _whole(2, seed=2)
    found = []
    for above, left in ((2, 1), (5, 3), (4, 2)):
        framed = np.pad(x, ((0, 0), (above, 7 - above), (left, 4 - left), (0, 0)))
        found += [apart(conv.conv2d(framed, weight, bias)[:, above:above + 4, left:left + 6], conv.conv2d(x, weight, bias))]
    return worst(*found)


# -- scales ------------------------------------------------------------------------------------------------------------

def pooling_and_repetition_by_laws() -> float:
    """⟨up x, y⟩ = f² ⟨x, pool y⟩; pool after up is nothing; the mean is kept by both; pooling by 2 twice is pooling by 4."""
    x, y = _whole(2, 3, 4, 5), _whole(2, 6, 8, 5, seed=1)
    up, pooled = pool.upsample(x, factor=2), pool.mean_pool(y, factor=2)
    fine = _whole(2, 8, 12, 3)
    twice = pool.mean_pool(pool.mean_pool(fine, factor=2), factor=2)
    return worst(apart((up * y).sum(), 4 * (x * pooled).sum()), apart(pool.mean_pool(up, factor=2), x),
                 apart(up.mean(axis=(1, 2)), x.mean(axis=(1, 2))), apart(pooled.mean(axis=(1, 2)), y.mean(axis=(1, 2))),
                 apart(pool.mean_pool(fine, factor=4), twice))


# -- bumps in t --------------------------------------------------------------------------------------------------------

def bumps_by_hand() -> float:
    """Two bumps.  T = 4: centres 1 and 3, w = 2, so the odds are e^½ at t = 1, even at t = 2, e⁻¹ at t = 4.  Released, T = 5:
    centres 1 and 5, w = 2: e² at t = 1, even at t = 3, e⁻² at t = 5.  One bump is 1; another basis is refused."""
    def shares(*log_odds: float) -> list[list[float]]:
        return [[1 / (1 + exp(-s)), 1 / (1 + exp(s))] for s in log_odds]

    paper, released = np.array([1, 2, 4]), np.array([1, 3, 5])
    return worst(apart(temporal.bumps(paper, T=4, count=2, basis="paper"), shares(0.5, 0, -1)),
                 apart(temporal.bumps(released, T=5, count=2, basis="released"), shares(2, 0, -2)),
                 *(apart(temporal.bumps(released, T=5, count=1, basis=basis), np.ones((3, 1))) for basis in temporal.BASES),
                 passes(refused(lambda: temporal.bumps(paper, T=4, count=2, basis="fourier"))))


def bumps_part_one() -> float:
    """Σ_j g_j = 1 at every t; back to front they are the same, about T/2 and about (T + 1)/2; the nearest is the largest."""
    found, T, J, t = [], 40, 7, np.arange(1, 41)
    for basis, mirror in (("paper", T), ("released", T + 1)):
        g = temporal.bumps(t, T=T, count=J, basis=basis)
        nearest = t * J / T - 0.5 if basis == "paper" else (t - 1) * (J - 1) / (T - 1)
        sure = np.abs(nearest % 1 - 0.5) > 1e-9                                      # not half way between two
        largest = np.clip(np.round(nearest), 0, J - 1)
        found += [apart(g.sum(axis=1), np.ones(T), within=1e-14), passes(g > 0),
                  apart(g, temporal.bumps(mirror - t, T=T, count=J, basis=basis)[:, ::-1]),
                  passes(g.argmax(axis=1)[sure] == largest[sure])]
    return worst(*found)


def mixtures_of_coefficients() -> float:
    """Coefficients that are all alike are what they are at every t; (y_1 + 3 y_2)/4 for g = (¼, ¾), each row with its own."""
    alike, y, g = np.broadcast_to(normal(3, 2, 5, 1), (3, 2, 5, 6)), _whole(2, 3, 5, 2), np.array([[0.25, 0.75], [1, 0]])
    mixed = temporal.temporal(alike, g=temporal.bumps(np.array([4, 1, 9]), T=9, count=6))
    two = temporal.temporal(y, g=g)
    return worst(apart(mixed, alike[..., 0], within=1e-14), apart(two[0], (y[0, ..., 0] + 3 * y[0, ..., 1]) / 4),
                 apart(two[1], y[1, ..., 0]))


# -- layers together ---------------------------------------------------------------------------------------------------

def layers_one_after_another() -> float:
    """x ↦ p x + 1 for p = 2, 3, 5 makes 30 x + 21; without layers nothing changes."""
    def layer(x: Array, p: float) -> tuple[Array, Any]:
        return p * x + 1, None

    x = _whole(2, 4, 6, 3)
    return worst(apart(stack.stack(x, (2, 3, 5), layer_vjp=layer), 30 * x + 21), apart(stack.stack(x, (), layer_vjp=layer), x))


def paths_side_by_side() -> float:
    """Four features halved, then nine divided by three: features of one size have one weight, path by path."""
    a, b = _whole(2, 3, 5, 4), _whole(2, 3, 5, 9, seed=1)
    y = stack.side_by_side(a, b)
    return worst(apart(y[..., :4], a / 2), apart(y[..., 4:], b / 3),
                 apart((stack.side_by_side(0 * a + 1, 0 * b - 1) ** 2).sum(axis=-1), np.full((2, 3, 5), 2.0)))


CHECKS = (
    Check("convolution by SciPy", ("layers.conv.conv2d",), convolution_by_scipy),
    Check("convolution of a point", ("layers.conv.conv2d",), convolution_of_a_point),
    Check("convolution moves with the image", ("layers.conv.conv2d",), convolution_moves_with_the_image),
    Check("pooling and repetition by laws", ("layers.pool.mean_pool", "layers.pool.upsample"), pooling_and_repetition_by_laws),
    Check("bumps by hand", ("layers.temporal.bumps",), bumps_by_hand),
    Check("bumps part 1", ("layers.temporal.bumps",), bumps_part_one),
    Check("mixtures of coefficients", ("layers.temporal.temporal",), mixtures_of_coefficients),
    Check("layers one after another", ("layers.stack.stack_vjp",), layers_one_after_another),
    Check("paths side by side", ("layers.stack.side_by_side",), paths_side_by_side),
)
