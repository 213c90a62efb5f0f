"""Reading: digits.  What a formula is worth at numbers that float64 holds exactly, in `decimal` of the standard library.

Printed formulas subtract.  So each is evaluated twice, with 50 digits and with twice as many, and again with more until both
agree in far more than float64 has: 1 − exp ℓ at ℓ = −1e-12, a divergence of two laws that all but agree, the tail of
Φ at 40 deviations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from decimal import Context, Decimal, getcontext, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from refdpm.textbook.expression import E, evaluate
from refdpm.textbook.page import Array, Page, exactly
from refdpm.textbook.values import Plain

AGREED = Decimal("1e-30")
NOTHING = Decimal("1e-340")                        # below the smallest number of float64
MOST = 2000
NAN = Decimal("NaN")


# -- functions of one number -------------------------------------------------------------------------------------------

@lru_cache(maxsize=16)
def _pi(digits: int) -> Decimal:
    """π by Gauss and Legendre."""
    with localcontext() as context:
        context.prec = digits + 10
        a, b, t, p = Decimal(1), 1 / Decimal(2).sqrt(), Decimal("0.25"), Decimal(1)
        for _ in range(context.prec.bit_length() + 2):
            a, b, before = (a + b) / 2, (a * b).sqrt(), a
            t, p = t - p * (before - a) ** 2, 2 * p
        return (a + b) ** 2 / (4 * t)


def pi() -> Decimal:
    """π to the digits of the context."""
    return _pi(getcontext().prec)


def log(x: Decimal) -> Decimal:
    """log x; −∞ at 0, not a number below."""
    return x.ln() if x > 0 else Decimal("-Infinity") if x == 0 else NAN


def sqrt(x: Decimal) -> Decimal:
    """√x; not a number below 0."""
    return x.sqrt() if x >= 0 else NAN


def log1p(x: Decimal) -> Decimal:
    """log(1 + x) by a series where 1 + x would not keep x."""
    if abs(x) < Decimal("1e-20"):
        return sum(((-1) ** (n + 1) * x ** n / n for n in range(1, 6)), Decimal(0)) if x else x
    return log(1 + x)


def tanh(x: Decimal) -> Decimal:
    """(e²ˣ − 1)/(e²ˣ + 1), by a series where e²ˣ − 1 would not keep x."""
    if abs(x) < Decimal("1e-20"):
        return x - x ** 3 / 3 + 2 * x ** 5 / 15
    power = (2 * x).exp()
    return (power - 1) / (power + 1)


def cos(x: Decimal) -> Decimal:
    """Σ_k (−1)ᵏ x²ᵏ/(2k)!"""
    return _wave(x, 0)


def sin(x: Decimal) -> Decimal:
    """Σ_k (−1)ᵏ x²ᵏ⁺¹/(2k + 1)!, which is exactly 0 at 0."""
    return _wave(x, 1)


def _wave(x: Decimal, power: int) -> Decimal:
    """The series whose first term is x⁰ or x¹, after whole turns are left out."""
    with localcontext() as context:
        context.prec += 10
        x = x % (2 * pi())
        total, term = Decimal(0), x if power else Decimal(1)
        least = abs(term) * Decimal(10) ** -context.prec
        while abs(term) > least:
            total, power = total + term, power + 2
            term *= -x * x / (power * (power - 1))
        return total


def normal_cdf(z: Decimal) -> Decimal:
    """Φ(z), with so many digits above 0 that 1 − Φ keeps its own."""
    if not z.is_finite():
        return NAN if z.is_nan() else Decimal(int(z > 0))
    tail = _tail(abs(z))
    with localcontext() as context:
        context.prec += max(0, -tail.adjusted())
        return tail if z < 0 else 1 - tail


def log_normal_cdf(z: Decimal) -> Decimal:
    """log Φ(z): above 0 from what is missing to 1, far below from the logarithms of the tail's parts."""
    if z > 0 or not z.is_finite():
        return log1p(-_tail(z)) if z.is_finite() else log(normal_cdf(z))
    return log(_tail(-z)) if _near(-z) else -z * z / 2 - log(2 * pi()) / 2 - log(_reciprocal_of_mills(-z))


def _near(size: Decimal) -> bool:
    return size * size < 2 * getcontext().prec


def _tail(size: Decimal) -> Decimal:
    """1 − Φ(size): near 0 by the series of Φ, ½ + φ(z) [z + z³/3 + z⁵/(3·5) + …], further out by φ(z)/(z + 1/(z + 2/(z + …)))."""
    with localcontext() as context:
        if _near(size):
            context.prec += int(size * size / 4) + 10
            total, term, k, least = Decimal(0), size, 1, Decimal(10) ** -context.prec
            while term > least:
                total, k = total + term, k + 2
                term *= size * size / k
            return Decimal("0.5") - density(size) * total
        return density(size) / _reciprocal_of_mills(size)


def _reciprocal_of_mills(size: Decimal) -> Decimal:
    """φ(z)/(1 − Φ(z)) = z + 1/(z + 2/(z + …))."""
    digits, below = getcontext().prec, size
    for n in range(int(Decimal(digits * digits) / (size * size)) + 2 * digits, 0, -1):
        below = size + n / below
    return below


def density(z: Decimal) -> Decimal:
    """The normal density."""
    return (-z * z / 2).exp() / (2 * pi()).sqrt()


_CALLS: dict[str, Callable[[Decimal], Decimal]] = {
    "sqrt": sqrt, "log": log, "exp": Decimal.exp, "log1p": log1p, "Phi": normal_cdf, "log Φ": log_normal_cdf, "phi": density,
    "cos": cos, "tanh": tanh, "sin": sin}


def _remembered(f: Callable[[Decimal], Decimal]) -> Callable[[Decimal], Decimal]:
    """The function, once for every number and precision: a formula, its slopes and its neighbours have most of them in common."""
    @lru_cache(maxsize=20_000)
    def found(x: Decimal, digits: int) -> Decimal:
        return f(x)
    return lambda x: found(x, getcontext().prec)


CALLS = {name: np.frompyfunc(_remembered(f), 1, 1) for name, f in _CALLS.items()}


def _quotient(a: Decimal, b: Decimal) -> Decimal:
    return Decimal(0) if a == 0 else a / b if b else a * Decimal("Infinity")


_divided = np.frompyfunc(_quotient, 2, 1)


# -- the arithmetic ----------------------------------------------------------------------------------------------------

def _number(how: Any) -> Decimal:
    if how == "π":
        return pi()
    return Decimal(how.numerator) / Decimal(how.denominator) if isinstance(how, Fraction) else Decimal(how)


DIGITS = Plain(_number, lambda x: np.asarray(exactly(x), dtype=object), lambda name, x: np.asarray(CALLS[name](x), dtype=object),
               lambda x, y: np.asarray(_divided(x, y), dtype=object))
"""Decimals, to the digits of the context."""


class _Nearest(Mapping[E, Array]):
    """The values of nodes as the nearest numbers of float64, which are found when they are asked for."""

    def __init__(self, exact: dict[E, Array]) -> None:
        self.exact = exact

    def __getitem__(self, one: E) -> Array:
        value = self.exact[one]
        return value if value.dtype == bool else value.astype(np.float64)

    def __contains__(self, one: object) -> bool:
        return one in self.exact

    def __iter__(self) -> Iterator[E]:
        return iter(self.exact)

    def __len__(self) -> int:
        return len(self.exact)


class Exact(NamedTuple):
    """The values of formulas as arrays of Decimals, and what was `lost`."""

    values: list[Array]
    scales: list[Array]


def digits(roots: Iterable[E], page: Page, *, lost: Callable[[Mapping[E, Array]], list[Array]] | None = None) -> Exact:
    """The values of formulas, which agree with those of half as many digits in 30 of them.

    Of formulas that `lost` gives the scales of, from the values of their nodes, 30 digits of the scale are enough: an exact 0 need
    not be told from what cancels to 0.

    Edge: not a number, infinite, or beyond what 2000 digits tell apart: as it comes.
    Edge: two numbers alike in more than 100 digits have the difference 0, with 50 digits and with 100.
    """
    formulas, precision = list(roots), 50
    before = _to(precision, formulas, page)
    while True:
        precision *= 2
        found = _to(precision, formulas, page)
        with _context(precision):
            sizes = lost(_Nearest(page.memo(DIGITS))) if lost else [np.zeros(value.shape) for value in found]
        if precision > MOST or all(map(_agree, before, found, sizes)):
            return Exact(found, sizes)
        before = found


def _to(precision: int, formulas: list[E], page: Page) -> list[Array]:
    with _context(precision):
        return [np.asarray(value, dtype=object) for value in evaluate(formulas, DIGITS, page, page.memo(DIGITS))]


def _context(precision: int) -> AbstractContextManager[Context]:
    """Decimals with so many digits, in which nothing is an error."""
    return localcontext(Context(prec=precision, Emin=-10 ** 9, Emax=10 ** 9, traps=[]))


def _agree(a: Array, b: Array, sizes: Array) -> bool:
    sizes = np.broadcast_to(np.where(np.isfinite(sizes), sizes, 0.0), b.shape)
    return all(x == y or not y.is_finite() or abs(x - y) <= AGREED * max(abs(y), Decimal(size)) or max(abs(x), abs(y)) < NOTHING
               for x, y, size in zip(a.ravel(), b.ravel(), sizes.ravel().tolist()))
