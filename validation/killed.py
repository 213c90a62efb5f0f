"""Claim: a training that is killed (SIGKILL) twenty times while it saves its state every ten milliseconds, each time at a random
moment after a save, and resumed, loses nothing that was saved and ends with the same run file, bit for bit, as the one that nobody
disturbed, and with no temporary file; bits, images and points alike.

    python validation/killed.py
"""

from pathlib import Path
from typing import NamedTuple
import argparse
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from claim import claim_of, conclude, row

from refdpm import experiments
from refdpm.run import named_leaves

KILLS = 20
SEED = 0                                # of the moments; how far a training is by then depends on the machine
LONGEST = 120                           # seconds until the first save
OFTEN, SELDOM = 0.01, 20.0              # seconds between saves
RUNS = {"heartbeat": ["--T", "30", "--steps", "5000"],
        "dead-leaves": ["--T", "6", "--steps", "2500", "--conv", "4,4", "--pixelwise", "4", "--batch", "4"],
        "swiss-roll": ["--T", "4", "--steps", "5000", "--units", "6"]}


class Kill(NamedTuple):
    """One kill: the steps saved before this life began, at the moment before the kill, and after it."""

    begun: int
    before: int
    after: int


def start(*arguments: str, save_every: float = SELDOM) -> subprocess.Popen[bytes]:
    """`train`, with a run file written so often."""
    code = f"import sys; from refdpm import cli, training; training.SAVE_EVERY = {save_every}; sys.exit(cli.main())"
    return subprocess.Popen([sys.executable, "-c", code, "train", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def steps_done(folder: Path) -> int:
    """Of the saved state; −1 if there is none."""
    return int(experiments.load(folder).state.steps_done) if (folder / "run.npz").exists() else -1


def killed(name: str, folder: Path, rng: np.random.Generator) -> list[Kill]:
    """Kills a training again and again, each time some moments after it has saved a further step; then lets it end."""
    arguments, kills = [name, *RUNS[name], "--out", str(folder)], []
    for _ in range(KILLS):
        process = start(*arguments, save_every=OFTEN)
        begun, deadline = steps_done(folder), time.monotonic() + LONGEST
        while process.poll() is None and steps_done(folder) <= max(begun, 0) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is not None:
            break                                               # finished, or refused its file: too few kills are a failure
        before = steps_done(folder)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills.append(Kill(begun, before, steps_done(folder)))
        arguments = [name, "--resume", str(folder)]
    if start(*arguments).wait():
        raise RuntimeError(f"{name}: expected a training that ends, got an error")
    return kills


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    started, rng, rows, data = time.perf_counter(), np.random.default_rng(SEED), [], {}
    with tempfile.TemporaryDirectory() as parent:
        for name in RUNS:
            broken, whole = Path(parent, f"{name}-killed"), Path(parent, f"{name}-whole")
            kills = killed(name, broken, rng)
            if start(name, *RUNS[name], "--out", str(whole)).wait():
                raise RuntimeError(f"{name}: expected a training that ends, got an error")
            pairs = zip(*(named_leaves(experiments.load(folder).state) for folder in (broken, whole)), strict=True)
            same = all(key == other and a.tobytes() == b.tobytes() for (key, a), (other, b) in pairs)
            temporary = sum(path.name.startswith(".") for path in broken.iterdir())
            rows += rows_of(name, kills, same, temporary)
            data[name] = {"steps": [kill._asdict() for kill in kills], "same_bits": same, "temporary_files": temporary}
    return conclude("killed", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings={"kills": KILLS, "seed": SEED}, data=data)


def rows_of(name: str, kills: list[Kill], same: bool, temporary: int) -> list[dict[str, object]]:
    """The verdicts on one run."""
    late = sum(kill.before > max(kill.begun, 0) for kill in kills)
    lost = sum(kill.after < kill.before for kill in kills)
    return [row(f"{name}: {late} of {len(kills)} kills after a save of the same life, at steps {[kill.after for kill in kills]}",
                f"{KILLS} of {KILLS}", late == len(kills) == KILLS),
            row(f"{name}: a saved step lost {lost} times", "0 times", not lost),
            row(f"{name}: {'the same' if same else 'other'} bits as the undisturbed run, {temporary} temporary files left",
                "the same bits, 0 files", same and not temporary)]


if __name__ == "__main__":
    raise SystemExit(main())
