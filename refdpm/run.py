"""Run files: one `.npz` with every array of the training state by name, and the settings as JSON.

Written atomically (to a temporary file beside the target, then renamed), so that a file is either the old one or the new one,
whenever the process is killed.  Read without unpickling or unpacking anything, and every array checked against the shape that the
settings demand.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any
import io
import json
import os
import tempfile
import zipfile

import numpy as np

from refdpm.data.files import array_of, reading
from refdpm.vjp import Array, Tree

FORMAT = "refdpm run 2"
LONGEST = 100_000             # characters of a header


def new_file(path: Path, *, flag: str = "--out", mark: bytes | None = None) -> Path:
    """The path of a file that can be made, in a folder that exists and can be written to: nothing is there yet, or a file with
    `mark` near its beginning, by which we know our own.

    To be called before any work is done.   Raises: ValueError naming the flag.
    """
    found = path.absolute()
    if path.is_symlink() or found.exists() and not (mark and _has_mark(found, mark)):
        raise ValueError(f"{flag}: expected a new file, got {path}, which exists; it was left unchanged")
    try_folder(found.parent, path, flag=flag)
    return found


def _has_mark(path: Path, mark: bytes) -> bool:
    with suppress(OSError), open(path, "rb") as file:
        return mark in file.read(1000)
    return False


def try_folder(folder: Path, path: Path, *, flag: str) -> None:
    """That a file of that name can be written there, by writing one.   Raises: ValueError naming the flag."""
    if not folder.is_dir():
        raise ValueError(f"{flag}: expected a file in a folder that exists, got {path}")
    try:
        clear(folder, path.name)
        handle, name = tempfile.mkstemp(dir=folder, prefix=_temporary(path.name))
        os.close(handle)
        os.unlink(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"{flag}: expected a file that can be written, got {path} ({error})") from None


def _temporary(name: str) -> str:
    """How the temporary files begin from which a file of that name is made."""
    return f".{name}.tmp-{os.getpid()}-"


def clear(folder: Path, name: str) -> None:
    """Removes the temporary files of that name that writers which are no more have left."""
    for path in folder.glob(f".{escape(name)}.tmp-*-*"):
        pid = path.name.removeprefix(f".{name}.tmp-").partition("-")[0]
        if pid.isdigit() and int(pid) != os.getpid() and not _lives(int(pid)):
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except PermissionError:
        return True
    return True


def write_atomically(path: Path, content: bytes, *, replace: bool = False) -> None:
    """All of `content` or nothing.

    Raises: FileExistsError if `path` exists and `replace` is false; OSError, which names the file, if it cannot be written.
    """
    if path.exists() and not replace:
        raise FileExistsError(f"{path}: expected no file there, got one; it was left unchanged")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected the folder {path.parent} to exist, got none")
    with _written({path: content}) as (written,):
        if replace:
            os.replace(written, path)
        else:
            _name_if_new(written, path)


def write_together(folder: Path, contents: dict[str, bytes]) -> None:
    """Files of a folder, which is made if it is missing: all of them or none.   Raises: OSError, which names the file."""
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        with _written({folder / name: content for name, content in contents.items()}) as written:
            for temporary, name in zip(written, contents):
                os.replace(temporary, folder / name)
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def _written(contents: dict[Path, bytes]) -> Iterator[list[str]]:
    """Temporary files with these contents, beside the paths that they are for; removed after, unless they were renamed."""
    found: list[str] = []
    path = Path()
    try:
        for path, content in contents.items():
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=_temporary(path.name))
            found.append(name)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())
        yield found
    except OSError as error:
        raise type(error)(f"{path}: expected a file that can be written, got an error ({error})") from None
    finally:
        for name in found:
            with suppress(FileNotFoundError):
                os.unlink(name)


def _name_if_new(written: str, path: Path) -> None:
    """Gives a file its name, but not over one that came there meanwhile."""
    try:
        os.link(written, path)
    except FileExistsError:
        raise
    except OSError:                                         # of a file system without links
        os.rename(written, path)


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
    """An array of numbers from a `.npy` file.   Raises: ValueError naming the file; OSError."""
    points = array_of(path)
    if points.dtype.kind not in "fiub":
        raise ValueError(f"{path}: expected an array of numbers, got {points.dtype}")
    return np.array(points)


def load(path: Path, template_of: Callable[[dict[str, Any]], Tree]) -> tuple[dict[str, Any], Tree]:
    """Settings and state from `path`; `template_of(settings)` is a tree with the structure and shapes that they imply, whose arrays
    take no memory.

    Raises: ValueError naming the file and what is wrong with it; FileNotFoundError.
    """
    with reading(path, "a run file"):
        arrays = _members(path)
        settings = _header(path, arrays.pop("header", None))
        template = template_of(settings)
    expected = dict(named_leaves(template))
    for name in sorted(expected.keys() ^ arrays.keys()):
        raise ValueError(f"{path}: {name[:60]!r}: expected {'an' if name in expected else 'no'} array of that name, got "
                         f"{'none' if name in expected else 'one'}")
    for name, leaf in expected.items():
        if arrays[name].shape != np.shape(leaf) or arrays[name].dtype != np.asarray(leaf).dtype:
            raise ValueError(f"{path}: {name}: expected {np.asarray(leaf).dtype} of shape {np.shape(leaf)}, "
                             f"got {arrays[name].dtype} of shape {arrays[name].shape}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: {name}: expected finite numbers, got NaN or infinity")
    return settings, _rebuild(template, iter(arrays[name] for name in expected))


def _members(path: Path) -> dict[str, Array]:
    """The arrays of the archive, all of them together no larger than its file: none is packed, and none stands there twice."""
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError(f"{path}: expected arrays that are not packed, got packed ones")
        names = {member.filename for member in members}
        if sum(member.file_size for member in members) > len(content) or len(names) < len(members):
            raise ValueError(f"{path}: expected arrays that are all in the file, each once, got others")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: np.asarray(arrays[name]) for name in arrays.files}


def _header(path: Path, header: Array | None) -> dict[str, Any]:
    if header is not None and header.dtype.kind == "U" and header.shape == () and header.itemsize <= 4 * LONGEST:
        content = json.loads(str(header))
        if isinstance(content, dict) and content.get("format") == FORMAT and isinstance(content.get("settings"), dict):
            return dict(content["settings"])
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
