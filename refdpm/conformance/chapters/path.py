"""Straight paths x_t = (1 − t) x_0 + t ε, as in flow matching.

`time`, or `t`, is (N, 1), one for each row, with as many axes as x_t; `network(x, t)` says v.  Time from noise to data, and v
with the other sign, are found out and no mistake (`data_at`).

Sources: Liu, Gong, Liu 2023; Lipman and others 2023; Esser and others 2024 (shift, law of t); Ma and others 2024 (noise).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.conformance.adapter import Network
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays
from refdpm.conformance.chapters.ends import BOTH, STATE, chosen, ends, wide
from refdpm.conformance.chapters.inputs import D, N, Given, Inputs, drawn, exactly, listed, spread_out
from refdpm.conformance.chapters.quantity import ByHand, Law, Output, Quantity, page_of
from refdpm.conformance.chapters.solver import number, order_of
from refdpm.conformance.chapters.theory import Theory
from refdpm.conformance.planting import Mistake, instead, of, then, told
from refdpm.later import path
from refdpm.textbook import path as book
from refdpm.textbook.expression import E, Levels, along, given, square
from refdpm.textbook.loss import mean_of
from refdpm.vjp import Array

SOURCE = ("Lipman 2023",)
VALUE = (Output("VALUE"),)
FLOW = Network("velocity", exactly([0.5, -1.0]), exactly([0.25, 4.0]))
GRAIN = 64                      # times are multiples of 1/64, so that single precision holds t and 1 − t


# -- inputs ------------------------------------------------------------------------------------------------------------

def _times(*k: int) -> Array:
    return np.array(k)[:, None] / GRAIN


TIME = draws.integer_arrays((N, 1), 1, GRAIN - 1).map(lambda k: k / GRAIN)


def _at_times(*states: str, **more: Draw) -> Callable[[Given], Draw]:
    """Draws states of those names, and a t for every row; `more` is drawn besides."""
    return drawn(**{name: arrays(N, D) for name in states}, time=TIME, **more)


def _edges(*states: str, **more: Any) -> list[Inputs]:
    """Times over all of the path, those near its ends, a batch of one, and images (N, H, W, C)."""
    columns = (_times(16, 40, 5), _times(1, 63, 32, 20), _times(48))
    found = [{name: spread_out(len(column), D, start=0.3 * i) for i, name in enumerate(states)} | {"time": column} | more
             for column in columns]
    images = {name: spread_out(3, 4, 5, D, start=0.3 * i) for i, name in enumerate(states)}
    return [*found, *([images | {"time": columns[0].reshape(-1, 1, 1, 1)} | more] if states else ())]


def _steps(**more: Any) -> list[Inputs]:
    return [{"x_t": spread_out(*shape, D), "time": number(a), "time_next": number(b), "network": FLOW} | more
            for shape, a, b in (((4,), 0.75, 0.25), ((4,), 1.0, 0.875), ((3,), 0.125, 0.0), ((3, 4, 5), 0.5, 0.375))]


@draws.composed
def _drawn_steps(draw: Callable[[Draw], Any], given: Given) -> Inputs:
    high, low = sorted(draw(draws.subsets(0, GRAIN, least=2, most=2)), reverse=True)
    return {"x_t": draw(arrays(N, D)), "time": number(high / GRAIN), "time_next": number(low / GRAIN), "network": FLOW}


def _noisy_steps() -> list[Inputs]:
    """The same steps with noise, with w below and above 1."""
    return [step | {"noise": spread_out(*step["x_t"].shape, start=0.3), "diffusion": number(w)}
            for step, w in zip(_steps(), (0.5, 2.0, 0.25, 1.5), strict=True)]


def _drawn_noisy_steps(given: Given) -> Draw:
    more = draws.named({"noise": arrays(N, D), "diffusion": draws.numbers(0.25, 2).map(number)})
    return draws.several(_drawn_steps(given), more).map(lambda parts: parts[0] | parts[1])


COUNTS = (4, 4, 2, 1)


# -- quantities ----------------------------------------------------------------------------------------------------------

X_0, X_T, NOISE, VELOCITY, TIME_OF, AFTER = map(given, ("x_0", "x_t", "noise", "velocity", "time", "time_next"))
INTERPOLATED = book.between(X_0, NOISE, TIME_OF)


def _said(x: E, time: E) -> E:
    return book.of_normal_data(x, time, given("centre"), given("spread"))


def _step_of(x: E, time: Any, after: Any) -> E:
    return book.step(x, _said(x, time), time, after)


def _loss(i: Inputs) -> tuple[Array, ...]:
    said = i["network"](path.between(i["x_0"], i["noise"], i["time"]), i["time"])
    return np.asarray(np.mean(np.square(said - path.velocity(i["x_0"], i["noise"])))),


def _noisy_step(i: Inputs) -> tuple[Array, ...]:
    more = {name: i[name] for name in ("time", "time_next", "diffusion", "noise")}
    return path.noisy_step(i["x_t"], i["network"](i["x_t"], i["time"]), **more),


GRID = Levels("time", "time_next", lambda given: np.linspace(1, 0, int(given["count"]) + 1).tolist())
CHAIN = along(_step_of(X_T, TIME_OF, AFTER), "x_t", "start", GRID)


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "path_sample", "PTH.SAMPLE", "x_t = (1 − t) x_0 + t ε", SOURCE, VALUE, _at_times("x_0", "noise"),
        listed(*_edges("x_0", "noise")), Theory(path.between, "x_0", "noise", "time"), (INTERPOLATED,),
        arguments=("x_0", "noise", "time")),
    Quantity(
        "path_velocity", "PTH.V", "v = ε − x_0, what a network for straight paths is to say", SOURCE,
        (Output("VALUE", "velocity"),), drawn(x_0=arrays(N, D), noise=arrays(N, D)),
        listed(*({"x_0": edge["x_0"], "noise": edge["noise"]} for edge in _edges("x_0", "noise"))),
        Theory(path.velocity, "x_0", "noise"), (book.velocity(X_0, NOISE),), arguments=("x_0", "noise")),
    Quantity(
        "path_loss", "PTH.LOSS", "(v̂ − v)², the mean over the examples of a batch and their components: what the network says at "
        "x_t and t beside ε − x_0", SOURCE, (Output("VALUE", "loss"),), _at_times("x_0", "noise", network=draws.just(FLOW)),
        listed(*_edges("x_0", "noise", network=FLOW)), ByHand(_loss),
        (mean_of(square(_said(INTERPOLATED, TIME_OF) - book.velocity(X_0, NOISE))),), after=("path_sample", "path_velocity")),
    Quantity(
        "x_0_from_velocity", "PTH.X_0", "x_t − t v, v of a straight path", SOURCE, VALUE, _at_times("velocity", "x_t"),
        listed(*_edges("velocity", "x_t")), Theory(path.x_0_from_velocity, "velocity", "x_t", "time"),
        (book.x_0_from(VELOCITY, X_T, TIME_OF),), arguments=("velocity", "x_t", "time")),
    Quantity(
        "noise_from_velocity", "PTH.NOISE", "x_t + (1 − t) v, v of a straight path", SOURCE, VALUE, _at_times("velocity", "x_t"),
        listed(*_edges("velocity", "x_t")), Theory(path.noise_from_velocity, "velocity", "x_t", "time"),
        (book.noise_from(VELOCITY, X_T, TIME_OF),), arguments=("velocity", "x_t", "time")),
    Quantity(
        "score_from_velocity", "PTH.SCORE", "−ε̂/t = −(x_t + (1 − t) v)/t, the score at x_t, v of a straight path", ("Ma 2024",),
        VALUE, _at_times("velocity", "x_t"), listed(*_edges("velocity", "x_t")),
        Theory(path.score_from_velocity, "velocity", "x_t", "time"), (book.score_from(VELOCITY, X_T, TIME_OF),),
        arguments=("velocity", "x_t", "time")),
    Quantity(
        "path_alpha_bar", "PTH.LEVEL", "ᾱ = (1−t)²/((1−t)² + t²), the level of the chain that a straight path is at", SOURCE, VALUE,
        _at_times(), listed(*_edges()), ByHand(lambda i: (np.exp(path.level(i["time"])),)), (book.alpha_bar(TIME_OF),)),
    Quantity(
        "path_bound_weight", "PTH.WEIGHT", "(1 − t)/t, the weight of (v̂ − v)² with which the loss is that of the bound, "
        "−½ dSNR/dt (x̂_0 − x_0)²", ("Kingma 2021",), VALUE, _at_times(), listed(*_edges()), Theory(path.bound_weight, "time"),
        (book.bound_weight(TIME_OF),)),
    Quantity(
        "path_shifted", "PTH.SHIFT", "s t/(1 + (s − 1) t), applied once; s is `shift`", ("Esser 2024",), (Output("VALUE", "time"),),
        _at_times(shift=draws.one_of([number(3), number(1.75)])), listed(*_edges(shift=number(3)), *_edges(shift=number(1.75))),
        Theory(path.shifted, "time", fixed=("shift",)), (book.shifted(TIME_OF, given("shift")),)),
    Quantity(
        "path_drawn", "PTH.DRAWN", "t = 1/(1 + exp(−m − s z)), the t that your training draws, for standard normal noise z",
        ("Esser 2024",), VALUE,
        drawn(noise=arrays(N, 1), mean=draws.numbers(-1, 1).map(number), spread=draws.numbers(0.25, 2).map(number)),
        listed(*({"noise": spread_out(5, 1), "mean": number(m), "spread": number(s)} for m, s in ((0.5, 1.25), (-0.75, 0.5)))),
        ByHand(lambda i: (path.logit_normal(i["mean"], i["spread"], noise=i["noise"]),)),
        (book.logit_normal(given("mean"), given("spread"), NOISE),)),
    Quantity(
        "path_step", "PTH.STEP", "x_t + (t' − t) v, v what the network says at x_t and t", SOURCE, (Output("X_NEXT"),),
        _drawn_steps, listed(*_steps()),
        ByHand(lambda i: (path.flow_step(i["x_t"], i["time"], i["time_next"], flow=i["network"]),)),
        (_step_of(X_T, TIME_OF, AFTER),)),
    Quantity(
        "path_stochastic_step", "PTH.NOISY", "x_t + (t' − t) (v − ½ w s) + √(w (t − t')) ε, v what the network says at x_t and t, "
        "s its score; w = `diffusion` is the variance that a unit of time adds", ("Ma 2024",),
        (Output("X_NEXT"),), _drawn_noisy_steps, listed(*_noisy_steps()), ByHand(_noisy_step),
        (book.noisy_step(X_T, _said(X_T, TIME_OF), TIME_OF, AFTER, given("diffusion"), NOISE),),
        after=("path_step", "score_from_velocity")),
    Quantity(
        "path_euler_sample", "PTH.PATH", "x_0 by `count` Euler steps of equal length from noise to data, beginning at x_t", SOURCE,
        (Output("X_0"),), drawn(x_t=arrays(N, D), count=draws.one_of(COUNTS), network=draws.just(FLOW)),
        listed(*({"x_t": spread_out(3, D, start=0.1 * n), "count": count, "network": FLOW} for n, count in enumerate(COUNTS))),
        ByHand(lambda i: (path.sample(i["x_t"], i["count"], flow=i["network"]),)), (CHAIN,), after=("path_step",),
        page=lambda i: page_of(i, start=i["x_t"])),
)


# -- a law -----------------------------------------------------------------------------------------------------------------

def _to_data(count: int) -> tuple[Inputs, Array]:
    """So many steps from noise to normal data, and where the flow leads: x_1 is noise, and x_0 = m + s x_1."""
    x_t = spread_out(3, D, low=2, high=4)
    return {"x_t": x_t, "count": count, "network": FLOW}, FLOW.centre + np.sqrt(FLOW.spread) * x_t


LAWS: tuple[Law, ...] = (
    Law("PTH.ORDER", "twice the steps halve the error of Euler's chain along a straight path; a better rule is no mistake here",
        SOURCE, ("path_euler_sample",), order_of("path_euler_sample", 1, _to_data), ("PTH-REVERSED",)),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

PART = wide(2.0 ** -20, 0.5, 1.0 - 2.0 ** -20)
SMALL = wide(1e-3, 4.0, signs=BOTH)

ENDS = {
    "later.path.between": ends(STATE, STATE, PART), "later.path.velocity": ends(STATE, STATE),
    **{f"later.path.{name}": ends(STATE, STATE, PART) for name in (
        "x_0_from_velocity", "noise_from_velocity", "velocity_from_x_0")},
    "later.path.score_from_velocity": ends(STATE, STATE, PART),
    "later.path.noisy_step": ends(STATE, STATE, time=wide(0.25, 1.0), time_next=wide(1e-3, 0.25),
                                  diffusion=wide(1e-3, 10.0), noise=STATE),
    "later.path.level": ends(PART), "later.path.bound_weight": ends(PART),
    "later.path.shifted": (ends(PART, shift=3.0), ends(PART, shift=0.25)),
    "later.path.logit_normal": ends(SMALL, SMALL, noise=SMALL),
    "later.path.step": ends(STATE, STATE, PART, chosen(0.0, 0.25, 1.0))}


# -- mistakes ------------------------------------------------------------------------------------------------------------

def _one_step_missing(x_t: Array, count: int, *, flow: Any) -> Array:
    for time in np.linspace(1, 0, count)[:-1]:
        x_t = x_t - flow(x_t, np.asarray(time)) / count
    return x_t


def _steps_too_short(x_t: Array, count: int, *, flow: Any) -> Array:
    for n in range(count):
        x_t = x_t - flow(x_t, np.asarray(1 - n / (count + 1))) / (count + 1)
    return x_t


def _the_other_way(x_t: Array, count: int, *, flow: Any) -> Array:
    for n in range(count):
        x_t = x_t + flow(x_t, np.asarray(n / count)) / count
    return x_t


def _between_shifted_ends(time: Array, *, shift: float) -> Array:
    """Of a list of as many steps as the grain of the times that are asked for."""
    first = shift / GRAIN / (1 + (shift - 1) / GRAIN)
    between = first + (time - 1 / GRAIN) * (1 - first) / (1 - 1 / GRAIN)
    return shift * between / (1 + (shift - 1) * between)


def _deviation(w: Array, h: Array) -> Array:
    return np.sqrt(w * h)


def _noisy_step_with(*, drift: float = 0.5, spread: Callable[[Array, Array], Array] = _deviation) -> Callable[..., Array]:
    """A step with noise that takes so much of w times the score away, and adds noise of that deviation."""
    def step(x_t: Array, velocity: Array, *, time: Array, time_next: Array, diffusion: Array, noise: Array) -> Array:
        slope = velocity - drift * diffusion * path.score_from_velocity(velocity, x_t, time)
        return path.step(x_t, slope, time, time_next) + spread(diffusion, time - time_next) * noise
    return step


in_shift = of("later.path.shifted")
in_score, in_noisy = of("later.path.score_from_velocity"), of("later.path.noisy_step")

MISTAKES = (
    Mistake("PTH-SIGN", "v = x_0 − ε with data at t = 0 → ε − x_0", "primepake/splitmeanflow#2",
            "later.path.velocity_from_x_0", "value", then(np.negative)),
    Mistake("PTH-TARGET", "target of a velocity network is the noise → ε − x_0", "NEW-V-TARGET on a straight path",
            "later.path.velocity", "value", then(lambda v, noise: noise)),
    Mistake("PTH-ROOTS", "√(1−t) x_0 + √t ε → (1 − t) x_0 + t ε", "the shares of the chain, whose squares add up to 1",
            "later.path.between", "value", instead(
                lambda x_0, noise, time: np.sqrt(1 - time) * x_0 + np.sqrt(time) * noise)),
    Mistake("PTH-CIRCLE", "cos(πt/2) x_0 + sin(πt/2) ε → (1 − t) x_0 + t ε", "the path of constant variance",
            "later.path.between", "value", instead(
                lambda x_0, noise, time: np.cos(np.pi / 2 * time) * x_0 + np.sin(np.pi / 2 * time) * noise)),
    Mistake("PTH-ENDS", "x_0 = x_t − (1 − t) v → x_t − t v", "the length to the other end of the path",
            "later.path.x_0_from_velocity", "value", told(time=lambda time: 1 - time)),
    Mistake("PTH-ENDSb", "ε = x_t + t v → x_t + (1 − t) v", "the same for the noise", "later.path.noise_from_velocity", "value",
            told(time=lambda time: 1 - time)),
    in_shift("PTH-LIST", "times between ends that are shifted, shifted again → shifted once", "huggingface/diffusers#13243",
             instead(_between_shifted_ends)),
    Mistake("PTH-PROBIT", "t = Φ(m + s z) → 1/(1 + exp(−m − s z))", "another S-shaped function", "later.path.logit_normal", "value",
            instead(lambda mean, spread, *, noise: 0.5 + 0.5 * np.tanh(mean + spread * noise))),
    in_score("PTH-SCORE-V", "−(x_t − (1 − t) v)/t → plus", "yifan123/flow_grpo#145", then(
        lambda score, velocity, x_t, time: ((1 - time) * velocity - x_t) / time)),
    in_noisy("PTH-NOISE-ALONE", "noise added to Euler's step → with −½ w s in its slope", "tue-bmd/zea#551",
             instead(_noisy_step_with(drift=0.0))),
    Mistake("PTH-NEXT", "the network asked at t' → at t", "the new time for the old one", "later.path.flow_step", "value",
            instead(lambda x_t, time, time_next, *, flow: path.step(x_t, flow(x_t, time_next), time, time_next))),
    Mistake("PTH-LENGTH", "`count` steps of 1/(count + 1) → of 1/count", "times counted for steps", "later.path.sample", "value",
            instead(_steps_too_short)),
    Mistake("PTH-FEWER", "a step fewer, longer ones → `count` steps", "n times, which have n − 1 intervals", "later.path.sample",
            "value", told(count=lambda count: count - 1)),
    Mistake("PTH-REVERSED", "from data to noise → from noise to data", "lucidrains/rectified-flow-pytorch#14", "later.path.sample",
            "value", instead(_the_other_way)),
    Mistake("PTH-COUNT", "`count` times and steps of 1/count, which do not reach t = 0 → count + 1 times",
            "lucidrains/rectified-flow-pytorch#14", "later.path.sample", "value", instead(_one_step_missing)),
    Mistake("PTH-LEVEL", "ᾱ = 1 − t → (1−t)²/((1−t)² + t²)", "the share of x_0 taken for that of its variance", "later.path.level",
            "value", instead(lambda time: np.log(1 - time))),
    Mistake("PTH-WEIGHT", "(1 − t)/t³, the weight of an error of x_0 → (1 − t)/t", "an error of v is one of x_0 that is t times as "
            "large", "later.path.bound_weight", "value", then(lambda weight, time: weight / (time * time))),
    Mistake("PTH-SQUARES", "log of (1−t)²/((1−t)² + t²) → −log(1 + σ²)", "the textbook form", "later.path.level", "accuracy",
            instead(lambda time: np.log((1 - time) ** 2 / ((1 - time) ** 2 + time ** 2)))),
)
