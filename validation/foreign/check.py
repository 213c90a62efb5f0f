"""Claim: on real packages (diffusers, MONAI, denoising_diffusion_pytorch) and repositories (guided-diffusion, improved-diffusion,
d3pm, k-diffusion, edm, mdlm) the conformance kit accuses no quantity but those that have been confirmed by hand, with numbers, in
foreign/README.md; everything else that they offer it finds right, and every other scheduler of diffusers it says not to know.

    python validation/foreign/check.py [FOLDER …]

Folders are copies of repositories, known by what is in them.  A package that is not installed, and a repository of which no folder
is given or that imports what is not installed, are skipped, with the reason.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
import sys
import time

sys.path.insert(0, str(Path(__file__).parents[1]))

from claim import claim_of, conclude, row                                                           # noqa: E402

from refdpm.conformance.session import check                                                          # noqa: E402
from refdpm.conformance.judge import Effort                                                         # noqa: E402

EFFORT = Effort(max_examples=5, shrinks=10)
PACKAGES = {"diffusers": "diffusers", "monai": "monai", "denoising_diffusion_pytorch": "denoising-diffusion-pytorch"}
Configuration = tuple[str, dict[str, Any]]

DIFFUSERS: tuple[Configuration, ...] = (
    ("DDPMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", variance_type="fixed_small")),
    ("DDPMScheduler", dict(beta_schedule="scaled_linear", prediction_type="v_prediction", variance_type="fixed_small")),
    ("DDPMScheduler", dict(beta_schedule="squaredcos_cap_v2", prediction_type="sample", variance_type="fixed_small")),
    ("DDPMScheduler", dict(beta_schedule="sigmoid", prediction_type="epsilon", variance_type="fixed_small_log")),
    ("DDPMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", variance_type="fixed_large")),
    ("DDPMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", variance_type="fixed_large",
                           timestep_spacing="trailing")),
    ("DDPMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", variance_type="fixed_large_log")),
    ("DDPMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", variance_type="learned_range")),
    ("DDIMScheduler", dict(beta_schedule="linear", prediction_type="epsilon")),
    ("DDIMScheduler", dict(beta_schedule="scaled_linear", prediction_type="sample")),
    ("DDIMScheduler", dict(beta_schedule="linear", prediction_type="v_prediction", rescale_betas_zero_snr=True)),
    ("DDIMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", timestep_spacing="linspace")),
    ("DDIMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", timestep_spacing="trailing")),
    ("DDIMScheduler", dict(beta_schedule="scaled_linear", prediction_type="epsilon", set_alpha_to_one=False, steps_offset=1)),
    ("DDIMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", set_alpha_to_one=False)),
    ("EulerDiscreteScheduler", dict()), ("EulerDiscreteScheduler", dict(use_karras_sigmas=True)),
    ("EulerDiscreteScheduler", dict(prediction_type="v_prediction")),
    ("EulerAncestralDiscreteScheduler", dict()), ("HeunDiscreteScheduler", dict()), ("DPMSolverMultistepScheduler", dict()),
    ("FlowMatchEulerDiscreteScheduler", dict()), ("DPMSolverMultistepInverseScheduler", dict()),
    ("DDPMParallelScheduler", dict()), ("DDIMParallelScheduler", dict()), ("CogVideoXDDIMScheduler", dict()),
    ("CogVideoXDDIMScheduler", dict(snr_shift_scale=1.0, rescale_betas_zero_snr=True, prediction_type="v_prediction",
                                    timestep_spacing="trailing")),
    ("FlowMatchEulerDiscreteScheduler", dict(shift=3.0)))
# what others have no defaults for
NEEDED: dict[str, dict[str, Any]] = {
    "AmusedScheduler": dict(mask_token_id=4), "VQDiffusionScheduler": dict(num_vec_classes=5),
    "RFD4ProteinaScheduler": dict(schedule_mode="log", noise_mode="tan", tsr_k=1.0, tsr_sigma=1.0)}
# what draws its noise by torchsde, and where it is written: it can be made without
BY_TORCHSDE = {"CosineDPMSolverMultistepScheduler": "scheduling_cosine_dpmsolver_multistep",
               "DPMSolverSDEScheduler": "scheduling_dpmsolver_sde"}
MONAI: tuple[Configuration, ...] = (
    ("DDPMScheduler", dict(schedule="linear_beta", prediction_type="epsilon", variance_type="fixed_small")),
    ("DDPMScheduler", dict(schedule="scaled_linear_beta", prediction_type="v_prediction", variance_type="fixed_large")),
    ("DDPMScheduler", dict(schedule="cosine", prediction_type="sample", variance_type="fixed_small")),
    ("DDPMScheduler", dict(schedule="linear_beta", prediction_type="epsilon", variance_type="learned_range")),
    ("DDIMScheduler", dict(schedule="sigmoid_beta", prediction_type="epsilon")),
    ("DDIMScheduler", dict(schedule="cosine", prediction_type="v_prediction")))
# of guided-diffusion and improved-diffusion: the choices of create_gaussian_diffusion, and what the network predicts
OPENAI: tuple[Configuration, ...] = (
    ("", dict()), ("", dict(noise_schedule="cosine")), ("", dict(predict_xstart=True, sigma_small=True)),
    ("", dict(predict_xstart=True, timestep_respacing="ddim25")),
    ("", dict(predict_xstart=True, timestep_respacing="50", noise_schedule="cosine")),
    ("PREVIOUS_X", dict()), ("PREVIOUS_X", dict(noise_schedule="cosine", sigma_small=True)),
    ("PREVIOUS_X", dict(timestep_respacing="ddim25", learn_sigma=True)),
    ("", dict(learn_sigma=True)), ("", dict(learn_sigma=True, noise_schedule="cosine")), ("", dict(use_kl=True)),
    ("", dict(timestep_respacing="250")), ("", dict(timestep_respacing="ddim25", learn_sigma=True)),
    ("", dict(rescale_timesteps=True)), ("", dict(timestep_respacing="25", rescale_timesteps=True)))
# of the other repositories: module, class, what it is around, and its other choices
OTHERS: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "d3pm": tuple(("d3pm_runner", "D3PM", dict(n_T=n_T, num_classes=K)) for n_T, K in ((20, 4), (20, 10), (1000, 8))),
    "k-diffusion": tuple(("k_diffusion.layers", name, choices) for name, choices in (
        ("Denoiser", dict(sigma_data=0.5)), ("Denoiser", dict(sigma_data=0.5, weighting="soft-min-snr")),
        ("SimpleLossDenoiser", dict(sigma_data=0.5)))),
    "edm": (("training.networks", "EDMPrecond", dict(sigma_data=0.5)),),
    "mdlm": tuple(("diffusion", "Diffusion", dict(noise=name)) for name in ("LogLinearNoise", "CosineNoise", "CosineSqrNoise"))}
# what mdlm trains and reads its data with: nothing of it is asked for here, and it may be absent
BESIDE_MDLM = ("hydra", "hydra.utils", "lightning", "torchmetrics", "transformers", "dataloader", "models", "utils")
SMALL_UNET = dict(img_resolution=8, img_channels=1, model_type="SongUNet", model_channels=16, channel_mult=[1], num_blocks=1,
                  attn_resolutions=[])
# repositories and what they are known by
REPOSITORIES = {"guided-diffusion": "guided_diffusion/script_util.py", "improved-diffusion": "improved_diffusion/script_util.py",
                "d3pm": "d3pm_runner.py", "k-diffusion": "k_diffusion/layers.py", "edm": "training/networks.py",
                "mdlm": "noise_schedule.py"}
LUCIDRAINS: tuple[Configuration, ...] = (
    ("GaussianDiffusion", dict(beta_schedule="linear", objective="pred_noise")),
    ("GaussianDiffusion", dict(beta_schedule="cosine", objective="pred_x0")),
    ("GaussianDiffusion", dict(beta_schedule="sigmoid", objective="pred_v")),
    ("ElucidatedDiffusion", dict()), ("ElucidatedDiffusion", dict(sigma_data=1.0, rho=5)),
    *(("ContinuousTimeGaussianDiffusion", choices) for choices in (
        dict(), dict(noise_schedule="cosine"), dict(noise_schedule="learned"), dict(min_snr_loss_weight=True))),
    ("VParamContinuousTimeGaussianDiffusion", dict()))

# what is confirmed in README.md: the clauses that do not pass, of the configurations where one does not
CONFIRMED = {
    "diffusers.DDPMScheduler, linear, epsilon, fixed_large, trailing": {"SMP.STRIDE.X_PREV"},
    "diffusers.DDPMScheduler, linear, epsilon, fixed_large_log": {"REV.LAW.MEAN", "SMP.STRIDE.X_PREV"},
    "diffusers.FlowMatchEulerDiscreteScheduler, shift=3.0": {"PTH.SHIFT.VALUE"},
    "diffusers.CogVideoXDDIMScheduler, defaults": {"SMP.DDIM.X_PREV", "SMP.DDIM_LAW"},
    "diffusers.CogVideoXDDIMScheduler, snr_shift_scale=1.0, rescale_betas_zero_snr=True, v_prediction, trailing": {
        "SMP.DDIM.X_PREV", "SMP.DDIM_LAW"},
    "diffusers.DDIMScheduler, linear, epsilon, linspace": {"SMP.DDIM.X_PREV", "SMP.DDIM_LAW"},
    "diffusers.DDIMScheduler, linear, epsilon, trailing": {"SMP.DDIM.X_PREV", "SMP.DDIM_LAW"},
    **{f"d3pm.D3PM, {name}": {"CAT.POST.PROB", "CAT.REVERSE.PROB"}
       for name in ("n_T=20, num_classes=4", "n_T=20, num_classes=10", "n_T=1000, num_classes=8")},
    **{f"{package}.GaussianDiffusion{name}": {"OBJ.DECODER.VALUE"} for package in ("guided-diffusion", "improved-diffusion")
       for name in (" PREVIOUS_X, defaults", " PREVIOUS_X, ddim25, learn_sigma=True", ", predict_xstart=True, ddim25")},
    **{f"monai.DDPMScheduler, {name}": {"SMP.STRIDE.X_PREV", "PURE.SAME"}
       for name in ("linear_beta, epsilon, fixed_small", "scaled_linear_beta, v_prediction, fixed_large",
                    "cosine, sample, fixed_small")},
    **{f"monai.DDIMScheduler, {name}": {"SMP.DDIM.X_PREV", "SMP.DDIM_LAW", "PURE.SAME"}
       for name in ("sigmoid_beta, epsilon", "cosine, v_prediction")},
    "monai.DDPMScheduler, linear_beta, epsilon, learned_range": {"REV.LAW.VAR", "SMP.STRIDE.X_PREV", "PURE.SAME"}}


def found(make: Callable[..., Any], choices: dict[str, Any]) -> dict[str, Any]:
    """The report on one object."""
    return check(make(**choices), effort=EFFORT)


def label(package: str, name: str, choices: dict[str, Any]) -> str:
    """What a configuration is called."""
    said = [str(value) if isinstance(value, str) else f"{key}={value}" for key, value in choices.items()] or ["defaults"]
    return ", ".join([f"{package}.{name}", *said])


def accused(report: dict[str, Any]) -> dict[str, Any]:
    """What does not pass."""
    return {one["id"]: one for one in report["clauses"] if one["verdict"] in ("wrong", "inaccurate")}


def described(report: dict[str, Any]) -> str:
    """How many pass, and what does not, with the mistake that it is."""
    bad = [f"{id} {one['verdict']}" + (f" ({one['mistake']})" if one["mistake"] else f" ({one['reason']})" if one["reason"] else "")
           for id, one in accused(report).items()]
    return f"{report['summary']['pass']} pass" + "".join(f"; {text}" for text in bad)


def configurations() -> Iterator[tuple[str, str, Callable[[], dict[str, Any]]]]:
    """(package, label, how to check it)."""
    for package, cases, module in (("diffusers", DIFFUSERS, "diffusers"), ("monai", MONAI, "monai.networks.schedulers"),
                                   ("denoising_diffusion_pytorch", LUCIDRAINS, "denoising_diffusion_pytorch")):
        for name, choices in cases:
            def run(module: str = module, name: str = name, choices: dict[str, Any] = choices) -> dict[str, Any]:
                make = getattr(import_module(module), name)
                if name.endswith("Diffusion"):
                    return found(lambda **given: make(_network(name), image_size=8, **given), choices)
                return found(make, choices)
            yield package, label(package, name, choices), run


def repositories(folders: list[str]) -> dict[str, Path]:
    """Which folder is which repository.   Raises: ValueError for one that is none of them."""
    found = {}
    for folder in map(Path, folders):
        name = next((name for name, mark in REPOSITORIES.items() if (folder / mark).is_file()), None)
        if name is None:
            raise ValueError(f"FOLDER: expected a copy of {', '.join(REPOSITORIES)}, got {folder}")
        found[name] = folder
    return found


def fetched(folders: dict[str, Path]) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """(label, how to check it) of what is in the folders."""
    for name, folder in folders.items():
        sys.path.insert(0, str(folder.resolve()))
        for module, kind, choices in OTHERS.get(name, ()):
            yield label(name, kind, choices), partial(other_report, name, module, kind, choices)
        if name in OTHERS:
            continue
        for predicts, choices in OPENAI:
            run = partial(openai_report, name.replace("-", "_"), predicts, choices)
            yield label(name, " ".join(["GaussianDiffusion", predicts]).strip(), choices), run


def openai_report(package: str, predicts: str, choices: dict[str, Any]) -> dict[str, Any]:
    """The report on a diffusion of one of the two repositories; `predicts` is for what their own maker has no choice of."""
    diffusion = import_module(f"{package}.script_util").create_gaussian_diffusion(**choices)
    if predicts:
        diffusion.model_mean_type = import_module(f"{package}.gaussian_diffusion").ModelMeanType[predicts]
    return check(diffusion, effort=EFFORT)


def other_report(repository: str, module: str, kind: str, choices: dict[str, Any]) -> dict[str, Any]:
    """The report on an object of one of the others, around a network that is not called; EDM's makes one of its own."""
    if repository == "mdlm":
        return check(_masked_diffusion(module, kind, **choices), effort=EFFORT)
    make = getattr(import_module(module), kind)
    made = make(**SMALL_UNET, **choices) if repository == "edm" else make(import_module("torch").nn.Linear(1, 1), **choices)
    return check(made, effort=EFFORT)


def _masked_diffusion(module: str, kind: str, noise: str) -> Any:
    """A diffusion of mdlm with its choices for SUBS in continuous time; its own maker would load a tokenizer."""
    torch, beside = import_module("torch"), {name: mock.MagicMock() for name in BESIDE_MDLM}
    beside["lightning"].LightningModule, beside["torchmetrics"].aggregation.MeanMetric = torch.nn.Module, object
    with mock.patch.dict(sys.modules, beside):
        found = import_module(module)
    made = getattr(found, kind).__new__(getattr(found, kind))
    torch.nn.Module.__init__(made)
    for name, value in dict(
            parameterization="subs", T=0, mask_index=50257, vocab_size=50258, neg_infinity=-1e6, backbone=torch.nn.Linear(1, 1),
            noise=getattr(found.noise_schedule, noise)(), time_conditioning=False, antithetic_sampling=True, sampling_eps=1e-3,
            change_of_variables=False, importance_sampling=False).items():
        setattr(made, name, value)
    return made


def other_schedulers() -> list[str]:
    """The schedulers of the installed diffusers that are not among the configurations."""
    exported = {name for name in dir(import_module("diffusers.schedulers")) if name.endswith("Scheduler")}
    return sorted(exported - {name for name, _ in DIFFUSERS})


def other_scheduler(name: str) -> Any:
    """A scheduler that is not among the configurations; torchsde, which no check asks for noise, may be absent."""
    sys.modules.setdefault("torchsde", ModuleType("torchsde"))
    module = ".".join(filter(None, ("diffusers.schedulers", BY_TORCHSDE.get(name))))
    return getattr(import_module(module), name)(**NEEDED.get(name, {}))


def other_row(name: str) -> dict[str, Any]:
    """Whether a scheduler that is not among the configurations is said to be one that no clause is about, and what it is."""
    try:
        check(other_scheduler(name), effort=EFFORT)
        said, told = "claimed", False
    except ValueError as error:
        said, told, _ = str(error).partition("; no clause is about it")
    return row(f"diffusers.{name}: {said}", "not claimed, and said what it is", bool(told))


def _network(kind: str) -> Any:
    """What a diffusion of denoising_diffusion_pytorch wants to see of a network; it is not called."""
    network = import_module("torch").nn.Linear(1, 1)
    network.channels = network.out_dim = 1
    network.self_condition, network.random_or_learned_sinusoidal_cond = False, kind != "GaussianDiffusion"
    return network


def verdict_row(name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Whether what is accused of an object is what is confirmed."""
    try:
        report, confirmed = run(), CONFIRMED.get(name, set())
    except ModuleNotFoundError as error:
        return row(f"{name}: skipped, {error}", "nothing", True)
    verdict = row(f"{name}: {described(report)}", f"accused: {', '.join(sorted(confirmed)) or 'nothing'}",
                  set(accused(report)) == confirmed and report["summary"]["pass"] > 0)
    verdict["values"] = report["summary"]
    print(verdict["number"], file=sys.stderr)
    return verdict


def main(folders: list[str]) -> int:
    """Exit code 0 if what is accused is what is confirmed."""
    started, rows, versions = time.perf_counter(), [], {}
    given = repositories(folders)
    for package, distribution in PACKAGES.items():
        try:
            versions[package] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            rows.append(row(f"{package}: skipped, not installed", "nothing", True))
    if versions:
        versions["torch"] = metadata.version("torch")
        import_module("torch").set_num_threads(1)
    rows += [row(f"{name}: skipped, no folder of it is given", "nothing", True) for name in REPOSITORIES if name not in given]
    rows += [verdict_row(name, run) for package, name, run in configurations() if package in versions]
    rows += [other_row(name) for name in (other_schedulers() if "diffusers" in versions else ())]
    rows += [verdict_row(name, run) for name, run in fetched(given)]
    return conclude("foreign", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings={"packages": versions, "effort": EFFORT._asdict()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
