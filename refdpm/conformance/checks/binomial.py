"""Checks of the binomial kernel: its laws, divergences and draws.

What they are compared with: two-by-two tables in exact fractions, and sums over {0, 1} in 400 decimals.
"""

from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import accumulate, product
from math import log, log1p

import numpy as np

from refdpm import binomial
from refdpm.binomial import Bernoulli
from refdpm.conformance.checks.common import Check, apart, column, grid, passes, worst
from refdpm.vjp import Array

Table = list[list[Fraction]]

RATES = (0.5, 0.2, 0.37)
RECIPROCAL = [Fraction(1, 6 - t) for t in range(1, 6)]
PAIRS = ((0, 0), (0, 1), (1, 0), (1, 1))
X_T, X_0 = (column(*bits) for bits in zip(*PAIRS))


# -- one step, in fractions ----------------------------------------------------------------------------------------------

def _table(drawn: Fraction, rate: float) -> Table:
    """The law of a bit that is drawn anew with the chance `drawn`; row: before, column: after."""
    rise, fall = drawn * Fraction(rate), drawn * (1 - Fraction(rate))
    return [[1 - rise, rise], [fall, 1 - fall]]


def _compose(a: Table, b: Table) -> Table:
    return [[sum((row[k] * b[k][j] for k in (0, 1)), Fraction(0)) for j in (0, 1)] for row in a]


def _log_odds(zero: Fraction, one: Fraction) -> float:
    with localcontext() as context:
        context.prec = 50
        odds = one / zero
        return float((Decimal(odds.numerator) / Decimal(odds.denominator)).ln())


def _both(p: Bernoulli) -> Array:
    """P(0) and P(1), along a new first axis."""
    return np.stack([1 / (1 + np.exp(p.logit)), 1 / (1 + np.exp(-p.logit))])


def forward_by_hand() -> float:
    """With r = 0.2 and β = 0.5 a zero becomes a one in 0.1 of all cases and a one a zero in 0.4; with β = 1 it is a draw from π;
    with r = ½ the table's ½ β; and the log odds are those of the two-by-two table."""
    hand = binomial.forward(column(0, 1, 0, 1), column(0.5, 0.5, 1, 1), rate=0.2)
    half = binomial.forward(column(0, 1), column(0.3, 0.3))
    found = [apart(hand.prob, column(0.1, 0.6, 0.2, 0.2)), apart(_both(hand).sum(axis=0), np.ones((4, 1))),
             apart(half.prob, column(0.15, 0.85))]
    for rate, beta in product(RATES, (5e-4, 0.02, 0.3, 0.85, 1.0)):
        q = binomial.forward(column(0, 1), column(beta, beta), rate=rate)
        found.append(apart(q.logit, column(*(_log_odds(*row) for row in _table(Fraction(beta), rate)))))
    return worst(*found)


def steps_compose() -> float:
    """The product of the tables of t steps is q(x_t | x_0) at every t, up to β_T = 1, where it is π; and for 1 − ᾱ = 5e-4."""
    found = []
    for rate in RATES:
        tables = accumulate((_table(beta, rate) for beta in RECIPROCAL), _compose)
        chain = list(zip(tables, [log1p(-t / 5) for t in range(1, 5)] + [-np.inf]))
        for table, level in [*chain, (_table(Fraction(5e-4), rate), log1p(-5e-4))]:
            q = binomial.marginal(column(0, 1), column(level, level), rate=rate)
            found.append(apart(q.logit, column(*(_log_odds(*row) for row in table))))
    return worst(*found)


def prior_is_stationary_and_the_step_reversible() -> float:
    """π(1) = r; Σ_x q(y | x) π(x) = π(y), and q(y | x) π(x) = q(x | y) π(y), for small β, large β and β = 1."""
    found = []
    for rate in RATES:
        pi = binomial.prior((2, 3), rate=rate)
        found += [apart(pi.prob, np.full((2, 3), rate)), passes(pi.logit.shape == (2, 3))]
        for beta in (0.01, 0.7, 1.0):
            joint = _both(pi)[:, 0, 0] * _both(binomial.forward(column(0, 1), column(beta, beta), rate=rate))[..., 0]
            found += [apart(joint.sum(axis=1), [1 - rate, rate]), apart(joint, joint.T)]
    return worst(apart(binomial.prior((1, 1)).logit, [[0]], within=1e-15), *found)


def posterior_is_bayes_rule() -> float:
    """All four (x_t, x_0), for β_t = 1/(T−t+1): T = 5 at t = 2, 3 and 5, where β = 1; T = 2000 at t = 2, where x_{t−1} differs
    from x_t = x_0 in 4e-8 of all cases.   q(x_{t−1} | x_0) q(x_t | x_{t−1}), divided by its sum"""
    found = []
    for rate, (T, t) in product(RATES, ((5, 2), (5, 3), (5, 5), (2000, 2))):
        beta, drawn = Fraction(1, T - t + 1), Fraction(t - 1, T)
        expected = []
        for x_t, x_0 in PAIRS:
            before, step = _table(drawn, rate)[x_0], _table(beta, rate)
            expected.append(_log_odds(*(before[x] * step[x][x_t] for x in (0, 1))))
        q = binomial.posterior(X_T, X_0, column(*[float(beta)] * 4), column(*[log1p(-drawn)] * 4), rate=rate)
        found.append(apart(q.logit, column(*expected)))
    return worst(*found)


def zeros_and_ones_are_alike() -> float:
    """With zeros and ones exchanged, and r for 1 − r, every logit changes its sign and no divergence, entropy or mass changes."""
    a, b = grid(EXTREME, EXTREME)
    found = []
    for rate, beta, level in product(RATES, (5e-4, 0.3), (-5e-4, -3.0)):
        at = np.full((4, 1), beta), np.full((4, 1), level)
        for law, arguments in ((binomial.forward, (X_T, at[0])), (binomial.marginal, (X_0, at[1])),
                               (binomial.posterior, (X_T, X_0, *at))):
            n = len(arguments) // 2
            exchanged = law(*(1 - x for x in arguments[:n]), *arguments[n:], rate=1 - rate)
            found.append(apart(-exchanged.logit, law(*arguments, rate=rate).logit))
    there, back = (_values(Bernoulli(sign * a), Bernoulli(sign * b), (1 + sign) / 2) for sign in (1, -1))
    found.append(apart(back, there, scale=1 + np.abs(there[[1, 1, 2, 3]])))                # KL: of the terms that it is made of
    return worst(*found)


def _values(q: Bernoulli, p: Bernoulli, x: float) -> Array:
    return np.stack([binomial.kl(q, p), binomial.cross_entropy(q, p), binomial.entropy(q), binomial.log_prob(x + 0 * q.logit, q)])


# -- divergence, entropy, mass, draws ------------------------------------------------------------------------------------

EXTREME = np.array([-700.0, -40, -3, -1e-9, 0, 0.7, 0.8, 5, 36, 700])


def _sums() -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """Σ p log (p/p'), −Σ p log p' and log p(x), x = 0, 1, for the laws with the logits `EXTREME`."""
    with localcontext() as context:
        context.prec = 400
        odds = [Decimal(float(a)).exp() for a in EXTREME]
        logs = [(-(1 + w).ln(), -(1 + 1 / w).ln()) for w in odds]
        laws = [(1 / (1 + w), w / (1 + w)) for w in odds]
        kl = [[float(sum(p * (u - v) for p, u, v in zip(law, own, other))) for other in logs] for law, own in zip(laws, logs)]
        cross = [[float(-sum(p * v for p, v in zip(law, other))) for other in logs] for law in laws]
        return kl, cross, [[float(v) for v in pair] for pair in logs]


def divergences_are_sums() -> float:
    """KL, entropy, cross-entropy and mass as sums over 0 and 1, from logit −700 to 700; by hand,
    KL(½ ‖ ¼) = ½ log 4/3 and H(½) = log 2; and KL(p ‖ p) = 0, near it ½ p(1−p) δ²."""
    kl, cross, logs = map(np.array, _sums())
    q, p = Bernoulli(EXTREME[:, None]), Bernoulli(EXTREME[None, :])
    half, quarter = Bernoulli(np.zeros(1)), Bernoulli(-np.log([3.0]))
    near = binomial.kl(Bernoulli(a := np.linspace(-3, 3, 7)), Bernoulli(a + 1e-4))
    return worst(apart(binomial.kl(q, p), kl, scale=1 + cross), apart(binomial.cross_entropy(q, p), cross, scale=1 + cross),
                 apart(binomial.entropy(Bernoulli(EXTREME)), np.diag(cross)),
                 apart(binomial.log_prob(np.array([0.0, 1.0]), q), logs, scale=1 - logs),
                 apart(binomial.kl(q, q), 0 * EXTREME[:, None]), passes(binomial.kl(q, p) >= -1e-13),
                 apart(near, 0.5e-8 / (2 + 2 * np.cosh(a)), within=1e-3),
                 apart(binomial.kl(half, quarter), [log(4 / 3) / 2]), apart(binomial.entropy(half), [log(2)]))


def draw_is_a_threshold() -> float:
    """1 where the noise is below P(1): below ½, not at ½; at logit 800 always, at −800 for no positive noise; a share r of
    a thousand even noises."""
    noise = np.array([0, np.nextafter(0.5, 0), 0.5, np.nextafter(1, 0)])
    at = [binomial.draw(Bernoulli(np.full(4, logit)), noise=noise) for logit in (0.0, 800.0, -800.0)]
    even = (np.arange(1000) + 0.5) / 1000
    ones = [binomial.draw(binomial.prior((1000,), rate=rate), noise=even).sum() for rate in RATES]
    return worst(apart(at[:2], [[1, 1, 0, 0], [1] * 4]), apart(at[2][1:], [0] * 3), apart(ones, [500, 200, 370]))


def noise_is_uniform() -> float:
    """On [0, 1), with moments 1, 2 and 3 of 12000 draws and no correlation between rows, columns and calls: six standard errors
    each, so that another seed would raise a false alarm in 2·10⁻⁸ of all cases."""
    rng = np.random.default_rng(5)
    x, y = binomial.draw_noise(rng, (4000, 3)), binomial.draw_noise(rng, (4000, 3))
    return worst(passes(x.shape == (4000, 3), x >= 0, x < 1), *(abs(z) / 6 for z in _z_scores(x, y)))


def _z_scores(x: Array, y: Array) -> Iterator[float]:
    u, v = x - 0.5, y - 0.5
    for values, mean, square in ((x, 1 / 2, 1 / 3), (x ** 2, 1 / 3, 1 / 5), (x ** 3, 1 / 4, 1 / 7), (u * v, 0, 1 / 144),
                                 (u[1:] * u[:-1], 0, 1 / 144), (u[:, 1:] * u[:, :-1], 0, 1 / 144)):
        yield float((values.mean() - mean) / np.sqrt((square - mean ** 2) / values.size))


CHECKS = (
    Check("bits: forward step by hand", ("binomial.forward",), forward_by_hand),
    Check("bits: steps compose to the marginal", ("binomial.marginal",), steps_compose),
    Check("bits: π is stationary, the step reversible", ("binomial.prior", "binomial.forward"),
          prior_is_stationary_and_the_step_reversible),
    Check("bits: posterior is Bayes' rule", ("binomial.posterior",), posterior_is_bayes_rule),
    Check("bits: zeros and ones are alike", ("binomial.forward", "binomial.marginal", "binomial.posterior", "binomial.kl",
                                             "binomial.cross_entropy", "binomial.entropy", "binomial.log_prob"),
          zeros_and_ones_are_alike),
    Check("bits: divergences are sums over 0 and 1",
          ("binomial.kl", "binomial.cross_entropy", "binomial.entropy", "binomial.log_prob"), divergences_are_sums),
    Check("bits: a draw is a threshold", ("binomial.draw",), draw_is_a_threshold),
    Check("bits: noise is uniform", ("binomial.draw_noise",), noise_is_uniform),
)
