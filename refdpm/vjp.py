"""The gradient contract: every differentiated function `f` has a companion `f_vjp` standing next to it.

    value, pullback = f_vjp(*arguments, **fixed)        value is bitwise f(*arguments, **fixed)
    cotangents      = pullback(dvalue)                  one per positional argument, bare when there is one

The pullback is the adjoint of the differential: if dy = J dx, then pullback(w) = Jᵀ w, so that ⟨w, J v⟩ = ⟨Jᵀ w, v⟩ for
all v and w (`gradcheck` tests just that).  Positional arguments are differentiated, keyword-only arguments are held fixed.

Two kinds of function keep the contract.

    primitive   has arithmetic.  The formula is written once, in `f`; `f_vjp` calls `f`, and its docstring states the
                differential, of which the pullback is the list of coefficients.
    composite   has only wiring.  It is written once, in `f_vjp`, read down for the value and up for the pullback; `f` is
                one line.

Written as `dx`, the cotangent of `x` has the structure and shape of `x`: an array for an array, a `Gaussian` for a
`Gaussian`.  Where the value stretches an argument to the shape of another, the pullback sums over what was stretched
(`unbroadcast`).  A value that is used twice has two cotangents, added in one visible place.  Every `f` stays analytic for
complex arguments (no |·|, no conjugate, no ordering but of real parts), so that the complex step can check it.

Where a docstring states no shape, a function works component by component: its value has the shape to which the arrays of its
arguments are broadcast, and states are (N, …), columns of a schedule (N, 1, …).

A *tree* is an array or a tuple (plain or named) of trees.  `fix` makes a named choice in a module that is exchanged as a whole.
"""

from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from functools import lru_cache, partial
from typing import Any
import inspect

import numpy as np

Array = np.ndarray
Tree = Any
Pullback = Callable[[Any], Any]
Module = ModuleType | SimpleNamespace          # a kernel or a network: exchanged as a whole


def unbroadcast(dx: Array, shape: tuple[int, ...]) -> Array:
    """The adjoint of broadcasting an array of `shape` to the shape of `dx`: sum over the axes that were stretched."""
    if dx.shape == shape:
        return dx
    if dx.ndim > len(shape):
        dx = dx.sum(axis=tuple(range(dx.ndim - len(shape))))
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and dx.shape[axis] != 1)
    if stretched:
        dx = dx.sum(axis=stretched, keepdims=True)
    return np.broadcast_to(dx, shape) if dx.shape != shape else dx


def tree_map(f: Callable[..., Any], *trees: Tree) -> Tree:
    """`f` applied leaf by leaf to one or more trees of the same structure; the result has that structure."""
    first = trees[0]
    if not isinstance(first, tuple):
        return f(*trees)
    parts = [tree_map(f, *children) for children in zip(*trees, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def unallocated_zeros(shape: tuple[int, ...]) -> Array:
    """Zeros of this shape, to be read only, that take no memory."""
    return np.broadcast_to(0.0, shape)


def leaves(tree: Tree) -> Iterator[Array]:
    """The arrays of a tree, from left to right."""
    if isinstance(tree, tuple):
        for child in tree:
            yield from leaves(child)
    else:
        yield tree


def fix(module: Module, **fixed: Any) -> SimpleNamespace:
    """`module` with some keyword-only arguments held at given values: `fix(swiss_roll, readout="eq65")`.

    Kernels and networks are modules, exchanged as a whole; this is how one of their named choices is made.  Every public
    function that takes one of the keywords gets it; the others, and the constants, are passed on as they are.

    Raises: ValueError if no function takes a keyword.
    """
    namespace, used = {}, set()
    for name, member in vars(module).items():
        if callable(member) and not name.startswith("_"):
            taken = fixed.keys() & _keyword_only(member) if fixed else set()
            used |= taken
            namespace[name] = partial(member, **{key: fixed[key] for key in taken}) if taken else member
        elif name.isupper():
            namespace[name] = member
    for key in fixed.keys() - used:
        raise ValueError(f"{key}: expected a keyword-only argument of a function of {module!r}, got none that takes it")
    return SimpleNamespace(**namespace)


@lru_cache(maxsize=1000)
def _keyword_only(member: Callable[..., Any]) -> frozenset[str]:
    try:
        parameters = inspect.signature(member).parameters.values()
    except (TypeError, ValueError):
        return frozenset()
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
