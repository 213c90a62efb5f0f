"""The report: what comes first, what is shown of a failure, what was not looked at, the exit code, and files for others."""

from types import ModuleType, SimpleNamespace
from unittest import SkipTest
from xml.etree import ElementTree
import json
import subprocess
import sys

import interfaces
import numpy as np
import pytest

from refdpm import cli
from refdpm.conformance import failure, known, report as reports, session
from refdpm.conformance.causes import causes, has_its_own_name, order
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.example import ddpm
from refdpm.conformance.evidence import few_numbers, in_digits, inputs_text, tidy
from refdpm.conformance.judge import Effort, Result
from refdpm.conformance.junit import junit
from refdpm.conformance.session import all_clauses, check
from refdpm.conformance.unknown import nearest, unknown_functions
from refdpm.console import one_line

QUICK = Effort(max_examples=1, shrinks=3)
OF = dict(all_clauses())


def two_arrays(q, p):
    return 0.5 * (np.log(p[1] / q[1]) + (q[1] + (q[0] - p[0]) ** 2) / p[1] - 1)


def right_kl(mean_q, var_q, mean_p, var_p):
    return two_arrays((mean_q, var_q), (mean_p, var_p))


def wrong_kl(mean_q, var_q, mean_p, var_p):
    return two_arrays((mean_q, var_q), (mean_p, var_p)) + 0.25 * np.tanh(mean_q + 3)


def adapter(**functions):
    return SimpleNamespace(__name__="adapter", dtype="float64", **functions)


def with_verdict(monkeypatch, verdict, **fields):
    """Every value clause has this verdict."""
    def judge(subject, quantity, effort):
        return [Result(id, verdict, **fields) for id in session.value_ids(quantity)]
    monkeypatch.setattr(session, "judge", judge)


# -- which failure comes first -------------------------------------------------------------------------------------------

def row(id, mistake=None, reason="", also=(), verdict="wrong", given_upstream=False):
    return {"id": id, "verdict": verdict, "mistake": mistake, "reason": reason, "also": also, "given_upstream": given_upstream}


def grouped(*rows):
    return [[cause.first["id"], *(one["id"] for one in cause.also)] for cause in causes(rows, OF)]


def test_quantities_stand_behind_what_they_build_on():
    places = order()
    assert all(places[name] < places[quantity.name] for quantity in QUANTITIES for name in quantity.after)


def test_the_first_wrong_stage_comes_first_and_what_builds_on_it_in_its_line():
    assert grouped(row("OBJ.BOUND.VALUE"), row("GAU.POST.VAR"), row("SMP.LAW"), row("GAU.POST.MEAN"), row("GAU.KL.VALUE")) == [
        ["GAU.POST.MEAN", "GAU.POST.VAR", "OBJ.BOUND.VALUE", "SMP.LAW"], ["GAU.KL.VALUE"]]


def test_what_has_a_name_stands_before_a_first_stage_that_has_none():
    assert grouped(row("BIN.POST.PROB"), row("CAT.POST.PROB", "A"), row("CAT.KL.VALUE", "B")) == [
        ["CAT.POST.PROB"], ["BIN.POST.PROB"], ["CAT.KL.VALUE"]]
    assert grouped(row("GAU.POST.MEAN"), row("OBJ.BOUND.VALUE", "A")) == [["GAU.POST.MEAN", "OBJ.BOUND.VALUE"]]
    assert grouped(row("BIN.POST.PROB"), row("CAT.POST.PROB", "A", verdict="inaccurate")) == [["BIN.POST.PROB"], ["CAT.POST.PROB"]]


def test_laws_of_single_calls_come_before_values_and_laws_of_distributions_last():
    assert grouped(row("SMP.LAW"), row("SMP.PATH.X_0"), row("SMP.TIMES", reason="the network is asked at t = 1")) == [
        ["SMP.TIMES", "SMP.PATH.X_0", "SMP.LAW"]]
    assert grouped(row("LAW.NOISE"), row("GRAD.GAU.KL.VAR_Q"), row("LAY.TANH.VALUE")) == [
        ["LAY.TANH.VALUE"], ["GRAD.GAU.KL.VAR_Q"], ["LAW.NOISE"]]
    assert grouped(row("GAU.POST.MEAN"), row("PURE.INPUTS", reason="marginal changes its input x_0")) == [
        ["PURE.INPUTS"], ["GAU.POST.MEAN"]]
    assert grouped(row("SLV.LIKELIHOOD", reason="is −3, expected −4"), row("SLV.SLOPE.VALUE")) == [
        ["SLV.SLOPE.VALUE"], ["SLV.LIKELIHOOD"]]


def test_noise_at_the_last_step_follows_from_a_wrong_step_but_a_wrong_t_does_not():
    assert grouped(row("SMP.STEP.X_PREV"), row("SMP.LAST"), row("SMP.TIMES")) == [["SMP.STEP.X_PREV", "SMP.LAST"], ["SMP.TIMES"]]


def test_the_same_mistake_or_the_same_sentence_is_one_cause_but_not_the_same_note():
    noted = "returned a Tensor, read as an array"
    assert grouped(row("GAU.KL.VALUE", reason=noted), row("LAY.TANH.VALUE", reason=noted)) == [["GAU.KL.VALUE"], ["LAY.TANH.VALUE"]]
    assert grouped(row("GAU.KL.VALUE", reason="raises IndexError"), row("LAY.TANH.VALUE", reason="raises IndexError")) == [
        ["GAU.KL.VALUE", "LAY.TANH.VALUE"]]
    assert grouped(row("GAU.KL.VALUE", "A"), row("LAY.TANH.VALUE", "B", also=["A"]), row("GAU.ENT.VALUE", "C")) == [
        ["GAU.KL.VALUE", "LAY.TANH.VALUE"], ["GAU.ENT.VALUE"]]
    assert has_its_own_name(row("b", "B"), row("a", "A")) and not has_its_own_name(row("b", "B", also=["A"]), row("a", "A"))


# -- the first line, and what is shown ------------------------------------------------------------------------------------

def test_the_first_line_is_in_plain_words_and_says_where(monkeypatch):
    with_verdict(monkeypatch, "wrong", mistake="the factor β_t is missing", where="at t = 1 only")
    lines = reports.text(check(adapter(posterior=lambda x_0, x_t, t: x_t), only="GAU.POST")).splitlines()
    assert lines[0] == "adapter: the posterior's mean (GAU.POST.MEAN) is wrong: the factor β_t is missing; at t = 1 only"
    assert "also wrong, probably for the same reason: GAU.POST.VAR" in lines


def test_a_law_is_told_by_its_finding():
    def changing(x):
        x += 1
        return x - 1

    first = reports.headline(check(adapter(tanh=changing), effort=QUICK, only="PURE"))
    assert first == "adapter: tanh changes its input x (PURE.INPUTS)"


def test_an_undecided_clause_without_a_reason_shows_what_would_have_passed(monkeypatch):
    with_verdict(monkeypatch, "undecided", power={"factor": None, "at": {}, "unseen": ["sign of x"]})
    assert "would not have been seen: sign of x" in reports.text(check(adapter(kl=right_kl), only="GAU.KL"))


def test_a_known_mistake_is_told_as_wrong_and_right():
    told = reports.mistake_text({"mistake": "SCH-01c", "also": ["SCH-01"]})
    assert "; right: 1 in front, ᾱ_T left out (known mistake SCH-01c)" in told and "→" not in told
    assert "(or SCH-01: the same on these inputs)" in told
    assert reports.mistake_text({"mistake": "a sentence", "also": []}) == "a sentence"


def test_a_failure_shows_what_came_and_what_should_have_come():
    found = check(adapter(kl=wrong_kl), effort=QUICK, only="GAU.KL")
    one = found["clauses"][0]
    assert len(one["observed"]) == len(one["right"]) <= 6 and one["shown"].startswith("answer[")
    assert any(abs(a - b) > 1e-3 for a, b in zip(one["observed"], one["right"]))
    text = reports.text(found)
    assert "  came       " in text and "  should be  " in text and "  input      " in text
    assert "no mistake that is known explains it; " in text.splitlines()[0] and text.splitlines()[0].endswith("is right")


def test_rows_of_one_input_stand_together_and_the_others_say_of_which_inputs_they_are():
    failed = next(row for row in check(adapter(kl=wrong_kl), effort=QUICK)["clauses"] if row["verdict"] == "wrong")
    fields = dict(reports.failure_fields(failed | {"digits": {"1": 3.0, "2": 4.0}}))
    names = list(fields)
    at = names.index("came")
    assert names[at:at + 3] == ["came", "should be", "input"] and names.index("error") > at + 2 < names.index("digits")
    assert "on the worst input" in fields["error"]
    assert fields["digits"].startswith("that are right on the input with most values of t:")


def test_gradients_show_them_too():
    def vjp(name, args, cotangent):
        return {"mean_q": 0 * args["mean_q"] + 7}

    found = check(adapter(kl=right_kl, vjp=vjp), effort=QUICK, only="GRAD.GAU.KL.MEAN_Q")
    assert found["clauses"][0]["observed"][0] == 7 and found["clauses"][0]["right"][0] != 7
    assert reports.headline(found).startswith("adapter: the gradient of the KL divergence with respect to mean_q (GRAD.GAU.KL")


def test_few_numbers_are_those_around_the_worst():
    right = np.ones((3, 20))
    came = right.copy()
    came[1, 15] = 2
    found = few_numbers(came, right, {"t": np.array([4, 7, 9])})
    assert found == {"observed": [1, 1, 1, 2, 1, 1], "right": [1] * 6, "shown": "answer[1, 12:18], where t = 7"}
    assert few_numbers(np.array(3.0), np.array(1.0), {}) == {"observed": [3], "right": [1], "shown": ""}
    assert few_numbers(np.full(3, np.nan), np.zeros(3), {})["observed"] == ["nan"] * 3
    assert few_numbers(None, np.zeros(2), {})["observed"] is None and few_numbers(None, None, {})["right"] is None
    assert few_numbers(np.zeros((0, 2)), np.zeros((0, 2)), {})["observed"] == []


def test_numbers_have_as_many_digits_as_tell_them_apart():
    assert in_digits([0.5, 1.00000001], [0.5, 1]) == ("0.5, 1.00000001", "0.5, 1")
    assert in_digits(["nan"], [1 / 3]) == ("nan", "0.33333")
    assert in_digits([-0.0, -0.5], [-0.0, 0]) == ("0, -0.5", "0, 0")


def test_inputs_are_shown_as_they_are_or_by_how_they_begin():
    assert inputs_text({"t": [1, 2], "x": [[0.123456789], [1e-8]]}) == "t = [1, 2], x = [[0.1235], [1e-08]]"
    assert inputs_text({"x": np.arange(20.0).reshape(4, 5).tolist()}) == "x = an array of shape (4, 5): 0, 1, 2, 3, 4, 5, …"
    assert inputs_text({"model": {"weight": [1]}, "N": 3, "c": [[1], [[2]]]}) == (
        "model = a network that is affine in x_t, N = 3, c = [[1], [[2]]]")


def test_from_where_t_counts_is_said_if_it_is_not_from_1():
    found = check(ddpm, effort=QUICK, only="GAU.MARG")
    assert "in this report t counts from 1; the adapter counts from 0" in reports.text(found)
    assert "counts from 1" not in reports.text(check(adapter(kl=right_kl), effort=QUICK, only="GAU.KL"))


# -- what was not decided, and the exit code ------------------------------------------------------------------------------

KL = dict(only="GAU.KL")


@pytest.mark.parametrize("verdict,code,first", [
    ("pass", 0, "1 clause passes"), ("wrong", 1, "is wrong: because"), ("inaccurate", 1, "is inaccurate: because"),
    ("not checked", 2, "the KL divergence (GAU.KL.VALUE) could not be checked: because"), ("undecided", 2, "nothing passes"),
    ("skipped", 2, "nothing ran: because")])
def test_every_verdict_has_its_exit_code_and_first_line(monkeypatch, verdict, code, first):
    with_verdict(monkeypatch, verdict, reason="because")
    found = check(adapter(kl=right_kl), **KL)
    assert found["exit_code"] == code and first in reports.text(found).splitlines()[0]
    assert found["summary"][verdict] == 1 and f"1 {verdict}" in reports.text(found).splitlines()[-1]
    assert set(found["summary"]) == {"pass", "undecided", "inaccurate", "wrong", "skipped", "not checked"}


def test_something_must_pass_beside_what_is_undecided(monkeypatch):
    def judge(subject, quantity, effort):
        return [Result(id, "pass" if quantity.name == "kl" else "undecided", reason="compute in float64",
                       power={"factor": 0.01, "at": {}, "unseen": ["× 1.01"]}) for id in session.value_ids(quantity)]

    monkeypatch.setattr(session, "judge", judge)
    found = check(adapter(kl=right_kl, tanh=np.tanh), only=["GAU.KL", "LAY.TANH"])
    assert found["exit_code"] == 0 and len(found["clauses"]) == 2
    assert reports.headline(found) == "adapter: 1 clause passes, 1 cannot be decided (LAY.TANH.VALUE: compute in float64)"
    assert "compute in float64" in reports.text(found) and "0.01" not in reports.text(found)
    verbose = reports.text(found, verbose=True)
    assert "an error of 0.01 (relative) would have been seen" in verbose and "would not have been seen: × 1.01" in verbose
    assert json.loads(json.dumps(found))["clauses"][0]["power"]["factor"] == 0.01


def test_what_cannot_be_asked_is_no_success_beside_what_passes(monkeypatch):
    def judge(subject, quantity, effort):
        return [Result(id, "pass" if quantity.name == "kl" else "not checked", reason="raises TypeError")
                for id in session.value_ids(quantity)]

    monkeypatch.setattr(session, "judge", judge)
    found = check(adapter(kl=right_kl, tanh=np.tanh), only=["GAU.KL", "LAY.TANH"])
    assert found["exit_code"] == 2 and "not checked: LAY.TANH.VALUE: raises TypeError" in reports.text(found)


def test_laws_of_purity_alone_are_no_success():
    """A function that passes only them has not been looked at."""
    flow = check(adapter(velocity=lambda x_0, noise, t: x_0 - noise), effort=QUICK)
    assert flow["exit_code"] == 2 and flow["summary"]["pass"] == 3 and "nothing ran" in reports.headline(flow)


@pytest.mark.parametrize("velocity,out_of_scope", [
    (lambda x_0, noise, t: noise - x_0, True), (lambda x_0, noise, t: x_0 - noise, True),
    (lambda x_0, noise, t: noise + x_0, False)])
def test_a_velocity_of_flow_matching_is_recognised(velocity, out_of_scope):
    found = check(adapter(velocity=velocity), effort=QUICK, only="PAR.V")["clauses"][0]
    assert (found["verdict"] == "skipped" and "flow matching" in found["reason"]) == out_of_scope


# -- functions that the kit does not know ---------------------------------------------------------------------------------

def module(text, name="their_module"):
    found = ModuleType(name)
    exec(text, vars(found))
    return found


def test_own_functions_that_the_kit_does_not_know_are_listed():
    theirs = module("""
import numpy as np
from os.path import join
def kl(mean_q, var_q, mean_p, var_p): return mean_q
def guidance(x): return x
def marginal_samples(x): return x
def _private(x): return x
class Helper: pass
array = np.asarray
""")
    found = check(theirs, effort=QUICK, only="GAU.KL")
    assert found["not_known"] == [{"name": "guidance", "nearest": None}, {"name": "marginal_samples", "nearest": "marginal_sample"}]
    text = " ".join(reports.text(found).split())
    assert "no clause is about these functions: guidance, marginal_samples (is marginal_sample meant?)" in text


def test_methods_of_what_make_makes_count_too_and_no_property_is_asked():
    class Base:
        def softmaks(self, x): return x

    class Made(Base):
        @property
        def hostile(self): raise RuntimeError("asked")
        @staticmethod
        def guided(x): return x
        def tanh(self, x): return np.tanh(x)

    names = frozenset({"tanh", "softmax"})
    assert unknown_functions(SimpleNamespace(make=Made), names) == ["guided", "softmaks"]
    assert unknown_functions(Made(), names) == ["guided", "softmaks"] and unknown_functions(Made, names) == ["guided", "softmaks"]
    assert nearest("softmaks", names) == "softmax" and nearest("guided", names) is None


@pytest.mark.parametrize("kind", [interfaces.Guided, interfaces.Lucid, interfaces.DDIM, interfaces.Symbols])
def test_what_our_own_wrappers_have_besides_is_not_listed(kind):
    wrapped = known.adapted(kind(np.array([0.125, 0.25, 0.5, 0.375])), session.NAMES)
    assert type(wrapped).__module__.startswith("refdpm.") and unknown_functions(wrapped, session.NAMES) == []


def test_names_that_no_clause_is_about_are_listed():
    class Source(session.Local):
        unasked = ("training_losses",)

    found = check(Source(adapter(kl=right_kl), names=session.NAMES), effort=QUICK, only="GAU.KL")
    assert found["not_looked_at"] == ["training_losses"]
    assert "no clause is about these parts: training_losses" in reports.text(found)
    assert reports.headline(found).endswith("1 clause passes, 1 of its functions was not checked")


# -- texts from outside ------------------------------------------------------------------------------------------------------

def test_texts_from_outside_are_cut_and_hold_nothing_that_a_terminal_obeys():
    assert tidy("a\x00\x1b[31m\ud800\ufffeb\x85") == "a��[31m��b�" and tidy("t = 1\n→ ᾱ") == "t = 1\n→ ᾱ"
    assert len(tidy("A" * 5000)) < 500 and tidy("A" * 5000).endswith("(5000 characters in all)")
    assert {tidy("whole words " * 50, longest=longest).partition("…")[0][-5:] for longest in range(40, 60)} == {"whole", "words"}
    assert {one_line("whole words " * 200)[-6:], one_line("x" + "whole words " * 200)[-6:]} <= {"whole…", "words…"}


@pytest.mark.parametrize("said", ["\x00\x1b[31mred\x07 \ud800 ]]> \ufffe \r second", "A" * 5_000_000])
def test_junit_is_well_formed_whatever_an_exception_says(said):
    def kl(mean_q, var_q, mean_p, var_p):
        raise ValueError(said)

    found = check(adapter(kl=kl), effort=QUICK, only="GAU.KL")
    suite = ElementTree.fromstring(junit([found]))
    assert len(junit([found])) < 20_000 and len(reports.text(found)) < 5_000
    assert len(suite.findall("testcase")) == 1 and "\x1b" not in reports.text(found)


def test_a_long_exception_is_shown_from_its_beginning_with_its_true_length():
    def kl(mean_q, var_q, mean_p, var_p):
        raise ValueError("A" * 5_000_000)

    said = reports.headline(check(adapter(kl=kl), effort=QUICK, only="GAU.KL"))
    assert "ValueError: AAAA" in said and "(5000000 characters in all)" in said


def test_what_is_refused_besides_is_a_note_and_not_why():
    class Wrong:
        beta = np.linspace(0.1, 0.5, 5)

        def posterior(self, x_0, x_t, t):
            if x_0.ndim > 2:
                raise ValueError("rows of numbers only")
            return 0.3 * x_0 + 0.3 * x_t, np.full_like(x_0, 0.1)

    row, *_ = [row for row in check(Wrong(), only="GAU.POST.MEAN", effort=QUICK)["clauses"]]
    fields = [name for name, _ in reports.failure_fields(row)]
    assert "note" in fields and "why" not in fields and fields.index("mistake") < fields.index("note")


@pytest.mark.parametrize("verdict", ["undecided", "not checked", "skipped"])
def test_what_was_not_decided_is_skipped_in_junit(monkeypatch, verdict):
    with_verdict(monkeypatch, verdict, reason="because")
    suite = ElementTree.fromstring(junit([check(adapter(kl=right_kl), **KL)]))
    assert suite.get("skipped") == "1" and suite.find(".//skipped").get("message") == f"{verdict}: because"


@pytest.mark.parametrize("verdict", ["undecided", "not checked", "skipped"])
def test_what_was_not_decided_is_skipped_in_pytest(monkeypatch, verdict):
    with_verdict(monkeypatch, verdict, reason="because")
    clause = next(one for one in session.clauses(adapter(kl=right_kl)) if one.id == "GAU.KL.VALUE")
    with pytest.raises(SkipTest, match=f"{verdict}: because"):
        clause.check()


# -- a file with the failing input ---------------------------------------------------------------------------------------

ADAPTER = """
import numpy as np
from refdpm.conformance.example.ddpm import DDPM
dtype = "float32"
class Made(DDPM):
    def posterior(self, x_0, x_t, t):
        mean, var = DDPM.posterior(self, x_0, x_t, t)
        return mean * 1.25, var * 1.25
    def reverse(self, model, x_t, t):
        mean, var = DDPM.reverse(self, model, x_t, t)
        return mean / 2, var
    def vjp(self, name, args, cotangent):
        return {"x_0": 0 * args["x_0"] + 3}
make = Made
def draw_times(T, N, seed): return np.zeros(N, dtype=int)
def tanh(x): raise RuntimeError("boom")
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """The folder of an adapter, and the report of what fails in it."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "theirs.py").write_text(ADAPTER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        source = failure.remote.open_source("theirs.py", isolate=False, timeout=5, names=session.NAMES)
        return folder, check(source, effort=QUICK._replace(power=False), only=[
            "GAU.POST.MEAN", "REV.LAW.MEAN", "GRAD.GAU.DRAW.X_0", "LAW.TIMES"])


@pytest.mark.parametrize("only,suffix", [("GAU.POST.MEAN", ".npz"), ("REV.LAW.MEAN", ".npz"), ("REV.LAW.MEAN", ".json"),
                                         ("GRAD.GAU.DRAW.X_0", ".npz"), ("GRAD.GAU.DRAW.X_0", ".json"), ("LAW.TIMES", ".json")])
def test_a_dump_gives_the_failure_again(tmp_path, monkeypatch, failed, only, suffix):
    folder, report = failed
    monkeypatch.chdir(folder)
    report = report | {"clauses": [row for row in report["clauses"] if row["id"] == only], "causes": [{"first": only, "also": []}]}
    path = tmp_path / f"failure{suffix}"
    path.write_bytes(failure.as_bytes(failure.contents(report), suffix))
    case, first = failure.load(path), report["clauses"][0]
    assert case.clause == only and first["verdict"] == "wrong"
    if only == "LAW.TIMES":
        assert case.right is None and len(case.call()) == 20_000
        return
    assert case.arguments.keys() >= {"x_0", "t"} or "model" in case.arguments
    again = few_numbers(case.call(), case.right, case.inputs)
    assert {name: first[name] for name in again} == again


def test_the_lines_of_python_in_the_report_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text(ADAPTER)
    command = ["check", "theirs.py", "--only", "GAU.POST.MEAN", "--only", "GAU.MARG", "--max-examples", "1", "--dump", "it.npz"]
    assert cli.main(command) == 1
    text = capsys.readouterr().out
    start = text.index("it.npz has the input of GAU.POST.MEAN")
    lines = [line[4:] for line in text[start:].splitlines()[1:4]]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0 and "expected:" in done.stdout, done.stderr
    assert cli.main(command) == 2 and "--dump: expected a new file" in capsys.readouterr().err
    assert cli.main([*command[:-1], "it.txt"]) == 2 and ".npz or .json" in capsys.readouterr().err


def test_a_dump_of_nothing_leaves_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text(ADAPTER)
    assert cli.main(["check", "theirs.py", "--only", "GAU.MARG", "--max-examples", "1", "--dump", "it.json"]) == 0
    assert not (tmp_path / "it.json").exists() and "there is no file" in capsys.readouterr().err


def test_another_file_is_no_dump(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    np.savez(tmp_path / "x.npz", a=1)
    for name in ("x.json", "x.npz"):
        with pytest.raises(ValueError, match="expected a file that `refdpm check --dump` wrote"):
            failure.load(tmp_path / name)


def test_only_twice_means_both_and_a_wrong_one_is_refused(capsys):
    assert {one["id"] for one in check(adapter(kl=right_kl), effort=QUICK, only=["GAU.KL", "GAU.ENT"])["clauses"]} == {
        "GAU.KL.VALUE", "GAU.ENT.VALUE"}
    assert cli.main(["check", "refdpm.conformance.example.ddpm", "--only", "GAU", "--only", "NOTHING"]) == 2
    assert "'NOTHING'" in capsys.readouterr().err


def test_what_two_functions_refuse_is_no_reason_that_they_share():
    """Two mistakes that have nothing in common, in an adapter whose tables need a second step."""
    class Two:
        profile = {"first_t": 0}

        def __init__(self, beta):
            self.beta, self.abar, self.second = beta, np.cumprod(1 - beta), beta[1]

        def marginal_sample(self, x_0, t, noise):
            a = self.abar[t].reshape(-1, *[1] * (x_0.ndim - 1))
            return np.sqrt(a) * x_0 + (1 - a) * noise

        def prior_kl(self, x_0):
            mean, var = np.sqrt(self.abar[-1]) * x_0, np.sqrt(1 - self.abar[-1])
            return ((mean ** 2 + var - 1 - np.log(var)) / 2).reshape(len(x_0), -1).sum(axis=1)

    report = check(type("Made", (), {"make": staticmethod(Two)})(), only=("GAU.DRAW", "OBJ.PRIOR"), effort=QUICK)
    reasons = [row["reason"] for row in report["clauses"]]
    assert all(reason.startswith("refuses a schedule of one step") for reason in reasons)
    assert [cause["also"] for cause in report["causes"]] == [[], []]


def test_a_nearest_mistake_that_leaves_most_of_the_error_is_not_told():
    nothing = dict.fromkeys(("smallest_input", "ratio", "digits", "reproduce", "expected"))
    nothing |= {"where": "", "shown": "", "converted": ""}
    numbers = nothing | {"observed": [1.0], "right": [2.0], "kind": "value", "called": "it"}
    for left, is_told in ((0.4, True), (0.6, False)):
        lines = reports.failure_lines(row("GAU.MARG.MEAN") | numbers | {"runner_up": "sign of x", "runner_up_distance": left})
        assert any("the nearest, “sign of x”" in line for line in lines) is is_told


def test_the_worst_t_is_among_the_digits_that_are_shown():
    assert "t=2: 0" in reports.digits_text({str(t): 0.0 if t == 2 else 7.0 for t in range(1, 21)})
