"""The gradient checkers fail on planted mistakes: each test plants one and demands that the right alarm goes off."""

import numpy as np
import pytest

from refdpm import gradcheck
from refdpm.gradcheck import Pair, asymmetry, contract_breaches, gaps
from refdpm.layers.linear import per_step, per_step_vjp
from refdpm.layers.rbf import rbf, rbf_vjp

rng = np.random.default_rng(0)
X, C, W = rng.standard_normal((5, 2)), rng.standard_normal((4, 2)), rng.standard_normal(4)


def square(x, *, scale=2.0):
    return scale * x * x


def pair(f_vjp, f=square):
    return Pair("planted", f, f_vjp)


def right(x, *, scale=2.0):
    return square(x, scale=scale), lambda dy: 2 * scale * x * dy


def test_right_pair_passes():
    assert gaps(pair(right), (X,), {}, rng)["x"] < 1e-15
    assert contract_breaches(pair(right), (X,), {}, rng) == []
    assert asymmetry(pair(right), (X,), {}, rng) < 1e-15


def test_wrong_factor_is_seen():
    assert gaps(pair(lambda x, *, scale=2.0: (square(x, scale=scale), lambda dy: scale * x * dy)), (X,), {}, rng)["x"] > 0.01


def test_error_of_one_part_in_10_to_11_is_seen():
    assert gaps(pair(lambda x, *, scale=2.0: (square(x), lambda dy: 2 * scale * x * dy * (1 + 1e-11))), (X,), {}, rng)["x"] > 1e-13


@pytest.mark.parametrize("mistake", [True, False])
def test_what_stays_when_the_last_digits_change_is_a_mistake_and_the_rest_is_rounding(mistake):
    """Both errors give the same gap at X itself; the one of them is there for every other number only."""
    def inexact(x, *, scale=2.0):
        there = mistake or int(np.real(x[0, 0]) * 2.0 ** 55) % 2 == int(X[0, 0] * 2.0 ** 55) % 2
        return square(x), lambda dy: 2 * scale * x * dy * (1 + 3e-12 * there)

    found = [gaps(pair(inexact), (X,), {}, np.random.default_rng(seed))["x"] for seed in range(20)]
    too_large = np.mean(np.array(found) > 1e-13)
    assert too_large > 0.4 if mistake else too_large < 0.2


def test_only_the_argument_that_is_wrong_is_blamed():
    def dropped_normaliser(x, centre, log_width):
        g, back = rbf_vjp(x, centre, log_width)
        return g, lambda dg: (back(dg)[0], back(dg)[1] * 1.01, back(dg)[2])

    found = gaps(Pair("planted", rbf, dropped_normaliser), (X, C, W), {}, rng)
    assert found["x"] < 1e-14 and found["centre"] > 1e-4 and found["log_width"] < 1e-14


def test_softmax_adjoint_that_keeps_only_the_diagonal_is_seen():
    """With w = 1 this mistake gives a gradient that is not 0, where the right one is; random w sees both."""
    def diagonal(x, centre, log_width):
        g, _ = rbf_vjp(x, centre, log_width)
        p = np.exp(-2 * log_width)

        def pullback(dg):
            pull = g * (1 - g) * dg * p
            return pull @ centre - x * pull.sum(1, keepdims=True), pull.T @ x - centre * pull.sum(0)[:, None], 0 * log_width

        return g, pullback

    assert min(gaps(Pair("planted", rbf, diagonal), (X, C, W), {}, rng).values()) > 1e-3


def test_wrong_shape_is_an_infinite_gap():
    assert gaps(pair(lambda x, *, scale=2.0: (square(x), lambda dy: (2 * scale * x * dy).T)), (X,), {}, rng)["x"] == np.inf


def test_nan_is_an_infinite_gap():
    assert gaps(pair(lambda x, *, scale=2.0: (square(x), lambda dy: x * np.nan)), (X,), {}, rng)["x"] == np.inf


@pytest.mark.parametrize("f", [lambda x, *, scale=2.0: scale * np.abs(x) ** 2, lambda x, *, scale=2.0: scale * (x * np.conj(x))])
def test_broken_continuation_is_seen_by_both_steps_disagreeing(f):
    """|x|² is not analytic: the complex step says 0, the differences the truth."""
    planted = pair(right, f)
    assert gaps(planted, (X,), {}, rng)["x"] > 0.1
    assert gaps(planted, (X,), {}, rng, by_differences=True)["x"] < 1e-9


def breaches(f_vjp, f=square):
    return contract_breaches(pair(f_vjp, f), (X.copy(),), {}, rng)


def test_value_that_is_not_bitwise_f_is_seen():
    assert "the value of f_vjp is not bitwise that of f" in breaches(
        lambda x, *, scale=2.0: (scale * (x * x) * (1 + 2e-16), lambda dy: 2 * scale * x * dy))


def test_pullback_with_a_memory_is_seen():
    def remembering(x, *, scale=2.0):
        total = np.zeros_like(x)

        def pullback(dy):
            nonlocal total
            total = total + 2 * scale * x * dy
            return total

        return square(x, scale=scale), pullback

    assert "the pullback called twice gives two answers" in breaches(remembering)


def test_pullback_that_is_not_linear_is_seen():
    assert "the pullback is not linear" in breaches(lambda x, *, scale=2.0: (square(x), lambda dy: 2 * scale * x * dy + 1e-6))


def test_changed_argument_and_changed_cotangent_are_seen():
    def in_place(x, *, scale=2.0):
        value = square(x, scale=scale)

        def pullback(dy):
            dy *= 2 * scale * x
            return dy

        return value, pullback

    assert "the cotangent was changed" in breaches(in_place)

    def overwrite(x, *, scale=2.0):
        value = square(x, scale=scale)
        before = x.copy()
        x += 1
        return value, lambda dy: 2 * scale * before * dy

    assert "an argument was changed" in breaches(overwrite)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_cast_to_float_is_seen():
    def cast(x, *, scale=2.0):
        return square(x.astype(float), scale=scale)

    def cast_vjp(x, *, scale=2.0):
        return cast(x, scale=scale), lambda dy: 2 * scale * x * dy

    assert "complex input does not give complex output" in breaches(cast_vjp, cast)


def test_changed_real_part_is_seen():
    def switching(x, *, scale=2.0):
        return square(x, scale=scale) * (2 if np.iscomplexobj(x) else 1)

    assert "complex input changes the real part" in breaches(
        lambda x, *, scale=2.0: (switching(x, scale=scale), lambda dy: 2 * scale * x * dy), switching)


def test_different_signature_is_seen():
    assert "f and f_vjp have different signatures" in breaches(lambda x, *, scale=3.0: right(x, scale=scale))


def test_asymmetric_second_derivative_is_seen():
    """A pullback whose coefficient matrix is not that of a gradient: right for one w, impossible as a derivative."""
    def twisted(x, *, scale=2.0):
        return square(x, scale=scale), lambda dy: 2 * scale * x * dy + 1e-3 * np.roll(x * x, 1) * dy

    assert asymmetry(pair(twisted), (X,), {}, rng) > 1e-6


def test_rounding_of_what_is_linear_is_no_kink():
    """One weight of 4e-23 among zeros: what is left of both sides is rounding, at every step the same share of the slope."""
    weight = np.zeros((5, 3, 2))
    weight[0, 0, 1] = 4.40786228e-23
    arguments, fixed = (np.ones((1, 3)), weight, np.zeros((5, 2))), {"t": np.array([0])}
    for seed in range(40):
        assert not gradcheck.breaches(Pair("per_step", per_step, per_step_vjp), arguments, fixed, np.random.default_rng(seed))
