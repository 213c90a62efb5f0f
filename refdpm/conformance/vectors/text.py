"""Arrays as JSON text, and back without loss."""

from typing import Any
import json
import math

import numpy as np

from refdpm.conformance.adapter import Model, Network
from refdpm.conformance.chapters.inputs import Inputs
from refdpm.conformance.judge import plain
from refdpm.vjp import Array

_NOT_FINITE = ("Infinity", "-Infinity", "NaN")


def inputs_text(inputs: Inputs) -> dict[str, Any]:
    """What JSON holds of a test's inputs."""
    return {name: text(value[1:] if name == "beta" else value) for name, value in inputs.items()}


def text(value: Any) -> Any:
    """What JSON holds of an array: nested lists, and words for what is not finite."""
    return _words(plain(value))


def _words(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _words(part) for name, part in value.items()}
    return [_words(part) for part in value] if isinstance(value, list) else value


def three_digits(value: Array) -> Array:
    """The numbers that three digits write."""
    return np.array([float(f"{x:.3g}") for x in value.flat]).reshape(value.shape)


def inputs_of(stored: dict[str, Any]) -> Inputs:
    """The inputs that JSON holds."""
    return {name: _input_of(name, value) for name, value in stored.items()}


def _input_of(name: str, value: Any) -> Any:
    if name == "beta":
        return np.append(0.0, array_of(value))
    if isinstance(value, dict) and "says" in value:
        return Network(value["says"], array_of(value["centre"]), array_of(value["spread"]), value["data_at"])
    if isinstance(value, dict):
        return Model(array_of(value["weight"]), array_of(value["bias"]), value["first_t"])
    return array_of(value) if isinstance(value, list) else float(value) if value in _NOT_FINITE else value


def array_of(value: Any) -> Array:
    """The array that nested lists hold."""
    def numbers(part: Any) -> Any:
        return [numbers(one) for one in part] if isinstance(part, list) else float(part) if part in _NOT_FINITE else part
    return np.array(numbers(value))


def json_text(value: Any) -> str:
    """JSON text: arrays of numbers on one line each, and whatever else is short enough."""
    return _json_lines(value, "") + "\n"


def _json_lines(value: Any, indent: str) -> str:
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    is_array = isinstance(value, list) and not any(isinstance(part, (dict, str)) for part in value)
    if len(flat) + len(indent) <= 120 or is_array or not isinstance(value, (dict, list)):
        return flat
    deeper = indent + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(name, ensure_ascii=False)}: {_json_lines(part, deeper)}" for name, part in value.items()]
    else:
        parts = [_json_lines(part, deeper) for part in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{deeper}" + f",\n{deeper}".join(parts) + f"\n{indent}{last}"
