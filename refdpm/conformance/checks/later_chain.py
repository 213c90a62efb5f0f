"""Checks of the bound's ends and of DDIM, whole chains at a time.

What they are compared with: linear Gaussian models in covariance matrices (`oracles.linear_gaussian`), variances carried from
step to step, and products of fractions.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm import bound, gaussian
from refdpm.conformance.checks.common import apart, check, column, gaussian_data, linear, passes, refused, worst
from refdpm.later import guidance, objective, sampler
from refdpm.later.model import Model
from refdpm.networks.readout import Heads
from refdpm.oracles import linear_gaussian
from refdpm.oracles.linear_gaussian import Kernels
from refdpm.vjp import Array

BETA = np.array([0.0, 0.05, 0.2, 0.3, 0.15, 0.6, 0.4])
ALPHA_BAR = np.cumprod(1 - BETA)
T = len(BETA) - 1


@check("later: with the paper's edge it is the strict bound", "later.objective.prior_kl", "later.objective.edge")
def with_the_paper_s_edge_it_is_the_strict_bound() -> float:
    """−KL(q(x_T | x_0) ‖ π) − Σ_t KL + E log p(x_0 | x_1) = K + C, for normal data, not white, and an inexact model."""
    S0, found = np.array([[0.4, 0.2], [0.2, 2.5]]), []
    best = linear_gaussian.reverse_kernels(S0, BETA, kernels="diagonal")
    learned = (np.arange(T + 1) > 1)[:, None, None]
    for kernels in (best, Kernels(best.gain * np.where(learned, 0.9, 1), best.cov * np.where(learned, 1.3, 1))):
        x_0, noise = gaussian_data(S0)
        total = objective.edge(x_0, column(BETA[1])) - objective.prior_kl(x_0, column(np.log(ALPHA_BAR[T])))
        value = total.sum(axis=1).mean()
        for t in range(2, T + 1):
            value -= bound.step_kl(kernels, BETA, x_0, noise=noise, t=np.full(len(x_0), t), kernel=gaussian, network=linear).mean()
        found.append(apart(value, linear_gaussian.strict_bound(S0, BETA, kernels=kernels)))
    return worst(*found)


@check("later: kept steps are rounded as stated", "later.sampler.spaced")
def kept_steps_are_rounded_as_stated() -> float:
    """For every T ≤ 30: i T/count to the nearest step, halves up, in fractions; no other count is taken."""
    facts = [sampler.spaced(steps, count) == [int(Fraction(i * steps, count) + Fraction(1, 2)) for i in range(1, count + 1)]
             for steps in range(1, 31) for count in range(1, steps + 1)]
    return passes(*facts, refused(lambda: sampler.spaced(5, 6)), refused(lambda: sampler.spaced(5, 0)))


@check("later: times of repeated inpainting by hand", "later.guidance.repeated_times")
def times_of_repeated_inpainting_by_hand() -> float:
    """Two steps back from t = 1 and t = 3, once; with one repeat or T too short, straight down; no length of 0."""
    times = guidance.repeated_times
    return passes(times(5, length=2, repeats=2).tolist() == [5, 4, 3, 4, 5, 4, 3, 2, 1, 2, 3, 2, 1],
                  times(3, length=1, repeats=3).tolist() == [3, 2, 3, 2, 3, 2, 1, 2, 1, 2, 1],
                  times(4, length=2, repeats=1).tolist() == times(4, length=4, repeats=5).tolist() == [4, 3, 2, 1],
                  refused(lambda: times(4, length=0, repeats=2)), refused(lambda: times(4, length=1, repeats=0)))


S_0 = 0.3                                              # variance of normal data; V_t that of x_t
V = ALPHA_BAR * S_0 + 1 - ALPHA_BAR
GAIN = np.sqrt(ALPHA_BAR) * S_0 / V                    # E[x_0 | x_t] = GAIN_t x_t
ASKED: list[int] = []


def _predict(parameters: Any, x_t: Array, step: Any, *, t: Array) -> Heads:
    """E[x_0 | x_t] of normal data, said as noise; it keeps a record of the t it is asked for."""
    at = int(t[0])
    ASKED.append(at)
    return Heads((1 - np.sqrt(ALPHA_BAR[at]) * GAIN[at]) / np.sqrt(1 - ALPHA_BAR[at]) * x_t, 0 * x_t)


MODEL = Model(SimpleNamespace(predict=_predict, predict_vjp=lambda *args, **fixed: (_predict(*args, **fixed), None)))


def _step(x_0: Any, x_t: Any, t: int, s: int, eta: float) -> tuple[Any, Any]:
    """√ᾱ_s x_0 + √(1 − ᾱ_s − σ²) ε and σ² = η² (1−ᾱ_s)/(1−ᾱ_t) (1 − ᾱ_t/ᾱ_s)."""
    before, after = ALPHA_BAR[s], ALPHA_BAR[t]
    var = eta ** 2 * (1 - before) / (1 - after) * (1 - after / before)
    return np.sqrt(before) * x_0 + np.sqrt(1 - before - var) * (x_t - np.sqrt(after) * x_0) / np.sqrt(1 - after), var


def _exact_step(t: int, s: int, eta: float) -> tuple[float, float]:
    """Gain and variance of the step from t to s with E[x_0 | x_t]."""
    gain, var = _step(GAIN[t], 1.0, t, s, eta)
    return float(gain), float(var)


def _has_the_law(path: Callable[..., Any], times: list[int], law: Callable[[int, int], tuple[float, float]],
                 asked: list[int]) -> float:
    """The variances of a linear path, from a row of unit noise for each draw, are P_s = gain² P_t + var from P_T = 1, with the gain
    and the variance of law(t, s); and the network is asked at those t."""
    ASKED.clear()
    found = {t: float((x ** 2).sum()) for t, x in path(None, BETA, noise=np.eye(len(times) + 1)[:, :, None], times=np.array(times))}
    expected = {times[-1]: 1.0}
    for t, s in zip(times[::-1], [0, *times][-2::-1]):
        gain, var = law(t, s)
        expected[s] = gain ** 2 * expected[t] + var
    return worst(passes(list(found) == list(expected), ASKED == asked), apart([*found.values()], [*expected.values()]))


@check("later: DDIM has the exact law", "later.sampler.ddim_path", "later.sampler.jump", "later.sampler.respaced")
def ddim_has_the_exact_law() -> float:
    """Every x_t of normal data, for η = 0, 0.4, 1, on all steps and on some; the network is asked for the kept t, in order."""
    return worst(*(_has_the_law(partial(sampler.ddim_path, model=MODEL, eta=eta), times, partial(_exact_step, eta=eta), times[::-1])
                   for times in ([1, 2, 3, 4, 5, 6], [2, 3, 6], [6]) for eta in (0.0, 0.4, 1.0)))


@check("later: ancestral steps have the exact law", "later.sampler.ancestral_path", "later.sampler.respaced",
       "later.model.as_network", "later.model.last_step_vjp")
def ancestral_steps_have_the_exact_law() -> float:
    """With β̃ and with β, on all steps and on some; the last step is the mean, or drawn as named; other ends are refused."""
    found: list[float] = []
    for times, kind, end, first in (([1, 2, 3, 4, 5, 6], "small", "mean", "next"), ([2, 3, 6], "small", "draw", "next"),
                                    ([1, 4, 6], "large", "mean", "next"), ([2, 5, 6], "large", "draw", "beta"),
                                    ([6], "small", "mean", "next"), ([2, 4, 6], "small", "draw", "fixed")):
        rates = 1 - ALPHA_BAR[times] / ALPHA_BAR[[0, *times[:-1]]]

        def law(t: int, s: int) -> tuple[float, float]:
            rate = 1 - ALPHA_BAR[t] / ALPHA_BAR[s]
            mean, var = _exact_step(t, s, 1.0)
            var = rate if kind == "large" else var
            if s == 0:
                var = 0.0 if end == "mean" else 1 / (1 / rates[0] + 1 / rates[1] - 1) if first == "next" else rates[0]
                mean = np.sqrt(1 - rate) if first == "fixed" else mean
            return float(mean), float(var)

        path = partial(sampler.ancestral_path, model=MODEL._replace(variance=kind, first=first), end=end)
        found.append(_has_the_law(path, times, law, times[:0:-1] + times[:first != "fixed"]))
    wrong: dict[str, Any] = dict(noise=np.ones((7, 1, 1)), times=np.arange(1, 7), model=MODEL)
    return worst(*found, passes(refused(lambda: list(sampler.ancestral_path(None, BETA, end="x_1", **wrong)))))


@check("later: a clipped x_0 is clipped everywhere", "later.sampler.ddim_path")
def clipped_x_0_is_clipped_everywhere() -> float:
    """x̂_0 cut off at ±0.1 stands in both terms of the step: the noise is what leads from it to x_t."""
    noise, x = np.array([[[2.0], [-0.3]]] * 3), np.array([[2.0], [-0.3]])
    path = sampler.ddim_path(None, BETA, noise=noise, times=np.array([4, T]), model=MODEL, eta=0.4, clip=0.1)
    mean, var = _step(np.clip(GAIN[T] * x, -0.1, 0.1), x, T, 4, 0.4)
    return apart(dict(path)[4], mean + np.sqrt(var) * x)
