"""The oracle in decimals, against what can be known without it: rational arithmetic, printed digits, identities."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from itertools import product
import math
import random

import pytest

from refdpm.oracles import decimals
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
    "bits": lambda: (decimals.bits(LOG_2), 1),
    "total": lambda: (decimals.total([1.0, -3.0, 0.5]), Fraction(-3, 2)),
    "average": lambda: (decimals.average([1.0, 2.0, 6.0]).value, 3),
    "standard error": lambda: (decimals.average([1.0, 2.0, 6.0]).stderr.value ** 2, Fraction(7, 3)),
    "linear layer": lambda: (decimals.linear_layer([1.0, 2.0], [[3.0, 5.0], [4.0, -1.0]], [0.5, 0.25])[1], Fraction(13, 4)),
    "log_likelihood of two examples": lambda: (decimals.log_likelihood([[0, 2], [LOG_3, LOG_3 + 2]]).value, LOG_2 + 1),
    "log_likelihood of w = 1 and 3": lambda: (decimals.log_likelihood([[Decimal(0)], [LOG_3]]).value, LOG_2),
    "its standard error": lambda: (decimals.log_likelihood([[Decimal(0)], [LOG_3]]).stderr, Fraction(1, 2)),
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


def test_rbf_shares_equally_between_equals_and_sums_to_one():
    assert all(same(g, Fraction(1, 2)) for g in decimals.rbf([0.0, 3.0], [[-1.0, 0.0], [1.0, 0.0]], [0.0, 0.0]))
    weights = decimals.rbf([0.3, -2.0], [[1.0, 5.0], [-40.0, 0.5], [0.25, 0.125]], [0.5, -3.0, 1.0])
    assert same(sum(g.value for g in weights), 1)


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


def test_read_outs_in_rational_numbers():
    """At z_var = 0 the variance of the first two is β; the third averages the posterior over x_0 ~ N(√ᾱ_t x_t + z, 1−ᾱ_t)."""
    beta, z, x = as_decimal(BETA), 2, 3
    eq65, released = decimals.eq65(2.0, 0.0, 3.0, beta), decimals.released(2.0, 0.0, 3.0, beta, 40)
    assert same(eq65.var, BETA) and same(eq65.mean, (x - z) * KEEP + z)
    assert same(released.var, BETA) and same(released.mean, KEEP * x + Fraction(5, 13) * z)
    denoising = decimals.denoising(2.0, 0.0, 3.0, beta, as_decimal(A).ln())
    root_after, share = ROOT_A * KEEP, ROOT_A * BETA / (1 - A * KEEP ** 2)
    posterior = decimals.posterior(3.0, as_decimal(root_after * x + z), beta, as_decimal(A).ln())
    assert same(denoising.mean, posterior.mean.value)
    assert same(denoising.var.value - posterior.var.value, share ** 2 * (1 - root_after ** 2))


@pytest.mark.eq("43", "46")
def test_corrections_have_their_closed_forms():
    beta = [0.0, 0.25, 0.5]
    share = Decimal("0.375") + Decimal("0.25")
    for x in (0.0, 1.0):
        assert same(decimals.correction(beta, [3 * x]), share * (1 - 9 * Decimal(x)) / 2)
    assert same(decimals.strict_bound(beta, [1.0], [[0.5]]), decimals.bound(beta, [1.0], [[0.5]]).value)


def test_weights_of_a_reversible_chain_are_the_stationary_law():
    """Detailed balance: with the forward kernel as the model every path has the weight π(x_0)."""
    beta = [0.0, 0.25, 1e-9, 0.75]
    noise = [[0.9, 0.1], [0.3, -2.0], [0.05, 0.7]]
    assert same(decimals.log_weights(beta, [2.0, -1.0], noise), decimals.null_log_likelihood([2.0, -1.0]).value)


def test_gaussian_log_likelihood_is_the_product_of_two_laws():
    got = decimals.gaussian_log_likelihood([3.0, 5.0], [1.0, 1.0], [[4.0, 2.0], [2.0, 3.0]])
    assert same(got, decimals.log_prob(3.0, 1.0, 4.0).value + decimals.log_prob(5.0, 2.0, 2.0).value)


def test_network_without_weights_is_the_forward_kernel():
    laws = decimals.swiss_roll([[0.0, 1.0], [2.0, 3.0]], [0.0, 1.0], [[0.0] * 4] * 2, [0.0] * 4, [1.0, -2.0], 0.25, -0.5)
    for x, law in zip((1.0, -2.0), laws):
        assert same(law.mean, decimals.forward(x, 0.25).mean.value) and same(law.var, 0.25)


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


@pytest.mark.eq("14", "App.1 G bound")
@pytest.mark.parametrize("seed", range(3))
def test_bound_of_unit_variance_data_is_the_null_likelihood(seed):
    """The forward kernel reverses N(0, 1) exactly, so E K = −½ (1 + log 2π) a component, whatever the rates.  Every term is
    quadratic in x_0 and in the noise of its step: ±1 have all the moments that are needed."""
    T = 12
    beta = random_rates(T, random.Random(seed))
    found = [decimals.bound(beta, [x], [[e]] * (T - 1)).value for x, e in product((-1.0, 1.0), repeat=2)]
    assert same(sum(found) / 4, -HALF_LOG_2PI - Decimal("0.5"), Decimal("1e-25"))


# -- scales ------------------------------------------------------------------------------------------------------------

def test_no_scale_is_below_its_value():
    rng, found = random.Random(2), []
    for _ in range(50):
        x, y, z = (rng.gauss(0, 10) for _ in range(3))
        beta, level, var = rng.random(), -math.exp(rng.uniform(-20, 6)), math.exp(rng.uniform(-20, 10))
        for law in (decimals.forward(x, beta), decimals.marginal(x, level), decimals.posterior(x, y, beta, level),
                    decimals.eq65(x, y, z, beta), decimals.released(x, y, z, beta, 9),
                    decimals.denoising(x, y, z, beta, level)):
            found += [law.mean, law.var]
        found += [decimals.softplus(x), decimals.sigmoid(x), decimals.logit(beta), decimals.tanh(x), decimals.entropy(var),
                  decimals.log_prob(x, y, var), decimals.kl(x, var, y, beta), decimals.draw(x, var, y),
                  decimals.cross_entropy(x, var, y, beta), *decimals.rbf([x, y], [[y, z], [z, x]], [0.0, 1.0]),
                  *decimals.chain([0.0, beta, beta], [2])[2]]
    assert all(exact.scale >= abs(exact.value) for exact in found)


def test_scales_count_the_terms_and_not_their_sum():
    assert same(decimals.draw(1.0, 4.0, -0.5).scale, 2) and decimals.draw(1.0, 4.0, -0.5).value == 0
    assert same(decimals.logit(0.5).scale, 2 * LOG_2) and decimals.logit(0.5).value == 0
    assert decimals.marginal(1.0, -1e-12).var.scale == decimals.marginal(1.0, -1e-12).var.value < Decimal("1.1e-12")
