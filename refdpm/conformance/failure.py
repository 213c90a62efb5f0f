"""A failing input in a file, to look at in a debugger:   python -m refdpm check your_adapter.py --dump failure.npz

    from refdpm.conformance import failure
    case = failure.load("failure.npz")
    print(case.call(), "expected:", case.right)

The input is in this package's conventions, as in the report.  In an .npz file every argument is an array of its own; a .json file
holds the same as text.
"""

from pathlib import Path
from typing import Any, NamedTuple
import io
import json

import numpy as np

from refdpm.conformance import gradients, remote, session
from refdpm.conformance.adapter import Model, Network, Source
from refdpm.conformance.chapters.inputs import Inputs
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.profile import profile_from
from refdpm.conformance.subject import Subject
from refdpm.vjp import Array

ABOUT = ("adapter", "isolate", "clause", "function", "profile")


class Case(NamedTuple):
    """A clause, the adapter's function that it is about, and an input at which it fails."""

    clause: str
    function: str
    of: Quantity | Law
    subject: Subject
    inputs: Inputs

    @property
    def adapter(self) -> Source:
        """Where the answers come from."""
        return self.subject.source

    @property
    def arguments(self) -> dict[str, Any]:
        """What the adapter's function is given: in the adapter's own conventions and precision."""
        return self.subject.arguments(self.function, self._asked)

    @property
    def _asked(self) -> Inputs:
        """The inputs of the function itself."""
        more = ("cotangents", *getattr(self.of, "choices", ()))
        return {name: value for name, value in self.inputs.items() if name not in more}

    def call(self) -> Any:
        """What the adapter answers, in this package's conventions; for a law, whatever its function returns."""
        if isinstance(self.of, Law):
            return self.subject.raw(self.function, self.arguments)
        if self.clause.startswith("GRAD."):
            found, _ = gradients.their_gradients(self.subject, self.of, self._asked, self.subject.chosen(self.of, self.inputs))
            return found[_argument_of(self.clause, self.of)]
        return self.subject.ask(self.function, self.inputs).values[_output_of(self.clause, self.of)]

    @property
    def right(self) -> Array | None:
        """What it should answer; None for a law, which is no value."""
        if isinstance(self.of, Law):
            return None
        if self.clause.startswith("GRAD."):
            return gradients.gradient(self.of, self.subject.chosen(self.of, self.inputs))[_argument_of(self.clause, self.of)]
        return self.subject.right(self.of, self.inputs)[_output_of(self.clause, self.of)]


def _output_of(clause: str, of: Quantity) -> int:
    return [f"{of.id}.{output.id}" for output in of.outputs].index(clause)


def _argument_of(clause: str, of: Quantity) -> str:
    return of.arguments[gradients.clause_ids(of).index(clause)]


# -- to a file ---------------------------------------------------------------------------------------------------------

def contents(report: dict[str, Any], *, isolate: bool = False) -> dict[str, Any] | None:
    """What a file says of the first failure of a report that has an input; None if there is none."""
    first = [cause["first"] for cause in report["causes"]]
    rows = sorted((row for row in report["clauses"] if row["id"] in first and row["smallest_input"]),
                  key=lambda row: first.index(row["id"]))
    if not rows:
        return None
    return {"adapter": report["adapter"], "isolate": isolate, "clause": rows[0]["id"], "function": rows[0]["function"],
            "profile": report["profile"], "inputs": rows[0]["smallest_input"]}


def snippet(path: str | Path) -> list[str]:
    """Three lines of Python that ask the adapter again."""
    return ["from refdpm.conformance import failure", f"case = failure.load({str(path)!r})",
            'print(case.call(), "expected:", case.right)']


def as_bytes(found: dict[str, Any], suffix: str) -> bytes:
    """The file, by the end of its name: .npz or .json."""
    if suffix == ".json":
        return json.dumps(found, allow_nan=False, indent=1).encode()
    buffer = io.BytesIO()
    arrays = dict(_flattened(found["inputs"]))
    np.savez(buffer, about=np.array(json.dumps({name: found[name] for name in ABOUT})), **arrays)
    return buffer.getvalue()


def _flattened(inputs: dict[str, Any], before: str = "") -> Any:
    """Every number and array by its name; "model.weight" for a part of the network, "cotangents.0" for one of several."""
    for name, value in inputs.items():
        if name == "cotangents":
            yield from ((f"{before}{name}.{n}", np.array(part)) for n, part in enumerate(value))
        elif isinstance(value, dict):
            yield from _flattened(value, f"{before}{name}.")
        else:
            yield before + name, np.array(value)


# -- from a file -------------------------------------------------------------------------------------------------------

def load(path: str | Path) -> Case:
    """The failure in a file that `refdpm check --dump` wrote; the adapter is loaded from where it was then.

    Raises: ValueError if the file is none of that kind, or the adapter cannot be loaded.
    """
    about, inputs = _read(Path(path))
    of = dict(session.all_clauses()).get(about["clause"])
    if of is None:
        raise ValueError(f"{path}: expected a clause of this version of refdpm, got {about['clause']!r}")
    source = remote.open_source(about["adapter"], isolate=about["isolate"], timeout=60.0, names=session.NAMES)
    subject = Subject(source, session.QUANTITIES, profile_from(about["profile"]))
    return Case(about["clause"], about["function"], of, subject, inputs)


def _read(path: Path) -> tuple[dict[str, Any], Inputs]:
    try:
        if path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
            about, arrays = found, dict(_flattened(found["inputs"]))
        else:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            about = json.loads(str(arrays.pop("about")))
        return {name: about[name] for name in ABOUT}, _inputs(arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a file that `refdpm check --dump` wrote, got another one ({error})") from None


def _inputs(arrays: dict[str, Array]) -> Inputs:
    inputs: Inputs = {name: value if value.ndim else value.item() for name, value in arrays.items() if "." not in name}
    if "model.weight" in arrays:
        inputs["model"] = Model(arrays["model.weight"], arrays["model.bias"], int(arrays["model.first_t"]))
    if "network.centre" in arrays:
        inputs["network"] = Network(str(arrays["network.says"]), arrays["network.centre"], arrays["network.spread"])
    cotangents = [arrays[f"cotangents.{n}"] for n in range(len(arrays)) if f"cotangents.{n}" in arrays]
    return inputs | ({"cotangents": tuple(cotangents)} if cotangents else {})
