"""The accuracy of the core: activations, schedules, kernels, bound, likelihood, and the network of the Swiss roll."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm import activation, binomial, bound, gaussian, likelihood, schedule
from refdpm.binomial import Bernoulli
from refdpm.conformance.accuracy.common import (
    BELOW, BOTH, HEAD, LEVEL, LOGIT, RATES, REAL, STATE, VARIANCE, Formula, Generator, Groups, Point, formulas, independent,
    lengths, near_zero, shares_of_ones, some_bits, some_rates, wide)
from refdpm.gaussian import Gaussian
from refdpm.layers import linear, rbf
from refdpm.networks import readout, swiss_roll
from refdpm.networks.readout import Heads
from refdpm.networks.swiss_roll import SwissRoll
from refdpm.oracles import decimals, decimals_binomial
from refdpm.oracles.decimals import Exact
from refdpm.vjp import Array, fix


# -- inputs that belong together ----------------------------------------------------------------------------------------

def _close_pair(rng: Generator, n: int) -> dict[str, Array]:
    """Two Gaussians: unrelated variances, variances in a ratio of 0.1 to 2, and ratios down to 1 ± 1e-15."""
    p_mean, p_var = STATE(rng, n), VARIANCE(rng, n)
    ratio = np.select([rng.random(n) < p for p in (0.2, 0.5)], [VARIANCE(rng, n), rng.uniform(0.1, 2, n)],
                      1 + wide(1e-15, 0.9, 0.0, -0.5, 0.5, signs=BOTH)(rng, n))
    distance = wide(1e-9, 1e3, 0.0, 0.0, 0.0, signs=BOTH)(rng, n)
    return dict(q_mean=p_mean + distance * np.sqrt(p_var), q_var=p_var * ratio, p_mean=p_mean, p_var=p_var)


def _close_logits(rng: Generator, n: int) -> dict[str, Array]:
    """Two bits: unrelated logits, differences around 1, and differences down to 1e-12."""
    q = np.where(rng.random(n) < 0.3, rng.uniform(-3, 3, n), LOGIT(rng, n))
    p = q + np.select([rng.random(n) < 0.2, rng.random(n) < 0.3], [rng.uniform(-3, 3, n), rng.choice([-1.001, -1, 1, 1.001], n)],
                      wide(1e-12, 3.0, 0.0, signs=BOTH)(rng, n))
    return dict(q_logit=q, p_logit=np.where(rng.random(n) < 0.2, LOGIT(rng, n), p))


def _point_and_law(rng: Generator, n: int) -> dict[str, Array]:
    """A point `distance` standard deviations from the mean of a Gaussian."""
    mean, var = STATE(rng, n), VARIANCE(rng, n)
    return dict(x=mean + wide(1e-6, 1e3, 0.0, signs=BOTH)(rng, n) * np.sqrt(var), mean=mean, var=var)


# -- one formula at one point ------------------------------------------------------------------------------------------

FORMULAS = {
    "activation": (
        Formula("activation.softplus", lambda x: activation.softplus(x), decimals.softplus, independent(x=REAL)),
        Formula("activation.sigmoid", lambda x: activation.sigmoid(x), decimals.sigmoid, independent(x=REAL)),
        Formula("activation.logit", lambda y: activation.logit(y), decimals.logit, independent(y=some_rates)),
        Formula("activation.tanh", lambda x: activation.tanh(x), decimals.tanh, independent(x=REAL)),
        Formula("activation.leaky_relu", lambda x, slope: activation.leaky_relu(x, slope=slope), decimals.leaky_relu,
                independent(x=REAL, slope=wide(1e-3, 0.9, 0.0))),
        Formula("activation.x_minus_log1p", lambda x: activation.x_minus_log1p(x), decimals.x_minus_log1p,
                independent(x=near_zero(-0.5, 1 - 1e-9))),
        Formula("activation.expm1_minus_x", lambda x: activation.expm1_minus_x(x), decimals.expm1_minus_x,
                independent(x=near_zero(1e-9 - 1, 1 - 1e-9))),
        Formula("schedule.logits_of", lambda y: schedule.logits_of(np.append([0.0, 0.1], y)), decimals.logit,
                independent(beta=some_rates)),
        Formula("schedule.learned", lambda x: schedule.learned(x, beta_1=0.1)[2:], decimals.sigmoid, independent(x=REAL)),
    ),
    "gaussian": (
        Formula("gaussian.forward", lambda x, beta: gaussian.forward(x, beta), decimals.forward,
                independent(x_prev=STATE, beta=some_rates)),
        Formula("gaussian.marginal", lambda x, level: gaussian.marginal(x, level), decimals.marginal,
                independent(x_0=STATE, log_alpha_bar=LEVEL)),
        Formula("gaussian.posterior", lambda *x: gaussian.posterior(*x), decimals.posterior,
                independent(x_t=STATE, x_0=STATE, beta=some_rates, log_alpha_bar_prev=LEVEL)),
        Formula("gaussian.shares", lambda *x: SimpleNamespace(**dict(zip("avw", gaussian.shares(*x)))), decimals.shares,
                independent(beta=some_rates, log_alpha_bar_prev=LEVEL)),
        Formula("gaussian.cross_entropy", lambda *x: gaussian.cross_entropy(Gaussian(*x[:2]), Gaussian(*x[2:])),
                decimals.cross_entropy, _close_pair),
        Formula("gaussian.kl", lambda *x: gaussian.kl(Gaussian(*x[:2]), Gaussian(*x[2:])), decimals.kl, _close_pair),
        Formula("gaussian.entropy", lambda var: gaussian.entropy(Gaussian(np.zeros_like(var), var)), decimals.entropy,
                independent(var=VARIANCE)),
        Formula("gaussian.log_prob", lambda x, *p: gaussian.log_prob(x, Gaussian(*p)), decimals.log_prob, _point_and_law),
        Formula("gaussian.draw", lambda mean, var, noise: gaussian.draw(Gaussian(mean, var), noise=noise), decimals.draw,
                independent(mean=STATE, var=VARIANCE, noise=HEAD)),
    ),
    "binomial": (
        Formula("binomial.prior", lambda rate: binomial.prior(rate.shape, rate=rate), decimals_binomial.prior,
                independent(rate=shares_of_ones)),
        Formula("binomial.forward", lambda x, beta, rate: binomial.forward(x, beta, rate=rate), decimals_binomial.forward,
                independent(x_prev=some_bits, beta=some_rates, rate=shares_of_ones)),
        Formula("binomial.marginal", lambda x, level, rate: binomial.marginal(x, level, rate=rate), decimals_binomial.marginal,
                independent(x_0=some_bits, log_alpha_bar=BELOW, rate=shares_of_ones)),
        Formula("binomial.posterior", lambda *x: binomial.posterior(*x[:4], rate=x[4]), decimals_binomial.posterior,
                independent(x_t=some_bits, x_0=some_bits, beta=some_rates, log_alpha_bar_prev=BELOW, rate=shares_of_ones)),
        Formula("binomial.kl", lambda q, p: binomial.kl(Bernoulli(q), Bernoulli(p)), decimals_binomial.kl, _close_logits),
        Formula("binomial.entropy", lambda q: binomial.entropy(Bernoulli(q)), decimals_binomial.entropy,
                independent(logit=LOGIT)),
        Formula("binomial.cross_entropy", lambda q, p: binomial.cross_entropy(Bernoulli(q), Bernoulli(p)),
                decimals_binomial.cross_entropy, _close_logits),
        Formula("binomial.log_prob", lambda x, p: binomial.log_prob(x, Bernoulli(p)), decimals_binomial.log_prob,
                independent(x=some_bits, logit=LOGIT)),
    ),
    "readout": (
        Formula("readout.eq65", lambda mean, var, *x: readout.eq65(Heads(mean, var), *x), decimals.eq65,
                independent(z_mean=HEAD, z_var=HEAD, x_t=STATE, beta=some_rates)),
        Formula("readout.released", lambda mean, var, x, beta, T: readout.released(Heads(mean, var), x, beta, T=T),
                decimals.released, independent(z_mean=HEAD, z_var=HEAD, x_t=STATE, beta=some_rates, T=lengths)),
        Formula("readout.denoising", lambda mean, var, *x: readout.denoising(Heads(mean, var), *x), decimals.denoising,
                independent(z_mean=HEAD, z_var=HEAD, x_t=STATE, beta=some_rates, log_alpha_bar_prev=LEVEL)),
    ),
}


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
            kinds["mixed"] = np.concatenate([[0.0], np.minimum(some_rates(rng, T - 1), 1 - 1e-6), [1.0]])
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


def _binomial_chain(rng: Generator, n: int) -> Iterator[Point]:
    """Posterior logits and flip rates of 2000 steps of β_t = 1/(T−t+1), end to end; flips as the model gets them, from logits."""
    beta = schedule.reciprocal(2000)
    times = [t for t in _times(2000, n // 4) if t > 1]
    step = schedule.step(beta, schedule.log_alpha_bar(beta), t=np.array(times), ndim=1)
    for rate in RATES:
        for x_t, x_0 in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
            bits = np.full(len(times), x_t), np.full(len(times), x_0)
            q = binomial.posterior(*bits, step.beta, step.log_alpha_bar_prev, rate=rate)
            flip = Bernoulli(-q.logit if x_t else q.logit).prob
            exact = decimals_binomial.chain_posterior(beta.tolist(), times, x_t, x_0, rate)
            for i, t in enumerate(times):
                where = dict(t=t, x_t=x_t, x_0=x_0, rate=rate)
                yield Point("chain.binomial.posterior (T = 2000)", q.logit[i], exact[t].logit, where)
                yield Point("chain.binomial.flip (T = 2000)", flip[i], exact[t].flip, where)


def _bound(rng: Generator, n: int) -> Iterator[Point]:
    """K of whole chains whose model is the forward kernel, its parts, and the strict bound."""
    model = SimpleNamespace(reverse_vjp=lambda parameters, x_t, step, *, t: gaussian.forward_vjp(x_t, step.beta))
    for kind, beta in (("geometric", schedule.geometric(3, beta_1=1e-3, beta_T=0.5)), ("reciprocal", schedule.reciprocal(3)),
                       ("geometric", schedule.geometric(40, beta_1=1e-3, beta_T=0.5)), ("reciprocal", schedule.reciprocal(40)),
                       ("geometric", schedule.geometric(40, beta_1=1e-12, beta_T=0.5)),
                       ("linear", schedule.linear(1000, beta_1=1e-4, beta_T=0.02))):
        T = len(beta) - 1
        x_0, noise = rng.normal(size=(2, 2)), rng.normal(size=(T - 1, 2, 2))
        chain: dict[str, Any] = dict(noise=noise, t=bound.every_step(T, 2), kernel=gaussian, network=model)
        got = {name: getattr(bound, name)((), beta, x_0, **chain) for name in ("terms", "bound", "strict_bound")}
        got |= {f"terms.{name}": value for name, value in got.pop("terms")._asdict().items()}
        got["correction"] = bound.correction(beta, x_0, kernel=gaussian)
        rows: dict[str, Any] = chain | dict(noise=noise.reshape(-1, 2), t=chain["t"].ravel())
        tiled = np.tile(x_0, (T - 1, 1))
        alone = {"step_kl": bound.step_kl((), beta, tiled, **rows),
                 "network_kl": bound.network_kl((), beta=beta, x_0=tiled, **rows)}
        for i, x in enumerate(x_0.tolist()):
            path = (beta.tolist(), x, noise[:, i].tolist())
            exact = decimals.terms(*path)
            points = {"bound": decimals.bound(*path), "strict_bound": decimals.strict_bound(*path),
                      "correction": decimals.correction(beta.tolist(), x)}
            points |= {f"terms.{name}": getattr(exact, name) for name in exact._fields[1:]}
            where = dict(schedule=kind, beta_1=beta[1], x_0=x)
            for name, value in points.items():
                yield Point(f"bound.{name} (T = {T})", got[name][i], value, where)
            for s, value in enumerate(exact.kl):
                yield Point(f"bound.terms.kl (T = {T})", got["terms.kl"][s, i], value, dict(t=s + 2, **where))
                for name, kl in alone.items():
                    yield Point(f"bound.{name} (T = {T})", kl[2 * s + i], value, dict(t=s + 2, **where))
            for t in (1, 2, T):
                ends: dict[str, Any] = dict(t=t, kernel=gaussian)
                yield Point(f"bound.entropy_at (T = {T})", bound.entropy_at(beta, x_0, **ends)[i],
                            decimals.entropy_at(beta.tolist(), x, t), dict(t=t, **where))
                yield Point(f"bound.prior_cross_entropy_at (T = {T})", bound.prior_cross_entropy_at(beta, x_0, **ends)[i],
                            decimals.prior_cross_entropy_at(beta.tolist(), x, t), dict(t=t, **where))
    yield from _assemble(rng, n)
    yield from _binomial_correction(rng)


def _assemble(rng: Generator, n: int) -> Iterator[Point]:
    """−(T−1)/S Σ kl + three entropies: every one of them is a term."""
    for T in (2, 40, 1000):
        kl, ends = np.exp(rng.normal(size=(3, n // 50))), rng.normal(size=(3, n // 50))
        K = bound.assemble(bound.Terms(kl, *ends), T=T)
        for i, got in enumerate(K):
            (a, b, c), signed = ends[:, i].tolist(), [-(T - 1) * Decimal(part) / len(kl) for part in kl[:, i].tolist()]
            yield Point("bound.assemble", got, decimals.total([*signed, a, -b, -c]), dict(T=T, kl=kl[:, i].tolist()))


def _binomial_correction(rng: Generator) -> Iterator[Point]:
    """C for bits."""
    for rate in RATES:
        kernel, x_0 = fix(binomial, rate=rate), np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
        for beta in (schedule.reciprocal(3), schedule.reciprocal(40), schedule.geometric(40, beta_1=1e-12, beta_T=0.5)):
            for x, got in zip(x_0.tolist(), bound.correction(beta, x_0, kernel=kernel)):
                yield Point("bound.correction (binomial)", got, decimals_binomial.correction(beta.tolist(), x, rate),
                            dict(T=len(beta) - 1, beta_1=beta[1], rate=rate, x_0=x))


# -- likelihoods -------------------------------------------------------------------------------------------------------

def _likelihoods(rng: Generator, n: int) -> Iterator[Point]:
    """Sums and averages over components, examples and paths; three-step paths with the forward kernel as the model."""
    for _ in range(n // 50):
        x = rng.normal(size=(2, 5)) * np.exp(rng.uniform(-6, 6))
        log_w, y = rng.normal(size=(4, 3)) * np.exp(rng.uniform(-6, 4)) - 5, rng.normal(size=6) + rng.choice([0, 100])
        mean, root = rng.normal(size=2), np.tril(rng.normal(size=(2, 2)))
        covariance = root @ root.T + 0.1 * np.eye(2)
        density = likelihood.gaussian_log_likelihood(x[:, :2], mean=mean, covariance=covariance)
        where = dict(x=x[0].tolist())
        yield Point("likelihood.bits", likelihood.bits(x[0, 0]), decimals.bits(x[0, 0]), where)
        yield Point("likelihood.total", likelihood.total(x)[0], decimals.total(x[0].tolist()), where)
        yield Point("likelihood.null_log_likelihood", likelihood.null_log_likelihood(x, kernel=gaussian)[0],
                    decimals.null_log_likelihood(x[0].tolist()), where)
        yield Point("likelihood.gaussian_log_likelihood", density[0],
                    decimals.gaussian_log_likelihood(x[0, :2].tolist(), mean.tolist(), covariance.tolist()),
                    dict(x=x[0, :2].tolist(), mean=mean.tolist(), covariance=covariance.tolist()))
        centres, bandwidth = rng.normal(size=(4, 5)), float(np.exp(rng.uniform(-3, 1)))
        yield Point("likelihood.parzen_log_likelihood",
                    likelihood.parzen_log_likelihood(x, centres, bandwidth=bandwidth)[0],
                    decimals.parzen_log_likelihood(x[0].tolist(), centres.tolist(), bandwidth),
                    dict(x=x[0].tolist(), centres=centres.tolist(), bandwidth=bandwidth))
        pair = likelihood.Estimate(*x[0, :2].tolist())
        for name, estimate, exact, where in (
                ("in_bits", likelihood.in_bits(pair), decimals.in_bits(*pair), pair._asdict()),
                ("average", likelihood.average(y), decimals.average(y.tolist()), dict(y=y.tolist())),
                ("log_likelihood", likelihood.log_likelihood(log_w), decimals.log_likelihood(log_w.tolist()),
                 dict(log_w=log_w.tolist()))):
            for field in exact._fields:
                yield Point(f"likelihood.{name}.{field}", getattr(estimate, field), getattr(exact, field), where)
    yield from _log_weights(rng)


def _log_weights(rng: Generator) -> Iterator[Point]:
    for rates in ((0.1, 0.3, 0.5), (1e-6, 1e-3, 0.9), (1e-12, 1e-12, 1e-12), (1 / 3, 0.5, 1.0)):
        beta, x, bits = np.array([0.0, *rates]), rng.normal(size=(6, 2)), some_bits(rng, 12).reshape(6, 2)
        noise, uniform = rng.normal(size=(3, 6, 2)), rng.random((3, 6, 2))
        got = likelihood.log_weights((), beta, x, noise=noise, kernel=gaussian, network=_forward_model(gaussian))
        for i, value in enumerate(got):
            yield Point("likelihood.log_weights", value, decimals.log_weights(beta.tolist(), x[i].tolist(), noise[:, i].tolist()),
                        dict(rates=rates, x_0=x[i].tolist()))
        for rate in RATES:
            kernel = fix(binomial, rate=rate)
            got = likelihood.log_weights((), beta, bits, noise=uniform, kernel=kernel, network=_forward_model(kernel))
            for i, value in enumerate(got):
                exact = decimals_binomial.log_weights(beta.tolist(), bits[i].tolist(), uniform[:, i].tolist(), rate)
                yield Point("likelihood.log_weights (binomial)", value, exact, dict(rates=rates, rate=rate, x_0=bits[i].tolist()))


def _forward_model(kernel: Any) -> SimpleNamespace:
    return SimpleNamespace(reverse=lambda parameters, x_t, step, *, t: kernel.forward(x_t, step.beta))


# -- affine layers and the network -------------------------------------------------------------------------------------

def _linear(rng: Generator, n: int) -> Iterator[Point]:
    """Affine maps of five numbers to three, one for all rows and one per step."""
    for _ in range(n // 100):
        x, weight, bias = rng.normal(size=(7, 5)), rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 3))
        t = rng.integers(0, 4, 7)
        one, own = linear.linear(x, weight[0], bias[0]), linear.per_step(x, weight, bias, t=t)
        for i, row in enumerate(x.tolist()):
            for name, got, s in (("linear", one, 0), ("per_step", own, int(t[i]))):
                for j, exact in enumerate(decimals.linear_layer(row, weight[s].tolist(), bias[s].tolist())):
                    yield Point(f"linear.{name}", got[i, j], exact, dict(x=row, t=s, output=j))


def _network(rng: Generator, n: int) -> Iterator[Point]:
    """The Swiss-roll network with the read-out `denoising`: four units, two dimensions, six rows at their own steps."""
    for _ in range(n // 50):
        T = 5
        beta = np.append(0.0, wide(1e-12, 0.9)(rng, T))
        parameters = SwissRoll(rng.normal(size=(4, 2)), rng.uniform(-2, 1, 4), rng.normal(size=(T + 1, 4, 4)) * 3,
                               rng.normal(size=(T + 1, 4)))
        x, t = rng.normal(size=(6, 2)), rng.integers(2, T + 1, 6)
        step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=2)
        p = swiss_roll.reverse(parameters, x, step, t=t)
        for i, s in enumerate(t.tolist()):
            laws = decimals.swiss_roll(parameters.centre.tolist(), parameters.log_width.tolist(), parameters.weight[s].tolist(),
                                       parameters.bias[s].tolist(), x[i].tolist(), beta[s], step.log_alpha_bar_prev[i, 0])
            for d, law in enumerate(laws):
                where = dict(x=x[i].tolist(), t=s, beta=beta[s], component=d)
                yield Point("swiss_roll.reverse.mean", p.mean[i, d], law.mean, where)
                yield Point("swiss_roll.reverse.var", p.var[i, d], law.var, where)


GROUPS: Groups = {
    **{group: formulas(rows) for group, rows in FORMULAS.items()},
    "rbf": _rbf, "schedules": _named_schedules, "chain": _chain, "binomial chain": _binomial_chain, "bound": _bound,
    "likelihood": _likelihoods, "linear": _linear, "network": _network,
}
