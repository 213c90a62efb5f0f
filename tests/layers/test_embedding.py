"""Correct: the embedding of t entry by entry, under every order and spacing."""

import math

import numpy as np
import pytest

from refdpm.layers.embedding import ORDERS, SPACINGS, sinusoidal


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_entry(order, spacing):
    times, width = [0.0, 1, 2.5, 999], 8
    got = sinusoidal(np.array(times), width=width, order=order, spacing=spacing)
    last = 4 if spacing == "half" else 3
    for row, t in zip(got, times):
        sines, cosines = ([f(t / 10000 ** (i / last)) for i in range(4)] for f in (math.sin, math.cos))
        expected = {"sin_first": sines + cosines, "cos_first": cosines + sines,
                    "alternating": [x for pair in zip(sines, cosines) for x in pair]}[order]
        assert row == pytest.approx(expected, abs=1e-12)


def test_two_times_are_as_far_apart_as_their_difference_says():
    """|e(s) − e(t)|² = Σ (2 − 2 cos((s − t) f_i)): what a network can read is the distance of two times."""
    e = sinusoidal(np.array([7.0, 57, 300, 350]), width=12)
    assert np.sum((e[0] - e[1]) ** 2) == pytest.approx(np.sum((e[2] - e[3]) ** 2), rel=1e-12)
    assert np.sum(e * e, axis=1) == pytest.approx([6, 6, 6, 6], rel=1e-14)


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="order, spacing"):
        sinusoidal(np.zeros(1), width=4, order="cos")
