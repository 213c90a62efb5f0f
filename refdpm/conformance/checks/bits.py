"""Checks of K, the strict bound and the weights of short sequences of bits, against `oracles.enumeration`.

No expectation is sampled: noise in the middle of the interval that makes the wanted bit runs through all states x_t, and the rows
are weighted with q(x_t | x_0).
"""

from collections.abc import Callable
from functools import reduce
from math import log
from operator import mul
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from refdpm import binomial, bound, likelihood
from refdpm.binomial import Bernoulli
from refdpm.conformance.checks.common import Check, apart, grid, worst
from refdpm.oracles import enumeration
from refdpm.vjp import Array, fix


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
    def reverse(parameters: Any, x_t: Array, step: Any, *, t: Array) -> Bernoulli:
        if np.any(t < 2):
            raise ValueError(f"t: expected steps from 2 on, got {np.min(t)}")
        return Bernoulli(logits(x_t, t[:, None]))

    return SimpleNamespace(reverse=reverse, reverse_vjp=lambda *args, **fixed: (reverse(*args, **fixed), None))


def _states(chain: Chain) -> Array:
    return enumeration.states(len(chain.data).bit_length() - 1).astype(np.float64)


def _making(x: Array, one: Array) -> Array:
    """Noise that makes the bits x from P(1) = one: the middle of [0, one) for a one, of [one, 1) for a zero."""
    return np.where(x == 1, one / 2, (1 + one) / 2)


def every_draw(chain: Chain) -> tuple[Array, Array, Array]:
    """x_0 with one x_t for each t = 2..T, every combination: x_0 (N, n), its noise (T−1, N, n), its probability (N,)."""
    x, T = _states(chain), len(chain.beta) - 1
    law = enumeration.marginals(np.eye(len(x)), chain.beta, rate=chain.rate)
    start, *drawn = grid(*[np.arange(len(x))] * T)
    noise = np.stack([_making(x[s], (law[t] @ x)[start]) for t, s in enumerate(drawn, 2)])
    return x[start], noise, chain.data[start] * reduce(mul, [law[t, start, s] for t, s in enumerate(drawn, 2)])


def _of(what: Callable[..., Any], chain: Chain, x_0: Array, noise: Array) -> Any:
    return what((), chain.beta, x_0, noise=noise, t=bound.every_step(len(chain.beta) - 1, len(x_0)), network=network(_logits),
                kernel=fix(binomial, rate=chain.rate))


def _enumerated(what: Callable[..., Array], oracle: Callable[..., float]) -> float:
    found = []
    for chain in CHAINS:
        x_0, noise, weight = every_draw(chain)
        value = weight @ _of(what, chain, x_0, noise)
        found.append(apart(value, oracle(chain.data, chain.beta, _reverse, rate=chain.rate)))
    return worst(*found)


def bound_of_bits() -> float:
    """K of two and three bits whose rate is not that of π, with an exact expectation over x_0 and every x_t."""
    return _enumerated(bound.bound, enumeration.bound)


def strict_bound_of_bits() -> float:
    """K + C is eq. 12, which the oracle sums term by term over t = 1..T."""
    return _enumerated(bound.strict_bound, enumeration.strict_bound)


def terms_of_bits() -> float:
    """KL at every t is the oracle's; the entropies are sums over states, which depend on x_0 unless r = ½, and n h(r);
    −E log π(x_t) is a sum over states too."""
    found = []
    for chain in CHAINS:
        data, beta, rate = chain
        kernel, x, T = fix(binomial, rate=rate), _states(chain), len(beta) - 1
        x_0, noise, weight = every_draw(chain)
        terms = _of(bound.terms, chain, x_0, noise)
        costs = enumeration.step_costs(data, beta, _reverse, rate=rate)
        pi, law = enumeration.prior(x.shape[1], rate=rate), enumeration.marginals(np.eye(len(x)), beta, rate=rate)
        found += [apart(terms.kl @ weight, costs[2:]), apart(terms.entropy_prior, np.full(len(x_0), enumeration.entropy(pi)))]
        found += [apart(bound.entropy_at(beta, x, t=t, kernel=kernel), enumeration.entropy(law[t])) for t in range(1, T + 1)]
        found += [apart(bound.prior_cross_entropy_at(beta, x, t=t, kernel=kernel), -law[t] @ np.log(pi)) for t in range(1, T + 1)]
    return worst(*found)


def correction_of_bits() -> float:
    """C = (ᾱ_T + β_1) Σ (x_0 − r) log(r/(1−r)) for each example, on average the oracle's, and 0 at r = ½."""
    found = []
    for data, beta, rate in CHAINS:
        x = _states(Chain(data, beta, rate))
        c = bound.correction(beta, x, kernel=fix(binomial, rate=rate))
        expected = (x - rate).sum(axis=1) * (np.prod(1 - beta) + beta[1]) * log(rate / (1 - rate))
        found += [apart(c, expected, scale=1), apart(data @ c, enumeration.correction(data, beta, rate=rate), scale=1)]
    return worst(*found)


def weights_of_bits() -> float:
    """Every path of two bits: log w is the oracle's, the average of w is p(x_0), a product of reverse matrices, and the
    average of log w is the strict bound."""
    found = []
    for data, beta, rate in CHAINS[:2]:
        x, T, n = _states(Chain(data, beta, rate)), len(beta) - 1, 2
        paths, start = enumeration.trajectories(_reverse, beta, n, rate=rate), grid(*[np.arange(len(x))] * (T + 1))
        ones = [(enumeration.transition(b, n, rate=rate) @ x)[before] for b, before in zip(beta[1:], start)]
        noise = np.stack([_making(x[after], one) for one, after in zip(ones, start[1:])])
        q, kernel = paths.prob.reshape(len(x), -1), fix(binomial, rate=rate)
        log_w = likelihood.log_weights((), beta, x[start[0]], noise=noise, kernel=kernel, network=network(_logits)).reshape(q.shape)
        found += [apart(log_w, paths.log_weight.reshape(q.shape)),
                  apart((q * np.exp(log_w)).sum(axis=1), enumeration.model_law(_reverse, beta, n, rate=rate)),
                  apart(data @ (q * log_w).sum(axis=1), enumeration.strict_bound(data, beta, _reverse, rate=rate))]
    return worst(*found)


def null_model_of_bits() -> float:
    """A heartbeat of 4 ones and 16 zeros under π with r = 0.2: 4 log 0.2 + 16 log 0.8, also as an image of 4 × 5; 20 log ½."""
    x = np.tile([1.0, 0, 0, 0, 0], 4)
    slow, fair = fix(binomial, rate=0.2), likelihood.null_log_likelihood(x[None], kernel=binomial)
    rows, image = (likelihood.null_log_likelihood(x.reshape(shape), kernel=slow) for shape in ((1, 20), (1, 4, 5)))
    expected = [4 * log(0.2) + 16 * log(0.8)]
    return worst(apart(rows, expected), apart(image, expected), apart(fair, [-20 * log(2)]))


WHOLE = ("binomial.prior", "binomial.marginal", "binomial.posterior", "binomial.kl", "binomial.entropy", "binomial.draw",
         "bound.step_kl_vjp", "bound.entropy_at_vjp", "bound.terms_vjp", "bound.assemble", "bound.bound_vjp")
CORRECTION = ("binomial.prior", "binomial.marginal", "binomial.cross_entropy", "binomial.log_prob", "binomial.entropy",
              "bound.prior_cross_entropy_at_vjp", "bound.correction_vjp")

CHECKS = (
    Check("bits: K by enumeration", WHOLE, bound_of_bits),
    Check("bits: strict bound by enumeration", (*WHOLE, *CORRECTION, "bound.strict_bound_vjp"), strict_bound_of_bits),
    Check("bits: terms of K one by one", (*WHOLE[:9], "binomial.cross_entropy", "bound.prior_cross_entropy_at_vjp"),
          terms_of_bits),
    Check("bits: correction in closed form", CORRECTION, correction_of_bits),
    Check("bits: weights by enumeration", ("binomial.forward", "binomial.draw", "binomial.log_prob", "likelihood.log_weights"),
          weights_of_bits),
    Check("bits: null model by hand", ("binomial.prior", "binomial.log_prob", "likelihood.null_log_likelihood"),
          null_model_of_bits),
)
