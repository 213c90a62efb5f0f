"""Arguments of a call by name: what tells two of them apart, and copies."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from refdpm.vjp import tree_map

FEW = 256                       # bytes of an array that are compared themselves

Arguments = Mapping[str, Any]


def fingerprint(arguments: Arguments) -> Any:
    """The same for the same arguments, to the last bit of their numbers; something that a dict can have as a key."""
    return tuple((name, _fingerprint_of(value)) for name, value in arguments.items())


def _fingerprint_of(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        numbers = value.tobytes()
        return value.shape, value.dtype.char, numbers if len(numbers) <= FEW else blake2b(numbers, digest_size=16).digest()
    return tuple(map(_fingerprint_of, value)) if isinstance(value, tuple) else value


def copied(arguments: Arguments) -> dict[str, Any]:
    """Arguments that may be changed in place, as a planted mistake and an adapter may do."""
    return {name: tree_map(_copied, value) for name, value in arguments.items()}


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
