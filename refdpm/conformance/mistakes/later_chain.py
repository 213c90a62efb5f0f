"""Mistakes in the pullbacks and in the last digits of the decoder and of the bound in bits."""

from typing import Any

import numpy as np
from scipy.special import ndtr

from refdpm import gaussian
from refdpm.conformance.planting import Mistake, instead, pullback_then, zero
from refdpm.gaussian import Gaussian
from refdpm.later import decoder
from refdpm.vjp import Array


# -- gradients and digits ----------------------------------------------------------------------------------------------

GRADIENT = (
    Mistake("GRD-01-DEC", "bound's decoder taken for a constant of the schedule → differentiated",
            "as GRD-01", "later.objective.decoder_vjp", "gradient", pullback_then(lambda d: (d[0], zero(d[1])))),
    Mistake("NEW-BIN-GRAD", "log mass differentiated by the mean alone → by the variance too",
            "a mass taken for a density of fixed width", "later.decoder.log_mass_vjp", "gradient",
            pullback_then(lambda d: Gaussian(d.mean, zero(d.var)))),
)


def _mass_by_difference(p: Gaussian, *, k: Array, grid: decoder.Grid) -> Any:
    x, half, sigma = decoder.level(k, grid=grid), grid.width / 2, np.sqrt(p.var)
    above = np.where(k == grid.levels - 1, 1, ndtr((x + half - p.mean) / sigma))
    return np.log(above - np.where(k == 0, 0, ndtr((x - half - p.mean) / sigma))), None


ROUNDING = (
    Mistake("NEW-CDF", "log of a difference of two Φ → without a difference",
            "the textbook form", "later.decoder.log_mass_vjp", "accuracy", instead(_mass_by_difference)),
    Mistake("NEW-PRIOR-ABAR", "prior term through the variance 1 − ᾱ, 0 for small ᾱ → through ᾱ",
            "the textbook form", "later.objective.prior_kl", "accuracy",
            instead(lambda x, level: gaussian.kl(gaussian.marginal(x, level), gaussian.prior(x.shape)))),
)

MISTAKES = GRADIENT + ROUNDING
