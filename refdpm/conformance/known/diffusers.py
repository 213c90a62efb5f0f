"""Schedulers with the interface of diffusers, which MONAI's have too: `DDPMScheduler` and `DDIMScheduler`, and those like them.

t counts from 0; tables are float32.  A scheduler is checked as a copy that clips nothing.  It is used as its users use it:
`set_timesteps` makes its list of steps, and `step` is told where it is and not where to go.  So a step from t to t_prev is asked
only of a scheduler that has t_prev after t in a list of its own (`own_steps`), and a chain is one of its own lists, from start to
end.

What a step draws is given to it (`drawing`).  Its mean is where it goes without noise; its deviation is what one unit of noise
adds where x_t and the prediction are 0.  This is done in double precision with the scheduler's own tables, so that nothing is lost
by it.  At the first step nothing is drawn; its variance is that of `_get_variance`.
"""

from collections.abc import Callable
from typing import Any
from functools import partial
import copy

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import (array_of, choice, choice_name, drawing, method, not_long, parameters, precision,
                                             rates, rates_of, unasked)
from refdpm.vjp import Array

PREDICTS = {"epsilon": "noise", "sample": "x_0", "v_prediction": "v"}
VARIANCES = {"fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large", "fixed_large_log": "large",
             "learned_range": "ranged"}
FIRST = {"small": "floor", "large": "beta", "ranged": "floor"}
UNASKED = ("batch_step_no_noise", "scale_model_input", "_threshold_sample")
SWITCHED_OFF = ("clip_sample", "thresholding")

# what a step of DDPM or DDIM may ask for
STEP = {"model_output", "timestep", "sample", "eta", "use_clipped_model_output", "generator", "variance_noise", "return_dict"}
# what only schedulers of other kinds have, set or not, and what they are; the first that is there says it
CONSISTENCY, SYMBOLS = "a sampler of a distilled (consistency) model", "a sampler of symbols"
OTHERS = (("step_pred", "a sampler of a stochastic differential equation, whose network says the score"),
          ("get_scalings_for_boundary_condition", CONSISTENCY),
          ("multistep_uni_p_bh_update", "UniPC, a predictor with a corrector"),
          ("scale_noise", "another solver on a straight path"), ("sigmas", "a solver in σ coordinates"),
          ("ets", "a solver that keeps earlier predictions"), ("model_outputs", "a solver that keeps earlier predictions"),
          ("get_mult", "a solver that keeps earlier predictions"), ("original_inference_steps", CONSISTENCY),
          ("c_skip", CONSISTENCY), ("_sample_from_logits", SYMBOLS), ("log_cumprod_at", SYMBOLS),
          ("masking_schedule", SYMBOLS), ("undo_step", "a sampler for inpainting, with steps back (RePaint)"),
          ("tsr_k", "a sampler on a straight path whose score is rescaled"),
          ("initial_alpha_cumprod", "DDIM from data to noise"),
          ("_init_alpha_cumprod", "DDPM in continuous time, without tables"))
FEW, FEWER = 10, 7              # steps of a short chain: of a number that divides T, and of one that does not


def other_kind(target: Any) -> str:
    """What a scheduler is that no clause is about; "" for one of DDPM or DDIM, and for what is no scheduler."""
    steps = any(callable(getattr(target, name, None)) for name in ("step", "step_pred"))
    if not (steps and callable(getattr(target, "set_timesteps", None))):
        return ""
    for name, words in OTHERS:
        if hasattr(target, name) or hasattr(getattr(target, "config", None), name):
            return words
    if choice_name(_choice_of(target, "prediction_type", "")) == "trigflow":
        return "a sampler on the path of sine and cosine (TrigFlow)"
    if getattr(target, "order", 1) != 1:
        return f"a solver of order {target.order}"
    more = [name for name in parameters(target.step) if name not in STEP]
    if more:
        return f"a sampler of another kind, whose step asks for {', '.join(more)}"
    backward = hasattr(target, "add_noise") and (hasattr(target, "_get_variance") or "eta" in parameters(target.step))
    return "" if backward else "a sampler of another kind, without a variance or the η of DDIM"


class Scheduler:
    """A scheduler with `alphas_cumprod`, `betas`, `add_noise`, `get_velocity` and `step`."""

    SAYS = "a DDPM or DDIM scheduler of diffusers"
    LOOKED_FOR = ("alphas_cumprod", "betas", "add_noise", "step", "config|prediction_type")

    def __init__(self, scheduler: Any) -> None:
        self.__name__ = type(scheduler).__name__
        self.of, switched_off = _copy_without_clipping(scheduler)
        self.unasked = (*switched_off, *unasked(scheduler, UNASKED))
        shifted = _choice_of(scheduler, "snr_shift_scale", None) is not None                # `betas` are not those of its ᾱ
        self.beta = (rates_of if shifted else partial(rates, scheduler.betas))(scheduler.alphas_cumprod)
        self.array = array_of(scheduler.alphas_cumprod)
        self.dtype = precision(scheduler.alphas_cumprod)
        self.predicts = choice(_choice_of(scheduler, "prediction_type"), PREDICTS, of="prediction_type")
        self.profile: dict[str, Any] = {"first_t": 0, "spread": "variance", "predicts": self.predicts}
        kind = _choice_of(scheduler, "variance_type", None)
        if kind is not None and choice_name(kind) in VARIANCES:
            self.profile["variance"] = VARIANCES[choice_name(kind)]
            self.profile["first"] = FIRST[self.profile["variance"]]
        self.lists = _lists(self.of, len(self.beta))
        self.own_steps = tuple(self.lists.values())

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
        return self._rows((x_t,), t, None, lambda at, x: self._step(_output(model, x, at), at, x, 0 * to_array(x))[1])

    def reverse(self, model: Any, x_t: Any, t: Any) -> Any:
        """Mean and variance of what `step` draws."""
        if self._is_ddim():
            raise NotImplementedError("a scheduler of DDIM: see ddim_step")
        if "variance" not in self.profile:
            raise NotImplementedError("there is no variance_type that the kit has a word for")
        law = self._rows((x_t,), t, to_array(t) - 1, lambda at, x: np.stack(self._law(model, x, at), axis=1))
        return law[:, 0], law[:, 1]

    def ancestral_step(self, model: Any, x_t: Any, t: Any, noise: Any) -> Any:
        """`step` with this noise, on the list of all steps."""
        return self.strided_step(model, x_t, t, to_array(t) - 1, noise)

    def strided_step(self, model: Any, x_t: Any, t: Any, t_prev: Any, noise: Any) -> Any:
        """`step` with this noise, on a list that has t_prev after t."""
        if self._is_ddim():
            raise NotImplementedError("a scheduler of DDIM: see ddim_step")
        return self._rows((x_t, noise), t, t_prev, lambda at, x, z: self._step(_output(model, x, at), at, x, to_array(z))[0])

    def ddim_step(self, model: Any, x_t: Any, t: Any, t_prev: Any, noise: Any, eta: float) -> Any:
        """`step` of a scheduler of DDIM with this noise, on a list that has t_prev after t."""
        if not self._is_ddim():
            raise NotImplementedError("no scheduler of DDIM: see ancestral_step")
        return self._rows((x_t, noise), t, t_prev,
                          lambda at, x, z: self._step(_output(model, x, at), at, x, to_array(z), eta=float(eta))[0])

    def sample(self, model: Any, noise: Any) -> Any:
        """The chain of all steps."""
        if self._is_ddim():
            raise NotImplementedError("a scheduler of DDIM: see ddim_sample")
        not_long(len(self.beta))
        return self._chain(model, noise, np.arange(len(self.beta)))

    def ddim_sample(self, model: Any, noise: Any, times: Any, eta: float) -> Any:
        """The chain of one of its own lists, of a scheduler of DDIM."""
        if not self._is_ddim():
            raise NotImplementedError("no scheduler of DDIM: see sample")
        return self._chain(model, noise, to_array(times), eta=float(eta))

    # -- its lists -------------------------------------------------------------------------------------------------------

    def _chain(self, model: Any, noise: Any, times: Array, **more: Any) -> Any:
        """x_0 by its own steps, one after another as its users take them."""
        whole = np.append(0, times + 1)
        count = next((count for count, steps in self.lists.items() if np.array_equal(whole, steps)), None)
        if count is None:
            raise NotImplementedError("no list of its own has these steps and ends at x_0")
        self.of.set_timesteps(count)
        parts = [like(to_array(part).astype(np.float64), noise) for part in noise]
        x = parts.pop() * float(getattr(self.of, "init_noise_sigma", 1.0))
        for t in self.of.timesteps:
            given = self.of.scale_model_input(x, t) if hasattr(self.of, "scale_model_input") else x
            x = self._step(_output(model, given, int(t)), t, x, to_array(parts.pop()), **more)[0]
        return x

    def _take_list(self, at: int, back: int | None) -> None:
        """The scheduler is on a list that has `back` after `at`; for None on one that has `at`, if there is one."""
        for count, steps in self.lists.items():
            found = np.flatnonzero(steps[1:] == at + 1)
            if len(found) and back in (None, int(steps[found[0]]) - 1):
                break
        else:
            if back is not None or not self.lists:
                raise NotImplementedError(f"no list of its own has t = {back} after {at}, counted from 0")
            count = next(iter(self.lists))
        if count is None:
            self.of.custom_timesteps, self.of.num_inference_steps = False, None
        elif hasattr(self.of, "set_timesteps"):
            self.of.set_timesteps(count)

    def _rows(self, states: tuple[Any, ...], t: Any, t_prev: Any, step: Callable[..., Any]) -> Array:
        """step(t, *states) of the rows that share t and t_prev, in double precision."""
        t = to_array(t)
        back = [None] * len(t) if t_prev is None else to_array(t_prev).tolist()
        found: list[Any] = [None] * len(t)
        for at, to in dict.fromkeys(zip(t.tolist(), back)):
            rows = [row for row, pair in enumerate(zip(t.tolist(), back)) if pair == (at, to)]
            self._take_list(at, to)
            given = [like(to_array(part)[rows].astype(np.float64), part) for part in states]
            for row, part in zip(rows, to_array(step(at, *given))):
                found[row] = part
        return np.stack(found)

    # -- one step --------------------------------------------------------------------------------------------------------

    def _is_ddim(self) -> bool:
        return "eta" in parameters(self.of.step)

    def _step(self, output: Any, at: Any, x: Any, noise: Array, **more: Any) -> tuple[Any, Any]:
        """x_{t−1} and x_0 of one call, with this noise."""
        if "variance_noise" in parameters(self.of.step) and more.get("eta"):
            more["variance_noise"] = like(noise, x)
        with drawing(noise):
            found = self.of.step(output, at, x, **more)
        return (found.prev_sample, found.pred_original_sample) if hasattr(found, "prev_sample") else found[:2]

    def _x_0(self, predicts: str, prediction: Any, x_t: Any, t: Any) -> Any:
        if predicts != self.predicts:
            raise NotImplementedError(f"a scheduler for {self.predicts}")
        return self._rows((x_t, prediction), t, None,
                          lambda at, x, said: self._step(self._with_head(said), at, x, 0 * to_array(x))[1])

    def _with_head(self, prediction: Any) -> Any:
        """A whole output of the network, with a head where it has one."""
        value = to_array(prediction)
        ranged = self.profile.get("variance") == "ranged"
        return like(np.concatenate([value, 0 * value], axis=1), prediction) if ranged else prediction

    def _law(self, model: Any, x: Any, at: int) -> tuple[Array, Array]:
        """Mean and variance; the variance that is not drawn is what `_get_variance` says."""
        output, nothing = _output(model, x, at), np.zeros(x.shape)
        mean = to_array(self._step(output, at, x, nothing)[0])
        head_alone = to_array(output) * (np.arange(output.shape[1]) >= x.shape[1]).reshape((1, -1) + (1,) * (x.ndim - 2))
        start, moved = (to_array(self._step(like(head_alone, output), at, like(nothing, x), noise)[0])
                        for noise in (nothing, nothing + 1))
        drawn = np.square(moved - start)
        if at > 0 and not np.isnan(start).any():
            return mean, drawn
        return mean, np.broadcast_to(self._stated_variance(output, at, x), mean.shape)

    def _stated_variance(self, output: Any, at: int, x: Any) -> Array:
        """`_get_variance`, which says it in one way or another."""
        head = to_array(output)[:, x.shape[1]:]
        value = to_array(self.of._get_variance(at, *([like(head, x)] if head.size else []))).astype(np.float64)
        match choice_name(_choice_of(self.of, "variance_type")):
            case "fixed_small_log":
                return np.square(value)
            case "fixed_large_log":
                return np.exp(value)
            case "learned_range" if hasattr(self.of, "config"):
                return np.exp(value)
        return value


def _choice_of(scheduler: Any, name: str, *default: Any) -> Any:
    """A choice, from the configuration or the scheduler itself."""
    config = getattr(scheduler, "config", None)
    return getattr(config, name) if hasattr(config, name) else getattr(scheduler, name, *default)


def _output(model: Any, x: Any, at: int) -> Any:
    """What the network says of rows that are all at one step."""
    return model(x, np.full(len(x), at))


def _copy_without_clipping(scheduler: Any) -> tuple[Any, list[str]]:
    """A copy that clips nothing, and what was switched off for that."""
    twin = copy.deepcopy(scheduler)
    on = [name for name in SWITCHED_OFF if _choice_of(scheduler, name, False)]
    if hasattr(twin, "register_to_config"):
        twin.register_to_config(**dict.fromkeys(on, False))
    vars(twin).update((name, False) for name in on if name in vars(twin))
    return twin, on


# -- the steps that a scheduler goes through ---------------------------------------------------------------------------------

def _lists(scheduler: Any, T: int) -> dict[int | None, Array]:
    """Its lists of steps by how many are asked for, as `Given.own_steps` has them; None where it has not been told a number.

    All steps, a few that divide T, and a few that do not.  DDIM with set_alpha_to_one=False takes ᾱ_1 for 1 at the end, so that
    its chain ends at t = 1.
    """
    every = np.arange(T + 1)
    if not hasattr(scheduler, "set_timesteps"):
        return {None: every}
    found: dict[int | None, Array] = {}
    divisor = max((n for n in range(2, FEW + 1) if T % n == 0), default=1)
    other = max((n for n in range(2, FEWER + 1) if T % n and n < T), default=1)
    end = _end(scheduler)
    for count in dict.fromkeys((T, divisor, other)):
        twin = copy.deepcopy(scheduler)
        twin.set_timesteps(count)
        steps = to_array(twin.timesteps).astype(np.int64) + 1
        if np.all(np.diff(steps) < 0) and 1 <= steps[-1] and steps[0] <= T:
            found[count] = np.unique(np.append(end, steps))
    if hasattr(scheduler, "previous_timestep") and T not in found:
        found[None] = every
    return found


def _end(scheduler: Any) -> int:
    last, first = getattr(scheduler, "final_alpha_cumprod", None), scheduler.alphas_cumprod[0]
    return int(last is not None and float(last) == float(first) != 1.0)
