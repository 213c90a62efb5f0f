"""Mistakes in the last digits: formulas that are right on paper and lose digits, or overflow, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.conformance.planting import Mistake, instead, then
from refdpm.gaussian import Gaussian
from refdpm.vjp import Array, tree_map

# Not yet plantable: TRN-04 needs a time embedding.


def _in_float32(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: tree_map(lambda y: y.astype(np.float64), right(*(tree_map(np.float32, x) for x in args)))


def _posterior(x_t: Array, x_0: Array, beta: Array, level: Array) -> Gaussian:
    a = np.exp(level)
    w = 1 - (1 - beta) * a
    return Gaussian(np.sqrt(a) * beta / w * x_0 + np.sqrt(1 - beta) * (1 - a) / w * x_t, beta * (1 - a) / w)


def _cosine(T: int, *, offset: float = 0.008, cap: float = 0.999) -> Array:
    alpha_bar = np.cos(np.pi / 2 * (np.arange(T + 1) / T + offset) / (1 + offset)) ** 2
    return np.append(0.0, np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], cap))


def _rbf(x: Array, centre: Array, log_width: Array) -> Array:
    square = (x * x).sum(axis=1)[:, None] - 2 * x @ centre.T + (centre * centre).sum(axis=1)
    s = -square * np.exp(-2 * log_width) / 2
    g = np.exp(s - s.max(axis=1, keepdims=True))
    return g / g.sum(axis=1, keepdims=True)


def _kl(q: Gaussian, p: Gaussian) -> Array:
    return (np.log(p.var / q.var) + (q.var + (q.mean - p.mean) ** 2) / p.var - 1) / 2


MISTAKES = (
    Mistake("SCH-19", "table of levels in single precision → double",
            "AUTOMATIC1111/stable-diffusion-webui#14071", "schedule.log_alpha_bar", "accuracy",
            then(lambda level: level.astype(np.float32).astype(np.float64))),
    Mistake("SHP-05", "single precision in the middle of a double path → double",
            "AkiRusProd/numpy-diffusion@5116f79", "gaussian.posterior", "accuracy", _in_float32),
    Mistake("NEW-1-ABAR", "1 − ᾱ by subtraction → −expm1(log ᾱ)",
            "the textbook form", "gaussian.marginal", "accuracy",
            instead(lambda x, level: Gaussian(np.exp(level / 2) * x, 1 - np.exp(level)))),
    Mistake("NEW-1-ABARb", "1 − ᾱ_{t−1} and 1 − ᾱ_t in the posterior by subtraction → as sums of positive terms",
            "the textbook form", "gaussian.posterior", "accuracy", instead(_posterior)),
    Mistake("NEW-LOG", "level as the log of a product, 0 for small β → sum of log1p(−β)",
            "the textbook form", "schedule.log_alpha_bar", "accuracy", instead(lambda beta: np.log(np.cumprod(1 - beta)))),
    Mistake("NEW-COSINE", "β_t of the cosine schedule as 1 − a ratio near 1 → as a product of sines",
            "openai/improved-diffusion", "schedule.cosine", "accuracy", instead(_cosine)),
    Mistake("NEW-KL", "KL as printed: cancels where q is nearly p → summed as a series there",
            "the textbook form", "gaussian.kl", "accuracy", instead(_kl)),
    Mistake("NEW-SOFTPLUS", "log(1 + eˣ): overflows, and is 0 below −37 → max(x, 0) + log1p(e^−|x|)",
            "the textbook form; cf. LAY-20", "activation.softplus", "accuracy",
            instead(lambda x: np.log(1 + np.exp(x)))),
    Mistake("NEW-SIGMOID", "eˣ/(1 + eˣ): ∞/∞ → e^min(x, 0)/(1 + e^−|x|)",
            "the textbook form", "activation.sigmoid", "accuracy", instead(lambda x: np.exp(x) / (1 + np.exp(x)))),
    Mistake("NEW-EXPAND", "|x|² − 2x·c + |c|²: cancels near a centre → coordinate by coordinate",
            "as in many RBF layers", "layers.rbf.rbf", "accuracy", instead(_rbf)),
)
