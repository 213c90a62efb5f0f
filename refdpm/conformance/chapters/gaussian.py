"""The Gaussian chain: levels, forward step, marginal, posterior, draws, divergence, entropies."""

import numpy as np

from refdpm import gaussian, schedule
from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters.draws import arrays
from refdpm.conformance.chapters.ends import HEAD, LEVELS, STATE, VARIANCE, ZERO, close_laws, ends, law, rate, together, wide
from refdpm.conformance.chapters.inputs import (D, N, WIDE, Inputs, chain, chain_edges, drawn, edge_schedules, listed, on_schedules,
                                                positive, spread_out)
from refdpm.conformance.chapters.quantity import Output, Quantity, every_step, own_levels
from refdpm.conformance.chapters.theory import BETA, LEVEL, PREV, SCHEDULE, Gradients, Theory, composed, normal
from refdpm.conformance.planting import (IN_SINGLE, PRINTED, SWAPPED, Mistake, edited, instead, of, pulled, pulled_by, then, told,
                                         without)
from refdpm.gaussian import Gaussian
from refdpm.later import variance
from refdpm.textbook import chain as book
from refdpm.textbook.chain import Normal, row
from refdpm.textbook.expression import E, above, also, column, given, running_product, where
from refdpm.textbook.prediction import first_variance
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
    ("2", "App.1 G marginal"), (Output("TABLE", "table"),), on_schedules(),
    lambda given: [{"beta": beta} for beta in edge_schedules(given)],
    Theory(schedule.alpha_bar, SCHEDULE, vjp=alpha_bar_vjp, table=True), also(row().alpha_bar, running_product(1 - row().beta)),
    arguments=("beta",), page=every_step)


# -- kernels -----------------------------------------------------------------------------------------------------------

AT_1 = above(2, column("t"))


class _Posterior(Theory):
    """The posterior, whose variance at t = 1 is 0, or where that is chosen β̃_2, which has a logarithm."""

    def values(self, inputs: Inputs) -> tuple[Array, ...]:
        """Mean and variance."""
        mean, var = super().values(inputs)
        if inputs["posterior_first"] == "zero" or not np.any(first := inputs["t"] == 1):
            return mean, var
        if len(inputs["beta"]) < 3:
            raise Skip("there is no second step whose variance the first could have")
        return mean, np.where(first.reshape(-1, *[1] * (var.ndim - 1)), variance.first(inputs["beta"], policy="next"), var)

    def gradients(self, inputs: Inputs, cotangents: tuple[Array, ...]) -> Gradients:
        """See `Theory`."""
        if inputs["posterior_first"] == "zero":
            return super().gradients(inputs, cotangents)
        dmean, dvar = cotangents
        first = (inputs["t"] == 1).reshape(-1, *[1] * (dvar.ndim - 1))
        found = super().gradients(inputs, (dmean, np.where(first, 0.0, dvar)))
        if len(inputs["beta"]) > 2:
            _, back = variance.first_vjp(inputs["beta"], policy="next")
            found["beta"] = found["beta"] + back(np.sum(np.where(first, dvar, 0.0)))[1:]
        return found


def _posterior(i: Inputs) -> tuple[E, ...]:
    mean, var = map(also, book.posterior(X_T, X_0, row()), book.posterior_by_gain(X_T, X_0, row()))
    return mean, var if i["posterior_first"] == "zero" else where(AT_1, first_variance("next"), var)


KERNELS = (
    Quantity(
        "forward", "GAU.FWD", "q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t)", ("2", "App.1 G forward"), MEAN_VAR,
        chain("x_prev"), chain_edges("x_prev"), Theory(gaussian.forward, "x_prev", BETA),
        book.forward(X_PREV, row()), arguments=("x_prev", "beta")),
    Quantity(
        "marginal", "GAU.MARG", "q(x_t | x_0) = N(√ᾱ_t x_0, 1 − ᾱ_t)", ("App.1 G marginal",), MEAN_VAR,
        chain("x_0"), chain_edges("x_0"), Theory(gaussian.marginal, "x_0", LEVEL),
        book.marginal(X_0, row()), given=own_levels, after=("alpha_bar",), arguments=("x_0", "beta")),
    Quantity(
        "marginal_sample", "GAU.DRAW", "x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε", ("App.1 G marginal",), (Output("X_T"),),
        chain("x_0", "noise"), chain_edges("x_0", "noise"),
        Theory(composed(gaussian.marginal_vjp, gaussian.draw_vjp), "x_0", LEVEL, fixed=("noise",)),
        book.draw(book.marginal(X_0, row()), NOISE),
        given=own_levels, after=("alpha_bar", "marginal"), arguments=("x_0", "beta")),
    Quantity(
        "posterior", "GAU.POST", "q(x_{t−1} | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃_t) with c_0 = √ᾱ_{t−1} β_t/(1−ᾱ_t), "
        "c_t = √(1−β_t) (1−ᾱ_{t−1})/(1−ᾱ_t), β̃_t = β_t (1−ᾱ_{t−1})/(1−ᾱ_t)", ("48", "App.1 G posterior"), MEAN_VAR,
        chain("x_0", "x_t"), chain_edges("x_0", "x_t"), _Posterior(gaussian.posterior, "x_t", "x_0", BETA, PREV), _posterior,
        given=own_levels, after=("alpha_bar",), choices=("posterior_first",), arguments=("x_t", "x_0", "beta")),
)


# -- divergence, entropies, density --------------------------------------------------------------------------------------

Q, P, LAW = (Normal(given(mean), given(var)) for mean, var in (("mean_q", "var_q"), ("mean_p", "var_p"), ("mean", "var")))

TWO_LAWS = dict(mean_q=arrays(N, D), var_q=positive(N, D), mean_p=arrays(N, D), var_p=positive(N, D))
TWO_LAWS_EDGES = listed(
    dict(mean_q=spread_out(N, D), var_q=spread_out(N, D, low=0.25, high=4), mean_p=spread_out(N, D, start=0.5),
         var_p=spread_out(N, D, start=0.2, low=0.25, high=4)),
    dict(mean_q=spread_out(N, D), var_q=np.full((N, D), 0.25), mean_p=spread_out(N, D), var_p=np.full((N, D), 0.25)),
    dict(mean_q=spread_out(1, WIDE), var_q=spread_out(1, WIDE, low=0.25, high=4), mean_p=spread_out(1, WIDE, start=0.5),
         var_p=spread_out(1, WIDE, start=0.2, low=0.25, high=4)))

ONE_LAW = dict(mean=arrays(N, D), var=positive(N, D))
ONE_LAW_EDGES = (
    dict(mean=spread_out(N, D), var=spread_out(N, D, low=0.25, high=4)),
    dict(mean=spread_out(1, WIDE), var=spread_out(1, WIDE, low=0.25, high=4)),
    dict(mean=spread_out(N, D), var=np.array([[2.0 ** -20, 1.0], [2.0 ** 10, 0.5], [1.0, 2.0 ** -4]])))

DIVERGENCES = (
    Quantity(
        "kl", "GAU.KL", "D_KL(q ‖ p) = ½ [log(σ_p²/σ_q²) + (σ_q² + (μ_q − μ_p)²)/σ_p² − 1] per component", ("14", "App.1 G bound"),
        NATS, drawn(**TWO_LAWS), TWO_LAWS_EDGES,
        Theory(gaussian.kl, normal("mean_q", "var_q"), normal("mean_p", "var_p")), book.kl(Q, P),
        arguments=("mean_q", "var_q", "mean_p", "var_p")),
    Quantity(
        "entropy", "GAU.ENT", "H(q) = ½ log(2πe σ²) per component", ("App.1 G bound",), NATS, drawn(**ONE_LAW),
        listed(*ONE_LAW_EDGES), Theory(gaussian.entropy, normal("mean", "var")), book.entropy(LAW.var), arguments=("var",)),
    Quantity(
        "cross_entropy", "GAU.CROSS", "−E_q log p = ½ [log(2π σ_p²) + (σ_q² + (μ_q − μ_p)²)/σ_p²] per component", ("43", "46"),
        NATS, drawn(**TWO_LAWS), TWO_LAWS_EDGES,
        Theory(gaussian.cross_entropy, normal("mean_q", "var_q"), normal("mean_p", "var_p")),
        book.cross_entropy(Q, P), arguments=("mean_q", "var_q", "mean_p", "var_p")),
    Quantity(
        "log_prob", "GAU.LOGP", "log N(x; μ, σ²) = −½ [log(2π σ²) + (x − μ)²/σ²] per component", ("App.1 G likelihood",), NATS,
        drawn(x=arrays(N, D), **ONE_LAW),
        listed(*({"x": spread_out(*law["mean"].shape, start=0.6)} | law for law in ONE_LAW_EDGES)),
        Theory(gaussian.log_prob, "x", normal("mean", "var")), book.log_prob(given("x"), LAW), arguments=("x", "mean", "var")),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

LAWS_APART = together(lambda rng, n: tuple(Gaussian(*one) for one in np.reshape(close_laws(rng, n), (2, 2, n))))
FAR_APART = ends(law(Gaussian, ZERO, wide(1e-300, 1.0)), law(Gaussian, ZERO, wide(1.0, 1e300)))    # of ratios down to 1e-600
ONE = law(Gaussian, STATE, VARIANCE)

ENDS = {
    "gaussian.forward": ends(STATE, rate), "gaussian.marginal": ends(STATE, LEVELS),
    "gaussian.posterior": ends(STATE, STATE, rate, LEVELS), "gaussian.kl": (LAWS_APART, FAR_APART),
    "gaussian.cross_entropy": (LAWS_APART, FAR_APART),
    "gaussian.entropy": ends(ONE), "gaussian.log_prob": ends(STATE, ONE), "gaussian.draw": ends(ONE, noise=HEAD)}


# -- mistakes in the kernel -----------------------------------------------------------------------------------------------

def _measured_twice(x_t: Array, x_0: Array, beta: Array, level: Array) -> Gaussian:
    """Precisions 1/(1 − ᾱ_{t−1}) and 1/β_t added, as if x_t measured x_{t−1} itself."""
    a, v = np.exp(level), -np.expm1(level)
    return Gaussian((np.sqrt(a) * beta * x_0 + np.sqrt(1 - beta) * v * x_t) / (v + beta), beta * v / (v + beta))


def _over_the_mean(x: Array, p: Gaussian) -> Array:
    if np.shape(p.mean) != x.shape or not p.mean.flags.writeable:
        return x
    p.mean[...] = x
    return p.mean


in_marginal, in_posterior, in_kl = of("gaussian.marginal"), of("gaussian.posterior"), of("gaussian.kl")

KERNEL_MISTAKES = (
    Mistake("FWD-01", "noise scaled by β, the variance taken for a deviation → √β",
            "metric-space/diffusion-probabilistic-models-JAX@a216435 spiral.py", "gaussian.forward", "value",
            then(lambda q: q._replace(var=q.var ** 2))),
    Mistake("FWD-02", "signal scaled by 1 − √β → √(1 − β)", "metric-space/diffusion-probabilistic-models-JAX@911e6d6",
            "gaussian.forward", "value", instead(lambda x, beta: Gaussian((1 - np.sqrt(beta)) * x, beta))),
    in_marginal("FWD-04", "variance 1/ᾱ − 1 → 1 − ᾱ", "tqch/ddpm-torch@1702650",
            then(lambda q, log_alpha_bar: q._replace(var=np.expm1(-log_alpha_bar)))),
    in_marginal("FWD-05", "log-variance √(1 − ᾱ) → log(1 − ᾱ)", "tqch/ddpm-torch#9",
            then(lambda q: q._replace(var=np.exp(np.sqrt(q.var))))),
    in_marginal("FWD-07", "x_0 + σ ε → √ᾱ x_0 + σ ε", "huggingface/diffusers@5b11c5d", edited("factor left out: √ᾱ_t")),
    Mistake("FWD-14", "x_t built over the array it was made from → in a new one", "horenbergerb/BernoulliDiffusion@ed38d91",
            "gaussian.draw", "value", then(_over_the_mean)),
    in_marginal("NEW-ROOT", "x_0 scaled by ᾱ, as for bits → by √ᾱ", "the binomial marginal has ᾱ without a root",
            edited("root left out: √ᾱ_t")),
    Mistake("NEW-DRAW", "mean + var · noise → mean + √var · noise", "hwlee11/Example_diffusion_probabilistic_models@07942cd",
            "gaussian.draw", "value", edited("root left out: √p.var")),
    Mistake("RNG-08", "the same noise for all examples → for each its own", "huggingface/diffusers!13677, goodfire-ai/spd!412",
            "gaussian.draw_noise", "value", then(lambda noise: np.broadcast_to(noise[:1], noise.shape).copy())),
    in_posterior("POS-02", "precision of x_t as a measurement 1/β → (1 − β)/β",
            "AmirRezaBabaAhmadi/Deep-Unsupervised-…-Thermodynamics@1a8c8cf", instead(_measured_twice)),
    in_posterior("POS-04", "coefficient of x_t with √ᾱ_t → with √(1 − β_t)", "jgcarrasco/diffusion@d85c464",
            told(x_t=lambda x_t, log_alpha_bar_prev: np.exp(log_alpha_bar_prev / 2) * x_t)),
    in_posterior("POS-05", "variance β (1 − ᾱ_{t−1}) → the same divided by 1 − ᾱ_t", "varun-ml/diffusion-models-tutorial!1",
            edited("divisor left out: 1 − ᾱ_t", which=2)),
    in_posterior("NEW-POS-BETA", "posterior variance β_t, that of the forward step → β̃_t",
            "the larger of Ho's two choices for the reverse step", then(lambda q, beta: q._replace(var=beta + 0 * q.var))),
    in_posterior("NEW-POS-WEIGHTS", "weights of x_0 and x_t in the mean exchanged → each its own",
            "posterior(x_0, x_t) called as posterior(x_t, x_0)", told(x_t=lambda x_t, x_0: x_0, x_0=lambda x_0, x_t: x_t)),
    Mistake("SHP-05", "single precision in the middle of a double path → double", "AkiRusProd/numpy-diffusion@5116f79",
            "gaussian.posterior", "accuracy", IN_SINGLE),
    Mistake("NEW-1-ABAR", "1 − ᾱ by subtraction → −expm1(log ᾱ)", "the textbook form", "gaussian.marginal", "accuracy", PRINTED),
    Mistake("NEW-1-ABARb", "1 − ᾱ_{t−1} and 1 − ᾱ_t in the posterior by subtraction → as sums of positive terms",
            "the textbook form", "gaussian.posterior", "accuracy", PRINTED),
)


# -- mistakes in divergence, entropy, density, and in pullbacks --------------------------------------------------------------

def _of_the_norm(dvalue: Array, x: Array, p: Gaussian) -> tuple[Array, Gaussian]:
    """|x − mean|/σ differentiated instead of its square."""
    dx = -dvalue * np.sign(x - p.mean) / np.sqrt(p.var)
    return dx, Gaussian(-dx, dvalue * ((x - p.mean) ** 2 / p.var - 1) / (2 * p.var))


DIVERGENCE_MISTAKES = (
    in_kl("BND-11", "variances handed to a divergence of deviations → of variances",
            "gmongaras/Diffusion_models_from_scratch@c58823f",
            edited("square of p.var for p.var", also="square of q.var for q.var")),
    in_kl("BND-11c", "deviations handed to a divergence of variances → variances", "DaehanKim/vgae_pytorch#2",
            edited("root of p.var for p.var", also="root of q.var for q.var")),
    in_kl("BND-13", "KL without q.var/(2 p.var) → with it", "jgcarrasco/diffusion@d85c464", edited("term left out: q.var")),
    in_kl("BND-14", "KL without −½ → with it", "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8",
            edited("term left out: 1")),
    in_kl("BND-16", "square of the means' distance without ½ → with it", "google-deepmind/torch-distributions!34",
            then(lambda kl, q, p: kl + (q.mean - p.mean) ** 2 / p.var / 2)),
    in_kl("BND-34", "KL(p ‖ q) → KL(q ‖ p)", "KarenUllrich/Tutorial_BayesianCompressionForDL#1", SWAPPED),
    Mistake("BND-17", "log-density: normaliser ½ log σ → log σ",
            "metric-space/diffusion-probabilistic-models-JAX@a216435 spiral.py", "gaussian.log_prob", "value",
            then(lambda value, p: value + np.log(p.var) / 4)),
    Mistake("NEW-CROSS", "cross-entropy of π without the mean's part → with it", "the step of eqs. 43 and 46",
            "gaussian.cross_entropy", "value", edited("term left out: (q.mean − p.mean)²")),
    Mistake("NEW-ENTROPY", "entropy ½ log(2π var) → ½ log(2πe var)", "BND-04 the other way", "gaussian.entropy", "value",
            edited("term left out: 1")),
    Mistake("GRD-07", "no gradient through p.var of the KL → with it", "gmongaras/Diffusion_models_from_scratch@e855d56",
            "gaussian.kl_vjp", "gradient", pulled(p=without("var"))),
    Mistake("GRD-08", "norm differentiated → the square of the norm", "hwlee11/Example_diffusion_probabilistic_models@07942cd",
            "gaussian.log_prob_vjp", "gradient", pulled_by(_of_the_norm)),
    Mistake("LAY-22", "broadcast undone by a sum over the rows → over the components", "deeplearning4j/nd4j#2424",
            "gaussian.marginal_vjp", "gradient", pulled(log_alpha_bar=lambda d: np.broadcast_to(d.sum(axis=0), d.shape))),
    Mistake("NEW-KL", "KL as printed: cancels where q is nearly p → summed as a series there", "the textbook form", "gaussian.kl",
            "accuracy", PRINTED),
)
