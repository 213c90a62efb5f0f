"""K for bits: the divergence of a step and the sum.

The network puts out the logit of p(x_{t−1} = 1 | x_t).  The states x_t are given and not drawn: a bit on the edge would fall on
either side in different precisions.  π has the rate r of ones.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import binomial, bound, schedule
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters.bound import own, shown, tame_first
from refdpm.conformance.chapters.ends import BIT, BOTH, HEAD, Case, Sampler, chosen, ends, law, rate as rates, wide
from refdpm.conformance.chapters.inputs import (D, N, Given, Inputs, Strategy, edge_network, network, schedules, times_of)
from refdpm.conformance.chapters.quantity import Ask, ByHand, Output, Quantity, page_of
from refdpm.conformance.chapters.theory import Take, Theory, as_planted
from refdpm.conformance.planting import Mistake, edited, instead, of, pulled, pulled_by, pulled_to, then, told, without, zero
from refdpm.activation import logit, sigmoid, softplus
from refdpm.networks.bit_readout import READOUTS
from refdpm.layers.linear import Affine, per_step_vjp
from refdpm.networks.heartbeat import COUNT, Heartbeat
from refdpm.schedule import Step
from refdpm.textbook import bits as book
from refdpm.textbook.chain import row
from refdpm.textbook.expression import E, gathered, given, total
from refdpm.textbook.layers import linear
from refdpm.textbook.page import Page
from refdpm.vjp import Array, Pullback, fix

TOTAL = (Output("VALUE", "total"),)
RATES = (0.5, 0.5, 0.25, 0.875)
X_0, X_T, R = map(given, ("x_0", "x_t", "rate"))


# -- inputs ------------------------------------------------------------------------------------------------------------

def _bits(*shape: int) -> Strategy:
    return npst.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0]))


def _edge_bits(*shape: int, start: float = 0.0) -> Array:
    return (np.modf((np.arange(int(np.prod(shape))) + 1) * 0.6180339887 + start)[0] < 0.5).astype(float).reshape(shape)


def _rated(betas: list[Array]) -> Iterator[tuple[Array, float]]:
    """Each at ½, and the first few at other rates, last, because not everybody has one."""
    return ((beta, rate) for some in (RATES[:1] * len(betas), RATES[2:]) for beta, rate in zip(betas, some))


@st.composite
def _step_inputs(draw: st.DrawFn, given: Given) -> Inputs:
    beta = draw(schedules(given, low=2))
    t = draw(npst.arrays(np.int64, N, elements=st.integers(2, len(beta) - 1)))
    return {"x_0": draw(_bits(N, D)), "x_t": draw(_bits(N, D)), "t": t, "beta": beta, "rate": draw(st.sampled_from(RATES)),
            "model": draw(network(len(beta) - 1, outputs=D))}


def _step_edges(given: Given) -> list[Inputs]:
    found = []
    for beta, rate in _rated(tame_first(given, low=2)):
        t = times_of(beta, low=2)
        found.append({"x_0": _edge_bits(len(t), D), "x_t": _edge_bits(len(t), D, start=0.3), "t": t, "beta": beta,
                      "rate": rate, "model": edge_network(len(beta) - 1, outputs=D)})
    return found


@st.composite
def _paths(draw: st.DrawFn, given: Given) -> Inputs:
    beta = draw(schedules(given))
    return {"x_0": draw(_bits(N, D)), "x_t": draw(_bits(len(beta) - 1, N, D)), "beta": beta, "rate": draw(st.sampled_from(RATES)),
            "model": draw(network(len(beta) - 1, outputs=D))}


def _path_edges(given: Given) -> list[Inputs]:
    return [{"x_0": _edge_bits(N, D), "x_t": _edge_bits(len(beta) - 1, N, D, start=0.3), "beta": beta,
             "rate": rate, "model": edge_network(len(beta) - 1, outputs=D)} for beta, rate in _rated(tame_first(given))]


# -- the theory ----------------------------------------------------------------------------------------------------------

def _reverse_vjp(parameters: tuple[Array, Array, Array], x_t: Array, step: Step, *, t: Array) -> tuple[Bernoulli, Pullback]:
    """The network as the reverse step; what is added to its output is the last of its parameters."""
    weight, bias, more = parameters
    logit, back = per_step_vjp(x_t, weight, bias, t=t)
    return Bernoulli(logit + more), lambda dp: ((*back(dp.logit)[1:], dp.logit), None, None)


NETWORK = SimpleNamespace(reverse_vjp=_reverse_vjp)
PARAMETERS = Take(lambda i: (i["model"].weight, i["model"].bias, np.zeros(())),
                  lambda i, d: dict(zip(("weight", "bias", "output"), d)))


def _at(x_t: Array, i: Inputs) -> SimpleNamespace:
    """The binomial kernel whose draw is x_t."""
    given = {"draw": lambda q, noise: x_t, "draw_vjp": lambda q, noise: (x_t, None)}
    return SimpleNamespace(**vars(fix(binomial, rate=i["rate"])) | given)


STEP_KL = Theory(bound.network_kl, bound.network_kl_vjp, PARAMETERS, fixed=("beta", "x_0", "t"), noise=lambda i: i["x_t"],
                 kernel=lambda i: _at(i["x_t"], i), network=lambda i: NETWORK)


def _bound(i: Inputs) -> tuple[Array, ...]:
    """K of the terms, of which the adapter's own divergences take the place of ours where they are shown."""
    T, x_0 = len(i["beta"]) - 1, i["x_0"]
    t = bound.every_step(T, len(x_0))
    x_t = i["x_t"][t[:, 0] - 1]
    parts = as_planted(bound.terms)(PARAMETERS.make(i), i["beta"], x_0, noise=x_t, t=t, network=NETWORK,
                                    kernel=_at(x_t.reshape(-1, *x_0.shape[1:]), i))
    return (as_planted(bound.assemble)(parts._replace(kl=i["own_kl"][0]) if "own_kl" in i else parts, T=T),)


def _own_kl(i: Inputs, ask: Ask) -> Inputs:
    count = len(i["x_0"])
    found = [own(ask, "binomial_step_kl", i | {"x_t": i["x_t"][t - 1], "t": np.full(count, t)}) for t in range(2, len(i["beta"]))]
    return shown(own_kl=None if not found or None in found else (np.array([value[0] for value in found if value]),))


# -- the clauses -----------------------------------------------------------------------------------------------------------

def _step_kl(i: Inputs) -> E:
    said = book.of_prob(book.sigmoid(linear(X_T, gathered("weight"), gathered("bias"))))
    return book.step_kl(X_T, X_0, row(), R, said)


def _K(i: Inputs) -> tuple[E, ...]:
    kl = total(given("own_kl"), "answers", (0,)) if "own_kl" in i else _step_kl(i)
    return (book.bound(kl, X_0, row(at=1), row(at="T"), R),)


def _steps(i: Inputs) -> Page:
    """Rows are t = 2..T."""
    found = page_of(i, x_t=i["x_t"][1:])
    return Page(found.given, beta=i["beta"], t=np.arange(2, len(i["beta"])), ndim=3, steps=True)


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "binomial_step_kl", "BIT.STEP", "KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) of bits, t ≥ 2, π(1) = rate; the "
        "model's output is the logit of p(x_{t−1} = 1 | x_t)", ("14", "App.1 B bound"), TOTAL, _step_inputs, _step_edges, STEP_KL,
        lambda i: (_step_kl(i),), arguments=("output", "weight", "bias")),
    Quantity(
        "binomial_bound", "BIT.K", "K = −Σ_{t=2}^T KL + H(x_T | x_0) − H(x_1 | x_0) − H(π) of bits, π(1) = rate, x_t (T, N, …) "
        "given, x_t[t−1] for t; the model's output is the logit of p(x_{t−1} = 1 | x_t)", ("14", "App.1 B bound"), TOTAL, _paths,
        _path_edges, ByHand(_bound), _K, given=_own_kl, after=("binomial_step_kl",), page=_steps),
)


# -- the read-outs and the heartbeat's network at the ends of the range ----------------------------------------------------

SHARES = chosen(0.5, 0.2, 0.01)
OFF, FAR = wide(1e-6, 40.0, signs=BOTH), wide(1e-12, 600.0, signs=(-1,))           # heads, and levels whose products do not vanish


def _network(last: str) -> Sampler:
    """Two hidden layers, three bits, six rows at their own steps, the last step a fresh draw."""
    def drawn(rng: np.random.Generator, n: int) -> Case:
        T = 4
        beta, t = np.array([0.0, *wide(1e-12, 0.9)(rng, T - 1), 1.0]), rng.integers(2, T + 1, 6)
        hidden = tuple(Affine(rng.normal(size=shape), rng.normal(size=shape[1])) for shape in ((3, 4), (4, 5)))
        shape = (T + 1, 5, 3) if last == "per_step" else (5, 3 * COUNT)
        parameters = Heartbeat(hidden, rng.normal(size=shape) * 3, rng.normal(size=shape[:-2] + shape[-1:]))
        with np.errstate(divide="ignore"):
            step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=2)
        return (parameters, rng.integers(0, 2, (6, 3)).astype(float), step), {"t": t, "T": T, "rate": 0.01, "last": last}
    return drawn


ENDS = {
    "networks.bit_readout.paper": ends(HEAD), "networks.bit_readout.skip": ends(HEAD, BIT, rates, rate=SHARES),
    "networks.bit_readout.denoising": ends(OFF, BIT, rates, FAR, rate=SHARES),
    "networks.bit_readout.read_out": tuple(
        ends(OFF, BIT, law(Step, rates, FAR, FAR), rate=SHARES, readout=readout) for readout in READOUTS),
    "networks.heartbeat.reverse": tuple(map(_network, ("per_step", "bumps")))}


# -- mistakes ------------------------------------------------------------------------------------------------------------

_SPEC = "the table prints ½, the experiment has 0.2"
_UNIT = "horenbergerb/BernoulliDiffusion@"


def _after(level: Array, beta: Array) -> Array:
    """ℓ_t from ℓ_{t−1}."""
    return level + np.log1p(-np.minimum(beta, 1 - 1e-12))


def _of_x_0(z: Array, x_t: Array, beta: Array, level: Array, rate: float) -> Array:
    """P(x_0 = 1 | x_t)."""
    return sigmoid(binomial.marginal(x_t, _after(level, beta), rate=rate).logit + z)


def _posterior_at(x_0: Callable[[Array], Array]) -> Callable[..., Bernoulli]:
    """The posterior at one x_0, made of P(x_0 = 1 | x_t)."""
    def denoising(p: Bernoulli, z: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, rate: float) -> Bernoulli:
        said = x_0(_of_x_0(z, x_t, beta, log_alpha_bar_prev, rate))
        return binomial.posterior(x_t, said, beta, log_alpha_bar_prev, rate=rate)
    return denoising


def _unseen(p: Bernoulli, z: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, rate: float) -> Bernoulli:
    return binomial.marginal(_of_x_0(z, x_t, beta, log_alpha_bar_prev, rate), log_alpha_bar_prev, rate=rate)


def _by_probabilities(p: Bernoulli) -> Bernoulli:
    return Bernoulli(logit(np.clip(p.prob, 1e-10, 1 - 1e-7)))


in_denoising, in_skip = of("networks.bit_readout.denoising"), of("networks.bit_readout.skip")
in_reverse, in_denoising_vjp = of("networks.heartbeat.reverse_vjp"), of("networks.bit_readout.denoising_vjp", "gradient")

WRONG_READOUTS = (
    in_denoising("NEW-PLUG", "P(x_0 | x_t) in the place of x_0 in the posterior → the posterior averaged over x_0",
            "normalised after the average instead of before; x_t counts twice", then(_posterior_at(lambda p: p))),
    in_denoising("NEW-ARGMAX", "the likelier x_0 taken for certain → both, weighted", "the average ignored",
            then(_posterior_at(lambda p: (p > 0.5).astype(float)))),
    in_denoising("DIS-11", "q(x_{t−1} | x̂_0) without x_t's evidence → times q(x_t | x_{t−1})",
            "ehoogeboom/multinomial_diffusion#7", then(_unseen)),
    in_denoising("NEW-LEVEL-X0", "x̂_0 mixed at ᾱ_t → at ᾱ_{t−1}", "an index, as in SCH-01", told(log_alpha_bar_prev=_after)),
    in_denoising("NEW-PRIOR-X0", "sigmoid(z) for x̂_0 → sigmoid(logit r + z)", _SPEC,
            told(z=lambda z, rate: z - logit(np.asarray(rate)))),
    in_denoising("NEW-RATEe", "denoising in the chain with rate ½ → with the rate of π", _SPEC, told(rate=0.5)),
    in_denoising("DIS-04b", "averaged probabilities cut off at 1e-10 and 1 − 1e-7 → logits, cut off nowhere", _UNIT + "3d1f72a",
            then(_by_probabilities)),
    in_skip("NEW-SKIP", "z alone → added to the forward kernel's logit", "the literal f_b",
            instead(lambda z, x_t, beta, *, rate=0.5: Bernoulli(z))),
    in_skip("NEW-SKIP-SIGN", "z subtracted from the forward kernel's logit → added", "a sign", edited("minus for plus before z")),
    in_skip("NEW-RATEf", "skip over the kernel with rate ½ → with the rate of π", _SPEC, told(rate=0.5)),
    in_skip("NEW-SKIP-STATE", "skip by β(2x − 1) → by the kernel's log odds", "a hand-made skip, as in " + _UNIT + "HEAD",
            instead(lambda z, x_t, beta, *, rate=0.5: Bernoulli((2 * x_t - 1) * (1 - beta) + z))),
    Mistake("DIS-10b", "log sigmoid(z) taken for the logit → z", "cloneofsimo/d3pm#7", "networks.bit_readout.paper", "value",
            instead(lambda z: Bernoulli(-softplus(-z)))),
    Mistake("NEW-FLIP-Z", "f_b the probability of a flip → of a one", "the name in the paper's §2.2", "networks.bit_readout.paper",
            "value", instead(lambda z: Bernoulli(-z))),
)


def _unscaled(parameters: Heartbeat, rate: float) -> Heartbeat:
    """The first layer's weights and bias changed so that it sees the bits themselves."""
    (weight, bias), *others = parameters.hidden
    first = Affine(np.sqrt(rate * (1 - rate)) * weight, bias + rate * weight.sum(axis=0))
    return parameters._replace(hidden=(first, *others))


WRONG_NETWORKS = (
    in_reverse("NEW-HEAD-T", "read-out of step t − 1 at step t → of t", "code index t − 1, PAPER §6 item 6",
            told(t=lambda t: np.maximum(t - 1, 2))),
    in_reverse("SHP-08b", "one t for all rows → each row's own", "youngunghan/Deep-Unsupervised-…@fa1712e",
            told(t=lambda t: np.full_like(t, t[0]))),
    in_reverse("DIS-17", "bits as ±1 for the layers, in training only → the same bits everywhere", "Edward-Sun/DIFUSCO#17",
            told(x_t=lambda x_t: 2 * x_t - 1)),
    in_reverse("NEW-STANDARD", "bits as they are → standardised with their moments under π", "a scale of training forgotten",
            told(parameters=_unscaled)),
    in_reverse("NEW-BIAS-TANH", "hidden layers without biases → with them", "a layer built with bias off",
            told(parameters=lambda parameters: parameters._replace(
                 hidden=tuple(Affine(weight, 0 * bias) for weight, bias in parameters.hidden)))),
    Mistake("NEW-INIT", "hidden weights of variance 1/out → 1/in", "fan-out for fan-in", "networks.heartbeat.init", "value",
            then(lambda start: start._replace(hidden=tuple(
                Affine(weight * np.sqrt(weight.shape[0] / weight.shape[1]), bias) for weight, bias in start.hidden)))),
    Mistake("NEW-INIT-LAST", "last layer random → zero, so that training starts from the forward kernel", "PAPER §6 item 13",
            "networks.heartbeat.init", "value", then(lambda start: start._replace(bias=start.bias + 0.1))),
)


def _without_layers(right: Callable[..., Any]) -> Callable[..., Any]:
    """The cotangent of x_t of a network whose layers do not see it."""
    def reverse_vjp(parameters: Heartbeat, x_t: Array, step: Step, **named: Any) -> Any:
        (weight, bias), *others = parameters.hidden
        blind = right(parameters._replace(hidden=(Affine(0 * weight, bias), *others)), x_t, step, **named)
        return pulled_to(x_t=lambda dp: blind[1](dp)[1])(right)(parameters, x_t, step, **named)
    return reverse_vjp


WRONG_PULLBACKS = (
    in_denoising_vjp("GRD-01j", "denoising's x_t detached → differentiated", "GRD-01c for bits", pulled(x_t=zero)),
    in_denoising_vjp("GRD-01k", "denoising's ᾱ_{t−1} detached → differentiated", "GRD-01b for bits",
            pulled(log_alpha_bar_prev=zero)),
    in_denoising_vjp("NEW-DHEAD", "dlogit taken for dz, as with the skip → through x̂ and the posterior",
            "the other read-out's gradient", pulled_to(z=lambda dp: dp.logit)),
    Mistake("GRD-01l", "skip's β detached → differentiated", "GRD-01b for bits", "networks.bit_readout.skip_vjp", "gradient",
            pulled(beta=zero)),
    Mistake("NEW-DPAPER", "dlogit times p(1−p) → dlogit", "the gradient by the probability", "networks.bit_readout.paper_vjp",
            "gradient", pulled_by(lambda dp, z: dp.logit * sigmoid(z) * sigmoid(-z))),
    Mistake("NEW-DNAMED", "ℓ_{t−1}'s cotangent handed to ℓ_t → to ℓ_{t−1}", "an index, as in SCH-01",
            "networks.bit_readout.read_out_vjp", "gradient",
            pulled(step=lambda d: Step(d.beta, d.log_alpha_bar, d.log_alpha_bar_prev))),
    Mistake("GRD-01m", "network's x_t detached from the skip → both paths", "one of two cotangents lost",
            "networks.heartbeat.reverse_vjp", "gradient", _without_layers),
    Mistake("NEW-DBIAS", "biases of the last layer without a gradient → with one", "a parameter left out of the list",
            "networks.heartbeat.reverse_vjp", "gradient", pulled(parameters=without("bias"))),
)
