"""Checks of the objective: K, the strict bound, the average over forward paths, units.

The truth comes from covariance algebra (`oracles.linear_gaussian`), from integration on grids with Bayes' rule taken literally
(`oracles.quadrature`), and from averages that are exact because K of a linear Gaussian model is quadratic in data and noise.
"""

from collections.abc import Callable
from functools import partial
from math import log, pi
from typing import Any

import numpy as np
from scipy.stats import chi2

from refdpm import binomial, bound, gaussian, likelihood
from refdpm.conformance.checks.common import (apart, check, forward_law, gaussian_data, grid, linear, network, passes,
                                              refused, signs, worst)
from refdpm.likelihood import Estimate, Module
from refdpm.oracles import linear_gaussian, quadrature
from refdpm.vjp import Array, fix

BETA = np.array([0.0, 0.05, 0.2, 0.35, 0.6])
COVARIANCE = np.array([[0.8, 0.35], [0.35, 0.3]])
WHOLE = ("bound.step_kl_vjp", "bound.entropy_at_vjp", "bound.terms_vjp", "bound.assemble", "bound.bound_vjp")
STRICT = (*WHOLE, "bound.prior_cross_entropy_at_vjp", "bound.correction_vjp", "bound.strict_bound_vjp")
CHAINS = tuple((beta, kernels) for beta in (BETA, BETA[:3]) for kernels in ("diagonal", "forward"))


def curved(x: Array, t: Any) -> tuple[Array, Array]:
    """A reverse model that is linear in nothing."""
    return 0.9 * np.tanh(1.3 * x) + 0.05 * t, 0.1 + 0.04 * t + 0.2 / (1 + x * x)


def _of(what: Callable[..., Any], beta: Array, x_0: Array, noise: Array, parameters: Any, model: Module) -> Any:
    """`bound`, `strict_bound` or `terms` with the full sum over t, and the same noise of an example at every t."""
    t = bound.every_step(len(beta) - 1, len(x_0))
    every_noise = np.broadcast_to(noise, (len(t), *noise.shape))
    return what(parameters, beta, x_0, noise=every_noise, t=t, kernel=gaussian, network=model)


@check("K and strict bound of Gaussian data", *STRICT, "bound.every_step")
def bounds_of_gaussian_data() -> float:
    """Two correlated dimensions with the best diagonal kernels, which are not the posterior, and with the forward kernel: K, and
    eq. 12, which the oracle sums over t = 1..T from covariances of residuals; an exact expectation over data and noise."""
    x_0, noise = gaussian_data(COVARIANCE)
    found = []
    for beta, kernels in CHAINS:
        model = linear_gaussian.reverse_kernels(COVARIANCE, beta, kernels=kernels)
        for what, oracle in ((bound.bound, linear_gaussian.bound), (bound.strict_bound, linear_gaussian.strict_bound)):
            found.append(apart(_of(what, beta, x_0, noise, model, linear).mean(), oracle(COVARIANCE, beta, kernels=kernels)))
    return worst(*found)


@check("K and strict bound by quadrature", *STRICT)
def bounds_by_quadrature() -> float:
    """K and the strict bound of two data points, off centre, under a curved model, against sums over grids."""
    points, noise = quadrature.Nodes(np.array([-1.2, 0.7]), np.array([0.3, 0.7])), quadrature.unit_noise()
    x_0, rows = grid(points.node, noise.node)
    weight = np.outer(points.weight, noise.weight).ravel()
    found = []
    for what, oracle in ((bound.bound, quadrature.bound), (bound.strict_bound, quadrature.strict_bound)):
        value = weight @ _of(what, BETA, x_0[:, None], rows[:, None], (), network(curved))
        found.append(apart(value, oracle(points, BETA, curved, noise=noise), within=1e-9))
    return worst(*found)


@check("isotropic data gain nothing: K = L_null", *WHOLE)
def isotropic_data_gain_nothing() -> float:
    """N(0, 1) under its exact reversal: K = L_null at every T, whatever the schedule (x_0 = 1 stands for both signs)."""
    x_0, noise = np.ones((2, 1)), signs(1)
    schedules = (BETA, BETA[:2], np.append(0, np.linspace(0.1, 0.9, 3)), np.append(0, np.geomspace(1e-3, 0.5, 40)),
                 np.append(0, np.linspace(1e-4, 0.02, 1000)))
    return worst(*(apart(_of(bound.bound, beta, x_0, noise, (), network(forward_law(beta))).mean(), -(log(2 * pi) + 1) / 2,
                         within=1e-13) for beta in schedules))


@check("examples do not mix, components add", *STRICT, "likelihood.total")
def examples_do_not_mix_and_components_add() -> float:
    """A batch with mixed t (N = 4, S = 3, T = 4) gives, row by row, what each row gives alone; states of shape (N, 2, 3) are states
    of shape (N, 6), whose bound is the sum of the bounds of each component."""
    x_0, noise = np.linspace(-2, 2, 24).reshape(4, 2, 3), np.cos(np.arange(72.0)).reshape(3, 4, 2, 3)
    t, found = np.array([[2, 4, 3, 2], [3, 4, 2, 4], [4, 2, 2, 3]]), []
    for what in (bound.bound, bound.strict_bound):
        of = partial(what, (), BETA, kernel=gaussian, network=network(curved))
        whole, flat, flat_noise = of(x_0, noise=noise, t=t), x_0.reshape(4, 6), noise.reshape(3, 4, 6)
        found += [apart(whole, of(flat, noise=flat_noise, t=t)),
                  apart(whole, [of(x_0[[i]], noise=noise[:, [i]], t=t[:, [i]])[0] for i in range(4)]),
                  apart(whole, sum(of(flat[:, [d]], noise=flat_noise[:, :, [d]], t=t) for d in range(6)))]
    return worst(*found)


@check("drawn t are uniform on 2..T", "bound.draw_steps", "bound.check_shapes")
def drawn_steps_are_uniform() -> float:
    """t on 2..T with equal weights: χ² of 4000 draws (3 degrees of freedom, a false alarm in 10⁹), and rows and columns
    that agree as often as independent ones (six standard errors).  Rows and noise of another number are refused."""
    t = bound.draw_steps(np.random.default_rng(2), 5, (40, 100))
    counts = np.array([(t == s).sum() for s in range(2, 6)])
    agreement = [(np.mean(t[1:] == t[:-1]), 3900), (np.mean(t[:, 1:] == t[:, :-1]), 3960)]
    x_0, noise = np.zeros((100, 3)), np.zeros((40, 100, 3))
    bad = ((x_0[1:], noise, t), (x_0, noise[1:], t), (x_0, noise, t[0]), (x_0, noise[..., 1:], t))
    return worst(passes(counts.sum() == 4000, not refused(partial(bound.check_shapes, x_0, noise, t)),
                        *(refused(partial(bound.check_shapes, *shapes)) for shapes in bad)),
                 float(((counts - 1000.0) ** 2 / 1000).sum() / chi2.isf(1e-9, 3)),
                 *(abs(share - 0.25) / (6 * np.sqrt(0.1875 / n)) for share, n in agreement))


@check("exact reversal: every path weighs π(x_0)", "likelihood.log_weights")
def weights_of_the_exact_reversal_are_constant() -> float:
    """Isotropic data, exact reversal: every forward path has the weight π(x_0), because every step is reversible."""
    x_0, noise = np.linspace(-2, 2, 10).reshape(5, 2), 2 * np.sin(np.arange(40.0)).reshape(4, 5, 2)
    log_w = likelihood.log_weights((), BETA, x_0, noise=noise, kernel=gaussian, network=network(forward_law(BETA)))
    return apart(log_w, -log(2 * pi) - (x_0 * x_0).sum(axis=1) / 2)


@check("weights average to the likelihood", "likelihood.log_weights")
def weights_average_to_the_likelihood() -> float:
    """E_q w = p(x_0): integrated over the noise of three steps, against N(x_0; 0, P_0) of the oracle."""
    beta, covariance, x_0 = np.array([0, 0.3, 0.5, 0.4]), np.array([[0.5]]), np.array([-1.0, 0.4])
    kernels = linear_gaussian.reverse_kernels(covariance, beta)
    P_0 = linear_gaussian.model_covariances(covariance, beta, kernels=kernels)[0, 0, 0]
    nodes = quadrature.gauss_hermite(0, 1, 9)
    rows, *noise = grid(x_0, nodes.node, nodes.node, nodes.node)
    weight = np.prod(grid(nodes.weight, nodes.weight, nodes.weight), axis=0)
    log_w = likelihood.log_weights(kernels, beta, rows[:, None], noise=np.stack(noise)[:, :, None],
                                   kernel=gaussian, network=linear)
    return apart(np.exp(log_w).reshape(2, -1) @ weight, np.exp(-x_0 * x_0 / (2 * P_0)) / np.sqrt(2 * pi * P_0), within=1e-8)


@check("averages, bits and the null model by hand", "bound.assemble", "likelihood.log_likelihood", "likelihood.bits",
       "likelihood.in_bits", "likelihood.average", "likelihood.null_log_likelihood")
def averages_by_hand() -> float:
    """T = 5, two of the four terms drawn: K = −(4/2)(0.5 + 1) + 3 − (−2) − 4 = −2 and −(4/2)(0.25 + 0) + 1 − 0.5 − 4 = −4.  Weights
    (½, 3/2) and (1, 1): log 1 for both; the variance of their means is ¼ and 0, the standard error ½ √¼ = ¼.  log 8 is 3 bits;
    1, 2, 6 have the mean 3 with standard error √(7/3), a single value has none.  A heartbeat of 4 ones and 16 zeros under π with
    r = 0.2: 4 log 0.2 + 16 log 0.8."""
    terms = bound.Terms(np.array([[0.5, 0.25], [1.0, 0.0]]), np.array([3.0, 1]), np.array([-2.0, 0.5]), np.array([4.0, 4.0]))
    log_w, heartbeat = np.log([[0.5, 1.0], [1.5, 1.0]]), np.tile([1.0, 0, 0, 0, 0], 4).reshape(1, 4, 5)
    single, one = likelihood.log_likelihood(log_w[:1]), likelihood.average(np.array([1.0]))
    return worst(apart(bound.assemble(terms, T=5), [-2, -4]), apart(likelihood.log_likelihood(log_w - 1000), (-1000, 0.25)),
                 apart(single.value, log(0.5) / 2), passes(np.isnan(single.stderr), one.value == 1, np.isnan(one.stderr)),
                 apart(likelihood.bits(log(8)), 3), apart(likelihood.in_bits(Estimate(log(8), log(2))), (3, 1)),
                 apart(likelihood.average(np.array([1.0, 2.0, 6.0])), (3, np.sqrt(7 / 3))),
                 apart(likelihood.null_log_likelihood(heartbeat, kernel=fix(binomial, rate=0.2)), [4 * log(0.2) + 16 * log(0.8)]))
