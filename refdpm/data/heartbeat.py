"""The binary heartbeat: a beat at every `period`-th place of a sequence of bits, the first one anywhere in the first period.

There are `period` such sequences, all equally likely, so log2(period) bits is all that can be said about one: log2 5 = 2.32.
Beats are one place in five, as under π with the rate 0.2, for which K is a bound (`bound.correction`).

Source: App. D.1.2.
"""

import numpy as np

from refdpm.vjp import Array


def draw(rng: np.random.Generator, n: int, *, bits: int = 20, period: int = 5) -> Array:
    """n independent sequences, the phase uniform on 0..period−1.   → zeros and ones (n, bits), as floats.

    Raises: ValueError unless the period divides the number of bits; the phases would else differ in their number of beats.
    """
    if period < 1 or bits % period:
        raise ValueError(f"bits: expected a multiple of period = {period}, got {bits}")
    phase = rng.integers(period, size=(n, 1))
    return (np.arange(bits) % period == phase).astype(np.float64)
