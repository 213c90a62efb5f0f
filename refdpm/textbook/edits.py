"""Reading: edits.  Every single change of a formula, with the sentence that describes it.

An edit is what somebody may have written for the formula: an operand left out or with another sign, a root or a square too many, ×
for /, another column of the schedule or its neighbour in time, another argument, a number off by one, a sum for a mean, a
term of a sum counted once.  Each is evaluated from a memo of the formula's own nodes, so that it costs only what stands above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from refdpm.textbook.expression import E, Column, node, nodes, replaced, sqrt, versions
from refdpm.textbook.written import written

COLUMNS = ("beta", "alpha", "alpha_bar")
LEAVES = ("column", "given", "gathered")                             # another one is tried in each place, a power only in all
MANY = 6                                                            # places, beyond which none is tried by itself
LONG = 40                                                           # letters of a part that is described by how it is written
MOST = 1000                                                         # nodes of a part that is written at all


class Edit(NamedTuple):
    """Changed formulas, and what has been changed in them."""

    says: str
    formulas: tuple[E, ...]


def edits(*formulas: E, in_places: bool = False) -> Iterator[Edit]:
    """Every single change of some formulas, in each form: of a part that stands in several places in all of them; with `in_places`
    also in each of them, and what is left out in all that have it in common."""
    for version in versions(formulas):
        yield from _edits(version, in_places)


def _edits(roots: tuple[E, ...], in_places: bool) -> Iterator[Edit]:
    everything = nodes(*roots, parts_of=_values_of)
    columns = dict.fromkeys(one.how for one in everything if one.op == "column" and one.how.name != "t")
    states = {one.how.state for one in everything if one.op in ("walk", "path")}
    arguments = {one.how: one for one in everything if one.op == "given" and one.how not in states}
    parents: dict[E, dict[E, None]] = {}                             # of every node, in order and each once
    for parent in reversed(everything):
        for part in parent.parts:
            parents.setdefault(part, {})[parent] = None
    for one in everything:
        around = list(parents.get(one, ()))
        if in_places:
            yield from _everywhere(roots, one, around)
        for says, new in _changes(one, columns, arguments):
            where = f" in {_name(around[-1])}" if one.op == "number" and around else ""
            yield Edit(says + where, replaced(roots, {one: new}.get))
            if in_places and 1 < len(around) <= MANY and (one.op not in LEAVES or new.op == one.op):
                yield from (Edit(f"{says} in {_name(parent)}", replaced(roots, {parent: _with_part(parent, one, new)}.get))
                            for parent in around)


def _everywhere(roots: tuple[E, ...], part: E, around: list[E]) -> Iterator[Edit]:
    """What several nodes do with one part, left out in all of them."""
    for op, place, word in (("/", 1, "divisor"), ("*", 0, "factor"), ("*", 1, "factor"), ("+", 1, "term"), ("-", 1, "term")):
        where = [one for one in around if one.op == op and one.parts[place] is part]
        if len(where) > 1:
            yield Edit(f"{word} left out everywhere: {_name(part)}",
                       replaced(roots, {one: one.parts[1 - place] for one in where}.get))


def _with_part(parent: E, part: E, new: E) -> E:
    return E(parent.op, [new if one is part else one for one in parent.parts], parent.how)


def _values_of(one: E) -> tuple[E, ...]:
    """The parts of a node whose values it has a part of, and not only their size or shape."""
    if one.op == "where" and one.how:
        return one.parts[1:2]
    return () if one.op in ("slack", "count") else one.parts[:1] if one.op in ("sum", "move") else one.parts


def _name(one: E) -> str:
    if _written_count(one) > MOST:                                  # what is shared would be written again and again
        return f"a long part, … {one.op} …"
    text = written(one)
    return text if len(text) <= LONG else text[:LONG - 1] + "…"


def _written_count(one: E) -> int:
    """How many nodes are written for a part: those that are shared as often as they stand in it."""
    counts: dict[E, int] = {}
    for inner in nodes(one):
        counts[inner] = 1 + sum(counts[part] for part in inner.parts)
    return counts[one]


def _changes(one: E, columns: Iterable[Column], arguments: dict[str, E]) -> Iterator[tuple[str, E]]:
    if one.op in _OPERATIONS:
        yield from _OPERATIONS[one.op](one)
    if one.op == "column":
        yield from _columns(one, columns)
    if one.op in ("column", "given", "gathered"):
        yield f"root of {_name(one)} for {_name(one)}", sqrt(one)
        yield f"square of {_name(one)} for {_name(one)}", one * one
        yield f"1/{_name(one)} for {_name(one)}", 1 / one
    if one.op == "given":
        yield from ((f"{name} for {one.how}", other) for name, other in arguments.items() if name != one.how)
    if one.op == "gathered":
        for shift, sign in ((-1, "−"), (1, "+")):
            yield f"{one.how.name} at t {sign} 1", E("gathered", how=one.how._replace(shift=one.how.shift + shift))


def _sum(one: E) -> Iterator[tuple[str, E]]:
    a, b = one.parts
    if b.op == "slack":
        return
    yield _left_out(b), a
    yield _left_out(a), b
    yield f"minus for plus before {_name(b)}", a - b
    yield f"minus for plus before {_name(a)}", b - a


def _left_out(one: E) -> str:
    """That a term is left out; in a derivative it may be what flows back through a sum or a mean."""
    inner = one
    while inner.op in ("fold", "neg"):
        inner = inner.parts[0]
    if inner.op == "spread":
        return f"the sum over {inner.how[2]} is left out: {_name(one)}"
    return f"term left out: {_name(one)}"


def _difference(one: E) -> Iterator[tuple[str, E]]:
    a, b = one.parts
    yield f"term left out: {_name(b)}", a
    yield f"term left out: {_name(a)}", -b
    yield f"plus for minus before {_name(b)}", a + b
    yield f"{_name(one)} the other way round", b - a


def _product(one: E) -> Iterator[tuple[str, E]]:
    a, b = one.parts
    if a is b:
        yield f"square left out: {_name(one)}", a
        return
    yield f"factor left out: {_name(b)}", a
    yield f"factor left out: {_name(a)}", b
    yield f"divided by {_name(b)}, for times", a / b
    yield f"divided by {_name(a)}, for times", b / a


def _quotient(one: E) -> Iterator[tuple[str, E]]:
    a, b = one.parts
    yield f"divisor left out: {_name(b)}", a
    if a.op != "number" or a.how != 1:
        yield f"factor left out: {_name(a)}", 1 / b
    yield f"times {_name(b)}, for divided by", a * b
    yield f"{_name(one)} the other way round", b / a


def _negative(one: E) -> Iterator[tuple[str, E]]:
    yield f"plus for minus: {_name(one)}", one.parts[0]


def _function(one: E) -> Iterator[tuple[str, E]]:
    word = {"sqrt": "root", "Phi": "Φ"}.get(one.how, one.how)
    yield f"{word} left out: {_name(one)}", one.parts[0]
    if one.how == "Phi":
        yield f"1 − Φ for Φ: {_name(one)}", 1 - one


def _number(one: E) -> Iterator[tuple[str, E]]:
    if one.how != "π":
        for other in dict.fromkeys((one.how + 1, one.how - 1, 2 * one.how, one.how / Fraction(2))):
            if other not in (one.how, 0):
                yield f"{written(node(other))} for {written(one)}", node(other)


def _total(one: E) -> Iterator[tuple[str, E]]:
    over, (x, *like) = one.how[0], one.parts
    yield f"mean over {over}, for the sum of {_name(x)}", E("average", one.parts, one.how)
    yield f"sum over {over} with the other sign", -one
    if x.op in ("+", "-"):
        a, b = x.parts
        whole = [E("sum", (part, *(like or [x])), one.how) for part in (a, b)]
        once = [E("average", (part, *(like or [x])), one.how) for part in (a, b)]
        for name, left, right in ((a, once[0], whole[1]), (b, whole[0], once[1])):
            yield f"counted once, and not for each of the {over}: {_name(name)}", left + right if x.op == "+" else left - right


def _mean(one: E) -> Iterator[tuple[str, E]]:
    yield f"sum for the mean over {one.how[0]}", E("kept", one.parts, one.how)


def _kept(one: E) -> Iterator[tuple[str, E]]:
    yield f"mean for the sum over {one.how[0]}", E("mean", one.parts, one.how)


def _cases(one: E) -> Iterator[tuple[str, E]]:
    mask, a, b = one.parts
    if one.how:
        return
    yield f"cases exchanged: {_name(a)} and {_name(b)}", E("where", (mask, b, a))
    yield f"the case {_name(mask)} also where it is not: always {_name(a)}", a + 0 * b
    yield f"no exception where {_name(mask)}: always {_name(b)}", b + 0 * a


_OPERATIONS: dict[str, Callable[[E], Iterator[tuple[str, E]]]] = {
    "+": _sum, "-": _difference, "*": _product, "/": _quotient, "neg": _negative, "call": _function, "number": _number,
    "sum": _total, "mean": _mean, "kept": _kept, "where": _cases}


def _columns(one: E, columns: Iterable[Column]) -> Iterator[tuple[str, E]]:
    here: Column = one.how
    others = [here._replace(shift=here.shift + shift) for shift in (-1, 1)]
    if here.name != "t":                                             # which is only compared with
        others = [here._replace(name=name) for name in COLUMNS if name != here.name] + others
        others += [other for other in columns if other != here]
    for other in dict.fromkeys(others):
        new = E("column", how=other)
        yield f"{written(new)} for {written(one)}", new
