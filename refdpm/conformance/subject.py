"""The adapter under check, asked in its own conventions and understood in ours."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from refdpm.conformance import profile as profiles
from refdpm.conformance.adapter import Fault, Network, Skip, Source
from refdpm.conformance.arguments import fingerprint
from refdpm.conformance.chapters.inputs import Given, Inputs
from refdpm.conformance.chapters.quantity import Output, Quantity
from refdpm.conformance.profile import Profile
from refdpm.conformance.precision import COARSE, LEAST, LIMIT, UNITS, own_tables, rounded
from refdpm.textbook.digits import digits
from refdpm.textbook.page import to_float
from refdpm.textbook.rounding import Rounded
from refdpm.vjp import Array

__all__ = ["Unsound", "COARSE", "LIMIT", "UNITS", "Answer", "Subject", "bearing_on", "differs", "values_and_scales", "ratios"]


Edges = Callable[[Given], list[Inputs]]


class Answer(NamedTuple):
    """What a function returned, in our conventions: one array for each output; and the precision it is judged at."""

    values: tuple[Array, ...]
    dtype: str
    shapes: tuple[tuple[int, ...], ...]            # of what it returned


class Subject:
    """A source with its profile.  `ask` is memoised, so that what many clauses look at is computed once."""

    def __init__(self, source: Source, functions: tuple[Quantity, ...], profile: Profile = Profile()) -> None:
        self.source, self.profile = source, profile
        self.known: dict[str, str] = {}                # how each of the conventions is known: see `inference.infer`
        self.offers = source.offers()
        self.functions = {quantity.name: quantity for quantity in functions if quantity.name in self.offers}
        self.given = Given(source.beta, getattr(source, "classes", None), getattr(source, "own_steps", None))
        self.further: dict[str, int] = {}              # how many outputs a function has behind those that a clause is about
        self._memory: dict[Any, Any] = {}
        self._edges: dict[Edges, list[Inputs]] = {}

    def edges(self, quantity: Quantity) -> list[Inputs]:
        """The edges of a function, made once: for all adapters alike that have no schedule, classes or steps of their own."""
        if all(own is None for own in self.given):
            return edges_for_all(quantity.edges)
        if quantity.edges not in self._edges:
            self._edges[quantity.edges] = quantity.edges(self.given)
        return self._edges[quantity.edges]

    def chosen(self, quantity: Quantity, inputs: Inputs) -> Inputs:
        """The inputs together with the choices that the profile makes."""
        profile = self.profile.of(quantity.name)
        return inputs | {name: getattr(profile, name) for name in quantity.choices}

    def in_precision(self, inputs: Inputs) -> Inputs:
        """The inputs as half a precision holds them, so that the right answer is that to what the adapter gets."""
        if self.source.dtype not in ("float16", "bfloat16"):
            return inputs
        return {name: rounded(value, self.source.dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f"
                and not (name == "beta" and self.given.beta is not None) else value for name, value in inputs.items()}

    def ask(self, name: str, inputs: Inputs) -> Answer:
        """The adapter's answer.   Raises: Skip, Fault."""
        quantity = self.functions.get(name)
        if quantity is None:
            raise Skip(f"{name} is not offered")
        shapes = [value.shape for value in self.right(quantity, inputs)]
        came, profile = self.remembered(quantity, inputs), self.profile.of(name)
        parts = _parts(came, quantity)
        if isinstance(came, tuple) and len(came) > len(parts):
            self.further[name] = len(came) - len(parts)
        values, faults = [], []
        for part, output, shape in zip(parts, quantity.outputs, shapes, strict=True):
            try:
                values.append(_ours(part, output, profile, shape, quantity.batch(inputs)))
            except Fault as fault:
                fault.output = output.id
                faults.append(fault)
        if faults:
            if not values:
                faults[0].output = None                    # of all of them
            raise faults[0]
        return Answer(tuple(values), self._dtype(parts), tuple(part.shape for part in parts))

    def arguments(self, name: str, inputs: Inputs) -> dict[str, Any]:
        """The inputs as that function of the adapter wants them; new arrays at every call."""
        return profiles.theirs(inputs, self.profile.of(name), self.source.dtype)

    def raw(self, name: str, arguments: dict[str, Any]) -> Any:
        """The adapter's own answer to arguments in its own form; never from memory.   Raises: Skip, Fault."""
        return self.source.call(name, arguments)

    def right(self, quantity: Quantity, inputs: Inputs) -> tuple[Array, ...]:
        """The reference of every output.   Raises: Skip, ValueError for choices under which there is none."""
        chosen = self.chosen(quantity, inputs)
        return self._remember(("right", quantity.name, fingerprint(chosen)), lambda: _reference_values(quantity, chosen))

    def values_and_scales(self, quantity: Quantity, inputs: Inputs) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """What every output has to be, and its scale, in the form in which the adapter rounds."""
        chosen, values = self.chosen(quantity, inputs), self.right(quantity, inputs)
        key = "sound", quantity.name, fingerprint(chosen)
        found = self._remember(key, lambda: _sound(quantity, chosen, values, own_tables(self.source.dtype)))
        return _in_their_form(quantity, found, self.profile.of(quantity.name))

    def remembered(self, quantity: Quantity, inputs: Inputs) -> Any:
        """The adapter's own answer the first time, in its own form."""
        arguments = self.arguments(quantity.name, inputs)
        return self._remember((quantity.name, fingerprint(arguments)), lambda: self.raw(quantity.name, arguments))

    def _remember(self, key: Any, call: Callable[[], Any]) -> Any:
        """What the call returns, or raises, the first time."""
        if key not in self._memory:
            if len(self._memory) > 4000:
                self._memory.clear()
            with np.errstate(all="ignore"):
                self._memory[key] = _value_or_error(call)
        found = self._memory[key]
        if isinstance(found, Exception):
            raise found
        return found

    def _dtype(self, parts: list[Array]) -> str:
        if self.source.dtype:
            return self.source.dtype
        found = [part.dtype.name for part in parts if part.dtype.name in UNITS]
        return max(found, key=lambda name: UNITS[name], default="float64")


@cache
def edges_for_all(edges: Edges) -> list[Inputs]:
    """The edges for adapters that have no schedule, classes or steps of their own; made once, and not to be changed."""
    return edges(Given())


def bearing_on(quantity: Quantity, inputs: Mapping[str, Any]) -> list[str]:
    """The conventions that bear on a function: on its inputs, on its outputs, and what it may choose."""
    by_input = [profiles.INPUTS[name] for name in inputs if name in profiles.INPUTS]
    by_network = ["data_at"] * any(isinstance(value, Network) and value.says == "velocity" for value in inputs.values())
    by_output = [field for output in quantity.outputs for field in profiles.KINDS.get(output.kind, ())]
    return list(dict.fromkeys([*by_input, *by_network, *by_output, *quantity.choices]))


def _value_or_error(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (Skip, Fault, ValueError) as found:
        return found


def _ours(part: Array, output: Output, profile: Profile, shape: tuple[int, ...], batch: tuple[int, ...]) -> Array:
    """One output in our conventions.   Raises: Fault."""
    if part.dtype.kind not in "fbiu" or (part.dtype.kind != "f" and output.kind not in ("times", "integer")):
        raise Fault(f"returns {part.dtype} for {output.id}, expected real numbers")
    try:
        with np.errstate(all="ignore"):
            return profiles.ours(part.astype(np.float64), output.kind, profile, shape, batch)
    except (ValueError, IndexError):                       # of axes that it does not have, or has too many of
        raise Fault(f"returns shape {part.shape}, expected {shape}") from None


def _parts(value: Any, quantity: Quantity) -> list[Array]:
    """One array for each output: what comes after them in a tuple is left alone."""
    count = len(quantity.outputs)
    if isinstance(value, dict):
        names = {key.lower(): part for key, part in value.items()}
        missing = [output.id.lower() for output in quantity.outputs if output.id.lower() not in names]
        if missing:
            raise Fault(f"returns a dict without {', '.join(missing)}")
        return [names[output.id.lower()] for output in quantity.outputs]
    found = list(value) if isinstance(value, tuple) else [value]
    if len(found) < count:
        raise Fault(f"returns {len(found)} arrays, expected {count}: {', '.join(output.id.lower() for output in quantity.outputs)}")
    return found[:count]


# -- how far an answer is from what it should be ---------------------------------------------------------------------------

def ratios(value: Array, reference: Array, scale: Array, unit: float) -> Array:
    """error/(u·scale) of every entry; 0 where both are the same infinity, ∞ where a number is expected and none came."""
    error = _errors(value, reference, scale, unit)
    return np.asarray(np.where(_are_same(value, reference), 0.0, np.where(np.isfinite(error), error, np.inf)))


def _errors(value: Array, reference: Array, scale: Array, unit: float) -> Array:
    """The same, but not a number where one of them is none."""
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(value - reference) / (unit * np.maximum(scale, LEAST.get(unit, LEAST[UNITS["float64"]]))))


def _are_same(value: Array, reference: Array) -> Array:
    return np.asarray((value == reference) | (np.isnan(value) & np.isnan(reference)))


def differs(value: Any, right: Array, scale: Array, unit: float) -> bool:
    """Whether an answer is further from the right one than is allowed; one of another shape is."""
    try:
        given = np.broadcast_to(np.asarray(value, dtype=np.float64), right.shape)
    except ValueError:
        return True
    error = _errors(given, right, scale, unit)
    if np.any(error > LIMIT):
        return True
    unknown = np.isnan(error)
    return bool(np.any(unknown)) and bool(np.any(unknown & ~_are_same(given, right)))


class Unsound(RuntimeError):
    """This package does not agree with its own textbook, so that it can judge nobody."""


def _sound(quantity: Quantity, inputs: Inputs, values: tuple[Array, ...], tables: bool = True) -> list[Rounded]:
    """What every output has to be, and its scale: our own value, or the textbook's digits where float64 loses some of them here.

    What the adapter itself has shown before (`given`) need not be what its formulas give, and is not held against us.
    Raises: Unsound where single precision would tell our own value from the textbook's.
    """
    book = quantity.followed(inputs, own_tables=tables)
    found = [part._replace(value=value) for part, value in zip(book, values, strict=True)]
    own = any(name.startswith("own_") or name == "log_alpha_bar" for name in inputs)
    if own or not any(_departs(one, part.value, "float64") for one, part in zip(found, book)):
        return found
    printed = digits(quantity.formulas(inputs), quantity.page(inputs)).values
    exact = [np.asarray(to_float(value), dtype=np.float64) for value in printed]
    for output, one, right in zip(quantity.outputs, found, exact, strict=True):
        if _departs(one, right, "float32"):
            raise Unsound(f"{quantity.name}: the {output.id} of this installation of refdpm is not what its own textbook says, so "
                          f"that it cannot judge others; please reinstall it and report this")
    return [one._replace(value=np.where(np.isfinite(right), right, one.value)) for one, right in zip(found, exact)]


def _departs(one: Rounded, right: Array, dtype: str) -> bool:
    """Whether a number is not what it has to be; what is infinite there, or not a number, says nothing."""
    far = ratios(one.value, right, one.scale, UNITS[dtype])
    return bool(np.any(far[np.broadcast_to(np.isfinite(right) & np.isfinite(one.value), far.shape)] > LIMIT))


def values_and_scales(quantity: Quantity, inputs: Inputs, profile: Profile) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """What every output has to be and its scale, widened to the form in which an adapter of that profile rounds."""
    with np.errstate(all="ignore"):
        return _in_their_form(quantity, _sound(quantity, inputs, _reference_values(quantity, inputs)), profile)


def _reference_values(quantity: Quantity, inputs: Inputs) -> tuple[Array, ...]:
    return tuple(np.asarray(value, dtype=np.float64) for value in quantity.reference(inputs))


def _in_their_form(quantity: Quantity, found: list[Rounded], profile: Profile) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    with np.errstate(all="ignore"):
        return tuple(one.value for one in found), tuple(
            profiles.scale_in_their_form(np.broadcast_to(one.scale, one.value.shape), output.kind, profile, one.value)
            for one, output in zip(found, quantity.outputs, strict=True))
