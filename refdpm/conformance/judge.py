"""The verdict on one function: right, inaccurate or wrong, on which smallest input, and which known mistake that is.

    pass         error ≤ LIMIT · u · scale, u of the precision in which the adapter answers
    undecided    the same, but a wrong answer would have passed too; `power` finds which
    inaccurate   right in a lower precision (single for double, 8 bits less for single), not in its own, or right but where it is
                 near 0; and no mistake but one of rounding reproduces it
    wrong        neither
    not checked  the adapter refused every input: nothing was found out

What is wrong by itself may be right given what the adapter had before it: then an earlier function is to blame, and the verdict is
pass, `given_upstream`; but not where nothing at all could be seen given that, as where all of it is 0.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from refdpm.conformance import naming
from refdpm.conformance.adapter import CalledNoMore, Fault, Refusal, Skip
from refdpm.conformance.arguments import fingerprint
from refdpm.conformance.chapters.draws import Draw
from refdpm.conformance.chapters.inputs import Inputs
from refdpm.conformance.chapters.quantity import Keyed, Quantity
from refdpm.conformance.fitting import fitting_number
from refdpm.conformance.naming import Name
from refdpm.conformance.power import HALF, NOTHING, factor_along_t, is_large, places_of, smallest_factor, too_weak, unseen
from refdpm.conformance.smallest import size, smallest
from refdpm.conformance.subject import COARSE, LIMIT, UNITS, Subject, Unsound, ratios, values_and_scales
from refdpm.conformance.symptoms import Failure, Part, where
from refdpm.textbook.edits import ADDED, FITTED, Edit, aligned, every_edit, every_fit
from refdpm.textbook.expression import E, nodes
from refdpm.textbook.page import Page
from refdpm.textbook.values import floats
from refdpm.vjp import Array

BOTH = " & "                    # between two mistakes at once
VERDICTS = ("pass", "undecided", "inaccurate", "wrong", "skipped", "not checked")
FAILING, PASSING = 6, 4          # inputs on which a mistake must explain the answers, wrong and right ones
INACCURATE = 0.05               # the largest relative error of an answer that is not wrong
MANY_NODES = 800                # of a formula whose edits are not tried as names
LONG, VERY_LONG = 20, 100       # steps of a chain that is looked at last, and of one of which a single input is drawn
PLACES = 8                      # inputs on which the edits of a formula are tried
CLOSE = 4                       # units of rounding from which on a wrong formula may fit better; and how many times better
FAULTS = 3                      # faults of one function before it is not called any more
TRIES = 12                      # inputs that are refused before a function is given up that has answered none


class Result(NamedTuple):
    """What a clause found; the fields of the JSON report."""

    id: str
    verdict: str
    ratio: float | None = None                     # the worst error/(u·scale)
    digits: dict[str, float] | None = None         # decimal digits that are right, for each t of the longest edge
    mistake: str | None = None                     # the known mistake that reproduces the answers; "A & B" for two at once
    also: tuple[str, ...] = ()                     # others that cannot be told apart from it
    distance: float | None = None
    runner_up: str | None = None                   # the next nearest; the nearest if none reproduces the answers
    runner_up_distance: float | None = None
    smallest_input: Inputs | None = None
    observed: Array | None = None                  # what came at the smallest input, and what should have come
    right: Array | None = None
    where: str = ""                                # on which part of the inputs it is wrong: "at t = 1 only"
    given_upstream: bool = False                   # right, or a mistake of its own, given what the adapter had before
    # of a pass: "factor" is the smallest relative error that would have been seen, "at" the same for each t, "unseen" the edits
    # that would have passed too, "unjudged" how many large numbers could have been anything, and of how many, "several_steps"
    # whether its steps go over several t
    power: dict[str, Any] | None = None
    reason: str = ""


class Effort(NamedTuple):
    """How hard to look."""

    seed: int = 0
    max_examples: int = 20
    shrinks: int = 100
    power: bool = True                             # whether to look for what a pass would have let through
    pairs: bool = True                             # whether to look for two mistakes at once, and for a number that is not known


class _Case(NamedTuple):
    """An input, and for one output the answer, what it should have been, and error/(u·scale); `undefined` says where that is no
    number."""

    inputs: Inputs
    observed: Array
    expected: Array
    scale: Array
    ratio: float
    dtype: str
    undefined: str = ""


class _Asked(NamedTuple):
    """What came of asking: for each input that was answered a case for each output; and what was not answered, with the reason."""

    rows: list[tuple[_Case, ...]]
    left_out: list[str]
    refused: list[tuple[Inputs, str]]
    faults: list[tuple[Inputs, Fault]]


def judge(subject: Subject, quantity: Quantity, effort: Effort) -> list[Result]:
    """The verdict on every output of a quantity."""
    ids = [f"{quantity.id}.{output.id}" for output in quantity.outputs]
    if quantity.name not in subject.functions:
        return skipped(ids, f"{quantity.name} is not offered")
    try:
        asked = _ask_all(subject, quantity, _inputs_to_try(subject, quantity, effort))
    except Skip as skip:                                     # a schedule of the adapter's own that is too short
        return skipped(ids, str(skip))
    if asked.faults:
        return _wrong_by_fault(subject, quantity, effort, asked.faults)
    if not asked.rows:
        return _nothing_found(subject, quantity, ids, asked)
    results = [_verdict(subject, quantity, at, id, asked.rows, effort) for at, id in enumerate(ids)]
    cases = [list(column) for column in zip(*asked.rows)]
    notes = [*getattr(subject.source, "notes", {}).get(quantity.name, ()), *_refusals_text(asked), *_undefined_text(asked.rows)]
    named = _with_mistakes(subject, quantity, results, cases, effort)
    return [_with_notes(result, notes) for result in _with_mistakes_of_its_own(subject, quantity, named, cases)]


def named_in_some_rows(subject: Subject, quantity: Quantity, results: list[Result], effort: Effort) -> list[Result]:
    """The results, and those that have no name with the mistake that explains the answers in those rows alone in which they are
    wrong, if some are right."""
    nameless = [result.verdict == "wrong" and not result.mistake and result.observed is not None for result in results]
    if not any(nameless):
        return results
    columns = zip(*_ask_all(subject, quantity, _inputs_to_try(subject, quantity, effort)).rows)
    return [_with_mistake_of_some_rows(subject, quantity, at, list(cases), result) if nameless[at] else result
            for at, (result, cases) in enumerate(zip(results, columns, strict=True))]


def _inputs_to_try(subject: Subject, quantity: Quantity, effort: Effort) -> list[Inputs]:
    """Raises: Skip for a schedule of the adapter's own that is too short."""
    found = subject.edges(quantity) + _not_too_long(examples(quantity.inputs(subject.given), effort))
    return [subject.in_precision(inputs) for inputs in found]


def _not_too_long(inputs: list[Inputs]) -> list[Inputs]:
    """Drawn inputs, but of chains that take their time the first alone: every step of them has clauses of its own."""
    return inputs[:1] if inputs and _is_long(inputs[0], VERY_LONG) else inputs


def _ask_all(subject: Subject, quantity: Quantity, inputs_to_try: Iterable[Inputs]) -> _Asked:
    asked = _Asked([], [], [], [])
    for inputs in inputs_to_try:
        try:
            asked.rows.append(tuple(compare(subject, quantity, inputs)))
        except Skip as skip:
            asked.left_out.append(str(skip))
        except Refusal as refusal:
            asked.refused.append((inputs, str(refusal)))
        except Fault as fault:
            asked.faults.append((inputs, fault))
        if len(asked.faults) == FAULTS or not asked.rows and len(asked.left_out) + len(asked.refused) == TRIES:
            break
    return asked


def _wrong_by_fault(subject: Subject, quantity: Quantity, effort: Effort, faults: list[tuple[Inputs, Fault]]) -> list[Result]:
    """Every output is wrong, or the only one that is ever at fault."""
    inputs, fault = faults[0]
    found = smallest(inputs, partial(_raises, subject, quantity), effort.shrinks)
    first, *also = _mistakes_of_shape(subject, quantity, inputs, str(fault))
    alone = fault.output if len({one.output for _, one in faults}) == 1 else None
    says = f"its {str(alone).lower()} is no answer, so that this was not looked at"
    return [Result(id, "wrong", mistake=first, also=tuple(filter(None, also)), smallest_input=found, reason=str(fault))
            if alone in (None, output.id) else Result(id, "not checked", reason=says)
            for output in quantity.outputs for id in (f"{quantity.id}.{output.id}",)]


def _nothing_found(subject: Subject, quantity: Quantity, ids: list[str], asked: _Asked) -> list[Result]:
    """Every input was left out or refused; a refusal may be what a known mistake leads to."""
    if not asked.refused:
        return skipped(ids, asked.left_out[0])
    inputs, reason = asked.refused[0]
    first, *also = _mistakes_of_shape(subject, quantity, inputs, reason)
    verdict = "wrong" if first else "not checked"
    return [Result(id, verdict, mistake=first, also=tuple(filter(None, also)), smallest_input=inputs, reason=reason) for id in ids]


# what all refused inputs may have in common, and no answered one
KINDS_OF_INPUT: tuple[tuple[str, Callable[[Inputs], bool]], ...] = (
    ("a schedule of one step", lambda inputs: len(inputs.get("beta", ())) == 2),
    ("T = 1", lambda inputs: inputs.get("T") == 1),
    ("states with more than two axes", lambda inputs: any(isinstance(x, np.ndarray) and x.ndim > 2 for x in inputs.values())),
    ("long schedules", lambda inputs: len(inputs.get("beta", ())) > 100))


def _refusals_text(asked: _Asked) -> Iterable[str]:
    if asked.refused:
        refused, answered = [inputs for inputs, _ in asked.refused], [row[0].inputs for row in asked.rows]
        kinds = [says for says, holds in KINDS_OF_INPUT if all(map(holds, refused)) and not any(map(holds, answered))]
        what = kinds[0] if kinds else f"{len(refused)} of {len(refused) + len(answered)} inputs"
        yield f"refuses {what}: {asked.refused[0][1]}"


def _undefined_text(rows: list[tuple[_Case, ...]]) -> Iterable[str]:
    """Where the right answer is no number."""
    undefined = [case for row in rows for case in row if case.undefined]
    if undefined:
        yield f"is not defined {undefined[0].undefined}, and was not looked at there"


def skipped(ids: Iterable[str], reason: str) -> list[Result]:
    """Clauses about which nothing was asked."""
    return [Result(id, "skipped", reason=reason) for id in ids]


def _mistakes_of_shape(subject: Subject, quantity: Quantity, inputs: Inputs, fault: str) -> tuple[str | None, ...]:
    if "returns shape" not in fault and "broadcast" not in fault:
        return None,
    return naming.mistakes_of_shape(quantity.reference, subject.chosen(quantity, inputs), fault) or (None,)


def _with_mistakes(subject: Subject, quantity: Quantity, results: list[Result], cases: list[list[_Case]], effort: Effort
                   ) -> list[Result]:
    """The results with the mistake that explains all wrong outputs of the function at once, and leaves its right ones right; or,
    if there is none, with a mistake for each."""
    wrong = [at for at, result in enumerate(results) if result.verdict in ("wrong", "inaccurate")]
    together = [at for at, result in enumerate(results) if not result.given_upstream]
    pairs = effort.pairs and any(results[at].verdict == "wrong" for at in wrong)
    found = _nearest_mistake(subject, quantity, together, cases, pairs, fitted=effort.pairs) if wrong else None
    if found is not None and found.reproduces or len(together) == 1:
        return [with_mistake(result, found) if at in wrong else result for at, result in enumerate(results)]
    return [with_mistake(result, _nearest_mistake(subject, quantity, [at], cases, pairs, fitted=effort.pairs)) if at in wrong
            else result for at, result in enumerate(results)]


def _with_mistake_of_some_rows(subject: Subject, quantity: Quantity, at: int, cases: list[_Case], result: Result) -> Result:
    """The result with the mistake that explains the answers in those rows alone in which they are wrong, if some are right."""
    worst = sorted((case for case in cases if case.observed.ndim), key=_wrong_entry_count, reverse=True)[:FAILING]
    found = naming.name_of_rows(_ways_to(subject, quantity, [at]), [_failure((case,)) for case in worst],
                                _edited_variants(subject, quantity, [at], cases[0].inputs))
    return with_mistake(with_where(result, result.where or "in some rows only"), found) if found else result


def _with_mistakes_of_its_own(subject: Subject, quantity: Quantity, results: list[Result], cases: list[list[_Case]]
                              ) -> list[Result]:
    """The results, and those that have no name with the one that they have given what the adapter itself had before: an earlier
    function may have another mistake."""
    nameless = [at for at, result in enumerate(results) if result.verdict == "wrong" and not result.mistake]
    if not nameless or quantity.given is None:
        return results
    rows = sorted(zip(*cases), key=lambda row: all(row[at].ratio <= LIMIT for at in nameless))[:FAILING + PASSING]
    given = [_row_given_upstream(subject, quantity, row[0].inputs) for row in rows]
    if not all(given):
        return results
    # what does not depend on t but in one case would be "the answer for t − 1"
    found = _nearest_mistake(subject, quantity, nameless, [list(column) for column in zip(*given)], False, slips_first=True)
    if found is None or not found.reproduces:
        return results
    says = f"given the adapter's own {', '.join(quantity.after)}"
    return [with_mistake(with_where(result._replace(given_upstream=True), says, result.where), found) if at in nameless else result
            for at, result in enumerate(results)]


def with_where(result: Result, *where: str) -> Result:
    """The result with all that is said of where, and how, it is wrong."""
    return result._replace(where="; ".join(filter(None, where)))


def _row_given_upstream(subject: Subject, quantity: Quantity, inputs: Inputs, **exactly: bool) -> list[_Case]:
    """The cases of one input, with what the adapter itself had before among the inputs; none where it does not show that, or where
    nothing can be made of it."""
    overlay = upstream_answers(subject, quantity, inputs)
    try:
        return [] if overlay is None else [case._replace(inputs=inputs | overlay)
                                           for case in compare(subject, quantity, inputs, overlay | exactly)]
    except ValueError:                                              # of a door: "beta: expected values in (0, 1), got −6.7"
        return []


def _nearest_mistake(subject: Subject, quantity: Quantity, outputs: list[int], cases: list[list[_Case]], pairs: bool, *,
                     fitted: bool = True, slips_first: bool = False) -> Name | None:
    rows = list(zip(*(cases[at] for at in outputs)))
    failing = [row for row in rows if any(case.ratio > LIMIT for case in row)]
    failing.sort(key=lambda row: (_is_long(row[0].inputs), -max(_wrong_entry_count(case) for case in row)))
    passing = [row for row in rows if all(case.ratio <= LIMIT for case in row)]
    failures = [_failure(row) for row in failing[:FAILING] + passing[:PASSING]]
    ways = _ways_to(subject, quantity, outputs)
    more = [_failure(row) for row in failing[FAILING:] + passing[PASSING:] if not _is_long(row[0].inputs)]
    slips = partial(_edited_variants, subject, quantity, outputs, rows[0][0].inputs)
    fits = partial(_fitted_variants, subject, quantity, outputs) if fitted else None
    return naming.name(ways, failures, slips, fits=fits, pairs=pairs, more=more, slips_first=slips_first)


def _ways_to(subject: Subject, quantity: Quantity, outputs: list[int]) -> list[naming.Reference]:
    """Ways to the right answer in which a mistake may have been made."""
    return [_way_to(subject, quantity, outputs, values) for values in (quantity.reference, partial(textbook, quantity))]


def _way_to(subject: Subject, quantity: Quantity, outputs: list[int], values: naming.Reference) -> naming.Reference:
    """Some of the outputs, with the choices of the subject."""
    def way(inputs: Inputs) -> tuple[Array, ...]:
        found = values(subject.chosen(quantity, inputs))
        return tuple(found[at] for at in outputs)
    return way


def textbook(quantity: Quantity, inputs: Inputs) -> tuple[Array, ...]:
    """What the textbook's formulas give in float64."""
    return tuple(floats(quantity.formulas(inputs), quantity.page(inputs)))


def _edited_variants(subject: Subject, quantity: Quantity, outputs: list[int], inputs: Inputs) -> naming.Variants:
    """The textbook's formulas with one edit each."""
    edits, values = _edits_and_values(subject, quantity, outputs, inputs, every_edit)
    return [((edit.says,), partial(values, at)) for at, edit in enumerate(edits)]


def _fitted_variants(subject: Subject, quantity: Quantity, outputs: list[int], failure: Failure) -> naming.Variants:
    """The textbook's formulas with a number that somebody may have written, where it gives the worst number of a failure."""
    edits, values = _edits_and_values(subject, quantity, outputs, failure.inputs, every_fit)
    return [((f"{number:.4g}{edit.says}",), partial(values, at, fitted=number)) for at, edit in enumerate(edits)
            if (number := fitting_number(partial(values, at, failure.inputs), failure)) is not None]


def _edits_and_values(subject: Subject, quantity: Quantity, outputs: list[int], inputs: Inputs,
                      every: Callable[[tuple[E, ...]], list[Edit]]) -> tuple[list[Edit], Callable[..., tuple[Array, ...]]]:
    """The edits of the textbook's formulas, and a function of the place of one among them and of inputs: its values there.

    At every input, what an edit leaves as it was is evaluated once.
    """
    formulas = quantity.formulas(subject.chosen(quantity, inputs))
    pages: dict[int, tuple[Inputs, list[Edit], Page, dict[E, Any]]] = {}
    # larger ones are made of formulas that have clauses of their own
    found = every(formulas) if len(nodes(*formulas)) <= MANY_NODES else []

    def values(number: int, inputs: Inputs, fitted: float | None = None) -> tuple[Array, ...]:
        if id(inputs) not in pages:
            asked = subject.chosen(quantity, inputs)
            own = quantity.formulas(asked)                   # of other kept times, or axes, other formulas with the same edits
            pages[id(inputs)] = inputs, aligned(every(own), found), quantity.page(asked), {}
            floats(own, *pages[id(inputs)][2:])
        _, edits, page, memo = pages[id(inputs)]
        page = page if fitted is None else page.beside(**{FITTED: fitted})
        return tuple(floats((edits[number].formulas[at] for at in outputs), page, dict(memo)))

    return found, values


def _is_long(inputs: Inputs, steps: int = LONG) -> bool:
    """Whether a chain has so many steps that walking it again and again takes long."""
    return "t" not in inputs and len(inputs.get("beta", ())) > steps


def _wrong_entry_count(case: _Case) -> int:
    return int(np.sum(ratios(case.observed, case.expected, case.scale, UNITS[case.dtype]) > LIMIT))


def compare(subject: Subject, quantity: Quantity, inputs: Inputs, overlay: Inputs | None = None) -> list[_Case]:
    """The answer to one input beside the reference, for every output; `overlay` replaces what the reference has upstream."""
    answer = subject.ask(quantity.name, inputs)
    if overlay is None:
        values, scales = subject.values_and_scales(quantity, inputs)
    else:
        values, scales = values_and_scales(quantity, subject.chosen(quantity, inputs) | overlay, subject.profile.of(quantity.name))
    return [_case(inputs, observed, expected, scale, answer.dtype, output.kind)
            for observed, expected, scale, output in zip(answer.values, values, scales, quantity.outputs, strict=True)]


def _case(inputs: Inputs, observed: Array, expected: Array, scale: Array, dtype: str, kind: str) -> _Case:
    """Of a law some have a tiny number for 0, and take its logarithm."""
    lost, where_lost = _undefined(inputs, expected)
    scale = scale + NOTHING / UNITS[dtype] if kind == "law" else scale
    if np.any(lost):
        observed, expected = np.where(lost, 0.0, observed), np.where(lost, 0.0, expected)
        scale = np.where(lost, np.inf, scale)                      # where nobody is asked for anything
    ratio = float(np.max(ratios(observed, expected, scale, UNITS[dtype]), initial=0.0))
    return _Case(inputs, observed, expected, scale, ratio, dtype, where_lost if np.any(lost) else "")


def _undefined(inputs: Inputs, expected: Array) -> tuple[Array, str]:
    """Where there is no right answer, and why: nothing is left of x_0 where ᾱ_t = 0; elsewhere only an infinity is one."""
    beta = inputs.get("beta")
    if isinstance(beta, np.ndarray) and np.any(beta == 1):
        return ~np.isfinite(expected), "where ᾱ_t = 0"
    return np.isnan(expected), "on inputs that cannot occur"


def examples(draw: Draw, effort: Effort) -> list[Inputs]:
    """Drawn inputs, the same for the same seed."""
    return [draw(rng) for rng in map(np.random.default_rng, np.random.SeedSequence(effort.seed).spawn(effort.max_examples))]


# -- the verdict -------------------------------------------------------------------------------------------------------

def _verdict(subject: Subject, quantity: Quantity, at: int, name: str, rows: list[tuple[_Case, ...]], effort: Effort) -> Result:
    """The verdict on one output; what is asked further for it is added to the rows."""
    cases = [row[at] for row in rows]
    if all(case.undefined and not np.any(np.isfinite(case.scale)) for case in cases):
        return Result(name, "skipped")                           # it is noted where there is no right answer
    worst = max(cases, key=lambda case: case.ratio)
    digits = _digits_along_t(cases)
    if worst.ratio <= LIMIT:
        passed = Result(name, "pass", worst.ratio, digits)
        return _pass_or_undecided(subject, quantity, at, rows, passed, effort) if effort.power else passed
    failing = [case for case in cases if case.ratio > LIMIT]
    again = _given_upstream(subject, quantity, at, failing)
    if again and max(case.ratio for case in again) <= LIMIT:
        power, dtype = _power_of(again, quantity.outputs[at].kind), worst.dtype
        passed = Result(name, "pass", worst.ratio, digits, given_upstream=True, power=power,
                        reason=f"right given the adapter's own {', '.join(quantity.after)}")
        if not effort.power or not too_weak(power, dtype):
            return passed
        if min(power["at"].values(), default=power["factor"]) < 1:     # else nothing at all could be seen
            return _undecided(subject, quantity, passed, power, dtype)
    worst_of_small = max(sorted(failing, key=lambda case: size(case.inputs)), key=lambda case: min(_relative_error(case), 1.0))
    simplest = smallest(worst_of_small.inputs, partial(_badness, subject, quantity, at), effort.shrinks)
    verdict = _failing_verdict(failing)
    reason = _nonfinite_text(failing) or (verdict == "inaccurate") * _inaccuracy_text(failing, subject.source.dtype)
    result = Result(name, verdict, worst.ratio, digits, smallest_input=simplest, reason=reason)
    shown = compare(subject, quantity, simplest)[at]
    return result._replace(observed=shown.observed, right=shown.expected, where=where(_failure((case,)) for case in cases))


def _better_formula(subject: Subject, quantity: Quantity, at: int, cases: list[_Case]) -> str:
    """What is said of answers that are right to what rounding allows, if a wrong formula fits them several times better.

    What some put for a variance of 0 is left out, for any such number is right; and what some add to what must not be 0.
    """
    def apart(case: _Case, value: Array) -> float:
        found = ratios(case.observed, np.broadcast_to(value, case.observed.shape), case.scale, UNITS[case.dtype])
        return float(np.max(found[np.abs(case.expected) > NOTHING], initial=0.0))

    worst_first = sorted(cases, key=lambda case: -apart(case, case.expected))
    worst = apart(worst_first[0], worst_first[0].expected)
    if worst <= CLOSE:
        return ""
    variants = _edited_variants(subject, quantity, [at], cases[0].inputs)
    for says, values in ((says, values) for (says,), values in variants if ADDED not in says):
        left = 0.0
        with suppress(ValueError, IndexError, ArithmeticError):            # a formula that can say nothing there explains nothing
            for case in worst_first:
                left = max(left, apart(case, values(case.inputs)[0]))
                if not left <= worst / CLOSE:
                    break
            else:
                return (f"a wrong formula fits better, to {left:.2g} times the rounding error and not to {worst:.2g}, which is "
                        f"allowed: {says}")
    return ""


def _given_upstream(subject: Subject, quantity: Quantity, at: int, cases: list[_Case], **exactly: bool) -> list[_Case]:
    """The cases again, judged given what the adapter itself had before this function; none where it does not show that, or where
    nothing can be made of it."""
    found = []
    for case in cases:
        row = _row_given_upstream(subject, quantity, case.inputs, **exactly)
        if not row:
            return []
        found.append(row[at])
    return found


def _in_double_precision(cases: list[_Case]) -> list[_Case]:
    """Right answers of somebody who computes in single precision as those of double precision; none if they are not right in it."""
    exact = [case._replace(dtype="float64", ratio=case.ratio * UNITS[case.dtype] / UNITS["float64"]) for case in cases]
    return exact if all(case.ratio <= LIMIT for case in exact) else []


def _pass_or_undecided(subject: Subject, quantity: Quantity, at: int, rows: list[tuple[_Case, ...]], result: Result,
                       effort: Effort) -> Result:
    """A pass, if a wrong answer would have been seen; by itself, or given what the adapter had before."""
    cases = [row[at] for row in rows]
    kind, dtype = quantity.outputs[at].kind, cases[0].dtype
    if _are_at_1_alone(cases):
        return result._replace(verdict="undecided", reason="right at t = 1, and nothing is known of any other t")
    power = _power_of(cases, kind)
    for change in ELSEWHERE:
        if weak := too_weak(power, dtype):
            rows[:0] = _asked_elsewhere(subject, quantity, cases, weak, change)
            cases = [row[at] for row in rows]
            if max(case.ratio for case in cases) > LIMIT:
                return _verdict(subject, quantity, at, result.id, rows, effort)
            power = _power_of(cases, kind)
    if better := _better_formula(subject, quantity, at, cases):
        return result._replace(verdict="undecided", reason=better)
    if too_weak(power, dtype) and (exact := _in_double_precision(cases)) and not too_weak(_power_of(exact, kind), "float64"):
        cases, dtype, power = exact, "float64", _power_of(exact, kind)
    if not too_weak(power, dtype) and quantity.given is not None:
        power = _power_of([_with_room_for_upstream(subject, quantity, at, case) for case in cases], kind)
    if not too_weak(power, dtype):
        chosen = [subject.chosen(quantity, case.inputs) for case in cases[:PLACES]]
        steps_are_judged = bool(quantity.after) and all(name in subject.functions for name in quantity.after)
        keyed = tuple(Keyed(one, fingerprint(one)) for one in chosen)
        power |= {"unseen": _unseen(quantity, keyed, at, dtype, steps_are_judged)}
        return result._replace(power=power) if not power["unseen"] else _undecided(subject, quantity, result, power, dtype)
    again = _given_upstream(subject, quantity, at, cases, own_exactly=True)
    sharper = _power_of(again, kind) if again else power
    ratio = max((case.ratio for case in again), default=np.inf)
    if ratio > LIMIT or too_weak(sharper, dtype):
        return _undecided(subject, quantity, result, power, dtype)
    return result._replace(ratio=ratio, given_upstream=True, power=sharper, reason=f"right given the adapter's own "
                           f"{', '.join(quantity.after)}")


def _are_at_1_alone(cases: list[_Case]) -> bool:
    """Whether a function that has a schedule and t has answered at t = 1 alone."""
    asked = [case.inputs["t"] for case in cases if {"t", "beta"} <= case.inputs.keys()]
    return len(asked) == len(cases) and all(np.all(t == 1) for t in asked)


def _moved_away(state: Array) -> Array:
    """So that what was near, as the means of two laws are, is far; but what is all between −1 and 1 may be pixels."""
    return state + 8.0 if np.any(np.abs(state) > 1) else state


ELSEWHERE: tuple[Callable[[Array], Array], ...] = (np.negative, _moved_away)      # first so that what has cancelled does not


def _asked_elsewhere(subject: Subject, quantity: Quantity, cases: list[_Case], weak: dict[int, float],
                     change: Callable[[Array], Array]) -> list[tuple[_Case, ...]]:
    """More answers at the t that show least, of which `weak` has how much: with one state changed."""
    def weakest(inputs: Inputs) -> float:
        return max(weak.get(int(t), 0.0) for t in np.ravel(inputs.get("t", 0)))

    found = []
    there = [case.inputs for case in cases if "k" not in case.inputs and weakest(case.inputs)]
    for inputs in sorted(there, key=weakest, reverse=True)[:PLACES]:
        for name, value in inputs.items():
            if isinstance(value, np.ndarray) and value.ndim > 1 and np.any(value < 0):       # no bits, variances or shares
                with suppress(Fault, Skip, ValueError):
                    found.append(tuple(compare(subject, quantity, inputs | {name: change(value)})))
    return found


def _with_room_for_upstream(subject: Subject, quantity: Quantity, at: int, case: _Case) -> _Case:
    """The case with a scale that reaches as far as what would be excused because it is right given what the adapter had before; of
    a long chain as it is."""
    overlay = None if _is_long(case.inputs) else upstream_answers(subject, quantity, case.inputs)
    if overlay is None:
        return case
    try:
        with np.errstate(all="ignore"):
            excused = subject.right(quantity, case.inputs | overlay)[at]
            apart = np.abs(excused - case.expected) / (LIMIT * UNITS[case.dtype])
            return case._replace(scale=case.scale + np.where(np.isfinite(apart), apart, 0.0))
    except ValueError:                                              # of a door, as in `_row_given_upstream`
        return case


@lru_cache(maxsize=1000)
def _unseen(quantity: Quantity, places: tuple[Keyed, ...], at: int, dtype: str, steps_are_judged: bool) -> list[str]:
    """The edits that these inputs do not show, which is the same for every adapter that is right there."""
    return unseen(places_of(quantity, [place.inputs for place in places], dtype), at, dtype, steps_are_judged=steps_are_judged)


def _power_of(cases: list[_Case], kind: str) -> dict[str, Any]:
    """The smallest relative error that would have been seen: `factor` wherever it was asked, "at" for each t; and how many large
    numbers could be wrong by more than half of themselves, of how many there are ("unjudged").  Whoever goes over several steps at
    once subtracts levels of a long chain."""
    along: dict[int, float] = {}
    anywhere, lost, large = np.inf, 0, 0
    for case in cases:
        factor = smallest_factor(case.expected, case.scale, UNITS[case.dtype])
        among = is_large(case.expected)
        lost, large = lost + int(np.sum(among & (factor > HALF))), large + int(np.sum(among))
        anywhere = min(anywhere, float(np.min(factor, initial=np.inf)))
        for t, found in factor_along_t(case.inputs, case.expected, factor, kind).items():
            along[t] = min(found, along.get(t, np.inf))
    return {"factor": max(along.values(), default=anywhere), "at": {str(t): along[t] for t in sorted(along)}, "unseen": [],
            "unjudged": [lost, large] if lost else [], "several_steps": any("t_prev" in case.inputs for case in cases)}


def _undecided(subject: Subject, quantity: Quantity, result: Result, power: dict[str, Any], dtype: str) -> Result:
    weak = too_weak(power, dtype)
    steps = f" at t = {_listed(list(map(str, weak)))}" if weak and len(weak) < len(power["at"]) else ""
    if weak:
        amount = f"{100 * max(weak.values()):.2g} %" if max(weak.values()) < 1 else "the whole answer"
        reason = f"an error of up to {amount}{steps} cannot be told from rounding in {dtype}"
    else:
        first = "; ".join(power["unseen"][:3])
        reason = f"in {dtype} the answer would be the same with another formula ({first})"
    if result.given_upstream:
        reason = f"{result.reason}; but {reason}"
    missing = [name for name in quantity.after if name not in subject.offers]
    advice = ["compute in float64"] * (dtype != "float64")
    advice += [f"offer also {', '.join(missing)}: given those more may be seen"] * bool(missing)
    return result._replace(verdict="undecided", power=power, reason=f"{reason}; {', or '.join(advice)}" if advice else reason)


def _listed(steps: list[str]) -> str:
    return ", ".join(steps) if len(steps) <= 4 else f"{steps[0]} … {steps[-1]}"


def _with_notes(result: Result, notes: Iterable[str]) -> Result:
    """The result with what was noted of its function."""
    return result._replace(reason="; ".join(filter(None, [result.reason, *sorted(notes)])))


def _failing_verdict(failing: list[_Case]) -> str:
    return "inaccurate" if all(_is_right_in_lower_precision(case) or _is_right_but_near_0(case) for case in failing) else "wrong"


def _is_right_in_lower_precision(case: _Case) -> bool:
    coarse, unit = COARSE[case.dtype], UNITS[case.dtype]
    return _relative_error(case) <= INACCURATE and case.ratio * unit <= LIMIT * coarse and coarse > unit


def _is_right_but_near_0(case: _Case) -> bool:
    """Whether an answer is as near as the rounding of numbers near 1, in single precision too: a difference of such has lost the
    digits of small ones."""
    unit = COARSE["float64"] if case.dtype == "float64" else UNITS[case.dtype]
    error = np.abs(case.observed - case.expected)
    return bool(np.all(error <= LIMIT * unit * np.maximum(1.0, np.abs(case.expected))))


def _inaccuracy_text(failing: list[_Case], stated: str | None) -> str:
    if not all(map(_is_right_in_lower_precision, failing)):
        return "right but where it is near 0, as by a difference of numbers near 1, or the logarithm of one, that has lost digits"
    unstated = failing[0].dtype == "float64" and stated is None
    return 'right in single precision; if it computes in float32, state dtype = "float32"' * unstated


def _nonfinite_text(failing: list[_Case]) -> str:
    if any(np.any(np.isnan(case.observed) & ~np.isnan(case.expected)) for case in failing):
        return "returns NaN where a number is expected"
    if any(np.any(np.isinf(case.observed) & np.isfinite(case.expected)) for case in failing):
        return "returns infinity where a number is expected"
    return ""


def with_mistake(result: Result, found: Name | None) -> Result:
    """The result with the mistake's name."""
    if found is None:
        return result
    if not found.reproduces:
        return result._replace(runner_up=found.ids[0], runner_up_distance=found.distance)
    first, *also = (BOTH.join(found.ids),) if found.pair else found.ids
    known = [naming.BY_ID[id] for id in found.ids if id in naming.BY_ID]
    lost = bool(known) and all(mistake.kind == "accuracy" for mistake in known)
    return result._replace(verdict=result.verdict if lost else "wrong", mistake=first, also=tuple(also), distance=found.distance,
                           runner_up=found.runner_up, runner_up_distance=found.runner_up_distance)


def upstream_answers(subject: Subject, quantity: Quantity, inputs: Inputs) -> Inputs | None:
    """What the adapter itself had before this function, to be judged given that; None if it does not show it."""
    if quantity.given is None:
        return None
    try:
        return quantity.given(inputs, lambda name, arguments: subject.ask(name, arguments).values)
    except (Skip, Fault, ValueError):
        return None


def _failure(row: tuple[_Case, ...]) -> Failure:
    return Failure(row[0].inputs, tuple(Part(case.observed, case.expected, _unit(case)) for case in row))


def _unit(case: _Case) -> Array:
    least = np.max(case.scale, initial=0.0, where=np.isfinite(case.scale)) * 1e-9 or 1.0         # an exact 0 beside others
    return np.asarray(UNITS[case.dtype] * np.where(case.scale > 0, case.scale, least))


def _digits_along_t(cases: list[_Case]) -> dict[str, float] | None:
    """Decimal digits along t, from the longest schedule among the edges: −log10 of the largest error relative to the value."""
    along = [case for case in cases if isinstance(case.inputs.get("t"), np.ndarray)
             and case.inputs["t"].shape == case.observed.shape[:1] != ()]
    if not along:
        return None
    case = max(along, key=lambda one: len(set(one.inputs["t"].tolist())))
    rows = case.observed.reshape(len(case.inputs["t"]), -1), case.expected.reshape(len(case.inputs["t"]), -1)
    found: dict[int, float] = {}
    for t, observed, value in zip(case.inputs["t"].tolist(), *rows):
        with np.errstate(all="ignore"):
            error = np.max(np.abs(observed - value)) / max(float(np.max(np.abs(value))), 1e-300)
        found[t] = min(found.get(t, 17.0), float(np.clip(-np.log10(error), 0, 17)) if error > 0 else 17.0 if error == 0 else 0.0)
    return {str(t): round(found[t], 1) + 0.0 for t in sorted(found)}


# -- the smallest input --------------------------------------------------------------------------------------------------

def _badness(subject: Subject, quantity: Quantity, at: int, inputs: Inputs) -> float:
    """By how much one output is wrong there, relative to its largest entry; 0 where it is right, or some of it is not defined, or
    nothing can be found out."""
    try:
        case = compare(subject, quantity, inputs)[at]
    except (Fault, Skip, Unsound, ValueError, IndexError, KeyError):
        return 0.0
    return _relative_error(case) if case.ratio > LIMIT and not case.undefined and np.all(np.isfinite(case.expected)) else 0.0


def _relative_error(case: _Case) -> float:
    with np.errstate(all="ignore"):
        error = np.max(np.abs(case.observed - case.expected)) / np.max(np.abs(case.expected))
    return float(error) if np.isfinite(error) else 1.0


def _raises(subject: Subject, quantity: Quantity, inputs: Inputs) -> float:
    """1 where the adapter gives no answer, through a fault of its own."""
    try:
        compare(subject, quantity, inputs)
    except (CalledNoMore, Refusal):
        return 0.0
    except Fault:
        return float(all(np.all(np.isfinite(value)) for value in subject.right(quantity, inputs)))
    except (Skip, Unsound, ValueError, IndexError, KeyError):
        return 0.0
    return 0.0


def plain(value: Any) -> Any:
    """Arrays as lists, for reports."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(part) for key, part in value._asdict().items()}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value
