"""The binary heartbeat, exactly: twenty bits, and no sum of more than 126 terms over them.

The data are the `period` sequences with a one in every period-th bin, each as likely as the others; call the
bins of one residue a class. Given the phase, all bits of x_t are independent, those of the class of the phase
with one law and the others with another, so a state matters only through its *counts*, the number of ones in
each class. Neither do the chain, the data or the best model tell one class from another, so the counts
matter only up to their order: an *orbit*. Of 2²⁰ states of the heartbeat remain 5⁵ counts, and of those 126
orbits.

The best factorised model is f*_i(x_t) = E_q[ x_{t−1,i} | x_t ], and it needs the phase only:

    w_j = P(phase j | x_t) ∝ Π_i q(x_t,i | x_0,i = [i is of class j]),
    f*_i = w_j P(x_{t−1,i} = 1 | x_t,i, x_0,i = 1) + (1 − w_j) P(x_{t−1,i} = 1 | x_t,i, x_0,i = 0),   i of class j.

All functions take a schedule, the rate r of π, and the size of the data, 20 bins and 5 phases unless told
otherwise. Step 1 of the model is the fixed edge step, the forward kernel once more (eq. 44).

Units: nats per sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations_with_replacement, product
from math import comb, factorial, prod
from typing import NamedTuple

import numpy as np
from scipy.special import entr, logsumexp, rel_entr, xlogy

from .common import Array, check_step, levels, one_minus_alpha_bar, open_doors
from .enumeration import Entropies, Reverse, bit_kernel

CHUNK = 64     # steps treated at once


class Orbits(NamedTuple):
    """Counts of ones per class, up to the order of the classes."""

    counts: Array       # (S, period), rising along each row; the last row is all ones
    sequences: Array    # (S,), how many sequences an orbit has
    orbit: Array        # ((m+1)^period,), the orbit of every tuple of counts, the first class the slowest


class Bits(NamedTuple):
    """The laws of one bit, at t = 0..T; every axis of length 2 is a value of a bit."""

    marginal: Array     # q(x_t | x_0)             (T+1, x_0, x_t)
    posterior: Array    # q(x_{t−1} | x_t, x_0)    (T+1, x_t, x_0, x_{t−1}); entry 0 is 0


# -- the data under the forward chain ------------------------------------------------------------------------

@lru_cache(maxsize=8)
def orbits(n: int = 20, period: int = 5) -> Orbits:
    """The orbits of n bins in `period` classes of m = n/period each: all multisets of counts 0..m."""
    if period < 1 or n < period or n % period:
        raise ValueError(f"n: expected a multiple of period = {period}, got {n}")
    m = n // period
    counts = list(combinations_with_replacement(range(m + 1), period))
    place = {c: k for k, c in enumerate(counts)}
    sequences = [factorial(period) // prod(factorial(c.count(v)) for v in range(m + 1)) * prod(comb(m, k) for k in c)
                 for c in counts]
    orbit = [place[tuple(sorted(c))] for c in product(range(m + 1), repeat=period)]
    return Orbits(np.array(counts), np.array(sequences, dtype=float), np.array(orbit))


def bits(beta: Array, *, rate: float) -> Bits:
    """q(x_t | x_0) and q(x_{t−1} | x_t, x_0) of a bit, the second by Bayes' rule from the first and the step."""
    marginal = bit_kernel(one_minus_alpha_bar(levels(beta)), rate)
    step = bit_kernel(np.asarray(beta, dtype=float)[1:], rate)
    joint = step.swapaxes(1, 2)[:, :, None, :] * marginal[:-1, None, :, :]      # t, x_t, x_0, x_{t−1}
    posterior = np.zeros((len(marginal), 2, 2, 2))
    posterior[1:] = joint / joint.sum(axis=-1, keepdims=True)
    return Bits(marginal, posterior)


def log_forward(counts: Array, marginal: Array, size: int) -> Array:
    """log q(x_t, phase) of one sequence with these counts in classes of `size` bins, for every phase.

        log(1/period) + Σ_classes Σ_values of x_t  (how often) · log q(x_t | x_0 = [class is the phase])

    Shapes: counts (S, period), marginal (C, 2, 2) of C steps; result (C, S, period).
    """
    ones, zeros = counts[..., None], size - counts[..., None]
    table = xlogy(zeros, marginal[:, None, None, :, 0]) + xlogy(ones, marginal[:, None, None, :, 1])
    rest, own = table[..., 0], table[..., 1]                                    # C, S, period each
    others = np.stack([np.delete(rest, j, axis=-1).sum(axis=-1) for j in range(rest.shape[-1])], axis=-1)
    return own + others - np.log(counts.shape[-1])


def entropies(beta: Array, *, rate: float, n: int = 20, period: int = 5) -> Entropies:
    """The entropies of eq. 24. H(X^t) from the orbits, what is given x_0 or x_{t−1} bit by bit, the reverse by

        H(X^{t−1} | X^t) = H(X^t | X^{t−1}) + H(X^{t−1}) − H(X^t).
    """
    law, beta, (counts, sequences, _) = bits(beta, rate=rate), np.asarray(beta, dtype=float), orbits(n, period)
    marginal, forward, reverse = np.zeros((3, len(beta)))
    for t in _chunks(0, len(beta)):
        log_q = logsumexp(log_forward(counts, law.marginal[t], n // period), axis=-1)
        marginal[t] = -xlogy(np.exp(log_q), np.exp(log_q)) @ sequences
    share = np.array([1 - 1 / period, 1 / period])                              # of zeros and ones in the data
    forward[1:] = n * np.einsum("a,tab,tb->t", share, law.marginal[:-1], _entropy(bit_kernel(beta[1:], rate)))
    reverse[1:] = forward[1:] + marginal[:-1] - marginal[1:]
    return Entropies(marginal, forward, reverse, n * _entropy(law.marginal) @ share)


def ceiling(beta: Array, *, rate: float, n: int = 20, period: int = 5) -> float:
    """−H_q(X^1), which no model's K exceeds if r = 1/2 or the data have as many ones as π, r = 1/period."""
    return -float(entropies(np.asarray(beta)[:2], rate=rate, n=n, period=period).marginal[1])


# -- the best model ------------------------------------------------------------------------------------------

def optimal_reverse(beta: Array, *, rate: float, n: int = 20, period: int = 5) -> Reverse:
    """f* as a model, reverse(x_t, t) -> (N, n), for any rows of bits."""
    law, size = bits(beta, rate=rate), int(orbits(n, period).counts[-1, 0])

    def reverse(x_t: Array, t: int) -> Array:
        check_step(beta, t, first=2)
        counts = np.asarray(x_t).reshape(len(x_t), size, period).sum(axis=1)
        f = _best(counts, law, slice(t, t + 1), size)[1][0, ..., 1]             # N, period, x_t
        f = np.tile(f, (1, size, 1))
        return np.where(x_t, f[..., 1], f[..., 0])

    return reverse


def step_costs(beta: Array, *, rate: float, n: int = 20, period: int = 5) -> Array:
    """E KL( q(x_{t−1} | x_t, x_0) ‖ f* ), the terms of eq. 14, at t = 2..T; entries 0, 1 are 0.

    Derivation: a bit of class j with value v costs E_{phase | x_t} KL( posterior(v, x_0) ‖ f*_j(v) ), and there
    are counts_j of them with v = 1 and m − counts_j with v = 0.
    """
    law, (counts, sequences, _), size = bits(beta, rate=rate), orbits(n, period), n // period
    cost = np.zeros(len(law.marginal))
    often = np.stack([size - counts, counts], axis=-1)                          # S, period, x_t
    for t in _chunks(2, len(cost)):
        phase, f, prob = _best(counts, law, t, size)
        kl = rel_entr(law.posterior[t, None, None], f[:, :, :, :, None]).sum(axis=-1)     # C, S, period, x_t, x_0
        a_state = np.einsum("cspvx,cspx,spv->cs", kl, phase, often)
        cost[t] = (prob * a_state) @ sequences
    return cost


def bound(beta: Array, *, rate: float, n: int = 20, period: int = 5) -> float:
    """K*, eq. 14 for the best factorised model.   −Σ_{t≥2} E KL + H_q(X^T | X^0) − H_q(X^1 | X^0) − n h(r)"""
    given = n * _entropy(bits(beta, rate=rate).marginal[[1, -1]]) @ np.array([1 - 1 / period, 1 / period])
    cost = step_costs(beta, rate=rate, n=n, period=period)
    return float(given[1] - given[0] - n * _entropy(np.array([1 - rate, rate])) - cost.sum())


def model_law(beta: Array, *, rate: float, n: int = 20, period: int = 5) -> Array:
    """The probability of every orbit under the best model's samples x_0, edge step included, (S,).

    Derivation: the counts of x_{t−1} are independent given x_t. So a tuple of counts has the probability
    Σ_s p_s Π_j (next count of class j | s), a matrix product once the classes are put in two halves; the sum
    over the tuples of an orbit needs no more than one representative of the orbits before.
    """
    law, (counts, sequences, orbit), size = bits(beta, rate=rate), orbits(n, period), n // period
    ones = counts.sum(axis=-1)
    p = sequences * rate ** ones * (1 - rate) ** (n - ones)
    for t in _chunks(2, len(law.marginal), down=True):
        f = _best(counts, law, t, size)[1][..., 1]
        for left, right in zip(*_halves(_next_counts(counts, f, size))):
            p = _push(p, left, right, orbit)
    edge = np.broadcast_to(bit_kernel(np.asarray(beta)[1], rate)[:, 1], (1, *counts.shape, 2))
    left, right = _halves(_next_counts(counts, edge, size))
    return _push(p, left[0], right[0], orbit)


def log_likelihood(beta: Array, *, rate: float, n: int = 20, period: int = 5) -> float:
    """L* = E_q log p(x_0) of the best model (eq. 10); all sequences of the data are equally likely under it."""
    law, valid = model_law(beta, rate=rate, n=n, period=period), _valid(n, period)
    return float(np.log(law[valid]) - np.log(period))


def invalid_probability(beta: Array, *, rate: float, n: int = 20, period: int = 5) -> float:
    """The probability that the best model draws a sequence that is not in the data."""
    return float(np.delete(model_law(beta, rate=rate, n=n, period=period), _valid(n, period)).sum())


# -- parts ---------------------------------------------------------------------------------------------------

def _best(counts: Array, law: Bits, t: slice, size: int) -> tuple[Array, Array, Array]:
    """P(x_0 | x_t) of a bit (C, S, period, x_0), f* (C, S, period, x_t, x_{t−1}), q(x_t) of a sequence (C, S)."""
    log_q = log_forward(counts, law.marginal[t], size)
    total = logsumexp(log_q, axis=-1, keepdims=True)
    w = np.exp(log_q - total)
    phase = np.stack([1 - w, w], axis=-1)
    return phase, np.einsum("cspx,cvxy->cspvy", phase, law.posterior[t]), np.exp(total[..., 0])


def _next_counts(counts: Array, f: Array, size: int) -> Array:
    """The law of each class's number of ones at t−1: `size` bits put in one after another.

    Shapes: f (C, S, period, x_t), P(x_{t−1} = 1); result (C, S, period, size + 1).
    """
    law = np.zeros((*f.shape[:3], size + 1))
    law[..., 0] = 1
    for k in range(size):
        one = np.where(k < counts, f[..., 1], f[..., 0])[..., None]
        law[..., 1:] = law[..., 1:] * (1 - one) + law[..., :-1] * one
        law[..., :1] *= 1 - one
    return law


def _halves(law: Array) -> tuple[Array, Array]:
    """The joint law of the counts of the first half of the classes, and of the second, (C, S, tuples) each."""
    halves = []
    for part in (law[:, :, :law.shape[2] // 2], law[:, :, law.shape[2] // 2:]):
        joint = np.ones((*law.shape[:2], 1))
        for j in range(part.shape[2]):
            joint = (joint[..., None] * part[:, :, j, None, :]).reshape(*law.shape[:2], -1)
        halves.append(joint)
    return halves[0], halves[1]


def _push(p: Array, left: Array, right: Array, orbit: Array) -> Array:
    """One reverse step: Σ_s p_s left_s ⊗ right_s, gathered into orbits."""
    return np.bincount(orbit, weights=((left.T * p) @ right).ravel(), minlength=len(p))


def _chunks(first: int, stop: int, *, down: bool = False) -> Iterator[slice]:
    """The times first..stop−1 in slices of at most CHUNK; with `down` from the last to the first, inside too."""
    if down:
        for high in range(stop - 1, first - 1, -CHUNK):
            yield slice(high, max(high - CHUNK, first - 1), -1)
    else:
        for low in range(first, stop, CHUNK):
            yield slice(low, min(low + CHUNK, stop))


def _entropy(law: Array) -> Array:
    return entr(law).sum(axis=-1)


def _valid(n: int, period: int) -> int:
    """The orbit of the data: one class all ones, the others all zeros."""
    return int(orbits(n, period).orbit[n // period])


open_doors(globals())
