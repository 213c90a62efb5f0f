"""Clauses of layers: each one forward and, if the adapter differentiates, backward.

Names say the layout: `image` is (N, H, W, C) and `kernel` (kh, kw, in, out), or channels first and (out, in, kh, kw), as the
profile has it; `x` has what is normalised or mixed on its last axis in either layout, and a weight is (in, out).
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import activation
from refdpm.conformance import terms
from refdpm.conformance.families.common import (Function, Inputs, Output, Strategy, arrays, drawn, exactly, listed, numbers,
                                               spread_out)
from refdpm.conformance.terms import Terms, exact
from refdpm.layers import conv, linear, norm, pool, rbf, temporal
from refdpm.vjp import Array

# A number so small that the next lower ones are lost to float32: what is less than 2⁻²⁴ of it need not be there at all.
SMALL = 2.0 ** -102

Scale = Callable[[Inputs], Any]


def _layer(module: ModuleType, name: str, id: str, says: str, source: str, arguments: tuple[str, ...], *, inputs: Strategy,
           edges: list[Inputs], scale: Scale, fixed: tuple[str, ...] = (), kind: str = "real") -> Function:
    """The clause of a layer that is called as ours is, and of its adjoint."""
    def call(i: Inputs, name: str) -> Any:
        return getattr(module, name)(*(i[argument] for argument in arguments), **{key: i[key] for key in fixed})

    def vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
        found = call(i, f"{name}_vjp")[1](*cotangents)
        return dict(zip(arguments, found if isinstance(found, tuple) else (found,), strict=True))

    return Function(name, id, says, (source,), (Output("VALUE", kind),), lambda given: inputs, listed(*edges),
                    lambda i: (call(i, name),), lambda i: (scale(i),), vjp=vjp, arguments=arguments)


# -- element by element ------------------------------------------------------------------------------------------------

def _seen(name: str) -> Scale:
    """The value itself, and no less than `SMALL`: a right function of one number rounds a few times, and cancels nowhere.

    Of the sigmoid the terms of ½ + ½ tanh(x/2), as some libraries have it: what is below its last digit there may be lost.
    """
    right: dict[str, Callable[[Array], Array]] = {
        "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        "sigmoid": lambda x: (1 + np.abs(np.tanh(x / 2))) / 2,
        "tanh": np.tanh, "leaky_relu": lambda x: np.maximum(x, x / 20)}
    return lambda i: np.maximum(np.abs(right[name](i["x"])), SMALL)


# every row has a number at which derivatives are of order 1
FAR = [dict(x=exactly([[-800, 0.5, 80], [-80, 1, 800], [-40, -0.5, 40], [-17, 2 ** -20, 17], [-8, -1.25, 8]])),
       dict(x=spread_out(2, 3, 4, low=-1.5, high=1.5))]
AT_ZERO = [dict(x=np.zeros((3, 2)))]


def _element_wise(name: str, id: str, says: str, *, high: float = 1.5, zero: list[Inputs] = AT_ZERO, **named: Any) -> Function:
    edges = [{**edge, **named} for edge in FAR + zero]
    inputs: Strategy = st.fixed_dictionaries({"x": arrays(3, 2, low=-high, high=high), **{k: st.just(v) for k, v in named.items()}})
    return _layer(activation, name, id, says, "definition", ("x",), inputs=inputs, edges=edges, scale=_seen(name))


ELEMENT_WISE = (
    _element_wise("softplus", "LAY.SOFTPLUS", "log(1 + eˣ), from −800 to 800", high=4),
    _element_wise("sigmoid", "LAY.SIGMOID", "1/(1 + e^−x), from −800 to 800"),
    _element_wise("tanh", "LAY.TANH", "tanh x"),
    _element_wise("leaky_relu", "LAY.LEAKY", "max(x, slope·x) with the released code's slope 0.05", zero=[], slope=0.05)._replace(
        inputs=drawn(x=npst.arrays(np.float64, (3, 2), elements=numbers(0.25, 3) | numbers(-3, -0.25)), slope=st.just(0.05))),
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


def _scaled(*cases: tuple[tuple[int, ...], int]) -> list[Inputs]:
    return [dict(image=spread_out(*shape), factor=factor) for shape, factor in cases]


SUMS = (
    _layer(linear, "linear", "LAY.LINEAR", "x W + b, W (in, out)", "definition", ("x", "weight", "bias"),
           inputs=st.fixed_dictionaries(dict(x=arrays(3, 2), weight=arrays(2, 4), bias=arrays(4))),
           edges=[dict(x=spread_out(*rows, 3), weight=spread_out(3, 5, start=0.3), bias=spread_out(5, start=0.7))
                  for rows in ((4,), (2, 4))],
           scale=lambda i: np.abs(i["x"]) @ np.abs(i["weight"]) + np.abs(i["bias"])),
    _layer(conv, "conv2d", "LAY.CONV", "y[h, w] = bias + Σ_ij x[h+i−a, w+j−b] W[i, j], a = (kh−1)/2, b = (kw−1)/2: stride 1, "
           "black outside, kernel not flipped", "App. D.2", ("image", "kernel", "bias"), kind="image",
           inputs=st.fixed_dictionaries(dict(image=arrays(2, 3, 4, 1), kernel=arrays(3, 1, 1, 2), bias=arrays(2))),
           edges=[_convolution((2, 4, 6, 3), (3, 5), 2), _convolution((2, 5, 4, 2), (5, 3), 3, 1, 0, 2, 1),
                  _convolution((2, 5, 3, 1), (1, 1), 4), _convolution((3, 8, 9, 2), (3, 3), 3),
                  _convolution((1, 2, 3, 2), (7, 3), 1)],
           scale=lambda i: conv.conv2d(np.abs(i["image"]), np.abs(i["kernel"]), np.abs(i["bias"]))),
    _layer(pool, "mean_pool", "LAY.POOL", "the mean over squares of factor × factor pixels", "App. D.2", ("image",),
           fixed=("factor",), kind="image", inputs=st.fixed_dictionaries(dict(image=arrays(1, 2, 4, 3), factor=st.just(2))),
           edges=_scaled(((2, 6, 12, 1), 3), ((3, 4, 8, 2), 2), ((2, 3, 5, 4), 1), ((2, 4, 8, 3), 4)),
           scale=lambda i: pool.mean_pool(np.abs(i["image"]), factor=i["factor"])),
    _layer(pool, "upsample", "LAY.UP", "every pixel as a square of factor × factor equal ones", "App. D.2", ("image",),
           fixed=("factor",), kind="image", inputs=st.fixed_dictionaries(dict(image=arrays(1, 2, 3, 2), factor=st.just(2))),
           edges=_scaled(((2, 3, 5, 4), 2), ((1, 2, 3, 2), 3), ((2, 3, 4, 1), 1)),
           scale=lambda i: pool.upsample(np.abs(i["image"]), factor=i["factor"])),
)


# -- normalised --------------------------------------------------------------------------------------------------------

def _shares(s: Terms) -> Array:
    """The scale of e^{s_k}/Σ_j e^{s_j} along the last axis, the largest subtracted first."""
    rows = s.reshape(-1, s.value.shape[-1])
    at = np.arange(len(rows.value)), rows.value.argmax(axis=1)
    powers = terms.exp(rows - rows[at].reshape(-1, 1))
    return np.maximum((powers / terms.total(powers).reshape(-1, 1)).scale, SMALL).reshape(s.value.shape)


def _exponents(i: Inputs) -> Terms:
    """−|x − c_k|²/(2 w_k²)."""
    squared: Any = 0
    for x_d, centre_d in zip(i["x"].T, i["centre"].T):
        difference = exact(x_d[:, None]) - centre_d
        squared = squared + difference * difference
    return -(squared / (2 * terms.exp(2 * exact(i["log_width"]))))


def _far_along(points: Array) -> Array:
    """Far from 0 in one coordinate, and with another one's digits: an expanded square loses them."""
    return exactly(points + 100 * (np.arange(points.shape[1]) == 0))


def _bumps(i: Inputs) -> Terms:
    """−(t − τ_j)²/2w²."""
    T, J, j = i["T"], i["count"], np.arange(i["count"], dtype=np.float64)
    if i["basis"] == "paper":
        tau, width = T * exact(j + 0.5) / J, exact(T) / J
    else:
        spacing = exact(T - 1) / max(J - 1, 1)
        tau, width = 1 + j * spacing, spacing / 2
    z = (i["t"][:, None] - tau) / width
    return -(z * z / 2)


def _group_norm(i: Inputs) -> Array:
    """The scale of scale·(x − m)/√(v + ε) + shift; mean and variance of (N·groups, …) numbers."""
    image, groups = i["image"], i["groups"]
    shape = len(image), int(np.prod(image.shape[1:-1])), groups, -1
    x = exact(np.moveaxis(image.reshape(shape), 2, 1).reshape(len(image) * groups, -1))
    count = x.value.shape[1]

    def mean(a: Terms) -> Terms:
        return (terms.total(a) / count).reshape(-1, 1)

    offset = x - mean(x)
    z = offset / terms.sqrt(mean(offset * offset) + i["epsilon"])
    back = (len(image), groups, shape[1], -1)
    value, error = (np.moveaxis(np.broadcast_to(part, x.value.shape).reshape(back), 1, 2).reshape(image.shape)
                    for part in (z.value, z.error))
    return (Terms(value, error) * i["scale"] + i["shift"]).scale


def _groups(*shape: int, start: float = 0.0, mean: float = 0.5, spread: float = 1.0, **fixed: Any) -> Inputs:
    """Numbers that are not alike: of those that are, a variance by any other formula has no digit that is right."""
    return dict(image=exactly(mean + spread * spread_out(*shape, start=start)),
                scale=spread_out(shape[-1], start=0.3, low=0.5, high=2.0), shift=spread_out(shape[-1], start=0.7), **fixed)


@st.composite
def _steps(draw: st.DrawFn) -> Inputs:
    T = draw(st.sampled_from([2, 3, 10, 40]))
    return dict(t=draw(npst.arrays(np.int64, 3, elements=st.integers(1, T))), T=T, count=draw(st.integers(1, 5)))


NORMALISED = (
    _layer(activation, "softmax", "LAY.SOFTMAX", "exp(x_k)/Σ_j exp(x_j) along the last axis", "definition", ("x",),
           inputs=st.fixed_dictionaries(dict(x=arrays(3, 4, low=-1.5, high=1.5))),
           edges=[dict(x=spread_out(3, 4)), dict(x=spread_out(2, 4, 3, start=0.3)),
                  dict(x=exactly([[800, 799, -800, 798.5], [-800, -801, -799.5, -800], [0.5, 0, -40, 0.25]]))],
           scale=lambda i: _shares(exact(i["x"]))),
    _layer(rbf, "rbf", "LAY.RBF", "g_k = exp(s_k)/Σ_j exp(s_j), s_k = −|x − c_k|²/(2 w_k²), w_k = exp(log_width_k)", "App. D.1.1",
           ("x", "centre", "log_width"),
           inputs=st.fixed_dictionaries(dict(x=arrays(3, 2, low=-1.5, high=1.5), centre=arrays(4, 2, low=-1.5, high=1.5),
                                             log_width=arrays(4, low=0.75, high=1.5))),
           edges=[dict(x=spread_out(3, 2), centre=spread_out(4, 2, start=0.3), log_width=spread_out(4, low=-1, high=1)),
                  dict(x=np.array([[1, 0.25], [-0.5, 2], [1.5, -1]]) / 1024, centre=np.array([[2.0, 0], [0, 2], [-2, 0], [0, -2]]),
                       log_width=np.full(4, -3.0)),
                  dict(x=_far_along(spread_out(3, 2)), centre=_far_along(spread_out(4, 2, start=0.3)),
                       log_width=spread_out(4, low=-1, high=1)),
                  dict(x=np.full((2, 3), 1.5), centre=np.full((1, 3), 1.5), log_width=np.array([0.25]))],
           scale=lambda i: _shares(_exponents(i))),
    _layer(norm, "group_norm", "LAY.GROUP", "scale·(x − m)/√(v + ε) + shift, m and v over all pixels of an example and the "
           "channels of a group of neighbours, v divided by their number", "Wu and He 2018", ("image", "scale", "shift"),
           fixed=("groups", "epsilon"), kind="image",
           inputs=st.builds(_groups, *map(st.just, (2, 1, 3, 4)), start=numbers(0, 1), mean=numbers(-1, 1), spread=numbers(0.5, 2),
                            groups=st.sampled_from([2, 1, 4]), epsilon=st.sampled_from([1e-5, 1e-3])),
           edges=[_groups(2, 4, 3, 6, groups=3, epsilon=1e-5), _groups(3, 2, 5, 4, groups=2, epsilon=1e-3, mean=0.0, spread=0.02),
                  _groups(2, 3, 1, 4, groups=1, epsilon=1e-5), _groups(2, 1, 3, 6, groups=6, epsilon=1e-5),
                  _groups(3, 4, 5, 8, groups=2, epsilon=1e-5, mean=4.0)],
           scale=_group_norm),
    Function("temporal_basis", "LAY.BASIS", "g_j(t) = exp(−(t − τ_j)²/2w²)/Σ_k exp(−(t − τ_k)²/2w²), j = 1..count; "
             "τ_j = T (j − ½)/count and w = T/count, or as released τ_j from 1 to T and w half their spacing",
             ("63",), (Output("VALUE"),), lambda given: _steps(),
             listed(*(dict(t=np.array(t), T=T, count=count) for t, T, count in (
                 ([12, 1, 5, 6, 12], 12, 4), ([2, 1, 1], 2, 1), ([1, 10, 3, 4], 10, 3), ([1000, 1, 2, 500, 37], 1000, 10),
                 ([997, 1, 517], 997, 1000)))),
             lambda i: (temporal.bumps(i["t"], T=i["T"], count=i["count"], basis=i["basis"]),),
             lambda i: (_shares(_bumps(i)),), choices=("basis",), sizes=lambda i: 1),
)

FUNCTIONS: tuple[Function, ...] = (*ELEMENT_WISE, *SUMS, *NORMALISED)
