"""The network of images: features of every pixel, from them coefficients of bumps in t, and from those the reverse step.

          ┌ multi-scale convolutions ────────┐                                    ┌ z_mean ┐
    x_t ──┤                                  ├─ pixel by pixel ─ affine ─ y·g(t) ─┤        ├─ read-out ─ N(mean, var)
          └ dense layers on the whole image ─┘                                    └ z_var  ┘

The last affine map has J sets of weights, which `layers.temporal` mixes by t; nothing before it knows t.  Either path
may be absent: the paper has both for CIFAR-10 and the dense one alone for MNIST.

    form          paper                                     released
    convolution   softplus after the sum over scales        leaky ReLU in every scale, the mean over scales
    other layers  tanh                                      leaky ReLU

Source: App. D.2.1, and the authors' published code.  From the latter, in both forms: features of two paths are scaled
(`layers.stack.side_by_side`).
"""

from collections.abc import Callable
from itertools import pairwise
from math import prod, sqrt
from typing import NamedTuple

import numpy as np

from refdpm.activation import leaky_relu_vjp, softplus_vjp, tanh_vjp
from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.gaussian import Gaussian
from refdpm.layers.linear import Affine, linear_vjp, per_step_vjp
from refdpm.layers.multiscale import Kernels, multiscale_released_vjp, multiscale_vjp
from refdpm.layers.stack import LayerVjp, side_by_side_vjp, stack_vjp
from refdpm.layers.temporal import bumps, temporal_vjp
from refdpm.networks.readout import Heads, read_out_vjp
from refdpm.paper import eq
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, unallocated_zeros

FORMS = ("paper", "released")


class Image(NamedTuple):
    """Parameters: of a convolution its kernels from the finest scale to the coarsest, of every other layer weight and bias.

    Shapes: conv[l][s] (kh, kw, in, out), dense[l] and pixelwise[l] (in, out), last (in, 2·C·J): 2 × C × J, z_mean's first.
    """

    conv: tuple[Kernels, ...]
    dense: tuple[Affine, ...]
    pixelwise: tuple[Affine, ...]
    last: Affine


# -- where training starts ---------------------------------------------------------------------------------------------

# by what feeds a layer: 1/(standard deviation of it), for the state and for functions of standard normal numbers; of leaky ReLUs
# the root mean square instead
_GAIN = {"state": 1.0, "softplus": 1.92, "tanh": 1.59, "leaky_relu": 1.41}


def init(rng: np.random.Generator, *, shape: tuple[int, int, int], conv: tuple[int, ...] = (32, 32, 32), scales: int = 3,
         kernel: tuple[int, int] = (3, 3), dense: tuple[int, ...] = (), dense_features: int = 2,
         pixelwise: tuple[int, ...] = (32, 32), count: int = 10, form: str = "paper") -> Image:
    """The last map zero, so that p is the forward kernel; all other weights random, of such a size that what goes through the
    layers stays of order 1, and biases zero.

    `conv`, `dense` and `pixelwise` are the widths of the layers, () for none; the dense path ends in one more layer, with
    `dense_features` per pixel.  `count` is the number J of bumps in t.

    Shapes: shape (H, W, C), of one image.
    Raises: ValueError for sides that 2^(scales−1) does not divide, an even kernel, no path at all, or another form.
    """
    _check(shape, conv, scales, kernel, dense, form)
    H, W, C = shape
    of_conv, of_others = ("softplus", "tanh") if form == "paper" else ("leaky_relu", "leaky_relu")
    share = 1 / sqrt(scales) if form == "paper" else sqrt(scales)                   # the sum, or the mean, of that many
    convolutions = tuple(
        tuple(_affine(rng, (*kernel, *widths), fed_by, share) for _ in range(scales))
        for widths, fed_by in zip(pairwise((C, *conv)), ("state",) + (of_conv,) * len(conv)))
    whole = _affines(rng, (H * W * C, *dense, H * W * dense_features) if dense else (), "state", of_others)
    paths = [(width, of_conv) for width in conv[-1:]] + [(dense_features, of_others) for _ in dense[-1:]]
    pixels = _affines(rng, (sum(width for width, _ in paths), *pixelwise), of_others, of_others)
    if pixels:
        pixels = (Affine(_meeting(rng, paths, pixelwise[0]), pixels[0].bias), *pixels[1:])
    width = pixelwise[-1] if pixelwise else sum(width for width, _ in paths)
    return Image(convolutions, whole, pixels, Affine(np.zeros((width, 2 * C * count)), np.zeros(2 * C * count)))


def _affine(rng: np.random.Generator, shape: tuple[int, ...], fed_by: str, share: float = 1.0) -> Affine:
    """Independent weights.  Those of every tap on softplus features add up to 0, as these have a mean far from 0, all the same."""
    weight = rng.standard_normal(shape)
    if fed_by == "softplus":
        weight -= weight.mean(axis=-2, keepdims=True)
    return Affine(share * _GAIN[fed_by] / sqrt(prod(shape[:-1])) * weight, np.zeros(shape[-1]))


def _affines(rng: np.random.Generator, widths: tuple[int, ...], first: str, others: str) -> tuple[Affine, ...]:
    return tuple(_affine(rng, shape, others if i else first) for i, shape in enumerate(pairwise(widths)))


def _meeting(rng: np.random.Generator, paths: list[tuple[int, str]], out: int) -> Array:
    """The weights on the features of one path, or on the scaled ones of two."""
    blocks = [_affine(rng, (width, out), fed_by).weight for width, fed_by in paths]
    return np.concatenate([sqrt(len(block) / 2) * block for block in blocks]) if len(blocks) == 2 else blocks[0]


def template(*, shape: tuple[int, int, int], conv: tuple[int, ...], scales: int, kernel: tuple[int, int], dense: tuple[int, ...],
             dense_features: int, pixelwise: tuple[int, ...], count: int, form: str) -> Image:
    """The structure and shapes of what `init` gives, with zeros that take no memory."""
    def layers(*widths: int) -> tuple[Affine, ...]:
        return tuple(layer(*pair) for pair in pairwise(widths))

    def layer(*axes: int) -> Affine:
        return Affine(unallocated_zeros(axes), unallocated_zeros(axes[-1:]))

    _check(shape, conv, scales, kernel, dense, form)
    H, W, C = shape
    convolutions = tuple((layer(*kernel, *pair),) * scales for pair in pairwise((C, *conv)))
    whole = layers(H * W * C, *dense, H * W * dense_features) if dense else ()
    features = sum(conv[-1:]) + dense_features * bool(dense)
    return Image(convolutions, whole, layers(features, *pixelwise), layer((features, *pixelwise)[-1], 2 * C * count))


def _check(shape: tuple[int, int, int], conv: tuple[int, ...], scales: int, kernel: tuple[int, int], dense: tuple[int, ...],
           form: str) -> None:
    if form not in FORMS:
        raise ValueError(f"form: expected one of {FORMS}, got {form!r}")
    if not conv and not dense:
        raise ValueError("conv, dense: expected at least one layer, got none")
    if kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
        raise ValueError(f"kernel: expected odd sides, got {kernel}")
    if conv and (scales < 1 or shape[0] % 2 ** (scales - 1) or shape[1] % 2 ** (scales - 1)):
        raise ValueError(f"shape: expected sides that 2^(scales−1) divides, scales ≥ 1, got {shape} with scales = {scales}")


# -- the reverse step --------------------------------------------------------------------------------------------------

@eq("App.1 G reverse")
def reverse(parameters: Image, x_t: Array, step: Step, *, t: Array, T: int, form: str = "paper", basis: str = "paper",
            readout: str = "denoising") -> Gaussian:
    """p(x_{t−1} | x_t) for each image of x_t at its own step t.

    Shapes: x_t (N, H, W, C), step three columns (N, 1, 1, 1), t integers (N,) in 2..T → mean and var (N, H, W, C).
    Raises: ValueError for a form, basis or read-out of another name.
    """
    return reverse_vjp(parameters, x_t, step, t=t, T=T, form=form, basis=basis, readout=readout)[0]


def reverse_vjp(parameters: Image, x_t: Array, step: Step, *, t: Array, T: int, form: str = "paper", basis: str = "paper",
                readout: str = "denoising") -> tuple[Gaussian, Pullback]:
    """Adjoint of `reverse`."""
    conv_vjp, layer_vjp = _layers(form)
    features, back_features = _features_vjp(x_t, parameters.conv, parameters.dense, conv_vjp, layer_vjp)
    hidden, back_pixelwise = stack_vjp(features, parameters.pixelwise, layer_vjp=layer_vjp)
    heads, back_heads = _heads_vjp(hidden, parameters.last, t=t, T=T, channels=x_t.shape[-1], basis=basis)
    p, back_readout = read_out_vjp(heads, x_t, step, T=T, readout=readout)

    def pullback(dp: Gaussian) -> tuple[Image, Array, Step]:
        dheads, dx_readout, dstep = back_readout(dp)
        dhidden, dlast = back_heads(dheads)
        dfeatures, dpixelwise = back_pixelwise(dhidden)
        dx_features, dconv, ddense = back_features(dfeatures)
        return Image(dconv, ddense, dpixelwise, dlast), dx_features + dx_readout, dstep

    return p, pullback


def _heads_vjp(hidden: Array, last: Affine, *, t: Array, T: int, channels: int, basis: str) -> tuple[Heads, Pullback]:
    """2 × C numbers for every pixel, by the last map with its weights mixed for each image's t; cotangents for (hidden, last)."""
    width, outputs = last.weight.shape
    count = outputs // (2 * channels)
    g = bumps(t, T=T, count=count, basis=basis).astype(np.real(hidden).dtype)
    weights, back_weights = temporal_vjp(last.weight.reshape(1, width, 2 * channels, count), g=g)
    biases, back_biases = temporal_vjp(last.bias.reshape(1, 2 * channels, count), g=g)
    z, back_per_step = per_step_vjp(hidden, weights, biases, t=np.arange(len(t)))

    def pullback(dheads: Heads) -> tuple[Array, Affine]:
        dhidden, dweights, dbiases = back_per_step(np.concatenate(dheads, axis=-1))
        return dhidden, Affine(back_weights(dweights).reshape(last.weight.shape), back_biases(dbiases).reshape(last.bias.shape))

    return Heads(z[..., :channels], z[..., channels:]), pullback


# -- features ----------------------------------------------------------------------------------------------------------

def _features_vjp(x: Array, conv: tuple[Kernels, ...], dense: tuple[Affine, ...], conv_vjp: LayerVjp, layer_vjp: LayerVjp
                  ) -> tuple[Array, Pullback]:
    """One path, or both side by side, and the cotangents for (x, conv, dense)."""
    near, back_near = stack_vjp(x, conv, layer_vjp=conv_vjp)
    far, back_far = _whole_image_vjp(x, dense, layer_vjp)
    if not dense:
        return near, lambda dy: (*back_near(dy), ())
    if not conv:
        def pullback_far(dy: Array) -> tuple[Array, tuple[()], tuple[Affine, ...]]:
            dx, ddense = back_far(dy)
            return dx, (), ddense
        return far, pullback_far
    both, back_both = side_by_side_vjp(near, far)

    def pullback(dy: Array) -> tuple[Array, tuple[Kernels, ...], tuple[Affine, ...]]:
        dnear, dfar = back_both(dy)
        dx_near, dconv = back_near(dnear)
        dx_far, ddense = back_far(dfar)
        return dx_near + dx_far, dconv, ddense

    return both, pullback


def _whole_image_vjp(x: Array, dense: tuple[Affine, ...], layer_vjp: LayerVjp) -> tuple[Array, Pullback]:
    """Layers on the image as one row, whose outputs are dealt to the pixels: (N, H, W, C) → (N, H, W, features)."""
    N, H, W, C = x.shape
    row, back = stack_vjp(x.reshape(N, H * W * C), dense, layer_vjp=layer_vjp)

    def pullback(dy: Array) -> tuple[Array, tuple[Affine, ...]]:
        drow, ddense = back(dy.reshape(row.shape))
        return drow.reshape(x.shape), ddense

    return row.reshape(N, H, W, row.shape[1] // (H * W)), pullback


# -- layers of the two forms -------------------------------------------------------------------------------------------

def _layers(form: str) -> tuple[LayerVjp, LayerVjp]:
    """The convolutional layer of the form, and the one of its other paths."""
    if form == "paper":
        return _softplus_convolution_vjp, _tanh_vjp
    if form == "released":
        return multiscale_released_vjp, _leaky_vjp
    raise ValueError(f"form: expected one of {FORMS}, got {form!r}")


def _softplus_convolution_vjp(x: Array, kernels: Kernels) -> tuple[Array, Pullback]:
    total, back_multiscale = multiscale_vjp(x, kernels)
    y, back_softplus = softplus_vjp(total)
    return y, lambda dy: back_multiscale(back_softplus(dy))


def _tanh_vjp(x: Array, layer: Affine) -> tuple[Array, Pullback]:
    return _then_vjp(x, layer, tanh_vjp)


def _leaky_vjp(x: Array, layer: Affine) -> tuple[Array, Pullback]:
    return _then_vjp(x, layer, leaky_relu_vjp)


def _then_vjp(x: Array, layer: Affine, nonlinearity_vjp: Callable[[Array], tuple[Array, Pullback]]) -> tuple[Array, Pullback]:
    """The affine map of a layer, then a non-linearity."""
    total, back_linear = linear_vjp(x, *layer)
    y, back_nonlinearity = nonlinearity_vjp(total)

    def pullback(dy: Array) -> tuple[Array, Affine]:
        dx, *dlayer = back_linear(back_nonlinearity(dy))
        return dx, Affine(*dlayer)

    return y, pullback


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
