"""Several processes: the same bits for any number of them, the threads that they leave, and what is no number of them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
import json
import os

import numpy as np
import pytest

from refdpm import checking, cli, gaussian, train, workers
from refdpm.conformance import audit, cases
from refdpm.experiments import common, heartbeat, swiss_roll
from refdpm.vjp import fix, leaves

SETTINGS = swiss_roll.DEFAULT._replace(T=5, units=3)
PROBLEM, STATE = swiss_roll.problem(SETTINGS), swiss_roll.begin(SETTINGS)
WEIGHT = np.random.default_rng(5).standard_normal(STATE.model.parameters.weight.shape)         # far from an exact reversal
STATE = STATE._replace(model=STATE.model._replace(parameters=STATE.model.parameters._replace(weight=WEIGHT)))


def one_by_one(function, items):
    """The least that is a map."""
    return [function(item) for item in items]


def everything(many, monkeypatch):
    """The full bound in parts, samples in parts, weights of paths, gaps of a pair."""
    monkeypatch.setattr(common, "_parts", lambda problem, times, n: (slice(i, min(i + 3, n)) for i in range(0, n, 3)))
    x_0, beta = common.held_out(PROBLEM, 30000), common.beta_of(PROBLEM, STATE)
    found = [*leaves(common.evaluate(PROBLEM, STATE, x_0, workers=many)), common.samples(PROBLEM, STATE, 8, seed=1, workers=many)]
    found.append(common.denoised(PROBLEM, STATE, x_0[:5], noise=0.3, seed=1, workers=many))
    found.append(common.inpainted(PROBLEM, STATE, x_0[:5], mask=np.eye(5, 2) > 0, seed=1, workers=many))
    found.append(train.log_weights_of_paths(STATE.model.parameters, beta, x_0[:2], paths=3, rng=np.random.default_rng(2),
                                                 kernel=gaussian, network=PROBLEM.network, workers=many))
    return found


@pytest.fixture(scope="module")
def three():
    """A map in three processes."""
    with workers.mapping(3) as each:
        yield each


def test_the_same_bits_for_any_number_of_processes_and_for_any_map(monkeypatch, three):
    right = everything(1, monkeypatch)
    with ThreadPoolExecutor(2) as threads:
        for many in (one_by_one, threads.map, three):
            assert all(np.array_equal(a, b) for a, b in zip(everything(many, monkeypatch), right, strict=True))
    bits = heartbeat.DEFAULT._replace(T=6)
    problem, state = heartbeat.problem(bits), heartbeat.begin(bits)
    y = common.held_out(problem, 4)
    assert np.array_equal(*(common.denoised(problem, state, y, noise=0.1, seed=3, workers=many) for many in (1, three)))


def test_the_parts_are_not_alike(monkeypatch):
    """Items with random numbers of their own: no two parts of the samples, and no two paths, share theirs."""
    x_0, beta = common.held_out(PROBLEM, 1), common.beta_of(PROBLEM, STATE)
    weights = train.log_weights_of_paths(STATE.model.parameters, beta, x_0, paths=4, rng=np.random.default_rng(0),
                                              kernel=gaussian, network=PROBLEM.network)
    assert len(np.unique(weights)) == 4
    monkeypatch.setattr(common, "_parts", lambda problem, times, n: (slice(i, i + 1) for i in range(n)))
    assert len(np.unique(common.samples(PROBLEM, STATE, 4, seed=1), axis=0)) == 4


def test_the_audit_in_processes_is_the_audit(monkeypatch, three):
    monkeypatch.setattr(cases, "PAIR_MODULES", ("schedule",))
    assert audit.gradients(count=2, each=three) == audit.gradients(count=2)
    seen = audit.matrix._seen_by("SCH.ABAR")
    assert seen and list(three(audit.matrix._seen_by, ["SCH.ABAR"])) == [seen]


def threads_of(_):
    return [os.environ.get(name) for name in workers.THREADS]


def test_processes_use_the_threads_that_are_left(monkeypatch):
    for name in workers.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(workers, "_cores", lambda: 7)
    with workers.mapping(2) as each:
        assert list(each(threads_of, [0])) == [["3", "1", "3", "3"]]
    assert threads_of(0) == [None, "1", None, None]


@pytest.mark.parametrize("number", [0, -2])
def test_what_is_no_number_of_workers(number):
    with pytest.raises(ValueError, match=f"workers: expected a number from 1 on, or −1 for one for each core, got {number}"):
        with workers.mapping(number):
            pass


def test_minus_1_is_one_for_each_core(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 1)
    with workers.mapping(-1) as each:
        assert each is map


def test_what_is_sent_can_be_sent():
    """A kernel and a network go to other processes as the functions that they are, by name."""
    import pickle
    assert pickle.loads(pickle.dumps(fix(gaussian))).draw is gaussian.draw


@pytest.fixture
def asked(monkeypatch, three):
    """The numbers of workers that a command asks for; it gets the three processes that are there."""
    numbers = []

    @contextmanager
    def mapping(number):
        numbers.append(number)
        yield map if number == 1 else three

    for module in (checking, train):
        monkeypatch.setattr(module, "mapping", mapping)
    return numbers


def test_two_adapters_in_other_processes_have_the_reports_that_they_have_in_one(capsys, asked):
    adapters = [f"refdpm.conformance.example.{name}" for name in ("ddpm", "ddpm_wrong")]
    reports = {}
    for many in ("1", "2"):
        code = cli.main(["check", *adapters, "--only", "GAU.POST", "--max-examples", "1", "--json", "--workers", many])
        reports[many] = code, capsys.readouterr().out
    assert reports["1"] == reports["2"] and reports["1"][0] == 1 and len(json.loads(reports["1"][1])["reports"]) == 2
    assert asked == [2]


def test_the_command_takes_workers(tmp_path, capsys, asked, monkeypatch, no_picture):
    """K of a run, and the refusal of 0 of them."""
    folder = tmp_path / "run"
    assert cli.main(["train", "swiss-roll", "--units", "2", "--steps", "1", "--T", "3", "--out", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    found = []
    for many in ("1", "2"):
        assert cli.main(["bound", str(folder), "--points", "30000", "--json", "--workers", many]) == 0
        found.append(json.loads(capsys.readouterr().out) | {"seconds": 0})
    assert found[0] == found[1] and 2 in asked
    monkeypatch.undo()
    assert cli.main(["bound", str(folder), "--points", "5", "--workers", "0"]) == 2
    assert "workers: expected a number from 1 on" in capsys.readouterr().err
