"""Which code and which tests each equation of the paper has: the table equation → code → tests → note.

Code is marked with `paper.eq`, tests with `pytest.mark.eq`.  The marks of the code are known once a module is imported; those of
the tests are read from their source, which is not run.
"""

import ast
import importlib
import pkgutil
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypedDict

from refdpm.paper import EQUATIONS, code_of, known

__all__ = ["Row", "matrix", "render", "tests_of"]


# -- the number on a test, found without running it --------------------------------------------------------------------

def tests_of(tests_dir: Path) -> dict[str, tuple[str, ...]]:
    """The tests below `tests_dir` that carry each number, as pytest names them: "oracles/test_mixture.py::test_density".

    A mark counts on the test, on its class, in a `pytestmark` of its class or module, and in a `pytest.param` of its decorators.
    Edge: no directory, no tests.
    Raises: ValueError naming the file and the number, if that is not in the registry.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(tests_dir.rglob("test_*.py")) if tests_dir.is_dir() else []:
        file = path.relative_to(tests_dir).as_posix()
        for number, test in _marked_tests(ast.parse(path.read_text(encoding="utf-8"), file), [], file):
            found.setdefault(known(number, f"{file}: eq"), []).append(test)
    return {number: tuple(dict.fromkeys(found[number])) for number in EQUATIONS if number in found}


def _marked_tests(node: ast.AST, above: list[object], name: str) -> Iterator[tuple[object, str]]:
    """(number, test) for every test inside `node`; `above` are the numbers that everything in it inherits."""
    children = list(ast.iter_child_nodes(node))
    above = above + [number for child in children if isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "pytestmark"
                     for number in _numbers(child.value)]
    for child in children:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            numbers = above + [number for decorator in child.decorator_list for number in _numbers(decorator)]
            if isinstance(child, ast.ClassDef):
                yield from _marked_tests(child, numbers, f"{name}::{child.name}")
            elif child.name.startswith("test"):
                yield from ((number, f"{name}::{child.name}") for number in numbers)


def _numbers(expression: ast.expr) -> Iterator[object]:
    """The arguments of every `pytest.mark.eq(…)` inside `expression`; an argument that is no literal comes as its source text."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.mark.eq", "mark.eq"):
            yield from [arg.value if isinstance(arg, ast.Constant) else ast.unparse(arg) for arg in node.args] or [None]


# -- code and tests together -------------------------------------------------------------------------------------------

class Row(TypedDict):
    """One row of `matrix`: an equation, its code and its tests."""

    number: str
    section: str
    says: str
    status: str
    code: tuple[str, ...]
    tests: tuple[str, ...]
    note: str


def matrix(tests_dir: Path | None = None) -> list[Row]:
    """Equation → code → tests → note, in the paper's order. Imports the whole package: an unimported module has no margin.

    `tests_dir` is by default the folder `tests` beside the package, if it is the project's own.
    """
    package = importlib.import_module(__name__.rpartition(".")[0])
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith((".__main__", ".pytest_plugin")):        # the second needs pytest, and codes no equation
            importlib.import_module(module.name)
    beside = Path(__file__).resolve().parent.parent / "tests"
    ours = (beside / "test_traceability.py").is_file()
    tests = tests_of(tests_dir) if tests_dir is not None else tests_of(beside) if ours else {}
    return [Row(number=e.number, section=e.section, says=e.says, status=e.status, code=code_of(e.number),
                tests=tests.get(e.number, ()), note=e.note) for e in EQUATIONS.values()]


def render(rows: Iterable[Row], width: int = 150) -> str:
    """The matrix as plain text: number, status and formula on a line; below it the code → the test files, then the note."""
    rows = list(rows)
    first = max((len(row["number"]) for row in rows), default=0)
    indent = " " * (first + 17)
    lines = [f"{'':{first}}  {'status':13}  says, code → tests, note"]
    for row in rows:
        files = dict.fromkeys(test.partition("::")[0] for test in row["tests"])
        evidence = f"{', '.join(row['code'])} → {', '.join(files) or 'no test'}".strip() if row["code"] or files else ""
        lines.append(f"{row['number']:{first}}  {row['status']:13}  {row['says']}")
        for text in (evidence, row["note"]):
            lines += textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(lines)
