"""Dead leaves against the laws that are known of them: pairs and triples of points by quadrature, greys, radii, no border."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, kstest

from refdpm.data import dead_leaves

HEIGHT, WIDTH, R_MIN, R_MAX = 7, 11, 1.3, 9.0
SIZES = dict(height=HEIGHT, width=WIDTH, r_min=R_MIN, r_max=R_MAX)
N = 20_000
IMAGES = dead_leaves.draw(np.random.default_rng(0), N, **SIZES)[..., 0]
GREY = (IMAGES - 127.5) / np.sqrt((256 ** 2 - 1) / 12)


def lens(r, d):
    """The area common to two discs of radius r whose centres are d apart."""
    return 2 * r * r * np.arccos(d / (2 * r)) - d / 2 * np.sqrt(4 * r * r - d * d) if d < 2 * r else 0.0


def gamma(d):
    """∫ r⁻³ · lens dr, without the constant that cancels in every ratio."""
    return quad(lambda r: lens(r, d) / r ** 3, R_MIN, R_MAX, points=[d / 2] if R_MIN < d / 2 < R_MAX else None, epsabs=1e-12)[0]


def pair(d):
    """P(two points at a distance d show the same leaf): the first leaf that covers either covers both."""
    return gamma(d) / (2 * gamma(0) - gamma(d))


def triple(d):
    """The same for three points in a row, d apart: what is common to all is what is common to the outer two."""
    return gamma(2 * d) / (3 * gamma(0) - 2 * gamma(d))


OFFSETS = [(0, 1), (1, 0), (1, 1), (2, -1), (0, 4), (5, 3), (6, 10)]


@pytest.mark.parametrize("dy,dx", OFFSETS)
@pytest.mark.parametrize("corner", [0, 1, 2])
def test_correlation_is_the_probability_of_a_common_leaf(dy, dx, corner):
    """At the two ends of the window and in its middle; 21 means within 5 standard errors: a false alarm in 1e-5 of the seeds."""
    room = HEIGHT - 1 - dy, WIDTH - 1 - abs(dx)
    y, x = (corner * side // 2 for side in room)
    x_a, x_b = (x, x + dx) if dx >= 0 else (x - dx, x)
    product = GREY[:, y, x_a] * GREY[:, y + dy, x_b]
    assert abs(product.mean() - pair(np.hypot(dy, dx))) < 5 * product.std() / np.sqrt(N)


@pytest.mark.parametrize("y,x,dy,dx", [(0, 0, 0, 1), (0, 0, 1, 0), (2, 4, 1, 1), (4, 8, 1, 1), (3, 0, 0, 5)])
def test_three_in_a_row(y, x, dy, dx):
    """Equal greys of three leaves or of two by chance: P₃ + 3 (P₂ …)/256 at most; taken out exactly.   5 standard errors: 3e-6."""
    a, b, c = (IMAGES[:, y + k * dy, x + k * dx] for k in range(3))
    d = np.hypot(dy, dx)
    all_same, near, far = triple(d), pair(d), pair(2 * d)
    two = 2 * (near - all_same) + (far - all_same)                # exactly two of the three share their leaf
    expected = all_same + two / 256 + (1 - all_same - two) / 256 ** 2
    equal = (a == b) & (b == c)
    assert abs(equal.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / N)


@pytest.mark.parametrize("y,x", [(0, 0), (0, 5), (3, 5), (6, 10)])
def test_greys_are_uniform_everywhere(y, x):
    """χ² of 256 levels over independent images, in the corners and in the middle: above the bound for one seed in 2.5e5."""
    counts = np.bincount(IMAGES[:, y, x], minlength=256)
    assert ((counts - N / 256) ** 2 / (N / 256)).sum() < chi2.isf(1e-6, 255)


def test_images_of_a_call_are_independent():
    """Neighbours in the batch, and those 16 and 64 apart: correlation of one pixel within 5/√n; a false alarm in 2e-6."""
    for lag in (1, 16, 64):
        product = GREY[lag:, 3, 5] * GREY[:-lag, 3, 5]
        assert abs(product.mean()) < 5 * product.std() / np.sqrt(len(product))


# -- the leaves ----------------------------------------------------------------------------------------------------------

LEAVES = dead_leaves.deal(np.random.default_rng(1), (400_000,), **SIZES)


def law(r):
    """The distribution function of r⁻³ (h + 2r)(w + 2r) between the radii, by quadrature."""
    def mass(top):
        return quad(lambda s: (HEIGHT - 1 + 2 * s) * (WIDTH - 1 + 2 * s) / s ** 3, R_MIN, top)[0]
    return np.array([mass(top) for top in r]) / mass(R_MAX)


def test_radii_of_the_leaves_that_may_meet_the_window():
    """Kolmogorov–Smirnov on 400,000; refused once in 10⁶ seeds."""
    grid = np.linspace(R_MIN, R_MAX, 400)
    assert kstest(LEAVES.radius, lambda r: np.interp(r, grid, law(grid))).pvalue > 1e-6


def test_leaves_centred_in_the_window_have_the_power_law():
    """Of all leaves of the plane, those centred in any fixed region have density ∝ r⁻³.   1e-6."""
    inside = (LEAVES.y >= 0) & (LEAVES.y <= HEIGHT - 1) & (LEAVES.x >= 0) & (LEAVES.x <= WIDTH - 1)
    assert inside.sum() > 30_000
    a, b = R_MIN ** -2, R_MAX ** -2
    assert kstest(LEAVES.radius[inside], lambda r: (a - r ** -2.0) / (a - b)).pvalue > 1e-6


def test_centres_are_uniform_around_the_window():
    """Each coordinate on its own interval, and no correlation between them (5 standard errors).   3e-6 together."""
    y = (LEAVES.y + LEAVES.radius) / (HEIGHT - 1 + 2 * LEAVES.radius)
    x = (LEAVES.x + LEAVES.radius) / (WIDTH - 1 + 2 * LEAVES.radius)
    assert kstest(y, "uniform").pvalue > 1e-6 and kstest(x, "uniform").pvalue > 1e-6
    assert abs(np.corrcoef(y, x)[0, 1]) < 5 / np.sqrt(len(y))


def test_a_painter_of_the_same_leaves_makes_the_same_image(monkeypatch):
    """Back to front, one leaf at a time, the leaves that were dealt to an image: what is on top is what was kept."""
    dealt, deal = [], dead_leaves.deal
    monkeypatch.setattr(dead_leaves, "deal", lambda *a, **kw: dealt.append(deal(*a, **kw)) or dealt[-1])
    image = dead_leaves.draw(np.random.default_rng(2), 1, **SIZES)[0, :, :, 0]
    painted = np.full((HEIGHT, WIDTH), -1)
    for leaves in reversed(dealt):
        for y, x, radius, level in reversed(list(zip(*(column[:, 0] for column in leaves)))):
            for row in range(HEIGHT):
                for column in range(WIDTH):
                    if (row - y) ** 2 + (column - x) ** 2 <= radius ** 2:
                        painted[row, column] = level
    assert np.array_equal(painted, image)


def test_greys_of_the_leaves_are_uniform_on_256_levels():
    """χ² of 1e-6, and every level occurs."""
    counts = np.bincount(LEAVES.level, minlength=256)
    assert len(counts) == 256 and ((counts - 1562.5) ** 2 / 1562.5).sum() < chi2.isf(1e-6, 255)


# -- the call ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n,height,width", [(0, 5, 4), (1, 1, 1), (3, 1, 9), (65, 6, 3)])
def test_shapes(n, height, width):
    images = dead_leaves.draw(np.random.default_rng(3), n, height=height, width=width)
    assert images.shape == (n, height, width, 1) and images.dtype == np.uint8


def test_the_seed_decides():
    first, again, other = (dead_leaves.draw(np.random.default_rng(seed), 70, **SIZES) for seed in (4, 4, 5))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_every_pixel_is_written(monkeypatch):
    """On two grounds of different greys the images are the same: nothing of the ground shows through."""
    found = []
    for ground in (0, 255):
        monkeypatch.setattr(np, "zeros", lambda shape, dtype, ground=ground: np.full(shape, ground, dtype))
        found.append(dead_leaves.draw(np.random.default_rng(6), 50, **SIZES))
    assert np.array_equal(*found)


@pytest.mark.parametrize("wrong,words", [
    (dict(n=-1), "n: expected at least 0, got -1"), (dict(height=0), "height: expected at least 1"), (dict(width=0), "width"),
    (dict(r_min=0), "0 < r_min < r_max < ∞, got 0, 32"), (dict(r_min=5, r_max=5), "got 5, 5"), (dict(r_max=np.inf), "r_max"),
    (dict(r_min=np.nan), "got nan")])
def test_wrong_sizes_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        dead_leaves.draw(np.random.default_rng(0), **{"n": 2, **wrong})
