"""The Swiss roll in two coordinates, noiseless, centred and scaled by exact constants.

The paper defines neither its generator nor its noise.  This is the law of scikit-learn's `make_swiss_roll` in the plane:
φ uniform on (3π/2, 9π/2), the point φ (cos φ, sin φ), whose moments are elementary integrals:

    E φ cos φ = 2        E φ sin φ = 2/(3π)        E φ² = 39π²/4
"""

import numpy as np

from refdpm.vjp import Array

CENTRE = np.array([2, 2 / (3 * np.pi)])
SCALE = float(np.sqrt((39 * np.pi ** 2 / 4 - CENTRE @ CENTRE) / 2))


def curve(phi: Array) -> Array:
    """The point of the roll at angle φ.   (N,) → (N, 2)."""
    return (phi[:, None] * np.stack([np.cos(phi), np.sin(phi)], axis=1) - CENTRE) / SCALE


def draw(rng: np.random.Generator, n: int) -> Array:
    """n independent points with mean 0 and E|x|² = 2.   → (n, 2)."""
    return curve(rng.uniform(1.5 * np.pi, 4.5 * np.pi, n))
