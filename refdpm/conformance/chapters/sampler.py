"""Clauses of sampling with given noise: one step, one that skips, one of DDIM, and whole paths.

noise[T] is x_T, noise[t−1] draws the step from t; the last step is its mean, and noise[0] is not used.  A path of DDIM on S kept
steps has noise (S+1, …) in the same order.

Sources: Ho, Jain, Abbeel 2020; Song, Meng, Ermon 2021 (DDIM).
"""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from refdpm import gaussian
from refdpm.conformance import terms
from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters import parametrisation, textbook
from refdpm.conformance.chapters.common import (D, N, Ask, Quantity, Given, Inputs, Output, Strategy, arrays, edge_network, network,
                                               numbers, scales, schedules, spread_out)
from refdpm.conformance.chapters.reverse import CHOICES, law_terms, model_of, states, states_edges, telling
from refdpm.conformance.chapters.textbook import Row
from refdpm.conformance.terms import Terms
from refdpm.gaussian import Gaussian
from refdpm.later import sampler
from refdpm.vjp import Array

X_PREV = (Output("X_PREV"),)
ETAS = (0.0, 0.5, 1.0)
DELTA = 2.0 ** -20
LONG = 50


# -- inputs ------------------------------------------------------------------------------------------------------------

@st.composite
def _skipping(draw: st.DrawFn, given: Given, more: dict[str, Strategy]) -> Inputs:
    inputs = draw(states(given, noise=arrays(N, D), **more))
    return inputs | {"t_prev": np.array([draw(st.integers(_least(inputs["beta"], int(t)), int(t) - 1)) for t in inputs["t"]])}


def _least(beta: Array, t: int) -> int:
    """The lowest step that t is taken down to: no rate of a step so near to 1 that it says nothing of what is left."""
    left = np.cumprod(1 - beta[t:0:-1])
    return t - max(1, int(np.sum(left >= 2.0 ** -6)))


def _kept(beta: Array, times: Array) -> Array:
    """Those times, and in between what `_least` asks for."""
    found = [len(beta) - 1]
    while (least := _least(beta, found[0])) > 0:
        found.insert(0, min([int(t) for t in times if least <= t < found[0]], default=least))
    return np.array([*(int(t) for t in times if t < found[0]), *found])


def _step_edges(given: Given) -> list[Inputs]:
    return [i | {"noise": spread_out(*i["x_t"].shape, start=0.3)} for i in states_edges(given)]


def _skipping_edges(given: Given) -> list[Inputs]:
    """To the step before, to one in between, and as far down as goes."""
    found = []
    for i in _step_edges(given):
        least = np.array([_least(i["beta"], int(t)) for t in i["t"]])
        turn = np.arange(len(least)) % 3
        found.append(i | {"t_prev": np.select([turn == 0, turn == 1], [least, i["t"] - 1], (least + i["t"] - 1) // 2)})
    return found


def _ddim_edges(given: Given) -> list[Inputs]:
    """First all of them at η = 0, the η of those who have none."""
    return [i | {"eta": eta} for eta in ETAS for i in _skipping_edges(given)]


def _paths(given: Given) -> Strategy:
    """Long ones take their time: of those one will do."""
    return _drawn_paths(given) if given.beta is None or len(given.beta) <= LONG else st.just(_path_edges(given)[0])


@st.composite
def _drawn_paths(draw: st.DrawFn, given: Given) -> Inputs:
    beta = draw(schedules(given))
    return {"noise": draw(arrays(len(beta), N, D)), "beta": beta, "model": draw(network(len(beta) - 1))}


@st.composite
def _kept_paths(draw: st.DrawFn, given: Given) -> Inputs:
    beta = draw(schedules(given))
    T = len(beta) - 1
    times = _kept(beta, np.array(sorted(draw(st.sets(st.integers(1, T), max_size=5)))))
    return {"noise": draw(arrays(len(times) + 1, N, D)), "times": times, "eta": draw(numbers(0, 1)), "beta": beta,
            "model": draw(network(T))}


def _path_edges(given: Given) -> list[Inputs]:
    return [{"noise": spread_out(len(beta), N, D), "beta": beta, "model": edge_network(len(beta) - 1)} for beta in telling(given)]


def _kept_path_edges(given: Given) -> list[Inputs]:
    """All steps and every third; first at η = 0."""
    found = []
    for eta in ETAS:
        for beta in telling(given):
            T = len(beta) - 1
            for times in (np.arange(1, T + 1), _kept(beta, np.arange(2, T, max(3, T // 20))))[0 if T <= LONG else 1:]:
                found.append({"noise": spread_out(len(times) + 1, N, D), "times": times, "eta": eta, "beta": beta,
                              "model": edge_network(T)})
    return found


# -- the reference -------------------------------------------------------------------------------------------------------

Path = Callable[[Inputs, Array, Array], Array]


def _one_step(path: Path, i: Inputs) -> Array:
    """Where a path goes from x_t, for each pair (t, t_prev) by the path that keeps t and all steps up to t_prev."""
    before = i.get("t_prev", i["t"] - 1)
    found = np.zeros(i["x_t"].shape)
    for t, s in set(zip(i["t"].tolist(), before.tolist())):
        rows, times = (i["t"] == t) & (before == s), np.append(np.arange(1, s + 1), t)
        noise = np.zeros((len(times) + 1, *i["x_t"][rows].shape), dtype=i["x_t"].dtype)
        noise[-1], noise[-2] = i["x_t"][rows], i["noise"][rows]
        found[rows] = path(i | {"beta": i["beta"][:t + 1]}, noise, times)
    return found


def _ancestral(i: Inputs, noise: Array, times: Array, *, steps: int = 1) -> Array:
    _first_alone(i, times)
    path = sampler.ancestral_path((), i["beta"], noise=noise, times=times, model=model_of(i))
    return [x for _, x in zip(range(steps + 1), path)][-1][1]


def _first_alone(i: Inputs, times: Array) -> None:
    if i["first"] == "fixed" and times[0] != 1:
        raise Skip("the forward kernel of the first step takes no others with it")


def _ddim(i: Inputs, noise: Array, times: Array, *, steps: int = 1) -> Array:
    path = sampler.ddim_path((), i["beta"], noise=noise, times=times, model=model_of(i), eta=i["eta"])
    return [x for _, x in zip(range(steps + 1), path)][-1][1]


def _ancestral_step(i: Inputs) -> tuple[Array, ...]:
    if "own_law" in i:
        p = Gaussian(*i["own_law"])
        column = (-1,) + (1,) * (p.mean.ndim - 1)
        return np.where(i["t"].reshape(column) == 1, p.mean, gaussian.draw(p, noise=i["noise"])),
    return _one_step(_ancestral, i),


def _ddim_step(i: Inputs) -> tuple[Array, ...]:
    return _one_step(_ddim, i),


def _sample(i: Inputs) -> tuple[Array, ...]:
    return i["own_path"] if "own_path" in i else _ancestral(i, i["noise"], np.arange(1, len(i["beta"])), steps=len(i["beta"]) - 1),


def _ddim_sample(i: Inputs) -> tuple[Array, ...]:
    return i["own_path"] if "own_path" in i else _ddim(i, i["noise"], i["times"], steps=len(i["times"])),


# -- what the adapter had before -----------------------------------------------------------------------------------------

def _own_law(i: Inputs, ask: Ask) -> Inputs:
    return {"own_law": ask("reverse", {name: i[name] for name in ("x_t", "t", "beta", "model")})}


def _own_path(step: str) -> Callable[[Inputs, Ask], Inputs]:
    """Its own steps, one after another."""
    def own(i: Inputs, ask: Ask) -> Inputs:
        x, times = i["noise"][-1], np.append(0, i.get("times", np.arange(1, len(i["noise"]))))
        more = {name: i[name] for name in ("beta", "model", "eta") if name in i}
        for n in range(len(times) - 1, 0, -1):
            at = {"t": np.full(len(x), times[n])} | ({"t_prev": np.full(len(x), times[n - 1])} if "times" in i else {})
            x, = ask(step, {"x_t": x, "noise": i["noise"][n - 1]} | at | more)
        return {"own_path": x}
    return own


# -- the textbook's formulas ---------------------------------------------------------------------------------------------

def _columns(beta: Array, t: Array, before: Array, *, whole: bool) -> Row:
    """Those of a step from t to `before`, whose rate is 1 − ᾱ_t/ᾱ_s; β_t itself where only `whole` steps are taken."""
    row = textbook.rows(beta, t)
    if whole:
        return row
    last = textbook.rows(beta, np.maximum(before, 1)).alpha_bar
    start = terms.where(before[:, None] == 0, 1.0, last)
    return Row(1 - row.alpha_bar / start, row.alpha_bar / start, row.alpha_bar, start)


def _ancestral_terms(i: Inputs, x_t: Terms, t: Array, before: Array, noise: Array) -> Terms:
    p = law_terms(i, _columns(i["beta"], t, before, whole="t_prev" not in i), t, x_t, before == 0)
    return terms.where(before[:, None] == 0, p.mean, p.mean + terms.sqrt(p.var) * noise)


def _ddim_terms(i: Inputs, x_t: Terms, t: Array, before: Array, noise: Array) -> Terms:
    row = _columns(i["beta"], t, before, whole=False)
    z = textbook.outputs(i["model"], x_t, t)[:, :x_t.value.shape[1]]
    x_0 = parametrisation.x_0_of(z, x_t, _own_rate(row, i, t, before), i["predicts"])
    rest, var = 1 - row.alpha_bar_prev, i["eta"] ** 2 * textbook.small(row)
    direction = terms.sqrt(rest - var) / terms.sqrt(1 - row.alpha_bar) * (x_t - terms.sqrt(row.alpha_bar) * x_0)
    return terms.sqrt(row.alpha_bar_prev) * x_0 + direction + terms.sqrt(var) * noise


def _own_rate(row: Row, i: Inputs, t: Array, before: Array) -> Row:
    return row if i["predicts"] == "mean" else textbook.rows(i["beta"], t)


Step = Callable[[Inputs, Terms, Array, Array, Array], Terms]


def _step_scale(step: Step) -> Callable[[Inputs], tuple[Array, ...]]:
    return lambda i: scales(step(i, terms.exact(i["x_t"]), i["t"], i.get("t_prev", i["t"] - 1), i["noise"]))


def _path_scale(step: Step) -> Callable[[Inputs], tuple[Array, ...]]:
    """What each step rounds, and what the slopes of the steps after it make of that."""
    def scale(i: Inputs) -> tuple[Array, ...]:
        x, times = i["noise"][-1], np.append(0, i.get("times", np.arange(1, len(i["noise"]))))
        error = np.zeros(x.shape)
        for n in range(len(times) - 1, 0, -1):
            states = np.concatenate([x, *(x + move for move in DELTA * np.eye(x.shape[1]))])
            count, copies = len(x), len(states) // len(x)
            t, before = (np.full(len(states), at) for at in (times[n], times[n - 1]))
            after = step(i, terms.exact(states), t, before, np.tile(i["noise"][n - 1], (copies, 1)))
            x, *moved = np.split(after.value, copies)
            slopes = [np.abs(one - x) / DELTA for one in moved]
            error = after.error[:count] + sum(slope * error[:, d:d + 1] for d, slope in enumerate(slopes))
        return scales(Terms(x, error))
    return scale


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "ancestral_step", "SMP.STEP", "x_{t−1} = mean + √var · noise of p(x_{t−1} | x_t); at t = 1 the mean", ("Ho 2020",),
        X_PREV, lambda given: states(given, noise=arrays(N, D)), _step_edges, _ancestral_step, _step_scale(_ancestral_terms),
        given=_own_law, after=("reverse",), choices=CHOICES),
    Quantity(
        "strided_step", "SMP.STRIDE", "the same from t to t_prev < t, with the rate 1 − ᾱ_t/ᾱ_{t_prev} in the place of β_t; at "
        "t_prev = 0 the mean", ("Nichol 2021",), X_PREV, lambda given: _skipping(given, {}), _skipping_edges,
        lambda i: (_one_step(_ancestral, i),), _step_scale(_ancestral_terms), after=("ancestral_step",), choices=CHOICES),
    Quantity(
        "ddim_step", "SMP.DDIM", "√ᾱ_s x̂_0 + √(1−ᾱ_s−σ²) ε̂ + σ noise, s = t_prev, σ² = η² (1−ᾱ_s)/(1−ᾱ_t) (1 − ᾱ_t/ᾱ_s), "
        "ε̂ = (x_t − √ᾱ_t x̂_0)/√(1−ᾱ_t)", ("Song 2021",), X_PREV, lambda given: _skipping(given, {"eta": numbers(0, 1)}),
        _ddim_edges, _ddim_step, _step_scale(_ddim_terms), after=("x_0_from_model",), choices=("predicts",)),
    Quantity(
        "sample", "SMP.PATH", "x_0 by T ancestral steps: noise[T] is x_T, noise[t−1] draws the step from t", ("Ho 2020",),
        (Output("X_0"),), _paths, _path_edges, _sample, _path_scale(_ancestral_terms), given=_own_path("ancestral_step"),
        after=("ancestral_step",), choices=CHOICES),
    Quantity(
        "ddim_sample", "SMP.DDIM_PATH", "x_0 by steps of DDIM at the kept `times`, increasing to T: noise[S] is x_T, "
        "noise[n−1] draws the step from times[n−1]", ("Song 2021",), (Output("X_0"),), _kept_paths, _kept_path_edges, _ddim_sample,
        _path_scale(_ddim_terms), given=_own_path("ddim_step"), after=("ddim_step",), choices=("predicts",)),
)
