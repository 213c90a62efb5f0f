"""The accuracy of a law times r: variances from 1e-12 to 1e6 on both sides, and a point for r."""

import numpy as np

from refdpm import product
from refdpm.binomial import Bernoulli
from refdpm.conformance.accuracy.common import (BOTH, LOGIT, STATE, VARIANCE, Formula, Generator, Groups, formulas, independent,
                                                lengths, some_bits, wide)
from refdpm.gaussian import Gaussian
from refdpm.oracles import decimals_product
from refdpm.vjp import Array

_WIDTH = wide(1e-12, 1e6, 1.0, 0.0)
_GAIN = wide(1e-3, 10.0, 1.0, signs=BOTH)


def _times(rng: Generator, n: int) -> dict[str, Array]:
    """t = 0..T−1 for several T."""
    T = lengths(rng, n)
    return dict(t=np.floor(rng.random(n) * T), T=T)


def _powers(rng: Generator, n: int) -> dict[str, Array]:
    return dict(r_mean=STATE(rng, n), r_var=_WIDTH(rng, n), **_times(rng, n))


def _exponents(t: Array, T: Array) -> Array:
    return np.array([product.exponent(int(s), T=int(S), choice="ramp") for s, S in zip(t, T)])


def _power(mean: Array, var: Array, t: Array, T: Array) -> Gaussian:
    laws = [product.power(Gaussian(m, v), e) for m, v, e in zip(mean, var, _exponents(t, T))]
    return Gaussian(*map(np.array, zip(*laws)))


def _noisy(y: Array, std: Array) -> Gaussian:
    return Gaussian(y, np.array([product.noisy(value, std=s).var for value, s in zip(y, std.tolist())]))


def _flipped(y: Array, rate: Array) -> Bernoulli:
    return Bernoulli(np.array([product.flipped(value, rate=p).logit for value, p in zip(y, rate.tolist())]))


FORMULAS = {
    "product": (
        Formula("product.times_gaussian", lambda m, v, c, w: product.times_gaussian(Gaussian(m, v), Gaussian(c, w)),
                decimals_product.times_gaussian, independent(mean=STATE, var=VARIANCE, r_mean=STATE, r_var=_WIDTH)),
        Formula("product.times_bernoulli", lambda a, b: product.times_bernoulli(Bernoulli(a), Bernoulli(b)),
                decimals_product.times_bernoulli, independent(logit=LOGIT, r_logit=LOGIT)),
        Formula("product.perturbed", lambda m, v, g: product.perturbed(Gaussian(m, v), g), decimals_product.perturbed,
                independent(mean=STATE, var=VARIANCE, gradient=STATE)),
        Formula("product.expected", lambda c, w, gain, v: product.expected(Gaussian(c, w), gain, v), decimals_product.expected,
                independent(r_mean=STATE, r_var=_WIDTH, gain=_GAIN, var=VARIANCE)),
        Formula("product.exponent", _exponents, decimals_product.exponent, _times),
        Formula("product.power", _power, decimals_product.power, _powers),
        Formula("product.noisy", _noisy, decimals_product.noisy, independent(y=STATE, std=wide(1e-6, 1e3))),
        Formula("product.flipped", _flipped, decimals_product.flipped, independent(y=some_bits, rate=wide(1e-12, 0.4))),
    ),
}

GROUPS: Groups = {group: formulas(rows) for group, rows in FORMULAS.items()}
