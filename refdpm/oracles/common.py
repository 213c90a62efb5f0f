"""What the oracles share: the levels of a schedule, and a mean with its covariance."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Moments(NamedTuple):
    """First and second moments of a law, one row per example.

    Shapes: mean (N, n), cov (N, n, n); `var` (N, n) is the diagonal of `cov`.
    """

    mean: Array
    cov: Array

    @property
    def var(self) -> Array:
        """Variances of the components, (N, n)."""
        return np.diagonal(self.cov, axis1=-2, axis2=-1)


def levels(beta: Array) -> Array:
    """log ᾱ_t = Σ_{s≤t} log(1 − β_s) for t = 0..T; −∞ at T when β_T = 1.

    Shapes: beta (T+1,) with beta[0] = 0; result the same.
    Raises: ValueError when the shape or a value is not that of a schedule.
    """
    beta = np.asarray(beta, dtype=float)
    if beta.ndim != 1 or beta.size < 2 or beta[0] != 0:
        raise ValueError(f"beta: expected shape (T+1,) with T ≥ 1 and beta[0] = 0, got shape {beta.shape}")
    outside = np.flatnonzero(~((beta[1:] > 0) & (beta[1:] < 1)))
    if outside.size and not (outside[0] == beta.size - 2 and beta[-1] == 1):
        t = outside[0] + 1
        raise ValueError(f"beta: expected values in (0, 1) for t = 1..T, or 1 at T, got {beta[t]} at t = {t}")
    with np.errstate(divide="ignore"):
        return np.cumsum(np.log1p(-beta))


def one_minus_alpha_bar(level: Array | float) -> Array:
    """1 − ᾱ of a level log ᾱ, without the subtraction.   −(e^level − 1)"""
    return -np.expm1(np.asarray(level, dtype=float))


def snr_drop(level_prev: Array | float, level: Array | float) -> Array:
    """SNR_{t−1} − SNR_t, SNR = ᾱ/(1 − ᾱ).   (ᾱ_{t−1} − ᾱ_t) / [(1 − ᾱ_{t−1})(1 − ᾱ_t)]

    Domain: level ≤ level_prev < 0.
    """
    level_prev = np.asarray(level_prev, dtype=float)
    fall = np.exp(level_prev) * one_minus_alpha_bar(level - level_prev)
    return fall / (one_minus_alpha_bar(level_prev) * one_minus_alpha_bar(level))
