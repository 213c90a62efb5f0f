"""quadrature against closed forms, against linear_gaussian and mixture, and against simulation where neither applies."""

import numpy as np
import pytest

from refdpm.oracles import linear_gaussian as lg
from refdpm.oracles import mixture as mx
from refdpm.oracles import quadrature as qd
from refdpm.oracles.common import levels

BETA = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.6])
BETA_TO_ONE = np.array([0, 0.05, 0.1, 0.4, 1.0])


def double_well(x):
    """A smooth density with two humps and no closed forms, up to a constant."""
    return np.exp(-3 * (x * x - 1) ** 2 + 0.4 * x)


WELLS = qd.gauss_legendre(double_well, -2.4, 2.4, 60)


def bent(x_t, t):
    """A reverse model that is linear nowhere."""
    return 0.8 * x_t + 0.3 * np.tanh(2 * x_t) / t, 0.1 + 0.2 * t / (1 + x_t * x_t)


def linear_model(kernels):
    return lambda x, t: (kernels.gain[t, 0, 0] * x, np.full_like(x, kernels.cov[t, 0, 0]))


# -- tables ----------------------------------------------------------------------------------------------------------

def test_nodes():
    for data in (qd.gauss_hermite(0.7, 2.5, 20), qd.gauss_legendre(lambda x: np.exp(-(x - .7) ** 2 / 5), -15, 16, 80)):
        np.testing.assert_allclose(data.weight.sum(), 1)
        np.testing.assert_allclose(data.weight @ data.node, 0.7)
        np.testing.assert_allclose(data.weight @ (data.node - 0.7) ** 4, 3 * 2.5 ** 2)
    noise = qd.unit_noise()
    np.testing.assert_allclose(noise.weight @ np.cos(3 * noise.node), np.exp(-4.5), atol=1e-14)


def test_entropy_and_divergence():
    x = np.linspace(-20, 20, 2001)
    a, b = (np.exp(-0.5 * (x - m) ** 2 / v) / np.sqrt(2 * np.pi * v) for m, v in ((0.5, 0.7), (-1.0, 2.0)))
    q = qd.Tabulated(x, a)
    np.testing.assert_allclose(qd.entropy(q), 0.5 * np.log(2 * np.pi * np.e * 0.7))
    np.testing.assert_allclose(qd.kl(q, np.log(b)), 0.5 * (np.log(2 / 0.7) + (0.7 + 1.5 ** 2) / 2 - 1))
    np.testing.assert_allclose(qd.kl(q, np.log(a)), 0, atol=1e-14)


# -- Bayes -----------------------------------------------------------------------------------------------------------

@pytest.mark.eq("48")
@pytest.mark.parametrize("beta, before", [(0.1, 0.3), (1e-5, 1e-6), (0.999, 1e-3), (1.0, 0.4), (0.02, 0.99)])
def test_posterior(beta, before):
    """Precisions add. x_t and x_0 far apart too: the product then has its maximum where both factors underflow.

    What is lost is the rounding of the exponents, of the size of (x_t − x_0)²/min(variances).
    """
    x_0, x_t = np.meshgrid([-3.0, 0.2, 100.0], [-100.0, 0.5, 2.0])
    law = qd.posterior(x_t, x_0, np.log1p(-before), np.log1p(-before) + levels(np.array([0, beta]))[-1])
    precision = 1 / before + (1 - beta) / beta
    mean = (np.sqrt(1 - before) * x_0 / before + np.sqrt(1 - beta) * x_t / beta) / precision
    found = qd.table_moments(law)
    error = 1e-11 + 2e-16 * (np.abs(x_t) + np.abs(x_0)) ** 2 / min(beta, before)
    assert np.all(np.abs(found[0] - mean) < error / np.sqrt(precision))
    assert np.all(np.abs(found[1] * precision - 1) < error)
    assert np.all(np.abs(qd.entropy(law) - 0.5 * np.log(2 * np.pi * np.e / precision)) < error)


def test_no_posterior_at_t_1():
    with pytest.raises(ValueError, match="log_alpha_bar_prev: expected a number between -0.1 and 0, got 0.0"):
        qd.posterior(np.ones(1), np.ones(1), 0.0, -0.1)


def test_optimal_reverse():
    """On a mixture, with nodes dense enough to be its density: the posterior moments of the mixture oracle."""
    humps = mx.Mixture(np.array([0.3, 0.7]), np.array([[-1.2], [0.6]]), np.array([[0.1], [0.2]]))
    data = qd.gauss_legendre(lambda x: np.exp(mx.log_density(humps, x[:, None], 0.0)), -5, 5, 160)
    x_t, level = np.linspace(-4, 4, 9), levels(BETA_TO_ONE)
    for t in (2, 3, 4):
        np.testing.assert_allclose(qd.log_density(data, x_t, level[t]), mx.log_density(humps, x_t[:, None], level[t]))
        expected = mx.posterior_moments(humps, x_t[:, None], level[t - 1], level[t])
        mean, var = qd.optimal_reverse(data, BETA_TO_ONE)(x_t, t)
        np.testing.assert_allclose(mean, expected.mean[:, 0], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(var, expected.var[:, 0], rtol=1e-10)


# -- Gaussian data, linear models ------------------------------------------------------------------------------------

@pytest.mark.eq("14", "12", "6")
@pytest.mark.parametrize("beta", [BETA, BETA_TO_ONE])
@pytest.mark.parametrize("s", [0.25, 2.0])
@pytest.mark.parametrize("name", ["full", "forward", "any"])
def test_linear_gaussian(name, s, beta):
    S0, data = np.array([[s]]), qd.gauss_hermite(0, s, 20)
    kernels = lg.reverse_kernels(S0, beta, kernels="full" if name == "any" else name)
    if name == "any":
        kernels.gain[2:] *= 0.9
        kernels.cov[2:] *= 1.3
    reverse = linear_model(kernels)
    np.testing.assert_allclose(qd.step_costs(data, beta, reverse), lg.step_costs(S0, beta, kernels=kernels), atol=1e-12)
    np.testing.assert_allclose(qd.bound(data, beta, reverse), lg.bound(S0, beta, kernels=kernels), rtol=1e-12)
    np.testing.assert_allclose(qd.strict_bound(data, beta, reverse), lg.strict_bound(S0, beta, kernels=kernels), rtol=1e-12)
    L = data.weight @ qd.log_likelihood(data.node, beta, reverse, points=901)
    np.testing.assert_allclose(L, lg.log_likelihood(S0, beta, kernels=kernels), rtol=1e-10)


@pytest.mark.eq("14")
def test_optimal_reverse_of_gaussian_data():
    S0, data = np.array([[0.25]]), qd.gauss_hermite(0, 0.25, 30)
    np.testing.assert_allclose(qd.bound(data, BETA, qd.optimal_reverse(data, BETA)), lg.bound(S0, BETA), rtol=1e-12)


# -- data and models without closed forms ----------------------------------------------------------------------------

def simulate(N, beta, reverse, rng):
    """Trajectories x_0 … x_T of q from the double well, with the logs of eq. 9's ratio and of eq. 14's terms."""
    level = levels(beta)
    x_0 = rng.choice(WELLS.node, size=N, p=WELLS.weight)
    ratio, kl, x_prev = np.zeros(N), np.zeros(N), x_0
    for t in range(1, len(beta)):
        x_t = np.sqrt(1 - beta[t]) * x_prev + np.sqrt(beta[t]) * rng.standard_normal(N)
        mean, var = reverse(x_t, t) if t > 1 else (np.sqrt(1 - beta[1]) * x_t, beta[1])
        ratio += (-0.5 * (x_prev - mean) ** 2 / var - 0.5 * np.log(var)
                  + 0.5 * (x_t - np.sqrt(1 - beta[t]) * x_prev) ** 2 / beta[t] + 0.5 * np.log(beta[t]))
        if t > 1:
            before = -np.expm1(level[t - 1])
            s2 = 1 / (1 / before + (1 - beta[t]) / beta[t])
            m = s2 * (np.sqrt(1 - before) * x_0 / before + np.sqrt(1 - beta[t]) * x_t / beta[t])
            kl += 0.5 * (np.log(var / s2) + (s2 + (m - mean) ** 2) / var - 1)
        x_prev = x_t
    return x_0, ratio - 0.5 * np.log(2 * np.pi) - 0.5 * x_prev ** 2, kl


@pytest.mark.eq("12", "14")
@pytest.mark.parametrize("beta", [BETA, BETA_TO_ONE])
def test_bounds_by_simulation(beta):
    """|z| < 4.5 twice, for each schedule: a false alarm in 3e-5 of the seeds. One standard error is at most 0.01."""
    _, ratio, kl = simulate(200_000, beta, bent, np.random.default_rng(2))
    entropies = 0.5 * np.log(-np.expm1(levels(beta)[-1])) - 0.5 * np.log(2 * np.pi * np.e * beta[1])
    for sample, expected in ((ratio, qd.strict_bound(WELLS, beta, bent)), (entropies - kl, qd.bound(WELLS, beta, bent))):
        assert abs(sample.mean() - expected) < 4.5 * sample.std() / np.sqrt(len(sample)) < 0.05


@pytest.mark.eq("6", "9")
def test_likelihood_by_importance_sampling(N=10_000):
    """Eq. 9 at 60 nodes of the data at once, each p(x_0) an average of weights: all |z| < 5, false alarm 4e-5.

    A wrong edge step, one step too many or a variance for a deviation shifts p(x_0) by tens of standard errors.
    """
    x_0, ratio, _ = simulate(60 * N, BETA, bent, np.random.default_rng(3))
    exact = qd.log_likelihood(WELLS.node, BETA, bent)
    where = np.searchsorted(WELLS.node, x_0)
    count, weight = np.bincount(where, minlength=60) + 1e-9, np.exp(ratio - exact[where])
    mean = np.bincount(where, weight, 60) / count
    var = np.bincount(where, weight ** 2, 60) / count - mean ** 2
    used = count > 1000
    assert used.sum() > 20
    assert np.all(np.abs(mean - 1)[used] < 5 * np.sqrt(var / count)[used])


@pytest.mark.eq("37")
def test_order_of_the_bounds():
    """Eq. 12 ≤ L for any model; and eq. 12 − eq. 14 is the correction of the edges, ½ (1 − E x_0²)(ᾱ_T + β_1)."""
    correction = 0.5 * (1 - WELLS.weight @ WELLS.node ** 2) * (np.prod(1 - BETA) + BETA[1])
    for reverse, points, rtol in ((bent, 91, 1e-10), (qd.optimal_reverse(WELLS, BETA), 25, 1e-3)):
        strict, K = (f(WELLS, BETA, reverse, noise=qd.unit_noise(points)) for f in (qd.strict_bound, qd.bound))
        assert strict < WELLS.weight @ qd.log_likelihood(WELLS.node, BETA, reverse)
        np.testing.assert_allclose(strict - K, correction, rtol=rtol)


@pytest.mark.eq("14", "15")
def test_optimum():
    """Any change of the optimal mean or variance costs something, to second order."""
    best = qd.optimal_reverse(WELLS, BETA)
    K = qd.bound(WELLS, BETA, best)
    for shift, stretch in ((1e-3, 1.0), (-1e-3, 1.0), (0.0, 1.003), (0.0, 0.997)):
        def changed(x, t):
            mean, var = best(x, t)
            return mean + shift * np.cos(x), stretch * var
        assert 0 < K - qd.bound(WELLS, BETA, changed) < 1e-3


@pytest.mark.eq("14")
def test_cost_of_the_best_step():
    """½ E log(1 + (SNR_{t−1} − SNR_t) Var(x_0 | x_t)), with Var from weights on the nodes."""
    level, noise = levels(BETA), qd.unit_noise()
    costs = qd.step_costs(WELLS, BETA, qd.optimal_reverse(WELLS, BETA))
    for t in range(2, 6):
        signal, var = np.exp(level[t] / 2), -np.expm1(level[t])
        x_t = signal * WELLS.node[:, None] + np.sqrt(var) * noise.node
        weight = np.exp(-0.5 * (x_t[..., None] - signal * WELLS.node) ** 2 / var) * WELLS.weight
        weight /= weight.sum(axis=-1, keepdims=True)
        spread = weight @ WELLS.node ** 2 - (weight @ WELLS.node) ** 2
        drop = np.exp(level[t - 1]) / -np.expm1(level[t - 1]) - signal ** 2 / var
        expected = 0.5 * WELLS.weight @ np.log1p(drop * spread) @ noise.weight
        np.testing.assert_allclose(costs[t], expected, rtol=1e-9)


@pytest.mark.parametrize("options", [{"points": 101}, {"reach": 2.0}])
def test_grid_that_cannot_hold_the_model(options):
    with pytest.raises(ValueError, match="points: expected"):
        qd.log_likelihood(WELLS.node, BETA, bent, **options)
