"""Checks of the read-outs of bits and of the heartbeat's network.

What they are compared with: sums over both values of x_0 in exact fractions, Bayes' rule over all states (`oracles.enumeration`),
K* of short heartbeats (`oracles.heartbeat`), and numbers by hand.
"""

from fractions import Fraction
from functools import partial
from itertools import product
from math import log, log1p, sqrt

import numpy as np

from refdpm import binomial
from refdpm.conformance.checks.binomial import RATES, _log_odds, _table
from refdpm.conformance.checks.common import Check, apart, column, passes, refused, worst
from refdpm.networks import bit_readout, heartbeat
from refdpm.oracles import enumeration
from refdpm.oracles import heartbeat as oracle
from refdpm.schedule import Step
from refdpm.vjp import Array

BITS = column(0, 1)
BETA = np.array([0, 0.05, 0.2, 0.35, 1])
with np.errstate(divide="ignore"):
    LEVEL = np.cumsum(np.log1p(-BETA))


# -- read-outs ---------------------------------------------------------------------------------------------------------

def read_outs_by_hand() -> float:
    """`paper` is z, of P(1) = ¾ for z = log 3, whatever x_t.  `skip`, r = ½, β = ½: odds of 1 to 3 and 3 to 1, times e^z = 3.
    By name the same; another name is refused."""
    z, half = np.full((2, 1), log(3)), np.full((2, 1), 0.5)
    step = Step(half, np.full((2, 1), log(0.8)), np.full((2, 1), log(0.4)))
    named = partial(bit_readout.read_out, z, BITS, step, rate=0.5)
    paper, skip = bit_readout.paper(z), bit_readout.skip(z, BITS, half, rate=0.5)
    return worst(apart(paper.prob, [[0.75], [0.75]]), apart(paper.logit, z, within=1e-15), apart(skip.prob, [[0.5], [0.9]]),
                 apart(named(readout="paper").logit, z), apart(named(readout="skip").prob, [[0.5], [0.9]]),
                 passes(refused(lambda: named(readout="none"))))


ODDS = (Fraction(1), Fraction(1, 3), Fraction(70), Fraction(1, 10 ** 12), Fraction(10 ** 12))


def denoising_is_a_sum_over_x_0() -> float:
    """Σ_k P(x_0 = k | x_t) q(x_{t−1} | x_t, x_0 = k) in fractions, P ∝ q(x_t | k) π(k) e^{kz}; the posterior by Bayes' rule from
    two-by-two tables.  T = 5 at t = 2, 3 and 5, where β = 1; T = 2000 at t = 2, with flip rates down to 4e-8; e^z to 10^±12."""
    found = []
    for rate, (T, t) in product(RATES, ((5, 2), (5, 3), (5, 5), (2000, 2))):
        drawn, beta = Fraction(t - 1, T), Fraction(1, T - t + 1)
        expected, x_t = [], []
        for x, odds in product((0, 1), ODDS):
            expected.append(_mixture(x, odds, beta, drawn, rate))
            x_t.append(x)
        z = column(*(log(odds) for _, odds in product((0, 1), ODDS)))
        at, level = np.full(z.shape, float(beta)), np.full(z.shape, log1p(-drawn))
        step = Step(at, level, np.full(z.shape, log1p(-t / T) if t < T else -np.inf))
        for p in (bit_readout.denoising(z, column(*x_t), at, level, rate=rate),
                  bit_readout.read_out(z, column(*x_t), step, rate=rate, readout="denoising")):
            found.append(apart(p.logit, column(*expected)))
    return worst(*found)


def _mixture(x_t: int, odds: Fraction, beta: Fraction, drawn: Fraction, rate: float) -> float:
    """The log odds of x_{t−1}, given that those of x_0 are `odds` times what stationary data have."""
    before, step = _table(drawn, rate), _table(beta, rate)
    seen = [sum(before[k][x] * step[x][x_t] for x in (0, 1)) for k in (0, 1)]                    # q(x_t | x_0 = k)
    weight = [(1 - Fraction(rate)) * seen[0], Fraction(rate) * seen[1] * odds]
    zero, one = (sum((weight[k] * before[k][x] * step[x][x_t] / seen[k] for k in (0, 1)), Fraction(0)) for x in (0, 1))
    return _log_odds(zero, one)


def _known(data: Array, t: int, rate: float) -> tuple[Array, Array, Array]:
    """All states x, q(x_t) of each, and the head z of a network that knows P(x_0 | x_t): Bayes' rule over all x_0."""
    x = enumeration.states(len(data).bit_length() - 1).astype(np.float64)
    law = enumeration.marginals(np.eye(len(x)), BETA, rate=rate)[t]
    joint = data[:, None] * law
    one = (joint.T @ x) / joint.sum(axis=0)[:, None]
    alone = enumeration.marginals(np.eye(2), BETA, rate=rate)[t]                                # a bit by itself
    stationary = rate * alone[1] / (rate * alone[1] + (1 - rate) * alone[0])
    share = stationary[x.astype(int)]
    return x, joint.sum(axis=0), np.log(one / (1 - one)) - np.log(share / (1 - share))


DATA = (np.array([0.1, 0.2, 0.3, 0.4]), np.array([1, 5, 1, 2, 3, 1, 4, 1]) / 18)


def denoising_makes_the_best_step() -> float:
    """With P(x_0 | x_t) of two and three bits that depend on each other: f* = E_q[x_{t−1} | x_t] at every state and t."""
    found = []
    for data, rate, t in product(DATA, RATES, (2, 3, 4)):
        x, _, z = _known(data, t, rate)
        p = bit_readout.denoising(z, x, np.full((len(x), 1), BETA[t]), np.full((len(x), 1), LEVEL[t - 1]), rate=rate)
        found.append(apart(p.prob, enumeration.optimal_reverse(data, BETA, rate=rate)(x.astype(int), t)))
    return worst(*found)


def known_phases_give_the_best_bound() -> float:
    """Six bits, three phases: z from the phases' weights given all other classes, by counting; E KL at every t, summed over all
    x_t and x_0, is the oracle's, and so is K*."""
    n, period, found = 6, 3, []
    x = enumeration.states(n).astype(np.float64)
    for rate in (1 / 3, 0.5):
        law, costs = oracle.bits(BETA, rate=rate), oracle.step_costs(BETA, rate=rate, n=n, period=period)
        sequences = (np.arange(n) % period == np.arange(period)[:, None]).astype(np.float64)
        found_costs = [_cost(x, sequences, law.marginal[t], t, rate) for t in range(2, len(BETA))]
        found += [apart(found_costs, costs[2:]),
                  apart(_ends(law.marginal, n, period, rate) - sum(found_costs), oracle.bound(BETA, rate=rate, n=n, period=period))]
    return worst(*found)


def _cost(x_t: Array, sequences: Array, law: Array, t: int, rate: float) -> float:
    """E KL(q(x_{t−1} | x_t, x_0) ‖ denoising) at step t."""
    given = np.array([np.prod(np.where(x_t == 1, law[s.astype(int), 1], law[s.astype(int), 0]), axis=1) for s in sequences])
    ratio = np.where(x_t == 1, law[1, 1] / law[0, 1], law[1, 0] / law[0, 0])
    others = given.sum(axis=0) / given - 1                                                      # odds against each phase
    z = -np.log(others.T @ sequences) - np.log(ratio) - log(rate / (1 - rate))
    at, level = np.full((len(x_t), 1), BETA[t]), np.full((len(x_t), 1), LEVEL[t - 1])
    p = bit_readout.denoising(z, x_t, at, level, rate=rate)
    kl = [binomial.kl(binomial.posterior(x_t, s + 0 * x_t, at, level, rate=rate), p).sum(axis=1) for s in sequences]
    return float((given * kl).sum() / len(sequences))


def _ends(marginal: Array, n: int, period: int, rate: float) -> float:
    """H(X^T | X^0) − H(X^1 | X^0) − H(π)."""
    def entropy(p: Array) -> Array:
        return -(p * np.log(p)).sum(axis=-1)

    share = np.array([1 - 1 / period, 1 / period])
    return n * float(share @ entropy(marginal[-1]) - share @ entropy(marginal[1]) - entropy(np.array([1 - rate, rate])))


# -- the network -------------------------------------------------------------------------------------------------------

T = np.array([3, 2, 4, 3])
STEP = Step(BETA[T, None], LEVEL[T - 1, None], LEVEL[T, None])


def network_starts_at_the_forward_kernel() -> float:
    """Hidden weights of mean 0 and variance 1/in, six standard errors each (another seed would fail in 2·10⁻⁸ of all cases); biases
    and last layers zero, so that p is q(x_t | x_{t−1}) with the arguments exchanged.  The paper's sizes by default."""
    rng = np.random.default_rng(3)
    own, mixed = heartbeat.init(rng, T=7), heartbeat.init(rng, T=7, bits=30, hidden=(40, 50, 60), last="bumps")
    shapes = [[leaf.shape for leaf in (*(w for w, _ in start.hidden), start.weight, start.bias)] for start in (own, mixed)]
    expected = [(20, 50), (50, 50), (50, 50), (8, 50, 20), (8, 20)], [(30, 40), (40, 50), (50, 60), (60, 300), (300,)]
    found = [passes(shapes == list(expected), refused(lambda: heartbeat.init(rng, T=7, last="")))]
    for start in (own, mixed):
        for weight, bias in start.hidden:
            z = (weight * sqrt(len(weight))).ravel()
            found += [abs(z.mean()) * sqrt(z.size) / 6, abs((z * z).mean() - 1) * sqrt(z.size / 2) / 6, apart(bias, 0 * bias)]
        found += [apart(start.weight, 0 * start.weight), apart(start.bias, 0 * start.bias)]
    x = (np.random.default_rng(4).random((4, 20)) < 0.4).astype(float)
    p = heartbeat.reverse(own, x, STEP, t=T)
    return worst(*found, apart(p.prob, x * (1 - STEP.beta) + 0.2 * STEP.beta))


CHECKS = (
    Check("bits: read-outs by hand",
          ("networks.bit_readout.paper", "networks.bit_readout.skip", "networks.bit_readout.read_out_vjp"), read_outs_by_hand),
    Check("bits: denoising is a sum over x_0", ("networks.bit_readout.denoising", "networks.bit_readout.read_out_vjp"),
          denoising_is_a_sum_over_x_0),
    Check("bits: denoising makes the best step", ("networks.bit_readout.denoising",), denoising_makes_the_best_step),
    Check("heartbeat: known phases give K*", ("networks.bit_readout.denoising", "binomial.posterior", "binomial.kl"),
          known_phases_give_the_best_bound),
    Check("the heartbeat's network starts at the forward kernel", ("networks.heartbeat.init", "networks.heartbeat.reverse_vjp"),
          network_starts_at_the_forward_kernel),
)
