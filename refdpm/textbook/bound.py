"""The paper's objective as it is printed: K and its terms, what makes it strict, the average over paths, and other log-likelihoods.

    K = −Σ_{t=2}^T KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) + H(x_T | x_0) − H(x_1 | x_0) − H(π)

An example is a row, or where the steps of a chain are the rows an entry of the axis after them; all axes after that are components.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np

from refdpm.textbook.chain import Normal, Row, cross_entropy, draw, entropy, forward, kl, log_prob, marginal, posterior, row
from refdpm.textbook.expression import (HALF, PI, E, also, column, count, exp, given, joined, largest, log, move, named, node, path,
                                        slack, sqrt, square, term, total)
from refdpm.textbook.networks import formula_of

AFTER = {0: (1, 2, 3, 4, 5), 1: (2, 3, 4, 5)}                       # the axes after that of the examples
NOISE, X_0 = given("noise"), given("x_0")
PRIOR = Normal(node(0), node(1))
UNSEEN = 2.0 ** -48                                                 # a number so small that float32 loses its square


class Terms(NamedTuple):
    """The terms of K: kl (S, N), the others (N,)."""

    kl: E
    entropy_T: E
    entropy_1: E
    entropy_prior: E


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: E
    stderr: E


def per_example(x: E, like: E | None = None, examples: int = 0) -> E:
    """Σ over the components of each example, of x repeated for every component of `like`."""
    return total(x, axes=AFTER[examples], like=like)


# -- the terms of K ------------------------------------------------------------------------------------------------------

@named
def divergence(q: Normal, p: Normal, examples: int = 0) -> E:
    """KL(q ‖ p) of each example."""
    return per_example(kl(q, p), examples=examples)


def step_kl(x_0: E, noise: E, row: Row, reverse: Callable[[E], Normal], examples: int = 0) -> E:
    """KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) at x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε."""
    x_t = draw(marginal(x_0, row), noise)
    return divergence(posterior(x_t, x_0, row), reverse(x_t), examples)


def entropy_at(x_0: E, row: Row) -> E:
    """H(x_t | x_0)."""
    return per_example(entropy(marginal(x_0, row).var), like=x_0)


def prior_entropy(x_0: E) -> E:
    """H(π) of the standard normal law."""
    return per_example(also(HALF * (1 + log(2 * PI)), entropy(node(1))), like=x_0)


def ends(x_0: E) -> tuple[E, E, E]:
    """H(x_T | x_0), H(x_1 | x_0) and H(π)."""
    return entropy_at(x_0, row(at="T")), entropy_at(x_0, row(at=1)), prior_entropy(x_0)


def over_steps(kl: E, T: Any) -> E:
    """The sum over t, which has T − 1 terms, from some of them."""
    return term(lambda T: T - 1, T, called="T − 1") * total(kl, "steps", (0,)) / count(kl, "steps", (0,))


def assemble(terms: Any, T: Any) -> E:
    """K from its terms, of which terms.kl are some of those of the sum over t."""
    return -over_steps(terms.kl, T) + terms.entropy_T - terms.entropy_1 - terms.entropy_prior


def whole(terms: Any) -> E:
    """K from all its terms."""
    return -total(terms.kl, "steps", (0,)) + terms.entropy_T - terms.entropy_1 - terms.entropy_prior


# -- what makes it strict --------------------------------------------------------------------------------------------------

def prior_cross_entropy(x_0: E, row: Row) -> E:
    """−E log π(x_t)."""
    q = marginal(x_0, row)
    return per_example(also(HALF * (log(2 * PI) + q.var + square(q.mean)), cross_entropy(q, PRIOR)))


def log_prior(x: E) -> E:
    """log π(x): L_null."""
    return per_example(also(-HALF * (log(2 * PI) + square(x)), log_prob(x, PRIOR)))


def correction(x_0: E) -> E:
    """C = [E log π(x_T) + H(π)] + [log π(x_0) − E log π(x_1)]."""
    at_T, at_1 = prior_cross_entropy(x_0, row(at="T")), prior_cross_entropy(x_0, row(at=1))
    return (prior_entropy(x_0) - at_T) + (log_prior(x_0) + at_1)


def entropy_bounds(x_0: E) -> tuple[E, E]:
    """H(X_t|X_{t−1}) + H(X_{t−1}|X_0) − H(X_t|X_0) ≤ H(X_{t−1}|X_t) ≤ H(X_t|X_{t−1})."""
    upper = per_example(entropy(row().beta), like=x_0)
    return upper + entropy_at(x_0, row(-1)) - entropy_at(x_0, row()), upper


# -- the average over paths ------------------------------------------------------------------------------------------------

def log_weights(reverse: Callable[[E], Normal]) -> E:
    """log w = log π(x_T) + Σ_t [ log p(x_{t−1} | x_t) − log q(x_t | x_{t−1}) ] of the path from x_0 that the noise makes.

    At t = 1 p is the forward kernel; `reverse` is that of the rows t = 2..T.
    """
    states = path(draw(forward(given("x"), row()), NOISE), "x", "x_0")
    x_1, x_T = (move(states, name, lambda i, n=n: i[n]) for name, n in (("x_1 of", 1), ("x_T of", -1)))
    before, after = move(states, "x_{t−1} of", lambda i: i[1:-1]), move(states, "x_t of", lambda i: i[2:])
    back = _at_all_steps(log_prob(X_0, forward(x_1, row(at=1))), log_prob(before, reverse(after)))
    forth = _at_all_steps(log_prob(x_1, forward(X_0, row(at=1))), log_prob(after, forward(before, row())))
    return log_prior(x_T) + total(per_example(back - forth, examples=1), "steps", (0,))


def _at_all_steps(first: E, later: E) -> E:
    """What belongs to t = 1, and to t = 2..T, as one for t = 1..T."""
    return joined(move(first, "at t = 1", lambda i: i[None]), later)


@named
def log_mean(log_w: E, axis: int = 0) -> E:
    """log (1/M) Σ_m exp(log w_m), the largest subtracted first."""
    top = largest(log_w, (axis,))
    power = exp(log_w - top)
    return total(top, "one", (axis,)) + log(total(power, "paths", (axis,)) / count(power, "paths", (axis,)))


def log_likelihood(log_w: E) -> Estimate:
    """The mean over examples of log (1/M) Σ_m w_m, and its standard error from the spread of each example's weights."""
    means = log_mean(log_w)
    M, N = count(log_w, "paths", (0,)), count(log_w, "examples", (1,))
    spread = total(square(exp(log_w - means) - 1), "paths and examples", (0, 1))
    return Estimate(total(means, "examples", (0,)) / N, sqrt(spread / (M - 1) / M) / N)


# -- averages and units ----------------------------------------------------------------------------------------------------

def bits(nats: E) -> E:
    """nats/log 2."""
    return nats / log(2)


def average(x: E) -> Estimate:
    """The mean, and √[Σ (x − x̄)²/(n(n−1))]: by as much as x is rounded the distances from the mean may be, in tables."""
    n = count(x, "examples", (0,))
    mean = total(x, "examples", (0,)) / n
    stderr = sqrt(total(square(x - mean), "examples", (0,)) / (n * (n - 1)))
    return Estimate(mean, stderr + slack(sqrt(total(square(x), "examples", (0,)) / n) + UNSEEN))


# -- other densities -------------------------------------------------------------------------------------------------------

def gaussian_log_likelihood(x: E, mean: E, covariance: E) -> E:
    """log N(x; m, (a, b; b, c)) in two dimensions, with the inverse and the determinant written out."""
    a, b, c = (move(covariance, f"{name} of", lambda i, at=at: i[at]) for name, at in (("a", (0, 0)), ("b", (0, 1)), ("c", (1, 1))))
    u, v = (move(x - mean, f"{name} of", lambda i, n=n: i[..., n]) for name, n in (("u", 0), ("v", 1)))
    determinant = a * c - square(b)
    form = (c * square(u) - 2 * b * u * v + a * square(v)) / determinant
    return -HALF * (2 * log(2 * PI) + log(determinant) + form)


def parzen_log_likelihood(x: E, centres: E, bandwidth: E) -> E:
    """log (1/M) Σ_m N(x; c_m, h² I)."""
    rows = move(x, "beside every centre", lambda i: i.reshape(len(i), 1, prod(i.shape[1:])))
    points = move(centres, "as rows", lambda i: i.reshape(len(i), prod(i.shape[1:])))
    exponent = -(total(square(rows - points)) / (2 * square(bandwidth)))
    D = count(points, "components")
    return log_mean(exponent, 1) - D * (HALF * log(2 * PI) + log(bandwidth))


# -- which pair of the package each formula judges ---------------------------------------------------------------------------

def _reverse(network: Any, parameters: Any, t: Any = None) -> Callable[[E], Normal]:
    return lambda x_t: formula_of(network)(parameters, x_t, row(), t=t)


def _step_kl(parameters: Any, x_0: E, t: Any, network: Any) -> E:
    return step_kl(x_0, NOISE, row(), _reverse(network, parameters, t), examples=t.ndim - 1)


def _terms(parameters: Any, x_0: E, t: Any, network: Any) -> Terms:
    return Terms(_step_kl(parameters, x_0, t, network), *ends(x_0))


def _bound(parameters: Any, x_0: E, t: Any, network: Any) -> E:
    return assemble(_terms(parameters, x_0, t, network), column("t", at="T"))


def _log_weights(parameters: Any, beta: E, x_0: E, *, noise: Any, kernel: Any, network: Any) -> E:
    return log_weights(_reverse(network, parameters, np.arange(2, len(noise) + 1)[:, None]))


PAIRS: dict[str, Callable[..., Any]] = {
    "likelihood.total": per_example,
    "likelihood.bits": bits,
    "likelihood.in_bits": lambda estimate: Estimate(*map(bits, estimate)),
    "likelihood.average": average,
    "likelihood.null_log_likelihood": lambda x_0, *, kernel: log_prior(x_0),
    "likelihood.gaussian_log_likelihood": lambda x, *, mean, covariance: gaussian_log_likelihood(x, node(mean), node(covariance)),
    "likelihood.parzen_log_likelihood": lambda x, centres, *, bandwidth: parzen_log_likelihood(x, centres, node(bandwidth)),
    "likelihood.log_weights": _log_weights,
    "likelihood.log_likelihood": log_likelihood,
    "bound.step_kl": lambda parameters, beta, x_0, *, noise, t, kernel, network: _step_kl(parameters, x_0, t, network),
    "bound.network_kl": lambda parameters, *, beta, x_0, noise, t, kernel, network: _step_kl(parameters, X_0, t, network),
    "bound.entropy_at": lambda beta, x_0, *, t, kernel: entropy_at(x_0, row()),
    "bound.end_terms": lambda beta, x_0, *, kernel: ends(x_0),
    "bound.prior_cross_entropy_at": lambda beta, x_0, *, t, kernel: prior_cross_entropy(x_0, row()),
    "bound.terms": lambda parameters, beta, x_0, *, noise, t, kernel, network: _terms(parameters, x_0, t, network),
    "bound.assemble": lambda terms, *, T: assemble(terms, T),
    "bound.bound": lambda parameters, beta, x_0, *, noise, t, kernel, network: _bound(parameters, x_0, t, network),
    "bound.correction": lambda beta, x_0, *, kernel: correction(x_0),
    "bound.strict_bound": lambda parameters, beta, x_0, *, noise, t, kernel, network: (
        _bound(parameters, x_0, t, network) + correction(x_0)),
    "reversal.entropy_bounds": lambda beta, x_0, *, t, noise, kernel: entropy_bounds(x_0),
}
