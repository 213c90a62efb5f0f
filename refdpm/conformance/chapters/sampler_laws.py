"""Laws of samplers: what the samples are distributed like, what the last noise does, and what the network is asked.

For normal data the exact network is affine in x_t, and so is every sample in the noise.  Fed with one unit of noise at a time a
sampler shows its coefficients, and their squares add up to the variance of its samples: no statistics.  What they should add up to
is a recursion of two numbers, P_{t−1} = g² P_t + σ² and m_{t−1} = g m_t + h, from P_T = 1 and m_T = 0.

Source: Song, Meng, Ermon 2021 for the steps; the recursion is derived in `later.sampler`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refdpm.conformance.adapter import MOST, Fault, Model, Observed, Skip
from refdpm.conformance.chapters.inputs import D, N, Given, Inputs, edge_network, rates, spread_out
from refdpm.conformance.chapters.quantity import Book, Finding, Law, page_of
from refdpm.conformance.chapters.sampler import ETAS, X_T, ancestral_formula, ddim_formula, own_lists
from refdpm.conformance.precision import LIMIT, unit_of_law
from refdpm.textbook.chain import row
from refdpm.textbook.expression import node, sqrt
from refdpm.textbook.page import Page
from refdpm.textbook.prediction import from_x_0
from refdpm.textbook.values import floats
from refdpm.vjp import Array

BETA = rates([0.125, 0.25, 0.5, 0.375, 0.625])
CENTRE, SPREAD = np.array([0.5, -1.0]), np.array([0.25, 4.0])        # mean and variance of the data's components


# -- the exact network for normal data -----------------------------------------------------------------------------------

def exact_network(beta: Array, predicts: str) -> Model:
    """What a perfect network says of such data; its head, where it has one, is 0."""
    columns, centre, spread = row(), node(CENTRE), node(SPREAD)
    keep = sqrt(columns.alpha_bar)
    x_0 = centre + spread * keep / (columns.alpha_bar * spread + columns.rest) * (X_T - keep * centre)
    said = from_x_0(x_0, X_T, columns, predicts)
    t = np.arange(1, len(beta))
    start, end = (floats([said], Page({"x_t": np.full((len(t), D), x)}, beta=beta, t=t))[0] for x in (0.0, 1.0))
    weight, bias = np.zeros((len(beta), D, 2 * D)), np.zeros((len(beta), 2 * D))
    weight[1:, range(D), range(D)], bias[1:, :D] = end - start, start
    return Model(weight, bias)


# -- the law of the samples ----------------------------------------------------------------------------------------------

class Moments(NamedTuple):
    """The mean and variance of each component."""

    mean: Array
    var: Array


def _moments(book: Book, inputs: Inputs) -> Moments:
    """Those of the last state, by the recursion, from where a step takes x_t = 0, x_t = 1 and one unit of noise."""
    times, found = (0, *inputs.get("times", range(1, len(inputs["beta"])))), Moments(np.zeros(D), np.ones(D))
    x_t, noise = (np.outer(part, np.ones(D)) for part in ((0, 1, 0), (0, 0, 1)))
    page, step = page_of(inputs, x_t=x_t, noise=noise), book(inputs)
    for n in range(len(times) - 1, 0, -1):
        (start, moved, drawn), = floats(step, page.at(np.full(3, times[n]), t_prev=np.full(3, times[n - 1])))
        g, deviation = moved - start, drawn - start
        found = Moments(g * found.mean + start, g ** 2 * found.var + deviation ** 2)
    return found


def _distance(subject: Any, name: str, inputs: Inputs, book: Book) -> Finding:
    """How far a sampler's mean and variance are off, from noise 0 and from one unit in every place."""
    function = subject.functions[name]
    chosen = subject.chosen(function, inputs)
    right = _moments(book, chosen)
    steps = len(inputs["noise"])
    if steps * (steps + 1) * D > MOST:
        raise Skip(f"a chain of {steps - 1} steps is too long to be asked for its law: that takes {steps + 1} samples")
    noise = np.zeros((steps, steps + 1, D))
    noise[np.arange(steps), np.arange(1, steps + 1)] = 1
    asked = inputs | {"noise": noise}
    answer = subject.ask(name, asked)
    scale, = function.scale(subject.chosen(function, asked))
    if not np.all(np.isfinite(scale)):
        raise Skip("what is sampled is not defined where ᾱ_t = 0")
    value, = answer.values
    found = Moments(value[0], ((value[1:] - value[0]) ** 2).sum(axis=0))
    allowed = Moments(scale[0], 2 * (np.abs(value[1:] - value[0]) * (scale[1:] + scale[0])).sum(axis=0))
    unit = LIMIT * unit_of_law(subject.source.dtype, answer.dtype)
    with np.errstate(invalid="ignore"):
        ratios = [np.max(np.abs(one - other) / (unit * bound)) for one, other, bound in zip(found, right, allowed)]
    worst = np.inf if np.any(np.isnan(ratios)) else max(ratios)
    words = f"samples have mean {found.mean} and variance {found.var}, expected {right.mean} and {right.var}"
    return Finding(float(worst), words if worst > 1 else "", asked if worst > 1 else None)


def _beta(given: Given) -> Array:
    return BETA if given.beta is None else given.beta


def _ancestral_law(subject: Any, given: Given, seed: int) -> Finding:
    beta = _beta(given)
    inputs = {"beta": beta, "model": exact_network(beta, subject.profile.predicts), "noise": np.zeros((len(beta), 1, D))}
    return _distance(subject, "sample", inputs, ancestral_formula)


def _ddim_law(subject: Any, given: Given, seed: int) -> Finding:
    beta, predicts = _beta(given), subject.profile.predicts
    found, left_out = [], "no path could be drawn"
    for eta in ETAS:
        every_second = np.unique(np.append(np.arange(2, len(beta) - 1, 2), len(beta) - 1))
        for times in own_lists(given) or (np.arange(1, len(beta)), every_second):
            if predicts == "mean" and len(times) < len(beta) - 1:
                continue                                               # the exact mean is that of another chain then
            inputs = {"beta": beta, "model": exact_network(beta, predicts), "times": times, "eta": eta,
                      "noise": np.zeros((len(times) + 1, 1, D))}
            try:
                found.append(_distance(subject, "ddim_sample", inputs, ddim_formula))
            except Skip as skip:                                       # it has an η of its own, say
                left_out = str(skip)
    if not found:
        raise Skip(left_out)
    return max(found, key=lambda finding: finding.ratio)


# -- the last noise, and what the network is asked ---------------------------------------------------------------------------

def _path(given: Given, *, kept: bool) -> Inputs:
    beta = _beta(given)
    T = len(beta) - 1
    times = _kept_times(given, T) if kept else np.arange(1, T + 1)
    return ({"noise": spread_out(len(times) + 1, N, D), "beta": beta, "model": edge_network(T)}
            | ({"times": times, "eta": 0.0} if kept else {}))


def _kept_times(given: Given, T: int) -> Array:
    own = own_lists(given)
    return own[0] if own else np.unique([max(T // 2, 1), max(T - 1, 1), T])


def _last_noise(name: str) -> Callable[[Any, Given, int], Finding]:
    def run(subject: Any, given: Given, seed: int) -> Finding:
        inputs = _path(given, kept=name == "ddim_sample")
        other = inputs | {"noise": np.concatenate([inputs["noise"][:1] + 1, inputs["noise"][1:]])}
        before, after = (subject.ask(name, one).values[0] for one in (inputs, other))
        same = np.array_equal(before, after, equal_nan=True)
        return Finding(0.0) if same else Finding(np.inf, "noise[0] changes the sample: the last step is drawn, or noise is counted "
                                                 "in another order", inputs)
    return run


def _told(name: str) -> Callable[[Any, Given, int], Finding]:
    def run(subject: Any, given: Given, seed: int) -> Finding:
        inputs = _path(given, kept=name == "ddim_sample")
        arguments = subject.arguments(name, inputs)
        network = arguments["model"] = Observed(arguments["model"])
        try:
            subject.raw(name, arguments)
        except Fault:
            if not network.asked:
                raise
        return _compared([np.unique(t) for _, t in network.asked], inputs, subject.profile.of(name))
    return run


def _compared(asked: list[Array], inputs: Inputs, profile: Any) -> Finding:
    """The t at which the network was asked, call by call."""
    if not asked:
        raise Skip("calls of the network cannot be seen from here")
    times = inputs.get("times", np.arange(1, len(inputs["beta"])))[::-1].tolist()
    told = [float(at) + 1 - profile.first_t for part in asked for at in part]
    in_a_row = [t for n, t in enumerate(told) if n == 0 or told[n - 1] != t]
    orders = [times, times[:-1]] if profile.first == "fixed" else [times]
    if all(len(part) == 1 for part in asked) and any(
            order and in_a_row == order * (len(in_a_row) // len(order)) for order in orders):
        return Finding(0.0)
    return Finding(np.inf, f"the network is asked at t = {_short(told)}, expected {_short(times)}", inputs)


def _short(times: list[Any]) -> str:
    words = [f"{t:g}" for t in times]
    return ", ".join(words if len(words) <= 12 else [*words[:6], "…", *words[-5:]])


LAWS: tuple[Law, ...] = (
    Law("SMP.LAW", "samples of normal data from the exact network have the mean and variance of P_{t−1} = g² P_t + σ²",
        ("Ho 2020",), ("sample",), _ancestral_law, ("later.sampler.ancestral_path",)),
    Law("SMP.DDIM_LAW", "DDIM's samples of normal data from the exact network have the right mean and variance (∏ g² at "
        "η = 0), on all steps and on every second", ("Song 2021",),
        ("ddim_sample",), _ddim_law, ("later.sampler.ddim_path",)),
    Law("SMP.LAST", "the last step adds no noise: noise[0] changes nothing", ("Ho 2020",), ("sample",), _last_noise("sample"),
        ("later.sampler.ancestral_path",)),
    Law("SMP.DDIM_LAST", "DDIM's last step adds no noise: noise[0] changes nothing", ("Song 2021",),
        ("ddim_sample",), _last_noise("ddim_sample"),
        ("later.sampler.ddim_path",)),
    Law("SMP.TIMES", "the network is asked at t = T, T−1, …, 1", ("Ho 2020",), ("sample",), _told("sample"),
        ("NEW-AS",)),
    Law("SMP.DDIM_TIMES", "the network is asked at the kept times, and not at their numbers", ("Song 2021",), ("ddim_sample",),
        _told("ddim_sample"), ("later.sampler.ddim_path",)),
)
