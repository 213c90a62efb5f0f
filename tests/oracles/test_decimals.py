"""The oracle in decimals, against what can be known without it: rational arithmetic, printed digits, identities."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
import math
import random

import pytest

from refdpm.oracles import decimals, decimals_binomial
from refdpm.oracles.decimals import PI, Exact

TINY = Decimal("1e-50")
HALF_LOG_2PI = Decimal("0.918938533204672741780329736405617639861397473637783412817151540483")
LOG_2 = Decimal("0.693147180559945309417232121458176568075500134360255254120680009493")
LOG_3 = Decimal("1.098612288668109691395245236922525704647490557822749451734694333637")
E = Decimal("2.718281828459045235360287471352662497757247093699959574966967627724")


@pytest.fixture(autouse=True)
def many_digits():
    with localcontext(Context(prec=90)):
        yield


def same(got, expected, tolerance=TINY):
    """Equal to 50 digits; `got` is Exact or Decimal, `expected` a number of any kind."""
    value, exact = got.value if isinstance(got, Exact) else got, as_decimal(expected)
    return abs(value - exact) <= tolerance * max(abs(exact), Decimal("1e-40"))


def as_decimal(x):
    return Decimal(x.numerator) / x.denominator if isinstance(x, Fraction) else Decimal(x)


def machin():
    """π = 16 arctan(1/5) − 4 arctan(1/239), in rational numbers."""
    def arctan(n):
        return sum(Fraction((-1) ** k, (2 * k + 1) * n ** (2 * k + 1)) for k in range(80))
    return 16 * arctan(5) - 4 * arctan(239)


# -- digits ------------------------------------------------------------------------------------------------------------

def test_pi():
    assert same(PI, machin(), Decimal("1e-85"))


KNOWN = {
    "softplus at 0": lambda: (decimals.softplus(0.0), LOG_2),
    "softplus at log 2": lambda: (decimals.softplus(LOG_2), LOG_3),
    "sigmoid at log 3": lambda: (decimals.sigmoid(LOG_3), Fraction(3, 4)),
    "sigmoid at 1": lambda: (decimals.sigmoid(1.0), E / (1 + E)),
    "logit of 3/4": lambda: (decimals.logit(0.75), LOG_3),
    "tanh at log 2": lambda: (decimals.tanh(LOG_2), Fraction(3, 5)),
    "leaky_relu": lambda: (decimals.leaky_relu(-4.0, 0.25), -1),
    "entropy": lambda: (decimals.entropy(1.0), HALF_LOG_2PI + Decimal("0.5")),
    "log_prob": lambda: (decimals.log_prob(3.0, 1.0, 1.0), -HALF_LOG_2PI - 2),
    "cross_entropy": lambda: (decimals.cross_entropy(3.0, 2.0, 1.0, 1.0), HALF_LOG_2PI + 3),
    "x_minus_log1p": lambda: (decimals.x_minus_log1p(1.0), 1 - LOG_2),
    "expm1_minus_x": lambda: (decimals.expm1_minus_x(1.0), E - 2),
    "linear layer": lambda: (decimals.linear_layer([1.0, 2.0], [[3.0, 5.0], [4.0, -1.0]], [0.5, 0.25])[1], Fraction(13, 4)),
    "binomial prior": lambda: (decimals_binomial.prior(0.75).logit, LOG_3),
    "binomial forward": lambda: (decimals_binomial.forward(1.0, 0.5, 0.5).logit, LOG_3),
    "binomial marginal": lambda: (decimals_binomial.marginal(0.0, -LOG_2, 0.5).logit, -LOG_3),
    "binomial entropy": lambda: (decimals_binomial.entropy(0.0), LOG_2),
    "binomial cross_entropy": lambda: (decimals_binomial.cross_entropy(LOG_3, LOG_3), 2 * LOG_2 - Decimal("0.75") * LOG_3),
    "binomial log_prob": lambda: (decimals_binomial.log_prob(0.0, LOG_3), -2 * LOG_2),
    "binomial kl": lambda: (decimals_binomial.kl(LOG_3, 0.0), Decimal("0.75") * LOG_3 - LOG_2),
    "draw": lambda: (decimals.draw(1.0, 2.25, -2.0), -2),
    "kl of variances": lambda: (decimals.kl(0.0, 2.0, 0.0, 1.0), (1 - LOG_2) / 2),
    "kl of means": lambda: (decimals.kl(5.0, 3.0, 2.0, 3.0), Fraction(3, 2)),
    "cosine at its end": lambda: (decimals.cosine(1, 1, 0.25, 1.0), 1),
    "cosine from π/4 to 3π/8": lambda: (decimals.cosine(2, 1, 1.0, 1.0), Decimal("0.5").sqrt()),
    "cosine, capped": lambda: (decimals.cosine(2, 2, 1.0, 0.875), Fraction(7, 8)),
    "geometric in the middle": lambda: (decimals.geometric(3, 2, 0.0625, 0.25), Fraction(1, 8)),
    "geometric of one step": lambda: (decimals.geometric(1, 1, 0.0625, 0.25), Fraction(1, 16)),
    "linear": lambda: (decimals.linear(5, 2, 0.25, 0.5), Fraction(5, 16)),
    "reciprocal": lambda: (decimals.reciprocal(7, 5), Fraction(1, 3)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_digits(name):
    got, expected = KNOWN[name]()
    assert same(got, expected)


# -- identities --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("x", [0.0, 1e-12, 0.3, 36.7, 800.0])
def test_element_wise_functions_and_their_reflections(x):
    assert same(decimals.sigmoid(x).value + decimals.sigmoid(-x).value, 1)
    assert same(decimals.softplus(x).value - decimals.softplus(-x).value, Decimal(x))
    assert same(decimals.tanh(x), -decimals.tanh(-x).value)
    assert same(decimals.tanh(x), 2 * decimals.sigmoid(2 * x).value - 1)
    assert same(decimals.logit(decimals.sigmoid(-x).value), -Decimal(x))


def test_softplus_far_below_zero_is_the_exponential():
    assert same(decimals.softplus(-800.0).value * Decimal(800).exp(), 1)


@pytest.mark.parametrize("delta", [Fraction(1, 2 ** 52), Fraction(-1, 2 ** 50), Fraction(1, 2 ** 20)])
def test_kl_near_equality_is_its_power_series(delta):
    series = sum(Fraction((-1) ** k, k) * delta ** k for k in range(2, 12)) / 2
    assert same(decimals.kl(1.0, float(1 + delta), 1.0, 1.0), series, Decimal("1e-30"))


def test_kl_of_a_law_with_itself_is_zero():
    assert decimals.kl(0.1, 0.3, 0.1, 0.3) == Exact(Decimal(0), Decimal(0))


@pytest.mark.parametrize("var", [1e-12, 0.3, 1e6])
def test_one_deviation_from_the_mean_the_log_density_is_minus_the_entropy(var):
    assert same(decimals.log_prob(Decimal(2) + Decimal(var).sqrt(), 2.0, var), -decimals.entropy(var).value)


# -- the kernel, by rational arithmetic ----------------------------------------------------------------------------------

ROOT_A, KEEP = Fraction(3, 5), Fraction(12, 13)                  # √ᾱ_{t−1} and √(1−β), so that both roots are rational
A, BETA = ROOT_A ** 2, 1 - KEEP ** 2


@pytest.mark.eq("48", "App.1 G posterior")
@pytest.mark.parametrize("x_t, x_0", [(1, 1), (-3, 2), (0, 5), (7, 0)])
def test_posterior_is_bayes_rule(x_t, x_0):
    """log N(x; √a x_0, 1−a) + log N(x_t; √(1−β) x, β) is a quadratic in x: three values give its peak and its curvature."""
    def twice_log(x):
        return -(x - ROOT_A * x_0) ** 2 / (1 - A) - (x_t - KEEP * x) ** 2 / BETA
    low, middle, high = (twice_log(x) for x in (-1, 0, 1))
    precision, slope = -(low + high - 2 * middle) / 2, (high - low) / 4
    law = decimals.posterior(float(x_t), float(x_0), as_decimal(BETA), as_decimal(A).ln())
    assert same(law.var, 1 / precision) and same(law.mean, slope / precision)


@pytest.mark.eq("App.1 G forward", "App.1 G marginal")
def test_forward_and_marginal():
    level = as_decimal(A).ln()
    assert same(decimals.marginal(2.0, level).mean, 2 * ROOT_A) and same(decimals.marginal(2.0, level).var, 1 - A)
    assert same(decimals.forward(2.0, as_decimal(BETA)).mean, 2 * KEEP) and same(decimals.forward(2.0, 0.1).var, Fraction(0.1))


# -- bits, by rational arithmetic --------------------------------------------------------------------------------------

def bits_forward(x, beta, rate):
    return x * (1 - beta) + rate * beta


@pytest.mark.eq("48", "App.1 B posterior")
@pytest.mark.parametrize("x_t, x_0", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_binomial_posterior_is_bayes_rule_over_a_chain(x_t, x_0):
    beta = [0.0, 0.25, 1e-9, 0.5, 0.75]
    rate, drawn = Fraction(0.2), Fraction(x_0)
    found = decimals_binomial.chain_posterior(beta, [2, 3, 4], x_t, x_0, 0.2)
    for t in (2, 3, 4):
        drawn = bits_forward(drawn, Fraction(beta[t - 1]), rate)
        one, zero = (bits_forward(x, Fraction(beta[t]), rate) for x in (1, 0))
        if not x_t:
            one, zero = 1 - one, 1 - zero
        odds = drawn * one / ((1 - drawn) * zero)
        assert same(found[t].logit.value.exp(), odds)
        assert same(found[t].flip, 1 / (1 + odds) if x_t else odds / (1 + odds))
        before = math.prod(1 - Fraction(rate_s) for rate_s in beta[:t])
        assert same(decimals_binomial.posterior(x_t, x_0, beta[t], as_decimal(before).ln(), 0.2).logit.value.exp(), odds)


@pytest.mark.parametrize("d", [1e-12, -1e-6])
def test_binomial_kl_near_equality_is_half_the_variance_times_the_square(d):
    assert same(decimals_binomial.kl(0.0, d), Decimal(d) ** 2 / 8, Decimal(d) ** 2)
    assert decimals_binomial.kl(40.0, 40.0) == Exact(Decimal(0), Decimal(0))


@pytest.mark.eq("43", "46")
def test_correction_has_its_closed_form():
    rate, share = Decimal(0.2), Decimal("0.375") + Decimal("0.25")
    for x in (0.0, 1.0):
        expected = share * (Decimal(x) - rate) * (rate / (1 - rate)).ln()
        assert same(decimals_binomial.correction([0.0, 0.25, 0.5], [x], 0.2), expected)


def test_weights_of_a_reversible_chain_are_the_stationary_law():
    """Detailed balance: with the forward kernel as the model every path has the weight π(x_0)."""
    rate, noise = Decimal(0.2), [[0.9, 0.1], [0.3, -2.0], [0.05, 0.7]]
    assert same(decimals_binomial.log_weights([0.0, 0.25, 1e-9, 0.75], [1.0, 0.0], noise, 0.2), rate.ln() + (1 - rate).ln())


# -- end to end --------------------------------------------------------------------------------------------------------

def random_rates(T, rng):
    return [0.0] + [10 ** rng.uniform(-12, -0.1) for _ in range(T - 1)] + [0.75]


def test_chain_is_the_exact_product():
    beta = random_rates(40, random.Random(1))
    steps = decimals.chain(beta, range(1, 41))
    before, after = Fraction(1), Fraction(1)
    for t in range(1, 41):
        before, after = after, after * (1 - Fraction(beta[t]))
        assert same(steps[t].one_minus_alpha_bar, 1 - after)
        assert same(steps[t].posterior_var, Fraction(beta[t]) * (1 - before) / (1 - after))
        assert same(steps[t].alpha_bar, after) and same(steps[t].log_alpha_bar.value.exp(), after)
        assert same(steps[t].root_alpha_bar.value ** 2, after)
        assert same(steps[t].from_x_0.value ** 2, before * Fraction(beta[t]) ** 2 / (1 - after) ** 2)
        assert same(steps[t].from_x_t.value ** 2, (1 - Fraction(beta[t])) * (1 - before) ** 2 / (1 - after) ** 2)


def test_chain_ends_without_signal_where_the_last_rate_is_one():
    last = decimals.chain([0.0, 0.5, 1.0], [2])[2]
    assert last.log_alpha_bar.value == Decimal("-Infinity") and last.root_alpha_bar.value == 0
    assert last.one_minus_alpha_bar == Exact(Decimal(1), Decimal(1)) and same(last.posterior_var, Fraction(1, 2))


# -- scales ------------------------------------------------------------------------------------------------------------

def test_no_scale_is_below_its_value():
    rng, found = random.Random(2), []
    for _ in range(50):
        x, y, z = (rng.gauss(0, 10) for _ in range(3))
        beta, level, var = rng.random(), -math.exp(rng.uniform(-20, 6)), math.exp(rng.uniform(-20, 10))
        for law in (decimals.forward(x, beta), decimals.marginal(x, level), decimals.posterior(x, y, beta, level),
                    decimals.denoising(x, y, z, beta, level)):
            found += [law.mean, law.var]
        found += [decimals.softplus(x), decimals.sigmoid(x), decimals.logit(beta), decimals.tanh(x), decimals.entropy(var),
                  decimals.log_prob(x, y, var), decimals.kl(x, var, y, beta), decimals.draw(x, var, y),
                  decimals.cross_entropy(x, var, y, beta), decimals_binomial.kl(x, y), decimals_binomial.entropy(x),
                  decimals_binomial.cross_entropy(x, y), decimals_binomial.forward(1.0, beta, 0.2).logit,
                  *decimals_binomial.chain_posterior([0.0, beta, beta], [2], 1.0, 0.0, 0.2)[2],
                  *decimals.chain([0.0, beta, beta], [2])[2]]
    assert all(exact.scale >= abs(exact.value) for exact in found)


def test_scales_count_the_terms_and_not_their_sum():
    assert same(decimals.draw(1.0, 4.0, -0.5).scale, 2) and decimals.draw(1.0, 4.0, -0.5).value == 0
    assert same(decimals.logit(0.5).scale, 2 * LOG_2) and decimals.logit(0.5).value == 0
    assert decimals.marginal(1.0, -1e-12).var.scale == decimals.marginal(1.0, -1e-12).var.value < Decimal("1.1e-12")
