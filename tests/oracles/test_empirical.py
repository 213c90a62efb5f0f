"""The best kernels of a finite data set against mixtures of vanishing width, enumeration, brute force, and printed digits."""

import numpy as np
import pytest

from refdpm.oracles import empirical, enumeration, linear_gaussian, mixture, quadrature
from refdpm.oracles.common import levels
from refdpm.oracles.mixture import Mixture

BETA = np.array([0.0, 0.02, 0.1, 0.3, 0.6])
LEVEL = levels(BETA)
ROWS = np.array([[0.3, -1.0], [1.4, 0.2], [-0.7, 0.9], [0.1, -0.4], [0.3, -1.0]])
POINTS = Mixture(np.full(5, 0.2), ROWS, np.zeros((5, 2)))
X_T = np.array([[0.5, -0.2], [2.0, 1.0], [-3.0, 0.0], [0.1, 0.1], [0.0, -9.0], [0.7, 0.6], [1.0, -1.0]])


def in_bits(nats):
    return nats / np.log(2)


# -- real numbers ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("t", [1, 2, 4])
def test_moments_are_those_of_a_mixture_of_points(t):
    """The mixture oracle conditions inside each component; its components here have variance 0."""
    found, expected = empirical.denoised(ROWS, X_T, LEVEL[t]), mixture.denoiser_moments(POINTS, X_T, LEVEL[t])
    assert found.mean == pytest.approx(expected.mean, abs=1e-12) and found.var == pytest.approx(expected.var, abs=1e-12)
    assert empirical.weights(ROWS, X_T, LEVEL[t]) == pytest.approx(mixture.responsibilities(POINTS, X_T, LEVEL[t]), abs=1e-12)


@pytest.mark.parametrize("t", [2, 3, 4])
def test_kernel_is_that_of_a_mixture_of_points(t):
    found = empirical.reverse(ROWS, X_T, LEVEL[t - 1], LEVEL[t])
    expected = mixture.posterior_moments(POINTS, X_T, LEVEL[t - 1], LEVEL[t])
    assert found.mean == pytest.approx(expected.mean, abs=1e-12) and found.var == pytest.approx(expected.var, abs=1e-12)


def test_kernel_by_brute_force():
    """Two points in one dimension: q(x_{t−1} | x_t) on a fine grid, as joint densities summed over the points."""
    rows, t, x_t = np.array([[-0.8], [1.1]]), 3, 0.25
    grid = np.linspace(-8, 8, 40001)
    density = sum(np.exp(-(grid - np.exp(LEVEL[t - 1] / 2) * row) ** 2 / (2 - 2 * np.exp(LEVEL[t - 1]))) for row in rows[:, 0])
    density = density * np.exp(-(x_t - np.sqrt(1 - BETA[t]) * grid) ** 2 / (2 * BETA[t]))
    mean = (density * grid).sum() / density.sum()
    var = (density * (grid - mean) ** 2).sum() / density.sum()
    found = empirical.reverse(rows, np.array([[x_t]]), LEVEL[t - 1], LEVEL[t])
    assert found.mean[0, 0] == pytest.approx(mean, abs=1e-10) and found.var[0, 0] == pytest.approx(var, abs=1e-10)


def test_the_first_step_ends_on_a_point():
    """Nothing is left of the noise at t = 0: the variance is that of x_0, the mean that of x_0."""
    found, x_0 = empirical.reverse(ROWS, X_T, 0.0, LEVEL[1]), empirical.denoised(ROWS, X_T, LEVEL[1])
    assert found.mean == pytest.approx(x_0.mean, abs=1e-14) and found.var == pytest.approx(x_0.var, abs=1e-14)


def test_last_step_of_a_schedule_that_ends_in_noise():
    """β_T = 1: x_T says nothing, and the mean and the variance are those of x_{T−1}."""
    found = empirical.reverse(ROWS, X_T, LEVEL[2], -np.inf)
    assert found.mean == pytest.approx(np.exp(LEVEL[2] / 2) * np.broadcast_to(ROWS.mean(axis=0), X_T.shape), abs=1e-14)
    assert found.var == pytest.approx(np.broadcast_to(np.exp(LEVEL[2]) * ROWS.var(axis=0) - np.expm1(LEVEL[2]), X_T.shape))


def test_many_rows_are_taken_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    rows, x_t = rng.standard_normal((30, 4)), rng.standard_normal((11, 4))
    at_once = empirical.denoised(rows, x_t, LEVEL[2])
    monkeypatch.setattr(empirical, "CHUNK", 250)
    assert len(empirical._chunks(x_t, rows.size)) == 6
    assert all(map(np.array_equal, at_once, empirical.denoised(rows, x_t, LEVEL[2])))


def test_bound_of_two_points_by_quadrature():
    """Four standard errors: one seed in 16000 would fail."""
    rows = np.array([[-0.8], [1.1]])
    estimate = empirical.bound(rows, BETA, draws=40000, rng=np.random.default_rng(1))
    exact = 0.5 * np.log((1 - np.exp(LEVEL[-1])) / BETA[1]) - 0.5 * np.log(2 * np.pi * np.e)
    for t in (2, 3, 4):
        x, noise = np.linspace(-9, 9, 20001), 1 - np.exp(LEVEL[t])
        density = np.exp(-(x - np.exp(LEVEL[t] / 2) * rows) ** 2 / (2 * noise)).mean(axis=0) / np.sqrt(2 * np.pi * noise)
        cost = empirical.step_cost(rows, x[:, None], LEVEL[t - 1], LEVEL[t])
        exact -= quadrature.integrate(x, density * cost)
    assert abs(estimate.value - exact) < 4 * estimate.stderr and 0 < estimate.stderr < 0.01


def test_bound_of_many_normal_rows_is_that_of_the_normal_law():
    """K* of N(0, s) data for the schedule 0.1, 20 steps, PAPER §4.3; 1500 rows stand for the law, with an error of their own:
    at the level of x_1 they are far closer together than the noise.  Within 0.05 nats."""
    rows = np.sqrt(2.0) * np.random.default_rng(2).standard_normal((1500, 1))
    rows *= np.sqrt(2 / np.mean(rows ** 2))
    beta = np.concatenate([[0.0], np.full(20, 0.1)])
    found = empirical.bound(rows, beta, draws=1500, rng=np.random.default_rng(3))
    exact = linear_gaussian.bound(np.array([[2.0]]), beta)
    assert np.round(exact, 6) == -1.682498 and found.value == pytest.approx(exact, abs=0.05)


# -- bits --------------------------------------------------------------------------------------------------------------

BITS = np.array([[0, 1, 1], [1, 1, 0], [0, 0, 0], [0, 1, 1]])
BIT_BETA = np.array([0.0, 0.1, 0.3, 0.4, 1.0])


@pytest.mark.parametrize("rate", [0.5, 0.2])
@pytest.mark.parametrize("t", [2, 3, 4])
def test_bits_are_those_of_the_enumerated_chain(rate, t):
    data, x, level = enumeration.distribution(BITS), enumeration.states(3), levels(BIT_BETA)
    best = enumeration.optimal_reverse(data, BIT_BETA, rate=rate)
    found = empirical.bit_reverse(BITS, x, level[t - 1], level[t], rate=rate)
    assert found == pytest.approx(best(x, t), abs=1e-13)


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_bound_of_bits_is_that_of_the_enumerated_chain(rate):
    data = enumeration.distribution(BITS)
    expected = enumeration.bound(data, BIT_BETA, enumeration.optimal_reverse(data, BIT_BETA, rate=rate), rate=rate)
    assert empirical.bit_bound(BITS, BIT_BETA, rate=rate).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n,period,rate,T,K", [
    (2, 2, 1 / 2, 3, -1.946005), (2, 2, 1 / 2, 100, -1.099781), (4, 2, 1 / 2, 10, -2.311630), (6, 3, 1 / 3, 3, -5.198592),
    (6, 3, 1 / 2, 100, -1.888352), (8, 4, 1 / 4, 10, -4.061933), (10, 5, 1 / 5, 20, -3.640770)])
def test_table_of_short_sequences(n, period, rate, T, K):
    """PAPER §4.2, all printed digits, bits per sequence."""
    beta = np.concatenate([[0.0], 1 / np.arange(T, 0, -1.0)])
    found = empirical.bit_bound(enumeration.periodic(n, period), beta, rate=rate)
    assert np.round(in_bits(found.value), 6) == pytest.approx(K, abs=1e-9)


def test_bound_of_bits_from_draws():
    """Four standard errors: one seed in 16000 would fail."""
    exact = empirical.bit_bound(BITS, BIT_BETA, rate=0.2)
    found = empirical.bit_bound(BITS, BIT_BETA, rate=0.2, draws=20000, rng=np.random.default_rng(4))
    assert abs(found.value - exact.value) < 4 * found.stderr and 0 < found.stderr < 0.01 and exact.stderr == 0


def test_standard_error_is_the_spread_of_estimates():
    """Of 100 estimates with 40 draws each: their deviation is known to 7 %, so 30 % is four of its standard errors; 12 steps of
    equal share, added the wrong way, would give three times as much."""
    rows, beta = np.array([[-0.8], [1.1]]), np.concatenate([[0.0], np.full(12, 0.15)])
    found = [empirical.bound(rows, beta, draws=40, rng=np.random.default_rng(seed)) for seed in range(100)]
    assert np.std([f.value for f in found], ddof=1) == pytest.approx(np.mean([f.stderr for f in found]), rel=0.3)


def test_heartbeat_from_draws():
    """20 bits, T = 20, r = 0.2: K* is printed in PAPER §4.1, -4.842575 bits.  Four standard errors: one seed in 16000."""
    beta = np.concatenate([[0.0], 1 / np.arange(20, 0, -1.0)])
    found = empirical.bit_bound(enumeration.periodic(20, 5), beta, rate=0.2, draws=20000, rng=np.random.default_rng(5))
    assert abs(in_bits(found.value) + 4.842575) < 4 * in_bits(found.stderr) and in_bits(found.stderr) < 0.02
