"""Going back along the flow: steps from a level σ to a lower one, with D(x, σ) for the prediction of x_0 (`sigma`).

With η = 0 the step of `sampler` keeps the noise that it finds: x = x_t/√ᾱ = x̂_0 + σ ε̂ becomes x̂_0 + σ' ε̂.  With ever smaller
steps that is the flow

    dx/dσ = (x − D(x, σ))/σ

whose solutions carry N(x_0, σ²) to N(x_0, σ'²).  So DDIM is Euler's rule for it, and so is the first DPM-Solver++, which
integrates by λ = −log σ as if D were constant: x' = e^−h x + (1 − e^−h) D with e^−h = σ'/σ.  They differ in name alone, and what
is better takes a second look at D:

    Heun               the mean of the slopes at both ends, the second at Euler's x'
    DPM-Solver++ 2M    D on a straight line in λ through this look and the one before

Ancestral steps go down too far and add the noise that is missing; churn adds noise first and goes down from there.  Both are the
freedom k² w + σ² = v of `sampler`.

Exact chains.  Normal data N(0, s²) have D = x s²/(s² + σ²).  The flow is x ∝ √(s² + σ²), every step multiplies x by a number, and
the law of its samples is known without a sample.

Shapes: states and predictions (N, …); levels (N, 1, …), or one number.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import log1p

from refdpm.doors import open_doors
from refdpm.vjp import Array, Pullback, unbroadcast

Denoiser = Callable[[Array, Array], Array]                           # D(x, σ)
Step = Callable[..., Array]                                          # from x at σ to σ', with a denoiser


# -- steps ---------------------------------------------------------------------------------------------------------------

def slope(x: Array, denoised: Array, sigma: Array) -> Array:
    """dx/dσ = (x − D)/σ, which is ε̂.   Domain: σ > 0."""
    return (x - denoised) / sigma


def slope_vjp(x: Array, denoised: Array, sigma: Array) -> tuple[Array, Pullback]:
    """Adjoint of `slope`:   dε̂ = (dx − dD − ε̂ dσ)/σ."""
    value = slope(x, denoised, sigma)

    def pullback(d: Array) -> tuple[Array, Array, Array]:
        return (unbroadcast(d / sigma, x.shape), unbroadcast(-d / sigma, denoised.shape),
                unbroadcast(-value * d / sigma, sigma.shape))

    return value, pullback


def euler(x: Array, denoised: Array, sigma: Array, sigma_next: Array) -> Array:
    """x + (σ' − σ) (x − D)/σ.   A long step is written D + (σ'/σ) (x − D), which is exactly D where σ' = 0."""
    from_x = x + (sigma_next - sigma) / sigma * (x - denoised)
    return np.where(np.real(sigma_next) > np.real(sigma) / 2, from_x, denoised + sigma_next / sigma * (x - denoised))


def euler_vjp(x: Array, denoised: Array, sigma: Array, sigma_next: Array) -> tuple[Array, Pullback]:
    """Adjoint of `euler`.  With r = σ'/σ and ε̂ = (x − D)/σ,   dx' = r dx + (1 − r) dD − r ε̂ dσ + ε̂ dσ'."""
    r, noise = sigma_next / sigma, (x - denoised) / sigma

    def pullback(d: Array) -> tuple[Array, Array, Array, Array]:
        return (unbroadcast(r * d, x.shape), unbroadcast((sigma - sigma_next) / sigma * d, denoised.shape),
                unbroadcast(-r * noise * d, sigma.shape), unbroadcast(noise * d, sigma_next.shape))

    return euler(x, denoised, sigma, sigma_next), pullback


def heun(x: Array, denoised: Array, denoised_next: Array, sigma: Array, sigma_next: Array) -> Array:
    """Heun's rule, with D' at Euler's x' and σ':

        x + ½ (σ' − σ) [(x − D)/σ + (x' − D')/σ']   =   x' + ½ (σ/σ' − 1) (D' − D)

    Derivation: x' = D + (σ'/σ) (x − D), so that the second slope is (x − D)/σ + (D − D')/σ': the first one, and a change.

    Domain: σ' > 0.  At σ' = 0 there is no second slope, and the step is Euler's (`heun_step`).
    """
    return euler(x, denoised, sigma, sigma_next) + (sigma - sigma_next) / sigma_next / 2 * (denoised_next - denoised)


def heun_vjp(x: Array, denoised: Array, denoised_next: Array, sigma: Array, sigma_next: Array) -> tuple[Array, Pullback]:
    """Adjoint of `heun`.  With k = ½ (σ − σ')/σ' and Δ = D' − D, to the differential of `euler` comes

        k (dD' − dD) + ½ Δ dσ/σ' − ½ Δ σ/σ'² dσ'.
    """
    _, back = euler_vjp(x, denoised, sigma, sigma_next)
    k, change = (sigma - sigma_next) / sigma_next / 2, denoised_next - denoised

    def pullback(d: Array) -> tuple[Array, Array, Array, Array, Array]:
        dx, dfirst, dsigma, dnext = back(d)
        return (dx, dfirst - unbroadcast(k * d, denoised.shape), unbroadcast(k * d, denoised_next.shape),
                dsigma + unbroadcast(change / sigma_next / 2 * d, sigma.shape),
                dnext - unbroadcast(change * sigma / sigma_next / sigma_next / 2 * d, sigma_next.shape))

    return heun(x, denoised, denoised_next, sigma, sigma_next), pullback


def multistep(x: Array, denoised: Array, before: Array, sigma_before: Array, sigma: Array, sigma_next: Array) -> Array:
    """DPM-Solver++ 2M: Euler's step with another prediction,

        D̃ = D + (D − D_before)/2r,   r = h_before/h,   h = log(σ/σ'),   h_before = log(σ_before/σ).

    Derivation: on the line through D_before and D, the change of D in the middle of the coming step is ½ h (D − D_before)/h_before.

    Domain: σ_before > σ > σ' > 0.  At σ' = 0 the step is D (`multistep_path`).
    """
    half = _log_ratio(sigma, sigma_next) / _log_ratio(sigma_before, sigma) / 2
    return euler(x, denoised + half * (denoised - before), sigma, sigma_next)


def multistep_vjp(x: Array, denoised: Array, before: Array, sigma_before: Array, sigma: Array, sigma_next: Array
                  ) -> tuple[Array, Pullback]:
    """Adjoint of `multistep`.  With k = ½ h/h_before,   dD̃ = (1 + k) dD − k dD_before + (D − D_before) dk   and

        dk = k [(1/h + 1/h_before) dσ/σ − dσ'/(h σ') − dσ_before/(h_before σ_before)].
    """
    h, h_before = _log_ratio(sigma, sigma_next), _log_ratio(sigma_before, sigma)
    half, change = h / h_before / 2, denoised - before
    value, back = euler_vjp(x, denoised + half * change, sigma, sigma_next)

    def pullback(d: Array) -> tuple[Array, ...]:
        dx, dguess, dsigma, dnext = back(np.broadcast_to(d, value.shape))
        dhalf = dguess * change * half
        return (dx, unbroadcast((1 + half) * dguess, denoised.shape), unbroadcast(-half * dguess, before.shape),
                unbroadcast(-dhalf / h_before / sigma_before, sigma_before.shape),
                dsigma + unbroadcast(dhalf * (1 / h + 1 / h_before) / sigma, sigma.shape),
                dnext - unbroadcast(dhalf / h / sigma_next, sigma_next.shape))

    return value, pullback


def _log_ratio(high: Array, low: Array) -> Array:
    """log(high/low), without loss where both are near each other."""
    return log1p((high - low) / low)


# -- noise on the way ------------------------------------------------------------------------------------------------------

class Split(NamedTuple):
    """Where an ancestral step goes, and the deviation of the noise that is added there."""

    down: Array
    up: Array


def split(sigma: Array, sigma_next: Array, *, eta: float) -> Split:
    """σ_up = min(σ', η √(σ'² (σ² − σ'²)/σ²)) and σ_down = √(σ'² − σ_up²).

    Derivation: σ'² (σ² − σ'²)/σ² is the variance of x at σ' given x_0 and x at σ, β̃ in these coordinates; and because
    σ_down² + σ_up² = σ'², the marginal stays as it is.  Without a difference of squares σ_down = σ' √(1 − η² + η² σ'²/σ²).

    Domain: 0 < σ' ≤ σ, 0 ≤ η.
    """
    share = _noise_share(sigma, sigma_next, eta)
    rest = (1 - eta) * (1 + eta) + (eta * sigma_next / sigma) ** 2
    inside = np.real(rest) > 0
    return Split(sigma_next * np.sqrt(np.where(inside, rest, 0)), np.where(inside, sigma_next * share, sigma_next + 0 * sigma))


def split_vjp(sigma: Array, sigma_next: Array, *, eta: float) -> tuple[Split, Pullback]:
    """Adjoint of `split`.  With r = σ'/σ, δ = σ_down/σ' and u = σ_up/σ' where σ_up < σ',

        dσ_down = (δ + η² r²/δ) dσ' − η² r³/δ dσ        dσ_up = (u − η² r²/u) dσ' + η² r³/u dσ;

    where σ_up = σ', dσ_up = dσ' and dσ_down = 0.

    Domain: 0 < σ' < σ, and 0 < η.
    """
    value = split(sigma, sigma_next, eta=eta)
    r, inside = sigma_next / sigma, np.real(value.down) > 0
    down, up = np.where(inside, value.down / sigma_next, 1.0), value.up / sigma_next
    square = (eta * r) ** 2

    def pullback(d: Split) -> tuple[Array, Array]:
        bent = np.where(inside, d.up / up - d.down / down, 0) * square
        dnext = np.where(inside, down * d.down, 0) + up * d.up - bent
        return unbroadcast(r * bent, sigma.shape), unbroadcast(dnext, sigma_next.shape)

    return value, pullback


def _noise_share(sigma: Array, sigma_next: Array, eta: float) -> Array:
    """η √(1 − σ'²/σ²)."""
    return eta * np.sqrt((sigma - sigma_next) * (sigma + sigma_next)) / sigma


def churn(sigma: Array, *, count: int, amount: float, low: float, high: float) -> Array:
    """γ = min(S_churn/count, √2 − 1) where S_min ≤ σ ≤ S_max, else 0: by how much a level is raised before a step.

    `count` is that of the steps.
    """
    inside = (np.real(sigma) >= low) & (np.real(sigma) <= high)
    return np.where(inside, min(amount / count, np.sqrt(2) - 1), 0.0)


class Raised(NamedTuple):
    """A state with more noise, and its level."""

    x: Array
    sigma: Array


def raised(x: Array, sigma: Array, *, gamma: Array, noise: Array, scale: float = 1.0) -> Raised:
    """σ̂ = σ (1 + γ) and x + √(σ̂² − σ²) S_noise ε, of which the root is σ √(γ (2 + γ)).

    Shapes: x and noise (N, …), sigma and gamma (N, 1, …) → x (N, …), sigma (N, 1, …).
    """
    return Raised(x + sigma * np.sqrt(gamma * (2 + gamma)) * scale * noise, sigma * (1 + gamma))


def raised_vjp(x: Array, sigma: Array, *, gamma: Array, noise: Array, scale: float = 1.0) -> tuple[Raised, Pullback]:
    """Adjoint of `raised`:   dx̂ = dx + √(γ (2 + γ)) S_noise ε dσ,   dσ̂ = (1 + γ) dσ."""
    value, share = raised(x, sigma, gamma=gamma, noise=noise, scale=scale), np.sqrt(gamma * (2 + gamma)) * scale * noise

    def pullback(d: Raised) -> tuple[Array, Array]:
        return unbroadcast(d.x, x.shape), unbroadcast(share * d.x, sigma.shape) + unbroadcast((1 + gamma) * d.sigma, sigma.shape)

    return value, pullback


# -- steps with a network --------------------------------------------------------------------------------------------------

def euler_step(x: Array, sigma: Array, sigma_next: Array, *, denoiser: Denoiser) -> Array:
    """`euler` with D from a network."""
    return euler(x, denoiser(x, sigma), sigma, sigma_next)


def heun_step(x: Array, sigma: Array, sigma_next: Array, *, denoiser: Denoiser) -> Array:
    """`heun` with D and D' from a network; Euler's step to σ' = 0."""
    first = denoiser(x, sigma)
    there = euler(x, first, sigma, sigma_next)
    return heun(x, first, denoiser(there, sigma_next), sigma, sigma_next) if np.all(sigma_next > 0) else there


def ancestral_step(x: Array, sigma: Array, sigma_next: Array, *, denoiser: Denoiser, noise: Array, eta: float = 1.0) -> Array:
    """Euler's step down to σ_down, and σ_up ε on top."""
    down, up = split(sigma, sigma_next, eta=eta)
    return euler(x, denoiser(x, sigma), sigma, down) + up * noise


def churned_step(x: Array, sigma: Array, sigma_next: Array, *, denoiser: Denoiser, noise: Array, count: int, amount: float,
                 low: float, high: float, scale: float = 1.0, step: Step = heun_step) -> Array:
    """Heun's step, or another one, from where `raised` noise has led, by the γ of `churn`."""
    gamma = churn(sigma, count=count, amount=amount, low=low, high=high)
    there = raised(x, sigma, gamma=gamma, noise=noise, scale=scale)
    return step(there.x, there.sigma, sigma_next, denoiser=denoiser)


# -- chains ----------------------------------------------------------------------------------------------------------------

def path(x: Array, sigmas: Array, *, denoiser: Denoiser, step: Step = heun_step, last: Step | None = None) -> Array:
    """Where steps without noise lead from x at sigmas[0], to the last of these levels; `last` is the last step, if it is another.

    EDM takes Euler's for the last one, whatever its level is; others do where that is 0.   Shapes: sigmas (S,), decreasing.
    """
    for n, (sigma, after) in enumerate(pairwise(sigmas), 2):
        x = (last if last and n == len(sigmas) else step)(x, sigma, after, denoiser=denoiser)
    return x


def noisy_path(x: Array, sigmas: Array, *, denoiser: Denoiser, noise: Array, step: Step = ancestral_step, last: Step | None = None
               ) -> Array:
    """The same by steps with noise, of which the first step gets the first.   Shapes: sigmas (S,), noise (S−1, N, …)."""
    for n, ((sigma, after), drawn) in enumerate(zip(pairwise(sigmas), noise, strict=True), 2):
        x = (last if last and n == len(sigmas) else step)(x, sigma, after, denoiser=denoiser, noise=drawn)
    return x


def multistep_path(x: Array, sigmas: Array, *, denoiser: Denoiser) -> Array:
    """The same by `multistep`; the first step, which has no look before it, is Euler's, and so is one to 0."""
    before = x
    for n, (sigma, after) in enumerate(pairwise(sigmas)):
        now = denoiser(x, sigma)
        plain = n == 0 or after == 0
        x, before = euler(x, now, sigma, after) if plain else multistep(x, now, before, sigmas[n - 1], sigma, after), now
    return x


def log_likelihood(x_0: Array, sigmas: Array, *, denoiser: Denoiser, trace: Denoiser) -> Array:
    """log p(x_0) by the flow: x_0 is taken up the levels by Heun's rule to σ_max, where x is N(0, σ_max²) by assumption.

        log p(x_0) = log N(x; 0, σ_max²) + ∫ (n − tr ∂D/∂x) d log σ

    Derivation: along dx/dσ = f(x, σ) a density changes by d log p/dσ = −tr ∂f/∂x, and with f = (x − D)/σ that trace is
    (n − tr ∂D/∂x)/σ for n components.  By log σ it is a smooth step from 0 to n.

    Shapes: x_0 (N, n); sigmas (S,), increasing, the first a small number above 0; trace(x, σ) (N,) → (N,).
    """
    x, total = x_0, np.zeros(len(x_0))
    size = x_0.shape[1]
    for sigma, after in pairwise(sigmas):
        up = heun_step(x, sigma, after, denoiser=denoiser)
        spread = size - (trace(x, sigma) + trace(up, after)) / 2
        total, x = total + np.log(after / sigma) * spread, up
    return total - (np.square(x / sigmas[-1]).sum(axis=1) + size * np.log(2 * np.pi * sigmas[-1] ** 2)) / 2


open_doors(globals())
