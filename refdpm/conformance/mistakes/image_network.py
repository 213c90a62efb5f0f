"""Mistakes in layers together, in the network of images, in the pullbacks of both, and in their last digits.

Those of the layout of parameters are planted as the right network with parameters in another order: what it would read from
weights that were made for the right one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.conformance.mistakes.planting import Mistake, Plant, instead, pullback_then, pulled_by, then, zero
from refdpm.gaussian import Gaussian
from refdpm.layers import conv
from refdpm.layers.linear import Affine
from refdpm.layers.multiscale import Kernels
from refdpm.networks.image import Image
from refdpm.networks.readout import Heads
from refdpm.vjp import Array, tree_map

_ORIG = "Sohl-Dickstein/Diffusion-Probabilistic-Models@de92b57"


# -- layers together ---------------------------------------------------------------------------------------------------

def _side_by_side(scale: Callable[[int, int], float]) -> Plant:
    """Features of a path of `own` among `all` divided by another scale(own, all)."""
    def side_by_side(a: Array, b: Array) -> Array:
        both = a.shape[-1] + b.shape[-1]
        return np.concatenate([a / scale(a.shape[-1], both), b / scale(b.shape[-1], both)], axis=-1)
    return instead(side_by_side)


TOGETHER = (
    Mistake("LAY-29", "each layer applied to the input → to the output of the one before",
            "breadbread1984/diffusion-probabilistic-model-tf2@bb10a5b", "layers.stack.stack_vjp", "value",
            lambda right: lambda x, layers, *, layer_vjp: right(x, layers[-1:], layer_vjp=layer_vjp)),
    Mistake("NEW-I-BACKWARDS", "last layer first → first layer first",
            "a list read from its end", "layers.stack.stack_vjp", "value",
            lambda right: lambda x, layers, *, layer_vjp: right(x, layers[::-1], layer_vjp=layer_vjp)),
    Mistake("NEW-I-UNSCALED", "features of two paths as they are → divided by the roots of their numbers",
            "the paper has no scale; " + _ORIG, "layers.stack.side_by_side", "value", _side_by_side(lambda own, both: 1.0)),
    Mistake("NEW-I-WIDTH", "features divided by their number → by its root",
            "a mean for a mean square", "layers.stack.side_by_side", "value", _side_by_side(lambda own, both: own)),
    Mistake("NEW-I-BOTH", "features divided by the root of the number of all → of their own path",
            "scaled after they are joined", "layers.stack.side_by_side", "value", _side_by_side(lambda own, both: both ** 0.5)),
    Mistake("NEW-I-SQRT-T", "z_var/T → z_var/√T, in the released read-out",
            _ORIG + ", root overlooked", "networks.readout.released", "value",
            lambda right: lambda heads, x_t, beta, *, T: right(heads, x_t, beta, T=T * T)),
    Mistake("NEW-I-OWN-VAR", "x √(1−var) + z √var → √(1−β) and √β, in the released mean",
            _ORIG + ", β of the forward step", "networks.readout.released", "value",
            lambda right: lambda heads, x_t, beta, *, T: _with_own_variance(right(heads, x_t, beta, T=T), heads, x_t)),
)


def _with_own_variance(p: Gaussian, heads: Heads, x_t: Array) -> Gaussian:
    return Gaussian(np.sqrt(1 - p.var) * x_t + np.sqrt(p.var) * heads.mean, p.var)


# -- the network -------------------------------------------------------------------------------------------------------

def _reading(change: Callable[[Image, tuple[int, ...]], Image]) -> Plant:
    """The network with changed parameters, for images of a shape (H, W, C)."""
    return lambda right: lambda parameters, x_t, step, **fixed: right(change(parameters, x_t.shape[1:]), x_t, step, **fixed)


def _ordered(layer: Affine, order: Array) -> Affine:
    return Affine(layer.weight[:, order], layer.bias[order])


def _last(axes: Callable[[Array, int], Array]) -> Plant:
    """The outputs of the last layer in another order, made from their places (2, C, J)."""
    def change(parameters: Image, shape: tuple[int, ...]) -> Image:
        C, width = shape[-1], len(parameters.last.bias)
        places = np.arange(width).reshape(2, C, width // (2 * C))
        return parameters._replace(last=_ordered(parameters.last, axes(places, C).ravel()))
    return _reading(change)


def _dealt(parameters: Image, shape: tuple[int, ...]) -> Image:
    if not parameters.dense:
        return parameters
    *before, last = parameters.dense
    places = np.arange(len(last.bias)).reshape(-1, shape[0] * shape[1])
    return parameters._replace(dense=(*before, _ordered(last, places.T.ravel())))


def _flattened(parameters: Image, shape: tuple[int, ...]) -> Image:
    if not parameters.dense:
        return parameters
    first, *others = parameters.dense
    places = np.arange(len(first.weight)).reshape(shape[2], shape[0], shape[1]).transpose(1, 2, 0).ravel()
    return parameters._replace(dense=(Affine(first.weight[places], first.bias), *others))


def _crossed(parameters: Image, shape: tuple[int, ...]) -> Image:
    """Features of the dense path before those of the other."""
    if not parameters.dense or not parameters.conv:
        return parameters
    first, *others = parameters.pixelwise
    near = len(parameters.conv[-1][0].bias)
    return parameters._replace(pixelwise=(Affine(np.roll(first.weight, -near, axis=0), first.bias), *others))


_NETWORK = "networks.image.reverse_vjp"

NETWORK = (
    Mistake("NEW-I-HEADS", "coefficients of the variance first → of the mean",
            "SHP-11, of the two heads", _NETWORK, "value", _last(lambda places, C: places[::-1])),
    Mistake("SHP-11b", "outputs read as (2, J, C) → (2, C, J)",
            "derived from ORIG temporal_readout", _NETWORK, "value",
            _last(lambda places, C: places.reshape(2, -1, C).swapaxes(1, 2))),
    Mistake("SHP-11c", "outputs read as (C, 2, J) → (2, C, J)",
            "derived from ORIG temporal_readout", _NETWORK, "value",
            _last(lambda places, C: places.reshape(C, 2, -1).swapaxes(0, 1))),
    Mistake("NEW-I-DEALT", "outputs of the dense path dealt feature by feature → pixel by pixel",
            "channels first", _NETWORK, "value", _reading(_dealt)),
    Mistake("NEW-I-FLATTENED", "image flattened colour by colour → pixel by pixel",
            "channels first", _NETWORK, "value", _reading(_flattened)),
    Mistake("NEW-I-CROSSED", "dense features before those of the convolutions → after",
            "an order of arguments", _NETWORK, "value", _reading(_crossed)),
    Mistake("NEW-I-PATH", "dense path left out → with it",
            "an option that does nothing", _NETWORK, "value",
            _reading(lambda parameters, shape: parameters._replace(dense=() if parameters.conv else parameters.dense))),
    Mistake("NEW-I-BASIS", "the released bumps whatever is asked for → those of the name",
            "an option that does nothing", _NETWORK, "value",
            lambda right: lambda *args, basis="paper", **fixed: right(
                *args, basis="released" if basis == "paper" else basis, **fixed)),
)


# -- before training ---------------------------------------------------------------------------------------------------

def _as_deep_as_conv(right: Callable[..., Any]) -> Callable[..., Any]:
    def init(rng: Any, *, conv: tuple[int, ...] = (32, 32, 32), dense: tuple[int, ...] = (), **fixed: Any) -> Image:
        return right(rng, conv=conv, dense=(dense[:1] * len(conv) if conv else dense), **fixed)
    return init


def _each(change: Callable[[Array], Array]) -> Callable[[tuple[Affine, ...]], tuple[Affine, ...]]:
    """The weights of some layers changed."""
    return lambda layers: tuple(Affine(change(layer.weight), layer.bias) for layer in layers)


def _as_released(weight: Array) -> Array:
    kh, kw, _, K = weight.shape
    return weight / weight.std() / np.sqrt(K) / (kh * kw)


def _uncentred(weight: Array) -> Array:
    mean = np.random.default_rng(0).standard_normal(weight[..., :1, :].shape)
    return weight + mean * weight.std() / np.sqrt(weight.shape[-2])


def _weighted_as_scaled(start: Image) -> Image:
    if start.conv and start.dense:
        return start
    first, *others = start.pixelwise
    return start._replace(pixelwise=(Affine((len(first.weight) / 2) ** 0.5 * first.weight, first.bias), *others))


_INIT = "networks.image.init"

START = (
    Mistake("NEW-I-DEPTH", "as many dense layers as convolutions → as asked for",
            _ORIG + ": n_layers_conv in the dense path", _INIT, "value", _as_deep_as_conv),
    Mistake("NEW-I-LAST", "last layer starts at random → at 0, the forward kernel",
            "initialised like the others", _INIT, "value",
            then(lambda start: start._replace(last=Affine(0.1 + start.last.weight, start.last.bias)))),
    Mistake("NEW-I-FAN", "kernels N(0, 1/filters)/k² → by what comes in, so that features are of order 1",
            _ORIG, _INIT, "value", then(lambda start: start._replace(conv=tuple(map(_each(_as_released), start.conv))))),
    Mistake("NEW-I-MEAN", "weights on softplus with any mean → that add up to 0 in every tap",
            "softplus taken for centred", _INIT, "value",
            then(lambda start: start._replace(conv=(*start.conv[:1], *map(_each(_uncentred), start.conv[1:]))))),
    Mistake("NEW-I-SPREAD", "weights as if functions of a normal number had its spread → divided by theirs",
            "1/√width for every layer", _INIT, "value",
            then(lambda start: start._replace(pixelwise=_each(lambda w: w / 1.5)(start.pixelwise)))),
    Mistake("NEW-I-SHARES", "every scale with the variance of all → its share of it",
            "the sum over scales overlooked", _INIT, "value",
            then(lambda start: start._replace(conv=tuple(_each(lambda w: w * len(k) ** 0.5)(k) for k in start.conv)))),
    Mistake("NEW-I-ALIKE", "one draw for the kernels of all scales → a draw for each",
            "a list of one object many times", _INIT, "value",
            then(lambda start: start._replace(conv=tuple((k[0],) * len(k) for k in start.conv)))),
    Mistake("NEW-I-ALONE", "features of a single path weighted as if they were scaled → as they are",
            "NEW-I-UNSCALED, at the start", _INIT, "value", then(_weighted_as_scaled)),
)


# -- pullbacks ---------------------------------------------------------------------------------------------------------

def _without_coarser(right: Callable[..., Any]) -> Callable[..., Any]:
    def multiscale_vjp(x: Array, kernels: Kernels) -> tuple[Array, Any]:
        y, pullback = right(x, kernels)

        def finest(dy: Array) -> tuple[Array, Kernels]:
            return conv.conv2d_vjp(x, *kernels[0])[1](dy)[0], pullback(dy)[1]
        return y, finest
    return multiscale_vjp


def _edges_twice(dx: Array) -> Array:
    times = np.ones(dx.shape[1:3])
    times[[0, -1]] *= 2
    times[:, [0, -1]] *= 2
    return dx * times[:, :, None]


def _tiles_summed(dy: Array, x: Array, *, factor: int) -> Array:
    N, H, W, C = x.shape
    return dy.reshape(N, factor, H, factor, W, C).sum(axis=(1, 3))


_DCONV = "layers.conv.conv2d_vjp"

PULLBACKS = (
    Mistake("LAY-10b", "dx with the kernel as it is → flipped",
            "FluxML/NNlib.jl#518", _DCONV, "gradient",
            lambda right: lambda x, w, b: (right(x, w, b)[0], lambda dy: (
                right(x, w[::-1, ::-1], b)[1](dy)[0], *right(x, w, b)[1](dy)[1:]))),
    Mistake("LAY-10c", "gradient of the flipped kernel → of the kernel",
            "keras-team/keras#3015", _DCONV, "gradient", pullback_then(lambda d: (d[0], d[1][::-1, ::-1], d[2]))),
    Mistake("LAY-11", "crop of the forward pass overlooked: dx a row and a column off → where it was",
            "tensorflow/tensorflow#11092", _DCONV, "gradient",
            pullback_then(lambda d: (np.roll(d[0], (1, 1), axis=(1, 2)), *d[1:]))),
    Mistake("LAY-13", "cotangents of the border doubled → once",
            "pytorch/pytorch#100793", _DCONV, "gradient", pullback_then(lambda d: (_edges_twice(d[0]), *d[1:]))),
    Mistake("LAY-02b", "gradient of the kernel divided by the batch → not",
            "AkiRusProd/numpy-diffusion@5116f79, of a convolution", _DCONV, "gradient",
            pullback_then(lambda d: (d[0], d[1] / len(d[0]), d[2]))),
    Mistake("NEW-I-DBIAS", "gradient of a bias the mean over pixels → the sum",
            "a mean for a sum", _DCONV, "gradient",
            pullback_then(lambda d: (d[0], d[1], d[2] / (d[0].size / d[0].shape[-1])))),
    Mistake("NEW-I-DPOOL", "every pixel of a square gets dy → its share of it",
            "the adjoint of the sum", "layers.pool.mean_pool_vjp", "gradient",
            lambda right: lambda x, *, factor: (right(x, factor=factor)[0],
                                                lambda dy: right(x, factor=factor)[1](dy) * factor ** 2)),
    Mistake("NEW-I-DUP", "mean over a square → sum",
            "pooling taken for the adjoint of repetition", "layers.pool.upsample_vjp", "gradient",
            lambda right: lambda x, *, factor: (right(x, factor=factor)[0],
                                                lambda dy: right(x, factor=factor)[1](dy) / factor ** 2)),
    Mistake("LAY-17", "cotangents of a pixel's copies collected as if the image had been tiled → from its square",
            "pytorch/pytorch#38985: the wrong source pixel", "layers.pool.upsample_vjp", "gradient", pulled_by(_tiles_summed)),
    Mistake("NEW-I-DSCALES", "x through the coarser scales detached → differentiated",
            "GRD-01, of scales", "layers.multiscale.multiscale_vjp", "gradient", _without_coarser),
    Mistake("NEW-I-DSHARE", "mean over scales pulled back as their sum → divided",
            _ORIG + " divides", "layers.multiscale.multiscale_released_vjp", "gradient",
            pullback_then(lambda d: tree_map(lambda leaf: leaf * len(d[1]), d))),
    Mistake("NEW-I-DLEAKY", "slope below 0 forgotten in the pullback → kept",
            "ReLU pulled back", "activation.leaky_relu_vjp", "gradient",
            pulled_by(lambda dy, x, *, slope=0.05: np.where(np.real(x) > 0, dy, 0))),
    Mistake("NEW-I-DBUMPS", "every coefficient gets dz → g_j dz",
            "a sum without weights", "layers.temporal.temporal_vjp", "gradient",
            pulled_by(lambda dz, y, *, g: np.broadcast_to(dz[..., None], y.shape))),
    Mistake("NEW-I-DROW", "g of the first row for all → each its own",
            "NEW-I-ONE-T, in the pullback alone", "layers.temporal.temporal_vjp", "gradient",
            pulled_by(lambda dz, y, *, g: dz[..., None] * g[0])),
    Mistake("NEW-I-DSTACK", "gradient for the last layer alone → for every layer",
            "a pullback that ends at the first step", "layers.stack.stack_vjp", "gradient",
            pullback_then(lambda d: (d[0], (*map(zero, d[1][:-1]), *d[1][-1:])))),
    Mistake("NEW-I-DSIDE", "roots forgotten in the pullback → kept",
            "parts of a concatenation", "layers.stack.side_by_side_vjp", "gradient",
            pulled_by(lambda dy, a, b: (dy[..., :a.shape[-1]], dy[..., a.shape[-1]:]))),
    Mistake("NEW-I-DX", "x_t through the network detached → differentiated",
            "GRD-01e, of images", _NETWORK, "gradient", pullback_then(lambda d: (d[0], zero(d[1]), d[2]))),
    Mistake("NEW-I-DDENSE", "dense path never gets a gradient → it does",
            "SCH-11, of a path", _NETWORK, "gradient",
            pullback_then(lambda d: (d[0]._replace(dense=zero(d[0].dense)), *d[1:]))),
)


# -- last digits -------------------------------------------------------------------------------------------------------

def _expanded(t: Array, *, T: int, count: int, basis: str = "paper") -> Array:
    tau = T * (np.arange(count) + 0.5) / count if basis == "paper" else np.linspace(1, T, count)
    w = T / count if basis == "paper" else (T - 1) / max(count - 1, 1) / 2
    s = (2.0 * np.multiply.outer(t, tau) - tau * tau) / (2 * w * w)                  # less t²/2w², the same for all
    heights = np.exp(s - s.max(axis=1, keepdims=True))
    return heights / heights.sum(axis=1, keepdims=True)


def _in_single(right: Callable[..., Any]) -> Callable[..., Any]:
    def conv2d(x: Array, weight: Array, bias: Array) -> Array:
        return right(x.astype("f4"), weight.astype("f4"), bias.astype("f4")).astype("f8")
    return conv2d


DIGITS = (
    Mistake("NEW-I-EXPAND", "(t − τ)² expanded: t²/2w² cancels against itself → as it stands",
            "NEW-EXPAND, of bumps", "layers.temporal.bumps", "accuracy", instead(_expanded)),
    Mistake("SHP-05b", "single precision in the middle of a double path → double",
            "AkiRusProd/numpy-diffusion@5116f79, of a convolution", "layers.conv.conv2d", "accuracy", _in_single),
)

MISTAKES = TOGETHER + NETWORK + START + PULLBACKS + DIGITS
