"""Clauses × mistakes: which clause sees which mistake.  The kit's proof of itself.

A clause sees a mistake if the reference with the mistake planted leaves the clause's tolerance on one of its inputs.  A clause that
sees none could not fail, and is a failure of the audit.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple
import warnings

import numpy as np

from refdpm.conformance import gradients
from refdpm.conformance.adapter import Skip
from refdpm.conformance.arguments import copied
from refdpm.conformance.session import all_clauses
from refdpm.conformance.chapters import LAWS, QUANTITIES
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.chapters.inputs import Given, Inputs
from refdpm.conformance.judge import Effort, examples, textbook
from refdpm.conformance.mistakes import MISTAKES, Mistake, planted
from refdpm.conformance.planting import needed, noting_calls
from refdpm.conformance.profile import VALUES, Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import UNITS, Subject, differs, values_and_scales
from refdpm.vjp import Array
from refdpm.workers import Map, undisturbed

DRAWN = 2
STRIDE = 3                      # one input in three is enough for gradients, which take the longest
UNIT = UNITS["float64"]


def matrix(each: Map = map) -> dict[str, list[str]]:
    """Mistake → the clauses that see it, for every mistake that some clause sees."""
    seen: dict[str, dict[str, None]] = {}
    for pairs in each(_seen_by, [*(quantity.id for quantity in QUANTITIES), *(law.id for law in LAWS)]):
        for mistake, clause in pairs:
            seen.setdefault(mistake, {})[clause] = None
    ids = [*(mistake.id for mistake in MISTAKES), *(slip.id for slip in gradients.SLIPS)]
    return {id: list(seen[id]) for id in ids if id in seen}


@undisturbed()
def _seen_by(id: str) -> list[tuple[str, str]]:
    """(mistake, clause) for the clauses of one quantity, or the one of a law."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for quantity in QUANTITIES:
            if quantity.id == id:
                inputs = inputs_of(quantity)
                return [*_seen_in_values(quantity, inputs), *_seen_in_gradients(quantity, inputs)]
        law = next(law for law in LAWS if law.id == id)
        return [(mistake, law.id) for mistake in _mistakes_breaking(law)]


def idle(found: dict[str, list[str]]) -> list[str]:
    """The clauses that see nothing."""
    busy = {clause for clauses in found.values() for clause in clauses}
    return [id for id, _ in all_clauses() if id not in busy]


def inputs_of(quantity: Quantity) -> list[Inputs]:
    """The inputs that the proof uses: with the choices of our own profile, and a few with each other one."""
    own = {name: getattr(Profile(), name) for name in quantity.choices}
    edges = quantity.edges(Given())
    found = [inputs | own for inputs in edges + examples(quantity.inputs(Given()), Effort(max_examples=DRAWN))]
    found += [inputs | own | {name: value} for name in quantity.choices for value in VALUES[name] for inputs in edges[:2]
              if value != own[name]]
    return [inputs for inputs in found if _has_answer(quantity, inputs)]


def _has_answer(quantity: Quantity, inputs: Inputs) -> bool:
    try:
        quantity.reference(inputs)
    except (Skip, ValueError):
        return False
    return True


def seeing(mistake: Mistake) -> list[str]:
    """The clauses of the first function on whose values one mistake is seen."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = (_seen_in_values(quantity, inputs_of(quantity), only=mistake.id) for quantity in QUANTITIES)
        return next(filter(None, ([clause for _, clause in pairs] for pairs in found)), [])


class _Case(NamedTuple):
    """An input, and what the clauses of a function find there when all is right: value and scale by clause."""

    inputs: Inputs
    right: dict[str, tuple[Array, Array]]


Way = Callable[[Inputs], dict[str, Array]]


def _seen_in_values(quantity: Quantity, its_inputs: list[Inputs], *, only: str = "") -> Iterator[tuple[str, str]]:
    """(mistake, clause) for mistakes made in our own way to a value, or in the textbook's."""
    ids = [f"{quantity.id}.{output.id}" for output in quantity.outputs]
    cases = []
    for inputs in its_inputs:
        values, scales = values_and_scales(quantity, inputs, Profile())
        cases.append(_Case(inputs, dict(zip(ids, zip(values, scales)))))
    for way in (quantity.reference, partial(textbook, quantity)):
        yield from _clauses_that_see(lambda inputs: dict(zip(ids, way(inputs))), cases, only)


def _seen_in_gradients(quantity: Quantity, its_inputs: list[Inputs]) -> Iterator[tuple[str, str]]:
    """(mistake, clause) for mistakes in the gradients."""
    if not quantity.arguments:
        return
    ids, cases = dict(zip(quantity.arguments, gradients.clause_ids(quantity))), []
    for number, inputs in enumerate(its_inputs[::STRIDE]):
        inputs = gradients.with_cotangents(quantity, inputs, number)
        right, scale = gradients.gradients_and_scales(quantity, inputs)
        cases.append(_Case(inputs, {id: (right[argument], scale[argument]) for argument, id in ids.items()}))
    yield from _clauses_that_see(
        lambda inputs: {ids[name]: value for name, value in gradients.gradient(quantity, inputs).items()}, cases)
    for slip in gradients.SLIPS:
        for case in cases:
            yield from ((slip.id, id) for id, (right, scale) in case.right.items()
                        if differs(slip.change(right, case.inputs), right, scale, UNIT))


def _clauses_that_see(way: Way, cases: list[_Case], only: str = "") -> Iterator[tuple[str, str]]:
    """(mistake, clause) for every mistake that can be made on this way; without clauses that it does not reach."""
    judged, called = [], []
    with noting_calls(MISTAKES) as noted:
        for case in cases:
            noted.clear()
            judged.append(case._replace(right=_clauses_on_way(way, case)))
            called.append(set(noted))
    at_first = set().union(*called[:2])
    for mistake in (mistake for mistake in MISTAKES if only in ("", mistake.id) and needed(mistake) in at_first):
        found: set[str] = set()
        with planted(mistake):
            for case, there in zip(judged, called):
                if needed(mistake) in there and not found.issuperset(case.right):   # clauses that have not seen it yet
                    found |= set(_wrong_clauses(way, case))
        yield from ((mistake.id, id) for id in sorted(found))


def _clauses_on_way(way: Way, case: _Case) -> dict[str, tuple[Array, Array]]:
    values = way(copied(case.inputs))
    return {id: (right, scale) for id, (right, scale) in case.right.items()
            if id in values and not differs(values[id], right, scale, UNIT)}


def _wrong_clauses(way: Way, case: _Case) -> Iterator[str]:
    try:
        values = way(copied(case.inputs))
    except Exception:
        yield from case.right
        return
    yield from (id for id, (right, scale) in case.right.items() if differs(values[id], right, scale, UNIT))


def _mistakes_breaking(law: Law) -> list[str]:
    """The mistakes under which our own functions break a law."""
    watched = [mistake for mistake in MISTAKES if {mistake.id, mistake.target} & set(law.watches)]
    return [mistake.id for mistake in watched if not _law_holds(law, mistake)]


def _law_holds(law: Law, mistake: Mistake) -> bool:
    try:
        return law.run(Subject(Reference("float64", mistake), QUANTITIES), Given(), 0).ratio <= 1
    except Exception:
        return False
