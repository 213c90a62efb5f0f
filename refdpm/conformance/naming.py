"""Which known mistake it is.

Every mistake of the catalogue is a wrong variant of one function of this package.  With it planted the reference gives the answer
that somebody who makes the mistake gets; the one that reproduces the adapter's answers, on all inputs on which it failed, is named.

    distance = ‖observed − variant‖ / ‖observed − right‖,   entries in units of their scale:   0 reproduces, 1 explains nothing
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from types import CodeType
from typing import Any, NamedTuple
import contextlib
import sys
import warnings

import numpy as np

from refdpm.conformance.families.common import Inputs, copied
from refdpm.conformance.mistakes import MISTAKES, Mistake, planted
from refdpm.conformance.mistakes.planting import target
from refdpm.vjp import Array

NEAR = 0.05                     # a distance that is as good as none
SINGLE = 2.0 ** -24
LIKELY = 0.5                    # one that explains this much of the worst failure is tried on the others
CASES = 6                       # failing inputs that are looked at
MOST_IN_PAIRS = 24
BY_ID = {mistake.id: mistake for mistake in MISTAKES}

Reference = Callable[[Inputs], Array]
Variants = Sequence[tuple[tuple[str, ...], Reference]]


class Failure(NamedTuple):
    """An input on which an answer was wrong; `unit` is u·scale of every entry."""

    inputs: Inputs
    observed: Array
    expected: Array
    unit: Array


class Name(NamedTuple):
    """The mistakes whose variant is nearest, several if they are the same there (or two at once), and the next one."""

    ids: tuple[str, ...]
    distance: float
    runner_up: str | None
    runner_up_distance: float | None
    reproduces: bool
    pair: bool = False


def name(references: Sequence[Reference], failures: list[Failure], slips: Variants = (), *, pairs: bool = True) -> Name | None:
    """The mistake that explains the failures best, or two at once; None if none changes the answer for the better.

    `references` are ways to the right answer, in any of which a mistake may have been made: our own, and the textbook's with its
    tables.  `slips` are further wrong variants.
    """
    failures = sorted(failures, key=lambda failure: -_norm(failure.observed, failure.expected, failure.unit))[:CASES]
    known = [((mistake.id,), _planted(reference, mistake)) for reference in references
             for mistake in touched(reference, failures[0].inputs)]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _ranked(failures, [*known, *slips])
        if pairs and (not found or found[0].distance > NEAR):
            both = _pairs(references, failures, [BY_ID[one.ids[0]] for one in found if one.ids[0] in BY_ID])
            if both and both[0].distance <= NEAR:
                return Name(both[0].ids, both[0].distance, None, None, True, pair=True)
    return _named(found, _rounding(failures)) if found and found[0].distance < 1 else None


def raising(reference: Callable[[Inputs], Any], inputs: Inputs, fault: str) -> tuple[str, ...]:
    """The mistakes with which our own functions raise on these inputs too, or return an array of the same wrong shape."""
    right = _fates(reference, inputs)
    return tuple(mistake.id for mistake in touched(reference, inputs)
                 if fault.startswith(tuple(_fates(_planted(reference, mistake), inputs) - right)))


def _fates(variant: Callable[[Inputs], Any], inputs: Inputs) -> set[str]:
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {f"returns shape {np.shape(part)}," for part in variant(copied(inputs))}
    except Exception:
        return {"raises"}


def _pairs(references: Sequence[Reference], failures: list[Failure], mistakes: list[Mistake]) -> list["_Candidate"]:
    """Two at once; not where very many have a share."""
    if len(mistakes) > MOST_IN_PAIRS:
        return []
    return _ranked(failures, [((a.id, b.id), _planted(reference, a, b))
                              for a, b in combinations(mistakes, 2) for reference in references])


class _Candidate(NamedTuple):
    ids: tuple[str, ...]
    distance: float


def _rounding(failures: list[Failure]) -> float:
    """The distance that rounding alone may leave, at most a thousandth: below it nothing tells two mistakes apart."""
    below = np.linalg.norm([_norm(failure.observed, failure.expected, failure.unit) for failure in failures])
    return float(min(np.sqrt(sum(failure.observed.size for failure in failures)) / max(below, 1e-300), 1e-3))


def _named(found: list[_Candidate], rounding: float = 0.0) -> Name:
    best = found[0].distance
    same = tuple(one.ids[0] for one in found if one.distance <= max(best * 1.0000001 + 1e-12, rounding))
    other = next((one for one in found if one.ids[0] not in same), None)
    return Name(same, best, other.ids[0] if other else None, other.distance if other else None, best <= NEAR)


def _planted(reference: Reference, *mistakes: Mistake) -> Reference:
    def variant(inputs: Inputs) -> Array:
        with contextlib.ExitStack() as stack:
            for mistake in mistakes:
                stack.enter_context(planted(mistake))
            return reference(inputs)
    return variant


def _ranked(failures: list[Failure], variants: Variants) -> list[_Candidate]:
    """The variants that change anything, the nearest first; each mistake once.  Only those that explain the worst failure to some
    extent are tried on the others."""
    first = _measured(failures[:1], variants)
    likely = {one.ids for one in first if one.distance < LIKELY}
    if len(failures) == 1 or not likely:
        return first
    return _measured(failures, [(ids, variant) for ids, variant in variants if ids in likely])


def _measured(failures: list[Failure], variants: Variants) -> list[_Candidate]:
    best: dict[tuple[str, ...], float] = {}
    for ids, variant in variants:
        distance, moves = _distance(variant, failures)
        if moves:
            best[ids] = min(distance, best.get(ids, np.inf))
    return sorted((_Candidate(*one) for one in best.items()), key=lambda one: one.distance)


def _distance(variant: Reference, failures: list[Failure]) -> tuple[float, bool]:
    """The distance, and whether the variant differs from the reference at all."""
    above, below, moves = 0.0, 0.0, False
    for failure in failures:
        try:
            value = np.broadcast_to(np.asarray(variant(copied(failure.inputs)), dtype=np.float64), failure.observed.shape)
        except Exception:
            return np.inf, False
        moves = moves or _norm(value, failure.expected, failure.unit) > 1
        above += _norm(failure.observed, value, failure.unit) ** 2
        below += _norm(failure.observed, failure.expected, failure.unit) ** 2
    return (float(np.sqrt(above / below)) if np.isfinite(above) and below > 0 else np.inf), moves


def _norm(x: Array, y: Array, unit: Array) -> float:
    """The distance of two arrays; what is not finite in the same way in both is no distance, in one of them a large one."""
    unit = np.where(unit > 0, unit, SINGLE * np.maximum(np.abs(x), np.abs(y)))           # 0 where only 0 is right
    far = np.where(np.isfinite(x) & np.isfinite(y), np.clip((x - y) / np.maximum(unit, 1e-300), -1e150, 1e150), 1e150)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    largest = np.max(np.abs(far), initial=0.0, where=~same)
    return float(largest * np.sqrt(np.sum(np.where(same, 0.0, far / largest) ** 2))) if largest > 0 else 0.0


# -- the mistakes that can have had a share ------------------------------------------------------------------------------

def touched(reference: Callable[[Inputs], Any], inputs: Inputs) -> list[Mistake]:
    """The mistakes in functions that the reference calls."""
    seen: set[CodeType] = set()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            seen.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        with np.errstate(all="ignore"), contextlib.suppress(Exception):
            reference(inputs)
    finally:
        sys.setprofile(before)
    return [mistake for mistake in MISTAKES if _code(mistake.target) in seen]


@cache
def _code(place: str) -> CodeType:
    module, function = target(next(mistake for mistake in MISTAKES if mistake.target == place))
    code: CodeType = getattr(module, function).__code__
    return code
