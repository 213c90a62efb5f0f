"""The chain for symbols: matrices, marginal, posterior, reverse step from logits, divergence, draws; any matrices; masked tokens.

A symbol is the number of its class, 0..K−1, in an integer array (N, …); a law has the classes on its last axis.  `classes` is K:
the adapter's own, if it has an attribute of that name, else drawn.  `law` (K,) is the stationary law of a chain that asks for one.
"""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from scipy.special import xlogy

from refdpm import activation, schedule
from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays
from refdpm.conformance.chapters.ends import BELOW, BOTH, Case, ends, rate, wide
from refdpm.conformance.chapters import inputs
from refdpm.conformance.chapters.inputs import D, N, Given, Inputs, drawn, edge_schedules, exactly, listed, spread_out, times_of
from refdpm.conformance.chapters.quantity import ByHand, Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import Take, Theory, columns, step_of, symbol
from refdpm.conformance.planting import SWAPPED, Mistake, edited, instead, of, pulled_by, then, told
from refdpm.later import categorical, masked
from refdpm.later.categorical import Categorical
from refdpm.schedule import Step
from refdpm.textbook import symbols as book
from refdpm.textbook.chain import row
from refdpm.textbook.expression import E, also, given, move
from refdpm.textbook.page import Page
from refdpm.vjp import Array

SOURCE = ("Hoogeboom 2021", "Austin 2021")
SHARES = 64                                         # laws are made of shares that float32 adds up to 1 exactly
X_0, X_T, LOGITS, K, IDENTITY, MASK = map(given, ("x_0", "x_t", "logits", "classes", "identity", "mask"))


# -- inputs --------------------------------------------------------------------------------------------------------------

def _sizes(given: Given) -> Draw:
    return draws.just(given.classes) if given.classes else draws.one_of([2, 3, 5])


def chain(*symbols: str, logits: bool = False) -> Callable[[Given], Draw]:
    """Symbols of those names, a schedule and t."""
    def of(K: int) -> dict[str, Any]:
        found = {name: draws.integer_arrays((N, D), 0, K - 1) for name in symbols}
        law = draws.repeated(draws.integers(0, SHARES - K), K - 1).map(positive)
        return {"classes": draws.just(K), "law": law} | ({"logits": arrays(N, D, K)} if logits else {}) | found

    return lambda given: _sizes(given).flatmap(lambda K: inputs.chain(**of(K))(given))


def chain_edges(*symbols: str, logits: bool = False) -> Callable[[Given], list[Inputs]]:
    """Those of `_every_t`; first with such an x_t as can come from x_0, with masks at every t."""
    def edges(given: Given) -> list[Inputs]:
        found = _every_t(*symbols, logits=logits)(given)
        return [*map(_possible, found), *found] if "x_t" in symbols else found
    return edges


def _every_t(*symbols: str, logits: bool = False) -> Callable[[Given], list[Inputs]]:
    """Every t of the schedules of the edges, K = 3, 2, 5 in turn; equal and unequal symbols in one batch."""
    def edges(given: Given) -> list[Inputs]:
        found = []
        for i, beta in enumerate(edge_schedules(given)):
            t, K = times_of(beta), given.classes or (3, 2, 5)[i % 3]
            edge: Inputs = {"logits": spread_out(len(t), D, K)} if logits else {}
            edge["law"] = positive(list(range(3 * i, 3 * i + 7 * (K - 1), 7)))
            for j, name in enumerate(symbols):
                edge[name] = (np.arange(len(t))[:, None] * (1, K)[j] + j * np.arange(D) + i).astype(np.int64) % K
            found.append(edge | {"t": t, "beta": beta, "classes": K})
        return found
    return edges


def _possible(i: Inputs) -> Inputs:
    """With an x_t that every kernel can make of x_0: every other symbol is as it was, or the last class."""
    x_0 = i["x_0" if "x_0" in i else "x_t"]
    stays = (np.arange(x_0.size).reshape(x_0.shape) + i["t"][:, None]) % 2 == 0
    return i | {"x_t": np.where(stays, x_0, i["classes"] - 1)}


def _laws(given: Given) -> Draw:
    """Two laws (N, K) of shares of 1/64; where the second has nothing the first has nothing."""
    def of(K: int) -> Draw:
        law = draws.repeated(draws.integers(0, SHARES), K - 1).map(_between)
        rows = draws.repeated(draws.several(law, law).map(lambda pair: _covered(*pair)), N)
        return rows.map(lambda pairs: {"law_q": np.array([q for q, _ in pairs]), "law_p": np.array([p for _, p in pairs])})

    return _sizes(given).flatmap(of)


def positive(cuts: list[int]) -> Array:
    """A law in which every class has one share at least."""
    return (np.diff([0, *sorted(cuts), SHARES - len(cuts) - 1]) + 1) / SHARES


def _between(cuts: list[int]) -> Array:
    return np.diff([0, *sorted(cuts), SHARES]) / SHARES


def _covered(q: Array, p: Array) -> tuple[Array, Array]:
    return (q, p) if np.all((q == 0) | (p > 0)) else (q, (q + p) / 2)


def _laws_edges(given: Given) -> list[Inputs]:
    K = given.classes or 3
    one, even, skew = np.eye(K)[0], np.full(K, exactly(1 / K)), np.array([0.5 ** (k + 1) for k in range(K - 1)] + [0.5 ** (K - 1)])
    even[0] += 1 - even.sum()
    return [{"law_q": np.array([even, skew, skew]), "law_p": np.array([skew, even, skew])},
            {"law_q": np.array([one, skew]), "law_p": np.array([skew, skew[::-1]])}]


# -- symbols as rows of K numbers ------------------------------------------------------------------------------------------

def _symbols(i: Inputs, name: str) -> Array:
    return np.eye(i["classes"])[i[name]]


def _one_hot(name: str) -> Take:
    return Take(lambda i: _symbols(i, name), lambda i, d: {})


def _axes(i: Inputs) -> int:
    """Those of the symbols, and one for classes besides."""
    return 1 + next((np.ndim(i[name]) for name in ("x_0", "x_t") if name in i), 0)


BETA, PREV, LEVEL, STEP = columns(_axes)


def _page(i: Inputs) -> Page:
    given = i | {name: _symbols(i, name) for name in ("x_0", "x_t") if name in i} | {"identity": np.eye(i["classes"])}
    given |= {"mask": np.eye(i["classes"])[-1]} if i.get("kernel") == "absorbing" else {}
    return Page(given, beta=i["beta"], t=i.get("t"), ndim=max(_axes(i), 3))


def _two_laws(i: Inputs) -> Page:
    """Laws that may have been given as logarithms, or as logits, and have been normalised."""
    size = [np.abs(np.log(np.where(law > 0, law, 1.0))) for law in (i["law_q"], i["law_p"])]
    normalised = sum((i["law_q"] * part).sum(axis=-1, keepdims=True) for part in size)
    return Page(i, errors={name: i[name] * (part + normalised) for name, part in zip(("law_q", "law_p"), size)})


# -- the stationary law --------------------------------------------------------------------------------------------------

def stationary(i: Mapping[str, Any]) -> Array | None:
    """The one that is given; all on the last class, the mask, of the absorbing chain; None for the uniform one."""
    return {"absorbing": np.eye(i["classes"])[-1], "given": i["law"]}.get(i.get("kernel", ""))


def _law_of_possible(i: Inputs) -> Array | None:
    """The same.   Raises: Skip for an x_t that cannot come from x_0."""
    if i.get("kernel") == "absorbing" and np.any((i["x_t"] != i["x_0"]) & (i["x_t"] != i["classes"] - 1)):
        raise Skip("in the absorbing chain x_t is x_0 or the mask")
    return stationary(i)


def _law_in_book(i: Inputs) -> E | None:
    return {"absorbing": MASK, "given": given("law")}.get(i.get("kernel", ""))


def _posterior_in_book(i: Inputs) -> E:
    found = book.posterior(X_T, X_0, row(), K, _law_in_book(i))
    return _also(found, book.with_mask(X_T, X_0, row(), MASK)) if i.get("kernel") == "absorbing" else found


def _reverse_as_printed(i: Inputs) -> E:
    law = _law_in_book(i)
    return book.reverse(LOGITS, X_T, row(), book.evidence(X_T, row(), K, law), i["mixing"], K, law, book.FIRST)


def _reverse_in_book(i: Inputs) -> E:
    found, averaged = _reverse_as_printed(i), i["mixing"].startswith("average")
    if i.get("kernel") != "absorbing" or not averaged:
        return found
    return _also(found, book.reverse_with_mask(LOGITS, X_T, row(), MASK, i["mixing"]))


def _also(posterior: E, in_another_way: E) -> E:
    """A posterior has a second way within it, and so the other is the third."""
    return also(posterior, posterior, in_another_way)


# -- the clauses -----------------------------------------------------------------------------------------------------------

LAW = (Output("PROB", "law"),)
MATRIX = (Output("MATRIX", "matrix"),)

BASIC: tuple[Quantity, ...] = (
    Quantity(
        "transition_matrix", "CAT.STEP", "Q_t = (1−β_t) I + β_t 1πᵀ, the row is the class before the step: it is kept, or "
        "drawn anew from π, which is 1/K for each class (kernel 'uniform'), or 1 for the last ('absorbing')",
        SOURCE, MATRIX, chain(), chain_edges(),
        Theory(categorical.transition, BETA, fixed=("classes",), law=stationary),
        lambda i: (book.forward(IDENTITY, row(), K, _law_in_book(i)),), choices=("kernel",), page=_page),
    Quantity(
        "cumulative_matrix", "CAT.CUMULATIVE", "Q̄_t = Q_1 Q_2 … Q_t = ᾱ_t I + (1−ᾱ_t) 1πᵀ", SOURCE, MATRIX, chain(), chain_edges(),
        Theory(categorical.cumulative, LEVEL, fixed=("classes",), law=stationary),
        lambda i: (book.marginal(IDENTITY, row(), K, _law_in_book(i)),), given=own_levels, after=("alpha_bar",),
        choices=("kernel",), page=_page),
    Quantity(
        "categorical_marginal", "CAT.MARG", "q(x_t | x_0) = ᾱ_t [x_0] + (1−ᾱ_t) π, one number for each class", SOURCE, LAW,
        chain("x_0"), chain_edges("x_0"),
        Theory(categorical.marginal, _one_hot("x_0"), LEVEL, law=stationary),
        lambda i: (book.marginal(X_0, row(), K, _law_in_book(i)),), given=own_levels, after=("alpha_bar", "cumulative_matrix"),
        choices=("kernel",), page=_page),
    Quantity(
        "categorical_posterior", "CAT.POST", "q(x_{t−1} | x_t, x_0) ∝ q(x_t | x_{t−1}) q(x_{t−1} | x_0), adding to 1",
        ("48", *SOURCE), LAW, chain("x_0", "x_t"), chain_edges("x_0", "x_t"),
        Theory(categorical.posterior, _one_hot("x_t"), _one_hot("x_0"), BETA, PREV,
               law=_law_of_possible),
        lambda i: (_posterior_in_book(i),), given=own_levels, after=("alpha_bar", "transition_matrix", "categorical_marginal"),
        choices=("kernel",), arguments=("beta",), page=_page),
    Quantity(
        "categorical_reverse", "CAT.REVERSE", "p(x_{t−1} | x_t) from logits of x_0, p̂ = softmax(logits):  "
        "Σ_k p̂_k q(x_{t−1} | x_t, k) (mixing 'average'; without the mask 'average_unmasked'), or proportional to "
        "Σ_k p̂_k q(x_{t−1}, x_t | k) ('joint'; 'joint_but_first' if it is p̂ at t = 1)", SOURCE, LAW,
        chain("x_t", logits=True), chain_edges("x_t", logits=True),
        Theory(categorical.reverse, "logits", _one_hot("x_t"), STEP, fixed=("mixing",),
               law=stationary),
        lambda i: (_reverse_in_book(i),),
        given=own_levels, after=("alpha_bar", "categorical_posterior"), choices=("mixing", "kernel"), arguments=("logits", "beta"),
        page=_page),
    Quantity(
        "categorical_kl", "CAT.KL", "D_KL(q ‖ p) = Σ_k q_k log(q_k/p_k), 0 log 0 = 0", ("14", *SOURCE),
        (Output("VALUE", "information"),), _laws, _laws_edges, Theory(categorical.kl, symbol("law_q"), symbol("law_p")),
        book.kl(given("law_q"), given("law_p")), page=_two_laws),
)


# -- the bound, and draws --------------------------------------------------------------------------------------------------

def _edges_of_terms(given: Given) -> list[Inputs]:
    """The schedules under which something of x_0 is left: else both laws are π, and their divergence is lost in its terms."""
    found = [edge for edge in _every_t("x_0", "x_t", logits=True)(given)
             if given.beta is not None or np.prod(1 - edge["beta"][1:-1]) > 0.01]
    possible = list(map(_possible, found))
    return [*map(_of_data, possible), *possible, *found]


def _of_data(i: Inputs) -> Inputs:
    """With an x_0 of any class but the last, which is the mask where there is one."""
    return i | {"x_0": i["x_0"] % (i["classes"] - 1)}


def _law_of_term(i: Inputs) -> Array | None:
    """Raises: Skip where data are the mask, of which a network that predicts no mask says −log 0, or nothing."""
    _law_of_possible(i)
    if i.get("kernel") == "absorbing" and i["mixing"] == "average_unmasked" and np.any(i["x_0"] == i["classes"] - 1):
        raise Skip("no data are the mask, and the network does not predict it")
    return stationary(i)


def _at_the_end(i: Inputs) -> Inputs:
    return {name: value for name, value in i.items() if name != "t"}


def _prior_kl(i: Inputs) -> tuple[Array, ...]:
    """Raises: Skip where a mask cannot be what x_0 is."""
    if i.get("kernel") == "absorbing":
        raise Skip("q(x_T | x_0) has a little of x_0, to which a law that is all mask gives 0, so that the term is infinite")
    level = schedule.log_alpha_bar(i["beta"])[-1:].reshape(1, 1, 1)
    law = stationary(i)
    return categorical.kl(categorical.marginal(_symbols(i, "x_0"), level, law=law),
                          Categorical(np.full(i["classes"], 1 / i["classes"]) if law is None else law)),


def _prior_in_book(i: Inputs) -> E:
    law = _law_in_book(i)
    return book.kl(book.marginal(X_0, row(at="T"), K, law), 1 / K + 0 * X_0 if law is None else law + 0 * X_0)


def _noisy(*shape: int) -> Draw:
    return arrays(*shape, low=0.02, high=0.98)


def _apart(noise: Array) -> Array:
    """No two classes of a row have the same number: of two that are equally likely nobody could say which comes."""
    return noise + np.arange(noise.shape[-1]) / 1024


def _draws_edges(given: Given) -> list[Inputs]:
    """Many rows: one shows little of how a class is drawn."""
    sizes = [given.classes] if given.classes else [3, 2, 5]
    return [{"law_p": np.array([positive([n * k % (SHARES - K) for k in range(1, K)]) for n in range(1, 41)]),
             "uniform": spread_out(40, K, start=0.1 * K, low=0.02, high=0.98)} for K in sizes]


TERMS: tuple[Quantity, ...] = (
    Quantity(
        "categorical_step_kl", "CAT.TERM", "KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) per symbol, p from logits of x_0 as in "
        "the reverse step; at t = 1 it is −log p(x_0 | x_1)", SOURCE, (Output("VALUE", "information"),),
        chain("x_0", "x_t", logits=True), _edges_of_terms,
        Theory(categorical.step_kl, "logits", x_0=lambda i: _symbols(i, "x_0"), x_t=lambda i: _symbols(i, "x_t"),
               step=lambda i: step_of(i, _axes), mixing=lambda i: i["mixing"], law=_law_of_term),
        lambda i: (book.step_kl(book.posterior(X_T, X_0, row(), K, _law_in_book(i)), _reverse_as_printed(i), X_0),),
        given=own_levels, after=("categorical_posterior", "categorical_reverse", "categorical_kl"), choices=("mixing", "kernel"),
        arguments=("logits",), page=_page),
    Quantity(
        "categorical_prior_kl", "CAT.PRIOR", "KL(q(x_T | x_0) ‖ π) per symbol", SOURCE, (Output("VALUE", "information"),),
        lambda given: chain("x_0")(given).map(_at_the_end), lambda given: list(map(_at_the_end, chain_edges("x_0")(given))),
        ByHand(_prior_kl), lambda i: (_prior_in_book(i),), given=own_levels,
        after=("categorical_marginal", "categorical_kl"), choices=("kernel",), page=_page),
    Quantity(
        "categorical_draw", "CAT.DRAW", "the class with the largest log p_k − log(−log u_k), for numbers u uniform on (0, 1) in "
        "the shape of the law", SOURCE, (Output("CLASS", "integer"),),
        lambda given: _laws(given).flatmap(lambda laws: _noisy(*laws["law_p"].shape).map(
            lambda uniform: {"law_p": laws["law_p"], "uniform": _apart(uniform)})), _draws_edges,
        Theory(categorical.draw, symbol("law_p"), noise=lambda i: i["uniform"]),
        lambda i: (book.draw(given("law_p"), given("uniform"), given("count")),),
        page=lambda i: Page(i | {"count": i["law_p"].shape[-1]})),
)


# -- any matrices ----------------------------------------------------------------------------------------------------------

def _matrices(count: int, K: int, start: int) -> Array:
    """Matrices without symmetry whose rows add to 1, in shares that float32 holds."""
    cuts = [[(start + 5 * n * (k + 1) + 11 * k) % (SHARES - K) for k in range(K - 1)] for n in range(1, count * K + 1)]
    return np.array([positive(row) for row in cuts]).reshape(count, K, K)


def _with_matrices(K: int, start: int) -> Inputs:
    n = np.arange(4)
    return {"x_0": (n[:, None] + (0, 1)) % K, "x_t": (2 * n[:, None] + (1, 0)) % K, "step": _matrices(4, K, start),
            "before": _matrices(4, K, start + 3), "classes": K}


MATRICES: tuple[Quantity, ...] = (
    Quantity(
        "matrix_product", "CAT.PRODUCT", "Q̄_1, Q̄_2, Q̄_3 with Q̄_t = Q_1 Q_2 … Q_t, of any matrices (3, K, K) whose rows add to "
        "1", SOURCE, MATRIX, drawn(matrices=draws.integers(0, 40).map(lambda start: _matrices(3, 3, start))),
        listed(*({"matrices": _matrices(3, K, 7)} for K in (3, 2, 5))), ByHand(lambda i: (categorical.accumulated(i["matrices"]),)),
        book.accumulated(given("matrices"), 3)),
    Quantity(
        "matrix_posterior", "CAT.MATRIX", "q(x_{t−1} | x_t, x_0) ∝ Q_t[·, x_t] ⊙ Q̄_{t−1}[x_0, ·], adding to 1, of any matrices "
        "step = Q_t and before = Q̄_{t−1}, (N, K, K), one for each row", SOURCE, LAW,
        lambda given: draws.integers(0, 40).map(lambda start: _with_matrices(3, start)),
        listed(*(_with_matrices(K, 2) for K in (3, 2, 5))),
        Theory(categorical.posterior_by_matrices, _one_hot("x_t"), _one_hot("x_0"), "step", "before"),
        book.posterior_by_matrices(X_T, X_0, given("step"), given("before")), arguments=("step", "before"),
        page=lambda i: Page(i | {name: _symbols(i, name) for name in ("x_0", "x_t")})),
)


# -- masked tokens ---------------------------------------------------------------------------------------------------------

def _tokens(K: int, sigma: list[float], start: float = 0.0) -> Inputs:
    """Tokens, a good part of them masked, at every noise of a list; K is the number of the mask."""
    n = np.arange(len(sigma))
    x_0 = (n[:, None] + (0, 1, 3, 4)) % K
    x_t, sigmas = np.where((n[:, None] + (0, 1, 2, 3)) % 3 < 2, K, x_0), exactly(sigma)
    return {"x_0": x_0, "x_t": x_t, "logits": spread_out(*x_0.shape, K, start=start), "sigma": sigmas,
            "dsigma": exactly(0.5 + sigmas / 2), "mask": K}


def _tokens_page(i: Inputs) -> Page:
    return Page({name: i[name] for name in ("logits", "sigma", "dsigma") if name in i} | _masked(i))


def _steps_page(i: Inputs) -> Page:
    return Page(i | {"x_t": np.eye(i["mask"] + 1)[i["x_t"]], "masked": i["x_t"] == i["mask"]})


def _masked(i: Inputs) -> dict[str, Array]:
    return {"x_0": np.eye(i["mask"])[i["x_0"]], "masked": i["x_t"] == i["mask"]}


def _column(name: str) -> E:
    return move(given(name), "", lambda i: i[:, None])


def _one_a_row(name: str) -> Take:
    return Take(lambda i: i[name][:, None], lambda i, d: {name: d[:, 0]})


SIGMA = _one_a_row("sigma")
TOKENS = listed(_tokens(5, [0.7, 0.0625, 3.0, 1.5]), _tokens(4, [0.25, 2.0, 0.5], 0.3))
OF_TOKENS: dict[str, Any] = dict(x_0=lambda i: _masked(i)["x_0"], masked=lambda i: _masked(i)["masked"])


def _of_steps(i: Inputs) -> Inputs:
    """Tokens on the way from the level of a row to one of less noise, and to none."""
    kept = {name: i[name] for name in ("x_t", "logits", "sigma", "mask")}
    return kept | {"sigma_next": i["sigma"] * (np.arange(len(i["sigma"])) + 1) % len(i["sigma"]) / len(i["sigma"])}


FLOORS = (0.125, 0.0, 0.0009765625)                     # some have none
MASKED: tuple[Quantity, ...] = (
    Quantity(
        "mask_schedule", "CAT.KEPT", "α_t, the share of the tokens that have no mask yet, and the weight −α′/(1 − α): α = ε + "
        "(1 − ε) a with ε = `floor` and a = 1 − t (masking 'linear'), cos(πt/2) ('cosine'), 1 − cos(π(1−t)/2) ('cosine_masks') or "
        "cos²(πt/2) ('cosine_squared'), or with 1 − 2ε for 1 − ε (floor_at 'both_ends'); t = `mask_time` is 0 at the data and 1 "
        "at the end", ("Sahoo 2024", "Shi 2024"), (Output("ALPHA"), Output("WEIGHT")),
        drawn(mask_time=draws.integer_arrays((N, 1), 1, 63).map(lambda k: k / 64), floor=draws.one_of(FLOORS)),
        listed(*({"mask_time": np.array(k)[:, None] / 64, "floor": floor}
                 for k in ((16, 40, 5), (1, 63, 32, 20), (48,)) for floor in FLOORS)),
        Theory(masked.kept, "mask_time", masking=lambda i: i["masking"], floor_at=lambda i: i["floor_at"], fixed=("floor",)),
        lambda i: book.kept_tokens(given("mask_time"), given("floor"), i["masking"], i["floor_at"]),
        choices=("masking", "floor_at"), arguments=("mask_time",)),
    Quantity(
        "mask_sigma", "CAT.RISE", "of masked tokens σ_t = −log α_t and dσ/dt, as `masked_loss` gets them: σ_min^(1−t) σ_max^t "
        "(rise 'geometric') or σ_min + t (σ_max − σ_min) ('linear'); t = `mask_time`", ("Lou 2024", "Sahoo 2024"),
        (Output("SIGMA"), Output("RATE")),
        drawn(mask_time=draws.integer_arrays((N, 1), 0, 64).map(lambda k: k / 64), sigma_min=draws.one_of([0.0625, 0.25]),
              sigma_max=draws.one_of([20.0, 2.5])),
        listed(*({"mask_time": np.array(k)[:, None] / 64, "sigma_min": low, "sigma_max": high}
                 for low, high in ((0.0625, 20.0), (0.0009765625, 3.0)) for k in ((16, 40, 5), (0, 64, 32)))),
        Theory(masked.rising, "mask_time", rise=lambda i: i["rise"], low=lambda i: i["sigma_min"], high=lambda i: i["sigma_max"]),
        lambda i: book.rising(given("mask_time"), given("sigma_min"), given("sigma_max"), i["rise"]), choices=("rise",),
        arguments=("mask_time",)),
    Quantity(
        "masked_reverse", "CAT.UNMASK", "p(x_s | x_t) of masked tokens: softmax(logits) (α_s − α_t)/(1 − α_t), and for the mask, "
        "which is the last class, (1 − α_s)/(1 − α_t); any other token stays; α = e^−σ, sigma at t, sigma_next at s",
        ("Sahoo 2024", "Shi 2024"), LAW, lambda given: _noisy(3).map(lambda sigma: _of_steps(_tokens(5, list(4 * sigma)))),
        lambda given: [_of_steps(edge) for edge in TOKENS(given)],
        Theory(masked.reverse, "logits", SIGMA, _one_a_row("sigma_next"), x_t=lambda i: np.eye(i["mask"] + 1)[i["x_t"]]),
        book.unmasked(LOGITS, X_T, given("masked"), _column("sigma"), _column("sigma_next")),
        arguments=("logits", "sigma", "sigma_next"), page=_steps_page),
    Quantity(
        "masked_loss", "CAT.MASKED", "dsigma/(e^sigma − 1) Σ_masked −log p(x_0 | x_t) of each example, p = softmax(logits) over "
        "the classes without the mask, which is number `mask`; sigma = −log α_t, dsigma = dσ/dt", ("Sahoo 2024", "Shi 2024"),
        (Output("VALUE", "total"),), lambda given: _noisy(3).map(lambda sigma: _tokens(5, list(4 * sigma))), TOKENS,
        Theory(masked.masked_loss, "logits", sigma=SIGMA.make, rate=lambda i: i["dsigma"][:, None], **OF_TOKENS),
        book.masked_loss(LOGITS, X_0, given("masked"), _column("sigma"), _column("dsigma")), arguments=("logits",),
        page=_tokens_page),
    Quantity(
        "absorbing_ratio", "CAT.RATIO", "q(x_t = k | x_0)/q(x_t = mask | x_0) for every class k but the mask where x_t is the "
        "mask: 1/(e^sigma − 1) for x_0 and 0 for the others; 0 where x_t is no mask", ("Lou 2024",), (Output("VALUE"),),
        lambda given: _noisy(3).map(lambda sigma: _tokens(5, list(4 * sigma))), TOKENS,
        Theory(masked.absorbing_ratio, SIGMA, **OF_TOKENS),
        book.absorbing_ratio(_column("sigma"), X_0, given("masked")), arguments=("sigma",), page=_tokens_page),
)


QUANTITIES: tuple[Quantity, ...] = (*BASIC, *TERMS, *MATRICES, *MASKED)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _soft(rng: np.random.Generator, n: int) -> Array:
    """Three classes, of shares down to 1e-12 and nothing, which need not add to 1."""
    return np.stack([wide(1e-12, 1.0, 0.0)(rng, n), wide(1e-12, 1.0, 0.0)(rng, n), wide(1e-12, 1.0)(rng, n)], axis=-1)


def _law(rng: np.random.Generator, n: int, share: Array) -> Categorical:
    one = wide(1e-9, 0.9)(rng, n)
    return Categorical(np.stack([one, (1 - one) * share, (1 - one) * (1 - share)], axis=-1))


def _close(rng: np.random.Generator, n: int) -> Case:
    share = wide(1e-3, 0.5)(rng, n)
    return (_law(rng, n, share), _law(rng, n, share)), {}


def _three(rng: np.random.Generator, n: int) -> Array:
    return wide(1e-6, 300.0, 0.0, signs=BOTH)(rng, 3 * n).reshape(n, 3)


def _hidden(rng: np.random.Generator, n: int) -> dict[str, Array]:
    return {"x_0": np.eye(3)[rng.integers(0, 3, (n, 2))], "masked": rng.random((n, 2)) < 0.6}


def _unmasking(rng: np.random.Generator, n: int) -> Case:
    sigma = wide(1e-6, 300.0)(rng, n)[:, None]
    x_t = np.eye(4)[np.where(rng.random((n, 2)) < 0.6, 3, rng.integers(0, 3, (n, 2)))]
    return (_three(rng, 2 * n).reshape(n, 2, 3), sigma, sigma * wide(1e-6, 1.0, 0.0)(rng, n)[:, None]), {"x_t": x_t}


def _reverse(mixing: str) -> Callable[[np.random.Generator, int], Case]:
    def drawn(rng: np.random.Generator, n: int) -> Case:
        beta, before = np.minimum(rate(rng, n), 1 - 1e-9)[:, None], wide(1e-12, 60.0, signs=(-1,))(rng, n)[:, None]
        return (_three(rng, n) / 10, _soft(rng, n), Step(beta, before, before + np.log1p(-beta))), {"mixing": mixing}
    return drawn


ENDS = {
    "later.categorical.transition": lambda rng, n: ((rate(rng, n),), {"classes": 3}),
    "later.categorical.cumulative": lambda rng, n: ((BELOW(rng, n),), {"classes": 3}),
    "later.categorical.marginal": lambda rng, n: ((_soft(rng, n), BELOW(rng, n)[:, None]), {}),
    "later.categorical.posterior": lambda rng, n: (
        (_soft(rng, n), _soft(rng, n), rate(rng, n)[:, None], wide(1e-12, 600.0, signs=(-1,))(rng, n)[:, None]), {}),
    "later.categorical.kl": _close,
    "later.categorical.draw": lambda rng, n: ((Categorical(rng.dirichlet(np.ones(4), n)),), {"noise": rng.random((n, 4))}),
    "later.masked.kept": tuple(ends(wide(2.0 ** -20, 0.5, 1.0 - 2.0 ** -20), masking=name, floor=floor, floor_at=at)
                               for name, floor, at in (("linear", 0.0, "end"), ("cosine", 0.125, "end"),
                                                       ("cosine_masks", 2.0 ** -10, "both_ends"), ("cosine_squared", 0.0, "end"))),
    "later.masked.rising": tuple(ends(wide(2.0 ** -20, 0.5, 1.0), rise=rise, low=2.0 ** -10, high=20.0) for rise in masked.RISES),
    "later.masked.reverse": _unmasking,
    "later.masked.absorbing_ratio": lambda rng, n: ((wide(1e-6, 300.0)(rng, n)[:, None],), _hidden(rng, n)),
    "later.masked.masked_loss": lambda rng, n: (
        (_three(rng, 2 * n).reshape(n, 2, 3),),
        _hidden(rng, n) | {"sigma": wide(1e-6, 300.0)(rng, n)[:, None], "rate": wide(1e-6, 1e6)(rng, n)[:, None]}),
    "later.categorical.reverse": tuple(map(_reverse, categorical.MIXINGS))}


# -- mistakes ------------------------------------------------------------------------------------------------------------

# Not yet plantable: DIS-08 needs a sampler that draws for itself.


def _with_identity_first(matrices: Array) -> Array:
    return np.concatenate([np.eye(matrices.shape[-1])[None], matrices[1:]])


def _gathered(logits: Array) -> Array:
    """(N, …, K) filled in the order of (N, K, …)."""
    return np.moveaxis(logits, -1, 1).reshape(logits.shape)


def _never_masked(law: Categorical) -> Categorical:
    p = law.prob * (np.arange(law.prob.shape[-1]) < law.prob.shape[-1] - 1)
    return Categorical(p / np.where(p > 0, p, 0).sum(axis=-1, keepdims=True))


def _predicted_anew(p: Categorical, logits: Array, x_t: Array, law: Array | None) -> Categorical:
    """Where x_t is no mask what the network says of the classes that data have."""
    if law is None:
        return p
    said = activation.softmax(logits) * (law < 1)
    return Categorical(np.where((x_t * law).sum(axis=-1, keepdims=True) > 0, p.prob, said / said.sum(axis=-1, keepdims=True)))


in_posterior, in_kl, in_reverse = of("later.categorical.posterior"), of("later.categorical.kl"), of("later.categorical.reverse_vjp")
in_matrices, in_step_kl = of("later.categorical.posterior_by_matrices_vjp"), of("later.categorical.step_kl_vjp")
in_masked, in_unmasking = of("later.masked.masked_loss_vjp"), of("later.masked.reverse_vjp")
in_kept, in_rising = of("later.masked.kept_vjp"), of("later.masked.rising_vjp")

MISTAKES = (
    in_posterior("DIS-02b", "posterior of a symbol not divided by q(x_t | x_0) → divided",
            "horenbergerb/BernoulliDiffusion@b1588e0", edited("divisor left out: Σ_classes x_t (ᾱ_t x_0 + (1 − ᾱ_t) mean…")),
    in_kl("DIS-05c", "0 · log 0 = NaN in the divergence → 0", "Lightning-AI/torchmetrics#1029",
            instead(lambda q, p: (q.prob * (np.log(q.prob) - np.log(p.prob))).sum(axis=-1))),
    in_kl("CAT-BRACKETS", "q log q − log p, brackets lost → q (log q − log p)", "log p not weighted by q",
          instead(lambda q, p: (xlogy(q.prob, q.prob) - np.where(q.prob > 0, np.log(p.prob), 0)).sum(axis=-1))),
    in_reverse("DIS-10c", "softmax of probabilities, taken for logits → of logits", "cloneofsimo/d3pm#7",
            told(logits=activation.softmax)),
    in_reverse("DIS-11b", "p(x_0 | x_1) = p̂ → in proportion to p̂ q(x_1 | ·), and the other way round",
            "ehoogeboom/multinomial_diffusion#7",
            told(mixing=lambda mixing: {"joint": "joint_but_first", "joint_but_first": "joint"}.get(mixing, mixing))),
    in_reverse("DIS-14", "axes of the categorical head reshaped → moved", "ehoogeboom/multinomial_diffusion@66f1734",
            told(logits=_gathered)),
    in_reverse("CAT-MASK-0", "logit 0 for the mask → −∞, as no data are the mask", "a head with a class that no data have",
               told(logits=lambda logits, law: logits if law is None else np.where(law == 1, 0.0, logits), mixing="average")),
    in_reverse("CAT-REMASK-b", "tokens that are there drawn again, as if they were masked → kept", "CAT-REMASK of the chain",
               told(x_t=lambda x_t, law: x_t if law is None else 0 * x_t + law)),
    in_reverse("CAT-REMASK-c", "tokens that are there predicted anew → kept", "as CAT-REMASK-b, with no mask left",
               then(_predicted_anew)),
    in_reverse("CAT-ALL-AT-ONCE", "x_{t−1} any class but the last, the mask → any class", "a mask that is taken away in one step",
               then(_never_masked)),
    in_reverse("NEW-CAT-MIX", "sum of joint laws → of posteriors, and the other way round", "D3PM's eq. 4 read as an average",
            told(mixing=lambda mixing: "joint" if mixing == "average" else "average")),
    Mistake("NEW-CAT-FLIP", "β the probability of a change → of a fresh draw", "K − 1 other classes share β",
            "later.categorical.transition", "value", told(beta=lambda beta, classes: beta * classes / (classes - 1))),
    in_posterior("NEW-CAT-FLIPb", "evidence with β the probability of a change → of a fresh draw", "as NEW-CAT-FLIP",
            told(beta=lambda beta, x_t: beta * x_t.shape[-1] / (x_t.shape[-1] - 1))),
    Mistake("CAT-OVERWRITTEN", "β on the diagonal for the mask, which it overwrites → 1", "= for +=",
            "later.categorical.transition", "value",
            then(lambda q, beta, law: q if law is None else np.where(np.diag(law == 1), beta[:, None, None], q))),
    Mistake("NEW-CAT-SHARE", "β/K twice on the diagonal, so that rows add to 1 + β/K → once",
            "a diagonal that is not diminished", "later.categorical.transition", "value",
            then(lambda q, beta, classes: q + np.eye(classes) * beta[:, None, None] / classes)),
    Mistake("NEW-CAT-ROOT", "a symbol kept with √ᾱ → ᾱ", "the share of a mean, from the Gaussian chain",
            "later.categorical.marginal", "value", told(log_alpha_bar=lambda level: level / 2)),
    in_posterior("NEW-CAT-INDEX", "posterior with Q̄_t → Q̄_{t−1}", "an index off by one, D3PM's x_start being t = −1",
            told(log_alpha_bar_prev=lambda level, beta: np.where(level == 0, 0, level + np.log1p(-beta)))),
    in_posterior("NEW-CAT-PRIOR", "p(x_{t−1}) without x_t's evidence → times q(x_t | x_{t−1})", "DIS-11 of the binary heartbeat",
            told(beta=np.ones_like)),
    in_kl("NEW-CAT-KL", "D_KL(p ‖ q) → D_KL(q ‖ p)", "BND-34 for symbols", SWAPPED),
    in_posterior("DIS-16b", "π of the class of x_t at every class → the stationary law of all classes",
                 "google/hackable_diffusion!29",
                 told(law=lambda law, x_t: None if law is None else 0 * law + (law * x_t).sum(axis=-1, keepdims=True))),
    in_matrices("CAT-ROW", "row of Q_t at x_t → its column", "a matrix that is symmetric for uniform noise alone",
                told(step=lambda step: np.swapaxes(step, -1, -2))),
    in_matrices("CAT-COLUMN", "column of Q̄_{t−1} at x_0 → its row", "as CAT-ROW, of the other matrix",
                told(before=lambda before: np.swapaxes(before, -1, -2))),
    Mistake("CAT-ORDER", "Q_t … Q_2 Q_1 → Q_1 Q_2 … Q_t", "matrices that commute for one stationary law alone",
            "later.categorical.accumulated", "value",
            then(lambda found, matrices: np.array([reduce(np.matmul, matrices[:t + 1][::-1]) for t in range(len(matrices))]))),
    Mistake("CAT-ELEMENTS", "Q̄_{t−1} ∘ Q_t, entry by entry → the product of matrices", "* for @", "later.categorical.accumulated",
            "value", instead(lambda matrices: np.cumprod(matrices, axis=0))),
    Mistake("CAT-FIRST", "Q_1 Q_t → Q_1 Q_2 … Q_t", "a product that is not kept", "later.categorical.accumulated", "value",
            instead(lambda matrices: np.concatenate([matrices[:1], matrices[0] @ matrices[1:]]))),
    Mistake("CAT-WITHOUT-FIRST", "Q_2 … Q_t, and at t = 1 the identity → Q_1 Q_2 … Q_t", "a product that begins one factor late",
            "later.categorical.accumulated", "value", told(matrices=_with_identity_first)),
    Mistake("CAT-SQUARE", "Q_t Q_t → Q_1 Q_2 … Q_t", "CAT-FIRST with the other name", "later.categorical.accumulated", "value",
            instead(lambda matrices: np.concatenate([matrices[:1], matrices[1:] @ matrices[1:]]))),
    Mistake("CAT-GUMBEL", "−log u once → Gumbel noise −log(−log u)", "noise of another law", "later.categorical.draw", "value",
            instead(lambda law, *, noise: np.argmax(np.log(np.maximum(law.prob, 1e-300)) - np.log(noise), axis=-1))),
    Mistake("CAT-GREEDY", "the likeliest class → a draw", "noise left out", "later.categorical.draw", "value",
            told(noise=lambda noise: np.full_like(noise, 0.5))),
    in_step_kl("CAT-TERM-XT", "−log p of x_1 at t = 1 → of x_0", "the symbol that is there for the one that was",
               told(x_0=lambda x_0, x_t, step: np.where(step.log_alpha_bar_prev == 0, x_t, x_0))),
    in_reverse("CAT-LIKELIEST", "the likeliest x_0 alone → the average over p̂", "argmax for softmax",
               told(logits=lambda logits: np.where(logits == logits.max(axis=-1, keepdims=True), 0.0, -1e30))),
    in_step_kl("CAT-TERM-X0", "−log p(x_0) of the network at every t, the cross entropy → the divergence of the step",
               "an auxiliary loss taken for the bound",
               then(lambda kl, logits, x_0: -(x_0 * activation.log_softmax(logits)).sum(axis=-1))),
    in_unmasking("CAT-REMASK", "tokens that are there drawn again → kept", "a step that changes what it has shown",
                 told(x_t=lambda x_t: 0 * x_t + np.eye(x_t.shape[-1])[-1])),
    in_kept("CAT-KEPT-ONE", "every masked token weighs 1 → −α′/(1 − α)", "inclusionAI/dFactory#17",
            then(lambda kept: kept._replace(weight=np.ones_like(kept.weight)))),
    in_kept("CAT-KEPT-MASKS", "the share that is masked → that is kept", "two names for one schedule",
            then(lambda kept: kept._replace(alpha=1 - kept.alpha))),
    in_rising("CAT-RISE-BACK", "σ_max at t = 0 and σ_min at t = 1 → the other way round", "a t that goes from noise to data",
              told(time=lambda time: 1 - time)),
    in_masked("CAT-ALL-TOKENS", "sum over all tokens → over those that are masked", "dome272/MaskGIT-pytorch!16",
              told(masked=np.ones_like)),
    in_masked("CAT-SHIFTED", "−log p of the next token → of the token itself", "the target of a model from left to right",
              told(x_0=lambda x_0: np.roll(x_0, -1, axis=1))),
    in_masked("CAT-MEAN-MASKED", "mean over the tokens that are masked → sum", "the loss of a masked language model",
              then(lambda loss, masked: loss / np.maximum(masked.sum(axis=1), 1))),
    Mistake("CAT-RATIO", "1/(e^σ) for the ratio → 1/(e^σ − 1)", "exp for expm1", "later.masked.absorbing_ratio", "value",
            then(lambda ratio, sigma: ratio * (-np.expm1(-sigma))[..., None])),
    Mistake("NEW-CAT-GRAD", "Σ p dz left out of softmax's adjoint → subtracted", "the diagonal of a Jacobian",
            "activation.softmax_vjp", "gradient", pulled_by(lambda dp, logits: activation.softmax(logits) * dp)),
)
