"""`refdpm explain`: every name that is ever printed is known to it, and the nearest names stand in for one that is not."""

import importlib

import pytest

from refdpm import cli, paper
from refdpm.conformance import explain
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.quantity import Law
from refdpm.conformance.glossary import CONVENTIONS, ELSEWHERE, GLOSSARY, GROUPS, WORDS, called
from refdpm.conformance.profile import VALUES
from refdpm.conformance.report import SAYS
from refdpm.conformance.session import NAMES, all_clauses
from refdpm.paper import EQUATIONS

CLAUSES = all_clauses()


def told(name):
    return explain.explain(name, CLAUSES)


def test_every_entry_has_a_text():
    for name, text in explain.entries(CLAUSES):
        assert len(text()) > 20, name


@pytest.mark.parametrize("names", [[id for id, _ in CLAUSES], SAYS, NAMES, EQUATIONS, VALUES,
                                   [value for values in VALUES.values() for value in values if isinstance(value, str)],
                                   [name for _, of in CLAUSES for name in of.equations], [quantity.id for quantity in QUANTITIES]],
                         ids=["clauses", "mistakes", "functions", "equations", "conventions", "values", "sources", "quantities"])
def test_every_name_that_is_printed_is_known(names):
    known = {name.lower() for name, _ in explain.entries(CLAUSES)}
    ids = [id for id, _ in CLAUSES]
    assert [name for name in names if name.lower() not in known and not any(id.startswith(name) for id in ids)] == []


@pytest.mark.parametrize("name,words", [
    ("GAU.POST.MEAN", ["posterior(", "SCH-01"]), ("posterior", ["GAU.POST.MEAN", "GAU.POST.VAR"]), ("GAU.POST", ["GAU.POST.VAR"]),
    ("SCH-01c", ["wrong → right", "seen in"]), ("sch-01C", ["SCH-01c"]), ("FWD-04 & NEW-DRAW", ["FWD-04\n", "NEW-DRAW\n"]),
    ("GRD-05-N", ["number of rows"]), ("GRAD.GAU.POST.X_0", ["gradients", "GRD-01-CUT"]), ("SMP.TIMES", ["needs", "sample"]),
    ("draw_times", ["LAW.TIMES"]), ("14", ["K = ", "Correction", "code: ", "BND.K.VALUE"]), ("38", ["eq. 12"]),
    ("App.1 G bound", ["Table App.1"]), ("Ho 2020", ["SMP.STEP.X_PREV"]), ("predicts", ["noise", "score", "bears on"]),
    ("log_variance", ["log σ²", "spread"]), ("bits", ["logarithms to base 2", "law of a bit"]), ("undecided", ["a verdict"]),
    ("not checked", ["a verdict"]), ("vjp", ["cotangent"]), ("own_steps", ["where the chain ends"]),
    ("masked_reverse", ["of shape (4, 4, 6)"]), ("all", ["With t goes beta"]),
    ("gaussian.kl", ["refdpm.gaussian.kl("]), ("glossary", ["adapter"]),
    ("complex step", ["Im f(x + ihv)/h"]), ("refdpm", ["`bound`"]), ("refdpm.bound", ["detailed balance", "telescopes"]),
    ("C", ["correction", "K + C"]), ("K", ["BND.K.VALUE", "eq. 14"]), ("eq. 14", ["K = "]), ("equation 14", ["K = "]),
    ("K*", ["best"]), ("L_null", ["under π"]), ("model", ["rows 1 to T"]), ("eq65", ["equations 64 and 65"]),
    ("correction", ["bound.correction(", "C = [E log"]), ("convention", ["refdpm explain"]), ("strict bound", ["BND.STRICT.VALUE"]),
    ("T_pi", ["T_π: ", "q(x_t | x_{t−1})"]), ("kernel", ["T_π", "q(x_t | x_{t−1})", "a convention"]), ("q", ["forward chain"]),
    ("why is eq. 14 equal to eq. 12?", ["equation 14 of", "equation 12 of", "K + C"]),
    ("telescope", ["refdpm.bound: Their sum over t telescopes (eqs. 49, 50)", "50: "]),
    ("stationary", ["refdpm.gaussian: ", "and "]), ("Jensen", ["refdpm.likelihood: The logarithm is concave", "NEW-JENSEN meant"]),
    ("protocol", ['{"hello": 1', '"call": "vjp"', "(N, H, W, C)", "shape (T,): β_1 first"])])
def test_a_name_is_explained(name, words):
    assert all(word in told(name) for word in words)


def test_the_beginning_of_an_id_is_whole_parts_of_it():
    """A letter does not stand for all the clauses that begin with it."""
    assert told("GAU.POST") == told("gau.post.") and "CAT." not in told("C")
    with pytest.raises(ValueError, match="meant"):
        told("GAU.PO")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_others_call_it_is_understood(name):
    text = told(name)
    assert text.startswith(f"{name} is the name elsewhere of what is {ELSEWHERE[name]} here.")
    assert text.endswith(told(ELSEWHERE[name]))


def test_the_value_of_a_convention_is_told_alone():
    assert "β̃_t" not in told("large") and "β_t" in told("large")


def test_an_unknown_name_suggests_the_nearest(capsys):
    meant = {"posterier": "posterior", "SCH-01x": "SCH-01", "undecidd": "undecided", "BND.STEPP.VALUE": "BND.STEP.VALUE"}
    for name, nearest in meant.items():
        with pytest.raises(ValueError, match=f"NAME: expected.*{nearest}.*meant"):
            told(name)
    assert cli.main(["explain", "posterier"]) == 2 and "posterior" in capsys.readouterr().err


def test_every_convention_and_value_has_words():
    assert {field: set(values) for field, values in VALUES.items()} == {
        field: set(says) for field, (_, says) in CONVENTIONS.items()}


def test_functions_are_called_by_plain_words():
    names = {quantity.name for quantity in QUANTITIES}
    assert set(WORDS) <= names
    assert called("posterior", "MEAN") == "the posterior's mean" and called("x_0_from_noise") == "the x_0 from noise"
    assert not [name for name in names if "_" in called(name).replace("x_0", "").replace("x_t", "")]


def test_the_list_has_every_function():
    listing = told("all")
    assert all(f"{quantity.name}(" in listing for quantity in QUANTITIES)


def test_the_contents_are_short_and_lead_to_every_function_and_law():
    lines = explain.contents(CLAUSES).splitlines()
    assert len(lines) < 80 and max(map(len, lines)) <= explain.WIDTH
    groups = {group: told(group) for group in GROUPS}
    assert all(f"\n{group:6s}" in "\n".join(lines) for group in groups)
    for id, of in (one for one in CLAUSES if not one[0].startswith("GRAD.")):
        text = groups[id.partition(".")[0]]
        assert id in text and (of.id in "".join(lines) if isinstance(of, Law) else f"{of.name}(" in text), id


@pytest.mark.parametrize("number", ["37", "38", "40", "41", "43", "46"])
def test_an_equation_on_k_says_which_k(number):
    """The paper has one letter for the right side of eq. 12 and for eq. 14, which lacks C."""
    assert "eq. 12" in EQUATIONS[number].note or "eq. 12" in EQUATIONS[number].says
    assert "K: the bound of eq. 14" not in told(number) and "which lacks C" in " ".join(told(number).split())


def test_a_note_is_printed_where_one_is_spoken_of():
    assert [number for number in EQUATIONS if "see its note" in told(number)] == []


def test_every_word_is_found_however_it_is_spelt():
    for word in {**GLOSSARY, **paper.SYMBOLS}:
        assert f"{word}: " in told(word) and f"{word}: " in told(word.upper().replace(" ", "_")), word


def test_a_sentence_that_is_shown_is_whole():
    lines = told("stationary").splitlines()
    assert not [line for line in lines if line.endswith(("(eq.", "(eqs.", "(sec."))]


@pytest.mark.parametrize("number, module", [("14", "bound"), ("12", "bound"), ("25", "reversal"), ("48", "gaussian"),
                                            ("8", "likelihood")])
def test_an_equation_says_where_it_is_derived(number, module):
    assert f"why: python -m refdpm explain refdpm.{module}" in told(number)
    assert number in paper.cited(importlib.import_module(f"refdpm.{module}").__doc__)


def test_the_equations_that_a_text_names():
    assert paper.cited("see eqs. 38–41, 51 and eq. 9, not 7; equation 2 too") == ["38", "39", "40", "41", "51", "9", "2"]


@pytest.mark.parametrize("name,mistake", [("step_kl", "BND-34"), ("reverse", "NEW-SWAP"), ("training_loss", "LOSS-CLEAN")])
def test_what_a_function_with_a_network_knows_is_listed(name, mistake):
    """Its inputs alone do not say what the network predicts, or which variance the step has."""
    assert mistake in told(name) and "see its equations" not in told(name)
