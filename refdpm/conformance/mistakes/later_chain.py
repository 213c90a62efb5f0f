"""Mistakes in DDIM and in fewer steps; in the pullbacks of what came after the paper; and in its last digits."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.special import ndtr

from refdpm import gaussian, schedule
from refdpm.conformance.mistakes.later import weight
from refdpm.conformance.mistakes.planting import Mistake, Plant, instead, pullback_then, zero
from refdpm.gaussian import Gaussian
from refdpm.later import decoder, mean, sampler
from refdpm.networks.readout import Heads
from refdpm.vjp import Array

# Not yet plantable: REV-14 needs a sampler that draws for itself; REV-19 one that encodes; SCH-23 a corrector.


# -- DDIM --------------------------------------------------------------------------------------------------------------

def _jump(weights: Callable[[Array, Array, Array, Array], tuple[Array, Array]]) -> Plant:
    """Another step weights(a, v, w, σ²) → (share of x_0, share of ε)."""
    def jump(x_0: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, *, eta: float) -> Gaussian:
        a, v, w = gaussian.shares(beta, log_alpha_bar_prev)
        var = eta * eta * beta * v / w
        from_x_0, direction = weights(a, v, w, var)
        return Gaussian(from_x_0 * x_0 + direction * (x_t - np.sqrt(a * (1 - beta)) * x_0) / np.sqrt(w), var)
    return instead(jump)


def _noise(change: Callable[[Array], Array]) -> Plant:
    """A path from other noise."""
    return lambda right: lambda *args, noise, **fixed: right(*args, noise=change(noise), **fixed)


def _without(noise: Array, *places: int) -> Array:
    keep = np.ones(len(noise))
    keep[[place for place in places if place < len(noise) - 1]] = 0
    return noise * keep.reshape((-1,) + (1,) * (noise.ndim - 1))


def _noise_at_the_end(right: Callable[..., Any]) -> Callable[..., Any]:
    def path(parameters: Any, beta: Array, *, noise: Array, **fixed: Any) -> Iterator[tuple[int, Array]]:
        for t, x in right(parameters, beta, noise=noise, **fixed):
            yield t, x if t else x + np.sqrt(beta[1]) * noise[0]
    return path


def _told_the_index(right: Callable[..., Any]) -> Callable[..., Any]:
    def path(*args: Any, times: Array, model: Any, **fixed: Any) -> Any:
        told = SimpleNamespace(predict=lambda *a, t: model.predictor.predict(*a, t=np.searchsorted(times, t) + 1))
        return right(*args, times=times, model=model._replace(predictor=told), **fixed)
    return path


def _stale_noise(right: Callable[..., Any]) -> Callable[..., Any]:
    """x̂_0 is clipped, the direction is that of the noise before."""
    def path(parameters: Any, beta: Array, *, noise: Array, times: Array, model: Any, eta: float, clip: float | None = None
             ) -> Iterator[tuple[int, Array]]:
        if clip is None:
            yield from right(parameters, beta, noise=noise, times=times, model=model, eta=eta)
            return
        rates, x = sampler.respaced(beta, times=times), noise[len(times)]
        level = schedule.log_alpha_bar(rates)
        yield int(times[-1]), x
        for i in range(len(times), 0, -1):
            step = schedule.step(rates, level, t=np.full(len(x), i), ndim=x.ndim)
            heads = model.predictor.predict(parameters, x, step, t=np.full(len(x), times[i - 1]))
            x_0 = mean.x_0_from(heads.mean, x, step, predicts=model.predicts)
            q = sampler.jump(x_0, x, step.beta, step.log_alpha_bar_prev, eta=eta)
            shift = np.exp(step.log_alpha_bar_prev / 2) * (np.clip(x_0, -clip, clip) - x_0)
            x = q.mean + shift + np.sqrt(q.var) * noise[i - 1]
            yield int(times[i - 2]) if i > 1 else 0, x
    return path


def _large_of_the_full_chain(right: Callable[..., Any]) -> Callable[..., Any]:
    """The variance β_t of one step of the chain where the step takes several at once."""
    def path(parameters: Any, beta: Array, *, noise: Array, times: Array, model: Any, end: str = "mean") -> Any:
        if model.variance != "large":
            return right(parameters, beta, noise=noise, times=times, model=model, end=end)
        rates = sampler.respaced(beta, times=times)
        scale = np.append(np.sqrt(beta[times] / rates[1:]), 1.0).reshape((-1,) + (1,) * (noise.ndim - 1))
        return right(parameters, beta, noise=noise * scale, times=times, model=model, end=end)
    return path


SAMPLER = (
    Mistake("REV-10", "direction of DDIM scaled by σ → by √(1 − ᾱ_{t−1} − σ²)",
            "jsboige/CoursIA!16158", "later.sampler.jump", "value", _jump(lambda a, v, w, var: (np.sqrt(a), np.sqrt(var)))),
    Mistake("REV-11", "x̂_0 scaled by ᾱ_{t−1} → by √ᾱ_{t−1}",
            "mathpluscode/ImgX-DiffSeg@5a54cff", "later.sampler.jump", "value",
            _jump(lambda a, v, w, var: (a, np.sqrt(np.maximum(v - var, 0))))),
    Mistake("NEW-DDIM-VAR", "direction √(1 − ᾱ_{t−1}) whatever η → √(1 − ᾱ_{t−1} − σ²)",
            "noise on top of a step that has enough", "later.sampler.jump", "value",
            _jump(lambda a, v, w, var: (np.sqrt(a), np.sqrt(v)))),
    Mistake("NEW-ETA", "σ² = η β̃ → η² β̃",
            "η taken for a share of the variance", "later.sampler.jump", "value",
            lambda right: lambda *args, eta: right(*args, eta=np.sqrt(eta))),
    Mistake("POS-08", "strided chain with the rates of single steps → with 1 − ᾱ_t/ᾱ_s",
            "huggingface/diffusers@cedafb8", "later.sampler.respaced", "value",
            instead(lambda beta, *, times: beta[np.append(0, times)])),
    Mistake("POS-11", "strided chain with the large variance of single steps → of its own",
            "huggingface/diffusers@1dc856e", "later.sampler.ancestral_path", "value", _large_of_the_full_chain),
    Mistake("SCH-16", "steps by a stride: one more than asked for → as many as asked for, up to T",
            "huggingface/diffusers@675ef1f", "later.sampler.spaced", "value",
            lambda right: lambda T, count: right(T, count) if not 1 <= count <= T else np.arange(1, T + 1, T // count)),
    Mistake("SCH-17b", "kept steps 1, 1 + stride, … never reach T → end there",
            "openai/improved-diffusion#44", "later.sampler.spaced", "value",
            lambda right: lambda T, count: right(T, count) - T // count + 1),
    Mistake("REV-04b", "noise on the sample itself → none at the last step",
            "Burak599/NumPy-Diffusion@71f6e20", "later.sampler.ddim_path", "value", _noise_at_the_end),
    Mistake("REV-04c", "noise on the last step's mean → none",
            "jgcarrasco/diffusion@d85c464", "later.sampler.ancestral_path", "value", _noise_at_the_end),
    Mistake("REV-05b", "noise switched off at the last two steps → at the last",
            "AkiRusProd/numpy-diffusion@5116f79", "later.sampler.ancestral_path", "value",
            _noise(lambda noise: _without(noise, 0, 1))),
    Mistake("REV-23b", "noise of the steps never added → added",
            "huggingface/diffusers@7e11392", "later.sampler.ddim_path", "value",
            _noise(lambda noise: _without(noise, *range(len(noise))))),
    Mistake("REV-13", "x̂_0 clipped, noise not computed anew → computed anew",
            "lucidrains/denoising-diffusion-pytorch@6dda508", "later.sampler.ddim_path", "value", _stale_noise),
    Mistake("TRN-05b", "network told the number of a kept step → its t",
            "gmongaras/Diffusion_models_from_scratch@cb4fd62", "later.sampler.ddim_path", "value", _told_the_index),
)


# -- gradients and digits ----------------------------------------------------------------------------------------------

def _dropping_the_head(cotangents: Any) -> Any:
    dheads, *rest = cotangents
    return Heads(dheads.mean, zero(dheads.var)), *rest


GRADIENT = (
    Mistake("GRD-07c", "head of the range differentiated without ½ → with it",
            "gmongaras/Diffusion_models_from_scratch@e855d56", "later.variance.ranged_vjp", "gradient",
            pullback_then(lambda d: (2 * d[0], *d[1:]))),
    Mistake("GRD-07d", "no gradient for the head of the variance → with it",
            "gmongaras/Diffusion_models_from_scratch@e855d56", "later.variance.read_out_vjp", "gradient",
            pullback_then(_dropping_the_head)),
    Mistake("GRD-01-DEC", "bound's decoder taken for a constant of the schedule → differentiated",
            "as GRD-01", "later.objective.decoder_vjp", "gradient", pullback_then(lambda d: (d[0], zero(d[1])))),
    Mistake("NEW-BIN-GRAD", "log mass differentiated by the mean alone → by the variance too",
            "a mass taken for a density of fixed width", "later.decoder.log_mass_vjp", "gradient",
            pullback_then(lambda d: Gaussian(d.mean, zero(d.var)))),
    Mistake("NEW-V-LEVEL", "v's weights taken for constants of the schedule → differentiated",
            "as GRD-01", "later.parametrisation.x_0_from_v_vjp", "gradient", pullback_then(lambda d: (d[0], d[1], zero(d[2])))),
    Mistake("NEW-JUMP-GRAD", "no gradient through the direction's β → with it",
            "as GRD-01", "later.sampler.jump_vjp", "gradient", pullback_then(lambda d: (d[0], d[1], zero(d[2]), d[3]))),
)


def _jump_by_subtraction(x_0: Array, x_t: Array, beta: Array, level: Array, *, eta: float) -> Gaussian:
    a, v, w = gaussian.shares(beta, level)
    var = eta * eta * beta * v / w
    direction = np.sqrt((v - var) / w)
    return Gaussian((np.sqrt(a) - direction * np.sqrt(a * (1 - beta))) * x_0 + direction * x_t, var)


def _mass_by_difference(p: Gaussian, *, k: Array, grid: decoder.Grid) -> Any:
    x, half, sigma = decoder.level(k, grid=grid), grid.width / 2, np.sqrt(p.var)
    above = np.where(k == grid.levels - 1, 1, ndtr((x + half - p.mean) / sigma))
    return np.log(above - np.where(k == 0, 0, ndtr((x - half - p.mean) / sigma))), None


ROUNDING = (
    Mistake("NEW-CDF", "log of a difference of two Φ → without a difference",
            "the textbook form", "later.decoder.log_mass_vjp", "accuracy", instead(_mass_by_difference)),
    Mistake("NEW-JUMP", "share of x_0 in DDIM as √ᾱ_{t−1} − k √ᾱ_t → as a quotient of sums",
            "the textbook form", "later.sampler.jump", "accuracy", instead(_jump_by_subtraction)),
    Mistake("NEW-RATES", "1 − ᾱ_t/ᾱ_s → −expm1 of a sum of logarithms",
            "the textbook form", "later.sampler.respaced", "accuracy",
            instead(lambda beta, *, times: np.append(0.0, 1 - np.cumprod(1 - beta)[times] / np.append(
                1.0, np.cumprod(1 - beta)[times[:-1]])))),
    Mistake("NEW-SNR-DROP", "SNR_{t−1} − SNR_t subtracted → aβ/(vw)",
            "the textbook form", "later.weights.kl_weight", "accuracy",
            weight(lambda value, name, beta, level: np.exp(level) / -np.expm1(level)
                    - np.exp(level) * (1 - beta) / (1 - np.exp(level) * (1 - beta)) if name == "x_0" else value)),
    Mistake("NEW-PRIOR-ABAR", "prior term through the variance 1 − ᾱ, 0 for small ᾱ → through ᾱ",
            "the textbook form", "later.objective.prior_kl", "accuracy",
            instead(lambda x, level: gaussian.kl(gaussian.marginal(x, level), gaussian.prior(x.shape)))),
)

MISTAKES = SAMPLER + GRADIENT + ROUNDING
