"""One dimension, any density, any Gaussian reverse model: everything by numerical integration.

The data are a sum of weighted points, `Nodes`; a smooth density becomes one by a Gauss rule. Bayes' rule is taken
literally: the posterior is the product of two forward densities, divided by its own sum on a grid. No closed form of a
posterior, of a divergence between Gaussians or of a bound is used. What remains of theory is the forward chain itself,
q(x_t | x_s) = N(√(ᾱ_t/ᾱ_s) x_s, 1 − ᾱ_t/ᾱ_s), and the definitions of the quantities.

Uniform grids and plain sums are enough: for an analytic function that vanishes at both ends the trapezoidal rule
converges faster than any power of the spacing, and half a standard deviation gives all digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .common import Array, log_alpha_bar, one_minus_alpha_bar

Reverse = Callable[[Array, int], tuple[Array, Array]]
"""A model: reverse(x_t, t) -> mean and variance of p(x_{t−1} | x_t), each with the shape of x_t, t = 2..T."""


class Nodes(NamedTuple):
    """A law as weighted points: E f ≈ Σ_j weight[j] f(node[j]).   Shapes: (J,) each, weights sum to 1."""

    node: Array
    weight: Array


class Tabulated(NamedTuple):
    """A density on a uniform grid, which may differ from row to row.   Shapes: x, density (…, G)."""

    x: Array
    density: Array


# -- laws as points and as tables --------------------------------------------------------------------------------------

def gauss_legendre(density: Callable[[Array], Array], low: float, high: float, order: int) -> Nodes:
    """Nodes of a density on an interval, which need not be normalised: it is divided by its own integral."""
    x, w = np.polynomial.legendre.leggauss(order)
    node = 0.5 * (high - low) * x + 0.5 * (high + low)
    weight = w * density(node)
    return Nodes(node, weight / weight.sum())


def gauss_hermite(mean: float, var: float, order: int) -> Nodes:
    """Nodes of N(mean, var): exact for polynomials of degree 2·order − 1."""
    x, w = np.polynomial.hermite_e.hermegauss(order)
    return Nodes(mean + np.sqrt(var) * x, w / w.sum())


def integrate(x: Array, values: Array) -> Array:
    """∫ values dx on the uniform grid x, over the last axis, for values that vanish at both ends."""
    return values.sum(axis=-1) * (x[..., 1] - x[..., 0])


def table_moments(law: Tabulated) -> tuple[Array, Array]:
    """Mean and variance of a tabulated density."""
    mean = integrate(law.x, law.x * law.density)
    return mean, integrate(law.x, (law.x - mean[..., None]) ** 2 * law.density)


def entropy(law: Tabulated) -> Array:
    """H = −∫ p log p, in nats; 0 log 0 = 0."""
    p = law.density
    return -integrate(law.x, p * np.log(np.where(p > 0, p, 1.0)))


def kl(q: Tabulated, p: Array) -> Array:
    """D(q ‖ p) = ∫ q log(q/p), in nats; p are the values of the other density on the grid of q."""
    ratio = np.where(q.density > 0, q.density, 1.0) / np.where(q.density > 0, p, 1.0)
    return integrate(q.x, q.density * np.log(ratio))


# -- the forward chain, and Bayes ----------------------------------------------------------------------------------------

def marginal(data: Nodes, x: Array, level: float) -> Array:
    """q(x_t) = Σ_j w_j N(x_t; √ᾱ x_0j, 1 − ᾱ) at the level log ᾱ < 0.   Shapes: those of x."""
    return _forward(x[..., None], data.node, level) @ data.weight


def posterior(x_t: Array, x_0: Array, level_prev: float, level: float, points: int = 96) -> Tabulated:
    """q(x_{t−1} | x_t, x_0) on a grid: q(x_t | x_{t−1}) q(x_{t−1} | x_0), divided by its integral.

    The grid is found by looking: start with both factors inside, keep what lies within 45 nats of the maximum, repeat.
    Shapes: x_t, x_0 broadcast to (…); grid and density (…, points).
    Domain: level < level_prev < 0. At t = 1 the posterior is a point, and no table can hold it.
    """
    if not level < level_prev < 0:
        raise ValueError(f"level_prev: expected level < level_prev < 0, got {level_prev} with level {level}")
    x_t, x_0 = np.broadcast_arrays(x_t, x_0)

    def log_product(x: Array) -> Array:
        return (_log_forward(x_t[..., None], x, level - level_prev)
                + _log_forward(x, x_0[..., None], level_prev))

    low, high = _first_bracket(x_t, x_0, level_prev, level)
    ramp = np.linspace(0.0, 1.0, points)
    for _ in range(60):
        x = low[..., None] + (high - low)[..., None] * ramp
        value = log_product(x)
        inside = value > value.max(axis=-1, keepdims=True) - 45.0
        first = np.argmax(inside, axis=-1)
        last = points - 1 - np.argmax(inside[..., ::-1], axis=-1)
        settled = np.all(last - first > 0.6 * points)
        step = (high - low) / (points - 1)
        low, high = low + (first - 1) * step, low + (last + 1) * step
        if settled:
            break
    x = low[..., None] + (high - low)[..., None] * ramp
    value = log_product(x)
    density = np.exp(value - value.max(axis=-1, keepdims=True))
    return Tabulated(x, density / integrate(x, density)[..., None])


def optimal_reverse(data: Nodes, beta: Array, *, reach: float = 9.0) -> Reverse:
    """The best Gaussian reverse model: mean and variance of q(x_{t−1} | x_t) ∝ q(x_t | x_{t−1}) q(x_{t−1}), on a grid.

    Domain: |x_t| no further from the data than `reach` standard deviations of the noise, in both levels.
    """
    level = log_alpha_bar(beta)

    def reverse(x_t: Array, t: int) -> tuple[Array, Array]:
        x = _grid(data, level[t - 1: t + 1], reach)
        prior = marginal(data, x, level[t - 1])
        product = prior * _scaled(_log_forward(np.ravel(x_t)[:, None], x, level[t] - level[t - 1]), prior)
        density = product / integrate(x, product)[:, None]
        mean, var = table_moments(Tabulated(x, density))
        return mean.reshape(np.shape(x_t)), var.reshape(np.shape(x_t))

    return reverse
