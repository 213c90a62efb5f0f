"""The textbook of the bound tried in digits: reversals that are known, chain rules, closed forms, numbers worked by hand.

Every edit of a formula breaks what holds of it, but for those that are equal to it, which are listed.
"""

from decimal import Decimal

import numpy as np
import pytest

from refdpm.textbook import bound, networks
from refdpm.textbook.chain import Normal, entropy, forward, log_prob, row, small
from refdpm.textbook.digits import digits
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import HALF, PI, column, exp, given, log, move, node, nodes, sqrt, square, total
from refdpm.textbook.page import Page
from refdpm.textbook.prediction import Heads
from refdpm.textbook.rounding import rounding
from refdpm.textbook.written import mathml, written

BETA = np.array([0.0, 0.25, 0.375, 0.625])
X_0 = np.array([[0.5, -1.25], [2.0, 0.75]])
NOISE = np.array([[[0.3, -1.0], [0.25, 2.0]], [[-0.5, 0.0], [1.5, -0.75]], [[1.0, 0.125], [-2.0, 0.5]]])
PATHS = Page({"x_0": X_0, "noise": NOISE}, beta=BETA, t=np.array([2, 3]), ndim=3, steps=True)
THIRDS = np.array([1, 4, 1])
STEP = Page({"x_0": X_0}, beta=BETA, t=np.array([3, 2]), ndim=2)
Z = bound.X_0


def worth(page, *formulas):
    return [value.ravel() for value in digits(formulas, page).values]


def same(page, *formulas):
    """Whether all are numbers and worth the same, entry by entry."""
    return near(*worth(page, *formulas))


def near(*values):
    return all(x.is_finite() and y.is_finite() and abs(x - y) <= Decimal("1e-25") * (1 + abs(y))
               for one in values[1:] for x, y in np.broadcast(one, values[0]))


def unseen(formulas, holds):
    """The edits that leave what holds of the formulas as true as it is without them."""
    assert holds(*formulas)
    return [edit.says for edit in edits(*formulas) if _survives(edit, holds)]


def _survives(edit, holds):
    try:
        return holds(*edit.formulas)
    except (ValueError, IndexError, TypeError):           # arguments of other shapes
        return False


# -- K and what makes it strict ------------------------------------------------------------------------------------------

def reversal(x_t, s):
    """The reverse step of N(0, s): N(√(1−β) v_{t−1}/v_t x, β v_{t−1}/v_t), v_t = ᾱ_t s + 1 − ᾱ_t."""
    one = row()
    ratio = (one.alpha_bar_prev * s + one.rest_prev) / (one.alpha_bar * s + one.rest)
    return Normal(sqrt(one.alpha) * ratio * x_t, one.beta * ratio)


@pytest.mark.eq("14", "49", "50", "App.1 G bound")
def test_k_of_the_exact_reversal():
    """N(0, s): K = ½ log(v_T/v_1) − ½ log(2πe).  K is quadratic in data and noise, so that three nodes of Gauss and Hermite with
    weights 1/6, 2/3, 1/6 give its average."""
    nodes_of, s = np.array([-Decimal(3).sqrt(), Decimal(0), Decimal(3).sqrt()]), 4
    x, e = (axis.reshape(-1, 1) for axis in np.meshgrid(2 * nodes_of, nodes_of))
    page = Page({"x_0": x, "noise": np.stack([e, e])}, beta=BETA, t=np.array([2, 3]), ndim=3, steps=True)
    weight = np.outer(THIRDS, THIRDS).ravel()
    v_T, v_1 = (column("alpha_bar", at=at) * s + (1 - column("alpha_bar", at=at)) for at in ("T", 1))
    expected, = worth(page, HALF * (log(v_T / v_1) - 1 - log(2 * PI)))
    kl = bound.step_kl(Z, bound.NOISE, row(), lambda x_t: reversal(x_t, s), 1)

    def holds(K):
        value, = worth(page, K)
        return near(np.array([value @ weight / 36]), expected)

    missed = unseen((bound.whole(bound.Terms(kl, *bound.ends(Z))),), holds)
    of_one_component = "mean over components", "counted once, and not for each of the components"
    assert {one[:20] for one in missed if not any(words in one for words in of_one_component)} == {   # on the average
        "α_1 for ᾱ_1", "ᾱ_{T+1} for ᾱ_T", "sum over components ", "factor left out: noise"[:20],
        "minus for plus before √(1 − ᾱ_t) noise"[:20],
        "β_t √ᾱ_{t−1}/(1 − ᾱ_t) x_0 + √α_t (1 − … the other way round"[:20]}


def test_what_makes_k_strict():
    """C = ½ (ᾱ_T + β_1) Σ (1 − x²)."""
    closed = HALF * (column("alpha_bar", at="T") + column("beta", at=1)) * total(1 - square(Z))
    assert set(unseen((bound.correction(Z),), lambda C: same(STEP, C, closed))) == {"ᾱ_{T+1} for ᾱ_T", "α_1 for ᾱ_1"}


def test_all_terms_are_those_drawn():
    """S = T − 1 drawn terms are the sum; by hand, T = 5: −(4/2)(½ + 1) + 3 + 2 − 4 = −2 and −(4/2) ¼ + 1 − ½ − 4 = −4."""
    terms = bound.Terms(*map(given, bound.Terms._fields))
    of = dict(kl=[[0.5, 0.25], [1.0, 0.0]], entropy_T=[3.0, 1.0], entropy_1=[-2.0, 0.5], entropy_prior=[4.0, 4.0], T=5.0)
    page = Page({name: np.array(value) for name, value in of.items()})
    assert same(page, bound.whole(terms), bound.assemble(terms, 3))
    by_hand = np.array([Decimal(-2), Decimal(-4)])
    assert not unseen((bound.assemble(terms, given("T")),), lambda K: near(*worth(page, K), by_hand))
    nothing = Page({**page.given, "kl": np.zeros((0, 2)), "T": np.array(1.0)})
    assert same(nothing, bound.assemble(terms, given("T")), terms.entropy_T - terms.entropy_1 - terms.entropy_prior)


def test_bounds_on_the_entropy_of_a_step():
    """Below: H(X_{t−1} | X_t, X_0), the posterior's entropy (eqs. 27, 31); above: that of the forward step."""
    def holds(lower, upper):
        return same(STEP, lower, total(entropy(small(row())), like=Z)) and same(STEP, upper, total(entropy(row().beta), like=Z))

    assert not unseen(bound.entropy_bounds(Z), holds)


# -- the average over paths ------------------------------------------------------------------------------------------------

def test_every_path_of_the_exact_reversal_of_white_data_weighs_the_same():
    """log w = log π(x_0), whatever the noise."""
    log_w = bound.log_weights(lambda x_t: forward(x_t, row()))
    assert same(PATHS, log_w, bound.log_prior(Z))


@pytest.mark.eq("3", "5", "7", "8", "44")
def test_weights_average_to_the_likelihood():
    """N(0, s) under its exact reversal, but the last step is fixed and π stands for N(0, v_T): the rest cancels, and log w is
    log N(x_1; 0, v_1) + log N(x_0; √(1−β_1) x_1, β_1) − log N(x_1; √(1−β_1) x_0, β_1) + log π(x_T) − log N(x_T; 0, v_T)."""
    s, first = 4, row(at=1)
    x_1 = sqrt(first.alpha) * Z + sqrt(first.beta) * node(NOISE[0])
    x_2 = sqrt(row(at=2).alpha) * x_1 + sqrt(row(at=2).beta) * node(NOISE[1])
    x_3 = sqrt(row(at=3).alpha) * x_2 + sqrt(row(at=3).beta) * node(NOISE[2])
    v_1, v_T = (column("alpha_bar", at=at) * s + (1 - column("alpha_bar", at=at)) for at in (1, "T"))
    one = Page(PATHS.given, beta=BETA, t=np.array([2, 3]), ndim=2)
    expected = total(log_prob(x_1, Normal(node(0), v_1)) + log_prob(Z, forward(x_1, first)) - log_prob(x_1, forward(Z, first))
                     + log_prob(x_3, Normal(node(0), node(1))) - log_prob(x_3, Normal(node(0), v_T)))
    log_w = bound.log_weights(lambda x_t: reversal(x_t, s))
    right = worth(one, expected)
    missed = unseen((log_w,), lambda found: near(*worth(PATHS, found), *right))
    assert [one for one in missed if not one.endswith("the other way round")] == ["ᾱ_1 for α_1"] * 2          # of what is squared


def test_states_along_a_path():
    """Step by step by hand, with the errors of each step handed on."""
    states = next(one for one in nodes(bound.log_weights(lambda x_t: forward(x_t, row()))) if one.op == "path")
    expected = [X_0]
    for beta, noise in zip(BETA[1:], NOISE):
        expected.append(np.sqrt(1 - beta) * expected[-1] + np.sqrt(beta) * noise)
    value, = digits([states], PATHS).values
    np.testing.assert_allclose(value.astype(float), np.stack(expected), rtol=1e-13)
    lost, = rounding([states], PATHS)
    assert np.all(lost.error[0] == 0) and np.all(lost.error[2:] > np.abs(lost.value[2:]) / 2)
    assert "x_0 and every" in written(states) and "x_0 and every" in mathml(states)


def test_averages_by_hand():
    """Weights (½, 3/2, 1) and (1, 3, 5): log 1 and log 3, ½ √((½ + 8/9)/6).  1, 2, 9 have the mean 4 ± √(19/3); log 8 is 3 bits."""
    page = Page({"w": np.array([[0.5, 1.0], [1.5, 3.0], [1.0, 5.0]]), "x": np.array([1.0, 2.0, 9.0])})
    log_w = log(given("w"))
    found, alone = bound.log_likelihood(log_w), bound.average(given("x"))
    missed = unseen(found, lambda value, error: same(page, value, HALF * log(node(3))) and same(page, error, sqrt(node(25) / 432)))
    assert missed == ["mean over one, for the sum of max log(w)", "exp(log(w) − (Σ_one max log(w) + log(Σ_… the other way round"]
    missed = unseen(alone, lambda value, stderr: same(page, value, node(4)) and same(page, stderr, sqrt(node(19) / 3)))
    assert missed == ["x − Σ_examples x/(number of examples) the other way round"]
    assert same(page, bound.log_mean(log_w - 1000), bound.log_mean(log_w) - 1000)
    assert same(page, bound.bits(log(node(8))), node(3))


# -- other densities -------------------------------------------------------------------------------------------------------

def test_normal_law_of_two_dimensions_one_after_the_other():
    """log N(x; m, a) + log N(y; n + (b/a)(x − m), c − b²/a)."""
    names = dict(x=X_0, mean=np.array([0.375, -0.375]), covariance=np.array([[2.5, 0.75], [0.75, 0.5]]))
    page, (a, b, c) = Page(names), (node(number) for number in (2.5, 0.75, 0.5))
    (x, y), (m, n) = (tuple(move(given(name), str(k), lambda i, k=k: i[..., k]) for k in (0, 1)) for name in ("x", "mean"))
    chained = log_prob(x, Normal(m, a)) + log_prob(y, Normal(n + b / a * (x - m), c - b * b / a))
    formula = bound.gaussian_log_likelihood(given("x"), given("mean"), given("covariance"))
    assert not unseen((formula,), lambda one: same(page, one, chained))


def test_a_window_is_a_mixture():
    """exp of it is (1/3) Σ_m Π_d N(x_d; c_md, h²)."""
    centres = np.array([[1.75, -3.0], [-0.25, 1.5], [0.5, 0.25]])
    page = Page({"x": X_0, "c": centres, "h": np.array(0.75)})
    each = [total(log_prob(given("x"), Normal(node(centre), square(given("h"))))) for centre in centres]
    mixture = (exp(each[0]) + exp(each[1]) + exp(each[2])) / 3
    missed = unseen((bound.parzen_log_likelihood(given("x"), given("c"), given("h")),), lambda one: same(page, exp(one), mixture))
    assert missed == ["beside every centre(x) − as rows(c) the other way round",
                      "mean over one, for the sum of max (−Σ_components (beside every centre…"]


@pytest.mark.eq("App.1 G likelihood")
def test_null_model():
    """log N(x; 0, 1)."""
    assert not unseen((bound.log_prior(Z),), lambda one: same(STEP, one, total(log_prob(Z, Normal(node(0), node(1))))))
    assert same(STEP, bound.prior_entropy(Z), -total(HALF * (-1 - log(2 * PI)), like=Z))


# -- read-outs -------------------------------------------------------------------------------------------------------------

STATES = {"x_t": np.array([[1.25, -3.0]]), "z": np.array([[0.5, 2.0]]), "u": np.array([[0.25, 3.5]])}
READ = Page(STATES, beta=BETA, t=np.array([2]))
X_T, HEADS = given("x_t"), Heads(given("z"), given("u"))


@pytest.mark.eq("65")
def test_read_outs_have_the_odds_and_the_pull_that_they_are_named_for():
    """var/(1−var) is e^u β/(1−β), with u/√T for the released one; the mean is pulled to z by √(1−var), or shifted by √β z."""
    odds = row().beta / row().alpha

    def eq65(mean, var):
        return same(READ, var / (1 - var), exp(HEADS.var) * odds) and same(
            READ, (mean - HEADS.mean) / (X_T - HEADS.mean), sqrt(1 - var))

    def released(mean, var):
        return same(READ, var / (1 - var), exp(HEADS.var / sqrt(node(3))) * odds) and same(
            READ, mean - forward(X_T, row()).mean, sqrt(row().beta) * HEADS.mean)

    missed = [*unseen(networks.eq65(HEADS, X_T, row()), eq65), *unseen(networks.released(HEADS, X_T, row(), 3), released)]
    assert all(one.startswith("1 for 0 in ") and one.endswith(" > 0") for one in missed)       # where the sigmoid has another form


@pytest.mark.parametrize("readout", ["eq65", "released", "denoising"])
def test_read_outs_start_at_the_forward_kernel(readout):
    nothing = Heads(0 * X_T, 0 * X_T)
    p, q = networks.read_out(nothing, X_T, row(), T=4, readout=readout), forward(X_T, row())
    assert same(READ, p.mean, q.mean) and same(READ, p.var, q.var)


def test_denoising_is_the_reversal_of_gaussian_data():
    """x_0 ~ N(0, s): x_0 given x_t has mean √ᾱ s x/v_t and variance s (1−ᾱ)/v_t, v = ᾱ s + 1 − ᾱ; the step √(1−β) v_{t−1}/v_t x
    and β v_{t−1}/v_t."""
    s, one = node(3), row()
    v, before = one.alpha_bar * s + one.rest, one.alpha_bar_prev * s + one.rest_prev
    heads = Heads(sqrt(one.alpha_bar) * (s / v - 1) * X_T, log(s / v))

    def holds(mean, var):
        return same(READ, mean, sqrt(one.alpha) * before / v * X_T) and same(READ, var, one.beta * before / v)

    assert set(unseen(networks.denoising(heads, X_T, row()), holds)) == {"α_{t−1} for ᾱ_{t−1}"}                     # at t = 2


def test_network_of_one_unit():
    """g = 1: the heads are weight + bias."""
    numbers = {"x_t": np.array([[0.5, -2.0]]), "c": np.array([[1.0, 0.25]]), "w": np.array([0.5]), "weight": np.arange(4.0)[None],
               "bias": np.full(4, 0.5)}
    page = Page(numbers, beta=READ.beta, t=np.array([2]))
    weight, bias = given("weight"), given("bias")
    heads = networks.halves(weight + bias)
    for readout in ("eq65", "released", "denoising"):
        p = networks.swiss_roll(X_T, row(), given("c"), given("w"), weight, bias, T=2, readout=readout)
        q = networks.read_out(heads, X_T, row(), T=2, readout=readout)
        assert same(page, p.mean, q.mean) and same(page, p.var, q.var)
