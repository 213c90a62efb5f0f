"""From a density to the mass of a level: images are not real numbers but one of 256 levels per component.

A `Grid` has `levels` of them from `low` to `high`, a `width` apart.  Around each lies its bin; the first and the last are open, so
that the masses add up to 1 whatever the law:

    P(k) = Φ((x_k + width/2 − m)/σ) − Φ((x_k − width/2 − m)/σ)        Φ(−∞) = 0 below level 0, Φ(∞) = 1 above the last.

Where σ is large the two are nearly equal, where x_k is far from m both are nearly 0 or 1; a difference of the two has no digits
then.  With c = (x_k − m)/σ and h = width/(2σ) there is a form without cancellation for every bin:

    open      log Φ(h + c), and log Φ(h − c) for the last
    narrow    −½c² − ½ log 2π + log h + log ∫_{−1}^{1} exp(−chs − ½h²s²) ds, by Gauss's rule: where h (1 + |c|) < 1 twelve points
              leave an error below rounding
    wide      log Φ(b) + log(1 − Φ(a)/Φ(b)) with a = −|c| − h, b = −|c| + h: the bin turned to the side where Φ is small.  Here
              Φ(a)/Φ(b) < 0.23

Shapes: p two arrays (N, …), k integers (N, …) in 0..levels−1.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import erfc, erfcx, log1p

from refdpm.doors import open_doors
from refdpm.gaussian import LOG_2PI, Gaussian
from refdpm.vjp import Array, Pullback, unbroadcast

# nodes and weights above 0 of Gauss and Legendre's rule with 12 of them
LEGENDRE = tuple(part[6:] for part in np.polynomial.legendre.leggauss(12))


class Grid(NamedTuple):
    """`levels` ≥ 2 of them, equally far apart, from `low` to `high`."""

    low: float = -1.0
    high: float = 1.0
    levels: int = 256

    @property
    def width(self) -> float:
        """The distance of two levels, and the width of a bin between."""
        return (self.high - self.low) / (self.levels - 1)


def level(k: Array, *, grid: Grid) -> Array:
    """x_k = low + k·width, as a mean of the two ends, both of them exact."""
    gaps = grid.levels - 1
    return grid.low * ((gaps - k) / gaps) + grid.high * (k / gaps)


def nearest(x: Array, *, grid: Grid) -> Array:
    """The number of the level next to x, from 0 to levels − 1: pictures from samples.   Edge: beyond the grid its last level."""
    return np.clip(np.rint((x - grid.low) / grid.width), 0, grid.levels - 1).astype(np.int64)


def dequantised(k: Array, *, noise: Array, levels: int = 256) -> Array:
    """2 (k + u)/levels − 1 with u uniform on [0, 1): a number anywhere in the bin of k, as wide as all others, from −1 to 1.

    A density of these, times the width 2/levels, bounds the mass of k (Theis et al. 2016): log₂(levels/2) bits more per component.
    """
    return 2 * (k + noise) / levels - 1


def log_mass(p: Gaussian, *, k: Array, grid: Grid) -> Array:
    """log P(k) per component, in nats.

    Edge: as var → 0 it is 0 where the mean lies in the bin of k, and falls like −c²/2 elsewhere; nearer to 0 than 1e-308 it is 0.
    Domain: var > 0.
    """
    return log_mass_vjp(p, k=k, grid=grid)[0]


def log_mass_vjp(p: Gaussian, *, k: Array, grid: Grid) -> tuple[Array, Pullback]:
    """Adjoint of `log_mass`.  With F(c, h) the logarithm, and primes for its derivatives (see `_open`, `_narrow`, `_wide`),

        dF = F′_c dc + F′_h dh        dc = −dm/σ − ½ c dvar/var        dh = −½ h dvar/var.
    """
    sigma = np.sqrt(p.var)
    c, h = (level(k, grid=grid) - p.mean) / sigma, grid.width / 2 / sigma + 0 * p.mean
    F, F_c, F_h = _log_mass(c, h, np.where(k == 0, 1, np.where(k == grid.levels - 1, -1, 0)))

    def pullback(dF: Array) -> Gaussian:
        dmean, dvar = -F_c / sigma * dF, -(c * F_c + h * F_h) / (2 * p.var) * dF
        return Gaussian(unbroadcast(dmean, p.mean.shape), unbroadcast(dvar, p.var.shape))

    return F, pullback


def _log_mass(c: Array, h: Array, end: Array) -> tuple[Array, Array, Array]:
    """F, F′_c and F′_h; `end` is 1 where the bin is open below, −1 where it is open above.  Each form sees its own bins only."""
    side = np.where(np.real(c) > 0, -1, 1)                   # the bin turned over: P(c) = P(−c)
    near = side * c
    narrow = np.real(h) * (1 - np.real(near)) < 1
    parts = (_open(np.where(end != 0, h + end * c, 0)), _narrow(np.where(narrow, near, 0), np.where(narrow, h, 1)),
             _wide(np.where(narrow, -1, near), np.where(narrow, 1, h)))
    F, F_c, F_h = (np.select([end != 0, narrow], [ends, n], w) for ends, n, w in zip(*parts))
    return F, F_c * np.where(end != 0, end, side), F_h


def _open(z: Array) -> tuple[Array, Array, Array]:
    """log Φ(z) with z = h ± c: its derivative, the hazard φ(z)/Φ(z), is the one for h, and ± the one for c."""
    value, hazard = _log_cdf(z)
    return value, hazard, hazard


def _log_cdf(z: Array) -> tuple[Array, Array]:
    """log Φ(z) and φ(z)/Φ(z): below −1 from erfcx, which is e^{x²} erfc x, above from what Φ(−z) leaves of 1."""
    low = np.real(z) < -1
    scaled, rest = erfcx(np.where(low, -z, 1) / np.sqrt(2)) / 2, erfc(np.where(low, 0, z) / np.sqrt(2)) / 2
    density = np.exp(np.where(low, 0, -z * z / 2))
    return (np.where(low, np.log(scaled) - z * z / 2, log1p(-rest)),
            np.where(low, 1 / scaled, density / (1 - rest)) / np.sqrt(2 * np.pi))


def _narrow(c: Array, h: Array) -> tuple[Array, Array, Array]:
    """log φ(c) + log h + log I.  Over the bin s has the density exp(−chs − ½h²s²)/I; its moments give

        F′_c = −c − h ⟨s⟩        F′_h = 1/h − c ⟨s⟩ − h ⟨s²⟩.
    """
    total, first, second = np.zeros_like(c), np.zeros_like(c), np.zeros_like(c)
    for s, weight in zip(*LEGENDRE):
        height = 2 * weight * np.exp(-h * h * (s * s / 2))
        even, odd = height * np.cosh(c * h * s), -height * np.sinh(c * h * s)
        total, first, second = total + even, first + s * odd, second + s * s * even
    first, second = first / total, second / total
    F = np.log(total * h) - c * c / 2 - LOG_2PI / 2
    return F, -c - h * first, 1 / h - c * first - h * second


def _wide(c: Array, h: Array) -> tuple[Array, Array, Array]:
    """log Φ(b) + log(1 − r) with r = Φ(a)/Φ(b), a = c − h and b = c + h:

        F′_b = hazard(b)/(1−r)        F′_a = −hazard(a) r/(1−r)        F′_c = F′_b + F′_a        F′_h = F′_b − F′_a.
    """
    (below, hazard_a), (above, hazard_b) = _log_cdf(c - h), _log_cdf(c + h)
    ratio = np.exp(below - above)
    F_b, F_a = hazard_b / (1 - ratio), -hazard_a * ratio / (1 - ratio)
    return above + log1p(-ratio), F_b + F_a, F_b - F_a


open_doors(globals())
