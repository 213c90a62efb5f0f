"""The chapters: what an implementation is asked for, topic by topic, each after those that it builds on.

A chapter is a file.  Its quantities, laws and mistakes, and the ends of the pairs that it is about, are found by what they are.
`quantity`, `theory`, `inputs` and `ends` are no chapters: they are what chapters are written in.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any
import importlib

from refdpm.conformance.chapters.ends import Sampler
from refdpm.conformance.chapters.quantity import Law, Quantity

CONTENTS = ("schedule", "gaussian", "binomial", "categorical", "parametrisation", "reverse", "bound", "bound_mistakes", "decoder",
            "ddpm_bound", "training", "bits_bound", "likelihood", "objective", "sampler", "sigma", "solver", "path",
            "layers", "layers_mistakes", "networks", "use", "data", "product", "guidance", "laws", "sampler_laws",
            "categorical_laws", "purity")
"""The topics, in order."""


def _chapter(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def in_chapters(kind: type, *names: str) -> Iterator[Any]:
    """Everything of a kind that stands in one of these chapters, or in any, by itself or in a tuple: once each, in the order in
    which it is written."""
    seen: set[int] = set()
    for name in names or CONTENTS:
        for member in list(vars(_chapter(name)).values()):
            for one in (member if type(member) is tuple else (member,)):
                if isinstance(one, kind) and id(one) not in seen:
                    seen.add(id(one))
                    yield one


QUANTITIES: tuple[Quantity, ...] = tuple(in_chapters(Quantity))
LAWS: tuple[Law, ...] = tuple(in_chapters(Law))
ENDS: dict[str, Sampler | tuple[Sampler, ...]] = {
    name: samplers for chapter in CONTENTS for name, samplers in getattr(_chapter(chapter), "ENDS", {}).items()}
