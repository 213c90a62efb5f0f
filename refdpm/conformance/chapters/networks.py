"""Mistakes in read-outs and networks, at the start of training, and in their pullbacks; those of bits and images at their ends.

Those of the layout of parameters are planted as the right network with parameters in another order: what it would read from
weights that were made for the right one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import binomial, schedule
from refdpm.activation import logit, sigmoid, softplus
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters.binomial import SHARES, SPEC, UNIT, level_after
from refdpm.conformance.chapters.ends import BIT, BOTH, HEAD, Case, Sampler, ends, law, rate, wide
from refdpm.conformance.planting import (Mistake, Plant, edited, instead, of, pulled, pulled_by, pulled_to, then, told, without,
                                         zero)
from refdpm.layers.linear import Affine
from refdpm.networks import image
from refdpm.networks.bit_readout import READOUTS
from refdpm.networks.heartbeat import COUNT, Heartbeat
from refdpm.networks.image import Image
from refdpm.networks.readout import Heads
from refdpm.schedule import Step
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


# -- read-outs and networks of bits ------------------------------------------------------------------------------------

def _of_x_0(z: Array, x_t: Array, beta: Array, level: Array, rate: float) -> Array:
    """P(x_0 = 1 | x_t)."""
    return sigmoid(binomial.marginal(x_t, level_after(level, beta), rate=rate).logit + z)


def _posterior_at(x_0: Callable[[Array], Array]) -> Callable[..., Bernoulli]:
    """The posterior at one x_0, made of P(x_0 = 1 | x_t)."""
    def denoising(p: Bernoulli, z: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, rate: float) -> Bernoulli:
        said = x_0(_of_x_0(z, x_t, beta, log_alpha_bar_prev, rate))
        return binomial.posterior(x_t, said, beta, log_alpha_bar_prev, rate=rate)
    return denoising


def _unseen(p: Bernoulli, z: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, rate: float) -> Bernoulli:
    return binomial.marginal(_of_x_0(z, x_t, beta, log_alpha_bar_prev, rate), log_alpha_bar_prev, rate=rate)


in_denoising, in_skip = of("networks.bit_readout.denoising"), of("networks.bit_readout.skip")
in_heartbeat, in_denoising_vjp = of("networks.heartbeat.reverse_vjp"), of("networks.bit_readout.denoising_vjp", "gradient")

WRONG_READOUTS = (
    in_denoising("NEW-PLUG", "P(x_0 | x_t) in the place of x_0 in the posterior → the posterior averaged over x_0",
            "normalised after the average instead of before; x_t counts twice", then(_posterior_at(lambda p: p))),
    in_denoising("NEW-ARGMAX", "the likelier x_0 taken for certain → both, weighted", "the average ignored",
            then(_posterior_at(lambda p: (p > 0.5).astype(float)))),
    in_denoising("DIS-11", "q(x_{t−1} | x̂_0) without x_t's evidence → times q(x_t | x_{t−1})",
            "ehoogeboom/multinomial_diffusion#7", then(_unseen)),
    in_denoising("NEW-LEVEL-X0", "x̂_0 mixed at ᾱ_t → at ᾱ_{t−1}", "an index, as in SCH-01", told(log_alpha_bar_prev=level_after)),
    in_denoising("NEW-PRIOR-X0", "sigmoid(z) for x̂_0 → sigmoid(logit r + z)", SPEC,
            told(z=lambda z, rate: z - logit(np.asarray(rate)))),
    in_denoising("NEW-RATEe", "denoising in the chain with rate ½ → with the rate of π", SPEC, told(rate=0.5)),
    in_denoising("DIS-04b", "averaged probabilities cut off at 1e-10 and 1 − 1e-7 → logits, cut off nowhere", UNIT + "3d1f72a",
            then(lambda p: Bernoulli(logit(np.clip(p.prob, 1e-10, 1 - 1e-7))))),
    in_skip("NEW-SKIP", "z alone → added to the forward kernel's logit", "the literal f_b",
            instead(lambda z, x_t, beta, *, rate=0.5: Bernoulli(z))),
    in_skip("NEW-SKIP-SIGN", "z subtracted from the forward kernel's logit → added", "a sign", edited("minus for plus before z")),
    in_skip("NEW-RATEf", "skip over the kernel with rate ½ → with the rate of π", SPEC, told(rate=0.5)),
    in_skip("NEW-SKIP-STATE", "skip by β(2x − 1) → by the kernel's log odds", "a hand-made skip, as in " + UNIT + "HEAD",
            instead(lambda z, x_t, beta, *, rate=0.5: Bernoulli((2 * x_t - 1) * (1 - beta) + z))),
    Mistake("DIS-10b", "log sigmoid(z) taken for the logit → z", "cloneofsimo/d3pm#7", "networks.bit_readout.paper", "value",
            instead(lambda z: Bernoulli(-softplus(-z)))),
    Mistake("NEW-FLIP-Z", "f_b the probability of a flip → of a one", "the name in the paper's §2.2", "networks.bit_readout.paper",
            "value", instead(lambda z: Bernoulli(-z))),
)


def _seeing_the_bits(parameters: Heartbeat, rate: float) -> Heartbeat:
    """The first layer's weights and bias changed so that it sees the bits themselves."""
    (weight, bias), *others = parameters.hidden
    first = Affine(np.sqrt(rate * (1 - rate)) * weight, bias + rate * weight.sum(axis=0))
    return parameters._replace(hidden=(first, *others))


WRONG_NETWORKS = (
    in_heartbeat("NEW-HEAD-T", "read-out of step t − 1 at step t → of t", "code index t − 1, PAPER §6 item 6",
            told(t=lambda t: np.maximum(t - 1, 2))),
    in_heartbeat("SHP-08b", "one t for all rows → each row's own", "youngunghan/Deep-Unsupervised-…@fa1712e",
            told(t=lambda t: np.full_like(t, t[0]))),
    in_heartbeat("DIS-17", "bits as ±1 for the layers, in training only → the same bits everywhere", "Edward-Sun/DIFUSCO#17",
            told(x_t=lambda x_t: 2 * x_t - 1)),
    in_heartbeat("NEW-STANDARD", "bits as they are → standardised with their moments under π", "a scale of training forgotten",
            told(parameters=_seeing_the_bits)),
    in_heartbeat("NEW-BIAS-TANH", "hidden layers without biases → with them", "a layer built with bias off",
            told(parameters=lambda parameters: parameters._replace(
                 hidden=tuple(Affine(weight, 0 * bias) for weight, bias in parameters.hidden)))),
    Mistake("NEW-INIT", "hidden weights of variance 1/out → 1/in", "fan-out for fan-in", "networks.heartbeat.init", "value",
            then(lambda start: start._replace(hidden=tuple(
                Affine(weight * np.sqrt(weight.shape[0] / weight.shape[1]), bias) for weight, bias in start.hidden)))),
    Mistake("NEW-INIT-LAST", "last layer random → zero, so that training starts from the forward kernel", "PAPER §6 item 13",
            "networks.heartbeat.init", "value", then(lambda start: start._replace(bias=start.bias + 0.1))),
)


def _without_layers(right: Callable[..., Any]) -> Callable[..., Any]:
    """The cotangent of x_t of a network whose layers do not see it."""
    def reverse_vjp(parameters: Heartbeat, x_t: Array, step: Step, **named: Any) -> Any:
        (weight, bias), *others = parameters.hidden
        blind = right(parameters._replace(hidden=(Affine(0 * weight, bias), *others)), x_t, step, **named)
        return pulled_to(x_t=lambda dp: blind[1](dp)[1])(right)(parameters, x_t, step, **named)
    return reverse_vjp


# -- the network of images ---------------------------------------------------------------------------------------------

def _ordered(layer: Affine, order: Array) -> Affine:
    return Affine(layer.weight[:, order], layer.bias[order])


def _last(axes: Callable[[Array, int], Array]) -> Plant:
    """The outputs of the last layer in another order, made from their places (2, C, J)."""
    def change(parameters: Image, x_t: Array) -> Image:
        C, width = x_t.shape[-1], len(parameters.last.bias)
        places = np.arange(width).reshape(2, C, width // (2 * C))
        return parameters._replace(last=_ordered(parameters.last, axes(places, C).ravel()))
    return told(parameters=change)


def _dense(change: Callable[[tuple[Affine, ...], Array], tuple[Affine, ...]]) -> Plant:
    """The layers of the dense path, if there are any, changed for the images x_t."""
    return told(parameters=lambda parameters, x_t: parameters._replace(
        dense=change(parameters.dense, x_t) if parameters.dense else ()))


def _feature_by_feature(dense: tuple[Affine, ...], x_t: Array) -> tuple[Affine, ...]:
    places = np.arange(len(dense[-1].bias)).reshape(-1, x_t.shape[1] * x_t.shape[2])
    return (*dense[:-1], _ordered(dense[-1], places.T.ravel()))


def _colour_by_colour(dense: tuple[Affine, ...], x_t: Array) -> tuple[Affine, ...]:
    (weight, bias), *others = dense
    places = np.moveaxis(np.arange(len(weight)).reshape(x_t.shape[3], *x_t.shape[1:3]), 0, -1).ravel()
    return (Affine(weight[places], bias), *others)


def _features(change: Callable[[Array, int], Array]) -> Plant:
    """Another weight for the features of both paths, made from the right one and the number of those of the convolutions."""
    def changed(parameters: Image) -> Image:
        if not parameters.dense or not parameters.conv:
            return parameters
        (weight, bias), *others = parameters.pixelwise
        return parameters._replace(pixelwise=(Affine(change(weight, len(parameters.conv[-1][0].bias)), bias), *others))
    return told(parameters=changed)


NETWORK = (
    in_reverse("NEW-I-HEADS", "coefficients of the variance first → of the mean", "SHP-11, of the two heads",
            _last(lambda places, C: places[::-1])),
    in_reverse("SHP-11b", "outputs read as (2, J, C) → (2, C, J)", "derived from ORIG temporal_readout",
            _last(lambda places, C: places.reshape(2, -1, C).swapaxes(1, 2))),
    in_reverse("SHP-11c", "outputs read as (C, 2, J) → (2, C, J)", "derived from ORIG temporal_readout",
            _last(lambda places, C: places.reshape(C, 2, -1).swapaxes(0, 1))),
    in_reverse("NEW-I-DEALT", "outputs of the dense path dealt feature by feature → pixel by pixel", "channels first",
            _dense(_feature_by_feature)),
    in_reverse("NEW-I-FLATTENED", "image flattened colour by colour → pixel by pixel", "channels first",
            _dense(_colour_by_colour)),
    in_reverse("NEW-I-CROSSED", "dense features before those of the convolutions → after", "an order of arguments",
            _features(lambda weight, near: np.roll(weight, -near, axis=0))),
    in_reverse("NEW-I-PATH", "dense path left out → with it", "an option that does nothing",
            _features(lambda weight, near: weight * (np.arange(len(weight)) < near)[:, None])),
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
    Mistake("GRD-07b", "log-variance differentiated as a log-deviation: factor 2 → 1",
            "gmongaras/Diffusion_models_from_scratch@c58823f", "networks.readout.denoising_vjp", "gradient",
            pulled(heads=lambda d: Heads(d.mean, 2 * d.var))),
    Mistake("NEW-I-DX", "x_t through the network detached → differentiated", "GRD-01e, of images", "networks.image.reverse_vjp",
            "gradient", pulled(x_t=zero)),
    Mistake("NEW-I-DDENSE", "dense path never gets a gradient → it does", "SCH-11, of a path", "networks.image.reverse_vjp",
            "gradient", pulled(parameters=without("dense"))),
    in_denoising_vjp("GRD-01j", "denoising's x_t detached → differentiated", "GRD-01c for bits", pulled(x_t=zero)),
    in_denoising_vjp("GRD-01k", "denoising's ᾱ_{t−1} detached → differentiated", "GRD-01b for bits",
            pulled(log_alpha_bar_prev=zero)),
    in_denoising_vjp("NEW-DHEAD", "dlogit taken for dz, as with the skip → through x̂ and the posterior",
            "the other read-out's gradient", pulled_to(z=lambda dp: dp.logit)),
    Mistake("GRD-01l", "skip's β detached → differentiated", "GRD-01b for bits", "networks.bit_readout.skip_vjp", "gradient",
            pulled(beta=zero)),
    Mistake("NEW-DPAPER", "dlogit times p(1−p) → dlogit", "the gradient by the probability", "networks.bit_readout.paper_vjp",
            "gradient", pulled_by(lambda dp, z: dp.logit * sigmoid(z) * sigmoid(-z))),
    Mistake("NEW-DNAMED", "ℓ_{t−1}'s cotangent handed to ℓ_t → to ℓ_{t−1}", "an index, as in SCH-01",
            "networks.bit_readout.read_out_vjp", "gradient",
            pulled(step=lambda d: Step(d.beta, d.log_alpha_bar, d.log_alpha_bar_prev))),
    Mistake("GRD-01m", "network's x_t detached from the skip → both paths", "one of two cotangents lost",
            "networks.heartbeat.reverse_vjp", "gradient", _without_layers),
    Mistake("NEW-DBIAS", "biases of the last layer without a gradient → with one", "a parameter left out of the list",
            "networks.heartbeat.reverse_vjp", "gradient", pulled(parameters=without("bias"))),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

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


OFF, FAR = wide(1e-6, 40.0, signs=BOTH), wide(1e-12, 600.0, signs=(-1,))           # heads, and levels whose products do not vanish


def _heartbeat(last: str) -> Sampler:
    """Two hidden layers, three bits, six rows at their own steps, the last step a fresh draw."""
    def drawn(rng: np.random.Generator, n: int) -> Case:
        T = 4
        beta, t = np.array([0.0, *wide(1e-12, 0.9)(rng, T - 1), 1.0]), rng.integers(2, T + 1, 6)
        hidden = tuple(Affine(rng.normal(size=shape), rng.normal(size=shape[1])) for shape in ((3, 4), (4, 5)))
        shape = (T + 1, 5, 3) if last == "per_step" else (5, 3 * COUNT)
        parameters = Heartbeat(hidden, rng.normal(size=shape) * 3, rng.normal(size=shape[:-2] + shape[-1:]))
        with np.errstate(divide="ignore"):
            step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=2)
        return (parameters, rng.integers(0, 2, (6, 3)).astype(float), step), {"t": t, "T": T, "rate": 0.01, "last": last}
    return drawn


ENDS = {
    "networks.bit_readout.paper": ends(HEAD), "networks.bit_readout.skip": ends(HEAD, BIT, rate, rate=SHARES),
    "networks.bit_readout.denoising": ends(OFF, BIT, rate, FAR, rate=SHARES),
    "networks.bit_readout.read_out": tuple(
        ends(OFF, BIT, law(Step, rate, FAR, FAR), rate=SHARES, readout=readout) for readout in READOUTS),
    "networks.heartbeat.reverse": tuple(map(_heartbeat, ("per_step", "bumps"))),
    "networks.image.reverse": tuple(_off_the_start(form, conv, dense) for form in image.FORMS
                                    for conv, dense in (((3,), ()), ((3,), (5,)), ((), (5,))))}
