"""Checks of the bound with a decoder and of DDIM, whole chains at a time.

What they are compared with: linear Gaussian models in covariance matrices (`oracles.linear_gaussian`), textbook formulas with
1 − ᾱ by subtraction, products of fractions, and integrals.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.stats import norm

from refdpm import bound, gaussian
from refdpm.conformance.checks.common import Check, apart, column, gaussian_data, grid, linear, passes, refused, worst
from refdpm.conformance.checks.later import predictor
from refdpm.later import objective, sampler
from refdpm.later.decoder import Grid
from refdpm.later.model import Model
from refdpm.networks.readout import Heads
from refdpm.oracles import linear_gaussian, quadrature
from refdpm.oracles.linear_gaussian import Kernels
from refdpm.oracles.quadrature import Tabulated
from refdpm.vjp import Array

BETA = np.array([0.0, 0.05, 0.2, 0.3, 0.15, 0.6, 0.4])
ALPHA_BAR = np.cumprod(1 - BETA)
T = len(BETA) - 1


# -- the bound ---------------------------------------------------------------------------------------------------------

def ends_by_integration() -> float:
    """KL(q(x_T | x_0) ‖ π) over a grid at levels from 0.9 to 1e-4, 0 at ᾱ = 0; E log p(x_0 | x_1) by a Gauss rule."""
    x_0, level = column(-1.3, 0.4, 2.0, 0.0), np.log(column(0.9, 0.5, 0.05, 1e-4))
    mean, deviation = np.exp(level / 2) * x_0, np.sqrt(1 - np.exp(level))
    x = mean + deviation * np.linspace(-9, 9, 181)
    kl = quadrature.kl(Tabulated(x, norm.pdf(x, mean, deviation)), norm.logpdf(x))[:, None]
    nodes = quadrature.gauss_hermite(0.0, 1.0, 5)
    beta = column(0.04, 0.2, 0.5, 0.9)
    x_1 = np.sqrt(1 - beta) * x_0 + np.sqrt(beta) * nodes.node
    average = norm.logpdf(x_0, np.sqrt(1 - beta) * x_1, np.sqrt(beta)) @ nodes.weight
    return worst(apart(objective.prior_kl(x_0, level), kl, within=1e-10), apart(objective.edge(x_0, beta), average[:, None]),
                 passes(objective.prior_kl(column(3.0), column(-np.inf)) == 0))


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


def _terms(policy: str) -> tuple[Any, Array, Array, Array, Array]:
    """The terms for a network that says x_0 = 0.7 x_t − 0.1, and what they are made of."""
    said = predictor(lambda x, t: Heads(0.7 * x - 0.1 + 0 * t, 0 * x))
    k, levels = np.array([[0, 3], [8, 5], [2, 7]]), Grid(-1.0, 3.0, 9)
    rng = np.random.default_rng(3)
    t, noise, noise_1 = np.array([[2, 6, 3], [4, 2, 5]]), rng.standard_normal((2, 3, 2)), rng.standard_normal((3, 2))
    found = objective.terms(None, BETA, k=k, grid=levels, noise=noise, noise_1=noise_1, t=t,
                            model=Model(said, "x_0", "small", policy))
    return found, k, t, noise, noise_1


def terms_with_a_decoder_one_by_one() -> float:
    """½ (SNR_{t−1} − SNR_t) (x_0 − x̂_0)² at every t drawn; the mass of the level under x̂_0(x_1), or under the forward kernel."""
    found, snr = [], ALPHA_BAR[1:] / (1 - ALPHA_BAR[1:])
    for policy, var in (("next", 1 / (1 / 0.05 + 0.8 / 0.2)), ("beta", 0.05), ("fixed", 0.05)):
        terms, k, t, noise, noise_1 = _terms(policy)
        x_0 = k / 2 - 1.0
        x_t = np.sqrt(ALPHA_BAR[t])[..., None] * x_0 + np.sqrt(1 - ALPHA_BAR[t])[..., None] * noise
        kl = ((snr[t - 2] - snr[t - 1])[..., None] * (x_0 - 0.7 * x_t + 0.1) ** 2 / 2).sum(axis=2)
        x_1 = np.sqrt(0.95) * x_0 + np.sqrt(0.05) * noise_1
        centre = np.sqrt(0.95) * x_1 if policy == "fixed" else 0.7 * x_1 - 0.1
        edges = np.where(k == 0, -np.inf, x_0 - 0.25), np.where(k == 8, np.inf, x_0 + 0.25)
        below, above = (norm.cdf(edge, centre, np.sqrt(var)) for edge in edges)
        last = ALPHA_BAR[T]
        prior = ((last * x_0 ** 2 - last - np.log(1 - last)) / 2).sum(axis=1)
        found += [apart(terms.kl, kl), apart(terms.decoder, -np.log(above - below).sum(axis=1), within=1e-9),
                  apart(terms.prior, prior)]
        alone = objective.decoder(None, BETA, k=k, grid=Grid(-1.0, 3.0, 9), noise=noise_1,
                                  model=Model(predictor(lambda x, t: Heads(0.7 * x - 0.1, 0 * x)), "x_0", "small", policy))
        found.append(apart(alone, terms.decoder))
    return worst(*found)


def bits_per_dimension_by_hand() -> float:
    """7 steps, KLs 1 and 3 of two of them, 0.5 and 0.25 at the ends: 12.75 nats; 256 equal levels are 8 bits in each of 3 × 2."""
    terms = objective.Terms(np.array([0.5]), np.array([[1.0], [3.0]]), np.array([0.25]))
    alone = objective.Terms(np.array([0.5]), np.zeros((0, 1)), np.array([0.25]))
    images = np.zeros((4, 3, 2), dtype=int)
    return worst(apart(objective.assemble(terms, T=7), [12.75]), apart(objective.assemble(alone, T=1), [0.75]),
                 apart(objective.per_dimension(np.full(4, 6 * np.log(256)), k=images), np.full(4, 8.0)))


# -- one step of DDIM --------------------------------------------------------------------------------------------------

def _step(x_0: Any, x_t: Any, after: Any, before: Any, eta: float) -> tuple[Any, Any]:
    """√ᾱ_{t−1} x_0 + √(1 − ᾱ_{t−1} − σ²) ε and σ² = η² (1−ᾱ_{t−1})/(1−ᾱ_t) (1 − ᾱ_t/ᾱ_{t−1})."""
    var = eta ** 2 * (1 - before) / (1 - after) * (1 - after / before)
    return np.sqrt(before) * x_0 + np.sqrt(1 - before - var) * (x_t - np.sqrt(after) * x_0) / np.sqrt(1 - after), var


def jumps_keep_the_marginals() -> float:
    """For several η, averaged over x_t given x_0 the mean is √ᾱ_{t−1} x_0 and the variance 1 − ᾱ_{t−1}; η = 1 is Bayes' rule; at
    t = 1 it is x_0."""
    beta, before, x_0 = column(0.02, 0.3, 0.9, 0.4), column(0.98, 0.6, 0.1, 0.999), column(1.5, -2, 0.7, 3)
    after, level, x_t, found = (1 - beta) * before, np.log(before), np.cos(x_0), []
    for eta in (0.0, 0.4, 1.0):
        high, low = (sampler.jump(x_0, np.sqrt(after) * x_0 + s * np.sqrt(1 - after), beta, level, eta=eta) for s in (1, -1))
        found += [apart((high.mean + low.mean) / 2, np.sqrt(before) * x_0),
                  apart(((high.mean - low.mean) / 2) ** 2 + high.var, 1 - before)]
        edge = sampler.jump(x_0, x_t, beta, column(0, 0, 0, 0), eta=eta)
        found += [apart(edge.mean, x_0), passes(edge.var == 0)]
    q, precision = sampler.jump(x_0, x_t, beta, level, eta=1.0), 1 / (1 - before) + (1 - beta) / beta
    bayes = (np.sqrt(before) * x_0 / (1 - before) + np.sqrt(1 - beta) * x_t / beta) / precision
    return worst(*found, apart(q.mean, bayes, within=1e-11), apart(q.var, 1 / precision, within=1e-11))


# -- fewer steps -------------------------------------------------------------------------------------------------------

def kept_steps_are_rounded_as_stated() -> float:
    """For every T ≤ 30: i T/count to the nearest step, halves up, in fractions; the last is T; no other count is taken."""
    found = []
    for steps, count in zip(*grid(np.arange(1, 31), np.arange(1, 31))):
        if count <= steps:
            exact = [int(Fraction(int(i * steps), int(count)) + Fraction(1, 2)) for i in range(1, count + 1)]
            times = sampler.spaced(steps, count)
            found.append(passes(times == exact, times[-1] == steps, np.diff(times) >= 1))
    return worst(*found, passes(sampler.spaced(5, 2) == [3, 5], sampler.spaced(10, 4) == [3, 5, 8, 10]),
                 passes(refused(lambda: sampler.spaced(5, 6)), refused(lambda: sampler.spaced(5, 0))))


# -- paths -------------------------------------------------------------------------------------------------------------

S_0 = 0.3                                              # variance of normal data; V_t that of x_t
V = ALPHA_BAR * S_0 + 1 - ALPHA_BAR
ASKED: list[int] = []


def _exact(x: Array, t: Array) -> Heads:
    """E[x_0 | x_t] of normal data, said as noise; it keeps a record of the t it is asked for."""
    ASKED.append(int(t.ravel()[0]))
    x_0 = np.sqrt(ALPHA_BAR[t]) * S_0 / V[t] * x
    return Heads((x - np.sqrt(ALPHA_BAR[t]) * x_0) / np.sqrt(1 - ALPHA_BAR[t]), 0 * x)


MODEL = Model(predictor(_exact))


def _variances(path: Any, count: int) -> dict[int, float]:
    """The variance of x_t at every t of a linear path, from a row of unit noise for each draw."""
    noise = np.eye(count + 1)[:, :, None]
    return {t: float((x ** 2).sum()) for t, x in path(noise)}


def _recursion(times: list[int], law: Any) -> dict[int, float]:
    """P_s = gain² P_t + var from P_T = 1, by `linear_gaussian`, with the gains and variances of law(t, s)."""
    pairs = [law(t, s) for t, s in zip(times, [0, *times])]
    gain, cov = (np.array([first, *column])[:, None, None] for first, column in zip((1.0, 0.0), zip(*pairs)))
    beta = np.append(0.0, 1 - ALPHA_BAR[times] / ALPHA_BAR[[0, *times[:-1]]])
    P = linear_gaussian.model_covariances(np.eye(1), beta, kernels=Kernels(gain, cov))[:, 0, 0]
    return dict(zip([0, *times], P.tolist()))


def _agree(found: dict[int, float], expected: dict[int, float]) -> Iterator[float]:
    yield passes(list(found) == sorted(expected, reverse=True))
    yield apart([found[t] for t in sorted(expected)], [expected[t] for t in sorted(expected)])


def ddim_has_the_exact_law() -> float:
    """Every x_t of normal data, for η = 0, 0.4, 1, on all steps and on some; the network is asked for the kept t, in order."""
    residuals: list[float] = []
    for times in ([1, 2, 3, 4, 5, 6], [2, 3, 6], [6]):
        for eta in (0.0, 0.4, 1.0):
            def law(t: int, s: int, eta: float = eta) -> tuple[float, float]:
                x_0 = np.sqrt(ALPHA_BAR[t]) * S_0 / V[t]
                mean, var = _step(x_0, np.float64(1.0), ALPHA_BAR[t], ALPHA_BAR[s], eta)
                return float(mean), float(var)

            ASKED.clear()
            found = _variances(lambda noise: sampler.ddim_path(None, BETA, noise=noise, times=np.array(times), model=MODEL,
                                                               eta=eta), len(times))
            residuals += [*_agree(found, _recursion(times, law)), passes(ASKED == times[::-1])]
    return worst(*residuals)


def white_data_shrink_by_cosines() -> float:
    """Data N(0, 1), η = 0: the variance is ∏ cos²(φ_t − φ_{t−1}), cos φ = √ᾱ."""
    white = Model(predictor(lambda x, t: Heads(np.sqrt(ALPHA_BAR[t]) * x, 0 * x)), "x_0")
    found = _variances(lambda noise: sampler.ddim_path(None, BETA, noise=noise, times=np.arange(1, T + 1), model=white, eta=0.0), T)
    angle = np.arccos(np.sqrt(ALPHA_BAR))
    return apart(found[0], np.prod(np.cos(np.diff(angle)) ** 2))


def ancestral_steps_have_the_exact_law() -> float:
    """With β̃ and with β, on all steps and on some; the last step is the mean, or drawn as named; other ends are refused."""
    residuals: list[float] = []
    for times, kind, end, first in (([1, 2, 3, 4, 5, 6], "small", "mean", "next"), ([2, 3, 6], "small", "draw", "next"),
                                    ([1, 4, 6], "large", "mean", "next"), ([2, 5, 6], "large", "draw", "beta"),
                                    ([6], "small", "mean", "next"), ([2, 4, 6], "small", "draw", "fixed")):
        rates = 1 - ALPHA_BAR[times] / ALPHA_BAR[[0, *times[:-1]]]

        def law(t: int, s: int) -> tuple[float, float]:
            rate, x_0 = 1 - ALPHA_BAR[t] / ALPHA_BAR[s], np.sqrt(ALPHA_BAR[t]) * S_0 / V[t]
            mean, var = _step(x_0, np.float64(1.0), ALPHA_BAR[t], ALPHA_BAR[s], 1.0)
            var = rate if kind == "large" else var
            if s == 0:
                var = 0.0 if end == "mean" else 1 / (1 / rates[0] + 1 / rates[1] - 1) if first == "next" else rates[0]
                mean = np.sqrt(1 - rate) if first == "fixed" else mean
            return float(mean), float(var)

        ASKED.clear()
        found = _variances(lambda noise: sampler.ancestral_path(
            None, BETA, noise=noise, times=np.array(times), model=MODEL._replace(variance=kind, first=first), end=end), len(times))
        residuals += [*_agree(found, _recursion(times, law)), passes(ASKED == times[:0:-1] + times[:first != "fixed"])]
    wrong: dict[str, Any] = dict(noise=np.ones((7, 1, 1)), times=np.arange(1, 7), model=MODEL)
    return worst(*residuals, passes(refused(lambda: list(sampler.ancestral_path(None, BETA, end="x_1", **wrong)))))


def clipped_x_0_is_clipped_everywhere() -> float:
    """x̂_0 cut off at ±½ stands in both terms of the step: the noise is what leads from it to x_t."""
    noise, x = np.array([[[2.0], [-0.3]]] * 2), np.array([[2.0], [-0.3]])
    path = sampler.ddim_path(None, BETA, noise=noise, times=np.array([T]), model=MODEL, eta=0.0, clip=0.5)
    two = dict(sampler.ddim_path(None, BETA, noise=np.concatenate([noise, noise[:1]]), times=np.array([4, T]), model=MODEL, eta=0.4,
                                 clip=0.1))
    x_0 = np.clip(np.sqrt(ALPHA_BAR[T]) * S_0 / V[T] * x, -0.1, 0.1)
    mean, var = _step(x_0, x, ALPHA_BAR[T], ALPHA_BAR[4], 0.4)
    return worst(apart(two[4], mean + np.sqrt(var) * x), passes(np.abs(dict(path)[0]) <= 0.5))


CHECKS = (
    Check("later: the bound's ends by integration", ("later.objective.prior_kl", "later.objective.edge"), ends_by_integration),
    Check("later: with the paper's edge it is the strict bound", ("later.objective.prior_kl", "later.objective.edge"),
          with_the_paper_s_edge_it_is_the_strict_bound),
    Check("later: terms with a decoder one by one", (
        "later.objective.terms_vjp", "later.objective.decoder_vjp", "later.model.last_step_vjp", "later.model.as_network"),
        terms_with_a_decoder_one_by_one),
    Check("later: bits per dimension by hand", ("later.objective.assemble", "later.objective.per_dimension"),
          bits_per_dimension_by_hand),
    Check("later: jumps keep the marginals", ("later.sampler.jump",), jumps_keep_the_marginals),
    Check("later: kept steps are rounded as stated", ("later.sampler.spaced",), kept_steps_are_rounded_as_stated),
    Check("later: DDIM has the exact law", ("later.sampler.ddim_path", "later.sampler.jump", "later.sampler.respaced"),
          ddim_has_the_exact_law),
    Check("later: white data shrink by cosines", ("later.sampler.ddim_path", "later.sampler.jump"), white_data_shrink_by_cosines),
    Check("later: ancestral steps have the exact law", ("later.sampler.ancestral_path", "later.sampler.respaced",
                                                        "later.model.as_network", "later.model.last_step_vjp"),
          ancestral_steps_have_the_exact_law),
    Check("later: a clipped x_0 is clipped everywhere", ("later.sampler.ddim_path",), clipped_x_0_is_clipped_everywhere),
)
