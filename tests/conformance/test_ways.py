"""The ways in which people write a formula: all of them are equal, and what somebody slips at in one of them has a name."""

from itertools import pairwise

import numpy as np
import pytest

from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.profile import Profile
from refdpm.textbook import chain, decoder, path
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import (Levels, above, along, also, column, count, exp, forms, given, kept, log, mean, named,
                                        node, nodes, running_product, sqrt, square, total, where)
from refdpm.textbook.page import Page
from refdpm.textbook.values import floats


def ways_of(quantity):
    """The formulas of a quantity that people write in several ways, each with a page."""
    own = {name: getattr(Profile(), name) for name in quantity.choices}
    for inputs in (edge | own for edge in quantity.edges(Given())[:3]):
        yield from ((one, quantity.page(inputs)) for one in nodes(*quantity.formulas(inputs)) if one.op == "also")


WAYS = {quantity.name: found for quantity in QUANTITIES if (found := list(ways_of(quantity)))}
BETA = np.array([0.0, 0.1, 0.3, 0.2])
PAGE = Page({"x_0": np.array([[0.3], [-1.2], [0.7]]), "x_t": np.array([[0.5], [0.25], [-2.0]]),
             "v": np.array([[0.5], [2.0], [1.5]]), "w": np.array([[1.5], [0.75], [3.0]])}, beta=BETA, t=np.array([1, 2, 3]))
X_0, X_T, V, W = map(given, ("x_0", "x_t", "v", "w"))


def test_there_are_quantities_with_other_ways():
    assert {"kl", "entropy", "log_prob", "alpha_bar", "decoder_nll", "learned_schedule", "binomial_kl"} <= set(WAYS)


@pytest.mark.parametrize("name", WAYS)
def test_all_ways_are_equal(name):
    """To what a difference of numbers near one another leaves of float64."""
    compared = 0
    for one, page in WAYS[name]:
        try:
            first, *others = floats(one.parts, page)
        except KeyError:                                             # inside of a chain, whose state is on no page
            continue
        for other in others:
            both = np.isfinite(first) & np.isfinite(other)
            np.testing.assert_allclose(other[both], first[both], rtol=1e-6, atol=1e-9)
            compared += int(np.sum(both))
    assert compared or name in ("sample", "ddim_sample")


def edited(formula, says):
    """The values of the edit with that sentence."""
    found = [edit.formulas for edit in edits(formula, all_ways=True) if edit.says == says]
    assert found, sorted(edit.says for edit in edits(formula, all_ways=True))
    return [floats(one, PAGE)[0] for one in found]


def shows(formula, says, value):
    return any(np.allclose(one, value, rtol=1e-12) for one in edited(formula, says))


def test_arguments_of_a_formula_with_a_name_are_exchanged():
    x_0, x_t, v, w = (PAGE.given[name] for name in ("x_0", "x_t", "v", "w"))
    kl = chain.kl(chain.Normal(X_0, V), chain.Normal(X_T, W))
    swapped = (np.log(v / w) + (w + (x_0 - x_t) ** 2) / v - 1) / 2
    assert shows(kl, "q and p are exchanged in kl(q, p)", swapped)
    assert shows(kl, "log q.var and p.mean are exchanged in kl(q, p)",
                 (np.log(w) - x_t + (np.exp(x_t) + (x_0 - np.log(v)) ** 2) / w - 1) / 2)
    assert shows(chain.entropy(V), "var for ½ (1 + log(2 π) + log(v))", v)
    mean, var = chain.posterior(X_T, X_0, chain.row())
    assert shows(mean, "x_t and x_0 are exchanged in posterior(x_t, x_0)",
                 floats([chain.posterior(X_0, X_T, chain.row()).mean], PAGE)[0])
    assert not [edit for edit in edits(var, all_ways=True) if "exchanged" in edit.says]
    assert not [edit for edit in edits(kl) if "exchanged" in edit.says]


def test_what_somebody_slips_at_who_writes_it_otherwise():
    v, w, x_0, x_t = (PAGE.given[name] for name in ("v", "w", "x_0", "x_t"))
    kl = chain.kl(chain.Normal(X_0, V), chain.Normal(X_T, W))
    by_logs = (np.log(w / v) + v / w + (x_0 - x_t) ** 2 / (1 / w) - 1) / 2
    assert any(np.allclose(floats(edit.formulas, PAGE)[0], by_logs) for edit in edits(kl, all_ways=True))
    assert not any(np.allclose(floats(edit.formulas, PAGE)[0], by_logs) for edit in edits(kl))
    entropy = [edit for edit in edits(chain.entropy(V), all_ways=True) if edit.says.startswith("log left out")]
    assert any(np.allclose(floats(edit.formulas, PAGE)[0], (1 + 2 * np.pi * v) / 2) for edit in entropy)


def test_tables_that_are_made_in_another_way():
    abar, page = np.array([1, 0.9, 0.63, 0.504]), Page({}, beta=BETA, t=np.array([1, 2, 3]), ndim=1)
    before = column("alpha_bar", -1)
    values = {edit.says: floats(edit.formulas, page)[0] for edit in edits(before, all_ways=True)}
    for says, value in {"ᾱ_t, and 1 at t = T, for ᾱ_{t−1}": [*abar[1:3], 1], "ᾱ_{t+1}, and 1 at t = T, for ᾱ_{t−1}": [*abar[2:], 1],
                        "ᾱ_1 at t = 1 for ᾱ_{t−1}": [0.9, *abar[1:3]], "ᾱ_T at t = 1 for ᾱ_{t−1}": [0.504, *abar[1:3]]}.items():
        np.testing.assert_allclose(values[says], value)
    alpha_bar = also(column("alpha_bar"), running_product(column("alpha")))
    values = {edit.says: floats(edit.formulas, page)[0] for edit in edits(alpha_bar, all_ways=True)}
    np.testing.assert_allclose(values["sums, for the products of all up to t"], np.cumsum(1 - BETA[1:]))
    np.testing.assert_allclose(values["1 + β_t for 1 − β_t"], np.cumprod(1 + BETA[1:]))


@pytest.mark.parametrize("formula,says,value", [
    ((V + X_T) / W, "v + x_t/w for (v + x_t)/w", lambda v, x, w, t: v + x / w),
    (W * (V - X_T), "w v − x_t for w (v − x_t)", lambda v, x, w, t: w * v - x),
    (exp(V + X_T), "v + exp(x_t) for exp(v + x_t)", lambda v, x, w, t: v + np.exp(x)),
    (log(V + W), "log(v) + w for log(v + w)", lambda v, x, w, t: np.log(v) + w),
    (column("alpha_bar") * V, "(1 − β_t)^t, as if all β were alike, for ᾱ_t", lambda v, x, w, t: (1 - BETA[1:, None]) ** t * v),
])
def test_a_bracket_around_one_term_alone_and_rates_that_are_alike(formula, says, value):
    v, x_t, w = (PAGE.given[name] for name in ("v", "x_t", "w"))
    assert shows(formula, says, value(v, x_t, w, np.array([[1], [2], [3]])))


def test_a_variance_by_one_less_than_their_number():
    x = np.array([[1.0, 3.0, 8.0]])
    formula = mean(square(given("x") - mean(given("x"), "components", (1,))), "components", (1,))
    found = {edit.says: floats(edit.formulas, Page({"x": x}, beta=BETA))[0] for edit in edits(formula, all_ways=True)}
    value, = (value for says, value in found.items() if says.startswith("divided by their number less 1"))
    np.testing.assert_allclose(value, [[x.var(ddof=1)]])


def test_a_part_is_changed_where_it_is_written_out():
    """(1 − v) log(1 − v) with 2 − v in the logarithm alone."""
    rest = 1 - V / 4
    v = PAGE.given["v"]
    values = [floats(edit.formulas, PAGE)[0] for edit in edits(rest * log(rest), all_ways=True)]
    assert any(np.allclose(one, (1 - v / 4) * np.log(2 - v / 4)) for one in values)
    assert not any(np.allclose(floats(edit.formulas, PAGE)[0], (1 - v / 4) * np.log(2 - v / 4)) for edit in edits(rest * log(rest)))


def test_value_and_rounding_are_those_of_the_first_way():
    first, other = exp(X_0), 3 * X_T
    assert np.array_equal(floats([also(first, other)], PAGE)[0], np.exp(PAGE.given["x_0"]))
    assert len(nodes(also(first, other))) > len(nodes(first))


def test_an_argument_that_is_handed_on_is_no_call():
    @named
    def same(x, y):
        return x

    assert same(X_0, X_T) is X_0 and X_0.calls == ()
    assert not [edit for edit in edits(same(X_0, X_T) + node(1), all_ways=True) if "same" in edit.says]


def test_a_bin_with_its_log_taken_after_the_difference():
    p, k = chain.Normal(X_T, V), np.array([[3.0], [4.0], [5.0]])
    grid = decoder.grid_of((-1.0, 1.0, 9))
    mass = decoder.log_mass(X_0, p, node(k), grid)
    says = [edit.says for edit in edits(mass, all_ways=True)]
    assert any(one.startswith("log left out: log(1 − exp") for one in says)
    assert not any(one.startswith("log left out: log(1 − exp") for one in [edit.says for edit in edits(mass)])


def test_what_people_slip_at_in_one_place():
    """A bracket that ends elsewhere, a factor once more, a square in one place of several, 1 − x for x, and 1 for x."""
    x_0, x_t, v, w = (PAGE.given[name] for name in ("x_0", "x_t", "v", "w"))
    assert shows(X_0 + V * X_T, "(x_0 + x_t) v for x_0 + v x_t", (x_0 + x_t) * v)
    assert shows(X_0 - X_T / V, "(x_0 − x_t)/v for x_0 − x_t/v", (x_0 - x_t) / v)
    assert shows(X_0 + exp(W) * V, "exp(w) twice in exp(w) v", x_0 + np.exp(2 * w) * v)
    assert shows((1 - V) * X_0 + V * X_T, "square of v for v in v x_t", (1 - v) * x_0 + v * v * x_t)
    assert shows((1 - V) * X_0, "v for 1 − v", v * x_0) and shows(V * X_0, "1 − v for v", (1 - v) * x_0)
    assert shows(W * W + V * V, "v is missing: 1 in its place", w * w + 1)
    assert shows(W * (X_0 - X_T) * (X_0 - X_T), "w is missing: 1 in its place", (x_0 - x_t) ** 2)
    difference = X_0 - X_T
    assert shows(W * (difference * difference), "absolute value for the square: (x_0 − x_t)²", w * np.abs(x_0 - x_t))


def test_what_people_slip_at_in_all_of_a_formula():
    """Roots of squares for what is left of 1, other signs in an exponential, one factor below the line, an axis, means, cases."""
    x_0, x_t, v, w = (PAGE.given[name] for name in ("x_0", "x_t", "v", "w"))
    assert shows((1 - V / 4) * X_0, "√(1 − (v/4)²) for 1 − v/4", np.sqrt(1 - v * v / 16) * x_0)
    assert shows(X_0 / (exp(V) - 1), "exp(−v) for exp(v)", x_0 / np.expm1(-v))
    assert shows(X_0 / (exp(V) - 1), "1 − exp(−v) for exp(v) − 1", x_0 / (1 - np.exp(-v)))
    assert shows(V * W / square(X_T), "w/x_t² the other way round in v w/x_t²", v * x_t ** 2 / w)
    assert shows(X_0 / kept(exp(X_0), "classes"), "over the axis before the last, and not over classes: Σ_classes exp(x_0)",
                 x_0 / np.exp(x_0).sum(axis=0))
    both = total(V * W, "all", (0, 1)) / count(V, "all", (0, 1))
    assert shows(both, "v is averaged by itself, and not together with w", v.mean() * w.mean())
    assert shows(both, "divided by the sum of v, and not by its number", (v * w).sum() / v.sum())
    cases = where(above(X_0, 0), where(above(X_T, 0), V, W), X_0)
    assert shows(cases, "no exception anywhere: always v", v) and shows(cases, "no exception anywhere: always w", w)
    largest = where(above(V, W), V, W)
    assert shows(largest, "the smaller of v and w, for the larger", np.minimum(v, w))
    ratio = X_0 / X_T
    assert shows(where(above(ratio, V), V, ratio) * ratio, "x_0/x_t the other way round in min(x_0/x_t, v)",
                 np.minimum(x_t / x_0, v) * x_0 / x_t)


def test_other_bases_sizes_and_decimal_points():
    x_0, v, w = (PAGE.given[name] for name in ("x_0", "v", "w"))
    assert shows(log(V) + W, "twice log(v), for once", 2 * np.log(v) + w)
    assert shows(log(V) + W, "only half of log(v)", np.log(v) / 2 + w)
    assert shows(exp(log(V) + log(W)), "to base 10, for the natural logarithm, everywhere", np.exp(np.log10(v * w)))
    assert shows(0.125 * X_0, "1.25 for 0.125 in 0.125 x_0", 1.25 * x_0)
    assert shows(0.125 * X_0, "0.0125 for 0.125 in 0.125 x_0", 0.0125 * x_0)
    assert shows(count(V, "components") * (V + W), "counted once, and not for each of the components: w", v + w)
    square_of = -node(0.5) * (log(V) + W * W)
    terms = [(-0.5 * part).sum(axis=1) for part in (np.log(v), w * w)]
    assert shows(total(square_of), "counted once, and not for each of the components: (−0.5) log(v)", terms[0] + terms[1])
    assert shows(log(V) + W, "in bits, where the rest is in nats: w", np.log(v) + w / np.log(2))
    assert shows(log(V) + W, "in nats, where the rest is in bits: log(v)", np.log(v) * np.log(2) + w)
    loss = V + W
    apart = total(loss, "examples and components", (0, 1)) / count(loss, "examples and components", (0, 1))
    wide = Page({"v": np.arange(6.0).reshape(2, 3), "w": np.ones((2, 3))})
    says = "added up over the components, where the rest is averaged: v"
    edit, = (one for one in edits(apart) if one.says == says)
    np.testing.assert_allclose(floats(edit.formulas, wide)[0], 3 * 2.5 + 1)


def test_one_step_for_all_steps_from_one_kept_time_to_the_next():
    ratio = column("alpha_bar") / column("alpha_bar", at="t_prev")
    page = Page({"x_0": PAGE.given["x_0"], "t_prev": np.array([0, 0, 1])}, beta=BETA, t=np.array([2, 3, 3]))
    says = "β_t and α_t, of one step, for those of the steps from the kept time before"
    edit, = (one for one in edits((1 - ratio) * X_0, all_ways=True) if one.says == says)
    np.testing.assert_allclose(floats(edit.formulas, page)[0], BETA[[2, 3, 3]][:, None] * page.given["x_0"])


def test_a_network_is_asked_and_told_otherwise_and_not_taken_apart():
    x_0, v, w, x_t = (PAGE.given[name] for name in ("x_0", "v", "w", "x_t"))
    page = Page({"x_t": x_t, "noise": x_0, "time": v, "spread": w, "centre": x_0 / 2})

    def says(x, t):
        return (t - w * (1 - t)) * (x - (1 - t) * x_0 / 2) / ((1 - t) ** 2 * w + t * t) - x_0 / 2

    time = given("time")
    formula = X_T + time * path.of_normal_data(X_T, time, given("centre"), given("spread")) + 0 * given("noise")
    found = {edit.says: floats(edit.formulas, page)[0] for edit in edits(formula, all_ways=True)}
    for sentence, value in {
            "the network is told 1 − time, and not time": x_t + v * says(x_t, 1 - v),
            "the network is asked at noise, and not at x_t": x_t + v * says(x_0, v),
            "tanh is put around what the network says": x_t + v * np.tanh(says(x_t, v)),
            "tanh is put around x_t, which the network is told": x_t + v * says(np.tanh(x_t), v)}.items():
        np.testing.assert_allclose(found[sentence], value, rtol=1e-12)
    assert not [sentence for sentence in found if "centre" in sentence or "spread" in sentence]


@pytest.mark.parametrize("says, levels, start", [
    ("the last step goes to 0.001, and not to 0", [1, 0.5, 0.001], False),
    ("the chain goes down to 0.001, and not to 0", [1, 0.5005, 0.001], False),
    ("the chain begins at 1 − 0.001, and not at 1", [0.999, 0.4995, 0], False),
    ("the last step is left out", [1, 0.5], False),
    ("every step is taken from the state with which the chain starts", [1, 0.5, 0], True)])
def test_a_chain_along_levels_is_edited_as_a_whole(says, levels, start):
    """Two steps, x + (t' − t) x² from level to level."""
    step = X_0 + (given("after") - given("now")) * (X_0 * X_0)
    formula = along(step, "x_0", "first", Levels("now", "after", lambda given: [1.0, 0.5, 0.0]))
    x = first = np.array([[0.3], [-1.2]])
    for now, after in pairwise(levels):
        x = first if start else x
        x = x + (after - now) * x * x
    edit, = (one for one in edits(formula) if one.says == says)
    np.testing.assert_allclose(floats(edit.formulas, Page({"first": first}))[0], x, rtol=1e-12)


def test_every_combination_of_forms_is_edited():
    """The first way of a part that stands in the second form alone."""
    x_t, v = PAGE.given["x_t"], PAGE.given["v"]
    formula = forms(X_0 * W, also(sqrt(V) * X_T, exp(log(V) / 2) * X_T))
    assert shows(formula, "root left out: √v", v * x_t)
