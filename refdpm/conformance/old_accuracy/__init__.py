"""How accurate every formula of the package is, measured against 70 digits.

    units = |float64 − exact| / (u · Σ|terms|),   u = 2⁻⁵³

with the exact value and Σ|terms| from `oracles.decimals`.  `accuracy` finds the worst of it for every formula, over inputs from
one end of the sensible range to the other: β from 1e-12 to 1 − 1e-6 and 1, ℓ down to −700, variances from 1e-12 to 1e6, apart
and all but equal, T up to 100000.  A formula in good order costs a few roundings; `LIMIT` is what is accepted.  One that is
written badly (1 − exp ℓ, the log of a product, log(1 + eˣ)) costs thousands, or all there is.

Where Σ|terms| is below the smallest normal number, float64 has fixed-point spacing, and that number takes its place.
"""

import numpy as np

from refdpm.conformance.accuracy import categorical, core, heartbeat, image, later, norm, product
from refdpm.conformance.accuracy.common import LIMIT, SEED, SMALLEST, UNIT, Accuracy, Groups, units

GROUPS: Groups = {**core.GROUPS, **product.GROUPS, **heartbeat.GROUPS, **image.GROUPS, **later.GROUPS, **norm.GROUPS,
                  **categorical.GROUPS}

__all__ = ["GROUPS", "LIMIT", "SMALLEST", "UNIT", "Accuracy", "accuracy", "units"]


def accuracy(thorough: bool = False, *, groups: tuple[str, ...] = ()) -> list[Accuracy]:
    """The worst units of every formula, or of those in the named `groups` (keys of `GROUPS`); the same at every call."""
    worst: dict[str, Accuracy] = {}
    for group in groups or tuple(GROUPS):
        for point in GROUPS[group](np.random.default_rng(SEED), 12000 if thorough else 1000):
            found = units(point.got, point.exact)
            if point.name not in worst or found > worst[point.name].units:
                worst[point.name] = Accuracy(point.name, found, ", ".join(f"{k} = {v}" for k, v in point.where.items()))
    return list(worst.values())
