"""Correct: attention against loops and by hand."""

import math

import numpy as np
import pytest

from refdpm.layers.attention import attention


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_attention_by_loops():
    query, key, value = normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 6, seed=2)
    y = attention(query, key, value)
    for n, place in np.ndindex(2, 3):
        heights = [math.exp(math.fsum(query[n, place] * key[n, m]) / 2) for m in range(5)]
        for e in range(6):
            expected = math.fsum(h * value[n, m, e] for m, h in enumerate(heights)) / math.fsum(heights)
            assert y[n, place, e] == pytest.approx(expected, rel=1e-13)


def test_two_keys_by_hand():
    """q · k = 4 log 3 and 0 with d = 16: weights ¾ and ¼.  A key far away takes everything."""
    query, key = np.zeros((1, 16)), np.zeros((2, 16))
    query[0, 3], key[0, 3] = math.log(3), 4
    assert attention(query, key, np.array([[8.0], [4]])) == pytest.approx(np.array([[7.0]]), rel=1e-14)
    assert attention(1e4 * query, key, np.array([[8.0], [4]])).tolist() == [[8]]


def test_the_order_of_keys_does_not_matter_and_single_stays_single():
    query, key, value = (normal(2, 4, 3, seed=seed).astype(np.float32) for seed in range(3))
    y = attention(query, key, value)
    assert y.dtype == np.float32 and np.allclose(attention(query, key[:, ::-1], value[:, ::-1]), y, atol=1e-6)
