"""What the oracles share: the levels of a schedule, a mean with its covariance, and how numbers come in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple
import inspect

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Moments(NamedTuple):
    """First and second moments of a law, one row per example.

    Shapes: mean (N, n), cov (N, n, n); `var` (N, n) is the diagonal of `cov`.
    """

    mean: Array
    cov: Array

    @property
    def var(self) -> Array:
        """Variances of the components, (N, n)."""
        return np.diagonal(self.cov, axis1=-2, axis2=-1)


def levels(beta: Array) -> Array:
    """log ᾱ_t = Σ_{s≤t} log(1 − β_s) for t = 0..T; −∞ at T when β_T = 1.

    Shapes: beta (T+1,) with beta[0] = 0; result the same.
    Raises: ValueError when the shape or a value is not that of a schedule.
    """
    beta = np.asarray(beta, dtype=float)
    if beta.ndim != 1 or beta.size < 2 or beta[0] != 0:
        raise ValueError(f"beta: expected shape (T+1,) with T ≥ 1 and beta[0] = 0, got shape {beta.shape}")
    outside = np.flatnonzero(~((beta[1:] > 0) & (beta[1:] < 1)))
    if outside.size and not (outside[0] == beta.size - 2 and beta[-1] == 1):
        t = outside[0] + 1
        raise ValueError(f"beta: expected values in (0, 1) for t = 1..T, or 1 at T, got {beta[t]} at t = {t}")
    with np.errstate(divide="ignore"):
        return np.cumsum(np.log1p(-beta))


def one_minus_alpha_bar(level: Array | float) -> Array:
    """1 − ᾱ of a level log ᾱ, without the subtraction.   −(e^level − 1)"""
    return -np.expm1(np.asarray(level, dtype=float))


def snr_drop(level_prev: Array | float, level: Array | float) -> Array:
    """SNR_{t−1} − SNR_t, SNR = ᾱ/(1 − ᾱ).   (ᾱ_{t−1} − ᾱ_t) / [(1 − ᾱ_{t−1})(1 − ᾱ_t)]

    Domain: level ≤ level_prev < 0.
    """
    level_prev = np.asarray(level_prev, dtype=float)
    fall = np.exp(level_prev) * one_minus_alpha_bar(level - level_prev)
    return fall / (one_minus_alpha_bar(level_prev) * one_minus_alpha_bar(level))


def check_step(beta: Array, t: int, *, first: int = 1) -> None:
    """Raises: ValueError for a t that is not one of first..T; NumPy would take t = −1 for the last step."""
    T = len(levels(beta)) - 1
    if not first <= t <= T:
        raise ValueError(f"t: expected a step from {first} to T = {T}, got {t}")


# -- how numbers come in -------------------------------------------------------------------------------------

def open_doors(module: dict[str, Any]) -> None:
    """Puts a door before every public function of an oracle: numbers of any kind, in arrays, lists and named tuples of
    arrays, become float64, so that bytes and bools give what the same numbers give.

    The theory has doors of its own (`refdpm.doors`); an oracle does not share them, as it shares nothing.
    """
    for name, function in list(module.items()):
        if inspect.isfunction(function) and function.__module__ == module["__name__"] and not name.startswith("_"):
            module[name] = _door(function)


def _door(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function, eval_str=True)
    counts = {name for name, parameter in signature.parameters.items() if parameter.annotation in (int, int | None)}

    @wraps(function)
    def through(*arguments: Any, **named: Any) -> Any:
        given = signature.bind(*arguments, **named)
        given.arguments.update({name: _real(value, name) for name, value in given.arguments.items() if name not in counts})
        return function(*given.args, **given.kwargs)

    return through


def _real(value: Any, name: str) -> Any:
    """float64 for what holds numbers; everything else as it is.   Raises: ValueError for what should hold them and does not."""
    if hasattr(value, "_fields"):
        return type(value)(*(_real(part, name) for part in value))
    holds_laws = isinstance(value, (list, tuple)) and any(hasattr(part, "_fields") for part in value)
    if holds_laws or not isinstance(value, (np.ndarray, np.generic, list, tuple)):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected real numbers, got a {type(value).__name__} ({error})") from None
    if array.dtype.kind not in "biuf" or isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name}: expected real numbers, all of them there, got {type(value).__name__} of {array.dtype}")
    return array.astype(np.float64, copy=False)[()]
