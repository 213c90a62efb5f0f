"""The textbook of symbols tried: matrices multiplied, Bayes' rule class by class, sums over x_0, and bits as two classes; in
digits, and with every edit."""

from decimal import Decimal

import numpy as np
import pytest

from refdpm.textbook import bits, symbols
from refdpm.textbook.chain import row
from refdpm.textbook.digits import digits
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import given, kept, log, node
from refdpm.textbook.page import Page
from refdpm.textbook.values import floats

BETA = np.array([0.0, 0.125, 0.25, 0.5, 0.375])
T = np.array([2, 3, 4, 4, 3])
WHICH_T, WHICH_0 = np.array([0, 1, 2, 0, 1]), np.array([0, 0, 1, 2, 1])
LOGITS = np.random.default_rng(6).normal(size=(5, 3))
SAID = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
X_T, X_0, Z, K = map(given, ("x_t", "x_0", "z", "k"))
PAGE = Page({"x_t": np.eye(3)[WHICH_T], "x_0": np.eye(3)[WHICH_0], "z": LOGITS, "k": 3}, beta=BETA, t=T)
STEP = [(1 - beta) * np.eye(3) + beta / 3 for beta in BETA]
SO_FAR = [np.linalg.multi_dot([np.eye(3), np.eye(3), *STEP[1:t + 1]]) for t in range(5)]
ROWS = row()
OF_SYMBOLS = {f"{word} of {x} for {x}" for word in ("root", "square") for x in ("x_t", "x_0")}         # of 0 and of 1


def worth(formula, page=PAGE):
    return np.asarray(digits([formula], page).values[0], dtype=np.float64)


def unseen(formula, expected, page=PAGE):
    """The edits of a formula that leave it what it should be."""
    def holds(one):
        try:
            value, = floats([one], page)
        except ValueError:                                                # of another shape
            return False
        return bool(value.shape == np.shape(expected) and np.allclose(value, expected, rtol=1e-9, atol=1e-9))

    assert np.allclose(worth(formula, page), expected, rtol=1e-12, atol=1e-14)
    return {edit.says for edit in edits(formula) if holds(edit.formulas[0])} - OF_SYMBOLS


def bayes(t, x_t, x_0):
    """q(x_{t−1} | x_t, x_0), class by class."""
    return SO_FAR[t - 1][x_0] * STEP[t][:, x_t] / SO_FAR[t][x_0, x_t]


def said(mixing, t, x_t, p):
    """p(x_{t−1} | x_t), by sums over x_0."""
    weight = p if mixing == "average" else p * SO_FAR[t][:, x_t]
    return sum(w * bayes(t, x_t, k) for k, w in enumerate(weight)) / weight.sum()


@pytest.mark.parametrize("formula, expected", [(symbols.forward, STEP), (symbols.marginal, SO_FAR)])
def test_matrices_multiply(formula, expected):
    page = Page({"x": np.eye(3)[None], "k": 3}, beta=BETA, t=T, ndim=3)
    assert not unseen(formula(given("x"), ROWS, K), np.array(expected)[T], page) - {"root of x for x", "square of x for x"}
    assert np.array_equal(worth(formula(given("x"), ROWS, K), page), worth(formula(given("x"), ROWS), page))


def test_the_posterior_is_bayes_rule():
    expected = np.array([bayes(*which) for which in zip(T, WHICH_T, WHICH_0)])
    for classes in (K, None):
        assert not unseen(symbols.posterior(X_T, X_0, ROWS, classes), expected)


def test_soft_symbols_need_not_add_to_1():
    """The posterior and its normaliser are of one degree in either symbol: Σ_k e_k m_k is q(x_t | x_0) for any."""
    total, = digits([kept(symbols.posterior(X_T * 3, Z * Z, ROWS), "classes")], PAGE).values
    assert all(abs(value - 1) < Decimal("1e-25") for value in total.ravel())


@pytest.mark.parametrize("mixing", ["joint", "joint_but_first", "average"])
def test_the_reverse_step_is_a_sum_over_x_0(mixing):
    formula = symbols.reverse(Z, X_T, ROWS, symbols.marginal(X_T, ROWS, K), mixing, K)
    times = np.array([2, 1, 4, 4, 3])
    expected = np.array([p if t == 1 and mixing == "joint_but_first" else said(mixing, t, x_t, p)
                         for t, x_t, p in zip(times, WHICH_T, SAID)])
    left = {says for says in unseen(formula, expected, PAGE.at(times)) if "z" not in says}                # of softmax's largest
    assert left <= {"mean for the sum over classes"}, left                       # of p̂, where only its ratios count
    assert np.allclose(worth(formula, PAGE.at(np.ones(5, int))), SAID, rtol=1e-12) == (mixing != "joint")


def test_two_classes_are_bits():
    page = Page({"x_t": np.eye(2)[[0, 1, 1, 0]], "x_0": np.eye(2)[[0, 0, 1, 1]], "k": 2}, beta=BETA, t=np.array([2, 3, 4, 4]))
    alone = Page({name: page.given[name][:, 1:] for name in ("x_t", "x_0")}, beta=BETA, t=page.t)
    for symbol, bit in ((symbols.marginal(X_0, ROWS, K), bits.marginal(X_0, ROWS, node(0.5))),
                        (symbols.posterior(X_T, X_0, ROWS, K), bits.posterior(X_T, X_0, ROWS, node(0.5)))):
        assert np.allclose(worth(symbol, page)[:, 1:], worth(bit.one, alone), rtol=1e-15)


def test_divergence_by_hand():
    """KL((½, ½, 0) ‖ (¼, ½, ¼)) = ½ log 2; the form for any weights is the same for laws, and is a divergence for 2q and p too."""
    q, p = given("q"), given("p")
    page = Page({"q": np.array([[0.5, 0.5, 0.0]]), "p": np.array([[0.25, 0.5, 0.25]])})
    for formula in (symbols.kl, symbols.kl_of_any):
        assert unseen(formula(q, p), [np.log(2) / 2], page) <= {"all left out but q (log(q) − log(p))"}    # the same for laws
    twice = worth(symbols.kl_of_any(2 * q, p) - (2 * symbols.kl(q, p) + 2 * log(node(2)) - 1), page)
    assert abs(twice) < 1e-25
