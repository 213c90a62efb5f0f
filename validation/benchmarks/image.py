"""Images: the convolutional network, one t for each image, fixed schedule.

The peers are given the levels of the schedule and the terms of K at the ends of the chain, which no parameter moves; this package
computes them at every step.  Pooling is done from scale to scale, as here.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from validation.benchmarks.heartbeat import _sample, _step, frozen
from validation.benchmarks.peers import Makers, Words, makers
from refdpm import bound, schedule, train
from refdpm.experiments import common, images as experiment
from refdpm.layers.temporal import bumps
from refdpm.networks.image import Image
from refdpm.vjp import Array, tree_map

SETTINGS = {
    "dead-leaves": experiment.EXPERIMENTS["dead-leaves"].DEFAULT,
    "28 × 28": experiment.Settings("dead-leaves", height=28, width=28, conv=(20,) * 4, scales=1, pixelwise=()),
}


class Columns(NamedTuple):
    """Of each image the step, (N, 1, 1), and the weights of the bumps, (N, J); in a chain, of each step."""

    beta: Any
    level_prev: Any
    g: Any


class Given(NamedTuple):
    """What does not depend on the parameters, image by image, of one channel, so without an axis for it; `ends` are the terms of K
    at the ends of the chain."""

    x_0: Any
    noise: Any
    step: Columns
    level: Any
    ends: Any


def step(net: str, images: int = 128, side: int = 0, dtype: str = "float64") -> Makers:
    """K of as many images, at one t each, and its gradient with respect to the network."""
    posed, settings, model, rng = _problem(net, dtype, side=side)
    x_0 = rng.standard_normal((images, *posed.shape)).astype(dtype)
    t, noise = bound.draw_steps(rng, settings.T, (1, images)), rng.standard_normal((1, *x_0.shape)).astype(dtype)
    return {"refdpm": partial(_step, posed, model, x_0, noise, t)} | _peers(_value, settings, model,
                                                                            _given(posed, settings, x_0, noise, t))


def full_bound(net: str, images: int = 1, T: int = 200, dtype: str = "float64") -> Makers:
    """K with the full sum over t."""
    posed, settings, model, rng = _problem(net, dtype, T=T)
    x_0, t = rng.standard_normal((images, *posed.shape)).astype(dtype), bound.every_step(T, images)
    noise, run = frozen(posed, train.Model(model, np.empty(0, dtype)), x_0)
    return {"refdpm": lambda: run} | _peers(_value, settings, model, _given(posed, settings, x_0, noise, t), kind="value")


def sampling(net: str, images: int = 16, T: int = 50, dtype: str = "float64") -> Makers:
    """Images drawn from π back to t = 0."""
    posed, settings, model, rng = _problem(net, dtype, T=T)
    noise = rng.standard_normal((T + 1, images, *posed.shape)).astype(dtype)
    steps, t = _columns(posed, settings, np.arange(T, 1, -1)), np.arange(T, 1, -1)
    given = (noise[T, ..., 0], tree_map(lambda x: x.astype(dtype)[:, None], steps), noise[t - 1, ..., 0], noise[0, ..., 0],
             np.asarray(posed.beta[1], dtype))
    return {"refdpm": partial(_sample, posed, model, noise)} | _peers(_drawn, settings, model, given, kind="chain")


def products(net: str, images: int = 128) -> int:
    """Multiplications and additions in the matrix products of a step: a kernel at scale s meets one pixel in 4ˢ."""
    posed, _, model, _ = _problem(net, "float64")
    weights = sum(kernel.weight.size / 4 ** s for kernels in model.conv for s, kernel in enumerate(kernels))
    weights += sum(layer.weight.size for layer in (*model.pixelwise, model.last))
    return int(6 * images * posed.shape[0] * posed.shape[1] * weights)


def _problem(net: str, dtype: str, *, side: int = 0, T: int = 0
             ) -> tuple[common.Problem, experiment.Settings, Image, np.random.Generator]:
    settings, rng = SETTINGS[net], np.random.default_rng(0)
    settings = settings._replace(height=side or settings.height, width=side or settings.width, T=T or settings.T, dtype=dtype)
    model = tree_map(lambda x: (x + 0.05 * rng.standard_normal(x.shape)).astype(dtype), experiment.begin(settings).model.parameters)
    return experiment.problem(settings), settings, model, rng


# -- in the words of the peers -------------------------------------------------------------------------------------------

def _columns(posed: common.Problem, settings: experiment.Settings, t: Array) -> Columns:
    column = (-1, 1, 1)
    return Columns(posed.beta[t].reshape(column), schedule.log_alpha_bar(posed.beta)[t - 1].reshape(column),
                   bumps(t, T=settings.T, count=settings.bumps, basis=settings.basis))


def _given(posed: common.Problem, settings: experiment.Settings, x_0: Array, noise: Array, t: Array) -> Given:
    beta, rows = posed.beta, t.ravel()
    ends = bound.assemble(
        bound.Terms(np.empty((0, len(x_0))), *bound.end_terms(beta, x_0, kernel=posed.kernel)), T=settings.T).mean()
    found = Given(np.tile(x_0[..., 0], (len(t), 1, 1)), noise.reshape(len(rows), *x_0.shape[1:3]), _columns(posed, settings, rows),
                  schedule.log_alpha_bar(beta)[rows].reshape(-1, 1, 1), np.asarray(ends))
    return tree_map(lambda x: x.astype(x_0.dtype), found)


def _reverse(w: Words, settings: experiment.Settings, features: Any, model: Any, x: Any, step: Columns) -> tuple[Any, Any]:
    """Mean and variance of p(x_{t−1} | x_t)."""
    h = features(x, model.conv)
    for weight, bias in model.pixelwise:
        h = w.xp.tanh(h @ weight + bias)
    y = (h @ model.last.weight + model.last.bias).reshape(len(x), -1, settings.bumps)
    z = (y @ step.g[:, :, None]).reshape(*x.shape, 2)
    mean = w.xp.sqrt(1 - step.beta) * x + w.xp.sqrt(step.beta) * z[..., 0]
    return mean, w.sigmoid(z[..., 1] / settings.T ** 0.5 + w.xp.log(step.beta) - w.xp.log1p(-step.beta))


def _value(settings: experiment.Settings, features: Any, w: Words, model: Any, given: Given) -> Any:
    """K; `features` of x_t are channels last."""
    x_0, noise, step, now, ends = given
    b, prev = step.beta, step.level_prev
    x = w.xp.exp(now / 2) * x_0 + w.xp.sqrt(-w.xp.expm1(now)) * noise
    a, v = w.xp.exp(prev), -w.xp.expm1(prev)
    whole = v + a * b
    q_mean, q_var = w.xp.sqrt(a) * b / whole * x_0 + w.xp.sqrt(1 - b) * v / whole * x, b * v / whole
    mean, var = _reverse(w, settings, features, model, x, step)
    kl = (q_var / var - 1 - w.xp.log(q_var / var) + (q_mean - mean) ** 2 / var) / 2
    return ends - (settings.T - 1) / len(x) * kl.sum()


def _drawn(settings: experiment.Settings, features: Any, w: Words, model: Any, given: Any) -> Any:
    start, steps, noise, last, beta_1 = given

    def body(x: Any, row: Any) -> Any:
        step, epsilon = row
        everywhere = step._replace(g=step.g + w.xp.zeros_like(x[:, 0, :1]))
        mean, var = _reverse(w, settings, features, model, x, everywhere)
        return mean + w.xp.sqrt(var) * epsilon

    x_1 = w.scan(body, start, (steps, noise))
    return (w.xp.sqrt(1 - beta_1) * x_1 + w.xp.sqrt(beta_1) * last)[..., None]


def _peers(formula: Any, settings: experiment.Settings, model: Image, given: Any, *, kind: str = "step") -> Makers:
    """PyTorch with either layout, and JAX; HIPS autograd has no convolution of several channels."""
    found: Makers = {}
    for layout, name in (("contiguous_format", ""), ("channels_last", ", channels last")):
        some = makers(_in_torch(formula, settings, layout), model, given, kind=kind,
                      kernels=lambda w, layout=layout: _laid_out(w, layout))
        found |= {f"{key}{name}": make for key, make in some.items() if "orch" in key}
    return found | {"JAX jit": makers(_in_jax(formula, settings), model, given, kind=kind)["JAX jit"]}


def _laid_out(x: Any, layout: str) -> Any:
    import torch
    return x.contiguous(memory_format=getattr(torch, layout))


def _in_torch(formula: Any, settings: experiment.Settings, layout: str) -> Any:
    def multiscale(x: Any, kernels: Any) -> Any:
        import torch.nn.functional as F
        (weight, bias), *coarser = kernels
        y = F.conv2d(x, weight, bias, padding=1)
        return y if not coarser else y + F.interpolate(multiscale(F.avg_pool2d(x, 2), coarser), scale_factor=2, mode="nearest")

    def value(w: Words, model: Any, given: Any) -> Any:
        def features(x: Any, conv: Any) -> Any:
            x = _laid_out(x[:, None], layout)
            for kernels in conv:
                x = w.softplus(multiscale(x, kernels))
            return x.permute(0, 2, 3, 1)

        return formula(settings, features, w, model, given)

    return value


def _in_jax(formula: Any, settings: experiment.Settings) -> Any:
    def multiscale(x: Any, kernels: Any) -> Any:
        import jax
        (weight, bias), *coarser = kernels
        y = jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
        if not coarser:
            return y
        n, height, width, channels = x.shape
        pooled = x.reshape(n, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))
        return y + multiscale(pooled, coarser).repeat(2, axis=1).repeat(2, axis=2)

    def value(w: Words, model: Any, given: Any) -> Any:
        def features(x: Any, conv: Any) -> Any:
            x = x[..., None]
            for kernels in conv:
                x = w.softplus(multiscale(x, kernels))
            return x

        return formula(settings, features, w, model, given)

    return value
