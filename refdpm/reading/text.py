"""From plain text to HTML: docstrings as paragraphs and formulas, code with colours, and in both every name as a link.

A docstring's indented lines, and lines whose columns are aligned, keep their form; other lines flow.  Names that mean a module or a
function, numbers of equations and ids of clauses become links, if the page has what they mean.
"""

from collections.abc import Callable, Iterator
from html import escape
from itertools import groupby
from textwrap import dedent
from typing import NamedTuple
import keyword
import re

from refdpm.paper import CITED

LABEL = re.compile(r"(Shapes|Derivation|Edge|Domain|Units|Raises|Source|Keys): ")
COLUMNS = re.compile(r"\S+ {2,}\S")                          # an entry and what is said of it
NAME = re.compile(r"`([^`\n]+)`")
CLAUSE = re.compile(r"\b[A-Z]{3,}(?:\.[A-Z][A-Z_0-9]*)+\b")
# of x_t, x_{t−1} and e^x, outside of tags and code
INDEX = re.compile(r"<code>.*?</code>|<[^>]*>|([_^])\{([^{}]+)\}|(?<=[^\s_^])([_^])(\w)(?![^\W²³])")
TOKEN = re.compile(r"""
    (?P<string> (?:\b[rbfRBF]{1,2})?(?: \"{3}.*?\"{3} | \"(?:\\.|[^\"\\\n])*\" | '(?:\\.|[^'\\\n])*'))
  | (?P<comment> \#[^\n]*)
  | (?P<name> [^\W\d]\w*(?:\.[^\W\d]\w*)*)
  | [<>&]""", re.VERBOSE | re.DOTALL)

Find = Callable[[str], str]


class Links(NamedTuple):
    """Where things are on the page; an empty string for what is not there.

    name       from a name as it is written in a module, to the id of its place
    equation   from a number
    clause     from the id of a clause, or its beginning
    """

    name: Find
    equation: Find
    clause: Find


def link(place: str, text: str) -> str:
    """`text`, which is HTML, as a link to a place of the page, if there is one."""
    return f'<a href="#{escape(place)}">{text}</a>' if place else text


# -- docstrings ----------------------------------------------------------------------------------------------------------

def prose(doc: str, links: Links) -> str:
    """A docstring as HTML."""
    return "\n".join(f"<pre>{_linked(text, links)}</pre>" if kept else f"<p>{sentences(text, links)}</p>"
                     for kept, text in _blocks(doc))


def _blocks(doc: str) -> Iterator[tuple[bool, str]]:
    """(whether its form is kept, text), one for each paragraph or each run of lines that belong together."""
    for block in re.split(r"\n\s*\n", doc.strip("\n")):
        lines = block.split("\n")
        aligned = sum(bool(COLUMNS.match(line)) for line in lines) > 1
        for kept, run in groupby(lines, key=lambda line: aligned or line.startswith("    ")):
            if kept:
                yield True, dedent("\n".join(run))
            else:
                yield from ((False, text) for text in _labelled(list(run)))


def _labelled(lines: list[str]) -> Iterator[str]:
    """Each label begins a paragraph of its own."""
    found: list[str] = []
    for line in lines:
        if found and LABEL.match(line):
            yield " ".join(found)
            found = []
        found.append(line.strip() if found else line)
    yield " ".join(found)


def sentences(text: str, links: Links) -> str:
    """Text that flows, with no paragraph around it."""
    html = LABEL.sub(r"<b>\1</b>: ", _linked(text, links))
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", re.sub(" {3,}", "\u2003", html))
    return re.sub(r"\*(\w[\w ]*)\*", r"<em>\1</em>", html)


def _linked(text: str, links: Links) -> str:
    html = NAME.sub(lambda found: link(links.name(found[1]), f"<code>{found[1]}</code>"), escape(text, quote=False))
    html = CITED.sub(lambda found: re.sub(r"\d+", lambda n: link(links.equation(n[0]), n[0]), found[0]), html)
    html = CLAUSE.sub(lambda found: link(links.clause(found[0]), found[0]), html)
    return html if _has_columns(text) else INDEX.sub(_index, html)


def _index(found: re.Match[str]) -> str:
    tag = {"_": "sub", "^": "sup"}.get(found[1] or found[3])
    return f"<{tag}>{found[2] or found[4]}</{tag}>" if tag else found[0]


def _has_columns(text: str) -> bool:
    """Whether lines stand below each other as in a table, which indices of another width would upset."""
    return sum(bool(re.search(r"\S {2,}\S", line)) for line in text.split("\n")) > 1


# -- code ----------------------------------------------------------------------------------------------------------------

def code(source: str, links: Links) -> str:
    """Python as HTML: keywords, strings and comments marked, names linked."""
    return f'<pre class="code">{TOKEN.sub(lambda found: _token(found, links), source)}</pre>'


def _token(found: re.Match[str], links: Links) -> str:
    text = escape(found[0], quote=False)
    if found.lastgroup == "name":
        return f"<i>{text}</i>" if keyword.iskeyword(text) else link(links.name(text), text)
    return f'<span class="{found.lastgroup}">{text}</span>' if found.lastgroup else text
