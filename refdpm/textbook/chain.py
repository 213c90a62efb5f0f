"""The schedule and the Gaussian chain as they are printed: levels, both kernels, their posterior, divergences and entropies.

Formulas are functions of expressions.  What they take of the schedule is a `Row`; `row` is that of a program with tables, and
`from_levels` that of a function of ℓ = log ᾱ.  `PAIRS` says which function of the package each formula judges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refdpm.textbook.expression import (HALF, PI, At, E, above, also, column, cos, counting, exp, forms, joined, less, log, log1p,
                                        move, named, node, running, slack, sqrt, square, term, where)
from refdpm.textbook.layers import sigmoid


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


def row(shift: int = 0, at: At = None) -> Row:
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


def of_step(step: Any) -> Row:
    """The same from the columns of a `Step` of the package."""
    return from_levels(step.beta, step.log_alpha_bar_prev)


# -- kernels -----------------------------------------------------------------------------------------------------------

def forward(x_prev: E, row: Row) -> Normal:
    """q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t)."""
    return Normal(sqrt(row.alpha) * x_prev, row.beta)


def marginal(x_0: E, row: Row) -> Normal:
    """q(x_t | x_0) = N(√ᾱ_t x_0, 1 − ᾱ_t)."""
    return Normal(sqrt(row.alpha_bar) * x_0, row.rest)


@named
def draw(law: Normal, noise: E) -> E:
    """mean + √var · noise."""
    return law.mean + sqrt(law.var) * noise


def small(row: Row) -> E:
    """β̃_t = β_t (1−ᾱ_{t−1})/(1−ᾱ_t)."""
    return row.beta * row.rest_prev / row.rest


def weights(row: Row) -> tuple[E, E]:
    """c_0 and c_t, the weights of x_0 and x_t in the posterior's mean."""
    return row.beta * sqrt(row.alpha_bar_prev) / row.rest, sqrt(row.alpha) * row.rest_prev / row.rest


@named
def posterior(x_t: E, x_0: E, row: Row) -> Normal:
    """q(x_{t−1} | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃_t); β̃_1 = 0 is often given some tiny number."""
    c_0, c_t = weights(row)
    return Normal(c_0 * x_0 + c_t * x_t, small(row) + slack(row.beta))


def posterior_by_gain(x_t: E, x_0: E, row: Row) -> Normal:
    """The same of a prior of x_{t−1}, to which x_t is a measurement of √(1−β_t) x_{t−1} with variance β_t, by the gain."""
    prior, scale = Normal(sqrt(row.alpha_bar_prev) * x_0, row.rest_prev), sqrt(row.alpha)
    gain = prior.var * scale / (square(scale) * prior.var + row.beta)
    return Normal(prior.mean + gain * (x_t - scale * prior.mean), (1 - gain * scale) * prior.var)


# -- divergence, entropies, density --------------------------------------------------------------------------------------

@named
def kl(q: Normal, p: Normal) -> E:
    """D_KL(q ‖ p) per component: neither of its two parts is negative, so that it is one term."""
    def printed(m: E, v: E, n: E, w: E) -> E:
        far, log_v, log_w, ratio = square(m - n), log(v), log(w), v / w
        return also(HALF * (log_w - log_v + (v + far) / w - 1), HALF * (log(w / v) + v / w + far / w - 1),
                    HALF * (log_w - log_v + exp(log_v - log_w) + far * exp(-log_w) - 1), HALF * (ratio - 1 - log(ratio) + far / w))

    return term(printed, q.mean, q.var, p.mean, p.var)


@named
def entropy(var: E) -> E:
    """½ (1 + log 2π + log var)."""
    return also(HALF * (1 + log(2 * PI) + log(var)), HALF * (1 + log(2 * PI * var)), HALF * log(2 * PI * exp(node(1)) * var))


@named
def cross_entropy(q: Normal, p: Normal) -> E:
    """−E_q log p = ½ [log 2π + log p.var + (q.var + (q.mean − p.mean)²)/p.var]."""
    far = square(q.mean - p.mean)
    return also(HALF * (log(2 * PI) + log(p.var) + (q.var + far) / p.var),
                HALF * (log(2 * PI * p.var) + q.var / p.var + far / p.var))


@named
def log_prob(x: E, p: Normal) -> E:
    """−½ [log 2π + log var + (x − mean)²/var]."""
    far = square(x - p.mean)
    return also(-HALF * (log(2 * PI) + log(p.var) + far / p.var), -HALF * (log(2 * PI * p.var) + far / p.var),
                -HALF * far / p.var - HALF * log(p.var) - HALF * log(2 * PI))


# -- the schedule --------------------------------------------------------------------------------------------------------

def table(rates: E) -> E:
    """β_0 = 0 in front of the rates."""
    return move(rates, "0 in front of", lambda i: np.append(0, i))


def reciprocal(T: E) -> E:
    """β_t = 1/(T − t + 1)."""
    return 1 / (T - counting(T) + 1)


def share(T: E) -> E:
    """(t − 1)/(T − 1); 0/0 counts as 0, for T = 1."""
    return (counting(T) - 1) / (T - 1)


def linear(T: E, beta_1: E, beta_T: E) -> E:
    """β_t = β_1 + (β_T − β_1) (t − 1)/(T − 1)."""
    return beta_1 + (beta_T - beta_1) * share(T)


def geometric(T: E, beta_1: E, beta_T: E) -> E:
    """log β_t = log β_1 + (log β_T − log β_1) (t − 1)/(T − 1)."""
    return exp(log(beta_1) + (log(beta_T) - log(beta_1)) * share(T))


def cosine(T: E, offset: E, cap: E) -> E:
    """β_t = 1 − f(t)/f(t−1), f(t) = cos²[(π/2)(t/T + offset)/(1 + offset)], cut to 0 … `cap`; it is never below 0."""
    def rate(T: E, offset: E) -> E:
        steps = counting(T + 1) - 1
        f = square(cos((steps / T + offset) / (1 + offset) * PI / 2))
        return 1 - move(f, "from t = 1 on", lambda i: i[1:]) / move(f, "up to T − 1", lambda i: i[:-1])

    rates = term(rate, T, offset)
    at_most = where(above(rates, cap), cap, rates)
    return also(where(above(0, rates), 0, at_most), at_most, cut_off=True)


def linear_for(T: E, beta_1: E, beta_T: E, cap: E) -> E:
    """The linear schedule from 1000/T β_1 to 1000/T β_T, cut to `cap`."""
    rates = 1000 / T * linear(T, beta_1, beta_T)
    return where(above(rates, cap), cap, rates)


def to_zero(t: E) -> E:
    """1 − (r_t/r_{t−1})² with r_t = √ᾱ_t − √ᾱ_T, which some stretch first; at t = 1 what it was."""
    def root(shift: int, at: At = None) -> E:
        return term(lambda now, last: sqrt(now) - sqrt(last), column("alpha_bar", shift, at), column("alpha_bar", at="T"))

    stretch = sqrt(column("alpha_bar", at=1)) / root(0, 1)
    level = square(root(0) * stretch)
    kept = forms(square(root(0) / root(-1)), level / square(root(-1) * stretch))
    return where(above(2, t), forms(column("beta"), less(level)), less(kept))


def learned(logit_beta: E, beta_1: E) -> E:
    """β_1 as it is given, then 1/(1 + exp(−logit β_t))."""
    return joined(move(beta_1, "alone", lambda i: i.reshape(1)), sigmoid(logit_beta))


def logits_of(row: Row) -> E:
    """log β_t − log(1 − β_t)."""
    return log(row.beta) - log(row.alpha)


def respaced(times: tuple[int, ...]) -> E:
    """1 − ᾱ_t/ᾱ_s for every kept t, with s the one kept before."""
    return less(column("alpha_bar", at=times) / column("alpha_bar", at=(0, *times[:-1])))


def alpha_bar(beta: E) -> E:
    """ᾱ_t = ∏_{s≤t} (1 − β_s)."""
    return exp(log_alpha_bar(beta))


def log_alpha_bar(beta: E) -> E:
    """ℓ_t = Σ_{s≤t} log(1 − β_s), where β_0 counts for nothing."""
    return move(running(log1p(-move(beta, "from t = 1 on", lambda i: i[1:]))), "0 in front of", lambda i: np.append(0, i))


def step(beta: E, level: E, t: Any, ndim: int) -> tuple[E, E, E]:
    """β_t, ℓ_{t−1} and ℓ_t as columns."""
    def at(x: E, shift: int) -> E:
        return move(x, "at t − 1" if shift else "at t", lambda i: i[np.asarray(t) + shift].reshape((-1,) + (1,) * (ndim - 1)))

    return at(beta, 0), at(level, -1), at(level, 0)


# -- which pair of the package each formula judges -------------------------------------------------------------------------

def shares(beta: E, log_alpha_bar_prev: E) -> tuple[E, E, E]:
    """ᾱ_{t−1}, 1 − ᾱ_{t−1} and 1 − ᾱ_t."""
    row = from_levels(beta, log_alpha_bar_prev)
    return row.alpha_bar_prev, row.rest_prev, row.rest


PAIRS: dict[str, Callable[..., Any]] = {
    "schedule.reciprocal": lambda T: table(reciprocal(T)),
    "schedule.linear": lambda T, *, beta_1, beta_T: table(linear(T, node(beta_1), node(beta_T))),
    "schedule.geometric": lambda T, *, beta_1, beta_T: table(geometric(T, node(beta_1), node(beta_T))),
    "schedule.cosine": lambda T, *, offset=0.008, cap=0.999: table(cosine(T, node(offset), node(cap))),
    "schedule.linear_for": lambda T, *, beta_1=1e-4, beta_T=0.02, cap=0.999: table(
        linear_for(T, node(beta_1), node(beta_T), node(cap))),
    "schedule.learned": lambda logit_beta, *, beta_1: table(learned(logit_beta, node(beta_1))),
    "schedule.logits_of": lambda beta: move(log(beta) - log(less(beta)), "from t = 2 on", lambda i: i[2:]),
    "schedule.log_alpha_bar": log_alpha_bar,
    "schedule.alpha_bar": alpha_bar,
    "schedule.step": lambda beta, level, *, t, ndim: step(beta, level, t, ndim),
    "schedule.step_at": lambda beta, *, t, ndim: step(beta, log_alpha_bar(beta), t, ndim),
    "gaussian.shares": shares,
    "gaussian.forward": lambda x_prev, beta: forward(x_prev, from_levels(beta)),
    "gaussian.marginal": lambda x_0, level: marginal(x_0, from_levels(log_alpha_bar=level)),
    "gaussian.posterior": lambda x_t, x_0, beta, level: posterior(x_t, x_0, from_levels(beta, level)),
    "gaussian.kl": kl,
    "gaussian.entropy": lambda q: entropy(q.var),
    "gaussian.cross_entropy": cross_entropy,
    "gaussian.log_prob": log_prob,
    "gaussian.draw": lambda law, *, noise: draw(law, node(noise)),
}
