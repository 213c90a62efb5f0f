"""Mistakes in the layers of images: convolution, pooling, scales, bumps in t."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import activation
from refdpm.conformance.mistakes.planting import Mistake, Plant, instead
from refdpm.layers import conv, pool
from refdpm.layers.multiscale import Kernels
from refdpm.vjp import Array

# Not plantable: LAY-16 needs sides that the factor does not divide, LAY-17's value a factor that is no whole number.

_ORIG = "Sohl-Dickstein/Diffusion-Probabilistic-Models@de92b57"


# -- convolution -------------------------------------------------------------------------------------------------------

def _on(image: Callable[[Array], Array], weight: Callable[[Array], Array] = lambda w: w) -> Plant:
    """The convolution of another image with another kernel."""
    return lambda right: lambda x, w, b: right(image(x), weight(w), b)


def _bordered(x: Array, weight: Array, mode: str) -> tuple[Array, tuple[slice, ...]]:
    """The image with a border that the kernel just reaches, and where in it the image is."""
    a, b = weight.shape[0] // 2, weight.shape[1] // 2
    border: Any = ((0, 0), (a, a), (b, b), (0, 0))
    framed: Any = np.pad
    return framed(x, border, mode=mode), (slice(None), slice(a, a + x.shape[1]), slice(b, b + x.shape[2]))


def _padded(mode: str) -> Plant:
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def conv2d(x: Array, weight: Array, bias: Array) -> Array:
            framed, inside = _bordered(x, weight, mode)
            return right(framed, weight, bias)[inside]
        return conv2d
    return plant


def _cropped_from_the_start(right: Callable[..., Any]) -> Callable[..., Any]:
    def conv2d(x: Array, weight: Array, bias: Array) -> Array:
        framed, _ = _bordered(x, weight, "constant")
        return right(framed, weight, bias)[:, :x.shape[1], :x.shape[2]]
    return conv2d


def _as_one_strip(right: Callable[..., Any]) -> Callable[..., Any]:
    def conv2d(x: Array, weight: Array, bias: Array) -> Array:
        return right(x.reshape(1, -1, *x.shape[2:]), weight, bias).reshape(*x.shape[:3], -1)
    return conv2d


def _blocks_counted_from_0(right: Callable[..., Any]) -> Callable[..., Any]:
    def conv2d(x: Array, weight: Array, bias: Array) -> Array:
        y = right(x, weight, bias)
        cells = y.reshape(-1, y.shape[-1])
        return np.concatenate([cells[:conv.BLOCK], cells[:max(len(cells) - conv.BLOCK, 0)]]).reshape(y.shape)
    return conv2d


def _filters_first(weight: Array) -> Array:
    kh, kw, C, K = weight.shape
    return weight.reshape(kh, kw, K, C).swapaxes(2, 3)


CONVOLUTION = (
    Mistake("LAY-10", "kernel flipped: convolution → cross-correlation",
            "keras-team/keras#3015; the released code ran on Theano, which flips", "layers.conv.conv2d", "value",
            _on(lambda x: x, lambda w: w[::-1, ::-1])),
    Mistake("LAY-14", "height and width of the kernel exchanged → as stored",
            "pytorch/pytorch#37844, of kernels", "layers.conv.conv2d", "value", _on(lambda x: x, lambda w: w.swapaxes(0, 1))),
    Mistake("NEW-I-FILTERS", "weights read as (filters, channels) → (channels, filters)",
            "layouts of two libraries", "layers.conv.conv2d", "value", _on(lambda x: x, _filters_first)),
    Mistake("NEW-I-CROP", "full convolution cropped from its start: padding on one side → from its middle",
            _ORIG + " crops a full one", "layers.conv.conv2d", "value", _cropped_from_the_start),
    Mistake("NEW-I-REFLECT", "image mirrored at the border → black outside",
            "LAY-13, forward", "layers.conv.conv2d", "value", _padded("reflect")),
    Mistake("NEW-I-EDGE", "border repeated outward → black outside",
            "as NEW-I-REFLECT", "layers.conv.conv2d", "value", _padded("edge")),
    Mistake("NEW-I-WRAP", "image wrapped around, as by a discrete Fourier transform → black outside",
            "as LAY-14", "layers.conv.conv2d", "value", _padded("wrap")),
    Mistake("NEW-I-STRIP", "images of a batch see their neighbours below → nothing",
            "views shifted across the batch", "layers.conv.conv2d", "value", _as_one_strip),
    Mistake("NEW-I-BLOCK", "later blocks of pixels start at the first again → where they are",
            "an index within a block", "layers.conv.conv2d", "value", _blocks_counted_from_0),
    Mistake("NEW-I-LAST-AXIS", "channels taken from the axis before → from the last",
            "channels first, channels last", "layers.linear.linear", "value",
            lambda right: lambda x, weight, bias: right(
                x.swapaxes(-1, -2).reshape(x.shape) if x.ndim > 2 else x, weight, bias)),
)


# -- scales ------------------------------------------------------------------------------------------------------------

def _squares(x: Array, factor: int) -> Array:
    """(N, H/f, f, W/f, f, C)."""
    N, H, W, C = x.shape
    return x.reshape(N, H // factor, factor, W // factor, factor, C)


def _nails(right: Callable[..., Any]) -> Callable[..., Any]:
    def upsample(x: Array, *, factor: int) -> Array:
        y = np.zeros_like(right(x, factor=factor))
        y[:, ::factor, ::factor] = x
        return y
    return upsample


def _scales(inside: Callable[[Array], Array], after: Callable[[Array, Kernels], Array] = lambda total, kernels: total, *,
            bias: int = 1) -> Plant:
    """after( Σ_s up( inside( conv_s( pool(x) ) ) ) ), with the bias or without."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def multiscale_vjp(x: Array, kernels: Kernels) -> tuple[Array, Any]:
            total = 0 * right(x, kernels)[0]
            for s, kernel in enumerate(kernels):
                coarse = inside(conv.conv2d(pool.mean_pool(x, factor=2 ** s), kernel.weight, bias * kernel.bias))
                total = total + pool.upsample(coarse, factor=2 ** s)
            return after(total, kernels), right(x, kernels)[1]
        return multiscale_vjp
    return plant


def _accumulated(x: Array, kernels: Kernels) -> Array:
    """φ( conv(x) + up( the same of the coarser ) )."""
    y = conv.conv2d(x, *kernels[0])
    if len(kernels) > 1:
        y = y + pool.upsample(_accumulated(pool.mean_pool(x, factor=2), kernels[1:]), factor=2)
    return activation.leaky_relu(y)


def _plain(y: Array) -> Array:
    return y


def _rectified(y: Array) -> Array:
    return activation.leaky_relu(y)


_PAPER, _RELEASED = "layers.multiscale.multiscale_vjp", "layers.multiscale.multiscale_released_vjp"

SCALES = (
    Mistake("NEW-I-SUM", "sum over a square → mean",
            "a kernel of ones", "layers.pool.mean_pool", "value",
            lambda right: lambda x, *, factor: right(x, factor=factor) * factor ** 2),
    Mistake("NEW-I-DIVISOR", "divided by the side of a square → by the number of its pixels",
            "cf. LAY-16", "layers.pool.mean_pool", "value",
            lambda right: lambda x, *, factor: right(x, factor=factor) * factor),
    Mistake("NEW-I-MAX", "largest of a square → mean",
            "the usual pooling", "layers.pool.mean_pool", "value",
            instead(lambda x, *, factor: _squares(x, factor).max(axis=(2, 4)))),
    Mistake("NEW-I-STRIDE", "one pixel of a square → mean of all",
            "stride without pooling", "layers.pool.mean_pool", "value", instead(lambda x, *, factor: x[:, ::factor, ::factor])),
    Mistake("NEW-I-TILE", "image repeated → every pixel repeated",
            "np.tile for np.repeat", "layers.pool.upsample", "value",
            instead(lambda x, *, factor: np.tile(x, (1, factor, factor, 1)))),
    Mistake("NEW-I-NAILS", "zeros between the pixels → every pixel repeated",
            "transposed convolution without a kernel", "layers.pool.upsample", "value", _nails),
    Mistake("NEW-I-SPLIT", "a pixel parted among its square → repeated",
            "the adjoint of the mean", "layers.pool.upsample", "value",
            lambda right: lambda x, *, factor: right(x, factor=factor) / factor ** 2),
    Mistake("NEW-I-ORDER", "first kernel for the coarsest scale → for the finest",
            "coarse to fine, fine to coarse", _PAPER, "value", lambda right: lambda x, kernels: right(x, kernels[::-1])),
    Mistake("NEW-I-INSIDE", "softplus in every scale → once, after the sum",
            "TRN-08, of the paper's form", _PAPER, "value", _scales(lambda y: activation.softplus(y))),
    Mistake("NEW-I-AVERAGE", "sum over scales divided by their number → not, in the paper's form",
            _ORIG, _PAPER, "value", _scales(_plain, lambda total, kernels: total / len(kernels))),
    Mistake("NEW-I-AFTER", "leaky ReLU once, after the mean over scales → in every scale",
            "TRN-08, of the released form", _RELEASED, "value",
            _scales(_plain, lambda total, kernels: _rectified(total / len(kernels)))),
    Mistake("NEW-I-NESTED", "leaky ReLU of what coarser scales add to → of each by itself",
            "TRN-08, coarse to fine", _RELEASED, "value",
            lambda right: lambda x, kernels: (_accumulated(x, kernels) / len(kernels), right(x, kernels)[1])),
    Mistake("NEW-I-UNDIVIDED", "sum over scales not divided by their number → divided, as released",
            _ORIG, _RELEASED, "value", _scales(_rectified)),
    Mistake("NEW-I-BIAS", "biases of all scales added after the mean → in their scales, before the leaky ReLU",
            "one bias a layer", _RELEASED, "value",
            _scales(_rectified, lambda total, kernels: total / len(kernels) + sum(k.bias for k in kernels), bias=0)),
)


# -- bumps in t --------------------------------------------------------------------------------------------------------

def _basis(*, centres: str = "", width: float = 1.0, power: int = 2, axis: int = 1, plus: float = 0.0) -> Plant:
    """Bumps with the centres of another basis, of another width, normalised in another way."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def bumps(t: Array, *, T: int, count: int, basis: str = "paper") -> Array:
            right(t, T=T, count=count, basis=basis)                                  # which refuses other names
            paper = {"middles": T * (np.arange(count) + 0.5) / count, "ends": np.linspace(1, T, count),
                     "from 0": T * np.arange(count) / max(count - 1, 1)}
            tau = paper[centres or ("middles" if basis == "paper" else "ends")]
            w = width * (T / count if basis == "paper" else (T - 1) / max(count - 1, 1) / 2)
            heights = np.exp(-(t[:, None] - tau) ** 2 / (2 * w ** power))
            return heights / (heights.sum(axis=axis, keepdims=True) + plus if axis >= 0 else 1)
        return bumps
    return plant


def _only(basis_of: str, plant: Plant) -> Plant:
    """In one basis wrong, in the other right."""
    def planted(right: Callable[..., Any]) -> Callable[..., Any]:
        wrong = plant(right)
        return lambda t, *, T, count, basis="paper": (wrong if basis == basis_of else right)(t, T=T, count=count, basis=basis)
    return planted


BUMPS = (
    Mistake("NEW-I-HALF", "w half the spacing → the spacing, in the paper's basis",
            _ORIG, "layers.temporal.bumps", "value", _only("paper", _basis(width=0.5))),
    Mistake("NEW-I-WHOLE", "w the spacing → half of it, as released",
            "eq. 63 and its text", "layers.temporal.bumps", "value", _only("released", _basis(width=2.0))),
    Mistake("NEW-I-SQUARE", "exponent over 2w → 2w²",
            "deviation for variance", "layers.temporal.bumps", "value", _basis(power=1)),
    Mistake("NEW-I-ENDS", "centres from end to end → in the middles of J parts, in the paper's basis",
            _ORIG, "layers.temporal.bumps", "value", _only("paper", _basis(centres="ends"))),
    Mistake("NEW-I-ZERO", "centres from 0 to T → inside of (0, T)",
            "eq. 63's τ in (0, T)", "layers.temporal.bumps", "value", _only("paper", _basis(centres="from 0"))),
    Mistake("NEW-I-OPEN", "centres inside → both ends included, as released",
            "eq. 63's τ in (0, T)", "layers.temporal.bumps", "value", _only("released", _basis(centres="middles"))),
    Mistake("NEW-I-UNNORMALISED", "bumps as they are → divided by their sum",
            "the numerator of eq. 63", "layers.temporal.bumps", "value", _basis(axis=-1)),
    Mistake("NEW-I-AXIS", "divided by the sum over the steps → over the bumps",
            "LAY-04, of bumps", "layers.temporal.bumps", "value", _basis(axis=0)),
    Mistake("NEW-I-LEAK", "normaliser + 1e-5 → the sum of the bumps",
            "LAY-32: youngunghan/Deep-Unsupervised-…@fa1712e", "layers.temporal.bumps", "value", _basis(plus=1e-5)),
    Mistake("NEW-I-FROM-0", "index t − 1 of a table given where t is meant → t",
            "TRN-05, of bumps", "layers.temporal.bumps", "value",
            lambda right: lambda t, *, T, count, basis="paper": right(t - 1, T=T, count=count, basis=basis)),
    Mistake("NEW-I-T", "length T + 1 of the table of β given where T is meant → T",
            "beta[0] counted", "layers.temporal.bumps", "value",
            lambda right: lambda t, *, T, count, basis="paper": right(t, T=T + 1, count=count, basis=basis)),
    Mistake("NEW-I-ONE-T", "all examples at the step of the first → each at its own",
            _ORIG + ": one t a minibatch", "layers.temporal.temporal", "value",
            lambda right: lambda y, *, g: right(y, g=np.broadcast_to(g[:1], g.shape))),
    Mistake("NEW-I-MEAN-J", "mean over the bumps → sum",
            "g normalised already", "layers.temporal.temporal", "value",
            lambda right: lambda y, *, g: right(y, g=g / g.shape[1])),
)

MISTAKES = CONVOLUTION + SCALES + BUMPS
