"""Checks of the process: schedules, the Gaussian kernel, its divergences and its draws.

What they are compared with: Bayes' rule on grids (`oracles.quadrature`), integrals over grids, laws that the chain has to keep, and
numbers that come out by hand.
"""

from collections.abc import Iterator
from functools import partial
from math import log, pi

import numpy as np

from refdpm import gaussian, schedule
from refdpm.conformance.checks.common import Check, apart, column, passes, refused, worst
from refdpm.gaussian import Gaussian
from refdpm.oracles import quadrature
from refdpm.oracles.quadrature import Tabulated
from refdpm.vjp import Array

BETA = np.array([0.0, 0.02, 0.1, 0.3, 0.5, 0.85])


# -- schedules ---------------------------------------------------------------------------------------------------------

def reciprocal_falls_evenly() -> float:
    """ᾱ_t = 1 − t/T at every t, and β_T = 1 exactly."""
    return worst(*(worst(apart(np.cumprod(1 - schedule.reciprocal(T)), 1 - np.arange(T + 1) / T),
                         passes(schedule.reciprocal(T)[-1] == 1)) for T in (1, 2, 3, 10, 40)))


def linear_and_geometric_end_as_asked() -> float:
    """T rates from β_1 to β_T, both exact, with equal steps or equal ratios between them; β_1 alone for T = 1."""
    found = [apart(named(1, beta_1=0.01, beta_T=0.4), [0, 0.01]) for named in (schedule.linear, schedule.geometric)]
    for T in (2, 3, 10, 40):
        for beta, steps in ((schedule.linear(T, beta_1=0.01, beta_T=0.4), lambda x: x),
                            (schedule.geometric(T, beta_1=0.01, beta_T=0.4), np.log)):
            found += [apart(beta[[0, 1, -1]], [0, 0.01, 0.4]), passes(len(beta) == T + 1),
                      apart(np.diff(steps(beta[1:])), np.full(T - 1, (steps(0.4) - steps(0.01)) / (T - 1)))]
    return worst(*found)


def learned_starts_where_it_is_told() -> float:
    """learned(logits_of(β)) is β; a shift δ of the parameters multiplies the odds β/(1−β) by e^δ, and leaves β_1 as it is."""
    start, shift = BETA, np.array([-0.7, 0.2, 0.0, 1.5])
    again = schedule.learned(schedule.logits_of(start), beta_1=start[1])
    moved = schedule.learned(schedule.logits_of(start) + shift, beta_1=start[1])
    odds = start[2:] / (1 - start[2:]) * np.exp(shift)
    return worst(apart(again, start), apart(moved[2:], odds / (1 + odds)), passes(again[1] == start[1], moved[1] == start[1]))


def wrong_schedules_are_refused() -> float:
    """One bad rate among good ones is enough; β_T = 1 and integers are fine."""
    bad = ([0, 0.1, np.nan, 0.2], [0, 0.1, 0, 0.2], [0, 0.1, 1, 0.2], [0, 0.1, 0.2, 1.5], [0, -0.1, 0.2], [0, 1.5, 0.2],
           [0, 0.1, 0], [0.1, 0.2], [0], [[0, 0.1]])
    return passes(*(refused(partial(schedule.checked, np.array(beta))) for beta in bad),
                  refused(partial(schedule.reciprocal, 0)),
                  schedule.checked(np.array([0, 1])) == [0, 1], schedule.checked(np.array([0, 0.1, 1.0])) == [0, 0.1, 1])


# -- forward -----------------------------------------------------------------------------------------------------------

def forward_by_hand() -> float:
    """β = 0.36 keeps 0.8 of the state and has variance 0.36; β = 0.75 keeps half; β = 1 keeps nothing."""
    x, beta = np.array([[2.0, -1], [1, 4], [3, 3]]), np.array([[0.36], [0.75], [1.0]])
    q = gaussian.forward(x, beta)
    return worst(apart(q.mean, [[1.6, -0.8], [0.5, 2], [0, 0]]), apart(q.var, beta))


def steps_compose() -> float:
    """Iterating m ← √(1−β) m and v ← (1−β) v + β from any m, v gives √ᾱ m and ᾱ v + 1 − ᾱ at every t."""
    start, v_0 = np.array([[1.7, -0.4]]), 0.3
    m, v, level, found = start, v_0, 0.0, []
    for beta in BETA:
        m, v, level = np.sqrt(1 - beta) * m, (1 - beta) * v + beta, level + log(1 - beta)
        q = gaussian.marginal(start, column(level))
        found += [apart(q.mean, m), apart(np.exp(level) * v_0 + q.var, [[v]])]
    first, last = (gaussian.marginal(start, column(level)) for level in (0.0, -np.inf))
    return worst(*found, passes(first.mean == start, first.var == 0), apart(last.mean, 0 * start), apart(last.var, [[1]]))


def prior_is_stationary_and_the_step_reversible() -> float:
    """∫ q(y | x) π(x) dx = π(y), by quadrature, and q(y | x) π(x) = q(x | y) π(y), for small and for large β."""
    x, y = np.linspace(-10, 10, 241)[:, None], np.array([[-2.0, 0, 0.7]])
    found = [apart(gaussian.prior((2, 3)).mean, np.zeros((2, 3))), apart(gaussian.prior((2, 3)).var, np.ones((2, 3)))]
    pi_x, pi_y = (gaussian.log_prob(z, gaussian.prior(z.shape)) for z in (x, y))
    for beta in (np.array([[0.1]]), np.array([[0.8]])):
        there = gaussian.log_prob(np.broadcast_to(y, (241, 3)), gaussian.forward(np.broadcast_to(x, (241, 3)), beta)) + pi_x
        back = gaussian.log_prob(np.broadcast_to(x, (241, 3)), gaussian.forward(np.broadcast_to(y, (241, 3)), beta)) + pi_y
        found += [apart(there, back), apart(quadrature.integrate(x[:, 0], np.exp(there).T), _normal(y[0], 0, 1), within=1e-10)]
    return worst(*found)


# -- posterior ---------------------------------------------------------------------------------------------------------

def posterior_on_a_grid() -> float:
    """The product of the two forward densities, normalised by its sum over a grid: t = 2, the middle and T."""
    level, x_t, x_0 = np.cumsum(np.log1p(-BETA)), np.array([-1.1, 0.4, 2.0]), np.array([0.8, -1.5, 0.1])
    found = []
    for t in (2, 3, 5):
        mean, var = quadrature.table_moments(quadrature.posterior(x_t, x_0, level[t - 1], level[t]))
        q = gaussian.posterior(x_t[:, None], x_0[:, None], np.full((3, 1), BETA[t]), np.full((3, 1), level[t - 1]))
        found += [apart(q.mean, mean[:, None], within=1e-9), apart(q.var, var[:, None], within=1e-9)]
    return worst(*found)


def posterior_averages_to_the_marginal() -> float:
    """Averaged over x_t given x_0 its mean is √ᾱ_{t−1} x_0 and its variance 1 − ᾱ_{t−1}; at t = 1 it is x_0 with variance 0."""
    beta, level, x_0 = column(0.02, 0.3, 0.9, 0.4), column(0, -0.5, -2, -1e-3), column(1.5, -2, 0.7, 3)
    alpha_bar = (1 - beta) * np.exp(level)
    high, low = (gaussian.posterior(np.sqrt(alpha_bar) * x_0 + s * np.sqrt(1 - alpha_bar), x_0, beta, level) for s in (1, -1))
    spread = ((high.mean - low.mean) / 2) ** 2
    edge = gaussian.posterior(x_0 + 1, x_0, beta, np.zeros((4, 1)))
    shares = np.exp(level), 1 - np.exp(level), 1 - alpha_bar
    return worst(apart((high.mean + low.mean) / 2, np.exp(level / 2) * x_0), apart(spread + high.var, -np.expm1(level)),
                 apart(edge.mean, x_0), passes(edge.var == 0), apart(gaussian.shares(beta, level), shares))


# -- divergence, entropy, density, draws -------------------------------------------------------------------------------

LAWS = Gaussian(np.array([[0.3, -1.2, 0.0], [2.0, 0.5, -0.7]]), np.array([[0.09, 4.0, 1.0], [0.5, 1.7, 0.02]]))
OTHERS = Gaussian(np.array([[-0.4, 0.1, 0.0], [1.0, 0.5, -0.5]]), np.array([[0.5, 0.3, 1.0], [2.5, 6.0, 0.03]]))


def _normal(x: Array, mean: Array | float, var: Array | float) -> Array:
    return np.exp(-((x - mean) ** 2) / (2 * var)) / np.sqrt(2 * pi * np.asarray(var))


def _table(q: Gaussian) -> Tabulated:
    x = q.mean[..., None] + np.sqrt(q.var[..., None]) * np.linspace(-9, 9, 91)
    return Tabulated(x, _normal(x, q.mean[..., None], q.var[..., None]))


def divergence_by_quadrature() -> float:
    """KL(q ‖ p) = ∫ q log(q/p) per component, with other variances than 1 and other variances of q than of p."""
    q, columns = _table(LAWS), Gaussian(LAWS.mean, LAWS.var[:, :1])
    expected = quadrature.kl(q, np.log(_normal(q.x, OTHERS.mean[..., None], OTHERS.var[..., None])))
    stretched = gaussian.kl(columns, OTHERS)
    return worst(apart(gaussian.kl(LAWS, OTHERS), expected, within=1e-10),
                 apart(stretched, gaussian.kl(Gaussian(LAWS.mean, np.repeat(LAWS.var[:, :1], 3, axis=1)), OTHERS)))


def divergence_is_zero_at_equality() -> float:
    """KL(q ‖ q) = 0; near it, ¼ δ² for variances in the ratio 1 + δ and ½ (Δmean)²/var; and never negative."""
    near = gaussian.kl(LAWS, Gaussian(LAWS.mean, LAWS.var * 1.0001))
    shifted = gaussian.kl(LAWS, Gaussian(LAWS.mean + 1e-3, LAWS.var))
    ratio = np.exp(np.linspace(-3, 3, 101))
    values = gaussian.kl(Gaussian(np.zeros(101), np.ones(101)), Gaussian(np.zeros(101), ratio))
    return worst(apart(gaussian.kl(LAWS, LAWS), np.zeros((2, 3))), apart(near, np.full((2, 3), 0.25e-8), within=1e-3),
                 apart(shifted, 0.5e-6 / LAWS.var, within=1e-9), passes(values >= -1e-15))


def density_integrates_to_one() -> float:
    """∫ p = 1, with the mean and the variance it was given, at standard deviations from 0.14 to 2."""
    x = _table(LAWS).x
    density = np.exp(gaussian.log_prob(x, Gaussian(LAWS.mean[..., None], LAWS.var[..., None])))
    mean, var = quadrature.table_moments(Tabulated(x, density))
    return worst(apart(quadrature.integrate(x, density), np.ones((2, 3)), within=1e-10), apart(mean, LAWS.mean, within=1e-10),
                 apart(var, LAWS.var, within=1e-10))


def entropies_by_quadrature() -> float:
    """H = −∫ q log q and −∫ q log p per component, and H(N(0, 1)) = ½ log(2πe) = 1.4189385332…"""
    q = _table(LAWS)
    log_p = np.log(_normal(q.x, OTHERS.mean[..., None], OTHERS.var[..., None]))
    column = gaussian.entropy(Gaussian(np.zeros((2, 3)), np.ones((2, 1))))
    return worst(apart(gaussian.entropy(LAWS), quadrature.entropy(q), within=1e-10),
                 apart(gaussian.cross_entropy(LAWS, OTHERS), -quadrature.integrate(q.x, q.density * log_p), within=1e-10),
                 apart(column, np.full((2, 3), 1.4189385332046727)))


def draw_is_affine() -> float:
    """N(3, ¼) at noise 0, 1, −2 is 3, 3.5, 2; and N(3, ¼) it stays."""
    p = Gaussian(column(3, 3, 3), column(0.25, 0.25, 0.25))
    return worst(apart(gaussian.draw(p, noise=column(0, 1, -2)), column(3, 3.5, 2)), passes(p.mean == 3, p.var == 0.25))


def noise_is_standard_normal() -> float:
    """Moments 1, 2 and 4 of 12000 draws, and no correlation between rows, columns and calls: six standard errors each,
    so that another seed would raise a false alarm in 2·10⁻⁸ of all cases (the fourth moment, not quite normal, in 10⁻⁷)."""
    rng = np.random.default_rng(1)
    x, y = gaussian.draw_noise(rng, (4000, 3)), gaussian.draw_noise(rng, (4000, 3))
    return worst(passes(x.shape == (4000, 3)), *(abs(z) / 6 for z in _z_scores(x, y)))


def _z_scores(x: Array, y: Array) -> Iterator[float]:
    for values, mean, variance in ((x, 0, 1), (x * x, 1, 2), (x ** 4, 3, 96), (x * y, 0, 1), (x[1:] * x[:-1], 0, 1),
                                   (x[:, 1:] * x[:, :-1], 0, 1)):
        yield float((values.mean() - mean) / np.sqrt(variance / values.size))


CHECKS = (
    Check("reciprocal: ᾱ falls evenly to 0", ("schedule.reciprocal",), reciprocal_falls_evenly),
    Check("linear and geometric end as asked", ("schedule.linear", "schedule.geometric"), linear_and_geometric_end_as_asked),
    Check("a learned schedule starts where it is told", ("schedule.learned", "schedule.logits_of"),
          learned_starts_where_it_is_told),
    Check("wrong schedules are refused", ("schedule.checked",), wrong_schedules_are_refused),
    Check("forward step by hand", ("gaussian.forward",), forward_by_hand),
    Check("steps compose to the marginal", ("gaussian.marginal",), steps_compose),
    Check("π is stationary, the step reversible", ("gaussian.prior", "gaussian.forward", "gaussian.log_prob"),
          prior_is_stationary_and_the_step_reversible),
    Check("posterior is Bayes' rule on a grid", ("gaussian.posterior",), posterior_on_a_grid),
    Check("posterior averages to the marginal", ("gaussian.posterior", "gaussian.shares"), posterior_averages_to_the_marginal),
    Check("divergence by quadrature", ("gaussian.kl",), divergence_by_quadrature),
    Check("divergence is 0 at equality", ("gaussian.kl",), divergence_is_zero_at_equality),
    Check("density integrates to 1", ("gaussian.log_prob",), density_integrates_to_one),
    Check("entropies by quadrature", ("gaussian.entropy", "gaussian.cross_entropy"), entropies_by_quadrature),
    Check("a draw is mean + √var · noise", ("gaussian.draw",), draw_is_affine),
    Check("noise is standard normal", ("gaussian.draw_noise",), noise_is_standard_normal),
)
