"""Steps along the flow dx/dσ = (x − D)/σ, and with noise on the way, as they are printed.

Sources: Karras, Aittala, Aila, Laine 2022 (Euler, Heun, churn); Song and others 2021 and its first implementations (ancestral);
Lu and others 2022 (DPM-Solver++).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refdpm.textbook.expression import HALF, E, above, exp, forms, log, named, network, node, sqrt, square, term, where


def slope(x: E, denoised: E, sigma: E) -> E:
    """(x − D)/σ."""
    return (x - denoised) / sigma


@named
def euler(x: E, denoised: E, sigma: E, after: E) -> E:
    """x + (σ' − σ) (x − D)/σ; and as a share of what is not D."""
    return forms(x + (after - sigma) * slope(x, denoised, sigma), denoised + after / sigma * (x - denoised))


def heun(x: E, denoised: E, denoised_next: E, sigma: E, after: E) -> E:
    """x + ½ (σ' − σ) [(x − D)/σ + (x' − D')/σ'] at Euler's x'; and as Euler's x' and a correction."""
    there = euler(x, denoised, sigma, after)
    slopes = slope(x, denoised, sigma) + slope(there, denoised_next, after)
    return forms(x + HALF * (after - sigma) * slopes, there + HALF * (sigma - after) / after * (denoised_next - denoised))


def log_ratio(high: E, low: E) -> E:
    """λ of the lower level less that of the higher, λ = −log σ."""
    return term(lambda: log(high) - log(low))


def extrapolated(denoised: E, before: E, r: E) -> E:
    """(1 + 1/2r) D − 1/2r D_before."""
    share = 1 / (2 * r)
    return forms((1 + share) * denoised - share * before, denoised + share * (denoised - before))


@named
def multistep(x: E, denoised: E, before: E, sigma_before: E, sigma: E, after: E) -> E:
    """(σ'/σ) x − (e^−h − 1) D̃ with D̃ from this look and the one before; and as Euler's step with D̃."""
    h, h_before = log_ratio(sigma, after), log_ratio(sigma_before, sigma)
    guess = extrapolated(denoised, before, h_before / h)
    return forms(after / sigma * x - (exp(-h) - 1) * guess, guess + after / sigma * (x - guess))


def split(sigma: E, after: E, eta: E) -> tuple[E, E]:
    """σ_down = √(σ'² − σ_up²) and σ_up = min(σ', η √(σ'² (σ² − σ'²)/σ²))."""
    drop = term(lambda: square(sigma) - square(after))
    share = eta * sqrt(square(after) * drop / square(sigma))
    up = where(above(share, after), after, share)
    return sqrt(term(lambda: square(after) - square(up))), up


def ancestral(x: E, denoised: E, sigma: E, after: E, eta: E, noise: E) -> E:
    """Euler's step to σ_down, then σ_up ε."""
    down, up = split(sigma, after, eta)
    return euler(x, denoised, sigma, down) + up * noise


def churn(sigma: E, count: E, amount: E, low: E, high: E) -> E:
    """min(S_churn/count, √2 − 1) where S_min ≤ σ ≤ S_max, else 0."""
    most = sqrt(node(2)) - 1
    gamma = where(above(amount / count, most), most, amount / count)
    return where(above(low, sigma), 0, where(above(sigma, high), 0, gamma))


@named
def raised(x: E, sigma: E, gamma: E, noise: E, scale: E) -> tuple[E, E]:
    """x + √(σ̂² − σ²) S_noise ε and σ̂ = σ + γ σ."""
    more = sigma + gamma * sigma
    grown = term(lambda: square(more) - square(sigma))
    return x + sqrt(grown) * scale * noise, more


@network
def of_normal_data(x: E, sigma: E, centre: E, spread: E) -> E:
    """D of normal data: (s² x + σ² m)/(s² + σ²)."""
    return (spread * x + square(sigma) * centre) / (spread + square(sigma))


PAIRS: dict[str, Callable[..., Any]] = {
    "later.solver.slope": slope,
    "later.solver.euler": euler,
    "later.solver.heun": heun,
    "later.solver.multistep": multistep,
    "later.solver.split": lambda sigma, after, *, eta: split(sigma, after, node(eta)),
    "later.solver.raised": lambda x, sigma, *, gamma, noise, scale=1.0: raised(
        x, sigma, node(gamma), node(noise), node(scale)),
    "later.solver.churn": lambda sigma, *, count, amount, low, high: churn(
        sigma, node(count), node(amount), node(low), node(high)),
}
