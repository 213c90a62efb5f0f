"""Clauses on how functions behave, whatever they compute: inputs are left alone, the same call gives the same, rows do not mix.

They run over every function that the adapter offers, at a few of its edges; a call that fails is judged where its value is.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from refdpm.conformance.adapter import Fault, Skip
from refdpm.conformance.chapters.inputs import Given, Inputs
from refdpm.conformance.chapters.quantity import Finding, Law, Quantity
from refdpm.conformance.precision import LIMIT, UNITS
from refdpm.vjp import Array

EDGES = 2

Look = Callable[[Any, Quantity, list[Inputs]], Finding]


def _over_all(look: Look) -> Callable[[Any, Given, int], Finding]:
    """The worst that `look` finds of any function.   Raises: Skip if there is none."""
    def run(subject: Any, given: Given, seed: int) -> Finding:
        found = []
        for function in subject.functions.values():
            try:
                found.append(look(subject, function, subject.edges(function)[:EDGES]))
            except (Skip, Fault):
                continue
        if not found:
            raise Skip("no function can be looked at")
        return max(found, key=lambda finding: finding.ratio)
    return run


# -- inputs, and repetition ----------------------------------------------------------------------------------------------

def _inputs_unchanged(subject: Any, function: Quantity, edges: list[Inputs]) -> Finding:
    for inputs in edges:
        arguments = subject.arguments(function.name, inputs)
        before = {name: [part.copy() for part in _leaves(value)] for name, value in arguments.items()}
        subject.raw(function.name, arguments)
        for name, value in arguments.items():
            if not _same(before[name], list(_leaves(value))):
                return Finding(np.inf, f"{function.name} changes its input {name}", inputs)
        for note in getattr(subject.source, "notes", {}).get(function.name, ()):         # of arrays in a framework of its own
            if note.startswith("changes its input"):
                return Finding(np.inf, f"{function.name} {note}", inputs)
    return Finding(0.0)


def _rolled(inputs: Inputs) -> Inputs:
    """States and weights with their columns moved on by one."""
    return {name: np.roll(value, 1, axis=-1) if isinstance(value, np.ndarray) and value.ndim > 1 else value
            for name, value in inputs.items()}


RANDOM = "draws random numbers of its own"


def _same_again(subject: Any, function: Quantity, edges: list[Inputs]) -> Finding:
    """The first edge, the same in half precision, the same shapes with other contents, the other edges, and the first again."""
    if not edges:
        raise Skip("its schedule has too few steps")

    answer = partial(_answer, subject, function)
    first = answer(edges[0])
    with suppress(Skip, Fault):                                      # whatever comes of it
        subject.raw(function.name, _in_half(subject.arguments(function.name, edges[0])))
    *_, again = map(answer, (_rolled(edges[0]), *edges[1:], edges[0]))
    if _same(first, again):
        return Finding(0.0)
    says = f"{function.name} answers the same call differently the second time"
    if not _same(answer(edges[0]), answer(edges[0])):
        says += f": it {RANDOM}" + ", and not only the noise that is given" * ("noise" in edges[0])
    return Finding(np.inf, says, edges[0])


def _answer(subject: Any, function: Quantity, inputs: Inputs) -> list[Array]:
    """What a call gives; never from memory."""
    return list(_leaves(subject.raw(function.name, subject.arguments(function.name, inputs))))


def _in_half(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same call in another precision, of which nothing should be left in the next one."""
    floats = {name for name, value in arguments.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"} - {"beta"}
    return {name: value.astype(np.float16) if name in floats else value for name, value in arguments.items()}


def _leaves(value: Any) -> Iterator[Array]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)


def _same(x: list[Array], y: list[Array]) -> bool:
    return len(x) == len(y) and all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(x, y))


# -- rows ----------------------------------------------------------------------------------------------------------------

def _rows_apart(subject: Any, function: Quantity, edges: list[Inputs]) -> Finding:
    """Rows in another order, and rows alone, of those functions for which the reference has that property."""
    if edges and not _same(list(_leaves(subject.remembered(function, edges[0]))), _answer(subject, function, edges[0])):
        raise Skip(f"{function.name} answers the same call differently the second time, so that no rows can be compared")
    found = [Finding(0.0)]
    for inputs in edges:
        count = _rows(inputs)
        if count < 2:
            continue
        chosen = subject.chosen(function, inputs)
        right = _reference(function, chosen)
        answer = subject.ask(function.name, inputs)
        order = np.roll(np.arange(count)[::-1], 1)
        for rows, says in [(order, "in another order"), *((np.array([row]), "alone") for row in {0, count // 2, count - 1})]:
            if not _close(_reference(function, _taken(chosen, rows, count)), _chosen_rows(right, rows, count)):
                continue
            other = subject.ask(function.name, _taken(inputs, rows, count))
            ratio = _ratio(other.values, _chosen_rows(answer.values, rows, count),
                           _chosen_rows(function.scale(chosen), rows, count), UNITS[answer.dtype])
            found.append(Finding(ratio, f"{function.name} answers otherwise for rows {says}" if ratio > 1 else "", inputs))
    return max(found, key=lambda finding: finding.ratio)


def _rows(inputs: Inputs) -> int:
    t = inputs.get("t")
    states = [value for name, value in inputs.items() if isinstance(value, np.ndarray) and value.ndim > 1 and name != "beta"]
    return len(t) if isinstance(t, np.ndarray) and t.ndim == 1 else len(states[0]) if states else 0


def _taken(inputs: Inputs, rows: Array, count: int) -> Inputs:
    """Those rows of all inputs that have as many."""
    return {name: value[rows] if isinstance(value, np.ndarray) and name != "beta" and value.ndim and len(value) == count else value
            for name, value in inputs.items()}


def _chosen_rows(values: tuple[Array, ...], rows: Array, count: int) -> tuple[Array, ...] | None:
    if not all(np.ndim(value) and len(value) == count for value in values):
        return None
    return tuple(value[rows] for value in values)


def _reference(function: Quantity, inputs: Inputs) -> tuple[Array, ...]:
    """Raises: Skip where it has no answer."""
    try:
        with np.errstate(all="ignore"):
            return function.reference(inputs)
    except (ValueError, IndexError, KeyError) as error:
        raise Skip(f"the reference has no rows: {error}") from None


def _close(x: tuple[Array, ...], y: tuple[Array, ...] | None) -> bool:
    return y is not None and all(np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True)
                                 for a, b in zip(x, y))


def _ratio(x: tuple[Array, ...], y: tuple[Array, ...] | None, scale: tuple[Array, ...] | None, unit: float) -> float:
    worst = 0.0
    for a, b, s in zip(x, y or (), scale or ()):
        with np.errstate(all="ignore"):
            error = np.abs(a - b) / (LIMIT * unit * np.maximum(np.maximum(s, np.abs(b)), np.finfo(np.float64).tiny))
        error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.where(np.isnan(error), np.inf, error))
        worst = max(worst, float(np.max(error, initial=0.0)))
    return worst


LAWS: tuple[Law, ...] = (
    Law("PURE.INPUTS", "the arrays that a function is given are the same bits afterwards", (), (), _over_all(_inputs_unchanged),
        ("SHP-07",)),
    Law("PURE.SAME", "the same call gives the same bits, whatever was called in between", (), (), _over_all(_same_again),
        ("LAY-23b",)),
    Law("PURE.ROWS", "every row of a batch with mixed t is what it is alone, and rows in another order give answers in that order",
        (), (), _over_all(_rows_apart), ("SHP-02",)),
)
