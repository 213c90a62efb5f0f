"""The training loss: right ones under every convention, wrong ones, and what the network is asked."""

import numpy as np
import pytest

from refdpm.conformance import gradients
from refdpm.conformance.adapter import Local
from refdpm.conformance.chapters.training import LAWS, QUANTITIES
from refdpm.conformance.inference import infer
from refdpm.conformance.judge import Effort, judge
from refdpm.conformance.reference import Reference
from refdpm.conformance.session import check
from refdpm.conformance.subject import Subject

NAMES = frozenset({"training_loss", "vjp"})
EFFORT = Effort(max_examples=3, shrinks=0, power=False)


class Trained:
    """A loss as it is written in a training loop."""

    def __init__(self, predicts="noise", weight="none", reduction="mean", state=None, shift=0, dtype="float32"):
        self.predicts, self.weight, self.reduction, self.state, self.shift, self.dtype = (
            predicts, weight, reduction, state, shift, dtype)

    def training_loss(self, model, x_0, t, noise, beta):
        alpha_bar = np.cumprod(np.append(1.0, 1 - beta.astype(np.float64)))[t][:, None]
        signal, sigma = (np.sqrt(part).astype(x_0.dtype) for part in (alpha_bar, 1 - alpha_bar))
        x_t = signal * x_0 + (1 if self.state == "unscaled" else sigma) * noise
        said = model(x_0 if self.state == "clean" else x_t, t + self.shift)
        target = {"noise": noise, "x_0": x_0, "v": signal * noise - sigma * x_0, "score": -noise / sigma}[self.predicts]
        snr = alpha_bar / (1 - alpha_bar)
        per_x_0 = {"noise": snr, "x_0": 1.0, "v": snr + 1, "score": snr / (1 - alpha_bar)}[self.predicts]
        weight = {"none": 1.0, "snr": snr / per_x_0, "min_snr": np.minimum(snr, 5) / per_x_0}[self.weight]
        loss = (weight * (said - target) ** 2).astype(x_0.dtype)
        if self.reduction == "none":
            return loss
        return (loss.mean(axis=1) if self.reduction == "mean" else loss.sum(axis=1)).mean()


def subject_of(adapter):
    subject = Subject(Local(adapter, names=NAMES), QUANTITIES)
    subject.profile, _ = infer(subject, {})
    return subject


@pytest.mark.parametrize("predicts,weight,reduction", [
    ("noise", "none", "mean"), ("x_0", "snr", "none"), ("v", "min_snr", "sum"), ("score", "none", "mean"),
    ("noise", "min_snr", "mean")])
def test_a_right_loss_passes_and_its_conventions_are_found(predicts, weight, reduction):
    subject = subject_of(Trained(predicts, weight, reduction))
    profile = subject.profile
    assert (profile.predicts, profile.loss_weight, profile.loss_reduction) == (predicts, weight, reduction)
    assert judge(subject, QUANTITIES[0], EFFORT)[0].verdict == "pass"
    assert LAWS[0].run(subject, subject.given, 0).ratio <= 1


@pytest.mark.parametrize("change,words", [
    ({"state": "clean"}, "at x_0 itself"), ({"state": "unscaled"}, "the noise has no scale"), ({"shift": -1}, "t − 1, for t")])
def test_what_the_network_is_asked_is_said(change, words):
    subject = subject_of(Trained(**change))
    found = LAWS[0].run(subject, subject.given, 0)
    assert found.ratio > 1 and words in found.reason
    assert judge(subject, QUANTITIES[0], EFFORT)[0].verdict == "wrong"


def test_a_network_that_is_not_asked_is_seen():
    class Idle(Trained):
        def training_loss(self, model, x_0, t, noise, beta):
            return np.float32(0)

    assert LAWS[0].run(subject_of(Idle()), subject_of(Idle()).given, 0).reason == "the network is not asked"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_this_package_passes_with_its_gradients(dtype):
    subject = Subject(Reference(dtype, functions=QUANTITIES), QUANTITIES)
    found = judge(subject, QUANTITIES[0], EFFORT) + gradients.judge(subject, QUANTITIES[0], EFFORT)
    assert {result.verdict for result in found} == {"pass"}, found


def test_the_weight_of_the_bound_may_be_for_another_prediction_than_the_networks():
    """A network of noise beside SNR_{t−1} − SNR_t, the weight for x_0: right, and said so among the conventions."""
    class Weighed:
        def kl_weight(self, t, beta):
            alpha_bar = np.cumprod(np.append(1.0, 1 - beta))
            snr = alpha_bar / np.maximum(1 - alpha_bar, 1e-300)
            return snr[t - 1] - snr[t]

        def x_0_from_model(self, x_t, t, model, beta):
            alpha_bar = np.cumprod(np.append(1.0, 1 - beta))[t][:, None]
            return (x_t - np.sqrt(1 - alpha_bar) * model(x_t, t)) / np.sqrt(alpha_bar)

    found = check(Weighed(), effort=EFFORT)
    assert found["exit_code"] == 0 and (found["profile"]["weight_of"], found["profile"]["predicts"]) == ("x_0", "noise")
