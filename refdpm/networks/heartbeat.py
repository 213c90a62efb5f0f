"""The network of the binary heartbeat: three layers shared by all t, and a linear read-out that knows t.

    x_t ─ standardised ─ affine ─ tanh ─ affine ─ tanh ─ affine ─ tanh ─ last layer of t ─ z ─ read-out ─ p(x_{t−1} | x_t)

The paper's layers are 20-50-50-50 with sigmoids.  Those are meant here too: tanh(a) = 2 sigmoid(2a) − 1, and the 2, the 2 and the
−1 go into the weights and biases before and after.  But sigmoids all have a mean near ½, which one bias shifts and all weights
feel; with centred units, and bits of mean 0 and variance 1 under π, short trainings came nearer to K*.  What z means is a named
choice (`networks.bit_readout`), and so is what the last layer has of t:

    per_step    weights of its own for every t: the paper's, two million numbers at T = 2000, each for one row in T
    bumps       J sets of weights, of which every t has its own mixture, those of neighbours alike (`layers.temporal`)

Source: App. D.1.2; the bumps are those of App. D.2.1.
"""

from itertools import pairwise
from math import sqrt
from typing import NamedTuple

import numpy as np

from refdpm.activation import tanh_vjp
from refdpm.binomial import Bernoulli
from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.layers.linear import Affine, linear_vjp, per_step_vjp
from refdpm.layers.stack import stack_vjp
from refdpm.layers.temporal import bumps, temporal_vjp
from refdpm.networks import bit_readout
from refdpm.paper import eq
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback

READOUTS, LAST = bit_readout.READOUTS, ("per_step", "bumps")
COUNT = 10                          # the number J of bumps


class Heartbeat(NamedTuple):
    """Parameters.  Row t of a last layer `per_step` is step t's; rows 0 and 1 are never used, because the step at t = 1 is fixed.

    Shapes: hidden a tuple of layers (in, out); the last layer's weight and bias
        per_step (T+1, units, bits), (T+1, bits)        bumps (units, bits·J), (bits·J,): bits × J.
    """

    hidden: tuple[Affine, ...]
    weight: Array
    bias: Array


def init(rng: np.random.Generator, *, T: int, bits: int = 20, hidden: tuple[int, ...] = (50, 50, 50),
         last: str = "per_step") -> Heartbeat:
    """Hidden weights normal, of variance 1/in, so that what goes through the layers stays of order 1; all else zero, so that p is
    the forward kernel.

    Raises: ValueError for a last layer of another name.
    """
    _check(last)
    shapes = pairwise((bits, *hidden))
    layers = tuple(Affine(rng.standard_normal(shape) / np.sqrt(shape[0]), np.zeros(shape[1])) for shape in shapes)
    units = hidden[-1] if hidden else bits
    if last == "bumps":
        return Heartbeat(layers, np.zeros((units, bits * COUNT)), np.zeros(bits * COUNT))
    return Heartbeat(layers, np.zeros((T + 1, units, bits)), np.zeros((T + 1, bits)))


@eq("App.1 B reverse")
def reverse(parameters: Heartbeat, x_t: Array, step: Step, *, t: Array, T: int = 0, rate: float = 0.2, readout: str = "denoising",
            last: str = "per_step") -> Bernoulli:
    """p(x_{t−1} | x_t) for each row of x_t at its own step t; `rate` is that of π, and T is needed for bumps only.

    Shapes: x_t (N, bits), step three columns (N, 1), t integers (N,) in 2..T → logit (N, bits).
    Raises: ValueError for a read-out or a last layer of another name.
    """
    return reverse_vjp(parameters, x_t, step, t=t, T=T, rate=rate, readout=readout, last=last)[0]


def reverse_vjp(parameters: Heartbeat, x_t: Array, step: Step, *, t: Array, T: int = 0, rate: float = 0.2,
                readout: str = "denoising", last: str = "per_step") -> tuple[Bernoulli, Pullback]:
    """Adjoint of `reverse`."""
    deviation = sqrt(rate * (1 - rate))
    h, back_hidden = stack_vjp((x_t - rate) / deviation, parameters.hidden, layer_vjp=_layer_vjp)
    z, back_last = _last_vjp(h, parameters.weight, parameters.bias, t=t, T=T, last=last)
    p, back_readout = bit_readout.read_out_vjp(z, x_t, step, rate=rate, readout=readout)

    def pullback(dp: Bernoulli) -> tuple[Heartbeat, Array, Step]:
        dz, dx_readout, dstep = back_readout(dp)
        dh, dweight, dbias = back_last(dz)
        dx_hidden, dhidden = back_hidden(dh)
        return Heartbeat(dhidden, dweight, dbias), dx_hidden / deviation + dx_readout, dstep

    return p, pullback


def _layer_vjp(x: Array, layer: Affine) -> tuple[Array, Pullback]:
    """tanh(x W + b), and its cotangents for (x, layer)."""
    a, back_linear = linear_vjp(x, *layer)
    y, back_tanh = tanh_vjp(a)

    def pullback(dy: Array) -> tuple[Array, Affine]:
        dx, *dlayer = back_linear(back_tanh(dy))
        return dx, Affine(*dlayer)

    return y, pullback


def _last_vjp(h: Array, weight: Array, bias: Array, *, t: Array, T: int, last: str) -> tuple[Array, Pullback]:
    """z of each row at its own t, and its cotangents for (h, weight, bias)."""
    _check(last)
    if last == "per_step":
        return per_step_vjp(h, weight, bias, t=t)
    if T < 2:
        raise ValueError(f"T: expected the length of the chain, at least 2, for bumps in t, got {T}")
    steps, which = np.unique(t, return_inverse=True)
    g = bumps(steps, T=T, count=COUNT, basis="released").astype(np.real(h).dtype)
    if 2 * len(steps) <= len(t):
        return _mixed_weights_vjp(h, weight, bias, g, which)
    return _mixed_outputs_vjp(h, weight, bias, g[which])


def _mixed_outputs_vjp(h: Array, weight: Array, bias: Array, g: Array) -> tuple[Array, Pullback]:
    """J outputs for each bit, mixed for each row: Σ_j g_j (h W_j + b_j)."""
    y, back_linear = linear_vjp(h, weight, bias)
    z, back_bumps = temporal_vjp(y.reshape(len(h), y.shape[1] // COUNT, COUNT), g=g)
    return z, lambda dz: back_linear(back_bumps(dz).reshape(y.shape))


def _mixed_weights_vjp(h: Array, weight: Array, bias: Array, g: Array, which: Array) -> tuple[Array, Pullback]:
    """The same where rows share their t: the weights are mixed once for each t, h (Σ_j g_j W_j) + Σ_j g_j b_j."""
    bits = len(bias) // COUNT
    weights, back_weights = temporal_vjp(weight.reshape(1, len(weight), bits, COUNT), g=g)
    biases, back_biases = temporal_vjp(bias.reshape(1, bits, COUNT), g=g)
    z, back_per_step = per_step_vjp(h, weights, biases, t=which)

    def pullback(dz: Array) -> tuple[Array, Array, Array]:
        dh, dweights, dbiases = back_per_step(dz)
        return dh, back_weights(dweights).reshape(weight.shape), back_biases(dbiases).reshape(bias.shape)

    return z, pullback


def _check(last: str) -> None:
    if last not in LAST:
        raise ValueError(f"last: expected one of {LAST}, got {last!r}")


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
