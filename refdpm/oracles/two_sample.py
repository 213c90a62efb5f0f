"""Are two samples from one law?  The energy distance with a permutation test, for samples of a model against held-out points.

Source: Székely and Rizzo 2013.
"""

import numpy as np
from scipy.spatial.distance import cdist

from .common import Array, open_doors


def energy_test(x: Array, y: Array, *, rng: np.random.Generator, permutations: int = 999) -> tuple[float, float]:
    """The energy distance 2 E|X−Y| − E|X−X'| − E|Y−Y'| and its p-value under random relabelling of the pooled points.

    The p-value is exact: if both samples have one law, P(p ≤ a) ≤ a.  Its smallest value is 1/(permutations + 1).  Points that are
    alike give labels whose distance is the same but for rounding; those count as ties, and a tie counts as at least as large.

    Shapes: x (N, D), y (M, D), at least one point each.
    """
    if not len(x) or not len(y):
        raise ValueError(f"x, y: expected at least one point each, got {len(x)} and {len(y)}")
    pooled = np.concatenate([x, y])
    distance = cdist(pooled, pooled)
    sign = np.concatenate([np.full(len(x), 1 / len(x)), np.full(len(y), -1 / len(y))])
    weights = np.stack([sign] + [rng.permutation(sign) for _ in range(permutations)], axis=1)
    statistic = -np.einsum("ij,ij->j", weights, distance @ weights)
    rounding = 1e-12 * distance.max()
    return float(statistic[0]), float(np.mean(statistic >= statistic[0] - rounding))


open_doors(globals())
