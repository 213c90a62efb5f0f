"""The commands:  python -m refdpm {train, bound, sample, figure, check, explain, vectors, audit, equations,
read}.

With --json a command prints one JSON object on standard output and nothing else there; progress goes to standard error.
Exit codes: 0 fine, 1 a check failed, 2 wrong usage, input or output, 3 an error in this package itself; ended by a signal, 128 and
its number.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
import argparse
import contextlib
import io
import signal
import sys
import time
import traceback

import numpy as np

from refdpm import checking, experiments, figure, likelihood, product, run, schedule, traceability
from refdpm.console import one_line, say, tell, to_json
from refdpm.experiments import EXPERIMENTS, Run, common

SAVE_EVERY = 20.0
MOST = 10_000_000             # samples of one call
GLANCES = 10                  # looks at held-out examples during a training


REPORT_MARK = b'{\n "unit": "'  # how a report begins
BROKEN = 3                    # the exit code of an error in this package itself


class Ended(KeyboardInterrupt):
    """A signal that asks for the end, which is heeded as an interrupt from the keyboard is: with its number."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        with np.errstate(all="ignore"), _heeded_signals():    # what overflows is seen in the result, and named
            return int(options.command(options))
    except (ValueError, OSError) as error:
        tell(f"refdpm {options.name}: error: {one_line(str(error))}")
        return 2
    except MemoryError as error:
        tell(f"refdpm {options.name}: error: expected sizes that fit into memory, got larger ones ({error})")
        return 2
    except KeyboardInterrupt as error:
        tell(f"refdpm {options.name}: stopped")
        return 128 + (error.args[0] if isinstance(error, Ended) else signal.SIGINT)
    except Exception as error:
        tell(traceback.format_exc())
        tell(f"refdpm {options.name}: this is an error in refdpm itself; please report it ({one_line(str(error))})")
        return BROKEN


@contextlib.contextmanager
def _heeded_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP are heeded, unless they are ignored already; only the main thread can see to that."""
    def end(number: int, _: Any) -> None:
        raise Ended(number)

    before = {}
    with contextlib.suppress(ValueError):
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Parser(argparse.ArgumentParser):
    """One whose errors are one line that is not too long, whatever was given."""

    def error(self, message: str) -> NoReturn:
        """See `argparse`."""
        super().error(one_line(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="refdpm", description="Diffusion models with hand-derived, audited gradients.")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(name: str, command: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    sub = add("train", _train, "learn an experiment of the paper, report K in bits, and draw it")
    of = sub.add_subparsers(dest="experiment", required=True, metavar="EXPERIMENT")
    for name, experiment in EXPERIMENTS.items():
        text = (experiment.__doc__ or "").split("\n")[0]
        _add_settings(of.add_parser(name, help=text, description=text), name, experiment)

    sub = add("bound", _bound, "K of a run on held-out examples, term by term")
    _add_run(sub)
    sub.add_argument("--points", type=int, metavar="N", help="how many held-out examples")
    sub.add_argument("--data", type=Path, metavar="FILE.npy", help="examples of your own, in the units of the training data")
    sub.add_argument("--parzen", type=int, metavar="M", help="also the Parzen-window log-likelihood of Table 2, from M samples")
    sub.add_argument("--json", action="store_true")

    sub = add("sample", _sample, "draw examples from a run: new ones, denoised ones, or completed ones")
    _add_run(sub)
    sub.add_argument("--n", type=int, metavar="N", help="how many new ones")
    sub.add_argument("--denoise", type=Path, metavar="FILE.npy", help="noisy examples; one sample for each")
    sub.add_argument("--noise-std", type=float, metavar="S", dest="noise_std", help="of their noise; of bits, the share flipped")
    sub.add_argument("--inpaint", type=Path, metavar="FILE.npy", help="examples that are known in part; one sample for each")
    sub.add_argument("--mask", type=Path, metavar="FILE.npy", help="1 where they are known, 0 elsewhere")
    sub.add_argument("--choice", choices=(*product.CHOICES, "enter"), default="constant",
                     help="of the factor at every t (eq. 23; both are biased); enter: noisy examples enter the chain at the level "
                          "of their noise, without bias")
    sub.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npy, or .csv for text; must not exist")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--end", choices=("x_0", "x_1"), default="x_0", help="x_1 leaves out the last, fixed step")

    sub = add("figure", _figure, "draw what a run has learned")
    _add_run(sub)
    sub.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="must not exist")

    checking.add(add)

    sub = add("audit", _audit, "check every gradient and every value, and plant every known mistake")
    sub.add_argument("--thorough", action="store_true", help="many more cases")
    sub.add_argument("--json", action="store_true")

    sub = add("equations", _equations, "every equation of the paper, with its code, its tests and what to know about it")
    sub.add_argument("--json", action="store_true")

    sub = add("read", _read, "write one page with the whole derivation: text, formulas, code, gradients and what speaks for them")
    sub.add_argument("--out", type=Path, default=Path("refdpm.html"), metavar="FILE.html",
                     help="default refdpm.html; must not exist")
    return parser


def _add_settings(sub: argparse.ArgumentParser, name: str, experiment: Any) -> None:
    """The flags of one experiment: those that all have, and its own settings."""
    sub.add_argument("--out", type=Path, metavar="DIR", help=f"a new folder (default: runs/{name}, or the next free one)")
    sub.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in DIR, with its own settings")
    sub.add_argument("--full", action="store_true", help="the long run")
    sub.add_argument("--json", action="store_true")
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


def _add_run(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run", type=Path, metavar="RUN", help="the folder of a run, or its run.npz")


# -- train -------------------------------------------------------------------------------------------------------------

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
    posed = _train_to_the_end(posed, folder)
    x_0 = common.held_out(posed.problem, posed.problem.held_out)
    report = (common.bound_report(posed.problem, posed.state, x_0, name=str(folder))
              | posed.experiment.report(posed.settings, posed.state)
              | {"experiment": posed.name, "settings": posed.settings._asdict(), "run": str(folder)})
    try:
        figure.write(folder / "figure.png", posed, replace=True)
        report["figure"] = str(folder / "figure.png")
    except (ValueError, OSError) as error:
        tell(f"no picture: {one_line(str(error))}")
    report["seconds"] = time.perf_counter() - started
    say(to_json(report) if options.json else _training_text(posed, report))
    run.write_atomically(folder / "report.json", to_json(report, indent=1).encode(), replace=True)
    return 0


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


def _train_to_the_end(posed: Run, folder: Path) -> Run:
    """Train to the end, telling how it goes; saved at the start, every now and then, when interrupted, and at the end."""
    path, recipe = folder / "run.npz", posed.problem.recipe
    run.clear(folder, path.name)
    experiments.save(path, posed)
    saved = time.monotonic()
    recent: list[float] = []
    try:
        with _Progress(recipe.steps, posed.state.steps_done) as progress:
            for state, k in common.fit(posed.problem, posed.state):
                if not np.isfinite(k):
                    raise ValueError(f"K: expected a finite number, got {k} at step {state.steps_done}; "
                                     f"the state before it is in {path}")
                posed = posed._replace(state=state)
                recent = [*recent[-99:], k]
                progress.update(f"K {common.in_bits_per(posed.problem, np.mean(recent)):.3f} bits")
                if state.steps_done * GLANCES // recipe.steps > (state.steps_done - 1) * GLANCES // recipe.steps:
                    progress.tell(_progress_text(posed))
                if time.monotonic() - saved > SAVE_EVERY:
                    experiments.save(path, posed)
                    saved = time.monotonic()
    except KeyboardInterrupt:
        tell(f"saved at step {posed.state.steps_done}; go on with --resume {folder}")
        raise
    finally:
        experiments.save(path, posed)
    return posed


def _progress_text(posed: Run) -> str:
    """K of a few held-out examples, the same ones at every look."""
    x_0 = common.held_out(posed.problem, posed.problem.glance)
    found = common.evaluate(posed.problem, posed.state, x_0)
    k, gain = (likelihood.in_bits(estimate) for estimate in (found.bound, found.gain))
    size, unit = posed.problem.size, posed.problem.unit
    return (f"step {posed.state.steps_done}: on {len(x_0)} held-out examples K {k.value / size:.4f} ± {k.stderr / size:.4f}, "
            f"K − L_null {gain.value / size:.4f} ± {gain.stderr / size:.4f} bits per {unit}")


class _Progress:
    """A progress bar on standard error: tqdm's where it is installed, else a line every tenth of the way."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.started, self.first = total, done, time.monotonic(), done
        self.bar: Any = None
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
        elif self.done * 10 // self.total > (self.done - 1) * 10 // self.total:
            left = (time.monotonic() - self.started) / (self.done - self.first) * (self.total - self.done)
            tell(f"step {self.done}/{self.total}   {text}   {left:.0f} s left")

    def tell(self, text: str) -> None:
        """A line above the bar."""
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.clear()
        tell(text)


# -- bound, sample, figure ---------------------------------------------------------------------------------------------

def _bound(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    posed = experiments.load(options.run)
    if options.data is not None and options.points is not None:
        raise ValueError("--points: expected no number of generated points beside --data, got both")
    if options.points is not None and options.points < 2:
        raise ValueError(f"--points: expected at least 2, got {options.points}")
    if options.data:
        x_0, examples = posed.experiment.read(posed.settings, options.data), f"examples of {options.data}"
    else:
        x_0, examples = common.held_out(posed.problem, options.points or posed.problem.held_out), "held-out examples"
        if options.points and len(x_0) < options.points:
            raise ValueError(f"--points: expected at most {len(x_0)}, which are all there are, got {options.points}")
    report = common.bound_report(posed.problem, posed.state, x_0, name=str(options.data or options.run))
    if options.parzen is not None:
        if not 2 <= options.parzen <= MOST or len(x_0) < 4:
            raise ValueError(f"--parzen: expected 2 to {MOST} samples and at least 4 examples, got {options.parzen} and {len(x_0)}")
        report["parzen"] = common.parzen_report(posed.problem, posed.state, x_0, count=options.parzen)
    report["seconds"] = time.perf_counter() - started
    rows = "\n".join(f"{t:4d}  {report['beta'][t]:9.3e}  {kl:9.5f}" for t, kl in enumerate(report["terms"]["kl"], start=2))
    text = common.bound_text(report, examples) + (common.parzen_text(report) if "parzen" in report else "")
    say(to_json(report) if options.json else f"{text}\n\n  t      β_t        KL of the step, bits\n{rows}")
    return 0


def _sample(options: argparse.Namespace) -> int:
    posed = experiments.load(options.run)
    if [options.n, options.denoise, options.inpaint].count(None) != 2:
        raise ValueError("--n, --denoise, --inpaint: expected one of them, got none or several")
    if options.n is not None and not 1 <= options.n <= MOST:
        raise ValueError(f"--n: expected 1 to {MOST}, got {options.n}")
    for flag, value, task in (("--mask", options.mask, options.inpaint), ("--noise-std", options.noise_std, options.denoise)):
        if value is not None and task is None:
            raise ValueError(f"{flag}: expected --{'inpaint' if flag == '--mask' else 'denoise'} beside it, got none")
    if options.n is not None and options.choice != "constant":
        raise ValueError("--choice: expected --denoise or --inpaint beside it, got --n")
    if options.seed < 0:
        raise ValueError(f"--seed: expected an integer ≥ 0, got {options.seed}")
    if options.end != "x_0" and options.n is None:
        raise ValueError("--end: expected x_0 beside --denoise and --inpaint, got x_1")
    if options.out.suffix not in (".npy", ".csv"):
        raise ValueError(f"--out: expected a name ending in .npy or .csv, got {options.out}")
    out = run.new_file(options.out)
    x = _sample_rows(posed, options)
    if not np.isfinite(x).all():
        raise ValueError(f"{options.denoise or options.inpaint or options.run}: expected samples of finite numbers, got others; "
                         f"nothing was written")
    buffer = io.BytesIO()
    if options.out.suffix == ".npy":
        np.save(buffer, x)
    else:
        np.savetxt(buffer, x.reshape(len(x), -1), fmt="%.17g", delimiter=",")
    run.write_atomically(out, buffer.getvalue())
    return 0


def _sample_rows(posed: Run, options: argparse.Namespace) -> np.ndarray:
    problem, state = posed.problem, posed.state
    if options.n is not None:
        return _in_units_of_files(problem, common.samples(problem, state, options.n, seed=options.seed, end=options.end))
    if options.denoise:
        if options.choice == "enter" and not problem.real:
            raise ValueError("--choice: expected constant or ramp for bits, got enter")
        highest = _largest_noise_level(posed) if options.choice == "enter" else np.inf if problem.real else 0.5
        if options.noise_std is None or not 0 < options.noise_std < highest:
            raise ValueError(f"--noise-std: expected a number between 0 and {highest:.4g}, got {options.noise_std}")
        y = _examples(posed, options.denoise)
        return _in_units_of_files(problem, common.denoised(problem, state, _in_units_of_the_model(problem, y), seed=options.seed,
                                                           noise=options.noise_std * problem.scale, choice=options.choice))
    if options.choice == "enter":
        raise ValueError("--choice: expected constant or ramp beside --inpaint, got enter")
    if options.mask is None:
        raise ValueError("--mask: expected a file beside --inpaint, got none")
    y = _examples(posed, options.inpaint, finite=False)
    known = _mask(options.mask, y.shape)
    if not np.isfinite(y[known]).all():
        raise ValueError(f"{options.inpaint}: expected finite numbers where the mask is 1, got NaN or infinity")
    drawn = common.inpainted(problem, state, _in_units_of_the_model(problem, y), mask=known, seed=options.seed,
                             choice=options.choice)
    return np.where(known, y, _in_units_of_files(problem, drawn))


def _mask(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Where examples of this shape are known: one mask for all or one for each, one for all colours or one for each."""
    mask = run.load_points(path)
    wrong = mask[~np.isin(mask, (0, 1))]
    if wrong.size:
        raise ValueError(f"{path}: expected zeros and ones, got {wrong.ravel()[0]}")
    for candidate in (mask, mask[..., None]):
        if candidate.shape[-len(shape) + 1:-1] == shape[1:-1] and candidate.shape[-1] in (1, shape[-1]):
            with contextlib.suppress(ValueError):
                return np.broadcast_to(candidate == 1, shape)
    raise ValueError(f"{path}: expected shape {shape} or {shape[1:]}, with or without the last axis, got {mask.shape}")


def _examples(posed: Run, path: Path, *, finite: bool = True) -> np.ndarray:
    """Examples of a file, (N, …) or one alone, in its own units."""
    values, shape = run.load_points(path), posed.problem.shape
    if values.shape[-len(shape):] != shape and shape[-1] == 1:
        values = values[..., None]
    values = values[None] if values.shape == shape else values
    if values.ndim != len(shape) + 1 or values.shape[1:] != shape or not len(values):
        raise ValueError(f"{path}: expected shape (N, {', '.join(map(str, shape))}), got {values.shape}")
    if finite and not np.isfinite(values).all():
        raise ValueError(f"{path}: expected finite numbers, got NaN or infinity")
    if not posed.problem.real and not np.isin(values[np.isfinite(values)], (0, 1)).all():
        raise ValueError(f"{path}: expected zeros and ones, got other numbers")
    return values.astype(np.float64)


def _largest_noise_level(posed: Run) -> float:
    """The standard deviation, in units of files, of the noise of x_T: no noisier example can enter the chain."""
    level = schedule.log_alpha_bar(common.beta_of(posed.problem, posed.state))[-1]
    return float(np.sqrt(np.expm1(-level))) / posed.problem.scale


def _in_units_of_the_model(problem: common.Problem, x: np.ndarray) -> np.ndarray:
    return (x - problem.shift) * problem.scale


def _in_units_of_files(problem: common.Problem, x: np.ndarray) -> np.ndarray:
    return x / problem.scale + problem.shift


def _figure(options: argparse.Namespace) -> int:
    posed = experiments.load(options.run)
    if options.out.suffix != ".png":
        raise ValueError(f"--out: expected a name ending in .png, got {options.out}")
    figure.write(run.new_file(options.out), posed)
    return 0


# -- audit, equations, read --------------------------------------------------------------------------------------------

def _audit(options: argparse.Namespace) -> int:
    from refdpm.conformance import audit                       # needs Hypothesis; the other commands do not wait for it
    report = audit.run(thorough=options.thorough, tell=tell)
    say(to_json(report) if options.json else audit.render(report))
    return 0 if report["ok"] else 1


def _equations(options: argparse.Namespace) -> int:
    rows = traceability.matrix()
    if not any(row["tests"] for row in rows):
        tell("the tests are not installed with the package; from a checkout they are listed too")
    say(to_json(rows) if options.json else traceability.render(rows))
    return 0


def _read(options: argparse.Namespace) -> int:
    if options.out.suffix != ".html":
        raise ValueError(f"--out: expected a name ending in .html, got {options.out}")
    out = run.new_file(options.out)
    from refdpm.reading import page                            # needs the kit, as the audit does
    run.write_atomically(out, page.page(tell).encode())
    say(f"{options.out}: open it in a browser")
    return 0
