"""The chain for symbols as it is printed: K classes on the last axis, and a stationary law π, uniform unless it is given.

A symbol is a row of K numbers.  For what a fresh draw makes, a book prints 1/K, or π.  Soft symbols, which a function may be given,
need not add up to 1: then it is their mean over classes, or their sum times π, and K is None.

Source: Hoogeboom 2021; Austin 2021 (D3PM), eqs. 2 to 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refdpm.textbook.bits import relative
from refdpm.textbook.chain import Row, from_levels, of_step
from refdpm.textbook.expression import (PI, E, above, also, column, cos, counting, exp, forms, joined, kept, largest, log, mean,
                                        move, named, node, sin, slack, square, term, total, understood, where)
from refdpm.textbook.layers import log_softmax, matmul, softmax


@named
def kept_or_drawn(x: E, stays: E, drawn: E, K: E | None, law: E | None = None, column: bool = False) -> E:
    """A symbol that is x, or drawn anew: the row of x in the matrix; or its column, how likely x is after each class.

    Some have for what stays what is not drawn, some write the entry of x itself and the others apart; and who multiplies by the
    matrix has Σ x for 1, of which the slope vanishes but for rounding.
    """
    if law is None:
        anew = drawn * mean(x, "classes", (-1,)) if K is None else drawn / K
    else:
        stays = forms(stays, 1 - drawn)
        anew = drawn * (kept(law * x, "classes") if column else law * kept(x, "classes") if K is None else law)
    if K is None:
        return stays * x + anew
    usual = stays * x + (anew if column else anew + slack(anew * kept(x, "classes")))
    return also(usual, x * (stays + anew) + (1 - x) * anew)


def _seen(x: E, stays: E, drawn: E, K: E | None, law: E | None = None) -> E:
    """How likely the symbol x is after each class: the same where the kernel is symmetric."""
    return kept_or_drawn(x, stays, drawn, K, law, column=law is not None)


# -- the chain -----------------------------------------------------------------------------------------------------------

def forward(x_prev: E, row: Row, K: E | None = None, law: E | None = None) -> E:
    """q(x_t | x_{t−1}) = (1 − β_t) x_{t−1} + β_t π; of the identity the matrix Q_t."""
    return kept_or_drawn(x_prev, row.alpha, row.beta, K, law)


def marginal(x_0: E, row: Row, K: E | None = None, law: E | None = None) -> E:
    """q(x_t | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) π; of the identity the matrix Q̄_t = Q_1 … Q_t."""
    return kept_or_drawn(x_0, row.alpha_bar, row.rest, K, law)


def evidence(x_t: E, row: Row, K: E | None = None, law: E | None = None) -> E:
    """q(x_t | x_0 = k) = ᾱ_t x_t + (1 − ᾱ_t) ⟨π, x_t⟩ for each class k."""
    return _seen(x_t, row.alpha_bar, row.rest, K, law)


@named
def posterior(x_t: E, x_0: E, row: Row, K: E | None = None, law: E | None = None) -> E:
    """q(x_{t−1} | x_t, x_0) = q(x_t | x_{t−1}) q(x_{t−1} | x_0)/q(x_t | x_0).

    Where q(x_{t−1} | x_0) is 0 some have a tiny number for it, and take its logarithm.
    """
    before = kept_or_drawn(x_0, row.alpha_bar_prev, row.rest_prev, K, law) + slack(row.alpha_bar_prev * kept(x_0, "classes"))
    joint = _seen(x_t, row.alpha, row.beta, K, law) * before
    return also(joint / kept(x_t * marginal(x_0, row, K, law), "classes"), joint / kept(joint, "classes"), cut_off=True)


def with_mask(x_t: E, x_0: E, row: Row, mask: E) -> E:
    """The posterior where π is all of one class, the mask: x_0 with the chance (ᾱ_{t−1} − ᾱ_t)/(1 − ᾱ_t), else the mask; what is
    no mask stays.  Of a soft x_0 that adds up to 1 it is the average.

    The share that is shown is written in two ways, and of the second one the rest in two.
    """
    lost = term(lambda before, now: forms(before - now, before * row.beta, before * row.beta), row.alpha_bar_prev, row.alpha_bar)
    shown = lost / row.rest
    masked = shown * x_0 + forms(1 - shown, 1 - shown, row.rest_prev / row.rest) * mask
    return where(above(kept(x_t * mask, "classes"), 0), masked, x_t)


def without(x: E, mask: E) -> E:
    """0 for the mask."""
    return where(above(1, mask), x, 0)


FIRST = above(2, column("t"))                                        # the step to x_0


def reverse_with_mask(logits: E, x_t: E, row: Row, mask: E, mixing: str) -> E:
    """The average over x_0, and average_unmasked, in that way."""
    said = softmax(logits)
    if mixing == "average_unmasked":
        of_data = without(said, mask)
        said = of_data / kept(of_data, "classes")
    return with_mask(x_t, said, row, mask)


def reverse(logits: E, x_t: E, row: Row, seen: E, mixing: str, K: E | None = None, law: E | None = None, first: E | None = None
            ) -> E:
    """p(x_{t−1} | x_t) from p̂ = softmax(logits), with `seen` = q(x_t | ·) for each class of x_0.

        joint               ∝ Σ_k p̂_k q(x_{t−1}, x_t | k): the posterior at p̂
        joint_but_first     p̂ itself at t = 1
        average             Σ_k p̂_k q(x_{t−1} | x_t, k) = q(x_t | x_{t−1}) Σ_k q(x_{t−1} | k) p̂_k/q(x_t | k): at p̂/q(x_t | ·),
                            over those k from which x_t can come
        average_unmasked    of those k that π does not have for sure

    `first` says where t = 1; without it, that is where nothing of x_0 is lost before.
    """
    said, power = softmax(logits), exp(logits)
    said = also(said, power / kept(power, "classes"))
    if mixing.startswith("average"):
        x_0 = said / seen if law is None else where(above(seen, 0), said / seen, 0)
        return posterior(x_t, x_0 if law is None or mixing == "average" else without(x_0, law), row, law=law)
    joint = posterior(x_t, said, row, K, law)
    if mixing == "joint":
        return joint
    return where(above(row.rest_prev, 0), joint, said) if first is None else where(first, said, joint)


@named
def kl(q: E, p: E) -> E:
    """D_KL(q ‖ p) = Σ_k q_k log(q_k/p_k), 0 log 0 = 0."""
    return total(relative(q, p), "classes")


def kl_of_any(q: E, p: E) -> E:
    """Σ_k [q_k log(q_k/p_k) − q_k + p_k], the same for what adds to 1: no class's share is negative, and each is one term."""
    return total(term(lambda q, p: relative(q, p) - q + p, q, p), "classes")


def step_kl(q: E, p: E, x_0: E) -> E:
    """D_KL(q(x_{t−1} | x_t, x_0) ‖ p), which is −log p at x_0 where t = 1."""
    score = understood(above(x_0, 0), -(x_0 * log(p)))
    return total(also(relative(q, p), where(FIRST, score, relative(q, p))), "classes")


# -- any matrices, draws, the limit of many steps --------------------------------------------------------------------------

def accumulated(matrices: E, steps: int) -> E:
    """Q_1, Q_1 Q_2, …, so many of them."""
    one = [move(matrices, f"step {s + 1} of", lambda i, s=s: i[s:s + 1]) for s in range(steps)]
    products = one[:1]
    for matrix in one[1:]:
        products.append(matmul(products[-1], matrix))
    return joined(*products)


@named
def posterior_by_matrices(x_t: E, x_0: E, step: E, before: E) -> E:
    """(Q_t x_t) (x_0 Q̄_{t−1}), divided by its sum."""
    ends = matmul(x_t, move(step, "turned", lambda i: i.swapaxes(-1, -2)))
    joint = ends * (matmul(x_0, before) + slack(node(1)))
    return joint / kept(joint, "classes")


def draw(law: E, noise: E, K: E) -> E:
    """The class with the largest log p_k − log(−log u_k)."""
    score = log(law) - log(-log(noise))
    return total(where(above(largest(score), score), 0, counting(K) - 1), "classes")


def unmasked(logits: E, x_t: E, masked: E, sigma: E, after: E) -> E:
    """((1 − α_t) − (1 − α_s))/(1 − α_t) of softmax(logits) and (1 − α_s)/(1 − α_t) of the mask, for masked tokens, α = e^−σ."""
    rest, rest_next = (term(lambda sigma: 1 - exp(-sigma), of) for of in (sigma, after))
    share = also((rest - rest_next) / rest, (exp(-after) - exp(-sigma)) / rest)
    shown, stays = where(masked, share, 0), where(masked, also(rest_next / rest, 1 - share), 1)
    said = move(softmax(logits), "with the mask", lambda i: np.concatenate([i, 0 * i[..., :1]], axis=-1))
    return _for_classes(shown) * said + _for_classes(stays) * x_t


def _for_classes(x: E) -> E:
    return move(x, "", lambda i: i[..., None])


def masked_loss(logits: E, x_0: E, masked: E, sigma: E, rate: E) -> E:
    """σ′/(e^σ − 1) Σ_masked −log p(x_0)."""
    log_p = total(x_0 * log_softmax(logits), "classes")
    return total(-(rate / (exp(sigma) - 1) * where(masked, log_p, 0)), "tokens")


def kept_tokens(time: E, floor: E, masking: str, floor_at: str) -> tuple[E, E]:
    """α = ε + (1 − ε − δ) a and −α′/(1 − α), δ = 0 or ε, with a = 1 − t, cos(πt/2), 1 − cos(π(1 − t)/2) or cos²(πt/2).

    The weight is also σ′/(e^σ − 1), with σ = −log α.
    """
    angle = PI * (1 - time if masking == "cosine_masks" else time) / 2
    if masking == "linear":
        share, masks, falls = 1 - time, time, node(1)
    elif masking == "cosine":
        share, masks, falls = cos(angle), forms(1 - cos(angle), 2 * square(sin(angle / 2))), PI / 2 * sin(angle)
    elif masking == "cosine_masks":
        share, masks, falls = 1 - cos(angle), cos(angle), PI / 2 * sin(angle)
    else:
        share, masks, falls = square(cos(angle)), forms(1 - square(cos(angle)), square(sin(angle))), PI * sin(angle) * cos(angle)
    if floor_at == "both_ends":
        span, masks_too = 1 - 2 * floor, floor + (1 - 2 * floor) * masks
        weight = span * falls / masks_too
    else:
        span, masks_too = 1 - floor, (1 - floor) * masks
        weight = falls / masks
    alpha = forms(floor + span * share, 1 - masks_too) if masking == "linear" else floor + span * share
    by_sigma = span * falls / alpha / (exp(-log(alpha)) - 1)
    return alpha, also(forms(weight, by_sigma), span * falls / (1 - alpha))


def rising(time: E, low: E, high: E, rise: str) -> tuple[E, E]:
    """σ from σ_min to σ_max, linear or geometric in t, and dσ/dt."""
    if rise == "linear":
        return low + time * (high - low), high - low
    sigma = exp((1 - time) * log(low) + time * log(high))
    return sigma, sigma * log(high / low)


def absorbing_ratio(sigma: E, x_0: E, masked: E) -> E:
    """1/(e^σ − 1) at x_0 where it is masked."""
    inverse = where(masked, 1 / term(lambda sigma: exp(sigma) - 1, sigma), 0)
    return _for_classes(inverse) * x_0


# -- which pair of the package each formula judges -------------------------------------------------------------------------

def _matrices(x: E) -> E:
    return move(x, "as a matrix", lambda i: i[:, None, None])


class Step(NamedTuple):
    """The columns of a step as nodes."""

    beta: E
    log_alpha_bar_prev: E
    log_alpha_bar: E


def _law(law: Any) -> E | None:
    return None if law is None else node(law)


def _reverse(logits: E, x_t: E, step: Any, *, mixing: str, law: Any = None) -> E:
    seen = evidence(x_t, from_levels(log_alpha_bar=step.log_alpha_bar), law=_law(law))
    return reverse(logits, x_t, of_step(step), seen, mixing, law=_law(law))


PAIRS: dict[str, Callable[..., Any]] = {
    "later.categorical.transition": lambda beta, *, classes, law=None: forward(
        node(np.eye(classes)), from_levels(_matrices(beta)), node(classes), _law(law)),
    "later.categorical.cumulative": lambda level, *, classes, law=None: marginal(
        node(np.eye(classes)), from_levels(log_alpha_bar=_matrices(level)), node(classes), _law(law)),
    "later.categorical.marginal": lambda x_0, level, *, law=None: marginal(
        x_0, from_levels(log_alpha_bar=level), law=_law(law)),
    "later.categorical.evidence": lambda x_t, level, *, law=None: evidence(
        x_t, from_levels(log_alpha_bar=level), law=_law(law)),
    "later.categorical.posterior": lambda x_t, x_0, beta, level, *, law=None: posterior(
        x_t, x_0, from_levels(beta, level), law=_law(law)),
    "later.categorical.reverse": _reverse,
    "later.categorical.posterior_by_matrices": posterior_by_matrices,
    "later.categorical.step_kl": lambda logits, *, x_0, x_t, step, mixing, law=None: kl_of_any(
        posterior(node(x_t), node(x_0), of_step(Step(*map(node, step))), law=_law(law)),
        _reverse(logits, node(x_t), Step(*map(node, step)), mixing=mixing, law=law)),
    "later.categorical.draw": lambda law, *, noise: draw(law.prob, node(noise), node(noise.shape[-1])),
    "later.masked.kept": lambda time, *, masking, floor=0.0, floor_at="end": kept_tokens(time, node(floor), masking, floor_at),
    "later.masked.rising": lambda time, *, rise, low, high: rising(time, node(low), node(high), rise),
    "later.masked.reverse": lambda logits, sigma, after, *, x_t: unmasked(logits, node(x_t), node(x_t[..., -1] > 0), sigma, after),
    "later.masked.masked_loss": lambda logits, *, x_0, masked, sigma, rate: masked_loss(
        logits, node(x_0), node(masked), node(sigma), node(rate)),
    "later.masked.absorbing_ratio": lambda sigma, *, x_0, masked: absorbing_ratio(sigma, node(x_0), node(masked)),
    "later.categorical.kl": lambda q, p: kl_of_any(q.prob, p.prob),
}
