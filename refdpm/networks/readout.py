"""From the two heads of a network to the mean and variance of its reverse step p(x_{t−1} | x_t).

Three forms.  With both heads 0 each is the forward kernel N(√(1−β) x, β), the exact reversal of stationary data, so that
training starts from K = L_null and the network learns what is special about the data.

    eq65        the paper's, with the square root that eq. 65 lacks
    released    the authors' published code
    denoising   ours: mean and variance of x_0 given x_t, passed through the posterior

Why a third: of all steps with independent Gaussian components the best has the mean and the variances of q(x_{t−1} | x_t), and
those are the posterior's, averaged over x_0 given x_t.  Its heads have the same meaning and scale at every t.
"""

from typing import NamedTuple

import numpy as np

from refdpm.activation import logit, sigmoid
from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.gaussian import Gaussian, shares
from refdpm.paper import eq
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, unbroadcast

READOUTS = ("denoising", "eq65", "released")


class Heads(NamedTuple):
    """What the last layer puts out, per component: one number for the mean, one for the variance."""

    mean: Array
    var: Array


@eq("64", "65")
def eq65(heads: Heads, x_t: Array, beta: Array) -> Gaussian:
    """var = sigmoid(z_var + logit β)        mean = (x − z) √(1−var) + z,   z = z_mean: the state is pulled towards z,
    by 1 − √(1−var) = var/(1 + √(1−var)).

    The paper prints (1 − var) without the root.  With z = 0 many small steps would then shrink
    unit-variance data to half their variance.

    Shapes: heads two arrays (N, …), x_t (N, …), beta (N, 1, …) → mean and var (N, …).
    """
    log_odds = heads.var + logit(beta)
    var, keep = sigmoid(log_odds), np.sqrt(sigmoid(-log_odds))
    return Gaussian(keep * x_t + var / (1 + keep) * heads.mean, var)


def eq65_vjp(heads: Heads, x_t: Array, beta: Array) -> tuple[Gaussian, Pullback]:
    """Adjoint of `eq65`.  With u = z_var + logit β and k = √(1−var),

        du = dz_var + dβ/(β(1−β))        dvar = var (1−var) du        dk = −½ k var du
        dmean = k dx + (1−k) dz + (x−z) dk.

    Domain: β < 1.
    """
    p = eq65(heads, x_t, beta)

    def pullback(dp: Gaussian) -> tuple[Heads, Array, Array]:
        keep = np.sqrt(sigmoid(-(heads.var + logit(beta))))
        dkeep = unbroadcast(dp.mean * (x_t - heads.mean), keep.shape)
        du = dp.var * p.var * keep * keep - dkeep * keep * p.var / 2
        dheads = Heads(unbroadcast(p.var / (1 + keep) * dp.mean, heads.mean.shape), unbroadcast(du, heads.var.shape))
        return dheads, unbroadcast(keep * dp.mean, x_t.shape), unbroadcast(du / (beta * (1 - beta)), beta.shape)

    return p, pullback


def released(heads: Heads, x_t: Array, beta: Array, *, T: int) -> Gaussian:
    """var = sigmoid(z_var/√T + logit β)        mean = √(1−β) x + √β z_mean.

    Shapes: as for `eq65`.
    Source: the authors' published code; not in the paper.
    """
    log_odds = heads.var / T ** 0.5 + logit(beta)
    return Gaussian(np.sqrt(1 - beta) * x_t + np.sqrt(beta) * heads.mean, sigmoid(log_odds))


def released_vjp(heads: Heads, x_t: Array, beta: Array, *, T: int) -> tuple[Gaussian, Pullback]:
    """Adjoint of `released`.  With u = z_var/√T + logit β,

        du = dz_var/√T + dβ/(β(1−β))        dvar = var (1−var) du
        dmean = √(1−β) dx + √β dz_mean + ½ (z_mean/√β − x/√(1−β)) dβ.

    Domain: β < 1.
    """
    p = released(heads, x_t, beta, T=T)

    def pullback(dp: Gaussian) -> tuple[Heads, Array, Array]:
        keep, mix, log_odds = np.sqrt(1 - beta), np.sqrt(beta), heads.var / T ** 0.5 + logit(beta)
        du = dp.var * p.var * sigmoid(-log_odds)
        dheads = Heads(unbroadcast(mix * dp.mean, heads.mean.shape), unbroadcast(du / T ** 0.5, heads.var.shape))
        dbeta_mean = unbroadcast(dp.mean * (heads.mean / mix - x_t / keep) / 2, beta.shape)
        return dheads, unbroadcast(keep * dp.mean, x_t.shape), dbeta_mean + unbroadcast(du / (beta * (1 - beta)), beta.shape)

    return p, pullback


def denoising(heads: Heads, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> Gaussian:
    """The posterior of step t averaged over x_0 given x_t, for which the heads stand:

        E[x_0 | x_t] = √ᾱ_t x_t + z_mean        Var[x_0 | x_t] = (1−ᾱ_t) exp(z_var)        (stationary data: z = 0)

    With a = ᾱ_{t−1}, v = 1 − a, w = 1 − ᾱ_t and c_0 = √a β/w, the posterior's share of x_0,

        mean = √(1−β) x + c_0 z_mean        var = β v/w + c_0² w exp(z_var).

    Derivation: given x_0 too, x_{t−1} has mean c_0 x_0 + c_t x_t and variance βv/w; averaging over x_0 adds the variance of the
    mean (law of total variance), and c_0 √ᾱ_t + c_t = √(1−β).
    Shapes: heads two arrays (N, …), x_t (N, …); beta, log_alpha_bar_prev (N, 1, …) → mean and var (N, …).
    """
    a, v, w = shares(beta, log_alpha_bar_prev)
    mean = np.sqrt(1 - beta) * x_t + np.sqrt(a) * beta / w * heads.mean
    return Gaussian(mean, beta / w * (v + a * beta * np.exp(heads.var)))


def denoising_vjp(heads: Heads, x_t: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Gaussian, Pullback]:
    """Adjoint of `denoising`.  With ℓ = log a and y = c_0² w exp(z_var) = (aβ²/w) exp(z_var),

        dmean = √(1−β) dx + c_0 dz_mean + z_mean dc_0 − x/(2√(1−β)) dβ        dc_0 = (√a v/w²) dβ + c_0 (1/w − ½) dℓ
        dvar  = y dz_var + [(v/w)² + y (2/β − a/w)] dβ + [y/w − a (β/w)²] dℓ.

    Domain: β < 1.
    """
    def pullback(dp: Gaussian) -> tuple[Heads, Array, Array, Array]:
        a, v, w = shares(beta, log_alpha_bar_prev)
        keep, c_0 = np.sqrt(1 - beta), np.sqrt(a) * beta / w
        y = a * beta * beta / w * np.exp(heads.var)
        dheads = Heads(unbroadcast(c_0 * dp.mean, heads.mean.shape), unbroadcast(y * dp.var, heads.var.shape))
        dc_0 = dp.mean * heads.mean
        dbeta_keep = unbroadcast(-dp.mean * x_t / (2 * keep), beta.shape)
        dbeta_c_0, dlevel_c_0 = dc_0 * np.sqrt(a) * v / (w * w), dc_0 * c_0 * (1 / w - 0.5)
        dbeta_var, dlevel_var = dp.var * ((v / w) ** 2 + y * (2 / beta - a / w)), dp.var * (y / w - a * (beta / w) ** 2)
        dbeta = dbeta_keep + unbroadcast(dbeta_c_0, beta.shape) + unbroadcast(dbeta_var, beta.shape)
        dlevel = unbroadcast(dlevel_c_0, log_alpha_bar_prev.shape) + unbroadcast(dlevel_var, log_alpha_bar_prev.shape)
        return dheads, unbroadcast(keep * dp.mean, x_t.shape), dbeta, dlevel

    return denoising(heads, x_t, beta, log_alpha_bar_prev), pullback


# -- by name -----------------------------------------------------------------------------------------------------------

def read_out(heads: Heads, x_t: Array, step: Step, *, T: int, readout: str) -> Gaussian:
    """The read-out of that name, which takes from the step what it needs.

    Shapes: heads two arrays (N, …), x_t (N, …), step three columns (N, 1, …) → mean and var (N, …).
    Raises: ValueError for another name.
    """
    return read_out_vjp(heads, x_t, step, T=T, readout=readout)[0]


def read_out_vjp(heads: Heads, x_t: Array, step: Step, *, T: int, readout: str) -> tuple[Gaussian, Pullback]:
    """Adjoint of `read_out`; what it does not take from the step gets zeros."""
    if readout == "denoising":
        p, back = denoising_vjp(heads, x_t, step.beta, step.log_alpha_bar_prev)
    elif readout == "eq65":
        p, back = eq65_vjp(heads, x_t, step.beta)
    elif readout == "released":
        p, back = released_vjp(heads, x_t, step.beta, T=T)
    else:
        raise ValueError(f"readout: expected one of {READOUTS}, got {readout!r}")

    def pullback(dp: Gaussian) -> tuple[Heads, Array, Step]:
        dheads, dx_t, dbeta, *dlevel = back(dp)
        dprev = dlevel[0] if dlevel else np.zeros_like(step.log_alpha_bar_prev)
        return dheads, dx_t, Step(dbeta, dprev, np.zeros_like(step.log_alpha_bar))

    return p, pullback


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
