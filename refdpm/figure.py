"""The picture of the Swiss roll: forward diffusion, learned reverse diffusion, and learned drift.  Needs the extra `figures`."""

from pathlib import Path
from typing import Any
import io

import numpy as np

from refdpm import experiment, gaussian, sample, schedule, train
from refdpm.run import write_atomically
from refdpm.vjp import Array

POINTS = 3000
EDGE = 2.2


def require() -> Any:
    """matplotlib's pyplot, drawing to files.   Raises: ValueError naming the extra if it is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise ValueError("figure: expected matplotlib to be installed, got none; pip install \"refdpm[figures]\"") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot
    return pyplot


def write(path: Path, settings: experiment.Settings, state: train.State, *, replace: bool = False) -> None:
    """Draw the run at t = 0, T/2 and T, one column each, into a PNG file."""
    pyplot = require()
    T, beta = settings.T, experiment.beta_of(settings, state)
    rng = train.generator(settings.seed, train.Purpose.FIGURE)
    noise = gaussian.draw_noise(rng, (T + 1, POINTS, 2))
    network = experiment.network(settings)
    forward = dict(sample.forward_path(beta, experiment.held_out(settings, POINTS), noise=noise[:T], kernel=gaussian))
    noise = gaussian.draw_noise(rng, noise.shape)
    reverse = dict(sample.reverse_path(state.model.parameters, beta, noise=noise, kernel=gaussian, network=network))
    figure, axes = pyplot.subplots(3, 3, figsize=(8.4, 8.6), sharex=True, sharey=True, constrained_layout=True)
    for column, t in enumerate((0, T // 2, T)):
        _scatter(axes[0, column], forward[t], "#1f4e8c")
        _scatter(axes[1, column], reverse[t], "#8c1f2f")
        _drift(axes[2, column], settings, state, beta, max(t, 2))
        axes[0, column].set_title(f"t = {t}")
        axes[2, column].set_title(f"t = {max(t, 2)}", fontsize=9)
    for row, label in enumerate(("forward q(x_t)", "learned reverse p(x_t)", "drift  E[x_(t−1)|x_t] − x_t")):
        axes[row, 0].set_ylabel(label)
    axes[0, 0].set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    pyplot.close(figure)
    write_atomically(path, buffer.getvalue(), replace=replace)


def _scatter(axis: Any, x: Array, colour: str) -> None:
    axis.scatter(*x.T, s=1.5, c=colour, linewidths=0, alpha=0.7)


def _drift(axis: Any, settings: experiment.Settings, state: train.State, beta: Array, t: int) -> None:
    """The displacement of the reverse mean on a grid; every panel has its own arrow scale."""
    line = np.linspace(-2, 2, 19)
    x = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    rows = np.full(len(x), t)
    step = schedule.step(beta, schedule.log_alpha_bar(beta), t=rows, ndim=2)
    p = experiment.network(settings).reverse(state.model.parameters, x, step, t=rows)
    axis.quiver(*x.T, *(p.mean - x).T, angles="xy", width=0.004, color="#333333")
