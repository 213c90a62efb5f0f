"""Clauses of the paper's bound K: the divergence of a step, the entropies at both ends, the sum, and what makes it strict.

What the network predicts and the variance of its step are the adapter's choice (`predicts`, `variance`); x_t is drawn with frozen
noise.  Full sums over t take noise (T, N, …), of which noise[t−1] is for x_t; K has no use for noise[0].
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from refdpm import bound, gaussian, schedule
from refdpm.bound import Terms
from refdpm.conformance.adapter import Fault, Skip
from refdpm.conformance.chapters.draws import arrays
from refdpm.conformance.chapters.ends import Case, Sampler
from refdpm.conformance.chapters.inputs import (D, N, WIDE, Given, Inputs, at_every_step, chain, chain_edges, drawn_with,
                                                edge_network, edges_with, network, on_schedules, ordinary_then_wide, rates,
                                                spread_out, tame_first)
from refdpm.conformance.chapters.quantity import Ask, Output, Quantity, arguments_of
from refdpm.conformance.chapters.theory import NETWORK, PREDICTOR_OF_ROWS, ROWS, SCHEDULE, Theory, said_by, step_of
from refdpm.later.model import as_network
from refdpm.networks import swiss_roll
from refdpm.networks.readout import READOUTS
from refdpm.networks.swiss_roll import SwissRoll
from refdpm.textbook import bound as book, prediction
from refdpm.textbook.chain import Normal, draw, marginal, posterior, row, small
from refdpm.textbook.expression import E, column, forms, gathered, given, slack
from refdpm.textbook.page import Page
from refdpm.vjp import Array, Pullback, Tree, fix

CHOICES = ("predicts", "variance")
TOTAL = (Output("VALUE", "total"),)
ARGUMENTS = ("weight", "bias", "beta", "x_0")


# -- inputs ------------------------------------------------------------------------------------------------------------

PATH = drawn_with(on_schedules(x_0=arrays(N, D)), noise=lambda T: arrays(T, N, D), model=network)
STEP = drawn_with(chain("x_0", "noise", low=2), model=network)


def path_edges(given: Given) -> list[Inputs]:
    """Examples, noise for every t and a network, on the schedules of the edges; then wide examples, and one more of them, which
    tells their number from a factor."""
    return [{"x_0": spread_out(count, components), "noise": spread_out(len(beta) - 1, count, components, start=0.3), "beta": beta,
             "model": edge_network(len(beta) - 1, components=components)}
            for components, beta in ordinary_then_wide(tame_first(given)) for count in (N + (components == WIDE),)]


def step_edges(given: Given) -> list[Inputs]:
    """Examples with noise and a network at every t ≥ 2 of the schedules of the edges; then wide examples."""
    schedules = tame_first(given, low=2)
    return [*edges_with(at_every_step("x_0", "noise", betas=schedules, low=2), model=edge_network),
            *edges_with(at_every_step("x_0", "noise", betas=schedules[:1], low=2, components=WIDE),
                        model=partial(edge_network, components=WIDE))]


# -- what the adapter had before -----------------------------------------------------------------------------------------

def own(ask: Ask, name: str, inputs: Inputs) -> tuple[Array, ...] | None:
    """The adapter's own answer; None if it has none."""
    try:
        return ask(name, inputs)
    except (Skip, Fault, KeyError):
        return None


def shown(**found: tuple[Array, ...] | None) -> Inputs:
    """What it shows of what is upstream.   Raises: Skip if that is nothing."""
    kept = {name: value for name, value in found.items() if value is not None}
    if not kept:
        raise Skip("nothing upstream is offered")
    return kept


def _own_laws(i: Inputs, ask: Ask) -> Inputs:
    """Its x_t, and its posterior and its reverse step there."""
    at = {"t": i["t"], "beta": i["beta"]}
    x_t = own(ask, "marginal_sample", {"x_0": i["x_0"], "noise": i["noise"]} | at)
    state = x_t[0] if x_t else gaussian.draw(gaussian.marginal(i["x_0"], step_of(i).log_alpha_bar), noise=i["noise"])
    return shown(own_x_t=x_t, own_q=own(ask, "posterior", {"x_0": i["x_0"], "x_t": state} | at),
                 own_p=own(ask, "reverse", {"x_t": state, "model": i["model"]} | at))


def own_kl(i: Inputs, ask: Ask, step: str = "step_kl", drawn: str = "noise") -> tuple[Array, ...] | None:
    """Its divergences for t = 2..T, (T−1, N), each at its own part of what is `drawn` for every t; all asked for at once."""
    t, count = np.arange(2, len(i["beta"])), len(i["x_0"])
    if not t.size:
        return None
    same = {name: i[name] for name in ("beta", "model", "rate") if name in i}
    rows = {"x_0": np.concatenate([i["x_0"]] * len(t)), drawn: np.concatenate(i[drawn][t - 1]), "t": np.repeat(t, count)}
    found = own(ask, step, same | rows)
    return None if found is None else (found[0].reshape(len(t), count),)


def _own_ends(i: Inputs, ask: Ask) -> Inputs:
    count, T = len(i["x_0"]), len(i["beta"]) - 1
    return {f"own_{name}": own(ask, "entropy_at", {"x_0": i["x_0"], "t": np.full(count, t), "beta": i["beta"]})
            for name, t in (("entropy_T", T), ("entropy_1", 1))}


def _own_parts(i: Inputs, ask: Ask) -> Inputs:
    return shown(own_kl=own_kl(i, ask), **_own_ends(i, ask))


def _own_step(i: Inputs, ask: Ask) -> Inputs:
    found = own(ask, "step_kl", {name: i[name] for name in ("x_0", "t", "noise", "beta", "model")})
    return shown(own_kl=None if found is None else (found[0][None],), **_own_ends(i, ask))


# -- the theory ----------------------------------------------------------------------------------------------------------

def entropies_vjp(beta: Array, x_0: Array, *, t: Array) -> tuple[Array, Pullback]:
    """`bound.entropy_at` of every row at its own t, and its adjoint."""
    rows = [bound.entropy_at_vjp(beta, x[None], t=int(s), kernel=gaussian) for x, s in zip(x_0, t)]

    def pullback(dvalue: Array) -> tuple[Array, Array]:
        dbeta, dx_0 = zip(*(back(w[None]) for (_, back), w in zip(rows, dvalue)))
        return np.sum(dbeta, axis=0), np.concatenate(dx_0)

    return np.concatenate([value for value, _ in rows]), pullback


def _every_step(i: Inputs) -> Array:
    return bound.every_step(len(i["beta"]) - 1, len(i["x_0"]))


FIXED: dict[str, Any] = dict(kernel=lambda i: gaussian, network=lambda i: as_network(said_by(i)))
FULL = FIXED | dict(t=_every_step, noise=lambda i: i["noise"][_every_step(i)[:, 0] - 1])
DRAWN = FIXED | dict(t=lambda i: i["t"][None], noise=lambda i: i["noise"][None])


# -- the textbook --------------------------------------------------------------------------------------------------------

X_0, NOISE = book.X_0, book.NOISE


def shown_or(i: Inputs, name: str, formula: E) -> E:
    """The adapter's own answer where it is shown: as exact as its last digit (`own_exactly`), or with the rounding of the formula
    that stands for it elsewhere, because the adapter may have come to it in another way there."""
    if f"own_{name.partition('.')[0]}" not in i:
        return formula
    own = given(f"own_{name}")
    return own + slack(own) if "own_exactly" in i else forms(own, formula)


def _law(i: Inputs, name: str, law: Normal) -> Normal:
    return Normal(shown_or(i, f"{name}.0", law.mean), shown_or(i, f"{name}.1", law.var))


def reverse(i: Inputs, x_t: E) -> Normal:
    """p(x_{t−1} | x_t) of the network."""
    heads = prediction.affine(x_t, gathered("weight"), gathered("bias"))
    return prediction.reverse(heads, x_t, row(), small(row()), predicts=i["predicts"], variance=i["variance"])


def step_kl_of(i: Inputs, examples: int = 0) -> E:
    """KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) of each example."""
    x_t = shown_or(i, "x_t", draw(marginal(X_0, row()), NOISE))
    return book.divergence(_law(i, "q", posterior(x_t, X_0, row())), _law(i, "p", reverse(i, x_t)), examples)


def terms_of(i: Inputs) -> book.Terms:
    """The terms of K on a page of steps."""
    found = book.Terms(step_kl_of(i, 1), *book.ends(X_0))
    return book.Terms(*(shown_or(i, name, part) for name, part in found._asdict().items()))


def k_of(i: Inputs) -> E:
    """K."""
    return shown_or(i, "K", book.whole(terms_of(i)))


def page_of_steps(i: Inputs) -> Page:
    """The page whose rows are t = 2..T, with the noise for them."""
    return Page(arguments_of(i) | {"noise": i["noise"][1:]}, beta=i["beta"], t=np.arange(2, len(i["beta"])), ndim=3, steps=True)


def _page_of_one_step(i: Inputs) -> Page:
    return Page(arguments_of(i) | {"noise": i["noise"][None]}, beta=i["beta"], t=i["t"][None], ndim=3)


# -- the clauses -----------------------------------------------------------------------------------------------------------

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "entropy_at", "BND.ENTROPY", "H(x_t | x_0) = ½ Σ [1 + log 2π + log(1−ᾱ_t)]", ("14", "App.1 G bound"), TOTAL,
        chain("x_0"), chain_edges("x_0"), Theory(entropies_vjp, SCHEDULE, "x_0", fixed=("t",)), book.entropy_at(X_0, row()),
        arguments=("beta",)),
    Quantity(
        "step_kl", "BND.STEP", "KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) for x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, t ≥ 2",
        ("14", "App.1 G bound"), TOTAL, STEP, step_edges,
        Theory(bound.step_kl, ROWS, SCHEDULE, "x_0", fixed=("noise", "t"), kernel=lambda i: gaussian,
               network=lambda i: as_network(said_by(i, PREDICTOR_OF_ROWS))),
        step_kl_of, given=_own_laws, after=("marginal_sample", "posterior", "reverse"), choices=CHOICES,
        arguments=("output", *ARGUMENTS)),
    Quantity(
        "K", "BND.K", "K = −Σ_{t=2}^T KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) + H(x_T | x_0) − H(x_1 | x_0) − H(π), "
        "noise (T, N, …)", ("14", "App.1 G bound"), TOTAL, PATH, path_edges,
        Theory(bound.bound, NETWORK, SCHEDULE, "x_0", **FULL), k_of,
        given=_own_parts, after=("step_kl", "entropy_at"), choices=CHOICES, arguments=ARGUMENTS, page=page_of_steps),
    Quantity(
        "one_step_bound", "BND.DRAWN", "K from one t of 2..T per example: −(T−1) KL at t + H(x_T | x_0) − H(x_1 | x_0) − H(π)",
        ("14",), TOTAL, STEP, step_edges, Theory(bound.bound, NETWORK, SCHEDULE, "x_0", **DRAWN),
        lambda i: book.assemble(terms_of(i), column("t", at="T")), given=_own_step, after=("step_kl", "entropy_at"),
        choices=CHOICES, arguments=ARGUMENTS, page=_page_of_one_step),
    Quantity(
        "strict_bound", "BND.STRICT", "K + C ≤ log p(x_0) for any data, C = ½ (ᾱ_T + β_1) Σ (1 − x_0²)", ("12", "43", "46"), TOTAL,
        PATH, path_edges, Theory(bound.strict_bound, NETWORK, SCHEDULE, "x_0", **FULL),
        lambda i: k_of(i) + book.correction(X_0), given=lambda i, ask: shown(own_K=own(ask, "K", i)), after=("K",),
        choices=CHOICES, arguments=ARGUMENTS, page=page_of_steps),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

RATES = (schedule.geometric(12, beta_1=1e-12, beta_T=0.5), rates(np.full(4, 1e-12)), np.array([0.0, 1e-15, 0.5, 1 - 1e-6]),
         rates([1e-6, 1e-3, 0.9, 1e-9]), schedule.linear(40, beta_1=1e-4, beta_T=0.02), schedule.reciprocal(5), rates([0.375]))


def on_a_chain(case: Callable[..., Case], *, low: int = 1) -> tuple[Sampler, ...]:
    """Cases of (parameters, beta, x_0, noise, t, network): the schedules with T ≥ low steps, at every t, and networks that are the
    forward kernel and far from it; the read-outs take turns, and so do three examples of two components and one of one."""
    kinds = [(beta, READOUTS[(n + k) % 3], 3.0 * k, ((3, 2), (1, 1))[n % 2])
             for n, beta in enumerate(RATES) if len(beta) > low for k in (0, 1)]
    return tuple(partial(_on_a_chain, case, *kind) for kind in kinds)


def _on_a_chain(case: Callable[..., Case], beta: Array, readout: str, size: float, shape: tuple[int, int],
                rng: np.random.Generator, n: int) -> Case:
    T, (N, D) = len(beta) - 1, shape
    weight, bias = rng.normal(size=(T + 1, 4, 2 * D)) * size, rng.normal(size=(T + 1, 2 * D)) * size
    parameters = SwissRoll(rng.normal(size=(4, D)), rng.uniform(-2, 1, 4), weight, bias)
    t = bound.every_step(T, N)
    return case(parameters, beta, rng.normal(size=shape), rng.normal(size=(*t.shape, D)), t, fix(swiss_roll, readout=readout))


def _k(parameters: Tree, beta: Array, x_0: Array, noise: Array, t: Array, network: Any) -> Case:
    return (parameters, beta, x_0), dict(noise=noise, t=t, kernel=gaussian, network=network)


def _rows(parameters: Tree, beta: Array, x_0: Array, noise: Array, t: Array, network: Any) -> Case:
    flat = dict(noise=noise.reshape(-1, x_0.shape[1]), t=t.ravel(), kernel=gaussian, network=network)
    return (parameters, beta, np.tile(x_0, (len(t), 1))), flat


def _rows_of_a_network(*chain: Any) -> Case:
    (parameters, beta, x_0), fixed = _rows(*chain)
    return (parameters,), dict(beta=beta, x_0=x_0, **fixed)


def _at(step: int) -> Callable[..., Case]:
    """x_0 at one step of all, −1 for the last."""
    return lambda _, beta, x_0, *rest: ((beta, x_0), dict(t=step % len(beta), kernel=gaussian))


def _between(step: int) -> Callable[..., Case]:
    return lambda _, beta, x_0, *rest: ((beta, x_0), dict(t=step % len(beta), noise=x_0, kernel=gaussian))


def _assembled(rng: np.random.Generator, n: int, S: int, T: int) -> Case:
    return (Terms(rng.random((S, n)), *rng.normal(size=(3, n))),), dict(T=T)


CHAIN = on_a_chain(lambda _, beta, x_0, *rest: ((beta, x_0), dict(kernel=gaussian)))
K, ENDS_OF_A_CHAIN = on_a_chain(_k), on_a_chain(_at(-1)) + on_a_chain(_at(1))
ENDS = {
    "bound.step_kl": on_a_chain(_rows), "bound.network_kl": on_a_chain(_rows_of_a_network), "bound.terms": K, "bound.bound": K,
    "bound.strict_bound": K, "bound.correction": CHAIN, "bound.end_terms": CHAIN,
    "bound.entropy_at": ENDS_OF_A_CHAIN, "bound.prior_cross_entropy_at": ENDS_OF_A_CHAIN,
    "bound.assemble": tuple(partial(_assembled, S=S, T=T) for S, T in ((0, 1), (1, 2), (1, 1000), (3, 40))),
    "reversal.entropy_bounds": on_a_chain(_between(2), low=2) + on_a_chain(_between(-1), low=2)}
