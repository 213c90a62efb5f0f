"""The decoder and the bound in bits once more, in decimals of 70 digits, with scales by the rules of `decimals`.

Everything is taken from definitions: a mass is a difference of two values of Φ, computed in 140 digits, so that far more than 70
are left of it.  Those come from the series of Φ near 0 and from the continued fraction of Mills' ratio in the tails.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

from refdpm.oracles.decimals import PI, Exact, exactly, joined, log1p, summed

HALF = Decimal("0.5")


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
