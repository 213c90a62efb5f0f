"""The textbook of the decoder and of the bound in bits, tried in digits: masses that add to 1, ends that meet the paper's bound."""

from decimal import Decimal

import numpy as np
import pytest

from refdpm.textbook import bound, ddpm, decoder
from refdpm.textbook.chain import Normal, cross_entropy, draw, entropy, forward, log_prob, marginal, row
from refdpm.textbook.digits import digits
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import HALF, exp, given, log, log1p, move, node, square, total, versions
from refdpm.textbook.page import Page

BETA = np.array([0.0, 0.25, 0.375, 0.625])
STATES = {"x_0": np.array([[0.5, -1.25], [2.0, 0.75]]), "noise": np.array([[0.3, -1.0], [0.25, 2.0]]),
          "mean": np.array([[0.17]]), "var": np.array([[0.3]]), "nats": np.array([3.0, -2.5])}
GRID = decoder.Grid(given("low"), given("high"), given("levels"))
PAGE = Page(STATES | {"low": -0.75, "high": 1.5, "levels": 4.0, "k": np.array([[0, 1, 2, 3]])}, beta=BETA, t=np.array([1, 3]))
EQUAL = {"ᾱ_1 for α_1", "ᾱ_{T+1} for ᾱ_T",                             # 1 − β_1, and there is no step after T
         "√ᾱ_T x_0 − 0 the other way round", "plus for minus before 0", "term left out: 0", "term left out: log(1)",
         "divisor left out: 1", "times 1, for divided by"}              # of the divergence from N(0, 1)
X_0, LAW, K = given("x_0"), Normal(given("mean"), given("var")), given("k")


def worth(*formulas):
    return [value.ravel() for value in digits(formulas, PAGE).values]


def same(*formulas):
    """Whether all are numbers and worth the same, entry by entry."""
    first, *others = worth(*formulas)
    return all(x.is_finite() and y.is_finite() and abs(x - y) <= Decimal("1e-25") * (1 + abs(y))
               for one in others for x, y in np.broadcast(one, first))


def unseen(formula, holds):
    """The edits that leave what holds of a formula as true as it is without them, form by form."""
    assert all(holds(one) for one, in versions([formula]))
    return {edit.says for edit in edits(formula) if holds(*edit.formulas)}


# -- the decoder -------------------------------------------------------------------------------------------------------

def test_levels_lie_from_end_to_end():
    assert not unseen(decoder.level(K, GRID), lambda x: same(x, node(np.array([[-0.75, 0.0, 0.75, 1.5]]))))


def masses_add_to_1(log_mass):
    return same(total(exp(log_mass), "levels"), node(1))


@pytest.mark.parametrize("form", [decoder.log_difference, decoder.log_mass])
def test_masses_add_to_1_and_are_those_of_phi(form):
    """Each bin between is Φ at one end less Φ at the other, by the density between them to the fourth order of the bin's width."""
    formula = form(decoder.level(K, GRID), LAW, K, GRID)
    assert masses_add_to_1(formula)
    fine = Page(PAGE.given | {"low": 0.0, "high": 0.25, "levels": 251.0, "k": np.array([[100]])}, beta=BETA, t=PAGE.t)
    x = decoder.level(K, GRID)
    h = decoder.half_bin(GRID)
    slope = -(x - LAW.mean) / LAW.var
    bend = square(slope) - 1 / LAW.var
    mass, series = (value.item() for value in digits(
        [formula, log_prob(x, LAW) + log(2 * h) + log1p(square(h) * bend / 6)], fine).values)
    assert abs(mass - series) < Decimal("1e-12") and masses_add_to_1(formula)


def test_both_forms_of_a_mass_are_the_same():
    """Every edit is seen, but for those that turn a bin to the other side, and for the side of k = 1, which is no end."""
    x = decoder.level(K, GRID)
    difference, turned = (form(x, LAW, K, GRID) for form in (decoder.log_difference, decoder.log_mass))
    assert not unseen(difference, lambda formula: same(formula, turned))
    sides = ("cases exchanged: ", "the case ", "no exception where ", "plus for minus: −", "1 for 0 in", "-1 for 0 in")
    equal = unseen(turned, lambda formula: same(formula, difference))
    assert len(equal) == 7 and all(says.startswith(sides) for says in equal)


# -- the two ends ------------------------------------------------------------------------------------------------------

def test_the_prior_term_is_a_cross_entropy_less_an_entropy():
    """And next to nothing of it is left at ᾱ = e^−100: ½ ᾱ x² + ¼ ᾱ² + …"""
    q = marginal(X_0, row(at="T"))
    right = cross_entropy(q, Normal(node(0), node(1))) - entropy(q.var)
    assert not unseen(ddpm.prior_kl(X_0, row(at="T")), lambda formula: same(formula, right)) - EQUAL
    faint = ddpm.PAIRS["later.objective.prior_kl"](node(0), node(-100))
    assert abs(worth(faint)[0].item() / (Decimal(-200).exp() / 4) - 1) < Decimal("1e-40")


def test_the_edge_is_an_average_over_the_noise():
    """Of log p(x_0 | x_1), a square in ε: the mean of its values at ε = ±1."""
    def at(noise):
        return log_prob(X_0, forward(draw(marginal(X_0, row(at=1)), node(noise)), row(at=1)))

    right = HALF * (at(1) + at(-1))
    assert not unseen(ddpm.edge(X_0, row(at=1)), lambda formula: same(formula, right)) - EQUAL


def test_with_the_papers_edge_it_is_the_strict_bound():
    """−prior − kl + edge = K + C, for any divergences."""
    kl = move(given("nats"), "steps", lambda i: i[:, None])
    prior, edge = (bound.per_example(part) for part in (ddpm.prior_kl(X_0, row(at="T")), ddpm.edge(X_0, row(at=1))))
    strict = bound.whole(bound.Terms(kl, *bound.ends(X_0))) + bound.correction(X_0)
    assert same(-ddpm.whole(ddpm.Terms(prior, kl, -edge)), strict)


# -- the sum -----------------------------------------------------------------------------------------------------------

def test_a_decoder_of_narrow_bins_is_a_density_times_their_width():
    law = forward(draw(marginal(X_0, row(at=1)), given("noise")), row(at=1))
    fine = decoder.Grid(node(-1000), node(1000), node(2 * 10 ** 15 + 1))
    right = -bound.per_example(log_prob(X_0, law) + log(1 / node(10 ** 12)))
    found = ddpm.decoder(X_0, node(5), fine, given("noise"), lambda x_1: forward(x_1, row(at=1)))
    assert all(abs(x - y) < Decimal("1e-20") for x, y in zip(*worth(found, right)))


def test_terms_by_hand():
    """1 + 3 · (2 + 4)/2 + 5 = 15 for T = 4, of all terms 12; as a table 5, 2, 4; 12 nats of 3 components are 4/log 2 bits."""
    prior, kl, decoded = (node(np.array(x)) for x in ([1.0], [[2.0], [4.0]], [5.0]))
    terms = ddpm.Terms(prior, kl, decoded)
    assert not unseen(ddpm.assemble(terms, node(4)), lambda formula: worth(formula)[0].tolist() == [15])
    assert not unseen(ddpm.whole(terms), lambda formula: worth(formula)[0].tolist() == [12])
    assert worth(ddpm.table(terms))[0].tolist() == [5, 2, 4]
    assert same(ddpm.per_dimension(node(12.0), node(np.zeros((1, 3)))), 4 / log(2))
