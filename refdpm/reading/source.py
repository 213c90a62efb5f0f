"""The source as it is read: modules in reading order, cut into headings, functions, classes and other lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
import ast

from refdpm import READING_ORDER

PACKAGE = Path(__file__).resolve().parent.parent
RULE = "# -- "                     # how a heading begins


class Part(NamedTuple):
    """One piece of a module: `kind` is heading, function, class or lines; `code` is without what `doc` says."""

    kind: str
    name: str
    doc: str
    code: str


class Module(NamedTuple):
    """A module by its name below refdpm."""

    name: str
    doc: str
    parts: tuple[Part, ...]


def chapters() -> dict[str, list[Module]]:
    """The modules of every entry of the reading order: one, or a package and what is in it and has no entry of its own."""
    return {entry: [read(name) for name in _modules(entry)] for entry in READING_ORDER}


def _modules(entry: str) -> Iterator[str]:
    yield entry
    for path in sorted(PACKAGE.joinpath(*entry.split(".")).rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if _entry_of(name) == entry != name and path.name != "__main__.py":
            yield name


def _entry_of(name: str) -> str:
    """The entry of the reading order that a module belongs to."""
    while name and name not in READING_ORDER:
        name = name.rpartition(".")[0]
    return name


def read(name: str) -> Module:
    """The module of that name below refdpm."""
    path = PACKAGE.joinpath(*name.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    return Module(name, _docstring(ast.parse(text)), tuple(parts(text)))


def parts(text: str) -> Iterator[Part]:
    """Everything in a source file below its docstring, in order; statements that are no function and no class together."""
    lines, at, waiting = text.splitlines(), 0, list[str]()
    for node in ast.parse(text).body:
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
        for line in lines[at:start]:
            if line.startswith(RULE):
                yield from _flushed(waiting)
                yield Part("heading", line.removeprefix("# ").strip("- "), "", "")
            else:
                waiting.append(line)
        at = node.end_lineno or start
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from _flushed(waiting)
            yield Part("class" if isinstance(node, ast.ClassDef) else "function", node.name,
                       _docstring(node), _without_docstring(lines, start, node))
        elif not (isinstance(node, ast.Expr) and start == 0):
            waiting += lines[start:at]
    waiting += lines[at:]
    yield from _flushed(waiting)


def _flushed(waiting: list[str]) -> Iterator[Part]:
    code = "\n".join(waiting).strip("\n")
    waiting.clear()
    if code:
        yield Part("lines", "", "", code)


def _docstring(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """Indented as far as it stands inside of its function, so that a formula below the first line keeps its indent."""
    margin = " " * getattr(node.body[0], "col_offset", 0) if node.body else ""
    return "\n".join(line.removeprefix(margin) for line in (ast.get_docstring(node, clean=False) or "").split("\n")).strip()


def _without_docstring(lines: list[str], start: int, node: ast.FunctionDef | ast.ClassDef) -> str:
    first = node.body[0]
    if ast.get_docstring(node) is None or first.end_lineno is None:
        return "\n".join(lines[start:node.end_lineno])
    below = "\n".join(lines[first.end_lineno:node.end_lineno]).strip("\n")
    return "\n".join([*lines[start:first.lineno - 1], below]).rstrip()
