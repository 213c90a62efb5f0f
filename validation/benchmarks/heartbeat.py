"""The heartbeat: 20 bits, three layers of 50, T = 2000, each row at a t of its own, fixed schedule.

The peers are given the levels of the schedule and the terms of K at the ends of the chain, which no parameter moves; this package
computes them at every step.  Their KL is the short formula, which cancels where ours does not.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from common import Makers, Step, in_jax, in_torch
from refdpm import bound, schedule, train
from refdpm.data import heartbeat as data
from refdpm.experiments import heartbeat as experiment
from refdpm.layers.temporal import bumps
from refdpm.networks.heartbeat import COUNT, Heartbeat
from refdpm.vjp import Array, leaves, tree_map

EXAMPLES, RATE = 32, experiment.RATE
LOG_ODDS = float(np.log(RATE) - np.log1p(-RATE))


class Given(NamedTuple):
    """What does not depend on the parameters, row by row; `ends` are the terms of K at the ends of the chain."""

    x_0: Array
    noise: Array
    t: Array
    beta: Array
    level_prev: Array
    level: Array
    g: Array
    ends: Array


def steps(rows: int, last: str, **_: Any) -> Makers:
    """rows/32 values of t for each of 32 examples."""
    settings = experiment.FULL._replace(last=last)
    rng = np.random.default_rng(0)
    model = tree_map(lambda x: x + 0.1 * rng.standard_normal(x.shape), experiment.begin(settings).model.parameters)
    x_0 = data.draw(rng, EXAMPLES)
    t = bound.draw_steps(rng, settings.T, (rows // EXAMPLES, EXAMPLES))
    noise = rng.random(t.shape + x_0.shape[1:])
    makers: Makers = {"refdpm": partial(_ours, settings, model, x_0, noise, t)}
    for gather in ("index",) if last == "bumps" else ("index", "index_select"):
        makers["torch" if last == "bumps" else f"torch {gather}"] = partial(_torch, gather, settings, model, x_0, noise, t)
    return makers | {"jax": partial(_jax, settings, model, x_0, noise, t)}


def _ours(settings: experiment.Settings, model: Heartbeat, x_0: Array, noise: Array, t: Array) -> Step:
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
    return Given(np.tile(x_0, (len(t) // len(x_0), 1)), noise.reshape(len(t), -1), t, beta[t, None], level[t - 1, None],
                 level[t, None], bumps(t, T=settings.T, count=COUNT, basis="released"), np.asarray(ends))


def _value(xp: Any, sigmoid: Any, softplus: Any, last: Any, model: Heartbeat, given: Given) -> Any:
    """K in the words that PyTorch and JAX share."""
    x_0, noise, _, b, prev, now, _, ends = given
    is_one = noise < xp.exp(now) * x_0 - xp.expm1(now) * RATE
    x = xp.where(is_one, xp.ones_like(x_0), xp.zeros_like(x_0))
    a, v = xp.exp(prev), -xp.expm1(prev)
    before = xp.log(a * x_0 + v * RATE) - xp.log(a * (1 - x_0) + v * (1 - RATE))
    one, zero = (1 - b) * x + b * RATE, (1 - b) * (1 - x) + b * (1 - RATE)
    forward = xp.log(one) - xp.log(zero)
    q = before + forward - LOG_ODDS
    h = (x - RATE) / (RATE * (1 - RATE)) ** 0.5
    for weight, bias in model.hidden:
        h = xp.tanh(h @ weight + bias)
    guess = last(h, model.weight, model.bias, given) + LOG_ODDS
    m, rest = a * sigmoid(guess) + v * RATE, a * sigmoid(-guess) + v * (1 - RATE)
    p = forward + xp.log(m) - xp.log(rest) - LOG_ODDS
    kl = softplus(p) - softplus(q) - sigmoid(q) * (p - q)
    return ends - (experiment.FULL.T - 1) / x.shape[0] * kl.sum()


def _per_step(h: Any, weight: Any, bias: Any, given: Given) -> Any:
    return (h[:, None] @ weight[given.t])[:, 0] + bias[given.t]


def _per_step_selected(h: Any, weight: Any, bias: Any, given: Given) -> Any:
    """As `_per_step`; PyTorch is faster at the adjoint."""
    return (h[:, None] @ weight.index_select(0, given.t))[:, 0] + bias.index_select(0, given.t)


def _bumps(h: Any, weight: Any, bias: Any, given: Given) -> Any:
    y = (h @ weight + bias).reshape(len(h), -1, COUNT)
    return (y @ given.g[:, :, None])[:, :, 0]


def _torch(gather: str, settings: experiment.Settings, model: Heartbeat, *data: Array) -> Step:
    import torch
    import torch.nn.functional as F
    last = _bumps if settings.last == "bumps" else _per_step if gather == "index" else _per_step_selected
    value = partial(_value, torch, torch.sigmoid, lambda x: F.softplus(x, threshold=40), last)
    return in_torch(value, model, _given(settings, *data))


def _jax(settings: experiment.Settings, model: Heartbeat, *data: Array) -> Step:
    import jax
    last = _bumps if settings.last == "bumps" else _per_step
    return in_jax(partial(_value, jax.numpy, jax.nn.sigmoid, jax.nn.softplus, last), model, _given(settings, *data))
