"""Objects with the interface of improved-diffusion and guided-diffusion: `GaussianDiffusion` and its many ports.

Tables are NumPy arrays in double precision, cast to float32 where they are used.  t counts from 0; totals are bits, averaged over
the components; where β̃_1 = 0 would have no logarithm, β̃_2 stands.  Steps that draw their own noise are left out.
"""

from collections.abc import Callable
from typing import Any
import sys
import warnings

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import array_of, attribute, choice, method, precision, rates
from refdpm.vjp import Array

PREDICTS = {"epsilon": "noise", "start_x": "x_0", "previous_x": "mean", "velocity": "v", "v": "v"}
VARIANCES = {"fixed_small": "small", "fixed_large": "large", "learned_range": "ranged"}
T_OF_TRAINING = 1000            # what t is rescaled to, where it is


class GuidedDiffusion:
    """An object with `q_mean_variance`, `q_posterior_mean_variance`, `p_mean_variance`, `q_sample` and `betas`."""

    SAYS = "guided-diffusion"
    LOOKED_FOR = ("q_mean_variance", "q_posterior_mean_variance", "p_mean_variance", "q_sample", "betas")

    def __init__(self, diffusion: Any) -> None:
        self.of, self.__name__ = diffusion, type(diffusion).__name__
        self.beta = rates(diffusion.betas, diffusion.alphas_cumprod)
        self.array: Callable[[Array], Any] | None = None
        table = self._a_table()
        self.array, self.dtype = array_of(table), precision(table)
        self.profile = {"first_t": 0, "spread": "variance", "first": "next", "unit": "bits", "reduction": "mean",
                        "predicts": choice(diffusion.model_mean_type, PREDICTS, of="model_mean_type"),
                        "variance": choice(diffusion.model_var_type, VARIANCES, of="model_var_type")}

    def _a_table(self) -> Any:
        """A variance, looked up in double precision: what comes out has the precision of the tables."""
        x, t = np.zeros((1, 1)), np.zeros(1, dtype=np.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self.of.q_mean_variance(x, t)[1]
            except (TypeError, AttributeError, RuntimeError):         # it wants tensors
                torch = sys.modules["torch"]
                return self.of.q_mean_variance(torch.as_tensor(x), torch.as_tensor(t))[1]

    # -- the chain -------------------------------------------------------------------------------------------------------

    alpha_bar = method("alphas_cumprod")
    marginal = method("q_mean_variance", "x_0", "t", keep=2)
    marginal_sample = method("q_sample", "x_0", "t", noise="noise")
    posterior = method("q_posterior_mean_variance", "x_0", "x_t", "t", keep=2)
    x_0_from_noise = method("_predict_xstart_from_eps", "x_t", "t", "noise")
    x_0_from_mean = method("_predict_xstart_from_xprev", "x_t", "t", "mean")
    noise_from_x_0 = method("_predict_eps_from_xstart", "x_t", "t", "x_0")
    prior_kl = method("_prior_bpd", "x_0")

    # -- with a network --------------------------------------------------------------------------------------------------

    def reverse(self, model: Any, x_t: Any, t: Any) -> Any:
        """`p_mean_variance`, not clipped, with the variance that its samples have."""
        p = self.of.p_mean_variance(self._network_of_steps(model), x_t, t, clip_denoised=False)
        return p["mean"], np.exp(to_array(p["log_variance"]).astype(np.float64))

    def x_0_from_model(self, model: Any, x_t: Any, t: Any) -> Any:
        """The x_0 of `p_mean_variance`."""
        return self.of.p_mean_variance(self._network_of_steps(model), x_t, t, clip_denoised=False)["pred_xstart"]

    def step_kl(self, model: Any, x_0: Any, t: Any, noise: Any) -> Any:
        """`_vb_terms_bpd` at t ≥ 2, of a draw with the given noise."""
        return self._term(model, x_0, t, noise)

    def decoder_nll(self, model: Any, x_0: Any, noise: Any) -> Any:
        """`_vb_terms_bpd` at the first step."""
        return self._term(model, x_0, like(np.zeros(len(x_0), dtype=np.int64), x_0), noise)

    def _term(self, model: Any, x_0: Any, t: Any, noise: Any) -> Any:
        x_t = self.of.q_sample(x_0, t, noise=noise)
        return attribute(self.of, "_vb_terms_bpd")(self._network_of_steps(model), x_0, x_t, t, clip_denoised=False)["output"]

    def _network_of_steps(self, model: Any) -> Any:
        """The network, which counts steps, even if the object rescales them."""
        if not getattr(self.of, "rescale_timesteps", False):
            return model

        def rescaled_model(x_t: Any, t: Any, **named: Any) -> Any:
            return model(x_t, np.rint(to_array(t).astype(np.float64) * len(self.beta) / T_OF_TRAINING).astype(np.int64))

        return rescaled_model
