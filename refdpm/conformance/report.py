"""A report as text, and as JUnit for those who collect it; and what `explain` prints of a clause.

The first line that matters names the mistake.
"""

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree
import re
import textwrap

from refdpm.conformance import gradients
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.judge import plain
from refdpm.conformance.mistakes import MISTAKES
from refdpm.conformance.naming import touched

SAYS: dict[str, Any] = {mistake.id: mistake for mistake in MISTAKES} | {slip.id: slip for slip in gradients.SLIPS}
WIDTH = 110
JUNIT_MARK = b'<testsuite name="refdpm"'


def surprises(row: Mapping[str, Any]) -> bool:
    """A failure that was not expected, or an expected one that did not come."""
    return (row["verdict"] in ("wrong", "inaccurate")) != bool(row["expected"]) and row["verdict"] != "skipped"


def text(report: dict[str, Any], *, verbose: bool = False) -> str:
    """What is wrong first, then every clause in a line, the conventions, and the counts."""
    bad = [row for row in report["clauses"] if row["verdict"] in ("wrong", "inaccurate")]
    lines = [_headline(report, bad), ""]
    for row in bad:
        lines += [*failure_lines(row), ""]
    lines += _clause_lines([row for row in report["clauses"] if row["verdict"] != "skipped"]) + [""]
    skipped = [row for row in report["clauses"] if row["verdict"] == "skipped"]
    if skipped:
        lines += _skipped_lines(skipped, verbose) + [""]
    lines += [f"misspelt? {hint}" for hint in report["misspelt"]]
    lines += _convention_lines(report) + ["", _counts_text(report)]
    return "\n".join(lines)


def _headline(report: dict[str, Any], bad: list[dict[str, Any]]) -> str:
    name, surprising = report["adapter"], [row for row in report["clauses"] if surprises(row)]
    if report["exit_code"] == 2:
        return f"{name}: nothing ran; what these clauses need is not offered (python -m refdpm explain lists it)"
    if not surprising:
        passed = report["summary"]["pass"]
        rest = f", {len(bad)} fail as expected" * bool(bad)
        return f"{name}: {passed} {'clause passes' if passed == 1 else 'clauses pass'}{rest}"
    first = next((row for row in surprising if row["mistake"] or row["reason"]), surprising[0])
    if first["expected"]:
        return f"{name}: {first['id']} passes, but was expected to fail: {first['expected']}"
    told = _mistake_text(first) if first["mistake"] else first["reason"] or "no known mistake reproduces it"
    before = f" ({surprising[0]['id']}, without a name, comes first)" if first is not surprising[0] else ""
    return f"{name}: {first['id']} is {first['verdict']}: {told}{before}"


def _mistake_text(row: dict[str, Any]) -> str:
    together = " and ".join(f"{id} ({SAYS[id].says})" if id in SAYS else id for id in row["mistake"].split(" + "))
    return together + (f", or {', '.join(row['also'][:3])}, which is the same here" if row["also"] else "")


def failure_lines(row: dict[str, Any]) -> list[str]:
    """A clause that fails, in a few lines."""
    lines = [f"{row['verdict'].upper()}  {row['id']}" + ("  (expected: " + row["expected"] + ")" if row["expected"] else "")]
    if row["reason"]:
        lines += [f"  {row['reason']}"]
    rest = f"{row['runner_up']} would leave {row['runner_up_distance']:.2g}" if row["runner_up"] else ""
    if row["mistake"]:
        lines += [f"  mistake    {_mistake_text(row)}"]
        lines += [f"             as in {SAYS[id].source}" for id in row["mistake"].split(" + ") if id in SAYS]
        if row["distance"] is not None:
            lines += [f"             leaves {row['distance']:.1g} of the error" + f"; the next, {rest}" * bool(rest)]
    elif rest:
        lines += [f"  mistake    none that is known reproduces it; the nearest, {rest} of the error"]
    if row["ratio"] is not None and row["ratio"] < 1e100:
        lines += [f"  error      {row['ratio']:.2g} times u·Σ|terms|, 32 are allowed"]
    if row["digits"]:
        lines += [f"  digits     {_digits_text(row['digits'])}"]
    if row["smallest_input"]:
        lines += _wrap(f"  input      {_inputs_text(row['smallest_input'])}", indent=13)
    if row["reproduce"]:
        lines += [f"  again      {row['reproduce']}"]
    return lines


def _digits_text(digits: dict[str, float]) -> str:
    """Digits along t: all of them, or at most eight."""
    steps = list(digits)
    shown = steps if len(steps) <= 8 else [steps[round(i * (len(steps) - 1) / 7)] for i in range(8)]
    return "  ".join(f"t={t}: {digits[t]:.0f}" for t in shown)


def _inputs_text(inputs: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {_cut_text(value)}" for name, value in inputs.items())


def _cut_text(value: Any) -> str:
    written = str(value)
    return written if len(written) <= 120 else written[:117] + "…"


def _clause_lines(rows: list[dict[str, Any]]) -> list[str]:
    mark = {"pass": "ok", "inaccurate": "INACCURATE", "wrong": "WRONG"}
    lines = []
    for row in rows:
        note = "given the earlier stage" if row["given_upstream"] else ""
        note = "; ".join(filter(None, [note, row["reason"] if row["verdict"] == "pass" else ""]))
        ratio = "" if row["ratio"] is None else f"{row['ratio']:8.2g}"
        lines.append(f"  {mark[row['verdict']]:10s} {row['id']:28s} {ratio:8s} {note}".rstrip())
    return ["clause, error in u·Σ|terms| (32 are allowed)", *lines] if lines else []


def _skipped_lines(rows: list[dict[str, Any]], verbose: bool) -> list[str]:
    if verbose:
        return [f"  skipped    {row['id']:28s} {row['reason']}" for row in rows]
    reasons = [row["reason"] for row in rows if not row["reason"].endswith("not offered")]
    return [f"skipped: {len(rows)} clauses on what is not offered (--verbose lists them)",
            *(f"  {reason}" for reason in dict.fromkeys(reasons))]


def _convention_lines(report: dict[str, Any]) -> list[str]:
    known = [f"{field} {value}" + ("" if report["known"][field] == "inferred" else f" ({report['known'][field]})")
             for field, value in report["profile"].items() if report["known"][field] != "undetermined"]
    return _wrap("conventions: " + (", ".join(known) or "none that anything here depends on"), indent=2)


def _wrap(line: str, *, indent: int) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent=" " * indent)


def _counts_text(report: dict[str, Any]) -> str:
    counts = ", ".join(f"{number} {verdict}" for verdict, number in report["summary"].items())
    return f"{counts}; seed {report['seed']}"


# -- JUnit ---------------------------------------------------------------------------------------------------------------

def junit(report: dict[str, Any]) -> bytes:
    """One test case for each clause."""
    counts = report["summary"]
    suite = ElementTree.Element("testsuite", name="refdpm", tests=str(len(report["clauses"])), errors="0",
                                failures=str(sum(map(surprises, report["clauses"]))), skipped=str(counts["skipped"]))
    for row in report["clauses"]:
        case = ElementTree.SubElement(suite, "testcase", classname=report["adapter"], name=row["id"])
        if row["verdict"] == "skipped":
            ElementTree.SubElement(case, "skipped", message=row["reason"])
        elif surprises(row):
            message = _mistake_text(row) if row["mistake"] else row["reason"] or row["expected"] or row["verdict"]
            ElementTree.SubElement(case, "failure", message=message, type=row["verdict"]).text = "\n".join(failure_lines(row))
    for element in suite.iter():
        element.attrib = {name: _in_xml(value) for name, value in element.attrib.items()}
        element.text = element.text and _in_xml(element.text)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)


_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _in_xml(text: str) -> str:
    """The text with what XML cannot hold, which is most control characters, written as in a program: \\x1b."""
    return _NOT_IN_XML.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


# -- explain -------------------------------------------------------------------------------------------------------------

def explain(id: str, of: Quantity | Law) -> str:
    """A clause: what it asks for, where that is derived, on which inputs it is tried, and the mistakes it knows."""
    lines = [id, *_wrap(f"  {of.says}", indent=2), "",
             f"  equations  {', '.join(of.equations) or 'none of the paper'}"]
    if isinstance(of, Law):
        return "\n".join([*lines, f"  needs      {', '.join(of.needs) or 'any function'}"])
    inputs = of.edges(Given())[0]
    lines += [f"  function   {of.name}({', '.join(inputs)}) → {', '.join(output.id.lower() for output in of.outputs)}",
              f"  derived    {_derivation_text(of)}"]
    lines += [f"  builds on  {', '.join(of.after)}"] * bool(of.after)
    lines += [f"  gradients  {', '.join(of.arguments)}"] * bool(of.arguments)
    edges = of.edges(Given())
    lines += [f"  inputs     {len(edges)} edges, the first: "
              + _cut_text({name: plain(value) for name, value in edges[0].items()}), "", "  known mistakes"]
    lines += [f"    {mistake.id:14s} {mistake.says}" for mistake in touched(_answers_of(id, of), inputs)] or ["    none"]
    return "\n".join(lines)


def mistake(id: str) -> str:
    """A known mistake: wrong → right, where it happened, and the function of this package that it is a wrong variant of."""
    known = SAYS[id]
    home = f"\n  wrong variant of  refdpm.{known.target}" if hasattr(known, "target") else ""
    return f"{id}\n  wrong → right     {known.says}\n  seen in           {known.source}{home}"


def _answers_of(id: str, of: Quantity) -> Any:
    """What the clause compares with: the value, or for a clause on gradients the pullback too."""
    if not id.startswith("GRAD."):
        return of.reference
    return lambda inputs: of.gradients(inputs, tuple(0 * value + 1 for value in of.reference(inputs)))


def _derivation_text(of: Quantity) -> str:
    """The functions of this package whose docstrings derive it."""
    places = sorted({mistake.target for mistake in touched(of.reference, of.edges(Given())[0])})
    return ", ".join(f"refdpm.{place.removesuffix('_vjp')}" for place in places) or "see its equations"


def listing(clauses: list[tuple[str, Quantity | Law]]) -> str:
    """Every function that an adapter may offer, with its clauses."""
    lines = ["Functions that an adapter may offer; arguments are taken by name.  A clause: python -m refdpm explain CLAUSE", ""]
    seen = set()
    for id, of in clauses:
        if isinstance(of, Quantity) and of.name not in seen and not id.startswith("GRAD."):
            seen.add(of.name)
            arguments = ", ".join(name for name in of.edges(Given())[0] if name != "beta" or of.outputs[0].kind == "table")
            lines += [f"{of.name}({arguments})", *_wrap(f"    {of.says}", indent=4),
                      "    " + ", ".join([f"{of.id}.{output.id}" for output in of.outputs] + gradients.clause_ids(of))]
        elif isinstance(of, Law):
            lines += [id, *_wrap(f"    {of.says}", indent=4)]
    return "\n".join(lines)
