"""Clauses of the Gaussian chain: levels, forward step, marginal, posterior, draws, divergence, entropies."""

import numpy as np

from refdpm import gaussian, schedule
from refdpm.conformance import terms
from refdpm.conformance.clauses.common import (D, N, Function, Inputs, Output, Row, arrays, chain, chain_edges, drawn,
                                               edge_schedules, listed, own_levels, positive, row_of, scales, schedules, spread_out,
                                               step_of)
from refdpm.conformance.terms import Terms
from refdpm.gaussian import Gaussian
from refdpm.vjp import Array

MEAN_VAR = (Output("MEAN"), Output("VAR", "variance"))


# -- levels ------------------------------------------------------------------------------------------------------------

def _alpha_bar_scale(inputs: Inputs) -> tuple[Array, ...]:
    return scales(terms.cumulative_product(1 - terms.exact(inputs["beta"]))[1:])


ALPHA_BAR = Function(
    "alpha_bar", "SCH.ABAR", "ᾱ_t = ∏_{s≤t} (1 − β_s), t = 1..T: the share of the signal's variance that t steps leave", ("2", "App.1 G marginal"),
    (Output("TABLE", "table"),), lambda given: schedules(given).map(lambda beta: {"beta": beta}),
    lambda given: [{"beta": beta} for beta in edge_schedules(given)],
    lambda i: (schedule.alpha_bar(i["beta"])[1:],), _alpha_bar_scale, sizes=lambda inputs: 1)


# -- kernels -----------------------------------------------------------------------------------------------------------

def _forward_scale(i: Inputs) -> tuple[Array, ...]:
    row = row_of(i)
    return scales(terms.sqrt(row.alpha) * i["x_prev"], row.beta)


def _marginal(row: Row, x_0: Array) -> tuple[Terms, Terms]:
    return terms.sqrt(row.alpha_bar) * x_0, 1 - row.alpha_bar


def _posterior(row: Row, x_0: Array, x_t: Array) -> tuple[Terms, Terms]:
    before, rest = 1 - row.alpha_bar_prev, 1 - row.alpha_bar
    c_0, c_t = row.beta * terms.sqrt(row.alpha_bar_prev) / rest, terms.sqrt(row.alpha) * before / rest
    return c_0 * x_0 + c_t * x_t, row.beta * before / rest + Terms(0 * row.beta.value, row.beta.value)       # a clamp at t = 1


def _posterior_reference(i: Inputs) -> tuple[Array, ...]:
    step = step_of(i)
    return gaussian.posterior(i["x_t"], i["x_0"], step.beta, step.log_alpha_bar_prev)


def _posterior_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    beta = i["beta"]
    level, back_level = schedule.log_alpha_bar_vjp(beta)
    step, back_step = schedule.step_vjp(beta, level, t=i["t"], ndim=i["x_t"].ndim)
    q, back = gaussian.posterior_vjp(i["x_t"], i["x_0"], step.beta, step.log_alpha_bar_prev)
    mean, var = cotangents
    dx_t, dx_0, dbeta, dlevel = back(Gaussian(mean, var.sum(axis=tuple(range(1, var.ndim)), keepdims=True)))
    dbeta_step, dlevel_step = back_step(schedule.Step(dbeta, dlevel, np.zeros_like(dlevel)))
    return {"x_t": dx_t, "x_0": dx_0, "beta": (dbeta_step + back_level(dlevel_step))[1:]}


KERNELS = (
    Function(
        "forward", "GAU.FWD", "q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t)", ("2", "App.1 G forward"), MEAN_VAR,
        chain("x_prev"), chain_edges("x_prev"),
        lambda i: gaussian.forward(i["x_prev"], step_of(i).beta), _forward_scale),
    Function(
        "marginal", "GAU.MARG", "q(x_t | x_0) = N(√ᾱ_t x_0, 1 − ᾱ_t)", ("App.1 G marginal",), MEAN_VAR,
        chain("x_0"), chain_edges("x_0"), lambda i: gaussian.marginal(i["x_0"], step_of(i).log_alpha_bar),
        lambda i: scales(*_marginal(row_of(i), i["x_0"])), given=own_levels, after=("alpha_bar",)),
    Function(
        "marginal_sample", "GAU.DRAW", "x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε", ("App.1 G marginal",), (Output("X_T"),),
        chain("x_0", "noise"), chain_edges("x_0", "noise"),
        lambda i: (gaussian.draw(gaussian.marginal(i["x_0"], step_of(i).log_alpha_bar), noise=i["noise"]),),
        lambda i: scales((lambda q: q[0] + terms.sqrt(q[1]) * i["noise"])(_marginal(row_of(i), i["x_0"]))),
        given=own_levels, after=("alpha_bar", "marginal")),
    Function(
        "posterior", "GAU.POST", "q(x_{t−1} | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃_t) with c_0 = √ᾱ_{t−1} β_t/(1−ᾱ_t), "
        "c_t = √(1−β_t) (1−ᾱ_{t−1})/(1−ᾱ_t), β̃_t = β_t (1−ᾱ_{t−1})/(1−ᾱ_t)", ("48", "App.1 G posterior"), MEAN_VAR,
        chain("x_0", "x_t"), chain_edges("x_0", "x_t"), _posterior_reference,
        lambda i: scales(*_posterior(row_of(i), i["x_0"], i["x_t"])), given=own_levels, after=("alpha_bar",),
        vjp=_posterior_vjp, arguments=("x_t", "x_0", "beta")),
)


# -- divergence, entropies, density --------------------------------------------------------------------------------------

def _laws(i: Inputs) -> tuple[Gaussian, Gaussian]:
    return Gaussian(i["mean_q"], i["var_q"]), Gaussian(i["mean_p"], i["var_p"])


def _kl(i: Inputs) -> Terms:
    q, p = (Gaussian(*map(terms.exact, law)) for law in _laws(i))
    difference = q.mean - p.mean
    return (terms.log(p.var) - terms.log(q.var) + (q.var + difference * difference) / p.var - 1) / 2


TWO_LAWS = dict(mean_q=arrays(N, D), var_q=positive(N, D), mean_p=arrays(N, D), var_p=positive(N, D))
TWO_LAWS_EDGES = listed(
    dict(mean_q=spread_out(N, D), var_q=spread_out(N, D, low=0.25, high=4), mean_p=spread_out(N, D, start=0.5),
         var_p=spread_out(N, D, start=0.2, low=0.25, high=4)),
    dict(mean_q=spread_out(N, D), var_q=np.full((N, D), 0.25), mean_p=spread_out(N, D), var_p=np.full((N, D), 0.25)))

DIVERGENCES = (
    Function(
        "kl", "GAU.KL", "D_KL(q ‖ p) = ½ [log(σ_p²/σ_q²) + (σ_q² + (μ_q − μ_p)²)/σ_p² − 1] per component", ("14", "App.1 G bound"),
        (Output("VALUE", "information"),), drawn(**TWO_LAWS), TWO_LAWS_EDGES,
        lambda i: (gaussian.kl(*_laws(i)),), lambda i: scales(_kl(i))),
)

FUNCTIONS: tuple[Function, ...] = (ALPHA_BAR, *KERNELS, *DIVERGENCES)
