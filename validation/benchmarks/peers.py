"""The same formula in PyTorch, JAX and HIPS autograd: written once, in the words that they share, and made a step of each."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refdpm.vjp import Array, Tree, leaves, tree_map

Step = Callable[[], list[Array]]                            # what is compared and timed: K and its gradient, or samples
Makers = dict[str, Callable[[], Step]]


class Words(NamedTuple):
    """What formulas need of a library `xp`, where its name or its form differs from library to library."""

    xp: Any
    sigmoid: Callable[[Any], Any]
    softplus: Callable[[Any], Any]
    softmax: Callable[[Any], Any]
    cumsum: Callable[[Any], Any]
    scan: Callable[[Callable[[Any, Tree], Any], Any, Tree], Any]   # x ← body(x, row) for each row of a tree of arrays


Formula = Callable[[Words, Tree, Tree], Any]                # of the parameters, and of what is given


def makers(formula: Formula, parameters: Tree, given: Tree, *, kind: str = "step", kernels: Callable[[Any], Any] = lambda w: w
           ) -> Makers:
    """The formula in every library; with `gradient` its value and the gradient with respect to the parameters.

    `kernels` lays out the kernels of convolutions, (out, in, kh, kw) in PyTorch.
    """
    found: Makers = {
        "PyTorch eager": partial(_torch, formula, parameters, given, kind, kernels, False),
        "torch.compile": partial(_torch, formula, parameters, given, kind, kernels, True),
        "JAX jit": partial(_jax, formula, parameters, given, kind)}
    return found | ({"HIPS autograd": partial(_autograd, formula, parameters, given)} if kind == "step" else {})


def torch_words(scan_body: Callable[[Any], Any] = lambda body: body) -> Words:
    """Those of PyTorch, where a scan is a loop."""
    import torch
    import torch.nn.functional as F

    def scan(body: Callable[[Any, Tree], Any], x: Any, rows: Tree) -> Any:
        body = scan_body(body)
        for i in range(len(next(leaves(rows)))):
            x = body(x, tree_map(lambda column: column[i], rows))
        return x

    return Words(torch, torch.sigmoid, lambda x: F.softplus(x, threshold=40), lambda s: torch.softmax(s, -1),
                 lambda x: torch.cumsum(x, 0), scan)


def jax_words() -> Words:
    """Those of JAX, in double precision where arrays are."""
    import jax
    jax.config.update("jax_enable_x64", True)
    return Words(jax.numpy, jax.nn.sigmoid, jax.nn.softplus, jax.nn.softmax, jax.numpy.cumsum,
                 lambda body, x, rows: jax.lax.scan(lambda x, row: (body(x, row), None), x, rows)[0])


def _torch(formula: Formula, parameters: Tree, given: Tree, kind: str, kernels: Callable[[Any], Any], compiled: bool) -> Step:
    """Parameters with four axes, (kh, kw, in, out), become (out, in, kh, kw)."""
    import torch
    gradient = kind == "step"

    def tensor(x: Array) -> Any:
        found = torch.tensor(x)
        return (kernels(found.permute(3, 2, 0, 1)) if found.ndim == 4 else found).requires_grad_(gradient)

    words = torch_words(torch.compile if compiled else lambda body: body)
    tensors, data = tree_map(tensor, parameters), tree_map(torch.tensor, given)
    value = torch.compile(partial(formula, words)) if compiled else partial(formula, words)

    def step() -> list[Array]:
        with torch.set_grad_enabled(gradient):
            k = value(tensors, data)
        slopes = torch.autograd.grad(k, list(leaves(tensors))) if gradient else ()
        return [k.detach().numpy(), *((g.permute(2, 3, 1, 0) if g.ndim == 4 else g).numpy() for g in slopes)]

    return step


def _jax(formula: Formula, parameters: Tree, given: Tree, kind: str) -> Step:
    """What is given is an argument, because constants would be computed with while compiling."""
    import jax
    gradient, words = kind == "step", jax_words()
    arrays, data = jax.tree.map(jax.numpy.asarray, (parameters, given))
    value = partial(formula, words)
    compiled = jax.jit(jax.value_and_grad(value) if gradient else lambda *some: (value(*some), ()))

    def step() -> list[Array]:
        k, slopes = compiled(arrays, data)
        return [np.asarray(k), *map(np.asarray, leaves(slopes))]

    return step


def _autograd(formula: Formula, parameters: Tree, given: Tree) -> Step:
    import autograd
    import autograd.numpy as anp

    def sigmoid(x: Any) -> Any:
        return (anp.tanh(x / 2) + 1) / 2

    def softmax(s: Any) -> Any:
        g = anp.exp(s - anp.max(s, axis=-1, keepdims=True))
        return g / anp.sum(g, axis=-1, keepdims=True)

    words = Words(anp, sigmoid, lambda x: anp.logaddexp(x, 0.0), softmax, anp.cumsum, lambda body, x, rows: None)

    def value(flat: list[Any]) -> Any:
        several = iter(flat)
        return formula(words, tree_map(lambda _: next(several), parameters), given)

    compute = autograd.value_and_grad(value)

    def step() -> list[Array]:
        k, slopes = compute(list(leaves(parameters)))
        return [np.asarray(k), *slopes]

    return step
