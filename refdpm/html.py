"""What the pages of this package are made of: elements whose text is escaped, one skeleton, and the stylesheet of reports.

A page is one file that loads nothing and needs no script.  It is XHTML too, so that any XML parser reads it.
"""

import html
import re

# what XML forbids and a terminal takes for a command
UNFIT = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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


def page(title: str, *body: str, generator: str, style: str | None = None) -> bytes:
    """A whole page; `generator` says near its beginning who wrote it, `style` how it looks if not as reports do."""
    head = tag("head", tag("meta", charset="utf-8"), tag("meta", name="generator", content=generator),
               tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("title", title), tag("style", Markup(style or STYLE)))
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body), lang='en')}\n".encode()


STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2024; --soft: #5c6670; --line: #d8dde3; --field: #f4f6f8;
  --good: #17703a; --bad: #b3261e; --open: #8a5a00; --link: #0b57d0 }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e3e7eb; --soft: #9aa5b1; --line: #343b43; --field: #1e2329;
  --good: #56c27d; --bad: #ff8a80; --open: #e0b050; --link: #8ab4f8 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1, h2, h3 { line-height: 1.25; margin: 1.8em 0 .5em; overflow-wrap: anywhere }
h1 { margin-top: 0; font-size: 1.6rem }
section + section { border-top: 1px solid var(--line); margin-top: 3rem; padding-top: 2rem }
a { color: var(--link) }
code, pre, .number { font-family: ui-monospace, monospace; font-size: .875em }
pre, code { overflow-wrap: anywhere; white-space: pre-wrap }
pre { background: var(--field); padding: .6rem .8rem; margin: 0; border-radius: 6px }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem .45rem 0; border-top: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600; border-top: 0 }
dl { display: grid; grid-template-columns: 8rem 1fr; gap: .35rem 1rem; margin: .6rem 0 }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0 }
summary { cursor: pointer }
article { border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: 6px; padding: .2rem 1rem .8rem;
  margin: 1rem 0 }
article h3 { margin: .6em 0 }
.soft { color: var(--soft) }
.good { color: var(--good) }
.bad { color: var(--bad) }
.open { color: var(--open) }
.badge { display: inline-block; border: 1px solid currentColor; border-radius: 99px; padding: 0 .6em; margin-right: .5em;
  font-size: .85em; font-weight: 600; white-space: nowrap }
.lead { font-size: 1.1rem; border-left: 4px solid currentColor; padding: .2rem 0 .2rem .9rem }
.lead span { color: var(--ink) }
:target { background: var(--field) }
svg { display: block; max-width: 100%; height: auto; overflow: visible }
td svg { min-width: 11rem }
svg text { fill: var(--soft); font-size: 11px }
@media (max-width: 46rem) {
  body { padding: 1rem }
  dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .5rem }
  table, tbody, tr, td { display: block } thead { display: none }
  tr { border-top: 1px solid var(--line); padding: .5rem 0 } td { border: 0; padding: .1rem 0 }
  td[data-head]::before { content: attr(data-head) " "; color: var(--soft) } }
@media print { body { max-width: none; padding: 0 } article, tr { break-inside: avoid } }
"""
