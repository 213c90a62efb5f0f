"""The read-outs of bits and the heartbeat's network in decimals of 70 digits, with scales by the rules of `decimals`.

`denoising` is a sum over both values of x_0 here, with Bayes' rule for each of them.  Its terms are the six logarithms of the
closed form that float64 can have: two of the forward kernel, two of π, and two of q(x_{t−1} | x̂); on top is what a rounded log
odds of x̂ moves.
"""

from __future__ import annotations

from decimal import Decimal

from refdpm.oracles.decimals import Exact, exactly, joined, summed
from refdpm.oracles.decimals_binomial import Law, forward, prior


@exactly
def paper(z: Decimal) -> Law:
    """The head itself."""
    return Law(summed(z))


@exactly
def skip(z: Decimal, x_t: Decimal, beta: Decimal, rate: Decimal) -> Law:
    """The forward kernel's logit plus z."""
    return Law(joined([forward(x_t, beta, rate).logit, summed(z)]))


@exactly
def denoising(z: Decimal, x_t: Decimal, beta: Decimal, log_alpha_bar_prev: Decimal, rate: Decimal) -> Law:
    """Σ_k P(x_0 = k | x_t) q(x_{t−1} | x_t, x_0 = k), with P(k | x_t) ∝ q(x_t | x_0 = k) π(k) e^{kz}."""
    before = log_alpha_bar_prev.exp()
    one = zero = Decimal(0)
    for k, weight in ((0, 1 - rate), (1, rate * z.exp())):
        of_one = before * k + (1 - before) * rate                                     # q(x_{t−1} = 1 | x_0 = k)
        one += weight * of_one * _step(x_t, Decimal(1), beta, rate)
        zero += weight * (1 - of_one) * _step(x_t, Decimal(0), beta, rate)
    return Law(Exact(one.ln() - zero.ln(), _scale(z, x_t, beta, before, rate)))


def _step(x_t: Decimal, x_prev: Decimal, beta: Decimal, rate: Decimal) -> Decimal:
    """q(x_t | x_{t−1}) of one bit."""
    drawn = beta * (rate if x_t else 1 - rate)
    return drawn + (1 - beta if x_t == x_prev else 0)


def _scale(z: Decimal, x_t: Decimal, beta: Decimal, before: Decimal, rate: Decimal) -> Decimal:
    _, m = _shares(z, before, rate)
    moved = _slope(z, before, rate) * (abs(z) + prior(rate).logit.scale)
    return forward(x_t, beta, rate).logit.scale + prior(rate).logit.scale + abs(m.ln()) + abs((1 - m).ln()) + moved


# -- the network -------------------------------------------------------------------------------------------------------

@exactly
def heartbeat(hidden: list[list[list[Decimal]]], bias: list[list[Decimal]], last: list[list[Decimal]], last_bias: list[Decimal],
              x_t: list[Decimal], beta: Decimal, log_alpha_bar_prev: Decimal, rate: Decimal) -> list[Law]:
    """The network of one step with the read-out `denoising`: each layer tanh(x W + b), the last one without tanh.

    What is rounded before a layer moves what it adds up, and a sum moves its tanh by (1 − tanh²).
    """
    deviation = (rate * (1 - rate)).sqrt()
    units = [Exact((x - rate) / deviation, (x + rate) / deviation) for x in x_t]
    for weight, b in zip(hidden, bias):
        units = [_tanh(total) for total in _affine(units, weight, b)]
    laws = []
    for x, z in zip(x_t, _affine(units, last, last_bias)):
        logit, change = denoising(z.value, x, beta, log_alpha_bar_prev, rate).logit, _slope(z.value, log_alpha_bar_prev.exp(), rate)
        laws.append(Law(Exact(logit.value, logit.scale + change * z.scale)))
    return laws


def _affine(x: list[Exact], weight: list[list[Decimal]], bias: list[Decimal]) -> list[Exact]:
    return [joined([*(Exact(unit.value * row[j], unit.scale * abs(row[j])) for unit, row in zip(x, weight)), summed(b)])
            for j, b in enumerate(bias)]


def _tanh(a: Exact) -> Exact:
    double = (2 * a.value).exp()
    value = (double - 1) / (double + 1)
    return Exact(value, abs(value) + (1 - value * value) * a.scale)


def _slope(z: Decimal, before: Decimal, rate: Decimal) -> Decimal:
    """∂logit/∂z."""
    share, m = _shares(z, before, rate)
    return before * share * (1 - share) / (m * (1 - m))


def _shares(z: Decimal, before: Decimal, rate: Decimal) -> tuple[Decimal, Decimal]:
    """x̂, and q(x_{t−1} = 1 | x̂)."""
    share = rate * z.exp() / (rate * z.exp() + 1 - rate)
    return share, before * share + (1 - before) * rate
