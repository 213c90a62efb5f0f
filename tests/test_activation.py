"""Correct: softmax against loops, far out, and its whole Jacobian; SiLU, GELU and dropout by hand."""

import math

import numpy as np
import pytest

from refdpm.activation import dropout, gelu, log_softmax, log_softmax_vjp, silu, softmax, softmax_vjp


def test_softmax_by_loops():
    x = 3 * np.random.default_rng(0).standard_normal((2, 4, 5))
    expected = [[[math.exp(a) / math.fsum(map(math.exp, row)) for a in row] for row in block] for block in x.tolist()]
    assert np.abs(softmax(x) - expected).max() < 1e-15


@pytest.mark.parametrize("far", [-1e6, 1e6])
def test_softmax_does_not_see_a_shift(far):
    x = np.array([[0.0, 1, -2], [3, 0.5, 0.25]])
    assert np.array_equal(softmax(x + far), softmax(x))


def test_softmax_far_apart():
    g, back = softmax_vjp(np.array([[800.0, -800, 0]]))
    assert g.tolist() == [[1, 0, 0]] and back(np.array([[1.0, 2, 3]])).tolist() == [[0, 0, 0]]


def test_softmax_pulls_back_the_whole_jacobian():
    """Σ_j dg_j (1[j = k] − g_j) g_k, and nothing for a cotangent that is the same everywhere."""
    g, back = softmax_vjp(np.log([[0.5, 0.25, 0.125, 0.125]]))
    assert np.abs(back(np.array([[8.0, 0, 0, 0]])) - [[2, -1, -0.5, -0.5]]).max() < 1e-15
    assert np.abs(back(np.full((1, 4), 3.0))).max() < 1e-15


def test_softmax_stays_single():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    g, back = softmax_vjp(x)
    assert {g.dtype, back(x).dtype} == {np.dtype(np.float32)}


def test_log_softmax_is_the_logarithm_where_there_is_one():
    """And where e^x has none: 0 and −1600, with the cotangent of the one that has all the weight cancelled."""
    x = 3 * np.random.default_rng(1).standard_normal((2, 4, 5))
    assert np.abs(log_softmax(x) - np.log(softmax(x))).max() < 1e-14
    value, back = log_softmax_vjp(np.array([[800.0, -800]]))
    assert value.tolist() == [[0, -1600]] and back(np.array([[3.0, 2]])).tolist() == [[-2, 2]]


def test_silu_by_hand():
    """x/(1 + e^−x): at log 3 it is ¾ log 3, and silu(x) − silu(−x) = x."""
    x = np.array([math.log(3), -math.log(3), 0, 800, -800])
    assert silu(x) == pytest.approx([0.75 * math.log(3), -0.25 * math.log(3), 0, 800, 0], rel=1e-15)
    assert silu(x[:2])[0] - silu(-x[:2])[0] == pytest.approx(math.log(3), rel=1e-15)


def test_gelu_by_the_error_function_and_by_a_tangent():
    """The tail too: −30 Φ(−30) by the asymptotic series φ(30) (1 − 1/30² + 3/30⁴ − 15/30⁶ + 105/30⁸)."""
    places = [-4.0, -1.5, -0.25, 0, 0.5, 2, 6]
    assert gelu(np.array(places)) == pytest.approx([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in places], rel=1e-11)
    tail = math.exp(-450) / math.sqrt(2 * math.pi) * (1 - 1 / 900 + 3 / 900 ** 2 - 15 / 900 ** 3 + 105 / 900 ** 4)
    assert gelu(np.array([-30.0]))[0] == pytest.approx(-tail, rel=1e-11)
    by_tanh = [0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))) for x in places]
    assert gelu(np.array(places), form="tanh") == pytest.approx(by_tanh, rel=1e-12)
    fine = np.linspace(-6, 6, 2001)
    assert 4e-4 < np.abs(gelu(fine) - gelu(fine, form="tanh")).max() < 5e-4
    with pytest.raises(ValueError, match="form"):
        gelu(fine, form="erf")


def test_dropout_keeps_the_mean():
    """Over all eight masks of three numbers, weighed by their probabilities."""
    x, rate, total = np.array([[3.0, -1, 7]]), 0.25, 0
    for bits in np.ndindex(2, 2, 2):
        keep = np.array([bits]) > 0
        total = total + rate ** (3 - sum(bits)) * (1 - rate) ** sum(bits) * dropout(x, keep=keep, rate=rate)
    assert total == pytest.approx(x, rel=1e-15)
    assert dropout(x, keep=np.array([[True, False, True]]), rate=0.5).tolist() == [[6, 0, 14]]
