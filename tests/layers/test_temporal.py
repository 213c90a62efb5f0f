"""Correct: the bumps in t by the printed formula, digit by digit; what is known of them by hand."""

import math

import numpy as np
import pytest

from refdpm.layers.temporal import bumps, temporal, temporal_vjp

T, J = 12, 4
EVERY = np.arange(1, T + 1)


def by_the_formula(t, centres, width):
    heights = [math.exp(-(t - tau) ** 2 / (2 * width ** 2)) for tau in centres]
    return [height / sum(heights) for height in heights]


@pytest.mark.eq("63")
def test_bumps_of_the_paper():
    """T = 12, J = 4: centres 1.5, 4.5, 7.5, 10.5, and w = 3."""
    expected = [by_the_formula(t, (1.5, 4.5, 7.5, 10.5), 3) for t in range(1, 13)]
    assert np.abs(bumps(EVERY, T=T, count=J) - expected).max() < 1e-14


@pytest.mark.eq("63")
def test_bumps_as_released():
    """Centres in linspace(−1, 1, J), t in linspace(−1, 1, T), w half the spacing 2/3."""
    places = np.linspace(-1, 1, T)
    expected = [by_the_formula(place, (-1, -1 / 3, 1 / 3, 1), 1 / 3) for place in places]
    assert np.abs(bumps(EVERY, T=T, count=J, basis="released") - expected).max() < 1e-14


@pytest.mark.eq("63")
@pytest.mark.parametrize("basis", ["paper", "released"])
def test_bumps_add_up_to_one_and_are_symmetric(basis):
    g = bumps(EVERY, T=T, count=J, basis=basis)
    assert np.abs(g.sum(axis=1) - 1).max() < 1e-15 and (g > 0).all()
    middle = (T + 1) if basis == "released" else T                      # t ↔ middle − t exchanges the first bump and the last
    mirrored = bumps(middle - EVERY, T=T, count=J, basis=basis)[:, ::-1]
    assert np.abs(g - mirrored).max() < 1e-14
    assert np.array_equal(bumps(EVERY, T=T, count=1, basis=basis), np.ones((T, 1)))


def test_conditions_of_the_two_bases():
    """How alike the bumps are: with w the spacing some 48, as released some 2.5 (J = 10, T = 1000; PAPER §3)."""
    conditions = [np.linalg.cond(bumps(np.arange(1, 1001), T=1000, count=10, basis=basis)) for basis in ("paper", "released")]
    assert 40 < conditions[0] < 60 and 2 < conditions[1] < 3


def test_another_basis_is_refused():
    with pytest.raises(ValueError, match="basis: expected one of .*, got 'fourier'"):
        bumps(EVERY, T=T, count=J, basis="fourier")


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
