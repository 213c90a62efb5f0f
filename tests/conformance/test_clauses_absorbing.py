"""Symbols with a mask: the absorbing chain is a convention and no mistake, and its numbers by hand."""

import numpy as np
import pytest

from refdpm.conformance.judge import Effort
from refdpm.conformance.session import check
from refdpm.later import categorical

MASK = np.array([0.0, 0.0, 1.0])


class Absorbing:
    """Matrices, marginal and posterior by Bayes' rule; the last class is the mask."""

    reaches = -1

    def one(self, rate, classes):
        matrix = np.eye(classes) * (1 - rate)
        matrix[:, self.reaches] += rate
        return matrix

    def transition_matrix(self, t, beta, classes):
        return np.stack([self.one(beta[s - 1], classes) for s in t])

    def cumulative_matrix(self, t, beta, classes):
        alpha_bar = np.cumprod(np.append(1.0, 1 - beta))
        return np.stack([self.one(1 - alpha_bar[s], classes) for s in t])

    def categorical_marginal(self, x_0, t, beta, classes):
        return np.stack([matrix[row] for matrix, row in zip(self.cumulative_matrix(t, beta, classes), x_0)])

    def categorical_posterior(self, x_0, x_t, t, beta, classes):
        before, step = self.cumulative_matrix(t - 1, beta, classes), self.transition_matrix(t, beta, classes)
        joint = np.stack([q[:, b].T * m[a] for q, m, a, b in zip(step, before, x_0, x_t)])
        return joint / np.maximum(joint.sum(axis=-1, keepdims=True), 1e-300)


def test_the_absorbing_chain_passes_and_is_printed_as_a_convention():
    found = check(Absorbing(), only="CAT", effort=Effort(max_examples=5, shrinks=0, power=False))
    verdicts = {row["id"]: row["verdict"] for row in found["clauses"] if row["verdict"] != "skipped"}
    assert set(verdicts.values()) == {"pass"} and len(verdicts) == 4
    assert (found["profile"]["kernel"], found["known"]["kernel"]) == ("absorbing", "inferred")


def test_a_wrong_absorbing_chain_is_wrong():
    class First(Absorbing):
        def categorical_posterior(self, x_0, x_t, t, beta, classes):
            return super().categorical_posterior(x_0, x_t, np.minimum(t + 1, len(beta)), beta, classes)

    found = check(First(), only="CAT.POST", effort=Effort(max_examples=5, shrinks=0, power=False), profile={"kernel": "absorbing"})
    assert next(row for row in found["clauses"] if row["id"] == "CAT.POST.PROB")["verdict"] == "wrong"


def test_the_posterior_of_the_absorbing_chain_by_hand():
    """K = 3, the mask last, β = (¼, ½), t = 2, x_0 = 0, x_t = mask: q(x_1) = (0.6, 0, 0.4)."""
    q = categorical.posterior(MASK[None], np.eye(3)[:1], np.array([[0.5]]), np.log(np.array([[0.75]])), law=MASK)
    assert q.prob == pytest.approx(np.array([[0.6, 0.0, 0.4]]), abs=1e-15)


def test_steps_of_any_law_compose_and_keep_it():
    law, rates = np.array([0.5, 0.125, 0.375]), np.array([0.25, 0.5])
    steps = categorical.transition(rates, classes=3, law=law)
    level = np.log(np.prod(1 - rates))[None]
    assert steps[0] @ steps[1] == pytest.approx(categorical.cumulative(level, classes=3, law=law)[0], abs=1e-15)
    assert law @ steps[0] == pytest.approx(law, abs=1e-15)


class ClosedForm(Absorbing):
    """Its network predicts no mask, so that the bound's term is the chance to be shown times −log p̂(x_0)."""

    factor = 1.0

    def categorical_step_kl(self, logits, x_0, x_t, t, beta, classes):
        p = np.exp(logits[..., :-1] - logits[..., :-1].max(axis=-1, keepdims=True))
        p = np.append(p / p.sum(axis=-1, keepdims=True), np.zeros(logits.shape[:-1] + (1,)), axis=-1)
        alpha_bar = np.cumprod(np.append(1.0, 1 - beta))
        shown = (alpha_bar[t - 1] - alpha_bar[t]) / (1 - alpha_bar[t])
        nats = -np.log(np.maximum(np.take_along_axis(p, x_0[..., None], -1)[..., 0], 1e-300))
        return self.factor * np.where(x_t == classes - 1, shown[:, None] * nats, 0.0)


@pytest.mark.parametrize("factor, verdict", [(1.0, "pass"), (1.01, "wrong")])
def test_no_term_is_asked_for_data_that_are_the_mask(factor, verdict):
    """There it is infinite, or whatever a program puts for that."""
    adapter = type("Program", (ClosedForm,), {"factor": factor})()
    found = check(adapter, only="CAT", effort=Effort(max_examples=5, shrinks=0, power=False))
    assert next(row for row in found["clauses"] if row["id"] == "CAT.TERM.VALUE")["verdict"] == verdict


@pytest.mark.parametrize("tiny, verdicts", [(1e-30, {"pass"}), (1e-12, {"wrong"})])
def test_a_tiny_number_may_stand_for_0_in_a_law_and_no_larger_one(tiny, verdicts):
    """As where everything is computed in logarithms."""
    class InLogarithms(Absorbing):
        profile = {"categories": "log_probability"}

        def categorical_marginal(self, x_0, t, beta, classes):
            return np.log(np.maximum(super().categorical_marginal(x_0, t, beta, classes), tiny))

        def categorical_posterior(self, x_0, x_t, t, beta, classes):
            return np.log(np.maximum(super().categorical_posterior(x_0, x_t, t, beta, classes), tiny))

    found = check(InLogarithms(), only="CAT", effort=Effort(max_examples=5, shrinks=0, power=False))
    assert {row["verdict"] for row in found["clauses"] if row["id"] in ("CAT.MARG.PROB", "CAT.POST.PROB")} == verdicts
