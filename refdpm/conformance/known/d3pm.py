"""Discrete diffusions with matrices: google-research's `CategoricalDiffusion`, cloneofsimo's `D3PM`, and those like them.

For uniform transitions.  Laws are logits; what is looked up in a matrix is given as its logarithm.  The network's p̂ enters the
reverse step as D3PM has it: the sum of joint laws, and p̂ itself at the first step.
"""

from typing import Any
import inspect

import numpy as np

from refdpm.conformance.adapter import like, to_array
from refdpm.conformance.known.common import array_of, precision, unasked
from refdpm.vjp import Array

UNASKED = ("forward", "q_sample", "vb", "vb_terms_bpd", "p_logits", "p_sample", "p_sample_loop", "sample",
           "sample_with_image_sequence", "cross_entropy_x_start", "prior_bpd", "training_losses", "calc_bpd_loop")
SAME = 1e-6                     # how much the entries of a uniform matrix may differ
IMAGE = 4                       # axes that an object which wants images wants


class D3PM:
    """An object with `q_mats`, one-step matrices or their transposes, and `q_posterior_logits`."""

    SAYS = "D3PM"
    LOOKED_FOR = ("q_mats", "q_onestep_mats|transpose_q_onestep_mats|q_one_step_transposed", "q_posterior_logits")

    def __init__(self, diffusion: Any) -> None:
        self.of, self.__name__ = diffusion, type(diffusion).__name__
        self._one, self._total = self._matrices(), to_array(diffusion.q_mats)
        self.classes = int(self._total.shape[-1])
        self.array = array_of(diffusion.q_mats)
        self._asks_for_logits = "x_start_logits" in inspect.signature(diffusion.q_posterior_logits).parameters
        self.dtype = np.dtype(diffusion.jax_dtype).name if hasattr(diffusion, "jax_dtype") else precision(diffusion.q_mats)
        self.beta, self.unasked = self._rates(), unasked(diffusion, UNASKED)
        self.profile = {"categories": "logits", "mixing": "joint_but_first", "orientation": "rows",
                        "first_t": 0 if self._asks_for_logits else 1}

    def transition_matrix(self, t: Any) -> Array:
        """Of the table of one-step matrices."""
        return np.asarray(self._one[to_array(t) - self.profile["first_t"]])

    def cumulative_matrix(self, t: Any) -> Array:
        """`q_mats`."""
        return np.asarray(self._total[to_array(t) - self.profile["first_t"]])

    def categorical_marginal(self, x_0: Any, t: Any) -> Array:
        """`q_probs`, or the row of `q_mats` that x_0 names."""
        if hasattr(self.of, "q_probs"):
            return np.log(to_array(self.of.q_probs(x_0, t)))
        return np.log(self._total[(to_array(t) - self.profile["first_t"])[:, None], to_array(x_0)])

    def categorical_posterior(self, x_0: Any, x_t: Any, t: Any) -> Any:
        """`q_posterior_logits` of a known x_0."""
        return self._posterior(x_0, x_t, t, logits=False)

    def categorical_reverse(self, logits: Any, x_t: Any, t: Any) -> Any:
        """`q_posterior_logits` of the network's logits of x_0."""
        return self._posterior(logits, x_t, t, logits=True)

    def _posterior(self, x_0: Any, x_t: Any, t: Any, *, logits: bool) -> Array:
        shape = to_array(x_t).shape
        if self._asks_for_logits:
            image = (shape[0],) + (1,) * (IMAGE - len(shape)) + shape[1:]
            x_0 = like(to_array(x_0).reshape(image + to_array(x_0).shape[len(shape):]), x_0)
            value = self.of.q_posterior_logits(x_0, like(to_array(x_t).reshape(image), x_t), t, x_start_logits=logits)
        else:
            value = self.of.q_posterior_logits(x_0, x_t, t)
        return to_array(value).reshape(shape + (self.classes,))

    def _matrices(self) -> Array:
        """(T, K, K), rows the class that is left."""
        if hasattr(self.of, "q_onestep_mats"):
            return to_array(self.of.q_onestep_mats)
        names = ("transpose_q_onestep_mats", "q_one_step_transposed")
        return np.swapaxes(to_array(next(getattr(self.of, name) for name in names if hasattr(self.of, name))), 1, 2)

    def _rates(self) -> Array:
        """β: stated, or K times what one class gives another.   Raises: ValueError unless transitions are uniform."""
        off = self._one.astype(np.float64)[:, ~np.eye(self.classes, dtype=bool)]
        if np.any(np.ptp(off, axis=1) > SAME):
            raise ValueError("adapter: expected uniform transitions, got matrices whose entries differ")
        stated = getattr(self.of, "betas", getattr(self.of, "beta_t", None))
        by_matrix = off.mean(axis=1) * self.classes
        return by_matrix if stated is None else np.asarray(to_array(stated), dtype=np.float64)
