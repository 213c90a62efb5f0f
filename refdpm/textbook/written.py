"""Reading: written.  A formula as text, and as MathML for pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from html import escape
from typing import Any

from refdpm.textbook.expression import Column, E, given, is_said, nodes

LETTERS = {"beta": "β", "alpha": "α", "alpha_bar": "ᾱ"}
ARGUMENTS = {"beta": "β_t", "log_alpha_bar": "log ᾱ_t", "log_alpha_bar_prev": "log ᾱ_{t−1}", "w0": "cotangent",
             **{f"w{n}": f"cotangent_{n + 1}" for n in range(1, 9)}}
LEVELS = {"+": 1, "-": 1, "neg": 1, "*": 2, "/": 2}
SIGNS = {"+": " + ", "-": " − ", "*": " ", "/": "/"}
LEAST = Fraction(1, 1000)                                          # below which a number is written as 1e-05
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
    if is_said(one):
        return "what the network says"
    match one.op:
        case "number":
            return _number(one.how)
        case "given":
            return ARGUMENTS.get(one.how, str(one.how).replace("own_", "own "))        # what the adapter itself had before
        case "constant":
            return "given numbers"
        case "column" | "gathered":
            index = index_of(one.how)
            if one.how.name == "t":
                return index
            return f"{LETTERS.get(one.how.name, one.how.name)}_{index if len(index) == 1 else '{' + index + '}'}"
        case "term":
            return _bracketed(one.how, 1 < level and " " in one.how) if one.how else _text(one.parts[0], level)
        case "forms" | "also":
            return _text(one.parts[0], level)
        case "move" if not one.how.says:
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
        case "where" if one.parts[0].op == "above" and set(one.parts[0].parts) == set(one.parts[1:]):
            word = "max" if one.parts[1] is one.parts[0].parts[0] else "min"
            return f"{word}({', '.join(_text(part, 0) for part in one.parts[0].parts)})"
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
        case "running product":
            return f"∏_{{s≤t}} {inside}"
        case "move":
            return f"{one.how.says}({_text(one.parts[0], 0)})"
        case "walk":
            kept = (f"; {name} is kept: {_text(part, 0)}" for name, part in zip(one.how.kept, one.parts[1:]))
            return f"step by step from {one.how.start}: {_text(one.parts[0], 0)}{''.join(kept)}"
        case "path":
            return f"{one.how.start} and every {_text(one.parts[0], 0)}"
    return inside                                                    # adjoints of moves and of broadcasting


def _number(how: Any) -> str:
    if isinstance(how, str):
        return how
    if isinstance(how, Fraction):
        return f"{float(how):g}" if 0 < how < LEAST else {Fraction(1, 2): "½", Fraction(1, 4): "¼"}.get(how, str(how))
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


# -- in lines ------------------------------------------------------------------------------------------------------------

LINE, WORTH = 70, 40           # characters of a part that gets a line of its own: of any part, and of one that comes again


def in_lines(one: E) -> list[tuple[str, E]]:
    """A formula as equations, (name, right side), each of a line: what is long in it, or comes again, is called u_1, u_2, … in the
    lines before; the last has the name "" and is the formula itself."""
    lines = _cut(one, again=LINE)
    return lines if len(lines) == 1 else _cut(one, again=WORTH)


def _cut(one: E, *, again: int) -> list[tuple[str, E]]:
    ordered = nodes(one, parts_of=_printed_parts)
    uses = Counter(part for node in ordered for part in _printed_parts(node))
    lines: list[tuple[str, E]] = []
    instead: dict[E, E] = {}
    known: dict[str, E] = {}                                         # by what is printed of them: equal parts have one name
    for node in ordered:
        new = E(node.op, (instead.get(part, part) for part in node.parts), node.how)
        text = written(new)
        if node is not one and text not in known and len(text) > (again if uses[node] > 1 else LINE):
            known[text] = given(f"u_{len(lines) + 1}")
            lines.append((known[text].how, new))
        instead[node] = known.get(text, new)
    if lines and written(instead[one]) == lines[-1][0]:              # nothing was left to do
        return [*lines[:-1], ("", lines[-1][1])]
    return [*lines, ("", instead[one])]


def _printed_parts(one: E) -> tuple[E, ...]:
    """The parts that are printed: of several forms the first, and no mask."""
    return one.parts[1:2] if one.op == "where" and one.how else one.parts[:1] if one.op in ("forms", "also") else one.parts


# -- MathML --------------------------------------------------------------------------------------------------------------

def mathml(one: E, name: str = "") -> str:
    """A formula as a <math> element; with a name it is an equation, name = formula."""
    left = _word(name) + _sign("=") if name else ""
    return f'<math display="block">{left}{_mark(one, 0)}</math>'


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _sign(text: str) -> str:
    return f"<mo>{escape(text)}</mo>"


_TIMES = '<mo rspace=".2em">\u2062</mo>'                            # invisible, but words do not touch


def _word(text: str) -> str:
    """A name, with its index below it: x_prev and var_q have one, log_width has none."""
    head, _, index = text.partition("_")
    index = index.strip("{}")
    if not index or min(len(head), len(index)) > 1:
        return f"<mi>{escape(text)}</mi>"
    return f"<msub><mi>{escape(head)}</mi>{_row(f'<mi>{escape(index)}</mi>')}</msub>"


def _mark(one: E, level: int) -> str:
    match one.op:
        case "number":
            return _fraction(one.how) if isinstance(one.how, Fraction) else f"<mn>{escape(_number(one.how))}</mn>"
        case "given" | "column" | "gathered" | "constant":
            return _word(_text(one, 0))
        case "term":
            return _mark(one.parts[0], level) if one.how is None else _marked(_row(_word(one.how)), 1 < level and " " in one.how)
        case "call" if one.how == "sqrt":
            return f"<msqrt>{_mark(one.parts[0], 0)}</msqrt>"
        case "call":
            inside = _one_and(one.parts[0]) if one.how == "log1p" else _mark(one.parts[0], 0)
            return _row(f"<mi>{escape(CALLS.get(one.how, one.how))}</mi>", _sign("("), inside, _sign(")"))
        case "neg":
            return _marked(_row(_sign("−"), _mark(one.parts[0], 2)), 1 < level)
        case "/":
            return f"<mfrac>{_mark(one.parts[0], 0)}{_mark(one.parts[1], 0)}</mfrac>"
        case "+" if one.parts[1].op == "slack":
            return _mark(one.parts[0], level)
        case "*" if one.parts[0] is one.parts[1]:
            return f"<msup>{_mark(one.parts[0], 9)}<mn>2</mn></msup>"
        case "+" | "-" | "*":
            own, (a, b) = LEVELS[one.op], one.parts
            sign = _TIMES if one.op == "*" else _sign({"+": "+", "-": "−"}[one.op])
            return _marked(_row(_mark(a, own), sign, _mark(b, own + (one.op == "-"))), own < level)
        case "move" if not one.how.says:
            return _mark(one.parts[0], level)
        case "where" if one.how:
            return _mark(one.parts[1], level)
        case "where":
            rows = ((one.parts[1], "if\u00a0", one.parts[0]), (one.parts[2], "else", None))
            cells = (f"<mtr><mtd>{_mark(x, 0)}</mtd><mtd><mtext>{word}</mtext>{_mark(mask, 0) if mask else ''}</mtd></mtr>"
                     for x, word, mask in rows)
            return _row(_sign("{"), f"<mtable>{''.join(cells)}</mtable>")
        case "above":
            return _row(_mark(one.parts[0], 1), _sign(">"), _mark(one.parts[1], 1))
    return _marked(_MARKS[one.op](one) if one.op in _MARKS else _mark(one.parts[0], level), 2 < level)


def _one_and(one: E) -> str:
    """1 + x, or 1 − x."""
    sign, x = ("−", one.parts[0]) if one.op == "neg" else ("+", one)
    return _row("<mn>1</mn>", _sign(sign), _mark(x, 2 if sign == "−" else 1))


def _fraction(how: Fraction) -> str:
    size = f"<mfrac><mn>{abs(how.numerator)}</mn><mn>{how.denominator}</mn></mfrac>"
    return _row(_sign("−"), size) if how < 0 else size


def _marked(text: str, needed: bool) -> str:
    return _row(_sign("("), text, _sign(")")) if needed else text


def _over(sign: str) -> Callable[[E], str]:
    return lambda one: _row(f"<munder>{_sign(sign)}<mtext>{escape(str(one.how[0]))}</mtext></munder>", _mark(one.parts[0], 2))


_MARKS: dict[str, Callable[[E], str]] = {
    "sum": _over("Σ"), "kept": _over("Σ"), "mean": _over("mean"), "average": _over("mean"),
    "counting": lambda one: _row("<mn>1</mn>", _sign("…"), _mark(one.parts[0], 0)),
    "joined": lambda one: _row(_sign(",").join(_mark(part, 0) for part in one.parts)),
    "running": lambda one: _row(_sign("Σ"), _mark(one.parts[0], 2)),
    "largest": lambda one: _row("<mi>max</mi>", _mark(one.parts[0], 2)),
    "count": lambda one: f"<mtext>number of {escape(str(one.how[0]))}</mtext>",
    "move": lambda one: _row(f"<mtext>{escape(one.how.says)}</mtext>", _sign("("), _mark(one.parts[0], 0), _sign(")")),
    "walk": lambda one: _row(f"<mtext>step by step from {escape(one.how.start)}: </mtext>", _mark(one.parts[0], 0)),
    "path": lambda one: _row(f"<mtext>{escape(one.how.start)} and every </mtext>", _mark(one.parts[0], 0))}
