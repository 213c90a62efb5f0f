"""The network of images as it is printed: features of every pixel, from them coefficients of bumps in t, from those the heads."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from refdpm.textbook.chain import Normal, Row, of_step
from refdpm.textbook.expression import E, count, move, node, tanh
from refdpm.textbook.layers import (SLOPE, bumps, leaky_relu, linear, multiscale, multiscale_released, side_by_side, softplus,
                                    stack, temporal)
from refdpm.textbook.networks import Heads, read_out
from refdpm.textbook.page import Array

Layer = Callable[[E, Any], E]
NUMBERS = np.arange(1.0, 1001.0)                                     # of bumps: a formula does not know how many there are


def _tanh(x: E, layer: Any) -> E:
    return tanh(linear(x, *layer))


def _leaky(x: E, layer: Any) -> E:
    return leaky_relu(linear(x, *layer), SLOPE)


FORMS: dict[str, tuple[Layer, Layer]] = {"paper": (lambda x, kernels: softplus(multiscale(x, kernels)), _tanh),
                                         "released": (multiscale_released, _leaky)}
"""The convolutional layer of each form, and its layer elsewhere."""


def features(parameters: Any, x: E, form: str) -> E:
    """Of every pixel: from convolutions, from layers on the whole image whose outputs are dealt to the pixels, or from both."""
    convolution, layer = FORMS[form]
    near = stack(x, parameters.conv, convolution)
    row = stack(move(x, "as a row", lambda i: i.reshape(len(i), prod(i.shape[1:]))), parameters.dense, layer)
    dealt = move(row, "dealt to the pixels", lambda i, shape: i.reshape(*shape[:-1], i.shape[-1] // prod(shape[1:-1])), x)
    both = side_by_side(near, dealt) if parameters.conv and parameters.dense else near if parameters.conv else dealt
    return stack(both, parameters.pixelwise, layer)


def heads(y: E, x: E, *, t: Array, T: int, basis: str) -> Heads:
    """From 2 × C × J coefficients of every pixel, those of the means first, what the bumps make of them at every image's t."""
    coefficients = move(y, "as 2 × C × J", lambda i, shape: i.reshape(*shape[:-1], 2, shape[-1], i.shape[-1] // (2 * shape[-1])), x)
    j = move(node(NUMBERS), "up to J", lambda i, shape: i[:shape[-1]], coefficients)
    z = temporal(coefficients, bumps(node(t), T, j, count(coefficients, "bumps"), basis))
    return Heads(move(z, "first of", lambda i: i[..., 0, :]), move(z, "second of", lambda i: i[..., 1, :]))


def reverse(parameters: Any, x_t: E, row: Row, *, t: Array, T: int, form: str, basis: str, readout: str) -> Normal:
    """The last map of the features, the bumps and the read-out."""
    y = linear(features(parameters, x_t, form), *parameters.last)
    return read_out(heads(y, x_t, t=t, T=T, basis=basis), x_t, row, T=T, readout=readout)


PAIRS: dict[str, Callable[..., Any]] = {
    "networks.image.reverse": lambda parameters, x_t, step, *, t, T, form="paper", basis="paper", readout="denoising": reverse(
        parameters, x_t, of_step(step), t=t, T=T, form=form, basis=basis, readout=readout)}
