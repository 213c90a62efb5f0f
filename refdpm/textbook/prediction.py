"""What a network says about the reverse step, as it is printed: predictions, each from each, weights, variances, the step itself.

Given x_t a network may name x_0 or the noise, v, the score, or the mean of the step; all are affine in one another.  Sources: Ho,
Jain, Abbeel 2020 (noise); Song, Ermon 2019 (score); Kingma, Salimans, Poole, Ho 2021 (signal-to-noise ratios); Salimans, Ho 2022
(v); Nichol, Dhariwal 2021 (a range of variances).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from refdpm.textbook.chain import Normal, Row, forward, from_levels, of_step, posterior, row, small, weights
from refdpm.textbook.expression import (HALF, E, also, exp, forms, guess, log, move, named, network, node, slack, sqrt, square,
                                        term, where)
from refdpm.textbook.layers import linear, logit, per_step, sigmoid

FLOOR = 1e-20                                       # what some put in the place of β̃_1 = 0


# -- from a prediction, and to one ---------------------------------------------------------------------------------------

@guess
def x_0_from(said: E, x_t: E, row: Row, predicts: str) -> E:
    """x_0 from a prediction of that name."""
    match predicts:
        case "noise":
            at_once = sqrt(1 / row.alpha_bar) * x_t - sqrt(1 / row.alpha_bar - 1) * said
            return also((x_t - sqrt(row.rest) * said) / sqrt(row.alpha_bar), at_once)
        case "v":
            return sqrt(row.alpha_bar) * x_t - sqrt(row.rest) * said
        case "score":
            return (x_t + row.rest * said) / sqrt(row.alpha_bar)
        case "mean":
            c_0, c_t = weights(row)
            return (said - c_t * x_t) / c_0
    return said


@named
def from_x_0(x_0: E, x_t: E, row: Row, predicts: str) -> E:
    """The prediction of that name at a given x_0."""
    match predicts:
        case "noise":
            return (x_t - sqrt(row.alpha_bar) * x_0) / sqrt(row.rest)
        case "v":
            return (sqrt(row.alpha_bar) * x_t - x_0) / sqrt(row.rest)
        case "score":
            return (sqrt(row.alpha_bar) * x_0 - x_t) / row.rest
        case "mean":
            return posterior(x_t, x_0, row).mean
    return x_0


@named
def velocity(x_0: E, noise: E, row: Row) -> E:
    """v = √ᾱ_t ε − √(1−ᾱ_t) x_0."""
    return sqrt(row.alpha_bar) * noise - sqrt(row.rest) * x_0


@named
def mean_from(said: E, x_t: E, row: Row, predicts: str) -> E:
    """The mean of the reverse step: from noise, v and score at once, or by way of x_0."""
    if predicts == "mean":
        return said
    by_x_0 = posterior(x_t, x_0_from(said, x_t, row, predicts), row).mean
    return by_x_0 if predicts == "x_0" else forms(_mean_at_once(said, x_t, row, predicts), by_x_0)


def _mean_at_once(said: E, x_t: E, row: Row, predicts: str) -> E:
    match predicts:
        case "noise":
            return (x_t - row.beta / sqrt(row.rest) * said) / sqrt(row.alpha)
        case "v":
            return sqrt(row.alpha) * x_t - sqrt(row.alpha_bar_prev / row.rest) * row.beta * said
    return (x_t + row.beta * said) / sqrt(row.alpha)


# -- what an error costs -------------------------------------------------------------------------------------------------

def snr(row: Row) -> E:
    """ᾱ_t/(1−ᾱ_t)."""
    return row.alpha_bar / row.rest


def log_snr(row: Row) -> E:
    """log ᾱ_t − log(1−ᾱ_t)."""
    return forms(log(row.alpha_bar) - log(row.rest), log(snr(row)))


def snr_drop(row: Row) -> E:
    """SNR_{t−1} − SNR_t."""
    return term(lambda: row.alpha_bar_prev / row.rest_prev - snr(row))


def error_weight(row: Row, predicts: str) -> E:
    """The square of what an error 1 of x_0 is in the prediction of that name."""
    match predicts:
        case "noise":
            return snr(row)
        case "v":
            return 1 / row.rest
        case "score":
            return row.alpha_bar / square(row.rest)
        case "mean":
            return square(weights(row)[0])
    return node(1)


def kl_weight(row: Row, predicts: str) -> E:
    """w with D_KL(q(x_{t−1} | x_t, x_0) ‖ p) = ½ w Δ² for an error Δ of the prediction of that name."""
    drop = snr_drop(row)
    return drop if predicts == "x_0" else drop / error_weight(row, predicts)


def p2_weight(row: Row, k: E, gamma: E) -> E:
    """(k + SNR_t)^−γ."""
    return exp(-(gamma * log(k + snr(row))))


def kl_of_x_0(x_0: E, guess: E, row: Row) -> E:
    """½ (SNR_{t−1} − SNR_t) (x_0 − x̂_0)²."""
    return HALF * snr_drop(row) * square(x_0 - guess)


def kl_of_v(v: E, guess: E, row: Row) -> E:
    """½ ᾱ_{t−1} β_t/(1−ᾱ_{t−1}) (v − v̂)²."""
    return HALF * row.alpha_bar_prev * row.beta / row.rest_prev * square(v - guess)


# -- variances -----------------------------------------------------------------------------------------------------------

def first_variance(policy: str) -> E:
    """What stands at t = 1 for β̃_1 = 0: β̃_2, β_1, or a floor, instead of which some have nothing."""
    match policy:
        case "next":
            return small(row(at=2))
        case "floor":
            return node(FLOOR) + slack(node(FLOOR * 2.0 ** 50))
    return row(at=1).beta


def ranged(head: E, beta: E, least: E) -> E:
    """β^f β̃^(1−f) with f = (1 + head)/2, by logarithms."""
    share = HALF * (1 + head)
    return exp(share * log(beta) + (1 - share) * log(least))


# -- the reverse step ----------------------------------------------------------------------------------------------------

class Heads(NamedTuple):
    """What a network puts out for each component: a prediction, and where the variance is learned a head for it."""

    mean: E
    var: E


def heads_of(outputs: E, x_t: E) -> Heads:
    """The first outputs, as many as x_t has components, and the others."""
    return Heads(move(outputs, "the prediction in", lambda i, shape: i[..., :shape[-1]], x_t),
                 move(outputs, "the heads in", lambda i, shape: i[..., shape[-1]:], x_t))


@network
def affine(x_t: E, weight: E, bias: E) -> Heads:
    """x_t W_t + b_t, the network that an adapter is given."""
    return heads_of(linear(x_t, weight, bias), x_t)


def eq65(heads: Any, x_t: E, row: Row) -> Normal:
    """var = sigmoid(z_var + logit β), mean = (x − z) √(1−var) + z."""
    log_odds = heads.var + logit(row.beta)
    keep = sqrt(term(lambda u: 1 - sigmoid(u), log_odds))
    pull = term(lambda u: 1 - sqrt(1 - sigmoid(u)), log_odds)
    return Normal(forms((x_t - heads.mean) * keep + heads.mean, keep * x_t + pull * heads.mean), sigmoid(log_odds))


def reverse(heads: Any, x_t: E, row: Row, least: E, *, predicts: str, variance: str) -> Normal:
    """p(x_{t−1} | x_t); `least` is β̃_t, or what stands for it at t = 1."""
    if variance == "eq64":
        return eq65(heads, x_t, row)
    var = {"small": lambda: least, "large": lambda: row.beta, "ranged": lambda: ranged(heads.var, row.beta, least)}[variance]()
    return Normal(mean_from(heads.mean, x_t, row, predicts), var)


def last_step(heads: Any, x_1: E, row: Row, *, predicts: str, variance: str, first: str) -> Normal:
    """p(x_0 | x_1) under the policy `first`: about x̂_0, or for "fixed" the forward kernel."""
    if first == "fixed":
        return forward(x_1, row)
    return reverse(heads, x_1, row, first_variance(first), predicts=predicts, variance=variance)


def any_step(heads: Any, x_t: E, row: Row, last: E, *, predicts: str, variance: str, first: str) -> Normal:
    """The reverse step, and where it is the `last` one under the policy `first`, for which there is no β but what that names."""
    at_end = first_variance(first)
    p = reverse(heads, x_t, row, where(last, at_end, small(row)), predicts=predicts, variance=variance)
    p = p._replace(var=where(last, at_end, row.beta)) if variance == "large" else p
    return Normal(*(where(last, a, b) for a, b in zip(forward(x_t, row), p))) if first == "fixed" else p


# -- which pair of the package each formula judges -------------------------------------------------------------------------

def _from_a_level(f: Callable[..., E], predicts: str) -> Callable[..., E]:
    return lambda value, x_t, level: f(value, x_t, from_levels(log_alpha_bar=level), predicts)


def _from_a_rate(f: Callable[..., E], predicts: str) -> Callable[..., E]:
    return lambda value, x_t, beta, level=None: f(value, x_t, from_levels(beta, level), predicts)


def _by_name(f: Callable[..., E], *, at_level: tuple[str, ...] = ()) -> Callable[..., E]:
    """Of a step, ℓ_t where the prediction is one of those, and β_t and ℓ_{t−1} otherwise."""
    def formula(value: E, x_t: E, step: Any, *, predicts: str) -> E:
        levels = from_levels(log_alpha_bar=step.log_alpha_bar) if predicts in at_level else of_step(step)
        return f(value, x_t, levels, predicts)
    return formula


def _last_step(parameters: Any, beta: E, x_1: E, step: Any, *, t: Any, model: Any) -> Normal:
    heads = heads_of(per_step(x_1, parameters.weight, parameters.bias, t), x_1)
    return last_step(heads, x_1, of_step(step), predicts=model.predicts, variance=model.variance, first=model.first)


AT_A_LEVEL = ("noise", "v", "score")

PAIRS: dict[str, Callable[..., Any]] = {
    **{f"later.parametrisation.x_0_from_{name}": _from_a_level(x_0_from, name) for name in AT_A_LEVEL},
    **{f"later.parametrisation.{name}_from_x_0": _from_a_level(from_x_0, name) for name in AT_A_LEVEL},
    **{f"later.mean.mean_from_{name}": _from_a_rate(mean_from, name) for name in ("x_0", "noise", "v", "score")},
    "later.mean.x_0_from_mean": _from_a_rate(x_0_from, "mean"),
    "later.mean.x_0_from": _by_name(x_0_from, at_level=AT_A_LEVEL),
    "later.mean.from_x_0": _by_name(from_x_0, at_level=AT_A_LEVEL),
    "later.mean.mean_from": _by_name(mean_from),
    "later.weights.snr": lambda level: snr(from_levels(log_alpha_bar=level)),
    "later.weights.log_snr": lambda level: log_snr(from_levels(log_alpha_bar=level)),
    "later.weights.error_weight": lambda beta, level, *, predicts: error_weight(from_levels(beta, level), predicts),
    "later.weights.kl_weight": lambda beta, level, *, predicts: kl_weight(from_levels(beta, level), predicts),
    "later.weights.kl_of_x_0": lambda x_0, guess, beta, level: kl_of_x_0(x_0, guess, from_levels(beta, level)),
    "later.weights.kl_of_v": lambda v, guess, beta, level: kl_of_v(v, guess, from_levels(beta, level)),
    "later.variance.small": lambda beta, level: small(from_levels(beta, level)),
    "later.variance.first": lambda beta, *, policy: first_variance(policy),
    "later.variance.ranged": ranged,
    "later.variance.read_out": lambda heads, x_t, step, least, *, predicts, variance: reverse(
        heads, x_t, of_step(step), least, predicts=predicts, variance=variance),
    "later.model.last_step": _last_step,
}
