"""Mistakes in the bound, in the draw of t, and in pullbacks.

Where the value is right and the gradient is not, the adjoint test has to find it.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm import bound
from refdpm.bound import Terms
from refdpm.conformance.planting import Mistake, Plant, edited, instead, of, pullback_then, pulled, scaled, then, told, zero
from refdpm.vjp import Array

# Not yet plantable: DIS-08, RNG-07 need a sampler of categories.
# Not yet plantable: BND-26 is two errors that cancel; RNG-04 needs t from a uniform number; RNG-05 continuous t.
# Not yet plantable: DIS-07, GRD-02 need a hybrid loss.
# Not yet plantable: GRD-10 an argument at an exact edge; GRD-11 is a mistake of a checker.


def _ends(terms: Terms) -> Array:
    return terms.entropy_T - terms.entropy_1 - terms.entropy_prior


A_MEAN = then(lambda kl, x_0: kl / np.prod(x_0.shape[1:]))         # over components, of a sum

in_assemble, in_correction, in_draw_steps = of("bound.assemble"), of("bound.correction_vjp"), of("bound.draw_steps")
in_step_kl_vjp = of("bound.step_kl_vjp", "gradient")

BOUND = (
    in_assemble("BND-01", "one-t estimate multiplied by T → by the T − 1 steps there are", "ORIG get_negL_bound",
            edited("term left out: 1")),
    Mistake("BND-02", "−K reported → K", "ORIG@2feb135", "bound.bound_vjp", "value", then(np.negative)),
    Mistake("BND-04", "entropy of π with log e added once more: ½ nat a component too much → without", "ORIG@7f21252",
            "bound.terms_vjp", "value",
            then(lambda terms, x_0: terms._replace(entropy_prior=terms.entropy_prior + np.prod(x_0.shape[1:]) / 2))),
    in_assemble("BND-05", "one-t estimate not multiplied by the number of steps → multiplied", "cvignac/DiGress@b36d99f",
            edited("factor left out: T − 1")),
    in_assemble("BND-07", "total = term, so that only the last survives → total += term", "Michedev/DDPMs-Pytorch@8a1abce",
            told(terms=lambda terms: terms._replace(kl=np.concatenate([0 * terms.kl[:-1], terms.kl[-1:]])))),
    in_assemble("BND-08", "entropies added at every t → once", "horenbergerb/BernoulliDiffusion@3d1f72a",
            then(lambda k, terms, T: k + (T - 2) * _ends(terms))),
    Mistake("BND-19", "KL a mean over components, entropies a sum → both a sum", "keras-team/keras!3383, scverse/scvi-tools!1895",
            "bound.step_kl_vjp", "value", A_MEAN),
    Mistake("BND-20", "Gaussian KL at t = 1 as well, where the posterior has no variance → from t = 2 on",
            "gmongaras/Diffusion_models_from_scratch@c58823f", "bound.every_step", "value",
            instead(lambda T, N: np.repeat(np.arange(1, T + 1)[:, None], N, axis=1))),
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
)


DRAWS = (
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
    Mistake("GRD-01f", "entropies taken for constants → differentiated", _VLB + " (BND-35)", "bound.end_terms_vjp", "gradient",
            pullback_then(zero)),
    Mistake("GRD-04", "cotangent broadcast to (N, N): all rows get the mean → each its own",
            "lucidrains/denoising-diffusion-pytorch@01c6bed", "bound.assemble_vjp", "gradient",
            lambda right: lambda terms, *, T: (right(terms, T=T)[0], lambda dbound: right(terms, T=T)[1](
                            np.full_like(dbound, dbound.mean())))),
    Mistake("GRD-05", "gradient divided by the batch, value not → neither", "AkiRusProd/numpy-diffusion@5116f79", "bound.bound_vjp",
            "gradient", pullback_then(lambda d, x_0: scaled(1 / len(x_0))(d))),
)
