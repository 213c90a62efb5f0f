"""Clauses of the schedules: those with a name, the learned one, and the schedule of fewer steps.

They are asked for with plain numbers, which an adapter may round to its own precision; so each has an error of u of its own.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from refdpm import schedule
from refdpm.conformance.chapters.ends import Case, rate
from refdpm.conformance.chapters.inputs import (Given, Inputs, Strategy, arrays, drawn, edge_schedules, listed, numbers, schedules,
                                                spread_out)
from refdpm.conformance.chapters.quantity import Finding, Law, Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import SCHEDULE, Take, Theory
from refdpm.later import sampler
from refdpm.textbook import chain as book
from refdpm.textbook.expression import given as argument
from refdpm.textbook.page import Page
from refdpm.vjp import Array

RATES = (Output("RATES", "rates"),)
STEPS = (10, 3, 2, 1, 20, 1000)
LENGTH, FIRST, LAST, OFFSET, CAP = map(argument, ("T", "beta_1", "beta_T", "offset", "cap"))


def of_plain_numbers(inputs: Inputs) -> Page:
    """A page whose numbers an adapter may have rounded to its own precision."""
    given = {name: np.asarray(value, dtype=np.float64) for name, value in inputs.items()}
    return Page(given, ndim=1, errors={name: np.abs(value) for name, value in given.items() if name not in ("T", "logit_beta")})


def _one(inputs: Inputs) -> int:
    return 1


# -- named -------------------------------------------------------------------------------------------------------------

SIZES = st.sampled_from(STEPS[:-1])
TWO_ENDS = drawn(T=SIZES, beta_1=numbers(1e-4, 0.01), beta_T=numbers(0.015625, 0.9375))
TWO_ENDS_EDGES = listed(*(dict(T=T, beta_1=1e-4, beta_T=0.02) for T in STEPS), dict(T=10, beta_1=0.25, beta_T=0.96875))

NAMED = (
    Quantity(
        "linear_schedule", "SCH.LINEAR", "β_t = β_1 + (β_T − β_1) (t−1)/(T−1); β_1 if T = 1", ("Ho, Jain, Abbeel 2020",), RATES,
        TWO_ENDS, TWO_ENDS_EDGES, Theory(schedule.linear, None, "T", fixed=("beta_1", "beta_T"), table=True),
        lambda i: (book.linear(LENGTH, FIRST, LAST),), sizes=_one, page=of_plain_numbers),
    Quantity(
        "geometric_schedule", "SCH.GEOM", "β_t = β_1^(1−f) β_T^f with f = (t−1)/(T−1); β_1 if T = 1", ("sec. 2.4.1",), RATES,
        TWO_ENDS, TWO_ENDS_EDGES, Theory(schedule.geometric, None, "T", fixed=("beta_1", "beta_T"), table=True),
        lambda i: (book.geometric(LENGTH, FIRST, LAST),), sizes=_one, page=of_plain_numbers),
    Quantity(
        "reciprocal_schedule", "SCH.RECIP", "β_t = 1/(T − t + 1), so that ᾱ_t = 1 − t/T", ("App.1 B targets",), RATES,
        drawn(T=st.integers(1, 40)), listed(*({"T": T} for T in STEPS)), Theory(schedule.reciprocal, None, "T", table=True),
        lambda i: (book.reciprocal(LENGTH),), sizes=_one, page=of_plain_numbers),
    Quantity(
        "cosine_schedule", "SCH.COSINE", "β_t = min(1 − f(t)/f(t−1), cap) with f(t) = cos²[(π/2) (t/T + offset)/(1 + offset)]",
        ("Nichol, Dhariwal 2021",), RATES, drawn(T=SIZES, offset=st.just(0.008), cap=st.just(0.999)),
        listed(*(dict(T=T, offset=0.008, cap=0.999) for T in STEPS), dict(T=10, offset=0.125, cap=0.875)),
        Theory(schedule.cosine, None, "T", fixed=("offset", "cap"), table=True),
        lambda i: (book.cosine(LENGTH, OFFSET, CAP),), sizes=_one, page=of_plain_numbers),
)


# -- learned -----------------------------------------------------------------------------------------------------------

def _learned_edges(given: Given) -> list[Inputs]:
    found = [{"logit_beta": spread_out(T - 1, low=-9, high=4), "beta_1": 1e-4} for T in (10, 3, 2, 20)]
    return [*found, {"logit_beta": np.array([-12.0, 0.0, 6.0]), "beta_1": 0.03125}]


LOGITS: Strategy = st.sampled_from((1, 2, 4, 9)).flatmap(lambda size: arrays(size, low=-9.0, high=5.0))

LEARNED = (
    Quantity(
        "learned_schedule", "SCH.LEARNED", "β_1 as given, β_t = 1/(1 + exp(−logit_beta[t−2])) for t ≥ 2", ("15",), RATES,
        drawn(logit_beta=LOGITS, beta_1=numbers(1e-4, 0.5)), _learned_edges,
        Theory(schedule.learned, schedule.learned_vjp, "logit_beta", fixed=("beta_1",), table=True),
        lambda i: (book.learned(argument("logit_beta"), FIRST),), sizes=_one, arguments=("logit_beta",), page=of_plain_numbers),
    Quantity(
        "schedule_logits", "SCH.LOGITS", "log β_t − log(1 − β_t) for t ≥ 2: the parameters with which learning starts at β",
        ("15",), (Output("VALUE"),), lambda given: schedules(given, low=2).map(lambda beta: {"beta": beta}),
        lambda given: [{"beta": beta} for beta in edge_schedules(given, low=2)], Theory(schedule.logits_of, None, SCHEDULE),
        lambda i: (book.logits_of(book.row()),), sizes=_one,
        page=lambda i: Page({}, beta=i["beta"], t=np.arange(2, len(i["beta"])), ndim=1)),
)


# -- fewer steps -------------------------------------------------------------------------------------------------------

def _own_rates(i: Inputs) -> Array:
    """The schedule, or the rates of the adapter's own levels where it has shown them."""
    level = i.get("log_alpha_bar")
    return np.asarray(i["beta"] if level is None else np.append(0.0, -np.expm1(np.diff(level))))


@st.composite
def _kept_steps(draw: st.DrawFn, given: Given) -> Inputs:
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
        ("Song, Meng, Ermon 2021",), RATES, _kept_steps, _kept_edges,
        Theory(sampler.respaced, sampler.respaced_vjp, Take(_own_rates, SCHEDULE.back), fixed=("times",), table=True),
        lambda i: (book.respaced(tuple(i["times"].tolist())),), given=own_levels, after=("alpha_bar",), sizes=_one,
        arguments=("beta",), page=lambda i: Page({}, beta=i["beta"], ndim=1)),
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


LAWS: tuple[Law, ...] = (
    Law("SCH.SPACED", "spaced_times(T, count): count steps out of 1..T in order, as evenly as integers can, the last of them T",
        ("Song, Meng, Ermon 2021",), ("spaced_times",), _spaced, ("later.sampler.spaced",)),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _rates(T: int) -> Any:
    """One schedule of T steps, with small and large rates."""
    def drawn(rng: np.random.Generator, n: int) -> Case:
        return (np.concatenate([[0.0], np.minimum(rate(rng, T), 1 - 1e-6)]),), {}
    return drawn


ENDS = {
    "schedule.reciprocal": lambda rng, n: ((n,), {}), "schedule.linear": lambda rng, n: ((n,), dict(beta_1=1e-12, beta_T=1 - 1e-6)),
    "schedule.geometric": lambda rng, n: ((n,), dict(beta_1=1e-12, beta_T=0.5)),
    "schedule.cosine": lambda rng, n: ((n,), dict(offset=1e-4, cap=1.0)),
    "schedule.logits_of": _rates(60), "schedule.log_alpha_bar": _rates(400), "schedule.alpha_bar": _rates(40)}
