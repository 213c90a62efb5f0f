"""What is minimised in training, as it is printed: W_t |said − target|² at x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, and a share of the bound.

Sources: Ho, Jain, Abbeel 2020 (noise, weight 1); Salimans, Ho 2022 (SNR); Hang et al. 2023 (min(SNR, γ)); Choi et al. 2022 (P2);
Nichol, Dhariwal 2021 (hybrid).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refdpm.textbook.bound import AFTER, per_example
from refdpm.textbook.chain import Normal, Row, draw, from_levels, kl, marginal, posterior, row, small
from refdpm.textbook.expression import HALF, E, above, count, given, node, sqrt, square, total, where
from refdpm.textbook.layers import per_step
from refdpm.textbook.prediction import Heads, error_weight, heads_of, p2_weight, reverse, snr, snr_drop, velocity


def target(x_0: E, noise: E, row: Row, predicts: str) -> E:
    """What a network of that kind should say: x_0, ε, v, −ε/√(1−ᾱ_t), or the posterior's mean."""
    match predicts:
        case "noise":
            return noise
        case "v":
            return velocity(x_0, noise, row)
        case "score":
            return -(noise / sqrt(row.rest))
        case "mean":
            return posterior(draw(marginal(x_0, row), noise), x_0, row).mean
    return x_0


def loss_weight(row: Row, predicts: str, weight: str, gamma: E) -> E:
    """1, SNR, min(SNR, γ) or ½ (SNR_{t−1} − SNR_t) per error of x_0; of noise divided by SNR, of v by SNR + 1."""
    if weight == "none":
        return node(1)
    ratio = snr(row)
    per_x_0 = {"snr": lambda: ratio, "min_snr": lambda: where(above(ratio, gamma), gamma, ratio),
               "bound": lambda: HALF * snr_drop(row)}[weight]()
    if predicts == "x_0":
        return per_x_0
    return per_x_0 / (snr(row) + 1 if predicts == "v" else error_weight(row, predicts))


def training_loss(said: E, right: E, weight: E) -> E:
    """W_t Σ (said − target)² of each example."""
    return per_example(weight * square(said - right))


def mean_loss(said: E, right: E, weight: E) -> E:
    """The mean of W_t (said − target)² over the examples of a batch and their components."""
    error = square(said - right)
    return mean_of(error if weight.op == "number" else weight * error)


def hybrid(said: E, right: E, q: Normal, p: Normal, share: E) -> E:
    """(said − target)² + share · D_KL(q ‖ p) per component."""
    return square(said - right) + share * kl(q, p)


def mean_of(loss: E) -> E:
    """The mean over the examples of a batch and their components."""
    return total(loss, "examples and components", ALL) / count(loss, "examples and components", ALL)


ALL = (0, *AFTER[0])


# -- which pair of the package each formula judges -------------------------------------------------------------------------

def _target(x_0: E, step: Any, *, noise: Any, predicts: str) -> E:
    at_level = from_levels(log_alpha_bar=step.log_alpha_bar)
    if predicts != "mean":
        return target(x_0, node(noise), at_level, predicts)
    x_t = draw(marginal(x_0, at_level), node(noise))
    return posterior(x_t, x_0, from_levels(step.beta, step.log_alpha_bar_prev)).mean


def _training_loss(parameters: Any, beta: E, x_0: E, *, noise: Any, t: Any, model: Any, weight: str, gamma: Any) -> E:
    x_t = draw(marginal(x_0, row()), given("noise"))
    said = heads_of(per_step(x_t, parameters.weight, parameters.bias, t), x_t).mean
    return training_loss(said, target(x_0, given("noise"), row(), model.predicts),
                         loss_weight(row(), model.predicts, weight, node(gamma)))


def _hybrid_loss(parameters: Any, *, held: Any, beta: Any, x_0: Any, noise: Any, t: Any, model: Any, share: Any) -> E:
    x_0, noise, columns = given("x_0"), given("noise"), row()
    x_t = draw(marginal(x_0, columns), noise)
    heads = heads_of(per_step(x_t, parameters.weight, parameters.bias, t), x_t)
    still = heads_of(per_step(x_t, node(held.weight), node(held.bias), t), x_t)
    p = reverse(Heads(still.mean, heads.var), x_t, columns, small(columns), predicts=model.predicts, variance=model.variance)
    right = target(x_0, noise, columns, model.predicts)
    return per_example(hybrid(heads.mean, right, posterior(x_t, x_0, columns), p, node(share)))


PAIRS: dict[str, Callable[..., Any]] = {
    "later.weights.p2_weight": lambda level, *, k, gamma: p2_weight(from_levels(log_alpha_bar=level), node(k), node(gamma)),
    "later.loss.hybrid_loss": _hybrid_loss,
    "later.weights.loss_weight": lambda beta, level, *, predicts, weight, gamma: loss_weight(
        from_levels(beta, level), predicts, weight, node(gamma)),
    "later.loss.velocity": lambda x_0, level, *, noise: velocity(x_0, node(noise), from_levels(log_alpha_bar=level)),
    "later.loss.score": lambda level, *, noise: target(node(0), node(noise), from_levels(log_alpha_bar=level), "score"),
    "later.loss.target": _target,
    "later.loss.training_loss": _training_loss,
}
