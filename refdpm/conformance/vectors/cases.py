"""Which tests there are of a function: those that show its mistakes, and its edges as far as there is room; one has gradients."""

from contextlib import suppress
from copy import deepcopy
from typing import Any, NamedTuple
import json
import warnings
import zlib

import numpy as np

from refdpm.conformance import naming
from refdpm.conformance import profile as profiles
from refdpm.conformance.adapter import NETWORKS, Skip
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.inputs import Given, Inputs
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.gradients import gradients_and_scales
from refdpm.conformance.chapters.inputs import exactly
from refdpm.conformance.mistakes import MISTAKES, planted
from refdpm.conformance.profile import Profile
from refdpm.conformance.subject import LIMIT, UNITS, values_and_scales, ratios
from refdpm.conformance.vectors.text import inputs_of, inputs_text, json_text, text, three_digits
from refdpm.vjp import Array

ALL, EACH = 860_000, 12_000       # characters: of all tests together, and of one function's
OUTPUT = 30                     # characters of a value and its tolerance, whatever their digits: so every machine chooses the same
EDGES = 12                      # of a function that are looked at


class Case(NamedTuple):
    """One test: its inputs, and for each output the answer, its scale, and the mistakes that change it."""

    inputs: Inputs
    values: tuple[Array, ...]
    scales: tuple[Array, ...]
    flags: tuple[frozenset[str], ...] = ()
    gradients: "Gradients | None" = None


class Gradients(NamedTuple):
    """A cotangent for each output, the gradients of ⟨cotangent, output⟩ by argument, and their scales."""

    cotangents: tuple[Array, ...]
    values: dict[str, Array]
    scales: dict[str, Array]


def cases_of(quantity: Quantity) -> list[Case]:
    """The tests of a function.   Raises: ValueError if an input cannot be written down exactly."""
    return with_gradients(quantity, smallest_selection(with_flags(quantity, candidates(quantity))))


def candidates(quantity: Quantity) -> list[Case]:
    """The first edges, a small one of them once more with drawn numbers, and with each convention that changes its meaning."""
    edges = [_exact_inputs(quantity, inputs) for inputs in quantity.edges(Given())[:EDGES]]
    several = [inputs for inputs in edges if np.size(np.unique(inputs.get("t", (0, 1)))) > 1] or edges
    small = min(several, key=lambda inputs: len(json.dumps(inputs_text(inputs))))
    usual = {name: profiles.VALUES[name][0] for name in quantity.choices}
    others = [usual | {name: value} for name in quantity.choices for value in profiles.VALUES[name][1:]]
    found = []
    for inputs in edges:
        with suppress(Skip):
            found.append(_case_of(quantity, inputs | usual))
    for inputs in [_with_drawn_numbers(small, quantity.id) | usual, *(small | choice for choice in others)]:
        with suppress(Skip, ValueError, ArithmeticError, LookupError, NotImplementedError):    # what it was not made for
            case = _case_of(quantity, inputs)
            found += [] if any(np.isnan(value).any() for value in case.values) else [case]
    return list({json.dumps(inputs_text(case.inputs)): case for case in found}.values())


def _case_of(quantity: Quantity, inputs: Inputs) -> Case:
    values, scales = values_and_scales(quantity, deepcopy(inputs), Profile())
    return Case(inputs, tuple(value + 0.0 for value in values), scales)                  # −0 is 0


def _exact_inputs(quantity: Quantity, inputs: Inputs) -> Inputs:
    """The inputs in numbers that float32 holds.   Raises: ValueError if JSON cannot hold them."""
    found = {name: _in_float32(value) for name, value in inputs.items()}
    again = inputs_of(json.loads(json.dumps(inputs_text(found))))
    for name, value in found.items():
        for one, other in zip(*((part if isinstance(part, NETWORKS) else (part,)) for part in (value, again[name]))):
            if not np.array_equal(one, other) or np.asarray(one).dtype != np.asarray(other).dtype:
                raise ValueError(f"{quantity.id}: {name}: expected what JSON can hold, got {type(one).__name__}")
    return found


def _in_float32(value: Any) -> Any:
    if isinstance(value, NETWORKS):
        return type(value)(*map(_in_float32, value))
    if isinstance(value, float):
        return float(exactly(value))
    return exactly(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


_REAL = ("x_t", "x_prev", "noise", "mean", "mean_q", "mean_p")
_POSITIVE = ("var", "var_q", "var_p")


def _with_drawn_numbers(inputs: Inputs, seed: str) -> Inputs:
    """The inputs with other states, variances and rates.  NumPy has promised that RandomState's stream will never change."""
    random = np.random.RandomState(zlib.crc32(seed.encode()))

    def draw(name: str, value: Any) -> Any:
        if name == "beta":
            return np.append(0.0, exactly(random.uniform(0.01, 0.75, len(value) - 1)))
        if name in _POSITIVE:
            return exactly(random.uniform(0.125, 4, np.shape(value)))
        is_real = name in _REAL and not np.array_equal(value, np.round(value))
        return exactly(random.uniform(-3, 3, np.shape(value))) if is_real else value

    return {name: draw(name, value) for name, value in inputs.items()}


def with_flags(quantity: Quantity, cases: list[Case]) -> list[Case]:
    """The cases with the mistakes that an implementation in single precision could not make unnoticed."""
    flags: list[list[set[str]]] = [[set() for _ in case.values] for case in cases]
    touched = {mistake.id for case in cases for mistake in naming.touched(
        lambda inputs: quantity.reference(inputs)[0], deepcopy(case.inputs))}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for mistake in MISTAKES:
            if mistake.id in touched:
                with planted(mistake):
                    for case, found in zip(cases, flags):
                        for at in _changed_outputs(quantity, case):
                            found[at].add(mistake.id)
    return [case._replace(flags=tuple(map(frozenset, found))) for case, found in zip(cases, flags)]


def _changed_outputs(quantity: Quantity, case: Case) -> list[int]:
    """The outputs that the reference now gives otherwise; none if it stops, or gives another shape."""
    try:
        values = [np.broadcast_to(value, right.shape)
                  for value, right in zip(quantity.reference(deepcopy(case.inputs)), case.values, strict=True)]
    except Exception:
        return []
    return [at for at, (value, right, scale) in enumerate(zip(values, case.values, case.scales))
            if np.any(ratios(value, right, scale, UNITS["float32"]) > LIMIT)]


def smallest_selection(cases: list[Case]) -> list[Case]:
    """The smallest cases that together show every mistake which any of them shows, and as many more as there is room for."""
    shown = [{(at, flag) for at, flags in enumerate(case.flags) for flag in flags} for case in cases]
    sizes = [len(json_text(inputs_text(case.inputs))) + OUTPUT * sum(value.size for value in case.values) for case in cases]
    taken: set[int] = set()
    for at in sorted(range(len(cases)), key=sizes.__getitem__):
        if not taken or shown[at] - set().union(*(shown[other] for other in taken)):
            taken.add(at)
    for at, size in enumerate(sizes):
        if size + sum(sizes[other] for other in taken - {at}) <= min(EACH, ALL // len(QUANTITIES)):
            taken.add(at)
    return [cases[at] for at in sorted(taken)]


def with_gradients(quantity: Quantity, cases: list[Case]) -> list[Case]:
    """The cases, of which that one has the gradients where most of their entries are not 0; if there are several, the first."""
    if not quantity.arguments:
        return cases
    random = np.random.RandomState(zlib.crc32(quantity.id.encode()))
    found = [gradients_of(quantity, case.inputs, tuple(exactly(random.standard_normal(value.shape)) for value in case.values))
             for case in cases]
    most = max(range(len(cases)), key=lambda at: _share_that_tells(found[at]))
    return [case._replace(gradients=found[at]) if at == most else case for at, case in enumerate(cases)]


def gradients_of(quantity: Quantity, inputs: Inputs, cotangents: tuple[Array, ...]) -> Gradients:
    """The gradients for these cotangents."""
    with np.errstate(all="ignore"):
        values, scales = gradients_and_scales(quantity, deepcopy(inputs) | {"cotangents": cotangents})
    return Gradients(cotangents, {name: value + 0.0 for name, value in values.items()}, scales)


def _share_that_tells(found: Gradients) -> float:
    entries = np.concatenate([value.ravel() for value in found.values.values()])
    return float(np.mean(entries != 0)) if np.isfinite(entries).all() else -1.0


def case_text(quantity: Quantity, case: Case) -> dict[str, Any]:
    """What JSON holds of a case."""
    ids = [output.id.lower() for output in quantity.outputs]
    content = {"inputs": inputs_text(case.inputs),
               "outputs": {id: text(value) for id, value in zip(ids, case.values)},
               "tolerance": {id: text(three_digits(scale)) for id, scale in zip(ids, case.scales)},
               "flags": {id: sorted(flags) for id, flags in zip(ids, case.flags)}}
    if case.gradients is not None:
        cotangents, values, scales = case.gradients
        content["gradients"] = {"cotangent": {id: text(value) for id, value in zip(ids, cotangents)},
                                "values": {name: text(value) for name, value in values.items()},
                                "tolerance": {name: text(three_digits(scale)) for name, scale in scales.items()}}
    return content
