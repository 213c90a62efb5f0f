"""What a wrong gradient is likely to be: a relation between what came and what should have come.

A symptom is named only if it reproduces the numbers: what it leaves unexplained is at most a hundredth of the error.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from refdpm.vjp import Array, unbroadcast

UNEXPLAINED = 1e-2
ALIKE = 1e-5                    # a factor is named if it is as near as that to it


class Evidence(NamedTuple):
    """One leaf of a gradient beside its right value, and what its error may have to do with."""

    came: Array
    right: Array                            # in the shape of the argument; nan where it was not computed
    again: Array | None                     # what came for another cotangent
    cotangents: tuple[Array, ...]           # of the value's leaves
    others: Mapping[str, Array]             # what came for the other arguments
    arguments: Mapping[str, Array]          # the values of all arguments, and "value", that of f, where it has the argument's shape
    sizes: Mapping[int, str]                # the lengths in play, and what they are the lengths of
    forward: Array | None = None            # J dvalue where it should be Jᵀ dvalue, if those have the same shape
    diagonal: Array | None = None           # the diagonal of J times dvalue, likewise
    numbers: Mapping[str, float] = MappingProxyType({})     # arguments that are single numbers, and held still
    instead: Mapping[str, Array] = MappingProxyType({})     # the right gradients for other cotangents, by what is wrong then
    steady: Mapping[str, bool] = MappingProxyType({})       # what leaves f as it is, and whether it leaves what came as it is
    turned: tuple[str, ...] = ()            # what came is right where these arguments are turned so, in words


def sizes_of(arrays: Iterable[tuple[str, Array]]) -> dict[int, str]:
    """The lengths in play, and in words what they are the lengths of: the first array that has one is named."""
    sizes: dict[int, str] = {}
    for name, array in arrays:
        sizes = {size: f"the length of axis {axis} of {name}" for axis, size in enumerate(array.shape)} | sizes
        sizes = {array.size: f"the number of entries of {name}"} | sizes
    return sizes


def symptom(first: Evidence, *others: Evidence) -> str:
    """The plainest sentence that reproduces the numbers, of all if there are several, or "" if there is none."""
    with np.errstate(all="ignore"):
        by_others = [set(_symptoms(other)) for other in others]
        return next((says for says in _symptoms(first) if all(says in found for found in by_others)), "")


def _symptoms(evidence: Evidence) -> Iterator[str]:
    return (_symptoms_of_shape if evidence.came.shape != evidence.right.shape else _symptoms_of_numbers)(evidence)


def _explains(candidate: Array, right: Array, came: Array) -> bool:
    """Whether the right gradient is nearly `candidate`, at those entries that are known."""
    if candidate.shape != right.shape:
        return False
    known = np.isfinite(right)
    left = np.abs(candidate - right)[known]
    error = np.abs(came - right)[known] if came.shape == right.shape else np.abs(right)[known]
    return bool(np.all(np.isfinite(left)) and np.sum(left) <= UNEXPLAINED * np.sum(error))


# -- another shape -----------------------------------------------------------------------------------------------------

def _symptoms_of_shape(evidence: Evidence) -> Iterator[str]:
    came, right = evidence.came, evidence.right
    if came.T.shape == right.shape and _explains(came.T, right, came):
        yield "it is transposed"
    if is_stretched(right.shape, came.shape) and _explains(unbroadcast(came, right.shape), right, came):
        yield "the argument was broadcast, and the gradient is not summed over the axes that this added or stretched"
    if came.size == right.size and _explains(came.reshape(right.shape), right, came):
        yield "the numbers are right, their shape is not"
    yield from _symptoms_of_another_order(evidence)
    for axes in _axes(right.ndim):
        for name, reduced in (("added up", np.sum(right, axis=axes)), ("averaged", np.mean(right, axis=axes))):
            if reduced.size == came.size and _is_near(came.reshape(reduced.shape), reduced):
                yield f"it is {name} over {_axes_in_words(axes)}, over which the argument is not broadcast"
    for axes in _axes(came.ndim):
        for name, reduced in (("sum", np.sum(came, axis=axes)), ("mean", np.mean(came, axis=axes))):
            if reduced.size == right.size and _explains(reduced.reshape(right.shape), right, came):
                yield f"its {name} over {_axes_in_words(axes)} is right"


def _symptoms_of_another_order(evidence: Evidence) -> Iterator[str]:
    for sign, but in ((1, ""), (-1, ", but for the sign")):
        yield from (f"the right gradient came for {name}{but}: the gradients come in another order than the arguments"
                    for name, other in evidence.others.items() if _explains(sign * other, evidence.right, evidence.came))


def _is_near(came: Array, right: Array) -> bool:
    return bool(np.all(np.isfinite(right)) and np.sum(np.abs(came - right)) <= UNEXPLAINED * np.sum(np.abs(right)))


def is_stretched(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of one shape is broadcast to another, which is then the whole."""
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


def _axes(ndim: int) -> Iterator[tuple[int, ...]]:
    return (axes for count in range(1, ndim + 1) for axes in combinations(range(ndim), count))


def _axes_in_words(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"


# -- other numbers -----------------------------------------------------------------------------------------------------

def _symptoms_of_numbers(evidence: Evidence) -> Iterator[str]:
    came, right = evidence.came, evidence.right
    if not np.any(came):
        yield "it is zero: this path was cut, or the argument taken for a constant"
    if evidence.again is not None and np.array_equal(evidence.again, came):
        yield "it does not depend on the cotangent dvalue, by which it should be multiplied"
    yield from _symptoms_of_a_factor(evidence)
    yield from _symptoms_of_another_order(evidence)
    yield from _symptoms_of_order(came, right)
    yield from _symptoms_of_the_jacobian(evidence)
    yield from (f"it is right for an f with {says}: a kernel is not flipped, a matrix not transposed, or once too often"
                for says in evidence.turned)
    yield from _symptoms_of_a_mask(came, right)
    yield from _symptoms_of_an_argument(evidence)
    yield from (says for says, other in evidence.instead.items() if _explains(came - other + right, right, came))
    yield from _symptoms_of_a_part(came, right, with_factor=True)
    yield from _symptoms_of_an_axis(came, right)
    offset = _median(came - right)
    if came.size > 2 and _explains(came - offset, right, came):
        yield f"the same amount, {offset:.6g}, is added to every entry"
    yield from _symptoms_of_a_term(evidence)
    yield from _symptoms_of_a_path(evidence)
    yield from _symptoms_of_a_part(came, right, with_factor=False)


def _median(x: Array) -> float:
    known = x[np.isfinite(x)]
    return float(np.median(known)) if known.size else np.nan


def _symptoms_of_a_factor(evidence: Evidence) -> Iterator[str]:
    came, right = evidence.came, evidence.right
    factor = _factor(came, right)
    if not _explains(came / factor, right, came):
        return
    every = f"every entry is {_number(factor)} times what it should be" if came.size > 1 else f"it is {_number(factor)} times"
    every += "" if came.size > 1 else " what it should be"
    if _near(factor, -1.0):
        yield "the sign is wrong"
    for name, number in evidence.numbers.items():
        for written, value in ((name, number), (f"1/{name}", 1 / number), (f"{name}²", number ** 2), (f"1/{name}²", number ** -2)):
            if number not in (0, 1) and _near(factor, value):
                yield f"every entry is {written} times what it should be: a factor is missing, or one too many"
    readings = list(_readings_of(abs(factor), evidence.sizes))
    if readings:
        yield f"{every}, and {'; or '.join(readings)}"
    yield f"{every}: a factor is missing, or one too many" if abs(factor - 1) > 1e-2 else f"{every}: a constant is inexact"


def _readings_of(factor: float, sizes: Mapping[int, str]) -> Iterator[str]:
    """What a factor may be, of all that the lengths in play make likely."""
    if _near(factor, 2.0) or _near(factor, 0.5):
        yield "2 is the factor that a square, or a path taken twice, brings: it is missing, or one too many"
    for size, what in ((size, what) for size, what in sizes.items() if size > 1):
        if _near(factor, 1 / size):
            yield f"{size} is {what}: a mean where f sums, or a mean taken twice"
        if _near(factor, size):
            yield f"{size} is {what}: a sum where f takes the mean"
        for root, value in ((f"√{size}", np.sqrt(size)), (f"1/√{size}", np.sqrt(1 / size))):
            if _near(factor, value):
                yield f"that is {root}, where {size} is {what}: a scale such as 1/√d is missing, or one too many"


def _factor(came: Array, right: Array) -> float:
    return float(np.nansum(came * right) / np.nansum(right * right))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= ALIKE * abs(b)


def _number(factor: float) -> str:
    return f"1 {'+' if factor > 1 else '-'} {abs(factor - 1):.1e}" if abs(factor - 1) < 1e-3 else f"{factor:.6g}"


def turns(array: Array) -> Iterator[tuple[str, Array]]:
    """An array with two axes exchanged, or reversed along some, in words and as it is then; each of the same shape, and another."""
    for a, b in combinations(range(array.ndim), 2):
        if array.shape[a] == array.shape[b]:
            yield "transposed" if array.ndim == 2 else f"transposed in axes {a} and {b}", np.swapaxes(array, a, b)
    for axes in _axes(array.ndim):
        if min(array.shape[axis] for axis in axes) > 1:
            yield f"reversed along {_axes_in_words(axes)}", np.flip(array, axes)


def _symptoms_of_order(came: Array, right: Array) -> Iterator[str]:
    yield from (f"it is {says}" for says, turned in turns(came) if _explains(turned, right, came))
    for axis in (axis for axis in range(came.ndim) if came.shape[axis] > 2):
        x, y = np.moveaxis(came, axis, 0), np.moveaxis(right, axis, 0)
        if _explains(x[1:], y[:-1], x[:-1]) or _explains(x[:-1], y[1:], x[1:]):
            yield f"it is shifted by one along axis {axis}"
    if came.size > 1 and _explains(np.sort(came, axis=None), np.sort(right, axis=None), np.sort(right, axis=None)):
        yield "the numbers are right, but in another order"


def _symptoms_of_a_mask(came: Array, right: Array) -> Iterator[str]:
    known = np.isfinite(right)
    others = known & (right != 0)
    if np.any(known & ~others) and np.allclose(came[others], right[others], rtol=UNEXPLAINED):
        yield "it is wrong exactly where 0 is right: a mask, or the condition of a maximum, is forgotten"


def _symptoms_of_the_jacobian(evidence: Evidence) -> Iterator[str]:
    came, right = evidence.came, evidence.right
    if evidence.forward is not None and _explains(came - evidence.forward + right, right, came):
        yield ("it is the derivative of f along dvalue, J dvalue, and not Jᵀ dvalue: a matrix is not transposed, a kernel not "
               "flipped, a rotation or an order not turned back")
    if evidence.diagonal is not None and _explains(came - evidence.diagonal + right, right, came):
        yield "every entry of the value is taken to depend on its own entry alone: what it owes to the others is left out"


def _symptoms_of_an_argument(evidence: Evidence) -> Iterator[str]:
    came, right = evidence.came, evidence.right
    for name, argument in evidence.arguments.items():
        if argument.size > 1 and is_stretched(argument.shape, right.shape):
            for factor, says in ((argument, name), (1 - argument, f"1 − {name}"), (1 + argument, f"1 + {name}")):
                if _explains(came * factor, right, came):
                    yield f"the factor {says} is missing"
                if _explains(came / factor, right, came):
                    yield f"the factor {says} is one too many"


def _symptoms_of_an_axis(came: Array, right: Array) -> Iterator[str]:
    """A factor that is the same for all entries of a row, column, …"""
    if came.ndim < 2 or _explains(came / _factor(came, right), right, came):                   # one factor is plainer
        return
    for axis in range(came.ndim):
        rest = tuple(other for other in range(came.ndim) if other != axis)
        factor = np.nansum(came * right, axis=rest, keepdims=True) / np.nansum(right * right, axis=rest, keepdims=True)
        if right.size > factor.size and _explains(came / factor, right, came):
            yield f"there is a wrong factor for every index along axis {axis}, the same for all entries there"


def _symptoms_of_a_path(evidence: Evidence) -> Iterator[str]:
    """The error is a combination of a matrix's columns, or rows, which the right gradient is not: what came back through that
    matrix is wrong, and what came back on other ways is right."""
    error, right = evidence.came - evidence.right, evidence.right
    if not np.all(np.isfinite(error)):
        return
    for name, matrix in ((name, one) for name, one in evidence.arguments.items() if one.ndim == 2):
        for axis, columns in ((axis, one) for axis in range(error.ndim) for one in (matrix, matrix.T)):
            freedom = error.size // error.shape[axis] * (error.shape[axis] - columns.shape[1])
            if len(columns) == error.shape[axis] and freedom > 2:                # of fewer numbers some are so by chance
                share = columns @ np.linalg.pinv(columns)
                on_it, right_on_it = (np.moveaxis(np.tensordot(share, one, (1, axis)), 0, axis) for one in (error, right))
                if _explains(evidence.came - on_it, right, evidence.came) and not _is_near(right_on_it, right):
                    yield f"what comes back through {name} is missing or wrong, and the rest is right"


def _symptoms_of_a_part(came: Array, right: Array, *, with_factor: bool) -> Iterator[str]:
    """Some entries are wrong, and have one factor or not: those at some indices of an axis, or others if they have one."""
    error = np.nan_to_num(np.abs(came - right))
    wrong, others = error > ALIKE * np.max(error), np.isfinite(right) & (error <= ALIKE * np.max(error))
    is_there = np.abs(right) > ALIKE * np.nanmax(np.abs(right))                     # where 0 is right, it says nothing that 0 came
    if np.sum(wrong) < 2 or not np.any(others & is_there):
        return
    factor = _factor(came[wrong], right[wrong])
    if with_factor is not _explains(came[wrong], factor * right[wrong], right[wrong]):
        return
    how = f"{_number(factor)} times what it should be" if with_factor and factor else "0" if with_factor else "wrong"
    for axis in range(came.ndim):
        at = np.flatnonzero(np.any(wrong, axis=tuple(other for other in range(came.ndim) if other != axis)))
        if len(at) < came.shape[axis] and not np.any((others & is_there).take(at, axis)):
            yield f"it is {how} at {_indices_in_words(at)} of axis {axis}, and right elsewhere"
    if with_factor:
        yield f"{np.sum(wrong)} entries are {how.replace('it', 'they')}, and the others are right"


def _indices_in_words(at: Array) -> str:
    """One index, a few, or a range of them."""
    if len(at) == 1:
        return f"index {at[0]}"
    if len(at) > 2 and at[-1] - at[0] == len(at) - 1:
        return f"indices {at[0]} to {at[-1]}"
    return f"indices {', '.join(map(str, at[:5]))}{', …' if len(at) > 5 else ''}"


def _symptoms_of_a_term(evidence: Evidence) -> Iterator[str]:
    """What is left is of a simple form, so that one term is wrong and the others are right."""
    came, right = evidence.came, evidence.right
    for name, term in _plain_terms(evidence):
        share = float(np.nansum((came - right) * term) / np.sum(term[np.isfinite(right)] ** 2))
        if right.size > 2 and _explains(came - share * term, right, came):
            times = "" if _near(abs(share), 1.0) else f"{_number(abs(share))} times "
            yield f"the term {times}{name} is {'missing' if share < 0 else 'one too many'}, or has a wrong factor"
    error = came - right                                     # nan where the right gradient is not known
    known = np.sum(np.isfinite(error))
    for axis in range(came.ndim):
        each = known * came.shape[axis] / came.size          # how many of the numbers along the axis are known
        if each < 3:                                         # of two numbers something is always of that form
            continue
        along = _mean_along(error, axis)
        if _explains(came - along, right, came):
            yield f"the error is the same for all entries along axis {axis}: a term that is a sum or a mean over it is wrong"
        for name, argument in evidence.arguments.items():
            if argument.shape == error.shape:
                yield from _symptoms_along(evidence, error, axis, name, argument, each)
    if came.size > 2 and known == came.size:
        yield from _symptoms_of_a_sum(came, right)
    yield from (f"{says} changes neither f nor the right gradient, but it changes this one: what a softmax or a norm subtracts is "
                "wrong or left out" for says, is_steady in evidence.steady.items() if not is_steady)


def _mean_along(x: Array, axis: int) -> Array:
    """The mean of the numbers that are known along an axis, in the shape of x; 0 where none is."""
    known = np.isfinite(x)
    total = np.sum(np.where(known, x, 0.0), axis=axis, keepdims=True)
    return np.broadcast_to(total / np.maximum(np.sum(known, axis=axis, keepdims=True), 1), x.shape)


def _symptoms_of_a_sum(came: Array, right: Array) -> Iterator[str]:
    """The right gradient adds up to 0 where f stays as it is when one number is added to all entries, as a softmax or a norm."""
    for axis in range(came.ndim):
        is_zero, is_none = (np.max(np.abs(np.sum(one, axis=axis))) <= ALIKE * np.max(np.sum(np.abs(one), axis=axis))
                            for one in (right, came))
        if came.shape[axis] > 2 and is_zero and not is_none:
            yield (f"the right gradient adds up to 0 along axis {axis}, because f does not change when one number is added to all "
                   "entries there; this one does not, as where what a softmax or a norm subtracts is left out, or a mask")


def _symptoms_along(evidence: Evidence, error: Array, axis: int, name: str, argument: Array, each: float) -> Iterator[str]:
    """The error is a multiple of an argument along an axis, or of what that is above its mean, or that and a constant."""
    came, right = evidence.came, evidence.right
    centred = argument - argument.mean(axis=axis, keepdims=True)
    for says, direction in ((name, argument), (f"{name} − its mean", centred)):
        share = _share_along(error, direction, axis)
        if _explains(came - share * direction, right, came):
            of = "the sum in the slope of a softmax" if name == "value" else "that from a mean of squares"
            yield f"the error is a multiple of {says} along axis {axis}: a term with {name} is wrong, as {of}"
    if each > 3:
        centred = argument - _mean_along(np.where(np.isfinite(error), argument, np.nan), axis)
        if _explains(came - _share_along(error, centred, axis) * centred - _mean_along(error, axis), right, came):
            yield (f"the error is a constant and a multiple of {name} along axis {axis}: of a norm the term through the mean, "
                   "or that through the mean of squares, or both are missing or wrong")


def _share_along(error: Array, direction: Array, axis: int) -> Array:
    """How much of a direction is in the error along an axis; 0 where nothing is known."""
    known = np.isfinite(error)
    product, square = (np.sum(np.where(known, one, 0.0), axis=axis, keepdims=True) for one in (error * direction, direction ** 2))
    return np.asarray(product / np.where(square == 0, 1.0, square))


def _plain_terms(evidence: Evidence) -> Iterator[tuple[str, Array]]:
    """What a term of the gradient may be, but for a number: the cotangent, an argument, and their product."""
    factors = [("dvalue", one) for one in evidence.cotangents if one.shape == evidence.right.shape]
    arguments = [(name, one) for name, one in evidence.arguments.items() if one.shape == evidence.right.shape]
    yield from factors + arguments
    yield from ((f"dvalue · {name}", one * argument) for _, one in factors for name, argument in arguments)
