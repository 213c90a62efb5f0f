"""A report as JUnit, for those who collect it: a test case for each clause, with its time and what is known of it.

What was not decided, and what fails as expected, is skipped with the reason; only a surprise is a failure.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from refdpm.conformance.evidence import tidy
from refdpm.conformance.report import UNDECIDED, conventions, failure_lines, failure_text, power_text, surprises

MARK = b'<testsuite name="refdpm"'
LONGEST = 5000                  # characters of a failure
Row = Mapping[str, Any]


def junit(reports: list[dict[str, Any]], seconds: list[Mapping[str, float]] | None = None) -> bytes:
    """One test suite for each report; `seconds` has the time of every clause of each, if it was taken."""
    suites = [_suite(report, times) for report, times in zip(reports, seconds or [{}] * len(reports), strict=True)]
    root = suites[0]
    if len(suites) > 1:
        root = ElementTree.Element("testsuites")
        root.extend(suites)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _suite(report: dict[str, Any], seconds: Mapping[str, float]) -> ElementTree.Element:
    rows = report["clauses"]
    error = report.get("error")                                    # what was not reached must not look like a success
    if stopped := report.get("stopped"):
        error = "the check was stopped after {looked_at} of {of} clauses".format(**stopped)
    suite = ElementTree.Element("testsuite", name="refdpm", tests=str(len(rows) + bool(error)), errors=str(int(bool(error))),
                                failures=str(sum(map(surprises, rows))), skipped=str(sum(_skip_text(row) != "" for row in rows)))
    suite.attrib |= {"time": f"{sum(seconds.values()):.3f}"} if seconds else {}
    _add_properties(suite, _suite_properties(report))
    for row in rows:
        case = ElementTree.SubElement(suite, "testcase", classname=tidy(report["adapter"]), name=row["id"])
        case.attrib |= {"time": f"{seconds[row['id']]:.3f}"} if row["id"] in seconds else {}
        _add_properties(case, properties(row))
        _add_outcome(case, row)
    if error:
        name = "stopped" if stopped else "adapter"
        case = ElementTree.SubElement(suite, "testcase", classname=tidy(report["adapter"]), name=name)
        ElementTree.SubElement(case, "error", message=tidy(error))
    return suite


def _add_outcome(case: ElementTree.Element, row: Row) -> None:
    if skip := _skip_text(row):
        ElementTree.SubElement(case, "skipped", message=tidy(skip))
    elif surprises(row):
        message = f"passes, but was expected to fail: {row['expected']}" if row["expected"] else failure_text(row)
        failure = ElementTree.SubElement(case, "failure", message=tidy(message), type=row["verdict"])
        failure.text = tidy("\n".join(failure_lines(row)), longest=LONGEST)


def _skip_text(row: Row) -> str:
    """Why a clause is neither a success nor a failure; nothing if it is one of them."""
    if row["verdict"] in UNDECIDED:
        return f"{row['verdict']}: {row['reason']}"
    return f"expected to fail: {row['expected']}" if row["expected"] and not surprises(row) else ""


def _add_properties(to: ElementTree.Element, named: Iterator[tuple[str, str]]) -> None:
    found = list(named)
    if found:
        parent = ElementTree.SubElement(to, "properties")
        for name, value in found:
            ElementTree.SubElement(parent, "property", name=name, value=tidy(value))


def _suite_properties(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((f"convention.{name}", says) for name, says in conventions(report))
    yield from ((f"version.{name}", version) for name, version in report["versions"].items())
    yield "seed", str(report["seed"])


def properties(row: Row) -> Iterator[tuple[str, str]]:
    """What is known of a clause, by name."""
    yield "verdict", row["verdict"]
    if row["ratio"] is not None:
        yield "error", f"{row['ratio']:.3g}"                       # in units of the formula's rounding error
    if row["power"]:
        yield "power", power_text(row) or "every wrong formula that was tried would have been seen"
    if row["reproduce"]:
        yield "reproduce", row["reproduce"]
