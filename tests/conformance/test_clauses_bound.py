"""Clauses of the bounds: right implementations of either precision pass, every planted mistake is seen and named."""

import numpy as np
import pytest
from scipy.special import erf

from refdpm.conformance import gradients
from refdpm.conformance.adapter import Fault, Local
from refdpm.conformance.chapters import in_chapters
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.chapters import bits_bound, bound, ddpm_bound, likelihood, objective
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.judge import Effort, compare, judge
from refdpm.conformance.mistakes import MISTAKES
from refdpm.conformance.naming import touched
from refdpm.conformance.profile import Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import LIMIT, Subject
from tests.conformance.explained import explains

QUANTITIES = bound.QUANTITIES + ddpm_bound.QUANTITIES + bits_bound.QUANTITIES + likelihood.QUANTITIES + objective.QUANTITIES
UPSTREAM = tuple(in_chapters(Quantity, "gaussian", "reverse"))
BY_NAME = {function.name: function for function in QUANTITIES}
EFFORT = Effort(max_examples=1, shrinks=0, power=False)
SMALL = Effort(max_examples=1, shrinks=0, power=False)
DTYPES = ("float64", "float32")
CHOICES = [("noise", "small", "next"), ("x_0", "large", "beta"), ("v", "ranged", "next"), ("score", "small", "fixed"),
           ("mean", "ranged", "beta"), ("noise", "large", "next")]


@pytest.mark.parametrize("function", [one.name for one in QUANTITIES if one.outputs[0].kind.endswith(("total", "totals"))
                                      and "x_0" in one.edges(Given())[0]])
def test_sums_over_components_are_asked_for_of_more_than_two(function):
    """Of two the mean is half of the sum, and what is counted once half of what is counted for each."""
    assert any(inputs["x_0"][0].size > 2 for inputs in BY_NAME[function].edges(Given()))


def subject(source, profile=Profile(), functions=QUANTITIES):
    return Subject(source, functions, profile)


def local(target):
    return Local(target, names=frozenset(f.name for f in QUANTITIES + UPSTREAM))


def judged(target, profile=Profile(), effort=EFFORT, functions=QUANTITIES):
    looked = subject(local(target), profile, QUANTITIES + UPSTREAM)
    return {result.id: result for function in functions for result in judge(looked, function, effort)}


def failing(results):
    return [result for result in results if result.verdict not in ("pass", "skipped")]


# -- an implementation as textbooks have it --------------------------------------------------------------------------------

class Textbook:
    """Tables of ᾱ, 1 − ᾱ by subtraction, log-variances, densities by erf and floors of 1e-12, all in one precision."""

    def __init__(self, dtype, predicts="noise", variance="small", first="next", readout="eq65"):
        self.dtype, self.real = dtype, np.dtype(dtype).type
        self.predicts, self.variance, self.first, self.readout = predicts, variance, first, readout

    def tables(self, beta, t):
        alpha_bar = np.append(self.real(1), np.cumprod(1 - beta))
        return beta[t - 1][:, None], alpha_bar[t][:, None], alpha_bar[t - 1][:, None]

    def total(self, x):
        return x.reshape(len(x), -1).sum(axis=1)

    def noisy(self, x_0, t, noise, beta):
        _, a, _ = self.tables(beta, t)
        return np.sqrt(a) * x_0 + np.sqrt(1 - a) * noise

    def posterior(self, x_0, x_t, t, beta):
        b, a, before = self.tables(beta, t)
        mean = b * np.sqrt(before) / (1 - a) * x_0 + (1 - before) * np.sqrt(1 - b) / (1 - a) * x_t
        return mean, b * (1 - before) / (1 - a)

    def reverse(self, model, x_t, t, beta):
        (b, a, before), z = self.tables(beta, t), model(x_t, t)
        D = x_t.shape[1]
        z, head = z[:, :D], z[:, D:]
        x_0 = {"noise": lambda: (x_t - np.sqrt(1 - a) * z) / np.sqrt(a), "v": lambda: np.sqrt(a) * x_t - np.sqrt(1 - a) * z,
               "score": lambda: (x_t + (1 - a) * z) / np.sqrt(a), "x_0": lambda: z, "mean": lambda: z}[self.predicts]()
        mean = z if self.predicts == "mean" else self.posterior(x_0, x_t, t, beta)[0]
        least = b * (1 - before) / (1 - a)
        if np.all(t == 1) and self.first in ("next", "beta"):
            least = self.posterior(x_0, x_t, t + 1, beta)[1] if self.first == "next" else b
            b = b if self.variance == "ranged" else least
        if self.variance == "ranged":
            share = (head + 1) / 2
            return mean, np.exp(share * np.log(b) + (1 - share) * np.log(least))
        return mean, (least if self.variance == "small" else b) + 0 * mean

    def kl(self, mean_q, var_q, mean_p, var_p):
        log_q, log_p = np.log(var_q), np.log(var_p)
        return (-1 + log_p - log_q + np.exp(log_q - log_p) + (mean_q - mean_p) ** 2 * np.exp(-log_p)) / 2

    def step_kl(self, model, x_0, t, noise, beta):
        x_t = self.noisy(x_0, t, noise, beta)
        return self.total(self.kl(*self.posterior(x_0, x_t, t, beta), *self.reverse(model, x_t, t, beta)))

    def entropy_at(self, x_0, t, beta):
        _, a, _ = self.tables(beta, t)
        return x_0[0].size * (np.log(2 * self.real(np.pi)) + 1 + np.log(1 - a[:, 0])) / 2

    def ends(self, x_0, beta):
        count = np.full(len(x_0), 1)
        prior = x_0[0].size * (1 + np.log(2 * self.real(np.pi))) / 2
        return self.entropy_at(x_0, count * len(beta), beta) - self.entropy_at(x_0, count, beta) - prior

    def K(self, model, x_0, noise, beta):
        k = self.ends(x_0, beta)
        for t in range(2, len(beta) + 1):
            k = k - self.step_kl(model, x_0, np.full(len(x_0), t), noise[t - 1], beta)
        return k

    def one_step_bound(self, model, x_0, t, noise, beta):
        return self.ends(x_0, beta) - (len(beta) - 1) * self.step_kl(model, x_0, t, noise, beta)

    def strict_bound(self, model, x_0, noise, beta):
        rest = self.total(1 - x_0 ** 2) / 2
        return self.K(model, x_0, noise, beta) + (np.prod(1 - beta) + beta[0]) * rest

    def prior_kl(self, x_0, beta):
        a = np.cumprod(1 - beta)[-1]
        return self.total(self.kl(np.sqrt(a) * x_0, 1 - a, self.real(0), self.real(1)))

    def edge_log_prob(self, x_0, beta):
        return -self.total(np.log(2 * self.real(np.pi) * beta[0]) + beta[0] * x_0 ** 2 + 1 - beta[0]) / 2

    def decoder_nll(self, model, k, noise, beta):
        x_0, t = (k / self.real(127.5) - 1).astype(self.dtype), np.ones(len(k), dtype=int)
        x_1 = self.noisy(x_0, t, noise, beta)
        mean, var = (np.sqrt(1 - beta[0]) * x_1, beta[0]) if self.first == "fixed" else self.reverse(model, x_1, t, beta)
        above, below = (self.cdf((x_0 + side / self.real(255) - mean) / np.sqrt(var)) for side in (1, -1))
        mass = np.where(k == 0, above, np.where(k == 255, 1 - below, above - below))
        return -self.total(np.log(np.maximum(mass, self.real(1e-12))))

    def cdf(self, z):
        return (1 + erf(z / np.sqrt(self.real(2)))) / 2

    def bound_terms(self, model, k, x_0, noise, beta):
        return np.array([self.decoder_nll(model, k, noise[0], beta),
                         *(self.step_kl(model, x_0, np.full(len(x_0), t), noise[t - 1], beta) for t in range(2, len(beta) + 1))])

    def bound(self, model, k, x_0, noise, beta):
        return self.bound_terms(model, k, x_0, noise, beta).sum(axis=0) + self.prior_kl(x_0, beta)

    def bits_per_dimension(self, nats, x_0):
        return nats / x_0[0].size / np.log(self.real(2))

    # likelihoods and averages

    def log_normal(self, x, mean, var):
        return self.total(-np.log(2 * self.real(np.pi) * var) / 2 - (x - mean) ** 2 / (2 * var))

    def null_log_likelihood(self, x_0):
        return self.log_normal(x_0, self.real(0), self.real(1))

    def gaussian_log_likelihood(self, x_0, mean, covariance):
        offset = x_0 - mean
        form = np.einsum("nd,de,ne->n", offset, np.linalg.inv(covariance), offset)
        return -(form + len(mean) * np.log(2 * self.real(np.pi)) + np.log(np.linalg.det(covariance))) / 2

    def parzen_log_likelihood(self, x_0, centres, bandwidth):
        log_p = -np.sum((x_0[:, None] - centres) ** 2, axis=2) / (2 * bandwidth ** 2)
        return self.log_mean_weight(log_p.T) - centres.shape[1] * np.log(bandwidth * np.sqrt(2 * self.real(np.pi)))

    def log_weights(self, model, x_0, noise, beta):
        log_w, before = 0, x_0
        for t in range(1, len(beta) + 1):
            b, at = beta[t - 1], np.full(len(x_0), t)
            x_t = np.sqrt(1 - b) * before + np.sqrt(b) * noise[t - 1]
            p = (np.sqrt(1 - b) * x_t, b) if t == 1 else self.reverse(model, x_t, at, beta)
            log_w = log_w + self.log_normal(before, *p) - self.log_normal(x_t, np.sqrt(1 - b) * before, b)
            before = x_t
        return log_w + self.null_log_likelihood(before)

    def log_mean_weight(self, log_w):
        largest = log_w.max(axis=0)
        return largest + np.log(np.mean(np.exp(log_w - largest), axis=0))

    def standard_error(self, values):
        return values.std(ddof=1) / np.sqrt(self.real(len(values)))

    # bits

    def one(self, kept, x, rate):
        return kept * x + (1 - kept) * self.real(rate)

    def binomial_step_kl(self, model, x_0, x_t, t, beta, rate):
        b, _, before = self.tables(beta, t)
        one, zero = self.one(before, x_0, rate), 1 - self.one(before, x_0, rate)
        seen = [np.where(x_t == 1, self.one(1 - b, bit, rate), 1 - self.one(1 - b, bit, rate)) for bit in (0, 1)]
        q = seen[1] * one / (seen[1] * one + seen[0] * zero)
        p = 1 / (1 + np.exp(-model(x_t, t)))
        return self.total(q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p)))

    def binomial_bound(self, model, x_0, x_t, beta, rate):
        def entropy(p):
            return -self.total(p * np.log(p) + (1 - p) * np.log(1 - p))
        alpha_bar = np.cumprod(1 - beta)
        k = (entropy(self.one(alpha_bar[-1], x_0, rate)) - entropy(self.one(alpha_bar[0], x_0, rate))
             - entropy(np.full_like(x_0, rate)))
        for t in range(2, len(beta) + 1):
            k = k - self.binomial_step_kl(model, x_0, x_t[t - 1], np.full(len(x_0), t), beta, rate)
        return k

    # a whole network

    def objective(self, centre, log_width, weight, bias, beta, x_0, t, noise):
        x, (b, a, before) = self.noisy(x_0, t, noise, beta), self.tables(beta, t)
        s = -((x[:, None] - centre) ** 2).sum(axis=2) / (2 * np.exp(log_width) ** 2)
        g = np.exp(s - s.max(axis=1, keepdims=True))
        z = np.einsum("nk,nko->no", g / g.sum(axis=1, keepdims=True), weight[t]) + bias[t]
        mean, spread = z[:, :x.shape[1]], z[:, x.shape[1]:]
        if self.readout == "denoising":
            c_0 = np.sqrt(before) * b / (1 - a)
            p = np.sqrt(1 - b) * x + c_0 * mean, b * (1 - before) / (1 - a) + c_0 ** 2 * (1 - a) * np.exp(spread)
        else:
            log_odds = (spread / np.sqrt(self.real(len(beta))) if self.readout == "released" else spread) + np.log(b / (1 - b))
            var = 1 / (1 + np.exp(-log_odds))
            p = ((x - mean) * np.sqrt(1 - var) + mean if self.readout == "eq65" else np.sqrt(1 - b) * x + np.sqrt(b) * mean), var
        return np.mean(self.total(self.kl(*self.posterior(x_0, x, t, beta), *p)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("choices", CHOICES, ids="-".join)
def test_textbook_passes(dtype, choices):
    profile = Profile(**dict(zip(("predicts", "variance", "first"), choices)))
    functions = [f for f in QUANTITIES if f.choices[:1] == ("predicts",)] if choices != CHOICES[0] else QUANTITIES
    found = judged(Textbook(dtype, *choices), profile, functions=tuple(functions))
    assert [result for result in found.values() if result.verdict != "pass"] == []
    assert not any(result.given_upstream for result in found.values())
    assert max(result.ratio for result in found.values()) < 8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("readout", ["eq65", "released", "denoising"])
def test_textbook_passes_on_a_whole_network(dtype, readout):
    found = judged(Textbook(dtype, readout=readout), Profile(readout=readout), functions=objective.QUANTITIES)
    assert [result.verdict for result in found.values()] == ["pass"]


# -- the first wrong stage is the one to blame -------------------------------------------------------------------------------

class WithoutDivision(Textbook):
    """β̃ without the division by 1 − ᾱ_t, wherever the posterior is used."""

    def posterior(self, x_0, x_t, t, beta):
        b, _, before = self.tables(beta, t)
        return super().posterior(x_0, x_t, t, beta)[0], b * (1 - before)


class WithoutPrior(Textbook):
    """A bound without L_T."""

    def bound(self, model, k, x_0, noise, beta):
        return self.bound_terms(model, k, x_0, noise, beta).sum(axis=0)


class OneTooMany(Textbook):
    """The estimate from one t multiplied by T."""

    def one_step_bound(self, model, x_0, t, noise, beta):
        return self.ends(x_0, beta) - len(beta) * self.step_kl(model, x_0, t, noise, beta)


def looked_at(*names):
    return tuple(BY_NAME[name]._replace(edges=lambda given, f=BY_NAME[name]: f.edges(given)[:3]) for name in names)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_wrong_posterior_is_not_blamed_on_the_bounds(dtype):
    functions = looked_at("step_kl", "K", "one_step_bound", "strict_bound", "bound")
    found = judged(WithoutDivision(dtype), effort=SMALL, functions=functions)
    assert [result for result in found.values() if result.verdict != "pass"] == []
    assert all(result.given_upstream for result in found.values())


@pytest.mark.parametrize("adapter, clause", [(WithoutPrior, "OBJ.BOUND.VALUE"), (OneTooMany, "BND.DRAWN.VALUE")])
def test_the_sum_is_blamed_given_its_terms(adapter, clause):
    found = judged(adapter("float32"), effort=SMALL, functions=looked_at("step_kl", "prior_kl", "one_step_bound", "bound"))
    assert [result.id for result in failing(found.values())] == [clause]


# -- gradients are those of the values ---------------------------------------------------------------------------------------

CHOSEN = {"predicts": "v", "variance": "ranged", "first": "next", "readout": "denoising"}


@pytest.mark.parametrize("name", ["step_kl", "binomial_step_kl"])
def test_gradient_with_respect_to_the_output_is_that_of_the_bias_at_its_step(name):
    function = BY_NAME[name]
    inputs = function.edges(Given())[1] | {choice: CHOSEN[choice] for choice in function.choices}
    cotangent = np.random.default_rng(0).standard_normal(len(inputs["t"]))
    found = function.gradients(inputs, (cotangent,))
    collected = np.zeros_like(found["bias"])
    np.add.at(collected, inputs["t"], found["output"])
    np.testing.assert_allclose(collected, found["bias"], rtol=1e-12, atol=1e-14)


# -- mistakes ----------------------------------------------------------------------------------------------------------------

DEFAULTS = Profile().stated()
OURS = ("bound.", "likelihood.", "later.objective.")
TOUCHED = {f.name: {m.id for inputs in f.edges(Given())[:1]
                    for m in touched(f.reference, inputs | {choice: DEFAULTS[choice] for choice in f.choices})} for f in QUANTITIES}
VALUES = [m for m in MISTAKES if m.kind == "value" and m.target.startswith(OURS) and any(m.id in ids for ids in TOUCHED.values())]
UNTOUCHED = {"RNG-01", "RNG-02", "RNG-11"}                   # in the draw of t: test_clauses_laws


def sees(mistake, dtype, name):
    """Whether the values of a function are no longer right at its edges."""
    function, right = BY_NAME[name], subject(Reference(dtype, functions=QUANTITIES))
    wrong = subject(Reference(dtype, mistake, functions=QUANTITIES))
    for inputs in function.edges(Given()):
        try:
            if any(case.ratio > LIMIT for case in compare(wrong, function, inputs)):
                return all(case.ratio <= LIMIT for case in compare(right, function, inputs))
        except Fault:
            return True
    return False


def test_every_mistake_in_the_bounds_is_looked_for():
    assert {m.id for m in MISTAKES if m.kind == "value" and m.target.startswith(OURS)} - {m.id for m in VALUES} == UNTOUCHED


@pytest.mark.parametrize("mistake", VALUES, ids=lambda m: m.id)
def test_planted_mistake_is_seen_and_named(mistake):
    """In single precision, by the first clause that sees it; the audit plants it in double precision, and finds idle clauses."""
    name = next(f.name for f in QUANTITIES if mistake.id in TOUCHED[f.name] and sees(mistake, "float32", f.name))
    found, = judge(subject(Reference("float32", mistake, functions=QUANTITIES)), looked_at(name)[0], SMALL)
    assert explains(found, mistake) or mistake.id == "BND-20" and "expected steps from 2" in found.reason, found


# -- mistakes in gradients: right values with part of the derivative cut ------------------------------------------------------

CUT = [m for m in MISTAKES if m.kind == "gradient" and m.target in {f"bound.{name}_vjp" for name in (
    "step_kl", "network_kl", "entropy_at", "assemble", "bound")}]


@pytest.mark.parametrize("mistake", CUT, ids=lambda m: m.id)
def test_planted_mistake_of_a_gradient_is_seen_and_named(mistake):
    source = subject(Reference("float32", mistake, functions=QUANTITIES))
    for function in looked_at("step_kl", "one_step_bound", "binomial_step_kl"):
        wrong = failing(gradients.judge(source, function, Effort(max_examples=0, power=False)))
        if wrong:
            assert all(explains(result, mistake) for result in wrong), wrong
            return
    raise AssertionError("not seen")
