"""Run files: one `.npz` with every array of the training state by name, and the settings as JSON.

Written atomically (to a temporary file beside the target, then renamed), so that a file is either the old one or the new one,
whenever the process is killed.  Read without unpickling anything, and every array checked against the shape that the settings
demand.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
import io
import json
import os
import struct
import tempfile
import zipfile
import zlib

import numpy as np

from refdpm.vjp import Array, Tree

FORMAT = "refdpm run 2"
# what NumPy and zipfile raise for files that are not, or no longer, what they should be
_DAMAGE = (ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, NotImplementedError, RuntimeError,
           zipfile.BadZipFile, zlib.error, struct.error)


def write_atomically(path: Path, content: bytes, *, replace: bool = False) -> None:
    """All of `content` or nothing.

    Raises: FileExistsError if `path` exists and `replace` is false; OSError if it cannot be written.
    """
    if path.exists() and not replace:
        raise FileExistsError(f"{path}: expected no file there, got one; it was left unchanged")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected the folder {path.parent} to exist, got none")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def save(path: Path, settings: dict[str, Any], state: Tree, *, replace: bool = False) -> None:
    """Write settings and state to `path`."""
    buffer = io.BytesIO()
    header = json.dumps({"format": FORMAT, "settings": settings})
    arrays: dict[str, Any] = dict(named_leaves(state))
    np.savez(buffer, header=np.array(header), **arrays)
    write_atomically(path, buffer.getvalue(), replace=replace)


def load_points(path: Path) -> Array:
    """An array from a `.npy` file.   Raises: ValueError naming the file; OSError."""
    content = io.BytesIO(path.read_bytes())
    try:
        points = np.load(content, allow_pickle=False)
    except (*_DAMAGE, MemoryError) as error:                  # of a header that claims too much
        raise ValueError(f"{path}: expected an array in .npy format, got something else ({error})") from None
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiub":
        raise ValueError(f"{path}: expected an array of numbers, got {getattr(points, 'dtype', 'an archive')}")
    return points


def load(path: Path, template_of: Callable[[dict[str, Any]], Tree]) -> tuple[dict[str, Any], Tree]:
    """Settings and state from `path`; `template_of(settings)` is a tree with the structure and shapes that they imply.

    Raises: ValueError naming the file and what is wrong with it; FileNotFoundError.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        with np.load(content, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        raise ValueError(f"{path}: expected a run file, got a damaged one or another file ({error})") from None
    settings = _header(path, arrays.pop("header", None))
    template = template_of(settings)
    expected = dict(named_leaves(template))
    for name in sorted(expected.keys() ^ arrays.keys()):
        raise ValueError(f"{path}: expected the arrays {sorted(expected)}, got {'no' if name in expected else 'also'} {name!r}")
    for name, leaf in expected.items():
        if arrays[name].shape != np.shape(leaf) or arrays[name].dtype != np.asarray(leaf).dtype:
            raise ValueError(f"{path}: {name}: expected {np.asarray(leaf).dtype} of shape {np.shape(leaf)}, "
                             f"got {arrays[name].dtype} of shape {arrays[name].shape}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: {name}: expected finite numbers, got NaN or infinity")
    return settings, _rebuild(template, iter(arrays[name] for name in expected))


def _header(path: Path, header: Array | None) -> dict[str, Any]:
    try:
        content = json.loads(str(header))
        if content["format"] == FORMAT and isinstance(content["settings"], dict):
            return dict(content["settings"])
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{path}: header: expected one of {FORMAT!r}, got {str(header)[:60]!r}")


def named_leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """The leaves of a tree with their paths: ("model.parameters.centre", array)."""
    if isinstance(tree, tuple):
        for name, child in zip(getattr(tree, "_fields", map(str, range(len(tree)))), tree):
            yield from named_leaves(child, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, np.asarray(tree)


def _rebuild(template: Tree, arrays: Iterator[Array]) -> Tree:
    if isinstance(template, tuple):
        parts = [_rebuild(child, arrays) for child in template]
        return type(template)(*parts) if hasattr(template, "_fields") else tuple(parts)
    leaf = next(arrays)
    return int(leaf) if isinstance(template, int) else leaf
