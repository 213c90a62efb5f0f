"""Clauses × mistakes: which clause sees which mistake.  The kit's proof of itself.

A clause sees a mistake if the reference with the mistake planted leaves the clause's tolerance on one of its inputs.  A clause that
sees none could not fail, and is a failure of the audit.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple
import warnings

import numpy as np

from refdpm.conformance import gradients
from refdpm.conformance.adapter import Skip
from refdpm.conformance.session import all_clauses
from refdpm.conformance.chapters import LAWS, QUANTITIES
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.chapters.inputs import Given, Inputs, copied
from refdpm.conformance.judge import Effort, examples, textbook
from refdpm.conformance.mistakes import MISTAKES, Mistake, planted
from refdpm.conformance.naming import touched
from refdpm.conformance.profile import VALUES, Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import LIMIT, UNITS, Subject, expected, ratios
from refdpm.vjp import Array

DRAWN = 2
UNIT = UNITS["float64"]


def matrix() -> dict[str, list[str]]:
    """Mistake → the clauses that see it, for every mistake that some clause sees."""
    seen: dict[str, dict[str, None]] = {}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for function in QUANTITIES:
            for mistake, clause in [*_values(function), *_slopes(function)]:
                seen.setdefault(mistake, {})[clause] = None
        for law in LAWS:
            for mistake in _broken(law):
                seen.setdefault(mistake, {})[law.id] = None
    ids = [*(mistake.id for mistake in MISTAKES), *(slip.id for slip in gradients.SLIPS)]
    return {id: list(seen[id]) for id in ids if id in seen}


def idle(found: dict[str, list[str]]) -> list[str]:
    """The clauses that see nothing."""
    busy = {clause for clauses in found.values() for clause in clauses}
    return [id for id, _ in all_clauses() if id not in busy]


def inputs_of(function: Quantity) -> list[Inputs]:
    """The inputs that the proof uses: with the choices of our own profile, and a few with each other one."""
    own = {name: getattr(Profile(), name) for name in function.choices}
    edges = function.edges(Given())
    found = [inputs | own for inputs in edges + examples(function.inputs(Given()), Effort(max_examples=DRAWN))]
    found += [inputs | own | {name: value} for name in function.choices for value in VALUES[name] for inputs in edges[:2]
              if value != own[name]]
    return [inputs for inputs in found if _answered(function, inputs)]


def _answered(function: Quantity, inputs: Inputs) -> bool:
    try:
        function.reference(inputs)
    except (Skip, ValueError):
        return False
    return True


def seeing(mistake: Mistake) -> list[str]:
    """The clauses of the first function on whose values one mistake is seen."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return next(filter(None, ([clause for _, clause in _values(function, only=mistake.id)] for function in QUANTITIES)), [])


class _Case(NamedTuple):
    """An input, and what the clauses of a function find there when all is right: value and scale by clause."""

    inputs: Inputs
    right: dict[str, tuple[Array, Array]]


Way = Callable[[Inputs], dict[str, Array]]


def _values(function: Quantity, *, only: str = "") -> Iterator[tuple[str, str]]:
    """(mistake, clause) for mistakes made in our own way to a value, or in the textbook's."""
    ids = [f"{function.id}.{output.id}" for output in function.outputs]
    cases = []
    for inputs in inputs_of(function):
        values, scales = expected(function, inputs, Profile())
        cases.append(_Case(inputs, dict(zip(ids, zip(values, scales)))))
    for way in (function.reference, partial(textbook, function)):
        yield from _seen(lambda inputs: dict(zip(ids, way(inputs))), cases, only)


def _slopes(function: Quantity) -> Iterator[tuple[str, str]]:
    """(mistake, clause) for mistakes in the gradients."""
    if not function.arguments:
        return
    ids, cases = dict(zip(function.arguments, gradients.names(function))), []
    for number, inputs in enumerate(inputs_of(function)):
        inputs = gradients.with_cotangents(function, inputs, number)
        right, scale = gradients.expected(function, inputs)
        cases.append(_Case(inputs, {id: (right[argument], scale[argument]) for argument, id in ids.items()}))
    yield from _seen(lambda inputs: {ids[name]: value for name, value in gradients.gradient(function, inputs).items()}, cases)
    for slip in gradients.SLIPS:
        for case in cases:
            yield from ((slip.id, id) for id, (right, scale) in case.right.items()
                        if _differs(slip.change(right, case.inputs), right, scale))


def _seen(way: Way, cases: list[_Case], only: str = "") -> Iterator[tuple[str, str]]:
    """(mistake, clause) for every mistake that can be made on this way; without clauses that it does not reach."""
    judged = [case._replace(right=_reached(way, case)) for case in cases]
    found: set[str]
    for mistake in _candidates(way, [case.inputs for case in cases]):
        if only in ("", mistake.id):
            with planted(mistake):
                found = set()
                for case in judged:
                    if not found.issuperset(case.right):                         # clauses that have not seen it yet
                        found |= set(_wrong(way, case))
            yield from ((mistake.id, id) for id in found)


def _reached(way: Way, case: _Case) -> dict[str, tuple[Array, Array]]:
    values = way(copied(case.inputs))
    return {id: (right, scale) for id, (right, scale) in case.right.items()
            if id in values and not _differs(values[id], right, scale)}


def _wrong(way: Way, case: _Case) -> Iterator[str]:
    try:
        values = way(copied(case.inputs))
    except Exception:
        yield from case.right
        return
    yield from (id for id, (right, scale) in case.right.items() if _differs(values[id], right, scale))


def _differs(value: Any, right: Array, scale: Array) -> bool:
    try:
        given = np.broadcast_to(np.asarray(value, dtype=np.float64), right.shape)
    except ValueError:
        return True
    return not bool(np.all(ratios(given, right, scale, UNIT) <= LIMIT))


def _candidates(way: Callable[[Inputs], Any], cases: list[Inputs]) -> list[Mistake]:
    return list({mistake.id: mistake for inputs in cases[:2] for mistake in touched(way, inputs)}.values())


def _broken(law: Law) -> list[str]:
    """The mistakes under which our own functions break a law."""
    watched = [mistake for mistake in MISTAKES if {mistake.id, mistake.target} & set(law.watches)]
    return [mistake.id for mistake in watched if not _holds(law, mistake)]


def _holds(law: Law, mistake: Mistake) -> bool:
    try:
        return law.run(Subject(Reference("float64", mistake), QUANTITIES), Given(), 0).ratio <= 1
    except Exception:
        return False
