"""Inputs: numbers that float32 holds, states, schedules and steps, and the network that an adapter is given."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import schedule
from refdpm.conformance.adapter import Model, Skip
from refdpm.vjp import Array, tree_map

Inputs = dict[str, Any]
Strategy = st.SearchStrategy[Any]

N, D = 3, 2


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


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """Floats that float32 holds."""
    return st.floats(float(np.float32(low)), float(np.float32(high)), width=32, allow_nan=False, allow_subnormal=False)


def arrays(*shape: int, low: float = -3.0, high: float = 3.0) -> Strategy:
    """Arrays of such floats."""
    return npst.arrays(np.float64, shape, elements=numbers(low, high))


def positive(*shape: int, low: float = 0.01, high: float = 9.0) -> Strategy:
    """Variances."""
    return arrays(*shape, low=low, high=high)


def spread_out(*shape: int, start: float = 0.0, low: float = -2.0, high: float = 2.0) -> Array:
    """An array without regularity, the same at every call: an edge's state."""
    count = int(np.prod(shape))
    return exactly(low + (high - low) * np.modf((np.arange(count) + 1) * 0.6180339887 + start)[0]).reshape(shape)


# -- schedules and steps -----------------------------------------------------------------------------------------------

def rates(beta: Any) -> Array:
    """A schedule (T+1,) of rates that float32 holds."""
    return exactly(np.concatenate([[0.0], np.asarray(beta, dtype=np.float64).reshape(-1)]))


def schedules(given: Given, *, low: int = 1) -> Strategy:
    """Schedules with T ≥ low steps; the adapter's own, if it has one.   Raises: Skip if that is shorter."""
    if given.beta is not None:
        if len(given.beta) <= low:
            raise Skip(f"its schedule has fewer than {low} steps")
        return st.just(given.beta)
    sizes = st.sampled_from([T for T in (1, 2, 3, 5, 10) if T >= low])
    return sizes.flatmap(lambda T: arrays(T, low=1e-3, high=0.9)).map(rates)


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


@st.composite
def _chain(draw: st.DrawFn, given: Given, names: tuple[str, ...], low: int, more: dict[str, Strategy]) -> Inputs:
    beta = draw(schedules(given, low=low))
    t = draw(npst.arrays(np.int64, N, elements=st.integers(low, len(beta) - 1)))
    return ({name: draw(arrays(N, D)) for name in names} | {"t": t, "beta": beta}
            | {name: draw(strategy) for name, strategy in more.items()})


def chain(*names: str, low: int = 1, **more: Strategy) -> Callable[[Given], Strategy]:
    """Draws states (N, D) of those names, a schedule `beta` and a step t ≥ low for every row; `more` is drawn besides."""
    return lambda given: _chain(given, names, low, more)


def chain_edges(*names: str, low: int = 1, **more: Any) -> Callable[[Given], list[Inputs]]:
    """States, every t of the schedules of the edges, and once images (N, H, W, C) with N ≠ H ≠ W ≠ C; `more` is given as it is."""
    def edges(given: Given) -> list[Inputs]:
        found = []
        for beta in edge_schedules(given, low=low):
            t = times_of(beta, low=low)
            states = {name: spread_out(len(t), D, start=0.3 * i) for i, name in enumerate(names)}
            found.append(states | {"t": t, "beta": beta} | more)
        if not found:                                                # a schedule of its own with fewer steps
            return []
        beta = found[0]["beta"]
        t = np.array([len(beta) - 1, low, min(low + 1, len(beta) - 1)])
        images = {name: spread_out(3, 4, 5, 2, start=0.3 * i) for i, name in enumerate(names)}
        return [*found, images | {"t": t, "beta": beta} | more]
    return edges


def listed(*cases: Inputs) -> Callable[[Given], list[Inputs]]:
    """Edges that are the same for every adapter."""
    return lambda given: list(cases)


def drawn(**strategies: Strategy) -> Callable[[Given], Strategy]:
    """Inputs drawn independently of each other."""
    return lambda given: st.fixed_dictionaries(strategies)


def states_of(inputs: Inputs) -> Array:
    """The first of the inputs that has rows and components."""
    return next(value for name, value in inputs.items() if isinstance(value, np.ndarray) and value.ndim > 1)


def copied(inputs: Inputs) -> Inputs:
    """Inputs that may be changed in place, as a planted mistake may do."""
    return {name: tree_map(_copied, value) for name, value in inputs.items()}


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


# -- the network ---------------------------------------------------------------------------------------------------------

def network(steps: int, *, outputs: int = 2 * D, size: float = 0.25) -> Strategy:
    """`Model`s for states (N, D) near the one that predicts x_t itself, so that no prediction is absurd; D outputs, D heads."""
    bent = st.tuples(arrays(steps + 1, D, outputs, low=-size, high=size), arrays(steps + 1, outputs, low=-size, high=size))
    return bent.map(lambda drawn: Model(exactly(drawn[0] + np.eye(D, outputs)), drawn[1]))


def edge_network(steps: int, *, outputs: int = 2 * D, size: float = 0.25) -> Model:
    """One of them, without regularity."""
    return Model(exactly(np.eye(D, outputs) + spread_out(steps + 1, D, outputs, low=-size, high=size)),
                 spread_out(steps + 1, outputs, start=0.5, low=-size, high=size))
