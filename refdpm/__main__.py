"""python -m refdpm, and the command `refdpm`"""

import os
import sys

INTERRUPTED = 130


def run() -> int:
    """One command; an interrupt ends it quietly, also while the package is being imported."""
    try:
        _open_streams()
        from refdpm.cli import main
        return main()
    except KeyboardInterrupt:
        return INTERRUPTED


def _open_streams() -> None:
    """A standard stream that was closed goes nowhere: else the next file that is opened would take its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))


if __name__ == "__main__":
    raise SystemExit(run())
