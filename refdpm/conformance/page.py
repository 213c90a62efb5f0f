"""A report as a page to look at: what is wrong, a line for each clause, what was not looked at, conventions, the command."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
import math

from refdpm.conformance.causes import has_its_own_name
from refdpm.conformance.glossary import CONVENTIONS, GLOSSARY
from refdpm.conformance.report import (FAILING, FURTHER, MANY, RIGHT_DIGITS, UNASKED, conventions, digits_text, explanation_text,
                                       failure_fields, further_outputs, headline, power_text, surprises)
from refdpm.html import Markup, joined, page, tag

GENERATOR = "refdpm check"
MARK = f'content="{GENERATOR}"'.encode()
KINDS = {"pass": "good", "undecided": "open", "inaccurate": "bad", "wrong": "bad", "skipped": "soft", "not checked": "open"}
MOST, MARKED = 17, (0, 8, 16)   # digits that are drawn; of which those have a rule and a number
Row = Mapping[str, Any]


def html(reports: list[dict[str, Any]], *, command: str) -> bytes:
    """One page on one adapter or several; `command` made it."""
    several = len(reports) > 1
    parts = [_report(report, f"{number}-" if several else "") for number, report in enumerate(reports, start=1)]
    names = ", ".join(report["adapter"] for report in reports)
    return page(f"refdpm check: {names}", *([_overview(reports)] if several else []), *parts, _run_again(reports[0], command),
                generator=GENERATOR, style=STYLE)


def _overview(reports: list[dict[str, Any]]) -> Markup:
    """A line for each adapter."""
    lines = [tag("li", tag("a", report["adapter"], href=f"#{number}-report"), " ", *_counts(report))
             for number, report in enumerate(reports, start=1)]
    return tag("nav", tag("ul", *lines), aria_label="adapters")


def _report(report: dict[str, Any], prefix: str) -> Markup:
    name = report["adapter"]
    kind = {0: "good", 1: "bad"}.get(report["exit_code"], "open")
    return tag("section", tag("h1", f"refdpm check: {name}"),
               tag("p", tag("span", headline(report).removeprefix(f"{name}: ")), class_=f"lead {kind}"),
               tag("p", *_counts(report)), *_failures(report, prefix), *_clauses(report, prefix), *_unasked(report),
               *_conventions(report), id=f"{prefix}report")


def _counts(report: dict[str, Any]) -> Iterator[Markup]:
    """How many clauses have each verdict."""
    yield from (_badge(verdict, f"{number} {verdict}") for verdict, number in report["summary"].items() if number)


def _badge(verdict: str, says: str = "") -> Markup:
    return tag("span", says or verdict, class_=f"badge {KINDS[verdict]}", title=GLOSSARY[verdict])


# -- what is wrong ---------------------------------------------------------------------------------------------------------

def _failures(report: dict[str, Any], prefix: str) -> Iterator[Markup]:
    """Every failure; those that probably follow from another one are folded away below it."""
    by_id = {row["id"]: row for row in report["clauses"]}
    late = [row for row in report["clauses"] if surprises(row) and row["expected"]]
    if report["causes"] or late:
        yield tag("h2", "What is wrong")
    for cause in report["causes"]:
        first = by_id[cause["first"]]
        yield _failure(first, prefix, "")
        for row in map(by_id.__getitem__, cause["also"]):
            own = ", which has a name of its own" * has_its_own_name(row, first)
            yield tag("details", tag("summary", f"{row['id']} is {row['verdict']} too, probably for the same reason{own}"),
                      _failure(row, prefix, ""))
    yield from (_failure(row, prefix, f"passes, but was expected to fail: {row['expected']}") for row in late)
    expected = [row for row in report["clauses"] if row["expected"] and row["verdict"] in FAILING]
    if expected:
        yield tag("h2", "What fails as expected")
    yield from (_failure(row, prefix, f"expected to fail: {row['expected']}") for row in expected)


def _failure(row: Row, prefix: str, note: str) -> Markup:
    fields = {} if row["verdict"] == "pass" else dict(failure_fields(row))
    parts = [_field(name, says) for name, says in fields.items() if name != "digits"]
    if "digits" in fields:
        parts.append(joined(tag("dt", "digits"), tag("dd", f"{RIGHT_DIGITS}:", _chart(row, 560, 150, labels=True))))
    return tag("article", tag("h3", _badge(row["verdict"]), row["id"], tag("span", f"  {row['called']}", class_="soft")),
               *([tag("p", note)] if note else []), *([tag("dl", *parts)] if parts else []),
               id=f"{prefix}{row['id']}")


def _field(name: str, says: str) -> Markup:
    kind = "code" if name in ("came", "should be", "input", "run again") else "span"
    return joined(tag("dt", name), tag("dd", tag(kind, says)))


# -- every clause ----------------------------------------------------------------------------------------------------------

def _clauses(report: dict[str, Any], prefix: str) -> Iterator[Markup]:
    rows = [row for row in report["clauses"] if row["verdict"] not in UNASKED]
    if rows:
        heads = ("verdict", "clause", "error", "digits along t", "what is known")
        yield tag("h2", "Every clause that was asked")
        yield tag("p", "The error is in units of the formula's own rounding error; 16 are allowed. A drawing has a dot for each t "
                  "of the input with most values of t, from 1 to T: the digits that are right, from 0 to 17. An answer below the "
                  "dashed line would have failed.", class_="soft")
        yield tag("table", tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
                  tag("tbody", *(_clause(row, prefix) for row in rows)))


def _clause(row: Row, prefix: str) -> Markup:
    """A line of the table."""
    told = surprises(row) or row["expected"]
    name = tag("a", row["id"], href=f"#{prefix}{row['id']}") if told and row["verdict"] != "undecided" else row["id"]
    error = "" if row["ratio"] is None else f"{row['ratio']:.2g}" if row["ratio"] < MANY else "> 1e6"
    called = tag("span", row["called"], class_="soft")
    return tag("tr", tag("td", _badge(row["verdict"])), tag("td", tag("code", name), tag("br"), called),
               tag("td", tag("span", error, class_="number"), data_head="error"),
               tag("td", _chart(row, 170, 34, labels=False) if row["digits"] else ""), tag("td", _known(row)))


def _known(row: Row) -> str:
    """The mistake of a failure, the power of a pass, the reason of what is undecided."""
    if row["verdict"] in FAILING:
        return explanation_text(row)
    return "; ".join(filter(None, [row["reason"], power_text(row)]))


# -- digits along t --------------------------------------------------------------------------------------------------------

def _chart(row: Row, width: int, height: int, *, labels: bool) -> Markup:
    """The digits that are right at every t that was tried, and the least that would not have failed."""
    steps, (left, low) = list(row["digits"]), (28, 20) if labels else (3, 3)

    def place(at: int, digits: float) -> tuple[float, float]:
        x = left + (width - left - 12) * at / max(len(steps) - 1, 1)
        return round(x, 1), round(3 + (height - low - 3) * (1 - min(max(digits, 0), MOST) / MOST), 1)

    def line(digits: Mapping[str, float], **drawn: str) -> Markup:
        places = (place(at, digits[t]) for at, t in enumerate(steps) if t in digits)
        return tag("polyline", points=" ".join(f"{x},{y}" for x, y in places), fill="none", **drawn)

    rules = [line(dict.fromkeys(steps, mark), stroke="var(--line)") for mark in (MARKED if labels else MARKED[:1])]
    demanded = {t: -math.log10(error) for t, error in ((row["power"] or {}).get("at") or {}).items() if 0 < error < math.inf}
    places = [place(at, digits) for at, digits in enumerate(row["digits"].values())]
    dots = [tag("circle", cx=x, cy=y, r=2, fill="currentColor") for x, y in places]
    said = f"digits that are right:  {digits_text(row['digits'])}"
    return tag("svg", tag("title", said), *rules, line(demanded, stroke="var(--soft)", stroke_dasharray="3 3"),
               line(row["digits"], stroke="currentColor"), *dots, *(_labels(steps, place, height) if labels else []),
               viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", class_=KINDS[row["verdict"]])


def _labels(steps: list[str], place: Callable[[int, float], tuple[float, float]], height: int) -> Iterator[Markup]:
    """Numbers of digits on the left, and below at most eight of the t."""
    yield from (tag("text", str(mark), x=20, y=place(0, mark)[1] + 4, text_anchor="end") for mark in MARKED)
    shown = sorted({round(n * (len(steps) - 1) / 7) for n in range(8)})
    yield from (tag("text", f"t={steps[at]}" if at == 0 else steps[at], x=place(at, 0)[0], y=height - 4, text_anchor="middle")
                for at in shown)


# -- everything else -------------------------------------------------------------------------------------------------------

def _unasked(report: dict[str, Any]) -> Iterator[Markup]:
    """What was not looked at, by reason."""
    reasons: dict[str, list[str]] = {}
    for row in report["clauses"]:
        if row["verdict"] in UNASKED:
            reasons.setdefault(f"{row['verdict']}: {row['reason']}", []).append(row["id"])
    own = [one["name"] + f" (is {one['nearest']} meant?)" * bool(one["nearest"]) for one in report["not_known"]]
    reasons |= {"not checked: no clause is about these functions": own} if own else {}
    reasons |= {"not checked: no clause is about these parts": report["not_looked_at"]} if report["not_looked_at"] else {}
    reasons |= {FURTHER: further_outputs(report)} if report["further_outputs"] else {}
    said = sorted(reasons.items(), key=lambda item: (item[0].endswith("not offered"), not item[0].startswith("not checked")))
    if said:
        number = sum(map(len, reasons.values()))
        lines = [joined(tag("dt", ", ".join(ids)), tag("dd", reason)) for reason, ids in said]
        yield tag("h2", "What was not looked at")
        yield from (tag("p", f"{', '.join(ids)} — {reason}") for reason, ids in said if reason.startswith("not checked"))
        yield tag("details", tag("summary", f"all {number}, with the reasons"), tag("dl", *lines))


def _conventions(report: dict[str, Any]) -> Iterator[Markup]:
    found = conventions(report)
    yield tag("h2", "Conventions")
    if not found:
        yield tag("p", "None that anything here depends on is known.")
        return
    yield tag("dl", *(joined(tag("dt", name), tag("dd", tag("code", says), " ", _meaning(report, name))) for name, says in found))
    if report["profile"]["first_t"] == 0 and "first_t" in dict(found):
        yield tag("p", "On this page t counts from 1; the adapter counts from 0.")


def _meaning(report: dict[str, Any], name: str) -> Markup:
    says, values = CONVENTIONS[name.rpartition(".")[2]]
    return tag("span", f"{says}: {values[report['profile'][name]]}", class_="soft")


def _run_again(report: dict[str, Any], command: str) -> Markup:
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return tag("section", tag("h2", "Run it again"), tag("pre", command), tag("p", f"with {versions}; seed {report['seed']}"))


# -- how it looks ----------------------------------------------------------------------------------------------------------

STYLE = """
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem }
section + section { border-top: 1px solid var(--line); margin-top: 3rem; padding-top: 2rem }
nav ul { list-style: none; padding: 0; margin: 0 0 2rem }
pre, code { overflow-wrap: anywhere; white-space: pre-wrap }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem .45rem 0; border-top: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600; border-top: 0 }
article { border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: 6px; padding: .2rem 1rem .8rem;
  margin: 1rem 0 }
article h3 { margin: .6em 0 }
.good { color: var(--good) } .bad { color: var(--bad) } .open { color: var(--open) }
.badge { display: inline-block; border: 1px solid currentColor; border-radius: 99px; padding: 0 .6em; margin-right: .5em;
  font-size: .85em; font-weight: 600; white-space: nowrap }
.lead { font-size: 1.1rem; border-left: 4px solid currentColor; padding: .2rem 0 .2rem .9rem }
.lead span { color: var(--ink) }
svg { display: block; max-width: 100%; height: auto; overflow: visible }
td svg { min-width: 11rem }
svg text { fill: var(--soft); font-size: 11px }
@media (max-width: 46rem) {
  body { padding: 1rem }
  table, tbody, tr, td { display: block } thead { display: none }
  tr { border-top: 1px solid var(--line); padding: .5rem 0 } td { border: 0; padding: .1rem 0 }
  td[data-head]::before { content: attr(data-head) " "; color: var(--soft) } }
@media print { body { max-width: none; padding: 0 } article, tr { break-inside: avoid } h2, h2 + p { break-after: avoid } }
"""
