"""Mistakes in softmax and in group normalisation, in their pullbacks and in their last digits."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.conformance.mistakes.planting import Mistake, Plant, instead, pullback_then, pulled_by, zero
from refdpm.vjp import Array, tree_map

_SOFTMAX, _GROUPS = "activation.softmax", "layers.norm.group_norm"


def _along(axis: int | None, *, shift: bool = True) -> Callable[[Array], Array]:
    def softmax(x: Array) -> Array:
        g = np.exp(x - (np.max(x, axis=axis, keepdims=True) if shift else 0))
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


def _interleaved(right: Callable[..., Any]) -> Callable[..., Any]:
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
            "(C/groups, groups) read for (groups, C/groups)", _GROUPS, "value", _interleaved),
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

def _held(*, mean: bool, root: bool) -> Callable[..., Any]:
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
            "GRD-01, of statistics", _GROUPS + "_vjp", "gradient", _held(mean=True, root=False)),
    Mistake("NEW-N-DROOT", "variance of a group held to be a constant → differentiated",
            "GRD-01, of statistics", _GROUPS + "_vjp", "gradient", _held(mean=False, root=True)),
    Mistake("NEW-N-DSTOP", "mean and variance both detached → differentiated",
            "GRD-01, of statistics", _GROUPS + "_vjp", "gradient", _held(mean=True, root=True)),
    Mistake("NEW-N-DSCALE", "scale never gets a gradient → it does",
            "SCH-11, of a layer", _GROUPS + "_vjp", "gradient", pullback_then(lambda d: (d[0], zero(d[1]), d[2]))),
    Mistake("NEW-N-DSHIFT", "gradients of scale and shift the mean over the examples → the sum",
            "a mean for a sum", _GROUPS + "_vjp", "gradient",
            pullback_then(lambda d: (d[0], *tree_map(lambda leaf: leaf / len(d[0]), d[1:])))),
)

DIGITS = (
    Mistake("NEW-N-SQUARES", "variance as the mean square less the squared mean: cancels → the mean square of x − m",
            "the fast variance of several libraries", _GROUPS, "accuracy", _statistics(fast=True)),
)

MISTAKES = VALUES + PULLBACKS + DIGITS
