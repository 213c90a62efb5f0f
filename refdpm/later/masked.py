"""Masked tokens: the absorbing chain of `categorical` with infinitely many steps.

A token is kept until t with probability α_t = e^−σ_t, else it is the mask; and q(x_s = x_0 | x_t = mask) = (α_s − α_t)/(1 − α_t)
for s < t.  A network that says what a masked token is makes p(x_s | x_t) of that share and its own p(x_0 | x_t), so that the
divergence of a step is the share times −log p(x_0 | x_t) for every masked token, and 0 for the others.  As steps become short, the
sum of the bound becomes an integral,

    −log p(x_0) ≤ ∫ w_t E Σ_masked −log p(x_0 | x_t) dt        w = −α′/(1 − α) = σ′/(e^σ − 1),

and both ends of the bound are 0.  A network may say instead how likely each token is beside the mask: q(x_0)/q(mask) = α/(1 − α).

Shapes: logits, x_0 (N, D, K), classes without the mask, a token a row with a single 1; masked (N, D) bools; sigma, rate (N, 1).
x_t and laws (N, D, K + 1), with the mask as the last class; time of any shape.
Sources: Austin et al. 2021; Lou, Meng, Ermon 2024 (ratio); Sahoo et al. 2024, Shi et al. 2024 (integral).
"""

from typing import NamedTuple

import numpy as np

from refdpm.activation import log_softmax_vjp, softmax_vjp
from refdpm.doors import open_doors
from refdpm.later.categorical import Categorical
from refdpm.vjp import Array, Pullback


# -- how many are left -----------------------------------------------------------------------------------------------------

MASKINGS = ("linear", "cosine", "cosine_masks", "cosine_squared")
FLOORS = ("end", "both_ends")
RISES = ("linear", "geometric")


class Kept(NamedTuple):
    """The share of the tokens that are kept, and the weight of the integral."""

    alpha: Array
    weight: Array


def kept(time: Array, *, masking: str, floor: float = 0.0, floor_at: str = "end") -> Kept:
    """α_t = ε + (1 − ε − δ) a_t, of which ε, the `floor`, is left at t = 1, and w_t = −α′/(1 − α):

        linear          a = 1 − t                 w = 1/t               at δ = 0: σ = −log(1 − (1 − ε) t), "log-linear"
        cosine          a = cos(πt/2)             w = (π/2) cot(πt/4)
        cosine_masks    a = 1 − cos(π(1 − t)/2)   w = (π/2) cot(πt/2)   a cosine of the masked share
        cosine_squared  a = cos²(πt/2)            w = π cot(πt/2)

    with δ = 0, or δ = ε where the floor is at both ends: then as many are masked already at t = 0.

    Derivation: a masked token is shown in the step from t to t − dt with probability (α_{t−dt} − α_t)/(1 − α_t), which is w dt; and
    1 − α = δ + (1 − ε − δ)(1 − a), so that w = (1 − ε − δ)(−a′)/(1 − α), which for δ = 0 is −a′/(1 − a), whatever ε.

    Domain: 0 < t ≤ 1, 0 ≤ ε < ½.   Raises: ValueError for another name.
    """
    return kept_vjp(time, masking=masking, floor=floor, floor_at=floor_at)[0]


def kept_vjp(time: Array, *, masking: str, floor: float = 0.0, floor_at: str = "end") -> tuple[Kept, Pullback]:
    """Adjoint of `kept`.  With s = 1 − ε − δ and m = 1 − a, the masked share:   dα = −s m′ dt,   dw = (s m″/(1 − α) − w²) dt."""
    if floor_at not in FLOORS:
        raise ValueError(f"floor_at: expected one of {FLOORS}, got {floor_at!r}")
    quarter, angle, rest = np.pi / 2, np.pi / 2 * time, np.pi / 2 * (1 - time)
    match masking:
        case "linear":
            share, hidden, slope, bend = 1 - time, time, np.ones_like(time), np.zeros_like(time)
        case "cosine":
            share, hidden = np.sin(rest), 2 * np.sin(angle / 2) ** 2
            slope, bend = quarter * np.sin(angle), quarter ** 2 * np.cos(angle)
        case "cosine_masks":
            share, hidden = 2 * np.sin(rest / 2) ** 2, np.sin(angle)
            slope, bend = quarter * np.sin(rest), -quarter ** 2 * np.sin(angle)
        case "cosine_squared":
            share, hidden = np.sin(rest) ** 2, np.sin(angle) ** 2
            slope, bend = np.pi * np.sin(angle) * np.sin(rest), np.pi * quarter * np.cos(2 * angle)
        case _:
            raise ValueError(f"masking: expected one of {MASKINGS}, got {masking!r}")
    begins = floor if floor_at == "both_ends" else 0.0
    span = 1 - floor - begins
    masks = begins + span * hidden
    weight = span * slope / masks
    return Kept(floor + span * share, weight), lambda d: (
        -span * slope * d.alpha + (span * bend / masks - weight * weight) * d.weight)


class Rising(NamedTuple):
    """σ = −log α, and its derivative dσ/dt."""

    sigma: Array
    rate: Array


def rising(time: Array, *, rise: str, low: float, high: float) -> Rising:
    """σ_t from `low` at t = 0 to `high` at t = 1, and σ′, for those who choose σ = −log α and not α:

        linear       σ = σ_min + t (σ_max − σ_min)   σ′ = σ_max − σ_min
        geometric    σ = σ_min^(1−t) σ_max^t         σ′ = σ log(σ_max/σ_min)

    Domain: 0 ≤ low < high; geometric: 0 < low.   Raises: ValueError for another name.
    """
    return rising_vjp(time, rise=rise, low=low, high=high)[0]


def rising_vjp(time: Array, *, rise: str, low: float, high: float) -> tuple[Rising, Pullback]:
    """Adjoint of `rising`:   dσ = σ′ dt, and where it is geometric dσ′ = σ′ log(σ_max/σ_min) dt."""
    match rise:
        case "linear":
            sigma, grows = low + time * (high - low), 0.0
            rate = np.full_like(sigma, high - low)
        case "geometric":
            grows = np.log(high / low)
            sigma = low * np.exp(time * grows)
            rate = sigma * grows
        case _:
            raise ValueError(f"rise: expected one of {RISES}, got {rise!r}")
    return Rising(sigma, rate), lambda d: rate * d.sigma + grows * rate * d.rate


# -- a step ----------------------------------------------------------------------------------------------------------------

def reverse(logits: Array, sigma: Array, sigma_next: Array, *, x_t: Array) -> Categorical:
    """p(x_s | x_t), s < t, of a masked token: u softmax(logits), and 1 − u for the mask, u = (α_s − α_t)/(1 − α_t).  Others stay.

    Without a subtraction of what is nearly equal u = e^−σ_s (1 − e^(σ_s−σ_t))/(1 − e^−σ_t) and 1 − u = (1 − e^−σ_s)/(1 − e^−σ_t).

    Shapes: logits (N, D, K), sigma and sigma_next (N, 1), x_t (N, D, K+1) with the mask last → prob (N, D, K+1).
    Domain: 0 ≤ sigma_next ≤ sigma, 0 < sigma.
    """
    return reverse_vjp(logits, sigma, sigma_next, x_t=x_t)[0]


def reverse_vjp(logits: Array, sigma: Array, sigma_next: Array, *, x_t: Array) -> tuple[Categorical, Pullback]:
    """Adjoint of `reverse`.   du = e^−σ_t (1 − e^−σ_s)/(1 − e^−σ_t)² dσ_t − e^−σ_s/(1 − e^−σ_t) dσ_s."""
    said, back = softmax_vjp(logits)
    masked, rest, rest_next = x_t[..., -1:] > 0, -np.expm1(-sigma), -np.expm1(-sigma_next)
    shown = (np.exp(-sigma_next) * -np.expm1(sigma_next - sigma) / rest)[..., None]
    stays = np.broadcast_to((rest_next / rest)[..., None], masked.shape)
    law = np.where(masked, np.concatenate([shown * said, stays], axis=-1), x_t)

    def pullback(dlaw: Categorical) -> tuple[Array, Array, Array]:
        d = masked * dlaw.prob
        dshown = (d[..., :-1] * said).sum(axis=(1, 2))[:, None] - d[..., -1].sum(axis=1, keepdims=True)
        return back(shown * d[..., :-1]), np.exp(-sigma) * rest_next / rest ** 2 * dshown, -np.exp(-sigma_next) / rest * dshown

    return Categorical(law), pullback


# -- the limit of many steps -------------------------------------------------------------------------------------------------

def masked_loss(logits: Array, *, x_0: Array, masked: Array, sigma: Array, rate: Array) -> Array:
    """σ′/(e^σ − 1) Σ_masked −log p(x_0 | x_t) of each example, in nats, with p = softmax(logits) and σ′ = rate.

    Shapes: logits and x_0 (N, D, K), masked (N, D), sigma and rate (N, 1) → (N,).
    """
    return masked_loss_vjp(logits, x_0=x_0, masked=masked, sigma=sigma, rate=rate)[0]


def masked_loss_vjp(logits: Array, *, x_0: Array, masked: Array, sigma: Array, rate: Array) -> tuple[Array, Pullback]:
    """Adjoint of `masked_loss`: that of the logarithms, weighed by −w for the tokens that are masked."""
    log_p, back = log_softmax_vjp(logits)
    weight = (-rate / np.expm1(sigma) * masked)[..., None] * x_0
    return (weight * log_p).sum(axis=(1, 2)), lambda dloss: back(weight * dloss[:, None, None])


def absorbing_ratio(sigma: Array, *, x_0: Array, masked: Array) -> Array:
    """q(x_t = k | x_0)/q(x_t = mask | x_0) where x_t is the mask: 1/(e^σ − 1) for x_0 and 0 for all others; 0 where it is not.

    Shapes: sigma (N, 1), x_0 (N, D, K), masked (N, D) → (N, D, K).
    """
    return (masked / np.expm1(sigma))[..., None] * x_0


def absorbing_ratio_vjp(sigma: Array, *, x_0: Array, masked: Array) -> tuple[Array, Pullback]:
    """Adjoint of `absorbing_ratio`.  With r = 1/(e^σ − 1),   dr = −r (1 + r) dσ."""
    ratio = 1 / np.expm1(sigma)

    def pullback(dratio: Array) -> Array:
        return -ratio * (1 + ratio) * ((dratio * x_0).sum(axis=-1) * masked).sum(axis=1, keepdims=True)

    return absorbing_ratio(sigma, x_0=x_0, masked=masked), pullback


open_doors(globals())
