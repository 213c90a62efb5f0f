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

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import bound, gaussian
from refdpm.conformance import terms
from refdpm.conformance.chapters import textbook
from refdpm.conformance.chapters.bound import tame_first
from refdpm.conformance.chapters.common import (D, N, Quantity, Given, Inputs, Output, Strategy, arrays, scales, schedules,
                                               spread_out, times_of)
from refdpm.conformance.chapters.textbook import Normal
from refdpm.conformance.terms import Terms
from refdpm.networks import swiss_roll
from refdpm.networks.swiss_roll import SwissRoll
from refdpm.vjp import Array, fix

UNITS = 4


@st.composite
def _draws(draw: st.DrawFn, given: Given) -> Inputs:
    beta = draw(schedules(given, low=2))
    T = len(beta) - 1
    return {"x_0": draw(arrays(N, D)), "t": draw(npst.arrays(np.int64, N, elements=st.integers(2, T))), "noise": draw(arrays(N, D)),
            "beta": beta, "centre": draw(arrays(UNITS, D)), "log_width": draw(arrays(UNITS, low=-1, high=1)),
            "weight": draw(arrays(T + 1, UNITS, 2 * D, low=-0.5, high=0.5)), "bias": draw(arrays(T + 1, 2 * D, low=-0.5, high=0.5))}


def _edges(given: Given) -> list[Inputs]:
    found = []
    for beta in tame_first(given, low=2):
        T, t = len(beta) - 1, times_of(beta, low=2)
        found.append({"x_0": spread_out(len(t), D), "t": t, "noise": spread_out(len(t), D, start=0.3), "beta": beta,
                      "centre": spread_out(UNITS, D, start=0.7), "log_width": spread_out(UNITS, low=-0.5, high=0.75),
                      "weight": spread_out(T + 1, UNITS, 2 * D, low=-0.5, high=0.5),
                      "bias": spread_out(T + 1, 2 * D, start=0.2, low=-0.5, high=0.5)})
    return found


def _inputs(given: Given) -> Strategy:
    return _draws(given)


def _parameters(i: Inputs) -> SwissRoll:
    return SwissRoll(*(i[name] for name in SwissRoll._fields))


def _value(i: Inputs) -> tuple[Array, ...]:
    kl = bound.step_kl(_parameters(i), i["beta"], i["x_0"], noise=i["noise"], t=i["t"], kernel=gaussian,
                       network=fix(swiss_roll, readout=i["readout"]))
    return (np.asarray(kl.mean()),)


def _vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    kl, back = bound.step_kl_vjp(_parameters(i), i["beta"], i["x_0"], noise=i["noise"], t=i["t"], kernel=gaussian,
                                 network=fix(swiss_roll, readout=i["readout"]))
    dparameters, dbeta, dx_0 = back(np.full_like(kl, cotangents[0] / len(kl)))
    return dparameters._asdict() | {"beta": dbeta[1:], "x_0": dx_0}


# -- the scale ---------------------------------------------------------------------------------------------------------

def _bumps(i: Inputs, x: Terms) -> list[Terms]:
    """g_k of every row, each (N, 1)."""
    width = terms.exp(terms.exact(i["log_width"]))
    exponents = []
    for k in range(UNITS):
        difference = x - i["centre"][k]
        square = (difference * difference).reshape(len(x.value), -1)
        exponents.append(-terms.total(square).reshape(-1, 1) / (2 * (width[k] * width[k])))
    largest = np.max([s.value for s in exponents], axis=0)
    heights = [terms.exp(s - largest) for s in exponents]
    mass = heights[0]
    for height in heights[1:]:
        mass = mass + height
    return [height / mass for height in heights]


def _heads(i: Inputs, x: Terms) -> tuple[Terms, Terms]:
    z = terms.exact(i["bias"][i["t"]])
    for k, bump in enumerate(_bumps(i, x)):
        z = z + bump * i["weight"][i["t"], k]
    return z[:, :D], z[:, D:]


def _read_out(i: Inputs, x: Terms) -> Normal:
    row, (mean, var) = textbook.rows(i["beta"], i["t"]), _heads(i, x)
    if i["readout"] == "denoising":
        rest = 1 - row.alpha_bar
        c_0 = row.beta * terms.sqrt(row.alpha_bar_prev) / rest
        return Normal(terms.sqrt(row.alpha) * x + c_0 * mean, textbook.small(row) + c_0 * c_0 * rest * terms.exp(var))
    z = (var if i["readout"] == "eq65" else var / np.sqrt(len(i["beta"]) - 1)) + terms.log(row.beta / row.alpha)
    spread = 1 / (1 + terms.exp(-z))
    if i["readout"] == "eq65":
        return Normal((x - mean) * terms.sqrt(1 - spread) + mean, spread)
    return Normal(terms.sqrt(row.alpha) * x + terms.sqrt(row.beta) * mean, spread)


def _scale(i: Inputs) -> tuple[Array, ...]:
    row, x_0 = textbook.rows(i["beta"], i["t"]), terms.exact(i["x_0"])
    x_t = textbook.draw(textbook.marginal(row, x_0), i["noise"])
    kl = textbook.kl(textbook.posterior(row, x_0, x_t), _read_out(i, x_t))
    return scales(terms.total(terms.total(kl).reshape(1, -1))[0] / len(i["t"]))


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "objective", "NET.OBJECTIVE", "mean over examples of KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)), t ≥ 2, p by the network "
        "rbf(centre, log_width) → affine(weight[t], bias[t]) → read-out", ("14", "65", "App.1 G reverse"),
        (Output("VALUE", "total"),), _inputs, _edges, _value, _scale, choices=("readout",), vjp=_vjp,
        arguments=("centre", "log_width", "weight", "bias", "beta", "x_0")),
)
