"""schedule_search where the best path is known or can be found by trying all."""

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import expit

from refdpm.oracles.schedule_search import CostTable, best_levels


def table(cost, first=4.0, lowest=-9.0, points=66):
    level = np.linspace(lowest, first, points)
    fall = level - lowest
    return CostTable(level, fall, cost(level[:, None], fall))


def total(cost, level, n):
    return sum(cost(c, a - c) for a, c in zip(level, level[1:])) + 0.5 * n * np.log1p(np.exp(level[-1]))


def square(level, fall):
    return 0.05 * fall ** 2 + 0 * level


def bent(level, fall):
    """Steps near λ = 1 are dear."""
    return 0.02 * fall ** 2 * (1 + 6 / np.cosh(level - 1) ** 2)


@pytest.mark.parametrize("T", [2, 5, 17, 90])
def test_even_steps(T):
    """G = 0.05 k²: all falls are equal, and 0.1 k = (n/2) SNR_T/(1 + SNR_T), λ_T = λ_1 − (T − 1) k."""
    level = best_levels(table(square), T, n=2)
    k = brentq(lambda k: 0.1 * k - expit(4.0 - (T - 1) * k), 0, 10)
    assert level.shape == (T,) and level[0] == 4.0
    np.testing.assert_allclose(-np.diff(level), k, rtol=2e-3)


def test_one_step():
    np.testing.assert_array_equal(best_levels(table(square), 1, n=2), [4.0])


@pytest.mark.parametrize("n", [1, 2, 6])
def test_all_paths(n):
    """T = 4: no path over a grid of 40 levels is shorter, and a simplex search from the best of them comes to the same."""
    grid = np.linspace(-6, 4, 41)[:-1]
    lengths = {path: total(bent, [4.0, *grid[list(path)[::-1]]], n) for path in combinations(range(40), 3)}
    path = min(lengths, key=lengths.get)
    found = best_levels(table(bent), 4, n)
    refined = minimize(lambda a: total(bent, [4.0, *a], n), grid[list(path)[::-1]], method="Nelder-Mead",
                       options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000})
    assert total(bent, found, n) <= lengths[path]
    np.testing.assert_allclose(total(bent, found, n), refined.fun, atol=1e-6)
    np.testing.assert_allclose(found[1:], refined.x, atol=5e-3)


def test_more_steps_than_levels():
    """The table has 66 levels; 150 steps must still find falls that decrease."""
    level = best_levels(table(bent), 150, n=2)
    assert np.all(np.diff(level) < 0)
    assert total(bent, level, 2) < total(bent, best_levels(table(bent), 75, n=2), 2)
