"""The weights and losses of training against numbers by hand and against the bound."""

import math

import numpy as np
import pytest

from refdpm import bound, gaussian
from refdpm.conformance import gradients
from refdpm.conformance.adapter import Local
from refdpm.conformance.chapters import training as chapter
from refdpm.conformance.chapters.theory import PREDICTOR
from refdpm.conformance.inference import infer
from refdpm.conformance.judge import Effort, judge
from refdpm.conformance.reference import Reference
from refdpm.conformance.profile import Profile
from refdpm.conformance.session import NAMES
from refdpm.conformance.subject import Subject
from refdpm.later import loss, weights
from refdpm.later.model import Model, as_network
from refdpm.layers.linear import Affine
from refdpm.oracles import flow

QUICK = Effort(max_examples=3, shrinks=0, power=False)
BETA = np.array([0.0, 0.1, 0.3, 0.5, 0.6])


def column(*numbers):
    return np.array(numbers)[:, None]


@pytest.mark.parametrize("predicts,expected", [("x_0", [0.25, 1, 4.5, 5]), ("noise", [1, 1, 1, 0.25]),
                                               ("v", [0.2, 0.5, 0.81818181818, 0.23809523810])])
def test_min_snr_in_its_three_forms(predicts, expected):
    """γ = 5; SNR = ¼, 1, 4.5, 20, so that ᾱ_t = 1/5, 1/2, 9/11, 20/21, each after one step of β = 1/20."""
    level = np.log(column(1 / 5, 1 / 2, 9 / 11, 20 / 21)) - math.log1p(-1 / 42)
    beta = np.full((4, 1), 1 / 42)
    got = weights.loss_weight(beta, level, predicts=predicts, weight="min_snr", gamma=5.0)
    assert got.ravel() == pytest.approx(expected, rel=1e-10)


def test_the_smallest_ratio_gives_v_no_weight():
    level = column(-700.0)
    assert weights.loss_weight(column(0.5), level, predicts="v", weight="min_snr", gamma=5.0).item() < 1e-300
    assert weights.loss_weight(column(1.0), np.log(column(0.5)), predicts="v", weight="min_snr", gamma=5.0).item() == 0


def test_p2_by_hand():
    """SNR 3 and ¼: with k = 1, γ = 1 the weights ¼ and ⅘; with k = 5, γ = ⅔ the first is 8^−⅔ = ¼."""
    level = np.log(column(0.75, 0.2))
    assert weights.p2_weight(level, k=1.0, gamma=1.0).ravel() == pytest.approx([0.25, 0.8], rel=1e-14)
    assert weights.p2_weight(level[:1], k=5.0, gamma=2 / 3).item() == pytest.approx(0.25, rel=1e-14)


def test_errors_of_one_prediction_in_another_and_the_weight_of_the_bound():
    """x_0 off by 1 at one x_t with ᾱ_t = 0.36: ε is off by 0.6/0.8, v by 1/0.8, the score by 0.6/0.64.  Steps from ᾱ = ½ to ¼ bring
    the ratio from 1 to ⅓: the bound weighs x_0 by half of ⅔, and ε by 3 times that."""
    beta, before = column(0.28), np.log(column(0.5))
    for name, off in (("x_0", 1), ("noise", 3 / 4), ("v", 5 / 4), ("score", 15 / 16)):
        assert weights.error_weight(beta, before, predicts=name).item() == pytest.approx(off ** 2, rel=1e-14)
    for name, weight in (("x_0", 1 / 3), ("noise", 1)):
        got = weights.loss_weight(column(0.5), before, predicts=name, weight="bound", gamma=5.0)
        assert got.item() == pytest.approx(weight, rel=1e-14)


def test_the_logarithm_of_the_ratio_by_hand():
    """ᾱ = 0.36 has the ratio 9/16 and λ = log ¾; ᾱ = ½ has 0, and so near 1 that 1 − ᾱ is 1e-30 it is 30 log 10."""
    assert weights.log_snr(np.log(column(0.36))).item() == pytest.approx(2 * np.log(0.75), rel=1e-14)
    assert weights.log_snr(np.log(column(0.5))).item() == 0
    assert weights.log_snr(column(-1e-30)).item() == pytest.approx(30 * np.log(10), rel=1e-14)


def network(seed):
    rng = np.random.default_rng(seed)
    return Affine(rng.normal(size=(5, 2, 4)), rng.normal(size=(5, 4)))


def hybrid(parameters, held, share, predicts="noise"):
    rng = np.random.default_rng(7)
    given = dict(x_0=rng.normal(size=(3, 2)), noise=rng.normal(size=(3, 2)), t=np.array([2, 4, 3]))
    model = Model(PREDICTOR, predicts, "ranged")
    return loss.hybrid_loss_vjp(parameters, held=held, beta=BETA, model=model, share=share, **given), given, model


@pytest.mark.parametrize("predicts", ["noise", "x_0", "v"])
def test_the_hybrid_loss_is_the_simple_one_and_a_share_of_the_bound(predicts):
    """At the same parameters, both parts from elsewhere; its gradient for the prediction is that of the simple loss alone, and
    for the head of the variance that of the bound alone."""
    parameters = network(1)
    (value, back), given, model = hybrid(parameters, parameters, 0.3, predicts)
    simple, back_simple = loss.training_loss_vjp(parameters, BETA, given["x_0"], noise=given["noise"], t=given["t"], model=model,
                                                 weight="none", gamma=5.0)
    kl, back_kl = bound.step_kl_vjp(parameters, BETA, given["x_0"], noise=given["noise"], t=given["t"], kernel=gaussian,
                                    network=as_network(model))
    assert value == pytest.approx(simple + 0.3 * kl, rel=1e-13)
    d = np.array([1.0, -2, 0.5])
    got, of_simple, of_kl = back(d), back_simple(d)[0], back_kl(0.3 * d)[0]
    assert got.weight[..., :2] == pytest.approx(of_simple.weight[..., :2], rel=1e-12)
    assert got.weight[..., 2:] == pytest.approx(of_kl.weight[..., 2:], rel=1e-12)
    assert np.abs(of_kl.weight[..., :2]).max() > 1e-3


def test_many_steps_are_an_integral_over_the_ratio():
    """Data N(0, ¼), the exact network, averages of squares by ±1 for x_0 and ε: the terms t ≥ 2 of the paper's bound are the sum of
    ½ (SNR_{t−1} − SNR_t) s²/(1 + s² SNR_t), and T times what they exceed the integral by has the limit that is derived there."""
    s2, high, low = 0.25, 1e4, 1e-3
    excess = []
    for T in (250, 500, 1000):
        snr = np.geomspace(high, low, T + 1)
        level = snr / (1 + snr)
        beta = np.concatenate([[0, 1 / (1 + high)], 1 - level[1:] / level[:-1]])
        parameters = Affine(np.append(0, s2 * np.sqrt(level) / (s2 * level + 1 - level))[:, None, None], np.zeros((T + 2, 1)))
        t, x_0, noise = (part.reshape(-1) for part in np.meshgrid(np.arange(2, T + 2), [-0.5, 0.5], [-1.0, 1.0]))
        kl = bound.step_kl(parameters, beta, x_0[:, None], noise=noise[:, None], t=t, kernel=gaussian,
                           network=as_network(Model(PREDICTOR, "x_0", "small")))
        assert kl.sum() / 4 == pytest.approx(flow.kl_terms(s2, snr), rel=1e-9)
        excess.append(T * (kl.sum() / 4 - flow.kl_limit(s2, high, low)))
    assert excess[2] == pytest.approx(flow.kl_excess(s2, high, low), rel=0.01)
    assert np.abs(np.diff(excess))[1] < 0.6 * np.abs(np.diff(excess))[0]


# -- in the kit ------------------------------------------------------------------------------------------------------------

class Trained:
    """Losses and weights as training loops have them; t from 0, bits, a variance between by logarithms."""

    unit = np.log(2)

    def __init__(self, beta):
        self.beta, self.bar = beta, np.cumprod(1 - beta)
        self.before = np.append(1.0, self.bar[:-1])

    def _at(self, table, t):
        return table[t][:, None]

    def min_snr_weight(self, t, gamma):
        snr = self.bar[t] / (1 - self.bar[t])
        return np.minimum(snr, gamma) / (snr + 1)

    def p2_weight(self, t):
        return 1 / (1 + self.bar[t] / (1 - self.bar[t]))

    def hybrid_loss(self, model, x_0, t, noise, share):
        beta, bar, before = (self._at(table, t) for table in (self.beta, self.bar, self.before))
        x_t = np.sqrt(bar) * x_0 + np.sqrt(1 - bar) * noise
        said, head = np.split(model(x_t, t), 2, axis=1)
        guess = np.sqrt(bar) * x_t - np.sqrt(1 - bar) * said
        small = beta * (1 - before) / (1 - bar)
        mean, right = ((np.sqrt(before) * beta * x + np.sqrt(1 - beta) * (1 - before) * x_t) / (1 - bar) for x in (guess, x_0))
        log_var = (head + 1) / 2 * np.log(beta) + (1 - head) / 2 * np.log(small)
        kl = 0.5 * (log_var - np.log(small) - 1 + small * np.exp(-log_var) + (mean - right) ** 2 * np.exp(-log_var))
        target = np.sqrt(bar) * noise - np.sqrt(1 - bar) * x_0
        return ((said - target) ** 2 + share * kl / self.unit).mean(axis=1)


def judged(adapter, **stated):
    subject = Subject(Local(adapter, names=NAMES), chapter.QUANTITIES)
    subject.profile, _ = infer(subject, {"variance": "ranged"} | stated)
    return {function.name: judge(subject, function, QUICK)[0] for function in subject.functions.values()}, subject


def test_right_ones_pass_under_their_conventions():
    found, subject = judged(Trained(np.linspace(0.02, 0.5, 8)))
    assert {name: result.verdict for name, result in found.items()} == dict.fromkeys(found, "pass")
    assert (subject.profile.predicts, subject.profile.first_t, subject.profile.unit) == ("v", 0, "bits")


@pytest.mark.parametrize("name,change,words", [
    ("min_snr_weight", lambda self, t, gamma: np.minimum(1, gamma * (1 - self.bar[t])), "LOSS-V-ONE"),
    ("p2_weight", lambda self, t: 1 / (1 + np.sqrt(self.bar[t] / (1 - self.bar[t]))), "root of ᾱ_t/(1 − ᾱ_t) for ᾱ_t/(1 − ᾱ_t)"),
    ("hybrid_loss", lambda self, model, x_0, t, noise, share: (
        share * Trained.hybrid_loss(self, model, x_0, t, noise, 1 / share)), "DIS-07")])
def test_wrong_ones_are_named(name, change, words):
    adapter = type("Wrong", (Trained,), {name: change, "unit": 1.0})(np.linspace(0.02, 0.5, 8))
    found, _ = judged(adapter, predicts="v", first_t=0, unit="nats")
    assert found[name].verdict == "wrong" and words in " ".join([found[name].mistake or "", *found[name].also])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_this_package_passes_with_its_gradients(dtype):
    profile = Profile(variance="ranged", unit="bits", predicts="v")
    subject = Subject(Reference(dtype, functions=chapter.QUANTITIES, profile=profile), chapter.QUANTITIES, profile)
    found = [result for quantity in chapter.QUANTITIES[1:] for result in judge(subject, quantity, QUICK) + (
        gradients.judge(subject, quantity, QUICK) if quantity.arguments else [])]
    assert {result.verdict for result in found} == {"pass"}, found
