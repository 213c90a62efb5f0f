"""Power: what a pass would have rejected.  Every edit of a quantity's formulas, on the inputs on which adapters are judged.

An edit that no input tells from the formula, in the precision asked for, is one that an adapter could make and pass with.  It may
be equal to the formula whatever the input is: x − y squared, the other way round.
"""

from typing import Any, NamedTuple

import numpy as np

from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters.inputs import Given, Inputs
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.profile import Profile
from refdpm.conformance.precision import UNITS
from refdpm.conformance.subject import differs
from refdpm.textbook.edits import Edit, edits
from refdpm.textbook.expression import E, nodes
from refdpm.textbook.page import Page
from refdpm.textbook.rounding import Rounded
from refdpm.textbook.values import floats

LONG = 200                      # nodes of a formula whose edits are not tried: its parts have clauses of their own


EDGES = 5                       # of a quantity that are looked at


class Power(NamedTuple):
    """How many edits the formulas of a quantity have, and the sentences of those that its inputs do not tell apart."""

    edits: int
    unseen: list[str]


class Place(NamedTuple):
    """An input as a page, the right values there with their scales, and what has been evaluated there already."""

    page: Page
    right: list[Rounded]
    memo: dict[E, Any]


def power(quantity: Quantity, dtype: str = "float32") -> Power:
    """The edits of a quantity's formulas, with the choices of our own profile, on its first edges."""
    own = {name: getattr(Profile(), name) for name in quantity.choices}
    inputs = [edge | own for edge in quantity.edges(Given())][:EDGES]
    formulas = quantity.formulas(inputs[0])
    if not formulas or len(nodes(*formulas)) > LONG:
        return Power(0, [])
    places = [place for one in inputs if quantity.formulas(one) is formulas and (place := _place(quantity, one)) is not None]
    found = list(edits(*formulas))
    return Power(len(found), [edit.says for edit in found if not any(_tells_apart(edit, place, UNITS[dtype]) for place in places)])


def _place(quantity: Quantity, inputs: Inputs) -> Place | None:
    try:
        return Place(quantity.page(inputs), quantity.followed(inputs), {})
    except (Skip, ValueError):
        return None


def _tells_apart(edit: Edit, place: Place, unit: float) -> bool:
    with np.errstate(all="ignore"):
        try:
            values = floats(edit.formulas, place.page, place.memo)
        except (ValueError, IndexError, TypeError):                  # of another shape
            return True
        return any(differs(value, right.value, right.scale, unit) for value, right in zip(values, place.right, strict=True))
