"""The reverse step that a network makes: its variance, at t = 1 too, its law, and the x_0 that it has in mind.

The variance at t = 1 is a choice of its own (`first`), whatever the variance of the other steps is.  For β̃_1 = 0 itself, which no
density has, "floor" stands: 1e-20 or nothing.

Sources: Ho, Jain, Abbeel 2020; Nichol, Dhariwal 2021 (a range of variances).
"""

from types import SimpleNamespace

import numpy as np

from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters.ends import BOTH, LEVELS, Sampler, ends, rate, wide
from refdpm.conformance.chapters.gaussian import AT_1
from refdpm.conformance.chapters.inputs import (Given, Inputs, at_every_step, chain, chain_edges, drawn_with, edge_network,
                                                edges_with, network, telling)
from refdpm.conformance.chapters.quantity import ByHand, Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import BETA, PREV, Theory, step_of
from refdpm.conformance.planting import Mistake, instead, then, told
from refdpm.gaussian import Gaussian
from refdpm.later import mean, model, variance
from refdpm.later.model import Model
from refdpm.later.variance import WITH_HEAD
from refdpm.networks.readout import Heads
from refdpm.schedule import Step
from refdpm.textbook import prediction as book
from refdpm.textbook.chain import Normal, Row, row, small
from refdpm.textbook.expression import E, gathered, given, where
from refdpm.vjp import Array, Pullback, Tree

CHOICES = ("predicts", "variance", "first")

# -- inputs ------------------------------------------------------------------------------------------------------------

STATES = drawn_with(chain("x_t"), model=network)


def states_edges(given: Given) -> list[Inputs]:
    """The same at every t of the schedules of the edges."""
    return edges_with(at_every_step("x_t", betas=telling(given)), model=edge_network)


# -- variances without a network -----------------------------------------------------------------------------------------


def first_variance(i: Inputs) -> Array:
    """The variance at t = 1, (1,).   Raises: Skip if the policy has none."""
    if i["first"] == "next" and len(i["beta"]) < 3:
        raise Skip("there is no second step whose variance the first could have")
    return variance.first(i["beta"], policy=i["first"])


def _variance(i: Inputs) -> tuple[Array, ...]:
    if i["variance"] in WITH_HEAD:
        raise Skip("the variance is learned, and depends on the network")
    first, step = i["t"] == 1, step_of(i)
    later = variance.small(step.beta, step.log_alpha_bar_prev) if i["variance"] == "small" else step.beta
    return np.where(first, first_variance(i) if np.any(first) else 0.0, later),


def ranged_vjp(head: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Pullback]:
    """`variance.ranged` between β̃ and β, and its adjoint."""
    least, back_small = variance.small_vjp(beta, log_alpha_bar_prev)
    var, back = variance.ranged_vjp(head, beta, least)

    def pullback(dvar: Array) -> tuple[Array, Array, Array]:
        dhead, dbeta, dleast = back(dvar)
        dbeta_small, dlevel = back_small(dleast)
        return dhead, dbeta + dbeta_small, dlevel

    return var, pullback


VARIANCES = (
    Quantity(
        "reverse_variance", "REV.VAR",
        "β̃_t = β_t (1−ᾱ_{t−1})/(1−ᾱ_t) or β_t, one number for each row; at t = 1 β̃_2, 1e-20 or β_1", ("Ho 2020",),
        (Output("VALUE", "variance"),), chain(), chain_edges(), ByHand(_variance),
        lambda i: where(AT_1, book.first_variance(i["first"]), small(row()) if i["variance"] == "small" else row().beta),
        given=own_levels, after=("alpha_bar", "posterior"), choices=("variance", "first")),
    Quantity(
        "ranged_variance", "REV.RANGE", "β_t^f β̃_t^(1−f) with f = (1 + head)/2, t ≥ 2", ("Nichol 2021",),
        (Output("VALUE", "variance"),), chain("head", low=2), chain_edges("head", low=2), Theory(ranged_vjp, "head", BETA, PREV),
        book.ranged(given("head"), row().beta, small(row())), given=own_levels, after=("alpha_bar", "posterior"),
        arguments=("head", "beta")),
)


# -- with a network ------------------------------------------------------------------------------------------------------

X_T = given("x_t")


def model_of(i: Inputs) -> Model:
    """The network that the adapter is given, called as the adapter calls it, and how it is read."""
    def predict(parameters: Tree, x_t: Array, step: Step, *, t: Array) -> Heads:
        z, size = i["model"](x_t, t), x_t.shape[1]
        return Heads(z[:, :size], z[:, size:] if i.get("variance") in WITH_HEAD else np.zeros_like(x_t))

    said = SimpleNamespace(predict=predict, predict_vjp=lambda *args, t: (predict(*args, t=t), None))
    return Model(said, i["predicts"], i.get("variance", "small"), i.get("first", "beta"))


def heads() -> book.Heads:
    """The same in the textbook."""
    return book.affine(X_T, gathered("weight"), gathered("bias"))


def _x_0(i: Inputs) -> tuple[Array, ...]:
    said = model_of(i).predictor.predict((), i["x_t"], step_of(i), t=i["t"])
    return mean.x_0_from(said.mean, i["x_t"], step_of(i), predicts=i["predicts"]),


def _law(i: Inputs) -> Gaussian:
    """p(x_{t−1} | x_t) row by row: the model's reverse step, and its last one at t = 1."""
    said, step, shape = model_of(i), step_of(i), i["x_t"].shape
    found = Gaussian(np.zeros(shape), np.zeros(shape))
    for rows, last in ((i["t"] > 1, False), (i["t"] == 1, True)):
        x_t, t, columns = i["x_t"][rows], i["t"][rows], Step(*(column[rows] for column in step))
        if last and len(t):
            first_variance(i)
            p = model.last_step((), i["beta"], x_t, columns, t=t, model=at_first(said))
        elif len(t):
            p = model.as_network(said).reverse((), x_t, columns, t=t)
        else:
            continue
        found.mean[rows], found.var[rows] = p
    return found


def at_first(said: Model) -> Model:
    """At t = 1 there is no β but what the policy names."""
    return said if said.variance in WITH_HEAD else said._replace(variance="small")


def law(i: Inputs, row: Row, last: E) -> Normal:
    """The same in the textbook, for the columns of a step; `last` is where it goes down to 0."""
    return book.any_step(heads(), X_T, row, last, **{name: i[name] for name in CHOICES})


WITH_A_NETWORK = (
    Quantity(
        "x_0_from_model", "REV.X_0", "x̂_0 of what model(x_t, t) predicts, nothing clipped", ("Ho 2020",), (Output("VALUE"),),
        STATES, states_edges, ByHand(_x_0), lambda i: book.x_0_from(heads().mean, X_T, row(), i["predicts"]),
        given=own_levels, after=("alpha_bar",), choices=("predicts",)),
    Quantity(
        "reverse", "REV.LAW", "p(x_{t−1} | x_t) = N(c_0 x̂_0 + c_t x_t, β̃_t, β_t or between), x̂_0 of what model(x_t, t) "
        "predicts; the model puts out D predictions, and D heads if the variance is learned", ("Ho 2020", "Nichol 2021"),
        (Output("MEAN"), Output("VAR", "variance")), STATES, states_edges, ByHand(_law), lambda i: law(i, row(), AT_1),
        given=own_levels, after=("alpha_bar", "posterior"), choices=CHOICES),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _one_schedule(T: int) -> Sampler:
    """A schedule of T steps, the same at every call."""
    def drawn(rng: np.random.Generator, n: int) -> tuple[tuple[Array, ...], dict[str, str]]:
        beta = rate(np.random.default_rng(T - 1), T)
        return (np.append(0.0, np.minimum(beta, 1 - 1e-6 * (np.arange(len(beta)) < T - 1))),), {"policy": "next"}
    return drawn


ENDS = {
    "later.variance.first": tuple(map(_one_schedule, range(2, 21))),
    "later.variance.small": ends(rate, LEVELS),
    "later.variance.ranged": ends(wide(1e-6, 8.0, -1.0, 1.0, 0.0, signs=BOTH), rate, wide(1e-20, 1.0))}

QUANTITIES: tuple[Quantity, ...] = (*VARIANCES, *WITH_A_NETWORK)


# -- mistakes ----------------------------------------------------------------------------------------------------------

def _halves_exchanged(heads: Heads, variance: str) -> Heads:
    return Heads(heads.var, heads.mean) if variance in WITH_HEAD else heads


MISTAKES = (
    Mistake("POS-10", "learned range: variances averaged → their logarithms", "huggingface/diffusers@ecadcde",
            "later.variance.ranged", "value", instead(lambda head, beta, small: (1 + head) / 2 * beta + (1 - head) / 2 * small)),
    Mistake("NEW-RANGE", "head taken for the share itself, −1 … 1 → (1 + head)/2", "openai/improved-diffusion has the ½",
            "later.variance.ranged", "value", told(head=lambda head: 2 * head - 1)),
    Mistake("NEW-FIRST", "a floor of 1e-20 at t = 1 under every name → under 'floor'",
            "hojonathanho/diffusion, before improved-diffusion", "later.variance.first", "value",
            instead(lambda beta, *, policy: np.full(1, 1e-20))),
    Mistake("NEW-SWAP", "β̃ where β is named, and the other way round → as named", "fixed small and fixed large",
            "later.variance.read_out_vjp", "value",
            told(variance=lambda variance: {"small": "large", "large": "small"}.get(variance, variance))),
    Mistake("NEW-HALVES", "the first half of the network's outputs for the variance, the second for the mean → the other way round",
            "an order that is agreed on nowhere", "later.variance.read_out_vjp", "value", told(heads=_halves_exchanged)),
    Mistake("NEW-AS", "network told t − 1 → t", "an index from 0 for a step from 1", "later.model.as_network", "value",
            then(lambda network: SimpleNamespace(
                 reverse=lambda *args, t: network.reverse(*args, t=t - 1),
                 reverse_vjp=lambda *args, t: network.reverse_vjp(*args, t=t - 1)))),
    Mistake("NEW-EDGE-ASKED", "network asked at t = 1 where the forward kernel is named → the forward kernel", "eq. 44 left out",
            "later.model.last_step_vjp", "value",
            told(model=lambda model: model._replace(first="beta" if model.first == "fixed" else model.first))),
)
