"""Mistakes in layers: affine maps, radial basis, convolution, pooling, scales, bumps in t, normalisation, and their pullbacks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.conformance.planting import Mistake, Plant, edited, instead, pullback_then, pulled_by, zero
from refdpm import activation
from refdpm.layers import conv, pool
from refdpm.layers.multiscale import Kernels
from refdpm.vjp import Array, tree_map

# Not yet plantable: LAY-05 needs attention; LAY-16 sides that the factor does not divide, LAY-17's value a factor that is no whole
# number; TRN-01, TRN-02, TRN-04 a time embedding; SHP-10 t with two axes.

_ORIG = "Sohl-Dickstein/Diffusion-Probabilistic-Models@de92b57"


# -- rows --------------------------------------------------------------------------------------------------------------

def _rbf(exponents: Callable[[Array, Array], Array], *, axis: int = 1, shift: bool = True, plus: float = 0,
         mass: Callable[[Array], Any] = lambda log_width: 1) -> Plant:
    """A radial basis with other exponents(|x − c|², w²), normalised in another way."""
    def rbf(x: Array, centre: Array, log_width: Array) -> Array:
        s = exponents(((x[:, None, :] - centre) ** 2).sum(axis=2), np.exp(2 * log_width))
        g = mass(log_width) * np.exp(s - s.max(axis=1, keepdims=True) * shift)
        return g / (g.sum(axis=axis, keepdims=True) + plus)
    return instead(rbf)


def _bell(square: Array, width_squared: Array) -> Array:
    return -square / (2 * width_squared)


def _side_by_side(scale: Callable[[int, int], float]) -> Plant:
    """Features of a path of `own` among `all` divided by another scale(own, all)."""
    def side_by_side(a: Array, b: Array) -> Array:
        both = a.shape[-1] + b.shape[-1]
        return np.concatenate([a / scale(a.shape[-1], both), b / scale(b.shape[-1], both)], axis=-1)
    return instead(side_by_side)


ROWS = (
    Mistake("LAY-25", "exponent x − c² → (x − c)²",
            "pyro-ppl/numpyro!1435", "layers.rbf.rbf", "value",
            edited("factor left out: beside every centre(x) − centre", also="square of centre for centre")),
    Mistake("LAY-26", "distance not squared → squared",
            "dwavesystems/dwave-pytorch-plugin#79", "layers.rbf.rbf", "value",
            _rbf(lambda square, width_squared: -np.sqrt(square) / (2 * width_squared))),
    Mistake("LAY-28", "bumps also divided by their own width → normalised by their sum alone",
            "metric-space/diffusion-probabilistic-models-JAX@a216435", "layers.rbf.rbf", "value",
            _rbf(_bell, mass=lambda log_width: np.exp(-log_width))),
    Mistake("LAY-32", "normaliser + 1e-5 → the sum of the bumps",
            "youngunghan/Deep-Unsupervised-…@fa1712e", "layers.rbf.rbf", "value", _rbf(_bell, plus=1e-5)),
    Mistake("LAY-04", "softmax over the wrong axis → over the units",
            "labmlai/annotated_deep_learning_paper_implementations#146", "layers.rbf.rbf", "value", _rbf(_bell, axis=0)),
    Mistake("NEW-FAR", "softmax without subtracting the maximum: 0/0 far away → with",
            "softmax as it is printed", "layers.rbf.rbf", "value", _rbf(_bell, shift=False)),
    Mistake("SHP-08", "vector of t makes a multi-hot row: every example sees a mixture of steps → its own",
            "youngunghan/Deep-Unsupervised-…@fa1712e networks/dpm.py", "layers.linear.per_step", "value",
            instead(lambda x, weight, bias, *, t: x @ weight[np.unique(t)].mean(axis=0) + bias[np.unique(t)].mean(axis=0))),
    Mistake("TRN-05", "index t − 1 of a loop given where t is meant → t",
            "gmongaras/Diffusion_models_from_scratch@cb4fd62", "layers.linear.per_step", "value",
            lambda right: lambda x, weight, bias, *, t: right(x, weight, bias, t=t - 1)),
    Mistake("NEW-TANH", "2/(1 + e^−x) − 1, which is tanh of x/2 → 2/(1 + e^−2x) − 1",
            "a hyperbolic tangent made of a sigmoid", "activation.tanh", "value",
            lambda right: lambda x: right(x / 2)),
    Mistake("TRN-08", "leaky ReLU with slope 0.01 → 0.05, as released",
            "ORIG, notes in its code", "activation.leaky_relu", "value",
            lambda right: lambda x, *, slope=0.01: right(x, slope=slope)),
    Mistake("NEW-BIAS", "bias of the first output for all → each its own",
            "broadcast of one row", "layers.linear.linear", "value",
            lambda right: lambda x, weight, bias: right(x, weight, bias[:1])),
    Mistake("NEW-I-LAST-AXIS", "channels taken from the axis before → from the last",
            "channels first, channels last", "layers.linear.linear", "value",
            lambda right: lambda x, weight, bias: right(
                x.swapaxes(-1, -2).reshape(x.shape) if x.ndim > 2 else x, weight, bias)),
    Mistake("LAY-29", "each layer applied to the input → to the output of the one before",
            "breadbread1984/diffusion-probabilistic-model-tf2@bb10a5b", "layers.stack.stack_vjp", "value",
            lambda right: lambda x, layers, *, layer_vjp: right(x, layers[-1:], layer_vjp=layer_vjp)),
    Mistake("NEW-I-BACKWARDS", "last layer first → first layer first",
            "a list read from its end", "layers.stack.stack_vjp", "value",
            lambda right: lambda x, layers, *, layer_vjp: right(x, layers[::-1], layer_vjp=layer_vjp)),
    Mistake("NEW-I-UNSCALED", "features of two paths as they are → divided by the roots of their numbers",
            "the paper has no scale; " + _ORIG, "layers.stack.side_by_side", "value", _side_by_side(lambda own, both: 1.0)),
    Mistake("NEW-I-WIDTH", "features divided by their number → by its root",
            "a mean for a mean square", "layers.stack.side_by_side", "value", _side_by_side(lambda own, both: own)),
    Mistake("NEW-I-BOTH", "features divided by the root of the number of all → of their own path",
            "scaled after they are joined", "layers.stack.side_by_side", "value", _side_by_side(lambda own, both: both ** 0.5)),
)


# -- convolution -------------------------------------------------------------------------------------------------------

def _on(image: Callable[[Array], Array], weight: Callable[[Array], Array] = lambda w: w) -> Plant:
    """The convolution of another image with another kernel."""
    return lambda right: lambda x, w, b: right(image(x), weight(w), b)


def _image_in_border(x: Array, weight: Array, mode: str) -> tuple[Array, tuple[slice, ...]]:
    """The image with a border that the kernel just reaches, and where in it the image is."""
    a, b = weight.shape[0] // 2, weight.shape[1] // 2
    border: Any = ((0, 0), (a, a), (b, b), (0, 0))
    framed: Any = np.pad
    return framed(x, border, mode=mode), (slice(None), slice(a, a + x.shape[1]), slice(b, b + x.shape[2]))


def _with_border(mode: str) -> Plant:
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def conv2d(x: Array, weight: Array, bias: Array) -> Array:
            framed, inside = _image_in_border(x, weight, mode)
            return right(framed, weight, bias)[inside]
        return conv2d
    return plant


def _from_the_start(right: Callable[..., Any]) -> Callable[..., Any]:
    def conv2d(x: Array, weight: Array, bias: Array) -> Array:
        framed, _ = _image_in_border(x, weight, "constant")
        return right(framed, weight, bias)[:, :x.shape[1], :x.shape[2]]
    return conv2d


def _as_one_strip(right: Callable[..., Any]) -> Callable[..., Any]:
    def conv2d(x: Array, weight: Array, bias: Array) -> Array:
        return right(x.reshape(1, -1, *x.shape[2:]), weight, bias).reshape(*x.shape[:3], -1)
    return conv2d


def _blocks_from_0(right: Callable[..., Any]) -> Callable[..., Any]:
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
            _ORIG + " crops a full one", "layers.conv.conv2d", "value", _from_the_start),
    Mistake("NEW-I-REFLECT", "image mirrored at the border → black outside",
            "LAY-13, forward", "layers.conv.conv2d", "value", _with_border("reflect")),
    Mistake("NEW-I-EDGE", "border repeated outward → black outside",
            "as NEW-I-REFLECT", "layers.conv.conv2d", "value", _with_border("edge")),
    Mistake("NEW-I-WRAP", "image wrapped around, as by a discrete Fourier transform → black outside",
            "as LAY-14", "layers.conv.conv2d", "value", _with_border("wrap")),
    Mistake("NEW-I-STRIP", "images of a batch see their neighbours below → nothing",
            "views shifted across the batch", "layers.conv.conv2d", "value", _as_one_strip),
    Mistake("NEW-I-BLOCK", "later blocks of pixels start at the first again → where they are",
            "an index within a block", "layers.conv.conv2d", "value", _blocks_from_0),
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


def _as_it_is(y: Array) -> Array:
    return y


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


def _nested_scales(x: Array, kernels: Kernels) -> Array:
    """φ( conv(x) + up( the same of the coarser ) )."""
    y = conv.conv2d(x, *kernels[0])
    if len(kernels) > 1:
        y = y + pool.upsample(_nested_scales(pool.mean_pool(x, factor=2), kernels[1:]), factor=2)
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
            "TRN-08, of the paper's form", _PAPER, "value", _scales(activation.softplus)),
    Mistake("NEW-I-AVERAGE", "sum over scales divided by their number → not, in the paper's form",
            _ORIG, _PAPER, "value", _scales(_as_it_is, lambda total, kernels: total / len(kernels))),
    Mistake("NEW-I-AFTER", "leaky ReLU once, after the mean over scales → in every scale",
            "TRN-08, of the released form", _RELEASED, "value",
            _scales(_as_it_is, lambda total, kernels: activation.leaky_relu(total / len(kernels)))),
    Mistake("NEW-I-NESTED", "leaky ReLU of what coarser scales add to → of each by itself",
            "TRN-08, coarse to fine", _RELEASED, "value",
            lambda right: lambda x, kernels: (_nested_scales(x, kernels) / len(kernels), right(x, kernels)[1])),
    Mistake("NEW-I-UNDIVIDED", "sum over scales not divided by their number → divided, as released",
            _ORIG, _RELEASED, "value", _scales(activation.leaky_relu)),
    Mistake("NEW-I-BIAS", "biases of all scales added after the mean → in their scales, before the leaky ReLU",
            "one bias a layer", _RELEASED, "value",
            _scales(activation.leaky_relu, lambda total, kernels: total / len(kernels) + sum(k.bias for k in kernels), bias=0)),
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

# -- normalised --------------------------------------------------------------------------------------------------------

_SOFTMAX, _GROUPS = "activation.softmax", "layers.norm.group_norm"


def _along(axis: int | None, *, shift: bool = True) -> Callable[[Array], Array]:
    """Softmax along another axis, or without subtracting the largest."""
    def softmax(x: Array) -> Array:
        g = np.exp(x - np.max(x, axis=axis, keepdims=True) * shift)
        return g / g.sum(axis=axis, keepdims=True)
    return softmax


def _statistics(*, over: tuple[int, ...] = (1, 3), ddof: int = 0, inside: bool = True, fast: bool = False) -> Plant:
    """Mean and variance over other axes of (N, pixels, groups, channels of a group); n − ddof in the variance; ε outside of the
    root; the variance as a difference of squares."""
    def group_norm(x: Array, scale: Array, shift: Array, *, groups: int, epsilon: float = 1e-5) -> Array:
        grouped = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
        mean, n = grouped.mean(axis=over, keepdims=True), np.prod([grouped.shape[axis] for axis in over])
        offset = grouped - mean
        var = (offset * offset).mean(axis=over, keepdims=True) * (n / np.maximum(n - ddof, 1))
        var = (grouped * grouped).mean(axis=over, keepdims=True) - mean * mean if fast else var
        z = offset / (np.sqrt(var + epsilon) if inside else np.sqrt(var) + epsilon)
        return z.reshape(x.shape) * scale + shift
    return instead(group_norm)


def _channels_in_turn(right: Callable[..., Any]) -> Callable[..., Any]:
    def group_norm(x: Array, scale: Array, shift: Array, *, groups: int, epsilon: float = 1e-5) -> Array:
        order = np.arange(x.shape[-1]).reshape(-1, groups).T.ravel()
        back = np.argsort(order)
        return right(x[..., order], scale[order], shift[order], groups=groups, epsilon=epsilon)[..., back]
    return group_norm


VALUES = (
    Mistake("LAY-04b", "softmax along the axis before the last → along the last",
            "labmlai/annotated_deep_learning_paper_implementations#146", _SOFTMAX, "value", instead(_along(-2))),
    Mistake("NEW-N-ALL", "softmax over all numbers of an array → along its last axis",
            "a sum without an axis", _SOFTMAX, "value", instead(_along(None))),
    Mistake("NEW-N-FAR", "softmax without subtracting the maximum: ∞/∞ → with",
            "softmax as it is printed", _SOFTMAX, "value", instead(_along(-1, shift=False))),
    Mistake("LAY-07", "statistics at every pixel by itself → over the pixels, too",
            "linkedin/Liger-Kernel!1376: right for rows, wrong for images", _GROUPS, "value", _statistics(over=(3,))),
    Mistake("LAY-07b", "statistics over all groups → over each",
            "brainpy/BrainPy#765", _GROUPS, "value", _statistics(over=(1, 2, 3))),
    Mistake("NEW-N-INSTANCE", "statistics of every channel by itself → of the channels of a group",
            "instance normalisation", _GROUPS, "value", _statistics(over=(1,))),
    Mistake("NEW-N-BATCH", "statistics over all examples → over each",
            "batch normalisation", _GROUPS, "value", _statistics(over=(0, 1, 3))),
    Mistake("NEW-N-DEAL", "channels dealt out to the groups in turn → neighbours in one group",
            "(C/groups, groups) read for (groups, C/groups)", _GROUPS, "value", _channels_in_turn),
    Mistake("LAY-08", "(x − m)/(√v + ε) → (x − m)/√(v + ε)",
            "lucidrains/denoising-diffusion-pytorch@7b51e30", _GROUPS, "value", _statistics(inside=False)),
    Mistake("NEW-N-UNBIASED", "variance divided by n − 1 → by n",
            "pytorch/pytorch#22617, which asks for it", _GROUPS, "value", _statistics(ddof=1)),
    Mistake("NEW-N-EPSILON", "ε of its own → the one given",
            "1e-6 and 1e-5 in two libraries", _GROUPS, "value",
            lambda right: lambda x, scale, shift, *, groups, epsilon=1e-5: right(x, scale, shift, groups=groups, epsilon=1e-6)),
    Mistake("NEW-N-SHIFTED", "scale of z + shift → of z alone",
            "a bracket", _GROUPS, "value",
            lambda right: lambda x, scale, shift, **fixed: right(x, scale, scale * shift, **fixed)),
)


# -- pullbacks ---------------------------------------------------------------------------------------------------------

def _with_constant(*, mean: bool, root: bool) -> Callable[..., Any]:
    """The pullback to x with the mean or the root held to be a constant."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def group_norm_vjp(x: Array, scale: Array, shift: Array, *, groups: int, epsilon: float = 1e-5) -> Any:
            value, back = right(x, scale, shift, groups=groups, epsilon=epsilon)

            def average(a: Array) -> Array:
                return a.mean(axis=(1, 3), keepdims=True)

            def pullback(dy: Array) -> tuple[Array, Array, Array]:
                grouped, dz = (a.reshape(len(x), -1, groups, x.shape[-1] // groups) for a in (x, dy * scale))
                offset = grouped - average(grouped)
                s = np.sqrt(average(offset * offset) + epsilon)
                dx = dz - (0 if mean else average(dz)) - (0 if root else offset * average(offset * dz) / s ** 2)
                return (dx / s).reshape(x.shape), *back(dy)[1:]

            return value, pullback
        return group_norm_vjp
    return plant


PULLBACKS = (
    Mistake("LAY-01b", "softmax pulled back by its diagonal g (1 − g) → g (dg − ⟨g, dg⟩)",
            "deeplearning4j/libnd4j#440", _SOFTMAX + "_vjp", "gradient",
            pulled_by(lambda dg, x: _along(-1)(x) * (1 - _along(-1)(x)) * dg)),
    Mistake("LAY-02c", "softmax's pullback divided by the batch → not",
            "AkiRusProd/numpy-diffusion@5116f79", _SOFTMAX + "_vjp", "gradient",
            pullback_then(lambda dx: dx / len(dx))),
    Mistake("NEW-N-DMEAN", "mean of a group held to be a constant → differentiated",
            "GRD-01, of statistics", _GROUPS + "_vjp", "gradient", _with_constant(mean=True, root=False)),
    Mistake("NEW-N-DROOT", "variance of a group held to be a constant → differentiated",
            "GRD-01, of statistics", _GROUPS + "_vjp", "gradient", _with_constant(mean=False, root=True)),
    Mistake("NEW-N-DSTOP", "mean and variance both detached → differentiated",
            "GRD-01, of statistics", _GROUPS + "_vjp", "gradient", _with_constant(mean=True, root=True)),
    Mistake("NEW-N-DSCALE", "scale never gets a gradient → it does",
            "SCH-11, of a layer", _GROUPS + "_vjp", "gradient", pullback_then(lambda d: (d[0], zero(d[1]), d[2]))),
    Mistake("NEW-N-DSHIFT", "gradients of scale and shift the mean over the examples → the sum",
            "a mean for a sum", _GROUPS + "_vjp", "gradient",
            pullback_then(lambda d: (d[0], *tree_map(lambda leaf: leaf / len(d[0]), d[1:])))),
)


# -- pullbacks of the layers of images ----------------------------------------------------------------------------------

def _without_coarser(right: Callable[..., Any]) -> Callable[..., Any]:
    def multiscale_vjp(x: Array, kernels: Kernels) -> tuple[Array, Any]:
        y, pullback = right(x, kernels)

        def finest(dy: Array) -> tuple[Array, Kernels]:
            return conv.conv2d_vjp(x, *kernels[0])[1](dy)[0], pullback(dy)[1]
        return y, finest
    return multiscale_vjp


def _edges_twice(dx: Array) -> Array:
    times = np.ones(dx.shape[1:3])
    times[[0, -1]] *= 2
    times[:, [0, -1]] *= 2
    return dx * times[:, :, None]


def _tiles_summed(dy: Array, x: Array, *, factor: int) -> Array:
    N, H, W, C = x.shape
    return dy.reshape(N, factor, H, factor, W, C).sum(axis=(1, 3))


_DCONV = "layers.conv.conv2d_vjp"

OF_IMAGES = (
    Mistake("LAY-10b", "dx with the kernel as it is → flipped",
            "FluxML/NNlib.jl#518", _DCONV, "gradient",
            lambda right: lambda x, w, b: (right(x, w, b)[0], lambda dy: (
                right(x, w[::-1, ::-1], b)[1](dy)[0], *right(x, w, b)[1](dy)[1:]))),
    Mistake("LAY-10c", "gradient of the flipped kernel → of the kernel",
            "keras-team/keras#3015", _DCONV, "gradient", pullback_then(lambda d: (d[0], d[1][::-1, ::-1], d[2]))),
    Mistake("LAY-11", "crop of the forward pass overlooked: dx a row and a column off → where it was",
            "tensorflow/tensorflow#11092", _DCONV, "gradient",
            pullback_then(lambda d: (np.roll(d[0], (1, 1), axis=(1, 2)), *d[1:]))),
    Mistake("LAY-13", "cotangents of the border doubled → once",
            "pytorch/pytorch#100793", _DCONV, "gradient", pullback_then(lambda d: (_edges_twice(d[0]), *d[1:]))),
    Mistake("LAY-02b", "gradient of the kernel divided by the batch → not",
            "AkiRusProd/numpy-diffusion@5116f79, of a convolution", _DCONV, "gradient",
            pullback_then(lambda d: (d[0], d[1] / len(d[0]), d[2]))),
    Mistake("NEW-I-DBIAS", "gradient of a bias the mean over pixels → the sum",
            "a mean for a sum", _DCONV, "gradient",
            pullback_then(lambda d: (d[0], d[1], d[2] / (d[0].size / d[0].shape[-1])))),
    Mistake("NEW-I-DPOOL", "every pixel of a square gets dy → its share of it",
            "the adjoint of the sum", "layers.pool.mean_pool_vjp", "gradient",
            lambda right: lambda x, *, factor: (right(x, factor=factor)[0],
                                                lambda dy: right(x, factor=factor)[1](dy) * factor ** 2)),
    Mistake("NEW-I-DUP", "mean over a square → sum",
            "pooling taken for the adjoint of repetition", "layers.pool.upsample_vjp", "gradient",
            lambda right: lambda x, *, factor: (right(x, factor=factor)[0],
                                                lambda dy: right(x, factor=factor)[1](dy) / factor ** 2)),
    Mistake("LAY-17", "cotangents of a pixel's copies collected as if the image had been tiled → from its square",
            "pytorch/pytorch#38985: the wrong source pixel", "layers.pool.upsample_vjp", "gradient", pulled_by(_tiles_summed)),
    Mistake("NEW-I-DSCALES", "x through the coarser scales detached → differentiated",
            "GRD-01, of scales", "layers.multiscale.multiscale_vjp", "gradient", _without_coarser),
    Mistake("NEW-I-DSHARE", "mean over scales pulled back as their sum → divided",
            _ORIG + " divides", "layers.multiscale.multiscale_released_vjp", "gradient",
            pullback_then(lambda d: tree_map(lambda leaf: leaf * len(d[1]), d))),
    Mistake("NEW-I-DLEAKY", "slope below 0 forgotten in the pullback → kept",
            "ReLU pulled back", "activation.leaky_relu_vjp", "gradient",
            pulled_by(lambda dy, x, *, slope=0.05: np.where(np.real(x) > 0, dy, 0))),
    Mistake("NEW-I-DBUMPS", "every coefficient gets dz → g_j dz",
            "a sum without weights", "layers.temporal.temporal_vjp", "gradient",
            pulled_by(lambda dz, y, *, g: np.broadcast_to(dz[..., None], y.shape))),
    Mistake("NEW-I-DROW", "g of the first row for all → each its own",
            "NEW-I-ONE-T, in the pullback alone", "layers.temporal.temporal_vjp", "gradient",
            pulled_by(lambda dz, y, *, g: dz[..., None] * g[0])),
    Mistake("NEW-I-DSTACK", "gradient for the last layer alone → for every layer",
            "a pullback that ends at the first step", "layers.stack.stack_vjp", "gradient",
            pullback_then(lambda d: (d[0], (*map(zero, d[1][:-1]), *d[1][-1:])))),
    Mistake("NEW-I-DSIDE", "roots forgotten in the pullback → kept",
            "parts of a concatenation", "layers.stack.side_by_side_vjp", "gradient",
            pulled_by(lambda dy, a, b: (dy[..., :a.shape[-1]], dy[..., a.shape[-1]:]))),
)


# -- last digits -------------------------------------------------------------------------------------------------------

def _expanded_square(t: Array, *, T: int, count: int, basis: str = "paper") -> Array:
    tau = T * (np.arange(count) + 0.5) / count if basis == "paper" else np.linspace(1, T, count)
    w = T / count if basis == "paper" else (T - 1) / max(count - 1, 1) / 2
    s = (2.0 * np.multiply.outer(t, tau) - tau * tau) / (2 * w * w)                  # less t²/2w², the same for all
    heights = np.exp(s - s.max(axis=1, keepdims=True))
    return heights / heights.sum(axis=1, keepdims=True)


def _in_single(right: Callable[..., Any]) -> Callable[..., Any]:
    def conv2d(x: Array, weight: Array, bias: Array) -> Array:
        return right(x.astype("f4"), weight.astype("f4"), bias.astype("f4")).astype("f8")
    return conv2d


DIGITS = (
    Mistake("NEW-I-EXPAND", "(t − τ)² expanded: t²/2w² cancels against itself → as it stands",
            "NEW-EXPAND, of bumps", "layers.temporal.bumps", "accuracy", instead(_expanded_square)),
    Mistake("SHP-05b", "single precision in the middle of a double path → double",
            "AkiRusProd/numpy-diffusion@5116f79, of a convolution", "layers.conv.conv2d", "accuracy", _in_single),
    Mistake("NEW-N-SQUARES", "variance as the mean square less the squared mean: cancels → the mean square of x − m",
            "the fast variance of several libraries", _GROUPS, "accuracy", _statistics(fast=True)),
)
