"""The clauses of what came later: right implementations pass, in either precision; known mistakes are found and named."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import log_ndtr

from refdpm.conformance import naming
from refdpm.conformance.adapter import Skip
from refdpm.conformance.session import Session, check
from refdpm.conformance.chapters import decoder, in_chapters, parametrisation, reverse, sampler, sampler_laws
from refdpm.conformance.chapters.inputs import Given, rates
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.judge import Effort, compare, judge
from refdpm.conformance.profile import Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import LIMIT, Subject
from tests.conformance.explained import explains

QUANTITIES = parametrisation.QUANTITIES + reverse.QUANTITIES + decoder.QUANTITIES + sampler.QUANTITIES
ALL = tuple(in_chapters(Quantity, "gaussian")) + QUANTITIES
QUICK = Effort(max_examples=1, shrinks=0, power=False)
PROFILES = (Profile(), Profile(predicts="v", weight_of="v", variance="large", first="beta"),
            Profile(predicts="x_0", weight_of="x_0", variance="ranged", first="floor"),
            Profile(predicts="mean", weight_of="mean", variance="large", first="next"),
            Profile(predicts="score", weight_of="score", first="fixed"))


def read(profile):
    """How the network is read."""
    return profile.predicts, profile.variance, profile.first


# -- an implementation as in the textbook, tables in its own precision ---------------------------------------------------

class DDPM:
    """Tables with 1 − ᾱ by subtraction; t from 0; log-variances."""

    def __init__(self, beta, dtype, predicts="noise", variance="small", first="next"):
        self.dtype, self.predicts, self.kind, self.first = dtype, predicts, variance, first
        self.beta = np.asarray(beta, dtype=dtype)
        self.a_bar = np.cumprod(1 - self.beta)
        self.a_prev = np.append(self.beta.dtype.type(1), self.a_bar[:-1])
        self.coef_0 = self.beta * np.sqrt(self.a_prev) / (1 - self.a_bar)
        self.coef_t = np.sqrt(1 - self.beta) * (1 - self.a_prev) / (1 - self.a_bar)
        self.tilde = self.beta * (1 - self.a_prev) / (1 - self.a_bar)
        if len(beta) > 1 or first != "next":
            at_0 = {"next": self.tilde[min(1, len(beta) - 1)], "floor": 1e-20, "beta": self.beta[0], "fixed": self.beta[0]}[first]
            self.small, self.large = (np.append(self.beta.dtype.type(at_0), table[1:]) for table in (self.tilde, self.beta))

    def at(self, table, t, x):
        return table[t].reshape((-1,) + (1,) * (x.ndim - 1))

    def alpha_bar(self):
        return self.a_bar

    def to_x_0(self, said, x, t, predicts):
        a, rest = self.at(self.a_bar, t, x), 1 - self.at(self.a_bar, t, x)
        if predicts == "noise":
            return np.sqrt(1 / a) * x - np.sqrt(1 / a - 1) * said
        if predicts == "v":
            return np.sqrt(a) * x - np.sqrt(rest) * said
        if predicts == "score":
            return (x + rest * said) / np.sqrt(a)
        if predicts == "mean":
            return (said - self.at(self.coef_t, t, x) * x) / self.at(self.coef_0, t, x)
        return said

    def x_0_from_noise(self, noise, x_t, t):
        return self.to_x_0(noise, x_t, t, "noise")

    def x_0_from_v(self, v, x_t, t):
        return self.to_x_0(v, x_t, t, "v")

    def x_0_from_score(self, score, x_t, t):
        return self.to_x_0(score, x_t, t, "score")

    def x_0_from_mean(self, mean, x_t, t):
        return self.to_x_0(mean, x_t, t, "mean")

    def noise_from_x_0(self, x_0, x_t, t):
        a = self.at(self.a_bar, t, x_t)
        return (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)

    def score_from_x_0(self, x_0, x_t, t):
        a = self.at(self.a_bar, t, x_t)
        return (np.sqrt(a) * x_0 - x_t) / (1 - a)

    def velocity(self, x_0, noise, t):
        a = self.at(self.a_bar, t, x_0)
        return np.sqrt(a) * noise - np.sqrt(1 - a) * x_0

    def mean_from_x_0(self, x_0, x_t, t):
        return self.at(self.coef_0, t, x_t) * x_0 + self.at(self.coef_t, t, x_t) * x_t

    def mean_from_noise(self, noise, x_t, t):
        beta, a = self.at(self.beta, t, x_t), self.at(self.a_bar, t, x_t)
        return (x_t - beta / np.sqrt(1 - a) * noise) / np.sqrt(1 - beta)

    def mean_from_v(self, v, x_t, t):
        return self.mean_from_x_0(self.x_0_from_v(v, x_t, t), x_t, t)

    def mean_from_score(self, score, x_t, t):
        beta = self.at(self.beta, t, x_t)
        return (x_t + beta * score) / np.sqrt(1 - beta)

    def snr(self, t):
        return self.a_bar[t] / (1 - self.a_bar[t])

    def kl_weight(self, t):
        drop = self.snr(t - 1) - self.snr(t)
        a = self.a_bar[t]
        return drop / {"x_0": 1, "noise": a / (1 - a), "v": 1 / (1 - a), "score": a / (1 - a) ** 2, "mean": self.coef_0[t] ** 2}[
            self.predicts]

    def reverse_variance(self, t):
        if self.kind == "ranged":
            raise NotImplementedError("learned")
        return np.log((self.small if self.kind == "small" else self.large)[t])

    def ranged_variance(self, head, t):
        share = (head + 1) / 2
        return share * np.log(self.at(self.beta, t, head)) + (1 - share) * np.log(self.at(self.tilde, t, head))

    def said(self, model, x, t):
        out = model(x, t)
        assert out.shape[1] == (2 if self.kind == "ranged" else 1) * x.shape[1]
        return out[:, :x.shape[1]], out[:, x.shape[1]:]

    def x_0_from_model(self, model, x_t, t):
        return self.to_x_0(self.said(model, x_t, t)[0], x_t, t, self.predicts)

    def reverse(self, model, x_t, t):
        if len(self.beta) == 1 and self.first == "next":
            raise NotImplementedError("no second step")
        said, head = self.said(model, x_t, t)
        mean = said if self.predicts == "mean" else self.mean_from_x_0(self.to_x_0(said, x_t, t, self.predicts), x_t, t)
        if self.kind == "ranged":
            share = (head + 1) / 2
            log_var = share * np.log(self.at(self.beta, t, x_t)) + (1 - share) * np.log(self.at(self.small, t, x_t))
        else:
            log_var = np.log(self.at(self.small if self.kind == "small" else self.large, t, x_t)) + 0 * x_t
        if self.first == "fixed":
            beta, at_0 = self.beta[0], (t == 0)[:, None]
            mean, log_var = np.where(at_0, np.sqrt(1 - beta) * x_t, mean), np.where(at_0, np.log(beta), log_var)
        return mean, log_var

    def ancestral_step(self, model, x_t, t, noise):
        mean, log_var = self.reverse(model, x_t, t)
        return mean + (t > 0)[:, None] * np.exp(log_var / 2) * noise

    def ddim_step(self, model, x_t, t, t_prev, noise, eta):
        a = self.at(self.a_bar, t, x_t)
        before = np.where(t_prev[:, None] < 0, self.beta.dtype.type(1), self.at(self.a_bar, t_prev, x_t))
        x_0 = self.x_0_from_model(model, x_t, t) if self.predicts != "mean" else self._strided_mean(model, x_t, t, a, before)
        noise_hat = (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)
        var = self.beta.dtype.type(eta) ** 2 * (1 - before) / (1 - a) * (1 - a / before)
        return np.sqrt(before) * x_0 + np.sqrt(np.maximum(1 - before - var, 0)) * noise_hat + np.sqrt(var) * noise

    def _strided_mean(self, model, x_t, t, a, before):
        rate = 1 - a / before
        c_0, c_t = rate * np.sqrt(before) / (1 - a), np.sqrt(1 - rate) * (1 - before) / (1 - a)
        return (self.said(model, x_t, t)[0] - c_t * x_t) / c_0

    def strided_step(self, model, x_t, t, t_prev, noise):
        if self.first == "fixed":
            raise NotImplementedError("steps are left out")
        a = self.at(self.a_bar, t, x_t)
        before = np.where(t_prev[:, None] < 0, self.beta.dtype.type(1), self.at(self.a_bar, t_prev, x_t))
        rate = 1 - a / before
        said, head = self.said(model, x_t, t)
        tilde = rate * (1 - before) / (1 - a)
        mean = said
        if self.predicts != "mean":
            mean = (rate * np.sqrt(before) / (1 - a) * self.to_x_0(said, x_t, t, self.predicts)
                    + np.sqrt(a / before) * (1 - before) / (1 - a) * x_t)
        with np.errstate(divide="ignore", invalid="ignore"):
            var = {"small": tilde, "large": rate, "ranged": np.exp((head + 1) / 2 * np.log(rate) + (1 - head) / 2 * np.log(tilde))
                   if self.kind == "ranged" else 0}[self.kind]
        return np.where(t_prev[:, None] < 0, mean, mean + np.sqrt(var) * noise)

    def sample(self, model, noise):
        x = noise[-1]
        for t in range(len(self.beta) - 1, -1, -1):
            x = self.ancestral_step(model, x, np.full(len(x), t), noise[t])
        return x

    def ddim_sample(self, model, noise, times, eta):
        x = noise[-1]
        for n in range(len(times) - 1, -1, -1):
            t, before = (np.full(len(x), at) for at in (times[n], times[n - 1] if n else -1))
            x = self.ddim_step(model, x, t, before, noise[n], eta)
        return x

    def decoder_log_mass(self, k, x_0, mean, var, low, high, levels):
        """`var` is a log-variance."""
        sigma, half = np.exp(var / 2), (high - low) / (levels - 1) / 2
        side = np.where(x_0 > mean, -1, 1)
        c = side * (x_0 - mean) / sigma
        above, below = log_ndtr(c + half / sigma), log_ndtr(c - half / sigma)
        inside = above + np.log1p(-np.exp(below - above))
        z = (x_0 - mean) / sigma
        return np.where(k == 0, log_ndtr(z + half / sigma), np.where(k == levels - 1, log_ndtr(half / sigma - z), inside))


def textbook(dtype, choices, *names, change=None):
    """An adapter of those functions, all if none is named; `change` makes a subclass of the class."""
    made = change(DDPM) if change else DDPM

    class Adapter(made):
        pass

    if names:
        for name in [name for name in vars(DDPM) if not name.startswith("_") and name not in names]:
            if name in {function.name for function in ALL}:
                setattr(Adapter, name, None)
    return SimpleNamespace(dtype=dtype, make=lambda beta: Adapter(beta, dtype, *choices))


def session(adapter, **stated):
    return Session(adapter, effort=QUICK, profile=stated)


def failures(found):
    """The results that are wrong, or less than they should be."""
    return [result for result in found if result.verdict not in ("pass", "skipped")]


def results(one, functions=QUANTITIES, laws=sampler_laws.LAWS):
    found = [result for function in functions if function.name in one.subject.functions
             for result in judge(one.subject, function, QUICK)]
    return found + [one.law_result(law) for law in laws]


# -- what is right passes ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("profile", PROFILES[2:])
def test_the_reference_passes_in_single_precision(profile):
    """What has no choices is the same under every profile: see `test_check.test_the_reference_passes`, also for the first two."""
    subject = Subject(Reference("float32", functions=ALL, profile=profile), ALL, profile)
    found = [result for function in QUANTITIES if function.choices for result in judge(subject, function, QUICK)]
    assert not failures(found)
    assert sum(result.verdict == "skipped" for result in found) <= 1
    assert max(law.run(subject, Given(), 0).ratio for law in sampler_laws.LAWS) <= 1


@pytest.mark.parametrize("dtype, profile", [("float32", PROFILES[0]), ("float64", PROFILES[1]), ("float32", PROFILES[2]),
                                            ("float64", PROFILES[3]), ("float32", PROFILES[4])])
def test_the_textbook_passes_and_its_conventions_are_found(dtype, profile):
    one = session(textbook(dtype, read(profile)))
    assert one.subject.profile == profile._replace(first_t=0, spread="log_variance")
    found = results(one)
    assert not failures(found)
    assert {result.id for result in found if result.verdict == "skipped"} <= {"REV.VAR.VALUE", "SMP.STRIDE.X_PREV"}


def test_a_right_variance_beside_a_wrong_mean_keeps_what_it_has_at_t_1():
    """0 in the law that is given, and β̃_2 in the logarithm that draws: a newcomer's variance was wrong because of his mean."""
    class Mixed(DDPM):
        def reverse(self, model, x_t, t):
            mean, _ = super().reverse(model, x_t, t)
            return 1.5 * mean, self.at(self.tilde, t, x_t) + 0 * x_t

    adapter = SimpleNamespace(make=lambda beta: Mixed(beta, "float32"), dtype="float32")
    report = check(adapter, only=["REV.LAW", "REV.VAR"], effort=QUICK)
    found = {row["id"]: row["verdict"] for row in report["clauses"] if row["verdict"] != "skipped"}
    assert (found["REV.LAW.MEAN"], found["REV.LAW.VAR"], found["REV.VAR.VALUE"]) == ("wrong", "pass", "pass"), found


@pytest.mark.parametrize("number, predicts", [*enumerate(("noise", "x_0", "v", "score", "mean"))])
def test_every_reading_of_a_network_is_inferred(number, predicts):
    """Every two of the three choices together with each other."""
    readings = enumerate(product(("small", "large", "ranged"), ("next", "floor", "beta", "fixed")))
    for variance, first in [one for at, one in readings if (at // 4 + at + number) % 3 == 0]:
        adapter = textbook("float32", (predicts, variance, first), "reverse", "mean_from_x_0")
        found = session(adapter, first_t=0, spread="log_variance").subject.profile
        assert read(found) == (predicts, variance, first)


def test_a_schedule_of_its_own_with_a_thousand_steps():
    """Tables in single precision, 1 − ᾱ_1 = 1e-4; its paths are not asked for conventions that its steps tell."""
    beta = rates(np.linspace(1e-4, 0.02, 1000))
    own = DDPM(beta[1:], "float32", "noise", "large", "beta")
    one = session(own, first_t=0, spread="log_variance")
    assert read(one.subject.profile)[:2] == ("noise", "large")
    few = [function for function in QUANTITIES if function.name in ("reverse", "ancestral_step", "x_0_from_model", "ddim_step")]
    assert not failures(results(one, few, ()))


# -- what is wrong is named ----------------------------------------------------------------------------------------------

def touching():
    """The mistakes of value in functions of `later` that the references call, and by which functions, read in which way."""
    found = {}
    for profile in PROFILES:
        subject = Subject(Reference(functions=ALL, profile=profile), ALL, profile)
        for function in QUANTITIES if profile == PROFILES[0] else [function for function in QUANTITIES if function.choices]:
            for mistake in touched(subject, function):
                if mistake.target.startswith("later.") and mistake.kind == "value":
                    found.setdefault(mistake, []).append((function, profile))
    return found


def touched(subject, function):
    return {mistake for inputs in function.edges(Given())[:2]
            for mistake in naming.touched(lambda i: function.reference(subject.chosen(function, i)), inputs)}


def spoilt(mistake, function, profile):
    """What is found with the mistake planted in single precision, on a few of the edges whose answer it changes."""
    subject = Subject(Reference("float32", mistake, functions=ALL, profile=profile), ALL, profile)
    with np.errstate(all="ignore"):
        changed = [inputs for inputs in function.edges(Given())
                   if any(case.ratio > LIMIT for case in answered(subject, function, inputs))][:3]
        few = function._replace(edges=lambda given: changed)
        return failures(judge(subject, few, Effort(max_examples=1, shrinks=0, power=False))) if changed else []


def answered(subject, function, inputs):
    try:
        return compare(subject, function, inputs)
    except Skip:
        return []


NO_CLAUSE = {"REV-13"}                 # clips x̂_0, which no clause does


def test_every_known_mistake_in_what_they_call_is_found_and_named():
    places = touching()
    assert len(places) >= 30
    assert NO_CLAUSE <= {mistake.id for mistake in places}
    for mistake, where in places.items():
        found = next(filter(None, (spoilt(mistake, *place) for place in where if mistake.id not in NO_CLAUSE)), [])
        assert found or mistake.id in NO_CLAUSE, mistake.id
        assert all(explains(result, mistake) for result in found), (mistake.id, found)


def changed(**functions):
    """The textbook's class with other functions in it."""
    return lambda right: type("Changed", (right,), functions)


def of(found, id):
    return next(result for result in found if result.id == id)


def tanh_and_a_clamp(self, x_0, mean, var):
    """The decoder that six implementations share, for 256 levels from −1 to 1."""
    def cdf(z):
        return 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z ** 3)))

    above, below = (cdf(np.exp(-var / 2) * (x_0 - mean + side / 255)) for side in (1, -1))
    inside = np.log(np.maximum(above - below, 1e-12))
    return np.where(x_0 < -0.999, np.log(np.maximum(above, 1e-12)),
                    np.where(x_0 > 0.999, np.log(np.maximum(1 - below, 1e-12)), inside))


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_the_decoder_by_tanh_is_named(dtype):
    one = session(textbook(dtype, (), "decoder_log_mass", change=changed(decoder_log_mass=tanh_and_a_clamp)), spread="log_variance")
    found, = results(one, decoder.QUANTITIES, ())
    assert found.verdict == "wrong" and found.mistake == "NEW-CLAMP"


def noise_at_the_end(self, model, x_t, t, noise):
    mean, log_var = self.reverse(model, x_t, t)
    return mean + np.exp(log_var / 2) * noise


def none_at_the_last_two(self, model, x_t, t, noise):
    mean, log_var = self.reverse(model, x_t, t)
    return mean + (t > 1)[:, None] * np.exp(log_var / 2) * noise


def told_the_step_before(self, model, x, t):
    return DDPM.said(self, lambda x, t: model(x, np.maximum(t - 1, 0)), x, t)


def told_the_number(self, model, noise, times, eta):
    def numbered(x, t):
        return model(x, np.searchsorted(times, t))
    return DDPM.ddim_sample(self, numbered, noise, times, eta)


def without_noise(self, model, noise, times, eta):
    return DDPM.ddim_sample(self, model, np.concatenate([0 * noise[:-1], noise[-1:]]), times, eta)


def first_noise_last(self, model, noise, times, eta):
    return DDPM.ddim_sample(self, model, noise[::-1], times, eta)


@pytest.mark.parametrize("functions, wrong", [
    (dict(ancestral_step=noise_at_the_end), {"SMP.LAW", "SMP.LAST"}),
    (dict(ancestral_step=none_at_the_last_two), {"SMP.LAW"}),
    (dict(said=told_the_step_before), {"SMP.LAW", "SMP.TIMES", "SMP.DDIM_LAW", "SMP.DDIM_TIMES"}),
    (dict(ddim_sample=told_the_number), {"SMP.DDIM_LAW", "SMP.DDIM_TIMES"}),
    (dict(ddim_sample=without_noise), {"SMP.DDIM_LAW"}),
    (dict(ddim_sample=first_noise_last), {"SMP.DDIM_LAST"})])
def test_the_laws_see_what_is_wrong(functions, wrong):
    adapter = textbook("float32", ("noise", "small", "beta"), "sample", "ddim_sample", "ancestral_step", "ddim_step",
                       "x_0_from_model", "reverse", "mean_from_x_0", change=changed(**functions))
    stated = PROFILES[0]._replace(first="beta", first_t=0, spread="log_variance").stated()
    found = results(session(adapter, **stated), ())
    assert {result.id for result in failures(found)} == wrong
    assert all(result.reason for result in failures(found))


def test_what_is_right_but_for_the_step_before_is_not_blamed():
    """Noise on the last step: the step is wrong, and the path is right given the step."""
    adapter = textbook("float32", ("noise", "small", "beta"), "sample", "ancestral_step", "reverse", "mean_from_x_0",
                       change=changed(ancestral_step=noise_at_the_end))
    stated = PROFILES[0]._replace(first="beta", first_t=0, spread="log_variance").stated()
    found = results(session(adapter, **stated), sampler.QUANTITIES, ())
    assert of(found, "SMP.STEP.X_PREV").mistake == "REV-04c"
    assert of(found, "SMP.PATH.X_0").given_upstream
