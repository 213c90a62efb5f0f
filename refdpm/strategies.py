"""Hypothesis strategies for schedules, states, distributions, steps and networks, named by what they draw; public.

    from hypothesis import given
    from refdpm import strategies

    @given(strategies.schedules(T=5), strategies.states(N=3, D=2))
    def test_my_marginal(beta, x_0): ...

Sizes are arguments, so a test can keep them all different (N ≠ D ≠ T) and mix and repeat t within a batch.  Values shrink
towards simple ones.  Schedules are (T+1,) with beta[0] == 0; `column` strategies are (N, 1) and broadcast against states.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import schedule
from refdpm.binomial import Bernoulli
from refdpm.bound import Terms
from refdpm.gaussian import Gaussian
from refdpm.layers.readout import Heads
from refdpm.networks.swiss_roll import SwissRoll
from refdpm.schedule import Step
from refdpm.vjp import Array

Strategy = st.SearchStrategy[Any]


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """Finite floats in [low, high]."""
    return st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def arrays(*shape: int, low: float = -3.0, high: float = 3.0) -> st.SearchStrategy[Array]:
    """Float64 arrays of a given shape with entries in [low, high]."""
    return npst.arrays(np.float64, shape, elements=numbers(low, high))


def nonzero_arrays(*shape: int) -> st.SearchStrategy[Array]:
    """Arrays without entries near 0, for functions with a kink there."""
    return st.builds(np.multiply, arrays(*shape, low=0.01), npst.arrays(np.float64, shape, elements=st.sampled_from([-1.0, 1.0])))


def positive(*shape: int) -> st.SearchStrategy[Array]:
    """Arrays of variances between e⁻⁶ and e³."""
    return arrays(*shape, low=-6.0).map(np.exp)


# -- schedules and steps -----------------------------------------------------------------------------------------------

def schedules(T: int) -> st.SearchStrategy[Array]:
    """beta of shape (T+1,), rates between 0.005 and 0.95."""
    return arrays(T, low=np.log(0.005), high=np.log(0.95)).map(lambda log_rate: np.concatenate([[0.0], np.exp(log_rate)]))


def rate_columns(N: int) -> st.SearchStrategy[Array]:
    """β_t of each row, (N, 1), between 1e-3 and 0.95."""
    return arrays(N, 1, low=np.log(1e-3), high=np.log(0.95)).map(np.exp)


def level_columns(N: int) -> st.SearchStrategy[Array]:
    """ℓ = log ᾱ of each row, (N, 1), between −7 and −1e-3."""
    return arrays(N, 1, low=np.log(1e-3), high=np.log(7.0)).map(lambda x: -np.exp(x))


def times(*shape: int, low: int, high: int) -> st.SearchStrategy[Array]:
    """Integers t in low..high, mixed and repeated."""
    return npst.arrays(np.int64, shape, elements=st.integers(low, high))


@st.composite
def steps(draw: st.DrawFn, N: int, T: int) -> tuple[Step, Array]:
    """The schedule's columns for N rows at steps t in 2..T of one schedule, and t."""
    beta, t = draw(schedules(T)), draw(times(N, low=2, high=T))
    return schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=2), t


# -- states, distributions, networks -----------------------------------------------------------------------------------

def states(N: int, D: int) -> st.SearchStrategy[Array]:
    """x of shape (N, D)."""
    return arrays(N, D)


def other_states(N: int, D: int) -> st.SearchStrategy[Array]:
    """Like `states`, with another simplest example: where x_t = x_0, the two parts of a posterior's derivative cancel."""
    return states(N, D).map(lambda x: x + 0.71)


def gaussians(N: int, D: int) -> st.SearchStrategy[Gaussian]:
    """Independent normal components, with variances far from 1 on both sides."""
    return st.builds(Gaussian, states(N, D), positive(N, D))


def other_gaussians(N: int, D: int) -> st.SearchStrategy[Gaussian]:
    """Like `gaussians`, with another simplest example: where two laws are equal, their divergence has no derivative to test."""
    return gaussians(N, D).map(lambda p: Gaussian(p.mean + 0.71, p.var * 1.37))


def bits(N: int, D: int) -> st.SearchStrategy[Array]:
    """Zeros and ones of shape (N, D), as floats."""
    return npst.arrays(np.float64, (N, D), elements=st.sampled_from([0.0, 1.0]))


def soft_bits(N: int, D: int) -> st.SearchStrategy[Array]:
    """Numbers between bits, where formulas that are defined for 0 and 1 can be differentiated on both sides."""
    return arrays(N, D, low=0.2, high=0.8)


def bernoullis(N: int, D: int) -> st.SearchStrategy[Bernoulli]:
    """Independent bits, by their logits."""
    return st.builds(Bernoulli, arrays(N, D, low=-5, high=5))


def other_bernoullis(N: int, D: int) -> st.SearchStrategy[Bernoulli]:
    """Like `bernoullis`, with another simplest example."""
    return bernoullis(N, D).map(lambda p: Bernoulli(p.logit + 0.71))


def rates() -> st.SearchStrategy[float]:
    """The stationary rate of ones."""
    return numbers(0.1, 0.9)


def heads(N: int, D: int) -> st.SearchStrategy[Heads]:
    """What a network puts out for the mean and for the variance."""
    return st.builds(Heads, arrays(N, D), arrays(N, D))


def bound_terms(S: int, N: int) -> st.SearchStrategy[Terms]:
    """The terms of K for S values of t and N examples."""
    return st.builds(Terms, arrays(S, N), arrays(N), arrays(N), arrays(N))


def swiss_roll_networks(T: int, units: int, D: int) -> st.SearchStrategy[SwissRoll]:
    """Parameters of the Swiss-roll network."""
    return st.builds(SwissRoll, arrays(units, D), arrays(units, low=-1, high=1), arrays(T + 1, units, 2 * D, low=-1, high=1),
                     arrays(T + 1, 2 * D, low=-1, high=1))
