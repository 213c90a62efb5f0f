"""Mistakes in read-outs and networks, at the start of training, and in their pullbacks; the network of images at its ends.

Those of the layout of parameters are planted as the right network with parameters in another order: what it would read from
weights that were made for the right one.
"""

from collections.abc import Callable

import numpy as np

from refdpm import schedule
from refdpm.conformance.chapters.ends import Case, Sampler, wide
from refdpm.conformance.planting import Mistake, Plant, of, pulled, then, told, without, zero
from refdpm.layers.linear import Affine
from refdpm.networks.readout import Heads
from refdpm.networks import image
from refdpm.networks.image import Image
from refdpm.vjp import Array, tree_map

_ORIG = "Sohl-Dickstein/Diffusion-Probabilistic-Models@de92b57"


# -- read-outs ---------------------------------------------------------------------------------------------------------

def _in_turn(heads: Heads) -> Heads:
    z = np.concatenate(heads, axis=1)
    return Heads(z[:, 0::2], z[:, 1::2])


in_released, in_reverse, in_init = of("networks.readout.released"), of("networks.image.reverse_vjp"), of("networks.image.init")

READ_OUTS = (
    Mistake("NEW-65", "mean (x − z)(1 − var) + z, as printed → √(1 − var)", "the paper's eq. 65", "networks.readout.eq65", "value",
            then(lambda p, heads, x_t: p._replace(mean=(x_t - heads.mean) * (1 - p.var) + heads.mean))),
    in_released("BND-11b", "deviation returned as a variance → variance", "hwlee11/Example_diffusion_probabilistic_models@07942cd",
            then(lambda p: p._replace(var=np.sqrt(p.var)))),
    Mistake("REV-17", "prediction of x_0 used as the mean of x_{t−1} → passed through the posterior",
            "youngunghan/Deep-Unsupervised-…@fa1712e known-issues D2", "networks.readout.denoising", "value",
            then(lambda p, heads, x_t, beta, log_alpha_bar_prev: p._replace(
                 mean=np.sqrt((1 - beta) * np.exp(log_alpha_bar_prev)) * x_t + heads.mean))),
    Mistake("NEW-SPREAD", "posterior variance alone → plus what not knowing x_0 adds", "law of total variance overlooked",
            "networks.readout.denoising", "value", told(heads=lambda heads: Heads(heads.mean, heads.var - 1e3))),
    Mistake("LAY-31", "ReLU left after the last layer → none", "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8",
            "networks.readout.read_out_vjp", "value", told(heads=lambda heads: Heads(*(np.maximum(z, 0) for z in heads)))),
    Mistake("SHP-11", "outputs of mean and variance interleaved → one half each", "derived from ORIG temporal_readout",
            "networks.readout.read_out_vjp", "value", told(heads=_in_turn)),
    Mistake("NEW-WIDTH", "width stored where its logarithm is meant → the logarithm", "as BND-11, for a scale",
            "networks.swiss_roll.init", "value", then(lambda start: start._replace(log_width=np.exp(start.log_width)))),
    in_released("NEW-I-SQRT-T", "z_var/T → z_var/√T, in the released read-out", _ORIG + ", root overlooked",
            told(T=lambda T: T * T)),
    in_released("NEW-I-OWN-VAR", "x √(1−var) + z √var → √(1−β) and √β, in the released mean", _ORIG + ", β of the forward step",
            then(lambda p, heads, x_t: p._replace(mean=np.sqrt(1 - p.var) * x_t + np.sqrt(p.var) * heads.mean))),
)


# -- the network -------------------------------------------------------------------------------------------------------

def _ordered(layer: Affine, order: Array) -> Affine:
    return Affine(layer.weight[:, order], layer.bias[order])


def _last(axes: Callable[[Array, int], Array]) -> Plant:
    """The outputs of the last layer in another order, made from their places (2, C, J)."""
    def change(parameters: Image, x_t: Array) -> Image:
        C, width = x_t.shape[-1], len(parameters.last.bias)
        places = np.arange(width).reshape(2, C, width // (2 * C))
        return parameters._replace(last=_ordered(parameters.last, axes(places, C).ravel()))
    return told(parameters=change)


def _feature_by_feature(parameters: Image, x_t: Array) -> Image:
    if not parameters.dense:
        return parameters
    *before, last = parameters.dense
    places = np.arange(len(last.bias)).reshape(-1, x_t.shape[1] * x_t.shape[2])
    return parameters._replace(dense=(*before, _ordered(last, places.T.ravel())))


def _colour_by_colour(parameters: Image, x_t: Array) -> Image:
    if not parameters.dense:
        return parameters
    (weight, bias), *others = parameters.dense
    places = np.moveaxis(np.arange(len(weight)).reshape(x_t.shape[3], *x_t.shape[1:3]), 0, -1).ravel()
    return parameters._replace(dense=(Affine(weight[places], bias), *others))


def _dense_first(parameters: Image) -> Image:
    """Features of the dense path before those of the other."""
    if not parameters.dense or not parameters.conv:
        return parameters
    (weight, bias), *others = parameters.pixelwise
    near = len(parameters.conv[-1][0].bias)
    return parameters._replace(pixelwise=(Affine(np.roll(weight, -near, axis=0), bias), *others))


NETWORK = (
    in_reverse("NEW-I-HEADS", "coefficients of the variance first → of the mean", "SHP-11, of the two heads",
            _last(lambda places, C: places[::-1])),
    in_reverse("SHP-11b", "outputs read as (2, J, C) → (2, C, J)", "derived from ORIG temporal_readout",
            _last(lambda places, C: places.reshape(2, -1, C).swapaxes(1, 2))),
    in_reverse("SHP-11c", "outputs read as (C, 2, J) → (2, C, J)", "derived from ORIG temporal_readout",
            _last(lambda places, C: places.reshape(C, 2, -1).swapaxes(0, 1))),
    in_reverse("NEW-I-DEALT", "outputs of the dense path dealt feature by feature → pixel by pixel", "channels first",
            told(parameters=_feature_by_feature)),
    in_reverse("NEW-I-FLATTENED", "image flattened colour by colour → pixel by pixel", "channels first",
            told(parameters=_colour_by_colour)),
    in_reverse("NEW-I-CROSSED", "dense features before those of the convolutions → after", "an order of arguments",
            told(parameters=_dense_first)),
    in_reverse("NEW-I-PATH", "dense path left out → with it", "an option that does nothing",
            told(parameters=lambda parameters: parameters._replace(dense=() if parameters.conv else parameters.dense))),
    in_reverse("NEW-I-BASIS", "the released bumps whatever is asked for → those of the name", "an option that does nothing",
            told(basis="released")),
)


# -- before training ---------------------------------------------------------------------------------------------------

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


START = (
    in_init("NEW-I-DEPTH", "as many dense layers as convolutions → as asked for", _ORIG + ": n_layers_conv in the dense path",
            told(dense=lambda dense, conv: dense[:1] * len(conv) if conv else dense)),
    in_init("NEW-I-LAST", "last layer starts at random → at 0, the forward kernel", "initialised like the others",
            then(lambda start: start._replace(last=Affine(0.1 + start.last.weight, start.last.bias)))),
    in_init("NEW-I-FAN", "kernels N(0, 1/filters)/k² → by what comes in, so that features are of order 1", _ORIG,
            then(lambda start: start._replace(conv=tuple(map(_each(_as_released), start.conv))))),
    in_init("NEW-I-MEAN", "weights on softplus with any mean → that add up to 0 in every tap", "softplus taken for centred",
            then(lambda start: start._replace(conv=(*start.conv[:1], *map(_each(_with_any_mean), start.conv[1:]))))),
    in_init("NEW-I-SPREAD", "weights as if functions of a normal number had its spread → divided by theirs",
            "1/√width for every layer", then(lambda start: start._replace(pixelwise=_each(lambda w: w / 1.5)(start.pixelwise)))),
    in_init("NEW-I-SHARES", "every scale with the variance of all → its share of it", "the sum over scales overlooked",
            then(lambda start: start._replace(conv=tuple(_each(lambda w: w * len(k) ** 0.5)(k) for k in start.conv)))),
    in_init("NEW-I-ALIKE", "one draw for the kernels of all scales → a draw for each", "a list of one object many times",
            then(lambda start: start._replace(conv=tuple((k[0],) * len(k) for k in start.conv)))),
    in_init("NEW-I-ALONE", "features of a single path weighted as if they were scaled → as they are",
            "NEW-I-UNSCALED, at the start", then(_weighted_as_scaled)),
)


PULLBACKS = (
    Mistake("NEW-I-DX", "x_t through the network detached → differentiated", "GRD-01e, of images", "networks.image.reverse_vjp",
            "gradient", pulled(x_t=zero)),
    Mistake("NEW-I-DDENSE", "dense path never gets a gradient → it does", "SCH-11, of a path", "networks.image.reverse_vjp",
            "gradient", pulled(parameters=without("dense"))),
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
