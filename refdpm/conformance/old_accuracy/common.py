"""What the accuracy of a formula is, and the inputs on which it is measured."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from refdpm.oracles.decimals import Exact
from refdpm.vjp import Array

LIMIT = 8.0
UNIT = Decimal(2) ** -53
SMALLEST = Decimal(2) ** -1022
SEED = 2015

Generator = np.random.Generator
Sampler = Callable[[Generator, int], Array]
Inputs = Callable[[Generator, int], dict[str, Array]]


class Accuracy(NamedTuple):
    """The worst error of one formula, in units of u·Σ|terms|, and the input that has it."""

    name: str
    units: float
    where: str


class Point(NamedTuple):
    """One number of the package, the exact one, and the input."""

    name: str
    got: float
    exact: Exact
    where: dict[str, Any]


class Formula(NamedTuple):
    """A function of the package, the same in decimals, and a sampler of the arguments that both take in order."""

    name: str
    package: Callable[..., Any]
    exact: Callable[..., Any]
    inputs: Inputs


Points = Callable[[Generator, int], Iterator[Point]]
Groups = dict[str, Points]


def units(got: float, exact: Exact) -> float:
    """|got − value|/(u·scale); 0 when both are the same infinity, ∞ when only one is finite or `got` is NaN."""
    if not (np.isfinite(got) and exact.value.is_finite()):
        return 0.0 if got == float(exact.value) else float("inf")
    return float(abs(Decimal(float(got)) - exact.value) / (UNIT * max(exact.scale, SMALLEST)))


def formulas(rows: tuple[Formula, ...]) -> Points:
    """Every formula of a table at n points."""

    def points(rng: Generator, n: int) -> Iterator[Point]:
        for formula in rows:
            inputs = formula.inputs(rng, n)
            got = formula.package(*inputs.values())
            for i, arguments in enumerate(zip(*(column.tolist() for column in inputs.values()))):
                where = dict(zip(inputs, arguments))
                exact = formula.exact(*arguments)
                if isinstance(exact, Exact):
                    yield Point(formula.name, got[i], exact, where)
                else:
                    for field in exact._fields:
                        yield Point(f"{formula.name}.{field}", getattr(got, field)[i], getattr(exact, field), where)

    return points


# -- inputs ------------------------------------------------------------------------------------------------------------

def wide(low: float, high: float, *corners: float, signs: tuple[int, ...] = (1,)) -> Sampler:
    """Magnitudes spread evenly over the decades from `low` to `high`, each with one of the `signs`.

    One value in four is an end of the range or another corner, so that corners of different arguments meet.
    """
    edges = [sign * edge for sign in signs for edge in (low, high)] + list(corners)

    def sample(rng: Generator, n: int) -> Array:
        drawn = rng.choice(signs, n) * np.exp(rng.uniform(np.log(low), np.log(high), n))
        return np.where(rng.random(n) < 0.25, rng.choice(edges, n), drawn)

    return sample


def some_rates(rng: Generator, n: int) -> Array:
    """β from 1e-12 to 1, as near to 1 as 1 − 1e-6."""
    return np.where(rng.random(n) < 0.6, wide(1e-12, 0.5)(rng, n), 1 - wide(1e-6, 0.5, 0.0)(rng, n))


def lengths(rng: Generator, n: int) -> Array:
    """Lengths of chains."""
    return rng.choice([1, 40, 1000], n)


BOTH = (-1, 1)
STATE = wide(1e-6, 1e6, 0.0, 1.0, signs=BOTH)
HEAD = wide(1e-6, 40.0, 0.0, signs=BOTH)
REAL = wide(1e-9, 800.0, 0.0, -37.0, -709.0, -745.0, signs=BOTH)
LEVEL = wide(1e-12, 700.0, -0.0, signs=(-1,))
VARIANCE = wide(1e-12, 1e6, 1.0)


BELOW = wide(1e-12, 700.0, signs=(-1,))                        # the level after one step at least
LOGIT = wide(1e-6, 60.0, 0.0, signs=BOTH)
RATES = (0.5, 0.2, 0.01)


def some_bits(rng: Generator, n: int) -> Array:
    """Zeros and ones."""
    return rng.integers(0, 2, n).astype(float)


def shares_of_ones(rng: Generator, n: int) -> Array:
    """Rates of π."""
    return rng.choice(RATES, n)


def near_zero(low: float, high: float) -> Sampler:
    """Between `low` < 0 and `high`, down to ±1e-15."""
    return lambda rng, n: np.where(rng.random(n) < 0.5, rng.uniform(low, high, n),
                                   np.clip(wide(1e-15, 1.0, 0.0, signs=BOTH)(rng, n), low, high))


def independent(**samplers: Sampler) -> Inputs:
    """Every argument from a sampler of its own."""
    return lambda rng, n: {name: sampler(rng, n) for name, sampler in samplers.items()}
