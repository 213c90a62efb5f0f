"""Clauses of what a network may predict: x_0, noise, v, score or mean, each from each; signal-to-noise ratios and weights.

Sources: Ho, Jain, Abbeel 2020 (noise); Song, Ermon 2019 (score); Kingma, Salimans, Poole, Ho 2021 (ratios); Salimans, Ho 2022 (v).
"""

import numpy as np

from refdpm import gaussian, schedule
from refdpm.conformance import terms
from refdpm.conformance.chapters.common import (Quantity, Inputs, Output, Row, chain, chain_edges, own_levels, row_of,
                                                scales, step_of)
from refdpm.conformance.terms import Terms
from refdpm.later import mean, weights
from refdpm.schedule import Step
from refdpm.vjp import Array

VALUE = (Output("VALUE"),)


# -- the textbook's formulas ---------------------------------------------------------------------------------------------

def x_0_of(prediction: Terms, x_t: Terms, row: Row, predicts: str) -> Terms:
    """x_0 from a prediction of that name."""
    rest = 1 - row.alpha_bar
    match predicts:
        case "noise":
            return (x_t - terms.sqrt(rest) * prediction) / terms.sqrt(row.alpha_bar)
        case "v":
            return terms.sqrt(row.alpha_bar) * x_t - terms.sqrt(rest) * prediction
        case "score":
            return (x_t + rest * prediction) / terms.sqrt(row.alpha_bar)
        case "mean":
            c_0, c_t = weights_of(row)
            return (prediction - c_t * x_t) / c_0
    return prediction


def weights_of(row: Row) -> tuple[Terms, Terms]:
    """The weights of x_0 and x_t in the mean of the posterior."""
    before, rest = 1 - row.alpha_bar_prev, 1 - row.alpha_bar
    return row.beta * terms.sqrt(row.alpha_bar_prev) / rest, terms.sqrt(row.alpha) * before / rest


def mean_of(prediction: Terms, x_t: Terms, row: Row, predicts: str) -> Terms:
    """The mean of the reverse step, by way of x_0."""
    c_0, c_t = weights_of(row)
    return prediction if predicts == "mean" else c_0 * x_0_of(prediction, x_t, row, predicts) + c_t * x_t


def _of_x_0(x_0: Terms, x_t: Terms, row: Row, predicts: str) -> Terms:
    rest = 1 - row.alpha_bar
    match predicts:
        case "noise":
            return (x_t - terms.sqrt(row.alpha_bar) * x_0) / terms.sqrt(rest)
        case "v":
            return (terms.sqrt(row.alpha_bar) * x_t - x_0) / terms.sqrt(rest)
    return (terms.sqrt(row.alpha_bar) * x_0 - x_t) / rest


# -- from a prediction, and to one ---------------------------------------------------------------------------------------

SPOKEN = {"x_0": "x_0", "noise": "noise", "v": "v", "score": "the score", "mean": "the mean"}


def _gradient(i: Inputs, name: str, pair: str, cotangent: Array, *, predicts: str) -> dict[str, Array]:
    """The gradients for (prediction, x_t, beta) by `mean.<pair>`, through the schedule."""
    level, back_level = schedule.log_alpha_bar_vjp(i["beta"])
    step, back_step = schedule.step_vjp(i["beta"], level, t=i["t"], ndim=i["x_t"].ndim)
    _, back = getattr(mean, pair)(i[name], i["x_t"], step, predicts=predicts)
    dprediction, dx_t, dstep = back(cotangent)
    dbeta, dlevel = back_step(dstep)
    return {name: dprediction, "x_t": dx_t, "beta": (dbeta + back_level(dlevel))[1:]}


def _x_0_from(name: str, formula: str, *equations: str) -> Quantity:
    return Quantity(
        f"x_0_from_{name}", f"PAR.X_0_OF_{name.upper()}", f"x_0 from {SPOKEN[name]}: {formula}", equations, VALUE,
        chain(name, "x_t"), chain_edges(name, "x_t"),
        lambda i: (mean.x_0_from(i[name], i["x_t"], step_of(i), predicts=name),),
        lambda i: scales(x_0_of(_exact(i, name), _exact(i, "x_t"), row_of(i), name)), given=own_levels, after=("alpha_bar",),
        vjp=lambda i, cotangents: _gradient(i, name, "x_0_from_vjp", cotangents[0], predicts=name),
        arguments=(name, "x_t", "beta"))


def _from_x_0(name: str, formula: str, *equations: str) -> Quantity:
    return Quantity(
        f"{name}_from_x_0", f"PAR.{name.upper()}_OF_X_0", f"{SPOKEN[name]} from x_0: {formula}", equations, VALUE,
        chain("x_0", "x_t"), chain_edges("x_0", "x_t"),
        lambda i: (mean.from_x_0(i["x_0"], i["x_t"], step_of(i), predicts=name),),
        lambda i: scales(_of_x_0(_exact(i, "x_0"), _exact(i, "x_t"), row_of(i), name)), given=own_levels, after=("alpha_bar",),
        vjp=lambda i, cotangents: _gradient(i, "x_0", "from_x_0_vjp", cotangents[0], predicts=name),
        arguments=("x_0", "x_t", "beta"))


def _mean_from(name: str, formula: str, *equations: str) -> Quantity:
    return Quantity(
        f"mean_from_{name}", f"PAR.MEAN_OF_{name.upper()}", f"the mean of the reverse step from {SPOKEN[name]}: {formula}",
        equations, VALUE, chain(name, "x_t"), chain_edges(name, "x_t"),
        lambda i: (mean.mean_from(i[name], i["x_t"], step_of(i), predicts=name),),
        lambda i: scales(mean_of(_exact(i, name), _exact(i, "x_t"), row_of(i), name)), given=own_levels, after=("alpha_bar",),
        vjp=lambda i, cotangents: _gradient(i, name, "mean_from_vjp", cotangents[0], predicts=name),
        arguments=(name, "x_t", "beta"))


def _exact(i: Inputs, name: str) -> Terms:
    return terms.exact(i[name])


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


def _velocity_scale(i: Inputs) -> tuple[Array, ...]:
    """Of both forms: x_0 and ε turned, and (√ᾱ x_t − x_0)/√(1−ᾱ), for an x_t that has been rounded."""
    row, x_0, noise = row_of(i), _exact(i, "x_0"), _exact(i, "noise")
    keep, rest = terms.sqrt(row.alpha_bar), terms.sqrt(1 - row.alpha_bar)
    by_x_t = _of_x_0(x_0, keep * x_0 + rest * noise, row, "v")
    return np.maximum((keep * noise - rest * x_0).scale, by_x_t.scale / 4),


VELOCITY = Quantity(
    "velocity", "PAR.V", "v = √ᾱ_t ε − √(1−ᾱ_t) x_0, what a v-network is to say", ("Salimans 2022",), VALUE,
    chain("x_0", "noise"), chain_edges("x_0", "noise"), _velocity, _velocity_scale, given=own_levels, after=("alpha_bar",))


def _columns(i: Inputs) -> Step:
    return step_of(i, ndim=1)


def _ratio(alpha_bar: Terms) -> Terms:
    return alpha_bar / (1 - alpha_bar)


def _snr_gradient(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    level, back_level = schedule.log_alpha_bar_vjp(i["beta"])
    step, back_step = schedule.step_vjp(i["beta"], level, t=i["t"], ndim=1)
    dlevel = weights.snr_vjp(step.log_alpha_bar)[1](cotangents[0])
    dbeta, dlevel = back_step(Step(0 * dlevel, 0 * dlevel, dlevel))
    return {"beta": (dbeta + back_level(dlevel))[1:]}


def _weight_scale(i: Inputs) -> tuple[Array, ...]:
    """A difference of signal-to-noise ratios, over the square of the error that an error 1 of x_0 is."""
    row = row_of(i, ndim=1)
    rest, drop = 1 - row.alpha_bar, _ratio(row.alpha_bar_prev) - _ratio(row.alpha_bar)
    c_0, _ = weights_of(row)
    return scales({"x_0": drop, "noise": drop / _ratio(row.alpha_bar), "v": drop * rest, "mean": drop / (c_0 * c_0),
                   "score": drop * rest * rest / row.alpha_bar}[i["predicts"]])


def _weight_gradient(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    level, back_level = schedule.log_alpha_bar_vjp(i["beta"])
    step, back_step = schedule.step_vjp(i["beta"], level, t=i["t"], ndim=1)
    _, back = weights.kl_weight_vjp(step.beta, step.log_alpha_bar_prev, predicts=i["predicts"])
    dbeta, dlevel = back(cotangents[0])
    dbeta, dlevel = back_step(Step(dbeta, dlevel, 0 * dlevel))
    return {"beta": (dbeta + back_level(dlevel))[1:]}


WEIGHTS = (
    Quantity(
        "snr", "PAR.SNR", "ᾱ_t/(1−ᾱ_t), the ratio of signal to noise, one number for each row", ("Kingma 2021",), VALUE,
        chain(), chain_edges(), lambda i: (weights.snr(_columns(i).log_alpha_bar),),
        lambda i: scales(_ratio(row_of(i, ndim=1).alpha_bar)), given=own_levels, after=("alpha_bar",), sizes=lambda i: 1,
        vjp=_snr_gradient, arguments=("beta",)),
    Quantity(
        "kl_weight", "PAR.WEIGHT", "w with D_KL(q(x_{t−1} | x_t, x_0) ‖ p) = ½ w Δ² for an error Δ of what is predicted and the "
        "posterior's variance, t ≥ 2: SNR_{t−1} − SNR_t for x_0, SNR_{t−1}/SNR_t − 1 for noise", ("Ho 2020", "Kingma 2021"), VALUE,
        chain(low=2), chain_edges(low=2),
        lambda i: (weights.kl_weight(_columns(i).beta, _columns(i).log_alpha_bar_prev, predicts=i["predicts"]),),
        _weight_scale, given=own_levels, after=("alpha_bar", "snr"), choices=("predicts",), sizes=lambda i: 1,
        vjp=_weight_gradient, arguments=("beta",)),
)

QUANTITIES: tuple[Quantity, ...] = (*PREDICTIONS, VELOCITY, *WEIGHTS)
