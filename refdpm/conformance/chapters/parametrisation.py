"""What a network may predict: x_0, noise, v, score or mean, each from each; signal-to-noise ratios and weights.

Sources: Ho, Jain, Abbeel 2020 (noise); Song, Ermon 2019 (score); Kingma, Salimans, Poole, Ho 2021 (ratios); Salimans, Ho 2022 (v).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import gaussian
from refdpm.conformance.chapters.ends import BELOW, LEVELS, STATE, ends, rate, wide
from refdpm.conformance.chapters.inputs import Inputs, chain, chain_edges
from refdpm.conformance.chapters.quantity import ByHand, Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import BETA, LEVEL, PREV, STEP, Theory, step_of
from refdpm.conformance.planting import PRINTED, Mistake, instead, then, told
from refdpm.later import mean, weights
from refdpm.textbook import prediction as book
from refdpm.textbook.chain import draw, marginal, row
from refdpm.textbook.expression import E, forms, given
from refdpm.vjp import Array

VALUE = (Output("VALUE"),)
X_0, X_T, NOISE, V, GUESS = map(given, ("x_0", "x_t", "noise", "v", "guess"))


# -- from a prediction, and to one ---------------------------------------------------------------------------------------

SPOKEN = {"x_0": "x_0", "noise": "noise", "v": "v", "score": "the score", "mean": "the mean"}


def _conversion(name: str, id: str, says: str, equations: tuple[str, ...], of: str, predicts: str, f: Callable[..., Any],
                formula: Callable[..., E]) -> Quantity:
    """f(of, x_t, step) for a prediction of that name, and its formula."""
    return Quantity(
        name, id, says, equations, VALUE, chain(of, "x_t"), chain_edges(of, "x_t"),
        Theory(f, of, "x_t", STEP, predicts=lambda i: predicts), formula(given(of), X_T, row(), predicts),
        given=own_levels, after=("alpha_bar",), arguments=(of, "x_t", "beta"))


def _x_0_from(name: str, formula: str, *equations: str) -> Quantity:
    return _conversion(f"x_0_from_{name}", f"PAR.X_0_OF_{name.upper()}", f"x_0 from {SPOKEN[name]}: {formula}", equations,
                       name, name, mean.x_0_from, book.x_0_from)


def _from_x_0(name: str, formula: str, *equations: str) -> Quantity:
    return _conversion(f"{name}_from_x_0", f"PAR.{name.upper()}_OF_X_0", f"{SPOKEN[name]} from x_0: {formula}", equations,
                       "x_0", name, mean.from_x_0, book.from_x_0)


def _mean_from(name: str, formula: str, *equations: str) -> Quantity:
    says = f"the mean of the reverse step from {SPOKEN[name]}: {formula}"
    return _conversion(f"mean_from_{name}", f"PAR.MEAN_OF_{name.upper()}", says, equations,
                       name, name, mean.mean_from, book.mean_from)


PREDICTIONS = (
    _x_0_from("noise", "(x_t − √(1−ᾱ_t) ε)/√ᾱ_t", "Ho 2020"),
    _x_0_from("v", "√ᾱ_t x_t − √(1−ᾱ_t) v", "Salimans 2022"),
    _x_0_from("score", "(x_t + (1−ᾱ_t) score)/√ᾱ_t", "Song 2019"),
    _x_0_from("mean", "(mean − c_t x_t)/c_0 with the weights of the posterior", "Ho 2020"),
    _from_x_0("noise", "(x_t − √ᾱ_t x_0)/√(1−ᾱ_t)", "Ho 2020"),
    _from_x_0("score", "(√ᾱ_t x_0 − x_t)/(1−ᾱ_t)", "Song 2019"),
    _mean_from("x_0", "c_0 x_0 + c_t x_t with the weights of the posterior", "48", "Ho 2020"),
    _mean_from("noise", "(x_t − β_t ε/√(1−ᾱ_t))/√(1−β_t)", "Ho 2020"),
    _mean_from("v", "√(1−β_t) x_t − √(ᾱ_{t−1}/(1−ᾱ_t)) β_t v", "Salimans 2022"),
    _mean_from("score", "(x_t + β_t score)/√(1−β_t)", "Song 2019"),
)


# -- the target of v, and weights ----------------------------------------------------------------------------------------

def _velocity(i: Inputs) -> tuple[Array, ...]:
    step = step_of(i)
    x_t = gaussian.draw(gaussian.marginal(i["x_0"], step.log_alpha_bar), noise=i["noise"])
    return mean.from_x_0(i["x_0"], x_t, step, predicts="v"),


VELOCITY = Quantity(
    "velocity", "PAR.V", "v = √ᾱ_t ε − √(1−ᾱ_t) x_0, what a v-network is to say", ("Salimans 2022",), VALUE,
    chain("x_0", "noise"), chain_edges("x_0", "noise"), ByHand(_velocity),
    forms(book.velocity(X_0, NOISE, row()), book.from_x_0(X_0, draw(marginal(X_0, row()), NOISE), row(), "v")),
    given=own_levels, after=("alpha_bar",))

WEIGHTS = (
    Quantity(
        "snr", "PAR.SNR", "ᾱ_t/(1−ᾱ_t), the ratio of signal to noise, one number for each row", ("Kingma 2021",), VALUE, chain(),
        chain_edges(), Theory(weights.snr, LEVEL), book.snr(row()), given=own_levels, after=("alpha_bar",), arguments=("beta",)),
    Quantity(
        "log_snr", "PAR.LOG_SNR", "log SNR_t = log ᾱ_t − log(1−ᾱ_t), one number for each row; λ is half of it", ("Kingma 2021",),
        VALUE, chain(), chain_edges(), Theory(weights.log_snr, LEVEL), (book.log_snr(row()),), given=own_levels,
        after=("alpha_bar", "snr"), arguments=("beta",)),
    Quantity(
        "kl_weight", "PAR.WEIGHT", "w with D_KL(q(x_{t−1} | x_t, x_0) ‖ p) = ½ w Δ² for an error Δ of what is predicted and the "
        "posterior's variance, t ≥ 2: SNR_{t−1} − SNR_t for x_0, SNR_{t−1}/SNR_t − 1 for noise", ("Ho 2020", "Kingma 2021"), VALUE,
        chain(low=2), chain_edges(low=2),
        Theory(weights.kl_weight, BETA, PREV, predicts=lambda i: i["weight_of"]),
        lambda i: (book.kl_weight(row(), i["weight_of"]),), given=own_levels, after=("alpha_bar", "snr"),
        choices=("weight_of",),
        arguments=("beta",)),
    Quantity(
        "kl_of_v", "PAR.KL_OF_V", "D_KL(q(x_{t−1} | x_t, x_0) ‖ p) per component where the network says v, p with the variance "
        "of the posterior: ½ ᾱ_{t−1} β_t/(1−ᾱ_{t−1}) (v − v̂)², t ≥ 2", ("Salimans 2022",), (Output("VALUE", "information"),),
        chain("v", "guess", low=2), chain_edges("v", "guess", low=2), Theory(weights.kl_of_v, "v", "guess", BETA, PREV),
        book.kl_of_v(V, GUESS, row()), given=own_levels, after=("alpha_bar",), arguments=("v", "guess", "beta")),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

NORMAL = wide(1e-12, 300.0, signs=(-1,))                     # two powers of ᾱ stay above the smallest number


def rate_below_1(rng: np.random.Generator, n: int) -> Array:
    """β that leaves something to divide by."""
    return np.minimum(rate(rng, n), 1 - 1e-6)


ENDS = {
    **{f"later.parametrisation.{name}": ends(STATE, STATE, BELOW) for name in (
        "x_0_from_noise", "x_0_from_v", "x_0_from_score", "noise_from_x_0", "v_from_x_0", "score_from_x_0")},
    **{f"later.mean.{name}": ends(STATE, STATE, rates, LEVELS) for name, rates in (
        ("mean_from_x_0", rate), ("mean_from_noise", rate_below_1), ("mean_from_v", rate))},
    "later.mean.x_0_from_mean": ends(STATE, STATE, rate, wide(1e-12, 600.0, -0.0, signs=(-1,))),
    "later.mean.mean_from_score": ends(STATE, STATE, rate_below_1),
    "later.weights.snr": ends(BELOW), "later.weights.log_snr": ends(BELOW),
    **{f"later.weights.{name}": tuple(ends(rate_below_1, NORMAL, predicts=predicts) for predicts in mean.PREDICTIONS)
       for name in ("error_weight", "kl_weight")},
    **{f"later.weights.{name}": ends(STATE, STATE, rate, NORMAL) for name in ("kl_of_x_0", "kl_of_v")}}

QUANTITIES: tuple[Quantity, ...] = (*PREDICTIONS, VELOCITY, *WEIGHTS)


# -- mistakes ----------------------------------------------------------------------------------------------------------

def _share_by_precedence(noise: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> Array:
    w = 1 - np.exp(log_alpha_bar_prev) * (1 - beta)
    return (x_t - (1 - (1 - beta) / np.sqrt(w)) * noise) / np.sqrt(1 - beta)


def _alike_for_noise(weight: Array, predicts: str) -> Array:
    """Every error of the noise weighs 1."""
    return np.ones_like(weight) if predicts == "noise" else weight


MISTAKES = (
    Mistake("FWD-08", "√ᾱ x_t − √(1−ᾱ) ε → (x_t − √(1−ᾱ) ε)/√ᾱ", "lucidrains/imagen-pytorch@5f45ca0",
            "later.parametrisation.x_0_from_noise", "value",
            instead(lambda noise, x_t, level: np.exp(level / 2) * x_t - np.sqrt(-np.expm1(level)) * noise)),
    Mistake("FWD-10", "a network's x_0 taken for noise → for x_0", "huggingface/diffusers@c812d97", "later.mean.mean_from_vjp",
            "value", told(predicts=lambda predicts: "noise" if predicts == "x_0" else predicts)),
    Mistake("FWD-10b", "every prediction turned into x_0 as if it were noise → by its own name",
            "Project-MONAI/GenerativeModels@9e95e54", "later.mean.x_0_from_vjp", "value", told(predicts="noise")),
    Mistake("REV-17b", "a network's x_0 used as the mean of the reverse step → c_0 x_0 + c_t x_t",
            "youngunghan/Deep-Unsupervised-…-Thermodynamics known-issues D2", "later.mean.mean_from_x_0_vjp", "value",
            then(lambda mean, x_0: x_0)),
    Mistake("REV-01", "1 − α/√(1−ᾱ) → (1 − α)/√(1−ᾱ), a matter of brackets", "gmongaras/Diffusion_models_from_scratch@41dae90",
            "later.mean.mean_from_noise", "value", instead(_share_by_precedence)),
    Mistake("NEW-V-MEAN", "v's share of the mean √a β v/w → √a β v/√w", "c_0 v without the √w of x_0 from v",
            "later.mean.mean_from_v", "value",
            told(v=lambda v, beta, log_alpha_bar_prev: v / np.sqrt(1 - np.exp(log_alpha_bar_prev) * (1 - beta)))),
    Mistake("NEW-SCOREb", "x_t + √(1−ᾱ) score → x_t + (1−ᾱ) score", "σ for σ² in Tweedie's formula",
            "later.parametrisation.x_0_from_score", "value",
            told(score=lambda score, log_alpha_bar: score / np.sqrt(-np.expm1(log_alpha_bar)))),
    Mistake("NEW-SCORE-MEAN", "x_t + ½ β score → x_t + β score", "the drift of the probability flow", "later.mean.mean_from_score",
            "value", told(score=lambda score: score / 2)),
    Mistake("NEW-LAMBDA", "½ log SNR, which is λ → log SNR", "λ = log(√ᾱ/√(1−ᾱ)) of DPM-Solver under another name",
            "later.weights.log_snr", "value", then(lambda value: value / 2)),
    Mistake("NEW-LOG-SUB", "log(1 − ᾱ) by subtraction → log(−expm1 ℓ)", "the textbook form", "later.weights.log_snr", "accuracy",
            instead(lambda log_alpha_bar: log_alpha_bar - np.log(1 - np.exp(log_alpha_bar)))),
    Mistake("NEW-SIMPLE", "noise weighed by 1 → by SNR_{t−1}/SNR_t − 1", "the simple loss reported as a bound",
            "later.weights.kl_weight", "value", then(_alike_for_noise)),
    Mistake("NEW-SNR-DROP", "SNR_{t−1} − SNR_t subtracted → aβ/(vw)", "the textbook form", "later.weights.kl_weight", "accuracy",
            PRINTED),
)
