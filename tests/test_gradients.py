"""Consistent: every `f_vjp` is the adjoint of its `f`.  One test for all pairs; it says nothing about whether f is right."""

import ast
from itertools import count as counted
import importlib
import inspect

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from refdpm import gradcheck
from refdpm.conformance import audit, cases
from refdpm.vjp import leaves

PAIRS = list(gradcheck.pairs(cases.PAIR_MODULES))
seeds = st.integers(0, 2 ** 32 - 1)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_pair(pair):
    """Adjoint gap per argument, value bitwise, pure, linear, inputs untouched, complex in and out, symmetry; and the guard by
    differences, which takes as long as all the rest, in as many cases as in the audit, which looks at fifteen of every pair."""
    number, usual = counted(), settings()

    @settings(usual, max_examples=max(3, usual.max_examples // 4))
    @given(cases.CASES[pair.name], seeds)
    def check(case, seed):
        arguments, fixed = case
        rng = np.random.default_rng(seed)
        for name, gap in gradcheck.gaps(pair, arguments, fixed, rng).items():
            assert gap <= gradcheck.GAP, f"{pair.name}, {name}: adjoint gap {gap:.1e}"
        assert not gradcheck.breaches(pair, arguments, fixed, rng, guard=next(number) % audit.GUARDED == 0)

    check()


@pytest.mark.parametrize("name", cases.CASES)
def test_every_alternative_is_drawn_when_the_audit_looks(name):
    assert len(cases.ALTERNATIVES[name]) <= cases.LIMIT
    for count in (2, cases.LIMIT):
        assert len(cases.examples(name, count=count)) == count


# -- the cases see what a broadcast needs ------------------------------------------------------------------------------

class Dropped(ast.NodeTransformer):
    """`unbroadcast(x, shape)` replaced by x, in one place of a module."""

    def __init__(self, call):
        self.place = call.lineno, call.col_offset

    def visit_Call(self, node):
        self.generic_visit(node)
        return node.args[0] if is_unbroadcast(node) and (node.lineno, node.col_offset) == self.place else node


def is_unbroadcast(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "unbroadcast"


def test_what_somebody_does_to_a_case_is_not_there_at_the_next_call():
    (beta, level), fixed = cases.examples("schedule.step", count=3)[0]
    before = [part.copy() for part in (beta, level, fixed["t"])]
    for part in (beta, level, fixed["t"]):
        part -= 1
    (beta, level), fixed = cases.examples("schedule.step", count=3)[0]
    assert all(np.array_equal(*pair) for pair in zip(before, (beta, level, fixed["t"])))


def without(module, call):
    """The functions of a module from which one call of `unbroadcast` is left out; the classes stay the module's own."""
    tree = Dropped(call).visit(ast.parse(inspect.getsource(module)))
    tree.body = [node for node in tree.body if not isinstance(node, ast.ClassDef | ast.ImportFrom | ast.Import)]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
    namespace = dict(vars(module))
    exec(compile(tree, module.__file__, "exec"), namespace)
    return namespace


def notices(pair):
    """Whether the cases of a pair show that it is wrong; an error is enough."""
    rng = np.random.default_rng(0)
    try:
        return any(not gap <= gradcheck.GAP for arguments, fixed in cases.examples(pair.name, count=cases.LIMIT)
                   for gap in gradcheck.gaps(pair, arguments, fixed, rng).values())
    except ValueError:
        return True


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_function_states_the_shapes_of_its_value_or_works_component_by_component(pair):
    """As `vjp` says; `explain` adds it to what states none."""
    module, _, function = pair.name.rpartition(".")
    f = getattr(importlib.import_module(f"refdpm.{module}"), function)
    before, label, shapes = (f.__doc__ or "").partition("Shapes")
    assert not label or "→" in shapes or " as " in shapes, shapes
    if not label:
        for arguments, fixed in cases.examples(pair.name, count=2):
            given = [leaf for one in (*arguments, *fixed.values()) if isinstance(one, (tuple, np.ndarray)) for leaf in leaves(one)]
            assert {np.shape(leaf) for leaf in leaves(f(*arguments, **fixed))} == {np.broadcast_shapes(*map(np.shape, given))}


@pytest.mark.parametrize("module_name", cases.PAIR_MODULES)
def test_a_broadcast_that_is_not_undone_is_seen_by_the_cases_of_the_pair(module_name):
    """Each call of `unbroadcast` in its turn is left out; one in a private helper may be seen by any pair of the module."""
    module = importlib.import_module(f"refdpm.{module_name}")
    names = {pair.name.rpartition(".")[2] for pair in PAIRS if pair.name.rpartition(".")[0] == module_name}
    for function in ast.parse(inspect.getsource(module)).body:
        for call in filter(is_unbroadcast, ast.walk(function)):
            changed, own = without(module, call), {function.name.removesuffix("_vjp")} & names
            mutants = (gradcheck.Pair(f"{module_name}.{name}", changed[name], changed[f"{name}_vjp"]) for name in own or names)
            assert any(map(notices, mutants)), f"{module_name}.{function.name}, line {call.lineno}: {ast.unparse(call)}"
