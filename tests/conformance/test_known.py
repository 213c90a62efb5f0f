"""Ready-made adapters: over right objects no false alarm, in both precisions; over each with one bug the bug is named."""

from itertools import cycle
from types import SimpleNamespace

import numpy as np
import pytest

from refdpm.conformance import known
from refdpm.conformance.session import NAMES, check
from refdpm.conformance.judge import Effort
from tests.conformance import interfaces

try:
    import torch
except ImportError:
    torch = None

EFFORT = Effort(max_examples=2, shrinks=0, power=False)
BETA = np.linspace(1e-3, 0.3, 25)
LONG = np.linspace(1e-4, 0.02, 1000)


def ddpm(**choices):
    return lambda beta, dtype, bug="": interfaces.ddpm_scheduler(torch)(beta, dtype, bug, **choices)


def with_choices(interface, **choices):
    return lambda beta, dtype, bug="": interface(beta, dtype, bug, **choices)


RIGHT = {
    **{f"guided {predicts} {variance}": with_choices(interfaces.Guided, predicts=predicts, variance=variance)
       for predicts, variance in (("EPSILON", "FIXED_SMALL"), ("START_X", "FIXED_LARGE"), ("PREVIOUS_X", "FIXED_SMALL"),
                                  ("EPSILON", "LEARNED_RANGE"))},
    "guided respaced": interfaces.Respaced,
    "guided drawing": lambda beta, dtype, bug="": interfaces.with_samplers(torch)(beta, dtype, bug),
    "guided in tensors": lambda beta, dtype, bug="": interfaces.in_tensors(torch)(beta, dtype, bug),
    "lucidrains learned": with_choices(interfaces.Learned, objective="pred_v"), "lucidrains classes": interfaces.Classes,
    "lucidrains min-SNR": with_choices(interfaces.Lucid, objective="pred_v", gamma=5.0),
    "ddim of a shifted SNR": with_choices(interfaces.DDIM, snr_shift_scale=3.0),
    "ddim to x_1": with_choices(interfaces.DDIM, set_alpha_to_one=False, steps_offset=1),
    **{f"lucidrains {name}": with_choices(interfaces.Lucid, objective=name) for name in ("pred_noise", "pred_x0", "pred_v")},
    **{f"ddim {name}": with_choices(interfaces.DDIM, prediction_type=name) for name in ("epsilon", "sample", "v_prediction")},
    **{f"ddpm {name} {variance}": ddpm(prediction_type=name, variance_type=variance)
       for name, variance in (("epsilon", "fixed_small"), ("sample", "fixed_large"), ("v_prediction", "fixed_small"))},
    "mdlm": interfaces.MDLM, "d3pm": interfaces.Symbols, "d3pm of images": interfaces.Pixels}


WITH_TORCH = "ddpm", "guided drawing", "guided in tensors"


def with_torch(name):
    return pytest.mark.skipif(torch is None and name.startswith(WITH_TORCH), reason="needs PyTorch")


def right():
    """Each in one precision, in turn: of every interface some in either."""
    return [pytest.param(make, dtype, id=f"{name}, {dtype}", marks=with_torch(name))
            for (name, make), dtype in zip(RIGHT.items(), cycle(("float32", "float64")))]


def findings(report):
    return {row["id"]: (row["verdict"], [row["mistake"], *row["also"]], row["reason"]) for row in report["clauses"]
            if row["verdict"] in ("wrong", "inaccurate")}


@pytest.mark.parametrize("make, dtype", right())
def test_a_right_object_is_not_accused(make, dtype):
    report = check(make(BETA, dtype), effort=EFFORT)
    assert not findings(report)
    assert report["summary"]["pass"] >= 5


@pytest.mark.parametrize("make", [RIGHT["guided EPSILON FIXED_SMALL"], RIGHT["lucidrains pred_v"], RIGHT["d3pm"]])
def test_a_thousand_steps_in_float32_are_not_accused(make):
    assert not findings(check(make(LONG, "float32"), effort=EFFORT))


# -- with one bug --------------------------------------------------------------------------------------------------------

BUGS = (
    ("guided EPSILON FIXED_SMALL", "padded with itself", "GAU.POST", "SCH-02b"),
    ("guided EPSILON FIXED_SMALL", "variance for deviation", "GAU.DRAW", "NEW-DRAW"),
    ("guided EPSILON FIXED_SMALL", "no root", "GAU.POST.MEAN", "root left out: √α_t"),
    ("guided START_X FIXED_LARGE", "root of the wrong level", "GAU.POST.MEAN", "POS-04"),
    ("guided EPSILON FIXED_SMALL", "no half", "BND.STEP", "BND-16"),
    ("guided EPSILON FIXED_SMALL", "asked at the data", "LOSS.VALUE", "LOSS-CLEAN"),
    ("guided EPSILON LEARNED_RANGE", "range of variances", "REV.LAW.VAR", "POS-10"),
    ("guided EPSILON LEARNED_RANGE", "twice the bound", "LOSS.HYBRID", "factor left out: ½"),
    ("lucidrains pred_v", "sign of v", "PAR.V", "it has the wrong sign"),
    ("lucidrains pred_v", "weight of x_0", "LOSS.VALUE", None),
    ("lucidrains pred_noise", "deviation for variance", "GAU.POST.VAR", None),
    ("lucidrains pred_noise", "padded with itself", "GAU.POST.VAR", "SCH-02b"),
    ("ddim epsilon", "all of the noise", "SMP.DDIM.", "NEW-DDIM-VAR"),
    ("ddim of a shifted SNR", "no noise", "SMP.DDIM.", "eta is left out (taken for 0)"),
    ("ddim epsilon", "stride of another list", "SMP.DDIM.", None),
    ("ddim epsilon", "stride of another list", "SMP.DDIM_LAW", None),
    ("guided respaced", "told the number", "REV.X_0", None),
    ("guided drawing", "two steps too early", "SMP.PATH", None),
    ("ddim epsilon", "variance for deviation", "SMP.DDIM.", "NEW-DRAW"),
    ("ddpm v_prediction fixed_small", "sign of v", "PAR.V", "√ᾱ_t noise − √(1 − ᾱ_t) x_0 the other way round"),
    ("ddpm sample fixed_large", "no root", "REV.LAW.MEAN", "root left out: √α_t"),
    ("ddpm epsilon fixed_small", "variance for deviation", "REV.LAW.VAR",
     "square of β_t (1 − ᾱ_{t−1})/(1 − ᾱ_t) for β_t (1 − ᾱ_{t−1})/(1 − ᾱ_t)"),
    ("ddpm epsilon fixed_small", "noise at the end", "SMP.STEP", "REV-04c"),
    ("mdlm", "the mask may be said", "CAT.MASKED", None),
    ("mdlm", "no weight", "CAT.MASKED", "divisor left out: exp(sigma) − 1"),
    ("mdlm", "drawn again", "CAT.UNMASK", None),
    ("d3pm", "shared among the others", "CAT.STEP", "NEW-CAT-FLIP"),
    ("d3pm", "an index off", "CAT.POST", "NEW-CAT-INDEX"),
    ("d3pm", "softmax twice", "CAT.REVERSE", "DIS-10c"),
    ("d3pm of images", "no evidence", "CAT.POST", "NEW-CAT-PRIOR"),
)


@pytest.mark.parametrize("name,bug,clause,mistake", [
    pytest.param(*row, id=f"{row[0]}, {row[1]}, {row[2]}", marks=with_torch(row[0])) for row in BUGS])
def test_a_bug_is_named(name, bug, clause, mistake):
    found = findings(check(RIGHT[name](BETA, "float32", bug), only=clause, effort=EFFORT))
    assert found
    assert mistake is None or all(mistake in names for _, names, _ in found.values()), found


def test_a_loss_of_another_min_snr_is_refused_with_its_number():
    row, = (one for one in check(interfaces.Lucid(BETA, gamma=3.0), only="LOSS.VALUE", effort=EFFORT)["clauses"]
            if one["id"] == "LOSS.VALUE")
    assert (row["verdict"], row["reason"]) == ("skipped", "it weighs by min-SNR with γ = 3, and no other")


def test_a_mistake_where_one_number_is_sharp_is_told_from_those_that_differ_only_where_rounding_is_large():
    """Masses of e^−80 by a difference tell nothing in float32, the bins at the ends of the range everything."""
    decoder = interfaces.Guided(LONG, "float32", "tanh", predicts="PREVIOUS_X", variance="FIXED_LARGE")
    row, = (one for one in check(decoder, only="OBJ.DECODER", effort=EFFORT)["clauses"] if one["id"] == "OBJ.DECODER.VALUE")
    assert (row["verdict"], row["mistake"], row["also"]) == ("wrong", "NEW-CLAMP", [])


# -- which adapter ---------------------------------------------------------------------------------------------------------

def test_an_object_is_known_by_what_it_offers():
    assert isinstance(known.adapted(interfaces.Guided(BETA), NAMES), known.guided_diffusion.GuidedDiffusion)
    assert isinstance(known.adapted(interfaces.Lucid(BETA), NAMES), known.lucidrains.Lucidrains)
    assert isinstance(known.adapted(interfaces.DDIM(BETA), NAMES), known.diffusers.Scheduler)
    assert isinstance(known.adapted(interfaces.Symbols(BETA), NAMES), known.d3pm.D3PM)


def test_our_own_functions_go_before_a_known_interface():
    class Both(interfaces.Lucid):
        def posterior(self, x_0, x_t, t):
            return self.q_posterior(x_0, x_t, t)[:2]

    both = Both(BETA)
    assert known.adapted(both, NAMES) is both


def test_a_common_name_alone_is_taken_as_it_is_only_if_nothing_else_fits():
    class Samples(interfaces.Lucid):
        def sample(self, batch_size):
            raise AssertionError

    assert isinstance(known.adapted(Samples(BETA), NAMES), known.lucidrains.Lucidrains)


def test_what_is_no_adapter_is_told_what_was_looked_for():
    with pytest.raises(ValueError, match="q_posterior.*got|found none of them in object"):
        known.adapted(object(), NAMES)
    flow = SimpleNamespace(__name__="flow", euler_step=lambda x, v, dt: x + v * dt, c_skip=lambda sigma: sigma)
    with pytest.raises(ValueError, match=r"none of them in flow, which has euler_step, c_skip \(is .*sigma_euler_step.* meant\?\)"):
        known.adapted(flow, NAMES)
    with pytest.raises(ValueError, match="objective among pred_noise"):
        check(interfaces.Lucid(BETA, objective="pred_everything"))
    with pytest.raises(ValueError, match="uniform"):
        absorbing = interfaces.Symbols(BETA)
        absorbing.q_one_step_transposed[:, 0] += 0.1
        check(absorbing)


def test_the_object_is_left_as_it_was():
    scheduler = interfaces.DDIM(BETA)
    before = dict(vars(scheduler))
    check(scheduler, only="SMP.DDIM.", effort=EFFORT)
    assert vars(scheduler) == before
    lucid = interfaces.Lucid(BETA)
    check(lucid, only="REV", effort=EFFORT)
    assert not hasattr(lucid, "model")


def test_rates_near_1_keep_the_digits_that_levels_have():
    beta = np.append(np.linspace(0.01, 0.4, 9), 0.9990001)
    level = np.cumprod(1 - beta)
    found = known.common.rates(beta.astype(np.float32), level.astype(np.float32))
    assert np.allclose(1 - found, 1 - beta, rtol=3e-7, atol=0)
    wrong = known.common.rates(beta.astype(np.float32), np.sqrt(level))
    assert np.array_equal(wrong, beta.astype(np.float32))


# -- what is asked of an object, and what is not -----------------------------------------------------------------------------

def verdicts(report, *ids):
    return [next(row["verdict"] for row in report["clauses"] if row["id"] == id) for id in ids]


@pytest.mark.parametrize("mark,words", [
    (dict(sigmas=np.ones(3)), "a solver in σ coordinates"), (dict(ets=[]), "keeps earlier predictions"),
    (dict(sigmas=None), "a solver in σ coordinates"), (dict(get_scalings_for_boundary_condition=None, sigmas=None), "consistency"),
    (dict(masking_schedule="cosine"), "a sampler of symbols"), (dict(undo_step=None), "inpainting"),
    (dict(config=SimpleNamespace(tsr_k=1.0)), "whose score is rescaled"), (dict(initial_alpha_cumprod=1.0), "from data to noise"),
    (dict(config=SimpleNamespace(prediction_type="trigflow")), "TrigFlow"),
    (dict(order=2), "a solver of order 2"), (dict(config=SimpleNamespace(original_inference_steps=50)), "consistency"),
    (dict(step=lambda model_output, timestep, sample, s_churn: None), "asks for s_churn")])
def test_a_scheduler_of_another_kind_is_named_and_not_claimed(mark, words):
    other = interfaces.DDIM(BETA)
    vars(other).update(mark)
    with pytest.raises(ValueError, match=f"DDIM is .*{words}.*no clause is about it"):
        check(other)


def test_any_module_with_forward_and_sample_is_no_adapter():
    class Network:
        def forward(self, x):
            return x

        def sample(self, batch_size=16):
            raise AssertionError

    with pytest.raises(ValueError, match="its forward, sample asks for other arguments than ours"):
        known.adapted(Network(), NAMES)


def test_a_masked_diffusion_of_another_kind_is_said_to_be_one():
    with pytest.raises(ValueError, match="MDLM has the parametrisation 'sedd'; no clause is about it"):
        known.adapted(interfaces.MDLM(BETA, parameterization="sedd"), NAMES)
    row, = (row for row in check(interfaces.MDLM(BETA, T=1000), only="CAT.MASKED", effort=EFFORT)["clauses"]
            if row["id"] == "CAT.MASKED.VALUE")
    assert row["verdict"] == "skipped" and "not that of continuous time" in row["reason"]


def test_a_function_of_ours_with_a_common_name_is_taken():
    ours = SimpleNamespace(forward=lambda x_prev, t: None)
    assert known.adapted(ours, NAMES) is ours


def test_a_chain_that_ends_at_x_1_is_asked_only_for_its_steps():
    report = check(RIGHT["ddim to x_1"](BETA, "float32"), only="SMP.DDIM", effort=EFFORT)
    assert verdicts(report, "SMP.DDIM.X_PREV", "SMP.DDIM_PATH.X_0", "SMP.DDIM_LAW") == ["pass", "skipped", "skipped"]


def test_a_scheduler_goes_through_its_own_lists():
    lists = known.adapted(interfaces.DDIM(BETA), NAMES).own_steps
    assert [steps.tolist() for steps in lists] == [list(range(26)), [0, 1, 6, 11, 16, 21], [0, 1, 4, 7, 10, 13, 16, 19]]
    ends_at_1 = known.adapted(interfaces.DDIM(BETA, set_alpha_to_one=False, steps_offset=1), NAMES).own_steps
    assert ends_at_1[0].tolist() == [1, 2, 7, 12, 17, 22]


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
def test_chains_with_given_noise_are_judged():
    report = check(RIGHT["guided drawing"](BETA, "float32"), only="SMP", effort=EFFORT)
    assert verdicts(report, "SMP.STEP.X_PREV", "SMP.PATH.X_0", "SMP.LAW", "SMP.LAST", "SMP.TIMES") == ["pass"] * 5


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
def test_noise_that_cannot_be_given_is_no_verdict():
    report = check(RIGHT["guided drawing"](BETA, "float32", "noise of another kind"), only="SMP.STEP", effort=EFFORT)
    row = next(row for row in report["clauses"] if row["id"] == "SMP.STEP.X_PREV")
    assert row["verdict"] == "skipped" and "draws noise in a way that cannot be seen" in row["reason"]


def test_an_argument_that_is_not_known_is_no_verdict():
    class Other(interfaces.Lucid):
        def p_mean_variance(self, x, t, text):
            raise AssertionError

    report = check(Other(BETA), only="REV", effort=EFFORT)
    assert not findings(report)
    assert "asks for text" in next(row["reason"] for row in report["clauses"] if row["id"] == "REV.LAW.MEAN")


def test_a_method_that_takes_other_arguments_is_no_verdict():
    class Other(interfaces.Guided):
        def _predict_xstart_from_eps(self, x_t, t, eps, guidance):
            raise AssertionError

    row = next(row for row in check(Other(BETA), only="PAR", effort=EFFORT)["clauses"] if row["id"] == "PAR.X_0_OF_NOISE.VALUE")
    assert row["verdict"] == "skipped" and "_predict_xstart_from_eps takes other arguments" in row["reason"]


@pytest.mark.parametrize("change,says", [({"loss_type": SimpleNamespace(name="KL")}, "no squared error"),
                                         ({"model_var_type": SimpleNamespace(name="LEARNED_RANGE")}, "a share of the bound")])
def test_a_loss_that_is_more_than_a_squared_error_is_not_judged_as_one(change, says):
    diffusion = interfaces.Guided(BETA)
    assert verdicts(check(diffusion, only="LOSS.VALUE", effort=EFFORT), "LOSS.VALUE") == ["pass"]
    vars(diffusion).update(change)
    row, = check(diffusion, only="LOSS.VALUE", effort=EFFORT)["clauses"]
    assert row["verdict"] == "skipped" and says in row["reason"]


def test_what_no_clause_looks_at_is_listed():
    class More(interfaces.Lucid):
        def interpolate(self, x1, x2):
            raise AssertionError

    assert known.adapted(More(BETA), NAMES).unasked == ("interpolate",)
