"""The Gaussian chain: levels, forward step, marginal, posterior, draws, divergence, entropies."""

import numpy as np

from refdpm import gaussian, schedule
from refdpm.conformance.chapters.ends import HEAD, LEVEL as LEVELS, STATE, VARIANCE, close_laws, ends, law, rate, together
from refdpm.conformance.chapters.inputs import (D, N, arrays, chain, chain_edges, drawn, edge_schedules, listed, positive,
                                                schedules, spread_out)
from refdpm.conformance.chapters.quantity import Output, Quantity, every_step, own_levels
from refdpm.conformance.chapters.theory import BETA, LEVEL, PREV, SCHEDULE, Theory, normal, then
from refdpm.gaussian import Gaussian
from refdpm.textbook import chain as book
from refdpm.textbook.chain import Normal, row
from refdpm.textbook.expression import given
from refdpm.vjp import Array, Pullback

MEAN_VAR = (Output("MEAN"), Output("VAR", "variance"))
NATS = (Output("VALUE", "information"),)
X_PREV, X_0, X_T, NOISE = map(given, ("x_prev", "x_0", "x_t", "noise"))


# -- levels ------------------------------------------------------------------------------------------------------------

def alpha_bar_vjp(beta: Array) -> tuple[Array, Pullback]:
    """Adjoint of `schedule.alpha_bar`:   dᾱ_t = ᾱ_t dℓ_t."""
    level, back = schedule.log_alpha_bar_vjp(beta)
    return np.exp(level), lambda dvalue: back(np.exp(level) * dvalue)


ALPHA_BAR = Quantity(
    "alpha_bar", "SCH.ABAR", "ᾱ_t = ∏_{s≤t} (1 − β_s), t = 1..T: the share of the signal's variance that t steps leave",
    ("2", "App.1 G marginal"), (Output("TABLE", "table"),), lambda given: schedules(given).map(lambda beta: {"beta": beta}),
    lambda given: [{"beta": beta} for beta in edge_schedules(given)],
    Theory(schedule.alpha_bar, alpha_bar_vjp, SCHEDULE, table=True), lambda i: (row().alpha_bar,), sizes=lambda inputs: 1,
    arguments=("beta",), page=every_step)


# -- kernels -----------------------------------------------------------------------------------------------------------

KERNELS = (
    Quantity(
        "forward", "GAU.FWD", "q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t)", ("2", "App.1 G forward"), MEAN_VAR,
        chain("x_prev"), chain_edges("x_prev"), Theory(gaussian.forward, gaussian.forward_vjp, "x_prev", BETA),
        lambda i: book.forward(X_PREV, row()), arguments=("x_prev", "beta")),
    Quantity(
        "marginal", "GAU.MARG", "q(x_t | x_0) = N(√ᾱ_t x_0, 1 − ᾱ_t)", ("App.1 G marginal",), MEAN_VAR,
        chain("x_0"), chain_edges("x_0"), Theory(gaussian.marginal, gaussian.marginal_vjp, "x_0", LEVEL),
        lambda i: book.marginal(X_0, row()), given=own_levels, after=("alpha_bar",), arguments=("x_0", "beta")),
    Quantity(
        "marginal_sample", "GAU.DRAW", "x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε", ("App.1 G marginal",), (Output("X_T"),),
        chain("x_0", "noise"), chain_edges("x_0", "noise"),
        Theory(*then(gaussian.marginal_vjp, gaussian.draw_vjp), "x_0", LEVEL, fixed=("noise",)),
        lambda i: (book.draw(book.marginal(X_0, row()), NOISE),),
        given=own_levels, after=("alpha_bar", "marginal"), arguments=("x_0", "beta")),
    Quantity(
        "posterior", "GAU.POST", "q(x_{t−1} | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃_t) with c_0 = √ᾱ_{t−1} β_t/(1−ᾱ_t), "
        "c_t = √(1−β_t) (1−ᾱ_{t−1})/(1−ᾱ_t), β̃_t = β_t (1−ᾱ_{t−1})/(1−ᾱ_t)", ("48", "App.1 G posterior"), MEAN_VAR,
        chain("x_0", "x_t"), chain_edges("x_0", "x_t"),
        Theory(gaussian.posterior, gaussian.posterior_vjp, "x_t", "x_0", BETA, PREV), lambda i: book.posterior(X_T, X_0, row()),
        given=own_levels, after=("alpha_bar",), arguments=("x_t", "x_0", "beta")),
)


# -- divergence, entropies, density --------------------------------------------------------------------------------------

Q, P, LAW = (Normal(given(mean), given(var)) for mean, var in (("mean_q", "var_q"), ("mean_p", "var_p"), ("mean", "var")))

TWO_LAWS = dict(mean_q=arrays(N, D), var_q=positive(N, D), mean_p=arrays(N, D), var_p=positive(N, D))
TWO_LAWS_EDGES = listed(
    dict(mean_q=spread_out(N, D), var_q=spread_out(N, D, low=0.25, high=4), mean_p=spread_out(N, D, start=0.5),
         var_p=spread_out(N, D, start=0.2, low=0.25, high=4)),
    dict(mean_q=spread_out(N, D), var_q=np.full((N, D), 0.25), mean_p=spread_out(N, D), var_p=np.full((N, D), 0.25)))

ONE_LAW = dict(mean=arrays(N, D), var=positive(N, D))
ONE_LAW_EDGES = (
    dict(mean=spread_out(N, D), var=spread_out(N, D, low=0.25, high=4)),
    dict(mean=spread_out(N, D), var=np.array([[2.0 ** -20, 1.0], [2.0 ** 10, 0.5], [1.0, 2.0 ** -4]])))

DIVERGENCES = (
    Quantity(
        "kl", "GAU.KL", "D_KL(q ‖ p) = ½ [log(σ_p²/σ_q²) + (σ_q² + (μ_q − μ_p)²)/σ_p² − 1] per component", ("14", "App.1 G bound"),
        NATS, drawn(**TWO_LAWS), TWO_LAWS_EDGES,
        Theory(gaussian.kl, gaussian.kl_vjp, normal("mean_q", "var_q"), normal("mean_p", "var_p")), lambda i: (book.kl(Q, P),),
        arguments=("mean_q", "var_q", "mean_p", "var_p")),
    Quantity(
        "entropy", "GAU.ENT", "H(q) = ½ log(2πe σ²) per component", ("App.1 G bound",), NATS, drawn(**ONE_LAW),
        listed(*ONE_LAW_EDGES), Theory(gaussian.entropy, gaussian.entropy_vjp, normal("mean", "var")),
        lambda i: (book.entropy(LAW.var),), arguments=("var",)),
    Quantity(
        "cross_entropy", "GAU.CROSS", "−E_q log p = ½ [log(2π σ_p²) + (σ_q² + (μ_q − μ_p)²)/σ_p²] per component", ("43", "46"),
        NATS, drawn(**TWO_LAWS), TWO_LAWS_EDGES,
        Theory(gaussian.cross_entropy, gaussian.cross_entropy_vjp, normal("mean_q", "var_q"), normal("mean_p", "var_p")),
        lambda i: (book.cross_entropy(Q, P),), arguments=("mean_q", "var_q", "mean_p", "var_p")),
    Quantity(
        "log_prob", "GAU.LOGP", "log N(x; μ, σ²) = −½ [log(2π σ²) + (x − μ)²/σ²] per component", ("App.1 G likelihood",),
        NATS, drawn(x=arrays(N, D), **ONE_LAW), listed(*({"x": spread_out(N, D, start=0.6)} | law for law in ONE_LAW_EDGES)),
        Theory(gaussian.log_prob, gaussian.log_prob_vjp, "x", normal("mean", "var")),
        lambda i: (book.log_prob(given("x"), LAW),), arguments=("x", "mean", "var")),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

LAWS_APART = together(lambda rng, n: tuple(Gaussian(*one) for one in np.reshape(close_laws(rng, n), (2, 2, n))))
ONE = law(Gaussian, STATE, VARIANCE)

ENDS = {
    "gaussian.forward": ends(STATE, rate), "gaussian.marginal": ends(STATE, LEVELS),
    "gaussian.posterior": ends(STATE, STATE, rate, LEVELS), "gaussian.kl": LAWS_APART, "gaussian.cross_entropy": LAWS_APART,
    "gaussian.entropy": ends(ONE), "gaussian.log_prob": ends(STATE, ONE), "gaussian.draw": ends(ONE, noise=HEAD)}

QUANTITIES: tuple[Quantity, ...] = (ALPHA_BAR, *KERNELS, *DIVERGENCES)
