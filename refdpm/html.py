"""What the pages of this package are made of: elements whose text is escaped, one skeleton, one stylesheet.

A page is one file that loads nothing and needs no script.  It is XHTML too, so that any XML parser reads it.
"""

import html
import re

# what XML forbids and a terminal takes for a command
UNFIT = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COUNTED = re.compile(r"… \((\d+) characters in all\)")


def shortened(text: str, longest: int) -> str:
    """The beginning of a text that is longer than so many characters, up to the end of a word in its second half; and "…"."""
    beginning = text[:longest]
    words = beginning.rpartition(" ")[0]
    return text if len(text) <= longest else (words if 2 * len(words) > longest else beginning) + "…"


def length_in_all(text: str) -> int:
    """How many characters a text has, or had before it was cut, where it says so."""
    counted = _COUNTED.search(text)
    return int(counted[1]) if counted else len(text)


class Markup(str):
    """Text that is HTML already."""


def escaped(content: str) -> Markup:
    """Text as HTML; Markup stays as it is."""
    return content if isinstance(content, Markup) else Markup(html.escape(UNFIT.sub("\ufffd", content)))


def joined(*parts: str) -> Markup:
    """One after the other."""
    return Markup("".join(map(escaped, parts)))


def tag(element: str, /, *content: str, **attributes: str | float) -> Markup:
    """An element.  `class_` stands for class and `aria_label` for aria-label; text that is no Markup is escaped."""
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"' for key, value in attributes.items())
    return Markup(f"<{element}{said}>{joined(*content)}</{element}>") if content else Markup(f"<{element}{said}/>")


def page(title: str, *body: str, generator: str, style: str) -> bytes:
    """A whole page; `generator` says near its beginning who wrote it, `style` what is its own in how it looks."""
    head = tag("head", tag("meta", charset="utf-8"), tag("meta", name="generator", content=generator),
               tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("title", title), tag("style", Markup(STYLE + style)))
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body), lang='en')}\n".encode()


STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2024; --soft: #5c6670; --line: #d8dde3; --field: #f4f6f8;
  --good: #17703a; --bad: #b3261e; --open: #8a5a00; --link: #0b57d0 }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e3e7eb; --soft: #9aa5b1; --line: #343b43; --field: #1e2329;
  --good: #56c27d; --bad: #ff8a80; --open: #e0b050; --link: #8ab4f8 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
h1, h2, h3, h4 { line-height: 1.25; margin: 1.8em 0 .5em; overflow-wrap: anywhere }
h1 { margin-top: 0; font-size: 1.6rem }
a { color: var(--link) }
code, pre, .number { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .875em }
pre { background: var(--field); padding: .6rem .8rem; margin: .6rem 0; border-radius: 6px }
dl { display: grid; grid-template-columns: 8rem 1fr; gap: .35rem 1rem; margin: .6rem 0 }
dt, .soft { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0 }
summary { cursor: pointer }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
:target { background: var(--field); scroll-margin-top: 1rem }
@media (max-width: 46rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .5rem } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --field: #fff; --link: #000 } }
"""
