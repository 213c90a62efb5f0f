"""Which of several failures comes first, and which of the others probably follow from it.

What is wrong comes before what is only inaccurate.  Among the wrong ones values come first, then gradients, and last the laws of
what is distributed, because nearly everything spoils them.  Values come in the order in which quantities build on each other.  A
law of single calls (the network asked at another t, noise at the last step, an input that is changed) stands before the values of
its function, because it says more than they do; most of all, that a function draws random numbers of its own.

There is one exception.  If the mistake of the first value has no name, the first value whose mistake has one comes before it; and
so it does if the first failure is that a function spoils its own tables for the calls that follow, because it was wrong before.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from refdpm.conformance.adapter import PRINTS
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.purity import RANDOM
from refdpm.conformance.chapters.quantity import Law, Quantity

Row = Mapping[str, Any]
BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}
SPOILT = "PURE.SAME"
BY_CONVENTION = "it would be right by another convention"
OF_WHOLES = {"LAW", "ORDER", "LIKELIHOOD"}      # in the id of a law of many draws, or of a whole chain
DISAGREES = "it does not agree with"            # in a convention, and nothing tells which of the two is wrong
# beginnings of reasons that do not say what is wrong
NOTES = ("refuses ", "is not defined ", "returned a ", PRINTS, BY_CONVENTION)


class Cause(NamedTuple):
    """One failure, and those that probably have the same cause."""

    first: Row
    also: list[Row]


def causes(rows: Iterable[Row], of: Mapping[str, Quantity | Law]) -> list[Cause]:
    """The failures by cause, the first wrong stage first; `of` has what each clause is of."""
    found: list[Cause] = []
    written = {id: number for number, id in enumerate(of)}
    for row in sorted(rows, key=lambda row: (_place(row, of[row["id"]]), written[row["id"]])):
        cause = next((one for one in found if _follows(row, one.first, of)), None)
        if cause is None:
            found.append(Cause(row, []))
        else:
            cause.also.append(row)
    return _with_a_name_first(found, of)


def _with_a_name_first(found: list[Cause], of: Mapping[str, Quantity | Law]) -> list[Cause]:
    """If the first failure is of a value and has no name, or of what comes after another call, the first one of its kind that has
    one comes before it."""
    if not found or found[0].first["mistake"]:
        return found
    is_spoilt = found[0].first["id"] == SPOILT and RANDOM not in found[0].first["reason"]
    if isinstance(of[found[0].first["id"]], Law) and not is_spoilt:
        return found
    kind = _place(found[0].first, of[found[0].first["id"]])[:2]
    places = [place for place, (first, _) in enumerate(found)
              if first["mistake"] and not first["given_upstream"] and _place(first, of[first["id"]])[:2] == kind]
    return [found.pop(place) for place in places[:1]] + found


def has_its_own_name(row: Row, first: Row) -> bool:
    """Whether a failure has the name of another mistake than the first one of its cause."""
    return bool(row["mistake"] and first["mistake"]) and not _names(row) & _names(first)


def function_of(row: Row, of: Quantity | Law) -> str:
    """The function that a clause is about: of a law the one that it names first, or needs."""
    if isinstance(of, Quantity):
        return of.name
    named = str(row["reason"]).partition(" ")[0]
    return named if named in BY_NAME else of.needs[0] if of.needs else ""


def is_distribution(of: Quantity | Law) -> bool:
    """Whether a law is one of many draws, or of what a whole chain comes to."""
    return isinstance(of, Law) and not OF_WHOLES.isdisjoint(of.id.replace(".", "_").split("_"))


@cache
def order() -> dict[str, int]:
    """The place of every quantity: behind all that it builds on, and otherwise as it is read."""
    found: dict[str, int] = {}

    def visit(quantity: Quantity) -> None:
        for name in quantity.after:
            visit(BY_NAME[name])
        found.setdefault(quantity.name, len(found))

    for quantity in QUANTITIES:
        visit(quantity)
    return found


@cache
def builds_on(name: str) -> frozenset[str]:
    """The quantities below a quantity, however far."""
    after = BY_NAME[name].after if name in BY_NAME else ()
    return frozenset(after).union(*map(builds_on, after))


def _place(row: Row, of: Quantity | Law) -> tuple[int, int, int, int]:
    step, inaccurate = order().get(function_of(row, of), -1), int(row["verdict"] == "inaccurate")
    if isinstance(of, Law):
        return inaccurate, (2 if is_distribution(of) else 0), step, -2 if RANDOM in row["reason"] else -1
    return inaccurate, int(row["id"].startswith("GRAD.")), step, 0


def _follows(row: Row, first: Row, of: Mapping[str, Quantity | Law]) -> bool:
    same_reason = row["reason"] == first["reason"] and row["reason"] and not row["reason"].startswith(NOTES)
    if _names(row) & _names(first) or same_reason:
        return True
    if RANDOM in first["reason"] and function_of(first, of[first["id"]]) == function_of(row, of[row["id"]]):
        return True
    if row["given_upstream"]:                                       # a mistake of its own, besides those before it
        return False
    if of[row["id"]] is of[first["id"]] and first["mistake"] and not row["mistake"] and row["kind"] == first["kind"] == "value":
        return False                                                # another output, which that mistake does not explain
    return function_of(first, of[first["id"]]) in _what_spoils(row, of[row["id"]])


def _what_spoils(row: Row, of: Quantity | Law) -> Sequence[str] | frozenset[str]:
    """The functions which, when wrong, make this clause fail: for most laws of single calls there are none."""
    name = function_of(row, of)
    if isinstance(of, Quantity) or is_distribution(of):
        return builds_on(name) | {name}
    return (name, *BY_NAME[name].after) if of.id.endswith("LAST") else ()


def _names(row: Row) -> set[str]:
    return {row["mistake"], *row["also"]} - {None}
