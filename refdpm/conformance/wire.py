"""How the kit talks to a program in any language: JSON, one message a line (UTF-8), on its standard input and output.

    kit      {"hello": 1, "names": ["alpha_bar", "forward", "posterior"]}
    program  {"functions": ["posterior"], "dtype": "float32", "profile": {"first_t": 0}, "beta": null}
    kit      {"id": 1, "call": "posterior", "arguments": {"x_0": ARRAY, "x_t": ARRAY, "t": ARRAY, "beta": ARRAY}}
    program  {"id": 1, "value": {"tuple": [ARRAY, ARRAY]}}
    kit      {"id": 2, "call": "posterior", "arguments": {"x_0": ARRAY, "x_t": ARRAY, "t": ARRAY, "beta": ARRAY}}
    program  {"id": 2, "error": "T = 1 is not supported", "kind": "skip"}

The program reads a line, answers with a line and flushes, until its input ends.  Nothing else may come on its standard output;
on its standard error it may write what it likes.

The first message says which functions the kit knows.  The answer to it:

    functions    those that the program has
    dtype        "bfloat16", "float16", "float32", "float64": the precision it computes in; null or absent: that of what it returns
    profile      the conventions it states, by their names in the report; the others are inferred
    beta         the schedule [β_1, …, β_T] if it has one of its own; null or absent if it takes the argument "beta"
    classes      of its categorical chain, if it has a number of them built in; null or absent if not
    not_known    functions that it has and the kit does not know, if it does not count them among `functions`
    places       of functions their files and lines, {"posterior": ["ddpm.py", 12]}; null or absent if they are not known
    own_steps    the lists of steps that its chains go through, if it can go through no others; null or absent if not
    error        instead of these: why there is nothing to check

A call has all arguments that the function can have; those that are not needed are ignored.  The answer has the call's `id` and a
`value`, or an `error` with a `kind`: "skip" if this is not offered, "fault" if something went wrong.  `notes`, a list of strings,
may come with either.

    ARRAY        {"dtype": "float32", "shape": [2, 3], "data": [0.5, -1, 2, "NaN", "Infinity", "-Infinity"]}
                 the numbers row by row, each the shortest decimal that a double reads back exactly; dtype may also be
                 "float16", "float64", "bool" or an "int64" and the like.  shape [] is one number.
    tuple        {"tuple": [VALUE, VALUE]}
    dict         {"dict": {"mean": VALUE, "var": VALUE}}
    model        {"model": {"weight": ARRAY, "bias": ARRAY, "first_t": 1}}: the network, see `adapter.Model`
    network      {"network": {"says": "x_0", "centre": ARRAY, "spread": ARRAY, "data_at": 0}}, see `adapter.Network`
    the rest     true, false, null, numbers, strings, as they are in JSON

What the arguments are:

    x_0, x_t, x_prev, noise …   floats of shape (N, D), in some calls (N, H, W, C); a mean has the same axes
    t                 N integers, counted as the program counts them: from 0 or from 1
    beta              the schedule, shape (T,): β_1 first, whatever t is counted from.  T and β change from call to call; a program
                      that has said `beta` is given its own
    the rest          as `refdpm explain FUNCTION` describes it

Gradients, if "vjp" is among the functions: of one call, with one cotangent for each output, answered by a dict.

    kit      {"id": 3, "call": "vjp", "arguments": {"name": "kl", "args": {"dict": {"mean_q": ARRAY, …}}, "cotangent": ARRAY}}
    program  {"id": 3, "value": {"dict": {"mean_q": ARRAY, "var_q": ARRAY}}}
    of a function with several outputs, `cotangent` is {"tuple": [ARRAY, ARRAY]}

In a program's answers a (nested) list of numbers is an array of doubles, a list of VALUEs a tuple, an object with other keys a
dict; null among numbers is NaN.
"""

from typing import Any
import json

import numpy as np

from refdpm.conformance.adapter import MOST, NETWORKS, Fault, Model, Network, Observed, said
from refdpm.conformance.arguments import copied, fingerprint
from refdpm.vjp import Array

DTYPES = frozenset({"bool", *(f"float{bits}" for bits in (16, 32, 64)),
                    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))})
LONGEST = 2 ** 24               # bytes in a line
LARGE, KEPT = 500, 8            # numbers of an argument that an adapter of ours is sent once, and how many of those it keeps


def line(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def message(line: bytes) -> dict[str, Any]:
    """A message as it was sent.   Raises: Fault for what is none, with its beginning."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise Fault(f"answers with a line that is no JSON: {quoted(line)}") from None
    if not isinstance(found, dict):
        raise Fault(f"answers with {quoted(line)}, expected a JSON object")
    return found


def quoted(text: bytes, length: int = 60) -> str:
    """The beginning of what a program wrote, on one line."""
    start = text[:4 * length].decode(errors="replace").strip()
    return repr(start[:length] + "…" * (len(start) > length))


# -- out ---------------------------------------------------------------------------------------------------------------

def encode(value: Any) -> Any:
    """A value for JSON.   Raises: TypeError for what cannot be sent: its message says what it is, and why not."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int) and not isinstance(value, np.generic):
        return int(value)
    if isinstance(value, Model):
        return {"model": {name: encode(part) for name, part in value._asdict().items()}}
    if isinstance(value, Network):
        return {"network": {name: encode(part) for name, part in value._asdict().items()}}
    if isinstance(value, Observed):
        return {"observed": encode(value.model)}
    if isinstance(value, dict):
        return {"dict": {str(name): encode(part) for name, part in value.items()}}
    if isinstance(value, (tuple, list)):
        return {"tuple": [encode(part) for part in value]}
    if isinstance(value, float) and np.isfinite(value):
        return float(value)
    if isinstance(value, (np.ndarray, np.generic, float)):
        return _array(np.asarray(value))
    raise TypeError(f"{type(value).__name__}, which cannot be sent")


def _array(array: Array) -> dict[str, Any]:
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    if array.dtype.name not in DTYPES:
        raise TypeError(f"{array.dtype}, expected real numbers")
    if array.size > MOST:
        raise TypeError(f"an array of shape {array.shape}, too large to be sent")
    data = array.ravel().tolist()
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        data = [x if np.isfinite(x) else "NaN" if x != x else "Infinity" if x > 0 else "-Infinity" for x in data]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


# -- in ----------------------------------------------------------------------------------------------------------------

def decode(value: Any) -> Any:
    """The value of JSON.   Raises: Fault for what is none."""
    try:
        return _decoded(value)
    except Fault:
        raise
    except Exception as error:                              # of sizes that NumPy does not have, of numbers that are too large
        raise Fault(f"answers with a value that cannot be read: {said(error)}") from None


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_decoded, value)) if any(isinstance(part, dict) for part in value) else _numbers(value, "float64")
    if not isinstance(value, dict):
        return value
    match value:
        case {"dtype": dtype, "shape": shape, "data": data}:
            return _array_in_shape(dtype, shape, data)
        case {"tuple": list(parts), **rest} if not rest:
            return tuple(map(_decoded, parts))
        case {"dict": dict(parts), **rest} if not rest:
            return {name: _decoded(part) for name, part in parts.items()}
        case {"observed": model}:
            return Observed(_decoded(model))
        case {"model": {"weight": weight, "bias": bias, "first_t": int(first_t)}, **rest} if not rest:
            return Model(_decoded(weight), _decoded(bias), first_t)
        case {"network": {"says": str(says), "centre": centre, "spread": spread, "data_at": int(data_at)}, **rest} if not rest:
            return Network(says, _decoded(centre), _decoded(spread), data_at)
    return {name: _decoded(part) for name, part in value.items()}


def _array_in_shape(dtype: Any, shape: Any, data: Any) -> Array:
    if dtype not in DTYPES:
        raise Fault(f"returns dtype {dtype!r}, expected real numbers: one of {', '.join(sorted(DTYPES))}")
    if not (isinstance(shape, list) and all(isinstance(n, int) and n >= 0 for n in shape) and isinstance(data, list)):
        raise Fault(f"returns shape {shape!r} and {type(data).__name__} for data, expected a list of sizes and a list of numbers")
    array = _numbers(data, dtype)
    if array.shape != (int(np.prod(shape, dtype=object)),):
        raise Fault(f"returns data of shape {array.shape} for shape {shape}, expected a flat list of as many numbers")
    return array.reshape(shape)


def _numbers(data: list[Any], dtype: str) -> Array:
    if len(data) > MOST:
        raise Fault(f"returns {len(data)} numbers, too many to be judged")
    try:
        with np.errstate(all="ignore"):
            return np.array(data, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise Fault(f"returns a list that is no array of {dtype}: {error}") from None


# -- once ---------------------------------------------------------------------------------------------------------------

class Kept:
    """Large arguments, such as a network's table for all t, that one side has sent and the other has kept, by their numbers; only
    between `remote` and `serve`.

    Both sides forget the oldest when there are too many.
    """

    def __init__(self) -> None:
        self._sent: dict[Any, int] = {}
        self._here: dict[int, Any] = {}
        self._count = 0

    def encode(self, value: Any) -> Any:
        """A value for JSON, or the number of one that was sent before.   Raises: TypeError, as `encode`."""
        parts = value if isinstance(value, NETWORKS) else (value,)
        if sum(part.size for part in parts if isinstance(part, np.ndarray)) < LARGE:
            return encode(value)
        key = fingerprint({"value": value})
        if key in self._sent:
            return {"kept": self._sent[key]}
        encoded = encode(value)
        self._sent[key] = self._count = self._count + 1
        _forget_oldest(self._sent)
        return {"keep": self._count, "value": encoded}

    def nothing_was_sent(self) -> None:
        """What was encoded may not have been sent: it is sent again when it is asked for."""
        self._sent.clear()

    def decode(self, value: Any) -> Any:
        """The value of JSON, or a copy of the one that was kept under a number.   Raises: Fault."""
        match value:
            case {"keep": int(number), "value": encoded, **rest} if not rest:
                self._here[number] = decode(encoded)
                _forget_oldest(self._here)
            case {"kept": int(number), **rest} if not rest:
                pass
            case _:
                return decode(value)
        return copied({"value": self._here[number]})["value"]


def _forget_oldest(found: dict[Any, Any]) -> None:
    if len(found) > KEPT:
        del found[next(iter(found))]
