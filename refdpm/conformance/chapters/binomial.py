"""The binomial chain, Table App.1, right column: steps of independent bits, and what is measured between their laws.

The stationary rate r of ones is the input `rate`, a plain number.  A function that does not ask for it is held to have r = ½.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import binomial
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters.ends import BELOW, BIT, BOTH, LOGIT, chosen, close_logits, ends, law, rate, together, wide
from refdpm.conformance.chapters.inputs import (D, N, Given, Inputs, Strategy, arrays, chain, drawn, edge_schedules, listed, rates,
                                                spread_out, times_of)
from refdpm.conformance.chapters.quantity import Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import BETA, LEVEL, PREV, Theory, bit
from refdpm.textbook import bits as book
from refdpm.textbook.chain import row
from refdpm.textbook.expression import given
from refdpm.vjp import Array

LAW = (Output("PROB", "probability"),)
NATS = (Output("VALUE", "information"),)
X_PREV, X_0, X_T, R, X, NOISE = map(given, ("x_prev", "x_0", "x_t", "rate", "x", "noise"))
Q, P = (book.of_prob(given(name)) for name in ("q", "p"))


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

KERNELS = (
    Quantity(
        "binomial_forward", "BIN.FWD", "q(x_t = 1 | x_{t−1}) = x_{t−1} (1 − β_t) + r β_t", ("2", "App.1 B forward"), LAW,
        _chain("x_prev"), _edges("x_prev"), Theory(binomial.forward, binomial.forward_vjp, "x_prev", BETA, fixed=("rate",)),
        lambda i: (book.forward(X_PREV, row(), R).one,)),
    Quantity(
        "binomial_marginal", "BIN.MARG", "q(x_t = 1 | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) r", ("App.1 B marginal",), LAW,
        _chain("x_0"), _edges("x_0"), Theory(binomial.marginal, binomial.marginal_vjp, "x_0", LEVEL, fixed=("rate",)),
        lambda i: (book.marginal(X_0, row(), R).one,), given=own_levels, after=("alpha_bar",)),
    Quantity(
        "binomial_posterior", "BIN.POST", "q(x_{t−1} = 1 | x_t, x_0) = m q(x_t | 1)/[m q(x_t | 1) + (1 − m) q(x_t | 0)] with "
        "m = ᾱ_{t−1} x_0 + (1 − ᾱ_{t−1}) r; x_0 itself at t = 1", ("48", "App.1 B posterior"), LAW,
        _chain("x_0", "x_t"), _edges("x_0", "x_t"),
        Theory(binomial.posterior, binomial.posterior_vjp, "x_t", "x_0", BETA, PREV, fixed=("rate",)),
        lambda i: (book.posterior(X_T, X_0, row(), R).one,), given=own_levels, after=("alpha_bar",)),
)


# -- divergence, entropies, mass, draws ----------------------------------------------------------------------------------

RARE, RARER = 2.0 ** -13, 2.0 ** -30
SOME = arrays(N, D, low=RARE, high=1 - RARE)
TWO_LAWS = (                                            # the last two are certain of some bits
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
    Quantity(
        "binomial_kl", "BIN.KL", "D_KL(q ‖ p) = q log(q/p) + (1 − q) log((1 − q)/(1 − p)) per bit, with 0 · log 0 = 0",
        ("14", "App.1 B bound"), NATS, drawn(q=SOME, p=SOME), listed(*({"q": q, "p": p} for q, p in TWO_LAWS)),
        Theory(binomial.kl, binomial.kl_vjp, bit("q"), bit("p")), lambda i: (book.kl(Q, P),), arguments=("q", "p")),
    Quantity(
        "binomial_entropy", "BIN.ENT", "H(p) = −p log p − (1 − p) log(1 − p) per bit, with 0 · log 0 = 0", ("App.1 B bound",),
        NATS, drawn(p=SOME), listed(*({"p": q} for q, _ in TWO_LAWS)), Theory(binomial.entropy, binomial.entropy_vjp, bit("p")),
        lambda i: (book.entropy(P),), arguments=("p",)),
    Quantity(
        "binomial_cross_entropy", "BIN.CROSS", "−E_q log p = −q log p − (1 − q) log(1 − p) per bit", ("43", "46"),
        NATS, drawn(q=SOME, p=SOME), listed(*({"q": q, "p": p} for q, p in TWO_LAWS)),
        Theory(binomial.cross_entropy, binomial.cross_entropy_vjp, bit("q"), bit("p")), lambda i: (book.cross_entropy(Q, P),),
        arguments=("q", "p")),
    Quantity(
        "binomial_log_prob", "BIN.LOGP", "log p(x): log p of a one, log(1 − p) of a zero", ("App.1 B likelihood",),
        NATS, drawn(x=BITS, p=SOME), listed(*({"x": np.round(q), "p": p} for q, p in TWO_LAWS)),
        Theory(binomial.log_prob, binomial.log_prob_vjp, "x", bit("p")), lambda i: (book.log_prob(X, P),), arguments=("p",)),
    Quantity(
        "binomial_draw", "BIN.DRAW", "1 where noise, uniform on [0, 1), is below P(1), else 0", ("App.1 B forward",),
        (Output("X", "integer"),), drawn(p=_sixty_fourths(64, 0), noise=_sixty_fourths(63, 0.5)),
        listed(*({"p": np.round(q * 64) / 64, "noise": _between(q, n / 4)} for n, (q, _) in enumerate(TWO_LAWS))),
        Theory(binomial.draw, binomial.draw_vjp, bit("p"), fixed=("noise",)), lambda i: (book.draw(P, NOISE),)),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

SHARES = chosen(0.5, 0.2, 0.01)
ONE, OTHER = law(Bernoulli, LOGIT), law(Bernoulli, wide(1e-6, 40.0, signs=BOTH))

ENDS = {
    "binomial.prior": lambda rng, n: (((n, 1),), {"rate": SHARES(rng, n)[:, None]}),
    "binomial.forward": ends(BIT, rate, rate=SHARES), "binomial.marginal": ends(BIT, BELOW, rate=SHARES),
    "binomial.posterior": ends(BIT, BIT, rate, BELOW, rate=SHARES),
    "binomial.kl": together(lambda rng, n: tuple(map(Bernoulli, close_logits(rng, n)))), "binomial.cross_entropy": ends(ONE, OTHER),
    "binomial.entropy": ends(ONE), "binomial.log_prob": ends(BIT, ONE), "binomial.draw": ends(ONE, noise=wide(1e-6, 0.999))}

QUANTITIES: tuple[Quantity, ...] = (*KERNELS, *MEASURES)
