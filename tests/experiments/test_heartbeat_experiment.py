"""The heartbeat from the command line: its report beside exact limits, and what it does with sequences of one's own."""

import json

import numpy as np
import pytest

from refdpm import cli
from refdpm.experiments import heartbeat
from refdpm.oracles import heartbeat as exact


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("heartbeat") / "run"
    assert cli.main(["train", "heartbeat", "--T", "8", "--steps", "60", "--seed", "1", "--out", str(out)]) == 0
    return out, json.loads((out / "report.json").read_text())


def test_report_stands_beside_the_exact_limits(trained):
    """K* and −H(X¹) from the oracle; L_null of one one in five is exactly 4 log2 0.2 + 16 log2 0.8; K ≤ K* up to five errors."""
    _, report = trained
    beta = 1 / np.arange(9, 0, -1.0)
    beta[0] = 0
    assert report["K_star"] == pytest.approx(exact.bound(beta, rate=0.2) / np.log(2))
    assert report["L_null"] == pytest.approx(4 * np.log2(0.2) + 16 * np.log2(0.8)) and report["L_null_stderr"] < 1e-12
    assert report["L_null"] < report["K"] < report["K_star"] + 5 * report["K_stderr"] and report["K_star"] < report["K_max"]
    assert report["correction"] == pytest.approx(0, abs=1e-12)                  # as many ones as under π
    assert 0 < report["samples"]["invalid"] <= 1


def test_only_five_sequences_are_valid():
    beats = (np.arange(20) % 5 == np.arange(5)[:, None]).astype(float)
    others = np.stack([beats[0] + beats[1], 0 * beats[0], np.roll(beats[0], 1) * (np.arange(20) > 5), 1 - beats[2]])
    assert not heartbeat.invalid(beats).any() and heartbeat.invalid(others).all()


def test_inpainting_and_flips(trained, tmp_path, capsys):
    out, y, mask = str(trained[0]), np.tile(np.eye(5)[[1, 3]], 4), np.arange(20) < 10
    names = [str(tmp_path / f"{name}.npy") for name in ("y", "mask", "painted", "clean", "wrong")]
    np.save(names[0], y)
    np.save(names[1], mask)
    np.save(names[4], y + 0.3)
    assert cli.main(["sample", out, "--inpaint", names[0], "--mask", names[1], "--out", names[2]]) == 0
    assert np.array_equal(np.load(names[2])[:, mask], y[:, mask])
    assert cli.main(["sample", out, "--denoise", names[0], "--noise-std", "0.05", "--out", names[3]]) == 0
    assert np.isin(np.load(names[3]), (0, 1)).all()
    for arguments, word in ((["--denoise", names[4], "--noise-std", "0.1"], "zeros and ones"),
                            (["--denoise", names[0], "--noise-std", "0.7"], "0.5"),
                            (["--denoise", names[0], "--noise-std", "0.1", "--choice", "enter"], "bits")):
        assert cli.main(["sample", out, *arguments, "--out", str(tmp_path / "no.npy")]) == 2
        assert word in capsys.readouterr().err


def test_bound_on_sequences_of_ones_own(trained, tmp_path, capsys):
    np.save(tmp_path / "own.npy", np.tile(np.eye(5), 4))
    assert cli.main(["bound", str(trained[0]), "--data", str(tmp_path / "own.npy"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 5
    np.save(tmp_path / "wrong.npy", np.full((5, 20), 0.5))
    assert cli.main(["bound", str(trained[0]), "--data", str(tmp_path / "wrong.npy")]) == 2
    assert "zeros and ones" in capsys.readouterr().err
