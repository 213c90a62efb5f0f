"""Σ|terms|: how much rounding a textbook formula may do, followed through the formula itself.

A `Terms` is a value together with the error, in units of u, that its evaluation in floating point can have to first order:

    x + y    errors add, and the sum is rounded          x y, x/y    relative errors add, and the result is rounded
    √x       half the relative error                     log x       the relative error;  exp x   the error, relative

So `1 - alpha_bar` carries the error 1 + ᾱ that every subtraction from 1 has, however it is written, and a quotient by it the same
relative one.  An implementation that is right, but works with ᾱ in its own precision, stays within a few times this scale; one that
is wrong does not.  What is given is exact.

Source: running error analysis, Higham 2002, sec. 3.3.
"""

from typing import Any

import numpy as np

from refdpm.vjp import Array


class Terms:
    """A value and the bound on its error, in units of u; both arrays of one shape."""

    __array_ufunc__ = None                          # so that `array * terms` is ours

    def __init__(self, value: Any, error: Any = 0.0) -> None:
        self.value, self.error = np.asarray(value, dtype=np.float64), np.asarray(error, dtype=np.float64)

    def __add__(self, other: Any) -> "Terms":
        y = exact(other)
        return _rounded(self.value + y.value, self.error + y.error)

    def __mul__(self, other: Any) -> "Terms":
        y = exact(other)
        return _rounded(self.value * y.value, np.abs(y.value) * self.error + np.abs(self.value) * y.error)

    def __truediv__(self, other: Any) -> "Terms":
        y = exact(other)
        quotient = _quotient(self.value, y.value)
        return _rounded(quotient, _quotient(self.error + np.abs(quotient) * y.error, np.abs(y.value)))

    def __neg__(self) -> "Terms":
        return Terms(-self.value, self.error)

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
    return x if isinstance(x, Terms) else Terms(x)


def _rounded(value: Array, error: Array) -> Terms:
    return Terms(value, error + np.abs(value))


def _quotient(x: Array, y: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.where(x == 0, 0.0, x / y))


def sqrt(x: Any) -> Terms:
    """√x; of an x that is 0 but for its error, the root of that error."""
    x = exact(x)
    root = np.sqrt(np.maximum(x.value, 0))
    return _rounded(root, np.where(root > 0, _quotient(x.error, 2 * root), np.sqrt(x.error)))


def log(x: Any) -> Terms:
    """log x."""
    x = exact(x)
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
