"""Optimisers as pure functions: parameters, gradient and state in; parameters and state out.  They descend.

A state is a tree like the parameters, so it is saved and compared like them; `SciPy`'s L-BFGS-B serves where the noise is
frozen and the objective therefore a deterministic function.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refdpm.vjp import Array, Tree, leaves, tree_map


def zeros_like(tree: Tree) -> Tree:
    """A tree of zeros with the structure of `tree`: the first state of every moment below."""
    return tree_map(np.zeros_like, tree)


# -- gradient descent with momentum ------------------------------------------------------------------------------------

class Momentum(NamedTuple):
    velocity: Tree


def sgd_init(parameters: Tree) -> Momentum:
    return Momentum(zeros_like(parameters))


def sgd(parameters: Tree, gradient: Tree, state: Momentum, *, rate: float, momentum: float = 0.9) -> tuple[Tree, Momentum]:
    """v ← momentum·v + g,   x ← x − rate·v."""
    velocity = tree_map(lambda v, g: momentum * v + g, state.velocity, gradient)
    return tree_map(lambda x, v: x - rate * v, parameters, velocity), Momentum(velocity)


# -- RMSprop -----------------------------------------------------------------------------------------------------------

class MeanSquare(NamedTuple):
    square: Tree


def rmsprop_init(parameters: Tree) -> MeanSquare:
    return MeanSquare(zeros_like(parameters))


def rmsprop(parameters: Tree, gradient: Tree, state: MeanSquare, *, rate: float, decay: float = 0.9, floor: float = 1e-10
            ) -> tuple[Tree, MeanSquare]:
    """s ← decay·s + (1−decay)·g²,   x ← x − rate·g/max(√s, floor): the released code's form, started from s = 0."""
    square = tree_map(lambda s, g: decay * s + (1 - decay) * g * g, state.square, gradient)
    return tree_map(lambda x, g, s: x - rate * g / np.maximum(np.sqrt(s), floor), parameters, gradient, square), MeanSquare(square)


# -- Adam --------------------------------------------------------------------------------------------------------------

class Moments(NamedTuple):
    steps: Array
    mean: Tree
    square: Tree


def adam_init(parameters: Tree) -> Moments:
    return Moments(np.zeros(()), zeros_like(parameters), zeros_like(parameters))


def adam(parameters: Tree, gradient: Tree, state: Moments, *, rate: float, decay_1: float = 0.9, decay_2: float = 0.999,
         epsilon: float = 1e-8) -> tuple[Tree, Moments]:
    """m ← decay_1·m + (1−decay_1)·g,   s ← decay_2·s + (1−decay_2)·g²,   x ← x − rate·m̂/(√ŝ + ε),

    where m̂ and ŝ are divided by 1 − decayᵏ at the k-th call, because both averages start from zero.

    Source: Kingma and Ba 2015.
    """
    steps = state.steps + 1
    mean = tree_map(lambda m, g: decay_1 * m + (1 - decay_1) * g, state.mean, gradient)
    square = tree_map(lambda s, g: decay_2 * s + (1 - decay_2) * g * g, state.square, gradient)
    unbias_1, unbias_2 = 1 - decay_1 ** steps, 1 - decay_2 ** steps

    def update(x: Array, m: Array, s: Array) -> Array:
        return (x - rate * (m / unbias_1) / (np.sqrt(s / unbias_2) + epsilon)).astype(x.dtype, copy=False)

    return tree_map(update, parameters, mean, square), Moments(steps, mean, square)


# -- L-BFGS-B ----------------------------------------------------------------------------------------------------------

def lbfgs(value_and_gradient: Callable[[Tree], tuple[float, Tree]], parameters: Tree, *, iterations: int) -> Tree:
    """Minimise a deterministic function of a tree by SciPy's L-BFGS-B, from `parameters`."""
    def of_vector(x: Array) -> tuple[float, Array]:
        value, gradient = value_and_gradient(unflatten(x, parameters))
        return value, flatten(gradient)

    from scipy.optimize import minimize                             # which takes a quarter of a second, for all who import this

    result = minimize(of_vector, flatten(parameters), jac=True, method="L-BFGS-B",
                      options={"maxiter": iterations, "maxcor": 20})
    return unflatten(result.x, parameters)


def flatten(tree: Tree) -> Array:
    """All leaves of a tree in one vector."""
    return np.concatenate([np.ravel(leaf) for leaf in leaves(tree)])


def unflatten(x: Array, like: Tree) -> Tree:
    """The inverse of `flatten`, for a tree of the structure of `like`."""
    parts = iter(np.split(x, np.cumsum([np.size(leaf) for leaf in leaves(like)])[:-1]))
    return tree_map(lambda leaf: next(parts).reshape(np.shape(leaf)), like)
