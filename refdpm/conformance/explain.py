"""What `refdpm explain` says: of clauses, functions, mistakes, equations, sources, conventions, modules and words."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from typing import Any
import importlib
import inspect
import re
import textwrap

import numpy as np

from refdpm import READING_ORDER
from refdpm.conformance.adapter import Skip
from refdpm.conformance import gradients, wire
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.evidence import inputs_text, tidy
from refdpm.conformance.glossary import CONVENTIONS, ELSEWHERE, GLOSSARY, GROUPS, render
from refdpm.conformance.in_textbook import book
from refdpm.conformance.judge import BOTH, plain
from refdpm.conformance.naming import touched
from refdpm.conformance.profile import VALUES, Profile
from refdpm.conformance.report import SAYS, fields_of
from refdpm.conformance.subject import edges_for_all
from refdpm.paper import EQUATIONS, SYMBOLS, cited, code_of, symbols_in

WIDTH = 110
SHORTEST, MOST = 4, 8           # letters of a word that is looked for in texts; places that are shown
SENTENCE_END = re.compile(r"(?<!\beq\.)(?<!\beqs\.)(?<!\bsec\.)(?<=\.)\s+|\n\n")
LETTERS = {ord(letter): name for letter, name in zip("αβεπσ", ("alpha", "beta", "eps", "pi", "sigma"))}
ARGUMENT = READING_ORDER[READING_ORDER.index("schedule"):READING_ORDER.index("later")]                  # what derives the paper
# an equation is called so too
PREFIX = re.compile(r"^(eq\.|eq |eq\. |equation )(?=\d)")
VJP = ("vjp(name, args, cotangent): the gradients of the function `name` by the adapter's own automatic differentiation.  It is "
       "given the arguments of one call and one cotangent for each output, and returns a dict from arguments to gradients.")
Clauses = list[tuple[str, Quantity | Law]]


def explain(wanted: str, clauses: Clauses) -> str:
    """Everything that goes by this name, whatever the case of its letters; or the clauses whose ids begin with these parts.

    Raises: ValueError if there is nothing, with the nearest names that there are.
    """
    parts = {_folded(PREFIX.sub("", part.strip())) for part in wanted.split(BOTH)}           # two mistakes at once are printed so
    texts = [text() for name, text in entries(clauses) if _folded(name) in parts]
    if not texts or wanted.strip().upper() in GROUPS:                      # a law is a word too, and a unit a convention
        texts += _several(wanted.strip(), clauses)
    texts = texts or [theory(name) for name in book() if _folded(name.rpartition(".")[2]) in parts]
    texts = texts or [equation(number, clauses) for number in cited(wanted) if number in EQUATIONS]          # of a question
    texts = texts or _passages(wanted, clauses)
    here = next((here for there, here in ELSEWHERE.items() if _folded(there) in parts), None)
    if here and not texts:
        return f"{wanted.strip()} is the name elsewhere of what is {here} here.\n\n{explain(here, clauses)}"
    if not texts:
        raise ValueError(f"NAME: expected a clause, a function, a mistake, an equation, a convention, a module or a word, "
                         f"got {tidy(wanted, 100)!r}; {_hint(wanted, clauses) or 'refdpm explain lists what there is'}")
    return "\n\n".join(texts)


def _folded(name: str) -> str:
    """A name as it is compared: capital letters, spaces and underscores make no difference, and π may be written pi."""
    return re.sub(r"[\s_]+", " ", name.lower()).translate(LETTERS).strip()


def _several(beginning: str, clauses: Clauses) -> list[str]:
    """The functions and laws that have clauses whose ids begin so; a single one in full."""
    found = [(id, of) for id, of in clauses if f"{id}.".startswith(f"{beginning.upper().rstrip('.')}.")]
    if len({of.id for _, of in found}) == 1:
        return [clause(", ".join(id for id, _ in found), found[0][1])]
    return [functions(found) + "\n\nmore on each: python -m refdpm explain NAME"] * bool(found)


def _passages(word: str, clauses: Clauses) -> list[str]:
    """Where a word stands that is no name, in the text of the derivation, with the sentences; and the names that are like it."""
    places = ({f"refdpm.{module}": text_of(f"refdpm.{module}") for module in ARGUMENT}
              | {number: f"{one.says}\n\n{one.note}" for number, one in EQUATIONS.items()})
    begins = re.compile(rf"\b{re.escape(word)}", re.IGNORECASE)
    found = [(name, sentence) for name, text in places.items()
             if (sentence := next(filter(begins.search, SENTENCE_END.split(text)), ""))] if len(word) >= SHORTEST else []
    lines = [_wrapped(f"  {name}: {' '.join(sentence.split())}", 6) for name, sentence in found[:MOST]]
    more = [f"  and {len(found) - MOST} more"] * (len(found) > MOST)
    first = f"{word}, which is no name, stands in (python -m refdpm explain NAME has the whole text)"
    return ["\n".join(["; ".join(filter(None, [first, _hint(word, clauses)])), *lines, *more])] * bool(found)


def entries(clauses: Clauses) -> Iterator[tuple[str, Callable[[], str]]]:
    """Everything that can be asked for, with what is said of it; a name may stand for several things."""
    yield "all", partial(listing, clauses)
    yield "glossary", render
    yield "vjp", partial(_wrapped, VJP)
    yield from ((word, partial(_wrapped, f"{word}: {says}")) for words in (GLOSSARY, SYMBOLS) for word, says in words.items())
    yield "protocol", lambda: inspect.getdoc(wire) or ""
    yield from ((name, partial(text_of, name)) for name in ("refdpm", *(f"refdpm.{module}" for module in READING_ORDER)))
    for id, of in clauses:
        yield id, partial(clause, id, of)
    outputs: dict[Quantity, list[str]] = {}
    for id, of in clauses:
        if isinstance(of, Quantity) and not id.startswith("GRAD."):
            outputs.setdefault(of, []).append(id)
    yield from ((of.name, partial(clause, ", ".join(ids), of)) for of, ids in outputs.items())
    yield from ((name, partial(clause, id, of)) for id, of in clauses if isinstance(of, Law) for name in of.needs)
    yield from ((id, partial(mistake, id)) for id in SAYS)
    yield from ((number, partial(equation, number, clauses)) for number in EQUATIONS)
    sources = dict.fromkeys(name for _, of in clauses for name in of.equations if name not in EQUATIONS)
    yield from ((name, partial(source, name, clauses)) for name in sources)
    for field in VALUES:
        yield field, partial(convention, field, clauses)
        yield from ((value, partial(convention, field, clauses, value)) for value in VALUES[field] if isinstance(value, str))
    for name in book():
        yield from ((known, partial(theory, name)) for known in (name, f"refdpm.{name}", f"{name}_vjp", f"refdpm.{name}_vjp"))


def _hint(wanted: str, clauses: Clauses) -> str:
    known = {name.lower(): name for name, _ in entries(clauses)}
    near = get_close_matches(wanted.lower(), list(known), n=3, cutoff=0.6)
    return f"is {' or '.join(known[name] for name in near)} meant?" if near else ""


def _wrapped(says: str, indent: int = 2) -> str:
    return "\n".join(textwrap.wrap(says, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False))


def _indented(says: str) -> str:
    return "\n".join(textwrap.wrap(says, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))


# -- clauses and mistakes ------------------------------------------------------------------------------------------------

def clause(id: str, of: Quantity | Law) -> str:
    """A clause: what it asks for, where that is derived, on which inputs it is tried, and the mistakes it knows."""
    lines = [id, _indented(of.says), "", f"  equations  {', '.join(of.equations) or 'none of the paper'}"]
    if isinstance(of, Law):
        return "\n".join([*lines, f"  needs      {', '.join(of.needs) or 'any function'}"])
    edges = edges_for_all(of.edges)
    arguments = ", ".join(edges[0])
    lines += [f"  function   {of.name}({arguments}) → {', '.join(output.id.lower() for output in of.outputs)}{_shapes_text(of)}",
              f"  derived    {_derivation_text(of)}"]
    lines += [f"  builds on  {', '.join(of.after)}"] * bool(of.after)
    lines += [f"  gradients  {', '.join(of.arguments)}"] * bool(of.arguments)
    lines += [f"  inputs     {len(edges)} that are always tried, the first: "
              + inputs_text({name: plain(value) for name, value in edges[0].items()}), "", "  known mistakes"]
    known = [*touched(_answers_of(id, of), _first_inputs(of)), *(gradients.SLIPS if id.startswith("GRAD.") else ())]
    return "\n".join([*lines, *([f"    {mistake.id:14s} {mistake.says}" for mistake in known] or ["    none"])])


def _first_inputs(of: Quantity) -> Any:
    """Those of the first edge, in this package's own conventions."""
    return edges_for_all(of.edges)[0] | {name: getattr(Profile(), name) for name in of.choices}


def _shapes_text(of: Quantity) -> str:
    """What shape the answers to that input have."""
    try:
        with np.errstate(all="ignore"):
            shapes = [np.shape(value) for value in of.reference(_first_inputs(of))]
    except Skip:
        return ""
    return f"; of the first input below of shape {', '.join(map(str, shapes))}"


def _answers_of(id: str, of: Quantity) -> Any:
    """What the clause compares with: the value, or for a clause on gradients the pullback too."""
    if not id.startswith("GRAD."):
        return of.reference
    return lambda inputs: of.gradients(inputs, tuple(0 * value + 1 for value in of.reference(inputs)))


def _derivation_text(of: Quantity) -> str:
    """The functions of this package whose docstrings derive it."""
    places = sorted({mistake.target.removesuffix("_vjp") for mistake in touched(of.reference, _first_inputs(of))})
    return ", ".join(f"refdpm.{place}" for place in places) or "see its equations"


def mistake(id: str) -> str:
    """A known mistake: wrong → right, where it happened, and the function of this package that it is a wrong variant of."""
    known = SAYS[id]
    home = f"\n  wrong variant of  refdpm.{known.target}" if hasattr(known, "target") else ""
    return f"{id}\n  wrong → right     {known.says}\n  seen in           {known.source}{home}"


# -- the paper, and other sources ----------------------------------------------------------------------------------------

def equation(number: str, clauses: Clauses) -> str:
    """An equation of the paper, what to know about it, the code that computes it, and the clauses on it."""
    found = EQUATIONS[number]
    name = number if number.startswith("App.") else f"equation {number}"
    lines = [f"{name} of Sohl-Dickstein et al. 2015, {found.section}", _indented(found.says)]
    lines += [_indented(found.note)] if found.note else []
    symbols = symbols_in(f"{found.says} {found.note}")
    lines += [_indented(f"Symbols: {'; '.join(f'{symbol}: {says}' for symbol, says in symbols.items())}.")] if symbols else []
    code = ", ".join(f"refdpm.{place}" for place in code_of(number))
    lines += [_indented(f"code: {code}")] if code else []
    lines += [_indented(f"why: python -m refdpm explain refdpm.{module}") for module in _derived_in(number)]
    return "\n".join([*lines, _clauses_text(number, clauses)])


def _derived_in(number: str) -> list[str]:
    """The modules whose text speaks of an equation; the argument stands there."""
    return [module for module in ARGUMENT if number in cited(importlib.import_module(f"refdpm.{module}").__doc__ or "")]


def source(name: str, clauses: Clauses) -> str:
    """Where a formula is from, and the clauses that are."""
    return f"{name}: where formulas are from (the modules' docstrings have the full references)\n{_clauses_text(name, clauses)}"


def _clauses_text(name: str, clauses: Clauses) -> str:
    found = [id for id, of in clauses if name in of.equations and not id.startswith("GRAD.")]
    return _indented(f"clauses: {', '.join(found) or 'none'}")


def text_of(module: str) -> str:
    """What a module says of itself: its part of the argument, or of the package all modules in reading order."""
    return (inspect.getdoc(importlib.import_module(module)) or "").replace("**", "")


def theory(name: str) -> str:
    """A function of this package, with the beginning of its docstring."""
    module, _, function = name.rpartition(".")
    home = importlib.import_module(f"refdpm.{module}")
    found = getattr(home, function)
    text = inspect.getdoc(found) or ""
    shapes = "\n\nShapes: the value has the shape to which the arrays of the arguments are broadcast." * (
        hasattr(home, f"{function}_vjp") and "Shapes" not in text)
    return f"refdpm.{name}{inspect.signature(found)}\n" + textwrap.indent(text + shapes, "  ")


# -- conventions -----------------------------------------------------------------------------------------------------------

def convention(field: str, clauses: Clauses, value: str | None = None) -> str:
    """A convention, or one of its values, and the functions on which it bears."""
    says, values = CONVENTIONS[field]
    shown = {one: meaning for one, meaning in values.items() if value is None or one == value}
    functions = [of.name for _, of in clauses if isinstance(of, Quantity) and field in fields_of(of)]
    example = _json_text(value or next(iter(values)))
    states = f'It is inferred; --profile FILE with {{"{field}": {example}}} states it'
    alone = f'; {{"{functions[0]}.{field}": {example}}} states it for {functions[0]} alone' if functions else ""
    return "\n".join([f"{field}, a convention: {says}", *(f"  {one!s:16s} {meaning}" for one, meaning in shown.items()),
                      _indented(f"bears on {', '.join(dict.fromkeys(functions)) or 'nothing that is asked'}"),
                      _indented(f"{states}{alone}.")])


def _json_text(value: Any) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'


# -- all of it -------------------------------------------------------------------------------------------------------------

def contents(clauses: Clauses) -> str:
    """What there is: the functions by groups, with how many clauses each has; and the other names, by kinds."""
    groups: dict[str, list[tuple[str, Quantity | Law]]] = {}
    for id, of in clauses:
        if not id.startswith("GRAD."):
            groups.setdefault(id.partition(".")[0], []).append((id, of))
    lines = ["Functions that an adapter may offer, by groups, each with the number of its clauses.",
             "python -m refdpm explain GROUP    lists a group with arguments and formulas; all: every group",
             "python -m refdpm explain NAME     says more on a function, or on any of the names below", ""]
    for group, found in groups.items():
        names = dict.fromkeys(of.name for _, of in found if isinstance(of, Quantity))
        laws = [id for id, of in found if isinstance(of, Law)]
        lines += textwrap.wrap(f"{group:6s}{len(found):3d}  {GROUPS[group]}: {', '.join([*names, *laws])}", WIDTH,
                               subsequent_indent=" " * 11)
    numbers = [number for number in EQUATIONS if number.isdigit()]
    others = {"equations": f"{numbers[0]} to {numbers[-1]}; App.1 G posterior, …, of Table App.1",
              "mistakes": f"{len(SAYS)}, as {next(iter(SAYS))}; a report prints their ids", "conventions": ", ".join(VALUES),
              "words": ", ".join(dict.fromkeys([*GLOSSARY, *SYMBOLS])) + "; glossary: all of them",
              "modules": f"{len(READING_ORDER)}, as refdpm.bound; refdpm: all of them in reading order",
              "gradients": "vjp: how an adapter offers them", "other languages": "protocol"}
    return "\n".join([*lines, "", *(_wrapped(f"{kind:17s}{says}", 17) for kind, says in others.items())])


def listing(clauses: Clauses) -> str:
    """Every function that an adapter may offer, with its clauses."""
    return ("Functions that an adapter may offer; arguments are taken by name.  With t goes beta, the rates of all T steps, for\n"
            "those that ask for it; the last line has the clauses.\n\n" + functions(clauses))


def functions(clauses: Clauses) -> str:
    """The functions that these clauses are about, each with its arguments, its formula and its clauses; and the laws among them."""
    lines, seen = [], set()
    for id, of in clauses:
        says = textwrap.wrap(of.says, WIDTH, initial_indent="    ", subsequent_indent="    ")
        if isinstance(of, Quantity) and of.name not in seen and not id.startswith("GRAD."):
            seen.add(of.name)
            arguments = ", ".join(name for name in edges_for_all(of.edges)[0] if name != "beta" or of.outputs[0].kind == "table")
            lines += [f"{of.name}({arguments})", *says,
                      "    " + ", ".join([f"{of.id}.{output.id}" for output in of.outputs] + gradients.clause_ids(of))]
        elif isinstance(of, Law):
            lines += [id, *says]
    return "\n".join(lines)
