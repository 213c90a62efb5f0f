"""The commands, as a user calls them: what they print, what they write, and how they refuse."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from refdpm import cli, console, experiments, run, traceability, training
from refdpm.experiments import common, heartbeat, swiss_roll as experiment

SMALL = ["--units", "4", "--steps", "3", "--T", "3", "--seed", "5"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small run in a folder, and what `train --json` printed."""
    folder, output = tmp_path_factory.mktemp("runs") / "small", io.StringIO()
    with contextlib.redirect_stdout(output):
        assert cli.main(["train", "swiss-roll", *SMALL, "--out", str(folder), "--json"]) == 0
    return folder, json.loads(output.getvalue())


def refused(capsys, arguments, *words):
    """The command ends with exit code 2, an error that names what is wrong, and nothing on standard output."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and all(word in captured.err for word in words), captured.err


def test_train_prints_one_json_object_with_the_promised_keys(trained):
    folder, report = trained
    assert {"K", "K_stderr", "L_null", "K_minus_L_null", "K_max", "K_star", "elbo", "seconds", "seed"} <= report.keys()
    assert report["K_star"] < report["K_max"]
    assert report["K"] - report["L_null"] == pytest.approx(report["K_minus_L_null"], abs=1e-9)
    assert (folder / "run.npz").exists() and json.loads((folder / "report.json").read_text()) == report


def test_the_terms_add_up_to_k(trained):
    terms = trained[1]["terms"]
    total = -sum(terms["kl"]) + terms["H(x_T|x_0)"] - terms["H(x_1|x_0)"] - terms["H(pi)"]
    assert trained[1]["K"] == pytest.approx(total, abs=1e-9)


def test_same_seed_same_bits(trained, tmp_path, no_picture):
    assert cli.main(["train", "swiss-roll", *SMALL, "--out", str(tmp_path / "again"), "--json"]) == 0
    first, second = (run.named_leaves(experiments.load(folder).state) for folder in (trained[0], tmp_path / "again"))
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))


def test_bound_of_a_run(trained, capsys):
    assert cli.main(["bound", str(trained[0]), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["K"] == trained[1]["K"]
    assert cli.main(["bound", str(trained[0] / "run.npz"), "--points", "100"]) == 0
    assert "strict bound" in capsys.readouterr().out


def test_bound_on_data_of_ones_own(trained, tmp_path, capsys):
    path = tmp_path / "points.npy"
    np.save(path, common.held_out(experiment.problem(experiment.DEFAULT), 500))
    assert cli.main(["bound", str(trained[0]), "--data", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 500


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_sample_writes_points_and_never_over_a_file(trained, tmp_path, capsys, suffix):
    out = tmp_path / f"points{suffix}"
    assert cli.main(["sample", str(trained[0]), "--n", "7", "--out", str(out)]) == 0
    before = out.read_bytes()
    x = np.load(out) if suffix == ".npy" else np.loadtxt(out, delimiter=",")
    assert x.shape == (7, 2) and np.isfinite(x).all()
    capsys.readouterr()
    refused(capsys, ["sample", trained[0], "--n", 7, "--out", out], "--out", "exists")
    assert out.read_bytes() == before


def test_samples_with_and_without_the_last_step_differ_by_its_noise(trained, tmp_path):
    for end in ("x_0", "x_1"):
        assert cli.main(["sample", str(trained[0]), "--n", "4000", "--out", str(tmp_path / f"{end}.npy"), "--end", end]) == 0
    x_0, x_1 = (np.load(tmp_path / f"{end}.npy") for end in ("x_0", "x_1"))
    noise = (x_0 - np.sqrt(1 - 1e-3) * x_1) / np.sqrt(1e-3)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * noise.size)                         # 5 standard errors: once in two million
    assert abs((noise * x_1).mean()) < 5 * x_1.std() / np.sqrt(noise.size)


def test_where_an_evaluation_and_a_chain_are_is_shown_on_terminals_only(trained, tmp_path, monkeypatch, capsys, no_picture):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(console.Progress, "PATIENCE", 0)
    folder = str(trained[0])
    commands = {"bound": [folder, "--points", "50", "--json"], "sample": [folder, "--n", "7", "--out", str(tmp_path / "x.npy")],
                "train": ["swiss-roll", *SMALL, "--out", str(tmp_path / "run")]}
    for name, arguments in commands.items():
        for stream, quiet in ((Terminal(), []), (Terminal(), ["--quiet"]), (io.StringIO(), []))[:1 if name == "train" else 3]:
            monkeypatch.setattr(sys, "stderr", stream)
            (tmp_path / "x.npy").unlink(missing_ok=True)
            assert cli.main([name, *arguments, *quiet]) == 0
            assert ("call 1 of the network, t = " in stream.getvalue()) == (stream.isatty() and not quiet), name


def test_every_command_that_says_how_it_goes_can_be_quiet(capsys):
    assert cli.main(["completion"]) == 0
    quiet = {line.partition('"')[2].partition('"')[0].strip() for line in capsys.readouterr().out.splitlines() if "--quiet" in line}
    assert quiet >= {"train swiss-roll", "train bark", "bound", "sample", "figure", "check", "audit", "read"}


def test_a_short_run_looks_at_few_examples():
    """All parts in proportion to the steps, and no longer than the whole where the steps are more."""
    for name, held_out in (("swiss-roll", 50_000), ("heartbeat", 20_000), ("dead-leaves", 50)):
        settings = experiments.EXPERIMENTS[name].DEFAULT
        for factor, expected in ((0.01, max(2, held_out // 100)), (1, held_out), (3, held_out)):
            problem = experiments.EXPERIMENTS[name].problem(settings._replace(steps=int(settings.steps * factor)))
            assert problem.held_out == expected


def test_a_short_heartbeat_draws_few_samples():
    settings = heartbeat.DEFAULT._replace(T=8, steps=30)
    found = heartbeat.report(heartbeat.problem(settings), settings, heartbeat.begin(settings))
    assert found["samples"]["n"] == 100


def test_figure(trained, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the extra `figures` is not installed")
    out = trained[0] / "figure.png"
    assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    refused(capsys, ["figure", trained[0], "--out", out], "exists")
    a, b, pdf = (tmp_path / name for name in ("a.svg", "b.svg", "a.pdf"))
    assert all(cli.main(["figure", str(trained[0]), "--out", str(path)]) == 0 for path in (a, b, pdf))
    assert a.read_bytes() == b.read_bytes() and ElementTree.parse(a)
    assert pdf.read_bytes().startswith(b"%PDF") and b"CreationDate" not in pdf.read_bytes()
    refused(capsys, ["figure", trained[0], "--out", tmp_path / "roll.jpg"], "ending in .png, .svg, .pdf, .gif")


def test_film(trained, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra `figures` is not installed")
    from PIL import Image
    twice = [tmp_path / f"{name}.gif" for name in "ab"]
    assert all(cli.main(["figure", str(trained[0]), "--out", str(path)]) == 0 for path in twice)
    assert twice[0].read_bytes() == twice[1].read_bytes()
    with Image.open(twice[0]) as film:
        assert film.format == "GIF" and film.n_frames == 4 and film.info["loop"] == 0         # t = 3, 2, 1, 0


def test_figure_without_the_extra_names_it(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused(capsys, ["figure", trained[0], "--out", tmp_path / "roll.png"], "pip install matplotlib")
    assert not (tmp_path / "roll.png").exists()


def test_equations_as_json(capsys):
    assert cli.main(["equations", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(set(row) == {"number", "section", "says", "status", "code", "tests", "note"} for row in rows)
    assert [row["number"] for row in rows[:65]] == [str(n) for n in range(1, 66)]


# -- what a command waits for --------------------------------------------------------------------------------------------

def imported(*commands):
    """The modules that are loaded when each of the commands ends, one after the other in one new process."""
    code = """
import contextlib, io, json, sys
for arguments in json.loads(sys.argv[1]):
    for name in [name for name in sys.modules if name.partition(".")[0] == "refdpm"]:
        del sys.modules[name]
    sys.argv[1:] = arguments
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        from refdpm.__main__ import run
        run()
    print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, json.dumps(commands)], capture_output=True, text=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_help_and_wrong_usage_wait_for_nothing():
    for modules in imported(["--help"], ["--version"], [], ["paint"], ["--paint"]):
        assert "refdpm.cli" in modules and not modules & {"numpy", "scipy", "refdpm.experiments", "refdpm.run"}


def test_a_command_imports_no_module_of_other_commands():
    modules = {f"refdpm.{module}" for module, _ in cli.COMMANDS.values()}
    found = imported(*([name, "--help"] for name in cli.COMMANDS))
    for name, loaded in zip(cli.COMMANDS, found, strict=True):
        assert loaded & modules == {"refdpm.cli", f"refdpm.{cli.COMMANDS[name][0]}"}


# -- completion ----------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash is installed")
@pytest.mark.parametrize("typed,offered", [
    (["ch"], "check"), ([""], " ".join([*cli.COMMANDS])), (["check", "a.py", "--j"], "--json --junit"), (["check", ""], ""),
    (["train", "s"], "swiss-roll"), (["train", "swiss-roll", "--fi"], "--fixed-schedule"), (["vectors", "v"], "verify"),
    (["train", "heartbeat", "--qu"], "--quiet"), (["check", "--is"], "")])
def test_the_tab_key(typed, offered, capsys):
    assert cli.main(["completion"]) == 0
    ask = f'COMP_WORDS=({" ".join(map(repr, ["refdpm", *typed]))}); COMP_CWORD={len(typed)}; _refdpm; echo "${{COMPREPLY[*]}}"'
    done = subprocess.run(["bash", "--norc", "-c", f"{capsys.readouterr().out}\n{ask}"], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (offered, "")


# -- refusals ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [[], ["train"], ["train", "mnist9"], ["train", "swiss-roll", "--steps", "many"], ["paint"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2 and capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments,name", [
    (["--beta-1", "1.5"], "beta_1"), (["--beta-1", "1e-7"], "beta_1"),
    (["--beta-1", "nan"], "beta_1"), (["--steps", "0"], "steps"), (["--units", "-1"], "units"),
    (["--T", "1"], "T"), (["--seed", "-3"], "seed"), (["--readout", "relu"], "readout")])
def test_settings_that_make_no_sense(arguments, name, tmp_path, capsys):
    out = tmp_path / "new"
    refused(capsys, ["train", "swiss-roll", *arguments, "--out", out], name, "expected", "got")
    assert not out.exists()


def test_existing_output_is_left_as_it_is(trained, capsys):
    before = (trained[0] / "run.npz").read_bytes()
    refused(capsys, ["train", "swiss-roll", *SMALL, "--out", trained[0]], "--out", "exists")
    assert (trained[0] / "run.npz").read_bytes() == before


def test_output_that_cannot_be_written(trained, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    refused(capsys, ["train", "swiss-roll", *SMALL, "--out", tmp_path / "file" / "below"], "file")
    refused(capsys, ["sample", trained[0], "--n", 3, "--out", tmp_path / "nowhere" / "x.npy"], "nowhere")
    refused(capsys, ["sample", trained[0], "--n", 3, "--out", tmp_path / "x.txt"], ".npy or .csv")


def test_run_that_is_not_there(tmp_path, capsys):
    refused(capsys, ["bound", tmp_path / "nothing"], "RUN", "nothing")


@pytest.mark.parametrize("spoil,words", [
    (lambda x: np.where(np.arange(len(x))[:, None] == 3, np.nan, x), ("finite", "row 3")),
    (lambda x: x + 0.5, ("centred", "column 0")),
    (lambda x: 2 * x, ("unit variance", "expected", "got")),
    (lambda x: x[:, :1], ("(N, 2)", "(500, 1)")),
    (lambda x: x.astype(str), ("numbers",)),
    (lambda x: x.ravel(), ("(N, 2)", "(1000,)")),
])
def test_data_that_do_not_fit(spoil, words, trained, tmp_path, capsys):
    path = tmp_path / "points.npy"
    np.save(path, spoil(common.held_out(experiment.problem(experiment.DEFAULT), 500)))
    refused(capsys, ["bound", trained[0], "--data", path], "points.npy", *words)


def test_data_that_are_no_array(trained, tmp_path, capsys):
    (tmp_path / "x.npy").write_bytes(b"not an array")
    refused(capsys, ["bound", trained[0], "--data", tmp_path / "x.npy"], "x.npy", ".npy format")


@pytest.mark.parametrize("arguments", [["--steps", "9"], ["--steps", "0"], ["--seed", "0"], ["--full"], ["--out", "elsewhere"]])
def test_resume_goes_on_with_the_run_s_own_settings(arguments, trained, capsys):
    refused(capsys, ["train", "swiss-roll", "--resume", trained[0], *arguments], arguments[0], "--resume")


def test_resume_of_a_finished_run_reports_again(trained, capsys, no_picture):
    before = list(run.named_leaves(experiments.load(trained[0]).state))
    assert cli.main(["train", "swiss-roll", "--resume", str(trained[0] / "run.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["K"] == trained[1]["K"]
    after = run.named_leaves(experiments.load(trained[0]).state)
    assert all(name == other and np.array_equal(a, b) for (name, a), (other, b) in zip(before, after, strict=True))


def test_divergence_is_named_and_leaves_the_last_good_state(tmp_path, capsys):
    refused(capsys, ["train", "swiss-roll", *SMALL, "--width", "1e-200", "--out", tmp_path / "new"], "K: expected a finite number",
            "run.npz")
    assert experiments.load(tmp_path / "new").state.steps_done < 3


def test_a_run_that_has_diverged_is_refused(trained, tmp_path, capsys):
    """Its numbers are finite, and K is not."""
    with np.load(trained[0] / "run.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(tmp_path / "run.npz", **arrays | {"model.parameters.weight": np.full_like(arrays["model.parameters.weight"], 1e200)})
    refused(capsys, ["bound", tmp_path / "run.npz", "--points", 100], "run.npz: expected a finite K, got")


def test_sizes_beyond_memory_leave_nothing_behind(tmp_path, capsys):
    refused(capsys, ["train", "swiss-roll", "--units", 10 ** 12, "--out", tmp_path / "new"], "memory")
    assert not (tmp_path / "new").exists()


def test_a_closed_pipe_changes_no_verdict():
    """`completion | head -1` is fine, and says nothing about a broken pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "refdpm", "completion"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_output_without_unicode(trained, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert cli.main(["bound", str(trained[0]), "--points", "100"]) == 0
    assert b"strict bound" in written.getvalue() and b"?" in written.getvalue()


# -- outputs -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["report.json", "figure.png"])
def test_resume_writes_over_no_file_that_is_not_its_own(trained, tmp_path, capsys, name):
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "run.npz").write_bytes((trained[0] / "run.npz").read_bytes())
    (folder / name).write_text("mine")
    refused(capsys, ["train", "swiss-roll", "--resume", folder], "--resume", name, "left unchanged")
    assert (folder / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["report.json", "run.npz"])
def test_a_disk_that_is_full_once_the_training_runs_still_prints_the_report(tmp_path, capsys, monkeypatch, no_picture, name):
    """The run file at the start is there, and neither the saves meanwhile nor the last one can be written."""
    def full(path, content, **options):
        if path.name == name and len(list(path.parent.iterdir())):
            raise OSError(28, "No space left on device", str(path))
        written(path, content, **options)

    written = run.write_atomically
    monkeypatch.setattr(run, "write_atomically", full)
    monkeypatch.setattr(training, "SAVE_EVERY", -1)
    assert cli.main(["train", "swiss-roll", *SMALL, "--out", str(tmp_path / "new"), "--json"]) == 2
    said = capsys.readouterr()
    assert "K" in json.loads(said.out) and name in said.err and "Traceback" not in said.err


@pytest.mark.parametrize("make", [lambda path: path.symlink_to(path.parent / "elsewhere"), lambda path: path.mkdir()])
def test_links_and_folders_are_no_new_files(trained, tmp_path, capsys, make):
    make(tmp_path / "x.npy")
    refused(capsys, ["sample", trained[0], "--n", 3, "--out", tmp_path / "x.npy"], "--out", "exists")


def test_temporary_files_of_the_dead_are_cleared_and_others_stay(tmp_path):
    done = subprocess.Popen(["true"])
    done.wait()
    dead, living, foreign = (tmp_path / f".run.npz.tmp-{pid}-x" for pid in (done.pid, os.getppid(), "x"))
    for path in (dead, living, foreign):
        path.write_text("")
    run.clear(tmp_path, "run.npz")
    assert not dead.exists() and living.exists() and foreign.exists()


def test_files_that_belong_together_are_written_together(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="b/c: expected a file that can be written"):
        run.write_together(tmp_path / "new", {"a": b"1", "b/c": b"2"})
    assert not (tmp_path / "new").exists()


def test_messages_are_one_line_that_no_terminal_obeys(tmp_path, capsys):
    refused(capsys, ["bound", tmp_path / "a\n\x1b[31mb"], "a\\n\\x1b[31mb")
    assert console.one_line("x" * 10 ** 6).endswith("…") and len(console.one_line("x" * 10 ** 6)) == console.LONGEST


def test_an_error_of_our_own_has_its_own_exit_code(capsys, monkeypatch):
    monkeypatch.setattr(traceability, "matrix", lambda: 1 / 0)
    assert cli.main(["equations"]) == cli.BROKEN == 3
    assert "refdpm itself" in capsys.readouterr().err


def test_a_training_and_a_check_need_no_standard_error(tmp_path, capsys, monkeypatch):
    """The check in this process, which Python tells of a closed stream by None."""
    (tmp_path / "adapter.py").write_text("def alpha_bar(beta): return (1 - beta).cumprod()\n")
    training = f"train swiss-roll {' '.join(SMALL)} --out {tmp_path / 'new'}"
    done = subprocess.run(f"{sys.executable} -m refdpm {training} 2>&- <&-", shell=True, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["check", str(tmp_path / "adapter.py"), "--only", "SCH.ABAR"]) == 0 and capsys.readouterr().out


def test_closed_streams_are_no_errors():
    done = subprocess.run(f"{sys.executable} -m refdpm explain SCH.ABAR >&-", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_interrupt_while_importing_ends_quietly():
    code = """
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "refdpm.cli": raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from refdpm.__main__ import run
sys.exit(run())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupted_check_prints_and_writes_what_was_found_until_then(tmp_path, capsys, monkeypatch):
    shown = []

    def show(_, text):
        shown.append(text)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(console.Progress, "show", show)
    html, xml = tmp_path / "report.html", tmp_path / "report.xml"
    files = ["--html", str(html), "--junit", str(xml)]
    assert cli.main(["check", "refdpm.conformance.example.ddpm_wrong", "--only", "GAU", *files]) == 130
    found = capsys.readouterr()
    assert found.err.endswith("refdpm check: stopped\n")
    assert "stopped after 3 of 9 clauses" in found.out and "GAU.POST" not in found.out
    for written in (found.out, html.read_text(), xml.read_text()):
        assert "GAU.FWD.MEAN" in written and "stopped after 3 of 9 clauses" in written
    assert 'errors="1"' in xml.read_text()
