"""What the workloads share: a step in PyTorch or JAX from a function of the parameters, agreement, and interleaved timing."""

from collections.abc import Callable
from typing import Any
import time

import numpy as np

from refdpm.vjp import Array, Tree, leaves

Step = Callable[[], tuple[float, list[Array]]]              # K, and its gradient leaf by leaf
Makers = dict[str, Callable[[], Step]]


def in_torch(value: Callable[[Tree, Tree], Any], parameters: Tree, given: Tree, *, kernels: Callable[[Any], Any] = lambda w: w
             ) -> Step:
    """`value` of tensors, the parameters and what is given; parameters with four axes, (kh, kw, in, out), become (out, in, kh, kw),
    laid out by `kernels`."""
    import torch
    from refdpm.vjp import tree_map

    def tensor(x: Array) -> Any:
        x = torch.tensor(x)
        return (kernels(x.permute(3, 2, 0, 1)) if x.ndim == 4 else x).requires_grad_()

    tensors, data = tree_map(tensor, parameters), tree_map(torch.tensor, given)

    def step() -> tuple[float, list[Array]]:
        k = value(tensors, data)
        gradient = torch.autograd.grad(k, list(leaves(tensors)))
        return k.item(), [(g.permute(2, 3, 1, 0) if g.ndim == 4 else g).numpy() for g in gradient]

    return step


def in_jax(value: Callable[[Tree, Tree], Any], parameters: Tree, given: Tree) -> Step:
    """`value` of arrays, compiled; what is given is an argument, because constants would be computed with while compiling."""
    import jax
    arrays, data = jax.tree.map(jax.numpy.asarray, (parameters, given))
    compiled = jax.jit(jax.value_and_grad(value))

    def step() -> tuple[float, list[Array]]:
        k, gradient = compiled(arrays, data)
        return float(k), [np.asarray(g) for g in leaves(gradient)]

    return step


def begin(steps: Makers) -> dict[str, Step]:
    """Every step, as far as its library is installed."""
    made = {}
    for name, make in steps.items():
        try:
            made[name] = make()
        except ImportError as missing:
            print(f"{name}: skipped, {missing}")
    return made


def check_agreement(steps: dict[str, Step]) -> None:
    """Value and gradient of every step are those of the first.   Raises: AssertionError."""
    reference = next(iter(steps.values()))()
    for name, step in steps.items():
        k, gradient = step()
        apart = abs(k / reference[0] - 1)
        worst = max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300) for a, b in zip(gradient, reference[1], strict=True))
        print(f"  {name}: K agrees to {apart:.0e}, every gradient to {worst:.0e} of its largest entry")
        assert apart < 1e-11 and worst < 1e-11, "not the same step; nothing was timed"


def interleaved(steps: dict[str, Step], seconds: float) -> dict[str, Array]:
    """Times of every step in rounds, one after another in each, until the seconds are over (three rounds at least)."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(steps))]) < 3:
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    return {name: np.array(some) for name, some in times.items()}
