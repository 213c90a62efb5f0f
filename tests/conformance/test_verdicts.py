"""Verdicts where little is told: of t, of conventions, by functions that refuse some inputs or return the wrong shape."""

from types import SimpleNamespace

import numpy as np
import pytest

from refdpm.conformance.judge import Effort, Result
from refdpm.conformance.session import _are_explained, check

EFFORT = Effort(max_examples=1, shrinks=5, power=False)
BETA = np.linspace(0.01, 0.3, 10)
LEVEL = np.cumprod(1 - BETA)
BEFORE = np.append(1.0, LEVEL[:-1])


def found(effort=EFFORT, **functions):
    """The report on functions that count t from 0, and its clauses by their ids."""
    report = check(SimpleNamespace(__name__="program", beta=BETA, **functions), effort=effort)
    return report, {row["id"]: row for row in report["clauses"]}


def at(column, t, x):
    return column[t].reshape(-1, *[1] * (x.ndim - 1))


def marginal(x_0, t):
    return at(np.sqrt(LEVEL), t, x_0) * x_0, at(1 - LEVEL, t, x_0) * np.ones_like(x_0)


def posterior(x_0, x_t, t):
    mean = at(np.sqrt(BEFORE) * BETA, t, x_0) * x_0 + at(np.sqrt(1 - BETA) * (1 - BEFORE), t, x_0) * x_t
    return mean / at(1 - LEVEL, t, x_0), at(BETA * (1 - BEFORE) / (1 - LEVEL), t, x_0) * np.ones_like(x_0)


def drawn_from(low, high):
    return lambda N, seed: np.random.default_rng(seed).integers(low, high, N)


# -- from where t counts -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("more", [{}, {"profile": {"first_t": 0}}, {"marginal": marginal}])
def test_a_first_step_that_is_never_drawn_is_not_passed_where_nothing_says_that_it_is_fixed(more):
    row = found(draw_times=drawn_from(1, 10), **more)[1]["LAW.TIMES"]
    assert row["verdict"] == "undecided" and "right where the first step is fixed" in row["reason"]


@pytest.mark.parametrize("low, high, first_t, verdict", [
    (1, 11, 1, "pass"), (0, 10, 0, "pass"), (1, 10, 1, "wrong"), (0, 9, 0, "wrong"), (1, 11, 0, "wrong")])
def test_draws_of_t_are_judged_by_what_is_stated_of_them(low, high, first_t, verdict):
    assert found(draw_times=drawn_from(low, high), profile={"first_t": first_t})[1]["LAW.TIMES"]["verdict"] == verdict


def test_a_t_that_no_table_has_tells_from_where_a_wrong_function_counts():
    def training_loss(model, x_0, t, noise):
        x_t = at(np.sqrt(LEVEL), t, x_0) * x_0 + at(np.sqrt(1 - LEVEL), t, x_0) * noise
        return ((model(x_t, t) - noise) ** 2).mean(axis=0)

    report, rows = found(training_loss=training_loss)
    assert report["profile"]["first_t"] == 0 and rows["LOSS.ASKED"]["verdict"] == "pass"
    assert rows["LOSS.VALUE"]["verdict"] == "wrong" and rows["LOSS.VALUE"]["reason"].startswith("returns shape (2,)")


# -- conventions ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("swapped", [False, True])
def test_a_variance_beside_a_deviation_does_not_agree(swapped):
    def marginal_with_root(x_0, t):
        mean, variance = marginal(x_0, t)
        return mean, np.sqrt(variance)

    def posterior_with_root(x_0, x_t, t):
        mean, variance = posterior(x_0, x_t, t)
        return mean, np.sqrt(variance)

    laws = {"marginal": marginal_with_root} if swapped else {"posterior": posterior_with_root}
    report, rows = found(**{"marginal": marginal, "posterior": posterior} | laws)
    wrong = [row for row in rows.values() if row["verdict"] == "wrong"]
    assert report["exit_code"] == 1
    assert [row["id"] for row in wrong] == ["GAU.POST.VAR"] and "it does not agree with marginal" in wrong[0]["reason"]


def test_a_convention_that_shows_on_refused_probes_alone_is_inferred_from_the_others():
    def ancestral_step(model, x_t, t, noise):
        if np.any(t == 0):
            raise ValueError("there is no step from t = 0")
        x_0 = (x_t - at(np.sqrt(1 - LEVEL), t, x_t) * model(x_t, t)) / at(np.sqrt(LEVEL), t, x_t)
        return posterior(x_0, x_t, t)[0] + np.sqrt(at(BETA, t, x_t)) * noise

    report, rows = found(marginal=marginal, ancestral_step=ancestral_step, effort=EFFORT._replace(max_examples=4))
    assert rows["SMP.STEP.X_PREV"]["verdict"] == "pass" and "refuses" in rows["SMP.STEP.X_PREV"]["reason"]
    assert report["profile"]["ancestral_step.variance"] == "large"


def test_one_mistake_under_a_choice_that_nothing_tells_comes_before_two_at_once():
    two, one = (Result("LOSS.VALUE", "wrong", mistake=mistake) for mistake in ("LOSS-XT & LOSS-WEIGHT", "LOSS-XT"))
    assert not _are_explained([two]) and _are_explained([one])


def heun_chain(last, halved=2):
    """EDM's sampler, or one that takes Euler's step to 0 alone; its levels end above 0 too."""
    def sigma_heun_sample(x_t, sigmas, network):
        x = x_t
        for n, (now, after) in enumerate(zip(sigmas[:-1], sigmas[1:])):
            slope = (x - network(x, now)) / now
            there = x + (after - now) * slope
            plain = n == len(sigmas) - 2 if last == "euler" else after == 0
            x = there if plain else x + (after - now) * (slope + (there - network(there, after)) / after) / halved
        return x
    return sigma_heun_sample


@pytest.mark.parametrize("last", ["euler", "heun"])
def test_the_last_step_of_a_chain_is_a_convention(last):
    report = check(SimpleNamespace(__name__="program", sigma_heun_sample=heun_chain(last)), effort=EFFORT._replace(power=True))
    assert report["profile"]["last_step"] == last and report["exit_code"] == 0


@pytest.mark.parametrize("last", ["euler", "heun"])
def test_a_wrong_chain_is_wrong_with_either_last_step(last):
    report = check(SimpleNamespace(__name__="program", sigma_heun_sample=heun_chain(last, halved=2.5)), effort=EFFORT)
    assert "wrong" in {row["verdict"] for row in report["clauses"] if row["id"] == "SLV.HEUN_PATH.X_0"}


@pytest.mark.parametrize("last", ["euler", "heun"])
def test_the_last_step_of_a_chain_with_churn_is_a_convention(last):
    def sigma_churned_sample(x_t, sigmas, network, noise, s_churn, s_min, s_max, s_noise):
        x, steps = x_t, len(sigmas) - 1
        for n in range(steps):
            now, after = sigmas[n], sigmas[n + 1]
            raised = now * (1 + (min(s_churn / steps, np.sqrt(2) - 1) if s_min <= now <= s_max else 0))
            x = x + np.sqrt(raised ** 2 - now ** 2) * s_noise * noise[n]
            chain = heun_chain(last) if n == steps - 1 else heun_chain("heun")
            x = chain(x, np.array([raised, after]), network)
        return x

    report = check(SimpleNamespace(__name__="program", sigma_churned_sample=sigma_churned_sample), effort=EFFORT)
    assert report["profile"]["last_step"] == last and report["exit_code"] == 0


# -- shapes --------------------------------------------------------------------------------------------------------------

def test_the_output_of_another_shape_is_accused_alone():
    def of_another_shape(x_0, x_t, t):
        mean, variance = posterior(x_0, x_t, t)
        return mean, variance[..., None]

    rows = found(marginal=marginal, posterior=of_another_shape)[1]
    assert rows["GAU.POST.VAR"]["verdict"] == "wrong" and "returns shape" in rows["GAU.POST.VAR"]["reason"]
    assert rows["GAU.POST.MEAN"]["verdict"] == "not checked"


@pytest.mark.parametrize("axis, verdict", [(None, "pass"), (1, "pass"), (0, "wrong")])
def test_a_loss_has_one_number_for_the_batch_or_for_each_example(axis, verdict):
    def training_loss(model, x_0, t, noise):
        x_t = at(np.sqrt(LEVEL), t, x_0) * x_0 + at(np.sqrt(1 - LEVEL), t, x_0) * noise
        axes = tuple(range(1, x_0.ndim)) if axis else axis
        return ((model(x_t, t) - noise) ** 2).mean(axis=axes)

    assert found(marginal=marginal, training_loss=training_loss)[1]["LOSS.VALUE"]["verdict"] == verdict


# -- inputs that are refused ---------------------------------------------------------------------------------------------

def test_a_function_that_answers_at_the_first_step_alone_is_undecided():
    def marginal_of_one_step(x_0, t, beta):
        if len(beta) > 1:
            raise ValueError("one step alone")
        return np.sqrt(1 - beta[0]) * x_0, beta[0] + 0 * x_0

    program = SimpleNamespace(__name__="program", marginal=marginal_of_one_step)
    rows = {row["id"]: row for row in check(program, effort=EFFORT._replace(power=True, max_examples=20))["clauses"]}
    assert rows["GAU.MARG.MEAN"]["verdict"] == rows["GAU.MARG.VAR"]["verdict"] == "undecided"


def test_a_law_is_not_broken_by_an_input_that_is_refused():
    def draw_noise(shape, seed):
        if len(shape) > 2:
            raise ValueError("expected two axes")
        return np.random.default_rng(seed).standard_normal(shape)

    assert found(draw_noise=draw_noise)[1]["LAW.NOISE"]["verdict"] == "not checked"
