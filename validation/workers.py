"""Claim: the full bound, samples and weights of paths are the same bits with 1, 2 and 3 processes, in threads, and with the maps of
joblib, of a Dask cluster on this machine and of mpi4py.futures where those are installed, without code of ours for any of them.

What two processes save of the full bound's time is reported beside it; on a machine that others use it says little.

    python validation/workers.py
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
import time

from claim import claim_of, conclude, row
import numpy as np

from refdpm import schedule, train
from refdpm.experiments import common, heartbeat
from refdpm.vjp import Array, leaves, tree_map
from refdpm.workers import Workers, mapping

SETTINGS = heartbeat.DEFAULT._replace(T=200)
EXAMPLES, DRAWN, PATHS = 1200, 1500, 6


@contextmanager
def by_joblib() -> Iterator[Workers]:
    import joblib
    yield lambda function, items: joblib.Parallel(n_jobs=2)(joblib.delayed(function)(item) for item in items)


@contextmanager
def by_dask() -> Iterator[Workers]:
    from distributed import Client
    with Client(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as client:
        yield client.get_executor().map


@contextmanager
def by_mpi() -> Iterator[Workers]:
    from mpi4py.futures import MPIPoolExecutor
    with MPIPoolExecutor(2) as executor:
        yield executor.map


@contextmanager
def by_threads() -> Iterator[Workers]:
    with ThreadPoolExecutor(2) as executor:
        yield executor.map


WAYS: dict[str, Callable[[], Any]] = {
    "2 processes": lambda: mapping(2), "3 processes": lambda: mapping(3), "threads": by_threads, "joblib": by_joblib,
    "Dask": by_dask, "mpi4py.futures": by_mpi}


def begun() -> tuple[common.Problem, train.State, Array]:
    """A heartbeat whose network is far from an exact reversal, and examples."""
    rng, state, problem = np.random.default_rng(0), heartbeat.begin(SETTINGS), heartbeat.problem(SETTINGS)
    parameters = tree_map(lambda x: x + 0.1 * rng.standard_normal(x.shape), state.model.parameters)
    return problem, state._replace(model=state.model._replace(parameters=parameters)), common.held_out(problem, EXAMPLES)


def everything(posed: tuple[common.Problem, train.State, Array], workers: Workers) -> tuple[list[Array], float]:
    """All numbers, and the seconds of the full bound."""
    problem, state, x_0 = posed
    started = time.perf_counter()
    found = [np.asarray(leaf) for leaf in leaves(common.evaluate(problem, state, x_0, workers=workers))]
    seconds = time.perf_counter() - started
    found.append(common.samples(problem, state, DRAWN, seed=1, workers=workers))
    found.append(train.log_weights_of_paths(
        state.model.parameters, schedule.reciprocal(SETTINGS.T), x_0[:50], paths=PATHS, rng=np.random.default_rng(2),
        kernel=problem.kernel, network=problem.network, workers=workers))
    return found, seconds


def main() -> int:
    started, posed, rows = time.perf_counter(), begun(), []
    right, alone = everything(posed, 1)
    for name, way in WAYS.items():
        with ExitStack() as stack:
            try:
                workers = stack.enter_context(way())
            except ImportError as missing:
                rows.append(row(f"{name}: not installed ({missing})", "reported", True))
                continue
            list(workers(abs, range(6)))                       # processes are started
            found, seconds = everything(posed, workers)
            same = all(np.array_equal(a, b) for a, b in zip(found, right, strict=True))
            rows.append(row(f"{name}: {sum(x.size for x in found)} numbers, full bound in {seconds / alone:.2f} of the time of one "
                            f"process", "the same bits", same))
    return conclude("workers", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings={"T": SETTINGS.T, "examples": EXAMPLES, "drawn": DRAWN, "paths": PATHS})


if __name__ == "__main__":
    raise SystemExit(main())
