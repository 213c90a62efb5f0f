"""From the two heads of a network to the mean and variance of its reverse step p(x_{t−1} | x_t).

Three forms, each of which is the forward kernel N(√(1−β) x, β) (the exact reversal of stationary data) at a named value
of the heads, so that a network starts from K = L_null and learns the difference.

    eq65        the paper's, with the square root that eq. 65 lacks          forward kernel at heads 0, 0
    released    the authors' published code                                  forward kernel at heads 0, 0
    denoising   ours: the heads are mean and log-variance of x_0 given x_t   forward kernel at heads √ᾱ x, 0

Why a third: the best Gaussian step with independent components has the mean and variances of q(x_{t−1} | x_t) itself, and
those are the posterior's, averaged over x_0 given x_t.  The heads then have the same meaning and scale at every t.
"""

from typing import NamedTuple

import numpy as np

from refdpm import gaussian
from refdpm.gaussian import Gaussian
from refdpm.layers.activation import logit, sigmoid
from refdpm.paper import eq
from refdpm.vjp import Array, Pullback, unbroadcast


class Heads(NamedTuple):
    """What the last layer puts out, per component: one number for the mean, one for the variance."""

    mean: Array
    var: Array


@eq("64", "65")
def eq65(heads: Heads, x_t: Array, beta: Array) -> Gaussian:
    """var = sigmoid(z_var + logit β)        mean = (x − z) √(1−var) + z,   z = z_mean: the state is pulled towards z.

    The paper prints (1 − var) without the root.  With z = 0 that would shrink unit-variance data to half their variance.

    Shapes: heads two arrays (N, …), x_t (N, …), beta (N, 1, …).
    """
    log_odds = heads.var + logit(beta)
    keep = np.sqrt(sigmoid(-log_odds))
    return Gaussian((x_t - heads.mean) * keep + heads.mean, sigmoid(log_odds))


def eq65_vjp(heads: Heads, x_t: Array, beta: Array) -> tuple[Gaussian, Pullback]:
    """Adjoint of `eq65`.  With u = z_var + logit β and k = √(1−var),

        du = dz_var + dβ/(β(1−β))        dvar = var (1−var) du        dk = −½ k var du
        dmean = k dx + (1−k) dz + (x−z) dk.

    Domain: β < 1.
    """
    p = eq65(heads, x_t, beta)
    keep = np.sqrt(sigmoid(-(heads.var + logit(beta))))

    def pullback(dp: Gaussian) -> tuple[Heads, Array, Array]:
        dkeep = dp.mean * (x_t - heads.mean)
        du = dp.var * p.var * keep * keep - dkeep * keep * p.var / 2
        return Heads((1 - keep) * dp.mean, du), keep * dp.mean, unbroadcast(du / (beta * (1 - beta)), beta.shape)

    return p, pullback


def released(heads: Heads, x_t: Array, beta: Array, *, T: int) -> Gaussian:
    """var = sigmoid(z_var/√T + logit β)        mean = √(1−β) x + √β z_mean.

    Shapes: as for `eq65`.
    Source: the authors' published code; not in the paper.
    """
    var = sigmoid(heads.var / np.sqrt(T) + logit(beta))
    return Gaussian(np.sqrt(1 - beta) * x_t + np.sqrt(beta) * heads.mean, var)


def released_vjp(heads: Heads, x_t: Array, beta: Array, *, T: int) -> tuple[Gaussian, Pullback]:
    """Adjoint of `released`.  With u = z_var/√T + logit β,

        du = dz_var/√T + dβ/(β(1−β))        dvar = var (1−var) du
        dmean = √(1−β) dx + √β dz_mean + ½ (z_mean/√β − x/√(1−β)) dβ.

    Domain: β < 1.
    """
    p = released(heads, x_t, beta, T=T)
    keep, mix = np.sqrt(1 - beta), np.sqrt(beta)

    def pullback(dp: Gaussian) -> tuple[Heads, Array, Array]:
        du = dp.var * p.var * (1 - p.var)
        dbeta = du / (beta * (1 - beta)) + dp.mean * (heads.mean / mix - x_t / keep) / 2
        return Heads(mix * dp.mean, du / np.sqrt(T)), keep * dp.mean, unbroadcast(dbeta, beta.shape)

    return p, pullback


def denoising(heads: Heads, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> Gaussian:
    """The posterior of step t averaged over x_0 ~ N(z_mean, V), V = (1−ᾱ_t) exp(z_var).

        mean = c_0 z_mean + c_t x_t        var = s² + c_0² V

    where c_0, c_t and s² are the coefficients and the variance of `gaussian.posterior`.

    Derivation: x_{t−1} given x_t and x_0 has mean c_0 x_0 + c_t x_t and variance s²; averaging over x_0 given x_t adds the
    variance of the mean (law of total variance).  Stationary data have E[x_0|x_t] = √ᾱ_t x_t and Var = 1 − ᾱ_t.
    Shapes: heads two arrays (N, …), x_t (N, …); beta, log_alpha_bar_prev (N, 1, …).
    """
    return denoising_vjp(heads, x_t, beta, log_alpha_bar_prev)[0]


def denoising_vjp(heads: Heads, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Gaussian, Pullback]:
    """Adjoint of `denoising`, by wiring: the posterior at x_0 = z_mean, and `spread` for what it adds to the variance."""
    q, back_posterior = gaussian.posterior_vjp(x_t, heads.mean, beta, log_alpha_bar_prev)
    added, back_spread = spread_vjp(heads.var, beta, log_alpha_bar_prev)
    p = Gaussian(q.mean, q.var + added)

    def pullback(dp: Gaussian) -> tuple[Heads, Array, Array, Array]:
        dz_var, dbeta_spread, dlevel_spread = back_spread(dp.var)
        dx_t, dz_mean, dbeta, dlevel = back_posterior(Gaussian(dp.mean, unbroadcast(dp.var, q.var.shape)))
        return Heads(dz_mean, dz_var), dx_t, dbeta + dbeta_spread, dlevel + dlevel_spread

    return p, pullback


def spread(z_var: Array, beta: Array, log_alpha_bar_prev: Array) -> Array:
    """What not knowing x_0 adds to the variance of x_{t−1}:   c_0² V = (a β²/w) exp(z_var),   a = ᾱ_{t−1}, w = 1 − ᾱ_t."""
    a = np.exp(log_alpha_bar_prev)
    return a * beta * beta / _noise(beta, log_alpha_bar_prev) * np.exp(z_var)


def spread_vjp(z_var: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Pullback]:
    """Adjoint of `spread`.  With dw = a dβ − a(1−β) dℓ,

        dy = y (dz_var + dℓ + 2 dβ/β − dw/w) = y (dz_var + dℓ/w + (2/β − a/w) dβ),   because 1 + a(1−β)/w = 1/w.
    """
    y = spread(z_var, beta, log_alpha_bar_prev)
    a, w = np.exp(log_alpha_bar_prev), _noise(beta, log_alpha_bar_prev)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dz_var = dy * y
        summed = unbroadcast(dz_var, beta.shape)
        return dz_var, summed * (2 / beta - a / w), summed / w

    return y, pullback


def _noise(beta: Array, log_alpha_bar_prev: Array) -> Array:
    """1 − ᾱ_t from step t's β and the level before it: a sum of positive terms."""
    return np.exp(log_alpha_bar_prev) * beta - np.expm1(log_alpha_bar_prev)
