"""Layers as they are printed: element by element, sums of products, and what is normalised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.textbook.expression import (E, above, exp, kept, largest, log, log1p, mean, move, node, sqrt, square, tanh, term,
                                        total, where)
from refdpm.textbook.page import Array


# -- element by element ------------------------------------------------------------------------------------------------

def softplus(x: E) -> E:
    """log(1 + eˣ)."""
    return term(lambda x: log1p(exp(x)), x)


def sigmoid(x: E) -> E:
    """1/(1 + e^−x)."""
    return 1 / (1 + exp(-x))


def logit(p: E) -> E:
    """log p − log(1 − p)."""
    return log(p) - log1p(-p)


def leaky_relu(x: E, slope: Any) -> E:
    """x above 0, slope·x below."""
    return where(above(x, 0), x, node(slope) * x)


# -- sums of products --------------------------------------------------------------------------------------------------

def product(x: E, weight: E) -> E:
    """Σ_i x_i W_ij: of the last axis of x and the one before the last of W."""
    return total(move(x, "as a column", lambda i: i[..., None]) * weight, "inputs", (-2,))


def linear(x: E, weight: E, bias: E) -> E:
    """x W + b."""
    return product(x, weight) + bias


def per_step(x: E, weight: E, bias: E, t: Array) -> E:
    """x W_t + b_t, with a W and a b of its own for every t."""
    return linear(x, move(weight, "at t", lambda i: i[t]), move(bias, "at t", lambda i: i[t]))


def conv2d(image: E, kernel: E, bias: E, sides: tuple[int, int]) -> E:
    """y[h, w] = b + Σ_ij x[h+i−a, w+j−b] W[i, j] for a kernel of those odd sides: black outside, the kernel not flipped."""
    patches = move(image, "squares of", lambda i: _squares(i, *sides))
    return product(patches, move(kernel, "as a matrix", lambda i: i.reshape(-1, i.shape[-1]))) + bias


def _squares(index: Array, height: int, width: int) -> Array:
    """(N, H, W, C) → (N, H, W, height·width·C): the pixels under the kernel at each place."""
    _, H, W, _ = index.shape
    padded = np.pad(index, ((0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)))
    return np.concatenate([padded[:, i:i + H, j:j + W] for i in range(height) for j in range(width)], axis=-1)


# -- normalised --------------------------------------------------------------------------------------------------------

def softmax(x: E) -> E:
    """exp(x_k)/Σ_j exp(x_j), the largest x subtracted first."""
    power = exp(x - largest(x))
    return power / kept(power, "classes")


def rbf(x: E, centre: E, log_width: E) -> E:
    """exp(s_k)/Σ_j exp(s_j), s_k = −|x − c_k|²/(2 w_k²), for the widths' logarithms."""
    width = exp(log_width)
    distance = total(square(move(x, "beside every centre", lambda i: i[..., None, :]) - centre), "coordinates")
    return softmax(-(distance / (2 * square(width))))


def group_norm(x: E, scale: E, shift: E, groups: int, epsilon: Any) -> E:
    """scale·(x − m)/√(v + ε) + shift; m and v are means over the pixels of an example and the channels of a group."""
    def average(a: E) -> E:
        return mean(a, "group", (1, -1))

    grouped = move(x, "grouped", lambda i: i.reshape(len(i), -1, groups, i.shape[-1] // groups))
    offset = grouped - average(grouped)
    z = offset / sqrt(average(square(offset)) + node(epsilon))
    return scale * move(z, "as before", lambda i, shape: i.reshape(shape), x) + shift


PAIRS: dict[str, Callable[..., Any]] = {
    "layers.norm.softmax": softmax, "layers.rbf.rbf": rbf,
    "layers.norm.group_norm": lambda x, scale, shift, *, groups, epsilon: group_norm(x, scale, shift, groups, epsilon),
    "layers.activation.softplus": softplus, "layers.activation.sigmoid": sigmoid, "layers.activation.logit": logit,
    "layers.activation.tanh": tanh, "layers.activation.leaky_relu": leaky_relu,
    "layers.linear.linear": linear, "layers.linear.per_step": lambda x, weight, bias, *, t: per_step(x, weight, bias, t),
}
