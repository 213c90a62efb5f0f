"""The best schedule of T steps: a shortest path through levels, then a smooth minimisation.

With λ = log SNR and the best Gaussian kernels, the step from λ + k down to λ costs G(λ, k) ≥ 0, whatever the
other steps are, so that

    K* = (n/2) log((1 − ᾱ_T)/β_1) − (n/2) log 2πe − Σ_{t≥2} G(λ_t, λ_{t−1} − λ_t)

is, but for constants, minus the length of a path λ_1 > λ_2 > … > λ_T, with (n/2) log(1 + SNR_T) for its free
end. G comes as a table. Dynamic programming finds the shortest path over a grid of levels; from there a
quasi-Newton method moves the levels off the grid, on a spline through the table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.optimize import minimize
from scipy.special import expit

from .common import Array, open_doors


class CostTable(NamedTuple):
    """G(λ, k).   Shapes: level (L,), λ increasing to λ_1; fall (F,), k increasing from 0; cost (L, F)."""

    level: Array
    fall: Array
    cost: Array


def best_levels(table: CostTable, T: int, n: int) -> Array:
    """λ_1 … λ_T of the best schedule that begins at λ_1 = table.level[-1].   Shapes: (T,), decreasing.

    Derivation: the variables are the logarithms of the falls k_t, so that the order of the levels cannot be
    lost. With λ_t = λ_1 − Σ_{s≤t} k_s, a fall is paid for at its own step, ∂G/∂k, and lowers every level from
    its own on.
    """
    spline = RectBivariateSpline(table.level, table.fall, table.cost)
    start = table.level[-1]

    def length(log_fall: Array) -> tuple[float, Array]:
        fall = np.exp(log_fall)
        level = start - np.cumsum(fall)
        by_level = spline.ev(level, fall, dx=1)
        by_level[-1] += 0.5 * n * expit(level[-1])
        by_fall = spline.ev(level, fall, dy=1) - np.cumsum(by_level[::-1])[::-1]
        return float(spline.ev(level, fall).sum() + _end(level[-1], n)), by_fall * fall

    if T == 1:
        return np.array([start])
    grid = np.linspace(table.level[0], start, max(len(table.level), 4 * T))
    fall = -np.diff(_shortest_path(spline, grid, T, n))
    fall = np.maximum(fall, 0.1 * fall.mean())
    found = minimize(length, np.log(fall), jac=True, method="L-BFGS-B",
                     options={"maxiter": 2000, "ftol": 1e-12})
    return start - np.concatenate([[0.0], np.cumsum(np.exp(found.x))])


def _shortest_path(spline: RectBivariateSpline, grid: Array, T: int, n: int) -> Array:
    """The best λ_1 … λ_T among the levels of an increasing grid; a step may stay where it is, at no cost.

    Derivation: best_t(c) = min over a ≥ c of best_{t−1}(a) + G(c, a − c), T − 1 times; the end; and back.
    """
    low, high = np.triu_indices(len(grid))
    price = np.full((len(grid), len(grid)), np.inf)
    price[high, low] = spline.ev(grid[low], grid[high] - grid[low])
    best = np.full(len(grid), np.inf)
    best[-1] = 0.0
    came_from = []
    for _ in range(T - 1):
        total = best[:, None] + price
        came_from.append(np.argmin(total, axis=0))
        best = np.min(total, axis=0)
    path = [int(np.argmin(best + _end(grid, n)))]
    for previous in reversed(came_from):
        path.append(int(previous[path[-1]]))
    return grid[path[::-1]]


def _end(level: Array | float, n: int) -> Array:
    """−(n/2) log(1 − ᾱ_T) = (n/2) log(1 + SNR_T)."""
    return np.asarray(0.5 * n * np.logaddexp(0.0, level))


open_doors(globals())
