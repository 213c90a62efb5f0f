"""The heartbeat: 20 bits, three layers of 50, bumps, each row at a t of its own, fixed schedule.

The peers are given the levels of the schedule and the terms of K at the ends of the chain, which no parameter moves; this package
computes them at every step.  Their KL is the short formula, which cancels where ours does not.
"""

from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

from validation.benchmarks.peers import Makers, Step, Words, makers
from refdpm import bound, sample, schedule, train
from refdpm.data import heartbeat as data
from refdpm.experiments import common, heartbeat as experiment
from refdpm.layers.temporal import bumps
from refdpm.networks.heartbeat import COUNT, Heartbeat
from refdpm.vjp import Array, fix, leaves, tree_map

EXAMPLES, RATE = 32, experiment.RATE
LOG_ODDS = float(np.log(RATE) - np.log1p(-RATE))


class Given(NamedTuple):
    """What does not depend on the parameters, row by row; `ends` are the terms of K at the ends of the chain."""

    x_0: Any
    noise: Any
    beta: Any
    level_prev: Any
    level: Any
    g: Any
    ends: Any


def step(rows: int = 512, dtype: str = "float64") -> Makers:
    """K of 32 examples at rows/32 values of t each, and its gradient with respect to the network."""
    posed, model, rng = _problem(2000, dtype)
    x_0 = data.draw(rng, EXAMPLES).astype(dtype)
    t = bound.draw_steps(rng, 2000, (rows // EXAMPLES, EXAMPLES))
    noise = rng.random(t.shape + x_0.shape[1:]).astype(dtype)
    return {"refdpm": partial(_step, posed, model, x_0, noise, t)} | makers(partial(_value, 1999), model,
                                                                            _given(posed, x_0, noise, t))


def full_bound(examples: int = 8, T: int = 2000, dtype: str = "float64") -> Makers:
    """K with the full sum over t."""
    posed, model, rng = _problem(T, dtype)
    x_0, t = data.draw(rng, examples).astype(dtype), bound.every_step(T, examples)
    noise, run = frozen(posed, train.Model(model, np.empty(0, dtype)), x_0)
    return {"refdpm": lambda: run} | makers(partial(_value, T - 1), model, _given(posed, x_0, noise, t), kind="value")


def sampling(examples: int = 512, T: int = 200, dtype: str = "float64") -> Makers:
    """Sequences drawn from π back to t = 0."""
    posed, model, rng = _problem(T, dtype)
    noise = rng.random((T + 1, examples, experiment.BITS)).astype(dtype)
    t = np.arange(T, 1, -1)
    level = schedule.log_alpha_bar(posed.beta)
    rows = [posed.beta[t], level[t - 1], bumps(t, T=T, count=COUNT, basis="released"), noise[t - 1]]
    given = (noise[T], *(x.astype(dtype) for x in rows), noise[0], np.asarray(posed.beta[1], dtype))
    return {"refdpm": partial(_sample, posed, model, noise)} | makers(_drawn, model, given, kind="chain")


def products(rows: int = 512) -> int:
    """Multiplications and additions in the matrix products of a step."""
    _, model, _ = _problem(2000, "float64")
    return 6 * rows * sum(layer.weight.size for layer in (*model.hidden, model))


def _problem(T: int, dtype: str) -> tuple[common.Problem, Heartbeat, np.random.Generator]:
    settings, rng = experiment.FULL._replace(T=T, dtype=dtype), np.random.default_rng(0)
    model = tree_map(lambda x: (x + 0.1 * rng.standard_normal(x.shape)).astype(dtype), experiment.begin(settings).model.parameters)
    return experiment.problem(settings), model, rng


# -- this package --------------------------------------------------------------------------------------------------------

def _step(posed: common.Problem, model: Any, x_0: Array, noise: Array, t: Array) -> Step:
    """Of images too."""
    def run() -> list[Array]:
        k, gradient = train.mean_network_bound(model, x_0, noise=noise, t=t, beta=posed.beta, kernel=posed.kernel,
                                               network=posed.network, rows=posed.recipe.rows)
        return [np.asarray(k), *leaves(gradient)]

    return run


def frozen(posed: common.Problem, model: train.Model, x_0: Array) -> tuple[Array, Step]:
    """The noise that the full bound of these examples draws, and a step that computes it with this noise again and again."""
    draw, drawn, state = posed.kernel.draw_noise, [], train.begin(model)
    kernel = fix(posed.kernel)
    posed = posed._replace(kernel=kernel)
    kernel.draw_noise = lambda rng, shape: drawn.append(draw(rng, shape).astype(x_0.dtype)) or drawn[-1]
    common.evaluate(posed, state, x_0)
    again = cycle(drawn)
    kernel.draw_noise = lambda rng, shape: next(again)
    return np.concatenate(drawn, axis=1), lambda: [np.asarray(common.evaluate(posed, state, x_0).bound.value)]


def _sample(posed: common.Problem, model: Any, noise: Array) -> Step:
    """Of images too."""
    return lambda: [sample.sample(model, posed.beta, noise=noise, kernel=posed.kernel, network=posed.network)]


# -- in the words of the peers -------------------------------------------------------------------------------------------

def _given(posed: common.Problem, x_0: Array, noise: Array, t: Array) -> Given:
    beta, rows = posed.beta, t.ravel()
    level = schedule.log_alpha_bar(beta)
    ends = bound.assemble(
        bound.Terms(np.empty((0, len(x_0))), *bound.end_terms(beta, x_0, kernel=posed.kernel)), T=len(beta) - 1).mean()
    g = bumps(rows, T=len(beta) - 1, count=COUNT, basis="released")
    found = Given(np.tile(x_0, (len(t), 1)), noise.reshape(len(rows), -1), beta[rows, None], level[rows - 1, None],
                  level[rows, None], g, np.asarray(ends))
    return tree_map(lambda x: x.astype(x_0.dtype), found)


def _forward(w: Words, x: Any, b: Any) -> Any:
    """The logit of the forward kernel."""
    return w.xp.log((1 - b) * x + b * RATE) - w.xp.log((1 - b) * (1 - x) + b * (1 - RATE))


def _reverse(w: Words, model: Any, x: Any, forward: Any, level_prev: Any, g: Any) -> Any:
    """The logit of p(x_{t−1} | x_t); g is of each row, (N, J, 1), or of all, (J, 1)."""
    h = (x - RATE) / (RATE * (1 - RATE)) ** 0.5
    for weight, bias in model.hidden:
        h = w.xp.tanh(h @ weight + bias)
    y = (h @ model.weight + model.bias).reshape(len(h), -1, COUNT)
    guess = (y @ g)[:, :, 0] + LOG_ODDS
    a, v = w.xp.exp(level_prev), -w.xp.expm1(level_prev)
    one, zero = a * w.sigmoid(guess) + v * RATE, a * w.sigmoid(-guess) + v * (1 - RATE)
    return forward + w.xp.log(one) - w.xp.log(zero) - LOG_ODDS


def _value(steps: int, w: Words, model: Any, given: Given) -> Any:
    """K."""
    x_0, noise, b, prev, now, g, ends = given
    is_one = noise < w.xp.exp(now) * x_0 - w.xp.expm1(now) * RATE
    x = w.xp.where(is_one, w.xp.ones_like(x_0), w.xp.zeros_like(x_0))
    a, v = w.xp.exp(prev), -w.xp.expm1(prev)
    before = w.xp.log(a * x_0 + v * RATE) - w.xp.log(a * (1 - x_0) + v * (1 - RATE))
    forward = _forward(w, x, b)
    q, p = before + forward - LOG_ODDS, _reverse(w, model, x, forward, prev, g[:, :, None])
    kl = w.softplus(p) - w.softplus(q) - w.sigmoid(q) * (p - q)
    return ends - steps / x.shape[0] * kl.sum()


def _drawn(w: Words, model: Any, given: Any) -> Any:
    start, beta, level_prev, g, noise, last, beta_1 = given

    def bits(noise: Any, logit: Any) -> Any:
        return w.xp.where(noise < w.sigmoid(logit), w.xp.ones_like(noise), w.xp.zeros_like(noise))

    def body(x: Any, row: Any) -> Any:
        b, prev, weights, u = row
        return bits(u, _reverse(w, model, x, _forward(w, x, b), prev, weights[:, None]))

    x_1 = w.scan(body, bits(start, LOG_ODDS + w.xp.zeros_like(start)), (beta, level_prev, g, noise))
    return bits(last, _forward(w, x_1, beta_1))
