"""Objects with the interface of denoising_diffusion_pytorch's `GaussianDiffusion`, and of its subclasses.

t counts from 0; tables are buffers in float32; the network is `model`, an attribute, which a twin of the object has exchanged.
`p_mean_variance` is called by the names of its arguments, so that it may want them by name and with others: a network with classes
is asked for them without guidance, with classes that change nothing, and a network with a learned variance gives a head.

Its samplers clip x̂_0 always and cannot be told not to, so that no clause looks at them.
"""

from typing import Any
import copy
import inspect

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import array_of, choice, method, precision, rates, unasked

PREDICTS = {"pred_noise": "noise", "pred_x0": "x_0", "pred_v": "v"}
UNASKED = ("forward", "p_losses", "sample", "p_sample", "p_sample_loop", "ddim_sample", "interpolate", "condition_mean",
           "model_predictions", "loss_weight", "noise_assignment")
NEUTRAL = {"cond_scale": 1.0, "rescaled_phi": 0.0}               # a guidance that changes nothing


class Lucidrains:
    """An object with `q_posterior`, `q_sample`, `predict_start_from_noise`, `p_mean_variance`, `betas` and `alphas_cumprod`."""

    SAYS = "denoising_diffusion_pytorch"
    LOOKED_FOR = ("q_posterior", "q_sample", "predict_start_from_noise", "p_mean_variance", "betas", "alphas_cumprod")

    def __init__(self, diffusion: Any) -> None:
        self.of, self.__name__ = diffusion, type(diffusion).__name__
        self.beta, self.array = rates(diffusion.betas, diffusion.alphas_cumprod), array_of(diffusion.betas)
        self.dtype = precision(diffusion.alphas_cumprod)
        self.unasked = unasked(diffusion, UNASKED)
        ranged = hasattr(diffusion, "vb_loss_weight")           # what only a learned variance has
        self.profile = {"first_t": 0, "spread": "variance", "variance": "ranged" if ranged else "small", "first": "floor"}
        self._has_objective = getattr(diffusion, "objective", None) is not None
        if self._has_objective and not ranged:                  # the learned variance predicts noise whatever the objective says
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
        if not self._has_objective:
            raise NotImplementedError("there is no objective to say what the network predicts")
        if hasattr(self.of, "split_dims"):
            raise NotImplementedError("its network predicts noise and x_0 and weighs them: no clause is about it")
        twin = copy.copy(self.of)
        vars(twin)["model"] = Guided(model)                     # before a submodule of that name
        return twin.p_mean_variance(**self._arguments(x_t, t))

    def _arguments(self, x_t: Any, t: Any) -> dict[str, Any]:
        """What its `p_mean_variance` asks for.   Raises: NotImplementedError for what is not known."""
        known = {"x": x_t, "t": t, "clip_denoised": False, "classes": like(np.zeros(len(x_t), dtype=np.int64), x_t), **NEUTRAL}
        found = {}
        for p in inspect.signature(self.of.p_mean_variance).parameters.values():
            if p.name in known:
                found[p.name] = known[p.name]
            elif p.default is p.empty and p.kind is not p.VAR_KEYWORD:
                raise NotImplementedError(f"its p_mean_variance asks for {p.name}, which is not known here")
        return found


class Guided:
    """A network that says the same with guidance as without."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, x_t: Any, t: Any, *_: Any, **__: Any) -> Any:
        """The network's prediction."""
        return self._model(x_t, t)

    def forward_with_cond_scale(self, x_t: Any, t: Any, *_: Any, **__: Any) -> Any:
        """With guidance, and without."""
        return self._model(x_t, t), self._model(x_t, t)
