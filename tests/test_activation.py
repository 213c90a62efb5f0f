"""Correct: softmax against loops, far out, and its whole Jacobian."""

import math

import numpy as np
import pytest

from refdpm.activation import log_softmax, log_softmax_vjp, softmax, softmax_vjp


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
