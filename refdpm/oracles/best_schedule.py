"""The best schedule of T steps: a shortest path through levels, then a smooth minimisation.

With λ = log SNR, and the best Gaussian kernels, a step from λ + k down to λ costs G(λ, k) ≥ 0, which depends on nothing
else, so

    K* = (n/2) log((1 − ᾱ_T)/β_1) − (n/2) log 2πe − Σ_{t≥2} G(λ_t, λ_{t−1} − λ_t)

is, up to a constant, minus the length of a path λ_1 > λ_2 > … > λ_T, with (n/2) log(1 + SNR_T) for its free end. G comes
as a table over (λ, k). The shortest path over a grid of levels is found by dynamic programming; from there a
quasi-Newton method moves the levels off the grid, on a spline through the table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.optimize import minimize

from .common import Array


class CostTable(NamedTuple):
    """G(λ, k) on a grid.   Shapes: level (L,) increasing log SNR, fall (F,) increasing from 0, cost (L, F).

    Domain: level[-1] is λ_1, and fall reaches λ_1 − level[0].
    """

    level: Array
    fall: Array
    cost: Array


def best_levels(table: CostTable, T: int, n: int) -> Array:
    """λ_1 .. λ_T of the best schedule of T steps that begins at λ_1 = table.level[-1].   Shapes: (T,), decreasing."""
    spline = RectBivariateSpline(table.level, table.fall, table.cost)
    start = table.level[-1]
    if T == 1:
        return np.array([start])

    def length(log_fall: Array) -> tuple[float, Array]:
        """Length of the path as a function of the logarithms of its falls, and its gradient."""
        fall = np.exp(log_fall)
        level = start - np.cumsum(fall)
        value = spline.ev(level, fall).sum() + 0.5 * n * np.logaddexp(0.0, level[-1])
        by_level = spline.ev(level, fall, dx=1)
        by_level[-1] += 0.5 * n / (1 + np.exp(-level[-1]))
        by_fall = spline.ev(level, fall, dy=1) - np.cumsum(by_level[::-1])[::-1]
        return float(value), by_fall * fall

    first = -np.diff(shortest_path(spline, np.linspace(table.level[0], start, max(len(table.level), 4 * T)), T, n))
    falls = np.log(np.maximum(first, 0.1 * first.mean()))
    falls += min(0.0, np.log((start - table.level[0]) / np.exp(falls).sum()))
    found = minimize(length, falls, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-12})
    return start - np.concatenate([[0.0], np.cumsum(np.exp(found.x))])


def shortest_path(spline: RectBivariateSpline, grid: Array, T: int, n: int) -> Array:
    """The best λ_1 .. λ_T among the levels of a grid, which may stay where it is for a step at no cost.

    Derivation: best_t(c) = min_a best_{t−1}(a) + G(c, a − c) over a ≥ c; the end adds (n/2) log(1 + SNR). T − 1 sweeps.
    """
    low, high = np.tril_indices(len(grid))[::-1]
    price = np.full((len(grid), len(grid)), np.inf)
    price[high, low] = spline.ev(grid[low], grid[high] - grid[low])
    best = np.full(len(grid), np.inf)
    best[-1] = 0.0
    came_from = []
    for _ in range(T - 1):
        total = best[:, None] + price
        came_from.append(np.argmin(total, axis=0))
        best = np.min(total, axis=0)
    path = [int(np.argmin(best + 0.5 * n * np.logaddexp(0.0, grid)))]
    for previous in reversed(came_from):
        path.append(int(previous[path[-1]]))
    return grid[path[::-1]]
