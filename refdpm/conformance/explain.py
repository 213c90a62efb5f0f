"""What `refdpm explain` says: of clauses, functions, mistakes, equations, sources, conventions, modules and words."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from typing import Any
import importlib
import inspect
import re
import textwrap

from refdpm import READING_ORDER
from refdpm.conformance import gradients, wire
from refdpm.conformance.chapters.quantity import Law, Quantity
from refdpm.conformance.evidence import inputs_text, tidy
from refdpm.conformance.glossary import CONVENTIONS, GLOSSARY, render
from refdpm.conformance.in_textbook import book
from refdpm.conformance.judge import BOTH, plain
from refdpm.conformance.naming import touched
from refdpm.conformance.profile import VALUES, Profile
from refdpm.conformance.report import SAYS
from refdpm.conformance.subject import bearing_on, edges_for_all
from refdpm.paper import EQUATIONS, SYMBOLS, cited, code_of, symbols_in

WIDTH = 110
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
    parts = {PREFIX.sub("", part.strip().lower()) for part in wanted.split(BOTH)}            # two mistakes at once are printed so
    texts = [text() for name, text in entries(clauses) if name.lower() in parts]
    texts = texts or _several(wanted, clauses)
    if not texts:
        raise ValueError(f"NAME: expected a clause, a function, a mistake, an equation, a convention, a module or a word, "
                         f"got {tidy(wanted, 100)!r}{_hint(wanted, clauses)}")
    return "\n\n".join(texts)


def _several(beginning: str, clauses: Clauses) -> list[str]:
    """The clauses whose ids begin so; of more than one without their mistakes, which they share."""
    found = [(id, of) for id, of in clauses if f"{id}.".startswith(f"{beginning.upper().rstrip('.')}.")]
    if len(found) == 1:
        return [clause(*found[0])]
    return [clause(id, of, briefly=True) for id, of in found] + ["known mistakes: python -m refdpm explain CLAUSE"] * bool(found)


def entries(clauses: Clauses) -> Iterator[tuple[str, Callable[[], str]]]:
    """Everything that can be asked for, with what is said of it; a name may stand for several things."""
    yield "glossary", render
    yield "vjp", partial(_wrapped, VJP)
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
    yield from ((word, partial(_wrapped, f"{word}: {says}")) for word, says in {**SYMBOLS, **GLOSSARY}.items())
    for field in VALUES:
        yield field, partial(convention, field, clauses)
        yield from ((value, partial(convention, field, clauses, value)) for value in VALUES[field] if isinstance(value, str))
    for name in book():
        yield from ((known, partial(theory, name)) for known in (name, f"refdpm.{name}", f"{name}_vjp", f"refdpm.{name}_vjp"))


def _hint(wanted: str, clauses: Clauses) -> str:
    known = {name.lower(): name for name, _ in entries(clauses)}
    near = get_close_matches(wanted.lower(), list(known), n=3, cutoff=0.5)
    return f"; is {' or '.join(known[name] for name in near)} meant?" if near else "; refdpm explain lists what there is"


def _wrapped(says: str, indent: int = 2) -> str:
    return "\n".join(textwrap.wrap(says, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False))


def _indented(says: str) -> str:
    return "\n".join(textwrap.wrap(says, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))


# -- clauses and mistakes ------------------------------------------------------------------------------------------------

def clause(id: str, of: Quantity | Law, *, briefly: bool = False) -> str:
    """A clause: what it asks for, where that is derived, on which inputs it is tried, and the mistakes it knows."""
    lines = [id, _indented(of.says), "", f"  equations  {', '.join(of.equations) or 'none of the paper'}"]
    if isinstance(of, Law):
        return "\n".join([*lines, f"  needs      {', '.join(of.needs) or 'any function'}"])
    edges = edges_for_all(of.edges)
    arguments = ", ".join(edges[0])
    lines += [f"  function   {of.name}({arguments}) → {', '.join(output.id.lower() for output in of.outputs)}",
              *([] if briefly else [f"  derived    {_derivation_text(of)}"])]
    lines += [f"  builds on  {', '.join(of.after)}"] * bool(of.after)
    lines += [f"  gradients  {', '.join(of.arguments)}"] * bool(of.arguments)
    if briefly:
        return "\n".join(lines)
    lines += [f"  inputs     {len(edges)} that are always tried, the first: "
              + inputs_text({name: plain(value) for name, value in edges[0].items()}), "", "  known mistakes"]
    known = [*touched(_answers_of(id, of), _first_inputs(of)), *(gradients.SLIPS if id.startswith("GRAD.") else ())]
    return "\n".join([*lines, *([f"    {mistake.id:14s} {mistake.says}" for mistake in known] or ["    none"])])


def _first_inputs(of: Quantity) -> Any:
    """Those of the first edge, in this package's own conventions."""
    return edges_for_all(of.edges)[0] | {name: getattr(Profile(), name) for name in of.choices}


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
    found = getattr(importlib.import_module(f"refdpm.{module}"), function)
    return f"refdpm.{name}{inspect.signature(found)}\n" + textwrap.indent(inspect.getdoc(found) or "", "  ")


# -- conventions -----------------------------------------------------------------------------------------------------------

def convention(field: str, clauses: Clauses, value: str | None = None) -> str:
    """A convention, or one of its values, and the functions on which it bears."""
    says, values = CONVENTIONS[field]
    shown = {one: meaning for one, meaning in values.items() if value is None or one == value}
    functions = [of.name for id, of in clauses if isinstance(of, Quantity) and not id.startswith("GRAD.")
                 and any(field in bearing_on(of, inputs) for inputs in edges_for_all(of.edges)[:1] or [{}])]
    example = _json_text(value or next(iter(values)))
    states = f'It is inferred; --profile FILE with {{"{field}": {example}}} states it'
    alone = f'; {{"{functions[0]}.{field}": {example}}} states it for {functions[0]} alone' if functions else ""
    return "\n".join([f"{field}, a convention: {says}", *(f"  {one!s:16s} {meaning}" for one, meaning in shown.items()),
                      _indented(f"bears on {', '.join(dict.fromkeys(functions)) or 'nothing that is asked'}"),
                      _indented(f"{states}{alone}.")])


def _json_text(value: Any) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'


# -- all of it -------------------------------------------------------------------------------------------------------------

def listing(clauses: Clauses) -> str:
    """Every function that an adapter may offer, with its clauses."""
    lines = ["Functions that an adapter may offer; arguments are taken by name.",
             "More on a function, a clause, a mistake, an equation, a convention, a module or a word:",
             "python -m refdpm explain NAME", ""]
    seen = set()
    for id, of in clauses:
        if isinstance(of, Quantity) and of.name not in seen and not id.startswith("GRAD."):
            seen.add(of.name)
            arguments = ", ".join(name for name in edges_for_all(of.edges)[0] if name != "beta" or of.outputs[0].kind == "table")
            lines += [f"{of.name}({arguments})", *textwrap.wrap(of.says, WIDTH, initial_indent="    ", subsequent_indent="    "),
                      "    " + ", ".join([f"{of.id}.{output.id}" for output in of.outputs] + gradients.clause_ids(of))]
        elif isinstance(of, Law):
            lines += [id, *textwrap.wrap(of.says, WIDTH, initial_indent="    ", subsequent_indent="    ")]
    return "\n".join([*lines, "", "for programs in other languages: protocol", "words: " + ", ".join(GLOSSARY),
                      "conventions: " + ", ".join(VALUES)])
