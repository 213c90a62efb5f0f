"""The package's own evidence as named questions: does anything object to the package as it is found?

`evidence` is the one place where they are gathered.  To replace a kind of evidence, replace its line there, with callables that
are True when something is wrong, and name the kind in `KINDS`, cheapest first; which function is reached by what is found out by
running them (`mutants.traced`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refdpm import gradcheck
from refdpm.conformance import accuracy, cases, checks, matrix
from refdpm.conformance.families import FUNCTIONS, LAWS, Function, Given, Law
from refdpm.conformance.families.common import Inputs, copied
from refdpm.conformance.judge import textbook
from refdpm.conformance.profile import Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import LIMIT, UNITS, Subject, expected, ratios

KINDS = ("adjoint", "checks", "values", "clauses")
EXAMPLES = 15                # cases of a pair, as in the audit
FEW, MANY = 40, 1000         # points of an accuracy group: first few, at last as many as in the audit

Pairs = dict[str, tuple[gradcheck.Pair, list[cases.Case]]]


class Evidence(NamedTuple):
    """A named question to the package; `objects` says that the answer is wrong, and `insists` the same after a longer look."""

    kind: str
    name: str
    objects: Callable[[], bool]
    insists: Callable[[], bool] | None = None


def drawn_cases() -> Pairs:
    """Every pair with its cases, drawn once."""
    return {pair.name: (pair, cases.examples(pair.name, count=EXAMPLES)) for pair in gradcheck.pairs(cases.PAIR_MODULES)}


def evidence(pairs: Pairs) -> list[Evidence]:
    """All the evidence there is."""
    return [*(Evidence("adjoint", name, partial(breaks_the_contract, *pair)) for name, pair in pairs.items()),
            *(Evidence("checks", check.name, partial(fails, check)) for check in checks.CHECKS),
            *(Evidence("values", group, partial(inaccurate, group, FEW), partial(inaccurate, group, MANY))
              for group in accuracy.GROUPS),
            *(Evidence("clauses", function.id, partial(departs, *agreed(function))) for function in FUNCTIONS),
            *(Evidence("clauses", law.id, partial(broken, law)) for law in LAWS)]


def breaks_the_contract(pair: gradcheck.Pair, examples: list[cases.Case]) -> bool:
    """An adjoint gap, or a breach of the contract, the guard or the symmetry, on one of the cases."""
    def wrong(ask: Callable[..., Any], limit: float) -> bool:
        for i, (arguments, fixed) in enumerate(examples):
            found = ask(pair, arguments, fixed, np.random.default_rng(i))
            if found if isinstance(found, list) else not max(found.values()) <= limit:
                return True
        return False

    return wrong(gradcheck.gaps, gradcheck.GAP) or wrong(gradcheck.breaches, 0.0)


def fails(check: checks.Check) -> bool:
    """A check is off by more than its tolerance; what it raises is left to the caller."""
    return not check.run() <= 1


def inaccurate(group: str, points: int) -> bool:
    """A number of the group that is off by more than the limit; the first one ends the search."""
    found = accuracy.GROUPS[group](np.random.default_rng(accuracy.common.SEED), points)
    return any(not accuracy.units(point.got, point.exact) <= accuracy.LIMIT for point in found)


def agreed(function: Function) -> tuple[Function, list[tuple[Inputs, list[int]]]]:
    """The inputs of a quantity, with the outputs for which the textbook has the whole formula."""
    found = []
    for inputs in matrix.inputs_of(function):
        outputs = [i for i, ratio in enumerate(departures(function, inputs)) if ratio <= LIMIT]
        if outputs:
            found.append((inputs, outputs))
    return function, found


def departures(function: Function, inputs: Inputs) -> list[float]:
    """How far the textbook is from the reference for each output, in u·scale: both asked anew."""
    written = textbook(function, copied(inputs))
    if not written:
        return []
    values, scales = expected(function, copied(inputs), Profile())
    return [float(np.max(ratios(np.asarray(other, dtype=np.float64), value, scale, UNITS["float64"]), initial=0.0))
            for other, value, scale in zip(written, values, scales, strict=True)]


def departs(function: Function, examples: list[tuple[Inputs, list[int]]]) -> bool:
    """The reference of a quantity is not what the textbook's formula gives."""
    for inputs, outputs in examples:
        found = departures(function, inputs)
        if not all(found[i] <= LIMIT for i in outputs):
            return True
    return False


def broken(law: Law) -> bool:
    """The reference does not keep a law."""
    return not law.run(Subject(Reference("float64"), FUNCTIONS), Given(), 0).ratio <= 1
