"""Checks of the model and its use: layers, read-outs, the network, sampling, optimisers.

Layers are compared with loops over `math`, read-outs with numbers by hand and with `oracles.mixture`, samplers with covariance
algebra, optimisers with sums written out.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import exp, log, sqrt
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from refdpm import activation, gaussian, optimize, sample
from refdpm.conformance.checks.common import Check, apart, linear as linear_network, network, passes, refused, worst
from refdpm.gaussian import Gaussian
from refdpm.layers import linear, rbf
from refdpm.networks import readout, swiss_roll
from refdpm.networks.readout import Heads
from refdpm.oracles import linear_gaussian, mixture
from refdpm.schedule import Step
from refdpm.vjp import Array

BETA = np.array([0.0, 0.05, 0.2, 0.35, 0.6])
LEVEL = np.cumsum(np.log1p(-BETA))


# -- layers ------------------------------------------------------------------------------------------------------------

def activations_at_special_points() -> float:
    """Values known in closed form, at 0, at ±log 3, and where an exponential would overflow."""
    x = np.array([0, log(3), -log(3), 800, -800])
    signed = np.array([3.0, -2.0, 0.0])
    return worst(apart(activation.softplus(np.append(x, log(np.e - 1))), [log(2), log(4), log(4 / 3), 800, 0, 1]),
                 apart(activation.sigmoid(x), [0.5, 0.75, 0.25, 1, 0]), apart(activation.tanh(x / 2), [0, 0.5, -0.5, 1, -1]),
                 apart(activation.logit(np.array([0.5, 0.75, 0.25, 1])), [0, log(3), -log(3), np.inf]),
                 apart(activation.leaky_relu(signed), [3, -0.1, 0]),
                 apart(activation.leaky_relu(signed, slope=0.3), [3, -0.6, 0]))


def affine_layers_by_loops() -> float:
    """x W + b with W and b of the layer, or of the row's own t, number by number; t sorted or not, equally often or not."""
    rng, mixed, even = np.random.default_rng(4), np.array([3, 1, 0, 3, 4, 1, 3]), np.array([3, 1, 4, 1, 3, 4])
    x, weight, bias = rng.normal(size=(7, 3)), rng.normal(size=(5, 3, 2)), rng.normal(size=(5, 2))

    def by_loops(steps: Array) -> list[list[float]]:
        return [[sum(x[i, k] * weight[s, k, j] for k in range(3)) + bias[s, j] for j in range(2)] for i, s in enumerate(steps)]

    return worst(apart(linear.linear(x, weight[2], bias[2]), by_loops(np.full(7, 2))),
                 *(apart(linear.per_step(x[:len(t)], weight, bias, t=t), by_loops(t))
                   for t in (mixed, np.sort(mixed), even, np.sort(even), np.full(7, 4))))


CENTRE, LOG_WIDTH = np.array([[0.0, 0.0], [2.0, 0.0], [-1.0, 3.0], [0.5, -1.5]]), np.log([1.0, 0.5, 2.0, 0.8])


def _rbf_by_loops(x: Array) -> Array:
    """Normalised Gaussian bumps, with `math` and one number at a time."""
    bumps = [[exp(-((a - c) ** 2 + (b - d) ** 2) / (2 * exp(2 * s))) for (c, d), s in zip(CENTRE.tolist(), LOG_WIDTH.tolist())]
             for a, b in x.tolist()]
    return np.array([[bump / sum(row) for bump in row] for row in bumps])


def rbf_by_loops() -> float:
    """At the centres, at distance 2, between; different widths.  Σ g = 1 also where every bump underflows: the widest wins."""
    x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [-0.7, 0.4], [1.0, -3.0]])
    near, far = rbf.rbf(x, CENTRE, LOG_WIDTH), rbf.rbf(np.array([[300.0, 400.0], [-1e4, 0]]), CENTRE, LOG_WIDTH)
    return worst(apart(near, _rbf_by_loops(x)), apart(near.sum(axis=1), np.ones(5)), apart(far, [[0, 0, 1, 0]] * 2))


# -- read-outs and the network -----------------------------------------------------------------------------------------

COLUMN, PREVIOUS, STATES = BETA[2:, None], LEVEL[1:-1, None], np.array([[0.5, -1.0], [2.0, 0.3], [-1.5, 0.1]])


def read_outs_start_at_the_forward_kernel() -> float:
    """Both heads 0: N(√(1−β) x, β) in all three forms."""
    heads = Heads(np.zeros((3, 2)), np.zeros((3, 2)))
    found = []
    for p in (readout.eq65(heads, STATES, COLUMN), readout.released(heads, STATES, COLUMN, T=40),
              readout.denoising(heads, STATES, COLUMN, PREVIOUS)):
        found += [apart(p.mean, np.sqrt(1 - COLUMN) * STATES), apart(p.var + 0 * STATES, COLUMN + 0 * STATES)]
    return worst(*found)


def read_outs_by_hand() -> float:
    """β = ½, z_var = log 3 gives var = ¾, keeps √¼ = ½: (x + z)/2.  Released, T = 4, 2 log 3: var = ¾, mean √½ (x + z)."""
    x, z, half, log_3 = np.array([[3.0, -1.0]]), np.array([[1.0, 2.0]]), np.array([[0.5]]), np.full((1, 2), log(3))
    paper, released = readout.eq65(Heads(z, log_3), x, half), readout.released(Heads(z, 2 * log_3), x, half, T=4)
    return worst(apart(paper.mean, [[2, 0.5]]), apart(paper.var, [[0.75, 0.75]]),
                 apart(released.mean, [[4 * sqrt(0.5), sqrt(0.5)]]), apart(released.var, [[0.75, 0.75]]))


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


def network_starts_on_the_data() -> float:
    """Centres: the first point, the one farthest from it, the one farthest from both; equal widths; no read-out yet."""
    x_0 = np.pad([[0.0, 0.0], [1.0, 0.0], [0.0, 5.0], [4.0, 0.0], [0.1, 4.9], [-3.0, 0.0]], ((0, 0), (0, 1)))
    start = swiss_roll.init(x_0, T=7, units=4, width=0.5)
    return worst(apart(start.centre, [[0, 0, 0], [0, 5, 0], [4, 0, 0], [-3, 0, 0]]), apart(start.log_width, np.full(4, log(0.5))),
                 apart(start.weight, np.zeros((8, 4, 6))), apart(start.bias, np.zeros((8, 6))))


# -- sampling ----------------------------------------------------------------------------------------------------------

def _covariances(path: Callable[[Array], Iterator[tuple[int, Array]]], draws: int) -> dict[tuple[int, int], Array]:
    """Cov(x_s, x_t) for every s, t of a path that is affine in its standard normal noise (draws, N, 2), without sampling:
    one row for every entry of the noise set to 1, the others 0, against a row of zeros."""
    units = np.concatenate([np.zeros((1, draws * 2)), np.eye(draws * 2)])
    noise = units.reshape(-1, draws, 2).swapaxes(0, 1)
    response = {t: x[1:] - x[0] for t, x in path(noise)}
    return {(s, t): response[s].T @ response[t] for s in response for t in response}


def _reverse_path(model: linear_gaussian.Kernels, noise: Array) -> Iterator[tuple[int, Array]]:
    return sample.reverse_path(model, BETA, noise=noise, kernel=gaussian, network=linear_network)


def reverse_path_has_the_models_law() -> float:
    """Covariance of x_t at every t = T..0, the last step included, for two correlated dimensions, against the oracle."""
    model = linear_gaussian.reverse_kernels(np.array([[0.8, 0.35], [0.35, 0.3]]), BETA, kernels="diagonal")
    expected = linear_gaussian.model_covariances(np.eye(2), BETA, kernels=model)
    found = _covariances(partial(_reverse_path, model), 5)
    return worst(*(apart(found[t, t], expected[t]) for t in range(5)))


def reverse_path_asks_the_network_in_order() -> float:
    """One call each at t = T..2, with x_t as just yielded, the step of that t; then the forward kernel with β_1."""
    calls: list[tuple[Array, Step, Array]] = []

    def reverse(parameters: Any, x_t: Array, step: Step, *, t: Array) -> Gaussian:
        calls.append((x_t.copy(), step, t))
        return Gaussian(x_t + parameters, np.zeros_like(x_t))

    noise = np.random.default_rng(6).normal(size=(5, 3, 2))
    states = list(sample.reverse_path(10.0, BETA, noise=noise, kernel=gaussian, network=SimpleNamespace(reverse=reverse)))
    path = dict(states)
    found = [passes([t for t, _ in states] == [4, 3, 2, 1, 0]),
             passes([t.tolist() for _, _, t in calls] == [[4] * 3, [3] * 3, [2] * 3]),
             *(apart(path[t], noise[4] + 10 * (4 - t)) for t in (4, 3, 2, 1)),
             apart(path[0], np.sqrt(0.95) * path[1] + np.sqrt(0.05) * noise[0])]
    for (x_t, step, _), t in zip(calls, (4, 3, 2)):
        found += [apart(x_t, path[t]), apart(np.stack(step), np.tile([[[BETA[t]]], [[LEVEL[t - 1]]], [[LEVEL[t]]]], (3, 1)))]
    return worst(*found)


def samples_end_as_named() -> float:
    """x_1 is the last one the network makes; x_0 = √(1−β_1) x_1 + √β_1 ε, and is what is meant by default; no other end."""
    noise = np.random.default_rng(6).normal(size=(5, 3, 2))
    parts: dict[str, Any] = dict(noise=noise, kernel=gaussian, network=network(lambda x, t: (x / 2, 0 * x)))
    x_0 = np.sqrt(0.95) * noise[4] / 8 + np.sqrt(0.05) * noise[0]
    return worst(apart(sample.sample((), BETA, **parts), x_0), apart(sample.sample((), BETA, end="x_0", **parts), x_0),
                 apart(sample.sample((), BETA, end="x_1", **parts), noise[4] / 8),
                 passes(refused(lambda: sample.sample((), BETA, end="x_2", **parts))))


def forward_path_has_the_forward_law() -> float:
    """Cov(x_s, x_t | x_0) = √(ᾱ_t/ᾱ_s) (1 − ᾱ_s) for s ≤ t, E x_t = √ᾱ_t x_0, and noise[t−1] is the last that x_t sees; integers
    and states of three axes too."""
    x_0 = np.array([[2, -1]])
    found = _covariances(lambda noise: sample.forward_path(BETA, np.tile(x_0, (9, 1)), noise=noise, kernel=gaussian), 4)
    images = np.arange(24.0).reshape(2, 3, 4)
    means, of_images = (dict(sample.forward_path(BETA, x, noise=np.zeros((4, *x.shape)), kernel=gaussian))
                        for x in (x_0, images))
    steps = [t for t, _ in sample.forward_path(BETA, x_0, noise=np.zeros((4, 1, 2)), kernel=gaussian)]
    a, seen = np.exp(LEVEL), np.zeros((4, 5, 2))
    seen[np.arange(4), np.arange(1, 5)] = 1                                      # row t has noise[t−1] alone, and row 0 none
    drawn = dict(sample.forward_path(BETA, np.tile(x_0, (5, 1)), noise=seen, kernel=gaussian))
    return worst(passes(steps == [0, 1, 2, 3, 4]), apart(of_images[4], np.sqrt(a[4]) * images),
                 *(apart(drawn[t][t:] - means[t], np.eye(5)[t:, [t, t]] * np.sqrt(BETA[t])) for t in range(1, 5)),
                 *(apart(means[t], np.sqrt(a[t]) * x_0) for t in range(5)),
                 *(apart(found[s, t], np.sqrt(a[t] / a[s]) * (1 - a[s]) * np.eye(2)) for t in range(5) for s in range(t + 1)))


# -- optimisers --------------------------------------------------------------------------------------------------------

class Three(NamedTuple):
    """Leaves of different shapes."""

    a: Array
    b: Array
    c: Array


START = Three(np.array([1.0, -2.0]), np.array([[0.5]]), np.array(3.0))
GRADIENTS = tuple(Three(np.array(a), np.array([[b]]), np.array(c)) for a, b, c in (
    ([3.0, 0.0], -1e-8, 0.1), ([-1.0, 0.5], 2e-8, -0.2), ([2.0, 4.0], 3e-8, 0.1)))


def _three_steps(init: Callable[..., Any], update: Callable[..., Any], move: Callable[[list[Array]], Array], **settings: float
                 ) -> float:
    """Three steps by the package against START + Σ_k move(the gradients up to the k-th), leaf by leaf."""
    parameters, state, found = START, init(START), []
    expected = [leaf.copy() for leaf in START]
    for k in range(3):
        parameters, state = update(parameters, GRADIENTS[k], state, **settings)
        expected = [x + move([g[i] for g in GRADIENTS[:k + 1]]) for i, x in enumerate(expected)]
        found += [apart(x, y) for x, y in zip(parameters, expected)]
    return worst(*found)


def _decayed(gradients: list[Array], decay: float) -> Array:
    """Σ_i decay^(k−i) g_i: every exponential average, written as the sum it is."""
    return np.sum([decay ** (len(gradients) - 1 - i) * g for i, g in enumerate(gradients)], axis=0)


def momentum_for_three_steps() -> float:
    """x ← x − rate Σ_i m^(k−i) g_i, m = 0.9 unless it is given."""
    def move(g: list[Array], m: float) -> Array:
        return -0.1 * _decayed(g, m)

    return worst(*(_three_steps(optimize.sgd_init, optimize.sgd, partial(move, m=m), rate=0.1, **given)
                   for m, given in ((0.8, {"momentum": 0.8}), (0.9, {}))))


def rmsprop_for_three_steps() -> float:
    """x ← x − rate g_k/max(√[(1−d) Σ_i d^(k−i) g_i²], 1e-10), d = 0.9 unless it is given: a gradient of 0 moves nothing."""
    def move(g: list[Array], d: float) -> Array:
        return -0.1 * g[-1] / np.maximum(np.sqrt((1 - d) * _decayed([x * x for x in g], d)), 1e-10)

    return worst(*(_three_steps(optimize.rmsprop_init, optimize.rmsprop, partial(move, d=d), rate=0.1, **given)
                   for d, given in ((0.8, {"decay": 0.8}), (0.9, {}))))


def adam_for_three_steps() -> float:
    """m̂ and ŝ are weighted means, Σ_i d^(k−i) g_i/Σ_i d^(k−i), the same of g²; x ← x − rate m̂/(√ŝ + ε), also at |g| ~ ε;
    d = 0.9 for the first and 0.999 for the second unless they are given."""
    def move(g: list[Array], d_1: float, d_2: float) -> Array:
        ones = [np.ones(())] * len(g)
        mean, square = _decayed(g, d_1) / _decayed(ones, d_1), _decayed([x * x for x in g], d_2) / _decayed(ones, d_2)
        return -0.1 * mean / (np.sqrt(square) + 1e-8)

    return worst(*(_three_steps(optimize.adam_init, optimize.adam, partial(move, d_1=d_1, d_2=d_2), rate=0.1, **given)
                   for d_1, d_2, given in ((0.8, 0.95, {"decay_1": 0.8, "decay_2": 0.95}), (0.9, 0.999, {}))))


def lbfgs_finds_the_minimum() -> float:
    """½ Σ k (x_k − c_k)² over all entries has its minimum at c; and a tree, one in another too, is itself again after flatten and
    unflatten."""
    target = Three(np.array([3.0, -1.0]), np.array([[0.3, 7.0], [-2.0, 1.0]]), np.array(0.5))

    def objective(x: Three) -> tuple[float, Three]:
        off = Three(x.a - target.a, x.b - target.b, x.c - target.c)
        return float((off.a ** 2).sum() + (3 * off.b ** 2).sum() + off.c ** 2) / 2, Three(off.a, 3 * off.b, off.c)

    found = optimize.lbfgs(objective, Three(np.zeros(2), np.zeros((2, 2)), np.zeros(())), iterations=50)
    nested = (target, (target.b,))
    again = [leaf for part in optimize.unflatten(optimize.flatten(nested), nested) for leaf in part]
    return worst(*(apart(got, expected, within=1e-5) for got, expected in zip(found, target)),
                 passes(len(again) == 4, *map(np.array_equal, again, (*target, target.b))),
                 apart(optimize.flatten(target), [3, -1, 0.3, 7, -2, 1, 0.5]))


CHECKS = (
    Check("activations at special points",
          ("activation.softplus", "activation.sigmoid", "activation.logit", "activation.tanh",
           "activation.leaky_relu"), activations_at_special_points),
    Check("affine layers by loops", ("layers.linear.linear", "layers.linear.per_step"), affine_layers_by_loops),
    Check("radial basis by loops", ("layers.rbf.rbf",), rbf_by_loops),
    Check("read-outs start at the forward kernel",
          ("networks.readout.eq65", "networks.readout.released", "networks.readout.denoising"),
          read_outs_start_at_the_forward_kernel),
    Check("read-outs by hand", ("networks.readout.eq65", "networks.readout.released"), read_outs_by_hand),
    Check("denoising has the moments of the reversal", ("networks.readout.denoising",),
          denoising_has_the_moments_of_the_reversal),
    Check("the network starts on the data", ("networks.swiss_roll.init",), network_starts_on_the_data),
    Check("reverse path has the model's law", ("sample.reverse_path",), reverse_path_has_the_models_law),
    Check("reverse path asks the network in order", ("sample.reverse_path",), reverse_path_asks_the_network_in_order),
    Check("samples end as named", ("sample.sample",), samples_end_as_named),
    Check("forward path has the forward law", ("sample.forward_path",), forward_path_has_the_forward_law),
    Check("momentum for three steps", ("optimize.sgd", "optimize.sgd_init", "optimize.zeros_like"), momentum_for_three_steps),
    Check("RMSprop for three steps", ("optimize.rmsprop", "optimize.rmsprop_init"), rmsprop_for_three_steps),
    Check("Adam for three steps", ("optimize.adam", "optimize.adam_init"), adam_for_three_steps),
    Check("L-BFGS finds the minimum", ("optimize.lbfgs", "optimize.flatten", "optimize.unflatten"), lbfgs_finds_the_minimum),
)
