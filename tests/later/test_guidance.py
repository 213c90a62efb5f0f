"""Guidance against the law that it stands for, by numbers, and by the printed list of repeated inpainting."""

import math

import numpy as np
import pytest

from refdpm import gaussian, product
from refdpm.conformance.adapter import Local
from refdpm.conformance.chapters import guidance as chapter
from refdpm.conformance.inference import infer
from refdpm.conformance.judge import Effort, judge
from refdpm.conformance.session import NAMES, check
from refdpm.conformance.subject import Subject
from refdpm.gaussian import Gaussian
from refdpm.later import guidance, mean

QUICK = Effort(max_examples=4, shrinks=0, power=False)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# -- what it is ----------------------------------------------------------------------------------------------------------

def test_guided_noise_is_that_of_the_law_times_a_power():
    """q(x) = N(0, 1 − ᾱ), q(y | x) ∝ exp(−(x − 2)²/(2·3)): with w = 2 the score is −x/(1−ᾱ) − 2 (x − 2)/3, by differences of
    the logarithm of the law."""
    rest, x, step = 0.3, 0.7, 1e-5

    def log_law(x, w):
        return -x * x / (2 * rest) - w * (x - 2) ** 2 / 6

    def noise(w):
        return -math.sqrt(rest) * (log_law(x + step, w) - log_law(x - step, w)) / (2 * step)

    got = guidance.guided(np.array([[noise(1)]]), np.array([[noise(0)]]), weight=2.0)
    assert got.item() == pytest.approx(noise(2), rel=1e-9)
    gradient = np.array([[-2 * (x - 2) / 3]])
    assert guidance.guided_noise(np.array([[noise(0)]]), gradient, np.log([[0.7]])).item() == pytest.approx(noise(2), rel=1e-9)


def test_the_two_forms_differ_by_one_in_the_weight():
    c, u = normal(4, 3), normal(4, 3, seed=1)
    one, other = guidance.guided(c, u, weight=3.5), guidance.guided(c, u, weight=2.5, start="conditional")
    assert np.abs(one - other).max() < 1e-15
    assert one[1, 2] == pytest.approx(3.5 * c[1, 2] - 2.5 * u[1, 2], rel=1e-15)
    with pytest.raises(ValueError, match="start"):
        guidance.guided(c, u, weight=1.0, start="both")


def test_rescaled_to_the_width_of_the_conditional_prediction():
    """1, 3 have deviation 1 and 0, 8 deviation 4: r = ¼.  Halfway it is the mean of both; whole examples, images too."""
    g, c = np.array([[0.0, 8]]), np.array([[1.0, 3]])
    assert guidance.rescaled(g, c, share=1.0).tolist() == [[0, 2]]
    assert guidance.rescaled(g, c, share=0.5).tolist() == [[0, 5]]
    images, wide = normal(3, 4, 5, 2), 3 * normal(3, 4, 5, 2, seed=1) + 1
    got = guidance.rescaled(wide, images, share=1.0)
    assert got.reshape(3, -1).std(axis=1) == pytest.approx(images.reshape(3, -1).std(axis=1), rel=1e-13)


@pytest.mark.parametrize("beta", [1e-2, 1e-3])
def test_the_two_forms_with_a_classifier_differ_at_first_order(beta):
    """r a normal law with the gradient (1 − x)/3, x_t far from the step's mean: their shifts differ by a share of order β."""
    x_t, level = np.array([[0.5]]), np.log(np.array([[0.6]]))
    noise = np.array([[1.2]])

    def gradient(x):
        return (1 - x) / 3

    def step(noise):
        return mean.mean_from_noise(noise, x_t, np.array([[beta]]), level - np.log1p(-beta))

    at_mean = product.perturbed(Gaussian(step(noise), np.array([[beta]])), gradient(step(noise))).mean - step(noise)
    at_state = step(guidance.guided_noise(noise, gradient(x_t), level)) - step(noise)
    apart = abs(at_mean / at_state - 1).item() / beta
    assert 0.5 < apart < 10


# -- repeated inpainting -------------------------------------------------------------------------------------------------

def as_printed(t_T, jump_length, jump_n_sample):
    """The list of the paper's appendix, which counts from 0 and ends with −1."""
    jumps = {j: jump_n_sample - 1 for j in range(0, t_T - jump_length, jump_length)}
    t, ts = t_T, []
    while t >= 1:
        t = t - 1
        ts.append(t)
        if jumps.get(t, 0) > 0:
            jumps[t] = jumps[t] - 1
            for _ in range(jump_length):
                t = t + 1
                ts.append(t)
    return ts


@pytest.mark.parametrize("T,length,repeats", [(250, 10, 10), (20, 5, 3), (7, 3, 2), (1, 1, 3), (6, 6, 2), (9, 1, 4)])
def test_the_times_of_repeated_inpainting(T, length, repeats):
    assert guidance.repeated_times(T, length=length, repeats=repeats).tolist() == [
        t + 1 for t in as_printed(T, length, repeats)]


def test_going_back_undoes_what_a_step_has_taken():
    """From the law of x_{t−1} given x_0 to that of x_t: √(1−β) √a = √ᾱ_t, (1−β) v + β = 1 − ᾱ_t."""
    x_0, noise, again = np.full((400000, 1), 0.7), normal(400000, 1), normal(400000, 1, seed=1)
    before = gaussian.draw(gaussian.marginal(x_0, np.log(np.array([[0.5]]))), noise=noise)
    x_t = gaussian.draw(gaussian.forward(before, np.array([[0.2]])), noise=again)
    assert x_t.mean() == pytest.approx(math.sqrt(0.4) * 0.7, abs=6 * math.sqrt(0.6 / 400000))
    assert x_t.var() == pytest.approx(0.6, abs=6 * 0.6 * math.sqrt(2 / 400000))


# -- in the kit ------------------------------------------------------------------------------------------------------------

class Guided:
    """As it is written in samplers, t from 0."""

    def __init__(self, beta, start="unconditional"):
        self.start, self.beta = start, beta
        self.alpha_bar = np.cumprod(1 - beta)

    def guided_prediction(self, conditional, unconditional, weight):
        base = unconditional if self.start == "unconditional" else conditional
        return base + weight * (conditional - unconditional)

    def rescaled_guidance(self, guided, conditional, share):
        axes = tuple(range(1, guided.ndim))
        wide = [x.std(axis=axes, keepdims=True, ddof=1) for x in (conditional, guided)]
        return share * guided * wide[0] / wide[1] + (1 - share) * guided

    def guided_noise(self, noise, gradient, t):
        return noise - np.sqrt(1 - self.alpha_bar[t]).reshape(-1, *[1] * (noise.ndim - 1)) * gradient

    def noised_again(self, x_prev, noise, t):
        beta = self.beta[t].reshape(-1, *[1] * (noise.ndim - 1))
        return np.sqrt(1 - beta) * x_prev + np.sqrt(beta) * noise

    def repeated_times(self, T, length, repeats):
        return as_printed(T, length, repeats)


@pytest.mark.parametrize("start", guidance.STARTS)
def test_right_ones_pass_and_the_weight_is_a_convention(start):
    found = check(Guided(np.linspace(0.01, 0.2, 12), start), effort=QUICK)
    verdicts = {row["id"]: row["verdict"] for row in found["clauses"] if row["verdict"] != "skipped"}
    assert {id for id, verdict in verdicts.items() if verdict == "pass"} >= {
        "GUI.FREE.VALUE", "GUI.RESCALED.VALUE", "GUI.NOISE.VALUE", "GUI.BACK.X_T", "GUI.TIMES"}
    assert not {"wrong", "inaccurate", "not checked"} & set(verdicts.values())
    assert (found["profile"]["guidance"], found["known"]["guidance"]) == (start, "inferred")


@pytest.mark.parametrize("name,wrong,words", [
    ("guided_prediction", lambda self, conditional, unconditional, weight: conditional + weight * (unconditional - conditional),
     "conditional and unconditional are exchanged"),
    ("rescaled_guidance", lambda self, guided, conditional, share: (
        share * conditional.std() / guided.std() + 1 - share) * guided, "GUI-BATCH"),
    ("guided_noise", lambda self, noise, gradient, t: noise - (1 - self.alpha_bar[t]).reshape(
        -1, *[1] * (noise.ndim - 1)) * gradient, "root left out: √(1 − ᾱ_t)"),
    ("noised_again", lambda self, x_prev, noise, t: np.sqrt(1 - self.beta[t]).reshape(
        -1, *[1] * (noise.ndim - 1)) * x_prev + self.beta[t].reshape(-1, *[1] * (noise.ndim - 1)) * noise, "NEW-DRAW")])
def test_wrong_ones_are_named(name, wrong, words):
    adapter = type("Wrong", (Guided,), {name: wrong})(np.linspace(0.01, 0.2, 12))
    subject = Subject(Local(adapter, names=NAMES), chapter.QUANTITIES)
    subject.profile, _ = infer(subject, {"first_t": 0})
    result, = judge(subject, subject.functions[name], QUICK)
    assert result.verdict == "wrong" and words in " ".join([result.mistake or "", *result.also])


@pytest.mark.parametrize("times, words", [
    (lambda T, length, repeats: as_printed(T, length, repeats + 1), "repeats + 1 for repeats: in t counted from 1, ["),
    (lambda T, length, repeats: as_printed(T, length, repeats)[:-1], "the last state is left out: "),
    (lambda T, length, repeats: [*as_printed(T, length, repeats), -1], "t = 0 at the end: "),
    (lambda T, length, repeats: as_printed(T, length, repeats)[::-1], "runs in the other order: "),
    (lambda T, length, repeats: as_printed(T, length, 1), "never goes back: "),
    (lambda T, length, repeats: as_printed(T, length + 1, repeats), "length + 1 for length: "),
    (lambda T, length, repeats: as_printed(T, max(length - 1, 1), repeats), "length − 1 for length: "),
    (lambda T, length, repeats: as_printed(T, length, max(repeats - 1, 1)), "repeats − 1 for repeats: "),
    (lambda T, length, repeats: [*as_printed(T, length, repeats)[:-1], 7], "in t counted from 1, [8] came after "),
    (lambda T, length, repeats: [t + 1 for t in as_printed(T, length, repeats)],
     "counts t from 1, where the rest of the adapter counts from 0")])
def test_a_wrong_list_of_times_is_shown(times, words):
    class Late(Guided):
        def repeated_times(self, T, length, repeats):
            return times(T, length, repeats)

    law, = chapter.LAWS
    subject = Subject(Local(Late(np.linspace(0.01, 0.2, 12)), names=NAMES), chapter.QUANTITIES)
    subject.profile = subject.profile._replace(first_t=0)
    found = law.run(subject, subject.given, 0)
    assert found.ratio > 1 and found.reason.startswith(words)
