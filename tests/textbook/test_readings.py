"""The readings of a formula agree with each other, and with what they can be worked out by: integers, series, differences."""

from decimal import Decimal, localcontext
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given as drawn, strategies as st
from scipy.special import ndtr

from refdpm.textbook import digits as decimals, pairs
from refdpm.textbook.digits import digits
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import (HALF, PI, Phi, Replacing, above, column, cos, counting, exp, given, joined, kept, largest,
                                        less, log, log1p, mean, move, node, nodes, running, sqrt, square, tanh, term, total, walk,
                                        where)
from refdpm.textbook.page import Page
from refdpm.textbook.rounding import rounding, units
from refdpm.textbook.slope import gradient, named_cotangents, slopes
from refdpm.textbook.values import floats
from refdpm.textbook.written import in_lines, mathml, written

X, Y = given("x"), given("y")
BETA = np.array([0.0, 0.25, 0.5, 0.125])

# one formula for each operation, positive arguments of shape (2, 3) and (2, 1)
FORMULAS = {
    "sums and products": X + Y * X - X / Y, "negative": -X, "roots and logarithms": sqrt(X) + log(Y) * exp(-X) + log1p(X),
    "normal": Phi(X - Y), "circular": cos(X) * tanh(Y), "square": square(X - Y), "total": total(X * Y),
    "repeated": total(Y, like=X),
    "mean": X - mean(X, "row", (-1,)), "softmax": exp(X - largest(X)) / kept(exp(X - largest(X)), "row"),
    "moved": move(X, "turned", lambda i: np.pad(i[:, ::-1], ((0, 0), (1, 0)))), "cases": where(above(X, Y), X * X, Y * X),
    "term": term(lambda x, y: x - log1p(x) + y, X, Y), "running": running(X),
    "joined": joined(X, Y, axis=1), "flat": move(X, "flat", lambda i: i.ravel()),
    "stretched": move(Y, "stretched like x", lambda i, shape: np.broadcast_to(i, shape), X),
    "numbers": HALF * X + PI / 4 + node(np.array([[1.0], [2.0]]))}
GIVEN = {"x": np.array([[0.5, 1.25, 2.0], [0.75, 1.0, 3.0]]), "y": np.array([[0.375], [1.5]])}


@pytest.mark.parametrize("name", FORMULAS)
def test_digits_and_float64_agree(name):
    page, formula = Page(GIVEN), FORMULAS[name]
    exact = digits([formula], page, lost=lambda known: [rounding([formula], page, known=known)[0].scale])
    assert np.max(units(floats([formula], page)[0], exact.values[0], exact.scales[0]), initial=0) <= 2


@pytest.mark.parametrize("name", FORMULAS)
def test_slopes_are_what_differences_say(name):
    formula, cotangent = FORMULAS[name], np.random.default_rng(0).standard_normal(floats([FORMULAS[name]], Page(GIVEN))[0].shape)
    found = slopes([formula], named_cotangents(1))
    leaves = [leaf for leaf in found if leaf.op == "given"]
    exact = gradient(leaves, floats([found[leaf] for leaf in leaves], Page(GIVEN | {"w0": cotangent})), Page(GIVEN))
    for argument, slope in exact.items():
        for at in np.ndindex(slope.shape):
            moved = [np.array(GIVEN[argument]) for _ in range(2)]
            moved[0][at] += 1e-6
            moved[1][at] -= 1e-6
            high, low = (floats([formula], Page(GIVEN | {argument: one}))[0] for one in moved)
            assert slope[at] == pytest.approx(np.sum(cotangent * (high - low)) / 2e-6, rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("name", FORMULAS)
def test_rounding_bounds_what_float32_loses(name):
    """Evaluated in single precision, no entry is off by more than the bound."""
    page, formula = Page(GIVEN), FORMULAS[name]
    single = floats([formula], Page({key: value.astype(np.float32) for key, value in GIVEN.items()}))[0]
    followed = rounding([formula], page)[0]
    assert np.all(np.abs(single - followed.value) <= 2.0 ** -24 * followed.scale + 1e-30)


def test_a_term_loses_nothing_for_those_who_care_and_all_for_those_with_tables():
    page = Page({"x": np.array([[1 - 2.0 ** -40]])})
    accurate, tables = (rounding([less(X)], page, accurate=care)[0].scale for care in (True, False))
    assert accurate == 2.0 ** -40 and tables == 2.0 ** -40
    grown = exp(-X)
    page = Page({"x": np.array([[2.0 ** -40]])})
    accurate, tables = (rounding([less(grown)], page, accurate=care)[0].scale for care in (True, False))
    assert accurate >= 0.9 and tables >= 0.9            # exp was rounded before it was subtracted
    one_term = term(lambda x: 1 - exp(-x), X)
    assert rounding([one_term], page, accurate=True)[0].scale < 2.0 ** -39 < rounding([one_term], page)[0].scale


# -- digits ------------------------------------------------------------------------------------------------------------

def test_pi_the_cosine_and_the_normal_law_in_digits():
    with localcontext() as context:
        context.prec = 60
        assert str(decimals.pi()).startswith("3.14159265358979323846264338327950288419716939937510582")
        assert abs(decimals.cos(decimals.pi() / 3) - Decimal("0.5")) < Decimal("1e-57")
        assert abs(decimals.cos(Decimal(30)) - (2 * decimals.cos(Decimal(15)) ** 2 - 1)) < Decimal("1e-57")
        assert float(decimals.cos(Decimal(30))) == pytest.approx(np.cos(30.0), rel=1e-15)
        assert decimals.sin(Decimal(0)) == 0 and decimals.sin(Decimal("1e-90")) == Decimal("1e-90")
        assert abs(decimals.sin(Decimal(-7)) + decimals.sin(Decimal(7))) < Decimal("1e-58")
        assert abs(decimals.sin(Decimal(7)) ** 2 + decimals.cos(Decimal(7)) ** 2 - 1) < Decimal("1e-57")
        assert float(decimals.sin(Decimal(30))) == pytest.approx(np.sin(30.0), rel=1e-14)
        assert abs(decimals.normal_cdf(Decimal(0)) - Decimal("0.5")) < Decimal("1e-58")
        assert abs(decimals.tanh(Decimal("1e-30")) - Decimal("1e-30")) < Decimal("1e-80")
        for z in (-30, -8, -1.5, 0.5, 4):
            assert float(decimals.normal_cdf(Decimal(z))) == pytest.approx(float(ndtr(z)), rel=1e-13)


def test_series_and_continued_fraction_of_the_normal_tail_agree():
    """Where one ends and the other begins depends on the precision: near it both give the same."""
    for z in (9.0, 10.5, 12.0):
        found = []
        for precision in (40, 120):
            with localcontext() as context:
                context.prec = precision
                found.append(decimals.normal_cdf(Decimal(-z)))
        assert abs(found[0] - found[1]) < found[1] * Decimal("1e-37")


@drawn(st.floats(1e-20, 1e-3))
def test_what_cancels_is_found_with_more_digits(x):
    """(1 + x) − 1 − x is exactly 0, and log(1 + x) − x is −x²/2 + x³/3 − …"""
    page = Page({"x": np.array([[x]])})
    found, zero = digits([log(1 + X) - X, 1 + X - 1 - X], page).values
    assert float(found[0, 0]) == pytest.approx(-x * x / 2 + x ** 3 / 3 - x ** 4 / 4 + x ** 5 / 5, rel=1e-12) and zero[0, 0] == 0


# -- columns -----------------------------------------------------------------------------------------------------------

def test_columns_are_exact_products_at_every_rows_t():
    page = Page({}, beta=BETA, t=np.array([3, 1, 2, 3]))
    columns = column("alpha_bar"), column("alpha_bar", -1), column("alpha_bar", at="T"), column("beta", 1)
    level, before, last, rate = digits(columns, page).values
    assert level.ravel().tolist() == [Decimal("0.328125"), Decimal("0.75"), Decimal("0.375"), Decimal("0.328125")]
    assert before.ravel().tolist() == [Decimal("0.375"), 1, Decimal("0.75"), Decimal("0.375")]
    assert last == Decimal("0.328125") and [float(x) for x in rate.ravel()] == [0.125, 0.5, 0.125, 0.125]


def test_the_slope_by_the_rates_goes_through_every_level():
    """∂ᾱ_t/∂β_s = −ᾱ_t/(1 − β_s) for s ≤ t, none for β_0."""
    page = Page({"w0": np.array([[1.0], [10.0]])}, beta=BETA, t=np.array([3, 1]))
    found = slopes([column("alpha_bar")], named_cotangents(1))
    slope = gradient(list(found), floats(found.values(), page), page)["beta"]
    assert slope == pytest.approx([0, -0.328125 / 0.75 - 10 * 1, -0.328125 / 0.5, -0.328125 / 0.875])


# -- edits and text ----------------------------------------------------------------------------------------------------

def test_every_edit_changes_the_formula_and_says_how():
    formula = HALF * (square(X - Y) / Y + log(Y))
    found = list(edits(formula))
    says = [edit.says for edit in found]
    assert {"term left out: Y".replace("Y", "y"), "square left out: (x − y)²", "divisor left out: y", "log left out: log(y)",
            "x − y the other way round", "x for y", "square of y for y"} <= set(says)
    right = floats([formula], Page(GIVEN))[0]
    same = [edit.says for edit in found if np.allclose(np.broadcast_to(floats(edit.formulas, Page(GIVEN))[0], right.shape), right)]
    assert same == ["x − y the other way round"]                     # its square is the same


@pytest.mark.parametrize("formula, says, wrong", [
    (where(above(X, Y), X, Y), "the smaller of x and y, for the larger", np.minimum(GIVEN["x"], GIVEN["y"])),
    (where(above(X, Y), Y, X), "the larger of x and y, for the smaller", np.maximum(GIVEN["x"], GIVEN["y"])),
    (where(above(X, 1), X, Y), "cases exchanged: x and y", np.where(GIVEN["x"] > 1, GIVEN["y"], GIVEN["x"])),
    (log(X), "to base 10, for the natural logarithm: log(x)", np.log10(GIVEN["x"])),
    (log(X), "to base 2, for the natural logarithm: log(x)", np.log2(GIVEN["x"]))])
def test_what_is_larger_and_logarithms_are_edited_in_words(formula, says, wrong):
    edit, = (edit for edit in edits(formula) if edit.says == says)
    value, = floats(edit.formulas, Page(GIVEN))
    np.testing.assert_allclose(value, wrong, rtol=1e-12)


def test_an_edit_shares_all_that_it_does_not_change():
    formula = square(X - Y) + log(Y)
    before = nodes(formula)
    after, = Replacing((formula,)).replaced({Y: sqrt(Y)})
    assert X in nodes(after) and after is not formula and before == nodes(formula)


def test_columns_of_the_schedule_are_exchanged_and_shifted():
    says = {edit.says for edit in edits(column("beta") * column("alpha_bar", -1))}
    assert {"α_t for β_t", "ᾱ_t for ᾱ_{t−1}", "ᾱ_{t−2} for ᾱ_{t−1}", "β_{t+1} for β_t", "root of β_t for β_t"} <= says


def test_a_term_of_a_sum_can_be_counted_once():
    formula = total(square(X) + Y)
    once = next(edit for edit in edits(formula) if edit.says == "counted once, and not for each of the components: y")
    value, = floats(once.formulas, Page(GIVEN))
    assert value == pytest.approx((GIVEN["x"] ** 2).sum(axis=1) + GIVEN["y"][:, 0])


def test_a_root_can_be_taken_of_the_first_part_alone():
    formula = sqrt(1 / X - 1) * Y
    says = "√(1/x) − 1 for √(1/x − 1): the root is taken of the first part alone"
    early = next(edit for edit in edits(formula) if edit.says == says)
    value, = floats(early.formulas, Page({"x": np.array([[0.25]]), "y": np.array([[3.0]])}))
    assert value.item() == (2.0 - 1.0) * 3.0


def test_text_has_the_brackets_that_it_needs():
    assert written((X + Y) * X / (Y * X)) == "(x + y) x/(y x)"
    assert written(X - (Y - X)) == "x − (y − x)"
    assert written(sqrt(1 - column("alpha_bar")) * square(X + 1)) == "√(1 − ᾱ_t) (x + 1)²"
    assert written(HALF * exp(-X)) == "½ exp(−x)" and written(counting(X)) == "1 … x"


@pytest.mark.parametrize("name", FORMULAS)
def test_lines_put_together_again_are_the_formula(name):
    *parts, (last, formula) = in_lines(FORMULAS[name])
    assert last == "" and [part for part, _ in parts] == [f"u_{n}" for n in range(1, len(parts) + 1)]
    for part, says in reversed(parts):
        here = {one: says for one in nodes(formula) if one.op == "given" and one.how == part}
        formula, = Replacing((formula,), here).replaced({})
    assert written(formula) == written(FORMULAS[name])


def test_a_long_formula_is_cut_into_lines_and_a_short_one_is_not():
    """Twenty squarings of a sum would be a million terms in one line."""
    long = X + Y
    for _ in range(20):
        long = square(long) + X
    assert 2 <= len(in_lines(long)) <= 30 and all(len(written(line)) < 150 for _, line in in_lines(long))
    assert len(in_lines(square(X - Y) / (X - Y))) == 1


@pytest.mark.parametrize("name", FORMULAS)
def test_mathml_is_well_formed(name):
    assert ElementTree.fromstring(mathml(FORMULAS[name])).tag == "math" and written(FORMULAS[name])


@pytest.mark.parametrize("formula,text", [
    (log1p(-X), "log(1−x)"), (log1p(X), "log(1+x)"), (log1p(-(X + Y)), "log(1−(x+y))"), (-HALF * X, "−12\u2062x"),
    (where(above(X, Y), X, Y), "{xif\u00a0x>yyelse")])
def test_mathml_reads_as_it_is_meant(formula, text):
    assert "".join(ElementTree.fromstring(mathml(formula)).itertext()) == text


@pytest.mark.parametrize("name,indices", [("x_prev", 1), ("var_q", 1), ("log_width", 0), ("x", 0)])
def test_mathml_lowers_an_index_and_no_word(name, indices):
    assert mathml(given(name)).count("<msub>") == indices


def test_every_formula_of_the_book_is_there_once():
    assert len(set(map(id, pairs().values()))) >= len(pairs()) // 2 and pairs()["gaussian.kl"].__name__ == "kl"


@pytest.mark.parametrize("says, steps", [
    ("the last step is left out", [(5, 4, 2), (4, 2, 1)]), ("the first step is left out", [(4, 2, 1), (2, 0, 0)]),
    ("the steps are taken in the other order", [(2, 0, 0), (4, 2, 1), (5, 4, 2)]),
    ("every step goes to its own t, and not to the one before", [(5, 5, 2), (4, 4, 1), (2, 2, 0)]),
    ("every step goes to t − 1, and not to the kept time before", [(5, 4, 2), (4, 3, 1), (2, 1, 0)]),
    ("the steps are taken at the numbers of the kept times", [(3, 2, 2), (2, 1, 1), (1, 0, 0)])])
def test_a_chain_is_edited_as_a_whole(says, steps):
    """Times 2, 4 and 5 of six, one step after another by hand."""
    beta, noise = np.array([0.0, 0.25, 0.5, 0.125, 0.375, 0.0625, 0.5]), np.array([[[1.0]], [[2.0]], [[3.0]]])
    level = np.cumprod(1 - beta)
    step = given("x") * column("alpha_bar") / column("alpha_bar", at="t_prev") + given("noise") * column("t")
    edit, = (one for one in edits(walk(step, "x", "start", (2, 4, 5))) if one.says == says)
    x = np.array([[0.5]])
    for t, before, n in steps:
        x = x * level[t] / level[before] + noise[n] * t
    np.testing.assert_allclose(floats(edit.formulas, Page({"start": np.array([[0.5]]), "noise": noise}, beta=beta, ndim=2))[0], x)


def test_powers_of_a_root():
    found = {edit.says: edit for edit in edits(sqrt(X))}
    for says, power in (("third power of √x for √x", 1.5), ("root of √x for √x", 0.25), ("root left out: √x", 1.0)):
        np.testing.assert_allclose(floats(found[says].formulas, Page(GIVEN))[0], GIVEN["x"] ** power)


def test_a_case_of_one_step_is_edited_in_words():
    """Not "1 for 2 in 2 > t"."""
    formula = where(above(2, column("t")), given("x"), given("x") + given("y"))
    says = {edit.says for edit in edits(formula, all_ways=True)}
    assert {"t = 1 is treated like every other t", "at every t what is right at t = 1", "at t = 2 what is right at t = 1"} <= says
    assert not any("2 > t" in one and " for " in one for one in says), says
