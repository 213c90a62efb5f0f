"""CIFAR-10 in its binary version: records of one byte of label and 3 · 32 · 32 bytes of image, all red, all green, all blue.

The set is a folder, or the archive as it is distributed, which is read without unpacking it to the disk.  The Python version
(pickles, which can run any code when they are read) is not read.
"""

from pathlib import Path
import tarfile

import numpy as np

from refdpm.data.files import Stream, opened
from refdpm.vjp import Array

SIDE, COLOURS, CLASSES = 32, 3, 10
RECORD = 1 + COLOURS * SIDE * SIDE
LONGEST = 10_000 * RECORD     # bytes of a batch
TRAINING = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
TEST = "test_batch.bin"


def read(path: Path) -> Array:
    """The images of one file, gzip or not.   → uint8 (N, 32, 32, 3)

    Raises: ValueError naming the file and the field; OSError if it cannot be opened.
    """
    with opened(path, "a batch of CIFAR-10") as stream:
        return _images(stream.rest(most=LONGEST), where=str(path))


def training_and_test(path: Path) -> tuple[Array, Array]:
    """The training images (batches 1..5 in order) and the test images, from a folder or a tar archive; either may be gzip.

    Raises: ValueError naming the file and the field; OSError.
    """
    found = _folder(path) if path.is_dir() else _archive(path)
    missing = [name for name in (*TRAINING, TEST) if name not in found]
    if missing:
        raise ValueError(f"{path}: expected the binary version's {TRAINING[0]} … {TRAINING[-1]} and {TEST}, got no {missing[0]}")
    return np.concatenate([found[name] for name in TRAINING]), found[TEST]


def _folder(path: Path) -> dict[str, Array]:
    """The files of a folder by the official names, with or without .gz."""
    found: dict[str, Array] = {}
    for name in (*TRAINING, TEST):
        files = [file for file in (path / name, path / f"{name}.gz") if file.is_file()]
        if len(files) > 1:
            raise ValueError(f"{path}: expected {name} once, got it packed and unpacked")
        found |= {name: read(file) for file in files}
    return found


def _archive(path: Path) -> dict[str, Array]:
    """The same from an archive, in one pass and to its end, so that the checksum of its packing is compared too."""
    found: dict[str, Array] = {}
    with opened(path, "a tar archive") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:          # type: ignore[call-overload]
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in found:
                    raise ValueError(f"{path}: expected {name} once, got it again as {member.name[:100]}")
                if name in (*TRAINING, TEST):
                    found[name] = _member(stream, archive, member)
        stream.skip()
    return found


def _member(stream: Stream, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Array:
    """The images of a member that is a plain file and no larger than the archive can hold."""
    where = f"{stream.path}: {member.name[:100]}"
    if not member.isreg() or member.issparse():
        raise ValueError(f"{where}: expected a plain file, got another kind of member")
    if member.size > min(stream.at_most, LONGEST):
        raise ValueError(f"{where}: size: expected at most {min(stream.at_most, LONGEST)} bytes, got {member.size}")
    file = archive.extractfile(member)
    content = file.read() if file else b""
    if len(content) != member.size:
        raise ValueError(f"{where}: size: expected {member.size} bytes, got {len(content)}")
    return _images(content, where=where)


def _images(content: bytes, *, where: str) -> Array:
    """Records to images, colours last."""
    if not content or len(content) % RECORD:
        raise ValueError(f"{where}: size: expected records of {RECORD} bytes, at least one, got {len(content)} bytes")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD)
    wrong = np.flatnonzero(records[:, 0] >= CLASSES)
    if wrong.size:
        raise ValueError(f"{where}: label: expected 0..{CLASSES - 1}, got {records[wrong[0], 0]} in record {wrong[0]}")
    planes = records[:, 1:].reshape(-1, COLOURS, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
