"""Steps from one level σ to a lower one, judged one at a time with given noise, and chains of them.

`network(x, σ)` says x_0.  In a step σ is one number for all rows, an array without axes; `sigmas` are the levels of a chain, which
begins at x_t at the first of them, and the last may be 0.  η, `share` or `eta`, is 1 unless a function asks for it.

Sources: Karras, Aittala, Aila, Laine 2022; Lu and others 2022 (DPM-Solver++).
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from refdpm.conformance.adapter import Fault, Network, Skip
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays
from refdpm.conformance.chapters.ends import STATE, Case, Sampler, ends, wide
from refdpm.conformance.chapters.inputs import D, N, Given, Inputs, drawn, exactly, listed, spread_out
from refdpm.conformance.chapters.quantity import ByHand, Finding, Law, Output, Quantity, page_of
from refdpm.conformance.chapters.sigma import level_edges, of_level
from refdpm.conformance.chapters.theory import Theory
from refdpm.conformance.planting import Mistake, instead, of, then, told
from refdpm.conformance.precision import UNITS
from refdpm.later import solver
from refdpm.textbook import solver as book
from refdpm.textbook.expression import E, Levels, above, along, given, node, where
from refdpm.textbook.page import Page
from refdpm.vjp import Array

SOURCE = ("Karras 2022",)
NEXT = (Output("X_NEXT"),)
NORMAL = Network("x_0", exactly([0.5, -1.0]), exactly([0.25, 4.0]))


# -- inputs ------------------------------------------------------------------------------------------------------------

def number(x: float) -> Array:
    """An array without axes."""
    return np.asarray(exactly(x))


def _one(low: float, high: float) -> Draw:
    return arrays(low=low, high=high).map(np.asarray)


def _step(*states: str, **more: Draw) -> Callable[[Given], Draw]:
    """Draws states, and a step from σ in [1, 9] to σ' in [0.03, 0.9]."""
    return drawn(**{name: arrays(N, D) for name in states}, sigma=_one(1, 9), sigma_next=_one(0.03, 0.9),
                 network=draws.just(NORMAL), **more)


def _edges(*states: str, levels: tuple[tuple[float, float], ...], **more: Any) -> list[Inputs]:
    """Steps between levels; of the first one also images (N, H, W, C)."""
    def states_of(*shape: int) -> Inputs:
        return {name: spread_out(*shape, D, start=0.3 * i) for i, name in enumerate(states)}

    steps = [{"sigma": number(high), "sigma_next": number(low), "network": NORMAL} | more for high, low in levels]
    return [*(states_of(4) | step for step in steps), states_of(3, 4, 5) | steps[0]]


def churning(*amounts: float) -> Inputs:
    """S_churn, S_min, S_max and S_noise."""
    return dict(zip(("s_churn", "s_min", "s_max", "s_noise"), map(number, amounts), strict=True))


USUAL = ((2.0, 0.75), (8.0, 6.0), (0.25, 0.03125), (0.5, 0.0))
ABOVE_0 = USUAL[:-1]
# some, most, none because σ is above or below the range, and without a factor
CHURNED = tuple({"count": 18} | churning(*amounts) for amounts in (
    (4, 0.0625, 50, 1.25), (40, 0.0625, 50, 1.25), (4, 0.0625, 1.5, 1.25), (4, 3, 50, 1.25), (1.5, 1, 4, 1)))
# of chains of a few steps: some at levels inside of a range, most at all of them
CHURNED_CHAINS = (churning(0.5, 0.3, 4.5, 1.25), churning(40, 0, 100, 1))


@draws.composed
def _chains(draw: Callable[[Draw], Any], given: Given) -> Inputs:
    levels = np.sort(draw(arrays(draw(draws.integers(2, 4)), low=0.05, high=9.0)))[::-1].copy()
    ends = np.unique(np.append(levels, draw(draws.one_of([0.0, 0.03125]))))[::-1].copy()
    return {"x_t": draw(arrays(N, D)), "sigmas": ends, "network": NORMAL}


def _chain_edges(given: Given) -> list[Inputs]:
    return [{"x_t": spread_out(3, D, low=-4, high=4), "sigmas": exactly(levels), "network": NORMAL}
            for levels in ([4, 1.5, 0.5, 0.125, 0], [2, 1.25, 0.75, 0.25, 0.125], [9, 2.5, 2, 0.75, 0], [3, 0.5], [5, 2, 0])]


def _noisy_chains(**more: Any) -> Callable[[Given], Draw]:
    """The same with noise for every step."""
    def of(chain: Inputs) -> Draw:
        return arrays(len(chain["sigmas"]) - 1, *chain["x_t"].shape).map(lambda noise: chain | {"noise": noise} | more)
    return lambda given: _chains(given).flatmap(of)


def _noisy_chain_edges(*choices: Inputs) -> Callable[[Given], list[Inputs]]:
    return lambda given: [chain | {"noise": spread_out(len(chain["sigmas"]) - 1, *chain["x_t"].shape, start=0.3)} | more
                          for more in choices for chain in _chain_edges(given)]


# -- the textbook --------------------------------------------------------------------------------------------------------

X_T, NOISE, SIGMA, AFTER, SHARE = map(given, ("x_t", "noise", "sigma", "sigma_next", "share"))
Step = Callable[..., E]
BEFORE, SIGMA_BEFORE = given("denoised_before"), given("sigma_before")
GRID = Levels("sigma", "sigma_next", lambda given: given["sigmas"], before="sigma_before")
NOISY = GRID._replace(before="", noisy=True)


def _said(x: E, sigma: E) -> E:
    return book.of_normal_data(x, sigma, given("centre"), given("spread"))


def _euler(x: E, sigma: E, after: E) -> E:
    return book.euler(x, _said(x, sigma), sigma, after)


def _heun(x: E, sigma: E, after: E, least: E | int = 0) -> E:
    """Euler's step where it goes to the least level."""
    there = _euler(x, sigma, after)
    return where(above(after, least), book.heun(x, _said(x, sigma), _said(there, after), sigma, after), there)


def _churned(least: E | int = 0) -> E:
    gamma = book.churn(SIGMA, *map(given, ("count", "s_churn", "s_min", "s_max")))
    x, sigma = book.raised(X_T, SIGMA, gamma, NOISE, given("s_noise"))
    return _heun(x, sigma, AFTER, least)


def _least(i: Inputs) -> E | int:
    """The level to which a chain takes Euler's step: 0, or whatever is its last."""
    return given("last_level") if i["last_step"] == "euler" else 0


def _ancestral(share: E | int = 1) -> E:
    return book.ancestral(X_T, _said(X_T, SIGMA), SIGMA, AFTER, node(share), NOISE)


def _chain(step: Step, *least: E | int) -> tuple[E, ...]:
    return along(step(X_T, SIGMA, AFTER, *least), "x_t", "start", GRID),


def _page(i: Inputs) -> Page:
    """A chain begins at x_t; γ is shared among its steps."""
    return page_of(i, start=i["x_t"], count=len(i["sigmas"]) - 1, last_level=i["sigmas"][-1])


def _multistep_chain() -> tuple[E, ...]:
    now = _said(X_T, SIGMA)
    second_order = where(above(AFTER, 0), book.multistep(X_T, now, BEFORE, SIGMA_BEFORE, SIGMA, AFTER), now)
    step = where(above(SIGMA_BEFORE, SIGMA), second_order, _euler(X_T, SIGMA, AFTER))
    return along(step, "x_t", "start", GRID, denoised_before=now),


# -- the reference -------------------------------------------------------------------------------------------------------

def _by(step: str, **noisy: str) -> ByHand:
    """A step of the package; `noisy` says which input is which of its other arguments."""
    return ByHand(lambda i: (getattr(solver, step)(i["x_t"], i["sigma"], i["sigma_next"], denoiser=i["network"],
                                                   **{name: i[of] for name, of in noisy.items()}),))


def _churning(i: Inputs, count: int) -> Inputs:
    """What `churned_step` is told."""
    return {"count": count, "amount": i["s_churn"], "low": i["s_min"], "high": i["s_max"], "scale": i["s_noise"],
            "step": solver.heun_step}


def _churned_step(i: Inputs) -> tuple[Array, ...]:
    return solver.churned_step(i["x_t"], i["sigma"], i["sigma_next"], denoiser=i["network"], noise=i["noise"],
                               **_churning(i, i["count"])),


def _churned_path(i: Inputs) -> tuple[Array, ...]:
    step = partial(solver.churned_step, **_churning(i, len(i["sigmas"]) - 1))
    last = partial(step, step=_last(i))
    return solver.noisy_path(i["x_t"], i["sigmas"], denoiser=i["network"], noise=i["noise"], step=step, last=last),


def _last(i: Inputs) -> solver.Step:
    return solver.euler_step if i["last_step"] == "euler" else solver.heun_step


def _heun_path(i: Inputs) -> tuple[Array, ...]:
    return solver.path(i["x_t"], i["sigmas"], denoiser=i["network"], step=solver.heun_step, last=_last(i)),


SHARES = tuple(map(number, (1.0, 0.5, 1.5)))
PREDICTIONS = ("x_t", "denoised", "denoised_before", "sigma_before", "sigma", "sigma_next")
SPLIT_LEVELS = [{"sigma": number(high), "sigma_next": number(low), "share": share}
                for high, low in (ABOVE_0[2], *ABOVE_0) for share in SHARES]

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "sigma_slope", "SLV.SLOPE", "dx/dσ = (x_t − D)/σ, where D is what the network has said; one σ for each row", SOURCE,
        (Output("VALUE"),), of_level("x_t", "denoised"), level_edges("x_t", "denoised"),
        Theory(solver.slope, "x_t", "denoised", "sigma"), (book.slope(X_T, given("denoised"), SIGMA),),
        arguments=("x_t", "denoised")),
    Quantity(
        "sigma_euler_step", "SLV.EULER", "x_t + (σ' − σ) (x_t − D(x_t, σ))/σ", SOURCE, NEXT, _step("x_t"),
        listed(*_edges("x_t", levels=USUAL)), _by("euler_step"),
        (_euler(X_T, SIGMA, AFTER),)),
    Quantity(
        "sigma_heun_step", "SLV.HEUN", "x_t + ½ (σ' − σ) (d + d'), d = (x_t − D(x_t, σ))/σ, d' = (x' − D(x', σ'))/σ' at Euler's "
        "x'; at σ' = 0 Euler's step", SOURCE, NEXT, _step("x_t"), listed(*_edges("x_t", levels=USUAL)),
        _by("heun_step"), (_heun(X_T, SIGMA, AFTER),), after=("sigma_euler_step",)),
    Quantity(
        "sigma_churned_step", "SLV.CHURN", "Heun's step from σ̂ = σ (1 + γ) and x_t + √(σ̂² − σ²) S_noise ε, γ = "
        "min(S_churn/count, √2 − 1) where S_min ≤ σ ≤ S_max and 0 elsewhere; count is that of the steps", SOURCE, NEXT,
        _step("x_t", "noise", **{name: draws.just(value) for name, value in CHURNED[0].items()}),
        listed(*(_edges("x_t", "noise", levels=USUAL, **more)[at] for at in (0, -2, -1) for more in CHURNED)),
        ByHand(_churned_step), (_churned(),), after=("sigma_heun_step",)),
    Quantity(
        "sigma_ancestral_split", "SLV.SPLIT", "σ_down = √(σ'² − σ_up²) and σ_up = min(σ', η √(σ'² (σ² − σ'²)/σ²)), with η the "
        "`share`", SOURCE,
        (Output("DOWN"), Output("UP")), drawn(sigma=_one(1, 9), sigma_next=_one(0.03, 0.9), share=draws.one_of(SHARES)),
        listed(*SPLIT_LEVELS), Theory(solver.split, "sigma", "sigma_next", eta=lambda i: i["share"]),
        book.split(SIGMA, AFTER, SHARE)),
    Quantity(
        "sigma_ancestral_step", "SLV.ANCESTRAL", "Euler's step from σ to σ_down, then σ_up ε", SOURCE, NEXT,
        _step("x_t", "noise", share=draws.one_of(SHARES)),
        listed(*(_edges("x_t", "noise", levels=USUAL, share=share)[at] for at in range(5) for share in SHARES)),
        _by("ancestral_step", noise="noise", eta="share"),
        (_ancestral(SHARE),), after=("sigma_ancestral_split",)),
    Quantity(
        "sigma_multistep", "SLV.MULTISTEP", "DPM-Solver++ 2M: (σ'/σ) x_t − (e^−h − 1) [(1 + 1/2r) D − 1/2r D_before], h = "
        "log(σ/σ'), r = log(σ_before/σ)/h, for what the network has said now and one step before", ("Lu 2022",), NEXT,
        drawn(x_t=arrays(N, D), denoised=arrays(N, D), denoised_before=arrays(N, D), sigma_before=_one(10, 20), sigma=_one(1, 9),
              sigma_next=_one(0.03, 0.9)),
        listed(*({"x_t": spread_out(4, D), "denoised": spread_out(4, D, start=0.3), "denoised_before": spread_out(4, D, start=0.6),
                  "sigma_before": number(a), "sigma": number(b), "sigma_next": number(c)}
                 for a, b, c in ((4, 2, 0.75), (80, 60, 50), (2, 0.25, 0.03125)))),
        Theory(solver.multistep, *PREDICTIONS), (book.multistep(*map(given, PREDICTIONS)),),
        arguments=("x_t", "denoised", "denoised_before")),
    Quantity(
        "sigma_euler_sample", "SLV.EULER_PATH", "Euler's steps along all levels", SOURCE, (Output("X_0"),), _chains, _chain_edges,
        ByHand(lambda i: (solver.path(i["x_t"], i["sigmas"], denoiser=i["network"], step=solver.euler_step),)), _chain(_euler),
        after=("sigma_euler_step",), page=_page),
    Quantity(
        "sigma_heun_sample", "SLV.HEUN_PATH", "Heun's steps along all levels; the last one may be Euler's (last_step)", SOURCE,
        (Output("X_0"),), _chains, _chain_edges, ByHand(_heun_path), lambda i: _chain(_heun, _least(i)),
        after=("sigma_heun_step",), choices=("last_step",), page=_page),
    Quantity(
        "sigma_multistep_sample", "SLV.MULTI_PATH", "DPM-Solver++ 2M along all levels; the first step and one to 0 are Euler's",
        ("Lu 2022",), (Output("X_0"),), _chains, _chain_edges,
        ByHand(lambda i: (solver.multistep_path(i["x_t"], i["sigmas"], denoiser=i["network"]),)), _multistep_chain(),
        after=("sigma_multistep",), page=_page),
    Quantity(
        "sigma_ancestral_sample", "SLV.ANC_PATH", "ancestral steps along all levels, with η = 1; the first step gets the first "
        "noise, and each of the others the next", SOURCE, (Output("X_0"),), _noisy_chains(), _noisy_chain_edges({}),
        ByHand(lambda i: (solver.noisy_path(i["x_t"], i["sigmas"], denoiser=i["network"], noise=i["noise"]),)),
        (along(_ancestral(), "x_t", "start", NOISY),), after=("sigma_ancestral_step",), page=_page),
    Quantity(
        "sigma_churned_sample", "SLV.CHURN_PATH", "Heun's steps along all levels, each from σ̂ as in sigma_churned_step; the first "
        "step gets the first noise, and each of the others the next", SOURCE, (Output("X_0"),),
        _noisy_chains(**CHURNED_CHAINS[0]), _noisy_chain_edges(*CHURNED_CHAINS), ByHand(_churned_path),
        lambda i: (along(_churned(_least(i)), "x_t", "start", NOISY),), after=("sigma_churned_step", "sigma_heun_sample"),
        choices=("last_step",), page=_page),
)


# -- laws ----------------------------------------------------------------------------------------------------------------

FINE = (24, 48)                 # steps of the chains that are compared
COARSEST = 1e-3                 # of that: in half a precision nothing is left of an order
MISSED = 0.5                    # of an order, which a right solver on so few steps may look short of
LOST = 256.0                    # times u, the precision's unit: an error of a state that says nothing of an order


def _along_levels(steps: int) -> tuple[Inputs, Array]:
    """Levels for so many steps, and where the flow of normal data, x − m ∝ √(s² + σ²), leads along them."""
    sigmas, x_t = exactly(np.geomspace(10.0, 0.0625, steps + 1)), spread_out(3, D, low=4, high=12)
    start, end = (np.sqrt(NORMAL.spread + level ** 2) for level in sigmas[[0, -1]])
    return {"x_t": x_t, "sigmas": sigmas, "network": NORMAL}, NORMAL.centre + (x_t - NORMAL.centre) * end / start


def order_of(name: str, order: int, chain: Callable[[int], tuple[Inputs, Array]] = _along_levels
             ) -> Callable[[Any, Given, int], Finding]:
    """Whether the error of twice as many steps is as much less as it should be, where it is known where the flow leads.  More is
    no mistake."""
    def run(subject: Any, given: Given, seed: int) -> Finding:
        errors, unit = [], 0.0
        for steps in FINE:
            inputs, right = chain(steps)
            answer = subject.ask(name, inputs)
            unit = LOST * UNITS[answer.dtype]
            errors.append(float(np.max(np.abs(answer.values[0] - right))))
        if unit > COARSEST:
            raise Skip("half a precision shows no order")
        found = np.log2(errors[0] / errors[1]) / np.log2(FINE[1] / FINE[0]) if errors[1] > unit else float(order)
        short = not found >= order - MISSED
        words = (f"with {FINE[0]} and {FINE[1]} steps the error is {errors[0]:.2g} and {errors[1]:.2g}, which is order "
                 f"{found:.2f}; expected {order}")
        return Finding(np.inf if short else 0.0, words if short else "", inputs if short else None)
    return run


UPWARDS = exactly(np.geomspace(2.0 ** -8, 2.0 ** 12, 1201))
ALLOWED = 0.25                  # nats: twice what Euler's rule misses along those levels
FORMS = tuple(unit * count for unit in (1.0, np.log(2)) for count in (1, D))     # what nats, bits and means of them are times


def _likelihood(subject: Any, given: Given, seed: int) -> Finding:
    """Whether log p(x_0) of normal data is what their density says, in one of its forms; or else which wrong sum comes nearer.

    The flow is x − m ∝ √(s² + σ²), so that everything that a wrong sum consists of is known.
    """
    inputs: Inputs = {"x_0": spread_out(4, D), "sigmas": UPWARDS, "network": NORMAL}
    came = subject.raw("sigma_log_likelihood", subject.arguments("sigma_log_likelihood", inputs))
    came = np.asarray(came[0] if isinstance(came, tuple) else came)
    if came.shape != (len(inputs["x_0"]),):
        raise Fault(f"returns shape {came.shape}, expected one number for each example")
    if UNITS.get(subject.source.dtype or came.dtype.name, 0.0) > COARSEST:
        raise Skip("half a precision holds no such sum")
    start, end = (NORMAL.spread + level ** 2 for level in UPWARDS[[0, -1]])
    x_0, high = inputs["x_0"] - NORMAL.centre, UPWARDS[-1]
    x = NORMAL.centre + x_0 * np.sqrt(end / start)
    prior, change = -np.sum(np.square(x / high) + np.log(2 * np.pi * high ** 2), axis=1) / 2, np.sum(np.log(end / start)) / 2
    n_log = D * np.log(high / UPWARDS[0])
    right = -np.sum(np.square(x_0) / NORMAL.spread + np.log(2 * np.pi * NORMAL.spread), axis=1) / 2
    sums = {"": right, "the change of volume is subtracted (SLV-TRACE)": prior - change,
            "log N(x/σ_max; 0, 1) is taken for log N(x; 0, σ_max²) (SLV-PRIOR)": prior + change + D * np.log(high),
            "the change of volume is left out": prior, "the density at σ_max is left out": change + 0 * prior,
            "tr ∂D/∂x stands for n − tr ∂D/∂x": prior + n_log - change, "tr ∂D/∂x is left out": prior + n_log,
            "log σ_max is counted once, and not for each component": prior + change + (D - 1) * np.log(high),
            "log 2π is counted once, and not for each component": prior + change + (D - 1) * np.log(2 * np.pi) / 2,
            "½ log(2π σ_max²) is counted once, and not for each component": (
                prior + change + (D - 1) * np.log(2 * np.pi * high ** 2) / 2),
            "half of the change of volume is added": prior + change / 2, "twice the change of volume is added": prior + 2 * change,
            "it is −log p(x_0)": -right}
    off = {says: min(float(np.max(np.abs(came * form - value))) for form in FORMS) for says, value in sums.items()}
    nearest = min(off, key=off.__getitem__)
    if off[""] <= ALLOWED:
        return Finding(off[""] / ALLOWED)
    words = f"log p(x_0) is off by {off['']:.3g} nats" + (f": {nearest}" if off[nearest] <= ALLOWED else "")
    return Finding(np.inf, words, inputs)


LAWS: tuple[Law, ...] = (
    Law("SLV.LIKELIHOOD", "sigma_log_likelihood(x_0, sigmas, network): log p(x_0) of each example by the flow: "
        "log N(x; 0, σ²) + ∫ (n − tr ∂D/∂x)/σ dσ from the first and smallest of the sigmas to the last, where x is N(0, σ²); "
        "tr ∂D/∂x is network.trace(x, σ).  Tried on normal data, with the error that an integration has", ("Song 2021 (SDE)",),
        ("sigma_log_likelihood",), _likelihood, ("later.solver.log_likelihood",)),
    Law("SLV.EULER_LAW", "twice the steps halve the error of Euler's chain", SOURCE, ("sigma_euler_sample",),
        order_of("sigma_euler_sample", 1), ("SLV-EULER-NOISE",)),
    Law("SLV.HEUN_LAW", "twice the steps make the error of Heun's chain a quarter", SOURCE, ("sigma_heun_sample",),
        order_of("sigma_heun_sample", 2), ("SLV-HEUN-BY",)),
    Law("SLV.MULTI_LAW", "twice the steps make the error of a chain of DPM-Solver++ 2M a quarter", ("Lu 2022",),
        ("sigma_multistep_sample",), order_of("sigma_multistep_sample", 2), ("SLV-2M-1",)),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _falling(states: int, levels: int, **fixed: Any) -> Sampler:
    """States, and levels of which each is below the one before, by little or by decades."""
    def drawn(rng: np.random.Generator, n: int) -> Case:
        steps = wide(1e-6, 1e3)(rng, n * levels).reshape(levels, n)
        found = np.cumprod(np.concatenate([wide(1e-3, 1e3)(rng, n)[None], 1 / (1 + steps[1:])]), axis=0)
        parts = [*(STATE(rng, n) for _ in range(states)), *found]
        return tuple(part[:, None] for part in parts), {name: value(rng, n)[:, None] if callable(value) else value
                                                        for name, value in fixed.items()}
    return drawn


LEVEL = wide(1e-3, 1e3, 1.0)

ENDS = {
    "later.solver.slope": ends(STATE, STATE, LEVEL), "later.solver.euler": _falling(2, 2), "later.solver.heun": _falling(3, 2),
    "later.solver.multistep": _falling(3, 3), "later.solver.split": (_falling(0, 2, eta=1.0), _falling(0, 2, eta=0.5)),
    "later.solver.raised": ends(STATE, LEVEL, gamma=wide(1e-6, 0.5), noise=STATE, scale=1.003),
    "later.solver.churn": ends(LEVEL, count=18, amount=4.0, low=0.05, high=50.0)}


# -- mistakes ------------------------------------------------------------------------------------------------------------

def _old(old: Array, new: Array) -> Array:
    return old


def _new(old: Array, new: Array) -> Array:
    return new


def heun_with(*, look: Any = _new, by: Any = _new, state: Any = _new, start: Any = _old) -> Callable[..., Array]:
    """Heun's step whose second look, divisor and state, and whose beginning, are the old or the new ones."""
    def step(x: Array, sigma: Array, sigma_next: Array, *, denoiser: solver.Denoiser) -> Array:
        first = (x - denoiser(x, sigma)) / sigma
        there = x + (sigma_next - sigma) * first
        if not sigma_next > 0:
            return there
        seen = state(x, there)
        second = (seen - denoiser(seen, look(sigma, sigma_next))) / by(sigma, sigma_next)
        return start(x, there) + (sigma_next - sigma) * (first + second) / 2
    return step


def _without_a_root(sigma: Array, sigma_next: Array, *, eta: float) -> solver.Split:
    up = np.minimum(sigma_next, eta * sigma_next * (1 - (sigma_next / sigma) ** 2))
    return solver.Split(np.sqrt(sigma_next ** 2 - up ** 2), up)


def _state_remembered(x: Array, sigmas: Array, *, denoiser: solver.Denoiser) -> Array:
    for n, (sigma, after) in enumerate(pairwise(sigmas)):
        now = denoiser(x, sigma)
        plain = n == 0 or after == 0
        x = solver.euler(x, now, sigma, after) if plain else solver.multistep(x, now, x, sigmas[n - 1], sigma, after)
    return x


def _two_looks_always(x: Array, sigmas: Array, *, denoiser: solver.Denoiser) -> Array:
    before = x
    for n, (sigma, after) in enumerate(pairwise(sigmas)):
        now = denoiser(x, sigma)
        x = solver.multistep(x, now, before, sigmas[n - 1], sigma, after) if n else solver.euler(x, now, sigma, after)
        before = now
    return x


def _by_the_step_before(x: Array, denoised: Array, before: Array, sigma_before: Array, sigma: Array, sigma_next: Array) -> Array:
    half = np.log(sigma / sigma_next) / np.log(sigma_before / sigma) / 2
    return sigma_next / sigma * x + (1 - sigma / sigma_before) * (denoised + half * (denoised - before))


def _second_slope_always(x: Array, sigma: Array, sigma_next: Array, *, denoiser: solver.Denoiser) -> Array:
    first = denoiser(x, sigma)
    return solver.heun(x, first, denoiser(solver.euler(x, first, sigma, sigma_next), sigma_next), sigma, sigma_next)


def _first_look_kept(x: Array, sigmas: Array, *, denoiser: solver.Denoiser) -> Array:
    first = denoiser(x, sigmas[0])
    for n, (sigma, after) in enumerate(pairwise(sigmas)):
        now = denoiser(x, sigma)
        plain = n == 0 or after == 0
        x = solver.euler(x, now, sigma, after) if plain else solver.multistep(x, now, first, sigmas[n - 1], sigma, after)
    return x


def _looking_half_way(x: Array, sigma: Array, sigma_next: Array, *, denoiser: solver.Denoiser) -> Array:
    """Heun's rule, whose second slope is that of the state half of the step away, at the level at the end."""
    first = denoiser(x, sigma)
    there = (x + solver.euler(x, first, sigma, sigma_next)) / 2
    if not np.all(sigma_next > 0):
        return there
    slopes = solver.slope(x, first, sigma), solver.slope(there, denoiser(there, sigma_next), sigma_next)
    return x + (sigma_next - sigma) * (slopes[0] + slopes[1]) / 2


def _by_logarithms(x: Array, denoised: Array, before: Array, sigma_before: Array, sigma: Array, sigma_next: Array) -> Array:
    r = (np.log(sigma_before) - np.log(sigma)) / (np.log(sigma) - np.log(sigma_next))
    return solver.euler(x, denoised + (denoised - before) / (2 * r), sigma, sigma_next)


def _noise_as_far_as_it_goes_down(x: Array, sigma: Array, sigma_next: Array, *, denoiser: solver.Denoiser, noise: Array,
                                  eta: float = 1.0) -> Array:
    down, _ = solver.split(sigma, sigma_next, eta=eta)
    return solver.euler(x, denoiser(x, sigma), sigma, down) + down * noise


in_euler, in_heun_step, in_multistep, in_split = map(of, (
    "later.solver.euler", "later.solver.heun_step", "later.solver.multistep", "later.solver.split"))

MISTAKES = (
    Mistake("SLV-SLOPE", "D − x over σ² → x − D over σ", "the score for the slope", "later.solver.slope", "value",
            then(lambda slope, sigma: -slope / sigma)),
    in_euler("SLV-EULER-AT", "slope divided by σ' → by σ", "the new level for the old one",
             instead(lambda x, denoised, sigma, sigma_next: x + (sigma_next - sigma) * (x - denoised) / sigma_next)),
    in_euler("SLV-EULER-NOISE", "x + (σ' − σ) D → x + (σ' − σ) (x − D)/σ", "a network's x_0 taken for noise, as FWD-10",
             instead(lambda x, denoised, sigma, sigma_next: x + (sigma_next - sigma) * denoised)),
    in_heun_step("SLV-HEUN-BY", "Heun's second slope divided by the first level → by the second", "huggingface/diffusers#1512",
                 instead(heun_with(by=_old))),
    in_heun_step("SLV-HEUN-OLD", "Heun's second slope at the first level → at the second", "huggingface/diffusers#1512",
                 instead(heun_with(look=_old, by=_old))),
    in_heun_step("SLV-HEUN-LOOK", "Heun's second look told the first level → the second", "huggingface/diffusers#1512",
                 instead(heun_with(look=_old))),
    in_heun_step("SLV-HEUN-AT", "Heun's second slope at x_t → at Euler's x'", "the state not moved before the second look",
                 instead(heun_with(state=_old))),
    in_heun_step("SLV-HEUN-FROM", "both slopes added to Euler's x' → to x_t", "a step that is taken twice",
                 instead(heun_with(start=_new))),
    in_heun_step("SLV-HEUN-HALF", "Heun's look half of the step away → the whole step", "a midpoint rule's place in Heun's rule",
                 instead(_looking_half_way)),
    in_multistep("SLV-2M-R", "1/2r with r = h/h_before → h_before/h", "SLV-2M-H with the two steps exchanged in r",
                 instead(lambda x, denoised, before, sigma_before, sigma, sigma_next: solver.euler(
                     x, denoised + np.log(sigma_before / sigma) / np.log(sigma / sigma_next) / 2 * (denoised - before),
                     sigma, sigma_next))),
    in_multistep("SLV-2M-H", "e^−h of the step before → of this step", "crowsonkb/k-diffusion#56, a proposal",
                 instead(_by_the_step_before)),
    in_multistep("SLV-2M-1", "only D of this step → with that of the step before", "a history that is never filled",
                 told(before=lambda before, denoised: denoised)),
    in_multistep("SLV-2M-SIGN", "(1 − 1/2r) D + 1/2r D_before → (1 + 1/2r) D − 1/2r D_before", "a mean of the looks for their line",
                 told(before=lambda before, denoised: 2 * denoised - before)),
    in_split("SLV-UP", "σ_down = σ' and σ_up on top → √(σ'² − σ_up²)", "noise added to a step that goes all the way",
             then(lambda split, sigma, sigma_next: split._replace(down=sigma_next + 0 * sigma))),
    in_split("SLV-DOWN", "σ_down = σ' − σ_up → √(σ'² − σ_up²)", "deviations subtracted",
             then(lambda split, sigma_next: split._replace(down=sigma_next - split.up))),
    in_split("SLV-UP-VAR", "σ_up = η σ' √((σ − σ')/σ) → η σ' √((σ² − σ'²)/σ²)", "levels for their squares",
             then(lambda split, sigma, sigma_next, eta: split._replace(
                 up=np.minimum(sigma_next, eta * sigma_next * np.sqrt(1 - sigma_next / sigma))))),
    in_split("SLV-UP-ROOT", "σ_up = η σ' (σ² − σ'²)/σ² → η σ' √((σ² − σ'²)/σ²)", "a variance for a deviation",
             instead(_without_a_root)),
    Mistake("SLV-UP-DOWN", "noise of deviation σ_down → σ_up", "the two outputs of the split exchanged once",
            "later.solver.ancestral_step", "value", instead(_noise_as_far_as_it_goes_down)),
    Mistake("SLV-CHURN", "√(σ̂² − σ²) taken as σ̂ − σ → the root", "deviations subtracted", "later.solver.raised", "value",
            instead(lambda x, sigma, *, gamma, noise, scale=1.0: solver.Raised(
                x + gamma * sigma * scale * noise, sigma * (1 + gamma)))),
    Mistake("SLV-MAX", "γ = max(S_churn/count, √2 − 1) → min", "Comfy-Org/ComfyUI#13820", "later.solver.churn", "value",
            instead(lambda sigma, *, count, amount, low, high: np.where(
                (sigma >= low) & (sigma <= high), max(amount / count, np.sqrt(2) - 1), 0.0))),
    in_heun_step("SLV-HEUN-0", "a second slope at σ' = 0, which is 0/0 → Euler's step there", "as huggingface/diffusers#9007",
                 instead(_second_slope_always)),
    Mistake("SLV-2M-0", "two looks in the step to σ' = 0, whose h is infinite → D there", "huggingface/diffusers#9007",
            "later.solver.multistep_path", "value", instead(_two_looks_always)),
    Mistake("SLV-RAISED", "the step from σ → from σ̂", "noise added, and the level not told", "later.solver.raised", "value",
            then(lambda raised, sigma: raised._replace(sigma=sigma))),
    Mistake("SLV-EVERYWHERE", "churn at every level → where S_min ≤ σ ≤ S_max", "a range that is not looked at",
            "later.solver.churn", "value", told(low=0.0, high=np.inf)),
    Mistake("SLV-HISTORY", "the look before the last → the one before", "a history that is not moved on",
            "later.solver.multistep_path", "value", instead(_first_look_kept)),
    Mistake("SLV-STATE", "the state remembered → what the network said", "two names for one array",
            "later.solver.multistep_path", "value", instead(_state_remembered)),
    Mistake("SLV-TRACE", "the change of volume subtracted → added", "the integral taken the wrong way",
            "later.solver.log_likelihood", "value", told(trace=lambda trace, x_0: lambda x, at: 2 * x_0.shape[1] - trace(x, at))),
    Mistake("SLV-PRIOR", "log N(x/σ_max; 0, 1) → log N(x; 0, σ_max²)", "a unit normal law for the last state, which is not one",
            "later.solver.log_likelihood", "value", then(
                lambda value, x_0, sigmas: value + x_0.shape[1] * np.log(sigmas[-1]))),
    Mistake("SLV-COUNT", "γ = min(S_churn, √2 − 1) → min(S_churn/count, √2 − 1)", "churn not shared among the steps",
            "later.solver.churn", "value", told(count=1)),
    Mistake("SLV-LOG", "log σ − log σ' → log(1 + (σ − σ')/σ')", "the textbook form", "later.solver.multistep", "accuracy",
            instead(_by_logarithms)),
)
