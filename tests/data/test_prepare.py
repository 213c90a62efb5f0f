"""Constants, dequantisation and its inverse; and that each of the ways to get them wrong would be seen."""

import numpy as np
import pytest

from refdpm.data import dead_leaves, prepare as module
from refdpm.data.prepare import Constants, checked_images, constants_of, prepare, restore

rng = np.random.default_rng(0)
SKEWED = (rng.random((300, 5, 7, 3)) ** 3 * 256).astype(np.uint8)          # mean far from the middle, three colours


def second_moment(values, constants):
    """E x² over the noise exactly: x is linear in it, so that x² is a polynomial of degree 2, and Simpson's rule is exact."""
    low, middle, high = (np.square(prepare(values, constants, noise=np.full(values.shape, u))).mean() for u in (0.0, 0.5, 1.0))
    return (low + 4 * middle + high) / 6


DATA = {"bytes": (SKEWED, 1.0), "fractions": (SKEWED / 255, 1 / 255),
        "two levels, far apart": (SKEWED // 128 * np.uint8(128), 128.0),
        "single precision": ((SKEWED / 255).astype(np.float32), 1 / 255), "no grid": (rng.normal(3, 2, (40, 5, 6, 1)), 0.0),
        "words": (SKEWED.astype(np.int64) * 257, 257.0), "constant": (np.full((9, 2, 3, 1), 7, np.uint8), 1.0)}


@pytest.mark.parametrize("values,level", DATA.values(), ids=DATA)
def test_mean_square_with_the_noise_is_one(values, level):
    constants = constants_of(values, level=level)
    assert second_moment(values, constants) == pytest.approx(1, rel=1e-13)
    assert prepare(values, constants, noise=np.full(values.shape, 0.5)).mean() == pytest.approx(0, abs=1e-12)
    assert constants.level == level


@pytest.mark.parametrize("values,level", DATA.values(), ids=DATA)
def test_constants_by_numpy(values, level):
    whole = values.astype(np.float64)
    constants = constants_of(values, level=level)
    assert constants.mean == pytest.approx(whole.mean(), rel=1e-14)
    assert constants.scale == pytest.approx(1 / np.sqrt(whole.var() + level ** 2 / 12), rel=1e-12)


@pytest.mark.parametrize("chunk", [1, 97, 10 ** 9])
def test_pieces_make_no_difference(monkeypatch, chunk):
    small = SKEWED[:20]
    expected = [constants_of(values, level=1.0) for values in (small, small.astype(float))]
    monkeypatch.setattr(module, "_CHUNK", chunk)
    found = [constants_of(values, level=1.0) for values in (small, small.astype(float))]
    assert found[0] == expected[0] and np.allclose(found[1], expected[1], rtol=1e-14)


def test_no_copy_of_everything(monkeypatch):
    """64 MB of bytes with less than 40 MB more at any time; as float64 they would be 512 MB."""
    import tracemalloc
    many = np.zeros((64, 1024, 1024, 1), np.uint8)
    many[::2] = 3
    tracemalloc.start()
    constants = constants_of(many, level=1.0)
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()
    assert constants.mean == 1.5 and constants.scale == pytest.approx(1 / np.sqrt(2.25 + 1 / 12))


def test_the_noise_is_one_level_wide_after_scaling():
    """Its ends are half of level · scale to either side.  Level / scale, as in the released code, would be far more."""
    constants = constants_of(SKEWED, level=1.0)
    low, middle, high = (prepare(SKEWED, constants, noise=np.full(SKEWED.shape, u)) for u in (0.0, 0.5, 1.0))
    assert np.allclose(high - low, constants.scale, rtol=1e-10) and np.allclose(high + low, 2 * middle)
    assert np.allclose(middle, (SKEWED - constants.mean) * constants.scale)


def test_every_picture_comes_back():
    constants, u = constants_of(SKEWED, level=1.0), rng.random(SKEWED.shape)
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(restore(prepare(SKEWED, constants, noise=u), constants), SKEWED)
    for u in (1e-6, 0.5, 1 - 1e-6):
        assert np.array_equal(restore(prepare(every, constants, noise=np.full(256, u)), constants), every)
        fractions = constants_of(every / 255, level=1 / 255)
        assert np.array_equal(restore(prepare(every / 255, fractions, noise=np.full(256, u)), fractions, high=1.0), every)
    assert np.array_equal(restore(np.array([-1e9, 1e9]), constants), [0, 255])
    halves = restore(np.array([-1.0, -0.5, 0.0, 1.0]), Constants(0.0, 1.0, 0.0), low=-1.0, high=1.0)
    assert np.array_equal(halves, [0, 64, 128, 255])


def test_level_zero_has_no_noise():
    values, level = DATA["no grid"]
    constants = constants_of(values, level=level)
    assert np.array_equal(prepare(values, constants, noise=0.0), prepare(values, constants, noise=rng.random(values.shape)))


@pytest.mark.parametrize("values,level,words", [
    (SKEWED, -1.0, "level: .*got -1"), (SKEWED, np.nan, "level: .*nan"), (SKEWED[:0], 1.0, "at least one, got shape"),
    (np.full((3, 2), 5, np.uint8), 0.0, "two different ones at level 0, got 5"), (np.array([1.0, np.nan]), 0.0, "finite"),
    (np.array([1.0, np.inf]), 1.0, "finite"), (np.array([1e200, -1e200]), 1.0, "squares overflow")])
def test_impossible_constants_are_refused(values, level, words):
    with pytest.raises(ValueError, match=words):
        constants_of(values, level=level)


# -- what the bound demands ------------------------------------------------------------------------------------------------

TRAIN = dead_leaves.draw(np.random.default_rng(1), 400, height=6, width=5)
HELD = dead_leaves.draw(np.random.default_rng(2), 400, height=6, width=5)
C = constants_of(TRAIN, level=1.0)
X = prepare(TRAIN, C, noise=rng.random(TRAIN.shape))


def test_prepared_images_pass():
    assert np.array_equal(checked_images(X), X) and checked_images(X.astype(np.float32)).dtype == np.float64
    checked_images(prepare(HELD, C, noise=rng.random(HELD.shape)))
    ramp = X + np.linspace(-1, 1, 5)[:, None]                      # columns need not be centred …
    checked_images(ramp / np.sqrt(np.square(ramp).mean()))         # … when the whole has mean square 1


@pytest.mark.parametrize("x_0,words", [
    (X[..., 0], r"expected shape \(N, H, W, C\)"), (X[:99], "N ≥ 100"), (X[:, :0], "expected shape"),
    (np.where(np.arange(400)[:, None, None, None] == 17, np.nan, X), "finite.*image 17"), (X * 1.3, "mean square 1.*got 1.[67]"),
    (X + 1, "mean square 1.*got"), (X * 0.8, "mean square")])
def test_others_do_not(x_0, words):
    with pytest.raises(ValueError, match="^my images: .*" + words):
        checked_images(x_0, name="my images")


# -- ways to get it wrong, each planted and seen -----------------------------------------------------------------------------

def _divided(values, constants, *, noise):
    """The released code: one level divided by what the data are multiplied with."""
    return (values - constants.mean) * constants.scale + constants.level / constants.scale * (noise - 0.5)


def _not_centred(values, constants, *, noise):
    return (values + constants.level * noise - constants.mean) * constants.scale


def _of_the_batch(values, constants, *, noise):
    return prepare(values, constants_of(values, level=constants.level), noise=noise)


def _without_the_noise(values, *, level):
    return constants_of(values, level=0.0)._replace(level=level)


def _squared(values, *, level):
    right = constants_of(values, level=level)
    return right._replace(scale=right.scale ** 2)


@pytest.mark.parametrize("name,wrong", [
    ("prepare", _divided), ("prepare", _not_centred), ("constants_of", _without_the_noise), ("constants_of", _squared)])
def test_wrong_noise_or_scale_is_seen(name, wrong):
    values, level = DATA["two levels, far apart"]                  # so that the noise is a good part of the variance
    parts = {"prepare": prepare, "constants_of": constants_of} | {name: wrong}
    constants = parts["constants_of"](values, level=level)
    ends = [np.square(parts["prepare"](values, constants, noise=np.full(values.shape, u))).mean() for u in (0.0, 0.5, 1.0)]
    assert abs(ends @ np.array([1, 4, 1]) / 6 - 1) > 1e-3


def test_constants_of_the_batch_are_seen():
    """An image is prepared to the same numbers whatever else is in the batch, and a held-out one with the training constants."""
    u = rng.random(TRAIN.shape)

    def depends_on_the_batch(f):
        return not np.array_equal(f(TRAIN, C, noise=u)[:5], f(TRAIN[:5], C, noise=u[:5]))

    assert not depends_on_the_batch(prepare) and depends_on_the_batch(_of_the_batch)
    bright = np.minimum(HELD, 200) + np.uint8(55)
    for f, seen in ((prepare, True), (_of_the_batch, False)):
        assert (abs(np.square(f(bright, C, noise=u)).mean() - 1) > 0.05) == seen
