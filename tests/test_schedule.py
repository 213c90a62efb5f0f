"""Schedules: what is refused, and 1 − ᾱ where subtraction would have lost it.  (That they are right: `conformance.checks`.)"""

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
