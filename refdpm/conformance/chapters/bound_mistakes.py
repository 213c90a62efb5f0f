"""Mistakes in the bound, the average over forward paths, units, the draw of t, and in pullbacks.

Where the value is right and the gradient is not, the adjoint test has to find it.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.special import ndtr

from refdpm import bound, schedule
from refdpm.bound import Terms
from refdpm.conformance.planting import (PRINTED, Mistake, Plant, edited, instead, of, pullback_then, pulled, pulled_by, scaled,
                                         then, told, without, zero)
from refdpm.gaussian import Gaussian
from refdpm.activation import sigmoid
from refdpm.later import decoder
from refdpm.networks.readout import Heads
from refdpm.schedule import Step
from refdpm.vjp import Array

# Not yet plantable: DIS-08, RNG-07 need a sampler of categories.
# Not yet plantable: BND-26 is two errors that cancel; RNG-04 needs t from a uniform number; RNG-05 continuous t.
# Not yet plantable: DIS-07, GRD-02 need a hybrid loss; DIS-11 a decoder that predicts x_0.
# Not yet plantable: GRD-10 an argument at an exact edge; GRD-11 is a mistake of a checker.


def _ends(terms: Terms) -> Array:
    return terms.entropy_T - terms.entropy_1 - terms.entropy_prior


def _last_step(law: Callable[[Gaussian, Callable[[], Gaussian]], Gaussian]) -> Plant:
    """log_weights with another law(right one, what the network would say) of the last reverse step, which is fixed."""
    def changed(log_w: Array, parameters: Any, beta: Array, x_0: Array, noise: Array, kernel: Any, network: Any) -> Array:
        t = np.ones(len(x_0), dtype=int)
        step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=x_0.ndim)
        x_1 = kernel.draw(kernel.forward(x_0, step.beta), noise=noise[0])
        p = kernel.forward(x_1, step.beta)
        gain = kernel.log_prob(x_0, law(p, lambda: network.reverse(parameters, x_1, step, t=t))) - kernel.log_prob(x_0, p)
        return np.asarray(log_w + gain.reshape(len(x_0), -1).sum(axis=1))
    return then(changed)


def _mass_by_difference(p: Gaussian, *, k: Array, grid: decoder.Grid) -> Any:
    x, half, sigma = decoder.level(k, grid=grid), grid.width / 2, np.sqrt(p.var)
    above = np.where(k == grid.levels - 1, 1, ndtr((x + half - p.mean) / sigma))
    return np.log(above - np.where(k == 0, 0, ndtr((x - half - p.mean) / sigma))), None


in_assemble, in_correction, in_draw_steps = of("bound.assemble"), of("bound.correction_vjp"), of("bound.draw_steps")
in_step_kl_vjp = of("bound.step_kl_vjp", "gradient")

BOUND = (
    in_assemble("BND-01", "one-t estimate multiplied by T → by the T − 1 steps there are", "ORIG get_negL_bound",
            edited("term left out: 1")),
    Mistake("BND-02", "−K reported → K", "ORIG@2feb135", "bound.bound_vjp", "value", then(np.negative)),
    Mistake("BND-04", "entropy of π with log e added once more: ½ nat a component too much → without", "ORIG@7f21252",
            "bound.terms_vjp", "value", then(lambda terms: terms._replace(entropy_prior=terms.entropy_prior + 0.5))),
    in_assemble("BND-05", "one-t estimate not multiplied by the number of steps → multiplied", "cvignac/DiGress@b36d99f",
            edited("factor left out: T − 1")),
    in_assemble("BND-07", "total = term, so that only the last survives → total += term", "Michedev/DDPMs-Pytorch@8a1abce",
            told(terms=lambda terms: terms._replace(kl=np.concatenate([0 * terms.kl[:-1], terms.kl[-1:]])))),
    in_assemble("BND-08", "entropies added at every t → once", "horenbergerb/BernoulliDiffusion@3d1f72a",
            then(lambda k, terms, T: k + (T - 2) * _ends(terms))),
    Mistake("BND-19", "KL a mean over components, entropies a sum → both a sum", "keras-team/keras!3383, scverse/scvi-tools!1895",
            "bound.step_kl_vjp", "value", then(lambda kl, x_0: kl / np.prod(x_0.shape[1:]))),
    Mistake("BND-19b", "KL of the training loss a mean over components → a sum", "keras-team/keras!3383, scverse/scvi-tools!1895",
            "bound.network_kl_vjp", "value", then(lambda kl: kl / 2)),
    Mistake("BND-20", "Gaussian KL at t = 1 as well, where the posterior has no variance → from t = 2 on",
            "gmongaras/Diffusion_models_from_scratch@c58823f", "bound.every_step", "value",
            instead(lambda T, N: np.repeat(np.arange(1, T + 1)[:, None], N, axis=1))),
    Mistake("BND-25", "log10 → log2", "horenbergerb/BernoulliDiffusion@8192d6a", "likelihood.bits", "value",
            instead(lambda nats: nats / np.log(10))),
    in_assemble("BND-25b", "KL in nats added to entropies in bits → one unit", "horenbergerb/BernoulliDiffusion@8192d6a",
            then(lambda k, terms: k + (1 / np.log(2) - 1) * _ends(terms))),
    Mistake("BND-29", "wrong element of the tuple: the entropies of x_1 and x_T exchanged → each its own", "NVlabs/LSGM#13",
            "bound.terms_vjp", "value", then(lambda terms: terms._replace(entropy_1=terms.entropy_T, entropy_T=terms.entropy_1))),
    in_assemble("BND-32", "terms that do not depend on the network dropped from a reported bound → kept", "andrew-cr/tauLDR#7",
            then(lambda k, terms: k - _ends(terms))),
    in_assemble("BND-35", "H(x_1 | x_0) left out → subtracted", "horenbergerb/BernoulliDiffusion@a49b99e",
            edited("term left out: terms.entropy_1")),
    in_assemble("BND-35b", "H(x_T | x_0) left out → added", "horenbergerb/BernoulliDiffusion@a49b99e",
            edited("term left out: terms.entropy_T")),
    in_assemble("NEW-T=1", "(T − 1)/S with S = 0 terms: 0/0 at T = 1 → no term", "edge of the estimator",
            then(lambda k, terms, T: k + 0 * np.float64(T - 1) / len(terms.kl))),
    Mistake("NEW-STRICT", "eq. 14 reported as a bound for any data → eq. 14 + C", "the paper's eqs. 43 and 46",
            "bound.strict_bound_vjp", "value", lambda right: lambda *args, **fixed: bound.bound_vjp(*args, **fixed)),
    in_correction("NEW-C-SIGN", "C subtracted → added", "eqs. 43 and 46, the sign", then(np.negative)),
    in_correction("NEW-C-EDGE", "C of x_T alone → and of the step from x_0 to x_1, ½ β_1 (1 − x²)", "eq. 43 without eq. 46",
            edited("term left out: Σ_components -1/2 (log(2 π) + x_0²) + Σ…")),
    in_correction("NEW-C-RATE", "C with β_T → with β_1", "eq. 46, the index",
            then(lambda c, beta, x_0: c + (beta[-1] - beta[1]) * (1 - x_0 * x_0).reshape(len(x_0), -1).sum(axis=1) / 2)),
    Mistake("SHP-02", "per-example numbers broadcast to (N, N) and averaged: all rows get the mean → each its own",
            "bayesflow-org/bayesflow#787", "bound.step_kl_vjp", "value", then(lambda kl: 0 * kl + kl.sum() / max(len(kl), 1))),
    Mistake("NEW-CDF", "log of a difference of two Φ → without a difference", "the textbook form", "later.decoder.log_mass_vjp",
            "accuracy", instead(_mass_by_difference)),
    Mistake("NEW-PRIOR-ABAR", "prior term through the variance 1 − ᾱ, 0 for small ᾱ → through ᾱ", "the textbook form",
            "later.objective.prior_kl", "accuracy", PRINTED),
)


PATHS_AND_DRAWS = (
    Mistake("BND-31", "last step scored with variance 1 → with β_1", "revsic/jax-variational-diffwave#1", "likelihood.log_weights",
            "value", _last_step(lambda p, network: Gaussian(p.mean, np.ones_like(p.var)))),
    Mistake("NEW-EDGE", "network asked for the last step too → the forward kernel at β_1", "eq. 44 overlooked",
            "likelihood.log_weights", "value", _last_step(lambda p, network: network())),
    Mistake("NEW-JENSEN", "average of log w, which is eq. 12 → log of the average", "eqs. 9 and 12", "likelihood.log_likelihood",
            "value", then(lambda found, log_w: found._replace(value=float(log_w.mean())))),
    Mistake("NEW-NULL", "L_null a mean over components → a sum", "keras-team/keras!3383 (BND-19)", "likelihood.null_log_likelihood",
            "value", edited("mean over components, for the sum of -1/2 (log(2 π) + x_0²)")),
    Mistake("TRN-07", "deviation with n → with n − 1", "ORIG@93f8ae3", "likelihood.average", "value", edited("term left out: 1")),
    in_draw_steps("RNG-01", "t = round(U(2, T)): both ends with half the weight → uniform",
            "gmongaras/Diffusion_models_from_scratch@65ebc69",
            instead(lambda rng, T, shape: np.rint(rng.uniform(2, T, shape)).astype(int))),
    in_draw_steps("RNG-02", "upper end exclusive: t = T never drawn → drawn", "Michedev/DDPMs-Pytorch@4cdb52d",
            instead(lambda rng, T, shape: rng.integers(2, T, size=shape))),
    in_draw_steps("RNG-11", "one t for the whole batch → for each example its own", "ORIG, youngunghan@fa1712e",
            instead(lambda rng, T, shape: np.repeat(rng.integers(2, T + 1, size=(shape[0], 1)), shape[1], axis=1))),
)


# -- gradients -----------------------------------------------------------------------------------------------------------

def _cut(part: str, name: str, **changes: Callable[[Any], Any]) -> Plant:
    """The kernel or the network with changed cotangents of one of its functions: a path of the gradient detached."""
    return told(**{part: lambda module: SimpleNamespace(**{**vars(module), name: pulled(**changes)(vars(module)[name])})})


def _scattered_once(dstep: Step, beta: Array, level: Array, *, t: Array, ndim: int) -> tuple[Array, Array]:
    """Fancy += keeps only one of the rows that share a t."""
    dbeta, dlevel = 0 * (beta + dstep.beta.ravel()[0]), 0 * (beta + dstep.beta.ravel()[0])
    dbeta[t] += dstep.beta.ravel()
    dlevel[t - 1] += dstep.log_alpha_bar_prev.ravel()
    dlevel[t] += dstep.log_alpha_bar.ravel()
    return dbeta, dlevel


def _softmax_diagonal(dg: Array, x: Array, centre: Array, log_width: Array) -> tuple[Array, Array, Array]:
    offset, inverse = x[:, None, :] - centre, np.exp(-2 * log_width)
    s = -(offset ** 2).sum(axis=2) * inverse / 2
    g = np.exp(s - s.max(axis=1, keepdims=True))
    g /= g.sum(axis=1, keepdims=True)
    ds = g * (1 - g) * dg
    pull = (ds * inverse)[:, :, None] * offset
    return -pull.sum(axis=1), pull.sum(axis=0), -2 * (ds * s).sum(axis=0)


def _of_the_norm(dvalue: Array, x: Array, p: Gaussian) -> tuple[Array, Gaussian]:
    """|x − mean|/σ differentiated instead of its square."""
    dx = -dvalue * np.sign(x - p.mean) / np.sqrt(p.var)
    return dx, Gaussian(-dx, dvalue * ((x - p.mean) ** 2 / p.var - 1) / (2 * p.var))


def _in_place(dy: Array, x: Array) -> Array:
    dy *= 1 - np.tanh(x) ** 2
    return dy


_VLB = "DavidRuhe/simple-variational-diffusion-models@4907ac7"

GRADIENTS = (
    in_step_kl_vjp("GRD-01", "x_t detached: the schedule's gradient through the draw cut → kept", _VLB,
            _cut("kernel", "draw_vjp", p=zero)),
    in_step_kl_vjp("GRD-01b", "posterior taken for a constant of the schedule → differentiated", _VLB,
            _cut("kernel", "posterior_vjp", beta=zero, log_alpha_bar_prev=zero)),
    in_step_kl_vjp("GRD-01c", "posterior's x_t detached → differentiated", _VLB, _cut("kernel", "posterior_vjp", x_t=zero)),
    in_step_kl_vjp("GRD-01d", "β in the read-out taken for a constant → differentiated", _VLB,
            _cut("network", "reverse_vjp", step=zero)),
    in_step_kl_vjp("GRD-01e", "x_t through the network detached → differentiated", _VLB, _cut("network", "reverse_vjp", x_t=zero)),
    Mistake("NEW-KL-PARTS", "parameters get the gradient of half the KL → of all of it", "a ½ too many", "bound.network_kl_vjp",
            "gradient", pulled(parameters=scaled(0.5))),
    Mistake("GRD-01f", "entropies taken for constants → differentiated", _VLB + " (BND-35)", "bound.entropy_at_vjp", "gradient",
            pullback_then(zero)),
    Mistake("SCH-11", "learned rates never get a gradient → they do", "ORIG model.py", "schedule.learned_vjp", "gradient",
            pullback_then(zero)),
    Mistake("GRD-04", "cotangent broadcast to (N, N): all rows get the mean → each its own",
            "lucidrains/denoising-diffusion-pytorch@01c6bed", "bound.assemble_vjp", "gradient",
            lambda right: lambda terms, *, T: (right(terms, T=T)[0], lambda dbound: right(terms, T=T)[1](
                            np.full_like(dbound, dbound.mean())))),
    Mistake("GRD-05", "gradient divided by the batch, value not → neither", "AkiRusProd/numpy-diffusion@5116f79", "bound.bound_vjp",
            "gradient", pullback_then(lambda d, x_0: scaled(1 / len(x_0))(d))),
    Mistake("GRD-07", "no gradient through p.var of the KL → with it", "gmongaras/Diffusion_models_from_scratch@e855d56",
            "gaussian.kl_vjp", "gradient", pulled(p=without("var"))),
    Mistake("GRD-07b", "log-variance differentiated as a log-deviation: factor 2 → 1",
            "gmongaras/Diffusion_models_from_scratch@c58823f", "networks.readout.denoising_vjp", "gradient",
            pulled(heads=lambda d: Heads(d.mean, 2 * d.var))),
    Mistake("GRD-08", "norm differentiated → the square of the norm", "hwlee11/Example_diffusion_probabilistic_models@07942cd",
            "gaussian.log_prob_vjp", "gradient", pulled_by(_of_the_norm)),
    Mistake("LAY-01", "softmax pulled back by its diagonal g (1 − g) → g (dg − ⟨g, dg⟩)", "deeplearning4j/libnd4j#440",
            "layers.rbf.rbf_vjp", "gradient", pulled_by(_softmax_diagonal)),
    Mistake("LAY-02", "layer's pullback divided by the batch → not", "AkiRusProd/numpy-diffusion@5116f79",
            "layers.linear.linear_vjp", "gradient", pullback_then(lambda d, x: scaled(1 / len(x))(d))),
    Mistake("LAY-19", "softplus′(0) = 0 → ½", "jax-ml/jax#2107", "activation.softplus_vjp", "gradient",
            pulled_by(lambda dy, x: np.where(x == 0, 0, sigmoid(x)) * dy)),
    Mistake("LAY-20", "softplus pulled back at the cotangent → at the input", "NVlabs/tiny-cuda-nn!130", "activation.softplus_vjp",
            "gradient", pulled_by(lambda dy, x: sigmoid(dy) * dy)),
    Mistake("LAY-22", "broadcast undone by a sum over the rows → over the components", "deeplearning4j/nd4j#2424",
            "gaussian.marginal_vjp", "gradient", pulled(log_alpha_bar=lambda d: np.broadcast_to(d.sum(axis=0), d.shape))),
    Mistake("LAY-23", "input used where the output was kept: 1 − x² → 1 − y²", "ddbourgin/numpy-ml@be8ae23", "activation.tanh_vjp",
            "gradient", pulled_by(lambda dy, x: (1 - x * x) * dy)),
    Mistake("NEW-IN-PLACE", "cotangent overwritten by the pullback → left alone", "allowed in thinc", "activation.tanh_vjp",
            "gradient", pulled_by(_in_place)),
    Mistake("NEW-SCATTER", "rows that share a t overwrite each other → add up", "NumPy's fancy +=", "schedule.step_vjp", "gradient",
            pulled_by(_scattered_once)),
    Mistake("NEW-CUMSUM", "β_t collects the levels before it → those from t on", "chain rule of ᾱ, the wrong way along t",
            "schedule.log_alpha_bar_vjp", "gradient", pulled_by(lambda dlevel, beta: -np.cumsum(dlevel) / (1 - beta))),
    Mistake("GRD-01-DEC", "bound's decoder taken for a constant of the schedule → differentiated", "as GRD-01",
            "later.objective.decoder_vjp", "gradient", pulled(beta=zero)),
    Mistake("NEW-BIN-GRAD", "log mass differentiated by the mean alone → by the variance too",
            "a mass taken for a density of fixed width", "later.decoder.log_mass_vjp", "gradient", pulled(p=without("var"))),
)
