"""Σ|terms|: how much rounding a textbook formula may do, followed through the formula itself.

A `Terms` is a value together with the error, in units of u, that its evaluation in floating point can have to first order:

    x + y    errors add, and the sum is rounded          x y, x/y    relative errors add, and the result is rounded
    √x       half the relative error                     log x       the relative error;  exp x   the error, relative

So `1 - alpha_bar` carries the error 1 + ᾱ that every subtraction from 1 has, however it is written, and a quotient by it the same
relative one.  An implementation that is right, but works with ᾱ in its own precision, stays within a few times this scale; one that
is wrong does not.  What is given is exact.

Source: running error analysis, Higham 2002, sec. 3.3.

A formula that is followed so can also be followed with one slip of the pen: a root left out, another sign, a factor, divisor or
term forgotten, another column of the table, a root or a square too many.  `slips` lists them for a formula; naming tries them when
the catalogue has no name.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from refdpm.conformance.precision import COARSE, LEAST, LIMIT, UNITS  # noqa: F401
from refdpm.vjp import Array


class Terms:
    """A value and the bound on its error, in units of u; both arrays of one shape."""

    __array_ufunc__ = None                          # so that `array * terms` is ours

    def __init__(self, value: Any, error: Any = 0.0, text: str = "") -> None:
        self.value, self.error = np.asarray(value, dtype=np.float64), np.asarray(error, dtype=np.float64)
        self.text = text                            # how it is written, where it is short
        self.siblings: tuple[Terms, ...] = ()       # the other columns of a table

    def __add__(self, other: Any) -> "Terms":
        x, y = _used(self), _used(exact(other))
        if _slips("term", f"+ {y.text}"):
            return x
        return _rounded(x.value + y.value, x.error + y.error, f"({x.text} + {y.text})")

    def __mul__(self, other: Any) -> "Terms":
        x, y = _used(self), _used(exact(other))
        if _slips("factor", y.text or "of a product"):
            return x
        return _rounded(x.value * y.value, np.abs(y.value) * x.error + np.abs(x.value) * y.error, f"{x.text} {y.text}")

    def __truediv__(self, other: Any) -> "Terms":
        x, y = _used(self), _used(exact(other))
        if _slips("divisor", y.text or "of a quotient"):
            return x
        quotient = _quotient(x.value, y.value)
        return _rounded(quotient, _quotient(x.error + np.abs(quotient) * y.error, np.abs(y.value)), f"{x.text}/{y.text}")

    def __neg__(self) -> "Terms":
        x = _used(self)
        if _slips("sign", x.text or "of a difference"):
            return x
        return Terms(-x.value, x.error, f"−{x.text}")

    def __sub__(self, other: Any) -> "Terms":
        return self + -exact(other)

    def __rsub__(self, other: Any) -> "Terms":
        return exact(other) + -self

    def __rtruediv__(self, other: Any) -> "Terms":
        return exact(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __getitem__(self, at: Any) -> "Terms":
        return Terms(self.value[at], np.broadcast_to(self.error, self.value.shape)[at])

    def reshape(self, *shape: int) -> "Terms":
        """Both parts in another shape."""
        return Terms(self.value.reshape(*shape), np.broadcast_to(self.error, self.value.shape).reshape(*shape))

    @property
    def scale(self) -> Array:
        """What an error is measured by: the bound, and no less than one rounding of the value."""
        return np.asarray(np.maximum(self.error, np.abs(self.value)))


def exact(x: Any) -> Terms:
    """What is given, without error."""
    return x if isinstance(x, Terms) else Terms(x, text=f"{x:g}" if isinstance(x, (int, float)) else "")


def columns(**parts: Terms) -> tuple[Terms, ...]:
    """Columns of one table, which somebody might take one for another; named as they are written."""
    found = tuple(Terms(part.value, part.error, text) for text, part in parts.items())
    for part in found:
        part.siblings = tuple(other for other in found if other is not part)
    return found


def _rounded(value: Array, error: Array, text: str = "") -> Terms:
    return Terms(value, error + np.abs(value), text if len(text) <= SHORT and not text.startswith(" ") else "")


def _quotient(x: Array, y: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.where(x == 0, 0.0, x / y))


def sqrt(x: Any) -> Terms:
    """√x; of an x that is 0 but for its error, the root of that error."""
    x = _used(exact(x))
    if _slips("root", x.text or "of something"):
        return x
    root = np.sqrt(np.maximum(x.value, 0))
    return _rounded(root, np.where(root > 0, _quotient(x.error, 2 * root), np.sqrt(x.error)), f"√{x.text}")


def log(x: Any) -> Terms:
    """log x."""
    x = _used(exact(x))
    with np.errstate(all="ignore"):
        return _rounded(np.log(x.value), _quotient(x.error, np.abs(x.value)))


def exp(x: Any) -> Terms:
    """e^x."""
    x = exact(x)
    value = np.exp(x.value)
    return _rounded(value, value * x.error)


def total(x: Any) -> Terms:
    """The sum over all axes but the first, of N rows."""
    x = exact(x)
    axes = tuple(range(1, x.value.ndim))
    error = np.broadcast_to(x.error, x.value.shape)
    return Terms(x.value.sum(axis=axes), (error + np.abs(x.value)).sum(axis=axes))


def where(condition: Array, x: Any, y: Any) -> Terms:
    """x where the condition holds, y elsewhere."""
    x, y = exact(x), exact(y)
    return Terms(np.where(condition, x.value, y.value), np.where(condition, x.error, y.error))


def cumulative_product(x: Any) -> Terms:
    """∏ x up to each place."""
    x = exact(x)
    value = np.cumprod(x.value)
    relative = np.cumsum(_quotient(x.error, np.abs(x.value)) + 1)
    return Terms(value, np.abs(value) * relative)


# -- one slip of the pen -------------------------------------------------------------------------------------------------

SHORT = 16                      # letters of a part that is named by how it is written
MOST = 120                      # slips of a formula that are tried; longer formulas are made of shorter ones
SAYS = {"root": "√ left out: {}", "sign": "plus for minus: {}", "factor": "factor left out: {}", "divisor": "divisor left out: {}",
        "term": "term left out: {}", "column": "{}", "power": "{}"}


Slipped = Callable[[Callable[[], Any]], Any]


class _Pen:
    """Which operation slips: the number-th of its kind; or none, and all are listed."""

    def __init__(self, kind: str = "", number: int = -1) -> None:
        self.kind, self.number = kind, number
        self.seen: dict[str, list[str]] = {}

    def slips(self, kind: str, text: str) -> bool:
        told = self.seen.setdefault(kind, [])
        told.append(text)
        return kind == self.kind and len(told) - 1 == self.number


_pens: list[_Pen] = []


def _slips(kind: str, text: str) -> bool:
    return bool(_pens) and _pens[-1].slips(kind, text)


def _used(x: Terms) -> Terms:
    """A column as it is used: itself, or by a slip another one; and what is given, or its root or square."""
    if not _pens:
        return x
    for other in x.siblings:
        if _slips("column", f"{other.text} for {x.text}"):
            return other
    if x.siblings or (x.value.ndim and not np.any(x.error)):
        name = x.text or "what is given"
        if _slips("power", f"root of {name} for {name}"):
            return Terms(np.sqrt(np.maximum(x.value, 0)))
        if _slips("power", f"square of {name} for {name}"):
            return Terms(x.value ** 2)
    return x


def slips(formula: Callable[[], Any]) -> list[tuple[str, Slipped]]:
    """For every slip in a formula what it is, and how to evaluate the formula with it."""
    pen = _Pen()
    _with(pen, formula)
    found: list[tuple[str, Slipped]] = [(SAYS[kind].format(text), partial(_with_slip, kind, number))
                                        for kind, told in pen.seen.items() for number, text in enumerate(told)]
    return found if len(found) <= MOST else []


def _with_slip(kind: str, number: int, formula: Callable[[], Any]) -> Any:
    return _with(_Pen(kind, number), formula)


def _with(pen: _Pen, formula: Callable[[], Any]) -> Any:
    _pens.append(pen)
    try:
        return formula()
    finally:
        _pens.pop()
