"""Gradients: the adapter's automatic differentiation beside the adjoints derived by hand.

vjp(name, args, cotangent) of the adapter gets what the function got and one cotangent for each of its outputs (bare where there is
one), and returns a dict: the gradient of ⟨cotangent, output⟩ with respect to every argument that it can differentiate.  Both are
translated by the chain rule where the adapter's conventions are not ours.

An error is measured in u·scale, with scale the largest entry of the gradient in the same row, and what rounding in 1 − β_t and in
the other inputs does to it: |g(z + δs) − g(z)|/δ for a few random signs s, absolute for β, relative for the others; and with
Σ|cotangent · output|, which is left where the terms of a gradient cancel.  Two factors come on top: what the value itself loses,
and for tables of ᾱ that are rounded each for itself 1/(1−ᾱ_t) + 1/(1−ᾱ_{t−1}).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refdpm import schedule
from refdpm.conformance import naming, profile as profiles
from refdpm.conformance.adapter import Fault, Skip, to_array
from refdpm.conformance.chapters.inputs import Inputs, exactly
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.judge import FAILING, Effort, Result, described, examples, size
from refdpm.conformance.naming import Failure, Part
from refdpm.conformance.profile import Profile, fitted
from refdpm.conformance.subject import COARSE, LIMIT, UNITS, Subject, ratios
from refdpm.vjp import Array, unbroadcast

DELTA = 1e-7
DRAWS = 5


class Slip(NamedTuple):
    """What can go wrong with any gradient, whatever the function."""

    id: str
    says: str
    source: str
    change: Callable[[Array, Inputs], Array]


SLIPS = (
    Slip("GRD-01-CUT", "gradient cut off, 0 → what flows through (the argument was detached, or a table taken for a constant)",
         "DavidRuhe/simple-variational-diffusion-models@4907ac7", lambda g, inputs: 0 * g),
    Slip("GRD-05-N", "gradient divided by the number of rows → of the sum over them",
         "AkiRusProd/numpy-diffusion@5116f79 and others", lambda g, inputs: g / _rows(inputs)),
    Slip("GRD-07-TWO", "gradient twice as large → once", "gmongaras/Diffusion_models_from_scratch@c58823f",
         lambda g, inputs: 2 * g),
    Slip("NEW-GRAD-SIGN", "gradient with the other sign → with its own", "of −K where K is asked for", lambda g, inputs: -g),
)


def _slipped(slip: Slip, right: naming.Reference, inputs: Inputs) -> tuple[Array, ...]:
    return tuple(slip.change(value, inputs) for value in right(inputs))


def _rows(inputs: Inputs) -> int:
    return next(len(value) for value in inputs.values() if isinstance(value, np.ndarray) and value.ndim > 0)


def names(function: Quantity) -> list[str]:
    """The ids of the clauses on the gradients of a function."""
    return [f"GRAD.{function.id}.{argument.upper()}" for argument in function.arguments]


def judge(subject: Subject, function: Quantity, effort: Effort) -> list[Result]:
    """The verdict on the gradient with respect to every argument of a function."""
    found: dict[str, list[tuple[Failure, float]]] = {argument: [] for argument in function.arguments}
    dtype = "float64"
    try:
        drawn = examples(function.inputs(subject.given), effort._replace(max_examples=min(effort.max_examples, DRAWS)))
    except Skip as skip:
        return [Result(name, "skipped", reason=str(skip)) for name in names(function)]
    for number, inputs in enumerate(function.edges(subject.given) + drawn):
        try:
            chosen = with_cotangents(function, subject.chosen(function, inputs), effort.seed + number)
            right, scale = expected(function, chosen)
            if not all(np.all(np.isfinite(part)) for part in right.values()):        # no derivative there
                continue
            answers, dtype = _ask(subject, function, inputs, chosen)
        except Skip as skip:
            if any(found.values()):
                continue
            return [Result(name, "skipped", reason=str(skip)) for name in names(function)]
        except Fault as fault:
            return [Result(name, "wrong", smallest_input=inputs, reason=str(fault)) for name in names(function)]
        for argument in function.arguments:
            if argument in answers:
                parts = answers[argument], right[argument], scale[argument]
                failure = Failure(chosen, (Part(*parts[:2], UNITS[dtype] * parts[2]),))
                ratio = np.max(ratios(*parts, UNITS[dtype]), initial=0.0)
                found[argument].append((failure, float(ratio)))
    return [_verdict(function, argument, name, found[argument], dtype)
            for name, argument in zip(names(function), function.arguments)]


def _verdict(function: Quantity, argument: str, name: str, cases: list[tuple[Failure, float]], dtype: str) -> Result:
    if not cases:
        return Result(name, "skipped", reason=f"vjp gives no gradient with respect to {argument}")
    worst = max(ratio for _, ratio in cases)
    if worst <= LIMIT:
        return Result(name, "pass", worst)
    failing = [failure for failure, ratio in cases if ratio > LIMIT]
    lower = worst * UNITS[dtype] / COARSE[dtype]
    smallest = min((failure.inputs for failure in failing), key=size)
    result = Result(name, "inaccurate" if lower <= LIMIT and dtype != "float16" else "wrong", worst, smallest_input=smallest)

    def right(inputs: Inputs) -> tuple[Array, ...]:
        return gradient(function, inputs)[argument],

    slips = [((slip.id,), partial(_slipped, slip, right)) for slip in SLIPS]
    return described(result, naming.name([right], failing[:FAILING], slips))


# -- ours --------------------------------------------------------------------------------------------------------------

def with_cotangents(function: Quantity, inputs: Inputs, seed: int) -> Inputs:
    """The inputs with a normal cotangent for every output."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        drawn = tuple(exactly(rng.standard_normal(np.shape(value))) for value in function.reference(inputs))
    return inputs | {"cotangents": drawn}


def gradient(function: Quantity, inputs: Inputs) -> dict[str, Array]:
    """Our gradient with respect to every argument, for inputs["cotangents"]."""
    assert function.arguments
    with np.errstate(all="ignore"):
        return function.gradients({name: value for name, value in inputs.items() if name != "cotangents"}, inputs["cotangents"])


def expected(function: Quantity, inputs: Inputs) -> tuple[dict[str, Array], dict[str, Array]]:
    """`gradient`, and the scale by which an error of it is measured."""
    right = gradient(function, inputs)
    scale = {name: np.abs(value) for name, value in right.items()}
    rng = np.random.default_rng(0)
    for _ in range(3):
        moved = gradient(function, {name: _moved(name, value, rng) for name, value in inputs.items()})
        for name, value in right.items():
            with np.errstate(all="ignore"):
                scale[name] = np.maximum(scale[name], np.nan_to_num(np.abs(moved[name] - value) / DELTA, posinf=0))
    with np.errstate(all="ignore"):
        values = function.reference(inputs)
        least = sum(float(np.sum(np.nan_to_num(np.abs(w * y), posinf=0))) for w, y in zip(inputs["cotangents"], values))
        loss = max(_lost(part, value) for part, value in zip(function.scale(inputs), values))
    return right, {name: (_largest(value) + least) * (1 + loss) * _condition(inputs, value) for name, value in scale.items()}


def _lost(scale: Array, value: Array) -> float:
    """How much larger than the value, or than 1, Σ|terms| of the value is: its gradient loses as much."""
    return float(np.max(np.nan_to_num(scale / np.maximum(np.abs(value), 1), posinf=0), initial=0.0))


def _condition(inputs: Inputs, value: Array) -> Any:
    """1 + 1/(1−ᾱ_t) + 1/(1−ᾱ_{t−1}), for every row of a gradient that has rows, the largest for one that has not."""
    if "beta" not in inputs or not isinstance(inputs.get("t"), np.ndarray):
        return 1.0
    alpha_bar = schedule.alpha_bar(inputs["beta"])
    before = alpha_bar[np.maximum(inputs["t"] - 1, 0)]
    found = 1 + 1 / (1 - alpha_bar[inputs["t"]]) + np.where(before < 1, 1 / np.maximum(1 - before, 1e-300), 0.0)
    rows = value.ndim > 1 and len(value) == len(found) and found.ndim == 1
    return found.reshape((-1,) + (1,) * (value.ndim - 1)) if rows else np.max(found)


def _moved(name: str, value: Any, rng: np.random.Generator) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    sign = rng.choice([-1.0, 1.0], size=value.shape)
    if name == "beta":
        room = np.minimum(value, 1 - value) / 2
        return value + sign * np.minimum(DELTA, room)
    return value * (1 + DELTA * sign)


def _largest(scale: Array) -> Array:
    """The largest entry of the same row, or of the whole where there is one axis."""
    axes = tuple(range(1 if scale.ndim > 1 else 0, scale.ndim))
    return np.asarray(np.broadcast_to(np.max(scale, axis=axes, keepdims=True), scale.shape)) if scale.size else scale


# -- theirs ------------------------------------------------------------------------------------------------------------

def _ask(subject: Subject, function: Quantity, inputs: Inputs, chosen: Inputs) -> tuple[dict[str, Array], str]:
    """The adapter's gradients in our terms, and the precision they are judged at."""
    values = subject.ask(function.name, inputs)
    parts = [_their_cotangent(value, cotangent, output.kind, subject.profile, function.sizes(inputs), shape)
             for value, cotangent, output, shape in zip(values.values, chosen["cotangents"], function.outputs, values.shapes)]
    typed = [part.astype(values.dtype) for part in parts]
    arguments = subject.arguments(inputs)
    found = subject.raw("vjp", {"name": function.name, "args": arguments, "cotangent": tuple(typed) if len(typed) > 1 else typed[0]}
                        | {key: value for key, value in arguments.items() if key == "beta"})
    if not isinstance(found, dict):
        raise Fault(f"vjp returns {type(found).__name__}, expected a dict from arguments to gradients")
    ours = gradient(function, chosen)
    translated = {name: _our_gradient(name, to_array(found[name]).astype(np.float64), inputs, subject.profile)
                  for name in function.arguments if name in found}
    return {name: fitted(value, np.shape(ours[name])) for name, value in translated.items()}, values.dtype


def _their_cotangent(value: Array, cotangent: Array, kind: str, profile: Profile, sizes: int, shape: tuple[int, ...]) -> Array:
    """The cotangent of what they return, of `shape`, from the cotangent of what we make of it."""
    slope: Any = 1.0
    if kind == "variance":
        slope = {"variance": 1.0, "log_variance": value, "deviation": 2 * np.sqrt(value)}[profile.spread]
    if kind == "probability":
        slope = {"probability": 1.0, "logit": value * (1 - value), "log_probability": value}[profile.bits]
    if kind in ("information", "total", "table_of_totals") and profile.unit == "bits":
        slope = np.log(2)
    if kind in ("total", "table_of_totals") and profile.reduction == "mean":
        slope = slope * sizes
    changed = np.asarray(cotangent * slope)
    if kind in ("table", "table_of_totals") and profile.order == "descending":
        changed = changed[::-1]
    if kind == "table" and profile.tables == "from_0":
        changed = np.concatenate([[0.0], changed])
    if kind == "matrix" and profile.orientation == "columns":
        changed = np.swapaxes(changed, -1, -2)
    if kind == "image" and profile.layout == "channels_first":
        changed = np.moveaxis(changed, -1, 1)
    if len(shape) > changed.ndim:                                    # one number each for what we add up
        return np.broadcast_to(changed.reshape(changed.shape + (1,) * (len(shape) - changed.ndim)), shape)
    full = shape + (1,) * (changed.ndim - len(shape))
    return unbroadcast(changed, full).reshape(shape)


def _our_gradient(name: str, theirs: Array, inputs: Inputs, profile: Profile) -> Array:
    """The gradient with respect to our argument, from the one with respect to theirs."""
    match profiles.INPUTS.get(name):
        case "spread":
            slopes = {"variance": 1.0, "log_variance": 1 / inputs[name], "deviation": 0.5 / np.sqrt(inputs[name])}
            return np.asarray(theirs * slopes[profile.spread])
        case "bits":
            p = inputs[name]
            return np.asarray(theirs * {"probability": 1.0, "logit": 1 / (p * (1 - p)), "log_probability": 1 / p}[profile.bits])
        case "layout" if profile.layout == "channels_first":
            return np.moveaxis(theirs, 1, -1) if name == "image" else np.transpose(theirs, (2, 3, 1, 0))
    return theirs
