"""Checks of softmax and of group normalisation: fractions by hand, and what does not change them."""

import numpy as np

from refdpm import activation
from refdpm.conformance.checks.common import apart, check, passes, worst
from refdpm.conformance.checks.image import normal
from refdpm.layers import norm


@check("softmax by hand", "activation.softmax")
def softmax_by_hand() -> float:
    """Of the logarithms of 1, 2, 5: one, two and five eighths, row by row; far away on either side; equal numbers."""
    logs, shares = np.log([1.0, 2, 5]), np.array([0.125, 0.25, 0.625])
    rows = np.stack([logs, logs[::-1]])
    return worst(*(apart(activation.softmax(rows + far), [shares, shares[::-1]], within=1e-11) for far in (0.0, -1e4, 1e4)),
                 apart(activation.softmax(np.full((2, 7), -3.0)), np.full((2, 7), 1 / 7)),
                 passes(activation.softmax(np.array([[800.0, -800]])) == [1, 0]))


@check("group normalisation by hand", "layers.norm.group_norm")
def group_norm_by_hand() -> float:
    """1, 3, 5, 7 have mean 4 and variance 5, with ε = 4 the root 3; a group of equal numbers leaves the shift.
    For ε → 0 a shift and a factor of x for each group and example change nothing."""
    x = np.array([[[1.0, 5, 2, 2], [3, 7, 2, 2]]])
    y = norm.group_norm(x, np.array([3.0, 6, 1, 1]), np.array([0.0, 1, 5, -5]), groups=2, epsilon=4.0)
    pixels = normal(3, 4, 2, 6)
    moved = pixels * np.repeat(normal(3, 1, 1, 2, seed=1) ** 2 + 1, 3, axis=-1) + np.repeat(normal(3, 1, 1, 2, seed=2), 3, axis=-1)
    once, again = (norm.group_norm(z, np.ones(6), np.zeros(6), groups=2, epsilon=1e-14) for z in (pixels, moved))
    return worst(apart(y, [[[-3, 3, 5, -5], [-1, 7, 5, -5]]]), apart(again, once))
