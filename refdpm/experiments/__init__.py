"""The experiments of the paper; `common` says what a module of them is.  A run is one of them with its settings and its state."""

from pathlib import Path
from typing import Any, NamedTuple

from refdpm import run, train
from refdpm.experiments import common, heartbeat, images, swiss_roll

EXPERIMENTS: dict[str, Any] = {"swiss-roll": swiss_roll, "heartbeat": heartbeat, **images.EXPERIMENTS}


class Run(NamedTuple):
    """A run: `experiment` is the module that `name` names in `EXPERIMENTS`, `problem` what its settings stand for."""

    name: str
    experiment: Any
    settings: Any
    problem: common.Problem
    state: train.State


def begin(name: str, settings: Any) -> Run:
    """A run before its first step."""
    experiment = EXPERIMENTS[name]
    return Run(name, experiment, settings, experiment.problem(settings), experiment.begin(settings))


def with_settings(found: Run, settings: Any) -> Run:
    """The same run under settings that name the same problem otherwise."""
    return found._replace(settings=settings, problem=found.experiment.problem(settings))


def save(path: Path, found: Run) -> None:
    """Write the run file, over an older one of the same run."""
    run.save(path, {"experiment": found.name, **found.settings._asdict()}, found.state, replace=True)


def load(path: Path) -> Run:
    """The run in a folder or a run file.   Raises: ValueError that names the file and what is wrong with it."""
    path = path / "run.npz" if path.is_dir() else path
    try:
        content, state = run.load(path, lambda content: _settings(content)[1].template(_settings(content)[2]))
        name, experiment, settings = _settings(content)
        problem = experiment.problem(settings)
        return Run(name, experiment, settings, problem, common.checked_state(problem, state))
    except FileNotFoundError:
        raise ValueError(f"RUN: expected a folder with run.npz or a run file, got {path}, which is not there") from None
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _settings(content: dict[str, Any]) -> tuple[str, Any, Any]:
    name = content.get("experiment")
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment: expected one of {list(EXPERIMENTS)}, got {name!r}")
    fields = {key: value for key, value in content.items() if key != "experiment"}
    return name, EXPERIMENTS[name], common.from_dict(EXPERIMENTS[name], fields)
