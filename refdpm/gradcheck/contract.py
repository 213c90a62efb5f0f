"""The pairs of this package: their adjoint gaps, and what the contract of `vjp` demands of them.

Every case is asked with random v and w.  The complex step decides; differences stand guard against an f that is not analytic.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import lru_cache
from typing import Any, NamedTuple
import importlib
import inspect

import numpy as np

from refdpm.gradcheck.derivative import (FLOOR, GAP, SAFETY, UNIT, differences, directional, norm, random_like, relative_gap,
                                         scale_of, vector)
from refdpm.vjp import Tree, leaves, tree_map

GUARD = 1e-10          # adjoint gap by differences, their own error apart
BLUR = 1e-5            # and the most that may be put down to their own error
NEIGHBOURS = 8         # that are asked where a gap may be rounding
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


def relative_direction(tree: Tree, rng: np.random.Generator) -> Tree:
    """A random direction in proportion to the values, so that a small finite step along it leaves no variable's domain."""
    return tree_map(lambda x: rng.standard_normal(np.shape(x)) * np.where(x == 0, 0.0, np.maximum(np.abs(x), 2e-3)), tree)


@lru_cache(maxsize=1000)
def argument_names(f: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the differentiated, that is positional, arguments."""
    return tuple(p.name for p in inspect.signature(f).parameters.values() if p.kind is not p.KEYWORD_ONLY)


def gaps(pair: Pair, arguments: tuple[Tree, ...], fixed: dict[str, Any], rng: np.random.Generator, *,
         by_differences: bool = False) -> dict[str, float]:
    """The adjoint gap of each differentiated argument, the others held still.   → {argument name: gap}.

    J v is taken by the complex step; with `by_differences` without complex numbers, a guard against a continuation that is not
    analytic: the gap is then what the error of the differences does not explain.

    Edge: where a derivative is what is left of terms that are a thousand times as large, as that of a divergence by a small β is,
    the complex step rounds by more than GAP.  Rounding is another one where the last digits of the arguments are others, and a
    mistake is the same: a gap that is not much too large is the smallest of those at some neighbours, for the same v and w.
    """
    before = rng.bit_generator.state
    found = _gaps_here(pair, arguments, fixed, rng, by_differences)
    for _ in range(NEIGHBOURS if not by_differences and any(map(_may_be_rounding, found.values())) else 0):
        near, same = _neighbour(arguments, rng), deepcopy(rng)
        same.bit_generator.state = before
        again = _gaps_here(pair, near, fixed, same, by_differences)
        found = {name: min(gap, again[name]) if _may_be_rounding(gap) else gap for name, gap in found.items()}
    return found


def _may_be_rounding(gap: float) -> bool:
    return GAP < gap <= 10 * GAP


def _neighbour(arguments: tuple[Tree, ...], rng: np.random.Generator) -> tuple[Tree, ...]:
    """The arguments with other last digits, and nothing larger than it was: what is at most 1 stays so."""
    near: tuple[Tree, ...] = tree_map(lambda x: x * (1 - 2 * UNIT * rng.integers(0, 9, np.shape(x))), arguments)
    return near


def _gaps_here(pair: Pair, arguments: tuple[Tree, ...], fixed: dict[str, Any], rng: np.random.Generator, by_differences: bool
               ) -> dict[str, float]:
    gap_of, draw = (_guarded_gap, relative_direction) if by_differences else (_gap, random_like)
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
        result[name] = gap_of(f_of_one, arguments[i], draw(arguments[i], rng), w, cotangents[i])
    return result


def _gap(f: Callable[[Tree], Tree], x: Tree, v: Tree, w: Tree, jtw: Tree) -> float:
    return relative_gap(w, directional(f, x, v), jtw, v)


def _guarded_gap(f: Callable[[Tree], Tree], x: Tree, v: Tree, w: Tree, jtw: Tree) -> float:
    jv, error = differences(f, x, v)
    w = vector(w)
    if not np.isfinite(error):
        return float("inf")
    scale = scale_of(w, jv, jtw, v)
    own = min(SAFETY * error * norm(w) / scale, BLUR) if scale > 0 else 0.0
    return max(relative_gap(w, jv, jtw, v) - own, 0.0)


def breaches(pair: Pair, arguments: tuple[Tree, ...], fixed: dict[str, Any], rng: np.random.Generator, *, guard: bool = True
             ) -> list[str]:
    """What is wrong with a pair on one case, the adjoint gap apart: contract, symmetry, and with `guard` what differences say."""
    found = contract_breaches(pair, arguments, fixed, rng)
    guarded = gaps(pair, arguments, fixed, rng, by_differences=True) if guard else {}
    found += [f"{name}: differences disagree" for name, gap in guarded.items() if not gap <= GUARD]
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


@lru_cache(maxsize=1000)
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
