"""Mistakes in what came after the paper: the decoder, the bound in bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from refdpm import gaussian
from refdpm.conformance.planting import Mistake, instead
from refdpm.gaussian import Gaussian
from refdpm.later import decoder
from refdpm.vjp import Array

# Not yet plantable: GRD-02 needs a hybrid loss, in which the divergence trains the variance alone.


# -- the decoder and the bound -----------------------------------------------------------------------------------------

def _logistic_mass(p: Gaussian, *, k: Array, grid: decoder.Grid) -> Any:
    """Φ by a logistic function, a floor of 1e-12 under every mass."""
    x, half, scale = decoder.level(k, grid=grid), grid.width / 2, np.sqrt(8 / np.pi)
    above, below = (np.where(k == end, 1 - side, expit(scale * (z + 0.044715 * z ** 3)))
                    for end, side, z in ((grid.levels - 1, 0, (x + half - p.mean) / np.sqrt(p.var)),
                                         (0, 1, (x - half - p.mean) / np.sqrt(p.var))))
    return np.log(np.maximum(above - below, 1e-12)), None


def _written_edges(right: Callable[..., Any]) -> Callable[..., Any]:
    """The open bins are those beyond ±0.999, whatever the grid."""
    def log_mass_vjp(p: Gaussian, *, k: Array, grid: decoder.Grid) -> Any:
        x = decoder.level(k, grid=grid)
        inside = np.where((x < -0.999) | (x > 0.999), k, k + 1)                   # no end of a grid with a level more on both sides
        wider = decoder.Grid(grid.low - grid.width, grid.high + grid.width, grid.levels + 2)
        value = np.where((x < -0.999) | (x > 0.999), right(p, k=np.where(x < 0, 0, grid.levels - 1), grid=grid)[0],
                         right(p, k=np.where(inside == k, 1, inside), grid=wider)[0])
        return value, None
    return log_mass_vjp


def _with_bins(right: Callable[..., Any]) -> Callable[..., Any]:
    """Bins (high − low)/levels wide about the same levels."""
    def log_mass_vjp(p: Gaussian, *, k: Array, grid: decoder.Grid) -> Any:
        half = (grid.high - grid.low) / grid.levels / 2
        x, sigma = decoder.level(k, grid=grid), np.sqrt(p.var)
        above = np.where(k == grid.levels - 1, 1, ndtr((x + half - p.mean) / sigma))
        return np.log(above - np.where(k == 0, 0, ndtr((x - half - p.mean) / sigma))), None
    return log_mass_vjp


OBJECTIVE = (
    Mistake("BND-22", "open bins beyond ±0.999 → at the ends of the grid",
            "tqch/ddpm-torch@4969a9e", "later.decoder.log_mass_vjp", "value", _written_edges),
    Mistake("BND-23", "bins of range/256 → of range/255, the distance of the levels",
            "rosinality/glow-pytorch#17", "later.decoder.log_mass_vjp", "value", _with_bins),
    Mistake("NEW-CLAMP", "Φ by a logistic function and masses not below 1e-12, 39.9 bits at most → exact",
            "hojonathanho/diffusion and five others; FA-10 for the part that is a tolerance", "later.decoder.log_mass_vjp", "value",
            instead(_logistic_mass)),
    Mistake("NEW-LEVELS", "levels k/256 of the range → k/255, both ends on the grid",
            "BND-23 for the levels", "later.decoder.level", "value",
            lambda right: lambda k, *, grid: grid.low + k * (grid.high - grid.low) / grid.levels),
    Mistake("BND-19c", "mean over components in the decoder, sum in the divergence → sums in both",
            "keras-team/keras!3383", "later.objective.decoder_vjp", "value",
            lambda right: lambda *args, k, **fixed: (right(*args, k=k, **fixed)[0] / k[0].size, None)),
    Mistake("BND-20b", "no decoder → with −log P(x_0 | x_1)",
            "Weixy21/SafeDiffuser#9", "later.objective.assemble", "value",
            lambda right: lambda terms, *, T: right(terms, T=T) - terms.decoder),
    Mistake("NEW-NO-PRIOR", "no prior term, as it does not depend on the network → with KL(q(x_T | x_0) ‖ π)",
            "as BND-32", "later.objective.assemble", "value",
            lambda right: lambda terms, *, T: right(terms, T=T) - terms.prior),
    Mistake("BND-05b", "KL of drawn steps averaged → times T − 1",
            "cvignac/DiGress@b36d99f", "later.objective.assemble", "value", lambda right: lambda terms, *, T: right(terms, T=2)),
    Mistake("BND-25d", "nats called bits → divided by log 2",
            "horenbergerb/BernoulliDiffusion@8192d6a", "later.objective.per_dimension", "value",
            lambda right: lambda nats, *, k: right(nats, k=k) * np.log(2)),
    Mistake("FWD-05b", "prior term with log-variance √(1−ᾱ) → log(1−ᾱ)",
            "tqch/ddpm-torch#9", "later.objective.prior_kl", "value",
            instead(lambda x, level: gaussian.kl(
                Gaussian(np.exp(level / 2) * x, np.exp(np.sqrt(-np.expm1(level)))), gaussian.prior(x.shape)))),
    Mistake("NEW-PRIOR", "prior term H(π) − H(x_T | x_0) → with the cross-entropy of π",
            "the step of eqs. 43 and 46, right for second moment 1 only", "later.objective.prior_kl", "value",
            instead(lambda x, level: 0 * x - np.log(-np.expm1(level)) / 2)),
    Mistake("NEW-EDGE-H", "edge −H(x_1 | x_0) → with β_1 (x_0² − 1)/2",
            "as NEW-PRIOR, at the other end", "later.objective.edge", "value",
            instead(lambda x, beta: 0 * x - (np.log(2 * np.pi * beta) + 1) / 2)),
    Mistake("NEW-TERMS", "x_t in the bound from the noise of x_1 → from its own",
            "RNG-08 between steps", "later.objective.terms_vjp", "value",
            lambda right: lambda *args, noise, noise_1, **fixed: right(
                *args, noise=np.broadcast_to(noise_1, noise.shape), noise_1=noise_1, **fixed)),
)

MISTAKES = OBJECTIVE
