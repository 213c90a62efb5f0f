"""Checks of softmax and of group normalisation: fractions and decimals by hand, loops, and what does not change them.

No two sides are equal, and there are more groups than one and fewer than channels.
"""

from math import exp, fsum, sqrt

import numpy as np

from refdpm import activation
from refdpm.conformance.checks.common import Check, apart, passes, worst
from refdpm.conformance.checks.image import normal
from refdpm.layers import norm
from refdpm.vjp import Array


def softmax_by_hand() -> float:
    """Of the logarithms of 1, 2, 5: one, two and five eighths; row by row of more axes; far away on either side."""
    logs, shares = np.log([1.0, 2, 5]), np.array([0.125, 0.25, 0.625])
    rows, x = np.stack([logs, logs[::-1]]), normal(2, 3, 4)
    by_loops = [[[exp(a) / fsum(map(exp, row)) for a in row] for row in block] for block in x.tolist()]
    return worst(apart(activation.softmax(rows), [shares, shares[::-1]]), apart(activation.softmax(x), by_loops),
                 *(apart(activation.softmax(rows + far), [shares, shares[::-1]], within=1e-11) for far in (-1e4, 1e4)),
                 passes(activation.softmax(np.array([[800.0, -800]])) == [1, 0]))


def softmax_of_two_is_a_sigmoid() -> float:
    """g_1 = 1/(1 + e^(x_2 − x_1)); all alike, 1/K."""
    x = np.array([-30.0, -2, 0, 0.5, 7])
    pairs = activation.softmax(np.stack([x, 0 * x], axis=-1))
    return worst(apart(pairs, [[1 / (1 + exp(-a)), 1 / (1 + exp(a))] for a in x.tolist()]),
                 apart(activation.softmax(np.full((2, 7), -3.0)), np.full((2, 7), 1 / 7)))


def group_norm_by_loops() -> float:
    """Images of unequal sides, rows without pixels, and one axis of them; one group, one a channel, and between; ε 1e-5 and ½."""
    found = []
    for shape in ((2, 4, 3, 6), (3, 5, 6), (2, 6)):
        x, scale, shift = 2 + normal(*shape) * np.arange(1, 7), normal(6, seed=1), normal(6, seed=2)
        for groups, epsilon in ((3, 1e-5), (2, 0.5), (1, 1e-5), (6, 0.5)):
            found += [apart(norm.group_norm(x, scale, shift, groups=groups, epsilon=epsilon),
                            _by_loops(x, scale, shift, groups, epsilon))]
    return worst(*found, apart(norm.group_norm(x, scale, shift, groups=3), _by_loops(x, scale, shift, 3, 1e-5)))


def _by_loops(x: Array, scale: Array, shift: Array, groups: int, epsilon: float) -> Array:
    y, width = np.zeros_like(x), x.shape[-1] // groups
    for n in range(len(x)):
        for start in range(0, x.shape[-1], width):
            numbers = [float(x[n, ..., c][at]) for c in range(start, start + width) for at in np.ndindex(x.shape[1:-1])]
            mean = fsum(numbers) / len(numbers)
            root = sqrt(fsum((a - mean) ** 2 for a in numbers) / len(numbers) + epsilon)
            for c in range(start, start + width):
                y[n, ..., c] = (x[n, ..., c] - mean) / root * scale[c] + shift[c]
    return y


def group_norm_by_hand() -> float:
    """1, 3, 5, 7 have mean 4 and variance 5, with ε = 4 the root 3; a group of equal numbers leaves the shift."""
    x = np.array([[[1.0, 5, 2, 2], [3, 7, 2, 2]]])
    y = norm.group_norm(x, np.array([3.0, 6, 1, 1]), np.array([0.0, 1, 5, -5]), groups=2, epsilon=4.0)
    return apart(y, [[[-3, 3, 5, -5], [-1, 7, 5, -5]]])


def group_norm_makes_mean_0_and_variance_1() -> float:
    """For ε → 0; twice is once; a shift and a factor of x for each group and example change nothing; examples do not mix."""
    x, one, none = normal(3, 4, 2, 6), np.ones(6), np.zeros(6)

    def of(x: Array) -> Array:
        return norm.group_norm(x, one, none, groups=2, epsilon=1e-14)

    y = of(x)
    groups = y.reshape(3, 8, 2, 3)
    moved = x * np.repeat(normal(3, 1, 1, 2, seed=1) ** 2 + 1, 3, axis=-1) + np.repeat(normal(3, 1, 1, 2, seed=2), 3, axis=-1)
    return worst(apart(groups.mean(axis=(1, 3)), np.zeros((3, 2)), scale=1.0), apart(groups.var(axis=(1, 3)), np.ones((3, 2))),
                 apart(of(y), y), apart(of(moved), y), apart(of(x[::-1]), y[::-1]), apart(of(x[1:2]), y[1:2]))


CHECKS = (
    Check("softmax by hand", ("activation.softmax",), softmax_by_hand),
    Check("softmax of two is a sigmoid", ("activation.softmax",), softmax_of_two_is_a_sigmoid),
    Check("group normalisation by loops", ("layers.norm.group_norm",), group_norm_by_loops),
    Check("group normalisation by hand", ("layers.norm.group_norm",), group_norm_by_hand),
    Check("group normalisation makes mean 0 and variance 1", ("layers.norm.group_norm",), group_norm_makes_mean_0_and_variance_1),
)
