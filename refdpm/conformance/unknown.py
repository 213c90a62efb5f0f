"""What an adapter has and no clause looks at: functions of its own with names that the kit does not know."""

from collections.abc import Iterator
from difflib import get_close_matches
from types import ModuleType
from typing import Any
import inspect

NEAR = 0.8                                              # how alike two names are that may be meant for each other
KNOWN_OTHERWISE = frozenset({"make", "array", "vjp"})   # names that mean something, but are no quantity


def unknown_functions(target: Any, names: frozenset[str]) -> list[str]:
    """The public functions that an adapter defines itself, and that the kit does not know; those of what `make` makes, too."""
    made = vars(target).get("make") if hasattr(target, "__dict__") else None
    places = [target, *([made] if isinstance(made, type) else [])]
    found = {name: None for place in places for name in _own_functions(place)}
    return [name for name in found if name not in names | KNOWN_OTHERWISE]


def nearest(name: str, names: frozenset[str]) -> str | None:
    """The known name that this one may be meant for."""
    return next(iter(get_close_matches(name, sorted(names), n=1, cutoff=NEAR)), None)


def _own_functions(place: Any) -> Iterator[str]:
    """The names of functions that a module, a class or an object defines itself.  No property is asked."""
    if isinstance(place, ModuleType):
        yield from (name for name, member in list(vars(place).items())
                    if _is_public_function(name, member) and member.__module__ == place.__name__)
        return
    kind = place if isinstance(place, type) else type(place)
    if place is not kind and hasattr(place, "__dict__"):
        yield from (name for name, member in list(vars(place).items()) if _is_public_function(name, member))
    for one in kind.__mro__:
        if one.__module__ == kind.__module__ and one.__module__ != "builtins":
            yield from (name for name, member in list(vars(one).items()) if _is_public_function(name, member))


def _is_public_function(name: str, member: Any) -> bool:
    bare = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
    return not name.startswith("_") and inspect.isfunction(bare)
