"""Training (eq. 15): gradient ascent on K, in the network's parameters and in the schedule, with fresh data and noise at each step.

For fixed noise K is a smooth function of what is learned, and neither the law of the noise nor that of t depends on that.  So the
gradient of one step, averaged over data, noise and t, is the gradient of the average; with S values of t for each example in the
place of all T − 1 the sum over t is multiplied by (T−1)/S, and that stays true.  The rates β_2..β_T move as logits, which keeps
them between 0 and 1; β_1 does not move (see `bound`).

All randomness of step k comes from a generator of its own, so that a run is a function of its settings: the same seed gives the
same bits, and a run that was stopped goes on from its last saved state as if it had not been.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial, reduce
from typing import NamedTuple

import numpy as np

from refdpm import bound, likelihood, optimize, schedule
from refdpm.bound import Terms
from refdpm.likelihood import Estimate, average, null_log_likelihood
from refdpm.paper import eq
from refdpm.vjp import Array, Module, Tree, fix, tree_map
from refdpm.workers import Workers, mapping

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
    DEQUANTISATION = 7


def generator(seed: int, purpose: Purpose, index: int = 0) -> np.random.Generator:
    """The stream of a seed for one purpose (and one step).

    By `spawn_key`: seeding with the list (seed, purpose, index) would not do, because NumPy pads such lists with zeros, and
    (seed, 2) is then (seed, 2, 0).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, index)))


class Model(NamedTuple):
    """What is learned: the network's parameters, and logit β_t for t = 2..T (β_1 is held fixed; none where all β are)."""

    parameters: Tree
    logit_beta: Array


class State(NamedTuple):
    """Everything that the next step depends on."""

    model: Model
    network_moments: optimize.Moments
    schedule_moments: optimize.Moments
    steps_done: int


class Recipe(NamedTuple):
    """How to train.  Adam's rates rise to the given ones over `warm_up` steps, and fall towards 0 as a half cosine.

    draws    how many values of t each example of a batch is put to; 0 for all of them, the full sum
    rows     how many rows (x_t, t) pass through the network at a time
    """

    steps: int
    batch: int
    rate: float
    schedule_rate: float
    beta_1: float
    seed: int
    warm_up: int = 100
    decay_2: float = 0.99
    draws: int = 0
    rows: int = 2560


def begin(model: Model) -> State:
    """The state before the first step."""
    return State(model, optimize.adam_init(model.parameters), optimize.adam_init(model.logit_beta), 0)


@eq("15", "App.1 G targets", "App.1 B targets")
def fit(state: State, recipe: Recipe, *, draw_data: Draw, kernel: Module, network: Module, beta: Array | None = None
        ) -> Iterator[tuple[State, float]]:
    """Yields, after every step, the new state and the step's own estimate of K in nats per example.

    With `beta` the schedule is that one, and only the network learns; without it both do.

    Raises: ValueError without `beta` for a kernel whose draws are not smooth, that of bits.
    """
    if beta is None and not kernel.SMOOTH_DRAWS:
        raise ValueError("beta: expected a fixed schedule for a kernel that draws bits, through which no gradient passes, got None")
    _keep_freed_memory()
    T = len(state.model.logit_beta) + 1 if beta is None else len(beta) - 1
    while state.steps_done < recipe.steps:
        rng = generator(recipe.seed, Purpose.STEP, state.steps_done)
        x_0 = draw_data(rng, recipe.batch)
        t = bound.draw_steps(rng, T, (recipe.draws, len(x_0))) if recipe.draws else bound.every_step(T, len(x_0))
        noise = kernel.draw_noise(rng, t.shape + x_0.shape[1:])
        if beta is None:
            k, gradient = mean_bound(state.model, x_0, noise=noise, t=t, beta_1=recipe.beta_1, kernel=kernel, network=network,
                                     rows=recipe.rows)
        else:
            k, parameters = mean_network_bound(state.model.parameters, x_0, noise=noise, t=t, beta=beta, kernel=kernel,
                                               network=network, rows=recipe.rows)
            gradient = Model(parameters, state.model.logit_beta)
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
    _check_examples(x_0)
    beta, back_beta = schedule.learned_vjp(model.logit_beta, beta_1=beta_1)

    def piece(part: slice) -> tuple[float, Tree, Array]:
        k, back = bound.bound_vjp(model.parameters, beta, x_0[part], noise=noise[:, part], t=t[:, part],
                                  kernel=kernel, network=network)
        dparameters, dbeta, _ = back(np.full(len(k), 1 / len(x_0)))
        return k.sum() / len(x_0), dparameters, dbeta

    k, dparameters, dbeta = _sum(map(piece, _parts(len(x_0), rows // max(1, len(t)))))
    return float(k), Model(dparameters, back_beta(dbeta))


def mean_network_bound(parameters: Tree, x_0: Array, *, noise: Array, t: Array, beta: Array, kernel: Module, network: Module,
                       rows: int = 2560) -> tuple[float, Tree]:
    """As `mean_bound`, for a fixed schedule: K, and its gradient with respect to the network's parameters."""
    _check_examples(x_0)
    bound.check_shapes(x_0, noise, t)
    share = (len(beta) - 2) / max(1, t.size)

    def piece(rows: _Rows) -> tuple[float, Tree]:
        kl, back = bound.network_kl_vjp(parameters, beta=beta, **rows, kernel=kernel, network=network)
        return -share * kl.sum(), back(np.full(len(kl), -share))

    minus_kl, dparameters = _sum(map(piece, _rows(x_0, noise, t, rows)))
    ends = bound.assemble(Terms(np.empty((0, len(x_0))), *bound.end_terms(beta, x_0, kernel=kernel)), T=len(beta) - 1)
    return float(minus_kl + ends.mean()), dparameters


def _check_examples(x_0: Array) -> None:
    if len(x_0) == 0:
        raise ValueError("x_0: expected at least one example to average over, got none")


_Rows = dict[str, Array]


def _rows(x_0: Array, noise: Array, t: Array, size: int) -> Iterator[_Rows]:
    """The (S, N) grid of t as rows (x_0, noise, t), `size` at a time."""
    flat = (t.size,) + x_0.shape[1:]
    whole = {"x_0": np.broadcast_to(x_0, t.shape + x_0.shape[1:]).reshape(flat), "noise": noise.reshape(flat), "t": t.ravel()}
    return ({name: rows[part] for name, rows in whole.items()} for part in _parts(t.size, size))


def _parts(count: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _sum(pieces: Iterator[Tree]) -> Tree:
    return reduce(lambda a, b: tree_map(np.add, a, b), pieces)


# -- K of held-out data ------------------------------------------------------------------------------------------------

class Evaluation(NamedTuple):
    """Averages over held-out examples, in nats per example; `terms.kl[t−2]` is that of step t."""

    bound: Estimate
    strict_bound: Estimate
    null: Estimate
    gain: Estimate
    correction: Estimate
    terms: Terms


def evaluate(parameters: Tree, beta: Array, x_0: Array, *, rng: np.random.Generator, kernel: Module, network: Module,
             rows: int = 20000, workers: Workers = 1) -> Evaluation:
    """K with the full sum over t, one noise for each example and t, term by term; L_null on the same examples.

    Examples are taken in parts of about `rows` rows (x_t, t), each with random numbers of its own.  `gain` is K − L_null taken
    example by example, which is less noisy than the difference of the averages.
    """
    _check_examples(x_0)
    parts = list(_parts(len(x_0), rows // max(1, len(beta) - 2)))
    task = partial(_terms, parameters=parameters, beta=beta, kernel=fix(kernel), network=fix(network), rows=rows)
    with mapping(workers) as each:
        found = list(each(task, list(zip([x_0[part] for part in parts], rng.spawn(len(parts))))))
    k = [bound.assemble(terms, T=len(beta) - 1) for terms in found]
    means = _sum(tree_map(lambda term: term.sum(axis=-1) / len(x_0), terms) for terms in found)
    per_example, per_null = np.concatenate(k), null_log_likelihood(x_0, kernel=kernel)
    c = bound.correction(beta, x_0, kernel=kernel)
    return Evaluation(average(per_example), average(per_example + c), average(per_null), average(per_example - per_null),
                      average(c), means)


def _terms(part: tuple[Array, np.random.Generator], *, parameters: Tree, beta: Array, kernel: Module, network: Module, rows: int
           ) -> Terms:
    """The terms of K of some examples, with noise from a generator."""
    x_0, rng = part
    t = bound.every_step(len(beta) - 1, len(x_0))
    noise = kernel.draw_noise(rng, t.shape + x_0.shape[1:])
    kl = [bound.network_kl(parameters, beta=beta, **piece, kernel=kernel, network=network) for piece in _rows(x_0, noise, t, rows)]
    return Terms(np.concatenate([np.empty(0), *kl]).reshape(t.shape), *bound.end_terms(beta, x_0, kernel=kernel))


def log_weights_of_paths(parameters: Tree, beta: Array, x_0: Array, *, paths: int, rng: np.random.Generator, kernel: Module,
                         network: Module, workers: Workers = 1) -> Array:
    """`likelihood.log_weights` of so many paths for each example, every path with random numbers of its own.   → (paths, N)."""
    task = partial(_one_path, parameters=parameters, beta=beta, x_0=x_0, kernel=fix(kernel), network=fix(network))
    with mapping(workers) as each:
        return np.array(list(each(task, rng.spawn(paths))))


def _one_path(rng: np.random.Generator, *, parameters: Tree, beta: Array, x_0: Array, kernel: Module, network: Module) -> Array:
    noise = kernel.draw_noise(rng, (len(beta) - 1, *x_0.shape))
    return likelihood.log_weights(parameters, beta, x_0, noise=noise, kernel=kernel, network=network)
