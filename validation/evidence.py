"""The package's own evidence as named questions: does anything object to the package as it is found?

`evidence` is the one place where they are gathered.  Whatever the right package should answer, and the arguments that it is asked
about, are worked out when the evidence is gathered, by the right package; the question itself is True when something is wrong.
Which function is reached by what is found out by running them (`mutants.traced`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refdpm import gradcheck
from refdpm.conformance import accuracy, cases, checks, matrix
from refdpm.conformance.arguments import copied
from refdpm.conformance.chapters import LAWS, QUANTITIES
from refdpm.conformance.chapters.inputs import Given, Inputs
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import LIMIT, UNITS, Subject, ratios
from refdpm.textbook.digits import digits
from refdpm.textbook.page import to_float
from refdpm.textbook.rounding import Rounded

KINDS = ("adjoint", "checks", "values", "clauses")             # cheapest first
EXAMPLES = 15                                                   # cases of a pair, as in the audit

Pairs = dict[str, tuple[gradcheck.Pair, list[cases.Case]]]
Asked = tuple[Inputs, list[Rounded]]


class Evidence(NamedTuple):
    """A named question to the package; `objects` says that the answer is wrong."""

    kind: str
    name: str
    objects: Callable[[], bool]


def drawn_cases() -> Pairs:
    """Every pair with its cases, drawn once."""
    return {pair.name: (pair, cases.examples(pair.name, count=EXAMPLES)) for pair in gradcheck.pairs(cases.PAIR_MODULES)}


def evidence(pairs: Pairs) -> list[Evidence]:
    """All the evidence there is."""
    return [*(Evidence("adjoint", name, partial(breaks_the_contract, *pair)) for name, pair in pairs.items()),
            *(Evidence("checks", check.name, partial(fails, check)) for check in checks.CHECKS),
            *(Evidence("values", name, partial(inaccurate, name, in_digits(name))) for name in accuracy.BOOK),
            *(Evidence("clauses", quantity.id, partial(departs, quantity, in_floats(quantity))) for quantity in QUANTITIES),
            *(Evidence("clauses", law.id, partial(broken, law)) for law in LAWS)]


# -- gradients and the contract ------------------------------------------------------------------------------------------

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


# -- the textbook in digits ----------------------------------------------------------------------------------------------

def in_digits(name: str) -> list[tuple[cases.Case, list[accuracy.Exact]]]:
    """The cases of a function, with what its value and, of a pair, its pullback is in digits."""
    ways = (accuracy.exact_values, accuracy.exact_pullbacks) if name in cases.CASES else (accuracy.exact_values,)
    return [(case, [way(name, *case) for way in ways]) for case in accuracy.cases_of(name)]


def inaccurate(name: str, examples: list[tuple[cases.Case, list[accuracy.Exact]]]) -> bool:
    """A number that is off by more than the limit; the first one ends the search."""
    return any(not found.units <= accuracy.LIMIT for case, exact in examples
               for way, right in zip((accuracy.values, accuracy.pullbacks), exact)
               for found in way(name, *case, exact=right))


# -- the clauses ---------------------------------------------------------------------------------------------------------

def in_floats(quantity: Quantity) -> list[Asked]:
    """The inputs of a quantity, with the value and the scale of each output by the textbook: in float64, which is fast, or in
    digits where a printed formula loses in float64 what the package does not."""
    found = [(inputs, quantity.followed(copied(inputs))) for inputs in matrix.inputs_of(quantity)]
    return [(inputs, in_digits_of(quantity, inputs, books) if departs(quantity, [(inputs, books)]) else books)
            for inputs, books in found]


def in_digits_of(quantity: Quantity, inputs: Inputs, books: list[Rounded]) -> list[Rounded]:
    """The same with exact values."""
    exact = digits(quantity.formulas(inputs), quantity.page(inputs)).values
    return [book._replace(value=np.asarray(to_float(value), dtype=np.float64)) for book, value in zip(books, exact)]


def departs(quantity: Quantity, examples: list[Asked]) -> bool:
    """The reference of a quantity is not what the textbook's formula gives, where that is a number."""
    for inputs, books in examples:
        for value, book in zip(quantity.reference(copied(inputs)), books, strict=True):
            far = ratios(np.asarray(value, dtype=np.float64), book.value, book.scale, UNITS["float64"])
            if not np.all((far <= LIMIT) | np.isnan(book.value)):
                return True
    return False


def broken(law: Law) -> bool:
    """The reference does not keep a law."""
    return not law.run(Subject(Reference("float64"), QUANTITIES), Given(), 0).ratio <= 1
