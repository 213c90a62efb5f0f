"""Clauses of guidance: towards a class without a classifier and with one, rescaled; and of inpainting that goes back and repeats.

The mean of a reverse step with a classifier, mean + variance · gradient, is a clause of `product`.

Sources: Ho, Salimans 2022; Dhariwal, Nichol 2021; Lin et al. 2023; Lugmayr et al. 2022.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import gaussian
from refdpm.conformance.chapters.draws import Draw, arrays, numbers
from refdpm.conformance.chapters.ends import BELOW, STATE, Case, chosen, ends
from refdpm.conformance.chapters.inputs import N, Given, Inputs, chain, chain_edges, drawn, listed, spread_out
from refdpm.conformance.chapters.quantity import Finding, Law, Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import BETA, LEVEL, Theory, composed
from refdpm.conformance.planting import instead, of, then, told
from refdpm.later import guidance
from refdpm.textbook import guidance as book
from refdpm.textbook.chain import draw, forward, row
from refdpm.textbook.expression import given
from refdpm.vjp import Array

VALUE = (Output("VALUE"),)
C, U, G, WEIGHT, SHARE, GRADIENT = map(given, ("conditional", "unconditional", "guided", "weight", "share", "gradient"))


# -- inputs ------------------------------------------------------------------------------------------------------------

def _two(*names: str) -> dict[str, Draw]:
    return {name: arrays(N, 3) for name in names}


def _edges(*names: str, **more: tuple[float, float]) -> list[Inputs]:
    """Predictions of several shapes, and two numbers of a name besides."""
    shapes = ((4, 3), (3, 5), (2, 3, 5, 4))
    return [{name: spread_out(*shape, start=0.3 * n) for n, name in enumerate(names)}
            | {name: both[n % 2] for name, both in more.items()} for n, shape in enumerate(shapes)]


# -- the clauses ---------------------------------------------------------------------------------------------------------

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "guided_prediction", "GUI.FREE", "u + w (c − u), c the prediction with a class and u without, w = weight; or c + w (c − u)",
        ("Ho 2022",), VALUE, drawn(**_two("conditional", "unconditional"), weight=numbers(0.5, 8)),
        listed(*_edges("conditional", "unconditional", weight=(7.5, 0.25))),
        Theory(guidance.guided, "conditional", "unconditional", fixed=("weight",), start=lambda i: i["guidance"]),
        lambda i: (book.guided(C, U, WEIGHT, i["guidance"]),), choices=("guidance",), arguments=("conditional", "unconditional")),
    Quantity(
        "rescaled_guidance", "GUI.RESCALED", "φ g std(c)/std(g) + (1 − φ) g, g the guided prediction, c the conditional one, "
        "φ = share; std over all components of an example", ("Lin 2023",), VALUE,
        drawn(**_two("guided", "conditional"), share=numbers(0.25, 1)),
        listed(*_edges("guided", "conditional", share=(0.75, 0.25))),
        Theory(guidance.rescaled, "guided", "conditional", fixed=("share",)), book.rescaled(G, C, SHARE),
        after=("guided_prediction",), arguments=("guided", "conditional")),
    Quantity(
        "guided_noise", "GUI.NOISE", "ε − √(1−ᾱ_t) ∇ with the gradient ∇ of log q(y | x_t) at x_t", ("Dhariwal 2021",), VALUE,
        chain("noise", "gradient"), chain_edges("noise", "gradient"),
        Theory(guidance.guided_noise, "noise", "gradient", LEVEL), book.guided_noise(given("noise"), GRADIENT, row()),
        given=own_levels, after=("alpha_bar",), arguments=("noise", "gradient", "beta")),
    Quantity(
        "noised_again", "GUI.BACK", "one step of the chain from x_prev, as repeated inpainting goes back: "
        "√(1−β_t) x_{t−1} + √β_t ε", ("Lugmayr 2022",), (Output("X_T"),), chain("x_prev", "noise"), chain_edges("x_prev", "noise"),
        Theory(composed(gaussian.forward_vjp, gaussian.draw_vjp), "x_prev", BETA, fixed=("noise",)),
        draw(forward(given("x_prev"), row()), given("noise")), arguments=("x_prev", "beta")),
)

LISTS = ((20, 5, 3), (12, 4, 1), (10, 3, 2), (7, 1, 4), (5, 10, 3), (1, 1, 2))


# lists that somebody may have made for the right one, from T, length and repeats
OTHER_LISTS: tuple[tuple[str, Callable[[int, int, int], Array]], ...] = (
    ("repeats + 1 for repeats", lambda T, n, k: guidance.repeated_times(T, length=n, repeats=k + 1)),
    ("repeats − 1 for repeats", lambda T, n, k: guidance.repeated_times(T, length=n, repeats=max(k - 1, 1))),
    ("length + 1 for length", lambda T, n, k: guidance.repeated_times(T, length=n + 1, repeats=k)),
    ("length − 1 for length", lambda T, n, k: guidance.repeated_times(T, length=max(n - 1, 1), repeats=k)),
    ("never goes back", lambda T, n, k: guidance.repeated_times(T, length=n, repeats=1)),
    ("the last state is left out", lambda T, n, k: guidance.repeated_times(T, length=n, repeats=k)[:-1]),
    ("t = 0 at the end", lambda T, n, k: np.append(guidance.repeated_times(T, length=n, repeats=k), 0)),
    ("runs in the other order", lambda T, n, k: guidance.repeated_times(T, length=n, repeats=k)[::-1]))


def _times(subject: Any, given: Given, seed: int) -> Finding:
    """Where a list of times first leaves the right one, and which list it is."""
    first, asked = subject.profile.first_t, [{"T": T, "length": length, "repeats": repeats} for T, length, repeats in LISTS]
    came = [np.asarray(subject.raw("repeated_times", dict(one))).reshape(-1).astype(np.int64) for one in asked]
    right = [guidance.repeated_times(**one) for one in asked]
    wrong = next((n for n, (a, b) in enumerate(zip(came, right)) if not np.array_equal(a + 1 - first, b)), None)
    if wrong is None:
        return Finding(0.0)
    if all(map(np.array_equal, [a + first for a in came], right)):
        return Finding(np.inf, f"counts t from {1 - first}, where the rest of the adapter counts from {first}", asked[wrong])
    others = (says for says, other in OTHER_LISTS if all(
        np.array_equal(a + 1 - first, other(*one)) for a, one in zip(came, LISTS)))
    said = _first_difference((came[wrong] + 1 - first).tolist(), right[wrong].tolist())
    return Finding(np.inf, ": ".join([*others, f"in t counted from 1, {said}"]), asked[wrong])


def _first_difference(came: list[int], right: list[int]) -> str:
    at = next((n for n, (a, b) in enumerate(zip(came, right)) if a != b), min(len(came), len(right)))
    after = f" after {right[max(0, at - 3):at]}" if at else " at the beginning"
    return f"{came[at:at + 3] or 'nothing more'} came{after}, expected {right[at:at + 3] or 'the end'}"


LAWS: tuple[Law, ...] = (
    Law("GUI.TIMES", "repeated_times(T, length, repeats): the t of every state of repeated inpainting, as you count t, from T on; "
        "at each t = 1 + k·length with t + length ≤ T the chain goes back to t + length, repeats − 1 times", ("Lugmayr 2022",),
        ("repeated_times",), _times, ("later.guidance.repeated_times",)),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _wide(rng: np.random.Generator, n: int) -> Case:
    """Predictions of very different widths."""
    return (STATE(rng, 4 * n).reshape(n, 4), STATE(rng, 4 * n).reshape(n, 4)), {"share": 0.7}


ENDS = {
    "later.guidance.guided": tuple(ends(STATE, STATE, weight=weight, start=start)
                                   for weight in (7.5, 1e-3) for start in guidance.STARTS),
    "later.guidance.rescaled": _wide,
    "later.guidance.guided_noise": ends(STATE, chosen(0.0, 1e-6, 1.0, -3e5), BELOW)}


# -- mistakes ------------------------------------------------------------------------------------------------------------

def _all_channels_but_the_last(value: Array, conditional: Array) -> Array:
    return np.concatenate([value[..., :-1], conditional[..., -1:]], axis=-1)


in_guided, in_rescaled = of("later.guidance.guided"), of("later.guidance.rescaled")
in_times = of("later.guidance.repeated_times")

MISTAKES = (
    in_guided("GUI-CHANNELS", "guidance of the first channels only → of all", "facebookresearch/DiT#41",
              then(_all_channels_but_the_last)),
    in_rescaled("GUI-BATCH", "one deviation for the whole batch → for each example", "a std without axes",
                instead(lambda guided, conditional, *, share: (share * np.std(conditional) / np.std(guided) + 1 - share) * guided)),
    in_times("GUI-REPEATS", "one return too many at each time → repeats − 1", "a number of repeats taken for one of returns",
             told(repeats=lambda repeats: repeats + 1)),
    in_times("GUI-LENGTH", "goes back one step less → `length` steps", "a range that ends before its end",
             told(length=lambda length: max(length - 1, 1))),
)
