"""Reading: rounding.  How much error an evaluation in floating point can have, in units of u, followed through the formula.

    x + y    errors add, and the sum is rounded          x y, x/y    relative errors add, and the result is rounded
    √x       half the relative error                     log x       the relative error;  exp x   the error, relative

What is given is exact unless the page says otherwise.  Two readers want it:

    of tables    somebody who works with tables of β, 1 − β and ᾱ in his own precision and subtracts as it is printed: 1 − ᾱ then
                 has the error of ᾱ.  A right implementation stays within a few times this; a wrong one does not.
    accurate     somebody who takes care, as this package does: what is marked as one `term` loses nothing but what its parts have
                 lost before, and levels come from an accurate ℓ.

The *scale* is that error, and the value itself at least: an error is measured in u·scale.

Source: running error analysis, Higham 2002, sec. 3.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from refdpm.textbook.expression import E, Walk, depending, evaluate, nodes, versions
from refdpm.textbook.page import Array, Page
from refdpm.textbook.values import FLOATS, floats, moved, moving_nodes, pages_along, pages_of, place

STEP = 1e-20
MOVED = 1e-7                    # of a state of a walk, to see what the steps after it make of its error
EXACT = ("given", "constant", "neg", "move", "spread", "where", "joined", "piece", "largest", "term", "forms", "also")


class Rounded(NamedTuple):
    """A value and the bound on its error, in units of u."""

    value: Array
    error: Array

    @property
    def scale(self) -> Array:
        """Σ|terms|, and no less than the value."""
        return np.asarray(np.maximum(self.error, np.abs(self.value)))


def _quotient(x: Array, y: Array) -> Array:
    return np.asarray(np.where(x == 0, 0.0, x / y))


def _in_shape(x: Any, shape: tuple[int, ...]) -> Array:
    """An error in the shape of its value, in which it mostly is."""
    return x if np.shape(x) == shape else np.broadcast_to(x, shape)


def _product(slope: Array, error: Array) -> Array:
    """What is lost; nothing where nothing depends on it, though it is infinite."""
    return np.asarray(np.where(slope == 0, 0.0, slope * error))


class Rounding:
    """The arithmetic of values with errors.  Values are those of `FLOATS`, or of `known` nodes where somebody knows better, who is
    not asked about those whose numbers are those of their parts."""

    def __init__(self, *, tables: bool, columns: bool = True, known: Mapping[E, Array] | None = None) -> None:
        self.tables, self.columns, self.known = tables, columns, known or {}

    def at(self, one: E, parts: list[Any], page: Page) -> Any:
        """The value of a node, and its error."""
        if one.op == "walk":
            return self._walked(one.parts, one.how, page)
        if one.op == "path":
            return self._passed(one.parts[0], one.how, page)
        masks = [part if isinstance(part, np.ndarray) else part.value for part in parts]
        value = self.known[one] if one.op not in EXACT and one in self.known else FLOATS.at(one, masks, page)
        if value.dtype == bool:
            return value
        return Rounded(value, np.asarray(self._error(one, parts, value, page)))

    def _error(self, one: E, parts: list[Any], value: Array, page: Page) -> Any:
        size, e = np.abs(value), [part.error if isinstance(part, Rounded) else part for part in parts]
        match one.op:
            case "number":
                return size * float(one.how == "π" or float(value) != one.how)
            case "given":
                return np.broadcast_to(page.errors.get(one.how, 0.0), value.shape)
            case "gathered" | "constant":
                return np.zeros(value.shape)
            case "column":
                return page.column_error(one.how, value, tables=self.tables) if self.columns else np.zeros(value.shape)
            case "+" | "-":
                return e[0] + e[1] + size
            case "*":
                return np.abs(parts[1].value) * e[0] + np.abs(parts[0].value) * e[1] + size
            case "/":
                return _quotient(e[0] + size * e[1], np.abs(parts[1].value)) + size
            case "neg":
                return e[0]
            case "call":
                return self._called(one.how, parts[0], value) + size * (one.how != "Phi") + 2 * self.tables * (one.how == "Phi")
            case "where":
                return np.where(e[0], e[1], e[2])
            case "counting":
                return 0 * value
            case "joined":
                return np.concatenate([_in_shape(part.error, part.value.shape) for part in parts], axis=one.how)
            case "piece":
                errors = [_in_shape(parts[0].error, parts[0].value.shape), *(part.value for part in parts[1:])]
                return FLOATS.at(one, errors, page)
            case "slack":
                return np.abs(parts[0].value) * self.tables
            case "term":
                return e[0] if self.tables else self._as_one(one, parts, page) + size
            case "forms":
                return (np.fmax if self.tables else np.fmin).reduce(np.broadcast_arrays(*e))
            case "also":
                return e[0]
        return self._along_axes(one, parts, value)

    def _along_axes(self, one: E, parts: list[Any], value: Array) -> Any:
        x = parts[0]
        match one.op:
            case "move":
                return moved(_in_shape(x.error, x.value.shape), place(one, *(part.value for part in parts)), 0.0)
            case "back" | "fold" | "spread":
                added = np.abs(x.value) * (one.op in ("back", "fold"))
                others = (part.value for part in parts[1:])
                return FLOATS.along_axes(one, _in_shape(x.error + added, x.value.shape), *others)
            case "running" | "running back":
                return FLOATS.along_axes(one, x.error + np.abs(x.value))
            case "largest" | "count":
                return np.zeros(np.shape(value))
        whole = x.error + np.abs(x.value)
        if len(parts) > 1:
            whole = np.broadcast_to(whole, np.broadcast_shapes(np.shape(x.value), np.shape(parts[1].value)))
        lost = FLOATS.along_axes(one, whole)
        return lost + np.abs(value) if one.op in ("mean", "average") else lost

    def _called(self, name: str, x: Rounded, value: Array) -> Any:
        match name:
            case "sqrt":
                return np.where(value > 0, _quotient(x.error, 2 * value), np.sqrt(x.error))
            case "log":
                return _quotient(x.error, np.abs(x.value))
            case "exp":
                return _product(np.abs(value), x.error)
            case "log1p":
                return _quotient(x.error, np.abs(1 + x.value))
            case "Phi":
                return np.exp(-x.value * x.value / 2) / np.sqrt(2 * np.pi) * x.error
            case "log Φ":
                return np.exp(-x.value * x.value / 2 - np.log(2 * np.pi) / 2 - value) * x.error
            case "tanh":
                return (1 - value * value) * x.error
            case "phi":
                return np.abs(x.value * value) * x.error
        return x.error + 0 * value

    def _as_one(self, one: E, parts: Sequence[Rounded], page: Page) -> Any:
        """Σ |∂value/∂part| · error of the part, by the complex step within the formula of the term."""
        inner, *over = one.parts
        lost: Any = 0.0
        values = {node: part.value + 0j for node, part in zip(over, parts[1:])}
        for node, part in zip(over, parts[1:]):
            if np.any(part.error):
                memo: dict[E, Any] = values | {node: part.value + 1j * STEP}
                moves, = evaluate([inner], FLOATS, page, memo)
                lost = lost + _product(np.abs(np.imag(moves)) / STEP, part.error)
        return lost

    def _walked(self, step: tuple[E, ...], how: Walk, page: Page) -> Rounded:
        """What each step rounds, and what the slopes of the steps after it make of that; what is kept brings its error along."""
        x = FLOATS.array(page.given[how.start])
        error, rows, moving = np.zeros(x.shape), len(x), set(moving_nodes(step, how))
        kept: dict[str, Array] = dict.fromkeys(how.kept, x)
        brought: dict[str, Array] = {}
        for at in pages_of(how, page, rows):
            memo: dict[E, Any] = {}
            now = at.with_errors(brought, **{how.state: x}, **kept)
            found = list(evaluate(step, self, now, memo))
            still = {one: part if isinstance(part, np.ndarray) else part.value for one, part in memo.items() if one not in moving}
            near = [now.at(at.t, **{how.state: x + MOVED * unit}) for unit in np.eye(x.shape[1])]
            steps = [list(evaluate(step, FLOATS, one, dict(still))) for one in near]
            errors = [after.error + sum(np.abs(one[n] - after.value) / MOVED * error[:, d:d + 1] for d, one in enumerate(steps))
                      for n, after in enumerate(found)]
            (x, *values), (error, *others) = (after.value for after in found), errors
            kept, brought = dict(zip(how.kept, values)), dict(zip(how.kept, others))
        return Rounded(x, error)

    def _passed(self, step: E, how: Walk, page: Page) -> Rounded:
        """What each step rounds, given what the one before has left."""
        x = FLOATS.array(page.given[how.start])
        states = [Rounded(x, np.zeros(x.shape))]
        for at in pages_along(page):
            value, error = states[-1]
            states += evaluate([step], self, at.with_errors({how.state: error}, **{how.state: value}))
        return Rounded(*map(np.stack, zip(*states)))


def rounding(roots: Iterable[E], page: Page, *, accurate: bool = False, known: Mapping[E, Array] | None = None,
             memo: MutableMapping[E, Any] | None = None) -> list[Rounded]:
    """Values of formulas, with what an evaluation from tables, or an accurate one, can have lost."""
    with np.errstate(all="ignore"):
        return list(evaluate(roots, Rounding(tables=not accurate, known=known), page, memo))


def of_operations(roots: Iterable[E], page: Page, memo: MutableMapping[E, Any] | None = None) -> list[Rounded]:
    """What the operations of printed formulas lose, from columns of the schedule that are exact."""
    with np.errstate(all="ignore"):
        return list(evaluate(roots, Rounding(tables=True, columns=False), page, memo))


def of_columns(roots: Iterable[E], page: Page, memo: Mapping[E, Any] = MappingProxyType({})) -> list[Array]:
    """What the errors of tables make of formulas, in the form in which it is most: a column is off by the same amount wherever it
    stands.  The memo of `of_operations` spares the values.

    Every row by itself: where rows are added up, or steps taken, errors of different t do not move together, and this is no bound.
    """
    values = {one: found.value if isinstance(found, Rounded) else found for one, found in memo.items()}
    return [np.asarray(np.fmax.reduce(np.broadcast_arrays(*forms)))
            for forms in zip(*(_of_columns(form, page, values) for form in versions(roots)))]


def _of_columns(formulas: tuple[E, ...], page: Page, values: Mapping[E, Array]) -> list[Array]:
    found = [np.zeros(()) for _ in formulas]
    still: dict[E, Any] = dict(values)
    floats(formulas, page, still)
    for moves in _moves(_columns_in(formulas), page):
        moved = _moved_with(formulas, tuple(moves))
        memo = moves | {one: value for one, value in still.items() if one not in moved}
        slopes = [np.abs(np.imag(one)) / STEP for one in floats(formulas, page, memo)]
        found = [np.asarray(lost + np.nan_to_num(slope, nan=0.0)) for lost, slope in zip(found, slopes)]
    return found


@lru_cache(maxsize=500)
def _columns_in(formulas: tuple[E, ...]) -> list[E]:
    """The columns of the schedule in formulas; the number of a step is not one that has an error."""
    return [one for one in nodes(*formulas) if one.op == "column" and one.how.name != "t"]


@lru_cache(maxsize=2000)
def _moved_with(formulas: tuple[E, ...], columns: tuple[E, ...]) -> frozenset[E]:
    """All of some formulas that depends on some of their columns."""
    return frozenset(depending(nodes(*formulas), columns))


def _moves(columns: list[E], page: Page) -> Iterator[dict[E, Array]]:
    """What is off together, by how much: a column at one step; of ᾱ at neighbouring steps first all by what they have in common,
    each being the one before times α, then the later ones by what the steps between have lost, or a logarithm that was added up."""
    chain = sorted({one.how.shift for one in columns if one.how.name == "alpha_bar" and one.how.at is None})
    for number, shift in enumerate(chain):
        later = [one for one in columns if one.how.name == "alpha_bar" and one.how.at is None and one.how.shift >= shift]
        before = chain[number - 1] if number else None
        yield {one: _moved(one, page, since=before) for one in later}
    for how in dict.fromkeys(one.how for one in columns if one.how.name != "alpha_bar" or one.how.at is not None):
        yield {one: _moved(one, page) for one in columns if one.how == how}


def _moved(one: E, page: Page, since: int | None = None) -> Array:
    """A column with its error as an imaginary part; of ᾱ with what it has lost since another shift."""
    number = FLOATS.at(one, [], page)
    if since is None:
        error = page.column_error(one.how, number, tables=True)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = 2 * (one.how.shift - since) * (page.rows(one.how._replace(shift=0)) + one.how.shift > 0)
            error = number * (steps.reshape(number.shape) + np.nan_to_num(np.abs(np.log(number)), posinf=0.0))
    return np.asarray(number + 1j * STEP * error)


def units(got: Array, exact: Array, scale: Array) -> Array:
    """|got − exact|/(u·scale) of every entry, exact being Decimals; 0 where both are the same infinity or not a number."""
    smallest = 2.0 ** -1022
    far = np.frompyfunc(lambda g, x, s: _units(float(g), x, max(float(s), smallest)), 3, 1)(*np.broadcast_arrays(got, exact, scale))
    return np.asarray(far, dtype=np.float64)


def _units(got: float, exact: Any, scale: float) -> float:
    if not (np.isfinite(got) and exact.is_finite()):
        wanted = float(exact)
        return 0.0 if got == wanted or (got != got and wanted != wanted) else float("inf")
    if not np.isfinite(scale):
        return 0.0 if scale == np.inf else float("inf")
    return float(abs(type(exact)(got) - exact) / (type(exact)(scale) * type(exact)(2) ** -53))
