"""Which evidence finds a planted mistake.

Each has to be caught by evidence of its own kind: a wrong value by a value check and not merely by the adjoint test, to which a
wrong formula with its own gradient is a good pair.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any
import warnings

import numpy as np

from refdpm import gradcheck
from refdpm.conformance import accuracy, cases
from refdpm.conformance.checks import CHECKS, Check, residual
from refdpm.conformance.in_textbook import function, in_textbook
from refdpm.conformance.mistakes import MISTAKES
from refdpm.conformance.planting import Mistake, needed, noting_calls, planted
from refdpm.textbook.digits import digits
from refdpm.textbook.page import to_float
from refdpm.vjp import leaves

COARSE = 1e-9                   # of the largest entry: what is further off is no rounding


def caught_by(mistake: Mistake) -> list[str]:
    """The names of checks, of the mistake's own kind, that find it; empty for a survivor.

    Not for mistakes of the kind "clause", which no function of this package can have: `matrix.seeing` answers for them.
    """
    judge = {"value": _by_values, "gradient": _by_gradients, "accuracy": _by_accuracy}[mistake.kind]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return judge(mistake)


def _by_values(mistake: Mistake) -> list[str]:
    """What accuses the function by its name, or else its digits at the ends of the range, which may accuse one that is right but
    loses them."""
    accused = accused_by(mistake, by_name=True)
    drawn = _drawn(mistake.target.removesuffix("_vjp"))                                        # by the right package
    with planted(mistake):
        return accused or _inexact(*drawn)


def accused_by(mistake: Mistake, *, by_name: bool = False) -> list[str]:
    """The names of checks that find a wrong value, of functions so wrong in ordinary cases that no rounding explains it.

    Checks that name the function are asked first, the others that call it if nothing else finds the mistake, and many cases last.
    With `by_name` the others are not asked.
    """
    names = {mistake.target, f"{mistake.target}_vjp"}
    nearest = [check for check in CHECKS if names & set(check.targets)]
    name = mistake.target.removesuffix("_vjp")
    few = _ordinary(name, 8)                                                                  # drawn by the right package
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        others = [] if by_name else [check for check in CHECKS if check not in nearest and needed(mistake) in _called_in(check)]
        with planted(mistake):
            found = _finding(nearest) or _wrong(name, few) or _finding(others)
        many = () if found else _ordinary(name, 40)
        with planted(mistake):
            return found or _wrong(name, many)


def _ordinary(name: str, count: int) -> Sequence[cases.Case]:
    """Cases with something in them, or the ends of a function that has no cases; none if the textbook does not have it."""
    if name not in accuracy.BOOK:
        return ()
    examples = cases.examples(name, count=count) if name in cases.CASES else []
    return [case for case in examples if all(np.size(leaf) for leaf in leaves(case[0]))] or _drawn(name)[1]


@cache
def _drawn(name: str) -> tuple[str, tuple[cases.Case, ...]]:
    return name, tuple(accuracy.cases_of(name)) if name in accuracy.BOOK else ()


def _wrong(name: str, drawn: Sequence[cases.Case]) -> list[str]:
    """The name of a function whose values are so far from the textbook's that no other way of writing the formula explains it."""
    return [name] if any(not _near(*pair) for case in drawn for pair in _beside(name, *case)) else []


def _beside(name: str, arguments: tuple[Any, ...], fixed: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The leaves of a value, and what the textbook gives in digits.  The value is that of a second call: what changes its
    arguments in place is right but once."""
    book = in_textbook(name, arguments, fixed)
    exact = digits(book.formulas, book.page).values
    try:
        function(name)(*arguments, **fixed)
        got: list[Any] = list(leaves(function(name)(*arguments, **fixed)))
    except Exception:                                               # where the right function does not
        got = [np.nan] * len(book.formulas)
    yield from zip(got, exact)


def _near(got: Any, exact: Any) -> bool:
    try:
        right = np.broadcast_to(np.asarray(to_float(exact), dtype=np.float64), np.shape(got))
    except ValueError:                                              # of another shape
        return False
    size = np.max(np.abs(right), initial=0.0, where=np.isfinite(right))
    return bool(np.allclose(got, right, rtol=0, atol=COARSE * size, equal_nan=True))


def _inexact(name: str, drawn: tuple[cases.Case, ...]) -> list[str]:
    """The values of a function that are not those of the textbook; of one that raises, that it does."""
    try:
        return [value.name for case in drawn for value in accuracy.values(name, *case) if not value.units <= accuracy.LIMIT]
    except Exception as error:
        return [f"{name} raises {type(error).__name__}"]


def _finding(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not residual(check) <= 1]


@cache
def _called_in(check: Check) -> set[str]:
    with noting_calls(MISTAKES) as called:
        residual(check)
        return set(called)


def _by_gradients(mistake: Mistake) -> list[str]:
    """A few cases find nearly every one; a choice that they do not happen to make may need more."""
    return _gaps(mistake, count=5) or _gaps(mistake, count=40)


def _gaps(mistake: Mistake, *, count: int) -> list[str]:
    name = mistake.target.removesuffix("_vjp")
    drawn = cases.examples(name, count=count)                                                   # by the right package
    found: dict[str, None] = {}
    with planted(mistake):
        pair = _pair(name)
        for arguments, fixed in drawn:
            rng = np.random.default_rng(0)
            gaps = gradcheck.gaps(pair, arguments, fixed, rng).items()
            found |= {f"{name}: adjoint gap of {argument}": None for argument, gap in gaps if not gap <= gradcheck.GAP}
            found |= {f"{name}: {breach}": None for breach in gradcheck.contract_breaches(pair, arguments, fixed, rng)}
    return list(found)


def _pair(name: str) -> gradcheck.Pair:
    module, _, f = name.rpartition(".")
    return next(pair for pair in gradcheck.pairs((module,)) if pair.name == name)


def _by_accuracy(mistake: Mistake) -> list[str]:
    """The formula of the function itself, then those of the same module."""
    module = mistake.target.rpartition(".")[0]
    names = dict.fromkeys((mistake.target, *(name for name in accuracy.BOOK if name.startswith(f"{module}."))))
    drawn = [_drawn(name) for name in names]                                                  # by the right package
    with planted(mistake):
        return next(filter(None, (_inexact(*one) for one in drawn)), [])
