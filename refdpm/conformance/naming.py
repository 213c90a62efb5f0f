"""Which known mistake it is.

Every mistake of the catalogue is a wrong variant of one function of this package, or of the textbook's tables.  With it planted the
reference gives the answer that somebody who makes the mistake gets; the one that reproduces the adapter's answers is named.

    distance = ‖observed − variant‖ / ‖observed − right‖,   entries in units of their scale:   0 reproduces, 1 explains nothing

It is the largest over several failing inputs; and where the adapter is right the variant has to be right too.  If nothing in the
catalogue reproduces the answers, the textbook's formulas with one slip of the pen are tried, then two mistakes at once.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple
import contextlib
import warnings

import numpy as np

from refdpm.conformance.arguments import copied
from refdpm.conformance.chapters.inputs import Inputs
from refdpm.conformance.mistakes import MISTAKES, Mistake, planted
from refdpm.conformance.planting import needed, noting_calls
from refdpm.conformance import symptoms
from refdpm.conformance.precision import LIMIT
from refdpm.conformance.symptoms import Failure, Part, distance_in_units
from refdpm.textbook.edits import ASKED, CUT
from refdpm.vjp import Array

LESS_PLAIN = ("all left out but", " is taken for ")      # than the term that is 0 so: what is said last of what is the same
NEAR = 0.003                    # a distance that is as good as none
FAR = 4                         # times what is allowed: of a smaller error nothing is explained by what is right but for rounding
DIGITS = 1e-6                   # of the largest number may be lost for want of digits
LIKELY = 0.5                    # one that explains this much of the worst failure is tried on the others
MOST_IN_PAIRS = 24
BY_ID = {mistake.id: mistake for mistake in MISTAKES}

Reference = Callable[[Inputs], tuple[Array, ...]]
Variants = Sequence[tuple[tuple[str, ...], Reference]]


class Name(NamedTuple):
    """The mistakes whose variant is nearest, several if they are the same there (or two at once), and the next one."""

    ids: tuple[str, ...]
    distance: float
    runner_up: str | None
    runner_up_distance: float | None
    reproduces: bool
    pair: bool = False


def name(references: Sequence[Reference], failures: list[Failure], slips: Callable[[], Variants] = tuple, *,
         fits: Callable[[Failure], Variants] | None = None, pairs: bool = True, more: Sequence[Failure] = (),
         slips_first: bool = False) -> Name | None:
    """The mistake that explains the failures best, or two at once; None if none changes the answer for the better.

    `references` are ways to the right answer, in any of which a mistake may have been made: our own, and the textbook's with its
    tables.  `slips` makes further wrong variants, if it is asked, and `fits` such as are made for a failure.  One that reproduces
    the failures has to reproduce `more` of them too; slips come after symptoms that say what was done, or `slips_first`, and before
    one by which some of what is right would be wrong.
    """
    symptom, denied = symptoms.telling(failures, references[0])
    if symptom == symptoms.ALWAYS_0:
        return name_of_symptom(symptom)
    slips_first = slips_first or denied
    known = [((mistake.id,), _variant_with(reference, mistake)) for reference in references
             for mistake in touched(reference, failures[0].inputs)]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _rank(failures, known)
        if not _reproduces(found) and not symptom and symptoms.has_wrong_sign(failures):
            return name_of_symptom(symptoms.WRONG_SIGN)
        are_last_digits = symptoms.are_last_digits(failures)         # of which no number says anything
        if not _reproduces(found) and (slips_first or not symptom) and _finite_count(failures) >= symptoms.ENOUGH:
            slipped = slips()
            found = sorted(found + _confirmed(_rank(failures, slipped), slipped, more), key=lambda one: one.distance)
        if not _reproduces(found) and (symptom := symptom or (
                None if are_last_digits else symptoms.arithmetic(failures, references[0]))):
            return name_of_symptom(symptom)
        if fits and not are_last_digits and not _reproduces(found) and _finite_count(failures) >= symptoms.ENOUGH:
            fitting = fits(failures[0])
            found = sorted(found + _confirmed(_rank(failures, fitting), fitting, more), key=lambda one: one.distance)
        if pairs and not _reproduces(found):
            mistakes = [BY_ID[one.ids[0]] for one in found if one.ids[0] in BY_ID]
            both = _ranked_pairs(references, failures, [one for one in mistakes if one.kind != "accuracy"])
            if _reproduces(both):
                return Name(both[0].ids, both[0].distance, None, None, True, pair=True)
    same = None if denied else symptom
    return _name_of_nearest(found, _distance_of_rounding(failures), same) if found and found[0].distance < 1 else None


def name_of_rows(references: Sequence[Reference], failures: list[Failure], slips: Variants) -> Name | None:
    """The mistake or the slip that reproduces the rows that are wrong, whatever it makes of others; None if few are, or all."""
    wrong = {id(failure.inputs): np.any([part.wrong.reshape(len(part.wrong), -1).any(axis=1) for part in failure.parts], axis=0)
             for failure in failures}

    def in_these_rows(variant: Reference) -> Reference:
        def values(inputs: Inputs) -> tuple[Array, ...]:
            rows = wrong[id(inputs)]
            return tuple(np.broadcast_to(value, rows.shape + np.shape(value)[1:])[rows] for value in variant(inputs))
        return values

    some_are_right = any(np.any(rows) and not np.all(rows) for rows in wrong.values())
    failures = [Failure(failure.inputs, tuple(part.only(rows) for part in failure.parts))
                for failure in failures if np.any(rows := wrong[id(failure.inputs)])]
    if _finite_count(failures) < symptoms.ENOUGH or not some_are_right:
        return None
    known = [((mistake.id,), _variant_with(reference, mistake)) for reference in references
             for mistake in touched(reference, failures[0].inputs)]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _rank(failures, [(ids, in_these_rows(variant)) for ids, variant in [*known, *slips]])
    return _name_of_nearest(found, _distance_of_rounding(failures), None) if _reproduces(found) else None


def _finite_count(failures: list[Failure]) -> int:
    """How many numbers came at all: many a slip divides by 0, and gives no number anywhere."""
    return sum(int(np.sum(np.isfinite(part.observed))) for failure in failures for part in failure.parts)


def _reproduces(found: list["_Candidate"]) -> bool:
    return bool(found) and found[0].distance <= NEAR


def name_of_symptom(says: str) -> Name:
    """The name of what a sentence says, which reproduces the numbers."""
    return Name((says,), 0.0, None, None, True)


def mistakes_of_shape(reference: Reference, inputs: Inputs, fault: str) -> tuple[str, ...]:
    """The mistakes with which our own functions return an array of the same wrong shape, or cannot broadcast either."""
    right = _shapes_or_error(reference, inputs)
    return tuple(mistake.id for mistake in touched(reference, inputs)
                 if any(fate in fault for fate in _shapes_or_error(_variant_with(reference, mistake), inputs) - right))


def _shapes_or_error(variant: Reference, inputs: Inputs) -> set[str]:
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {f"returns shape {np.shape(part)}," for part in variant(copied(inputs))}
    except Exception as error:
        return {"broadcast"} if "broadcast" in str(error) else set()


def _ranked_pairs(references: Sequence[Reference], failures: list[Failure], mistakes: list[Mistake]) -> list["_Candidate"]:
    """Two at once; not where very many have a share."""
    if len(mistakes) > MOST_IN_PAIRS:
        return []
    return _rank(failures, [((a.id, b.id), _variant_with(reference, a, b))
                              for a, b in combinations(mistakes, 2) for reference in references])


class _Candidate(NamedTuple):
    ids: tuple[str, ...]
    distance: float


def _distance_of_rounding(failures: list[Failure]) -> float:
    """The distance that rounding alone may leave, at most a thousandth: below it nothing tells two mistakes apart."""
    shares = [np.sqrt(part.observed.size) / error for failure in failures for part in failure.parts
              if (error := part.error) > LIMIT * np.sqrt(part.observed.size)]
    return float(min(max(shares, default=1e-3), 1e-3))


def _name_of_nearest(found: list[_Candidate], rounding: float, symptom: str | None) -> Name:
    best = found[0].distance
    as_near = best * 1.0000001 + 1e-12                              # where the digits of two distances say nothing, what is short
    ties = [one for one in found if one.distance <= max(as_near, rounding)]
    ties.sort(key=lambda one: (one.distance > as_near, one.ids[0] not in BY_ID, not one.ids[0].startswith(ASKED),
                               any(words in one.ids[0] for words in LESS_PLAIN), CUT in one.ids[0], len(one.ids[0])))
    same = tuple(one.ids[0] for one in ties)
    same += (symptom,) if symptom and best <= NEAR else ()
    other = next((one for one in found if one.ids[0] not in same), None)
    return Name(same, best, other.ids[0] if other else None, other.distance if other else None, best <= NEAR)


def _variant_with(reference: Reference, *mistakes: Mistake) -> Reference:
    def variant(inputs: Inputs) -> tuple[Array, ...]:
        with contextlib.ExitStack() as stack:
            for mistake in mistakes:
                stack.enter_context(planted(mistake))
            return reference(copied(inputs))
    return variant


def _rank(failures: list[Failure], variants: Variants) -> list[_Candidate]:
    """The variants that change anything, the nearest first; each mistake once.  Only those that explain the worst failure to some
    extent are tried on the others."""
    first = _measure(failures[:1], variants)
    likely = {one.ids for one in first if one.distance < LIKELY}
    if len(failures) == 1 or not likely:
        return first
    tried = _measure(failures, [(ids, variant) for ids, variant in variants if ids in likely])
    return sorted(tried + [one for one in first if one.ids not in likely], key=lambda one: one.distance)


def _confirmed(found: list[_Candidate], variants: Variants, more: Sequence[Failure]) -> list[_Candidate]:
    """The candidates, and where they reproduce the failures with the distance that is theirs on more of them."""
    near = {one.ids for one in found if one.distance <= NEAR} if more else set()
    left: dict[tuple[str, ...], float] = {}
    for ids, variant in (one for one in variants if one[0] in near):
        left[ids] = min(_distance(variant, more, far=1.0)[0], left.get(ids, np.inf))
    return [one._replace(distance=max(one.distance, left.get(one.ids, 0.0))) for one in found]


def _measure(failures: list[Failure], variants: Variants) -> list[_Candidate]:
    best: dict[tuple[str, ...], float] = {}
    for ids, variant in variants:
        distance, moves = _distance(variant, failures)
        if moves and np.isfinite(distance):
            best[ids] = min(distance, best.get(ids, np.inf))
    return sorted((_Candidate(*one) for one in best.items()), key=lambda one: one.distance)


def _distance(variant: Reference, failures: Sequence[Failure], far: float = FAR) -> tuple[float, bool]:
    """The largest distance of any part, and whether the variant differs from what is right at all; see `_unexplained_share`.

    Some write a case of its own for t = 1, or for T = 1.  A variant that explains all but answers there that are right is as good
    as the nearest.
    """
    largest, but_first, moves = 0.0, 0.0, False
    for failure in failures:
        try:
            values = variant(failure.inputs)
            if len(values) < len(failure.parts):
                return np.inf, False
            for value, part in zip(values, failure.parts):
                given = _with_lost_numbers(_in_shape(value, part.observed.shape), part.observed)
                moves = moves or distance_in_units(given, part.expected, part.unit) > 1
                share = _unexplained_share(given, part, far)
                largest = max(largest, share)
                if share > NEAR and np.any(first := _right_at_1(failure, part)):
                    share = _unexplained_share(np.where(first, part.observed, given), part, far)
                but_first = max(but_first, share)
        except Exception:
            return np.inf, False
    return (NEAR if but_first <= NEAR < largest else largest), moves


def _in_shape(value: Any, shape: tuple[int, ...]) -> Array:
    numbers = np.asarray(value, dtype=np.float64)
    return numbers if numbers.shape == shape else np.broadcast_to(numbers, shape)


def _with_lost_numbers(value: Array, observed: Array) -> Array:
    """What a variant gives; where it has no number beside more infinities that came too, what came: others do not write 0 · ∞; and
    where it has 0 and no number came, none: others divide 0 by 0."""
    if np.any(undefined := np.isnan(observed) & (value == 0)):
        value = np.where(undefined, np.nan, value)
    lost = np.isnan(value) & np.isfinite(observed)
    if not lost.any():
        return value
    return np.where(lost, observed, value) if np.sum(lost) < np.sum(np.isinf(observed) & (value == observed)) else value


def _right_at_1(failure: Failure, part: Part) -> Array:
    """Which entries belong to t = 1, or to a schedule of one step, and are right."""
    t, beta = failure.inputs.get("t"), failure.inputs.get("beta", ())
    if failure.inputs.get("T") == 1 or t is None and len(beta) == 2:
        return ~part.wrong
    if not isinstance(t, np.ndarray) or part.observed.shape[:1] != t.shape:
        return np.zeros(part.observed.shape, dtype=bool)
    return ~part.wrong & (t == 1).reshape(t.shape + (1,) * (part.observed.ndim - 1))


def _unexplained_share(value: Array, part: Part, far: float = FAR) -> float:
    """The share of a wrong answer that a variant leaves unexplained; of a right one, 0 or all of it.

    Nothing explains an error below `far` times what is allowed by being right but for rounding; what explains larger ones may.
    An infinity, beside which no number counts, explains no numbers but such as have lost digits alone.
    """
    finite = np.isfinite(part.observed) & np.isfinite(part.expected)
    if np.any(finite) and not np.all(finite) and _is_more_than_digits(part.only(finite)):
        return max(_unexplained_share(value[entries], part.only(entries), far) for entries in (finite, ~finite))
    allowed = LIMIT * np.sqrt(np.size(value))
    error, left = part.error, distance_in_units(part.observed, value, part.unit)
    if error <= allowed and np.any(wrong := part.wrong):           # in a few of many entries, which are looked at alone
        allowed = LIMIT * np.sqrt(np.sum(wrong))
        wrong_part = part.only(wrong)
        error, left = wrong_part.error, distance_in_units(wrong_part.observed, value[wrong], wrong_part.unit)
    if error > allowed:
        return left / error if left > allowed or error < far * allowed else min(left / error, NEAR / 2)
    return 0.0 if left <= 2 * allowed else np.inf


def _is_more_than_digits(part: Part) -> bool:
    """Whether the numbers are another formula's, and not only less accurate."""
    return bool(np.max(np.abs(part.observed - part.expected)) > DIGITS * np.max(np.abs(part.expected)))


# -- the mistakes that can have had a share ------------------------------------------------------------------------------

def touched(reference: Callable[[Inputs], Any], inputs: Inputs) -> list[Mistake]:
    """The mistakes in functions that the reference calls."""
    with noting_calls(MISTAKES) as called, contextlib.suppress(Exception), np.errstate(all="ignore"):
        reference(inputs)
    return [mistake for mistake in MISTAKES if needed(mistake) in called]
