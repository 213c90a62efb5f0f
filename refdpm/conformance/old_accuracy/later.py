"""The accuracy of what came after the paper: ᾱ from 1 − 1e-12 down to e^−700, bins from 1e-9 to 1e3 deviations wide."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refdpm.conformance.accuracy.common import (BELOW, BOTH, LEVEL, STATE, Formula, Generator, Groups, Point,
                                                formulas, independent, some_rates, wide)
from refdpm.gaussian import Gaussian
from refdpm.later import decoder, mean, objective, parametrisation, sampler, variance, weights
from refdpm.later.decoder import Grid
from refdpm.oracles import decimals_later
from refdpm.vjp import Array

_NORMAL = wide(1e-12, 300.0, signs=(-1,))                   # two powers of ᾱ stay above the smallest number
_GRIDS = (Grid(), Grid(0.0, 1.0, 2), Grid(-0.3, 11.0, 17))


def _rates_below_1(rng: Generator, n: int) -> Array:
    return np.minimum(some_rates(rng, n), 1 - 1e-6)


def _converts(name: str) -> Formula:
    """A conversion at one level."""
    return Formula(f"parametrisation.{name}", lambda *x: getattr(parametrisation, name)(*x), getattr(decimals_later, name),
                   independent(prediction=STATE, x_t=STATE, log_alpha_bar=BELOW))


def _averages(name: str, rates: Callable[[Generator, int], Array], levels: Callable[[Generator, int], Array] = LEVEL) -> Formula:
    """A conversion to or from the mean of a step."""
    return Formula(f"mean.{name}", lambda *x: getattr(mean, name)(*x), getattr(decimals_later, name),
                   independent(prediction=STATE, x_t=STATE, beta=rates, log_alpha_bar_prev=levels))


def _weighs(name: str, predicts: str) -> Formula:
    """A weight for one kind of prediction."""
    return Formula(f"weights.{name} {predicts}", lambda *x: getattr(weights, name)(*x, predicts=predicts),
                   lambda *x: getattr(decimals_later, name)(predicts, *x),
                   independent(beta=_rates_below_1, log_alpha_bar_prev=_NORMAL))


def _first(beta_1: Array, beta_2: Array) -> Array:
    return np.array([variance.first(np.array([0.0, b, c]), policy="next")[0] for b, c in zip(beta_1, beta_2)])


FORMULAS = {
    "later": (
        *map(_converts, ("x_0_from_noise", "x_0_from_v", "x_0_from_score", "noise_from_x_0", "v_from_x_0", "score_from_x_0")),
        _averages("x_0_from_mean", some_rates), _averages("mean_from_x_0", some_rates),
        _averages("mean_from_noise", _rates_below_1), _averages("mean_from_v", some_rates),
        Formula("mean.mean_from_score", lambda *x: mean.mean_from_score(*x), decimals_later.mean_from_score,
                independent(score=STATE, x_t=STATE, beta=_rates_below_1)),
        Formula("weights.snr", lambda level: weights.snr(level), decimals_later.snr, independent(log_alpha_bar=BELOW)),
        *(_weighs(name, predicts) for name in ("error_weight", "kl_weight") for predicts in decimals_later.PREDICTIONS),
        Formula("weights.kl_of_x_0", lambda *x: weights.kl_of_x_0(*x), decimals_later.kl_of_x_0,
                independent(x_0=STATE, guess=STATE, beta=some_rates, log_alpha_bar_prev=_NORMAL)),
        Formula("variance.small", lambda *x: variance.small(*x), decimals_later.small,
                independent(beta=some_rates, log_alpha_bar_prev=LEVEL)),
        Formula("variance.first", _first, decimals_later.next_variance, independent(beta_1=_rates_below_1, beta_2=some_rates)),
        Formula("variance.ranged", lambda *x: variance.ranged(*x), decimals_later.ranged,
                independent(head=wide(1e-6, 8.0, -1.0, 1.0, 0.0, signs=BOTH), beta=some_rates, small=wide(1e-20, 1.0))),
        Formula("objective.prior_kl", lambda *x: objective.prior_kl(*x), decimals_later.prior_kl,
                independent(x_0=STATE, log_alpha_bar=BELOW)),
        Formula("objective.edge", lambda *x: objective.edge(*x), decimals_later.edge, independent(x_0=STATE, beta_1=some_rates)),
        Formula("objective.per_dimension", lambda nats, n: np.array(
            [objective.per_dimension(x, k=np.zeros((1, int(m)))) for x, m in zip(nats, n)]), decimals_later.per_dimension,
                independent(nats=STATE, components=lambda rng, n: rng.integers(1, 50, n).astype(float))),
        Formula("sampler.jump", lambda *x: sampler.jump(*x[:4], eta=x[4]), decimals_later.jump,
                independent(x_0=STATE, x_t=STATE, beta=some_rates, log_alpha_bar_prev=BELOW, eta=wide(1e-3, 1.0, 0.0))),
    ),
}


def _decoder(rng: Generator, n: int) -> Iterator[Point]:
    """Every level of three grids, from laws of every width at every distance: open, narrow and wide bins."""
    sizes, distances = wide(1e-3, 1e9)(rng, n // 5), wide(1e-3, 300.0, 0.0, signs=BOTH)(rng, n // 5)
    for size, distance in zip(sizes, distances):
        grid = _GRIDS[rng.integers(3)]
        k = int(rng.choice([0, 1, grid.levels // 2, grid.levels - 1])) % grid.levels
        x, half, end = float(decoder.level(np.array(k), grid=grid)), grid.width / 2, 1 if k == 0 else -(k == grid.levels - 1)
        if 37 < 0.5 / size + abs(distance) < 39:                    # masses that miss 1 by less than the smallest normal number
            continue
        var = (grid.width * size) ** 2
        where: dict[str, Any] = dict(k=k, grid=grid, mean=x + distance * var ** 0.5, var=var)
        p = Gaussian(np.array([where["mean"]]), np.array([var]))
        yield Point("decoder.log_mass", decoder.log_mass(p, k=np.array([k]), grid=grid)[0],
                    decimals_later.log_mass(x, half, float(end), where["mean"], var), where)
        yield Point("decoder.level", x, decimals_later.level(float(k), grid.low, grid.high, float(grid.levels)), where)


def _chains(rng: Generator, n: int) -> Iterator[Point]:
    """Steps taken together, and terms added."""
    for _ in range(n // 50):
        T = int(rng.choice([1, 5, 200]))
        beta = np.append(0.0, wide(1e-12, 0.9)(rng, T))
        beta[T] = rng.choice([beta[T], 1.0])
        times = np.unique(np.append(rng.integers(1, T + 1, 4), T))
        got = sampler.respaced(beta, times=times)
        for i, (low, high) in enumerate(zip([0, *times], times)):
            yield Point("sampler.respaced", got[i + 1], decimals_later.respaced(beta[low + 1:high + 1].tolist()),
                        dict(T=T, low=int(low), high=int(high)))
        parts = objective.Terms(STATE(rng, 1), STATE(rng, 3)[:, None], STATE(rng, 1))
        yield Point("objective.assemble", objective.assemble(parts, T=T)[0],
                    decimals_later.assembled(parts.prior[0], parts.kl[:, 0].tolist(), parts.decoder[0], T), dict(terms=parts, T=T))


GROUPS: Groups = {**{group: formulas(rows) for group, rows in FORMULAS.items()}, "decoder": _decoder, "respaced": _chains}
