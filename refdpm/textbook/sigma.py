"""Levels told by σ² = (1−ᾱ)/ᾱ, and a network with numbers of size 1 around it, as they are printed.

Source: Karras, Aittala, Aila, Laine 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refdpm.textbook.chain import Row, from_levels, share
from refdpm.textbook.expression import HALF, PI, E, exp, forms, joined, log, log1p, named, network, node, sqrt, square, term


class Scalings(NamedTuple):
    """c_skip, c_out, c_in and c_noise."""

    skip: E
    out: E
    into: E
    noise: E


def deviation(row: Row) -> E:
    """√((1−ᾱ)/ᾱ)."""
    return sqrt(row.rest / row.alpha_bar)


def level(sigma: E) -> E:
    """log(1/(1 + σ²)); its logarithm is one term of σ."""
    return term(lambda sigma: -log1p(square(sigma)), sigma)


def unscaled(x_t: E, row: Row) -> E:
    """x_t/√ᾱ, or with σ alone x_t √(σ² + 1)."""
    return forms(x_t / sqrt(row.alpha_bar), x_t * sqrt(square(deviation(row)) + 1))


def noised(x_0: E, sigma: E, noise: E) -> E:
    """x_0 + σ ε."""
    return x_0 + sigma * noise


@named
def scalings(sigma: E, data: E) -> Scalings:
    """σ_d²/(σ² + σ_d²), σ σ_d/√(σ² + σ_d²), 1/√(σ² + σ_d²), ¼ log σ, which is log σ^¼."""
    var = square(sigma) + square(data)
    return Scalings(square(data) / var, sigma * data / sqrt(var), 1 / sqrt(var), forms(log(sigma) / 4, log(sqrt(sqrt(sigma)))))


@network
def raw(x: E, noise: E, centre: E, spread: E) -> E:
    """F of the kit's own: s x + m c_noise."""
    return spread * x + centre * noise


def denoised(x: E, said: E, c: Scalings) -> E:
    """c_skip x + c_out F."""
    return c.skip * x + c.out * said


def weight(sigma: E, data: E) -> E:
    """1/c_out² = (σ² + σ_d²)/(σ σ_d)²."""
    return forms((square(sigma) + square(data)) / square(sigma * data), 1 / square(sigma) + 1 / square(data))


def log_normal(mean: E, spread: E, noise: E) -> E:
    """exp(P_mean + P_std z)."""
    return exp(mean + spread * noise)


def log_normal_density(sigma: E, mean: E, spread: E) -> E:
    """exp(−½ ((log σ − P_mean)/P_std)²)/(σ P_std √(2π))."""
    return exp(-HALF * square((log(sigma) - mean) / spread)) / (sigma * spread * sqrt(2 * PI))


def power(x: E, p: E) -> E:
    """x^p."""
    return exp(p * log(x))


def levels(number: E, high: E, low: E, rho: E) -> E:
    """(σ_max^(1/ρ) + i/(number−1) (σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ, and 0 at the end."""
    root = 1 / rho
    start, end = power(high, root), power(low, root)
    return joined(power(start + share(number) * (end - start), rho), node(np.zeros(1)))


PAIRS: dict[str, Callable[..., Any]] = {
    "later.sigma.deviation": lambda level: deviation(from_levels(log_alpha_bar=level)),
    "later.sigma.level": level,
    "later.sigma.unscaled": lambda x_t, level: unscaled(x_t, from_levels(log_alpha_bar=level)),
    "later.sigma.noised": lambda x_0, sigma, *, noise: noised(x_0, sigma, node(noise)),
    "later.sigma.scalings": lambda sigma, *, sigma_data: scalings(sigma, node(sigma_data)),
    "later.sigma.denoised": lambda x, said, sigma, *, sigma_data: denoised(x, said, scalings(sigma, node(sigma_data))),
    "later.sigma.weight": lambda sigma, *, sigma_data: weight(sigma, node(sigma_data)),
    "later.sigma.log_normal": lambda mean, spread, *, noise: log_normal(mean, spread, node(noise)),
    "later.sigma.log_normal_density": log_normal_density,
    "later.sigma.levels": lambda count, *, high, low, rho: levels(count, node(high), node(low), node(rho)),
}
