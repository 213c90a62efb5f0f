"""Images in the IDX format of the MNIST files: a header of four big-endian words, and one byte a pixel.

    0x00000803   number of images   rows   columns   pixels, row by row, image by image

The first word says: bytes (08), three axes (03).  The files of labels, 0x00000801, have one axis and are refused by that name.
"""

from pathlib import Path
import struct

import numpy as np

from refdpm.data.files import opened
from refdpm.vjp import Array

IMAGES, LABELS = 0x803, 0x801


def read(path: Path) -> Array:
    """The images of a file, gzip or not.   → uint8 (N, rows, columns, 1)

    Raises: ValueError naming the file and the field; OSError if it cannot be opened.
    """
    with opened(path, "images in IDX format") as stream:
        magic, = struct.unpack(">I", stream.take(4, field="magic number"))
        if magic != IMAGES:
            what = "that of a file of labels" if magic == LABELS else f"0x{magic:08x}"
            raise ValueError(f"{path}: magic number: expected 0x{IMAGES:08x}, got {what}")
        shape = struct.unpack(">3I", stream.take(12, field="header"))
        for name, length in zip(("number of images", "rows", "columns"), shape):
            if length == 0:
                raise ValueError(f"{path}: {name}: expected at least 1, got 0")
        pixels = stream.take(shape[0] * shape[1] * shape[2], field="pixels")
        stream.end()
    return np.frombuffer(pixels, dtype=np.uint8).reshape(*shape, 1)
