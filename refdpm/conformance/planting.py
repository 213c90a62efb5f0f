"""What a named mistake is, how it is planted, and the ways to make a wrong function from a right one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache, wraps
from itertools import islice
from types import ModuleType
from typing import Any, NamedTuple
import importlib
import inspect
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
    source  where it happened, or what it is a variant of
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


def of(target: str, kind: str = "value") -> Callable[[str, str, str, Plant], Mistake]:
    """For several mistakes of one kind in one function: (id, says, source, plant)."""
    return lambda id, says, source, plant: Mistake(id, says, source, target, kind, plant)


@contextmanager
def planted(mistake: Mistake) -> Iterator[None]:
    """The mistake in the place of the right function, wherever a module of the package knows that by a name of its own.

    Edge: what was bound into a partial before (`vjp.fix`) keeps the right function; the checks bind inside their calls.
    """
    right = _right(mistake)
    with _replaced({right: wraps(right)(mistake.plant(right))}):
        yield


@contextmanager
def _replaced(instead: Mapping[Callable[..., Any], Callable[..., Any]]) -> Iterator[None]:
    """Other functions in the place of right ones."""
    places = [(place, name, right) for right in instead for place, name in _places(right, len(sys.modules))]
    try:
        for place, name, right in places:
            setattr(place, name, instead[right])
        yield
    finally:
        for place, name, right in places:
            setattr(place, name, right)


def target(mistake: Mistake) -> tuple[ModuleType, str]:
    """The module and the name of the function that the mistake replaces."""
    module, _, name = mistake.target.rpartition(".")
    return importlib.import_module(f"refdpm.{module}"), name


def _right(mistake: Mistake) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(*target(mistake))
    return found


@lru_cache(maxsize=2000)
def _places(right: Callable[..., Any], modules: int) -> list[tuple[ModuleType, str]]:
    """Where a function is known, as long as there are so many modules."""
    package = [module for name, module in list(sys.modules.items()) if name.startswith("refdpm.")]
    return [(module, name) for module in package for name, member in list(vars(module).items()) if member is right]


# -- where a mistake can tell -------------------------------------------------------------------------------------------

@contextmanager
def noting_calls(mistakes: tuple[Mistake, ...]) -> Iterator[set[str]]:
    """The targets of mistakes that are called meanwhile, and the pullbacks of adjoints that are: a set that grows from nothing, the
    same one every time.

    What is called past the place of a mistake is not among them: the mistake changes nothing there.
    """
    noting, called = _all_noting(mistakes)
    called.clear()
    with _replaced(noting):
        yield called


@cache
def _all_noting(mistakes: tuple[Mistake, ...]) -> tuple[dict[Callable[..., Any], Callable[..., Any]], set[str]]:
    """What stands for the right functions while calls are noted, and where they note them."""
    called: set[str] = set()
    rights = {mistake.target: _right(mistake) for mistake in mistakes}
    return {right: _noting(right, target, called) for target, right in rights.items()}, called


def _noting(right: Callable[..., Any], target: str, called: set[str]) -> Callable[..., Any]:
    @wraps(right)
    def noted(*args: Any, **fixed: Any) -> Any:
        called.add(target)
        return right(*args, **fixed)

    @wraps(right)
    def noted_vjp(*args: Any, **fixed: Any) -> Any:
        called.add(target)
        value, pullback = right(*args, **fixed)

        def pulled_back(dvalue: Any) -> Any:
            called.add(_pullback_of(target))
            return pullback(dvalue)
        return value, pulled_back
    return noted_vjp if target.endswith("_vjp") else noted


def _pullback_of(target: str) -> str:
    return f"the pullback of {target}"


def needed(mistake: Mistake) -> str:
    """What has to be called for the mistake to change anything, as `noting_calls` has it."""
    return _pullback_of(mistake.target) if isinstance(mistake.plant, Pulled) else mistake.target


# -- from right to wrong -----------------------------------------------------------------------------------------------
#
# A change is a function of what it changes, and then of arguments of the planted function by their names: `lambda kl, q, p: …`.

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
        name = f"{right.__module__}.{right.__name__}".removeprefix("refdpm.").removesuffix("_vjp")

        def wrong(value: Any, arguments: dict[str, Any]) -> Any:
            call = in_textbook(name, *_as_called(right, arguments))
            formulas = tuple(call.formulas)
            for wanted, number in changes:
                formulas = _with_edit(formulas, wanted, number, name)
            found = iter(floats(formulas, call.page))
            return tree_map(lambda leaf: np.broadcast_to(next(found), np.shape(leaf)).copy(), value)
        return _then(right, wrong)
    return plant


@lru_cache(maxsize=500)
def _with_edit(formulas: tuple[E, ...], says: str, which: int, name: str) -> tuple[E, ...]:
    found = (edit.formulas for edit in edits(*formulas) if edit.says == says)
    for edited in islice(found, which, None):
        return edited
    raise ValueError(f"says: expected an edit of the formula of {name}, got {says!r}")


PRINTED: Plant = _by_formula()
"""The textbook's formula in float64, with all that it loses as it is printed."""


def then(change: Callable[..., Any]) -> Plant:
    """The right value, changed; of an f_vjp the pullback stays as it was."""
    return lambda right: _then(right, lambda value, arguments: _changed(change, value, arguments))


def _then(right: Callable[..., Any], change: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*args: Any, **fixed: Any) -> Any:
        found, arguments = right(*args, **fixed), _arguments(right, args, fixed)
        if right.__name__.endswith("_vjp"):
            return change(found[0], arguments), found[1]
        return change(found, arguments)
    return wrong


def told(**changes: Any) -> Plant:
    """The right function, told something else: a change for every argument that is named, or what stands in its place."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*args: Any, **fixed: Any) -> Any:
            arguments = _arguments(right, args, fixed)
            new = {name: _changed(change, arguments[name], arguments) if callable(change) else change
                   for name, change in changes.items()}
            positional, by_name = _as_called(right, arguments | new)
            return right(*positional, **by_name)
        return wrong
    return plant


class Pulled:
    """For an f_vjp: the right value, and another pullback(right one, dvalue, arguments by name, arguments as they are called)."""

    def __init__(self, pullback: Callable[..., Any]) -> None:
        self.pullback = pullback

    def __call__(self, right: Callable[..., Any]) -> Callable[..., Any]:
        """The wrong function."""
        def wrong(*args: Any, **fixed: Any) -> Any:
            (value, pullback), arguments = right(*args, **fixed), _arguments(right, args, fixed)
            return value, lambda dvalue: self.pullback(pullback, dvalue, arguments, (args, fixed))
        return wrong


def pulled(**changes: Callable[..., Any]) -> Plant:
    """For an f_vjp: the right value, and the right cotangents with a change for every argument that is named."""
    return _pulled(lambda name, d, dvalue, arguments: _changed(changes[name], d, arguments) if name in changes else d)


def pulled_to(**pullbacks: Callable[..., Any]) -> Plant:
    """For an f_vjp: the right value, and another pullback of dvalue to every argument that is named."""
    return _pulled(lambda name, d, dvalue, arguments: _changed(pullbacks[name], dvalue, arguments) if name in pullbacks else d)


def _pulled(cotangent: Callable[..., Any]) -> Plant:
    """Another cotangent(name, right one, dvalue, arguments) of each argument."""
    def pulled_back(pullback: Callable[..., Any], dvalue: Any, arguments: dict[str, Any], called: Any) -> Any:
        found, several = pullback(dvalue), len(called[0]) > 1
        new = [cotangent(name, d, dvalue, arguments) for name, d in zip(arguments, found if several else (found,))]
        return tuple(new) if several else new[0]
    return Pulled(pulled_back)


def pullback_then(change: Callable[..., Any]) -> Plant:
    """For an f_vjp: the right value, and what the right pullback gives as a whole changed."""
    return Pulled(lambda pullback, dvalue, arguments, called: _changed(change, pullback(dvalue), arguments))


def pulled_by(pullback: Callable[..., Any]) -> Plant:
    """For an f_vjp: the right value, with another pullback, pullback(dvalue, *arguments, **fixed)."""
    return Pulled(lambda right, dvalue, arguments, called: pullback(dvalue, *called[0], **called[1]))


def _arguments(f: Callable[..., Any], args: tuple[Any, ...], fixed: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a call by their names, those in front that have none but a place."""
    call = _signature(f).bind(*args, **fixed)
    call.apply_defaults()
    return dict(call.arguments)


def _as_called(f: Callable[..., Any], arguments: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same as a call takes them: in their places, and those that have a name only."""
    kinds = {name: one.kind is one.KEYWORD_ONLY for name, one in _signature(f).parameters.items()}
    return (tuple(value for name, value in arguments.items() if not kinds[name]),
            {name: value for name, value in arguments.items() if kinds[name]})


_signature = cache(inspect.signature)


def _changed(change: Callable[..., Any], it: Any, arguments: dict[str, Any]) -> Any:
    """A change of something; see above."""
    code = getattr(change, "__code__", None)
    return change(it, *(arguments[name] for name in (code.co_varnames[1:code.co_argcount] if code else ())))


IN_SINGLE: Plant = lambda right: lambda *args: tree_map(np.float64, right(*tree_map(np.float32, args)))
"""The function in single precision in the middle of a double path."""
SWAPPED: Plant = told(q=lambda q, p: p, p=lambda p, q: q)
"""A function of two laws q and p with the one in the place of the other."""


# -- changes -----------------------------------------------------------------------------------------------------------

def zero(tree: Any) -> Any:
    """The cotangent of what is held to be a constant."""
    return tree_map(lambda leaf: 0 * leaf, tree)


def without(*names: str) -> Callable[[Any], Any]:
    """The cotangent of a record of which some parts are held to be constants."""
    return lambda record: record._replace(**{name: zero(getattr(record, name)) for name in names})


def scaled(factor: float) -> Callable[[Any], Any]:
    """Every number of a tree multiplied by a factor."""
    return lambda tree: tree_map(lambda leaf: factor * leaf, tree)
