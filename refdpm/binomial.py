"""The binomial kernel: Table App.1, right column, for independent bits with any stationary rate of ones.

One step keeps a bit with probability 1 − β and otherwise draws it anew from π, which has the rate r of ones:

    q(x_t = 1 | x_{t−1}) = x_{t−1} (1−β_t) + r β_t.

The table prints r = ½; the paper's heartbeat has r = 0.2.  β is the probability of a fresh draw, not of a flip: a one flips with
probability β(1−r), a zero with βr.  If x_{t−1} has the law π, both flips are equally frequent, r·β(1−r) = (1−r)·βr.  So π is
stationary (eq. 1), and the step obeys detailed balance (eq. 44, see `gaussian`).  After t steps the bit is still the old one with
probability ᾱ_t = ∏(1−β_s), and otherwise it is a draw from π.  There are no roots here, because a bit is kept as a whole, and is
not multiplied by a factor.

Two things differ from the Gaussian chain.  The entropy H(x_t | x_0) depends on x_0, unless r = ½, where ones and zeros become
uncertain equally fast; so it is an average over the data.  And no gradient passes a draw: a small change of its probability does
not change a bit.  So the schedule of a binomial chain is fixed, and `bound` gives no gradient with respect to it.  The paper takes
`schedule.reciprocal`, with which an equal share of the bits, 1/T, is drawn for the first time at every step.

A law is given by its logits.  After thousands of steps the posterior's flip rates fall to 1e-8: the logit of 1 − 1e-8 is then
exact to rounding, but the probability itself has lost half of its digits.  The names are those of `gaussian`, and a value has the
shape to which the arrays of its arguments are broadcast.  Every function also takes numbers between 0 and 1 for bits, so that its
adjoint can be checked, though only 0 and 1 have a meaning.
"""

from typing import NamedTuple

import numpy as np

from refdpm.activation import expm1_minus_x, logit, sigmoid, sigmoids, softplus, x_minus_log1p
from refdpm.doors import open_doors
from refdpm.paper import eq
from refdpm.vjp import Array, Pullback, unbroadcast


SMOOTH_DRAWS = False                # a bit is drawn by comparing: it stays, or jumps


class Bernoulli(NamedTuple):
    """Independent bits with P(1) = sigmoid(logit)."""

    logit: Array

    @property
    def prob(self) -> Array:
        """P(1) of every bit."""
        return sigmoid(self.logit)


@eq("1", "4", "App.1 B prior")
def prior(shape: tuple[int, ...], *, rate: float = 0.5) -> Bernoulli:
    """π for states of `shape`: every bit is 1 with probability `rate`."""
    return Bernoulli(logit(np.full(shape, rate)))


# -- forward -----------------------------------------------------------------------------------------------------------

@eq("2", "App.1 B forward")
def forward(x_prev: Array, beta: Array, *, rate: float = 0.5) -> Bernoulli:
    """q(x_t | x_{t−1}):   P(1) = x (1−β) + rβ,   P(0) = (1−x)(1−β) + (1−r)β.

    Shapes: x_prev (N, …), beta (N, 1, …) → as x_prev.
    """
    return _by_odds(*_after_draw(x_prev, 1 - beta, beta, rate))


def _after_draw(x: Array, kept: Array, drawn: Array, rate: float) -> tuple[Array, Array]:
    """P(1) and P(0) of a bit that is kept, or drawn anew from π."""
    one, zero = kept * x, kept * (1 - x)
    one += drawn * rate
    zero += drawn * (1 - rate)
    return one, zero


def _by_odds(one: Array, zero: Array) -> Bernoulli:
    """The law with these P(1) and P(0)."""
    return Bernoulli(np.log(one / zero))


def forward_vjp(x_prev: Array, beta: Array, *, rate: float = 0.5) -> tuple[Bernoulli, Pullback]:
    """Adjoint of `forward`.  With p = P(1),

        dlogit = dp/(p(1−p))        dp = (1−β) dx_prev + (r − x_prev) dβ.
    """
    one, zero = _after_draw(x_prev, 1 - beta, beta, rate)

    def pullback(dq: Bernoulli) -> tuple[Array, Array]:
        dp = dq.logit / (one * zero)
        return unbroadcast((1 - beta) * dp, x_prev.shape), unbroadcast((rate - x_prev) * dp, beta.shape)

    return _by_odds(one, zero), pullback


def _variance(logit: Array) -> Array:
    """p(1−p)."""
    one, zero = sigmoids(logit)
    return one * zero


@eq("App.1 B marginal")
def marginal(x_0: Array, log_alpha_bar: Array, *, rate: float = 0.5) -> Bernoulli:
    """q(x_t | x_0):   P(1) = ᾱ_t x_0 + (1−ᾱ_t) r,   P(0) = ᾱ_t (1−x_0) + (1−ᾱ_t)(1−r).

    Derivation: with probability ∏(1−β) = ᾱ_t a bit has not been drawn anew in any of t steps; otherwise it is a draw from π.
    Shapes: x_0 (N, …), log_alpha_bar (N, 1, …) → as x_0.   Domain: ℓ < 0.
    """
    return _by_odds(*_after_draw(x_0, np.exp(log_alpha_bar), -np.expm1(log_alpha_bar), rate))


def marginal_vjp(x_0: Array, log_alpha_bar: Array, *, rate: float = 0.5) -> tuple[Bernoulli, Pullback]:
    """Adjoint of `marginal`.  With p = P(1),

        dlogit = dp/(p(1−p))        dp = ᾱ dx_0 + ᾱ (x_0 − r) dℓ.
    """
    kept = np.exp(log_alpha_bar)
    one, zero = _after_draw(x_0, kept, -np.expm1(log_alpha_bar), rate)

    def pullback(dq: Bernoulli) -> tuple[Array, Array]:
        dp = kept * dq.logit / (one * zero)
        return unbroadcast(dp, x_0.shape), unbroadcast((x_0 - rate) * dp, log_alpha_bar.shape)

    return _by_odds(one, zero), pullback


# -- posterior ---------------------------------------------------------------------------------------------------------

@eq("48", "App.1 B posterior")
def posterior(x_t: Array, x_0: Array, beta: Array, log_alpha_bar_prev: Array, *, rate: float = 0.5) -> Bernoulli:
    """q(x_{t−1} | x_t, x_0):   logit = logit m + x_t A + (1−x_t) B   with m = q(x_{t−1} = 1 | x_0), and what x_t adds:

        A = log [(1−β+rβ)/(rβ)]        B = log [(1−r)β/(1−β+(1−r)β)]

    Derivation: Bayes' rule for odds: the odds of x_{t−1} given x_0 alone are multiplied by q(x_t | 1)/q(x_t | 0).
    Shapes: x_t, x_0 (N, …); beta, log_alpha_bar_prev (N, 1, …) → as x_0.
    Edge: at β = 1 both A and B are 0, and x_t says nothing.   Domain: t ≥ 2; at t = 1 it is x_0 itself, with infinite logit.
    """
    if_one, if_zero = _evidence(beta, rate)
    return Bernoulli(marginal(x_0, log_alpha_bar_prev, rate=rate).logit + x_t * if_one + (1 - x_t) * if_zero)


def _evidence(beta: Array, rate: float) -> tuple[Array, Array]:
    kept = 1 - beta
    return np.log(kept + rate * beta) - np.log(rate * beta), np.log((1 - rate) * beta) - np.log(kept + (1 - rate) * beta)


def posterior_vjp(x_t: Array, x_0: Array, beta: Array, log_alpha_bar_prev: Array, *, rate: float = 0.5
                  ) -> tuple[Bernoulli, Pullback]:
    """Adjoint of `posterior`:

        dlogit = dlogit m + (A − B) dx_t + (x_t A' + (1−x_t) B') dβ
        A' = −(1−r)/(1−β+rβ) − 1/β        B' = 1/β + r/(1−β+(1−r)β).
    """
    _, back_marginal = marginal_vjp(x_0, log_alpha_bar_prev, rate=rate)
    if_one, if_zero = _evidence(beta, rate)

    def pullback(dq: Bernoulli) -> tuple[Array, Array, Array, Array]:
        of_one, of_zero = (1 / beta + other / (1 - beta + (1 - other) * beta) for other in (1 - rate, rate))
        dx_t = unbroadcast((if_one - if_zero) * dq.logit, x_t.shape)
        dbeta = unbroadcast(((1 - x_t) * of_zero - x_t * of_one) * dq.logit, beta.shape)
        dx_0, dlevel = back_marginal(dq)                         # which sums over what m was stretched along
        return dx_t, dx_0, dbeta, dlevel

    return posterior(x_t, x_0, beta, log_alpha_bar_prev, rate=rate), pullback


# -- divergence, entropy, mass, draws ------------------------------------------------------------------------------------

NEAR = 1.3                          # the differences of logits up to which `kl` has series


@eq("14", "App.1 B bound")
def kl(q: Bernoulli, p: Bernoulli) -> Array:
    """D_KL(q ‖ p) per bit, in nats, from logits a and b:   softplus(b) − softplus(a) − s (b−a),   s = sigmoid(a).

    Edge: near a = b the three terms cancel.  With d = b − a and u = s (e^d − 1) the first two are log(1+u), and

        D = s (e^d − 1 − d) − (u − log(1+u)),

    where a and b have their signs changed first if a + b > 0 (for larger d, if a > 0), which changes no divergence, and keeps the
    second term at most two thirds of the first.
    kl(p, p) = 0 exactly, for an infinite logit too.  Where p excludes a value that q does not exclude, D is infinite.
    """
    a, d = np.broadcast_arrays(q.logit, _difference(p.logit, q.logit))
    near = np.abs(np.real(d)) < NEAR
    if near.all():
        return _near(a, d)
    value, apart = np.asarray(_near(a, np.where(near, d, 0.0))), ~near
    value[apart] = _apart(a[apart], np.broadcast_to(p.logit, a.shape)[apart], d[apart])
    return value


def _difference(b: Array, a: Array) -> Array:
    """b − a, 0 where both are the same, infinite ones too."""
    with np.errstate(invalid="ignore"):
        difference = b - a
    return difference if np.isfinite(difference).all() else np.where(b == a, 0.0, difference)


def kl_vjp(q: Bernoulli, p: Bernoulli) -> tuple[Array, Pullback]:
    """Adjoint of `kl`:   dD = s (1−s) (a − b) da + (sigmoid(b) − s) db."""

    def pullback(dvalue: Array) -> tuple[Bernoulli, Bernoulli]:
        one, zero = sigmoids(q.logit)
        dq = _zero_safe_product(one * zero, _difference(q.logit, p.logit)) * dvalue
        dp = _rise(one, zero, p.logit) * dvalue
        return Bernoulli(unbroadcast(dq, q.logit.shape)), Bernoulli(unbroadcast(dp, p.logit.shape))

    return kl(q, p), pullback


def _near(a: Array, d: Array) -> Array:
    """The series, which is 0 at d = 0."""
    flip = _minus_where(a + d / 2)
    s, d = sigmoid(flip * a), flip * d
    rest = expm1_minus_x(d)
    return s * rest - x_minus_log1p(s * (d + rest))


def _apart(a: Array, b: Array, d: Array) -> Array:
    """The three terms."""
    flip = _minus_where(a)
    a, b, d = flip * a, flip * b, flip * d
    return softplus(b) - softplus(a) - _zero_safe_product(sigmoid(a), np.where(b == np.inf, 0.0, d))


def _minus_where(x: Array) -> Array:
    """−1 where x > 0, and 1 elsewhere."""
    return 1 - 2 * (np.real(x) > 0).astype(np.real(x).dtype)


def _rise(one: Array, zero: Array, b: Array) -> Array:
    """sigmoid(b) − one, which keeps its digits where both are near 1."""
    one_b, zero_b = sigmoids(b)
    return zero * one_b - one * zero_b


def _zero_safe_product(weight: Array, x: Array) -> Array:
    """weight · x, and 0 where the weight is 0, as 0 · log 0 is meant."""
    return weight * (x if np.isfinite(x).all() else np.where(weight == 0, 0.0, x))


def entropy(q: Bernoulli) -> Array:
    """H(q) per bit, in nats:   softplus(−|a|) + |a| sigmoid(−|a|), a sum of positive terms."""
    less_likely = np.minimum(q.logit, -q.logit)
    return softplus(less_likely) - _zero_safe_product(sigmoid(less_likely), less_likely)


def entropy_vjp(q: Bernoulli) -> tuple[Array, Pullback]:
    """Adjoint of `entropy`:   dH = −a s (1−s) da,   s = sigmoid(a)."""
    return entropy(q), lambda dvalue: Bernoulli(-_zero_safe_product(_variance(q.logit), q.logit) * dvalue)


def cross_entropy(q: Bernoulli, p: Bernoulli) -> Array:
    """−E_q log p per bit, in nats:   s softplus(−b) + (1−s) softplus(b)."""
    one, zero = sigmoids(q.logit)
    return _zero_safe_product(one, softplus(-p.logit)) + _zero_safe_product(zero, softplus(p.logit))


def cross_entropy_vjp(q: Bernoulli, p: Bernoulli) -> tuple[Array, Pullback]:
    """Adjoint of `cross_entropy`:   dH = −s (1−s) b da + (sigmoid(b) − s) db."""

    def pullback(dvalue: Array) -> tuple[Bernoulli, Bernoulli]:
        one, zero = sigmoids(q.logit)
        dq, dp = -_zero_safe_product(one * zero, p.logit) * dvalue, _rise(one, zero, p.logit) * dvalue
        return Bernoulli(unbroadcast(dq, q.logit.shape)), Bernoulli(unbroadcast(dp, p.logit.shape))

    return cross_entropy(q, p), pullback


def log_prob(x: Array, p: Bernoulli) -> Array:
    """log p(x) per bit, in nats:   −x softplus(−b) − (1−x) softplus(b)."""
    return -_zero_safe_product(x, softplus(-p.logit)) - _zero_safe_product(1 - x, softplus(p.logit))


def log_prob_vjp(x: Array, p: Bernoulli) -> tuple[Array, Pullback]:
    """Adjoint of `log_prob`:   dlog p = b dx + (x − sigmoid(b)) db,   with x − sigmoid(b) = x sigmoid(−b) − (1−x) sigmoid(b)."""

    def pullback(dvalue: Array) -> tuple[Array, Bernoulli]:
        one, zero = sigmoids(p.logit)
        dp = (x * zero - (1 - x) * one) * dvalue
        return unbroadcast(p.logit * dvalue, x.shape), Bernoulli(unbroadcast(dp, p.logit.shape))

    return log_prob(x, p), pullback


def draw(p: Bernoulli, *, noise: Array) -> Array:
    """x ~ p from frozen noise uniform on [0, 1):   1 where noise < P(1)."""
    return (noise < np.real(sigmoid(p.logit))).astype(p.logit.dtype)


def draw_vjp(p: Bernoulli, *, noise: Array) -> tuple[Array, Pullback]:
    """Adjoint of `draw`:   dx = 0, almost everywhere."""
    return draw(p, noise=noise), lambda dx: Bernoulli(np.zeros(p.logit.shape, np.result_type(p.logit, dx)))


def draw_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The noise that `draw` expects, from a generator: uniform on [0, 1)."""
    return rng.random(shape)


open_doors(globals())
