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

MASKINGS = ("linear", "cosine", "cosine_masks")


class Kept(NamedTuple):
    """The share of the tokens that are kept, and the weight of the integral."""

    alpha: Array
    weight: Array


def kept(time: Array, *, masking: str, floor: float = 0.0) -> Kept:
    """α_t = ε + (1 − ε) a_t, of which ε, the `floor`, is left at t = 1, and w_t = −α′/(1 − α) = −a′/(1 − a) for any ε:

        linear        a = 1 − t                 w = 1/t                   so that σ = −log(1 − (1 − ε) t), "log-linear"
        cosine        a = cos(πt/2)             w = (π/2) cot(πt/4)
        cosine_masks  a = 1 − cos(π(1 − t)/2)   w = (π/2) cot(πt/2)       a cosine of the masked share

    Derivation: a masked token is shown in the step from t to t − dt with probability (α_{t−dt} − α_t)/(1 − α_t), which is w dt; and
    sin x/(1 − cos x) = cot(x/2).   Domain: 0 < t ≤ 1.   Raises: ValueError for another name.
    """
    return kept_vjp(time, masking=masking, floor=floor)[0]


def kept_vjp(time: Array, *, masking: str, floor: float = 0.0) -> tuple[Kept, Pullback]:
    """Adjoint of `kept`:   dα = (1 − ε) a′ dt,   and dw = −dt/t², −(π²/8) dt/sin²(πt/4) or −(π²/4) dt/sin²(πt/2)."""
    quarter, angle = np.pi / 2, np.pi / 2 * time
    match masking:
        case "linear":
            share, slope, weight, bend = 1 - time, -np.ones_like(time), 1 / time, -1 / (time * time)
        case "cosine":
            share, slope, weight = np.cos(angle), -quarter * np.sin(angle), quarter / np.tan(angle / 2)
            bend = -quarter ** 2 / 2 / np.sin(angle / 2) ** 2
        case "cosine_masks":
            rest = quarter * (1 - time)
            share, slope = 2 * np.sin(rest / 2) ** 2, -quarter * np.cos(angle)
            weight, bend = quarter * np.sin(rest) / np.sin(angle), -quarter ** 2 / np.sin(angle) ** 2
        case _:
            raise ValueError(f"masking: expected one of {MASKINGS}, got {masking!r}")
    return Kept(floor + (1 - floor) * share, weight), lambda d: (1 - floor) * slope * d.alpha + bend * d.weight


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
