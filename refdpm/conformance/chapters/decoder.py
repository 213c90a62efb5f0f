"""Clause of the decoder: the mass that a normal law has in the bin of a level, exactly, and not by an approximation of Φ.

Source: Ho, Jain, Abbeel 2020, sec. 3.3.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays
from refdpm.conformance.chapters.ends import BOTH, Case, Sampler, wide
from refdpm.conformance.chapters.inputs import D, N, Given, Inputs, exactly, positive, spread_out
from refdpm.conformance.chapters.quantity import Output, Quantity
from refdpm.conformance.chapters.theory import Theory, normal
from refdpm.conformance.planting import Mistake, Plant, instead, pulled, told, without
from refdpm.gaussian import Gaussian
from refdpm.later import decoder
from refdpm.later.decoder import Grid
from refdpm.textbook import decoder as book
from refdpm.textbook.chain import Normal
from refdpm.textbook.expression import given, node
from refdpm.textbook.page import Page
from refdpm.vjp import Array

GRIDS = (Grid(-1.0, 1.0, 256), Grid(-1.0, 1.0, 5), Grid(0.0, 1.0, 2), Grid(-1.0, 3.0, 9), Grid(0.0, 255.0, 256))


# -- inputs ------------------------------------------------------------------------------------------------------------

def _inputs(k: Array, mean: Array, var: Array, grid: Grid) -> Inputs:
    """Levels both by number and by value, and their law in the same units, in which `mean` and `var` are those for −1 … 1."""
    half, centre = (grid.high - grid.low) / 2, (grid.high + grid.low) / 2
    return {"k": k, "x_0": decoder.level(k, grid=grid), "mean": exactly(centre + half * mean), "var": exactly(half * half * var),
            **grid._asdict()}


@draws.composed
def _draws(draw: Callable[[Draw], Any]) -> Inputs:
    grid = draw(draws.one_of(GRIDS))
    k = draw(draws.integer_arrays((N, D), 0, grid.levels - 1))
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


def _grid(i: Inputs) -> Grid:
    return Grid(i["low"], i["high"], i["levels"])


def _page(i: Inputs) -> Page:
    """Levels are rounded, even those that are given: the ones that are meant are those of k."""
    return Page(i | {"x_0": decoder.level(i["k"], grid=_grid(i))}, errors={"x_0": np.abs(i["x_0"]) + _grid(i).width})


LAW, GRID = Normal(given("mean"), given("var")), book.Grid(given("low"), given("high"), given("levels"))

LOG_MASS = Quantity(
    "decoder_log_mass", "DEC.MASS", "log P(k) = log [Φ((x_k + w/2 − m)/σ) − Φ((x_k − w/2 − m)/σ)] per component, levels x_k "
    "from low to high, w apart, the first and the last bin open; k counts from 0, x_0 is x_k", ("Ho 2020",),
    (Output("VALUE", "information"),), lambda given: _draws(), _edges,
    Theory(decoder.log_mass, normal("mean", "var"), fixed=("k",), grid=_grid),
    book.log_mass(given("x_0"), LAW, given("k"), GRID), arguments=("mean", "var"), page=_page)


# -- bytes and back --------------------------------------------------------------------------------------------------------

BYTES, K = Grid(), given("k")
ALL_BYTES = np.arange(256).reshape(64, 4)
NOISE = spread_out(64, 4, start=0.4, low=0, high=0.984375)


def _off_the_middles(x: Array) -> Array:
    """At a quarter of the way from a level to the next: what is in the middle may be rounded up or down."""
    return exactly((np.floor(127.5 * (x + 1)) + 0.25) / 127.5 - 1)


BYTES_AND_BACK: tuple[Quantity, ...] = (
    Quantity(
        "scaled_bytes", "DEC.SCALED", "k/127.5 − 1 of bytes k", ("Ho 2020",), (Output("VALUE"),),
        lambda given: draws.named({"k": draws.integer_arrays((N, D), 0, 255)}), lambda given: [{"k": ALL_BYTES}],
        Theory(decoder.level, "k", grid=lambda i: BYTES), book.scaled(K)),
    Quantity(
        "nearest_bytes", "DEC.BYTES", "127.5 (x + 1), rounded to the nearest, from 0 to 255: bytes from samples x", ("Ho 2020",),
        (Output("VALUE", "integer"),), lambda given: draws.named({"x": arrays(N, D, low=-1.5, high=1.5).map(_off_the_middles)}),
        lambda given: [{"x": exactly(decoder.level(ALL_BYTES, grid=BYTES) + shift / 255)} for shift in (0.25, 0.75, -0.5)],
        Theory(decoder.nearest, "x", grid=lambda i: BYTES), book.nearest(given("x"), book.grid_of(BYTES), 256)),
    Quantity(
        "dequantised_bytes", "DEC.UNIFORM", "(k + u)/128 − 1 of bytes k, with noise u uniform on [0, 1)", ("Theis 2016",),
        (Output("VALUE"),), lambda given: draws.named({"k": draws.integer_arrays((N, D), 0, 255),
                                                       "noise": arrays(N, D, low=0, high=0.984375)}),
        lambda given: [{"k": ALL_BYTES, "noise": NOISE}], Theory(decoder.dequantised, "k", fixed=("noise",)),
        book.dequantised(K, given("noise"), node(256))),
)

QUANTITIES: tuple[Quantity, ...] = (LOG_MASS, *BYTES_AND_BACK)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _masses(grid: Grid) -> Sampler:
    """Laws of every width at every distance from a level: open, narrow and wide bins, and many between those two."""
    def drawn(rng: np.random.Generator, n: int) -> Case:
        size, distance = wide(1e-3, 1e9)(rng, n), wide(1e-3, 300.0, 0.0, signs=BOTH)(rng, n)
        between = rng.random(n) < 0.25
        size = np.where(between, rng.uniform(0.25, 0.3, n), size)
        distance = np.where(between, rng.uniform(-0.02, 0.02, n), distance)
        k = rng.choice([0, 1 % grid.levels, grid.levels // 2, grid.levels - 1], n)
        apart = np.abs(np.abs(distance) + 0.5 / size - 38) > 1           # else what a mass misses to 1 is no normal number
        k, size, distance = (part[apart, None] for part in (k, size, distance))
        sigma = grid.width * size
        return (Gaussian(decoder.level(k, grid=grid) + distance * sigma, sigma ** 2),), dict(k=k, grid=grid)
    return drawn


def _levels(rng: np.random.Generator, n: int) -> Case:
    grid = Grid(-0.3, 11.0, 17)
    return (np.arange(grid.levels),), dict(grid=grid)


ENDS = {"later.decoder.level": _levels,
        "later.decoder.nearest": lambda rng, n: ((rng.uniform(-1.2, 1.2, n),), dict(grid=Grid())),
        "later.decoder.dequantised": lambda rng, n: ((rng.integers(0, 256, n),), dict(noise=rng.random(n))),
        "later.decoder.log_mass": tuple(map(_masses, (Grid(), Grid(0.0, 1.0, 2), Grid(-0.3, 11.0, 17))))}


# -- mistakes ----------------------------------------------------------------------------------------------------------

def _half_the_distance(grid: Grid) -> float:
    return grid.width / 2


def _by_difference(half: Callable[[Grid], float] = _half_the_distance, *, cdf: Callable[[Array], Array] = ndtr,
                   least: float = 0.0) -> Plant:
    """The mass as a difference of two values of a distribution function, bins `half` to both sides of their levels."""
    def log_mass_vjp(p: Gaussian, *, k: Array, grid: Grid) -> Any:
        offset, sigma = decoder.level(k, grid=grid) - p.mean, np.sqrt(p.var)
        above = np.where(k == grid.levels - 1, 1, cdf((offset + half(grid)) / sigma))
        below = np.where(k == 0, 0, cdf((offset - half(grid)) / sigma))
        return np.log(np.maximum(above - below, least)), None
    return instead(log_mass_vjp)


def _logistic(z: Array) -> Array:
    """Φ by a logistic function."""
    return np.asarray(expit(np.sqrt(8 / np.pi) * (z + 0.044715 * z ** 3)))


def _written_edges(right: Callable[..., Any]) -> Callable[..., Any]:
    """The open bins are those beyond ±0.999, whatever the grid."""
    def log_mass_vjp(p: Gaussian, *, k: Array, grid: Grid) -> Any:
        x = decoder.level(k, grid=grid)
        inside = np.where((x < -0.999) | (x > 0.999), k, k + 1)                   # no end of a grid with a level more on both sides
        wider = Grid(grid.low - grid.width, grid.high + grid.width, grid.levels + 2)
        value = np.where((x < -0.999) | (x > 0.999), right(p, k=np.where(x < 0, 0, grid.levels - 1), grid=grid)[0],
                         right(p, k=np.where(inside == k, 1, inside), grid=wider)[0])
        return value, None
    return log_mass_vjp


MISTAKES = (
    Mistake("BND-22", "open bins beyond ±0.999 → at the ends of the grid",
            "tqch/ddpm-torch@4969a9e", "later.decoder.log_mass_vjp", "value", _written_edges),
    Mistake("BND-23", "bins of range/256 → of range/255, the distance of the levels",
            "rosinality/glow-pytorch#17", "later.decoder.log_mass_vjp", "value",
            _by_difference(lambda grid: (grid.high - grid.low) / grid.levels / 2)),
    Mistake("NEW-CLAMP", "Φ by a logistic function and masses not below 1e-12, 39.9 bits at most → exact",
            "hojonathanho/diffusion and five others; FA-10 for the part that is a tolerance", "later.decoder.log_mass_vjp", "value",
            _by_difference(cdf=_logistic, least=1e-12)),
    Mistake("NEW-LEVELS", "levels k/256 of the range → k/255, both ends on the grid",
            "BND-23 for the levels", "later.decoder.level", "value",
            instead(lambda k, *, grid: grid.low + k * (grid.high - grid.low) / grid.levels)),
    Mistake("DEC-CUT", "bytes cut off → rounded to the nearest", "openai/improved-diffusion, image_sample.py",
            "later.decoder.nearest", "value", told(x=lambda x, grid: x - (0.5 - 2.0 ** -40) * grid.width)),
    Mistake("DEC-TWO-GRIDS", "bytes k/127.5 − 1 with noise of 1/128 → (k + u)/128 − 1", "rosinality/glow-pytorch#17",
            "later.decoder.dequantised", "value", instead(lambda k, *, noise, levels=256: k / 127.5 - 1 + noise / 128)),
    Mistake("NEW-CDF", "log of a difference of two Φ → without a difference", "the textbook form", "later.decoder.log_mass_vjp",
            "accuracy", _by_difference()),
    Mistake("NEW-BIN-GRAD", "log mass differentiated by the mean alone → by the variance too",
            "a mass taken for a density of fixed width", "later.decoder.log_mass_vjp", "gradient", pulled(p=without("var"))),
)
