"""Mistakes in layers, read-outs, the network, sampling and optimisers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refdpm import schedule
from refdpm.conformance.mistakes.planting import Mistake, Plant, instead, then
from refdpm.gaussian import Gaussian
from refdpm.networks.readout import Heads
from refdpm.optimize import MeanSquare, Moments, Momentum
from refdpm.vjp import Array, tree_map

# Not yet plantable: LAY-05 needs attention; TRN-01, TRN-02, TRN-04 a time embedding.
# Not yet plantable: SHP-10 needs t with two axes.


def _rbf(exponents: Callable[[Array, Array, Array], Array], *, axis: int = 1, shift: bool = True, plus: float = 0,
         mass: Callable[[Array], Any] = lambda log_width: 1) -> Plant:
    """A radial basis with other exponents(x − c by coordinate, |x − c|², w²), normalised in another way."""
    def rbf(x: Array, centre: Array, log_width: Array) -> Array:
        offset = x[:, None, :] - centre
        s = exponents(offset, (offset ** 2).sum(axis=2), np.exp(2 * log_width))
        g = mass(log_width) * np.exp(s - (s.max(axis=1, keepdims=True) if shift else 0))
        return g / (g.sum(axis=axis, keepdims=True) + plus)
    return instead(rbf)


def _bell(offset: Array, square: Array, width_squared: Array) -> Array:
    return -square / (2 * width_squared)


def _unsquared(x: Array, centre: Array, log_width: Array) -> Array:
    s = -(x[:, None, :] - centre ** 2).sum(axis=2) / (2 * np.exp(2 * log_width))
    g = np.exp(s - s.max(axis=1, keepdims=True))
    return g / g.sum(axis=1, keepdims=True)


def _heads(change: Callable[[Heads], Heads]) -> Plant:
    """The network's outputs changed before they are read out."""
    return lambda right: lambda heads, *args, **fixed: right(change(heads), *args, **fixed)


def _interleaved(heads: Heads) -> Heads:
    z = np.concatenate(heads, axis=1)
    return Heads(z[:, 0::2], z[:, 1::2])


LAYERS = (
    Mistake("LAY-25", "exponent x − c² → (x − c)²",
            "pyro-ppl/numpyro!1435", "layers.rbf.rbf", "value", instead(_unsquared)),
    Mistake("LAY-26", "distance not squared → squared",
            "dwavesystems/dwave-pytorch-plugin#79", "layers.rbf.rbf", "value",
            _rbf(lambda offset, square, width_squared: -np.sqrt(square) / (2 * width_squared))),
    Mistake("LAY-28", "bumps also divided by their own width → normalised by their sum alone",
            "metric-space/diffusion-probabilistic-models-JAX@a216435", "layers.rbf.rbf", "value",
            _rbf(_bell, mass=lambda log_width: np.exp(-log_width))),
    Mistake("LAY-32", "normaliser + 1e-5 → the sum of the bumps",
            "youngunghan/Deep-Unsupervised-…@fa1712e", "layers.rbf.rbf", "value", _rbf(_bell, plus=1e-5)),
    Mistake("LAY-04", "softmax over the wrong axis → over the units",
            "labmlai/annotated_deep_learning_paper_implementations#146", "layers.rbf.rbf", "value", _rbf(_bell, axis=0)),
    Mistake("NEW-FAR", "softmax without subtracting the maximum: 0/0 far away → with",
            "softmax as it is printed", "layers.rbf.rbf", "value", _rbf(_bell, shift=False)),
    Mistake("SHP-08", "vector of t makes a multi-hot row: every example sees a mixture of steps → its own",
            "youngunghan/Deep-Unsupervised-…@fa1712e networks/dpm.py", "layers.linear.per_step", "value",
            instead(lambda x, weight, bias, *, t: x @ weight[np.unique(t)].mean(axis=0) + bias[np.unique(t)].mean(axis=0))),
    Mistake("TRN-05", "index t − 1 of a loop given where t is meant → t",
            "gmongaras/Diffusion_models_from_scratch@cb4fd62", "layers.linear.per_step", "value",
            lambda right: lambda x, weight, bias, *, t: right(x, weight, bias, t=t - 1)),
    Mistake("NEW-TANH", "2/(1 + e^−x) − 1, which is tanh of x/2 → 2/(1 + e^−2x) − 1",
            "a hyperbolic tangent made of a sigmoid", "activation.tanh", "value",
            lambda right: lambda x: right(x / 2)),
    Mistake("TRN-08", "leaky ReLU with slope 0.01 → 0.05, as released",
            "ORIG, notes in its code", "activation.leaky_relu", "value",
            lambda right: lambda x, *, slope=0.01: right(x, slope=slope)),
    Mistake("NEW-BIAS", "bias of the first output for all → each its own",
            "broadcast of one row", "layers.linear.linear", "value",
            lambda right: lambda x, weight, bias: right(x, weight, bias[:1])),
    Mistake("NEW-65", "mean (x − z)(1 − var) + z, as printed → √(1 − var)",
            "the paper's eq. 65", "networks.readout.eq65", "value",
            lambda right: lambda heads, x_t, beta: _eq65_as_printed(right(heads, x_t, beta), heads, x_t)),
    Mistake("BND-11b", "deviation returned as a variance → variance",
            "hwlee11/Example_diffusion_probabilistic_models@07942cd", "networks.readout.released", "value",
            then(lambda p: Gaussian(p.mean, np.sqrt(p.var)))),
    Mistake("REV-17", "prediction of x_0 used as the mean of x_{t−1} → passed through the posterior",
            "youngunghan/Deep-Unsupervised-…@fa1712e known-issues D2", "networks.readout.denoising", "value",
            lambda right: lambda heads, x_t, beta, level: right(heads, x_t, beta, level)._replace(
                mean=np.sqrt((1 - beta) * np.exp(level)) * x_t + heads.mean)),
    Mistake("NEW-SPREAD", "posterior variance alone → plus what not knowing x_0 adds",
            "law of total variance overlooked", "networks.readout.denoising", "value",
            lambda right: lambda heads, *args: right(Heads(heads.mean, heads.var - 1e3), *args)),
    Mistake("LAY-31", "ReLU left after the last layer → none",
            "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8", "networks.readout.read_out_vjp", "value",
            _heads(lambda heads: Heads(*(np.maximum(z, 0) for z in heads)))),
    Mistake("SHP-11", "outputs of mean and variance interleaved → one half each",
            "derived from ORIG temporal_readout", "networks.readout.read_out_vjp", "value", _heads(_interleaved)),
    Mistake("NEW-WIDTH", "width stored where its logarithm is meant → the logarithm",
            "as BND-11, for a scale", "networks.swiss_roll.init", "value",
            then(lambda start: start._replace(log_width=np.exp(start.log_width)))),
)


def _eq65_as_printed(p: Gaussian, heads: Heads, x_t: Array) -> Gaussian:
    return Gaussian((x_t - heads.mean) * (1 - p.var) + heads.mean, p.var)


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

MISTAKES = LAYERS + SAMPLING + USE
