"""The decimals of the layers of images, against rational arithmetic and by hand."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from itertools import product

import pytest

from refdpm.oracles import decimals, decimals_image


@pytest.fixture(autouse=True)
def many_digits():
    with localcontext(Context(prec=90)):
        yield


def same(got, expected):
    exact = Decimal(expected.numerator) / expected.denominator if isinstance(expected, Fraction) else Decimal(expected)
    return abs(got - exact) <= Decimal("1e-60") * max(abs(exact), 1)


def some(*shape, start=0):
    """Nested lists of floats of both signs, no two alike."""
    if not shape:
        return (start % 17 - 8) / 8 + start / 1024
    return [some(*shape[1:], start=7 * start + 3 * i + 1) for i in range(shape[0])]


X, KERNEL, BIAS = some(4, 6, 2), some(3, 5, 2, 3), some(3)


def convolved(x, weight, bias, part=lambda value: value):
    """Σ of part(x w) in fractions over a padded image."""
    H, W, kh, kw = len(x), len(x[0]), len(weight), len(weight[0])
    inside = {(h + kh // 2, w + kw // 2): x[h][w] for h, w in product(range(H), range(W))}

    def at(h, w, k):
        met = [(Fraction(value), Fraction(weight[i][j][c][k])) for i, j in product(range(kh), range(kw))
               for c, value in enumerate(inside.get((h + i, w + j), ()))]
        return part(Fraction(bias[k])) + sum(part(value * tap) for value, tap in met)

    return [[[at(h, w, k) for k in range(len(bias))] for w in range(W)] for h in range(H)]


def test_convolution_in_fractions():
    got, values, scales = decimals_image.conv2d(X, KERNEL, BIAS), convolved(X, KERNEL, BIAS), convolved(X, KERNEL, BIAS, part=abs)
    for h, w, k in product(range(4), range(6), range(3)):
        assert same(got[h][w][k].value, values[h][w][k]) and same(got[h][w][k].scale, scales[h][w][k])


def test_pooling_and_repetition_by_hand():
    x = [[[1.0], [2.0], [-8.0], [0.0]], [[3.0], [5.0], [1.0], [1.0]]]
    (first, second), = decimals_image.mean_pool(x, 2)
    assert first[0] == (Decimal("2.75"), Decimal("2.75")) and second[0] == (Decimal("-1.5"), Decimal("2.5"))
    assert [[pixel[0].value for pixel in row] for row in decimals_image.upsample([[[1.0], [2.0]]], 2)] == [[1, 1, 2, 2]] * 2


def test_scales_by_hand():
    """Two pixels by two in one colour, one tap: 2x + 1 of every pixel and −x of the mean."""
    x, kernels = [[[1.0], [-2.0]], [[4.0], [-1.0]]], [[[[[[2.0]]]], [1.0]], [[[[[-1.0]]]], [0.0]]]
    plain, leaky = decimals_image.multiscale(x, kernels), decimals_image.multiscale_released(x, kernels)
    slope = Fraction(0.05)
    for (row, column), value in {(0, 0): 1, (0, 1): -2, (1, 0): 4, (1, 1): -1}.items():
        fine, coarse = 2 * value + 1, -Fraction(1, 2)
        assert same(plain[row][column][0].value, fine + coarse)
        assert same(leaky[row][column][0].value, (max(fine, slope * fine) + slope * coarse) / 2)
    assert same(plain[0][0][0].scale, Fraction(3) + 2)                       # |2| + |1|, and (1 + 2 + 4 + 1)/4


def test_mixtures_and_paths_by_hand():
    assert decimals_image.temporal([2.0, -3.0], [0.25, 0.5]) == (Decimal(-1), Decimal(2))
    assert [unit.value for unit in decimals_image.side_by_side([2.0, -4.0, 6.0, 1.0], [3.0])] == [1, -2, 3, Decimal("0.5"), 3]


def test_bumps_by_hand():
    """Two of them: T = 4, log odds −(t − 2)/2; released T = 5, log odds 3 − t."""
    for t, log_odds in ((1, "0.5"), (2, 0), (4, -1)):
        first, second = decimals_image.bumps(t, 4, 2)
        assert same(first.value, decimals.sigmoid(Decimal(log_odds)).value) and same(first.value + second.value, 1)
    for t, log_odds in ((1, 2), (3, 0), (5, -2)):
        assert same(decimals_image.bumps_released(t, 5, 2)[0].value, decimals.sigmoid(log_odds).value)
    assert decimals_image.bumps(3, 5, 1)[0] == decimals_image.bumps_released(3, 5, 1)[0] == (1, 1)
    assert all(unit.scale >= unit.value > 0 for unit in decimals_image.bumps(999, 1000, 7))


@pytest.mark.parametrize("released", [0, 1])
def test_network_of_one_pixel(released):
    """One colour, one bump: the features of both paths, halved in square, through one layer to both heads."""
    x, beta, level = 0.5, 0.25, -0.125
    conv, dense = [[[[[[[3.0]]]], [-1.0]]]], [[[[0.5]], [0.25]]]
    pixelwise, last = [[[[1.0], [-2.0]], [0.5]]], [[[2.0, -1.0]], [0.0, 1.0]]
    law = decimals_image.image(conv, dense, pixelwise, last, [[[x]]], 2, 3, 1, released, beta, level)[0][0][0]
    tanh, near = (lambda v: decimals.tanh(v).value), decimals.softplus(0.5).value
    if released:
        tanh, near = (lambda v: decimals.leaky_relu(v, 0.05).value), Decimal("0.5")
    hidden = tanh(near - 2 * tanh(0.5) + Decimal("0.5"))
    expected = decimals.denoising(2 * hidden, 1 - hidden, x, beta, level)
    assert same(law.mean.value, expected.mean.value) and same(law.var.value, expected.var.value)
    assert law.mean.scale > expected.mean.scale and law.var.scale > expected.var.scale
