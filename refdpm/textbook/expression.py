"""A formula as an expression: a graph of nodes, each an operation on parts, which is written once and read in several ways.

    number    2, ½, π; constant: an array      given      an argument, by its name
    column    β, 1−β or ᾱ at t, t−1, …         gathered   a table of the model or of the noise, at t
    + − · /   neg                              call       √, log, exp, Φ … of one part
    sum       over axes, mean, largest,        move       entries elsewhere: reshaped, repeated, zeros outside
              running along t                  count      how many entries there are along axes
    counting  1 … T                            joined     parts one after another
    where     one of two cases                 above      which case it is
    term      what counts as one term, though it is printed as a difference
    forms     one quantity, printed in several ways
    also      one quantity, and other ways in which people write it, of which only edits are made
    walk      a step of a chain, taken from the last t to the first, or along levels
    path      a step of a chain, taken from t = 1 to T, and all states on the way

Nodes are built by operators and by the functions below, never changed, and compared by identity, so that a part that is used
twice is evaluated once.  Nothing is known here of numbers or shapes: an *arithmetic* (`floats`, `digits`, `rounding`) evaluates the
nodes on a *page*, which holds the arguments.

A difference is printed as it stands in a book, 1 − ᾱ, although nobody who cares for digits subtracts there.  `term` marks it:
rounding then knows that an accurate evaluation loses nothing in it, and that one from tables loses what the difference loses.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, MutableMapping
from fractions import Fraction
from functools import lru_cache, wraps
from inspect import signature
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

At = int | str | tuple[int, ...] | None
Numeral = int | float | Fraction | str
Axes = tuple[int, ...]
Steps = list[tuple[Any, Any, int]]
Arguments = ParamSpec("Arguments")
Formula = TypeVar("Formula")


def _operator(op: str) -> Callable[[E, Any], E]:
    return lambda self, other: E(op, (self, node(other)))


def _reflected(op: str) -> Callable[[E, Any], E]:
    return lambda self, other: E(op, (node(other), self))


class E:
    """A node: an operation, its parts, and in `how` what is no expression (a name, a number, axes, a function of indices).

    `calls` are those of the formulas by name of which it is the value; see `named`.  `needs` are the parts that have to be
    evaluated before it: of a walk or a path none, since its step is evaluated on pages of its own.
    """

    __slots__ = ("op", "parts", "how", "calls", "needs")
    __array_ufunc__ = None                                           # so that `array * node` is refused and not taken apart

    def __init__(self, op: str, parts: Iterable[E] = (), how: Any = None) -> None:
        self.op, self.parts, self.how = op, tuple(parts), how
        self.needs = () if op in ("walk", "path") else self.parts[:1] if op == "also" else self.parts
        self.calls: tuple[Call, ...] = ()

    def __neg__(self) -> E:
        return E("neg", (self,))

    __add__, __sub__, __mul__, __truediv__ = map(_operator, "+-*/")
    __radd__, __rsub__, __rmul__, __rtruediv__ = map(_reflected, "+-*/")


class Call(NamedTuple):
    """A formula that has a name, what it was given, and its value: a node, or a tuple of nodes."""

    formula: Callable[..., Any]
    arguments: Mapping[str, Any]
    value: Any


class Column(NamedTuple):
    """Which entry of a table: at t + shift of every row, or at other steps: one for all rows ("T" is the last), some that are
    listed, or those of an argument of that name, t_prev."""

    name: str
    shift: int = 0
    at: At = None


class Move(NamedTuple):
    """Where entries go: `entries` makes from an array of the numbers 1, 2, … in the part's shape that of the result; 0 is black.

    It is also given the shape of another part, if the node has one.
    """

    says: str
    entries: Callable[..., Any]


class Levels(NamedTuple):
    """What a step calls the level it is at and the one it goes to, and all levels of a chain, from the arguments; and the level
    of the step before, which is that of the first step there.  Of `noisy` steps the first is given the first noise."""

    now: str
    after: str
    of: Callable[[Mapping[str, Any]], Iterable[Any]]
    before: str = ""
    noisy: bool = False


class Walk(NamedTuple):
    """A step of a chain taken again and again: the name of its state, the name of what it starts from, and the kept times.

    `otherwise` makes other steps of the right ones, each the t, the time it goes to, and the number of its noise.  With `levels`
    the steps go along those, from each to the next, and there is no t.  What a step has `kept` for the next one has
    a name and is a formula beside the step; for the first step it is the state.
    """

    state: str
    start: str
    times: tuple[int, ...] | None = None
    otherwise: Callable[[Steps], Steps] | None = None
    levels: Levels | None = None
    kept: tuple[str, ...] = ()


# -- leaves ------------------------------------------------------------------------------------------------------------

def node(x: Any) -> E:
    """A number, or an array of numbers that are held fixed, as a node; a node as it is."""
    return x if isinstance(x, E) else E("number" if isinstance(x, Numeral) else "constant", how=x)


def given(name: str) -> E:
    """The argument of that name."""
    return E("given", how=name)


def column(name: str, shift: int = 0, at: At = None) -> E:
    """A column of the schedule: `name` is beta, alpha (1 − β), alpha_bar, or t, which is the number of the step itself."""
    return E("column", how=Column(name, shift, at))


def gathered(name: str, shift: int = 0, at: At = None) -> E:
    """The entries at t of an argument that has one for every t."""
    return E("gathered", how=Column(name, shift, at))


PI = E("number", how="π")
HALF = Fraction(1, 2)


# -- operations --------------------------------------------------------------------------------------------------------

def _call(name: str) -> Callable[[Any], E]:
    return lambda x: E("call", (node(x),), name)


sqrt, log, exp, log1p, Phi, log_Phi, cos, sin, tanh = map(
    _call, ("sqrt", "log", "exp", "log1p", "Phi", "log Φ", "cos", "sin", "tanh"))


def square(x: E) -> E:
    """x²."""
    return x * x


def total(x: Any, over: str = "components", axes: Axes = (-1,), like: E | None = None) -> E:
    """Σ x over `axes`, which `over` names; with `like`, of x repeated to the shape of that."""
    return E("sum", (node(x),) if like is None else (node(x), like), (over, axes))


def mean(x: Any, over: str, axes: Axes) -> E:
    """The mean of x over axes, which stay with length 1."""
    return E("mean", (node(x),), (over, axes))


def largest(x: E, axes: Axes = (-1,)) -> E:
    """The largest entry along axes, which stay with length 1: a constant where it is subtracted to avoid overflow."""
    return E("largest", (x,), axes)


def kept(x: E, over: str, axes: Axes = (-1,)) -> E:
    """Σ x over axes, which stay with length 1."""
    return E("kept", (x,), (over, axes))


def count(x: E, over: str, axes: Axes = (-1,)) -> E:
    """How many entries x has along axes."""
    return E("count", (x,), (over, axes))


def move(x: E, says: str, entries: Callable[..., Any], like: E | None = None) -> E:
    """The entries of x elsewhere; see `Move`.  What `says` nothing, an axis of length 1, is not printed."""
    return E("move", (x,) if like is None else (x, like), Move(says, entries))


def counting(T: Any) -> E:
    """1, 2, …, T."""
    return E("counting", (node(T),))


def joined(*parts: E, axis: int = 0) -> E:
    """The parts one after another along an axis."""
    return E("joined", parts, axis)


def above(x: Any, y: Any) -> E:
    """Where x > y."""
    return E("above", (node(x), node(y)))


def where(condition: E, x: Any, y: Any) -> E:
    """x where the condition holds, y elsewhere.  A condition is `above`, or the given argument that is a mask."""
    return E("where", (condition, node(x), node(y)))


def understood(condition: E, x: E) -> E:
    """x where the condition holds, else 0: as a book has it that says once 0 · log 0 = 0 and prints x.  Nobody edits that."""
    return E("where", (condition, x, node(0)), "understood")


def term(formula: Callable[..., E], *parts: Any, called: str | None = None) -> E:
    """formula(*parts), which counts as one term: what is lost in it is what its parts have lost already.

    Written as it is `called`, if that is said.
    """
    nodes = tuple(map(node, parts))
    return E("term", (formula(*nodes), *nodes), called)


def forms(first: E, *others: E) -> E:
    """One quantity as it is printed, and other forms of it, in which some evaluate it: what is lost is what any of them loses, and
    for an accurate evaluation what the best of them does."""
    return E("forms", (first, *others))


def also(first: E, *others: E, cut_off: bool = False) -> E:
    """One quantity as it is printed, and other ways in which people write it.  Value and rounding are those of the first.

    What is `cut_off` in only some of them is the same where it is right, but not where something in it is wrong.
    """
    return E("also", (first, *others), cut_off)


def running(x: E) -> E:
    """Σ_{s≤t} x_s for every t, along the first axis."""
    return E("running", (x,))


def running_product(x: E) -> E:
    """∏_{s≤t} x_s for every t, along the first axis; only as another form of what is given in digits."""
    return E("running product", (x,))


def slack(x: E) -> E:
    """0, for which those who work with tables may write a number as small as the rounding of x."""
    return E("slack", (x,))


def less(x: Any) -> E:
    """1 − x, as one term."""
    return term(lambda x: 1 - x, x)


def walk(step: E, state: str, start: str, times: tuple[int, ...] | None = None) -> E:
    """The chain that begins with the given `start` and takes `step`, a formula of the given `state`, at every t."""
    return E("walk", (step,), Walk(state, start, times))


def along(step: E, state: str, start: str, levels: Levels, **kept: E) -> E:
    """The chain that begins with the given `start` and takes `step` from every level to the next, with what the step before has
    kept."""
    return E("walk", (step, *kept.values()), Walk(state, start, levels=levels, kept=tuple(kept)))


def path(step: E, state: str, start: str) -> E:
    """The states (T+1, …) of a chain that begins with the given `start` and takes `step` at t = 1..T, each with its own noise."""
    return E("path", (step,), Walk(state, start))


# -- the graph ---------------------------------------------------------------------------------------------------------

def nodes(*roots: E, parts_of: Callable[[E], tuple[E, ...]] = attrgetter("parts")) -> list[E]:
    """Every node below the roots, once each, parts before what is made of them."""
    begun: set[E] = set()
    found: dict[E, None] = {}
    stack = [*reversed(roots)]
    while stack:
        one = stack[-1]
        if one in begun:
            stack.pop()
            found[one] = None
        else:
            begun.add(one)
            stack += [part for part in reversed(parts_of(one)) if part not in begun]
    return [*found]


def depending(ordered: Iterable[E], sources: Container[E]) -> Iterator[E]:
    """Those of some nodes, which come with parts before what is made of them, that are sources or made of one."""
    found: set[E] = set()
    for one in ordered:
        if one in sources or any(part in found for part in one.parts):
            found.add(one)
            yield one


class Replacing:
    """Formulas with what is `instead` of some nodes, once and for all, and with more of it again and again.

    All that does not depend on what is replaced is shared with the old formulas.
    """

    def __init__(self, roots: tuple[E, ...], instead: Mapping[E, E] = MappingProxyType({})) -> None:
        self.roots, self.instead = roots, instead
        self.everything = nodes(*roots)
        self.made: dict[E, E] = {}
        self.made = self._made(depending(self.everything, instead), instead)
        self.above: dict[E, list[E]] = {}                            # what depends on a node

    def replaced(self, more: Mapping[E, E]) -> tuple[E, ...]:
        """The formulas with what is instead of more nodes, and of the others."""
        made = self._made(self._above(*more) if len(more) == 1 else depending(self.everything, more), {**self.instead, **more})
        return tuple(made.get(root) or self.made.get(root, root) for root in self.roots)

    def _above(self, one: E) -> list[E]:
        if one not in self.above:
            self.above[one] = list(depending(self.everything, {one}))
        return self.above[one]

    def _made(self, ordered: Iterable[E], instead: Mapping[E, E]) -> dict[E, E]:
        made: dict[E, E] = {}
        for one in ordered:
            new = instead.get(one)
            if new is not None:
                made[one] = made.get(new) or self.made.get(new, new)
            else:
                made[one] = E(one.op, [made.get(part) or self.made.get(part, part) for part in one.parts], one.how)
        return made


def versions(roots: Iterable[E]) -> list[tuple[E, ...]]:
    """The formulas with everything in its first form, everything in its second, and so on; the same objects at every call."""
    return _versions(tuple(roots))


@lru_cache(maxsize=500)
def _versions(formulas: tuple[E, ...]) -> list[tuple[E, ...]]:
    several = [one for one in nodes(*formulas) if one.op == "forms"]
    many = max((len(one.parts) for one in several), default=1)
    return [Replacing(formulas, {one: one.parts[min(number, len(one.parts) - 1)] for one in several}).replaced({})
            for number in range(many)]


# -- formulas that have names --------------------------------------------------------------------------------------------

def named(formula: Callable[Arguments, Formula]) -> Callable[Arguments, Formula]:
    """The formula, whose value remembers what it was made of: somebody who exchanges two arguments makes another value."""
    parameters = signature(formula)

    @wraps(formula)
    def called(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Formula:
        value = formula(*args, **kwargs)
        bound = parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = bound.arguments
        given_in = {leaf for argument in arguments.values() for leaf in leaves(argument)}
        call = Call(formula, arguments, value)
        for leaf in leaves(value):
            if leaf not in given_in:
                leaf.calls += (call,)
        return value
    return called


def network(formula: Callable[Arguments, Formula]) -> Callable[Arguments, Formula]:
    """A formula with a name that is a network: of its state, and if it is told one of a level."""
    NETWORKS.add(formula)
    return named(formula)


def guess(formula: Callable[Arguments, Formula]) -> Callable[Arguments, Formula]:
    """A formula with a name that is one for x̂_0, which many clip as if it were data."""
    GUESSES.add(formula)
    return named(formula)


NETWORKS: set[Callable[..., Any]] = set()
GUESSES: set[Callable[..., Any]] = set()


def is_said(one: E) -> bool:
    """Whether a node is what a network says."""
    return bool(one.calls) and any(call.formula in NETWORKS for call in one.calls)


def leaves(value: Any) -> list[E]:
    """The nodes of a node, or of a tuple of nodes; none of anything else."""
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [value] if isinstance(value, E) else []


# -- evaluation --------------------------------------------------------------------------------------------------------

NEEDS = attrgetter("needs")


class Arithmetic(Protocol):
    """What can evaluate a node, from the values of its parts."""

    def at(self, one: E, parts: list[Any], page: Any) -> Any:
        """The value of a node."""


def evaluate(roots: Iterable[E], arithmetic: Arithmetic, page: Any, memo: MutableMapping[E, Any] | None = None) -> Iterator[Any]:
    """The values of the roots.  A memo, once filled, spares what several formulas, or a formula and its edits, have in common."""
    memo, wanted = {} if memo is None else memo, tuple(roots)
    if not memo:
        evaluate_all(in_turn(wanted), arithmetic, page, memo)
    for root in wanted:
        waiting = [root]                                             # each below what it waits for
        while waiting:
            one = waiting[-1]
            missing = [] if one in memo else [part for part in one.needs if part not in memo]
            if missing:
                waiting += reversed(missing)
                continue
            waiting.pop()
            if one not in memo:
                memo[one] = arithmetic.at(one, [memo[part] for part in one.needs], page)
        yield memo[root]


def evaluate_all(ordered: Iterable[E], arithmetic: Arithmetic, page: Any, memo: MutableMapping[E, Any]) -> None:
    """The values of nodes that come after the parts that they need; those that a memo has are spared."""
    for one in ordered:
        if one not in memo:
            memo[one] = arithmetic.at(one, [memo[part] for part in one.needs], page)


@lru_cache(maxsize=500)
def in_turn(roots: tuple[E, ...]) -> list[E]:
    """All nodes that have to be evaluated, after the parts that they need."""
    return nodes(*roots, parts_of=NEEDS)
