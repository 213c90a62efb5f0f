"""Five ways to say what the network thinks of x_t, and how to get from each to each.

Given x_t there is one unknown, x_0.  A network may name it or anything that is an affine function of it:

    x_0                                                               noise    ε = (x_t − √ᾱ x_0)/√(1−ᾱ)
    score    ∇ log q(x_t | x_0) = −ε/√(1−ᾱ)                           v        = √ᾱ ε − √(1−ᾱ) x_0
    mean     of q(x_{t−1} | x_t, x_0), that is c_0 x_0 + c_t x_t

With an angle φ, cos φ = √ᾱ and sin φ = √(1−ᾱ), the pair (x_t, v) is (x_0, ε) turned by −φ, and v = dx_t/dφ.  So x_0 follows from v
without a division, at every level; from ε it does not where ᾱ = 0, nor ε from x_0 where ᾱ = 1.

All of it is linear, so an average over x_0 given x_t goes through: E[x_0 | x_t], E[ε | x_t] … are related in the same way, and the
score of an average is ∇ log q(x_t), the score of the marginal.  The head z_mean of `networks.readout.denoising` is −√(1−ᾱ) v.

The mean of the reverse step is in `mean`.

Shapes: states and predictions (N, …); log_alpha_bar (N, 1, …).
"""

import numpy as np

from refdpm.doors import open_doors
from refdpm.vjp import Array, Pullback, unbroadcast


# -- to x_0 ------------------------------------------------------------------------------------------------------------

def x_0_from_noise(noise: Array, x_t: Array, log_alpha_bar: Array) -> Array:
    """(x_t − √(1−ᾱ) ε)/√ᾱ.   Domain: ᾱ > 0."""
    return (x_t - _deviation(log_alpha_bar) * noise) * np.exp(-log_alpha_bar / 2)


def x_0_from_noise_vjp(noise: Array, x_t: Array, log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `x_0_from_noise`.  With σ = √(1−ᾱ),

        dx_0 = (dx_t − σ dε)/√ᾱ + ½ (ε/σ − x_t)/√ᾱ dℓ.
    """
    sigma, grow = _deviation(log_alpha_bar), np.exp(-log_alpha_bar / 2)

    def pullback(dx_0: Array) -> tuple[Array, Array, Array]:
        dlevel = (noise / sigma - x_t) * grow / 2 * dx_0
        return (unbroadcast(-sigma * grow * dx_0, noise.shape), unbroadcast(grow * dx_0, x_t.shape),
                unbroadcast(dlevel, log_alpha_bar.shape))

    return x_0_from_noise(noise, x_t, log_alpha_bar), pullback


def x_0_from_v(v: Array, x_t: Array, log_alpha_bar: Array) -> Array:
    """√ᾱ x_t − √(1−ᾱ) v."""
    return np.exp(log_alpha_bar / 2) * x_t - _deviation(log_alpha_bar) * v


def x_0_from_v_vjp(v: Array, x_t: Array, log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `x_0_from_v`.  With s = √ᾱ and σ = √(1−ᾱ),

        dx_0 = s dx_t − σ dv + ½ (s x_t + (ᾱ/σ) v) dℓ.
    """
    s, sigma = np.exp(log_alpha_bar / 2), _deviation(log_alpha_bar)

    def pullback(dx_0: Array) -> tuple[Array, Array, Array]:
        dlevel = (s * x_t + s * s / sigma * v) / 2 * dx_0
        return (unbroadcast(-sigma * dx_0, v.shape), unbroadcast(s * dx_0, x_t.shape),
                unbroadcast(dlevel, log_alpha_bar.shape))

    return x_0_from_v(v, x_t, log_alpha_bar), pullback


def x_0_from_score(score: Array, x_t: Array, log_alpha_bar: Array) -> Array:
    """(x_t + (1−ᾱ) score)/√ᾱ: Tweedie's formula.   Domain: ᾱ > 0."""
    return (x_t - np.expm1(log_alpha_bar) * score) * np.exp(-log_alpha_bar / 2)


def x_0_from_score_vjp(score: Array, x_t: Array, log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `x_0_from_score`:

        dx_0 = (dx_t + (1−ᾱ) dscore)/√ᾱ − ½ [x_t + (1+ᾱ) score]/√ᾱ dℓ.
    """
    grow = np.exp(-log_alpha_bar / 2)

    def pullback(dx_0: Array) -> tuple[Array, Array, Array]:
        dlevel = -(x_t + (1 + np.exp(log_alpha_bar)) * score) * grow / 2 * dx_0
        return (unbroadcast(-np.expm1(log_alpha_bar) * grow * dx_0, score.shape), unbroadcast(grow * dx_0, x_t.shape),
                unbroadcast(dlevel, log_alpha_bar.shape))

    return x_0_from_score(score, x_t, log_alpha_bar), pullback


# -- from x_0 ----------------------------------------------------------------------------------------------------------

def noise_from_x_0(x_0: Array, x_t: Array, log_alpha_bar: Array) -> Array:
    """(x_t − √ᾱ x_0)/√(1−ᾱ).   Domain: ᾱ < 1."""
    return (x_t - np.exp(log_alpha_bar / 2) * x_0) / _deviation(log_alpha_bar)


def noise_from_x_0_vjp(x_0: Array, x_t: Array, log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `noise_from_x_0`.  With s = √ᾱ and σ = √(1−ᾱ),

        dε = (dx_t − s dx_0)/σ + ½ [(ᾱ/σ²) ε − s x_0/σ] dℓ.
    """
    noise = noise_from_x_0(x_0, x_t, log_alpha_bar)
    s, sigma = np.exp(log_alpha_bar / 2), _deviation(log_alpha_bar)

    def pullback(dnoise: Array) -> tuple[Array, Array, Array]:
        dlevel = (s * noise / sigma - x_0) * s / sigma / 2 * dnoise
        return (unbroadcast(-s / sigma * dnoise, x_0.shape), unbroadcast(dnoise / sigma, x_t.shape),
                unbroadcast(dlevel, log_alpha_bar.shape))

    return noise, pullback


def v_from_x_0(x_0: Array, x_t: Array, log_alpha_bar: Array) -> Array:
    """(√ᾱ x_t − x_0)/√(1−ᾱ).   Domain: ᾱ < 1.

    Derivation: √ᾱ ε − √(1−ᾱ) x_0 with ε from x_0; the weights of x_0 are ᾱ/√(1−ᾱ) and √(1−ᾱ), together 1/√(1−ᾱ).
    """
    return (np.exp(log_alpha_bar / 2) * x_t - x_0) / _deviation(log_alpha_bar)


def v_from_x_0_vjp(x_0: Array, x_t: Array, log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `v_from_x_0`.  With s = √ᾱ and σ = √(1−ᾱ),

        dv = (s dx_t − dx_0)/σ + ½ [s x_t/σ + (ᾱ/σ²) v] dℓ.
    """
    v = v_from_x_0(x_0, x_t, log_alpha_bar)
    s, sigma = np.exp(log_alpha_bar / 2), _deviation(log_alpha_bar)

    def pullback(dv: Array) -> tuple[Array, Array, Array]:
        dlevel = (x_t + s * v / sigma) * s / sigma / 2 * dv
        return (unbroadcast(-dv / sigma, x_0.shape), unbroadcast(s / sigma * dv, x_t.shape),
                unbroadcast(dlevel, log_alpha_bar.shape))

    return v, pullback


def score_from_x_0(x_0: Array, x_t: Array, log_alpha_bar: Array) -> Array:
    """(√ᾱ x_0 − x_t)/(1−ᾱ).   Domain: ᾱ < 1."""
    return (x_t - np.exp(log_alpha_bar / 2) * x_0) / np.expm1(log_alpha_bar)


def score_from_x_0_vjp(x_0: Array, x_t: Array, log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `score_from_x_0`.  With s = √ᾱ,

        dscore = [s dx_0 − dx_t + (½ s x_0 + ᾱ score) dℓ]/(1−ᾱ).
    """
    score = score_from_x_0(x_0, x_t, log_alpha_bar)
    s, var = np.exp(log_alpha_bar / 2), -np.expm1(log_alpha_bar)

    def pullback(dscore: Array) -> tuple[Array, Array, Array]:
        dlevel = (x_0 / 2 + s * score) * s / var * dscore
        return (unbroadcast(s / var * dscore, x_0.shape), unbroadcast(-dscore / var, x_t.shape),
                unbroadcast(dlevel, log_alpha_bar.shape))

    return score, pullback


def _deviation(log_alpha_bar: Array) -> Array:
    return np.sqrt(-np.expm1(log_alpha_bar))


open_doors(globals())
