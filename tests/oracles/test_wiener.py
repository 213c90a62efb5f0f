"""The best normal law and Wiener's filter against direct matrix algebra, conditioning, scipy, and simulation."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from refdpm.oracles import wiener

rng = np.random.default_rng(0)
H, W, C = 3, 2, 2
D = H * W * C
ROOT = rng.standard_normal((D, D)) * np.geomspace(1, 0.03, D)
MEAN, COVARIANCE = rng.standard_normal(D), ROOT @ ROOT.T
LAW = wiener.law_of(MEAN, COVARIANCE)


def images(n, seed):
    """Normal images with the law's moments."""
    return (np.random.default_rng(seed).standard_normal((n, D)) @ ROOT.T + MEAN).reshape(n, H, W, C)


def test_the_law_has_its_moments():
    assert np.allclose(LAW.covariance, COVARIANCE, rtol=1e-12, atol=1e-12)
    assert np.allclose(LAW.axes.T @ LAW.axes, np.eye(D))


def test_likelihood_is_scipy_s():
    x = images(7, 1)
    expected = multivariate_normal(MEAN, COVARIANCE).logpdf(x.reshape(7, D))
    assert np.allclose(wiener.log_likelihood(x, LAW), expected, rtol=1e-9)
    assert np.allclose(wiener.log_likelihood(x.reshape(7, D), LAW), expected, rtol=1e-9)
    assert np.allclose(wiener.log_likelihood_per_pixel(x, LAW), expected / 6, rtol=1e-9)


def test_unit_law_is_half_log_2_pi_e_a_component():
    """PAPER §3: −2.0471 bits a pixel for data of variance 1."""
    x = np.array([1.0, -1.0]).repeat(D).reshape(2, H, W, C)
    unit = wiener.law_of(np.zeros(D), np.eye(D))
    assert wiener.log_likelihood_per_pixel(x, unit) / np.log(2) == pytest.approx([-2.0471 * C] * 2, abs=1e-4)


@pytest.mark.parametrize("rows", [5, 4096])
def test_fit_is_the_sample_s(monkeypatch, rows):
    monkeypatch.setattr(wiener, "_ROWS", rows)
    x = images(53, 2)
    found, flat = wiener.fit(x), x.reshape(53, D)
    assert np.allclose(found.mean, flat.mean(axis=0)) and np.allclose(found.covariance, np.cov(flat.T, ddof=0))


def test_no_normal_law_near_the_fit_is_likelier():
    x = images(200, 3)
    fitted = wiener.fit(x)
    best = wiener.log_likelihood(x, fitted).mean()
    for size in (0.9, 0.99, 1.01, 1.1):
        assert wiener.log_likelihood(x, wiener.law_of(fitted.mean, fitted.covariance * size)).mean() < best
        assert wiener.log_likelihood(x, wiener.law_of(fitted.mean * size, fitted.covariance)).mean() < best
    for _ in range(20):
        step = 0.02 * rng.standard_normal((D, D))
        moved = (np.eye(D) + step) @ fitted.covariance @ (np.eye(D) + step).T
        assert wiener.log_likelihood(x, wiener.law_of(fitted.mean, moved)).mean() < best


def test_what_fitting_costs_on_new_data():
    """D (D + 3)/(4N) nats, within 5 standard errors and the next order in D/N: 20 fits, judged exactly by the true moments."""
    n, costs = 400, []
    for seed in range(20):
        fitted = wiener.fit(images(n, seed + 10))
        inverse, off = np.linalg.inv(fitted.covariance), fitted.mean - MEAN
        sign, log_det = np.linalg.slogdet(fitted.covariance @ np.linalg.inv(COVARIANCE))
        costs.append((np.trace(inverse @ COVARIANCE) - D + log_det + off @ inverse @ off) / 2)
    expected = D * (D + 3) / (4 * n)
    assert abs(np.mean(costs) - expected) < 5 * np.std(costs) / np.sqrt(20) + expected * 3 * D / n


def test_filter_is_the_conditional_mean():
    """By conditioning the joint normal law of (x, y), with the precision matrices' own formula as a third road."""
    v, y = 0.37, images(5, 4)
    flat, precision = y.reshape(5, D), np.linalg.inv(COVARIANCE)
    found = wiener.denoise(y, LAW, noise_var=v)
    assert found.shape == y.shape
    conditioned = MEAN + (flat - MEAN) @ np.linalg.solve(COVARIANCE + v * np.eye(D), COVARIANCE)
    by_precision = np.linalg.solve(precision + np.eye(D) / v, (precision @ MEAN)[:, None] + flat.T / v).T
    assert np.allclose(found.reshape(5, D), conditioned) and np.allclose(found.reshape(5, D), by_precision)
    assert wiener.expected_error(LAW, noise_var=v) == pytest.approx(
        np.trace(np.linalg.inv(precision + np.eye(D) / v)) / D, rel=1e-9)


@pytest.mark.parametrize("shape", ["normal", "signs"])
@pytest.mark.parametrize("v", [0.01, 1.0, 30.0])
def test_error_is_the_expected_one_whatever_the_law(v, shape):
    """Also for images of ± components, which are far from normal.   5 standard errors: 3e-6 for all six."""
    n, own = 20_000, np.random.default_rng(5)
    white = own.standard_normal((n, D)) if shape == "normal" else own.choice([-1.0, 1.0], (n, D))
    x = white @ ROOT.T + MEAN
    errors = wiener.squared_error(wiener.denoise(x + np.sqrt(v) * own.standard_normal((n, D)), LAW, noise_var=v), x)
    assert abs(errors.mean() - wiener.expected_error(LAW, noise_var=v)) < 5 * errors.std() / np.sqrt(n)


def test_no_other_gain_does_better():
    """The expected error of x̂ = m + A (y − m) is tr[(I − A) C (I − A)ᵀ + v A Aᵀ]/D, smallest at Wiener's A."""
    v = 0.37
    A = (wiener.denoise(np.eye(D) + MEAN, LAW, noise_var=v) - MEAN).T

    def error(gain):
        left = np.eye(D) - gain
        return np.trace(left @ COVARIANCE @ left.T + v * gain @ gain.T) / D

    assert error(A) == pytest.approx(wiener.expected_error(LAW, noise_var=v), rel=1e-12)
    assert all(error(A + 0.01 * rng.standard_normal((D, D))) > error(A) for _ in range(20))


def test_ends():
    y = images(4, 6)
    assert np.allclose(wiener.denoise(y, LAW, noise_var=0.0), y) and wiener.expected_error(LAW, noise_var=0.0) == 0
    assert np.allclose(wiener.denoise(y, LAW, noise_var=1e12).reshape(4, D), MEAN, atol=1e-9)
    assert wiener.expected_error(LAW, noise_var=1e12) == pytest.approx(np.trace(COVARIANCE) / D)


def test_squared_error_is_an_average_over_components():
    x = np.zeros((2, H, W, C))
    x[1, 0, 0, 1] = 3
    assert np.array_equal(wiener.squared_error(x, np.zeros_like(x)), [0, 9 / D])


@pytest.mark.parametrize("call,words", [
    (lambda: wiener.fit(images(D, 7)), f"more than {D} images"),
    (lambda: wiener.fit(np.zeros((40, 2, 2, 1))), "positive eigenvalues"),
    (lambda: wiener.law_of(MEAN, COVARIANCE[1:]), "symmetric"), (lambda: wiener.law_of(MEAN, ROOT), "symmetric"),
    (lambda: wiener.law_of(MEAN, -COVARIANCE), "positive")])
def test_impossible_moments_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
