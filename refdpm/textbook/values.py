"""Reading: values.  A formula as it stands, in float64, with all that a printed formula loses; and what it shares with digits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from itertools import pairwise
from typing import Any
import math
import operator

import numpy as np
from scipy.special import erfc, log_ndtr

from refdpm.textbook.expression import E, Walk, depending, evaluate, evaluate_all, in_turn, nodes
from refdpm.textbook.page import Array, Page, to_float

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


class Plain:
    """The arithmetic of arrays of numbers, of whatever kind.

    number      one of a formula, as a number of that kind
    array       an argument
    call        a function of one number, by its name
    quotient    x/y, 0 where x is
    """

    def __init__(self, number: Callable[[Any], Any], array: Callable[[Any], Array], call: Callable[[str, Array], Array],
                 quotient: Callable[[Array, Array], Array]) -> None:
        self.number, self.array, self.call, self.quotient = number, array, call, quotient

    def at(self, one: E, parts: list[Any], page: Page) -> Any:
        """The value of a node."""
        match one.op:
            case "+" | "-" | "*":
                return np.asarray(OPERATORS[one.op](*parts))
            case "/":
                return np.asarray(self.quotient(*parts))
            case "call":
                return np.asarray(self.call(one.how, parts[0]))
            case "number":
                return np.asarray(self.number(one.how))
            case "given" | "constant":
                found = np.asarray(page.given[one.how] if one.op == "given" else one.how)
                return found if found.dtype == bool else self.array(found)
            case "gathered":
                return self.array(page.gathered(one.how))
            case "column":
                return self.array(page.column(one.how))
            case "neg":
                return np.asarray(-parts[0])
            case "above":
                return np.asarray(np.asarray(parts[0] > parts[1], dtype=bool))
            case "where":
                return np.asarray(np.where(*parts))
            case "term" | "forms" | "also":
                return parts[0]
            case "joined":
                return np.concatenate(parts, axis=one.how)
            case "piece":                                            # the adjoint of joining
                axis, number = one.how
                start = sum(part.shape[axis] for part in parts[1:number + 1])
                return np.take(parts[0], range(start, start + parts[number + 1].shape[axis]), axis=axis)
            case "counting":
                return self.array(np.arange(1.0, int(parts[0]) + 1))
            case "slack":
                return np.asarray(0 * parts[0])
            case "walk":
                return self.walked(one.parts, one.how, page)
            case "path":
                return self.passed(one.parts, one.how, page)
        return self.along_axes(one, *parts)

    def along_axes(self, one: E, x: Array, *others: Any) -> Array:
        """Sums, means and moves."""
        like: Any = others[0] if others else None
        match one.op:
            case "move":
                return moved(x, place(one, x, *others), self.number(0))
            case "back":                                             # the adjoint of a move
                return unmoved(x, place(one, *others), np.shape(like), self.number(0))
            case "running":
                return np.cumsum(x, axis=0, dtype=x.dtype)
            case "running product":
                return np.cumprod(x, axis=0, dtype=x.dtype)
            case "running back":                                     # the adjoint of a running sum
                return np.cumsum(x[::-1], axis=0, dtype=x.dtype)[::-1]
            case "largest":
                return np.asarray(x.max(axis=one.how, keepdims=True))
            case "spread":                                           # the adjoint of a sum
                x = np.expand_dims(x, inside(one.how[1], np.ndim(like))) if one.how[0] else x
                return np.asarray(np.broadcast_to(x, np.shape(like)))
            case "fold":                                             # the adjoint of broadcasting
                return self.folded(x, np.shape(like))
        _, axes = one.how
        x = x if like is None else np.broadcast_to(x, np.broadcast_shapes(np.shape(x), np.shape(like)))
        axes = inside(axes, x.ndim)
        count = math.prod(x.shape[axis] for axis in axes)
        match one.op:
            case "sum":
                return self.summed(x, axes)
            case "kept":
                return self.summed(x, axes, keepdims=True)
            case "mean":
                return np.asarray(self.quotient(self.summed(x, axes, keepdims=True), np.asarray(self.number(count))))
            case "average":                                          # an edit of a sum
                return np.asarray(self.quotient(self.summed(x, axes), np.asarray(self.number(count))))
            case "count":                                            # how many entries there are along axes
                return np.asarray(self.number(count))
        raise ValueError(f"op: expected an operation of a formula, got {one.op}")

    def summed(self, x: Array, axes: tuple[int, ...], *, keepdims: bool = False) -> Array:
        """The sum over axes, which may have length 0."""
        if x.size == 0:                                              # whose sum would not be of this kind of number
            return self.array(np.zeros(x.shape).sum(axis=axes, keepdims=keepdims))
        return np.asarray(x.sum(axis=axes, keepdims=keepdims))

    def folded(self, x: Array, shape: tuple[int, ...]) -> Array:
        """The sum over the axes that broadcasting from `shape` has stretched."""
        if x.shape == shape:
            return x
        x = self.summed(x, tuple(range(x.ndim - len(shape)))) if x.ndim > len(shape) else x
        stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and x.shape[axis] != 1)
        x = self.summed(x, stretched, keepdims=True) if stretched else x
        return np.asarray(np.broadcast_to(x, shape))

    def walked(self, step: tuple[E, ...], how: Walk, page: Page) -> Array:
        """The end of a chain."""
        x = self.array(page.given[how.start])
        for x in self._states(step, how, page, x, pages_of(how, page, len(x))):
            pass
        return x

    def passed(self, step: tuple[E, ...], how: Walk, page: Page) -> Array:
        """All states of a chain."""
        x = self.array(page.given[how.start])
        return np.stack([x, *self._states(step, how, page, x, pages_along(page))])

    def _states(self, step: tuple[E, ...], how: Walk, page: Page, x: Array, pages: Iterable[Page]) -> Iterator[Array]:
        """The states after each step.  What does not depend on the state is remembered, for the same chain with an edited step."""
        ordered, moving, kept = in_turn(step), moving_nodes(step, how), dict.fromkeys(how.kept, x)
        for number, at in enumerate(pages):
            memo = page.memo(self, how, number)
            evaluate_all(ordered, self, at.at(at.t, **{how.state: x}, **kept), memo)
            x, *others = (memo[one] for one in step)
            kept = dict(zip(how.kept, others))
            for one in moving:
                memo.pop(one, None)
            yield x


def moving_nodes(step: tuple[E, ...], how: Walk) -> list[E]:
    """What depends on the state of a chain, or on what the step before has kept."""
    everything = nodes(*step)
    return list(depending(everything, {one for one in everything if one.op == "given" and one.how in (how.state, *how.kept)}))


def inside(axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Those of some axes that an array of `ndim` axes has."""
    return tuple(axis for axis in axes if -ndim <= axis < ndim)


def pages_along(page: Page) -> Iterable[Page]:
    """The pages of a path, from t = 1 to T, with the noise of each step; t is one for all rows."""
    assert page.beta is not None
    for t in range(1, len(page.beta)):
        yield page.at(np.asarray(t), noise=page.given["noise"][t - 1])


def pages_of(how: Walk, page: Page, rows: int) -> Iterable[Page]:
    """The pages of a walk, from its last time to the first, with the noise of each step; or along levels, perhaps without."""
    if how.levels:
        levels = how.levels.of(page.given)
        along, before = [(now, after, n) for n, (now, after) in enumerate(pairwise(levels))], None
        for now, after, n in how.otherwise(along) if how.otherwise else along:
            told = {how.levels.before: now if before is None else before, how.levels.now: now, how.levels.after: after}
            drawn = {"noise": page.given["noise"][n]} if how.levels.noisy else {}
            yield page.at(page.t, **{name: np.asarray(level) for name, level in told.items() if name}, **drawn)
            before = now
        return
    assert page.beta is not None
    times = (0, *(how.times or range(1, len(page.beta))))
    steps = [(times[n], times[n - 1], n - 1) for n in range(len(times) - 1, 0, -1)]
    for t, before, n in how.otherwise(steps) if how.otherwise else steps:
        yield page.at(np.full(rows, t), noise=page.given["noise"][n], t_prev=np.full(rows, before))


def moved(x: Array, index: Array, zero: Any) -> Array:
    """The entries of x at an index that counts from 1, and `zero` where it is 0."""
    return np.asarray(np.concatenate([np.array([zero], dtype=x.dtype), x.ravel()])[index])


def unmoved(x: Array, index: Array, shape: tuple[int, ...], zero: Any) -> Array:
    """The adjoint of `moved`: every entry back to where it came from, and added there."""
    found = np.full(math.prod(shape) + 1, zero, dtype=x.dtype)
    np.add.at(found, index.ravel(), np.broadcast_to(x, index.shape).ravel())
    return found[1:].reshape(shape)


def place(one: E, x: Any, *others: Any) -> Array:
    """The index of a move of x, as far as the shapes of it and of others say."""
    index = np.arange(1, np.size(x) + 1).reshape(np.shape(x))
    return np.asarray(one.how.entries(index, *map(np.shape, others)))


# -- float64 -----------------------------------------------------------------------------------------------------------

def normal_cdf(z: Array) -> Array:
    """Φ(z), of complex numbers too."""
    return np.asarray(erfc(-z / np.sqrt(2)) / 2)


ROUNDED = 1e-9                  # what is as far below 0 as that is no rounded 0
CALLS: dict[str, Callable[[Array], Array]] = {
    "sqrt": np.sqrt, "log": np.log, "exp": np.exp, "log1p": np.log1p, "Phi": normal_cdf, "cos": np.cos, "sin": np.sin,
    "tanh": np.tanh, "log Φ": log_ndtr, "phi": lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi)}


def _number(how: Any) -> float:
    return np.pi if how == "π" else float(how)


def _array(x: Any) -> Array:
    x = np.asarray(x)
    if x.dtype.kind in "fc":
        return x
    return np.asarray(to_float(x) if x.dtype == object else x, dtype=np.float64)


def _call(name: str, x: Array) -> Array:
    """A square root of what rounding has made negative is 0."""
    x = np.where((np.real(x) > 0) | (np.real(x) < -ROUNDED), x, 0) if name == "sqrt" else x
    return np.asarray(CALLS[name](x))


def _quotient(x: Array, y: Array) -> Array:
    return np.asarray(np.where(x == 0, 0.0, np.divide(x, y)))


FLOATS = Plain(_number, _array, _call, _quotient)


def floats(roots: Iterable[E], page: Page, memo: MutableMapping[E, Any] | None = None) -> list[Array]:
    """The values of formulas in float64."""
    with np.errstate(all="ignore"):
        return list(evaluate(roots, FLOATS, page, memo))
