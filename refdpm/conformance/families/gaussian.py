"""Clauses of the Gaussian chain: levels, forward step, marginal, posterior, draws, divergence, entropies."""

from typing import Any

import numpy as np

from refdpm import gaussian, schedule
from refdpm.conformance import terms
from refdpm.conformance.families.common import (D, N, Function, Inputs, Output, Row, arrays, chain, chain_edges, drawn,
                                               edge_schedules, listed, own_levels, positive, row_of, scales, schedules, spread_out,
                                               step_of, step_vjp_of)
from refdpm.conformance.terms import Terms
from refdpm.gaussian import Gaussian
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, unbroadcast

MEAN_VAR = (Output("MEAN"), Output("VAR", "variance"))
NATS = (Output("VALUE", "information"),)
LOG_2PI = Terms(np.log(2 * np.pi), np.log(2 * np.pi))


# -- levels ------------------------------------------------------------------------------------------------------------

def _alpha_bar_scale(inputs: Inputs) -> tuple[Array, ...]:
    return scales(terms.cumulative_product(1 - terms.exact(inputs["beta"]))[1:])


def _alpha_bar_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    level, back = schedule.log_alpha_bar_vjp(i["beta"])
    return {"beta": back(np.exp(level) * np.append(0.0, cotangents[0]))[1:]}


ALPHA_BAR = Function(
    "alpha_bar", "SCH.ABAR", "ᾱ_t = ∏_{s≤t} (1 − β_s), t = 1..T: the share of the signal's variance that t steps leave",
    ("2", "App.1 G marginal"), (Output("TABLE", "table"),), lambda given: schedules(given).map(lambda beta: {"beta": beta}),
    lambda given: [{"beta": beta} for beta in edge_schedules(given)],
    lambda i: (schedule.alpha_bar(i["beta"])[1:],), _alpha_bar_scale, sizes=lambda inputs: 1,
    vjp=_alpha_bar_vjp, arguments=("beta",))


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


def _law(q: Gaussian) -> tuple[Array, Array]:
    """Mean and variance, one for every component."""
    return q.mean, np.broadcast_to(q.var, np.shape(q.mean))


def _gradients(step: Step, back: Pullback, *, beta: Any = 0.0, prev: Any = 0.0, level: Any = 0.0) -> Array:
    """The gradient with respect to β_1..β_T from the cotangents of β_t, ℓ_{t−1} and ℓ_t."""
    return np.asarray(back(Step(*(column + np.zeros_like(step.beta) for column in (beta, prev, level)))))


def _forward_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    step, back_step = step_vjp_of(i)
    _, back = gaussian.forward_vjp(i["x_prev"], step.beta)
    dx_prev, dbeta = back(_column(cotangents, step))
    return {"x_prev": dx_prev, "beta": _gradients(step, back_step, beta=dbeta)}


def _column(cotangents: tuple[Array, ...], step: Step) -> Gaussian:
    """The cotangent of a law with one variance a row."""
    dmean, dvar = cotangents
    return Gaussian(dmean, unbroadcast(dvar, step.beta.shape))


def _marginal_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    step, back_step = step_vjp_of(i)
    _, back = gaussian.marginal_vjp(i["x_0"], step.log_alpha_bar)
    dx_0, dlevel = back(_column(cotangents, step))
    return {"x_0": dx_0, "beta": _gradients(step, back_step, level=dlevel)}


def _draw_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    q = gaussian.marginal(i["x_0"], step_of(i).log_alpha_bar)
    _, back = gaussian.draw_vjp(q, noise=i["noise"])
    return _marginal_vjp(i, back(*cotangents))


def _posterior_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    step, back_step = step_vjp_of(i)
    _, back = gaussian.posterior_vjp(i["x_t"], i["x_0"], step.beta, step.log_alpha_bar_prev)
    dx_t, dx_0, dbeta, dprev = back(_column(cotangents, step))
    return {"x_t": dx_t, "x_0": dx_0, "beta": _gradients(step, back_step, beta=dbeta, prev=dprev)}


KERNELS = (
    Function(
        "forward", "GAU.FWD", "q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t)", ("2", "App.1 G forward"), MEAN_VAR,
        chain("x_prev"), chain_edges("x_prev"), lambda i: _law(gaussian.forward(i["x_prev"], step_of(i).beta)), _forward_scale,
        vjp=_forward_vjp, arguments=("x_prev", "beta")),
    Function(
        "marginal", "GAU.MARG", "q(x_t | x_0) = N(√ᾱ_t x_0, 1 − ᾱ_t)", ("App.1 G marginal",), MEAN_VAR,
        chain("x_0"), chain_edges("x_0"), lambda i: _law(gaussian.marginal(i["x_0"], step_of(i).log_alpha_bar)),
        lambda i: scales(*_marginal(row_of(i), i["x_0"])), given=own_levels, after=("alpha_bar",),
        vjp=_marginal_vjp, arguments=("x_0", "beta")),
    Function(
        "marginal_sample", "GAU.DRAW", "x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε", ("App.1 G marginal",), (Output("X_T"),),
        chain("x_0", "noise"), chain_edges("x_0", "noise"),
        lambda i: (gaussian.draw(gaussian.marginal(i["x_0"], step_of(i).log_alpha_bar), noise=i["noise"]),),
        lambda i: scales((lambda q: q[0] + terms.sqrt(q[1]) * i["noise"])(_marginal(row_of(i), i["x_0"]))),
        given=own_levels, after=("alpha_bar", "marginal"), vjp=_draw_vjp, arguments=("x_0", "beta")),
    Function(
        "posterior", "GAU.POST", "q(x_{t−1} | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃_t) with c_0 = √ᾱ_{t−1} β_t/(1−ᾱ_t), "
        "c_t = √(1−β_t) (1−ᾱ_{t−1})/(1−ᾱ_t), β̃_t = β_t (1−ᾱ_{t−1})/(1−ᾱ_t)", ("48", "App.1 G posterior"), MEAN_VAR,
        chain("x_0", "x_t"), chain_edges("x_0", "x_t"),
        lambda i: _law((lambda step: gaussian.posterior(i["x_t"], i["x_0"], step.beta, step.log_alpha_bar_prev))(step_of(i))),
        lambda i: scales(*_posterior(row_of(i), i["x_0"], i["x_t"])), given=own_levels, after=("alpha_bar",),
        vjp=_posterior_vjp, arguments=("x_t", "x_0", "beta")),
)


# -- divergence, entropies, density --------------------------------------------------------------------------------------

def _laws(i: Inputs) -> tuple[Gaussian, Gaussian]:
    return Gaussian(i["mean_q"], i["var_q"]), Gaussian(i["mean_p"], i["var_p"])


def _spread(i: Inputs) -> Terms:
    """(σ_q² + (μ_q − μ_p)²)/σ_p²."""
    difference = terms.exact(i["mean_q"]) - i["mean_p"]
    return (difference * difference + i["var_q"]) / i["var_p"]


def _kl(i: Inputs) -> Terms:
    return (terms.log(i["var_p"]) - terms.log(i["var_q"]) + _spread(i) - 1) / 2


TWO_LAWS = dict(mean_q=arrays(N, D), var_q=positive(N, D), mean_p=arrays(N, D), var_p=positive(N, D))
TWO_LAWS_EDGES = listed(
    dict(mean_q=spread_out(N, D), var_q=spread_out(N, D, low=0.25, high=4), mean_p=spread_out(N, D, start=0.5),
         var_p=spread_out(N, D, start=0.2, low=0.25, high=4)),
    dict(mean_q=spread_out(N, D), var_q=np.full((N, D), 0.25), mean_p=spread_out(N, D), var_p=np.full((N, D), 0.25)))

ONE_LAW = dict(mean=arrays(N, D), var=positive(N, D))
ONE_LAW_EDGES = (
    dict(mean=spread_out(N, D), var=spread_out(N, D, low=0.25, high=4)),
    dict(mean=spread_out(N, D), var=np.array([[2.0 ** -20, 1.0], [2.0 ** 10, 0.5], [1.0, 2.0 ** -4]])))


def _kl_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    return _named(*gaussian.kl_vjp(*_laws(i))[1](*cotangents))


def _cross_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    return _named(*gaussian.cross_entropy_vjp(*_laws(i))[1](*cotangents))


def _named(dq: Gaussian, dp: Gaussian) -> dict[str, Array]:
    return {"mean_q": dq.mean, "var_q": dq.var, "mean_p": dp.mean, "var_p": dp.var}


def _log_prob_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    dx, dp = gaussian.log_prob_vjp(i["x"], Gaussian(i["mean"], i["var"]))[1](*cotangents)
    return {"x": dx, "mean": dp.mean, "var": dp.var}


def _cross_entropy(i: Inputs) -> Terms:
    return (LOG_2PI + terms.log(i["var_p"]) + _spread(i)) / 2


def _log_prob(i: Inputs) -> Terms:
    difference = terms.exact(i["x"]) - i["mean"]
    return (LOG_2PI + terms.log(i["var"]) + difference * difference / i["var"]) / 2


DIVERGENCES = (
    Function(
        "kl", "GAU.KL", "D_KL(q ‖ p) = ½ [log(σ_p²/σ_q²) + (σ_q² + (μ_q − μ_p)²)/σ_p² − 1] per component", ("14", "App.1 G bound"),
        NATS, drawn(**TWO_LAWS), TWO_LAWS_EDGES, lambda i: (gaussian.kl(*_laws(i)),), lambda i: scales(_kl(i)),
        vjp=_kl_vjp, arguments=("mean_q", "var_q", "mean_p", "var_p")),
    Function(
        "entropy", "GAU.ENT", "H(q) = ½ log(2πe σ²) per component", ("App.1 G bound",), NATS, drawn(**ONE_LAW),
        listed(*ONE_LAW_EDGES), lambda i: (gaussian.entropy(Gaussian(i["mean"], i["var"])),),
        lambda i: scales((LOG_2PI + 1 + terms.log(i["var"])) / 2),
        vjp=lambda i, c: {"var": gaussian.entropy_vjp(Gaussian(i["mean"], i["var"]))[1](*c).var}, arguments=("var",)),
    Function(
        "cross_entropy", "GAU.CROSS", "−E_q log p = ½ [log(2π σ_p²) + (σ_q² + (μ_q − μ_p)²)/σ_p²] per component", ("43", "46"),
        NATS, drawn(**TWO_LAWS), TWO_LAWS_EDGES, lambda i: (gaussian.cross_entropy(*_laws(i)),),
        lambda i: scales(_cross_entropy(i)),
        vjp=_cross_vjp, arguments=("mean_q", "var_q", "mean_p", "var_p")),
    Function(
        "log_prob", "GAU.LOGP", "log N(x; μ, σ²) = −½ [log(2π σ²) + (x − μ)²/σ²] per component", ("App.1 G likelihood",),
        NATS, drawn(x=arrays(N, D), **ONE_LAW), listed(*({"x": spread_out(N, D, start=0.6)} | law for law in ONE_LAW_EDGES)),
        lambda i: (gaussian.log_prob(i["x"], Gaussian(i["mean"], i["var"])),), lambda i: scales(_log_prob(i)),
        vjp=_log_prob_vjp, arguments=("x", "mean", "var")),
)

FUNCTIONS: tuple[Function, ...] = (ALPHA_BAR, *KERNELS, *DIVERGENCES)
