"""What a network may predict: x_0, noise, v, score or mean, each from each; signal-to-noise ratios and weights.

Sources: Ho, Jain, Abbeel 2020 (noise); Song, Ermon 2019 (score); Kingma, Salimans, Poole, Ho 2021 (ratios); Salimans, Ho 2022 (v).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import gaussian
from refdpm.conformance.chapters.ends import BELOW, LEVEL as LEVELS, STATE, ends, rate, wide
from refdpm.conformance.chapters.inputs import Inputs, chain, chain_edges
from refdpm.conformance.chapters.quantity import ByHand, Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import BETA, LEVEL, PREV, STEP, Theory, step_of
from refdpm.later import mean, weights
from refdpm.textbook import prediction as book
from refdpm.textbook.chain import draw, marginal, row
from refdpm.textbook.expression import E, forms, given
from refdpm.vjp import Array

VALUE = (Output("VALUE"),)
X_0, X_T, NOISE = map(given, ("x_0", "x_t", "noise"))


# -- from a prediction, and to one ---------------------------------------------------------------------------------------

SPOKEN = {"x_0": "x_0", "noise": "noise", "v": "v", "score": "the score", "mean": "the mean"}


def _conversion(name: str, id: str, says: str, equations: tuple[str, ...], of: str, predicts: str,
                f: tuple[Callable[..., Any], ...], formula: Callable[..., E]) -> Quantity:
    """f(of, x_t, step) and its formula, for a prediction of that name."""
    return Quantity(
        name, id, says, equations, VALUE, chain(of, "x_t"), chain_edges(of, "x_t"),
        Theory(*f, of, "x_t", STEP, predicts=lambda i: predicts), lambda i: (formula(given(of), X_T, row(), predicts),),
        given=own_levels, after=("alpha_bar",), arguments=(of, "x_t", "beta"))


def _x_0_from(name: str, formula: str, *equations: str) -> Quantity:
    return _conversion(f"x_0_from_{name}", f"PAR.X_0_OF_{name.upper()}", f"x_0 from {SPOKEN[name]}: {formula}", equations, name, name,
                       (mean.x_0_from, mean.x_0_from_vjp), book.x_0_from)


def _from_x_0(name: str, formula: str, *equations: str) -> Quantity:
    return _conversion(f"{name}_from_x_0", f"PAR.{name.upper()}_OF_X_0", f"{SPOKEN[name]} from x_0: {formula}", equations, "x_0", name,
                       (mean.from_x_0, mean.from_x_0_vjp), book.from_x_0)


def _mean_from(name: str, formula: str, *equations: str) -> Quantity:
    return _conversion(f"mean_from_{name}", f"PAR.MEAN_OF_{name.upper()}",
                       f"the mean of the reverse step from {SPOKEN[name]}: {formula}", equations, name, name,
                       (mean.mean_from, mean.mean_from_vjp), book.mean_from)


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
    lambda i: (forms(book.velocity(X_0, NOISE, row()), book.from_x_0(X_0, draw(marginal(X_0, row()), NOISE), row(), "v")),),
    given=own_levels, after=("alpha_bar",))

WEIGHTS = (
    Quantity(
        "snr", "PAR.SNR", "ᾱ_t/(1−ᾱ_t), the ratio of signal to noise, one number for each row", ("Kingma 2021",), VALUE,
        chain(), chain_edges(), Theory(weights.snr, weights.snr_vjp, LEVEL), lambda i: (book.snr(row()),), given=own_levels,
        after=("alpha_bar",), sizes=lambda i: 1, arguments=("beta",)),
    Quantity(
        "kl_weight", "PAR.WEIGHT", "w with D_KL(q(x_{t−1} | x_t, x_0) ‖ p) = ½ w Δ² for an error Δ of what is predicted and the "
        "posterior's variance, t ≥ 2: SNR_{t−1} − SNR_t for x_0, SNR_{t−1}/SNR_t − 1 for noise", ("Ho 2020", "Kingma 2021"), VALUE,
        chain(low=2), chain_edges(low=2), Theory(weights.kl_weight, weights.kl_weight_vjp, BETA, PREV, fixed=("predicts",)),
        lambda i: (book.kl_weight(row(), i["predicts"]),), given=own_levels, after=("alpha_bar", "snr"), choices=("predicts",),
        sizes=lambda i: 1, arguments=("beta",)),
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
        ("x_0_from_mean", rate), ("mean_from_x_0", rate), ("mean_from_noise", rate_below_1), ("mean_from_v", rate))},
    "later.mean.mean_from_score": ends(STATE, STATE, rate_below_1),
    "later.weights.snr": ends(BELOW),
    **{f"later.weights.{name}": tuple(ends(rate_below_1, NORMAL, predicts=predicts) for predicts in mean.PREDICTIONS)
       for name in ("error_weight", "kl_weight")},
    "later.weights.kl_of_x_0": ends(STATE, STATE, rate, NORMAL)}

QUANTITIES: tuple[Quantity, ...] = (*PREDICTIONS, VELOCITY, *WEIGHTS)
