"""What a clause is made of: a quantity that an adapter may offer, its inputs, what it must return, and how an error is measured."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from refdpm.conformance.adapter import Model, Network
from refdpm.conformance.arguments import fingerprint
from refdpm.conformance.chapters.draws import Draw
from refdpm.conformance.chapters.inputs import Given, Inputs, states_of
from refdpm.conformance.in_textbook import Keyed
from refdpm.conformance.precision import LIMIT, TABLES
from refdpm.textbook.expression import E, nodes
from refdpm.textbook.page import Page
from refdpm.textbook.rounding import Rounded, of_columns, of_operations, rounding
from refdpm.textbook.values import floats
from refdpm.vjp import Array

Ask = Callable[[str, Inputs], tuple[Array, ...]]
Book = Callable[[Inputs], tuple[E, ...]]


class Answers(Protocol):
    """What gives the values and the gradients of a quantity: a `theory.Theory`, or a `ByHand`."""

    def values(self, inputs: Inputs) -> tuple[Array, ...]:
        """One array for each output."""

    def gradients(self, inputs: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
        """The gradient of Σ ⟨cotangent, output⟩ with respect to inputs, by name."""


class ByHand:
    """Answers that are no single pair of the package: functions of the inputs."""

    def __init__(self, values: Callable[[Inputs], tuple[Array, ...]],
                 gradients: Callable[[Inputs, tuple[Array, ...]], dict[str, Array]] | None = None) -> None:
        self.values = values
        self.gradients = gradients or _none


def _none(inputs: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    return {}


class Output(NamedTuple):
    """One of the things that a quantity consists of; with the quantity's id it names the clause.  `kind`: see `profile.KINDS`."""

    id: str
    kind: str = "real"


class Quantity(NamedTuple):
    """A function that an adapter may offer.

    name       what the adapter calls it
    id         of its clauses: GAU.POST for GAU.POST.MEAN and GAU.POST.VAR
    says       what it is, with its formula
    equations  of the paper, or a source
    outputs    what it returns, in order
    inputs     draws the arguments, from what the adapter leaves free
    edges      arguments at which things go wrong, always tried first
    theory     the answer, in this package's conventions, from its own functions, and its gradients
    book       the textbook's formula of each output, or of the only one; where it depends on them, as a function of the inputs
    given      from the adapter's own earlier answers (`ask`), inputs that replace the reference's own: staged blame
    after      the quantities that it builds on
    choices    conventions that change what is meant, and not only how it is written (`Profile` fields); `inputs` holds them by name
    own        of those, the only ones with which it makes sense, whatever other functions do
    arguments  with respect to which gradients are asked for
    page       the inputs as the formulas want them
    """

    name: str
    id: str
    says: str
    equations: tuple[str, ...]
    outputs: tuple[Output, ...]
    inputs: Callable[[Given], Draw]
    edges: Callable[[Given], list[Inputs]]
    theory: Answers
    book: E | tuple[E, ...] | Callable[[Inputs], E | tuple[E, ...]]
    given: Callable[[Inputs, Ask], Inputs] | None = None
    after: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    own: tuple[tuple[str, Any], ...] = ()
    arguments: tuple[str, ...] = ()
    page: Callable[[Inputs], Page] = lambda inputs: page_of(inputs)

    def batch(self, inputs: Inputs) -> tuple[int, ...]:
        """The shape of the states: how many examples there are, and the axes of one."""
        return states_of(inputs).shape

    def reference(self, inputs: Inputs) -> tuple[Array, ...]:
        """The answer of this package, one array for each output; given the adapter's own earlier answers, that of the textbook."""
        shown = any(name.startswith("own_") for name in inputs) and self.formulas(inputs)
        return tuple(floats(shown, self.page(inputs))) if shown else self.theory.values(inputs)

    def gradients(self, inputs: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
        """The gradient of Σ ⟨cotangent, output⟩ for each of the arguments, by this package's adjoints."""
        found = self.theory.gradients(inputs, cotangents)
        return {name: found[name] for name in self.arguments}

    def followed(self, inputs: Inputs, *, own_tables: bool = True) -> list[Rounded]:
        """The value of the textbook's formula for each output, and its scale: an error is measured in u·scale (`precision`)."""
        return _followed(self, Keyed(inputs, fingerprint(inputs)), own_tables)

    def scale(self, inputs: Inputs) -> tuple[Array, ...]:
        """The scale of each output alone."""
        return tuple(part.scale for part in self.followed(inputs))

    def formulas(self, inputs: Inputs) -> tuple[E, ...]:
        """The textbook's formula of each output; the same object for inputs that differ in numbers only."""
        found = _formulas(self.book, Keyed(inputs, _form(inputs))) if callable(self.book) else self.book
        return (found,) if isinstance(found, E) else found


def _form(inputs: Inputs) -> Any:
    """What makes the formula: the names, the choices and the kept times, whatever the numbers are."""
    return tuple((name, _form_of(name, inputs[name])) for name in sorted(inputs))


def _form_of(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tuple(value.tolist()) if name == "times" else value.shape if name == "sigmas" else value.ndim
    return value if isinstance(value, str | int | float) else type(value).__name__


@lru_cache(maxsize=2000)
def _formulas(book: Callable[[Inputs], E | tuple[E, ...]], form: Keyed) -> E | tuple[E, ...]:
    return book(form.inputs)


@lru_cache(maxsize=10_000)
def _followed(quantity: Quantity, numbers: Keyed, own_tables: bool) -> list[Rounded]:
    formulas, page = quantity.formulas(numbers.inputs), quantity.page(numbers.inputs)
    memo: dict[E, Any] = {}
    found = of_operations(formulas, page, memo)
    if not own_tables:
        return found
    of_tables = [part.scale for part in rounding(formulas, page)] if _adds_up(formulas, page) else of_columns(formulas, page, memo)
    return [Rounded(part.value, part.scale + TABLES / LIMIT * table) for part, table in zip(found, of_tables)]


def _adds_up(formulas: tuple[E, ...], page: Page) -> bool:
    """Whether an answer is made of several t, whose tables have errors of their own."""
    return page.steps or any(one.op in ("walk", "path") for one in nodes(*formulas))


def page_of(inputs: Inputs, **more: Any) -> Page:
    """The inputs as a page, with `more` besides.  States have the axes of the first of all."""
    given = more | arguments_of(inputs) | more
    t = inputs.get("t")
    states = [value.ndim for value in given.values() if isinstance(value, np.ndarray) and value.ndim > 1]
    return Page(given, beta=inputs.get("beta"), t=t, ndim=states[0] if states else 1)


def arguments_of(inputs: Inputs) -> Inputs:
    """The inputs as arguments of a page: the network as its tables weight and bias; of the adapter's own answers own_kl where there
    is one, own_q.0 and own_q.1 where there are several."""
    found: Inputs = {}
    for name, value in inputs.items():
        if isinstance(value, Model):
            found |= {"weight": value.weight, "bias": value.bias}
        elif isinstance(value, Network):
            found |= {"centre": value.centre, "spread": value.spread}
        elif isinstance(value, tuple):
            found |= {name: value[0]} if len(value) == 1 else {f"{name}.{n}": part for n, part in enumerate(value)}
        else:
            found[name] = value
    return found


def every_step(inputs: Inputs) -> Page:
    """A schedule as a page whose rows are t = 1..T."""
    return Page(inputs, beta=inputs["beta"], t=np.arange(1, len(inputs["beta"])), ndim=1)


class Finding(NamedTuple):
    """What a law finds; `ratio` is its error in units of what is allowed.  A reason names a known mistake by its id in brackets.
    Where it `is_open` nothing tells whether that is right."""

    ratio: float
    reason: str = ""
    inputs: Inputs | None = None
    is_open: bool = False


class Law(NamedTuple):
    """A clause that is no value: a property of several quantities, or the law of what is drawn.

    needs    the quantities without which it is skipped
    watches  mistakes that break it, or functions of this package all of whose mistakes are tried: the reference must fail with some
    run      from the `Subject`, what the adapter leaves free, and a seed
    """

    id: str
    says: str
    equations: tuple[str, ...]
    needs: tuple[str, ...]
    run: Callable[[Any, Given, int], Finding]
    watches: tuple[str, ...] = ()


def own_levels(inputs: Inputs, ask: Ask) -> Inputs:
    """`given` for what builds on the schedule alone: the adapter's own ᾱ."""
    alpha_bar, = ask("alpha_bar", {"beta": inputs["beta"]})
    with np.errstate(all="ignore"):
        return {"log_alpha_bar": np.concatenate([[0.0], np.log(alpha_bar)])}
