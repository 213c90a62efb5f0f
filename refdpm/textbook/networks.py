"""Networks as they are printed: layers, two heads a component, and the read-outs that make a reverse step of those.

`formula_of` finds the formula of a network of the package that a pair is given as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from refdpm.textbook.chain import Normal, Row, from_levels, of_step, small, weights
from refdpm.textbook.expression import E, count, exp, move, node, sqrt
from refdpm.textbook.layers import linear, logit, rbf, sigmoid
from refdpm.textbook.page import Array
from refdpm.textbook.prediction import Heads, eq65

Reverse = Callable[..., Normal]                     # (parameters, x_t, row, *, t) → p(x_{t−1} | x_t)


def halves(z: E) -> Heads:
    """The first half of the outputs for the mean, the second for the variance."""
    return Heads(move(z, "first half of", lambda i: i[..., :i.shape[-1] // 2]),
                 move(z, "second half of", lambda i: i[..., i.shape[-1] // 2:]))


def at(table: E, t: Array) -> E:
    """The entries of a table (T+1, …) at t."""
    return move(table, "at t", lambda i: i[t])


# -- read-outs ---------------------------------------------------------------------------------------------------------

def released(heads: Any, x_t: E, row: Row, T: Any) -> Normal:
    """var = sigmoid(z_var/√T + logit β), mean = √(1−β) x + √β z."""
    return Normal(sqrt(row.alpha) * x_t + sqrt(row.beta) * heads.mean, sigmoid(heads.var / sqrt(node(T)) + logit(row.beta)))


def denoising(heads: Any, x_t: E, row: Row) -> Normal:
    """mean = √(1−β) x + c_0 z_mean, var = β̃ + c_0² (1−ᾱ_t) exp(z_var)."""
    c_0, _ = weights(row)
    return Normal(sqrt(row.alpha) * x_t + c_0 * heads.mean, small(row) + c_0 * c_0 * row.rest * exp(heads.var))


def read_out(heads: Any, x_t: E, row: Row, *, T: Any, readout: str) -> Normal:
    """The read-out of that name."""
    if readout == "released":
        return released(heads, x_t, row, T)
    return {"eq65": eq65, "denoising": denoising}[readout](heads, x_t, row)


# -- networks ----------------------------------------------------------------------------------------------------------

def swiss_roll(x_t: E, row: Row, centre: E, log_width: E, weight: E, bias: E, *, T: Any, readout: str) -> Normal:
    """rbf, then the affine map of the row's own t, then the read-out."""
    return read_out(halves(linear(rbf(x_t, centre, log_width), weight, bias)), x_t, row, T=T, readout=readout)


def _swiss_roll(parameters: Any, x_t: E, row: Row, *, t: Array, readout: str = "denoising") -> Normal:
    weight, bias, T = at(parameters.weight, t), at(parameters.bias, t), count(parameters.bias, "tables", (0,)) - 1
    return swiss_roll(x_t, row, parameters.centre, parameters.log_width, weight, bias, T=T, readout=readout)


NETWORKS: dict[str, Reverse] = {"networks.swiss_roll.reverse_vjp": _swiss_roll}


def formula_of(network: Any) -> Reverse:
    """The formula of a network: a module with `reverse_vjp`, or one with keywords held fixed (`vjp.fix`).

    It takes (parameters, x_t, row, *, t).   Raises: KeyError for a network that has none.
    """
    f = network.reverse_vjp
    fixed = f.keywords if isinstance(f, partial) else {}
    f = f.func if isinstance(f, partial) else f
    return partial(NETWORKS[f"{f.__module__}.{f.__name__}".removeprefix("refdpm.")], **fixed)


# -- which pair of the package each formula judges -------------------------------------------------------------------------

PAIRS: dict[str, Callable[..., Any]] = {
    "networks.readout.eq65": lambda heads, x_t, beta: eq65(heads, x_t, from_levels(beta)),
    "networks.readout.released": lambda heads, x_t, beta, *, T: released(heads, x_t, from_levels(beta), T),
    "networks.readout.denoising": lambda heads, x_t, beta, level: denoising(heads, x_t, from_levels(beta, level)),
    "networks.readout.read_out": lambda heads, x_t, step, *, T, readout: read_out(heads, x_t, of_step(step), T=T, readout=readout),
    "networks.swiss_roll.reverse": lambda parameters, x_t, step, *, t, readout="denoising": _swiss_roll(
        parameters, x_t, of_step(step), t=t, readout=readout),
}
