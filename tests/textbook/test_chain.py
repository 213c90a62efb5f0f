"""The formulas of the chain keep its identities in digits, and with any edit they break one: a misprint in them would be seen.

The identities: steps compose (Chapman and Kolmogorov), π is stationary, q(x_t | x_{t−1}) q(x_{t−1} | x_0) is q(x_t | x_0) times the
posterior (Bayes), a divergence is a cross-entropy less an entropy, a density is a cross-entropy of a point; and by hand ½ log 2πe.
"""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from refdpm.textbook import chain
from refdpm.textbook.chain import Normal, row
from refdpm.textbook.digits import digits
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import column, counting, given, node
from refdpm.textbook.page import Page
from refdpm.textbook.values import floats

BETA = np.array([0.0, 0.0625, 0.25, 0.40625, 0.125])
rng = np.random.default_rng(3)
PAGE = Page({name: rng.normal(size=(4, 3)) for name in ("x_0", "x_prev", "x_t", "m", "n")}
            | {name: np.exp(rng.normal(size=(4, 3))) for name in ("v", "w")}, beta=BETA, t=np.array([2, 4, 3, 2]))
X_0, X_PREV, X_T, M, V, N, W = map(given, ("x_0", "x_prev", "x_t", "m", "v", "n", "w"))
Q, P, ONE = Normal(M, V), Normal(N, W), Normal(node(0), node(1))

FORMULAS = {
    **{f"forward.{part}": one for part, one in chain.forward(X_PREV, row())._asdict().items()},
    **{f"marginal.{part}": one for part, one in chain.marginal(X_0, row())._asdict().items()},
    **{f"posterior.{part}": one for part, one in chain.posterior(X_T, X_0, row())._asdict().items()},
    "kl": chain.kl(Q, P), "entropy": chain.entropy(V), "cross_entropy": chain.cross_entropy(Q, P), "log_prob": chain.log_prob(N, Q)}


def identities(f):
    """What must be 0, from the value of every formula; with the formulas as they are printed for what stands beside them."""
    keep, beta, level = np.sqrt(1 - BETA[PAGE.t])[:, None], BETA[PAGE.t][:, None], np.cumprod(1 - BETA)
    before, after = level[PAGE.t - 1][:, None], level[PAGE.t][:, None]
    x_0, x_prev, x_t, m, v, n, w = (PAGE.given[name] for name in ("x_0", "x_prev", "x_t", "m", "v", "n", "w"))

    def log_normal(x, mean, var):
        return -np.log(2 * np.pi * var) / 2 - (x - mean) ** 2 / (2 * var)

    yield f["marginal.mean"] - keep * np.sqrt(before) * x_0                                  # steps compose
    yield f["marginal.var"] - ((1 - beta) * (1 - before) + beta)
    yield f["marginal.var"] + after - 1                                                       # π is stationary
    yield f["forward.var"] + f["forward.mean"] ** 2 / x_prev ** 2 - 1
    yield f["forward.var"] - beta
    yield (log_normal(x_t, keep * x_prev, beta) + log_normal(x_prev, np.sqrt(before) * x_0, 1 - before)                 # Bayes
           - log_normal(x_t, f["marginal.mean"], f["marginal.var"]) - log_normal(x_prev, f["posterior.mean"], f["posterior.var"]))
    yield f["kl"] - f["cross_entropy"] + f["entropy"]
    yield f["log_prob"] - log_normal(n, m, v)
    yield f["entropy"] - (np.log(2 * np.pi * np.e * v) / 2)
    yield f["cross_entropy"] + log_normal(m, n, w) - v / (2 * w)


def residual(values):
    with np.errstate(all="ignore"):
        return max(float(np.max(np.nan_to_num(np.abs(one), nan=np.inf))) for one in identities(values))


RIGHT = dict(zip(FORMULAS, floats(FORMULAS.values(), PAGE)))


def test_the_identities_hold():
    assert residual(RIGHT) < 1e-13


# equal to the formula on any input: the difference is squared
SAME = {"kl": {"m − n the other way round"}, "cross_entropy": {"m − n the other way round"},
        "log_prob": {"n − m the other way round"}}


@pytest.mark.parametrize("name", FORMULAS)
def test_every_edit_breaks_one(name):
    kept = set()
    for edit in edits(FORMULAS[name]):
        try:
            wrong = np.broadcast_to(floats(edit.formulas, PAGE)[0], RIGHT[name].shape)
        except ValueError:                                           # of another shape
            continue
        if not residual(RIGHT | {name: wrong}) > 1e-6:
            kept.add(edit.says)
    assert kept == SAME.get(name, set())


def test_forms_of_one_quantity_are_equal_in_digits():
    """KL of a law with itself, with a law of the same mean, and as cross-entropy less entropy; ½ log 2πe by hand."""
    difference = chain.kl(Q, P) - chain.cross_entropy(Q, P) + chain.entropy(V)
    itself, one = chain.kl(Q, Q), chain.entropy(node(1))
    found = digits([difference, itself, one], PAGE).values
    assert max(abs(x) for x in found[0].ravel()) < Decimal("1e-40") and not any(found[1].ravel())
    assert abs(found[2] - Decimal("1.418938533204672741780329736405617639861397473637783412817151540")) < Decimal("1e-55")


# -- schedules ---------------------------------------------------------------------------------------------------------

def rates(formula, **fixed):
    return digits([formula], Page({name: np.asarray(value, dtype=float) for name, value in fixed.items()}, ndim=1)).values[0]


@pytest.fixture(autouse=True)
def eighty_digits():
    with localcontext() as context:
        context.prec = 80
        yield


def close(a, b, within="1e-40"):
    return all(abs(x - y) < Decimal(within) for x, y in zip(a, b, strict=True))


def test_levels_of_the_named_schedules_are_what_they_are_made_for():
    T, first, last, offset, cap = map(given, ("T", "beta_1", "beta_T", "offset", "cap"))
    reciprocal = rates(chain.reciprocal(T), T=7)
    left = [Decimal(1)]
    for beta in reciprocal:
        left.append(left[-1] * (1 - beta))
    assert close(left, [1 - Decimal(t) / 7 for t in range(8)])
    linear = rates(chain.linear(T, first, last), T=5, beta_1=0.25, beta_T=0.75)
    assert [float(x) for x in linear] == [0.25, 0.375, 0.5, 0.625, 0.75]
    geometric = rates(chain.geometric(T, first, last), T=4, beta_1=0.125, beta_T=0.5)
    assert close(geometric ** 3, [Decimal(x) for x in (2.0 ** -9, 2.0 ** -7, 2.0 ** -5, 2.0 ** -3)])
    assert all(float(rates(of(T, first, last), T=1, beta_1=0.25, beta_T=0.75)[0]) == 0.25 for of in (chain.linear, chain.geometric))
    cosine = rates(chain.cosine(T, offset, cap), T=6, offset=0.125, cap=1.0)
    kept = np.cumprod([1 - float(beta) for beta in cosine])
    squares = np.cos(np.pi / 2 * (np.arange(7) / 6 + 0.125) / 1.125) ** 2
    assert kept == pytest.approx(squares[1:] / squares[0], abs=1e-15)
    assert [float(x) for x in rates(chain.cosine(T, offset, cap), T=1, offset=0.125, cap=0.5)] == [0.5]


def test_a_learned_schedule_is_the_inverse_of_its_logits():
    x = np.array([-30.0, -0.5, 0.0, 2.0])
    again = digits([chain.logits_of(row())], Page({}, beta=np.array([0, 0.25, 0.5, 0.75]), t=np.array([1, 2, 3]), ndim=1)).values[0]
    assert close(again, [-Decimal(3).ln(), Decimal(0), Decimal(3).ln()])
    beta = rates(chain.learned(given("x"), given("beta_1")), x=x, beta_1=0.375)
    assert float(beta[0]) == 0.375 and close([(b / (1 - b)).ln() for b in beta[1:]], [Decimal(float(a)) for a in x], "1e-25")


def test_fewer_steps_have_the_levels_of_the_kept_ones():
    beta = digits([chain.respaced((1, 3, 4))], Page({}, beta=BETA, ndim=1)).values[0]
    level = np.cumprod(1 - BETA)
    assert [float(x) for x in beta] == pytest.approx([1 - level[1], 1 - level[3] / level[1], 1 - level[4] / level[3]], rel=1e-15)


def test_counting_and_columns_at_the_ends():
    one, last, first = floats([counting(node(3)), column("alpha_bar", at="T"), column("beta", at=1)], PAGE)
    assert one.tolist() == [1, 2, 3] and last == pytest.approx(np.prod(1 - BETA)) and first == BETA[1]
