"""Dead leaves: discs of one grey value each, fallen on top of one another until nothing of the ground is seen.

The stationary law of Matheron: leaves fall for ever, uniformly over the whole plane, with independent radii of density f and
independent grey values; one looks at the pile from above.  Here f(r) ∝ r⁻³ between two radii, the only power for which the law
looks the same at every scale between them, and a grey value is one of 256 levels, all equally probable.

Seen from above, a point shows the *first* leaf that covers it, so that the leaves are dealt front to back, and one may stop as soon
as every pixel is covered: nothing that follows can be seen.  No leaf that misses the window can be seen either, wherever in the
plane it lies; so the whole plane is had by dealing only leaves whose bounding square meets the window.  Both steps are exact:
the images have no border effect, and no ground shows through.

Two points at a distance d show the same leaf with the probability γ(d)/(2γ(0) − γ(d)), γ(d) = ∫ f(r) |B_r(0) ∩ B_r(d)| dr, which is
also the correlation of their grey values.

The paper trained on the images of Theis et al. (2012), which are not these: theirs is a fixed set, divided into training and test
images, whose leaves and greys have laws of their own, and neither is stated in the paper.  Bits per pixel depend on how many edges
an image has, hence on the two radii, so numbers from here are to be compared with each other and not with the paper's.

Source: Ruderman, Vision Research 37 (1997); Lee, Mumford and Huang, Int. J. Computer Vision 41 (2001).
"""

from typing import NamedTuple

import numpy as np

from refdpm.vjp import Array

LEVELS = 256
_LEAVES = 16                  # leaves dealt at once to each image: changes the speed and the use of the generator, not the law
_IMAGES = 256                 # images worked on at once, so that their arrays stay in the cache


class Leaves(NamedTuple):
    """Discs, along the first axis in the order in which they hide one another, the first in front.   Units: pixels; grey levels."""

    y: Array
    x: Array
    radius: Array
    level: Array


def draw(rng: np.random.Generator, n: int, *, height: int = 16, width: int = 16, r_min: float = 1.0, r_max: float = 32.0) -> Array:
    """n independent images, each a window of a plane of its own.   → uint8 (n, height, width, 1), levels 0..255.

    A pixel shows the leaf that covers its centre: no smoothing across edges.

    Units: radii in pixels.  A pixel waits for about height·width/(2π r_min² log(r_max/r_min)) leaves, so small r_min are slow.
    Raises: ValueError unless n ≥ 0, the sizes are at least 1 and 0 < r_min < r_max < ∞.
    """
    for name, value, least in (("n", n, 0), ("height", height, 1), ("width", width, 1)):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    if not 0 < r_min < r_max < np.inf:
        raise ValueError(f"r_min, r_max: expected 0 < r_min < r_max < ∞, got {r_min}, {r_max}")
    images = np.empty((n, height, width, 1), dtype=np.uint8)
    for start in range(0, n, _IMAGES):
        part = images[start:start + _IMAGES]
        part[..., 0] = np.moveaxis(_pile(rng, len(part), height=height, width=width, r_min=r_min, r_max=r_max), 2, 0)
    return images


def deal(rng: np.random.Generator, shape: tuple[int, ...], *, height: int, width: int, r_min: float, r_max: float) -> Leaves:
    """Independent leaves that the window of pixel centres, [0, height − 1] × [0, width − 1], might meet.

    Derivation: with leaves of every radius uniform over the plane, those of radius r whose bounding square meets the window have
    their centres in a rectangle of sides h + 2r and w + 2r, h = height − 1, w = width − 1.  So they have the density

        r⁻³ (h + 2r)(w + 2r)  =  hw r⁻³ + 2(h + w) r⁻² + 4 r⁻¹

    on [r_min, r_max], a mixture of three power laws, and given r the centre is uniform in that rectangle.
    """
    h, w = height - 1, width - 1
    u, a, b = rng.random(shape), 1 / r_min, 1 / r_max
    weights = np.array([h * w * (a * a - b * b) / 2, 2 * (h + w) * (a - b), 4 * np.log(a / b)])
    power = rng.choice(3, size=shape, p=weights / weights.sum())
    radius = np.choose(power, (1 / np.sqrt(a * a - u * (a * a - b * b)), 1 / (a - u * (a - b)), r_min * (a / b) ** u))
    y, x = ((side + 2 * radius) * rng.random(shape) - radius for side in (h, w))
    return Leaves(y, x, radius, rng.integers(0, LEVELS, shape, dtype=np.uint8))


def _pile(rng: np.random.Generator, n: int, *, height: int, width: int, r_min: float, r_max: float) -> Array:
    """n images at once, leaf by leaf, until none has a bare pixel.   → (height, width, n): images last, where loops are fast."""
    y, x = np.arange(height)[:, None, None], np.arange(width)[:, None]
    images, bare = np.zeros((height, width, n), dtype=np.uint8), np.ones((height, width, n), dtype=bool)
    unfinished = np.arange(n)
    while len(unfinished):
        leaves = deal(rng, (_LEAVES, len(unfinished)), height=height, width=width, r_min=r_min, r_max=r_max)
        image, free = images[..., unfinished], bare[..., unfinished]
        for leaf in map(Leaves._make, zip(*leaves)):
            hit = (np.square(x - leaf.x) <= np.square(leaf.radius) - np.square(y - leaf.y)) & free
            np.copyto(image, leaf.level, where=hit)
            free ^= hit
        images[..., unfinished], bare[..., unfinished] = image, free
        unfinished = unfinished[free.any(axis=(0, 1))]
    return images
