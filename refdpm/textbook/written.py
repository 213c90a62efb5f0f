"""Reading: written.  A formula as text."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from refdpm.textbook.expression import Column, E

LETTERS = {"beta": "β", "alpha": "α", "alpha_bar": "ᾱ"}
ARGUMENTS = {"beta": "β_t", "log_alpha_bar": "log ᾱ_t", "log_alpha_bar_prev": "log ᾱ_{t−1}"}
LEVELS = {"+": 1, "-": 1, "neg": 1, "*": 2, "/": 2}
SIGNS = {"+": " + ", "-": " − ", "*": " ", "/": "/"}
CALLS = {"Phi": "Φ", "phi": "φ", "log1p": "log"}


def index_of(where: Column) -> str:
    """The index of a column: t − 1, T, 1."""
    start, shift = "t" if where.at is None else str(where.at), where.shift
    if isinstance(where.at, tuple):
        return ",".join(map(str, where.at))
    if isinstance(where.at, int):
        return str(where.at + shift)
    return start if not shift else f"{start}{'+' if shift > 0 else '−'}{abs(shift)}"


def written(one: E) -> str:
    """A formula in a line of text."""
    return _text(one, 0)


def _text(one: E, level: int) -> str:
    match one.op:
        case "number":
            return _number(one.how)
        case "given":
            return ARGUMENTS.get(one.how, str(one.how))
        case "constant":
            return "given numbers"
        case "column" | "gathered":
            index = index_of(one.how)
            if one.how.name == "t":
                return index
            return f"{LETTERS.get(one.how.name, one.how.name)}_{index if len(index) == 1 else '{' + index + '}'}"
        case "term":
            return _bracketed(one.how, 1 < level and " " in one.how) if one.how else _text(one.parts[0], level)
        case "forms":
            return _text(one.parts[0], level)
        case "call":
            return _called(one)
        case "neg":
            return _bracketed("−" + _text(one.parts[0], 2), 1 < level)
        case "+" if one.parts[1].op == "slack":
            return _text(one.parts[0], level)
        case "*" if one.parts[0] is one.parts[1]:
            return _text(one.parts[0], 9) + "²"
        case "+" | "-" | "*" | "/":
            own, (a, b) = LEVELS[one.op], one.parts
            return _bracketed(_text(a, own) + SIGNS[one.op] + _text(b, own + (one.op in "-/")), own < level)
        case "where" if one.how:
            return _text(one.parts[1], level)
        case "where":
            return f"({_text(one.parts[1], 0)} if {_text(one.parts[0], 0)}, else {_text(one.parts[2], 0)})"
        case "above":
            return f"{_text(one.parts[0], 1)} > {_text(one.parts[1], 1)}"
    return _bracketed(_named(one), 2 < level)


def _named(one: E) -> str:
    inside = _text(one.parts[0], 2)
    match one.op:
        case "sum" | "kept":
            return f"Σ_{one.how[0]} {inside}"
        case "mean" | "average":
            return f"mean_{one.how[0]} {inside}"
        case "count":
            return f"number of {one.how[0]}"
        case "largest":
            return f"max {inside}"
        case "counting":
            return f"1 … {inside}"
        case "joined":
            return ", ".join(_text(part, 0) for part in one.parts)
        case "running":
            return f"Σ_{{s≤t}} {inside}"
        case "move":
            return f"{one.how.says}({_text(one.parts[0], 0)})"
        case "walk":
            return f"step by step from {one.how.start}: {_text(one.parts[0], 0)}"
        case "path":
            return f"{one.how.start} and every {_text(one.parts[0], 0)}"
    return inside                                                    # adjoints of moves and of broadcasting


def _number(how: Any) -> str:
    if isinstance(how, str):
        return how
    if isinstance(how, Fraction):
        return {Fraction(1, 2): "½", Fraction(1, 4): "¼"}.get(how, str(how))
    return f"{how:g}"


def _called(one: E) -> str:
    part = one.parts[0]
    inside = _text(part, 9)
    if one.how == "sqrt":
        return f"√{inside}"
    inside = inside if inside.startswith("(") and inside.endswith(")") else f"({inside})"
    return f"log(1 + {inside[1:-1]})" if one.how == "log1p" else f"{CALLS.get(one.how, one.how)}{inside}"


def _bracketed(text: str, needed: bool) -> str:
    return f"({text})" if needed else text
