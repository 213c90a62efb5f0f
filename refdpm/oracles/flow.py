"""Samplers on normal data, exactly: every step multiplies the state by a number, and adds a known variance.

x_0 ~ N(0, s²) makes x = x_0 + σ ε normal with variance s² + σ², and the mean of x_0 given x is x s²/(s² + σ²).
The slope of the flow, (x − that)/σ, is a x with a = σ/(s² + σ²), so that the flow itself is x ∝ √(s² + σ²), and a chain
of steps is a product of numbers. With noise, the variance P follows P' = g² P + (added)².

On a straight path x_t = (1−t) x_0 + t ε the variance is v = (1−t)² s² + t², quadratic in t, the flow is x ∝ √v, and the slope is
½ x v'/v. The midpoint rule has there error h³ times (√v)''' + …, which vanishes for such a v: it is of order 3, not 2.

The paper's KL terms, with exact means and the posterior's variance, are on such data
½ (SNR_{t−1} − SNR_t) s²/(1 + s² SNR_t); as the steps become many they add up to ½ ∫ s²/(1 + s² SNR) dSNR, which is half
the logarithm of a quotient.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .common import Array, open_doors


# -- chains in σ -------------------------------------------------------------------------------------------------------

def flow(s2: float, start: float, end: float) -> float:
    """By what the flow multiplies x from one level to another."""
    return float(np.sqrt((s2 + end ** 2) / (s2 + start ** 2)))


def euler(s2: float, sigmas: Array) -> float:
    """The same by Euler's rule along levels."""
    return float(np.prod([1 + (after - at) * _rate(s2, at) for at, after in pairwise(sigmas)]))


def heun(s2: float, sigmas: Array, *, looks_at: str = "new", divides_by: str = "new") -> float:
    """By Heun's rule, right if its second slope looks at the new level and divides by it; or wrong in one of these, or in both."""
    product = 1.0
    for at, after in pairwise(sigmas):
        there = 1 + (after - at) * _rate(s2, at)
        second = there
        if after > 0:
            look, by = (after if which == "new" else at for which in (looks_at, divides_by))
            second = 1 + (after - at) / 2 * (_rate(s2, at) + there * (1 - s2 / (s2 + look ** 2)) / by)
        product *= second
    return float(product)


def multistep(s2: float, sigmas: Array) -> float:
    """By DPM-Solver++ 2M; Euler's rule in the first step and in one to 0."""
    x, said = 1.0, None
    for n, (at, after) in enumerate(pairwise(sigmas)):
        now = x * s2 / (s2 + at ** 2)
        guess = now
        if said is not None and after > 0:
            guess = now + (now - said) / 2 * np.log(at / after) / np.log(sigmas[n - 1] / at)
        x, said = x * after / at + guess * (1 - after / at), now
    return float(x)


def ancestral(s2: float, sigmas: Array, *, eta: float = 1.0, start: float | None = None) -> float:
    """The variance of the samples of ancestral Euler steps, from variance `start`, or that of the data at the first level."""
    var = s2 + sigmas[0] ** 2 if start is None else start
    for at, after in pairwise(sigmas):
        up = min(after, eta * np.sqrt(after ** 2 * (at ** 2 - after ** 2) / at ** 2))
        var = (1 + (np.sqrt(after ** 2 - up ** 2) - at) * _rate(s2, at)) ** 2 * var + up ** 2
    return float(var)


def churned(s2: float, sigmas: Array, *, gammas: Array, scale: float = 1.0) -> float:
    """The variance of the samples of Heun's steps, each from a level that is (1 + γ) times as high, from that of the data at the
    first level."""
    var = s2 + sigmas[0] ** 2
    for (at, after), gamma in zip(pairwise(sigmas), gammas, strict=True):
        raised = (1 + gamma) * at
        var = heun(s2, np.array([raised, after])) ** 2 * (var + scale ** 2 * (raised ** 2 - at ** 2))
    return float(var)


def _rate(s2: float, sigma: float) -> float:
    return sigma / (s2 + sigma ** 2)


# -- straight paths ------------------------------------------------------------------------------------------------------

def straight(s2: float, start: float, end: float) -> float:
    """By what the flow multiplies x_t from one time to another."""
    return float(np.sqrt(_variance(s2, end) / _variance(s2, start)))


def straight_steps(s2: float, times: Array, *, rule: str = "euler") -> float:
    """The same by Euler's or the midpoint rule along times."""
    product = 1.0
    for at, after in pairwise(times):
        slope = _slope(s2, at)
        middle = (1 + (after - at) / 2 * slope) * _slope(s2, (at + after) / 2)
        product *= 1 + (after - at) * (slope if rule == "euler" else middle)
    return float(product)


def _variance(s2: float, t: float) -> float:
    return (1 - t) ** 2 * s2 + t ** 2


def _slope(s2: float, t: float) -> float:
    return (t - (1 - t) * s2) / _variance(s2, t)


# -- many steps ------------------------------------------------------------------------------------------------------------

def kl_terms(s2: float, snr: Array) -> float:
    """Σ ½ (SNR_{t−1} − SNR_t) s²/(1 + s² SNR_t) for ratios that fall."""
    return float(sum((before - now) * s2 / (1 + s2 * now) for before, now in pairwise(snr)) / 2)


def kl_limit(s2: float, high: float, low: float) -> float:
    """½ ∫ s²/(1 + s² SNR) dSNR between two ratios: what they come to in the end."""
    return float(np.log((1 + s2 * high) / (1 + s2 * low)) / 2)


def kl_excess(s2: float, high: float, low: float) -> float:
    """T times (`kl_terms` − `kl_limit`) for many steps equally spaced in log SNR.

    Derivation: with u = s² SNR and Δ = log(high/low)/T, a term less its limit is ½ [y − log(1 + y)] ≈ ¼ y² for
    y = (u' − u)/(1 + u) ≈ Δ u/(1 + u); the sum of them over log u is ¼ Δ [log(1 + u) + 1/(1 + u)].
    """
    def whole(snr: float) -> float:
        return float(np.log1p(s2 * snr) + 1 / (1 + s2 * snr))

    return float(np.log(high / low)) / 4 * (whole(high) - whole(low))


open_doors(globals())
