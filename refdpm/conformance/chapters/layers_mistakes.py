"""Mistakes in layers: affine maps, radial basis, convolution, pooling, scales, bumps in t, normalisation, and their pullbacks."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from refdpm.conformance.planting import (IN_SINGLE, Mistake, Plant, edited, instead, of, pullback_then, pulled, pulled_by,
                                         pulled_to, scaled, then, told)
from refdpm.activation import sigmoid, softmax
from refdpm.layers import conv
from refdpm.layers.norm import group_norm
from refdpm.vjp import Array, unbroadcast

# Not yet plantable: LAY-16 needs sides that the factor does not divide, LAY-17's value a factor that is no whole number; SHP-10 a t
# with two axes.  TRN-01 and TRN-02, frequencies and halves of the time embedding, are conventions.

_ORIG = "Sohl-Dickstein/Diffusion-Probabilistic-Models@de92b57"

in_rbf, in_side_by_side, in_conv2d = of("layers.rbf.rbf"), of("layers.stack.side_by_side"), of("layers.conv.conv2d")
in_mean_pool, in_upsample = of("layers.pool.mean_pool"), of("layers.pool.upsample")
in_multiscale, in_multiscale_released = of("layers.multiscale.multiscale_vjp"), of("layers.multiscale.multiscale_released_vjp")
in_bumps, in_softmax, in_group_norm = of("layers.temporal.bumps"), of("activation.softmax"), of("layers.norm.group_norm")
in_group_norm_vjp, in_conv2d_vjp = of("layers.norm.group_norm_vjp", "gradient"), of("layers.conv.conv2d_vjp", "gradient")


# -- rows --------------------------------------------------------------------------------------------------------------

_ROOT_OF_WIDTH = "{} left out: √(number of features)"


def _in_shape(shape: Callable[[Array], tuple[int, ...]]) -> Plant:
    """What comes out for the array in another shape, in the shape that it should have."""
    return lambda right: lambda x, *args, **fixed: right(x.reshape(shape(x)), *args, **fixed).reshape(*x.shape[:-1], -1)


def _unshifted(x: Array) -> Array:
    """Softmax without subtracting the largest: 0/0 and ∞/∞, where the textbook takes 0/0 for 0."""
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def _normalised(g: Array) -> Array:
    return g / g.sum(axis=1, keepdims=True)


def _heights(g: Array) -> Array:
    """Before they were normalised: the largest of a row is 1."""
    return g / g.max(axis=1, keepdims=True)


def _by_columns(g: Array) -> Array:
    return _heights(g) / _heights(g).sum(axis=0)


def _with_a_leak(g: Array) -> Array:
    return _heights(g) / (_heights(g).sum(axis=1, keepdims=True) + 1e-5)


ROWS = (
    in_rbf("LAY-25", "exponent x − c² → (x − c)²", "pyro-ppl/numpyro!1435",
            edited("square left out: (beside every centre(x) − centre)²", also="square of centre for centre")),
    in_rbf("LAY-26", "distance not squared → squared", "dwavesystems/dwave-pytorch-plugin#79",
            instead(lambda x, centre, log_width: softmax(
                -np.linalg.norm(x[:, None, :] - centre, axis=2) / (2 * np.exp(2 * log_width))))),
    in_rbf("LAY-28", "bumps also divided by their own width → normalised by their sum alone",
            "metric-space/diffusion-probabilistic-models-JAX@a216435",
            then(lambda g, log_width: _normalised(g / np.exp(log_width)))),
    in_rbf("LAY-32", "normaliser + 1e-5 → the sum of the bumps", "youngunghan/Deep-Unsupervised-…@fa1712e", then(_with_a_leak)),
    in_rbf("NEW-FAR", "softmax without subtracting the maximum: 0/0 far away → with", "softmax as it is printed",
            instead(lambda x, centre, log_width: _unshifted(
                -((x[:, None, :] - centre) ** 2).sum(axis=2) / (2 * np.exp(2 * log_width))))),
    Mistake("SHP-08", "vector of t makes a multi-hot row: every example sees a mixture of steps → its own",
            "youngunghan/Deep-Unsupervised-…@fa1712e networks/dpm.py", "layers.linear.per_step", "value",
            instead(lambda x, weight, bias, *, t: x @ weight[np.unique(t)].mean(axis=0) + bias[np.unique(t)].mean(axis=0))),
    Mistake("TRN-05", "index t − 1 of a loop given where t is meant → t", "gmongaras/Diffusion_models_from_scratch@cb4fd62",
            "layers.linear.per_step", "value", told(t=lambda t: t - 1)),
    Mistake("NEW-TANH", "2/(1 + e^−x) − 1, which is tanh of x/2 → 2/(1 + e^−2x) − 1", "a hyperbolic tangent made of a sigmoid",
            "activation.tanh", "value", told(x=lambda x: x / 2)),
    Mistake("TRN-08", "leaky ReLU with slope 0.01 → 0.05, as released", "ORIG, notes in its code", "activation.leaky_relu", "value",
            told(slope=0.01)),
    Mistake("NEW-BIAS", "bias of the first output for all → each its own", "broadcast of one row", "layers.linear.linear", "value",
            told(bias=lambda bias: bias[:1])),
    Mistake("NEW-I-LAST-AXIS", "channels taken from the axis before → from the last", "channels first, channels last",
            "layers.linear.linear", "value", told(x=lambda x: x.swapaxes(-1, -2).reshape(x.shape) if x.ndim > 2 else x)),
    Mistake("LAY-29", "each layer applied to the input → to the output of the one before",
            "breadbread1984/diffusion-probabilistic-model-tf2@bb10a5b", "layers.stack.stack_vjp", "value",
            told(layers=lambda layers: layers[-1:])),
    in_side_by_side("NEW-I-UNSCALED", "features of two paths as they are → divided by the roots of their numbers",
            "the paper has no scale; " + _ORIG, edited(_ROOT_OF_WIDTH.format("divisor"), also=_ROOT_OF_WIDTH.format("divisor"))),
)


# -- convolution -------------------------------------------------------------------------------------------------------

def _framed(mode: Any, *, at_start: bool = False) -> Plant:
    """The convolution of the image in a border that the kernel just reaches, cut out where the image is or at the start."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def conv2d(x: Array, weight: Array, bias: Array) -> Array:
            (_, H, W, _), (a, b) = x.shape, (side // 2 for side in weight.shape[:2])
            y = right(np.pad(x, ((0, 0), (a, a), (b, b), (0, 0)), mode=mode), weight, bias)
            return y[:, :H, :W] if at_start else y[:, a:a + H, b:b + W]
        return conv2d
    return plant


BLOCK = 128                         # pixels that somebody takes at a time


def _blocks_from_0(y: Array) -> Array:
    cells = y.reshape(-1, y.shape[-1])
    return np.concatenate([cells[:BLOCK], cells[:max(len(cells) - BLOCK, 0)]]).reshape(y.shape)


CONVOLUTION = (
    in_conv2d("LAY-10", "kernel flipped: convolution → cross-correlation",
            "keras-team/keras#3015; the released code ran on Theano, which flips", told(weight=lambda weight: weight[::-1, ::-1])),
    in_conv2d("LAY-14", "height and width of the kernel exchanged → as stored", "pytorch/pytorch#37844, of kernels",
            told(weight=lambda weight: weight.swapaxes(0, 1))),
    in_conv2d("NEW-I-FILTERS", "weights read as (filters, channels) → (channels, filters)", "layouts of two libraries",
            told(weight=lambda weight: weight.reshape(*weight.shape[:2], *weight.shape[:1:-1]).swapaxes(2, 3))),
    in_conv2d("NEW-I-CROP", "full convolution cropped from its start: padding on one side → from its middle",
            _ORIG + " crops a full one", _framed("constant", at_start=True)),
    in_conv2d("NEW-I-REFLECT", "image mirrored at the border → zeros outside", "LAY-13, forward", _framed("reflect")),
    in_conv2d("NEW-I-EDGE", "border repeated outward → zeros outside", "as NEW-I-REFLECT", _framed("edge")),
    in_conv2d("NEW-I-WRAP", "image wrapped around, as by a discrete Fourier transform → zeros outside", "as LAY-14",
            _framed("wrap")),
    in_conv2d("NEW-I-STRIP", "images of a batch see their neighbours below → nothing", "views shifted across the batch",
            _in_shape(lambda x: (1, -1, *x.shape[2:]))),
    in_conv2d("NEW-I-BLOCK", "later blocks of pixels start at the first again → where they are", "an index within a block",
            then(_blocks_from_0)),
)


# -- in later networks -------------------------------------------------------------------------------------------------

def _framed_behind(right: Callable[..., Any]) -> Callable[..., Any]:
    """All of the frame behind the image."""
    return lambda x, weight, bias, *, stride, padding: right(
        np.pad(x, ((0, 0), (0, 2 * padding), (0, 2 * padding), (0, 0))), weight, bias, stride=stride, padding=0)


def _in_bfloat16(x: Array) -> Array:
    """With 8 bits, rounded to the nearest."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent)


in_gelu, in_attention = of("activation.gelu"), of("layers.attention.attention_vjp")
in_rms_norm, in_sinusoidal = of("layers.norm.rms_norm"), of("layers.embedding.sinusoidal")

LATER = (
    in_gelu("LAY-GELU-ROOT", "½ x (1 + erf x) → ½ x (1 + erf(x/√2))", "Φ taken for an erf",
            then(lambda y, x, form: x * special.ndtr(np.sqrt(2) * x) if form == "exact" else y)),
    in_gelu("LAY-GELU-QUICK", "x sigmoid(1.702 x), a third form → the one that is named", "QuickGELU of openai/CLIP",
            then(lambda y, x: x * sigmoid(1.702 * x))),
    Mistake("LAY-SILU-SLOPE", "sigmoid(x) for the sigmoid's own derivative, in that of x sigmoid(x) → sigmoid(x)(1 − sigmoid(x))",
            "a chain rule that stops one factor early", "activation.silu_vjp", "gradient",
            pulled_by(lambda dy, x: sigmoid(x) * (1 + x) * dy)),
    Mistake("LAY-KEEP", "divided by the rate → by 1 − rate, the share that is kept",
            "keep_prob of TensorFlow 1, rate of TensorFlow 2", "activation.dropout", "value", told(rate=lambda rate: 1 - rate)),
    Mistake("LAY-FRAME", "all padding behind the image, or on both sides where it is behind → as it is named",
            "MegEngine/MegDiffusion#7", "layers.conv.strided_conv2d_vjp", "value", _framed_behind),
    Mistake("LAY-10d", "kernel flipped: convolution → cross-correlation", "LAY-10, with a stride",
            "layers.conv.strided_conv2d_vjp", "value", told(weight=lambda weight: weight[::-1, ::-1])),
    in_attention("LAY-05c", "scores divided by √(number of queries) → by √d", "the length of the sequence under the root", told(
        query=lambda query: query * np.sqrt(query.shape[-1] / query.shape[-2]))),
    in_rms_norm("LAY-RMS-SUM", "divided by the length of x → by the root of its mean square", "kyegomez/zeta#180",
                then(lambda y, x: y / np.sqrt(x.shape[-1]))),
    in_sinusoidal("LAY-TIME-UNIT", "times from 0 to 1 → from 0 to 1000, for which the frequencies are made",
                  "willisma/SiT#24, sihyun-yu/REPA#40", told(time=lambda time: time / 1000)),
    in_sinusoidal("TRN-04", "t rounded to bfloat16 before the embedding → in full", "huggingface/diffusers#9405",
                  told(time=_in_bfloat16)),
)


# -- scales ------------------------------------------------------------------------------------------------------------

def _nails(y: Array, factor: int) -> Array:
    nails = 0 * y
    nails[:, ::factor, ::factor] = y[:, ::factor, ::factor]
    return nails


SCALES = (
    in_mean_pool("NEW-I-SUM", "sum over a square → mean", "a kernel of ones", then(lambda y, factor: y * factor ** 2)),
    in_mean_pool("NEW-I-DIVISOR", "divided by the side of a square → by the number of its pixels", "cf. LAY-16",
            then(lambda y, factor: y * factor)),
    in_mean_pool("NEW-I-MAX", "largest of a square → mean", "the usual pooling",
            instead(lambda x, *, factor: np.max([x[:, i::factor, j::factor] for i, j in np.ndindex(factor, factor)], axis=0))),
    in_mean_pool("NEW-I-FAR", "pixels that are far apart averaged → neighbours", "an axis split in the other order",
            instead(lambda x, *, factor: x.reshape(len(x), factor, x.shape[1] // factor, factor, -1, x.shape[3]).mean((1, 3)))),
    in_mean_pool("NEW-I-STRIDE", "one pixel of a square → mean of all", "stride without pooling",
            instead(lambda x, *, factor: x[:, ::factor, ::factor])),
    in_upsample("NEW-I-TILE", "image repeated → every pixel repeated", "np.tile for np.repeat",
            instead(lambda x, *, factor: np.tile(x, (1, factor, factor, 1)))),
    in_upsample("NEW-I-NAILS", "zeros between the pixels → every pixel repeated", "transposed convolution without a kernel",
            then(_nails)),
    in_upsample("NEW-I-SPLIT", "a pixel parted among its square → repeated", "the adjoint of the mean",
            then(lambda y, factor: y / factor ** 2)),
    in_multiscale("NEW-I-AVERAGE", "sum over scales divided by their number → not, in the paper's form", _ORIG,
            then(lambda y, kernels: y / len(kernels))),
    in_multiscale_released("NEW-I-UNDIVIDED", "sum over scales not divided by their number → divided, as released", _ORIG,
            then(lambda y, kernels: y * len(kernels))),
)


# -- bumps in t --------------------------------------------------------------------------------------------------------

def _width(T: int, count: int, basis: str) -> float:
    return T / count if basis == "paper" else (T - 1) / max(count - 1, 1) / 2


def _centred(wrong: str, centres: Callable[[int, int], Array]) -> Plant:
    """In one basis other centres(T, count)."""
    def changed(g: Array, t: Array, T: int, count: int, basis: str) -> Array:
        offset = (t[:, None] - centres(T, count)) / _width(T, count, basis)
        return softmax(-offset ** 2 / 2) if basis == wrong else g
    return then(changed)


BUMPS = (
    in_bumps("NEW-I-HALF", "w half the spacing → the spacing, in the paper's basis", _ORIG,
            then(lambda g, basis: _normalised(g ** 4) if basis == "paper" else g)),
    in_bumps("NEW-I-WHOLE", "w the spacing → half of it, as released", "eq. 63 and its text",
            then(lambda g, basis: _normalised(g ** 0.25) if basis == "released" else g)),
    in_bumps("NEW-I-SQUARE", "exponent over 2w → 2w²", "deviation for variance",
            then(lambda g, T, count, basis: _normalised(g ** _width(T, count, basis)))),
    in_bumps("NEW-I-ENDS", "centres from end to end → in the middles of J parts, in the paper's basis", _ORIG,
            _centred("paper", lambda T, count: np.linspace(1, T, count))),
    in_bumps("NEW-I-ZERO", "centres from 0 to T → inside of (0, T)", "eq. 63's τ in (0, T)",
            _centred("paper", lambda T, count: T * np.arange(count) / max(count - 1, 1))),
    in_bumps("NEW-I-OPEN", "centres inside → both ends included, as released", "eq. 63's τ in (0, T)",
            _centred("released", lambda T, count: T * (np.arange(count) + 0.5) / count)),
    in_bumps("NEW-I-AXIS", "divided by the sum over the steps → over the bumps",
            "labmlai/annotated_deep_learning_paper_implementations#146, of a softmax", then(_by_columns)),
    in_bumps("NEW-I-LEAK", "normaliser + 1e-5 → the sum of the bumps", "LAY-32: youngunghan/Deep-Unsupervised-…@fa1712e",
            then(_with_a_leak)),
    in_bumps("NEW-I-FROM-0", "index t − 1 of a table given where t is meant → t", "TRN-05, of bumps", told(t=lambda t: t - 1)),
    Mistake("NEW-I-ONE-T", "all examples at the step of the first → each at its own", _ORIG + ": one t a minibatch",
            "layers.temporal.temporal", "value", told(g=lambda g: np.broadcast_to(g[:1], g.shape))),
)


# -- normalised --------------------------------------------------------------------------------------------------------

def _statistics_of(shape: Callable[[Array], tuple[int, ...]]) -> Plant:
    """Mean and variance of the array in another shape."""
    return lambda right: lambda x, scale, shift, **fixed: right(
        x.reshape(shape(x)), 1.0, 0.0, **fixed).reshape(x.shape) * scale + shift


def _normalised_by(root: Callable[[Array, float], Array]) -> Plant:
    """Another root(variance, ε), the variance as the mean square less the squared mean."""
    def group_norm(x: Array, scale: Array, shift: Array, *, groups: int, epsilon: float = 1e-5) -> Array:
        grouped = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
        mean, square = (a.mean(axis=(1, 3), keepdims=True) for a in (grouped, grouped * grouped))
        return ((grouped - mean) / root(np.maximum(square - mean * mean, 0), epsilon)).reshape(x.shape) * scale + shift
    return instead(group_norm)


def _unbiased(x: Array, groups: int) -> float:
    """(n − 1)/n, by which the variance of n numbers is too large."""
    n = x[0].size // groups
    return max(n - 1, 1) / n


def _first_of_groups(table: Array, x: Array, groups: int) -> Array:
    """As many numbers as there are groups, each for all channels of its group."""
    return np.asarray(np.repeat(table[..., :groups], x.shape[-1] // groups, axis=-1))


def _channels_in_turn(right: Callable[..., Any]) -> Callable[..., Any]:
    def group_norm(x: Array, scale: Array, shift: Array, *, groups: int, epsilon: float = 1e-5) -> Array:
        order = np.arange(x.shape[-1]).reshape(-1, groups).T.ravel()
        back = np.argsort(order)
        return right(x[..., order], scale[order], shift[order], groups=groups, epsilon=epsilon)[..., back]
    return group_norm


VALUES = (
    in_softmax("LAY-04b", "softmax along the axis before the last → along the last",
            "labmlai/annotated_deep_learning_paper_implementations#146",
            lambda right: lambda x: right(x.swapaxes(-1, -2)).swapaxes(-1, -2)),
    in_softmax("NEW-N-ALL", "softmax over all numbers of an array → along its last axis", "a sum without an axis",
            _in_shape(lambda x: (-1,))),
    in_softmax("NEW-N-FAR", "softmax without subtracting the maximum: ∞/∞ → with", "softmax as it is printed",
            instead(_unshifted)),
    Mistake("NEW-N-LOG-ALL", "log of the sum over all numbers of an array → along its last axis", "NEW-N-ALL in logarithms",
            "activation.log_softmax", "value", instead(lambda x: x - np.log(np.exp(x).sum()))),
    Mistake("NEW-N-LOG-OF", "log of softmax: −∞ where that is 0 → x less the logarithm of the sum", "softmax, then log",
            "activation.log_softmax", "accuracy", instead(lambda x: np.log(softmax(x)))),
    in_group_norm("LAY-07", "statistics at every pixel by itself → over the pixels, too",
            "linkedin/Liger-Kernel!1376: right for rows, wrong for images", _statistics_of(lambda x: (-1, 1, x.shape[-1]))),
    in_group_norm("LAY-07b", "statistics over all groups → over each", "brainpy/BrainPy#765", told(groups=1)),
    in_group_norm("NEW-N-INSTANCE", "statistics of every channel by itself → of the channels of a group", "instance normalisation",
            told(groups=lambda groups, x: x.shape[-1])),
    in_group_norm("NEW-N-BATCH", "statistics over all examples → over each", "batch normalisation",
            _statistics_of(lambda x: (1, -1, x.shape[-1]))),
    in_group_norm("NEW-N-DEAL", "channels dealt out to the groups in turn → neighbours in one group",
            "(C/groups, groups) read for (groups, C/groups)", _channels_in_turn),
    in_group_norm("LAY-08", "(x − m)/(√v + ε) → (x − m)/√(v + ε)", "lucidrains/denoising-diffusion-pytorch@7b51e30",
            _normalised_by(lambda var, epsilon: np.sqrt(var) + epsilon)),
    in_group_norm("NEW-N-UNBIASED", "variance divided by n − 1 → by n", "pytorch/pytorch#22617, which asks for it",
            told(epsilon=lambda epsilon, x, groups: epsilon * _unbiased(x, groups),
                 scale=lambda scale, x, groups: scale * _unbiased(x, groups) ** 0.5)),
    in_group_norm("NEW-N-EPSILON", "ε of its own → the one given", "1e-6 and 1e-5 in two libraries", told(epsilon=1e-6)),
    in_group_norm("NEW-N-GROUPED", "scale and shift for each group → for each channel", "Oneflow-Inc/oneflow!4848",
                  told(scale=_first_of_groups, shift=_first_of_groups)),
    in_group_norm("NEW-N-SHIFTED", "scale of z + shift → of z alone", "a bracket", told(shift=lambda shift, scale: scale * shift)),
)


# -- pullbacks ---------------------------------------------------------------------------------------------------------

def _with_constant(*, mean: bool, root: bool) -> Callable[..., Array]:
    """The pullback to x with the mean or the root held to be a constant."""
    def average(a: Array) -> Array:
        return np.asarray(a.mean(axis=(1, 3), keepdims=True))

    def pullback(dy: Array, x: Array, scale: Array, groups: int, epsilon: float) -> Array:
        grouped, dz = (a.reshape(len(x), -1, groups, x.shape[-1] // groups) for a in (x, dy * scale))
        offset = grouped - average(grouped)
        s = np.sqrt(average(offset * offset) + epsilon)
        dx = dz - (0 if mean else average(dz)) - (0 if root else offset * average(offset * dz) / s ** 2)
        return np.asarray((dx / s).reshape(x.shape))
    return pullback


def _softmax_diagonal(dg: Array, x: Array, centre: Array, log_width: Array) -> tuple[Array, Array, Array]:
    offset, inverse = x[:, None, :] - centre, np.exp(-2 * log_width)
    s = -(offset ** 2).sum(axis=2) * inverse / 2
    g = softmax(s)
    ds = g * (1 - g) * dg
    pull = (ds * inverse)[:, :, None] * offset
    return -pull.sum(axis=1), pull.sum(axis=0), -2 * (ds * s).sum(axis=0)


def _in_place(dy: Array, x: Array, *, form: str = "exact") -> Array:
    dy *= 1 - np.tanh(x) ** 2
    return dy


def _read_channels_first(dy: Array, x: Array, scale: Array, groups: int, epsilon: float) -> Array:
    """The gradient of the scale with the memory of z, channels last, read as if they came first."""
    z = np.reshape(group_norm(x, np.ones(1), np.zeros(1), groups=groups, epsilon=epsilon), (len(x), x.shape[-1], -1))
    return unbroadcast(dy * np.moveaxis(z, 1, -1).reshape(x.shape), scale.shape)


def _with_x(dy: Array, x: Array, scale: Array) -> Array:
    return unbroadcast(dy * x, scale.shape)


PULLBACKS = (
    Mistake("LAY-01", "softmax pulled back by its diagonal g (1 − g) → g (dg − ⟨g, dg⟩)", "deeplearning4j/libnd4j#440",
            "layers.rbf.rbf_vjp", "gradient", pulled_by(_softmax_diagonal)),
    Mistake("LAY-19", "softplus′(0) = 0 → ½", "jax-ml/jax#2107", "activation.softplus_vjp", "gradient",
            pulled_by(lambda dy, x: np.where(x == 0, 0, sigmoid(x)) * dy)),
    Mistake("LAY-20", "softplus pulled back at the cotangent → at the input", "NVlabs/tiny-cuda-nn!130", "activation.softplus_vjp",
            "gradient", pulled_by(lambda dy, x: sigmoid(dy) * dy)),
    Mistake("NEW-IN-PLACE", "cotangent overwritten by the pullback → left alone", "allowed in thinc", "activation.tanh_vjp",
            "gradient", pulled_by(_in_place)),
    Mistake("LAY-01b", "softmax pulled back by its diagonal g (1 − g) → g (dg − ⟨g, dg⟩)", "deeplearning4j/libnd4j#440",
            "activation.softmax_vjp", "gradient", pulled_by(lambda dg, x: softmax(x) * (1 - softmax(x)) * dg)),
    Mistake("LAY-02c", "softmax's pullback divided by the batch → not", "AkiRusProd/numpy-diffusion@5116f79",
            "activation.softmax_vjp", "gradient", pullback_then(lambda dx: dx / len(dx))),
    in_group_norm_vjp("NEW-N-DMEAN", "mean of a group held to be a constant → differentiated", "GRD-01, of statistics",
            pulled_to(x=_with_constant(mean=True, root=False))),
    in_group_norm_vjp("NEW-N-DROOT", "variance of a group held to be a constant → differentiated", "GRD-01, of statistics",
            pulled_to(x=_with_constant(mean=False, root=True))),
    in_group_norm_vjp("NEW-N-DSTOP", "mean and variance both detached → differentiated", "GRD-01, of statistics",
            pulled_to(x=_with_constant(mean=True, root=True))),
    in_group_norm_vjp("NEW-N-DSCALE-X", "gradient of the scale with x → with z, which is x normalised", "a name that is used twice",
                      pulled_to(scale=_with_x)),
    in_group_norm_vjp("NEW-N-DLAYOUT", "gradient of the scale reads z with channels first → with channels last",
                      "pytorch/pytorch#140913", pulled_to(scale=_read_channels_first)),
    in_group_norm_vjp("NEW-N-DSHIFT", "gradients of scale and shift the mean over the examples → the sum", "a mean for a sum",
            pulled(scale=lambda d, x: d / len(x), shift=lambda d, x: d / len(x))),
)


# -- pullbacks of the layers of images ----------------------------------------------------------------------------------

def _edges_twice(dx: Array) -> Array:
    height, width = (1 + (np.arange(n) % max(n - 1, 1) == 0) for n in dx.shape[1:3])
    return dx * np.outer(height, width)[:, :, None]


def _of_frame(dy: Array, weight: Array, *, add: bool) -> Array:
    """The gradient of the image in its frame of zeros: what every patch gives added up, or overwritten by the patches after it."""
    (kh, kw, channels, _), (n, height, width, _) = weight.shape, dy.shape
    found = np.zeros((n, height + kh - 1, width + kw - 1, channels), np.result_type(dy, weight))
    for i, j in np.ndindex(kh, kw):
        there = found[:, i:i + height, j:j + width]
        there[...] = dy @ weight[i, j].T + (there if add else 0)
    return found


def _overwritten(dy: Array, weight: Array) -> Array:
    top, left = ((size - 1) // 2 for size in weight.shape[:2])
    return _of_frame(dy, weight, add=False)[:, top:top + dy.shape[1], left:left + dy.shape[2]]


OF_IMAGES = (
    in_conv2d_vjp("LAY-10b", "dx with the kernel as it is → flipped", "FluxML/NNlib.jl#518",
            pulled_to(x=lambda dy, weight: conv.conv2d(dy, weight.swapaxes(2, 3), np.zeros(weight.shape[2])))),
    in_conv2d_vjp("LAY-10c", "gradient of the flipped kernel → of the kernel", "keras-team/keras#3015",
            pulled(weight=lambda d: d[::-1, ::-1])),
    in_conv2d_vjp("LAY-11", "dx cut from the corner of its frame → from within the frame", "tensorflow/tensorflow#11092",
            pulled_to(x=lambda dy, weight: _of_frame(dy, weight, add=True)[:, :dy.shape[1], :dy.shape[2]])),
    in_conv2d_vjp("LAY-OVER", "what overlapping patches give to dx overwritten → added up", "an assignment for an addition",
            pulled_to(x=_overwritten)),
    in_conv2d_vjp("LAY-13", "cotangents of the border doubled → once", "pytorch/pytorch#100793", pulled(x=_edges_twice)),
    in_conv2d_vjp("NEW-I-DBIAS", "gradient of a bias the mean over pixels → the sum", "a mean for a sum",
            pulled(bias=lambda d, x: d / (x.size / x.shape[-1]))),
    Mistake("LAY-17", "cotangents of a pixel's copies collected as if the image had been tiled → from its square",
            "pytorch/pytorch#38985: the wrong source pixel", "layers.pool.upsample_vjp", "gradient",
            pulled_by(lambda dy, x, *, factor: dy.reshape(len(x), factor, x.shape[1], factor, *x.shape[2:]).sum(axis=(1, 3)))),
    Mistake("NEW-I-DSHARE", "mean over scales pulled back as their sum → divided", _ORIG + " divides",
            "layers.multiscale.multiscale_released_vjp", "gradient", pullback_then(lambda d, kernels: scaled(len(kernels))(d))),
)


# -- last digits -------------------------------------------------------------------------------------------------------

def _expanded_square(t: Array, *, T: int, count: int, basis: str = "paper") -> Array:
    tau, w = T * (np.arange(count) + 0.5) / count if basis == "paper" else np.linspace(1, T, count), _width(T, count, basis)
    return softmax((2.0 * np.multiply.outer(t, tau) - tau * tau) / (2 * w * w))            # less t²/2w², the same for all


def _expanded_distance(x: Array, centre: Array, log_width: Array) -> Array:
    square = (x * x).sum(axis=1)[:, None] - 2 * x @ centre.T + (centre * centre).sum(axis=1)
    return softmax(-square * np.exp(-2 * log_width) / 2)


DIGITS = (
    Mistake("NEW-I-EXPAND", "(t − τ)² expanded: t²/2w² cancels against itself → as it stands", "NEW-EXPAND, of bumps",
            "layers.temporal.bumps", "accuracy", instead(_expanded_square)),
    Mistake("SHP-05b", "single precision in the middle of a double path → double",
            "AkiRusProd/numpy-diffusion@5116f79, of a convolution", "layers.conv.conv2d", "accuracy", IN_SINGLE),
    Mistake("NEW-N-SQUARES", "variance as the mean square less the squared mean: cancels → the mean square of x − m",
            "the fast variance of several libraries", "layers.norm.group_norm", "accuracy",
            _normalised_by(lambda var, epsilon: np.sqrt(var + epsilon))),
    Mistake("NEW-SOFTPLUS", "log(1 + eˣ): overflows, and is 0 below −37 → max(x, 0) + log1p(e^−|x|)",
            "the textbook form; cf. LAY-20", "activation.softplus", "accuracy", instead(lambda x: np.log(1 + np.exp(x)))),
    Mistake("NEW-SIGMOID", "eˣ/(1 + eˣ): ∞/∞ → e^min(x, 0)/(1 + e^−|x|)", "the textbook form", "activation.sigmoid", "accuracy",
            instead(lambda x: np.exp(x) / (1 + np.exp(x)))),
    Mistake("NEW-EXPAND", "|x|² − 2x·c + |c|²: cancels near a centre → coordinate by coordinate", "as in many RBF layers",
            "layers.rbf.rbf", "accuracy", instead(_expanded_distance)),
)
