"""Clause of the decoder: the mass that a normal law has in the bin of a level, exactly, and not by an approximation of Φ.

Source: Ho, Jain, Abbeel 2020, sec. 3.3.
"""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.special import log_ndtr

from refdpm.conformance import terms
from refdpm.conformance.chapters.common import D, N, Quantity, Given, Inputs, Output, arrays, exactly, positive, scales, spread_out
from refdpm.conformance.terms import Terms
from refdpm.gaussian import LOG_2PI, Gaussian
from refdpm.later import decoder
from refdpm.later.decoder import Grid
from refdpm.vjp import Array

GRIDS = (Grid(-1.0, 1.0, 256), Grid(-1.0, 1.0, 5), Grid(0.0, 1.0, 2), Grid(-1.0, 3.0, 9), Grid(0.0, 255.0, 256))


# -- inputs ------------------------------------------------------------------------------------------------------------

def _inputs(k: Array, mean: Array, var: Array, grid: Grid) -> Inputs:
    """Levels both by number and by value, and their law in the same units, in which `mean` and `var` are those for −1 … 1."""
    half, centre = (grid.high - grid.low) / 2, (grid.high + grid.low) / 2
    return {"k": k, "x_0": decoder.level(k, grid=grid), "mean": exactly(centre + half * mean), "var": exactly(half * half * var),
            **grid._asdict()}


@st.composite
def _draws(draw: st.DrawFn) -> Inputs:
    grid = draw(st.sampled_from(GRIDS))
    k = draw(npst.arrays(np.int64, (N, D), elements=st.integers(0, grid.levels - 1)))
    return _inputs(k, draw(arrays(N, D, low=-1.5, high=1.5)), draw(positive(N, D, low=0.001, high=4)), grid)


def _edges(given: Given) -> list[Inputs]:
    """The ends of every grid and some bins between, under laws wide and narrow, near and far; 256 levels from −1 to 1 first."""
    found: list[Inputs] = []
    for grid in GRIDS:
        last = grid.levels - 1
        k = np.unique(np.clip([0, 1, 2, last // 3, last // 2, last - 1, last], 0, last))[:, None]
        k = np.broadcast_to(k, (len(k), 4)).copy()
        near = spread_out(*k.shape, start=0.1 * len(found), low=-1.1, high=1.1)
        found.append(_inputs(k, near, np.broadcast_to([0.0625, 0.25, 1.0, 4.0], k.shape), grid))
        found.append(_inputs(k, near, np.broadcast_to([1e-4, 1e-3, 0.01, 0.03125], k.shape), grid))
    return found


# -- the reference, and its scale ----------------------------------------------------------------------------------------

def _grid(i: Inputs) -> Grid:
    return Grid(i["low"], i["high"], i["levels"])


def _log_mass(i: Inputs) -> tuple[Array, ...]:
    return decoder.log_mass(Gaussian(i["mean"], i["var"]), k=i["k"], grid=_grid(i)),


def _log_mass_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    return decoder.log_mass_vjp(Gaussian(i["mean"], i["var"]), k=i["k"], grid=_grid(i))[1](cotangents[0])._asdict()


def _scale(i: Inputs) -> tuple[Array, ...]:
    """log Φ(b) + log(1 − Φ(a)/Φ(b)) on the side where Φ is small; log Φ in the open bins."""
    grid = _grid(i)
    x = Terms(i["x_0"], np.abs(i["x_0"]) + grid.width)
    sigma = terms.sqrt(i["var"])
    half, c = grid.width / 2 / sigma, (x - i["mean"]) / sigma
    turned = terms.where(c.value > 0, -c, c)
    above, below = _log_cdf(turned + half), _log_cdf(turned - half)
    inside = above + terms.log(1 - terms.exp(below - above))
    ends = terms.where(i["k"] == 0, c, -c) + half
    return scales(terms.where((i["k"] == 0) | (i["k"] == grid.levels - 1), _log_cdf(ends) + Terms(0.0, 1.0), inside))


def _log_cdf(z: Terms) -> Terms:
    """log Φ, whose slope is φ/Φ."""
    value = log_ndtr(z.value)
    return Terms(value, np.exp(-z.value * z.value / 2 - LOG_2PI / 2 - value) * z.error + np.abs(value))


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "decoder_log_mass", "DEC.MASS", "log P(k) = log [Φ((x_k + w/2 − m)/σ) − Φ((x_k − w/2 − m)/σ)] per component, levels x_k "
        "from low to high, w apart, the first and the last bin open; k counts from 0, x_0 is x_k", ("Ho 2020",),
        (Output("VALUE", "information"),), lambda given: _draws(), _edges, _log_mass, _scale, vjp=_log_mass_vjp,
        arguments=("mean", "var")),
)
