"""Signal-to-noise ratios, and what an error of the network costs.

A step's divergence is that of two normal laws.  Where both have the posterior's variance β̃ = βv/w only their means differ, by
c_0 (x_0 − x̂_0), so that

    KL = ½ (c_0²/β̃) (x_0 − x̂_0)² = ½ (SNR_{t−1} − SNR_t) (x_0 − x̂_0)²        SNR = ᾱ/(1−ᾱ).

Summed over t the drop in SNR is all that the schedule does to this loss.  With short steps the sum is ½ ∫ E (x_0 − x̂_0)² dSNR
between the ratios at its ends, however the schedule gets there.  With T steps it is more, for a step counts the error where it
ends, and the error grows as SNR falls: each step too much by ½ ΔSNR times that growth, of the order 1/T², and all of them by
1/T.  An error Δ of any other prediction is the same error of x_0 in other units, |Δ|² = `error_weight` · (x_0 − x̂_0)², and KL = ½
· `kl_weight` · |Δ|².  The "simple" loss of Ho et al. is |Δε|² with that weight left out.

Every weight is a product of powers of a, β, 1−β, v and w (see `later`): nothing is subtracted, and each keeps all its digits.

Shapes: x_0, guess (N, …); beta, log_alpha_bar, log_alpha_bar_prev (N, 1, …).
"""

from typing import NamedTuple

import numpy as np

from refdpm.doors import open_doors
from refdpm.gaussian import shares
from refdpm.later.mean import PREDICTIONS
from refdpm.vjp import Array, Pullback, unbroadcast


class Powers(NamedTuple):
    """The exponents of a product a^· β^· (1−β)^· v^· w^·."""

    a: int = 0
    beta: int = 0
    keep: int = 0
    v: int = 0
    w: int = 0


ERROR = {"x_0": Powers(), "noise": Powers(a=1, keep=1, w=-1), "v": Powers(w=-1), "score": Powers(a=1, keep=1, w=-2),
         "mean": Powers(a=1, beta=2, w=-2)}
KL = {"x_0": Powers(a=1, beta=1, v=-1, w=-1), "noise": Powers(beta=1, keep=-1, v=-1), "v": Powers(a=1, beta=1, v=-1),
      "score": Powers(beta=1, keep=-1, v=-1, w=1), "mean": Powers(beta=-1, v=-1, w=1)}


LOSS_WEIGHTS = ("none", "snr", "min_snr", "bound")
SNR = Powers(a=1, keep=1, w=-1)


def snr(log_alpha_bar: Array) -> Array:
    """ᾱ/(1−ᾱ) = 1/(1/ᾱ − 1).   Domain: ᾱ < 1."""
    return np.exp(log_alpha_bar) / -np.expm1(log_alpha_bar)


def snr_vjp(log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `snr`:   dSNR = SNR/(1−ᾱ) dℓ."""
    value = snr(log_alpha_bar)
    return value, lambda dvalue: -value / np.expm1(log_alpha_bar) * dvalue


def log_snr(log_alpha_bar: Array) -> Array:
    """log SNR = ℓ − log(1−ᾱ), of which λ is half: the coordinate of DPM-Solver, and of schedules in continuous time.

    Domain: 0 < ᾱ < 1.
    """
    return log_alpha_bar - np.log(-np.expm1(log_alpha_bar))


def log_snr_vjp(log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `log_snr`:   dlog SNR = dℓ/(1−ᾱ)."""
    return log_snr(log_alpha_bar), lambda dvalue: -dvalue / np.expm1(log_alpha_bar)


def error_weight(beta: Array, log_alpha_bar_prev: Array, *, predicts: str) -> Array:
    """The square of an error of that prediction, for an error 1 of x_0:

        x_0  1        noise  ᾱ_t/w        v  1/w        score  ᾱ_t/w²        mean  c_0² = aβ²/w².

    Raises: ValueError for another name.
    """
    return _product(beta, log_alpha_bar_prev, _powers(ERROR, predicts))


def error_weight_vjp(beta: Array, log_alpha_bar_prev: Array, *, predicts: str) -> tuple[Array, Pullback]:
    """Adjoint of `error_weight`: as for every product of powers, see `kl_weight_vjp`."""
    return _product_vjp(beta, log_alpha_bar_prev, _powers(ERROR, predicts))


def kl_weight(beta: Array, log_alpha_bar_prev: Array, *, predicts: str) -> Array:
    """Twice the divergence of a step with the posterior's variance, for an error 1 of that prediction:

        x_0  aβ/(vw) = SNR_{t−1} − SNR_t        noise  β/((1−β)v) = SNR_{t−1}/SNR_t − 1        v  aβ/v
        score  βw/((1−β)v)                      mean   w/(βv), the posterior's precision.

    Derivation: a/v − a(1−β)/w = a [w − (1−β)v]/(vw), and w − (1−β)v = β; the others are this, divided by `error_weight`.
    Domain: t ≥ 2; at t = 1 the posterior has no variance, and any error costs infinitely much.
    Raises: ValueError for another name.
    """
    return _product(beta, log_alpha_bar_prev, _powers(KL, predicts))


def kl_weight_vjp(beta: Array, log_alpha_bar_prev: Array, *, predicts: str) -> tuple[Array, Pullback]:
    """Adjoint of `kl_weight`.  A product of powers changes by the sum of its exponents times

        dlog a = dℓ    dlog β = dβ/β    dlog(1−β) = −dβ/(1−β)    dlog v = −(a/v) dℓ    dlog w = [a dβ − a(1−β) dℓ]/w.

    Exponents p of β, q of v and r of w leave differences where they have opposite signs.  With w = v + aβ = (1−β) v + β those are

        p/β + ra/w = [pv + (p+r) aβ]/(βw)        −qa/v − ra(1−β)/w = −a [qβ + (q+r)(1−β) v]/(vw).

    Domain: β < 1 where 1−β has a power.
    """
    return _product_vjp(beta, log_alpha_bar_prev, _powers(KL, predicts))


def loss_weight(beta: Array, log_alpha_bar_prev: Array, *, predicts: str, weight: str, gamma: float) -> Array:
    """The weight of a squared error of that prediction in a training loss; SNR is that of t:

        none      1, whatever is predicted
        snr       SNR per error of x_0: 1 for noise, SNR/(SNR + 1) for v
        min_snr   min(SNR, γ) per error of x_0: min(SNR, γ)/SNR for noise, min(SNR, γ)/(SNR + 1) for v
        bound     ½ (SNR_{t−1} − SNR_t) per error of x_0, half of `kl_weight`

    and what is meant per error of x_0 is divided by `error_weight` for another prediction.
    Domain: t ≥ 2 for "bound".   Raises: ValueError for another name.   Source: Hang et al. 2023 (min_snr).
    """
    return loss_weight_vjp(beta, log_alpha_bar_prev, predicts=predicts, weight=weight, gamma=gamma)[0]


def loss_weight_vjp(beta: Array, log_alpha_bar_prev: Array, *, predicts: str, weight: str, gamma: float
                    ) -> tuple[Array, Pullback]:
    """Adjoint of `loss_weight`: each is a product of powers, and min_snr one of two of them, row by row."""
    error = _powers(ERROR, predicts)
    match weight:
        case "none":
            return _product_vjp(beta, log_alpha_bar_prev, Powers())
        case "snr":
            return _product_vjp(beta, log_alpha_bar_prev, _divided(SNR, error))
        case "bound":
            value, back = kl_weight_vjp(beta, log_alpha_bar_prev, predicts=predicts)
            return value / 2, lambda dvalue: back(dvalue / 2)
        case "min_snr":
            return _smaller_vjp(beta, log_alpha_bar_prev, error, gamma)
    raise ValueError(f"weight: expected one of {LOSS_WEIGHTS}, got {weight!r}")


def _smaller_vjp(beta: Array, log_alpha_bar_prev: Array, error: Powers, gamma: float) -> tuple[Array, Pullback]:
    by_ratio, back_ratio = _product_vjp(beta, log_alpha_bar_prev, _divided(SNR, error))
    by_gamma, back_gamma = _product_vjp(beta, log_alpha_bar_prev, _divided(Powers(), error))
    below = np.real(_product(beta, log_alpha_bar_prev, SNR)) < gamma

    def pullback(dvalue: Array) -> tuple[Array, Array]:
        parts = back_ratio(np.where(below, dvalue, 0)), back_gamma(np.where(below, 0, gamma * dvalue))
        return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]

    return np.where(below, by_ratio, gamma * by_gamma), pullback


def p2_weight(log_alpha_bar: Array, *, k: float, gamma: float) -> Array:
    """(k + SNR)^−γ for a squared error of the noise: less for the steps at which little noise hides details (Choi et al. 2022)."""
    return (k + snr(log_alpha_bar)) ** -gamma


def p2_weight_vjp(log_alpha_bar: Array, *, k: float, gamma: float) -> tuple[Array, Pullback]:
    """Adjoint of `p2_weight`:   dW = −γ W/(k + SNR) dSNR."""
    value, (ratio, back) = p2_weight(log_alpha_bar, k=k, gamma=gamma), snr_vjp(log_alpha_bar)
    return value, lambda dvalue: back(-gamma * value / (k + ratio) * dvalue)


def kl_of_x_0(x_0: Array, guess: Array, beta: Array, log_alpha_bar_prev: Array) -> Array:
    """½ (SNR_{t−1} − SNR_t) (x_0 − guess)² per component, in nats: the divergence of a step with the posterior's variance."""
    return kl_of_x_0_vjp(x_0, guess, beta, log_alpha_bar_prev)[0]


def kl_of_x_0_vjp(x_0: Array, guess: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Pullback]:
    """Adjoint of `kl_of_x_0`.  With W the weight and Δ = x_0 − guess,   dKL = W Δ (dx_0 − dguess) + ½ Δ² dW."""
    return _squared_error_vjp(x_0, guess, beta, log_alpha_bar_prev, predicts="x_0")


def kl_of_v(v: Array, guess: Array, beta: Array, log_alpha_bar_prev: Array) -> Array:
    """½ ᾱ_{t−1} β_t/(1−ᾱ_{t−1}) (v − guess)² per component, in nats: the same divergence where the network says v.

    Derivation: given x_t, an error Δ of v is one of √(1−ᾱ_t) Δ in x_0, and SNR_{t−1} − SNR_t = ᾱ_{t−1} β_t/[(1−ᾱ_{t−1})(1−ᾱ_t)].
    """
    return kl_of_v_vjp(v, guess, beta, log_alpha_bar_prev)[0]


def kl_of_v_vjp(v: Array, guess: Array, beta: Array, log_alpha_bar_prev: Array) -> tuple[Array, Pullback]:
    """Adjoint of `kl_of_v`.  With W the weight and Δ = v − guess,   dKL = W Δ (dv − dguess) + ½ Δ² dW."""
    return _squared_error_vjp(v, guess, beta, log_alpha_bar_prev, predicts="v")


def _squared_error_vjp(said: Array, guess: Array, beta: Array, log_alpha_bar_prev: Array, *, predicts: str
                       ) -> tuple[Array, Pullback]:
    weight, back_weight = kl_weight_vjp(beta, log_alpha_bar_prev, predicts=predicts)
    error = said - guess

    def pullback(dkl: Array) -> tuple[Array, Array, Array, Array]:
        derror = weight * error * dkl
        dbeta, dlevel = back_weight(error * error / 2 * dkl)
        return unbroadcast(derror, said.shape), -unbroadcast(derror, guess.shape), dbeta, dlevel

    return weight * error * error / 2, pullback


# -- products of powers ------------------------------------------------------------------------------------------------

def _divided(powers: Powers, by: Powers) -> Powers:
    return Powers(*(p - q for p, q in zip(powers, by)))


def _powers(table: dict[str, Powers], predicts: str) -> Powers:
    if predicts not in table:
        raise ValueError(f"predicts: expected one of {PREDICTIONS}, got {predicts!r}")
    return table[predicts]


def _product(beta: Array, log_alpha_bar_prev: Array, powers: Powers) -> Array:
    a, v, w = shares(beta, log_alpha_bar_prev)
    value = np.ones_like(w)
    for factor, power in zip((a, beta, 1 - beta, v, w), powers):
        for _ in range(abs(power)):
            value = value * factor if power > 0 else value / factor
    return value


def _product_vjp(beta: Array, log_alpha_bar_prev: Array, powers: Powers) -> tuple[Array, Pullback]:
    value = _product(beta, log_alpha_bar_prev, powers)
    a, v, w = shares(beta, log_alpha_bar_prev)
    p, q, r = powers.beta, powers.v, powers.w

    def pullback(dvalue: Array) -> tuple[Array, Array]:
        dlog = value * dvalue
        dbeta = dlog * (p * v + (p + r) * a * beta) / (beta * w)
        dbeta = dbeta - dlog * powers.keep / (1 - beta) if powers.keep else dbeta
        dlevel = dlog * (powers.a - a * (q * beta + (q + r) * (1 - beta) * v) / (v * w))
        return unbroadcast(dbeta, beta.shape), unbroadcast(dlevel, log_alpha_bar_prev.shape)

    return value, pullback


open_doors(globals())
