"""Layers as they are printed: element by element, sums of products, and what is normalised."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from refdpm.textbook.expression import (HALF, PI, E, Phi, above, also, cos, count, exp, forms, joined, kept, largest, log, log1p,
                                        mean, move, named, node, sin, sqrt, square, tanh, term, total, where)
from refdpm.textbook.page import Array

Layer = Callable[[E], E]
LAST = "the last axis", (-1,)
SLOPE = 0.05                                                         # of the released code's leaky ReLU


# -- element by element ------------------------------------------------------------------------------------------------

def _far(x: E) -> E:
    """−|x|, whose exponential does not overflow."""
    return where(above(x, 0), -x, x)


def softplus(x: E) -> E:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)."""
    return term(lambda x: where(above(x, 0), x, 0) + log1p(exp(_far(x))), x)


@named
def sigmoid(x: E) -> E:
    """1/(1 + e^−x) = e^min(x, 0)/(1 + e^−|x|)."""
    e = exp(_far(x))
    return also(exp(where(above(x, 0), 0, x)) / (1 + e), where(above(x, 0), 1 / (1 + e), e / (1 + e)),
                where(above(0, x), e / (1 + e), 1 / (1 + e)), 1 / (1 + exp(-x)))


def logit(p: E) -> E:
    """log p − log(1 − p)."""
    return log(p) - log1p(-p)


def leaky_relu(x: E, slope: Any) -> E:
    """x above 0, slope·x below."""
    return where(above(x, 0), x, node(slope) * x)


def silu(x: E) -> E:
    """x/(1 + e^−x)."""
    return x * sigmoid(x)


def gelu(x: E, form: str) -> E:
    """x Φ(x), or ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    if form == "exact":
        return x * Phi(x)
    return HALF * x * term(lambda u: 1 + tanh(u), sqrt(2 / PI) * (x + node(0.044715) * (x * square(x))))


def dropout(x: E, keep: E, rate: E) -> E:
    """x/(1 − rate) where it is kept."""
    return where(keep, x / (1 - rate), 0)


# -- sums of products --------------------------------------------------------------------------------------------------

def product(x: E, weight: E) -> E:
    """Σ_i x_i W_ij: of the last axis of x and the one before the last of W."""
    return total(move(x, "as a column", lambda i: i[..., None]) * weight, "inputs", (-2,))


def matmul(a: E, b: E) -> E:
    """Σ_m a_lm b_mk, of the last two axes of both."""
    return product(a, move(b, "for every row", lambda i: i[..., None, :, :]))


def linear(x: E, weight: E, bias: E) -> E:
    """x W + b."""
    return product(x, weight) + bias


def per_step(x: E, weight: E, bias: E, t: Array) -> E:
    """x W_t + b_t, with a W and a b of its own for every t."""
    return linear(x, move(weight, "at t", lambda i: i[t]), move(bias, "at t", lambda i: i[t]))


def conv2d(image: E, kernel: E, bias: E) -> E:
    """y[h, w] = b + Σ_ij x[h+i−a, w+j−b] W[i, j] for a kernel of odd sides: zeros outside, the kernel not flipped."""
    return _convolved(image, kernel, bias, lambda index, shape: _patches(index, shape, 1, (shape[0] // 2, shape[1] // 2)))


def strided_conv2d(image: E, kernel: E, bias: E, stride: int, padding: int) -> E:
    """y[h, w] = b + Σ_ij x[h s + i − p, w s + j − p] W[i, j]."""
    return _convolved(image, kernel, bias, lambda index, shape: _patches(index, shape, stride, (padding, padding)))


def _convolved(image: E, kernel: E, bias: E, patches: Callable[..., Array]) -> E:
    seen = move(image, "what the kernel sees of", patches, kernel)
    return product(seen, move(kernel, "as a matrix", lambda i: i.reshape(-1, i.shape[-1]))) + bias


def _patches(index: Array, kernel: tuple[int, ...], stride: int, padding: tuple[int, int]) -> Array:
    """(N, H, W, C) → (N, rows, columns, height·width·C): the pixels under the kernel at each place."""
    padded = np.pad(index, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    rows, columns = (size - side + 1 for size, side in zip(padded.shape[1:3], kernel))
    return np.concatenate([padded[:, i:i + rows:stride, j:j + columns:stride]
                           for i in range(kernel[0]) for j in range(kernel[1])], axis=-1)


def mean_pool(image: E, factor: int) -> E:
    """The sum over a square of factor × factor pixels, divided by their number."""
    squares = move(image, "in squares", lambda i: np.stack(
        [i[:, a::factor, b::factor] for a in range(factor) for b in range(factor)], axis=-1))
    return total(squares, "pixels of a square") / node(factor ** 2)


def upsample(image: E, factor: int) -> E:
    """Every pixel as a square of factor × factor."""
    return move(image, "repeated", lambda i: i.repeat(factor, axis=1).repeat(factor, axis=2))


def multiscale(image: E, kernels: tuple[Any, ...], inside: Layer = lambda x: x) -> E:
    """Σ_s up_{2^s}( inside( conv_s( pool_{2^s}(x) ) ) ); a kernel has a weight and a bias."""
    scales = [upsample(inside(conv2d(mean_pool(image, 2 ** s), *kernel)), 2 ** s) for s, kernel in enumerate(kernels)]
    return sum(scales[1:], scales[0])


def multiscale_released(image: E, kernels: tuple[Any, ...]) -> E:
    """The mean over scales, with a leaky ReLU in each."""
    return multiscale(image, kernels, lambda x: leaky_relu(x, SLOPE)) / node(len(kernels))


# -- layers together ---------------------------------------------------------------------------------------------------

def stack(x: E, layers: tuple[Any, ...], layer: Callable[[E, Any], E]) -> E:
    """layer(… layer(layer(x, layers[0]), layers[1]) …)."""
    for parameters in layers:
        x = layer(x, parameters)
    return x


def side_by_side(a: E, b: E) -> E:
    """[a/√A, b/√B], of A and B features."""
    def scaled(x: E) -> E:
        return x / sqrt(count(x, "features"))

    return (move(scaled(a), "first", lambda i, other: np.concatenate([i, np.zeros((*i.shape[:-1], other[-1]), int)], axis=-1), b)
            + move(scaled(b), "then", lambda i, other: np.concatenate([np.zeros((*i.shape[:-1], other[-1]), int), i], axis=-1), a))


# -- bumps in t --------------------------------------------------------------------------------------------------------

def bumps(t: E, T: int, j: E, J: E, basis: str) -> E:
    """g_j = exp(−(t − τ_j)²/2w²)/Σ_k exp(−(t − τ_k)²/2w²), j = 1..J: τ_j in the middle of J parts of (0, T) and w as long as
    those; or, as released, τ_j from 1 to T, w half their distance."""
    last = node(T)
    if basis == "paper":
        width = last / J
        centre = (j - HALF) * width
    else:
        spacing = (last - 1) / where(above(J, 1), J - 1, 1)
        centre, width = 1 + (j - 1) * spacing, spacing / 2
    offset = move(t, "", lambda i: i[:, None]) - centre
    return softmax(-(square(offset) / (2 * square(width))))


def temporal(y: E, g: E) -> E:
    """Σ_j y_j g_j(t), every example with its own g."""
    own = move(g, "for all numbers of an example", lambda i, shape: i.reshape(len(i), *(1,) * (len(shape) - 2), i.shape[-1]), y)
    return total(y * own, "bumps")


# -- normalised --------------------------------------------------------------------------------------------------------

@named
def softmax(x: E) -> E:
    """exp(x_k)/Σ_j exp(x_j), the largest x subtracted first."""
    power = exp(x - largest(x))
    return power / kept(power, "classes")


def log_softmax(x: E) -> E:
    """x_k − log Σ_j exp(x_j), the largest x subtracted first."""
    top = largest(x)
    below = x - top
    rest = log(kept(exp(below), "classes"))
    return forms(below - rest, x - (top + rest))


def rbf(x: E, centre: E, log_width: E) -> E:
    """exp(s_k)/Σ_j exp(s_j), s_k = −|x − c_k|²/(2 w_k²), for the widths' logarithms."""
    width = exp(log_width)
    distance = total(square(move(x, "beside every centre", lambda i: i[..., None, :]) - centre), "coordinates")
    return softmax(-(distance / (2 * square(width))))


def group_norm(x: E, scale: E, shift: E, groups: int, epsilon: Any) -> E:
    """scale·(x − m)/√(v + ε) + shift; m and v are means over the pixels of an example and the channels of a group."""
    def average(a: E) -> E:
        return mean(a, "group", (1, -1))

    grouped = move(x, "grouped", lambda i: i.reshape(len(i), prod(i.shape[1:-1]), groups, i.shape[-1] // groups))
    offset = grouped - average(grouped)
    z = offset / sqrt(average(square(offset)) + node(epsilon))
    return scale * move(z, "ungrouped", lambda i, shape: i.reshape(shape), x) + shift


def layer_norm(x: E, scale: E, shift: E, epsilon: Any) -> E:
    """scale·(x − m)/√(v + ε) + shift; m and v are means over the last axis."""
    offset = x - mean(x, *LAST)
    return scale * (offset / sqrt(mean(square(offset), *LAST) + node(epsilon))) + shift


def rms_norm(x: E, scale: E, epsilon: Any) -> E:
    """scale·x/√(m + ε); m is the mean of x² over the last axis."""
    return scale * (x / sqrt(mean(square(x), *LAST) + node(epsilon)))


# -- attention, time -----------------------------------------------------------------------------------------------------

def attention(query: E, key: E, value: E) -> E:
    """Σ_m a_lm v_m with a_l· = softmax(q_l · k_m/√d)."""
    keys = move(key, "turned", lambda i: i.swapaxes(-1, -2))
    return matmul(softmax(matmul(query, keys) / sqrt(count(query, "components of a query"))), value)


def sinusoidal(time: E, width: int, order: str, spacing: str) -> E:
    """sin(t f_i) and cos(t f_i) with f_i = 10000^(−i/n)."""
    half = width // 2
    powers = node(np.arange(float(half))) / (half if spacing == "half" else half - 1)
    angle = move(time, "", lambda i: i[:, None]) * exp(-(powers * log(10000)))
    both = joined(cos(angle), sin(angle), axis=-1) if order == "cos_first" else joined(sin(angle), cos(angle), axis=-1)
    if order != "alternating":
        return both
    return move(both, "in turn", lambda i: i.reshape(len(i), 2, half).swapaxes(1, 2).reshape(len(i), width))


def _formula_of(layer_vjp: Any) -> Callable[..., E]:
    return PAIRS[f"{layer_vjp.__module__}.{layer_vjp.__name__}".removeprefix("refdpm.").removesuffix("_vjp")]


PAIRS: dict[str, Callable[..., Any]] = {
    "activation.softplus": softplus, "activation.sigmoid": sigmoid, "activation.logit": logit,
    "activation.tanh": tanh, "activation.leaky_relu": lambda x, *, slope=SLOPE: leaky_relu(x, slope),
    "activation.x_minus_log1p": lambda x: term(lambda x: x - log1p(x), x),
    "activation.expm1_minus_x": lambda x: term(lambda x: exp(x) - 1 - x, x),
    "layers.linear.linear": linear, "layers.linear.per_step": lambda x, weight, bias, *, t: per_step(x, weight, bias, t),
    "layers.conv.conv2d": conv2d,
    "layers.pool.mean_pool": lambda x, *, factor: mean_pool(x, factor),
    "layers.pool.upsample": lambda x, *, factor: upsample(x, factor),
    "layers.multiscale.multiscale": multiscale, "layers.multiscale.multiscale_released": multiscale_released,
    "layers.stack.stack": lambda x, layers, *, layer_vjp: stack(x, layers, _formula_of(layer_vjp)),
    "layers.stack.side_by_side": side_by_side,
    "layers.temporal.bumps": lambda t, *, T, count, basis="paper": bumps(
        t, T, node(np.arange(1.0, count + 1)), node(count), basis),
    "layers.temporal.temporal": lambda y, *, g: temporal(y, node(g)),
    "activation.softmax": softmax, "activation.log_softmax": log_softmax, "layers.rbf.rbf": rbf,
    "activation.silu": silu, "activation.gelu": lambda x, *, form="exact": gelu(x, form),
    "activation.dropout": lambda x, *, keep, rate: dropout(x, node(keep), node(rate)),
    "layers.conv.strided_conv2d": lambda x, weight, bias, *, stride, padding: strided_conv2d(x, weight, bias, stride, padding),
    "layers.norm.layer_norm": lambda x, scale, shift, *, epsilon=1e-5: layer_norm(x, scale, shift, epsilon),
    "layers.norm.rms_norm": lambda x, scale, *, epsilon=1e-6: rms_norm(x, scale, epsilon),
    "layers.attention.attention": attention,
    "layers.embedding.sinusoidal": lambda time, *, width, order="sin_first", spacing="half": sinusoidal(
        time, width, order, spacing),
    "layers.norm.group_norm": lambda x, scale, shift, *, groups, epsilon=1e-5: group_norm(x, scale, shift, groups, epsilon),
}
