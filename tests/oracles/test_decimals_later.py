"""The decimals of what came after the paper: Φ by two ways, and identities that none of the formulas is written with."""

from decimal import Decimal, localcontext

import pytest
from scipy.special import log_ndtr

from refdpm.oracles import decimals_later as exact
from refdpm.oracles.decimals import DIGITS, exactly


def near(a, b, *, digits=DIGITS - 6):
    with localcontext() as context:
        context.prec = 2 * DIGITS
        return abs(a - b) <= Decimal(10) ** -digits * max(abs(a), abs(b))


@exactly
def phi(z):
    return exact.phi(z)


@exactly
def log_phi(z):
    return exact.log_phi(z)


def test_phi_by_digits():
    """Φ(1) as in the tables, to 30 digits; Φ(0) = ½."""
    assert phi(0.0) == Decimal("0.5")
    assert near(phi(1.0), Decimal("0.841344746068542948585232545632"), digits=29)


def test_series_and_continued_fraction_meet():
    """Both sides of the place where one takes over from the other: Φ has the slope φ there."""
    with localcontext() as context:
        context.prec = 140
        h = Decimal(10) ** -30
        rise = (exact.phi(-7 + h) - exact.phi(-7 - h)) / (2 * h)
        assert abs(rise / (Decimal("-24.5").exp() / (2 * exact.PI).sqrt()) - 1) < Decimal(10) ** -50


@pytest.mark.parametrize("z", [-40.0, -8.0, -1.0, -0.1, 0.3, 2.0, 6.9, 7.1, 20.0])
def test_log_phi_is_near_scipy(z):
    assert float(log_phi(z)) == pytest.approx(float(log_ndtr(z)), rel=1e-12)


def test_masses_add_to_one():
    """Of four bins, two of them open; var 0.3, an off-centre mean."""
    edges = [(-1.0, 1.0), (-0.5, 0.0), (0.0, 0.0), (0.5, -1.0)]
    with localcontext() as context:
        context.prec = DIGITS
        total = sum(exact.log_mass(x, 0.25, end, 0.17, 0.3).value.exp() for x, end in edges)
    assert near(total, Decimal(1))


def test_prior_kl_of_a_faint_signal():
    """½ᾱ x² + ¼ᾱ² + …: at ᾱ = e^−100 the rest is far below."""
    with localcontext() as context:
        context.prec = DIGITS
        assert near(exact.prior_kl(0.0, -100.0).value, Decimal(-200).exp() / 4, digits=40)
