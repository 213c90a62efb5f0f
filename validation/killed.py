"""Claim: a training that is killed (SIGKILL) at twenty random moments, and resumed each time, loses nothing that was saved and
ends with the same run file, bit for bit, as the one that nobody disturbed; bits, images and points alike.

    python validation/killed.py
"""

from pathlib import Path
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
RUNS = {"heartbeat": ["--T", "30", "--steps", "4000"],
        "dead-leaves": ["--T", "6", "--steps", "1500", "--conv", "4,4", "--pixelwise", "4", "--batch", "4"],
        "swiss-roll": ["--T", "4", "--steps", "4000", "--units", "6"]}


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """`train`, with a run file written after every tenth of a second."""
    code = "import sys; from refdpm import cli; cli.SAVE_EVERY = 0.1; sys.exit(cli.main())"
    return subprocess.Popen([sys.executable, "-c", code, "train", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def steps_done(folder: Path) -> int:
    return int(experiments.load(folder).state.steps_done) if (folder / "run.npz").exists() else -1


def killed(name: str, folder: Path, rng: np.random.Generator) -> tuple[list[int], bool]:
    """The steps saved at each kill, and whether a file was ever damaged or a saved step lost."""
    arguments, seen, sound = [name, *RUNS[name], "--out", str(folder)], [-1], True
    for _ in range(KILLS):
        process = start(*arguments)
        time.sleep(rng.uniform(0.3, 2.5))                       # from before the first line of the program to well into training
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen.append(steps_done(folder))
        sound &= seen[-1] >= seen[-2]
        if seen[-1] >= 0:
            arguments = [name, "--resume", str(folder)]
    assert start(*arguments).wait() == 0
    return seen[1:], sound


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    started, rng, rows = time.perf_counter(), np.random.default_rng(), []
    with tempfile.TemporaryDirectory() as parent:
        for name in RUNS:
            broken, whole = Path(parent, f"{name}-killed"), Path(parent, f"{name}-whole")
            seen, sound = killed(name, broken, rng)
            assert start(name, *RUNS[name], "--out", str(whole)).wait() == 0
            pairs = zip(*(named_leaves(experiments.load(folder).state) for folder in (broken, whole)), strict=True)
            same = all(key == other and a.tobytes() == b.tobytes() for (key, a), (other, b) in pairs)
            left = sorted(path.name for path in broken.iterdir() if path.name.startswith("."))
            rows += [row(f"{name}: saved steps at the {KILLS} kills {seen}",
                         "never fewer than at the kill before, no damaged file", sound),
                     row(f"{name}: {'the same' if same else 'other'} bits as the undisturbed run; {len(left)} temporary files left",
                         "the same bits", same)]
    return conclude("killed", claim_of(__doc__), rows, seconds=time.perf_counter() - started, settings={"kills": KILLS})


if __name__ == "__main__":
    raise SystemExit(main())
