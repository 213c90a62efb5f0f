"""The page to read: well-formed, complete, self-contained, and every link lands."""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

import refdpm
from refdpm import cli, gradcheck, paper
from refdpm.conformance import accuracy, cases, in_textbook
from refdpm.reading import text

PACKAGE = Path(refdpm.__file__).parent
THEORY = refdpm.READING_ORDER[:refdpm.READING_ORDER.index("gradcheck")]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OURS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page, written by the command."""
    path = tmp_path_factory.mktemp("page") / "refdpm.html"
    assert cli.main(["read", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def page(path):
    """The page as a tree, which it is only if it is well-formed."""
    return ElementTree.fromstring(path.read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>"))


@pytest.fixture(scope="module")
def places(page):
    """The elements that have an id, by it."""
    return {element.get("id"): element for element in page.iter() if element.get("id")}


@pytest.fixture(scope="module")
def around(page):
    """By the id of an article, or of a heading in it: the article."""
    return {element.get("id"): article for article in page.iter("article") for element in article.iter() if element.get("id")}


def targets(element):
    """Where the links of an element lead."""
    return {link.get("href").removeprefix("#") for link in element.iter("a")}


def words(element):
    """The text of an element."""
    return "".join(element.itertext())


def test_every_link_lands_on_one_place(page, places):
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    hrefs = [link.get("href") for link in page.iter("a")]
    assert all(href.startswith("#") for href in hrefs) and len(hrefs) > 5000
    assert not {href[1:] for href in hrefs} - set(ids)


def test_nothing_is_loaded_and_no_script_runs(page, path):
    assert not {"script", "link", "img", "iframe", "object"} & {element.tag for element in page.iter()}
    assert not any(name in ("src", "srcset", "action", "data") or name.startswith("on") for e in page.iter() for name in e.attrib)
    style = next(page.iter("style")).text
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style and "@media print" in style
    assert "\nnav.contents" in path.read_text(encoding="utf-8")


def test_every_module_is_there_in_reading_order(page, places):
    headings = [heading.get("id") for heading in page.iter("h2")]
    assert [name for name in headings if name in refdpm.READING_ORDER] == list(refdpm.READING_ORDER)
    assert "gradcheck.anybody" in places and "conformance.chapters.gaussian" in places
    contents = next(page.iter("nav"))
    assert [link.get("href")[1:] for link in contents.iter("a")][:-3] == list(refdpm.READING_ORDER)


@pytest.mark.parametrize("name", THEORY)
def test_all_of_the_source_of_the_theory_is_there(name, page):
    """Every line of code, and every word of the docstrings; `data` is a package."""
    section = next(section for section in page.iter("section") if any(h.get("id") == name for h in section.iter("h2")))
    there, plain = words(section), without_marks(words(section))
    path = PACKAGE / f"{name.replace('.', '/')}.py"
    text = (path if path.exists() else PACKAGE / name / "__init__.py").read_text(encoding="utf-8")
    tree, docstrings = ast.parse(text), set()
    for node in [tree, *(node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef))]:
        if ast.get_docstring(node):
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
            assert without_marks(ast.get_docstring(node)) in plain
    for number, line in enumerate(text.splitlines(), start=1):
        assert number in docstrings or line.removeprefix("# -- ").rstrip("- ") in there, f"line {number}"


def without_marks(text):
    """Its words, without the marks of indices and of code, which the page shows in other ways."""
    return " ".join(re.sub(r"[`*_^{}]", "", text).split())


def test_a_function_stands_beside_its_adjoint_with_formula_and_evidence(around):
    for pair in gradcheck.pairs(cases.PAIR_MODULES):
        article = around[pair.name]
        assert article is around[f"{pair.name}_vjp"] and "adjoint gap" in words(article)
    posterior = around["gaussian.posterior"]
    assert [words(math).partition("=")[0] for math in posterior.iter("math")] == ["mean", "var"]
    assert len(list(posterior.iter("mfrac"))) == 3
    assert {"eq-48", "eq-App.1-G-posterior", "clause-GAU.POST.MEAN", "clause-GRAD.GAU.POST.BETA"} <= targets(posterior)
    assert "tests/test_" in words(posterior) or "tests/oracles/" in words(posterior)


@pytest.mark.parametrize("number", [n for n, e in paper.EQUATIONS.items() if e.status != "prose"])
def test_an_equation_leads_to_its_code_and_back(number, around):
    place = "eq-" + number.replace(" ", "-")
    code, docstrings = set(paper.code_of(number)), targets(around[place]) & (set(refdpm.READING_ORDER) | set(around))
    assert code <= targets(around[place])
    assert code or any(not name.startswith(("eq-", "clause-")) for name in docstrings), "neither computed nor derived"
    assert all(place in targets(around[name]) for name in paper.code_of(number))


def test_every_function_with_a_formula_shows_it_whole(around):
    formulas = [name for name in in_textbook.book() if name in around and next(accuracy.cases_of(name), None)]
    assert len(formulas) > 100 and not [name for name in formulas if around[name].find(".//math") is None]
    longest = max(len(words(math)) for article in around.values() for math in article.iter("math"))
    assert longest < 400 and "u1=" in words(around["bound.network_kl"])


def test_a_clause_leads_to_what_it_compares_with_and_back(around):
    judged = [(id, name) for id in around if id.startswith("clause-") for name in targets(around[id]) if name in around]
    functions = [(id, name) for id, name in judged if not name.startswith("eq-")]
    assert len({id for id, _ in functions}) > 150
    assert all(id in targets(around[name]) for id, name in functions)


def test_the_worked_layer_shows_what_the_checker_says(page):
    section = next(section for section in page.iter("section") if any(h.get("id") == "gradcheck" for h in section.iter("h2")))
    assert re.search(r"x: WRONG, gap \d\.\de-0[123], .*\n.*came, expected", words(section))
    assert all(float(gap) < 1e-14 for gap in re.findall(r"\w: gap (\S+)", words(section)))


def test_words_of_the_kit(places):
    assert {"word-pair", "word-gap", "word-not-checked"} <= set(places)


def test_a_page_is_written_once(path, capsys, tmp_path):
    before = path.read_bytes()
    assert cli.main(["read", "--out", str(path)]) == 2
    assert cli.main(["read", "--out", str(tmp_path / "page.pdf")]) == 2
    assert path.read_bytes() == before and not list(tmp_path.iterdir())
    said = capsys.readouterr()
    assert said.out == "" and "--out: expected a new file, got" in said.err and ".html, got" in said.err


# -- text as HTML --------------------------------------------------------------------------------------------------------

NOWHERE = text.Links(lambda name: "", lambda number: "", lambda id: "")


@pytest.mark.parametrize("doc,html", [
    ("a < b", "<p>a &lt; b</p>"),
    ("one\nline", "<p>one line</p>"),
    ("as\n\n    x = 1\n    y", "<p>as</p>\n<pre>x = 1\ny</pre>"),
    ("a      first\nbc     second", "<pre>a      first\nbc     second</pre>"),
    ("x.\nShapes: (N,)", "<p>x.</p>\n<p><b>Shapes</b>: (N,)</p>"),
    ("x_{t−1}, x_0², log_prob, `x_t`, e^d", "<p>x<sub>t−1</sub>, x<sub>0</sub>², log_prob, <code>x_t</code>, e<sup>d</sup></p>")])
def test_docstrings_as_html(doc, html):
    assert text.prose(doc, NOWHERE) == html


def test_names_and_numbers_become_links():
    links = text.Links(lambda name: "gaussian.kl", lambda number: f"eq-{number}", lambda id: f"clause-{id}")
    found = text.prose("`kl` of eqs. 43, 46 and GAU.KL", links)
    assert re.findall('href="#([^"]*)"', found) == ["gaussian.kl", "eq-43", "eq-46", "clause-GAU.KL"]
    assert paper.cited("eqs. 49–51, 12 and 7; eq. 3") == ["49", "50", "51", "12", "7", "3"]


def test_code_as_html():
    links = NOWHERE._replace(name=lambda name: "m.g" * (name == "g"))
    found = text.code('def f(x):  # <c>\n    return g("a", x)', links)
    assert found == ('<pre class="code"><i>def</i> f(x):  <span class="comment"># &lt;c&gt;</span>\n    <i>return</i> '
                     '<a href="#m.g">g</a>(<span class="string">"a"</span>, x)</pre>')


# -- in a browser --------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
@pytest.mark.parametrize("width", [500, 1600])
def test_a_browser_shows_it_without_scrolling_sideways(path, tmp_path, width):
    measure = ("<script>addEventListener('load', () => { document.title = document.documentElement.scrollWidth + ' of ' "
               "+ innerWidth + ', math ' + document.querySelector('math').getBoundingClientRect().height })</script></body>")
    copy = tmp_path / "copy.html"
    copy.write_text(path.read_text(encoding="utf-8").replace("</body>", measure), encoding="utf-8")
    shown = subprocess.run([CHROMIUM, *OURS, f"--user-data-dir={tmp_path}/profile", f"--window-size={width},900", "--dump-dom",
                            copy.as_uri()], capture_output=True, text=True, timeout=300).stdout
    wide, window, height = re.search(r"<title>(\d+) of (\d+), math ([\d.]+)</title>", shown).groups()
    assert int(wide) <= int(window) and float(height) > 5
