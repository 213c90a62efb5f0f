"""Which known mistake it is.

Every mistake of the catalogue is a wrong variant of one function of this package.  With it planted the reference gives the answer
that somebody who makes the mistake gets; the one that reproduces the adapter's answers, on all inputs on which it failed, is named.

    distance = ‖observed − variant‖ / ‖observed − right‖,   entries in units of their scale:   0 reproduces, 1 explains nothing
"""

from collections.abc import Callable, Iterable
from functools import cache
from itertools import combinations
from types import CodeType
from typing import Any, NamedTuple
import contextlib
import sys
import warnings

import numpy as np

from refdpm.conformance.clauses.common import Inputs
from refdpm.conformance.mistakes import MISTAKES, Mistake, planted
from refdpm.conformance.mistakes.planting import target
from refdpm.vjp import Array

NEAR = 0.05                     # a distance that is as good as none
CASES = 6                       # failing inputs that are looked at
MOST_IN_PAIRS = 24

Reference = Callable[[Inputs], Array]


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


def name(reference: Reference, failures: list[Failure]) -> Name | None:
    """The mistake that explains the failures best; None if none changes the answer for the better."""
    failures = sorted(failures, key=lambda failure: -_norm(failure.observed, failure.expected, failure.unit))[:CASES]
    candidates = touched(reference, failures[0].inputs)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _ranked(reference, failures, [(mistake,) for mistake in candidates])
        if not found or found[0][0] > NEAR:
            moving = [single[0] for distance, single, moves in found if moves][:MOST_IN_PAIRS]
            pairs = _ranked(reference, failures, list(combinations(moving, 2)))
            if pairs and pairs[0][0] <= NEAR:
                return _named(pairs)
    return _named(found) if found and found[0][0] < 1 else None


def _named(found: list[tuple[float, tuple[Mistake, ...], bool]]) -> Name:
    best = found[0]
    if len(best[1]) > 1:
        return Name(tuple(mistake.id for mistake in best[1]), best[0], None, None, True, pair=True)
    same = tuple(found_[1][0].id for found_ in found if found_[0] <= best[0] * 1.0000001 + 1e-12)
    other = next((entry for entry in found if entry[1][0].id not in same), None)
    return Name(same, best[0], other[1][0].id if other else None, other[0] if other else None, best[0] <= NEAR)


def _ranked(reference: Reference, failures: list[Failure], candidates: Iterable[tuple[Mistake, ...]]
            ) -> list[tuple[float, tuple[Mistake, ...], bool]]:
    """(distance, mistakes, whether they change anything), the nearest first."""
    found = []
    for mistakes in candidates:
        with contextlib.ExitStack() as stack:
            for mistake in mistakes:
                stack.enter_context(planted(mistake))
            distance, moves = _distance(reference, failures)
        found.append((distance, mistakes, moves))
    return sorted((entry for entry in found if entry[2]), key=lambda entry: entry[0])


def _distance(reference: Reference, failures: list[Failure]) -> tuple[float, bool]:
    above, below, moves = 0.0, 0.0, False
    for failure in failures:
        try:
            variant = np.broadcast_to(np.asarray(reference(_copied(failure.inputs)), dtype=np.float64), failure.observed.shape)
        except Exception:
            return np.inf, False
        moves = moves or _norm(variant, failure.expected, failure.unit) > 0
        above += _norm(failure.observed, variant, failure.unit) ** 2
        below += _norm(failure.observed, failure.expected, failure.unit) ** 2
    return (float(np.sqrt(above / below)) if np.isfinite(above) and below > 0 else np.inf), moves


def _copied(inputs: Inputs) -> Inputs:
    """A mistake may be to write into what it was given."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in inputs.items()}


def _norm(x: Array, y: Array, unit: Array) -> float:
    """The distance of two arrays; what is not finite in the same way in both is no distance, in one of them a large one."""
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
