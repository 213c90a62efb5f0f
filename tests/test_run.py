"""Run files: what is written is read back to the bit, damage is named, and a kill loses nothing that was saved."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from refdpm import cli, experiments, run
from refdpm.experiments import common, swiss_roll as experiment

SETTINGS = experiment.DEFAULT._replace(units=5, T=4, steps=6, batch=8)


def template(settings):
    return experiment.begin(common.from_dict(experiment, settings))


def identical(a, b):
    return all(np.array_equal(x, y) for (_, x), (_, y) in zip(run.named_leaves(a), run.named_leaves(b), strict=True))


@pytest.fixture
def saved(tmp_path):
    state = experiment.begin(SETTINGS)
    for state, _ in common.fit(experiment.problem(SETTINGS), state):
        pass
    path = tmp_path / "run.npz"
    run.save(path, SETTINGS._asdict(), state)
    return path, state


def test_round_trip_is_exact(saved):
    path, state = saved
    settings, loaded = run.load(path, template)
    assert common.from_dict(experiment, settings) == SETTINGS and identical(loaded, state) and type(loaded) is type(state)


def test_stopping_and_going_on_changes_no_bit():
    whole = experiment.begin(SETTINGS)
    for whole, _ in common.fit(experiment.problem(SETTINGS), whole):
        pass
    part = experiment.begin(SETTINGS)
    for part, _ in common.fit(experiment.problem(SETTINGS), part):
        if part.steps_done == 2:
            break
    for part, _ in common.fit(experiment.problem(SETTINGS), part):
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
    (lambda a: a.update({"model.logit_beta": np.array(["a", "b", "c"])}), "expected float64"),
    (lambda a: a.update({"model.logit_beta": np.zeros(3, np.float32)}), "expected float64 .* got float32"),
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


@pytest.mark.parametrize("change,words", [
    (lambda a: a.update(steps_done=np.array(-1)), "steps_done: expected 0 to 6, got -1"),
    (lambda a: a.update(steps_done=np.array(7)), "steps_done: expected 0 to 6, got 7"),
    (lambda a: a.update({"network_moments.steps": np.array(3.0)}), "network_moments: expected averages of 6 steps"),
    (lambda a: a.update({"schedule_moments.square": np.full(3, -1.0)}), "schedule_moments: .* squares ≥ 0"),
])
def test_states_that_cannot_be_are_named(saved, change, words):
    path, _ = saved
    rewrite(path, change)
    settings, state = run.load(path, template)
    with pytest.raises(ValueError, match=words):
        common.checked_state(experiment.problem(common.from_dict(experiment, settings)), state)


def test_a_header_that_claims_too_much_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content.replace(b"(3, 2), }" + b" " * 18, b"(1000000000000000, 2), }   "))
    with pytest.raises(ValueError, match="npy format"):
        run.load_points(tmp_path / "x.npy")


def test_other_files_are_no_run_files(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "zip").write_bytes(b"PK\x03\x04 and nothing else")
    for name in ("array.npy", "empty", "zip"):
        with pytest.raises(ValueError, match="damaged one or another file"):
            run.load(tmp_path / name, template)
    with pytest.raises(ValueError, match="npy format"):
        run.load_points(tmp_path / "zip")


def test_any_two_flipped_bytes_are_an_error_or_harmless(saved):
    """300 random damages: a ValueError that names the file, or the same state (a byte that nothing reads); never another error."""
    path, state = saved
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 2):
            damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            settings, loaded = run.load(path, template)
        except ValueError as error:
            assert "run.npz" in str(error) or "settings" in str(error) or "expected" in str(error)
        else:
            assert identical(loaded, state)


def test_template_has_the_shapes_of_a_state():
    begun = dict(run.named_leaves(experiment.begin(SETTINGS)))
    empty = dict(run.named_leaves(experiment.template(SETTINGS)))
    assert [(name, x.shape, x.dtype) for name, x in begun.items()] == [(name, x.shape, x.dtype) for name, x in empty.items()]


def test_files_have_the_permissions_of_the_umask(tmp_path):
    previous = os.umask(0o027)
    try:
        run.write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(previous)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


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


def steps_done(folder):
    """Of the last saved state; −1 while there is none."""
    return int(experiments.load(folder).state.steps_done) if (folder / "run.npz").exists() else -1


def start(folder, *arguments, save_every=0.0):
    code = f"import sys; from refdpm import cli, training; training.SAVE_EVERY = {save_every}; sys.exit(cli.main())"
    return subprocess.Popen([sys.executable, "-c", code, "train", "swiss-roll", *arguments], stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, preexec_fn=listen)


def listen():
    """In the child: heed SIGINT, even if whoever runs the tests in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def grown(process, folder, least):
    """Waits until the saved run has made `least` steps; the process must still be at it."""
    last = time.monotonic() + 120
    while steps_done(folder) < least:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < last, f"no {least} steps in two minutes"
        time.sleep(0.03)


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, no_picture):
    """SIGKILL in the middle of training, twice, each followed by --resume; the end equals the uninterrupted run's."""
    settings = ["--units", "4", "--T", "3", "--steps", "600", "--seed", "2"]
    folder, arguments = tmp_path / "killed", [*settings, "--out", str(tmp_path / "killed")]
    for least in (20, 200):
        process = start(folder, *arguments)
        grown(process, folder, least)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert least <= steps_done(folder) < 600
        arguments = ["--resume", str(folder)]
    for rest in (arguments, [*settings, "--out", str(tmp_path / "whole")]):
        assert cli.main(["train", "swiss-roll", *rest, "--quiet"]) == 0
    assert identical(*(experiments.load(tmp_path / name).state for name in ("whole", "killed")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_saves_and_says_how_to_go_on(tmp_path, number):
    folder = tmp_path / "stopped"
    process = start(folder, "--units", "4", "--T", "3", "--steps", "1000000", "--out", str(folder), save_every=0.5)
    grown(process, folder, 1)
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + number, said
    assert f"--resume {folder}" in said
    assert f"saved at step {steps_done(folder)};" in said
