"""Softmax and group normalisation in decimals of 70 digits, with scales by the rules of `decimals`.

Differences are rounded before they go on: x_k less the largest one before the exponential, x less the mean before the square.
"""

from __future__ import annotations

from decimal import Decimal

from refdpm.oracles.decimals import Exact, exactly


@exactly
def softmax(x: list[Decimal]) -> list[Exact]:
    """e^{x_k}/Σ_j e^{x_j}; rounding x_j − max x moves log g_k by as much, and on average over g."""
    largest = max(x)
    moved = [largest - x_k for x_k in x]
    powers = [(x_k - largest).exp() for x_k in x]
    g = [power / sum(powers) for power in powers]
    shared = 1 + sum((g_k * by for g_k, by in zip(g, moved)), Decimal(0))
    return [Exact(g_k, g_k * (shared + by)) for g_k, by in zip(g, moved)]


@exactly
def group_norm(x: list[Decimal], scale: list[Decimal], shift: list[Decimal], epsilon: Decimal) -> list[Exact]:
    """Numbers of one group, each with its own scale and shift: scale·z + shift, z = (x − m)/s, s² = v + ε.

    The two terms of x − m are |x| and M|x|; they move z by as much over s, and s by M(|z| (|x| + M|x|)), for v = M (x − m)².
    """
    m, size = _mean(x), _mean([abs(a) for a in x])
    s = (_mean([(a - m) ** 2 for a in x]) + epsilon).sqrt()
    z, moved = [(a - m) / s for a in x], [(abs(a) + size) / s for a in x]
    of_root = _mean([abs(z_k) * by for z_k, by in zip(z, moved)])
    return [Exact(c * z_k + b, abs(c) * (by + abs(z_k) * (1 + of_root)) + abs(b))
            for c, b, z_k, by in zip(scale, shift, z, moved)]


def _mean(numbers: list[Decimal]) -> Decimal:
    return sum(numbers, Decimal(0)) / len(numbers)
