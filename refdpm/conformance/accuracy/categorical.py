"""The accuracy of the chain for symbols: soft symbols with classes down to 1e-12, ᾱ from 1 − 1e-12 down to e^−700."""

import numpy as np

from refdpm import activation
from refdpm.conformance.accuracy.common import BELOW, LEVEL, Formula, Generator, Groups, formulas, independent, some_rates, wide
from refdpm.later import categorical
from refdpm.later.categorical import Categorical
from refdpm.oracles import decimals_categorical
from refdpm.vjp import Array

_PART = wide(1e-12, 1.0, 0.0)
_LOGIT = wide(1e-6, 300.0, 0.0, signs=(-1, 1))


def _symbols(*parts: Array) -> Array:
    return np.stack(parts, axis=-1)


def _first(p: Categorical) -> Array:
    return p.prob[:, 0]


def _posterior(a: Array, b: Array, c: Array, p: Array, q: Array, r: Array, beta: Array, level: Array) -> Array:
    return _first(categorical.posterior(_symbols(a, b, c), _symbols(p, q, r), beta[:, None], level[:, None]))


def _law(a: Array, share: Array) -> Categorical:
    return Categorical(_symbols(a, (1 - a) * share, (1 - a) * (1 - share)))


def _some_part(rng: Generator, n: int) -> Array:
    return np.maximum(_PART(rng, n), 1e-12)


FORMULAS = {
    "categorical": (
        Formula("categorical.transition stays", lambda beta: categorical.transition(beta, classes=3)[:, 0, 0],
                decimals_categorical.stays, independent(beta=some_rates)),
        Formula("categorical.transition changes", lambda beta: categorical.transition(beta, classes=3)[:, 0, 1],
                decimals_categorical.changes, independent(beta=some_rates)),
        Formula("categorical.cumulative stays", lambda level: categorical.cumulative(level, classes=3)[:, 0, 0],
                decimals_categorical.stayed, independent(level=LEVEL)),
        Formula("categorical.cumulative changes", lambda level: categorical.cumulative(level, classes=3)[:, 0, 1],
                decimals_categorical.changed, independent(level=BELOW)),
        Formula("categorical.marginal", lambda a, b, c, level: _first(categorical.marginal(_symbols(a, b, c), level[:, None])),
                decimals_categorical.marginal, independent(a=_PART, b=_PART, c=_some_part, level=BELOW)),
        Formula("categorical.posterior", _posterior, decimals_categorical.posterior, independent(
            a=_PART, b=_PART, c=_some_part, p=_PART, q=_PART, r=_some_part, beta=some_rates, level=BELOW)),
        Formula("activation.softmax of three", lambda a, b, c: activation.softmax(_symbols(a, b, c))[:, 0],
                decimals_categorical.softmax, independent(a=_LOGIT, b=_LOGIT, c=_LOGIT)),
        Formula("categorical.kl", lambda a, p, share: categorical.kl(_law(a, share), _law(p, share)), decimals_categorical.kl,
                independent(a=wide(1e-9, 0.9), p=wide(1e-9, 0.9), share=wide(1e-3, 0.5))),
    ),
}
GROUPS: Groups = {group: formulas(rows) for group, rows in FORMULAS.items()}
