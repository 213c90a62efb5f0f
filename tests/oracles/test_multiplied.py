"""The law of a multiplied chain: by another recursion, by grids, by enumeration of all paths, and as printed."""

import numpy as np
import pytest

from refdpm.oracles import enumeration, linear_gaussian, multiplied
from refdpm.oracles.linear_gaussian import Kernels

BETA = np.array([0.0, 0.05, 0.2, 0.4, 0.7])
S0 = np.array([[0.8, 0.35], [0.35, 1.6]])
R = multiplied.normal_factor([1.5, -0.5], [[0.5, 0.1], [0.1, 0.3]])


def printed_schedule(T):
    """β_t = 1/(T−t+1), but β_1 = 1e-4."""
    beta = np.concatenate([[0.0], 1 / np.arange(T, 0, -1.0)])
    beta[1] = 1e-4
    return beta


def in_one_dimension(s, T, choice):
    model, r = linear_gaussian.reverse_kernels(np.array([[s]]), printed_schedule(T)), multiplied.normal_factor([2.0], [[1.0]])
    factors = multiplied.exact(r, model) if choice == "exact" else getattr(multiplied, choice)(r, T)
    law = multiplied.method(model, factors)[0]
    return law.mean[0, 0], law.var[0, 0]


@pytest.mark.eq("22", "23")
@pytest.mark.parametrize("s,T,choice,mean,var", [
    (1.0, 20000, "constant", "1.3333", "0.3334"), (1.0, 20000, "ramp", "0.9239", "0.4323"),
    (0.25, 20000, "constant", "0.6944", "0.1449"), (0.25, 20000, "ramp", "0.5254", "0.1584"),
    (4.0, 20000, "constant", "2.1086", "0.5791"), (4.0, 20000, "ramp", "1.3414", "1.1077"),
    (1.0, 40, "constant", "1.3234", "0.3417"), (0.25, 40, "constant", "0.6843", "0.1493"),
    (4.0, 40, "constant", "2.0862", "0.5907")])
def test_printed_table(s, T, choice, mean, var):
    """PAPER §1.4: r = N(2; x, 1), data N(0, s), exact reverse kernels."""
    assert tuple(f"{x:.4f}" for x in in_one_dimension(s, T, choice)) == (mean, var)


def test_constant_factor_tends_to_its_square():
    """p = π: the law tends to π r² = N(4/3, 1/3)."""
    off = [np.subtract(in_one_dimension(1.0, T, "constant"), (4 / 3, 1 / 3)) for T in (500, 1000, 2000)]
    assert all(np.allclose(a / b, 2, atol=0.15) for a, b in zip(off, off[1:])) and np.abs(off[2]).max() < 1e-3


def test_held_component():
    """PAPER §1.4, correlation 0.8, one component held at 1.5, with kernels of diagonal covariance; 1.2 and 0.36 are wanted.
    With full covariances it differs by 1e-3 at T = 2000, and by as much less as T is larger."""
    def law(kernels, T):
        model = linear_gaussian.reverse_kernels(np.array([[1, 0.8], [0.8, 1]]), printed_schedule(T), kernels=kernels)
        return multiplied.held(model, np.array([True, False]), np.array([1.5, np.nan]))[0]

    held = law("diagonal", 20000)
    mean, var = held.mean[0], held.var[0]
    assert (f"{mean[1]:.4f}", f"{var[1]:.4f}") == ("0.9095", "0.4946") and mean[0] == 1.5 and var[0] == 0
    apart = np.array([[np.subtract(a.mean, b.mean)[0, 1], np.subtract(a.cov, b.cov)[0, 1, 1]]
                      for a, b in ((law("full", T), law("diagonal", T)) for T in (1000, 2000))])
    assert np.all(0 < np.abs(apart[1])) and np.all(np.abs(apart[1]) < 1e-3)
    np.testing.assert_allclose(apart[0] / apart[1], 2, rtol=0.01)


@pytest.mark.eq("21", "23")
@pytest.mark.parametrize("name", ["reversal", "any"])
def test_exact_choice_gives_the_product(name):
    """The steps of an exact reversal commute; others need not."""
    model = linear_gaussian.reverse_kernels(S0, BETA)
    if name == "any":
        model = model._replace(gain=model.gain + 0.3 * np.random.default_rng(1).standard_normal(model.gain.shape))
    covariances, factors = linear_gaussian.model_covariances(S0, BETA, kernels=model), multiplied.exact(R, model)
    found = multiplied.method(model, factors)
    for t in range(5):                                                          # and so at every t: eq. 16
        wanted = multiplied.times(multiplied.Moments(np.zeros((1, 2)), covariances[t][None]), factors[t])
        assert np.allclose(found[t].mean, wanted.mean, atol=1e-12) and np.allclose(found[t].cov, wanted.cov, atol=1e-12)


def test_exact_choice_by_one_integral_after_another():
    """r_t(x) = ∫ N(y; G x, C) r_{t−1}(y) dy on a grid, in one dimension, up to a constant."""
    model, r = linear_gaussian.reverse_kernels(np.array([[0.4]]), BETA), multiplied.normal_factor([2.0], [[0.5]])
    y = np.linspace(-12, 12, 1201)
    table = np.exp(-(y - 2) ** 2)
    for t, factor in enumerate(multiplied.exact(r, model)):
        log_r = factor.linear[0] * y - factor.precision[0, 0] * y * y / 2
        inner = np.abs(y) < 3
        difference = (np.log(table) - log_r)[inner]
        assert np.ptp(difference) < 1e-9
        if t < 4:
            step = np.exp(-(y - model.gain[t + 1, 0, 0] * y[:, None]) ** 2 / (2 * model.cov[t + 1, 0, 0]))
            table = step @ table


def test_held_is_the_limit_of_a_narrow_factor():
    model = linear_gaussian.reverse_kernels(S0, BETA)
    narrow = multiplied.Factor(np.diag([0.0, 1e9]), np.array([0.0, 1.2e9]))
    limit, close = multiplied.held(model, np.array([False, True]), np.array([9.0, 1.2])), multiplied.method(model, [narrow] * 5)
    for a, b in zip(limit, close):
        assert np.allclose(a.mean, b.mean, atol=1e-6) and np.allclose(a.cov, b.cov, atol=1e-6)


def test_without_a_factor_it_is_the_model():
    model, nothing = linear_gaussian.reverse_kernels(S0, BETA), multiplied.Factor(np.zeros((2, 2)), np.zeros(2))
    covariances = linear_gaussian.model_covariances(S0, BETA)
    for factors in (multiplied.constant(nothing, 4), multiplied.ramp(nothing, 4), multiplied.exact(nothing, model)):
        found = multiplied.method(model, factors)
        assert all(np.allclose(law.cov[0], covariances[t], atol=1e-13) and not law.mean.any() for t, law in enumerate(found))


def test_recursion_on_a_grid():
    """Every step multiplied, normalised and integrated as a table, with the ramp: T = 2, one dimension."""
    model = Kernels(np.array([1.0, 0.9, 0.6])[:, None, None], np.array([0.0, 0.3, 0.5])[:, None, None])
    law = multiplied.method(model, multiplied.ramp(multiplied.normal_factor([1.0], [[0.4]]), 2))[0]
    x = np.linspace(-9, 9, 1801)
    p = np.exp(-x * x / 2)                                                      # exponent 0 at T
    for gain, var, e in ((0.6, 0.5, 0.5), (0.9, 0.3, 1.0)):
        step = np.exp(-(x - gain * x[:, None]) ** 2 / (2 * var) - e * (x - 1) ** 2 / 0.8)
        p = p @ (step / step.sum(axis=1, keepdims=True))
    p /= p.sum()
    assert law.mean[0, 0] == pytest.approx(p @ x, abs=1e-10)
    assert law.var[0, 0] == pytest.approx(p @ x ** 2 - (p @ x) ** 2, abs=1e-10)


# -- bits --------------------------------------------------------------------------------------------------------------

BIT_BETA = np.array([0.0, 0.1, 0.3, 0.6])
R_BITS = np.array([0.2, 1.0, 3.0, 0.7])


def reverse(x, t):
    return 1 / (1 + np.exp(-(1.3 * x - 0.6 + 0.9 * np.roll(x, 1, axis=1) - 0.15 * t)))


@pytest.mark.eq("21", "23")
@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_exact_choice_of_bits_gives_the_product(rate):
    law = multiplied.method_bits(reverse, BIT_BETA, 2, multiplied.exact_bits(R_BITS, reverse, BIT_BETA, 2, rate=rate), rate=rate)
    wanted = enumeration.model_law(reverse, BIT_BETA, 2, rate=rate) * R_BITS
    assert law[0] == pytest.approx(wanted / wanted.sum(), abs=1e-15)


@pytest.mark.eq("22")
@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_chain_of_bits_path_by_path(rate):
    """All 4⁴ paths, each with its product of normalised steps."""
    factors = multiplied.ramp_bits(R_BITS, 3)
    steps = [enumeration.reverse_step(reverse, BIT_BETA, t, 2, rate=rate) for t in (1, 2, 3)]
    expected = np.zeros(4)
    for path in np.ndindex(4, 4, 4, 4):                                         # x_0, x_1, x_2, x_3
        start = enumeration.prior(2, rate=rate) * factors[3]
        chance = start[path[3]] / start.sum()
        for t in (3, 2, 1):
            row = steps[t - 1][path[t]] * factors[t - 1]
            chance *= row[path[t - 1]] / row.sum()
        expected[path[0]] += chance
    assert multiplied.method_bits(reverse, BIT_BETA, 2, factors, rate=rate)[0] == pytest.approx(expected, abs=1e-15)
    assert np.array_equal(factors[3], np.ones(4)) and np.allclose(factors[1], R_BITS ** (2 / 3))
