"""The roll seen through noise ρ: density and denoiser at any point, and on a lattice that stands for all.

At a level log ᾱ, y = x_t/√ᾱ is a point c of the roll plus ρ ε, ρ² = (1 − ᾱ)/ᾱ. With exp(−‖y − c‖²/2ρ²) as the
weight along the roll, the zeroth moment is the density of y and the first two are those of x_0 given x_t.

A mean over x_t is a sum over a square lattice in the plane of y, as far as 6.5 ρ from the roll. For an
analytic integrand that dies away in all directions this converges faster than any power of the spacing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from .common import Array, Moments, open_doors
from .roll_curve import CurveNodes, curve_nodes, distance_to_curve

CUT = 6.5           # the lattice ends this many noises away from the roll
TILE = 12           # points are worked through in compact tiles of about TILE², small enough for the cache
WINDOW = 60.0       # a node is summed if it could contribute e^(−WINDOW/2), 1e-13, of the largest term


class Field(NamedTuple):
    """What is known at points y: log density of y, and the moments of x_0 given y.   Shapes: (N,), N rows."""

    log_density: Array
    moments: Moments


class Lattice(NamedTuple):
    """Points that stand for all y: E f(y) ≈ Σ weight f.   Shapes: weight (N,), N points in the field."""

    weight: Array
    field: Field


def field_at(y: Array, noise: float) -> Field:
    """The field at arbitrary points, in groups of neighbours.   Shapes: y (N, 2)."""
    nodes = curve_nodes(noise, noise + float(distance_to_curve(y).max()))
    nearest = cKDTree(nodes.x).query(y)[1]
    order = np.argsort(nearest, kind="stable")
    cuts = np.flatnonzero(np.diff(nearest[order] // 64)) + 1
    cuts = np.union1d(cuts, np.arange(TILE * TILE, len(y), TILE * TILE)).astype(int)
    field = _join([_field(y[group], nodes, noise) for group in np.split(order, cuts)])
    back = np.argsort(order)
    return Field(field.log_density[back], Moments(*(moment[back] for moment in field.moments)))


def lattice(noise: float, spacing: float) -> Lattice:
    """A square lattice of `spacing` noises over all of the plane where the density of y is not negligible.

    Derivation: it is made of tiles; a tile is dropped when none of its points can be within CUT noises of the
    roll.
    """
    step, nodes = spacing * noise, curve_nodes(noise, CUT * noise)
    side = TILE * step
    low, high = nodes.x.min(axis=0) - CUT * noise, nodes.x.max(axis=0) + CUT * noise
    corners = [np.arange(a, b, side) for a, b in zip(low, high)]
    corner = np.stack(np.meshgrid(*corners, indexing="ij"), axis=-1).reshape(-1, 2)
    reach = CUT * noise + side / np.sqrt(2)
    corner = corner[cKDTree(nodes.x).query(corner + side / 2, distance_upper_bound=reach)[0] < reach]
    inner = step * (0.5 + np.indices((TILE, TILE)).reshape(2, -1).T)
    field = _join([_field(a + inner, nodes, noise) for a in corner])
    return Lattice(np.exp(field.log_density) * step ** 2, field)


def _field(y: Array, nodes: CurveNodes, noise: float) -> Field:
    """The field at neighbouring points, from the nodes that matter to them, in units of the noise.

    Derivation: all y lie within R of their middle, which is D from the roll; so the nearest node of any y is
    within R + D of it, and a node whose term is e^(−WINDOW/2) of the largest within √((R + D)² + WINDOW ρ²).
    The origin is put among the nodes that remain, so that the covariance, a difference of second moments,
    keeps its digits.
    """
    middle = (y.min(axis=0) + y.max(axis=0)) / 2
    R = np.sqrt(np.sum((y - middle) ** 2, axis=1).max())
    square = np.sum((nodes.x - middle) ** 2, axis=1)
    keep = square <= (R + np.sqrt((R + np.sqrt(square.min())) ** 2 + WINDOW * noise ** 2)) ** 2
    origin = nodes.x[keep].mean(axis=0)
    c, X = (nodes.x[keep] - origin) / noise, (y - origin) / noise
    a, b = c.T
    exponent = X @ c.T - 0.5 * (a * a + b * b)
    top = exponent.max(axis=1, keepdims=True)
    powers = np.stack([np.ones_like(a), a, b, a * a, a * b, a * b, b * b], axis=1)
    sums = np.exp(exponent - top) @ (nodes.weight[keep, None] * powers)
    mean, second = sums[:, 1:3] / sums[:, :1], sums[:, 3:] / sums[:, :1]
    cov = second.reshape(-1, 2, 2) - mean[:, :, None] * mean[:, None, :]
    log_density = np.log(sums[:, 0]) + top[:, 0] - 0.5 * np.sum(X * X, axis=1) - np.log(2 * np.pi)
    return Field(log_density - 2 * np.log(noise), Moments(origin + noise * mean, noise ** 2 * cov))


def _join(fields: list[Field]) -> Field:
    """Several fields as one, row after row."""
    log_density = np.concatenate([field.log_density for field in fields])
    mean, cov = (np.concatenate([field.moments[i] for field in fields]) for i in range(2))
    return Field(log_density, Moments(mean, cov))


open_doors(globals())
