"""The arguments of anybody's function leaf by leaf, and the ways in which people write its gradient.

A *tree* is here what people hold parameters in: arrays and numbers in tuples, lists, named tuples and dicts, one in another.
A leaf is differentiated where it holds floating-point numbers; labels, indices, flags, strings and None are held still.

A gradient is asked in the first of these forms that fits how many arguments it takes, and whose answer has the right structure:

    f_vjp(x, y)                 → value, pullback; pullback(dvalue) → gradients
    gradient(x, y)              → gradients of a number, or (value, gradients)
    backward(dvalue, x, y)      → gradients; or backward(x, y, dvalue)
    backward(dvalue, cache)     → gradients, where f returns (value, cache); or backward(cache, dvalue)
    backward(dvalue)            → gradients, of an object that remembers what its f was last called with
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
import inspect

import numpy as np

from refdpm.vjp import Array

CACHES = {"cache", "caches", "ctx", "context", "memory", "res", "residuals", "saved", "tape"}


class Missing:
    """Where a gradient has nothing for a leaf."""


MISSING = Missing()


class Unfit(Exception):
    """The gradient is not written in the form in which it was asked."""


class Form(NamedTuple):
    """How a gradient is called."""

    says: str
    has_cache: bool = False
    has_cotangent: bool = True


# -- trees -------------------------------------------------------------------------------------------------------------

def children(tree: Any) -> list[tuple[str, Any, Any]] | None:
    """The parts of a tree as (how it is written, key, part); None for a leaf."""
    if isinstance(tree, Mapping):
        return [(f"[{key!r}]", key, child) for key, child in tree.items()]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return [(f".{name}", i, child) for i, (name, child) in enumerate(zip(tree._fields, tree))]
    if isinstance(tree, (tuple, list)):
        return [(f"[{i}]", i, child) for i, child in enumerate(tree)]
    return None


def named_leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every leaf with the expression that reaches it, as params['W'][0]."""
    parts = children(tree)
    if parts is None:
        yield name, tree
    else:
        for written, _, child in parts:
            yield from named_leaves(child, name + written)


def rebuilt(tree: Any, leaves: Iterator[Any]) -> Any:
    """A tree like `tree` with other leaves."""
    parts = children(tree)
    if parts is None:
        return next(leaves)
    built = [rebuilt(child, leaves) for _, _, child in parts]
    if isinstance(tree, Mapping):
        return dict(zip(tree, built))
    return type(tree)(*built) if hasattr(tree, "_fields") else type(tree)(built)


def aligned(gradient: Any, tree: Any) -> Iterator[Any]:
    """The leaf of `gradient` for every leaf of `tree`: MISSING where there is none, None where it says so."""
    parts = children(tree)
    if parts is None or gradient is None or gradient is MISSING:
        yield from [gradient] * len(list(named_leaves(tree, "")))
    else:
        for _, key, child in parts:
            yield from aligned(_part(gradient, key), child)


def _part(gradient: Any, key: Any) -> Any:
    try:
        return gradient[key]
    except (TypeError, KeyError, IndexError):
        return MISSING


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is differentiated."""
    return isinstance(leaf, (float, np.ndarray, np.generic)) and np.issubdtype(np.asarray(leaf).dtype, np.floating)


def copied(tree: Any) -> Any:
    """A tree whose arrays can be written into without harm to anybody."""
    return rebuilt(tree, (leaf.copy() if isinstance(leaf, np.ndarray) else leaf for _, leaf in named_leaves(tree, "")))


def cotangent_like(value: Any, rng: np.random.Generator) -> Any:
    """A random cotangent for a value: standard normal numbers of its precision, and zeros for what is no floating-point number."""
    return rebuilt(value, (_random_leaf(leaf, rng) for _, leaf in named_leaves(value, "")))


def _random_leaf(leaf: Any, rng: np.random.Generator) -> Any:
    array = np.asarray(leaf)
    drawn = rng.standard_normal(array.shape)
    return np.asarray(drawn).astype(array.dtype)[()] if is_floating(leaf) else np.zeros_like(array)[()]


# -- forms -------------------------------------------------------------------------------------------------------------

def fitting(f: Callable[..., Any], gradient: Callable[..., Any], arguments: Sequence[Any]) -> list[Form]:
    """The forms that fit the number of arguments of `gradient`, those first that the names of its arguments speak for.

    Where all names but the first, or but the last, are those of f's arguments, that one is the cotangent; so is the first where it
    has a name that f does not know, and *arguments come after it.
    """
    count, names = len(arguments), _parameters(gradient)
    known = _parameters(f) or []
    if names and known and names[0] not in known and _is_lead(gradient) and not _is_lead(f):
        return [FIRST, CACHE_LAST]
    found = []
    if _takes(gradient, count):
        found += [VJP, GRADIENT, VALUE_AND_GRADIENT]
    if _takes(gradient, count + 1):
        own = [i for i, name in enumerate((names or [])[:count + 1]) if name not in known]
        found += [LAST] if own == [count] else [FIRST] if own == [0] else [FIRST, LAST]
    if _takes(gradient, 2):
        named_cache = [i for i, name in enumerate((names or [])[:2]) if name in CACHES]
        cached = [CACHE_FIRST, CACHE_LAST] if named_cache == [0] else [CACHE_LAST, CACHE_FIRST]
        found = cached + found if named_cache else found + cached
    return found + ([REMEMBERED] if _takes(gradient, 1) else [])


def _parameters(function: Callable[..., Any]) -> list[str] | None:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def _is_lead(function: Callable[..., Any]) -> bool:
    """Whether a function takes one argument with a name and then any number of others."""
    try:
        kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return False
    return len(kinds) > 1 and kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD and kinds[1] is inspect.Parameter.VAR_POSITIONAL


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:                             # of a function that does not say what it takes
        return True
    return True


VJP = Form("f_vjp(...) → value, pullback")
GRADIENT = Form("gradient(...)", has_cotangent=False)
VALUE_AND_GRADIENT = Form("gradient(...) → value, gradient", has_cotangent=False)
FIRST = Form("backward(dvalue, ...)")
LAST = Form("backward(..., dvalue)")
CACHE_LAST = Form("f → value, cache; backward(dvalue, cache)", has_cache=True)
CACHE_FIRST = Form("f → value, cache; backward(cache, dvalue)", has_cache=True)
REMEMBERED = Form("backward(dvalue) after f(...)")


def ask(form: Form, f: Callable[..., Any], gradient: Callable[..., Any], arguments: Sequence[Any], draw: Callable[[Any], Any]
        ) -> tuple[Any, Any, Any]:
    """The value, the cotangent that is drawn for it, and the gradients as they came.   Raises: Unfit."""
    if form is VJP:
        value, pullback = _pair(gradient(*arguments), "did not return (value, pullback)")
        if not callable(pullback):
            raise Unfit("did not return (value, pullback)")
        w = draw(value)
        return value, w, pullback(copied(w))
    if not form.has_cotangent:
        return _value_and_gradient(form, f, gradient, arguments)
    answer = f(*arguments) if form.has_cache or form is REMEMBERED else f(*copied(arguments))
    value, cache = _pair(answer, "f did not return (value, cache)") if form.has_cache else (answer, None)
    w = draw(value)
    taken = {FIRST: (copied(w), *arguments), LAST: (*arguments, copied(w)), CACHE_FIRST: (cache, copied(w)),
             CACHE_LAST: (copied(w), cache), REMEMBERED: (copied(w),)}
    return value, w, gradient(*taken[form])


def _value_and_gradient(form: Form, f: Callable[..., Any], gradient: Callable[..., Any], arguments: Sequence[Any]
                        ) -> tuple[Any, Any, Any]:
    """Of a function that returns one number: no cotangent is asked for, which is 1 then."""
    value = _number(f(*copied(arguments)))
    answer = gradient(*arguments)
    if isinstance(answer, tuple) and any(map(callable, answer)):
        raise Unfit("returned a function")
    w = np.ones_like(np.asarray(value))[()]
    if form is GRADIENT:
        return value, w, answer
    said, came = _pair(answer, "did not return (value, gradient)")
    return _number(said), w, came


def _number(value: Any) -> Any:
    if children(value) is not None or np.size(value) != 1:
        raise Unfit("only of a number is there a gradient without a cotangent")
    return value


def _pair(answer: Any, otherwise: str) -> tuple[Any, Any]:
    if not (isinstance(answer, tuple) and len(answer) == 2):
        raise Unfit(otherwise)
    return answer


def per_argument(answer: Any, arguments: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """The gradients as they came, one for each argument; MISSING for one that is held still and was left out.

    A single one belongs to the only argument that can have one, or else to the first, and the others are held still.

    Raises: Unfit if it cannot be said which belongs to which.
    """
    floating = [i for i, argument in enumerate(arguments) if any(is_floating(leaf) for _, leaf in named_leaves(argument, ""))]
    if isinstance(answer, Mapping) and set(answer) & set(names):
        return [answer.get(name, MISSING) for name in names]
    several = isinstance(answer, (tuple, list)) and len(answer) == len(arguments)
    if several and (len(arguments) > 1 or _is_in_a_tuple(answer, arguments[0])):
        return list(answer)
    if len(floating) == 1:
        return [answer if i in floating else MISSING for i in range(len(arguments))]
    if isinstance(answer, (tuple, list)) and len(answer) == len(floating):
        parts = iter(answer)
        return [next(parts) if i in floating else MISSING for i in range(len(arguments))]
    if not isinstance(answer, (tuple, list)) and 0 in floating:
        return [answer] + [None] * (len(arguments) - 1)
    came = f"{len(answer)} gradients" if isinstance(answer, (tuple, list)) else type(answer).__name__
    raise Unfit(f"returned {came} for {len(arguments)} arguments, of which {len(floating)} hold floating-point numbers")


def _is_in_a_tuple(answer: Sequence[Any], argument: Any) -> bool:
    """Whether the gradient with respect to the only argument came in a tuple of one."""
    parts = children(argument)
    return isinstance(answer, tuple) and (parts is None or len(parts) != 1)


def as_array(leaf: Any) -> Array | None:
    """A leaf of a gradient as an array of real numbers, or None if it is none."""
    try:
        array = np.asarray(leaf)
        return array if array.dtype.kind in "fiub" else None
    except (TypeError, ValueError):
        return None
