"""The decimals of bits' read-outs, against fractions by hand and their own limits."""

from decimal import Context, Decimal, localcontext

import pytest

from refdpm.oracles import decimals_binomial, decimals_heartbeat

TINY = Decimal("1e-60")


@pytest.fixture(autouse=True)
def many_digits():
    with localcontext(Context(prec=90)):
        yield


def ln(n):
    return Decimal(n).ln()


def test_read_outs_by_hand():
    """r = ½, β = ½, e^z = 3, x_t = 1, and ᾱ_{t−1} = ½ as near as a float is: m = ½·¾ + ¼ = 5/8; 5/3 times q(1 | 1)/q(1 | 0) = 3."""
    z, half = float(ln(3)), float(ln(Decimal("0.5")))
    exact = decimals_heartbeat.denoising(z, 1.0, 0.5, half, 0.5).logit
    assert abs(exact.value - ln(5)) < Decimal("1e-16") and exact.scale > exact.value
    assert decimals_heartbeat.paper(z).logit == (Decimal(z), Decimal(z))
    assert abs(decimals_heartbeat.skip(z, 1.0, 0.5, 0.5).logit.value - ln(3) - Decimal(z)) < TINY


@pytest.mark.parametrize("x_t", [0.0, 1.0])
@pytest.mark.parametrize("beta", [1e-12, 0.3, 1.0])
def test_at_zero_the_forward_kernel_at_infinity_the_posterior(x_t, beta):
    forward = decimals_binomial.forward(x_t, beta, 0.2).logit.value
    assert abs(decimals_heartbeat.denoising(0.0, x_t, beta, -0.7, 0.2).logit.value - forward) < TINY
    for k in (0, 1):
        certain = decimals_heartbeat.denoising(400.0 * (2 * k - 1), x_t, beta, -0.7, 0.2).logit.value
        posterior = decimals_binomial.posterior(x_t, float(k), beta, -0.7, 0.2).logit.value
        assert abs(certain - posterior) < TINY                                                # e^−400 is below it


def test_network_without_layers_is_its_read_out():
    """z = b + W h with h the standardised bits: (1 − 0.2)/0.4 = 2 and (0 − 0.2)/0.4 = −½, but for the rounding of 0.2."""
    laws = decimals_heartbeat.heartbeat([], [], [[1.0, 0.0], [2.0, 4.0]], [0.5, 3.0], [1.0, 0.0], 0.3, -0.7, 0.2)
    for law, z, x in zip(laws, (2 - 1 + 0.5, -2 + 3.0), (1.0, 0.0)):
        assert abs(law.logit.value - decimals_heartbeat.denoising(z, x, 0.3, -0.7, 0.2).logit.value) < Decimal("1e-15")


def test_network_of_one_unit_by_hand():
    """tanh(½ ln 3) = ½, from a standardised bit 2."""
    weight = float(ln(3) / 4)
    (law,) = decimals_heartbeat.heartbeat([[[weight]]], [[0.0]], [[2.0]], [0.0], [1.0], 0.3, -0.7, 0.2)
    assert abs(law.logit.value - decimals_heartbeat.denoising(1.0, 1.0, 0.3, -0.7, 0.2).logit.value) < Decimal("1e-15")
