"""What every validation script does at its end: print claim, number, expectation and verdict, and keep them.

    python validation/claim.py          puts all kept results into the table of README.md
"""

from pathlib import Path
from typing import Any
import argparse
import json
import platform
import sys
import time

import numpy
import scipy

import refdpm
from refdpm import experiments
from refdpm.experiments import common
from refdpm.run import write_atomically

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SHOWN = 2                     # numbers of a claim in the table; all of them are in its file
BEGIN, END = "<!-- results: written by claim.py -->", "<!-- end of results -->"


# -- a verdict -----------------------------------------------------------------------------------------------------------

def conclude(name: str, claim: str, rows: list[dict[str, Any]], *, seconds: float, settings: dict[str, Any],
             data: dict[str, Any] | None = None) -> int:
    """`rows` are those of `row`: what was measured, what it should be, and whether that holds; `data` is kept beside them.

    Returns the exit code.
    """
    rows = [row | {"holds": bool(row["holds"])} for row in rows]
    print(f"claim: {claim}")
    for row in rows:
        print(f"  {row['number']}\n      expected {row['expectation']}: {_verdict(row)}")
    holds = all(row["holds"] for row in rows)
    print(f"verdict: {_verdict({'holds': holds})}   ({seconds:.0f} s)")
    versions = {"refdpm": refdpm.__version__, "python": platform.python_version(), "numpy": numpy.__version__,
                "scipy": scipy.__version__}
    content = {"claim": claim, "rows": rows, "holds": holds, "seconds": round(seconds), "settings": settings, "versions": versions}
    content |= {"data": data} if data else {}
    RESULTS.mkdir(exist_ok=True)
    write_atomically(RESULTS / f"{name}.json", json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n", replace=True)
    return 0 if holds else 1


def claim_of(doc: str | None) -> str:
    """The claim in a script's docstring: its first paragraph, after "Claim: "."""
    return " ".join((doc or "").split("\n\n")[0].split()).removeprefix("Claim: ")


def row(number: str, expectation: str, holds: Any, **values: Any) -> dict[str, Any]:
    """One line of a verdict; values are the numbers that its sentence has places for, and are kept beside it with all digits."""
    found = {"number": number.format(**values) if values else number, "expectation": expectation, "holds": bool(holds)}
    return found | ({"values": tree_of_numbers(values)} if values else {})


def tree_of_numbers(value: Any) -> Any:
    """The same as plain numbers, lists and dicts."""
    if isinstance(value, dict):
        return {str(key): tree_of_numbers(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, numpy.ndarray)):
        return list(map(tree_of_numbers, value))
    return value.item() if isinstance(value, numpy.generic) else value


def _verdict(found: dict[str, Any]) -> str:
    return "holds" if found["holds"] else "FAILS"


# -- training ------------------------------------------------------------------------------------------------------------

def run_quietly(name: str, settings: Any, **posed: Any) -> tuple[experiments.Run, float]:
    """Train the experiment `name` with `settings`; the finished run and its seconds.  A line a tenth of the way, on standard error.

    `posed` replaces fields of the problem: `beta=…` trains on that schedule.
    """
    begun = experiments.begin(name, experiments.EXPERIMENTS[name].resolved(settings))
    begun = begun._replace(problem=begun.problem._replace(**posed))
    started, state = time.perf_counter(), begun.state
    for state, _ in common.fit(begun.problem, state):
        if state.steps_done * 10 % settings.steps < 10:
            print(f"{name}: {state.steps_done}/{settings.steps}", file=sys.stderr)
    return begun._replace(state=state), time.perf_counter() - started


def run_of(name: str, doc: str | None) -> tuple[experiments.Run, str, bool]:
    """The run that a script's command line asks for, in what time it was trained, and whether it is the long one."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--full", action="store_true", help="the long run")
    parser.add_argument("--run", type=Path, metavar="DIR", help=f"a finished run of `refdpm train {name}`, not a new one")
    options = parser.parse_args()
    experiment = experiments.EXPERIMENTS[name]
    return *trained(name, experiment.FULL if options.full else experiment.DEFAULT, options.run), options.full


def trained(name: str, settings: Any, folder: Path | None) -> tuple[experiments.Run, str]:
    """The finished run in `folder`, as `refdpm train` left it; without a folder, `run_quietly`.  And in what time."""
    if folder is None:
        posed, seconds = run_quietly(name, settings)
        return posed, f"{seconds:.0f} s"
    found = experiments.load(folder)
    if found.name != name or found.state.steps_done < found.settings.steps:
        raise ValueError(f"--run: expected a finished run of {name}, got {found.name} after {found.state.steps_done} steps")
    return found, "a run of its own"


# -- the table -----------------------------------------------------------------------------------------------------------

def table() -> str:
    """All kept results, one row each, by name: the numbers that fail, or the first of those that hold."""
    lines = ["| claim | script | last result |", "|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_bytes())
        shown = [row for row in found["rows"] if not row["holds"]] or found["rows"][:SHOWN]
        numbers = "; ".join(row["number"] + ("" if row["holds"] else f" (**FAILS**: expected {row['expectation']})")
                            for row in shown)
        more = f"; {len(found['rows']) - len(shown)} more in `{path.name}`" if len(found["rows"]) > len(shown) else ""
        cells = found["claim"].rstrip("."), f"`{_script(path.stem)}`", f"{numbers}{more}. **{_verdict(found)}**"
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _script(name: str) -> str:
    """What wrote results/NAME.json: NAME.py, NAME/check.py, the package NAME, or the script of which NAME is the long version."""
    if (HERE / name / "check.py").exists():
        return f"{name}/check.py"
    if (HERE / name / "__main__.py").exists():
        return f"python -m validation.{name}"
    return f"{name}.py" if (HERE / f"{name}.py").exists() else f"{name.removesuffix('_full')}.py --full"


def put_between(begin: str, end: str, path: Path, text: str) -> None:
    """Puts the text between two marks of a file.   Raises: ValueError if the file has lost one of them."""
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"{path}: expected the marks {begin!r} and {end!r}, found them not")
    write_atomically(path, f"{before}{begin}\n\n{text}\n\n{end}{after}".encode(), replace=True)


if __name__ == "__main__":
    put_between(BEGIN, END, HERE / "README.md", table())
