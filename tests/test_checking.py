"""The commands check, explain and vectors, as a user calls them."""

import argparse
import contextlib
from copy import deepcopy
from functools import partial
import io
import json
import os
import pickle
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

import refdpm
from refdpm import checking, cli, console
from refdpm.conformance import brief, session

EXAMPLE, WRONG = "refdpm.conformance.example.ddpm", "refdpm.conformance.example.ddpm_wrong"
BRIEF = ["--only", "GAU.POST", "--max-examples", "2"]


def printed(capsys, *arguments):
    """The exit code, and what went to standard output and standard error."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def made():
    """The reports of this file, and the steps of each."""
    return {}


@pytest.fixture
def once(monkeypatch, made):
    """The same adapter with the same options is checked once: what is tried is what is printed and written of it."""
    def check(source, *, watch, **how):
        key = source.name, repr(how)
        if key not in made:
            steps = []
            made[key] = right(source, watch=steps.append, **how), steps
        report, steps = made[key]
        for step in steps:
            watch(step)
        return deepcopy(report)

    right = session.check
    monkeypatch.setattr(session, "check", check)


def test_a_right_adapter_ends_with_0_and_a_wrong_one_with_1_and_the_name_of_its_mistake(capsys, once):
    code, out, _ = printed(capsys, "check", EXAMPLE, *BRIEF)
    assert code == 0 and "2 clauses pass" in out.splitlines()[0]
    code, out, _ = printed(capsys, "check", WRONG, *BRIEF)
    assert code == 1 and "SCH-01b" in out.splitlines()[0] and "GAU.POST" in out.splitlines()[0]


def test_json_is_one_object_the_same_again_and_its_failures_are_reproduced_by_their_commands(capsys):
    first, second = (printed(capsys, "check", WRONG, *BRIEF, "--json", "--seed", 3)[1] for _ in range(2))
    report = json.loads(first)
    assert first == second and report["seed"] == 3 and report["exit_code"] == 1
    row = next(row for row in report["clauses"] if row["verdict"] == "wrong")
    command = row["reproduce"].split()
    assert command[:4] == ["python", "-m", "refdpm", "check"]
    again = json.loads(printed(capsys, *command[3:], "--json")[1])
    assert [one for one in again["clauses"] if one["id"] == row["id"]] == [row]


def test_a_file_with_an_object_in_it(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("import numpy as np\nclass Mine:\n    def kl(self, mean_q, var_q, mean_p, var_p):\n"
                    "        print('hello')\n"
                    "        return (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p) / 2\nmine = Mine()\n")
    code, out, _ = printed(capsys, "check", f"{path}:mine", "--only", "GAU.KL", "--json")
    row = json.loads(out)["clauses"][0]
    assert code == 1 and row["mistake"] == "BND-14" and "hello" not in out


@pytest.mark.parametrize("arguments,words", [
    (["check", "no_such_module"], ["adapter: expected", "no_such_module"]),
    (["check", "json"], ["adapter: expected functions"]),
    (["check", EXAMPLE, "--only", "NOTHING"], ["--only: expected"]),
    (["check", EXAMPLE, "--only", "GAU.KL,GAU.ENT"], ["--only: expected", "each has an --only of its own"]),
    (["check", EXAMPLE, "--only", "posterier"], ["--only: expected", "is posterior meant?"]),
    (["check", EXAMPLE, "--only", "gau.post.mean"], ["--only: expected", "is GAU.POST.MEAN meant?"]),
    (["check", EXAMPLE, "--max-examples", "-1"], ["--max-examples: expected"]),
    (["check", EXAMPLE, "--timeout", "0"], ["--timeout: expected"]),
    (["check", EXAMPLE, "--profile", "no_such_file"], ["no_such_file"]),
    (["explain", "NONESUCH"], ["NAME: expected"]),
    (["vectors", "verify", "no_such_folder"], ["no_such_folder"]),
])
def test_wrong_usage_ends_with_2_and_says_what_was_expected(arguments, words, capsys):
    code, out, err = printed(capsys, *arguments)
    assert code == 2 and out == "" and all(word in err for word in words), err


def test_a_broken_adapter_ends_with_2_and_its_error(tmp_path, capsys):
    path = tmp_path / "broken.py"
    path.write_text("def kl(:\n")
    code, out, err = printed(capsys, "check", path)
    assert code == 2 and out == "" and "SyntaxError" in err


def test_nothing_ran_ends_with_2(capsys):
    assert printed(capsys, "check", EXAMPLE, "--only", "CAT")[0] == 2


def test_expected_failures_and_profile_are_read_and_junit_is_written(tmp_path, capsys, once):
    expected, profile, junit = tmp_path / "expected.txt", tmp_path / "profile.json", tmp_path / "junit.xml"
    expected.write_text("# ours\nGAU.POST.MEAN  we know\n\nGAU.POST.VAR we know\n")
    profile.write_text('{"first_t": 0}')
    code, out, _ = printed(capsys, "check", WRONG, *BRIEF, "--expected-failures", expected, "--profile", profile, "--junit", junit)
    assert code == 0 and "first_t 0 (stated)" in out and "2 fail as expected" in out
    assert b"<testsuite" in junit.read_bytes() and b"<failure" not in junit.read_bytes()
    assert {case.find("skipped").get("message") for case in ElementTree.parse(junit).findall("testcase")} == {
        "expected to fail: we know"}
    assert all(float(case.get("time")) >= 0 for case in ElementTree.parse(junit).findall("testcase"))
    expected.write_text("GAU.POST.MEAN see #18\n")
    out = printed(capsys, "check", WRONG, *BRIEF, "--expected-failures", expected)[1]
    assert "fails as expected: GAU.POST.MEAN (see #18)" in out
    expected.write_text("GAU.POST.MAEN we know\n")
    code, _, err = printed(capsys, "check", WRONG, *BRIEF, "--expected-failures", expected)
    assert code == 2 and "in line 1 of" in err and "got 'GAU.POST.MAEN'; is GAU.POST.MEAN meant?" in err
    expected.write_text("GAU.POST.MEAN\n")
    code, _, err = printed(capsys, "check", WRONG, *BRIEF, "--expected-failures", expected)
    assert code == 2 and "--expected-failures: expected CLAUSE REASON in line 1" in err
    for wrong in ("{", "[]", '{"first_t": 2}', '{"last_t": 1}'):
        profile.write_text(wrong)
        code, _, err = printed(capsys, "check", EXAMPLE, "--profile", profile)
        assert code == 2 and str(profile) in err and len(err.splitlines()) == 1


def test_an_adapter_that_hangs_and_one_that_dies_are_verdicts_of_an_isolated_run(tmp_path, capsys):
    path = tmp_path / "bad.py"
    path.write_text("import os, time\nimport numpy as np\n"
                    "def entropy(mean, var): time.sleep(60)\n"
                    "def log_prob(x, mean, var): os._exit(3)\n"
                    "def kl(mean_q, var_q, mean_p, var_p):\n"
                    "    return (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1) / 2\n")
    code, out, _ = printed(capsys, "check", path, "--only", "GAU", "--isolate", "--timeout", "0.5", "--max-examples", "1", "--json")
    found = {row["id"]: row for row in json.loads(out)["clauses"]}
    assert code == 1 and found["GAU.KL.VALUE"]["verdict"] == "pass"
    assert found["GAU.ENT.VALUE"]["verdict"] == "wrong" and "0.5 s" in found["GAU.ENT.VALUE"]["reason"]
    assert found["GAU.LOGP.VALUE"]["verdict"] == "wrong" and "3" in found["GAU.LOGP.VALUE"]["reason"]
    assert "--timeout 0.5" in found["GAU.ENT.VALUE"]["reproduce"]


def test_explain_names_equation_inputs_and_known_mistakes(capsys):
    code, out, _ = printed(capsys, "explain", "gau.post.var")
    assert code == 0 and all(word in out for word in ("48", "refdpm.gaussian.posterior", "POS-02", "alpha_bar", "always tried"))
    code, out, _ = printed(capsys, "explain", "all")
    assert code == 0 and all(word in out for word in ("posterior(x_0, x_t, t)", "kl(mean_q, var_q, mean_p, var_p)", "PURE.ROWS"))


def test_the_first_look_shows_a_whole_report_and_a_named_failure(capsys, monkeypatch):
    """The reference is asked for a few clauses; for all, see `test_check.test_the_reference_passes`.  `.ci/run` takes the
    whole look in a process of its own."""
    monkeypatch.setattr(brief, "session", SimpleNamespace(check=partial(session.check, only="GAU.KL")))
    monkeypatch.setattr(brief.audit.cases, "PAIR_MODULES", ("schedule",))
    code, out, _ = printed(capsys, "check", "--json", "--max-examples", "2")
    report = json.loads(out)
    assert code == 0 and report["ok"] and report["reference"]["ok"] and report["reference"]["pairs"] > 3
    assert report["reference"]["clauses"]["pass"] > 0
    assert not report["reference"]["clauses"]["wrong"] + report["reference"]["clauses"]["inaccurate"]
    assert report["example"]["exit_code"] == 0 and report["wrong_example"]["exit_code"] == 1
    assert any(row["mistake"] == "SCH-01b" for row in report["wrong_example"]["clauses"])
    found = report["example"]
    assert found["summary"]["pass"] >= 20 and not found["summary"]["wrong"]
    assert (found["profile"]["first_t"], found["profile"]["predicts"], found["profile"]["first"]) == (0, "noise", "next")
    assert found["known"]["first_t"] == "inferred" and found["known"]["orientation"] == "undetermined"
    monkeypatch.setattr(brief.audit.gradcheck, "GAP", 0.0)
    monkeypatch.setattr(session, "check", lambda *_, **__: found)
    assert printed(capsys, "check", "--max-examples", "2")[0] == 1


def test_junit_is_well_formed_and_written_over_no_other_tool_s_report(tmp_path, capsys):
    (tmp_path / "adapter.py").write_text("def alpha_bar(beta): raise Exception('\\x00\\x1b[31m \\ud800 ]]> \\ufffe')\n")
    junit = ["--junit", str(tmp_path / "x.xml")]
    command = ["check", str(tmp_path / "adapter.py"), "--only", "SCH.ABAR", "--max-examples", "1", *junit]
    for _ in range(2):
        assert cli.main(command) == 1
    failure = ElementTree.parse(tmp_path / "x.xml").find(".//failure")
    assert "[31m" in failure.get("message") and "\x1b" not in capsys.readouterr().out
    (tmp_path / "x.xml").write_text('<testsuite name="another"/>')
    assert cli.main(command) == 2
    assert "--junit" in capsys.readouterr().err and (tmp_path / "x.xml").read_text() == '<testsuite name="another"/>'


# -- several adapters, and what else is written and printed --------------------------------------------------------------

def test_several_adapters_have_reports_a_table_and_the_worst_exit_code(tmp_path, capsys, once):
    junit, page = tmp_path / "x.xml", tmp_path / "x.html"
    code, out, _ = printed(capsys, "check", EXAMPLE, WRONG, *BRIEF, "--junit", junit, "--html", page)
    assert code == 1 and "2 clauses pass" in out.splitlines()[0] and "SCH-01b" in out
    table = [line.split()[:3] for line in out.splitlines()[-3:]]
    assert table == [["adapter", "pass", "undecided"], ["ok", EXAMPLE, "2"], ["WRONG", WRONG, "0"]]
    assert [suite.get("failures") for suite in ElementTree.parse(junit).getroot()] == ["0", "2"]
    assert [link.get("href") for link in ElementTree.parse(page).find("body/nav").iter("a")] == ["#1-report", "#2-report"]
    report = json.loads(printed(capsys, "check", EXAMPLE, WRONG, *BRIEF, "--json")[1])
    assert [one["exit_code"] for one in report["reports"]] == [0, 1] and report["exit_code"] == 1
    code, out, _ = printed(capsys, "check", EXAMPLE, EXAMPLE, "--only", "CAT", "--quiet")
    assert code == 2 and [line.split(":")[0] for line in out.splitlines()] == [EXAMPLE, EXAMPLE]
    code, out, err = printed(capsys, "check", EXAMPLE, "no_such_module", *BRIEF, "--list")
    assert code == 2 and out == "" and "no_such_module" in err
    assert printed(capsys, "check", EXAMPLE, WRONG, "--dump", tmp_path / "x.json")[0] == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_an_adapter_that_cannot_be_asked_is_an_error_and_the_others_are_checked(tmp_path, capsys, workers, once, monkeypatch):
    """Two workers: what they are sent and what they send back is pickled, as it is between processes."""
    def each(function, items):
        return [pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(function))(item))) for item in items]

    monkeypatch.setattr(checking, "mapping", lambda number: contextlib.nullcontext(each))
    junit, page, stating = tmp_path / "x.xml", tmp_path / "x.html", tmp_path / "stating.py"
    stating.write_text("profile = {'first_t': 7}\ndef kl(mean_q, var_q, mean_p, var_p): return mean_q\n")
    code, out, _ = printed(capsys, "check", "no_such_module", EXAMPLE, stating, *BRIEF, "--junit", junit, "--html", page,
                           "--workers", workers)
    assert code == 2 and out.startswith("no_such_module: error: ") and f"{EXAMPLE}: 2 clauses pass" in out
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["ERROR", "ok", "ERROR"] and "first_t" in out.split("ERROR")[0]
    assert [suite.get("errors") for suite in ElementTree.parse(junit).getroot()] == ["1", "0", "1"]
    assert "no_such_module" in page.read_text()
    assert printed(capsys, "check", "no_such_module", WRONG, *BRIEF, "--quiet")[0] == 1


def test_only_a_function_means_all_clauses_that_ask_it(capsys):
    code, out, _ = printed(capsys, "check", EXAMPLE, "--only", "posterior", "--max-examples", "2", "--json")
    assert code == 0 and [row["id"] for row in json.loads(out)["clauses"]] == [
        "GAU.POST.MEAN", "GAU.POST.VAR", "GRAD.GAU.POST.X_T", "GRAD.GAU.POST.X_0", "GRAD.GAU.POST.BETA"]
    out = printed(capsys, "check", EXAMPLE, "--only", "draw_times", "--list", "--verbose")[1]
    assert "LAW.TIMES" in out


def test_conventions_are_those_of_what_was_asked(capsys, once):
    out = printed(capsys, "check", EXAMPLE, *BRIEF)[1]
    assert "conventions: first_t 0, spread variance, posterior_first zero\n" in out


def test_a_page_is_written_again_but_over_no_file_of_another_kind(tmp_path, capsys, once):
    page = tmp_path / "x.html"
    for _ in range(2):
        assert printed(capsys, "check", WRONG, *BRIEF, "--html", page)[0] == 1
    assert f"python -m refdpm check {WRONG} --only GAU.POST --seed 0 --max-examples 2" in page.read_text()
    page.write_text("<p>mine</p>")
    code, out, err = printed(capsys, "check", WRONG, *BRIEF, "--html", page)
    assert code == 2 and out == "" and "--html" in err and page.read_text() == "<p>mine</p>"
    assert os.listdir(tmp_path) == ["x.html"]


CALLED = """
def kl(mean_q, var_q, mean_p, var_p):
    open(__file__ + ".called", "w")
    return mean_q


class Thing:
    def __init__(self, beta): pass

    def marginal(self, x_0, t):
        raise KeyError("100 %, and\\nmore")


make = Thing
"""


def test_a_list_of_what_would_be_asked_asks_nothing(tmp_path, capsys):
    (tmp_path / "adapter.py").write_text(CALLED)
    assert "GAU.POST" not in printed(capsys, "check", tmp_path / "adapter.py", "--list")[1]
    code, out, _ = printed(capsys, "check", tmp_path / "adapter.py", "--list", "--verbose")
    asked, _, missing = out.partition("not asked, because these functions are not offered:")
    assert code == 0 and "  GAU.KL.VALUE                 the KL divergence\n" in asked and "GAU.POST" not in asked
    assert "  posterior: GAU.POST.MEAN, GAU.POST.VAR\n" in missing and "GAU.KL.VALUE" not in missing
    listed = json.loads(printed(capsys, "check", tmp_path / "adapter.py", "--list", "--json", "--only", "GRAD.GAU.KL")[1])
    assert listed[0]["clauses"][0] == {"id": "GRAD.GAU.KL.MEAN_Q", "missing": ["vjp"],
                                       "called": "the gradient of the KL divergence with respect to mean_q"}
    assert printed(capsys, "check", tmp_path / "adapter.py", "--list", "--only", "GRAD.GAU.KL")[0] == 2
    assert not (tmp_path / "adapter.py.called").exists()
    printed(capsys, "check", tmp_path / "adapter.py", "--only", "GAU.KL", "--max-examples", "0")
    assert (tmp_path / "adapter.py.called").exists()


def test_annotations_have_file_and_line_of_the_function(tmp_path, capsys, monkeypatch):
    (tmp_path / "adapter.py").write_text(CALLED)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    command = ["check", tmp_path / "adapter.py", "--only", "GAU.KL", "--only", "GAU.MARG", "--max-examples", "0", "--github"]
    code, out, _ = printed(capsys, *command, "--quiet")
    lines = [line for line in out.splitlines() if line.startswith("::")]
    assert code == 1 and len(lines) == 2 and len(out.splitlines()) == 3
    assert lines[0].startswith("::error file=adapter.py,line=2,title=GAU.KL.VALUE::")           # the one that has a name
    assert lines[1].startswith("::error file=adapter.py,line=10,title=GAU.MARG.MEAN::the marginal's mean (GAU.MARG.MEAN) is wrong")
    assert "100 %25, and" in lines[1] and "%0A  input" in lines[1]
    code, out, err = printed(capsys, *command, "--json")
    assert json.loads(out)["exit_code"] == 1 and err.count("::error") == 2


def test_without_an_adapter_there_is_nothing_to_write(tmp_path, capsys):
    code, out, err = printed(capsys, "check", "--html", tmp_path / "x.html")
    assert code == 2 and out == "" and "--html: expected an adapter beside it" in err


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize("stream,environment,coloured", [
    (Terminal, {}, True), (io.StringIO, {}, False), (Terminal, {"NO_COLOR": "1"}, False), (Terminal, {"NO_COLOR": ""}, True),
    (Terminal, {"TERM": "dumb"}, False)])
def test_verdicts_have_colours_on_terminals_only(stream, environment, coloured, monkeypatch, once):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", stream())
    assert cli.main(["check", WRONG, "--only", "GAU.POST", "--only", "GAU.MARG", *BRIEF[2:]]) == 1
    out = sys.stdout.getvalue()
    assert ("\x1b[31mWRONG\x1b[0m  GAU.POST.MEAN" in out) == coloured == ("  \x1b[32mok\x1b[0m         GAU.MARG.MEAN" in out)
    assert coloured or "\x1b" not in out


def test_progress_is_shown_on_terminals_only_after_a_while_and_taken_away(monkeypatch):
    for stream, patience, shown in ((Terminal(), 0, True), (io.StringIO(), 0, False), (Terminal(), 100, False), (None, 0, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(console.Progress, "PATIENCE", patience)
        with console.Progress() as progress:
            progress.show("GAU.KL\x1b[31m")
            progress.show("too soon")
        assert stream is None or stream.getvalue() == "\rGAU.KL\\x1b[31m\x1b[K\r\x1b[K" * shown


def test_progress_says_which_clause_and_quiet_says_nothing(monkeypatch, capsys, once):
    monkeypatch.setattr(console.Progress, "PATIENCE", 0)
    for more, shown in (([], True), (["--quiet"], False)):
        monkeypatch.setattr(sys, "stderr", Terminal())
        assert cli.main(["check", EXAMPLE, *BRIEF, *more]) == 0
        assert (f"{EXAMPLE}: 1 of 2 clauses, GAU.POST.MEAN" in sys.stderr.getvalue()) == shown
    assert capsys.readouterr().out.count("\n") > 5


# -- the command line as a whole -----------------------------------------------------------------------------------------

def parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


def complete_parsers():
    """The parser of all commands, and those of each command and of what is below it, with all their flags."""
    yield cli._parser([])
    for name in cli.COMMANDS:
        yield from (parser for parser in parsers(cli._parser([name])) if parser.prog.split()[1:2] == [name])


def test_every_flag_and_every_command_has_help():
    found = [(parser.prog, action.option_strings or action.dest) for parser in complete_parsers() for action in parser._actions
             if not action.help and not isinstance(action, argparse._SubParsersAction)]
    assert found == [] and len(list(complete_parsers())) > 12
    assert all(parser.description for parser in complete_parsers())


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"refdpm {refdpm.__version__}\n"
    setup = (Path(__file__).parents[1] / "setup.cfg").read_text(encoding="utf-8")
    assert re.search(r"^version = (.*)$", setup, re.MULTILINE).group(1) == refdpm.__version__
