"""Affine layers: one for all rows (or pixels), and the read-out that has weights of its own for every time step."""

from typing import NamedTuple

import numpy as np

from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.vjp import Array, Pullback, unbroadcast


class Affine(NamedTuple):
    """The parameters of an affine map, or of a convolution."""

    weight: Array
    bias: Array


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """x W + b, for rows; for the pixels of images this is the convolution with a 1 × 1 kernel.

    Shapes: x (…, in), weight (in, out), bias (out,) → (…, out).
    """
    y = np.asarray(_rows(x) @ weight, dtype=np.result_type(x, weight, bias))
    y += bias
    return y.reshape(*x.shape[:-1], weight.shape[1])


def linear_vjp(x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback]:
    """Adjoint of `linear`:   dy = dx W + x dW + db."""

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        drows = _rows(dy)
        ones = np.ones(len(drows), np.real(drows).dtype)       # a product sums faster
        return (drows @ weight.T).reshape(x.shape), _rows(x).T @ drows, unbroadcast(ones @ drows, bias.shape)

    return linear(x, weight, bias), pullback


def _rows(x: Array) -> Array:
    """(…, width) → (rows, width): one matrix product instead of many."""
    return x.reshape(-1, x.shape[-1])


def per_step(x: Array, weight: Array, bias: Array, *, t: Array) -> Array:
    """Row i through the affine map of its own step:   x_i W[t_i] + b[t_i].

    Shapes: x (N, …, in), weight (T+1, in, out), bias (T+1, out), t integers (N,) → (N, …, out).
    """
    return _through_blocks(x, weight, bias, _blocks(t))


def per_step_vjp(x: Array, weight: Array, bias: Array, *, t: Array) -> tuple[Array, Pullback]:
    """Adjoint of `per_step`:   dy_i = dx_i W[t_i] + x_i dW[t_i] + db[t_i]; a step that no row is at gets zeros."""
    blocks = _blocks(t)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dtype = np.result_type(x, weight, dy)
        dx, dweight, dbias = np.empty_like(x, dtype), np.zeros(weight.shape, dtype), np.zeros(bias.shape, dtype)
        for steps, rows in blocks:
            dy_block = _stack(dy[rows], steps)
            if isinstance(rows, slice):                             # all of them, whatever their order in memory
                np.matmul(dy_block, weight[steps].swapaxes(1, 2), out=_stack(dx, steps))
            else:
                dx[rows] = (dy_block @ weight[steps].swapaxes(1, 2)).reshape(-1, *x.shape[1:])
            dweight[steps] = _stack(x[rows], steps).swapaxes(1, 2) @ dy_block
            dbias[steps] = dy_block.sum(axis=1)
        return dx, dweight, dbias

    return _through_blocks(x, weight, bias, blocks), pullback


Blocks = list[tuple[Array, Array | slice]]


def _blocks(t: Array) -> Blocks:
    """Groups of steps that equally many rows are at, (B,), with those rows, (B·n,), step by step: a stack of B matrix products.

    Where t is sorted with every step equally often, as in the full sum over t, the one group is all rows as they stand.
    """
    order = slice(None) if (t[1:] >= t[:-1]).all() else np.argsort(t, kind="stable")
    ordered = t[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(t) - 1) + 1 if len(t) else t
    starts = np.append(0, ends)[:-1]
    steps, counts = ordered[starts], ends - starts
    if isinstance(order, slice):
        if (counts == counts[:1]).all() and len(t):
            return [(steps, order)]
        order = np.arange(len(t))
    groups = [(counts == count, np.arange(count)) for count in np.unique(counts)]
    return [(steps[alike], order[(starts[alike, None] + within).ravel()]) for alike, within in groups]


def _stack(rows: Array, steps: Array) -> Array:
    """(B·n, …, width) → (B, n·…, width)."""
    return rows.reshape(len(steps), -1, rows.shape[-1])


def _through_blocks(x: Array, weight: Array, bias: Array, blocks: Blocks) -> Array:
    y = np.empty((*x.shape[:-1], bias.shape[1]), dtype=np.result_type(x, weight, bias))
    for steps, rows in blocks:
        y[rows] = (_stack(x[rows], steps) @ weight[steps] + bias[steps, None]).reshape(y[rows].shape)
    return y


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
