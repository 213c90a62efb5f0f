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


class Terms(NamedTuple):
    """The terms of K of one example: the divergence at t = 2..T and three entropies."""

    kl: list[Exact]
    entropy_T: Exact
    entropy_1: Exact
    entropy_prior: Exact


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: Exact
    stderr: Exact


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
def rbf(x: list[Decimal], centre: list[list[Decimal]], log_width: list[Decimal]) -> list[Exact]:
    """g_k = e^{s_k}/Σ_j e^{s_j}, s_k = −|x − c_k|²/(2 w_k²).  A rounded s moves log g_k by |s_k| + Σ_j g_j |s_j|."""
    s = [-sum((a - b) ** 2 for a, b in zip(x, c)) / (2 * (2 * width).exp()) for c, width in zip(centre, log_width)]
    whole = sum(s_k.exp() for s_k in s)
    g = [s_k.exp() / whole for s_k in s]
    shared = 1 + sum(g_k * abs(s_k) for g_k, s_k in zip(g, s))
    return [Exact(g_k, g_k * (shared + abs(s_k))) for g_k, s_k in zip(g, s)]


@exactly
def eq65(z_mean: Decimal, z_var: Decimal, x_t: Decimal, beta: Decimal) -> Law:
    """var = sigmoid(z_var + logit β), mean = (x − z) √(1−var) + z."""
    var, keep = _odds(z_var, beta)
    return Law(Exact((x_t - z_mean) * keep.value + z_mean, abs(x_t - z_mean) * keep.scale + abs(z_mean)), var)


@exactly
def released(z_mean: Decimal, z_var: Decimal, x_t: Decimal, beta: Decimal, T: Decimal) -> Law:
    """var = sigmoid(z_var/√T + logit β), mean = √(1−β) x + √β z."""
    return Law(summed((1 - beta).sqrt() * x_t, beta.sqrt() * z_mean), _odds(z_var / T.sqrt(), beta)[0])


@exactly
def denoising(z_mean: Decimal, z_var: Decimal, x_t: Decimal, beta: Decimal, log_alpha_bar_prev: Decimal) -> Law:
    """The posterior averaged over x_0 ~ N(√ᾱ_t x_t + z_mean, (1−ᾱ_t) e^{z_var}); x_t's two parts of the mean are one term."""
    after = log_alpha_bar_prev.exp() * (1 - beta)
    from_x_0, from_x_t, var = _posterior(beta, log_alpha_bar_prev.exp())
    mean = summed((from_x_t + from_x_0 * after.sqrt()) * x_t, from_x_0 * z_mean)
    return Law(mean, summed(var, from_x_0 * from_x_0 * (1 - after) * z_var.exp()))


@exactly
def swiss_roll(centre: list[list[Decimal]], log_width: list[Decimal], weight: list[list[Decimal]], bias: list[Decimal],
               x_t: list[Decimal], beta: Decimal, log_alpha_bar_prev: Decimal) -> list[Law]:
    """The network of one step with the read-out `denoising`: rbf, then linear, then the read-out of each component.

    Rounded units g move the heads z, and those the mean by c_0 z and the logarithm of a part of the variance by z.
    """
    g, D = rbf(x_t, centre, log_width), len(x_t)
    heads = [joined([*(Exact(unit.value * row[j], unit.scale * abs(row[j])) for unit, row in zip(g, weight)), summed(b)])
             for j, b in enumerate(bias)]
    from_x_0, _, _ = _posterior(beta, log_alpha_bar_prev.exp())
    laws = []
    for x, mean, var in zip(x_t, heads[:D], heads[D:]):
        law, fixed = denoising(mean.value, var.value, x, beta, log_alpha_bar_prev), denoising(0, 0, x, beta, log_alpha_bar_prev)
        moves = law.var.value - _posterior(beta, log_alpha_bar_prev.exp())[2]
        laws.append(Law(Exact(law.mean.value, fixed.mean.scale + from_x_0 * (abs(mean.value) + mean.scale)),
                        Exact(law.var.value, law.var.scale + moves * var.scale)))
    return laws


def _odds(z: Decimal, beta: Decimal) -> tuple[Exact, Exact]:
    """s = sigmoid(z + log β − log(1−β)) and √(1 − s), with what a rounding of the three added logarithms does to them."""
    odds = beta * z.exp()
    s, rest = odds / (1 - beta + odds), (1 - beta) / (1 - beta + odds)
    logs = abs(z) + abs(beta.ln()) + abs((1 - beta).ln()) if beta < 1 else Decimal(0)
    return Exact(s, s * (1 + rest * logs)), Exact(rest.sqrt(), rest.sqrt() * (1 + s * logs / 2))


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


@exactly
def terms(beta: list[Decimal], x_0: list[Decimal], noise: list[list[Decimal]]) -> Terms:
    """The terms of K (eq. 14) of one example, the model being the forward kernel, N(√(1−β) x_t, β), at every step.

    Shapes: beta T+1 numbers, x_0 D, noise T−1 rows of D, row t−2 for x_t.
    """
    T = len(beta) - 1
    steps = chain(beta, range(1, T + 1))
    kls = [joined(_step_kl(beta[t], steps[t], x, e) for x, e in zip(x_0, noise[t - 2])) for t in range(2, T + 1)]
    return Terms(kls, *(joined([entropy(var)] * len(x_0)) for var in (steps[T].one_minus_alpha_bar.value, beta[1], 1)))


@exactly
def bound(beta: list[Decimal], x_0: list[Decimal], noise: list[list[Decimal]]) -> Exact:
    """K: the terms of `terms`, added."""
    kls, last, first, prior = terms(beta, x_0, noise)
    return joined([last, -first, -prior, *(-kl for kl in kls)])


@exactly
def entropy_at(beta: list[Decimal], x_0: list[Decimal], t: Decimal) -> Exact:
    """H(x_t | x_0)."""
    return joined([entropy(chain(beta, [t])[int(t)].one_minus_alpha_bar.value)] * len(x_0))


@exactly
def prior_cross_entropy_at(beta: list[Decimal], x_0: list[Decimal], t: Decimal) -> Exact:
    """−E log π(x_t) = ½ log 2π + ½ (1 − ᾱ_t) + ½ ᾱ_t x_0² a component."""
    (level, moved), noise = (step := chain(beta, [t])[int(t)]).alpha_bar, step.one_minus_alpha_bar
    return joined(part for x in x_0 for part in (summed((2 * PI).ln() / 2), Exact(noise.value / 2, noise.scale / 2),
                                                 Exact(level * x * x / 2, moved * x * x / 2)))


@exactly
def correction(beta: list[Decimal], x_0: list[Decimal]) -> Exact:
    """C = [H(π) + E log π(x_T)] + [log π(x_0) − E log π(x_1)] = ½ (ᾱ_T + β_1)(1 − x_0²) a component.

    It is there to be added to K: the four count each by itself, though C is much smaller than they are.
    """
    cross_T, cross_1 = (prior_cross_entropy_at(beta, x_0, t) for t in (len(beta) - 1, 1))
    return joined([joined([entropy(1)] * len(x_0)), -cross_T, cross_1, null_log_likelihood(x_0)])


@exactly
def strict_bound(beta: list[Decimal], x_0: list[Decimal], noise: list[list[Decimal]]) -> Exact:
    """K + C."""
    return joined([bound(beta, x_0, noise), correction(beta, x_0)])


def _step_kl(beta: Decimal, step: Step, x_0: Decimal, noise: Decimal) -> Exact:
    """KL of one component.  Its two means and the variance of the posterior are rounded before they are compared."""
    (c_0, c_0_scale), (c_t, c_t_scale), (var, var_scale) = step.from_x_0, step.from_x_t, step.posterior_var
    x_t, keep = step.root_alpha_bar.value * x_0 + step.one_minus_alpha_bar.value.sqrt() * noise, (1 - beta).sqrt()
    difference, value = c_0 * x_0 + (c_t - keep) * x_t, kl(c_0 * x_0 + c_t * x_t, var, keep * x_t, beta).value
    means = c_0_scale * abs(x_0) + (c_t_scale + keep) * abs(x_t)
    return Exact(value, value + abs(difference) * means / beta + abs(var / beta - 1) * var_scale / var / 2)


# -- log-likelihoods ---------------------------------------------------------------------------------------------------

@exactly
def bits(nats: Decimal) -> Exact:
    """nats/log 2."""
    return summed(nats / Decimal(2).ln())


@exactly
def in_bits(value: Decimal, stderr: Decimal) -> Estimate:
    """Both parts of an estimate."""
    return Estimate(bits(value), bits(stderr))


@exactly
def total(x: list[Decimal]) -> Exact:
    """Σ x."""
    return summed(*x)


@exactly
def average(x: list[Decimal]) -> Estimate:
    """The mean and √(Σ (x − mean)²/(n−1)/n); a rounded mean moves the squares to second order only."""
    mean = summed(*(part / len(x) for part in x))
    squares = summed(*((part - mean.value) ** 2 for part in x))
    return Estimate(mean, summed((squares.value / (len(x) - 1) / len(x)).sqrt()))


@exactly
def null_log_likelihood(x_0: list[Decimal]) -> Exact:
    """Σ −½ log 2π − ½ x²."""
    return joined(log_prob(x, 0, 1) for x in x_0)


@exactly
def gaussian_log_likelihood(x: list[Decimal], mean: list[Decimal], covariance: list[list[Decimal]]) -> Exact:
    """Two dimensions: log N(x; m, a) + log N(y; n + (b/a)(x−m), c − b²/a) for the covariance (a, b; b, c).

    Both the mean and the variance of the second law are differences: their rounding is on top.
    """
    (a, b), (_, c) = covariance
    first, second, slope = x[0] - mean[0], x[1] - mean[1], b / a
    rest, var = second - slope * first, c - slope * b
    moved = abs(rest) / var * (abs(second) + abs(slope * first)) + (1 + rest * rest / var) * (c + slope * b) / var / 2
    value = joined([log_prob(first, 0, a), log_prob(rest, 0, var)])
    return Exact(value.value, value.scale + moved)


@exactly
def parzen_log_likelihood(x: list[Decimal], centres: list[list[Decimal]], bandwidth: Decimal) -> Exact:
    """log (1/M) Σ_m Π_d N(x_d; c_md, bandwidth²), with the greatest exponent taken out as in `log_likelihood`."""
    exponents = [-sum(((a - b) ** 2 for a, b in zip(x, c)), Decimal(0)) / (2 * bandwidth ** 2) for c in centres]
    top = max(exponents)
    weights = [(part - top).exp() for part in exponents]
    total = sum(weights, Decimal(0))
    moved = sum((w * abs(part) for w, part in zip(weights, exponents)), Decimal(0)) / total
    value = summed(top, total.ln(), -Decimal(len(centres)).ln(), -len(x) * (2 * PI).ln() / 2, -len(x) * bandwidth.ln())
    return Exact(value.value, value.scale + moved)


@exactly
def log_weights(beta: list[Decimal], x_0: list[Decimal], noise: list[list[Decimal]]) -> Exact:
    """log π(x_T) + Σ log p(x_{t−1} | x_t) − log q(x_t | x_{t−1}) along one path, the model being the forward kernel.

    A rounded x_t moves the next ones and every difference that it is part of.   Shapes: noise T rows of D.
    """
    parts = [path for i, x in enumerate(x_0) for path in _path(beta, x, [row[i] for row in noise])]
    return joined(parts)


def _path(beta: list[Decimal], x_0: Decimal, noise: list[Decimal]) -> list[Exact]:
    parts, before, moved_before = [], x_0, Decimal(0)
    for rate, e in zip(beta[1:], noise):
        keep = (1 - rate).sqrt()
        after = keep * before + rate.sqrt() * e
        moved = keep * (moved_before + abs(before)) + abs(rate.sqrt() * e)
        q, p = log_prob(after, keep * before, rate), log_prob(before, keep * after, rate)
        back = abs(before - keep * after) / rate * (moved_before + keep * (abs(after) + moved))
        parts += [Exact(-q.value, q.scale + abs(e) / rate.sqrt() * (abs(after) + keep * abs(before))),
                  Exact(p.value, p.scale + back)]
        before, moved_before = after, moved
    last = log_prob(before, 0, 1)
    return [*parts, Exact(last.value, last.scale + abs(before) * moved_before)]


@exactly
def log_likelihood(log_w: list[list[Decimal]]) -> Estimate:
    """The mean over examples of log (1/M) Σ_m w_m, and its standard error √(Σ_n Σ_m (w/w̄ − 1)²/(M−1)/M)/N.

    A logarithm of an average is the greatest log w, the logarithm of the others' sum relative to it, and log M.
    Shapes: M rows of N.
    """
    M, N = len(log_w), len(log_w[0])
    means, variance, moved = [], Decimal(0), Decimal(0)
    for column in zip(*log_w):
        top = max(column)
        weights = [(part - top).exp() for part in column]
        mean = sum(weights) / M
        shift = sum(w * (1 + top - part) for w, part in zip(weights, column)) / sum(weights)
        means.append(Exact(top + mean.ln(), abs(top) + abs(sum(weights).ln()) + Decimal(M).ln() + shift))
        for w, part in zip(weights, column):
            excess = w / mean - 1
            variance += excess * excess / (M - 1) / M
            moved += abs(excess) * w / mean * (1 + abs(part - means[-1].value) + means[-1].scale) / (M - 1) / M
    value, stderr = joined(means), variance.sqrt() / N
    return Estimate(Exact(value.value / N, value.scale / N), Exact(stderr, stderr + moved / variance.sqrt() / N))
