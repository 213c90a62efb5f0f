"""Correct: layers one after another and paths side by side, by hand."""

import numpy as np

from refdpm.layers.linear import linear, linear_vjp
from refdpm.layers.stack import side_by_side, stack, stack_vjp


def layer_vjp(x, layer):
    y, back = linear_vjp(x, *layer)
    return y, lambda dy: (back(dy)[0], back(dy)[1:])


def test_each_layer_is_fed_by_the_one_before():
    rng = np.random.default_rng(0)
    x, layers = rng.standard_normal((5, 2)), tuple((rng.standard_normal(s), rng.standard_normal(s[1])) for s in ((2, 3), (3, 4)))
    by_hand = (x @ layers[0][0] + layers[0][1]) @ layers[1][0] + layers[1][1]
    assert np.abs(stack(x, layers, layer_vjp=layer_vjp) - by_hand).max() < 1e-14


def test_no_layers_pass_everything_on():
    x = np.arange(6.0).reshape(2, 3)
    y, back = stack_vjp(x, (), layer_vjp=layer_vjp)
    assert np.array_equal(y, x) and back(x)[1] == () and np.array_equal(back(x)[0], x)


def test_paths_have_the_same_weight():
    a, b = np.ones((2, 3, 4)), -2 * np.ones((2, 3, 9))
    y = side_by_side(a, b)
    assert np.allclose(y[..., :4], 1 / 2, rtol=1e-15) and np.allclose(y[..., 4:], -2 / 3, rtol=1e-15) and y.shape == (2, 3, 13)


def test_linear_in_every_pixel():
    rng = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal((3, 4, 6, 2)), rng.standard_normal((2, 5)), rng.standard_normal(5)
    expected = [sum(x[..., c] * weight[c, k] for c in range(2)) + bias[k] for k in range(5)]
    assert np.abs(linear(x, weight, bias) - np.stack(expected, axis=-1)).max() < 1e-14
