"""The binomial kernel against printed digits, where float64 would run out, and under the exchange of zeros and ones.

The kit's checks (`conformance.checks.binomial`, `.bits`) compare every function with tables and with enumeration.
"""

import numpy as np
import pytest

from refdpm import binomial, bound, schedule
from refdpm.binomial import Bernoulli
from refdpm.conformance.checks.bits import Chain, every_draw, network
from refdpm.conformance.checks.common import column
from refdpm.oracles import enumeration
from refdpm.vjp import fix

X_T, X_0 = column(0, 1, 0, 1), column(0, 0, 1, 1)


def posterior_at(t, T, rate):
    beta = schedule.reciprocal(T)
    step = schedule.step(beta, schedule.log_alpha_bar(beta), t=np.full(4, t), ndim=2)
    return binomial.posterior(X_T, X_0, step.beta, step.log_alpha_bar_prev, rate=rate)


@pytest.mark.eq("48", "App.1 B posterior")
@pytest.mark.parametrize("rate,t,printed", [
    (0.5, 2, (0.015625, 0.4375, 0.5625, 0.984375)), (0.5, 3, (0.04761905, 0.55555556, 0.44444444, 0.95238095)),
    (0.5, 4, (0.125, 0.5625, 0.4375, 0.875)), (0.5, 5, (0.4, 0.4, 0.6, 0.6)),
    (0.2, 2, (0.00869565, 0.4, 0.525, 0.98823529)), (0.2, 3, (0.02424242, 0.48888889, 0.37777778, 0.95897436)),
    (0.2, 4, (0.05714286, 0.45, 0.325, 0.86666667)), (0.2, 5, (0.16, 0.16, 0.36, 0.36))])
def test_table_of_posteriors(rate, t, printed):
    """PAPER §2, all printed digits, for (x_0, x_t) = (0, 0), (0, 1), (1, 0), (1, 1)."""
    assert np.round(posterior_at(t, 5, rate).prob, 8) == pytest.approx(column(*printed), abs=1e-12)


@pytest.mark.eq("48")
@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_flip_rates_of_a_long_chain_keep_their_digits(rate):
    """T = 2000, t = 2: before x_2 = x_0 the bit was the other one with odds m β c/[(1−m)(1 − β c)], about 4e-8 for a zero at
    r = 0.2; the complement 1 − p would have eight digits of that left."""
    def odds(other):                                            # other: the rate of what the bit is not
        m, drawn = other / 2000, (1 - other) / 1999
        return m * drawn / ((1 - m) * (1 - other / 1999))

    logit = posterior_at(2, 2000, rate).logit
    assert np.exp([logit[0, 0], -logit[3, 0]]) == pytest.approx([odds(rate), odds(1 - rate)], rel=1e-13, abs=0)
    assert 3e-8 < np.exp(logit[0, 0]) < 7e-8


@pytest.mark.eq("1", "2", "App.1 B prior")
@pytest.mark.parametrize("rate", [0.5, 0.2, 0.37])
def test_a_step_that_draws_every_bit_anew_gives_the_prior(rate):
    """At β = 1 the step forgets, and the last posterior is the marginal before it, whatever x_T."""
    pi = binomial.prior((4, 1), rate=rate)
    assert binomial.forward(X_0, np.ones((4, 1)), rate=rate).logit == pytest.approx(pi.logit, abs=1e-15)
    before = binomial.marginal(X_0, np.full((4, 1), np.log(0.2)), rate=rate)
    assert posterior_at(5, 5, rate).logit == pytest.approx(before.logit, rel=1e-14)


def bound_of(chain, logits):
    """Every x_0, every x_t: the value of K for each row, and its weight."""
    x_0, noise, weight = every_draw(chain)
    t = bound.every_step(len(chain.beta) - 1, len(x_0))
    value = bound.bound((), chain.beta, x_0, noise=noise, t=t, kernel=fix(binomial, rate=chain.rate), network=network(logits))
    return value, weight


@pytest.mark.eq("14", "App.1 B bound")
def test_zeros_and_ones_exchanged():
    """K(x) = K(1 − x) at r = ½, with the model exchanged too; the law of x_0 read backwards is that of 1 − x_0."""
    def logits(x, t):
        return 2 * x - 0.3 - 0.4 * np.roll(x, 1, axis=1) - 0.1 * t

    chain = Chain(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 1e-3, 0.2, 0.5]), 0.5)
    value, weight = bound_of(chain, logits)
    mirrored, exchanged = bound_of(chain._replace(data=chain.data[::-1]), lambda x, t: -logits(1 - x, t))
    assert exchanged @ mirrored == pytest.approx(weight @ value, rel=1e-14)


@pytest.mark.eq("14", "App.1 B bound")
@pytest.mark.parametrize("n,period,rate,K", [(2, 2, 1 / 2, -1.946005), (4, 2, 1 / 2, -3.721759), (6, 3, 1 / 3, -5.198592),
                                             (6, 3, 1 / 2, -5.511177)])
def test_table_of_short_sequences(n, period, rate, K):
    """PAPER §4.2 at T = 3 under the best factorised model, all printed digits: bits per sequence."""
    data, beta = enumeration.distribution(enumeration.periodic(n, period)), schedule.reciprocal(3)
    best = enumeration.optimal_reverse(data, beta, rate=rate)

    def logits(x, t):
        p = np.where(t == 2, best(x.astype(int), 2), best(x.astype(int), 3))
        with np.errstate(divide="ignore"):
            return np.log(p) - np.log1p(-p)

    value, weight = bound_of(Chain(data, beta, rate), logits)
    assert np.round(weight[weight > 0] @ value[weight > 0] / np.log(2), 6) == pytest.approx(K, abs=1e-9)


def test_laws_that_are_certain():
    """Beyond all floats: logit 800 is P(1) = 1, without entropy, and a KL from it is the other's surprise; nothing overflows."""
    sure, other = Bernoulli(np.array([800.0, -800.0])), Bernoulli(np.array([0.5, 0.5]))
    assert np.array_equal(sure.prob, [1, 0]) and np.array_equal(binomial.entropy(sure), [0, 0])
    assert binomial.kl(sure, other) == pytest.approx([np.log1p(np.exp(-0.5)), np.log1p(np.exp(0.5))], rel=1e-14)
    assert np.array_equal(binomial.log_prob(np.array([1.0, 0.0]), sure), [0, 0])
    assert np.array_equal(binomial.log_prob(np.array([0.0, 1.0]), sure), [-800, -800])


def test_what_is_certain_has_no_entropy_and_no_surprise():
    """Infinite logits: 0 · log 0 = 0 in values and pullbacks."""
    sure, x = Bernoulli(np.array([np.inf, -np.inf])), np.array([1.0, 0.0])
    (_, back), (_, back_mass) = binomial.entropy_vjp(sure), binomial.log_prob_vjp(x, sure)
    for found in (binomial.entropy(sure), binomial.log_prob(x, sure), binomial.cross_entropy(sure, sure), back(np.ones(2)).logit,
                  back_mass(np.ones(2))[1].logit):
        assert not found.any()
    assert np.array_equal(binomial.log_prob(1 - x, sure), [-np.inf, -np.inf])
