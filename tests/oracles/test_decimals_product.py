"""The decimals of a law times r, against rational arithmetic."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import pytest

from refdpm.oracles import decimals_product

LOG_3 = Decimal("1.098612288668109691395245236922525704647490557822749451734694333637")


@pytest.fixture(autouse=True)
def many_digits():
    with localcontext(Context(prec=90)):
        yield


def same(got, expected):
    exact = Decimal(expected.numerator) / expected.denominator if isinstance(expected, Fraction) else Decimal(expected)
    return abs(got.value - exact) <= Decimal("1e-60") * max(abs(exact), 1)


def test_product_of_normal_laws_by_precisions():
    for row in ((0.5, 0.25, 2.0, 0.75), (-3.0, 1e-12, 7.0, 1e6), (1e6, 2.5, -1e-6, 0.1)):
        m, v, c, w = map(Fraction, row)
        found = decimals_product.times_gaussian(*row)
        precision = 1 / v + 1 / w
        assert same(found.mean, (m / v + c / w) / precision) and same(found.var, 1 / precision)
        assert float(found.mean.scale) == pytest.approx(float((abs(m) / v + abs(c) / w) / precision))
        assert found.var.scale == found.var.value
    point = decimals_product.times_gaussian(0.5, 0.25, 2.0, 0.0)
    assert point.mean.value == 2 and point.var.value == 0


def test_the_others_by_hand():
    first, ahead = decimals_product.perturbed(1.0, 0.5, -4.0), decimals_product.expected(3.0, 0.5, -2.0, 1.5)
    assert (first.mean.value, first.mean.scale, first.var.value) == (-1, 3, Decimal("0.5"))
    assert (ahead.mean.value, ahead.var.value) == (Decimal("-1.5"), Decimal("0.5"))
    assert decimals_product.times_bernoulli(1.5, -2.0).logit == (Decimal("-0.5"), Decimal("3.5"))
    assert decimals_product.exponent(1, 4).value == Decimal("0.75")
    assert decimals_product.power(7.0, 3.0, 1, 4).var.value == 4 and decimals_product.power(7.0, 3.0, 1, 4).mean.value == 7
    assert decimals_product.noisy(1.0, 0.5).var.value == Decimal("0.25")
    assert same(decimals_product.flipped(1.0, 0.25).logit, LOG_3) and same(decimals_product.flipped(0.0, 0.25).logit, -LOG_3)
