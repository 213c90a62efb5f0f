"""The commands about this package itself: audit, equations, read."""

from collections.abc import Callable
from pathlib import Path
import argparse

from refdpm import run, traceability
from refdpm.console import add_workers, keep_no_folder, say, tell, to_json


def add_audit(sub: argparse.ArgumentParser) -> None:
    """The flags of `audit`."""
    sub.set_defaults(command=_audit)
    sub.add_argument("--thorough", action="store_true", help="try many more cases")
    add_workers(sub)
    sub.add_argument("--quiet", action="store_true", help="no progress")
    sub.add_argument("--json", action="store_true", help="one JSON object on standard output, for programs")


def add_equations(sub: argparse.ArgumentParser) -> None:
    """The flags of `equations`."""
    sub.set_defaults(command=_equations)
    sub.add_argument("--json", action="store_true", help="one JSON object on standard output, for programs")


def add_read(sub: argparse.ArgumentParser) -> None:
    """The flags of `read`."""
    sub.set_defaults(command=_read)
    sub.add_argument("--out", type=Path, default=Path("refdpm.html"), metavar="FILE.html",
                     help="the page to write (default refdpm.html), a file that does not exist yet")
    sub.add_argument("--quiet", action="store_true", help="no progress")


def _progress(options: argparse.Namespace) -> Callable[[str], None]:
    return (lambda text: None) if options.quiet else tell


def _audit(options: argparse.Namespace) -> int:
    keep_no_folder()
    from refdpm.conformance import audit                       # needs Hypothesis; the other commands do not wait for it
    report = audit.run(thorough=options.thorough, tell=_progress(options), workers=options.workers)
    say(to_json(report) if options.json else audit.render(report))
    return 0 if report["ok"] else 1


def _equations(options: argparse.Namespace) -> int:
    rows = traceability.matrix()
    if not any(row["tests"] for row in rows):
        tell("the tests are not installed with the package; from a checkout they are listed too")
    say(to_json(rows) if options.json else traceability.render(rows))
    return 0


def _read(options: argparse.Namespace) -> int:
    if options.out.suffix != ".html":
        raise ValueError(f"--out: expected a name ending in .html, got {options.out}")
    out = run.new_file(options.out)
    keep_no_folder()
    from refdpm.reading import page                            # needs the kit, as the audit does
    run.write_atomically(out, page.page(_progress(options)))
    say(f"{options.out}: open it in a browser")
    return 0
