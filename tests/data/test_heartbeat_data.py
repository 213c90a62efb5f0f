"""The heartbeat: its five sequences, how often each comes, and what is refused."""

import numpy as np
import pytest
from scipy.stats import chi2

from refdpm import binomial, bound, likelihood, schedule
from refdpm.data import heartbeat
from refdpm.oracles import heartbeat as oracle
from refdpm.vjp import fix


def test_a_one_at_every_fifth_place():
    x = heartbeat.draw(np.random.default_rng(0), 1000)
    assert x.shape == (1000, 20) and x.dtype == np.float64 and set(np.unique(x)) == {0, 1}
    assert np.array_equal(np.unique(x, axis=0)[::-1], np.tile(np.eye(5), (1, 4)))
    assert np.array_equal(x, heartbeat.draw(np.random.default_rng(0), 1000))


def test_another_period():
    x = heartbeat.draw(np.random.default_rng(1), 200, bits=6, period=3)
    assert np.array_equal(np.unique(x, axis=0)[::-1], np.tile(np.eye(3), (1, 2)))
    assert np.array_equal(heartbeat.draw(np.random.default_rng(1), 3, bits=4, period=1), np.ones((3, 4)))


def test_phases_are_uniform_and_independent():
    """χ² of the 25 pairs of neighbouring phases among 10000 sequences: above the quantile once in 10⁶ seeds."""
    phase = heartbeat.draw(np.random.default_rng(2), 10000).argmax(axis=1)
    counts = np.bincount(5 * phase[::2] + phase[1::2], minlength=25)
    assert ((counts - 200) ** 2 / 200).sum() < chi2.ppf(1 - 1e-6, 24)


@pytest.mark.eq("14", "App.1 B likelihood")
def test_as_many_ones_as_under_the_prior():
    """So nothing is missing from K, whatever the schedule: C = 0; and L_null = 4 log2 0.2 + 16 log2 0.8 (PAPER §3)."""
    x, kernel = heartbeat.draw(np.random.default_rng(3), 7), fix(binomial, rate=0.2)
    for beta in (schedule.reciprocal(5), schedule.geometric(5, beta_1=0.1, beta_T=0.5)):
        assert bound.correction(beta, x, kernel=kernel) == pytest.approx(np.zeros(7), abs=1e-13)
    assert likelihood.bits(likelihood.null_log_likelihood(x, kernel=kernel)) == pytest.approx(np.full(7, -14.43856), abs=5e-6)


def test_the_oracle_has_the_same_data():
    """Its ceiling −H(X¹) from 126 orbits, as β_1 → 0, is −log of the number of sequences drawn here."""
    found = np.unique(heartbeat.draw(np.random.default_rng(4), 500), axis=0)
    assert oracle.ceiling(np.array([0, 1e-12]), rate=0.2) == pytest.approx(-np.log(len(found)), abs=1e-9)


@pytest.mark.parametrize("bits,period", [(20, 3), (20, 0), (4, 8)])
def test_other_sizes_are_refused(bits, period):
    with pytest.raises(ValueError, match=f"^bits: expected a multiple of period = {period}, got {bits}"):
        heartbeat.draw(np.random.default_rng(0), 3, bits=bits, period=period)
