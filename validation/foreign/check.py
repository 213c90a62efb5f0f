"""Claim: on real packages (diffusers, MONAI, denoising_diffusion_pytorch) the conformance kit accuses no quantity but those that
have been confirmed by hand, with numbers, in foreign/README.md; everything else that they offer it finds right.

    python validation/foreign/check.py

A package that is not installed is skipped, with the reason.
"""

from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any
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
    ("DDPMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", variance_type="fixed_large_log")),
    ("DDPMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", variance_type="learned_range")),
    ("DDIMScheduler", dict(beta_schedule="linear", prediction_type="epsilon")),
    ("DDIMScheduler", dict(beta_schedule="scaled_linear", prediction_type="sample")),
    ("DDIMScheduler", dict(beta_schedule="linear", prediction_type="v_prediction", rescale_betas_zero_snr=True)),
    ("DDIMScheduler", dict(beta_schedule="linear", prediction_type="epsilon", set_alpha_to_one=False)))
MONAI: tuple[Configuration, ...] = (
    ("DDPMScheduler", dict(schedule="linear_beta", prediction_type="epsilon", variance_type="fixed_small")),
    ("DDPMScheduler", dict(schedule="scaled_linear_beta", prediction_type="v_prediction", variance_type="fixed_large")),
    ("DDPMScheduler", dict(schedule="cosine", prediction_type="sample", variance_type="fixed_small")),
    ("DDPMScheduler", dict(schedule="linear_beta", prediction_type="epsilon", variance_type="learned_range")),
    ("DDIMScheduler", dict(schedule="sigmoid_beta", prediction_type="epsilon")),
    ("DDIMScheduler", dict(schedule="cosine", prediction_type="v_prediction")))
LUCIDRAINS: tuple[Configuration, ...] = (
    ("GaussianDiffusion", dict(beta_schedule="linear", objective="pred_noise")),
    ("GaussianDiffusion", dict(beta_schedule="cosine", objective="pred_x0")),
    ("GaussianDiffusion", dict(beta_schedule="sigmoid", objective="pred_v")))

# what is confirmed in README.md: the clauses that do not pass, of the configurations where one does not
CONFIRMED = {
    "diffusers.DDPMScheduler, linear, epsilon, fixed_large": {"REV.LAW.VAR", "SMP.STRIDE.X_PREV"},
    "diffusers.DDPMScheduler, linear, epsilon, fixed_large_log": {"REV.LAW.MEAN", "REV.LAW.VAR", "SMP.STRIDE.X_PREV"},
    "diffusers.DDIMScheduler, linear, epsilon, set_alpha_to_one=False": {"SMP.DDIM.X_PREV"},
    "monai.DDPMScheduler, linear_beta, epsilon, learned_range": {"REV.LAW.VAR"}}


def found(make: Callable[..., Any], choices: dict[str, Any]) -> dict[str, Any]:
    """The report on one object."""
    return check(make(**choices), effort=EFFORT)


def label(package: str, name: str, choices: dict[str, Any]) -> str:
    """What a configuration is called."""
    said = [str(value) if isinstance(value, str) else f"{key}={value}" for key, value in choices.items()]
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
                if name == "GaussianDiffusion":
                    return found(lambda **given: make(_network(), image_size=8, **given), choices)
                return found(make, choices)
            yield package, label(package, name, choices), run


def _network() -> Any:
    """What a GaussianDiffusion wants to see of a network; it is not called."""
    torch = import_module("torch")
    network = torch.nn.Identity()
    network.channels = network.out_dim = 1
    network.self_condition = network.random_or_learned_sinusoidal_cond = False
    return network


def main() -> int:
    """Exit code 0 if what is accused is what is confirmed."""
    started, rows, versions = time.perf_counter(), [], {}
    for package, distribution in PACKAGES.items():
        try:
            versions[package] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            rows.append(row(f"{package}: skipped, not installed", "nothing", True))
    if versions:
        versions["torch"] = metadata.version("torch")
        import_module("torch").set_num_threads(1)
    for package, name, run in configurations():
        if package in versions:
            report, confirmed = run(), CONFIRMED.get(name, set())
            rows.append(row(f"{name}: {described(report)}", f"accused: {', '.join(sorted(confirmed)) or 'nothing'}",
                            set(accused(report)) == confirmed and report["summary"]["pass"] > 0))
            print(rows[-1]["number"], file=sys.stderr)
    return conclude("foreign", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings={"packages": versions, "effort": EFFORT._asdict()})


if __name__ == "__main__":
    sys.exit(main())
