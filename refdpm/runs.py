"""The commands on a run: bound, sample, figure."""

from pathlib import Path
import argparse
import contextlib
import io
import time

import numpy as np

from refdpm import experiments, figure, product, run, schedule
from refdpm.console import add_workers, say, to_json
from refdpm.experiments import Run, common

MOST = 10_000_000             # samples of one call


def add_bound(sub: argparse.ArgumentParser) -> None:
    """The flags of `bound`."""
    sub.set_defaults(command=_bound)
    _add_run(sub)
    sub.add_argument("--points", type=int, metavar="N", help="the number of held-out examples")
    sub.add_argument("--data", type=Path, metavar="FILE.npy", help="examples of your own, in the units of the training data")
    add_workers(sub)
    sub.add_argument("--parzen", type=int, metavar="M", help="also print the Parzen-window log-likelihood of Table 2, from M "
                     "samples")
    sub.add_argument("--json", action="store_true", help="one JSON object on standard output, for programs")


def add_sample(sub: argparse.ArgumentParser) -> None:
    """The flags of `sample`."""
    sub.set_defaults(command=_sample)
    _add_run(sub)
    sub.add_argument("--n", type=int, metavar="N", help="the number of new examples")
    sub.add_argument("--denoise", type=Path, metavar="FILE.npy", help="noisy examples; one sample for each")
    sub.add_argument("--noise-std", type=float, metavar="S", dest="noise_std", help="the deviation of their noise, or the share "
                     "of the bits that are flipped")
    sub.add_argument("--inpaint", type=Path, metavar="FILE.npy", help="examples that are known in part; one sample for each")
    sub.add_argument("--mask", type=Path, metavar="FILE.npy", help="1 where the examples are known, 0 elsewhere")
    sub.add_argument("--choice", choices=(*product.CHOICES, "enter"), default="constant",
                     help="the factor r at every t (eq. 23): constant and ramp are biased; enter lets noisy examples enter the "
                          "chain where it has as much noise, without bias")
    sub.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file, .npy, or .csv for text")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of the noise (default 0)")
    add_workers(sub)
    sub.add_argument("--end", choices=("x_0", "x_1"), default="x_0", help="x_1 leaves out the last, fixed step")


def add_figure(sub: argparse.ArgumentParser) -> None:
    """The flags of `figure`."""
    sub.set_defaults(command=_figure)
    _add_run(sub)
    sub.add_argument("--out", type=Path, required=True, metavar="FILE",
                     help="a new file, .png, .svg or .pdf; or .gif, a film in which noise becomes samples")


def _add_run(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run", type=Path, metavar="RUN", help="the folder of a run, or its run.npz")
    sub.add_argument("--quiet", action="store_true", help="no progress")


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
    if options.parzen is not None and (not 2 <= options.parzen <= MOST or len(x_0) < 4):
        raise ValueError(f"--parzen: expected 2 to {MOST} samples and at least 4 examples, got {options.parzen} and {len(x_0)}")
    with common.watched(posed.problem, quiet=options.quiet or options.workers != 1) as problem:
        report = common.bound_report(problem, posed.state, x_0, name=str(options.data or options.run), workers=options.workers)
        if options.parzen is not None:
            report["parzen"] = common.parzen_report(problem, posed.state, x_0, count=options.parzen)
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
    with common.watched(posed.problem, quiet=options.quiet or options.workers != 1) as problem:
        x = _sample_rows(posed._replace(problem=problem), options)
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
        return _in_units_of_files(problem, common.samples(problem, state, options.n, seed=options.seed, end=options.end,
                                                         workers=options.workers))
    if options.denoise:
        if options.choice == "enter" and not problem.real:
            raise ValueError("--choice: expected constant or ramp for bits, got enter")
        highest = _largest_noise_level(posed) if options.choice == "enter" else np.inf if problem.real else 0.5
        if options.noise_std is None or not 0 < options.noise_std < highest:
            raise ValueError(f"--noise-std: expected a number between 0 and {highest:.4g}, got {options.noise_std}")
        y = _examples(posed, options.denoise)
        return _in_units_of_files(problem, common.denoised(problem, state, _in_units_of_the_model(problem, y), seed=options.seed,
                                                           noise=options.noise_std * problem.scale, choice=options.choice,
                                                           workers=options.workers))
    if options.choice == "enter":
        raise ValueError("--choice: expected constant or ramp beside --inpaint, got enter")
    if options.mask is None:
        raise ValueError("--mask: expected a file beside --inpaint, got none")
    y = _examples(posed, options.inpaint, finite=False)
    known = _mask(options.mask, y.shape)
    if not np.isfinite(y[known]).all():
        raise ValueError(f"{options.inpaint}: expected finite numbers where the mask is 1, got NaN or infinity")
    drawn = common.inpainted(problem, state, _in_units_of_the_model(problem, y), mask=known, seed=options.seed,
                             choice=options.choice, workers=options.workers)
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
    posed, out = experiments.load(options.run), run.new_file(options.out)
    with common.watched(posed.problem, quiet=options.quiet) as problem:
        figure.write(out, posed._replace(problem=problem))
    return 0
