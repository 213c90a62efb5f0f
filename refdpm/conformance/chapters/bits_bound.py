"""Clauses of K for bits: the divergence of a step and the sum.

The network puts out the logit of p(x_{t−1} = 1 | x_t).  The states x_t are given and not drawn: a bit on the edge would fall on
either side in different precisions.  π has the rate r of ones.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import binomial, bound
from refdpm.binomial import Bernoulli
from refdpm.conformance import terms
from refdpm.conformance.adapter import Model
from refdpm.conformance.chapters import textbook
from refdpm.conformance.chapters.bound import own, shown, tame_first
from refdpm.conformance.chapters.common import with_shown
from refdpm.conformance.chapters.common import (D, N, Ask, Quantity, Given, Inputs, Output, Strategy, edge_network, network, scales,
                                               schedules, times_of)
from refdpm.conformance.terms import Terms
from refdpm.layers.linear import per_step_vjp
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, fix

TOTAL = (Output("VALUE", "total"),)
RATES = (0.5, 0.5, 0.25, 0.875)


# -- inputs ------------------------------------------------------------------------------------------------------------

def _bits(*shape: int) -> Strategy:
    return npst.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0]))


def _edge_bits(*shape: int, start: float = 0.0) -> Array:
    return (np.modf((np.arange(int(np.prod(shape))) + 1) * 0.6180339887 + start)[0] < 0.5).astype(float).reshape(shape)


def _rated(betas: list[Array]) -> Iterator[tuple[Array, float]]:
    """Each at ½, and the first few at other rates, last, because not everybody has one."""
    return ((beta, rate) for rates in (RATES[:1] * len(betas), RATES[2:]) for beta, rate in zip(betas, rates))


@st.composite
def _steps(draw: st.DrawFn, given: Given) -> Inputs:
    beta = draw(schedules(given, low=2))
    t = draw(npst.arrays(np.int64, N, elements=st.integers(2, len(beta) - 1)))
    return {"x_0": draw(_bits(N, D)), "x_t": draw(_bits(N, D)), "t": t, "beta": beta, "rate": draw(st.sampled_from(RATES)),
            "model": draw(network(len(beta) - 1, outputs=D))}


def _step_edges(given: Given) -> list[Inputs]:
    found = []
    for beta, rate in _rated(tame_first(given, low=2)):
        t = times_of(beta, low=2)
        found.append({"x_0": _edge_bits(len(t), D), "x_t": _edge_bits(len(t), D, start=0.3), "t": t, "beta": beta,
                      "rate": rate, "model": edge_network(len(beta) - 1, outputs=D)})
    return found


@st.composite
def _paths(draw: st.DrawFn, given: Given) -> Inputs:
    beta = draw(schedules(given))
    return {"x_0": draw(_bits(N, D)), "x_t": draw(_bits(len(beta) - 1, N, D)), "beta": beta, "rate": draw(st.sampled_from(RATES)),
            "model": draw(network(len(beta) - 1, outputs=D))}


def _path_edges(given: Given) -> list[Inputs]:
    return [{"x_0": _edge_bits(N, D), "x_t": _edge_bits(len(beta) - 1, N, D, start=0.3), "beta": beta,
             "rate": rate, "model": edge_network(len(beta) - 1, outputs=D)} for beta, rate in _rated(tame_first(given))]


# -- the reference -------------------------------------------------------------------------------------------------------

def _kernel(i: Inputs, x_t: Array) -> SimpleNamespace:
    """The binomial kernel with x_t given."""
    given = {"draw": lambda q, noise: x_t, "draw_vjp": lambda q, noise: (x_t, None)}
    return SimpleNamespace(**vars(fix(binomial, rate=i["rate"])) | given)


def _reverse_vjp(parameters: Any, x_t: Array, step: Step, *, t: Array) -> tuple[Bernoulli, Pullback]:
    logit, back = per_step_vjp(x_t, *parameters, t=t)
    return Bernoulli(logit), lambda dp: (back(dp.logit)[1:], None, None)


NETWORK = SimpleNamespace(reverse_vjp=_reverse_vjp)


def _parameters(model: Model) -> tuple[Array, Array]:
    return model.weight, model.bias


def _step_kl(i: Inputs) -> tuple[Array, ...]:
    return (bound.network_kl(_parameters(i["model"]), beta=i["beta"], x_0=i["x_0"], noise=i["x_t"], t=i["t"],
                             kernel=_kernel(i, i["x_t"]), network=NETWORK),)


def _step_kl_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    def back(model: Model, told: Array | None = None) -> tuple[Array, Array]:
        network = NETWORK if told is None else SimpleNamespace(
            reverse_vjp=lambda parameters, x_t, step, t: _reverse_vjp(parameters, x_t, step, t=told))
        found: tuple[Array, Array] = bound.network_kl_vjp(
            _parameters(model), beta=i["beta"], x_0=i["x_0"], noise=i["x_t"], t=i["t"], kernel=_kernel(i, i["x_t"]),
            network=network)[1](cotangents[0])
        return found

    weight, bias = back(i["model"])
    alone = i["model"]._replace(weight=i["model"].weight[i["t"]], bias=i["model"].bias[i["t"]])
    return {"weight": weight, "bias": bias, "output": back(alone, np.arange(len(i["t"])))[1]}


def _bound(i: Inputs) -> tuple[Array, ...]:
    t = bound.every_step(len(i["beta"]) - 1, len(i["x_0"]))
    x_t = i["x_t"][t[:, 0] - 1]
    full = dict(noise=x_t, t=t, kernel=_kernel(i, x_t.reshape(-1, *i["x_0"].shape[1:])), network=NETWORK)
    if "own_kl" not in i:
        return (bound.bound(_parameters(i["model"]), i["beta"], i["x_0"], **full),)
    parts = bound.terms(_parameters(i["model"]), i["beta"], i["x_0"], **full)
    return (bound.assemble(parts._replace(kl=i["own_kl"][0]), T=len(i["beta"]) - 1),)


def _own_kl(i: Inputs, ask: Ask) -> Inputs:
    count = len(i["x_0"])
    found = [own(ask, "binomial_step_kl", {"x_0": i["x_0"], "x_t": i["x_t"][t - 1], "t": np.full(count, t), "beta": i["beta"],
                                           "rate": i["rate"], "model": i["model"]}) for t in range(2, len(i["beta"]))]
    return shown(own_kl=None if not found or None in found else (np.array([value[0] for value in found if value]),))


# -- the scale ---------------------------------------------------------------------------------------------------------

def _one(kept: Terms, x: Array, rate: float) -> Terms:
    """P(1) of a bit that was x, and has been kept with that probability."""
    return kept * x + (1 - kept) * rate


def _kl_terms(i: Inputs, x_t: Array, t: Array) -> Terms:
    row, rate = textbook.rows(i["beta"], t), i["rate"]
    before, from_one, from_zero = (_one(kept, x, rate) for kept, x in (
        (row.alpha_bar_prev, i["x_0"]), (row.alpha, np.ones_like(x_t)), (row.alpha, np.zeros_like(x_t))))
    one = terms.where(x_t == 1, from_one, 1 - from_one) * before
    zero = terms.where(x_t == 1, from_zero, 1 - from_zero) * (1 - before)
    q, p = one / (one + zero), 1 / (1 + terms.exp(-textbook.outputs(i["model"], terms.exact(x_t), t)))
    rest_q, rest_p = 1 - q, 1 - p
    return terms.total(q * (terms.log(q) - terms.log(p)) + rest_q * (terms.log(rest_q) - terms.log(rest_p)))


def _entropy(p: Terms) -> Terms:
    return -terms.total(p * terms.log(p) + (1 - p) * terms.log(1 - p))


def _bound_terms(i: Inputs) -> Terms:
    count, T = len(i["x_0"]), len(i["beta"]) - 1
    repeated = i | {"x_0": np.tile(i["x_0"], (T - 1,) + (1,) * (i["x_0"].ndim - 1))}
    parts = _kl_terms(repeated, i["x_t"][1:].reshape(repeated["x_0"].shape), np.repeat(np.arange(2, T + 1), count))
    at_T, at_1 = (_entropy(_one(textbook.rows(i["beta"], np.full(count, t)).alpha_bar, i["x_0"], i["rate"])) for t in (T, 1))
    prior = _entropy(terms.exact(np.full(i["x_0"].shape, i["rate"])))
    return at_T - at_1 - prior - textbook.over_t(parts.reshape(T - 1, count))


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "binomial_step_kl", "BIT.STEP", "KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) of bits, t ≥ 2, π(1) = rate; the "
        "model's output is the logit of p(x_{t−1} = 1 | x_t)", ("14", "App.1 B bound"), TOTAL, _steps, _step_edges, _step_kl,
        textbook.remembered(lambda i: scales(_kl_terms(i, i["x_t"], i["t"]))),
        vjp=_step_kl_vjp, arguments=("output", "weight", "bias")),
    Quantity(
        "binomial_bound", "BIT.K", "K = −Σ_{t=2}^T KL + H(x_T | x_0) − H(x_1 | x_0) − H(π) of bits, π(1) = rate, x_t (T, N, …) "
        "given, x_t[t−1] for t; the model's output is the logit of p(x_{t−1} = 1 | x_t)", ("14", "App.1 B bound"), TOTAL, _paths,
        _path_edges, _bound, textbook.remembered(lambda i: with_shown(_bound_terms(i).scale, i)),
        given=_own_kl, after=("binomial_step_kl",)),
)
