"""The page: a contents list, the chapters in reading order, the clauses of the kit, and its words.

Every place has an id: a module and a function their names below refdpm, an equation eq-14, a clause clause-GAU.KL.VALUE, a word
word-pair.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from html import escape
from types import ModuleType
from typing import Any
import importlib
import re

import refdpm
from refdpm import READING_ORDER, html
from refdpm.conformance.chapters.quantity import Law
from refdpm.conformance.glossary import GLOSSARY
from refdpm.gradcheck import worked
from refdpm.paper import cited
from refdpm.reading.evidence import Evidence, gathered
from refdpm.reading.source import Module, Part, chapters
from refdpm.reading.text import Links, code, link, prose, sentences

MANY = 6                                                 # entries that are listed without being folded in
WORKED = "gradcheck.worked"                               # the module whose result is printed too
HOW_TO_READ = """Every chapter is a module.  Its text says what is derived.  Its functions stand beside their adjoints (`f` and
`f_vjp`), and below each stands what speaks for it: the equations of the paper, the clauses that judge it, the tests, how far the
adjoint is from the derivative on one case, and how much its values lose by rounding.  From `gradcheck` on the code is folded in."""
EVIDENCE = READING_ORDER.index("gradcheck")               # from here on code is folded in


def page(tell: Callable[[str], None] = lambda text: None) -> bytes:
    """The whole page.   `tell` is told what takes long."""
    return Page(gathered(tell)).html()


def _module(name: str) -> ModuleType:
    """A module below refdpm; an empty one if it needs an extra that is not installed."""
    try:
        return importlib.import_module(f"refdpm.{name}")
    except ModuleNotFoundError:
        return ModuleType(name)


class Page:
    """What the parts of the page need of each other: its chapters, the evidence, which places there are, and who cites what."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence, self.chapters = evidence, chapters()
        self.modules = {module.name: module for several in self.chapters.values() for module in several}
        self.places = set(self.modules) | {f"{module.name}.{part.name}" for module in self.modules.values() for part in module.parts
                                           if part.kind in ("function", "class")}
        self.cited: dict[str, list[str]] = defaultdict(list)
        for module in self.modules.values():
            self._note(module.name, module.doc)
            for part in module.parts:
                self._note(f"{module.name}.{part.name}", part.doc)

    def _note(self, place: str, doc: str) -> None:
        for number in dict.fromkeys(cited(doc)):
            self.cited[number].append(place)

    # -- links -----------------------------------------------------------------------------------------------------------

    def links(self, module: str) -> Links:
        """Links as they are meant in a module."""
        known = _module(module)
        return Links(lambda name: self._place(name, module, known), self._equation, self._clause)

    def _place(self, name: str, module: str, known: ModuleType) -> str:
        member: Any = known
        for part in name.split("."):
            member = getattr(member, part, None)
        home = f"{getattr(member, '__module__', '')}.{getattr(member, '__qualname__', '')}" if callable(member) else ""
        imported = member.__name__ if isinstance(member, ModuleType) else home
        above = module.rpartition(".")[0]
        for place in (imported.removeprefix("refdpm."), f"{module}.{name}", f"{above}.{name}", name.removeprefix("refdpm.")):
            if place in self.places:
                return place
        return ""

    def _equation(self, number: str) -> str:
        return _id_of_equation(number) if number in self.evidence.equations else ""

    def _clause(self, id: str) -> str:
        return next((f"clause-{clause}" for clause in self.evidence.clauses if clause.startswith(id)), "")

    def _to(self, places: Iterable[str]) -> str:
        return ", ".join(link(place, f"<code>{place}</code>") for place in places if place in self.places)

    def _to_equations(self, numbers: Iterable[str]) -> str:
        return ", ".join(link(self._equation(number), escape(number)) for number in numbers)

    def _to_clauses(self, ids: Iterable[str]) -> str:
        return _several([link(f"clause-{id}", id) for id in ids], "clauses")

    # -- the whole -------------------------------------------------------------------------------------------------------

    def html(self) -> bytes:
        """The page."""
        title = "refdpm: diffusion probabilistic models, derived and checked"
        body = "\n".join([
            '<a class="skip" href="#main">Skip the contents</a>', self._contents(), f'<main id="main">\n<h1>{title}</h1>',
            *self._introduction(), *(self._chapter(entry, modules) for entry, modules in self.chapters.items()),
            self._all_clauses(), _words(), "</main>"])
        return html.page(title, html.Markup(body), generator="refdpm read", style=STYLE)

    def _contents(self) -> str:
        groups = "\n".join(f"<b>{heading}</b>\n" + "\n".join(link(name, name) for names, _ in entries for name in names)
                           for heading, entries in _groups())
        tables = "\n".join(link(name, name) for name in ("equations", "clauses", "words"))
        return f'<nav class="contents" aria-label="Contents" tabindex="0"><div>\n{groups}\n<b>tables</b>\n{tables}\n</div></nav>'

    def _introduction(self) -> Iterator[str]:
        """What the package says of itself, how to read the page, and what each chapter is about."""
        yield prose((refdpm.__doc__ or "").partition("\n\nthe ground\n")[0], self.links("paper"))
        yield prose(HOW_TO_READ, self.links("paper"))
        for heading, entries in _groups():
            rows = "\n".join(f"<dt>{', '.join(link(name, name) for name in names)}</dt><dd>{self._says(says)}</dd>"
                             for names, says in entries)
            yield f'<h3>{heading}</h3>\n<dl class="about">\n{rows}\n</dl>'

    def _chapter(self, entry: str, modules: list[Module]) -> str:
        number = READING_ORDER.index(entry)
        before, after = (READING_ORDER[n] if 0 <= n < len(READING_ORDER) else "" for n in (number - 1, number + 1))
        turn = (f'<p class="turn"><span>{link(before, f"← {before}") if before else ""}</span>'
                f'<span>{link(after, f"{after} →") if after else ""}</span></p>')
        return "\n".join(["<section>", *(self._module(module, entry) for module in modules), turn, "</section>"])

    def _module(self, module: Module, entry: str) -> str:
        links = self.links(module.name)
        tag = "h2" if module.name == entry else "h3"
        parts = [f'<{tag} id="{module.name}">{module.name}</{tag}>', prose(module.doc, links)]
        if module.name == "paper":
            parts.append(self._equations())
        if module.name == WORKED:
            parts.append(f"<p>It prints:</p>\n<pre>{escape(worked.check(), quote=False)}</pre>")
        folded = READING_ORDER.index(entry) >= EVIDENCE or module.name == "paper"
        own = {part.name for part in module.parts if part.kind == "function"}
        for part in module.parts:
            adjoint = next((other for other in module.parts if other.name == f"{part.name}_vjp"), None)
            if not (part.name.endswith("_vjp") and part.name.removesuffix("_vjp") in own):
                parts.append(self._part(module, part, adjoint, links, folded=folded and module.name != WORKED))
        return "\n".join(parts)

    # -- one part of a module --------------------------------------------------------------------------------------------

    def _part(self, module: Module, part: Part, adjoint: Part | None, links: Links, *, folded: bool) -> str:
        if part.kind == "heading":
            return f"<h3>{escape(part.name)}</h3>"
        if part.kind == "lines":
            text = code(part.code, links)
            return _folded(text, "imports, constants") if folded or "import" in part.code else text
        columns = [self._column(module, one, links, folded=folded) for one in (part, adjoint) if one]
        if len(columns) == 1:
            return f"<article>\n{columns[0]}\n</article>"
        return '<article class="pair">\n' + "\n".join(f"<div>\n{column}\n</div>" for column in columns) + "\n</article>"

    def _column(self, module: Module, part: Part, links: Links, *, folded: bool) -> str:
        place, text = f"{module.name}.{part.name}", code(part.code, links)
        formula = "\n".join(f'<div class="formula">{mathml}</div>' for mathml in self.evidence.formulas.get(place, ()))
        return "\n".join(filter(None, [
            f'<h4 id="{place}">{part.name}</h4>', prose(part.doc, links) if part.doc else "",
            formula, _folded(text, "code") if folded else text, self._evidence(place)]))

    def _evidence(self, place: str) -> str:
        """What speaks for a function."""
        found, pair = self.evidence, place.removesuffix("_vjp")
        numbers = [number for number, row in found.equations.items() if place in row["code"]]
        gap, units = found.gaps.get(pair) if place != pair else None, found.units.get(place)
        return _list("evidence", {
            "equations": self._to_equations(numbers),
            _word("judged by", "clause"): self._to_clauses(found.judged.get(place, ())),
            "tests": _tests(test for number in numbers for test in found.equations[number]["tests"]),
            _word("adjoint gap", "gap"): "" if gap is None else f"{gap:.1e}, the worst of its arguments, on one case",
            _word("rounding", "scale"): "" if units is None else f"{units:.2f} u·scale, the worst of its values, by the textbook"})

    # -- tables ----------------------------------------------------------------------------------------------------------

    def _equations(self) -> str:
        """Every equation of the paper, with links to what computes it, derives it, and judges it."""
        found = ['<h3 id="equations">the equations</h3>']
        for number, row in self.evidence.equations.items():
            clauses = [id for id, of in self.evidence.clauses.items() if number in of.equations]
            told = [place for place in self.cited.get(number, ()) if place not in row["code"]]
            rows = {"says": self._says(row["says"]), "note": self._says(row["note"]), "code": self._to(row["code"]),
                    "derived or used in": self._to(told), "judged by": self._to_clauses(clauses),
                    "tests": _tests(row["tests"])}
            heading = f'<h4>{escape(_name_of_equation(number))} <small>{row["section"]}, {row["status"]}</small></h4>'
            found.append(f'<article id="{_id_of_equation(number)}">\n{heading}\n{_list("evidence", rows)}\n</article>')
        return "\n".join(found)

    def _says(self, text: str) -> str:
        return sentences(text, self.links("paper"))

    def _all_clauses(self) -> str:
        found = ['<section>\n<h2 id="clauses">clauses</h2>\n<p>What the kit asks of an implementation, one answer at a time.</p>']
        judges = defaultdict(list)
        for place, ids in self.evidence.judged.items():
            for id in ids:
                judges[id].append(place)
        for id, of in self.evidence.clauses.items():
            asks = "" if isinstance(of, Law) else f"<code>{of.name}</code>"
            rows = {"says": self._says(of.says), "asks for": asks,
                    "from": self._to_equations(of.equations), "compares with": self._to(judges[id])}
            found.append(f'<article id="clause-{id}">\n<h4>{id}</h4>\n{_list("evidence", rows)}\n</article>')
        return "\n".join([*found, "</section>"])


def _words() -> str:
    rows = "\n".join(f'<dt id="word-{escape(word.replace(" ", "-"))}">{word}</dt><dd>{escape(says, quote=False)}</dd>'
                     for word, says in GLOSSARY.items())
    return f'<section>\n<h2 id="words">words</h2>\n<dl class="evidence">\n{rows}\n</dl>\n</section>'


def _groups() -> Iterator[tuple[str, list[tuple[list[str], str]]]]:
    """The package's table of contents: (heading, entries), each of some names and what they are about."""
    text = refdpm.__doc__ or ""
    table = text[text.index("the ground\n"):text.index("Nothing is imported here")]
    for heading, block in re.findall(r"^(\w[\w ]*)\n((?: {4}.*\n)+)", table, flags=re.MULTILINE):
        found = re.findall(r"((?: {4}`.*\n)+)((?: {8}.*\n)+)", block)
        yield heading, [(re.findall(r"`([\w.]+)`", names), " ".join(says.split())) for names, says in found]


def _tests(tests: Iterable[str]) -> str:
    return _several([f"<code>tests/{escape(test)}</code>" for test in dict.fromkeys(tests)], "tests")


def _several(entries: list[str], called: str) -> str:
    """Entries with commas between them; folded in, if they are many."""
    text = ", ".join(entries)
    return text if len(entries) <= MANY else _folded(text, f"{len(entries)} {called}")


def _word(text: str, of: str) -> str:
    """Text that leads to a word of the glossary."""
    return link(f"word-{of}", text)


def _list(kind: str, rows: dict[str, str]) -> str:
    entries = "\n".join(f"<dt>{name}</dt><dd>{says}</dd>" for name, says in rows.items() if says)
    return f'<dl class="{kind}">\n{entries}\n</dl>' if entries else ""


def _folded(html: str, called: str) -> str:
    return f"<details>\n<summary>{called}</summary>\n{html}\n</details>"


def _id_of_equation(number: str) -> str:
    return "eq-" + number.replace(" ", "-")


def _name_of_equation(number: str) -> str:
    return number if number.startswith("App.") else f"equation {number}"


# -- how it looks ----------------------------------------------------------------------------------------------------------

STYLE = """
a { text-decoration: none } a:hover { text-decoration: underline }
main { padding: 1.5rem 1rem 4rem; min-width: 0 }
p, ul, dl.about { max-width: 46rem }
h2 { border-top: 2px solid var(--line); padding-top: 1rem; font-size: 1.5rem } h4 { margin-top: 0 }
h4 small { font-weight: normal; color: var(--soft) }
pre { overflow-x: auto; line-height: 1.45; font-size: .8rem }
pre a { color: inherit; border-bottom: 1px dotted var(--soft) } pre i { color: var(--open); font-style: normal }
.string { color: var(--good) } .comment, summary { color: var(--soft) } sub, sup { line-height: 0 }
article { margin: 1.6rem 0 } .pair { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1rem 1.5rem }
.formula { overflow-x: auto; overflow-y: hidden; padding: .35rem 0 } .formula math { display: inline math; font-size: 1.1rem }
dl.about { display: block } dl.about dd { margin: 0 0 .4rem 1.2rem } dl.evidence { font-size: .82rem; max-width: 60rem }
summary, .turn { font-size: .85rem } .turn { display: flex; justify-content: space-between; gap: 1rem; margin-top: 2.5rem }
.skip { position: absolute; left: -99rem }
.skip:focus { left: 1rem; top: 1rem; background: var(--paper); padding: .5rem; z-index: 1 }
nav.contents { padding: 1rem; font-size: .85rem; border-bottom: 1px solid var(--line); max-height: 45vh; overflow: auto }
nav.contents div { columns: 11rem } nav.contents a { display: block; overflow-wrap: anywhere }
nav.contents b { display: block; margin-top: .7rem; break-after: avoid }
@media (min-width: 62rem) {
  body { display: grid; grid-template-columns: 15.5rem minmax(0, 1fr) }
  nav.contents { position: sticky; top: 0; height: 100vh; max-height: none; border: 0; border-right: 1px solid var(--line) }
  nav.contents div { columns: auto } main { padding: 1.5rem 2.5rem 4rem } }
@media (min-width: 95rem) { .pair { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) } }
@media print {
  body { display: block; font-size: 10pt } nav.contents, .skip, .turn { display: none }
  details::details-content { content-visibility: visible; height: auto }
  pre { white-space: pre-wrap; overflow-wrap: anywhere } h2, h3, h4 { break-after: avoid } }
"""
