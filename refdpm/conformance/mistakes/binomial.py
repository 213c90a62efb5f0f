"""Mistakes in the binomial kernel: its laws, divergences and draws, and their pullbacks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.activation import logit, sigmoid, softplus
from refdpm.binomial import Bernoulli
from refdpm.conformance.mistakes.planting import Mistake, Plant, instead, pullback_then, pulled_by, then, zero
from refdpm.vjp import Array, unbroadcast

_UNIT = "horenbergerb/BernoulliDiffusion@"
_SPEC = "the table prints ½, the experiment has 0.2"


def _odds(one: Array, zero: Array) -> Bernoulli:
    return Bernoulli(np.log(one) - np.log(zero))


def _step(law: Callable[[Array, Array, float], Bernoulli]) -> Plant:
    """Another law(x, β, r) of the forward step."""
    return instead(lambda x_prev, beta, *, rate=0.5: law(x_prev, beta, rate))


def _kept_from_before(right: Callable[..., Bernoulli]) -> Callable[..., Bernoulli]:
    before: dict[tuple[int, ...], Bernoulli] = {}

    def forward(x_prev: Array, beta: Array, *, rate: float = 0.5) -> Bernoulli:
        law = right(x_prev, beta, rate=rate)
        kept = before.get(np.shape(law.logit), law)
        before[np.shape(law.logit)] = law
        return kept
    return forward


def _rate_ignored(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, rate=0.5: right(*args)


def _posterior(odds: Callable[[Array, Array, Array, float], tuple[Array, Array]]) -> Plant:
    """A posterior with another pair odds(x_t, m, β, r) of weights of 1 and 0, where m = q(x_{t−1} = 1 | x_0)."""
    def posterior(x_t: Array, x_0: Array, beta: Array, log_alpha_bar_prev: Array, *, rate: float = 0.5) -> Bernoulli:
        a = np.exp(log_alpha_bar_prev)
        return _odds(*odds(x_t, a * x_0 + (1 - a) * rate, beta, rate))
    return instead(posterior)


def _seen(x_t: Array, beta: Array, rate: float) -> tuple[Array, Array]:
    """q(x_t | 1) and q(x_t | 0)."""
    return (np.where(x_t == 1, 1 - beta * (1 - rate), beta * (1 - rate)), np.where(x_t == 1, rate * beta, 1 - rate * beta))


def _sign_error(x_t: Array, m: Array, beta: Array, rate: float) -> tuple[Array, Array]:
    """A one becomes a zero with probability (2 − r) β, by 1 − x(1−β) + rβ."""
    one, zero = _seen(x_t, beta, rate)
    return m * np.where(x_t == 1, one, beta * (1 + rate)), (1 - m) * zero


def _not_normalised(x_t: Array, m: Array, beta: Array, rate: float) -> tuple[Array, Array]:
    one = m * _seen(x_t, beta, rate)[0]
    return one, 1 - one


def _flipped(x_t: Array, m: Array, beta: Array, rate: float) -> tuple[Array, Array]:
    return m * np.where(x_t == 1, 1 - beta, beta), (1 - m) * np.where(x_t == 1, beta, 1 - beta)


def _clipped(q: Bernoulli) -> Bernoulli:
    return Bernoulli(logit(np.clip(sigmoid(q.logit), 1e-10, 1 - 1e-7)))


def _kl(log_ratio: Callable[[Array, Array], Array]) -> Plant:
    """Σ q log_ratio(q, p) over 0 and 1, from probabilities."""
    def kl(q: Bernoulli, p: Bernoulli) -> Array:
        one, other = sigmoid(q.logit), sigmoid(p.logit)
        return one * log_ratio(one, other) + (1 - one) * log_ratio(1 - one, 1 - other)
    return instead(kl)


LAWS = (
    Mistake("BND-28", "prior probability ½·½ of one bit → ½",
            _UNIT + "8192d6a", "binomial.prior", "value",
            lambda right: lambda shape, *, rate=0.5: right(shape, rate=rate * rate)),
    Mistake("NEW-RATE", "π with the table's rate ½ → with the rate it is given",
            _SPEC, "binomial.prior", "value", _rate_ignored),
    Mistake("NEW-RATEb", "steps drawn anew with rate ½ → with the rate of π",
            _SPEC, "binomial.forward", "value", _rate_ignored),
    Mistake("NEW-RATEc", "marginal tends to rate ½ → to the rate of π",
            _SPEC, "binomial.marginal", "value", _rate_ignored),
    Mistake("NEW-RATEd", "posterior of the chain with rate ½ → with the rate of π",
            _SPEC, "binomial.posterior", "value", _rate_ignored),
    Mistake("LAY-23b", "law kept from the call before, if it has the shape of this one → computed anew",
            "ddbourgin/numpy-ml@be8ae23 in its kind: a cache that is not emptied", "binomial.forward", "value", _kept_from_before),
    Mistake("DIS-01", "q(0 | 1) = 1.5 β, a sign in 1 − x(1−β) − ½ β → ½ β",
            _UNIT + "b1588e0", "binomial.forward", "value",
            _step(lambda x, b, r: _odds(x * (1 - b) + r * b, 1 - x * (1 - b) + r * b))),
    Mistake("DIS-01b", "posterior with q(0 | 1) = 1.5 β → ½ β",
            _UNIT + "b1588e0", "binomial.posterior", "value", _posterior(_sign_error)),
    Mistake("DIS-02", "posterior not divided by q(x_t | x_0) → divided",
            _UNIT + "b1588e0", "binomial.posterior", "value", _posterior(_not_normalised)),
    Mistake("DIS-04", "probabilities cut off at 1e-10 and 1 − 1e-7 → logits, cut off nowhere",
            _UNIT + "3d1f72a", "binomial.posterior", "value", then(_clipped)),
    Mistake("DIS-10", "log-probabilities taken for logits → log odds",
            "cloneofsimo/d3pm#7", "binomial.marginal", "value", then(lambda q: Bernoulli(-softplus(-q.logit)))),
    Mistake("DIS-16", "fresh draw with π at the bit it replaces → with π(1)",
            "google/hackable_diffusion!29", "binomial.forward", "value",
            _step(lambda x, b, r: _odds(x * (1 - b) + np.where(x == 1, r, 1 - r) * b,
                                        (1 - x) * (1 - b) + np.where(x == 1, 1 - r, r) * b))),
    Mistake("NEW-FLIP", "β is the probability of a flip → of a fresh draw",
            "the name in the paper's §2.2", "binomial.forward", "value",
            _step(lambda x, b, r: _odds(x * (1 - b) + (1 - x) * b, (1 - x) * (1 - b) + x * b))),
    Mistake("NEW-FLIPb", "posterior with β as the probability of a flip → of a fresh draw",
            "the name in the paper's §2.2", "binomial.posterior", "value", _posterior(_flipped)),
    Mistake("NEW-ROOT-BITS", "x_0 scaled by √ᾱ, as for Gaussians → by ᾱ",
            "NEW-ROOT the other way", "binomial.marginal", "value",
            lambda right: lambda x_0, level, *, rate=0.5: right(x_0, level / 2, rate=rate)),
    Mistake("NEW-EVIDENCE", "q(x_t | 0) over q(x_t | 1) → q(x_t | 1) over q(x_t | 0)",
            "Bayes' rule upside down", "binomial.posterior", "value",
            _posterior(lambda x_t, m, b, r: (m * _seen(x_t, b, r)[1], (1 - m) * _seen(x_t, b, r)[0]))),
    Mistake("NEW-LEVEL", "posterior with ᾱ_t → with ᾱ_{t−1}",
            "an index, as in SCH-01", "binomial.posterior", "value",
            lambda right: lambda x_t, x_0, beta, level, *, rate=0.5: right(
                x_t, x_0, beta, level + np.log1p(-np.minimum(beta, 1 - 1e-12)), rate=rate)),
)

SUMS = (
    Mistake("DIS-05", "max(p, 1e-6) in the divergence → the limit",
            _UNIT + "8192d6a", "binomial.kl", "value",
            _kl(lambda q, p: np.log(np.maximum(q, 1e-6)) - np.log(np.maximum(p, 1e-6)))),
    Mistake("DIS-05b", "log(q/p + 1e-30) in the divergence → the limit",
            _UNIT + "HEAD", "binomial.kl", "value", _kl(lambda q, p: np.log(q / p + 1e-30))),
    Mistake("NEW-KL-BITS", "KL(p ‖ q) → KL(q ‖ p)",
            "BND-34 for bits", "binomial.kl", "value", lambda right: lambda q, p: right(p, q)),
    Mistake("NEW-KL-ONES", "only ones counted in the divergence → zeros too",
            "half of a sum over two states", "binomial.kl", "value",
            instead(lambda q, p: sigmoid(q.logit) * (softplus(-p.logit) - softplus(-q.logit)))),
    Mistake("NEW-BITS", "entropy of bits in bits → in nats",
            "BND-25b for bits", "binomial.entropy", "value", then(lambda entropy: entropy / np.log(2))),
    Mistake("BND-25c", "log10 in the entropy → the natural logarithm",
            _UNIT + "8192d6a", "binomial.entropy", "value", then(lambda entropy: entropy / np.log(10))),
    Mistake("NEW-CROSS-BITS", "cross-entropy with q and p exchanged → −E_q log p",
            "the step of eqs. 43 and 46", "binomial.cross_entropy", "value", lambda right: lambda q, p: right(p, q)),
    Mistake("NEW-MASS", "log p(1) for zeros as well → log p(x)",
            "half of a sum over two states", "binomial.log_prob", "value",
            instead(lambda x, p: -softplus(-p.logit) + 0 * x)),
    Mistake("NEW-ABOVE", "1 where the noise is above P(1) → below",
            "the comparison the other way", "binomial.draw", "value",
            instead(lambda p, *, noise: (noise > sigmoid(p.logit)).astype(float))),
    Mistake("NEW-SOFT", "the probability passed on for a bit → a bit",
            "a draw left out", "binomial.draw", "value", instead(lambda p, *, noise: sigmoid(p.logit) + 0 * noise)),
    Mistake("NEW-NORMAL", "normal noise compared with P(1) → uniform",
            "the other kernel's noise", "binomial.draw_noise", "value",
            instead(lambda rng, shape: rng.standard_normal(shape))),
    Mistake("RNG-08c", "the same noise for all sequences → for each its own",
            "huggingface/diffusers!13677, goodfire-ai/spd!412", "binomial.draw_noise", "value",
            lambda right: lambda rng, shape: np.broadcast_to(right(rng, (1, *shape[1:])), shape).copy()),
    Mistake("NEW-LOG1P", "x − log(1+x) by subtraction → as a series",
            "the textbook form", "activation.x_minus_log1p", "value", instead(lambda x: x - np.log1p(x))),
    Mistake("NEW-EXPM1", "eˣ − 1 − x by subtraction → as a series",
            "the textbook form", "activation.expm1_minus_x", "value", instead(lambda x: np.expm1(x) - x)),
)


# -- pullbacks ---------------------------------------------------------------------------------------------------------

def _variance(q: Bernoulli) -> Array:
    return sigmoid(q.logit) * sigmoid(-q.logit)


def _as_probability(dq: Bernoulli, x_prev: Array, beta: Array, *, rate: float = 0.5) -> tuple[Array, Array]:
    """dlogit taken for dp."""
    return (1 - beta) * dq.logit, unbroadcast((rate - x_prev) * dq.logit, beta.shape)


def _straight_through(dx: Array, p: Bernoulli, *, noise: Array) -> Bernoulli:
    return Bernoulli(_variance(p) * dx)


def _of_probability(dvalue: Array, x: Array, p: Bernoulli) -> tuple[Array, Bernoulli]:
    """d log p by p instead of by its logit."""
    return p.logit * dvalue, Bernoulli((x - sigmoid(p.logit)) / _variance(p) * dvalue)


PULLBACKS = (
    Mistake("NEW-DLOGIT", "cotangent of a logit taken for that of a probability → divided by p(1−p)",
            "PAPER's f − q is by the logit", "binomial.forward_vjp", "gradient", pulled_by(_as_probability)),
    Mistake("NEW-DRATE", "forward step's gradient by β with rate ½ → with the rate of π",
            _SPEC, "binomial.forward_vjp", "gradient",
            lambda right: lambda x, beta, *, rate=0.5: (right(x, beta, rate=rate)[0], right(x, beta)[1])),
    Mistake("NEW-DLEVEL", "ᾱ x_0 differentiated as √ᾱ x_0: factor ½ by ℓ → 1",
            "NEW-ROOT the other way", "binomial.marginal_vjp", "gradient", pullback_then(lambda d: (d[0], d[1] / 2))),
    Mistake("GRD-01g", "posterior's x_t detached → differentiated",
            "GRD-01c for bits", "binomial.posterior_vjp", "gradient", pullback_then(lambda d: (zero(d[0]), *d[1:]))),
    Mistake("GRD-01h", "posterior's β detached → differentiated",
            "GRD-01b for bits", "binomial.posterior_vjp", "gradient", pullback_then(lambda d: (*d[:2], zero(d[2]), d[3]))),
    Mistake("GRD-01i", "posterior's ᾱ_{t−1} detached → differentiated",
            "GRD-01b for bits", "binomial.posterior_vjp", "gradient", pullback_then(lambda d: (*d[:3], zero(d[3])))),
    Mistake("NEW-DKL", "posterior held to be a constant of the KL → differentiated",
            "right as long as only the network is trained", "binomial.kl_vjp", "gradient",
            pullback_then(lambda d: (zero(d[0]), d[1]))),
    Mistake("NEW-DKL-SIGN", "dKL/da = q − f → f − q",
            "PAPER §7, the sign", "binomial.kl_vjp", "gradient", pullback_then(lambda d: (d[0], Bernoulli(-d[1].logit)))),
    Mistake("NEW-DENTROPY", "dH by the probability → by the logit, with p(1−p)",
            "the textbook's log (1−p)/p", "binomial.entropy_vjp", "gradient",
            pulled_by(lambda dvalue, q: Bernoulli(-q.logit * dvalue))),
    Mistake("NEW-DCROSS", "q held to be a constant of the cross-entropy → differentiated",
            "NEW-DKL", "binomial.cross_entropy_vjp", "gradient", pullback_then(lambda d: (zero(d[0]), d[1]))),
    Mistake("NEW-DMASS", "log-mass differentiated by the probability → by the logit",
            "NEW-DENTROPY", "binomial.log_prob_vjp", "gradient", pulled_by(_of_probability)),
    Mistake("NEW-STRAIGHT", "gradient passed straight through a draw → none",
            "the straight-through estimator, which is biased", "binomial.draw_vjp", "gradient", pulled_by(_straight_through)),
)

MISTAKES = LAWS + SUMS + PULLBACKS
