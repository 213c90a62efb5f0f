"""Mistakes in the use of a model: sampling and optimisers."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm import schedule
from refdpm.conformance.chapters.sampler import silent
from refdpm.conformance.planting import Mistake, of, then, told
from refdpm.optimize import Momentum
from refdpm.vjp import Array, tree_map


# -- sampling ----------------------------------------------------------------------------------------------------------

def _step(beta: Array, t: Array, x: Array) -> schedule.Step:
    return schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=x.ndim)


def _stopping_at_x_2(path: Iterator[tuple[int, Array]]) -> Iterator[tuple[int, Array]]:
    kept = None
    for t, x in path:
        kept = x if kept is None or t >= 2 else kept
        yield t, kept


in_reverse_path = of("sample.reverse_path")

SAMPLING = (
    in_reverse_path("REV-02", "last step returns mean + β → a draw from N(mean, β)",
            "gmongaras/Diffusion_models_from_scratch@41dae90",
            told(noise=lambda noise, beta: np.concatenate([0 * noise[:1] + np.sqrt(beta[1]), noise[1:]]))),
    in_reverse_path("REV-04", "no noise in the last step, as if it gave a mean → the noise of the fixed step",
            "converse of Burak599/NumPy-Diffusion@71f6e20", told(noise=lambda noise: silent(noise, 0))),
    in_reverse_path("REV-05", "noise switched off in the last two steps → in none", "AkiRusProd/numpy-diffusion@5116f79",
            told(noise=lambda noise: silent(noise, 0, 1))),
    in_reverse_path("REV-14", "noise of the step before used again → fresh noise", "IDEALLab/EngiOpt!67",
            told(noise=lambda noise: np.broadcast_to(noise[-1], noise.shape))),
    in_reverse_path("REV-16", "sampler stops before the end → at x_0", "youngunghan/Deep-Unsupervised-…@fa1712e known-issues D1",
            then(_stopping_at_x_2)),
    in_reverse_path("REV-20", "guard for the last step true in the first: no noise at the start → in every step",
            "lucidrains/imagen-pytorch@fac59d7", told(noise=lambda noise: silent(noise, len(noise) - 2))),
    in_reverse_path("REV-23", "noise never added → added", "huggingface/diffusers@7e11392",
            told(noise=lambda noise: silent(noise, *range(len(noise))))),
    in_reverse_path("REV-19", "state of level t handed to the network as one of level t − 1 → t", "CompVis/stable-diffusion!533",
            told(network=lambda network, beta: SimpleNamespace(
                 reverse=lambda parameters, x, step, *, t: network.reverse(parameters, x, _step(beta, t - 1, x), t=t - 1)))),
    Mistake("REV-25", "x_1 returned as x_0 → one fixed step more", "ORIG sampler.py", "sample.sample", "value", told(end="x_1")),
    Mistake("SHP-04", "states in the integer type of the data → float64", "lucidrains/imagen-pytorch@1e15940",
            "sample.forward_path", "value", then(lambda path, x_0: ((t, x.astype(x_0.dtype)) for t, x in path))),
    Mistake("RNG-08b", "one noise for all steps of the chain → a new one each", "huggingface/diffusers!13677",
            "sample.forward_path", "value", told(noise=lambda noise: np.broadcast_to(noise[0], noise.shape))),
)


# -- optimisers --------------------------------------------------------------------------------------------------------

def _by_the_mean_square(found: Any, parameters: Any, gradient: Any, rate: float, floor: float) -> Any:
    _, state = found
    return tree_map(lambda x, g, s: x - rate * g / np.maximum(s, floor), parameters, gradient, state.square), state


def _uncorrected(found: Any, parameters: Any, rate: float, epsilon: float) -> Any:
    _, state = found
    return tree_map(lambda x, m, s: x - rate * m / (np.sqrt(s) + epsilon), parameters, state.mean, state.square), state


def _epsilon_inside(found: Any, parameters: Any, rate: float, decay_1: float, decay_2: float, epsilon: float) -> Any:
    _, state = found
    one, two = 1 - decay_1 ** state.steps, 1 - decay_2 ** state.steps
    return tree_map(lambda x, m, s: x - rate * m / one / np.sqrt(s / two + epsilon), parameters, state.mean, state.square), state


USE = (
    Mistake("NEW-MOMENTUM", "v ← g − momentum·v → g + momentum·v", "sign of the velocity", "optimize.sgd", "value",
            told(state=lambda state: Momentum(tree_map(np.negative, state.velocity)))),
    Mistake("NEW-RMS", "gradient divided by its mean square → by the root of it", "as GRD-08, in an optimiser", "optimize.rmsprop",
            "value", then(_by_the_mean_square)),
    Mistake("NEW-ADAM", "averages that start at 0 not corrected → divided by 1 − decayᵏ", "Kingma and Ba 2015, sec. 3",
            "optimize.adam", "value", then(_uncorrected)),
    Mistake("NEW-EPSILON", "√(ŝ + ε) → √ŝ + ε", "as LAY-08, in an optimiser", "optimize.adam", "value", then(_epsilon_inside)),
    Mistake("NEW-FLATTEN", "matrices flattened by columns, read back by rows → both by rows", "as LAY-22", "optimize.flatten",
            "value", told(tree=lambda tree: tree_map(np.transpose, tree))),
)
