"""What a named mistake is, how it is planted, and three ways to make a wrong function from a right one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any, NamedTuple
import importlib
import sys

import numpy as np

from refdpm.conformance.in_textbook import in_textbook
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import E
from refdpm.textbook.values import floats
from refdpm.vjp import tree_map

Plant = Callable[[Callable[..., Any]], Callable[..., Any]]


class Mistake(NamedTuple):
    """A wrong variant of one function.

    id      as in the catalogue of bugs seen in other implementations; NEW-… for one derived here
    says    wrong → right
    source  where it really happened
    target  the function it replaces, "module.function"
    kind    what must find it: 'value' (a value check), 'gradient' (the adjoint test), 'accuracy' (the comparison with decimals),
            'clause' (a clause of the kit: a mistake in the textbook's tables, which this package does not keep)
    plant   makes the wrong function from the right one
    """

    id: str
    says: str
    source: str
    target: str
    kind: str
    plant: Plant


@contextmanager
def planted(mistake: Mistake) -> Iterator[None]:
    """The mistake in the place of the right function, wherever a module of the package knows that by a name of its own.

    Edge: what was bound into a partial before (`vjp.fix`) keeps the right function; the checks bind inside their calls.
    """
    module, name = target(mistake)
    right = getattr(module, name)
    wrong = wraps(right)(mistake.plant(right))
    places = [(m, n) for m in _package() for n, member in list(vars(m).items()) if member is right]
    try:
        for place, known_as in places:
            setattr(place, known_as, wrong)
        yield
    finally:
        for place, known_as in places:
            setattr(place, known_as, right)


def target(mistake: Mistake) -> tuple[ModuleType, str]:
    """The module and the name of the function that the mistake replaces."""
    module, _, name = mistake.target.rpartition(".")
    return importlib.import_module(f"refdpm.{module}"), name


def _package() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.startswith("refdpm.")]


# -- from right to wrong -----------------------------------------------------------------------------------------------

def instead(wrong: Callable[..., Any]) -> Plant:
    """Another function, which does not need the right one."""
    return lambda right: wrong


def edited(says: str, *, which: int = 0, also: str | None = None) -> Plant:
    """The textbook's formula with one edit, or `also` another, in float64: what somebody gets who writes it down so.

    Where several edits are described alike, `which` counts them.   Raises: ValueError if the formula has no such edit.
    """
    return _by_formula((says, which), *([(also, 0)] if also else []))


def _by_formula(*changes: tuple[str, int]) -> Plant:
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        name = f"{right.__module__}.{right.__name__}".removeprefix("refdpm.")

        def wrong(*arguments: Any, **fixed: Any) -> Any:
            call = in_textbook(name, arguments, fixed)
            formulas = tuple(call.formulas)
            for wanted, number in changes:
                formulas = _with_edit(formulas, wanted, number, name)
            found = iter(floats(formulas, call.page))
            return tree_map(lambda leaf: np.broadcast_to(next(found), np.shape(leaf)).copy(), right(*arguments, **fixed))
        return wrong
    return plant


def _with_edit(formulas: tuple[E, ...], says: str, which: int, name: str) -> tuple[E, ...]:
    found = [edit.formulas for edit in edits(*formulas) if edit.says == says]
    if len(found) <= which:
        raise ValueError(f"says: expected an edit of the formula of {name}, got {says!r}")
    return found[which]


PRINTED: Plant = _by_formula()
"""The textbook's formula in float64, with all that it loses as it is printed."""


def then(change: Callable[[Any], Any]) -> Plant:
    """The right value, changed."""
    return lambda right: lambda *args, **fixed: change(right(*args, **fixed))


def value_then(change: Callable[[Any], Any]) -> Plant:
    """For an f_vjp: the right value, changed; the pullback as it was."""
    return lambda right: lambda *args, **fixed: _changed_value(change, *right(*args, **fixed))


def _changed_value(change: Callable[[Any], Any], value: Any, pullback: Any) -> tuple[Any, Any]:
    return change(value), pullback


def pullback_then(change: Callable[..., Any]) -> Plant:
    """For an f_vjp: the right value, and the right cotangents changed by change(cotangents)."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*args: Any, **fixed: Any) -> Any:
            value, pullback = right(*args, **fixed)
            return value, lambda dvalue: change(pullback(dvalue))
        return wrong
    return plant


def pulled_by(pullback: Callable[..., Any]) -> Plant:
    """For an f_vjp: the right value, with another pullback, pullback(dvalue, *arguments, **fixed)."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*args: Any, **fixed: Any) -> Any:
            return right(*args, **fixed)[0], lambda dvalue: pullback(dvalue, *args, **fixed)
        return wrong
    return plant


def zero(tree: Any) -> Any:
    """The cotangent of what is held to be a constant."""
    return tree_map(lambda leaf: 0 * leaf, tree)
