"""Denoisers with the interface of EDM or of k-diffusion: an object around a network F, called with x_0 + σ ε and σ, that says x_0.

    EDM            `model` is the network, which is told ¼ log σ; `round_sigma` and `sigma_data`; images (N, C, H, W)
    k-diffusion    `inner_model` is the network, which is told σ and makes ¼ log σ of it; `get_scalings`, `loss`, `sigma_data`

The network that is handed over takes the place of the object's own in a copy, which is told the σ_d that is asked for.

What has such names, but tells its network a time or has other scalings, is not claimed, and it is said what it is (`other_kind`).
"""

from typing import Any
import copy

import numpy as np

from refdpm.conformance.adapter import to_array
from refdpm.conformance.known.common import array_of, unasked

NETWORKS = ("model", "inner_model")


def is_denoiser(target: Any) -> bool:
    """Whether an object has one of the two interfaces, and is no other kind of denoiser."""
    return _is_called_so(target) and not other_kind(target)


def other_kind(target: Any) -> str:
    """What a denoiser is that no clause is about; "" for one of either interface, and for what is none."""
    if not _is_called_so(target):
        return ""
    if hasattr(target, "sigma_to_t"):
        return "a denoiser around a network that is told a time instead of σ"
    return "" if hasattr(target, "sigma_data") else "a denoiser with other scalings than those of EDM, without σ_d"


def _is_called_so(target: Any) -> bool:
    names = (("model", "round_sigma"), ("inner_model", "get_scalings"))
    return not isinstance(target, type) and callable(target) and any(all(hasattr(target, one) for one in pair) for pair in names)


class Denoiser:
    """Either of them."""

    SAYS = "a denoiser of EDM or of k-diffusion"
    LOOKED_FOR = ("model|inner_model", "round_sigma|get_scalings", "sigma_data")

    def __init__(self, denoiser: Any) -> None:
        self.__name__ = type(denoiser).__name__
        self.of, self.dtype = denoiser, "float32"
        self.network = next(name for name in NETWORKS if hasattr(denoiser, name))
        parameters = [*getattr(denoiser, "parameters", list)()]
        self.array = array_of(parameters[0] if parameters else getattr(denoiser, "sigma_min", None))
        self.unasked = unasked(denoiser, ("round_sigma",))

    def sigma_denoised(self, network: Any, x_t: Any, sigma: Any, sigma_data: Any) -> Any:
        """The object, called."""
        x, level = _as_image(x_t), sigma.reshape(-1)
        return self._around(network, sigma_data)(x, level).reshape(x_t.shape)

    def sigma_loss(self, network: Any, x_0: Any, noise: Any, sigma: Any, sigma_data: Any) -> Any:
        """`loss`, of k-diffusion, where it is that of EDM."""
        twin, levels = self._around(network, sigma_data), sigma.reshape(-1)
        if not hasattr(twin, "loss"):
            raise NotImplementedError("there is no loss")
        if inherited := _inherited_loss(type(twin)):
            raise NotImplementedError(f"it puts a loss of its own in the place of that of {inherited}")
        if hasattr(twin, "weighting") and np.any(to_array(twin.weighting(levels)) != 1):
            raise NotImplementedError("its loss weighs levels otherwise than 1/c_out²")
        if getattr(twin, "scales", 1) != 1:
            raise NotImplementedError("its loss weighs frequencies")
        return twin.loss(_as_image(x_0), _as_image(noise), levels).mean()

    def _around(self, network: Any, sigma_data: Any) -> Any:
        """A copy around another network, for data of that deviation."""
        twin = copy.copy(self.of)
        for held in ("_modules", "_parameters", "_buffers"):                 # of a module of PyTorch
            if held in vars(twin):
                vars(twin)[held] = dict(vars(twin)[held])
        vars(twin).get("_modules", {}).pop(self.network, None)

        def said(x: Any, told: Any, *_: Any, **__: Any) -> Any:
            level = to_array(told).astype(np.float64)
            return network(x, level if self.network == "model" else np.log(level) / 4)

        object.__setattr__(twin, self.network, said)
        object.__setattr__(twin, "sigma_data", float(sigma_data))
        return twin


def _inherited_loss(kind: type) -> str:
    """The class whose loss another class puts its own in the place of; "" where there is one loss."""
    having = [one.__name__ for one in kind.__mro__ if "loss" in vars(one)]
    return having[1] if len(having) > 1 else ""


def _as_image(x: Any) -> Any:
    """States (N, D) as images (N, 1, 1, D), which both know; of others the axes are enough."""
    return x.reshape(len(x), *[1] * (4 - x.ndim), *x.shape[1:]) if x.ndim < 4 else x
