"""A page: the arguments at which formulas are evaluated, and the columns of the schedule at every row's t.

The columns β, 1 − β and ᾱ are exact: products of exact rates, in as many digits as the context has.  With each comes how much error
it has brought along, in units of u, under two habits:

    tables     1 − β is rounded, and ᾱ is a product of rounded numbers: t roundings of 1 − β and t of products; and β may have been
               read off one of them, 1 − α_t or 1 − ᾱ_t/ᾱ_{t−1}
    levels     ᾱ = exp ℓ from an accurate ℓ: a relative error |ℓ|, and none in 1 − β
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, getcontext
from functools import lru_cache
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np

from refdpm.textbook.expression import Column

Array = np.ndarray

exactly = np.frompyfunc(lambda x: x if isinstance(x, Decimal) else Decimal(float(x)), 1, 1)
to_float = np.frompyfunc(float, 1, 1)


class Page:
    """Arguments by name, `beta` (T+1,) and `t` (rows,) if there are any; states have `ndim` axes.

    Where `steps` is true the rows are the steps of one chain, in front of the axis of examples; without t they are t = 2..T.
    `errors` are what arguments have brought along, in units of u, by name.
    """

    def __init__(self, given: Mapping[str, Any], *, beta: Array | None = None, t: Array | None = None, ndim: int = 2,
                 steps: bool = False, errors: Mapping[str, Array] | None = None) -> None:
        self.given, self.beta, self.ndim, self.steps = given, beta, ndim, steps
        self.t = None if t is None else np.asarray(t)
        self.errors = errors or {}
        self._memos: dict[Any, dict[Any, Any]] = {}

    def at(self, t: Any, **given: Any) -> Page:
        """The same page at another t, with some arguments replaced."""
        return Page({**self.given, **given}, beta=self.beta, t=t, ndim=self.ndim, steps=self.steps, errors=self.errors)

    def with_errors(self, errors: Mapping[str, Array], **given: Any) -> Page:
        """The same page with some arguments replaced, and what they have brought along."""
        page = self.at(self.t, **given)
        page.errors = {**self.errors, **errors}
        return page

    def beside(self, **given: Any) -> Page:
        """The same page with more arguments, which remembers what has been evaluated on this one."""
        page = self.at(self.t, **given)
        page._memos = self._memos
        return page

    def memo(self, *of: Any) -> dict[Any, Any]:
        """What has been evaluated on this page of something, to the digits of the context; empty at first."""
        return self._memos.setdefault((*of, getcontext().prec), {})

    def rows(self, where: Column) -> Array:
        """The index of every row in a table (T+1, …), which stays inside of it."""
        assert self.beta is not None
        last = len(self.beta) - 1
        learned = np.arange(2, last + 1) if self.t is None else self.t
        start = learned if where.at is None else last if where.at == "T" else where.at
        start = self.given[start] if isinstance(start, str) else start
        return np.asarray(np.minimum(np.maximum(np.asarray(start, dtype=np.int64) + where.shift, 0), last))

    def gathered(self, where: Column) -> Array:
        """The entries of an argument at every row's t; a table of the model for all examples of a step alike."""
        table = self.given[where.name]
        last = len(table) - 1
        found = table[np.clip(self.rows(where), 0, last)]
        return found[:, None] if self.steps and found.ndim > 1 and where.name != "noise" else found

    def column(self, where: Column) -> Array:
        """A column of the schedule in digits; broadcasts against states."""
        assert self.beta is not None
        rows = self.rows(where._replace(shift=0))
        value = np.asarray(table_of(where.name, where.shift, np.asarray(self.beta, dtype=np.float64))[rows], dtype=object)
        return value.reshape(self._beside_states(rows))

    def column_error(self, where: Column, number: Array, *, tables: bool) -> Array:
        """The error of a column that is that number, in units of u."""
        rows = self.rows(where._replace(shift=0))
        t = (rows + where.shift).reshape(self._beside_states(rows))
        match where.name:
            case "beta" if tables:
                return np.asarray(2 * (1 - number) * (t > 0))
            case "alpha" if tables:
                return number
            case "alpha_bar":
                with np.errstate(divide="ignore", invalid="ignore"):
                    return 2 * t * number if tables else np.nan_to_num(number * np.abs(np.log(number)))
        return np.zeros(number.shape)

    def _beside_states(self, rows: Array) -> tuple[int, ...]:
        return rows.shape if rows.ndim == 0 else rows.shape + (1,) * (self.ndim - rows.ndim)


def table_of(name: str, shift: int, beta: Array) -> Array:
    """A table over t = 0..T: β, 1 − β, ᾱ, Σβ or t itself at t + shift, which stays inside of 0..T."""
    return _table(name, shift, beta.tobytes(), getcontext().prec)


@lru_cache(maxsize=64)
def _table(name: str, shift: int, rates: bytes, digits: int) -> Array:
    found = np.array(_tables(rates, digits)[name], dtype=object)
    return found[np.clip(np.arange(len(found)) + shift, 0, len(found) - 1)]


@lru_cache(maxsize=64)
def _tables(rates: bytes, digits: int) -> dict[str, list[Decimal]]:
    """By name, to the digits of the context."""
    beta = [Decimal(rate) for rate in np.frombuffer(rates).tolist()]
    alpha = [1 - rate for rate in beta]
    return {"beta": beta, "alpha": alpha, "alpha_bar": [*accumulate(alpha, mul)], "sum": [*accumulate(beta)],
            "t": [Decimal(t) for t in range(len(beta))]}
