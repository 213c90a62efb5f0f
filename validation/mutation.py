"""One-node changes of the package's arithmetic, and how one of them is put in the place of the right code.

A *target* is a function, a method or a constant of a module.  A change replaces one node of its syntax tree: another operator, an
operand left out, an index off by one, another constant, two arguments exchanged, a call or a keyword left out.  Strings,
docstrings, annotations, decorators and what raises errors are left as they are, for they are no arithmetic.

The changed code is put into the function object itself, so that every module sees it, whatever it calls the function.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple
import ast
import copy
import importlib
import inspect
import random
import sys
import warnings

from refdpm import READING_ORDER

# the registry of equations, what refuses bad input, and what needs processes, files or hours
NOT_THEORY = ("paper", "doors", "workers", "data", "single", "train")
MODULES = tuple(name for name in READING_ORDER[:READING_ORDER.index("gradcheck")] if name.partition(".")[0] not in NOT_THEORY)

OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add, ast.Div), ast.Mult: (ast.Div, ast.Add), ast.Div: (ast.Mult, ast.Sub),
    ast.Pow: (ast.Mult, ast.Div), ast.MatMult: (ast.Mult,), ast.FloorDiv: (ast.Mult, ast.Mod), ast.Mod: (ast.FloorDiv,),
    ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,)}
OTHER_WORDS: dict[type, type] = {ast.And: ast.Or, ast.Or: ast.And}
COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,)}
OTHER_NAMES = {"maximum": "minimum", "minimum": "maximum", "exp": "expm1", "expm1": "exp", "log": "log1p", "log1p": "log",
               "sum": "mean", "mean": "sum", "zeros_like": "ones_like", "ones_like": "zeros_like", "zeros": "ones",
               "argmax": "argmin", "sin": "cos", "cos": "sin", "erfc": "erfcx", "max": "min"}
OTHER_FIELDS = {"mean": "var", "var": "mean", "log_alpha_bar": "log_alpha_bar_prev", "log_alpha_bar_prev": "log_alpha_bar",
                "entropy_T": "entropy_1", "entropy_1": "entropy_T", "weight": "bias", "low": "high", "high": "low"}
CHOICES = {"where": (1, 2), "maximum": (0, 1), "minimum": (0, 1), "unbroadcast": (0,), "broadcast_to": (0,)}
KEPT_CALLS = {"len", "range", "tuple", "list", "iter", "next", "float", "int", "zip", "map", "enumerate", "isinstance", "callable"}
OPTIONAL = {"axis", "keepdims", "ddof", "prepend", "dtype", "initial"}
FIXED_KEYWORDS = {"strict", "writeable", "kind"}
MODULES_IN_CODE = {"np", "scipy", "st", "kernel", "network", "schedule", "gaussian", "binomial", "bound", "optimize", "activation"}

Place = tuple[ast.AST, str, int | None]


class Mutant(NamedTuple):
    """A change of one target: where it stands, the line before and after it, and the changed statement of the module."""

    module: str
    target: str
    line: int
    before: str
    after: str
    statement: ast.stmt


def described(mutant: Mutant) -> str:
    """file:line  target: before → after."""
    file = mutant.module.replace(".", "/")
    return f"refdpm/{file}.py:{mutant.line}  {mutant.target}: {mutant.before} → {mutant.after}"


# -- targets -------------------------------------------------------------------------------------------------------------

def targets(module: str) -> dict[str, ast.stmt]:
    """The functions, methods and numeric constants of a module, by name, in the order in which they stand there."""
    with open(_loaded(module).__file__ or "", encoding="utf-8") as source:
        tree = ast.parse(source.read())
    found: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.ClassDef):
            found |= {f"{statement.name}.{part.name}": part for part in statement.body if isinstance(part, ast.FunctionDef)}
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            if isinstance(getattr(_loaded(module), statement.targets[0].id), (int, float, dict)):
                found[statement.targets[0].id] = statement
    return found


def function_of(module: str, target: str) -> FunctionType | None:
    """The function object of a target; None for a constant."""
    member: Any = _loaded(module)
    for part in target.split("."):
        member = vars(member)[part]
    member = inspect.unwrap(getattr(member, "fget", member))                # behind its door, where it has one
    return member if isinstance(member, FunctionType) else None


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """A code object and those of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)


def _loaded(module: str) -> ModuleType:
    return importlib.import_module(f"refdpm.{module}")


# -- the changes of one node -------------------------------------------------------------------------------------------

def _of_operation(node: Any, parent: ast.AST) -> Iterator[ast.AST]:
    if not any(isinstance(getattr(side, "value", None), str) for side in (node.left, node.right)):
        yield from (ast.BinOp(node.left, other(), node.right) for other in OPERATORS[type(node.op)])
        yield from (node.left, node.right)
        if isinstance(node.op, (ast.Add, ast.Mult, ast.Sub, ast.Div)):
            yield ast.UnaryOp(ast.USub(), node)


def _of_comparison(node: Any, parent: ast.AST) -> Iterator[ast.AST]:
    yield from (ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators)
                for other in COMPARISONS.get(type(node.ops[0]), ()))


def _of_constant(node: Any, parent: ast.AST) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        factor = isinstance(parent, ast.BinOp) and isinstance(parent.op, (ast.Mult, ast.Div, ast.Pow))
        counts = isinstance(value, int) and not factor
        others = {value - 1, value + 1, 0} if counts else {0, value + 1, 2 * value, 1.001 * value}
        yield from (ast.Constant(other) for other in sorted(others - {value}))


def _of_index(node: Any, parent: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node.ctx, ast.Load) and isinstance(node.slice, (ast.Name, ast.BinOp)):
        for sign in (ast.Add, ast.Sub):
            yield ast.Subscript(node.value, ast.BinOp(node.slice, sign(), ast.Constant(1)), node.ctx)


def _of_field(node: Any, parent: ast.AST) -> Iterator[ast.AST]:
    called = isinstance(parent, ast.Call) and parent.func is node
    other = (OTHER_NAMES if called else OTHER_FIELDS).get(node.attr)
    if other and isinstance(node.ctx, ast.Load):
        yield ast.Attribute(node.value, other, node.ctx)


def _of_call(node: Any, parent: ast.AST) -> Iterator[ast.AST]:
    """Arguments exchanged, the call left out, a keyword left out."""
    method = isinstance(node.func, ast.Attribute) and not _is_module(node.func.value)
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    yield from (ast.Call(node.func, arguments, node.keywords) for arguments in _exchanged(node.args))
    if name in CHOICES:
        yield from (node.args[i] for i in CHOICES[name] if i < len(node.args))
    elif method:
        yield node.func.value
    elif len(node.args) == 1 and name not in KEPT_CALLS and not isinstance(node.args[0], (ast.Starred, ast.GeneratorExp)):
        yield node.args[0]
    for keyword in node.keywords:
        if keyword.arg in OPTIONAL:
            yield ast.Call(node.func, node.args, [other for other in node.keywords if other is not keyword])


def _exchanged(parts: list[ast.expr]) -> Iterator[list[ast.expr]]:
    """The parts with two neighbours exchanged."""
    for i in range(len(parts) - 1):
        if not any(isinstance(part, (ast.Starred, ast.Slice, ast.Lambda)) for part in parts[i:i + 2]):
            yield [*parts[:i], parts[i + 1], parts[i], *parts[i + 2:]]


def _is_module(node: Any) -> bool:
    return _is_module(node.value) if isinstance(node, ast.Attribute) else getattr(node, "id", "") in MODULES_IN_CODE


RULES: dict[type, Callable[[Any, ast.AST], Iterable[ast.AST]]] = {
    ast.AugAssign: lambda node, parent: [ast.AugAssign(node.target, other(), node.value) for other in OPERATORS[type(node.op)]],
    ast.UnaryOp: lambda node, parent: [node.operand],
    ast.BoolOp: lambda node, parent: [ast.BoolOp(OTHER_WORDS[type(node.op)](), node.values), *node.values],
    ast.IfExp: lambda node, parent: [node.body, node.orelse],
    ast.Tuple: lambda node, parent: [ast.Tuple(parts, node.ctx) for parts in _exchanged(node.elts)
                                     if isinstance(node.ctx, ast.Load)],
    ast.BinOp: _of_operation, ast.Compare: _of_comparison, ast.Constant: _of_constant, ast.Subscript: _of_index,
    ast.Attribute: _of_field, ast.Call: _of_call}
"""What may stand in the place of a node, by its kind, from the node and its parent."""


# -- the mutants of a target -------------------------------------------------------------------------------------------

def sites(statement: ast.stmt) -> list[tuple[int, ast.AST]]:
    """Every node of a statement that may be changed, by the number of its place, with what may stand there instead."""
    held = [(parent, _held(parent, field, i)) for parent, field, i in _places(statement)]
    return [(number, replacement) for number, (parent, node) in enumerate(held) if type(node) in RULES
            for replacement in RULES[type(node)](node, parent)]


def _places(node: ast.AST) -> Iterator[Place]:
    """Where every node of a statement stands that may be changed: parent, field, and number in a list."""
    for name, value in ast.iter_fields(node):
        if not _left_alone(node, name):
            for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST) and not _no_arithmetic(child):
                    yield node, name, i
                    yield from _places(child)


def _left_alone(node: ast.AST, field: str) -> bool:
    """Annotations, decorators, contexts, and the condition of an error."""
    only_raises = isinstance(node, ast.If) and field == "test" and all(isinstance(part, ast.Raise) for part in node.body)
    return field in ("annotation", "returns", "decorator_list", "items", "ctx", "op", "ops") or only_raises


def _no_arithmetic(node: ast.AST) -> bool:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    fixed = isinstance(node, ast.keyword) and node.arg in FIXED_KEYWORDS
    return isinstance(node, (ast.Raise, ast.JoinedStr)) or docstring or fixed


def _held(parent: ast.AST, field: str, i: int | None) -> Any:
    return getattr(parent, field) if i is None else getattr(parent, field)[i]


def _mutant(module: str, target: str, statement: ast.stmt, number: int, replacement: ast.AST) -> Mutant:
    changed = copy.deepcopy(statement)
    parent, field, i = list(_places(changed))[number]
    old = _held(parent, field, i)
    line = getattr(old, "lineno", getattr(parent, "lineno", statement.lineno))
    new = ast.copy_location(copy.deepcopy(replacement), old)
    if i is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[i] = new
    both = [ast.unparse(tree).splitlines() for tree in (statement, changed)]
    before, after = next((lines for lines in zip(*both) if lines[0] != lines[1]), ("", ""))
    return Mutant(module, target, line, before.strip(), after.strip(), ast.fix_missing_locations(changed))


def drawn(modules: tuple[str, ...], *, seed: int, count: int) -> tuple[list[Mutant], int]:
    """`count` mutants, as many of each target as of every other as far as there are enough; and how many there are in all."""
    rng, found = random.Random(seed), {}
    pools = [(module, target, statement, sites(statement)) for module in modules for target, statement in targets(module).items()]
    total = sum(len(pool) for *_, pool in pools)
    for *_, pool in pools:
        rng.shuffle(pool)
    while len(found) < count and any(pool for *_, pool in pools):
        rng.shuffle(pools)
        for module, target, statement, pool in pools:
            while pool and len(found) < count:
                mutant = _mutant(module, target, statement, *pool.pop())
                key = module, target, ast.dump(mutant.statement)
                if key not in found and ast.dump(mutant.statement) != ast.dump(statement):
                    found[key] = mutant
                    break
    order = {module: i for i, module in enumerate(modules)}
    return sorted(found.values(), key=lambda mutant: (order[mutant.module], mutant.line, mutant.after)), total


def rewritten(module: str, target: str, before: str, after: str) -> Mutant:
    """A mutant by the text of its target: `before` stands there exactly once."""
    statement = targets(module)[target]
    text = ast.unparse(statement)
    if text.count(before) != 1:
        raise ValueError(f"{module}.{target}: expected {before!r} once, found it {text.count(before)} times in\n{text}")
    return Mutant(module, target, statement.lineno, before, after, ast.parse(text.replace(before, after)).body[0])


# -- in the place of the right code ------------------------------------------------------------------------------------

def changed(mutant: Mutant) -> Any:
    """What a mutant's statement makes of its name.   Raises: whatever that raises."""
    namespace = dict(vars(_loaded(mutant.module)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(ast.Module([mutant.statement], []), f"mutant of {mutant.module}", "exec"), namespace)
    return namespace[mutant.target.rpartition(".")[2]]


@contextmanager
def in_place(mutant: Mutant, wrong: Any) -> Iterator[None]:
    """The mutant's code in the function object, or its number wherever the constant is bound, until the end of the block."""
    name, right = mutant.target.rpartition(".")[2], function_of(mutant.module, mutant.target)
    places = [(right, key) for key in ("__code__", "__defaults__", "__kwdefaults__")] if right else _bound(mutant.module, name)
    before = [getattr(place, key) for place, key in places]
    try:
        for place, key in places:
            setattr(place, key, getattr(inspect.unwrap(getattr(wrong, "fget", wrong)), key) if right else wrong)
        yield
    finally:
        for (place, key), value in zip(places, before):
            setattr(place, key, value)


def _bound(module: str, name: str) -> list[tuple[Any, str]]:
    """Where the package knows a constant, by its own name or, for what is no small integer, by another."""
    value = getattr(_loaded(module), name)
    return [(place, key) for key_of, place in list(sys.modules.items()) if key_of.startswith("refdpm.")
            for key, member in list(vars(place).items()) if member is value and (key == name or not isinstance(value, int))]
