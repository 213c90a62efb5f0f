"""Checks of the model and its use: read-outs, the network, sampling, optimisers.

Read-outs are compared with numbers by hand and with `oracles.mixture`, samplers with covariance algebra, optimisers with
sums written out.
"""

from collections.abc import Callable, Iterator
from math import log, sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm import gaussian, optimize, sample
from refdpm.conformance.checks.common import apart, check, linear, passes, refused, worst
from refdpm.gaussian import Gaussian
from refdpm.networks import readout, swiss_roll
from refdpm.networks.readout import Heads
from refdpm.oracles import linear_gaussian, mixture
from refdpm.schedule import Step
from refdpm.vjp import Array

BETA = np.array([0.0, 0.05, 0.2, 0.35, 0.6])
LEVEL = np.cumsum(np.log1p(-BETA))


STATES = np.array([[0.5, -1.0], [2.0, 0.3], [-1.5, 0.1]])


@check("read-outs by hand", "networks.readout.eq65", "networks.readout.released", "networks.readout.denoising")
def read_outs_by_hand() -> float:
    """β = ½, z_var = log 3 gives var = ¾, keeps √¼ = ½: (x + z)/2.  Released, T = 4, 2 log 3: var = ¾, mean √½ (x + z).  Both
    heads 0: N(√(1−β) x, β) in all three forms."""
    x, z, half, log_3 = np.array([[3.0, -1.0]]), np.array([[1.0, 2.0]]), np.array([[0.5]]), np.full((1, 2), log(3))
    paper, released = readout.eq65(Heads(z, log_3), x, half), readout.released(Heads(z, 2 * log_3), x, half, T=4)
    heads, column = Heads(np.zeros((3, 2)), np.zeros((3, 2))), BETA[2:, None]
    fresh = (readout.eq65(heads, STATES, column), readout.released(heads, STATES, column, T=40),
             readout.denoising(heads, STATES, column, LEVEL[1:-1, None]))
    return worst(apart(paper.mean, [[2, 0.5]]), apart(paper.var, [[0.75, 0.75]]),
                 apart(released.mean, [[4 * sqrt(0.5), sqrt(0.5)]]), apart(released.var, [[0.75, 0.75]]),
                 *(apart(p.mean, np.sqrt(1 - column) * STATES) for p in fresh),
                 *(apart(p.var + 0 * STATES, column + 0 * STATES) for p in fresh))


@check("denoising has the moments of the reversal", "networks.readout.denoising")
def denoising_has_the_moments_of_the_reversal() -> float:
    """From mean and variance of x_0 given x_t it makes those of x_{t−1} given x_t: for a mixture of two Gaussians."""
    data = mixture.Mixture(np.array([0.3, 0.7]), np.array([[1.0, -0.5], [-0.6, 0.4]]), np.array([[0.2, 0.5], [0.05, 1.5]]))
    found = []
    for t in range(2, 5):
        denoiser = mixture.denoiser_moments(data, STATES, LEVEL[t])
        heads = Heads(denoiser.mean - np.exp(LEVEL[t] / 2) * STATES, np.log(denoiser.var / -np.expm1(LEVEL[t])))
        p = readout.denoising(heads, STATES, np.full((3, 1), BETA[t]), np.full((3, 1), LEVEL[t - 1]))
        expected = mixture.posterior_moments(data, STATES, LEVEL[t - 1], LEVEL[t])
        found += [apart(p.mean, expected.mean), apart(p.var, expected.var)]
    return worst(*found)


@check("the network starts on the data", "networks.swiss_roll.init")
def network_starts_on_the_data() -> float:
    """Centres: the first point, the one farthest from it, the one farthest from both; equal widths; no read-out yet."""
    x_0 = np.pad([[0.0, 0.0], [1.0, 0.0], [0.0, 5.0], [4.0, 0.0], [0.1, 4.9], [-3.0, 0.0]], ((0, 0), (0, 1)))
    start = swiss_roll.init(x_0, T=7, units=4, width=0.5)
    return worst(apart(start.centre, [[0, 0, 0], [0, 5, 0], [4, 0, 0], [-3, 0, 0]]), apart(start.log_width, np.full(4, log(0.5))),
                 apart(start.weight, np.zeros((8, 4, 6))), apart(start.bias, np.zeros((8, 6))))


def _covariances(path: Callable[[Array], Iterator[tuple[int, Array]]], draws: int) -> dict[tuple[int, int], Array]:
    """Cov(x_s, x_t) for every s, t of a path that is affine in its standard normal noise (draws, N, 2), without sampling:
    one row for every entry of the noise set to 1, the others 0, against a row of zeros."""
    units = np.concatenate([np.zeros((1, draws * 2)), np.eye(draws * 2)])
    response = {t: x[1:] - x[0] for t, x in path(units.reshape(-1, draws, 2).swapaxes(0, 1))}
    return {(s, t): response[s].T @ response[t] for s in response for t in response}


@check("reverse path has the model's law", "sample.reverse_path")
def reverse_path_has_the_models_law() -> float:
    """Covariance of x_t at every t = T..0, the last step included, for two correlated dimensions, against the oracle."""
    model = linear_gaussian.reverse_kernels(np.array([[0.8, 0.35], [0.35, 0.3]]), BETA, kernels="diagonal")
    expected = linear_gaussian.model_covariances(np.eye(2), BETA, kernels=model)
    found = _covariances(lambda noise: sample.reverse_path(model, BETA, noise=noise, kernel=gaussian, network=linear), 5)
    return worst(*(apart(found[t, t], expected[t]) for t in range(5)))


@check("reverse path asks the network in order", "sample.reverse_path", "sample.sample")
def reverse_path_asks_the_network_in_order() -> float:
    """One call each at t = T..2, with x_t as just yielded, the step of that t; then the forward kernel with β_1.  x_1 is the last
    one that the network makes; x_0 is what is meant by default; there is no other end."""
    calls: list[tuple[Array, Step, list[int]]] = []

    def reverse(parameters: Any, x_t: Array, step: Step, *, t: Array) -> Gaussian:
        calls.append((x_t.copy(), step, t.tolist()))
        return Gaussian(x_t + parameters, np.zeros_like(x_t))

    noise = np.random.default_rng(6).normal(size=(5, 3, 2))
    parts: dict[str, Any] = dict(noise=noise, kernel=gaussian, network=SimpleNamespace(reverse=reverse))
    path = dict(sample.reverse_path(10.0, BETA, **parts))
    found = [passes(list(path) == [4, 3, 2, 1, 0], [t for _, _, t in calls] == [[4] * 3, [3] * 3, [2] * 3]),
             *(apart(path[t], noise[4] + 10 * (4 - t)) for t in (4, 3, 2, 1)),
             apart(path[0], np.sqrt(0.95) * path[1] + np.sqrt(0.05) * noise[0])]
    for (x_t, step, _), t in zip(calls, (4, 3, 2)):
        found += [apart(x_t, path[t]), apart(np.stack(step), np.tile([[[BETA[t]]], [[LEVEL[t - 1]]], [[LEVEL[t]]]], (3, 1)))]
    return worst(*found, apart(sample.sample(10.0, BETA, **parts), path[0]),
                 apart(sample.sample(10.0, BETA, end="x_1", **parts), path[1]),
                 passes(refused(lambda: sample.sample(10.0, BETA, end="x_2", **parts))))


@check("forward path has the forward law", "sample.forward_path")
def forward_path_has_the_forward_law() -> float:
    """Cov(x_s, x_t | x_0) = √(ᾱ_t/ᾱ_s) (1 − ᾱ_s) for s ≤ t, and E x_t = √ᾱ_t x_0; of integers; noise[t−1] is the last that x_t
    sees, with the weight √β_t, in images too."""
    x_0, a = np.array([[2, -1]]), np.exp(LEVEL)
    found = _covariances(lambda noise: sample.forward_path(BETA, np.tile(x_0, (9, 1)), noise=noise, kernel=gaussian), 4)
    means = dict(sample.forward_path(BETA, x_0, noise=np.zeros((4, 1, 2)), kernel=gaussian))
    seen = np.pad(np.eye(4), ((0, 0), (1, 0)))[:, :, None, None] * np.ones((2, 1))     # row t has noise[t−1] alone, row 0 none
    drawn = dict(sample.forward_path(BETA, np.tile(x_0[:, :, None], (5, 1, 1)), noise=seen, kernel=gaussian))
    return worst(passes(list(means) == [0, 1, 2, 3, 4]),
                 *(apart(drawn[t][t:, :, 0] - means[t], np.eye(5)[t:, [t, t]] * np.sqrt(BETA[t])) for t in range(1, 5)),
                 *(apart(means[t], np.sqrt(a[t]) * x_0) for t in range(5)),
                 *(apart(found[s, t], np.sqrt(a[t] / a[s]) * (1 - a[s]) * np.eye(2)) for t in range(5) for s in range(t + 1)))


START = np.array([1.0, -2.0, 0.5, 3.0])
GRADIENTS = np.array([[3.0, 0.0, -1e-8, 0.1], [-1.0, 0.5, 2e-8, -0.2], [2.0, 4.0, 3e-8, 0.1]])


def _decayed(gradients: Array, decay: float) -> Array:
    """Σ_i decay^(k−i) g_i: every exponential average, written as the sum it is."""
    return decay ** np.arange(len(gradients) - 1, -1, -1) @ gradients


def _momentum(g: Array, m: float) -> Array:
    return _decayed(g, m)


def _rmsprop(g: Array, d: float) -> Array:
    """A gradient of 0 moves nothing."""
    return g[-1] / np.maximum(np.sqrt((1 - d) * _decayed(g * g, d)), 1e-10)


def _adam(g: Array, d_1: float, d_2: float) -> Array:
    """Both averages are weighted means, Σ_i d^(k−i) g_i/Σ_i d^(k−i), the same of g²; also at |g| ~ ε."""
    ones = np.ones(g.shape)
    return _decayed(g, d_1) / _decayed(ones, d_1) / (np.sqrt(_decayed(g * g, d_2) / _decayed(ones, d_2)) + 1e-8)


OPTIMISERS: tuple[tuple[str, Callable[..., Array], tuple[float, ...], dict[str, float]], ...] = (
    ("sgd", _momentum, (0.8,), {"momentum": 0.8}), ("sgd", _momentum, (0.9,), {}),
    ("rmsprop", _rmsprop, (0.8,), {"decay": 0.8}), ("rmsprop", _rmsprop, (0.9,), {}),
    ("adam", _adam, (0.8, 0.95), {"decay_1": 0.8, "decay_2": 0.95}), ("adam", _adam, (0.9, 0.999), {}))


@check("optimisers for three steps", "optimize.sgd", "optimize.sgd_init", "optimize.zeros_like", "optimize.rmsprop",
       "optimize.rmsprop_init", "optimize.adam", "optimize.adam_init")
def optimisers_for_three_steps() -> float:
    """START − rate Σ_k move(the gradients up to the k-th), with given decays and with the usual ones."""
    found = []
    for name, move, decays, settings in OPTIMISERS:
        x, state, expected = (START,), getattr(optimize, f"{name}_init")((START,)), START
        for k in range(3):
            x, state = getattr(optimize, name)(x, (GRADIENTS[k],), state, rate=0.1, **settings)
            expected = expected - 0.1 * move(GRADIENTS[:k + 1], *decays)
            found.append(apart(x[0], expected))
    return worst(*found)


@check("L-BFGS finds the minimum", "optimize.lbfgs", "optimize.flatten", "optimize.unflatten")
def lbfgs_finds_the_minimum() -> float:
    """½ Σ k (x_k − c_k)² over all entries has its minimum at c; and a tree, one in another too, is itself again after flatten and
    unflatten."""
    target = Heads(np.array([3.0, -1.0]), np.array([[0.3, 7.0], [-2.0, 1.0]]))

    def objective(x: Heads) -> tuple[float, Heads]:
        off = Heads(*(a - b for a, b in zip(x, target)))
        return float((off[0] ** 2).sum() + 3 * (off[1] ** 2).sum()) / 2, Heads(off[0], 3 * off[1])

    found = optimize.lbfgs(objective, Heads(np.zeros(2), np.zeros((2, 2))), iterations=50)
    nested = (target, target[:1])
    again = [leaf for part in optimize.unflatten(optimize.flatten(nested), nested) for leaf in part]
    return worst(*(apart(got, expected, within=1e-5) for got, expected in zip(found, target)),
                 passes(len(again) == 3, *map(np.array_equal, again, (*target, target[0]))),
                 apart(optimize.flatten(target), [3, -1, 0.3, 7, -2, 1]))
