"""What speaks for a function: its equations, its formula in the textbook, the clauses that judge it, and what was measured.

Everything is asked of the parts of the package that know it; `audit` measures the same more thoroughly.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import product
from types import FrameType
from typing import Any, NamedTuple
import sys

import numpy as np

from refdpm.conformance import accuracy, audit
from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.inputs import Given, Inputs
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.in_textbook import book, function, in_textbook
from refdpm.conformance.profile import VALUES
from refdpm.conformance.session import all_clauses
from refdpm.run import named_leaves
from refdpm.textbook.expression import E
from refdpm.textbook.written import in_lines, mathml
from refdpm.traceability import Row, matrix

NO_THEORY = ("refdpm.conformance", "refdpm.textbook", "refdpm.doors", "refdpm.vjp")


class Evidence(NamedTuple):
    """Equations by number; clauses by id; and by the names of functions below refdpm: formulas in MathML, the ids of clauses,
    the worst adjoint gap, and the worst error of a value in units of u·scale."""

    equations: dict[str, Row]
    clauses: dict[str, Quantity | Law]
    formulas: dict[str, list[str]]
    judged: dict[str, list[str]]
    gaps: dict[str, float]
    units: dict[str, float]


def gathered(tell: Callable[[str], None]) -> Evidence:
    """Everything; it takes about a quarter of a minute."""
    equations = {row["number"]: row for row in matrix()}
    clauses = dict(all_clauses())
    tell("formulas and clauses …")
    formulas: dict[str, list[str]] = defaultdict(list)
    for quantity in QUANTITIES:
        name = _name_of(getattr(quantity.theory, "f", None))
        formulas[name] += _of_quantity(name, quantity)
    formulas |= {name: list(_of_function(name)) for name in book() if name not in formulas}
    judged = defaultdict(list)
    for id, of in clauses.items():
        for name in _judged_by(of):
            judged[f"{name}_vjp" if id.startswith("GRAD.") else name].append(id)
    tell("a case of every gradient …")
    gaps: dict[str, float] = defaultdict(float)
    for gap in audit.gradients(count=1)[0]:
        gaps[gap["name"]] = max(gaps[gap["name"]], gap["gap"])
    tell("values to the last digit …")
    units: dict[str, float] = defaultdict(float)
    with np.errstate(all="ignore"):
        for value in accuracy.accuracy(slopes=False):
            name = value.name.partition(" ")[0]
            units[name] = max(units[name], value.units)
    return Evidence(equations, clauses, formulas, judged, gaps, units)


# -- formulas ------------------------------------------------------------------------------------------------------------

def _of_quantity(name: str, of: Quantity) -> Iterator[str]:
    """The formula of each output, as a user of the kit would print it."""
    for output, formula in zip(of.outputs, of.formulas(_first_inputs(of)), strict=True):
        yield from _printed(name, "" if output.id == "VALUE" else output.id.lower(), formula)


def _of_function(name: str) -> Iterator[str]:
    """The formula of each part of a function's value, in its own arguments."""
    case = next(accuracy.cases_of(name), None)
    if case:
        with np.errstate(all="ignore"):
            formulas, value = in_textbook(name, *case).formulas, function(name)(*case[0], **case[1])
        for (leaf, _), formula in zip(named_leaves(value), formulas, strict=True):
            yield from _printed(name, leaf, formula)


def _printed(of: str, part: str, formula: E) -> Iterator[str]:
    """A part of a function's value as an equation, or as some, if it is long."""
    yield from (mathml(line, name or part or of.rpartition(".")[2]) for name, line in in_lines(formula))


def _first_inputs(of: Quantity) -> Inputs:
    """Those to which there is an answer: not every choice of conventions has one."""
    edge = of.edges(Given())[0]
    chosen = (dict(zip(of.choices, values)) | edge for values in product(*(VALUES[choice] for choice in of.choices)))
    return next(inputs for inputs in chosen if _has_answer(of, inputs))


def _has_answer(of: Quantity, inputs: Inputs) -> bool:
    try:
        with np.errstate(all="ignore"):
            of.reference(inputs)
    except (Skip, LookupError, ValueError):
        return False
    return True


# -- which functions a clause judges -------------------------------------------------------------------------------------

def _judged_by(of: Quantity | Law) -> list[str]:
    """The functions of the package whose answer a clause compares with: the one that its theory names, or those that its reference
    calls; of a law, those that it watches."""
    if isinstance(of, Law):
        return [name for name in of.watches if "." in name]
    named = _name_of(getattr(of.theory, "f", None))
    return [named] if named else _called(of)


def _called(of: Quantity) -> list[str]:
    """The functions of the theory that the kit itself calls to get the reference's answer."""
    seen: dict[str, None] = {}

    def note(frame: FrameType, event: str, argument: Any) -> None:
        caller = frame.f_back
        while caller and caller.f_globals.get("__name__") == "refdpm.doors":
            caller = caller.f_back
        if event == "call" and caller and str(caller.f_globals.get("__name__")).startswith("refdpm.conformance"):
            name = _name_of(frame)
            if name:
                seen[name.removesuffix("_vjp")] = None

    inputs, before = _first_inputs(of), sys.getprofile()
    sys.setprofile(note)
    try:
        with np.errstate(all="ignore"):
            of.reference(inputs)
    finally:
        sys.setprofile(before)
    return list(seen)


def _name_of(called: Any) -> str:
    """ "gaussian.posterior" for that function, or for a frame of it; empty for what is no public function of the theory."""
    if isinstance(called, FrameType):
        module, name = str(called.f_globals.get("__name__")), called.f_code.co_name
    else:
        module, name = str(getattr(called, "__module__", "")), getattr(called, "__name__", "")
    outside = not module.startswith("refdpm.") or module.startswith(NO_THEORY)
    return "" if outside or name.startswith(("_", "<")) else f"{module.removeprefix('refdpm.')}.{name}"
