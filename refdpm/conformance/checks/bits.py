"""Checks of K, the strict bound and the weights of short sequences of bits, against `oracles.enumeration`.

No expectation is sampled: noise at the end of the interval that makes the wanted bit runs through all states x_t, and the rows
are weighted with q(x_t | x_0).
"""

from collections.abc import Callable
from functools import reduce
from operator import mul
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from refdpm import binomial, bound, likelihood, reversal
from refdpm.binomial import Bernoulli
from refdpm.conformance.checks.common import apart, check, grid, of_values, worst
from refdpm.oracles import enumeration
from refdpm.vjp import Array, Module, fix


class Chain(NamedTuple):
    """The probabilities of all 2ⁿ sequences, the rates, and the rate of ones of π."""

    data: Array
    beta: Array
    rate: float


CHAINS = (Chain(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0.1, 0.3, 0.6]), 0.5),
          Chain(np.array([0.0, 0.25, 0.7, 0.05]), np.array([0, 0.05, 0.2, 0.35, 1]), 0.2),
          Chain(np.array([1, 5, 0, 2, 3, 0, 4, 1]) / 16, np.array([0, 0.15, 0.4, 0.7]), 0.2))


def _logits(x: Array, t: Any) -> Array:
    """A reverse model in which every bit depends on its neighbour too."""
    return 1.3 * x - 0.6 + 0.9 * np.roll(x, 1, axis=1) * (1 - 2 * x) - 0.15 * t


def _reverse(x: Array, t: int) -> Array:
    return 1 / (1 + np.exp(-_logits(x, t)))


def network(logits: Callable[[Array, Any], Array]) -> SimpleNamespace:
    """The model logits(x_t, t), without a pullback; it refuses t = 1, where the step is not the network's."""
    return of_values(lambda parameters, x_t, step, *, t: Bernoulli(logits(x_t, t[:, None])))


def _kernel(rate: float) -> Module:
    """By itself the kernel has the rate ½."""
    return binomial if rate == 0.5 else fix(binomial, rate=rate)


def _states(chain: Chain) -> Array:
    return enumeration.states(len(chain.data).bit_length() - 1).astype(np.float64)


def making(x: Array, one: Array) -> Array:
    """Noise that makes the bits x from P(1) = one, and from hardly another: next to the end of [0, one) for a one, to the beginning
    of [one, 1) for a zero."""
    return np.where(x == 1, one * (1 - 1e-9), one + (1 - one) * 1e-9)


def every_draw(chain: Chain) -> tuple[Array, Array, Array]:
    """x_0 with one x_t for each t = 2..T, every combination: x_0 (N, n), its noise (T−1, N, n), its probability (N,)."""
    x, T = _states(chain), len(chain.beta) - 1
    law = enumeration.marginals(np.eye(len(x)), chain.beta, rate=chain.rate)
    start, *drawn = grid(*[np.arange(len(x))] * T)
    noise = np.stack([making(x[s], (law[t] @ x)[start]) for t, s in enumerate(drawn, 2)])
    return x[start], noise, chain.data[start] * reduce(mul, [law[t, start, s] for t, s in enumerate(drawn, 2)])


def _of(what: Callable[..., Any], chain: Chain, x_0: Array, noise: Array) -> Any:
    return what((), chain.beta, x_0, noise=noise, t=bound.every_step(len(chain.beta) - 1, len(x_0)), network=network(_logits),
                kernel=_kernel(chain.rate))


@check("bits: K and strict bound by enumeration", "binomial.prior", "binomial.marginal", "binomial.posterior", "binomial.kl",
       "binomial.entropy", "binomial.cross_entropy", "binomial.log_prob", "binomial.draw", "bound.step_kl_vjp",
       "bound.entropy_at_vjp", "bound.terms_vjp", "bound.assemble", "bound.bound_vjp", "bound.prior_cross_entropy_at_vjp",
       "bound.correction_vjp", "bound.strict_bound_vjp")
def bounds_of_bits() -> float:
    """Of two and three bits whose rate is not that of π, with an exact expectation over x_0 and every x_t: K, and eq. 12, which the
    oracle sums term by term over t = 1..T."""
    found = []
    for chain in CHAINS:
        x_0, noise, weight = every_draw(chain)
        for what, oracle in ((bound.bound, enumeration.bound), (bound.strict_bound, enumeration.strict_bound)):
            found.append(apart(weight @ _of(what, chain, x_0, noise), oracle(chain.data, chain.beta, _reverse, rate=chain.rate)))
    return worst(*found)


@check("bits: weights by enumeration", "binomial.forward", "binomial.draw", "binomial.log_prob", "likelihood.log_weights")
def weights_of_bits() -> float:
    """Every path of two bits: log w is the oracle's, the average of w is p(x_0), a product of reverse matrices, and the
    average of log w is the strict bound."""
    found = []
    for data, beta, rate in CHAINS[:2]:
        x, T, n = _states(Chain(data, beta, rate)), len(beta) - 1, 2
        paths, start = enumeration.trajectories(_reverse, beta, n, rate=rate), grid(*[np.arange(len(x))] * (T + 1))
        ones = [(enumeration.transition(b, n, rate=rate) @ x)[before] for b, before in zip(beta[1:], start)]
        noise = np.stack([making(x[after], one) for one, after in zip(ones, start[1:])])
        q, kernel = paths.prob.reshape(len(x), -1), _kernel(rate)
        log_w = likelihood.log_weights((), beta, x[start[0]], noise=noise, kernel=kernel, network=network(_logits)).reshape(q.shape)
        found += [apart(log_w, paths.log_weight.reshape(q.shape)),
                  apart((q * np.exp(log_w)).sum(axis=1), enumeration.model_law(_reverse, beta, n, rate=rate)),
                  apart(data @ (q * log_w).sum(axis=1), enumeration.strict_bound(data, beta, _reverse, rate=rate))]
    return worst(*found)


@check("bits: bounds of the reverse entropy by enumeration", "reversal.entropy_bounds", "binomial.entropy", "binomial.forward")
def entropy_bounds_of_bits() -> float:
    """Both sides of eq. 24 at every t, with an exact expectation over x_0 and x_{t−1}: H(X_t|X_{t−1}) depends on x_{t−1}."""
    found = []
    for chain in CHAINS:
        x, exact = _states(chain), enumeration.entropies(chain.data, chain.beta, rate=chain.rate)
        law = enumeration.marginals(np.eye(len(x)), chain.beta, rate=chain.rate)
        start, before = grid(*[np.arange(len(x))] * 2)
        for t in range(2, len(chain.beta)):
            noise = making(x[before], (law[t - 1] @ x)[start])
            bounds = reversal.entropy_bounds(chain.beta, x[start], t=t, noise=noise, kernel=_kernel(chain.rate))
            found.append(apart([(chain.data[start] * law[t - 1, start, before]) @ side for side in bounds],
                               [exact.lower[t], exact.upper[t]]))
    return worst(*found)
