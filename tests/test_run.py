"""Run files: what is written is read back to the bit, damage is named, and a kill loses nothing that was saved."""

import json
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from refdpm import experiment, run

SETTINGS = experiment.DEFAULT._replace(units=5, T=4, steps=6, batch=8)


def template(settings):
    return experiment.begin(experiment.from_dict(settings))


def identical(a, b):
    return all(np.array_equal(x, y) for (_, x), (_, y) in zip(run.named_leaves(a), run.named_leaves(b), strict=True))


@pytest.fixture
def saved(tmp_path):
    state = experiment.begin(SETTINGS)
    for state, _ in experiment.fit(SETTINGS, state):
        pass
    path = tmp_path / "run.npz"
    run.save(path, SETTINGS._asdict(), state)
    return path, state


def test_round_trip_is_exact(saved):
    path, state = saved
    settings, loaded = run.load(path, template)
    assert experiment.from_dict(settings) == SETTINGS and identical(loaded, state) and type(loaded) is type(state)


def test_stopping_and_going_on_changes_no_bit():
    whole = experiment.begin(SETTINGS)
    for whole, _ in experiment.fit(SETTINGS, whole):
        pass
    part = experiment.begin(SETTINGS)
    for part, _ in experiment.fit(SETTINGS, part):
        if part.steps_done == 2:
            break
    for part, _ in experiment.fit(SETTINGS, part):
        pass
    assert identical(whole, part)


def test_a_file_is_not_overwritten_unless_told(saved):
    path, state = saved
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="left unchanged"):
        run.save(path, SETTINGS._asdict(), state)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["run.npz"]


def rewrite(path, change):
    """The archive with one change made to its {name: array} content."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(arrays)
    np.savez(path, **arrays)


def header(**changes):
    def change(arrays):
        content = json.loads(str(arrays["header"]))
        content["settings"].update(changes)
        arrays["header"] = np.array(json.dumps(content))
    return change


@pytest.mark.parametrize("change,words", [
    (lambda a: a.pop("model.parameters.centre"), "model.parameters.centre"),
    (lambda a: a.update(extra=np.zeros(3)), "extra"),
    (lambda a: a.update({"model.logit_beta": np.zeros(9)}), r"logit_beta: expected .* \(3,\), got float64 of shape \(9,\)"),
    (lambda a: a.update({"model.logit_beta": np.full(3, np.nan)}), "finite"),
    (lambda a: a.update({"model.logit_beta": np.array(["a", "b", "c"])}), "expected numbers"),
    (lambda a: a.pop("header"), "header"),
    (lambda a: a.update(header=np.array("{}")), "header"),
    (header(beta_1=1.5), "beta_1"),
    (header(units="many"), "units"),
    (header(width="narrow"), "settings|width"),
    (header(colour="red"), "settings"),
])
def test_damage_is_named(saved, change, words):
    path, _ = saved
    rewrite(path, change)
    with pytest.raises(ValueError, match=words):
        run.load(path, template)


@pytest.mark.parametrize("keep", [0, 10, 300, -1])
def test_a_truncated_file_is_named(saved, keep):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="damaged"):
        run.load(path, template)


def test_flipped_bytes_are_named(saved):
    path, _ = saved
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("model.parameters.weight.npy").header_offset
    content[start + 200] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="damaged"):
        run.load(path, template)


def test_nothing_is_unpickled(saved):
    path, _ = saved
    rewrite(path, lambda arrays: arrays.update({"model.logit_beta": np.array([{}, {}, {}], dtype=object)}))
    with pytest.raises(ValueError, match="damaged"):
        run.load(path, template)


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    """SIGKILL at three different moments, each followed by --resume; the end equals the uninterrupted run's."""
    code = "import sys; from refdpm import cli; cli.SAVE_EVERY = 0.0; sys.exit(cli.main())"
    command = [sys.executable, "-c", code, "train", "swiss-roll"]
    settings = ["--units", "4", "--T", "3", "--steps", "400", "--seed", "2"]
    subprocess.run([*command, *settings, "--out", str(tmp_path / "whole")], check=True, capture_output=True)
    arguments = [*settings, "--out", str(tmp_path / "killed")]
    for moment in (0.0, 0.3, 0.8):
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (tmp_path / "killed" / "run.npz").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        run.load(tmp_path / "killed" / "run.npz", template)
        arguments = ["--resume", str(tmp_path / "killed")]
    subprocess.run([*command, *arguments], check=True, capture_output=True)
    states = [run.load(tmp_path / name / "run.npz", template)[1] for name in ("whole", "killed")]
    assert identical(*states)
