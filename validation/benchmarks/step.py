"""One training step of this package against PyTorch (eager) and JAX (jit) on the same numbers, in float64.

The step: draw x_t with frozen noise, network, read-out, KL, gradient with respect to all parameters.  Value and gradient are
compared before anything is timed; rounds are interleaved; the ratios are this package's time to the peer's, so less than 1 means
that this package is faster.  Both the ratio of medians and that of minima are given: on a machine that does other things too the
minima are less disturbed.  A peer that is not installed is skipped and said to be.

    python validation/benchmarks/step.py --workload roll|heartbeat|image [--rows N] [--threads 1 2]
        heartbeat: --last bumps|per_step        image: --net single-scale|dead-leaves        roll: --units N

Threads are set before any library is loaded, so each measurement is a process of its own, and so is each of peak memory.
"""

from typing import Any
import argparse
import importlib
import json
import os
import resource
import subprocess
import sys

ROWS = {"roll": 64 * 39, "heartbeat": 512, "image": 128}
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "PJRT_NPROC")     # the last two are JAX's


# -- in a process of its own ---------------------------------------------------------------------------------------------

def times(options: dict[str, Any], seconds: float) -> None:
    """Prints how long this package's step takes relative to each peer's."""
    from common import begin, check_agreement, interleaved
    import numpy as np
    steps = begin(_makers(options))
    check_agreement(steps)
    found = interleaved(steps, seconds)
    for name, some in found.items():
        ours = found["refdpm"]
        print(f"  {name}: median {1e3 * np.median(some):.2f} ms, minimum {1e3 * some.min():.2f} ms; refdpm takes "
              f"{np.median(ours) / np.median(some):.2f} of it by medians, {ours.min() / some.min():.2f} by minima "
              f"({len(some)} rounds)")


def memory(options: dict[str, Any], name: str) -> None:
    """Prints the peak memory of a process that does only this step, and by how much the step raised it."""
    from common import begin
    step = begin({name: _makers(options)[name]}).get(name)
    if step is None:
        return
    before = _peak()
    for _ in range(5):
        step()
    print(f"  {name}: peak {_peak():.0f} MB, of which {_peak() - before:.0f} MB since before the first step")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _makers(options: dict[str, Any]) -> dict[str, Any]:
    """Every library as in training: freed memory is kept, float64 in JAX."""
    from refdpm import train
    train._keep_freed_memory()
    return importlib.import_module(options["workload"]).steps(**options)


# -- the process that starts them ------------------------------------------------------------------------------------------

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=ROWS, required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--last", default="bumps")
    parser.add_argument("--net", default="single-scale")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--peak", nargs="*", default=[], help="also the peak memory of these steps")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    options["rows"] = options["rows"] or ROWS[options["workload"]]
    child = options.pop("child")
    if child:
        memory(options, child.removeprefix("peak ")) if child.startswith("peak ") else times(options, options["seconds"])
        return 0
    print(json.dumps({name: options[name] for name in ("workload", "rows", "units", "last", "net")}))
    failed = 0
    for count in options["threads"]:
        for task in ["times", *(f"peak {name}" for name in options["peak"])]:
            print(f"{task}, {count} threads", flush=True)
            environment = os.environ | dict.fromkeys(THREADS, str(count)) | {"JAX_ENABLE_X64": "1"}
            failed |= subprocess.run([sys.executable, *sys.argv, "--child", task], env=environment).returncode
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
