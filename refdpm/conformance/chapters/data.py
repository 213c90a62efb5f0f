"""Mistakes in what is done to stored images: the width of the noise, and whose constants they are."""

import numpy as np

from refdpm.conformance.planting import Mistake, instead, of, then, told
from refdpm.data.prepare import constants_of
from refdpm.vjp import Array

ORIGINAL = "Sohl-Dickstein/Diffusion-Probabilistic-Models"


def _never_last(rng: np.random.Generator, n: int, *, bits: int = 20, period: int = 5) -> Array:
    return (np.arange(bits) % period == rng.integers(period - 1, size=(n, 1))).astype(float)


in_prepare = of("data.prepare.prepare")

PREPARED = (
    Mistake("RNG-10", "the last phase excluded → all of them", "horenbergerb/BernoulliDiffusion@2e8e09a", "data.heartbeat.draw",
            "value", instead(_never_last)),
    in_prepare("NEW-NOISE-WIDTH", "noise of width level/scale → level · scale, scaled as everything else is",
            f"{ORIGINAL}; there too small by the scale squared",
            then(lambda x, constants, noise: x + constants.level * (1 / constants.scale - constants.scale) * (noise - 0.5))),
    in_prepare("FWD-13", "noise on [0, 1) levels → on [−½, ½), or the mean is shifted by half a level",
            "metric-space/diffusion-probabilistic-models-JAX@64dd558", told(noise=lambda noise: noise + 0.5)),
    in_prepare("NEW-BATCH-SCALE", "constants of what is at hand, a batch or held-out images → of the training set",
            f"{ORIGINAL}; of the first batch there",
            told(constants=lambda constants, values: constants_of(np.append(values, 0), level=constants.level))),
)
