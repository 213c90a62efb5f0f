"""The time as a vector: sines and cosines of it, at frequencies from 1 down to 1/10000, from which a network can read t.

Programs differ in the order of sines and cosines, and in whether the last frequency is 1/10000 or one before it; both are right as
long as training and sampling agree.  The frequencies are made for times from 0 to 1000: of times from 0 to 1 all but the first few
sines are as good as 0.
"""

import numpy as np

from refdpm.doors import open_doors
from refdpm.vjp import Array

ORDERS = ("sin_first", "cos_first", "alternating")
SPACINGS = ("half", "half_minus_1")


def sinusoidal(time: Array, *, width: int, order: str = "sin_first", spacing: str = "half") -> Array:
    """sin(t f_i) and cos(t f_i) with f_i = 10000^(−i/n), i = 0..width/2 − 1; n is width/2, or one less with spacing "half_minus_1".

    With order "sin_first" and "cos_first" all of one kind come before the other; "alternating" is sin, cos, sin, cos …

    Shapes: time (N,), real numbers → (N, width).   Domain: even widths, and width > 2 for "half_minus_1".
    Raises: ValueError for another name.
    Source: Vaswani et al. 2017 (alternating), Ho et al. 2020.
    """
    if order not in ORDERS or spacing not in SPACINGS:
        raise ValueError(f"order, spacing: expected one of {ORDERS} and of {SPACINGS}, got {order!r} and {spacing!r}")
    half = width // 2
    angle = time[:, None] * np.exp(-np.log(10000.0) * np.arange(half) / (half if spacing == "half" else half - 1))
    sines, cosines = np.sin(angle), np.cos(angle)
    if order == "alternating":
        return np.stack([sines, cosines], axis=-1).reshape(len(time), width)
    return np.concatenate([sines, cosines] if order == "sin_first" else [cosines, sines], axis=-1)


open_doors(globals(), inside=())
