"""The network of the Swiss roll: one radial basis layer shared by all t, and a linear read-out of its own for every t.

                                      ┌ z_mean ┐
    x_t ─ rbf ─ g(x_t) ─ per_step ─ z ┤        ├ read-out ─ p(x_{t−1} | x_t) = N(mean, var)
                                      └ z_var  ┘

The paper's has 16 units; more are needed to come near the ceiling.  The read-out is a named choice (`networks.readout`).

Source: App. D.1.1.
"""

from typing import NamedTuple

import numpy as np

from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.gaussian import Gaussian
from refdpm.layers.linear import per_step_vjp
from refdpm.layers.rbf import rbf_vjp
from refdpm.networks.readout import Heads, read_out_vjp
from refdpm.paper import eq
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback


class SwissRoll(NamedTuple):
    """Parameters.  Row t of a read-out is step t's; rows 0 and 1 are never used, because the step at t = 1 is fixed.

    Shapes: centre (K, D), log_width (K,), weight (T+1, K, 2D), bias (T+1, 2D); the first D outputs are z_mean.
    """

    centre: Array
    log_width: Array
    weight: Array
    bias: Array


def init(x_0: Array, *, T: int, units: int, width: float) -> SwissRoll:
    """Centres on `units` data points spread out over the rows of `x_0`, all widths equal, read-outs zero."""
    if len(x_0) == 0:
        raise ValueError("x_0: expected at least one data point for centres, got none")
    centre = _spread_out(x_0, units)
    outputs = 2 * x_0.shape[1]
    return SwissRoll(centre, np.full(units, np.log(width)), np.zeros((T + 1, units, outputs)), np.zeros((T + 1, outputs)))


def _spread_out(points: Array, count: int) -> Array:
    """`count` of the points, each as far as possible from those before it, starting from the first."""
    chosen = [0]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(np.argmax(nearest)))
    return points[chosen]


@eq("App.1 G reverse")
def reverse(parameters: SwissRoll, x_t: Array, step: Step, *, t: Array, readout: str = "denoising") -> Gaussian:
    """p(x_{t−1} | x_t) for each row of x_t at its own step t.

    Shapes: x_t (N, D), step three columns (N, 1), t integers (N,) in 2..T → mean and var (N, D).
    """
    return reverse_vjp(parameters, x_t, step, t=t, readout=readout)[0]


def reverse_vjp(parameters: SwissRoll, x_t: Array, step: Step, *, t: Array, readout: str = "denoising"
                ) -> tuple[Gaussian, Pullback]:
    """Adjoint of `reverse`."""
    g, back_rbf = rbf_vjp(x_t, parameters.centre, parameters.log_width)
    z, back_linear = per_step_vjp(g, parameters.weight, parameters.bias, t=t)
    heads = Heads(*np.split(z, 2, axis=1))
    p, back_readout = read_out_vjp(heads, x_t, step, T=len(parameters.bias) - 1, readout=readout)

    def pullback(dp: Gaussian) -> tuple[SwissRoll, Array, Step]:
        dheads, dx_readout, dstep = back_readout(dp)
        dg, dweight, dbias = back_linear(np.concatenate(dheads, axis=1))
        dx_rbf, dcentre, dlog_width = back_rbf(dg)
        return SwissRoll(dcentre, dlog_width, dweight, dbias), dx_rbf + dx_readout, dstep

    return p, pullback


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
