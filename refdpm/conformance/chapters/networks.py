"""Mistakes in read-outs and networks, at the start of training, and in their pullbacks; the network of images at its ends.

Those of the layout of parameters are planted as the right network with parameters in another order: what it would read from
weights that were made for the right one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import schedule
from refdpm.conformance.chapters.ends import Case, Sampler, wide
from refdpm.conformance.planting import Mistake, Plant, pullback_then, then, zero
from refdpm.gaussian import Gaussian
from refdpm.layers.linear import Affine
from refdpm.networks.readout import Heads
from refdpm.networks import image
from refdpm.networks.image import Image
from refdpm.vjp import Array, tree_map

_ORIG = "Sohl-Dickstein/Diffusion-Probabilistic-Models@de92b57"


# -- read-outs ---------------------------------------------------------------------------------------------------------

def _heads(change: Callable[[Heads], Heads]) -> Plant:
    """The network's outputs changed before they are read out."""
    return lambda right: lambda heads, *args, **fixed: right(change(heads), *args, **fixed)


def _in_turn(heads: Heads) -> Heads:
    z = np.concatenate(heads, axis=1)
    return Heads(z[:, 0::2], z[:, 1::2])


def _mean_as_printed(p: Gaussian, heads: Heads, x_t: Array) -> Gaussian:
    return Gaussian((x_t - heads.mean) * (1 - p.var) + heads.mean, p.var)


def _with_own_variance(p: Gaussian, heads: Heads, x_t: Array) -> Gaussian:
    return Gaussian(np.sqrt(1 - p.var) * x_t + np.sqrt(p.var) * heads.mean, p.var)


READ_OUTS = (
    Mistake("NEW-65", "mean (x − z)(1 − var) + z, as printed → √(1 − var)",
            "the paper's eq. 65", "networks.readout.eq65", "value",
            lambda right: lambda heads, x_t, beta: _mean_as_printed(right(heads, x_t, beta), heads, x_t)),
    Mistake("BND-11b", "deviation returned as a variance → variance",
            "hwlee11/Example_diffusion_probabilistic_models@07942cd", "networks.readout.released", "value",
            then(lambda p: Gaussian(p.mean, np.sqrt(p.var)))),
    Mistake("REV-17", "prediction of x_0 used as the mean of x_{t−1} → passed through the posterior",
            "youngunghan/Deep-Unsupervised-…@fa1712e known-issues D2", "networks.readout.denoising", "value",
            lambda right: lambda heads, x_t, beta, level: right(heads, x_t, beta, level)._replace(
                mean=np.sqrt((1 - beta) * np.exp(level)) * x_t + heads.mean)),
    Mistake("NEW-SPREAD", "posterior variance alone → plus what not knowing x_0 adds",
            "law of total variance overlooked", "networks.readout.denoising", "value",
            lambda right: lambda heads, *args: right(Heads(heads.mean, heads.var - 1e3), *args)),
    Mistake("LAY-31", "ReLU left after the last layer → none",
            "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8", "networks.readout.read_out_vjp", "value",
            _heads(lambda heads: Heads(*(np.maximum(z, 0) for z in heads)))),
    Mistake("SHP-11", "outputs of mean and variance interleaved → one half each",
            "derived from ORIG temporal_readout", "networks.readout.read_out_vjp", "value", _heads(_in_turn)),
    Mistake("NEW-WIDTH", "width stored where its logarithm is meant → the logarithm",
            "as BND-11, for a scale", "networks.swiss_roll.init", "value",
            then(lambda start: start._replace(log_width=np.exp(start.log_width)))),
    Mistake("NEW-I-SQRT-T", "z_var/T → z_var/√T, in the released read-out",
            _ORIG + ", root overlooked", "networks.readout.released", "value",
            lambda right: lambda heads, x_t, beta, *, T: right(heads, x_t, beta, T=T * T)),
    Mistake("NEW-I-OWN-VAR", "x √(1−var) + z √var → √(1−β) and √β, in the released mean",
            _ORIG + ", β of the forward step", "networks.readout.released", "value",
            lambda right: lambda heads, x_t, beta, *, T: _with_own_variance(right(heads, x_t, beta, T=T), heads, x_t)),
)


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


def _feature_by_feature(parameters: Image, shape: tuple[int, ...]) -> Image:
    if not parameters.dense:
        return parameters
    *before, last = parameters.dense
    places = np.arange(len(last.bias)).reshape(-1, shape[0] * shape[1])
    return parameters._replace(dense=(*before, _ordered(last, places.T.ravel())))


def _colour_by_colour(parameters: Image, shape: tuple[int, ...]) -> Image:
    if not parameters.dense:
        return parameters
    first, *others = parameters.dense
    places = np.arange(len(first.weight)).reshape(shape[2], shape[0], shape[1]).transpose(1, 2, 0).ravel()
    return parameters._replace(dense=(Affine(first.weight[places], first.bias), *others))


def _dense_first(parameters: Image, shape: tuple[int, ...]) -> Image:
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
            "channels first", _NETWORK, "value", _reading(_feature_by_feature)),
    Mistake("NEW-I-FLATTENED", "image flattened colour by colour → pixel by pixel",
            "channels first", _NETWORK, "value", _reading(_colour_by_colour)),
    Mistake("NEW-I-CROSSED", "dense features before those of the convolutions → after",
            "an order of arguments", _NETWORK, "value", _reading(_dense_first)),
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


def _with_any_mean(weight: Array) -> Array:
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
            then(lambda start: start._replace(conv=(*start.conv[:1], *map(_each(_with_any_mean), start.conv[1:]))))),
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


PULLBACKS = (
    Mistake("NEW-I-DX", "x_t through the network detached → differentiated",
            "GRD-01e, of images", _NETWORK, "gradient", pullback_then(lambda d: (d[0], zero(d[1]), d[2]))),
    Mistake("NEW-I-DDENSE", "dense path never gets a gradient → it does",
            "SCH-11, of a path", _NETWORK, "gradient",
            pullback_then(lambda d: (d[0]._replace(dense=zero(d[0].dense)), *d[1:]))),
)


# -- the network of images at the ends of the range ------------------------------------------------------------------------

def _off_the_start(form: str, conv: tuple[int, ...], dense: tuple[int, ...]) -> Sampler:
    """Images of 2 × 4 pixels in two colours, each at its own step, in a network some way from where training starts."""
    def case(rng: np.random.Generator, n: int) -> Case:
        start = image.init(rng, shape=(2, 4, 2), conv=conv, scales=2, kernel=(3, 1), dense=dense, pixelwise=(4,), count=3,
                           form=form)
        parameters = tree_map(lambda leaf: leaf + 0.5 * rng.normal(size=leaf.shape), start)
        beta, x, t = np.append(0.0, wide(1e-12, 0.9)(rng, 5)), rng.normal(size=(2, 2, 4, 2)), rng.integers(2, 6, 2)
        step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=4)
        return (parameters, x, step), dict(t=t, T=5, form=form, basis=form)
    return case


ENDS = {"networks.image.reverse": tuple(_off_the_start(form, conv, dense) for form in image.FORMS
                                        for conv, dense in (((3,), ()), ((3,), (5,)), ((), (5,))))}
