"""Mistakes in the bound of Ho, Jain and Abbeel."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import gaussian
from refdpm.conformance.planting import Mistake, instead
from refdpm.gaussian import Gaussian
from refdpm.vjp import Array

# Not yet plantable: GRD-02 needs a hybrid loss, in which the divergence trains the variance alone.


# -- the decoder and the bound -----------------------------------------------------------------------------------------

OBJECTIVE = (
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
