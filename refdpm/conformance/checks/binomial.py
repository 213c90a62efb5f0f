"""Checks of the binomial kernel: its laws, divergences and draws.

What they are compared with: two-by-two tables in exact fractions, numbers by hand, and laws.
"""

from fractions import Fraction
from itertools import product
from math import log, log1p

import numpy as np

from refdpm import binomial
from refdpm.binomial import Bernoulli
from refdpm.conformance.checks.common import apart, check, column, passes, worst
from refdpm.vjp import Array

RATES = (0.5, 0.2, 0.37)
PAIRS = ((0, 0), (0, 1), (1, 0), (1, 1))
X_T, X_0 = (column(*bits) for bits in zip(*PAIRS))


def _table(drawn: Fraction, rate: float) -> list[list[Fraction]]:
    """The law of a bit that is drawn anew with the chance `drawn`; row: before, column: after."""
    rise, fall = drawn * Fraction(rate), drawn * (1 - Fraction(rate))
    return [[1 - rise, rise], [fall, 1 - fall]]


def _both(p: Bernoulli) -> Array:
    """P(0) and P(1), along a new first axis."""
    return np.stack([1 / (1 + np.exp(p.logit)), 1 / (1 + np.exp(-p.logit))])


@check("bits: forward step and draw by hand", "binomial.forward", "binomial.draw")
def forward_by_hand() -> float:
    """With r = 0.2 and β = 0.5 a zero becomes a one in 0.1 of all cases and a one a zero in 0.4; with β = 1 it is a draw from π.
    A draw is 1 where the noise is below P(1): below ½, not at ½; at logit 800 always, at −800 for no positive noise."""
    q = binomial.forward(column(0, 1, 0, 1), column(0.5, 0.5, 1, 1), rate=0.2)
    noise = np.array([np.nextafter(0.5, 0), 0.5, np.nextafter(1, 0)])
    drawn = [binomial.draw(Bernoulli(np.full(3, logit)), noise=noise) for logit in (0.0, 800.0, -800.0)]
    return worst(apart(q.prob, column(0.1, 0.6, 0.2, 0.2)), apart(drawn, [[1, 0, 0], [1] * 3, [0] * 3]))


@check("bits: π is stationary, the step reversible", "binomial.prior", "binomial.forward")
def prior_is_stationary_and_the_step_reversible() -> float:
    """π(1) = r; Σ_x q(y | x) π(x) = π(y), and q(y | x) π(x) = q(x | y) π(y), for small β, large β and β = 1."""
    found = []
    for rate, beta in product(RATES, (0.01, 0.7, 1.0)):
        pi = binomial.prior((2, 3), rate=rate)
        joint = _both(pi)[:, 0, 0] * _both(binomial.forward(column(0, 1), column(beta, beta), rate=rate))[..., 0]
        found += [apart(pi.prob, np.full((2, 3), rate)), apart(joint.sum(axis=1), [1 - rate, rate]), apart(joint, joint.T)]
    return worst(*found)


@check("bits: posterior is Bayes' rule", "binomial.posterior")
def posterior_is_bayes_rule() -> float:
    """All four (x_t, x_0), for β_t = 1/(T−t+1): T = 5 at t = 2, 3 and 5, where β = 1; T = 2000 at t = 2, where x_{t−1} differs
    from x_t = x_0 in 4e-8 of all cases.   q(x_{t−1} | x_0) q(x_t | x_{t−1}), divided by its sum"""
    found = []
    for rate, (T, t) in product(RATES, ((5, 2), (5, 3), (5, 5), (2000, 2))):
        beta, drawn = Fraction(1, T - t + 1), Fraction(t - 1, T)
        before, step = _table(drawn, rate), _table(beta, rate)
        odds = [before[x_0][1] * step[1][x_t] / (before[x_0][0] * step[0][x_t]) for x_t, x_0 in PAIRS]
        q = binomial.posterior(X_T, X_0, column(*[float(beta)] * 4), column(*[log1p(-drawn)] * 4), rate=rate)
        found.append(apart(q.logit, column(*map(log, odds))))
    return worst(*found)


@check("bits: divergences by hand", "binomial.kl", "binomial.cross_entropy", "binomial.entropy", "binomial.log_prob")
def measures_by_hand() -> float:
    """KL(½ ‖ ¼) = ½ log 4/3, H(½) = log 2, −E log ¼ = ½ log 16/3 under ½, and log ¼ and log ¾ of the two values; KL near p is
    ½ p(1−p) δ², and from ½ to e^±700 it is 350 − log 2.  A bit that is certain has no entropy, and log 2 to ½."""
    half, quarter, x = Bernoulli(np.zeros((2, 1))), Bernoulli(np.full((2, 1), -log(3))), column(1, 0)
    near = binomial.kl(Bernoulli(a := np.linspace(-3, 3, 7)), Bernoulli(a + 1e-4))
    one, far, sure = np.ones((2, 1)), Bernoulli(column(700, -700)), Bernoulli(column(np.inf, -np.inf))
    certain = apart([binomial.entropy(sure), binomial.cross_entropy(sure, sure), binomial.cross_entropy(sure, half),
                     binomial.log_prob(x, sure)], [0 * one, 0 * one, log(2) * one, 0 * one])
    return worst(certain, apart(binomial.kl(half, quarter), log(4 / 3) / 2 * one), apart(binomial.entropy(half), log(2) * one),
                 apart(binomial.cross_entropy(half, quarter), log(16 / 3) / 2 * one), apart(binomial.kl(half, half), 0 * one),
                 apart(binomial.log_prob(x, quarter), column(log(1 / 4), log(3 / 4))),
                 apart(binomial.kl(half, far), (350 - log(2)) * one), apart(near, 0.5e-8 / (2 + 2 * np.cosh(a)), within=1e-3))


@check("bits: noise is uniform", "binomial.draw_noise")
def noise_is_uniform() -> float:
    """On [0, 1), with moments 1, 2 and 3 of 12000 draws and no correlation between rows, columns and calls: six standard errors
    each, so that another seed would raise a false alarm in 2·10⁻⁸ of all cases."""
    rng = np.random.default_rng(5)
    x, y = binomial.draw_noise(rng, (4000, 3)), binomial.draw_noise(rng, (4000, 3))
    u, v = x - 0.5, y - 0.5
    moments = ((x, 1 / 2, 1 / 12), (x ** 2, 1 / 3, 4 / 45), (x ** 3, 1 / 4, 9 / 112), (u * v, 0, 1 / 144),
               (u[1:] * u[:-1], 0, 1 / 144), (u[:, 1:] * u[:, :-1], 0, 1 / 144))
    return worst(passes(x.shape == (4000, 3), x >= 0, x < 1), *(abs(values.mean() - mean) / (6 * np.sqrt(variance / values.size))
                                                                for values, mean, variance in moments))
