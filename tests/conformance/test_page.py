"""The page of a report: well-formed, self-contained, every link lands, and what it says of right and wrong adapters."""

from types import SimpleNamespace
from xml.etree import ElementTree
import contextlib
import os
import re
import shutil
import signal
import subprocess

import pytest

from refdpm import html
from refdpm.conformance import page
from refdpm.conformance.example import ddpm, ddpm_wrong
from refdpm.conformance.judge import Effort
from refdpm.conformance.session import check

QUICK = Effort(max_examples=1, shrinks=3)
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


def hostile_kl(mean_q, var_q, mean_p, var_p):
    raise KeyError("<script>document.title = 1</script> & \x00\x1b[31m \ud800 ]]> \"quoted\"")


@pytest.fixture(scope="module")
def reports():
    hostile = SimpleNamespace(__name__="<b>hostile</b>", kl=hostile_kl, guidance=lambda x: x)
    return {"right": check(ddpm, effort=QUICK, only=["GAU", "PURE"]),
            "wrong": check(ddpm_wrong, effort=QUICK, only=["GAU.POST", "GAU.MARG", "REV.LAW"]),
            "surprising": check(ddpm_wrong, effort=QUICK, only=["GAU.POST", "GAU.MARG"], expected_failures={
                "GAU.POST.MEAN": "we know", "GAU.MARG.MEAN": "we thought so"}),
            "hostile": check(hostile, effort=QUICK, only="GAU.KL")}


@pytest.fixture(scope="module")
def pages(reports):
    alone = {name: page.html([report], command="python -m refdpm check theirs.py") for name, report in reports.items()}
    return alone | {"all": page.html(list(reports.values()), command="python -m refdpm check a.py b.py")}


def text_of(content):
    return " ".join(" ".join(ElementTree.fromstring(content).itertext()).split())


NAMES = ["right", "wrong", "surprising", "hostile", "all"]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_well_formed_loads_nothing_and_runs_nothing(name, pages):
    elements = list(ElementTree.fromstring(pages[name]).iter())
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {one.tag for one in elements}
    assert not any(key.startswith("on") or key in ("src", "srcset", "action", "style") for one in elements for key in one.keys())
    assert not re.search(rb"url\(|@import|javascript:", pages[name])
    assert page.MARK in pages[name][:1000]


@pytest.mark.parametrize("name", NAMES)
def test_every_link_lands(name, pages):
    elements = list(ElementTree.fromstring(pages[name]).iter())
    ids = [one.get("id") for one in elements if one.get("id")]
    links = [one.get("href") for one in elements if one.get("href")]
    assert len(ids) == len(set(ids)) and all(link.startswith("#") and link[1:] in ids for link in links)
    assert links or name == "right"


def test_what_a_right_adapter_is_told(pages):
    text = text_of(pages["right"])
    assert "What is wrong" not in text and "pass" in text and "would have been seen" in text
    assert "first_t 0 the number of the first step: t = 0, 1, …, T − 1" in text and "the adapter counts from 0" in text
    assert "python -m refdpm check theirs.py" in text and "numpy" in text and "entropy is not offered" in text


def test_what_a_wrong_adapter_is_told(pages, reports):
    text = text_of(pages["wrong"])
    first = next(row for row in reports["wrong"]["clauses"] if row["id"] == reports["wrong"]["causes"][0]["first"])
    assert "known mistake SCH-01b" in text and text.index("What is wrong") < text.index("Every clause that was asked")
    for field in ("came", "should be", "input", "run again"):
        assert re.search(rf"\b{field}", text)
    assert first["reproduce"] in text and "is wrong too, probably for the same reason" in text
    article = next(one for one in ElementTree.fromstring(pages["wrong"]).iter("article") if one.get("id") == first["id"])
    assert len(list(article.iter("circle"))) == len(first["digits"])


def test_expected_failures_and_surprises_are_told_apart(pages):
    text = text_of(pages["surprising"])
    assert text.index("passes, but was expected to fail: we thought so") < text.index("What fails as expected")
    assert text.index("What fails as expected") < text.index("expected to fail: we know")


def test_what_an_adapter_says_is_text_and_nothing_else(pages):
    assert b"<script>" not in pages["hostile"] and b"<b>" not in pages["hostile"]
    text = text_of(pages["hostile"])
    assert "<script>document.title = 1</script>" in text and "<b>hostile</b>" in text
    assert "guidance — not checked: no clause is about these functions" in text and not html.UNFIT.search(text)


def test_several_adapters_have_a_contents(pages):
    root = ElementTree.fromstring(pages["all"])
    links = [link.get("href") for link in root.find("body/nav").iter("a")]
    assert links == [f"#{number}-report" for number in range(1, 5)] and len(root.findall("body/section")) == 5


def test_digits_are_drawn_where_they_are():
    row = {"digits": {"1": 17.0, "5": 0.0, "9": 8.5}, "verdict": "pass", "power": {"at": {"1": 1e-8, "9": 1e-8, "7": 1.0}}}
    picture = ElementTree.fromstring(page._chart(row, 300, 100, labels=True))
    (x1, y1), (x5, y5), (x9, y9) = ((float(dot.get("cx")), float(dot.get("cy"))) for dot in picture.iter("circle"))
    assert x1 < x5 < x9 and y1 < y9 < y5 and y9 == pytest.approx((y1 + y5) / 2, abs=0.2)
    demanded = next(line for line in picture.iter("polyline") if line.get("stroke-dasharray"))
    heights = [float(point.split(",")[1]) for point in demanded.get("points").split()]
    assert len(heights) == 2 and all(y9 < y < y5 for y in heights)
    assert picture.find("title").text == "digits that are right:  t=1: 17  t=5: 0  t=9: 8"
    assert [word.text for word in picture.iter("text")] == ["0", "8", "16", "t=1", "5", "9"]


def test_elements_escape_what_is_no_markup():
    assert html.tag("p", "a < b & \x00", html.tag("br"), class_='x"y', aria_label="z") == (
        '<p class="x&quot;y" aria-label="z">a &lt; b &amp; \ufffd<br/></p>')
    assert html.tag("td", "") == "<td></td>" and html.joined("<", html.Markup("<")) == "&lt;<"


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
@pytest.mark.parametrize("width", [500, 1280])
def test_a_browser_shows_it_and_nothing_is_wider_than_the_window(width, pages, tmp_path):
    measure = b"<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth</script></body>"
    (tmp_path / "page.html").write_bytes(pages["all"].replace(b"</body>", measure))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", "--disable-quic", f"--user-data-dir={tmp_path / 'profile'}",
               f"--window-size={width},900", "--dump-dom", (tmp_path / "page.html").as_uri()]
    with open(tmp_path / "shown", "w+b") as shown:                     # no pipe, which what it starts could hold open
        process = subprocess.Popen(command, stdout=shown, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    dom = (tmp_path / "shown").read_text(encoding="utf-8")
    found, inner = map(int, re.search(r"<title>(\d+) of (\d+)</title>", dom).groups())
    assert found <= inner and abs(inner - width) < 30 and dom.count("<polyline") > 10
