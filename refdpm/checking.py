"""The commands of the conformance kit: check, explain, vectors.  The kit is imported when one of them runs, not before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
import argparse
import os
import shlex

from refdpm import run
from refdpm.data import files
from refdpm.console import say, tell, to_json

LONGEST = 1e6                           # seconds
TIMEOUT = 30.0                          # seconds for one call
EXAMPLE, WRONG_EXAMPLE = "refdpm.conformance.example.ddpm", "refdpm.conformance.example.ddpm_wrong"

Add = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add(command: Add) -> None:
    """The commands and their flags."""
    sub = command("check", _check, "check an implementation: which quantities are right or wrong, and which mistake that is")
    sub.add_argument("adapter", nargs="?", metavar="ADAPTER", help="module, file.py, either with :object, or cmd:PROGRAM; without "
                     "one the reference is checked in brief, and then a small DDPM, right and with a mistake")
    sub.add_argument("--only", action="append", default=[], metavar="ID", help="clauses whose id begins so; may be given again")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--max-examples", type=int, default=20, metavar="N", dest="max_examples", help="drawn inputs, after the edges")
    sub.add_argument("--profile", type=Path, metavar="FILE", help="conventions as JSON, which are then not inferred")
    sub.add_argument("--expected-failures", type=Path, metavar="FILE", dest="expected_failures",
                     help="lines CLAUSE REASON; an expected failure that passes is a failure")
    sub.add_argument("--isolate", action="store_true", help=argparse.SUPPRESS)         # it always is, in a process of its own
    sub.add_argument("--timeout", type=float, default=TIMEOUT, metavar="SECONDS", help="for one call, default 30; the adapter "
                     "has a process of its own, which may hang or die")
    sub.add_argument("--junit", type=Path, metavar="FILE", help="write the report as JUnit")
    sub.add_argument("--dump", type=Path, metavar="FILE", help="write the input of the first failure to a .npz or .json file")
    sub.add_argument("--verbose", action="store_true", help="also what is skipped, what a pass proves, and every failure in full")
    sub.add_argument("--json", action="store_true")

    sub = command("explain", _explain, "what a report prints: a clause, a function, a mistake, an equation, a convention, a word; "
                  "without one, all that can be checked")
    sub.add_argument("of", nargs="?", metavar="NAME", help="GAU.POST, posterior, SCH-01c, 14, first_t, undecided, glossary …")

    sub = command("vectors", _vectors, "test vectors for other languages: write them, or verify those of a folder")
    sub.add_argument("action", choices=("export", "verify"))
    sub.add_argument("folder", type=Path, metavar="DIR")
    sub.add_argument("--json", action="store_true")


# -- check -------------------------------------------------------------------------------------------------------------

UNSOUND = 3                             # the exit code where this package disagrees with its own textbook


def _check(options: argparse.Namespace) -> int:
    from hypothesis import configuration
    from refdpm.conformance.subject import Unsound

    configuration.set_hypothesis_home_dir(os.devnull)      # where nothing can be kept: it would make a folder in the current one
    try:
        return _first_look(options) if options.adapter is None else _run_check(options)
    except Unsound as error:
        tell(f"refdpm check: {error}")
        return UNSOUND


def _run_check(options: argparse.Namespace) -> int:
    from refdpm.conformance import junit

    if options.dump and options.dump.suffix not in (".npz", ".json"):
        raise ValueError(f"--dump: expected a name ending in .npz or .json, got {options.dump}")
    if options.dump and options.dump.exists():
        raise ValueError(f"--dump: expected a new file, got {options.dump}, which exists; it was left unchanged")
    xml = run.new_file(options.junit, flag="--junit", mark=junit.MARK) if options.junit else None
    seconds: dict[str, float] = {}
    report = _report(options, options.adapter, seconds)
    if options.dump:
        _dump(options, report)
    _print_report(options, report)
    if xml:
        run.write_atomically(xml, junit.junit([report], [seconds]), replace=True)
    return int(report["exit_code"])


def _dump(options: argparse.Namespace, report: dict[str, Any]) -> None:
    """The input of the first failure in a file, and in the report how to look at it."""
    from refdpm.conformance import failure

    found = failure.contents(report, isolate=options.isolate)
    if found is None:
        tell("--dump: nothing fails at an input that could be written; there is no file")
        return
    run.write_atomically(options.dump, failure.as_bytes(found, options.dump.suffix))
    report["dump"] = {"file": str(options.dump), "clause": found["clause"], "python": failure.snippet(options.dump)}


def _report(options: argparse.Namespace, adapter: str, seconds: dict[str, float]) -> dict[str, Any]:
    """The report on an adapter; `seconds` gets the time that each clause took."""
    from refdpm.conformance import expected as expectations, profile as profiles, remote, session
    from refdpm.conformance.judge import Effort

    if options.max_examples < 0:
        raise ValueError(f"--max-examples: expected a number from 0 on, got {options.max_examples}")
    if not 0 < options.timeout < LONGEST:
        raise ValueError(f"--timeout: expected seconds above 0 and below {LONGEST:g}, got {options.timeout}")
    if options.seed < 0:
        raise ValueError(f"--seed: expected an integer ≥ 0, got {options.seed}")
    known = [id for id, _ in session.all_clauses()]
    for only in options.only:
        if not any(id.startswith(only) for id in known):
            raise ValueError(f"--only: expected the beginning of a clause's id (refdpm explain lists them), got {only!r}")
    path = options.expected_failures
    expected = expectations.from_file(path, known, flag="--expected-failures") if path else {}
    stated = profiles.stated_conventions(_profile_of(options.profile))
    source = remote.open_source(adapter, isolate=True, timeout=options.timeout, names=session.NAMES)
    try:
        return session.check(source, only=options.only, expected_failures=expected, profile=stated,
                             watch=lambda step: seconds.update({step.id: step.seconds}),
                             flags=_flags(options), effort=Effort(seed=options.seed, max_examples=options.max_examples))
    finally:
        source.close()


def _flags(options: argparse.Namespace) -> str:
    """The flags without which a failure might not come again."""
    timeout = f" --timeout {options.timeout:g}" if options.timeout != TIMEOUT else ""
    return timeout + (f" --profile {shlex.quote(str(options.profile))}" if options.profile else "")


def _print_report(options: argparse.Namespace, report: dict[str, Any]) -> None:
    from refdpm.conformance import report as reports
    say(to_json(report) if options.json else reports.text(report, verbose=options.verbose))


def _profile_of(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    stated = files.json_of(path)
    if not isinstance(stated, dict):
        raise ValueError(f"--profile: expected an object in {path}, got {type(stated).__name__}")
    return stated


def _first_look(options: argparse.Namespace) -> int:
    """The reference in brief, then the example as it is, then with its mistake: a whole report, and a named failure."""
    from refdpm.conformance import brief

    tell("the reference itself …")
    own = brief.run()
    right = _report(options, EXAMPLE, {})
    wrong = _report(options, WRONG_EXAMPLE, {})
    as_wanted = own["ok"] and right["exit_code"] == 0 and wrong["exit_code"] == 1
    if options.json:
        say(to_json({"reference": own, "example": right, "wrong_example": wrong, "ok": as_wanted}))
    else:
        say(brief.render(own) + "\n\nA small DDPM, written without this package, and checked as yours would be:\n")
        _print_report(options, right)
        say("\nThe same with one line changed:\n")
        _print_report(options, wrong)
        say("\nCheck yours:  python -m refdpm check your_adapter.py      (what it may offer:  python -m refdpm explain)")
    return 0 if as_wanted else 1


# -- explain, vectors --------------------------------------------------------------------------------------------------

def _explain(options: argparse.Namespace) -> int:
    from refdpm.conformance import explain, session

    known = session.all_clauses()
    say(explain.listing(known) if options.of is None else explain.explain(options.of, known))
    return 0


def _vectors(options: argparse.Namespace) -> int:
    from refdpm.conformance import vectors

    if options.action == "export":
        summary = vectors.export(options.folder)
        say(to_json(summary) if options.json else "\n".join(f"{name}: {value}" for name, value in summary.items()))
        return 0
    problems = vectors.verify(options.folder)
    say(to_json({"ok": not problems, "problems": problems}) if options.json else "\n".join(problems) or f"{options.folder}: ok")
    return 1 if problems else 0
