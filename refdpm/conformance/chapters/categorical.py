"""Clauses of the chain for symbols: matrices, marginal, posterior, reverse step from logits, divergence.

A symbol is the number of its class, 0..K−1, in an integer array (N, …); a law has the classes on its last axis.  `classes` is K:
the adapter's own, if it has an attribute of that name, else drawn.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import schedule
from refdpm.conformance import terms
from refdpm.conformance.chapters.common import (D, N, Quantity, Given, Inputs, Output, Row, Strategy, arrays, edge_schedules,
                                               exactly, own_levels, row_of, scales, schedules, spread_out, step_of, times_of)
from refdpm.conformance.terms import Terms
from refdpm.later import categorical
from refdpm.later.categorical import Categorical
from refdpm.schedule import Step
from refdpm.vjp import Array

SOURCE = ("Hoogeboom 2021", "Austin 2021")
SHARES = 64                                         # laws are made of shares that float32 adds up to 1 exactly


# -- inputs --------------------------------------------------------------------------------------------------------------

def _sizes(given: Given) -> st.SearchStrategy[int]:
    return st.just(given.classes) if given.classes else st.sampled_from([2, 3, 5])


@st.composite
def _drawn(draw: st.DrawFn, given: Given, symbols: tuple[str, ...], logits: bool) -> Inputs:
    beta, K = draw(schedules(given)), draw(_sizes(given))
    found: Inputs = {"logits": draw(arrays(N, D, K))} if logits else {}
    for name in symbols:
        found[name] = draw(npst.arrays(np.int64, (N, D), elements=st.integers(0, K - 1)))
    return found | {"t": draw(npst.arrays(np.int64, N, elements=st.integers(1, len(beta) - 1))), "beta": beta, "classes": K}


def chain(*symbols: str, logits: bool = False) -> Callable[[Given], Strategy]:
    """Symbols of those names, a schedule and t."""
    return lambda given: _drawn(given, symbols, logits)


def chain_edges(*symbols: str, logits: bool = False) -> Callable[[Given], list[Inputs]]:
    """Every t of the schedules of the edges, K = 3, 2, 5 in turn; equal and unequal symbols in one batch."""
    def edges(given: Given) -> list[Inputs]:
        found = []
        for i, beta in enumerate(edge_schedules(given)):
            t, K = times_of(beta), given.classes or (3, 2, 5)[i % 3]
            inputs: Inputs = {"logits": spread_out(len(t), D, K)} if logits else {}
            for j, name in enumerate(symbols):
                inputs[name] = (np.arange(len(t))[:, None] * (1, K)[j] + j * np.arange(D) + i).astype(np.int64) % K
            found.append(inputs | {"t": t, "beta": beta, "classes": K})
        return found
    return edges


def _laws(given: Given) -> Strategy:
    """Two laws (N, K) of shares of 1/64; where the second has nothing the first has nothing."""
    def of(K: int) -> Strategy:
        law = st.lists(st.integers(0, SHARES), min_size=K - 1, max_size=K - 1).map(_between)
        rows = st.lists(st.tuples(law, law).map(lambda pair: _covered(*pair)), min_size=N, max_size=N)
        return rows.map(lambda pairs: {"law_q": np.array([q for q, _ in pairs]), "law_p": np.array([p for _, p in pairs])})

    return _sizes(given).flatmap(of)


def _between(cuts: list[int]) -> Array:
    return np.diff([0, *sorted(cuts), SHARES]) / SHARES


def _covered(q: Array, p: Array) -> tuple[Array, Array]:
    return (q, p) if np.all((q == 0) | (p > 0)) else (q, (q + p) / 2)


def _laws_edges(given: Given) -> list[Inputs]:
    K = given.classes or 3
    one, even, skew = np.eye(K)[0], np.full(K, exactly(1 / K)), np.array([0.5 ** (k + 1) for k in range(K - 1)] + [0.5 ** (K - 1)])
    even[0] += 1 - even.sum()
    return [{"law_q": np.array([even, skew, skew]), "law_p": np.array([skew, even, skew])},
            {"law_q": np.array([one, skew]), "law_p": np.array([skew, skew[::-1]])}]


# -- the textbook's formulas ---------------------------------------------------------------------------------------------

def _symbols(inputs: Inputs, name: str) -> Array:
    return np.eye(inputs["classes"])[inputs[name]]


def _step(inputs: Inputs) -> Step:
    return step_of(inputs, ndim=1 + next(np.ndim(inputs[name]) for name in ("x_0", "x_t") if name in inputs))


def _row(inputs: Inputs) -> Row:
    return row_of(inputs, ndim=1 + next(np.ndim(inputs[name]) for name in ("x_0", "x_t") if name in inputs))


def _mixed(x: Any, kept: Terms, drawn: Terms, K: int) -> Terms:
    return kept * x + drawn / K


def _added(x: Terms) -> Terms:
    """The sum over classes."""
    error = np.broadcast_to(x.error, x.value.shape)
    return Terms(x.value.sum(axis=-1, keepdims=True), (error + np.abs(x.value)).sum(axis=-1, keepdims=True))


def _normalised(evidence: Terms, before: Terms, whole: Terms) -> Terms:
    """evidence · before, divided by their sum, which others take from Q̄_t: `whole` has the error that this has."""
    joint = evidence * before
    total = _added(joint)
    relative = (whole.error / whole.value * np.abs(joint.value)).sum(axis=-1, keepdims=True)
    return joint / Terms(total.value, total.error + relative)


def _posterior(row: Row, x_t: Array, x_0: Any, K: int) -> Terms:
    whole = _mixed(x_t, row.alpha_bar, 1 - row.alpha_bar, K)
    before = _mixed(x_0, row.alpha_bar_prev, 1 - row.alpha_bar_prev, K)
    clamped = Terms(before.value, np.where(before.value == 0, 1.0, before.error))             # a clamp of log 0 at t = 1
    return _normalised(_mixed(x_t, row.alpha, row.beta, K), clamped, whole)


def _softmax(logits: Array) -> Terms:
    weight = terms.exp(terms.exact(logits) - logits.max(axis=-1, keepdims=True))
    return weight / _added(weight)


def _reverse_scale(i: Inputs) -> tuple[Array, ...]:
    row, x_t, said, K = _row(i), _symbols(i, "x_t"), _softmax(i["logits"]), i["classes"]
    joint = _posterior(row, x_t, said, K)
    average = Terms(0 * said.value, 0 * said.value)
    for k in range(K):
        average = average + said[..., k:k + 1] * _posterior(row, x_t, np.eye(K)[k] + 0 * x_t, K)
    first = (i["t"] == 1).reshape((-1,) + (1,) * (x_t.ndim - 1))
    return scales({"joint": joint, "average": average, "joint_but_first": terms.where(first, said, joint)}[i["mixing"]])


def _kl_scale(i: Inputs) -> tuple[Array, ...]:
    """Σ q (|log q| + |log p|), and what laws lose that are given as logarithms, or as logits and normalised."""
    q, p = i["law_q"], i["law_p"]
    log_q, log_p = (np.abs(np.log(np.where(q > 0, law, 1.0))) for law in (q, p))
    normalised = (q * log_q + p * np.abs(np.log(np.where(p > 0, p, 1.0)))).sum(axis=-1, keepdims=True)
    return ((q * ((1 + log_q + normalised) * (log_q + log_p) + normalised)).sum(axis=-1),)


# -- gradients -----------------------------------------------------------------------------------------------------------

def _chain_rule(i: Inputs, of: Callable[[Step], tuple[Any, Callable[[Any], tuple[dict[str, Array], Step]]]],
                cotangents: tuple[Array, ...]) -> dict[str, Array]:
    """From a cotangent of a law to those of its arguments and of β."""
    level, back_level = schedule.log_alpha_bar_vjp(i["beta"])
    step, back_step = schedule.step_vjp(i["beta"], level, t=i["t"], ndim=np.ndim(cotangents[0]))
    _, back = of(step)
    found, dstep = back(Categorical(cotangents[0]))
    dbeta, dlevel = back_step(dstep)
    return found | {"beta": (dbeta + back_level(dlevel))[1:]}


def _posterior_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    def of(step: Step) -> Any:
        q, back = categorical.posterior_vjp(_symbols(i, "x_t"), _symbols(i, "x_0"), step.beta, step.log_alpha_bar_prev)
        return q, lambda dq: ({}, Step(back(dq)[2], back(dq)[3], np.zeros_like(step.log_alpha_bar)))

    return _chain_rule(i, of, cotangents)


def _reverse_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    def of(step: Step) -> Any:
        p, back = categorical.reverse_vjp(i["logits"], _symbols(i, "x_t"), step, mixing=i["mixing"])
        return p, lambda dp: ((lambda dlogits, _, dstep: ({"logits": dlogits}, dstep))(*back(dp)))

    return _chain_rule(i, of, cotangents)


# -- the clauses -----------------------------------------------------------------------------------------------------------

LAW = (Output("PROB", "law"),)
MATRIX = (Output("MATRIX", "matrix"),)

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "transition_matrix", "CAT.STEP", "Q_t = (1−β_t) I + β_t/K, rows are the class that is left: kept, or drawn anew",
        SOURCE, MATRIX, chain(), chain_edges(),
        lambda i: (categorical.transition(i["beta"][i["t"]], classes=i["classes"]),),
        lambda i: scales(_mixed(np.eye(i["classes"]), (row := row_of(i, ndim=3)).alpha, row.beta, i["classes"])),
        sizes=lambda inputs: 1),
    Quantity(
        "cumulative_matrix", "CAT.CUMULATIVE", "Q̄_t = Q_1 Q_2 … Q_t = ᾱ_t I + (1−ᾱ_t)/K", SOURCE, MATRIX, chain(), chain_edges(),
        lambda i: (categorical.cumulative(step_of(i, ndim=1).log_alpha_bar, classes=i["classes"]),),
        lambda i: scales(_mixed(np.eye(i["classes"]), (row := row_of(i, ndim=3)).alpha_bar, 1 - row.alpha_bar, i["classes"])),
        given=own_levels, after=("alpha_bar",), sizes=lambda inputs: 1),
    Quantity(
        "categorical_marginal", "CAT.MARG", "q(x_t | x_0) = ᾱ_t [x_0] + (1−ᾱ_t)/K, one number for each class", SOURCE, LAW,
        chain("x_0"), chain_edges("x_0"),
        lambda i: (categorical.marginal(_symbols(i, "x_0"), _step(i).log_alpha_bar).prob,),
        lambda i: scales(_mixed(_symbols(i, "x_0"), (row := _row(i)).alpha_bar, 1 - row.alpha_bar, i["classes"])),
        given=own_levels, after=("alpha_bar",)),
    Quantity(
        "categorical_posterior", "CAT.POST", "q(x_{t−1} | x_t, x_0) ∝ q(x_t | x_{t−1}) q(x_{t−1} | x_0), adding to 1",
        ("48", *SOURCE), LAW, chain("x_0", "x_t"), chain_edges("x_0", "x_t"),
        lambda i: (categorical.posterior(_symbols(i, "x_t"), _symbols(i, "x_0"), (step := _step(i)).beta,
                                         step.log_alpha_bar_prev).prob,),
        lambda i: scales(_posterior(_row(i), _symbols(i, "x_t"), _symbols(i, "x_0"), i["classes"])),
        given=own_levels, after=("alpha_bar",), vjp=_posterior_vjp, arguments=("beta",)),
    Quantity(
        "categorical_reverse", "CAT.REVERSE", "p(x_{t−1} | x_t) from logits of x_0, p̂ = softmax(logits):  "
        "Σ_k p̂_k q(x_{t−1} | x_t, k) (mixing 'average'), or ∝ Σ_k p̂_k q(x_{t−1}, x_t | k) ('joint'), with p̂ at "
        "t = 1 ('joint_but_first')", SOURCE, LAW,
        chain("x_t", logits=True), chain_edges("x_t", logits=True),
        lambda i: (categorical.reverse(i["logits"], _symbols(i, "x_t"), _step(i), mixing=i["mixing"]).prob,), _reverse_scale,
        given=own_levels, after=("alpha_bar", "categorical_posterior"), choices=("mixing",), vjp=_reverse_vjp,
        arguments=("logits", "beta")),
    Quantity(
        "categorical_kl", "CAT.KL", "D_KL(q ‖ p) = Σ_k q_k log(q_k/p_k), 0 log 0 = 0", ("14", *SOURCE),
        (Output("VALUE", "information"),), _laws, _laws_edges,
        lambda i: (categorical.kl(Categorical(i["law_q"]), Categorical(i["law_p"])),), _kl_scale,
        sizes=lambda inputs: 1),
)
