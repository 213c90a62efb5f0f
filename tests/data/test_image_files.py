"""Arrays and pictures of any size, windows cut from them, and how they are divided."""

import builtins
import io
import struct

import numpy as np
import pytest

from refdpm.data import images as module
from refdpm.data.images import crops, read, split

rng = np.random.default_rng(0)
H, W = 4, 5


def bytes_of(*shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


# -- arrays --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape,seen", [
    ((H, W), (1, H, W, 1)), ((H, W, 3), (1, H, W, 3)), ((H, W, 1), (1, H, W, 1)), ((6, H, W), (6, H, W, 1)),
    ((6, H, W, 3), (6, H, W, 3)), ((6, H, W, 2), (6, H, W, 2)), ((6, H, 3), (1, 6, H, 3)), ((H, 3), (1, H, 3, 1))])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, ">f8"])
def test_axes_of_an_array(tmp_path, shape, seen, dtype):
    array = bytes_of(*shape).astype(dtype)
    for order in "CF":
        np.save(tmp_path / "x.npy", np.asarray(array, order=order))
        found = read(tmp_path / "x.npy")
        assert len(found) == seen[0] and all(image.shape == seen[1:] for image in found)
        assert np.array_equal(np.stack(found), array.reshape(seen)) and found[0].dtype == np.dtype(dtype).newbyteorder("=")


def content_of(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


GOOD = content_of(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))


def header(text):
    text = text.encode() + b" " * (117 - len(text)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("content,words", [
    (b"", "x.npy: expected an array"), (b"hello", "expected an array"), (GOOD + b"\0", "end: expected 188 bytes, got 189"),
    (content_of(np.zeros((3, 4, 5, 1, 1))), "shape: .*got"), (content_of(np.zeros(3)), "shape: "),
    (content_of(np.array(1.0)), "shape: "),
    (content_of(np.zeros((0, 4, 5))), "x.npy: "), (content_of(np.zeros((2, 3), int)), "type: .*int64"),
    (content_of(np.zeros((2, 3), bool)), "type: "), (content_of(np.zeros((2, 3), complex)), "type: "),
    (content_of(np.array([[None]])), "expected an array"), (content_of(np.array([[1.0, np.nan]])), "finite"),
    (content_of(np.array([[1.0, np.inf]])), "finite"),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3, 3), }"), "x.npy: "),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 1), }"), "x.npy: "),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3), }"), "x.npy: "),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), 'x': 1}"), "expected an array"),
    (header("[" * 100), "expected an array")])
def test_other_files_are_refused(tmp_path, content, words):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read(tmp_path / "x.npy")


def test_every_truncation_and_every_spoiled_byte_of_the_header(tmp_path):
    path, whole = tmp_path / "x.npy", np.arange(60, dtype=np.uint8).reshape(3, 4, 5, 1)
    for length in range(len(GOOD)):
        path.write_bytes(GOOD[:length])
        with pytest.raises(ValueError, match="x.npy"):
            read(path)
    for place in range(128):
        path.write_bytes(GOOD[:place] + bytes([GOOD[place] ^ 0x7F]) + GOOD[place + 1:])
        try:
            assert np.array_equal(np.stack(read(path)), whole)     # a blank of the header's padding
        except ValueError as error:
            assert "x.npy" in str(error)


def test_archives_and_absent_files(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="x.npz: .*archive"):
        read(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.npy")


# -- folders -------------------------------------------------------------------------------------------------------------

@pytest.fixture
def Image():
    return pytest.importorskip("PIL.Image")


def test_pictures_sorted_by_name(tmp_path, Image):
    pictures = {"b.png": bytes_of(7, 4, 3), "a.PNG": bytes_of(5, 6, 3), "c.ppm": bytes_of(3, 8, 3)}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "README.txt").write_text("not a picture")
    (tmp_path / "d.png").mkdir()
    found = read(tmp_path)
    assert [image.shape for image in found] == [(5, 6, 3), (7, 4, 3), (3, 8, 3)]
    assert all(np.array_equal(image, pictures[name]) for image, name in zip(found, sorted(pictures)))
    for image, name in zip(read(tmp_path, grey=True), sorted(pictures)):
        luminance = pictures[name] @ np.array([0.299, 0.587, 0.114])
        assert image.shape == luminance.shape + (1,) and np.abs(image[..., 0] - luminance).max() < 0.51


@pytest.mark.parametrize("mode,colours", [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)])
def test_modes(tmp_path, Image, mode, colours):
    picture = Image.fromarray(bytes_of(H, W, 3)).convert(mode)
    picture.save(tmp_path / "x.png")
    image, = read(tmp_path)
    assert image.shape == (H, W, colours) and image.dtype == np.uint8
    assert np.array_equal(image, np.atleast_3d(np.asarray(picture.convert("L" if colours == 1 else "RGB"))))
    assert read(tmp_path, grey=True)[0].shape == (H, W, 1)


def test_pictures_that_are_refused(tmp_path, Image):
    with pytest.raises(ValueError, match="expected pictures .*without any"):
        read(tmp_path)
    Image.fromarray(bytes_of(H, W, 3)).save(tmp_path / "a.png")
    Image.fromarray(bytes_of(H, W)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="b.png: colours: expected 3 as in a.png, got 1"):
        read(tmp_path)
    assert len(read(tmp_path, grey=True)) == 2
    whole = (tmp_path / "a.png").read_bytes()
    for content in (b"", b"hello", whole[:-30], whole[:40], whole[:50] + b"\0\0\0" + whole[53:]):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(ValueError, match="b.png: expected a picture"):
            read(tmp_path)
    Image.fromarray(bytes_of(H, W).astype(np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="b.png: mode: .*I"):
        read(tmp_path)


def test_a_picture_cannot_make_us_allocate(tmp_path, Image, monkeypatch):
    """Neither one with too many pixels, nor many that are small as files."""
    Image.fromarray(bytes_of(40, 50)).save(tmp_path / "x.png")
    monkeypatch.setattr(module, "PIXELS", 1999)
    with pytest.raises(ValueError, match="x.png: size: expected at most 1999 pixels, got 50 × 40"):
        read(tmp_path)
    monkeypatch.undo()
    Image.new("RGB", (500, 500)).save(tmp_path / "y.png")
    monkeypatch.setattr(module, "LARGEST", 1000)
    with pytest.raises(ValueError, match="y.png: expected pictures that are no more than 30 times as large as their files"):
        read(tmp_path)


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(b"")
    real = builtins.__import__

    def absent(name, *arguments):
        if name.startswith("PIL"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ValueError, match="Pillow.*pip install pillow"):
        read(tmp_path)


# -- windows -------------------------------------------------------------------------------------------------------------

def numbered(*shapes):
    """Images whose pixels say which image, row and column they are."""
    return [np.stack([np.full(shape, i), *np.indices(shape)], axis=-1).astype(np.uint8) for i, shape in enumerate(shapes)]


def test_windows_are_windows_and_equally_probable():
    """χ² over all 6 + 1 + 20 windows of 2 × 3; refused once in 10⁶ seeds."""
    from scipy.stats import chi2
    images, n = numbered((4, 4), (2, 3), (5, 7)), 27_000
    found = crops(np.random.default_rng(1), images, n, height=2, width=3)
    assert found.shape == (n, 2, 3, 3) and found.dtype == np.uint8
    corner = found[:, :1, :1]
    assert np.array_equal(found - corner, np.broadcast_to(numbered((2, 3))[0], found.shape))
    places, counts = np.unique(corner.reshape(n, 3), axis=0, return_counts=True)
    expected = [(i, y, x) for i, (h, w) in enumerate([(4, 4), (2, 3), (5, 7)]) for y in range(h - 1) for x in range(w - 2)]
    assert places.tolist() == [list(place) for place in expected] and len(expected) == 27
    assert ((counts - 1000) ** 2 / 1000).sum() < chi2.isf(1e-6, 26)


def test_windows_by_seed_and_without_changing_anything():
    images = [bytes_of(9, 7, 1), bytes_of(6, 8, 1)]
    first, again, other = (crops(np.random.default_rng(seed), images, 30, height=4, width=3) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    before = images[0].copy()
    first[:] = 0
    assert np.array_equal(images[0], before)
    assert crops(rng, images, 0, height=4, width=3).shape == (0, 4, 3, 1)
    assert crops(rng, [image / 255 for image in images], 2, height=6, width=7).dtype == np.float64
    assert crops(rng, np.stack([bytes_of(6, 7, 2)] * 3), 5, height=3, width=3).shape == (5, 3, 3, 2)


@pytest.mark.parametrize("images,window,words", [
    ([], (1, 1), "expected an image"), ([bytes_of(4, 5, 1)], (0, 1), "1 × 1"), ([bytes_of(4, 5, 1)], (1, 0), "1 × 1"),
    ([bytes_of(9, 9, 1), bytes_of(4, 5, 1)], (5, 5), r"H ≥ 5, W ≥ 5, got \(4, 5, 1\) in image 1"),
    ([bytes_of(9, 9, 1), bytes_of(5, 4, 1)], (5, 5), "in image 1"), ([bytes_of(9, 9)], (5, 5), r"\(H, W, C\)"),
    ([bytes_of(9, 9, 1), bytes_of(9, 9, 3)], (5, 5), "1 colours and uint8 as in image 0, got 3"),
    ([bytes_of(9, 9, 1), bytes_of(9, 9, 1) / 255], (5, 5), "got 1 and float64 in image 1")])
def test_impossible_windows_are_refused(images, window, words):
    with pytest.raises(ValueError, match=words):
        crops(rng, images, 3, height=window[0], width=window[1])


@pytest.mark.parametrize("count,every,held", [(2, 5, [0]), (6, 5, [0, 5]), (11, 5, [0, 5, 10]), (4, 2, [0, 2])])
def test_division_by_image(count, every, held):
    images = numbered(*[(3, 4)] * count)
    training, kept = split(images, every=every)
    assert [int(image[0, 0, 0]) for image in kept] == held
    assert [int(image[0, 0, 0]) for image in training] == [i for i in range(count) if i not in held]


@pytest.mark.parametrize("shape", [(10, 7), (7, 10), (8, 8), (2, 1), (11, 3)])
def test_division_of_a_single_image(shape):
    image, = numbered(shape)
    (training,), (held,) = split([image])
    axis = int(shape[1] > shape[0])
    assert np.array_equal(np.concatenate([training, held], axis=axis), image)
    assert held.shape[axis] == -(-shape[axis] // 5) and training.shape[axis] >= 1


@pytest.mark.parametrize("images,every", [([], 5), (numbered((4, 4), (4, 4)), 1), (numbered((1, 1)), 5)])
def test_impossible_divisions_are_refused(images, every):
    with pytest.raises(ValueError, match="expected"):
        split(images, every=every)


def test_suffixes_are_lower_case():
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in module.SUFFIXES)
