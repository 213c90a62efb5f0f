"""One training step of the Swiss-roll network: this package against PyTorch (eager) and JAX (jit) on the same numbers.

The step: draw x_t with frozen noise, network, read-out, KL, gradient with respect to all parameters *and* the schedule, for
64 examples × 39 steps, 128 units.  Value and gradient are compared before anything is timed; rounds are interleaved; the
numbers are ratios of medians.  A peer that is not installed is skipped and said to be.

    python validation/benchmarks/step.py [--rounds N] [--batch N]
"""

from collections.abc import Callable
from typing import Any
import argparse
import time

import numpy as np

from refdpm import bound, gaussian, train
from refdpm.experiments import swiss_roll as experiment
from refdpm.data import swiss_roll
from refdpm.vjp import leaves

T = 40


def problem(batch: int, units: int) -> tuple[Any, dict[str, Any]]:
    """A model off its starting point, a batch, and frozen noise."""
    rng = np.random.default_rng(0)
    settings = experiment.DEFAULT._replace(units=units)
    model = experiment.begin(settings).model
    weight = 0.3 * rng.standard_normal(model.parameters.weight.shape)
    model = model._replace(parameters=model.parameters._replace(weight=weight))
    x_0 = swiss_roll.draw(rng, batch)
    return model, {"x_0": x_0, "noise": rng.standard_normal((T - 1, batch, 2))}


def ours(model: Any, data: dict[str, Any]) -> Callable[[], tuple[float, list[np.ndarray]]]:
    train._keep_freed_memory()
    t = bound.every_step(T, len(data["x_0"]))
    network = experiment.problem(experiment.DEFAULT).network

    def step() -> tuple[float, list[np.ndarray]]:
        k, gradient = train.mean_bound(model, **data, t=t, beta_1=1e-3, kernel=gaussian, network=network)
        return k, list(leaves(gradient))

    return step


def formula(xp: Any, stack: Any, softmax: Any, sigmoid: Any, cumsum: Any, arrays: list[Any], x_0: Any, noise: Any) -> Any:
    """K in the words that PyTorch and JAX share, rows sorted by t."""
    centre, log_width, weight, bias, logit_beta = arrays
    beta = stack([xp.ones_like(logit_beta[:1]) * 1e-3, sigmoid(logit_beta)])
    level = cumsum(xp.log1p(-beta))
    b, prev, now = beta[1:, None, None], level[:-1, None, None], level[1:, None, None]
    x = xp.exp(now / 2) * x_0 + xp.sqrt(-xp.expm1(now)) * noise
    a, v = xp.exp(prev), -xp.expm1(prev)
    w = v + a * b
    q_mean, q_var = xp.sqrt(a) * b / w * x_0 + xp.sqrt(1 - b) * v / w * x, b * v / w
    square = (x[:, :, :1] - centre[:, 0]) ** 2 + (x[:, :, 1:] - centre[:, 1]) ** 2      # (39, batch, units), no axis of length 2
    g = softmax(-square * xp.exp(-2 * log_width) / 2)
    z = g @ weight[2:] + bias[2:, None]
    mean = xp.sqrt(1 - b) * x + xp.sqrt(a) * b / w * z[..., :2]
    var = b / w * (v + a * b * xp.exp(z[..., 2:]))
    kl = (q_var / var - 1 - xp.log(q_var / var) + (q_mean - mean) ** 2 / var) / 2
    return -kl.sum() / x_0.shape[0] + xp.log(-xp.expm1(level[-1])) - np.log(1e-3) - np.log(2 * np.pi * np.e)


def in_torch(model: Any, data: dict[str, Any]) -> Callable[[], tuple[float, list[np.ndarray]]]:
    import torch
    arrays = [torch.tensor(x, requires_grad=True) for x in leaves(model)]
    x_0, noise = torch.tensor(data["x_0"]), torch.tensor(data["noise"])

    def step() -> tuple[float, list[np.ndarray]]:
        k = formula(torch, torch.cat, lambda s: torch.softmax(s, -1), torch.sigmoid, lambda x: torch.cumsum(x, 0), arrays, x_0,
                    noise)
        return k.item(), [g.numpy() for g in torch.autograd.grad(k, arrays)]

    return step


def in_jax(model: Any, data: dict[str, Any]) -> Callable[[], tuple[float, list[np.ndarray]]]:
    import jax
    jax.config.update("jax_enable_x64", True)
    x_0, noise = jax.numpy.asarray(data["x_0"]), jax.numpy.asarray(data["noise"])
    arrays = [jax.numpy.asarray(x) for x in leaves(model)]
    compiled = jax.jit(jax.value_and_grad(lambda parts: formula(jax.numpy, jax.numpy.concatenate, jax.nn.softmax, jax.nn.sigmoid,
                                                                jax.numpy.cumsum, parts, x_0, noise)))

    def step() -> tuple[float, list[np.ndarray]]:
        k, gradient = compiled(arrays)
        return float(k), [np.asarray(g) for g in gradient]

    return step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--units", type=int, default=128)
    options = parser.parse_args()
    model, data = problem(options.batch, options.units)
    steps = {"refdpm": ours(model, data)}
    for name, make in (("torch eager", in_torch), ("jax jit", in_jax)):
        try:
            steps[name] = make(model, data)
        except ImportError as missing:
            print(f"{name}: skipped, {missing}")
    reference, times = steps["refdpm"](), {name: [] for name in steps}
    for name, step in steps.items():
        k, gradient = step()
        worst = max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(gradient, reference[1], strict=True))
        print(f"{name}: K agrees to {abs(k / reference[0] - 1):.0e}, gradient to {worst:.0e} of its largest entry")
        assert abs(k / reference[0] - 1) < 1e-12 and worst < 1e-10, "not the same step; nothing was timed"
    for _ in range(options.rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    for name in steps:
        ratio = np.median(times[name]) / np.median(times["refdpm"])
        print(f"{name}: {ratio:.2f} × refdpm   (median of {options.rounds} interleaved rounds)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
