"""A whole chain of symbols: whether it leads where the adapter's own reverse steps lead, one after another with given noise.

Classes are whole numbers, so that an error of a step shows only now and then; the steps themselves are judged in `categorical`.
What may go wrong besides is which steps are taken, with which noise, and what the network is told.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from refdpm.conformance.adapter import Fault, Network, Skip
from refdpm.conformance.chapters.categorical import SOURCE, positive, stationary
from refdpm.conformance.chapters.inputs import D, Given, Inputs, exactly, rates
from refdpm.conformance.chapters.quantity import Finding, Law
from refdpm.conformance.planting import Mistake, of, then, told
from refdpm.conformance.precision import UNITS
from refdpm.later import categorical
from refdpm.later.categorical import Categorical
from refdpm.vjp import Array

RATES = rates([0.25, 0.375, 0.5, 0.625])
ROWS = 200                      # so many, because one shows little of how a class is drawn
LONG = 50                       # steps of a chain that is walked step by step
MOST_ARE_SURE = 0.5             # of the symbols
NEAR = 1e-4                     # a share by which one class wins over another, that rounding may take away


def chain_of(i: Mapping[str, Any]) -> Array:
    """x_0 by the chain of this package."""
    *_, (_, x_0) = categorical.path(i["beta"], symbols=i["x_t"], network=i["network"], noise=i["uniform"], mixing=i["mixing"],
                                    law=stationary(i))
    return x_0


def _chain_inputs(given: Given, seed: int) -> Inputs:
    """Rows that begin with every class, and at the last of them, the mask, more often."""
    beta, K = RATES if given.beta is None else given.beta, given.classes or 3
    rng, n = np.random.default_rng(seed), np.arange(ROWS)[:, None] + np.arange(D)
    network = Network("logits", exactly(rng.uniform(-1.5, 1.5, K)), exactly(rng.uniform(-6, 6, (K, K))))
    uniform = exactly(rng.uniform(0.02, 0.98, (len(beta) - 1, ROWS, D, K)))
    return {"x_t": np.where(n % 2 == 0, K - 1, n // 2 % K), "uniform": uniform, "network": network, "beta": beta, "classes": K,
            "law": positive(list(range(0, 7 * (K - 1), 7)))}


class Way(NamedTuple):
    """How a chain is walked: to which t, with the noise of which step, what the network is told, and where a step begins."""

    last: int = 1
    noise: Callable[[int, int], int] = lambda t, T: t
    told: Callable[[int, int], int] = lambda t, T: t
    likeliest: Callable[[int], bool] = lambda t: False
    from_x_T: bool = False


RIGHT = (Way(), Way(likeliest=lambda t: t == 1))                     # some do not draw x_0
WRONG = {
    "the last step is left out": Way(last=2),
    "every step takes the noise of the first": Way(noise=lambda t, T: T),
    "every step takes the noise of the last": Way(noise=lambda t, T: 1),
    "the first step takes the noise of the last, and so on": Way(noise=lambda t, T: T + 1 - t),
    "the network is told the t to which a step goes": Way(told=lambda t, T: max(t - 1, 1)),
    "the network is told t + 1": Way(told=lambda t, T: min(t + 1, T)),
    "every step takes the class that is likeliest, and draws none": Way(likeliest=lambda t: True),
    "every step is taken from the state with which the chain starts": Way(from_x_T=True)}


def _walked(subject: Any, i: Inputs, way: Way) -> tuple[Array, Array]:
    """x_0 by the adapter's own reverse steps, and its own draw if it has one; and which symbols no rounding changes."""
    T, x_t, sure = len(i["beta"]) - 1, i["x_t"], np.full(i["x_t"].shape, True)
    for t in range(T, way.last - 1, -1):
        at, x_t = np.full(len(x_t), t), i["x_t"] if way.from_x_T else x_t
        logits = i["network"](x_t, np.full(len(x_t), way.told(t, T)))
        law, = subject.ask("categorical_reverse", {"logits": logits, "x_t": x_t, "t": at, **{
            name: i[name] for name in ("beta", "classes", "law")}}).values
        uniform = i["uniform"][way.noise(t, T) - 1]
        wins = law if way.likeliest(t) else law / -np.log(uniform)
        *_, second, first = np.moveaxis(np.sort(wins, axis=-1), -1, 0)
        sure &= first - second > NEAR * first
        x_t = np.argmax(wins, axis=-1) if way.likeliest(t) else _drawn(subject, law, uniform)
    return x_t, sure


def _drawn(subject: Any, law: Array, uniform: Array) -> Array:
    if "categorical_draw" not in subject.functions:
        return categorical.draw(Categorical(law), noise=uniform)
    drawn, = subject.ask("categorical_draw", {"law_p": law.reshape(-1, law.shape[-1]),
                                              "uniform": uniform.reshape(-1, law.shape[-1])}).values
    return drawn.astype(np.int64).reshape(law.shape[:-1])


def _chain(subject: Any, given: Given, seed: int) -> Finding:
    """Whether a chain leads where its steps lead, one after another; or else which wrong way leads there.

    Raises: Skip where the steps leave most symbols in doubt, or where every wrong way would lead there too.
    """
    i = _chain_inputs(given, seed)
    if len(i["beta"]) > LONG:
        raise Skip(f"a chain of {len(i['beta']) - 1} steps is too long to be walked step by step")
    if UNITS.get(subject.source.dtype, 0.0) > NEAR:
        raise Skip("in half a precision too many classes are as likely as another one")
    came = np.asarray(subject.raw("categorical_sample", subject.arguments("categorical_sample", i)))
    if came.shape != i["x_t"].shape:
        raise Fault(f"returns shape {came.shape}, expected {i['x_t'].shape}: the number of a class for each symbol")

    def misses(way: Way) -> int:
        right, sure = _walked(subject, i, way)
        if not np.mean(sure) > MOST_ARE_SURE:
            raise Skip("its reverse steps do not say which class most symbols become")
        return int(np.sum((came != right) & sure))

    missed = min(map(misses, RIGHT))
    if not missed:
        if not any(map(misses, WRONG.values())):
            raise Skip("wrong ways through its steps lead to the same symbols, so that nothing is shown")
        return Finding(0.0)
    name = next((f": {says}" for says, way in WRONG.items() if not misses(way)), "")
    return Finding(np.inf, f"{missed} of {came.size} symbols are not those to which the steps of categorical_reverse lead{name}", i)


LAWS: tuple[Law, ...] = (
    Law("CAT.CHAIN", "categorical_sample(network, x_t, uniform): x_0 by T steps of categorical_reverse, beginning at the symbols "
        "x_t = x_T, with logits = network(x_t, t); uniform (T, N, D, K) draws as in categorical_draw, uniform[t−1] the step from "
        "t, of which the last may take the likeliest class instead; beta, classes and law are those of categorical_reverse.  What "
        "is wrong with a step or a draw is not held against it",
        SOURCE, ("categorical_sample", "categorical_reverse"), _chain, ("later.categorical.path",)),
)


# -- mistakes ----------------------------------------------------------------------------------------------------------

in_chain: Callable[..., Mistake] = of("later.categorical.path")

MISTAKES = (
    in_chain("CAT-CHAIN-T", "the network told t − 1 → t", "t counted from 0 in one place", told(
        network=lambda network: lambda x_t, t: network(x_t, np.maximum(t - 1, 1)))),
    in_chain("CAT-CHAIN-END", "the last step left out → taken", "a range that ends one step early", then(
        lambda path: list(path)[:-1])),
    in_chain("CAT-CHAIN-NOISE", "the same noise in every step → each its own", "a random key that is not split", told(
        noise=lambda noise: np.broadcast_to(noise[-1:], noise.shape))),
)
