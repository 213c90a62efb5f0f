"""Conventions: in what form an adapter takes and gives what the clauses speak of.  Never mistakes, but printed.

This package counts t from 1, gives variances, sums over components, in nats, and has rows for "from" in a transition matrix.
Others do not, and are as right.  A `Profile` says how an adapter does it; `theirs` and `ours` translate; `inference` finds it.
"""

from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit, softmax, xlogy

from refdpm.activation import GELU
from refdpm.conformance.adapter import Fault, Model, Network, Skip
from refdpm.later.guidance import STARTS
from refdpm.later.masked import FLOORS, MASKINGS, RISES
from refdpm.later.variance import VARIANCES, WITH_HEAD
from refdpm.later.weights import LOSS_WEIGHTS
from refdpm.layers.embedding import ORDERS, SPACINGS
from refdpm.vjp import Array


class Profile(NamedTuple):
    """How an adapter writes things; the defaults are this package's own ways."""

    first_t: int = 1                   # the number of the first step
    tables: str = "from_1"             # tables over t begin with the first step, or with t = 0
    order: str = "ascending"           # of what is given for all t at once
    spread: str = "variance"           # of a normal law
    bits: str = "probability"          # how the law of a bit is given
    reduction: str = "sum"             # over the components of an example
    unit: str = "nats"
    log_weights: str = "nats"          # the unit of those that come in
    predicts: str = "noise"            # what the network's output means
    weight_of: str = "noise"           # the prediction whose error the weight of the bound is for
    loss_weight: str = "none"          # of a squared error in training
    loss_reduction: str = "mean"       # of a training loss over the components of an example
    variance: str = "small"            # of the reverse step: β̃, β, or a head between
    first: str = "next"                # the variance at t = 1
    posterior_first: str = "zero"      # the posterior's variance at t = 1
    readout: str = "eq65"              # of the two heads of the Swiss-roll network
    orientation: str = "rows"          # of a transition matrix: its rows are the states that are left
    layout: str = "channels_last"      # of images
    basis: str = "paper"               # of the bumps in t: in the middles of equal parts, or from end to end
    categories: str = "probability"    # how the law of a symbol is given
    gelu: str = "exact"                # by Φ, or by a hyperbolic tangent
    time_order: str = "sin_first"      # of sines and cosines in the embedding of t
    frequencies: str = "half"          # of that: 10000 to the power of −i/half, or of −i/(half − 1)
    guidance: str = "unconditional"    # from which of two predictions the weight of guidance is counted
    kernel: str = "uniform"            # of symbols: what a fresh draw is drawn from; absorbing: always the last class; given: law
    last_step: str = "heun"            # of Heun's chains: to a level above 0, for one to 0 is always Euler's
    data_at: int = 0                   # the time of a straight path at which the data are
    masking: str = "linear"            # of masked tokens: in what way fewer are kept
    floor_at: str = "end"              # of that: whether it falls short of 1 as well as of 0
    rise: str = "geometric"            # of σ of masked tokens over t
    mixing: str = "average"            # what a network's law of x_0 means in the reverse step of symbols
    alone: tuple[tuple[str, str, Any], ...] = ()       # (function, field, value): what one function does otherwise than the others

    def of(self, function: str) -> "Profile":
        """The conventions of one function."""
        own = {field: value for name, field, value in self.alone if name == function}
        return self._replace(**own) if own else self

    def with_own(self, function: str, own: Mapping[str, Any]) -> "Profile":
        """The same, but for what that one function does otherwise."""
        return self._replace(alone=self.alone + tuple((function, field, value) for field, value in own.items()))

    def stated(self) -> dict[str, Any]:
        """As an adapter states it: what is common by its field, what is of one function as "function.field"."""
        common = self._asdict()
        return common | {f"{name}.{field}": value for name, field, value in common.pop("alone")}


def profile_from(stated: Mapping[str, Any]) -> Profile:
    """The profile with these conventions, the others as they are here."""
    alone = tuple((*name.split("."), value) for name, value in stated.items() if "." in name)
    return Profile(alone=alone)._replace(**{name: value for name, value in stated.items() if "." not in name})


VALUES: dict[str, tuple[Any, ...]] = {
    "first_t": (1, 0), "tables": ("from_1", "from_0"), "order": ("ascending", "descending"),
    "spread": ("variance", "log_variance", "deviation"), "bits": ("probability", "logit", "log_probability"),
    "reduction": ("sum", "mean", "none"), "unit": ("nats", "bits"), "log_weights": ("nats", "bits"),
    "predicts": ("noise", "x_0", "v", "score", "mean"),
    "weight_of": ("noise", "x_0", "v", "score", "mean"), "loss_weight": LOSS_WEIGHTS, "loss_reduction": ("mean", "sum", "none"),
    "variance": VARIANCES, "first": ("next", "floor", "beta", "fixed"),
    "posterior_first": ("zero", "next"),
    "readout": ("eq65", "released", "denoising"), "orientation": ("rows", "columns"), "layout": ("channels_last", "channels_first"),
    "categories": ("probability", "log_probability", "logits"),
    "mixing": ("average", "joint", "joint_but_first", "average_unmasked"),
    "kernel": ("uniform", "absorbing", "given"), "guidance": STARTS, "masking": MASKINGS, "floor_at": FLOORS, "rise": RISES,
    "gelu": GELU, "time_order": ORDERS,
    "frequencies": SPACINGS, "last_step": ("heun", "euler"), "basis": ("paper", "released"), "data_at": (0, 1)}

# the conventions that bear on an input of that name, or on an output of that kind
INPUTS = {"t": "first_t", "t_prev": "first_t", "model": "first_t", "var": "spread", "var_q": "spread", "var_p": "spread",
          "times": "first_t", "var_r": "spread", "p": "bits", "q": "bits", "r": "bits", "image": "layout", "kernel": "layout",
          "law_q": "categories", "law_p": "categories", "matrices": "orientation", "step": "orientation", "before": "orientation",
          "log_w": "log_weights", "time": "data_at", "time_next": "data_at", "velocity": "data_at"}
KINDS: dict[str, tuple[str, ...]] = {
    "real": (), "variance": ("spread",), "probability": ("bits",), "information": ("unit",), "total": ("unit", "reduction"),
    "table": ("tables", "order"), "table_of_totals": ("unit", "reduction", "order"), "matrix": ("orientation",),
    "image": ("layout",), "times": ("first_t",), "rates": ("order",), "integer": (), "law": ("categories",),
    "loss": ("loss_reduction",), "velocity": ("data_at",), "time": ("data_at",)}


def stated_conventions(given: dict[str, Any], functions: Container[str]) -> dict[str, Any]:
    """Stated conventions; "step_kl.unit" is that of one of the functions.

    Raises: ValueError for a name or value that there is not.
    """
    for key, value in given.items():
        function, point, name = key.rpartition(".")
        if point and function not in functions:
            raise ValueError(f"profile: expected a function that clauses ask for before the point, got {key!r}")
        if name not in VALUES:
            raise ValueError(f"profile: expected names among {', '.join(VALUES)}, got {key!r}")
        if not any(value == one and type(value) is type(one) for one in VALUES[name]):
            raise ValueError(f"profile: expected {key} among {VALUES[name]}, got {str(value)[:60]!r}")
    return given


_SPREADS: dict[str, Callable[[Array], Array]] = {"variance": np.array, "log_variance": np.log, "deviation": np.sqrt}
_LAWS: dict[str, Callable[[Array], Array]] = {"probability": np.array, "log_probability": np.exp,
                                              "logits": partial(softmax, axis=-1)}
_BITS: dict[str, Callable[[Array], Array]] = {"probability": np.array, "logit": logit, "log_probability": np.log}


# -- what goes in ------------------------------------------------------------------------------------------------------

def theirs(inputs: dict[str, Any], profile: Profile, dtype: str | None) -> dict[str, Any]:
    """The arguments in the adapter's conventions and precision; copies, so that it can do with them as it likes."""
    return {name: _in_precision(_their(name, value, profile), dtype) for name, value in inputs.items()}


def _their(name: str, value: Any, profile: Profile) -> Any:
    if name == "beta":
        return value[1:]
    if isinstance(value, Network):
        return value._replace(data_at={"velocity": profile.data_at, "logits": profile.first_t - 1}.get(value.says, 0))
    match INPUTS.get(name):
        case "first_t" if isinstance(value, Model):
            return (value if profile.variance in WITH_HEAD else value.without_head())._replace(first_t=profile.first_t)
        case "first_t":
            return value - 1 + profile.first_t
        case "spread":
            return _SPREADS[profile.spread](value)
        case "bits":
            if profile.bits != "probability" and np.any((value == 0) | (value == 1)):
                raise Skip(f"a {profile.bits} cannot say that a bit is certain")
            return _BITS[profile.bits](value)
        case "categories" if profile.categories != "probability":
            with np.errstate(divide="ignore"):
                return np.log(value)
        case "orientation" if profile.orientation == "columns":
            return np.swapaxes(value, -1, -2)
        case "log_weights" if profile.log_weights == "bits":
            return value / np.log(2)
        case "data_at" if profile.data_at:
            return -value if name == "velocity" else np.asarray(1 - value)             # a number stays an array without axes
        case "layout" if profile.layout == "channels_first":
            return np.moveaxis(value, -1, 1) if name == "image" else np.transpose(value, (3, 2, 0, 1))
    return value


def _in_precision(value: Any, dtype: str | None) -> Any:
    if isinstance(value, np.ndarray):
        holds = "float32" if dtype == "bfloat16" else dtype         # NumPy has none of its own
        return value.astype(holds if holds and value.dtype.kind == "f" else value.dtype, order="C", copy=True)
    if isinstance(value, Network) and value.says == "logits":           # whose precision no x_t tells
        return value._replace(centre=_in_precision(value.centre, dtype), spread=_in_precision(value.spread, dtype))
    return value


# -- what comes out ----------------------------------------------------------------------------------------------------

def ours(value: Array, kind: str, profile: Profile, shape: tuple[int, ...], batch: tuple[int, ...]) -> Array:
    """An answer in this package's conventions, of `shape`; `batch` is that of the states.

    Raises: Fault if it cannot have that shape.
    """
    if kind in ("variance", "probability"):
        name = profile.spread if kind == "variance" else profile.bits
        value = {"variance": lambda v: v, "probability": lambda v: v, "log_variance": np.exp, "log_probability": np.exp,
                 "deviation": np.square, "logit": expit}[name](value)
    if kind == "law":
        value = _LAWS[profile.categories](value)
    if kind in ("information", "total", "table_of_totals") and profile.unit == "bits":
        value = value * np.log(2)
    if kind in ("total", "table_of_totals"):
        value = _total_of_components(value, profile.reduction, len(shape), batch)
    if kind == "loss":
        value = _loss_of_batch(value, profile.loss_reduction, batch)
    if kind in ("table", "table_of_totals", "rates") and profile.order == "descending":
        value = value[::-1]
    if kind == "rates" and value.shape == (shape[0] + 1,):                       # with β_0 = 0 in front or without
        value = value[1:]
    if kind == "table" and profile.tables == "from_0":
        value = value[1:]
    if kind == "matrix" and profile.orientation == "columns":
        value = np.swapaxes(value, -1, -2)
    if kind == "image" and profile.layout == "channels_first" and value.ndim == 4:
        value = np.moveaxis(value, 1, -1)
    if kind == "velocity" and profile.data_at:
        value = -value
    if kind == "time" and profile.data_at:
        value = 1 - value
    if kind == "times":
        value = value + 1 - profile.first_t
    return in_shape(value, shape)


def _total_of_components(value: Array, reduction: str, ndim: int, batch: tuple[int, ...]) -> Array:
    if reduction == "none" and ndim:
        return value.sum(axis=tuple(range(ndim, value.ndim))) if value.ndim > ndim else np.full(value.shape, np.nan)
    return value * np.prod(batch[1:]) if reduction == "mean" else value


def _loss_of_batch(value: Array, reduction: str, batch: tuple[int, ...]) -> Array:
    """The mean over examples and components, from one number for the batch, for each example or for each component.

    Raises: Fault for another shape.
    """
    is_whole = value.shape == batch
    if not is_whole and value.size != 1 and (value.size != batch[0] or len(value) != batch[0]):
        raise Fault(f"returns shape {value.shape}, expected (), {batch[:1]} or {batch}")
    if (reduction == "none") != is_whole:
        return np.full((), np.nan)
    return np.asarray(value.mean() / np.prod(batch[1:]) if reduction == "sum" else value.mean())


def in_shape(value: Array, shape: tuple[int, ...]) -> Array:
    """`value` as an array of `shape`: the same, or with axes of length 1 to be stretched, or one number a row.

    Raises: Fault.
    """
    if value.shape == shape:
        return value
    if value.ndim == len(shape) and all(n in (1, m) for n, m in zip(value.shape, shape)):
        return np.broadcast_to(value, shape)
    if value.ndim == 0 or (value.ndim == 1 and len(shape) > 1 and len(value) == shape[0] and shape[0] not in shape[1:]):
        return np.broadcast_to(value.reshape(value.shape + (1,) * (len(shape) - value.ndim)), shape)
    raise Fault(f"returns shape {value.shape}, expected {shape}")


def scale_in_their_form(scale: Array, kind: str, profile: Profile, reference: Array) -> Array:
    """The scale of an answer that is rounded in the adapter's own form, before it is translated."""
    with np.errstate(all="ignore"):
        if kind == "variance" and profile.spread == "log_variance":
            return np.asarray(scale + np.nan_to_num(np.abs(reference * np.log(reference)), posinf=0))
        if kind == "probability" and profile.bits == "logit":
            return np.asarray(scale + np.nan_to_num(np.abs(reference * (1 - reference) * logit(reference))))
        if kind == "law" and profile.categories != "probability":
            said = np.abs(xlogy(reference, reference))
            return np.asarray(scale + said + reference * said.sum(axis=-1, keepdims=True))
        if kind == "probability" and profile.bits == "log_probability":
            return np.asarray(scale + np.nan_to_num(np.abs(reference * np.log(reference))))
    return scale
