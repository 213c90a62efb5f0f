"""What every validation script does at its end: print claim, number, expectation and verdict, and keep them."""

from pathlib import Path
from typing import Any
import json
import platform
import sys

import numpy
import scipy

import refdpm
from refdpm.run import write_atomically

RESULTS = Path(__file__).parent / "results"


def conclude(name: str, claim: str, rows: list[dict[str, Any]], *, seconds: float, settings: dict[str, Any]) -> int:
    """`rows` have number (what was measured), expectation (what it should be) and holds.  Returns the exit code."""
    print(f"claim: {claim}")
    for row in rows:
        print(f"  {row['number']}\n      expected {row['expectation']}: {'holds' if row['holds'] else 'FAILS'}")
    holds = all(row["holds"] for row in rows)
    print(f"verdict: {'holds' if holds else 'FAILS'}   ({seconds:.0f} s)")
    versions = {"refdpm": refdpm.__version__, "python": platform.python_version(), "numpy": numpy.__version__,
                "scipy": scipy.__version__}
    content = {"claim": claim, "rows": rows, "holds": holds, "seconds": round(seconds), "settings": settings, "versions": versions}
    RESULTS.mkdir(exist_ok=True)
    write_atomically(RESULTS / f"{name}.json", json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n", replace=True)
    return 0 if holds else 1


def run_quietly(settings: Any) -> tuple[Any, float]:
    """Train the Swiss roll with `settings`; the final state and its seconds.  A line a tenth of the way, on standard error."""
    import time

    from refdpm.experiments import common, swiss_roll as experiment
    started, state = time.perf_counter(), experiment.begin(experiment.checked(settings))
    for state, _ in common.fit(experiment.problem(settings), state):
        if state.steps_done * 10 % settings.steps < 10:
            print(f"{state.steps_done}/{settings.steps}", file=sys.stderr)
    return state, time.perf_counter() - started
