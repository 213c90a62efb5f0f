"""Single edits of somebody's source, made by a program: what a hand slips at when it writes a formula.

An edit replaces one node of the syntax tree of one function: an operator exchanged, an operand dropped, a number or an index
changed by one, a root, square or logarithm dropped, an argument of the function taken for another, two arguments of a call
exchanged, a slice or a pad shifted, a sign, a mean for a sum, a call dropped. Defaults, annotations, texts and what raises
errors are left as they are.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
import ast
import copy
import random

EXCHANGED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Lt: ast.LtE,
    ast.LtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.MatMult: ast.Mult}
OTHER_CALLS = {"mean": "sum", "sum": "mean", "min": "max", "maximum": "minimum", "minimum": "maximum", "ones_like": "zeros_like",
               "rows": "columns", "columns": "rows", "cumprod": "cumsum"}
ELEMENTARY = ("sqrt", "rsqrt", "log", "exp", "log1p", "expm1", "cos")
MODULES = ("torch", "np", "math", "F", "nn", "self", "special")
KEPT_CALLS = ("len", "range", "reversed", "int", "float", "super", "asarray", "as_tensor", "tensor", "array", "arange", "list",
              "type")
KEPT_METHODS = ("items", "dim", "numel", "size", "to", "append", "register_buffer", "split", "view", "reshape", "long")


class Edit(NamedTuple):
    """What was changed where: the kind of slip, the function, its line, the line before and after, and the whole source after."""

    kind: str
    function: str
    line: int
    before: str
    after: str
    source: str


class _Site(NamedTuple):
    """A place in the tree, by its number in the order of `_children`, with what may stand there instead."""

    function: str
    number: int
    kind: str
    new: ast.AST


def drawn(source: str, functions: set[str], seed: int) -> Iterator[Edit]:
    """Edits of the functions named ("f", "Class.f"), in an order that the seed draws: one of each function, then another."""
    rng, tree = random.Random(seed), ast.parse(source)
    pools = []
    for name, statement in functions_of(tree):
        if name in functions:
            pools.append((statement, _one_of_each_kind(list(_sites(name, statement)), rng)))
    seen = {ast.unparse(tree)}
    while any(pool for _, pool in pools):
        rng.shuffle(pools)
        for statement, pool in pools:
            edit = _first_new(tree, statement, pool, seen)
            if edit is not None:
                yield edit


def _one_of_each_kind(sites: list[_Site], rng: random.Random) -> list[_Site]:
    """The sites in an order that is drawn: read from its end, one of each kind of slip, then another of each."""
    rng.shuffle(sites)
    before: dict[str, int] = {}
    places = []
    for site in sites:
        before[site.kind] = before.get(site.kind, 0) + 1
        places.append((-before[site.kind], rng.random()))
    return [site for _, site in sorted(zip(places, sites), key=lambda pair: pair[0])]


def functions_of(tree: ast.Module) -> list[tuple[str, ast.FunctionDef]]:
    """The functions and methods of a module, by name; what is inside of one belongs to it."""
    found = [(one.name, one) for one in tree.body if isinstance(one, ast.FunctionDef)]
    classes = [one for one in tree.body if isinstance(one, ast.ClassDef)]
    return found + [(f"{one.name}.{part.name}", part) for one in classes for part in one.body
                    if isinstance(part, ast.FunctionDef)]


def _first_new(tree: ast.Module, statement: ast.FunctionDef, pool: list[_Site], seen: set[str]) -> Edit | None:
    while pool:
        site = pool.pop()
        changed = copy.deepcopy(tree)
        place = dict(functions_of(changed))[site.function]
        parent, field, i = list(_children(place))[site.number]
        old, new = _held(parent, field, i), ast.copy_location(copy.deepcopy(site.new), _held(parent, field, i))
        if i is None:
            setattr(parent, field, new)
        else:
            getattr(parent, field)[i] = new
        source = ast.unparse(ast.fix_missing_locations(changed))
        if source not in seen:
            seen.add(source)
            before, after = _lines_that_differ(ast.unparse(tree), source)
            return Edit(site.kind, site.function, getattr(old, "lineno", statement.lineno), before, after, source)
    return None


def _lines_that_differ(before: str, after: str) -> tuple[str, str]:
    pairs = zip(before.splitlines(), after.splitlines())
    return next(((one.strip(), other.strip()) for one, other in pairs if one != other), ("", ""))


def _children(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Where every node stands that may be changed: parent, field, and number in a list."""
    for name, value in ast.iter_fields(node):
        if name in ("args", "annotation", "returns", "decorator_list", "ctx", "op", "ops", "targets", "target") and not (
                name == "args" and isinstance(node, ast.Call)):
            continue
        for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _left_alone(child):
                yield node, name, i
                yield from _children(child)


def _left_alone(node: ast.AST) -> bool:
    holds_text = any(isinstance(getattr(one, "value", None), str) for one in ast.walk(node))
    text = isinstance(node, (ast.Expr, ast.Compare)) and holds_text
    of_type = isinstance(node, ast.keyword) and node.arg in ("dtype", "device", "keepdim", "keepdims")
    return isinstance(node, (ast.Raise, ast.JoinedStr, ast.Global)) or text or of_type


def _held(parent: ast.AST, field: str, i: int | None) -> Any:
    return getattr(parent, field) if i is None else getattr(parent, field)[i]


def _sites(name: str, statement: ast.FunctionDef) -> Iterator[_Site]:
    arguments = [one.arg for one in statement.args.args if one.arg != "self"]
    for number, (parent, field, i) in enumerate(_children(statement)):
        for kind, new in _changes(_held(parent, field, i), parent, arguments):
            yield _Site(name, number, kind, new)


def _changes(node: Any, parent: ast.AST, arguments: list[str]) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.BinOp):
        yield from _of_operation(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "sign", node.operand
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in EXCHANGED:
        yield "operator exchanged", ast.Compare(node.left, [EXCHANGED[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield from (("number changed by one", ast.Constant(node.value + by)) for by in (1, -1))
    elif isinstance(node, ast.Name) and node.id in arguments and not _is_called(node, parent):
        yield from (("argument exchanged", ast.Name(other, ast.Load())) for other in arguments if other != node.id)
    elif isinstance(node, ast.Subscript):
        yield from _of_index(node)
    elif isinstance(node, ast.Tuple) and isinstance(parent, ast.Call) and len(node.elts) == 2:
        yield "slice or pad shifted", ast.Tuple(node.elts[::-1], ast.Load())
    elif isinstance(node, ast.Call):
        yield from _of_call(node)


def _of_operation(node: ast.BinOp) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.op, ast.Pow):
        yield "root, square or log dropped", node.left
        return
    if type(node.op) in EXCHANGED:
        yield "operator exchanged", ast.BinOp(node.left, EXCHANGED[type(node.op)](), node.right)
    yield "operand dropped", node.left
    yield "operand dropped", ast.UnaryOp(ast.USub(), node.right) if isinstance(node.op, ast.Sub) else node.right


def _of_index(node: ast.Subscript) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.slice, ast.Name):
        yield from (("index changed by one", ast.Subscript(node.value, ast.BinOp(node.slice, by(), ast.Constant(1)), node.ctx))
                    for by in (ast.Add, ast.Sub))
    if isinstance(node.slice, ast.Slice) and (node.slice.lower is None) != (node.slice.upper is None):
        last = ast.UnaryOp(ast.USub(), ast.Constant(1))
        other = ast.Slice(ast.Constant(1)) if node.slice.lower is None else ast.Slice(None, last)
        yield "slice or pad shifted", ast.Subscript(node.value, other, node.ctx)


def _of_call(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    method = isinstance(node.func, ast.Attribute) and not _is_module(node.func.value)
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if name in OTHER_CALLS and isinstance(node.func, ast.Attribute):
        func = ast.Attribute(node.func.value, OTHER_CALLS[name], ast.Load())
        kind = "mean for sum" if name in ("mean", "sum") else "another call"
        yield kind, ast.Call(func, node.args, node.keywords)
    dropped = "root, square or log dropped" if name in ELEMENTARY else "call dropped"
    if method and name not in KEPT_METHODS:
        yield dropped, node.func.value
    elif not method and len(node.args) == 1 and name not in KEPT_CALLS and not isinstance(node.args[0], ast.GeneratorExp):
        yield dropped, node.args[0]
    for i in range(len(node.args) - 1):
        if not any(isinstance(one, (ast.Starred, ast.Lambda)) for one in node.args[i:i + 2]):
            args = [*node.args[:i], node.args[i + 1], node.args[i], *node.args[i + 2:]]
            yield "arguments of a call exchanged", ast.Call(node.func, args, node.keywords)


def _is_called(node: ast.AST, parent: ast.AST) -> bool:
    return isinstance(parent, ast.Call) and parent.func is node


def _is_module(node: Any) -> bool:
    return _is_module(node.value) if isinstance(node, ast.Attribute) else getattr(node, "id", "") in MODULES
