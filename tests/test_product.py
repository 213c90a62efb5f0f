"""Sec. 2.5 and appendix C: the algebra of eqs. 16 to 21 and 52 to 61, the printed bias of eq. 22, and the choice without bias.

The kit's checks (`conformance.checks.product`) compare the steps with Bayes' rule and the chain with `oracles.multiplied`.
"""

import numpy as np
import pytest

from refdpm import binomial, gaussian, product, schedule
from refdpm.binomial import Bernoulli
from refdpm.conformance.checks import bits
from refdpm.conformance.checks.common import linear
from refdpm.gaussian import Gaussian
from refdpm.oracles import enumeration, linear_gaussian, multiplied
from refdpm.oracles.linear_gaussian import Kernels
from refdpm.vjp import fix


# -- the Gaussian chain, exactly: every step is affine in the state, whose mean and covariance are carried along -----------------

def printed_schedule(T, beta_1=1e-4):
    return np.concatenate([[0.0, beta_1], schedule.reciprocal(T)[2:]])


def law_of(model, factor):
    """Mean (n,) and covariance (n, n) of x_0 under the steps N(G x, diag C) as `product` multiplies them."""
    n = model.gain.shape[1]
    start = factor(gaussian.prior((n,)), len(model.gain) - 1)
    mean, cov = start.mean, np.diag(start.var)
    for t in range(len(model.gain) - 1, 0, -1):
        step = np.diag(model.cov[t]).copy()
        shift, one = (factor(Gaussian(np.full(n, at), step), t - 1) for at in (0.0, 1.0))
        slope = (one.mean - shift.mean)[:, None] * model.gain[t]
        mean, cov = slope @ mean + shift.mean, slope @ cov @ slope.T + np.diag(shift.var)
    return mean, cov


def exact_factor(model, r):
    """r_t = E_p[r(x_0) | x_t] in one dimension, step by step."""
    r_t = [r]
    for gain, var in zip(model.gain[1:, 0], model.cov[1:, 0]):
        r_t.append(product.expected(r_t[-1], gain, var))
    return lambda p, t: product.times(p, r_t[t])


R = Gaussian(np.array([2.0]), np.array([1.0]))


@pytest.mark.eq("22", "23", "App.1 G perturbed")
@pytest.mark.parametrize("s,T,choice,mean,var", [
    (0.25, 20000, "ramp", "0.5254", "0.1584"), (1.0, 40, "constant", "1.3234", "0.3417"),
    (0.25, 40, "constant", "0.6843", "0.1493"), (4.0, 40, "constant", "2.0862", "0.5907")])
def test_printed_bias(s, T, choice, mean, var):
    """PAPER §1.4, all printed digits: data N(0, s), exact reverse kernels, r = N(2; x, 1), the last step multiplied too.

    The other long chains are printed by `oracles.multiplied`, which the kit compares with the steps."""
    model = linear_gaussian.reverse_kernels(np.array([[s]]), printed_schedule(T))
    m, v = law_of(model, product.powers(R, T=T, choice=choice))
    assert (f"{m[0]:.4f}", f"{v[0, 0]:.4f}") == (mean, var)


@pytest.mark.eq("21", "23")
@pytest.mark.parametrize("s", [1.0, 0.25, 4.0])
def test_exact_choice_has_no_bias(s):
    """It gives the model's p(x_0) r(x_0)/Z to rounding; and that differs from the data's only by what β_1 adds, 1e-6 here."""
    model = linear_gaussian.reverse_kernels(np.array([[s]]), printed_schedule(40, beta_1=1e-7))
    m, v = law_of(model, exact_factor(model, R))
    of_model = linear_gaussian.model_covariances(np.array([[s]]), None, kernels=model)[0, 0, 0]
    assert v[0, 0] == pytest.approx(of_model / (of_model + 1), rel=1e-12) and m[0] == pytest.approx(2 * v[0, 0], rel=1e-12)
    assert (m[0], v[0, 0]) == pytest.approx((2 * s / (s + 1), s / (s + 1)), rel=1e-6)


@pytest.mark.eq("22")
def test_held_component():
    """PAPER §1.4, all printed digits: correlation 0.8, one component held at 1.5; wanted are 1.2 and 0.36."""
    model = linear_gaussian.reverse_kernels(np.array([[1, 0.8], [0.8, 1]]), printed_schedule(20000), kernels="diagonal")
    r = product.known(np.array([1.5, np.nan]), mask=np.array([True, False]), kernel=gaussian)
    mean, cov = law_of(model, product.powers(r, T=20000))
    assert (f"{mean[1]:.4f}", f"{cov[1, 1]:.4f}") == ("0.9095", "0.4946") and mean[0] == 1.5 and not cov[0].any()


BETA = np.array([0.0, 0.05, 0.2, 0.4, 0.7])
MODEL = linear_gaussian.reverse_kernels(np.array([[0.8, 0.35], [0.35, 1.6]]), BETA, kernels="diagonal")
Y = np.array([[1.5, -0.5]])


@pytest.mark.eq("16", "22", "23")
@pytest.mark.parametrize("choice", product.CHOICES)
@pytest.mark.parametrize("task", ["denoise", "inpaint"])
def test_samples_have_the_law_of_the_method(task, choice):
    """20000 samples against the exact recursion: mean and covariance within 4.5 standard errors, 5 numbers in each of 4 cases, so
    that one seed in 7000 would fail."""
    noise = np.random.default_rng(7).standard_normal((5, 20000, 2))
    parts = dict(noise=noise, kernel=gaussian, network=linear, choice=choice)
    r = multiplied.normal_factor(Y[0], 0.49 * np.eye(2))
    if task == "denoise":
        law = multiplied.method(MODEL, getattr(multiplied, choice)(r, 4))[0]
        x = product.denoise(MODEL, BETA, Y, noise_std=0.7, **parts)
    else:
        law = multiplied.held(MODEL, np.array([False, True]), Y[0])[0]
        x = product.inpaint(MODEL, BETA, Y, mask=np.array([False, True]), **parts)
        if choice == "ramp":                                    # a point stays a point, but x_T is not held: see below
            free = multiplied.Factor(np.diag([0, 1e12]), np.array([0, -0.5e12]))
            law = multiplied.method(MODEL, [free] * 4 + [multiplied.Factor(np.zeros((2, 2)), np.zeros(2))])[0]
        assert np.array_equal(x[:, 1], np.full(20000, -0.5))
    off = x - law.mean
    error = 4.5 * np.sqrt(np.diag(law.cov[0]) / 20000) + 1e-5
    assert np.all(np.abs(off.mean(axis=0)) < error)
    spread = np.sqrt(np.outer(law.var[0], law.var[0]) * 2 / 20000)
    assert np.all(np.abs(off.T @ off / 20000 - law.cov[0]) < 4.5 * spread + 1e-5)


# -- bits, exactly ---------------------------------------------------------------------------------------------------------

CHAIN = bits.CHAINS[1]
ONES = enumeration.states(2).astype(float)
R_BITS = Bernoulli(np.array([[1.2, -0.4]]))
TABLE = np.exp(ONES @ R_BITS.logit[0])


def reverse(x, t):
    return 1 / (1 + np.exp(-bits._logits(x, t)))


def law_of_bits(factor, *, rate, beta, probability=reverse):
    """The law of x_0 by multiplication of the tables that `product` makes of the laws of every step and state."""
    def table(p):
        one = np.broadcast_to(p.prob, (4, 2))[:, None, :]
        return np.where(ONES, one, 1 - one).prod(axis=2)

    law = table(factor(binomial.prior((4, 2), rate=rate), len(beta) - 1))[0]
    for t in range(len(beta) - 1, 0, -1):
        p = (Bernoulli(binomial.logit(probability(ONES, t))) if t > 1
             else binomial.forward(ONES, np.full((4, 1), beta[1]), rate=rate))
        law = law @ table(factor(p, t - 1))
    return law


@pytest.mark.eq("22", "23", "App.1 B perturbed")
@pytest.mark.parametrize("choice", product.CHOICES)
def test_chain_of_bits_is_the_enumerated_one(choice):
    T = len(CHAIN.beta) - 1
    factors = [TABLE] * (T + 1) if choice == "constant" else multiplied.ramp_bits(TABLE, T)
    expected = multiplied.method_bits(reverse, CHAIN.beta, 2, factors, rate=CHAIN.rate)[0]
    found = law_of_bits(product.powers(R_BITS, T=T, choice=choice), rate=CHAIN.rate, beta=CHAIN.beta)
    wanted = enumeration.model_law(reverse, CHAIN.beta, 2, rate=CHAIN.rate) * TABLE
    assert found == pytest.approx(expected, abs=1e-15) and np.abs(found - wanted / wanted.sum()).max() > 0.01


@pytest.mark.eq("21", "23", "App.1 B perturbed")
def test_exact_choice_for_bits_that_are_apart():
    """Where every bit is reversed by itself r_t is a product over bits, and the samples have the law p(x_0) r(x_0)/Z."""
    def apart(x, t):
        return np.where(x > 0, 0.8 - 0.1 * t, 0.1 + 0.05 * t) + np.array([0.0, 0.07])

    r = [R_BITS]
    for t in range(1, len(CHAIN.beta)):
        one, zero = (apart(np.full((1, 2), float(b)), t) if t > 1 else np.full((1, 2), CHAIN.beta[1] * CHAIN.rate
                     + b * (1 - CHAIN.beta[1])) for b in (1, 0))
        odds = np.exp(r[-1].logit)
        r.append(Bernoulli(np.log(1 - one + one * odds) - np.log(1 - zero + zero * odds)))
    found = law_of_bits(lambda p, t: product.times(p, r[t]), rate=CHAIN.rate, beta=CHAIN.beta, probability=apart)
    wanted = enumeration.model_law(apart, CHAIN.beta, 2, rate=CHAIN.rate) * TABLE
    assert found == pytest.approx(wanted / wanted.sum(), abs=1e-15)


def test_bits_that_are_known_are_kept():
    kernel, noise = fix(binomial, rate=CHAIN.rate), np.random.default_rng(8).random((5, 50, 2))
    factor = product.powers(product.known(np.array([[1.0, 0]]), mask=np.array([[False, True]]), kernel=kernel), T=4)
    parts = dict(noise=noise, kernel=kernel, network=bits.network(bits._logits))
    states = list(product.posterior_path((), CHAIN.beta, factor=factor, **parts))
    assert [t for t, _ in states] == [4, 3, 2, 1, 0]
    assert all(not x[:, 1].any() and 0 < x[:, 0].mean() < 1 for _, x in states)


# -- eqs. 16 to 21, on tables ------------------------------------------------------------------------------------------------

def tables():
    """p(x_t), t = 0..T, and p(x_t | x_{t+1}), rows x_{t+1}, for three bits."""
    beta, rate, n = bits.CHAINS[2].beta, bits.CHAINS[2].rate, 3
    steps = [enumeration.reverse_step(reverse, beta, t + 1, n, rate=rate) for t in range(len(beta) - 1)]
    p = [enumeration.prior(n, rate=rate)]
    for step in steps[::-1]:
        p.insert(0, p[0] @ step)                                                                        # eq. 17
    return p, steps


FACTORS = np.exp(np.random.default_rng(9).standard_normal((4, 8)))              # any r_t at all


def exact_factors(steps):
    r = [FACTORS[0]]
    for step in steps:
        r.append(step @ r[-1])
    return r


@pytest.mark.eq("16", "17", "18", "19", "20", "21")
@pytest.mark.parametrize("choice", ["any", "exact"])
def test_eq_21_is_sufficient(choice):
    """For any r_t the kernel of eq. 21 carries p̃ to p̃; that its rows sum to 1 is another matter."""
    p, steps = tables()
    r = FACTORS if choice == "any" else exact_factors(steps)
    Z = [a @ b for a, b in zip(p, r)]
    tilted = [a * b / z for a, b, z in zip(p, r, Z)]                                                    # eq. 16
    for t, step in enumerate(steps):
        assert p[t + 1] @ step == pytest.approx(p[t], abs=1e-15)                                        # eq. 17
        kernel = step * (Z[t + 1] * r[t]) / (Z[t] * r[t + 1][:, None])                                  # eq. 21
        assert tilted[t + 1] @ kernel == pytest.approx(tilted[t], abs=1e-15)                            # eq. 18
        assert (p[t + 1] * r[t + 1] / Z[t + 1]) @ kernel == pytest.approx(p[t] * r[t] / Z[t], abs=1e-15)                # eq. 19
        assert p[t + 1] @ (kernel * Z[t] * r[t + 1][:, None] / (Z[t + 1] * r[t])) == pytest.approx(p[t], abs=1e-15)     # eq. 20
        off = np.abs(kernel.sum(axis=1) - 1).max()
        assert off < 1e-14 if choice == "exact" else off > 0.1


@pytest.mark.eq("18", "21", "22")
def test_normalising_loses_eq_18():
    p, steps = tables()
    for r, holds in ((FACTORS, False), (exact_factors(steps), True)):
        for t, step in enumerate(steps):
            kernel = step * r[t] / (step @ r[t])[:, None]                                               # eq. 22
            before, after = (p[s] * r[s] / (p[s] @ r[s]) for s in (t + 1, t))
            assert (np.abs(before @ kernel - after).max() < 1e-15) == holds


# -- appendix C ----------------------------------------------------------------------------------------------------------------

MU, SIGMA = np.array([0.3, -1.1]), np.array([0.4, 0.15])
GRID = np.stack(np.meshgrid(np.linspace(-1, 2, 7), np.linspace(-3, 1, 5)), axis=-1).reshape(-1, 2)


def energy_r(y):
    """E_r = −log r for a factor that is not normal."""
    return np.logaddexp(0, 1.5 * y[..., 0] - 0.7 * y[..., 1]) + 0.1 * y[..., 1] ** 2


def slope_r(y):
    share = 1 / (1 + np.exp(-1.5 * y[..., 0] + 0.7 * y[..., 1]))
    return np.stack([1.5 * share, -0.7 * share + 0.2 * y[..., 1]], axis=-1)


def square(y, centre, var):
    return ((y - centre) ** 2 / var).sum(axis=-1) / 2


G = slope_r(MU)


@pytest.mark.eq("52", "53", "54", "55")
def test_energy_of_the_product():
    """log of N(y; μ, Σ) r(y) is −E(y) up to a constant; and for a normal r so is the log of the exact product."""
    log_product = gaussian.log_prob(GRID, Gaussian(MU, SIGMA)).sum(axis=1) - energy_r(GRID)
    assert np.ptp(log_product + square(GRID, MU, SIGMA) + energy_r(GRID)) < 1e-13
    r = Gaussian(np.array([1.0, 0.5]), np.array([0.8, 2.0]))
    exact = gaussian.log_prob(GRID, product.times_gaussian(Gaussian(MU, SIGMA), r)).sum(axis=1)
    assert np.ptp(exact + square(GRID, MU, SIGMA) + square(GRID, *r)) < 1e-12


@pytest.mark.eq("56")
def test_energy_of_r_to_first_order():
    """The error of the expansion falls as the square of the distance."""
    off = [np.abs(energy_r(MU + h * (GRID - MU)) - energy_r(MU) - h * (GRID - MU) @ G).max() for h in (1e-2, 1e-3)]
    assert 80 < off[0] / off[1] < 120


@pytest.mark.eq("57", "58", "59", "60", "61", "App.1 G perturbed")
def test_square_is_completed():
    linear_term = square(GRID, MU, SIGMA) + (GRID - MU) @ G                                                         # eq. 57
    multiplied_out = (GRID ** 2 / SIGMA / 2 - GRID * (MU / SIGMA) + GRID * G).sum(axis=1)                           # eq. 58
    completed = square(GRID, MU - SIGMA * G, SIGMA)                                                                 # eq. 59
    p = product.perturbed(Gaussian(MU, SIGMA), -G)                                                                  # eq. 61
    for energy in (multiplied_out, completed, -gaussian.log_prob(GRID, p).sum(axis=1)):
        assert np.ptp(linear_term - energy) < 1e-12
    assert completed - square(GRID, *p) == pytest.approx(0, abs=1e-12)                                              # eq. 60


@pytest.mark.eq("53", "61")
def test_first_order_of_the_exact_product():
    """The mean is off by O((ΣΛ)²), the variance, which it leaves alone, by O(ΣΛ): tenfold less Σ, a hundred- and a tenfold less."""
    r = Gaussian(np.array([2.0]), np.array([0.5]))
    off = []
    for var in (1e-2, 1e-3):
        p = Gaussian(np.array([0.3]), np.array([var]))
        exact, first = product.times_gaussian(p, r), product.perturbed(p, (r.mean - p.mean) / r.var)
        off.append(((first.mean - exact.mean)[0], (first.var / exact.var - 1)[0]))
    assert off[0][0] / off[1][0] == pytest.approx(100, rel=0.03) and off[0][1] / off[1][1] == pytest.approx(10, rel=0.03)


def test_gradient_of_a_normal_factor_makes_the_same_samples_as_steps_get_small():
    """The chain with eq. 61 against the exact product at every step: the error halves when T doubles."""
    off = []
    for T in (100, 200):
        model = linear_gaussian.reverse_kernels(np.array([[0.25]]), printed_schedule(T))
        exact = law_of(model, product.powers(R, T=T, choice="ramp"))
        first = law_of(model, product.guided(lambda x: 2.0 - x, T=T, choice="ramp"))
        off.append(np.array([first[0][0] - exact[0][0], first[1][0, 0] - exact[1][0, 0]]))
    assert off[0] / off[1] == pytest.approx(2, rel=0.2)


# -- arguments -----------------------------------------------------------------------------------------------------------------

def test_point_and_no_factor():
    p = Gaussian(np.array([0.3, -2.0, 1e9]), np.array([0.1, 2.0, 1e-9]))
    point = product.times(p, Gaussian(np.array([0.1, 0.2, 0.3]), np.zeros(3)))
    assert np.array_equal(point.mean, [0.1, 0.2, 0.3]) and np.array_equal(point.var, [0, 0, 0])
    nothing = product.times(p, Gaussian(np.array([7.0, -7, 7]), np.full(3, np.inf)))
    assert np.array_equal(nothing, p)
    for r in (product.power(Gaussian(np.ones(3), np.zeros(3)), 0.0), product.power(R, 0.0)):
        assert np.array_equal(product.times(p, r), p)
    assert np.array_equal(product.power(Bernoulli(np.array([np.inf, 1.0])), 0.0).logit, [0, 0])


def test_one_image_many_samples():
    """y (1, H, W, C) against N draws of noise, with a mask for one colour; unknown pixels may hold anything."""
    y = np.arange(24.0).reshape(1, 2, 4, 3)
    mask = np.zeros(y.shape, bool)
    mask[..., 1] = True
    noise = np.random.default_rng(0).standard_normal((3, 5, 2, 4, 3))
    network = type("N", (), {"reverse": staticmethod(lambda parameters, x, step, *, t: Gaussian(x / 2, step.beta + 0 * x))})
    x = product.inpaint((), BETA[:3], np.where(mask, y, np.nan), mask=mask, noise=noise, kernel=gaussian, network=network)
    assert x.shape == (5, 2, 4, 3) and np.isfinite(x).all() and np.array_equal(x[..., 1], np.broadcast_to(y[..., 1], (5, 2, 4)))
    assert product.denoise((), BETA[:3], y, noise_std=0.5, noise=noise, kernel=gaussian, network=network).shape == (5, 2, 4, 3)


def test_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="choice: expected one of .*constant.*ramp.*, got 'linear'"):
        product.exponent(1, T=2, choice="linear")


def test_kernels_named_here_are_the_oracles():
    """That `law_of` reads what the package's networks are given: gains and diagonal covariances."""
    assert isinstance(MODEL, Kernels) and not MODEL.cov[2, 0, 1]
