"""Mistakes in the bound, the average over forward paths, units, and the draw of t."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import bound, schedule
from refdpm.bound import Terms
from refdpm.conformance.planting import Mistake, Plant, instead, value_then
from refdpm.gaussian import Gaussian
from refdpm.likelihood import Estimate
from refdpm.vjp import Array

# Not yet plantable: DIS-08, RNG-07 need a sampler of categories.
# Not yet plantable: BND-26 is two errors that cancel; RNG-04 needs t from a uniform number; RNG-05 continuous t.
# Not yet plantable: DIS-07, GRD-02 need a hybrid loss; DIS-11 a decoder that predicts x_0.


def _assemble(k: Callable[[Terms, int, int], Array]) -> Plant:
    """K as another function k(terms, T, S) of its terms."""
    return instead(lambda terms, *, T: k(terms, T, max(len(terms.kl), 1)))


def _ends(terms: Terms) -> Array:
    return terms.entropy_T - terms.entropy_1 - terms.entropy_prior


def _per_dimension(right: Callable[..., Any]) -> Callable[..., Any]:
    def step_kl_vjp(parameters: Any, beta: Array, x_0: Array, **fixed: Any) -> Any:
        kl, pullback = right(parameters, beta, x_0, **fixed)
        return kl / np.prod(x_0.shape[1:]), pullback
    return step_kl_vjp


def _correction(c: Callable[[float, Array], float]) -> Plant:
    """C = ½ Σ (1 − x²) · c(ᾱ_T, β)."""
    def correction_vjp(beta: Array, x_0: Array, *, kernel: Any) -> Any:
        rest = (1 - x_0 * x_0).reshape(len(x_0), -1).sum(axis=1) / 2
        return rest * c(np.prod(1 - beta), beta), None
    return instead(correction_vjp)


def _last_step(law: Callable[[Gaussian, Callable[[], Gaussian]], Gaussian]) -> Plant:
    """log_weights with another law(right one, what the network would say) of the last reverse step, which is fixed."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def log_weights(parameters: Any, beta: Array, x_0: Array, *, noise: Array, kernel: Any, network: Any) -> Any:
            t = np.ones(len(x_0), dtype=int)
            step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=x_0.ndim)
            x_1 = kernel.draw(kernel.forward(x_0, step.beta), noise=noise[0])
            p = kernel.forward(x_1, step.beta)
            wrong = law(p, lambda: network.reverse(parameters, x_1, step, t=t))
            gain = kernel.log_prob(x_0, wrong) - kernel.log_prob(x_0, p)
            log_w = right(parameters, beta, x_0, noise=noise, kernel=kernel, network=network)
            return log_w + gain.reshape(len(x_0), -1).sum(axis=1)
        return log_weights
    return plant


BOUND = (
    Mistake("BND-01", "one-t estimate multiplied by T → by the T − 1 steps there are",
            "ORIG get_negL_bound", "bound.assemble", "value",
            _assemble(lambda terms, T, S: -T / S * terms.kl.sum(axis=0) + _ends(terms))),
    Mistake("BND-02", "−K reported → K",
            "ORIG@2feb135", "bound.bound_vjp", "value", value_then(lambda k: -k)),
    Mistake("BND-04", "entropy of π with log e added once more: ½ nat a component too much → without",
            "ORIG@7f21252", "bound.terms_vjp", "value",
            value_then(lambda terms: terms._replace(entropy_prior=terms.entropy_prior + 0.5))),
    Mistake("BND-05", "one-t estimate not multiplied by the number of steps → multiplied",
            "cvignac/DiGress@b36d99f", "bound.assemble", "value",
            _assemble(lambda terms, T, S: -terms.kl.sum(axis=0) / S + _ends(terms))),
    Mistake("BND-07", "total = term, so that only the last survives → total += term",
            "Michedev/DDPMs-Pytorch@8a1abce", "bound.assemble", "value",
            _assemble(lambda terms, T, S: -(T - 1) / S * terms.kl[-1:].sum(axis=0) + _ends(terms))),
    Mistake("BND-08", "entropies added at every t → once",
            "horenbergerb/BernoulliDiffusion@3d1f72a", "bound.assemble", "value",
            _assemble(lambda terms, T, S: -(T - 1) / S * terms.kl.sum(axis=0) + (T - 1) * _ends(terms))),
    Mistake("BND-19", "KL a mean over components, entropies a sum → both a sum",
            "keras-team/keras!3383, scverse/scvi-tools!1895", "bound.step_kl_vjp", "value", _per_dimension),
    Mistake("BND-19b", "KL of the training loss a mean over components → a sum",
            "keras-team/keras!3383, scverse/scvi-tools!1895", "bound.network_kl_vjp", "value", value_then(lambda kl: kl / 2)),
    Mistake("BND-20", "Gaussian KL at t = 1 as well, where the posterior has no variance → from t = 2 on",
            "gmongaras/Diffusion_models_from_scratch@c58823f", "bound.every_step", "value",
            instead(lambda T, N: np.repeat(np.arange(1, T + 1)[:, None], N, axis=1))),
    Mistake("BND-25", "log10 → log2",
            "horenbergerb/BernoulliDiffusion@8192d6a", "likelihood.bits", "value", instead(lambda nats: nats / np.log(10))),
    Mistake("BND-25b", "KL in nats added to entropies in bits → one unit",
            "horenbergerb/BernoulliDiffusion@8192d6a", "bound.assemble", "value",
            _assemble(lambda terms, T, S: -(T - 1) / S * terms.kl.sum(axis=0) + _ends(terms) / np.log(2))),
    Mistake("BND-29", "wrong element of the tuple: the entropies of x_1 and x_T exchanged → each its own",
            "NVlabs/LSGM#13", "bound.terms_vjp", "value",
            value_then(lambda terms: terms._replace(entropy_1=terms.entropy_T, entropy_T=terms.entropy_1))),
    Mistake("BND-32", "terms that do not depend on the network dropped from a reported bound → kept",
            "andrew-cr/tauLDR#7", "bound.assemble", "value",
            _assemble(lambda terms, T, S: -(T - 1) / S * terms.kl.sum(axis=0) + 0 * _ends(terms))),
    Mistake("BND-35", "H(x_1 | x_0) left out → subtracted",
            "horenbergerb/BernoulliDiffusion@a49b99e", "bound.assemble", "value",
            _assemble(lambda terms, T, S: -(T - 1) / S * terms.kl.sum(axis=0) + terms.entropy_T - terms.entropy_prior)),
    Mistake("BND-35b", "H(x_T | x_0) left out → added",
            "horenbergerb/BernoulliDiffusion@a49b99e", "bound.assemble", "value",
            _assemble(lambda terms, T, S: -(T - 1) / S * terms.kl.sum(axis=0) - terms.entropy_1 - terms.entropy_prior)),
    Mistake("NEW-T=1", "(T − 1)/S with S = 0 terms: 0/0 at T = 1 → no term",
            "edge of the estimator", "bound.assemble", "value",
            instead(lambda terms, *, T: -np.float64(T - 1) / len(terms.kl) * terms.kl.sum(axis=0) + _ends(terms))),
    Mistake("NEW-STRICT", "eq. 14 reported as a bound for any data → eq. 14 + C",
            "the paper's eqs. 43 and 46", "bound.strict_bound_vjp", "value",
            lambda right: lambda *args, **fixed: bound.bound_vjp(*args, **fixed)),
    Mistake("NEW-C-SIGN", "C subtracted → added",
            "eqs. 43 and 46, the sign", "bound.correction_vjp", "value", value_then(lambda c: -c)),
    Mistake("NEW-C-EDGE", "C of x_T alone → and of the step from x_0 to x_1, ½ β_1 (1 − x²)",
            "eq. 43 without eq. 46", "bound.correction_vjp", "value", _correction(lambda alpha_bar, beta: alpha_bar)),
    Mistake("NEW-C-RATE", "C with β_T → with β_1",
            "eq. 46, the index", "bound.correction_vjp", "value", _correction(lambda alpha_bar, beta: alpha_bar + beta[-1])),
    Mistake("SHP-02", "per-example numbers broadcast to (N, N) and averaged: all rows get the mean → each its own",
            "bayesflow-org/bayesflow#787", "bound.step_kl_vjp", "value",
            value_then(lambda kl: 0 * kl + kl.sum() / max(len(kl), 1))),
)


def _stub(integers: Callable[..., Array]) -> Plant:
    """draw_steps with t from integers(rng, T, shape)."""
    return instead(lambda rng, T, shape: integers(rng, T, shape))


PATHS_AND_DRAWS = (
    Mistake("BND-31", "last step scored with variance 1 → with β_1",
            "revsic/jax-variational-diffwave#1", "likelihood.log_weights", "value",
            _last_step(lambda p, network: Gaussian(p.mean, np.ones_like(p.var)))),
    Mistake("NEW-EDGE", "network asked for the last step too → the forward kernel at β_1",
            "eq. 44 overlooked", "likelihood.log_weights", "value", _last_step(lambda p, network: network())),
    Mistake("NEW-JENSEN", "average of log w, which is eq. 12 → log of the average",
            "eqs. 9 and 12", "likelihood.log_likelihood", "value",
            lambda right: lambda log_w: Estimate(float(log_w.mean()), right(log_w).stderr)),
    Mistake("NEW-NULL", "L_null a mean over components → a sum",
            "keras-team/keras!3383 (BND-19)", "likelihood.null_log_likelihood", "value",
            lambda right: lambda x_0, *, kernel: right(x_0, kernel=kernel) / np.prod(x_0.shape[1:])),
    Mistake("TRN-07", "deviation with n → with n − 1",
            "ORIG@93f8ae3", "likelihood.average", "value",
            instead(lambda x: Estimate(float(x.mean()), float(x.std() / np.sqrt(len(x)))))),
    Mistake("RNG-01", "t = round(U(2, T)): both ends with half the weight → uniform",
            "gmongaras/Diffusion_models_from_scratch@65ebc69", "bound.draw_steps", "value",
            _stub(lambda rng, T, shape: np.rint(rng.uniform(2, T, shape)).astype(int))),
    Mistake("RNG-02", "upper end exclusive: t = T never drawn → drawn",
            "Michedev/DDPMs-Pytorch@4cdb52d", "bound.draw_steps", "value",
            _stub(lambda rng, T, shape: rng.integers(2, T, size=shape))),
    Mistake("RNG-11", "one t for the whole batch → for each example its own",
            "ORIG, youngunghan@fa1712e", "bound.draw_steps", "value",
            _stub(lambda rng, T, shape: np.repeat(rng.integers(2, T + 1, size=(shape[0], 1)), shape[1], axis=1))),
)

MISTAKES = BOUND + PATHS_AND_DRAWS
