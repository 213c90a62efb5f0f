"""Correct: convolution, pooling and scales against loops over pixels; consistent: identities between them."""

import numpy as np
import pytest

from refdpm.layers import conv
from refdpm.layers.conv import conv2d, conv2d_vjp, strided_conv2d
from refdpm.layers.linear import Affine, linear
from refdpm.layers.multiscale import multiscale, multiscale_released
from refdpm.layers.pool import mean_pool, upsample

KERNELS = [(1, 1), (3, 3), (1, 3), (3, 1), (5, 3), (3, 7), (9, 5)]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def conv_by_loops(x, weight, bias):
    N, H, W, C = x.shape
    kh, kw, _, K = weight.shape
    y = np.zeros((N, H, W, K), np.result_type(x, weight))
    for n, h, w, k in np.ndindex(N, H, W, K):
        y[n, h, w, k] = bias[k]
        for i, j, c in np.ndindex(kh, kw, C):
            above, left = h + i - kh // 2, w + j - kw // 2
            if 0 <= above < H and 0 <= left < W:
                y[n, h, w, k] += x[n, above, left, c] * weight[i, j, c, k]
    return y


def pool_by_loops(x, factor):
    N, H, W, C = x.shape
    y = np.zeros((N, H // factor, W // factor, C))
    for n, h, w, c in np.ndindex(x.shape):
        y[n, h // factor, w // factor, c] += x[n, h, w, c] / factor ** 2
    return y


def scales_by_loops(x, kernels, inside):
    total = np.zeros((*x.shape[:3], kernels[0].bias.size))
    for s, kernel in enumerate(kernels):
        coarse = inside(conv_by_loops(pool_by_loops(x, 2 ** s), *kernel))
        for n, h, w, k in np.ndindex(total.shape):
            total[n, h, w, k] += coarse[n, h // 2 ** s, w // 2 ** s, k]
    return total


# -- convolution -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("C,K", [(3, 2), (1, 3), (2, 1)])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_convolution_by_loops(kernel, C, K):
    x, weight, bias = normal(2, 4, 6, C), normal(*kernel, C, K, seed=1), normal(K, seed=2)
    expected = conv_by_loops(x, weight, bias)
    assert np.abs(conv2d(x, weight, bias) - expected).max() < 1e-13 * np.abs(expected).max()


def test_convolution_of_complex_images():
    x, weight = normal(2, 4, 5, 3) + 1j * normal(2, 4, 5, 3, seed=3), normal(3, 5, 3, 2, seed=1)
    assert np.abs(conv2d(x, weight, np.zeros(2)) - conv_by_loops(x, weight, np.zeros(2))).max() < 1e-13


def test_images_do_not_see_each_other():
    """What stands at the last pixel of one image and the first of the next stays out of the others, whatever the shift."""
    weight, x = np.ones((5, 5, 1, 1)), np.zeros((3, 3, 4, 1))
    x[1] = 1
    y = conv2d(x, weight, np.zeros(1))
    assert not y[0].any() and not y[2].any() and y[1].all()


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_an_image_alone_or_in_a_batch(kernel):
    """The matrix products of a batch have other sizes, so that roundings may differ."""
    x, weight, bias = normal(7, 6, 4, 3), normal(*kernel, 3, 5, seed=1), normal(5, seed=2)
    alone = np.concatenate([conv2d(image[None], weight, bias) for image in x])
    assert np.abs(conv2d(x, weight, bias) - alone).max() < 1e-12


def test_one_by_one_is_linear_in_every_pixel():
    x, weight, bias = normal(3, 4, 6, 2), normal(1, 1, 2, 5, seed=1), normal(5, seed=2)
    assert np.abs(conv2d(x, weight, bias) - linear(x, weight[0, 0], bias)).max() < 1e-14


def test_gradient_of_the_weights_by_loops():
    """dW[i, j, c, k] = Σ over pixels p of x[p + (i − a, j − b), c] dy[p, k], from the definition and not through an adjoint gap."""
    x, weight, dy = normal(2, 4, 5, 3), normal(3, 5, 3, 2, seed=1), normal(2, 4, 5, 2, seed=2)
    _, dweight, dbias = conv2d_vjp(x, weight, np.zeros(2))[1](dy)
    expected = np.zeros_like(weight)
    for index in np.ndindex(weight.shape):
        unit = np.zeros_like(weight)
        unit[index] = 1
        expected[index] = (conv_by_loops(x, unit, np.zeros(2)) * dy).sum()
    assert np.abs(dweight - expected).max() < 1e-13 and np.abs(dbias - dy.sum(axis=(0, 1, 2))).max() < 1e-13


@pytest.mark.parametrize("block", [1, 10, 33])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_cells_in_blocks_or_all_at_once(kernel, block, monkeypatch):
    """Blocks that do not divide the number of cells; every value and every cotangent."""
    x, weight, bias, dy = normal(2, 4, 6, 3), normal(*kernel, 3, 5, seed=1), normal(5, seed=2), normal(2, 4, 6, 5, seed=3)
    y, pullback = conv2d_vjp(x, weight, bias)
    whole = (y, *pullback(dy))
    monkeypatch.setattr(conv, "BLOCK", block)
    y, pullback = conv2d_vjp(x, weight, bias)
    assert all(np.abs(a - b).max() < 1e-12 for a, b in zip((y, *pullback(dy)), whole, strict=True))


def test_more_cells_than_a_block():
    x, weight, bias = normal(3, 31, 29, 1), normal(3, 3, 1, 2, seed=1), normal(2, seed=2)
    assert x.size > conv.BLOCK and np.abs(conv2d(x, weight, bias) - conv_by_loops(x, weight, bias)).max() < 1e-13


def test_single_precision_stays():
    x, weight, bias = (a.astype(np.float32) for a in (normal(2, 4, 6, 1), normal(3, 3, 1, 5), normal(5)))
    y, pullback = conv2d_vjp(x, weight, bias)
    assert {a.dtype for a in (y, *pullback(y))} == {np.dtype(np.float32)}


# -- pooling -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pooling_and_repetition_by_loops(factor):
    x = normal(2, 6, 12, 5)
    assert np.abs(mean_pool(x, factor=factor) - pool_by_loops(x, factor)).max() < 1e-15
    fine = upsample(x, factor=factor)
    assert fine.shape == (2, 6 * factor, 12 * factor, 5)
    assert all(fine[n, h, w, c] == x[n, h // factor, w // factor, c] for n, h, w, c in np.ndindex(fine.shape))


# -- scales ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("scales", [1, 2, 3])
def test_scales_by_loops(scales):
    x = normal(2, 4, 8, 3)
    kernels = tuple(Affine(normal(3, 5, 3, 2, seed=s), normal(2, seed=10 + s)) for s in range(scales))
    expected = scales_by_loops(x, kernels, inside=lambda y: y)
    assert np.abs(multiscale(x, kernels) - expected).max() < 1e-12
    rectified = scales_by_loops(x, kernels, inside=lambda y: np.where(y > 0, y, 0.05 * y)) / scales
    assert np.abs(multiscale_released(x, kernels) - rectified).max() < 1e-12


@pytest.mark.parametrize("kernel,stride,padding", [((3, 3), 2, 1), ((4, 4), 2, 1), ((2, 5), 3, 0), ((1, 2), 1, 2), ((3, 3), 1, 1)])
def test_strided_convolution_by_loops(kernel, stride, padding):
    x, weight, bias = normal(2, 6, 7, 3), normal(*kernel, 3, 4, seed=1), normal(4, seed=2)
    rows, columns = ((x.shape[1 + a] + 2 * padding - kernel[a]) // stride + 1 for a in (0, 1))
    expected = np.zeros((2, rows, columns, 4))
    for n, h, w, k in np.ndindex(*expected.shape):
        expected[n, h, w, k] = bias[k]
        for i, j, c in np.ndindex(*kernel, 3):
            above, left = h * stride + i - padding, w * stride + j - padding
            if 0 <= above < 6 and 0 <= left < 7:
                expected[n, h, w, k] += x[n, above, left, c] * weight[i, j, c, k]
    got = strided_conv2d(x, weight, bias, stride=stride, padding=padding)
    assert got.shape == expected.shape and np.abs(got - expected).max() < 1e-13
