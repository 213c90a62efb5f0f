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

    Shapes: x (N, in), weight (T+1, in, out), bias (T+1, out), t integers (N,) → (N, out).
    """
    y = np.empty((len(x), bias.shape[1]), dtype=np.result_type(x, weight, bias))
    for steps, rows in _blocks(t):
        y[rows] = x[rows] @ weight[steps] + bias[steps, None]
    return y


def per_step_vjp(x: Array, weight: Array, bias: Array, *, t: Array) -> tuple[Array, Pullback]:
    """Adjoint of `per_step`:   dy_i = dx_i W[t_i] + x_i dW[t_i] + db[t_i]; a step that no row is at gets zeros."""

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dtype = np.result_type(x, weight, dy)
        dx, dweight, dbias = np.empty(x.shape, dtype), np.zeros(weight.shape, dtype), np.zeros(bias.shape, dtype)
        for steps, rows in _blocks(t):
            dx[rows] = dy[rows] @ weight[steps].swapaxes(1, 2)
            dweight[steps] = x[rows].swapaxes(1, 2) @ dy[rows]
            dbias[steps] = dy[rows].sum(axis=1)
        return dx, dweight, dbias

    return per_step(x, weight, bias, t=t), pullback


def _blocks(t: Array) -> Iterator[tuple[Array, Array]]:
    """Steps that equally many rows are at, (B,), with those rows, (B, n): each group is one stack of matrix products."""
    order = np.argsort(t, kind="stable")
    steps, starts, counts = np.unique(t[order], return_index=True, return_counts=True)
    for count in np.unique(counts):
        alike = counts == count
        yield steps[alike], order[starts[alike, None] + np.arange(count)]
