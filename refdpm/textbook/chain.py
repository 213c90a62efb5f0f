"""The schedule and the Gaussian chain as they are printed: levels, both kernels, their posterior, divergences and entropies.

Formulas are functions of expressions.  What they take of the schedule is a `Row`; `row` is that of a program with tables, and
`from_levels` that of a function of ℓ = log ᾱ.  `PAIRS` says which function of the package each formula judges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from refdpm.textbook.expression import (HALF, PI, E, above, column, cos, exp, less, log, log1p, node, slack, sqrt, square, term,
                                        where)


class Row(NamedTuple):
    """β_t, 1 − β_t, ᾱ_t, ᾱ_{t−1}, 1 − ᾱ_t and 1 − ᾱ_{t−1} of one step."""

    beta: E
    alpha: E
    alpha_bar: E
    alpha_bar_prev: E
    rest: E
    rest_prev: E


class Normal(NamedTuple):
    """A normal law."""

    mean: E
    var: E


def row(shift: int = 0, at: int | str | None = None) -> Row:
    """The columns of the schedule at t + shift, or at one step for all rows."""
    now, before = column("alpha_bar", shift, at), column("alpha_bar", shift - 1, at)
    return Row(column("beta", shift, at), column("alpha", shift, at), now, before, less(now), less(before))


def from_levels(beta: E | None = None, log_alpha_bar_prev: E | None = None, log_alpha_bar: E | None = None) -> Row:
    """The same from a rate and from ℓ_{t−1} or ℓ_t: 1 − ᾱ is one term of those, and ᾱ_t = ᾱ_{t−1} (1 − β_t)."""
    none = node(0)
    b, before = none if beta is None else beta, none if log_alpha_bar_prev is None else log_alpha_bar_prev
    now = log_alpha_bar if log_alpha_bar is not None else before + log1p(-b)
    if log_alpha_bar is not None:
        level, rest = term(exp, now, called="ᾱ_t"), term(lambda level: 1 - exp(level), now, called="1 − ᾱ_t")
    else:
        level = term(lambda level, b: exp(level) * (1 - b), before, b, called="ᾱ_t")
        rest = term(lambda level, b: 1 - exp(level) * (1 - b), before, b, called="1 − ᾱ_t")
    return Row(b, less(b), level, term(exp, before, called="ᾱ_{t−1}"), rest,
               term(lambda level: 1 - exp(level), before, called="1 − ᾱ_{t−1}"))


# -- kernels -----------------------------------------------------------------------------------------------------------

def forward(x_prev: E, row: Row) -> Normal:
    """q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t)."""
    return Normal(sqrt(row.alpha) * x_prev, row.beta)


def marginal(x_0: E, row: Row) -> Normal:
    """q(x_t | x_0) = N(√ᾱ_t x_0, 1 − ᾱ_t)."""
    return Normal(sqrt(row.alpha_bar) * x_0, row.rest)


def draw(law: Normal, noise: E) -> E:
    """mean + √var · noise."""
    return law.mean + sqrt(law.var) * noise


def small(row: Row) -> E:
    """β̃_t = β_t (1−ᾱ_{t−1})/(1−ᾱ_t)."""
    return row.beta * row.rest_prev / row.rest


def weights(row: Row) -> tuple[E, E]:
    """c_0 and c_t, the weights of x_0 and x_t in the posterior's mean."""
    return row.beta * sqrt(row.alpha_bar_prev) / row.rest, sqrt(row.alpha) * row.rest_prev / row.rest


def posterior(x_t: E, x_0: E, row: Row) -> Normal:
    """q(x_{t−1} | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃_t); β̃_1 = 0 is often given some tiny number."""
    c_0, c_t = weights(row)
    return Normal(c_0 * x_0 + c_t * x_t, small(row) + slack(row.beta))


# -- divergence, entropies, density --------------------------------------------------------------------------------------

def kl(q: Normal, p: Normal) -> E:
    """D_KL(q ‖ p) per component: neither of its two parts is negative, so that it is one term."""
    return term(lambda m, v, n, w: HALF * (log(w) - log(v) + (v + square(m - n)) / w - 1), q.mean, q.var, p.mean, p.var)


def entropy(var: E) -> E:
    """½ (1 + log 2π + log var)."""
    return HALF * (1 + log(2 * PI) + log(var))


def cross_entropy(q: Normal, p: Normal) -> E:
    """−E_q log p = ½ [log 2π + log p.var + (q.var + (q.mean − p.mean)²)/p.var]."""
    return HALF * (log(2 * PI) + log(p.var) + (q.var + square(q.mean - p.mean)) / p.var)


def log_prob(x: E, p: Normal) -> E:
    """−½ [log 2π + log var + (x − mean)²/var]."""
    return -HALF * (log(2 * PI) + log(p.var) + square(x - p.mean) / p.var)


# -- the schedule --------------------------------------------------------------------------------------------------------

def reciprocal(T: E, t: E) -> E:
    """β_t = 1/(T − t + 1)."""
    return 1 / (T - t + 1)


def linear(T: E, t: E, beta_1: E, beta_T: E) -> E:
    """β_1 + (β_T − β_1) (t−1)/(T−1), at T = 1 the first."""
    share = (t - 1) / where(above(T, 1), T - 1, 1)
    return (1 - share) * beta_1 + share * beta_T


def geometric(T: E, t: E, beta_1: E, beta_T: E) -> E:
    """β_1 (β_T/β_1)^((t−1)/(T−1))."""
    share = (t - 1) / where(above(T, 1), T - 1, 1)
    return exp((1 - share) * log(beta_1) + share * log(beta_T))


def cosine(T: E, t: E, offset: E, cap: E) -> E:
    """1 − cos²φ_t/cos²φ_{t−1} with φ_t = (π/2)(t/T + offset)/(1 + offset), and no more than cap."""
    def rate(T: E, t: E, offset: E) -> E:
        before, after = (square(cos(PI / 2 * (s / T + offset) / (1 + offset))) for s in (t - 1, t))
        return 1 - after / before

    found = term(rate, T, t, offset)
    return where(above(found, cap), cap, found)


# -- which pair of the package each formula judges -------------------------------------------------------------------------

PAIRS: dict[str, Callable[..., Any]] = {
    "gaussian.forward": lambda x_prev, beta: forward(x_prev, from_levels(beta)),
    "gaussian.marginal": lambda x_0, level: marginal(x_0, from_levels(log_alpha_bar=level)),
    "gaussian.posterior": lambda x_t, x_0, beta, level: posterior(x_t, x_0, from_levels(beta, level)),
    "gaussian.kl": kl,
    "gaussian.entropy": lambda q: entropy(q.var),
    "gaussian.cross_entropy": cross_entropy,
    "gaussian.log_prob": log_prob,
    "gaussian.draw": lambda law, *, noise: draw(law, node(noise)),
}
