"""The roll's exact moments, and what is refused as data."""

import numpy as np
import pytest
from scipy.integrate import quad

from refdpm import data
from refdpm.data import swiss_roll
from refdpm.oracles import swiss_roll as oracle


def test_constants_are_the_moments_of_the_curve():
    """By adaptive quadrature over φ: mean 0, E|x|² = 2, and the covariance printed in PAPER §4.4."""
    def average(f):
        return quad(lambda phi: f(swiss_roll.curve(np.array([phi]))[0]), 1.5 * np.pi, 4.5 * np.pi, limit=200)[0] / (3 * np.pi)

    assert [average(lambda x: x[d]) for d in range(2)] == pytest.approx([0, 0], abs=1e-12)
    assert average(lambda x: x @ x) == pytest.approx(2, rel=1e-12)
    assert [average(lambda x: x[0] ** 2), average(lambda x: x[0] * x[1])] == pytest.approx([0.95167288, 0.0930312], abs=5e-9)


def test_draws_lie_on_the_oracle_s_roll():
    x = swiss_roll.draw(np.random.default_rng(0), 1000)
    assert oracle.distance_to_curve(x).max() < 1e-12
    assert np.array_equal(x, swiss_roll.draw(np.random.default_rng(0), 1000))


def test_draws_are_uniform_in_phi():
    """Kolmogorov–Smirnov distance of |raw point| = φ: above 1.95/√n once in a thousand seeds."""
    x = swiss_roll.draw(np.random.default_rng(1), 4000)
    phi = np.sort(np.linalg.norm(x * swiss_roll.SCALE + swiss_roll.CENTRE, axis=1))
    expected = (phi - 1.5 * np.pi) / (3 * np.pi)
    assert np.abs(expected - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / np.sqrt(4000)


GOOD = swiss_roll.draw(np.random.default_rng(2), 400)


def test_good_data_pass():
    assert np.array_equal(data.checked(GOOD), GOOD)
    assert data.checked(GOOD.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize("x_0,words", [
    (GOOD[:, 0], r"expected shape \(N, D\)"), (GOOD[:99], "N ≥ 100"), (np.where(GOOD > 1.9, np.inf, GOOD), "finite.*inf.*row"),
    (GOOD + [0, 0.4], "centred columns, got mean 0.*column 1"), (GOOD * 1.3, "unit variance.*got 1.[67]")])
def test_bad_data_are_named(x_0, words):
    with pytest.raises(ValueError, match="^my data: .*" + words):
        data.checked(x_0, name="my data")
