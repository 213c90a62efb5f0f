"""The commands:  python -m refdpm {train, bound, sample, figure, audit, equations}.

With --json a command prints one JSON object on standard output and nothing else there; progress goes to standard error.
Exit codes: 0 fine, 1 a check failed, 2 wrong usage, input or output.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
import argparse
import contextlib
import io
import json
import os
import sys
import time

import numpy as np

from refdpm import experiment, figure, likelihood, run, train
from refdpm.data import checked as checked_data
from refdpm.experiment import Settings

EXPERIMENTS = ("swiss-roll",)
SAVE_EVERY = 20.0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except (ValueError, OSError) as error:
        _tell(f"refdpm {options.name}: error: {error}")
        return 2
    except MemoryError as error:
        _tell(f"refdpm {options.name}: error: expected sizes that fit into memory, got larger ones ({error})")
        return 2
    except KeyboardInterrupt:
        _tell(f"refdpm {options.name}: stopped")
        return 130


def _print(text: str) -> None:
    """To standard output; whoever closed it has seen enough, and a character that it does not know becomes a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")


def _tell(text: str) -> None:
    """To standard error, if there is one that listens."""
    encoding = sys.stderr.encoding or "utf-8"
    with contextlib.suppress(OSError):
        print(text.encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="refdpm", description="Diffusion models with hand-derived, audited gradients.")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(name: str, command: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    sub = add("train", _train, "learn an experiment of the paper, report K in bits, and draw it")
    sub.add_argument("experiment", choices=EXPERIMENTS)
    sub.add_argument("--out", type=Path, metavar="DIR", help="a new folder (default: runs/EXPERIMENT, or the next free one)")
    sub.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in DIR, with its own settings")
    sub.add_argument("--full", action="store_true", help="the long run")
    sub.add_argument("--seed", type=int, help="default 0")
    sub.add_argument("--steps", type=int, metavar="N", help="steps of the optimiser")
    sub.add_argument("--units", type=int, metavar="K", help="radial basis units (the paper has 16)")
    sub.add_argument("--width", type=float, metavar="W", help="of the units at the start, default 0.17")
    sub.add_argument("--readout", metavar="FORM", help="denoising, eq65 (the paper's) or released (the authors' code)")
    sub.add_argument("--beta-1", type=float, metavar="B", dest="beta_1", help="the fixed first rate, default 1e-3")
    sub.add_argument("--T", type=int, metavar="T", help="steps of the chain, default 40")
    sub.add_argument("--fixed-schedule", action="store_true", help="keep the geometric schedule")
    sub.add_argument("--json", action="store_true")

    sub = add("bound", _bound, "K of a run on held-out points, term by term")
    _add_run(sub)
    sub.add_argument("--points", type=int, metavar="N", help=f"how many generated points, default {experiment.HELD_OUT}")
    sub.add_argument("--data", type=Path, metavar="FILE.npy", help="points of your own (N, 2), centred, with mean square 1")
    sub.add_argument("--json", action="store_true")

    sub = add("sample", _sample, "draw points from a run")
    _add_run(sub)
    sub.add_argument("--n", type=int, required=True, metavar="N")
    sub.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npy, or .csv for text; must not exist")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--end", choices=("x_0", "x_1"), default="x_0", help="x_1 leaves out the last, fixed step")

    sub = add("figure", _figure, "draw the forward and the learned reverse diffusion of a run")
    _add_run(sub)
    sub.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="must not exist")

    sub = add("audit", _audit, "check every gradient and every value, and plant every known mistake")
    sub.add_argument("--thorough", action="store_true", help="many more cases")
    sub.add_argument("--json", action="store_true")

    sub = add("equations", _equations, "every equation of the paper, with its code, its tests and what to know about it")
    sub.add_argument("--json", action="store_true")
    return parser


def _add_run(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run", type=Path, metavar="RUN", help="the folder of a run, or its run.npz")


def _load(path: Path) -> tuple[Settings, train.State]:
    path = path / "run.npz" if path.is_dir() else path
    try:
        content, state = run.load(path, lambda content: experiment.template(experiment.from_dict(content)))
        settings = experiment.from_dict(content)
        return settings, experiment.checked_state(settings, state)
    except FileNotFoundError:
        raise ValueError(f"RUN: expected a folder with run.npz or a run file, got {path}, which is not there") from None
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _json(report: dict[str, Any] | list[Any], **options: Any) -> str:
    return json.dumps(report, allow_nan=False, default=float, **options)


# -- train -------------------------------------------------------------------------------------------------------------

def _train(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    if options.resume:
        _refuse_settings(options)
        folder = options.resume.parent if options.resume.name == "run.npz" else options.resume
        settings, state = _load(folder / "run.npz")
    else:
        settings = _settings(options)
        state = experiment.begin(settings)
        folder = _new_folder(options)
    state = _trained(settings, state, folder)
    report = (experiment.bound_report(settings, state, experiment.held_out(settings)) | experiment.ceilings(settings, state)
              | {"samples": experiment.sample_report(settings, state), "settings": settings._asdict(), "paper": experiment.PAPER,
                 "run": str(folder)})
    try:
        figure.write(folder / "figure.png", settings, state, replace=True)
        report["figure"] = str(folder / "figure.png")
    except ValueError as error:
        _tell(f"no picture: {error}")
    report["seconds"] = time.perf_counter() - started
    run.write_atomically(folder / "report.json", _json(report, indent=1).encode(), replace=True)
    _print(_json(report) if options.json else _training_text(report))
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    base = experiment.FULL if options.full else experiment.DEFAULT
    given = {name: getattr(options, name) for name in ("seed", "steps", "units", "width", "readout", "beta_1", "T")}
    chosen = base._replace(**{name: value for name, value in given.items() if value is not None})
    return experiment.checked(chosen._replace(learn_schedule=not options.fixed_schedule))


def _refuse_settings(options: argparse.Namespace) -> None:
    for name in ("out", "full", "seed", "steps", "units", "width", "readout", "beta_1", "T", "fixed_schedule"):
        if getattr(options, name) is not None and getattr(options, name) is not False:
            raise ValueError(f"--{name.replace('_', '-')}: expected no setting beside --resume, which keeps the run's own")


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


def _save(folder: Path, settings: Settings, state: train.State) -> None:
    run.save(folder / "run.npz", settings._asdict(), state, replace=True)


def _trained(settings: Settings, state: train.State, folder: Path) -> train.State:
    """Train to the end, telling how it goes; saved at the start, every now and then, when interrupted, and at the end."""
    _save(folder, settings, state)
    saved = time.monotonic()
    recent: list[float] = []
    try:
        with _Progress(settings.steps, state.steps_done) as progress:
            for next_state, k in experiment.fit(settings, state):
                if not np.isfinite(k):
                    raise ValueError(f"K: expected a finite number, got {k} at step {next_state.steps_done}; "
                                     f"the state before it is in {folder / 'run.npz'}")
                state = next_state
                recent = [*recent[-99:], float(likelihood.bits(k))]
                progress.update(f"K {np.mean(recent):.3f} bits")
                if time.monotonic() - saved > SAVE_EVERY:
                    _save(folder, settings, state)
                    saved = time.monotonic()
    except KeyboardInterrupt:
        _tell(f"saved at step {state.steps_done}; go on with --resume {folder}")
        raise
    finally:
        _save(folder, settings, state)
    return state


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
            _tell(f"step {self.done}/{self.total}   {text}   {left:.0f} s left")


def _training_text(report: dict[str, Any]) -> str:
    settings, samples, paper = report["settings"], report["samples"], report["paper"]
    return f"""Swiss roll, T = {settings['T']}, β_1 = {settings['beta_1']:g}, {settings['units']} units, \
read-out '{settings['readout']}', seed {report['seed']}

{_bound_text(report, 'held-out points')}

ceilings
  K*     {report['K_star']:9.4f} bits   the best independent Gaussian kernels and the best schedule of T steps
  K_max  {report['K_max']:9.4f} bits   −h(X¹): no kernels can do better, β_1 alone sets it
  K* of the schedule learned here: {report['K_star_of_its_schedule']:.4f} bits
  paper: K = {paper['K']}, K − L_null = {paper['K_minus_L_null']} bits; not comparable, because
         {paper['not_comparable']}

samples against held-out points: energy distance {samples['energy_distance']:.2e}, p = {samples['p_value']:.3f}
  (for a perfect model p ≤ 0.001 comes once in a thousand runs)

{report['seconds']:.0f} seconds; {report['run']}/run.npz, report.json{', figure.png' if 'figure' in report else ''}"""


# -- bound, sample, figure ---------------------------------------------------------------------------------------------

def _bound(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    settings, state = _load(options.run)
    if options.data is not None and options.points is not None:
        raise ValueError("--points: expected no number of generated points beside --data, got both")
    if options.points is not None and options.points < 2:
        raise ValueError(f"--points: expected at least 2, got {options.points}")
    x_0 = _read_points(options.data) if options.data else experiment.held_out(settings, options.points or experiment.HELD_OUT)
    report = experiment.bound_report(settings, state, x_0)
    report["seconds"] = time.perf_counter() - started
    rows = "\n".join(f"{t:4d}  {report['beta'][t]:9.3e}  {kl:9.5f}" for t, kl in enumerate(report["terms"]["kl"], start=2))
    text = _bound_text(report, f"points of {options.data}" if options.data else "held-out points")
    _print(_json(report) if options.json else f"{text}\n\n  t      β_t        KL of the step, bits\n{rows}")
    return 0


def _read_points(path: Path) -> np.ndarray:
    x_0 = run.load_points(path)
    if x_0.ndim != 2 or x_0.shape[1] != 2:
        raise ValueError(f"{path}: expected numbers of shape (N, 2), got shape {x_0.shape}")
    return checked_data(x_0, name=str(path))


def _bound_text(report: dict[str, Any], points: str) -> str:
    terms = report["terms"]
    parts = (f"−Σ KL {-sum(terms['kl']):+.4f}, H(x_T|x_0) {terms['H(x_T|x_0)']:+.4f}, "
             f"−H(x_1|x_0) {-terms['H(x_1|x_0)']:+.4f}, −H(π) {-terms['H(pi)']:+.4f}")
    return f"""on {report['points']} {points}, in bits per point
  K             {report['K']:9.4f} ± {report['K_stderr']:.4f}   the sum of {parts}
  L_null        {report['L_null']:9.4f} ± {report['L_null_stderr']:.4f}   the data under N(0, 1)
  K − L_null    {report['K_minus_L_null']:9.4f} ± {report['K_minus_L_null_stderr']:.4f}
  strict bound  {report['elbo']:9.4f} ± {report['elbo_stderr']:.4f}   K + C, with C = {report['correction']:+.5f}"""


def _sample(options: argparse.Namespace) -> int:
    settings, state = _load(options.run)
    if options.n < 1:
        raise ValueError(f"--n: expected at least 1, got {options.n}")
    if options.seed < 0:
        raise ValueError(f"--seed: expected an integer ≥ 0, got {options.seed}")
    if options.out.suffix not in (".npy", ".csv"):
        raise ValueError(f"--out: expected a name ending in .npy or .csv, got {options.out}")
    _refuse_existing(options.out)
    x = experiment.samples(settings, state, options.n, seed=options.seed, end=options.end)
    buffer = io.BytesIO()
    if options.out.suffix == ".npy":
        np.save(buffer, x)
    else:
        np.savetxt(buffer, x, fmt="%.17g", delimiter=",")
    run.write_atomically(options.out, buffer.getvalue())
    return 0


def _figure(options: argparse.Namespace) -> int:
    settings, state = _load(options.run)
    if options.out.suffix != ".png":
        raise ValueError(f"--out: expected a name ending in .png, got {options.out}")
    _refuse_existing(options.out)
    figure.write(options.out, settings, state)
    return 0


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise ValueError(f"--out: expected a new file, got {path}, which exists; it was left unchanged")
    if not path.parent.is_dir():
        raise ValueError(f"--out: expected a file in a folder that exists, got {path}")


# -- audit, equations --------------------------------------------------------------------------------------------------

def _audit(options: argparse.Namespace) -> int:
    from refdpm.conformance import audit                       # needs Hypothesis; the other commands do not wait for it
    report = audit.run(thorough=options.thorough, tell=_tell)
    _print(_json(report) if options.json else audit.render(report))
    return 0 if report["ok"] else 1


def _equations(options: argparse.Namespace) -> int:
    from refdpm import paper
    rows = paper.matrix()
    if not any(row["tests"] for row in rows):
        _tell("the tests are not installed with the package; from a checkout they are listed too")
    _print(_json(rows) if options.json else paper.render(rows))
    return 0
