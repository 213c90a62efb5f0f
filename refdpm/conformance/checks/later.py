"""Checks of what came after the paper, one step at a time: parametrisations, weights, variances, and the mass of a level.

What they are compared with: numbers by hand, and a sum over all levels.
"""

from collections.abc import Iterator
from math import sqrt

import numpy as np
from scipy.stats import norm

from refdpm.conformance.checks.common import apart, check, column, passes, refused, worst
from refdpm.gaussian import Gaussian
from refdpm.later import decoder, loss, mean, parametrisation, variance, weights
from refdpm.later.decoder import Grid
from refdpm.schedule import Step


@check("later: turned by hand", "later.parametrisation.x_0_from_noise", "later.parametrisation.x_0_from_v",
       "later.parametrisation.x_0_from_score", "later.parametrisation.noise_from_x_0", "later.parametrisation.v_from_x_0",
       "later.parametrisation.score_from_x_0", "later.weights.snr", "later.mean.from_x_0_vjp", "later.mean.mean_from_vjp")
def turned_by_hand() -> float:
    """ᾱ = 0.36: x_0 = 2 and ε = −1 make x_t = 0.4, v = −2.2, score 1.25, the signal-to-noise ratio is 9/16; and with the roots
    exchanged.  From ᾱ_{t−1} = ½ with β = ½ to ᾱ_t = ¼ the mean is (√2 x_0 + √2 x_t)/3."""
    level, x_0, noise = np.log(column(0.36, 0.64)), column(2, 2), column(-1, -1)
    x_t, v, score = column(0.4, 1.0), column(-2.2, -2.0), column(1.25, 5 / 3)
    return worst(apart(parametrisation.x_0_from_noise(noise, x_t, level), x_0),
                 apart(parametrisation.x_0_from_v(v, x_t, level), x_0),
                 apart(parametrisation.x_0_from_score(score, x_t, level), x_0),
                 apart(parametrisation.noise_from_x_0(x_0, x_t, level), noise),
                 apart(parametrisation.v_from_x_0(x_0, x_t, level), v),
                 apart(parametrisation.score_from_x_0(x_0, x_t, level), score),
                 apart(weights.snr(level), column(9 / 16, 16 / 9)), *_named_by_hand())


def _named_by_hand() -> Iterator[float]:
    step, x_0, x_t = Step(column(0.5), np.log(column(0.5)), np.log(column(0.25))), column(2), column(3)
    said = {"x_0": 2.0, "noise": 4 / sqrt(3), "v": -1 / sqrt(3), "score": -8 / 3, "mean": 5 * sqrt(2) / 3}
    for name, value in said.items():
        yield apart(mean.from_x_0(x_0, x_t, step, predicts=name), column(value))
        yield apart(mean.x_0_from(column(value), x_t, step, predicts=name), x_0)
        yield apart(mean.mean_from(column(value), x_t, step, predicts=name), column(said["mean"]))


@check("later: losses by hand", "later.weights.loss_weight", "later.loss.target", "later.loss.training_loss")
def losses_by_hand() -> float:
    """min-SNR of v with γ = 5 at SNR 0.25, 1, 4 and 20 is SNR/(SNR + 1) up to 4, then 5/21; of noise 1 and ¼, of x_0 SNR and 5.
    ᾱ = 0.36, x_0 = 2, ε = −1: v is −2.2 and the score 1.25; other names are refused."""
    snr = column(0.25, 1, 4, 20)
    beta, before = np.full_like(snr, 0.5), np.log(snr / (1 + snr)) + np.log(2)
    beta, before = np.where(before < 0, beta, 0.01), np.where(before < 0, before, before - np.log(2) - np.log1p(-0.01))
    expected = {"v": snr / (snr + 1), "noise": np.ones_like(snr), "x_0": snr}
    last = {"v": 5 / 21, "noise": 0.25, "x_0": 5.0}
    found = []
    for name, value in expected.items():
        value[3] = last[name]
        found.append(apart(weights.loss_weight(beta, before, predicts=name, weight="min_snr", gamma=5.0), value))
    level, step = np.log(column(0.36)), Step(column(0.1), np.log(column(0.4)), np.log(column(0.36)))
    x_0, noise = column(2), column(-1)
    return worst(*found, apart(loss.velocity(x_0, level, noise=noise), column(-2.2)),
                 apart(loss.target(x_0, step, noise=noise, predicts="score"), column(1.25)),
                 passes(refused(lambda: loss.target(x_0, step, noise=noise, predicts="y")),
                        refused(lambda: weights.loss_weight(beta, before, predicts="v", weight="y", gamma=5.0))))


@check("later: variances by hand", "later.variance.small", "later.variance.ranged", "later.variance.first")
def variances_by_hand() -> float:
    """β_1 = 0.2, β_2 = ½ make β̃_2 = 1/6; between β̃ and β by logarithms: 0.01 and 0.04 have 0.02 between them.  At t = 1 it is
    that β̃_2, the floor, or β_1 itself; other names are refused."""
    head, large, least, beta = column(-1, 0, 1, 3), column(*[0.04] * 4), column(*[0.01] * 4), np.array([0.0, 0.2, 0.5, 0.3])
    expected = {"next": 1 / 6, "floor": 1e-20, "beta": 0.2, "fixed": 0.2}
    return worst(apart(variance.small(column(0.5), np.log(column(0.8))), column(1 / 6)),
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
