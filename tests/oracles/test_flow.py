"""Samplers on normal data: the numbers of the literature's rules, by hand and by an integrator that knows nothing of them."""

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from refdpm.oracles import flow

LEVELS = np.geomspace(10, 0.05, 41)
S2 = 0.25


def test_heun_s_chain_right_and_wrong():
    """41 levels from 10 to 0.05, s² = ¼."""
    assert flow.flow(S2, 10, 0.05) == pytest.approx(0.0501867, abs=5e-8)
    assert flow.heun(S2, LEVELS) == pytest.approx(0.0502999, abs=5e-8)
    assert flow.heun(S2, LEVELS, looks_at="old", divides_by="old") == pytest.approx(0.0574126, abs=5e-8)
    assert flow.heun(S2, LEVELS, divides_by="old") == pytest.approx(0.0610233, abs=5e-8)


def test_the_flow_is_what_an_integrator_finds():
    in_sigma = solve_ivp(lambda sigma, x: (x - x * S2 / (S2 + sigma ** 2)) / sigma, (10, 0.05), [1.0], rtol=1e-10, atol=1e-12)
    assert flow.flow(S2, 10, 0.05) == pytest.approx(in_sigma.y[0, -1], rel=1e-8)
    x_0 = lambda x, t: x * (1 - t) * S2 / ((1 - t) ** 2 * S2 + t ** 2)
    along = solve_ivp(lambda t, x: (x - x_0(x, t)) / t, (1, 0.1), [1.0], rtol=1e-10, atol=1e-12)
    assert flow.straight(S2, 1, 0.1) == pytest.approx(along.y[0, -1], rel=1e-8)


def order(chain, exact):
    return np.log2(abs(chain(64) / exact - 1) / abs(chain(128) / exact - 1))


def test_orders_of_convergence():
    """The midpoint rule on a straight path is better than its order on normal data."""
    exact = flow.flow(S2, 10, 0.05)
    for rule, expected in ((flow.euler, 1), (flow.heun, 2), (flow.multistep, 2)):
        assert order(lambda n: rule(S2, np.geomspace(10, 0.05, n + 1)), exact) == pytest.approx(expected, abs=0.15)
    for rule, expected in (("euler", 1), ("midpoint", 3)):
        found = order(lambda n: flow.straight_steps(S2, np.linspace(1, 0, n + 1), rule=rule), flow.straight(S2, 1, 0))
        assert found == pytest.approx(expected, abs=0.1)


def test_ancestral_steps_by_hand():
    """From σ = 2 to 1, s² = 1: σ_up² = ¾, σ_down = ½, g = 1 − 1.5 · 2/5 = 0.4, and 0.16 · 5 + 0.75 = 1.55; with more steps 2."""
    assert flow.ancestral(1.0, np.array([2.0, 1.0])) == pytest.approx(1.55)
    assert flow.ancestral(1.0, np.geomspace(2, 1, 4000)) == pytest.approx(2, abs=1e-3)


def test_terms_become_an_integral():
    high, low = 1e4, 1e-3
    assert flow.kl_limit(S2, high, low) == pytest.approx(
        quad(lambda u: S2 * np.exp(u) / (1 + S2 * np.exp(u)), np.log(low), np.log(high))[0] / 2)
    excess = [T * (flow.kl_terms(S2, np.geomspace(high, low, T + 1)) - flow.kl_limit(S2, high, low)) for T in (1000, 2000, 4000)]
    assert excess[2] == pytest.approx(flow.kl_excess(S2, high, low), rel=3e-3)
    assert abs(excess[2] - flow.kl_excess(S2, high, low)) < 0.6 * abs(excess[1] - flow.kl_excess(S2, high, low))
