"""The CIFAR-10 reader on records written here by the format's description: files, folders, archives, and damage to each."""

import gzip
import io
import tarfile

import numpy as np
import pytest

from refdpm.data import cifar

rng = np.random.default_rng(0)
NAMES = ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"]
IMAGES = {name: rng.integers(0, 256, (k + 1, 32, 32, 3), dtype=np.uint8) for k, name in enumerate(NAMES)}
TRAINING = np.concatenate([IMAGES[name] for name in NAMES[:5]])


def file_of(images, label=7):
    """Record by record: the label, then all red, all green, all blue, each row by row."""
    content = bytearray()
    for image in images:
        content.append(label)
        for colour in range(3):
            for row in range(32):
                content += bytes(image[row, :, colour].tolist())
    return bytes(content)


FILES = {name: file_of(images) for name, images in IMAGES.items()}


def archive_of(files, *, folder="cifar-10-batches-bin/", mode="w:gz", change=lambda info: info):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in {"readme.html": b"<html>", **files}.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(content)
            archive.addfile(change(info), io.BytesIO(content))
    return buffer.getvalue()


def write(tmp_path, content, name="cifar.file"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def same(found):
    return np.array_equal(found[0], TRAINING) and np.array_equal(found[1], IMAGES["test_batch.bin"])


# -- files ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file(tmp_path, pack):
    images = cifar.read(write(tmp_path, pack(FILES["data_batch_3.bin"])))
    assert images.dtype == np.uint8 and np.array_equal(images, IMAGES["data_batch_3.bin"])


def test_larger_than_a_piece(tmp_path):
    many = rng.integers(0, 256, (700, 32, 32, 3), dtype=np.uint8)                                # 2.1 MB
    records = np.concatenate([np.zeros((700, 1), np.uint8), many.transpose(0, 3, 1, 2).reshape(700, -1)], axis=1)
    for pack in (bytes, gzip.compress):
        assert np.array_equal(cifar.read(write(tmp_path, pack(records.tobytes()))), many)


@pytest.mark.parametrize("length", [0, 1, 3072, 3074, 2 * 3073 - 1, 2 * 3073 + 1])
def test_lengths_that_are_not_records_are_refused(tmp_path, length):
    for pack in (bytes, gzip.compress):
        with pytest.raises(ValueError, match=f"cifar.file: size: expected records of 3073 bytes.*got {length} bytes"):
            cifar.read(write(tmp_path, pack(FILES["data_batch_5.bin"][:length])))


def test_labels_are_looked_at(tmp_path):
    """Records of another set, or shifted by a byte, have no label of ten where one belongs."""
    content = bytearray(FILES["data_batch_3.bin"])
    content[3073] = 10
    with pytest.raises(ValueError, match="cifar.file: label: expected 0..9, got 10 in record 1"):
        cifar.read(write(tmp_path, bytes(content)))


def test_packing_cut_or_damaged_is_refused(tmp_path):
    packed = gzip.compress(FILES["data_batch_1.bin"])
    for cut in [*range(2, 40), *range(len(packed) - 9, len(packed))]:
        with pytest.raises(ValueError, match="cifar.file: expected a batch of CIFAR-10, got a damaged one"):
            cifar.read(write(tmp_path, packed[:cut]))
    for place in (20, len(packed) // 2, len(packed) - 3):
        damaged = bytearray(packed)
        damaged[place] ^= 0x10
        with pytest.raises(ValueError, match="cifar.file: "):
            cifar.read(write(tmp_path, bytes(damaged)))


# -- folders -------------------------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        write(tmp_path, content, name)
    write(tmp_path, b"airplane\n", "batches.meta.txt")
    return tmp_path


def test_a_folder_in_order(folder):
    assert same(cifar.training_and_test(folder))
    for name in NAMES[1:4]:
        (folder / name).unlink()
        write(folder, gzip.compress(FILES[name]), name + ".gz")
    assert same(cifar.training_and_test(folder))


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_one_of_them(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"expected the binary version's data_batch_1.bin … .* got no {name}"):
        cifar.training_and_test(folder)


def test_a_folder_with_one_twice_or_damaged(folder):
    write(folder, gzip.compress(FILES[NAMES[2]]), NAMES[2] + ".gz")
    with pytest.raises(ValueError, match="data_batch_3.bin once"):
        cifar.training_and_test(folder)
    write(folder, FILES[NAMES[0]][:-1], NAMES[0])
    with pytest.raises(ValueError, match="data_batch_1.bin: size"):
        cifar.training_and_test(folder)


# -- archives ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("where", ["cifar-10-batches-bin/", "", "/absolute/", "../../"])
def test_an_archive_leaves_nothing_on_the_disk(tmp_path, monkeypatch, mode, where):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, archive_of(FILES, mode=mode, folder=where))
    assert same(cifar.training_and_test(path))
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_in_any_order(tmp_path):
    assert same(cifar.training_and_test(write(tmp_path, archive_of(dict(reversed(FILES.items()))))))


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_without_one_of_them(tmp_path, name):
    with pytest.raises(ValueError, match=f"cifar.file: .*got no {name}"):
        cifar.training_and_test(write(tmp_path, archive_of({n: c for n, c in FILES.items() if n != name})))


def test_the_python_version_is_not_read(tmp_path):
    pickles = {"data_batch_1": b"cos\nsystem\n(S'touch pwned'\ntR.", "test_batch": b"x"}
    with pytest.raises(ValueError, match="expected the binary version"):
        cifar.training_and_test(write(tmp_path, archive_of(pickles, folder="cifar-10-batches-py/")))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_members_that_are_no_files_are_refused(tmp_path, kind):
    def change(info):
        if info.name.endswith("batch_2.bin"):
            info.type, info.linkname, info.size = kind, "/etc/passwd", 0
        return info
    with pytest.raises(ValueError, match="data_batch_2.bin: expected a plain file"):
        cifar.training_and_test(write(tmp_path, archive_of(FILES, change=change)))


@pytest.mark.parametrize("extended", [{"GNU.sparse.map": "a,b"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}])
def test_nonsense_in_extended_headers_is_refused(tmp_path, extended):
    """On which the parsers of tarfile stumble with errors of other kinds than its own."""
    def change(info):
        if info.name.endswith("batch_2.bin"):
            info.pax_headers = extended
        return info
    with pytest.raises(ValueError, match="cifar.file: expected a tar archive"):
        cifar.training_and_test(write(tmp_path, archive_of(FILES, change=change)))


def test_the_same_name_twice_is_refused(tmp_path):
    files = FILES | {"other/data_batch_1.bin": FILES["data_batch_1.bin"]}
    with pytest.raises(ValueError, match="data_batch_1.bin once, got it again as .*other"):
        cifar.training_and_test(write(tmp_path, archive_of(files)))


def test_a_member_of_the_wrong_size_is_named(tmp_path):
    with pytest.raises(ValueError, match="cifar-10-batches-bin/test_batch.bin: size: expected records"):
        cifar.training_and_test(write(tmp_path, archive_of(FILES | {"test_batch.bin": FILES["test_batch.bin"][:-1]})))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("digits", [b"77777777777\0", b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"], ids=["8 GB", "2^63"])
def test_a_header_cannot_make_us_allocate(tmp_path, mode, digits):
    import tracemalloc
    content = bytearray(archive_of({"data_batch_1.bin": FILES["data_batch_1.bin"]}, mode="w"))
    header = content.index(b"cifar-10-batches-bin/data_batch_1.bin")
    content[header + 124:header + 136] = digits                    # the field of the size, and the sum of the header's bytes
    content[header + 148:header + 156] = b" " * 8
    content[header + 148:header + 156] = b"%06o\0 " % sum(content[header:header + 512])
    path = write(tmp_path, bytes(content) if mode == "w" else gzip.compress(bytes(content)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="cifar.file: .*data_batch_1.bin: size: expected at most"):
            cifar.training_and_test(path)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_archives_cut_anywhere_are_refused(tmp_path):
    """At every byte of the first header and around every member's; a cut in the padding after the last member is no loss."""
    plain, packed = archive_of(FILES, mode="w"), archive_of(FILES)
    starts = [plain.index(name.encode()) - 21 for name in NAMES]
    last = starts[-1] + 512 + len(FILES["test_batch.bin"])
    cuts = {*range(0, 520, 7), *(s + d for s in starts for d in (-1, 0, 1, 100, 511, 512, 513)), last - 1}
    for content, places in ((plain, cuts), (packed, {*range(0, 60), *range(100, len(packed), 4999), len(packed) - 1})):
        for cut in places:
            with pytest.raises(ValueError, match="cifar.file: "):
                cifar.training_and_test(write(tmp_path, content[:cut]))


def test_damage_to_an_archive_never_changes_a_pixel(tmp_path):
    """Of the plain archive: every byte of a header spoiled.  Of the packed one: spread over all of it, its checksum included."""
    plain, packed = archive_of(FILES, mode="w"), archive_of(FILES)
    start = plain.index(b"cifar-10-batches-bin/data_batch_2.bin")
    refused = 0
    spread = [*range(10, len(packed), 997), *range(len(packed) - 8, len(packed))]
    for content, places in ((plain, range(start, start + 512)), (packed, spread)):
        for place in places:
            damaged = bytearray(content)
            damaged[place] ^= 0xFF
            try:
                assert same(cifar.training_and_test(write(tmp_path, bytes(damaged))))
            except ValueError as error:
                assert "cifar.file" in str(error)
                refused += 1
    assert refused > 400


@pytest.mark.parametrize("content", [
    b"", b"hello", bytes(10240), FILES["test_batch.bin"], gzip.compress(b""), gzip.compress(b"x" * 5000)])
def test_what_is_no_archive_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match="cifar.file: "):
        cifar.training_and_test(write(tmp_path, content))


def test_no_file_is_no_value_error(tmp_path):
    for call in (cifar.read, cifar.training_and_test):
        with pytest.raises(FileNotFoundError):
            call(tmp_path / "absent")
