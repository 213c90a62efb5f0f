"""mixture against sums over grids of x_0 (and of x_{t−1}) that know nothing of conjugacy."""

import numpy as np
import pytest

from refdpm.oracles import mixture as mx
from refdpm.oracles.common import levels

LINE = mx.Mixture(np.array([0.2, 0.5, 0.3]), np.array([[-1.5], [0.1], [2.0]]), np.array([[0.3], [0.05], [0.6]]))
PLANE = mx.Mixture(np.array([0.3, 0.6, 0.1]), np.array([[-1.0, 0.5], [0.8, 0.9], [0.2, -1.4]]),
                   np.array([[0.2, 0.6], [0.5, 0.1], [0.15, 0.3]]))
LEVEL = levels(np.array([0, 0.05, 0.2, 0.6, 0.9]))


def normal(x, mean, var):
    return np.exp(-0.5 * (x - mean) ** 2 / var) / np.sqrt(2 * np.pi * var)


def data_density(data, x):
    """q(x_0) at points (…, n), by its definition."""
    return sum(w * np.prod(normal(x, m, s), axis=-1) for w, m, s in zip(*data))


def grid(n, half, points):
    """Points (G, n) of a square lattice, and the volume of a cell."""
    axis = np.linspace(-half, half, points)
    return np.stack(np.meshgrid(*[axis] * n, indexing="ij"), -1).reshape(-1, n), (axis[1] - axis[0]) ** n


def by_grid(data, x_t, level, half, points):
    """Density of x_t, and mean and covariance of x_0 given x_t, from q(x_0) q(x_t | x_0) on a lattice."""
    x_0, cell = grid(x_t.shape[1], half, points)
    alpha_bar = np.exp(level)
    joint = data_density(data, x_0) * np.prod(normal(x_t[:, None], np.sqrt(alpha_bar) * x_0, 1 - alpha_bar), -1) * cell
    density = joint.sum(axis=1)
    weight = joint / density[:, None]
    mean = weight @ x_0
    off = x_0 - mean[:, None]
    return density, mean, np.einsum("ng,ngi,ngj->nij", weight, off, off)


CASES = [(LINE, np.linspace(-4, 4, 9)[:, None], 12, 6001),
         (PLANE, np.random.default_rng(0).normal(size=(5, 2)) * 1.3, 8, 401)]


@pytest.mark.parametrize("level", LEVEL[1:])
@pytest.mark.parametrize("data, x_t, half, points", CASES)
def test_density_and_denoiser(data, x_t, half, points, level):
    density, mean, cov = by_grid(data, x_t, level, half, points)
    found = mx.denoiser_moments(data, x_t, level)
    np.testing.assert_allclose(np.exp(mx.log_density(data, x_t, level)), density, rtol=1e-9)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.cov, cov, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(found.var, np.diagonal(found.cov, axis1=1, axis2=2))


@pytest.mark.parametrize("t", [1, 2, 3, 4])
@pytest.mark.parametrize("data, x_t, half, points", CASES)
def test_posterior(data, x_t, half, points, t):
    """q(x_{t−1} | x_t) ∝ q(x_{t−1}) q(x_t | x_{t−1}) on a lattice; the law of x_{t−1} is checked above."""
    x_prev, _ = grid(x_t.shape[1], half, points)
    alpha = np.exp(LEVEL[t] - LEVEL[t - 1])
    before = np.exp(mx.log_density(data, x_prev, LEVEL[t - 1]))
    weight = before * np.prod(normal(x_t[:, None], np.sqrt(alpha) * x_prev, 1 - alpha), axis=-1)
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ x_prev
    off = x_prev - mean[:, None]
    found = mx.posterior_moments(data, x_t, LEVEL[t - 1], LEVEL[t])
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.cov, np.einsum("ng,ngi,ngj->nij", weight, off, off), rtol=1e-9, atol=1e-10)


def test_posterior_is_the_denoiser_at_level_zero():
    x_1 = CASES[1][1]
    for found, expected in zip(mx.posterior_moments(PLANE, x_1, 0.0, LEVEL[1]), mx.denoiser_moments(PLANE, x_1, LEVEL[1])):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_score_is_the_slope_of_the_log_density():
    """Central differences with h = 1e-5: 1e-10 from the third derivative and 1e-11 from rounding."""
    x_t, h = CASES[1][1], 1e-5
    for level in LEVEL:
        slope = [(mx.log_density(PLANE, x_t + h * e, level) - mx.log_density(PLANE, x_t - h * e, level)) / (2 * h)
                 for e in np.eye(2)]
        np.testing.assert_allclose(mx.score(PLANE, x_t, level), np.stack(slope, 1), rtol=1e-7, atol=1e-8)


def test_score_and_denoiser_agree():
    """x_t + (1 − ᾱ) score = √ᾱ E[x_0 | x_t], derived nowhere in the module."""
    x_t = CASES[1][1]
    for level in LEVEL[1:]:
        tweedie = x_t - np.expm1(level) * mx.score(PLANE, x_t, level)
        np.testing.assert_allclose(np.exp(level / 2) * mx.denoiser_moments(PLANE, x_t, level).mean, tweedie, atol=1e-12)


def test_ends_of_the_chain():
    """At log ᾱ = 0, x_t is x_0; at −∞ it says nothing about x_0."""
    x = CASES[1][1]
    np.testing.assert_allclose(np.exp(mx.log_density(PLANE, x, 0.0)), data_density(PLANE, x), rtol=1e-12)
    here, nowhere, prior = (*(mx.denoiser_moments(PLANE, x, a) for a in (0.0, -np.inf)), mx.moments(PLANE))
    np.testing.assert_allclose(here.mean, x, atol=1e-14)
    np.testing.assert_allclose(here.cov, 0, atol=1e-14)
    np.testing.assert_allclose(nowhere.mean, np.broadcast_to(prior.mean, x.shape))
    np.testing.assert_allclose(nowhere.cov, np.broadcast_to(prior.cov, (5, 2, 2)))


def test_far_away():
    """1e3 deviations out every density underflows, and the nearest component has it all."""
    x = np.array([[2000.0]])
    found = mx.denoiser_moments(LINE, x, LEVEL[2])
    alone = mx.denoiser_moments(mx.Mixture(np.ones(1), LINE.mean[2:], LINE.var[2:]), x, LEVEL[2])
    assert np.isfinite(mx.log_density(LINE, x, LEVEL[2])).all()
    np.testing.assert_allclose(found.mean, alone.mean)
    np.testing.assert_allclose(found.cov, alone.cov)


def test_draw_has_the_moments():
    """|z| < 5 for 2 means and 3 second moments: a false alarm in 3e-6 of the seeds."""
    x = mx.draw(PLANE, 20_000, np.random.default_rng(1))
    prior = mx.moments(PLANE)
    off = x - prior.mean
    for sample, expected in ((x, prior.mean[0]), (off[:, :, None] * off[:, None, :], prior.cov[0])):
        z = (sample.mean(axis=0) - expected) / (sample.std(axis=0) / np.sqrt(len(x)))
        assert np.abs(z).max() < 5
