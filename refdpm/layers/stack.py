"""Layers one after another, and two paths side by side."""

from collections.abc import Callable
from math import sqrt

import numpy as np

from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.vjp import Array, Pullback, Tree

LayerVjp = Callable[[Array, Tree], tuple[Array, Pullback]]


def stack(x: Array, layers: tuple[Tree, ...], *, layer_vjp: LayerVjp) -> Array:
    """layer(… layer(layer(x, layers[0]), layers[1]) …), for a layer(x, parameters) that comes with its adjoint.

    Shapes: as the last layer returns.
    Edge: no layers, and x is passed on as it is.
    """
    return stack_vjp(x, layers, layer_vjp=layer_vjp)[0]


def stack_vjp(x: Array, layers: tuple[Tree, ...], *, layer_vjp: LayerVjp) -> tuple[Array, Pullback]:
    """Adjoint of `stack`."""
    backs = []
    for layer in layers:
        x, back = layer_vjp(x, layer)
        backs.append(back)

    def pullback(dx: Array) -> tuple[Array, tuple[Tree, ...]]:
        dlayers = []
        for back in reversed(backs):
            dx, dlayer = back(dx)
            dlayers.append(dlayer)
        return dx, tuple(reversed(dlayers))

    return x, pullback


def side_by_side(a: Array, b: Array) -> Array:
    """[a/√A, b/√B]: the features of two paths as one array, each path with the same weight however many features it has.

    Shapes: a (…, A), b (…, B) → (…, A + B).
    Source: the authors' published code; not in the paper.
    """
    return np.concatenate([a / sqrt(a.shape[-1]), b / sqrt(b.shape[-1])], axis=-1)


def side_by_side_vjp(a: Array, b: Array) -> tuple[Array, Pullback]:
    """Adjoint of `side_by_side`:   dy = [da/√A, db/√B]."""
    A, B = a.shape[-1], b.shape[-1]
    return side_by_side(a, b), lambda dy: (dy[..., :A] / sqrt(A), dy[..., A:] / sqrt(B))


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
