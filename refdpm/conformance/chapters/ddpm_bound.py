"""Clauses of the bound of Ho, Jain and Abbeel: its two ends, its terms, their sum, and bits per dimension.

Examples are images of 256 levels: the integers `k` and x_0 = −1 + 2k/255, whichever an adapter asks for.  noise (T, N, …), of which
noise[t−1] is for x_t.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import bound, schedule
from refdpm.conformance import terms
from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters import textbook
from refdpm.conformance.chapters.bound import own, own_kl, shown, tame_first
from refdpm.conformance.chapters.common import model_of, with_shown
from refdpm.conformance.chapters.common import (D, N, Ask, Quantity, Given, Inputs, Output, Strategy, arrays, drawn, edge_network,
                                               exactly, listed, network, scales, schedules, spread_out)
from refdpm.conformance.terms import Terms
from refdpm.later import objective
from refdpm.later.decoder import Grid
from refdpm.later.model import Model
from refdpm.likelihood import total, total_vjp
from refdpm.vjp import Array

CHOICES = ("predicts", "variance", "first")
NETWORK = ("weight", "bias", "beta")
SOURCE = "Ho, Jain, Abbeel 2020"
SIZE = 0.0625                   # how far the network is from predicting x_t itself: far off a decoder has no mass to speak of


# -- inputs ------------------------------------------------------------------------------------------------------------

def image(k: Array) -> Inputs:
    """The levels k and the x_0 that they stand for."""
    return {"x_0": (2.0 * k - 255) / 255, "k": k}


@st.composite
def _images(draw: st.DrawFn, given: Given, all_t: bool) -> Inputs:
    beta = draw(schedules(given, low=2))
    T = len(beta) - 1
    return (image(draw(npst.arrays(np.int64, (N, D), elements=st.integers(0, 255))))
            | {"noise": draw(arrays(*(T, N, D)[not all_t:])), "beta": beta, "model": draw(network(T, size=SIZE))})


def _edges(given: Given, all_t: bool) -> list[Inputs]:
    found = []
    for beta in tame_first(given, low=2):
        T, k = len(beta) - 1, np.array([[0, 255], [100, 3], [254, 131]])
        found.append(image(k) | {"noise": spread_out(*(T, N, D)[not all_t:], start=0.3), "beta": beta,
                                 "model": edge_network(T, size=SIZE)})
    return found


def _images_at_T(given: Given) -> Strategy:
    return schedules(given).flatmap(lambda beta: arrays(N, D).map(lambda x_0: {"x_0": x_0, "beta": beta}))


def _edges_at_T(given: Given) -> list[Inputs]:
    return [{"x_0": spread_out(*shape), "beta": beta} for beta in tame_first(given) for shape in ((N, D), (3, 4, 5, 2))]


# -- the reference -------------------------------------------------------------------------------------------------------

def _at(beta: Array, t: int, ndim: int) -> Any:
    return schedule.step(beta, schedule.log_alpha_bar(beta), t=np.array([t]), ndim=ndim)


def _prior_kl(i: Inputs) -> tuple[Array, ...]:
    return (total(objective.prior_kl(i["x_0"], _at(i["beta"], len(i["beta"]) - 1, i["x_0"].ndim).log_alpha_bar)),)


def _prior_kl_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    beta, x_0 = i["beta"], i["x_0"]
    level, back_level = schedule.log_alpha_bar_vjp(beta)
    step, back_step = schedule.step_vjp(beta, level, t=np.array([len(beta) - 1]), ndim=x_0.ndim)
    value, back = objective.prior_kl_vjp(x_0, step.log_alpha_bar)
    dx_0, dlevel = back(total_vjp(value)[1](cotangents[0]))
    dbeta, dlevels = back_step(schedule.Step(0 * dlevel, 0 * dlevel, dlevel))
    return {"x_0": dx_0, "beta": (dbeta + back_level(dlevels))[1:]}


def _last(i: Inputs) -> tuple[Any, Model]:
    """The network as it is read at t = 1, where the variance is what the policy names, if it is not learned.

    Raises: Skip where that is next to nothing.
    """
    if i["first"] == "floor":
        raise Skip("with a variance of 1e-20 at t = 1 the decoder has no mass that could be compared")
    parameters, model = model_of(i)
    return parameters, model._replace(variance="small") if model.variance == "large" else model


def _decoder(i: Inputs, noise: Array | None = None) -> tuple[Array, ...]:
    parameters, model = _last(i)
    noise = i["noise"] if noise is None else noise
    return (objective.decoder(parameters, i["beta"], k=i["k"], grid=Grid(), noise=noise, model=model),)


def _decoder_vjp(i: Inputs, cotangents: tuple[Array, ...], noise: Array | None = None) -> dict[str, Array]:
    parameters, model = _last(i)
    noise = i["noise"] if noise is None else noise
    _, back = objective.decoder_vjp(parameters, i["beta"], k=i["k"], grid=Grid(), noise=noise, model=model)
    return _named(*back(cotangents[0]))


def _named(dparameters: Any, dbeta: Array) -> dict[str, Array]:
    return {"weight": dparameters.weight, "bias": dparameters.bias, "beta": dbeta[1:]}


def _all(i: Inputs) -> dict[str, Any]:
    """What `objective.terms` is given for the full sum over t."""
    t = bound.every_step(len(i["beta"]) - 1, len(i["k"]))
    return dict(k=i["k"], grid=Grid(), noise=i["noise"][t[:, 0] - 1], noise_1=i["noise"][0], t=t, model=model_of(i)[1])


def _parts(i: Inputs) -> objective.Terms:
    """The terms; the adapter's own where they are shown."""
    _last(i)
    parts = objective.terms(model_of(i)[0], i["beta"], **_all(i))
    if i["variance"] == "large":
        parts = parts._replace(decoder=_decoder(i, i["noise"][0])[0])
    return parts._replace(**{name: i[f"own_{name}"][0] for name in parts._fields if f"own_{name}" in i})


def _table(i: Inputs) -> tuple[Array, ...]:
    parts = _parts(i)
    return (np.concatenate([parts.decoder[None], parts.kl]),)


def _bound(i: Inputs) -> tuple[Array, ...]:
    return (objective.assemble(_parts(i), T=len(i["beta"]) - 1),)


def _bound_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    parts, back = objective.terms_vjp(model_of(i)[0], i["beta"], **_all(i))
    dparts = objective.assemble_vjp(parts, T=len(i["beta"]) - 1)[1](cotangents[0])
    if i["variance"] != "large":
        return _named(*back(dparts))
    steps, last = _named(*back(dparts._replace(decoder=0 * dparts.decoder))), _decoder_vjp(i, (dparts.decoder,), i["noise"][0])
    return {name: steps[name] + last[name] for name in steps}


def _edge(i: Inputs) -> tuple[Array, ...]:
    return (total(objective.edge(i["x_0"], i["beta"][1].reshape((1,) * i["x_0"].ndim))),)


# -- what the adapter had before, and the scale ----------------------------------------------------------------------------

def _own_decoder(i: Inputs, ask: Ask) -> tuple[Array, ...] | None:
    return own(ask, "decoder_nll", i | {"noise": i["noise"][0]})


def _own_table(i: Inputs, ask: Ask) -> Inputs:
    return shown(own_kl=own_kl(i, ask), own_decoder=_own_decoder(i, ask))


def _own_parts(i: Inputs, ask: Ask) -> Inputs:
    return shown(own_kl=own_kl(i, ask), own_decoder=_own_decoder(i, ask),
                 own_prior=own(ask, "prior_kl", {"x_0": i["x_0"], "beta": i["beta"]}))


def _given_image(i: Inputs) -> Terms:
    """x_0, which no float holds exactly."""
    return Terms(i["x_0"], np.abs(i["x_0"]))


def _prior_terms(i: Inputs, x_0: Terms) -> Terms:
    flat = x_0.reshape(len(i["x_0"]), -1)
    row = textbook.rows(i["beta"], np.full(len(i["x_0"]), len(i["beta"]) - 1))
    standard = textbook.Normal(terms.exact(0.0), terms.exact(1.0))
    return terms.total(textbook.kl(textbook.marginal(row, flat), standard))


def _decoder_terms(i: Inputs, noise: Array) -> Terms:
    x_0, row = _given_image(i), textbook.rows(i["beta"], np.ones(len(i["k"]), dtype=int))
    p = textbook.last_step(i, textbook.draw(textbook.marginal(row, x_0), noise))
    end = np.where(i["k"] == 0, -1, np.where(i["k"] == 255, 1, 0))
    return -terms.total(textbook.log_mass(x_0, p, end, 1 / 255))


def _kl_terms(i: Inputs) -> Terms:
    return textbook.steps_kl(i, _given_image(i), i["noise"])


def _table_scale(i: Inputs) -> tuple[Array, ...]:
    return (np.concatenate([_decoder_terms(i, i["noise"][0]).scale[None], _kl_terms(i).scale]),)


def _bound_scale(i: Inputs) -> tuple[Array, ...]:
    ends = _prior_terms(i, _given_image(i)) + _decoder_terms(i, i["noise"][0])
    return with_shown((ends + textbook.over_t(_kl_terms(i))).scale, i)


def _edge_terms(i: Inputs) -> Terms:
    beta_1, x_0 = i["beta"][1], i["x_0"]
    per_component = (np.log(2 * np.pi) + terms.log(beta_1) + beta_1 * (terms.exact(x_0) * x_0) + (1 - terms.exact(beta_1))) / -2
    return terms.total(per_component)


# -- bits per dimension --------------------------------------------------------------------------------------------------

def _per_dimension_scale(i: Inputs) -> tuple[Array, ...]:
    return scales(terms.exact(i["nats"]) / (np.log(2) * i["x_0"][0].size))


PER_DIMENSION = Quantity(
    "bits_per_dimension", "UNIT.BPD", "nats/(D log 2) for totals of examples with D components", (SOURCE,), (Output("VALUE"),),
    drawn(nats=arrays(N, low=-500.0, high=500.0), x_0=arrays(N, D)),
    listed({"nats": exactly([12.5, 0.0, -3.0]), "x_0": spread_out(3, 4, 5, 2)},
           {"nats": exactly([900.0]), "x_0": spread_out(1, 1)}),
    lambda i: (objective.per_dimension(i["nats"], k=i["x_0"]),), _per_dimension_scale,
    vjp=lambda i, cotangents: {"nats": objective.per_dimension_vjp(i["nats"], k=i["x_0"])[1](cotangents[0])}, arguments=("nats",))

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "prior_kl", "OBJ.PRIOR", "L_T = KL(q(x_T | x_0) ‖ N(0, 1)) = ½ Σ [ᾱ_T x_0² − ᾱ_T − log(1−ᾱ_T)]", (SOURCE, "43"),
        (Output("VALUE", "total"),), _images_at_T, _edges_at_T, _prior_kl,
        lambda i: scales(_prior_terms(i, terms.exact(i["x_0"]))), vjp=_prior_kl_vjp, arguments=("x_0", "beta")),
    Quantity(
        "edge_log_prob", "OBJ.EDGE", "E log p(x_0 | x_1) with p(x_0 | x_1) = N(√(1−β_1) x_1, β_1): "
        "−½ Σ [log 2πβ_1 + β_1 x_0² + 1 − β_1]", ("44",), (Output("VALUE", "total"),), _images_at_T, _edges_at_T, _edge,
        lambda i: scales(_edge_terms(i))),
    Quantity(
        "decoder_nll", "OBJ.DECODER", "L_0 = −Σ log [Φ((x_0 + 1/255 − m)/σ) − Φ((x_0 − 1/255 − m)/σ)], ends open, with the law of "
        "the step t = 1 at x_1 = √ᾱ_1 x_0 + √(1−ᾱ_1) ε", (SOURCE,), (Output("VALUE", "total"),),
        lambda given: _images(given, False), lambda given: _edges(given, False), _decoder,
        textbook.remembered(lambda i: scales(_decoder_terms(i, i["noise"]))), choices=CHOICES,
        vjp=_decoder_vjp, arguments=NETWORK),
    Quantity(
        "bound_terms", "OBJ.TERMS", "(T, N): L_0, and for t = 2..T the divergence of the step, in the order of t", (SOURCE, "14"),
        (Output("TABLE", "table_of_totals"),), lambda given: _images(given, True), lambda given: _edges(given, True), _table,
        textbook.remembered(_table_scale),
        given=_own_table, after=("step_kl", "decoder_nll"), choices=CHOICES),
    Quantity(
        "bound", "OBJ.BOUND", "−log P(x_0) ≤ L_T + Σ_{t=2}^T KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) + L_0, noise (T, N, …)",
        (SOURCE, "13"), (Output("VALUE", "total"),), lambda given: _images(given, True), lambda given: _edges(given, True), _bound,
        textbook.remembered(_bound_scale), given=_own_parts, after=("prior_kl", "step_kl", "decoder_nll"), choices=CHOICES,
        vjp=_bound_vjp, arguments=NETWORK),
    PER_DIMENSION,
)
