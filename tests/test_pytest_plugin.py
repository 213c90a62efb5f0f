"""Clauses as tests of pytest, as a user runs them, in a folder of its own; the first run also in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import refdpm

ADAPTER = """
import numpy as np
beta = np.linspace(1e-4, 0.02, 50)
abar = np.cumprod(1 - beta)
abar_prev = PREVIOUS

def posterior(x_0, x_t, t):
    b, a, a_prev = (table[t].reshape(-1, *[1] * (x_t.ndim - 1)) for table in (beta, abar, abar_prev))
    mean = np.sqrt(a_prev) * b / (1 - a) * x_0 + np.sqrt(1 - b) * (1 - a_prev) / (1 - a) * x_t
    return mean, b * (1 - a_prev) / (1 - a)
"""
RIGHT, WRONG = (ADAPTER.replace("PREVIOUS", previous) for previous in ("np.append(1.0, abar[:-1])", "np.append(abar[1:], 1.0)"))
TESTS = """
import pytest
from refdpm.conformance import clauses
import wrong

EXPECTED = {"GAU.POST.VAR": "we know"}

@pytest.mark.refdpm(wrong, expected_failures=EXPECTED)
def test_by_mark(refdpm_clause):
    refdpm_clause.check()

@pytest.mark.parametrize("clause", clauses(wrong, expected_failures=EXPECTED), ids=str)
def test_by_hand(clause):
    clause.check()
"""


FLAGS = ["-p", "refdpm.pytest_plugin", "-p", "no:cacheprovider", "-W", "error", "--strict-markers"]


@pytest.fixture
def write(tmp_path):
    """Writes files into the folder."""
    def written(files):
        for name, content in files.items():
            (tmp_path / f"{name}.py").write_text(content)
    return written


@pytest.fixture
def apart(tmp_path, write):
    """pytest in a folder with these files, in a process of its own: the exit code and what it printed."""
    def call(*arguments, **files):
        write(files)
        output = subprocess.run([sys.executable, "-m", "pytest", *FLAGS, *arguments], capture_output=True, text=True, cwd=tmp_path,
                                env=os.environ | {"PYTHONPATH": str(Path(refdpm.__file__).parents[1])})
        return output.returncode, output.stdout + output.stderr
    return call


@pytest.fixture
def run(tmp_path, write, monkeypatch, capsys):
    """The same in this process, which has imported the package."""
    def call(*arguments, **files):
        write(files)
        code = pytest.main([*FLAGS, "--rootdir", str(tmp_path), *arguments])
        for name in files:
            sys.modules.pop(name, None)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return call


def test_clauses_are_tests_and_a_failure_is_its_report_alone(apart, tmp_path):
    code, out = apart("--refdpm", "right.py", "--refdpm", "wrong.py", "-v", "--junitxml", "junit.xml", right=RIGHT, wrong=WRONG)
    assert code == 1 and "2 failed, 8 passed" in out
    assert "right.py::GAU.POST.MEAN PASSED" in out and "wrong.py::GAU.POST.VAR FAILED" in out
    assert "known mistake SCH-01c" in out and "\n  should be  " in out and "check wrong.py --only GAU.POST.MEAN" in out
    assert "Traceback" not in out and "refdpm/" not in out.partition("= FAILURES =")[2] and "def " not in out
    cases = ElementTree.parse(tmp_path / "junit.xml").findall(".//testcase")
    verdicts = [case.find("properties/property[@name='verdict']").get("value") for case in cases]
    assert len(cases) == 10 and verdicts.count("wrong") == 2 and verdicts.count("pass") == 8


def test_adapters_in_a_row(run):
    """A file that has tests stays a file of tests, and without the flag no file is an adapter."""
    files = {"right": RIGHT, "wrong": WRONG, "mine": "def test_mine():\n    pass\n"}
    assert "2 failed, 9 passed" in run("--refdpm", "right.py", "wrong.py", "mine.py", **files)[1]
    assert "2 failed, 9 passed" in run("mine.py", "right.py", "--refdpm=wrong.py", **files)[1]
    assert " 1 passed in" in run("mine.py", "right.py", **files)[1]


def test_an_expected_failure_is_an_xfail_and_one_that_passes_fails(run, tmp_path):
    (tmp_path / "expected.txt").write_text("GAU.POST.MEAN we know\nGAU.POST.VAR we know\nPURE.SAME we thought so\n")
    code, out = run("--refdpm", "wrong.py", "--refdpm-expected", "expected.txt", "-rx", wrong=WRONG)
    assert code == 1 and "1 failed, 2 passed, 2 xfailed" in out
    assert re.search("XFAIL wrong.py::GAU.POST.VAR - (reason: )?we know", out)            # the word is that of pytest 8.0
    assert "PURE.SAME passes, but was expected to fail: we thought so" in out
    assert "3 failed, 2 passed" in run("--refdpm", "wrong.py", "--refdpm-expected", "expected.txt", "--runxfail")[1]
    (tmp_path / "expected.txt").write_text("GAU.POST.MAEN we know\n")
    code, out = run("--refdpm", "wrong.py", "--refdpm-expected", "expected.txt")
    assert code == 2 and "got 'GAU.POST.MAEN'; is GAU.POST.MEAN meant?" in out


def test_silence_is_no_success(run):
    refusing = "def kl(mean_q, var_q, mean_p, var_p):\n    raise NotImplementedError('not yet')\n"
    code, out = run("--refdpm", "refusing.py", "-rs", refusing=refusing)
    assert code == 1 and "skipped: not yet" in out and "passed" not in out
    assert "ERROR refdpm: refusing.py: no clause was decided" in out
    code, out = run("--refdpm", "empty.py", empty="def hello(x): return x\n")
    assert code == 2 and "adapter: expected functions" in out and "Traceback" not in out
    code, out = run("--refdpm", "missing.py")
    assert code == 2 and "no file missing.py" in out


def test_clauses_in_a_file_of_ones_own(run):
    code, out = run("-rx", "test_mine.py", wrong=WRONG, test_mine=TESTS)
    assert code == 1 and "2 failed, 6 passed, 2 xfailed" in out
    assert re.search(r"XFAIL test_mine.py::test_by_mark\[GAU.POST.VAR\] - (reason: )?we know", out)
    assert re.search(r"XFAIL test_mine.py::test_by_hand\[GAU.POST.VAR\] - (reason: )?we know", out)
    shown = {line.strip() for line in out.splitlines() if line.startswith(">")}            # the lines of the user's alone
    assert shown == {">       refdpm_clause.check()", ">       clause.check()"} and "conformance/session.py" not in out
    code, out = run("test_none.py", test_none="def test_it(refdpm_clause): pass\n")
    assert code != 0 and "expected @pytest.mark.refdpm(my_adapter)" in out


def test_it_costs_nothing_until_it_is_used(apart, run):
    """A run without the flag imports nothing of this package but the plug-in itself."""
    looks = ("import sys\ndef test_it():\n"
             "    assert {name for name in sys.modules if name.startswith('refdpm')} == {'refdpm', 'refdpm.pytest_plugin'}\n"
             "    assert 'numpy' not in sys.modules and 'hypothesis' not in sys.modules\n")
    code, out = apart("-p", "no:hypothesispytest", "-p", "no:_hypothesis_pytestplugin", "test_looks.py", test_looks=looks)
    assert code == 0 and "1 passed" in out, out
    code, out = run("--help")
    assert code == 0 and "--refdpm=ADAPTER" in out


def test_a_wrong_gradient_is_shown_where_it_was_asserted(run):
    """Without a line of ours."""
    mine = """
from refdpm.gradcheck import assert_adjoint

def test_mine():
    assert_adjoint(lambda x: x * x, lambda dvalue, x: dvalue * x, 3.5)
"""
    code, out = run("test_mine.py", test_mine=mine)
    assert code == 1 and ">       assert_adjoint(" in out and "it is 0.5 times what it should be" in out
    assert "anybody.py" not in out
