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
from refdpm.conformance.families.common import Function, Inputs
from refdpm.conformance.profile import Profile
from refdpm.conformance.subject import COARSE, LIMIT, UNITS, Subject, ratios

PROBES = 2
LONG = 50                       # steps of a schedule whose every path takes its time
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
    """The combinations of the function's own conventions under which it is right on the probes; or inaccurate, if under none."""
    probes = function.edges(subject.given)[:PROBES]
    fields = [field for field in _fields(function, probes[0]) if field not in known] if probes else []
    if _told_before(subject, function, fields):
        return []
    combinations = [dict(zip(fields, values)) for values in product(*(profiles.VALUES[field] for field in fields))]
    before = subject.profile
    try:
        for units in (UNITS, COARSE):
            if found := [one for one in combinations if _fits(subject, function, probes, profile._replace(**one), units)]:
                return found
        return []
    finally:
        subject.profile = before


def _told_before(subject: Subject, function: Function, fields: list[str]) -> bool:
    """Whether the function takes long, and the functions that it builds on tell all that it could."""
    if subject.given.beta is None or len(subject.given.beta) <= LONG:
        return False
    before = (subject.functions[name] for name in function.after if name in subject.functions)
    return set(fields) <= {field for one in before for field in _fields(one, one.edges(subject.given)[0])}


def _fields(function: Function, inputs: Inputs) -> list[str]:
    by_input = [profiles.INPUTS[name] for name in inputs if name in profiles.INPUTS]
    by_output = [field for output in function.outputs for field in profiles.KINDS.get(output.kind, ())]
    return list(dict.fromkeys([*by_input, *by_output, *function.choices]))


def _fits(subject: Subject, function: Function, probes: list[Inputs], profile: Profile, units: dict[str, float]) -> bool:
    subject.profile = profile
    try:
        for inputs in probes:
            answer = subject.ask(function.name, inputs)
            parts = zip(answer.values, subject.right(function, inputs), subject.scales(function, inputs))
            if not all(np.all(ratios(*part, units[answer.dtype]) <= LIMIT) for part in parts):
                return False
    except (Skip, Fault, ValueError):
        return False
    return True
