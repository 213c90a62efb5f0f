"""Agreement first, then interleaved times: every round runs all steps once, one after another."""

from typing import Any
import resource
import time

import numpy as np

from validation.benchmarks.peers import Makers, Step
from refdpm.vjp import Array

OURS = "refdpm"
TOLERANCE = {"float64": 1e-12, "float32": 2e-4}             # of the largest entry of each array


def begin(makers: Makers) -> tuple[dict[str, Step], dict[str, str]]:
    """Every step that its library makes and runs, and of the others why not."""
    steps, absent = {}, {}
    for name, make in makers.items():
        try:
            step = make()
            step()
            steps[name] = step
        except ImportError as missing:
            absent[name] = f"not installed ({missing})"
        except Exception as error:                              # a compiler that is not there, or does not know an operation
            absent[name] = f"does not run ({type(error).__name__}: {str(error).strip().splitlines()[0][:120]})"
    return steps, absent


def disagreement(steps: dict[str, Step]) -> dict[str, float]:
    """How far the arrays of each step are from those of the first, in units of the largest entry of each array."""
    reference = steps[OURS]()
    return {name: max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300)) for a, b in zip(step(), reference, strict=True))
            for name, step in steps.items() if name != OURS}


def interleaved(steps: dict[str, Step], seconds: float) -> dict[str, Array]:
    """Times of every step in rounds until the seconds are over (five rounds at least)."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[OURS]) < 5:
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    return {name: np.array(some) for name, some in times.items()}


def compared(makers: Makers, *, dtype: str, seconds: float) -> dict[str, Any]:
    """Agreement, then for each step its median and quartiles in ms, and our time as a share of its: the median over rounds.

    Raises: ValueError if a peer computes something else; nothing is timed then.
    """
    steps, absent = begin(makers)
    if OURS in absent:
        raise ValueError(f"{OURS}: expected a step, got one that {absent[OURS]}")
    apart = disagreement(steps)
    for name, distance in apart.items():
        if not distance <= TOLERANCE[dtype]:
            raise ValueError(f"{name}: expected the same numbers to {TOLERANCE[dtype]:g}, got some that are {distance:.1e} off")
    times = interleaved(steps, seconds)
    found = {name: {"ms": _quartiles(1e3 * some), "ratio": _quartiles(times[OURS] / some), "rounds": len(some)}
             | ({"apart": apart[name]} if name in apart else {}) for name, some in times.items()}
    return {"steps": found, "absent": absent}


def _quartiles(x: Array) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return [float(f"{q:.4g}") for q in np.quantile(x, (0.25, 0.5, 0.75))]


def megabytes(makers: Makers, name: str) -> dict[str, Any]:
    """The peak of a process that runs this step alone, and by how much the step raised it."""
    try:
        step = makers[name]()
        before = _peak()
        for _ in range(5):
            step()
    except Exception as error:
        return {"absent": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"}
    return {"peak": round(_peak()), "raised": round(_peak() - before, 1)}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
