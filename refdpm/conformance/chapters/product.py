"""Clauses of sec. 2.5, the model times r: one law times r, a step of the chain, and what inpainting does with known components.

r is a law of the same family, N(mean_r, var_r) or the bit of probability r = r(1)/(r(0) + r(1)), and need not be normalised.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm import gaussian, product
from refdpm.activation import softplus
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import arrays
from refdpm.conformance.chapters.ends import BIT, BOTH, LOGIT, STATE, VARIANCE, Case, ends, law, wide
from refdpm.conformance.chapters.inputs import (D, N, Given, Inputs, chain, chain_edges, drawn, exactly, listed, positive,
                                                spread_out)
from refdpm.conformance.chapters.quantity import ByHand, Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import LEVEL, Theory, bit, composed, normal, step_of
from refdpm.conformance.planting import Mistake, Plant, instead, of, then, told
from refdpm.gaussian import Gaussian
from refdpm.textbook import product as book
from refdpm.textbook.chain import Normal, draw, row
from refdpm.textbook.expression import given
from refdpm.textbook.rounding import Rounded
from refdpm.vjp import Array, Pullback

LAW, R = Normal(given("mean"), given("var")), Normal(given("mean_r"), given("var_r"))
TAKES = (normal("mean", "var"), normal("mean_r", "var_r"))
X, Y = given("x"), given("y")


# -- one law times r ---------------------------------------------------------------------------------------------------

def mean_vjp(law: Gaussian) -> tuple[Array, Pullback]:
    """The mean of a law, and the way back."""
    return law.mean, lambda dmean: Gaussian(dmean, np.zeros_like(law.var))


# r not much narrower than p: the textbook's derivative by its variance has mean_r less the product's mean, which cancels there
VARIANCES = positive(N, D, low=0.25, high=2)
LAWS_OF = dict(mean=arrays(N, D), var=VARIANCES, mean_r=arrays(N, D), var_r=VARIANCES)


def _edge(*shape: int, size: float = 1.0, ratio: float = 1.0) -> Inputs:
    """Variances of about that size, those of r that many times as large."""
    var, var_r = (exactly(size * spread_out(*shape, start=start, low=0.25, high=2)) for start in (0.2, 0.7))
    return dict(mean=spread_out(*shape), var=var, mean_r=spread_out(*shape, start=0.5), var_r=exactly(ratio * var_r))


EDGES = (_edge(4, 3), _edge(3, 2, size=2.0 ** -10, ratio=0.5), _edge(3, 2, size=100, ratio=2), _edge(2, 3, 5, 4, ratio=2.0 ** 10))

STEPS = (
    Quantity("times_gaussian", "CON.GAU", "N(mean, var) times r = N(mean_r, var_r), normalised: 1/var + 1/var_r is the precision, "
             "(mean/var + mean_r/var_r) over it the mean", ("22", "52", "53"), (Output("MEAN"), Output("VAR", "variance")),
             drawn(**LAWS_OF), listed(*EDGES), Theory(product.times, *TAKES, vjp=product.times_gaussian_vjp),
             book.times_gaussian(LAW, R), arguments=("mean", "var", "mean_r", "var_r")),
    Quantity("times_bits", "CON.BITS", "a bit of probability p times r, normalised: p r/(p r + (1−p)(1−r))",
             ("22", "App.1 B perturbed"), (Output("PROB", "probability"),),
             drawn(p=arrays(N, D, low=0.02, high=0.98), r=arrays(N, D, low=0.02, high=0.98)),
             listed(dict(p=spread_out(4, 3, low=0.05, high=0.95), r=spread_out(4, 3, start=0.5, low=0.05, high=0.95)),
                    dict(p=exactly([[0.5, 0.25], [0.01, 0.99], [0.75, 0.999]]),
                         r=exactly([[0.75, 0.5], [0.99, 0.99], [0.25, 0.001]]))),
             Theory(product.times, bit("p"), bit("r"), vjp=product.times_bernoulli_vjp),
             book.times_bits(given("p"), given("r")), arguments=("p", "r")),
    Quantity("guided_mean", "CON.GUIDE", "the mean of N(mean, var) times r to first order: mean + var·gradient, where "
             "gradient = ∇log r at the mean", ("61", "App.1 G perturbed"), (Output("MEAN"),),
             drawn(mean=arrays(N, D), var=positive(N, D), gradient=arrays(N, D)),
             listed(*(dict(mean=edge["mean"], var=edge["var"], gradient=edge["mean_r"]) for edge in EDGES)),
             Theory(composed(product.perturbed_vjp, mean_vjp), TAKES[0], "gradient"),
             book.guided_mean(LAW, given("gradient")), arguments=("mean", "var", "gradient")),
    Quantity("conditioned_step", "CON.STEP", "x_{t−1} drawn from the reverse step N(mean, var) times r = N(mean_r, var_r): the "
             "product's mean + its deviation·ε", ("22",), (Output("X_PREV"),), drawn(**LAWS_OF, noise=arrays(N, D)),
             listed(*(edge | dict(noise=spread_out(*edge["mean"].shape, start=0.9)) for edge in EDGES)),
             Theory(composed(product.times_gaussian_vjp, gaussian.draw_vjp), *TAKES, fixed=("noise",)),
             draw(book.times_gaussian(LAW, R), given("noise")), after=("times_gaussian",),
             arguments=("mean", "var", "mean_r", "var_r")),
)


# -- inpainting --------------------------------------------------------------------------------------------------------

LAST_BIT = 1 / 64              # of a value: 32 u of that is half of u, less than the last bit
NOTHING = 2.0 ** -26            # beside 0, which has no digits: finite, so that one such component does not outweigh all others
MASKS = draws.chosen_arrays((N, D), (False, True))


class Unrounded(Rounded):
    """A value that may have its error and no more."""

    @property
    def scale(self) -> Array:
        return self.error


class KeptToTheBit(Quantity):
    """A quantity that is something given where the mask is true: there no rounding is allowed at all."""

    def followed(self, inputs: Inputs, *, own_tables: bool = True) -> list[Rounded]:
        found, = super().followed(inputs, own_tables=own_tables)
        return [Unrounded(found.value, found.scale * np.where(inputs["mask"], LAST_BIT, 1) + NOTHING)]


def _kept(x: Array, y: Array, mask: Array) -> Array:
    """y where it is known: any law times a point there, and times 1 elsewhere."""
    return np.asarray(product.times(Gaussian(x, np.ones_like(x)), product.known(y, mask=mask, kernel=gaussian)).mean)


def _kept_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    """Each component has one source."""
    return {"x": np.where(i["mask"], 0.0, cotangents[0]), "y": np.where(i["mask"], cotangents[0], 0.0)}


def _painted(i: Inputs) -> tuple[Array, ...]:
    known = gaussian.draw(gaussian.marginal(i["y"], step_of(i).log_alpha_bar_prev), noise=i["noise"])
    return _kept(i["x_prev"], known, i["mask"]),


def _mask(shape: tuple[int, ...]) -> Array:
    """True for a third of the components, here and there."""
    return spread_out(*shape, start=0.4, low=0, high=1) > 2 / 3


def _with_mask(edges: Callable[[Given], list[Inputs]]) -> Callable[[Given], list[Inputs]]:
    return lambda given: [edge | dict(mask=_mask(edge["y"].shape)) for edge in edges(given)]


INPAINTING = (
    KeptToTheBit("keep_known", "CON.KEEP", "y where the mask is true, bit for bit, and x elsewhere", ("22",), (Output("X"),),
                 drawn(x=arrays(N, D), y=arrays(N, D), mask=MASKS),
                 _with_mask(listed(dict(x=spread_out(4, 3), y=spread_out(4, 3, start=0.5)),
                                   dict(x=spread_out(2, 3, 5, 4), y=spread_out(2, 3, 5, 4, start=0.5)))),
                 ByHand(lambda i: (_kept(i["x"], i["y"], i["mask"]),), _kept_vjp), book.kept(Y, X),
                 arguments=("x", "y")),
    Quantity("noised_known", "CON.LEVEL", "what is known, y, with the noise of level t: √ᾱ_t y + √(1−ᾱ_t) ε", ("Lugmayr 2022",),
             (Output("X_T"),), chain("y", "noise"), chain_edges("y", "noise"),
             Theory(composed(gaussian.marginal_vjp, gaussian.draw_vjp), "y", LEVEL, fixed=("noise",)),
             book.noised(Y, row()), given=own_levels, after=("alpha_bar",), arguments=("y", "beta")),
    Quantity("inpaint_step", "CON.PAINT", "x_{t−1} with what is known in it: where the mask is true √ᾱ_{t−1} y + √(1−ᾱ_{t−1}) ε, "
             "which at t = 1 is y, and x_prev elsewhere", ("Lugmayr 2022",), (Output("X_PREV"),),
             chain("x_prev", "y", "noise", mask=MASKS), _with_mask(chain_edges("x_prev", "y", "noise")),
             ByHand(_painted), book.kept(book.noised(Y, row(-1)), given("x_prev")),
             given=own_levels, after=("alpha_bar", "noised_known", "keep_known")),
)

QUANTITIES: tuple[Quantity, ...] = (*STEPS, *INPAINTING)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

WIDTH = wide(1e-12, 1e6, 1.0, 0.0)
FACTOR = law(Gaussian, STATE, WIDTH)
BITS = law(Bernoulli, LOGIT)


def _ramps(rng: np.random.Generator, n: int) -> Case:
    """One t of a chain of T steps."""
    T = int(rng.choice([2, 40, 3000]))
    return (int(rng.integers(T)),), dict(T=T, choice="ramp")


def _powers(rng: np.random.Generator, n: int) -> Case:
    (t,), fixed = _ramps(rng, n)
    return (Gaussian(STATE(rng, n), WIDTH(rng, n)), (fixed["T"] - t) / fixed["T"]), {}


ENDS = {
    "product.times_gaussian": ends(law(Gaussian, STATE, VARIANCE), FACTOR), "product.times_bernoulli": ends(BITS, BITS),
    "product.perturbed": ends(law(Gaussian, STATE, VARIANCE), STATE), "product.exponent": _ramps, "product.power": _powers,
    "product.expected": ends(FACTOR, wide(1e-3, 10.0, 1.0, signs=BOTH), VARIANCE),
    "product.noisy": ends(STATE, std=0.37), "product.flipped": ends(BIT, rate=1e-5)}


# -- mistakes: one law times r -------------------------------------------------------------------------------------------

_GUIDED = "openai/guided-diffusion#51, lucidrains/denoising-diffusion-pytorch#276"
_RELEASED = "Sohl-Dickstein/Diffusion-Probabilistic-Models@de92b57 sampler.py"
_TABLE = "Table App.1 as printed"


in_times_gaussian, in_times_bernoulli, in_power = of("product.times_gaussian"), of("product.times_bernoulli"), of("product.power")
in_posterior_path = of("product.posterior_path")

WRONG_STEPS = (
    in_times_gaussian("CON-02", "first order for a normal r, variance unchanged → the exact product", _GUIDED,
            then(lambda q, p, r: Gaussian(p.mean + p.var * (r.mean - p.mean) / r.var, p.var))),
    in_times_gaussian("CON-10", "weighted with the variances → with their inverses", "google-deepmind/proeval!6",
            told(p=lambda p, r: p._replace(var=r.var), r=lambda r, p: r._replace(var=p.var))),
    in_times_gaussian("NEW-P-VAR", "variances averaged with the weights of the means → precisions added",
            "a product of densities taken for a mixture", instead(lambda p, r: Gaussian(
                (r.var * p.mean + p.var * r.mean) / (p.var + r.var), 2 * p.var * r.var / (p.var + r.var)))),
    in_times_bernoulli("NEW-P-D", "log r(1) of a normalised r added → log r(1) − log r(0)", _TABLE + ": d = r(1)",
            instead(lambda p, r: Bernoulli(p.logit - softplus(-r.logit)))),
    Mistake("NEW-P-STD", "mean + √var ∇log r → var ∇log r", "Σ^½ for Σ in eq. 61", "product.perturbed", "value",
            then(lambda q, p, gradient: q._replace(mean=p.mean + np.sqrt(p.var) * gradient))),
    Mistake("NEW-P-IGNORED", "r ignored → multiplied in", "CON-07: an argument that does nothing", "product.times", "value",
            instead(lambda p, r: p)),
)


# -- mistakes: r at every t --------------------------------------------------------------------------------------------

AT_EVERY_T = (
    in_power("NEW-P-POWER", "variance times the exponent → divided by it", "variance for precision",
            then(lambda q, r, e: Gaussian(r.mean, r.var * e) if isinstance(r, Gaussian) else q)),
    in_power("NEW-P-POINT", "0·∞ for a known component and exponent 0 → nothing", "r⁰ by arithmetic",
            then(lambda q, r, e: q if isinstance(r, Gaussian) else Bernoulli(r.logit * e))),
    Mistake("CON-05", "mask inverted → true where known", "CompVis/latent-diffusion#106", "product.known", "value",
            told(y=lambda y: np.nan_to_num(y), mask=lambda mask: ~np.asarray(mask))),
    Mistake("NEW-P-UNKNOWN", "what stands where nothing is known is used → never read", "0·NaN", "product.known", "value",
            instead(lambda y, *, mask, kernel: Gaussian(y, np.where(mask, 0.0, np.inf)))),
    Mistake("CON-04", "deviation 1 − ᾱ of what is known at level t → √(1 − ᾱ)",
            "huggingface/diffusers!10185, after a slip of the pen in RePaint's algorithm; taken back in !10644",
            "gaussian.marginal", "value", then(lambda q: q._replace(var=q.var ** 2))),
)


# -- mistakes: the chain -----------------------------------------------------------------------------------------------

def _factor(change: Callable[[Callable[..., Any], int], Callable[..., Any]]) -> Plant:
    """The chain with another factor, made of the right one and T."""
    return told(factor=lambda factor, beta: change(factor, len(beta) - 1))


def _at_the_image(p: Any, factor: Callable[..., Any], T: int) -> Any:
    """No draw at T but the place where r is largest."""
    return Gaussian(factor(Gaussian(p.mean, 1e14 + p.var), T).mean, 0 * p.var) if isinstance(p, Gaussian) else factor(p, T)


def _at_x_t(network: Any, factor: Callable[..., Any]) -> Any:
    """The shift that r makes is found at x_t and added to the mean."""
    def reverse(parameters: Any, x_t: Array, step: Any, *, t: Array) -> Any:
        p = network.reverse(parameters, x_t, step, t=t)
        if not isinstance(p, Gaussian):
            return factor(p, int(t[0]) - 1)
        moved = factor(Gaussian(x_t, p.var), int(t[0]) - 1)
        return Gaussian(p.mean + moved.mean - x_t, moved.var)
    return SimpleNamespace(reverse=reverse)


def _at_the_ends(factor: Callable[..., Any], beta: Array) -> Callable[..., Any]:
    return lambda p, t: factor(p, t) if t in (0, len(beta) - 1) else p


def _ending_at_x_1(kernel: Any) -> Any:
    return SimpleNamespace(draw=kernel.draw, prior=kernel.prior, forward=lambda x, beta: Gaussian(x, 0 * x))


CHAIN = (
    in_posterior_path("CON-01", "gradient of log r taken at x_t → at the mean of the step", _GUIDED,
            told(network=_at_x_t, factor=_at_the_ends)),
    in_posterior_path("CON-11", "start at the noisy image → at a draw from π r", _RELEASED,
            _factor(lambda factor, T: lambda p, t: _at_the_image(p, factor, T) if t == T else factor(p, t))),
    Mistake("NEW-P-EDGE", "sampling ends with x_1 → with x_0", _RELEASED, "product.posterior_sample", "value",
            told(kernel=_ending_at_x_1, factor=lambda factor: lambda p, t: factor(p, t) if t else p)),
    Mistake("NEW-P-ENTER", "the noisy image itself for the state x_t → √ᾱ_t times it", _RELEASED, "product.enter", "value",
            told(y=lambda y, beta: y / np.sqrt(np.prod(1 - beta[1:3])))),
)


# -- mistakes: pullbacks -----------------------------------------------------------------------------------------------

def _mean_only(right: Callable[..., Any]) -> Callable[..., Any]:
    """k held to be a constant of the mean."""
    def wrong(p: Gaussian, r: Gaussian) -> Any:
        value, pullback = right(p, r)
        return value, lambda d: tuple(whole._replace(var=of_var.var) for whole, of_var in zip(
            pullback(d), pullback(Gaussian(0 * d.mean, d.var))))
    return wrong


PULLBACKS = (
    Mistake("NEW-P-DK", "the shares held to be constants of the mean → differentiated", "GRD-01 for the product",
            "product.times_gaussian_vjp", "gradient", _mean_only),
)
