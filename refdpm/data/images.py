"""Images of any size from a `.npy` file or a folder, and windows cut from them.

For pictures larger than the model's patch, such as photographs of bark: `read` them, `split` them into training and held-out
pictures, and cut `crops` from each part.  Pictures in a folder are decoded by Pillow, of the extra `figures`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
import io
import logging
import math
import warnings

import numpy as np

from refdpm.data.files import LARGEST, array_of, reading
from refdpm.vjp import Array

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff")
PIXELS = 1 << 26              # of one picture
RATIO = 30                    # bytes of pixels for each byte of their files; only what is all alike packs better
GREY, COLOUR = ("1", "L", "LA"), ("CMYK", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")         # Pillow's modes of 8 bits


def read(path: Path, *, grey: bool = False) -> list[Array]:
    """Images (H, W, C) from a `.npy` file or a folder, all with the same C; not a copy where none is needed.

    grey: colours of pictures in a folder become one luminance (0.299 R + 0.587 G + 0.114 B); an array is left as it is.
    Raises: ValueError naming the file; OSError.
    """
    return _folder(path, grey=grey) if path.is_dir() else list(_array(path))


# -- arrays --------------------------------------------------------------------------------------------------------------

def _array(path: Path) -> Array:
    """(H, W), (H, W, C), (N, H, W) or (N, H, W, C) as the last; of three axes, a last one of 1 or 3 is colours."""
    mapped = array_of(path)
    if mapped.dtype != np.uint8 and mapped.dtype.kind != "f":
        raise ValueError(f"{path}: type: expected uint8 or floating point, got {mapped.dtype}")
    images = _four_axes(path, np.array(mapped, dtype=mapped.dtype.newbyteorder("=")))
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise ValueError(f"{path}: expected finite numbers, got NaN or infinity")
    return images


def _four_axes(path: Path, images: Array) -> Array:
    if images.ndim == 2:
        images = images[None, :, :, None]
    elif images.ndim == 3:
        images = images[None] if images.shape[2] in (1, 3) else images[..., None]
    if images.ndim != 4 or images.size == 0:
        raise ValueError(f"{path}: shape: expected (H, W), (H, W, C), (N, H, W) or (N, H, W, C), got {images.shape}")
    return images


# -- folders -------------------------------------------------------------------------------------------------------------

def _folder(path: Path, *, grey: bool) -> list[Array]:
    """Every picture of a folder, sorted by name; other files are passed over."""
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise ValueError(f"{path}: expected pictures ({', '.join(SUFFIXES)}), got a folder without any")
    images: list[Array] = []
    left = max(LARGEST, RATIO * sum(file.stat().st_size for file in files))
    for file in files:
        image = _picture(file, grey=grey)
        images.append(image)
        left -= image.size
        if left < 0:
            raise ValueError(f"{file}: expected pictures that are no more than {RATIO} times as large as their files, "
                             f"got larger ones")
        if image.shape[2] != images[0].shape[2]:
            raise ValueError(f"{file}: colours: expected {images[0].shape[2]} as in {files[0].name}, got {image.shape[2]}")
    return images


def _picture(path: Path, *, grey: bool) -> Array:
    """One picture as bytes (H, W, 1) or (H, W, 3): the first frame, as stored, transparency dropped.   Raises: ValueError."""
    Image = _pillow()
    with reading(path, "a picture"), warnings.catch_warnings(action="ignore"):
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > PIXELS:
                raise ValueError(f"{path}: size: expected at most {PIXELS} pixels, got {picture.width} × {picture.height}")
            if picture.mode not in GREY + COLOUR:
                raise ValueError(f"{path}: mode: expected 8 bits a colour, got Pillow's {picture.mode!r}")
            wanted = "L" if grey or picture.mode in GREY else "RGB"
            return np.atleast_3d(np.asarray(picture if picture.mode == wanted else picture.convert(wanted)))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ValueError("images: expected Pillow to be installed, got none; pip install pillow (the extra `figures`)") from None
    logging.getLogger("PIL").addHandler(logging.NullHandler())       # what it logs of a damaged file, it also raises
    return Image


# -- windows -------------------------------------------------------------------------------------------------------------

def split(images: Sequence[Array], *, every: int = 5) -> tuple[list[Array], list[Array]]:
    """Training and held-out images: images 0, every, 2·every … are held out, so that no picture is in both.

    Edge: a single image is cut in two across its longer side, and the last 1/every of it is held out; the parts touch, so that what
    is next to the cut is not independent.
    Raises: ValueError when there is no image, `every` is less than 2, or a single image is too small to be cut.
    """
    if len(images) == 0 or every < 2:
        raise ValueError(f"images, every: expected at least one image and every ≥ 2, got {len(images)} and {every}")
    if len(images) > 1:
        return [image for i, image in enumerate(images) if i % every], list(images[::every])
    image, = images
    axis = int(image.shape[1] > image.shape[0])
    length = image.shape[axis]
    if length < 2:
        raise ValueError(f"images: expected a single image to be at least 2 long, got shape {image.shape}")
    training, held = np.split(image, [length - math.ceil(length / every)], axis=axis)
    return [training], [held]


def crops(rng: np.random.Generator, images: Sequence[Array], n: int, *, height: int, width: int) -> Array:
    """n windows, each uniform among all windows of all images and independent of the others, given the images.

    Windows can overlap, so that n of them say less than n independent images would.

    Shapes: images (H_i, W_i, C); → (n, height, width, C).
    Raises: ValueError when there is no image, one is smaller than the window, or they differ in colours or type.
    """
    if len(images) == 0 or n < 0 or height < 1 or width < 1:
        raise ValueError(f"images, n, height, width: expected an image, n ≥ 0 and a window of at least 1 × 1, "
                         f"got {len(images)}, {n}, {height}, {width}")
    first = images[0]
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] < height or image.shape[1] < width:
            raise ValueError(f"images: expected shape (H, W, C) with H ≥ {height}, W ≥ {width}, got {image.shape} in image {i}")
        if image.shape[2] != first.shape[2] or image.dtype != first.dtype:
            raise ValueError(f"images: expected {first.shape[2]} colours and {first.dtype} as in image 0, "
                             f"got {image.shape[2]} and {image.dtype} in image {i}")
    ends = np.cumsum([(image.shape[0] - height + 1) * (image.shape[1] - width + 1) for image in images])
    place = rng.integers(0, ends[-1], n)
    which = np.searchsorted(ends, place, side="right")
    found = np.empty((n, height, width, first.shape[2]), dtype=first.dtype)
    for row, (i, last) in enumerate(zip(which, ends[which] - place - 1)):
        y, x = divmod(int(last), images[i].shape[1] - width + 1)
        found[row] = images[i][y:y + height, x:x + width]
    return found
