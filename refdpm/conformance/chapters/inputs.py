"""Inputs: numbers that float32 holds, states, schedules and steps, and the network that an adapter is given."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
import math

import numpy as np
from refdpm import schedule
from refdpm.conformance.adapter import Model, Skip
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays
from refdpm.vjp import Array

Inputs = dict[str, Any]
N, D = 3, 2
WIDE = 5                        # components of wide states: more than an image has channels, in most programs
LONG = 1000                     # steps of a long schedule


class Given(NamedTuple):
    """What an adapter leaves free: `beta` is its schedule, (T+1,), and `classes` its number of classes, if it has its own.

    `own_steps` are the lists of steps that its chains go through, if it can go through no others: increasing, from where they
    end, which is 0 unless they end before x_0.
    """

    beta: Array | None = None
    classes: int | None = None
    own_steps: tuple[Array, ...] | None = None


# -- numbers that float32 holds exactly ----------------------------------------------------------------------------------

def exactly(x: Any) -> Array:
    """The nearest numbers that float32 holds, so that an adapter of either precision gets the same."""
    return np.asarray(x, dtype=np.float64).astype(np.float32).astype(np.float64)


def positive(*shape: int, low: float = 0.01, high: float = 9.0) -> Draw:
    """Variances."""
    return arrays(*shape, low=low, high=high)


def spread_out(*shape: int, start: float = 0.0, low: float = -2.0, high: float = 2.0) -> Array:
    """An array without regularity, the same at every call: an edge's state."""
    return exactly(low + (high - low) * np.modf((np.arange(math.prod(shape)) + 1) * 0.6180339887 + start)[0]).reshape(shape)


# -- schedules and steps -----------------------------------------------------------------------------------------------

def rates(beta: Any) -> Array:
    """A schedule (T+1,) of rates that float32 holds."""
    return exactly(np.concatenate([[0.0], np.asarray(beta, dtype=np.float64).reshape(-1)]))


def schedules(given: Given, *, low: int = 1) -> Draw:
    """Schedules with T ≥ low steps; the adapter's own, if it has one.   Raises: Skip if that is shorter."""
    if given.beta is not None:
        if len(given.beta) <= low:
            raise Skip(f"its schedule has fewer than {low} steps")
        return draws.just(given.beta)
    sizes = draws.one_of([T for T in (1, 2, 3, 5, 10) if T >= low])
    return sizes.flatmap(lambda T: arrays(T, low=1e-3, high=0.9)).map(rates)


# the usual one, on which every t of the field's programs is looked up
LINEAR = rates(np.linspace(1e-4, 0.02, LONG))
SCHEDULES: tuple[Array, ...] = (
    rates(np.linspace(1e-4, 0.02, 10)), rates(np.linspace(1e-4, 0.9375, 20)), rates([0.25, 0.875, 0.03125]),
    rates([0.0009765625, 0.5]), rates([0.375]), rates(schedule.cosine(10)[1:]))


def edge_schedules(given: Given, *, low: int = 1) -> list[Array]:
    """The schedules of the edges: small and large β, T = 1, 2, 3, 10, 20; or the adapter's own."""
    return [beta for beta in (SCHEDULES if given.beta is None else (given.beta,)) if len(beta) > low]


def times_of(beta: Array, *, low: int = 1) -> Array:
    """Every t of a short schedule, out of order; of a long one the ends and the middle.  The first is repeated at the end, so
    that there are at least three rows: one number a row is then not taken for one a component, of which there are two."""
    T = len(beta) - 1
    t = np.arange(low, T + 1) if T <= 20 else np.unique([low, low + 1, 2 * low + 1, T // 10, T // 2, T - 1, T])
    return np.concatenate([t[::-1], np.repeat(t[:1], max(1, 3 - len(t)))]).astype(np.int64)


TAME = rates([0.5, 0.375, 0.5])
# where the policies at t = 1 are far apart, and where β̃ and β are
TELLING = (rates([0.5, 0.0625, 0.25]), rates([0.03125, 0.75, 0.25]))


def tame_first(given: Given, *, low: int = 1) -> list[Array]:
    """The schedules of the edges, those first where little is lost in 1 − ᾱ: conventions show there."""
    edges = edge_schedules(given, low=low)
    return edges if given.beta is not None else [TAME, *sorted(edges, key=lambda beta: -float(beta[1]))]


def telling(given: Given) -> list[Array]:
    """The schedules of the edges, but first those in which conventions of the reverse step are easy to tell apart."""
    return [*(TELLING if given.beta is None else ()), *edge_schedules(given)]


# -- what stands on a schedule -------------------------------------------------------------------------------------------

def on_schedules(*, low: int = 1, **more: Draw) -> Callable[[Given], Draw]:
    """Draws `more`, and a schedule `beta` with T ≥ low steps."""
    return lambda given: schedules(given, low=low).flatmap(lambda beta: draws.named(more | {"beta": draws.just(beta)}))


def drawn_with(drawn: Callable[[Given], Draw], **of: Callable[[int], Draw]) -> Callable[[Given], Draw]:
    """The same, and besides what depends on the number of steps: functions of T."""
    def complete(inputs: Inputs) -> Draw:
        T = len(inputs["beta"]) - 1
        return draws.named({name: draw(T) for name, draw in of.items()}).map(lambda more: inputs | more)

    return lambda given: drawn(given).flatmap(complete)


def edges_with(edges: list[Inputs], **of: Callable[[int], Any]) -> list[Inputs]:
    """The same of edges."""
    return [edge | {name: make(len(edge["beta"]) - 1) for name, make in of.items()} for edge in edges]


def chain(*names: str, low: int = 1, **more: Draw) -> Callable[[Given], Draw]:
    """Draws states (N, D) of those names, a schedule `beta` and a step t ≥ low for every row; `more` is drawn besides."""
    states = {name: arrays(N, D) for name in names}
    return drawn_with(on_schedules(low=low, **states, **more), t=lambda T: draws.integer_arrays(N, low, T))


def ordinary_then_wide(betas: list[Array]) -> list[tuple[int, Array]]:
    """The number of components for each of the schedules, and the first once more with wide states: of two components the mean is
    half of the sum."""
    return [*((D, beta) for beta in betas), *((WIDE, beta) for beta in betas[:1])]


def at_every_step(*names: str, betas: list[Array], low: int = 1, components: int = D) -> list[Inputs]:
    """States of those names at every t ≥ low of each of the schedules; of several also a batch of one, and a long schedule."""
    found = [_states(names, times_of(beta, low=low), beta, components) for beta in betas]
    if len(betas) > 1:
        found += [_states(names, np.array([len(betas[0]) - 1]), betas[0]), _states(names, times_of(LINEAR, low=low), LINEAR)]
    return found


def _states(names: Iterable[str], t: Array, beta: Array, *shape: int) -> Inputs:
    states = {name: spread_out(len(t), *(shape or (D,)), start=0.3 * i) for i, name in enumerate(names)}
    return states | {"t": t, "beta": beta}


def chain_edges(*names: str, low: int = 1) -> Callable[[Given], list[Inputs]]:
    """States, every t of the schedules of the edges, once wide ones, and once images (N, H, W, C) with N ≠ H ≠ W ≠ C."""
    def edges(given: Given) -> list[Inputs]:
        found = at_every_step(*names, betas=edge_schedules(given, low=low), low=low)
        if not found:                                                # a schedule of its own with fewer steps
            return []
        beta = found[0]["beta"]
        t = np.array([len(beta) - 1, low, min(low + 1, len(beta) - 1)])
        return [*found, _states(names, times_of(beta, low=low), beta, WIDE), _states(names, t, beta, 4, 5, 6)]
    return edges


def listed(*cases: Inputs) -> Callable[[Given], list[Inputs]]:
    """Edges that are the same for every adapter."""
    return lambda given: list(cases)


def drawn(**parts: Draw) -> Callable[[Given], Draw]:
    """Inputs drawn independently of each other."""
    return lambda given: draws.named(parts)


def states_of(inputs: Inputs) -> Array:
    """The first of the inputs that has rows and components; where there is none, one number."""
    return next((value for value in inputs.values() if isinstance(value, np.ndarray) and value.ndim > 1), np.zeros(1))


# -- the network ---------------------------------------------------------------------------------------------------------

def network(steps: int, *, outputs: int = 2 * D, size: float = 0.25) -> Draw:
    """`Model`s for states (N, D) near the one that predicts x_t itself, so that no prediction is absurd; D outputs, D heads."""
    bent = draws.several(arrays(steps + 1, D, outputs, low=-size, high=size), arrays(steps + 1, outputs, low=-size, high=size))
    return bent.map(lambda drawn: Model(exactly(drawn[0] + np.eye(D, outputs)), drawn[1]))


def edge_network(steps: int, *, components: int = D, heads: int = 2, size: float | None = None) -> Model:
    """One of them, without regularity; on a long schedule one that is further off, so that no divergence is lost in its terms."""
    size, outputs = (1.0 if steps >= LONG else 0.25) if size is None else size, heads * components
    return Model(exactly(np.eye(components, outputs) + spread_out(steps + 1, components, outputs, low=-size, high=size)),
                 spread_out(steps + 1, outputs, start=0.5, low=-size, high=size))
