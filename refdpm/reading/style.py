"""How the page looks: wide and narrow, light and dark, and on paper."""

CSS = """
:root { color-scheme: light dark; --back: #fdfdfb; --text: #1d1f21; --faint: #5c6166; --line: #d9d9d4; --box: #f4f4f0;
        --link: #1257a8; --string: #35682d; --word: #7a3e9d; }
@media (prefers-color-scheme: dark) {
  :root { --back: #15171a; --text: #d9dbde; --faint: #9aa0a6; --line: #383b40; --box: #1d2024; --link: #86b6f7;
          --string: #9cc48f; --word: #c9a0e2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 1rem/1.55 Georgia, "DejaVu Serif", serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
:target { scroll-margin-top: 1rem; outline: 2px solid var(--link); outline-offset: 4px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--back); padding: .5rem; z-index: 1; }
nav.contents { padding: 1rem; font: .85rem/1.45 system-ui, "DejaVu Sans", sans-serif; border-bottom: 1px solid var(--line);
               max-height: 45vh; overflow: auto; }
nav.contents b { display: block; margin-top: .7rem; }
nav.contents div { columns: 11rem; }
nav.contents b { break-after: avoid; }
nav.contents a { display: block; padding: .05rem 0; overflow-wrap: anywhere; }
main { padding: 0 1rem 4rem; min-width: 0; }
h1, h2, h3, h4 { font-family: system-ui, "DejaVu Sans", sans-serif; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 3.5rem 0 1rem; padding-top: 1rem; border-top: 2px solid var(--line); font-size: 1.6rem; }
h3 { margin: 2.2rem 0 .6rem; color: var(--faint); font-size: 1.1rem; }
h4 { margin: 0 0 .4rem; font-size: 1rem; }
h4 small, h2 small { font-weight: normal; color: var(--faint); font-size: .8rem; }
p, ul, dl { max-width: 46rem; margin: .6rem 0; }
pre, code { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .8rem; }
pre { overflow-x: auto; line-height: 1.45; margin: .7rem 0; padding: .5rem .8rem; border-left: 3px solid var(--line); }
pre.code { background: var(--box); border: 1px solid var(--line); border-radius: 4px; }
pre.code a { color: inherit; border-bottom: 1px dotted var(--faint); }
pre.code i { color: var(--word); font-style: normal; }
.string { color: var(--string); } .comment { color: var(--faint); }
article { margin: 1.6rem 0; }
.pair > div + div { margin-top: 1rem; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0 1.5rem; }
.formula { overflow-x: auto; overflow-y: hidden; padding: .35rem 0; }
.formula math { display: inline math; font-size: 1.1rem; }
sub, sup { line-height: 0; }
dl.about dd { margin: 0 0 .4rem 1.2rem; }
dl.evidence, .equation dl { font: .82rem/1.5 system-ui, "DejaVu Sans", sans-serif; display: grid; gap: .1rem .9rem;
                            grid-template-columns: max-content 1fr; max-width: 60rem; }
dt, dt a { color: var(--faint); } dl.about a { color: var(--link); } dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--faint); font: .82rem system-ui, "DejaVu Sans", sans-serif; }
.turn { display: flex; justify-content: space-between; gap: 1rem; margin-top: 2.5rem; font: .85rem system-ui, sans-serif; }
@media (min-width: 62rem) {
  body { display: grid; grid-template-columns: 15.5rem minmax(0, 1fr); }
  nav.contents { position: sticky; top: 0; height: 100vh; max-height: none; border: 0; border-right: 1px solid var(--line); }
  nav.contents div { columns: auto; }
  main { padding: 0 2.5rem 4rem; } }
@media (min-width: 95rem) { .pair { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } .pair > div + div { margin-top: 0; } }
@media print {
  :root { color-scheme: light; --back: #fff; --text: #000; --faint: #444; --line: #bbb; --box: #fff; --link: #000; --string: #000;
          --word: #000; }
  body { display: block; font-size: 10pt; } nav.contents, .skip, .turn { display: none; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; } h2, h3, h4 { break-after: avoid; }
  details::details-content { content-visibility: visible; height: auto; } summary { display: none; } }
"""
