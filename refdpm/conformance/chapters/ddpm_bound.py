"""Clauses of the bound of Ho, Jain and Abbeel: its two ends, its terms, their sum, and bits per dimension.

Examples are images of 256 levels: the integers `k` and x_0 = −1 + 2k/255, whichever an adapter asks for.  noise (T, N, …), of which
noise[t−1] is for x_t.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from refdpm import bound, gaussian
from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.bound import RATES, own, own_kl, shown, shown_or, step_kl_of
from refdpm.conformance.chapters.draws import Draw, arrays
from refdpm.conformance.chapters.ends import BELOW, BOTH, STATE, Case, chosen, ends, rate, wide
from refdpm.conformance.chapters.inputs import (D, N, Given, Inputs, drawn, drawn_with, edge_network, exactly, listed,
                                                network, on_schedules, ordinary_then_wide, spread_out, tame_first)
from refdpm.conformance.chapters.reverse import at_first
from refdpm.conformance.chapters.quantity import Ask, Output, Quantity, arguments_of
from refdpm.conformance.chapters.theory import BETA, LEVEL, NETWORK, PREDICTOR, SCHEDULE, Take, Theory, composed, said_by
from refdpm.conformance.planting import PRINTED, Mistake, edited, instead, pulled, zero
from refdpm.gaussian import Gaussian
from refdpm.later import objective
from refdpm.later.decoder import Grid
from refdpm.later.mean import PREDICTIONS
from refdpm.later.model import Model
from refdpm.later.objective import Terms
from refdpm.later.variance import VARIANCES
from refdpm.layers.linear import Affine
from refdpm.likelihood import total_vjp
from refdpm.textbook import ddpm as book, prediction
from refdpm.textbook.chain import Normal, row
from refdpm.textbook.decoder import grid_of, mass_either_way
from refdpm.textbook.expression import E, given, move
from refdpm.textbook.page import Page
from refdpm.vjp import Array, Pullback, Tree, tree_map

CHOICES = ("predicts", "variance", "first")
NO_MASS = "with a variance of 1e-20 at t = 1 the decoder has no mass that could be compared"
ARGUMENTS = ("weight", "bias", "beta")
SOURCE = "Ho, Jain, Abbeel 2020"
SIZE = 0.0625                   # how far the network is from predicting x_t itself: far off a decoder has no mass to speak of


# -- inputs ------------------------------------------------------------------------------------------------------------

def image(k: Array) -> Inputs:
    """The levels k and the x_0 that they stand for."""
    return {"x_0": (2.0 * k - 255) / 255, "k": k}


def _shape(T: int, all_t: bool, components: int = D) -> tuple[int, ...]:
    return (T, N, components) if all_t else (N, components)


def _images(*, all_t: bool) -> Callable[[Given], Draw]:
    levels = draws.integer_arrays((N, D), 0, 255)
    inputs = drawn_with(on_schedules(low=2, k=levels), noise=lambda T: arrays(*_shape(T, all_t)), model=partial(network, size=SIZE))
    return lambda given: inputs(given).map(lambda i: image(i["k"]) | i)


def _edges(given: Given, *, all_t: bool) -> list[Inputs]:
    k = np.array([[0, 255, 7, 128, 64], [100, 3, 200, 31, 90], [254, 131, 18, 77, 255]])
    return [image(k[:, :components]) | {"noise": spread_out(*_shape(len(beta) - 1, all_t, components), start=0.3), "beta": beta,
                                        "model": edge_network(len(beta) - 1, components=components, size=SIZE)}
            for components, beta in ordinary_then_wide(tame_first(given, low=2))]


def _edges_at_T(given: Given) -> list[Inputs]:
    return [{"x_0": spread_out(*shape), "beta": beta} for beta in tame_first(given) for shape in ((N, D), (3, 4, 5, 2))]


# -- what the adapter had before -----------------------------------------------------------------------------------------

def _own_decoder(i: Inputs, ask: Ask) -> tuple[Array, ...] | None:
    return own(ask, "decoder_nll", i | {"noise": i["noise"][0]})


def _own_table(i: Inputs, ask: Ask) -> Inputs:
    return shown(own_kl=own_kl(i, ask), own_decoder=_own_decoder(i, ask))


def _own_parts(i: Inputs, ask: Ask) -> Inputs:
    return shown(own_kl=own_kl(i, ask), own_decoder=_own_decoder(i, ask),
                 own_prior=own(ask, "prior_kl", {"x_0": i["x_0"], "beta": i["beta"]}))


# -- the theory ----------------------------------------------------------------------------------------------------------

def _at(column: Take, t: int) -> Take:
    """A column of the schedule at one step for all examples; −1 is the last."""
    def there(i: Inputs) -> Inputs:
        return i | {"t": np.full(len(i["x_0"]), t % len(i["beta"]))}

    return Take(lambda i: column.make(there(i)), lambda i, d: column.back(there(i), d))


def _last(i: Inputs) -> Model:
    """The network as it is read at t = 1, where the variance is what the policy names, if it is not learned.

    Raises: Skip where that is next to nothing.
    """
    if i["first"] == "floor":
        raise Skip(NO_MASS)
    return at_first(said_by(i))


def terms_vjp(parameters: Tree, beta: Array, *, last: Model, noise_1: Array, **fixed: Any) -> tuple[Terms, Pullback]:
    """`objective.terms` with the network read as `last` at t = 1, and its adjoint."""
    terms, back = objective.terms_vjp(parameters, beta, noise_1=noise_1, **fixed)
    decoder, back_decoder = objective.decoder_vjp(parameters, beta, k=fixed["k"], grid=fixed["grid"], noise=noise_1, model=last)

    def pullback(dterms: Terms) -> tuple[Tree, Array]:
        steps, at_1 = back(dterms._replace(decoder=0 * dterms.decoder)), back_decoder(dterms.decoder)
        return tuple(tree_map(np.add, *pair) for pair in zip(steps, at_1))

    return terms._replace(decoder=decoder), pullback


def table_of(*arguments: Any, **fixed: Any) -> Array:
    """The terms of t = 1..T."""
    terms, _ = terms_vjp(*arguments, **fixed)
    return np.concatenate([terms.decoder[None], terms.kl])


def bound_vjp(parameters: Tree, beta: Array, **fixed: Any) -> tuple[Array, Pullback]:
    """The sum of all terms."""
    terms, back = terms_vjp(parameters, beta, **fixed)
    value, back_sum = objective.assemble_vjp(terms, T=len(beta) - 1)
    return value, lambda dvalue: back(back_sum(dvalue))


def _every_step(i: Inputs) -> Array:
    return bound.every_step(len(i["beta"]) - 1, len(i["k"]))


FULL: dict[str, Any] = dict(
    t=_every_step, noise=lambda i: i["noise"][_every_step(i)[:, 0] - 1], noise_1=lambda i: i["noise"][0], k=lambda i: i["k"],
    grid=lambda i: Grid(), model=said_by, last=_last)


# -- the textbook --------------------------------------------------------------------------------------------------------

X_0, K, GRID = given("x_0"), given("k"), grid_of(Grid())
AT_1 = row(at=1)


def _last_law(i: Inputs, x_1: E) -> Normal:
    weight, bias = (move(given(name), "at t = 1 ", lambda table: table[1]) for name in ("weight", "bias"))
    return prediction.last_step(prediction.affine(x_1, weight, bias), x_1, AT_1, predicts=i["predicts"], first=i["first"],
                                variance="small" if i["variance"] == "large" else i["variance"])


def _decoder(i: Inputs, noise: str) -> E:
    return book.decoder(X_0, K, GRID, given(noise), lambda x_1: _last_law(i, x_1), mass_either_way)


def _prior() -> E:
    return book.per_example(book.prior_kl(X_0, row(at="T")))


def _terms(i: Inputs) -> book.Terms:
    """On a page of steps."""
    found = book.Terms(_prior(), step_kl_of(i, 1), _decoder(i, "noise_1"))
    return book.Terms(*(shown_or(i, name, part) for name, part in found._asdict().items()))


def _page(i: Inputs) -> Page:
    """x_0 of levels, which no float holds exactly, is rounded."""
    meant = image(i["k"]) if "k" in i else {}
    return Page(arguments_of(i) | meant, beta=i["beta"], ndim=i["x_0"].ndim, errors={"x_0": np.abs(i["x_0"])} if meant else None)


def _page_of_steps(i: Inputs) -> Page:
    """The page whose rows are t = 2..T, with the noise for them, and that of x_1 besides."""
    noise = {"noise": i["noise"][1:], "noise_1": i["noise"][0]}
    return Page(arguments_of(i) | image(i["k"]) | noise, beta=i["beta"], ndim=3, steps=True, errors={"x_0": np.abs(i["x_0"])})


# -- the quantities --------------------------------------------------------------------------------------------------------

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "bits_per_dimension", "UNIT.BPD", "nats/(D log 2) + log₂ per_unit, for the total `nats` of an example with D "
        "components; per_unit is 1, or for a density the number of levels in a unit", (SOURCE,),
        (Output("VALUE"),), drawn(nats=arrays(N, low=-500.0, high=500.0), x_0=arrays(N, D), per_unit=draws.one_of([1.0, 128.0])),
        listed({"nats": exactly([12.5, 0.0, -3.0]), "x_0": spread_out(3, 4, 5, 2), "per_unit": 1.0},
               {"nats": exactly([900.0]), "x_0": spread_out(1, 1), "per_unit": 1.0},
               {"nats": exactly([12.5, 0.0, -3.0]), "x_0": spread_out(3, 2), "per_unit": 127.5}),
        Theory(objective.per_dimension, "nats", k=lambda i: np.zeros(i["x_0"].shape, dtype=np.int64), fixed=("per_unit",)),
        book.per_dimension(given("nats"), X_0, given("per_unit")), arguments=("nats",)),
    Quantity(
        "prior_kl", "OBJ.PRIOR", "L_T = KL(q(x_T | x_0) ‖ N(0, 1)) = ½ Σ [ᾱ_T x_0² − ᾱ_T − log(1−ᾱ_T)]", (SOURCE, "43"),
        (Output("VALUE", "total"),), on_schedules(x_0=arrays(N, D)), _edges_at_T,
        Theory(composed(objective.prior_kl_vjp, total_vjp), "x_0", _at(LEVEL, -1)), _prior(),
        arguments=("x_0", "beta"), page=_page),
    Quantity(
        "edge_log_prob", "OBJ.EDGE", "E log p(x_0 | x_1) with p(x_0 | x_1) = N(√(1−β_1) x_1, β_1): "
        "−½ Σ [log 2πβ_1 + β_1 x_0² + 1 − β_1]", ("44",), (Output("VALUE", "total"),), on_schedules(x_0=arrays(N, D)), _edges_at_T,
        Theory(composed(objective.edge_vjp, total_vjp), "x_0", _at(BETA, 1)),
        book.per_example(book.edge(X_0, AT_1)), page=_page),
    Quantity(
        "decoder_nll", "OBJ.DECODER", "L_0 = −Σ log [Φ((x_0 + 1/255 − m)/σ) − Φ((x_0 − 1/255 − m)/σ)], ends open, with the law of "
        "the step t = 1 at x_1 = √ᾱ_1 x_0 + √(1−ᾱ_1) ε", (SOURCE,), (Output("VALUE", "total"),),
        _images(all_t=False), partial(_edges, all_t=False),
        Theory(objective.decoder, NETWORK, SCHEDULE, fixed=("k", "noise"), grid=lambda i: Grid(),
               model=_last),
        lambda i: _decoder(i, "noise"), choices=CHOICES, arguments=ARGUMENTS, page=_page),
    Quantity(
        "bound_terms", "OBJ.TERMS", "(T, N): L_0, and for t = 2..T the divergence of the step, in the order of t", (SOURCE, "14"),
        (Output("TABLE", "table_of_totals"),), _images(all_t=True), partial(_edges, all_t=True),
        Theory(table_of, NETWORK, SCHEDULE, **FULL), lambda i: book.table(_terms(i)),
        given=_own_table, after=("step_kl", "decoder_nll"), choices=CHOICES, page=_page_of_steps),
    Quantity(
        "bound", "OBJ.BOUND", "−log P(x_0) ≤ L_T + Σ_{t=2}^T KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) + L_0, noise (T, N, …)",
        (SOURCE, "13"), (Output("VALUE", "total"),), _images(all_t=True), partial(_edges, all_t=True),
        Theory(bound_vjp, NETWORK, SCHEDULE, **FULL),
        lambda i: book.whole(_terms(i)), given=_own_parts, after=("prior_kl", "step_kl", "decoder_nll"), choices=CHOICES,
        arguments=ARGUMENTS, page=_page_of_steps),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _on_a_chain(rng: np.random.Generator, n: int, kind: tuple[Array, str, str, str]) -> Case:
    """Two images on a grid, one after the other with noise for every t, and a network near the one that predicts x_t itself."""
    beta, *read = kind
    T, grid = len(beta) - 1, (Grid(), Grid(-1.5, 2.5, 4))[n % 2]
    weight, bias = np.eye(2, 4) + 0.1 * rng.normal(size=(T + 1, 2, 4)), 0.1 * rng.normal(size=(T + 1, 4))
    k, t = rng.integers(grid.levels, size=(2, 2)), bound.every_step(T, 2)
    fixed = dict(k=k, grid=grid, noise=rng.normal(size=(*t.shape, 2)), noise_1=rng.normal(size=(2, 2)), t=t,
                 model=Model(PREDICTOR, *read))
    return (Affine(weight, bias), beta), fixed


def _decoded(rng: np.random.Generator, n: int, kind: tuple[Array, str, str, str]) -> Case:
    arguments, fixed = _on_a_chain(rng, n, kind)
    return arguments, dict(k=fixed["k"], grid=fixed["grid"], noise=fixed["noise_1"], model=fixed["model"])


KINDS = tuple((beta, PREDICTIONS[n % 5], VARIANCES[n % 3], ("next", "beta", "fixed")[n % 3 - 1])
              for n, beta in enumerate(beta for beta in RATES if len(beta) > 2))


def _dimensions(rng: np.random.Generator, n: int, D: int) -> Case:
    return (STATE(rng, n),), dict(k=np.zeros((n, D), dtype=int))


def _assembled(rng: np.random.Generator, n: int, S: int, T: int) -> Case:
    return (Terms(STATE(rng, n), STATE(rng, S * n).reshape(S, n), STATE(rng, n)),), dict(T=T)


ENDS = {
    # at x_0 = 0, −ᾱ − log(1−ᾱ) cancels in |ℓ|/2.3 digits; `digits` tells up to a hundred from 0
    "later.objective.prior_kl": (ends(wide(1e-6, 1e6, 1.0, signs=BOTH), BELOW),
                                 ends(chosen(0.0), wide(1e-12, 150.0, signs=(-1,)))),
    "later.objective.edge": ends(STATE, rate),
    "later.objective.decoder": tuple(partial(_decoded, kind=kind) for kind in KINDS),
    "later.objective.terms": tuple(partial(_on_a_chain, kind=kind) for kind in KINDS),
    "later.objective.assemble": tuple(partial(_assembled, S=S, T=T) for S, T in ((0, 1), (1, 5), (3, 200))),
    "later.objective.per_dimension": tuple(partial(_dimensions, D=D) for D in (1, 7, 48))}


# -- mistakes ----------------------------------------------------------------------------------------------------------

MISTAKES = (
    Mistake("BND-05b", "KL of drawn steps averaged → times T − 1",
            "cvignac/DiGress@b36d99f", "later.objective.assemble", "value", edited("factor left out: T − 1")),
    Mistake("FWD-05b", "prior term with log-variance √(1−ᾱ) → log(1−ᾱ)",
            "tqch/ddpm-torch#9", "later.objective.prior_kl", "value",
            instead(lambda x, level: gaussian.kl(
                Gaussian(np.exp(level / 2) * x, np.exp(np.sqrt(-np.expm1(level)))), gaussian.prior(x.shape)))),
    Mistake("NEW-PRIOR", "prior term H(π) − H(x_T | x_0) → with the cross-entropy of π",
            "the step of eqs. 43 and 46, right for second moment 1 only", "later.objective.prior_kl", "value",
            instead(lambda x, level: 0 * x - np.log(-np.expm1(level)) / 2)),
    Mistake("NEW-EDGE-H", "edge −H(x_1 | x_0) → with β_1 (x_0² − 1)/2",
            "as NEW-PRIOR, at the other end", "later.objective.edge", "value",
            instead(lambda x, beta: 0 * x - (np.log(2 * np.pi * beta) + 1) / 2)),
    Mistake("NEW-PRIOR-ABAR", "prior term through the variance 1 − ᾱ, 0 for small ᾱ → through ᾱ", "the textbook form",
            "later.objective.prior_kl", "accuracy", PRINTED),
    Mistake("GRD-01-DEC", "bound's decoder taken for a constant of the schedule → differentiated", "as GRD-01",
            "later.objective.decoder_vjp", "gradient", pulled(beta=zero)),
)
