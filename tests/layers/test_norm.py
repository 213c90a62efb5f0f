"""Correct: group normalisation against loops; what it does to units, to examples and at edges."""

import math

import numpy as np
import pytest

from refdpm.layers.norm import group_norm, group_norm_vjp, layer_norm, rms_norm


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def group_norm_by_loops(x, scale, shift, groups, epsilon):
    y, size = np.empty_like(x), x.shape[-1] // groups
    for n, g in np.ndindex(len(x), groups):
        channels = range(g * size, (g + 1) * size)
        numbers = [x[n, h, w, c] for h, w in np.ndindex(x.shape[1:3]) for c in channels]
        mean = math.fsum(numbers) / len(numbers)
        var = math.fsum((a - mean) ** 2 for a in numbers) / len(numbers)
        for (h, w), c in [(pixel, c) for pixel in np.ndindex(x.shape[1:3]) for c in channels]:
            y[n, h, w, c] = scale[c] * (x[n, h, w, c] - mean) / math.sqrt(var + epsilon) + shift[c]
    return y


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_group_norm_by_loops(groups, epsilon):
    x, scale, shift = 2 + normal(3, 4, 5, 6) * np.arange(1, 7), normal(6, seed=1), normal(6, seed=2)
    expected = group_norm_by_loops(x, scale, shift, groups, epsilon)
    assert np.abs(group_norm(x, scale, shift, groups=groups, epsilon=epsilon) - expected).max() < 1e-13


def test_epsilon_is_inside_of_the_root():
    """±1 times 10⁻³: variance 10⁻⁶; with ε = 3·10⁻⁶ the root is 2·10⁻³."""
    x = np.array([1e-3, -1e-3]).reshape(1, 2, 1, 1)
    assert np.abs(group_norm(x, np.ones(1), np.zeros(1), groups=1, epsilon=3e-6).ravel() - [0.5, -0.5]).max() < 1e-15


def test_variance_is_divided_by_the_number():
    """0 and 2 become −1 and 1, not ±√½."""
    x = np.array([0.0, 2.0]).reshape(1, 1, 1, 2)
    assert np.abs(group_norm(x, np.ones(2), np.zeros(2), groups=1, epsilon=1e-15).ravel() - [-1, 1]).max() < 1e-14


def test_group_norm_of_equal_numbers():
    x, shift = np.full((2, 3, 4, 6), 7.25), normal(6)
    y, back = group_norm_vjp(x, np.ones(6), shift, groups=2)
    assert np.array_equal(y, np.broadcast_to(shift, x.shape)) and all(np.isfinite(d).all() for d in back(normal(2, 3, 4, 6)))


def test_no_gradient_along_what_changes_nothing():
    """Adding to a whole group, or stretching it about its mean while ε is small, leaves y: dx is orthogonal to both."""
    x = normal(2, 3, 4, 6)
    _, back = group_norm_vjp(x, normal(6, seed=1), normal(6, seed=2), groups=3, epsilon=1e-14)
    dx = back(normal(2, 3, 4, 6, seed=3))[0].reshape(2, 12, 3, 2)
    assert np.abs(dx.sum(axis=(1, 3))).max() < 1e-13
    assert np.abs((dx * x.reshape(2, 12, 3, 2)).sum(axis=(1, 3))).max() < 1e-12


def test_single_precision_stays_single():
    x, one = np.float32(normal(2, 3, 4, 6)), np.ones(6, np.float32)
    y, back = group_norm_vjp(x, one, one, groups=2)
    assert {y.dtype, *(d.dtype for d in back(y))} == {np.dtype(np.float32)}


def test_layer_norm_and_rms_norm_by_loops():
    x, scale, shift = 2 + normal(3, 4, 5), normal(5, seed=1), normal(5, seed=2)
    layer, root = layer_norm(x, scale, shift, epsilon=0.25), rms_norm(x, scale, epsilon=0.25)
    for n, l in np.ndindex(3, 4):
        row = x[n, l].tolist()
        mean = math.fsum(row) / 5
        var, square = math.fsum((a - mean) ** 2 for a in row) / 5, math.fsum(a * a for a in row) / 5
        assert layer[n, l] == pytest.approx([s * (a - mean) / math.sqrt(var + 0.25) + b for a, s, b in zip(row, scale, shift)])
        assert root[n, l] == pytest.approx([s * a / math.sqrt(square + 0.25) for a, s in zip(row, scale)], rel=1e-14)


def test_rms_norm_by_hand():
    """3 and 4 have the mean square 12½; twice x is the same as x."""
    assert rms_norm(np.array([[3.0, 4]]), np.ones(2), epsilon=0.0) == pytest.approx(np.array([[3, 4]]) / math.sqrt(12.5), rel=1e-15)
    assert rms_norm(np.array([[6.0, 8]]), np.ones(2), epsilon=1.5) == pytest.approx(
        np.array([[6, 8]]) / math.sqrt(51.5), rel=1e-15)
