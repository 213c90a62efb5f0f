"""The network of the Swiss roll: one radial basis layer shared by all t, and a linear read-out of its own for every t.

                          ┌ per_step ─ z_mean ┐
    x_t ─ rbf ─ g(x_t) ───┤                   ├─ read-out ─ p(x_{t−1} | x_t) = N(mean, var)
                          └ per_step ─ z_var ─┘

The paper's has 16 units; more are needed to come near the ceiling.  The read-out is a named choice (`layers.readout`).

Source: App. D.1.1.
"""

from typing import NamedTuple

import numpy as np

from refdpm.gaussian import Gaussian
from refdpm.layers import readout as readouts
from refdpm.layers.linear import per_step_vjp
from refdpm.layers.rbf import rbf_vjp
from refdpm.layers.readout import Heads
from refdpm.paper import eq
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback


class SwissRoll(NamedTuple):
    """Parameters.  Row t of a read-out is step t's; rows 0 and 1 are never used, because the step at t = 1 is fixed.

    Shapes: centre (K, D), log_width (K,), weights (T+1, K, D), biases (T+1, D).
    """

    centre: Array
    log_width: Array
    mean_weight: Array
    mean_bias: Array
    var_weight: Array
    var_bias: Array


def init(x_0: Array, *, T: int, units: int, width: float) -> SwissRoll:
    """Centres on `units` data points spread out over the rows of `x_0`, all widths equal, read-outs zero."""
    centre = _spread_out(x_0, units)
    dim = x_0.shape[1]
    weights = [np.zeros((T + 1, units, dim)) for _ in range(2)]
    return SwissRoll(centre, np.full(units, np.log(width)),
                     weights[0], np.zeros((T + 1, dim)), weights[1], np.zeros((T + 1, dim)))


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

    Shapes: x_t (N, D), step three columns (N, 1), t integers (N,) in 2..T.
    """
    return reverse_vjp(parameters, x_t, step, t=t, readout=readout)[0]


def reverse_vjp(parameters: SwissRoll, x_t: Array, step: Step, *, t: Array, readout: str = "denoising"
                ) -> tuple[Gaussian, Pullback]:
    """Adjoint of `reverse`."""
    g, back_rbf = rbf_vjp(x_t, parameters.centre, parameters.log_width)
    z_mean, back_mean = per_step_vjp(g, parameters.mean_weight, parameters.mean_bias, t=t)
    z_var, back_var = per_step_vjp(g, parameters.var_weight, parameters.var_bias, t=t)
    p, back_readout = _readout_vjp(Heads(z_mean, z_var), x_t, step, T=len(parameters.mean_bias) - 1, readout=readout)

    def pullback(dp: Gaussian) -> tuple[SwissRoll, Array, Step]:
        dz, dx_readout, dstep = back_readout(dp)
        dg_var, dvar_weight, dvar_bias = back_var(dz.var)
        dg_mean, dmean_weight, dmean_bias = back_mean(dz.mean)
        dx_rbf, dcentre, dlog_width = back_rbf(dg_mean + dg_var)
        dparameters = SwissRoll(dcentre, dlog_width, dmean_weight, dmean_bias, dvar_weight, dvar_bias)
        return dparameters, dx_rbf + dx_readout, dstep

    return p, pullback


def _readout_vjp(heads: Heads, x_t: Array, step: Step, *, T: int, readout: str) -> tuple[Gaussian, Pullback]:
    """The named read-out, and its cotangents for (heads, x_t, step) whatever part of the step it uses."""
    unused = np.zeros_like(step.beta)
    if readout == "denoising":
        p, back = readouts.denoising_vjp(heads, x_t, step.beta, step.log_alpha_bar_prev)
    elif readout == "eq65":
        p, back = readouts.eq65_vjp(heads, x_t, step.beta)
    elif readout == "released":
        p, back = readouts.released_vjp(heads, x_t, step.beta, T=T)
    else:
        raise ValueError(f"readout: expected 'denoising', 'eq65' or 'released', got {readout!r}")

    def pullback(dp: Gaussian) -> tuple[Heads, Array, Step]:
        dheads, dx_t, dbeta, *dlevel = back(dp)
        return dheads, dx_t, Step(dbeta, dlevel[0] if dlevel else unused, unused)

    return p, pullback
