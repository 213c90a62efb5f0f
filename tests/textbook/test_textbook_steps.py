"""The textbook of the reverse step and of samplers tried in digits: a step named in five ways, divergences, paths step by step."""

from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest

from refdpm.textbook import chain, prediction, sampler
from refdpm.textbook.chain import Normal, draw, marginal, posterior, row
from refdpm.textbook.digits import digits
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import above, column, forms, gathered, given, node, sqrt, versions, walk
from refdpm.textbook.page import Page
from refdpm.textbook.rounding import rounding
from refdpm.textbook.values import floats

BETA = np.array([0.0, 0.125, 0.25, 0.5, 0.375, 0.0625])
T = len(BETA) - 1
X_0, X_T, NOISE, GUESS, ETA = map(given, ("x_0", "x_t", "noise", "guess", "eta"))
RNG = np.random.default_rng(4)
EQUAL = {"factor left out: 1",                     # in 1/(1 − ᾱ_t)
         "1 − ᾱ_t the other way round",            # in (1 − ᾱ_t)²
         "1/ᾱ_t for ᾱ_t"}                          # in ᾱ_t/(1 − ᾱ_t)²
NAMES = ("x_0", "noise", "v", "score", "mean")
STATES = {name: RNG.standard_normal((4, 2)) for name in ("x_0", "x_t", "noise", "guess", "head")}
PAGE = Page(STATES | {"t_prev": np.array([1, 2, 0, 2]), "eta": 0.5}, beta=BETA, t=np.array([2, 3, 4, 5]))


def worth(formula, page=PAGE):
    return digits([formula], page).values[0]


def same(a, b, page=PAGE):
    """Whether formulas, or arrays of Decimals, are worth the same in digits."""
    a, b = (worth(one, page) if hasattr(one, "op") else one for one in (a, b))
    return all(x.is_finite() and abs(x - y) <= Decimal("1e-25") * (1 + abs(y)) for x, y in np.broadcast(a, b))


def unseen(formula, expected, page=PAGE):
    """The edits of a formula that leave it what it should be, in float64."""
    right = np.asarray(worth(expected, page), dtype=np.float64)

    def holds(one):
        value, = floats([one], page)
        return bool(np.allclose(value, right, rtol=1e-9, atol=1e-9))

    assert same(formula, expected, page)
    return {edit.says for edit in edits(formula) if holds(edit.formulas[0])}


# -- predictions -------------------------------------------------------------------------------------------------------

def said(predicts, x_0=X_0):
    """What a network says that has an x_0 in mind, by the definitions of the five."""
    noise = (X_T - sqrt(row().alpha_bar) * x_0) / sqrt(row().rest)
    return {"x_0": x_0, "noise": noise, "v": prediction.velocity(x_0, noise, row()), "score": -noise / sqrt(row().rest),
            "mean": posterior(X_T, x_0, row()).mean}[predicts]


def telling(predicts):
    """The page with what is said as an argument."""
    return Page(STATES | {"said": worth(said(predicts))}, beta=BETA, t=PAGE.t)


@pytest.mark.parametrize("predicts", NAMES)
def test_from_x_0_and_back(predicts):
    page = telling(predicts)
    assert not unseen(prediction.from_x_0(X_0, X_T, row(), predicts), said(predicts))
    assert not unseen(prediction.x_0_from(given("said"), X_T, row(), predicts), X_0, page)


@pytest.mark.parametrize("predicts", NAMES)
def test_every_prediction_is_the_same_step(predicts):
    """The mean of Bayes' rule, with precisions added; in every form."""
    at = row()
    precision = 1 / at.rest_prev + at.alpha / at.beta
    bayes = (sqrt(at.alpha_bar_prev) * X_0 / at.rest_prev + sqrt(at.alpha) * X_T / at.beta) / precision
    formula = prediction.mean_from(given("said"), X_T, at, predicts)
    for version in versions([formula]):
        assert same(version[0], bayes, telling(predicts))
    assert not unseen(formula, bayes, telling(predicts))


def test_velocity_is_what_a_turned_pair_has():
    """v = dx_t/dφ with cos φ = √ᾱ: x_t² + v² = x_0² + ε², and from x_t as from ε."""
    x_t, v = draw(marginal(X_0, row()), NOISE), prediction.velocity(X_0, NOISE, row())
    assert same(x_t * x_t + v * v, X_0 * X_0 + NOISE * NOISE)
    assert same(prediction.from_x_0(X_0, x_t, row(), "v"), v)
    assert same(prediction.from_x_0(X_0, x_t, row(), "noise"), NOISE)


@pytest.mark.parametrize("predicts", NAMES)
def test_what_an_error_costs(predicts):
    """½ w Δ² is the divergence of two posteriors, and Δ² the weight of an error of x_0, for every name."""
    q, p = posterior(X_T, X_0, row()), posterior(X_T, GUESS, row())
    error = said(predicts) - said(predicts, GUESS)
    kl, by_x_0 = chain.kl(q, p), (X_0 - GUESS) * (X_0 - GUESS)
    assert same(prediction.kl_of_x_0(X_0, GUESS, row()), kl)
    assert same(prediction.kl_of_v(said("v"), said("v", GUESS), row()), kl)
    assert unseen(prediction.kl_weight(row(), predicts), kl * 2 / (error * error)) <= EQUAL
    assert unseen(prediction.error_weight(row(), predicts), error * error / by_x_0) <= EQUAL


# -- variances and the step --------------------------------------------------------------------------------------------

def test_variances_by_hand():
    """Precisions add: 1/β̃_2 = 1/β_1 + (1−β_2)/β_2 = 11; a range ends at β̃ and β, and has √(β β̃) in the middle."""
    assert same(prediction.first_variance("next"), node(1) / 11)
    assert same(prediction.first_variance("beta"), node(0.125)) and same(prediction.first_variance("floor"), node(1e-20))
    beta, least, head = given("beta"), given("least"), given("head")
    for value, expected in ((-1.0, 0.25), (1.0, 4.0), (0.0, 1.0), (3.0, 64.0)):
        assert same(prediction.ranged(node(value), node(4.0), node(0.25)), node(expected))
    page = Page({"head": 0.5, "beta": 16.0, "least": 0.0625})
    assert not unseen(prediction.ranged(head, beta, least), node(4.0), page)


@pytest.mark.parametrize("predicts", NAMES)
@pytest.mark.parametrize("variance", ("small", "large", "ranged"))
@pytest.mark.parametrize("first", ("next", "floor", "beta", "fixed"))
def test_the_step_of_a_network(predicts, variance, first):
    """Row by row: about x̂_0 of what it says, with the named variance; at t = 1 under each policy."""
    outputs = np.concatenate([np.asarray(RNG.standard_normal((4, 2))), STATES["head"]], axis=1)
    page = Page({"x_t": STATES["x_t"], "out": outputs}, beta=BETA, t=np.array([1, 3, 4, 1]))
    said, head = node(outputs[:, :2]), node(outputs[:, 2:])
    heads, at_1 = prediction.heads_of(given("out"), X_T), above(2, column("t"))
    p = prediction.any_step(heads, X_T, row(), at_1, predicts=predicts, variance=variance, first=first)
    end = {"next": node(1) / 11, "floor": node(1e-20)}.get(first, node(0.125))
    mean = prediction.mean_from(said, X_T, row(), predicts)
    later = {"small": chain.small(row()), "large": row().beta, "ranged": prediction.ranged(head, row().beta, chain.small(row()))}
    last = Normal(sqrt(row().alpha) * X_T, row().beta) if first == "fixed" else Normal(
        mean, prediction.ranged(head, row().beta, end) if variance == "ranged" else end)
    for got, at_end, before in zip(p, last, (mean, later[variance])):
        got, at_end, before = (np.broadcast_to(worth(one, page), (4, 2)) for one in (got, at_end, before))
        assert same(got[[0, 3]], at_end[[0, 3]]) and same(got[[1, 2]], before[[1, 2]])


# -- samplers ----------------------------------------------------------------------------------------------------------

def test_ddim_keeps_the_marginals():
    """Of x_t = √ᾱ_t x_0 + √(1−ᾱ_t) z it makes √ᾱ_s x_0 + k z with k² + σ² = 1 − ᾱ_s; at η = 1 it is the posterior."""
    for columns in (row(), sampler.strided()):
        for eta in (0, 0.5, 1):
            p = sampler.jump(X_0, draw(marginal(X_0, columns), NOISE), columns, node(eta))
            for mean, in versions([p.mean]):
                k = (mean - sqrt(columns.alpha_bar_prev) * X_0) / NOISE
                assert same(k * k + p.var, columns.rest_prev)
        for got, expected in zip(sampler.ddim(X_0, X_T, columns, node(1)), posterior(X_T, X_0, columns)):
            assert same(got, expected)


def test_no_edit_of_ddim_keeps_the_marginals():
    """Both together: the mean's k and σ² say every factor; 0.5 0.5 may be exchanged."""
    at, x_t = row(), draw(marginal(X_0, row()), NOISE)
    p = sampler.ddim(X_0, X_T, at, ETA)
    page = Page(STATES | {"x_t": worth(x_t), "eta": 0.5}, beta=BETA, t=PAGE.t)
    k = sqrt(at.rest_prev - posterior(X_T, X_0, at).var / 4)
    assert not unseen(p.mean, sqrt(at.alpha_bar_prev) * X_0 + k * NOISE, page)
    assert not unseen(p.var, posterior(X_T, X_0, at).var / 4, page)


def test_rates_of_steps_taken_together():
    """1 − (1−β_1)(1−β_2) = 11/32 and 1 − (1−β_3)(1−β_4) = 11/16 by hand; all steps kept, nothing changes."""
    at = Page({}, beta=BETA, t=np.arange(1), ndim=1)
    assert same(sampler.respaced([2, 4, 5]), np.array([Decimal(x) for x in ("0", "0.34375", "0.6875", "0.0625")]), at)
    assert same(sampler.respaced(range(1, 6)), np.array(list(map(Decimal, BETA.tolist()))), at)
    columns, stepped = sampler.strided(), Page({"t_prev": np.array([1, 2])}, beta=BETA, t=np.array([2, 4]), ndim=1)
    assert same(columns.beta, np.array([Decimal("0.25"), Decimal("0.6875")]), stepped)
    assert {"ᾱ_{t_prev+1} for ᾱ_{t_prev}"} <= {edit.says for edit in edits(columns.beta)}
    assert not unseen(columns.beta, node(np.array([0.25, 0.6875])), stepped)


def path_page():
    weight, bias = RNG.standard_normal((T + 1, 2, 4)) / 4, RNG.standard_normal((T + 1, 4)) / 4
    noise = RNG.standard_normal((T + 1, 3, 2))
    return Page(dict(weight=weight, bias=bias, noise=noise, x_T=noise[-1]), beta=BETA)


def steps():
    """An ancestral step with the columns of a chain, and with those of a step that may skip some; one of DDIM with η = 1."""
    heads = prediction.affine(X_T, gathered("weight"), gathered("bias"))
    named = dict(predicts="v", variance="small", first="next")
    at_1, at_end, columns = above(2, column("t")), above(1, column("t", at="t_prev")), sampler.strided()
    whole = sampler.ancestral_step(prediction.any_step(heads, X_T, row(), at_1, **named), at_1, NOISE)
    skipping = sampler.ancestral_step(prediction.any_step(heads, X_T, columns, at_end, **named), at_end, NOISE)
    ddim = draw(sampler.ddim(prediction.x_0_from(heads.mean, X_T, columns, "v"), X_T, columns, node(1)), NOISE)
    return whole, skipping, ddim


def test_paths_are_compositions_of_steps():
    """All times kept, a path that may skip is the one that does not, and DDIM at η = 1 is it too; with some kept, step by step."""
    page, (whole, skipping, ddim) = path_page(), steps()
    right = worth(walk(whole, "x_t", "x_T"), page)
    for step in (skipping, ddim):
        assert same(walk(step, "x_t", "x_T"), right, page)
        x = page.given["x_T"]
        for n, (t, s) in enumerate(((5, 3), (3, 1), (1, 0))):
            at = page.at(np.full(3, t), x_t=x, noise=page.given["noise"][2 - n], t_prev=np.full(3, s))
            x = worth(step, at)
        assert same(walk(step, "x_t", "x_T", (1, 3, 5)), x, page)


def test_a_path_may_lose_what_its_steps_do_and_hand_on():
    """No less than the last step loses, and of many steps more than of one; linear: slopes times what came before."""
    page, (whole, _, _) = path_page(), steps()
    found, = rounding([walk(whole, "x_t", "x_T")], page)
    doubled = Page({"x_T": np.ones((1, 1)), "noise": np.zeros((3, 1, 1))}, beta=BETA[:3], ndim=2)
    growing, = rounding([walk(X_T * 3, "x_t", "x_T")], doubled)
    assert np.all(np.isfinite(found.error)) and np.all(found.error > np.abs(found.value) / 2)
    assert growing.value == 9 and growing.error == pytest.approx(3 * 3 + 9, rel=1e-6)


# -- what these topics brought to the readings --------------------------------------------------------------------------

def test_forms_lose_what_the_worst_does_or_the_best():
    x = given("x")
    formula, page = forms((1 + x) - 1, x * 1), Page({"x": 2.0 ** -30})
    loose, strict = (rounding([formula], page, accurate=accurate)[0].error for accurate in (False, True))
    assert loose > 1 and strict == 2.0 ** -30
    assert [len(version) for version in versions([formula, x])] == [2, 2] and versions([x]) == [(x,)]
    assert {"term left out: x", "factor left out: 1"} <= {edit.says for edit in edits(formula)}


def test_columns_at_listed_steps_and_at_those_of_an_argument():
    page = Page({"s": np.array([4, 0])}, beta=BETA, t=np.array([5, 1]), ndim=1)
    assert same(column("beta", at=(1, 3)), np.array([Decimal("0.125"), Decimal("0.5")]), page)
    assert same(column("alpha", at="s"), np.array([Decimal("0.625"), Decimal(1)]), page)
    assert same(column("t", at="s"), np.array([Decimal(4), Decimal(0)]), page)
    assert same(column("t", -1), np.array([Decimal(4), Decimal(0)]), page)


def test_every_pair_takes_what_its_function_takes():
    """The last step of a model, whose network is a table of affine maps: by the formula of the step at t = 1."""
    parameters = SimpleNamespace(weight=given("weight"), bias=given("bias"))
    step = SimpleNamespace(beta=given("b"), log_alpha_bar_prev=given("level"))
    model = SimpleNamespace(predicts="x_0", variance="large", first="next")
    formula = prediction.PAIRS["later.model.last_step"](parameters, None, X_T, step, t=np.array([2]), model=model)
    page = Page(dict(weight=np.full((3, 1, 2), 2.0), bias=np.full((3, 2), 0.5), x_t=np.array([[1.5]]), b=0.125, level=0.0),
                beta=BETA)
    assert same(formula.mean, node(3.5), page) and same(formula.var, node(0.125), page)
