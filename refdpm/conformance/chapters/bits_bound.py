"""K for bits: the divergence of a step and the sum.

The network puts out the logit of p(x_{t−1} = 1 | x_t).  The states x_t are given and not drawn: a bit on the edge would fall on
either side in different precisions.  π has the rate r of ones.
"""

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import numpy as np

from refdpm import binomial, bound
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.binomial import BITS, bits
from refdpm.conformance.chapters.bound import own_kl, shown
from refdpm.conformance.chapters.inputs import (D, N, Given, Inputs, chain, drawn_with, edge_network, network, on_schedules,
                                                ordinary_then_wide, spread_out, tame_first, times_of)
from refdpm.conformance.chapters.quantity import Ask, ByHand, Output, Quantity, page_of
from refdpm.conformance.chapters.theory import Take, Theory, as_planted
from refdpm.layers.linear import per_step_vjp
from refdpm.schedule import Step
from refdpm.textbook import bits as book
from refdpm.textbook.chain import row
from refdpm.textbook.expression import E, gathered, given, total
from refdpm.textbook.layers import linear
from refdpm.textbook.page import Page
from refdpm.vjp import Array, Pullback, fix

TOTAL = (Output("VALUE", "total"),)
RATES = (0.5, 0.5, 0.25, 0.875)
X_0, X_T, R = map(given, ("x_0", "x_t", "rate"))


# -- inputs ------------------------------------------------------------------------------------------------------------

def _edge_bits(*shape: int, start: float = 0.0) -> Array:
    return (spread_out(*shape, start=start) < 0).astype(float)


def _rated(betas: list[Array]) -> Iterator[tuple[int, Array, float]]:
    """Each at ½, with the number of components, and the first few at other rates, last, because not everybody has one."""
    yield from ((components, beta, RATES[0]) for components, beta in ordinary_then_wide(betas))
    yield from ((D, beta, rate) for beta, rate in zip(betas, RATES[2:]))


RATE, NETWORK_OF_BITS = draws.one_of(RATES), partial(network, outputs=D)
STEP = drawn_with(chain(low=2, x_0=BITS, x_t=BITS, rate=RATE), model=NETWORK_OF_BITS)
PATH = drawn_with(on_schedules(x_0=BITS, rate=RATE), x_t=lambda T: bits(T, N, D), model=NETWORK_OF_BITS)


def _step_edges(given: Given) -> list[Inputs]:
    return [{"x_0": _edge_bits(len(t), components), "x_t": _edge_bits(len(t), components, start=0.3), "t": t, "beta": beta,
             "rate": rate, "model": edge_network(len(beta) - 1, components=components, heads=1)}
            for components, beta, rate in _rated(tame_first(given, low=2)) for t in [times_of(beta, low=2)]]


def _path_edges(given: Given) -> list[Inputs]:
    return [{"x_0": _edge_bits(N, components), "beta": beta, "rate": rate,
             "x_t": _edge_bits(len(beta) - 1, N, components, start=0.3),
             "model": edge_network(len(beta) - 1, components=components, heads=1)}
            for components, beta, rate in _rated(tame_first(given))]


# -- the theory ----------------------------------------------------------------------------------------------------------

def _reverse_vjp(parameters: tuple[Array, Array, Array], x_t: Array, step: Step, *, t: Array) -> tuple[Bernoulli, Pullback]:
    """The network as the reverse step; what is added to its output is the last of its parameters."""
    weight, bias, more = parameters
    logit, back = per_step_vjp(x_t, weight, bias, t=t)
    return Bernoulli(logit + more), lambda dp: ((*back(dp.logit)[1:], dp.logit), None, None)


NETWORK = SimpleNamespace(reverse_vjp=_reverse_vjp)
PARAMETERS = Take(lambda i: (i["model"].weight, i["model"].bias, np.zeros(())),
                  lambda i, d: dict(zip(("weight", "bias", "output"), d)))


def _at(x_t: Array, i: Inputs) -> SimpleNamespace:
    """The binomial kernel whose draw is x_t."""
    given = {"draw": lambda q, noise: x_t, "draw_vjp": lambda q, noise: (x_t, None)}
    return SimpleNamespace(**vars(fix(binomial, rate=i["rate"])) | given)


STEP_KL = Theory(bound.network_kl, PARAMETERS, fixed=("beta", "x_0", "t"), noise=lambda i: i["x_t"],
                 kernel=lambda i: _at(i["x_t"], i), network=lambda i: NETWORK)


def _bound(i: Inputs) -> tuple[Array, ...]:
    """K of the terms, of which the adapter's own divergences take the place of ours where they are shown."""
    T, x_0 = len(i["beta"]) - 1, i["x_0"]
    t = bound.every_step(T, len(x_0))
    x_t = i["x_t"][t[:, 0] - 1]
    parts = as_planted(bound.terms)(PARAMETERS.make(i), i["beta"], x_0, noise=x_t, t=t, network=NETWORK,
                                    kernel=_at(x_t.reshape(-1, *x_0.shape[1:]), i))
    return (as_planted(bound.assemble)(parts._replace(kl=i["own_kl"][0]) if "own_kl" in i else parts, T=T),)


def _own_kl(i: Inputs, ask: Ask) -> Inputs:
    return shown(own_kl=own_kl(i, ask, "binomial_step_kl", "x_t"))


# -- the clauses -----------------------------------------------------------------------------------------------------------

def _reverse(x_t: E) -> book.Bit:
    return book.of_prob(book.sigmoid(linear(x_t, gathered("weight"), gathered("bias"))))


def _step_kl(i: Inputs) -> E:
    return book.step_kl(X_T, X_0, row(), R, _reverse)


def _K(i: Inputs) -> tuple[E, ...]:
    kl = total(given("own_kl"), "answers", (0,)) if "own_kl" in i else _step_kl(i)
    return (book.bound(kl, X_0, row(at=1), row(at="T"), R),)


def _steps(i: Inputs) -> Page:
    """Rows are t = 2..T."""
    found = page_of(i, x_t=i["x_t"][1:])
    return Page(found.given, beta=i["beta"], t=np.arange(2, len(i["beta"])), ndim=3, steps=True)


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "binomial_step_kl", "BIT.STEP", "KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) of bits, t ≥ 2, π(1) = rate; the "
        "model's output is the logit of p(x_{t−1} = 1 | x_t)", ("14", "App.1 B bound"), TOTAL, STEP, _step_edges, STEP_KL,
        _step_kl, arguments=("output", "weight", "bias")),
    Quantity(
        "binomial_bound", "BIT.K", "K = −Σ_{t=2}^T KL + H(x_T | x_0) − H(x_1 | x_0) − H(π) of bits, π(1) = rate, x_t (T, N, …) "
        "given, x_t[t−1] for t; the model's output is the logit of p(x_{t−1} = 1 | x_t)", ("14", "App.1 B bound"), TOTAL, PATH,
        _path_edges, ByHand(_bound), _K, given=_own_kl, after=("binomial_step_kl",), page=_steps),
)
