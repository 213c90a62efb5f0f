"""Every formula of the package is accurate to a few roundings, and the measure notices one that is not."""

from decimal import Decimal

import numpy as np
import pytest
from scipy.special import log1p

from refdpm import bound, gaussian, schedule
from refdpm.conformance.accuracy import FORMULAS, LIMIT, SMALLEST, UNIT, accuracy, units
from refdpm.gaussian import Gaussian
from refdpm.layers import activation, rbf, readout
from refdpm.oracles.decimals import Exact


ASSEMBLE = bound.assemble


@pytest.fixture(scope="module")
def found():
    return accuracy()


def too_large(rows):
    return {row.name for row in rows if not row.units <= LIMIT}


@pytest.mark.parametrize("part", ["activation", "schedule", "gaussian", "readout", "rbf", "chain", "bound"])
def test_every_formula_is_accurate(found, part):
    rows = [row for row in found if row.name.startswith(part)]
    assert rows and not too_large(rows), [row for row in rows if row.name in too_large(rows)]


def test_every_formula_has_its_rows(found):
    names = [row.name for row in found]
    assert len(names) == len(set(names))
    for formula in [formula for group in FORMULAS.values() for formula in group]:
        assert formula.name in names or {f"{formula.name}.mean", f"{formula.name}.var"} <= set(names)


def test_the_same_at_every_call(found):
    assert set(accuracy(groups=("activation", "rbf"))) <= set(found)


# -- the measure fails where it should -----------------------------------------------------------------------------------

def naive_kl(q, p):
    return (np.log(p.var / q.var) + (q.var + (q.mean - p.mean) ** 2) / p.var - 1) / 2


def naive_rbf(x, centre, log_width):
    """|x|² − 2 x·c + |c|², which cancels near a centre."""
    squared = (x * x).sum(axis=1)[:, None] - 2 * x @ centre.T + (centre * centre).sum(axis=1)
    weight = np.exp(-squared / (2 * np.exp(2 * log_width)))
    return weight / weight.sum(axis=1, keepdims=True)


def naive_posterior(x_t, x_0, beta, log_alpha_bar_prev):
    """Precisions added, as in Bayes' rule, with 1 − ᾱ_{t−1} by subtraction."""
    a = np.exp(log_alpha_bar_prev)
    precision = 1 / (1 - a) + (1 - beta) / beta
    return Gaussian((np.sqrt(a) / (1 - a) * x_0 + np.sqrt(1 - beta) / beta * x_t) / precision, 1 / precision)


def naive_cosine(T, *, offset=0.008, cap=0.999):
    level = np.cos((np.arange(T + 1.0) / T + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.append(0.0, np.minimum(1 - level[1:] / level[:-1], cap))


def naive_eq65(heads, x_t, beta):
    odds = np.exp(-heads.var) * (1 / beta - 1)
    return Gaussian((x_t - heads.mean) * np.sqrt(1 - 1 / (1 + odds)) + heads.mean, 1 / (1 + odds))


PLANTED = {
    "log of the product": ("chain", schedule, "log_alpha_bar", lambda beta: np.log(np.cumprod(1 - beta))),
    "uncompensated sum": ("chain", schedule, "log_alpha_bar", lambda beta: np.cumsum(log1p(-beta))),
    "shifted by one": ("chain", schedule, "log_alpha_bar", lambda beta: np.append(0.0, np.cumsum(log1p(-beta))[:-1])),
    "1 − exp ℓ": ("gaussian", gaussian, "marginal", lambda x, level: Gaussian(np.exp(level / 2) * x, 1 - np.exp(level))),
    "precisions added": ("gaussian", gaussian, "posterior", naive_posterior),
    "log of a ratio": ("gaussian", gaussian, "kl", naive_kl),
    "1 − exp ℓ, in K": ("bound", gaussian, "marginal", lambda x, level: Gaussian(np.exp(level / 2) * x, 1 - np.exp(level))),
    "T terms for T − 1, in K": ("bound", bound, "assemble", lambda terms, *, T: ASSEMBLE(terms, T=T + 1)),
    "log of 2π var": ("gaussian", gaussian, "entropy", lambda q: np.log(2 * 3.141592653589 * np.e * q.var) / 2),
    "float32": ("gaussian", gaussian, "draw", lambda p, *, noise: p.mean + np.sqrt(p.var, dtype="f4") * noise),
    "log(1 + eˣ)": ("activation", activation, "softplus", lambda x: np.log(1 + np.exp(x))),
    "1/(1 + e^−x)": ("activation", activation, "sigmoid", lambda x: 1 - 1 / (1 + np.exp(x))),
    "log(1 − y)": ("activation", activation, "logit", lambda y: -np.log(1 / y - 1)),
    "a ratio of exponentials": ("activation", activation, "tanh", lambda x: np.expm1(2 * x) / (np.exp(2 * x) + 1)),
    "expanded square": ("rbf", rbf, "rbf", naive_rbf),
    "logit of a ratio": ("readout", readout, "eq65", naive_eq65),
    "a ratio of cosines": ("schedules", schedule, "cosine", naive_cosine),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")                   # the naive forms overflow: that is what is found
@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_exceeds_the_limit(found, monkeypatch, mistake):
    group, module, name, wrong = PLANTED[mistake]
    monkeypatch.setattr(module, name, wrong)
    assert too_large(accuracy(groups=(group,))) - too_large(found)


# -- the measure itself ------------------------------------------------------------------------------------------------

def test_units():
    third = Exact(Decimal(1) / 3, Decimal(1))
    assert units(1 / 3, third) < 0.5
    assert units(1 / 3 + 2.0 ** -53, third) == pytest.approx(1, abs=0.5)
    assert units(float("nan"), third) == units(float("inf"), third) == float("inf")


def test_units_of_infinities_and_of_numbers_below_the_normal_range():
    infinite = Exact(Decimal("-Infinity"), Decimal("Infinity"))
    assert units(float("-inf"), infinite) == 0 and units(-1e300, infinite) == units(float("inf"), infinite) == float("inf")
    lost = Exact(Decimal("1e-340"), Decimal("1e-340"))
    assert units(0.0, lost) < 1 and units(1e-320, lost) > LIMIT
    assert float(UNIT) == np.finfo(float).eps / 2 and float(SMALLEST) == np.finfo(float).tiny
