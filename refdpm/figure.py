"""Pictures of runs, one kind for each experiment, and their samples as a film.  Needs the extra `figures`.

Every picture shows the data becoming noise, noise becoming samples, and below them what K is made of along t.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
import io

import numpy as np

from refdpm import sample, schedule, train
from refdpm.data.prepare import restore
from refdpm.experiments import Run, common, heartbeat
from refdpm.run import write_atomically
from refdpm.vjp import Array

POINTS, SEQUENCES, IMAGES = 3000, 40, 8
FRAMES = 40                   # of a film, beside the last
NOISE = 1.0                   # standard deviation, in units of the data's
EDGE = 2.2
DATA, MODEL, OTHER, MARKED = "#1f4e8c", "#8c1f2f", "#777777", "#d62728"
MARK = b"Software\0refdpm"    # in every PNG: so we know our own
# the endings of names, and what the file says of itself: no time, so that the same picture is the same file
KINDS: dict[str, dict[str, Any]] = {".png": {"Software": "refdpm"}, ".svg": {"Creator": "refdpm", "Date": None},
                                    ".pdf": {"Creator": "refdpm", "CreationDate": None}, ".gif": {"comment": b"refdpm"}}
STYLE = {"font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8,
         "mathtext.fontset": "cm", "svg.hashsalt": "refdpm"}
FORWARD, REVERSE = "data to noise, $q(x_t)$", "noise to samples, $p(x_t)$"


def require() -> Any:
    """matplotlib's pyplot, drawing to files.   Raises: ValueError naming the extra if it is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise ValueError("figure: expected matplotlib to be installed, got none; pip install matplotlib tqdm "
                         "(the extra `figures`)") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot
    return pyplot


def write(path: Path, posed: Run, *, replace: bool = False) -> None:
    """Draw the run into a file of the kind that the end of its name says.   Raises: ValueError for another end."""
    if path.suffix not in KINDS:
        raise ValueError(f"--out: expected a name ending in {', '.join(KINDS)}, got {path}")
    pyplot = require()
    buffer = io.BytesIO()
    with pyplot.rc_context(STYLE):
        if path.suffix == ".gif":
            first, *others = _film(pyplot, posed)
            first.save(buffer, format="GIF", save_all=True, append_images=others, loop=0,
                       duration=[120] * len(others) + [2000], **KINDS[path.suffix])
        else:
            figure = {"swiss-roll": _roll, "heartbeat": _sequences}.get(posed.name, _images)(pyplot, posed)
            figure.savefig(buffer, format=path.suffix[1:], dpi=130, metadata=KINDS[path.suffix])
            pyplot.close(figure)
    write_atomically(path, buffer.getvalue(), replace=replace)


def _film(pyplot: Any, posed: Run) -> Iterator[Any]:
    """Frame by frame what the chain makes of noise, from t = T to 0."""
    from PIL import Image

    draw, n = {"swiss-roll": (_scatter, POINTS), "heartbeat": (_raster, SEQUENCES)}.get(posed.name, (_strip, IMAGES))
    T = len(common.beta_of(posed.problem, posed.state)) - 1
    for t, x in _reverse(posed, n, set(np.linspace(T, 0, min(T, FRAMES) + 1).round().astype(int))).items():
        figure, axis = pyplot.subplots(figsize=(6.4, 1.4) if draw is _strip else (4.2, 4.2), dpi=100, constrained_layout=True)
        draw(axis, x, posed, t=t)
        axis.set_title(f"{REVERSE},  $t = {t}$")
        figure.canvas.draw()
        yield Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
        pyplot.close(figure)


# -- chains --------------------------------------------------------------------------------------------------------------

def _rng(posed: Run) -> np.random.Generator:
    return train.generator(posed.problem.recipe.seed, train.Purpose.FIGURE)


def _forward(posed: Run, x_0: Array, shown: set[int]) -> dict[int, Array]:
    """{t: x_t} along a forward path of each x_0."""
    beta, kernel = common.beta_of(posed.problem, posed.state), posed.problem.kernel
    noise = kernel.draw_noise(_rng(posed), (len(beta) - 1, *x_0.shape))
    return {t: x for t, x in sample.forward_path(beta, x_0, noise=noise, kernel=kernel) if t in shown}


def _reverse(posed: Run, n: int, shown: set[int]) -> dict[int, Array]:
    """{t: x_t} along n reverse paths, from T on."""
    beta, kernel = common.beta_of(posed.problem, posed.state), posed.problem.kernel
    path = sample.reverse_path(posed.state.model.parameters, beta, kernel=kernel, network=posed.problem.network,
                               noise=kernel.draw_noise(_rng(posed), (len(beta), n, *posed.problem.shape)))
    return {t: x for t, x in path if t in shown}


def _chains(axes: Any, posed: Run, n: int, draw: Callable[..., None]) -> None:
    """Two rows: the forward process and the learned reverse process, at t = 0, T/2 and T."""
    T = len(common.beta_of(posed.problem, posed.state)) - 1
    shown = {0, T // 2, T}
    for row, (label, path) in enumerate(((FORWARD, _forward(posed, common.held_out(posed.problem, n), shown)),
                                         (REVERSE, _reverse(posed, n, shown)))):
        for column, t in enumerate(sorted(path)):
            draw(axes[row, column], path[t], posed, t=t, colour=(DATA, MODEL)[row])
            axes[row, column].set_title(f"$t = {t}$")
        axes[row, 0].set_ylabel(label)


def _along_t(axes: Any, posed: Run) -> None:
    """The rates and a geometric schedule with the same ends; what is left of x_0; and the KL of every step."""
    beta = common.beta_of(posed.problem, posed.state)
    T, steps = len(beta) - 1, np.arange(1, len(beta))
    found = common.evaluate(posed.problem, posed.state, common.held_out(posed.problem, posed.problem.glance))
    rates, left, kl = axes
    rates.semilogy(steps, beta[1:], color=MODEL, label="learned" if posed.problem.beta is None else "fixed")
    rates.semilogy(steps, schedule.geometric(T, beta_1=beta[1], beta_T=min(beta[-1], 1 - 1e-9))[1:], "--", color=OTHER,
                   label="geometric")
    rates.legend(frameon=False)
    left.plot(np.arange(T + 1), schedule.alpha_bar(beta), color=DATA)
    kl.plot(steps[1:], [common.in_bits_per(posed.problem, nats) for nats in found.terms.kl], color=MODEL)
    for axis, title in ((rates, r"rate $\beta_t$"), (left, r"share of $x_0$ that is left, $\bar\alpha_t$"),
                        (kl, f"KL of the step, bits per {posed.problem.unit}")):
        axis.set(title=title, xlabel="$t$", xlim=(0, T))


# -- points in the plane -------------------------------------------------------------------------------------------------

def _roll(pyplot: Any, posed: Run) -> Any:
    """The forward process, the learned reverse process, the learned drift, rates and KLs: one row each."""
    figure, axes = pyplot.subplots(4, 3, figsize=(8.4, 11), constrained_layout=True)
    _chains(axes, posed, POINTS, _scatter)
    T = len(common.beta_of(posed.problem, posed.state)) - 1
    for axis, t in zip(axes[2], (2, max(T // 2, 2), T)):
        _drift(axis, posed, t)
    axes[2, 0].set_ylabel(r"drift, $\mathrm{E}[x_{t-1}|x_t] - x_t$")
    _along_t(axes[3], posed)
    return figure


def _scatter(axis: Any, x: Array, posed: Run, *, t: int, colour: str = MODEL) -> None:
    axis.scatter(*x.T, s=1.5, c=colour, linewidths=0, alpha=0.7)
    axis.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")


def _drift(axis: Any, posed: Run, t: int) -> None:
    """The displacement of the reverse mean on a grid; every panel has its own arrow scale."""
    line = np.linspace(-2, 2, 19)
    x = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    rows, beta = np.full(len(x), t), common.beta_of(posed.problem, posed.state)
    step = schedule.step_at(beta, t=rows, ndim=2)
    p = posed.problem.network.reverse(posed.state.model.parameters, x, step, t=rows)
    axis.quiver(*x.T, *(p.mean - x).T, angles="xy", width=0.004, color="#333333")
    axis.set(title=f"$t = {t}$", xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")


# -- sequences of bits ---------------------------------------------------------------------------------------------------

def _sequences(pyplot: Any, posed: Run) -> Any:
    """The forward process, the learned reverse process, rates and KLs: one row each."""
    figure, axes = pyplot.subplots(3, 3, figsize=(8.4, 10), constrained_layout=True)
    _chains(axes, posed, SEQUENCES, _raster)
    _along_t(axes[2], posed)
    return figure


def _raster(axis: Any, x: Array, posed: Run, *, t: int, colour: str = MODEL) -> None:
    """Sequences as rows, with a mark in front of those that are no heartbeat."""
    wrong = np.flatnonzero(heartbeat.invalid(x))
    axis.imshow(x, cmap="Greys", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axis.hlines(wrong, -1.6, -0.8, color=MARKED, linewidth=3)
    axis.set(xticks=[], yticks=[], xlim=(-1.9, x.shape[1] - 0.5), xlabel=f"{len(wrong)} of {len(x)} are no heartbeat (marked)")


# -- images --------------------------------------------------------------------------------------------------------------

def _images(pyplot: Any, posed: Run) -> Any:
    """Film strips: one image becoming noise, noise becoming one; then held-out ones and samples; with noise added, denoised; with
    the middle unknown, inpainted; and below them rates and KLs."""
    problem, state, seed = posed.problem, posed.state, posed.problem.recipe.seed
    n = common.in_proportion(IMAGES, posed.settings, posed.experiment.DEFAULT)
    x, T = common.held_out(problem, n), len(common.beta_of(problem, state)) - 1
    shown = np.unique(np.linspace(0, T, IMAGES).round().astype(int))
    there, back = _forward(posed, x[:1], set(shown)), _reverse(posed, n, set(shown))
    noisy = x + NOISE * _rng(posed).standard_normal(x.shape)
    height, width, _ = problem.shape
    mask = np.ones(x.shape, dtype=bool)
    mask[:, height // 4:height - height // 4, width // 4:width - width // 4] = False
    strips = {f"data to noise, $t = 0$ to ${T}$": np.concatenate([there[t] for t in shown]),
              f"noise to a sample, $t = {T}$ to $0$": np.stack([back[t][0] for t in shown[::-1]]),
              "held out": x, "samples": back[0],
              "held out, noise added": noisy, "denoised": common.denoised(problem, state, noisy, noise=NOISE, seed=seed),
              "middle unknown": np.where(mask, x, 0.0), "inpainted": common.inpainted(problem, state, x, mask=mask, seed=seed)}
    figure = pyplot.figure(figsize=(8.4, 12), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(4, 1))
    for axis, (label, images) in zip(above.subplots(len(strips), 1), strips.items(), strict=True):
        _strip(axis, images, posed)
        axis.set_title(label, loc="left")
    _along_t(below.subplots(1, 3), posed)
    return figure


def _strip(axis: Any, images: Array, posed: Run, *, t: int = 0) -> None:
    """Images side by side, white between them and in the place of those that are missing."""
    bytes_ = restore(images, posed.settings.constants, low=posed.settings.low, high=posed.settings.high)
    framed = np.pad(bytes_, ((0, IMAGES - len(bytes_)), (1, 1), (1, 1), (0, 0)), constant_values=255)
    row = np.concatenate(list(framed), axis=1)
    axis.imshow(row[..., 0] if row.shape[-1] == 1 else row, cmap="Greys_r", vmin=0, vmax=255, interpolation="nearest")
    axis.set_axis_off()
