"""The same chain divided by √ᾱ: a level is then told by σ, the deviation of the noise beside data of full size.

    x_t = √ᾱ x_0 + √(1−ᾱ) ε      divided by √ᾱ:      x = x_0 + σ ε,      σ² = (1−ᾱ)/ᾱ = 1/SNR

So σ and ᾱ are two names of one level, a network for the one is a network for the other that is told x_t or x_t/√ᾱ, and every
formula of the chain holds here with ᾱ = 1/(1 + σ²).  Nothing but the data is scaled down on the way, and a deviation adds up:
x at a higher level σ' is x at σ and independent noise of variance σ'² − σ².

A network F that is to say x_0 at every σ should neither see numbers of all sizes nor have to say them.  With data of deviation
σ_d it is given c_in x and asked for what is left of x_0 after a share of x itself,

    D(x, σ) = c_skip x + c_out F(c_in x, c_noise)

and three demands fix the coefficients (Karras, Aittala, Aila, Laine 2022):

    what goes in has variance 1        c_in² (σ² + σ_d²) = 1
    what F is to say has variance 1    (1 − c_skip)² σ_d² + c_skip² σ² = c_out²
    an error of F counts least         c_out is as small as it can be: ½ d/dc_skip = −(1 − c_skip) σ_d² + c_skip σ² = 0

The last gives c_skip = σ_d²/(σ² + σ_d²), and the second with it c_out² = σ² σ_d²/(σ² + σ_d²).  The weight 1/c_out² of an error of D
makes every error of F weigh 1.

Shapes: states (N, …); sigma, log_alpha_bar (N, 1, …), or one number.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import log1p

from refdpm.doors import integer, open_doors
from refdpm.vjp import Array, Pullback, unbroadcast


# -- one level under two names -----------------------------------------------------------------------------------------

def deviation(log_alpha_bar: Array) -> Array:
    """σ = √((1−ᾱ)/ᾱ), without a subtraction √(e^−ℓ − 1) of ℓ = log ᾱ.   Domain: ᾱ > 0."""
    return np.sqrt(np.expm1(-log_alpha_bar))


def deviation_vjp(log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `deviation`:   dσ = −½ (1/σ + σ) dℓ.   Domain: 0 < ᾱ < 1."""
    sigma = deviation(log_alpha_bar)
    return sigma, lambda dsigma: -(1 / sigma + sigma) / 2 * dsigma


def level(sigma: Array) -> Array:
    """ℓ = log ᾱ = −log(1 + σ²)."""
    return -log1p(sigma * sigma)


def level_vjp(sigma: Array) -> tuple[Array, Pullback]:
    """Adjoint of `level`:   dℓ = −2σ/(1 + σ²) dσ."""
    return level(sigma), lambda dlevel: -2 * sigma / (1 + sigma * sigma) * dlevel


def unscaled(x_t: Array, log_alpha_bar: Array) -> Array:
    """x = x_t/√ᾱ, the state of the chain in these coordinates.   Domain: ᾱ > 0."""
    return x_t * np.exp(-log_alpha_bar / 2)


def unscaled_vjp(x_t: Array, log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `unscaled`:   dx = dx_t/√ᾱ − ½ x dℓ."""
    x, grow = unscaled(x_t, log_alpha_bar), np.exp(-log_alpha_bar / 2)
    return x, lambda dx: (unbroadcast(grow * dx, x_t.shape), unbroadcast(-x / 2 * dx, log_alpha_bar.shape))


def noised(x_0: Array, sigma: Array, *, noise: Array) -> Array:
    """x = x_0 + σ ε."""
    return x_0 + sigma * noise


def noised_vjp(x_0: Array, sigma: Array, *, noise: Array) -> tuple[Array, Pullback]:
    """Adjoint of `noised`:   dx = dx_0 + ε dσ."""
    x = noised(x_0, sigma, noise=noise)
    return x, lambda dx: (unbroadcast(dx, x_0.shape), unbroadcast(noise * dx, sigma.shape))


# -- a network that sees and says numbers of size 1 ------------------------------------------------------------------------

class Scalings(NamedTuple):
    """c_skip, c_out, c_in and c_noise."""

    skip: Array
    out: Array
    into: Array
    noise: Array


def scalings(sigma: Array, *, sigma_data: float) -> Scalings:
    """c_skip = σ_d²/(σ² + σ_d²), c_out = σ σ_d/√(σ² + σ_d²), c_in = 1/√(σ² + σ_d²), c_noise = ¼ log σ.   Domain: σ > 0."""
    var = sigma * sigma + sigma_data * sigma_data
    root = np.sqrt(var)
    return Scalings(sigma_data * sigma_data / var, sigma * sigma_data / root, 1 / root, np.log(sigma) / 4)


def scalings_vjp(sigma: Array, *, sigma_data: float) -> tuple[Scalings, Pullback]:
    """Adjoint of `scalings`.  With V = σ² + σ_d²,

        dc_skip = −2σ c_skip/V dσ    dc_out = (σ_d/√V)³ dσ    dc_in = −σ c_in/V dσ    dc_noise = dσ/4σ.
    """
    c = scalings(sigma, sigma_data=sigma_data)
    over = c.into * c.into                                           # 1/V

    def pullback(dc: Scalings) -> Array:
        return (-2 * sigma * c.skip * over * dc.skip + (sigma_data * c.into) ** 3 * dc.out - sigma * c.into * over * dc.into
                + dc.noise / (4 * sigma))

    return c, pullback


def denoised(x: Array, said: Array, sigma: Array, *, sigma_data: float) -> Array:
    """D = c_skip x + c_out F, where F has `said` so at c_in x and c_noise."""
    c = scalings(sigma, sigma_data=sigma_data)
    return c.skip * x + c.out * said


def denoised_vjp(x: Array, said: Array, sigma: Array, *, sigma_data: float) -> tuple[Array, Pullback]:
    """Adjoint of `denoised`:   dD = c_skip dx + c_out dF + (x dc_skip/dσ + F dc_out/dσ) dσ, as in `scalings_vjp`."""
    c = scalings(sigma, sigma_data=sigma_data)
    skip, out = -2 * sigma * c.skip * c.into * c.into, (sigma_data * c.into) ** 3

    def pullback(d: Array) -> tuple[Array, Array, Array]:
        return (unbroadcast(c.skip * d, x.shape), unbroadcast(c.out * d, said.shape),
                unbroadcast((skip * x + out * said) * d, sigma.shape))

    return denoised(x, said, sigma, sigma_data=sigma_data), pullback


def weight(sigma: Array, *, sigma_data: float) -> Array:
    """1/c_out² = 1/σ² + 1/σ_d², the weight of a squared error of D."""
    return 1 / (sigma * sigma) + 1 / (sigma_data * sigma_data)


def weight_vjp(sigma: Array, *, sigma_data: float) -> tuple[Array, Pullback]:
    """Adjoint of `weight`:   dw = −2/σ³ dσ."""
    return weight(sigma, sigma_data=sigma_data), lambda dweight: -2 / sigma ** 3 * dweight


# -- which levels ------------------------------------------------------------------------------------------------------

def log_normal(mean: Array, spread: Array, *, noise: Array) -> Array:
    """σ = exp(P_mean + P_std z), a level at which to train, for unit normal z."""
    return np.exp(mean + spread * noise)


def log_normal_vjp(mean: Array, spread: Array, *, noise: Array) -> tuple[Array, Pullback]:
    """Adjoint of `log_normal`:   dσ = σ (dP_mean + z dP_std)."""
    sigma = log_normal(mean, spread, noise=noise)
    return sigma, lambda d: (unbroadcast(sigma * d, mean.shape), unbroadcast(noise * sigma * d, spread.shape))


def log_normal_density(sigma: Array, mean: Array, spread: Array) -> Array:
    """The density of such a σ: exp(−½ r²)/(σ P_std √(2π)), r = (log σ − P_mean)/P_std.

    Derivation: r is z of `log_normal`, unit normal, and dr/dσ = 1/(σ P_std).   Domain: σ > 0, P_std > 0.
    """
    r = (np.log(sigma) - mean) / spread
    return np.exp(-r * r / 2) / (np.sqrt(2 * np.pi) * spread * sigma)


def log_normal_density_vjp(sigma: Array, mean: Array, spread: Array) -> tuple[Array, Pullback]:
    """Adjoint of `log_normal_density`:   dp = p [−(1 + r/P_std)/σ dσ + r/P_std dP_mean + (r² − 1)/P_std dP_std]."""
    density, r = log_normal_density(sigma, mean, spread), (np.log(sigma) - mean) / spread

    def pullback(d: Array) -> tuple[Array, Array, Array]:
        dlog = density * d
        return (unbroadcast(-(1 + r / spread) / sigma * dlog, sigma.shape), unbroadcast(r / spread * dlog, mean.shape),
                unbroadcast((r * r - 1) / spread * dlog, spread.shape))

    return density, pullback


def levels(count: int, *, high: float, low: float, rho: float) -> Array:
    """The levels at which to sample: `count` of them from σ_max down to σ_min, equally spaced in σ^(1/ρ), and then 0.

        σ_i = (σ_max^(1/ρ) + i/(count−1) (σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ,   i = 0..count−1

    Raises: ValueError for fewer than two.
    """
    if integer(count, "count") < 2:
        raise ValueError(f"count: expected at least 2 levels, got {count}")
    start, end = high ** (1 / rho), low ** (1 / rho)
    return np.append((start + np.arange(count) / (count - 1) * (end - start)) ** rho, 0.0)


open_doors(globals())
