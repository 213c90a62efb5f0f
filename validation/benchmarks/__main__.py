"""Claim: one step, the full bound and sampling take no longer here than in the fastest of PyTorch, JAX and HIPS autograd, after all
have given the same numbers; the adjoint test is faster and tighter than other tests of gradients, and cost grows linearly.

One run, every measurement in a process of its own with as many threads as are asked for, rounds interleaved.  A ratio is this
package's time divided by the peer's in the same round: below 1 this package is faster.

    python -m validation.benchmarks                     everything, half an hour; peers that are not installed are said to be absent
    python -m validation.benchmarks --only "step: roll" --seconds 5 --dtype float64 float32 --threads 1 2
"""

from pathlib import Path
from typing import Any
import argparse
import json
import os
import subprocess
import sys
import time

from validation.claim import HERE, claim_of, conclude, put_between, row

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "PJRT_NPROC")     # the last two are JAX's
MARKS = "<!-- benchmarks: written by python -m validation.benchmarks -->", "<!-- end of benchmarks -->"
# what is compared with peers: module and function, its arguments, the most that the ratio to the fastest peer should be
COMPARED: dict[str, tuple[str, str, tuple[Any, ...], float]] = {
    "step: roll, 2496 rows, 128 units, with the schedule": ("roll", "step", (), 1.0),
    "step: heartbeat, 512 rows": ("heartbeat", "step", (512,), 1.0),
    "step: heartbeat, 4096 rows": ("heartbeat", "step", (4096,), 1.0),
    "step: images 28 × 28, 128": ("image", "step", ("28 × 28", 128), 0.5),
    "step: dead leaves 16 × 16, 32": ("image", "step", ("dead-leaves", 32), 1.0),
    "full bound: roll, 256 points": ("roll", "full_bound", (), 0.9),
    "full bound: heartbeat, T = 2000, 8": ("heartbeat", "full_bound", (), 0.9),
    "full bound: image 28 × 28, T = 200": ("image", "full_bound", ("28 × 28",), 0.9),
    "sampling: roll, 1024 points": ("roll", "sampling", (), 0.9),
    "sampling: heartbeat, T = 200, 512": ("heartbeat", "sampling", (), 0.9),
    "sampling: images 28 × 28, T = 50, 16": ("image", "sampling", ("28 × 28",), 0.9),
}
SINGLE = 1.1                  # the most that the ratio should be in float32
ALONE = ("machine", "imports", "adjoint_tests", "growth")
OF_MEMORY = ("step: heartbeat, 4096 rows", "step: images 28 × 28, 128", "step: dead leaves 16 × 16, 32")


# -- in a process of its own ---------------------------------------------------------------------------------------------

def _measured(task: str, dtype: str, seconds: float, without: list[str]) -> Any:
    """One measurement; of "name | peer" the memory of that peer's step."""
    if hasattr(os, "sched_setaffinity"):                       # whatever its libraries think, it has no more cores than threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(os.environ[THREADS[0]]):])
    from validation.benchmarks import machine, timing
    from refdpm import train
    train._keep_freed_memory()                                 # as in training
    if task in ALONE:
        return getattr(machine, task)(*([] if task == "imports" else [seconds]))
    name, _, peer = task.partition(" | ")
    makers = _makers(name, dtype)
    if peer:
        return timing.megabytes(makers, peer)
    left_out = [peer for peer in makers if any(peer.startswith(word) for word in without)]
    found = timing.compared({peer: make for peer, make in makers.items() if peer not in left_out}, dtype=dtype, seconds=seconds)
    return found | {"absent": found["absent"] | dict.fromkeys(left_out, "left out of this run")}


def _makers(name: str, dtype: str) -> Any:
    from validation.benchmarks import heartbeat, image, roll
    module, function, arguments, _ = COMPARED[name]
    return getattr({"roll": roll, "heartbeat": heartbeat, "image": image}[module], function)(*arguments, dtype=dtype)


def _products(name: str) -> int:
    """Operations in the matrix products of a step."""
    from validation.benchmarks import heartbeat, image, roll
    module, _, arguments, _ = COMPARED[name]
    return {"roll": roll, "heartbeat": heartbeat, "image": image}[module].products(*arguments)


# -- the process that starts them ----------------------------------------------------------------------------------------

def _child(task: str, threads: int, dtype: str, options: argparse.Namespace) -> Any:
    """What a process with so many threads found; what went wrong in it, as text."""
    command = [sys.executable, "-m", "validation.benchmarks", "--task", task, "--dtype", dtype, "--seconds",
               str(options.seconds), *(["--without", *options.without] if options.without else [])]
    environment = os.environ | dict.fromkeys(THREADS, str(threads))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=HERE.parent)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


def _all(options: argparse.Namespace) -> dict[str, Any]:
    """Every measurement that was asked for, by what it is."""
    found: dict[str, Any] = {"compared": [], "memory": {}}
    for name in COMPARED:
        for threads in options.threads:
            for dtype in options.dtype:
                if name.startswith(options.only):
                    print(f"{name}, {dtype}, {threads} threads …", file=sys.stderr, flush=True)
                    got = _child(name, threads, dtype, options)
                    found["compared"].append({"name": name, "threads": threads, "dtype": dtype} | got)
    for name in OF_MEMORY:
        if name.startswith(options.only):
            print(f"memory of {name} …", file=sys.stderr, flush=True)
            found["memory"][name] = {peer: _child(f"{name} | {peer}", 1, "float64", options) for peer in _peers_of(name, found)}
    for task in ALONE:
        if task.startswith(options.only):
            print(f"{task} …", file=sys.stderr, flush=True)
            found[task] = _child(task, 1, "float64", options)
    return found


def _peers_of(name: str, found: dict[str, Any]) -> list[str]:
    ran = (one["steps"] for one in found["compared"] if one["name"] == name and "steps" in one)
    return [peer for peer in next(ran, {}) if peer != "torch.compile"]


def _fastest(steps: dict[str, Any]) -> tuple[str, float] | None:
    """The peer to which our ratio is largest, and that ratio."""
    peers = {name: step["ratio"][1] for name, step in steps.items() if name != "refdpm"}
    return max(peers.items(), key=lambda item: item[1]) if peers else None


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Claims: number, expectation, verdict."""
    rows = []
    for one in found["compared"]:
        title = f"{one['name']}, {one['dtype']}, {one['threads']} thread{'s' * (one['threads'] > 1)}"
        if "failed" in one:
            rows.append(row(f"{title}: {one['failed']}", "a measurement", False))
        elif fastest := _fastest(one["steps"]):
            most = COMPARED[one["name"]][3] if one["dtype"] == "float64" else SINGLE
            rows.append(row(f"{title}: {fastest[1]:.2f} of {fastest[0]}", f"at most {most} of the fastest peer",
                            fastest[1] <= most))
    for name, sizes in found["memory"].items():
        torch = [size["raised"] for peer, size in sizes.items() if peer.startswith("PyTorch") and "raised" in size]
        if torch:
            share = sizes["refdpm"]["raised"] / min(torch)
            rows.append(row(f"{name}: peak memory raised by {sizes['refdpm']['raised']} MB, {share:.2f} of PyTorch's",
                            "at most 0.3", share <= 0.3))
    tests = found.get("adjoint_tests", {})
    if slow := tests.get("torch.autograd.gradcheck, slow"):
        rows.append(row(f"adjoint test: gradcheck (slow) takes {slow['times ours']} times as long", "at least 50",
                        slow["times ours"] >= 50))
        tighter = slow["tight"] / max(tests["refdpm"]["tight"], 1e-16)
        rows.append(row(f"adjoint test: {tighter:.0e} times as tight as gradcheck (slow)", "at least 1e5", tighter >= 1e5))
    for name, grown in found.get("growth", {}).items():
        if isinstance(grown, dict):
            rows.append(row(f"cost grows with {name} to the power {grown['exponent']}", "within 0.05 of 1, or below",
                            grown["exponent"] <= 1.05))
    return rows


# -- the table -----------------------------------------------------------------------------------------------------------

def _table(found: dict[str, Any]) -> str:
    """For people: ratios, then what else was measured."""
    lines = ["| measured | dtype, threads | ms | to each peer, median (quartiles) | apart |", "|---|---|---|---|---|"]
    for one in found["compared"]:
        cells = [one["name"], f"{one['dtype']}, {one['threads']}"]
        if "failed" in one:
            lines.append(f"| {' | '.join(cells)} | – | {one['failed']} | – |")
            continue
        steps = one["steps"]
        ratios = [f"{name} **{step['ratio'][1]:.2f}** ({step['ratio'][0]:.2f}–{step['ratio'][2]:.2f})"
                  for name, step in steps.items() if name != "refdpm"]
        ratios += [f"{name}: {why}" for name, why in one["absent"].items()]
        apart = max((step["apart"] for step in steps.values() if "apart" in step), default=0)
        lines.append(f"| {' | '.join(cells)} | {steps['refdpm']['ms'][1]:.3g} | {'; '.join(ratios)} | {apart:.0e} |")
    text = ["\n".join(lines)]
    if speeds := found.get("machine"):
        text.append(f"This machine, in the same run, float64, one thread: products {speeds['gemm']} GFLOP/s, copies "
                    f"{speeds['copy']} GB/s. Share of that speed that the products of a whole step make: "
                    f"{'; '.join(_shares(found))}.")
    if found["memory"]:
        text.append("Peak memory raised by a step, MB: " + "; ".join(
            f"{name.removeprefix('step: ')}: " + ", ".join(f"{peer} {size.get('raised', 'absent')}" for peer, size in sizes.items())
            for name, sizes in found["memory"].items()) + ".")
    if times := found.get("imports"):
        text.append("Import, seconds: " + ", ".join(f"{name} {value}" for name, value in times.items()) + ".")
    if tests := found.get("adjoint_tests"):
        text.append("Adjoint test of K per point (4 points, 4 units): " + "; ".join(
            f"{name} {one['seconds']} s ({one['times ours']} times ours), tight to {one['tight']:.0e}"
            for name, one in tests.items() if name != "absent") + ".")
    if grown := found.get("growth"):
        powers = ", ".join(f"{name} {one['exponent']}" for name, one in grown.items())
        text.append(f"Cost grows as size to the power: {powers}.")
    return "\n\n".join(text)


def _shares(found: dict[str, Any]) -> list[str]:
    peak = 1e6 * found["machine"]["gemm"]                      # operations in a millisecond
    return [f"{one['name'].removeprefix('step: ')} {_products(one['name']) / one['steps']['refdpm']['ms'][1] / peak:.0%}"
            for one in found["compared"]
            if "steps" in one and one["name"].startswith("step") and one["dtype"] == "float64" and one["threads"] == 1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="BEGINNING", help="what begins so: step, full bound, sampling, machine …")
    parser.add_argument("--dtype", nargs="+", choices=("float64", "float32"), default=["float64"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--without", nargs="+", default=[], metavar="PEER", help="peers that are left out, such as torch.compile, "
                        "which compiles for minutes")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(_measured(options.task, options.dtype[0], options.seconds, options.without)))
        return 0
    started = time.time()
    found = _all(options)
    table = _table(found)
    print(f"{table}\n")
    if options.only:
        return 0 if all(one["holds"] for one in _rows(found)) else 1
    put_between(*MARKS, Path(HERE / "README.md"), table)
    return conclude("benchmarks", claim_of(__doc__), _rows(found), seconds=time.time() - started,
                    settings={"threads": options.threads, "dtype": options.dtype, "seconds": options.seconds,
                              "without": options.without},
                    data=found)


if __name__ == "__main__":
    raise SystemExit(main())
