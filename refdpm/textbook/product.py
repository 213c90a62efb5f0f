"""A law times a second factor r as it is printed (sec. 2.5): one step, r at every t, and what is known of x_0.

For bits both forms stand here, since one is what a program computes and the other Bayes' rule: logits added, and probabilities
multiplied and normalised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refdpm.textbook.chain import Normal, Row, draw, marginal
from refdpm.textbook.expression import E, also, given, log, log1p, node, where


# -- one law times r ---------------------------------------------------------------------------------------------------

def times_gaussian(p: Normal, r: Normal) -> Normal:
    """The mean (r.var p.mean + p.var r.mean)/(p.var + r.var), and the variance p.var r.var/(p.var + r.var); or by precisions."""
    both, inverse = p.var + r.var, 1 / (1 / p.var + 1 / r.var)
    return Normal(also((r.var * p.mean + p.var * r.mean) / both, inverse * (p.mean / p.var + r.mean / r.var)),
                  also(p.var * r.var / both, inverse))


def times_bits(p: E, r: E) -> E:
    """p r/(p r + (1−p)(1−r))."""
    one = p * r
    return one / (one + (1 - p) * (1 - r))


def guided_mean(p: Normal, gradient: E) -> E:
    """mean + var ∇log r."""
    return p.mean + p.var * gradient


# -- r at every t, and what is known of x_0 --------------------------------------------------------------------------------

def exponent(t: E, T: int, choice: str) -> E:
    """1, or (T − t)/T."""
    return node(1) if choice == "constant" else (T - t) / T


def expected(r: Normal, gain: E, var: E) -> Normal:
    """E[r(x_{t−1}) | x_t] as a function of x_t: N(r.mean/gain, (r.var + var)/gain²)."""
    return Normal(r.mean / gain, (r.var + var) / (gain * gain))


def flipped(y: E, rate: E) -> E:
    """The logit ±log((1−rate)/rate) of a bit that is seen as y, + for a one."""
    return (2 * y - 1) * (log1p(-rate) - log(rate))


def noised(y: E, row: Row) -> E:
    """What is known at the noise of a level: √ᾱ y + √(1−ᾱ) ε."""
    return draw(marginal(y, row), given("noise"))


def kept(y: E, x: E) -> E:
    """y where the mask is true, x elsewhere."""
    return where(given("mask"), y, x)


PAIRS: dict[str, Callable[..., Any]] = {
    "product.times_gaussian": times_gaussian,
    "product.times_bernoulli": lambda p, r: p.logit + r.logit,
    "product.perturbed": lambda p, gradient: Normal(guided_mean(p, gradient), p.var),
    "product.exponent": lambda t, *, T, choice="constant": exponent(t, T, choice),
    "product.power": lambda r, e: Normal(r.mean, r.var / e),
    "product.expected": expected,
    "product.noisy": lambda y, *, std: Normal(y, node(std) * node(std)),
    "product.flipped": lambda y, *, rate: flipped(y, node(rate)),
}
