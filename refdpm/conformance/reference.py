"""This package as an adapter of its own kit: in float64 or float32, as it is or with a mistake planted.

In float32 every input is a float32 array and what is returned is rounded to float32; what NumPy promotes between stays promoted, as
in programs that keep their tables in double precision.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
import contextlib

import numpy as np

from refdpm import binomial, bound, gaussian
from refdpm.conformance.adapter import Fault, Skip
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.categorical_laws import chain_of
from refdpm.conformance.chapters.inputs import Inputs
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.judge import textbook
from refdpm.conformance.mistakes import Mistake, planted
from refdpm.conformance.profile import Profile
from refdpm.later import guidance, sampler, solver
from refdpm.vjp import Array


LAWFUL: dict[str, Callable[[Mapping[str, Any], np.random.Generator], Array]] = {
    "draw_times": lambda given, rng: bound.draw_steps(rng, given["T"], (1, given["N"]))[0],
    "spaced_times": lambda given, rng: sampler.spaced(given["T"], given["count"]),
    "repeated_times": lambda given, rng: guidance.repeated_times(given["T"], length=given["length"], repeats=given["repeats"]),
    "sigma_log_likelihood": lambda given, rng: solver.log_likelihood(
        given["x_0"], given["sigmas"], denoiser=given["network"], trace=given["network"].trace),
    "categorical_sample": lambda given, rng: chain_of(given),
    "draw_noise": lambda given, rng: gaussian.draw_noise(rng, given["shape"]),
    "draw_uniform": lambda given, rng: binomial.draw_noise(rng, given["shape"])}


class Reference:
    """A `Source` whose answers are the references of the clauses, or with `tables` the textbook's, where they are written down."""

    def __init__(self, dtype: str = "float64", *mistakes: Mistake, functions: tuple[Quantity, ...] = QUANTITIES,
                 profile: Profile = Profile(), tables: bool = False) -> None:
        self.name = "refdpm.conformance.reference"
        # one wrong function for all calls, for a mistake may be to remember the one before
        self.mistakes = tuple(mistake._replace(plant=cache(mistake.plant)) for mistake in mistakes)
        self.dtype: str | None = dtype
        self.notes: dict[str, set[str]] = {}
        self.functions = {quantity.name: quantity for quantity in functions}
        self.stated: Mapping[str, Any] = {}
        self.beta: Array | None = None
        self.profile, self.tables = profile, tables

    def offers(self) -> frozenset[str]:
        """All functions, and gradients."""
        return frozenset(self.functions) | frozenset(LAWFUL) | {"vjp"}

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """See `Source`."""
        with contextlib.ExitStack() as stack, np.errstate(all="ignore"):
            for mistake in self.mistakes:
                stack.enter_context(planted(mistake))
            try:
                if name in LAWFUL:
                    given = self._inputs_from(arguments) | {"mixing": self.profile.mixing, "kernel": self.profile.kernel}
                    return LAWFUL[name](given, np.random.default_rng(arguments.get("seed", 0)))
                return self._gradients(arguments) if name == "vjp" else self._values(self._quantity(name), arguments)
            except (ValueError, TypeError, IndexError) as error:
                raise Fault(f"raises {type(error).__name__}: {error}") from error

    def _values(self, quantity: Quantity, arguments: Mapping[str, Any]) -> Any:
        inputs = self._with_choices(quantity, self._inputs_from(arguments))
        by_tables = textbook(quantity, inputs) if self.tables else ()
        return tuple(map(self._in_dtype, by_tables or quantity.reference(inputs)))

    def _gradients(self, arguments: Mapping[str, Any]) -> Any:
        quantity, cotangents = self._quantity(arguments["name"]), arguments["cotangent"]
        if not quantity.arguments:
            raise Skip(f"{quantity.name} is not differentiated")
        found = quantity.gradients(self._with_choices(quantity, self._inputs_from(arguments["args"])),
                             cotangents if isinstance(cotangents, tuple) else (cotangents,))
        return {key: self._in_dtype(value) for key, value in found.items()}

    def _in_dtype(self, value: Any) -> Array:
        array = np.asarray(value)
        return array.astype(self.dtype) if array.dtype.kind == "f" else array

    def close(self) -> None:
        """See `Source`."""

    def _quantity(self, name: str) -> Quantity:
        if name not in self.functions:
            raise Skip(f"{name} is not offered")
        return self.functions[name]

    def _with_choices(self, quantity: Quantity, inputs: Inputs) -> Inputs:
        return inputs | {name: getattr(self.profile, name) for name in quantity.choices}

    def _inputs_from(self, arguments: Mapping[str, Any]) -> Inputs:
        """The inputs again from what an adapter is given under our own conventions."""
        return {name: np.concatenate([np.zeros(1, value.dtype), value]) if name == "beta" else value
                for name, value in arguments.items()}
