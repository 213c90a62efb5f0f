"""The textbook of bits tried: tables of two by two multiplied, Bayes' rule, sums over both values, detailed balance; in digits, and
with every edit.  A misprint would be seen."""

from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest

from refdpm.textbook import bits
from refdpm.textbook.bits import of_prob
from refdpm.textbook.chain import row
from refdpm.textbook.digits import digits
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import given, log, node
from refdpm.textbook.page import Page
from refdpm.textbook.values import floats

BETA = np.array([0.0, 0.125, 0.25, 0.5, 0.375])
T = np.array([2, 3, 4, 2, 3, 4, 4, 3])
X_T, X_0, R, Z, Q, P, NOISE = map(given, ("x_t", "x_0", "r", "z", "q", "p", "noise"))
RNG = np.random.default_rng(5)
BITS = {"x_t": np.array([0, 1, 0, 1, 0, 1, 0, 1.0])[:, None], "x_0": np.array([0, 0, 1, 1, 1, 0, 0, 1.0])[:, None]}
PAGE = Page(BITS | {name: RNG.uniform(0.1, 0.9, (8, 1)) for name in ("q", "p", "noise")}
            | {"z": RNG.normal(size=(8, 1)), "r": 0.3}, beta=BETA, t=T)
QUESTIONABLE = PAGE.at(T, q=np.array([[0.0], [1.0]] * 4), p=np.array([[0.0], [1.0], [0.25], [0.875]] * 2))


def worth(*formulas, page=PAGE):
    return [np.asarray(value, dtype=np.float64) for value in digits(formulas, page).values]


def same(*formulas, page=PAGE):
    """Whether all are worth the same, in digits."""
    first, *others = digits(formulas, page).values
    return all(x.is_finite() and abs(x - y) <= Decimal("1e-25") for other in others for x, y in np.broadcast(first, other))


def unseen(formula, expected, page=PAGE):
    """The edits of a formula that leave it what it should be."""
    def holds(one):
        value, = floats([one], page)
        return bool(np.allclose(value, expected, rtol=1e-9, atol=1e-9))

    assert np.allclose(worth(formula, page=page)[0], expected, rtol=1e-12, atol=1e-14)
    return {edit.says for edit in edits(formula) if holds(edit.formulas[0])} - OF_BITS


OF_BITS = {f"{word} of {x} for {x}" for word in ("root", "square") for x in ("x_t", "x_0")}            # of 0 and of 1
OF_1_AND_0 = {"factor left out: 1", "factor left out: α_t", "divided by 1, for times", "divided by α_t, for times",
              "minus for plus before 0 α_t", "term left out: 0 α_t"}                                   # in 1 α and 0 α


# -- by tables of two by two -------------------------------------------------------------------------------------------------

def table(beta):
    """q(x_t = column | x_{t−1} = row) with r = 0.3."""
    return np.array([[1 - 0.3 * beta, 0.3 * beta], [0.7 * beta, 1 - 0.7 * beta]])


STEP = [table(beta) for beta in BETA]
SO_FAR = [np.eye(2), *(np.linalg.multi_dot([np.eye(2), *STEP[1:t + 1], np.eye(2)]) for t in range(1, 5))]


def by_tables(what):
    """what(t, x_t, x_0) of every row."""
    return np.array([[what(t, int(x_t), int(x_0))] for t, x_t, x_0 in zip(T, BITS["x_t"][:, 0], BITS["x_0"][:, 0])])


def joint(t, x_t, x_0):
    """q(x_{t−1}, x_t | x_0) for both x_{t−1}."""
    return SO_FAR[t - 1][x_0] * STEP[t][:, x_t]


def average(t, x_t, x_0, z):
    """q(x_{t−1} = 1 | x_t, x_0) averaged over x_0, whose odds are e^z times those of stationary data."""
    weight = np.array([0.7, 0.3]) * SO_FAR[t][:, x_t] * np.exp([0, z])
    return sum(weight[k] / weight.sum() * joint(t, x_t, k)[1] / SO_FAR[t][k, x_t] for k in (0, 1))


ROWS = row()


@pytest.mark.eq("2", "App.1 B forward")
def test_a_step_is_its_table():
    one, zero = bits.forward(X_0, ROWS, R)
    assert not unseen(one, by_tables(lambda t, x_t, x_0: STEP[t][x_0, 1]))
    assert same(one + zero, node(1))


@pytest.mark.eq("App.1 B marginal")
def test_steps_compose():
    assert not unseen(bits.marginal(X_0, ROWS, R).one, by_tables(lambda t, x_t, x_0: SO_FAR[t][x_0, 1]))
    m, one, zero = bits.before(X_0, ROWS, R), bits.forward(node(1), ROWS, R), bits.forward(node(0), ROWS, R)
    assert same(bits.marginal(X_0, ROWS, R).one, m.one * one.one + m.zero * zero.one)


@pytest.mark.eq("1", "44", "App.1 B prior")
def test_the_prior_is_stationary_and_the_step_reversible():
    one, zero, pi = bits.forward(node(1), ROWS, R), bits.forward(node(0), ROWS, R), of_prob(R)
    assert same(pi.one, pi.one * one.one + pi.zero * zero.one) and same(pi.zero * zero.one, pi.one * one.zero)


@pytest.mark.eq("47", "48", "App.1 B posterior")
def test_the_posterior_is_bayes_rule():
    expected = by_tables(lambda t, x_t, x_0: joint(t, x_t, x_0)[1] / SO_FAR[t][x_0, x_t])
    p = bits.posterior(X_T, X_0, ROWS, R)
    assert unseen(p.one, expected) == OF_1_AND_0
    assert same(bits.log_odds(p), bits.posterior_log_odds(X_T, X_0, ROWS, R)) and same(p.one + p.zero, node(1))


# -- measures ----------------------------------------------------------------------------------------------------------------

def kl_by_sums(q, p):
    return sum(a * np.log(a / b) for a, b in ((q, p), (1 - q, 1 - p)))


@pytest.mark.parametrize("name", ["kl", "cross_entropy", "entropy", "log_prob"])
def test_measures_are_sums_over_both_values(name):
    q, p = PAGE.given["q"], PAGE.given["p"]
    cross = -q * np.log(p) - (1 - q) * np.log(1 - p)
    formula, expected = {"kl": (bits.kl(of_prob(Q), of_prob(P)), kl_by_sums(q, p)),
                         "cross_entropy": (bits.cross_entropy(of_prob(Q), of_prob(P)), cross),
                         "entropy": (bits.entropy(of_prob(Q)), -q * np.log(q) - (1 - q) * np.log(1 - q)),
                         "log_prob": (bits.log_prob(X_T, of_prob(P)), np.log(np.where(BITS["x_t"] == 1, p, 1 - p)))}[name]
    assert not unseen(formula, expected)


def test_what_cannot_be_adds_nothing():
    kl, entropy = worth(bits.kl(of_prob(Q), of_prob(P)), bits.entropy(of_prob(Q)), page=QUESTIONABLE)
    assert not entropy.any() and np.array_equal(kl[:2], np.zeros((2, 1)))
    assert np.allclose(kl[2:4, 0], [np.log(4 / 3), -np.log(0.875)])


def test_identities_of_the_measures():
    q, p, pi = of_prob(Q), of_prob(P), bits.of_logit(Z)
    assert same(bits.kl(q, p), bits.cross_entropy(q, p) - bits.entropy(q))
    assert same(bits.log_prob(X_T, p), -bits.cross_entropy(of_prob(X_T), p))
    assert same(bits.log_odds(pi), Z) and same(pi.one + pi.zero, node(1))
    half, quarter, page = of_prob(node(0.5)), of_prob(node(0.25)), Page({})
    assert same(bits.kl(half, quarter), log(node(4) / 3) / 2, page=page) and same(bits.entropy(half), log(node(2)), page=page)


def test_a_draw_is_a_threshold():
    expected = (PAGE.given["noise"] < PAGE.given["p"]).astype(float)
    assert 0 < expected.sum() < 8 and not unseen(bits.draw(of_prob(P), NOISE), expected)


# -- read-outs and the network -------------------------------------------------------------------------------------------------

@pytest.mark.eq("App.1 B reverse")
def test_denoising_is_an_average_over_x_0():
    p = np.array([average(t, int(x), 0, z) for t, x, z in zip(T, BITS["x_t"][:, 0], PAGE.given["z"][:, 0])])[:, None]
    left = unseen(bits.denoising(Z, X_T, ROWS, R), np.log(p) - np.log(1 - p))
    assert all("> 0" in says or "z + log(r)" in says for says in left), left                # of the two cases of one sigmoid


@pytest.mark.eq("App.1 B reverse")
def test_read_outs_start_at_the_forward_kernel():
    forward = bits.log_odds(bits.forward(X_T, ROWS, R))
    for readout in ("skip", "denoising"):
        assert same(bits.read_out(node(0), X_T, ROWS, R, readout), forward)
    assert same(bits.read_out(Z, X_T, ROWS, R, "skip"), forward + Z) and bits.read_out(Z, X_T, ROWS, R, "paper") is Z


def test_denoising_that_is_certain_of_x_0_is_the_posterior():
    for x_0 in (0, 1):
        certain = bits.denoising(node(400 * (2 * x_0 - 1)), X_T, ROWS, R)
        assert same(certain, bits.posterior_log_odds(X_T, node(x_0), ROWS, R))


@pytest.mark.parametrize("last", ["per_step", "bumps"])
def test_the_network_by_hand(last):
    """r = ½, so that a one is 1 and a zero −1.  Both hidden units are tanh(±½ log 3) = ±½; z = (¼, 1), plus biases of ½ and 2."""
    layer = SimpleNamespace(weight=node(np.log(3) / 2 * np.eye(2)), bias=node(np.zeros(2)))
    weight, bias = np.array([[0.5, 1.0], [0.0, -1.0]]), np.array([0.5, 2.0])
    if last == "per_step":
        weight, bias = (np.stack([0 * x, 0 * x, 9 + x, x]) for x in (weight, bias))
    else:
        weight, bias = weight.repeat(10, axis=1), bias.repeat(10)
    parameters = SimpleNamespace(hidden=(layer,), weight=node(weight), bias=node(bias))
    z = bits.heartbeat(parameters, node(np.array([[1.0, 0.0]])), ROWS, node(0.5), t=np.array([3]), T=4, readout="paper", last=last)
    value, = worth(z)
    assert np.allclose(value, [[0.75, 3.0]], rtol=1e-15)


# -- the bound -----------------------------------------------------------------------------------------------------------------

@pytest.mark.eq("14", "44", "App.1 B bound")
def test_stationary_data_gain_nothing():
    """One bit, r = 0.3, and the forward kernel as the model: over all (x_0, x_2, x_3) K is −H(π) on average."""
    every = np.array([(x_0, x_2, x_3) for x_0 in (0, 1) for x_2 in (0, 1) for x_3 in (0, 1)], dtype=float)
    weight = np.array([(0.7, 0.3)[int(a)] * SO_FAR[2][int(a), int(b)] * SO_FAR[3][int(a), int(c)] for a, b, c in every])
    page = Page({"x_0": every[:, :1], "x_t": every[:, 1:].T[..., None], "r": 0.3}, beta=BETA[:4], t=np.array([2, 3]), ndim=3,
                steps=True)
    K = bits.bound(bits.step_kl(X_T, X_0, ROWS, R, lambda x_t: bits.forward(x_t, ROWS, R)), X_0, row(at=1), row(at="T"), R)
    null = 0.7 * np.log(0.7) + 0.3 * np.log(0.3)
    assert abs(weight @ worth(K, page=page)[0] - null) < 1e-15
    right = []
    for edit in edits(K):
        value = np.asarray(floats(edit.formulas, page)[0])
        if value.shape == weight.shape and abs(weight @ value - null) < 1e-9 and "components" not in edit.says:      # of which one
            right.append(edit.says)
    assert set(right) - OF_BITS == OF_1_AND_0 | {"r for x_0", "α_1 for ᾱ_1", "ᾱ_{T+1} for ᾱ_T"}          # and there is no T + 1
