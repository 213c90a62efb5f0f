"""A report as annotations of a pull request on GitHub: lines that a job prints, and that GitHub shows beside the code."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from refdpm.conformance.report import failure_lines, failure_text, headline, surprises

Places = Mapping[str, tuple[str, int]]      # of each function of the adapter its file and line


def annotations(report: dict[str, Any], places: Places, *, root: Path) -> Iterator[str]:
    """An error for each cause of failures, at the adapter's function; a warning for what could not be asked.

    `root` is the folder of the checkout: what is in it is named as it is there.
    """
    by_id = {row["id"]: row for row in report["clauses"]}
    for cause in report["causes"]:
        row = by_id[cause["first"]]
        also = [f"also wrong, probably for the same reason: {', '.join(cause['also'])}"] * bool(cause["also"])
        yield _line("error", row, "\n".join([failure_text(row), *failure_lines(row), *also]), places, root)
    for row in report["clauses"]:
        if row["expected"] and surprises(row):
            yield _line("error", row, f"{row['id']} passes, but was expected to fail: {row['expected']}", places, root)
        elif row["verdict"] == "not checked" and row["kind"] == "value":
            yield _line("warning", row, f"{row['called']} could not be checked: {row['reason']}", places, root)
    if report["exit_code"] == 2:
        yield f"::error title=refdpm::{_escaped(headline(report))}"


def _line(kind: str, row: Mapping[str, Any], says: str, places: Places, root: Path) -> str:
    where = {}
    if row["function"] in places:
        file, line = places[row["function"]]
        path = Path(file).resolve()
        inside = path.is_relative_to(root.resolve())
        where = {"file": str(path.relative_to(root.resolve()) if inside else path), "line": str(line)}
    properties = ",".join(f"{name}={_escaped(value, also=':,')}" for name, value in (where | {"title": row["id"]}).items())
    return f"::{kind} {properties}::{_escaped(says)}"


def _escaped(text: str, *, also: str = "") -> str:
    """Text with what GitHub would take for the end of a line or of a property written as %0A and the like."""
    return "".join(f"%{ord(one):02X}" if one in "%\r\n" + also else one for one in text)
