"""Clauses of the objective on whole small networks: the mean over examples of the divergence of a drawn step, and its gradient.

What one checks who has written everything by hand: layers, read-out, draw, posterior and divergence at once, and the gradient with
respect to every parameter and to the schedule.

    centre (K, D), log_width (K,)       bumps g_k ∝ exp(−|x − c_k|²/(2 w_k²)), Σ_k g_k = 1, with w = exp(log_width)
    weight (T+1, K, 2D), bias (T+1, 2D) z = g weight[t] + bias[t]: D heads for the mean, D for the variance; rows 0 and 1 idle

The read-out of the heads is a choice (`readout`):

    eq65        var = sigmoid(z_var + logit β), mean = (x − z_mean) √(1−var) + z_mean
    released    var = sigmoid(z_var/√T + logit β), mean = √(1−β) x + √β z_mean
    denoising   mean = √(1−β) x + c_0 z_mean, var = β̃ + c_0² (1−ᾱ_t) exp(z_var)
"""

from functools import partial
from typing import Any

import numpy as np

from refdpm import bound, gaussian, schedule
from refdpm.conformance.chapters.draws import arrays
from refdpm.conformance.chapters.ends import HEAD, LEVELS, STATE, Case, ends, law, rate, wide
from refdpm.conformance.chapters.inputs import (D, WIDE, Given, Inputs, at_every_step, chain, drawn_with, edges_with, spread_out,
                                                tame_first)
from refdpm.conformance.chapters.quantity import Output, Quantity
from refdpm.conformance.chapters.theory import SCHEDULE, Take, Theory
from refdpm.networks.readout import READOUTS, Heads
from refdpm.networks import swiss_roll
from refdpm.networks.swiss_roll import SwissRoll
from refdpm.textbook import bound as book, networks
from refdpm.textbook.chain import Normal, row
from refdpm.textbook.expression import E, column, count, gathered, given, total
from refdpm.vjp import Array, Pullback, Tree, fix

UNITS = 4


DRAWS = drawn_with(
    chain("x_0", "noise", low=2, centre=arrays(UNITS, D), log_width=arrays(UNITS, low=-1, high=1)),
    weight=lambda T: arrays(T + 1, UNITS, 2 * D, low=-0.5, high=0.5), bias=lambda T: arrays(T + 1, 2 * D, low=-0.5, high=0.5))


def _edges(given: Given) -> list[Inputs]:
    schedules = tame_first(given, low=2)
    return [*_edges_on(schedules, D), *_edges_on(schedules[:1], WIDE)]


def _edges_on(schedules: list[Array], components: int) -> list[Inputs]:
    return edges_with(
        at_every_step("x_0", "noise", betas=schedules, low=2, components=components),
        centre=lambda T: spread_out(UNITS, components, start=0.7), log_width=lambda T: spread_out(UNITS, low=-0.5, high=0.75),
        weight=lambda T: spread_out(T + 1, UNITS, 2 * components, low=-0.5, high=0.5),
        bias=lambda T: spread_out(T + 1, 2 * components, start=0.2, low=-0.5, high=0.5))


# -- the quantity ------------------------------------------------------------------------------------------------------

def objective_vjp(parameters: Tree, beta: Array, x_0: Array, **fixed: Any) -> tuple[Array, Pullback]:
    """The mean over examples of `bound.step_kl`, and its adjoint."""
    kl, back = bound.step_kl_vjp(parameters, beta, x_0, **fixed)
    return np.asarray(kl.mean()), lambda dvalue: back(np.full_like(kl, dvalue / len(kl)))


PARAMETERS = Take(lambda i: SwissRoll(*(i[name] for name in SwissRoll._fields)), lambda i, d: d._asdict())
CENTRE, LOG_WIDTH = map(given, ("centre", "log_width"))


def _objective(i: Inputs) -> E:
    def reverse(x_t: E) -> Normal:
        return networks.swiss_roll(x_t, row(), CENTRE, LOG_WIDTH, gathered("weight"), gathered("bias"), T=column("t", at="T"),
                                   readout=i["readout"])

    kl = book.step_kl(book.X_0, book.NOISE, row(), reverse)
    return total(kl, "examples", (0,)) / count(kl, "examples", (0,))


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "objective", "NET.OBJECTIVE", "mean over examples of KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)), t ≥ 2, p by the network "
        "rbf(centre, log_width) → affine(weight[t], bias[t]) → read-out", ("14", "65", "App.1 G reverse"),
        (Output("VALUE", "total"),), DRAWS, _edges,
        Theory(objective_vjp, PARAMETERS, SCHEDULE, "x_0",
               fixed=("noise", "t"), kernel=lambda i: gaussian, network=lambda i: fix(swiss_roll, readout=i["readout"])),
        _objective, choices=("readout",),
        arguments=("centre", "log_width", "weight", "bias", "beta", "x_0")),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _network(rng: np.random.Generator, n: int, readout: str) -> Case:
    T, count = 5, n // 4
    beta, t = np.append(0.0, wide(1e-12, 0.9)(rng, T)), rng.integers(2, T + 1, count)
    weight, bias = 3 * rng.normal(size=(T + 1, UNITS, 2 * D)), rng.normal(size=(T + 1, 2 * D))
    parameters = SwissRoll(rng.normal(size=(UNITS, D)), rng.uniform(-2, 1, UNITS), weight, bias)
    step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=2)
    return (parameters, rng.normal(size=(count, D)), step), dict(t=t, readout=readout)


HEADS = law(Heads, HEAD, HEAD)
ENDS = {
    "networks.readout.eq65": ends(HEADS, STATE, rate), "networks.readout.denoising": ends(HEADS, STATE, rate, LEVELS),
    "networks.readout.released": tuple(ends(HEADS, STATE, rate, T=T) for T in (1, 40, 100000)),
    "networks.swiss_roll.reverse": tuple(partial(_network, readout=readout) for readout in READOUTS)}
