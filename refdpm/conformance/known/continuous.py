"""Diffusions in continuous time with the interface of denoising_diffusion_pytorch: `ContinuousTimeGaussianDiffusion`, whose network
says noise, and `VParamContinuousTimeGaussianDiffusion`, whose network says v.

`log_snr` of a time from 0 (data) to 1 is log ᾱ/(1 − ᾱ), and the network is told it.  Any times are a chain: here they are t/32 for
t = 1 … 31, so that β_1 is 1 − ᾱ(1/32) and every other β_t is 1 − ᾱ(t/32)/ᾱ((t − 1)/32).  Steps are asked for between two of these
times.  Time 0 is none of them, since ᾱ is below 1 there: no clause asks for the last step, which goes to time 0 without noise.

`log_snr` itself, which is the object's own choice, is where β comes from, and no clause looks at it.  It is asked once at all of
these times, and then looked up: a learned one is rounded otherwise in each batch.  Everything else is done in double precision, so
that nothing is lost beside it.  x̂_0 is not clipped.
"""

from typing import Any
import copy

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import array_of, ask, drawing, rates_of, unasked
from refdpm.vjp import Array

GRAIN = 32                      # times are multiples of 1/32
SPARSE = np.array([1, 2, 5, 11, 22, 31])
UNASKED = ("log_snr", "random_times", "forward", "sample", "p_sample_loop", "clip_sample_denoised")


class Continuous:
    """An object with `log_snr`, `q_sample`, `p_sample`, `p_losses`, `random_times` and `model`."""

    SAYS = "a continuous-time diffusion of denoising_diffusion_pytorch"
    LOOKED_FOR = ("log_snr", "q_sample", "p_sample", "p_losses", "random_times", "model")

    def __init__(self, diffusion: Any) -> None:
        self.__name__, self.dtype = type(diffusion).__name__, "float64"
        self.of, self.unasked = copy.copy(diffusion), unasked(diffusion, UNASKED)
        self.array = array_of(next(iter(diffusion.model.parameters()), None))
        times = np.arange(1, GRAIN, dtype=np.float32) / GRAIN
        self._log_snr = to_array(diffusion.log_snr(self._theirs(times))).astype(np.float64)
        self.beta = rates_of(1 / (1 + np.exp(-self._log_snr)))
        vars(self.of).update(log_snr=lambda times: self._theirs(self._log_snr[_numbers(times)]), clip_sample_denoised=False)
        self.own_steps = (np.arange(1, GRAIN), SPARSE)
        self.profile = {"first_t": 1, "variance": "small"}

    def marginal_sample(self, x_0: Any, t: Any, noise: Any) -> Any:
        """`q_sample`."""
        return ask(self.of, "q_sample", x_0, self._times(t), noise=noise)[0]

    def strided_step(self, model: Any, x_t: Any, t: Any, t_prev: Any, noise: Any) -> Any:
        """`p_sample` from one time to another, with this noise."""
        pairs, found = np.stack([to_array(t), to_array(t_prev)], axis=1), np.zeros(x_t.shape)
        if np.any(pairs[:, 1] < 1):
            raise NotImplementedError("the last step is one to time 0, where ᾱ is not 1")
        for pair in np.unique(pairs, axis=0):
            rows = np.all(pairs == pair, axis=1)
            with drawing(to_array(noise)[rows]):
                found[rows] = to_array(ask(self._around(model), "p_sample", like(to_array(x_t)[rows], x_t), *self._times(pair)))
        return found

    def training_loss(self, model: Any, x_0: Any, t: Any, noise: Any, gamma: Any) -> Any:
        """`p_losses`; γ is that of min-SNR, if the object weighs by that."""
        return ask(self._around(model, min_snr_gamma=float(gamma)), "p_losses", x_0, self._times(t), noise=noise)

    def _times(self, t: Any) -> Any:
        return self._theirs(to_array(t) / GRAIN)

    def _theirs(self, array: Array) -> Any:
        return array if self.array is None else self.array(array)

    def _around(self, model: Any, **own: Any) -> Any:
        """A copy around a network of the kit, which knows the number of a log-SNR."""
        def said(x: Any, told: Any, *_: Any) -> Any:
            off = np.abs(to_array(told).astype(np.float64)[:, None] - self._log_snr)
            return model(x, 1 + np.argmin(off, axis=1))

        twin = copy.copy(self.of)
        vars(twin).update(own, model=said)                      # before a submodule of that name
        return twin


def _numbers(times: Any) -> Array:
    return np.round(GRAIN * to_array(times)).astype(np.int64) - 1
