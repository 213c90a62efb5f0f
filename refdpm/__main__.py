"""python -m refdpm, and the command `refdpm`"""

INTERRUPTED = 130


def run() -> int:
    """One command; an interrupt ends it quietly, also while the package is being imported."""
    try:
        from refdpm.cli import main
        return main()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(run())
