"""Draws: inputs made from a random generator, so that a seed and a quantity say all about them.

A property-based tester draws what shows most in a test-suite; its draws depend on its version and on constants in the user's files.
Whoever judges somebody else's program has to ask the same everywhere.  Numbers are those that float32 holds; one in six is
0, a small whole number or an end of the range, and none is nearer to 0 than 2⁻²⁰ but 0 itself, where products underflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np

from refdpm.vjp import Array

SPECIAL = (0.0, 1.0, -1.0, 0.5, -2.0)
SHARE = 1 / 6                   # of the numbers are special
LEAST = 2.0 ** -20


class Draw:
    """Something that is made from a generator."""

    def __init__(self, make: Callable[[np.random.Generator], Any]) -> None:
        self.make = make

    def __call__(self, rng: np.random.Generator) -> Any:
        """One draw."""
        return self.make(rng)

    def map(self, f: Callable[[Any], Any]) -> Draw:
        """f of what is drawn."""
        return Draw(lambda rng: f(self(rng)))

    def flatmap(self, f: Callable[[Any], Draw]) -> Draw:
        """Drawn from what f makes of a first draw."""
        return Draw(lambda rng: f(self(rng))(rng))


def just(value: Any) -> Draw:
    """Always that."""
    return Draw(lambda rng: value)


def one_of(values: Sequence[Any]) -> Draw:
    """One of some values."""
    return Draw(lambda rng: values[int(rng.integers(len(values)))])


def integers(low: int, high: int) -> Draw:
    """A whole number from low to high."""
    return Draw(lambda rng: int(rng.integers(low, high + 1)))


def integer_arrays(shape: int | tuple[int, ...], low: int, high: int) -> Draw:
    """An array of them."""
    return Draw(lambda rng: rng.integers(low, high + 1, size=shape, dtype=np.int64))


def chosen_arrays(shape: tuple[int, ...], values: Sequence[Any]) -> Draw:
    """An array of entries among some values."""
    return Draw(lambda rng: rng.choice(np.array(values), size=shape))


def numbers(low: float, high: float) -> Draw:
    """A number from low to high."""
    return arrays(low=low, high=high).map(float)


def arrays(*shape: int, low: float = -3.0, high: float = 3.0) -> Draw:
    """An array of them."""
    special = [value for value in (*SPECIAL, low, high) if low <= value <= high]

    def make(rng: np.random.Generator) -> Array:
        found = np.where(rng.random(shape) < SHARE, rng.choice(special, size=shape), rng.uniform(low, high, size=shape))
        return np.clip(np.where(np.abs(found) < min(LEAST, abs(low) or LEAST), 0.0, found), *_ends(low, high)).astype(
            np.float32).astype(np.float64)

    return Draw(make)


def _ends(low: float, high: float) -> tuple[float, float]:
    """The ends of a range as float32 holds them, inside of it."""
    a, b = np.float32(low), np.float32(high)
    return (float(a if float(a) >= low else np.nextafter(a, np.float32(np.inf))),        # compared in double precision
            float(b if float(b) <= high else np.nextafter(b, np.float32(-np.inf))))


def named(parts: Mapping[str, Draw]) -> Draw:
    """A dict of draws."""
    return Draw(lambda rng: {name: part(rng) for name, part in parts.items()})


def several(*parts: Draw) -> Draw:
    """A tuple of draws."""
    return Draw(lambda rng: tuple(part(rng) for part in parts))


def repeated(part: Draw, count: int) -> Draw:
    """A list of draws of one kind."""
    return Draw(lambda rng: [part(rng) for _ in range(count)])


def subsets(low: int, high: int, *, least: int = 0, most: int | None = None) -> Draw:
    """A set of whole numbers from low to high, of at least and at most so many."""
    def make(rng: np.random.Generator) -> set[int]:
        count = high - low + 1
        size = int(rng.integers(least, min(count, count if most is None else most) + 1))
        return {low + int(at) for at in rng.choice(count, size=size, replace=False)}
    return Draw(make)


def composed(f: Callable[..., Any]) -> Callable[..., Draw]:
    """A draw that is written as a function: its first argument draws from other draws."""
    @wraps(f)
    def made(*arguments: Any, **named: Any) -> Draw:
        return Draw(lambda rng: f(lambda part: part(rng), *arguments, **named))
    return made
