"""Reading: edits.  Every single change of a formula, with the sentence that describes it.

An edit is what somebody may have written for the formula: an operand left out or with another sign, a root or a square too many, ×
for /, another column of the schedule or its neighbour in time, another argument, a number off by one, a sum for a mean, a
term of a sum counted once; two arguments of a formula exchanged, or a table of ᾱ_{t−1} made in another way.  Each is evaluated from
a memo of the formula's own nodes, so that it costs only what stands above it.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache, partial, reduce
from itertools import chain, combinations, product
from typing import Any, NamedTuple, TypeVar

from refdpm.textbook.expression import (GUESSES, HALF, NETWORKS, PI, Call, Column, E, Replacing, Steps, above, column, count, exp,
                                        given, is_said, leaves, log, move, node, nodes, sqrt, tanh, where)
from refdpm.textbook.written import written

COLUMNS = ("beta", "alpha", "alpha_bar")
POWERS = ("call", "*", "/")
COUNTS = ("classes", "levels", "count", "T")                           # arguments that say how many there are
OFF_BY_ONE = (*COUNTS, "weight")                                     # arguments that may be so
LEAVES = ("column", "given", "gathered")                             # another one is tried in each place, a power only in all
STATES = ("x_0", "x_t", "noise")                                    # arguments at which a network may be asked
TARGETS = ("x_0", "noise")                                           # what a network predicts, or a state is made of
LEVELS = ("sigma", "sigma_next", "time", "time_next")               # and what it may be told
FITTING = ("+", "-", "*", "/", "call", "column", "given", "sum", "mean", "kept")  # what may be multiplied by another number
FEW = 3                                                             # places, in each of which a leaf is tried with a power
MANY = 6                                                            # places, beyond which none is tried by itself
SEVERAL = 4                                                         # places, of which some are tried together
SMALL = tuple(Fraction(1, 10 ** power) for power in (4, 5, 6, 7, 8, 10, 12))  # what people add to what must not be 0
ADDED = "is added in"                                               # of those: another formula only where something is nearly 0
TINY = 1e-12                                                        # a number in place of 0, of which others will do as well
ASKED = "the network is asked at"                                    # elsewhere: no accident where the numbers fit
CUT = "…"                                                           # where a part is not written out
LONG = 40                                                           # letters of a part that is described by how it is written
MOST = 1000                                                         # nodes of a part that is written at all
FITTED = "the number that is not known"                              # an argument of formulas in which there is one


Said = TypeVar("Said", bound=tuple[Any, ...])                       # an edit, or another tuple that begins with what it says


class Edit(NamedTuple):
    """Changed formulas, and what has been changed in them."""

    says: str
    formulas: tuple[E, ...]


def edits(*formulas: E, all_ways: bool = False) -> Iterator[Edit]:
    """Every single change of some formulas, in each form: of a part that stands in several places in all of them.

    With `all_ways` also in each place by itself, and what is left out in all that have it in common; in every way in which people
    write a formula; with the arguments of formulas that have a name exchanged; and with tables that are made in another way.
    """
    varied = ("forms", "also") if all_ways else ("forms",)
    counts = (range(max((len(one.parts) for one in nodes(*formulas) if one.op == op), default=1)) for op in varied)
    before: set[E] = set()
    for version in (_Version(formulas, dict(zip(varied, numbers))) for numbers in product(*counts)):
        yield from _edits(version, before, all_ways)
        yield from _since_the_start(version) if all_ways else ()
        yield from _to_another_base(version) if all_ways else ()
        yield from _in_another_unit(version, formulas) if all_ways else ()
        yield from _for_all_steps(version, formulas) if all_ways else ()
        yield from _of_calls(version) if all_ways else ()
        yield from _of_networks(version, before) if all_ways else ()
        again = set(nodes(*(one for one in version.everything if one.op == "also" and one.how)))
        before.update(one for one in version.everything if one not in again)


@lru_cache(maxsize=64)
def every_edit(formulas: tuple[E, ...]) -> list[Edit]:
    """The edits of some formulas in all ways, made once."""
    return list(edits(*formulas, all_ways=True))


@lru_cache(maxsize=64)
def every_fit(formulas: tuple[E, ...]) -> list[Edit]:
    """Some formulas with a number that is not known, the argument FITTED: a part is multiplied by it, in each place or in all, or
    it stands for an argument.  What is said is what follows the number."""
    return [fit for numbers in range(max((len(one.parts) for one in nodes(*formulas) if one.op == "forms"), default=1))
            for fit in _fits(_Version(formulas, {"forms": numbers}))]


def _fits(version: _Version) -> Iterator[Edit]:
    """A number that is not known in the formulas in one form; also beside the values of formulas that have a name."""
    number, parents = given(FITTED), version.parents()
    for call in version.calls():
        name = "what the network says" if call.formula in NETWORKS else _called(call)
        yield version.edit(f" is added to {name}", {leaf: leaf + number for leaf in leaves(call.value)})
        for place in _places_of_numbers(call):
            yield version.edit(f" for {_argument(call, place).how} in {name}", _called_with(call, {place: number}))
    counted = {part for one in version.everything if one.op == "counting" for part in one.parts}
    for one in (one for one in version.everything if one.op in FITTING and one.how not in COUNTS and one not in counted):
        changes = [(f" times {_name(one)}", number * one)]
        if one.op == "given" and one.how not in STATES:
            changes += [(f" for {_name(one)}", number + 0 * one)]
        if one.op in ("given", "column"):
            changes += [(f" is added to {_name(one)}", one + number)]
        if one.op == "given" and one.how == "time":
            changes += [(" times (1 − time) in 1 − (1 − time), which is time", 1 - number * (1 - one))]
        around = parents.get(one, ())
        for says, new in changes:
            yield version.edit(says, {one: new})
            if 1 < len(around) <= MANY:
                yield from (version.edit(f"{says} in {_name(parent)}", {parent: version.with_part(parent, one, new)})
                            for parent in around)


def aligned(found: Sequence[Said], like: Sequence[Said]) -> list[Said]:
    """The edits of one formula in the order of those of another: what says the same, else what stands in the same place.

    Of another width, say, a formula has another number in one place, and there one edit more or less.
    """
    if found is like:
        return list(found)
    by_key = dict(zip(_numbered(found), found))
    return [by_key.get(key) or found[min(number, len(found) - 1)] for number, key in enumerate(_numbered(like))]


def _numbered(found: Sequence[Said]) -> Iterator[tuple[str, int]]:
    """What each edit says, and how many have said that before it."""
    before: Counter[str] = Counter()
    for says, *_ in found:
        yield says, before[says]
        before[says] += 1


class _Version:
    """Formulas with everything in one form: for each kind of node that has several the number of the form, from 0."""

    def __init__(self, formulas: tuple[E, ...], numbers: dict[str, int]) -> None:
        self.numbers = numbers
        self.everything = nodes(*formulas, parts_of=self.parts_of)
        several = [one for one in nodes(*formulas) if numbers.get(one.op)]         # the first form is what is evaluated
        self.formulas = Replacing(formulas, {one: self.parts_of(one)[0] for one in several})

    def parts_of(self, one: E) -> tuple[E, ...]:
        """The parts of a node whose values it has a part of, and not only their size or shape; of what a network says only what it
        is told, for how it is made is nothing that somebody writes down."""
        if is_said(one):
            return tuple(told for call in one.calls if call.formula in NETWORKS for told in list(call.arguments.values())[:2])
        if one.op in ("forms", "also"):
            return one.parts[min(self.numbers.get(one.op, 0), len(one.parts) - 1)],
        if one.op == "where" and one.how:
            return one.parts[1:2]
        return () if one.op in ("slack", "count") else one.parts[:1] if one.op in ("sum", "move", "term") else one.parts

    def shown(self, one: E) -> E:
        """What is written for a node: itself, or of several forms the one that is taken."""
        while one.op in ("forms", "also"):
            one, = self.parts_of(one)
        return one

    def parents(self) -> dict[E, dict[E, None]]:
        """Of every node those of which it is a part, in order and each once."""
        found: dict[E, dict[E, None]] = {}
        for parent in reversed(self.everything):
            for part in self.parts_of(parent) if parent.op not in ("forms", "also") and not is_said(parent) else ():
                found.setdefault(self.shown(part), {})[parent] = None
        return found

    def calls(self) -> Collection[Call]:
        """The calls of formulas that have a name, in order."""
        return {id(call): call for one in self.everything for call in one.calls}.values()

    def with_part(self, parent: E, part: E, new: E) -> E:
        """The parent with another part; of a larger or smaller of two also where they are compared."""
        parts = [new if self.shown(one) is part else one for one in parent.parts]
        if parent.op == "where" and parent.parts[0].op == "above" and part in map(self.shown, parent.parts[1:]):
            parts[0] = self.with_part(parent.parts[0], part, new)
        return E(parent.op, parts, parent.how)

    def with_parts(self, others: dict[tuple[E, E], E]) -> tuple[E, ...]:
        """The formulas with another part in some nodes: for the node and its part what is there instead."""
        roots, made = self.formulas.replaced({}), dict[E, E]()
        for one in nodes(*roots):
            parts = [others.get((one, self.shown(part))) or made[part] for part in one.parts]
            made[one] = one if all(map(operator.is_, parts, one.parts)) else E(one.op, parts, one.how)
        return tuple(made[root] for root in roots)

    def edit(self, says: str, instead: dict[E, E]) -> Edit:
        """The formulas with what is instead of some nodes."""
        return Edit(says, self.formulas.replaced(instead))


def _edits(version: _Version, before: set[E], all_ways: bool) -> Iterator[Edit]:
    """The changes of nodes that were in no form before, and of others where they stand in such nodes."""
    everything = version.everything
    columns = dict.fromkeys(one.how for one in everything if one.op == "column" and one.how.name != "t")
    states = {name for one in everything if one.op in ("walk", "path") for name in (one.how.state, *one.how.kept)}
    arguments = {one.how: one for one in everything if one.op == "given" and one.how not in states}
    parents = version.parents()
    yield from _other_states_of_a_path(version)
    which_step = {part for one in everything if _asks_which_step(one) for part in one.parts}     # edited as a case
    for one in (one for one in everything if not is_said(one) and one not in which_step):
        around = [parent for parent in parents.get(one, ()) if parent not in before or one not in before]
        apart = all_ways and (len(parents.get(one, ())) > 1 or one in before) and len(parents.get(one, ())) <= MANY
        conditions = [parent for parent in around if parent.op == "above"] if all_ways else []
        if all_ways:
            yield from _everywhere(version, one, around)
        for says, new in _changes(one, columns, arguments, all_ways):
            if len(conditions) > 1 and new.op not in POWERS:
                yield version.edit(f"{says} in the conditions",
                                   {parent: version.with_part(parent, one, new) for parent in conditions})
            where = f" in {_name(around[-1])}" if one.op == "number" and around else ""
            if one not in before:
                yield version.edit(says + where, {one: new})
            if apart and (one.op not in LEAVES or new.op not in POWERS or len(parents.get(one, ())) <= FEW):
                yield from (version.edit(f"{says} in {_name(parent)}", {parent: version.with_part(parent, one, new)})
                            for parent in around)
            if apart and one.op in LEAVES and new.op in LEAVES:
                yield from _in_some_places(version, says, one, new, parents)
        if apart:
            inner = dict.fromkeys([*one.parts, *(part for inside in one.parts for part in inside.parts)])
            for says, new in (change for part in inner if part not in which_step
                              for change in _changes_inside(one, part, columns, arguments)):
                yield from (version.edit(f"{says} in {_name(parent)}", {parent: version.with_part(parent, one, new)})
                            for parent in around)


def _in_some_places(version: _Version, says: str, leaf: E, new: E, parents: dict[E, dict[E, None]]) -> Iterator[Edit]:
    """Another leaf in several places, but not in all; what contains it and is shared stands in several."""
    places: list[tuple[E, E, E]] = []                                # a node, its part, and what is there instead
    for parent in parents.get(leaf, ()):
        part, whole, around = parent, version.with_part(parent, leaf, new), parents.get(parent, {})
        if [outer.op for outer in around] == ["term"]:
            part, = around
            whole, around = version.with_part(part, parent, whole), parents.get(part, {})
        places += [(outer, part, whole) for outer in around] if len(around) > 1 else [(parent, leaf, new)]
    for some in chain.from_iterable(combinations(places, number) for number in range(2, len(places)) if len(places) <= SEVERAL):
        where = " and in ".join(_name(node) if part is leaf else f"{_name(part)} in {_name(node)}" for node, part, _ in some)
        yield Edit(f"{says} in {where}", version.with_parts({(node, part): other for node, part, other in some}))


def _asks_which_step(one: E) -> bool:
    """Whether a node is "2 > t"."""
    return one.op == "above" and one.parts[0].op == "number" and one.parts[1].op == "column" and one.parts[1].how == Column("t")


def _other_states_of_a_path(version: _Version) -> Iterator[Edit]:
    """Another state of a path where one of them is looked at: x_0 for x_T."""
    looks = [one for one in version.everything if one.op == "move" and one.parts[0].op == "path"]
    for one in looks:
        states = one.parts[0]
        others = [(states.how.start, given(states.how.start))]
        others += [(other.how.says.removesuffix(" of"), other) for other in looks if other.parts[0] is states and other is not one]
        for name, other in others:
            yield version.edit(f"{name} for {one.how.says.removesuffix(' of')}", {one: other})


def _changes_inside(one: E, part: E, columns: Collection[Column], arguments: dict[str, E]) -> Iterator[tuple[str, E]]:
    """The changes of a part of an expression that somebody may write out in each place."""
    for says, new in _changes(part, columns, arguments, False):
        yield f"{says} in {_name(one)}", _replacing(one).replaced({part: new})[0]


@lru_cache(maxsize=500)
def _replacing(one: E) -> Replacing:
    """A part that is changed again and again."""
    return Replacing((one,))


def _since_the_start(version: _Version) -> Iterator[Edit]:
    """All that is said of one step said of all steps up to it; and what is said of the steps since the time before of one step."""
    since = [one for one in version.everything if one.op == "/" and [_level_at(part) for part in one.parts] == ["t", "t_prev"]]
    if since:
        single = {one: E("column", how=one.parts[0].how._replace(name="alpha")) for one in since}
        yield version.edit("β_t and α_t, of one step, for those of the steps from the kept time before", single)
        yield from (version.edit(f"{_name(alpha)}, of one step, for {_name(one)} in {_name(parent)}",
                                 {parent: version.with_part(parent, one, alpha)})
                    for one, alpha in single.items() for parent in version.everything if one in map(version.shown, parent.parts))
    of_step = [one for one in version.everything if one.op == "column" and one.how.name in ("beta", "alpha")]
    if len(of_step) > 1:
        kept = {one: E("column", how=one.how._replace(name="alpha_bar")) for one in of_step}
        yield version.edit("1 − ᾱ_t for β_t, and ᾱ_t for 1 − β_t, everywhere", {
            one: level if one.how.name == "alpha" else 1 - level for one, level in kept.items()})


def _to_another_base(version: _Version) -> Iterator[Edit]:
    """All logarithms to base 2 or 10, of which the exponential is not the inverse; or left out."""
    logs = [one for one in version.everything if one.op == "call" and one.how == "log" and one.parts[0].op != "number"]
    if len(logs) > 1:
        yield version.edit("log left out everywhere", {one: one.parts[0] for one in logs})
        for small in SMALL:
            yield version.edit(f"{written(node(small))} {ADDED} all logarithms", {
                one: log(one.parts[0] + node(small)) for one in logs})
        for base in (2, 10):
            yield version.edit(f"to base {base}, for the natural logarithm, everywhere",
                               {one: one / log(node(base)) for one in logs})


def _in_another_unit(version: _Version, formulas: tuple[E, ...]) -> Iterator[Edit]:
    """One of the two terms of an answer in nats, where the other one is in bits."""
    for whole, at, term in _terms_of_answers(version, formulas):
        if any(one.op == "call" and one.how == "log" for one in nodes(whole)):
            for says, rest, other in (("nats", "bits", term * log(node(2))), ("bits", "nats", term / log(node(2)))):
                yield version.edit(f"in {says}, where the rest is in {rest}: {_name(term)}", {whole: _with_term(whole, at, other)})


def _for_all_steps(version: _Version, formulas: tuple[E, ...]) -> Iterator[Edit]:
    """One of the two terms of an answer times the number of steps, or divided by it."""
    T = column("t", at="T")
    for whole, at, term in _terms_of_answers(version, formulas):
        if any(one.op == "column" for one in nodes(whole)):
            for says, other in (("times", term * T), ("divided by", term / T)):
                yield version.edit(f"{says} the number of steps: {_name(term)}", {whole: _with_term(whole, at, other)})


def _terms_of_answers(version: _Version, formulas: tuple[E, ...]) -> Iterator[tuple[E, int, E]]:
    """The answers that are a sum or a difference, each with the number of a term, and the term."""
    for whole in formulas:
        while whole.op in ("forms", "also", "sum") or whole.op == "/" and whole.parts[1].op == "count":
            whole = version.parts_of(whole)[0]
        if whole.op in ("+", "-"):
            yield from ((whole, at, term) for at, term in enumerate(whole.parts))


def _with_term(whole: E, at: int, new: E) -> E:
    return E(whole.op, [new if number == at else part for number, part in enumerate(whole.parts)])


def _level_at(one: E) -> str:
    """Of which t a node is ᾱ."""
    return str(one.how.at or "t") if one.op == "column" and one.how.name == "alpha_bar" and not one.how.shift else ""


# -- arguments of a formula that has a name --------------------------------------------------------------------------------

def _of_calls(version: _Version) -> Iterator[Edit]:
    """Two arguments exchanged, and an argument for the value; in every version, where something else stands around it."""
    for call in (call for call in version.calls() if call.formula not in NETWORKS):
        text = _called(call)
        for a, b in combinations(_places(call), 2):
            for says, others in _exchanged(call, a, b):
                new = _called_with(call, others)
                if not new.keys().isdisjoint(version.everything):
                    yield version.edit(f"{says} in {text}", new)
        for place in (place for place in _places(call) if place[1:] == ("var",)):
            for says, change in (("log", log), ("exp", exp)):
                new = _called_with(call, {place: change(_argument(call, place))})
                yield version.edit(f"{says} {'.'.join(place)} for {'.'.join(place)} in {text}", new)
        if isinstance(call.value, E) and len(call.arguments) == 1:
            yield from (version.edit(says, {call.value: new}) for says, new in _of_one_part(call))
        for place in _places_of_numbers(call):
            for says, other in _of_leaf(_argument(call, place)):
                yield version.edit(f"{says} in {text}", _called_with(call, {place: other}))
        if "column" in call.arguments:
            yield version.edit(_other_side(call), _called_with(call, {("column",): not call.arguments["column"]}))
        for place in (place for place in _places(call) if not isinstance(_argument(call, place), E)):
            for says, law in _other_laws(version, _argument(call, place)):
                yield version.edit(f"{says} in {place[0]}", _called_with(call, {place: law}))
        for says, row in _other_rows(call.arguments.get("row")):
            yield version.edit(f"{text} {says}, and not of t", _called_with(call, {("row",): row}))
        if isinstance(call.value, E) and call.formula in GUESSES:
            for low in (-1, 0):
                yield version.edit(f"x̂_0 is clipped to [{low}, 1]", {call.value: _clipped(call.value, low)})
        if isinstance(call.value, E):
            for place in _places(call):
                argument = _argument(call, place)
                if isinstance(argument, E) and argument.op != "number":
                    whole = _name(call.value) if _written_count(call.value) <= MOST else CUT
                    yield version.edit(f"{'.'.join(place)} for {text if CUT in whole else whole}", {call.value: argument})


def _other_rows(row: Any) -> Iterator[tuple[str, Any]]:
    """What is taken of the schedule, of another t."""
    tables = [one for one in nodes(*leaves(row)) if one.op == "column" and one.how.name != "t"]
    for says, shift in (("of t − 1", -1), ("of t + 1", 1)) if tables and all(one.how.at is None for one in tables) else ():
        moved = {one: E("column", how=one.how._replace(shift=one.how.shift + shift)) for one in tables}
        yield says, type(row)(*Replacing(tuple(row)).replaced(moved))


def _other_laws(version: _Version, law: Any) -> Iterator[tuple[str, Any]]:
    """A law that is an argument, as a whole at another time or at another state than what stands beside it."""
    parts = Replacing(tuple(leaves(law)))
    everything = nodes(*leaves(law))
    asked = [next(iter(call.arguments.values())) for one in version.everything for call in one.calls if call.formula in NETWORKS]
    states = {state: state for state in asked}                       # made before: they stay what they are
    tables = [one for one in everything if one.op == "column" and one.how.name != "t"]
    for says, shift in (("t − 1", -1), ("t + 1", 1)) if tables else ():
        moved = {one: E("column", how=one.how._replace(shift=one.how.shift + shift)) for one in tables}
        yield f"every table at {says}", type(law)(*parts.replaced({**moved, **states}))
    others = [one for one in version.everything if one.op == "given" and one.how in STATES]
    for state in (state for state in states if state in everything):
        yield from ((f"{other.how} for {_name(state)}", type(law)(*parts.replaced({state: other}))) for other in others
                    if other is not state)


def _other_side(call: Call) -> str:
    """The row of a matrix for its column."""
    wrong, right = ("row", "column") if call.arguments["column"] else ("column", "row")
    return f"the {wrong} for the {right} of the matrix with {_name(call.arguments['stays'])} on its diagonal"


def _exchanged(call: Call, a: Place, b: Place) -> Iterator[tuple[str, dict[Place, Any]]]:
    """Two arguments exchanged, or one taken for the other; a mean also with the logarithm of a variance."""
    x, y = _argument(call, a), _argument(call, b)
    if type(x) is type(y):
        yield f"{'.'.join(a)} and {'.'.join(b)} are exchanged", {a: y, b: x}
        yield f"{'.'.join(a)} is taken for {'.'.join(b)}", {b: x}
        yield f"{'.'.join(b)} is taken for {'.'.join(a)}", {a: y}
    if a[1:] == ("mean",) and b[1:] == ("var",):
        yield f"{'.'.join(a)} and log {'.'.join(b)} are exchanged", {a: log(y), b: exp(x)}
    if a[1:] == ("var",) and b[1:] == ("mean",):
        yield f"log {'.'.join(a)} and {'.'.join(b)} are exchanged", {a: exp(y), b: log(x)}


def _of_networks(version: _Version, before: set[E]) -> Iterator[Edit]:
    """A network that is asked elsewhere, or with something around what it is told or says."""
    starts = {one.how.state: given(one.how.start) for one in version.everything if one.op in ("walk", "path")}
    arguments = {one.how: one for one in version.everything if one.op == "given"}
    calls = {id(call): call for one in version.everything if one not in before for call in one.calls if call.formula in NETWORKS}
    for call in calls.values():
        for says, others in (*_other_states(call, arguments, starts), *_other_levels(call, arguments)):
            new: Any = call.formula(**{**call.arguments, **others})
            yield version.edit(says, dict(zip(leaves(call.value), leaves(new), strict=True)))
        state = next(iter(call.arguments.values()))
        for whole in (one for one in nodes(state) if one is state or one.op == "+"):
            yield from (version.edit(f"{_name(whole)} for {part.how}", {part: whole, whole: whole, state: state})
                        for part in nodes(whole) if part is not whole and part.op == "given" and part.how in STATES)
        yield version.edit("tanh is put around what the network says", {leaf: tanh(leaf) for leaf in leaves(call.value)})
        yield version.edit("what the network says has the wrong sign", {leaf: -leaf for leaf in leaves(call.value)})
        yield version.edit("what the network says is clipped to [-1, 1]", {leaf: _clipped(leaf) for leaf in leaves(call.value)})


def _clipped(x: E, low: int = -1) -> E:
    """x, but 1 above 1 and `low` below it."""
    return where(above(x, 1), 1, where(above(low, x), low, x))


def _other_states(call: Call, arguments: dict[str, E], starts: dict[str, E]) -> Iterator[tuple[str, dict[str, E]]]:
    """Where else a network may be asked."""
    state, x = next(iter(call.arguments.items()))
    yield f"tanh is put around {_name(x)}, which the network is told", {state: tanh(x)}
    for a, b in combinations([one for one in nodes(x) if one.op == "given" and one.how in STATES] if x.op != "given" else (), 2):
        yield f"{ASKED} {_name(x)} with {a.how} and {b.how} exchanged", {
            state: Replacing((x,)).replaced({a: b, b: a})[0]}
    others = {name: other for name, other in arguments.items() if name in STATES and other is not x}
    others |= {"the state with which the chain starts": starts[x.how]} if x.op == "given" and x.how in starts else {}
    instead_of = _called(x.calls[-1]) if CUT in _name(x) and x.calls else _name(x)
    yield from ((f"{ASKED} {name}, and not at {instead_of}", {state: other}) for name, other in others.items())


def _other_levels(call: Call, arguments: dict[str, E]) -> Iterator[tuple[str, dict[str, E]]]:
    """What else a network may be told: another level, or another function of it; or the tables of another t."""
    level, at = list(call.arguments.items())[1]
    if at.op == "gathered":
        tables = {name: table for name, table in call.arguments.items() if table.op == "gathered"}
        for says, shift in (("t + 1", 1), ("t − 1", -1)):
            yield f"the network is told {says}, and not t", {
                name: E("gathered", how=table.how._replace(shift=table.how.shift + shift)) for name, table in tables.items()}
        return
    others = [1 - at, 1000 * at, at / 1000, log(at), log(at) / 4, exp(at), sqrt(at), at * at, 1 / at]
    others += [arguments[name] for name in LEVELS if name in arguments and arguments[name] is not at]
    yield from ((f"the network is told {_name(other)}, and not {_name(at)}", {level: other}) for other in others)
    from_noise = 1 - 1000 * (1 - at)                                 # of one that counts from the noise; beyond it, its distance
    yield f"the network is told 1000 times 1 − {_name(at)}, for once", {level: sqrt(from_noise * from_noise)}


Place = tuple[str, ...]                                             # of an argument, or of a part of it: ("q", "mean")


def _places(call: Call) -> list[Place]:
    """The arguments that are nodes or laws, and the parts of laws; what is taken of the schedule is no argument."""
    found: list[Place] = []
    for name, value in call.arguments.items():
        if isinstance(value, E):
            found.append((name,))
        elif leaves(value) and name not in ("row", "grid"):
            found += [(name,), *((name, field) for field in value._fields)]
    return found


def _places_of_numbers(call: Call) -> list[Place]:
    """The arguments that are given, and no states."""
    arguments = {place: _argument(call, place) for place in _places(call)}
    return [place for place, one in arguments.items() if isinstance(one, E) and one.op == "given" and one.how not in STATES]


def _argument(call: Call, place: Place) -> Any:
    value = call.arguments[place[0]]
    return getattr(value, place[1]) if place[1:] else value


def _called_with(call: Call, others: dict[Place, Any]) -> dict[E, E]:
    """What stands for every node of the value that is made of some arguments, when it is called with others."""
    arguments = dict(call.arguments)
    for (name, *field), value in others.items():
        arguments[name] = arguments[name]._replace(**{field[0]: value}) if field else value
    new: Any = call.formula(**arguments)
    moved = {leaf for place in others for leaf in leaves(_argument(call, place))}
    return {old: other for old, other in zip(leaves(call.value), leaves(new), strict=True) if not moved or moved & set(nodes(old))}


def _everywhere(version: _Version, part: E, around: list[E]) -> Iterator[Edit]:
    """What several nodes do with one part, left out in all of them."""
    for op, place, word in (("/", 1, "divisor"), ("*", 0, "factor"), ("*", 1, "factor"), ("+", 1, "term"), ("-", 1, "term")):
        where = [one for one in around if one.op == op and version.shown(one.parts[place]) is part]
        if len(where) > 1:
            yield version.edit(f"{word} left out everywhere: {_name(part)}", {one: one.parts[1 - place] for one in where})


@lru_cache(maxsize=5000)
def _name(one: E) -> str:
    if _written_count(one) <= MOST:                                 # what is shared would be written again and again
        text = written(one)
        return text if len(text) <= LONG else text[:LONG - 1] + CUT
    if one.calls:
        return _called(one.calls[-1])
    parts = {"*": " "}.get(one.op, f" {one.op} ").join(map(_name, one.parts)) if one.op in ("+", "*", "/") else ""
    return parts if 0 < len(parts) <= LONG else f"a long part, … {one.op} …"


def _called(call: Call) -> str:
    """A formula that has a name, with the names of its arguments, of which a row of the schedule is none."""
    names = (name for name, value in call.arguments.items() if leaves(value) and name != "row")
    return f"{call.formula.__name__}({', '.join(names)})"


def _written_count(one: E) -> int:
    """How many nodes are written for a part: those that are shared as often as they stand in it."""
    counts: dict[E, int] = {}
    for inner in nodes(one):
        counts[inner] = 1 + sum(counts[part] for part in inner.parts)
    return counts[one]


def _changes(one: E, columns: Collection[Column], arguments: dict[str, E], all_ways: bool) -> Iterator[tuple[str, E]]:
    if one.op in _OPERATIONS:
        yield from _OPERATIONS[one.op](one)
    if all_ways and one.op in _IN_ALL_WAYS:
        yield from _IN_ALL_WAYS[one.op](one)
    if one.op == "column":
        yield from _columns(one, columns)
        yield from _tables_before(one) if all_ways else ()
    if one.op in LEAVES:
        yield from _of_leaf(one)
    if all_ways and one.op == "given" and one.how in OFF_BY_ONE:
        yield f"{_name(one)} − 1 for {_name(one)}", one - 1
        yield f"{_name(one)} + 1 for {_name(one)}", one + 1
    if all_ways and one.op == "given" and one.how not in STATES:
        yield f"exp({_name(one)}) for {_name(one)}", exp(one)
        yield f"log({_name(one)}) for {_name(one)}", log(one)
    if all_ways and one.op in ("column", "given"):
        yield f"1 − {_name(one)} for {_name(one)}", 1 - one
        yield f"{_name(one)} is missing: 1 in its place", node(1) + 0 * one
    if all_ways and one.op == "given" and one.how in TARGETS and columns:
        for share in (sqrt(column("alpha_bar")), sqrt(1 - column("alpha_bar"))):
            yield f"{_name(share * one)} for {_name(one)}", share * one
    if one.op == "given":
        yield from ((f"{name} for {one.how}", other) for name, other in arguments.items() if name != one.how)
    if all_ways and one.op == "count" and len(one.how[1]) == 1:
        yield from _other_numbers(one, arguments)
    if all_ways and one.op == "given" and one.how == "time":
        yield "√(1 − time²) for time", sqrt(1 - one * one)
        yield "√(1 − (1 − time)²) for time", sqrt(1 - (1 - one) * (1 - one))
    if all_ways and one.op == "given" and one.how == "law":
        yield "the uniform law, 1/classes, for law", 1 / given("classes") + 0 * one
    if all_ways and one.op == "given" and one.how == "mask":
        yield "the first class is the mask, and not the last", move(one, "the other way round", lambda i: i[::-1])
    if one.op == "gathered":
        for shift, sign in ((-1, "−"), (1, "+")):
            yield f"{one.how.name} at t {sign} 1", E("gathered", how=one.how._replace(shift=one.how.shift + shift))


def _other_numbers(one: E, arguments: dict[str, E]) -> Iterator[tuple[str, E]]:
    """The rows or the columns of any argument counted, for what is counted along one axis."""
    for name, other in arguments.items():
        for what, axes in (("rows", (-2,)), ("columns", (-1,))):
            if other is not one.parts[0] or axes != one.how[1]:
                new = count(other, f"{what} of {name}", axes)
                yield f"the number of {new.how[0]}, for the number of {one.how[0]}", new


def _of_leaf(one: E) -> Iterator[tuple[str, E]]:
    """A power of it that somebody has forgotten, or put."""
    yield f"root of {_name(one)} for {_name(one)}", sqrt(one)
    yield f"square of {_name(one)} for {_name(one)}", one * one
    yield f"1/{_name(one)} for {_name(one)}", 1 / one


def _sum(one: E) -> Iterator[tuple[str, E]]:
    a, b = one.parts
    if b.op == "slack":
        return
    yield _left_out(b), a
    yield _left_out(a), b
    yield f"minus for plus before {_name(b)}", a - b
    yield f"minus for plus before {_name(a)}", b - a
    yield from _alone(one)


def _left_out(one: E) -> str:
    """That a term is left out; in a derivative it may be what flows back through a sum or a mean."""
    inner = one
    while inner.op in ("fold", "neg"):
        inner = inner.parts[0]
    if inner.op == "spread":
        return f"the sum over {inner.how[2]} is left out: {_name(one)}"
    return f"term left out: {_name(one)}"


def _alone(one: E) -> Iterator[tuple[str, E]]:
    """One of three terms or more, without the others."""
    terms = list(_terms(one))
    if len(terms) > 2:
        yield from ((f"all left out but {_name(term)}", term) for term in terms)


def _two_left_out(one: E) -> Iterator[tuple[str, E]]:
    """Two of four terms or more left out."""
    terms = list(_terms(one))
    if len(terms) > 3:
        for a, b in combinations(terms, 2):
            yield f"terms left out: {_name(a)}, and {_name(b)}", sum((one for one in terms if one not in (a, b)), start=node(0))


def _terms(one: E, sign: int = 1) -> Iterator[E]:
    """The terms of a sum, with their signs."""
    if one.op in ("+", "-"):
        a, b = one.parts
        yield from _terms(a, sign)
        yield from _terms(b, sign if one.op == "+" else -sign)
    elif one.op == "neg":
        yield from _terms(one.parts[0], -sign)
    elif one.op != "slack":
        yield one if sign > 0 else -one


def _difference(one: E) -> Iterator[tuple[str, E]]:
    a, b = one.parts
    yield from _alone(one)
    yield f"term left out: {_name(b)}", a
    yield f"term left out: {_name(a)}" + f" in {_name(one)}" * (a.op == "number"), -b
    yield f"{_name(b)} for {_name(one)}", b
    yield f"plus for minus before {_name(b)}", a + b
    yield f"{_name(one)} the other way round", b - a


def _product(one: E) -> Iterator[tuple[str, E]]:
    a, b = one.parts
    if a is b:
        yield f"square left out: {_name(one)}", a
        yield f"absolute value for the square: {_name(one)}", sqrt(one)
        return
    yield f"factor left out: {_name(b)}", a
    yield f"factor left out: {_name(a)}", b
    yield f"divided by {_name(b)}, for times", a / b
    yield f"divided by {_name(a)}, for times", b / a
    if a.op == "count" and b.op == "+":
        for once, all_of_them in (b.parts, b.parts[::-1]):
            yield f"counted once, and not for each of the {a.how[0]}: {_name(once)}", a * all_of_them + once


def _squares(one: E) -> Iterator[tuple[str, E]]:
    """A factor once more; of a square, what grows less far away."""
    a, b = one.parts
    if a is b:
        yield f"smooth L1 (Huber's loss) for the square: {_name(one)}", where(above(one, 1), sqrt(one) - HALF, HALF * one)
    for part in (a, b) if a is not b else ():
        if part.op not in ("number", *LEAVES):                       # which are tried everywhere
            yield f"{_name(part)} twice in {_name(one)}", one * part


def _brackets(one: E) -> Iterator[tuple[str, E]]:
    """A factor, or a divisor, of one term taken for both."""
    for number, term in enumerate(one.parts):
        if term.op in ("*", "/") and term.parts[0] is not term.parts[1]:
            for factor, left in (term.parts, term.parts[::-1])[:2 if term.op == "*" else 1]:
                inside, outside = (left, factor) if term.op == "*" else (factor, left)
                bracket = E(one.op, [inside if n == number else other for n, other in enumerate(one.parts)])
                whole = E(term.op, (bracket, outside))
                yield f"{_name(whole)} for {_name(one)}", whole


def _brackets_lost(one: E) -> Iterator[tuple[str, E]]:
    """What stands before a bracket taken for its first term alone, and what is behind for its last: a b + c/d for a (b + c)/d."""
    factors = list(_factors(one))
    sums = [part for part, above in factors if part.op in ("+", "-") and above and part.parts[1].op != "slack"]
    for bracket in sums if 2 < len(factors) <= SEVERAL else ():
        a, b = bracket.parts
        others = [factor for factor in factors if factor[0] is not bracket]
        may_be_before = [factor for factor in others if factor[1]]
        for before in chain.from_iterable(combinations(may_be_before, number) for number in range(1, len(others))):
            behind = [factor for factor in others if factor not in before]
            new = E(bracket.op, (_multiplied([*before, (a, True)]), _multiplied([(b, True), *behind])))
            yield (f"brackets lost: {_name(_multiplied(before))} times the first term alone, and "
                   f"{_name(_multiplied(behind))} times the last, of {_name(bracket)}", new)


def _brought_inside(one: E) -> Iterator[tuple[str, E]]:
    """A number beside a function taken into its bracket."""
    for f, number in (one.parts, one.parts[::-1])[:2 if one.op == "*" else 1]:
        if f.op == "call" and number.op == "number":
            inside = E("call", (E(one.op, (f.parts[0], number)),), f.how)
            yield f"{_name(inside)} for {_name(one)}", inside


def _powers(one: E) -> Iterator[tuple[str, E]]:
    """A ratio of variances for one of deviations, and the other way round."""
    if all(part.op != "number" for part in one.parts):
        yield f"root of {_name(one)} for {_name(one)}", sqrt(one)
        yield f"square of {_name(one)} for {_name(one)}", one * one


def _one_term_alone(one: E) -> Iterator[tuple[str, E]]:
    """A factor, or a divisor, of both terms taken for one of them only."""
    for number, bracket in enumerate(one.parts if one.op == "*" else one.parts[:1]):
        outside = one.parts[1 - number]
        if bracket.op in ("+", "-") and bracket.parts[1].op != "slack" and bracket is not outside and not is_said(bracket):
            for at, term in enumerate(bracket.parts):
                inside = E(one.op, (outside, term) if number else (term, outside))
                new = E(bracket.op, [inside if n == at else other for n, other in enumerate(bracket.parts)])
                yield f"{_name(new)} for {_name(one)}", new


def _shares(one: E) -> Iterator[tuple[str, E]]:
    """What squares would leave of 1, −log x for 1 − x as if they were small, 1 − e^−x for e^x − 1, and b − a or b/a − 1 for
    1 − a/b."""
    a, b = one.parts
    if a.op == "number" and a.how == 1 and b.op == "/":
        for new in (b.parts[1] - b.parts[0], b.parts[1] / b.parts[0] - 1):
            yield f"{_name(new)} for {_name(one)}", new
    if a.op == "number" and a.how == 1 and b.op != "number":
        yield f"√(1 − {_name(b * b)}) for {_name(one)}", sqrt(1 - b * b)
        yield f"{_name(-log(b))} for {_name(one)}", -log(b)
    if a.op == "call" and a.how == "exp" and b.op == "number" and b.how == 1:
        inverse = exp(-a.parts[0])
        yield f"{_name(1 - inverse)} for {_name(one)}", 1 - inverse


def _other_variances(one: E) -> Iterator[tuple[str, E]]:
    """Of one step, or of the posterior, for that of all steps."""
    b = one.parts[1]
    if _is_rest(one):
        beta, before = E("column", how=b.how._replace(name="beta")), E("column", how=b.how._replace(shift=-1))
        for new in (beta, beta * (1 - before) / one):
            yield f"{_name(new)} for {_name(one)}", new


def _is_rest(one: E) -> bool:
    """Whether a node is 1 − ᾱ_t."""
    a, b = one.parts if one.op == "-" else (one, one)
    return a.op == "number" and a.how == 1 and b.op == "column" and b.how.name == "alpha_bar" and not b.how.shift


def _of_another_state(one: E) -> Iterator[tuple[str, E]]:
    """The variance in a state that does not shrink, for that in ours, as a factor."""
    for part in one.parts:
        rest = part.parts[0] if part.op == "term" else part
        if _is_rest(rest):
            inflated = part / rest.parts[1]
            yield f"{_name(inflated)} for {_name(rest)}", _replacing(one).replaced({part: inflated})[0]


def _other_sign(one: E) -> Iterator[tuple[str, E]]:
    inside, = one.parts
    if one.how == "exp" and inside.op != "neg":
        yield f"{_name(exp(-inside))} for {_name(one)}", exp(-inside)


def _of_another_level(one: E) -> Iterator[tuple[str, E]]:
    """A root of levels with one level more below it, or above."""
    inside, = one.parts
    columns = [inner for inner in nodes(inside) if inner.op in LEAVES] if one.how == "sqrt" else []
    if columns and all(inner.op == "column" and inner.how.name == "alpha_bar" for inner in columns):
        for level in (level for level in (columns[0], 1 - columns[0]) if level is not inside):
            for new in (inside / level, inside * level):
                yield f"{_name(sqrt(new))} for {_name(one)}", sqrt(new)


def _of_one_term(one: E) -> Iterator[tuple[str, E]]:
    """A function of one part of what it is taken of, and the rest outside; a difference, or its logarithm, for that of a ratio."""
    inside, = one.parts
    if one.how == "log" and inside.op == "/":
        a, b = inside.parts
        yield from ((f"{_name(new)} for {_name(one)}", new) for new in (log(a - b), a - b))
    for part in _parts_of_it(inside) if one.how != "sqrt" else ():
        new = _replacing(inside).replaced({part: E("call", (part,), one.how)})[0]
        yield f"{_name(new)} for {_name(one)}", new


def _of_one_part(call: Call) -> Iterator[tuple[str, E]]:
    """The same of a formula that has a name and one argument."""
    inside, = call.arguments.values()
    for part in _parts_of_it(inside) if isinstance(inside, E) else ():
        written_so = _replacing(inside).replaced({part: given(f"{call.formula.__name__}({_name(part)})")})[0]
        yield (f"{_name(written_so)} for {call.formula.__name__}({_name(inside)})",
               _replacing(inside).replaced({part: call.formula(part)})[0])


def _parts_of_it(one: E) -> Iterable[E]:
    """The parts of a sum or a product, and of those of its parts that are one."""
    wholes = [part for part in (one, *one.parts) if part.op in ("+", "-", "*", "/") and part.parts[1].op != "slack"]
    return dict.fromkeys(part for whole in wholes for part in whole.parts) if one in wholes else ()


def _one_less(one: E) -> Iterator[tuple[str, E]]:
    """Of a mean of squares, which is a variance, the other number below."""
    x = one.parts[0]
    if x.op == "*" and x.parts[0] is x.parts[1]:
        number = count(x, one.how[0], one.how[1])
        yield f"divided by their number less 1: {_name(one)}", one * (number / (number - 1))


def _square_of_mean(one: E) -> Iterator[tuple[str, E]]:
    """Of a sum of squares over their number; and the root of the mean of each example."""
    squares, number = one.parts
    if squares.op == "sum" and number.op == "count" and squares.how[0] == "examples and components":
        x, axes = squares.parts[0], squares.how[1][1:]
        each = sqrt(E("mean", (x,), ("components", axes)))
        yield (f"the mean of the roots of the examples' means of {_name(x)}, for the mean of all",
               E("sum", (each, *(squares.parts[1:] or (x,))), squares.how) / number)
    if squares.op == "sum" and number.op == "count" and (x := squares.parts[0]).op == "*" and x.parts[0] is x.parts[1]:
        mean = E("sum", (x.parts[0], *squares.parts[1:]), squares.how) / number
        yield f"the square of the mean of {_name(x.parts[0])}, for the mean of the squares", mean * mean


def _one_factor_below(one: E) -> Iterator[tuple[str, E]]:
    """a c/b for a b/c."""
    product, divisor = one.parts
    if product.op == "*" and product.parts[0] is not product.parts[1]:
        for a, b in (product.parts, product.parts[::-1]):
            yield f"{_name(b / divisor)} the other way round in {_name(one)}", a * divisor / b


def _standardised(one: E) -> Iterator[tuple[str, E]]:
    """What makes a standard number of another, for what makes another of it: (c − a)/b for a + b c."""
    a, product = one.parts
    if a.op == "given" and product.op == "*" and product.parts[0].op == "given":
        b, c = product.parts
        yield f"{_name((c - a) / b)} for {_name(one)}", (c - a) / b


def _of_shares(one: E) -> Iterator[tuple[str, E]]:
    """Of what is divided by its sum, so that it adds up to 1: a softmax of it; and of a product the sum of its factors."""
    a, b = one.parts
    if b.op == "kept" and b.parts[0] is a:
        large = exp(a)
        yield f"softmax of {_name(a)}, for its division by its sum", large / E("kept", (large,), b.how)
        if a.op == "*":
            both = a.parts[0] + a.parts[1]
            yield f"plus for times in {_name(a)}", both / E("kept", (both,), b.how)


def _without_squares(one: E) -> Iterator[tuple[str, E]]:
    """Of a sum of squares, or their difference, neither squared."""
    if all(part.op == "*" and part.parts[0] is part.parts[1] for part in one.parts):
        yield f"both squares left out: {_name(one)}", E(one.op, [part.parts[0] for part in one.parts])


def _other_axis(one: E) -> Iterator[tuple[str, E]]:
    if one.how[1] == (-1,):
        yield f"over the axis before the last, and not over {one.how[0]}: {_name(one)}", E(one.op, one.parts, (one.how[0], (-2,)))


def _averages(one: E) -> Iterator[tuple[str, E]]:
    """Of a sum of products: one factor averaged by itself, or divided by its average."""
    x, *like = one.parts
    if x.op == "*" and x.parts[0] is not x.parts[1] and not like:
        for a, b in (x.parts, x.parts[::-1]):
            by_itself = E("mean", (a,), one.how)
            yield f"{_name(a)} is averaged by itself, and not together with {_name(b)}", E("sum", (by_itself * b,), one.how)
            yield f"divided by the sum of {_name(a)}, and not by its number", E("sum", (x / by_itself,), one.how)


def _no_exception(one: E) -> Iterator[tuple[str, E]]:
    """Of a case within a case: none of them, or only the inner one."""
    for inner in one.parts[1:]:
        if inner.op == "where" and not inner.how:
            yield from ((f"no exception anywhere: always {_name(part)}", part + 0 * one) for part in inner.parts[1:])


def _quotient(one: E) -> Iterator[tuple[str, E]]:
    a, b = one.parts
    yield f"divisor left out: {_name(b)}", a
    if a.op != "number" or a.how != 1:
        yield f"factor left out: {_name(a)}", 1 / b
    yield f"only its divisor is left of {_name(one)}", b
    yield f"times {_name(b)}, for divided by", a * b
    yield f"{_name(one)} the other way round", b / a
    if b.op == "call" and b.how == "sqrt":
        yield f"times −½, for the power −½ of {_name(b.parts[0])}", a * (-HALF * b.parts[0])


def _negative(one: E) -> Iterator[tuple[str, E]]:
    yield f"plus for minus: {_name(one)}", one.parts[0]


def _function(one: E) -> Iterator[tuple[str, E]]:
    word = {"sqrt": "root", "Phi": "Φ"}.get(one.how, one.how)
    inside, = one.parts
    yield f"{word} left out: {_name(one)}", inside
    if one.how == "sqrt":
        yield f"third power of {_name(one)} for {_name(one)}", one * inside
        yield f"half of {_name(inside)} for its root", HALF * inside
        yield f"root of {_name(one)} for {_name(one)}", sqrt(one)
    yield from _root_of_some(one, inside.parts[0] if inside.op == "term" else inside) if one.how == "sqrt" else ()
    if one.how == "log" and inside.op != "number":
        yield f"twice {_name(one)}, for once", 2 * one
        yield f"only half of {_name(one)}", one / 2
        yield from ((f"to base {base}, for the natural logarithm: {_name(one)}", one / log(node(base))) for base in (2, 10))
    if one.how == "Phi":
        yield f"1 − Φ for Φ: {_name(one)}", 1 - one
    if one.how == "phi":
        yield f"√π for √(2π) in {_name(one)}", sqrt(2) * one
        yield f"2π for √(2π) in {_name(one)}", one / sqrt(2 * PI)
        yield f"the divisor √(2π) left out of {_name(one)}", sqrt(2 * PI) * one
        yield f"exp(−x²) for exp(−x²/2) in {_name(one)}", exp(-(inside * inside)) / sqrt(2 * PI)


def _root_of_some(one: E, inside: E) -> Iterator[tuple[str, E]]:
    """The root taken of one of two terms alone, or of some of several factors and divisors alone."""
    if inside.op in ("+", "-") and inside.parts[1].op != "slack":
        a, b = inside.parts
        parts = ((E(inside.op, (sqrt(a), b)), "the first part alone"), (E(inside.op, (a, sqrt(b))), "the second part alone"),
                 (E(inside.op, (sqrt(a), sqrt(b))), "each part"))
        yield from ((f"{_name(new)} for {_name(one)}: the root is taken of {part}", new) for new, part in parts)
    factors = list(_factors(inside))
    for number in range(1, len(factors)) if len(factors) <= SEVERAL else ():
        for some in combinations(factors, number):
            alone = _multiplied([factor for factor in factors if factor not in some])
            new = _multiplied([*some, (sqrt(alone), True)])
            yield f"{_name(new)} for {_name(one)}: the root is taken of {_name(alone)} alone", new


def _factors(one: E, above: bool = True) -> Iterator[tuple[E, bool]]:
    """The factors of a product, and its divisors, which are not above."""
    if one.op in ("*", "/"):
        a, b = one.parts
        yield from _factors(a, above)
        yield from _factors(b, above == (one.op == "*"))
    else:
        yield one, above


def _multiplied(factors: Sequence[tuple[E, bool]]) -> E:
    """The product of some factors, divided by some divisors."""
    above, below = ([part for part, is_above in factors if is_above == side] for side in (True, False))
    return reduce(operator.truediv, below, reduce(operator.mul, above) if above else node(1))


def _small_numbers(one: E) -> Iterator[tuple[str, E]]:
    """A small number added to what must not be 0: in a logarithm, a root, or a divisor."""
    *before, last = one.parts
    where = {None: "a divisor", "log": "a logarithm", "sqrt": "a root"}.get(one.how)
    if where and last.op != "number":
        for small in SMALL:
            yield f"{written(node(small))} {ADDED} {where}, to {_name(last)}", E(one.op, (*before, last + node(small)), one.how)


def _number(one: E) -> Iterator[tuple[str, E]]:
    if one.how != "π":
        has_a_point = one.how % 1 and one.how > TINY
        beside = (10 * one.how, one.how / Fraction(10)) if has_a_point or one.how >= 100 else ()
        for other in dict.fromkeys((one.how + 1, one.how - 1, 2 * one.how, one.how / Fraction(2), *beside)):
            if other != one.how:
                yield f"{written(node(other))} for {written(one)}", node(other)


def _total(one: E) -> Iterator[tuple[str, E]]:
    over, (x, *like) = one.how[0], one.parts
    yield f"mean over {over}, for the sum of {_name(x)}", E("average", one.parts, one.how)
    yield f"sum over {over} left out: {_name(x)}", x
    yield f"sum over {over} with the other sign", -one
    if like and over == "components":
        yield f"counted for all examples, and not for each by itself: {_name(x)}", one * count(like[0], "examples", (0,))
    if over == "steps":
        for end, rest in (("first", slice(1, None)), ("last", slice(0, -1))):
            part = move(x, f"all but the {end} of", partial(lambda rest, i: i[rest], rest))
            yield f"the {end} step left out of the sum", E("sum", (part, *like), one.how)
    if terms := _two_terms(x):
        a, b = terms
        for alone, other in ((a, b), (b, a)):
            once, whole = (E(op, (part, *(like or [x])), one.how) for op, part in (("average", alone), ("sum", other)))
            name = alone.parts[0] if alone.op == "neg" else alone
            yield f"counted once, and not for each of the {over}: {_name(name)}", once + whole
        if over == "examples and components":
            yield from ((f"added up over the components, where the rest is averaged: {_name(part)}",
                         one + E("sum", (part * (count(x, "components", one.how[1][1:]) - 1),), one.how)) for part in (a, b))


def _two_terms(one: E) -> tuple[E, E] | None:
    """The two terms of a sum, a difference, or a multiple of one, with their signs and factors."""
    if one.op in ("+", "-"):
        a, b = one.parts
        return a, b if one.op == "+" else -b
    if one.op in ("forms", "also"):
        return _two_terms(one.parts[0])
    if one.op == "neg" and (terms := _two_terms(one.parts[0])):
        return -terms[0], -terms[1]
    if one.op == "*":
        factor, bracket = one.parts if one.parts[1].op in ("+", "-") else one.parts[::-1]
        return (factor * terms[0], factor * terms[1]) if (terms := _two_terms(bracket)) and factor is not bracket else None
    return None


def _mean(one: E) -> Iterator[tuple[str, E]]:
    yield f"sum for the mean over {one.how[0]}", E("kept", one.parts, one.how)
    yield f"mean over {one.how[0]} left out: {_name(one.parts[0])}", one.parts[0]


def _kept(one: E) -> Iterator[tuple[str, E]]:
    yield f"mean for the sum over {one.how[0]}", E("mean", one.parts, one.how)
    yield f"sum over {one.how[0]} left out: {_name(one.parts[0])}", one.parts[0]


def _running_product(one: E) -> Iterator[tuple[str, E]]:
    yield "sums, for the products of all up to t", E("running", one.parts)
    yield "each by itself, and not the product of all up to t", one.parts[0]


def _cases(one: E) -> Iterator[tuple[str, E]]:
    mask, a, b = one.parts
    if one.how:
        return
    says = f"cases exchanged: {_name(a)} and {_name(b)}"
    if mask.op == "above" and {a, b} == set(mask.parts):
        other, this = ("smaller", "larger") if a is mask.parts[0] else ("larger", "smaller")
        says = f"the {other} of {' and '.join(map(_name, mask.parts))}, for the {this}"
    yield says, E("where", (mask, b, a))
    if _asks_which_step(mask):
        step, t = mask.parts
        last = step.how - 1
        yield f"t = {last} is treated like every other t", b + 0 * a
        yield f"at every t what is right at t = {last}", a + 0 * b
        up_to_next = above(step.how + 1, t)
        yield f"at t = {step.how} what is right at t = {last}", E("where", (up_to_next, a, b))
        yield (f"what is right at t = {last} is at t = {step.how}, and not there",
               E("where", (up_to_next, E("where", (mask, b, a)), b)))
        at_T = above(t, column("t", at="T") - 1)
        yield f"what is right at t = {last} is at t = T, and not there", E("where", (at_T, a, b))
        yield f"at t = T what is right at t = {last}", E("where", (mask, a, E("where", (at_T, a, b))))
        return
    yield f"the case {_name(mask)} also where it is not: always {_name(a)}", a + 0 * b
    yield f"no exception where {_name(mask)}: always {_name(b)}", b + 0 * a


Chains = tuple[tuple[str, Callable[[Steps], Steps]], ...]
WALKS: Chains = (
    ("the last step is left out", lambda steps: steps[:-1]),
    ("the first step is left out", lambda steps: steps[1:]),
    ("the steps are taken in the other order", lambda steps: steps[::-1]),
    ("the noise with which the chain starts is taken in every step", lambda steps: [(t, s, -1) for t, s, _ in steps]))
TO_KEPT_TIMES: Chains = (
    ("the last step goes to t = 1, and not to 0", lambda steps: [*steps[:-1], (steps[-1][0], 1, steps[-1][2])]),
    ("every step goes to its own t, and not to the one before", lambda steps: [(t, t, n) for t, _, n in steps]),
    ("every step goes to t − 1, and not to the kept time before", lambda steps: [(t, t - 1, n) for t, _, n in steps]),
    ("every step goes to the number of the kept time before, and not to that time", lambda steps: [(t, n, n) for t, _, n in steps]),
    ("the steps are taken at the numbers of the kept times", lambda steps: [(n + 1, n, n) for _, _, n in steps]))
OTHER_NOISE: Chains = (
    ("every step takes the noise of the first", lambda steps: [(now, after, 0) for now, after, _ in steps]),
    ("the first step takes the noise of the last, and so on", lambda steps: [
        (now, after, len(steps) - 1 - n) for now, after, n in steps]))
ENDS = (1e-2, 1e-3, 1e-4, 1e-5)
ALONG_LEVELS: Chains = tuple(chain.from_iterable((
    (f"the last step goes to {end:g}, and not to 0", partial(lambda end, steps: [
        *steps[:-1], (steps[-1][0], steps[-1][1] or end, steps[-1][2])], end)),
    (f"the chain goes down to {end:g}, and not to 0", partial(lambda end, steps: [
        (end + (1 - end) * now, end + (1 - end) * after, n) for now, after, n in steps], end)),
    (f"the chain begins at 1 − {end:g}, and not at 1", partial(lambda end, steps: [
        ((1 - end) * now, (1 - end) * after, n) for now, after, n in steps], end))) for end in ENDS)) + (
    ("the chain goes down to 1/n in n steps, and not to 0", lambda steps: [
        ((1 + (len(steps) - 1) * now) / len(steps), (1 + (len(steps) - 1) * after) / len(steps), n) for now, after, n in steps]),)


def _walk(one: E) -> Iterator[tuple[str, E]]:
    """A chain that is walked in another way; to other times only if its steps know where they go."""
    kept = any(inner.op == "column" and inner.how.at == "t_prev" for inner in nodes(*one.parts))
    levels = one.how.levels
    if not levels:
        ways = (*WALKS, *(TO_KEPT_TIMES if kept else ()))
    else:
        ways = (*WALKS[:3], *(OTHER_NOISE if levels.noisy else ()), *ALONG_LEVELS)
    for says, otherwise in ways:
        yield says, E("walk", one.parts, one.how._replace(otherwise=otherwise))
    everything = nodes(*one.parts)
    again = {inner: given(one.how.start) for inner in everything if inner.op == "given" and inner.how == one.how.state}
    says, steps = "every step is taken from the state with which the chain starts", Replacing(one.parts)
    yield says, E("walk", steps.replaced(again), one.how)
    asked = {inner: inner for inner in everything if is_said(inner)}
    yield f"{says}, though the network is asked where it should be", E("walk", steps.replaced({**again, **asked}), one.how)


_OPERATIONS: dict[str, Callable[[E], Iterator[tuple[str, E]]]] = {
    "+": _sum, "-": _difference, "*": _product, "/": _quotient, "neg": _negative, "call": _function, "number": _number,
    "running product": _running_product, "sum": _total, "mean": _mean, "kept": _kept, "where": _cases, "walk": _walk}


_IN_ALL_WAYS: dict[str, Callable[[E], Iterator[tuple[str, E]]]] = {
    "+": lambda one: chain(_brackets(one), _two_left_out(one), _without_squares(one), _standardised(one)),
    "-": lambda one: chain(_brackets(one), _two_left_out(one), _shares(one), _other_variances(one), _without_squares(one)),
    "*": lambda one: chain(_squares(one), _one_term_alone(one), _brackets_lost(one), _brought_inside(one), _of_another_state(one)),
    "/": lambda one: chain(_one_factor_below(one), _one_term_alone(one), _brackets_lost(one), _powers(one), _brought_inside(one),
                            _small_numbers(one), _square_of_mean(one), _of_shares(one)),
    "call": lambda one: chain(_other_sign(one), _of_one_term(one), _of_another_level(one), _small_numbers(one)),
    "kept": _other_axis, "mean": lambda one: chain(_other_axis(one), _one_less(one)), "sum": _averages, "where": _no_exception}


def _columns(one: E, columns: Collection[Column]) -> Iterator[tuple[str, E]]:
    here: Column = one.how
    others = [here._replace(shift=here.shift + shift) for shift in (-1, 1)]
    if here.name != "t":                                             # which is only compared with
        others = [here._replace(name=name) for name in COLUMNS if name != here.name] + others
        others += [other for other in columns if other != here]
        others += [here._replace(at=1)] if here.at == "T" else []
        others += [Column("alpha_bar", -1)] if here.at == "t_prev" else []
    for other in dict.fromkeys(others):
        new = E("column", how=other)
        yield f"{written(new)} for {written(one)}", new
    if here.name == "alpha_bar" and not here.shift and here.at is None:
        alike = exp(column("t") * log(column("alpha")))
        yield f"(1 − β_t)^t, as if all β were alike, for {written(one)}", alike
        yield f"1 − (β_1 + … + β_t) for {written(one)}", 1 - column("sum")
        yield (f"step 1 twice, and step t never, in the product {written(one)}",
               column("alpha_bar", at=1) * column("alpha_bar", -1))
    if here.name == "beta" and here.at is None:
        rest = 1 - E("column", how=here._replace(name="alpha_bar"))
        yield f"{written(rest)} for {written(one)}", rest
    if here.name == "alpha":                                         # for those who write 1 − β in each place
        beta = E("column", how=here._replace(name="beta"))
        yield f"1 + {written(beta)} for 1 − {written(beta)}", 1 + beta
        yield f"2 − {written(beta)} for 1 − {written(beta)}", 2 - beta
        yield f"−{written(beta)} for 1 − {written(beta)}", -beta


def _tables_before(one: E) -> Iterator[tuple[str, E]]:
    """What a table of ᾱ_{t−1} holds that was made in another way from one of ᾱ_t; and what some take for the level of the data."""
    if one.how == Column("alpha_bar", 0, "t_prev"):
        yield (f"ᾱ_1 at t_prev = 0 for {written(one)}",
               where(above(column("t", at="t_prev"), 0), one, column("alpha_bar", at=1)))
    if not one.how.shift and (one.how.at in (None, "t_prev") or isinstance(one.how.at, tuple)) and one.how.name in COLUMNS:
        before, last = (E("column", how=how) for how in (one.how._replace(shift=-1), one.how._replace(at="T")))
        t = column("t", at=one.how.at)
        yield (f"the entry before is read for {_name(one)}, and {written(last)} before the first, as an index of −1 takes it",
               where(above(t, 1), before, where(above(t, 0), last, one)))
    if one.how != Column("alpha_bar", -1):
        return
    t, T, now = column("t"), column("t", at="T"), column("alpha_bar")
    yield f"ᾱ_t, and 1 at t = T, for {written(one)}", where(above(T, t), now, 1)
    yield f"ᾱ_{{t+1}}, and 1 at t = T, for {written(one)}", where(above(T, t), column("alpha_bar", 1), 1)
    yield f"ᾱ_1 at t = 1 for {written(one)}", where(above(t, 1), one, now)
    yield f"1 at t = 2 too for {written(one)}", where(above(t, 2), one, 1)
    yield f"ᾱ_T at t = 1 for {written(one)}", where(above(t, 1), one, column("alpha_bar", at="T"))
