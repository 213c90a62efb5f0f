"""Normalisation: of groups of channels, or of all of them at one place, to mean 0 and variance 1; or to mean square 1.

The paper's networks have none; those that came later have it between convolutions, or around attention.  It stands
here by itself, for whoever wants to compare theirs.

The differential, step by step.  M is the mean over a group, d = x − m with m = M x is the offset, v = M d², and s = √(v + ε):

    dd = dx − M dx                      the mean moves with every number of the group
    dv = 2 M(d dd) = 2 M(d dx)          that the mean moves changes nothing in v, because M d = 0
    ds = dv/(2s) = M(z dx)              with z = d/s
    dz = dd/s − d ds/s² = [dx − M dx − z M(z dx)]/s

The pullback is read off the last line.  M is its own adjoint, Σ w M(dx) = Σ M(w) dx; and so is dx ↦ z M(z dx), for the same reason:
Σ w z M(z dx) = Σ M(w z) z dx.  So the whole map from dx to dz is its own adjoint, and the pullback is the same formula with the
cotangent of z in the place of dx.  `gradcheck.worked` shows what the checker says where its last term is forgotten.
"""

from math import prod

import numpy as np

from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.vjp import Array, Pullback, unbroadcast


def group_norm(x: Array, scale: Array, shift: Array, *, groups: int, epsilon: float = 1e-5) -> Array:
    """y = scale·z + shift with z = (x − m)/√(v + ε).

    m = M x and v = M (x − m)², where M is the mean over all pixels of one example and over the channels of one group, C/groups
    neighbours.  v is the variance of those numbers, not an estimate of another one: they are divided by how many they are.

    Shapes: x (N, …, C), scale and shift (C,), or (N, 1, …, C) for every example its own → as x.   Domain: C divisible by groups.
    Edge: numbers that are all alike have v = 0, and y = shift.
    """
    z, _ = _standard_scores(x, groups, epsilon)
    return z.reshape(x.shape) * scale + shift


def _standard_scores(x: Array, groups: int, epsilon: float) -> tuple[Array, Array]:
    """z and √(v + ε), with an axis for the groups and the pixels in one: (N, pixels, groups, C/groups)."""
    grouped = _groups_of(x, groups)
    offset = grouped - _mean(grouped)
    root = np.sqrt(_mean(offset * offset) + epsilon)
    return offset / root, root


def _groups_of(x: Array, groups: int) -> Array:
    return x.reshape(len(x), prod(x.shape[1:-1]), groups, x.shape[-1] // groups)


def _mean(grouped: Array) -> Array:
    """M, with axes of length 1 left in place."""
    return grouped.mean(axis=(1, 3), keepdims=True)


def group_norm_vjp(x: Array, scale: Array, shift: Array, *, groups: int, epsilon: float = 1e-5) -> tuple[Array, Pullback]:
    """Adjoint of `group_norm`:

        dy = scale dz + z dscale + dshift        dz = [dx − M dx − z M(z dx)]/√(v + ε)

    which is derived above; the map from dx to dz is its own adjoint.
    """
    z, root = _standard_scores(x, groups, epsilon)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dz = _groups_of(unbroadcast(dy * scale, x.shape), groups)
        dx = (dz - _mean(dz) - z * _mean(z * dz)) / root
        dscale, dshift = unbroadcast(z.reshape(x.shape) * dy, scale.shape), unbroadcast(dy, shift.shape)
        return dx.reshape(x.shape), dscale, dshift

    return group_norm(x, scale, shift, groups=groups, epsilon=epsilon), pullback


def layer_norm(x: Array, scale: Array, shift: Array, *, epsilon: float = 1e-5) -> Array:
    """The same over the last axis alone, at each place by itself.   Shapes: x (…, C), scale and shift (C,) → as x."""
    return layer_norm_vjp(x, scale, shift, epsilon=epsilon)[0]


def layer_norm_vjp(x: Array, scale: Array, shift: Array, *, epsilon: float = 1e-5) -> tuple[Array, Pullback]:
    """Adjoint of `layer_norm`: every place is an example with one group."""
    y, back = group_norm_vjp(x.reshape(-1, x.shape[-1]), scale, shift, groups=1, epsilon=epsilon)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dx, dscale, dshift = back(dy.reshape(y.shape))
        return dx.reshape(x.shape), dscale, dshift

    return y.reshape(x.shape), pullback


def rms_norm(x: Array, scale: Array, *, epsilon: float = 1e-6) -> Array:
    """y = scale·z with z = x/√(m + ε), m the mean of x² over the last axis.   Shapes: x (…, C), scale (C,) → as x.

    Source: Zhang and Sennrich 2019.
    """
    return _by_root_mean_square(x, epsilon)[0] * scale


def _by_root_mean_square(x: Array, epsilon: float) -> tuple[Array, Array]:
    root = np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon)
    return x / root, root


def rms_norm_vjp(x: Array, scale: Array, *, epsilon: float = 1e-6) -> tuple[Array, Pullback]:
    """Adjoint of `rms_norm`.  With M the mean over the last axis,   dy = scale dz + z dscale,   dz = [dx − z M(z dx)]/√(m + ε)."""
    z, root = _by_root_mean_square(x, epsilon)

    def pullback(dy: Array) -> tuple[Array, Array]:
        dz = dy * scale
        return (dz - z * (z * dz).mean(axis=-1, keepdims=True)) / root, unbroadcast(z * dy, scale.shape)

    return rms_norm(x, scale, epsilon=epsilon), pullback


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
