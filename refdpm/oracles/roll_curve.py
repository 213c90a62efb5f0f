"""The noiseless Swiss roll as a measure on a curve, and integrals along it.

    φ ~ U(1.5π, 4.5π)
    c(φ) = [ (φ cos φ, φ sin φ) − (2, 2/(3π)) ] / scale,   scale² = (9.75π² − 4 − 4/(9π²))/2

so that E c = 0 and E‖c‖² = 2. All moments are elementary integrals, because sin and cos of 2φ take simple
values at both ends. An integral over the roll, seen through noise, is a sum over nodes on the curve: pieces a
few noise deviations long, eight Gauss points in each, shorter pieces at the two ends, where the integrand is
cut off instead of dying away.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .common import Array, open_doors

START, END = 1.5 * np.pi, 4.5 * np.pi
CENTRE = np.array([2.0, 2.0 / (3.0 * np.pi)])
SCALE = float(np.sqrt((9.75 * np.pi ** 2 - 4 - 4 / (9 * np.pi ** 2)) / 2))


class CurveNodes(NamedTuple):
    """A quadrature rule for the roll: E f(x_0) ≈ Σ weight f(x).   Shapes: x (J, 2), weight (J,)."""

    x: Array
    weight: Array


def curve(phi: Array) -> Array:
    """c(φ), points of the roll.   Shapes: phi (…), result (…, 2)."""
    phi = np.asarray(phi, dtype=float)
    raw = np.stack([phi * np.cos(phi), phi * np.sin(phi)], axis=-1)
    return (raw - CENTRE) / SCALE


def points(N: int) -> Array:
    """N points of the roll at the midpoints of N equal parts of φ: data without a seed, (N, 2)."""
    return curve(START + (END - START) * (np.arange(N) + 0.5) / N)


def covariance() -> Array:
    """Cov(x_0), (2, 2), in closed form; its trace is 2 and its mean 0.

    Derivation: E φ² = 9.75π², E φ² cos 2φ = −½, E φ² sin 2φ = 3π for the raw roll; minus the squared mean.
    """
    second = np.array([[9.75 * np.pi ** 2 - 0.5, 3 * np.pi], [3 * np.pi, 9.75 * np.pi ** 2 + 0.5]]) / 2
    return (second - np.outer(CENTRE, CENTRE)) / SCALE ** 2


def curve_length() -> float:
    """Length of the roll."""
    return float(_arc(END) - _arc(START)) / SCALE


def curve_entropy() -> float:
    """Entropy of x_0 along the curve, with respect to its length, in nats.   E log(3π √(1+φ²)/scale)

    Derivation: ∫ log(1+φ²) dφ = φ log(1+φ²) − 2φ + 2 arctan φ.
    """
    def antiderivative(phi: float) -> float:
        return float(phi * np.log1p(phi * phi) - 2 * phi + 2 * np.arctan(phi))

    width = END - START
    mean_log = (antiderivative(END) - antiderivative(START)) / (2 * width)
    return float(np.log(width) + mean_log - np.log(SCALE))


def curve_nodes(noise: float, farthest: float) -> CurveNodes:
    """Nodes for integrals of exp(−‖y − c(φ)‖²/2 noise²) × something smooth, y up to `farthest` from the roll.

    Derivation: along the curve the exponent has the second derivative (1 ± curvature · distance)/noise², and
    the curvature is at most 1.5. So the integrand is a bell no narrower than noise/√(1 + 1.5 farthest) or, at
    an end, an exponential no narrower than noise²/farthest. Pieces are 2.5 of the former long (0.4 at most:
    the curve itself must be smooth in them); at the ends they begin with one of the latter and double.
    """
    grid = np.linspace(START, END, 4097)
    arc = (_arc(grid) - _arc(START)) / SCALE
    longest = min(2.5 * noise / np.sqrt(1 + 1.5 * farthest), 0.4)
    edges = np.interp(_pieces(arc[-1], longest, min(longest, noise ** 2 / farthest)), arc, grid)
    x, w = np.polynomial.legendre.leggauss(8)
    half = np.diff(edges)[:, None] / 2
    phi = (edges[:-1, None] + half * (1 + x)).ravel()
    return CurveNodes(curve(phi), (half * w).ravel() / (END - START))


def distance_to_curve(x: Array, *, steps: int = 6) -> Array:
    """Distance of points to the roll.   Shapes: x (N, 2), result (N,).

    Derivation: the roll is cut into 24 arcs. On each, the nearest of 9 points and its neighbours enclose a
    minimum of the square of the distance; Newton's method for a zero of its slope finds it, and halves the
    interval instead where it would leave it or where the curvature has the wrong sign.
    """
    raw = np.asarray(x, dtype=float)[:, None, :] * SCALE + CENTRE
    edges = np.linspace(START, END, 25)
    start = edges[:-1] + np.diff(edges) * np.linspace(0, 1, 9)[:, None]
    phi = np.take_along_axis(start, np.argmin(_square_distance(raw[:, None], start), axis=1), axis=0)
    low, high = (np.clip(phi + sign * np.diff(edges) / 8, edges[:-1], edges[1:]) for sign in (-1, 1))
    for _ in range(steps):
        slope, curvature = _derivatives(raw, phi)
        low, high = np.where(slope < 0, phi, low), np.where(slope > 0, phi, high)
        newton = phi - slope / np.where(curvature > 0, curvature, np.nan)
        phi = np.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
    return np.sqrt(_square_distance(raw, phi).min(axis=1)) / SCALE


def _square_distance(raw: Array, phi: Array) -> Array:
    """‖x − c(φ)‖² in the units of the raw spiral."""
    return (raw[..., 0] - phi * np.cos(phi)) ** 2 + (raw[..., 1] - phi * np.sin(phi)) ** 2


def _derivatives(raw: Array, phi: Array) -> tuple[Array, Array]:
    """f' and f'' of f = ½‖x − c‖²:  c' = u + φ n,  c'' = 2 n − φ u,  u = (cos φ, sin φ),  n = u'."""
    cos, sin = np.cos(phi), np.sin(phi)
    along = raw[..., 0] * cos + raw[..., 1] * sin - phi
    across = -raw[..., 0] * sin + raw[..., 1] * cos
    return -(along + phi * across), 1 + phi * phi - (2 * across - phi * along)


def _arc(phi: Array | float) -> Array:
    """Arc length of the raw spiral, ∫ √(1+φ²) dφ."""
    phi = np.asarray(phi, dtype=float)
    return 0.5 * (phi * np.sqrt(1 + phi * phi) + np.arcsinh(phi))


def _pieces(length: float, longest: float, shortest: float) -> Array:
    """Edges on [0, length]: pieces that double from `shortest` at both ends to `longest`, even in between."""
    doublings = max(0, int(np.ceil(np.log2(longest / shortest))))
    end = np.cumsum(np.minimum(shortest * 2.0 ** np.arange(doublings), longest))
    end = np.concatenate([[0.0], end[end < length / 3]])
    inner = np.linspace(end[-1], length - end[-1], int(np.ceil((length - 2 * end[-1]) / longest)) + 1)
    return np.concatenate([end[:-1], inner, length - end[-2::-1]] if len(end) > 1 else [inner])


open_doors(globals())
