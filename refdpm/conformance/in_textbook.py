"""A call of a function of this package, in the textbook: the same arguments on a page, and the formulas of its value."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple
import importlib
import inspect

import numpy as np

from refdpm import textbook
from refdpm.textbook.expression import E, given
from refdpm.textbook.page import Page
from refdpm.vjp import Array, Tree, leaves, tree_map


class Judged(NamedTuple):
    """A case in the textbook: the leaves of the arguments by name, the formulas of the leaves of the value, and the page."""

    names: list[str]
    formulas: list[E]
    page: Page


def in_textbook(name: str, arguments: tuple[Tree, ...], fixed: dict[str, Any]) -> Judged:
    """A call of a function of the package, in the textbook."""
    names, formulas = _names_and_formulas(name, arguments, fixed)
    held = {leaf: np.asarray(value) for leaf, value in zip(names, leaves(arguments), strict=True)}
    page = {key: value for key, value in fixed.items() if isinstance(value, np.ndarray)} | held
    beta = page.get("beta")
    beta = beta if beta is not None and beta.ndim == 1 and len(beta) and beta[0] == 0 else None
    return Judged(list(held), formulas, Page(page, beta=beta, t=fixed.get("t"), ndim=_axes(held, fixed)))


class Keyed:
    """Inputs that are equal if their keys are, so that what has been found out with them can be remembered."""

    def __init__(self, inputs: Any, key: Any) -> None:
        self.inputs, self.key = inputs, key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyed) and self.key == other.key


def _names_and_formulas(name: str, arguments: tuple[Tree, ...], fixed: dict[str, Any]) -> tuple[list[str], list[E]]:
    """The names of the leaves of the arguments, and the formulas; the same objects for calls that differ in the arguments' numbers.

    Edge: of what is held fixed and cannot be compared, such as a network, they are made again.
    """
    key = _form(arguments), tuple((keyword, type(value), _value(value)) for keyword, value in fixed.items())
    call = Keyed((tree_map(lambda leaf: None, arguments), {keyword: _copied(value) for keyword, value in fixed.items()}), key)
    try:
        return _made_once(name, call)
    except TypeError:
        return _made(name, call)


def _made(name: str, call: Keyed) -> tuple[list[str], list[E]]:
    arguments, fixed = call.inputs
    names = [parameter.name for parameter in inspect.signature(function(name)).parameters.values()
             if parameter.kind is not parameter.KEYWORD_ONLY]
    trees: list[Any] = [named(tree, of) for tree, of in zip(arguments, names, strict=True)]
    formulas: list[Any] = list(leaves(book()[name](*trees, **fixed)))
    return [str(getattr(leaf, "how")) for leaf in leaves(tuple(trees))], formulas


_made_once = lru_cache(maxsize=200)(_made)


def _form(tree: Tree) -> Any:
    """The types of a tree without its numbers."""
    return (type(tree), *map(_form, tree)) if isinstance(tree, tuple) else None


def _value(value: Any) -> Any:
    return (value.shape, value.dtype.char, value.tobytes()) if isinstance(value, np.ndarray) else value


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _axes(held: dict[str, Array], fixed: dict[str, Any]) -> int:
    """How many axes states have: those of the noise, which has one of S steps in front where t has; else those of the arguments."""
    noise = fixed.get("noise")
    states = [value.ndim for name, value in held.items() if not name.startswith("parameters")]
    return int(np.ndim(noise)) if noise is not None else max([1, *states]) + max(np.ndim(fixed.get("t", 0)) - 1, 0)


def named(tree: Tree, name: str) -> Tree:
    """The same tree of arguments of a page: `x_t`, `q.mean`, `kernels.0.weight`."""
    if not isinstance(tree, tuple):
        return given(name)
    fields = getattr(tree, "_fields", range(len(tree)))
    parts = [named(child, f"{name}.{field}") for field, child in zip(fields, tree)]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def function(name: str) -> Callable[..., Any]:
    """The function of that name below refdpm."""
    module, _, f = name.rpartition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(f"refdpm.{module}"), f)
    return found


@cache
def book() -> dict[str, Callable[..., Any]]:
    """The formula of every function that has one; see `textbook.pairs`."""
    return textbook.pairs()
