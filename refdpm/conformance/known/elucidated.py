"""Objects with the interface of denoising_diffusion_pytorch's `ElucidatedDiffusion`: EDM, with its levels and two samplers.

`net` is the network F, which is told ¼ log σ; images are (N, C, H, W), and a state is handed over as N images of one pixel.  The
choices σ_d, P_mean, P_std, ρ and those of the churn are attributes, which a twin of the object has as they are asked for.

A sampler is run as it is, along the levels that are asked for and then to 0; it is given what it draws, and D of the kit's network
where it asks for its own.  It clips what it returns, always, so that the last state is the one at which it asks for D last: that
which the levels that are asked for lead to.
"""

from collections.abc import Callable, Iterable
from contextlib import redirect_stderr
from typing import Any
import copy
import io

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import array_of, ask, drawing, pixels, unasked

SCALINGS = "c_skip", "c_out", "c_in", "c_noise"


class Elucidated:
    """An object with `preconditioned_network_forward`, `sample_schedule`, `noise_distribution`, `c_skip` and `net`."""

    SAYS = "ElucidatedDiffusion of denoising_diffusion_pytorch"
    LOOKED_FOR = ("preconditioned_network_forward", "sample_schedule", "noise_distribution", *SCALINGS, "sigma_data", "net")

    def __init__(self, diffusion: Any) -> None:
        self.of, self.__name__, self.dtype = diffusion, type(diffusion).__name__, "float32"
        self.array = array_of(next(iter(diffusion.net.parameters()), None))
        self.unasked = ("the clipping of samples", *unasked(diffusion, ("self_condition",)))

    # -- the network and its training --------------------------------------------------------------------------------------

    def sigma_scalings(self, sigma: Any, sigma_data: Any) -> tuple[Any, ...]:
        """`c_skip`, `c_out`, `c_in` and `c_noise`."""
        twin = self._twin(sigma_data=float(sigma_data))
        return tuple(ask(twin, name, sigma) for name in SCALINGS)

    def sigma_denoised(self, network: Any, x_t: Any, sigma: Any, sigma_data: Any) -> Any:
        """`preconditioned_network_forward`."""
        twin = self._twin(x_t, sigma_data=float(sigma_data), net=_Net(self.of.net, network, x_t.shape))
        return ask(twin, "preconditioned_network_forward", pixels(x_t), sigma.reshape(-1)).reshape(x_t.shape)

    def sigma_weight(self, sigma: Any, sigma_data: Any) -> Any:
        """`loss_weight`."""
        return ask(self._twin(sigma_data=float(sigma_data)), "loss_weight", sigma)

    def sigma_loss(self, network: Any, x_0: Any, noise: Any, sigma: Any, sigma_data: Any) -> Any:
        """`forward` of pixels from 0 to 1, in double precision so that nothing is lost by that."""
        twin = self._twin(x_0, sigma_data=float(sigma_data), net=_Net(self.of.net, network, x_0.shape))
        with drawing(pixels(to_array(noise))):
            return ask(twin, "forward", pixels(like((to_array(x_0).astype(np.float64) + 1) / 2, x_0)), sigma=sigma.reshape(-1))

    def sigma_drawn(self, noise: Any, p_mean: Any, p_std: Any) -> Any:
        """`noise_distribution`."""
        with drawing(to_array(noise).reshape(-1)):
            return ask(self._twin(P_mean=float(p_mean), P_std=float(p_std)), "noise_distribution", len(noise)).reshape(noise.shape)

    def sigma_levels(self, count: Any, sigma_max: Any, sigma_min: Any, rho: Any) -> Any:
        """`sample_schedule`."""
        twin = self._twin(sigma_max=float(sigma_max), sigma_min=float(sigma_min), rho=float(rho))
        return ask(twin, "sample_schedule", int(count))

    # -- its samplers --------------------------------------------------------------------------------------------------------

    def sigma_heun_step(self, network: Any, x_t: Any, sigma: Any, sigma_next: Any) -> Any:
        """A step of `sample` without churn."""
        return self.sigma_heun_sample(network, x_t, (sigma, sigma_next))

    def sigma_heun_sample(self, network: Any, x_t: Any, sigmas: Any) -> Any:
        """`sample` without churn."""
        return self._along("sample", network, x_t, sigmas, S_churn=0.0)

    def sigma_churned_step(self, network: Any, x_t: Any, noise: Any, sigma: Any, sigma_next: Any, count: Any, s_churn: Any,
                           s_min: Any, s_max: Any, s_noise: Any) -> Any:
        """A step of `sample`, one of `count`."""
        churn = _churn(s_churn, s_min, s_max, s_noise)
        return self._along("sample", network, x_t, (sigma, sigma_next), noise, count=int(count), **churn)

    def sigma_churned_sample(self, network: Any, x_t: Any, sigmas: Any, noise: Any, s_churn: Any, s_min: Any, s_max: Any,
                             s_noise: Any) -> Any:
        """`sample`, with a noise for each step."""
        return self._along("sample", network, x_t, sigmas, *noise, count=len(sigmas) - 1, **_churn(s_churn, s_min, s_max, s_noise))

    def sigma_multistep(self, x_t: Any, denoised: Any, denoised_before: Any, sigma_before: Any, sigma: Any, sigma_next: Any) -> Any:
        """The second of two steps of `sample_using_dpmpp`: where it asks for D again, the state is made x_t."""
        said = iter((denoised_before, denoised, denoised))

        def network(x: Any, level: float) -> Any:
            if level == float(sigma):
                x[...] = x_t
            return next(said)

        return self._along("sample_using_dpmpp", network, x_t, (sigma_before, sigma, sigma_next))

    def sigma_multistep_sample(self, network: Any, x_t: Any, sigmas: Any) -> Any:
        """`sample_using_dpmpp`."""
        return self._along("sample_using_dpmpp", network, x_t, sigmas)

    def _along(self, sampler: str, network: Callable[..., Any], x_t: Any, sigmas: Iterable[Any], *noise: Any,
               count: int | None = None, **own: Any) -> Any:
        """Where a sampler is at the last of these levels; it draws noise for the first steps alone."""
        seen, levels = [], [float(level) for level in sigmas]

        def denoised(x: Any, sigma: float, *_: Any, **__: Any) -> Any:
            seen.append(x.reshape(x_t.shape))
            return network(seen[-1], sigma).reshape(x.shape)

        start = pixels(to_array(x_t))
        drawn = [pixels(to_array(one)) for one in noise] + [0 * start] * (len(levels) - len(noise))
        schedule = like(np.array([*levels, 0.0], dtype=np.float32), x_t)
        twin = self._twin(x_t, preconditioned_network_forward=denoised, sample_schedule=lambda count: schedule, **own)
        clips = {"clamp": False} if sampler == "sample" else {}
        with redirect_stderr(io.StringIO()), drawing(start / levels[0], *drawn[:len(drawn) if clips else 0]):      # its progress
            ask(twin, sampler, len(x_t), len(levels) if count is None else count, **clips)
        return seen[-1]

    def _twin(self, x: Any = None, **own: Any) -> Any:
        """A copy with other choices, for images of one pixel as long as these states."""
        twin = copy.copy(self.of)
        vars(twin).update(own)                                  # before a submodule of that name
        if x is not None:
            vars(twin).update(channels=int(np.prod(x.shape[1:])), image_size=1)
        return twin


def _churn(s_churn: Any, s_min: Any, s_max: Any, s_noise: Any) -> dict[str, float]:
    return {"S_churn": float(s_churn), "S_tmin": float(s_min), "S_tmax": float(s_max), "S_noise": float(s_noise)}


class _Net:
    """A network in the place of another, for states of a shape."""

    def __init__(self, of: Any, network: Any, shape: tuple[int, ...]) -> None:
        self.parameters, self._network, self._shape = of.parameters, network, shape

    def __call__(self, x: Any, level: Any, *_: Any) -> Any:
        """What the network says."""
        return self._network(x.reshape(self._shape), level).reshape(x.shape)
