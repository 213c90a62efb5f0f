"""Checks of softmax and of group normalisation: fractions by hand, and what does not change them."""

from math import exp

import numpy as np

from refdpm import activation
from refdpm.conformance.checks.common import Check, apart, passes, worst
from refdpm.conformance.checks.image import normal
from refdpm.layers import norm
from refdpm.vjp import Array


def softmax_by_hand() -> float:
    """Of the logarithms of 1, 2, 5: one, two and five eighths; row by row of more axes; far away on either side."""
    logs, shares = np.log([1.0, 2, 5]), np.array([0.125, 0.25, 0.625])
    rows = np.stack([logs, logs[::-1]])
    return worst(apart(activation.softmax(rows), [shares, shares[::-1]]),
                 apart(activation.softmax(rows[None]), [[shares, shares[::-1]]]),
                 *(apart(activation.softmax(rows + far), [shares, shares[::-1]], within=1e-11) for far in (-1e4, 1e4)),
                 passes(activation.softmax(np.array([[800.0, -800]])) == [1, 0]))


def softmax_of_two_is_a_sigmoid() -> float:
    """g_1 = 1/(1 + e^(x_2 − x_1)); all alike, 1/K."""
    x = np.array([-30.0, -2, 0, 0.5, 7])
    pairs = activation.softmax(np.stack([x, 0 * x], axis=-1))
    return worst(apart(pairs, [[1 / (1 + exp(-a)), 1 / (1 + exp(a))] for a in x.tolist()]),
                 apart(activation.softmax(np.full((2, 7), -3.0)), np.full((2, 7), 1 / 7)))


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
    Check("group normalisation by hand", ("layers.norm.group_norm",), group_norm_by_hand),
    Check("group normalisation makes mean 0 and variance 1", ("layers.norm.group_norm",), group_norm_makes_mean_0_and_variance_1),
)
