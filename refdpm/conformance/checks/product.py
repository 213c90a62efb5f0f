"""Checks of sec. 2.5: a law times r, r at every t, and the chain of such steps.

What they are compared with: numbers by hand, densities, and `oracles.multiplied`, which carries means and covariances (or
tables over all states) of the method itself from T to 0.  Nothing is sampled: a Gaussian path is affine in its noise, and noise
next to the threshold of every bit tells its probability to 1e-9.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import log
from typing import Any

import numpy as np

from refdpm import binomial, gaussian, product
from refdpm.binomial import Bernoulli
from refdpm.conformance.checks import bits
from refdpm.conformance.checks.common import apart, check, forward_law, grid, linear, network, passes, refused, worst
from refdpm.gaussian import Gaussian
from refdpm.oracles import enumeration, linear_gaussian, multiplied
from refdpm.vjp import Array, fix

Path = Callable[[Array], Iterator[tuple[int, Array]]]


@check("products by hand", "product.times_gaussian", "product.times_bernoulli", "product.times", "product.perturbed")
def products_by_hand() -> float:
    """N(0.5, ¼) times N(2; x, ¾) is N(0.875, 3/16); a point is taken exactly, and infinite variance changes nothing.  A bit of 0.6
    times (1, 3) is 9/11; a known bit is certain.  N(1, 4) with ∇log r = ½ becomes N(3, 4)."""
    p, r = Gaussian(np.full(3, 0.5), np.full(3, 0.25)), Gaussian(np.full(3, 2.0), np.array([0.75, 0, np.inf]))
    q, first = product.times(p, r), product.perturbed(Gaussian(np.ones(1), np.full(1, 4.0)), np.array([0.5]))
    bit, ones = Bernoulli(np.array([[log(1.5)]])), Bernoulli(np.array([log(3), np.inf, -np.inf, 0.0]))
    return worst(apart(q.mean, [0.875, 2, 0.5]), apart(q.var, [0.1875, 0, 0.25]), apart([first.mean, first.var], [[3], [4]]),
                 *(apart(f(bit, ones).prob, [[9 / 11, 1, 0, 0.6]]) for f in (product.times_bernoulli, product.times)))


@check("factors by hand", "product.powers", "product.guided", "product.exponent", "product.power")
def factors_by_hand() -> float:
    """At t = 3 of T = 4, with the exponent ¼: N(0, 1) times N(8; x, ½)^¼ is N(8/3, ⅔); to first order, with the gradient
    (8 − x)/½ at 0, N(4, 1); of log r = −x⁴ at the mean 2, not at 0, N(2 − 8, 1).  The bit ½ times (1, 16)^¼ is ⅔.  With 1 as the
    exponent all the time: N(16/3, ⅓), N(16, 1).  A power of a point is a point, and r⁰ says nothing."""
    p, r = Gaussian(np.zeros(2), np.ones(2)), Gaussian(np.full(2, 8.0), np.full(2, 0.5))
    exact = product.powers(r, T=4, choice="ramp")(p, 3)
    first = product.guided(lambda x: (8 - x) / 0.5, T=4, choice="ramp")(p, 3)
    curved = product.guided(lambda x: -4 * x ** 3, T=4, choice="ramp")(Gaussian(p.mean + 2, p.var), 3)
    whole = [product.powers(r, T=4)(p, 3), product.guided(lambda x: (8 - x) / 0.5, T=4)(p, 3)]
    bit = product.powers(Bernoulli(np.array([log(16)])), T=4, choice="ramp")(Bernoulli(np.zeros(1)), 3)
    point, sure = product.power(Gaussian(r.mean, np.zeros(2)), 0.5), product.power(Bernoulli(np.full(1, np.inf)), 0.0)
    return worst(apart(exact.mean, [8 / 3] * 2), apart(exact.var, [2 / 3] * 2), apart(first.mean, [4, 4]), apart(first.var, [1, 1]),
                 apart(curved.mean, [-6, -6]), apart(bit.prob, [2 / 3]),
                 apart([law.mean[0] for law in whole], [16 / 3, 16]), apart([law.var[0] for law in whole], [1 / 3, 1]),
                 passes(point.mean == r.mean, point.var == 0, sure.logit == 0,
                        refused(lambda: product.exponent(1, T=2, choice="square")),
                        *(np.isinf(product.power(Gaussian(r.mean, var), 0.0).var) for var in (r.var, np.zeros(2)))))


@check("what is known of x_0", "product.noisy", "product.flipped", "product.known")
def what_is_known_of_x_0() -> float:
    """As functions of x: the density of y = x + 0.4 ε; the chance of y after flips of 0.1; and a known value where the mask is
    true, also where y holds no number elsewhere."""
    x, y, mask = np.array([[-1.0], [0.0], [2.5]]), np.array([1.5, -0.5]), np.array([True, False])
    log_r = gaussian.log_prob(x, product.noisy(y, std=0.4))
    flips = product.flipped(np.array([1.0, 0]), rate=0.1)
    held, unset = (product.known(z, mask=mask, kernel=gaussian) for z in (y, np.array([1.5, np.nan])))
    sure = [product.known(np.array([b, 1 - b]), mask=mask, kernel=fix(binomial, rate=0.2)).logit for b in (1.0, 0.0)]
    shared = product.known(np.zeros((2, 3, 2)), mask=mask, kernel=gaussian)
    return worst(apart(log_r - log_r[1], ((y - 0) ** 2 - (y - x) ** 2) / (2 * 0.16)), apart(flips.prob, [0.9, 0.1]),
                 passes(held.mean == [1.5, 0], held.var == [0, np.inf], unset.mean == held.mean, unset.var == held.var,
                        sure[0] == [np.inf, 0], sure[1] == [-np.inf, 0], shared.mean.shape == (2, 3, 2),
                        np.broadcast_to(shared.var, (2, 3, 2))[1, 2] == [0, np.inf]))


BETA = np.array([0, 0.05, 0.2, 0.4, 0.7])
MODEL = linear_gaussian.reverse_kernels(np.array([[0.8, 0.35], [0.35, 1.6]]), BETA, kernels="diagonal")
Y, STD = np.array([[1.5, -0.5]]), 0.7
R = multiplied.normal_factor(Y[0], STD ** 2 * np.eye(2))
PARTS: dict[str, Any] = dict(kernel=gaussian, network=linear)


def _as_the_oracle(path: Path, expected: Any) -> float:
    """Mean and covariance of x_t at every t of a path that is affine in its noise (5, N, 2): one row for every entry of the noise
    set to 1, the others 0, and a row of zeros by itself."""
    noise = np.concatenate([np.zeros((1, 10)), np.eye(10)]).reshape(-1, 5, 2).swapaxes(0, 1)
    laws = {t: (mean[0], (x - mean).T @ (x - mean)) for (t, mean), (_, x) in zip(path(noise[:, :1]), path(noise[:, 1:]))}
    return worst(*(apart(mean, expected[t].mean[0], within=1e-9, scale=1) for t, (mean, _) in laws.items()),
                 *(apart(cov, expected[t].cov[0], within=1e-9, scale=1) for t, (_, cov) in laws.items()))


def _path(factor: product.Factor, noise: Array) -> Iterator[tuple[int, Array]]:
    return product.posterior_path(MODEL, BETA, noise=noise, factor=factor, **PARTS)


def _end(task: Callable[..., Array], noise: Array, **settings: Any) -> Iterator[tuple[int, Array]]:
    """x_0 of a task, as a path."""
    yield 0, task(MODEL, BETA, noise=noise, **settings, **PARTS)


@check("multiplied chain has the method's law", "product.posterior_path", "product.denoise", "product.inpaint",
       "product.posterior_sample", "product.times_gaussian", "product.times", "product.powers", "product.power", "product.exponent",
       "product.guided", "product.perturbed")
def chain_has_the_methods_law() -> float:
    """Mean and covariance of x_t at every t, the start and the last step included, for both choices of eq. 23 and for r_t given one
    by one; and of x_0 of `posterior_sample`, of `denoise` and of `inpaint`, where under the ramp a point is held at all t but T."""
    r, mask = Gaussian(Y, np.full((1, 2), STD ** 2)), np.array([[True, False]])
    own = [multiplied.normal_factor(Y[0] + t, (0.3 + t) * np.eye(2)) for t in range(5)]
    nothing, hold = multiplied.Factor(np.zeros((2, 2)), np.zeros(2)), multiplied.Factor(np.diag([1e13, 0]), np.array([1.5e13, 0]))
    constant, ramp = (multiplied.method(MODEL, of(R, 4)) for of in (multiplied.constant, multiplied.ramp))
    held, but_first = multiplied.held(MODEL, mask[0], Y[0]), multiplied.method(MODEL, [hold] * 4 + [nothing])
    path = dict(_path(product.powers(r, T=4), np.zeros((5, 1, 2))))
    return worst(passes(list(path) == [4, 3, 2, 1, 0]), *(_as_the_oracle(*pair) for pair in (
        (partial(_path, product.powers(r, T=4)), constant), (partial(_path, product.powers(r, T=4, choice="ramp")), ramp),
        (partial(_path, lambda p, t: product.times(p, Gaussian(Y + t, np.full((1, 2), 0.3 + t)))), multiplied.method(MODEL, own)),
        (partial(_end, product.posterior_sample, factor=product.powers(r, T=4)), constant),
        (partial(_end, partial(product.denoise, y=Y), noise_std=STD, choice="constant"), constant),
        (partial(_end, partial(product.denoise, y=Y), noise_std=STD, choice="ramp"), ramp),
        (partial(_end, partial(product.inpaint, y=Y), mask=mask, choice="constant"), held),
        (partial(_end, partial(product.inpaint, y=Y), mask=mask, choice="ramp"), but_first))))


@check("bits: multiplied chain by enumeration", "product.posterior_path", "product.times_bernoulli")
def chain_of_bits_is_the_enumerated_one() -> float:
    """Every path of two bits, T = 3: with noise a part in 1e9 below P(1) for each one wanted, as much above it for each zero, and
    P(1) by the oracle's table of the same step, just that path is taken.  Both choices of eq. 23."""
    beta, rate = bits.CHAINS[0].beta, 0.2
    x, r = enumeration.states(2).astype(np.float64), np.array([1.2, -0.4])
    table, found = np.exp(x @ r), []
    steps = [enumeration.reverse_step(bits._reverse, beta, t, 2, rate=rate) for t in (1, 2, 3)]
    for choice, factors in (("constant", [table] * 4), ("ramp", multiplied.ramp_bits(table, 3))):
        start = np.tile(enumeration.prior(2, rate=rate), (4, 1))
        laws = [step * f for step, f in zip([*steps, start], factors)]
        one = [law / law.sum(axis=1, keepdims=True) @ x for law in laws]         # P(1) of x_t: row x_{t+1}
        path = grid(*[np.arange(4)] * 4)
        above = [path[1], path[2], path[3], path[3]]
        noise = np.stack([bits.making(x[s], p[u]) for s, p, u in zip(path, one, above)])
        taken = dict(product.posterior_path(
            (), beta, noise=noise, kernel=fix(binomial, rate=rate), network=bits.network(bits._logits),
            factor=product.powers(Bernoulli(r), T=3, choice=choice)))
        found.append(passes(*(taken[t] == x[path[t]] for t in range(4))))
    return worst(*found)


@check("noisy states enter the chain", "product.enter", "product.denoiser")
def noisy_states_enter_the_chain() -> float:
    """Isotropic data and the exact reversal: E[x_0 | x_t] = √ᾱ x_t; from y at the noise of step t, x_0 has mean ᾱ y and variance
    1 − ᾱ, with ᾱ² times the variance that is missing up to that noise on top, by a unit of noise at one place after the other."""
    beta, y = np.array([0, 0.1, 0.2, 0.3, 0.4]), np.array([[0.7, -1.2]])
    alpha_bar = np.cumprod(1 - beta)
    parts: dict[str, Any] = dict(kernel=gaussian, network=network(forward_law(beta)))
    found = []
    for t, missing in ((2, 1e-14), (3, 1e-14), (3, 0.1)):
        std = float(np.sqrt(1 / alpha_bar[t] - 1 - missing))
        from_noise = partial(product.enter, (), beta, y, noise_std=std, **parts)
        rest = from_noise(noise=np.zeros((5, 1, 2)))
        units = [from_noise(noise=unit.reshape(5, 1, 2)) - rest for unit in np.eye(10)[::2]]
        found += [apart(rest, alpha_bar[t] * y), apart(product.denoiser((), beta, y, t=t, **parts), np.sqrt(alpha_bar[t]) * y),
                  apart(sum(unit[0, 0] ** 2 for unit in units), 1 - alpha_bar[t] + alpha_bar[t] ** 2 * missing)]
    return worst(*found, passes(refused(partial(product.enter, (), beta, y, noise_std=9.0, noise=np.zeros((5, 1, 2)), **parts))))
