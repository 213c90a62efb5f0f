"""A law times r once more, in decimals of 70 digits, with scales by the rules of `decimals`.

The variance of a product of normal laws is v w/(v + w), one term: nothing in it cancels.  Its mean has two terms of either sign.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from refdpm.oracles.decimals import Exact, Law, exactly, summed


class Bit(NamedTuple):
    """A bit's law, by its logit."""

    logit: Exact


@exactly
def times_gaussian(mean: Decimal, var: Decimal, r_mean: Decimal, r_var: Decimal) -> Law:
    """mean = (w m + v c)/(v + w), var = v w/(v + w)."""
    both = var + r_var
    return Law(summed(r_var * mean / both, var * r_mean / both), summed(var * r_var / both))


@exactly
def times_bernoulli(logit: Decimal, r_logit: Decimal) -> Bit:
    """The sum of the logits."""
    return Bit(summed(logit, r_logit))


@exactly
def perturbed(mean: Decimal, var: Decimal, gradient: Decimal) -> Law:
    """mean + var·g."""
    return Law(summed(mean, var * gradient), summed(var))


@exactly
def expected(r_mean: Decimal, r_var: Decimal, gain: Decimal, var: Decimal) -> Law:
    """N(c/gain, (w + var)/gain²)."""
    return Law(summed(r_mean / gain), summed((r_var + var) / gain / gain))


@exactly
def exponent(t: Decimal, T: Decimal) -> Exact:
    """(T − t)/T, of integers."""
    return summed((T - t) / T)


@exactly
def power(r_mean: Decimal, r_var: Decimal, t: Decimal, T: Decimal) -> Law:
    """N(c, w T/(T − t))."""
    return Law(summed(r_mean), summed(r_var * T / (T - t)))


@exactly
def noisy(y: Decimal, std: Decimal) -> Law:
    """N(y, std²)."""
    return Law(summed(y), summed(std * std))


@exactly
def flipped(y: Decimal, rate: Decimal) -> Bit:
    """±[log(1 − rate) − log rate], + for a one."""
    sign = 2 * y - 1
    return Bit(summed(sign * (1 - rate).ln(), -sign * rate.ln()))
