"""The Gaussian kernel: Table App.1, left column, and the laws that follow from it.

One step of the diffusion keeps the share 1 − β of the variance and replaces the rest by noise,

    q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t),

so that π = N(0, 1) is stationary (eq. 1): a variance of 1 stays (1−β)·1 + β = 1.  More than that, the step obeys detailed balance.
Write T_π(y | x; β) for the law of the step from x to y (eq. 2); then

    π(x) T_π(y | x; β) = π(y) T_π(x | y; β)

because the exponent of either side is −(x² + y² − 2√(1−β) xy)/(2β), which does not change when x and y change places.  A chain that
starts at π therefore looks the same forwards and backwards, and the forward kernel is a reverse step too (eq. 44).

Steps compose: t of them multiply x_0 by √ᾱ_t and add noise of the variance 1 − ᾱ_t.  If x_t and x_0 are both given, the law of
x_{t−1} is known exactly (eq. 48); the learned reverse step is compared with this posterior.

Every function works component by component; an example is a row.  A value has the shape to which the arrays of its arguments are
broadcast, where no other is stated.  Levels are given as ℓ = log ᾱ (see `schedule`).  A kernel is a module with these names:
`binomial` has the same ones.
"""

from typing import NamedTuple

import numpy as np

from refdpm.activation import x_minus_log1p
from refdpm.doors import open_doors
from refdpm.paper import eq
from refdpm.vjp import Array, Pullback, unbroadcast

SMOOTH_DRAWS = True                 # what is drawn moves with its law, so that a gradient passes
LOG_2PI = float(np.log(2 * np.pi))
SMALLEST = float(np.finfo(np.float64).smallest_normal)


class Gaussian(NamedTuple):
    """Independent normal components: N(mean, var).  `var` is a variance and broadcasts against `mean`."""

    mean: Array
    var: Array


@eq("1", "4", "App.1 G prior")
def prior(shape: tuple[int, ...]) -> Gaussian:
    """π = N(0, 1) for states of `shape`: the law that x_t tends to as t grows.   Both mean and var have that shape."""
    return Gaussian(np.zeros(shape), np.ones(shape))


# -- forward -----------------------------------------------------------------------------------------------------------

@eq("2", "App.1 G forward")
def forward(x_prev: Array, beta: Array) -> Gaussian:
    """q(x_t | x_{t−1}) = N(√(1−β) x_{t−1}, β).

    Shapes: x_prev (N, …), beta (N, 1, …) → mean (N, …), var (N, 1, …).
    """
    return Gaussian(np.sqrt(1 - beta) * x_prev, beta)


def forward_vjp(x_prev: Array, beta: Array) -> tuple[Gaussian, Pullback]:
    """Adjoint of `forward`:

        dmean = √(1−β) dx_prev − x_prev/(2√(1−β)) dβ        dvar = dβ
    """
    q = forward(x_prev, beta)
    root = np.sqrt(1 - beta)

    def pullback(dq: Gaussian) -> tuple[Array, Array]:
        dbeta = unbroadcast(-x_prev / (2 * root) * dq.mean, beta.shape) + dq.var
        return unbroadcast(root * dq.mean, x_prev.shape), dbeta

    return q, pullback


@eq("App.1 G marginal")
def marginal(x_0: Array, log_alpha_bar: Array) -> Gaussian:
    """q(x_t | x_0) = N(√ᾱ_t x_0, 1 − ᾱ_t), t steps at once; ℓ = log ᾱ_t.

    Derivation: variances obey v_t = (1−β_t) v_{t−1} + β_t, hence 1 − v_t = (1−β_t)(1 − v_{t−1}) = ᾱ_t from v_0 = 0.
    Shapes: x_0 (N, …), log_alpha_bar (N, 1, …) → mean (N, …), var (N, 1, …).
    """
    return Gaussian(np.exp(log_alpha_bar / 2) * x_0, -np.expm1(log_alpha_bar))


def marginal_vjp(x_0: Array, log_alpha_bar: Array) -> tuple[Gaussian, Pullback]:
    """Adjoint of `marginal`:

        dmean = √ᾱ dx_0 + ½ mean dℓ        dvar = −ᾱ dℓ
    """
    q = marginal(x_0, log_alpha_bar)

    def pullback(dq: Gaussian) -> tuple[Array, Array]:
        dlevel = unbroadcast(q.mean / 2 * dq.mean, log_alpha_bar.shape) - np.exp(log_alpha_bar) * dq.var
        return unbroadcast(np.exp(log_alpha_bar / 2) * dq.mean, x_0.shape), dlevel

    return q, pullback


# -- posterior ---------------------------------------------------------------------------------------------------------

@eq("48", "App.1 G posterior")
def posterior(x_t: Array, x_0: Array, beta: Array, log_alpha_bar_prev: Array) -> Gaussian:
    """q(x_{t−1} | x_t, x_0).  With a = ᾱ_{t−1}, v = 1 − a and w = 1 − ᾱ_t,

        mean = (√a β/w) x_0 + (√(1−β) v/w) x_t        var = β v/w.

    Derivation: Bayes' rule (eq. 48) multiplies N(x_{t−1}; √a x_0, v) by N(x_t; √(1−β) x_{t−1}, β).  Precisions add:
    1/var = 1/v + (1−β)/β = w/(βv), because β + (1−β)v = w; and mean/var = √a x_0/v + √(1−β) x_t/β.
    w is formed as v + aβ, positive terms only.
    Shapes: x_t, x_0 (N, …); beta, log_alpha_bar_prev (N, 1, …) → mean (N, …), var (N, 1, …).
    Edge: at t = 1 it is exactly x_0 with variance 0; at β = 1 it no longer depends on x_t.
    """
    _, v, w = shares(beta, log_alpha_bar_prev)
    c_0, c_t = _weights(beta, log_alpha_bar_prev, v, w)
    return Gaussian(c_0 * x_0 + c_t * x_t, beta * v / w)


def shares(beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Array, Array]:
    """a = ᾱ_{t−1}, v = 1 − ᾱ_{t−1} and w = 1 − ᾱ_t = v + aβ, from the step's β and the level before it."""
    a, v = np.exp(log_alpha_bar_prev), -np.expm1(log_alpha_bar_prev)
    return a, v, v + a * beta


def _weights(beta: Array, log_alpha_bar_prev: Array, v: Array, w: Array) -> tuple[Array, Array]:
    """The posterior mean's weights c_0 of x_0 and c_t of x_t."""
    return np.exp(log_alpha_bar_prev / 2) * beta / w, np.sqrt(1 - beta) * v / w


def posterior_vjp(x_t: Array, x_0: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Gaussian, Pullback]:
    """Adjoint of `posterior`.  Write c_0, c_t for the two coefficients of the mean and ℓ = log a.  With da = a dℓ, dv = −a dℓ,
    dw = a dβ − a(1−β) dℓ, and w − aβ = v, w − (1−β)v = β to keep every sum free of cancellation,

        dmean = c_0 dx_0 + c_t dx_t + x_0 dc_0 + x_t dc_t
        dc_0  = (√a v/w²) dβ + c_0 (1/w − ½) dℓ
        dc_t  = −c_t [a/w + ½/(1−β)] dβ − (√(1−β) aβ/w²) dℓ
        dvar  = (v/w)² dβ − a (β/w)² dℓ.

    Domain: β < 1.
    """
    def pullback(dq: Gaussian) -> tuple[Array, Array, Array, Array]:
        a, v, w = shares(beta, log_alpha_bar_prev)
        c_0, c_t = _weights(beta, log_alpha_bar_prev, v, w)
        dc_0, dc_t = unbroadcast(x_0 * dq.mean, w.shape), unbroadcast(x_t * dq.mean, w.shape)
        dbeta = dc_0 * np.sqrt(a) * v / (w * w) - dc_t * c_t * (a / w + 0.5 / (1 - beta)) + dq.var * (v / w) ** 2
        dlevel = dc_0 * c_0 * (1 / w - 0.5) - dc_t * np.sqrt(1 - beta) * a * beta / (w * w) - dq.var * a * (beta / w) ** 2
        return (unbroadcast(c_t * dq.mean, x_t.shape), unbroadcast(c_0 * dq.mean, x_0.shape),
                unbroadcast(dbeta, beta.shape), unbroadcast(dlevel, log_alpha_bar_prev.shape))

    return posterior(x_t, x_0, beta, log_alpha_bar_prev), pullback


# -- divergence, entropy, density, draws ---------------------------------------------------------------------------------

@eq("14", "App.1 G bound")
def kl(q: Gaussian, p: Gaussian) -> Array:
    """D_KL(q ‖ p) per component, in nats:   ½ [ρ − 1 − log ρ + (q.mean − p.mean)²/p.var]   with ρ = q.var/p.var.

    Edge: near ρ = 1, where ρ − 1 and log ρ cancel, `x_minus_log1p` takes their difference; so kl(p, p) = 0 exactly.
    Domain: p.var > 0, q.var > 0.
    """
    difference = q.mean - p.mean
    return (_log_excess(q.var, p.var) + difference * difference / p.var) / 2


def kl_vjp(q: Gaussian, p: Gaussian) -> tuple[Array, Pullback]:
    """Adjoint of `kl`.  With r = (q.mean − p.mean)/p.var and δ = (q.var − p.var)/p.var,

        dD = r (dq.mean − dp.mean) + ½ (δ/q.var) dq.var − ½ (δ/p.var + r²) dp.var.

    Edge: δ/q.var is computed by dividing by the larger variance first, so that it is infinite only where the right number is.
    """
    value = kl(q, p)

    def pullback(dvalue: Array) -> tuple[Gaussian, Gaussian]:
        r, q_is_larger = (q.mean - p.mean) / p.var, np.real(q.var) > np.real(p.var)
        with np.errstate(over="ignore"):
            delta = (q.var - p.var) / p.var
            excess = (q.var - p.var) / np.where(q_is_larger, q.var, p.var) / np.where(q_is_larger, p.var, q.var)
        dmean = r * dvalue
        dq = Gaussian(unbroadcast(dmean, q.mean.shape), unbroadcast(dvalue * excess / 2, q.var.shape))
        dp = Gaussian(unbroadcast(-dmean, p.mean.shape),
                      unbroadcast(-dvalue * (delta / p.var + r * r) / 2, p.var.shape))
        return dq, dp

    return value, pullback


def _log_excess(u: Array, v: Array) -> Array:
    """ρ − 1 − log ρ for ρ = u/v."""
    with np.errstate(over="ignore", under="ignore"):
        ratio, delta = u / v, (u - v) / v
    near = (np.real(delta) > -0.5) & (np.real(delta) < 1)
    return np.where(near, x_minus_log1p(np.where(near, delta, 0.0)), ratio - 1 - _log_ratio(ratio, u, v))


def _log_ratio(ratio: Array, u: Array, v: Array) -> Array:
    """log(u/v) from the ratio; where that leaves the range of numbers, log u − log v, which then has as many digits."""
    normal = (np.real(ratio) >= SMALLEST) & (np.real(ratio) < np.inf)
    if normal.all():
        return np.log(ratio)
    return np.where(normal, np.log(np.where(normal, ratio, 1.0)), np.log(u) - np.log(v))


def entropy(q: Gaussian) -> Array:
    """H(q) per component, in nats:   ½ (1 + log 2π + log var)."""
    return (1 + LOG_2PI + np.log(q.var)) / 2 + np.zeros_like(q.mean)


def entropy_vjp(q: Gaussian) -> tuple[Array, Pullback]:
    """Adjoint of `entropy`:   dH = dvar/(2 var)."""

    def pullback(dvalue: Array) -> Gaussian:
        return Gaussian(np.zeros_like(q.mean), unbroadcast(dvalue / (2 * q.var), q.var.shape))

    return entropy(q), pullback


def cross_entropy(q: Gaussian, p: Gaussian) -> Array:
    """−E_q log p per component, in nats:   ½ [log 2π + log p.var + (q.var + (q.mean − p.mean)²)/p.var]  =  H(q) + D_KL(q ‖ p)."""
    difference = q.mean - p.mean
    return (LOG_2PI + np.log(p.var) + (q.var + difference * difference) / p.var) / 2


def cross_entropy_vjp(q: Gaussian, p: Gaussian) -> tuple[Array, Pullback]:
    """Adjoint of `cross_entropy`.  With r = (q.mean − p.mean)/p.var,

        dH = r (dq.mean − dp.mean) + dq.var/(2 p.var) + ½ (1/p.var − q.var/p.var² − r²) dp.var.
    """
    r = (q.mean - p.mean) / p.var

    def pullback(dvalue: Array) -> tuple[Gaussian, Gaussian]:
        dmean, dp_var = r * dvalue, dvalue * ((1 - q.var / p.var) / p.var - r * r) / 2
        return (Gaussian(unbroadcast(dmean, q.mean.shape), unbroadcast(dvalue / p.var / 2, q.var.shape)),
                Gaussian(unbroadcast(-dmean, p.mean.shape), unbroadcast(dp_var, p.var.shape)))

    return cross_entropy(q, p), pullback


def log_prob(x: Array, p: Gaussian) -> Array:
    """log p(x) per component, in nats:   −½ [log 2π + log var + (x − mean)²/var]."""
    difference = x - p.mean
    return -(LOG_2PI + np.log(p.var) + difference * difference / p.var) / 2


def log_prob_vjp(x: Array, p: Gaussian) -> tuple[Array, Pullback]:
    """Adjoint of `log_prob`.  With r = (x − mean)/var,

        dlog p = −r (dx − dmean) + ½ (r² − 1/var) dvar.
    """
    r = (x - p.mean) / p.var

    def pullback(dvalue: Array) -> tuple[Array, Gaussian]:
        dx = -r * dvalue
        return (unbroadcast(dx, x.shape),
                Gaussian(unbroadcast(-dx, p.mean.shape), unbroadcast(dvalue * (r * r - 1 / p.var) / 2, p.var.shape)))

    return log_prob(x, p), pullback


def draw(p: Gaussian, *, noise: Array) -> Array:
    """x ~ p from frozen standard normal noise:   mean + √var · noise."""
    return p.mean + np.sqrt(p.var) * noise


def draw_vjp(p: Gaussian, *, noise: Array) -> tuple[Array, Pullback]:
    """Adjoint of `draw`:   dx = dmean + noise/(2√var) dvar."""

    def pullback(dx: Array) -> Gaussian:
        return Gaussian(unbroadcast(dx, p.mean.shape), unbroadcast(dx * noise / (2 * np.sqrt(p.var)), p.var.shape))

    return draw(p, noise=noise), pullback


def draw_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The noise that `draw` expects, from a generator: standard normal."""
    return rng.standard_normal(shape)


open_doors(globals(), inside=("shares",))
