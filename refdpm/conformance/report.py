"""A report as text.

The first line says what the first wrong stage does wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
import textwrap

import numpy as np

from refdpm.conformance import gradients
from refdpm.conformance.causes import BY_NAME, DISAGREES, NOTES, has_its_own_name
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.evidence import in_digits, inputs_text, tidy
from refdpm.conformance.judge import BOTH, VERDICTS
from refdpm.conformance.mistakes import MISTAKES
from refdpm.conformance.naming import CUT
from refdpm.conformance.profile import Profile
from refdpm.conformance.subject import bearing_on, edges_for_all

SAYS: dict[str, Any] = {mistake.id: mistake for mistake in MISTAKES} | {slip.id: slip for slip in gradients.SLIPS}
FAILING = ("wrong", "inaccurate")
UNASKED = ("skipped", "not checked")
UNDECIDED = ("undecided", *UNASKED)
WIDTH = 110
MANY = 1e6                      # times the rounding error: how much more it is says nothing
FURTHER = "not checked: what these return behind the outputs that a clause is about"
NEAREST = 0.5                   # of an error, what the nearest mistake may leave
MOST_NAMES = 2                  # of one mistake, besides the first
RUN_AGAIN = "run again"
RIGHT_DIGITS = "that are right on the input with most values of t"
MARKS = {"pass": "ok", "undecided": "undecided", "inaccurate": "INACCURATE", "wrong": "WRONG"}


def surprises(row: Mapping[str, Any]) -> bool:
    """A failure that was not expected, or an expected one that did not come."""
    return row["verdict"] in FAILING if not row["expected"] else row["verdict"] == "pass"


def of_error(adapter: str, reason: str, *, seed: int, versions: Mapping[str, str]) -> dict[str, Any]:
    """The report on an adapter that could not be asked: with the same keys as any other, and the key "error"."""
    profile = Profile().stated()
    return {"adapter": adapter, "profile": profile, "known": dict.fromkeys(profile, "undetermined"), "causes": [], "not_known": [],
            "not_looked_at": [], "further_outputs": {}, "clauses": [], "summary": dict.fromkeys(VERDICTS, 0),
            "versions": dict(versions), "seed": seed, "exit_code": 2, "error": reason}


def text(report: dict[str, Any], *, verbose: bool = False) -> str:
    """What is wrong first, then every clause in a line, what was not looked at, the conventions, and the counts."""
    if "error" in report:
        return headline(report)
    by_id = {row["id"]: row for row in report["clauses"]}
    parts = [[headline(report)]]
    for cause in report["causes"]:
        also = [by_id[id] for id in cause["also"]]
        parts.append([*failure_lines(by_id[cause["first"]]), *_also_lines(by_id[cause["first"]], also)])
        parts += [failure_lines(row) for row in also if verbose]
    if "dump" in report:
        parts.append([f"{report['dump']['file']} has the input of {report['dump']['clause']}; in Python, from the same folder:",
                      *(f"    {line}" for line in report["dump"]["python"])])
    parts.append([f"fails as expected: {row['id']} ({row['expected']})" for row in report["clauses"]
                  if row["expected"] and row["verdict"] in FAILING])
    parts.append(_clause_lines([row for row in report["clauses"] if row["verdict"] not in UNASKED], verbose))
    parts.append(_unasked_lines(report, verbose))
    parts.append([*_convention_lines(report), _counts_text(report)])
    if "stopped" in report:
        parts.append(["stopped after {looked_at} of {of} clauses; what is said above holds for those".format(**report["stopped"])])
    return "\n\n".join("\n".join(part) for part in parts if part)


# -- the first line ------------------------------------------------------------------------------------------------------

def headline(report: dict[str, Any]) -> str:
    """What to know if only one line is read."""
    name = tidy(report["adapter"])
    if "stopped" in report:
        name += " (stopped after {looked_at} of {of} clauses)".format(**report["stopped"])
    if "error" in report:
        return tidy(f"{name}: error: {report['error']}")
    by_id = {row["id"]: row for row in report["clauses"]}
    if report["causes"]:
        first, *others = (by_id[cause["first"]] for cause in report["causes"])
        more = f"; also wrong, perhaps for another reason: {', '.join(row['id'] for row in others)}" if others else ""
        return tidy(f"{name}: {failure_text(first)}{more}")
    late = [row for row in report["clauses"] if surprises(row)]
    if late:
        return f"{name}: {late[0]['id']} passes, but was expected to fail: {late[0]['expected']}"
    unasked = [row for row in report["clauses"] if row["verdict"] == "not checked" and row["kind"] == "value"]
    if unasked:
        return f"{name}: {unasked[0]['called']} ({unasked[0]['id']}) could not be checked: {unasked[0]['reason']}"
    if report["exit_code"] == 2:
        return f"{name}: {_nothing_text(report)}"
    return f"{name}: {_passes_text(report)}"


def failure_text(row: Mapping[str, Any]) -> str:
    """A failure in a sentence."""
    if row["kind"] == "law":
        return f"{row['reason'] or 'this does not hold: ' + row['called']} ({row['id']})"
    if row["reason"].startswith(DISAGREES) and not row["mistake"]:
        return f"{row['called']} ({row['id']}) {explanation_text(row).removeprefix('it ')}"
    return f"{row['called']} ({row['id']}) is {row['verdict']}: {explanation_text(row)}"


ALMOST = 0.05                   # of an error is left by what nearly explains it


def explanation_text(row: Mapping[str, Any]) -> str:
    """What explains a failure, or what came if nothing does."""
    told = mistake_text(row) if row["mistake"] else row["reason"]
    if not told or told.startswith(NOTES):
        nothing = (f"its error is {row['ratio']:.2g} times the rounding error of the formula" if row["verdict"] == "inaccurate"
                   else "no mistake that is known explains it")
        told = "; ".join(filter(None, [f"{nothing}{_worst_text(row)}{_almost_text(row)}", told]))
    return told + f"; {row['where']}" * bool(row["where"])


def _almost_text(row: Mapping[str, Any]) -> str:
    """What explains nearly all, as a mistake does whose numbers are rounded otherwise than here."""
    if not row["runner_up"] or row["runner_up_distance"] > ALMOST:
        return ""
    return f"; {_worded(row['runner_up'])} explains all but {row['runner_up_distance']:.0%} of it"


def _worst_text(row: Mapping[str, Any]) -> str:
    """The number that is furthest off."""
    if row["observed"] is None or row["right"] is None or len(row["observed"]) != len(row["right"]):
        return ""
    pairs = [(came, right) for came, right in zip(row["observed"], row["right"]) if came != right]
    if not pairs:
        return ""
    came, right = max(pairs, key=lambda pair: np.inf if str in map(type, pair) else abs(pair[0] - pair[1]))
    return "; {} came where {} is right".format(*in_digits([came], [right]))


def _nothing_text(report: dict[str, Any]) -> str:
    if report["summary"]["undecided"]:
        return f"nothing passes: {_clauses(report['summary']['undecided'])} undecided, for the reasons given below"
    reasons = dict.fromkeys(row["reason"] for row in report["clauses"] if not row["reason"].endswith("not offered"))
    return "nothing ran: " + (next(iter(reasons), "") or
                              "what these clauses need is not offered (python -m refdpm explain lists what can be offered)")


def _passes_text(report: dict[str, Any]) -> str:
    passed, undecided = report["summary"]["pass"], report["summary"]["undecided"]
    expected = sum(row["verdict"] in FAILING for row in report["clauses"])
    own = len(report["not_known"]) + len(report["not_looked_at"])
    reason = next((f" ({row['id']}: {row['reason']})" for row in report["clauses"] if row["verdict"] == "undecided"), "")
    return ", ".join([f"{passed} {'clause passes' if passed == 1 else 'clauses pass'}",
                      *[f"{undecided} cannot be decided{reason if undecided == 1 else ''}"] * bool(undecided),
                      *[f"{expected} fail as expected"] * bool(expected),
                      *[f"{own} of its functions {'was' if own == 1 else 'were'} not checked"] * bool(own)])


def _clauses(number: int) -> str:
    return f"{number} {'clause is' if number == 1 else 'clauses are'}"


def mistake_text(row: Mapping[str, Any]) -> str:
    """The mistake in words: what is there, and what is right; known mistakes with their ids."""
    told = " and ".join(_said(id) for id in row["mistake"].split(BOTH))
    also = [_short(id) for id in row["also"] if CUT not in id][:MOST_NAMES]
    return told + f" (or {', or '.join(also)}: the same on these inputs)" * bool(also)


def _said(id: str) -> str:
    if id not in SAYS:
        return id
    wrong, _, right = SAYS[id].says.partition(" → ")
    return f"{wrong}; right: {right} (known mistake {id})"


def _short(id: str) -> str:
    return id if id in SAYS else f"“{id}”"


def _worded(id: str) -> str:
    """What was written instead, in words; of a known mistake also its id."""
    return f"“{SAYS[id].says.partition(' → ')[0]}” ({id})" if id in SAYS else f"“{id}”"


# -- a failure -----------------------------------------------------------------------------------------------------------

def failure_lines(row: Mapping[str, Any]) -> list[str]:
    """A clause that fails, in a few lines."""
    what = "" if row["kind"] == "law" else f"  {row['called']}"
    lines = [f"{row['verdict'].upper()}  {row['id']}{what}" + f"  (expected to fail: {row['expected']})" * bool(row["expected"])]
    return lines + [line for name, says in failure_fields(row) for line in _field(name, says)]


def failure_fields(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is known of a failure, each with its name."""
    if row["kind"] == "law":
        yield "expected", row["called"]
    is_note = row["reason"].startswith(NOTES) and row["kind"] != "law"
    if row["reason"] and not is_note:
        yield "but" if row["kind"] == "law" else "why", row["reason"]
    if row["mistake"]:
        yield "mistake", mistake_text(row)
        yield from (("seen in", SAYS[id].source) for id in row["mistake"].split(BOTH) if id in SAYS)
    elif row["observed"] is not None and not row["reason"].startswith(DISAGREES):
        yield "mistake", "none that is known gives these numbers" + _nearest_text(row)
    if row["where"]:
        yield "where", row["where"]
    yield from _numbers(row)
    if row["smallest_input"]:
        yield "input", inputs_text(row["smallest_input"])
    if row["ratio"] is not None and row["right"] is not None:
        times = f"{row['ratio']:.2g}" if row["ratio"] < MANY else "more than a million"
        yield "error", f"{times} times the formula's rounding error on the worst input; 16 times is allowed"
    if row["digits"]:
        yield "digits", f"{RIGHT_DIGITS}:  {digits_text(row['digits'])}"
    if is_note:
        yield "note", row["reason"]
    if row["reproduce"]:
        yield RUN_AGAIN, row["reproduce"]


def _field(name: str, says: str) -> list[str]:
    if name == RUN_AGAIN:                                      # to be copied as it is
        return [f"  {name:11s}{says}"]
    return textwrap.wrap(says, WIDTH, initial_indent=f"  {name:11s}", subsequent_indent=" " * 13, break_on_hyphens=False)


def _nearest_text(row: Mapping[str, Any]) -> str:
    """What explains at least half of the error; less would mislead."""
    if not row["runner_up"] or row["runner_up_distance"] > NEAREST:
        return ""
    return f"; the nearest, {_worded(row['runner_up'])}, leaves {row['runner_up_distance']:.0%} of the error"


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What came and what should have come."""
    if row["right"] is not None and row["observed"] is None:
        yield "came", "no answer"
        yield "should be", in_digits(row["right"], row["right"])[1]
    elif row["right"] is not None:
        came, right = in_digits(row["observed"], row["right"])
        yield "came", came + f"   ({row['shown']})" * bool(row["shown"])
        yield "should be", right
        if row["converted"]:
            yield "form", row["converted"]


def _also_lines(first: dict[str, Any], also: list[dict[str, Any]]) -> list[str]:
    """The failures that probably have the same cause, in one line; and in another those that have a name which it has not."""
    own = [f"{row['id']} ({_short(row['mistake'])})" for row in also if has_its_own_name(row, first)]
    same = [row["id"] for row in also if not has_its_own_name(row, first)]
    return ([f"also wrong, probably for the same reason: {', '.join(same)}"] * bool(same)
            + [f"also wrong, for this reason or for another: {', '.join(own)}"] * bool(own))


def digits_text(digits: dict[str, float]) -> str:
    """Digits along t: all of them, or at most eight, the worst among them."""
    steps = list(digits)
    if len(steps) > 8:
        worst = min(range(len(steps)), key=lambda at: digits[steps[at]])
        steps = [steps[at] for at in sorted({worst, *(round(i * (len(steps) - 1) / 6) for i in range(7))})]
    return "  ".join(f"t={t}: {digits[t]:.0f}" for t in steps)


# -- everything else -------------------------------------------------------------------------------------------------------

def _clause_lines(rows: list[dict[str, Any]], verbose: bool) -> list[str]:
    """A line for each clause; those that are undecided with their reason."""
    lines = []
    for row in rows:
        reason = row["reason"] if row["verdict"] in ("pass", "undecided") else ""
        shown = verbose or row["verdict"] == "undecided" and not reason
        notes = [reason, power_text(row) if shown else _unjudged_text(row)]
        ratio = "" if row["ratio"] is None else f"{row['ratio']:8.2g}" if row["ratio"] < MANY else "  > 1e6"
        lines.append(f"  {MARKS[row['verdict']]:10s} {row['id']:28s} {ratio:8s} {'; '.join(filter(None, notes))}".rstrip())
    first = "verdict, clause, error in units of the formula's rounding error (16 are allowed, of a property too)"
    return [first, *lines] if lines else []


def _unjudged_text(row: Mapping[str, Any]) -> str:
    """Of a pass, how many numbers could have been anything."""
    lost, large = (row["power"] or {}).get("unjudged") or (0, 0)
    is_told = row["verdict"] == "pass" and lost
    return f"{lost} of its {large} large numbers may be all rounding, and were not judged" if is_told else ""


def power_text(row: Mapping[str, Any]) -> str:
    """The smallest relative error that a pass excludes, and what it does not."""
    power = row["power"] or {}
    factor = power.get("factor")
    seen = "" if factor is None else f"an error of {factor:.2g} (relative) would have been seen"
    unseen = "; ".join(power.get("unseen") or ())
    return "; ".join(filter(None, [seen, f"would not have been seen: {unseen}" if unseen else "", _unjudged_text(row)]))


def _unasked_lines(report: dict[str, Any], verbose: bool) -> list[str]:
    """What was not looked at, and why."""
    lines = [f"not checked: {row['id']}: {row['reason']}" for row in report["clauses"] if row["verdict"] == "not checked"]
    if report["not_known"]:
        names = [one["name"] + f" (is {one['nearest']} meant?)" * bool(one["nearest"]) for one in report["not_known"]]
        lines += _wrap(f"not checked, because no clause is about these functions: {', '.join(names)}", indent=2)
    if report["not_looked_at"]:
        lines += _wrap(f"not checked, because no clause is about these parts: {', '.join(report['not_looked_at'])}", indent=2)
    if report["further_outputs"]:
        lines += _wrap(f"{FURTHER}: {', '.join(further_outputs(report))}", indent=2)
    return lines + _skipped_lines([row for row in report["clauses"] if row["verdict"] == "skipped"], verbose)


def further_outputs(report: dict[str, Any]) -> list[str]:
    """The functions that return more than a clause is about, and how much more."""
    return [f"{name} ({count} more)" for name, count in report["further_outputs"].items()]


def _skipped_lines(rows: list[dict[str, Any]], verbose: bool) -> list[str]:
    if verbose:
        return [f"skipped: {row['id']}: {row['reason']}" for row in rows]
    reasons = dict.fromkeys(row["reason"] for row in rows if not row["reason"].endswith("not offered"))
    lines = [line for reason in reasons for line in
             _wrap(f"skipped: {', '.join(row['id'] for row in rows if row['reason'] == reason)}: {reason}", indent=2)]
    missing = sum(row["reason"].endswith("not offered") for row in rows)
    return lines + [f"skipped: {missing} clauses on what is not offered (--verbose lists them)"] * bool(missing)


def conventions(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The conventions that are known and bear on what was asked, each with its value, and how it is known if not inferred."""
    asked = {row["function"] for row in report["clauses"] if row["verdict"] not in UNASKED}
    bearing = {field for name in asked for field in (fields_of(BY_NAME[name]) if name in BY_NAME else report["profile"])}
    return [(field, f"{value}" + ("" if report["known"][field] == "inferred" else f" ({report['known'][field]})"))
            for field, value in report["profile"].items()
            if report["known"][field] != "undetermined" and (field in bearing or field.partition(".")[0] in asked)]


def fields_of(quantity: Quantity) -> list[str]:
    """The conventions that bear on a function at the first of the inputs that are always tried."""
    return bearing_on(quantity, next(iter(edges_for_all(quantity.edges)), {}))


def _convention_lines(report: dict[str, Any]) -> list[str]:
    known = [f"{field} {value}" for field, value in conventions(report)]
    counts = ["in this report t counts from 1; the adapter counts from 0"] * any(one.startswith("first_t 0") for one in known)
    return _wrap("conventions: " + (", ".join(known) or "none that anything here depends on"), indent=2) + counts


def _wrap(line: str, *, indent: int) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)


def table(reports: list[dict[str, Any]]) -> str:
    """Several reports, a line for each: the worst verdict, and how many clauses have which."""
    heads = ("", "adapter", *reports[0]["summary"])
    lines = [(_mark_of(report), tidy(report["adapter"]), *map(str, report["summary"].values())) for report in reports]
    widths = [max(map(len, column)) for column in zip(heads, *lines)]
    return "\n".join("  ".join(word.ljust(width) if at < 2 else word.rjust(width) for at, (word, width) in
                               enumerate(zip(line, widths))).rstrip() for line in (heads, *lines))


def _mark_of(report: dict[str, Any]) -> str:
    """A report in a word."""
    if "error" in report:
        return "ERROR"
    if report["exit_code"] == 1:
        found = [row["verdict"] for row in report["clauses"] if surprises(row)]
        return MARKS["wrong"] if set(found) != {"inaccurate"} else MARKS["inaccurate"]
    return MARKS["undecided" if report["exit_code"] else "pass"]


def plan(name: str, clauses: Sequence[Any], *, verbose: bool = False) -> str:
    """What would be asked of an adapter, a clause a line, and what it misses for the others (`session.Planned`)."""
    asked = [clause for clause in clauses if not clause.missing]
    missing: dict[str, list[str]] = {}
    for clause in clauses:
        if clause.missing:
            missing.setdefault(", ".join(clause.missing), []).append(clause.id)
    lines = [f"{tidy(name)}: {len(asked)} of {len(clauses)} clauses would be asked"]
    lines += [f"  {clause.id:28s} {clause.called}" for clause in asked]
    if missing and not verbose:
        rest = f"{len(clauses) - len(asked)} are not asked, because what they need is not offered (--verbose lists it)"
        return "\n".join([*lines, rest])
    lines += ["not asked, because these functions are not offered:"] * bool(missing)
    for names, ids in missing.items():
        lines += _wrap(f"  {names}: {', '.join(ids)}", indent=4)
    return "\n".join(lines)


def _counts_text(report: dict[str, Any]) -> str:
    counts = ", ".join(f"{number} {verdict}" for verdict, number in report["summary"].items())
    return f"{counts}; seed {report['seed']}"
