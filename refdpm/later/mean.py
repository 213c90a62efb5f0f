"""The mean of the reverse step from what the network predicts, and every prediction by its name.

The step's mean is the posterior's, c_0 x_0 + c_t x_t, at the x_0 that the network has in mind.  At t = 1 it is that x_0, whatever
it is named by.  In terms of noise and score it divides by √(1−β), in terms of v by nothing that vanishes.

Shapes: states and predictions (N, …); beta, log_alpha_bar_prev and the columns of a step (N, 1, …).
"""

import numpy as np

from refdpm.doors import open_doors
from refdpm.gaussian import Gaussian, posterior_vjp, shares
from refdpm.later.parametrisation import (noise_from_x_0_vjp, score_from_x_0_vjp, v_from_x_0_vjp, x_0_from_noise_vjp,
                                          x_0_from_score_vjp, x_0_from_v_vjp)
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, unbroadcast

PREDICTIONS = ("x_0", "noise", "v", "score", "mean")


def mean_from_x_0(x_0: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> Array:
    """c_0 x_0 + c_t x_t, the mean of the posterior at that x_0."""
    return mean_from_x_0_vjp(x_0, x_t, beta, log_alpha_bar_prev)[0]


def mean_from_x_0_vjp(x_0: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Pullback]:
    """Adjoint of `mean_from_x_0`."""
    q, back_posterior = posterior_vjp(x_t, x_0, beta, log_alpha_bar_prev)

    def pullback(dmean: Array) -> tuple[Array, Array, Array, Array]:
        dx_t, dx_0, dbeta, dlevel = back_posterior(Gaussian(dmean, np.zeros_like(q.var)))
        return dx_0, dx_t, dbeta, dlevel

    return q.mean, pullback


def mean_from_noise(noise: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> Array:
    """(x_t − β ε/√w)/√(1−β).   Domain: β < 1.

    Derivation: x_0 = (x_t − √w ε)/√ᾱ_t in c_0 x_0 + c_t x_t.  The weight of x_t is c_0/√ᾱ_t + c_t = [β + (1−β) v]/(w √(1−β)), and
    β + (1−β) v = w.
    """
    _, _, w = shares(beta, log_alpha_bar_prev)
    return (x_t - beta / np.sqrt(w) * noise) / np.sqrt(1 - beta)


def mean_from_noise_vjp(noise: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Pullback]:
    """Adjoint of `mean_from_noise`.  With κ = √(1−β), k = β/√w and ℓ = log a,

        dmean = (dx_t − k dε − ε dk)/κ + ½ mean/κ² dβ        dk = [½ (w + v) dβ + ½ aβκ² dℓ]/w^{3/2}.
    """
    mean = mean_from_noise(noise, x_t, beta, log_alpha_bar_prev)
    a, v, w = shares(beta, log_alpha_bar_prev)
    keep, root = np.sqrt(1 - beta), np.sqrt(w)

    def pullback(dmean: Array) -> tuple[Array, Array, Array, Array]:
        dk = -noise / keep * dmean / (2 * w * root)
        dbeta, dlevel = dk * (w + v) + mean / (2 * (1 - beta)) * dmean, dk * a * beta * (1 - beta)
        return (unbroadcast(-beta / (root * keep) * dmean, noise.shape), unbroadcast(dmean / keep, x_t.shape),
                unbroadcast(dbeta, beta.shape), unbroadcast(dlevel, log_alpha_bar_prev.shape))

    return mean, pullback


def mean_from_v(v: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> Array:
    """√(1−β) x_t − √(a/w) β v: the forward kernel's mean, corrected.

    Derivation: x_0 = √ᾱ_t x_t − √w v in c_0 x_0 + c_t x_t, and c_0 √ᾱ_t + c_t = √(1−β) [aβ + v]/w.
    """
    a, _, w = shares(beta, log_alpha_bar_prev)
    return np.sqrt(1 - beta) * x_t - np.sqrt(a / w) * beta * v


def mean_from_v_vjp(v: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Pullback]:
    """Adjoint of `mean_from_v`.  With κ = √(1−β), k = √(a/w) β and ℓ = log a,

        dmean = κ dx_t − k dv − x_t/(2κ) dβ − v dk        dk = √(a/w) (w + 1 − a)/(2w) dβ + k/(2w) dℓ.

    Domain: β < 1.
    """
    a, before, w = shares(beta, log_alpha_bar_prev)
    keep, gain = np.sqrt(1 - beta), np.sqrt(a / w)

    def pullback(dmean: Array) -> tuple[Array, Array, Array, Array]:
        dk = -v * gain / (2 * w) * dmean
        return (unbroadcast(-gain * beta * dmean, v.shape), unbroadcast(keep * dmean, x_t.shape),
                unbroadcast(dk * (w + before) - x_t / (2 * keep) * dmean, beta.shape),
                unbroadcast(dk * beta, log_alpha_bar_prev.shape))

    return mean_from_v(v, x_t, beta, log_alpha_bar_prev), pullback


def mean_from_score(score: Array, x_t: Array, beta: Array) -> Array:
    """(x_t + β score)/√(1−β).   Domain: β < 1."""
    return (x_t + beta * score) / np.sqrt(1 - beta)


def mean_from_score_vjp(score: Array, x_t: Array, beta: Array) -> tuple[Array, Pullback]:
    """Adjoint of `mean_from_score`.  With κ = √(1−β),

        dmean = (dx_t + β dscore + score dβ)/κ + ½ mean/κ² dβ.
    """
    mean, keep = mean_from_score(score, x_t, beta), np.sqrt(1 - beta)

    def pullback(dmean: Array) -> tuple[Array, Array, Array]:
        dbeta = (score / keep + mean / (2 * (1 - beta))) * dmean
        return (unbroadcast(beta / keep * dmean, score.shape), unbroadcast(dmean / keep, x_t.shape),
                unbroadcast(dbeta, beta.shape))

    return mean, pullback


# -- and back ----------------------------------------------------------------------------------------------------------

def x_0_from_mean(mean: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> Array:
    """(mean − c_t x_t)/c_0 = (w mean − √(1−β) v x_t)/(√a β).   Edge: at t = 1 it is the mean itself."""
    a, v, w = shares(beta, log_alpha_bar_prev)
    return (w * mean - np.sqrt(1 - beta) * v * x_t) / (np.sqrt(a) * beta)


def x_0_from_mean_vjp(mean: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Pullback]:
    """Adjoint of `x_0_from_mean`.  With κ = √(1−β) and ℓ = log a,

        dx_0 = [w dmean − κ v dx_t]/(√a β) − mean [(v/β) dβ + ½ (1 + aκ²) dℓ]/(√a β)
               + x_t κ [v (1/β + ½/κ²) dβ + ½ (1 + a) dℓ]/(√a β).

    Domain: β < 1.
    """
    a, v, w = shares(beta, log_alpha_bar_prev)
    keep, unit = np.sqrt(1 - beta), 1 / (np.sqrt(a) * beta)

    def pullback(dx_0: Array) -> tuple[Array, Array, Array, Array]:
        dbeta = (keep * x_t * (1 / beta + 0.5 / (1 - beta)) - mean / beta) * v * unit * dx_0
        dlevel = (keep * x_t * (1 + a) - mean * (1 + a * (1 - beta))) / 2 * unit * dx_0
        return (unbroadcast(w * unit * dx_0, mean.shape), unbroadcast(-keep * v * unit * dx_0, x_t.shape),
                unbroadcast(dbeta, beta.shape), unbroadcast(dlevel, log_alpha_bar_prev.shape))

    return x_0_from_mean(mean, x_t, beta, log_alpha_bar_prev), pullback


# -- by name -----------------------------------------------------------------------------------------------------------

def x_0_from(prediction: Array, x_t: Array, step: Step, *, predicts: str) -> Array:
    """x_0 from a prediction of that name.

    Shapes: x_t (N, …), step three columns (N, 1, …) → (N, …).
    Raises: ValueError for another name.
    """
    return x_0_from_vjp(prediction, x_t, step, predicts=predicts)[0]


def x_0_from_vjp(prediction: Array, x_t: Array, step: Step, *, predicts: str) -> tuple[Array, Pullback]:
    """Adjoint of `x_0_from`; what it does not take from the step gets zeros."""
    if predicts == "x_0":
        return prediction, lambda dx_0: (dx_0, np.zeros_like(x_t), _step_of(step))
    if predicts == "mean":
        x_0, back = x_0_from_mean_vjp(prediction, x_t, step.beta, step.log_alpha_bar_prev)
        return x_0, _at_beta(back, step)
    pairs = {"noise": x_0_from_noise_vjp, "v": x_0_from_v_vjp, "score": x_0_from_score_vjp}
    x_0, back = pairs[_prediction_name(predicts)](prediction, x_t, step.log_alpha_bar)
    return x_0, _at_level(back, step)


def from_x_0(x_0: Array, x_t: Array, step: Step, *, predicts: str) -> Array:
    """The prediction of that name at a given x_0: what the network should have said.

    Shapes: x_t (N, …), step three columns (N, 1, …) → (N, …).
    Raises: ValueError for another name.
    """
    return from_x_0_vjp(x_0, x_t, step, predicts=predicts)[0]


def from_x_0_vjp(x_0: Array, x_t: Array, step: Step, *, predicts: str) -> tuple[Array, Pullback]:
    """Adjoint of `from_x_0`; what it does not take from the step gets zeros."""
    if predicts == "x_0":
        return x_0, lambda dprediction: (dprediction, np.zeros_like(x_t), _step_of(step))
    if predicts == "mean":
        mean, back = mean_from_x_0_vjp(x_0, x_t, step.beta, step.log_alpha_bar_prev)
        return mean, _at_beta(back, step)
    pairs = {"noise": noise_from_x_0_vjp, "v": v_from_x_0_vjp, "score": score_from_x_0_vjp}
    prediction, back = pairs[_prediction_name(predicts)](x_0, x_t, step.log_alpha_bar)
    return prediction, _at_level(back, step)


def mean_from(prediction: Array, x_t: Array, step: Step, *, predicts: str) -> Array:
    """The mean of the reverse step from a prediction of that name.   Raises: ValueError for another name."""
    return mean_from_vjp(prediction, x_t, step, predicts=predicts)[0]


def mean_from_vjp(prediction: Array, x_t: Array, step: Step, *, predicts: str) -> tuple[Array, Pullback]:
    """Adjoint of `mean_from`; what it does not take from the step gets zeros."""
    if predicts == "mean":
        return prediction, lambda dmean: (dmean, np.zeros_like(x_t), _step_of(step))
    if predicts == "score":
        mean, back = mean_from_score_vjp(prediction, x_t, step.beta)
        return mean, _at_beta(back, step)
    pairs = {"x_0": mean_from_x_0_vjp, "noise": mean_from_noise_vjp, "v": mean_from_v_vjp}
    mean, back = pairs[_prediction_name(predicts)](prediction, x_t, step.beta, step.log_alpha_bar_prev)
    return mean, _at_beta(back, step)


def _prediction_name(predicts: str) -> str:
    if predicts not in PREDICTIONS:
        raise ValueError(f"predicts: expected one of {PREDICTIONS}, got {predicts!r}")
    return predicts


def _step_of(step: Step, **columns: Array) -> Step:
    """A cotangent of the step: zeros but for the named columns."""
    return Step(*map(np.zeros_like, step))._replace(**columns)


def _at_level(back: Pullback, step: Step) -> Pullback:
    def pullback(dvalue: Array) -> tuple[Array, Array, Step]:
        dprediction, dx_t, dlevel = back(dvalue)
        return dprediction, dx_t, _step_of(step, log_alpha_bar=dlevel)

    return pullback


def _at_beta(back: Pullback, step: Step) -> Pullback:
    def pullback(dvalue: Array) -> tuple[Array, Array, Step]:
        dprediction, dx_t, dbeta, *dlevel = back(dvalue)
        return dprediction, dx_t, _step_of(step, beta=dbeta, **({"log_alpha_bar_prev": dlevel[0]} if dlevel else {}))

    return pullback


open_doors(globals())
