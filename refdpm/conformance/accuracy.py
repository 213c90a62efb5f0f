"""How accurate every formula of the package is, measured against 70 digits.

    units = |float64 − exact| / (u · Σ|terms|),   u = 2⁻⁵³

with the exact value and Σ|terms| from `oracles.decimals`.  `accuracy` finds the worst of it for every formula, over inputs from
one end of the sensible range to the other: β from 1e-12 to 1 − 1e-6 and 1, ℓ down to −700, variances from 1e-12 to 1e6, apart
and all but equal, T up to 100000.  A formula in good order costs a few roundings; `LIMIT` is what is accepted.  One that is
written badly (1 − exp ℓ, the log of a product, log(1 + eˣ)) costs thousands, or all there is.

Where Σ|terms| is below the smallest normal number, float64 has fixed-point spacing, and that number takes its place.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from refdpm import bound, gaussian, schedule
from refdpm.gaussian import Gaussian
from refdpm.layers import activation, rbf, readout
from refdpm.layers.readout import Heads
from refdpm.oracles import decimals
from refdpm.oracles.decimals import Exact
from refdpm.vjp import Array

LIMIT = 8.0
UNIT = Decimal(2) ** -53
SMALLEST = Decimal(2) ** -1022
SEED = 2015

Generator = np.random.Generator
Sampler = Callable[[Generator, int], Array]
Inputs = Callable[[Generator, int], dict[str, Array]]


class Accuracy(NamedTuple):
    """The worst error of one formula, in units of u·Σ|terms|, and the input that has it."""

    name: str
    units: float
    where: str


class Point(NamedTuple):
    """One number of the package, the exact one, and the input."""

    name: str
    got: float
    exact: Exact
    where: dict[str, Any]


class Formula(NamedTuple):
    """A function of the package, the same in decimals, and a sampler of the arguments that both take in order."""

    name: str
    package: Callable[..., Any]
    exact: Callable[..., Any]
    inputs: Inputs


def accuracy(thorough: bool = False, *, groups: tuple[str, ...] = ()) -> list[Accuracy]:
    """The worst units of every formula, or of those in the named `groups` (keys of `GROUPS`); the same at every call."""
    worst: dict[str, Accuracy] = {}
    for group in groups or tuple(GROUPS):
        for point in GROUPS[group](np.random.default_rng(SEED), 12000 if thorough else 1000):
            found = units(point.got, point.exact)
            if point.name not in worst or found > worst[point.name].units:
                worst[point.name] = Accuracy(point.name, found, ", ".join(f"{k} = {v}" for k, v in point.where.items()))
    return list(worst.values())


def units(got: float, exact: Exact) -> float:
    """|got − value|/(u·scale); 0 when both are the same infinity, ∞ when only one is finite or `got` is NaN."""
    if not (np.isfinite(got) and exact.value.is_finite()):
        return 0.0 if got == float(exact.value) else float("inf")
    return float(abs(Decimal(float(got)) - exact.value) / (UNIT * max(exact.scale, SMALLEST)))


# -- inputs ------------------------------------------------------------------------------------------------------------

def _wide(low: float, high: float, *corners: float, signs: tuple[int, ...] = (1,)) -> Sampler:
    """Magnitudes spread evenly over the decades from `low` to `high`, each with one of the `signs`.

    One value in four is an end of the range or another corner, so that corners of different arguments meet.
    """
    edges = [sign * edge for sign in signs for edge in (low, high)] + list(corners)

    def sample(rng: Generator, n: int) -> Array:
        drawn = rng.choice(signs, n) * np.exp(rng.uniform(np.log(low), np.log(high), n))
        return np.where(rng.random(n) < 0.25, rng.choice(edges, n), drawn)

    return sample


def _rates(rng: Generator, n: int) -> Array:
    """β from 1e-12 to 1, as near to 1 as 1 − 1e-6."""
    return np.where(rng.random(n) < 0.6, _wide(1e-12, 0.5)(rng, n), 1 - _wide(1e-6, 0.5, 0.0)(rng, n))


def _lengths(rng: Generator, n: int) -> Array:
    return rng.choice([1, 40, 1000], n)


_BOTH = (-1, 1)
_STATE = _wide(1e-6, 1e6, 0.0, 1.0, signs=_BOTH)
_HEAD = _wide(1e-6, 40.0, 0.0, signs=_BOTH)
_REAL = _wide(1e-9, 800.0, 0.0, -37.0, -709.0, -745.0, signs=_BOTH)
_LEVEL = _wide(1e-12, 700.0, -0.0, signs=(-1,))
_VARIANCE = _wide(1e-12, 1e6, 1.0)


def _independent(**samplers: Sampler) -> Inputs:
    return lambda rng, n: {name: sampler(rng, n) for name, sampler in samplers.items()}


def _close_pair(rng: Generator, n: int) -> dict[str, Array]:
    """Two Gaussians: unrelated variances, variances in a ratio of 0.1 to 2, and ratios down to 1 ± 1e-15."""
    p_mean, p_var = _STATE(rng, n), _VARIANCE(rng, n)
    ratio = np.select([rng.random(n) < p for p in (0.2, 0.5)], [_VARIANCE(rng, n), rng.uniform(0.1, 2, n)],
                      1 + _wide(1e-15, 0.9, 0.0, -0.5, 0.5, signs=_BOTH)(rng, n))
    distance = _wide(1e-9, 1e3, 0.0, 0.0, 0.0, signs=_BOTH)(rng, n)
    return dict(q_mean=p_mean + distance * np.sqrt(p_var), q_var=p_var * ratio, p_mean=p_mean, p_var=p_var)


def _point_and_law(rng: Generator, n: int) -> dict[str, Array]:
    """A point `distance` standard deviations from the mean of a Gaussian."""
    mean, var = _STATE(rng, n), _VARIANCE(rng, n)
    return dict(x=mean + _wide(1e-6, 1e3, 0.0, signs=_BOTH)(rng, n) * np.sqrt(var), mean=mean, var=var)


# -- one formula at one point ------------------------------------------------------------------------------------------

FORMULAS = {
    "activation": (
        Formula("activation.softplus", lambda x: activation.softplus(x), decimals.softplus, _independent(x=_REAL)),
        Formula("activation.sigmoid", lambda x: activation.sigmoid(x), decimals.sigmoid, _independent(x=_REAL)),
        Formula("activation.logit", lambda y: activation.logit(y), decimals.logit, _independent(y=_rates)),
        Formula("activation.tanh", lambda x: activation.tanh(x), decimals.tanh, _independent(x=_REAL)),
        Formula("activation.leaky_relu", lambda x, slope: activation.leaky_relu(x, slope=slope), decimals.leaky_relu,
                _independent(x=_REAL, slope=_wide(1e-3, 0.9, 0.0))),
        Formula("schedule.learned", lambda x: schedule.learned(x, beta_1=0.1)[2:], decimals.sigmoid, _independent(x=_REAL)),
    ),
    "gaussian": (
        Formula("gaussian.forward", lambda x, beta: gaussian.forward(x, beta), decimals.forward,
                _independent(x_prev=_STATE, beta=_rates)),
        Formula("gaussian.marginal", lambda x, level: gaussian.marginal(x, level), decimals.marginal,
                _independent(x_0=_STATE, log_alpha_bar=_LEVEL)),
        Formula("gaussian.posterior", lambda *x: gaussian.posterior(*x), decimals.posterior,
                _independent(x_t=_STATE, x_0=_STATE, beta=_rates, log_alpha_bar_prev=_LEVEL)),
        Formula("gaussian.kl", lambda *x: gaussian.kl(Gaussian(*x[:2]), Gaussian(*x[2:])), decimals.kl, _close_pair),
        Formula("gaussian.entropy", lambda var: gaussian.entropy(Gaussian(np.zeros_like(var), var)), decimals.entropy,
                _independent(var=_VARIANCE)),
        Formula("gaussian.log_prob", lambda x, *p: gaussian.log_prob(x, Gaussian(*p)), decimals.log_prob, _point_and_law),
        Formula("gaussian.draw", lambda mean, var, noise: gaussian.draw(Gaussian(mean, var), noise=noise), decimals.draw,
                _independent(mean=_STATE, var=_VARIANCE, noise=_HEAD)),
    ),
    "readout": (
        Formula("readout.eq65", lambda mean, var, *x: readout.eq65(Heads(mean, var), *x), decimals.eq65,
                _independent(z_mean=_HEAD, z_var=_HEAD, x_t=_STATE, beta=_rates)),
        Formula("readout.released", lambda mean, var, x, beta, T: readout.released(Heads(mean, var), x, beta, T=T),
                decimals.released, _independent(z_mean=_HEAD, z_var=_HEAD, x_t=_STATE, beta=_rates, T=_lengths)),
        Formula("readout.denoising", lambda mean, var, *x: readout.denoising(Heads(mean, var), *x), decimals.denoising,
                _independent(z_mean=_HEAD, z_var=_HEAD, x_t=_STATE, beta=_rates, log_alpha_bar_prev=_LEVEL)),
    ),
}


def _formulas(group: str) -> Callable[[Generator, int], Iterator[Point]]:
    """Every formula of a group at n points."""

    def points(rng: Generator, n: int) -> Iterator[Point]:
        for formula in FORMULAS[group]:
            inputs = formula.inputs(rng, n)
            got = formula.package(*inputs.values())
            for i, arguments in enumerate(zip(*(column.tolist() for column in inputs.values()))):
                where = dict(zip(inputs, arguments))
                exact = formula.exact(*arguments)
                if isinstance(exact, Exact):
                    yield Point(formula.name, got[i], exact, where)
                else:
                    for field in exact._fields:
                        yield Point(f"{formula.name}.{field}", getattr(got, field)[i], getattr(exact, field), where)

    return points


# -- formulas of another shape -----------------------------------------------------------------------------------------

def _rbf(rng: Generator, n: int) -> Iterator[Point]:
    """Five units in two dimensions, with widths from 0.02 to 50: from one unit taking everything to all sharing equally."""
    for _ in range(n // 10):
        x, centre, log_width = rng.normal(size=(1, 2)) * 3, rng.normal(size=(5, 2)) * 3, rng.uniform(-4, 4, 5)
        exact = decimals.rbf(x[0].tolist(), centre.tolist(), log_width.tolist())
        for got, expected in zip(rbf.rbf(x, centre, log_width)[0], exact):
            yield Point("rbf.rbf", got, expected, dict(x=x[0].tolist(), centre=centre.tolist(), log_width=log_width.tolist()))


NAMED: tuple[tuple[str, Callable[..., Array], Callable[..., Exact], dict[str, float]], ...] = (
    ("reciprocal", lambda T: schedule.reciprocal(T), decimals.reciprocal, {}),
    ("geometric", lambda T, **k: schedule.geometric(T, **k), decimals.geometric, dict(beta_1=1e-12, beta_T=0.5)),
    ("geometric", lambda T, **k: schedule.geometric(T, **k), decimals.geometric, dict(beta_1=1e-3, beta_T=1 - 1e-6)),
    ("linear", lambda T, **k: schedule.linear(T, **k), decimals.linear, dict(beta_1=1e-12, beta_T=1 - 1e-6)),
    ("linear", lambda T, **k: schedule.linear(T, **k), decimals.linear, dict(beta_1=1e-4, beta_T=0.02)),
    ("cosine", lambda T, **k: schedule.cosine(T, **k), decimals.cosine, dict(offset=0.008, cap=0.999)),
    ("cosine", lambda T, **k: schedule.cosine(T, **k), decimals.cosine, dict(offset=1e-4, cap=1.0)),
)


def _named_schedules(rng: Generator, n: int) -> Iterator[Point]:
    """β_t of every named schedule, short and long."""
    for name, package, exact, settings in NAMED:
        for T in (1, 2, 3, 40, 1000, 100000):
            beta = package(T, **settings)
            for t in _times(T, n):
                yield Point(f"schedule.{name}", beta[t], exact(T, t, **settings), dict(T=T, t=t, **settings))


def _times(T: int, n: int) -> list[int]:
    """About n/10 steps: the first and the last, and between them densest near both ends."""
    away = np.geomspace(1, T, n // 20).astype(int).tolist()
    return sorted({min(t, T) for t in (1, 2, 3)} | set(away) | {T + 1 - t for t in away})


# -- from the rates to the end -----------------------------------------------------------------------------------------

def _schedules(rng: Generator) -> Iterator[tuple[str, str, Array]]:
    """(label of the report, kind, beta): short schedules share a label, each long one has its own."""
    for T in (1, 2, 3, 40, 1000, 100000):
        kinds = {"β = 1e-12": np.append(0.0, np.full(T, 1e-12)), "reciprocal": schedule.reciprocal(T),
                 "geometric": schedule.geometric(T, beta_1=1e-12, beta_T=0.5)}
        if T <= 1000:
            kinds["mixed"] = np.concatenate([[0.0], np.minimum(_rates(rng, T - 1), 1 - 1e-6), [1.0]])
        for kind, beta in kinds.items():
            yield "T ≤ 1000" if T <= 1000 else f"T = {T}, {kind}", kind, beta


def _chain(rng: Generator, n: int) -> Iterator[Point]:
    """What is known at step t from the rates alone, end to end."""
    for label, kind, beta in _schedules(rng):
        T = len(beta) - 1
        times = _times(T, n)
        got = _steps(beta, np.array(times))
        for i, (t, step) in enumerate(decimals.chain(beta.tolist(), times).items()):
            for name, value in got.items():
                where = dict(schedule=kind, T=T, t=t, beta=beta[t])
                yield Point(f"chain.{name} ({label})", value[i], getattr(step, name), where)


def _steps(beta: Array, t: Array) -> dict[str, Array]:
    """The fields of `decimals.Step` by way of the package; the two coefficients are the posterior's means at unit vectors."""
    step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=1)
    one, none = np.ones(len(t)), np.zeros(len(t))
    root, noise = gaussian.marginal(one, step.log_alpha_bar)
    from_x_0, var = gaussian.posterior(none, one, step.beta, step.log_alpha_bar_prev)
    from_x_t, _ = gaussian.posterior(one, none, step.beta, step.log_alpha_bar_prev)
    return dict(log_alpha_bar=step.log_alpha_bar, alpha_bar=schedule.alpha_bar(beta)[t], root_alpha_bar=root,
                one_minus_alpha_bar=noise, from_x_0=from_x_0, from_x_t=from_x_t, posterior_var=var)


def _bound(rng: Generator, n: int) -> Iterator[Point]:
    """K of whole chains whose model is the forward kernel."""
    model = SimpleNamespace(reverse_vjp=lambda parameters, x_t, step, *, t: gaussian.forward_vjp(x_t, step.beta))
    for kind, beta in (("geometric", schedule.geometric(40, beta_1=1e-3, beta_T=0.5)), ("reciprocal", schedule.reciprocal(40)),
                       ("geometric", schedule.geometric(40, beta_1=1e-12, beta_T=0.5)),
                       ("linear", schedule.linear(1000, beta_1=1e-4, beta_T=0.02))):
        T = len(beta) - 1
        x_0, noise = rng.normal(size=(2, 2)), rng.normal(size=(T - 1, 2, 2))
        K = bound.bound((), beta, x_0, noise=noise, t=bound.every_step(T, 2), kernel=gaussian, network=model)
        for i, got in enumerate(K):
            exact = decimals.bound(beta.tolist(), x_0[i].tolist(), noise[:, i].tolist())
            yield Point(f"bound (T = {T})", got, exact, dict(schedule=kind, beta_1=beta[1], x_0=x_0[i].tolist()))


GROUPS: dict[str, Callable[[Generator, int], Iterator[Point]]] = {
    **{group: _formulas(group) for group in FORMULAS},
    "rbf": _rbf, "schedules": _named_schedules, "chain": _chain, "bound": _bound,
}
