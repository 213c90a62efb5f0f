"""swiss_roll against the published ceilings and best bounds, and against eq. 14 taken literally."""

import numpy as np
import pytest

from refdpm.oracles import swiss_roll as sr
from refdpm.oracles.common import levels

BITS = np.log(2)
GEOMETRIC = np.r_[0, np.geomspace(1e-3, 0.5, 40)]
HARMONIC = np.r_[0, 1 / np.arange(40.0, 0, -1)]


# -- the ceiling -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("beta_1, bits", [
    (.1, -3.7887), (.025, -3.0518), (.01, -2.3966), (.003, -1.5232), (.001, -.7266), (1e-4, .9391), (1e-5, 2.6017)])
def test_published_ceilings(beta_1, bits):
    """The table's own error is about 1e-4."""
    assert abs(sr.k_max(beta_1) / BITS - bits) < 1e-4


def test_ceiling_is_converged():
    for beta_1 in (0.05, 2e-3):
        np.testing.assert_allclose(sr.k_max(beta_1), sr.k_max(beta_1, spacing=0.4), atol=2e-6)


def test_ceiling_of_small_noise():
    """A straight curve would have h(X^1) = curve entropy + ½ log 2πe β_1 (1 − β_1); bending costs little."""
    straight = sr.curve_entropy() + 0.5 * np.log(2 * np.pi * np.e * 1e-4 * (1 - 1e-4))
    assert abs(sr.k_max(1e-4) + straight) < 3e-3


def test_ceiling_of_large_noise():
    """β_1 = 0.999: nearly π. −h = −log 2πe − ½ log det, with the determinant of ᾱ Cov + (1 − ᾱ) I, up to order ᾱ³."""
    law = 1e-3 * sr.covariance() + 0.999 * np.eye(2)
    np.testing.assert_allclose(sr.k_max(0.999), -np.log(2 * np.pi * np.e) - 0.5 * np.linalg.slogdet(law)[1], atol=1e-8)


# -- given x_t -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("alpha_bar", [0.995, 0.7, 0.05])
def test_density_and_denoiser(alpha_bar):
    """By the plainest sum over 20,000 points of the roll, scaled by √ᾱ: is the level treated as it should be?"""
    x_t, x_0 = np.random.default_rng(0).normal(size=(30, 2)), sr.points(20_000)
    weight = np.exp(-0.5 * np.sum((x_t[:, None] - np.sqrt(alpha_bar) * x_0) ** 2, axis=-1) / (1 - alpha_bar))
    density = weight.mean(axis=1) / (2 * np.pi * (1 - alpha_bar))
    near = density > 1e-12
    weight = weight[near] / weight[near].sum(axis=1, keepdims=True)
    mean = weight @ x_0
    off = x_0 - mean[:, None]
    found = sr.denoiser_moments(x_t[near], np.log(alpha_bar))
    np.testing.assert_allclose(sr.log_density(x_t[near], np.log(alpha_bar)), np.log(density[near]), atol=1e-4)
    np.testing.assert_allclose(found.mean, mean, atol=1e-5)
    np.testing.assert_allclose(found.cov, np.einsum("nj,nji,njk->nik", weight, off, off), atol=1e-5)
    np.testing.assert_array_equal(found.var, np.diagonal(found.cov, axis1=1, axis2=2))


def test_denoiser_without_signal():
    mean, cov = sr.denoiser_moments(np.ones((3, 2)), -np.inf)
    np.testing.assert_array_equal(mean, np.zeros((3, 2)))
    np.testing.assert_allclose(cov, np.broadcast_to(sr.covariance(), (3, 2, 2)))
    np.testing.assert_allclose(sr.denoiser_moments(np.ones((3, 2)), -40.0).cov, cov, atol=1e-8)


# -- the best kernels ------------------------------------------------------------------------------------------------

def gaussian_kl(mean, cov, model_mean, model_cov):
    """KL between Gaussians in two dimensions, row by row."""
    inverse, off = np.linalg.inv(model_cov), mean - model_mean
    trace = np.einsum("nij,nji->n", inverse, cov) + np.einsum("ni,nij,nj->n", off, inverse, off)
    return 0.5 * (np.linalg.slogdet(model_cov)[1] - np.linalg.slogdet(cov)[1] + trace - 2)


@pytest.mark.eq("14")
def test_bound_by_simulation(N=20_000):
    """Eq. 14 with x_0, x_t drawn, p the Gaussian that has the moments of q(x_{t−1} | x_t): the same K*.

    |z| < 4.5 twice, a false alarm in 1.4e-5 of the seeds; one standard error is below 0.02 nats.
    """
    rng, beta = np.random.default_rng(4), np.array([0, 0.01, 0.05, 0.2, 0.5, 0.8])
    alpha_bar = np.cumprod(1 - beta)
    x_0 = sr.points(N)
    K = dict.fromkeys(("diagonal", "full"), np.log((1 - alpha_bar[-1]) / beta[1]) - np.log(2 * np.pi * np.e))
    for t in range(2, 6):
        x_t = np.sqrt(alpha_bar[t]) * x_0 + np.sqrt(1 - alpha_bar[t]) * rng.standard_normal((N, 2))
        a = np.sqrt(alpha_bar[t - 1]) * beta[t] / (1 - alpha_bar[t])
        b = np.sqrt(1 - beta[t]) * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
        own = beta[t] * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * np.broadcast_to(np.eye(2), (N, 2, 2))
        mean, cov = sr.denoiser_moments(x_t, np.log(alpha_bar[t]))
        for kernels, spread in (("diagonal", cov * np.eye(2)), ("full", cov)):
            K[kernels] = K[kernels] - gaussian_kl(a * x_0 + b * x_t, own, a * mean + b * x_t, own + a * a * spread)
    for kernels, k in K.items():
        assert abs(k.mean() - sr.k_star_of(beta, kernels=kernels)) < 4.5 * k.std() / np.sqrt(N) < 0.09


@pytest.mark.parametrize("beta, diagonal, full", [
    (HARMONIC, -3.173, -3.104), (np.r_[0, 1e-3, HARMONIC[2:]], -1.804, -.990), (GEOMETRIC, -.897, -.741),
    (np.r_[0, np.linspace(1e-4, .3, 40)], -.794, .726)])
def test_published_fixed_schedules(beta, diagonal, full):
    """T = 40, in bits. The published values carry a sampling error of about .001."""
    assert abs(sr.k_star_of(beta) / BITS - diagonal) < 2e-3
    assert abs(sr.k_star_of(beta, kernels="full") / BITS - full) < 2e-3


def test_cost_is_converged():
    for kernels in ("diagonal", "full"):
        coarse, fine = (sr.k_star_of(GEOMETRIC[::3], kernels=kernels, spacing=a) for a in (0.7, 0.5))
        np.testing.assert_allclose(coarse, fine, atol=3e-5)


def test_cost_up_to_the_end():
    """β_T = 1 is the limit of β_T → 1, and its cost that of forgetting everything: ½ Σ log(1 + SNR_{t−1} Var x_0)."""
    for kernels in ("diagonal", "full"):
        at, near = (sr.step_cost(-1.0, level, kernels=kernels) for level in (-np.inf, -30.0))
        np.testing.assert_allclose(at, near, rtol=1e-9)
    snr = np.exp(-1.0) / (1 - np.exp(-1.0))
    np.testing.assert_allclose(at, 0.5 * np.linalg.slogdet(np.eye(2) + snr * sr.covariance())[1])


def test_order_of_the_bounds():
    """K*_diagonal < K*_full < K_max; splitting a step in two only helps."""
    coarse = levels(GEOMETRIC)[[0, 1, 10, 20, 30, 40]]
    beta = np.r_[0, -np.expm1(np.diff(coarse))]
    diagonal, full = (sr.k_star_of(beta, kernels=kernels) for kernels in ("diagonal", "full"))
    assert diagonal < full < sr.k_max(1e-3)
    assert diagonal < sr.k_star_of(GEOMETRIC)
    np.testing.assert_array_equal(sr.step_costs(beta)[:2], 0)
    assert np.all(sr.step_costs(beta)[2:] > sr.step_costs(beta, kernels="full")[2:])


# -- the best schedule -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("beta_1, T, diagonal, full", [
    (1e-3, 5, -1.609, -1.042), (1e-3, 40, -.825, -.737), (1e-2, 20, -2.481, -2.420)])
def test_published_best_schedules(beta_1, T, diagonal, full):
    """In bits. Published: sampling error .001, a grid of 240 levels that costs up to .003 at T = 40, where ours is higher."""
    for kernels, bits in (("diagonal", diagonal), ("full", full)):
        found, beta = sr.best_schedule(beta_1, T, kernels=kernels)
        assert -0.0015 < found / BITS - bits < 0.0015 + 0.00005 * T
        assert beta.shape == (T + 1,) and beta[0] == 0 and beta[1] == beta_1
        assert np.all(beta[1:] > 0) and np.all(beta[1:] < 1)
        np.testing.assert_allclose(found, sr.k_star_of(beta, kernels=kernels), rtol=1e-12)


def test_best_schedule_is_a_maximum():
    """Moving levels at random gains nothing beyond 1e-6; and K* is stationary there: a move of 0.02 costs below 1e-2."""
    found, beta = sr.best_schedule(0.02, 6)
    level, rng = levels(beta), np.random.default_rng(0)
    for _ in range(6):
        log_snr = level[2:] - np.log(-np.expm1(level[2:])) + 0.02 * rng.standard_normal(5)
        moved = np.r_[level[:2], -np.log1p(np.exp(-log_snr))]
        loss = found - sr.k_star_of(np.r_[0, -np.expm1(np.diff(moved))])
        assert -1e-6 < loss < 1e-2


def test_best_schedule_of_finer_settings():
    coarse = sr.best_schedule(0.01, 12).k_star
    fine = sr.best_schedule(0.01, 12, spacing=0.5, level_step=0.1, lowest=-10.0).k_star
    np.testing.assert_allclose(coarse, fine, atol=1e-4)


@pytest.mark.parametrize("beta_1, T", [(0.1, 1), (0.1, 2), (0.7, 3), (0.1, 150)])
def test_best_schedule_at_the_extremes(beta_1, T):
    found, beta = sr.best_schedule(beta_1, T)
    assert beta.shape == (T + 1,) and np.all(beta[1:] > 0) and np.all(beta[1:] < 1)
    assert found < sr.k_max(beta_1)


@pytest.mark.parametrize("call, message", [
    (lambda: sr.step_cost(-1.0, -2.0, kernels="round"), "kernels: expected"),
    (lambda: sr.log_density(np.ones((1, 2)), 0.0), "log_alpha_bar: expected a finite negative number, got 0.0"),
    (lambda: sr.k_star_of(np.array([0.1, 0.2])), "beta: expected")])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
