"""Steps along the flow: by hand, as DDIM under another name, and as exact chains on normal data."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from refdpm import schedule
from refdpm.conformance.chapters import solver as chapter
from refdpm.later import sampler, sigma, solver
from refdpm.oracles import flow

S2 = 0.25
LEVELS = np.geomspace(10, 0.05, 41)
ONE = np.ones((1, 1))


def denoiser(x, at):
    return x * S2 / (S2 + at ** 2)


def number(x):
    return np.array(float(x))


def test_steps_by_hand():
    """From σ = 2 to 1 at x = 3 with D = 1: the slope is 1, Euler 2; with D' = 1.5 the second slope is ½, so that Heun has 2.25."""
    x, said, after = 3 * ONE, ONE, 1.5 * ONE
    assert solver.slope(x, said, 2 * ONE) == 1 and solver.euler(x, said, 2 * ONE, ONE) == 2
    assert solver.heun(x, said, after, 2 * ONE, ONE) == pytest.approx(3 - (1 + 0.5) / 2)


def test_two_looks_by_hand():
    """σ = 4, 2, 1: both steps are log 2 long, so that D̃ = 1.5 D − ½ D_before; D = 1 and 2 before make ½, and ½ · 3 + ½ · ½."""
    assert solver.multistep(3 * ONE, ONE, 2 * ONE, 4 * ONE, 2 * ONE, ONE) == pytest.approx(1.75)
    assert solver.multistep(3 * ONE, ONE, 2 * ONE, 8 * ONE, 2 * ONE, ONE) == pytest.approx(1.5 + 0.5 * (1 - 0.25))


def test_two_looks_in_the_coordinates_of_the_chain():
    """As DPM-Solver++ prints it, with α² = ᾱ and σ² = 1 − ᾱ: x' = (σ'/σ) x − α' (e^−h − 1) D̃, h = λ' − λ and r = h_before/h."""
    x, said, before, levels = 1.75, 0.5, -2.0, np.array([0.2, 0.5, 0.9])
    alpha, sigma_t = np.sqrt(levels), np.sqrt(1 - levels)
    h_before, h = np.diff(np.log(alpha / sigma_t))
    there = sigma_t[2] / sigma_t[1] * x - alpha[2] * np.expm1(-h) * (said + (said - before) * h / h_before / 2)
    found = solver.multistep(x / alpha[1] * ONE, said * ONE, before * ONE, *(part * ONE for part in sigma_t / alpha))
    assert alpha[2] * found.item() == pytest.approx(there, rel=1e-14)


def test_noise_on_the_way_by_hand():
    """σ = 2 to 1: σ_up² = ¾ and σ_down = ½; η = 2 would be too much, and takes all.  γ = ¼ makes σ̂ = 2.5 and √(6.25 − 4) = 1.5."""
    down, up = solver.split(2 * ONE, ONE, eta=1.0)
    assert down == pytest.approx(0.5) and up == pytest.approx(np.sqrt(0.75))
    assert solver.split(2 * ONE, ONE, eta=2.0) == (0, 1)
    x, at = solver.raised(3 * ONE, 2 * ONE, gamma=0.25, noise=-2 * ONE, scale=1.5)
    assert at == 2.5 and x == pytest.approx(3 - 1.5 * 1.5 * 2)
    some = dict(amount=4.0, low=0.5, high=5.0)
    assert solver.churn(np.array([0.4, 2, 6]), count=18, **some) == pytest.approx([0, 4 / 18, 0])
    assert solver.churn(number(2), count=2, **some) == pytest.approx(np.sqrt(2) - 1)


def test_the_last_step_is_what_the_network_says():
    x = np.array([[1.5, -2.0]])
    for step in (solver.euler_step, solver.heun_step):
        assert np.array_equal(step(x, number(0.7), number(0), denoiser=denoiser), denoiser(x, 0.7))
    assert np.array_equal(solver.multistep_path(x, np.array([2, 1, 0.0]), denoiser=denoiser),
                          denoiser(solver.euler_step(x, number(2), number(1), denoiser=denoiser), 1.0))


def test_ddim_by_another_name():
    """A step of DDIM without noise, divided by √ᾱ, is Euler's; and at η = 1 the ancestral one is Euler's to σ_down and σ_up ε."""
    rng = np.random.default_rng(0)
    beta = schedule.linear(6, beta_1=0.05, beta_T=0.5)
    level, t = schedule.log_alpha_bar(beta), np.array([2, 3, 6, 5])
    x_t, x_0, noise = rng.normal(size=(3, 4, 2))
    at, before = (level[i][:, None] for i in (t, t - 1))
    for eta in (0.0, 0.5, 1.0):
        law = sampler.jump(x_0, x_t, beta[t][:, None], before, eta=eta)
        high, low = sigma.deviation(at), sigma.deviation(before)
        down, up = solver.split(high, low, eta=eta)
        there = solver.euler(sigma.unscaled(x_t, at), x_0, high, down) + up * noise
        assert np.allclose(sigma.unscaled(law.mean + np.sqrt(law.var) * noise, before), there)


def test_chains_on_normal_data():
    """41 levels from 10 to 0.05, s² = ¼: the flow's 0.0501867, Heun's 0.0502999."""
    euler, heun = (solver.path(ONE, LEVELS, denoiser=denoiser, step=step).item() for step in (solver.euler_step, solver.heun_step))
    assert heun == pytest.approx(0.0502999, abs=5e-8)
    assert euler == pytest.approx(flow.euler(S2, LEVELS)) and heun == pytest.approx(flow.heun(S2, LEVELS))
    for levels in (LEVELS, np.append(LEVELS, 0)):
        assert solver.multistep_path(ONE, levels, denoiser=denoiser).item() == pytest.approx(flow.multistep(S2, levels))


@pytest.mark.parametrize("mistake,factor", [("SLV-HEUN-OLD", 0.0574126), ("SLV-HEUN-BY", 0.0610233)])
def test_chains_with_a_wrong_second_slope(mistake, factor):
    """Its denoiser and divisor at the old level, or its divisor alone."""
    wrong, = (one for one in chapter.MISTAKES if one.id == mistake)
    x = solver.path(ONE, LEVELS, denoiser=denoiser, step=wrong.plant(solver.heun_step))
    assert x.item() == pytest.approx(factor, abs=5e-8)


def test_the_flow_on_normal_data():
    """With many levels Heun's chain is the flow x ∝ √(s² + σ²): 0.0501867."""
    x = solver.path(ONE, np.geomspace(10, 0.05, 4001), denoiser=denoiser)
    assert x.item() == pytest.approx(0.0501867, abs=6e-8)


def variance_of(step, levels):
    """Of normal data, from one unit of noise at a time: the squares of the coefficients add up."""
    units = np.eye(len(levels))
    start = units[:, :1] * np.sqrt(S2 + levels[0] ** 2)
    x = solver.noisy_path(start, levels, denoiser=denoiser, noise=units[1:, :, None], step=step)
    return np.sum(x ** 2)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ancestral_chains_have_the_exact_variance(eta):
    levels = np.geomspace(10, 0.05, 9)
    assert variance_of(partial(solver.ancestral_step, eta=eta), levels) == pytest.approx(flow.ancestral(S2, levels, eta=eta))


@pytest.mark.parametrize("end", [0.05, 0.0])
def test_chains_with_churn_have_the_exact_variance(end):
    """γ is 2/8 inside of the range, 1 would be too much and is √2 − 1, and nothing is raised outside."""
    levels = np.append(np.geomspace(10, 0.1, 8), end)
    inside = (levels[:-1] >= 0.2) & (levels[:-1] <= 4)
    for amount, gamma in ((2.0, 0.25), (8.0, np.sqrt(2) - 1), (0.0, 0.0)):
        step = partial(solver.churned_step, count=8, amount=amount, low=0.2, high=4.0, scale=1.25)
        exact = flow.churned(S2, levels, gammas=np.where(inside, gamma, 0.0), scale=1.25)
        assert variance_of(step, levels) == pytest.approx(exact)


@pytest.mark.parametrize("end", [0.05, 0.0])
def test_the_last_step_may_be_eulers(end):
    """x + (σ' − σ) (x − D)/σ from σ = 1; to 0 it always is."""
    levels = np.array([4.0, 2.0, 1.0, end])
    by_heun = solver.path(ONE, levels[:-1], denoiser=denoiser)
    exact = by_heun + (end - 1) * (by_heun - denoiser(by_heun, 1.0))
    assert solver.path(ONE, levels, denoiser=denoiser, last=solver.euler_step).item() == pytest.approx(exact.item())
    assert (solver.path(ONE, levels, denoiser=denoiser).item() == pytest.approx(exact.item())) == (end == 0)


@pytest.mark.parametrize("end", [0.05, 0.0])
def test_the_last_step_with_churn_may_be_eulers(end):
    """From σ̂ = 1.25 σ, where the state has √(1.25² − 1) σ ε more."""
    levels, noise = np.array([4.0, 2.0, end]), np.array([[[0.5]], [[-1.0]]])
    step = partial(solver.churned_step, count=8, amount=2.0, low=0.0, high=9.0)
    before = solver.noisy_path(ONE, levels[:2], denoiser=denoiser, noise=noise[:1], step=step)
    raised = before + 2 * 0.75 * noise[1]
    exact = raised + (end - 2.5) * (raised - denoiser(raised, 2.5)) / 2.5
    x = solver.noisy_path(ONE, levels, denoiser=denoiser, noise=noise, step=step, last=partial(step, step=solver.euler_step))
    assert x.item() == pytest.approx(exact.item())


def test_every_step_gets_the_next_noise():
    """With a network that says 0 and σ = 4, 2, 1: σ_up² is 2² 12/16 and 1² 3/4, σ_down 1 and ½, and so x is a quarter of itself."""
    x = solver.noisy_path(np.array([[8.0]]), np.array([4.0, 2.0, 1.0]), denoiser=lambda x, at: 0 * x,
                          noise=np.array([[[2.0]], [[-1.0]]]))
    assert x.item() == pytest.approx((8 / 4 + np.sqrt(3) * 2) / 4 - np.sqrt(0.75))


def test_churn_leaves_the_marginal_as_it_is():
    """Raised, the variance s² + σ² is s² + σ̂²."""
    x, at = solver.raised(np.array([[np.sqrt(S2 + 4)], [0.0]]), 2 * ONE, gamma=0.3, noise=np.array([[0.0], [1.0]]))
    assert np.sum(x ** 2) == pytest.approx(S2 + at.item() ** 2)


def test_a_level_at_either_end_is_raised_too():
    levels = np.array([0.04, 0.05, 1.0, 50.0, 51.0])
    assert solver.churn(levels, count=20, amount=4.0, low=0.05, high=50.0).tolist() == [0.0, 0.2, 0.2, 0.2, 0.0]


def likelihood(x_0, levels, sign=1):
    """With the change of volume added, or with the other sign subtracted."""
    def trace(x, at):
        size = x_0.shape[1]
        return np.full(len(x), size * (sign * S2 / (S2 + at ** 2) + (1 - sign)))
    return solver.log_likelihood(x_0, levels, denoiser=denoiser, trace=trace)


def test_likelihood_by_the_flow():
    """N(0, ¼) at ½: −0.7257914, and in two dimensions the sum."""
    x_0 = np.array([[0.5, 0.5], [0.0, -1.0]])
    found = likelihood(x_0, np.geomspace(1e-5, 2000, 10_000))
    assert found == pytest.approx(norm(0, 0.5).logpdf(x_0).sum(axis=1), abs=2e-6)
    assert found[0] / 2 == pytest.approx(-0.7257914, abs=1e-6)


def test_what_comes_the_wrong_way_depends_on_how_far_one_goes():
    """By twice log(σ_max/σ_max') more for every component, and the right number does not."""
    short, long = np.geomspace(1e-4, 200, 3000), np.geomspace(1e-4, 2000, 3000)
    right, wrong = (np.diff([likelihood(np.array([[0.5]]), levels, sign=sign).item() for levels in (short, long)]).item()
                    for sign in (1, -1))
    assert right == pytest.approx(0, abs=1e-5) and wrong == pytest.approx(-2 * np.log(10), abs=1e-3)
