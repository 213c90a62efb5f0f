"""Clauses of sampling with given noise: one step, one that skips, one of DDIM, and whole paths.

noise[T] is x_T, noise[t−1] draws the step from t; the last step is its mean, and noise[0] is not used.  A path of DDIM on S kept
steps has noise (S+1, …) in the same order.

Sources: Ho, Jain, Abbeel 2020; Song, Meng, Ermon 2021 (DDIM).
"""

from collections.abc import Callable, Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm import gaussian, schedule
from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays, numbers
from refdpm.conformance.chapters.ends import BELOW, STATE, Sampler, ends, rate, wide
from refdpm.conformance.chapters.inputs import (D, N, Given, Inputs, at_every_step, chain, drawn_with, edge_network, edges_with,
                                                network, on_schedules, spread_out, telling)
from refdpm.conformance.chapters.quantity import Ask, Book, ByHand, Output, Quantity, page_of
from refdpm.conformance.chapters.reverse import AT_1, CHOICES, heads, law, model_of
from refdpm.conformance.planting import PRINTED, Mistake, Plant, instead, of, then, told
from refdpm.gaussian import Gaussian
from refdpm.later import mean, sampler
from refdpm.textbook import sampler as book
from refdpm.textbook.chain import Normal, draw, row
from refdpm.textbook.expression import E, above, column, forms, given, walk
from refdpm.textbook.page import Page
from refdpm.textbook.prediction import x_0_from
from refdpm.textbook.sampler import strided
from refdpm.vjp import Array

X_PREV = (Output("X_PREV"),)
ETAS = (0.0, 0.5, 1.0)
LONG = 50


# -- inputs ------------------------------------------------------------------------------------------------------------

@draws.composed
def _skipping(draw: Callable[[Draw], Any], given: Given, more: dict[str, Any]) -> Inputs:
    inputs = draw(drawn_with(chain("x_t", "noise", **more), model=network)(given))
    if given.own_steps:
        return inputs | _own_pairs(given.own_steps, inputs["t"], draw(draws.integers(0, 5)))
    return inputs | {"t_prev": np.array([draw(draws.integers(_least(inputs["beta"], int(t)), int(t) - 1)) for t in inputs["t"]])}


def _own_pairs(own_steps: tuple[Array, ...], t: Array, turn: int) -> Inputs:
    """For each t the nearest step of the adapter's own lists, and the step after it: in turn to t − 1 and to one further down."""
    pairs = sorted({(int(at), int(to)) for steps in own_steps for to, at in zip(steps, steps[1:])})
    pools = [some for far in (False, True) if (some := [pair for pair in pairs if (pair[0] - pair[1] > 1) == far])]
    found = [min(pools[(turn + n) % len(pools)], key=lambda pair: abs(pair[0] - at)) for n, at in enumerate(t)]
    return {"t": np.array([at for at, _ in found]), "t_prev": np.array([to for _, to in found])}


def own_lists(given: Given) -> list[Array]:
    """The kept steps of the adapter's own chains that end at x_0 and are not long."""
    return [steps[1:] for steps in given.own_steps or () if steps[0] == 0 and 1 < len(steps) <= LONG]


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
    return edges_with(at_every_step("x_t", "noise", betas=telling(given)), model=edge_network)


def _skipping_edges(given: Given) -> list[Inputs]:
    """To the step before, to one in between, and as far down as goes."""
    if given.own_steps:
        return [i | _own_pairs(given.own_steps, i["t"], turn) for i in _step_edges(given) for turn in range(2)]
    found = []
    for i in _step_edges(given):
        least = np.array([_least(i["beta"], int(t)) for t in i["t"]])
        turn = np.arange(len(least)) % 3
        found.append(i | {"t_prev": np.select([turn == 0, turn == 1], [least, i["t"] - 1], (least + i["t"] - 1) // 2)})
    return found


def _ddim_edges(given: Given) -> list[Inputs]:
    """First all of them at η = 0, the η of those who have none."""
    return [i | {"eta": eta} for eta in ETAS for i in _skipping_edges(given)]


def _paths(given: Given) -> Draw:
    """Long ones take their time: of those one will do."""
    paths = drawn_with(on_schedules(), noise=lambda T: arrays(T + 1, N, D), model=network)
    return paths(given) if given.beta is None or len(given.beta) <= LONG else draws.just(_path_edges(given)[0])


@draws.composed
def _kept_paths(draw: Callable[[Draw], Any], given: Given) -> Inputs:
    some = drawn_with(on_schedules(eta=numbers(0, 1)), times=lambda T: draws.subsets(1, T, most=5), model=network)
    inputs, own = draw(some(given)), own_lists(given)
    times = draw(draws.one_of(own)) if own else _kept(inputs["beta"], np.array(sorted(inputs["times"])))
    return inputs | {"noise": draw(arrays(len(times) + 1, N, D)), "times": times}


def _path_edges(given: Given) -> list[Inputs]:
    return edges_with([{"noise": spread_out(len(beta), N, D), "beta": beta} for beta in telling(given)], model=edge_network)


def _kept_path_edges(given: Given) -> list[Inputs]:
    """All steps and every third, or the adapter's own lists; first at η = 0."""
    found, own = [], own_lists(given)
    for eta in ETAS:
        for beta in telling(given):
            T = len(beta) - 1
            kept = (np.arange(1, T + 1), _kept(beta, np.arange(2, T, max(3, T // 20))))[0 if T <= LONG else 1:]
            for times in own or kept:
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
    return _state_after(sampler.ancestral_path((), i["beta"], noise=noise, times=times, model=model_of(i)), steps)


def _first_alone(i: Inputs, times: Array) -> None:
    if i["first"] == "fixed" and times[0] != 1:
        raise Skip("the forward kernel of the first step takes no others with it")


def _ddim(i: Inputs, noise: Array, times: Array, *, steps: int = 1) -> Array:
    return _state_after(sampler.ddim_path((), i["beta"], noise=noise, times=times, model=model_of(i), eta=i["eta"]), steps)


def _state_after(path: Iterator[tuple[int, Array]], steps: int) -> Array:
    _, x = next(islice(path, steps, None))
    return x


def _own_or_ancestral(i: Inputs) -> tuple[Array, ...]:
    if "own_mean" in i:
        p = Gaussian(i["own_mean"], i["own_var"])
        column = (-1,) + (1,) * (p.mean.ndim - 1)
        return np.where(i["t"].reshape(column) == 1, p.mean, gaussian.draw(p, noise=i["noise"])),
    return _one_step(_ancestral, i),


def _sample(i: Inputs) -> tuple[Array, ...]:
    return i["own_path"] if "own_path" in i else _ancestral(i, i["noise"], np.arange(1, len(i["beta"])), steps=len(i["beta"]) - 1),


def _ddim_sample(i: Inputs) -> tuple[Array, ...]:
    return i["own_path"] if "own_path" in i else _ddim(i, i["noise"], i["times"], steps=len(i["times"])),


# -- what the adapter had before -----------------------------------------------------------------------------------------

def _own_law(i: Inputs, ask: Ask) -> Inputs:
    own_mean, own_var = ask("reverse", {name: i[name] for name in ("x_t", "t", "beta", "model")})
    return {"own_mean": own_mean, "own_var": own_var}


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

X_T, NOISE = given("x_t"), given("noise")
AT_END = above(1, column("t", at="t_prev"))


def ancestral_formula(i: Inputs) -> tuple[E, ...]:
    """An ancestral step, with β_t itself where none is skipped."""
    columns, last = (strided(), AT_END) if "t_prev" in i else (row(), AT_1)
    p = law(i, columns, last)
    p = Normal(*map(forms, (given("own_mean"), given("own_var")), p)) if "own_mean" in i else p
    return book.ancestral_step(p, last, NOISE),


def ddim_formula(i: Inputs) -> tuple[E, ...]:
    """A step of DDIM from t to t_prev with the network inside."""
    columns = strided()
    x_0 = x_0_from(heads().mean, X_T, columns, i["predicts"])
    return draw(book.ddim(x_0, X_T, columns, given("eta")), NOISE),


def _path(step: Book) -> Book:
    """Such steps at all times, or at those that are kept."""
    def formula(i: Inputs) -> tuple[E, ...]:
        one, = step(i)
        path = walk(one, "x_t", "x_T", tuple(i["times"].tolist()) if "times" in i else None)
        return forms(given("own_path"), path) if "own_path" in i else path,
    return formula


def _path_page(i: Inputs) -> Page:
    return page_of(i, x_T=i["noise"][-1])


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "ancestral_step", "SMP.STEP", "x_{t−1} = mean + √var · noise of p(x_{t−1} | x_t); at t = 1 the mean", ("Ho 2020",),
        X_PREV, drawn_with(chain("x_t", "noise"), model=network), _step_edges, ByHand(_own_or_ancestral), ancestral_formula,
        given=_own_law, after=("reverse",), choices=CHOICES),
    Quantity(
        "strided_step", "SMP.STRIDE", "an ancestral step from t to t_prev < t, with the rate 1 − ᾱ_t/ᾱ_{t_prev} in place of "
        "β_t; at t_prev = 0 the mean", ("Nichol 2021",), X_PREV, lambda given: _skipping(given, {}), _skipping_edges,
        ByHand(lambda i: (_one_step(_ancestral, i),)), ancestral_formula, after=("ancestral_step",), choices=CHOICES),
    Quantity(
        "ddim_step", "SMP.DDIM", "√ᾱ_s x̂_0 + √(1−ᾱ_s−σ²) ε̂ + σ noise, s = t_prev, σ² = η² (1−ᾱ_s)/(1−ᾱ_t) (1 − ᾱ_t/ᾱ_s), "
        "ε̂ = (x_t − √ᾱ_t x̂_0)/√(1−ᾱ_t)", ("Song 2021",), X_PREV, lambda given: _skipping(given, {"eta": numbers(0, 1)}),
        _ddim_edges, ByHand(lambda i: (_one_step(_ddim, i),)), ddim_formula, after=("x_0_from_model",), choices=("predicts",)),
    Quantity(
        "sample", "SMP.PATH", "x_0 by T ancestral steps: noise[T] is x_T, noise[t−1] draws the step from t", ("Ho 2020",),
        (Output("X_0"),), _paths, _path_edges, ByHand(_sample), _path(ancestral_formula), given=_own_path("ancestral_step"),
        after=("ancestral_step",), choices=CHOICES, page=_path_page),
    Quantity(
        "ddim_sample", "SMP.DDIM_PATH", "x_0 by steps of DDIM at the kept `times`, increasing to T: noise[S] is x_T, "
        "noise[n−1] draws the step from times[n−1]", ("Song 2021",), (Output("X_0"),), _kept_paths, _kept_path_edges,
        ByHand(_ddim_sample), _path(ddim_formula), given=_own_path("ddim_step"), after=("ddim_step",), choices=("predicts",),
        page=_path_page),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _steps_together(T: int, last: float | None = None) -> Sampler:
    """A schedule of T steps, some of which are taken at once; the rate at T is `last` if that is said."""
    def drawn(rng: np.random.Generator, n: int) -> tuple[tuple[Array, ...], dict[str, Array]]:
        beta = np.append(0.0, wide(1e-12, 0.9)(rng, T))
        beta[T] = beta[T] if last is None else last
        return (beta,), {"times": np.unique(np.append(rng.integers(1, T + 1, 4), T))}
    return drawn


ENDS = {
    "later.sampler.jump": ends(STATE, STATE, rate, BELOW, eta=wide(1e-3, 1.0, 0.0)),
    "later.sampler.respaced": (_steps_together(1), _steps_together(1, 1.0), _steps_together(5), _steps_together(5, 1.0),
                               _steps_together(200), _steps_together(200, 1.0))}


# -- mistakes ----------------------------------------------------------------------------------------------------------

# Not yet plantable: SCH-23 needs a corrector.

def _directed(share: Callable[[Array, Array], Array]) -> Plant:
    """Another share(1 − ᾱ_{t−1}, σ²) of the noise in the mean."""
    def jump(q: Gaussian, x_0: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> Gaussian:
        a, v, w = gaussian.shares(beta, log_alpha_bar_prev)
        noise = (x_t - np.sqrt(a * (1 - beta)) * x_0) / np.sqrt(w)
        return q._replace(mean=np.sqrt(a) * x_0 + share(v, q.var) * noise)
    return then(jump)


def silent(noise: Array, *places: int) -> Array:
    """The noise without that at some places; the start, at the last, is kept."""
    kept = np.ones(len(noise))
    kept[[place for place in places if place < len(noise) - 1]] = 0
    return noise * kept.reshape((-1,) + (1,) * (noise.ndim - 1))


def _noise_at_the_end(path: Iterator[tuple[int, Array]], beta: Array, noise: Array) -> Iterator[tuple[int, Array]]:
    return ((t, x if t else x + np.sqrt(beta[1]) * noise[0]) for t, x in path)


def _told_the_index(model: Any, times: Array) -> Any:
    return model._replace(predictor=SimpleNamespace(
        predict=lambda *args, t: model.predictor.predict(*args, t=np.searchsorted(times, t) + 1)))


def _stale_noise(parameters: Any, beta: Array, *, noise: Array, times: Array, model: Any, eta: float, clip: float | None = None
                 ) -> Iterator[tuple[int, Array]]:
    """x̂_0 is clipped, the direction is that of the noise before."""
    rates, x, most = sampler.respaced(beta, times=times), noise[len(times)], np.inf if clip is None else clip
    level = schedule.log_alpha_bar(rates)
    yield int(times[-1]), x
    for i in range(len(times), 0, -1):
        step = schedule.step(rates, level, t=np.full(len(x), i), ndim=x.ndim)
        heads = model.predictor.predict(parameters, x, step, t=np.full(len(x), times[i - 1]))
        x_0 = mean.x_0_from(heads.mean, x, step, predicts=model.predicts)
        q = sampler.jump(x_0, x, step.beta, step.log_alpha_bar_prev, eta=eta)
        shift = np.exp(step.log_alpha_bar_prev / 2) * (np.clip(x_0, -most, most) - x_0)
        x = q.mean + shift + np.sqrt(q.var) * noise[i - 1]
        yield int(times[i - 2]) if i > 1 else 0, x


def _of_the_full_chain(noise: Array, beta: Array, times: Array, model: Any) -> Array:
    """The variance β_t of one step of the chain where the step takes several at once."""
    rates = sampler.respaced(beta, times=times)
    deviations = np.append(np.sqrt(beta[times] / rates[1:]), 1.0).reshape((-1,) + (1,) * (noise.ndim - 1))
    return noise * deviations if model.variance == "large" else noise


in_jump, in_ancestral_path = of("later.sampler.jump"), of("later.sampler.ancestral_path")
in_ddim_path = of("later.sampler.ddim_path")

MISTAKES = (
    in_jump("REV-10", "direction of DDIM scaled by σ → by √(1 − ᾱ_{t−1} − σ²)", "jsboige/CoursIA!16158",
            _directed(lambda v, var: np.sqrt(var))),
    in_jump("NEW-DDIM-VAR", "direction √(1 − ᾱ_{t−1}) whatever η → √(1 − ᾱ_{t−1} − σ²)", "noise on top of a step that has enough",
            _directed(lambda v, var: np.sqrt(v))),
    Mistake("POS-08", "strided chain with the rates of single steps → with 1 − ᾱ_t/ᾱ_s", "huggingface/diffusers@cedafb8",
            "later.sampler.respaced", "value", instead(lambda beta, *, times: beta[np.append(0, times)])),
    in_ancestral_path("POS-11", "strided chain with the large variance of single steps → of its own",
            "huggingface/diffusers@1dc856e", told(noise=_of_the_full_chain)),
    Mistake("SCH-16", "steps by a stride: one more than asked for → as many as asked for, up to T", "huggingface/diffusers@675ef1f",
            "later.sampler.spaced", "value", then(lambda times, T, count: np.arange(1, T + 1, T // count))),
    Mistake("SCH-17b", "kept steps 1, 1 + stride, … never reach T → end there", "openai/improved-diffusion#44",
            "later.sampler.spaced", "value", then(lambda times, T, count: times - T // count + 1)),
    in_ddim_path("REV-04b", "noise on the sample itself → none at the last step", "Burak599/NumPy-Diffusion@71f6e20",
            then(_noise_at_the_end)),
    in_ancestral_path("REV-04c", "noise on the last step's mean → none", "jgcarrasco/diffusion@d85c464", then(_noise_at_the_end)),
    in_ancestral_path("REV-05b", "noise switched off at the last two steps → at the last", "AkiRusProd/numpy-diffusion@5116f79",
            told(noise=lambda noise: silent(noise, 0, 1))),
    in_ddim_path("REV-13", "x̂_0 clipped, noise not computed anew → computed anew",
            "lucidrains/denoising-diffusion-pytorch@6dda508", instead(_stale_noise)),
    in_ddim_path("TRN-05b", "network told the number of a kept step → its t", "gmongaras/Diffusion_models_from_scratch@cb4fd62",
            told(model=_told_the_index)),
    Mistake("NEW-JUMP", "share of x_0 in DDIM as √ᾱ_{t−1} − k √ᾱ_t → as a quotient of sums", "the textbook form",
            "later.sampler.jump", "accuracy", PRINTED),
    Mistake("NEW-RATES", "1 − ᾱ_t/ᾱ_s → −expm1 of a sum of logarithms", "the textbook form", "later.sampler.respaced", "accuracy",
            PRINTED),
)
