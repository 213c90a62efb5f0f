"""Sampling step by step as it is printed: the step that skips some, DDIM, and the schedule of the kept steps.

Sources: Ho, Jain, Abbeel 2020; Song, Meng, Ermon 2021 (DDIM); Nichol, Dhariwal 2021 (strides).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.textbook.chain import Normal, Row, draw, from_levels, small
from refdpm.textbook.expression import E, above, also, column, forms, less, move, named, node, sqrt, square, term, where
from refdpm.textbook.prediction import from_x_0


def rate(before: E, now: E) -> E:
    """1 − ᾱ_t/ᾱ_s, the rate of a step from t to s."""
    return less(now / before)


def strided() -> Row:
    """The columns of a step from t to t_prev."""
    now, before = column("alpha_bar"), column("alpha_bar", at="t_prev")
    return Row(rate(before, now), now / before, now, before, less(now), less(before))


def ancestral_step(p: Normal, last: E, noise: E) -> E:
    """A draw from p(x_{t−1} | x_t); where it is the last one, its mean."""
    return where(last, p.mean, draw(p, noise))


@named
def ddim(x_0: E, x_t: E, row: Row, eta: E) -> Normal:
    """√ᾱ_s x_0 + √(1−ᾱ_s−σ²) ε with ε = (x_t − √ᾱ_t x_0)/√(1−ᾱ_t), and σ² = η² β̃."""
    sigma = eta * sqrt(small(row))
    var = also(square(eta) * small(row), square(sigma))
    rest = row.rest_prev - var
    share = also(sqrt(rest), sqrt(where(above(rest, 0), rest, 0)), cut_off=True)
    return Normal(sqrt(row.alpha_bar_prev) * x_0 + share * from_x_0(x_0, x_t, row, "noise"), var)


def jump(x_0: E, x_t: E, row: Row, eta: E) -> Normal:
    """The same step; and as a weighted sum of x_0 and x_t, in which an accurate evaluation subtracts nothing."""
    p = ddim(x_0, x_t, row, eta)
    k = term(lambda: sqrt(row.rest_prev - p.var) / sqrt(row.rest))
    c_0 = term(lambda: sqrt(row.alpha_bar_prev) - k * sqrt(row.alpha_bar))
    return p._replace(mean=forms(p.mean, c_0 * x_0 + k * x_t))


def respaced(times: Any) -> E:
    """The rates of the kept steps, 1 − ᾱ_t/ᾱ_s with s the kept step before t; in front 0."""
    kept = (0, *map(int, times))
    return term(lambda: 1 - column("alpha_bar", at=kept) / column("alpha_bar", at=(0, *kept[:-1])))


PAIRS: dict[str, Callable[..., Any]] = {
    "later.sampler.jump": lambda x_0, x_t, beta, level, *, eta: jump(x_0, x_t, from_levels(beta, level), node(eta)),
    "later.sampler.respaced": lambda beta, *, times: respaced(times) + 0 * move(
        beta, "in front the first of", lambda i: i[0] * (np.arange(len(times) + 1) == 0)),
}
