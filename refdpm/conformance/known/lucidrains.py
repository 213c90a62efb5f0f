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
from refdpm.conformance.known.common import array_of, choice, method, pixels, precision, rates, unasked
from refdpm.vjp import Array

PREDICTS = {"pred_noise": "noise", "pred_x0": "x_0", "pred_v": "v"}
UNASKED = ("forward", "sample", "p_sample", "p_sample_loop", "ddim_sample", "interpolate", "condition_mean",
           "model_predictions", "noise_assignment")
SAME = 1e-3                     # of weights in single precision
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
        return self._ask("p_mean_variance", model, x_t, x=x_t, t=t)

    def training_loss(self, model: Any, x_0: Any, t: Any, noise: Any, gamma: Any) -> Any:
        """`p_losses`, of images of one pixel; γ is that of min-SNR, if the object weighs by that."""
        if not hasattr(self.of, "loss_weight") or self.profile["variance"] == "ranged":
            raise NotImplementedError("its loss is another one, or adds a share of the bound")
        if getattr(self.of, "self_condition", False) or getattr(self.of, "offset_noise_strength", 0) > 0:
            raise NotImplementedError("its loss draws more than the noise: for self-conditioning, or an offset")
        own = self._clipped_at()
        if own is not None and abs(own - float(gamma)) > SAME * own:
            raise NotImplementedError(f"it weighs by min-SNR with γ = {own:.4g}, and no other")
        return self._ask("p_losses", model, x_0, x_start=pixels(x_0), t=t, noise=pixels(noise))

    def _clipped_at(self) -> float | None:
        """The γ at which its weights are cut off, which it does not keep; None where they are not, or are of another kind."""
        ratio = 1 / (1 / to_array(self.of.alphas_cumprod).astype(np.float64) - 1)
        per_x_0: dict[str, Array] = {"noise": ratio, "v": ratio + 1, "x_0": np.ones(len(ratio))}
        of_x_0 = per_x_0[str(self.profile["predicts"])] * to_array(self.of.loss_weight)
        most = float(np.max(of_x_0))
        return most if most < (1 - SAME) * np.max(ratio) and np.allclose(of_x_0, np.minimum(ratio, most), rtol=SAME) else None

    def _ask(self, name: str, model: Any, state: Any, **known: Any) -> Any:
        """What a method returns with another network.   Raises: NotImplementedError if it asks for more than is known."""
        twin = copy.copy(self.of)
        vars(twin)["model"] = Guided(model)                     # before a submodule of that name
        known |= {"clip_denoised": False, "classes": like(np.zeros(len(state), dtype=np.int64), state), **NEUTRAL}
        found = {}
        for p in inspect.signature(getattr(twin, name)).parameters.values():
            if p.name in known:
                found[p.name] = known[p.name]
            elif p.default is p.empty and p.kind is not p.VAR_KEYWORD:
                raise NotImplementedError(f"its {name} asks for {p.name}, which is not known here")
        return getattr(twin, name)(**found)


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
