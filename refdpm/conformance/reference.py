"""This package as an adapter of its own kit: in float64 or float32, as it is or with a mistake planted.

In float32 every input is a float32 array and what is returned is rounded to float32; what NumPy promotes between stays promoted, as
in programs that keep their tables in double precision.
"""

from collections.abc import Mapping
from typing import Any
import contextlib

import numpy as np

from refdpm.conformance.adapter import Skip
from refdpm.conformance.clauses import FUNCTIONS
from refdpm.conformance.clauses.common import Function, Inputs
from refdpm.conformance.mistakes import Mistake, planted
from refdpm.conformance.profile import Profile
from refdpm.vjp import Array


class Reference:
    """A `Source` whose answers are the references of the clauses."""

    def __init__(self, dtype: str = "float64", *mistakes: Mistake, functions: tuple[Function, ...] = FUNCTIONS,
                 profile: Profile = Profile()) -> None:
        self.name, self.dtype, self.mistakes = "refdpm.conformance.reference", dtype, mistakes
        self.functions = {function.name: function for function in functions}
        self.stated: Mapping[str, Any] = {}
        self.beta: Array | None = None
        self.profile = profile

    def offers(self) -> frozenset[str]:
        """All functions, and gradients."""
        return frozenset(self.functions) | {"vjp"}

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """See `Source`."""
        with contextlib.ExitStack() as stack, np.errstate(all="ignore"):
            for mistake in self.mistakes:
                stack.enter_context(planted(mistake))
            if name == "vjp":
                function, inputs = self._function(arguments["name"]), self._inputs(arguments["args"])
                cotangents = arguments["cotangent"]
                if function.vjp is None:
                    raise Skip(f"{function.name} is not differentiated")
                found = function.vjp(self._chosen(function, inputs), cotangents if isinstance(cotangents, tuple) else (cotangents,))
                return {key: np.asarray(value).astype(self.dtype) for key, value in found.items()}
            function = self._function(name)
            values = function.reference(self._chosen(function, self._inputs(arguments)))
            return tuple(np.asarray(value).astype(self.dtype) for value in values)

    def close(self) -> None:
        """See `Source`."""

    def _function(self, name: str) -> Function:
        if name not in self.functions:
            raise Skip(f"{name} is not offered")
        return self.functions[name]

    def _chosen(self, function: Function, inputs: Inputs) -> Inputs:
        return inputs | {name: getattr(self.profile, name) for name in function.choices}

    def _inputs(self, arguments: Mapping[str, Any]) -> Inputs:
        """The inputs again from what an adapter is given under our own conventions."""
        return {name: np.concatenate([np.zeros(1, value.dtype), value]) if name == "beta" else value
                for name, value in arguments.items()}
