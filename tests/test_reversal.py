"""Appendix A: its identities on enumerated chains, its bounds where they hold, and the cases in which the upper one does not."""

import numpy as np
import pytest

from refdpm import binomial, gaussian, reversal
from refdpm.oracles import enumeration
from refdpm.vjp import fix

BETA = np.array([0.0, 0.1, 0.25, 0.4, 0.7])


def gaussian_step(s, t):
    """H(X_{t−1}|X_t) of N(0, s) data, from the variance β v_{t−1}/v_t of the exact reverse step."""
    alpha_bar = np.cumprod(1 - BETA)
    v = alpha_bar * s + 1 - alpha_bar
    return np.log(2 * np.pi * np.e * BETA[t] * v[t - 1] / v[t]) / 2


def gaussian_bounds(t):
    x_0 = np.zeros((3, 1))
    lower, upper = reversal.entropy_bounds(BETA, x_0, t=t, noise=np.ones((3, 1)), kernel=gaussian)
    return lower[0], upper[0]


@pytest.mark.eq("24", "36")
@pytest.mark.parametrize("t", [2, 3, 4])
@pytest.mark.parametrize("s", [1e-6, 0.3, 1.0])
def test_gaussian_step_lies_between(s, t):
    """The lower bound is reached by data that are a point, the upper one by data from π."""
    lower, upper = gaussian_bounds(t)
    assert lower <= gaussian_step(s, t) + 1e-12 and gaussian_step(s, t) <= upper + 1e-12
    assert gaussian_step(1, t) == pytest.approx(upper, abs=1e-12) and gaussian_step(0, t) == pytest.approx(lower, abs=1e-12)


@pytest.mark.eq("28", "30")
def test_upper_bound_fails_for_data_more_spread_out_than_the_prior():
    assert all(gaussian_step(2.0, t) > gaussian_bounds(t)[1] + 1e-3 for t in (2, 3, 4))


def entropy_of_two_points(distance, alpha_bar):
    """H(X_t) of x_0 = ±distance, by the trapezoidal rule on a grid of 1/1000."""
    x, mean, var = np.arange(-16, 16, 1e-3), distance * np.sqrt(alpha_bar), 1 - alpha_bar
    density = sum(np.exp(-np.square(x - side * mean) / (2 * var)) for side in (-1, 1)) / np.sqrt(8 * np.pi * var)
    return -np.sum(density * np.log(np.maximum(density, 1e-300))) * 1e-3


@pytest.mark.eq("28", "29")
def test_upper_bound_may_hold_for_data_more_spread_out_than_the_prior():
    """Two points at ±10, β = 0.1: entropy grows up to t = 25, while the humps widen, and falls from then on."""
    h = np.array([entropy_of_two_points(10, 0.9 ** t) for t in range(1, 80)])
    assert (np.diff(h[:25]) > 1e-4).all() and (np.diff(h[24:]) < -1e-4).all()


@pytest.mark.eq("28")
@pytest.mark.parametrize("rate", [0.5, 0.2, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_entropy_changes_with_the_divergence_and_with_the_data(rate, seed):
    """H_t − H_{t−1} = D_{t−1} − D_t + (ᾱ_{t−1} − ᾱ_t)[E log π(x_0) + H(π)], D never grows; on three correlated bits."""
    data = np.random.default_rng(seed).dirichlet(np.full(8, 0.3))
    ones, h = data @ enumeration.states(3).sum(axis=1), enumeration.entropies(data, BETA, rate=rate).marginal
    alpha_bar, odds = np.cumprod(1 - BETA), np.log(rate / (1 - rate))
    log_prior = 3 * np.log(1 - rate) + (alpha_bar * ones + (1 - alpha_bar) * 3 * rate) * odds
    divergence, excess = -h - log_prior, (ones - 3 * rate) * odds
    assert (np.diff(divergence) <= 1e-12).all()
    assert np.diff(h) == pytest.approx(-np.diff(divergence) - np.diff(alpha_bar) * excess, abs=1e-12)
    assert excess < 0 or (np.diff(h) >= -1e-12).all()


@pytest.mark.parametrize("rate", [0.5, 0.2])
@pytest.mark.eq("24", "35", "36")
def test_bounds_of_bits_are_those_of_the_enumerated_chain(rate):
    """One bit, P(1) = 0.7: noise at 20,000 midpoints makes the average over x_{t−1} exact to 1/20,000 of a nat."""
    data, midpoints = np.array([0.3, 0.7]), (np.arange(20000) + 0.5)[:, None] / 20000
    exact = enumeration.entropies(data, BETA, rate=rate)
    for t in (2, 3, 4):
        of_bit = [reversal.entropy_bounds(BETA, np.full((20000, 1), bit), t=t, noise=midpoints, kernel=fix(binomial, rate=rate))
                  for bit in (0.0, 1.0)]
        lower, upper = (sum(p * getattr(bounds, side).mean() for p, bounds in zip(data, of_bit)) for side in ("lower", "upper"))
        assert lower == pytest.approx(exact.lower[t], abs=1e-4) and upper == pytest.approx(exact.upper[t], abs=1e-4)


def entropies(rate, seed):
    data = np.random.default_rng(seed).dirichlet(np.full(8, 0.3))
    return enumeration.entropies(data, BETA, rate=rate)


@pytest.mark.eq("25", "26", "27", "31", "32", "33", "34", "35")
@pytest.mark.parametrize("rate", [0.5, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_steps_of_the_argument(rate, seed):
    """On three correlated bits: everything but eq. 28 holds for every rate."""
    e = entropies(rate, seed)
    h, t = e.marginal, slice(1, None)
    about_data = h[0] + e.given_data - h                                        # H(X_0 | X_t), by the chain rule
    joint = h[0] + e.given_data                                                 # H(X_0, X_t)
    assert h[:-1] + e.forward[t] == pytest.approx(h[t] + e.reverse[t])
    assert e.reverse[t] == pytest.approx(e.forward[t] + h[:-1] - h[t])
    assert (np.diff(about_data) >= -1e-12).all()
    assert (h[:-1] - h[t] >= about_data[:-1] + h[:-1] - about_data[t] - h[t] - 1e-12).all()
    assert (h[:-1] - h[t] >= joint[:-1] - joint[t] - 1e-12).all()
    assert (h[:-1] - h[t] >= e.given_data[:-1] - e.given_data[t] - 1e-12).all()
    assert (e.reverse[t] >= e.lower[t] - 1e-12).all()


@pytest.mark.eq("28", "29", "30")
@pytest.mark.parametrize("seed", range(5))
def test_entropy_grows_for_fair_bits(seed):
    e = entropies(0.5, seed)
    assert (np.diff(e.marginal) >= -1e-12).all() and (e.reverse[1:] <= e.upper[1:] + 1e-12).all()


@pytest.mark.eq("28")
def test_entropy_can_fall_for_other_rates():
    """Fair data under r = 0.2: the chain loses entropy at every step, and the upper bound is broken."""
    e = enumeration.entropies(np.full(8, 1 / 8), BETA, rate=0.2)
    assert (np.diff(e.marginal) < -1e-3).all() and (e.reverse[1:] > e.upper[1:] + 1e-3).all()
