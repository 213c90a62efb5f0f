"""A whole check: the adapter's conventions, every clause in the order of the derivation, and the report as plain data."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib import metadata
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest import SkipTest
import json
import os
import platform
import re
import shlex
import sys
import time
import warnings

import numpy as np
import scipy

import refdpm
from refdpm.conformance import gradients, known, profile as profiles, questions, unknown
from refdpm.conformance.adapter import Fault, Local, Refusal, Skip, Source
from refdpm.conformance.causes import BY_CONVENTION, DISAGREES, Cause, builds_on, causes, function_of
from refdpm.conformance.chapters import LAWS, QUANTITIES
from refdpm.conformance.chapters.ddpm_bound import NO_MASS
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.inference import ALONE_IS_RIGHT, infer, right_with, sides, under
from refdpm.conformance.judge import (BOTH, VERDICTS, Effort, Result, judge, named_in_some_rows, plain, skipped, upstream_answers,
                                      with_where)
from refdpm.conformance.evidence import few_numbers, tidy
from refdpm.conformance.expected import with_reasons
from refdpm.conformance.glossary import called
from refdpm.conformance.report import FAILING, UNDECIDED, failure_lines, surprises
from refdpm.conformance.subject import LIMIT, Subject, bearing_on
from refdpm.workers import seldom_collecting

FLOW = ("this is the velocity of a straight path, noise − x_0 or x_0 − noise, as in flow matching; the kit knows velocity as "
        "v = √ᾱ_t ε − √(1−ᾱ_t) x_0, and this one under the name path_velocity")
UNITS_OF_TOTALS = ("unit", "reduction")                  # which are often meant together: bits for each component
NEXT = {"first": "next"}        # the variance at t = 1 is that at t = 2
FEW = 3                         # examples on which a mistake is looked for by other choices
NAMES = frozenset(quantity.name for quantity in QUANTITIES) | {name for law in LAWS for name in law.needs} | {"vjp"}


class Session:
    """One adapter, its profile and what has been found so far."""

    def __init__(self, adapter: Any, *, effort: Effort = Effort(), profile: Mapping[str, Any] | None = None, flags: str = ""
                 ) -> None:
        self.source: Source = source_of(adapter)
        self.flags = flags                                     # with which the command was given, to reproduce a failure
        self.effort = effort
        self.subject = Subject(self.source, QUANTITIES)
        stated = _stated_by(self.source) | profiles.stated_conventions(dict(profile or {}), NAMES)
        with _quietly():
            self.subject.profile, self.subject.known = infer(self.subject, stated)
        self._results: dict[str, Result] = {}

    def value_results(self, quantity: Quantity) -> dict[str, Result]:
        """The verdicts on all outputs of a function, found once."""
        if value_ids(quantity)[0] not in self._results:
            found = judge(self.subject, quantity, self.effort)
            if self._is_flow(quantity, found):
                found = skipped([result.id for result in found], FLOW)
            if all(result.reason == NO_MASS for result in found):
                found = self._with_another_last_variance(quantity)
            if any(result.verdict == "wrong" for result in found):
                found = self._with_conventions(quantity, found)
                if not _are_explained(found) and not self._has_others_to_blame(quantity, found):
                    found = self._with_names_by_other_choices(quantity, found)
                    found = named_in_some_rows(self.subject, quantity, found, self.effort)
                    found = [self._with_question(quantity, result) for result in found]
                found = [self._in_our_time(quantity, result) for result in found]
            found = [self._of_the_others_laws(quantity, result) for result in found]
            self._results |= {result.id: self._with_answers(quantity, at, result) for at, result in enumerate(found)}
        return self._results

    def _judged_with(self, quantity: Quantity, choices: Mapping[str, Any], effort: Effort) -> list[Result]:
        """The verdicts on a function if it has some choices of its own."""
        with under(self.subject, self.subject.profile.with_own(quantity.name, choices)):
            return judge(self.subject, quantity, effort)

    def _adopted(self, quantity: Quantity, choices: Mapping[str, Any], results: list[Result]) -> list[Result]:
        """The results by choices that gave a wrong function its name: those are taken for its own from now on, which is said."""
        self.subject.profile = self.subject.profile.with_own(quantity.name, choices)
        self.subject.known |= {f"{quantity.name}.{field}": "guessed from its mistake" for field in choices}
        says = f"if its {' and its '.join(f'{field} is {value}' for field, value in choices.items())}"
        return [with_where(result, result.where, says) for result in results]

    def _in_our_time(self, quantity: Quantity, result: Result) -> Result:
        """A mistake of a path whose data are at t = 1, of which names speak as if they were at t = 0."""
        inputs = result.smallest_input or {}
        mirrored = "data_at" in bearing_on(quantity, inputs) and self.subject.profile.of(quantity.name).data_at
        return with_where(result, "said with t = 0 at the data", result.where) if mirrored and result.mistake else result

    def _with_conventions(self, quantity: Quantity, found: list[Result]) -> list[Result]:
        """The failures of a function that would be right under another convention, on all inputs, with how that is stated."""
        own, quick = self.subject.profile.of(quantity.name), self.effort._replace(pairs=False, shrinks=0)
        wrong_at = [result.smallest_input for result in found if result.verdict == "wrong" and result.smallest_input is not None]
        others = right_with(self.subject, quantity, own, [(field,) for field in profiles.VALUES], wrong_at=wrong_at)
        right = next((choices for choices in others if all(
            result.verdict in ("pass", "undecided") for result in self._judged_with(quantity, choices, quick))), None)
        if right is None:
            return found
        if all(self.subject.known[field] == "undetermined" for field in right):
            return self._inferred_from_all(quantity, right)
        stated = _stating(quantity, right)
        disagrees = self._in_disagreement(quantity, right, own)
        if disagrees:
            return [result._replace(mistake=None, also=(), where="", reason=f"{disagrees}; if both are meant so, {stated}")
                    if result.verdict == "wrong" else result for result in found]
        says = f"{BY_CONVENTION}: if that is meant, {stated}"
        return [result._replace(reason="; ".join(filter(None, [result.reason, says]))) if result.verdict == "wrong" else result
                for result in found]

    def _inferred_from_all(self, quantity: Quantity, choices: Mapping[str, Any]) -> list[Result]:
        """The results by choices that the probes did not tell, as where they are refused, and by which all inputs are right."""
        self.subject.profile = self.subject.profile.with_own(quantity.name, choices)
        self.subject.known |= {f"{quantity.name}.{field}": ALONE_IS_RIGHT for field in choices}
        return judge(self.subject, quantity, self.effort)

    def _in_disagreement(self, quantity: Quantity, choices: Mapping[str, Any], own: profiles.Profile) -> str:
        """That a function is right in its own way and others in theirs, where as many are right in the one as in the other, so that
        nothing tells which of them is wrong; nothing where most tell."""
        if any(self.subject.known[field] == "stated" for field in choices):
            return ""
        ours, theirs = sides(self.subject, choices)
        if not ours or len(ours) > len({*theirs, quantity.name}):
            return ""
        (field, value), = choices.items()
        others = " and ".join(ours)
        return (f"{DISAGREES} {others}: it is right if {field} is {value}, and {others} if {field} is {getattr(own, field)}, "
                "so that one of them is wrong")

    def _with_names_by_other_choices(self, quantity: Quantity, found: list[Result]) -> list[Result]:
        """The results, or if another choice gives all of them a name, those by that choice, which is said.

        Only what nothing has told is chosen anew, one thing at a time, or the unit and the reduction together: a wrong function
        tells nothing of its own choices.
        """
        effort = self.effort._replace(power=False, pairs=False, max_examples=min(self.effort.max_examples, FEW))
        for choices in self._other_choices(quantity):
            again = self._judged_with(quantity, choices, effort)
            failing = [new for old, new in zip(found, again) if "wrong" in (old.verdict, new.verdict)]
            if all(new.mistake and new.verdict == "wrong" for new in failing):
                return self._adopted(quantity, choices, again)
        return found

    def _with_question(self, quantity: Quantity, result: Result) -> Result:
        """A failure without a name, with what the network is asked that it should not be."""
        inputs = result.smallest_input
        if result.verdict != "wrong" or result.mistake or inputs is None:
            return result
        asked = questions.asked_otherwise(self.subject, quantity, inputs)
        return result._replace(reason="; ".join(filter(None, [asked, result.reason])))

    def _has_others_to_blame(self, quantity: Quantity, found: list[Result]) -> bool:
        """Whether something that a wrong function builds on is wrong, and it cannot be judged given that: then that is to blame."""
        below = [one for one in self.subject.functions.values() if one.name in builds_on(quantity.name)]
        earlier = [self.value_results(one)[id] for one in below for id in value_ids(one)
                   if one.name in quantity.after or id in self._results]
        inputs = next((one.smallest_input for one in found if one.verdict == "wrong" and one.smallest_input is not None), None)
        shown = inputs is not None and upstream_answers(self.subject, quantity, inputs) is not None
        return not shown and any(one.verdict == "wrong" for one in earlier)

    def _other_choices(self, quantity: Quantity) -> list[dict[str, Any]]:
        """What a function may mean otherwise, of all that nothing has told; and its unit, which others do not tell of this one."""
        of_outputs = [field for output in quantity.outputs for field in profiles.KINDS.get(output.kind, ())]
        known = self.subject.known
        untold = [field for field in dict.fromkeys([*quantity.choices, *of_outputs])
                  if known[field] == "guessed" or field == "unit" and known[field] == "inferred"
                  or known[field] == "undetermined" and (field in quantity.choices or field in UNITS_OF_TOTALS)]
        own = self.subject.profile.of(quantity.name)
        others = {field: [value for value in profiles.VALUES[field] if value != getattr(own, field)] for field in untold}
        found = [{field: value} for field, values in others.items() for value in values]
        if others.keys() >= set(UNITS_OF_TOTALS):
            found += [dict(zip(UNITS_OF_TOTALS, values)) for values in product(*(others[field] for field in UNITS_OF_TOTALS))]
        return found

    def _with_answers(self, quantity: Quantity, at: int, result: Result) -> Result:
        """A failure with what came and what should have come, where the judge did not keep it."""
        if result.verdict not in FAILING or result.smallest_input is None or result.observed is not None:
            return result
        inputs = result.smallest_input
        with suppress(Skip, Fault, ValueError):
            result = result._replace(right=self.subject.right(quantity, inputs)[at])
            result = result._replace(observed=self.subject.ask(quantity.name, inputs).values[at])
        return result

    def _with_another_last_variance(self, quantity: Quantity) -> list[Result]:
        """The results on what needs a variance at t = 1 that is more than nothing, with that which most programs take there.

        It was not right with it: what is wrong and has a name is so; of what has none nobody knows which variance is meant.
        """
        again = self._judged_with(quantity, NEXT, self.effort)
        if all(result.verdict == "wrong" and result.mistake for result in again):
            return self._adopted(quantity, NEXT, again)
        says = f"{NO_MASS}; if it has another variance there, {_stating(quantity, NEXT)}"
        return [Result(result.id, "undecided", reason=says) for result in again]

    def _of_the_others_laws(self, quantity: Quantity, result: Result) -> Result:
        """A draw that would be right if it were given logarithms, or probabilities, and is given what the other functions answer:
        somebody has forgotten the logarithm."""
        draws = all(output.kind == "integer" for output in quantity.outputs)
        alone = self.subject.known.get(f"{quantity.name}.categories") == ALONE_IS_RIGHT
        if not (draws and alone and self.subject.known["categories"] == "inferred" and result.verdict == "pass"):
            return result
        own, others = self.subject.profile.of(quantity.name).categories, self.subject.profile.categories
        says = (f"{DISAGREES} the other functions: it is right if its law comes as {own}, but theirs comes as {others}, so that it "
                f"draws from another law; if both are meant so, {_stating(quantity, {'categories': own})}")
        return result._replace(verdict="wrong", reason=says)

    def _is_flow(self, quantity: Quantity, found: list[Result]) -> bool:
        """Whether a function is not our v, but the velocity of a straight path: noise − x_0 or x_0 − noise."""
        if quantity.name != "velocity" or not any(result.verdict in FAILING for result in found):
            return False
        try:
            signs = [self._sign_of_flow(inputs) for inputs in self.subject.edges(quantity)]
        except (Skip, Fault):
            return False
        return len(set(signs)) == 1 and signs[0] != 0

    def _sign_of_flow(self, inputs: Mapping[str, Any]) -> int:
        answer, = self.subject.ask("velocity", dict(inputs)).values
        straight = inputs["noise"] - inputs["x_0"]
        return next((sign for sign in (1, -1) if np.allclose(answer, sign * straight, rtol=1e-2, atol=1e-6)), 0)

    def gradient_results(self, quantity: Quantity) -> dict[str, Result]:
        """The verdicts on the gradients of a function, found once."""
        if gradients.clause_ids(quantity)[0] not in self._results:
            if "vjp" not in self.subject.offers or quantity.name not in self.subject.offers:
                missing = "vjp" if "vjp" not in self.subject.offers else quantity.name
                found = skipped(gradients.clause_ids(quantity), f"{missing} is not offered")
            elif any(self.value_results(quantity)[id].reason == FLOW for id in value_ids(quantity)):
                found = skipped(gradients.clause_ids(quantity), FLOW)
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
        except Refusal as refusal:
            return Result(law.id, "not checked", reason=str(refusal))
        except Fault as fault:
            return Result(law.id, "wrong", reason=str(fault))
        known = re.search(r"\(([A-Z]+-[0-9A-Za-z-]+)\)", found.reason) if found.ratio > 1 else None
        verdict = "wrong" if found.ratio > 1 else "undecided" if found.is_open else "pass"
        return Result(law.id, verdict, float(found.ratio) * LIMIT, mistake=known.group(1) if known else None,
                      smallest_input=found.inputs, reason=found.reason)


def _are_explained(found: list[Result]) -> bool:
    """Whether everything that is wrong has a name, of one mistake, or is what two functions disagree in."""
    return all(result.mistake and BOTH not in result.mistake or result.reason.startswith(DISAGREES) or result.verdict != "wrong"
               for result in found)


def _stating(quantity: Quantity, choices: Mapping[str, Any]) -> str:
    """How an adapter states choices of one function."""
    return f"state profile = {json.dumps({f'{quantity.name}.{field}': value for field, value in choices.items()})}"


class Clause:
    """A clause of one session: `result` is its `Result`; `check` raises AssertionError if it fails, SkipTest if it is undecided.

    `expected` is the reason why it is expected to fail; then it has to, and in pytest it is an xfail.
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

    @property
    def row(self) -> dict[str, Any]:
        """What the report says of this clause: one of its `clauses`."""
        return _row_of(self.result, self.of, self.session, {self.id: self.expected} if self.expected else {})

    def check(self) -> None:
        """Raises: AssertionError with the report of this clause, or because it passes though it was expected to fail;
        unittest.SkipTest, which pytest shows as a skipped test, with the reason if the clause was not decided."""
        __tracebackhide__ = True                               # pytest shows the line that called this
        row = self.row
        if row["verdict"] in UNDECIDED:
            raise SkipTest(f"{row['verdict']}: {row['reason']}")
        if row["verdict"] not in FAILING and self.expected:
            raise AssertionError(f"{self.id} passes, but was expected to fail: {self.expected}")
        if row["verdict"] in FAILING and not (self.expected and _is_accepted(self.expected)):
            raise AssertionError("\n".join(failure_lines(row)))

    def __repr__(self) -> str:
        return self.id


def _is_accepted(reason: str) -> bool:
    """Whether an expected failure is no failure: everywhere but in `pytest --runxfail`.   In pytest it raises what means xfail."""
    __tracebackhide__ = True
    pytest = sys.modules.get("pytest") if "PYTEST_CURRENT_TEST" in os.environ else None
    if pytest is None:
        return True
    pytest.xfail(reason)
    return False


@contextmanager
def _quietly() -> Iterator[None]:
    """What overflows at an edge is seen in the verdict."""
    with np.errstate(all="ignore"), warnings.catch_warnings(), seldom_collecting():
        warnings.simplefilter("ignore")
        yield


def source_of(adapter: Any) -> Source:
    """The source of a module, an object, or a source."""
    if hasattr(adapter, "offers") and hasattr(adapter, "call") and hasattr(adapter, "stated"):
        source: Source = adapter
        return source
    return Local(known.adapted(adapter, NAMES), names=NAMES)


def value_ids(quantity: Quantity) -> list[str]:
    """The ids of the clauses on the outputs of a quantity."""
    return [f"{quantity.id}.{output.id}" for output in quantity.outputs]


def all_clauses() -> list[tuple[str, Quantity | Law]]:
    """The ids of all clauses and what each is of, in order."""
    values: Iterable[tuple[str, Quantity | Law]] = ((id, quantity) for quantity in QUANTITIES for id in value_ids(quantity))
    slopes = ((name, quantity) for quantity in QUANTITIES for name in gradients.clause_ids(quantity))
    return [*values, *((law.id, law) for law in LAWS), *slopes]


def clauses(adapter: Any, *, expected_failures: Mapping[str, str] = MappingProxyType({}), **options: Any) -> list[Clause]:
    """Every clause that the adapter offers something for; see `Session` for the options.

    `expected_failures` has a reason for every clause that fails for now; one that passes after all raises.
    Raises: ValueError for an expected failure that is no clause, or has no reason.
    """
    expected = with_reasons(expected_failures, dict(all_clauses()))
    session = Session(adapter, **options)
    return [Clause(session, id, of, expected.get(id)) for id, of in all_clauses()
            if session.subject.offers.issuperset(names_needed(id, of))]


class Planned(NamedTuple):
    """A clause before it is asked: in words, and which functions it misses; none if it would be asked."""

    id: str
    called: str
    missing: list[str]


def planned(source: Source, only: str | Sequence[str] = "") -> list[Planned]:
    """What would be asked of an adapter, and what not; nothing is called."""
    offers = source.offers()
    return [Planned(id, _called(id, of), sorted(names_needed(id, of) - offers)) for id, of in all_clauses()
            if id.startswith(beginnings(only))]


def names_needed(id: str, of: Quantity | Law) -> set[str]:
    """The functions that an adapter must offer for a clause to be asked."""
    return set(of.needs) if isinstance(of, Law) else {of.name} | ({"vjp"} if id.startswith("GRAD.") else set())


class Step(NamedTuple):
    """A clause that has its verdict: the `number`-th of the `total` for which all is offered that it needs; what is found for
    several at once is in the time of the first."""

    id: str
    number: int
    total: int
    seconds: float


def check(adapter: Any, *, only: str | Sequence[str] = "", expected_failures: Mapping[str, str] = MappingProxyType({}),
          watch: Callable[[Step], None] = lambda step: None, **options: Any) -> dict[str, Any]:
    """The whole report as plain data, with the keys that `refdpm check --json` prints.

    only        the beginning of the ids that run, or several of them
    watch       is called after every clause that is asked
    exit_code   0 if something passes or fails as expected and nothing else fails; 1 if something fails; 2 if nothing was
                decided, or if a function that is offered could not be asked

    Raises: ValueError for an expected failure that is no clause, or has no reason; Stopped, with the report so far, when it is
    interrupted.
    """
    expected = with_reasons(expected_failures, dict(all_clauses()))
    session = Session(adapter, **options)
    of = {id: one for id, one in all_clauses() if id.startswith(beginnings(only))}
    asked = {id for id, one in of.items() if session.subject.offers.issuperset(names_needed(id, one))}
    rows: list[dict[str, Any]] = []
    number = 0
    try:
        for id, one in of.items():
            started = time.perf_counter()
            rows.append(Clause(session, id, one, expected.get(id)).row)
            if id in asked:
                number += 1
                watch(Step(id, number, len(asked), time.perf_counter() - started))
    except KeyboardInterrupt as interrupt:
        raise Stopped(_report(session, rows, of) | {"stopped": {"looked_at": number, "of": len(asked)}}) from interrupt
    return _report(session, rows, of)


class Stopped(KeyboardInterrupt):
    """A check that was interrupted: `report` is what had been found until then, with the key "stopped"."""

    def __init__(self, report: dict[str, Any]) -> None:
        super().__init__(report)
        self.report = report


def _report(session: Session, rows: list[dict[str, Any]], of: Mapping[str, Quantity | Law]) -> dict[str, Any]:
    found = causes([row for row in rows if row["verdict"] in FAILING and surprises(row)], of)
    summary = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    return {"adapter": session.source.name, "profile": session.subject.profile.stated(), "known": session.subject.known,
            "causes": [_plain_cause(cause) for cause in found], "not_known": _not_known(session.source),
            "not_looked_at": [str(name) for name in getattr(session.source, "unasked", ())],
            "further_outputs": dict(sorted(session.subject.further.items())),
            "clauses": rows, "summary": summary, "versions": versions(), "seed": session.effort.seed,
            "exit_code": _exit_code(rows)}


def _stated_by(source: Source) -> dict[str, Any]:
    """The conventions that an adapter states.   Raises: ValueError naming it for others than there are."""
    try:
        return profiles.stated_conventions(dict(source.stated), NAMES)
    except ValueError as error:
        raise ValueError(f"adapter: {source.name}: {error}") from None


def beginnings(only: str | Sequence[str]) -> tuple[str, ...]:
    """How the ids begin that run; all of them if nothing is said."""
    return (only,) if isinstance(only, str) else tuple(only) or ("",)


def _exit_code(rows: Sequence[Mapping[str, Any]]) -> int:
    if any(map(surprises, rows)):
        return 1
    if any(row["verdict"] == "not checked" and row["kind"] == "value" for row in rows):
        return 2
    decided = [row["id"] for row in rows if row["verdict"] not in UNDECIDED]
    return 0 if something_decided(decided, [row["id"] for row in rows]) else 2


def something_decided(decided: Iterable[str], asked: Iterable[str]) -> bool:
    """Whether any of the clauses that were asked was decided; those of purity count only where no others were asked."""
    purity_alone = all(id.startswith("PURE.") for id in asked)
    return any(purity_alone or not id.startswith("PURE.") for id in decided)


def _plain_cause(cause: Cause) -> dict[str, Any]:
    return {"first": cause.first["id"], "also": [row["id"] for row in cause.also]}


def _not_known(source: Source) -> list[dict[str, str | None]]:
    """The functions of the adapter's own that no clause looks at, each with the name that it may be meant for."""
    names = unknown.unknown_functions(source.target, NAMES) if isinstance(source, Local) else getattr(source, "not_known", ())
    return [{"name": tidy(name), "nearest": unknown.nearest(name, NAMES)} for name in names]


def _row_of(result: Result, of: Quantity | Law, session: Session, expected: Mapping[str, str]) -> dict[str, Any]:
    row = {key: plain(value) for key, value in result._asdict().items()}
    row["ratio"] = None if result.ratio is None else float(min(result.ratio, 1e300))
    if result.power and result.power["factor"] == np.inf:               # of an answer that is 0
        row["power"]["factor"] = None
    row["reason"] = tidy(result.reason)
    row |= few_numbers(result.observed, result.right, result.smallest_input or {})
    row["converted"] = _conversion_text(result.id, of, session) if result.observed is not None else ""
    row["function"] = function_of(row, of)
    row["kind"] = "law" if isinstance(of, Law) else "gradient" if result.id.startswith("GRAD.") else "value"
    row["called"] = _called(result.id, of)
    row["expected"] = expected.get(result.id)
    command = (f"python -m refdpm check {shlex.quote(session.source.name)} --only {result.id} --seed {session.effort.seed} "
               f"--max-examples {session.effort.max_examples}{session.flags}")
    row["reproduce"] = command if result.verdict in FAILING else None
    return row


def _conversion_text(id: str, of: Quantity | Law, session: Session) -> str:
    """In which form the numbers of a report are, where the adapter answers in another one."""
    if isinstance(of, Law) or id.startswith("GRAD."):
        return ""
    kind = next(output.kind for output in of.outputs if id == f"{of.id}.{output.id}")
    ours, theirs = profiles.Profile(), session.subject.profile.of(of.name)
    others = [field for field in profiles.KINDS.get(kind, ()) if getattr(ours, field) != getattr(theirs, field)]
    (here, there) = (", ".join(str(getattr(profile, field)) for field in others) for profile in (ours, theirs))
    return f"these are in {here}; the adapter answers in {there}" if others else ""


def _called(id: str, of: Quantity | Law) -> str:
    """A clause in words; a law is the sentence that should hold."""
    if isinstance(of, Law):
        return of.says
    if id.startswith("GRAD."):
        argument = of.arguments[gradients.clause_ids(of).index(id)]
        return f"the gradient of {called(of.name)} with respect to {argument}"
    return called(of.name, id.rpartition(".")[2])


def versions() -> dict[str, str]:
    """What this ran on."""
    return {"refdpm": refdpm.__version__, "python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__,
            "hypothesis": metadata.version("hypothesis")}
