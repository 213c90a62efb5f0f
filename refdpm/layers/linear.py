"""Affine layers: one for all rows, and the read-out that has weights of its own for every time step."""

from collections.abc import Iterator

import numpy as np

from refdpm.vjp import Array, Pullback


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """x W + b.

    Shapes: x (N, in), weight (in, out), bias (out,) → (N, out).
    """
    return x @ weight + bias


def linear_vjp(x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback]:
    """Adjoint of `linear`:   dy = dx W + x dW + db."""

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        return dy @ weight.T, x.T @ dy, dy.sum(axis=0)

    return linear(x, weight, bias), pullback


def per_step(x: Array, weight: Array, bias: Array, *, t: Array) -> Array:
    """Row i through the affine map of its own step:   x_i W[t_i] + b[t_i].

    Rows that share a t go through one matrix product.

    Shapes: x (N, in), weight (T+1, in, out), bias (T+1, out), t integers (N,) → (N, out).
    """
    y = np.empty((len(x), bias.shape[1]), dtype=np.result_type(x, weight, bias))
    for s, rows in _blocks(t):
        y[rows] = x[rows] @ weight[s] + bias[s]
    return y


def per_step_vjp(x: Array, weight: Array, bias: Array, *, t: Array) -> tuple[Array, Pullback]:
    """Adjoint of `per_step`:   dy_i = dx_i W[t_i] + x_i dW[t_i] + db[t_i]; a step that no row is at gets zeros."""

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dtype = np.result_type(x, weight, dy)
        dx, dweight, dbias = np.empty(x.shape, dtype), np.zeros(weight.shape, dtype), np.zeros(bias.shape, dtype)
        for s, rows in _blocks(t):
            dx[rows] = dy[rows] @ weight[s].T
            dweight[s] = x[rows].T @ dy[rows]
            dbias[s] = dy[rows].sum(axis=0)
        return dx, dweight, dbias

    return per_step(x, weight, bias, t=t), pullback


def _blocks(t: Array) -> Iterator[tuple[int, Array | slice]]:
    """Each value of t with the rows that have it: a slice where t is sorted, so that no row is copied."""
    is_sorted = bool(np.all(t[1:] >= t[:-1]))
    order = np.arange(len(t)) if is_sorted else np.argsort(t, kind="stable")
    starts = np.flatnonzero(np.diff(t[order], prepend=-1))
    for start, stop in zip(starts, np.append(starts[1:], len(t))):
        yield int(t[order[start]]), slice(start, stop) if is_sorted else order[start:stop]
