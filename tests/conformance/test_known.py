"""Ready-made adapters: over right objects no false alarm, in both precisions; over each with one bug the bug is named."""

import numpy as np
import pytest

from refdpm.conformance import known
from refdpm.conformance.check import NAMES, check
from refdpm.conformance.judge import Effort
from tests.conformance import interfaces

try:
    import torch
except ImportError:
    torch = None

EFFORT = Effort(max_examples=2, shrinks=5)
BETA = np.linspace(1e-3, 0.3, 25)
LONG = np.linspace(1e-4, 0.02, 1000)


def needs_torch(make):
    return pytest.param(make, marks=pytest.mark.skipif(torch is None, reason="needs PyTorch"))


def ddpm(**choices):
    return lambda beta, dtype, bug="": interfaces.ddpm_scheduler(torch)(beta, dtype, bug, **choices)


def with_choices(interface, **choices):
    return lambda beta, dtype, bug="": interface(beta, dtype, bug, **choices)


RIGHT = {
    **{f"guided {predicts} {variance}": with_choices(interfaces.Guided, predicts=predicts, variance=variance)
       for predicts, variance in (("EPSILON", "FIXED_SMALL"), ("START_X", "FIXED_LARGE"), ("PREVIOUS_X", "FIXED_SMALL"),
                                  ("EPSILON", "LEARNED_RANGE"))},
    **{f"lucidrains {name}": with_choices(interfaces.Lucid, objective=name) for name in ("pred_noise", "pred_x0", "pred_v")},
    **{f"ddim {name}": with_choices(interfaces.DDIM, prediction_type=name) for name in ("epsilon", "sample", "v_prediction")},
    **{f"ddpm {name} {variance}": ddpm(prediction_type=name, variance_type=variance)
       for name, variance in (("epsilon", "fixed_small"), ("sample", "fixed_large"), ("v_prediction", "fixed_small"))},
    "d3pm": interfaces.Symbols, "d3pm of images": interfaces.Pixels}


def right():
    return [pytest.param(make, id=name, marks=pytest.mark.skipif(torch is None and name.startswith("ddpm"), reason="needs PyTorch"))
            for name, make in RIGHT.items()]


def findings(report):
    return {row["id"]: (row["verdict"], row["mistake"], row["runner_up"], row["reason"]) for row in report["clauses"]
            if row["verdict"] in ("wrong", "inaccurate")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", right())
def test_a_right_object_is_not_accused(make, dtype):
    report = check(make(BETA, dtype), effort=EFFORT)
    assert not findings(report)
    assert report["summary"]["pass"] >= 5


@pytest.mark.parametrize("make", [RIGHT["guided EPSILON FIXED_SMALL"], RIGHT["lucidrains pred_v"], RIGHT["d3pm"]])
def test_a_thousand_steps_in_float32_are_not_accused(make):
    assert not findings(check(make(LONG, "float32"), effort=EFFORT))


# -- with one bug --------------------------------------------------------------------------------------------------------

BUGS = {
    ("guided EPSILON FIXED_SMALL", "padded with itself"): "",
    ("guided EPSILON FIXED_SMALL", "variance for deviation"): "",
    ("guided EPSILON FIXED_SMALL", "no root"): "",
    ("guided EPSILON FIXED_SMALL", "weights of the step before"): "",
    ("guided EPSILON FIXED_SMALL", "no half"): "",
    ("guided EPSILON FIXED_SMALL", "tanh"): "",
    ("guided EPSILON LEARNED_RANGE", "range of variances"): "",
    ("lucidrains pred_v", "sign of v"): "",
    ("lucidrains pred_noise", "deviation for variance"): "",
    ("lucidrains pred_noise", "no root"): "",
    ("ddim epsilon", "all of the noise"): "",
    ("ddim epsilon", "variance for deviation"): "",
    ("ddpm v_prediction fixed_small", "sign of v"): "",
    ("ddpm epsilon fixed_small", "no root"): "",
    ("ddpm epsilon fixed_small", "variance for deviation"): "",
    ("ddpm epsilon fixed_small", "noise at the end"): "",
    ("d3pm", "shared among the others"): "",
    ("d3pm", "an index off"): "",
    ("d3pm", "no evidence"): "",
    ("d3pm", "softmax twice"): "",
    ("d3pm of images", "a probability for a logit"): "",
}
