"""Images: the convolutional network, one t for each image, fixed schedule.

The peers are given the levels of the schedule and the terms of K at the ends of the chain, which no parameter moves; this package
computes them at every step.  Pooling is done from scale to scale, as here.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from common import Makers, Step, in_jax, in_torch
from refdpm import bound, schedule, train
from refdpm.experiments import images as experiment
from refdpm.layers.temporal import bumps
from refdpm.networks.image import Image
from refdpm.vjp import Array, leaves, tree_map

SETTINGS = {
    "dead-leaves": experiment.Settings("dead-leaves"),
    "single-scale": experiment.Settings("dead-leaves", height=28, width=28, conv=(20,) * 4, scales=1, pixelwise=()),
}


class Given(NamedTuple):
    """What does not depend on the parameters, image by image, of one channel, so without an axis for it; `ends` are the terms of K
    at the ends of the chain."""

    x_0: Array
    noise: Array
    beta: Array
    level_prev: Array
    level: Array
    g: Array
    ends: Array


def steps(rows: int, net: str, **_: Any) -> Makers:
    """As many images as rows; torch with either layout."""
    settings = SETTINGS[net]
    rng = np.random.default_rng(0)
    model = tree_map(lambda x: x + 0.05 * rng.standard_normal(x.shape), experiment.begin(settings).model.parameters)
    x_0 = rng.standard_normal((rows, settings.height, settings.width, 1))
    t, noise = bound.draw_steps(rng, settings.T, (1, rows)), rng.standard_normal((1, *x_0.shape))
    some = (settings, model, x_0, noise, t)
    return {"refdpm": partial(_ours, *some), "torch channels first": partial(_torch, "contiguous_format", *some),
            "torch channels last": partial(_torch, "channels_last", *some), "jax": partial(_jax, *some)}


def _ours(settings: experiment.Settings, model: Image, x_0: Array, noise: Array, t: Array) -> Step:
    posed = experiment.problem(settings)

    def step() -> tuple[float, list[Array]]:
        k, gradient = train.mean_network_bound(model, x_0, noise=noise, t=t, beta=posed.beta, kernel=posed.kernel,
                                               network=posed.network, rows=posed.recipe.rows)
        return k, list(leaves(gradient))

    return step


def _given(settings: experiment.Settings, x_0: Array, noise: Array, t: Array) -> Given:
    posed = experiment.problem(settings)
    beta, t = posed.beta, t.ravel()
    level = schedule.log_alpha_bar(beta)
    ends = bound.assemble(train._terms(np.empty((0, len(x_0))), beta, x_0, posed.kernel), T=settings.T).mean()
    column = (-1, 1, 1)
    return Given(x_0[..., 0], noise[0, ..., 0], beta[t].reshape(column), level[t - 1].reshape(column), level[t].reshape(column),
                 bumps(t, T=settings.T, count=settings.bumps, basis=settings.basis), np.asarray(ends))


def _value(xp: Any, sigmoid: Any, features: Any, settings: experiment.Settings, model: Image, given: Given) -> Any:
    """K in the words that PyTorch and JAX share; `features` of x_t are channels last."""
    x_0, noise, b, prev, now, g, ends = given
    x = xp.exp(now / 2) * x_0 + xp.sqrt(-xp.expm1(now)) * noise
    a, v = xp.exp(prev), -xp.expm1(prev)
    w = v + a * b
    q_mean, q_var = xp.sqrt(a) * b / w * x_0 + xp.sqrt(1 - b) * v / w * x, b * v / w
    h = features(x, model.conv)
    for weight, bias in model.pixelwise:
        h = xp.tanh(h @ weight + bias)
    y = (h @ model.last.weight + model.last.bias).reshape(len(x), -1, settings.bumps)
    z = (y @ g[:, :, None]).reshape(*x.shape, 2)
    mean = xp.sqrt(1 - b) * x + xp.sqrt(b) * z[..., 0]
    var = sigmoid(z[..., 1] / settings.T ** 0.5 + xp.log(b) - xp.log1p(-b))
    kl = (q_var / var - 1 - xp.log(q_var / var) + (q_mean - mean) ** 2 / var) / 2
    return ends - (settings.T - 1) / len(x) * kl.sum()


def _torch(layout: str, settings: experiment.Settings, model: Image, *data: Array) -> Step:
    import torch
    import torch.nn.functional as F
    memory_format = getattr(torch, layout)

    def multiscale(x: Any, kernels: Any) -> Any:
        (weight, bias), *coarser = kernels
        y = F.conv2d(x, weight, bias, padding=1)
        return y if not coarser else y + F.interpolate(multiscale(F.avg_pool2d(x, 2), coarser), scale_factor=2, mode="nearest")

    def features(x: Any, conv: Any) -> Any:
        x = x[:, None].contiguous(memory_format=memory_format)
        for kernels in conv:
            x = F.softplus(multiscale(x, kernels), threshold=40)
        return x.permute(0, 2, 3, 1)

    return in_torch(partial(_value, torch, torch.sigmoid, features, settings), model, _given(settings, *data),
                    kernels=lambda w: w.contiguous(memory_format=memory_format))


def _jax(settings: experiment.Settings, model: Image, *data: Array) -> Step:
    import jax

    def multiscale(x: Any, kernels: Any) -> Any:
        (weight, bias), *coarser = kernels
        y = jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
        if not coarser:
            return y
        n, height, width, channels = x.shape
        pooled = x.reshape(n, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))
        return y + multiscale(pooled, coarser).repeat(2, axis=1).repeat(2, axis=2)

    def features(x: Any, conv: Any) -> Any:
        x = x[..., None]
        for kernels in conv:
            x = jax.nn.softplus(multiscale(x, kernels))
        return x

    return in_jax(partial(_value, jax.numpy, jax.nn.sigmoid, features, settings), model, _given(settings, *data))
