"""Schedulers with the interface of diffusers, which MONAI's have too: `DDPMScheduler` and `DDIMScheduler`.

t counts from 0, one step at a time; tables are float32.  A scheduler is checked as a copy, which clips nothing and has all steps.

A step that draws its noise from a generator, x_{t−1} = m + σ z, is taken twice with the same seed, so that z is known: once where
x_t and the prediction are 0, so that m is, and σ = x_{t−1}/z; then in earnest, and m is what is left.  This is done in double
precision with the scheduler's own tables, so that nothing is lost by it.  At the first step nothing is drawn; its variance is that
of `_get_variance`.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any
import copy
import sys

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import array_of, choice, choice_name, method, precision, rates
from refdpm.vjp import Array

PREDICTS = {"epsilon": "noise", "sample": "x_0", "v_prediction": "v"}
VARIANCES = {"fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large", "fixed_large_log": "large",
             "learned_range": "ranged"}
FIRST = {"small": "floor", "large": "beta", "ranged": "floor"}
SEED = 2015


class Scheduler:
    """A scheduler with `alphas_cumprod`, `betas`, `add_noise`, `get_velocity` and `step`."""

    SAYS = "a diffusers scheduler"
    LOOKED_FOR = ("alphas_cumprod", "betas", "add_noise", "step", "config|prediction_type")

    def __init__(self, scheduler: Any) -> None:
        self.__name__ = type(scheduler).__name__
        self.of = _copy_without_clipping(scheduler)
        self.beta, self.array = rates(scheduler.betas, scheduler.alphas_cumprod), array_of(scheduler.alphas_cumprod)
        self.dtype = precision(scheduler.alphas_cumprod)
        self.predicts = choice(_choice_of(scheduler, "prediction_type"), PREDICTS, of="prediction_type")
        self.profile: dict[str, Any] = {"first_t": 0, "spread": "variance", "predicts": self.predicts}
        kind = _choice_of(scheduler, "variance_type", None)
        if kind is not None and choice_name(kind) in VARIANCES:
            self.profile["variance"] = VARIANCES[choice_name(kind)]
            self.profile["first"] = FIRST[self.profile["variance"]]

    # -- the chain -------------------------------------------------------------------------------------------------------

    alpha_bar = method("alphas_cumprod")
    marginal_sample = method("add_noise", "x_0", "noise", "t")
    velocity = method("get_velocity", "x_0", "noise", "t")

    def x_0_from_noise(self, noise: Any, x_t: Any, t: Any) -> Any:
        """The x_0 of `step`, if the scheduler is one for noise."""
        return self._x_0("noise", noise, x_t, t)

    def x_0_from_v(self, v: Any, x_t: Any, t: Any) -> Any:
        """The x_0 of `step`, if the scheduler is one for v."""
        return self._x_0("v", v, x_t, t)

    # -- with a network --------------------------------------------------------------------------------------------------

    def x_0_from_model(self, model: Any, x_t: Any, t: Any) -> Any:
        """The x_0 of `step`."""
        return self._rows(x_t, t, None, lambda x, at, back: self._step(_output(model, x, at), at, x, back)[1])

    def reverse(self, model: Any, x_t: Any, t: Any) -> Any:
        """Mean and variance of what `step` draws."""
        if self._is_ddim():
            raise NotImplementedError("a scheduler of DDIM: see ddim_step")
        if "variance" not in self.profile:
            raise NotImplementedError("there is no variance_type that the kit has a word for")
        law = self._rows(x_t, t, None, lambda x, at, back: np.stack(self._law(model, x, at, back)))
        return law[:, 0], law[:, 1]

    def ancestral_step(self, model: Any, x_t: Any, t: Any, noise: Any) -> Any:
        """What `step` draws, with other noise."""
        return self.strided_step(model, x_t, t, to_array(t) - 1, noise)

    def strided_step(self, model: Any, x_t: Any, t: Any, t_prev: Any, noise: Any) -> Any:
        """The same where the scheduler has only some of the steps."""
        if self._is_ddim():
            raise NotImplementedError("a scheduler of DDIM: see ddim_step")
        return self._rows((x_t, noise), t, t_prev, lambda both, at, back: self._draw(model, both[0], both[1], at, back))

    def ddim_step(self, model: Any, x_t: Any, t: Any, t_prev: Any, noise: Any, eta: float) -> Any:
        """`step` of a scheduler of DDIM."""
        if not self._is_ddim():
            raise NotImplementedError("no scheduler of DDIM: see ancestral_step")
        return self._rows((x_t, noise), t, t_prev, lambda both, at, back: self._ddim(model, both[0], both[1], at, back, eta))

    # -- one step --------------------------------------------------------------------------------------------------------

    def _is_ddim(self) -> bool:
        return "eta" in self.of.step.__code__.co_varnames

    def _x_0(self, predicts: str, prediction: Any, x_t: Any, t: Any) -> Any:
        if predicts != self.predicts:
            raise NotImplementedError(f"a scheduler for {self.predicts}")
        return self._rows((x_t, prediction), t, None,
                          lambda both, at, back: self._step(self._with_head(both[1]), at, both[0], back)[1])

    def _with_head(self, prediction: Any) -> Any:
        """A whole output of the network, with a head where it has one."""
        value = to_array(prediction)
        ranged = self.profile.get("variance") == "ranged"
        return like(np.concatenate([value, 0 * value], axis=1), prediction) if ranged else prediction

    def _rows(self, states: Any, t: Any, t_prev: Any, step: Callable[[Any, int, int], Any]) -> Array:
        """step(states, t, t_prev) of the rows that share both, in double precision."""
        several = states if isinstance(states, tuple) else (states,)
        t = to_array(t)
        back = t - 1 if t_prev is None else to_array(t_prev)
        found: list[Any] = [None] * len(t)
        for at, to in sorted(set(zip(t.tolist(), back.tolist()))):
            rows = np.flatnonzero((t == at) & (back == to))
            given = [like(to_array(part)[rows].astype(np.float64), part) for part in several]
            value = to_array(step(tuple(given) if isinstance(states, tuple) else given[0], at, to))
            if value.ndim > given[0].ndim:                      # a law, mean before variance
                value = np.moveaxis(value, 0, 1)
            for row, part in zip(rows, value):
                found[row] = part
        return np.stack(found)

    def _step(self, output: Any, at: int, x: Any, back: int, **more: Any) -> tuple[Any, Any]:
        """x_{t−1} and x_0 of one call, of a scheduler whose next step is `back`."""
        _has_steps(self.of, at, back, len(self.beta))
        found = self.of.step(output, at, x, **more)
        return (found.prev_sample, found.pred_original_sample) if hasattr(found, "prev_sample") else found[:2]

    def _mean_and_deviation(self, output: Any, at: int, x: Any, back: int, **more: Any) -> tuple[Array, Array]:
        """m and σ of x_{t−1} = m + σ z."""
        torch = sys.modules["torch"]

        def drawn(output: Any, x: Any) -> Array:
            return to_array(self._step(output, at, x, back, generator=torch.Generator().manual_seed(SEED), **more)[0])

        z = to_array(torch.randn(x.shape, generator=torch.Generator().manual_seed(SEED), dtype=x.dtype))
        head_alone = to_array(output) * (np.arange(output.shape[1]) >= x.shape[1]).reshape((1, -1) + (1,) * (x.ndim - 2))
        sigma = drawn(like(head_alone, output), 0 * x) / z
        return drawn(output, x) - sigma * z, sigma

    def _law(self, model: Any, x: Any, at: int, back: int) -> tuple[Array, Array]:
        """Mean and variance; of the first step the variance that is not drawn."""
        output = _output(model, x, at)
        mean, sigma = self._mean_and_deviation(output, at, x, back)
        return mean, sigma * sigma if at > 0 else np.broadcast_to(self._first_variance(output, x), mean.shape)

    def _first_variance(self, output: Any, x: Any) -> Array:
        """`_get_variance` at the first step, which says it in one way or another."""
        head = to_array(output)[:, x.shape[1]:]
        value = to_array(self.of._get_variance(0, *([like(head, x)] if head.size else []))).astype(np.float64)
        match choice_name(_choice_of(self.of, "variance_type")):
            case "fixed_small_log":
                return np.square(value)
            case "fixed_large_log":
                return np.exp(value)
            case "learned_range" if hasattr(self.of, "config"):
                return np.exp(value)
        return value

    def _draw(self, model: Any, x: Any, noise: Any, at: int, back: int) -> Array:
        mean, sigma = self._mean_and_deviation(_output(model, x, at), at, x, back)
        return mean + sigma * to_array(noise)

    def _ddim(self, model: Any, x: Any, noise: Any, at: int, back: int, eta: float) -> Any:
        output = _output(model, x, at)
        if "variance_noise" in self.of.step.__code__.co_varnames:
            return self._step(output, at, x, back, eta=float(eta), variance_noise=noise)[0]
        mean, sigma = self._mean_and_deviation(output, at, x, back, eta=float(eta))
        return mean + sigma * to_array(noise)


def _choice_of(scheduler: Any, name: str, *default: Any) -> Any:
    """A choice, from the configuration or the scheduler itself."""
    config = getattr(scheduler, "config", None)
    return getattr(config, name) if hasattr(config, name) else getattr(scheduler, name, *default)


def _output(model: Any, x: Any, at: int) -> Any:
    """What the network says of rows that are all at one step."""
    return model(x, np.full(len(x), at))


def _copy_without_clipping(scheduler: Any) -> Any:
    """A copy that clips nothing."""
    twin = copy.deepcopy(scheduler)
    if hasattr(twin, "register_to_config"):
        names = {"clip_sample", "thresholding"} & set(twin.config)
        twin.register_to_config(**dict.fromkeys(names, False))
    elif hasattr(twin, "clip_sample"):
        twin.clip_sample = False
    return twin


def _has_steps(scheduler: Any, at: int, back: int, T: int) -> None:
    """Tells the scheduler that `back` comes after `at`: by its list of steps, or by a number of steps that has such a stride."""
    if hasattr(scheduler, "previous_timestep"):
        if at - back != 1:
            scheduler.set_timesteps(timesteps=[at, back] if back >= 0 else [at])
        else:
            scheduler.custom_timesteps, scheduler.num_inference_steps = False, None
    elif hasattr(scheduler, "num_inference_steps") and "eta" in scheduler.step.__code__.co_varnames:
        scheduler.num_inference_steps = Fraction(T, at - back)
    elif at - back != 1:
        raise NotImplementedError("the scheduler has no stride")
