"""Named mistakes: wrong variants of single functions, most of which really happened in other people's code.

They serve twice.  Planted one after another they prove that the checks see what they claim to see; and when a foreign
implementation disagrees, the mistake that reproduces its numbers has a name and a place where it happened before.

Each has to be caught by evidence of its own kind: a wrong value by a value check and not merely by the adjoint test, to which a
wrong formula with its own gradient is a good pair.
"""

from functools import cache
import importlib
import pkgutil
import warnings

import numpy as np

from refdpm import gradcheck
from refdpm.conformance import accuracy, cases
from refdpm.conformance.chapters import in_chapters
from refdpm.conformance.checks import CHECKS, Check, residual
from refdpm.conformance.planting import Mistake, planted

MISTAKES: tuple[Mistake, ...] = tuple(dict.fromkeys(
    [mistake for module in pkgutil.iter_modules(__path__)
     for mistake in importlib.import_module(f"{__name__}.{module.name}").MISTAKES] + list(in_chapters(Mistake))))

__all__ = ["MISTAKES", "Mistake", "caught_by", "planted"]


def caught_by(mistake: Mistake) -> list[str]:
    """The names of checks, of the mistake's own kind, that find it; empty for a survivor.

    Not for mistakes of the kind "clause", which no function of this package can have: `matrix.seeing` answers for them.
    """
    judge = {"value": _by_values, "gradient": _by_gradients, "accuracy": _by_accuracy}[mistake.kind]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return judge(mistake)


def _by_values(mistake: Mistake) -> list[str]:
    """Checks that name the function are asked first, then its digits, and the other checks only if none of those finds it."""
    names = {mistake.target, f"{mistake.target}_vjp"}
    nearest = [check for check in CHECKS if names & set(check.targets)]
    drawn = _drawn(mistake.target.removesuffix("_vjp"))                                       # by the right package
    with planted(mistake):
        return _finding(nearest) or _far_off(*drawn) or _finding([check for check in CHECKS if check not in nearest])


@cache
def _drawn(name: str) -> tuple[str, tuple[cases.Case, ...]]:
    return name, tuple(accuracy.cases_of(name)) if name in accuracy.BOOK else ()


def _far_off(name: str, drawn: tuple[cases.Case, ...]) -> list[str]:
    """The values of a function that the digits of its formula do not bear out."""
    return [value.name for case in drawn for value in accuracy.values(name, *case) if not value.units <= accuracy.LIMIT]


def _finding(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not residual(check) <= 1]


def _by_gradients(mistake: Mistake) -> list[str]:
    """A few cases find nearly every one; a choice that they do not happen to make may need more."""
    return _gaps(mistake, count=5) or _gaps(mistake, count=40)


def _gaps(mistake: Mistake, *, count: int) -> list[str]:
    name = mistake.target.removesuffix("_vjp")
    drawn = {pair: _examples(pair, count) for pair in dict.fromkeys((name, "bound.bound"))}    # drawn by the right package
    found: dict[str, None] = {}
    with planted(mistake):
        for pair_name, examples in drawn.items():
            for arguments, fixed in examples:
                pair, rng = _pair(pair_name), np.random.default_rng(0)
                gaps = gradcheck.gaps(pair, arguments, fixed, rng).items()
                found |= {f"{pair_name}: adjoint gap of {argument}": None for argument, gap in gaps if not gap <= gradcheck.GAP}
                found |= {f"{pair_name}: {breach}": None for breach in gradcheck.contract_breaches(pair, arguments, fixed, rng)}
    return list(found)


@cache
def _examples(name: str, count: int) -> list[cases.Case]:
    return cases.examples(name, count=count)


def _pair(name: str) -> gradcheck.Pair:
    module, _, f = name.rpartition(".")
    return next(pair for pair in gradcheck.pairs((module,)) if pair.name == name)


def _by_accuracy(mistake: Mistake) -> list[str]:
    """The formula of the function itself, then those of the same module."""
    module = mistake.target.rpartition(".")[0]
    names = [mistake.target] * (mistake.target in accuracy.BOOK) + [name for name in accuracy.BOOK if name.startswith(f"{module}.")]
    for name in dict.fromkeys(names):
        with planted(mistake):
            values = accuracy.accuracy(names=(name,))
        if found := [value.name for value in values if not value.units <= accuracy.LIMIT]:
            return found
    return []
