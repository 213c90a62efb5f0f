"""The command train: an experiment from its settings, or from where a run was stopped, to K in bits and a picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
import argparse
import contextlib
import sys
import time

import numpy as np

from refdpm import experiments, figure, likelihood, run
from refdpm.console import is_terminal, one_line, say, tell, to_json
from refdpm.experiments import EXPERIMENTS, Run, common

SAVE_EVERY = 20.0             # seconds
GLANCES = 10                  # looks at held-out examples during a training, fewer during a short one
REPORT_MARK = b'{\n "unit": "'  # how a report begins


def add_train(sub: argparse.ArgumentParser) -> None:
    """The flags of `train`, those of each experiment below its name."""
    sub.set_defaults(command=_train)
    of = sub.add_subparsers(dest="experiment", required=True, metavar="EXPERIMENT")
    for name, experiment in EXPERIMENTS.items():
        text = (experiment.__doc__ or "").split("\n")[0]
        _add_settings(of.add_parser(name, help=text, description=text), name, experiment)


def _add_settings(sub: argparse.ArgumentParser, name: str, experiment: Any) -> None:
    """The flags of one experiment: those that all have, and its own settings."""
    sub.add_argument("--out", type=Path, metavar="DIR", help=f"a new folder (default: runs/{name}, or the next free one)")
    sub.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in DIR, with its own settings")
    sub.add_argument("--full", action="store_true", help="the long run")
    sub.add_argument("--quiet", action="store_true", help="no progress")
    sub.add_argument("--json", action="store_true", help="one JSON object on standard output, for programs")
    for field, (flag, text) in experiment.FLAGS.items():
        default = getattr(experiment.DEFAULT, field)
        if isinstance(default, bool):
            sub.add_argument(flag, dest=field, action="store_const", const=not default, help=text)
        else:
            kind = _widths if isinstance(default, tuple) else type(default)
            sub.add_argument(flag, dest=field, type=kind, metavar=type(default).__name__.upper(), help=text)


def _widths(text: str) -> tuple[int, ...]:
    """ "32,16" → (32, 16);  "" → ()."""
    try:
        return tuple(int(width) for width in text.split(",") if width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas between them, got {text!r}") from None


def _train(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    if options.resume:
        _refuse_settings(options)
        folder = options.resume.parent if options.resume.name == "run.npz" else options.resume
        _try_outputs(folder)
        posed = experiments.load(folder / "run.npz")
        if posed.name != options.experiment:
            raise ValueError(f"--resume: expected a run of {options.experiment}, got one of {posed.name}")
        if getattr(options, "data", None):
            posed = experiments.with_settings(posed, posed.experiment.moved(posed.settings, options.data))
    else:
        posed = experiments.begin(options.experiment, _settings(options))
        folder = _new_folder(options)
    posed, unsaved = _train_to_the_end(posed, folder, quiet=options.quiet)
    with common.watched(posed.problem, quiet=options.quiet) as problem:
        report = _report(posed._replace(problem=problem), folder)
    report["seconds"] = time.perf_counter() - started
    say(to_json(report) if options.json else _training_text(posed, report))
    if unsaved:
        raise unsaved
    run.write_atomically(folder / "report.json", to_json(report, indent=1).encode(), replace=True)
    return 0


def _report(posed: Run, folder: Path) -> dict[str, Any]:
    """What a run ends with, its picture drawn."""
    x_0 = common.held_out(posed.problem, posed.problem.held_out)
    report = (common.bound_report(posed.problem, posed.state, x_0, name=str(folder))
              | posed.experiment.report(posed.problem, posed.settings, posed.state)
              | {"experiment": posed.name, "settings": posed.settings._asdict(), "run": str(folder)})
    try:
        figure.write(folder / "figure.png", posed, replace=True)
        report["figure"] = str(folder / "figure.png")
    except (ValueError, OSError) as error:
        tell(f"no picture: {one_line(str(error))}")
    return report


def _try_outputs(folder: Path) -> None:
    """That what a run writes beside its run file would not be written over something else."""
    for name, mark in (("report.json", REPORT_MARK), ("figure.png", figure.MARK)):
        run.new_file(folder / name, flag="--resume", mark=mark)


def _training_text(posed: Run, report: dict[str, Any]) -> str:
    files = f"run.npz, report.json{', figure.png' if 'figure' in report else ''}"
    return f"{posed.experiment.text(report)}\n\n{report['seconds']:.0f} seconds; {report['run']}/{files}"


def _settings(options: argparse.Namespace) -> Any:
    experiment = EXPERIMENTS[options.experiment]
    given = {field: getattr(options, field) for field in experiment.FLAGS if getattr(options, field) is not None}
    return experiment.resolved((experiment.FULL if options.full else experiment.DEFAULT)._replace(**given))


def _refuse_settings(options: argparse.Namespace) -> None:
    flags = {"out": "--out"} | {field: flag for field, (flag, _) in EXPERIMENTS[options.experiment].FLAGS.items()}
    given = [flag for field, flag in flags.items() if field != "data" and getattr(options, field) is not None]
    given += ["--full"] * options.full
    if given:
        raise ValueError(f"{given[0]}: expected no setting beside --resume, which keeps the run's own")


def _new_folder(options: argparse.Namespace) -> Path:
    """The folder asked for, which must not hold anything yet, or the next free one below runs/."""
    if options.out:
        folder = Path(options.out)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"--out: expected a new or empty folder, got {folder}, which exists; it was left unchanged")
    else:
        names = (f"{options.experiment}{suffix}" for suffix in _suffixes())
        folder = next(path for path in (Path("runs") / name for name in names) if not path.exists())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _suffixes() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f"-{number}"
        number += 1


def _train_to_the_end(posed: Run, folder: Path, *, quiet: bool) -> tuple[Run, OSError | None]:
    """Train to the end, telling how it goes; saved at the start, every now and then, when interrupted, and at the end.

    Where the disk is full by then the training goes on, and what could not be saved is told.   → the run, why it is not saved
    """
    path, recipe = folder / "run.npz", posed.problem.recipe
    glances = common.in_proportion(GLANCES, posed.settings, posed.experiment.DEFAULT, least=1)
    run.clear(folder, path.name)
    experiments.save(path, posed)
    saved = time.monotonic()
    recent: list[float] = []
    try:
        with _Progress(recipe.steps, posed.state.steps_done, quiet) as progress:
            for state, k in common.fit(posed.problem, posed.state):
                if not np.isfinite(k):
                    raise ValueError(f"K: expected a finite number, got {k} at step {state.steps_done}; "
                                     f"the state before it is in {path}")
                posed = posed._replace(state=state)
                recent = [*recent[-99:], k]
                progress.update(f"K {common.in_bits_per(posed.problem, np.mean(recent)):.3f} bits")
                if state.steps_done * glances // recipe.steps > (state.steps_done - 1) * glances // recipe.steps:
                    progress.tell(_progress_text(posed))
                if time.monotonic() - saved > SAVE_EVERY:
                    _failure_to_save(path, posed)
                    saved = time.monotonic()
    except BaseException as ended:
        if not _failure_to_save(path, posed) and isinstance(ended, KeyboardInterrupt):
            tell(f"saved at step {posed.state.steps_done}; go on with --resume {folder}")
        raise
    return posed, _failure_to_save(path, posed)


def _failure_to_save(path: Path, posed: Run) -> OSError | None:
    """Saves the state; the error if it cannot be written, which is told."""
    try:
        experiments.save(path, posed)
    except OSError as error:
        tell(f"not saved at step {posed.state.steps_done}: {one_line(str(error))}")
        return error
    return None


def _progress_text(posed: Run) -> str:
    """K of a few held-out examples, the same ones at every look."""
    x_0 = common.held_out(posed.problem, posed.problem.glance)
    found = common.evaluate(posed.problem, posed.state, x_0)
    k, gain = (likelihood.in_bits(estimate) for estimate in (found.bound, found.gain))
    size, unit = posed.problem.size, posed.problem.unit
    return (f"step {posed.state.steps_done}: on {len(x_0)} held-out examples K {k.value / size:.4f} ± {k.stderr / size:.4f}, "
            f"K − L_null {gain.value / size:.4f} ± {gain.stderr / size:.4f} bits per {unit}")


class _Progress:
    """How far it is, on standard error: on a terminal tqdm's bar where that is installed, else a line every tenth of the way."""

    def __init__(self, total: int, done: int, quiet: bool) -> None:
        self.total, self.done, self.started, self.first, self.quiet = total, done, time.monotonic(), done, quiet
        self.bar: Any = None
        if quiet or not is_terminal(sys.stderr):
            return
        with contextlib.suppress(ImportError, OSError):
            from tqdm import tqdm
            self.bar = tqdm(total=total, initial=done, unit="step", file=sys.stderr, mininterval=0.5)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.close()

    def update(self, text: str) -> None:
        self.done += 1
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.set_postfix_str(text, refresh=False)
                self.bar.update()
        elif not self.quiet and self.done * 10 // self.total > (self.done - 1) * 10 // self.total:
            left = (time.monotonic() - self.started) / (self.done - self.first) * (self.total - self.done)
            tell(f"step {self.done}/{self.total}   {text}   {left:.0f} s left")

    def tell(self, text: str) -> None:
        """A line above the bar."""
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.clear()
        if not self.quiet:
            tell(text)
