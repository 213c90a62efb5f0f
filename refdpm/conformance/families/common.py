"""What a clause is made of: a function that an adapter may offer, its inputs, what it must return, and how an error is measured."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import schedule
from refdpm.conformance import terms
from refdpm.conformance.adapter import Model, Skip
from refdpm.conformance.terms import Terms
from refdpm.layers.linear import Affine, per_step_vjp
from refdpm.networks.readout import Heads
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, tree_map

Inputs = dict[str, Any]
Strategy = st.SearchStrategy[Any]
Ask = Callable[[str, Inputs], tuple[Array, ...]]

N, D = 3, 2


class Output(NamedTuple):
    """One of the things that a function returns; with the function's id it names the clause.  `kind` is one of `profile.KINDS`."""

    id: str
    kind: str = "real"


class Given(NamedTuple):
    """What an adapter leaves free: `beta` is its schedule, (T+1,), and `classes` its number of classes, if it has its own."""

    beta: Array | None = None
    classes: int | None = None


class Function(NamedTuple):
    """A function that an adapter may offer.

    name       what the adapter calls it
    id         of its clauses: GAU.POST for GAU.POST.MEAN and GAU.POST.VAR
    says       what it is, with its formula
    equations  of the paper, or a source
    outputs    what it returns, in order
    inputs     draws the arguments, from what the adapter leaves free
    edges      arguments at which things go wrong, always tried first
    reference  the answer, in this package's conventions, from its own functions; one array for each output
    scale      Σ|terms| of the textbook's formula for each output: an error is measured in u·scale
    given      from the adapter's own earlier answers (`ask`), inputs that replace the reference's own: staged blame
    after      the functions that it builds on
    choices    conventions that change what is meant, and not only how it is written (`Profile` fields); `inputs` holds them by name
    sizes      how many components an example has, for totals
    vjp        the gradients for a cotangent of each output, by this package's adjoints: one for each of `arguments`
    arguments  that are differentiated
    """

    name: str
    id: str
    says: str
    equations: tuple[str, ...]
    outputs: tuple[Output, ...]
    inputs: Callable[[Given], Strategy]
    edges: Callable[[Given], list[Inputs]]
    reference: Callable[[Inputs], tuple[Array, ...]]
    scale: Callable[[Inputs], tuple[Array, ...]]
    given: Callable[[Inputs, Ask], Inputs] | None = None
    after: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    sizes: Callable[[Inputs], int] = lambda inputs: int(np.prod(_states(inputs).shape[1:]))
    vjp: Callable[[Inputs, tuple[Array, ...]], dict[str, Array]] | None = None
    arguments: tuple[str, ...] = ()


class Finding(NamedTuple):
    """What a law finds; `ratio` is its error in units of what is allowed.  A reason names a known mistake by its id in brackets."""

    ratio: float
    reason: str = ""
    inputs: Inputs | None = None


class Law(NamedTuple):
    """A clause that is no value: a property of several functions, or the law of what is drawn.

    needs    the functions without which it is skipped
    watches  mistakes that break it, or functions of this package all of whose mistakes are tried: the reference must fail with some
    run      from the `Subject`, what the adapter leaves free, and a seed
    """

    id: str
    says: str
    equations: tuple[str, ...]
    needs: tuple[str, ...]
    run: Callable[[Any, Given, int], Finding]
    watches: tuple[str, ...] = ()


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


def _states(inputs: Inputs) -> Array:
    return next(value for name, value in inputs.items() if isinstance(value, np.ndarray) and value.ndim > 1)


def copied(inputs: Inputs) -> Inputs:
    """Inputs that may be changed in place, as a planted mistake may do."""
    return {name: tree_map(_copied, value) for name, value in inputs.items()}


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


# -- what the reference takes from the schedule --------------------------------------------------------------------------

def step_of(inputs: Inputs, *, ndim: int | None = None) -> Step:
    """The schedule's columns at inputs["t"]; of the adapter's own levels where `given` has put them."""
    beta, level = inputs["beta"], inputs.get("log_alpha_bar")
    level = schedule.log_alpha_bar(beta) if level is None else level
    return schedule.step(beta, level, t=inputs["t"], ndim=_states(inputs).ndim if ndim is None else ndim)


def step_vjp_of(inputs: Inputs) -> tuple[Step, Pullback]:
    """`step_of`, and the way back from the cotangent of a `Step` to the gradient with respect to β_1..β_T."""
    level, back_level = schedule.log_alpha_bar_vjp(inputs["beta"])
    step, back_step = schedule.step_vjp(inputs["beta"], level, t=inputs["t"], ndim=_states(inputs).ndim)

    def pullback(dstep: Step) -> Array:
        dbeta, dlevel = back_step(dstep)
        return np.asarray(dbeta + back_level(dlevel))[1:]

    return step, pullback


def own_levels(inputs: Inputs, ask: Ask) -> Inputs:
    """`given` for what builds on the schedule alone: the adapter's own ᾱ."""
    alpha_bar, = ask("alpha_bar", {"beta": inputs["beta"]})
    with np.errstate(all="ignore"):
        return {"log_alpha_bar": np.concatenate([[0.0], np.log(alpha_bar)])}


# -- the network ---------------------------------------------------------------------------------------------------------

def network(steps: int, *, outputs: int = 2 * D, size: float = 0.25) -> Strategy:
    """`Model`s for states (N, D) near the one that predicts x_t itself, so that no prediction is absurd; D outputs, D heads."""
    bent = st.tuples(arrays(steps + 1, D, outputs, low=-size, high=size), arrays(steps + 1, outputs, low=-size, high=size))
    return bent.map(lambda drawn: Model(exactly(drawn[0] + np.eye(D, outputs)), drawn[1]))


def edge_network(steps: int, *, outputs: int = 2 * D, size: float = 0.25) -> Model:
    """One of them, without regularity."""
    return Model(exactly(np.eye(D, outputs) + spread_out(steps + 1, D, outputs, low=-size, high=size)),
                 spread_out(steps + 1, outputs, start=0.5, low=-size, high=size))


def predictor(model: Model) -> tuple[Affine, SimpleNamespace]:
    """The parameters of the network that an adapter is given, and how `later.model` reads them: the first D outputs are the
    prediction, the next D, where there are any, the head of the variance."""
    return Affine(model.weight, model.bias), SimpleNamespace(
        predict=lambda *args, **fixed: _predict_vjp(*args, **fixed)[0], predict_vjp=_predict_vjp)


def _predict_vjp(parameters: Affine, x_t: Array, step: Step, *, t: Array) -> tuple[Heads, Pullback]:
    size = int(np.prod(x_t.shape[1:]))
    z, back = per_step_vjp(x_t.reshape(len(x_t), size), *parameters, t=t)
    K = z.shape[1]
    head = z[:, size:] if K > size else np.zeros_like(z)

    def pullback(dheads: Heads) -> tuple[Affine, Array, Step]:
        dz = np.concatenate([part.reshape(len(x_t), size) for part in dheads], axis=1)[:, :K]
        dx_t, *dparameters = back(dz)
        return Affine(*dparameters), dx_t.reshape(x_t.shape), Step(*map(np.zeros_like, step))

    return Heads(z[:, :size].reshape(x_t.shape), head.reshape(x_t.shape)), pullback


class Row(NamedTuple):
    """The textbook's columns at t, with the errors that tables have: β, α = 1 − β, ᾱ, ᾱ_{t−1}."""

    beta: Terms
    alpha: Terms
    alpha_bar: Terms
    alpha_bar_prev: Terms


def row_of(inputs: Inputs, *, ndim: int | None = None) -> Row:
    """The columns at inputs["t"], for `scale`."""
    beta, t = terms.exact(inputs["beta"]), inputs["t"]
    alpha = 1 - beta
    alpha_bar = terms.cumulative_product(alpha)
    alpha_bar.value[0], alpha_bar.error[0] = 1, 0
    column = (-1,) + (1,) * ((_states(inputs).ndim if ndim is None else ndim) - 1)
    parts = (table[at].reshape(*column) for table, at in ((beta, t), (alpha, t), (alpha_bar, t), (alpha_bar, t - 1)))
    return Row(*terms.columns(**dict(zip(("β", "α", "ᾱ", "ᾱ_{t−1}"), parts))))


class Textbook(tuple[Array, ...]):
    """The scale of each output; and as `values` what the formulas give that it was followed through."""

    values: tuple[Array, ...]


def scales(*found: Terms) -> Textbook:
    """The scale of each output, from the textbook's formulas."""
    textbook = Textbook(part.scale for part in found)
    textbook.values = tuple(part.value for part in found)
    return textbook
