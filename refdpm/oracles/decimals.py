"""Every formula once more, in decimals of 70 digits: what float64 should have given, and how well it could have.

A float is an exact number, so a formula has an exact value at it.  With the value comes its *scale*, the sum of the absolute
values of the terms that the formula adds: rounding each term once costs 2⁻⁵³·scale at most, and an implementation that adds
the same terms with care stays within a few of those.  What is a term is a matter of mathematics, not of code:

    one product, quotient, exponential or logarithm is one term, so its scale is its own size: all its digits are wanted;
    1 − ᾱ, 1 + eˣ, δ − log(1 + δ) count as one term: they have a form that does not cancel;
    what is added with either sign (two parts of a mean, logarithms, entropies) counts each part by itself;
    what comes from a rounded intermediate y, like exp ℓ from a summed ℓ, has |y ∂value/∂y| on top.

Numbers are floats, taken exactly, or Decimals; sequences are lists.  Levels are ℓ = log ᾱ.  Only the standard library is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Context, Decimal, localcontext
from functools import wraps
from typing import Any, NamedTuple, TypeVar

DIGITS = 70
PI = Decimal("3.1415926535897932384626433832795028841971693993751058209749445923078164062862089986280348253421170679")

_Result = TypeVar("_Result")


class Exact(NamedTuple):
    """A value and its scale Σ|terms|."""

    value: Decimal
    scale: Decimal

    def __neg__(self) -> "Exact":
        return Exact(-self.value, self.scale)


class Law(NamedTuple):
    """Mean and variance of a normal component."""

    mean: Exact
    var: Exact


class Shares(NamedTuple):
    """a = ᾱ_{t−1}, v = 1 − ᾱ_{t−1}, w = 1 − ᾱ_t."""

    a: Exact
    v: Exact
    w: Exact


class Step(NamedTuple):
    """What the chain has at step t, from the rates alone; the scales allow for one rounding of ℓ."""

    log_alpha_bar: Exact
    alpha_bar: Exact
    root_alpha_bar: Exact
    one_minus_alpha_bar: Exact
    from_x_0: Exact
    from_x_t: Exact
    posterior_var: Exact


def exactly(f: Callable[..., _Result]) -> Callable[..., _Result]:
    """`f` in 70 digits, its arguments turned into Decimals digit for digit."""

    @wraps(f)
    def in_decimals(*arguments: Any, **named: Any) -> _Result:
        with localcontext(Context(prec=DIGITS)):
            return f(*map(_decimal, arguments), **{name: _decimal(value) for name, value in named.items()})

    return in_decimals


def _decimal(x: Any) -> Any:
    return [_decimal(part) for part in x] if isinstance(x, Iterable) else Decimal(x)


def summed(*terms: Decimal) -> Exact:
    """The sum of terms, each of them rounded once."""
    return Exact(sum(terms, Decimal(0)), sum(map(abs, terms), Decimal(0)))


def joined(parts: Iterable[Exact]) -> Exact:
    """The sum of values that have scales of their own."""
    values, scales = zip(*parts)
    return Exact(sum(values, Decimal(0)), sum(scales, Decimal(0)))


def log1p(x: Decimal) -> Decimal:
    """log(1 + x); three terms of the series are 60 digits where 1 + x would not keep them."""
    return x - x * x / 2 + x * x * x / 3 if abs(x) < Decimal("1e-20") else (1 + x).ln()


def _cos(x: Decimal) -> Decimal:
    """Σ_k (−1)ᵏ x²ᵏ/(2k)!."""
    total, term, k = Decimal(0), Decimal(1), 0
    while abs(term) > Decimal(10) ** -(DIGITS + 5):
        total, k = total + term, k + 2
        term *= -x * x / (k * (k - 1))
    return total


# -- element-wise functions --------------------------------------------------------------------------------------------

@exactly
def softplus(x: Decimal) -> Exact:
    """log(1 + eˣ)."""
    return summed(log1p(x.exp()))


@exactly
def sigmoid(x: Decimal) -> Exact:
    """1/(1 + e^−x)."""
    return summed(1 / (1 + (-x).exp()))


@exactly
def logit(y: Decimal) -> Exact:
    """log y − log(1 − y): two logarithms, which cancel at y = ½."""
    return summed(y.ln(), -log1p(-y))


@exactly
def tanh(x: Decimal) -> Exact:
    """1 − 2/(e²ˣ + 1)."""
    return summed(1 - 2 / ((2 * x).exp() + 1))


@exactly
def leaky_relu(x: Decimal, slope: Decimal) -> Exact:
    """max(x, slope·x)."""
    return summed(max(x, slope * x))


@exactly
def x_minus_log1p(x: Decimal) -> Exact:
    """x − log(1 + x)."""
    return summed(x - log1p(x))


@exactly
def expm1_minus_x(x: Decimal) -> Exact:
    """eˣ − 1 − x."""
    return summed(x.exp() - 1 - x)


# -- named schedules: β_t of a T-step schedule -------------------------------------------------------------------------

@exactly
def reciprocal(T: Decimal, t: Decimal) -> Exact:
    """1/(T − t + 1)."""
    return summed(1 / (T - t + 1))


@exactly
def geometric(T: Decimal, t: Decimal, beta_1: Decimal, beta_T: Decimal) -> Exact:
    """exp[(1−f) log β_1 + f log β_T] with f = (t−1)/(T−1): an exponential of a sum of two logarithms."""
    logs = summed((1 - _fraction(T, t)) * beta_1.ln(), _fraction(T, t) * beta_T.ln())
    value = logs.value.exp()
    return Exact(value, value * (1 + logs.scale))


@exactly
def linear(T: Decimal, t: Decimal, beta_1: Decimal, beta_T: Decimal) -> Exact:
    """(1−f) β_1 + f β_T."""
    return summed((1 - _fraction(T, t)) * beta_1, _fraction(T, t) * beta_T)


@exactly
def cosine(T: Decimal, t: Decimal, offset: Decimal, cap: Decimal) -> Exact:
    """1 − cos²φ_t/cos²φ_{t−1}, at most `cap`; φ_t = (π/2)(t/T + offset)/(1 + offset).  One term: sines give it without loss."""
    before, after = (_cos(PI / 2 * (s / T + offset) / (1 + offset)) for s in (t - 1, t))
    return summed(min(1 - (after / before) ** 2, cap))


def _fraction(T: Decimal, t: Decimal) -> Decimal:
    return (t - 1) / (T - 1) if T > 1 else Decimal(0)


# -- the kernel --------------------------------------------------------------------------------------------------------

@exactly
def forward(x_prev: Decimal, beta: Decimal) -> Law:
    """q(x_t | x_{t−1}) = N(√(1−β) x_{t−1}, β)."""
    return Law(summed((1 - beta).sqrt() * x_prev), summed(beta))


@exactly
def marginal(x_0: Decimal, log_alpha_bar: Decimal) -> Law:
    """q(x_t | x_0) = N(e^{ℓ/2} x_0, 1 − e^ℓ)."""
    return Law(summed((log_alpha_bar / 2).exp() * x_0), summed(1 - log_alpha_bar.exp()))


@exactly
def posterior(x_t: Decimal, x_0: Decimal, beta: Decimal, log_alpha_bar_prev: Decimal) -> Law:
    """q(x_{t−1} | x_t, x_0): its mean has two parts, from x_0 and from x_t."""
    from_x_0, from_x_t, var = _posterior(beta, log_alpha_bar_prev.exp())
    return Law(summed(from_x_0 * x_0, from_x_t * x_t), summed(var))


def _posterior(beta: Decimal, before: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """√a β/w, √(1−β) v/w, β v/w with a = ᾱ_{t−1}, v = 1 − a, w = 1 − ᾱ_t = 1 − a (1−β)."""
    noise_before, noise = 1 - before, 1 - before * (1 - beta)
    return before.sqrt() * beta / noise, (1 - beta).sqrt() * noise_before / noise, beta * noise_before / noise


@exactly
def shares(beta: Decimal, log_alpha_bar_prev: Decimal) -> Shares:
    """What the posterior is made of."""
    a = log_alpha_bar_prev.exp()
    return Shares(summed(a), summed(1 - a), summed(1 - a * (1 - beta)))


@exactly
def kl(q_mean: Decimal, q_var: Decimal, p_mean: Decimal, p_var: Decimal) -> Exact:
    """½ [δ − log(1+δ)] + ½ (difference of means)²/p_var with δ = (q_var − p_var)/p_var: two terms, neither negative."""
    delta, difference = (q_var - p_var) / p_var, q_mean - p_mean
    return summed((delta - log1p(delta)) / 2, difference * difference / p_var / 2)


@exactly
def entropy(var: Decimal) -> Exact:
    """½ + ½ log 2π + ½ log var."""
    return summed(Decimal("0.5"), (2 * PI).ln() / 2, var.ln() / 2)


@exactly
def cross_entropy(q_mean: Decimal, q_var: Decimal, p_mean: Decimal, p_var: Decimal) -> Exact:
    """½ log 2π + ½ log p_var + ½ q_var/p_var + ½ (difference of means)²/p_var."""
    return summed((2 * PI).ln() / 2, p_var.ln() / 2, q_var / p_var / 2, (q_mean - p_mean) ** 2 / p_var / 2)


@exactly
def log_prob(x: Decimal, mean: Decimal, var: Decimal) -> Exact:
    """−½ log 2π − ½ log var − ½ (x − mean)²/var."""
    return summed(-(2 * PI).ln() / 2, -var.ln() / 2, -(x - mean) * (x - mean) / var / 2)


@exactly
def draw(mean: Decimal, var: Decimal, noise: Decimal) -> Exact:
    """mean + √var · noise."""
    return summed(mean, var.sqrt() * noise)


# -- layers ------------------------------------------------------------------------------------------------------------

@exactly
def linear_layer(x: list[Decimal], weight: list[list[Decimal]], bias: list[Decimal]) -> list[Exact]:
    """Σ_i x_i W_ij + b_j: every product is a term."""
    return [summed(*(x_i * row[j] for x_i, row in zip(x, weight)), b) for j, b in enumerate(bias)]


@exactly
def denoising(z_mean: Decimal, z_var: Decimal, x_t: Decimal, beta: Decimal, log_alpha_bar_prev: Decimal) -> Law:
    """The posterior averaged over x_0 ~ N(√ᾱ_t x_t + z_mean, (1−ᾱ_t) e^{z_var}); x_t's two parts of the mean are one term."""
    after = log_alpha_bar_prev.exp() * (1 - beta)
    from_x_0, from_x_t, var = _posterior(beta, log_alpha_bar_prev.exp())
    mean = summed((from_x_t + from_x_0 * after.sqrt()) * x_t, from_x_0 * z_mean)
    return Law(mean, summed(var, from_x_0 * from_x_0 * (1 - after) * z_var.exp()))


# -- end to end, from the rates ----------------------------------------------------------------------------------------

@exactly
def chain(beta: list[Decimal], times: list[Decimal]) -> dict[int, Step]:
    """The steps at `times`, from the exact product of 1 − β_s: one logarithm for each of them, however long the schedule.

    Shapes: beta T+1 numbers, beta[0] = 0; times in 1..T.
    """
    wanted, found, after = {int(t) for t in times}, {}, Decimal(1)
    for t, rate in enumerate(beta):
        before, after = after, after * (1 - rate)
        if t in wanted:
            found[t] = _step(rate, before, after)
    return found


def _step(beta: Decimal, before: Decimal, after: Decimal) -> Step:
    """Derivation of the scales: with a = ᾱ_{t−1} = exp ℓ, w = 1 − ᾱ_t and dw = −ᾱ_t dℓ, the posterior's coefficients move by

        dc_0 = c_0 (½ + ᾱ_t/w) dℓ        dc_t = −√(1−β) (aβ/w²) dℓ        dvar = −(aβ²/w²) dℓ.
    """
    level, level_prev, noise = after.ln(), abs(before.ln()), 1 - after
    moved = after * abs(level) if after else Decimal(0)
    slope = level_prev * before * beta / noise / noise
    root, root_moved = after.sqrt(), moved / after.sqrt() / 2 if after else Decimal(0)
    from_x_0, from_x_t, var = _posterior(beta, before)
    return Step(log_alpha_bar=summed(level), alpha_bar=Exact(after, after + moved),
                root_alpha_bar=Exact(root, root + root_moved), one_minus_alpha_bar=Exact(noise, noise + moved),
                from_x_0=Exact(from_x_0, from_x_0 * (1 + level_prev * (Decimal("0.5") + after / noise))),
                from_x_t=Exact(from_x_t, from_x_t + slope * (1 - beta).sqrt()), posterior_var=Exact(var, var + slope * beta))
