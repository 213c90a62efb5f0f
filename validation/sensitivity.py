"""Claim: what passes has been looked at: of every clause on values, in float64 and in float32, with tables in either precision, on
short schedules and on the cosine and the linear one of T = 1000, the answer times 0 never passes; and an error of 1 % at any t, or
of 0.1 % at t >= 100 in what belongs to one step, is seen, or the clause is undecided and says how large an error it would not see.

Three adapters answer right: this package's functions in float64, the same rounded to float32, and the printed textbook in float32
with tables that are made in float32 too.  The answers of one function after another are multiplied by 0, of the last of each
precision.  The smallest error that would have been seen is what the kit itself states for each clause (`Result.power`); for some
clauses, --verify of them, it is checked by an answer that is right but for a rounding and really multiplied, at the t where most
would be overlooked.  Of a clause that passes 5 % more than stated must not pass (it may be undecided, with a larger number); of one
that is undecided it must be wrong or inaccurate; half as much must be neither.

Laws, gradients and, at T = 1000, the chains `sample` and `ddim_sample` are left out: those chains take minutes each.  The rest
takes five minutes on two cores.

    python validation/sensitivity.py [--only GAU] [--schedules short] [--verify 12] [--max-examples 5]
"""

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple
from unittest import mock
import argparse
import re
import sys
import time
import warnings

import numpy as np

from claim import claim_of, conclude, row

from refdpm import schedule
from refdpm.conformance import naming
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.inputs import LINEAR, LONG, Given, rates
from refdpm.conformance.judge import Effort, Result, judge
from refdpm.conformance.power import smallest_factor
from refdpm.conformance.precision import UNITS
from refdpm.conformance.reference import LAWFUL, Reference
from refdpm.conformance.subject import Subject
from refdpm.textbook.expression import evaluate
from refdpm.textbook.values import FLOATS, Plain

SCHEDULES = {"short": None, "cosine": rates(schedule.cosine(LONG)[1:]), "linear": LINEAR}
CHAINS = ("sample", "ddim_sample")
EVERYWHERE, LATE, FROM = 0.01, 0.001, 100         # what has to be seen at every t; and from which t on what of one step
SHARES = (1.05, 1.25, 1.5, 2.0, 4.0, 16.0, 256.0)
TRUE = 1.05                                       # of SHARES, what a stated error may be short of the one that is caught
WHOLE_NUMBERS = ("times", "integer")             # kinds of answers that are the same when they are multiplied by almost 1
NO_PASS = ("undecided", "inaccurate", "wrong")


# -- adapters that are right, but for one answer ---------------------------------------------------------------------------

class Planted(NamedTuple):
    """Which outputs of a function are multiplied, all of them where `at` is None; at one t only where that is given."""

    name: str
    factor: float
    at: int | None = None
    t: int | None = None


class Single(Plain):
    """Arithmetic in float32, with columns from tables that are made in float32."""

    def at(self, one, parts, page):
        """See `Plain`."""
        if one.op != "column":
            return super().at(one, parts, page)
        rows = page.rows(one.how._replace(shift=0))
        table = single_tables(page.beta)[one.how.name]
        found = table[np.clip(rows + one.how.shift, 0, len(table) - 1)]
        return found.reshape(rows.shape if rows.ndim == 0 else rows.shape + (1,) * (page.ndim - rows.ndim))


def single_tables(beta):
    """β, 1 − β, ᾱ and t for t = 0..T, as a program has them that computes in float32."""
    beta = np.asarray(beta, dtype=np.float32)
    alpha = np.float32(1) - beta
    return {"beta": beta, "alpha": alpha, "alpha_bar": np.cumprod(alpha, dtype=np.float32),
            "t": np.arange(len(beta), dtype=np.float32)}


SINGLE = Single(lambda how: np.float32(FLOATS.number(how)), lambda x: FLOATS.array(x).astype(np.float32),
                FLOATS.call, FLOATS.quotient)


class Adapter(Reference):
    """A right implementation, but for what is planted.   `way`: how it computes.

    exact     this package's functions in float64, the answers rounded to the adapter's precision
    printed   the textbook's formulas in float32, with tables in float32; what they make infinite there is taken from `exact`
    """

    def __init__(self, dtype: str, way: str, beta: Any) -> None:
        super().__init__(dtype)
        self.way, self.beta = way, beta
        self.planted: Planted | None = None

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """See `Source`."""
        found = super().call(name, widened(arguments) if self.way == "exact" else arguments)
        planted = self.planted
        if name in LAWFUL or planted is None or planted.name != name:
            return found
        return tuple(times(part, planted, arguments) if planted.at in (None, at) else part for at, part in enumerate(found))

    def _values(self, quantity: Any, arguments: Mapping[str, Any]) -> Any:
        inputs = self._with_choices(quantity, self._inputs_from(arguments))
        formulas = quantity.formulas(inputs) if self.way == "printed" else ()
        if not formulas:
            return super()._values(quantity, arguments)
        exact = quantity.reference(widened(inputs))
        with np.errstate(all="ignore"):
            found = evaluate(formulas, SINGLE, quantity.page(inputs))
            return tuple(self._in_dtype(np.where(np.isfinite(value), value, right)) for value, right in zip(found, exact))


def widened(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same numbers in float64."""
    return {name: value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype == np.float32 else value
            for name, value in arguments.items()}


def times(part: Any, planted: Planted, arguments: Mapping[str, Any]) -> Any:
    """An answer times the factor, or its rows at one t; a table has a row for each from 1 on."""
    part = np.asarray(part)
    if planted.t is None:
        return (part * planted.factor).astype(part.dtype)
    rows = np.asarray(arguments.get("t", np.arange(1, len(part) + 1))) == planted.t
    return np.where(rows.reshape(-1, *[1] * (part.ndim - 1)), part * planted.factor, part).astype(part.dtype)


class Examined(Subject):
    """A subject whose answers are asked for anew each time; the right ones and their scales are kept."""

    def remembered(self, quantity: Any, inputs: Any) -> Any:
        return self.raw(quantity.name, self.arguments(quantity.name, inputs))


# -- one clause --------------------------------------------------------------------------------------------------------

class Row(NamedTuple):
    """What a clause shows on one schedule, of one adapter; `times_0` is its verdict when the answer is 0, if that was asked."""

    clause: str
    adapter: str
    schedule: str
    verdict: str
    times_0: str
    anywhere: float
    late: float | None
    late_t: int | None
    of_one_step: bool
    reason: str


def depends_on_a_schedule(quantity: Any) -> bool:
    """Whether the inputs of a function have a schedule."""
    return any("beta" in inputs for inputs in quantity.edges(Given()))


def asked_of(quantities: Any, name: str) -> list[Any]:
    """The functions that are asked on a schedule: all of them on short ones, those of which it is an input on long ones."""
    return [quantity for quantity in quantities
            if name == "short" or quantity.name not in CHAINS and depends_on_a_schedule(quantity)]


def verdicts(subject: Subject, quantity: Any, effort: Effort, planted: Planted | None) -> list[Result]:
    """Those on a function with that planted; no name is looked for, which takes most of the time."""
    subject.source.planted = planted
    with np.errstate(all="ignore"), warnings.catch_warnings(), mock.patch.object(naming, "name", return_value=None):
        warnings.simplefilter("ignore")
        found = judge(subject, quantity, effort)
    subject.source.planted = None
    return found


def rows_of(subject: Subject, quantity: Any, effort: Effort, name: str, *, times_0: bool) -> list[tuple[Row, Result]]:
    """The rows of one function; with `times_0` also of its answers times 0."""
    found = []
    right = verdicts(subject, quantity, effort, None)
    nothing = verdicts(subject, quantity, effort, Planted(quantity.name, 0.0)) if times_0 else [None] * len(right)
    adapter = f"{subject.source.dtype} {subject.source.way}"
    for at, (result, wrong) in enumerate(zip(right, nothing)):
        along = factors(subject, quantity, at, result)
        late = max(((factor, t) for t, factor in along.items() if t >= FROM), default=(None, None))
        factor = max(along.values(), default=(result.power or {}).get("factor", np.inf))
        of_one_step = bool(along) and not (result.power or {}).get("several_steps")
        found.append((Row(result.id, adapter, name, result.verdict, wrong.verdict if wrong else "", factor, *late,
                          of_one_step, result.reason), result))
    return found


def factors(subject: Subject, quantity: Any, at: int, result: Result) -> dict[int, float]:
    """The smallest relative error that is seen, for each t; of a table over t, of its entries, unless it is judged given what the
    adapter had before."""
    if not result.power or result.power["at"] or result.given_upstream:
        return {int(t): factor for t, factor in (result.power or {"at": {}})["at"].items()}
    if not quantity.outputs[at].kind.startswith("table") and not quantity.id.startswith("SCH."):
        return {}
    found: dict[int, float] = {}
    for inputs in quantity.edges(subject.given):
        with np.errstate(all="ignore"):
            value, scale = (parts[at] for parts in subject.values_and_scales(quantity, inputs))
        factor = smallest_factor(value, scale, UNITS[subject.source.dtype])
        first = 2 if quantity.name == "schedule_logits" else 1
        for t, one in enumerate(factor.reshape(len(factor), -1).min(axis=1), first):
            if np.isfinite(one):
                found[t] = min(float(one), found.get(t, np.inf))
    return found


def breaks(one: Row) -> str:
    """In which way a row breaks the claim; empty where it does not."""
    if one.times_0 == "pass":
        return "× 0 passes"
    if one.verdict in ("wrong", "inaccurate"):
        return f"a right answer is {one.verdict}"
    if one.verdict == "undecided":
        return "" if re.search("up to|another formula", one.reason) else "undecided without a number"
    if one.verdict != "pass":
        return ""
    if one.anywhere > EVERYWHERE:
        return f"an error of {one.anywhere:.2g} passes"
    if one.of_one_step and one.late is not None and one.late > LATE:
        return f"an error of {one.late:.2g} at t = {one.late_t} passes"
    return ""


# -- whether what is stated is true --------------------------------------------------------------------------------------

class Verified(NamedTuple):
    """What became of errors larger than the one that is stated as seen, and of half of it.

    `caught` is how many times as large an error is that does not pass, or of what is undecided is wrong, the smallest of SHARES; ∞
    where none is.
    """

    clause: str
    adapter: str
    schedule: str
    t: int | None
    factor: float
    caught: float
    half: str

    def true(self) -> bool:
        """Whether the statement is."""
        return self.caught <= TRUE and self.half in ("pass", "undecided")


def verified(subject: Subject, quantity: Any, at: int, result: Result, effort: Effort, name: str) -> Verified:
    """The worst t of a clause, or its answer as a whole, multiplied by what should be seen and by what should not."""
    along = {int(t): factor for t, factor in result.power["at"].items()}
    t = max(along, key=along.__getitem__) if along else None
    factor = along[t] if t is not None else result.power["factor"]
    rounding = 2 * UNITS[subject.source.dtype]

    seen = NO_PASS if result.verdict == "pass" else ("inaccurate", "wrong")

    def becomes(error: float) -> str:
        return verdicts(subject, quantity, effort, Planted(quantity.name, 1 + error, at, t))[at].verdict

    caught = next((share for share in SHARES if becomes(share * factor + rounding) in seen), np.inf)
    return Verified(result.id, f"{subject.source.dtype} {subject.source.way}", name, t, factor, caught, becomes(factor / 2))


# -- all of it -----------------------------------------------------------------------------------------------------------

ADAPTERS = (("float32", ("exact", "printed")), ("float64", ("exact",)))


def shown(one: Row) -> str:
    """A line of the table."""
    late = "" if one.late is None else f"{one.late:9.2g}"
    return (f"{one.clause:22} {one.adapter:16} {one.schedule:7} {one.verdict:10} x0 {one.times_0:10} {one.anywhere:9.2g} {late:9} "
            f"{breaks(one)}{' | ' + one.reason if one.verdict not in ('pass', 'skipped') else ''}")


def examine(name: str, only: str, effort: Effort, verify: int) -> tuple[list[Row], list[Verified]]:
    """The rows of one schedule, printed as they are found, and what was verified."""
    rows: list[Row] = []
    checked: list[Verified] = []
    for dtype, ways in ADAPTERS:
        subject = Examined(Adapter(dtype, ways[0], SCHEDULES[name]), QUANTITIES)
        passed: list[tuple[Any, int, Result]] = []
        for quantity in asked_of([one for one in QUANTITIES if one.id.startswith(only)], name):
            for way in ways:
                subject.source.way = way
                found = rows_of(subject, quantity, effort, name, times_0=way == ways[-1])
                rows += [one for one, _ in found]
                print("\n".join(shown(one) for one, _ in found), flush=True)
                if way == "exact":
                    passed += [(quantity, at, result) for at, (_, result) in enumerate(found)
                               if result.power and quantity.outputs[at].kind not in WHOLE_NUMBERS]
        subject.source.way = "exact"
        for quantity, at, result in passed[::max(1, len(passed) // verify)] if verify else ():
            checked.append(verified(subject, quantity, at, result, effort, name))
            print(checked[-1], flush=True)
    return rows, checked


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="clauses whose ids begin so")
    parser.add_argument("--verify", type=int, default=12, help="about how many clauses of each precision and schedule")
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=["linear", "cosine", "short"])
    parser.add_argument("--max-examples", type=int, default=5)
    options = parser.parse_args()
    started = time.perf_counter()
    effort = Effort(max_examples=options.max_examples, shrinks=0)
    look = partial(examine, only=options.only, effort=effort, verify=options.verify)
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(look, options.schedules))
    rows, checked = [one for part, _ in found for one in part], [one for _, part in found for one in part]
    broken = [f"{one.clause} ({one.adapter}, {one.schedule}): {breaks(one)}" for one in rows if breaks(one)]
    untrue = [str(tuple(one)) for one in checked if not one.true()]
    counts = {verdict: sum(one.verdict == verdict for one in rows) for verdict in dict.fromkeys(one.verdict for one in rows)}
    zeros = sum(one.times_0 in NO_PASS for one in rows)
    passing = sum(one.times_0 == "pass" for one in rows)
    lines = [row(f"{len(rows)} clauses by adapter and schedule: {counts}; broken: {'; '.join(broken) or 'none'}", "none broken",
                 not broken),
             row(f"times 0: {zeros} seen or undecided, {passing} pass", "none passes", not passing),
             row(f"stated and really multiplied: {len(checked) - len(untrue)} of {len(checked)} true; not: "
                 f"{'; '.join(untrue) or 'none'}", "all", not untrue)]
    part = "_part" * bool(options.only or len(options.schedules) < len(SCHEDULES))
    return conclude("sensitivity" + part, claim_of(__doc__), lines, seconds=time.perf_counter() - started,
                    settings={"seed": effort.seed, "max_examples": effort.max_examples, "verify": options.verify,
                              "only": options.only, "schedules": options.schedules},
                    data={"not passing": [one._asdict() for one in rows if one.verdict != "pass"],
                          "verified": [one._asdict() for one in checked]})


if __name__ == "__main__":
    sys.exit(main())
