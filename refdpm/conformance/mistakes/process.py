"""Mistakes in schedules, in the Gaussian kernel, in its divergences and draws."""

from collections.abc import Callable

import numpy as np

from refdpm.conformance.planting import Mistake, Plant, instead, then
from refdpm.gaussian import Gaussian
from refdpm.schedule import Step
from refdpm.vjp import Array

# Not yet plantable: SCH-23 needs a corrected sampler.
# Not yet plantable: SCH-20 needs a σ beyond 1.
# Not yet plantable: POS-01 needs a clipped x_0; SCH-13, FWD-11 a run.


def _cosine(T: int, *, offset: float = 0.008, cap: float = 0.999) -> Array:
    alpha_bar = np.cos(np.pi / 2 * (np.arange(T + 1) / T + offset) / (1 + offset)) ** 2
    alpha_bar[0] = 1
    return np.append(0.0, np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], cap))


def _shifting_t(right: Callable[..., Step]) -> Callable[..., Step]:
    def step(beta: Array, log_alpha_bar: Array, *, t: Array, ndim: int) -> Step:
        value = right(beta, log_alpha_bar, t=t, ndim=ndim)
        t -= 1
        return value
    return step


SCHEDULES = (
    Mistake("SCH-01", "table of ᾱ_{t−1} padded on the right, so that it holds ᾱ_t → 1 in front",
            "lucidrains/denoising-diffusion-pytorch#18", "schedule.step", "value",
            then(lambda step: Step(step.beta, step.log_alpha_bar, step.log_alpha_bar))),
    Mistake("SCH-02", "ᾱ_{t−1} at t = 1 is the first entry of the table, ᾱ_1 → 1",
            "CompVis/stable-diffusion@21f890f", "schedule.step", "value",
            lambda right: lambda beta, level, *, t, ndim: right(beta, np.append(level[1], level[1:]), t=t, ndim=ndim)),
    Mistake("SCH-04", "cosine ᾱ_t = f(t) → f(t)/f(0): β_1 five times too large",
            "Michedev/DDPMs-Pytorch@26ba864", "schedule.cosine", "value", lambda right: lambda T, **fixed: _cosine(T, **fixed)),
    Mistake("SCH-05", "cosine offset 0.0008 → 0.008",
            "Michedev/DDPMs-Pytorch@7fb5203", "schedule.cosine", "value",
            lambda right: lambda T, *, offset=0.008, cap=0.999: right(T, offset=offset / 10, cap=cap)),
    Mistake("SCH-07", "cosine not cut off, so that β_T is 1 → cut off at 0.999",
            "Burak599/NumPy-Diffusion@71f6e20", "schedule.cosine", "value",
            lambda right: lambda T, *, offset=0.008, cap=0.999: right(T, offset=offset, cap=1 - 1e-12)),
    Mistake("SCH-08", "learned schedule normalised by f(0) − f(1): it runs backwards → a larger parameter is a larger rate",
            "lucidrains/denoising-diffusion-pytorch@a19331a", "schedule.learned", "value",
            lambda right: lambda logit_beta, *, beta_1: right(-logit_beta, beta_1=beta_1)),
    Mistake("SCH-10", "perturbation added to β inside the sigmoid → to logit β",
            "metric-space/diffusion-probabilistic-models-JAX@a216435", "schedule.logits_of", "value",
            instead(lambda beta: beta[2:])),
    Mistake("SCH-14", "ᾱ = ∏ β → ∏ (1 − β)",
            "LuChengTHU/dpm-solver#13", "schedule.log_alpha_bar", "value",
            instead(lambda beta: np.concatenate([[0.0], np.cumsum(np.log(beta[1:]))]))),
    Mistake("SCH-17", "spaced steps never reach the last → they end there",
            "openai/improved-diffusion#44; as REV-08, DavidRuhe/simple-variational-diffusion-models@4a25952",
            "schedule.linear", "value",
            instead(lambda T, *, beta_1, beta_T: np.append(0.0, np.linspace(beta_1, beta_T, T, endpoint=False)))),
    Mistake("NEW-GEOMETRIC", "exponent t/T, so that no step has the rate β_1 → (t − 1)/(T − 1)",
            "an index, as in SCH-17", "schedule.geometric", "value",
            instead(lambda T, *, beta_1, beta_T: np.append(0.0, beta_1 * (beta_T / beta_1) ** (np.arange(1, T + 1) / T)))),
    Mistake("SCH-22", "step size 1/1000 whatever T → 1/T",
            "microsoft/mattergen#79", "schedule.cosine", "value",
            lambda right: lambda T, **fixed: right(1000, **fixed)[:T + 1]),
    Mistake("SCH-25", "β from 1/linspace(T, 2), which stops at β_T = ½ → 1/(T − t + 1)",
            "ORIG generate_beta_arr", "schedule.reciprocal", "value",
            instead(lambda T: np.append(0.0, 1 / np.linspace(T, 2, T)))),
    Mistake("SCH-26", "smallest rate added to β_1 → β_1 as configured",
            "ORIG generate_beta_arr", "schedule.learned", "value",
            then(lambda beta: beta + 1e-6 * (np.arange(len(beta)) == 1))),
    Mistake("REV-07", "∏ (1 − β) over s < t, without its own factor → s ≤ t",
            "gmongaras/Diffusion_models_from_scratch@65ebc69", "schedule.log_alpha_bar", "value",
            then(lambda level: np.append(0.0, level[:-1]))),
    Mistake("REV-22", "ᾱ_0 = 0.999 written down → 1",
            "gmongaras/Diffusion_models_from_scratch@99617c6", "schedule.log_alpha_bar", "value",
            then(lambda level: np.append(np.log(0.999), level[1:]))),
    Mistake("POS-07", "index t − 1 = −1 of a table that starts at ᾱ_1 wraps to ᾱ_T at the first step → ᾱ_0 = 1",
            "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8", "schedule.step", "value",
            lambda right: lambda beta, level, *, t, ndim: right(beta, level, t=t, ndim=ndim)._replace(
                log_alpha_bar_prev=level[1:][t - 2].reshape((-1,) + (1,) * (ndim - 1)))),
    Mistake("SHP-01", "the schedule's values at t lie along the last axis → one for each row",
            "huggingface/diffusers@3304538", "schedule.step", "value",
            then(lambda step: Step(*(column.reshape((1,) * (column.ndim - 1) + (-1,)) for column in step)))),
    Mistake("SHP-07", "t shifted in place: the second call sees t − 1 → t left alone",
            "plainerman/DiffDock-Pocket#6", "schedule.step", "value", _shifting_t),
    Mistake("BND-10", "guard looks whether all values are bad → whether any is",
            "horenbergerb/BernoulliDiffusion@3d1f72a", "schedule.checked", "value",
            lambda right: lambda beta: np.asarray(beta, float) if np.any(np.asarray(beta) > 0) else right(beta)),
)


# -- the kernel --------------------------------------------------------------------------------------------------------

def _posterior(coefficients: Callable[[Array, Array, Array, Array], tuple[Array, Array, Array]]) -> Plant:
    """A posterior with other coefficients(β, a, v, w) for x_0 and x_t, and another variance."""
    def posterior(x_t: Array, x_0: Array, beta: Array, log_alpha_bar_prev: Array) -> Gaussian:
        a, v = np.exp(log_alpha_bar_prev), -np.expm1(log_alpha_bar_prev)
        from_x_0, from_x_t, var = coefficients(beta, a, v, v + a * beta)
        return Gaussian(from_x_0 * x_0 + from_x_t * x_t, var)
    return instead(posterior)


def _draw_in_place(p: Gaussian, *, noise: Array) -> Array:
    if np.shape(p.mean) != np.shape(noise) or not p.mean.flags.writeable:
        return p.mean + np.sqrt(p.var) * noise
    mean = p.mean
    mean += np.sqrt(p.var) * noise
    return mean


KERNEL = (
    Mistake("FWD-01", "noise scaled by β, the variance taken for a deviation → √β",
            "metric-space/diffusion-probabilistic-models-JAX@a216435 spiral.py", "gaussian.forward", "value",
            then(lambda q: Gaussian(q.mean, q.var ** 2))),
    Mistake("FWD-02", "signal scaled by 1 − √β → √(1 − β)",
            "metric-space/diffusion-probabilistic-models-JAX@911e6d6", "gaussian.forward", "value",
            instead(lambda x, beta: Gaussian((1 - np.sqrt(beta)) * x, beta))),
    Mistake("FWD-04", "variance 1/ᾱ − 1 → 1 − ᾱ",
            "tqch/ddpm-torch@1702650", "gaussian.marginal", "value",
            instead(lambda x, level: Gaussian(np.exp(level / 2) * x, np.expm1(-level)))),
    Mistake("FWD-05", "log-variance √(1 − ᾱ) → log(1 − ᾱ)",
            "tqch/ddpm-torch#9", "gaussian.marginal", "value", then(lambda q: Gaussian(q.mean, np.exp(np.sqrt(q.var))))),
    Mistake("FWD-07", "x_0 + σ ε → √ᾱ x_0 + σ ε",
            "huggingface/diffusers@5b11c5d", "gaussian.marginal", "value",
            instead(lambda x, level: Gaussian(x + 0 * level, -np.expm1(level)))),
    Mistake("FWD-14", "x_t built over the array it was made from → in a new one",
            "horenbergerb/BernoulliDiffusion@ed38d91", "gaussian.draw", "value", instead(_draw_in_place)),
    Mistake("NEW-ROOT", "x_0 scaled by ᾱ, as for bits → by √ᾱ",
            "the binomial marginal has ᾱ without a root", "gaussian.marginal", "value",
            instead(lambda x, level: Gaussian(np.exp(level) * x, -np.expm1(level)))),
    Mistake("NEW-DRAW", "mean + var · noise → mean + √var · noise",
            "hwlee11/Example_diffusion_probabilistic_models@07942cd", "gaussian.draw", "value",
            instead(lambda p, *, noise: p.mean + p.var * noise)),
    Mistake("RNG-08", "the same noise for all examples → for each its own",
            "huggingface/diffusers!13677, goodfire-ai/spd!412", "gaussian.draw_noise", "value",
            lambda right: lambda rng, shape: np.broadcast_to(right(rng, (1, *shape[1:])), shape).copy()),
    Mistake("POS-02", "precision of x_t as a measurement 1/β → (1 − β)/β",
            "AmirRezaBabaAhmadi/Deep-Unsupervised-…-Thermodynamics@1a8c8cf", "gaussian.posterior", "value",
            _posterior(lambda b, a, v, w: (np.sqrt(a) * b / (v + b), np.sqrt(1 - b) * v / (v + b), b * v / (v + b)))),
    Mistake("POS-04", "coefficient of x_t with √ᾱ_t → with √(1 − β_t)",
            "jgcarrasco/diffusion@d85c464", "gaussian.posterior", "value",
            _posterior(lambda b, a, v, w: (np.sqrt(a) * b / w, np.sqrt((1 - b) * a) * v / w, b * v / w))),
    Mistake("NEW-POS-ROOT", "coefficient of x_t with 1 − β_t → with √(1 − β_t)",
            "POS-04 with another forgotten root", "gaussian.posterior", "value",
            lambda right: lambda x_t, x_0, beta, level: right(np.sqrt(1 - beta) * x_t, x_0, beta, level)),
    Mistake("POS-05", "variance β (1 − ᾱ_{t−1}) → the same divided by 1 − ᾱ_t",
            "varun-ml/diffusion-models-tutorial!1", "gaussian.posterior", "value",
            _posterior(lambda b, a, v, w: (np.sqrt(a) * b / w, np.sqrt(1 - b) * v / w, b * v))),
    Mistake("NEW-POS-BETA", "posterior variance β_t, that of the forward step → β̃_t",
            "the larger of Ho's two choices for the reverse step", "gaussian.posterior", "value",
            _posterior(lambda b, a, v, w: (np.sqrt(a) * b / w, np.sqrt(1 - b) * v / w, b + 0 * v))),
    Mistake("NEW-POS-LEVELS", "β̃_t = β_t (1 − ᾱ_t)/(1 − ᾱ_{t−1}) → the other way round",
            "the two levels exchanged", "gaussian.posterior", "value",
            _posterior(lambda b, a, v, w: (np.sqrt(a) * b / w, np.sqrt(1 - b) * v / w, b * w / v))),
    Mistake("NEW-POS-WEIGHTS", "weights of x_0 and x_t in the mean exchanged → each its own",
            "posterior(x_0, x_t) called as posterior(x_t, x_0)", "gaussian.posterior", "value",
            lambda right: lambda x_t, x_0, beta, level: right(x_0, x_t, beta, level)),
)


# -- divergence, entropy, density --------------------------------------------------------------------------------------

def _kl(q: Gaussian, p: Gaussian, *, trace: float = 1, one: float = 1, square: float = 1) -> Array:
    """½ [trace · q.var/p.var + square · Δ²/p.var − one − log(q.var/p.var)]."""
    difference = q.mean - p.mean
    return (trace * q.var / p.var + square * difference ** 2 / p.var - one - np.log(q.var / p.var)) / 2


DIVERGENCE = (
    Mistake("BND-11", "variances handed to a divergence of deviations → of variances",
            "gmongaras/Diffusion_models_from_scratch@c58823f", "gaussian.kl", "value",
            lambda right: lambda q, p: right(Gaussian(q.mean, q.var ** 2), Gaussian(p.mean, p.var ** 2))),
    Mistake("BND-11c", "deviations handed to a divergence of variances → variances",
            "DaehanKim/vgae_pytorch#2", "gaussian.kl", "value",
            lambda right: lambda q, p: right(Gaussian(q.mean, np.sqrt(q.var)), Gaussian(p.mean, np.sqrt(p.var)))),
    Mistake("BND-13", "KL without q.var/(2 p.var) → with it",
            "jgcarrasco/diffusion@d85c464", "gaussian.kl", "value", instead(lambda q, p: _kl(q, p, trace=0))),
    Mistake("BND-14", "KL without −½ → with it",
            "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8", "gaussian.kl", "value",
            instead(lambda q, p: _kl(q, p, one=0))),
    Mistake("BND-16", "square of the means' distance without ½ → with it",
            "google-deepmind/torch-distributions!34", "gaussian.kl", "value", instead(lambda q, p: _kl(q, p, square=2))),
    Mistake("BND-34", "KL(p ‖ q) → KL(q ‖ p)",
            "KarenUllrich/Tutorial_BayesianCompressionForDL#1", "gaussian.kl", "value", lambda right: lambda q, p: right(p, q)),
    Mistake("BND-17", "log-density: normaliser ½ log σ → log σ",
            "metric-space/diffusion-probabilistic-models-JAX@a216435 spiral.py", "gaussian.log_prob", "value",
            instead(lambda x, p: -(np.log(2 * np.pi) + np.log(p.var) / 2 + (x - p.mean) ** 2 / p.var) / 2)),
    Mistake("BND-16b", "log determinant of a covariance without ½ → with it",
            "KarenUllrich/Tutorial_BayesianCompressionForDL#8", "likelihood.gaussian_log_likelihood", "value",
            lambda right: lambda x, *, mean, covariance: right(
                x, mean=mean, covariance=covariance) - np.linalg.slogdet(covariance)[1] / 2),
    Mistake("NEW-PARZEN", "Parzen window: sum over samples → mean",
            "the 1/M forgotten", "likelihood.parzen_log_likelihood", "value",
            lambda right: lambda x, centres, *, bandwidth: right(x, centres, bandwidth=bandwidth) + np.log(len(centres))),
    Mistake("NEW-PARZEN-VAR", "Parzen window: bandwidth taken for a variance → a standard deviation",
            "σ for σ²", "likelihood.parzen_log_likelihood", "value",
            lambda right: lambda x, centres, *, bandwidth: right(x, centres, bandwidth=np.sqrt(bandwidth))),
    Mistake("NEW-CROSS", "cross-entropy of π without the mean's part → with it",
            "the step of eqs. 43 and 46", "gaussian.cross_entropy", "value",
            lambda right: lambda q, p: right(Gaussian(p.mean + 0 * q.mean, q.var), p)),
    Mistake("NEW-ENTROPY", "entropy ½ log(2π var) → ½ log(2πe var)",
            "BND-04 the other way", "gaussian.entropy", "value", then(lambda entropy: entropy - 0.5)),
)

MISTAKES = SCHEDULES + KERNEL + DIVERGENCE
