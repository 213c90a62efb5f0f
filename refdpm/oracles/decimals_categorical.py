"""The chain for symbols once more, in decimals of 70 digits; three classes, of which the first is looked at.

Every probability is one term, however it is put together: sums of positive products keep all their digits.
"""

from __future__ import annotations

from decimal import Decimal

from refdpm.oracles.decimals import Exact, exactly, log1p, summed

Row = tuple[Decimal, Decimal, Decimal]


@exactly
def stays(beta: Decimal) -> Exact:
    """Q_11 = 1 − β + β/3."""
    return summed(1 - beta + beta / 3)


@exactly
def changes(beta: Decimal) -> Exact:
    """Q_12 = β/3."""
    return summed(beta / 3)


@exactly
def stayed(level: Decimal) -> Exact:
    """Q̄_11 = ᾱ + (1−ᾱ)/3, with one rounding of ᾱ's exponent."""
    return summed(level.exp() + (1 - level.exp()) / 3)


@exactly
def changed(level: Decimal) -> Exact:
    """Q̄_12 = (1−ᾱ)/3."""
    return summed((1 - level.exp()) / 3)


@exactly
def marginal(a: Decimal, b: Decimal, c: Decimal, level: Decimal) -> Exact:
    """ᾱ x_0 + (1−ᾱ)/3 Σ x_0."""
    return summed(_mixed((a, b, c), level.exp())[0])


@exactly
def posterior(a: Decimal, b: Decimal, c: Decimal, p: Decimal, q: Decimal, r: Decimal, beta: Decimal, level: Decimal) -> Exact:
    """e m/Σ e m for x_t = (a, b, c) and x_0 = (p, q, r)."""
    joint = [e * m for e, m in zip(_mixed((a, b, c), 1 - beta), _mixed((p, q, r), level.exp()))]
    return summed(joint[0] / sum(joint))


@exactly
def softmax(a: Decimal, b: Decimal, c: Decimal) -> Exact:
    """e^a/(e^a + e^b + e^c); the differences of logits are rounded on the way."""
    p = a.exp() / (a.exp() + b.exp() + c.exp())
    top = max(a, b, c)
    rounded = abs(a - top) + sum(abs(z - top) * z.exp() for z in (a, b, c)) / (a.exp() + b.exp() + c.exp())
    return Exact(p, p * (1 + rounded))


@exactly
def kl(a: Decimal, p: Decimal, share: Decimal) -> Exact:
    """Of (a, (1−a)s, (1−a)(1−s)) from (p, (1−p)s, (1−p)(1−s)), each rounded: Σ q (δ − log(1+δ)), and |log(q/p)| q for that."""
    q_s, p_s = _law(a, share), _law(p, share)
    terms = [q * ((p - q) / q - log1p((p - q) / q)) for q, p in zip(q_s, p_s)]
    return Exact(summed(*terms).value, summed(*terms).scale + sum(abs(p - q) for q, p in zip(q_s, p_s)))


def _law(a: Decimal, share: Decimal) -> Row:
    return a, (1 - a) * share, (1 - a) * (1 - share)


def _mixed(x: Row, kept: Decimal) -> list[Decimal]:
    return [kept * part + (1 - kept) * sum(x) / 3 for part in x]
