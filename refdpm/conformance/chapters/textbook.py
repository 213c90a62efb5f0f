"""The textbook's formulas of a step of the chain, with the rounding that each of them does: what `scale` is made of.

States (N, D); a `Row` has the schedule's columns at every row's t.
"""

from collections.abc import Callable
from typing import NamedTuple
import pickle

import numpy as np
from scipy.special import ndtr

from refdpm.conformance import terms
from refdpm.conformance.adapter import Model
from refdpm.conformance.chapters.common import Inputs, Row, row_of
from refdpm.conformance.terms import Terms
from refdpm.later.variance import FLOOR
from refdpm.vjp import Array


class Normal(NamedTuple):
    """A normal law with the errors of its mean and variance."""

    mean: Terms
    var: Terms


def rows(beta: Array, t: Array) -> Row:
    """The schedule's columns (N, 1) at t."""
    return row_of({"beta": beta, "t": t}, ndim=2)


def marginal(row: Row, x_0: Terms) -> Normal:
    """√ᾱ_t x_0 and 1 − ᾱ_t."""
    return Normal(terms.sqrt(row.alpha_bar) * x_0, 1 - row.alpha_bar)


def draw(q: Normal, noise: Array) -> Terms:
    """mean + √var · noise."""
    return q.mean + terms.sqrt(q.var) * noise


def small(row: Row) -> Terms:
    """β̃_t."""
    return row.beta * (1 - row.alpha_bar_prev) / (1 - row.alpha_bar)


def posterior(row: Row, x_0: Terms, x_t: Terms) -> Normal:
    """c_0 x_0 + c_t x_t and β̃_t."""
    before, rest = 1 - row.alpha_bar_prev, 1 - row.alpha_bar
    c_0, c_t = row.beta * terms.sqrt(row.alpha_bar_prev) / rest, terms.sqrt(row.alpha) * before / rest
    return Normal(c_0 * x_0 + c_t * x_t, small(row))


def outputs(model: Model, x_t: Terms, t: Array) -> Terms:
    """x_t @ weight[t] + bias[t], (N, K)."""
    weight, z = model.weight[t], terms.exact(model.bias[t])
    for d in range(weight.shape[1]):
        z = z + x_t[:, d:d + 1] * weight[:, d]
    return z


def x_0_hat(row: Row, z: Terms, x_t: Terms, predicts: str) -> Terms:
    """x_0 from a prediction of that name."""
    kept, rest = terms.sqrt(row.alpha_bar), 1 - row.alpha_bar
    match predicts:
        case "noise":
            return (x_t - terms.sqrt(rest) * z) / kept
        case "v":
            return kept * x_t - terms.sqrt(rest) * z
        case "score":
            return (x_t + rest * z) / kept
    return z


def reverse(i: Inputs, t: Array, x_t: Terms, at_first: Terms | None = None) -> Normal:
    """p(x_{t−1} | x_t) with `at_first` for the variance at t = 1, or for β̃_1 where it is learned."""
    row, D = rows(i["beta"], t), x_t.value.shape[1]
    z = outputs(i["model"], x_t, t)
    mean = z[:, :D] if i["predicts"] == "mean" else posterior(row, x_0_hat(row, z[:, :D], x_t, i["predicts"]), x_t).mean
    least = small(row) if at_first is None else at_first
    if i["variance"] == "ranged":
        share = (1 + z[:, D:]) / 2
        return Normal(mean, terms.exp(share * terms.log(row.beta) + (1 - share) * terms.log(least)))
    return Normal(mean, row.beta if i["variance"] == "large" and at_first is None else least)


def last_step(i: Inputs, x_1: Terms) -> Normal:
    """p(x_0 | x_1) under each policy."""
    t = np.ones(len(x_1.value), dtype=int)
    row = rows(i["beta"], t)
    match i["first"]:
        case "fixed":
            return Normal(terms.sqrt(row.alpha) * x_1, row.beta)
        case "next":
            return reverse(i, t, x_1, small(rows(i["beta"], t + 1)))
        case "floor":
            return reverse(i, t, x_1, terms.exact(np.full((len(t), 1), FLOOR)))
    return reverse(i, t, x_1, row.beta)


def kl(q: Normal, p: Normal) -> Terms:
    """½ [log(σ_p²/σ_q²) + (σ_q² + (μ_q − μ_p)²)/σ_p² − 1] per component."""
    difference = q.mean - p.mean
    return (terms.log(p.var) - terms.log(q.var) + (q.var + difference * difference) / p.var - 1) / 2


def cross_entropy(q: Normal) -> Terms:
    """−E_q log N(0, 1) per component."""
    return (np.log(2 * np.pi) + q.var + q.mean * q.mean) / 2


def entropy(var: Terms) -> Terms:
    """½ (1 + log 2π + log var)."""
    return (1 + np.log(2 * np.pi) + terms.log(var)) / 2


def log_prob(x: Terms, p: Normal) -> Terms:
    """−½ [log 2π + log var + (x − mean)²/var]."""
    difference = x - p.mean
    return -(np.log(2 * np.pi) + terms.log(p.var) + difference * difference / p.var) / 2


def log_mass(x: Terms, p: Normal, end: Array, half: float) -> Terms:
    """log [Φ((x + half − m)/σ) − Φ((x − half − m)/σ)]; `end` is −1 and 1 in the first bin and the last, which are open."""
    centred, sigma = x - p.mean, terms.sqrt(p.var)
    above = terms.where(end == 1, 1.0, _cdf((centred + half) / sigma))
    return terms.log(above - terms.where(end == -1, 0.0, _cdf((centred - half) / sigma)))


def _cdf(z: Terms) -> Terms:
    """½ (1 + erf(z/√2)): what erf rounds, it rounds as a number near 1."""
    return Terms(ndtr(z.value), np.exp(-z.value * z.value / 2) / np.sqrt(2 * np.pi) * z.error + 2)


def step_kl(i: Inputs, x_0: Terms, t: Array, noise: Array) -> Terms:
    """KL( q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t) ) of each row, (N,)."""
    row = rows(i["beta"], t)
    x_t = draw(marginal(row, x_0), noise)
    return terms.total(kl(posterior(row, x_0, x_t), reverse(i, t, x_t)))


def entropy_at(i: Inputs, x_0: Array, t: Array) -> Terms:
    """H(x_t | x_0) of each row, (N,)."""
    return terms.total(entropy(1 - rows(i["beta"], t).alpha_bar) + 0 * x_0)


def steps_kl(i: Inputs, x_0: Terms, noise: Array) -> Terms:
    """`step_kl` at t = 2..T, (T−1, N); noise (T, N, …)."""
    count, many = len(x_0.value), len(i["beta"]) - 2
    t, all_rows = np.repeat(np.arange(2, many + 2), count), np.tile(np.arange(count), many)
    return step_kl(i, x_0[all_rows], t, noise[1:].reshape(-1, *noise.shape[2:])).reshape(many, count)


def over_t(parts: Terms) -> Terms:
    """The sum over the first axis."""
    error = np.broadcast_to(parts.error, parts.value.shape)
    return Terms(parts.value.sum(axis=0), (error + np.abs(parts.value)).sum(axis=0))


def remembered(scale: Callable[[Inputs], tuple[Array, ...]]) -> Callable[[Inputs], tuple[Array, ...]]:
    """The same function, which does not work out twice what conventions have no part in."""
    memory: dict[bytes, tuple[Array, ...]] = {}

    def looked_up(i: Inputs) -> tuple[Array, ...]:
        key = pickle.dumps(i)
        if key not in memory:
            if len(memory) > 200:
                memory.clear()
            memory[key] = scale(i)
        return memory[key]
    return looked_up


def summed(parts: list[Terms], *, over: int) -> Terms:
    """The sum of several, none of them for `over` rows: 0."""
    found = terms.exact(np.zeros(over))
    for part in parts:
        found = found + part
    return found
