"""validation/foreign/check.py: what it takes a folder for, and what it says of schedulers that no clause is about."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
import sys

import pytest

SCRIPT = Path(__file__).parents[2] / "validation" / "foreign" / "check.py"


@pytest.fixture
def script(monkeypatch):
    if not SCRIPT.exists():
        pytest.skip("validation/ is not there")
    monkeypatch.setattr(sys, "path", sys.path[:])
    spec = spec_from_file_location("foreign_check", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Scheduler:
    """What all have."""

    config = SimpleNamespace()

    def __init__(self, **choices):
        vars(self).update(choices)

    def set_timesteps(self, count):
        raise AssertionError

    def step(self, model_output, timestep, sample):
        raise AssertionError


class UniPCMultistepScheduler(Scheduler):
    sigmas = model_outputs = multistep_uni_p_bh_update = ()


class DPMSolverSDEScheduler(Scheduler):
    sigmas = ()


class RFD4ProteinaScheduler(Scheduler):
    def __init__(self, schedule_mode, noise_mode, tsr_k, tsr_sigma):
        super().__init__(tsr_k=tsr_k)


class NewScheduler(Scheduler):
    """Of which nothing is known, and which has no steps."""

    set_timesteps = step = None


@pytest.fixture
def diffusers(monkeypatch):
    """A package with these schedulers; one that draws by torchsde is not exported where that is absent, but something else is."""
    class NotMade:
        def __init__(self):
            raise ImportError("requires the torchsde library")

    package = ModuleType("diffusers.schedulers")
    vars(package).update(UniPCMultistepScheduler=UniPCMultistepScheduler, DPMSolverSDEScheduler=NotMade,
                         RFD4ProteinaScheduler=RFD4ProteinaScheduler, NewScheduler=NewScheduler)
    written = ModuleType("diffusers.schedulers.scheduling_dpmsolver_sde")
    vars(written).update(DPMSolverSDEScheduler=DPMSolverSDEScheduler)
    for module in (ModuleType("diffusers"), package, written):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "torchsde", sys.modules.get("torchsde", ModuleType("torchsde")))


@pytest.mark.usefixtures("diffusers")
@pytest.mark.parametrize("name,says", [
    ("UniPCMultistepScheduler", "is UniPC"), ("DPMSolverSDEScheduler", "is a solver in σ coordinates"),
    ("RFD4ProteinaScheduler", "is a sampler on a straight path")])
def test_a_scheduler_that_is_not_checked_is_said_to_be_of_its_kind(script, name, says):
    row = script.other_row(name)
    assert row["holds"] and says in row["number"]


@pytest.mark.usefixtures("diffusers")
def test_one_without_words_of_its_own_fails(script):
    assert not script.other_row("NewScheduler")["holds"]


def test_a_folder_is_known_by_what_is_in_it(script, tmp_path):
    (tmp_path / "noise_schedule.py").touch()
    assert script.repositories([str(tmp_path)]) == {"mdlm": tmp_path}
    labels = [label for label, _ in script.fetched({"mdlm": tmp_path})]
    assert labels == [f"mdlm.Diffusion, {name}" for name in ("LogLinearNoise", "CosineNoise", "CosineSqrNoise")]


def test_what_is_confirmed_is_confirmed_of_something_that_is_checked(script):
    checked = {name for _, name, _ in script.configurations()}
    folders = {name: Path() for name in script.REPOSITORIES}
    assert set(script.CONFIRMED) <= checked | {label for label, _ in script.fetched(folders)}
    assert {"denoising_diffusion_pytorch.ElucidatedDiffusion, defaults",
            "denoising_diffusion_pytorch.VParamContinuousTimeGaussianDiffusion, defaults"} <= checked
