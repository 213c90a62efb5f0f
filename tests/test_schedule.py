"""Schedules: what is refused, and 1 − ᾱ where subtraction would have lost it.  (That they are right: `conformance.checks`.)"""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from refdpm import schedule, strategies


@pytest.mark.parametrize("beta,words", [
    ([0, 0.1, -0.1], r"beta: expected values in \(0, 1\) for t = 1..T .*got -0.1 at t = 2"),
    ([0, 0.1, 1.0, 0.2], "got 1.0 at t = 2"),
    ([0, 0.0, 0.2], "got 0.0 at t = 1"),
    ([0, 0.1, 1.5], "got 1.5 at t = 2"),
    ([0, np.nan, 0.5], "got nan at t = 1"),
    ([0.1, 0.2, 0.3], r"beta\[0\] == 0"),
    ([[0, 0.1]], r"shape \(T\+1,\)"),
    ([0], "T ≥ 1"),
])
def test_what_is_no_schedule_is_named(beta, words):
    with pytest.raises(ValueError, match=words):
        schedule.checked(np.array(beta))


@pytest.mark.parametrize("make", [
    schedule.reciprocal, schedule.cosine,
    lambda T: schedule.linear(T, beta_1=1e-4, beta_T=0.02 if T > 1 else 1e-4),
    lambda T: schedule.geometric(T, beta_1=1e-12, beta_T=0.5 if T > 1 else 1e-12)])
@pytest.mark.parametrize("T", [1, 2, 3, 10, 40, 1000])
def test_named_schedules_are_schedules_at_every_T(make, T):
    beta = make(T)
    assert len(beta) == T + 1 and np.array_equal(schedule.checked(beta), beta)
    assert (np.diff(schedule.alpha_bar(beta)) < 0).all()


@pytest.mark.parametrize("make", [schedule.reciprocal, schedule.cosine])
def test_no_steps_is_refused(make):
    with pytest.raises(ValueError, match="T: expected at least 1 step, got 0"):
        make(0)


def test_tiny_rates_keep_their_digits():
    """1 − ∏(1 − β) for β = 1e-12, in exact fractions; by subtraction four digits would be left."""
    beta = np.concatenate([[0.0], np.full(50, 1e-12)])
    exact = [1 - (1 - Fraction(1e-12)) ** t for t in range(51)]
    assert -np.expm1(schedule.log_alpha_bar(beta)) == pytest.approx([float(x) for x in exact], rel=4e-16, abs=0)


@given(strategies.schedules(T=7), st.integers(1, 6))
def test_a_chain_is_its_two_halves(beta, cut):
    first, second = beta[:cut + 1], np.concatenate([[0.0], beta[cut + 1:]])
    whole = schedule.log_alpha_bar(beta)
    assert schedule.log_alpha_bar(first)[-1] + schedule.log_alpha_bar(second)[-1] == pytest.approx(whole[-1], rel=1e-15)


@given(strategies.schedules(T=5))
def test_learned_schedule_returns_to_its_logits(beta):
    assert schedule.learned(schedule.logits_of(beta), beta_1=beta[1]) == pytest.approx(beta, rel=1e-14)


# -- fitted to T, and to ᾱ_T = 0 -----------------------------------------------------------------------------------------

def test_the_linear_schedule_for_other_numbers_of_steps():
    """T = 100: ten times the rates, from 1e-3 to 0.2; T = 10: from 0.01 to 2, cut off at 0.999; T = 1000: as it is."""
    assert schedule.linear_for(100)[[1, 100]] == pytest.approx([1e-3, 0.2], rel=1e-14)
    assert schedule.linear_for(10) == pytest.approx([0] + [min(0.01 + 1.99 * i / 9, 0.999) for i in range(10)], rel=1e-14)
    assert schedule.linear_for(1000) == pytest.approx(schedule.linear(1000, beta_1=1e-4, beta_T=0.02), rel=1e-14)


def test_rescaling_to_zero_in_decimals():
    """√ᾱ shifted and stretched with 60 digits: the rates to all digits, ᾱ_T = 0, ᾱ_1 as it was."""
    with localcontext() as context:
        context.prec = 60
        rates = [float(rate) for rate in np.linspace(1e-4, 0.02, 300)]
        roots, level = [], Decimal(1)
        for rate in rates:
            level *= 1 - Decimal(rate)
            roots.append(level.sqrt())
        moved = [(root - roots[-1]) * roots[0] / (roots[0] - roots[-1]) for root in roots]
        expected = [Decimal(rates[0])] + [1 - (now / before) ** 2 for before, now in zip(moved, moved[1:])]
        got = schedule.to_zero(np.array([0.0, *rates]))
        assert max(abs(Decimal(float(a)) / b - 1) for a, b in zip(got[1:], expected)) < Decimal("2e-15")
    assert got[-1] == 1 and got[1] == rates[0]
    with pytest.raises(ValueError, match="beta"):
        schedule.to_zero(np.array([0.0, 1.5, 0.5]))
