"""Mistakes in what is done to stored images: the width of the noise, and whose constants they are."""

import numpy as np

from refdpm.conformance.planting import Mistake, Plant, instead
from refdpm.data.prepare import Constants, constants_of
from refdpm.vjp import Array

ORIGINAL = "Sohl-Dickstein/Diffusion-Probabilistic-Models"


def _divided(values: Array, constants: Constants, *, noise: Array) -> Array:
    return (values - constants.mean) * constants.scale + constants.level / constants.scale * (noise - 0.5)


def _not_centred(values: Array, constants: Constants, *, noise: Array) -> Array:
    return (values + constants.level * noise - constants.mean) * constants.scale


def _of_the_batch() -> Plant:
    return lambda right: lambda values, constants, *, noise: right(
        values, constants_of(np.append(values, 0), level=constants.level), noise=noise)


def _without_the_noise() -> Plant:
    def wrong(values: Array, *, level: float) -> Constants:
        x = np.asarray(values, dtype=np.float64)
        return Constants(float(x.mean()), float(1 / x.std()), level)
    return instead(wrong)


def _cut_off(x: Array, constants: Constants, *, low: float = 0.0, high: float = 255.0) -> Array:
    value = x / constants.scale + constants.mean
    return np.clip((value - low) * (255 / (high - low)), 0, 255).astype(np.uint8)


def _never_last(rng: np.random.Generator, n: int, *, bits: int = 20, period: int = 5) -> Array:
    return (np.arange(bits) % period == rng.integers(period - 1, size=(n, 1))).astype(float)


PREPARED = (
    Mistake("RNG-10", "the last phase excluded → all of them",
            "horenbergerb/BernoulliDiffusion@2e8e09a", "data.heartbeat.draw", "value", instead(_never_last)),
    Mistake("NEW-NOISE-WIDTH", "noise of width level/scale → level · scale, scaled as everything else is",
            f"{ORIGINAL}; there too small by the scale squared", "data.prepare.prepare", "value", instead(_divided)),
    Mistake("FWD-13", "noise on [0, 1) levels → on [−½, ½), or the mean is shifted by half a level",
            "metric-space/diffusion-probabilistic-models-JAX@64dd558", "data.prepare.prepare", "value", instead(_not_centred)),
    Mistake("NEW-BATCH-SCALE", "constants of what is at hand, a batch or held-out images → of the training set",
            f"{ORIGINAL}; of the first batch there", "data.prepare.prepare", "value", _of_the_batch()),
    Mistake("NEW-NOISE-VARIANCE", "variance of the levels alone → with the noise's, level²/12; else E x² > 1",
            "derived here", "data.prepare.constants_of", "value", _without_the_noise()),
    Mistake("NEW-PICTURE", "pictures cut off to whole levels → rounded; half a level too dark",
            "derived here", "data.prepare.restore", "value", instead(_cut_off)),
)
