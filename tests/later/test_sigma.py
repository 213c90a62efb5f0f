"""σ instead of ᾱ: the two are the same chain; coefficients by hand and by their defining properties; levels and their law."""

import numpy as np
import pytest
from scipy.integrate import quad

from refdpm import gaussian
from refdpm.later import mean, parametrisation, sigma


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_levels_by_hand():
    """ᾱ = 0.36 is σ = 4/3, and back; the state 0.4 is 2/3 there."""
    level = np.log(column(0.36))
    assert np.allclose(sigma.deviation(level), 4 / 3) and np.allclose(sigma.level(column(4 / 3)), level)
    assert np.allclose(sigma.unscaled(column(0.4), level), 2 / 3)


def test_it_is_the_same_chain():
    """A draw from q(x_t | x_0) divided by √ᾱ is x_0 + σ ε, and x_0 from noise is that less σ ε."""
    rng = np.random.default_rng(0)
    x_0, noise, level = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 3)), -rng.exponential(size=(2, 5, 1))
    x_t = gaussian.draw(gaussian.marginal(x_0, level), noise=noise)
    x, deviation = sigma.unscaled(x_t, level), sigma.deviation(level)
    assert np.allclose(x, sigma.noised(x_0, deviation, noise=noise))
    assert np.allclose(parametrisation.x_0_from_noise(noise, x_t, level), x - deviation * noise)


def test_coefficients_by_hand():
    """σ_d = ½ and σ = ½ e^0 …: at σ = σ_d half of x is kept; at σ = 0.375 the root of σ² + σ_d² is 0.625."""
    at = sigma.scalings(column(0.5, 0.375), sigma_data=0.5)
    assert np.allclose(at.skip, column(0.5, 0.64)) and np.allclose(at.out, column(0.5 / np.sqrt(2), 0.3))
    assert np.allclose(at.into, column(np.sqrt(2), 1.6)) and np.allclose(at.noise, np.log(column(0.5, 0.375)) / 4)
    assert np.allclose(sigma.weight(column(0.5, 0.375), sigma_data=0.5), column(8, 1 / 0.09))
    assert np.allclose(sigma.denoised(column(2.0), column(-1.0), column(0.375), sigma_data=0.5), 0.64 * 2 - 0.3)


@pytest.mark.parametrize("data", [0.5, 1.0, 2.0])
def test_what_defines_the_coefficients(data):
    """Over many draws what goes in and what F is to say have variance 1 at every level, to four standard errors (6e-5 each)."""
    rng, count = np.random.default_rng(1), 200_000
    for level in (0.01, 0.3, 2.0, 50.0):
        c, x_0 = sigma.scalings(np.array(level), sigma_data=data), data * rng.normal(size=count)
        x = x_0 + level * rng.normal(size=count)
        for sample in (c.into * x, (x_0 - c.skip * x) / c.out):
            assert abs(np.mean(sample ** 2) - 1) < 4 * np.sqrt(2 / count)
        assert sigma.weight(np.array(level), sigma_data=data) * c.out ** 2 == pytest.approx(1)


def test_no_other_share_of_x_leaves_less_to_say():
    for level in (0.1, 1.0, 7.0):
        c = sigma.scalings(np.array(level), sigma_data=0.5)
        left = lambda skip: (1 - skip) ** 2 * 0.25 + skip ** 2 * level ** 2
        assert left(c.skip) == pytest.approx(c.out ** 2) and left(c.skip) < min(left(c.skip + 0.01), left(c.skip - 0.01))


def test_levels_of_a_chain_by_hand():
    """Roots 3, 2, 1 of 27, 8, 1 are equally spaced; usually there are 18 levels from 80 to 0.002 with ρ = 7."""
    assert np.allclose(sigma.levels(3, high=27.0, low=1.0, rho=3.0), [27, 8, 1, 0])
    usual = sigma.levels(18, high=80.0, low=0.002, rho=7.0)
    assert len(usual) == 19 and usual[0] == pytest.approx(80) and usual[-2] == pytest.approx(0.002) and usual[-1] == 0
    assert np.allclose(np.diff(usual[:-1] ** (1 / 7), 2), 0, atol=1e-12)
    with pytest.raises(ValueError, match="count: expected at least 2 levels, got 1"):
        sigma.levels(1, high=80.0, low=0.002, rho=7.0)


def test_the_law_of_levels():
    """The logarithm of σ has the mean and deviation that are asked for, to four standard errors."""
    z = np.random.default_rng(2).normal(size=100_000)
    drawn = np.log(sigma.log_normal(np.array(-1.2), np.array(1.2), noise=z))
    assert abs(drawn.mean() + 1.2) < 4 * 1.2 / np.sqrt(len(z)) and abs(drawn.std() - 1.2) < 4 * 1.2 / np.sqrt(2 * len(z))


def test_the_density_of_levels():
    """At σ = e and P = (1, 2) it is 1/(2 e √2π); the integral over σ is 1, and its mean e^(m + s²/2); that of log σ has mean m."""
    assert sigma.log_normal_density(column(np.e), column(1.0), column(2.0)) == pytest.approx(1 / (2 * np.e * np.sqrt(2 * np.pi)))
    mean, spread = np.array(-1.2), np.array(1.2)

    def integral(of):
        return quad(lambda x: of(x) * sigma.log_normal_density(np.array(x), mean, spread), 0, np.inf, limit=200)[0]

    assert integral(lambda x: 1) == pytest.approx(1) and integral(lambda x: x) == pytest.approx(np.exp(-1.2 + 0.72))
    assert integral(np.log) == pytest.approx(-1.2)


def test_the_score_is_the_slope_back():
    """−ε̂/√(1−ᾱ) of the chain, in these coordinates (D − x)/σ²: names of one thing."""
    rng = np.random.default_rng(3)
    x_0, x_t, level = rng.normal(size=(4, 2)), rng.normal(size=(4, 2)), -rng.exponential(size=(4, 1))
    score = parametrisation.score_from_x_0(x_0, x_t, level)
    x, deviation = sigma.unscaled(x_t, level), sigma.deviation(level)
    assert np.allclose(score * np.exp(level / 2), (x_0 - x) / deviation ** 2) and "score" in mean.PREDICTIONS
