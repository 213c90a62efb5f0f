"""Gradients: the adapter's automatic differentiation beside the adjoints derived by hand.

vjp(name, args, cotangent) of the adapter gets what the function got and one cotangent for each of its outputs (bare where there is
one), and returns a dict: the gradient of ⟨cotangent, output⟩ with respect to every argument that it can differentiate.  Both are
translated by the chain rule where the adapter's conventions are not ours.

An error is measured in u·scale, with scale the largest entry of the gradient in the same row, and what rounding in 1 − β_t and in
the other inputs does to it: |g(z + δs) − g(z)|/δ for a few random signs s, absolute for β, relative for the others.  What a chain's
gradient owes to tables of ᾱ that are rounded each for itself comes on top, a factor 1/(1−ᾱ_t) + 1/(1−ᾱ_{t−1}).
"""

from typing import Any

import numpy as np

from refdpm import schedule
from refdpm.conformance import naming, profile as profiles
from refdpm.conformance.adapter import Fault, Skip, to_array
from refdpm.conformance.clauses.common import Function, Inputs, exactly
from refdpm.conformance.judge import Effort, Result, described, examples, size
from refdpm.conformance.naming import Failure
from refdpm.conformance.profile import Profile, fitted
from refdpm.conformance.subject import COARSER, LIMIT, UNITS, Subject, ratios
from refdpm.vjp import Array, unbroadcast

DELTA = 1e-7
DRAWS = 5

Cotangents = tuple[Array, ...]


def names(function: Function) -> list[str]:
    """The ids of the clauses on the gradients of a function."""
    return [f"GRAD.{function.id}.{argument.upper()}" for argument in function.arguments]


def judge(subject: Subject, function: Function, effort: Effort) -> list[Result]:
    """The verdict on the gradient with respect to every argument of a function."""
    found: dict[str, list[tuple[Failure, float]]] = {argument: [] for argument in function.arguments}
    dtype = "float64"
    drawn = examples(function.inputs(subject.given), effort._replace(max_examples=min(effort.max_examples, DRAWS)))
    for number, inputs in enumerate(function.edges(subject.given) + drawn):
        try:
            chosen = subject.chosen(function, inputs)
            cotangents = _cotangents(function, chosen, effort.seed + number)
            answers, dtype = _ask(subject, function, inputs, cotangents)
        except Skip as skip:
            return [Result(name, "skipped", reason=str(skip)) for name in names(function)]
        except Fault as fault:
            return [Result(name, "wrong", smallest_input=inputs, reason=str(fault)) for name in names(function)]
        right, scale = _expected(function, chosen, cotangents)
        for argument in function.arguments:
            if argument in answers:
                parts = answers[argument], right[argument], scale[argument]
                failure = Failure(chosen | {"cotangents": cotangents}, *parts[:2], UNITS[dtype] * parts[2])
                ratio = np.max(ratios(*parts, UNITS[dtype]), initial=0.0)
                found[argument].append((failure, float(ratio)))
    return [_verdict(function, argument, name, found[argument], dtype)
            for name, argument in zip(names(function), function.arguments)]


def _verdict(function: Function, argument: str, name: str, cases: list[tuple[Failure, float]], dtype: str) -> Result:
    if not cases:
        return Result(name, "skipped", reason=f"vjp gives no gradient with respect to {argument}")
    worst = max(ratio for _, ratio in cases)
    if worst <= LIMIT:
        return Result(name, "pass", worst)
    failing = [failure for failure, ratio in cases if ratio > LIMIT]
    lower = worst * UNITS[dtype] / UNITS[COARSER[dtype]]
    smallest = min((failure.inputs for failure in failing), key=size)
    result = Result(name, "inaccurate" if lower <= LIMIT and dtype != "float16" else "wrong", worst, smallest_input=smallest)
    return described(result, naming.name(lambda inputs: _gradient(function, inputs, inputs["cotangents"])[argument], failing))


# -- ours --------------------------------------------------------------------------------------------------------------

def _cotangents(function: Function, inputs: Inputs, seed: int) -> Cotangents:
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        return tuple(exactly(rng.standard_normal(np.shape(value))) for value in function.reference(inputs))


def _gradient(function: Function, inputs: Inputs, cotangents: Cotangents) -> dict[str, Array]:
    assert function.vjp is not None
    with np.errstate(all="ignore"):
        return function.vjp({name: value for name, value in inputs.items() if name != "cotangents"}, cotangents)


def _expected(function: Function, inputs: Inputs, cotangents: Cotangents) -> tuple[dict[str, Array], dict[str, Array]]:
    right = _gradient(function, inputs, cotangents)
    scale = {name: np.abs(value) for name, value in right.items()}
    rng = np.random.default_rng(0)
    for _ in range(3):
        moved = _gradient(function, {name: _moved(name, value, rng) for name, value in inputs.items()}, cotangents)
        for name, value in right.items():
            with np.errstate(all="ignore"):
                scale[name] = np.maximum(scale[name], np.nan_to_num(np.abs(moved[name] - value) / DELTA, posinf=0))
    return right, {name: _largest(value) * _condition(inputs, value) for name, value in scale.items()}


def _condition(inputs: Inputs, gradient: Array) -> Any:
    """1 + 1/(1−ᾱ_t) + 1/(1−ᾱ_{t−1}), for every row of a gradient that has rows, the largest for one that has not."""
    if "beta" not in inputs or not isinstance(inputs.get("t"), np.ndarray):
        return 1.0
    alpha_bar = schedule.alpha_bar(inputs["beta"])
    before = alpha_bar[np.maximum(inputs["t"] - 1, 0)]
    found = 1 + 1 / (1 - alpha_bar[inputs["t"]]) + np.where(before < 1, 1 / np.maximum(1 - before, 1e-300), 0.0)
    rows = gradient.ndim > 1 and len(gradient) == len(found) and found.ndim == 1
    return found.reshape((-1,) + (1,) * (gradient.ndim - 1)) if rows else np.max(found)


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

def _ask(subject: Subject, function: Function, inputs: Inputs, cotangents: Cotangents) -> tuple[dict[str, Array], str]:
    """The adapter's gradients in our terms, and the precision they are judged at."""
    values = subject.ask(function.name, inputs)
    parts = [_their_cotangent(value, cotangent, output.kind, subject.profile, function.sizes(inputs), shape)
             for value, cotangent, output, shape in zip(values.values, cotangents, function.outputs, values.shapes)]
    typed = [part.astype(values.dtype) for part in parts]
    arguments = subject.arguments(inputs)
    found = subject.raw("vjp", {"name": function.name, "args": arguments, "cotangent": tuple(typed) if len(typed) > 1 else typed[0]}
                        | {key: value for key, value in arguments.items() if key == "beta"})
    if not isinstance(found, dict):
        raise Fault(f"vjp returns {type(found).__name__}, expected a dict from arguments to gradients")
    ours = _gradient(function, subject.chosen(function, inputs), cotangents)
    translated = {name: _our_gradient(name, to_array(found[name]).astype(np.float64), inputs, subject.profile)
                  for name in function.arguments if name in found}
    return {name: fitted(gradient, np.shape(ours[name])) for name, gradient in translated.items()}, values.dtype


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


def _our_gradient(name: str, gradient: Array, inputs: Inputs, profile: Profile) -> Array:
    """The gradient with respect to our argument, from the one with respect to theirs."""
    match profiles.INPUTS.get(name):
        case "spread":
            slopes = {"variance": 1.0, "log_variance": 1 / inputs[name], "deviation": 0.5 / np.sqrt(inputs[name])}
            return np.asarray(gradient * slopes[profile.spread])
        case "bits":
            p = inputs[name]
            return np.asarray(gradient * {"probability": 1.0, "logit": 1 / (p * (1 - p)), "log_probability": 1 / p}[profile.bits])
        case "layout" if profile.layout == "channels_first":
            return np.moveaxis(gradient, 1, -1) if name == "image" else np.transpose(gradient, (2, 3, 1, 0))
    return gradient
