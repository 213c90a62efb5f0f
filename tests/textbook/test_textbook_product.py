"""The textbook of sec. 2.5 tried in digits: Bayes' rule for densities and odds, expectations taken one after the other."""

from decimal import Decimal

import numpy as np
import pytest

from refdpm.textbook import product
from refdpm.textbook.chain import Normal, log_prob
from refdpm.textbook.digits import digits
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import HALF, given, node
from refdpm.textbook.page import Page

P, R, G = Normal(given("mean"), given("var")), Normal(given("mean_r"), given("var_r")), given("g")
NUMBERS = dict(mean=0.5, var=0.25, mean_r=2.0, var_r=1.25, g=-1.25, gain=-0.5, p=0.3, r=0.8)
PAGE = Page({name: np.array(value) for name, value in NUMBERS.items()})
PLACES = (-1, 0.5, 3)


def worth(*formulas):
    return [value.item() for value in digits(formulas, PAGE).values]


def same(*formulas):
    """Whether all are numbers and worth the same."""
    values = worth(*formulas)
    return all(value.is_finite() and abs(value - values[0]) <= Decimal("1e-25") * (1 + abs(values[0])) for value in values)


def unseen(formulas, holds):
    """The edits that leave an identity of the formulas as true as it is without them."""
    assert holds(*formulas)
    return [edit.says for edit in edits(*formulas) if holds(*edit.formulas)]


def test_a_product_of_normal_laws_is_bayes_rule():
    """p(x) r(x) is the product's density times the same number at every x; by hand N(½, ¼) N(2, ¾) is N(7/8, 3/16)."""
    def holds(mean, var):
        return same(*(log_prob(node(x), P) + log_prob(node(x), R) - log_prob(node(x), Normal(mean, var)) for x in PLACES))

    assert not unseen(product.times_gaussian(P, R), holds)
    by_hand = product.times_gaussian(P, Normal(R.mean, node(3 * HALF * HALF)))
    assert worth(*by_hand) == [Decimal("0.875"), Decimal("0.1875")]


def test_a_product_of_bits_multiplies_odds():
    p, r = given("p"), given("r")
    assert not unseen((product.times_bits(p, r),), lambda one: same(one / (1 - one), p / (1 - p) * (r / (1 - r))))


def test_a_linear_log_factor_moves_the_mean():
    """p(x) exp(g (x − mean)) is the density of N(mean + var g, var) times the same number at every x."""
    def holds(mean):
        return same(*(log_prob(node(x), P) + G * (x - P.mean) - log_prob(node(x), Normal(mean, P.var)) for x in PLACES))

    assert not unseen((product.guided_mean(P, G),), holds)


def test_expectations_one_after_the_other():
    """Over two steps as over the one that is both of them, and by hand: N(3, ½) before N(−2 x, 3/2) is N(−3/2, ½)."""
    gain, g = given("gain"), given("g")
    twice = product.expected(product.expected(R, gain, P.var), g, given("p"))
    once = product.expected(R, gain * g, P.var + gain * gain * given("p"))
    assert all(map(same, twice, once))
    mean, var = product.expected(Normal(node(3), node(HALF)), node(-2), node(3 * HALF))
    assert worth(mean, var) == [Decimal("-1.5"), Decimal("0.5")]


@pytest.mark.parametrize("y", [0, 1])
def test_a_flipped_bit_has_its_odds(y):
    rate, logit = given("p"), product.flipped(node(y), given("p"))
    odds, = worth(rate / (1 - rate))
    assert abs(worth(logit)[0].exp() - (1 / odds if y else odds)) < Decimal("1e-20")


def test_a_ramp_falls_from_1_to_0_in_equal_steps():
    assert worth(*(product.exponent(node(t), 4, "ramp") for t in range(5))) == [Decimal(4 - t) / 4 for t in range(5)]
    assert worth(product.exponent(node(3), 4, "constant")) == [1]
