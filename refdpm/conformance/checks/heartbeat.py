"""Checks of the read-outs of bits and of the heartbeat's network.

What they are compared with: Bayes' rule over all states (`oracles.enumeration`), and numbers by hand.
"""

from functools import partial
from itertools import product
from math import log, sqrt

import numpy as np

from refdpm.conformance.checks.binomial import RATES
from refdpm.conformance.checks.common import apart, check, column, passes, refused, worst
from refdpm.networks import bit_readout, heartbeat
from refdpm.oracles import enumeration
from refdpm.schedule import Step

BITS = column(0, 1)
BETA = np.array([0, 0.05, 0.2, 0.35, 1])
with np.errstate(divide="ignore"):
    LEVEL = np.cumsum(np.log1p(-BETA))


@check("bits: read-outs by hand", "networks.bit_readout.paper", "networks.bit_readout.skip", "networks.bit_readout.read_out_vjp")
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


@check("bits: denoising makes the best step", "networks.bit_readout.denoising")
def denoising_makes_the_best_step() -> float:
    """With P(x_0 | x_t) of two and three bits that depend on each other: f* = E_q[x_{t−1} | x_t] at every state and t."""
    found = []
    for data, rate, t in product((np.array([0.1, 0.2, 0.3, 0.4]), np.array([1, 5, 1, 2, 3, 1, 4, 1]) / 18), RATES, (2, 3, 4)):
        x = enumeration.states(len(data).bit_length() - 1).astype(np.float64)
        joint = data[:, None] * enumeration.marginals(np.eye(len(x)), BETA, rate=rate)[t]
        one = (joint.T @ x) / joint.sum(axis=0)[:, None]
        alone = np.array([1 - rate, rate])[:, None] * enumeration.marginals(np.eye(2), BETA, rate=rate)[t]     # a bit by itself
        z = np.log(one / (1 - one)) - np.log(alone[1] / alone[0])[x.astype(int)]
        p = bit_readout.denoising(z, x, np.full((len(x), 1), BETA[t]), np.full((len(x), 1), LEVEL[t - 1]), rate=rate)
        found.append(apart(p.prob, enumeration.optimal_reverse(data, BETA, rate=rate)(x.astype(int), t)))
    return worst(*found)


T = np.array([3, 2, 4, 3])
STEP = Step(BETA[T, None], LEVEL[T - 1, None], LEVEL[T, None])


@check("the heartbeat's network starts at the forward kernel", "networks.heartbeat.init", "networks.heartbeat.reverse_vjp")
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
