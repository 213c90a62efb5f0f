"""The strategies reach where bugs live, and what they draw is what they say."""

import inspect
import re

import numpy as np
import pytest
from hypothesis import given, settings, find

from refdpm import schedule, strategies

T, N = 6, 5
REACHED = {
    "β_T = 1": (strategies.any_schedules(T), lambda beta: beta[-1] == 1),
    "β_1 = 1e-4": (strategies.any_schedules(T), lambda beta: beta[1] == 1e-4),
    "β_1 = 1e-3": (strategies.any_schedules(T), lambda beta: beta[1] == 1e-3),
    "increasing": (strategies.any_schedules(T), lambda beta: (np.diff(beta[1:]) > 0).all()),
    "decreasing": (strategies.any_schedules(T), lambda beta: (np.diff(beta[1:]) < 0).all()),
    "1/(T−t+1)": (strategies.any_schedules(T), lambda beta: np.array_equal(beta, schedule.reciprocal(T))),
    "the cosine": (strategies.any_schedules(T), lambda beta: np.array_equal(beta, schedule.cosine(T))),
    "one step": (strategies.any_schedules(1), lambda beta: len(beta) == 2 and beta[1] == 1),
    "t all different": (strategies.steps(N, T), lambda drawn: len(set(drawn[1])) == N),
    "t all the same": (strategies.steps(N, T), lambda drawn: len(set(drawn[1])) == 1),
    "t mixed and repeated": (strategies.steps(N, T), lambda drawn: 1 < len(set(drawn[1])) < N),
    "t = 1": (strategies.times(N, low=1, high=T), lambda t: (t == 1).all()),
    "t = T": (strategies.times(N, low=1, high=T), lambda t: (t == T).all()),
    "images": (strategies.images(3, 4, 6, 2), lambda x: x.shape == (3, 4, 6, 2) and len(np.unique(x)) > 2),
    "every class": (strategies.hard_symbols(3, 2, 4), lambda x: x.any(axis=(0, 1)).all()),
}


@pytest.mark.parametrize("name", REACHED)
def test_it_is_reached(name):
    strategy, wanted = REACHED[name]
    find(strategy, wanted, settings=settings(max_examples=3000, derandomize=True, database=None))


def test_most_batches_have_more_than_one_t():
    """Every t is drawn by itself: those with a single t are the few that are meant to be there."""
    drawn = []

    @settings(max_examples=200, derandomize=True, database=None, deadline=None)
    @given(strategies.times(N, low=2, high=T))
    def collect(t):
        drawn.append(len(set(t)) == 1)

    collect()
    assert 0 < sum(drawn) < 0.5 * len(drawn)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_what_is_drawn_is_a_schedule(length):
    @given(strategies.any_schedules(length))
    def check(beta):
        schedule.check(beta, t=np.arange(1, length + 1))
        assert len(beta) == length + 1

    check()


@given(strategies.hard_symbols(3, 2, 4))
def test_symbols_are_hard(x):
    assert x.shape == (3, 2, 4) and (x.sum(axis=-1) == 1).all() and set(np.unique(x)) == {0, 1}


def test_every_argument_is_documented():
    """In the table of the module, or by name in the function's own words."""
    public = {name: member for name, member in vars(strategies).items()
              if inspect.isfunction(member) and member.__module__ == strategies.__name__ and not name.startswith("_")
              and "SearchStrategy" in str(inspect.signature(member).return_annotation)}
    table = strategies.__doc__[strategies.__doc__.index("What the arguments mean"):]
    for name, function in public.items():
        for argument in inspect.signature(function).parameters:
            assert re.search(rf"\b{argument}\b", table + function.__doc__), f"{name}: {argument}"
