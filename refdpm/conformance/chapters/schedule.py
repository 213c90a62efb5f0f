"""Clauses of the schedules: those with a name, the learned one, and the schedule of fewer steps.

They are asked for with plain numbers, which an adapter may round to its own precision; so each has an error of u of its own.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from refdpm import schedule
from refdpm.conformance import terms
from refdpm.conformance.chapters.common import (Finding, Quantity, Given, Inputs, Law, Output, Strategy, arrays, drawn,
                                               edge_schedules, listed, numbers, own_levels, scales, schedules, spread_out)
from refdpm.conformance.terms import Terms
from refdpm.later import sampler
from refdpm.vjp import Array

RATES = (Output("RATES", "rates"),)
STEPS = (10, 3, 2, 1, 20, 1000)


def _number(x: float) -> Terms:
    return Terms(x, abs(x))


def _one(inputs: Inputs) -> int:
    return 1


# -- named -------------------------------------------------------------------------------------------------------------

def _linear(i: Inputs) -> Terms:
    first, last, T = _number(i["beta_1"]), _number(i["beta_T"]), i["T"]
    return first + (last - first) * np.arange(T) / max(T - 1, 1)


def _geometric(i: Inputs) -> Terms:
    first, last, T = terms.log(_number(i["beta_1"])), terms.log(_number(i["beta_T"])), i["T"]
    return terms.exp(first + (last - first) * np.arange(T) / max(T - 1, 1))


def _cosine(i: Inputs) -> Terms:
    """1 − f(t)/f(t−1), which cancels; and the cap may be met or just not."""
    T, offset = i["T"], _number(i["offset"])
    f = _cos((terms.exact(np.arange(T + 1)) / T + offset) / (1 + offset) * Terms(np.pi / 2, np.pi / 2))
    beta = 1 - (f * f)[1:] / (f * f)[:-1]
    return terms.where(beta.value < i["cap"], beta, Terms(i["cap"], beta.error + i["cap"]))


def _cos(x: Terms) -> Terms:
    return Terms(np.cos(x.value), np.abs(np.sin(x.value)) * x.error + np.abs(np.cos(x.value)))


SIZES = st.sampled_from(STEPS[:-1])
TWO_ENDS = drawn(T=SIZES, beta_1=numbers(1e-4, 0.01), beta_T=numbers(0.015625, 0.9375))
TWO_ENDS_EDGES = listed(*(dict(T=T, beta_1=1e-4, beta_T=0.02) for T in STEPS), dict(T=10, beta_1=0.25, beta_T=0.96875))

NAMED = (
    Quantity(
        "linear_schedule", "SCH.LINEAR", "β_t = β_1 + (β_T − β_1) (t−1)/(T−1); β_1 if T = 1", ("Ho, Jain, Abbeel 2020",), RATES,
        TWO_ENDS, TWO_ENDS_EDGES, lambda i: (schedule.linear(i["T"], beta_1=i["beta_1"], beta_T=i["beta_T"])[1:],),
        lambda i: scales(_linear(i)), sizes=_one),
    Quantity(
        "geometric_schedule", "SCH.GEOM", "β_t = β_1^(1−f) β_T^f with f = (t−1)/(T−1); β_1 if T = 1", ("sec. 2.4.1",), RATES,
        TWO_ENDS, TWO_ENDS_EDGES, lambda i: (schedule.geometric(i["T"], beta_1=i["beta_1"], beta_T=i["beta_T"])[1:],),
        lambda i: scales(_geometric(i)), sizes=_one),
    Quantity(
        "reciprocal_schedule", "SCH.RECIP", "β_t = 1/(T − t + 1), so that ᾱ_t = 1 − t/T", ("App.1 B targets",), RATES,
        drawn(T=st.integers(1, 40)), listed(*({"T": T} for T in STEPS)), lambda i: (schedule.reciprocal(i["T"])[1:],),
        lambda i: (1 / np.arange(i["T"], 0, -1.0),), sizes=_one),
    Quantity(
        "cosine_schedule", "SCH.COSINE", "β_t = min(1 − f(t)/f(t−1), cap) with f(t) = cos²[(π/2) (t/T + offset)/(1 + offset)]",
        ("Nichol, Dhariwal 2021",), RATES, drawn(T=SIZES, offset=st.just(0.008), cap=st.just(0.999)),
        listed(*(dict(T=T, offset=0.008, cap=0.999) for T in STEPS), dict(T=10, offset=0.125, cap=0.875)),
        lambda i: (schedule.cosine(i["T"], offset=i["offset"], cap=i["cap"])[1:],), lambda i: scales(_cosine(i)), sizes=_one),
)


# -- learned -----------------------------------------------------------------------------------------------------------

def _learned_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    _, back = schedule.learned_vjp(i["logit_beta"], beta_1=i["beta_1"])
    return {"logit_beta": back(np.append(0.0, cotangents[0]))}


def _learned(i: Inputs) -> tuple[Array, ...]:
    rates = 1 / (1 + terms.exp(-terms.exact(i["logit_beta"])))
    return (np.append(i["beta_1"], rates.scale),)


def _logits(i: Inputs) -> Terms:
    beta = terms.exact(i["beta"][2:])
    return terms.log(beta) - terms.log(1 - beta)


def _learned_edges(given: Given) -> list[Inputs]:
    found = [{"logit_beta": spread_out(T - 1, low=-9, high=4), "beta_1": 1e-4} for T in (10, 3, 2, 20)]
    return [*found, {"logit_beta": np.array([-12.0, 0.0, 6.0]), "beta_1": 0.03125}]


LOGITS: Strategy = st.sampled_from((1, 2, 4, 9)).flatmap(lambda size: arrays(size, low=-9.0, high=5.0))

LEARNED = (
    Quantity(
        "learned_schedule", "SCH.LEARNED", "β_1 as given, β_t = 1/(1 + exp(−logit_beta[t−2])) for t ≥ 2", ("15",), RATES,
        drawn(logit_beta=LOGITS, beta_1=numbers(1e-4, 0.5)), _learned_edges,
        lambda i: (schedule.learned(i["logit_beta"], beta_1=i["beta_1"])[1:],), _learned, sizes=_one,
        vjp=_learned_vjp, arguments=("logit_beta",)),
    Quantity(
        "schedule_logits", "SCH.LOGITS", "log β_t − log(1 − β_t) for t ≥ 2: the parameters with which learning starts at β",
        ("15",), (Output("VALUE"),), lambda given: schedules(given, low=2).map(lambda beta: {"beta": beta}),
        lambda given: [{"beta": beta} for beta in edge_schedules(given, low=2)],
        lambda i: (schedule.logits_of(i["beta"]),), lambda i: scales(_logits(i)), sizes=_one),
)


# -- fewer steps -------------------------------------------------------------------------------------------------------

def _respaced(i: Inputs) -> tuple[Array, ...]:
    level = i.get("log_alpha_bar")
    beta = i["beta"] if level is None else np.append(0.0, -np.expm1(np.diff(level)))
    return (sampler.respaced(beta, times=i["times"])[1:],)


def _respaced_scale(i: Inputs) -> Terms:
    alpha_bar = terms.cumulative_product(1 - terms.exact(i["beta"]))
    alpha_bar.error[0] = 0
    return 1 - alpha_bar[i["times"]] / alpha_bar[np.append(0, i["times"][:-1])]


def _respaced_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    _, back = sampler.respaced_vjp(i["beta"], times=i["times"])
    return {"beta": back(np.append(0.0, cotangents[0]))[1:]}


@st.composite
def _kept(draw: st.DrawFn, given: Given) -> Inputs:
    beta = draw(schedules(given))
    times = draw(st.sets(st.integers(1, len(beta) - 1), min_size=1))
    return {"beta": beta, "times": np.array(sorted(times))}


def _kept_edges(given: Given) -> list[Inputs]:
    found = []
    for beta in edge_schedules(given):
        T = len(beta) - 1
        found += [{"beta": beta, "times": np.append(np.arange(stride, T, stride), T)} for stride in (3, 1) if stride <= T]
    return found


FEWER = (
    Quantity(
        "respaced_schedule", "SCH.RESPACED", "1 − ᾱ_t/ᾱ_s for every kept t, s the kept step before it; ᾱ_0 = 1 before the first",
        ("Song, Meng, Ermon 2021",), RATES, _kept, _kept_edges, _respaced, lambda i: scales(_respaced_scale(i)),
        given=own_levels, after=("alpha_bar",), sizes=_one, vjp=_respaced_vjp, arguments=("beta",)),
)


COUNTS = ((20, 3), (1000, 7), (10, 1), (10, 10), (10, 3), (1000, 50), (1, 1), (3, 2), (10, 4))


def _spaced(subject: Any, given: Given, seed: int) -> Finding:
    """Exactly `count` steps, in order, the last of them T, none a whole step off i T/count: halves may be rounded up or down."""
    for T, count in COUNTS:
        inputs = {"T": T, "count": count}
        times = np.asarray(subject.raw("spaced_times", dict(inputs))).reshape(-1).astype(np.int64) + 1 - subject.profile.first_t
        times = times[::-1] if len(times) > 1 and times[0] > times[-1] else times
        if len(times) != count:
            return Finding(np.inf, f"{len(times)} steps, expected {count} (SCH-16)", inputs)
        if times[-1] != T:
            return Finding(np.inf, f"ends at t = {times[-1]}, expected T = {T} (SCH-17b)", inputs)
        if np.any(np.diff(times) < 1) or np.any(np.abs(times - np.arange(1, count + 1) * T / count) >= 1):
            return Finding(np.inf, f"steps {times.tolist()} are not as even as integers can be", inputs)
    return Finding(0.0)


QUANTITIES: tuple[Quantity, ...] = (*NAMED, *LEARNED, *FEWER)

LAWS: tuple[Law, ...] = (
    Law("SCH.SPACED", "spaced_times(T, count): count steps out of 1..T in order, as evenly as integers can, the last of them T",
        ("Song, Meng, Ermon 2021",), ("spaced_times",), _spaced, ("later.sampler.spaced",)),
)
