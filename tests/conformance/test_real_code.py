"""What right programs do that is no mistake, and what wrong ones are told besides: tables of one step, variances at t = 1."""

import numpy as np
import pytest

from refdpm.conformance.judge import Effort
from refdpm.conformance.report import headline
from refdpm.conformance.session import check

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
    """The variance of the reverse step at t = 1 is that at t = 2, which one step alone does not have."""

    def __init__(self, beta):
        super().__init__(beta)
        self.clipped = np.append(self.var[1], self.var[1:])

    def reverse(self, model, x_t, t):
        return super().reverse(model, x_t, t)[0], self.at(self.clipped, t, x_t)


def asked(adapter, **options):
    return check(adapter, effort=Effort(max_examples=3), **options)


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
    assert report["profile"]["first"] == "floor"


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

    report = asked(Wrong(BETA))
    assert verdicts(report)["GAU.POST.VAR"] == "wrong" and verdicts(report)["REV.LAW.VAR"] == "wrong"
