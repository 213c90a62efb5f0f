"""The binomial chain, Table App.1, right column: steps of independent bits, and what is measured between their laws.

The stationary rate r of ones is the input `rate`, a plain number.  A function that does not ask for it is held to have r = ½.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import binomial
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays
from refdpm.conformance.chapters.ends import (BELOW, BIT, BOTH, LOGIT, chosen, close_logits, ends, law,
                                               logits_around_one_apart, rate, together, wide)
from refdpm.conformance.chapters.inputs import (D, N, Given, Inputs, chain, drawn, edge_schedules, listed, rates, spread_out,
                                                times_of)
from refdpm.conformance.chapters.quantity import Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import BETA, LEVEL, PREV, Theory, bit
from refdpm.conformance.planting import PRINTED, SWAPPED, Mistake, Plant, instead, of, pulled_by, then, told
from refdpm.activation import logit, sigmoid, softplus
from refdpm.textbook import bits as book
from refdpm.textbook.chain import row
from refdpm.textbook.expression import given
from refdpm.vjp import Array

LAW = (Output("PROB", "probability"),)
NATS = (Output("VALUE", "information"),)
X_PREV, X_0, X_T, R, X, NOISE = map(given, ("x_prev", "x_0", "x_t", "rate", "x", "noise"))
Q, P = (book.of_prob(given(name)) for name in ("q", "p"))


# -- inputs ------------------------------------------------------------------------------------------------------------

def bits(*shape: int) -> Draw:
    """Zeros and ones."""
    return draws.chosen_arrays(shape, (0.0, 1.0))


BITS = bits(N, D)
RATE = draws.one_of([0.5, 0.25, 0.875])
COLUMNS = {"x_prev": (0, 1, 0, 1), "x_0": (0, 0, 1, 1), "x_t": (0, 1, 0, 1)}          # all pairs, one to a column


def _chain(*names: str) -> Callable[[Given], Draw]:
    strategies: dict[str, Any] = {name: BITS for name in names}
    return chain(rate=RATE, **strategies)


def _edges(*names: str) -> Callable[[Given], list[Inputs]]:
    """Every t of the schedules of the edges with every pair of bits, at r = ½ and at two more; β_T = 1 besides; once images."""
    def edges(given: Given) -> list[Inputs]:
        betas = edge_schedules(given)
        reciprocal = [] if given.beta is not None else [rates(1 / np.arange(5, 0, -1.0))]
        found = [_at(names, beta, 0.5) for beta in [*betas, *reciprocal]]
        found += [_at(names, beta, rate) for beta, rate in zip(betas[:2] + reciprocal, (0.1875, 0.875, 0.25))]
        t = np.array([len(betas[0]) - 1, 1, min(2, len(betas[0]) - 1)])
        images = {name: np.where(spread_out(3, 4, 5, 2, start=0.3 * n) > 0, 1.0, 0.0) for n, name in enumerate(names)}
        return [*found, images | {"t": t, "beta": betas[0], "rate": 0.5}]
    return edges


def _at(names: tuple[str, ...], beta: Array, rate: float) -> Inputs:
    t = times_of(beta)
    states = {name: np.tile(np.array(COLUMNS[name], dtype=np.float64), (len(t), 1)) for name in names}
    return states | {"t": t, "beta": beta, "rate": rate}


# -- kernels -----------------------------------------------------------------------------------------------------------

KERNELS = (
    Quantity(
        "binomial_forward", "BIN.FWD", "q(x_t = 1 | x_{t−1}) = x_{t−1} (1 − β_t) + r β_t", ("2", "App.1 B forward"), LAW,
        _chain("x_prev"), _edges("x_prev"), Theory(binomial.forward, "x_prev", BETA, fixed=("rate",)),
        book.forward(X_PREV, row(), R).one),
    Quantity(
        "binomial_marginal", "BIN.MARG", "q(x_t = 1 | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) r", ("App.1 B marginal",), LAW,
        _chain("x_0"), _edges("x_0"), Theory(binomial.marginal, "x_0", LEVEL, fixed=("rate",)),
        book.marginal(X_0, row(), R).one, given=own_levels, after=("alpha_bar",)),
    Quantity(
        "binomial_posterior", "BIN.POST", "q(x_{t−1} = 1 | x_t, x_0) = m q(x_t | 1)/[m q(x_t | 1) + (1 − m) q(x_t | 0)] with "
        "m = ᾱ_{t−1} x_0 + (1 − ᾱ_{t−1}) r; x_0 itself at t = 1", ("48", "App.1 B posterior"), LAW, _chain("x_0", "x_t"),
        _edges("x_0", "x_t"), Theory(binomial.posterior, "x_t", "x_0", BETA, PREV, fixed=("rate",)),
        book.posterior(X_T, X_0, row(), R).one, given=own_levels, after=("alpha_bar",)),
)


# -- divergence, entropies, mass, draws ----------------------------------------------------------------------------------

RARE, RARER = 2.0 ** -13, 2.0 ** -30
SOME = arrays(N, D, low=RARE, high=1 - RARE)
TWO_LAWS = (                                            # the last two are certain of some bits
    (spread_out(N, 4, low=0.02, high=0.98), spread_out(N, 4, start=0.4, low=0.02, high=0.98)),
    (np.array([[RARE, 1 - RARE, 0.5], [RARE, 0.25, 1 - RARE]]),
     np.array([[1 - RARE, 0.5, RARE], [2 * RARE, 0.2578125, 1 - 2 * RARE]])),
    (np.array([[0.25, RARER, RARER], [0.5, 0.75, 2 * RARER]]), np.array([[RARER, 0.25, RARE], [RARER / 16, RARE, RARER]])),
    (np.array([[0.0, 1, 0], [1, 0, 1]]), np.array([[0.0, 1, 0.25], [0.25, 0.875, 0.875]])),
    (np.array([[0.0, 1, 0.25], [1, 0, 1]]), np.array([[0.0, 1, 0.25], [1, 0, 1]])))


def _sixty_fourths(highest: int, more: float) -> Draw:
    return draws.integer_arrays((N, D), 0, highest).map(lambda k: (k + more) / 64)


def _between(p: Array, start: float) -> Array:
    """Noise that meets no multiple of 1/64."""
    return (np.floor(spread_out(*p.shape, start=start, low=0, high=64)) + 0.5) / 64


MEASURES = (
    Quantity(
        "binomial_kl", "BIN.KL", "D_KL(q ‖ p) = q log(q/p) + (1 − q) log((1 − q)/(1 − p)) per bit, with 0 · log 0 = 0",
        ("14", "App.1 B bound"), NATS, drawn(q=SOME, p=SOME), listed(*({"q": q, "p": p} for q, p in TWO_LAWS)),
        Theory(binomial.kl, bit("q"), bit("p")), book.kl(Q, P), arguments=("q", "p")),
    Quantity(
        "binomial_entropy", "BIN.ENT", "H(p) = −p log p − (1 − p) log(1 − p) per bit, with 0 · log 0 = 0", ("App.1 B bound",),
        NATS, drawn(p=SOME), listed(*({"p": q} for q, _ in TWO_LAWS)), Theory(binomial.entropy, bit("p")),
        book.entropy(P), arguments=("p",)),
    Quantity(
        "binomial_cross_entropy", "BIN.CROSS", "−E_q log p = −q log p − (1 − q) log(1 − p) per bit", ("43", "46"), NATS,
        drawn(q=SOME, p=SOME), listed(*({"q": q, "p": p} for q, p in TWO_LAWS)),
        Theory(binomial.cross_entropy, bit("q"), bit("p")), book.cross_entropy(Q, P), arguments=("q", "p")),
    Quantity(
        "binomial_log_prob", "BIN.LOGP", "log p(x): log p of a one, log(1 − p) of a zero", ("App.1 B likelihood",),
        NATS, drawn(x=BITS, p=SOME), listed(*({"x": np.round(q), "p": p} for q, p in TWO_LAWS)),
        Theory(binomial.log_prob, "x", bit("p")), book.log_prob(X, P), arguments=("p",)),
    Quantity(
        "binomial_draw", "BIN.DRAW", "1 where noise, uniform on [0, 1), is below P(1), else 0", ("App.1 B forward",),
        (Output("X", "integer"),), drawn(p=_sixty_fourths(64, 0), noise=_sixty_fourths(63, 0.5)),
        listed(*({"p": np.round(q * 64) / 64, "noise": _between(q, n / 4)} for n, (q, _) in enumerate(TWO_LAWS))),
        Theory(binomial.draw, bit("p"), fixed=("noise",)), book.draw(P, NOISE)),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

SHARES = chosen(0.5, 0.2, 0.01)
ONE, OTHER = law(Bernoulli, LOGIT), law(Bernoulli, wide(1e-6, 40.0, signs=BOTH))

ENDS = {
    "binomial.prior": lambda rng, n: (((n, 1),), {"rate": SHARES(rng, n)[:, None]}),
    "binomial.forward": ends(BIT, rate, rate=SHARES), "binomial.marginal": ends(BIT, BELOW, rate=SHARES),
    "binomial.posterior": ends(BIT, BIT, rate, BELOW, rate=SHARES),
    "binomial.kl": (together(lambda rng, n: tuple(map(Bernoulli, close_logits(rng, n)))), ends(ONE, OTHER),
                    together(lambda rng, n: tuple(map(Bernoulli, logits_around_one_apart(rng, n))))),
    "binomial.cross_entropy": ends(ONE, OTHER),
    "binomial.entropy": ends(ONE), "binomial.log_prob": ends(BIT, ONE), "binomial.draw": ends(ONE, noise=wide(1e-6, 0.999))}


# -- mistakes ------------------------------------------------------------------------------------------------------------

UNIT = "horenbergerb/BernoulliDiffusion@"
SPEC = "the table prints ½, the experiment has 0.2"


def level_after(level: Array, beta: Array) -> Array:
    """ℓ_t from ℓ_{t−1}."""
    return level + np.log1p(-np.minimum(beta, 1 - 1e-12))


def _sign_error(q: Bernoulli, x_prev: Array, beta: Array, rate: float) -> Bernoulli:
    """P(0) = 1 − x(1−β) + rβ."""
    return Bernoulli(np.log(x_prev * (1 - beta) + rate * beta) - np.log(1 - x_prev * (1 - beta) + rate * beta))


def _kept_from_before(right: Callable[..., Bernoulli]) -> Callable[..., Bernoulli]:
    before: dict[tuple[int, ...], Bernoulli] = {}

    def forward(x_prev: Array, beta: Array, *, rate: float = 0.5) -> Bernoulli:
        law = right(x_prev, beta, rate=rate)
        kept = before.get(np.shape(law.logit), law)
        before[np.shape(law.logit)] = law
        return kept
    return forward


def _flipped(q: Bernoulli, x_t: Array, x_0: Array, beta: Array, log_alpha_bar_prev: Array, rate: float) -> Bernoulli:
    return Bernoulli(binomial.marginal(x_0, log_alpha_bar_prev, rate=rate).logit + (2 * x_t - 1) * logit(1 - beta))


def _kl(log_ratio: Callable[[Array, Array], Array]) -> Plant:
    """Σ q log_ratio(q, p) over 0 and 1, from probabilities."""
    def kl(q: Bernoulli, p: Bernoulli) -> Array:
        one, other = sigmoid(q.logit), sigmoid(p.logit)
        return one * log_ratio(one, other) + (1 - one) * log_ratio(1 - one, 1 - other)
    return instead(kl)


in_forward, in_marginal, in_posterior = of("binomial.forward"), of("binomial.marginal"), of("binomial.posterior")
in_kl = of("binomial.kl")

WRONG_LAWS = (
    Mistake("NEW-RATE", "π with the table's rate ½ → with the rate it is given", SPEC, "binomial.prior", "value", told(rate=0.5)),
    in_forward("NEW-RATEb", "steps drawn anew with rate ½ → with the rate of π", SPEC, told(rate=0.5)),
    in_marginal("NEW-RATEc", "marginal tends to rate ½ → to the rate of π", SPEC, told(rate=0.5)),
    in_posterior("NEW-RATEd", "posterior of the chain with rate ½ → with the rate of π", SPEC, told(rate=0.5)),
    in_forward("LAY-23b", "law kept from the call before, if it has the shape of this one → computed anew",
            "ddbourgin/numpy-ml@be8ae23 in its kind: a cache that is not emptied", _kept_from_before),
    in_forward("DIS-01", "q(0 | 1) = 1.5 β, a sign in 1 − x(1−β) − ½ β → ½ β", UNIT + "b1588e0", then(_sign_error)),
    in_posterior("DIS-04", "probabilities cut off at 1e-10 and 1 − 1e-7 → logits, cut off nowhere", UNIT + "3d1f72a",
            then(lambda p: Bernoulli(logit(np.clip(p.prob, 1e-10, 1 - 1e-7))))),
    in_marginal("DIS-10", "log-probabilities taken for logits → log odds", "cloneofsimo/d3pm#7",
            then(lambda q: Bernoulli(-softplus(-q.logit)))),
    in_forward("DIS-16", "fresh draw with π at the bit it replaces → with π(1)", "google/hackable_diffusion!29",
            told(rate=lambda rate, x_prev: np.where(x_prev == 1, rate, 1 - rate))),
    in_forward("NEW-FLIP", "β is the probability of a flip → of a fresh draw", "the name in the paper's §2.2",
            told(beta=lambda beta: 2 * beta, rate=0.5)),
    in_posterior("NEW-FLIPb", "posterior with β as the probability of a flip → of a fresh draw", "the name in the paper's §2.2",
            then(_flipped)),
    in_posterior("NEW-EVIDENCE", "q(x_t | 0) over q(x_t | 1) → q(x_t | 1) over q(x_t | 0)", "Bayes' rule upside down",
            then(lambda q, x_0, log_alpha_bar_prev, rate: Bernoulli(
                2 * binomial.marginal(x_0, log_alpha_bar_prev, rate=rate).logit - q.logit))),
)

WRONG_MEASURES = (
    in_kl("DIS-05", "max(p, 1e-6) in the divergence → the limit", UNIT + "8192d6a",
            _kl(lambda q, p: np.log(np.maximum(q, 1e-6)) - np.log(np.maximum(p, 1e-6)))),
    in_kl("DIS-05b", "log(q/p + 1e-30) in the divergence → the limit", UNIT + "HEAD", _kl(lambda q, p: np.log(q / p + 1e-30))),
    in_kl("NEW-KL-ONES", "only ones counted in the divergence → zeros too", "half of a sum over two states",
            instead(lambda q, p: sigmoid(q.logit) * (softplus(-p.logit) - softplus(-q.logit)))),
    Mistake("BND-25c", "log10 in the entropy → the natural logarithm", UNIT + "8192d6a", "binomial.entropy", "value",
            then(lambda entropy: entropy / np.log(10))),
    Mistake("NEW-CROSS-BITS", "cross-entropy with q and p exchanged → −E_q log p", "the step of eqs. 43 and 46",
            "binomial.cross_entropy", "value", SWAPPED),
    Mistake("NEW-MASS", "log p(1) for zeros as well → log p(x)", "half of a sum over two states", "binomial.log_prob", "value",
            instead(lambda x, p: -softplus(-p.logit) + 0 * x)),
    Mistake("NEW-SOFT", "the probability passed on for a bit → a bit", "a draw left out", "binomial.draw", "value",
            instead(lambda p, *, noise: sigmoid(p.logit) + 0 * noise)),
    Mistake("NEW-NORMAL", "normal noise compared with P(1) → uniform", "the other kernel's noise", "binomial.draw_noise", "value",
            instead(lambda rng, shape: rng.standard_normal(shape))),
    Mistake("RNG-08c", "the same noise for all sequences → for each its own", "huggingface/diffusers!13677, goodfire-ai/spd!412",
            "binomial.draw_noise", "value", then(lambda noise: np.broadcast_to(noise[:1], noise.shape).copy())),
    Mistake("NEW-LOG1P", "x − log(1+x) by subtraction → as a series", "the textbook form", "activation.x_minus_log1p", "accuracy",
            PRINTED),
    Mistake("NEW-EXPM1", "eˣ − 1 − x by subtraction → as a series", "the textbook form", "activation.expm1_minus_x", "accuracy",
            PRINTED),
)


def _variance(q: Bernoulli) -> Array:
    return sigmoid(q.logit) * sigmoid(-q.logit)


def _of_probability(dvalue: Array, x: Array, p: Bernoulli) -> tuple[Array, Bernoulli]:
    """d log p by p instead of by its logit."""
    return p.logit * dvalue, Bernoulli((x - sigmoid(p.logit)) / _variance(p) * dvalue)


WRONG_PULLBACKS = (
    Mistake("NEW-DENTROPY", "dH by the probability → by the logit, with p(1−p)", "the textbook's log (1−p)/p",
            "binomial.entropy_vjp", "gradient", pulled_by(lambda dvalue, q: Bernoulli(-q.logit * dvalue))),
    Mistake("NEW-DMASS", "log-mass differentiated by the probability → by the logit", "NEW-DENTROPY", "binomial.log_prob_vjp",
            "gradient", pulled_by(_of_probability)),
)
