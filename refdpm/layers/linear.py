"""Affine layers: one for all rows (or pixels), and the read-out that has weights of its own for every time step."""

from typing import NamedTuple

import numpy as np

from refdpm.vjp import Array, Pullback


class Affine(NamedTuple):
    """The parameters of an affine map, or of a convolution."""

    weight: Array
    bias: Array


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """x W + b, for rows; for the pixels of images this is the convolution with a 1 × 1 kernel.

    Shapes: x (…, in), weight (in, out), bias (out,) → (…, out).
    """
    return (_rows(x) @ weight + bias).reshape(*x.shape[:-1], -1)


def linear_vjp(x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback]:
    """Adjoint of `linear`:   dy = dx W + x dW + db."""

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        drows = _rows(dy)
        return (drows @ weight.T).reshape(x.shape), _rows(x).T @ drows, drows.sum(axis=0)

    return linear(x, weight, bias), pullback


def _rows(x: Array) -> Array:
    """(…, width) → (rows, width): one matrix product instead of many."""
    return x.reshape(-1, x.shape[-1])


def per_step(x: Array, weight: Array, bias: Array, *, t: Array) -> Array:
    """Row i through the affine map of its own step:   x_i W[t_i] + b[t_i].

    Shapes: x (N, in), weight (T+1, in, out), bias (T+1, out), t integers (N,) → (N, out).
    """
    return _through_blocks(x, weight, bias, _blocks(t))


def per_step_vjp(x: Array, weight: Array, bias: Array, *, t: Array) -> tuple[Array, Pullback]:
    """Adjoint of `per_step`:   dy_i = dx_i W[t_i] + x_i dW[t_i] + db[t_i]; a step that no row is at gets zeros."""
    grouped = _blocks(t)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        order, back, blocks = grouped
        dtype = np.result_type(x, weight, dy)
        dx, dweight, dbias = np.empty(x.shape, dtype), np.zeros(weight.shape, dtype), np.zeros(bias.shape, dtype)
        x_in_order, dy_in_order = x[order], dy[order]
        for steps, rows in blocks:
            dy_block = _stack(dy_in_order[rows], steps)
            np.matmul(dy_block, weight[steps].swapaxes(1, 2), out=_stack(dx[rows], steps))
            dweight[steps] = _stack(x_in_order[rows], steps).swapaxes(1, 2) @ dy_block
            dbias[steps] = dy_block.sum(axis=1)
        return dx[back], dweight, dbias

    return _through_blocks(x, weight, bias, grouped), pullback


Order = Array | slice
Blocks = tuple[Order, Order, list[tuple[Array, slice]]]


def _blocks(t: Array) -> Blocks:
    """An order of the rows, the order back, and in that order the groups of steps that equally many rows are at: those steps, (B,),
    and their rows, B·n of them, step by step, so that a group is a stack of B matrix products.

    Where t is sorted with every step equally often, as in the full sum over t, the one group is all rows as they stand.
    """
    steps, counts = np.unique(t, return_counts=True)
    if len(t) and (counts == counts[0]).all() and (t[1:] >= t[:-1]).all():
        return slice(None), slice(None), [(steps, slice(None))]
    order = np.lexsort((t, counts[np.searchsorted(steps, t)]))
    groups = [(count, steps[counts == count]) for count in np.unique(counts)]
    ends = np.cumsum([count * len(alike) for count, alike in groups], dtype=int)
    return order, np.argsort(order), [(alike, slice(end - count * len(alike), end))
                                      for (count, alike), end in zip(groups, ends)]


def _stack(rows: Array, steps: Array) -> Array:
    """(B·n, width) → (B, n, width): a view of rows that are next to each other."""
    return rows.reshape(len(steps), -1, rows.shape[1])


def _through_blocks(x: Array, weight: Array, bias: Array, grouped: Blocks) -> Array:
    order, back, blocks = grouped
    y, x_in_order = np.empty((len(x), bias.shape[1]), dtype=np.result_type(x, weight, bias)), x[order]
    for steps, rows in blocks:
        _stack(y[rows], steps)[:] = _stack(x_in_order[rows], steps) @ weight[steps] + bias[steps, None]
    return y[back]
