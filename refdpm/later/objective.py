"""The bound of Ho, Jain and Abbeel in bits per dimension: the paper's chain with a decoder where the paper has its fixed edge.

For x_0 on the levels of a grid, with P(x_0 | x_1) the mass that the law of the step t = 1 has in the bin of x_0,

    −log P(x_0) ≤ KL(q(x_T | x_0) ‖ π) + Σ_{t=2}^T E KL( q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t) ) − E log P(x_0 | x_1).

The terms t = 2..T are those of K (`bound.step_kl`).  The two ends differ.  Let p(x_0 | x_1) be a density, the forward kernel as in
eq. 44, and `edge` its average log density.  Then

    −KL(q(x_T | x_0) ‖ π) − Σ_{t=2}^T E KL + edge = K + C,

the strict bound of `bound`: the ends of K are H(x_T | x_0) − H(x_1 | x_0) − H(π), and C = ½ (ᾱ_T + β_1)(1 − x_0²) per component is
what eq. 14 leaves out.  A mass is a density times the width of the bin, while bins are narrow compared with √β_1; so on fine grids
this bound, with first = "fixed", is −(K + C) − D log(width): log₂(1/width) bits more per dimension, 6.99 at 256 levels from −1
to 1.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from refdpm import bound, gaussian, schedule
from refdpm.activation import x_minus_log1p
from refdpm.doors import open_doors
from refdpm.gaussian import LOG_2PI
from refdpm.later.decoder import Grid, level, log_mass_vjp
from refdpm.later.model import Model, as_network, last_step_vjp
from refdpm.likelihood import bits, total_vjp
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, Tree, tree_map, unbroadcast


class Terms(NamedTuple):
    """prior + (T−1)/S Σ_s kl[s] + decoder ≥ −log P(x_0), in nats, per example: kl (S, N), the others (N,)."""

    prior: Array
    kl: Array
    decoder: Array


# -- the two ends ------------------------------------------------------------------------------------------------------

def prior_kl(x_0: Array, log_alpha_bar: Array) -> Array:
    """KL(q(x_T | x_0) ‖ π) = ½ [ᾱ x_0² − ᾱ − log(1−ᾱ)] per component, in nats.

    Derivation: `gaussian.kl` of N(√ᾱ x_0, 1−ᾱ) and N(0, 1).  There the variance is given, and 1−ᾱ has forgotten a small ᾱ.
    Shapes: x_0 (N, …), log_alpha_bar (N, 1, …) → as x_0.
    Edge: 0 at ᾱ = 0.
    """
    alpha_bar = np.exp(log_alpha_bar)
    small = np.real(log_alpha_bar) < -0.7
    spread = np.where(small, x_minus_log1p(np.where(small, -alpha_bar, 0.0)),
                      -alpha_bar - np.log(-np.expm1(np.where(small, -1.0, log_alpha_bar))))
    return (alpha_bar * x_0 * x_0 + spread) / 2


def prior_kl_vjp(x_0: Array, log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `prior_kl`:   dKL = ᾱ x_0 dx_0 + ½ ᾱ [x_0² + ᾱ/(1−ᾱ)] dℓ."""
    alpha_bar = np.exp(log_alpha_bar)

    def pullback(dkl: Array) -> tuple[Array, Array]:
        dlevel = alpha_bar / 2 * (x_0 * x_0 - alpha_bar / np.expm1(log_alpha_bar)) * dkl
        return unbroadcast(alpha_bar * x_0 * dkl, x_0.shape), unbroadcast(dlevel, log_alpha_bar.shape)

    return prior_kl(x_0, log_alpha_bar), pullback


def edge(x_0: Array, beta_1: Array) -> Array:
    """E log p(x_0 | x_1) given x_0 per component, in nats, with the paper's p(x_0 | x_1) = N(√(1−β_1) x_1, β_1):

        −½ [log 2π + log β_1 + β_1 x_0² + 1 − β_1].

    Derivation: x_0 − √(1−β_1) x_1 = β_1 x_0 − √(β_1(1−β_1)) ε has the mean square β_1² x_0² + β_1(1−β_1).
    Shapes: x_0 (N, …), beta_1 (N, 1, …) → as x_0.
    """
    return -(LOG_2PI + np.log(beta_1) + beta_1 * x_0 * x_0 + (1 - beta_1)) / 2


def edge_vjp(x_0: Array, beta_1: Array) -> tuple[Array, Pullback]:
    """Adjoint of `edge`:   −β_1 x_0 dx_0 − ½ (1/β_1 + x_0² − 1) dβ_1."""

    def pullback(dvalue: Array) -> tuple[Array, Array]:
        dbeta_1 = -(1 / beta_1 + x_0 * x_0 - 1) / 2 * dvalue
        return unbroadcast(-beta_1 * x_0 * dvalue, x_0.shape), unbroadcast(dbeta_1, beta_1.shape)

    return edge(x_0, beta_1), pullback


def decoder(parameters: Tree, beta: Array, *, k: Array, grid: Grid, noise: Array, model: Model) -> Array:
    """−log P(x_0 | x_1) per example, in nats, x_1 drawn with frozen noise.

    Shapes: beta (T+1,), k integers (N, …), noise (N, …) → (N,).
    """
    return decoder_vjp(parameters, beta, k=k, grid=grid, noise=noise, model=model)[0]


def decoder_vjp(parameters: Tree, beta: Array, *, k: Array, grid: Grid, noise: Array, model: Model) -> tuple[Array, Pullback]:
    """Adjoint of `decoder`."""
    schedule.checked(beta)
    t = np.ones(len(k), dtype=int)
    step, back_step = schedule.step_at_vjp(beta, t=t, ndim=k.ndim)
    q, back_marginal = gaussian.marginal_vjp(level(k, grid=grid), step.log_alpha_bar)
    x_1, back_draw = gaussian.draw_vjp(q, noise=noise)
    p, back_last = last_step_vjp(parameters, beta, x_1, step, t=t, model=model)
    per_component, back_mass = log_mass_vjp(p, k=k, grid=grid)
    log_p, back_total = total_vjp(per_component)

    def pullback(dvalue: Array) -> tuple[Tree, Array]:
        dparameters, dbeta_last, dx_1, dstep = back_last(back_mass(back_total(-dvalue)))
        _, dlevel_marginal = back_marginal(back_draw(dx_1))
        dbeta_step = back_step(dstep._replace(log_alpha_bar=dstep.log_alpha_bar + dlevel_marginal))
        return dparameters, dbeta_last + dbeta_step

    return -log_p, pullback


# -- the bound ---------------------------------------------------------------------------------------------------------

def terms(parameters: Tree, beta: Array, *, k: Array, grid: Grid, noise: Array, noise_1: Array, t: Array, model: Model) -> Terms:
    """The terms of the bound, for S values of t per example.

    Shapes: beta (T+1,), k integers (N, …), noise (S, N, …), noise_1 (N, …) for x_1, t integers (S, N) in 2..T → as in
    `Terms`.
    """
    return terms_vjp(parameters, beta, k=k, grid=grid, noise=noise, noise_1=noise_1, t=t, model=model)[0]


def terms_vjp(parameters: Tree, beta: Array, *, k: Array, grid: Grid, noise: Array, noise_1: Array, t: Array, model: Model
              ) -> tuple[Terms, Pullback]:
    """Adjoint of `terms`."""
    x_0, T = level(k, grid=grid), len(beta) - 1
    rows = (t.size,) + k.shape[1:]
    kl, back_kl = bound.step_kl_vjp(parameters, beta, np.broadcast_to(x_0, t.shape + k.shape[1:]).reshape(rows),
                                    noise=noise.reshape(rows), t=t.ravel(), kernel=gaussian, network=as_network(model))
    step, back_step = schedule.step_at_vjp(beta, t=np.full(len(k), T), ndim=k.ndim)
    per_component, back_prior = prior_kl_vjp(x_0, step.log_alpha_bar)
    prior, back_total = total_vjp(per_component)
    decoded, back_decoder = decoder_vjp(parameters, beta, k=k, grid=grid, noise=noise_1, model=model)

    def pullback(dterms: Terms) -> tuple[Tree, Array]:
        dparameters_decoder, dbeta_decoder = back_decoder(dterms.decoder)
        _, dlevel_T = back_prior(back_total(dterms.prior))
        dbeta_T = back_step(Step(0 * dlevel_T, 0 * dlevel_T, dlevel_T))
        dparameters_kl, dbeta_kl, _ = back_kl(dterms.kl.ravel())
        return tree_map(np.add, dparameters_kl, dparameters_decoder), dbeta_kl + dbeta_decoder + dbeta_T

    return Terms(prior, kl.reshape(t.shape), decoded), pullback


def assemble(terms: Terms, *, T: int) -> Array:
    """prior + (T−1)/S Σ_s kl[s] + decoder: what −log P(x_0) is at most, on average over the noise, in nats per example.

    Shapes: as in `Terms` → (N,).
    """
    return terms.prior + (T - 1) / max(len(terms.kl), 1) * terms.kl.sum(axis=0) + terms.decoder


def assemble_vjp(terms: Terms, *, T: int) -> tuple[Array, Pullback]:
    """Adjoint of `assemble`:   dprior + (T−1)/S Σ_s dkl[s] + ddecoder."""
    share = (T - 1) / max(len(terms.kl), 1)

    def pullback(dvalue: Array) -> Terms:
        dkl = share * unbroadcast(dvalue, terms.kl.shape[1:])
        return Terms(unbroadcast(dvalue, terms.prior.shape), np.broadcast_to(dkl, terms.kl.shape),
                     unbroadcast(dvalue, terms.decoder.shape))

    return assemble(terms, T=T), pullback


def per_dimension(nats: Array, *, k: Array, per_unit: float = 1.0) -> Array:
    """Nats per example as bits per dimension: divided by log 2 and by the number of components.

    Shapes: nats (N,), k (N, …) → (N,).

    Of nats of a density per_unit is how many levels a unit of x has, 128 where they are 1/128 apart: a level's mass is its density
    times its width, and costs log₂(per_unit) bits more.
    """
    return nats * bits(1.0) / prod(k.shape[1:]) + np.log2(per_unit)


def per_dimension_vjp(nats: Array, *, k: Array, per_unit: float = 1.0) -> tuple[Array, Pullback]:
    """Adjoint of `per_dimension`:   dnats/(D log 2)."""
    return per_dimension(nats, k=k, per_unit=per_unit), lambda dvalue: dvalue * bits(1.0) / prod(k.shape[1:])


open_doors(globals())
