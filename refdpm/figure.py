"""Pictures of runs, one kind for each experiment.  Needs the extra `figures`."""

from pathlib import Path
from typing import Any
import io

import numpy as np

from refdpm import sample, schedule, train
from refdpm.data.prepare import restore
from refdpm.experiments import Run, common
from refdpm.run import write_atomically
from refdpm.vjp import Array

POINTS = 3000
SEQUENCES = 40
IMAGES = 8
NOISE = 1.0                   # standard deviation, in units of the data's
EDGE = 2.2
MARK = b"Software\0refdpm"    # in every PNG: so we know our own
# the endings of names, and what the file says of itself: no time, so that the same picture is the same file
KINDS = {".png": {"Software": "refdpm"}, ".svg": {"Creator": "refdpm", "Date": None},
         ".pdf": {"Creator": "refdpm", "CreationDate": None}}


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
    figure = {"swiss-roll": _roll, "heartbeat": _sequences}.get(posed.name, _images)(pyplot, posed)
    buffer = io.BytesIO()
    with pyplot.rc_context({"svg.hashsalt": "refdpm"}):
        figure.savefig(buffer, format=path.suffix[1:], dpi=130, metadata=KINDS[path.suffix])
    pyplot.close(figure)
    write_atomically(path, buffer.getvalue(), replace=replace)


def _paths(posed: Run, n: int) -> tuple[dict[int, Array], dict[int, Array]]:
    """{t: x_t} of n forward paths and of n reverse ones, at t = 0, T/2 and T."""
    beta = common.beta_of(posed.problem, posed.state)
    T, kernel = len(beta) - 1, posed.problem.kernel
    rng = train.generator(posed.problem.recipe.seed, train.Purpose.FIGURE)
    shape = (T + 1, n) + posed.problem.shape
    forward = sample.forward_path(beta, common.held_out(posed.problem, n), noise=kernel.draw_noise(rng, shape)[:T], kernel=kernel)
    shown = (0, T // 2, T)
    kept = {t: x for t, x in forward if t in shown}
    reverse = sample.reverse_path(posed.state.model.parameters, beta, noise=kernel.draw_noise(rng, shape), kernel=kernel,
                                  network=posed.problem.network)
    return kept, {t: x for t, x in reverse if t in shown}


# -- points in the plane -------------------------------------------------------------------------------------------------

def _roll(pyplot: Any, posed: Run) -> Any:
    """Forward diffusion, learned reverse diffusion, learned drift: one row each; t = 0, T/2 and T: one column each."""
    forward, reverse = _paths(posed, POINTS)
    figure, axes = pyplot.subplots(3, 3, figsize=(8.4, 8.6), sharex=True, sharey=True, constrained_layout=True)
    for column, t in enumerate(sorted(forward)):
        _scatter(axes[0, column], forward[t], "#1f4e8c")
        _scatter(axes[1, column], reverse[t], "#8c1f2f")
        _drift(axes[2, column], posed, max(t, 2))
        axes[0, column].set_title(f"t = {t}")
        axes[2, column].set_title(f"t = {max(t, 2)}", fontsize=9)
    for row, label in enumerate(("forward q(x_t)", "learned reverse p(x_t)", "drift  E[x_(t−1)|x_t] − x_t")):
        axes[row, 0].set_ylabel(label)
    axes[0, 0].set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")
    return figure


def _scatter(axis: Any, x: Array, colour: str) -> None:
    axis.scatter(*x.T, s=1.5, c=colour, linewidths=0, alpha=0.7)


def _drift(axis: Any, posed: Run, t: int) -> None:
    """The displacement of the reverse mean on a grid; every panel has its own arrow scale."""
    line = np.linspace(-2, 2, 19)
    x = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    rows, beta = np.full(len(x), t), common.beta_of(posed.problem, posed.state)
    step = schedule.step_at(beta, t=rows, ndim=2)
    p = posed.problem.network.reverse(posed.state.model.parameters, x, step, t=rows)
    axis.quiver(*x.T, *(p.mean - x).T, angles="xy", width=0.004, color="#333333")


# -- sequences of bits ---------------------------------------------------------------------------------------------------

def _sequences(pyplot: Any, posed: Run) -> Any:
    """Sequences as rows of a raster: the forward process above, the learned reverse process below; t = 0, T/2 and T."""
    figure, axes = pyplot.subplots(2, 3, figsize=(8.4, 8.0), sharex=True, sharey=True, constrained_layout=True)
    for row, (paths, label) in enumerate(zip(_paths(posed, SEQUENCES), ("forward q(x_t)", "learned reverse p(x_t)"))):
        for column, t in enumerate(sorted(paths)):
            axes[row, column].imshow(paths[t], cmap="Greys", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
            axes[row, column].set(xticks=[], yticks=[], title=f"t = {t}")
        axes[row, 0].set_ylabel(label)
    return figure


# -- images --------------------------------------------------------------------------------------------------------------

def _images(pyplot: Any, posed: Run) -> Any:
    """Rows of images: held-out ones, samples; with noise added, denoised; with the middle unknown, inpainted."""
    problem, state, seed = posed.problem, posed.state, posed.problem.recipe.seed
    x = common.held_out(problem, IMAGES)
    noisy = x + NOISE * train.generator(seed, train.Purpose.FIGURE).standard_normal(x.shape)
    height, width, _ = problem.shape
    mask = np.ones(x.shape, dtype=bool)
    mask[:, height // 4:height - height // 4, width // 4:width - width // 4] = False
    rows = {"held out": x, "samples": common.samples(problem, state, len(x), seed=seed),
            "noise added": noisy, "denoised": common.denoised(problem, state, noisy, noise=NOISE, seed=seed),
            "middle unknown": np.where(mask, x, 0.0), "inpainted": common.inpainted(problem, state, x, mask=mask, seed=seed)}
    figure, axes = pyplot.subplots(len(rows), len(x), figsize=(1.2 * len(x) + 1, 1.2 * len(rows)), constrained_layout=True,
                                   squeeze=False)
    for row, (label, images) in enumerate(rows.items()):
        bytes_ = restore(images, posed.settings.constants, low=posed.settings.low, high=posed.settings.high)
        for column, image in enumerate(bytes_[..., 0] if bytes_.shape[-1] == 1 else bytes_):
            axes[row, column].imshow(image, cmap="Greys_r", vmin=0, vmax=255, interpolation="nearest")
            axes[row, column].set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(label, fontsize=8)
    return figure
