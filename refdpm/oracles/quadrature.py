"""One dimension, any density, any Gaussian reverse model: everything by numerical integration.

The data are a sum of weighted points, `Nodes`; a smooth density becomes one by a Gauss rule. Bayes' rule is
taken literally: the posterior is the product of two forward densities, divided by its own sum on a grid. No
closed form of a posterior, of a divergence, of an entropy or of a bound is used. What remains of theory is
the forward chain itself, q(x_t | x_s) = N(√(ᾱ_t/ᾱ_s) x_s, 1 − ᾱ_t/ᾱ_s), and the definitions of the
quantities.

Uniform grids and plain sums are enough: for an analytic function that vanishes at both ends the trapezoidal
rule converges faster than any power of the spacing; a third of a standard deviation gives all digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from .common import Array, check_step, levels, one_minus_alpha_bar, open_doors

# A model: reverse(x_t, t) -> mean and variance of p(x_{t−1} | x_t), of the shape of x_t, asked for t = 2..T.
Reverse = Callable[[Array, int], tuple[Array, Array]]

REACH = 9.0     # standard deviations of noise that are integrated over; beyond lie 2e-19
NATS = 45.0     # what lies this far below a maximum is left out; e^−45 is 3e-20


class Nodes(NamedTuple):
    """A law as weighted points: E f ≈ Σ_j weight[j] f(node[j]).   Shapes: (J,) each; the weights sum to 1.

    Domain: what depends on x_0 only through an average, like K of a smooth model, needs few nodes; what
    depends on the shape of q(x_t), like `log_density` and `optimal_reverse`, needs a spacing below √(1 − ᾱ_t)
    or it sees the nodes.
    """

    node: Array
    weight: Array


class Tabulated(NamedTuple):
    """A density on a uniform grid, which may differ from row to row.   Shapes: x, density (…, G)."""

    x: Array
    density: Array


# -- laws as points and as tables ----------------------------------------------------------------------------

def gauss_legendre(density: Callable[[Array], Array], low: float, high: float, order: int) -> Nodes:
    """Nodes of a density on an interval. It need not be normalised: it is divided by its own integral."""
    x, w = np.polynomial.legendre.leggauss(order)
    node = 0.5 * (high - low) * x + 0.5 * (high + low)
    weight = w * density(node)
    return Nodes(node, weight / weight.sum())


def gauss_hermite(mean: float, var: float, order: int) -> Nodes:
    """Nodes of N(mean, var), exact for polynomials of degree 2·order − 1."""
    x, w = np.polynomial.hermite_e.hermegauss(order)
    return Nodes(mean + np.sqrt(var) * x, w / w.sum())


def unit_noise(points: int = 61) -> Nodes:
    """Nodes of N(0, 1) by the trapezoidal rule: even, so that they resolve what a Gauss rule would miss."""
    x = np.linspace(-REACH, REACH, points)
    weight = np.exp(-0.5 * x * x)
    return Nodes(x, weight / weight.sum())


def integrate(x: Array, values: Array) -> Array:
    """∫ values dx over the last axis, for values that vanish at both ends of the uniform grid x."""
    return values.sum(axis=-1) * (x[..., 1] - x[..., 0])


def table_moments(law: Tabulated) -> tuple[Array, Array]:
    """Mean and variance of a tabulated density."""
    mean = integrate(law.x, law.x * law.density)
    return mean, integrate(law.x, (law.x - mean[..., None]) ** 2 * law.density)


def entropy(law: Tabulated) -> Array:
    """H = −∫ p log p, in nats, with 0 log 0 = 0."""
    p = law.density
    return -integrate(law.x, p * np.log(np.where(p > 0, p, 1.0)))


def kl(q: Tabulated, log_p: Array) -> Array:
    """D(q ‖ p) = ∫ q (log q − log p), in nats; log_p holds the other log density on the grid of q."""
    return -entropy(q) - integrate(q.x, q.density * np.where(q.density > 0, log_p, 0.0))


# -- the forward chain, and Bayes ----------------------------------------------------------------------------

def log_density(data: Nodes, x: Array, log_alpha_bar: float) -> Array:
    """log q(x_t) = log Σ_j w_j N(x_t; √ᾱ x_0j, 1 − ᾱ), log ᾱ < 0.   Shapes: those of x."""
    return logsumexp(_log_forward(x[..., None], data.node, log_alpha_bar), axis=-1, b=data.weight)


def posterior(x_t: Array, x_0: Array, log_alpha_bar_prev: float, log_alpha_bar: float, *,
              points: int = 64) -> Tabulated:
    """q(x_{t−1} | x_t, x_0) on a grid: q(x_t | x_{t−1}) q(x_{t−1} | x_0), divided by its integral.

    The grid is found by looking: begin with room for both factors, keep what is within 45 nats of the
    maximum, again.
    Shapes: x_t and x_0 broadcast to (…); grid and density (…, points).
    Domain: log_alpha_bar < log_alpha_bar_prev < 0. At t = 1 the posterior is a point, and no table can hold
    it.
    """
    before, step = log_alpha_bar_prev, log_alpha_bar - log_alpha_bar_prev
    if not (step < 0 and before < 0):
        raise ValueError(f"log_alpha_bar_prev: expected a number between {log_alpha_bar} and 0, got {before}")
    x_t, x_0 = (a[..., None] for a in np.broadcast_arrays(x_t, x_0))
    low, high = _first_bracket(x_t, x_0, before, step)
    for _ in range(60):
        x = low + (high - low) * np.linspace(0.0, 1.0, points)
        value = _log_forward(x_t, x, step) + _log_forward(x, x_0, before)
        inside = value > value.max(axis=-1, keepdims=True) - NATS
        first, last = np.argmax(inside, axis=-1), points - 1 - np.argmax(inside[..., ::-1], axis=-1)
        if np.all(last - first > 0.6 * points):
            return _over_integral(x, value)
        width = (high - low) / (points - 1)
        low, high = low + (first[..., None] - 1) * width, low + (last[..., None] + 1) * width
    raise ArithmeticError("posterior: no grid found")


def optimal_reverse(data: Nodes, beta: Array) -> Reverse:
    """The best Gaussian reverse model: mean and variance of q(x_{t−1} | x_t) ∝ q(x_t | x_{t−1}) q(x_{t−1}).

    Domain: x_t at most 9 standard deviations of its noise away from √ᾱ_t times the data.
    """
    level = levels(beta)

    def reverse(x_t: Array, t: int) -> tuple[Array, Array]:
        check_step(beta, t, first=2)
        before, step = level[t - 1], level[t] - level[t - 1]
        x = _grid(data, before, step)
        prior = log_density(data, x, before)
        parts = [table_moments(_over_integral(x, prior + _log_forward(row[:, None], x, step)))
                 for row in _in_rows(x_t.ravel(), len(x))]
        mean, var = (np.concatenate(part).reshape(x_t.shape) for part in zip(*parts))
        return mean, var

    return reverse


# -- the bound, the strict bound, the likelihood -------------------------------------------------------------

def step_costs(data: Nodes, beta: Array, reverse: Reverse, *, noise: Nodes | None = None) -> Array:
    """E KL( q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t) ) at t = 2..T, a sum over (x_0, noise); else 0."""
    noise, level = noise or unit_noise(), levels(beta)
    costs = np.zeros(len(level))
    for t in range(2, len(level)):
        x_t = _diffuse(data.node[:, None], noise.node, level[t])
        q = posterior(x_t, data.node[:, None], level[t - 1], level[t])
        mean, var = reverse(x_t, t)
        costs[t] = data.weight @ kl(q, _log_normal(q.x, mean[..., None], var[..., None])) @ noise.weight
    return costs


def bound(data: Nodes, beta: Array, reverse: Reverse, *, noise: Nodes | None = None) -> float:
    """K of eq. 14, in nats.   −Σ_{t≥2} E KL + H_q(X^T | X^0) − H_q(X^1 | X^0) − H(π)"""
    level = levels(beta)
    last, first, prior = (_normal_entropy(one_minus_alpha_bar(a)) for a in (level[-1], level[1], -np.inf))
    return float(last - first - prior - step_costs(data, beta, reverse, noise=noise).sum())


def strict_bound(data: Nodes, beta: Array, reverse: Reverse, *, noise: Nodes | None = None) -> float:
    """Eq. 12, in nats.   E log π(x_T) + Σ_{t≥1} E [ log p(x_{t−1} | x_t) − log q(x_t | x_{t−1}) ]

    Each term is a sum over (x_0, the noise up to t−1, the noise of step t); step 1 is the fixed edge step.
    """
    noise, level = noise or unit_noise(), levels(beta)
    x_T = _diffuse(data.node[:, None], noise.node, level[-1])
    total = data.weight @ _log_normal(x_T, 0.0, 1.0) @ noise.weight
    for t in range(1, len(level)):
        step = level[t] - level[t - 1]
        x_prev = _diffuse(data.node[:, None, None], noise.node[:, None], level[t - 1])
        x_t = _diffuse(x_prev, noise.node, step)
        mean, var = reverse(x_t, t) if t > 1 else _edge(x_t, level[1])
        ratio = _log_normal(x_prev, mean, var) - _log_forward(x_t, x_prev, step)
        total += np.einsum("jab,j,a,b->", ratio, data.weight, noise.weight, noise.weight)
    return float(total)


def log_likelihood(x_0: Array, beta: Array, reverse: Reverse, *, reach: float = 10.0,
                   points: int = 1601) -> Array:
    """log p(x_0) of the model (eq. 6): the density of x_T, N(0, 1), pushed through every reverse kernel.

        p(x_{t−1}) = ∫ p(x_{t−1} | x_t) p(x_t) dx_t,   t = T..2,   and the forward kernel once more at t = 1

    Shapes: x_0 (N,), result (N,). The grid is [−reach, reach]; its spacing must be about a third of the
    smallest standard deviation of a reverse kernel, √β_1 included.
    Raises: ValueError when the density no longer integrates to 1, to 1e-9: the grid is too coarse or too
    short.
    """
    x, T = np.linspace(-reach, reach, points), len(levels(beta)) - 1
    if not 2 * reach / (points - 1) < 0.7 * np.sqrt(beta[1]):
        raise ValueError(f"points: expected a spacing below 0.7 √β_1, got {2 * reach / (points - 1)}")
    law = Tabulated(x, np.exp(_log_normal(x, 0.0, 1.0)))
    for t in range(T, 1, -1):
        law = Tabulated(x, _push(law, *reverse(x, t), x))
        mass = integrate(*law)
        if not abs(mass - 1) < 1e-9:
            raise ValueError(f"points: expected a grid that holds the model, got mass {mass} at t = {t - 1}")
    return np.log(_push(law, *_edge(x, np.log1p(-beta[1])), np.asarray(x_0, dtype=float)))


# -- parts ---------------------------------------------------------------------------------------------------

def _diffuse(x: Array, noise: Array, level: float) -> Array:
    """x diffused by a factor ᾱ = e^level:  √ᾱ x + √(1−ᾱ) ε."""
    return np.exp(level / 2) * x + np.sqrt(one_minus_alpha_bar(level)) * noise


def _log_forward(x: Array, start: Array, level: float) -> Array:
    """log q of ending in x after a diffusion by ᾱ = e^level that began in start."""
    return _log_normal(x, np.exp(level / 2) * start, one_minus_alpha_bar(level))


def _log_normal(x: Array, mean: Array | float, var: Array | float) -> Array:
    return -0.5 * ((x - mean) ** 2 / var + np.log(2 * np.pi * np.asarray(var)))


def _edge(x_1: Array, level: float) -> tuple[Array, Array]:
    """The fixed last step p(x_0 | x_1): the forward kernel."""
    return np.exp(level / 2) * x_1, np.broadcast_to(one_minus_alpha_bar(level), np.shape(x_1))


def _push(law: Tabulated, mean: Array, var: Array, y: Array) -> Array:
    """∫ N(y; mean(x), var(x)) p(x) dx at the points y."""
    parts = [integrate(law.x, np.exp(_log_normal(row[:, None], mean, var)) * law.density)
             for row in _in_rows(y, len(mean))]
    return np.concatenate(parts)


def _in_rows(x: Array, width: int) -> list[Array]:
    """x in parts, so that a table with `width` columns and a row for each element stays in the cache."""
    return np.array_split(x, max(1, x.size * width // 100_000))


def _normal_entropy(var: Array) -> float:
    x = np.linspace(-REACH, REACH, 301) * np.sqrt(var)
    return float(entropy(Tabulated(x, np.exp(_log_normal(x, 0.0, var)))))


def _over_integral(x: Array, log_density: Array) -> Tabulated:
    """A log density, known up to a constant, as a table that integrates to 1."""
    density = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
    return Tabulated(x, density / integrate(x, density)[..., None])


def _first_bracket(x_t: Array, x_0: Array, before: float, step: float) -> tuple[Array, Array]:
    """Room for a product of two bells: its maximum lies between theirs, and it is narrower than both."""
    centre, width = np.exp(before / 2) * x_0, np.sqrt(one_minus_alpha_bar(before))
    other = centre
    if step > -np.inf:
        other, width = np.exp(-step / 2) * x_t, min(width, np.sqrt(np.expm1(-step)))
    return np.minimum(centre, other) - 10 * width, np.maximum(centre, other) + 10 * width


def _grid(data: Nodes, before: float, step: float) -> Array:
    """One grid for x_{t−1}: wide enough for its law and 9 deviations more, fine enough for both factors."""
    width = np.sqrt(one_minus_alpha_bar(before))
    finest = min(width, np.sqrt(np.expm1(-step))) / 3
    low, high = (np.exp(before / 2) * a for a in (data.node.min(), data.node.max()))
    margin = (REACH + 10) * width
    return np.linspace(low - margin, high + margin, int(np.ceil((high - low + 2 * margin) / finest)) + 1)


open_doors(globals())
