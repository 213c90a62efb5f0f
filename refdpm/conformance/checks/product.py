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
from refdpm.conformance.checks.common import Check, apart, forward_law, grid, linear, network, passes, refused, worst
from refdpm.gaussian import Gaussian
from refdpm.oracles import enumeration, linear_gaussian, multiplied
from refdpm.vjp import Array, fix

Path = Callable[[Array], Iterator[tuple[int, Array]]]

MEANS, CENTRES = np.array([0.5, -2, 3, 0.25, 7]), np.array([2.0, 1, 3, -5, 7.5])
VARIANCES, WIDTHS = np.array([0.25, 4, 1e-6, 1e3, 1]), np.array([0.75, 0.5, 2, 1e-7, 1])


# -- one law times r ---------------------------------------------------------------------------------------------------

def normal_product_by_hand() -> float:
    """N(0.5, ¼) times N(2; x, ¾) is N(0.875, 3/16); a point is taken exactly, and infinite variance changes nothing."""
    q = product.times_gaussian(Gaussian(MEANS, VARIANCES), Gaussian(CENTRES, WIDTHS))
    ends = product.times(Gaussian(MEANS, VARIANCES), Gaussian(CENTRES, np.array([0, np.inf, 0, np.inf, 0])))
    known = np.array([True, False] * 2 + [True])
    return worst(apart(q.mean[0], 0.875), apart(q.var[0], 0.1875),
                 passes(ends.mean == np.where(known, CENTRES, MEANS), ends.var == np.where(known, 0, VARIANCES)))


def bit_product_by_hand() -> float:
    """0.6 times (1, 3) is 9/11; a known bit is certain, and r(0) = r(1) changes nothing."""
    p, r = Bernoulli(np.array([[log(1.5)]])), Bernoulli(np.array([log(3), np.inf, -np.inf, 0.0]))
    return worst(*(apart(f(p, r).prob, [[9 / 11, 1, 0, 0.6]]) for f in (product.times_bernoulli, product.times)))


def first_order_by_hand() -> float:
    """N(1, 4) with ∇log r = ½ becomes N(3, 4); and as var → 0 it is the product with a normal r, up to var²."""
    hand = product.perturbed(Gaussian(np.array([1.0, -1]), np.array([4.0, 0.5])), np.array([0.5, -2]))
    p = Gaussian(MEANS, np.full(5, 1e-8))
    near, exact = product.perturbed(p, (CENTRES - MEANS) / 2), product.times_gaussian(p, Gaussian(CENTRES, np.full(5, 2.0)))
    return worst(apart(hand.mean, [3, -2]), apart(hand.var, [4, 0.5]), apart(near.mean - MEANS, exact.mean - MEANS, within=1e-6))


# -- r at every t ------------------------------------------------------------------------------------------------------

def powers_of_r() -> float:
    """The exponents for T = 4; log r^e = e log r + constant for both families; a point stays one, and r⁰ says nothing."""
    ramp = [product.exponent(t, T=4, choice="ramp") for t in range(5)]
    constant = [product.exponent(t, T=4) for t in range(5)]
    x, r = np.array([[-1.0], [0.5], [2.0]]), Gaussian(CENTRES, WIDTHS)
    half, full = (gaussian.log_prob(x, law) for law in (product.power(r, 0.25), r))
    b = Bernoulli(np.array([1.5, -0.3, np.inf]))
    point = product.power(Gaussian(CENTRES, np.zeros(5)), 0.5)
    none = [product.power(Gaussian(CENTRES, var), 0.0).var for var in (WIDTHS, np.zeros(5))]
    return worst(apart(ramp, [1, 0.75, 0.5, 0.25, 0]), apart(constant, [1.0] * 5),
                 apart(half - half[0], (full - full[0]) / 4, scale=np.abs(full[0]) + np.abs(full)),
                 apart(product.power(b, 0.5).logit, [0.75, -0.15, np.inf]), apart(product.power(b, 0.0).logit, [0, 0, 0]),
                 passes(point.mean == CENTRES, point.var == 0, *(np.isinf(var) for var in none),
                        refused(lambda: product.exponent(1, T=2, choice="square"))))


def factors_by_hand() -> float:
    """At t = 3 of T = 4, with the exponent ¼: N(0, 1) times N(8; x, ½)^¼ is N(8/3, ⅔); to first order, with the gradient
    (8 − x)/½ at 0, N(4, 1); of log r = −x⁴ at the mean 2, not at 0, N(2 − 8, 1).  The bit ½ times (1, 16)^¼ is ⅔."""
    p, r = Gaussian(np.zeros(2), np.ones(2)), Gaussian(np.full(2, 8.0), np.full(2, 0.5))
    exact = product.powers(r, T=4, choice="ramp")(p, 3)
    first = product.guided(lambda x: (8 - x) / 0.5, T=4, choice="ramp")(p, 3)
    curved = product.guided(lambda x: -4 * x ** 3, T=4, choice="ramp")(Gaussian(p.mean + 2, p.var), 3)
    whole = [product.powers(r, T=4)(p, 3), product.guided(lambda x: (8 - x) / 0.5, T=4)(p, 3)]
    bit = product.powers(Bernoulli(np.array([log(16)])), T=4, choice="ramp")(Bernoulli(np.zeros(1)), 3)
    return worst(apart(exact.mean, [8 / 3] * 2), apart(exact.var, [2 / 3] * 2), apart(first.mean, [4, 4]), apart(first.var, [1, 1]),
                 apart(curved.mean, [-6, -6]), apart(bit.prob, [2 / 3]),
                 apart([law.mean[0] for law in whole], [16 / 3, 16]), apart([law.var[0] for law in whole], [1 / 3, 1]))


def expectations_over_what_follows() -> float:
    """E_p[r(x_0) | x_t] at every t against the oracle, which does it in one step from x_0; a gain of 0 forgets r."""
    gain, var = np.array([1.0, 0.9, 1.1, 0.4]), np.array([0.0, 0.1, 0.3, 0.8])
    model = linear_gaussian.Kernels(gain[:, None, None], var[:, None, None])
    r, found = Gaussian(np.array([2.0]), np.array([0.5])), []
    for t, factor in enumerate(multiplied.exact(multiplied.normal_factor(r.mean, r.var[:, None]), model)):
        r = product.expected(r, gain[[t]], var[[t]]) if t else r
        found += [apart(1 / r.var, factor.precision[0]), apart(r.mean / r.var, factor.linear)]
    nothing = product.expected(r, np.zeros(1), np.ones(1))
    return worst(*found, passes(np.isinf(nothing.var), np.isfinite(nothing.mean)))


# -- what is known of x_0 ----------------------------------------------------------------------------------------------

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


# -- the chain ---------------------------------------------------------------------------------------------------------

BETA = np.array([0, 0.05, 0.2, 0.4, 0.7])
MODEL = linear_gaussian.reverse_kernels(np.array([[0.8, 0.35], [0.35, 1.6]]), BETA, kernels="diagonal")
Y, STD = np.array([[1.5, -0.5]]), 0.7
R = multiplied.normal_factor(Y[0], STD ** 2 * np.eye(2))


def _laws(path: Path) -> dict[int, tuple[Array, Array]]:
    """Mean and covariance of x_t at every t, of a path that is affine in its noise (5, N, 2): one row for every entry of the
    noise set to 1, the others 0, and a row of zeros by itself."""
    noise = np.concatenate([np.zeros((1, 10)), np.eye(10)]).reshape(-1, 5, 2).swapaxes(0, 1)
    return {t: (mean[0], (x - mean).T @ (x - mean)) for (t, mean), (_, x) in zip(path(noise[:, :1]), path(noise[:, 1:]))}


def _as_the_oracle(path: Path, expected: Any) -> float:
    found = _laws(path)
    return worst(passes(list(found) == [4, 3, 2, 1, 0]), *(apart(found[t][0], expected[t].mean[0], scale=1) for t in range(5)),
                 *(apart(found[t][1], expected[t].cov[0], scale=1) for t in range(5)))


def _path(factor: product.Factor, noise: Array) -> Iterator[tuple[int, Array]]:
    return product.posterior_path(MODEL, BETA, noise=noise, kernel=gaussian, network=linear, factor=factor)


def chain_has_the_methods_law() -> float:
    """Mean and covariance of x_t at every t, the start and the last step included, for both choices of eq. 23; for r_t given one by
    one; and of x_2 held at its value."""
    r = Gaussian(Y, np.full((1, 2), STD ** 2))
    own = [multiplied.normal_factor(Y[0] + t, (0.3 + t) * np.eye(2)) for t in range(5)]
    found = [_as_the_oracle(partial(_path, product.powers(r, T=4)), multiplied.method(MODEL, multiplied.constant(R, 4))),
             _as_the_oracle(partial(_path, product.powers(r, T=4, choice="ramp")),
                            multiplied.method(MODEL, multiplied.ramp(R, 4))),
             _as_the_oracle(partial(_path, lambda p, t: product.times(p, Gaussian(Y + t, np.full((1, 2), 0.3 + t)))),
                            multiplied.method(MODEL, own))]
    mask = np.array([[False, True]])
    held = partial(_path, product.powers(product.known(Y, mask=mask, kernel=gaussian), T=4))
    return worst(*found, _as_the_oracle(held, multiplied.held(MODEL, mask[0], Y[0])))


def guided_chain_by_hand() -> float:
    """With eq. 61 every step N(G x, C) becomes N(G x + C Λ (y − G x), C), for π at the start with G = 0; by matrices."""
    pull = 1 / STD ** 2
    mean, cov, found = pull * Y[0], np.eye(2), {}
    laws = _laws(partial(_path, product.guided(lambda x: (Y - x) * pull, T=4)))
    for t in (4, 3, 2, 1, 0):
        found[t] = mean, cov
        keep = np.eye(2) - MODEL.cov[t] * pull
        mean, cov = keep @ MODEL.gain[t] @ mean + MODEL.cov[t] @ Y[0] * pull, keep @ MODEL.gain[t] @ cov @ (
            keep @ MODEL.gain[t]).T + MODEL.cov[t]
    return worst(*(apart(got, expected, scale=1) for t in range(5) for got, expected in zip(laws[t], found[t])))


def named_tasks_have_the_methods_law() -> float:
    """x_0 of `denoise` and `inpaint`, with both choices, has the mean and the covariance of the method; and so has x_0 of
    `posterior_sample`.  A point under the ramp is held at every t but T."""
    parts: dict[str, Any] = dict(kernel=gaussian, network=linear)
    mask, found = np.array([[True, False]]), []
    nothing, hold = multiplied.Factor(np.zeros((2, 2)), np.zeros(2)), multiplied.Factor(np.diag([1e13, 0]), np.array([1.5e13, 0]))
    laws = {("denoise", "constant"): multiplied.method(MODEL, multiplied.constant(R, 4))[0],
            ("denoise", "ramp"): multiplied.method(MODEL, multiplied.ramp(R, 4))[0],
            ("inpaint", "constant"): multiplied.held(MODEL, mask[0], Y[0])[0],
            ("inpaint", "ramp"): multiplied.method(MODEL, [hold] * 4 + [nothing])[0]}
    for (task, choice), law in laws.items():
        given: dict[str, Any] = {"noise_std": STD} if task == "denoise" else {"mask": mask}
        of_task = partial(getattr(product, task), MODEL, BETA, Y, choice=choice, **given, **parts)
        mean, cov = _laws(lambda noise: iter([(0, of_task(noise=noise))]))[0]
        found += [apart(mean, law.mean[0], within=1e-9, scale=1), apart(cov, law.cov[0], within=1e-9, scale=1)]
    factor = product.powers(Gaussian(Y, np.full((1, 2), STD ** 2)), T=4)
    mean, cov = _laws(lambda noise: iter([(0, product.posterior_sample(MODEL, BETA, noise=noise, factor=factor, **parts))]))[0]
    law = laws["denoise", "constant"]
    return worst(*found, apart(mean, law.mean[0], scale=1), apart(cov, law.cov[0], scale=1))


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
        noise = np.stack([_beside(x[s], p[u]) for s, p, u in zip(path, one, above)])
        taken = dict(product.posterior_path(
            (), beta, noise=noise, kernel=fix(binomial, rate=rate), network=bits.network(bits._logits),
            factor=product.powers(Bernoulli(r), T=3, choice=choice)))
        found.append(passes(*(taken[t] == x[path[t]] for t in range(4))))
    return worst(*found)


def _beside(x: Array, one: Array) -> Array:
    """Noise on the side of the threshold that makes the bits x, and next to it."""
    return np.where(x == 1, one * (1 - 1e-9), one + (1 - one) * 1e-9)


def noisy_states_enter_the_chain() -> float:
    """Isotropic data and the exact reversal: E[x_0 | x_t] = √ᾱ x_t; from y at the noise of step t, x_0 has mean ᾱ y and variance
    1 − ᾱ, with ᾱ² times the variance that is missing up to that noise on top.  At two points ±a, E[x_0 | x_t] is
    a tanh(√ᾱ a x_t/(1−ᾱ)).

    The sampler is affine in its noise, so a unit of noise at one place after the other gives mean and variance.
    """
    beta, y = np.array([0, 0.1, 0.2, 0.3, 0.4]), np.array([[0.7, -1.2]])
    alpha_bar = np.cumprod(1 - beta)
    model, found = network(forward_law(beta)), []
    for t, missing in ((2, 1e-14), (3, 1e-14), (3, 0.1)):
        std = float(np.sqrt(1 / alpha_bar[t] - 1 - missing))

        def from_noise(noise: Array) -> Array:
            return product.enter((), beta, y, noise_std=std, noise=noise, kernel=gaussian, network=model)

        rest = from_noise(np.zeros((5, 1, 2)))
        units = [from_noise(unit.reshape(5, 1, 2)) - rest for unit in np.eye(10)[::2]]
        variance = 1 - alpha_bar[t] + alpha_bar[t] ** 2 * missing
        found += [apart(rest, alpha_bar[t] * y), apart(sum(unit[0, 0] ** 2 for unit in units), variance),
                  apart(product.denoiser((), beta, y, t=t, kernel=gaussian, network=model), np.sqrt(alpha_bar[t]) * y)]
    a, root = 1.5, np.sqrt(alpha_bar)
    share = 1 - alpha_bar

    def two_points(x: Array, t: Array) -> tuple[Array, Array]:
        c_0, c_t = root[t - 1] * beta[t] / share[t], np.sqrt(1 - beta[t]) * share[t - 1] / share[t]
        return c_0 * a * np.tanh(root[t] * a * x / share[t]) + c_t * x, beta[t]

    e = product.denoiser((), beta, y, t=3, kernel=gaussian, network=network(two_points))
    too_noisy = partial(product.enter, (), beta, y, noise_std=9.0, noise=np.zeros((5, 1, 2)), kernel=gaussian, network=model)
    return worst(apart(e, a * np.tanh(root[3] * a * y / share[3])), *found, passes(refused(too_noisy)))


CHAIN = ("product.posterior_path", "product.times_gaussian", "product.times", "product.powers", "product.power", "product.exponent")

CHECKS = (
    Check("a product of normal laws by hand", ("product.times_gaussian", "product.times"), normal_product_by_hand),
    Check("bits: a product by hand", ("product.times_bernoulli", "product.times"), bit_product_by_hand),
    Check("a product to first order by hand", ("product.perturbed",), first_order_by_hand),
    Check("powers of r", ("product.exponent", "product.power"), powers_of_r),
    Check("factors by hand", ("product.powers", "product.guided"), factors_by_hand),
    Check("expectations over what follows", ("product.expected",), expectations_over_what_follows),
    Check("what is known of x_0", ("product.noisy", "product.flipped", "product.known"), what_is_known_of_x_0),
    Check("multiplied chain has the method's law", CHAIN, chain_has_the_methods_law),
    Check("guided chain by hand", ("product.posterior_path", "product.guided", "product.perturbed"), guided_chain_by_hand),
    Check("denoising and inpainting have the method's law",
          ("product.denoise", "product.inpaint", "product.posterior_sample", *CHAIN), named_tasks_have_the_methods_law),
    Check("noisy states enter the chain", ("product.enter", "product.denoiser"), noisy_states_enter_the_chain),
    Check("bits: multiplied chain by enumeration", ("product.posterior_path", "product.times_bernoulli"),
          chain_of_bits_is_the_enumerated_one),
)
