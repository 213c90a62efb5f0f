"""Solvers with the interface of diffusers: Euler, ancestral Euler, Heun and DPM-Solver++ 2M in σ, and Euler on a straight path.

A solver keeps a list of levels, `sigmas`, and `step` goes from one to the next.  Here it is given lists with the levels that are
asked for, and then used as its users use it; what it makes of them is its own.  A network that says x_0 is handed to it as one
that says what the solver expects: ε, v or x_0.  DPM-Solver++ has the state of the chain, x/√(1 + σ²), and is told it so.

What has `sigmas` and is of none of these kinds is not claimed (`kind_of`).
"""

from typing import Any
import copy

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import array_of, choice_name, drawing, parameters

LONGER = 20                     # steps of a list in which a step is none of the last, which a solver may take otherwise
GRAIN = 64                      # steps of a list of all steps: the times that are asked for are multiples of 1/64
OTHER_LISTS = ("use_dynamic_shifting", "shift_terminal", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
EULER = ("s_churn", "s_noise")
NO_ANCESTRAL = ("model_outputs", "derivatives", "ets", "sigmas_interpol", "prev_derivative", "sigmas_up")


def kind_of(scheduler: Any) -> str:
    """"euler", "ancestral", "heun", "multistep" or "flow"; "" for every other object."""
    if isinstance(scheduler, type) or not all(hasattr(scheduler, name) for name in ("sigmas", "timesteps", "step", "config")):
        return ""
    asked, config = set(parameters(scheduler.step)), scheduler.config
    if hasattr(scheduler, "precondition_inputs") or getattr(config, "use_flow_sigmas", False):
        return ""
    if hasattr(scheduler, "scale_noise"):
        plain = not (getattr(config, "stochastic_sampling", True) or getattr(config, "invert_sigmas", True))
        return "flow" if plain and getattr(scheduler, "order", 1) == 1 and hasattr(scheduler, "set_shift") else ""
    if asked >= set(EULER) and getattr(scheduler, "order", 1) == 1:
        return "euler"
    if hasattr(scheduler, "prev_derivative") and getattr(scheduler, "order", 1) == 2:
        return "heun"
    if getattr(config, "algorithm_type", None) == "dpmsolver++" and getattr(config, "solver_type", None) == "midpoint":
        multistep = getattr(config, "solver_order", 0) == 2 and hasattr(scheduler, "lower_order_nums")
        return "multistep" if multistep and not hasattr(scheduler, "order_list") else ""
    ancestral = asked == {"model_output", "timestep", "sample", "generator", "return_dict"} and hasattr(scheduler, "alphas_cumprod")
    return "ancestral" if ancestral and not any(hasattr(scheduler, name) for name in NO_ANCESTRAL) else ""


class Solver:
    """A solver of one of these kinds; what its kind does not have is not implemented."""

    SAYS = "an Euler, Heun, ancestral, DPM-Solver++ 2M or flow-matching Euler scheduler of diffusers"
    LOOKED_FOR = ("sigmas", "timesteps", "step", "config", "set_timesteps")

    def __init__(self, scheduler: Any) -> None:
        self.__name__ = type(scheduler).__name__
        self.of, self.kind = copy.deepcopy(scheduler), kind_of(scheduler)
        self.array, self.dtype = array_of(scheduler.sigmas), "float32"
        self.profile: dict[str, Any] = {"data_at": 0}
        clips = [name for name in ("clip_sample", "thresholding") if getattr(scheduler.config, name, False)]
        self.unasked = (*clips, "the list of levels that set_timesteps makes")
        if clips:
            self.of.register_to_config(**dict.fromkeys(clips, False))

    # -- in σ ------------------------------------------------------------------------------------------------------------

    def sigma_sample(self, x_0: Any, noise: Any, sigma: Any) -> Any:
        """`add_noise` at these levels."""
        self._only("euler", "ancestral", "heun", "multistep")
        rows = to_array(sigma).reshape(-1)
        twin = self._on([*rows, 0.0])
        return self._theirs(twin.add_noise(x_0, noise, twin.timesteps[:len(rows)]), sigma, back=True)

    def sigma_euler_step(self, network: Any, x_t: Any, sigma: Any, sigma_next: Any) -> Any:
        """`step` of an Euler scheduler."""
        self._only("euler")
        return self._along(network, x_t, [sigma, sigma_next])

    def sigma_euler_sample(self, network: Any, x_t: Any, sigmas: Any) -> Any:
        """All steps of an Euler scheduler."""
        self._only("euler")
        return self._along(network, x_t, sigmas)

    def sigma_heun_step(self, network: Any, x_t: Any, sigma: Any, sigma_next: Any) -> Any:
        """Both halves of a step of a Heun scheduler."""
        self._only("heun")
        return self._along(network, x_t, [sigma, sigma_next])

    def sigma_heun_sample(self, network: Any, x_t: Any, sigmas: Any) -> Any:
        """All steps of a Heun scheduler."""
        self._only("heun")
        return self._along(network, x_t, sigmas)

    def sigma_ancestral_step(self, network: Any, x_t: Any, noise: Any, sigma: Any, sigma_next: Any) -> Any:
        """`step` of an ancestral scheduler, at η = 1."""
        self._only("ancestral")
        with drawing(to_array(noise)):
            return self._along(network, x_t, [sigma, sigma_next])

    def sigma_ancestral_sample(self, network: Any, x_t: Any, sigmas: Any, noise: Any) -> Any:
        """All steps of an ancestral scheduler."""
        self._only("ancestral")
        with drawing(*map(to_array, noise)):
            return self._along(network, x_t, sigmas)

    def sigma_multistep(self, x_t: Any, denoised: Any, denoised_before: Any, sigma_before: Any, sigma: Any, sigma_next: Any) -> Any:
        """The second of two steps of DPM-Solver++."""
        self._only("multistep")
        twin = self._on([*map(float, (sigma_before, sigma, sigma_next)), *[float(sigma_next) / 2] * LONGER])
        twin._step_index, twin.lower_order_nums, twin.model_outputs = 1, 1, [None, denoised_before]
        x = self._theirs(x_t, sigma)
        found = twin.step(self._output(denoised, x_t, sigma), twin.timesteps[1], x).prev_sample
        return self._theirs(found, sigma_next, back=True)

    def sigma_multistep_sample(self, network: Any, x_t: Any, sigmas: Any) -> Any:
        """All steps of DPM-Solver++."""
        self._only("multistep")
        if to_array(sigmas)[-1] > 0 and len(sigmas) <= LONGER:
            raise NotImplementedError("its last step of a short chain is Euler's")
        return self._along(network, x_t, sigmas)

    def sigma_levels(self, count: Any, sigma_max: Any, sigma_min: Any) -> Any:
        """The list of an Euler scheduler that is told to use the levels of Karras and others."""
        self._only("euler")
        twin = copy.deepcopy(self.of)
        twin.register_to_config(use_karras_sigmas=True, sigma_min=float(sigma_min), sigma_max=float(sigma_max))
        twin.set_timesteps(int(count))
        return twin.sigmas

    # -- on a straight path ----------------------------------------------------------------------------------------------

    def path_sample(self, x_0: Any, noise: Any, time: Any) -> Any:
        """`scale_noise` at these times."""
        self._only("flow")
        rows = to_array(time).reshape(-1)
        twin = self._on([*rows, 0.0])
        return twin.scale_noise(x_0, twin.timesteps[:len(rows)], noise)

    def path_step(self, network: Any, x_t: Any, time: Any, time_next: Any) -> Any:
        """`step` of a flow-matching scheduler."""
        self._only("flow")
        twin = self._on([float(time), float(time_next)])
        return twin.step(network(x_t, time), twin.timesteps[0], x_t).prev_sample

    def path_shifted(self, time: Any, shift: Any) -> Any:
        """The times that `set_timesteps` makes of those that it is given; of one with a shift of its own, of all its steps."""
        self._only("flow")
        if any(getattr(self.of.config, name, None) for name in OTHER_LISTS):
            raise NotImplementedError("it moves its times in another way")
        if float(self.of.config.shift) != 1:
            twin = type(self.of).from_config(self.of.config, num_train_timesteps=GRAIN, shift=float(shift))
            twin.set_timesteps(GRAIN)
            return twin.sigmas[np.round(GRAIN * (1 - to_array(time).astype(np.float64))).astype(np.int64)]
        twin = copy.deepcopy(self.of)
        twin.set_shift(float(shift))
        twin.set_timesteps(sigmas=to_array(time).reshape(-1).tolist())
        return twin.sigmas[:-1].reshape(time.shape)

    # -- how it is used --------------------------------------------------------------------------------------------------

    def _only(self, *kinds: str) -> None:
        if self.kind not in kinds:
            raise NotImplementedError(f"a solver of another kind ({self.kind})")

    def _on(self, levels: Any) -> Any:
        """A copy at the start of a list of levels, each with a number of its own for a time."""
        twin, numbers = copy.deepcopy(self.of), np.array([float(level) for level in levels], dtype=np.float32)
        twin.sigmas = like(numbers, self.of.sigmas)
        twin.timesteps = like(np.arange(len(numbers) - 1, 0, -1, dtype=np.float32), self.of.sigmas)
        twin.num_inference_steps, twin._step_index, twin._begin_index = len(numbers) - 1, None, None
        return twin

    def _along(self, network: Any, x: Any, sigmas: Any) -> Any:
        """Where its steps lead along levels; a step of Heun's rule has two halves, but for one to 0, and its level stands twice."""
        levels = [float(level) for level in to_array(sigmas)]
        if self.kind == "heun":
            levels = [levels[0], *(level for level in levels[1:] for _ in range(2 if level > 0 else 1))]
        twin, x = self._on(levels), self._theirs(x, levels[0])
        for t, level in zip(twin.timesteps, levels):
            if hasattr(twin, "scale_model_input"):
                twin.scale_model_input(x, t)
            plain = self._theirs(x, level, back=True)
            x = twin.step(self._output(network(plain, np.asarray(level)), plain, level), t, x).prev_sample
        return self._theirs(x, levels[-1], back=True)

    def _theirs(self, x: Any, sigma: Any, *, back: bool = False) -> Any:
        """A state as the solver has it; or back to x_0 + σ ε."""
        if self.kind != "multistep":
            return x
        grow = np.sqrt(1 + np.square(to_array(sigma).astype(np.float64)))
        value = to_array(x).astype(np.float64)
        return like((value * grow if back else value / grow).astype(np.float32), x)

    def _output(self, denoised: Any, x: Any, sigma: Any) -> Any:
        """What a network of the solver's kind says where x_0 is said by ours; x is x_0 + σ ε."""
        said, state, level = (to_array(part).astype(np.float64) for part in (denoised, x, sigma))
        match choice_name(self.of.config.prediction_type):
            case "epsilon":
                said = (state - said) / level
            case "v_prediction":
                said = (state / np.sqrt(1 + level ** 2) - said * np.sqrt(1 + level ** 2)) / level
        return like(said.astype(np.float32), denoised)
