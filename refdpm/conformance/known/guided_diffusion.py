"""Objects with the interface of improved-diffusion and guided-diffusion: `GaussianDiffusion` and its many ports.

Tables are NumPy arrays in double precision, cast to float32 where they are used.  t counts from 0; totals are bits, averaged over
the components; where β̃_1 = 0 would have no logarithm, β̃_2 stands.

A respaced diffusion (`SpacedDiffusion`) counts its own steps, and asks the network at those of the schedule that it was made of;
with `rescale_timesteps` it asks at times from 0 to 1000.  The network that it is given here knows the object's own steps, so that
a time at which it is asked is taken back to the step that is told at that time, or to the nearest.

Steps and chains are its own: what they draw is given to them (`drawing`).
"""

from collections.abc import Callable
from typing import Any
import sys
import warnings

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import (array_of, ask, attribute, choice, choice_name, drawing, method, not_long, precision,
                                             rates, unasked)
from refdpm.vjp import Array

PREDICTS = {"epsilon": "noise", "start_x": "x_0", "previous_x": "mean", "velocity": "v", "v": "v"}
VARIANCES = {"fixed_small": "small", "fixed_large": "large", "learned_range": "ranged"}
T_OF_TRAINING = 1000            # what t is rescaled to, where it is
SQUARED = ("mse", "rescaled_mse")
UNASKED = ("calc_bpd_loop", "condition_mean", "condition_score", "ddim_reverse_sample",
           "p_sample_loop_progressive", "ddim_sample_loop_progressive")


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
        self.unasked = unasked(diffusion, UNASKED)
        self.own_steps = (np.arange(len(self.beta) + 1),)
        self.profile = {"first_t": 0, "spread": "variance", "first": "next", "unit": "bits", "reduction": "mean",
                        "predicts": choice(diffusion.model_mean_type, PREDICTS, of="model_mean_type")}
        self._chooses_variance = choice(diffusion.model_var_type, VARIANCES | {"learned": ""}, of="model_var_type")
        if self._chooses_variance:
            self.profile["variance"] = self._chooses_variance

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
        p = self._law(model, x_t, t)
        return p["mean"], np.exp(to_array(p["log_variance"]).astype(np.float64))

    def x_0_from_model(self, model: Any, x_t: Any, t: Any) -> Any:
        """The x_0 of `p_mean_variance`."""
        return self._law(model, x_t, t)["pred_xstart"]

    def _law(self, model: Any, x_t: Any, t: Any) -> Any:
        return ask(self.of, "p_mean_variance", self._network(model), x_t, t, clip_denoised=False)

    def ancestral_step(self, model: Any, x_t: Any, t: Any, noise: Any) -> Any:
        """`p_sample`, not clipped, with this noise."""
        with drawing(to_array(noise)):
            return ask(self.of, "p_sample", self._network(model), x_t, t, clip_denoised=False)["sample"]

    def ddim_step(self, model: Any, x_t: Any, t: Any, t_prev: Any, noise: Any, eta: float) -> Any:
        """`ddim_sample`, not clipped, with this noise; always to the step before."""
        if np.any(to_array(t_prev) != to_array(t) - 1):
            raise NotImplementedError("it goes to the step before, and to no other")
        with drawing(to_array(noise)):
            return ask(self.of, "ddim_sample", self._network(model), x_t, t, clip_denoised=False, eta=float(eta))["sample"]

    def sample(self, model: Any, noise: Any) -> Any:
        """`p_sample_loop`, not clipped."""
        return self._chain("p_sample_loop", model, noise)

    def ddim_sample(self, model: Any, noise: Any, times: Any, eta: float) -> Any:
        """`ddim_sample_loop`, not clipped, on all steps."""
        if not np.array_equal(to_array(times), np.arange(len(self.beta))):
            raise NotImplementedError("its chain has all steps")
        return self._chain("ddim_sample_loop", model, noise, eta=float(eta))

    def _chain(self, name: str, model: Any, noise: Any, **more: Any) -> Any:
        not_long(len(self.beta))
        *drawn, start = noise
        more |= {"noise": start, "clip_denoised": False, "device": getattr(start, "device", None)}
        with drawing(*map(to_array, reversed(drawn))):
            return ask(self.of, name, self._network(model), tuple(start.shape), **more)

    def step_kl(self, model: Any, x_0: Any, t: Any, noise: Any) -> Any:
        """`_vb_terms_bpd` at t ≥ 2, of a draw with the given noise."""
        return self._term(model, x_0, t, noise)

    def decoder_nll(self, model: Any, x_0: Any, noise: Any) -> Any:
        """`_vb_terms_bpd` at the first step."""
        return self._term(model, x_0, like(np.zeros(len(x_0), dtype=np.int64), x_0), noise)

    def _term(self, model: Any, x_0: Any, t: Any, noise: Any) -> Any:
        x_t = self.of.q_sample(x_0, t, noise=noise)
        return ask(self.of, "_vb_terms_bpd", self._network(model), x_0, x_t, t, clip_denoised=False)["output"]

    def training_loss(self, model: Any, x_0: Any, t: Any, noise: Any) -> Any:
        """`training_losses`, where the loss is a squared error and nothing else."""
        if choice_name(attribute(self.of, "loss_type")) not in SQUARED:
            raise NotImplementedError("its loss is no squared error; the terms of its bound are asked for one by one")
        if self._chooses_variance == "ranged":
            raise NotImplementedError("its loss adds a share of the bound: see hybrid_loss")
        return self._loss(model, x_0, t, noise)

    def hybrid_loss(self, model: Any, x_0: Any, t: Any, noise: Any, share: float) -> Any:
        """`training_losses`, where the variance is learned, with the share of the bound that it has."""
        kind = choice_name(attribute(self.of, "loss_type"))
        if kind not in SQUARED or self._chooses_variance != "ranged":
            raise NotImplementedError("its loss has no share of the bound, or is all of it")
        own = len(self.beta) / T_OF_TRAINING if kind == "rescaled_mse" else 1.0
        if share != own:
            raise NotImplementedError(f"its share of the bound is {own:g}, and no other")
        return self._loss(model, x_0, t, noise)

    def _loss(self, model: Any, x_0: Any, t: Any, noise: Any) -> Any:
        return ask(self.of, "training_losses", self._network(model), x_0, t, noise=noise)["loss"].mean()

    # -- the times that the network is told ------------------------------------------------------------------------------------

    def _network(self, model: Any) -> Any:
        """The network, which knows the object's own steps, whatever time stands for them."""
        if not self._chooses_variance:
            raise NotImplementedError("its network gives the logarithm of the variance itself")
        told = self._told_times()
        if np.array_equal(told, np.arange(len(told))):
            return model

        def network_of_times(x_t: Any, times: Any, **named: Any) -> Any:
            return model(x_t, _nearest(told, to_array(times).astype(np.float64)), **named)

        return network_of_times

    def _told_times(self) -> Array:
        """The time at which the network is to be asked at each step."""
        told = np.asarray(getattr(self.of, "timestep_map", None) or np.arange(len(self.beta)), dtype=np.float64)
        if getattr(self.of, "rescale_timesteps", False):
            told = told * T_OF_TRAINING / getattr(self.of, "original_num_steps", len(self.beta))
        return told


def _nearest(told: Array, times: Array) -> Array:
    """The step whose time is nearest, for each time; times in increasing order are told."""
    return np.searchsorted((told[1:] + told[:-1]) / 2, times)
