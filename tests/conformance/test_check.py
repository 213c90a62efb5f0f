"""The kit from outside: verdicts, names, conventions, staged blame, reports; no false alarm, and no check that cannot fail."""

from types import SimpleNamespace
from xml.etree import ElementTree
import json

import numpy as np
import pytest
from scipy.special import log_ndtr, logsumexp
from test_mistakes import FALSE_ALARMS

from refdpm.conformance import report as reports
from refdpm.conformance.session import Session, all_clauses, check, clauses
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.example import ddpm, ddpm_wrong
from refdpm.conformance.judge import Effort, judge
from refdpm.conformance.junit import junit
from refdpm.conformance.mistakes import MISTAKES, Mistake
from refdpm.conformance.planting import instead
from refdpm.conformance.naming import touched
from refdpm.conformance.profile import VALUES, Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import Subject

QUICK = Effort(max_examples=2, shrinks=5)
BY_ID = {mistake.id: mistake for mistake in MISTAKES}
OWN = Profile().stated()


def verdicts(adapter, **options):
    """Clause → row, of what ran."""
    found = check(adapter, effort=QUICK, **options)
    return {row["id"]: row for row in found["clauses"] if row["verdict"] != "skipped"}


@pytest.fixture(scope="module")
def wrong_example():
    """The report on the wrong example's clauses of normal laws, and the seconds that each took; not to be changed."""
    seconds = {}
    return check(ddpm_wrong, effort=QUICK, only="GAU", watch=lambda step: seconds.update({step.id: step.seconds})), seconds


def adapter(change=lambda ddpm: None, **more):
    """The example with some functions replaced."""
    class Changed(ddpm.DDPM):
        pass

    for name, function in more.items():
        setattr(Changed, name, function)
    return SimpleNamespace(make=Changed, dtype="float32", __name__="changed")


# -- right implementations -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype,profile", [("float32", Profile()), ("float64", Profile(
    predicts="v", weight_of="v", variance="large", first="beta", basis="released", mixing="joint", readout="denoising"))])
def test_the_reference_passes(dtype, profile):
    """All its clauses, also where other choices have other formulas."""
    reference = Reference(dtype, profile=profile)
    found = check(reference, effort=Effort(max_examples=2, power=False), profile=profile.stated())
    failed = [row for row in found["clauses"] if row["verdict"] not in ("pass", "skipped")]
    assert not failed and found["summary"]["pass"] > 380 and found["summary"]["skipped"] <= 3
    assert not any(row["given_upstream"] for row in found["clauses"])


# it loses the digits of small probabilities, and the kit says so
LOSES_DIGITS = "sigmoid as a hyperbolic tangent"
NOBODY = {("convolution by Fourier transforms", "strided_conv2d")}         # which all outputs come from, and most are thrown away


@pytest.mark.parametrize("name,where,variant", [pytest.param(*row, id=row[0]) for row in FALSE_ALARMS if row[0] != LOSES_DIGITS])
def test_a_correct_variant_is_not_accused(name, where, variant):
    planted = Mistake(name, "", "", where, "value", instead(variant))
    concerned = [function for function in QUANTITIES if where in {mistake.target.removesuffix("_vjp") for mistake in
                                                                 touched(function.reference, function.edges(Given())[0])}]
    subject = Subject(Reference("float64", planted), QUANTITIES)
    for function in (one for one in concerned if (name, one.name) not in NOBODY):
        assert {result.verdict for result in judge(subject, function, QUICK)} <= {"pass", "skipped"}, function.name


# -- wrong ones ----------------------------------------------------------------------------------------------------------

def test_the_wrong_example_is_named_and_blamed_where_it_is_wrong(wrong_example):
    found = {row["id"]: row for row in wrong_example[0]["clauses"]}
    row = found["GAU.POST.VAR"]
    assert row["verdict"] == "wrong" and row["mistake"] == "SCH-01b" and row["distance"] < 1e-3
    assert row["runner_up"] and row["runner_up_distance"] > row["distance"] and row["digits"]["1"] < 1
    assert found["GAU.MARG.VAR"]["verdict"] == "pass" and row["smallest_input"]["t"] and "--only GAU.POST.VAR" in row["reproduce"]


@pytest.mark.parametrize("id,only", [("POS-02", "GAU"), ("DIS-01", "BIN"), ("SCH-16", "SCH.SPACED")])
def test_a_planted_mistake_is_named_in_float32(id, only):
    found = check(Reference("float32", BY_ID[id]), effort=QUICK, profile=OWN, only=only)
    first = next(row for row in found["clauses"] if row["verdict"] == "wrong")
    assert id in (first["mistake"], *first["also"])


def test_two_mistakes_at_once_are_both_named():
    found = check(Reference("float64", BY_ID["FWD-04"], BY_ID["NEW-DRAW"]), effort=QUICK, profile=OWN, only="GAU.DRAW")
    assert set(found["clauses"][0]["mistake"].split(" & ")) == {"FWD-04", "NEW-DRAW"}


def test_an_unknown_mistake_is_wrong_and_has_no_name():
    row = verdicts(adapter(kl=lambda self, mean_q, var_q, mean_p, var_p: np.tanh(mean_q)), only="GAU.KL")["GAU.KL.VALUE"]
    assert row["verdict"] == "wrong" and row["mistake"] is None and row["distance"] is None


def test_single_precision_inside_a_double_answer_is_inaccurate():
    def posterior(self, x_0, x_t, t):
        mean, var = ddpm.DDPM.posterior(self, x_0.astype(np.float32), x_t.astype(np.float32), t)
        return mean.astype(np.float64), var.astype(np.float64)

    double = adapter(posterior=posterior)
    double.dtype = "float64"
    found = verdicts(double, only="GAU.POST")
    assert found["GAU.POST.MEAN"]["verdict"] == "inaccurate"


def test_information_that_loses_its_digits_near_0_is_inaccurate():
    def bin_mass(k, x_0, mean, var, low, high, levels):
        half = (high - low) / (levels - 1) / 2
        above, below = (x_0 + half - mean) / np.sqrt(var), (x_0 - half - mean) / np.sqrt(var)
        above, below = np.where(above + below > 0, -below, above), np.where(above + below > 0, -above, below)
        outer, inner = log_ndtr(above), log_ndtr(below)
        ends = np.where(k == 0, log_ndtr((x_0 + half - mean) / np.sqrt(var)), log_ndtr((mean - x_0 + half) / np.sqrt(var)))
        return np.where((k == 0) | (k == levels - 1), ends, outer + np.log(-np.expm1(inner - outer)))

    def rounded_near_1(**inputs):
        return np.where((near := bin_mass(**inputs)) > -1e-3, np.log(np.exp(near)), near)

    row, lost = (verdicts(SimpleNamespace(decoder_log_mass=one), only="DEC.MASS")["DEC.MASS.VALUE"]
                 for one in (bin_mass, rounded_near_1))
    assert row["verdict"] in ("pass", "undecided") and lost["verdict"] == "inaccurate"
    assert "that has lost digits" in lost["reason"] and lost["where"] == ""


@pytest.mark.parametrize("unit", ["nats", "bits"])
@pytest.mark.parametrize("log_weights", ["nats", "bits"])
def test_log_weights_may_come_in_bits(log_weights, unit):
    size = {"nats": 1.0, "bits": np.log(2)}

    def log_mean_weight(log_w):
        return logsumexp(log_w * size[log_weights] - np.log(len(log_w)), axis=0) / size[unit]

    found = check(SimpleNamespace(log_mean_weight=log_mean_weight), effort=QUICK, only="LIK")
    assert found["exit_code"] == 0 and found["profile"]["log_weights"] == log_weights and found["profile"]["unit"] == unit


def test_a_later_stage_is_judged_given_the_earlier_one():
    """The marginal is off too, but only because its levels are."""
    class Half(ddpm.DDPM):
        def __init__(self, betas):
            super().__init__(betas)
            self.abar = self.abar * 0.96875

        def marginal(self, x_0, t):
            return self.at(np.sqrt(self.abar), t, x_0) * x_0, self.at(1 - self.abar, t, x_0)

    half = SimpleNamespace(make=Half, dtype="float32", __name__="half")
    found = verdicts(half, only=["SCH.ABAR", "GAU.MARG", "GAU.FWD"])
    assert found["SCH.ABAR.TABLE"]["verdict"] == "wrong"
    assert found["GAU.MARG.MEAN"]["verdict"] == "pass" and found["GAU.MARG.MEAN"]["given_upstream"]
    assert "alpha_bar" in found["GAU.MARG.MEAN"]["reason"] and not found["GAU.FWD.MEAN"]["given_upstream"]


# -- conventions ---------------------------------------------------------------------------------------------------------

def log_variances(self, x_0, x_t, t):
    """The posterior by its log-variance, whose entry at t = 1 is clipped."""
    mean, var = ddpm.DDPM.posterior(self, x_0, x_t, t)
    return mean, np.log(np.maximum(var, 1e-20))


@pytest.mark.parametrize("field,value,functions", [
    ("spread", "log_variance", {"marginal": lambda self, x_0, t: (lambda q: (q[0], np.log(q[1])))(ddpm.DDPM.marginal(self, x_0, t)),
                                "posterior": log_variances, "kl": None, "log_prob": None, "forward": None, "reverse": None,
                                "step_kl": None, "prior_kl": None, "ancestral_step": None}),
    ("unit", "bits", {"kl": lambda self, mean_q, var_q, mean_p, var_p:
                      ddpm.DDPM.kl(mean_q, var_q, mean_p, var_p) / np.float32(np.log(2)),
                      "log_prob": None, "step_kl": None, "prior_kl": None}),
    ("reduction", "mean", {"prior_kl": lambda self, x_0: ddpm.DDPM.prior_kl(self, x_0) / x_0[0].size, "step_kl": None}),
])
def test_conventions_are_inferred_not_accused(field, value, functions):
    found = check(adapter(**functions), effort=QUICK)
    assert found["profile"][field] == value and found["known"][field] == "inferred"
    assert [row["id"] for row in found["clauses"] if row["verdict"] in ("wrong", "inaccurate")] == []


def test_a_stated_convention_is_not_inferred_and_a_wrong_one_is_refused():
    found = check(ddpm, effort=QUICK, profile={"first_t": 1}, only="GAU.MARG")
    assert found["known"]["first_t"] == "stated" and found["exit_code"] == 1
    with pytest.raises(ValueError, match="profile: expected first_t among"):
        Session(ddpm, profile={"first_t": 2})
    with pytest.raises(ValueError, match="profile: expected names among"):
        Session(ddpm, profile={"last_t": 2})
    with pytest.raises(ValueError, match="before the point, got 'step_lk.unit'"):
        Session(ddpm, profile={"step_lk.unit": "bits"})
    assert {*VALUES, "alone"} == set(Profile._fields)


# -- reports -------------------------------------------------------------------------------------------------------------

def test_report_has_the_promised_keys_and_is_json(wrong_example):
    found = json.loads(json.dumps(wrong_example[0], allow_nan=False))
    assert {"profile", "clauses", "summary", "versions", "seed", "exit_code"} <= found.keys()
    keys = {"id", "verdict", "ratio", "digits", "mistake", "distance", "runner_up", "smallest_input", "given_upstream", "reproduce",
            "reason"}
    assert all(keys <= row.keys() for row in found["clauses"])
    assert sum(found["summary"].values()) == len(found["clauses"]) and found["exit_code"] == 1


def test_the_first_line_names_the_mistake():
    first = reports.text(check(ddpm_wrong, effort=QUICK, only="GAU.POST")).splitlines()[0]
    assert "SCH-01b" in first and "GAU.POST" in first and "ᾱ_{t−1}" in first


def test_nothing_ran_is_no_success():
    found = check(ddpm, effort=QUICK, only="CAT")
    assert found["exit_code"] == 2 and "nothing ran" in reports.text(found).splitlines()[0]
    with pytest.raises(ValueError, match="adapter: expected functions"):
        check(SimpleNamespace(hello=lambda: 1, __name__="nothing"))


def test_junit_has_a_case_for_every_clause(wrong_example):
    found, _ = wrong_example
    suite = ElementTree.fromstring(junit([found]))
    assert len(suite.findall("testcase")) == len(found["clauses"]) == int(suite.get("tests"))
    assert int(suite.get("failures")) == len(suite.findall(".//failure")) == found["summary"]["wrong"]
    assert "SCH-01b" in suite.find(".//failure").get("message")


def properties(element):
    return {one.get("name"): one.get("value") for one in element.findall("properties/property")}


def test_junit_has_times_and_what_is_known_of_a_clause(wrong_example):
    found, seconds = wrong_example
    suite = ElementTree.fromstring(junit([found], [seconds]))
    assert list(seconds) == [row["id"] for row in found["clauses"] if not row["reason"].endswith("not offered")]
    assert all(0 <= time < 60 for time in seconds.values())
    times = [float(case.get("time")) for case in suite.findall("testcase[@time]")]
    assert len(times) == len(seconds) and float(suite.get("time")) == pytest.approx(sum(times), abs=0.05)
    assert properties(suite)["convention.first_t"] == "0" and properties(suite)["seed"] == "0"
    cases = {case.get("name"): properties(case) for case in suite.findall("testcase")}
    assert cases["GAU.MARG.MEAN"]["verdict"] == "pass" and "would have been seen" in cases["GAU.MARG.MEAN"]["power"]
    assert cases["GAU.POST.VAR"]["verdict"] == "wrong" and "--only GAU.POST.VAR" in cases["GAU.POST.VAR"]["reproduce"]


def test_an_expected_failure_is_skipped_in_junit_and_one_that_passes_fails():
    expected = {"GAU.POST.MEAN": "known", "GAU.POST.VAR": "known", "GAU.MARG.MEAN": "we thought so", "GAU.CROSS.VALUE": "missing"}
    found = check(ddpm_wrong, effort=QUICK, only="GAU", expected_failures=expected)
    suite = ElementTree.fromstring(junit([found]))
    skipped = {case.get("name"): case.find("skipped").get("message") for case in suite.findall("testcase[skipped]")}
    assert skipped["GAU.POST.MEAN"] == skipped["GAU.POST.VAR"] == "expected to fail: known"
    assert skipped["GAU.CROSS.VALUE"].startswith("skipped: ") and int(suite.get("skipped")) == len(skipped)
    assert found["exit_code"] == 1 and "was expected to fail" in reports.text(found).splitlines()[0]
    failure, = suite.findall(".//failure")
    assert failure.get("message") == "passes, but was expected to fail: we thought so" and suite.get("failures") == "1"


def test_several_reports_are_test_suites_of_one_file():
    found = check(ddpm, effort=QUICK, only="GAU.KL")
    root = ElementTree.fromstring(junit([found, found]))
    assert root.tag == "testsuites" and [suite.get("name") for suite in root] == ["refdpm", "refdpm"]


def test_clauses_for_pytest_raise_with_the_report_and_may_be_expected_to_fail_and_have_to():
    expected = {"GAU.POST.VAR": "we know", "GAU.MARG.MEAN": "we thought so"}
    found = {clause.id: clause for clause in clauses(ddpm_wrong, effort=QUICK, expected_failures=expected)}
    assert found["GAU.POST.MEAN"].__name__ == "GAU.POST.MEAN" and "GAU.CROSS.VALUE" not in found
    found["GAU.MARG.VAR"].check()
    with pytest.raises(AssertionError, match="(?s)SCH-01b.*came.*should be.*input.*run again"):
        found["GAU.POST.MEAN"].check()
    with pytest.raises(pytest.xfail.Exception, match="we know"):
        found["GAU.POST.VAR"].check()
    with pytest.raises(AssertionError, match="passes, but was expected to fail: we thought so"):
        found["GAU.MARG.MEAN"].check()


@pytest.mark.parametrize("expected,words", [
    ({"GAU.POST.MAEN": "known"}, "expected a clause.*got 'GAU.POST.MAEN'; is GAU.POST.MEAN meant"),
    ({"gau.post.mean": "known"}, "is GAU.POST.MEAN meant"), ({"GAU.POST": "known"}, "expected a clause"),
    ({"GAU.POST.MEAN": ""}, "expected the reason why GAU.POST.MEAN fails, got ''"), ({"GAU.POST.MEAN": None}, "the reason why"),
    (["GAU.POST.MEAN"], "expected a dict"), ({7: "known"}, "expected a clause")])
@pytest.mark.parametrize("ask", [check, clauses])
def test_an_expected_failure_that_is_no_clause_or_has_no_reason_is_an_error(expected, words, ask):
    with pytest.raises(ValueError, match=f"expected_failures: .*{words}"):
        ask(ddpm, effort=QUICK, expected_failures=expected)


def test_ids_are_of_one_clause_each_and_names_of_one_function():
    ids = [id for id, _ in all_clauses()]
    assert len(ids) == len(set(ids)) and all(id == id.upper() for id in ids)
    assert len({function.name for function in QUANTITIES}) == len(QUANTITIES)


# -- what a newcomer stumbles over ---------------------------------------------------------------------------------------

def test_a_misspelt_function_is_pointed_out_and_a_class_without_make_too():
    def noise_schedule():
        return 0

    target = SimpleNamespace(make=ddpm.DDPM, ancestal_step=noise_schedule, __name__="misspelt")
    found = check(target, effort=QUICK, only="SCH.ABAR")
    assert {"name": "ancestal_step", "nearest": "ancestral_step"} in found["not_known"]
    assert "ancestal_step (is ancestral_step meant?)" in reports.text(found)
    with pytest.raises(ValueError, match="add `make = DDPM`"):
        check(SimpleNamespace(DDPM=ddpm.DDPM, __name__="without make"))


def test_one_wrong_function_alone_still_tells_from_where_t_is_counted():
    """No function is right, so that nothing can be inferred; but most numbers are right with t from 0 only."""
    def posterior(self, x_0, x_t, t):
        mean, _ = ddpm.DDPM.posterior(self, x_0, x_t, t)
        return mean, self.at(self.betas, t, x_t)

    class Alone:
        dtype = "float32"

        def __init__(self, beta):
            self.whole = ddpm.DDPM(beta)

        def posterior(self, x_0, x_t, t):
            return posterior(self.whole, x_0, x_t, t)

    found = check(SimpleNamespace(make=Alone, __name__="alone"), effort=QUICK, only="GAU.POST")
    rows = {row["id"]: row for row in found["clauses"]}
    assert found["profile"]["first_t"] == 0 and found["known"]["first_t"] == "guessed"
    assert rows["GAU.POST.MEAN"]["verdict"] == "pass" and rows["GAU.POST.VAR"]["mistake"] == "NEW-POS-BETA"


def test_a_slip_of_the_pen_is_told_from_the_formula():
    def posterior(self, x_0, x_t, t):
        _, var = ddpm.DDPM.posterior(self, x_0, x_t, t)
        c_0 = self.betas * self.abar_prev / (1 - self.abar)                              # without its root
        return self.at(c_0, t, x_t) * x_0 + self.at(self.coef_xt, t, x_t) * x_t, var

    row = verdicts(adapter(posterior=posterior), only="GAU.POST")["GAU.POST.MEAN"]
    assert row["verdict"] == "wrong" and row["mistake"] == "root left out: √ᾱ_{t−1}"


def test_an_exception_is_never_given_the_name_of_a_mistake():
    def posterior(self, x_0, x_t, t):
        raise RuntimeError("boom")

    row = verdicts(adapter(posterior=posterior), only="GAU.POST")["GAU.POST.MEAN"]
    assert row["verdict"] == "not checked" and row["mistake"] is None and "boom" in row["reason"]


def test_single_precision_without_a_word_is_told_to_state_it():
    class Single(ddpm.DDPM):
        def posterior(self, x_0, x_t, t):
            return tuple(np.float64(part.astype(np.float32)) for part in ddpm.DDPM.posterior(self, x_0, x_t, t))

    row = verdicts(SimpleNamespace(make=Single, __name__="single"), only="GAU.POST")["GAU.POST.MEAN"]
    assert row["verdict"] == "inaccurate" and 'dtype = "float32"' in row["reason"]
