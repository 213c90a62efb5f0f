"""Clauses of the binomial chain, Table App.1, right column: steps of independent bits, and what is measured between their laws.

The stationary rate r of ones is the input `rate`, a plain number.  A function that does not ask for it is held to have r = ½.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import binomial
from refdpm.activation import logit
from refdpm.binomial import Bernoulli
from refdpm.conformance import terms
from refdpm.conformance.families.common import (D, N, Function, Given, Inputs, Output, Row, Strategy, arrays, chain, drawn,
                                               edge_schedules, listed, own_levels, rates, row_of, scales, spread_out, step_of,
                                               times_of)
from refdpm.conformance.terms import Terms
from refdpm.vjp import Array

LAW = (Output("PROB", "probability"),)
NATS = (Output("VALUE", "information"),)
CERTAIN = 750.0                                     # the logit of a bit that is certain: e^−750 is 0
UNSEEN = 2.0 ** -24                                 # a cut-off this small, of what is to be rounded, is no mistake


def _bernoulli(p: Array) -> Bernoulli:
    with np.errstate(divide="ignore"):
        return Bernoulli(np.clip(logit(p), -CERTAIN, CERTAIN))


# -- inputs ------------------------------------------------------------------------------------------------------------

BITS = npst.arrays(np.float64, (N, D), elements=st.sampled_from([0.0, 1.0]))
RATE = st.sampled_from([0.5, 0.25, 0.875])
COLUMNS = {"x_prev": (0, 1, 0, 1), "x_0": (0, 0, 1, 1), "x_t": (0, 1, 0, 1)}          # all pairs, one to a column


def _chain(*names: str) -> Callable[[Given], Strategy]:
    strategies: dict[str, Any] = {name: BITS for name in names}
    return chain(rate=RATE, **strategies)


def _edges(*names: str) -> Callable[[Given], list[Inputs]]:
    """Every t of the schedules of the edges with every pair of bits, at r = ½ and at two more; β_T = 1 besides; once images."""
    def edges(given: Given) -> list[Inputs]:
        betas = edge_schedules(given)
        reciprocal = [] if given.beta is not None else [rates(1 / np.arange(5, 0, -1.0))]
        found = [_at(names, beta, 0.5) for beta in [*betas, *reciprocal]]
        found += [_at(names, beta, rate) for beta, rate in zip(betas[:2] + reciprocal, (0.1875, 0.875, 0.25))]
        t = np.array([len(betas[0]) - 1, 1, min(2, len(betas[0]) - 1)])
        images = {name: np.where(spread_out(3, 4, 5, 2, start=0.3 * n) > 0, 1.0, 0.0) for n, name in enumerate(names)}
        return [*found, images | {"t": t, "beta": betas[0], "rate": 0.5}]
    return edges


def _at(names: tuple[str, ...], beta: Array, rate: float) -> Inputs:
    t = times_of(beta)
    states = {name: np.tile(np.array(COLUMNS[name], dtype=np.float64), (len(t), 1)) for name in names}
    return states | {"t": t, "beta": beta, "rate": rate}


# -- kernels -----------------------------------------------------------------------------------------------------------

def _either(x: Array, kept: Terms, drawn_: Terms, r: float) -> tuple[Terms, Terms]:
    """P(1) and P(0) of a bit that is x with probability `kept`, and else drawn anew: each a sum of positive terms."""
    one, zero = drawn_ * r, drawn_ * (1 - r)
    return terms.where(x == 1, kept + one, one), terms.where(x == 0, kept + zero, zero)


def _forward(i: Inputs) -> Terms:
    row = row_of(i)
    return _either(i["x_prev"], row.alpha, row.beta, i["rate"])[0]


def _marginal(i: Inputs) -> Terms:
    row = row_of(i)
    return _either(i["x_0"], row.alpha_bar, 1 - row.alpha_bar, i["rate"])[0]


def _posterior(i: Inputs) -> Terms:
    """m_1 q(x_t | 1) over its sum with m_0 q(x_t | 0), where m is the law of x_{t−1} given x_0."""
    row, r = row_of(i), i["rate"]
    m_1, m_0 = _either(i["x_0"], row.alpha_bar_prev, 1 - row.alpha_bar_prev, r)
    one, zero = m_1 * _seen(i["x_t"], row, 1, r), m_0 * _seen(i["x_t"], row, 0, r)
    return one / (one + zero) + Terms(0 * row.beta.value, UNSEEN * row.beta.value)


def _seen(x_t: Array, row: Row, before: int, r: float) -> Terms:
    """q(x_t | x_{t−1} = before), of a zero as 1 − that of a one."""
    one, _ = _either(np.full_like(x_t, before), row.alpha, row.beta, r)
    return terms.where(x_t == 1, one, 1 - one)


def _posterior_reference(i: Inputs) -> tuple[Array, ...]:
    step = step_of(i)
    with np.errstate(divide="ignore"):                                  # t = 1
        return (binomial.posterior(i["x_t"], i["x_0"], step.beta, step.log_alpha_bar_prev, rate=i["rate"]).prob,)


KERNELS = (
    Function(
        "binomial_forward", "BIN.FWD", "q(x_t = 1 | x_{t−1}) = x_{t−1} (1 − β_t) + r β_t", ("2", "App.1 B forward"), LAW,
        _chain("x_prev"), _edges("x_prev"),
        lambda i: (binomial.forward(i["x_prev"], step_of(i).beta, rate=i["rate"]).prob,), lambda i: scales(_forward(i))),
    Function(
        "binomial_marginal", "BIN.MARG", "q(x_t = 1 | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) r", ("App.1 B marginal",), LAW,
        _chain("x_0"), _edges("x_0"),
        lambda i: (binomial.marginal(i["x_0"], step_of(i).log_alpha_bar, rate=i["rate"]).prob,), lambda i: scales(_marginal(i)),
        given=own_levels, after=("alpha_bar",)),
    Function(
        "binomial_posterior", "BIN.POST", "q(x_{t−1} = 1 | x_t, x_0) = m q(x_t | 1)/[m q(x_t | 1) + (1 − m) q(x_t | 0)] with "
        "m = ᾱ_{t−1} x_0 + (1 − ᾱ_{t−1}) r; x_0 itself at t = 1", ("48", "App.1 B posterior"), LAW,
        _chain("x_0", "x_t"), _edges("x_0", "x_t"), _posterior_reference, lambda i: scales(_posterior(i)),
        given=own_levels, after=("alpha_bar",)),
)


# -- divergence, entropies, mass, draws ----------------------------------------------------------------------------------

def _laws(i: Inputs) -> tuple[Bernoulli, Bernoulli]:
    return _bernoulli(i["q"]), _bernoulli(i["p"])


def _over_bits(q: Array, p: Array, term: Callable[[Terms, Terms], Terms]) -> Terms:
    """term(q, p) for ones and for zeros; none for what q never does, 0 · log 0 = 0."""
    one, other = terms.exact(q), terms.exact(p)
    return _where_seen(one, other, term) + _where_seen(1 - one, 1 - other, term)


def _where_seen(q: Terms, p: Terms, term: Callable[[Terms, Terms], Terms]) -> Terms:
    seen = q.value > 0
    return terms.where(seen, term(terms.where(seen, q, 1.0), terms.where(seen, p, 1.0)), 0.0)


def _relative(q: Terms, p: Terms) -> Terms:
    """q log(q/p), of a quotient that is rounded before, or of a difference of logarithms."""
    return q * (terms.log(q) - terms.log(p) + Terms(0.0, 1.0))


def _missed(q: Terms, p: Terms) -> Terms:
    return q * terms.log(p)


def _by_probability(dlaw: Bernoulli, p: Array) -> Array:
    """The gradient with respect to P(1) from the one with respect to its logit."""
    with np.errstate(all="ignore"):
        return np.asarray(dlaw.logit / (p * (1 - p)))


def _pair(i: Inputs, cotangents: tuple[Bernoulli, Bernoulli]) -> dict[str, Array]:
    return {name: _by_probability(dlaw, i[name]) for name, dlaw in zip(("q", "p"), cotangents)}


def _entropy_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    return {"p": _by_probability(binomial.entropy_vjp(_bernoulli(i["p"]))[1](*cotangents), i["p"])}


def _log_prob_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    _, dp = binomial.log_prob_vjp(i["x"], _bernoulli(i["p"]))[1](*cotangents)
    return {"p": _by_probability(dp, i["p"])}


RARE, RARER = 2.0 ** -13, 2.0 ** -30
SOME = arrays(N, D, low=RARE, high=1 - RARE)
PAIRS = (                                            # the last two are certain of some bits
    (spread_out(N, 4, low=0.02, high=0.98), spread_out(N, 4, start=0.4, low=0.02, high=0.98)),
    (np.array([[RARE, 1 - RARE, 0.5], [RARE, 0.25, 1 - RARE]]),
     np.array([[1 - RARE, 0.5, RARE], [2 * RARE, 0.2578125, 1 - 2 * RARE]])),
    (np.array([[0.25, RARER, RARER], [0.5, 0.75, 2 * RARER]]), np.array([[RARER, 0.25, RARE], [RARER / 16, RARE, RARER]])),
    (np.array([[0.0, 1, 0], [1, 0, 1]]), np.array([[0.0, 1, 0.25], [0.25, 0.875, 0.875]])),
    (np.array([[0.0, 1, 0.25], [1, 0, 1]]), np.array([[0.0, 1, 0.25], [1, 0, 1]])))


def _sixty_fourths(highest: int, more: float) -> Strategy:
    return npst.arrays(np.int64, (N, D), elements=st.integers(0, highest)).map(lambda k: (k + more) / 64)


def _between(p: Array, start: float) -> Array:
    """Noise that meets no multiple of 1/64."""
    return (np.floor(spread_out(*p.shape, start=start, low=0, high=64)) + 0.5) / 64


MEASURES = (
    Function(
        "binomial_kl", "BIN.KL", "D_KL(q ‖ p) = q log(q/p) + (1 − q) log((1 − q)/(1 − p)) per bit, with 0 · log 0 = 0",
        ("14", "App.1 B bound"), NATS, drawn(q=SOME, p=SOME), listed(*({"q": q, "p": p} for q, p in PAIRS)),
        lambda i: (binomial.kl(*_laws(i)),), lambda i: scales(_over_bits(i["q"], i["p"], _relative)),
        vjp=lambda i, c: _pair(i, binomial.kl_vjp(*_laws(i))[1](*c)), arguments=("q", "p")),
    Function(
        "binomial_entropy", "BIN.ENT", "H(p) = −p log p − (1 − p) log(1 − p) per bit, with 0 · log 0 = 0", ("App.1 B bound",),
        NATS, drawn(p=SOME), listed(*({"p": q} for q, _ in PAIRS)),
        lambda i: (binomial.entropy(_bernoulli(i["p"])),), lambda i: scales(_over_bits(i["p"], i["p"], _missed)),
        vjp=_entropy_vjp, arguments=("p",)),
    Function(
        "binomial_cross_entropy", "BIN.CROSS", "−E_q log p = −q log p − (1 − q) log(1 − p) per bit", ("43", "46"),
        NATS, drawn(q=SOME, p=SOME), listed(*({"q": q, "p": p} for q, p in PAIRS)),
        lambda i: (binomial.cross_entropy(*_laws(i)),), lambda i: scales(_over_bits(i["q"], i["p"], _missed)),
        vjp=lambda i, c: _pair(i, binomial.cross_entropy_vjp(*_laws(i))[1](*c)), arguments=("q", "p")),
    Function(
        "binomial_log_prob", "BIN.LOGP", "log p(x): log p of a one, log(1 − p) of a zero", ("App.1 B likelihood",),
        NATS, drawn(x=BITS, p=SOME), listed(*({"x": np.round(q), "p": p} for q, p in PAIRS)),
        lambda i: (binomial.log_prob(i["x"], _bernoulli(i["p"])),), lambda i: scales(_over_bits(i["x"], i["p"], _missed)),
        vjp=_log_prob_vjp, arguments=("p",)),
    Function(
        "binomial_draw", "BIN.DRAW", "1 where noise, uniform on [0, 1), is below P(1), else 0", ("App.1 B forward",),
        (Output("X", "integer"),), drawn(p=_sixty_fourths(64, 0), noise=_sixty_fourths(63, 0.5)),
        listed(*({"p": np.round(q * 64) / 64, "noise": _between(q, n / 4)} for n, (q, _) in enumerate(PAIRS))),
        lambda i: (binomial.draw(_bernoulli(i["p"]), noise=i["noise"]),), lambda i: (np.ones(i["p"].shape),)),
)

FUNCTIONS: tuple[Function, ...] = (*KERNELS, *MEASURES)
