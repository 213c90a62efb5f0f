"""The IDX reader on files written here by the format's description, whole, cut, and with every field spoiled."""

import gzip
import struct

import numpy as np
import pytest

from refdpm.data import idx

N, H, W = 3, 4, 5
PIXELS = np.random.default_rng(0).integers(0, 256, (N, H, W), dtype=np.uint8)


def file_of(pixels, *, magic=0x803, shape=None):
    """The format written out: four words, the highest byte first, then the pixels."""
    return struct.pack(">IIII", magic, *(shape or pixels.shape)) + bytes(int(p) for p in pixels.ravel())


GOOD = file_of(PIXELS)
PACKED = gzip.compress(GOOD, mtime=0)


def write(tmp_path, content, name="images-idx3-ubyte"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [GOOD, PACKED, gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:])],
                         ids=["plain", "gzip", "two gzips"])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "x.gz"])
def test_images_are_read_whatever_the_name(tmp_path, content, name):
    images = idx.read(write(tmp_path, content, name))
    assert images.dtype == np.uint8 and np.array_equal(images, PIXELS[..., None])


def test_larger_than_a_piece(tmp_path):
    many = np.random.default_rng(1).integers(0, 256, (3000, 28, 28), dtype=np.uint8)            # 2.4 MB
    content = struct.pack(">IIII", 0x803, *many.shape) + many.tobytes()
    for file in (content, gzip.compress(content, 1)):
        assert np.array_equal(idx.read(write(tmp_path, file))[..., 0], many)


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_every_truncation_is_refused(tmp_path, length):
    for content in (GOOD[:length], gzip.compress(GOOD[:length])):
        path = write(tmp_path, content)
        with pytest.raises(ValueError, match="images-idx3-ubyte: (magic number|header|pixels): expected"):
            idx.read(path)


@pytest.mark.parametrize("length", range(len(PACKED)))
def test_every_truncation_of_the_packing_is_refused(tmp_path, length):
    with pytest.raises(ValueError, match="images-idx3-ubyte: "):
        idx.read(write(tmp_path, PACKED[:length]))


@pytest.mark.parametrize("place", range(len(PACKED)))
def test_damage_to_the_packing_never_changes_a_pixel(tmp_path, place):
    """A flipped byte is refused, or is one that means nothing (time, system, flags of speed)."""
    content = bytearray(PACKED)
    content[place] ^= 0xFF
    try:
        images = idx.read(write(tmp_path, bytes(content)))
    except ValueError as error:
        assert "images-idx3-ubyte" in str(error)
    else:
        assert np.array_equal(images[..., 0], PIXELS) and 4 <= place < 10


@pytest.mark.parametrize("place", range(16))
@pytest.mark.parametrize("value", [0x00, 0x01, 0x7F, 0xFF])
def test_every_spoiled_header_is_refused(tmp_path, place, value):
    content = bytearray(GOOD)
    if content[place] == value:
        return
    content[place] = value
    for packed in (bytes(content), gzip.compress(bytes(content))):
        with pytest.raises(ValueError, match="ubyte: (magic number|number of images|rows|columns|pixels|end): expected"):
            idx.read(write(tmp_path, packed))


@pytest.mark.parametrize("content,words", [
    (b"", "magic number: expected 4 bytes"),
    (struct.pack(">II", 0x801, 3) + b"\0\1\2", "magic number: .*file of labels"),
    (struct.pack("<IIII", 0x803, N, H, W) + GOOD[16:], "magic number: expected 0x00000803, got 0x03080000"),
    (file_of(PIXELS, magic=0xD03), "got 0x00000d03"), (GOOD + b"\0", "end: .*more bytes"), (gzip.compress(GOOD + b"\0"), "end: "),
    (PACKED + gzip.compress(b"x"), "end: "), (PACKED + b"junk", "damaged"),
    (file_of(PIXELS, shape=(0, H, W)), "number of images: expected at least 1"), (file_of(PIXELS, shape=(N, 0, W)), "rows: "),
    (file_of(PIXELS, shape=(N, H, 0)), "columns: "), (file_of(PIXELS, shape=(N + 1, H, W)), "pixels: expected 80 bytes"),
    (PACKED[:-8] + b"\0" * 8, "damaged.*CRC")])
def test_what_is_wrong_is_named(tmp_path, content, words):
    with pytest.raises(ValueError, match="images-idx3-ubyte: .*" + words):
        idx.read(write(tmp_path, content))


@pytest.mark.parametrize("shape", [(2 ** 32 - 1,) * 3, (2 ** 20, 2 ** 10, 2 ** 3), (2 ** 31, 2 ** 31, 4)])
def test_a_header_cannot_make_us_allocate(tmp_path, shape):
    """Not even 4 MB for claims of 8 GB and more; 2³¹ · 2³¹ · 4 is 0 in 64 bits."""
    import tracemalloc
    for pack in (bytes, gzip.compress):
        path = write(tmp_path, pack(file_of(PIXELS, shape=shape)))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="pixels: expected .* bytes, got"):
                idx.read(path)
            assert tracemalloc.get_traced_memory()[1] < 4e6
        finally:
            tracemalloc.stop()


def test_what_packs_well_is_read(tmp_path):
    """Zeros pack a thousandfold, the most there is."""
    path = write(tmp_path, gzip.compress(struct.pack(">IIII", 0x803, 5000, 28, 28) + bytes(5000 * 28 * 28)))
    assert path.stat().st_size < 5000 and not idx.read(path).any()


def test_a_claim_that_a_packed_file_might_keep_is_not_believed_either(tmp_path):
    """100 kB that could be 100 MB, and claim to be 32 MB: what is there is read, and no room made for the rest."""
    import tracemalloc
    noise = np.random.default_rng(2).integers(0, 256, (100, 32, 32), dtype=np.uint8)
    path = write(tmp_path, gzip.compress(struct.pack(">IIII", 0x803, 1 << 15, 32, 32) + noise.tobytes()))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="pixels: expected 33554432 bytes, got 102400"):
            idx.read(path)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_more_packed_than_claimed_is_not_unpacked(tmp_path):
    """64 MB of zeros behind the pixels, in 64 kB: the first of them is one too many."""
    import tracemalloc
    path = write(tmp_path, gzip.compress(GOOD + bytes(64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="end: "):
            idx.read(path)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_no_file_is_no_value_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        idx.read(tmp_path / "absent")
    with pytest.raises(OSError):
        idx.read(tmp_path)
