"""A whole check: the adapter's conventions, every clause in the order of the derivation, and the report as plain data."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import MappingProxyType
from typing import Any
import platform
import re
import shlex
import warnings

import hypothesis
import numpy as np
import scipy

import refdpm
from refdpm.conformance import gradients, known, profile as profiles
from refdpm.conformance.adapter import Fault, Local, Skip, Source
from refdpm.conformance.chapters import LAWS, QUANTITIES
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.inference import infer
from refdpm.conformance.judge import VERDICTS, Effort, Result, judge, plain, skipped
from refdpm.conformance.report import failure_lines, surprises
from refdpm.conformance.subject import LIMIT, Subject

NAMES = frozenset(quantity.name for quantity in QUANTITIES) | {name for law in LAWS for name in law.needs} | {"vjp"}


class Session:
    """One adapter, its profile and what has been found so far."""

    def __init__(self, adapter: Any, *, effort: Effort = Effort(), profile: Mapping[str, Any] | None = None, flags: str = ""
                 ) -> None:
        self.source: Source = source_of(adapter)
        self.flags = flags                                     # with which the command was given, to reproduce a failure
        self.effort = effort
        self.subject = Subject(self.source, QUANTITIES)
        stated = profiles.stated_conventions(dict(self.source.stated) | dict(profile or {}))
        with _quietly():
            self.subject.profile, self.known = infer(self.subject, stated)
        self._results: dict[str, Result] = {}

    def value_results(self, quantity: Quantity) -> dict[str, Result]:
        """The verdicts on all outputs of a function, found once."""
        if f"{quantity.id}.{quantity.outputs[0].id}" not in self._results:
            self._results |= {result.id: result for result in judge(self.subject, quantity, self.effort)}
        return self._results

    def gradient_results(self, quantity: Quantity) -> dict[str, Result]:
        """The verdicts on the gradients of a function, found once."""
        if gradients.clause_ids(quantity)[0] not in self._results:
            if "vjp" not in self.subject.offers or quantity.name not in self.subject.offers:
                missing = "vjp" if "vjp" not in self.subject.offers else quantity.name
                found = skipped(gradients.clause_ids(quantity), f"{missing} is not offered")
            else:
                found = gradients.judge(self.subject, quantity, self.effort)
            self._results |= {result.id: result for result in found}
        return self._results

    def law_result(self, law: Law) -> Result:
        """The verdict on a law."""
        missing = [name for name in law.needs if name not in self.subject.offers]
        if missing:
            return Result(law.id, "skipped", reason=f"{', '.join(missing)} not offered")
        try:
            found = law.run(self.subject, self.subject.given, self.effort.seed)
        except Skip as skip:
            return Result(law.id, "skipped", reason=str(skip))
        except Fault as fault:
            return Result(law.id, "wrong", reason=str(fault))
        known = re.search(r"\(([A-Z]+-[0-9A-Za-z-]+)\)", found.reason) if found.ratio > 1 else None
        return Result(law.id, "pass" if found.ratio <= 1 else "wrong", float(found.ratio) * LIMIT,
                      mistake=known.group(1) if known else None, smallest_input=found.inputs, reason=found.reason)


class Clause:
    """A clause of one session: `result` is its `Result`, `check` raises AssertionError unless it passes or is skipped.

    `expected` is the reason why it is expected to fail; then it has to.
    """

    def __init__(self, session: Session, id: str, of: Quantity | Law, expected: str | None = None) -> None:
        self.session, self.id, self.of, self.expected = session, id, of, expected
        self.__name__ = id                                     # what pytest prints

    @cached_property
    def result(self) -> Result:
        """The verdict, found once."""
        with _quietly():
            if isinstance(self.of, Law):
                return self.session.law_result(self.of)
            return (self.session.gradient_results if self.id.startswith("GRAD.") else self.session.value_results)(self.of)[self.id]

    def check(self) -> None:
        """Raises: AssertionError with the report of this clause, or because it passes though it was expected to fail."""
        row = _row_of(self.result, self.session, {self.id: self.expected} if self.expected else {})
        if surprises(row):
            passes = f"{self.id} passes, but was expected to fail: {self.expected}"
            raise AssertionError(passes if self.expected else "\n".join(failure_lines(row)))

    def __repr__(self) -> str:
        return self.id


@contextmanager
def _quietly() -> Iterator[None]:
    """What overflows at an edge is seen in the verdict."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def source_of(adapter: Any) -> Source:
    """The source of a module, an object, or a source."""
    if hasattr(adapter, "offers") and hasattr(adapter, "call") and hasattr(adapter, "stated"):
        source: Source = adapter
        return source
    return Local(known.adapted(adapter, NAMES), names=NAMES)


def all_clauses() -> list[tuple[str, Quantity | Law]]:
    """The ids of all clauses and what each is of, in order."""
    values: Iterable[tuple[str, Quantity | Law]] = ((f"{quantity.id}.{output.id}", quantity)
                                                    for quantity in QUANTITIES for output in quantity.outputs)
    slopes = ((name, quantity) for quantity in QUANTITIES for name in gradients.clause_ids(quantity))
    return [*values, *((law.id, law) for law in LAWS), *slopes]


def clauses(adapter: Any, *, expected_failures: Mapping[str, str] = MappingProxyType({}), **options: Any) -> list[Clause]:
    """Every clause that the adapter offers something for; see `Session` for the options.

    `expected_failures` has a reason for every clause that fails for now; one that passes after all raises.
    """
    session = Session(adapter, **options)
    return [Clause(session, id, of, expected_failures.get(id)) for id, of in all_clauses()
            if session.subject.offers.issuperset(_names_needed(id, of))]


def _names_needed(id: str, of: Quantity | Law) -> set[str]:
    return set(of.needs) if isinstance(of, Law) else {of.name} | ({"vjp"} if id.startswith("GRAD.") else set())


def check(adapter: Any, *, only: str = "", expected_failures: Mapping[str, str] = MappingProxyType({}), **options: Any
          ) -> dict[str, Any]:
    """The whole report as plain data, with the keys that `refdpm check --json` prints; `only` is the beginning of the ids that run.

    exit_code: 0 if every clause that ran passes or fails as expected, 1 if not, 2 if nothing ran.
    """
    session = Session(adapter, **options)
    rows = [_row_of(Clause(session, id, of).result, session, expected_failures) for id, of in all_clauses() if id.startswith(only)]
    summary = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    ran = len(rows) - summary["skipped"]
    return {"adapter": session.source.name, "profile": session.subject.profile._asdict(), "known": session.known,
            "misspelt": session.source.misspelt() if hasattr(session.source, "misspelt") else [],
            "clauses": rows, "summary": summary, "versions": versions(), "seed": session.effort.seed,
            "exit_code": 2 if not ran else int(any(map(surprises, rows)))}


def _row_of(result: Result, session: Session, expected: Mapping[str, str]) -> dict[str, Any]:
    row = {key: plain(value) for key, value in result._asdict().items()}
    row["ratio"] = None if result.ratio is None else float(min(result.ratio, 1e300))
    row["expected"] = expected.get(result.id)
    command = (f"python -m refdpm check {shlex.quote(session.source.name)} --only {result.id} --seed {session.effort.seed} "
               f"--max-examples {session.effort.max_examples}{session.flags}")
    row["reproduce"] = command if result.verdict in ("wrong", "inaccurate") else None
    return row


def versions() -> dict[str, str]:
    """What this ran on."""
    return {"refdpm": refdpm.__version__, "python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__,
            "hypothesis": hypothesis.__version__}
