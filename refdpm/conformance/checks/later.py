"""Checks of what came after the paper, one step at a time: parametrisations, weights, variances, and the mass of a level.

What they are compared with: numbers by hand, precisions added as in Bayes' rule, and densities on grids.
"""

from functools import partial

import numpy as np
from scipy.stats import norm

from refdpm.conformance.checks.common import apart, check, column, passes, refused, worst
from refdpm.gaussian import Gaussian
from refdpm.later import decoder, mean, parametrisation, variance, weights
from refdpm.later.decoder import Grid
from refdpm.schedule import Step
from refdpm.vjp import Array

BETA = np.array([0.0, 0.04, 0.1, 0.36, 0.6])
LEVEL = np.append(0.0, np.cumsum(np.log(1 - BETA[1:])))
ROWS = np.array([3, 2, 4, 2, 3])
STEP = Step(*(np.array(part)[:, None] for part in (BETA[ROWS], LEVEL[ROWS - 1], LEVEL[ROWS])))
X_0, X_T = np.sin(np.arange(10.0)).reshape(5, 2) * 2, np.cos(1.7 * np.arange(10.0)).reshape(5, 2) * 1.5
PRECISION = 1 / (1 - np.exp(STEP.log_alpha_bar_prev)) + (1 - STEP.beta) / STEP.beta


@check("later: turned by hand", "later.parametrisation.x_0_from_noise", "later.parametrisation.x_0_from_v",
       "later.parametrisation.x_0_from_score", "later.parametrisation.noise_from_x_0", "later.parametrisation.v_from_x_0",
       "later.parametrisation.score_from_x_0", "later.weights.snr")
def turned_by_hand() -> float:
    """ᾱ = 0.36: x_0 = 2 and ε = −1 make x_t = 0.4, v = −2.2, score 1.25, the signal-to-noise ratio is 9/16; and with the roots
    exchanged."""
    level, x_0, noise = np.log(column(0.36, 0.64)), column(2, 2), column(-1, -1)
    x_t, v, score = column(0.4, 1.0), column(-2.2, -2.0), column(1.25, 5 / 3)
    return worst(apart(parametrisation.x_0_from_noise(noise, x_t, level), x_0),
                 apart(parametrisation.x_0_from_v(v, x_t, level), x_0),
                 apart(parametrisation.x_0_from_score(score, x_t, level), x_0),
                 apart(parametrisation.noise_from_x_0(x_0, x_t, level), noise),
                 apart(parametrisation.v_from_x_0(x_0, x_t, level), v),
                 apart(parametrisation.score_from_x_0(x_0, x_t, level), score),
                 apart(weights.snr(level), column(9 / 16, 16 / 9)))


def _said(x_0: Array) -> dict[str, Array]:
    """Every prediction for a given x_0, from ratios and roots of 1 − ᾱ by subtraction, and the mean by adding precisions."""
    alpha_bar, before = np.exp(STEP.log_alpha_bar), np.exp(STEP.log_alpha_bar_prev)
    noise = (X_T - np.sqrt(alpha_bar) * x_0) / np.sqrt(1 - alpha_bar)
    middle = (np.sqrt(before) * x_0 / (1 - before) + np.sqrt(1 - STEP.beta) * X_T / STEP.beta) / PRECISION
    return {"x_0": x_0, "noise": noise, "v": np.sqrt(alpha_bar) * noise - np.sqrt(1 - alpha_bar) * x_0,
            "score": -noise / np.sqrt(1 - alpha_bar), "mean": middle}


@check("later: every prediction is the same step", "later.mean.x_0_from_vjp", "later.mean.from_x_0_vjp",
       "later.mean.mean_from_vjp", "later.weights.error_weight", "later.weights.kl_weight", "later.weights.kl_of_x_0_vjp")
def every_prediction_is_the_same_step() -> float:
    """Named in five ways, an x_0 gives the mean that Bayes' rule gives, and comes back; an error of x_0, squared in the units of
    each, is the same divergence; other names are refused."""
    guess, beta, before, found = X_0 + 0.3 * np.cos(X_T), STEP.beta, STEP.log_alpha_bar_prev, []
    right, wrong = _said(X_0), _said(guess)
    kl = PRECISION * (right["mean"] - wrong["mean"]) ** 2 / 2
    for name, value in right.items():
        square = (value - wrong[name]) ** 2
        found += [apart(mean.x_0_from(value, X_T, STEP, predicts=name), X_0),
                  apart(mean.from_x_0(X_0, X_T, STEP, predicts=name), value),
                  apart(mean.mean_from(value, X_T, STEP, predicts=name), right["mean"]),
                  apart(weights.error_weight(beta, before, predicts=name) * (X_0 - guess) ** 2, square),
                  apart(weights.kl_weight(beta, before, predicts=name) * square / 2, kl)]
    for f in (mean.x_0_from, mean.from_x_0, mean.mean_from):
        found.append(passes(refused(partial(f, X_0, X_T, STEP, predicts="epsilon"))))
    found += [passes(refused(partial(f, beta, before, predicts="epsilon"))) for f in (weights.error_weight, weights.kl_weight)]
    return worst(*found, apart(weights.kl_of_x_0(X_0, guess, beta, before), kl))


@check("later: variances by hand", "later.variance.small", "later.variance.ranged", "later.variance.first")
def variances_by_hand() -> float:
    """β̃ by precisions; between β̃ and β by logarithms: 0.01 and 0.04 have 0.02 between them.  At t = 1, for β_1 = 0.2, β_2 = ½:
    β̃_2 = 1/6; the floor, and β_1 itself; other names are refused."""
    head, large, least, beta = column(-1, 0, 1, 3), column(*[0.04] * 4), column(*[0.01] * 4), np.array([0.0, 0.2, 0.5, 0.3])
    expected = {"next": 1 / 6, "floor": 1e-20, "beta": 0.2, "fixed": 0.2}
    return worst(apart(variance.small(STEP.beta, STEP.log_alpha_bar_prev), 1 / PRECISION),
                 apart(variance.ranged(head, large, least), column(0.01, 0.02, 0.04, 0.16)),
                 *(apart(variance.first(beta, policy=name), [value]) for name, value in expected.items()),
                 passes(refused(lambda: variance.first(beta, policy="last")),
                        refused(lambda: variance.first(beta[:2], policy="next"))))


@check("later: masses add to 1 and are fine densities", "later.decoder.log_mass_vjp", "later.decoder.level")
def masses_add_to_1() -> float:
    """Σ_k P(k) = 1 on four grids, one of them of two levels, for means inside, at the ends and outside, and deviations from a tenth
    of a bin to ten times the grid.  In bins narrow compared with σ a mass is the density times the width, 2/255 for images."""
    found = []
    for grid in (Grid(), Grid(0, 1, 2), Grid(-0.3, 11.0, 17), Grid(-7, -3, 5)):
        span, ends = grid.high - grid.low, decoder.level(np.array([0, grid.levels - 1]), grid=grid)
        middle = grid.low + span * np.array([-0.7, 0.0, 0.31, 0.98, 1.5])
        deviations = np.array([grid.width / 10, grid.width, span / 5, span * 10])
        p = Gaussian(np.repeat(middle, 4)[:, None], np.tile(deviations, 5)[:, None] ** 2)
        k = np.broadcast_to(np.arange(grid.levels), (20, grid.levels))
        total = np.exp(decoder.log_mass(p, k=k, grid=grid)).sum(axis=1)
        found += [apart(total, np.ones(20)), passes(ends == [grid.low, grid.high])]
    k = np.array([[40, 128, 200]])
    fine = decoder.log_mass(Gaussian(column(0.2), column(4.0)), k=k, grid=Grid()) - norm.logpdf(k / 127.5 - 1, 0.2, 2.0)
    return worst(*found, apart(fine, np.full((1, 3), np.log(2 / 255)), within=1e-5))
