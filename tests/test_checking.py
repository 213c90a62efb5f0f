"""The commands check, explain and vectors, as a user calls them."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from refdpm import cli

EXAMPLE, WRONG = "refdpm.conformance.example.ddpm", "refdpm.conformance.example.ddpm_wrong"
BRIEF = ["--only", "GAU.POST", "--max-examples", "2"]


def printed(capsys, *arguments):
    """The exit code, and what went to standard output and standard error."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_right_adapter_ends_with_0_and_a_wrong_one_with_1_and_the_name_of_its_mistake(capsys):
    code, out, _ = printed(capsys, "check", EXAMPLE, *BRIEF)
    assert code == 0 and "2 clauses pass" in out.splitlines()[0]
    code, out, _ = printed(capsys, "check", WRONG, *BRIEF)
    assert code == 1 and "SCH-01b" in out.splitlines()[0] and "GAU.POST" in out.splitlines()[0]


def test_json_is_one_object_and_the_same_again_but_for_nothing(capsys):
    first, second = (printed(capsys, "check", WRONG, *BRIEF, "--json", "--seed", 3)[1] for _ in range(2))
    assert first == second and json.loads(first)["seed"] == 3 and json.loads(first)["exit_code"] == 1


def test_a_failure_is_reproduced_by_its_command(capsys):
    report = json.loads(printed(capsys, "check", WRONG, *BRIEF, "--json")[1])
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
    (["check", EXAMPLE, "--max-examples", "-1"], ["--max-examples: expected"]),
    (["check", EXAMPLE, "--timeout", "0"], ["--timeout: expected"]),
    (["check", EXAMPLE, "--profile", "no_such_file"], ["no_such_file"]),
    (["explain", "NOTHING"], ["NAME: expected"]),
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


def test_expected_failures_and_profile_are_read_and_junit_is_written(tmp_path, capsys):
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
    profile.write_text("{")
    assert printed(capsys, "check", EXAMPLE, "--profile", profile)[0] == 2


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
    code, out, _ = printed(capsys, "explain")
    assert code == 0 and all(word in out for word in ("posterior(x_0, x_t, t)", "kl(mean_q, var_q, mean_p, var_p)", "PURE.ROWS"))


def test_the_first_look_shows_a_whole_report_and_a_named_failure():
    output = subprocess.run([sys.executable, "-m", "refdpm", "check", "--json"], capture_output=True, text=True)
    report = json.loads(output.stdout)
    assert output.returncode == 0 and report["ok"] and report["reference"]["ok"], output.stderr
    assert report["example"]["exit_code"] == 0 and report["wrong_example"]["exit_code"] == 1
    assert any(row["mistake"] == "SCH-01b" for row in report["wrong_example"]["clauses"])


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
