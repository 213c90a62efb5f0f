"""The decoder at its edges, and what its peers' approximation makes of a tail."""

import numpy as np
import pytest

from refdpm.gaussian import Gaussian
from refdpm.later import decoder, objective
from refdpm.later.decoder import Grid


def mass(k, mean, var, grid=Grid()):
    p = Gaussian(np.array([[mean]], dtype=float), np.array([[var]], dtype=float))
    return float(decoder.log_mass(p, k=np.array([[k]]), grid=grid)[0, 0])


def test_a_level_far_off_costs_what_it_costs():
    """Half a deviation of 15 and more away, where a floor of 1e-12 would say 39.9 bits: −log Φ(−z) = ½z² + log(z √2π) + … nats."""
    z = (1 - 2 / 255 / 2 - 0.0) / 0.065
    bits = -mass(255, 0.0, 0.065 ** 2) / np.log(2)
    assert bits == pytest.approx((z * z / 2 + np.log(z * np.sqrt(2 * np.pi)) + 1 / z ** 2) / np.log(2), rel=1e-4)
    assert bits > 170


def test_a_sharp_law_has_all_its_mass_in_its_bin():
    for k in (0, 77, 255):
        assert mass(k, k / 127.5 - 1, 1e-20) == 0
    assert mass(3, 0.5, 1e-20) < -1e18


def test_a_flat_law_has_its_mass_in_the_open_bins():
    assert mass(0, 0.0, 1e24) == pytest.approx(np.log(0.5)) == mass(255, 0.0, 1e24)


def test_levels_are_alike_from_both_ends():
    for k, mean, var in ((0, 0.4, 0.1), (10, 0.9, 0.004), (200, -0.3, 1e-5), (128, 0.7, 3.0)):
        assert mass(k, mean, var) == pytest.approx(mass(255 - k, -mean, var), rel=1e-12)


def test_narrow_and_wide_forms_meet():
    """On both sides of h (1 + |c|) = 1 the same function: a step of 1e-9 in σ moves it by no more than its slope says."""
    grid = Grid(-4.0, 4.0, 9)
    for mean in (0.0, 0.3, 1.7):
        c = abs(mean)
        sigma = 0.25 + np.sqrt(0.0625 + 0.5 * c)                # h (1 + c/σ) = 1 with h = 1/(2σ), and level 4 at 0
        below, above = (mass(4, mean, (sigma * (1 + s * 1e-9)) ** 2, grid) for s in (-1, 1))
        assert below == pytest.approx(above, abs=1e-8)


def test_gradient_is_finite_where_the_mass_is_all_or_nothing():
    p = Gaussian(np.array([[0.0, 50.0, -50.0]]), np.array([[1e-12, 1e-4, 1.0]]))
    k = np.array([[128, 0, 255]])
    value, pullback = decoder.log_mass_vjp(p, k=k, grid=Grid())
    assert np.isfinite(value).all() and all(np.isfinite(part).all() for part in pullback(np.ones((1, 3))))


# -- bytes and back --------------------------------------------------------------------------------------------------------

def test_bytes_and_back():
    """k/127.5 − 1, ends exact; back even with a little noise, where cutting off loses one in two; beyond the ends, the ends."""
    k = np.arange(256)
    x = decoder.level(k, grid=Grid())
    assert x[[0, 255]].tolist() == [-1, 1] and x == pytest.approx([i / 127.5 - 1 for i in range(256)], abs=3e-16)
    for shift in (-0.3, 0, 0.3):
        assert decoder.nearest(x + shift / 127.5, grid=Grid()).tolist() == k.tolist()
    assert decoder.nearest(np.array([-7.0, 7]), grid=Grid()).tolist() == [0, 255]


def test_dequantised_levels_fill_the_line():
    """(k + u)/128 − 1: bins of 1/128 from −1 to 1 without a gap, whatever the levels."""
    assert decoder.dequantised(np.array([0, 100, 255]), noise=np.array([0, 0.5, 1])).tolist() == [-1, 100.5 / 128 - 1, 1]
    assert decoder.dequantised(np.array([0, 1, 3]), noise=np.array([0.5, 0, 1]), levels=4).tolist() == [-0.75, -0.5, 1]


def test_bits_per_component_of_a_density():
    """A flat density on (−1, 1) is 8 bits a byte: log 2 nats are 1 bit, and log₂ 128 = 7 more."""
    assert objective.per_dimension(np.array([3 * np.log(2)]), k=np.zeros((1, 3), int), per_unit=128.0).item() == pytest.approx(8)
