"""Files of a stated size, gzip or not, read without trusting what they say of themselves.

A header may claim any size.  A plain file is measured before it is read; a compressed one is read piece by piece, and no more of
it than was claimed, so that neither can make us allocate what it does not contain.  Whatever is wrong is a ValueError that names
the file and the field.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
import gzip
import os
import zlib

_PIECE = 1 << 20
_RATIO = 1032                 # the most that one byte of deflate can expand to


class Stream:
    """The bytes of a file from its beginning, unpacked if it is gzip (told by its first two bytes, not by its name).

    `at_most` is what the file can hold: its size, or 1032 times that if it is packed.
    """

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        self.path = path
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        size = os.fstat(raw.fileno()).st_size
        self.at_most = size * _RATIO if packed else size
        self._file: BinaryIO = gzip.GzipFile(fileobj=raw) if packed else raw           # type: ignore[assignment]

    def read(self, size: int) -> bytes:
        """At most `size` bytes, fewer only at the end."""
        return self._file.read(size)

    def take(self, size: int, *, field: str) -> bytes:
        """Exactly `size` bytes.   Raises: ValueError naming the field if the file has fewer."""
        pieces, missing = [], size
        while missing and size <= self.at_most:
            pieces.append(self.read(min(missing, _PIECE)))
            missing -= len(pieces[-1])
            if not pieces[-1]:
                break
        if missing:
            got = f"{size - missing}" if size <= self.at_most else f"a file that can hold {self.at_most} at most"
            raise ValueError(f"{self.path}: {field}: expected {size} bytes, got {got}")
        return b"".join(pieces)

    def rest(self) -> bytes:
        """All that is left."""
        return b"".join(iter(lambda: self.read(_PIECE), b""))

    def skip(self) -> None:
        """To the end, where the checksum of a packed file is compared."""
        while self.read(_PIECE):
            pass

    def end(self) -> None:
        """That nothing is left, and that the checksum of a packed file is right.   Raises: ValueError."""
        if self.read(1):
            raise ValueError(f"{self.path}: end: expected the end of the file, got more bytes")


@contextmanager
def opened(path: Path, *, damage: tuple[type[Exception], ...] = ()) -> Iterator[Stream]:
    """The file as a `Stream`.

    Raises: ValueError naming the file if it is damaged as gzip, or in one of the ways `damage`; OSError if it cannot be opened.
    """
    damage = (gzip.BadGzipFile, EOFError, zlib.error) + damage
    with open(path, "rb") as raw:
        try:
            yield Stream(path, raw)
        except damage as error:
            raise ValueError(f"{path}: expected an undamaged file, got one that cannot be unpacked ({error})") from None
