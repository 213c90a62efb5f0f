"""The accuracy of softmax and of group normalisation: numbers of all sizes side by side, and numbers that are all but alike."""

from collections.abc import Iterator

import numpy as np

from refdpm import activation
from refdpm.conformance.accuracy.common import BOTH, Generator, Groups, Point, wide
from refdpm.layers import norm
from refdpm.oracles import decimals_norm


def _weights(rng: Generator, n: int) -> Iterator[Point]:
    """Rows of five, from 1e-9 to 800 and in between."""
    for _ in range(n // 20):
        x = wide(1e-9, 800.0, 0.0, signs=BOTH)(rng, 5) if rng.random() < 0.5 else 30 * rng.normal() + rng.normal(size=5)
        for k, (got, exact) in enumerate(zip(activation.softmax(x[None])[0], decimals_norm.softmax(x.tolist()))):
            yield Point("activation.softmax", float(got), exact, dict(x=x.tolist(), k=k))


def _groups(rng: Generator, n: int) -> Iterator[Point]:
    """Two images of 2 × 3 pixels, three groups of two channels; means far from 0 and next to it, ε large and small."""
    for _ in range(n // 50):
        mean, spread = wide(1e-3, 1e4, 0.0, signs=BOTH)(rng, 1)[0], wide(1e-4, 1e3)(rng, 1)[0]
        x, epsilon = mean + spread * rng.normal(size=(2, 2, 3, 6)), float(rng.choice([1e-6, 1e-5, 1e-3]))
        scale, shift = rng.normal(size=6), rng.normal(size=6)
        y = norm.group_norm(x, scale, shift, groups=3, epsilon=epsilon)
        for i, j in np.ndindex(2, 3):
            channels = slice(2 * j, 2 * j + 2)
            exact = decimals_norm.group_norm(x[i, ..., channels].ravel().tolist(), np.tile(scale[channels], 6).tolist(),
                                             np.tile(shift[channels], 6).tolist(), epsilon)
            for k, got in enumerate(y[i, ..., channels].ravel()):
                yield Point("norm.group_norm", float(got), exact[k], dict(mean=mean, spread=spread, epsilon=epsilon, k=k))


GROUPS: Groups = {"softmax": _weights, "group norm": _groups}
