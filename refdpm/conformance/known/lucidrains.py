"""Objects with the interface of denoising_diffusion_pytorch's `GaussianDiffusion`.

t counts from 0; tables are buffers in float32; the network is `model`, an attribute, which a twin of the object has exchanged.
Paths that draw their own noise are left out.
"""

from typing import Any
import copy

import numpy as np

from refdpm.conformance.adapter import to_array
from refdpm.conformance.known.common import array_of, choice, method, precision, rates

PREDICTS = {"pred_noise": "noise", "pred_x0": "x_0", "pred_v": "v"}


class Lucidrains:
    """An object with `q_posterior`, `q_sample`, `predict_start_from_noise`, `p_mean_variance`, `betas` and `alphas_cumprod`."""

    SAYS = "denoising_diffusion_pytorch"
    LOOKED_FOR = ("q_posterior", "q_sample", "predict_start_from_noise", "p_mean_variance", "betas", "alphas_cumprod")

    def __init__(self, diffusion: Any) -> None:
        self.of, self.__name__ = diffusion, type(diffusion).__name__
        self.beta, self.array = rates(diffusion.betas, diffusion.alphas_cumprod), array_of(diffusion.betas)
        self.dtype = precision(diffusion.alphas_cumprod)
        self.profile = {"first_t": 0, "spread": "variance", "variance": "small", "first": "floor"}
        if getattr(diffusion, "objective", None) is not None:
            self.profile["predicts"] = choice(diffusion.objective, PREDICTS, of="objective")

    alpha_bar = method("alphas_cumprod")
    marginal_sample = method("q_sample", "x_0", "t", noise="noise")
    posterior = method("q_posterior", "x_0", "x_t", "t", keep=2)
    x_0_from_noise = method("predict_start_from_noise", "x_t", "t", "noise")
    noise_from_x_0 = method("predict_noise_from_start", "x_t", "t", "x_0")
    velocity = method("predict_v", "x_0", "t", "noise")
    x_0_from_v = method("predict_start_from_v", "x_t", "t", "v")

    def reverse(self, model: Any, x_t: Any, t: Any) -> Any:
        """`p_mean_variance`, not clipped, with the variance that its samples have."""
        mean, _, log_variance = self._law(model, x_t, t)[:3]
        return mean, np.exp(to_array(log_variance).astype(np.float64))

    def x_0_from_model(self, model: Any, x_t: Any, t: Any) -> Any:
        """The x_0 of `p_mean_variance`."""
        found = self._law(model, x_t, t)
        if len(found) < 4:
            raise NotImplementedError("p_mean_variance does not return its x_0")
        return found[3]

    def _law(self, model: Any, x_t: Any, t: Any) -> Any:
        if "predicts" not in self.profile:
            raise NotImplementedError("there is no objective to say what the network predicts")
        twin = copy.copy(self.of)
        vars(twin)["model"] = model                             # before a submodule of that name
        return twin.p_mean_variance(x_t, t, clip_denoised=False)
