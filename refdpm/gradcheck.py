"""Is `f_vjp` the adjoint of `f`?  Answered to rounding error.

An analytic f has Im f(x + ihv)/h = J v + O(h²), and nothing is subtracted: with h = 1e-20 the directional derivative is
exact to rounding.  If pullback(w) = Jᵀw, then ⟨w, J v⟩ = ⟨Jᵀw, v⟩ for every v and w.  The *adjoint gap* is the difference of
the two sides, relative to the size of what was multiplied.

v and w are random, never all ones, which many a transposed, permuted or averaged gradient would pass.

A gap of 1e-16 proves that f and f_vjp agree.  It cannot prove that f is right; that is what `oracles` are for.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple
import importlib
import inspect

import numpy as np

from refdpm.vjp import Tree, leaves, tree_map

STEP = 1e-20
GAP = 1e-13            # adjoint gap by the complex step
FLOOR = 1e-2           # derivatives below FLOOR·‖w‖‖v‖ are judged absolutely, in units of it: see `relative_gap`
GUARD = 1e-7           # adjoint gap by differences
LOOSE = 1e-11          # linearity and symmetry of the second derivative, which no right pair misses by more than rounding


class Pair(NamedTuple):
    """A function with its adjoint, by the name `module.function`."""

    name: str
    f: Callable[..., Any]
    f_vjp: Callable[..., Any]


def pairs(modules: tuple[str, ...]) -> Iterator[Pair]:
    """Every public `f`/`f_vjp` pair of the given modules of refdpm, in the order in which they stand there."""
    for module_name in modules:
        module = importlib.import_module(f"refdpm.{module_name}")
        for name, member in vars(module).items():
            if name.endswith("_vjp") and inspect.isfunction(member) and member.__module__ == module.__name__ and name[0] != "_":
                yield Pair(f"{module_name}.{name.removesuffix('_vjp')}", getattr(module, name.removesuffix("_vjp")), member)


def random_like(tree: Tree, rng: np.random.Generator) -> Tree:
    """A tree of standard normal numbers with the structure and shapes of `tree`."""
    return tree_map(lambda leaf: rng.standard_normal(np.shape(leaf)), tree)


def relative_direction(tree: Tree, rng: np.random.Generator) -> Tree:
    """A random direction in proportion to the values, so that a small finite step along it leaves no variable's domain."""
    return tree_map(lambda x: rng.standard_normal(np.shape(x)) * np.where(x == 0, 0.0, np.maximum(np.abs(x), 2e-3)), tree)


def inner(a: Tree, b: Tree) -> float:
    """⟨a, b⟩ = Σ a_i b_i over all leaves; no conjugate."""
    return sum(((x * y).sum() for x, y in zip(leaves(a), leaves(b), strict=True)), start=0.0)


def norm(a: Tree) -> float:
    """√⟨a, a⟩ of a real tree."""
    return float(np.sqrt(inner(a, a)))


def directional(f: Callable[[Tree], Tree], x: Tree, v: Tree) -> Tree:
    """J v at x by the complex step."""
    shifted = tree_map(lambda a, d: a + 1j * STEP * d, x, v)
    return tree_map(lambda y: np.imag(y) / STEP, f(shifted))


def directional_by_differences(f: Callable[[Tree], Tree], x: Tree, v: Tree, *, h: float) -> Tree:
    """J v at x by Richardson's extrapolation of central differences, error O(h⁶): a guard that uses no complex number."""
    def central(step: float) -> Tree:
        above, below = (f(tree_map(lambda a, d: a + s * step * d, x, v)) for s in (1, -1))
        return tree_map(lambda p, m: (p - m) / (2 * step), above, below)

    def extrapolated(power: int, fine: Tree, coarse: Tree) -> Tree:
        return tree_map(lambda a, b: (4 ** power * a - b) / (4 ** power - 1), fine, coarse)

    at_h, at_half, at_quarter = central(h), central(h / 2), central(h / 4)
    return extrapolated(2, extrapolated(1, at_quarter, at_half), extrapolated(1, at_half, at_h))


def relative_gap(w: Tree, jv: Tree, jtw: Tree, v: Tree) -> float:
    """|⟨w, J v⟩ − ⟨Jᵀw, v⟩| / (‖w‖‖J v‖ + ‖Jᵀw‖‖v‖); ∞ where a derivative is not finite.

    Where J vanishes, only the rounding errors of terms that cancel are left to compare; so the denominator is not taken below
    FLOOR·‖w‖‖v‖, and an error in J smaller than GAP·FLOOR = 1e-15 is not seen.
    """
    scale = max(norm(w) * norm(jv) + norm(jtw) * norm(v), norm(w) * norm(v) * FLOOR)
    if not np.isfinite(scale):
        return float("inf")
    return float(abs(inner(w, jv) - inner(jtw, v)) / scale) if scale > 0 else 0.0


def argument_names(f: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the differentiated, that is positional, arguments."""
    return tuple(p.name for p in inspect.signature(f).parameters.values() if p.kind is not p.KEYWORD_ONLY)


def gaps(pair: Pair, arguments: tuple[Tree, ...], fixed: dict[str, Any], rng: np.random.Generator, *,
         h: float | None = None) -> dict[str, float]:
    """The adjoint gap of each differentiated argument, the others held still.   → {argument name: gap}.

    J v is taken by the complex step; with `h` by differences of that step, a guard against a continuation that is not analytic.
    """
    differentiate = directional if h is None else partial(directional_by_differences, h=h)
    draw = random_like if h is None else relative_direction
    value, pullback = pair.f_vjp(*arguments, **fixed)
    w = random_like(value, rng)
    cotangents = _as_tuple(pullback(w), len(arguments))
    result = {}
    for i, name in enumerate(argument_names(pair.f)):
        def f_of_one(x: Tree, i: int = i) -> Tree:
            return pair.f(*arguments[:i], x, *arguments[i + 1:], **fixed)

        if not _same_structure(cotangents[i], arguments[i]):
            result[name] = float("inf")
            continue
        v = draw(arguments[i], rng)
        result[name] = relative_gap(w, differentiate(f_of_one, arguments[i], v), cotangents[i], v)
    return result


def breaches(pair: Pair, arguments: tuple[Tree, ...], fixed: dict[str, Any], rng: np.random.Generator) -> list[str]:
    """What is wrong with a pair on one case, the adjoint gap apart: contract, guard, symmetry.

    Differences of one step may be spoilt by curvature or by rounding; only where two steps disagree is the pair accused.
    """
    found = contract_breaches(pair, arguments, fixed, rng)
    fine, coarse = (gaps(pair, arguments, fixed, rng, h=h) for h in (2e-4, 2e-3))
    found += [f"{name}: differences disagree" for name in fine if not min(fine[name], coarse[name]) <= GUARD]
    if not asymmetry(pair, arguments, fixed, rng) <= LOOSE:
        found.append("the second derivative is not symmetric")
    return found


def contract_breaches(pair: Pair, arguments: tuple[Tree, ...], fixed: dict[str, Any], rng: np.random.Generator) -> list[str]:
    """What the contract of `vjp` forbids and `pair` does; empty if it keeps it."""
    before = [leaf.copy() for leaf in leaves(arguments)]
    value, pullback = pair.f_vjp(*arguments, **fixed)
    w, u = random_like(value, rng), random_like(value, rng)
    w_before = [leaf.copy() for leaf in leaves(w)]
    of_w, again, of_u = pullback(w), pullback(w), pullback(u)
    of_both = pullback(tree_map(lambda a, b: 2 * a - 3 * b, w, u))
    nonlinear = _distance(of_both, tree_map(lambda a, b: 2 * a - 3 * b, of_w, of_u))
    in_complex, _ = pair.f_vjp(*(tree_map(lambda leaf: leaf + 0j, argument) for argument in arguments), **fixed)
    rules = {
        "f and f_vjp have different signatures": _signature(pair.f) != _signature(pair.f_vjp),
        "the value of f_vjp is not bitwise that of f": not _identical(value, pair.f(*arguments, **fixed)),
        "the pullback called twice gives two answers": not _identical(of_w, again),
        "the pullback is not linear": nonlinear > LOOSE * max(norm(of_w) + norm(of_u), norm(w) * FLOOR),
        "an argument was changed": not all(map(np.array_equal, before, leaves(arguments))),
        "the cotangent was changed": not all(map(np.array_equal, w_before, leaves(w))),
        "complex input does not give complex output": not any(np.iscomplexobj(y) for y in leaves(in_complex)),
        "complex input changes the real part":
            _distance(tree_map(np.real, in_complex), value) > LOOSE * max(norm(value), norm(of_w)),
    }
    return [breach for breach, broken in rules.items() if broken]


def asymmetry(pair: Pair, arguments: tuple[Tree, ...], fixed: dict[str, Any], rng: np.random.Generator) -> float:
    """The relative gap of ⟨u, H v⟩ and ⟨v, H u⟩, where H is the second derivative of ⟨w, f⟩ for a random w.

    H v is the complex step of the pullback, so this needs the pullback itself to be analytic.
    """
    w = random_like(pair.f(*arguments, **fixed), rng)
    u, v = random_like(arguments, rng), random_like(arguments, rng)

    def gradient(x: tuple[Tree, ...]) -> tuple[Tree, ...]:
        return _as_tuple(pair.f_vjp(*x, **fixed)[1](w), len(x))

    return relative_gap(u, directional(gradient, arguments, v), directional(gradient, arguments, u), v)


def _as_tuple(cotangents: Any, count: int) -> tuple[Tree, ...]:
    return (cotangents,) if count == 1 else tuple(cotangents)


def _signature(f: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]


def _same_structure(a: Tree, b: Tree) -> bool:
    if isinstance(b, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same_structure, a, b))
    return not isinstance(a, tuple) and np.shape(a) == np.shape(b)


def _identical(a: Tree, b: Tree) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(leaves(a), leaves(b), strict=True))


def _distance(a: Tree, b: Tree) -> float:
    return norm(tree_map(np.subtract, a, b))
