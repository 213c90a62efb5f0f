"""Files read without trusting what they say of themselves.

A header may claim any size.  A plain file is measured before it is read; a packed one is read piece by piece, no more of it than
was claimed, and no more than `LARGEST`, so that neither can make us allocate what it does not contain.  Whatever is wrong with a
file is a ValueError of one line that names it: `reading` sees to that, for every reader of this package.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
import gzip
import json
import os

import numpy as np

from refdpm.vjp import Array

LARGEST = 1 << 28             # bytes that a packed file may hold; what is larger can be unpacked before
LONGEST = 1 << 24             # bytes of a text
_PIECE = 1 << 20
_RATIO = 1032                 # the most that one byte of deflate can expand to
_LEADING = 200                # characters of another program's message that are passed on


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Whatever the body raises about the content of a file becomes a ValueError that names the file and says what was expected.

    What parsers raise for damaged files is documented nowhere; numbers that are too large for C, brackets that are nested too
    deep, and claims that are larger than the memory are among it.  A ValueError that names the file already stays as it is.
    Raises: ValueError; OSError if the file cannot be opened.
    """
    try:
        yield
    except Exception as error:
        named = isinstance(error, ValueError) and str(error).startswith(str(path))
        if named or isinstance(error, OSError) and error.filename is not None:
            raise
        said = str(error)[:_LEADING] or type(error).__name__
        raise ValueError(f"{path}: expected {what}, got a damaged one or another file ({said})") from None


def text_of(path: Path) -> str:
    """The text of a file in UTF-8, of at most `LONGEST` bytes.   Raises: ValueError naming the file; OSError."""
    with reading(path, "text in UTF-8"), open(path, "rb") as file:
        content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise ValueError(f"{path}: expected at most {LONGEST} bytes of text, got more")
        return content.decode()


def json_of(path: Path) -> Any:
    """What a file of JSON says.   Raises: ValueError naming the file if it is none, or too long, or nested too deep; OSError."""
    with reading(path, "JSON"):
        return json.loads(text_of(path))


def array_of(path: Path) -> Array:
    """The array of a `.npy` file, to be read only: mapped, so that what is not used is not loaded.

    A file that is shorter or longer than its header says is refused before anything is allocated, and nothing is unpickled.
    Raises: ValueError naming the file; OSError if it cannot be opened.
    """
    with reading(path, "an array in .npy format"):
        with open(path, "rb") as file:
            if file.read(4) == b"PK\x03\x04":
                raise ValueError(f"{path}: expected one array in .npy format, got an archive")
        with np.errstate(all="ignore"):
            mapped = np.lib.format.open_memmap(path, mode="r")
        expected = mapped.offset + mapped.nbytes
        if os.path.getsize(path) != expected:
            raise ValueError(f"{path}: end: expected {expected} bytes, got {os.path.getsize(path)}")
        return mapped


class Stream:
    """The bytes of a file from its beginning, unpacked if it is gzip (told by its first two bytes, not by its name).

    `at_most` is what the file can hold: its size; if it is packed 1032 times that, but no more than `LARGEST`.
    """

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        self.path = path
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        size = os.fstat(raw.fileno()).st_size
        self.at_most = min(size * _RATIO, LARGEST) if packed else size
        self._file: BinaryIO = gzip.GzipFile(fileobj=raw) if packed else raw           # type: ignore[assignment]
        self._count = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes, fewer only at the end.   Raises: ValueError if a packed file holds more than `LARGEST`."""
        piece = self._file.read(size)
        self._count += len(piece)
        if self._count > self.at_most:
            raise ValueError(f"{self.path}: expected a packed file of at most {LARGEST} bytes, got more; unpack it first")
        return piece

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

    def rest(self, *, most: int) -> bytes:
        """All that is left.   Raises: ValueError if it is more than `most` bytes."""
        found = bytearray()
        while piece := self.read(_PIECE):
            found += piece
            if len(found) > most:
                raise ValueError(f"{self.path}: size: expected at most {most} bytes, got more")
        return bytes(found)

    def skip(self) -> None:
        """To the end, where the checksum of a packed file is compared."""
        while self.read(_PIECE):
            pass

    def end(self) -> None:
        """That nothing is left, and that the checksum of a packed file is right.   Raises: ValueError."""
        if self.read(1):
            raise ValueError(f"{self.path}: end: expected the end of the file, got more bytes")


@contextmanager
def opened(path: Path, what: str) -> Iterator[Stream]:
    """The file as a `Stream`.   Raises: ValueError naming the file if it is damaged; OSError if it cannot be opened."""
    with reading(path, what), open(path, "rb") as raw:
        yield Stream(path, raw)
