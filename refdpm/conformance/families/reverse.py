"""Clauses of the reverse step that a network makes: its variance, at t = 1 too, its law, and the x_0 that it has in mind.

The variance at t = 1 is a choice of its own (`first`), whatever the variance of the other steps is.  For β̃_1 = 0 itself, which no
density has, "floor" stands: 1e-20 or nothing.

Sources: Ho, Jain, Abbeel 2020; Nichol, Dhariwal 2021 (a range of variances).
"""

from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm.conformance import terms
from refdpm.conformance.adapter import Skip
from refdpm.conformance.families import parametrisation, textbook
from refdpm.conformance.families.common import (D, N, Function, Given, Inputs, Output, Strategy, arrays, chain, chain_edges,
                                               edge_network, edge_schedules, network, own_levels, rates, row_of, scales,
                                               schedules, spread_out, step_of, step_vjp_of, times_of)
from refdpm.conformance.families.textbook import Normal
from refdpm.conformance.terms import Terms
from refdpm.gaussian import Gaussian
from refdpm.later import mean, model, variance
from refdpm.later.model import Model
from refdpm.networks.readout import Heads
from refdpm.schedule import Step
from refdpm.vjp import Array, Tree

CHOICES = ("predicts", "variance", "first")
NO_VARIANCE = variance.FLOOR * 2.0 ** 48            # so that 32 u of it are the floor in double precision

# where the policies at t = 1 are far apart, and where β̃ and β are
TELLING = (rates([0.5, 0.0625, 0.25]), rates([0.03125, 0.75, 0.25]))


# -- inputs ------------------------------------------------------------------------------------------------------------

@st.composite
def _states(draw: st.DrawFn, given: Given, more: dict[str, Strategy]) -> Inputs:
    beta = draw(schedules(given))
    T = len(beta) - 1
    return ({"x_t": draw(arrays(N, D)), "t": draw(npst.arrays(np.int64, N, elements=st.integers(1, T))), "beta": beta,
             "model": draw(network(T))} | {name: draw(strategy) for name, strategy in more.items()})


def states(given: Given, **more: Strategy) -> Strategy:
    """Draws states (N, D) at mixed t, a schedule and a network."""
    return _states(given, more)


def telling(given: Given) -> list[Array]:
    """The schedules of the edges, but first those in which conventions are easy to tell apart."""
    return [*(TELLING if given.beta is None else ()), *edge_schedules(given)]


def states_edges(given: Given) -> list[Inputs]:
    """The same at every t of the schedules of the edges."""
    found = []
    for beta in telling(given):
        t = times_of(beta)
        found.append({"x_t": spread_out(len(t), D), "t": t, "beta": beta, "model": edge_network(len(beta) - 1)})
    return found


# -- variances without a network -----------------------------------------------------------------------------------------

def first_variance(i: Inputs) -> Array:
    """The variance at t = 1, (1,).   Raises: Skip if the policy has none."""
    if i["first"] == "next" and len(i["beta"]) < 3:
        raise Skip("there is no second step whose variance the first could have")
    return variance.first(i["beta"], policy=i["first"])


def _variance(i: Inputs) -> tuple[Array, ...]:
    if i["variance"] == "ranged":
        raise Skip("the variance is in a range, and depends on the network")
    first, step = i["t"] == 1, step_of(i, ndim=1)
    later = variance.small(step.beta, step.log_alpha_bar_prev) if i["variance"] == "small" else step.beta
    return np.where(first, first_variance(i) if np.any(first) else 0.0, later),


def first_terms(i: Inputs, ndim: int) -> Terms:
    """The variance at t = 1 in the textbook."""
    at = {"beta": i["beta"], "t": np.array([min(2, len(i["beta"]) - 1)])}
    match i["first"]:
        case "next":
            return textbook.small(row_of(at, ndim=ndim))
        case "floor":
            return Terms(variance.FLOOR, NO_VARIANCE)
    return row_of(at | {"t": np.array([1])}, ndim=ndim).beta


def _variance_scale(i: Inputs) -> tuple[Array, ...]:
    row = row_of(i, ndim=1)
    return scales(terms.where(i["t"] == 1, first_terms(i, 1), textbook.small(row) if i["variance"] == "small" else row.beta))


def _ranged(i: Inputs) -> tuple[Array, ...]:
    step = step_of(i)
    return variance.ranged(i["head"], step.beta, variance.small(step.beta, step.log_alpha_bar_prev)),


def between(head: Terms, beta: Terms, least: Terms) -> Terms:
    """The variance that a head chooses."""
    share = (1 + head) / 2
    return terms.exp(share * terms.log(beta) + (1 - share) * terms.log(least))


def _ranged_scale(i: Inputs) -> tuple[Array, ...]:
    row = row_of(i)
    return scales(between(terms.exact(i["head"]), row.beta, textbook.small(row)))


def _ranged_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    step, back_step = step_vjp_of(i)
    least, back_small = variance.small_vjp(step.beta, step.log_alpha_bar_prev)
    dhead, dbeta, dleast = variance.ranged_vjp(i["head"], step.beta, least)[1](cotangents[0])
    dbeta_small, dlevel = back_small(dleast)
    return {"head": dhead, "beta": back_step(Step(dbeta + dbeta_small, dlevel, 0 * dlevel))}


VARIANCES = (
    Function(
        "reverse_variance", "REV.VAR",
        "β̃_t = β_t (1−ᾱ_{t−1})/(1−ᾱ_t) or β_t, one number for each row; at t = 1 β̃_2, 1e-20 or β_1", ("Ho 2020",),
        (Output("VALUE", "variance"),), chain(), chain_edges(), _variance, _variance_scale, given=own_levels,
        after=("alpha_bar", "posterior"), choices=("variance", "first"), sizes=lambda i: 1),
    Function(
        "ranged_variance", "REV.RANGE", "β_t^f β̃_t^(1−f) with f = (1 + head)/2, t ≥ 2", ("Nichol 2021",),
        (Output("VALUE", "variance"),), chain("head", low=2), chain_edges("head", low=2), _ranged, _ranged_scale, given=own_levels,
        after=("alpha_bar", "posterior"), vjp=_ranged_vjp, arguments=("head", "beta")),
)


# -- with a network ------------------------------------------------------------------------------------------------------

def model_of(i: Inputs) -> Model:
    """The network that the adapter is given, called as the adapter calls it, and how it is read."""
    def predict(parameters: Tree, x_t: Array, step: Step, *, t: Array) -> Heads:
        z, size = i["model"](x_t, t), x_t.shape[1]
        return Heads(z[:, :size], z[:, size:] if i.get("variance") == "ranged" else np.zeros_like(x_t))

    said = SimpleNamespace(predict=predict, predict_vjp=lambda *args, t: (predict(*args, t=t), None))
    return Model(said, i["predicts"], i.get("variance", "small"), i.get("first", "beta"))


def _x_0(i: Inputs) -> tuple[Array, ...]:
    heads = model_of(i).predictor.predict((), i["x_t"], step_of(i), t=i["t"])
    return mean.x_0_from(heads.mean, i["x_t"], step_of(i), predicts=i["predicts"]),


def _law(i: Inputs) -> Gaussian:
    """p(x_{t−1} | x_t) row by row: the model's reverse step, and its last one at t = 1."""
    said, step, shape = model_of(i), step_of(i), i["x_t"].shape
    found = Gaussian(np.zeros(shape), np.zeros(shape))
    for rows, last in ((i["t"] > 1, False), (i["t"] == 1, True)):
        x_t, t, columns = i["x_t"][rows], i["t"][rows], Step(*(column[rows] for column in step))
        if last and len(t):
            first_variance(i)
            p = model.last_step((), i["beta"], x_t, columns, t=t, model=_at_first(said))
        elif len(t):
            p = model.as_network(said).reverse((), x_t, columns, t=t)
        else:
            continue
        found.mean[rows], found.var[rows] = p
    return found


def _at_first(said: Model) -> Model:
    """At t = 1 there is no β but what the policy names."""
    return said if said.variance == "ranged" else said._replace(variance="small")


def law_terms(i: Inputs, row: textbook.Row, t: Array, x_t: Terms, last: Array) -> Normal:
    """The same in the textbook, for the columns of a step from t down; `last` (N,) where it goes down to 0."""
    size = x_t.value.shape[1]
    z = textbook.outputs(i["model"], x_t, t)
    first = last[:, None]
    centre = parametrisation.mean_of(z[:, :size], x_t, row, i["predicts"])
    centre = terms.where(first, terms.sqrt(row.alpha) * x_t, centre) if i["first"] == "fixed" else centre
    least = terms.where(first, first_terms(i, 2), textbook.small(row))
    if i["variance"] == "ranged":
        var = between(z[:, size:], row.beta, least)
        return Normal(centre, terms.where(first, row.beta + 0 * var, var) if i["first"] == "fixed" else var)
    return Normal(centre, (least if i["variance"] == "small" else terms.where(first, least, row.beta)) + 0 * centre.value)


def _law_scale(i: Inputs) -> tuple[Array, ...]:
    return scales(*law_terms(i, row_of(i), i["t"], terms.exact(i["x_t"]), i["t"] == 1))


def _x_0_scale(i: Inputs) -> tuple[Array, ...]:
    x_t = terms.exact(i["x_t"])
    z = textbook.outputs(i["model"], x_t, i["t"])[:, :x_t.value.shape[1]]
    return scales(parametrisation.x_0_of(z, x_t, row_of(i), i["predicts"]))


WITH_A_NETWORK = (
    Function(
        "x_0_from_model", "REV.X_0", "x̂_0 of what model(x_t, t) predicts, nothing clipped", ("Ho 2020",), (Output("VALUE"),),
        states, states_edges, _x_0, _x_0_scale, given=own_levels, after=("alpha_bar",), choices=("predicts",)),
    Function(
        "reverse", "REV.LAW", "p(x_{t−1} | x_t) = N(c_0 x̂_0 + c_t x_t, β̃_t, β_t or between), x̂_0 of what model(x_t, t) "
        "predicts; the model puts out D predictions, and D heads if the variance is learned", ("Ho 2020", "Nichol 2021"),
        (Output("MEAN"), Output("VAR", "variance")), states, states_edges, lambda i: tuple(_law(i)), _law_scale, given=own_levels,
        after=("alpha_bar", "posterior"), choices=CHOICES),
)

FUNCTIONS: tuple[Function, ...] = (*VARIANCES, *WITH_A_NETWORK)
