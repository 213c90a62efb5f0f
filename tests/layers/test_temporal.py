"""Correct: how alike the bumps in t are; mixtures of coefficients by loops."""

import numpy as np
import pytest

from refdpm.layers.linear import linear, per_step
from refdpm.layers.temporal import bumps, temporal, temporal_vjp


def test_conditions_of_the_two_bases():
    """How alike the bumps are: with w the spacing some 48, as released some 2.5 (J = 10, T = 1000; PAPER §3)."""
    conditions = [np.linalg.cond(bumps(np.arange(1, 1001), T=1000, count=10, basis=basis)) for basis in ("paper", "released")]
    assert 40 < conditions[0] < 60 and 2 < conditions[1] < 3


@pytest.mark.eq("62")
@pytest.mark.parametrize("shape", [(3, 2, 5, 4), (3, 4), (3, 2, 6, 2, 1, 4)], ids=str)
def test_mixture_by_loops(shape):
    rng = np.random.default_rng(0)
    y, g = rng.standard_normal(shape), rng.standard_normal((3, 4))
    expected = np.zeros(shape[:-1])
    for index in np.ndindex(shape):
        expected[index[:-1]] += y[index] * g[index[0], index[-1]]
    assert np.abs(temporal(y, g=g) - expected).max() < 1e-14
    dy = temporal_vjp(y, g=g)[1](expected)
    assert all(dy[index] == expected[index[:-1]] * g[index[0], index[-1]] for index in np.ndindex(shape))


@pytest.mark.eq("62")
def test_weights_are_mixed_as_outputs_are():
    """Of images too, whose pixels share a t."""
    rng = np.random.default_rng(1)
    x, weight, bias, g = (rng.standard_normal(shape) for shape in ((3, 2, 5, 4), (4, 6 * 7), (6 * 7,), (3, 7)))
    outputs = temporal(linear(x, weight, bias).reshape(3, 2, 5, 6, 7), g=g)
    weights, biases = temporal(weight.reshape(1, 4, 6, 7), g=g), temporal(bias.reshape(1, 6, 7), g=g)
    assert np.abs(per_step(x, weights, biases, t=np.arange(3)) - outputs).max() < 1e-13
