"""Checks of the process: schedules, the Gaussian kernel, its divergences and its draws.

What they are compared with: Bayes' rule on grids (`oracles.quadrature`), integrals over grids, laws that the chain has to keep, and
numbers that come out by hand.
"""

from functools import partial
from math import log

import numpy as np
from scipy.stats import norm

from refdpm import gaussian, schedule
from refdpm.conformance.checks.common import apart, check, column, passes, refused, worst
from refdpm.gaussian import Gaussian
from refdpm.oracles import quadrature
from refdpm.oracles.quadrature import Tabulated

BETA = np.array([0.0, 0.02, 0.1, 0.3, 0.5, 0.85])


@check("schedule: stretched to ᾱ = 0 by hand", "schedule.to_zero")
def schedule_stretched_to_zero_by_hand() -> float:
    """√ᾱ = 0.9, 0.6, 0.3 less 0.3 and times 1.5 is 0.9, 0.45, 0."""
    beta = np.array([0.0, 1 - 0.81, 1 - 0.36 / 0.81, 1 - 0.09 / 0.36])
    return apart(schedule.to_zero(beta), [0, 1 - 0.81, 0.75, 1])


@check("schedules by hand", "schedule.reciprocal", "schedule.linear", "schedule.geometric", "schedule.learned",
       "schedule.logits_of", "schedule.step_at")
def schedules_by_hand() -> float:
    """1/(T − t + 1) makes ᾱ fall evenly to 0; equal steps, equal ratios; a shift by log 2 doubles the odds β/(1 − β) of all but
    β_1.  The step at t = 3 has ᾱ_2 = 0.72 before it and ᾱ_3 = 0.36, that at t = 1 has 1 before it."""
    start = np.array([0, 0.1, 0.2, 0.5])
    moved = schedule.learned(schedule.logits_of(start) + log(2), beta_1=0.1)
    step = schedule.step_at(start, t=np.array([3, 1]), ndim=2)
    return worst(apart(np.cumprod(1 - schedule.reciprocal(5)), [1, 0.8, 0.6, 0.4, 0.2, 0], scale=1),
                 apart(schedule.linear(3, beta_1=0.1, beta_T=0.4), [0, 0.1, 0.25, 0.4]),
                 apart(step.beta, column(0.5, 0.1)), apart(np.exp(step.log_alpha_bar_prev), column(0.72, 1)),
                 apart(np.exp(step.log_alpha_bar), column(0.36, 0.9)),
                 apart(schedule.geometric(3, beta_1=0.1, beta_T=0.4), [0, 0.1, 0.2, 0.4]), apart(moved, [0, 0.1, 1 / 3, 2 / 3]))


@check("wrong schedules are refused", "schedule.checked", "schedule.check")
def wrong_schedules_are_refused() -> float:
    """One bad rate among good ones is enough; β_T = 1 and integers are fine.  Steps go from 1 to T, or from where it is said."""
    bad = ([0, 0.1, np.nan, 0.2], [0, 0.1, 0, 0.2], [0, 0.1, 1, 0.2], [0, 0.1, 0.2, 1.5], [0, -0.1, 0.2], [0, 1.5, 0.2],
           [0, 0.1, 0], [0.1, 0.2], [0], [[0, 0.1]])
    return passes(*(refused(partial(schedule.checked, np.array(beta))) for beta in bad),
                  *(refused(partial(schedule.check, np.array([0, 0.5, 0.5]), t=t)) for t in (0, 3, -1, [1, 2, 3])),
                  refused(partial(schedule.check, np.array([0.1, 0.2]), t=1)),
                  not refused(partial(schedule.check, np.array([0, 0.5, 0.5]), t=[1, 2])),
                  not refused(partial(schedule.check, np.array([0, 0.5, 0.5]), t=0, first=0)),
                  refused(partial(schedule.reciprocal, 0)), refused(partial(schedule.linear, 3, beta_1=0.1, beta_T=1.5)),
                  schedule.checked(np.array([0, 1])) == [0, 1], schedule.checked(np.array([0, 0.1, 1.0])) == [0, 0.1, 1])


@check("forward step and draw by hand", "gaussian.forward", "gaussian.draw")
def forward_by_hand() -> float:
    """β = 0.36 keeps 0.8 of the state and has variance 0.36, β = 1 keeps nothing; N(3, ¼) at noise 0, 1, −2 is 3, 3.5, 2."""
    q = gaussian.forward(np.array([[2.0, -1], [3, 3]]), column(0.36, 1))
    drawn = gaussian.draw(Gaussian(column(3, 3, 3), column(0.25, 0.25, 0.25)), noise=column(0, 1, -2))
    return worst(apart(q.mean, [[1.6, -0.8], [0, 0]]), apart(q.var, column(0.36, 1)), apart(drawn, column(3, 3.5, 2)))


@check("steps compose to the marginal", "gaussian.marginal")
def steps_compose() -> float:
    """Iterating m ← √(1−β) m and v ← (1−β) v + β from any m, v gives √ᾱ m and ᾱ v + 1 − ᾱ at every t."""
    start, v_0 = np.array([[1.7, -0.4]]), 0.3
    m, v, level, found = start, v_0, 0.0, []
    for beta in BETA:
        m, v, level = np.sqrt(1 - beta) * m, (1 - beta) * v + beta, level + log(1 - beta)
        q = gaussian.marginal(start, column(level))
        found += [apart(q.mean, m), apart(np.exp(level) * v_0 + q.var, [[v]])]
    return worst(*found)


@check("π is stationary, the step reversible", "gaussian.prior", "gaussian.forward", "gaussian.log_prob")
def prior_is_stationary_and_the_step_reversible() -> float:
    """∫ q(y | x) π(x) dx = π(y), by quadrature, and q(y | x) π(x) = q(x | y) π(y), for small and for large β."""
    x, y = np.broadcast_arrays(np.linspace(-10, 10, 241)[:, None], np.array([[-2.0, 0, 0.7]]))
    pi_x, pi_y = (gaussian.log_prob(z, gaussian.prior(z.shape)) for z in (x, y))
    found = []
    for beta in (np.array([[0.1]]), np.array([[0.8]])):
        there = gaussian.log_prob(y, gaussian.forward(x, beta)) + pi_x
        found += [apart(there, gaussian.log_prob(x, gaussian.forward(y, beta)) + pi_y),
                  apart(quadrature.integrate(x[:, 0], np.exp(there).T), norm.pdf(y[0]), within=1e-10)]
    return worst(*found)


@check("posterior is Bayes' rule on a grid", "gaussian.posterior")
def posterior_on_a_grid() -> float:
    """The product of the two forward densities, normalised by its sum over a grid: t = 2, the middle and T."""
    level, x_t, x_0 = np.cumsum(np.log1p(-BETA)), np.array([-1.1, 0.4, 2.0]), np.array([0.8, -1.5, 0.1])
    found = []
    for t in (2, 3, 5):
        mean, var = quadrature.table_moments(quadrature.posterior(x_t, x_0, level[t - 1], level[t]))
        q = gaussian.posterior(x_t[:, None], x_0[:, None], np.full((3, 1), BETA[t]), np.full((3, 1), level[t - 1]))
        found += [apart(q.mean, mean[:, None], within=1e-9), apart(q.var, var[:, None], within=1e-9)]
    return worst(*found)


@check("divergence, entropies and density by quadrature", "gaussian.kl", "gaussian.entropy", "gaussian.cross_entropy",
       "gaussian.log_prob")
def measures_by_quadrature() -> float:
    """∫ q log(q/p), −∫ q log q and −∫ q log p for each component, none of the variances 1; ∫ p = 1, with p's mean and variance."""
    q = Gaussian(np.array([[0.3, -1.2, 0.0], [2.0, 0.5, -0.7]]), np.array([[0.09, 4.0, 1.0], [0.5, 1.7, 0.02]]))
    p = Gaussian(np.array([[-0.4, 0.1, 0.0], [1.0, 0.5, -0.5]]), np.array([[0.5, 0.3, 1.0], [2.5, 6.0, 0.03]]))
    q_mean, q_std, p_mean, p_std = q.mean[..., None], np.sqrt(q.var)[..., None], p.mean[..., None], np.sqrt(p.var)[..., None]
    x = q_mean + q_std * np.linspace(-9, 9, 91)
    table, log_p = Tabulated(x, norm.pdf(x, q_mean, q_std)), norm.logpdf(x, p_mean, p_std)
    density = np.exp(gaussian.log_prob(x, Gaussian(q_mean, q_std ** 2)))
    mean, var = quadrature.table_moments(Tabulated(x, density))
    return worst(*(apart(got, expected, within=1e-10) for got, expected in (
        (gaussian.kl(q, p), quadrature.kl(table, log_p)), (gaussian.entropy(q), quadrature.entropy(table)),
        (gaussian.cross_entropy(q, p), -quadrature.integrate(x, table.density * log_p)),
        (quadrature.integrate(x, density), np.ones((2, 3))), (mean, q.mean), (var, q.var))))


@check("noise is standard normal", "gaussian.draw_noise")
def noise_is_standard_normal() -> float:
    """Moments 1, 2 and 4 of 12000 draws, and no correlation between rows, columns and calls: six standard errors each,
    so that another seed would raise a false alarm in 2·10⁻⁸ of all cases (the fourth moment, not quite normal, in 10⁻⁷)."""
    rng = np.random.default_rng(1)
    x, y = gaussian.draw_noise(rng, (4000, 3)), gaussian.draw_noise(rng, (4000, 3))
    moments = ((x, 0, 1), (x * x, 1, 2), (x ** 4, 3, 96), (x * y, 0, 1), (x[1:] * x[:-1], 0, 1), (x[:, 1:] * x[:, :-1], 0, 1))
    return worst(passes(x.shape == (4000, 3)), *(abs(values.mean() - mean) / (6 * np.sqrt(variance / values.size))
                                                 for values, mean, variance in moments))
