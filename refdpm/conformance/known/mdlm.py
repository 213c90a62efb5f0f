"""Masked diffusions with the interface of MDLM's `Diffusion`: a `backbone` that says logits, `noise`, and SUBS around them.

The logits that are handed over take the place of the backbone's in a copy, which is told the mask, the levels and x_t; what it
makes of them is its own.  The law of a step is what it is about to draw from.
"""

from typing import Any
from unittest import mock
import copy

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import array_of, attribute, unasked
from refdpm.vjp import Array

DRAW = "_sample_categorical"                         # what it draws by, a function of its module
OTHER_LOSSES = ("T", "change_of_variables", "importance_sampling")


class MDLM:
    """A masked diffusion with the parametrisation SUBS."""

    SAYS = "a masked diffusion with the interface of MDLM"
    LOOKED_FOR = ("mask_index", "parameterization", "backbone", "noise", "_forward_pass_diffusion", "_ddpm_update", "q_xt")

    def __init__(self, diffusion: Any) -> None:
        self.of, self.__name__ = diffusion, type(diffusion).__name__
        if diffusion.parameterization != "subs":
            raise ValueError(f"adapter: {self.__name__} has the parametrisation {diffusion.parameterization!r}; no clause is about "
                             "it: expected 'subs'")
        parameters = [*getattr(diffusion, "parameters", list)()]
        self.array = array_of(parameters[0] if parameters else diffusion.mask_index)
        self.dtype, self.profile = "float32", {"reduction": "sum", "unit": "nats"}
        self.unasked = unasked(diffusion, ("get_score", "_sample_t", "q_xt", "_loss"))

    def mask_schedule(self, mask_time: Any, floor: float) -> tuple[Array, Array]:
        """`noise`, with its eps."""
        noise = copy.copy(self.of.noise)
        attribute(noise, "eps")
        noise.eps = floor
        sigma, rate = (to_array(part).astype(np.float64) for part in noise(mask_time))
        return np.exp(-sigma), rate / np.expm1(sigma)

    def masked_loss(self, logits: Any, x_0: Any, x_t: Any, sigma: Any, dsigma: Any, mask: int) -> Any:
        """`_forward_pass_diffusion`."""
        if any(getattr(self.of, name, False) for name in OTHER_LOSSES):
            raise NotImplementedError("its loss is not that of continuous time")
        twin = self._around(logits, mask, noise=lambda t: (sigma, dsigma), q_xt=lambda x, moved: x_t)
        return twin._forward_pass_diffusion(x_0).sum(-1)

    def masked_reverse(self, logits: Any, x_t: Any, sigma: Any, sigma_next: Any, mask: int) -> Array:
        """What `_ddpm_update` draws from; or what it leaves as it is."""
        levels, seen = iter(((sigma, None), (sigma_next, None))), []
        twin = self._around(logits, mask, noise=lambda t: next(levels))
        names = type(twin)._ddpm_update.__globals__
        if DRAW not in names:
            raise NotImplementedError(f"there is no {DRAW} where it is written")

        def draw(law: Any) -> Any:
            seen.append(to_array(law).astype(np.float64))
            return 0 * x_t + mask

        with mock.patch.dict(names, {DRAW: draw}):
            left = to_array(twin._ddpm_update(x_t, like(np.ones((len(x_t), 1), dtype=np.float32), x_t), 0.5))
        law, = seen
        return np.where((left == mask)[..., None], law / law.sum(axis=-1, keepdims=True), np.eye(law.shape[-1])[left])

    def _around(self, logits: Any, mask: int, **own: Any) -> Any:
        """A copy with these logits, and 0 for the mask, which SUBS excludes; and with methods of its own."""
        twin, said = copy.copy(self.of), to_array(logits)
        if "_modules" in vars(twin):                                                 # of a module of PyTorch
            others = vars(twin)["_modules"].items()
            vars(twin)["_modules"] = {name: part for name, part in others if name not in ("backbone", *own)}
        with_mask = like(np.concatenate([said, 0 * said[..., :1]], axis=-1), logits)
        for name, value in dict(own, mask_index=mask, vocab_size=mask + 1, backbone=lambda x, sigma: with_mask).items():
            object.__setattr__(twin, name, value)
        return twin
