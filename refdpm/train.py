"""Training: gradient ascent on K, in the network's parameters and in the schedule, with fresh data and noise at every step.

All randomness of step k comes from a generator of its own, so that a run is a function of its settings: the same seed gives the
same bits, and a run that was stopped goes on from its last saved state as if it had not been.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import reduce
from typing import NamedTuple

import numpy as np

from refdpm import bound, optimize, schedule
from refdpm.likelihood import Estimate, average, null_log_likelihood
from refdpm.paper import eq
from refdpm.vjp import Array, Module, Tree, tree_map

Draw = Callable[[np.random.Generator, int], Array]


class Purpose(IntEnum):
    """What random numbers are for; each purpose has streams of its own."""

    STEP = 0
    START = 1
    HELD_OUT = 2
    EVALUATION = 3
    SAMPLES = 4
    COMPARISON = 5
    FIGURE = 6


def generator(seed: int, purpose: Purpose, index: int = 0) -> np.random.Generator:
    """The stream of a seed for one purpose (and one step).

    By `spawn_key`: seeding with the list (seed, purpose, index) would not do, because NumPy pads such lists with zeros, and
    (seed, 2) is then (seed, 2, 0).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, index)))


class Model(NamedTuple):
    """What is learned: the network's parameters, and logit β_t for t = 2..T (β_1 is held fixed)."""

    parameters: Tree
    logit_beta: Array


class State(NamedTuple):
    """Everything that the next step depends on."""

    model: Model
    network_moments: optimize.Moments
    schedule_moments: optimize.Moments
    steps_done: int


class Recipe(NamedTuple):
    """How to train.  Adam's rates rise to the given ones over `warm_up` steps, and fall towards 0 as a half cosine."""

    steps: int
    batch: int
    rate: float
    schedule_rate: float
    beta_1: float
    seed: int
    warm_up: int = 100
    decay_2: float = 0.99


def begin(model: Model) -> State:
    """The state before the first step."""
    return State(model, optimize.adam_init(model.parameters), optimize.adam_init(model.logit_beta), 0)


@eq("15", "App.1 G targets")
def fit(state: State, recipe: Recipe, *, draw_data: Draw, kernel: Module, network: Module) -> Iterator[tuple[State, float]]:
    """Yields, after every step, the new state and the step's own estimate of K in nats per example.

    The sum over t is taken in full for every example of the batch.
    """
    _keep_freed_memory()
    while state.steps_done < recipe.steps:
        rng = generator(recipe.seed, Purpose.STEP, state.steps_done)
        x_0 = draw_data(rng, recipe.batch)
        t = bound.every_step(len(state.model.logit_beta) + 1, recipe.batch)
        noise = kernel.draw_noise(rng, t.shape + x_0.shape[1:])
        k, gradient = mean_bound(state.model, x_0, noise=noise, t=t, beta_1=recipe.beta_1, kernel=kernel, network=network)
        state = _ascend(state, gradient, recipe)
        yield state, k


def _keep_freed_memory() -> None:
    """Allocate and free one large block, after which the C library keeps freed blocks up to that size instead of giving them back
    to the system.  Temporaries are then re-used without page faults, which otherwise cost more than the arithmetic on them."""
    np.empty(30 << 17)


def _ascend(state: State, gradient: Model, recipe: Recipe) -> State:
    done = state.steps_done
    factor = min(1.0, (done + 1) / recipe.warm_up) * (1 + np.cos(np.pi * done / recipe.steps)) / 2
    downhill = tree_map(np.negative, gradient)
    parameters, network_moments = optimize.adam(state.model.parameters, downhill.parameters, state.network_moments,
                                                rate=factor * recipe.rate, decay_2=recipe.decay_2)
    logit_beta, schedule_moments = optimize.adam(state.model.logit_beta, downhill.logit_beta, state.schedule_moments,
                                                 rate=factor * recipe.schedule_rate, decay_2=recipe.decay_2)
    return State(Model(parameters, logit_beta), network_moments, schedule_moments, done + 1)


# -- K of a batch -------------------------------------------------------------------------------------------------------

def mean_bound(model: Model, x_0: Array, *, noise: Array, t: Array, beta_1: float, kernel: Module, network: Module,
               rows: int = 2560) -> tuple[float, Model]:
    """K averaged over a batch, in nats, and its gradient with respect to the model.

    The gradient of a sum is the sum of gradients: forward and pullback run on pieces of about `rows` rows (x_t, t), which bounds
    the memory whatever the batch, and are added up.  Shapes as in `bound.bound`.
    """
    beta, back_beta = schedule.learned_vjp(model.logit_beta, beta_1=beta_1)

    def piece(part: slice) -> tuple[float, Tree, Array]:
        k, back = bound.bound_vjp(model.parameters, beta, x_0[part], noise=noise[:, part], t=t[:, part],
                                  kernel=kernel, network=network)
        dparameters, dbeta, _ = back(np.full(len(k), 1 / len(x_0)))
        return k.sum() / len(x_0), dparameters, dbeta

    pieces = map(piece, _parts(len(x_0), max(1, rows // max(1, len(t)))))
    k, dparameters, dbeta = reduce(lambda a, b: tree_map(np.add, a, b), pieces)
    return float(k), Model(dparameters, back_beta(dbeta))


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


# -- K of held-out data ------------------------------------------------------------------------------------------------

class Evaluation(NamedTuple):
    """Averages over held-out examples, in nats per example; `terms.kl[t−2]` is that of step t."""

    bound: Estimate
    strict_bound: Estimate
    null: Estimate
    gain: Estimate
    correction: Estimate
    terms: bound.Terms


def evaluate(parameters: Tree, beta: Array, x_0: Array, *, rng: np.random.Generator, kernel: Module, network: Module,
             rows: int = 20000) -> Evaluation:
    """K with the full sum over t, one noise for each example and t, term by term; L_null on the same examples.

    `gain` is K − L_null taken example by example, which is less noisy than the difference of the averages.
    """
    T = len(beta) - 1
    k, parts = [], []
    for part in _parts(len(x_0), max(1, rows // max(1, T - 1))):
        t = bound.every_step(T, len(x_0[part]))
        terms = bound.terms(parameters, beta, x_0[part], noise=kernel.draw_noise(rng, t.shape + x_0.shape[1:]), t=t,
                            kernel=kernel, network=network)
        k.append(bound.assemble(terms, T=T))
        parts.append(tree_map(lambda term: term.sum(axis=-1) / len(x_0), terms))
    means = reduce(lambda a, b: tree_map(np.add, a, b), parts)
    per_example, per_null = np.concatenate(k), null_log_likelihood(x_0, kernel=kernel)
    c = bound.correction(beta, x_0, kernel=kernel)
    return Evaluation(average(per_example), average(per_example + c), average(per_null), average(per_example - per_null),
                      average(c), means)
