"""The ends of the range on which a pair is judged in digits: magnitudes over many decades, corners of different arguments meeting.

    ENDS = {"gaussian.marginal": ends(STATE, LEVEL)}

says for each positional argument of a pair how its numbers are drawn; every row is a case of its own, in arrays (n, 1).  A pair
may have several.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.vjp import Array, tree_map

Sampler = Callable[[np.random.Generator, int], Any]
Case = tuple[tuple[Any, ...], dict[str, Any]]


def ends(*samplers: Sampler, **fixed: Any) -> Sampler:
    """Cases of n rows, every argument from a sampler of its own; a keyword may be one too."""
    def drawn(rng: np.random.Generator, n: int) -> Case:
        arguments = tuple(_columns(sampler(rng, n)) for sampler in samplers)
        return arguments, {name: _columns(value(rng, n)) if callable(value) else value for name, value in fixed.items()}
    return drawn


def together(sampler: Sampler) -> Sampler:
    """Cases whose arguments belong together: the sampler draws a tuple of them."""
    return lambda rng, n: (tuple(map(_columns, sampler(rng, n))), {})


def _columns(tree: Any) -> Any:
    return tree_map(lambda x: np.asarray(x)[:, None], tree)


def law(kind: Callable[..., Any], *samplers: Sampler) -> Sampler:
    """A named tuple whose fields are drawn: law(Gaussian, STATE, VARIANCE)."""
    return lambda rng, n: kind(*(sampler(rng, n) for sampler in samplers))


def wide(low: float, high: float, *corners: float, signs: tuple[int, ...] = (1,)) -> Sampler:
    """Magnitudes spread evenly over the decades from `low` to `high`, each with one of the `signs`; one in four is an end of the
    range or another corner."""
    edges = [sign * edge for sign in signs for edge in (low, high)] + list(corners)

    def drawn(rng: np.random.Generator, n: int) -> Array:
        found = rng.choice(signs, n) * np.exp(rng.uniform(np.log(low), np.log(high), n))
        return np.where(rng.random(n) < 0.25, rng.choice(edges, n), found)

    return drawn


def rate(rng: np.random.Generator, n: int) -> Array:
    """β from 1e-15 to 1, as near to 1 as 1 − 1e-6."""
    return np.where(rng.random(n) < 0.6, wide(1e-15, 0.5)(rng, n), 1 - wide(1e-6, 0.5, 0.0)(rng, n))


def chosen(*values: float) -> Sampler:
    """Some of a few numbers."""
    return lambda rng, n: rng.choice(values, n)


def near_zero(low: float, high: float) -> Sampler:
    """Between `low` < 0 and `high`, down to ±1e-15."""
    return lambda rng, n: np.where(rng.random(n) < 0.5, rng.uniform(low, high, n),
                                   np.clip(wide(1e-15, 1.0, 0.0, signs=BOTH)(rng, n), low, high))


BOTH = (-1, 1)
ZERO = chosen(0.0)
STATE = wide(1e-6, 1e6, 0.0, 1.0, signs=BOTH)
HEAD = wide(1e-6, 40.0, 0.0, signs=BOTH)
REAL = wide(1e-9, 800.0, 0.0, -37.0, -709.0, -745.0, signs=BOTH)
LEVELS = wide(1e-12, 700.0, -0.0, signs=(-1,))                  # ℓ; 0 is the level before the first step
BELOW = wide(1e-12, 700.0, signs=(-1,))                        # ℓ after one step at least
VARIANCE = wide(1e-12, 1e6, 1.0)
LOGIT = wide(1e-6, 60.0, 0.0, signs=BOTH)
BIT = chosen(0.0, 1.0)


def close_laws(rng: np.random.Generator, n: int) -> tuple[Array, Array, Array, Array]:
    """Means and variances of two normal laws: unrelated, in a ratio of 0.1 to 2, and in ratios down to 1 ± 1e-15."""
    mean, var = STATE(rng, n), VARIANCE(rng, n)
    ratio = np.select([rng.random(n) < p for p in (0.2, 0.5)], [VARIANCE(rng, n), rng.uniform(0.1, 2, n)],
                      1 + wide(1e-15, 0.9, 0.0, -0.5, 0.5, signs=BOTH)(rng, n))
    return mean + wide(1e-9, 1e3, 0.0, 0.0, 0.0, signs=BOTH)(rng, n) * np.sqrt(var), var * ratio, mean, var


def logits_around_one_apart(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Two logits of which neither is certain, where the way to their divergence changes from series to softplus."""
    q = rng.uniform(-3, 3, n)
    return q, q + rng.choice(BOTH, n) * rng.uniform(0.9, 2, n)


def close_logits(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Two logits: unrelated, with differences around 1, and down to 1e-12."""
    q = np.where(rng.random(n) < 0.3, rng.uniform(-3, 3, n), LOGIT(rng, n))
    p = q + np.select([rng.random(n) < 0.2, rng.random(n) < 0.3], [rng.uniform(-3, 3, n), rng.choice([-1.001, -1, 1, 1.001], n)],
                      wide(1e-12, 3.0, 0.0, signs=BOTH)(rng, n))
    return q, np.where(rng.random(n) < 0.2, LOGIT(rng, n), p)
