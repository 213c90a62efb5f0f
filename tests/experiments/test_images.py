"""The image experiments from end to end, from small files in the official formats that the tests write themselves."""

import gzip
import json
import struct

import numpy as np
import pytest

from refdpm import cli, experiments
from refdpm.data.prepare import restore
from refdpm.experiments import common, images

TINY = ["--T", "4", "--steps", "2", "--batch", "3", "--bumps", "3", "--pixelwise", "5", "--seed", "1"]


def pictures(n, *shape):
    return np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8)


def mnist(folder):
    """Images of 8 × 6 pixels; the training file packed, the other not."""
    for name, n in (("train-images-idx3-ubyte", 40), ("t10k-images-idx3-ubyte", 9)):
        content = struct.pack(">IIII", 0x803, n, 8, 6) + pictures(n, 8, 6).tobytes()
        path = folder / (f"{name}.gz" if n == 40 else name)
        path.write_bytes(gzip.compress(content) if n == 40 else content)
    return folder


def cifar10(folder):
    """Five records a batch."""
    for name in [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]:
        (folder / name).write_bytes(b"".join(bytes([k]) + pictures(7 + k, 3072)[0].tobytes() for k in range(5)))
    return folder


def bark(folder):
    """Three grey pictures of 20 × 30 as one array."""
    np.save(folder / "bark.npy", pictures(3, 20, 30))
    return folder / "bark.npy"


KINDS = {"mnist": (mnist, ["--dense", "7"], (8, 6, 1)), "cifar10": (cifar10, ["--conv", "3", "--dense", "4"], (32, 32, 3)),
         "bark": (bark, ["--conv", "3,2", "--height", "8", "--width", "12", "--scales", "2"], (8, 12, 1))}


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    """A small run from files, its folder and its report."""
    folder = tmp_path_factory.mktemp(request.param)
    write, arguments, shape = KINDS[request.param]
    out = folder / "run"
    assert cli.main(["train", request.param, "--data", str(write(folder)), *TINY, *arguments, "--out", str(out)]) == 0
    return request.param, out, json.loads((out / "report.json").read_text()), shape


def test_report(trained):
    kind, out, report, shape = trained
    settings = report["settings"]
    assert report["experiment"] == kind and report["unit"] == "pixel"
    assert (settings["height"], settings["width"], settings["channels"]) == shape
    assert report["K"] - report["L_null"] == pytest.approx(report["K_minus_L_null"], abs=1e-9)
    assert "normal" not in report                                 # too few images for a covariance


def test_held_out_images_have_the_training_constants(trained):
    """Training images have mean square 1, noise included, to ten standard errors; held-out ones come back to their bytes."""
    kind, out, _, shape = trained
    posed = experiments.load(out)
    x = posed.problem.draw_data(np.random.default_rng(0), 400)
    assert x.shape[1:] == shape and abs(np.square(x).mean() - 1) < 10 / np.sqrt(x.size)
    if kind == "mnist":
        values = restore(common.held_out(posed.problem, 9), posed.settings.constants)
        assert {image.tobytes() for image in values} == {image.tobytes() for image in pictures(9, 8, 6)}


def test_samples_are_in_the_units_of_the_files(trained, tmp_path):
    _, out, _, shape = trained
    path = tmp_path / "samples.npy"
    assert cli.main(["sample", str(out), "--n", "30", "--out", str(path)]) == 0
    x = np.load(path)
    assert x.shape == (30, *shape) and 60 < x.std() < 200


def test_denoising_and_inpainting(trained, tmp_path, capsys):
    _, out, _, shape = trained
    y, mask = 128.0 + 40 * np.random.default_rng(1).standard_normal((2, *shape)), np.zeros(shape)
    mask[:3] = 1
    for name, array in (("y", y), ("mask", mask)):
        np.save(tmp_path / f"{name}.npy", array)
    given = [str(tmp_path / name) for name in ("y.npy", "mask.npy", "painted.npy", "clean.npy")]
    assert cli.main(["sample", str(out), "--inpaint", given[0], "--mask", given[1], "--out", given[2]]) == 0
    painted = np.load(given[2])
    assert np.array_equal(painted[:, :3], y[:, :3]) and abs(painted[:, 3:] - y[:, 3:]).min() > 0
    assert cli.main(["sample", str(out), "--denoise", given[0], "--noise-std", "1e-6", "--out", given[3]]) == 0
    assert np.load(given[3]) == pytest.approx(y, abs=1e-4)
    entered = str(tmp_path / "entered.npy")
    assert cli.main(["sample", str(out), "--denoise", given[0], "--noise-std", "9", "--choice", "enter", "--out", entered]) == 0
    assert np.load(entered).shape == y.shape
    np.save(given[0], np.where(np.broadcast_to(mask == 1, y.shape), y, np.nan))
    np.save(given[1], mask[..., 0] == 1)                                    # as booleans, one for all colours, the unknown left out
    assert cli.main(["sample", str(out), "--inpaint", given[0], "--mask", given[1], "--out", str(tmp_path / "again.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "again.npy"), painted)
    for arguments, word in ((["--denoise", given[0]], "--noise-std"), (["--inpaint", given[0]], "--mask"), ([], "--n"),
                            (["--denoise", given[0], "--noise-std", "5"], "finite"), (["--n", "2", "--mask", given[1]], "--mask"),
                            (["--n", "2", "--choice", "ramp"], "--choice"),
                            (["--inpaint", given[0], "--mask", given[0]], "zeros and ones")):
        assert cli.main(["sample", str(out), *arguments, "--out", str(tmp_path / "no.npy")]) == 2
        assert word in capsys.readouterr().err


def test_resume_where_the_data_have_moved_and_not_with_others(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    out, there = str(tmp_path / "run"), mnist(tmp_path / "a")
    assert cli.main(["train", "mnist", "--data", str(there), *TINY, "--dense", "3", "--out", out]) == 0
    there.rename(tmp_path / "c")
    images._source.cache_clear()                                            # as in another process
    assert cli.main(["sample", out, "--n", "2", "--out", str(tmp_path / "x.npy")]) == 0
    assert cli.main(["train", "mnist", "--resume", out]) == 2 and str(there) in capsys.readouterr().err
    assert cli.main(["train", "mnist", "--resume", out, "--data", str(tmp_path / "c")]) == 0
    (mnist(tmp_path / "b") / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 9, 8, 6) + bytes(9 * 48))
    assert cli.main(["train", "mnist", "--resume", out, "--data", str(tmp_path / "b")]) == 2
    assert "expected the data that the run began with" in capsys.readouterr().err


def test_bark_too_small_for_its_windows_is_refused_at_once(tmp_path, capsys):
    """One picture of 40 × 40 leaves a held-out strip of 8 × 40."""
    np.save(tmp_path / "one.npy", pictures(1, 40, 40))
    assert cli.main(["train", "bark", "--data", str(tmp_path / "one.npy"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "held-out pictures" in said and "(8, 40)" in said and not (tmp_path / "out").exists()


def test_dead_leaves_end_to_end(tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["train", "dead-leaves", "--T", "3", "--steps", "2", "--conv", "2", "--scales", "1", "--height", "5", "--width",
                     "3", "--pixelwise", "", "--seed", "4", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["settings"]["conv"] == [2] and report["settings"]["pixelwise"] == [] and report["alpha_bar_T"] > 0.9
    assert report["terms"]["H(pi)"] == pytest.approx(np.log2(2 * np.pi * np.e) / 2)           # per pixel
    assert report["normal"] > report["L_null"]


@pytest.mark.parametrize("arguments,word", [
    (["--basis", "none"], "basis"), (["--scales", "99"], "scales"), (["--height", "6"], "shape"), (["--conv", "0"], "conv"),
    (["--beta-T", "2"], "beta_T")])
def test_settings_that_make_no_sense_leave_nothing_behind(arguments, word, tmp_path, capsys):
    assert cli.main(["train", "dead-leaves", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert word in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_bound_with_a_parzen_window(trained, capsys):
    _, out, _, _ = trained
    assert cli.main(["bound", str(out), "--points", "4", "--parzen", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["parzen"]
    assert found["samples"] == 20 and np.isfinite(found["bits"]) and 0.1 <= found["bandwidth"] <= 1


def test_figure(trained):
    pytest.importorskip("matplotlib", reason="the extra `figures` is not installed")
    assert (trained[1] / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_are_not_there(kind, tmp_path, capsys):
    for arguments, word in (([], "--data"), (["--data", str(tmp_path / "nothing")], "nothing")):
        assert cli.main(["train", kind, *arguments, "--out", str(tmp_path / "out")]) == 2
        assert word in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_dead_leaves_are_scaled_exactly():
    """256 equally likely levels with noise one level wide have the variance 256²/12."""
    settings = experiments.EXPERIMENTS["dead-leaves"].resolved(experiments.EXPERIMENTS["dead-leaves"].DEFAULT)
    levels = np.arange(256.0)
    assert settings.mean == levels.mean() and settings.scale ** -2 == pytest.approx(levels.var() + 1 / 12, rel=1e-14)
