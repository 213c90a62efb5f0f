"""Clauses of sec. 2.5, the model times r: one law times r, a step of the chain, and what inpainting does with known components.

r is a law of the same family, N(mean_r, var_r) or the bit of probability r = r(1)/(r(0) + r(1)), and need not be normalised.
"""

from collections.abc import Callable

import numpy as np
from hypothesis.extra import numpy as npst

from refdpm import activation, gaussian, product
from refdpm.binomial import Bernoulli
from refdpm.conformance import terms
from refdpm.conformance.chapters.common import (D, N, Quantity, Given, Inputs, Output, arrays, chain, chain_edges, drawn, exactly,
                                               listed, own_levels, positive, row_of, scales, spread_out, step_of, step_vjp_of)
from refdpm.conformance.terms import Terms, exact
from refdpm.gaussian import Gaussian
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback

Cotangents = tuple[Array, ...]


# -- one law times r ---------------------------------------------------------------------------------------------------

def _laws(i: Inputs) -> tuple[Gaussian, Gaussian]:
    return Gaussian(i["mean"], i["var"]), Gaussian(i["mean_r"], i["var_r"])


def _product(i: Inputs) -> tuple[Terms, Terms]:
    """Precisions added."""
    p, r = 1 / exact(i["var"]), 1 / exact(i["var_r"])
    return (p * i["mean"] + r * i["mean_r"]) / (p + r), 1 / (p + r)


def _step(i: Inputs) -> Terms:
    mean, var = _product(i)
    return mean + terms.sqrt(var) * i["noise"]


def _named(dp: Gaussian, dr: Gaussian) -> dict[str, Array]:
    return {"mean": dp.mean, "var": dp.var, "mean_r": dr.mean, "var_r": dr.var}


def _step_vjp(i: Inputs, cotangents: Cotangents) -> dict[str, Array]:
    product_, back = product.times_gaussian_vjp(*_laws(i))
    _, back_draw = gaussian.draw_vjp(product_, noise=i["noise"])
    return _named(*back(back_draw(*cotangents)))


def _bits(i: Inputs) -> tuple[tuple[Bernoulli, Bernoulli], Pullback]:
    """p and r by their logits, and the way back to probabilities."""
    found = [activation.logit_vjp(i[name]) for name in ("p", "r")]
    p, r = (Bernoulli(logit) for logit, _ in found)
    return (p, r), lambda laws: tuple(back(law.logit) for (_, back), law in zip(found, laws))


def _bits_vjp(i: Inputs, cotangents: Cotangents) -> dict[str, Array]:
    laws, back_logits = _bits(i)
    law, back = product.times_bernoulli_vjp(*laws)
    _, back_prob = activation.sigmoid_vjp(law.logit)
    dp, dr = back_logits(back(Bernoulli(back_prob(*cotangents))))
    return {"p": dp, "r": dr}


def _bit_product(i: Inputs) -> Terms:
    """Bayes' rule."""
    p, r = exact(i["p"]), exact(i["r"])
    return p * r / (p * r + (1 - p) * (1 - r))


def _guided_vjp(i: Inputs, cotangents: Cotangents) -> dict[str, Array]:
    _, back = product.perturbed_vjp(Gaussian(i["mean"], i["var"]), i["gradient"])
    dp, dgradient = back(Gaussian(cotangents[0], np.zeros_like(i["var"])))
    return {"mean": dp.mean, "var": dp.var, "gradient": dgradient}


# r not much narrower than p: the textbook's derivative by its variance has mean_r less the product's mean, which cancels there
VARIANCES = positive(N, D, low=0.25, high=2)
LAWS_OF = dict(mean=arrays(N, D), var=VARIANCES, mean_r=arrays(N, D), var_r=VARIANCES)


def _edge(*shape: int, size: float = 1.0, ratio: float = 1.0) -> Inputs:
    """Variances of about that size, those of r that many times as large."""
    var, var_r = (exactly(size * spread_out(*shape, start=start, low=0.25, high=2)) for start in (0.2, 0.7))
    return dict(mean=spread_out(*shape), var=var, mean_r=spread_out(*shape, start=0.5), var_r=exactly(ratio * var_r))


EDGES = (_edge(4, 3), _edge(3, 2, size=2.0 ** -10, ratio=0.5), _edge(3, 2, size=100, ratio=2), _edge(2, 3, 4, 1, ratio=2.0 ** 10))

STEPS = (
    Quantity("times_gaussian", "CON.GAU", "N(mean, var) times r = N(mean_r, var_r), normalised: 1/var + 1/var_r is the precision, "
             "(mean/var + mean_r/var_r) over it the mean", ("22", "52", "53"), (Output("MEAN"), Output("VAR", "variance")),
             drawn(**LAWS_OF), listed(*EDGES), lambda i: product.times(*_laws(i)), lambda i: scales(*_product(i)),
             vjp=lambda i, cotangents: _named(*product.times_gaussian_vjp(*_laws(i))[1](Gaussian(*cotangents))),
             arguments=("mean", "var", "mean_r", "var_r")),
    Quantity("times_bits", "CON.BITS", "a bit of probability p times r, normalised: p r/(p r + (1−p)(1−r))",
             ("22", "App.1 B perturbed"), (Output("PROB", "probability"),),
             drawn(p=arrays(N, D, low=0.02, high=0.98), r=arrays(N, D, low=0.02, high=0.98)),
             listed(dict(p=spread_out(4, 3, low=0.05, high=0.95), r=spread_out(4, 3, start=0.5, low=0.05, high=0.95)),
                    dict(p=exactly([[0.5, 0.25], [0.01, 0.99], [0.75, 0.999]]),
                         r=exactly([[0.75, 0.5], [0.99, 0.99], [0.25, 0.001]]))),
             lambda i: (product.times(*_bits(i)[0]).prob,), lambda i: scales(_bit_product(i)), vjp=_bits_vjp, arguments=("p", "r")),
    Quantity("guided_mean", "CON.GUIDE", "the mean of N(mean, var) times r to first order: mean + var·gradient, where "
             "gradient = ∇log r at the mean", ("61", "App.1 G perturbed"), (Output("MEAN"),),
             drawn(mean=arrays(N, D), var=positive(N, D), gradient=arrays(N, D)),
             listed(*(dict(mean=edge["mean"], var=edge["var"], gradient=edge["mean_r"]) for edge in EDGES)),
             lambda i: (product.perturbed(Gaussian(i["mean"], i["var"]), i["gradient"]).mean,),
             lambda i: scales(exact(i["var"]) * i["gradient"] + i["mean"]), vjp=_guided_vjp, arguments=("mean", "var", "gradient")),
    Quantity("conditioned_step", "CON.STEP", "x_{t−1} drawn from the reverse step N(mean, var) times r = N(mean_r, var_r): the "
             "product's mean + its deviation·ε", ("22",), (Output("X_PREV"),), drawn(**LAWS_OF, noise=arrays(N, D)),
             listed(*(edge | dict(noise=spread_out(*edge["mean"].shape, start=0.9)) for edge in EDGES)),
             lambda i: (gaussian.draw(product.times(*_laws(i)), noise=i["noise"]),),
             lambda i: scales(_step(i)), after=("times_gaussian",),
             vjp=_step_vjp, arguments=("mean", "var", "mean_r", "var_r")),
)


# -- inpainting --------------------------------------------------------------------------------------------------------

def _kept(x: Array, y: Array, mask: Array) -> Array:
    """y where it is known: any law times a point there, and times 1 elsewhere."""
    return np.asarray(product.times(Gaussian(x, np.ones_like(x)), product.known(y, mask=mask, kernel=gaussian)).mean)


def _kept_vjp(i: Inputs, cotangents: Cotangents) -> dict[str, Array]:
    """Each component has one source."""
    return {"x": np.where(i["mask"], 0.0, cotangents[0]), "y": np.where(i["mask"], cotangents[0], 0.0)}


def _mask(shape: tuple[int, ...]) -> Array:
    """True for a third of the components, here and there."""
    return spread_out(*shape, start=0.4, low=0, high=1) > 2 / 3


def _with_mask(edges: Callable[[Given], list[Inputs]]) -> Callable[[Given], list[Inputs]]:
    return lambda given: [edge | dict(mask=_mask(edge["y"].shape)) for edge in edges(given)]


BIT = 1 / 64                   # of a value: 32 u of that is half of u, less than the last bit
NOTHING = 2.0 ** -26            # beside 0, which has no digits: finite, so that one such component does not outweigh all others
MASKS = npst.arrays(np.bool_, (N, D))


def _at_level(i: Inputs, level: Array) -> Array:
    return gaussian.draw(gaussian.marginal(i["y"], level), noise=i["noise"])


def _at_level_terms(i: Inputs, alpha_bar: Terms) -> Terms:
    return terms.sqrt(alpha_bar) * i["y"] + terms.sqrt(1 - alpha_bar) * i["noise"]


def _at_level_vjp(i: Inputs, cotangents: Cotangents) -> dict[str, Array]:
    step, back_step = step_vjp_of(i)
    q, back = gaussian.marginal_vjp(i["y"], step.log_alpha_bar)
    dy, dlevel = back(gaussian.draw_vjp(q, noise=i["noise"])[1](*cotangents))
    return {"y": dy, "beta": np.asarray(back_step(Step(np.zeros_like(step.beta), np.zeros_like(step.beta), dlevel)))}


def _inpaint_scale(i: Inputs) -> tuple[Array, ...]:
    known = _at_level_terms(i, row_of(i).alpha_bar_prev)
    return (terms.where(i["mask"], known, i["x_prev"]).scale + NOTHING,)


INPAINTING = (
    Quantity("keep_known", "CON.KEEP", "y where the mask is true, bit for bit, and x elsewhere", ("22",), (Output("X"),),
             drawn(x=arrays(N, D), y=arrays(N, D), mask=MASKS),
             _with_mask(listed(dict(x=spread_out(4, 3), y=spread_out(4, 3, start=0.5)),
                               dict(x=spread_out(2, 3, 5, 1), y=spread_out(2, 3, 5, 1, start=0.5)))),
             lambda i: (_kept(i["x"], i["y"], i["mask"]),),
             lambda i: (np.where(i["mask"], BIT * np.abs(i["y"]), np.abs(i["x"])) + NOTHING,),
             vjp=_kept_vjp, arguments=("x", "y")),
    Quantity("noised_known", "CON.LEVEL", "what is known, y, with the noise of level t: √ᾱ_t y + √(1−ᾱ_t) ε", ("Lugmayr 2022",),
             (Output("X_T"),), chain("y", "noise"), chain_edges("y", "noise"),
             lambda i: (_at_level(i, step_of(i).log_alpha_bar),),
             lambda i: scales(_at_level_terms(i, row_of(i).alpha_bar)), given=own_levels, after=("alpha_bar",),
             vjp=_at_level_vjp, arguments=("y", "beta")),
    Quantity("inpaint_step", "CON.PAINT", "x_{t−1} with what is known in it: where the mask is true √ᾱ_{t−1} y + √(1−ᾱ_{t−1}) ε, "
             "which at t = 1 is y, and x_prev elsewhere", ("Lugmayr 2022",), (Output("X_PREV"),),
             chain("x_prev", "y", "noise", mask=MASKS),
             _with_mask(chain_edges("x_prev", "y", "noise")),
             lambda i: (_kept(i["x_prev"], _at_level(i, step_of(i).log_alpha_bar_prev), i["mask"]),), _inpaint_scale,
             given=own_levels, after=("alpha_bar", "noised_known", "keep_known")),
)

QUANTITIES: tuple[Quantity, ...] = (*STEPS, *INPAINTING)
