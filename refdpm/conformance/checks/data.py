"""Checks of the heartbeat's law, and of what is done to stored images: by numbers and by the noise's own moments."""

from math import sqrt

import numpy as np

from refdpm.conformance.checks.common import apart, check, passes, worst
from refdpm.data import heartbeat, prepare
from refdpm.data.prepare import Constants

# values and the distance of their levels: such that the noise is a good part of the variance
SETS = ((np.array([0, 3, 3, 255, 64, 200, 1], dtype=np.uint8), 1.0), (np.array([[2, 2], [4, 8], [2, 6]]), 2.0),
        (np.array([0.0, 0.5, 0.25, 1.0, 0.75]), 0.25), (np.array([-1.5, 0.25, 4.0]), 0.0), (np.full(3, 9, np.uint8), 1.0))


@check("images: mean square 1 with the noise", "data.prepare.constants_of", "data.prepare.prepare")
def moments_with_the_noise() -> float:
    """E x = 0 and E x² = 1 over values and noise: Simpson's rule over the noise is exact, as x is linear in it."""
    errors = []
    for values, level in SETS:
        constants = prepare.constants_of(values, level=level)
        x = np.stack([prepare.prepare(values, constants, noise=np.full(values.shape, u)).ravel() for u in (0.0, 0.5, 1.0)])
        moments = np.array([1, 4, 1]) / 6 @ np.stack([x.mean(axis=1), np.square(x).mean(axis=1)], axis=1)
        errors.append(apart(moments, [0, 1]))
    return worst(*errors)


@check("images: there and back by hand", "data.prepare.prepare", "data.prepare.restore")
def images_by_hand() -> float:
    """x by hand with given constants, whatever else is in the batch; and pictures from x, rounded and clipped."""
    constants = Constants(mean=100.0, scale=0.02, level=1.0)
    values, noise = np.array([0, 100, 255], dtype=np.uint8), np.array([0.5, 0.75, 0.0])
    x = [-2.0, 0.005, 3.09]
    one_by_one = [prepare.prepare(values[i:i + 1], constants, noise=noise[i:i + 1])[0] for i in range(3)]
    given = np.array([-2.0, 0.009, 0.011, -0.011, 3.11, -9.0])
    return worst(apart(prepare.prepare(values, constants, noise=noise), x), apart(one_by_one, x),
                 passes(np.array_equal(prepare.restore(given, constants), [0, 100, 101, 99, 255, 0])))


@check("heartbeat: every phase alike", "data.heartbeat.draw")
def phases_are_alike() -> float:
    """A beat in every period and the same place of each; each of 5, of 3 and of 4 phases in an equal share of 9000 draws: six
    standard errors each, so that another seed would raise a false alarm in 2·10⁻⁸ of all cases."""
    rng, found = np.random.default_rng(11), []
    for bits, period in ((20, 5), (6, 3), (4, 4)):
        folded = heartbeat.draw(rng, 9000, bits=bits, period=period).reshape(9000, -1, period)
        share = folded[:, 0].mean(axis=0)
        found += [passes(folded == folded[:, :1], folded[:, 0].sum(axis=1) == 1),
                  float(np.abs(share - 1 / period).max() / (6 * sqrt((1 - 1 / period) / period / 9000)))]
    return worst(*found)
