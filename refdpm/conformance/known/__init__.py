"""Ready-made adapters: objects of interfaces that the field already has, checked as they are.

    check(my_scheduler)                     a diffusers or MONAI scheduler
    check(my_gaussian_diffusion)            of improved-diffusion, guided-diffusion or denoising_diffusion_pytorch
    check(my_d3pm)                          a discrete diffusion with matrices

An interface is known by what an object offers, not by where it comes from, so that forks and ports are understood too.  No
framework is imported here.
"""

from typing import Any

from refdpm.conformance.known import d3pm, diffusers, guided_diffusion, lucidrains

INTERFACES = (guided_diffusion.GuidedDiffusion, lucidrains.Lucidrains, diffusers.Scheduler, d3pm.D3PM)

# functions of ours whose names are so common that an object of a known interface may have them with another meaning
COMMON = frozenset({"forward", "sample", "ddim_sample", "objective", "bound", "vjp"})


def detect(target: Any) -> type | None:
    """The ready-made adapter that fits, or None."""
    return next((interface for interface in INTERFACES if has(target, *interface.LOOKED_FOR)), None)


def has(target: Any, *names: str) -> bool:
    """Whether an object has all of these; a | b asks for one of the two.  A class has none: it is no object yet."""
    return not isinstance(target, type) and all(any(hasattr(target, one) for one in name.split("|")) for name in names)


def adapted(target: Any, names: frozenset[str]) -> Any:
    """What is checked: an object that offers functions of those names as it is; one of a known interface wrapped.

    Raises: ValueError if it is neither, naming what was looked for.
    """
    offered = {name for name in names if callable(getattr(target, name, None))}
    if offered - COMMON or callable(getattr(target, "make", None)):
        return target
    if interface := detect(target):
        return interface(target)
    if offered:
        return target
    for name, member in vars(target).items() if hasattr(target, "__dict__") else ():
        if isinstance(member, type) and any(callable(getattr(member, one, None)) for one in names - COMMON):
            raise ValueError(f"adapter: expected functions or make, got a class {name} that has some: add `make = {name}`")
    looked_for = "; ".join(f"{', '.join(interface.LOOKED_FOR)} ({interface.SAYS})" for interface in INTERFACES)
    raise ValueError(f"adapter: expected functions that `refdpm explain` lists, or make, or one of the interfaces {looked_for}; "
                     f"found none of them in {getattr(target, '__name__', type(target).__name__)}")
