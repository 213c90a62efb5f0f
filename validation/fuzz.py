"""Claim: whatever is wrong with a file or with an argument, the commands and readers say so in one line that names it, or do what
was asked: no traceback, no hang, no memory above 1 GB, no file that is partial or overwritten, and nothing in a file is executed.

    python validation/fuzz.py [--inputs 10000] [--seed 0] [--only TARGET] [--show 20]

Every input is a right one with something changed: bytes of any file, the header or an array of a run, a node of a JSON document, a
member of an archive, or a flag of a command.  A few are made to unpack to more than they are.  The same seed gives the same inputs.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
import argparse
import gzip
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib

import numpy as np
from claim import claim_of, conclude, row

from refdpm import cli, experiments
from refdpm.data import cifar, idx, images

HERE = Path(__file__).absolute().parent
SECONDS = 30                  # a call that takes longer hangs
MEMORY = 1 << 30              # bytes that a call may need
SPACE = 6 << 30               # bytes of address space above what there is at the start, so that the machine lives on
KINDS = ("traceback", "not one line that names it", "hang", "memory", "file changed, partial or left", "code executed")


class Target(NamedTuple):
    """Right files, how they can be changed, and who reads them: `call` gives the exit code and what was said, or raises."""

    name: str
    share: float                                   # of all inputs
    files: Callable[[np.random.Generator], dict[str, bytes]]
    call: Callable[[Path, np.random.Generator], tuple[int, str]]
    names: str                                     # what an error has to mention, as a pattern


class Hang(BaseException):
    """The call took too long."""


# -- changes -------------------------------------------------------------------------------------------------------------

def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes flipped, cut off, doubled, left out or put in, a few times."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at, length = int(rng.integers(0, len(data) + 1)), int(rng.integers(1, 40))
        kind = int(rng.integers(7))
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at:at + length] = rng.bytes(length)
        elif kind == 2:
            del data[at:at + length]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = data[at:at + length]
        elif kind == 5:
            data[at:at] = rng.choice([b"\x00" * 40, b"\xff" * 40, b"9" * 30, b"(", b"'", b"\x1b[31m", b"\n"])
        else:
            numbers = list(re.finditer(rb"[0-9]+", data))
            if numbers:
                found = numbers[int(rng.integers(len(numbers)))]
                data[found.start():found.end()] = rng.choice([b"0", b"-1", b"1e999", b"99999999999999999999", b"2147483648",
                                                              b"True", b"9" * 5000, b"None", b"()"])
    return bytes(data)


NASTY = ("[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, "[" * 500 + "]" * 500, "9" * 5000, "1e999", "-1e999", "NaN", "null",
         "true", "false", '""', "[]", "{}", "[[1],[2,3]]", "[1,[2]]", "[[],[1]]", '[{"a":1}]', '"\\ud800"', '"\\u0000\\u001b[31m"',
         "-1", "0", "0.5", "1e308", "5e-324", "18446744073709551616", '"x"', '"NaN"', '"Infinity"', "[null]", '["a",1]', "[1e400]",
         json.dumps("A" * 100_000), "[" + "0," * 50_000 + "0]")


def changed_json(content: bytes, rng: np.random.Generator) -> bytes:
    """A document with some nodes exchanged for others, left out, or under another name."""
    found = json.loads(content)
    for _ in range(int(rng.integers(1, 3))):
        places = list(_places(found))
        where, key = places[int(rng.integers(len(places)))]
        kind = int(rng.integers(5))
        if kind == 0:
            del where[key]
        elif kind == 1 and isinstance(where, dict):
            where[str(rng.choice(["", "x", "\ud800", "\x1b[31m", "A" * 10_000]))] = where.pop(key)
        else:
            where[key] = f"@@{int(rng.integers(len(NASTY)))}@@"
        if not found:
            break
    text = json.dumps(found)
    return re.sub('"@@([0-9]+)@@"', lambda match: NASTY[int(match.group(1))], text).encode(errors="surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from _places(part)


class _Payload:
    """What is executed when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (MARK,)


MARK = Path(tempfile.gettempdir(), f"fuzz-executed-{time.time_ns()}")


def nasty_array(rng: np.random.Generator) -> bytes:
    """A .npy file of a kind or form that is not expected, or with a header that is none."""
    some = [np.array([_Payload()], dtype=object), np.zeros((0, 3)), np.zeros(()), np.zeros((1,) * 32), np.zeros(3, "datetime64[s]"),
            np.zeros(3, "f2"), np.full((3, 2), np.inf), np.zeros((3, 2), ">f8"), np.zeros(3, [("a", "f8"), ("b", "i4")]),
            np.array(["\x1b[31m\x00"]), np.zeros((2, 3, 2), order="F"), np.zeros((3, 2), bool), np.zeros((3, 2), np.uint64),
            np.array(b"\xff\xfe"), np.array("[" * 30_000), np.array('{"format": "refdpm run 2", "settings": {}}'),
            np.array(10 ** 18), np.full((5, 2), 1e308), np.zeros((3, 2), np.longdouble), np.zeros((0, 10 ** 15)), np.zeros(3, "V7")]
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        np.save(buffer, some[int(rng.integers(len(some)))], allow_pickle=True)
        return buffer.getvalue()
    texts = ["{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000, 2), }", "{'descr': '<f8', 'shape': (", "[" * 5000,
             "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }",
             "{'descr': 'O', 'fortran_order': False, 'shape': (1,), }",
             "{'descr': '<f8', 'fortran_order': 1, 'shape': [3, 2], }", "{'descr': [('a', '<f8', (10**9,))], 'fortran_order': 0}",
             "{'descr': '<f8', 'fortran_order': False, 'shape': (1, " + "1, " * 100 + "), }", "'''", "\\", "{" * 100, "(" * 3000,
             "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999999, 2), }", "-" * 5000 + "1", "\x00",
             "{'descr': '<V2147483648', 'fortran_order': False, 'shape': (2,), }", "{[]: 1}", "é" * 40, "1e999",
             "{'descr': ('<f8', (2147483647, 99)), 'fortran_order': False, 'shape': (1,), }", "__import__('os')",
             "{'descr': '<f8', 'shape': (2, True)}"]
    text = (texts[int(rng.integers(len(texts)))] + "\n").encode("utf-8")
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + rng.bytes(int(rng.integers(0, 60)))


def of(content: bytes, rng: np.random.Generator) -> bytes:
    """A .npy file, damaged or replaced."""
    return damaged(content, rng) if rng.random() < 0.6 else nasty_array(rng)


def changed_archive(content: bytes, rng: np.random.Generator) -> bytes:
    """A run file with one member replaced, renamed, left out, packed, or doubled."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[int(rng.integers(len(members)))] if rng.random() < 0.6 else "header.npy"
    kind = int(rng.integers(5))
    if name == "header.npy" and kind < 3:
        header = json.dumps(json.loads(str(np.load(io.BytesIO(members[name])))))
        buffer = io.BytesIO()
        np.save(buffer, np.array(changed_json(header.encode(), rng).decode(errors="replace")))
        members[name] = buffer.getvalue()
    elif kind == 3:
        members[str(rng.choice(["x.npy", "../x.npy", "/etc/x.npy", "header", "\x1b[31m.npy"]))] = members.pop(name)
    else:
        members[name] = of(members[name], rng)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", int(rng.choice([0, 0, 0, 8, 14]))) as archive:
        warnings.simplefilter("ignore")
        for key, member in members.items():
            archive.writestr(key, member)
        if rng.random() < 0.1:
            archive.writestr(name, b"")
    return buffer.getvalue()


# -- what unpacks to more than it is -----------------------------------------------------------------------------------------

@cache
def zeros_packed(size: int, *, container: int, before: bytes = b"") -> bytes:
    """`before` and then so many zeros, deflated; container: 31 for gzip, −15 for none."""
    packer, piece = zlib.compressobj(9, zlib.DEFLATED, container), bytes(1 << 20)
    return b"".join([packer.compress(before), *(packer.compress(piece) for _ in range(size >> 20)), packer.flush()])


def bomb_of_a_run(content: bytes, rng: np.random.Generator) -> bytes:
    """A run whose array "model.logit_beta" is 2.4 GB of zeros, packed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    size = 1200 << 20
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({size // 8},), }}\n".encode()
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    name = str(rng.choice([*members, "other.npy"]))
    packed = zeros_packed(size, container=-15, before=head)
    crc = zlib.crc32(head)
    for _ in range(size >> 20):
        crc = zlib.crc32(bytes(1 << 20), crc)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, member in members.items():
            if key != name:
                archive.writestr(key, member)
        archive.writestr(name, packed)
    data = bytearray(buffer.getvalue())
    for signature, method, sizes in ((b"PK\x03\x04", 8, 14), (b"PK\x01\x02", 10, 16)):       # say that the last one is packed
        at = data.rfind(signature)
        data[at + method:at + method + 2] = (8).to_bytes(2, "little")
        data[at + sizes:at + sizes + 12] = b"".join(n.to_bytes(4, "little") for n in (crc, len(packed), size + len(head)))
    return bytes(data)


def image_run_of_many_pixels(content: bytes, rng: np.random.Generator) -> bytes:
    """A run whose few bytes stand for images of any size: the parameters of convolutions do not grow with it."""
    with np.load(io.BytesIO(content)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(str(arrays["header"]))
    if "height" in header["settings"]:
        header["settings"] |= {"height": 1024, "width": 1024} if rng.random() < 0.7 else {"dense": [4096] * 60}
    arrays["header"] = np.array(json.dumps(header))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


# -- targets -------------------------------------------------------------------------------------------------------------

def command(*arguments: Any) -> tuple[int, str]:
    """A command in this process: its exit code, and what it said on standard error."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as ended:                    # argparse's way, after a usage of several lines
            lines = said.getvalue().splitlines()
            return int(ended.code or 0), lines[-1] if lines else ""
    return code, said.getvalue()


def refusal_of(read: Callable[[], Any]) -> tuple[int, str]:
    """The same of a reader, with what it says beside its error."""
    with redirect_stderr(io.StringIO()) as beside:
        try:
            read()
        except (ValueError, OSError) as error:
            return 2, "\n".join(filter(None, [str(error), beside.getvalue()]))
    return 0, ""


class Right:
    """Right files of every kind, made once."""

    def __init__(self, folder: Path) -> None:
        self.runs = []
        for name, more in (("swiss-roll", ["--units", "3", "--T", "3"]), ("heartbeat", ["--T", "4"]),
                           ("dead-leaves", ["--T", "3", "--conv", "2", "--pixelwise", "2", "--batch", "2"])):
            code, said = command("train", name, *more, "--steps", "2", "--out", folder / name)
            assert code == 0, said
            self.runs.append((folder / name / "run.npz").read_bytes())
        self.points = _saved(np.random.default_rng(0).standard_normal((400, 2)))
        (folder / "adapter.py").write_text("import numpy as np\ndef alpha_bar(beta): return np.cumprod(1 - beta)\n")
        self.adapter, self.run = folder / "adapter.py", folder / "swiss-roll"
        self.idx = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (3, 4, 5)) + bytes(60)
        self.batch = b"".join(bytes([label]) + bytes(3072) for label in (0, 9))
        self.pictures = _pictures()
        self.profile = json.dumps({"first_t": 0, "spread": "log_variance", "unit": "bits"}).encode()
        self.expected = b"# for now\nSCH.ABAR.TABLE because of this\nGAU.KL.VALUE later\n"
        self.in_use = {"there.npy": self.points, "there.csv": b"1\n", "there.png": b"x", "there.xml": b"<testsuite/>",
                       "there.html": b"<!DOCTYPE html>", "there.json": b"{}", "folder/kept": b"y"}
        self.group = (HERE / "vectors/UNIT.json").read_bytes()


def _saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _pictures() -> dict[str, bytes]:
    with suppress(ImportError):
        from PIL import Image
        found, picture = {}, Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8))
        for kind in ("png", "jpeg", "bmp", "ppm", "tiff"):
            buffer = io.BytesIO()
            picture.save(buffer, kind)
            found[f"a.{kind}"] = buffer.getvalue()
        return found
    return {"a.png": b"\x89PNG\r\n\x1a\n"}


def _manifest(content: bytes) -> bytes:
    from hashlib import sha256
    entry = {"sha256": sha256(content).hexdigest(), "bytes": len(content), "functions": 1, "tests": 1}
    return json.dumps({"format": "refdpm vectors 1", "package": "0", "functions": 1, "tests": 1, "flags": 1,
                       "files": {"UNIT.json": entry}}).encode()


def _tar(members: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """An archive, now and then with a link, a path upwards, a device, or a huge claim."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            trick = int(rng.integers(40))
            info.name = {0: f"../../{name}", 1: f"/tmp/{name}", 2: "A" * 5000 + f"/{name}"}.get(trick, info.name)
            info.type = {3: tarfile.SYMTYPE, 4: tarfile.LNKTYPE, 5: tarfile.CHRTYPE, 6: tarfile.DIRTYPE}.get(trick, info.type)
            info.linkname = "/etc/passwd"
            info.pax_headers = {7: {"size": "99999999999999"}, 8: {"GNU.sparse.map": "1,2,x"}, 9: {"mtime": "nan"}}.get(trick, {})
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# a program that answers the first line with the first line of a file, and each further one with the rest and the number of the call
PROGRAM = """import sys
hello, _, answer = open(sys.argv[1], "rb").read().partition(b"\\n")
for number, line in enumerate(sys.stdin.buffer):
    sys.stdout.buffer.write((answer.replace(b"4711", b"%d" % number) if number else hello) + b"\\n")
    sys.stdout.buffer.flush()
"""
HELLO = json.dumps({"functions": ["alpha_bar", "mine"], "dtype": "float64", "profile": {"first_t": 1}, "beta": [0.1, 0.2, 0.3],
                    "classes": 3, "not_known": ["other"], "unasked": ["third"], "places": {"alpha_bar": ["a.py", 3]},
                    "own_steps": {"tuple": [{"dtype": "int64", "shape": [2], "data": [1, 3]}]}, "observes": True}).encode()
ANSWER = json.dumps({"id": 4711, "notes": ["slow"],
                     "value": {"dtype": "float64", "shape": [3], "data": [0.9, 0.72, 0.504]}}).encode()


def targets(right: Right) -> list[Target]:
    """Everything that reads what others wrote."""
    def run_file(rng: np.random.Generator) -> dict[str, bytes]:
        content, kind = right.runs[int(rng.integers(3))], rng.random()
        change = (bomb_of_a_run if kind < 0.004 else image_run_of_many_pixels if kind < 0.02 else
                  damaged if kind < 0.4 else changed_archive)
        return {"run.npz": change(right.runs[2] if change is image_run_of_many_pixels else content, rng)}

    def batches(rng: np.random.Generator) -> dict[str, bytes]:
        files = {name: right.batch for name in (*cifar.TRAINING, cifar.TEST)}
        for name in rng.choice(list(files), int(rng.integers(1, 3)), replace=False):
            content = files.pop(str(name))
            packed, kind = rng.random() < 0.3, rng.random()
            if kind < 0.01:
                content, packed = zeros_packed(3073 * 420_000 >> 20 << 20, container=31), False
                files[f"{name}.gz"] = content
                continue
            content = damaged(content, rng) if kind < 0.9 else content
            content = gzip.compress(content) if packed else content
            files[f"{name}.gz" if packed else str(name)] = damaged(content, rng) if packed and kind < 0.5 else content
        return files

    def archive(rng: np.random.Generator) -> dict[str, bytes]:
        kind = rng.random()
        if kind < 0.005:
            head = tarfile.TarInfo(cifar.TRAINING[0])
            head.size = 1 << 30
            return {"cifar.tar.gz": zeros_packed(1 << 30, container=31, before=head.tobuf())}
        content = _tar({name: right.batch for name in (*cifar.TRAINING, cifar.TEST)}, rng)
        content = damaged(content, rng) if kind < 0.6 else content
        content = gzip.compress(content, 1) if kind < 0.8 else content
        return {"cifar.tar.gz": damaged(content, rng) if kind > 0.7 else content}

    def idx_file(rng: np.random.Generator) -> dict[str, bytes]:
        if rng.random() < 0.005:
            head = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (1000, 1024, 1024))
            return {"images": zeros_packed(1000 << 20, container=31, before=head)}
        packed = rng.random() < 0.5
        content = damaged(right.idx, rng)
        return {"images": damaged(gzip.compress(content), rng) if packed else content}

    def pictures(rng: np.random.Generator) -> dict[str, bytes]:
        name = str(rng.choice(list(right.pictures)))
        if rng.random() < 0.004:
            return {f"{k}.png": _large_picture() for k in range(8)}
        return {name: damaged(right.pictures[name], rng), "b.png": right.pictures["a.png"], "notes.txt": b"x"}

    def vectors(rng: np.random.Generator) -> dict[str, bytes]:
        content = right.group
        manifest = _manifest(content)
        which = rng.random()
        if which < 0.3:
            manifest = changed_json(manifest, rng) if rng.random() < 0.7 else damaged(manifest, rng)
        else:
            content = changed_json(content, rng) if rng.random() < 0.7 else damaged(content, rng)
        return {"manifest.json": manifest, "UNIT.json": content}

    def arrays(folder: Path, rng: np.random.Generator) -> tuple[int, str]:
        path, out = folder / "x.npy", folder / "out.npy"
        kind = int(rng.integers(5))
        if kind == 0:
            return refusal_of(lambda: images.read(path))
        if kind == 1:
            return command("bound", right.run, "--data", path)
        if kind == 2:
            return command("sample", right.run, "--denoise", path, "--noise-std", "0.1", "--out", out)
        (folder / "y.npy").write_bytes(right.points)
        both = (path, folder / "y.npy") if kind == 3 else (folder / "y.npy", path)
        return command("sample", right.run, "--inpaint", both[0], "--mask", both[1], "--out", out)

    def check(flag: str) -> Callable[[Path, np.random.Generator], tuple[int, str]]:
        return lambda folder, rng: command("check", "cmd:false", flag, folder / "stated")

    def program_s_lines(rng: np.random.Generator) -> dict[str, bytes]:
        lines = [HELLO, ANSWER]
        which = int(rng.integers(2))
        lines[which] = changed_json(lines[which], rng) if rng.random() < 0.8 else damaged(lines[which], rng)
        return {"lines": b"\n".join(lines)}

    def check_of_a_program(folder: Path, rng: np.random.Generator) -> tuple[int, str]:
        words = ["cmd:" + sys.executable, "-I", "-S", "-c", PROGRAM, str(folder / "lines")]
        code, said = command("check", shlex.join(words), "--only", "SCH.ABAR", "--max-examples", "0", "--timeout", "2")
        return (code, said) if said else (code % 2, "")             # a report that nothing was decided is one

    def json_or_bytes(content: bytes) -> Callable[[np.random.Generator], dict[str, bytes]]:
        return lambda rng: {"stated": changed_json(content, rng) if rng.random() < 0.6 else damaged(content, rng)}

    return [
        Target("run.npz", 0.22, run_file, lambda folder, rng: command("bound", folder / "run.npz", "--points", "3"), "run.npz"),
        Target(".npy", 0.15, lambda rng: {"x.npy": of(right.points, rng)}, arrays, ".npy"),
        Target("IDX", 0.1, idx_file, lambda folder, rng: refusal_of(lambda: idx.read(folder / "images")), "images"),
        Target("CIFAR folder", 0.05, batches, lambda folder, rng: refusal_of(lambda: cifar.training_and_test(folder)), "batch"),
        Target("CIFAR archive", 0.1, archive,
               lambda folder, rng: refusal_of(lambda: cifar.training_and_test(folder / "cifar.tar.gz")), "cifar.tar.gz"),
        Target("pictures", 0.1, pictures, lambda folder, rng: refusal_of(lambda: images.read(folder, grey=rng.random() < .5)), "."),
        Target("vectors", 0.08, vectors, lambda folder, rng: command("vectors", "verify", folder), ".json"),
        Target("profile", 0.05, json_or_bytes(right.profile), check("--profile"), "stated|false"),
        Target("expected failures", 0.04, lambda rng: {"stated": damaged(right.expected, rng)}, check("--expected-failures"),
               "stated|false"),
        Target("program", 0.03, program_s_lines, check_of_a_program, "cmd:|adapter"),
        Target("arguments", 0.08, lambda rng: right.in_use, lambda folder, rng: arguments(folder, right, rng), ""),
    ]


@cache
def _large_picture() -> bytes:
    from PIL import Image
    buffer = io.BytesIO()
    Image.new("RGB", (9000, 9000)).save(buffer, "png")
    return buffer.getvalue()


def arguments(folder: Path, right: Right, rng: np.random.Generator) -> tuple[int, str]:
    """A command with flags and values of any kind, and output paths that are in use."""
    values = ["", "0", "-1", "1", "2", "3", "nan", "inf", "-inf", "1e999", "9" * 400, "0x10", "١", "1_0", "\ud800", "\x1b[31m",
              "--", "-", "a\nb", "A" * 5000, ".", "..", "/", "/dev/null", "/proc/self/mem", "cmd:", "cmd:'", "cmd:false",
              "cmd:true", "os", "x:y:z", "SCH.ABAR", "glossary", "verify", f"{right.adapter}:x", f"{right.adapter}:",
              right.adapter, right.run, right.run / "run.npz", folder, folder / "no" / "x.npy"]
    values += [folder / name for name in (*right.in_use, "folder")]
    values += [folder / f"new.{kind}" for kind in ("npy", "csv", "png", "xml", "json", "npz")]
    flags = {"sample": ["--n", "--denoise", "--noise-std", "--inpaint", "--mask", "--choice", "--out", "--out", "--seed", "--end"],
             "bound": ["--points", "--data", "--parzen", "--json"], "figure": ["--out"],
             "check": ["--seed", "--profile", "--expected-failures", "--junit", "--html", "--dump", "--only", "--verbose",
                       "--json", "--timeout", "--github", "--list", "--quiet"],
             "explain": [], "vectors": ["--json"], "equations": ["--json"], "read": [],
             "train": ["--seed", "--units", "--width", "--readout", "--beta-1", "--fixed-schedule", "--resume", "--out", "--json"]}
    name = str(rng.choice(list(flags)))
    given: list[Any] = [name]
    if name in ("sample", "bound", "figure"):
        given.append(right.run if rng.random() < 0.7 else values[int(rng.integers(len(values)))])
    has_adapter = rng.random() < 0.9
    if name in ("check", "explain", "vectors") and has_adapter:
        given.append(right.adapter if name == "check" and rng.random() < 0.6 else values[int(rng.integers(len(values)))])
    if name == "vectors":
        given[1:1] = ["verify"]
    for flag in rng.choice(flags[name], int(rng.integers(0, 4))) if flags[name] else ():
        given += [str(flag)] + [values[int(rng.integers(len(values)))]] * (flag not in WITHOUT_VALUE)
    if name == "train":
        given[1:1] = ["swiss-roll"]
        given += [] if "--resume" in given else ["--steps", "1", "--T", "3"] + ([] if "--units" in given else ["--units", "2"])
        given += [] if "--resume" in given or "--out" in given else ["--out", folder / "run"]
    if name == "bound" and not {"--points", "--data"} & set(map(str, given)):
        given += ["--points", "100"]                   # all 50,000 would be right, and long
    if name == "read":                                 # where no page can be: the whole of it takes long
        given += ["--out", values[int(rng.integers(len(values)))]]
    if name == "check":                                # without an adapter a list is refused: the first look takes long, too
        given += ["--only", "SCH.ABAR", "--max-examples", "0"] if has_adapter else ["--list"]
    code, said = command(*given)
    if code == 0 or not said.strip():
        return code, said
    return code, said.strip().splitlines()[-1]         # progress may come before


WITHOUT_VALUE = ("--json", "--verbose", "--fixed-schedule", "--github", "--list", "--quiet")


# -- one input -------------------------------------------------------------------------------------------------------------

def faults(target: Target, folder: Path, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """What went wrong with one input: the kind, and what there is to say of it."""
    folder.mkdir()
    os.chdir(folder)                                   # a relative path is a path, too
    for name, content in target.files(rng).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    before = _contents(folder)
    Path("/proc/self/clear_refs").write_text("5")      # the peak of memory counts from here
    start = _status("VmRSS")
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        code, said = target.call(folder, rng)
        if code not in (0, 1, 2):
            yield "traceback", f"exit code {code}: {said[-300:]}"
        one_line = len(said.strip().splitlines()) == 1 and len(said) <= 2000 and _printable(said)
        if code == 2 and not (one_line and re.search(target.names, said)):
            yield "not one line that names it", repr(said[:400])
    except Hang:
        yield "hang", f"more than {SECONDS} s"
    except Exception:
        yield "traceback", traceback.format_exc(limit=-3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    grown = _status("VmHWM") - start
    if grown > MEMORY:
        yield "memory", f"{grown / 2 ** 30:.2f} GB more than before"
    after = _contents(folder)
    for name, content in before.items():
        if after.get(name) != content:
            yield "file changed, partial or left", name
    for name in after.keys() - before.keys() - {"y.npy"}:
        if not _whole(folder / name):
            yield "file changed, partial or left", name
    if MARK.exists():
        MARK.unlink()
        yield "code executed", ""


def _printable(said: str) -> bool:
    return not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said)


def _status(field: str) -> int:
    """Bytes that the kernel counts for this process."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0]) << 10


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _whole(path: Path) -> bool:
    """Whether a file that a command wrote is what its name says."""
    with suppress(Exception):
        if path.name == "run.npz":
            experiments.load(path)
        elif path.suffix in (".npy", ".npz"):
            np.load(path)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.read_bytes().startswith(b"<!DOCTYPE html>"):
            return path.read_bytes().endswith(b"</html>\n")
        elif path.suffix == ".csv":
            np.loadtxt(path, delimiter=",")
        elif path.suffix == ".xml" or b"<testsuite" in path.read_bytes()[:200]:
            __import__("xml.etree.ElementTree").etree.ElementTree.parse(path)
        else:
            return path.read_bytes()[:4] == b"\x89PNG"
        return True
    return False


def _interrupted(*_: Any) -> None:
    raise Hang


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="TARGET")
    parser.add_argument("--show", type=int, default=20, metavar="N", help="of the faults, as many different ones")
    options = parser.parse_args()
    started, seen, shown = time.perf_counter(), Counter(), Counter()                # type: ignore[var-annotated]
    signal.signal(signal.SIGALRM, _interrupted)
    warnings.simplefilter("ignore")
    sys.setswitchinterval(1)
    with tempfile.TemporaryDirectory() as parent:
        right = Right(Path(parent))
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + SPACE, resource.RLIM_INFINITY))
        counts = Counter()                                                          # type: ignore[var-annotated]
        for target in targets(right):
            for index in range(round(options.inputs * target.share) if options.only in target.name else 0):
                rng = np.random.default_rng([options.seed, zlib.crc32(target.name.encode()), index])
                folder = Path(parent, "input")
                counts[target.name] += 1
                for kind, what in faults(target, folder, rng):
                    seen[kind] += 1
                    shown[target.name, kind, what.splitlines()[-1][:150] if what else ""] += 1
                    if len(shown) <= options.show and shown[target.name, kind, what.splitlines()[-1][:150] if what else ""] == 1:
                        print(f"{target.name} {index}: {kind}: {what}", file=sys.stderr)
                shutil.rmtree(folder)
    total = sum(counts.values())
    for key, number in sorted(shown.items()):
        print(f"{number:5d} × {key}", file=sys.stderr)
    if options.only or options.inputs < 10_000:
        print(f"{total} inputs: " + ", ".join(f"{kind} {seen[kind]}" for kind in KINDS))
        return int(bool(seen))
    rows = [row(f"{kind}: {seen[kind]} of {total} inputs", "0", not seen[kind]) for kind in KINDS]
    return conclude("fuzz", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings={"inputs": options.inputs, "seed": options.seed},
                    data={"inputs": counts, "faults": {kind: seen[kind] for kind in KINDS}})


if __name__ == "__main__":
    raise SystemExit(main())
