"""The smallest input on which a function fails as badly: from one that fails, by leaving out rows and taking simpler numbers."""

from collections.abc import Callable, Iterator

import numpy as np

from refdpm.conformance.chapters.inputs import Inputs
from refdpm.vjp import Array

ENOUGH = 0.5                    # of the badness of the first input must be left
LAWS = ("law", "law_q", "law_p", "matrices", "step", "before")


def size(inputs: Inputs) -> int:
    """How many numbers an input has."""
    return sum(np.size(value) for value in inputs.values() if isinstance(value, np.ndarray))


def smallest(start: Inputs, badness: Callable[[Inputs], float], trials: int) -> Inputs:
    """`start` made simpler step by step while its badness, which is 0 where nothing fails, stays at least half of what it was."""
    least = ENOUGH * min(badness(start), 1.0)
    found, changed = start, True
    while changed:
        changed = False
        for simpler in _simpler(found):
            if not trials:
                return found
            trials -= 1
            if badness(simpler) >= least > 0:
                found, changed = simpler, True
                break
    return found


def _simpler(inputs: Inputs) -> Iterator[Inputs]:
    """The input with one row of its own, then with one array simpler at a time."""
    rows = _row_count(inputs)
    if rows > 1:
        yield from (_one_row(inputs, row, rows) for row in dict.fromkeys((0, rows - 1, rows // 2)))
    for name, value in inputs.items():
        if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind == "f" and name not in _whole(inputs):
            for simple in (np.zeros_like(value), np.ones_like(value), np.round(value), np.round(4 * value) / 4):
                if not np.array_equal(simple, value) and _complexity(simple) < _complexity(value):
                    yield inputs | {name: simple}


def _whole(inputs: Inputs) -> set[str]:
    """Arrays that only make sense as they are: lists of rates and levels, laws and matrices of them, which add up to 1, and an x_0
    that says what the integers k say."""
    return {"beta", "sigmas", *LAWS, *(["x_0"] if "k" in inputs else [])}


def _complexity(x: Array) -> tuple[int, int]:
    """How many numbers are no whole ones, no quarters, and not 0."""
    return int(np.sum(x != np.round(x))) + int(np.sum(4 * x != np.round(4 * x))), int(np.sum(x != 0))


def _row_count(inputs: Inputs) -> int:
    """The number of rows where all that is asked for has them; else 0."""
    t = inputs.get("t")
    return len(t) if isinstance(t, np.ndarray) and t.ndim == 1 else 0


def _one_row(inputs: Inputs, row: int, rows: int) -> Inputs:
    return {name: value[row:row + 1] if isinstance(value, np.ndarray) and name not in ("beta", "law") and value.shape[:1] == (rows,)
            else value
            for name, value in inputs.items()}
