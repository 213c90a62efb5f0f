"""Bits as they are printed: the binomial chain of Table App.1, its bound, the read-outs of bits, and the heartbeat's network.

A law is written by its probabilities of a one and of a zero, of which the package holds the log odds.  One step keeps a bit with
probability 1 − β and otherwise draws it anew from π, which has the rate r of ones; t steps keep it with probability ᾱ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refdpm.textbook.chain import Row, from_levels, of_step
from refdpm.textbook.expression import (E, above, also, less, log, move, named, node, slack, sqrt, tanh, term, total, understood,
                                        where)
from refdpm.textbook.layers import bumps, linear, logit, per_step, sigmoid, temporal
from refdpm.textbook.page import Array

UNSEEN = 2.0 ** -24                                 # a cut-off this small, of what is to be rounded, is no mistake
BUMPS = 10                                          # of the heartbeat's network


class Bit(NamedTuple):
    """P(1) and P(0), or what is in proportion to them."""

    one: E
    zero: E


def of_prob(p: E) -> Bit:
    """The bit with P(1) = p."""
    return Bit(p, less(p))


def of_logit(a: E) -> Bit:
    """P(1) = 1/(1 + e^−a), P(0) = 1/(1 + eᵃ)."""
    return Bit(sigmoid(a), sigmoid(-a))


def log_odds(p: Bit) -> E:
    """log P(1) − log P(0)."""
    return log(p.one) - log(p.zero)


# -- kernels -----------------------------------------------------------------------------------------------------------

def _kept(x: E, kept: E, drawn: E, rate: E) -> Bit:
    """A bit that is x, or drawn anew.   P(0) = (1 − x) kept + (1 − r) drawn loses nothing that `drawn` has not lost."""
    one = x * kept + rate * drawn
    return Bit(one, also(term(lambda drawn: 1 - one, drawn), (1 - x) * kept + (1 - rate) * drawn))


def forward(x_prev: E, row: Row, rate: E) -> Bit:
    """q(x_t = 1 | x_{t−1}) = x_{t−1} (1 − β_t) + r β_t."""
    return _kept(x_prev, row.alpha, row.beta, rate)


def marginal(x_0: E, row: Row, rate: E) -> Bit:
    """q(x_t = 1 | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) r."""
    return _kept(x_0, row.alpha_bar, row.rest, rate)


def before(x_0: E, row: Row, rate: E) -> Bit:
    """q(x_{t−1} = 1 | x_0)."""
    return _kept(x_0, row.alpha_bar_prev, row.rest_prev, rate)


@named
def posterior(x_t: E, x_0: E, row: Row, rate: E) -> Bit:
    """q(x_{t−1} = 1 | x_t, x_0) = m q(x_t | 1)/[m q(x_t | 1) + (1 − m) q(x_t | 0)] with m = q(x_{t−1} = 1 | x_0)."""
    m, if_one, if_zero = before(x_0, row, rate), forward(node(1), row, rate), forward(node(0), row, rate)
    one, zero = m.one * where(above(x_t, 0), *if_one), m.zero * where(above(x_t, 0), *if_zero)
    p = one / (one + zero)
    return Bit(p + slack(UNSEEN * row.beta), term(lambda one, zero: 1 - p, one, zero))


def posterior_log_odds(x_t: E, x_0: E, row: Row, rate: E) -> E:
    """The same in odds: those before x_t is seen, times q(x_t | 1)/q(x_t | 0)."""
    if_one, if_zero = forward(node(1), row, rate), forward(node(0), row, rate)
    return log_odds(before(x_0, row, rate)) + (log_prob(x_t, if_one) - log_prob(x_t, if_zero))


# -- divergence, entropies, mass, draws ----------------------------------------------------------------------------------

def relative(q: E, p: E) -> E:
    """q log(q/p), 0 where q is."""
    return understood(above(q, 0), q * (log(q) - log(p) + slack(node(1))))


def _nats(q: E, p: E) -> E:
    """q log p, 0 where both are."""
    return understood(above(q + p, 0), q * log(p))


@named
def kl(q: Bit, p: Bit) -> E:
    """D_KL(q ‖ p) = q log(q/p) + (1 − q) log((1 − q)/(1 − p)), the cross entropy less the entropy."""
    return also(relative(q.one, p.one) + relative(q.zero, p.zero), cross_entropy(q, p) - entropy(q))


@named
def cross_entropy(q: Bit, p: Bit) -> E:
    """−E_q log p = −q log p − (1 − q) log(1 − p)."""
    return -_nats(q.one, p.one) - _nats(q.zero, p.zero)


@named
def entropy(p: Bit) -> E:
    """−p log p − (1 − p) log(1 − p)."""
    return cross_entropy(p, p)


@named
def log_prob(x: E, p: Bit) -> E:
    """x log p + (1 − x) log(1 − p)."""
    return _nats(x, p.one) + _nats(1 - x, p.zero)


def draw(p: Bit, noise: E) -> E:
    """1 where the noise, uniform on [0, 1), is below P(1)."""
    return where(above(p.one, noise), 1, 0)


# -- the bound -----------------------------------------------------------------------------------------------------------

@named
def step_kl(x_t: E, x_0: E, row: Row, rate: E, reverse: Callable[[E], Bit]) -> E:
    """KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) of an example."""
    return total(kl(posterior(x_t, x_0, row, rate), reverse(x_t)))


def bound(kl: E, x_0: E, first: Row, last: Row, rate: E) -> E:
    """K = −Σ_{t=2}^T KL + H(x_T | x_0) − H(x_1 | x_0) − H(π)."""
    at_T, at_1 = (total(entropy(marginal(x_0, row, rate))) for row in (last, first))
    return at_T - at_1 - total(entropy(of_prob(rate)), like=x_0) - total(kl, "steps", (0,))


# -- read-outs: the logit of p(x_{t−1} = 1 | x_t) from a head z ------------------------------------------------------------

def skip(z: E, x_t: E, row: Row, rate: E) -> E:
    """The forward kernel's logit at x_t, + z."""
    return log_odds(forward(x_t, row, rate)) + z


def denoising(z: E, x_t: E, row: Row, rate: E) -> E:
    """That of q(x_t | x_{t−1}) q(x_{t−1} | x̂) with x̂ = sigmoid(logit r + z): by detailed balance the forward kernel's at x_t,
    plus logit m − logit r with m = ᾱ_{t−1} x̂ + (1 − ᾱ_{t−1}) r."""
    return log_odds(forward(x_t, row, rate)) + (log_odds(before(sigmoid(z + logit(rate)), row, rate)) - logit(rate))


def read_out(z: E, x_t: E, row: Row, rate: E, readout: str) -> E:
    """The read-out of that name."""
    return z if readout == "paper" else {"skip": skip, "denoising": denoising}[readout](z, x_t, row, rate)


# -- the network -------------------------------------------------------------------------------------------------------

def heartbeat(parameters: Any, x_t: E, row: Row, rate: E, *, t: Array, T: int, readout: str, last: str) -> E:
    """tanh(h W + b) of bits of mean 0 and variance 1 under π, layer after layer, then the last layer of t, and the read-out.

    last: weights of each t's own (per_step), or ten for each output, of which every t has its own mixture (bumps).
    """
    h = (x_t - rate) / sqrt(rate * (1 - rate))
    for layer in parameters.hidden:
        h = tanh(linear(h, layer.weight, layer.bias))
    if last == "per_step":
        z = per_step(h, parameters.weight, parameters.bias, t)
    else:
        y = move(linear(h, parameters.weight, parameters.bias), "bits × bumps",
                 lambda i: i.reshape(len(i), i.shape[-1] // BUMPS, BUMPS))
        z = temporal(y, bumps(node(t), T, node(np.arange(1, BUMPS + 1)), node(BUMPS), "released"))
    return read_out(z, x_t, row, rate, readout)


# -- which pair of the package each formula judges: a law there is its logit, and so is a leaf of the value ------------------

def _measure(formula: Callable[..., E]) -> Callable[..., E]:
    """A measure of laws that are given by logits: of them it is one term."""
    return lambda *laws: term(lambda *logits: formula(*map(of_logit, logits)), *(law.logit for law in laws))


def _heartbeat(parameters: Any, x_t: E, step: Any, *, t: Array, T: int = 0, rate: float = 0.2, readout: str = "denoising",
               last: str = "per_step") -> E:
    return heartbeat(parameters, x_t, of_step(step), node(rate), t=t, T=T, readout=readout, last=last)


PAIRS: dict[str, Callable[..., Any]] = {
    "binomial.prior": lambda shape, *, rate=0.5: log_odds(of_prob(node(rate))),
    "binomial.forward": lambda x_prev, beta, *, rate=0.5: log_odds(forward(x_prev, from_levels(beta), node(rate))),
    "binomial.marginal": lambda x_0, level, *, rate=0.5: log_odds(marginal(x_0, from_levels(log_alpha_bar=level), node(rate))),
    "binomial.posterior": lambda x_t, x_0, beta, level, *, rate=0.5: posterior_log_odds(
        x_t, x_0, from_levels(beta, level), node(rate)),
    "binomial.kl": _measure(kl), "binomial.entropy": _measure(entropy), "binomial.cross_entropy": _measure(cross_entropy),
    "binomial.log_prob": lambda x, p: _measure(lambda p: log_prob(x, p))(p),
    "binomial.draw": lambda p, *, noise: draw(of_logit(p.logit), node(noise)),
    "networks.bit_readout.paper": lambda z: z,
    "networks.bit_readout.skip": lambda z, x_t, beta, *, rate=0.5: skip(z, x_t, from_levels(beta), node(rate)),
    "networks.bit_readout.denoising": lambda z, x_t, beta, level, *, rate=0.5: denoising(
        z, x_t, from_levels(beta, level), node(rate)),
    "networks.bit_readout.read_out": lambda z, x_t, step, *, rate, readout: read_out(
        z, x_t, of_step(step), node(rate), readout),
    "networks.heartbeat.reverse": _heartbeat,
}
