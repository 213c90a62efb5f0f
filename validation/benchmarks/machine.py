"""What is measured beside the steps: the machine itself, imports, growth with size, and the adjoint test beside other tests."""

from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any
import subprocess
import sys
import time

import numpy as np

from validation.benchmarks import heartbeat, image, roll, timing
from validation.benchmarks.peers import jax_words, torch_words
from refdpm import bound, gaussian, gradcheck, schedule
from refdpm.vjp import leaves, tree_map

IMPORTS = ("numpy", "refdpm", "refdpm.train", "torch", "jax")
ROUNDS = 5
TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10)


def machine(seconds: float) -> dict[str, float]:
    """What a large product and a large copy reach, in 10⁹ operations and bytes a second; float64."""
    a, x = np.random.default_rng(0).standard_normal((1024, 1024)), np.ones(8_000_000)
    y, end = np.empty_like(x), time.perf_counter() + seconds
    products, copies = [], []
    while time.perf_counter() < end or len(products) < ROUNDS:
        products.append(_seconds(lambda: a @ a))
        copies.append(_seconds(lambda: np.copyto(y, x)))
    return {"gemm": round(2e-9 * 1024 ** 3 / float(np.median(products)), 1),
            "copy": round(2e-9 * x.nbytes / float(np.median(copies)), 1)}


def imports() -> dict[str, Any]:
    """Seconds that a process takes to import each, less those of an empty one: medians of interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in ("", *IMPORTS)}
    for _ in range(ROUNDS):
        for name, some in times.items():
            command = [sys.executable, "-c", f"import {name}" if name else ""]
            started = time.perf_counter()
            failed = subprocess.run(command, stderr=subprocess.DEVNULL).returncode
            some.append(np.nan if failed else time.perf_counter() - started)
    empty = float(np.median(times.pop("")))
    return {name: round(float(np.median(some)) - empty, 3) if np.isfinite(some).all() else "not installed"
            for name, some in times.items()}


def growth(seconds: float) -> dict[str, Any]:
    """The exponent of our time in each size, fitted to medians of interleaved rounds: of a step, and of the full bound in T."""
    families: dict[str, dict[int, Callable[[], timing.Step]]] = {
        "batch (heartbeat)": {rows: heartbeat.step(rows)["refdpm"] for rows in (2048, 4096, 8192, 16384)},
        "T (heartbeat, full bound)": {T: heartbeat.full_bound(4, T)["refdpm"] for T in (1000, 2000, 4000)},
        "pixels (28 × 28 network)": {side * side: image.step("28 × 28", 8, side)["refdpm"] for side in (28, 40, 56)},
        "units (roll)": {units: roll.step(units=units)["refdpm"] for units in (256, 512, 1024)},
    }
    found = {}
    for name, makers in families.items():
        steps = {str(size): make() for size, make in makers.items()} | {timing.OURS: lambda: []}
        medians = [float(np.median(some)) for size, some in timing.interleaved(steps, seconds).items() if size != timing.OURS]
        slope = np.polyfit(np.log(list(makers)), np.log(medians), 1)[0]
        found[name] = {"exponent": round(float(slope), 3), "ms": dict(zip(map(str, makers), (round(1e3 * m, 2) for m in medians)))}
    return found


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


# -- the adjoint test beside those of others -----------------------------------------------------------------------------

def adjoint_tests(seconds: float) -> dict[str, Any]:
    """K of four points of the roll with 4 units, one number each: the time of each test of its gradients with respect to
    parameters and schedule, and how tightly the right gradient passes it; by others with their gradients of the same function.

    Of ours that is the gap, of others the smallest of `TOLERANCES` that passes as both tolerances.
    """
    model, x_0, noise = roll._problem(4, 4, "float64")
    beta, t = schedule.learned(model.logit_beta, beta_1=roll.BETA_1), bound.every_step(roll.T, 4)
    fixed = {"noise": noise, "t": t, "kernel": gaussian, "network": roll.NETWORK["float64"]}
    pair = gradcheck.Pair("bound.bound", bound.bound, bound.bound_vjp)

    def ours() -> float:
        return max(gradcheck.gaps(pair, (model.parameters, beta, x_0), fixed, np.random.default_rng(0)).values())

    tests: dict[str, Callable[..., Any]] = {timing.OURS: ours}
    found: dict[str, Any] = {"absent": {}}
    for name, make in (("torch.autograd.gradcheck, slow", partial(_gradcheck, False)),
                       ("torch.autograd.gradcheck, fast", partial(_gradcheck, True)), ("jax.test_util.check_grads", _check_grads)):
        try:
            tests[name] = make(model, (x_0, noise))
        except ImportError as missing:
            found["absent"][name] = f"not installed ({missing})"
    for test in tests.values():                                # compiled, if it is
        test()
    times = {name: _seconds(test) for name, test in tests.items()}
    for name, test in tests.items():
        tight = test() if name == timing.OURS else list(takewhile(test, TOLERANCES))[-1]
        found[name] = {"seconds": round(times[name], 5), "tight": float(f"{tight:.1e}"),
                       "times ours": round(times[name] / times[timing.OURS], 1)}
    return found


def _gradcheck(fast: bool, model: Any, given: Any) -> Callable[..., bool]:
    import torch
    words, data = torch_words(), tree_map(torch.tensor, given)
    tensors = [torch.tensor(leaf).requires_grad_() for leaf in leaves(model)]

    def value(*flat: Any) -> Any:
        several = iter(flat)
        return roll.per_point(words, tree_map(lambda _: next(several), model), data)

    def test(tolerance: float = TOLERANCES[0]) -> bool:
        return bool(torch.autograd.gradcheck(value, tensors, fast_mode=fast, atol=tolerance, rtol=tolerance, raise_exception=False))

    return test


def _check_grads(model: Any, given: Any) -> Callable[..., bool]:
    import jax
    from jax.test_util import check_grads
    words = jax_words()
    arrays, data = jax.tree.map(jax.numpy.asarray, (model, given))
    value = jax.jit(lambda parameters: roll.per_point(words, parameters, data))

    def test(tolerance: float = TOLERANCES[0]) -> bool:
        try:
            check_grads(value, (arrays,), order=1, modes=("rev",), atol=tolerance, rtol=tolerance)
        except AssertionError:
            return False
        return True

    return test
