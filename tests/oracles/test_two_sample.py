"""The energy test: exact level under one law, power against another, and the distance itself by loops."""

import numpy as np

from refdpm.oracles.two_sample import energy_test


def test_distance_by_loops():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 2)), rng.standard_normal((9, 2)) + 1

    def mean_distance(a, b):
        return np.mean([np.linalg.norm(p - q) for p in a for q in b])

    expected = 2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)
    assert abs(energy_test(x, y, rng=rng, permutations=1)[0] - expected) < 1e-14


def test_level_and_power():
    """p ≤ 0.1 in a tenth of 200 cases of one law, ± five standard errors; and always where the mean is off by a deviation."""
    rng = np.random.default_rng(1)

    def p_value(n, m, shift):
        return energy_test(rng.standard_normal((n, 2)) + shift, rng.standard_normal((m, 2)), rng=rng, permutations=99)[1]

    assert abs(np.mean([p_value(30, 20, 0) <= 0.1 for _ in range(200)]) - 0.1) < 5 * np.sqrt(0.09 / 200)
    assert max(p_value(60, 60, 1) for _ in range(20)) <= 0.02
