"""Straight paths from data to noise, as they are printed.   Sources: Liu, Gong, Liu 2023; Lipman and others 2023; Esser and others
2024 (shift, law of t)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refdpm.textbook.expression import HALF, E, forms, log1p, named, network, node, sqrt, square, term
from refdpm.textbook.layers import sigmoid


def between(x_0: E, noise: E, time: E) -> E:
    """(1 − t) x_0 + t ε."""
    return (1 - time) * x_0 + time * noise


def velocity(x_0: E, noise: E) -> E:
    """ε − x_0."""
    return noise - x_0


def x_0_from(said: E, x_t: E, time: E) -> E:
    """x_t − t v."""
    return x_t - time * said


@named
def noise_from(velocity: E, x_t: E, time: E) -> E:
    """x_t + (1 − t) v."""
    return x_t + (1 - time) * velocity


def velocity_from(x_0: E, x_t: E, time: E) -> E:
    """(x_t − x_0)/t."""
    return (x_t - x_0) / time


def score_from(said: E, x_t: E, time: E) -> E:
    """−(x_t + (1 − t) v)/t."""
    return forms(-(noise_from(said, x_t, time) / time), ((1 - time) * (x_t - time * said) - x_t) / square(time))


def alpha_bar(time: E) -> E:
    """(1−t)²/((1−t)² + t²)."""
    keep = square(1 - time)
    return keep / (keep + square(time))


def level(time: E) -> E:
    """The logarithm of that, which is one term of t."""
    return term(lambda time: -log1p(square(time / (1 - time))), time)


def bound_weight(time: E) -> E:
    """½ · 2 (1 − t)/t³ · t²: how fast the ratio of signal to noise falls, and what an error of v is one of x_0."""
    return forms((1 - time) / time, HALF * (2 * (1 - time) / (time * square(time))) * square(time))


def shifted(time: E, shift: E) -> E:
    """s t/(1 + (s − 1) t)."""
    return forms(shift * time / (1 + (shift - 1) * time), shift * time / ((1 - time) + shift * time))


def logit_normal(mean: E, spread: E, noise: E) -> E:
    """1/(1 + exp(−m − s z))."""
    return sigmoid(mean + spread * noise)


def step(x_t: E, said: E, time: E, after: E) -> E:
    """x_t + (t' − t) v."""
    return x_t + (after - time) * said


def noisy_step(x_t: E, said: E, time: E, after: E, diffusion: E, noise: E) -> E:
    """x_t + (t' − t) (v − ½ w s) + √(w (t − t')) ε."""
    slope = said - HALF * diffusion * score_from(said, x_t, time)
    return step(x_t, slope, time, after) + sqrt(diffusion * (time - after)) * noise


@network
def of_normal_data(x_t: E, time: E, centre: E, spread: E) -> E:
    """v of normal data: (t − s² (1 − t)) (x_t − (1 − t) m)/((1 − t)² s² + t²) − m."""
    keep = 1 - time
    return (time - spread * keep) * (x_t - keep * centre) / (square(keep) * spread + square(time)) - centre


PAIRS: dict[str, Callable[..., Any]] = {
    "later.path.bound_weight": bound_weight,
    "later.path.between": between,
    "later.path.velocity": velocity,
    "later.path.x_0_from_velocity": x_0_from,
    "later.path.noise_from_velocity": noise_from,
    "later.path.velocity_from_x_0": velocity_from,
    "later.path.level": level,
    "later.path.shifted": lambda time, *, shift: shifted(time, node(shift)),
    "later.path.logit_normal": lambda mean, spread, *, noise: logit_normal(mean, spread, node(noise)),
    "later.path.step": step,
    "later.path.score_from_velocity": score_from,
    "later.path.noisy_step": lambda x_t, velocity, *, time, time_next, diffusion, noise: noisy_step(
        x_t, velocity, *map(node, (time, time_next, diffusion, noise))),
}
