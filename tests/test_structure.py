"""The shape of the package: reading order, independent oracles, import budget, one contract, one set of kernel names."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import refdpm
from refdpm import binomial, cli, gaussian, gradcheck
from refdpm.conformance import cases

PACKAGE = Path(refdpm.__file__).parent
THEORY = refdpm.READING_ORDER[:refdpm.READING_ORDER.index("gradcheck")]


def walk():
    """Every module by its dotted name below refdpm, packages without content of their own left out."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name not in ("", "__init__", "__main__", "layers", "networks", "oracles", "conformance"):
            yield name, path


MODULES = list(walk())


def imported(path, name):
    """The modules of refdpm that a file imports, wherever in it."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("refdpm").strip(".") for alias in node.names if alias.name.startswith("refdpm"))
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module or ""]).strip(".")
            if not node.level and not module.startswith("refdpm"):
                continue
            module = module.removeprefix("refdpm").strip(".")
            for alias in node.names:
                inside = f"{module}.{alias.name}".strip(".")
                yield inside if inside in dict(MODULES) else module


def outside(path):
    """The top-level packages that a file imports from elsewhere, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def room(name):
    """The entry of the reading order that a module belongs to: itself, or the package it is a part of."""
    while name and name not in refdpm.READING_ORDER:
        name = name.rpartition(".")[0]
    return name


def test_every_module_has_its_place_in_the_reading_order():
    assert {room(name) for name, _ in MODULES} == set(refdpm.READING_ORDER)
    assert len(set(refdpm.READING_ORDER)) == len(refdpm.READING_ORDER)


@pytest.mark.parametrize("name,path", MODULES, ids=lambda value: str(value) if isinstance(value, str) else "")
def test_a_module_imports_only_from_above(name, path):
    place = refdpm.READING_ORDER.index(room(name))
    for other in imported(path, name):
        if other and room(other) != room(name) and room(other):
            assert refdpm.READING_ORDER.index(room(other)) < place, f"{name} imports {other}, which is read later"


def test_every_form_of_import_is_seen(tmp_path):
    (tmp_path / "oracle.py").write_text("import refdpm.gaussian\nfrom refdpm import bound\nfrom ..vjp import fix\n"
                                        "from . import common\nimport numpy\n")
    assert set(imported(tmp_path / "oracle.py", "oracles.oracle")) == {"gaussian", "bound", "vjp", "oracles.common"}


@pytest.mark.parametrize("name,path", [m for m in MODULES if m[0].startswith(("oracles.", "textbook"))],
                         ids=lambda value: str(value)[-30:])
def test_oracles_and_the_textbook_share_nothing_with_what_they_judge(name, path):
    assert all(other.startswith(name.partition(".")[0]) for other in imported(path, name))


@pytest.mark.parametrize("name,path", [m for m in MODULES if m[0].startswith("layers.")], ids=lambda value: str(value)[-30:])
def test_layers_know_nothing_of_the_process(name, path):
    assert all(other in ("paper", "vjp", "doors", "activation") or other.startswith("layers.") for other in imported(path, name))


def test_theory_imports_numpy_scipy_and_the_standard_library_only():
    allowed = set(sys.stdlib_module_names) | {"numpy", "scipy", "refdpm"}
    found = {(name, other) for name, path in MODULES if room(name) in THEORY for other in outside(path) if other not in allowed}
    assert not found


def test_import_budget():
    """`import refdpm`, the theory and the modules of the commands load neither Hypothesis nor matplotlib nor any tool for tests."""
    modules = [*THEORY, "run", "experiments", "cli", *(module for module, _ in cli.COMMANDS.values())]
    code = ("import sys, importlib, refdpm; "
            f"[importlib.import_module('refdpm.' + name) for name in {modules}]; "
            "print([m for m in ('hypothesis', 'matplotlib', 'tqdm', 'pytest', 'refdpm.conformance') if m in sys.modules])")
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert output.stdout.strip() == "[]"


def test_every_pair_of_the_package_is_under_the_contract():
    """No `_vjp` stands in a module of the theory that the generic test does not visit; the kit's chapters compose such pairs."""
    with_pairs = {name for name, path in MODULES if not name.startswith("conformance") and any(
        isinstance(node, ast.FunctionDef) and node.name.endswith("_vjp") and not node.name.startswith("_")
        for node in ast.parse(path.read_text(encoding="utf-8")).body)}
    assert with_pairs == set(cases.PAIR_MODULES)


def test_every_pair_has_cases_and_every_case_a_pair():
    assert {pair.name for pair in gradcheck.pairs(cases.PAIR_MODULES)} == set(cases.CASES)


def test_f_and_f_vjp_stand_next_to_each_other():
    for pair in gradcheck.pairs(cases.PAIR_MODULES):
        lines = inspect.getsourcelines(pair.f)
        gap = inspect.getsourcelines(pair.f_vjp)[1] - (lines[1] + len(lines[0]))
        assert 0 < gap <= 30, f"{pair.name}: {gap} lines between f and f_vjp"      # private helpers may stand between


@pytest.mark.parametrize("kernel", [gaussian, binomial], ids=lambda kernel: kernel.__name__)
def test_kernels_have_the_same_names(kernel):
    names = {"prior", "forward", "marginal", "posterior", "kl", "entropy", "cross_entropy", "log_prob", "draw", "draw_noise"}
    assert all(callable(getattr(kernel, name)) for name in names)


def test_public_functions_have_docstrings():
    missing = []
    for name, path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and ast.get_docstring(node) is None:
                missing.append(f"{name}.{node.name}")
    assert not [name for name in missing if not name.endswith("_init")]


def test_the_package_says_of_every_module_what_it_is_about_in_reading_order():
    named = re.findall(r"`([^`]*)`", " ".join(names for names, says in entries(refdpm.__doc__)))
    assert named == list(refdpm.READING_ORDER)
    assert all(says for names, says in entries(refdpm.__doc__))


def entries(text):
    """The entries of the package's table of contents: names in backquotes, and below them, further in, what they are about."""
    lines = text[text.index("\nthe ground\n"):text.index("Nothing is imported here")]
    return re.findall(r"^((?: {4}`.*,\n)* {4}`.*`\n)((?: {8}\S.*\n)*)", lines, flags=re.MULTILINE)
