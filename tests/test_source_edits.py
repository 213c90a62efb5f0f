"""The single edits of somebody's source with which naming is measured."""

from pathlib import Path
import ast
import importlib.util
import sys

import pytest

SOURCE = '''
def f(a, b, table):
    """Text with 1 in it."""
    return a * sqrt(b) - table[1:].sum(0) ** 2


def g(a=1):
    return a
'''
BODY = "a * sqrt(b) - table[1:].sum(0) ** 2"


@pytest.fixture(scope="module")
def edits():
    path = Path(__file__).parents[1] / "validation" / "source_edits.py"
    if not path.exists():
        pytest.skip("validation/ is not there")
    spec = importlib.util.spec_from_file_location("source_edits", path)
    sys.modules["source_edits"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind, after", [
    ("operator exchanged", "a / sqrt(b) - table[1:].sum(0) ** 2"), ("operator exchanged", "a * sqrt(b) + table[1:].sum(0) ** 2"),
    ("operand dropped", "sqrt(b) - table[1:].sum(0) ** 2"), ("operand dropped", "a * sqrt(b)"),
    ("root, square or log dropped", "a * b - table[1:].sum(0) ** 2"),
    ("root, square or log dropped", "a * sqrt(b) - table[1:].sum(0)"),
    ("mean for sum", "a * sqrt(b) - table[1:].mean(0) ** 2"), ("call dropped", "a * sqrt(b) - table[1:] ** 2"),
    ("argument exchanged", "b * sqrt(b) - table[1:].sum(0) ** 2"), ("slice or pad shifted", "a * sqrt(b) - table[:-1].sum(0) ** 2"),
    ("number changed by one", "a * sqrt(b) - table[2:].sum(0) ** 2")])
def test_each_kind_of_slip_is_made(edits, kind, after):
    found = {(edit.kind, edit.after) for edit in edits.drawn(SOURCE, {"f"}, 0)}
    assert (kind, f"return {after}") in found


def test_an_edit_changes_one_line_of_the_function_named_and_nothing_else(edits):
    before = ast.unparse(ast.parse(SOURCE)).splitlines()
    found = list(edits.drawn(SOURCE, {"f"}, 0))
    assert len({edit.source for edit in found}) == len(found) > 20
    for edit in found:
        changed = [pair for pair in zip(before, edit.source.splitlines(), strict=True) if pair[0] != pair[1]]
        assert [(one.strip(), other.strip()) for one, other in changed] == [(f"return {BODY}", edit.after)]


def test_the_same_seed_draws_the_same(edits):
    drawn = [[edit.after for edit in edits.drawn(SOURCE, {"f", "g"}, seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
