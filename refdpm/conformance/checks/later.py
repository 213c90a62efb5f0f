"""Checks of what came after the paper, one step at a time: parametrisations, weights, variances, and the mass of a level.

What they are compared with: numbers by hand, precisions added as in Bayes' rule, integrals over grids, and Φ of SciPy.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.stats import norm

from refdpm import schedule
from refdpm.conformance.checks.common import Check, apart, column, passes, refused, worst
from refdpm.gaussian import Gaussian
from refdpm.later import decoder, mean, model, parametrisation, variance, weights
from refdpm.later.decoder import Grid
from refdpm.later.model import Model
from refdpm.networks.readout import Heads
from refdpm.oracles import quadrature
from refdpm.oracles.quadrature import Nodes, Tabulated
from refdpm.schedule import Step
from refdpm.vjp import Array

BETA = np.array([0.0, 0.04, 0.1, 0.36, 0.6])
LEVEL = np.append(0.0, np.cumsum(np.log(1 - BETA[1:])))
ROWS = np.array([3, 2, 4, 2, 3])
STEP = Step(*(np.array(part)[:, None] for part in (BETA[ROWS], LEVEL[ROWS - 1], LEVEL[ROWS])))
X_0, X_T = np.sin(np.arange(10.0)).reshape(5, 2) * 2, np.cos(1.7 * np.arange(10.0)).reshape(5, 2) * 1.5


# -- parametrisations --------------------------------------------------------------------------------------------------

def turned_by_hand() -> float:
    """ᾱ = 0.36: x_0 = 2 and ε = −1 make x_t = 0.4, v = −2.2, score 1.25; and so with the roots exchanged."""
    level, x_0, noise = np.log(column(0.36, 0.64)), column(2, 2), column(-1, -1)
    x_t, v, score = column(0.4, 1.0), column(-2.2, -2.0), column(1.25, 5 / 3)
    ends = parametrisation.x_0_from_v(v, x_t, column(0, -np.inf))
    return worst(apart(parametrisation.x_0_from_noise(noise, x_t, level), x_0),
                 apart(parametrisation.x_0_from_v(v, x_t, level), x_0),
                 apart(parametrisation.x_0_from_score(score, x_t, level), x_0),
                 apart(parametrisation.noise_from_x_0(x_0, x_t, level), noise),
                 apart(parametrisation.v_from_x_0(x_0, x_t, level), v),
                 apart(parametrisation.score_from_x_0(x_0, x_t, level), score), passes(ends == column(0.4, 2.0)))


def _said(x_0: Array) -> dict[str, Array]:
    """Every prediction for a given x_0, from ratios and roots of 1 − ᾱ by subtraction, and the mean by adding precisions."""
    alpha_bar, before = np.exp(STEP.log_alpha_bar), np.exp(STEP.log_alpha_bar_prev)
    noise = (X_T - np.sqrt(alpha_bar) * x_0) / np.sqrt(1 - alpha_bar)
    precision = 1 / (1 - before) + (1 - STEP.beta) / STEP.beta
    middle = (np.sqrt(before) * x_0 / (1 - before) + np.sqrt(1 - STEP.beta) * X_T / STEP.beta) / precision
    return {"x_0": x_0, "noise": noise, "v": np.sqrt(alpha_bar) * noise - np.sqrt(1 - alpha_bar) * x_0,
            "score": -noise / np.sqrt(1 - alpha_bar), "mean": middle}


def every_prediction_is_the_same_step() -> float:
    """Named in five ways, an x_0 gives the mean that Bayes' rule gives, and comes back; other names are refused."""
    said, bare, beta, before = _said(X_0), STEP.log_alpha_bar, STEP.beta, STEP.log_alpha_bar_prev
    found = [apart(mean.x_0_from_mean(said["mean"], X_T, beta, before), X_0),
             apart(mean.mean_from_x_0(X_0, X_T, beta, before), said["mean"]),
             apart(mean.mean_from_noise(said["noise"], X_T, beta, before), said["mean"]),
             apart(mean.mean_from_v(said["v"], X_T, beta, before), said["mean"]),
             apart(mean.mean_from_score(said["score"], X_T, beta), said["mean"]), passes(bare < before)]
    for name, value in said.items():
        found += [apart(mean.x_0_from(value, X_T, STEP, predicts=name), X_0),
                  apart(mean.from_x_0(X_0, X_T, STEP, predicts=name), value),
                  apart(mean.mean_from(value, X_T, STEP, predicts=name), said["mean"])]
    for f in (mean.x_0_from, mean.from_x_0, mean.mean_from):
        found.append(passes(refused(partial(f, X_0, X_T, STEP, predicts="epsilon"))))
    return worst(*found)


def first_step_is_x_0() -> float:
    """At t = 1 the mean of the step is x_0, whatever it is named by."""
    beta, before = column(*[0.04] * 5), np.zeros((5, 1))
    first = Step(beta, before, np.log(1 - beta))
    alpha_bar = 1 - beta
    noise = (X_T - np.sqrt(alpha_bar) * X_0) / np.sqrt(beta)
    said = {"x_0": X_0, "noise": noise, "v": np.sqrt(alpha_bar) * noise - np.sqrt(beta) * X_0, "score": -noise / np.sqrt(beta)}
    return worst(*(apart(mean.mean_from(value, X_T, first, predicts=name), X_0) for name, value in said.items()),
                 apart(mean.x_0_from_mean(X_0, X_T, beta, before), X_0))


def score_of_a_mixture() -> float:
    """Of two points, the slope of log q(x_t) on a grid gives E[x_0 | x_t] as Bayes' rule does."""
    data, level, x = Nodes(np.array([-1.0, 2.0]), np.array([0.3, 0.7])), -0.4, np.linspace(-2, 2, 9)
    slope = (quadrature.log_density(data, x + 1e-5, level) - quadrature.log_density(data, x - 1e-5, level)) / 2e-5
    weight = data.weight * norm.pdf(x[:, None], np.exp(level / 2) * data.node, np.sqrt(1 - np.exp(level)))
    expected = (weight @ data.node / weight.sum(axis=1))[:, None]
    return apart(parametrisation.x_0_from_score(slope[:, None], x[:, None], column(*[level] * 9)), expected, within=1e-8)


# -- weights -----------------------------------------------------------------------------------------------------------

def weights_are_squares_of_errors() -> float:
    """An error of x_0, squared in the units of every prediction; the divergence by integration, from each of them."""
    guess, beta, before = X_0 + 0.3 * np.cos(X_T), STEP.beta, STEP.log_alpha_bar_prev
    right, wrong = _said(X_0), _said(guess)
    precision = 1 / (1 - np.exp(before)) + (1 - beta) / beta
    x = right["mean"][..., None] + np.linspace(-9, 9, 181) / np.sqrt(precision)[..., None]
    law = Tabulated(x, norm.pdf(x, right["mean"][..., None], 1 / np.sqrt(precision)[..., None]))
    kl = quadrature.kl(law, norm.logpdf(x, wrong["mean"][..., None], 1 / np.sqrt(precision)[..., None]))
    found = [apart(weights.kl_of_x_0(X_0, guess, beta, before), kl, within=1e-9)]
    for name in right:
        square = (right[name] - wrong[name]) ** 2
        found += [apart(weights.error_weight(beta, before, predicts=name) * (X_0 - guess) ** 2, square),
                  apart(weights.kl_weight(beta, before, predicts=name) * square / 2, kl, within=1e-9)]
    for f in (weights.error_weight, weights.kl_weight):
        found.append(passes(refused(partial(f, beta, before, predicts="epsilon"))))
    return worst(*found)


def ratios_by_hand() -> float:
    """ᾱ = ½, 0.8, 0.1 have the signal-to-noise ratios 1, 4, 1/9; from ᾱ = 0.8 to 0.4 it drops by 10/3."""
    drop = weights.kl_weight(column(0.5), np.log(column(0.8)), predicts="x_0")
    return worst(apart(weights.snr(np.log(column(0.5, 0.8, 0.1))), column(1, 4, 1 / 9)), apart(drop, column(4 - 2 / 3)))


# -- variances ---------------------------------------------------------------------------------------------------------

def variances_by_hand() -> float:
    """β̃ by precisions and 0 at t = 1; between β̃ and β by logarithms: 0.01 and 0.04 have 0.02 between them."""
    precision = 1 / (1 - np.exp(STEP.log_alpha_bar_prev)) + (1 - STEP.beta) / STEP.beta
    head, beta, least = column(-1, 0, 1, 3), column(*[0.04] * 4), column(*[0.01] * 4)
    return worst(apart(variance.small(STEP.beta, STEP.log_alpha_bar_prev), 1 / precision),
                 passes(variance.small(column(0.3), column(0.0)) == 0),
                 apart(variance.ranged(head, beta, least), column(0.01, 0.02, 0.04, 0.16)))


def first_variances_by_hand() -> float:
    """β_1 = 0.2, β_2 = ½: β̃_2 = 1/6; the floor, and β_1 itself."""
    beta = np.array([0.0, 0.2, 0.5, 0.3])
    expected = {"next": 1 / 6, "floor": 1e-20, "beta": 0.2, "fixed": 0.2}
    return worst(*(apart(variance.first(beta, policy=name), [value]) for name, value in expected.items()),
                 passes(refused(lambda: variance.first(beta, policy="last")),
                        refused(lambda: variance.first(beta[:2], policy="next"))))


def read_out_takes_what_is_named() -> float:
    """The mean of every prediction; the variance β̃, β, or between, for every component; other names are refused."""
    least, found = variance.small(STEP.beta, STEP.log_alpha_bar_prev), []
    for name, value in _said(X_0).items():
        for kind, var in (("small", least), ("large", STEP.beta), ("ranged", np.sqrt(least * STEP.beta))):
            p = variance.read_out(Heads(value, 0 * X_0), X_T, STEP, least, predicts=name, variance=kind)
            found += [apart(p.mean, _said(X_0)["mean"]), apart(p.var, np.broadcast_to(var, X_0.shape))]
    wrong = partial(variance.read_out, Heads(X_0, X_0), X_T, STEP, least)
    return worst(*found, passes(refused(lambda: wrong(predicts="v", variance="fixed")),
                                refused(lambda: wrong(predicts="epsilon", variance="small"))))


# -- models ------------------------------------------------------------------------------------------------------------

def predictor(predict: Callable[[Array, Array], Heads]) -> SimpleNamespace:
    """A predictor of values alone, from predict(x_t, t)."""
    def of(parameters: Any, x_t: Array, step: Any, *, t: Array) -> Heads:
        return predict(x_t, t.reshape((-1,) + (1,) * (x_t.ndim - 1)))

    return SimpleNamespace(predict=of, predict_vjp=lambda *args, **fixed: (of(*args, **fixed), None))


def models_are_read_as_named() -> float:
    """A network that says v = 0.3 x − 0.1 t and 0.5 for the variance: its step at t ≥ 2, and at t = 1 under every policy."""
    said = predictor(lambda x, t: Heads(0.3 * x - 0.1 * t, 0.5 + 0 * x))
    network = model.as_network(Model(said, "v", "ranged", "next"))
    p, var = network.reverse(None, X_T, STEP, t=ROWS), STEP.beta * (1 - np.exp(STEP.log_alpha_bar_prev))
    var = var / (1 - np.exp(STEP.log_alpha_bar))
    alpha_bar = np.exp(STEP.log_alpha_bar)
    x_0 = np.sqrt(alpha_bar) * X_T - np.sqrt(1 - alpha_bar) * (0.3 * X_T - 0.1 * ROWS[:, None])
    found = [apart(p.mean, _said(x_0)["mean"]), apart(p.var, np.broadcast_to(STEP.beta ** 0.75 * var ** 0.25, X_T.shape))]
    step, t = schedule.step(BETA, LEVEL, t=np.ones(5, dtype=int), ndim=2), np.ones(5, dtype=int)
    first_x_0 = np.sqrt(0.96) * X_T - 0.2 * (0.3 * X_T - 0.1)
    next_var = 1 / (1 / 0.04 + 0.9 / 0.1)
    for policy, centre, expected in (("next", first_x_0, next_var), ("floor", first_x_0, 1e-20), ("beta", first_x_0, 0.04),
                                     ("fixed", np.sqrt(0.96) * X_T, 0.04)):
        last = model.last_step(None, BETA, X_T, step, t=t, model=Model(said, "v", "small", policy))
        found += [apart(last.mean, centre), apart(last.var, np.broadcast_to(expected, last.var.shape))]
    return worst(*found)


# -- the decoder -------------------------------------------------------------------------------------------------------

def levels_end_as_asked() -> float:
    """k/127.5 − 1 for images, both ends exact; 0, ⅓, ⅔, 1; one width apart."""
    found = [apart(decoder.level(np.arange(256), grid=Grid()), np.arange(256) / 127.5 - 1),
             apart(decoder.level(np.arange(4), grid=Grid(0, 1, 4)), [0, 1 / 3, 2 / 3, 1]), apart(Grid().width, 2 / 255)]
    for grid in (Grid(), Grid(-0.3, 11.0, 17)):
        ends = decoder.level(np.array([0, grid.levels - 1]), grid=grid)
        found.append(passes(ends == [grid.low, grid.high]))
    return worst(*found)


def _laws(grid: Grid) -> Gaussian:
    """Means inside, at the ends and outside; deviations from a tenth of a bin to ten times the grid.   (20, 1)."""
    span = grid.high - grid.low
    middle = grid.low + span * np.array([-0.7, 0.0, 0.31, 0.98, 1.5])
    deviations = np.array([grid.width / 10, grid.width, span / 5, span * 10])
    return Gaussian(np.repeat(middle, 4)[:, None], np.tile(deviations, 5)[:, None] ** 2)


def masses_add_to_1() -> float:
    """Σ_k P(k) = 1 for every law, on four grids, one of them of two levels."""
    found = []
    for grid in (Grid(), Grid(0, 1, 2), Grid(-0.3, 11.0, 17), Grid(-7, -3, 5)):
        p, k = _laws(grid), np.broadcast_to(np.arange(grid.levels), (20, grid.levels))
        found.append(apart(np.exp(decoder.log_mass(p, k=k, grid=grid)).sum(axis=1), np.ones(20)))
    return worst(*found)


def masses_are_differences() -> float:
    """Φ at one edge less Φ at the other, by SciPy."""
    grid, k = Grid(-1.0, 3.0, 9), np.arange(9)
    p = Gaussian(np.array([[0.2], [2.9]]), np.array([[0.3], [1.4]]))
    edges = np.array([-np.inf, *(np.arange(8) * 0.5 - 0.75), np.inf])
    return apart(np.exp(decoder.log_mass(p, k=np.stack([k, k]), grid=grid)), np.diff(norm.cdf(edges, p.mean, np.sqrt(p.var))))


def fine_masses_are_densities() -> float:
    """In bins narrow compared with σ a mass is the density times the width, 2/255 for images: 6.994 bits more."""
    p, k = Gaussian(column(0.2), column(4.0)), np.array([[40, 128, 200]])
    log_density = norm.logpdf(k / 127.5 - 1, 0.2, 2.0)
    return apart(decoder.log_mass(p, k=k, grid=Grid()) - log_density, np.full((1, 3), np.log(2 / 255)), within=1e-5)


CHECKS = (
    Check("later: turned by hand", tuple(f"later.parametrisation.{name}" for name in (
        "x_0_from_noise", "x_0_from_v", "x_0_from_score", "noise_from_x_0", "v_from_x_0", "score_from_x_0")), turned_by_hand),
    Check("later: every prediction is the same step", (
        "later.mean.x_0_from_vjp", "later.mean.from_x_0_vjp", "later.mean.mean_from_vjp", "later.mean.mean_from_noise",
        "later.mean.mean_from_v", "later.mean.mean_from_score", "later.mean.mean_from_x_0_vjp", "later.mean.x_0_from_mean"),
        every_prediction_is_the_same_step),
    Check("later: the first step is x_0", ("later.mean.mean_from_vjp", "later.mean.mean_from_noise", "later.mean.mean_from_v"),
          first_step_is_x_0),
    Check("later: score of a mixture", ("later.parametrisation.x_0_from_score",), score_of_a_mixture),
    Check("later: weights are squares of errors", ("later.weights.error_weight", "later.weights.kl_weight",
                                                   "later.weights.kl_of_x_0_vjp"), weights_are_squares_of_errors),
    Check("later: signal-to-noise ratios by hand", ("later.weights.snr", "later.weights.kl_weight"), ratios_by_hand),
    Check("later: variances by hand", ("later.variance.small", "later.variance.ranged"), variances_by_hand),
    Check("later: variances at t = 1 by hand", ("later.variance.first",), first_variances_by_hand),
    Check("later: the read-out takes what is named", ("later.variance.read_out_vjp",), read_out_takes_what_is_named),
    Check("later: models are read as named", ("later.model.as_network", "later.model.last_step_vjp"), models_are_read_as_named),
    Check("later: levels end as asked", ("later.decoder.level",), levels_end_as_asked),
    Check("later: masses add to 1", ("later.decoder.log_mass_vjp",), masses_add_to_1),
    Check("later: masses are differences", ("later.decoder.log_mass_vjp",), masses_are_differences),
    Check("later: fine masses are densities", ("later.decoder.log_mass_vjp",), fine_masses_are_densities),
)
