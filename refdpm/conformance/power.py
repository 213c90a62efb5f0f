"""Power: what a pass would have rejected, on the inputs on which an adapter was judged and in its precision.

    factor    the smallest relative error of the whole answer that would have been seen, for each t and over all
    unseen    the edits of the formula that would have passed though they change the value

A pass with a factor above `seen`, or with such an edit, decides nothing.  An edit that changes nothing is equal to the formula
there, whatever it looks like: x − y squared, the other way round.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters.inputs import Given, Inputs
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.profile import Profile
from refdpm.conformance.precision import LIMIT, UNITS, own_tables
from refdpm.conformance.subject import differs
from refdpm.textbook.edits import ADDED, Edit, every_edit
from refdpm.textbook.expression import E, nodes
from refdpm.textbook.page import Page
from refdpm.textbook.rounding import Rounded
from refdpm.textbook.values import floats
from refdpm.vjp import Array

LONG = 200                      # nodes of a formula whose edits are not tried: its parts have clauses of their own
TABLES = ("table", "table_of_totals", "rates")                       # kinds of answers for all t at once
NOTHING = 1e-20                 # what some put for a variance of 0, or for a chance of 0
LARGE, HALF = 0.05, 0.5         # of the largest number; and of a number, which a pass should not leave out unseen
MANY_STEPS = 20                 # of a chain, whose steps are not tried again where they are judged by themselves
EDGES = 5                       # of a quantity that are looked at
LATE = 100                      # from this t on the levels have the digits of the whole chain


def seen(dtype: str, t: int = 0) -> float:
    """A relative error that a pass has to exclude: 1 %, of a late step 0.1 %, and in half a precision what that can show."""
    return min(max(0.001 if t >= LATE else 0.01, 256 * UNITS[dtype]), 0.5)


def too_weak(power: dict[str, Any], dtype: str) -> dict[int, float]:
    """The factors at those t where a pass excludes too little; at t = 0 that of an answer that belongs to no t."""
    factors = {int(t): factor for t, factor in power["at"].items()} or {0: power["factor"]}
    return {t: factor for t, factor in factors.items() if factor > seen(dtype, 0 if power["several_steps"] else t)}


# -- the answer times a number -----------------------------------------------------------------------------------------

def smallest_factor(value: Array, scale: Array, unit: float) -> Array:
    """The relative error of each entry that would have been seen; ∞ where the value is 0, which no factor changes."""
    with np.errstate(all="ignore"):
        return np.asarray(np.where(value == 0, np.inf, LIMIT * unit * scale / np.abs(value)))


def is_large(value: Array) -> Array:
    """Which numbers count beside the largest."""
    size = np.where(np.isfinite(value), np.abs(value), 0.0)
    return np.asarray(size > LARGE * np.max(size, initial=0.0))


def factor_along_t(inputs: Inputs, value: Array, factor: Array, kind: str) -> dict[int, float]:
    """The smallest at every t; nothing where the answer has no rows at t, or is 0, or a tiny number for 0, in all of them.  A table
    has a row for each."""
    t = np.arange(1, len(value) + 1) if kind in TABLES else inputs.get("t")
    if not isinstance(t, np.ndarray) or t.shape != value.shape[:1] or t.ndim != 1:
        return {}
    rows = factor.reshape(len(t), -1).min(axis=1, initial=np.inf)
    return {int(s): float(np.min(rows[t == s])) for s in np.unique(t) if np.any(np.abs(value[t == s]) > NOTHING)}


# -- the edits of its formula ------------------------------------------------------------------------------------------

class Place(NamedTuple):
    """An input as a page, the right values there with their scales, and the values of all nodes of the formulas."""

    formulas: tuple[E, ...]
    page: Page
    right: list[Rounded]
    memo: dict[E, Any]


class Power(NamedTuple):
    """How many edits the formulas of a quantity have, and the sentences of those that its inputs do not tell apart."""

    edits: int
    unseen: list[str]


def power(quantity: Quantity, dtype: str = "float32") -> Power:
    """The edits of a quantity's formulas, with the choices of our own profile, on its first edges."""
    own = {name: getattr(Profile(), name) for name in quantity.choices}
    places = places_of(quantity, [edge | own for edge in quantity.edges(Given())][:EDGES], dtype)
    found = _edits_at(places)
    return Power(len(found), [edit.says for edit in found if not any(_tells_apart(edit, place, UNITS[dtype]) for place in places)])


def unseen(places: list[Place], at: int, dtype: str, *, steps_are_judged: bool = False) -> list[str]:
    """The edits of one output that change it by more than a pass has to exclude, and cannot be told from it in that precision.

    Of a long chain whose steps are judged by themselves only what is changed in how they follow each other.
    """
    if dtype == "float64" or not places:
        return []
    right, page = places[0].formulas[at], places[0].page
    tried = [edit for edit in _edits_at(places) if edit.formulas[at] is not right]
    if steps_are_judged and (steps := _long_walks(right, page)):
        tried = [edit for edit in tried if steps <= _long_walks(edit.formulas[at], page)]
    return list(dict.fromkeys(edit.says for edit in tried if _passes_unseen(edit, places, at, UNITS[dtype], seen(dtype))))


def _long_walks(formula: E, page: Page) -> set[tuple[E, ...]]:
    """The steps of the chains in a formula that are walked often."""
    steps = 0 if page.beta is None else len(page.beta) - 1
    return {one.parts for one in nodes(formula) if one.op == "walk" and len(one.how.times or range(steps)) > MANY_STEPS}


def places_of(quantity: Quantity, inputs: Iterable[Inputs], dtype: str) -> list[Place]:
    """Those of some inputs, with their choices, that have the formulas of the first; none where a formula is too long."""
    found: list[Place] = []
    for one in inputs:
        formulas = quantity.formulas(one)
        if not formulas or len(nodes(*formulas)) > LONG:
            return []
        if found and formulas != found[0].formulas:
            continue
        try:
            page, memo = quantity.page(one), {}                      # type: Page, dict[E, Any]
            floats(formulas, page, memo)
            found.append(Place(formulas, page, quantity.followed(one, own_tables=own_tables(dtype)), memo))
        except (Skip, ValueError):
            continue
    return found


def _edits_at(places: list[Place]) -> list[Edit]:
    found = every_edit(places[0].formulas) if places else []
    return [edit for edit in found if ADDED not in edit.says]


def _passes_unseen(edit: Edit, places: list[Place], at: int, unit: float, share: float) -> bool:
    """Whether an edit changes an output by more than that share of itself somewhere, and nowhere by more than is allowed."""
    changes = False
    for place in places:
        values = _edited(edit, place, [at])
        if values is None or differs(values[0], place.right[at].value, place.right[at].scale, unit):
            return False
        changes = changes or _changes(values[0], place.right[at], share)
    return changes


def _changes(value: Array, right: Rounded, share: float) -> bool:
    """Whether some number is another by more than that share of itself."""
    with np.errstate(all="ignore"):
        moved = np.abs(value - right.value) > np.maximum(share * np.abs(right.value), UNITS["float64"] * LIMIT * right.scale)
    return bool(np.any(moved & np.isfinite(right.value)))


def _tells_apart(edit: Edit, place: Place, unit: float) -> bool:
    """Whether an edit changes any output by more than is allowed there."""
    values = _edited(edit, place, range(len(place.right)))
    return values is None or any(differs(value, one.value, one.scale, unit) for value, one in zip(values, place.right))


def _edited(edit: Edit, place: Place, outputs: Iterable[int]) -> list[Array] | None:
    """The values of some outputs with an edit; None where there are none, or of another shape."""
    with np.errstate(all="ignore"):
        try:
            return floats([edit.formulas[n] for n in outputs], place.page, dict(place.memo))
        except (ValueError, IndexError, TypeError):
            return None
