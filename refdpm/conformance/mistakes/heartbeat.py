"""Mistakes in the read-outs of bits and in the heartbeat's network, and in their pullbacks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import binomial
from refdpm.activation import logit, sigmoid, softplus
from refdpm.binomial import Bernoulli
from refdpm.conformance.mistakes.planting import Mistake, Plant, instead, pullback_then, pulled_by, then, zero
from refdpm.layers.linear import Affine
from refdpm.networks.heartbeat import Heartbeat
from refdpm.schedule import Step
from refdpm.vjp import Array

_SPEC = "the table prints ½, the experiment has 0.2"
_UNIT = "horenbergerb/BernoulliDiffusion@"

Denoising = Callable[[Array, Array, Array, Array, float], Bernoulli]


def _denoising(law: Denoising) -> Plant:
    """Another law(z, x_t, β, ℓ_{t−1}, r) of the step."""
    return instead(lambda z, x_t, beta, log_alpha_bar_prev, *, rate=0.5: law(z, x_t, beta, log_alpha_bar_prev, rate))


def _after(beta: Array, level: Array) -> Array:
    """ℓ_t from ℓ_{t−1}."""
    return level + np.log1p(-np.minimum(beta, 1 - 1e-12))


def _of_x_0(z: Array, x_t: Array, beta: Array, level: Array, rate: float) -> Array:
    """P(x_0 = 1 | x_t)."""
    return sigmoid(binomial.marginal(x_t, _after(beta, level), rate=rate).logit + z)


def _posterior(x_0: Callable[[Array], Array]) -> Plant:
    """The posterior at one x_0, made of P(x_0 = 1 | x_t)."""
    return _denoising(lambda z, x_t, beta, level, rate: binomial.posterior(
        x_t, x_0(_of_x_0(z, x_t, beta, level, rate)), beta, level, rate=rate))


def _unseen(z: Array, x_t: Array, beta: Array, level: Array, rate: float) -> Bernoulli:
    return binomial.marginal(_of_x_0(z, x_t, beta, level, rate), level, rate=rate)


def _by_probabilities(z: Array, x_t: Array, beta: Array, level: Array, rate: float) -> Bernoulli:
    one = _of_x_0(z, x_t, beta, level, rate)
    p = [binomial.posterior(x_t, k + 0 * x_t, beta, level, rate=rate).prob for k in (0, 1)]
    return Bernoulli(logit(np.clip((1 - one) * p[0] + one * p[1], 1e-10, 1 - 1e-7)))


READOUTS = (
    Mistake("NEW-PLUG", "P(x_0 | x_t) in the place of x_0 in the posterior → the posterior averaged over x_0",
            "normalised after the average instead of before; x_t counts twice", "networks.bit_readout.denoising", "value",
            _posterior(lambda p: p)),
    Mistake("NEW-ARGMAX", "the likelier x_0 taken for certain → both, weighted",
            "the average ignored", "networks.bit_readout.denoising", "value", _posterior(lambda p: (p > 0.5).astype(float))),
    Mistake("DIS-11", "q(x_{t−1} | x̂_0) without x_t's evidence → times q(x_t | x_{t−1})",
            "ehoogeboom/multinomial_diffusion#7", "networks.bit_readout.denoising", "value", _denoising(_unseen)),
    Mistake("NEW-LEVEL-X0", "x̂_0 mixed at ᾱ_t → at ᾱ_{t−1}",
            "an index, as in SCH-01", "networks.bit_readout.denoising", "value",
            lambda right: lambda z, x_t, beta, log_alpha_bar_prev, *, rate=0.5: right(
                z, x_t, beta, _after(beta, log_alpha_bar_prev), rate=rate)),
    Mistake("NEW-PRIOR-X0", "sigmoid(z) for x̂_0 → sigmoid(logit r + z)",
            _SPEC, "networks.bit_readout.denoising", "value",
            lambda right: lambda z, x_t, beta, log_alpha_bar_prev, *, rate=0.5: right(
                z - logit(np.asarray(rate)), x_t, beta, log_alpha_bar_prev, rate=rate)),
    Mistake("NEW-RATEe", "denoising in the chain with rate ½ → with the rate of π",
            _SPEC, "networks.bit_readout.denoising", "value", lambda right: lambda *args, rate=0.5: right(*args)),
    Mistake("DIS-04b", "averaged probabilities cut off at 1e-10 and 1 − 1e-7 → logits, cut off nowhere",
            _UNIT + "3d1f72a", "networks.bit_readout.denoising", "value", _denoising(_by_probabilities)),
    Mistake("NEW-SKIP", "z alone → added to the forward kernel's logit",
            "the literal f_b", "networks.bit_readout.skip", "value", instead(lambda z, x_t, beta, *, rate=0.5: Bernoulli(z))),
    Mistake("NEW-SKIP-SIGN", "z subtracted from the forward kernel's logit → added",
            "a sign", "networks.bit_readout.skip", "value",
            lambda right: lambda z, x_t, beta, *, rate=0.5: right(-z, x_t, beta, rate=rate)),
    Mistake("NEW-RATEf", "skip over the kernel with rate ½ → with the rate of π",
            _SPEC, "networks.bit_readout.skip", "value", lambda right: lambda *args, rate=0.5: right(*args)),
    Mistake("NEW-SKIP-STATE", "skip by β(2x − 1) → by the kernel's log odds",
            "a hand-made skip, as in " + _UNIT + "HEAD", "networks.bit_readout.skip", "value",
            instead(lambda z, x_t, beta, *, rate=0.5: Bernoulli((2 * x_t - 1) * (1 - beta) + z))),
    Mistake("DIS-10b", "log sigmoid(z) taken for the logit → z",
            "cloneofsimo/d3pm#7", "networks.bit_readout.paper", "value", instead(lambda z: Bernoulli(-softplus(-z)))),
    Mistake("NEW-FLIP-Z", "f_b the probability of a flip → of a one",
            "the name in the paper's §2.2", "networks.bit_readout.paper", "value", instead(lambda z: Bernoulli(-z))),
)


# -- the network -------------------------------------------------------------------------------------------------------

Change = Callable[[Heartbeat, Array, Step, Array], tuple[Heartbeat, Array, Step, Array]]


def _asked(change: Change) -> Plant:
    """The right network asked for something else; for the value and for its adjoint alike."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def reverse_vjp(parameters: Heartbeat, x_t: Array, step: Step, *, t: Array, **named: Any) -> Any:
            parameters, x_t, step, t = change(parameters, x_t, step, t)
            return right(parameters, x_t, step, t=t, **named)
        return reverse_vjp
    return plant


def _before(t: Array) -> Array:
    return np.maximum(t - 1, 2)


def _unscaled(right: Callable[..., Any]) -> Callable[..., Any]:
    """The first layer's weights and bias changed so that it sees the bits themselves."""
    def reverse_vjp(parameters: Heartbeat, x_t: Array, step: Step, *, t: Array, rate: float = 0.2, **named: Any) -> Any:
        (weight, bias), *others = parameters.hidden
        deviation = np.sqrt(rate * (1 - rate))
        first = Affine(deviation * weight, bias + rate * weight.sum(axis=0))
        return right(parameters._replace(hidden=(first, *others)), x_t, step, t=t, rate=rate, **named)
    return reverse_vjp


NETWORK = (
    Mistake("NEW-HEAD-T", "read-out of step t − 1 at step t → of t",
            "code index t − 1, PAPER §6 item 6", "networks.heartbeat.reverse_vjp", "value",
            _asked(lambda parameters, x_t, step, t: (parameters, x_t, step, _before(t)))),
    Mistake("SHP-08b", "one t for all rows → each row's own",
            "youngunghan/Deep-Unsupervised-…@fa1712e", "networks.heartbeat.reverse_vjp", "value",
            _asked(lambda parameters, x_t, step, t: (parameters, x_t, step, np.full_like(t, t[0])))),
    Mistake("DIS-17", "bits as ±1 for the layers, in training only → the same bits everywhere",
            "Edward-Sun/DIFUSCO#17", "networks.heartbeat.reverse_vjp", "value",
            _asked(lambda parameters, x_t, step, t: (parameters, 2 * x_t - 1, step, t))),
    Mistake("NEW-STANDARD", "bits as they are → standardised with their moments under π",
            "a scale of training forgotten", "networks.heartbeat.reverse_vjp", "value", _unscaled),
    Mistake("NEW-BIAS-TANH", "hidden layers without biases → with them",
            "a layer built with bias off", "networks.heartbeat.reverse_vjp", "value",
            _asked(lambda parameters, x_t, step, t: (parameters._replace(hidden=tuple(
                Affine(weight, 0 * bias) for weight, bias in parameters.hidden)), x_t, step, t))),
    Mistake("NEW-INIT", "hidden weights of variance 1/out → 1/in",
            "fan-out for fan-in", "networks.heartbeat.init", "value",
            then(lambda start: start._replace(hidden=tuple(
                Affine(weight * np.sqrt(weight.shape[0] / weight.shape[1]), bias) for weight, bias in start.hidden)))),
    Mistake("NEW-INIT-LAST", "last layer random → zero, so that training starts from the forward kernel",
            "PAPER §6 item 13", "networks.heartbeat.init", "value",
            then(lambda start: start._replace(bias=start.bias + 0.1))),
)


# -- pullbacks ---------------------------------------------------------------------------------------------------------

PULLBACKS = (
    Mistake("GRD-01j", "denoising's x_t detached → differentiated",
            "GRD-01c for bits", "networks.bit_readout.denoising_vjp", "gradient",
            pullback_then(lambda d: (d[0], zero(d[1]), *d[2:]))),
    Mistake("GRD-01k", "denoising's ᾱ_{t−1} detached → differentiated",
            "GRD-01b for bits", "networks.bit_readout.denoising_vjp", "gradient", pullback_then(lambda d: (*d[:3], zero(d[3])))),
    Mistake("NEW-DHEAD", "dlogit taken for dz, as with the skip → through x̂ and the posterior",
            "the other read-out's gradient", "networks.bit_readout.denoising_vjp", "gradient",
            lambda right: lambda *args, **fixed: _first(lambda dp: dp.logit, *right(*args, **fixed))),
    Mistake("GRD-01l", "skip's β detached → differentiated",
            "GRD-01b for bits", "networks.bit_readout.skip_vjp", "gradient", pullback_then(lambda d: (*d[:2], zero(d[2])))),
    Mistake("NEW-DPAPER", "dlogit times p(1−p) → dlogit",
            "the gradient by the probability", "networks.bit_readout.paper_vjp", "gradient",
            pulled_by(lambda dp, z: dp.logit * sigmoid(z) * sigmoid(-z))),
    Mistake("NEW-DNAMED", "ℓ_{t−1}'s cotangent handed to ℓ_t → to ℓ_{t−1}",
            "an index, as in SCH-01", "networks.bit_readout.read_out_vjp", "gradient",
            pullback_then(lambda d: (*d[:2], Step(d[2].beta, d[2].log_alpha_bar, d[2].log_alpha_bar_prev)))),
    Mistake("GRD-01m", "network's x_t detached from the skip → both paths",
            "one of two cotangents lost", "networks.heartbeat.reverse_vjp", "gradient",
            lambda right: lambda parameters, x_t, step, **named: _without_layers(right, parameters, x_t, step, **named)),
    Mistake("NEW-DBIAS", "biases of the last layer without a gradient → with one",
            "a parameter left out of the list", "networks.heartbeat.reverse_vjp", "gradient",
            pullback_then(lambda d: (d[0]._replace(bias=zero(d[0].bias)), *d[1:]))),
)


def _first(change: Callable[[Bernoulli], Array], value: Bernoulli, pullback: Callable[..., Any]) -> Any:
    return value, lambda dp: (change(dp), *pullback(dp)[1:])


def _without_layers(right: Callable[..., Any], parameters: Heartbeat, x_t: Array, step: Step, **named: Any) -> Any:
    """The cotangent of x_t of a network whose layers do not see it."""
    value, pullback = right(parameters, x_t, step, **named)
    blind = parameters._replace(hidden=(Affine(0 * parameters.hidden[0].weight, parameters.hidden[0].bias), *parameters.hidden[1:]))
    _, pullback_blind = right(blind, x_t, step, **named)
    return value, lambda dp: (pullback(dp)[0], pullback_blind(dp)[1], pullback(dp)[2])


MISTAKES = READOUTS + NETWORK + PULLBACKS
