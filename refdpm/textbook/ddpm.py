"""The bound of Ho, Jain and Abbeel as it is printed: KL(q(x_T | x_0) ‖ π) + Σ_{t≥2} KL at t − log P(x_0 | x_1), and its ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refdpm.textbook.bound import AFTER, NOISE, over_steps, per_example, step_kl
from refdpm.textbook.chain import Normal, Row, draw, from_levels, kl, marginal, row, small
from refdpm.textbook.decoder import Grid, grid_of, level, log_mass
from refdpm.textbook.expression import HALF, PI, E, also, count, forms, given, log, log1p, move, node, square, term, total
from refdpm.textbook.layers import per_step
from refdpm.textbook.prediction import Heads, heads_of, last_step, reverse


class Terms(NamedTuple):
    """The terms of the bound: kl (S, N), the others (N,)."""

    prior: E
    kl: E
    decoder: E


# -- the two ends ------------------------------------------------------------------------------------------------------

def prior_kl(x_0: E, row: Row) -> E:
    """D_KL(q(x_T | x_0) ‖ N(0, 1)) = ½ [ᾱ x_0² − ᾱ − log(1−ᾱ)], which is small where ᾱ is."""
    printed = term(lambda x_0, level: HALF * (level * square(x_0) - level - log1p(-level)), x_0, row.alpha_bar)
    return forms(printed, kl(marginal(x_0, row), Normal(node(0), node(1))))


def edge(x_0: E, row: Row) -> E:
    """E log N(x_0; √(1−β_1) x_1, β_1) = −½ [log 2π + log β_1 + β_1 x_0² + 1 − β_1]."""
    return -HALF * (log(2 * PI) + log(row.beta) + row.beta * square(x_0) + row.alpha)


def decoder(x_0: E, k: E, grid: Grid, noise: E, last: Callable[[E], Normal], mass: Callable[..., E] = log_mass) -> E:
    """−log P(x_0 | x_1) of each example at x_1 = √ᾱ_1 x_0 + √(1−ᾱ_1) ε; `last` is the law of the last step, given x_1."""
    p = last(draw(marginal(x_0, row(at=1)), noise))
    return -per_example(mass(x_0, p, k, grid))


# -- the bound ---------------------------------------------------------------------------------------------------------

def assemble(terms: Any, T: Any) -> E:
    """The bound from its terms, of which terms.kl are some of those of the sum over t."""
    return terms.prior + over_steps(terms.kl, T) + terms.decoder


def whole(terms: Terms) -> E:
    """The bound from all its terms."""
    return also(terms.prior + total(terms.kl, "steps", (0,)) + terms.decoder, total(table(terms), "steps", (0,)) + terms.prior)


def table(terms: Terms) -> E:
    """The terms of t = 1..T, in that order."""
    first = move(terms.decoder, "at t = 1 ", lambda i, shape: np.concatenate([i[None], np.zeros(shape, dtype=i.dtype)]), terms.kl)
    return first + move(terms.kl, "at t = 2..T ", lambda i: np.pad(i, ((1, 0), (0, 0))))


def per_dimension(nats: E, x: E, per_unit: Any = 1) -> E:
    """nats/(D log 2) + log₂(levels in a unit), for examples like those of x, of D components."""
    components = count(x, "components", AFTER[0])
    in_bits = also(nats / (components * log(2)), nats / components / log(2), nats / log(2) / components)
    return in_bits + log(per_unit) / log(2)


# -- which pair of the package each formula judges -------------------------------------------------------------------------

def _heads(parameters: Any, x_t: E, t: Any) -> Heads:
    return heads_of(per_step(x_t, parameters.weight, parameters.bias, t), x_t)


def _decoder(parameters: Any, k: Any, grid: Any, noise: E, model: Any) -> E:
    def last(x_1: E) -> Normal:
        heads = _heads(parameters, x_1, np.ones(len(k), dtype=int))
        return last_step(heads, x_1, row(at=1), predicts=model.predicts, variance=model.variance, first=model.first)

    levels = grid_of(grid)
    return decoder(level(node(k), levels), node(k), levels, noise, last)


def _terms(parameters: Any, beta: E, *, k: Any, grid: Any, noise: Any, noise_1: Any, t: Any, model: Any) -> Terms:
    def of_network(x_t: E) -> Normal:
        return reverse(_heads(parameters, x_t, t), x_t, row(), small(row()), predicts=model.predicts, variance=model.variance)

    x_0 = level(node(k), grid_of(grid))
    return Terms(per_example(prior_kl(x_0, row(at="T"))), step_kl(x_0, NOISE, row(), of_network, examples=1),
                 _decoder(parameters, k, grid, given("noise_1"), model))


PAIRS: dict[str, Callable[..., Any]] = {
    "later.objective.prior_kl": lambda x_0, level: prior_kl(x_0, from_levels(log_alpha_bar=level)),
    "later.objective.edge": lambda x_0, beta_1: edge(x_0, from_levels(beta_1)),
    "later.objective.decoder": lambda parameters, beta, *, k, grid, noise, model: _decoder(parameters, k, grid, NOISE, model),
    "later.objective.terms": _terms,
    "later.objective.assemble": lambda terms, *, T: assemble(terms, T),
    "later.objective.per_dimension": lambda nats, *, k, per_unit=1.0: per_dimension(nats, node(k), node(per_unit)),
}
