"""The Swiss roll: radial basis network, 40 steps, gradient with respect to the network *and* the schedule."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from validation.benchmarks.heartbeat import frozen
from validation.benchmarks.peers import Makers, Step, Words, makers
from refdpm import bound, gaussian, sample, schedule, train
from refdpm.data import swiss_roll
from refdpm.experiments import swiss_roll as experiment
from refdpm.networks.swiss_roll import SwissRoll
from refdpm.vjp import Array, leaves, tree_map

T, BETA_1 = 40, 1e-3
NETWORK = {dtype: experiment.problem(experiment.DEFAULT._replace(dtype=dtype)).network for dtype in ("float64", "float32")}


class Columns(NamedTuple):
    """A step, or all of them, as columns beside rows of points: β_t, ℓ_{t−1}, and the noise that x_{t−1} is drawn with."""

    beta: Any
    level_prev: Any
    noise: Any


def step(rows: int = 64 * (T - 1), units: int = 128, dtype: str = "float64") -> Makers:
    """K of rows/39 points at one x_t for each t, and its gradient."""
    model, x_0, noise = _problem(rows // (T - 1), units, dtype)
    return {"refdpm": partial(_step, model, x_0, noise)} | makers(_value, model, (x_0, noise))


def full_bound(points: int = 256, dtype: str = "float64") -> Makers:
    """The same without its gradient."""
    model, x_0, _ = _problem(points, 128, dtype)
    noise, run = frozen(experiment.problem(experiment.DEFAULT._replace(dtype=dtype)), model, x_0)
    return {"refdpm": lambda: run} | makers(_value, model, (x_0, noise), kind="value")


def sampling(points: int = 1024, dtype: str = "float64") -> Makers:
    """Points drawn from π back to t = 0."""
    model, _, _ = _problem(points, 128, dtype)
    noise = np.random.default_rng(1).standard_normal((T + 1, points, 2)).astype(dtype)
    return {"refdpm": partial(_sample, model, noise)} | makers(_drawn, model, noise, kind="chain")


def products(rows: int = 64 * (T - 1), units: int = 128) -> int:
    """Multiplications and additions in the matrix products of a step."""
    return rows * units * 2 * (3 * 4 + 2 * 3)


def _problem(points: int, units: int, dtype: str) -> tuple[train.Model, Array, Array]:
    rng = np.random.default_rng(0)
    model = experiment.begin(experiment.DEFAULT._replace(units=units)).model
    weight = 0.3 * rng.standard_normal(model.parameters.weight.shape)
    model = model._replace(parameters=model.parameters._replace(weight=weight))
    x_0 = swiss_roll.draw(rng, points)
    noise = rng.standard_normal((T - 1, *x_0.shape))
    return tree_map(lambda x: x.astype(dtype), (model, x_0, noise))


# -- this package --------------------------------------------------------------------------------------------------------

def _step(model: train.Model, x_0: Array, noise: Array) -> Step:
    t = bound.every_step(T, len(x_0))

    def run() -> list[Array]:
        k, gradient = train.mean_bound(model, x_0, noise=noise, t=t, beta_1=BETA_1, kernel=gaussian,
                                       network=NETWORK[str(x_0.dtype)])
        return [np.asarray(k), *leaves(gradient)]

    return run


def _sample(model: train.Model, noise: Array) -> Step:
    beta = schedule.learned(model.logit_beta, beta_1=BETA_1)
    return lambda: [sample.sample(model.parameters, beta, noise=noise, kernel=gaussian, network=NETWORK[str(noise.dtype)])]


# -- in the words of the peers -------------------------------------------------------------------------------------------

def _schedule(w: Words, logit_beta: Any) -> tuple[Any, Any]:
    """β_t and ℓ_t for t = 1..T."""
    beta = w.xp.concatenate([w.xp.ones_like(logit_beta[:1]) * BETA_1, w.sigmoid(logit_beta)])
    return beta, w.cumsum(w.xp.log1p(-beta))


def _reverse(w: Words, network: SwissRoll, x: Any, step: Columns) -> tuple[Any, Any]:
    """Mean and variance of p(x_{t−1} | x_t): one step for all points, (points, 2), or a stack of them, (39, points, 2)."""
    centre, log_width, weight, bias = network
    square = (x[..., :1] - centre[:, 0]) ** 2 + (x[..., 1:] - centre[:, 1]) ** 2            # no axis of length 2
    z = w.softmax(-square * w.xp.exp(-2 * log_width) / 2) @ weight + bias[..., None, :]
    a, v = w.xp.exp(step.level_prev), -w.xp.expm1(step.level_prev)
    share = step.beta / (v + a * step.beta)
    mean = w.xp.sqrt(1 - step.beta) * x + w.xp.sqrt(a) * share * z[..., :2]
    return mean, share * (v + a * step.beta * w.xp.exp(z[..., 2:]))


def _value(w: Words, model: Any, given: Any) -> Any:
    """K."""
    return per_point(w, model, given).mean()


def per_point(w: Words, model: Any, given: Any) -> Any:
    """K of each point, rows sorted by t."""
    network, logit_beta = model
    x_0, noise = given
    beta, level = _schedule(w, logit_beta)
    b, prev, now = beta[1:, None, None], level[:-1, None, None], level[1:, None, None]
    x = w.xp.exp(now / 2) * x_0 + w.xp.sqrt(-w.xp.expm1(now)) * noise
    a, v = w.xp.exp(prev), -w.xp.expm1(prev)
    whole = v + a * b
    q_mean, q_var = w.xp.sqrt(a) * b / whole * x_0 + w.xp.sqrt(1 - b) * v / whole * x, b * v / whole
    mean, var = _reverse(w, SwissRoll(network[0], network[1], network[2][2:], network[3][2:]), x, Columns(b, prev, noise))
    kl = (q_var / var - 1 - w.xp.log(q_var / var) + (q_mean - mean) ** 2 / var) / 2
    return -kl.sum(0).sum(-1) + w.xp.log(-w.xp.expm1(level[-1])) - float(np.log(BETA_1 * 2 * np.pi * np.e))


def _drawn(w: Words, model: Any, noise: Any) -> Any:
    network, logit_beta = model
    beta, level = _schedule(w, logit_beta)

    def body(x: Any, row: Any) -> Any:
        step, weight, bias = row
        mean, var = _reverse(w, SwissRoll(network[0], network[1], weight, bias), x, step)
        return mean + w.xp.sqrt(var) * step.noise

    def backwards(x: Any) -> Any:                           # from t = T to 2
        return w.xp.flip(x, (0,))

    rows = (Columns(backwards(beta[1:]), backwards(level[:-1]), backwards(noise[1:-1])), backwards(network[2][2:]),
            backwards(network[3][2:]))
    x_1 = w.scan(body, noise[-1], rows)
    return w.xp.sqrt(1 - beta[0]) * x_1 + w.xp.sqrt(beta[0]) * noise[0]
