"""The read-outs of bits where the kit's checks do not look: at both ends of the chain, and at heads that are certain.

The checks (`conformance.checks.heartbeat`) compare them with enumeration and with numbers by hand.
"""

import numpy as np
import pytest

from refdpm import binomial, schedule
from refdpm.networks import bit_readout

BITS = np.array([[0.0, 1.0]])


def at(T, t):
    beta = schedule.reciprocal(T)
    return schedule.step(beta, schedule.log_alpha_bar(beta), t=np.array([t]), ndim=2)


@pytest.mark.eq("App.1 B reverse")
@pytest.mark.parametrize("z", [0.0, 3.0, -40.0, 700.0, -800.0])
def test_last_step_forgets_x_T(z):
    """β_T = 1, ℓ_T = −∞: p(x_{T−1}) is q(x_{T−1} | x̂), the same for both x_T, and nothing warns."""
    step, rate = at(7, 7), 0.2
    assert step.beta == 1 and step.log_alpha_bar == -np.inf
    p = bit_readout.read_out(np.full((1, 2), z), BITS, step, rate=rate, readout="denoising")
    odds = 0.25 * np.exp(z) if z < 600 else np.inf
    share = odds / (1 + odds) if np.isfinite(odds) else 1.0
    assert p.prob == pytest.approx(np.full((1, 2), share / 7 + rate * 6 / 7), rel=1e-14)


@pytest.mark.parametrize("rate", [0.5, 0.2])
@pytest.mark.parametrize("k", [0, 1])
def test_a_network_that_is_certain_gives_the_posterior(rate, k):
    """z = ±800: x_0 is known, and the step is q(x_{t−1} | x_t, x_0), with flip rates of 4e-8 at T = 2000, t = 2."""
    step = at(2000, 2)
    p = bit_readout.denoising(np.full((1, 2), 800.0 * (2 * k - 1)), BITS, step.beta, step.log_alpha_bar_prev, rate=rate)
    q = binomial.posterior(BITS, 0 * BITS + k, step.beta, step.log_alpha_bar_prev, rate=rate)
    assert np.abs(q.logit[0, k]) > 16
    assert p.logit == pytest.approx(q.logit, rel=1e-14)


@pytest.mark.parametrize("readout", ["skip", "denoising"])
@pytest.mark.parametrize("T,t", [(2, 2), (7, 3), (7, 7), (2000, 2), (2000, 1999)])
def test_start_at_the_forward_kernel(readout, T, t):
    step = at(T, t)
    p = bit_readout.read_out(0 * BITS, BITS, step, rate=0.2, readout=readout)
    assert p.logit == pytest.approx(binomial.forward(BITS, step.beta, rate=0.2).logit, rel=1e-14)


def test_zeros_and_ones_exchanged():
    """r → 1 − r, x_t → 1 − x_t, z → −z: every logit changes its sign."""
    rng, step = np.random.default_rng(0), at(9, 4)
    z, x = rng.normal(size=(1, 6)) * 5, np.array([[0.0, 1, 1, 0, 0, 1]])
    for readout in bit_readout.READOUTS:
        p = bit_readout.read_out(z, x, step, rate=0.3, readout=readout)
        exchanged = bit_readout.read_out(-z, 1 - x, step, rate=0.7, readout=readout)
        assert exchanged.logit == pytest.approx(-p.logit, rel=1e-12)


def test_the_head_matters_less_the_noisier_x_prev_is():
    """∂logit/∂z falls with t: at the end of the chain nothing is known of x_{t−1} even by who knows x_0 better than π does."""
    slopes = []
    for t in range(2, 8):
        step = at(7, t)
        _, back = bit_readout.denoising_vjp(0 * BITS, BITS, step.beta, step.log_alpha_bar_prev, rate=0.2)
        slopes.append(back(binomial.Bernoulli(np.ones((1, 2))))[0][0, 0])
    assert slopes == pytest.approx([1 - (t - 1) / 7 for t in range(2, 8)])            # ᾱ_{t−1}


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="^readout: expected one of .*'denoising', 'skip', 'paper'.*, got 'eq65'"):
        bit_readout.read_out(BITS, BITS, at(7, 3), rate=0.2, readout="eq65")
