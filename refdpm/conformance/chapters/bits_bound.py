"""K for bits: the divergence of a step and the sum.

The network puts out the logit of p(x_{t−1} = 1 | x_t).  The states x_t are given and not drawn: a bit on the edge would fall on
either side in different precisions.  π has the rate r of ones.
"""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import binomial, bound, schedule
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters.bound import own, shown, tame_first
from refdpm.conformance.chapters.ends import BIT, BOTH, HEAD, Case, Sampler, chosen, ends, law, rate, wide
from refdpm.conformance.chapters.inputs import (D, N, Given, Inputs, Strategy, edge_network, network, schedules, times_of)
from refdpm.conformance.chapters.quantity import Ask, ByHand, Output, Quantity, page_of
from refdpm.conformance.chapters.theory import Take, Theory, as_planted
from refdpm.layers import temporal
from refdpm.layers.bit_readout import READOUTS
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
    return ((beta, rate) for rates in (RATES[:1] * len(betas), RATES[2:]) for beta, rate in zip(betas, rates))


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


# -- the read-outs, the bumps and the heartbeat's network at the ends of the range ------------------------------------------

SHARES = chosen(0.5, 0.2, 0.01)
OFF, FAR = wide(1e-6, 40.0, signs=BOTH), wide(1e-12, 600.0, signs=(-1,))           # heads, and levels whose products do not vanish


def _bumps(basis: str) -> Sampler:
    """T up to 1000, at both ends and between, of ten bumps."""
    def drawn(rng: np.random.Generator, n: int) -> Case:
        T = rng.choice([2, 9, 40, 1000], n)
        return (np.ceil(rng.choice([0.0, rng.random(), 1.0], n) * (T - 1) + 1),), {"T": T, "count": COUNT, "basis": basis}
    return drawn


def _mixtures(rng: np.random.Generator, n: int) -> Case:
    return (rng.normal(size=(n, 2, COUNT)),), {"g": temporal.bumps(rng.integers(1, 41, n), T=40, count=COUNT)}


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
    "layers.bit_readout.paper": ends(HEAD), "layers.bit_readout.skip": ends(HEAD, BIT, rate, rate=SHARES),
    "layers.bit_readout.denoising": ends(OFF, BIT, rate, FAR, rate=SHARES),
    "layers.bit_readout.read_out": tuple(
        ends(OFF, BIT, law(Step, rate, FAR, FAR), rate=SHARES, readout=readout) for readout in READOUTS),
    "layers.temporal.bumps": tuple(map(_bumps, temporal.BASES)), "layers.temporal.temporal": _mixtures,
    "networks.heartbeat.reverse": tuple(map(_network, ("per_step", "bumps")))}
