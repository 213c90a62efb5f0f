"""Whatever is wrong with a file becomes a sentence that names it, and nothing unpacks to more than it may hold."""

import gzip
import json
import tokenize
import zlib

import numpy as np
import pytest

from refdpm import experiments, run
from refdpm.conformance import vectors
from refdpm.data import cifar, files, idx
from refdpm.experiments import images


@pytest.mark.parametrize("error", [
    ValueError("of another file"), TypeError("x"), AttributeError(), KeyError("header"), OverflowError("long"), MemoryError(),
    RecursionError("deep"), tokenize.TokenError("EOF", (2, 0)), zlib.error("-3"), EOFError(), IndexError(), OSError("bad")],
    ids=lambda error: type(error).__name__)
def test_whatever_a_parser_raises_names_the_file(tmp_path, error):
    with pytest.raises(ValueError, match=r"x.bin: expected a picture, got a damaged one or another file \("):
        with files.reading(tmp_path / "x.bin", "a picture"):
            raise error


def test_what_names_the_file_already_stays_and_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(ValueError, match="x.bin: rows: expected 3, got 2$"), files.reading(tmp_path / "x.bin", "a picture"):
        raise ValueError(f"{tmp_path / 'x.bin'}: rows: expected 3, got 2")
    with pytest.raises(FileNotFoundError), files.reading(tmp_path / "x.bin", "a picture"):
        (tmp_path / "x.bin").read_bytes()


@pytest.mark.parametrize("text,words", [
    ("[" * 100_000, "RecursionError|recursion"), ("{", "JSON"), ("9" * 5000, "JSON"), ("\ud800", "UTF-8"), ("", "JSON")])
def test_texts_that_are_no_json(tmp_path, text, words):
    (tmp_path / "x.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ValueError, match=f"x.json: expected .*({words})"):
        files.json_of(tmp_path / "x.json")


def test_a_text_that_is_too_long_is_not_read(tmp_path):
    with open(tmp_path / "x.json", "wb") as file:
        file.truncate(10 * files.LONGEST)
    with pytest.raises(ValueError, match="x.json: expected at most .* bytes of text"):
        files.json_of(tmp_path / "x.json")


# -- nothing unpacks beyond what it may hold -----------------------------------------------------------------------------

@pytest.mark.parametrize("read,head", [
    (idx.read, b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (1000, 50, 40))), (cifar.read, b""),
    (cifar.training_and_test, b"")])
def test_packed_files_hold_only_so_much(tmp_path, monkeypatch, read, head):
    """Two million zeros in two kilobytes, beside a limit of one million."""
    monkeypatch.setattr(files, "LARGEST", 10 ** 6)
    (tmp_path / "x.gz").write_bytes(gzip.compress(head + bytes(2 * 10 ** 6)))
    with pytest.raises(ValueError, match="x.gz: "):
        read(tmp_path / "x.gz")


def test_a_batch_has_only_so_many_records(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "LONGEST", 3 * cifar.RECORD)
    (tmp_path / "x.bin").write_bytes(bytes(4 * cifar.RECORD))
    with pytest.raises(ValueError, match="x.bin: size: expected at most 9219 bytes, got more"):
        cifar.read(tmp_path / "x.bin")


def test_packed_arrays_in_a_run_file_are_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "run.npz", header=np.array("{}"), weight=np.zeros(10 ** 6))
    with pytest.raises(ValueError, match="run.npz: expected arrays that are not packed"):
        run.load(tmp_path / "run.npz", lambda settings: ())


def test_settings_that_claim_much_allocate_nothing(tmp_path):
    """A run of 180 GB of parameters by its settings, which a file of a few kilobytes cannot be."""
    settings = images.EXPERIMENTS["dead-leaves"].DEFAULT._replace(dense=(4096,) * 60, digest="", conv=(), pixelwise=())
    header = json.dumps({"format": run.FORMAT, "settings": {"experiment": "dead-leaves", **settings._asdict()}})
    np.savez(tmp_path / "run.npz", header=np.array(header))
    with pytest.raises(ValueError, match="run.npz: .*expected an array of that name, got none"):
        experiments.load(tmp_path / "run.npz")


@pytest.mark.parametrize("changes", [{}, {"conv": ()}, {"conv": (3,), "dense": ()}, {"pixelwise": ()}, {"form": "released"}])
def test_a_template_of_images_has_the_shapes_of_a_state(changes):
    settings = images.Settings("dead-leaves", height=4, width=8, conv=(2, 3), dense=(5,), pixelwise=(4,), scales=2, bumps=3
                               )._replace(**changes)
    begun, empty = (list(run.named_leaves(make(settings))) for make in (images.begin, images.template))
    assert [(name, x.shape, x.dtype) for name, x in begun] == [(name, x.shape, x.dtype) for name, x in empty]


# -- vectors ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["../UNIT.json", "/etc/passwd", "a/b.json"])
def test_a_manifest_names_files_of_its_folder_only(tmp_path, name):
    entry = {"sha256": "0" * 64, "bytes": 1}
    manifest = {"format": vectors.FORMAT, "package": "0", "functions": 1, "tests": 1, "flags": 1, "files": {name: entry}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="manifest.json: files: expected names of files in this folder"):
        vectors.verify(tmp_path)
