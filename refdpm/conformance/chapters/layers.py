"""Clauses of layers: each one forward and, if the adapter differentiates, backward.

Names say the layout: `image` is (N, H, W, C) and `kernel` (kh, kw, in, out), or channels first and (out, in, kh, kw), as the
profile has it; `x` has what is normalised or mixed on its last axis in either layout, and a weight is (in, out).
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays, numbers
from refdpm.conformance.chapters.ends import BOTH, REAL, Case, Sampler, ends, near_zero, rate, wide
from refdpm.conformance.chapters.inputs import Inputs, drawn, exactly, listed, spread_out
from refdpm.conformance.chapters.quantity import Output, Quantity
from refdpm.conformance.chapters.theory import Theory
from refdpm import activation
from refdpm.layers import attention, conv, embedding, linear, norm, pool, rbf, temporal
from refdpm.layers.linear import Affine
from refdpm.textbook.expression import HALF, given, node, slack
from refdpm.textbook import layers as book_layers
from refdpm.textbook.layers import PAIRS
from refdpm.vjp import Array

# A number so small that the next lower ones are lost to float32: what is less than 2⁻²⁴ of it need not be there at all.
SMALL = 2.0 ** -102


def _layer(module: ModuleType, name: str, id: str, says: str, source: str, takes: tuple[str, ...], *, inputs: Draw,
           edges: list[Inputs], fixed: tuple[str, ...] = (), kind: str = "real", lost: Any = 0) -> Quantity:
    """The clause of a layer that is called as ours is, and of its adjoint; the rounding of a number `lost` may be lost."""
    f, f_vjp = getattr(module, name), getattr(module, f"{name}_vjp", None)
    formula = PAIRS[f"{module.__name__}.{name}".removeprefix("refdpm.")]

    def book(i: Inputs) -> Any:
        printed = formula(*map(given, takes), **{key: i[key] for key in fixed})
        return (printed + slack(node(lost)) if lost else printed,)

    return Quantity(name, id, says, (source,), (Output("VALUE", kind),), lambda given: inputs, listed(*edges),
                    Theory(f, *takes, fixed=fixed), book, arguments=takes if f_vjp else ())


# -- element by element ------------------------------------------------------------------------------------------------

# every row has a number at which derivatives are of order 1
FAR = [dict(x=exactly([[-800, 0.5, 80], [-80, 1, 800], [-40, -0.5, 40], [-17, 2 ** -20, 17], [-8, -1.25, 8]])),
       dict(x=spread_out(2, 3, 4, low=-1.5, high=1.5))]
AT_ZERO = [dict(x=np.zeros((3, 2)))]


def _element_wise(name: str, id: str, says: str, *, high: float = 1.5, zero: list[Inputs] = AT_ZERO, lost: Any = SMALL,
                  **named: float) -> Quantity:
    """A right function of one number rounds a few times, and cancels nowhere."""
    return _layer(activation, name, id, says, "definition", ("x",),
                  inputs=draws.named({"x": arrays(3, 2, low=-high, high=high)}), lost=lost,
                  edges=[{**edge, **named} for edge in FAR + zero])


ELEMENT_WISE = (
    _element_wise("softplus", "LAY.SOFTPLUS", "log(1 + eˣ), from −800 to 800", high=4),
    # some libraries have it as ½ + ½ tanh(x/2): what is below its last digit there may be lost
    _element_wise("sigmoid", "LAY.SIGMOID", "1/(1 + e^−x), from −800 to 800", lost=HALF),
    _element_wise("tanh", "LAY.TANH", "tanh x"),
    _element_wise("leaky_relu", "LAY.LEAKY", "max(x, slope·x) with the released code's slope 0.05", zero=[], slope=0.05)._replace(
        inputs=drawn(x=arrays(3, 2, low=0.25).map(lambda x: x * (-1.0) ** np.arange(6).reshape(3, 2)), slope=draws.just(0.05))),
    _element_wise("silu", "LAY.SILU", "x/(1 + e^−x)"),
    Quantity("gelu", "LAY.GELU", "x Φ(x), or ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))", ("definition",), (Output("VALUE"),),
             drawn(x=arrays(3, 2, low=-1.5, high=1.5)), listed(*FAR, *AT_ZERO),
             Theory(activation.gelu, "x", form=lambda i: i["gelu"]),
             lambda i: (book_layers.gelu(given("x"), i["gelu"]) + slack(node(SMALL)),), choices=("gelu",), arguments=("x",)),
    Quantity("dropout", "LAY.DROPOUT", "x/(1 − rate) where `keep` is true, 0 elsewhere: rate is the share that is left out",
             ("definition",), (Output("VALUE"),),
             drawn(x=arrays(3, 4), keep=draws.chosen_arrays((3, 4), (False, True)), rate=draws.one_of([0.25, 0.125, 0.5])),
             listed(*(dict(x=spread_out(*shape), keep=spread_out(*shape, start=0.4) > -0.5, rate=rate)
                      for shape, rate in (((4, 3), 0.5), ((4, 3), 0.25), ((2, 3, 5), 0.875)))),
             Theory(activation.dropout, "x", fixed=("keep", "rate")),
             book_layers.dropout(given("x"), given("keep"), given("rate")) + slack(given("x")), arguments=("x",)),
)


# -- sums of products --------------------------------------------------------------------------------------------------

def _convolution(shape: tuple[int, ...], kernel: tuple[int, int], filters: int, *at: int) -> Inputs:
    """An image without regularity; or a black one, with one pixel of 1."""
    image = spread_out(*shape)
    if at:
        image = 0 * image
        image[at] = 1
    return dict(image=image, kernel=spread_out(*kernel, shape[-1], filters, start=0.3),
                bias=spread_out(filters, start=0.7))


# scores around ±1500, whose exponentials overflow, and no larger, as that would lose what they say in single precision
KEYS = spread_out(1, 5, 4, start=0.3)
FAR_KEYS = dict(query=64 * np.eye(3, 4)[None], key=exactly(48 * np.sign(KEYS) + KEYS), value=spread_out(1, 5, 3, start=0.7))


def _scaled(*cases: tuple[tuple[int, ...], int]) -> list[Inputs]:
    return [dict(image=spread_out(*shape), factor=factor) for shape, factor in cases]


SUMS = (
    _layer(linear, "linear", "LAY.LINEAR", "x W + b, W (in, out)", "definition", ("x", "weight", "bias"),
           inputs=draws.named(dict(x=arrays(3, 2), weight=arrays(2, 4), bias=arrays(4))),
           edges=[dict(x=spread_out(*rows, 3), weight=spread_out(3, 5, start=0.3), bias=spread_out(5, start=0.7))
                  for rows in ((4,), (2, 4))]),
    _layer(conv, "conv2d", "LAY.CONV", "y[h, w] = bias + Σ_ij x[h+i−a, w+j−b] W[i, j], a = (kh−1)/2, b = (kw−1)/2: stride 1, "
           "zeros outside, kernel not flipped", "App. D.2", ("image", "kernel", "bias"), kind="image",
           inputs=draws.named(dict(image=arrays(2, 3, 4, 1), kernel=arrays(3, 1, 1, 2), bias=arrays(2))),
           edges=[_convolution((2, 4, 6, 3), (3, 5), 2), _convolution((2, 5, 4, 2), (5, 3), 3, 1, 0, 2, 1),
                  _convolution((2, 5, 3, 1), (1, 1), 4), _convolution((3, 8, 9, 2), (3, 3), 3),
                  _convolution((1, 2, 3, 2), (7, 3), 1)]),
    _layer(conv, "strided_conv2d", "LAY.STRIDED", "y[h, w] = bias + Σ_ij x[h s + i − p, w s + j − p] W[i, j], s = stride and "
           "p = padding on all sides: zeros outside, kernel not flipped", "definition", ("image", "kernel", "bias"),
           fixed=("stride", "padding"), kind="image",
           inputs=draws.named(dict(image=arrays(2, 5, 6, 1), kernel=arrays(3, 2, 1, 2), bias=arrays(2),
                                   stride=draws.one_of([2, 1, 3]), padding=draws.one_of([1, 0, 2]))),
           edges=[_convolution(shape, kernel, 3) | dict(stride=stride, padding=padding) for shape, kernel, stride, padding in (
               ((2, 6, 8, 3), (3, 3), 2, 1), ((2, 6, 8, 2), (4, 4), 2, 1), ((1, 7, 5, 2), (3, 5), 3, 0),
               ((2, 4, 6, 1), (2, 2), 2, 0), ((2, 5, 4, 2), (1, 3), 1, 2))]),
    _layer(attention, "attention", "LAY.ATTENTION", "Σ_m a_lm v_m with the weights a_l· = softmax over m of q_l · k_m/√d, d the "
           "width of query and key; (N, L, d), (N, M, d), (N, M, e)", "Vaswani 2017", ("query", "key", "value"),
           inputs=draws.named(dict(query=arrays(2, 3, 4), key=arrays(2, 5, 4), value=arrays(2, 5, 2))),
           edges=[dict(query=spread_out(*q), key=spread_out(*k, start=0.3), value=spread_out(*v, start=0.7)) for q, k, v in (
               ((2, 3, 4), (2, 5, 4), (2, 5, 6)), ((3, 4, 2), (3, 3, 2), (3, 3, 2)), ((1, 1, 9), (1, 6, 9), (1, 6, 1)),
               ((2, 5, 7), (2, 5, 7), (2, 5, 7)))] + [FAR_KEYS], lost=SMALL),
    _layer(pool, "mean_pool", "LAY.POOL", "the mean over squares of factor × factor pixels", "App. D.2", ("image",),
           fixed=("factor",), kind="image", inputs=draws.named(dict(image=arrays(1, 2, 4, 3), factor=draws.just(2))),
           edges=_scaled(((2, 6, 12, 1), 3), ((3, 4, 8, 2), 2), ((2, 3, 5, 4), 1), ((2, 4, 8, 3), 4))),
    _layer(pool, "upsample", "LAY.UP", "every pixel as a square of factor × factor equal ones", "App. D.2", ("image",),
           fixed=("factor",), kind="image", inputs=draws.named(dict(image=arrays(1, 2, 3, 2), factor=draws.just(2))),
           edges=_scaled(((2, 3, 5, 4), 2), ((1, 2, 3, 2), 3), ((2, 3, 4, 1), 1))),
)


# -- normalised --------------------------------------------------------------------------------------------------------

def _far_along(points: Array) -> Array:
    """Far from 0 in one coordinate, and with another one's digits: an expanded square loses them."""
    return exactly(points + 100 * (np.arange(points.shape[1]) == 0))


def _groups(*shape: int, start: float = 0.0, mean: float = 0.5, spread: float = 1.0, **fixed: Any) -> Inputs:
    """Numbers that are not alike: of those that are, a variance by any other formula has no digit that is right."""
    return dict(image=exactly(mean + spread * spread_out(*shape, start=start)),
                scale=spread_out(shape[-1], start=0.3, low=0.5, high=2.0), shift=spread_out(shape[-1], start=0.7), **fixed)


def _features(*shape: int, **of: Any) -> Inputs:
    """The same on the last axis of states."""
    found = _groups(*shape, **of)
    return {"x": found.pop("image")} | found


def _without_shift(inputs: Inputs) -> Inputs:
    return {name: value for name, value in inputs.items() if name != "shift"}


@draws.composed
def _steps(draw: Callable[[Draw], Any]) -> Inputs:
    T = draw(draws.one_of([2, 3, 10, 40]))
    return dict(t=draw(draws.integer_arrays(3, 1, T)), T=T, count=draw(draws.integers(1, 5)))


CLASSES: dict[str, Any] = dict(
    inputs=draws.named(dict(x=arrays(3, 4, low=-1.5, high=1.5))),
    edges=[dict(x=spread_out(3, 4)), dict(x=spread_out(2, 4, 3, start=0.3)),
           dict(x=exactly([[800, 799, -800, 798.5], [-800, -801, -799.5, -800], [0.5, 0, -40, 0.25]]))])

NORMALISED = (
    _layer(activation, "softmax", "LAY.SOFTMAX", "exp(x_k)/Σ_j exp(x_j) along the last axis", "definition", ("x",),
           lost=SMALL, **CLASSES),
    _layer(activation, "log_softmax", "LAY.LOGSOFTMAX", "x_k − log Σ_j exp(x_j) along the last axis", "definition", ("x",),
           **CLASSES),
    _layer(rbf, "rbf", "LAY.RBF", "g_k = exp(s_k)/Σ_j exp(s_j), s_k = −|x − c_k|²/(2 w_k²), w_k = exp(log_width_k)", "App. D.1.1",
           ("x", "centre", "log_width"),
           inputs=draws.named(dict(x=arrays(3, 2, low=-1.5, high=1.5), centre=arrays(4, 2, low=-1.5, high=1.5),
                                             log_width=arrays(4, low=0.75, high=1.5))),
           edges=[dict(x=spread_out(3, 2), centre=spread_out(4, 2, start=0.3), log_width=spread_out(4, low=-1, high=1)),
                  dict(x=np.array([[1, 0.25], [-0.5, 2], [1.5, -1]]) / 1024, centre=np.array([[2.0, 0], [0, 2], [-2, 0], [0, -2]]),
                       log_width=np.full(4, -3.0)),
                  dict(x=_far_along(spread_out(3, 2)), centre=_far_along(spread_out(4, 2, start=0.3)),
                       log_width=spread_out(4, low=-1, high=1)),
                  dict(x=np.full((2, 3), 1.5), centre=np.full((1, 3), 1.5), log_width=np.array([0.25]))],
           lost=SMALL),
    _layer(norm, "group_norm", "LAY.GROUP", "scale·(x − m)/√(v + ε) + shift, m and v over all pixels of an example and the "
           "channels of its group, which are neighbours; v is divided by their number", "Wu and He 2018",
           ("image", "scale", "shift"),
           fixed=("groups", "epsilon"), kind="image",
           inputs=draws.named(dict(start=numbers(0, 1), mean=numbers(-1, 1), spread=numbers(0.5, 2), groups=draws.one_of([2, 1, 4]),
                                   epsilon=draws.one_of([1e-5, 1e-3]))).map(lambda drawn: _groups(2, 1, 3, 4, **drawn)),
           edges=[_groups(2, 4, 3, 6, groups=3, epsilon=1e-5), _groups(3, 2, 5, 4, groups=2, epsilon=1e-3, mean=0.0, spread=0.02),
                  _groups(2, 3, 1, 4, groups=1, epsilon=1e-5), _groups(2, 1, 3, 6, groups=6, epsilon=1e-5),
                  _groups(3, 4, 5, 8, groups=2, epsilon=1e-5, mean=4.0),
                  _groups(3, 2, 5, 4, groups=2, epsilon=1e-5, mean=0.0, spread=0.005)]),
    _layer(norm, "layer_norm", "LAY.LAYERNORM", "scale·(x − m)/√(v + ε) + shift, m and v over the last axis, v divided by its "
           "length", "Ba 2016", ("x", "scale", "shift"), fixed=("epsilon",),
           inputs=draws.named(dict(start=numbers(0, 1), mean=numbers(-1, 1), spread=numbers(0.5, 2),
                                   epsilon=draws.one_of([1e-5, 1e-3]))).map(lambda drawn: _features(3, 4, **drawn)),
           edges=[_features(4, 6, epsilon=1e-5), _features(2, 3, 5, epsilon=1e-3, mean=0.0, spread=0.02),
                  _features(3, 4, epsilon=1e-5, mean=4.0), _features(3, 6, epsilon=1e-5, mean=0.0, spread=0.005)]),
    _layer(norm, "rms_norm", "LAY.RMSNORM", "scale·x/√(m + ε), m the mean of x² over the last axis", "Zhang 2019", ("x", "scale"),
           fixed=("epsilon",),
           inputs=draws.named(dict(start=numbers(0, 1), mean=numbers(-0.1, 0.1), spread=numbers(0.05, 0.2), epsilon=draws.one_of(
               [1e-5, 1e-3]))).map(lambda drawn: _without_shift(_features(3, 4, **drawn))),
           edges=list(map(_without_shift, [
               _features(4, 6, epsilon=1e-5, mean=0.0, spread=0.1), _features(2, 3, 5, epsilon=1e-3, mean=0.0, spread=0.02),
               _features(3, 4, epsilon=1e-6, mean=2.0), _features(3, 6, epsilon=1e-5, mean=0.0, spread=0.005)]))),
    Quantity("sinusoidal", "LAY.TIME", "sin(t f_i) and cos(t f_i), f_i = 10000^(−i/n), i = 0..width/2 − 1; n is width/2, or one "
             "less; all sines first, all cosines first, or in turn; time (N,)", ("Vaswani 2017", "Ho 2020"), (Output("VALUE"),),
             drawn(time=draws.integer_arrays((5,), 0, 1000).map(lambda t: t + 0.0), width=draws.one_of([6, 8, 4])),
             listed(*(dict(time=np.array([3.0, 1, 999, 0, 250.5, 1000]), width=width) for width in (8, 6, 16, 4))),
             Theory(embedding.sinusoidal, "time", fixed=("width",), order=lambda i: i["time_order"],
                    spacing=lambda i: i["frequencies"]),
             lambda i: (book_layers.sinusoidal(given("time"), i["width"], i["time_order"], i["frequencies"]),),
             choices=("time_order", "frequencies"), own=(("data_at", 0),)),                 # its time is a number of any kind
    _layer(temporal, "bumps", "LAY.BASIS", "g_j(t) = exp(−(t − τ_j)²/2w²)/Σ_k exp(−(t − τ_k)²/2w²), j = 1..count; "
           "τ_j = T (j − ½)/count and w = T/count, or as released τ_j from 1 to T and w half their spacing", "63", ("t",),
           fixed=("T", "count", "basis"), inputs=_steps(), lost=SMALL,
           edges=[dict(t=np.array(t), T=T, count=count) for t, T, count in (
               ([12, 1, 5, 6, 12], 12, 4), ([2, 1, 1], 2, 1), ([1, 10, 3, 4], 10, 3), ([1000, 1, 2, 500, 37], 1000, 10),
               ([997, 1, 517], 997, 1000))])._replace(name="temporal_basis", choices=("basis",)),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _apart(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers of sizes from 1e-6 to 1e6 next to each other."""
    return wide(1e-6, 1e6, 0.0, signs=BOTH)(rng, int(np.prod(shape))).reshape(shape)


def _arrays(*shapes: tuple[int, ...], **fixed: Any) -> Sampler:
    """One case, of arrays of those shapes."""
    return lambda rng, n: (tuple(_apart(rng, *shape) for shape in shapes), fixed)


def _scales(rng: np.random.Generator, n: int) -> Case:
    kernels = tuple(Affine(_apart(rng, *sides, 2, 3), _apart(rng, 3)) for sides in ((3, 3), (1, 3), (3, 1)))
    return (_apart(rng, 1, 4, 8, 2), kernels), {}


def _centres(rng: np.random.Generator, n: int) -> Case:
    """States near the centres, far from all of them, and far from 0 beside one."""
    centre = _apart(rng, 5, 2)
    x = np.concatenate([rng.normal(size=(4, 2)), _apart(rng, 4, 2), centre * (1 + 1e-9)])
    return (x, centre, rng.uniform(-3, 6, 5)), {}


def _together(rng: np.random.Generator, n: int) -> Case:
    """States and centres among one another, some widths away from 0."""
    return (10 + rng.normal(size=(n // 6, 2)), 10 + rng.normal(size=(5, 2)), rng.uniform(-1, 1, 5)), {}


def _times(T: int, count: int, basis: str) -> Sampler:
    return lambda rng, n: ((np.unique([1, T, *rng.integers(1, T + 1, 1)]),), dict(T=T, count=count, basis=basis))


def _embedded(order: str, spacing: str) -> Sampler:
    return lambda rng, n: ((np.append(rng.uniform(0, 1000, n // 2), [0.0, 1000.0]),), dict(width=8, order=order, spacing=spacing))


def _alike(rng: np.random.Generator, n: int) -> Case:
    """Numbers whose mean is a thousand times their deviation."""
    return (1e3 + rng.normal(size=(2, 3, 4, 6)), _apart(rng, 6), _apart(rng, 6)), dict(groups=3, epsilon=1e-5)


ENDS = {
    **{f"activation.{name}": ends(REAL) for name in ("softplus", "sigmoid", "tanh", "leaky_relu")},
    "activation.silu": ends(wide(1e-9, 700.0, 0.0, signs=BOTH)),
    "activation.gelu": (ends(REAL), ends(wide(1e-9, 10.0, 0.0, signs=BOTH), form="tanh")),
    "activation.dropout": ends(REAL, keep=lambda rng, n: rng.random(n) < 0.7, rate=0.3),
    "layers.conv.strided_conv2d": _arrays((2, 4, 8, 2), (4, 3, 2, 3), (3,), stride=2, padding=1),
    "layers.norm.layer_norm": _arrays((6, 5), (5,), (5,), epsilon=1e-5),
    "layers.norm.rms_norm": _arrays((6, 5), (5,), epsilon=1e-6),
    "layers.attention.attention": lambda rng, n: (tuple(rng.normal(size=shape) for shape in ((2, 3, 4), (2, 5, 4), (2, 5, 3))), {}),
    "layers.embedding.sinusoidal": tuple(_embedded(order, spacing) for order in embedding.ORDERS for spacing in embedding.SPACINGS),
    "activation.logit": (ends(rate), ends(wide(1e-300, 0.5))),
    "activation.x_minus_log1p": ends(near_zero(-0.5, 0.999)),
    "activation.expm1_minus_x": ends(near_zero(-1.299, 1.299)),
    "layers.linear.linear": _arrays((7, 5), (5, 3), (3,)),
    "layers.linear.per_step": _arrays((7, 5), (4, 5, 3), (4, 3), t=np.array([3, 1, 0, 3, 3, 1, 3])),
    "layers.conv.conv2d": _arrays((2, 4, 8, 2), (3, 5, 2, 3), (3,)),
    "layers.pool.mean_pool": _arrays((2, 4, 8, 2), factor=4), "layers.pool.upsample": _arrays((2, 4, 8, 2), factor=2),
    "layers.multiscale.multiscale": _scales, "layers.multiscale.multiscale_released": _scales,
    "layers.stack.side_by_side": _arrays((4, 3), (4, 5)),
    "layers.temporal.bumps": tuple(_times(T, count, basis) for T, count in ((2, 1), (9, 3), (1000, 300))
                                   for basis in temporal.BASES),
    "layers.temporal.temporal": _arrays((2, 3, 10), g=temporal.bumps(np.array([3, 38]), T=40, count=10)),
    **{f"activation.{name}": lambda rng, n: ((REAL(rng, 4 * n).reshape(n, 4),), {}) for name in ("softmax", "log_softmax")},
    "layers.rbf.rbf": (_centres, _together),
    "layers.norm.group_norm": (_arrays((2, 4, 3, 6), (6,), (6,), groups=3, epsilon=1e-5), _alike)}
