"""Mistakes in the use of a model: sampling and optimisers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refdpm import schedule
from refdpm.conformance.planting import Mistake, Plant, instead
from refdpm.optimize import MeanSquare, Moments, Momentum
from refdpm.vjp import Array, tree_map


# -- sampling ----------------------------------------------------------------------------------------------------------

def _sampler(*, noise_of: Callable[[int, Array, Array], Any] = lambda t, fresh, previous: fresh, last: int = 1,
             asked: Callable[[int], int] = lambda t: t, fixed: int = 1) -> Plant:
    """A reverse path that draws x_{t−1} with noise_of(t, fresh noise, noise of the step before), stays where it is after step
    `last`, and asks the network for step asked(t) until the `fixed` steps at the end."""
    def reverse_path(parameters: Any, beta: Array, *, noise: Array, kernel: Any, network: Any) -> Iterator[tuple[int, Array]]:
        T, level = len(beta) - 1, schedule.log_alpha_bar(beta)
        x, used = kernel.draw(kernel.prior(noise[T].shape), noise=noise[T]), noise[T]
        yield T, x
        for t in range(T, 0, -1):
            rows = np.full(len(x), max(asked(t), 1))
            step = schedule.step(beta, level, t=rows, ndim=x.ndim)
            p = network.reverse(parameters, x, step, t=rows) if t > fixed else kernel.forward(x, step.beta)
            used = noise_of(t, noise[t - 1], used)
            x = kernel.draw(p, noise=used) if t >= last else x
            yield t - 1, x
    return instead(reverse_path)


def _in_the_type_of_the_data(right: Callable[..., Any]) -> Callable[..., Any]:
    def forward_path(beta: Array, x_0: Array, **fixed: Any) -> Iterator[tuple[int, Array]]:
        return ((t, x.astype(x_0.dtype)) for t, x in right(beta, x_0, **fixed))
    return forward_path


SAMPLING = (
    Mistake("REV-02", "last step returns mean + β → a draw from N(mean, β)",
            "gmongaras/Diffusion_models_from_scratch@41dae90", "sample.reverse_path", "value",
            lambda right: lambda parameters, beta, **fixed: _sampler(
                noise_of=lambda t, fresh, previous: fresh if t > 1 else 0 * fresh + np.sqrt(beta[1])
            )(right)(parameters, beta, **fixed)),
    Mistake("REV-04", "no noise in the last step, as if it gave a mean → the noise of the fixed step",
            "converse of Burak599/NumPy-Diffusion@71f6e20", "sample.reverse_path", "value",
            _sampler(noise_of=lambda t, fresh, previous: fresh * (t > 1))),
    Mistake("REV-05", "noise switched off in the last two steps → in none",
            "AkiRusProd/numpy-diffusion@5116f79", "sample.reverse_path", "value",
            _sampler(noise_of=lambda t, fresh, previous: fresh * (t > 2))),
    Mistake("REV-14", "noise of the step before used again → fresh noise",
            "IDEALLab/EngiOpt!67", "sample.reverse_path", "value", _sampler(noise_of=lambda t, fresh, previous: previous)),
    Mistake("REV-16", "sampler stops before the end → at x_0",
            "youngunghan/Deep-Unsupervised-…@fa1712e known-issues D1", "sample.reverse_path", "value", _sampler(last=3)),
    Mistake("REV-20", "guard for the last step true in the first: no noise at the start → in every step",
            "lucidrains/imagen-pytorch@fac59d7", "sample.reverse_path", "value",
            lambda right: lambda parameters, beta, **fixed: _sampler(
                noise_of=lambda t, fresh, previous: fresh * (t < len(beta) - 1)
            )(right)(parameters, beta, **fixed)),
    Mistake("REV-23", "noise never added → added",
            "huggingface/diffusers@7e11392", "sample.reverse_path", "value",
            _sampler(noise_of=lambda t, fresh, previous: 0 * fresh)),
    Mistake("REV-19", "state of level t handed to the network as one of level t − 1 → t",
            "CompVis/stable-diffusion!533", "sample.reverse_path", "value", _sampler(asked=lambda t: t - 1 if t > 1 else t)),
    Mistake("NEW-EDGEb", "network asked for the last step too → the forward kernel at β_1",
            "eq. 44 overlooked", "sample.reverse_path", "value", _sampler(fixed=0)),
    Mistake("REV-25", "x_1 returned as x_0 → one fixed step more",
            "ORIG sampler.py", "sample.sample", "value",
            lambda right: lambda *args, end="x_1", **fixed: right(*args, end=end, **fixed)),
    Mistake("SHP-04", "states in the integer type of the data → float64",
            "lucidrains/imagen-pytorch@1e15940", "sample.forward_path", "value", _in_the_type_of_the_data),
    Mistake("RNG-08b", "one noise for all steps of the chain → a new one each",
            "huggingface/diffusers!13677", "sample.forward_path", "value",
            lambda right: lambda beta, x_0, *, noise, kernel: right(
                beta, x_0, noise=np.broadcast_to(noise[0], noise.shape), kernel=kernel)),
)


# -- optimisers --------------------------------------------------------------------------------------------------------

def _adam(parameters: Any, gradient: Any, state: Moments, *, rate: float, decay_1: float = 0.9, decay_2: float = 0.999,
          epsilon: float = 1e-8, unbias: bool = True, inside: bool = False) -> tuple[Any, Moments]:
    k = state.steps + 1
    mean = tree_map(lambda m, g: decay_1 * m + (1 - decay_1) * g, state.mean, gradient)
    square = tree_map(lambda s, g: decay_2 * s + (1 - decay_2) * g * g, state.square, gradient)
    one, two = (1 - decay_1 ** k, 1 - decay_2 ** k) if unbias else (1.0, 1.0)

    def update(x: Array, m: Array, s: Array) -> Array:
        root = np.sqrt(s / two + epsilon) if inside else np.sqrt(s / two) + epsilon
        return x - rate * m / one / root

    return tree_map(update, parameters, mean, square), Moments(k, mean, square)


def _rmsprop(parameters: Any, gradient: Any, state: MeanSquare, *, rate: float, decay: float = 0.9, floor: float = 1e-10
             ) -> tuple[Any, MeanSquare]:
    square = tree_map(lambda s, g: decay * s + (1 - decay) * g * g, state.square, gradient)
    return tree_map(lambda x, g, s: x - rate * g / np.maximum(s, floor), parameters, gradient, square), MeanSquare(square)


USE = (
    Mistake("NEW-MOMENTUM", "v ← g − momentum·v → g + momentum·v",
            "sign of the velocity", "optimize.sgd", "value",
            lambda right: lambda x, g, state, **fixed: right(x, g, Momentum(tree_map(np.negative, state.velocity)), **fixed)),
    Mistake("NEW-RMS", "gradient divided by its mean square → by the root of it",
            "as GRD-08, in an optimiser", "optimize.rmsprop", "value", instead(_rmsprop)),
    Mistake("NEW-ADAM", "averages that start at 0 not corrected → divided by 1 − decayᵏ",
            "Kingma and Ba 2015, sec. 3", "optimize.adam", "value",
            instead(lambda *args, **fixed: _adam(*args, unbias=False, **fixed))),
    Mistake("NEW-EPSILON", "√(ŝ + ε) → √ŝ + ε",
            "as LAY-08, in an optimiser", "optimize.adam", "value",
            instead(lambda *args, **fixed: _adam(*args, inside=True, **fixed))),
    Mistake("NEW-FLATTEN", "matrices flattened by columns, read back by rows → both by rows",
            "as LAY-22", "optimize.flatten", "value", lambda right: lambda tree: right(tree_map(np.transpose, tree))),
)
