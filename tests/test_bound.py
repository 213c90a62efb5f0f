"""K, the strict bound and the log-likelihood together: the paper's inequalities, and PAPER.md's table for Gaussian data.

The kit's checks (`conformance.checks.objective`) compare each quantity with its oracle; here they are held against one another
and against printed numbers.
"""

import numpy as np
import pytest

from refdpm import bound, gaussian, likelihood, schedule
from refdpm.conformance.checks.common import gaussian_data, linear
from refdpm.oracles import linear_gaussian


def released_schedule(T):
    """The authors' code: a base of 1/linspace(T, 2, T), lifted; see PAPER §3."""
    least = np.full(T, 1e-6)
    least[0] += 0.001 + 1e-6 - 1e-6
    base = 1 / np.linspace(T, 2, T)
    beta = least + base * (1 - least - 1e-5)
    return np.concatenate([[0.0], beta])


SCHEDULES = {"constant": np.concatenate([[0.0], np.full(20, 0.1)]), "reciprocal": schedule.reciprocal(40),
             "released": released_schedule(1000)}


def exact(beta, covariance):
    """K and strict bound for N(0, covariance) and its exact reversal, diagonal in its eigenbasis: nothing sampled."""
    variances, _ = np.linalg.eigh(covariance)
    rotated = np.diag(variances)
    x_0, noise = gaussian_data(rotated)
    kernels = linear_gaussian.reverse_kernels(rotated, beta, kernels="full")
    t = bound.every_step(len(beta) - 1, len(x_0))
    arguments = dict(noise=np.broadcast_to(noise, (len(t), *noise.shape)), t=t, kernel=gaussian, network=linear)
    return [what(kernels, beta, x_0, **arguments).mean() for what in (bound.bound, bound.strict_bound)]


@pytest.mark.eq("12", "14", "51")
@pytest.mark.parametrize("name,s,k,elbo", [
    ("constant", 0.25, -0.904779, -0.821688), ("constant", 2.0, -1.682498, -1.793286),
    ("reciprocal", 0.25, -0.761952, -0.752577), ("reciprocal", 2.0, -1.759223, -1.771723),
    ("released", 0.25, -0.729154, -0.728033), ("released", 2.0, -1.764516, -1.766012)])
def test_table_of_gaussian_data(name, s, k, elbo):
    """PAPER §4.3, all printed digits."""
    assert np.round(exact(SCHEDULES[name], np.array([[s]])), 6) == pytest.approx([k, elbo], abs=1e-9)


@pytest.mark.eq("14")
@pytest.mark.parametrize("name", SCHEDULES)
def test_correlated_data(name):
    """K = Σ_j −½ log(2πe v_1j) + ½ log v_Tj over eigenvalues s, v_t = ᾱ_t s + 1 − ᾱ_t; the strict bound adds ½ Σ (1−s)(ᾱ_T+β_1)."""
    covariance, beta = np.array([[1.3, 0.8, -0.2], [0.8, 0.9, 0.1], [-0.2, 0.1, 0.4]]), SCHEDULES[name]
    s, alpha_bar = np.linalg.eigvalsh(covariance), np.cumprod(1 - beta)
    v_1, v_T = (a * s + 1 - a for a in (alpha_bar[1], alpha_bar[-1]))
    k = (np.log(v_T / v_1) / 2 - np.log(2 * np.pi * np.e) / 2).sum()
    expected = k, k + ((1 - s) * (alpha_bar[-1] + beta[1])).sum() / 2
    assert exact(beta, covariance) == pytest.approx(expected, abs=1e-12)


@pytest.mark.eq("13", "37")
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("s", [0.05, 0.25, 0.9, 1.0])
def test_bounds_are_below_the_likelihood(name, s):
    """K ≤ strict bound ≤ L where the data have at most unit variance (C ≥ 0), with equality at s = 1."""
    beta, covariance = SCHEDULES[name], np.array([[s]])
    k, elbo = exact(beta, covariance)
    log_p = linear_gaussian.log_likelihood(covariance, beta)
    assert k <= elbo + 1e-12 and elbo <= log_p + 1e-12
    if s == 1:
        assert k == pytest.approx(log_p, abs=1e-12)


@pytest.mark.eq("13", "43")
def test_k_is_no_bound_for_data_that_are_not_scaled():
    """Variance 2: K = −1.6825 exceeds L = −1.7695; the strict bound does not (PAPER §1.1)."""
    beta, covariance = SCHEDULES["constant"], np.array([[2.0]])
    k, elbo = exact(beta, covariance)
    assert elbo < linear_gaussian.log_likelihood(covariance, beta) < k


@pytest.mark.eq("38", "40", "45")
def test_average_of_log_weights_is_the_strict_bound():
    """Eq. 12 by paths, against K + C in closed form: five standard errors, a false alarm in two million."""
    beta, covariance = schedule.geometric(6, beta_1=0.05, beta_T=0.6), np.array([[0.4]])
    kernels = linear_gaussian.reverse_kernels(covariance, beta, kernels="full")
    rng = np.random.default_rng(0)
    x_0 = rng.standard_normal((20000, 1)) * np.sqrt(0.4)
    log_w = likelihood.log_weights(kernels, beta, x_0, noise=rng.standard_normal((6, *x_0.shape)), kernel=gaussian, network=linear)
    value, stderr = likelihood.average(log_w)
    assert abs(value - exact(beta, covariance)[1]) < 5 * stderr


@pytest.mark.eq("9", "10")
@pytest.mark.parametrize("s", [0.25, 2.0])
def test_weighted_average_is_the_likelihood(s):
    """Eq. 9 against the exact L of PAPER §4.3's first schedule, shortened: five standard errors and the bias of the logarithm."""
    beta, covariance = SCHEDULES["constant"][:9], np.array([[s]])
    kernels = linear_gaussian.reverse_kernels(covariance, beta, kernels="full")
    rng = np.random.default_rng(1)
    paths, x_0 = 400, rng.standard_normal((200, 1)) * np.sqrt(s)
    rows = np.tile(x_0, (paths, 1))
    log_w = likelihood.log_weights(kernels, beta, rows, noise=rng.standard_normal((8, *rows.shape)), kernel=gaussian,
                                   network=linear).reshape(paths, -1)
    value, stderr = likelihood.log_likelihood(log_w)
    P_0 = linear_gaussian.model_covariances(covariance, beta, kernels=kernels)[0, 0, 0]
    expected = -(np.log(2 * np.pi * P_0) + x_0 * x_0 / P_0).mean() / 2
    bias = np.exp(log_w - value).var(axis=0).mean() / (2 * paths)
    assert abs(value - expected) < 5 * stderr + 2 * bias
