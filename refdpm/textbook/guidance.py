"""Guidance as it is printed.

Sources: Ho, Salimans 2022 (classifier-free); Dhariwal, Nichol 2021 (with a classifier); Lin et al. 2023 (rescaled).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refdpm.textbook.chain import Row, from_levels
from refdpm.textbook.expression import E, also, mean, node, sqrt, square

COMPONENTS = "components", (1, 2, 3)


def guided(conditional: E, unconditional: E, weight: E, start: str) -> E:
    """u + w (c − u), or c + w (c − u)."""
    if start == "unconditional":
        return also(unconditional + weight * (conditional - unconditional), (1 - weight) * unconditional + weight * conditional)
    return also(conditional + weight * (conditional - unconditional), (1 + weight) * conditional - weight * unconditional)


def deviation(x: E) -> E:
    """The root of the mean square distance from the mean, of the components of an example."""
    return sqrt(mean(square(x - mean(x, *COMPONENTS)), *COMPONENTS))


def rescaled(guided: E, conditional: E, share: E) -> E:
    """φ g std(c)/std(g) + (1 − φ) g."""
    return share * (guided * (deviation(conditional) / deviation(guided))) + (1 - share) * guided


def guided_noise(noise: E, gradient: E, row: Row) -> E:
    """ε − √(1−ᾱ_t) ∇."""
    return noise - sqrt(row.rest) * gradient


PAIRS: dict[str, Callable[..., Any]] = {
    "later.guidance.guided": lambda c, u, *, weight, start="unconditional": guided(c, u, node(weight), start),
    "later.guidance.rescaled": lambda g, c, *, share: rescaled(g, c, node(share)),
    "later.guidance.guided_noise": lambda noise, gradient, level: guided_noise(
        noise, gradient, from_levels(log_alpha_bar=level)),
}
