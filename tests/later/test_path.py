"""Straight paths: by hand, as the same chain in other coordinates, and as exact chains on normal data."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from refdpm.later import parametrisation, path, sampler, sigma, solver
from refdpm.oracles import flow

ONE = np.ones((1, 1))


def test_the_weight_is_that_of_the_bound():
    """On data N(0, ¼), whose exact velocity is off by v² − Cov(v, x_t)²/Var x_t on average, the weighed loss over a range of t is
    half of the integral of s²/(1 + s² SNR) over the ratio."""
    s2, (start, end) = 0.25, (0.2, 0.9)

    def weighed(t):
        var, with_v = (1 - t) ** 2 * s2 + t ** 2, t - (1 - t) * s2
        return path.bound_weight(np.array(t)) * (1 + s2 - with_v ** 2 / var)

    found, _ = quad(weighed, start, end)
    assert found == pytest.approx(flow.kl_limit(s2, *(((1 - t) / t) ** 2 for t in (start, end))), rel=1e-10)


def test_by_hand():
    """x_0 = 2 and ε = −1 at t = ¼: x_t = 1.25 and v = −3; σ is ⅓ and ᾱ 0.9."""
    x_0, noise, t = 2 * ONE, -ONE, 0.25 * ONE
    x_t, v = path.between(x_0, noise, t), path.velocity(x_0, noise)
    assert x_t == 1.25 and v == -3
    assert path.x_0_from_velocity(v, x_t, t) == 2 and path.noise_from_velocity(v, x_t, t) == -1
    assert path.velocity_from_x_0(x_0, x_t, t) == -3 and np.exp(path.level(t)) == pytest.approx(0.9)
    assert path.step(x_t, v, t, 0 * t) == 2 and path.step(x_t, v, t, ONE) == -1
    assert path.score_from_velocity(v, x_t, t) == 4 and path.bound_weight(t) == 3
    there = path.noisy_step(x_t, v, time=t, time_next=0.16 * ONE, diffusion=ONE, noise=2 * ONE)
    assert there == pytest.approx(1.25 + 0.09 * (3 + 2) + 0.3 * 2)


def test_it_is_the_same_chain():
    """Divided by √((1−t)² + t²), x_t is that of the chain at the level of t, and its noise is the path's."""
    rng = np.random.default_rng(0)
    x_0, noise, t = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.uniform(0.01, 0.99, (4, 1))
    x_t, level = path.between(x_0, noise, t), path.level(t)
    assert np.allclose(parametrisation.noise_from_x_0(x_0, x_t / np.hypot(1 - t, t), level), noise)
    assert np.allclose(sigma.unscaled(x_t / np.hypot(1 - t, t), level), x_t / (1 - t))
    assert np.allclose(sigma.deviation(level), t / (1 - t))


def test_a_step_is_one_of_ddim():
    """Euler's rule for v, Euler's in σ, and DDIM: the same step."""
    rng = np.random.default_rng(1)
    x_0, x_t = rng.normal(size=(2, 5, 3))
    t, after = rng.uniform(0.5, 0.95, (5, 1)), rng.uniform(0.05, 0.45, (5, 1))
    there = path.step(x_t, path.velocity_from_x_0(x_0, x_t, t), t, after)
    assert np.allclose(there / (1 - after), solver.euler(x_t / (1 - t), x_0, t / (1 - t), after / (1 - after)))
    level, before = path.level(t), path.level(after)
    law = sampler.jump(x_0, x_t / np.hypot(1 - t, t), -np.expm1(level - before), before, eta=0.0)
    assert np.allclose(there / np.hypot(1 - after, after), law.mean)


def test_shift_and_law_of_t():
    """3 at ½ is ¾, twice it is 0.9; σ is three times what it was; t of the mean is the median, ½ at m = 0."""
    half = 0.5 * ONE
    assert path.shifted(half, shift=3.0) == 0.75 and path.shifted(path.shifted(half, shift=3.0), shift=3.0) == pytest.approx(0.9)
    t = np.linspace(0.1, 0.9, 9)
    moved = path.shifted(t, shift=3.0)
    assert np.allclose(moved / (1 - moved), 3 * t / (1 - t)) and np.array_equal(path.shifted(np.array([0, 1.0]), shift=3.0), [0, 1])
    assert path.logit_normal(0 * ONE, ONE, noise=0 * ONE) == 0.5
    assert path.logit_normal(np.log(3) * ONE, ONE, noise=0 * ONE) == pytest.approx(0.75)


def test_a_chain_on_normal_data():
    """Euler's, by the exact recursion."""
    s2, times = 0.25, np.linspace(1, 0, 9)
    x = ONE
    for at, after in pairwise(times):
        x_0 = x * (1 - at) * s2 / ((1 - at) ** 2 * s2 + at ** 2)
        x = path.step(x, (x - x_0) / at, np.array(at), np.array(after))
    assert x.item() == pytest.approx(flow.straight_steps(s2, times))


def test_what_an_error_of_the_velocity_is_as_one_of_x_0_and_of_noise():
    """At t = ¼ they are −¼ and ¾ of it: so its weight is t² times that of x_0's error, (1 − t)² times that of the noise's."""
    x, at = ONE, np.array([[0.25]])
    apart = [f(2 * ONE, x, at) - f(ONE, x, at) for f in (path.x_0_from_velocity, path.noise_from_velocity)]
    assert apart == [[[-0.25]], [[0.75]]]


@pytest.mark.parametrize("diffusion", [0.0, 0.3, 1.0])
def test_steps_with_noise_keep_the_laws_of_the_path(diffusion):
    """On normal data the variance after many short steps is that of x_t, (1 − t)² s² + t², however much noise they add."""
    s2, times = 0.25, np.linspace(1, 0.2, 4001)
    var, w = ONE, np.array(diffusion)
    for at, after in pairwise(times):
        gain, added = (path.noisy_step(x, x * (at - (1 - at) * s2) / ((1 - at) ** 2 * s2 + at ** 2), time=np.array(at),
                                       time_next=np.array(after), diffusion=w, noise=ONE - x) for x in (ONE, 0 * ONE))
        var = gain ** 2 * var + added ** 2
    assert var.item() == pytest.approx(0.64 * s2 + 0.04, rel=2e-3)
