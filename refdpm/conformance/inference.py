"""The conventions of an adapter, inferred by evaluation: those under which most of its functions are right.

Every function is asked for a few edges; all combinations of the conventions that bear on it are tried.  A convention that some
function needs to be right counts as evidence; the value with most evidence is taken, or of as much evidence the one that the first
function needs, field by field, and then held fixed for the next.  A function that is only right in a lower precision, as a wrong
one may be by chance, counts where no other tells.  What no function depends on stays undetermined, and is printed so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any

import numpy as np

from refdpm.conformance import profile as profiles
from refdpm.conformance.adapter import Fault, Model, Refusal, Skip
from refdpm.conformance.chapters.inputs import Inputs
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.profile import Profile
from refdpm.conformance.subject import COARSE, LIMIT, UNITS, Subject, bearing_on, ratios
from refdpm.vjp import Array

PROBES = 2
OF_ONE_NUMBER = 6               # probes of a function that returns one number for all rows
CLEARLY = 0.25                  # more of the numbers that have to be right
LONG = 50                       # steps of a schedule whose every path takes its time
NEVER_GUESSED = {"posterior_first"}     # what a wrong function would hide behind
# what one function may do otherwise than the others: nats beside bits, bits per component, another variance at t = 1, logarithms
ALONE: tuple[tuple[str, ...], ...] = (
    ("unit",), ("first",), ("spread",), ("categories",), ("unit", "reduction"), ("unit", "spread"))
ALONE_IS_RIGHT = "inferred, of this function alone"
HEADS: tuple[str, ...] = ("variance",)           # with or without a head for it, of a function that reads none
LOGARITHMS = {"variance": ("spread", "log_variance"), "law": ("categories", "log_probability"),
              "probability": ("bits", "log_probability")}
OF_VARIANCES = ("first", "spread")
NEVER_ALONE = "deviation"       # beside variances: a root that is left out, or one too many
Combination = dict[str, Any]


def infer(subject: Subject, stated: dict[str, Any]) -> tuple[Profile, dict[str, str]]:
    """The profile, and for each of its fields how it is known: "stated", "inferred", "guessed", "undetermined".

    What no right function tells is guessed from the wrong ones: from the conventions under which most of their numbers are right.
    """
    profile = profiles.profile_from(stated)
    known = dict.fromkeys(profiles.VALUES, "undetermined") | dict.fromkeys(stated, "stated")
    quantities = list(subject.functions.values())
    own = tuple((quantity.name, field, value) for quantity in quantities for field, value in quantity.own
                if known.get(f"{quantity.name}.{field}") != "stated")
    profile = profile._replace(alone=profile.alone + own)
    right = [_right_combinations(subject, quantity, profile, known, UNITS) for quantity in quantities]
    right = _without_units_of_laws(subject, quantities, right)
    left = [quantity for quantity, found in zip(quantities, right) if not found]
    coarse = [_right_combinations(subject, quantity, profile, known, COARSE) for quantity in left]
    computes_coarsely = _count(coarse) > _count(right)
    if not computes_coarsely:
        profile = _profile_by_votes(profile, known, [found for found in right if found], "inferred")
        right, coarse = [], [_right_combinations(subject, quantity, profile, known, COARSE) for quantity in left]
    profile = _profile_by_votes(profile, known, [found for found in right + coarse if found], "inferred")
    nearest = [_nearest_combinations(subject, quantity, profile, known) for quantity, found in zip(left, coarse) if not found]
    profile = _profile_by_votes(profile, known, nearest, "guessed")
    if known["log_weights"] == "undetermined" and "log_mean_weight" in subject.functions:
        profile = profile._replace(log_weights=profile.unit)                    # of what comes as of what is answered
    otherwise = tuple(_otherwise(subject, quantities, profile, known, (UNITS, COARSE)[:1 + computes_coarsely]))
    chosen = tuple(one for one in own if one[1] in subject.functions[one[0]].choices)
    known |= {f"{name}.{field}": "undetermined" for name, field, _ in own}          # what is no choice, and so with everybody
    known |= {f"{name}.{field}": ALONE_IS_RIGHT for name, field, _ in chosen + otherwise}
    return profile._replace(alone=profile.alone + otherwise), known


def _without_units_of_laws(subject: Subject, quantities: list[Quantity], right: list[list[Combination]]
                           ) -> list[list[Combination]]:
    """The combinations, without the unit of what is about two laws alone, where terms of a bound tell theirs: a divergence is in
    nats with many people whose bound is in bits."""
    of_laws = [_is_of_laws_alone(subject, quantity) for quantity in quantities]
    of_terms = [found for found, alone in zip(right, of_laws) if not alone]
    if not any(_depends_on(found, "unit", unit) for found in of_terms for unit in profiles.VALUES["unit"]):
        return right
    return [[{field: value for field, value in one.items() if field != "unit"} for one in found] if alone else found
            for found, alone in zip(right, of_laws)]


def _count(found: list[list[Combination]]) -> int:
    """Of how many functions there is a combination that tells something."""
    return sum(any(one) for one in found)


def _otherwise(subject: Subject, quantities: list[Quantity], profile: Profile, known: dict[str, str],
               precisions: Sequence[dict[str, float]]) -> Iterator[tuple[str, str, Any]]:
    """What single functions do otherwise than the others, and are right so: each with the field and its value."""
    groups = [fields for fields in ALONE if not any(known[field] == "stated" for field in fields)]
    for quantity in quantities:
        probes = subject.edges(quantity)[:PROBES]
        if _takes_long(subject, quantity) or not probes:
            continue
        if not any(_is_right(subject, quantity, probes, profile, units) for units in (UNITS, COARSE)):
            also = [HEADS] * _reads_no_head(quantity, probes[0])
            others = (one for units in precisions for one in right_with(subject, quantity, profile, groups + also, units))
            right = (one for one in others if not _is_root(one, profile))
            found = next(right, None) or (
                _told_by_signs(subject, quantity, profile, known) | _unit_of_laws(subject, quantity, known)
                | _told_by_one_output(subject, quantity, probes, profile, known))
            yield from ((quantity.name, field, value) for field, value in found.items())


def _reads_no_head(quantity: Quantity, inputs: Inputs) -> bool:
    """Whether it asks a network for a mean alone, so that a head for the variance is nothing to it but more outputs."""
    return isinstance(inputs.get("model"), Model) and "variance" not in quantity.choices


def _is_of_laws_alone(subject: Subject, quantity: Quantity) -> bool:
    """Whether it is about laws that are given, like the divergence of two, and not about a chain."""
    return not any("beta" in inputs for inputs in subject.edges(quantity)[:1])


def _unit_of_laws(subject: Subject, quantity: Quantity, known: dict[str, str]) -> Combination:
    """The unit of a wrong function of laws alone, of which terms of a bound tell nothing."""
    in_units = "unit" in bearing_on(quantity, subject.edges(quantity)[0])
    is_free = in_units and known["unit"] != "stated" and _is_of_laws_alone(subject, quantity)
    return {"unit": profiles.VALUES["unit"][0]} if is_free else {}


def _told_by_signs(subject: Subject, quantity: Quantity, profile: Profile, known: dict[str, str]) -> Combination:
    """What a wrong function tells all the same: there are no variances and no probabilities that are negative, all of them."""
    found: Combination = {}
    for at, output in enumerate(quantity.outputs):
        field, logarithm = LOGARITHMS.get(output.kind, ("", ""))
        if field and known[field] != "stated" and getattr(profile, field) == profiles.VALUES[field][0]:
            values = _numbers_of(subject, quantity, at, profile)
            if values.size and np.all(values <= 0) and np.any(values < 0):
                found[field] = logarithm
    return found


def _told_by_one_output(subject: Subject, quantity: Quantity, probes: list[Inputs], profile: Profile, known: dict[str, str]
                        ) -> Combination:
    """The form of a variance, and what it is at t = 1, that make an output right beside which another one is wrong."""
    fields = [field for field in OF_VARIANCES if known[field] != "stated" and field in bearing_on(quantity, probes[0])]
    others = [dict(zip(fields, values)) for values in product(*(profiles.VALUES[field] for field in fields))]
    own, *right = (_outputs_right(subject, quantity, probes, profile._replace(**one)) for one in ({}, *others))
    if max(right) <= own:
        return {}
    best = [{field: value for field, value in one.items() if value != getattr(profile, field)}
            for one, outputs in zip(others, right) if outputs == max(right)]
    return next((one for one in sorted(best, key=len) if not _is_root(one, profile)), {})


def _is_root(choices: Combination, profile: Profile) -> bool:
    """Whether one of two functions that do not agree gives the root of a variance."""
    return "spread" in choices and NEVER_ALONE in (choices["spread"], profile.spread)


def _numbers_of(subject: Subject, quantity: Quantity, at: int, profile: Profile) -> Array:
    """All numbers of one output on the probes, under a profile; none where there is no answer."""
    with under(subject, profile), suppress(Skip, Fault, ValueError):
        answers = [subject.ask(quantity.name, inputs).values[at] for inputs in subject.edges(quantity)[:PROBES]]
        return np.concatenate([np.zeros(0), *map(np.ravel, answers)])
    return np.zeros(0)


@contextmanager
def under(subject: Subject, profile: Profile) -> Iterator[None]:
    """The subject under a profile, for a while."""
    before, subject.profile = subject.profile, profile
    try:
        yield
    finally:
        subject.profile = before


def right_with(subject: Subject, quantity: Quantity, profile: Profile, groups: Iterable[Sequence[str]],
               units: dict[str, float] = UNITS, wrong_at: Sequence[Inputs] = ()) -> Iterator[Combination]:
    """Other conventions, all of a group at a time, with which a function that is wrong under a profile would be right; also where
    it is known to be wrong."""
    probes = [*wrong_at, *(inputs for inputs in subject.edges(quantity)[:PROBES]
                           if not isinstance(_outcome(subject, quantity, inputs), Refusal))]
    bearing = bearing_on(quantity, probes[0]) if probes else []
    for fields in (fields for fields in groups if set(fields) <= {*bearing, *HEADS}):
        others = ([value for value in profiles.VALUES[field] if value != getattr(profile, field)] for field in fields)
        for values in product(*others):
            found = dict(zip(fields, values))
            if _is_right(subject, quantity, probes, profile._replace(**found), units):
                yield found


def sides(subject: Subject, choices: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The functions that are right as the profile is, and not with these choices; and those of which the reverse is true."""
    ours: list[str] = []
    theirs: list[str] = []
    profile = subject.profile
    for quantity in subject.functions.values():
        probes = [] if _takes_long(subject, quantity) else subject.edges(quantity)[:PROBES]
        if probes and not choices.keys().isdisjoint(bearing_on(quantity, probes[0])):
            ours_right, theirs_right = (_is_right(subject, quantity, probes, one, UNITS)
                                        for one in (profile, profile._replace(**choices)))
            if ours_right != theirs_right:
                (ours if ours_right else theirs).append(quantity.name)
    return ours, theirs


def _profile_by_votes(profile: Profile, known: dict[str, str], right: list[list[Combination]], word: str) -> Profile:
    """The profile with those fields of it, so far undetermined, on which some function has an opinion."""
    for field, values in profiles.VALUES.items():
        votes = {value: sum(_depends_on(found, field, value) for found in right) for value in values}
        first = next((found for found in right if any(_depends_on(found, field, value) for value in values)), [])
        best = max(values, key=lambda value: (votes[value], _depends_on(first, field, value)))
        if known[field] == "undetermined" and votes[best]:
            known[field], profile = word, profile._replace(**{field: best})
            right = [[one for one in found if one.get(field, best) == best] or found for found in right]
    return profile


def _depends_on(found: list[Combination], field: str, value: Any) -> bool:
    """Whether a function is right with this value, and not with all of them."""
    with_it = {one[field] for one in found if field in one}
    return value in with_it and len(with_it) < len(profiles.VALUES[field])


def _right_combinations(subject: Subject, quantity: Quantity, profile: Profile, known: dict[str, str], units: dict[str, float]
                        ) -> list[Combination]:
    """The combinations of the quantity's own conventions under which it is right on the probes in these units, with as many outputs
    right in its own precision as can be."""
    probes, combinations = _probes_and_combinations(subject, quantity, known)
    found = [one for one in combinations if _is_right(subject, quantity, probes, profile._replace(**one), units)]
    right = [_outputs_right(subject, quantity, probes, profile._replace(**one)) for one in found]
    return [one for one, outputs in zip(found, right) if outputs == max(right)]


def _nearest_combinations(subject: Subject, quantity: Quantity, profile: Profile, known: dict[str, str]) -> list[Combination]:
    """The combinations under which more of a wrong quantity's outputs are right than in our own ways, all their numbers; or else
    most of the numbers, if our own ways are clearly worse."""
    probes, combinations = _probes_and_combinations(subject, quantity, known)
    units = UNITS if _has_one_number(quantity) else COARSE             # of a few numbers some are right by chance
    combinations = [one for one in combinations
                    if all(one[field] == getattr(profile, field) for field in NEVER_GUESSED & one.keys())]
    own_right, *right = (_outputs_right(subject, quantity, probes, profile._replace(**one)) for one in ({}, *combinations))
    if max(right, default=0) > own_right:
        return [one for one, outputs in zip(combinations, right) if outputs == max(right)]
    own, *shares = (_share_right(subject, quantity, probes, profile._replace(**one), units) for one in ({}, *combinations))
    best = max(shares, default=-1.0)
    if best < 0 and _fails(subject, quantity, probes, profile):        # at a t that no table has
        return [one for one in combinations if not _fails(subject, quantity, probes, profile._replace(**one))]
    return [one for one, share in zip(combinations, shares) if share == best] if best >= max(own + CLEARLY, 0.0) else []


def _fails(subject: Subject, quantity: Quantity, probes: list[Inputs], profile: Profile) -> bool:
    """Whether a function raises an error on some probe, and does not refuse it, whatever it may answer on others."""
    with under(subject, profile):
        return any(type(_outcome(subject, quantity, inputs)) is Fault for inputs in probes)


def _outcome(subject: Subject, quantity: Quantity, inputs: Inputs) -> Any:
    """What a function answers in its own form, or what it raises."""
    try:
        return subject.remembered(quantity, inputs)
    except (Skip, Fault, ValueError) as raised:
        return raised


def _probes_and_combinations(subject: Subject, quantity: Quantity, known: dict[str, str]) -> tuple[list[Inputs], list[Combination]]:
    """The probes of a function, and the combinations of those of its conventions that are not known yet."""
    probes = subject.edges(quantity)[:OF_ONE_NUMBER if _has_one_number(quantity) else PROBES]
    fields = [field for field in bearing_on(quantity, probes[0]) if known[field] == "undetermined"] if probes else []
    if not fields or _told_by_earlier_quantities(subject, quantity, fields) or _is_always_0(subject, quantity):
        return [], []
    return probes, [dict(zip(fields, values)) for values in product(*(profiles.VALUES[field] for field in fields))]


def _is_always_0(subject: Subject, quantity: Quantity) -> bool:
    """Whether all its numbers are 0, which are the same by every convention."""
    values = [_numbers_of(subject, quantity, at, subject.profile) for at in range(len(quantity.outputs))]
    return all(one.size and not one.any() for one in values)


def _has_one_number(quantity: Quantity) -> bool:
    return all(output.kind == "loss" for output in quantity.outputs)


def _told_by_earlier_quantities(subject: Subject, quantity: Quantity, fields: list[str]) -> bool:
    """Whether the function takes long, and the functions that it builds on tell all that it could."""
    if not _takes_long(subject, quantity):
        return False
    before = (subject.functions[name] for name in quantity.after if name in subject.functions)
    return set(fields) <= {field for one in before for field in bearing_on(one, subject.edges(one)[0])}


def _takes_long(subject: Subject, quantity: Quantity) -> bool:
    """Whether a whole chain of many steps has to be walked."""
    long = subject.given.beta is not None and len(subject.given.beta) > LONG
    return long and any({"beta", "noise"} <= inputs.keys() and len(inputs["noise"]) >= len(inputs["beta"]) - 1
                        for inputs in subject.edges(quantity)[:1])


def _is_right(subject: Subject, quantity: Quantity, probes: list[Inputs], profile: Profile, units: dict[str, float]) -> bool:
    """Whether there are numbers and all are right in these units under a profile; asked probe by probe, until one is not."""
    count = 0
    for probe in probes:
        found = _which_are_right(subject, quantity, [probe], profile, units)
        if found is None or not all(map(all, found)):
            return False
        count += sum(map(len, found))
    return count > 0


def _share_right(subject: Subject, quantity: Quantity, probes: list[Inputs], profile: Profile, units: dict[str, float]) -> float:
    """The share of the numbers that are right in these units under a profile; −1 where there is no answer."""
    found = _which_are_right(subject, quantity, probes, profile, units)
    numbers = [number for output in found or [] for number in output]
    return sum(numbers) / len(numbers) if numbers else -1.0


def _outputs_right(subject: Subject, quantity: Quantity, probes: list[Inputs], profile: Profile) -> int:
    """How many outputs of a function with several have nothing but right numbers, and have numbers."""
    found = _which_are_right(subject, quantity, probes, profile, UNITS) if len(quantity.outputs) > 1 else None
    return sum(bool(output) and all(output) for output in found or [])


def _which_are_right(subject: Subject, quantity: Quantity, probes: list[Inputs], profile: Profile, units: dict[str, float]
                     ) -> list[list[bool]] | None:
    """Of every number of every output, whether it is right in these units under a profile; None where there is no answer.

    Probes that the adapter skips say nothing.
    """
    found: list[list[bool]] = [[] for _ in quantity.outputs]
    with under(subject, profile), suppress(Skip, Fault, ValueError):
        for inputs in probes:
            try:
                answer = subject.ask(quantity.name, inputs)
            except Skip:
                continue
            for output, parts in zip(found, zip(answer.values, *subject.values_and_scales(quantity, inputs))):
                unit = units[answer.dtype]
                right = ratios(*parts, unit) <= LIMIT
                output += (right & ~_says_nothing(*parts, unit) if units is COARSE else right).ravel().tolist()
        return found
    return None


def _says_nothing(value: Array, reference: Array, scale: Array, unit: float) -> Array:
    """Which numbers would be right whatever they are: more is allowed than they are themselves."""
    return (LIMIT * unit * scale > np.maximum(np.abs(value), np.abs(reference))) & (value != reference)
