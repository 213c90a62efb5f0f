"""Reading: slope.  The derivative of a formula as a formula: exact, so that digits judge a gradient and edits explain a wrong one.

Of formulas y_i and their cotangents w_i, `slopes` gives the derivative of Σ ⟨w_i, y_i⟩ by every leaf; derived backwards, part
by part, by the rules of a first course.  It is evidence, read off the printed formula by a machine, and has nothing in common with
the adjoints of the theory, which are derived by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Context, localcontext
from typing import Any

import numpy as np

from refdpm.textbook.expression import HALF, PI, E, Column, exp, given, log, nodes, where
from refdpm.textbook.page import Array, Page, exactly

LEAVES = ("given", "column", "gathered")


def slopes(roots: Sequence[E], cotangents: Sequence[E]) -> dict[E, E]:
    """The derivative of Σ ⟨cotangent, root⟩ by every leaf on which a root depends, in the shape of the leaf."""
    parts: dict[E, list[E]] = {}
    for root, cotangent in zip(roots, cotangents, strict=True):
        parts.setdefault(root, []).append(E("fold", (cotangent, root)))
    found = {}
    for one in reversed(nodes(*roots)):
        if one in parts:
            slope = _added(parts[one])
            if one.op in LEAVES and not (one.op == "column" and one.how.name == "t"):
                found[one] = slope
            for part, contribution in _contributions(one, slope):
                parts.setdefault(part, []).append(contribution)
    return found


def _added(parts: list[E]) -> E:
    whole, *more = parts
    for part in more:
        whole = whole + part
    return whole


def _contributions(one: E, g: E) -> Iterator[tuple[E, E]]:
    """What a node hands down to each of its parts, from its own slope g."""
    match one.op:
        case "+" | "-" | "*" | "/" | "where" | "neg" | "call":
            for part, slope in _element_wise(one, g):
                yield part, E("fold", (slope, part))
        case "sum" | "average":
            x, like = one.parts[0], one.parts[-1]
            whole = E("spread", (g, like), (True, one.how[1], one.how[0]))
            yield x, E("fold", (whole if one.op == "sum" else whole / E("count", one.parts, one.how), x))
        case "kept" | "mean":
            whole = E("spread", (g, one.parts[0]), (False, one.how[1], one.how[0]))
            yield one.parts[0], whole if one.op == "kept" else whole / E("count", one.parts, one.how)
        case "move":
            yield one.parts[0], E("back", (g, *one.parts), one.how)
        case "joined":
            for number, part in enumerate(one.parts):
                yield part, E("piece", (g, *one.parts), (one.how, number))
        case "running":
            yield one.parts[0], E("running back", (g,))
        case "term" | "forms" | "also":
            yield one.parts[0], g
        case "slack":
            yield one.parts[0], E("slack", (g,))
        case "walk" | "path":
            raise ValueError("formula: expected one without a walk or a path, whose slopes are not derived")


def _element_wise(one: E, g: E) -> Iterator[tuple[E, E]]:
    if one.op == "where":
        mask, a, b = one.parts
        yield from ((a, where(mask, g, 0 * g)), (b, where(mask, 0 * g, g)))
        return
    a, b = (*one.parts, one)[:2]
    match one.op:
        case "+":
            yield from ((a, g), (b, g))
        case "-":
            yield from ((a, g), (b, -g))
        case "*":
            yield from ((a, g * b), (b, g * a))
        case "/":
            yield from ((a, g / b), (b, -(g * one / b)))
        case "neg":
            yield a, -g
        case "call":
            yield a, _CALLS[one.how](g, a, one)


_CALLS: dict[str, Callable[[E, E, E], E]] = {
    "sqrt": lambda g, x, y: g / (2 * y), "log": lambda g, x, y: g / x, "exp": lambda g, x, y: g * y,
    "tanh": lambda g, x, y: g * (1 - y * y), "log1p": lambda g, x, y: g / (1 + x),
    "log Φ": lambda g, x, y: g * exp(-HALF * (x * x + log(2 * PI)) - y),
    "Phi": lambda g, x, y: g * E("call", (x,), "phi"), "phi": lambda g, x, y: -(g * x * y),
    "cos": lambda g, x, y: -(g * E("call", (x,), "sin")),
    "sin": lambda g, x, y: g * E("call", (x,), "cos")}


# -- the gradient, leaf by leaf added up -----------------------------------------------------------------------------------

def named_cotangents(count: int) -> list[E]:
    """The cotangents of so many outputs, as arguments of a page: w0, w1, …"""
    return [given(f"w{i}") for i in range(count)]


def argument_of(leaf: E) -> str:
    """The name of the argument that a leaf is made of."""
    return str(leaf.how if leaf.op == "given" else "beta" if leaf.op == "column" else leaf.how.name)


def gradient(leaves: Sequence[E], values: Sequence[Array], page: Page, *, sizes: bool = False) -> dict[str, Array]:
    """The slopes of leaves, once evaluated, added up by argument; those of the columns as the slope by β_0 … β_T, named beta.

    ᾱ_t = ∏ (1 − β_s) hands −ᾱ_t/(1 − β_s) down to every β_s with s ≤ t; β_0 is a constant of the columns.  What several levels
    bring may cancel, and is added in 100 digits.  Of `sizes` no sign is changed.
    """
    with localcontext(Context(prec=100, traps=[])):
        return _gradient(leaves, values, page, 1 if sizes else -1)


def _gradient(leaves: Sequence[E], values: Sequence[Array], page: Page, sign: int) -> dict[str, Array]:
    found: dict[str, Array] = {}
    arguments: dict[str, Array] = {}
    levels: dict[int, Any] = {}
    for leaf, value in zip(leaves, values, strict=True):
        name = argument_of(leaf)
        if leaf.op == "given":
            arguments[name] = arguments[name] + value if name in arguments else value
            continue
        assert page.beta is not None
        table = page.beta if leaf.op == "column" else page.given[name]
        whole = found.setdefault(name, _zeros(np.shape(table), value))
        rows = page.rows(leaf.how)
        if leaf.op == "gathered":
            np.add.at(whole, np.clip(rows, 0, len(whole) - 1), value.reshape(rows.shape + whole.shape[1:]))
        elif leaf.how.name == "alpha_bar":
            for t, part in zip(rows.ravel().tolist(), value.ravel()):
                levels[t] = levels.get(t, 0) + part
        else:
            np.add.at(whole, rows.ravel(), value.ravel() * (1 if leaf.how.name == "beta" else sign))
    if "beta" in found and page.beta is not None and len(found["beta"]) == len(page.beta):
        found["beta"] = found["beta"] + sign * _through_levels(levels, page, found["beta"])
        found["beta"][0] = found["beta"][0] * 0
    return found | {name: found[name] + value if name in found else value for name, value in arguments.items()}


def _zeros(shape: tuple[int, ...], like: Array) -> Array:
    zero = np.zeros(shape)
    return np.asarray(exactly(zero), dtype=object) if like.dtype == object else zero


def _through_levels(levels: Mapping[int, Any], page: Page, like: Array) -> Array:
    T, moved = len(like) - 1, _zeros(like.shape, like)
    if levels:
        every = Page({}, beta=page.beta, t=np.arange(T + 1), ndim=1)
        exact, rate = (every.column(Column(name)) for name in ("alpha_bar", "alpha"))
        if like.dtype != object:
            exact, rate = exact.astype(float), rate.astype(float)
        running = 0 * like[0]
        for s in range(T, 0, -1):
            running = running + levels.get(s, 0 * running) * exact[s]
            moved[s] = running / rate[s] if rate[s] else running * type(running)("NaN")              # infinite at β_T = 1
    return moved
