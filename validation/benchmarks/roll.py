"""The Swiss roll: radial basis network, 40 steps, gradient with respect to the network *and* the schedule."""

from functools import partial
from typing import Any

import numpy as np

from common import Makers, Step, in_jax, in_torch
from refdpm import bound, gaussian, train
from refdpm.data import swiss_roll
from refdpm.experiments import swiss_roll as experiment
from refdpm.vjp import Array, leaves

T = 40


def steps(rows: int, units: int, **_: Any) -> Makers:
    """One x_t for each t of rows/39 examples."""
    rng = np.random.default_rng(0)
    model = experiment.begin(experiment.DEFAULT._replace(units=units)).model
    weight = 0.3 * rng.standard_normal(model.parameters.weight.shape)
    model = model._replace(parameters=model.parameters._replace(weight=weight))
    x_0 = swiss_roll.draw(rng, rows // (T - 1))
    noise = rng.standard_normal((T - 1, *x_0.shape))
    return {"refdpm": partial(_ours, model, x_0, noise), "torch": partial(_torch, model, x_0, noise),
            "jax": partial(_jax, model, x_0, noise)}


def _ours(model: train.Model, x_0: Array, noise: Array) -> Step:
    t = bound.every_step(T, len(x_0))
    network = experiment.problem(experiment.DEFAULT).network

    def step() -> tuple[float, list[Array]]:
        k, gradient = train.mean_bound(model, x_0, noise=noise, t=t, beta_1=1e-3, kernel=gaussian, network=network)
        return k, list(leaves(gradient))

    return step


def _value(xp: Any, stack: Any, softmax: Any, sigmoid: Any, cumsum: Any, model: Any, given: Any) -> Any:
    """K in the words that PyTorch and JAX share, rows sorted by t."""
    (centre, log_width, weight, bias), logit_beta = model
    x_0, noise = given
    beta = stack([xp.ones_like(logit_beta[:1]) * 1e-3, sigmoid(logit_beta)])
    level = cumsum(xp.log1p(-beta))
    b, prev, now = beta[1:, None, None], level[:-1, None, None], level[1:, None, None]
    x = xp.exp(now / 2) * x_0 + xp.sqrt(-xp.expm1(now)) * noise
    a, v = xp.exp(prev), -xp.expm1(prev)
    w = v + a * b
    q_mean, q_var = xp.sqrt(a) * b / w * x_0 + xp.sqrt(1 - b) * v / w * x, b * v / w
    square = (x[:, :, :1] - centre[:, 0]) ** 2 + (x[:, :, 1:] - centre[:, 1]) ** 2      # (39, batch, units), no axis of length 2
    g = softmax(-square * xp.exp(-2 * log_width) / 2)
    z = g @ weight[2:] + bias[2:, None]
    mean = xp.sqrt(1 - b) * x + xp.sqrt(a) * b / w * z[..., :2]
    var = b / w * (v + a * b * xp.exp(z[..., 2:]))
    kl = (q_var / var - 1 - xp.log(q_var / var) + (q_mean - mean) ** 2 / var) / 2
    return -kl.sum() / x_0.shape[0] + xp.log(-xp.expm1(level[-1])) - np.log(1e-3) - np.log(2 * np.pi * np.e)


def _torch(model: train.Model, x_0: Array, noise: Array) -> Step:
    import torch
    value = partial(_value, torch, torch.cat, lambda s: torch.softmax(s, -1), torch.sigmoid, lambda x: torch.cumsum(x, 0))
    return in_torch(value, model, (x_0, noise))


def _jax(model: train.Model, x_0: Array, noise: Array) -> Step:
    import jax
    value = partial(_value, jax.numpy, jax.numpy.concatenate, jax.nn.softmax, jax.nn.sigmoid, jax.numpy.cumsum)
    return in_jax(value, model, (x_0, noise))
