"""Mistakes in what came after the paper, step by step: parametrisations, variances, the bound in bits."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm import gaussian
from refdpm.conformance.planting import Mistake, Plant, instead, then, value_then
from refdpm.gaussian import Gaussian
from refdpm.vjp import Array

# Not yet plantable: GRD-02 needs a hybrid loss, in which the divergence trains the variance alone.

_RANGED = "huggingface/diffusers@ecadcde"


# -- parametrisations and variances --------------------------------------------------------------------------------------

def _named(change: Callable[[str], str]) -> Plant:
    """A function told another name of what the network predicts."""
    return lambda right: lambda value, x_t, step, *, predicts: right(value, x_t, step, predicts=change(predicts))


def _share_by_precedence(noise: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> Array:
    w = 1 - np.exp(log_alpha_bar_prev) * (1 - beta)
    return (x_t - (1 - (1 - beta) / np.sqrt(w)) * noise) / np.sqrt(1 - beta)


def weight(change: Callable[[Array, str, Array, Array], Array]) -> Plant:
    """A weight changed by change(value, predicts, beta, level)."""
    def plant(right: Callable[..., Array]) -> Callable[..., Array]:
        return lambda beta, level, *, predicts: change(right(beta, level, predicts=predicts), predicts, beta, level)
    return plant


STEPS = (
    Mistake("FWD-08", "√ᾱ x_t − √(1−ᾱ) ε → (x_t − √(1−ᾱ) ε)/√ᾱ",
            "lucidrains/imagen-pytorch@5f45ca0", "later.parametrisation.x_0_from_noise", "value",
            instead(lambda noise, x_t, level: np.exp(level / 2) * x_t - np.sqrt(-np.expm1(level)) * noise)),
    Mistake("FWD-10", "a network's x_0 taken for noise → for x_0",
            "huggingface/diffusers@c812d97", "later.mean.mean_from_vjp", "value",
            _named(lambda name: "noise" if name == "x_0" else name)),
    Mistake("FWD-10b", "every prediction turned into x_0 as if it were noise → by its own name",
            "Project-MONAI/GenerativeModels@9e95e54", "later.mean.x_0_from_vjp", "value", _named(lambda name: "noise")),
    Mistake("NEW-V-TARGET", "target of a v-network is the noise → √ᾱ ε − √(1−ᾱ) x_0",
            "FWD-10 on the side of training", "later.mean.from_x_0_vjp", "value",
            _named(lambda name: "noise" if name == "v" else name)),
    Mistake("REV-17b", "a network's x_0 used as the mean of the reverse step → c_0 x_0 + c_t x_t",
            "youngunghan/Deep-Unsupervised-…-Thermodynamics known-issues D2", "later.mean.mean_from_x_0_vjp", "value",
            lambda right: lambda x_0, *rest: (x_0, right(x_0, *rest)[1])),
    Mistake("REV-01", "1 − α/√(1−ᾱ) → (1 − α)/√(1−ᾱ), a matter of brackets",
            "gmongaras/Diffusion_models_from_scratch@41dae90", "later.mean.mean_from_noise", "value",
            instead(_share_by_precedence)),
    Mistake("NEW-V-SIGN", "v = √(1−ᾱ) x_0 − √ᾱ ε → √ᾱ ε − √(1−ᾱ) x_0",
            "x_t differentiated by the angle, the wrong way round", "later.parametrisation.v_from_x_0", "value",
            then(lambda v: -v)),
    Mistake("NEW-V-SIGNb", "x_0 = √ᾱ x_t + √(1−ᾱ) v → minus",
            "as NEW-V-SIGN", "later.parametrisation.x_0_from_v", "value", lambda right: lambda v, *rest: right(-v, *rest)),
    Mistake("NEW-V-MEAN", "v's share of the mean √a β v/w → √a β v/√w",
            "c_0 v without the √w of x_0 from v", "later.mean.mean_from_v", "value",
            lambda right: lambda v, x, beta, level: right(v / np.sqrt(1 - np.exp(level) * (1 - beta)), x, beta, level)),
    Mistake("NEW-SCORE", "score −ε → −ε/√(1−ᾱ)",
            "a noise network called a score network", "later.parametrisation.score_from_x_0", "value",
            lambda right: lambda x_0, x_t, level: right(x_0, x_t, level) * np.sqrt(-np.expm1(level))),
    Mistake("NEW-SCOREb", "x_t + √(1−ᾱ) score → x_t + (1−ᾱ) score",
            "σ for σ² in Tweedie's formula", "later.parametrisation.x_0_from_score", "value",
            lambda right: lambda score, x, level: right(score / np.sqrt(-np.expm1(level)), x, level)),
    Mistake("NEW-SCORE-MEAN", "x_t + ½ β score → x_t + β score",
            "the drift of the probability flow", "later.mean.mean_from_score", "value",
            lambda right: lambda score, x, beta: right(score / 2, x, beta)),
    Mistake("NEW-EPS", "noise (x_t − x_0)/√(1−ᾱ) → (x_t − √ᾱ x_0)/√(1−ᾱ)",
            "FWD-07 for the target", "later.parametrisation.noise_from_x_0", "value",
            lambda right: lambda x_0, x_t, level: right(x_0 * np.exp(-level / 2), x_t, level)),
    Mistake("NEW-MEAN-BACK", "x_0 from the mean as mean/c_0 → (mean − c_t x_t)/c_0",
            "the part of x_t forgotten", "later.mean.x_0_from_mean", "value",
            lambda right: lambda mean, x, *rest: right(mean, 0 * x, *rest)),
    Mistake("NEW-SNR", "√ᾱ/√(1−ᾱ) → ᾱ/(1−ᾱ)",
            "a ratio of deviations", "later.weights.snr", "value", then(np.sqrt)),
    Mistake("NEW-SIMPLE", "noise weighed by 1 → by SNR_{t−1}/SNR_t − 1",
            "the simple loss reported as a bound", "later.weights.kl_weight", "value",
            weight(lambda value, name, beta, level: np.ones_like(value) if name == "noise" else value)),
    Mistake("NEW-WEIGHT", "errors of x_0 and noise weighed alike → by SNR",
            "a loss of x_0 with the weights of noise", "later.weights.error_weight", "value",
            weight(lambda value, name, beta, level: np.ones_like(value) if name == "noise" else value)),
    Mistake("NEW-HALF", "(SNR_{t−1} − SNR_t) |x_0 − x̂_0|² → half of it",
            "BND-16 in the form of SNR", "later.weights.kl_of_x_0_vjp", "value", value_then(lambda kl: 2 * kl)),
    Mistake("POS-05b", "β̃ without division by 1 − ᾱ_t → with it",
            "varun-ml/diffusion-models-tutorial!1", "later.variance.small", "value",
            instead(lambda beta, level: -beta * np.expm1(level))),
    Mistake("NEW-STEP-VAR", "β̃ drawn with as a deviation → √β̃",
            "NEW-DRAW in the reverse step", "later.variance.small", "value", then(np.square)),
    Mistake("POS-10", "learned range: variances averaged → their logarithms",
            _RANGED, "later.variance.ranged", "value",
            instead(lambda head, beta, small: (1 + head) / 2 * beta + (1 - head) / 2 * small)),
    Mistake("NEW-RANGE", "head taken for the share itself, −1 … 1 → (1 + head)/2",
            "openai/improved-diffusion has the ½", "later.variance.ranged", "value",
            lambda right: lambda head, beta, small: right(2 * head - 1, beta, small)),
    Mistake("NEW-FIRST", "a floor of 1e-20 at t = 1 under every name → under 'floor'",
            "hojonathanho/diffusion, before improved-diffusion", "later.variance.first", "value",
            instead(lambda beta, *, policy: np.full(1, 1e-20))),
    Mistake("NEW-SWAP", "β̃ where β is named, and the other way round → as named",
            "fixed small and fixed large", "later.variance.read_out_vjp", "value",
            lambda right: lambda *args, predicts, variance: right(
                *args, predicts=predicts, variance={"small": "large", "large": "small"}.get(variance, variance))),
    Mistake("NEW-AS", "network told t − 1 → t",
            "an index from 0 for a step from 1", "later.model.as_network", "value",
            lambda right: lambda model: SimpleNamespace(
                reverse=lambda *args, t: right(model).reverse(*args, t=t - 1),
                reverse_vjp=lambda *args, t: right(model).reverse_vjp(*args, t=t - 1))),
    Mistake("NEW-EDGE-ASKED", "network asked at t = 1 where the forward kernel is named → the forward kernel",
            "eq. 44 left out", "later.model.last_step_vjp", "value",
            lambda right: lambda *args, t, model: right(
                *args, t=t, model=model._replace(first="beta" if model.first == "fixed" else model.first))),
)


# -- the decoder and the bound -----------------------------------------------------------------------------------------

OBJECTIVE = (
    Mistake("BND-19c", "mean over components in the decoder, sum in the divergence → sums in both",
            "keras-team/keras!3383", "later.objective.decoder_vjp", "value",
            lambda right: lambda *args, k, **fixed: (right(*args, k=k, **fixed)[0] / k[0].size, None)),
    Mistake("BND-20b", "no decoder → with −log P(x_0 | x_1)",
            "Weixy21/SafeDiffuser#9", "later.objective.assemble", "value",
            lambda right: lambda terms, *, T: right(terms, T=T) - terms.decoder),
    Mistake("NEW-NO-PRIOR", "no prior term, as it does not depend on the network → with KL(q(x_T | x_0) ‖ π)",
            "as BND-32", "later.objective.assemble", "value",
            lambda right: lambda terms, *, T: right(terms, T=T) - terms.prior),
    Mistake("BND-05b", "KL of drawn steps averaged → times T − 1",
            "cvignac/DiGress@b36d99f", "later.objective.assemble", "value", lambda right: lambda terms, *, T: right(terms, T=2)),
    Mistake("BND-25d", "nats called bits → divided by log 2",
            "horenbergerb/BernoulliDiffusion@8192d6a", "later.objective.per_dimension", "value",
            lambda right: lambda nats, *, k: right(nats, k=k) * np.log(2)),
    Mistake("FWD-05b", "prior term with log-variance √(1−ᾱ) → log(1−ᾱ)",
            "tqch/ddpm-torch#9", "later.objective.prior_kl", "value",
            instead(lambda x, level: gaussian.kl(
                Gaussian(np.exp(level / 2) * x, np.exp(np.sqrt(-np.expm1(level)))), gaussian.prior(x.shape)))),
    Mistake("NEW-PRIOR", "prior term H(π) − H(x_T | x_0) → with the cross-entropy of π",
            "the step of eqs. 43 and 46, right for second moment 1 only", "later.objective.prior_kl", "value",
            instead(lambda x, level: 0 * x - np.log(-np.expm1(level)) / 2)),
    Mistake("NEW-EDGE-H", "edge −H(x_1 | x_0) → with β_1 (x_0² − 1)/2",
            "as NEW-PRIOR, at the other end", "later.objective.edge", "value",
            instead(lambda x, beta: 0 * x - (np.log(2 * np.pi * beta) + 1) / 2)),
    Mistake("NEW-TERMS", "x_t in the bound from the noise of x_1 → from its own",
            "RNG-08 between steps", "later.objective.terms_vjp", "value",
            lambda right: lambda *args, noise, noise_1, **fixed: right(
                *args, noise=np.broadcast_to(noise_1, noise.shape), noise_1=noise_1, **fixed)),
)

MISTAKES = STEPS + OBJECTIVE
