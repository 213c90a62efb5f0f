"""What right programs do that is no mistake, and what wrong ones are told besides: tables of one step, variances at t = 1."""

from types import SimpleNamespace
import json

import numpy as np
import pytest
from scipy.special import ndtr, softmax, xlogy

from refdpm.console import to_json
from refdpm.conformance import inference, page
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.inputs import LINEAR, Given
from refdpm.conformance.judge import Effort
from refdpm.conformance.power import too_weak
from refdpm.conformance.reference import Reference
from refdpm.conformance.report import conventions, headline, text
from refdpm.conformance.session import Session, check
from refdpm.conformance.adapter import Local
from refdpm.conformance.subject import Subject

BETA = np.linspace(1e-4, 0.02, 40)


class Tables:
    """Tables as most programs have them, one fixed schedule or one for each `beta`."""

    dtype = "float64"

    def __init__(self, beta):
        self.beta, self.abar = np.asarray(beta), np.cumprod(1 - np.asarray(beta))
        self.before = np.append(1.0, self.abar[:-1])
        self.var = self.beta * (1 - self.before) / (1 - self.abar)

    def at(self, table, t, x):
        return table[t].reshape(-1, *[1] * (x.ndim - 1))

    def posterior(self, x_0, x_t, t):
        a, b, before = (self.at(table, t, x_t) for table in (self.abar, self.beta, self.before))
        mean = np.sqrt(before) * b / (1 - a) * x_0 + np.sqrt(1 - b) * (1 - before) / (1 - a) * x_t
        return mean, self.at(self.var, t, x_t)

    def marginal_sample(self, x_0, t, noise):
        a = self.at(self.abar, t, x_0)
        return np.sqrt(a) * x_0 + np.sqrt(1 - a) * noise

    def reverse(self, model, x_t, t):
        a = self.at(self.abar, t, x_t)
        return self.posterior((x_t - np.sqrt(1 - a) * model(x_t, t)) / np.sqrt(a), x_t, t)


class Clipped(Tables):
    """The variance at t = 1 is that at t = 2, which one step alone does not have."""

    def __init__(self, beta):
        super().__init__(beta)
        self.var = np.append(self.var[1], self.var[1:])


def asked(adapter, *, power=True, **options):
    """Where something is wrong, what a pass would have excluded need not be looked for."""
    return check(adapter, effort=Effort(max_examples=3, power=power), **options)


def verdicts(report):
    return {row["id"]: row["verdict"] for row in report["clauses"] if row["verdict"] != "skipped"}


def making(kind):
    """An adapter that makes an object of that kind for every schedule."""
    class Adapter:
        dtype = "float64"
        make = staticmethod(kind)
    return Adapter


@pytest.mark.parametrize("adapter", [Tables(BETA), making(Tables)], ids=["fixed", "made"])
def test_no_variance_at_all_at_the_first_step_is_right(adapter):
    """β̃_1 = 0 in the reverse step too, in double precision."""
    report = asked(adapter)
    assert set(verdicts(report).values()) == {"pass"}, headline(report)
    assert report["profile"]["first"] == "floor" and report["profile"]["posterior_first"] == "zero"


def test_a_posterior_that_is_clipped_at_the_first_step_is_right():
    report = asked(Clipped(BETA))
    assert set(verdicts(report).values()) == {"pass"}, headline(report)
    assert report["profile"]["posterior_first"] == "next" and report["profile"]["first"] == "next"


def test_a_table_without_a_second_step_is_refused_and_the_rest_is_judged():
    report = asked(making(Clipped))
    assert set(verdicts(report).values()) == {"pass"}, headline(report)
    row = next(row for row in report["clauses"] if row["id"] == "GAU.DRAW.X_T")
    assert row["reason"].startswith("refuses a schedule of one step: raises IndexError") and "test_real_code.py" in row["reason"]


def test_an_index_that_is_out_of_bounds_elsewhere_is_wrong():
    class Beyond(Tables):
        def marginal_sample(self, x_0, t, noise):
            return super().marginal_sample(x_0, t + 1, noise)

    report = asked(Beyond(BETA), profile={"first_t": 0}, only="GAU.DRAW")
    assert verdicts(report) == {"GAU.DRAW.X_T": "wrong"} and "IndexError" in headline(report)


def test_what_is_refused_does_not_hide_what_is_wrong():
    class Flat(Tables):
        def marginal_sample(self, x_0, t, noise):
            n, d = x_0.shape
            return 0.7 * super().marginal_sample(x_0, t, 0 * noise) - 1.3 * self.abar[t][:, None] * noise

    line = headline(asked(Flat(BETA), only="GAU.DRAW"))
    assert " came where " in line and "refuses states with more than two axes" in line
    assert line.index(" came where ") < line.index("refuses")


def test_a_variance_that_is_wrong_at_the_first_step_is_found():
    class Wrong(Tables):
        def __init__(self, beta):
            super().__init__(beta)
            self.var = np.append(3 * self.var[1], self.var[1:])

    report = asked(Wrong(BETA), power=False, only=["GAU.POST", "REV.LAW"])
    assert verdicts(report)["GAU.POST.VAR"] == "wrong" and verdicts(report)["REV.LAW.VAR"] == "wrong"


def test_no_guess_of_a_clipped_posterior_hides_what_is_wrong(monkeypatch):
    """Not even where a guess needs only little: the variance is three times too large, but for β̃_2 at t = 1."""
    monkeypatch.setattr(inference, "CLEARLY", 0.01)

    class Thrice(Clipped):
        def __init__(self, beta):
            super().__init__(beta)
            self.var = np.append(self.var[0], 3 * self.var[1:])

    report = asked(making(Thrice), power=False, only="GAU.POST", profile={"first_t": 0})
    assert report["profile"]["posterior_first"] == "zero" and verdicts(report)["GAU.POST.VAR"] == "wrong"


def test_nats_in_one_function_and_bits_in_another_are_conventions():
    """And a total that is neither is wrong."""
    class Sides(Tables):
        def kl(self, mean_q, var_q, mean_p, var_p):
            return np.log(var_p / var_q) / 2 + (var_q + (mean_q - mean_p) ** 2) / (2 * var_p) - 0.5

        def prior_kl(self, x_0):
            mean, var = np.sqrt(self.abar[-1]) * x_0, 1 - self.abar[-1]
            return self.divided(self.kl(mean, var, 0.0, 1.0).reshape(len(x_0), -1).sum(axis=1))

        def divided(self, total):
            return total / np.log(2)

    report = asked(Sides(BETA))
    assert verdicts(report)["OBJ.PRIOR.VALUE"] == "pass"
    assert {("unit", "bits"), ("kl.unit", "nats (inferred, of this function alone)")} <= set(conventions(report))
    assert verdicts(asked(Sides(BETA), profile={"prior_kl.unit": "nats"}))["OBJ.PRIOR.VALUE"] == "wrong"

    class Tens(Sides):
        def divided(self, total):
            return total / np.log(10)

    assert verdicts(asked(Tens(BETA)))["OBJ.PRIOR.VALUE"] == "wrong"


def test_a_wrong_mean_leaves_the_variance_its_convention():
    """That of t = 1 is told by the variance alone, which is right."""
    class Means(Tables):
        def reverse(self, model, x_t, t):
            mean, var = super().reverse(model, x_t, t)
            return 1.1 * mean, np.maximum(var, 1e-20)

    found = verdicts(asked(Means(BETA), only="REV"))
    assert found["REV.LAW.MEAN"] == "wrong" and found["REV.LAW.VAR"] == "pass"


def test_a_mistake_that_single_precision_blurs_is_said_in_the_first_line():
    """Tables in float32, and √ᾱ_t for √ᾱ_{t−1}: of little effect where many steps are short."""
    class Single(Tables):
        def __init__(self, beta):
            super().__init__(np.asarray(beta, dtype=np.float32))

        def posterior(self, x_0, x_t, t):
            beta, before, bar = (self.at(table, t, x_t) for table in (self.beta, self.before.astype(np.float32), self.abar))
            mean = beta * np.sqrt(bar) / (1 - bar) * x_0 + np.sqrt(1 - beta) * (1 - before) / (1 - bar) * x_t
            return mean, beta * (1 - before) / (1 - bar)

    single = Single(np.linspace(1e-4, 0.02, 1000))
    single.dtype = "float32"
    assert "ᾱ_t for ᾱ_{t−1} in √ᾱ_{t−1}" in headline(asked(single, power=False, only="GAU.POST"))


class Spread(Clipped):
    """Where the reverse step says its variance in another form than the posterior."""

    says = staticmethod(np.log)

    def reverse(self, model, x_t, t):
        mean, var = super().reverse(model, x_t, t)
        return mean, self.says(var)


def test_a_logarithm_of_the_variance_in_one_function_is_a_convention():
    report = asked(Spread(BETA))
    assert set(verdicts(report).values()) == {"pass"}
    assert ("reverse.spread", "log_variance (inferred, of this function alone)") in conventions(report)


def test_a_root_of_the_variance_in_one_function_is_wrong_and_can_be_stated():
    roots = type("Roots", (Spread,), {"says": staticmethod(np.sqrt)})(BETA)
    row = next(row for row in asked(roots)["clauses"] if row["id"] == "REV.LAW.VAR")
    assert row["verdict"] == "wrong" and 'state profile = {"reverse.spread": "deviation"}' in row["reason"]
    report = asked(roots, profile={"reverse.spread": "deviation"})
    assert set(verdicts(report).values()) == {"pass"} and report["known"]["reverse.spread"] == "stated"


def test_logarithms_of_a_law_in_one_function_are_a_convention():
    class Symbols:
        def categorical_marginal(self, beta, x_0, t, classes):
            bar = np.cumprod(1 - beta)[t - 1][:, None, None]
            return np.log(bar * np.eye(classes)[x_0] + (1 - bar) / classes)

        def categorical_kl(self, law_q, law_p):
            return (xlogy(law_q, law_q) - xlogy(law_q, law_p)).sum(axis=-1)

        def categorical_draw(self, law_p, uniform):
            return (np.log(law_p) - np.log(-np.log(uniform))).argmax(axis=-1)

    report = asked(Symbols())
    assert set(verdicts(report).values()) == {"pass"}
    assert ("categorical_marginal.categories", "log_probability (inferred, of this function alone)") in conventions(report)


def test_negative_numbers_are_logarithms_also_where_they_are_wrong():
    """The reverse step of symbols by logarithms, with a softmax taken twice, beside a posterior by probabilities."""
    class Symbols:
        def _joint(self, before, x_t, t, beta, law):
            rate = beta[t - 1][:, None, None]
            joint = before * ((1 - rate) * np.eye(len(law))[x_t] + rate * law[x_t][..., None])
            return joint / joint.sum(axis=-1, keepdims=True)

        def _kept(self, p, t, beta, law):
            kept = np.append(1.0, np.cumprod(1 - beta))[t - 1][:, None, None]
            return kept * p + (1 - kept) * law

        def categorical_posterior(self, x_0, x_t, t, beta, law):
            return self._joint(self._kept(np.eye(len(law))[x_0], t, beta, law), x_t, t, beta, law)

        def categorical_reverse(self, logits, x_t, t, beta, law):
            with np.errstate(divide="ignore"):
                return np.log(self._joint(self._kept(softmax(softmax(logits, axis=-1), axis=-1), t, beta, law), x_t, t, beta, law))

    report = asked(Symbols(), only="CAT")
    assert report["profile"]["categorical_reverse.categories"] == "log_probability"
    assert "(known mistake DIS-10c)" in headline(report)


def test_a_formula_that_single_precision_nearly_hides_is_wrong_and_not_inaccurate():
    """On the usual schedule ᾱ_t and ᾱ_{t−1} differ by 1 % and less, and tables in single precision lose much."""
    beta = np.linspace(1e-4, 0.02, 1000)
    alpha_bar = np.cumprod(1 - beta)
    before = np.append(1.0, alpha_bar[:-1])
    var = beta * (1 - before) / (1 - alpha_bar)

    def posterior(x_0, x_t, t):
        tables = np.sqrt(alpha_bar) * beta / (1 - alpha_bar), np.sqrt(1 - beta) * (1 - before) / (1 - alpha_bar), var
        of_x_0, of_x_t, width = (table[t - 1].astype(np.float32).reshape(-1, *[1] * (x_t.ndim - 1)) for table in tables)
        return of_x_0 * x_0 + of_x_t * x_t, width

    report = asked(SimpleNamespace(__name__="program", beta=beta, dtype="float32", posterior=posterior), only="GAU.POST")
    assert "(GAU.POST.MEAN) is wrong: ᾱ_t for ᾱ_{t−1} in √ᾱ_{t−1}" in headline(report)


def test_a_root_left_out_on_the_way_by_x_0_is_named_first():
    class Rootless(Clipped):
        def reverse(self, model, x_t, t):
            a = self.at(self.abar, t, x_t)
            return self.posterior((x_t - (1 - a) * model(x_t, t)) / np.sqrt(a), x_t, t)

    report = asked(Rootless(BETA), only="REV")
    assert "wrong: root left out: √(1 − ᾱ_t) (or" in headline(report)


def test_a_function_that_asks_for_what_there_is_not_is_not_checked():
    class Asks(Tables):
        def posterior(self, x_0, x_t, t, step):
            return super().posterior(x_0, x_t, t)

    report = asked(Asks(BETA), only="GAU.POST")
    assert set(verdicts(report).values()) == {"not checked"} and report["exit_code"] == 2
    assert "asks for 'step'" in headline(report)


def test_rows_of_what_answers_otherwise_each_time_are_not_compared():
    class Noisy(Tables):
        def posterior(self, x_0, x_t, t):
            mean, var = super().posterior(x_0, x_t, t)
            return mean + np.random.default_rng().normal(size=mean.shape), var

    report = asked(Noisy(BETA), only="PURE")
    assert verdicts(report)["PURE.SAME"] == "wrong" and verdicts(report)["PURE.ROWS"] == "pass"


def test_rows_are_not_compared_after_a_call_has_spoilt_the_tables():
    """The tables take the precision of each input and keep it, so that a call in half precision leaves less for the next ones."""
    class Kept(Tables):
        def marginal_sample(self, x_0, t, noise):
            self.abar = self.abar.astype(x_0.dtype)
            return super().marginal_sample(x_0, t, noise)

    report = asked(Kept(BETA), only=("GAU.DRAW", "PURE"))
    assert verdicts(report) == {"GAU.DRAW.X_T": "pass", "PURE.INPUTS": "pass", "PURE.SAME": "wrong"}


def test_what_is_wrong_stands_before_what_is_inaccurate():
    class Both(Tables):
        def alpha_bar(self):
            return self.abar.astype(np.float32).astype(float)

        def posterior(self, x_0, x_t, t):
            mean, var = super().posterior(x_0, x_t, t)
            return mean, 2 * var

    report = asked(Both(BETA), power=False, only=["SCH.ABAR", "GAU.POST"])
    assert verdicts(report)["SCH.ABAR.TABLE"] == "inaccurate"
    assert "the posterior's variance (GAU.POST.VAR) is wrong" in headline(report), headline(report)


def test_the_gradient_of_a_clipped_posterior_is_that_of_its_variance():
    """By differences along one direction: what flows to β_1 and β_2 from the variance that stands at t = 1."""
    quantity = next(one for one in QUANTITIES if one.name == "posterior")
    inputs = quantity.edges(Given())[0] | {"posterior_first": "next"}
    rng = np.random.default_rng(0)
    cotangents = tuple(rng.normal(size=np.shape(value)) for value in quantity.reference(inputs))
    way = rng.normal(size=len(inputs["beta"]) - 1) * inputs["beta"][1:]

    def total(step):
        values = quantity.reference(inputs | {"beta": inputs["beta"] + np.append(0.0, step * way)})
        return sum(np.sum(cotangent * value) for cotangent, value in zip(cotangents, values))

    slope = (8 * (total(1e-4) - total(-1e-4)) - (total(2e-4) - total(-2e-4))) / 12e-4
    assert np.any(inputs["t"] == 1)
    assert abs(way @ quantity.gradients(inputs, cotangents)["beta"] - slope) < 1e-8 * abs(slope)


def test_bits_per_component_and_the_end_of_the_reverse_step_are_conventions_of_one_function():
    class Mixed(Clipped):
        def reverse(self, model, x_t, t):
            mean, var = super().reverse(model, x_t, t)
            return mean, np.where(self.at(np.arange(len(self.beta)), t, x_t) == 0, 0.0, var)

        def ancestral_step(self, model, x_t, t, noise):
            mean, var = super().reverse(model, x_t, t)
            return mean + np.sqrt(var) * noise * (self.at(np.arange(len(self.beta)), t, x_t) > 0)

        def reverse_variance(self, t):
            return self.var[t]

        def prior_kl(self, x_0):
            mean, var = np.sqrt(self.abar[-1]) * x_0, 1 - self.abar[-1]
            return self.kl(mean, var, 0.0, 1.0).reshape(len(x_0), -1).mean(axis=1) / np.log(2)

        def entropy_at(self, x_0, t):
            return np.log(2 * np.pi * np.e * (1 - self.abar[t])) / 2 * x_0[0].size

        def kl(self, mean_q, var_q, mean_p, var_p):
            return np.log(var_p / var_q) / 2 + (var_q + (mean_q - mean_p) ** 2) / (2 * var_p) - 0.5

    report = asked(Mixed(BETA), only=("REV", "SMP", "OBJ.PRIOR", "GAU.KL", "BND.ENTROPY"))
    assert "wrong" not in verdicts(report).values(), headline(report)
    assert verdicts(report)["OBJ.PRIOR.VALUE"] == "pass" == verdicts(report)["REV.LAW.VAR"]
    alone = {"prior_kl.unit": "bits", "prior_kl.reduction": "mean", "reverse.first": "floor"}
    assert alone.items() <= report["profile"].items()


def test_an_answer_that_no_door_lets_in_ends_no_report():
    class Minus(Tables):
        def alpha_bar(self):
            return -np.arange(1.0, len(self.beta) + 1)

        def respaced_schedule(self, times):
            kept = np.append(1.0, self.alpha_bar()[np.asarray(times)])
            return 1 - kept[1:] / kept[:-1]

    report = asked(Minus(BETA), only=("SCH.ABAR", "SCH.RESPACED"), profile={"first_t": 0})
    assert verdicts(report)["SCH.ABAR.TABLE"] == "wrong" and report["exit_code"] == 1


def test_a_step_over_many_rates_that_come_to_nearly_one_is_judged():
    """From t = 1000 to 833 of the cosine schedule 1 − β has lost nine digits, here too: no reason to judge nobody."""
    class Strided(Clipped):
        def __init__(self):
            grid = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
            super().__init__(np.minimum(1 - grid[1:] / grid[:-1], 0.999))

        def strided_step(self, model, x_t, t, t_prev, noise):
            now, before = (self.at(np.append(1.0, self.abar), index + 1, x_t) for index in (t, t_prev))
            rate = 1 - now / before
            mean = (x_t - rate / np.sqrt(1 - now) * model(x_t, t)) / np.sqrt(now / before)
            return mean + np.sqrt(rate * (1 - before) / (1 - now)) * noise

    report = asked(Strided(), only="SMP.STRIDE", profile={"first_t": 0, "predicts": "noise", "first": "floor"})
    assert verdicts(report)["SMP.STRIDE.X_PREV"] == "pass", headline(report)

    one = Subject(Local(Strided(), names=frozenset({"strided_step"})), QUANTITIES)
    one.profile = one.profile._replace(first_t=0, predicts="noise", first="floor")
    step = one.functions["strided_step"]
    edge = step.edges(one.given)[0]
    inputs = edge | {"t": np.full_like(edge["t"], 1000), "t_prev": np.full_like(edge["t"], 833)}
    (ours,), ((right,), (scale,)) = one.right(step, inputs), one.values_and_scales(step, inputs)
    assert np.max(np.abs(ours - right) / (2.0 ** -53 * scale)) > 1000


@pytest.mark.parametrize("factor, verdict", [(1.0, "pass"), (1.01, "wrong")])
def test_of_a_step_over_several_t_in_single_precision_one_percent_is_asked(factor, verdict):
    """Its rate is a difference of two levels of a long chain, in which a tenth of that is lost."""
    class Strided(Clipped):
        dtype = "float32"

        def strided_step(self, model, x_t, t, t_prev, noise):
            now, before = (self.at(np.append(1.0, self.abar).astype(np.float32), index + 1, x_t) for index in (t, t_prev))
            rate = 1 - now / before
            mean = (x_t - rate / np.sqrt(1 - now) * model(x_t, t)) / np.sqrt(now / before)
            return mean + factor * np.sqrt(rate * (1 - before) / (1 - now)) * noise

    strided = Strided(np.linspace(1e-4, 0.02, 1000))
    report = check(strided, only="SMP.STRIDE", profile={"first_t": 0, "predicts": "noise", "first": "floor"})
    assert verdicts(report)["SMP.STRIDE.X_PREV"] == verdict, headline(report)


def test_an_input_that_is_made_simpler_still_says_one_thing():
    """Of a decoder that x_0 is the middle of bin k."""
    class Clamped:
        def decoder_log_mass(self, x_0, mean, var, low, high, levels):
            half, deviation = (high - low) / (levels - 1) / 2, np.sqrt(var)
            mass = ndtr((x_0 + half - mean) / deviation) - ndtr((x_0 - half - mean) / deviation)
            return np.log(np.maximum(mass, 1e-12))

    shown = next(row for row in asked(Clamped())["clauses"] if row["id"] == "DEC.MASS.VALUE")["smallest_input"]
    x_0, k, low, high, levels = (np.asarray(shown[name]) for name in ("x_0", "k", "low", "high", "levels"))
    np.testing.assert_allclose(x_0, low + k * (high - low) / (levels - 1), atol=1e-12)


class Ending(Clipped):
    """A schedule that ends with β_T = 1, as one of so few steps does whose rates are made larger in proportion."""

    dtype = "float32"

    def __init__(self, beta, predicts="noise"):
        super().__init__(beta)
        self.profile = {"first_t": 0, "predicts": predicts, "first": "next"}

    def sample(self, model, noise):
        x = noise[-1]
        for t in reversed(range(len(self.beta))):
            at = np.full(len(x), t)
            said, a = model(x, at), self.at(self.abar, at, x)
            with np.errstate(invalid="ignore"):
                x_0 = said if self.profile["predicts"] == "x_0" else (x - np.sqrt(1 - a) * said) / np.sqrt(a)
            mean, var = self.posterior(x_0, x, at)
            x = mean + np.sqrt(var) * noise[t] * (t > 0)
        return x.astype("float32")

    def ddim_sample(self, model, noise, times, eta):
        return np.full_like(noise[-1], np.nan)

    def prior_kl(self, x_0):
        mean, var = np.sqrt(self.abar[-1]) * x_0, 1 - self.abar[-1]
        return ((mean ** 2 + var - 1 - np.log(var)) / 2).reshape(len(x_0), -1).sum(axis=1).astype("float32")


def test_nobody_is_asked_for_samples_where_noise_says_nothing_of_the_data():
    """No x̂_0 can be told from ε where ᾱ_T = 0, not even by the exact network; from x_0 it can."""
    beta = np.array([0.1, 0.3, 0.5, 1.0])
    report = asked(Ending(beta), only=("SMP", "OBJ.PRIOR"))
    found = {row["id"]: (row["verdict"], row["reason"]) for row in report["clauses"] if row["id"].startswith("SMP.")}
    for id in ("SMP.PATH.X_0", "SMP.LAW", "SMP.DDIM_PATH.X_0", "SMP.DDIM_LAW"):
        assert found[id][0] == "skipped" and "not defined where ᾱ_t = 0" in found[id][1], found[id]
    assert verdicts(report)["SMP.TIMES"] == "pass"
    exact = verdicts(asked(Ending(beta, predicts="x_0"), only="SMP"))
    assert exact["SMP.LAW"] == exact["SMP.PATH.X_0"] == "pass"


def test_a_report_on_an_answer_that_is_0_can_be_written_as_json():
    row, = asked(Ending(np.array([0.1, 0.3, 0.5, 1.0])), only="OBJ.PRIOR")["clauses"]
    assert row["verdict"] == "undecided" and "up to the whole answer" in row["reason"]
    assert json.loads(to_json(row))["power"]["factor"] is None


@pytest.mark.parametrize("offered,ends", [
    ({"posterior"}, "compute in float64, or offer also marginal_sample, reverse: given those more may be seen"),
    ({"posterior", "marginal_sample", "reverse"}, "compute in float64"),
])
def test_what_is_undecided_asks_for_what_is_not_offered_yet(offered, ends):
    offered = frozenset(offered | {"step_kl"})
    single = Reference("float32", functions=tuple(quantity for quantity in QUANTITIES if quantity.name in offered))
    single.offers, single.beta = lambda: offered, LINEAR
    row, = check(single, only="BND.STEP")["clauses"]
    assert row["verdict"] == "undecided" and row["reason"].endswith(ends)


def test_no_convention_is_proposed_under_which_what_failed_fails_too():
    """The first inputs tell neither the convention nor the mistake, which shows only where some mass is small."""
    class Clamped(Tables):
        dtype = "float32"

        def decoder_nll(self, model, x_0, noise):
            t = np.zeros(len(x_0), dtype=np.int64)
            mean, _ = self.reverse(model, self.marginal_sample(x_0, t, noise), t)
            deviation = np.sqrt(self.var[1])
            high, low = ndtr((x_0 + 1 / 255 - mean) / deviation), ndtr((x_0 - 1 / 255 - mean) / deviation)
            high, low = np.where(x_0 > 0.999, 1.0, high), np.where(x_0 < -0.999, 0.0, low)
            return -np.log(np.maximum(high - low, 1e-4)).sum(axis=1).astype("float32")

    report = asked(Clamped(np.linspace(1e-4, 0.02, 1000)), power=False, profile={"first_t": 0, "first": "next"}, only="OBJ.DECODER")
    row, = report["clauses"]
    assert row["verdict"] == "wrong" and "convention" not in row["reason"], row["reason"]


def test_a_loss_may_be_given_another_network_than_the_reverse_step():
    """Of one number for each component, where the reverse step has a head for its variance too."""
    class Learned(Tables):
        profile = {"first_t": 0, "variance": "ranged"}

        def reverse(self, model, x_t, t):
            noise, head = np.split(model(x_t, t), 2, axis=1)
            a, least, most = (self.at(table, t, x_t) for table in (self.abar, np.append(self.var[1], self.var[1:]), self.beta))
            mean, _ = self.posterior((x_t - np.sqrt(1 - a) * noise) / np.sqrt(a), x_t, t)
            return mean, most ** ((1 + head) / 2) * least ** ((1 - head) / 2)

        def training_loss(self, model, x_0, t, noise):
            return ((model(self.marginal_sample(x_0, t, noise), t) - noise) ** 2).mean()

    report = asked(Learned(BETA), only=("REV.LAW", "LOSS"))
    assert set(verdicts(report).values()) == {"pass"}, headline(report)
    assert ("training_loss.variance", "small (inferred, of this function alone)") in conventions(report)


def test_a_number_of_which_anything_would_be_right_tells_no_convention():
    """In float32 at T = 1000 the weights of the mean are so large and so uncertain that a 2 is within what rounding explains."""
    class Weights(Tables):
        dtype = "float32"

        def kl_weight(self, t):
            snr = self.abar / (1 - self.abar)
            return (snr[t - 1] / snr[t]).astype("float32")                     # without − 1

    row, = asked(Weights(np.linspace(1e-4, 0.02, 1000)), profile={"first_t": 0}, only="PAR.WEIGHT.VALUE")["clauses"]
    assert row["mistake"] == "term left out: ᾱ_t/(1 − ᾱ_t)"


def test_what_loses_its_digits_near_0_is_inaccurate():
    row, = asked(SimpleNamespace(silu=lambda x: x / 2 * (1 + np.tanh(x / 2))), only="LAY.SILU.VALUE")["clauses"]
    assert row["verdict"] == "inaccurate" and "near 0" in row["reason"]


def test_a_law_is_not_checked_where_the_function_asks_for_something_else():
    adapter = SimpleNamespace(sample=lambda model, shape: None, training_loss=lambda model, x: None, spaced_times=lambda n: None)
    found = verdicts(asked(adapter, only=("SMP", "LOSS", "SCH.SPACED")))
    assert set(found.values()) == {"not checked"} and {"SMP.LAW", "LOSS.ASKED", "SCH.SPACED"} <= set(found)


def test_a_method_without_its_object_is_told_how_to_name_one():
    report = asked(SimpleNamespace(velocity=Tables.posterior), only="PAR.V")
    assert "make = THE_CLASS" in report["clauses"][0]["reason"] and report["exit_code"] == 2


@pytest.mark.parametrize("times,verdict", [
    (lambda T, count: np.round(np.linspace(1, T, count)), "pass"),                    # both ends, as in iDDPM
    (lambda T, count: np.round(np.arange(1, count + 1) * T / count), "pass"),         # as far apart from 0 too
    (lambda T, count: T - np.arange(count)[::-1], "wrong"),
    (lambda T, count: np.round(np.linspace(1, T ** 0.5, count) ** 2), "wrong"),
])
def test_even_steps_may_start_at_1_or_not(times, verdict):
    found = verdicts(asked(SimpleNamespace(spaced_times=lambda T, count: times(T, count).astype(int)), only="SCH.SPACED"))
    assert found["SCH.SPACED"] == verdict


@pytest.mark.parametrize("first, counts", [(0, 1), (1, 0)])
def test_kept_steps_that_count_otherwise_are_told_so(first, counts):
    adapter = SimpleNamespace(spaced_times=lambda T, count: np.arange(1, count + 1) * T // count - 1 + counts)
    clause, = asked(adapter, only="SCH.SPACED", profile={"first_t": first})["clauses"]
    assert clause["verdict"] == "wrong" and clause["reason"].startswith(f"counts t from {counts}, where the rest")


def test_an_answer_that_is_right_in_double_precision_is_judged_there():
    """A schedule made in float64 beside tables in float32, as in improved-diffusion."""
    def cosine(T, offset, cap):
        level = np.cos((np.arange(T + 1) / T + offset) / (1 + offset) * np.pi / 2) ** 2
        return np.minimum(1 - level[1:] / level[:-1], cap)

    mixed = SimpleNamespace(dtype="float32", cosine_schedule=cosine)
    single = SimpleNamespace(dtype="float32", cosine_schedule=lambda T, offset, cap: np.float32(cosine(T, offset, cap)))
    found = [verdicts(asked(one, only="SCH.COSINE"))["SCH.COSINE.RATES"] for one in (mixed, single)]
    assert found == ["pass", "undecided"]


@pytest.mark.parametrize("factors,weak", [({"2": 0.005, "99": 0.005}, {}), ({"99": 0.005, "100": 0.005}, {100: 0.005}),
                                          ({"1": 0.02, "1000": 0.0005}, {1: 0.02}), ({}, {0: 0.02})])
def test_late_in_a_chain_a_pass_excludes_a_thousandth(factors, weak):
    power = {"factor": 0.02, "at": factors, "several_steps": False}
    assert too_weak(power, "float32") == weak
    assert too_weak(power | {"several_steps": True}, "float32") == {t: factor for t, factor in weak.items() if factor > 0.01}


def test_an_adapter_most_of_which_is_right_in_single_precision_computes_so():
    """Although it does not say so, and although one function, whose answer is exact, has another convention."""
    class Mixed(Tables):
        profile = {"first_t": 0}

        def __init__(self, beta):
            super().__init__(beta)
            self.abar, self.var = (np.float32(table).astype(float) for table in (self.abar, self.var))

        def kl(self, mean_q, var_q, mean_p, var_p):                                    # given log-variances
            return (var_p - var_q + np.exp(var_q - var_p) + (mean_q - mean_p) ** 2 * np.exp(-var_p) - 1) / 2

        def marginal(self, x_0, t):
            a = self.at(self.abar, t, x_0)
            return np.sqrt(a) * x_0, np.broadcast_to(1 - a, x_0.shape)

        def velocity(self, x_0, noise, t):
            a = self.at(self.abar, t, x_0)
            return np.sqrt(a) * noise - np.sqrt(1 - a) * x_0

    found = verdicts(asked(making(Mixed)(), only=("GAU", "PAR.V")))
    assert set(found.values()) <= {"inaccurate", "pass"} and found["GAU.KL.VALUE"] == "pass", found


class Steps(Clipped):
    """Single precision, with a sampling step, the terms of the bound in bits per component, and a third output, as many have it."""

    dtype = "float32"

    def posterior(self, x_0, x_t, t):
        mean, var = super().posterior(x_0, x_t, t)
        return self.handed_on(mean.astype("f"), (var + 0 * mean).astype("f"), np.log(var).astype("f"))

    def handed_on(self, *outputs):
        return outputs

    def guess(self, model, x_t, t):
        a = self.at(self.abar, t, x_t)
        return (x_t - np.sqrt(1 - a) * model(x_t, t)) / np.sqrt(a)

    def reverse(self, model, x_t, t):
        return self.posterior(self.guess(model, x_t, t), x_t, t)

    def deviation(self, var):
        return np.sqrt(var)

    def ancestral_step(self, model, x_t, t, noise):
        mean, var, _ = self.reverse(model, x_t, t)
        return mean + self.deviation(var) * noise * (t > 0).reshape(-1, *[1] * (x_t.ndim - 1))

    def divergence(self, ratio):
        return (ratio - 1 - np.log(ratio)) / 2

    def prior_kl(self, x_0):
        a = self.abar[-1]
        terms = self.divergence(1 - a) + a * x_0 ** 2 / 2
        return (terms.reshape(len(x_0), -1).mean(axis=1) / np.log(2)).astype("f")


def steps(*only, **otherwise):
    return check(type("Changed", (Steps,), otherwise)(BETA), effort=Effort(max_examples=1, power=False), only=only)


def told(report):
    return {row["id"]: (row["mistake"] or "", row["where"]) for row in report["clauses"] if row["verdict"] == "wrong"}


def test_what_a_function_returns_behind_its_outputs_is_said_not_to_be_checked():
    report = steps()
    assert set(verdicts(report).values()) == {"pass"}, headline(report)
    assert report["further_outputs"] == {"posterior": 1, "reverse": 1}
    assert "behind the outputs that a clause is about: posterior (1 more), reverse (1 more)" in text(report)
    assert all(part in page.html([report], command="check").decode() for part in ("posterior (1 more)", "behind the outputs"))


def test_a_second_mistake_is_named_given_the_first():
    """x̂_0 clipped, and a variance for its root: the step is wrong by itself in two ways, and given the reverse step in one."""
    report = steps("REV.LAW", "SMP.STEP", deviation=lambda self, var: var,
                   guess=lambda self, model, x_t, t: np.clip(Steps.guess(self, model, x_t, t), -1, 1))
    found = told(report)
    assert found["REV.LAW.MEAN"][0] == "x̂_0 is clipped to [-1, 1]"
    assert found["SMP.STEP.X_PREV"][0] == "root left out: √own var"
    assert found["SMP.STEP.X_PREV"][1].startswith("given the adapter's own reverse")
    assert [cause["first"] for cause in report["causes"]] == ["REV.LAW.MEAN", "SMP.STEP.X_PREV"]


def test_a_wrong_term_is_named_by_the_unit_and_the_reduction_that_nothing_tells():
    """Only a total tells its unit, and a wrong one tells nothing."""
    report = steps(divergence=lambda self, ratio: (ratio - np.log(ratio)) / 2)
    mistake, where = told(report)["OBJ.PRIOR.VALUE"]
    assert mistake in ("BND-14", "term left out: 1") and where == "if its unit is bits and its reduction is mean"
    assert "these are in nats, sum; the adapter answers in bits, mean" in text(report)


def test_outputs_that_are_exchanged_are_told_also_where_one_of_them_is_0():
    """A mean that is rounded as a mean is, in the place of a variance, of which 0 has no rounding."""
    report = steps("GAU.POST", handed_on=lambda self, mean, var, log_var: (var, mean, log_var),
                   __init__=lambda self, beta: Tables.__init__(self, np.float32(beta)))
    assert "(GAU.POST.MEAN) is wrong: its two outputs are exchanged" in headline(report)


def test_a_function_that_draws_noise_of_its_own_is_told_so_first():
    rng = np.random.default_rng(0)

    def drawn(self, model, x_t, t, noise):
        return Steps.ancestral_step(self, model, x_t, t, rng.normal(size=x_t.shape))

    report = steps("PURE.SAME", "SMP.STEP", ancestral_step=drawn)
    assert "it draws random numbers of its own, and not only the noise that is given (PURE.SAME)" in headline(report)
    assert report["causes"][0]["also"] == ["SMP.STEP.X_PREV"]


@pytest.mark.parametrize("unit", [1.0, np.log(2)])
def test_logarithms_of_variances_in_a_divergence_alone_are_a_convention(unit):
    """As in guided-diffusion, beside a marginal that has variances; in nats, or in bits, where nothing else tells."""
    def kl(mean_q, var_q, mean_p, var_p):
        return (-1 + var_p - var_q + np.exp(var_q - var_p) + (mean_q - mean_p) ** 2 * np.exp(-var_p)) / 2 / unit

    abar = np.cumprod(1 - LINEAR[1:])

    def marginal(x_0, t):
        a = abar[t].reshape(-1, *[1] * (x_0.ndim - 1))
        return np.sqrt(a) * x_0, (1 - a) * np.ones_like(x_0)

    report = asked(SimpleNamespace(beta=LINEAR[1:], kl=kl, marginal=marginal), only="GAU")
    assert set(verdicts(report).values()) == {"pass"}, headline(report)


def test_an_array_of_another_kind_is_asked_for_by_name():
    report = steps(marginal_sample=lambda self, x_0, t, noise: x_0.float())
    assert "no attribute 'float'; arrays are given as array = … of the adapter makes them" in headline(report)


def test_another_floor_in_the_place_of_0_is_no_other_formula():
    """Any floor will do in the place of β̃_1 = 0, and that another would do decides nothing."""
    floor = type("Floor", (Tables,), {"dtype": "float32"})(np.linspace(1e-4, 0.02, 1000))
    floor.var = np.maximum(floor.var, 1e-20)
    row = next(row for row in check(floor, only="REV.LAW")["clauses"] if row["id"] == "REV.LAW.VAR")
    assert row["verdict"] == "pass", row["reason"]


def test_large_numbers_of_which_nothing_can_be_told_are_counted():
    """Masses of far bins in single precision: a pass says that they were not judged."""
    decoder = tuple(quantity for quantity in QUANTITIES if quantity.id == "OBJ.DECODER")
    report = check(Reference("float32", functions=decoder), only="OBJ.DECODER", effort=Effort(max_examples=3))
    lost, large = report["clauses"][0]["power"]["unjudged"]
    assert 0 < lost < large / 4 and f"{lost} of its {large} large numbers may be all rounding" in text(report)


def test_all_causes_are_in_the_first_line():
    report = steps(deviation=lambda self, var: var, divergence=lambda self, ratio: (ratio - np.log(ratio)) / 2)
    assert headline(report).endswith("; also wrong, perhaps for another reason: SMP.STEP.X_PREV")


def drawn_in_float32(changed=lambda x_0, t: 0.0):
    """q(x_t | x_0) of a schedule with T = 1000, with tables in float32."""
    beta = np.linspace(1e-4, 0.02, 1000)
    abar = np.cumprod(1 - beta)
    root, rest = (np.sqrt(x).astype(np.float32) for x in (abar, 1 - abar))

    def marginal_sample(x_0, t, noise):
        signal, deviation = (table[t].reshape(-1, *[1] * (x_0.ndim - 1)) for table in (root, rest))
        return signal * x_0.astype(np.float32) + deviation * noise.astype(np.float32) + np.float32(changed(x_0, t))

    return SimpleNamespace(__name__="program", beta=beta, dtype="float32", marginal_sample=marginal_sample)


def verdict_of_a_draw(program, seed):
    return next(row["verdict"] for row in check(program, effort=Effort(seed=seed))["clauses"] if row["id"] == "GAU.DRAW.X_T")


@pytest.mark.parametrize("seed", [1, 8])
def test_a_number_that_has_cancelled_at_one_step_decides_nothing(seed):
    """A drawn x_t may be near 0 at a t that is drawn once; turned round it is not."""
    assert verdict_of_a_draw(drawn_in_float32(), seed) == "pass"


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_wrong_only_after_turning_round_is_wrong(sign):
    """Of the first component of x_0 one sign alone is drawn at t = 318 with this seed."""
    def changed(x_0, t):
        return np.where((t == 317).reshape(-1, *[1] * (x_0.ndim - 1)) & (sign * x_0[:, :1] > 0), 0.5, 0.0)

    assert verdict_of_a_draw(drawn_in_float32(changed), 1) == "wrong"


@pytest.mark.parametrize("change, verdict, says", [
    (lambda x_0: 1.0, "undecided", ""),
    (lambda x_0: 1.005, "wrong", "1.005 times x_0²"),               # which a wrong formula fits better, but not far away
    (lambda x_0: 1.015, "wrong", "it is 1.015 times what it should be"),
    (lambda x_0: np.where(np.abs(x_0).max(axis=1) > 6, 2.5, 1.0), "wrong", "it is 2.5 times what it should be")])
def test_a_term_that_is_nearly_nothing_is_asked_for_far_away(change, verdict, says):
    """In float32 the prior term of T = 1000 shows an error of 2 % at usual states, and one of 0.2 % where they are large; what came
    there gives the name."""
    left = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[-1]

    def prior_kl(x_0):
        nats = (left * x_0.astype(float) ** 2 - left - np.log1p(-left)) / 2
        return (nats.reshape(len(x_0), -1).sum(axis=1) * change(x_0)).astype(np.float32)

    program = SimpleNamespace(__name__="program", beta=np.linspace(1e-4, 0.02, 1000), dtype="float32", prior_kl=prior_kl)
    row = next(one for one in check(program)["clauses"] if one["id"] == "OBJ.PRIOR.VALUE")
    assert row["verdict"] == verdict and (row["mistake"] or "").startswith(says)
    assert "fits better" not in row["reason"] and "another convention" not in row["reason"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_0_given_parts_that_are_0_is_wrong(dtype):
    """Nothing could be seen given its parts, so that being right given them excuses nothing."""
    class Adapter:
        beta = np.linspace(1e-4, 0.1, 12)

        def step_kl(self, x_0, t, noise, model):
            return np.zeros(len(x_0), dtype)

        def decoder_nll(self, x_0, noise, model):
            return np.zeros(len(x_0), dtype)

        def prior_kl(self, x_0):
            return np.zeros(len(x_0), dtype)

        def bound_terms(self, x_0, noise, model):
            return np.zeros((12, len(x_0)), dtype)

        def bound(self, x_0, noise, model):
            return np.zeros(len(x_0), dtype)

    Adapter.dtype = dtype
    found = check(Adapter(), effort=Effort(max_examples=3), only=["OBJ"])["clauses"]
    assert {one["id"]: one["verdict"] for one in found if one["verdict"] != "skipped"} == dict.fromkeys(
        ["OBJ.PRIOR.VALUE", "OBJ.DECODER.VALUE", "OBJ.TERMS.TABLE", "OBJ.BOUND.VALUE"], "wrong")


def test_the_time_of_an_embedding_is_no_time_of_a_path():
    """Whose data are at t = 1, so that its functions get 1 − t for our t."""
    def path_velocity(x_0, noise):
        return x_0 - noise

    def path_sample(x_0, noise, time):
        return time * x_0 + (1 - time) * noise

    def sinusoidal(time, width):
        angle = time[:, None] * 10000.0 ** (-np.arange(width // 2) / (width // 2))
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)

    program = SimpleNamespace(__name__="program", path_velocity=path_velocity, path_sample=path_sample, sinusoidal=sinusoidal)
    report = check(program, effort=Effort(max_examples=3))
    assert report["exit_code"] == 0 and ("data_at", "1") in conventions(report)
    assert all("sinusoidal" not in field for field, _ in conventions(report))


def test_what_follows_from_a_wrong_posterior_is_not_tried_by_other_conventions(monkeypatch):
    """A bound that calls the posterior, and cannot be judged given that, tells nothing of its own conventions."""
    class Program:
        def __init__(self, beta):
            self.beta, self.level = beta, np.append(1.0, np.cumprod(1 - beta))

        def posterior(self, x_0, x_t, t):
            now, before, beta = (table[s].reshape(-1, *[1] * (x_t.ndim - 1)) for table, s in (
                (self.level, t), (self.level, t - 1), (self.beta, t - 1)))
            mean = (np.sqrt(before * beta) * x_0 + np.sqrt(1 - beta) * (1 - before) * x_t) / (1 - now)
            return mean, np.broadcast_to(beta * (1 - before) / (1 - now), x_t.shape)

        def bound(self, x_0, noise, model):
            return np.cos(x_0 + self.posterior(x_0, noise[0], np.full(len(x_0), len(self.beta)))[0]).sum(axis=-1)

    tried = []
    monkeypatch.setattr(Session, "_judged_with", lambda self, quantity, *more: tried.append(quantity.name) or [])
    report = check(SimpleNamespace(__name__="program", make=Program, profile={"predicts": "noise", "variance": "small"}),
                   effort=Effort(max_examples=3))
    wrong = {row["id"]: row["mistake"] for row in report["clauses"] if row["verdict"] == "wrong"}
    assert wrong["GAU.POST.MEAN"].startswith("root of β_t") and wrong["OBJ.BOUND.VALUE"] is None
    assert "bound" not in tried
