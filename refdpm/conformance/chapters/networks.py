"""Mistakes in read-outs and networks, at the start of training, and in their pullbacks; those of bits and images at their ends.

Those of the layout of parameters are planted as the right network with parameters in another order: what it would read from
weights that were made for the right one.
"""

from collections.abc import Callable

import numpy as np

from refdpm import binomial, schedule
from refdpm.activation import logit, sigmoid, softplus
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters.binomial import SHARES, UNIT, level_after
from refdpm.conformance.chapters.ends import BIT, BOTH, HEAD, Case, Sampler, ends, law, rate, wide
from refdpm.conformance.planting import Mistake, Plant, instead, of, pulled, then, told
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
    Mistake("REV-17", "prediction of x_0 used as the mean of x_{t−1} → passed through the posterior",
            "youngunghan/Deep-Unsupervised-…@fa1712e known-issues D2", "networks.readout.denoising", "value",
            then(lambda p, heads, x_t, beta, log_alpha_bar_prev: p._replace(
                 mean=np.sqrt((1 - beta) * np.exp(log_alpha_bar_prev)) * x_t + heads.mean))),
    Mistake("LAY-31", "ReLU left after the last layer → none", "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8",
            "networks.readout.read_out_vjp", "value", told(heads=lambda heads: Heads(*(np.maximum(z, 0) for z in heads)))),
    Mistake("SHP-11", "outputs of mean and variance interleaved → one half each", "derived from ORIG temporal_readout",
            "networks.readout.read_out_vjp", "value", told(heads=_in_turn)),
    Mistake("NEW-WIDTH", "width stored where its logarithm is meant → the logarithm", "as BND-11, for a scale",
            "networks.swiss_roll.init", "value", then(lambda start: start._replace(log_width=np.exp(start.log_width)))),
    in_released("NEW-I-OWN-VAR", "x √(1−var) + z √var → √(1−β) and √β, in the released mean", _ORIG + ", β of the forward step",
            then(lambda p, heads, x_t: p._replace(mean=np.sqrt(1 - p.var) * x_t + np.sqrt(p.var) * heads.mean))),
)


# -- read-outs and networks of bits ------------------------------------------------------------------------------------

def _of_x_0(z: Array, x_t: Array, beta: Array, level: Array, rate: float) -> Array:
    """P(x_0 = 1 | x_t)."""
    return sigmoid(binomial.marginal(x_t, level_after(level, beta), rate=rate).logit + z)


def _unseen(p: Bernoulli, z: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, rate: float) -> Bernoulli:
    return binomial.marginal(_of_x_0(z, x_t, beta, log_alpha_bar_prev, rate), log_alpha_bar_prev, rate=rate)


in_denoising, in_skip = of("networks.bit_readout.denoising"), of("networks.bit_readout.skip")
in_heartbeat = of("networks.heartbeat.reverse_vjp")

WRONG_READOUTS = (
    in_denoising("DIS-11", "q(x_{t−1} | x̂_0) without x_t's evidence → times q(x_t | x_{t−1})",
            "ehoogeboom/multinomial_diffusion#7", then(_unseen)),
    in_denoising("DIS-04b", "averaged probabilities cut off at 1e-10 and 1 − 1e-7 → logits, cut off nowhere", UNIT + "3d1f72a",
            then(lambda p: Bernoulli(logit(np.clip(p.prob, 1e-10, 1 - 1e-7))))),
    in_skip("NEW-SKIP-STATE", "skip by β(2x − 1) → by the kernel's log odds", "a hand-made skip, as in " + UNIT + "HEAD",
            instead(lambda z, x_t, beta, *, rate=0.5: Bernoulli((2 * x_t - 1) * (1 - beta) + z))),
    Mistake("DIS-10b", "log sigmoid(z) taken for the logit → z", "cloneofsimo/d3pm#7", "networks.bit_readout.paper", "value",
            instead(lambda z: Bernoulli(-softplus(-z)))),
)


WRONG_NETWORKS = (
    in_heartbeat("SHP-08b", "one t for all rows → each row's own", "youngunghan/Deep-Unsupervised-…@fa1712e",
            told(t=lambda t: np.full_like(t, t[0]))),
    in_heartbeat("DIS-17", "bits as ±1 for the layers, in training only → the same bits everywhere", "Edward-Sun/DIFUSCO#17",
            told(x_t=lambda x_t: 2 * x_t - 1)),
)


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


NETWORK = (
    in_reverse("SHP-11b", "outputs read as (2, J, C) → (2, C, J)", "derived from ORIG temporal_readout",
            _last(lambda places, C: places.reshape(2, -1, C).swapaxes(1, 2))),
    in_reverse("SHP-11c", "outputs read as (C, 2, J) → (2, C, J)", "derived from ORIG temporal_readout",
            _last(lambda places, C: places.reshape(C, 2, -1).swapaxes(0, 1))),
)


# -- before training ---------------------------------------------------------------------------------------------------

def _each(change: Callable[[Array], Array]) -> Callable[[tuple[Affine, ...]], tuple[Affine, ...]]:
    """The weights of some layers changed."""
    return lambda layers: tuple(Affine(change(layer.weight), layer.bias) for layer in layers)


def _as_released(weight: Array) -> Array:
    kh, kw, _, K = weight.shape
    return weight / weight.std() / np.sqrt(K) / (kh * kw)


START = (
    in_init("NEW-I-DEPTH", "as many dense layers as convolutions → as asked for", _ORIG + ": n_layers_conv in the dense path",
            told(dense=lambda dense, conv: dense[:1] * len(conv) if conv else dense)),
    in_init("NEW-I-LAST", "last layer starts at random → at 0, the forward kernel", "initialised like the others",
            then(lambda start: start._replace(last=Affine(0.1 + start.last.weight, start.last.bias)))),
    in_init("NEW-I-FAN", "kernels N(0, 1/filters)/k² → by what comes in, so that features are of order 1", _ORIG,
            then(lambda start: start._replace(conv=tuple(map(_each(_as_released), start.conv))))),
)


PULLBACKS = (
    Mistake("GRD-07b", "log-variance differentiated as a log-deviation: factor 2 → 1",
            "gmongaras/Diffusion_models_from_scratch@c58823f", "networks.readout.denoising_vjp", "gradient",
            pulled(heads=lambda d: Heads(d.mean, 2 * d.var))),
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
