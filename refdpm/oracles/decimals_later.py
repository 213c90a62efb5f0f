"""What came after the paper once more, in decimals of 70 digits, with scales by the rules of `decimals`.

Everything is taken from definitions: signal-to-noise ratios are divided and subtracted, DDIM is written with its direction
√(1 − ᾱ_{t−1} − σ²), and a mass is a difference of two values of Φ, computed in 140 digits, so that far more than 70 are left of it.
Those come from the series of Φ near 0 and from the continued fraction of Mills' ratio in the tails.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

from refdpm.oracles.decimals import PI, Exact, Law, exactly, joined, log1p, posterior, summed

HALF = Decimal("0.5")


# -- parametrisations --------------------------------------------------------------------------------------------------

@exactly
def x_0_from_noise(noise: Decimal, x_t: Decimal, level: Decimal) -> Exact:
    """x_t/√ᾱ − √(1−ᾱ)/√ᾱ ε."""
    s, sigma = _circle(level)
    return summed(x_t / s, -sigma / s * noise)


@exactly
def x_0_from_v(v: Decimal, x_t: Decimal, level: Decimal) -> Exact:
    """√ᾱ x_t − √(1−ᾱ) v."""
    s, sigma = _circle(level)
    return summed(s * x_t, -sigma * v)


@exactly
def x_0_from_score(score: Decimal, x_t: Decimal, level: Decimal) -> Exact:
    """x_t/√ᾱ + (1−ᾱ)/√ᾱ score."""
    s, sigma = _circle(level)
    return summed(x_t / s, sigma * sigma / s * score)


@exactly
def noise_from_x_0(x_0: Decimal, x_t: Decimal, level: Decimal) -> Exact:
    """x_t/√(1−ᾱ) − √ᾱ/√(1−ᾱ) x_0."""
    s, sigma = _circle(level)
    return summed(x_t / sigma, -s / sigma * x_0)


@exactly
def v_from_x_0(x_0: Decimal, x_t: Decimal, level: Decimal) -> Exact:
    """√ᾱ ε − √(1−ᾱ) x_0; what ε and x_0 bring of x_0 is one term."""
    s, sigma = _circle(level)
    return summed(s * x_t / sigma, -(s * s / sigma + sigma) * x_0)


@exactly
def score_from_x_0(x_0: Decimal, x_t: Decimal, level: Decimal) -> Exact:
    """−ε/√(1−ᾱ)."""
    s, sigma = _circle(level)
    return summed(-x_t / sigma / sigma, s * x_0 / sigma / sigma)


@exactly
def x_0_from_mean(mean: Decimal, x_t: Decimal, beta: Decimal, before: Decimal) -> Exact:
    """(mean − c_t x_t)/c_0."""
    c_0, c_t = _weights(beta, before)
    return summed(mean / c_0, -c_t / c_0 * x_t)


@exactly
def mean_from_x_0(x_0: Decimal, x_t: Decimal, beta: Decimal, before: Decimal) -> Exact:
    """The posterior's mean."""
    return posterior(x_t, x_0, beta, before).mean


@exactly
def mean_from_noise(noise: Decimal, x_t: Decimal, beta: Decimal, before: Decimal) -> Exact:
    """The posterior's mean at x_0 from noise; what x_0 and x_t bring of x_t is one term."""
    c_0, c_t = _weights(beta, before)
    s, sigma = _circle(before + (1 - beta).ln())
    return summed((c_0 / s + c_t) * x_t, -c_0 * sigma / s * noise)


@exactly
def mean_from_v(v: Decimal, x_t: Decimal, beta: Decimal, before: Decimal) -> Exact:
    """The posterior's mean at x_0 from v."""
    c_0, c_t = _weights(beta, before)
    after = before.exp() * (1 - beta)
    return summed((c_0 * after.sqrt() + c_t) * x_t, -c_0 * (1 - after).sqrt() * v)


@exactly
def mean_from_score(score: Decimal, x_t: Decimal, beta: Decimal) -> Exact:
    """x_t/√(1−β) + β/√(1−β) score."""
    return summed(x_t / (1 - beta).sqrt(), beta / (1 - beta).sqrt() * score)


# -- weights and variances ---------------------------------------------------------------------------------------------

@exactly
def snr(level: Decimal) -> Exact:
    """ᾱ/(1−ᾱ)."""
    return summed(_snr(level.exp()))


def error_weight(predicts: str, beta: float, before: float) -> Exact:
    """The square of what an error 1 of x_0 is in the prediction of that name."""
    return _error_weight(beta, before, PREDICTIONS.index(predicts))


def kl_weight(predicts: str, beta: float, before: float) -> Exact:
    """SNR_{t−1} − SNR_t, divided by `error_weight`."""
    return _kl_weight(beta, before, PREDICTIONS.index(predicts))


PREDICTIONS = ("x_0", "noise", "v", "score", "mean")


@exactly
def _error_weight(beta: Decimal, before: Decimal, index: Decimal) -> Exact:
    return summed(_errors(beta, before)[int(index)] ** 2)


@exactly
def _kl_weight(beta: Decimal, before: Decimal, index: Decimal) -> Exact:
    return summed(_drop(beta, before) / _errors(beta, before)[int(index)] ** 2)


@exactly
def kl_of_x_0(x_0: Decimal, guess: Decimal, beta: Decimal, before: Decimal) -> Exact:
    """½ (SNR_{t−1} − SNR_t) (x_0 − x̂_0)²."""
    return summed(_drop(beta, before) * (x_0 - guess) ** 2 / 2)


@exactly
def small(beta: Decimal, before: Decimal) -> Exact:
    """The posterior's variance."""
    return posterior(Decimal(0), Decimal(0), beta, before).var


@exactly
def next_variance(beta_1: Decimal, beta_2: Decimal) -> Exact:
    """1/(1/β_1 + (1−β_2)/β_2): the precisions of Bayes' rule at t = 2."""
    return summed(1 / (1 / beta_1 + (1 - beta_2) / beta_2))


@exactly
def ranged(head: Decimal, beta: Decimal, least: Decimal) -> Exact:
    """exp(f log β + (1−f) log β̃), f = (1 + head)/2.  What is rounded on the way is f, the logarithm of β/β̃, and their product."""
    share, ratio = (1 + head) / 2, (beta / least).ln()
    value = (share * beta.ln() + (1 - share) * least.ln()).exp()
    return Exact(value, value * (1 + abs(share) + (1 + abs(head)) / 2 * abs(ratio)))


# -- the decoder -------------------------------------------------------------------------------------------------------

@exactly
def level(k: Decimal, low: Decimal, high: Decimal, count: Decimal) -> Exact:
    """low + k (high − low)/(count − 1), as a mean of both ends."""
    return summed(low * (count - 1 - k) / (count - 1), high * k / (count - 1))


@exactly
def log_mass(x: Decimal, half: Decimal, end: Decimal, mean: Decimal, var: Decimal) -> Exact:
    """log [Φ(c + h) − Φ(c − h)] with c = (x − mean)/√var and h = half/√var; open below where end is 1, above where it is −1.

    Terms: of an open bin, of log Φ(z) with z = h ± c, those of `_tail`, and what the rounded z moves; of a narrow bin
    c²/2, log √2π, log 2h, and what is left, with what rounded c and h move; of a wide one as of an open bin, at its nearer end.
    """
    with localcontext() as context:
        context.prec = 140
        sigma = var.sqrt()
        c, h = (x - mean) / sigma, half / sigma
        if end:
            z = h + end * c
            value, logarithm = phi(z), log_phi(z)
            return Exact(logarithm, _tail(z, logarithm) + _density(z) / value * (abs(c) + h))
        near = -abs(c)
        value = phi(near + h) - phi(near - h)
        if h * (1 + abs(c)) < 1:
            rest = (value / (2 * h * _density(c))).ln()
            return Exact(value.ln(), c * c + (2 * PI).ln() / 2 + abs((2 * h).ln()) + 1 + abs(rest))
        logarithm = _log_rest(phi(near - h) + phi(-near - h)) if near + h > 0 else value.ln()
        above = log_phi(near + h)
        moved = _density(near + h) / value * (abs(c) + h)
        return Exact(logarithm, _tail(near + h, above) + abs(logarithm - above) + moved)


def _tail(z: Decimal, logarithm: Decimal) -> Decimal:
    """The terms of log Φ(z): z²/2, log √2π and the logarithm of Mills' ratio below 0, one term above."""
    root = (2 * PI).ln() / 2
    return z * z / 2 + root + abs(logarithm + z * z / 2 + root) if z < 0 else abs(logarithm)


def log_phi(z: Decimal) -> Decimal:
    """log Φ(z), above 0 from what is missing to 1."""
    return phi(z).ln() if z < 0 else _log_rest(phi(-z))


def _log_rest(out: Decimal) -> Decimal:
    """log(1 − out); six terms of the series where `out` is so small that 1 − out would not keep it."""
    return (1 - out).ln() if out > Decimal("1e-12") else -sum((out ** n / n for n in range(1, 7)), Decimal(0))


def phi(z: Decimal) -> Decimal:
    """Φ(z): near 0, ½ + φ(z) [z + z³/3 + z⁵/(3·5) + …]; further out φ(z)/(z + 1/(z + 2/(z + …))) for 1 − Φ(|z|)."""
    if abs(z) < 7:
        total, term, k = Decimal(0), z, 1
        while abs(term) > abs(total) * Decimal(10) ** -145 and term:
            total, k = total + term, k + 2
            term *= z * z / k
        return HALF + _density(z) * total
    size = abs(z)
    below = size
    for n in range(1200, 0, -1):
        below = size + n / below
    tail = _density(z) / below
    return tail if z < 0 else 1 - tail


def _density(z: Decimal) -> Decimal:
    return (-z * z / 2).exp() / (2 * PI).sqrt()


# -- the bound and the sampler -----------------------------------------------------------------------------------------

@exactly
def prior_kl(x_0: Decimal, level: Decimal) -> Exact:
    """½ ᾱ x_0² + ½ [−ᾱ − log(1−ᾱ)]: two terms, neither negative."""
    a = level.exp()
    rest = -a - log1p(-a) if a > Decimal("1e-25") else a * a / 2 + a * a * a / 3 + a * a * a * a / 4
    return summed(a * x_0 * x_0 / 2, rest / 2)


@exactly
def edge(x_0: Decimal, beta_1: Decimal) -> Exact:
    """−½ log 2π − ½ log β_1 − ½ β_1 x_0² − ½ (1 − β_1)."""
    return summed(-(2 * PI).ln() / 2, -beta_1.ln() / 2, -beta_1 * x_0 * x_0 / 2, -(1 - beta_1) / 2)


@exactly
def assembled(prior: Decimal, kl: list[Decimal], decoder: Decimal, T: Decimal) -> Exact:
    """prior + (T−1)/S Σ_s kl_s + decoder."""
    return joined([summed(prior), *(summed((T - 1) / len(kl) * term) for term in kl), summed(decoder)])


@exactly
def per_dimension(nats: Decimal, components: Decimal) -> Exact:
    """nats/(D log 2)."""
    return summed(nats / components / Decimal(2).ln())


@exactly
def jump(x_0: Decimal, x_t: Decimal, beta: Decimal, before: Decimal, eta: Decimal) -> Law:
    """√ᾱ_{t−1} x_0 + √(1 − ᾱ_{t−1} − σ²) (x_t − √ᾱ_t x_0)/√(1−ᾱ_t), σ² = η² β̃; what it brings of x_0 is one term."""
    a, after = before.exp(), before.exp() * (1 - beta)
    var = eta * eta * beta * (1 - a) / (1 - after)
    direction = (1 - a - var).sqrt() / (1 - after).sqrt()
    return Law(summed((a.sqrt() - direction * after.sqrt()) * x_0, direction * x_t), summed(var))


@exactly
def respaced(beta: list[Decimal]) -> Exact:
    """1 − ∏(1−β); a rounded sum of logarithms moves it by (1−β′)|log(1−β′)|."""
    kept = Decimal(1)
    for rate in beta:
        kept *= 1 - rate
    return Exact(1 - kept, 1 - kept + (kept * abs(kept.ln()) if kept else 0))


# -- parts -------------------------------------------------------------------------------------------------------------

def _circle(level: Decimal) -> tuple[Decimal, Decimal]:
    """√ᾱ and √(1−ᾱ)."""
    return (level / 2).exp(), (1 - level.exp()).sqrt()


def _weights(beta: Decimal, before: Decimal) -> tuple[Decimal, Decimal]:
    """The posterior's weights c_0 and c_t, by unit vectors."""
    one, none = Decimal(1), Decimal(0)
    return posterior(none, one, beta, before).mean.value, posterior(one, none, beta, before).mean.value


def _snr(alpha_bar: Decimal) -> Decimal:
    return alpha_bar / (1 - alpha_bar)


def _drop(beta: Decimal, before: Decimal) -> Decimal:
    return _snr(before.exp()) - _snr(before.exp() * (1 - beta))


def _errors(beta: Decimal, before: Decimal) -> tuple[Decimal, ...]:
    """What an error 1 of x_0 is in x_0, ε, v, the score and the mean, up to sign."""
    after = before.exp() * (1 - beta)
    s, sigma = after.sqrt(), (1 - after).sqrt()
    return Decimal(1), s / sigma, 1 / sigma, s / sigma / sigma, _weights(beta, before)[0]
