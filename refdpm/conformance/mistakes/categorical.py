"""Mistakes in the chain for symbols."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import activation
from refdpm.conformance.mistakes.planting import Mistake, Plant, instead
from refdpm.later import categorical
from refdpm.later.categorical import Categorical
from refdpm.vjp import Array

# Not yet plantable: DIS-07 needs a hybrid loss; DIS-08 a sampler that draws for itself; DIS-16 a π that is not uniform.


def _evidence(x_t: Array, beta: Array) -> Array:
    return (1 - beta) * x_t + beta * x_t.mean(axis=-1, keepdims=True)


def _unnormalised(x_t: Array, x_0: Array, beta: Array, level: Array) -> Categorical:
    return Categorical(_evidence(x_t, beta) * categorical.marginal(x_0, level).prob)


def _told(change: Callable[[Array], Array] = lambda z: z, rename: Callable[[str], str] = lambda name: name) -> Plant:
    """A reverse step of other logits, or by another name."""
    return lambda right: lambda logits, *rest, mixing: right(change(logits), *rest, mixing=rename(mixing))


def _level(change: Callable[[Array], Any]) -> Plant:
    """A function of a level told another one."""
    return lambda right: lambda *args, **fixed: right(*args[:-1], change(args[-1]), **fixed)


def _with_zero_log_zero(q: Categorical, p: Categorical) -> Array:
    return np.asarray((q.prob * (np.log(q.prob) - np.log(p.prob))).sum(axis=-1))


def _gathered(logits: Array) -> Array:
    """(N, …, K) filled in the order of (N, K, …)."""
    return np.moveaxis(logits, -1, 1).reshape(logits.shape)


MISTAKES = (
    Mistake("DIS-02b", "posterior of a symbol not divided by q(x_t | x_0) → divided",
            "horenbergerb/BernoulliDiffusion@b1588e0", "later.categorical.posterior", "value", instead(_unnormalised)),
    Mistake("DIS-05c", "0 · log 0 = NaN in the divergence → 0",
            "Lightning-AI/torchmetrics#1029", "later.categorical.kl", "value", instead(_with_zero_log_zero)),
    Mistake("DIS-10c", "softmax of probabilities, taken for logits → of logits",
            "cloneofsimo/d3pm#7", "later.categorical.reverse_vjp", "value", _told(activation.softmax)),
    Mistake("DIS-11b", "p(x_0 | x_1) = p̂ → in proportion to p̂ q(x_1 | ·), and the other way round",
            "ehoogeboom/multinomial_diffusion#7", "later.categorical.reverse_vjp", "value", _told(
                rename=lambda name: {"joint": "joint_but_first", "joint_but_first": "joint"}.get(name, name))),
    Mistake("DIS-14", "axes of the categorical head reshaped → moved",
            "ehoogeboom/multinomial_diffusion@66f1734", "later.categorical.reverse_vjp", "value", _told(_gathered)),
    Mistake("NEW-CAT-MIX", "sum of joint laws → of posteriors, and the other way round",
            "D3PM's eq. 4 read as an average", "later.categorical.reverse_vjp", "value", _told(
                rename=lambda name: "joint" if name == "average" else "average")),
    Mistake("NEW-CAT-FLIP", "β the probability of a change → of a fresh draw",
            "K − 1 other classes share β", "later.categorical.transition", "value",
            lambda right: lambda beta, *, classes: right(beta * classes / (classes - 1), classes=classes)),
    Mistake("NEW-CAT-FLIPb", "evidence with β the probability of a change → of a fresh draw",
            "as NEW-CAT-FLIP", "later.categorical.posterior", "value",
            lambda right: lambda x_t, x_0, beta, level: right(x_t, x_0, beta * x_t.shape[-1] / (x_t.shape[-1] - 1), level)),
    Mistake("NEW-CAT-SHARE", "the rest 1 − β divided among K − 1 → K classes, so that rows do not add to 1",
            "a diagonal that is not diminished", "later.categorical.transition", "value",
            lambda right: lambda beta, *, classes: right(beta, classes=classes) + np.eye(classes) * beta[:, None, None] / classes),
    Mistake("NEW-CAT-ROOT", "a symbol kept with √ᾱ → ᾱ",
            "the share of a mean, from the Gaussian chain", "later.categorical.marginal", "value", _level(lambda level: level / 2)),
    Mistake("NEW-CAT-ROOTb", "Q̄ with √ᾱ → ᾱ",
            "as NEW-CAT-ROOT", "later.categorical.cumulative", "value", _level(lambda level: level / 2)),
    Mistake("NEW-CAT-INDEX", "posterior with Q̄_t → Q̄_{t−1}",
            "an index off by one, D3PM's x_start being t = −1", "later.categorical.posterior", "value",
            lambda right: lambda x_t, x_0, beta, level: right(x_t, x_0, beta, np.where(level == 0, 0, level + np.log1p(-beta)))),
    Mistake("NEW-CAT-TOTAL", "evidence q(x_t | x_0) → q(x_t | x_{t−1})",
            "Q̄_t in the place of Q_t", "later.categorical.posterior", "value",
            lambda right: lambda x_t, x_0, beta, level: right(x_t, x_0, -np.expm1(level + np.log1p(-beta)), level)),
    Mistake("NEW-CAT-PRIOR", "p(x_{t−1}) without x_t's evidence → times q(x_t | x_{t−1})",
            "DIS-11 of the binary heartbeat", "later.categorical.posterior", "value",
            lambda right: lambda x_t, x_0, beta, level: right(x_t, x_0, 0 * beta + 1, level)),
    Mistake("NEW-CAT-KL", "D_KL(p ‖ q) → D_KL(q ‖ p)",
            "BND-13 for symbols", "later.categorical.kl", "value", lambda right: lambda q, p: right(p, q)),
    Mistake("NEW-CAT-BITS", "divergence averaged over classes → summed",
            "a mean over the last axis", "later.categorical.kl", "value",
            lambda right: lambda q, p: right(q, p) / q.prob.shape[-1]),
    Mistake("NEW-CAT-GRAD", "Σ p dz left out of softmax's adjoint → subtracted",
            "the diagonal of a Jacobian", "activation.softmax_vjp", "gradient",
            lambda right: lambda logits: (right(logits)[0], lambda dp: right(logits)[0] * dp)),
)
