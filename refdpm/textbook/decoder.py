"""The decoder as it is printed: levels, and the mass that a normal law has in the bin of a level (Ho, Jain, Abbeel 2020, sec. 3.3).

The bins of the first level and of the last are open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refdpm.textbook.chain import Normal
from refdpm.textbook.expression import (E, Phi, above, also, exp, forms, log, log1p, log_Phi, move, named, node, slack, sqrt,
                                        term, total, where)


class Grid(NamedTuple):
    """Levels from `low` to `high`."""

    low: E
    high: E
    levels: E


def grid_of(grid: Any) -> Grid:
    """The same grid of numbers, as nodes."""
    return Grid(*map(node, grid))


def level(k: E, grid: Grid) -> E:
    """x_k, which divides the way from low to high as k divides the gaps."""
    gaps = grid.levels - 1
    return grid.low * ((gaps - k) / gaps) + grid.high * (k / gaps)


def scaled(k: E) -> E:
    """k/127.5 − 1."""
    return k / node(127.5) - 1


def nearest(x: E, grid: Grid, levels: int) -> E:
    """How many of the middles between two levels are below x."""
    middles = level(node(np.arange(levels - 1) + 0.5), grid)
    return total(where(above(move(x, "beside every middle", lambda i: i[..., None]), middles), 1, 0), "middles")


def dequantised(k: E, noise: E, levels: E) -> E:
    """(k + u)/(levels/2) − 1."""
    return (k + noise) / (levels / 2) - 1


def half_bin(grid: Grid) -> E:
    """Half of the distance of two levels."""
    return (grid.high - grid.low) / (grid.levels - 1) / 2


@named
def log_difference(x: E, p: Normal, k: E, grid: Grid) -> E:
    """log [Φ((x + w/2 − m)/σ) − Φ((x − w/2 − m)/σ)], 1 for the first above the last level and 0 for the second below the first."""
    sigma, half = sqrt(p.var), half_bin(grid)
    below = where(above(k, 0), Phi((x - half - p.mean) / sigma), 0)
    return log(where(above(grid.levels - 1, k), Phi((x + half - p.mean) / sigma), 1) - below)


@named
def log_mass(x: E, p: Normal, k: E, grid: Grid) -> E:
    """The same where no digits are lost: log Φ(b) + log(1 − Φ(a)/Φ(b)), a < b the ends of the bin turned to where Φ is small.

    Of an open bin it is log Φ, which is rounded as a number near 1 if Φ is taken first.
    """
    def mass(c: E, h: E) -> E:
        near = where(above(c, 0), -c, c)
        b, a = log_Phi(near + h), log_Phi(near - h)
        beyond = log_Phi(where(above(k, 0), -c, c) + h) + slack(node(1))
        inner = also(b + log1p(-exp(a - b)), b + log(1 - exp(a - b)))
        return where(above(k, 0), where(above(grid.levels - 1, k), inner, beyond), beyond)

    sigma = sqrt(p.var)
    return term(mass, (x - p.mean) / sigma, half_bin(grid) / sigma)


def mass_either_way(x: E, p: Normal, k: E, grid: Grid) -> E:
    """log P(k) for those who take the difference, and for those who do not."""
    return forms(log_difference(x, p, k, grid), log_mass(x, p, k, grid))


def _log_mass(p: Normal, *, k: Any, grid: Any) -> E:
    levels = grid_of(grid)
    return log_mass(level(node(k), levels), p, node(k), levels)


PAIRS: dict[str, Callable[..., Any]] = {
    "later.decoder.level": lambda k, *, grid: level(k, grid_of(grid)),
    "later.decoder.log_mass": _log_mass,
    "later.decoder.nearest": lambda x, *, grid: nearest(x, grid_of(grid), grid.levels),
    "later.decoder.dequantised": lambda k, *, noise, levels=256: dequantised(k, node(noise), node(levels)),
}
