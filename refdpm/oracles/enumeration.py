"""A few bits: every law of the binary chain as a table over all 2ⁿ states, every integral a finite sum.

A step of the chain redraws each bit, independently, with probability β_t, and a redrawn bit is one with
probability r, the rate of π:

    P(x_t = 1 | x_{t−1}) = x_{t−1} (1 − β_t) + r β_t        for every bit.

That, as one matrix over all states, is all that is taken from theory. Marginals are products of a law with
these matrices, posteriors are Bayes' rule on two tables, the model is the product of its matrices, and no
closed form in ᾱ_t is used anywhere. Where n (T+1) is small enough even the trajectories are enumerated.

A law is its table, a vector of 2ⁿ probabilities in the order of `states`; `distribution` makes one of rows. A
reverse model is a function reverse(x_t, t) -> probabilities of a one for each bit, (N, n), asked for
t = 2..T with all states at once; step 1 is the fixed edge step, the forward kernel once more (eq. 44).

Units: nats per example.
Domain: n ≤ 10 or so. What goes over x_0 goes over the states the data have: 2ⁿ of them are too many at n > 7.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy.special import entr, rel_entr

from .common import Array, check_step, levels, open_doors

# A model: reverse(x_t, t) -> P(x_{t−1} = 1 | x_t) for every bit, of the shape of x_t, asked for t = 2..T.
Reverse = Callable[[Array, int], Array]


class Entropies(NamedTuple):
    """What eq. 24 is about, at t = 0..T, in nats.   Shapes: (T+1,) each, `lower` and `upper` too.

    Edge: entry 0 of `forward`, `reverse`, `lower` and `upper` belongs to no step and is 0.
    """

    marginal: Array     # H(X^t)
    forward: Array      # H(X^t | X^{t−1})
    reverse: Array      # H(X^{t−1} | X^t)
    given_data: Array   # H(X^t | X^0)

    @property
    def lower(self) -> Array:
        """H(X^t | X^{t−1}) + H(X^{t−1} | X^0) − H(X^t | X^0), which `reverse` is never below."""
        return self.forward - np.diff(self.given_data, prepend=0.0)

    @property
    def upper(self) -> Array:
        """H(X^t | X^{t−1}), which `reverse` is not above if H(X^t) does not fall."""
        return self.forward


class Trajectories(NamedTuple):
    """All paths x_0, …, x_T.   Shapes: (2ⁿ, …, 2ⁿ), axis t is the state x_t."""

    prob: Array         # q(x_1, …, x_T | x_0)
    log_weight: Array   # log [ π(x_T) Π_t p(x_{t−1} | x_t) / q(x_t | x_{t−1}) ]


# -- states and data -----------------------------------------------------------------------------------------

def states(n: int) -> Array:
    """All sequences of n bits, (2ⁿ, n); row k is k written in binary, the first bit the most significant."""
    return np.indices((2,) * n).reshape(n, -1).T


def number(x: Array) -> Array:
    """The place of each row in `states`.   Shapes: (N, n) -> (N,)"""
    x = np.asarray(x)
    return (x @ (1 << np.arange(x.shape[-1])[::-1])).astype(int)


def distribution(rows: Array) -> Array:
    """The law that draws one of the rows, each as likely as the others.   Shapes: (N, n) -> (2ⁿ,)"""
    rows = np.asarray(rows)
    if rows.ndim != 2 or not np.all((rows == 0) | (rows == 1)):
        raise ValueError(f"rows: expected zeros and ones of shape (N, n), got shape {rows.shape}")
    return np.bincount(number(rows), minlength=1 << rows.shape[1]) / len(rows)


def periodic(n: int, period: int) -> Array:
    """One row for each phase of a one in every `period`-th of n bins, (period, n); the heartbeat is 20, 5."""
    if not 1 <= period <= n:
        raise ValueError(f"period: expected a number from 1 to n = {n}, got {period}")
    return (np.arange(n) % period == np.arange(period)[:, None]).astype(int)


# -- the forward chain, and Bayes ----------------------------------------------------------------------------

def bit_kernel(noise: Array | float, rate: float) -> Array:
    """The law of a bit of which the share `noise` is redrawn; row: the bit before, column: after.

        [[1 − noise·r,  noise·r],  [noise·(1 − r),  1 − noise·(1 − r)]]

    Shapes: noise (…), result (…, 2, 2).
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate: expected a number in (0, 1), got {rate}")
    rise, fall = np.asarray(noise) * rate, np.asarray(noise) * (1 - rate)
    return np.stack([np.stack([1 - rise, rise], -1), np.stack([fall, 1 - fall], -1)], -2)


def transition(noise: float, n: int, *, rate: float) -> Array:
    """q(x_t | x_{t−1}) for β_t = noise, (2ⁿ, 2ⁿ); row: x_{t−1}, column: x_t.   n bit kernels, Kronecker-multiplied"""
    return reduce(np.kron, [bit_kernel(noise, rate)] * n)


def prior(n: int, *, rate: float) -> Array:
    """π, the law of n independent bits that are one with probability r, (2ⁿ,)."""
    return reduce(np.kron, [np.array([1 - rate, rate])] * n)


def marginals(start: Array, beta: Array, *, rate: float) -> Array:
    """q(x_t), t = 0..T, of the chain that begins in the law `start`; rows of the unit matrix give q(x_t | x_0).

    Shapes: start (…, 2ⁿ), result (T+1, …, 2ⁿ).
    """
    n = _bits(start)
    law = [np.asarray(start, dtype=float)]
    for noise in _schedule(beta)[1:]:
        law.append(law[-1] @ transition(noise, n, rate=rate))
    return np.stack(law)


def bayes(before: Array, step: Array) -> Array:
    """q(x_{t−1} | x_t) from q(x_{t−1}) and q(x_t | x_{t−1}).   before · step / Σ_{x_{t−1}} before · step

    Shapes: before (…, 2ⁿ), step (2ⁿ, 2ⁿ) with rows x_{t−1}; result (…, 2ⁿ, 2ⁿ) with rows x_t.
    """
    joint = before[..., None, :] * step.T
    return joint / joint.sum(axis=-1, keepdims=True)


def posterior(start: Array, beta: Array, t: int, *, rate: float) -> Array:
    """q(x_{t−1} | x_t) of the chain from `start`; rows of the unit matrix give q(x_{t−1} | x_t, x_0).

    Shapes: start (…, 2ⁿ), result (…, 2ⁿ, 2ⁿ) with rows x_t.
    Edge: from a point, at t = 1, it is that point.
    """
    check_step(beta, t)
    before = marginals(start, beta, rate=rate)[t - 1]
    return bayes(before, transition(_schedule(beta)[t], _bits(start), rate=rate))


# -- the model -----------------------------------------------------------------------------------------------

def reverse_step(reverse: Reverse, beta: Array, t: int, n: int, *, rate: float) -> Array:
    """p(x_{t−1} | x_t), (2ⁿ, 2ⁿ) with rows x_t; the product over bits, and at t = 1 the forward kernel."""
    check_step(beta, t)
    if t == 1:
        return transition(_schedule(beta)[1], n, rate=rate)
    x = states(n)
    one = np.asarray(reverse(x, t), dtype=float)
    if one.shape != x.shape or not np.all((one >= 0) & (one <= 1)):
        raise ValueError(f"reverse: expected probabilities of shape {x.shape} at t = {t}, got shape {one.shape}")
    law = np.ones((len(x), 1))
    for p in one.T:                                                             # one bit more, the least significant
        law = (law[:, :, None] * np.stack([1 - p, p], axis=-1)[:, None, :]).reshape(len(x), -1)
    return law


def optimal_reverse(data: Array, beta: Array, *, rate: float) -> Reverse:
    """The best factorised model, f*(x_t) = E_q[ x_{t−1} | x_t ] bit by bit.

    Derivation: E_q −log p(x_{t−1} | x_t) is a sum of cross-entropies, one a bit, each smallest at the law of that
    bit given x_t. Whatever the bits know of each other given x_t and not x_0 is lost.
    """
    n, beta, law = _bits(data), _schedule(beta), marginals(data, beta, rate=rate)
    x = states(n)
    table = {t: np.clip(bayes(law[t - 1], transition(beta[t], n, rate=rate)) @ x, 0, 1) for t in range(2, len(beta))}

    def reverse(x_t: Array, t: int) -> Array:
        check_step(beta, t, first=2)
        return table[t][number(x_t)]

    return reverse


def model_law(reverse: Reverse, beta: Array, n: int, *, rate: float) -> Array:
    """p(x_0), eq. 6, of all states, (2ⁿ,): π carried through every reverse step."""
    law = prior(n, rate=rate)
    for t in range(len(beta) - 1, 0, -1):
        law = law @ reverse_step(reverse, beta, t, n, rate=rate)
    return law


def log_likelihood(data: Array, beta: Array, reverse: Reverse, *, rate: float) -> float:
    """L = E_q log p(x_0) (eq. 10)."""
    return -_cross_entropy(data, model_law(reverse, beta, _bits(data), rate=rate))


def null_log_likelihood(data: Array, *, rate: float) -> float:
    """L_null = E_q log π(x_0)."""
    return -_cross_entropy(data, prior(_bits(data), rate=rate))


def trajectories(reverse: Reverse, beta: Array, n: int, *, rate: float) -> Trajectories:
    """Every path with its probability under q and its weight.   Domain: 2^{n (T+1)} numbers have room."""
    beta = _schedule(beta)
    log_prob, log_weight = np.zeros(1 << n), np.zeros(1 << n)
    for t in range(1, len(beta)):
        forward = np.log(transition(beta[t], n, rate=rate))
        with np.errstate(divide="ignore"):
            backward = np.log(reverse_step(reverse, beta, t, n, rate=rate)).T
        log_prob = log_prob[..., None] + forward
        log_weight = log_weight[..., None] + backward - forward
    return Trajectories(np.exp(log_prob), log_weight + np.log(prior(n, rate=rate)))


def weighted_average(paths: Trajectories) -> Array:
    """The right side of eq. 9, an average over all paths that leave x_0, for every x_0, (2ⁿ,)."""
    return np.sum(paths.prob * np.exp(paths.log_weight), axis=tuple(range(1, paths.prob.ndim)))


# -- the bounds ----------------------------------------------------------------------------------------------

def step_costs(data: Array, beta: Array, reverse: Reverse, *, rate: float) -> Array:
    """E KL( q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t) ), the terms of eq. 14, at t = 2..T; entries 0, 1 are 0."""
    data, beta, n = np.asarray(data), _schedule(beta), _bits(data)
    cost, seen, given = np.zeros(len(beta)), np.flatnonzero(data), _given_data(data, beta, rate)
    for t in range(2, len(beta)):
        step, model = transition(beta[t], n, rate=rate), reverse_step(reverse, beta, t, n, rate=rate)
        for weight, before, after in zip(data[seen], given[t - 1], given[t]):
            cost[t] += weight * (after @ rel_entr(bayes(before, step), model).sum(axis=-1))
    return cost


def bound(data: Array, beta: Array, reverse: Reverse, *, rate: float) -> float:
    """K of eq. 14.   −Σ_{t≥2} E KL + H_q(X^T | X^0) − H_q(X^1 | X^0) − H(π)"""
    given = _given_data_entropy(data, beta, rate)
    cost = step_costs(data, beta, reverse, rate=rate)
    return float(given[-1] - given[1] - entropy(prior(_bits(data), rate=rate)) - cost.sum())


def strict_bound(data: Array, beta: Array, reverse: Reverse, *, rate: float) -> float:
    """Eq. 12, term by term.   E log π(x_T) + Σ_{t≥1} E [ log p(x_{t−1} | x_t) − log q(x_t | x_{t−1}) ]"""
    n, beta, law = _bits(data), _schedule(beta), marginals(data, beta, rate=rate)
    total = -_cross_entropy(law[-1], prior(n, rate=rate))
    for t in range(1, len(beta)):
        step = transition(beta[t], n, rate=rate)
        joint, model = law[t - 1][:, None] * step, reverse_step(reverse, beta, t, n, rate=rate).T
        total += _cross_entropy(joint, step) - _cross_entropy(joint, model)
    return total


def correction(data: Array, beta: Array, *, rate: float) -> float:
    """C = eq. 12 − eq. 14, the same for every model.   E log π(x_T) + H(π) + E log π(x_0) − E log π(x_1)"""
    law, pi = marginals(data, beta, rate=rate), prior(_bits(data), rate=rate)
    return float((law[-1] - pi + law[0] - law[1]) @ np.log(pi))


# -- entropies -----------------------------------------------------------------------------------------------

def entropy(law: Array) -> Array:
    """H = −Σ p log p over the last axis, in nats."""
    return entr(law).sum(axis=-1)


def entropies(data: Array, beta: Array, *, rate: float) -> Entropies:
    """The entropies of eq. 24, each by its definition: a conditional one is an average over what is given."""
    n, beta, law = _bits(data), _schedule(beta), marginals(data, beta, rate=rate)
    forward, reverse = np.zeros((2, len(beta)))
    for t in range(1, len(beta)):
        step = transition(beta[t], n, rate=rate)
        forward[t] = law[t - 1] @ entropy(step)
        reverse[t] = law[t] @ entropy(bayes(law[t - 1], step))
    return Entropies(entropy(law), forward, reverse, _given_data_entropy(data, beta, rate))


# -- parts ---------------------------------------------------------------------------------------------------

def _given_data(data: Array, beta: Array, rate: float) -> Array:
    """q(x_t | x_0) for the x_0 that occur, (T+1, how many, 2ⁿ)."""
    return marginals(np.eye(len(data))[np.flatnonzero(data)], beta, rate=rate)


def _given_data_entropy(data: Array, beta: Array, rate: float) -> Array:
    """H(X^t | X^0), t = 0..T."""
    return entropy(_given_data(data, beta, rate)) @ np.asarray(data)[np.flatnonzero(data)]


def _cross_entropy(q: Array, p: Array) -> float:
    """−Σ q log p, where q = 0 whatever p; ∞ where only p is 0."""
    with np.errstate(divide="ignore"):
        return float(-np.sum(q * np.log(np.where(q > 0, p, 1.0))))


def _schedule(beta: Array) -> Array:
    """beta as an array, checked."""
    levels(beta)
    return np.asarray(beta, dtype=float)


def _bits(law: Array) -> int:
    """n of a law over 2ⁿ states."""
    law = np.asarray(law)
    n = law.shape[-1].bit_length() - 1 if law.ndim else 0
    if n < 1 or law.shape[-1] != 1 << n or np.any(law < 0) or not np.allclose(law.sum(axis=-1), 1):
        raise ValueError(f"data: expected 2ⁿ probabilities that sum to 1, got shape {law.shape}")
    return n


open_doors(globals())
