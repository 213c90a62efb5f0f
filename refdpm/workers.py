"""Work in several processes, after SciPy's convention for `workers`: an integer, or a callable like `map`.

    1               here, one piece after another
    n               n processes, each with the threads of BLAS that they leave it; −1 for as many as there are cores
    a callable      workers(function, items), with the items in a list: the `map` of a pool or executor, as of concurrent.futures,
                    mpi4py.futures or Dask

Work is a function that can be pickled and the items that it is done to.  What is random about an item follows from the item, and
results come in the order of the items and are added up in that order: they are the same bits for any number of workers.

A new process imports the script that was started: a script that asks for several does so below `if __name__ == "__main__"`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any
import gc
import importlib
import os
import sys

import numpy as np

Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
Workers = int | Map
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
OBJECTS = 50_000                # that are made before garbage is collected, in a check


@contextmanager
def mapping(workers: Workers) -> Iterator[Map]:
    """What does a piece of work to each item, until the context is left.

    Raises: ValueError for a number of workers below 1 that is not −1.
    """
    if callable(workers):
        yield workers
        return
    if workers < 1 and workers != -1:
        raise ValueError(f"workers: expected a number from 1 on, or −1 for one for each core, got {workers}")
    count = _cores() if workers == -1 else workers
    if count == 1:
        yield map
        return
    loaded = [name for name in sys.modules if name.partition(".")[0] == "refdpm"]
    with _threads(max(1, _cores() // count)), ProcessPoolExecutor(count, get_context("spawn"), _load, (loaded,)) as executor:
        yield executor.map


@contextmanager
def undisturbed() -> Iterator[None]:
    """For one piece of work: without NumPy's warnings, and without the collector of garbage, which walks through all that
    is remembered again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Garbage is looked for only after so many new objects: formulas and their edits are many, and few of them are garbage."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], OBJECTS) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _load(names: list[str]) -> None:
    """Imports what is loaded in the process that asks: Hypothesis also draws constants of the modules that it finds."""
    for name in names:
        importlib.import_module(name)


def _cores() -> int:
    """As many as this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _threads(most: int) -> Iterator[None]:
    """Processes that start meanwhile use at most so many threads for linear algebra; fewer if they were told so before."""
    before = {name: os.environ.get(name, "") for name in THREADS}
    told = {name: value for name, value in before.items() if value.isdigit() and 0 < int(value) <= most}
    os.environ.update({name: str(most) for name in THREADS} | told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)
