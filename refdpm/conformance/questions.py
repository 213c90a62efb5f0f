"""At which t, or level, a function asks its network that is wrong and that nothing else explains: often it is another one."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from refdpm.conformance.adapter import Fault, Model, Network, Observed, Skip
from refdpm.conformance.chapters.inputs import Inputs
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.subject import Subject
from refdpm.vjp import Array

SAME = 1e-4                     # relative: of levels that were told in half a precision
MOST = 4                        # numbers that are shown


def asked_otherwise(subject: Subject, quantity: Quantity, inputs: Inputs) -> str:
    """At which t, or levels, a function asks its network, and at which it should; "" where that is the same, or not seen."""
    arguments = subject.arguments(quantity.name, inputs)
    if isinstance(inputs.get("model"), Model) and "t" in inputs:
        told = _told(arguments["model"], lambda model: subject.raw(quantity.name, arguments | {"model": model}))
        right, letter = [np.unique(arguments["t"])] * len(told), "t"
    elif isinstance(network := inputs.get("network"), Network) and network.says != "logits":
        told = _told(arguments["network"], lambda network: subject.raw(quantity.name, arguments | {"network": network}))
        right = _told(network, lambda network: quantity.theory.values(subject.chosen(quantity, inputs) | {"network": network}))
        right, letter = [_as_theirs(level, arguments["network"]) for level in right], "the level"
    else:
        return ""
    if not told or len(told) == len(right) and all(map(_are_same, told, right)):
        return ""
    return f"its network is asked at {letter} = {_listed(told)}, expected {_listed(right)}"


def _told(network: Model | Network, call: Callable[[Any], Any]) -> list[Array]:
    """What a network is told in each call, every number once."""
    observed = Observed(network)
    with suppress(Skip, Fault, ValueError):
        call(observed)
    return [np.unique(level) for _, level in observed.asked]


def _as_theirs(level: Array, network: Network) -> Array:
    """A time of a straight path as the adapter counts it."""
    return np.unique(1 - level) if network.says == "velocity" and network.data_at else level


def _are_same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=SAME, atol=SAME ** 2))


def _listed(calls: list[Array]) -> str:
    numbers = [f"{number:.4g}" for call in calls for number in call.tolist()]
    return ", ".join(numbers[:MOST]) + ", …" * (len(numbers) > MOST)
