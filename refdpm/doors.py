"""What comes in: numbers of any kind, which every public function takes for the real numbers that they are.

Bits come from files as bytes, pictures as integers, masks as bools.  In NumPy 2·y − 1 of bytes is 255 where y is 0, the sum of two
bools is a bool, and t² of small integers overflows, all without a word.  So each module of the theory ends with a line that opens
its doors, and no formula needs to think of it:

    integers, bools, floats of half precision, lists    become float64
    float32                                             becomes float64; where it is said so, it stays float32
    complex numbers                                     become complex128, because the complex step goes through everything
    t and other integers                                become int64; they must be whole numbers

It is said so of activations, layers and networks: in single precision they are faster, and their values are those of the same
numbers in float64 to single precision.  Arrays keep their order in memory, and may be strided or read-only.

In a pair all positional arguments are numbers (see `vjp`), and so are the cotangents that its pullback takes; elsewhere, and among
the arguments that are held fixed, those that are annotated as an `Array`, as a `float`, or as a named tuple of arrays.  In a
`Tree`, such as the parameters of a network, the arrays are numbers.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any
import inspect
import operator

import numpy as np

from refdpm.vjp import Array, Tree

INTEGERS = ("t", "k", "times", "symbols")       # the arguments that hold steps, levels and classes
Convert = Callable[[Any, str], Any]
FLOAT64 = np.dtype(np.float64)
DOUBLE, DOUBLE_AND_SINGLE = "dD", "dDfF"        # NumPy's letters of the types that stay as they are


def numbers(value: Tree, name: str, keep: str = DOUBLE) -> Tree:
    """A tree of real or complex numbers in double precision, or in one of those to `keep`; the same object where it is one.

    Raises: ValueError for what is no number, and for arrays that leave some of their entries out.
    """
    if type(value) is np.ndarray and value.dtype.char in keep:
        return value
    if isinstance(value, tuple):
        return _like(value, [numbers(part, name, keep) for part in value])
    array = _array(value, name)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{name}: expected real numbers, got an array of {array.dtype}")
    return array if array.dtype.char in keep else array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def arrays(value: Tree, name: str, keep: str = DOUBLE) -> Tree:
    """As `numbers`, for the arrays of a tree alone."""
    if isinstance(value, tuple):
        return _like(value, [arrays(part, name, keep) for part in value])
    return numbers(value, name, keep) if isinstance(value, np.ndarray) else value


def _like(tree: tuple[Any, ...], parts: list[Any]) -> tuple[Any, ...]:
    """The tree with these parts; itself if they are its own."""
    if all(map(operator.is_, parts, tree)):
        return tree
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def _single_number(value: Any, name: str) -> Any:
    """A number of NumPy's in double precision, as small ones overflow; Python's own stays as it is."""
    return numbers(value, name)[()] if isinstance(value, (np.generic, np.ndarray)) else value


def integers(value: Any, name: str) -> Array:
    """Whole numbers as int64.   Raises: ValueError for what is no number, or not a whole one."""
    if type(value) is np.ndarray and value.dtype == np.int64:
        return value
    array = _array(value, name)
    with np.errstate(invalid="ignore"):
        found = array.astype(np.int64) if array.dtype.kind in "biuf" else None
    if found is None or not np.array_equal(array, found):
        raise ValueError(f"{name}: expected integers, got {_short(array)} of {array.dtype}")
    return found


def integer(value: Any, name: str) -> int:
    """One integer, of whatever type.   Raises: ValueError for anything else."""
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name}: expected an integer, got {value!r}") from None


def _array(value: Any, name: str) -> Array:
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name}: expected an array with all of its entries, got a masked one")
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: expected an array of numbers, got {type(value).__name__} ({error})") from error


def _short(array: Array) -> str:
    return np.array2string(array, threshold=6, separator=", ")


# -- the doors of a module ---------------------------------------------------------------------------------------------

def open_doors(module: dict[str, Any], *, keep: str = DOUBLE, inside: tuple[str, ...] = ()) -> None:
    """Puts a door before every public function of a module, but those that only formulas call, `inside`; `keep` names the types of
    numbers that stay as they are."""
    own = {name: member for name, member in module.items()
           if inspect.isfunction(member) and member.__module__ == module["__name__"] and not name.startswith("_")}
    for name, function in own.items():
        if name in inside:
            continue
        in_pair = name.endswith("_vjp") or f"{name}_vjp" in own
        module[name] = door(function, keep=keep, in_pair=in_pair)


def door(function: Callable[..., Any], *, keep: str = DOUBLE, in_pair: bool = False) -> Callable[..., Any]:
    """The function with its arguments converted; of an adjoint the cotangents, too."""
    parameters = inspect.signature(function).parameters
    converts = {name: _conversion(parameter, keep, in_pair) for name, parameter in parameters.items()}
    positional = [(name, converts[name]) for name, parameter in parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    used = {name: convert for name, convert in converts.items() if convert is not None}
    counts = any(convert in (integers, integer) for _, convert in positional)
    is_adjoint = in_pair and function.__name__.endswith("_vjp")
    if not used:
        return function

    def converted(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        some = tuple(convert(value, name) if convert else value for (name, convert), value in zip(positional, arguments))
        return some + arguments[len(some):]

    @wraps(function)
    def through(*arguments: Any, **fixed: Any) -> Any:
        for name in fixed:
            if name in used:
                fixed[name] = used[name](fixed[name], name)
        if counts or not _all_double(arguments):
            arguments = converted(arguments)
        if not is_adjoint:
            return function(*arguments, **fixed)
        value, pullback = function(*arguments, **fixed)
        return value, lambda d: pullback(d if _is_double(d) else numbers(d, "cotangent", keep))

    return through


def _is_double(value: Any) -> bool:
    """Whether it is an array of float64, or a tree of them: what formulas hand to each other, losing little time at their doors."""
    if type(value) is np.ndarray:
        return value.dtype is FLOAT64
    return isinstance(value, tuple) and _all_double(value)


def _all_double(values: tuple[Any, ...]) -> bool:
    for value in values:
        if type(value) is np.ndarray:
            if value.dtype is not FLOAT64:
                return False
        elif not (isinstance(value, tuple) and _all_double(value)):
            return False
    return True


def _conversion(parameter: inspect.Parameter, keep: str, in_pair: bool) -> Convert | None:
    """How an argument is converted; None if it stays as it is."""
    fixed, kind = parameter.kind is parameter.KEYWORD_ONLY, parameter.annotation
    if kind is Array:
        return integers if parameter.name in INTEGERS else partial(numbers, keep=keep)
    if kind is int:
        return integer
    if kind is float:
        return _single_number
    if kind is Tree:
        return partial(arrays, keep=keep)
    return partial(numbers, keep=keep) if not fixed and (in_pair or _of_arrays(kind)) else None


def _of_arrays(kind: Any) -> bool:
    """Whether that is a named tuple of arrays."""
    return hasattr(kind, "_fields") and all(part is Array for part in kind.__annotations__.values())
