"""The JSON Schema of the test vectors, and a validator for the few keywords that it uses."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
import re

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [name for name in properties if name not in optional],
            "additionalProperties": False}


def _map(of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": of, **more}


def _list(of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, **more}


_ARRAY = {"$ref": "#/$defs/array"}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Test vectors of a diffusion model: the functions of one group, their inputs, and what they must return",
    **_object({
        "group": {"type": "string", "pattern": "^[A-Z0-9]+$"},
        "says": _TEXT,
        "schema": {"const": "schema.json"},
        "conventions": _object({"arrays": _map(_TEXT), "inputs": _map(_TEXT), "outputs": _map(_TEXT)}),
        "functions": _list({"$ref": "#/$defs/function"}, minItems=1),
        "flags": _map(_TEXT)}),
    "$defs": {
        "number": {"anyOf": [{"type": ["number", "boolean"]}, {"enum": ["Infinity", "-Infinity", "NaN"]}]},
        "array": {"anyOf": [{"$ref": "#/$defs/number"}, _list(_ARRAY)]},
        "network": _object({"weight": _ARRAY, "bias": _ARRAY, "first_t": {"type": "integer"}}),
        "network_of_levels": _object({"says": _TEXT, "centre": _ARRAY, "spread": _ARRAY, "data_at": {"type": "integer"}}),
        "input": {"anyOf": [_ARRAY, {"$ref": "#/$defs/network"}, {"$ref": "#/$defs/network_of_levels"},
                            {"type": ["string", "null"]}]},
        "function": _object({
            "name": _TEXT,
            "id": {"type": "string", "pattern": "^[A-Z0-9]+([.][A-Z0-9_.]+)?$"},
            "says": _TEXT,
            "equations": _list(_TEXT),
            "outputs": _list(_object({"id": _TEXT, "kind": _TEXT}), minItems=1),
            "tests": _list({"$ref": "#/$defs/test"}, minItems=1)}),
        "test": _object({
            "id": {"type": "integer", "minimum": 1},
            "inputs": _map({"$ref": "#/$defs/input"}),
            "outputs": _map(_ARRAY),
            "tolerance": _map(_ARRAY),
            "flags": _map(_list(_TEXT)),
            "gradients": _object({"cotangent": _map(_ARRAY), "values": _map(_ARRAY), "tolerance": _map(_ARRAY)})},
            optional=("gradients",)),
        "manifest": _object({
            "format": _TEXT, "package": _TEXT, "functions": _COUNT, "tests": _COUNT, "flags": _COUNT,
            "files": _map(_object({"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "bytes": _COUNT,
                                   "functions": _COUNT, "tests": _COUNT}, optional=("functions", "tests")))})}}

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda x: isinstance(x, dict), "array": lambda x: isinstance(x, list), "string": lambda x: isinstance(x, str),
    "boolean": lambda x: isinstance(x, bool), "null": lambda x: x is None,
    "integer": lambda x: isinstance(x, int) and not isinstance(x, bool),
    "number": lambda x: isinstance(x, (int, float)) and not isinstance(x, bool)}


def problems(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] = SCHEMA, place: str = "") -> Iterator[str]:
    """Where and how `value` departs from `schema`, whose references are looked up in `root`.

    Raises: ValueError for a keyword that this validator does not know, since a rule that is passed over is no rule.
    """
    for keyword, rule in schema.items():
        if keyword not in _RULES:
            raise ValueError(f"schema: expected keywords among {', '.join(_RULES)}, got {keyword!r}")
        yield from _RULES[keyword](value, rule, schema, root, place)


def _if(wrong: bool, place: str, expected: str, value: Any) -> Iterator[str]:
    if wrong:
        yield f"{place.lstrip('.') or 'file'}: expected {expected}, got {str(value)[:60]!r}"


def _type(value: Any, rule: Any, schema: Any, root: Any, place: str) -> Iterator[str]:
    names = rule if isinstance(rule, list) else [rule]
    return _if(not any(_TYPES[name](value) for name in names), place, " or ".join(names), value)


def _reference(value: Any, rule: str, schema: Any, root: Any, place: str) -> Iterator[str]:
    found = root
    for part in rule.removeprefix("#/").split("/"):
        found = found[part]
    return problems(value, found, root, place)


def _any_of(value: Any, rule: Any, schema: Any, root: Any, place: str) -> Iterator[str]:
    """Of several failures the one that is deepest says most."""
    found = [list(problems(value, one, root, place)) for one in rule]
    if all(found):
        yield max((one[0] for one in found), key=lambda text: len(text.split(": ")[0]))


def _properties(value: Any, rule: Any, schema: Any, root: Any, place: str) -> Iterator[str]:
    for name in rule.keys() & value.keys() if isinstance(value, dict) else ():
        yield from problems(value[name], rule[name], root, f"{place}.{name}")


def _additional(value: Any, rule: Any, schema: Any, root: Any, place: str) -> Iterator[str]:
    for name in value.keys() - schema.get("properties", {}).keys() if isinstance(value, dict) else ():
        yield from (problems(value[name], rule, root, f"{place}.{name}") if rule is not False
                    else _if(True, place, "no other properties", name))


def _required(value: Any, rule: Any, schema: Any, root: Any, place: str) -> Iterator[str]:
    for name in rule if isinstance(value, dict) else ():
        yield from _if(name not in value, place, f"the property {name!r}", "none")


def _items(value: Any, rule: Any, schema: Any, root: Any, place: str) -> Iterator[str]:
    for at, item in enumerate(value if isinstance(value, list) else ()):
        yield from problems(item, rule, root, f"{place}[{at}]")


_RULES: dict[str, Callable[[Any, Any, Any, Any, str], Iterator[str]]] = {
    "$schema": lambda *_: iter(()), "title": lambda *_: iter(()), "$defs": lambda *_: iter(()),
    "$ref": _reference, "type": _type, "anyOf": _any_of, "properties": _properties, "additionalProperties": _additional,
    "required": _required, "items": _items,
    "const": lambda x, rule, schema, root, place: _if(x != rule, place, repr(rule), x),
    "enum": lambda x, rule, schema, root, place: _if(x not in rule, place, f"one of {', '.join(map(str, rule))}", x),
    "minimum": lambda x, rule, schema, root, place: _if(_TYPES["number"](x) and x < rule, place, f"no less than {rule}", x),
    "minItems": lambda x, rule, schema, root, place: _if(isinstance(x, list) and len(x) < rule, place, f"{rule} items or more", x),
    "pattern": lambda x, rule, schema, root, place: _if(
        isinstance(x, str) and re.search(rule, x) is None, place, f"text that matches {rule}", x)}
