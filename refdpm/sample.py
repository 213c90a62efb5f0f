"""Sampling: from π at t = T back to the data, one reverse step after another.

The model of eqs. 4 and 5 ends with the fixed step p(x_0 | x_1) = T_π(x_0 | x_1; β_1), the forward kernel.  It puts the noise
of the first forward step on top of x_1, and belongs to the law whose likelihood `bound` bounds.  The authors' released sampler
leaves it out; `end="x_1"` does the same, for pictures.
"""

from collections.abc import Iterator

import numpy as np

from refdpm import schedule
from refdpm.doors import open_doors
from refdpm.paper import eq
from refdpm.vjp import Array, Module, Tree


@eq("4", "5", "44", "App.1 G reverse law", "App.1 B reverse law")
def reverse_path(parameters: Tree, beta: Array, *, noise: Array, kernel: Module, network: Module) -> Iterator[tuple[int, Array]]:
    """Yields (t, x_t) for t = T, T−1, …, 0, drawn with frozen noise.

    Shapes: beta (T+1,), noise (T+1, N, …); noise[t] draws x_t.
    """
    T = len(schedule.checked(beta)) - 1
    level = schedule.log_alpha_bar(beta)
    x = kernel.draw(kernel.prior(noise[T].shape), noise=noise[T])
    yield T, x
    for t in range(T, 0, -1):
        rows = np.full(len(x), t)
        step = schedule.step(beta, level, t=rows, ndim=x.ndim)
        p = network.reverse(parameters, x, step, t=rows) if t > 1 else kernel.forward(x, step.beta)
        x = kernel.draw(p, noise=noise[t - 1])
        yield t - 1, x


def sample(parameters: Tree, beta: Array, *, noise: Array, kernel: Module, network: Module, end: str = "x_0") -> Array:
    """x_0 of each path, or x_1 with `end="x_1"`, which leaves the last, fixed step out.   Shapes as in `reverse_path`."""
    if end not in ("x_0", "x_1"):
        raise ValueError(f"end: expected 'x_0' or 'x_1', got {end!r}")
    path = reverse_path(parameters, beta, noise=noise, kernel=kernel, network=network)
    return next(x for t, x in path if t == int(end[-1]))


@eq("3", "App.1 G forward law", "App.1 B forward law")
def forward_path(beta: Array, x_0: Array, *, noise: Array, kernel: Module) -> Iterator[tuple[int, Array]]:
    """Yields (t, x_t) for t = 0, 1, …, T of the forward process, step by step.   Shapes: noise (T, N, …); noise[t−1] draws x_t."""
    x = x_0
    yield 0, x
    for t in range(1, len(schedule.checked(beta))):
        x = kernel.draw(kernel.forward(x, beta[np.full((1,) * x.ndim, t)]), noise=noise[t - 1])
        yield t, x


open_doors(globals())
