"""Ready-made adapters: objects of interfaces that the field already has, checked as they are.

    check(my_scheduler)                     a DDPM or DDIM scheduler of diffusers or MONAI; or one that is Euler's, ancestral,
                                            Heun's, DPM-Solver++ 2M or flow matching
    check(my_gaussian_diffusion)            of improved-diffusion, guided-diffusion or denoising_diffusion_pytorch
    check(my_elucidated_diffusion)          of denoising_diffusion_pytorch: EDM with its samplers
    check(my_continuous_diffusion)          of denoising_diffusion_pytorch, told log-SNR in continuous time
    check(my_denoiser)                      of EDM or k-diffusion, around a network
    check(my_d3pm)                          a discrete diffusion with matrices
    check(my_mdlm)                          a masked diffusion with the interface of MDLM

An interface is known by what an object offers, not by where it comes from, so that forks and ports are understood too.  What has
such names and is of another kind (UniPC, say) is not claimed, and it is said what it is.  A ready-made adapter
runs what the object runs and puts nothing of its own in its place; it has `unasked`, the parts of the interface that no clause
looks at.  No framework is imported here.
"""

from typing import Any
import inspect

from refdpm.conformance.adapter import ALIASES
from refdpm.conformance.known import (continuous, d3pm, denoiser, diffusers, elucidated, guided_diffusion, lucidrains, mdlm,
                                      solvers)
from refdpm.conformance.unknown import unknown_functions

INTERFACES = (guided_diffusion.GuidedDiffusion, lucidrains.Lucidrains, elucidated.Elucidated, continuous.Continuous,
              diffusers.Scheduler, d3pm.D3PM, mdlm.MDLM)

SHOWN = 8                       # names of what there is instead
LONG = 5                        # letters of a word in two names that says that they may be meant for each other

# functions of ours whose names are so common that an object may have them with another meaning, and what ours ask for
COMMON = frozenset({"forward", "sample", "ddim_sample", "objective", "bound", "log_snr", "vjp"})
ARGUMENTS = {"x_0", "x_prev", "x_t", "t", "k", "noise", "times", "eta", "beta", "model", "parameters", "centre", "log_width",
             "weight", "bias", "name", "args", "cotangent", *ALIASES} - {"x"}


def detect(target: Any) -> type | None:
    """The ready-made adapter that fits, or None."""
    return next((interface for interface in INTERFACES if has(target, *interface.LOOKED_FOR)), None)


def has(target: Any, *names: str) -> bool:
    """Whether an object has all of these; a | b asks for one of the two.  A class has none: it is no object yet."""
    return not isinstance(target, type) and all(any(hasattr(target, one) for one in name.split("|")) for name in names)


def adapted(target: Any, names: frozenset[str]) -> Any:
    """What is checked: an object that offers functions of those names as it is; one of a known interface wrapped.

    Raises: ValueError if it is neither, naming what was looked for; for a sampler that no clause is about, saying what it is.
    """
    offered = {name for name in names if callable(getattr(target, name, None))}
    ours = offered - COMMON
    if any(_asks_for_ours(getattr(target, one)) for one in ours) or callable(getattr(target, "make", None)):
        return target
    name = getattr(target, "__name__", type(target).__name__)
    if solvers.kind_of(target):
        return solvers.Solver(target)
    if denoiser.is_denoiser(target):
        return denoiser.Denoiser(target)
    if kind := denoiser.other_kind(target):
        raise ValueError(f"adapter: {name} is {kind}; no clause is about it: expected {denoiser.Denoiser.SAYS}")
    if not isinstance(target, type) and (kind := diffusers.other_kind(target)):
        raise ValueError(f"adapter: {name} is {kind}; no clause is about it: expected {diffusers.Scheduler.SAYS}, "
                         f"or {solvers.Solver.SAYS}")
    if interface := detect(target):
        return interface(target)
    if ours or any(_asks_for_ours(getattr(target, one)) for one in offered):
        return target
    for member_name, member in vars(target).items() if hasattr(target, "__dict__") else ():
        if isinstance(member, type) and any(callable(getattr(member, one, None)) for one in names - COMMON):
            raise ValueError(f"adapter: expected functions or make, got a class {member_name} that has some: "
                             f"add `make = {member_name}`")
    known = (*INTERFACES, solvers.Solver, denoiser.Denoiser)
    looked_for = "; ".join(f"{', '.join(interface.LOOKED_FOR)} ({interface.SAYS})" for interface in known)
    others = f" (its {', '.join(sorted(offered))} asks for other arguments than ours)" * bool(offered)
    raise ValueError(f"adapter: expected functions that `refdpm explain` lists, or make, or an interface that is known; found none "
                     f"of them in {name}{others}{_own_names_text(target, names - offered)}. The interfaces: {looked_for}")


def _own_names_text(target: Any, names: frozenset[str]) -> str:
    """What it has instead, and the names of the kit that have a word in common with those."""
    own = unknown_functions(target, names)[:SHOWN]
    words = {word for name in own for word in name.split("_") if len(word) >= LONG}
    like = [name for name in sorted(names) if not words.isdisjoint(name.split("_"))][:SHOWN]
    return (f", which has {', '.join(own)}" + f" (is {' or '.join(like)} meant?)" * bool(like)) * bool(own)


def _asks_for_ours(function: Any) -> bool:
    """Whether a function of a common name asks for nothing but what ours are given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    asked = {p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return bool(asked) and asked <= ARGUMENTS
