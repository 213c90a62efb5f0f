"""The commands of the conformance kit: check, explain, vectors.  The kit is imported when one of them runs, not before."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
import argparse
import contextlib
import os
import shlex

from refdpm import run
from refdpm.data import files
from refdpm.console import GREEN, RED, YELLOW, Progress, add_workers, keep_no_folder, say, tell, to_json
from refdpm.workers import mapping

LONGEST = 1e6                           # seconds
TIMEOUT = 30.0                          # seconds for one call
EXAMPLE, WRONG_EXAMPLE = "refdpm.conformance.example.ddpm", "refdpm.conformance.example.ddpm_wrong"


def add_check(sub: argparse.ArgumentParser) -> None:
    """The flags of `check`."""
    sub.set_defaults(command=_check)
    sub.add_argument("adapters", nargs="*", metavar="ADAPTER", help="a file.py, a module, an object in one (file.py:NAME), or "
                     "cmd:PROGRAM; without one, a demonstration: the reference itself, and a small DDPM, right and with a mistake")
    asked = sub.add_argument_group("what is asked")
    asked.add_argument("--only", action="append", default=[], metavar="NAME", help="ask only the clauses whose id begins with "
                       "NAME, or those about the function NAME; may be given several times")
    asked.add_argument("--list", action="store_true", help="only list the clauses that would be asked; with --verbose also "
                       "what is missing for the others")
    add_workers(asked, "check adapters in N processes at once, -1: one for each core; the reports are the same")
    asked.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of the random inputs (default 0)")
    asked.add_argument("--max-examples", type=int, default=20, metavar="N", dest="max_examples",
                       help="the number of random inputs (default 20); some fixed inputs are always tried")
    asked.add_argument("--profile", type=Path, metavar="FILE", help="a JSON file that states your conventions, "
                       "which are then not guessed")
    asked.add_argument("--expected-failures", type=Path, metavar="FILE", dest="expected_failures",
                       help="a file with lines CLAUSE REASON: these clauses are expected to fail, and it is a failure if one "
                       "passes")
    asked.add_argument("--isolate", action="store_true", help=argparse.SUPPRESS)       # it always is, in a process of its own
    asked.add_argument("--timeout", type=float, default=TIMEOUT, metavar="SECONDS", help="how long one call may take "
                       "(default 30); the adapter runs in a process of its own, which may hang or die")
    shown = sub.add_argument_group("what is printed and written")
    shown.add_argument("--verbose", action="store_true", help="also print what is skipped, what a pass proves, and every failure "
                       "in full")
    shown.add_argument("--quiet", action="store_true", help="print one line for each adapter, and no progress")
    shown.add_argument("--json", action="store_true", help="print the whole report as JSON, for programs")
    shown.add_argument("--github", action="store_true", help="also print annotations, which GitHub shows beside your functions")
    shown.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page to look at")
    shown.add_argument("--junit", type=Path, metavar="FILE", help="write the report as JUnit, for a CI server")
    shown.add_argument("--dump", type=Path, metavar="FILE", help="write the input of the first failure to a .npz or .json file")


def add_explain(sub: argparse.ArgumentParser) -> None:
    """The flags of `explain`."""
    sub.set_defaults(command=_explain)
    sub.add_argument("of", nargs="?", metavar="NAME", help="GAU, posterior, SCH-01c, 14, first_t, undecided, refdpm.bound, "
                     "glossary, protocol, all …; without one, a table of contents")


def add_vectors(sub: argparse.ArgumentParser) -> None:
    """The flags of `vectors`."""
    sub.set_defaults(command=_vectors)
    sub.add_argument("action", choices=("export", "verify"), help="write the vectors, or verify those that are there")
    sub.add_argument("folder", type=Path, metavar="DIR", help="the folder of the vectors")
    sub.add_argument("--quiet", action="store_true", help="no progress")
    sub.add_argument("--json", action="store_true", help="the result as JSON, for programs")


# -- check -------------------------------------------------------------------------------------------------------------

UNSOUND = 3                             # the exit code where this package disagrees with its own textbook


def _check(options: argparse.Namespace) -> int:
    from refdpm.conformance.session import Stopped
    from refdpm.conformance.subject import Unsound

    try:
        return _run_check(options) if options.adapters else _first_look(options)
    except Unsound as error:
        tell(f"refdpm check: {error}")
        return UNSOUND
    except Stopped as stopped:
        raise stopped.__cause__ or stopped                 # the interrupt, which may be a signal with a number of its own


class _Checked(NamedTuple):
    """A report; the time of each clause; where the functions of the adapter are written; and what stopped the check, if it was."""

    report: dict[str, Any]
    seconds: dict[str, float]
    places: dict[str, tuple[str, int]]
    stopped: KeyboardInterrupt | None = None


def _run_check(options: argparse.Namespace) -> int:
    from refdpm.conformance import junit, page

    how = _how(options)
    _refuse_dump(options)
    xml = run.new_file(options.junit, flag="--junit", mark=junit.MARK) if options.junit else None
    html = run.new_file(options.html, flag="--html", mark=page.MARK) if options.html else None
    with contextlib.ExitStack() as stack:
        sources = [_source_or_error(options, adapter, stack) for adapter in options.adapters]      # all, before one is checked
        if options.list:
            return _list(options, sources, how["only"])
        found, stopped = _all_checked(options, sources, how)
    if not found and stopped:
        raise stopped
    reports = [one.report for one in found]
    if options.dump:
        _dump(options, reports[0])
    _print_reports(options, reports)
    if options.github:
        _annotate(options, found)
    if xml:
        run.write_atomically(xml, junit.junit(reports, [one.seconds for one in found]), replace=True)
    if html:
        run.write_atomically(html, page.html(reports, command=_command(options)), replace=True)
    if stopped:                                            # what was found until then is printed and written
        if rest := options.adapters[len(found):]:
            tell(f"refdpm check: not looked at: {', '.join(rest)}")
        raise stopped
    return _worst([report["exit_code"] for report in reports])


def _all_checked(options: argparse.Namespace, sources: list[Any], how: dict[str, Any]
                 ) -> tuple[list[_Checked], KeyboardInterrupt | None]:
    """The reports in order, and what stopped the check before it had all of them."""
    found: list[_Checked] = []
    try:
        if options.workers != 1:
            with mapping(options.workers) as each:
                for one in each(partial(_checked_apart, options, how), options.adapters):
                    found.append(one)
            return found, None
        for adapter, source in zip(options.adapters or (EXAMPLE, WRONG_EXAMPLE), sources, strict=True):
            found.append(_checked(options, adapter, source, how))
            if found[-1].stopped:
                break
    except KeyboardInterrupt as interrupt:
        return found, interrupt
    return found, found[-1].stopped


def _refuse_dump(options: argparse.Namespace) -> None:
    if options.dump and len(options.adapters) > 1:
        raise ValueError(f"--dump: expected one adapter beside it, got {len(options.adapters)}")
    if options.dump and options.dump.suffix not in (".npz", ".json"):
        raise ValueError(f"--dump: expected a name ending in .npz or .json, got {options.dump}")
    if options.dump and options.dump.exists():
        raise ValueError(f"--dump: expected a new file, got {options.dump}, which exists; it was left unchanged")


def _worst(codes: list[int]) -> int:
    """A failure is worse than nothing decided, and that is worse than success."""
    return 1 if 1 in codes else max(codes)


def _dump(options: argparse.Namespace, report: dict[str, Any]) -> None:
    """The input of the first failure in a file, and in the report how to look at it."""
    from refdpm.conformance import failure

    found = failure.contents(report, isolate=options.isolate)
    if found is None:
        tell("--dump: nothing fails at an input that could be written; there is no file")
        return
    run.write_atomically(options.dump, failure.as_bytes(found, options.dump.suffix))
    report["dump"] = {"file": str(options.dump), "clause": found["clause"], "python": failure.snippet(options.dump)}


def _how(options: argparse.Namespace) -> dict[str, Any]:
    """How adapters are checked, as `session.check` wants it.   Raises: ValueError for flags that make no sense."""
    from refdpm.conformance import expected, session
    from refdpm.conformance.judge import Effort

    if options.max_examples < 0:
        raise ValueError(f"--max-examples: expected a number from 0 on, got {options.max_examples}")
    if not 0 < options.timeout < LONGEST:
        raise ValueError(f"--timeout: expected seconds above 0 and below {LONGEST:g}, got {options.timeout}")
    if options.seed < 0:
        raise ValueError(f"--seed: expected an integer ≥ 0, got {options.seed}")
    known = [id for id, _ in session.all_clauses()]
    path = options.expected_failures
    return {"only": [beginning for only in options.only for beginning in _asked_for(only)], "flags": _flags(options),
            "profile": _profile_of(options.profile), "effort": Effort(seed=options.seed, max_examples=options.max_examples),
            "expected_failures": expected.from_file(path, known, flag="--expected-failures") if path else {}}


def _asked_for(only: str) -> list[str]:
    """What --only stands for: the beginning of an id, or the ids of all clauses that ask a function.   Raises: ValueError."""
    from refdpm.conformance import expected, session, unknown

    needed = {id: session.names_needed(id, of) for id, of in session.all_clauses()}
    if any(id.startswith(only) for id in needed):
        return [only]
    if ids := [id for id, names in needed.items() if only in names]:
        return ids
    near = unknown.nearest(only, session.NAMES)
    hint = f"; is {near} meant?" if near else expected.hint(only, needed)
    hint = "; of several names each has an --only of its own" if "," in only else hint
    raise ValueError("--only: expected the beginning of a clause's id, or a function (refdpm explain all lists both), "
                     f"got {only!r}{hint}")


def _source_or_error(options: argparse.Namespace, adapter: str, stack: contextlib.ExitStack) -> Any:
    """The source, or of one among several adapters what is wrong with it: the others are checked all the same."""
    try:
        return _source(options, adapter, stack)
    except (ValueError, OSError) as error:
        if len(options.adapters) < 2:
            raise
        return error


def _source(options: argparse.Namespace, adapter: str, stack: contextlib.ExitStack) -> Any:
    """Where the answers come from, until the stack is closed."""
    from refdpm.conformance import remote, session

    source = remote.open_source(adapter, isolate=True, timeout=options.timeout, names=session.NAMES)
    stack.callback(source.close)
    return source


def _checked_apart(options: argparse.Namespace, how: dict[str, Any], adapter: str) -> _Checked:
    """The report on an adapter in another process than that of the command; nothing is said meanwhile."""
    with contextlib.ExitStack() as stack:
        quiet = argparse.Namespace(**vars(options) | {"quiet": True})
        return _checked(quiet, adapter, _source_or_error(options, adapter, stack), how)


def _checked(options: argparse.Namespace, adapter: str, source: Any, how: dict[str, Any]) -> _Checked:
    """The report on an adapter, or what is known of it when it is interrupted; meanwhile, how it goes."""
    from refdpm.conformance import report as texts, session

    if isinstance(source, Exception):
        return _Checked(texts.of_error(adapter, str(source), seed=options.seed, versions=session.versions()), {}, {})
    seconds: dict[str, float] = {}
    stopped = None
    with Progress(quiet=options.quiet) as progress:
        def watch(step: session.Step) -> None:
            seconds[step.id] = step.seconds
            progress.show(f"{source.name}: {step.number} of {step.total} clauses, {step.id}")

        try:
            report = session.check(source, watch=watch, **how)
        except session.Stopped as interrupt:
            report, stopped = interrupt.report, interrupt
        except (ValueError, OSError) as error:             # an adapter that states what there is not, for instance
            if len(options.adapters) < 2:
                raise
            return _checked(options, adapter, error, how)
    return _Checked(report, seconds, getattr(source, "places", {}), stopped)


def _flags(options: argparse.Namespace) -> str:
    """The flags without which a failure might not come again."""
    timeout = f" --timeout {options.timeout:g}" if options.timeout != TIMEOUT else ""
    return timeout + (f" --profile {shlex.quote(str(options.profile))}" if options.profile else "")


def _command(options: argparse.Namespace) -> str:
    """The command that makes these reports again."""
    only = [word for one in options.only for word in ("--only", one)]
    expected = ["--expected-failures", str(options.expected_failures)] if options.expected_failures else []
    return shlex.join(["python", "-m", "refdpm", "check", *options.adapters, *only, *expected, "--seed", str(options.seed),
                       "--max-examples", str(options.max_examples)]) + _flags(options)


# -- what a check prints -------------------------------------------------------------------------------------------------

def _print_reports(options: argparse.Namespace, reports: list[dict[str, Any]]) -> None:
    from refdpm.conformance import report as texts

    if options.json:
        several = {"reports": reports, "exit_code": _worst([report["exit_code"] for report in reports])}
        say(to_json(reports[0] if len(reports) == 1 else several))
        return
    marks = texts.MARKS
    colours = {marks["pass"]: GREEN, marks["undecided"]: YELLOW, marks["inaccurate"]: RED, marks["wrong"]: RED}
    for report in reports:
        say(texts.headline(report) if options.quiet else texts.text(report, verbose=options.verbose), colours=colours)
        if len(reports) > 1 and not options.quiet:
            say("")
    if len(reports) > 1 and not options.quiet:
        say(texts.table(reports), colours=colours)


def _annotate(options: argparse.Namespace, found: list[_Checked]) -> None:
    """On standard output, which has nothing but JSON where that is asked for."""
    from refdpm.conformance.annotations import annotations

    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
    for one in found:
        for line in annotations(one.report, one.places, root=root):
            (tell if options.json else say)(line)


def _list(options: argparse.Namespace, sources: list[Any], only: list[str]) -> int:
    """What would be asked of each adapter; 2 if that is nothing."""
    from refdpm.conformance import report as texts, session

    if error := next((source for source in sources if isinstance(source, Exception)), None):
        raise error
    found = [(source.name, session.planned(source, only)) for source in sources]
    if options.json:
        say(to_json([{"adapter": name, "clauses": [clause._asdict() for clause in clauses]} for name, clauses in found]))
    else:
        say("\n\n".join(texts.plan(name, clauses, verbose=options.verbose) for name, clauses in found))
    return 0 if all(any(not clause.missing for clause in clauses) for _, clauses in found) else 2


def _profile_of(path: Path | None) -> dict[str, Any]:
    """The conventions that a file states.   Raises: ValueError naming the file; OSError."""
    from refdpm.conformance import profile as profiles, session

    if path is None:
        return {}
    stated = files.json_of(path)
    try:
        if not isinstance(stated, dict):
            raise ValueError(f"expected an object, got {type(stated).__name__}")
        return profiles.stated_conventions(stated, session.NAMES)
    except ValueError as error:
        raise ValueError(f"--profile: {path}: {error}") from None


def _first_look(options: argparse.Namespace) -> int:
    """The reference in brief, then the example as it is, then with its mistake: a whole report, and a named failure."""
    from refdpm.conformance import brief

    keep_no_folder()
    for flag in ("list", "html", "junit", "dump", "github"):
        if getattr(options, flag):
            raise ValueError(f"--{flag}: expected an adapter beside it, got none")
    how = _how(options)
    tell("the reference itself …")
    own = brief.run()
    with contextlib.ExitStack() as stack:
        sources = [_source(options, adapter, stack) for adapter in (EXAMPLE, WRONG_EXAMPLE)]
        found, stopped = _all_checked(argparse.Namespace(**vars(options) | {"workers": 1}), sources, how)
    if stopped:
        raise stopped
    right, wrong = (one.report for one in found)
    as_wanted = own["ok"] and right["exit_code"] == 0 and wrong["exit_code"] == 1
    if options.json:
        say(to_json({"reference": own, "example": right, "wrong_example": wrong, "ok": as_wanted}))
    else:
        say(brief.render(own) + "\n\nA small DDPM, written without this package, and checked as yours would be:\n")
        _print_reports(options, [right])
        say("\nThe same with one line changed:\n")
        _print_reports(options, [wrong])
        say("\nCheck yours:  python -m refdpm check your_adapter.py      (what it may offer:  python -m refdpm explain)")
    return 0 if as_wanted else 1


# -- explain, vectors --------------------------------------------------------------------------------------------------

def _explain(options: argparse.Namespace) -> int:
    from refdpm.conformance import explain, session

    known = session.all_clauses()
    say(explain.contents(known) if options.of is None else explain.explain(options.of, known))
    return 0


def _vectors(options: argparse.Namespace) -> int:
    from refdpm.conformance import vectors

    if options.action == "export":
        with Progress(quiet=options.quiet) as progress:
            manifest = vectors.export(options.folder, show=progress.show)
        say(to_json(manifest) if options.json else
            f"{options.folder}: {manifest['tests']} tests of {manifest['functions']} functions, in {len(manifest['files'])} files")
        return 0
    problems = vectors.verify(options.folder)
    say(to_json({"ok": not problems, "problems": problems}) if options.json else "\n".join(problems) or f"{options.folder}: ok")
    return 1 if problems else 0
