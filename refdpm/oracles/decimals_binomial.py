"""The binomial kernel once more, in decimals of 70 digits, with scales by the rules of `decimals`.

A logit is a difference of logarithms of probabilities and counts each of them.  A divergence is

    D = Σ q (δ − log(1 + δ)) over the two values of the bit,   δ = (p − q)/q,

because Σ q δ = 0: two terms, neither negative, which count as they are, as for two normal laws.  It depends on the rounded
difference d of the logits, whose |d ∂D/∂d| = |d (p − q)| = D(q ‖ p) + D(p ‖ q) is on top; near equality that makes 3 D, and all
digits of D are wanted.  What is computed *from* a logit of scale σ has σ·|∂value/∂logit| on top.

Bits are 0 or 1; `rate` is that of the ones under the stationary law.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from refdpm.oracles.decimals import Exact, chain, exactly, joined, log1p, summed


class Law(NamedTuple):
    """A bit's law, by its logit."""

    logit: Exact


class Posterior(NamedTuple):
    """q(x_{t−1} | x_t, x_0) by its logit, and its probability of x_{t−1} ≠ x_t."""

    logit: Exact
    flip: Exact


def _logit(one: Decimal, zero: Decimal) -> Exact:
    return summed(one.ln(), -zero.ln())


def _odds_to_prob(logit: Decimal) -> Decimal:
    return 1 / (1 + (-logit).exp())


@exactly
def prior(rate: Decimal) -> Law:
    """log r − log(1−r)."""
    return Law(_logit(rate, 1 - rate))


@exactly
def forward(x_prev: Decimal, beta: Decimal, rate: Decimal) -> Law:
    """P(1) = x (1−β) + rβ."""
    return Law(_logit(x_prev * (1 - beta) + rate * beta, (1 - x_prev) * (1 - beta) + (1 - rate) * beta))


@exactly
def marginal(x_0: Decimal, log_alpha_bar: Decimal, rate: Decimal) -> Law:
    """P(1) = ᾱ x_0 + (1−ᾱ) r."""
    return forward(x_0, 1 - log_alpha_bar.exp(), rate)


@exactly
def posterior(x_t: Decimal, x_0: Decimal, beta: Decimal, log_alpha_bar_prev: Decimal, rate: Decimal) -> Law:
    """Bayes' rule in odds: four logarithms, two of q(x_{t−1} | x_0) and two of q(x_t | x_{t−1})."""
    return Law(_posterior(x_t, x_0, beta, 1 - log_alpha_bar_prev.exp(), rate))


def _posterior(x_t: Decimal, x_0: Decimal, beta: Decimal, drawn: Decimal, rate: Decimal) -> Exact:
    """The logit; `drawn` = 1 − ᾱ_{t−1}."""
    share = rate if x_t else 1 - rate
    stays, flips = 1 - beta * (1 - share), share * beta
    evidence = _logit(stays, flips) if x_t else _logit(flips, stays)
    return joined([forward(x_0, drawn, rate).logit, evidence])


@exactly
def kl(q_logit: Decimal, p_logit: Decimal) -> Exact:
    """Σ q (δ − log(1 + δ)), δ = (p − q)/q: two terms, neither negative, and |d (p − q)| for the difference d of the logits."""
    pairs = [(_odds_to_prob(sign * q_logit), _odds_to_prob(sign * p_logit)) for sign in (1, -1)]
    value, terms = summed(*(q * ((p - q) / q - log1p((p - q) / q)) for q, p in pairs))
    return Exact(value, terms + abs((p_logit - q_logit) * (pairs[0][1] - pairs[0][0])))


@exactly
def entropy(logit: Decimal) -> Exact:
    """−Σ q log q: two terms, neither negative."""
    return cross_entropy(logit, logit)


@exactly
def cross_entropy(q_logit: Decimal, p_logit: Decimal) -> Exact:
    """−Σ q log p: two terms, neither negative."""
    return summed(*(_odds_to_prob(sign * q_logit) * log1p((-sign * p_logit).exp()) for sign in (1, -1)))


@exactly
def log_prob(x: Decimal, logit: Decimal) -> Exact:
    """log p(x), one logarithm."""
    return summed(-log1p((-logit if x else logit).exp()))


@exactly
def chain_posterior(beta: list[Decimal], times: list[Decimal], x_t: Decimal, x_0: Decimal, rate: Decimal
                    ) -> dict[int, Posterior]:
    """From the rates to q(x_{t−1} | x_t, x_0) at `times` ≥ 2; a rounded ℓ moves logit m by ᾱ(x_0 − r)/(m(1−m)) dℓ."""
    found = {}
    for t, level in chain(beta, [t - 1 for t in times]).items():
        kept, drawn = level.alpha_bar.value, level.one_minus_alpha_bar.value
        m = kept * x_0 + drawn * rate
        logit = _posterior(x_t, x_0, beta[t + 1], drawn, rate)
        logit = Exact(logit.value, logit.scale + abs(level.log_alpha_bar.value * kept * (x_0 - rate) / m / (1 - m)))
        flip = _odds_to_prob(-logit.value if x_t else logit.value)
        found[t + 1] = Posterior(logit, Exact(flip, flip * (1 + (1 - flip) * logit.scale)))
    return found


@exactly
def correction(beta: list[Decimal], x_0: list[Decimal], rate: Decimal) -> Exact:
    """C = Σ [H(π) + E log π(x_T)] + [log π(x_0) − E log π(x_1)] = (ᾱ_T + β_1)(x_0 − r) log(r/(1−r)) a bit; four terms each.

    All are sums over the two values of the bit; a rounded logit moves −Σ m log π by m(1−m)|logit π|.
    """
    T, parts = len(beta) - 1, []
    steps, of_prior = chain(beta, [1, T]), prior(rate).logit
    for x in x_0:
        for sign, step in ((-1, steps[T]), (1, steps[1])):
            drawn, moved = step.one_minus_alpha_bar, step.alpha_bar.scale
            m = forward(x, drawn.value, rate).logit
            cross, p = cross_entropy(m.value, of_prior.value), _odds_to_prob(m.value)
            slope = p * (1 - p) * abs(of_prior.value) * m.scale + abs(p - rate) * of_prior.scale + moved * abs(of_prior.value)
            parts.append(Exact(sign * cross.value, cross.scale + slope))
        parts += [entropy(of_prior.value), _log_prob(x, of_prior)]
    return joined(parts)


@exactly
def log_weights(beta: list[Decimal], x_0: list[Decimal], noise: list[list[Decimal]], rate: Decimal) -> Exact:
    """log π(x_T) + Σ log p(x_{t−1} | x_t) − log q(x_t | x_{t−1}) along one path of bits, the model being the forward kernel.

    Shapes: noise T rows, one number per bit, x_t = 1 where it is below P(1).
    """
    parts = []
    for i, before in enumerate(x_0):
        for rate_t, row in zip(beta[1:], noise):
            q = forward(before, rate_t, rate).logit
            after = Decimal(int(row[i] < _odds_to_prob(q.value)))
            parts += [-_log_prob(after, q), _log_prob(before, forward(after, rate_t, rate).logit)]
            before = after
        parts.append(_log_prob(before, prior(rate).logit))
    return joined(parts)


def _log_prob(x: Decimal, logit: Exact) -> Exact:
    """log p(x) from a rounded logit."""
    value = log_prob(x, logit.value).value
    return Exact(value, abs(value) + (1 - value.exp()) * logit.scale)
