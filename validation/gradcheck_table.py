"""Claim: `assert_adjoint` passes the right gradients of functions as people write them, and finds every planted relative error of
1e-4 and of 1e-8, in a whole gradient and in one entry of it.

What `torch.autograd.gradcheck` and `scipy.optimize.check_grad` find of the same errors is reported beside it, by their usual
tolerances and by the smallest power of ten that passes all the right gradients.

The functions are those of `tests/written_by_others.py` that compute in double precision; they compute in NumPy for every tool.  An
error is planted in one array of the gradient at a time, everywhere or in the largest entry.  check_grad returns a distance, of
⟨w, f⟩ for a random w, which its users compare with a number of their own; 1e-6 is usual.

    python validation/gradcheck_table.py          where torch is absent, its columns are left out
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
import runpy
import time

from claim import claim_of, conclude, row
import numpy as np
from scipy.optimize import check_grad

from refdpm.gradcheck import adjoint_gaps, forms
from refdpm.gradcheck.question import Question
from refdpm.vjp import Array

try:
    import torch
except ImportError:
    torch = None

SIZES = (1e-4, 1e-8, 1e-12)
ROUNDS = 5
TIGHTER = [10.0 ** -k for k in range(3, 16)]


class Flat(NamedTuple):
    """A function of arrays alone; `backward(spoil, cotangents, *leaves)` → its gradients, each spoilt by spoil(k, gradient)."""

    name: str
    method: str
    leaves: tuple[Array, ...]
    f: Callable[..., tuple[Array, ...]]
    backward: Callable[..., tuple[Array, ...]]


def flat(name: str, written: Any) -> Flat:
    """One of the functions, in the form in which `adjoint_gaps` found it, with only the arrays that have a gradient."""
    gaps = adjoint_gaps(written.f, written.gradient, *written.arguments)
    form = next(form for form in forms.fitting(written.f, written.gradient, written.arguments) if form.says == gaps[0].form)
    question = Question(written.f, written.gradient, form, written.arguments, 0)
    judged = [question.names.index(gap.argument) for gap in gaps]

    def complete(leaves: tuple[Array, ...]) -> list[Any]:
        found = list(question.leaves)
        for i, leaf in zip(judged, leaves):
            found[i] = leaf[()]
        return found

    def f(*leaves: Array) -> tuple[Array, ...]:
        return tuple(np.asarray(leaf) for leaf in question.value(complete(leaves)))

    def backward(spoil: Any, cotangents: tuple[Array, ...], *leaves: Array) -> tuple[Array, ...]:
        drawn = iter(cotangents)
        arguments = question.rebuilt_arguments(complete(leaves))
        _, _, came = forms.ask(form, written.f, written.gradient, arguments, lambda value: forms.rebuilt(value, drawn))
        each = forms.per_argument(came, written.arguments, question.tops)
        gradients = [leaf for part, argument in zip(each, written.arguments) for leaf in forms.aligned(part, argument)]
        factor = 1.0 if form.has_cotangent else cotangents[0]
        return tuple(spoil(k, np.asarray(gradients[i] * factor)) for k, i in enumerate(judged))

    leaves = tuple(np.asarray(question.leaves[i], dtype=float) for i in judged)
    return Flat(name, "differences" if any(gap.method == "differences" for gap in gaps) else "complex step", leaves, f, backward)


def right(k: int, gradient: Array) -> Array:
    """Nothing is planted."""
    return gradient


def spoils(function: Flat, size: float, *, everywhere: bool) -> Iterator[Callable[[int, Array], Array]]:
    """A relative error of that size in each of the gradients in its turn."""
    def planted(at: int) -> Callable[[int, Array], Array]:
        def spoil(k: int, gradient: Array) -> Array:
            if k != at:
                return gradient
            where = np.abs(gradient) == np.max(np.abs(gradient))
            return gradient * (1 + size * (everywhere | where))
        return spoil

    return (planted(at) for at in range(len(function.leaves)))


# -- the tools: whether each passes a gradient ------------------------------------------------------------------------------

def by_us(function: Flat, spoil: Any) -> bool:
    return all(gap.ok for gap in adjoint_gaps(function.f, lambda cotangents, *leaves: function.backward(spoil, cotangents, *leaves),
                                              *function.leaves))


def by_scipy(function: Flat, spoil: Any) -> float:
    """The distance that check_grad returns."""
    w = tuple(np.random.default_rng(0).standard_normal(leaf.shape) for leaf in function.f(*function.leaves))
    shapes = [leaf.shape for leaf in function.leaves]
    ends = np.cumsum([leaf.size for leaf in function.leaves])[:-1]

    def leaves_of(z: Array) -> list[Array]:
        return [part.reshape(shape) for part, shape in zip(np.split(z, ends), shapes)]

    return float(check_grad(lambda z: sum(float(np.sum(d * leaf)) for d, leaf in zip(w, function.f(*leaves_of(z)))),
                            lambda z: np.concatenate([g.ravel() for g in function.backward(spoil, w, *leaves_of(z))]),
                            np.concatenate([leaf.ravel() for leaf in function.leaves])))


def by_torch(function: Flat, spoil: Any, **tolerance: float) -> bool:
    class InTorch(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *tensors: Any) -> Any:
            context.save_for_backward(*tensors)
            return tuple(torch.from_numpy(np.array(leaf)) for leaf in function.f(*(tensor.detach().numpy() for tensor in tensors)))

        @staticmethod
        def backward(context: Any, *cotangents: Any) -> Any:
            arrays = tuple(cotangent.numpy() for cotangent in cotangents)
            gradients = function.backward(spoil, arrays, *(tensor.detach().numpy() for tensor in context.saved_tensors))
            return tuple(torch.from_numpy(np.array(gradient)) for gradient in gradients)

    tensors = [torch.from_numpy(leaf.copy()).requires_grad_() for leaf in function.leaves]
    return bool(torch.autograd.gradcheck(InTorch.apply, tensors, raise_exception=False, **tolerance))


def tools(functions: list[Flat]) -> dict[str, Callable[[Flat, Any], bool]]:
    """Every tool by its name, with the tolerance at which it is asked."""
    smallest = next(limit for limit in reversed(TIGHTER) if all(by_scipy(function, right) <= limit for function in functions))
    found: dict[str, Callable[[Flat, Any], bool]] = {"assert_adjoint": by_us}
    found["check_grad <= 1e-6"] = lambda function, spoil: by_scipy(function, spoil) <= 1e-6
    found[f"check_grad <= {smallest:.0e}"] = lambda function, spoil: by_scipy(function, spoil) <= smallest
    if torch is not None:
        tight = next(limit for limit in reversed(TIGHTER)
                     if all(by_torch(function, right, atol=limit, rtol=limit) for function in functions))
        found["torch gradcheck"] = by_torch
        found[f"torch gradcheck, atol = rtol = {tight:.0e}"] = partial(by_torch, atol=tight, rtol=tight)
    return found


# -- the table ---------------------------------------------------------------------------------------------------------------

def table(functions: list[Flat], asked: dict[str, Callable[[Flat, Any], bool]]) -> dict[str, dict[str, str]]:
    """Tool → what was planted → how many of how many were found."""
    found: dict[str, dict[str, str]] = {tool: {} for tool in asked}
    for tool, passes in asked.items():
        found[tool]["false alarms"] = f"{sum(not passes(function, right) for function in functions)} of {len(functions)}"
        for size in SIZES:
            for where, everywhere in (("everywhere", True), ("one entry", False)):
                seen = [not passes(function, spoil) for function in functions
                        for spoil in spoils(function, size, everywhere=everywhere)]
                found[tool][f"{size:.0e} {where}"] = f"{sum(seen)} of {len(seen)}"
    return found


def time_ratio(functions: list[Flat]) -> float:
    """The time of `adjoint_gaps` for all functions, right, divided by that of torch's gradcheck: medians of interleaved rounds."""
    spent: dict[Any, list[float]] = {by_us: [], by_torch: []}
    for _ in range(ROUNDS):
        for tool, times in spent.items():
            start = time.perf_counter()
            for function in functions:
                tool(function, right)
            times.append(time.perf_counter() - start)
    return float(np.median(spent[by_us]) / np.median(spent[by_torch]))


def main() -> int:
    start = time.time()
    written = runpy.run_path(str(Path(__file__).parent.parent / "tests" / "written_by_others.py"))["WRITTEN"]
    functions = [flat(name, one) for name, one in written.items() if "float32" not in name]
    found = table(functions, tools(functions))
    own = found["assert_adjoint"]
    rows = [row(f"{tool}: {', '.join(f'{what} {count}' for what, count in counts.items())}", "reported", True)
            for tool, counts in found.items()]
    rows.append(row(f"assert_adjoint, false alarms: {own['false alarms']}", "none", own["false alarms"].startswith("0 ")))
    for what, count in own.items():
        if what.startswith(("1e-04", "1e-08")):
            rows.append(row(f"assert_adjoint, {what}: {count} found", "all", len(set(count.split(" of "))) == 1))
    if torch is None:
        print("torch is not installed: its columns and the ratio of times are left out")
    else:
        rows.append(row("time of adjoint_gaps / time of torch gradcheck, one run: {ratio:.2f}", "reported", True,
                        ratio=time_ratio(functions)))
    return conclude("gradcheck_table", claim_of(__doc__), rows, seconds=time.time() - start,
                    settings={"functions": [f"{function.name}, {function.method}" for function in functions], "rounds": ROUNDS},
                    data={"table": found})


if __name__ == "__main__":
    raise SystemExit(main())
