"""The conventions of an adapter, inferred by evaluation: those under which most of its functions are right.

Every function is asked for a few edges; all combinations of the conventions that bear on it are tried.  A convention that some
function needs to be right counts as evidence; the value with most evidence is taken, field by field, and then held fixed for the
next.  What no function depends on stays undetermined, and is printed so.
"""

from itertools import product
from typing import Any

import numpy as np

from refdpm.conformance import profile as profiles
from refdpm.conformance.adapter import Fault, Skip
from refdpm.conformance.clauses.common import Function, Inputs
from refdpm.conformance.profile import Profile
from refdpm.conformance.subject import COARSER, LIMIT, UNITS, Subject, expected, ratios

PROBES = 2
Combination = dict[str, Any]


def infer(subject: Subject, stated: dict[str, Any]) -> tuple[Profile, dict[str, str]]:
    """The profile, and for each of its fields how it is known: "stated", "inferred", "undetermined"."""
    profile = Profile()._replace(**stated)
    known = dict.fromkeys(stated, "stated")
    right = {name: found for name, function in subject.functions.items() if (found := _right(subject, function, profile, known))}
    for field, values in profiles.VALUES.items():
        if field in known:
            continue
        votes = {value: sum(_needs(found, field, value) for found in right.values()) for value in values}
        best = max(values, key=lambda value: votes[value])
        known[field] = "inferred" if votes[best] else "undetermined"
        if votes[best]:
            profile = profile._replace(**{field: best})
            right = {name: [one for one in found if one.get(field, best) == best] or found for name, found in right.items()}
    return profile, {field: known[field] for field in profiles.VALUES}


def _needs(found: list[Combination], field: str, value: Any) -> bool:
    """Whether a function is right with this value, and not with all of them."""
    with_it = {one[field] for one in found if field in one}
    return value in with_it and len(with_it) < len(profiles.VALUES[field])


def _right(subject: Subject, function: Function, profile: Profile, known: dict[str, str]) -> list[Combination]:
    """The combinations of the function's own conventions under which it is right on the probes."""
    probes = function.edges(subject.given)[:PROBES]
    fields = [field for field in _fields(function, probes[0]) if field not in known] if probes else []
    combinations = [dict(zip(fields, values)) for values in product(*(profiles.VALUES[field] for field in fields))]
    before = subject.profile
    try:
        return [one for one in combinations if _fits(subject, function, probes, profile._replace(**one))]
    finally:
        subject.profile = before


def _fields(function: Function, inputs: Inputs) -> list[str]:
    by_input = [profiles.INPUTS[name] for name in inputs if name in profiles.INPUTS]
    by_output = [field for output in function.outputs for field in profiles.KINDS.get(output.kind, ())]
    return list(dict.fromkeys([*by_input, *by_output, *function.choices]))


def _fits(subject: Subject, function: Function, probes: list[Inputs], profile: Profile) -> bool:
    subject.profile = profile
    try:
        for inputs in probes:
            answer = subject.ask(function.name, inputs)
            values, scales = expected(function, subject.chosen(function, inputs), profile)
            unit = UNITS[COARSER[answer.dtype]]
            if not all(np.all(ratios(*parts, unit) <= LIMIT) for parts in zip(answer.values, values, scales)):
                return False
    except (Skip, Fault, ValueError):
        return False
    return True
