"""Levels told by σ, where x_t = x_0 + σ ε, and a network that sees and says numbers of size 1.

`sigma` is (N, 1), one for each row, with as many axes as x_t; `network(x, c_noise)` is the F inside of a denoiser.  σ_d is ½ and
ρ is 7 unless a function asks for `sigma_data` and `rho`.

Source: Karras, Aittala, Aila, Laine 2022.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm.conformance.adapter import Network
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays
from refdpm.conformance.chapters.ends import BELOW, BOTH, STATE, ends, wide
from refdpm.conformance.chapters.inputs import D, N, Given, Inputs, chain, chain_edges, drawn, exactly, listed, spread_out
from refdpm.conformance.chapters.quantity import ByHand, Finding, Law, Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import LEVEL, Theory
from refdpm.conformance.planting import Mistake, instead, of, then, told
from refdpm.conformance.precision import LIMIT, UNITS
from refdpm.later import sigma
from refdpm.textbook import sigma as book
from refdpm.textbook.chain import row
from refdpm.textbook.expression import E, given
from refdpm.textbook.loss import mean_loss
from refdpm.vjp import Array

SOURCE = ("Karras 2022",)
VALUE = (Output("VALUE"),)
DATA = np.asarray(0.5)
SCALINGS = tuple(map(Output, ("C_SKIP", "C_OUT", "C_IN", "C_NOISE")))


# -- inputs ------------------------------------------------------------------------------------------------------------

def levels_of(*rows: float) -> Array:
    """σ of each row."""
    return exactly(rows)[:, None]


RAW = Network("raw", exactly([0.75, -0.5]), exactly([1.25, 0.5]))
COLUMN = arrays(N, 1, low=0.03, high=20.0)
OTHER = np.asarray(0.75)
DATA_DEVIATIONS = draws.one_of([DATA, OTHER])


def of_level(*states: str, **more: Draw) -> Callable[[Given], Draw]:
    """Draws states of those names, and a σ for every row; `more` is drawn besides."""
    return drawn(**{name: arrays(N, D) for name in states}, sigma=COLUMN, **more)


def level_edges(*states: str, **more: Any) -> Callable[[Given], list[Inputs]]:
    """Levels up to 80, as people use them; a batch of one; and images (N, H, W, C)."""
    columns = (levels_of(0.5, 2.0, 0.125, 7.0), levels_of(0.03125, 80.0, 1.0, 0.0625), levels_of(0.75), levels_of(0.3, 0.4, 1.5))
    found = [{name: spread_out(len(column), D, start=0.3 * i) for i, name in enumerate(states)} | {"sigma": column} | more
             for column in columns]
    images = {name: spread_out(3, 4, 5, D, start=0.3 * i) for i, name in enumerate(states)}
    return listed(*found, *([images | {"sigma": columns[-1].reshape(-1, 1, 1, 1)} | more] if states else ()))


def _with_data(edges: Callable[[Given], list[Inputs]]) -> Callable[[Given], list[Inputs]]:
    return lambda given: [edge | {"sigma_data": data} for edge in edges(given) for data in (DATA, OTHER)]


# -- quantities ----------------------------------------------------------------------------------------------------------

SIGMA, SIGMA_DATA, X_0, X_T, NOISE = map(given, ("sigma", "sigma_data", "x_0", "x_t", "noise"))
AT_LEVEL = book.noised(X_0, SIGMA, NOISE)
COEFFICIENTS = book.scalings(SIGMA, SIGMA_DATA)


def _raw(x: E) -> E:
    return book.raw(COEFFICIENTS.into * x, COEFFICIENTS.noise, given("centre"), given("spread"))


def _denoised(i: Inputs, x_t: Array) -> Array:
    c = sigma.scalings(i["sigma"], sigma_data=i["sigma_data"])
    return sigma.denoised(x_t, i["network"](c.into * x_t, c.noise), i["sigma"], sigma_data=i["sigma_data"])


def _loss(i: Inputs) -> tuple[Array, ...]:
    guess = _denoised(i, sigma.noised(i["x_0"], i["sigma"], noise=i["noise"]))
    weight = sigma.weight(i["sigma"], sigma_data=i["sigma_data"])
    return np.asarray(np.mean(weight * np.square(guess - i["x_0"]))),


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "sigma_of_t", "SIG.OF_T", "σ_t = √((1−ᾱ_t)/ᾱ_t), one number for each row", SOURCE, VALUE, chain(), chain_edges(),
        Theory(sigma.deviation, LEVEL), (book.deviation(row()),), given=own_levels, after=("alpha_bar",), arguments=("beta",)),
    Quantity(
        "sigma_state", "SIG.STATE", "x_t/√ᾱ_t = x_0 + σ_t ε, the state of the chain as a network for σ sees it", SOURCE, VALUE,
        chain("x_t"), chain_edges("x_t"), Theory(sigma.unscaled, "x_t", LEVEL), (book.unscaled(X_T, row()),), given=own_levels,
        after=("alpha_bar",), arguments=("x_t", "beta")),
    Quantity(
        "sigma_sample", "SIG.SAMPLE", "x_0 + σ ε", SOURCE, VALUE, of_level("x_0", "noise"), level_edges("x_0", "noise"),
        Theory(sigma.noised, "x_0", "sigma", fixed=("noise",)), (AT_LEVEL,), arguments=("x_0",)),
    Quantity(
        "sigma_scalings", "SIG.SCALINGS", "c_skip = σ_d²/(σ² + σ_d²), c_out = σ σ_d/√(σ² + σ_d²), c_in = 1/√(σ² + σ_d²), "
        "c_noise = ¼ log σ", SOURCE, SCALINGS, of_level(sigma_data=DATA_DEVIATIONS), _with_data(level_edges()),
        Theory(sigma.scalings, "sigma", fixed=("sigma_data",)), tuple(COEFFICIENTS)),
    Quantity(
        "sigma_denoised", "SIG.DENOISED", "D = c_skip x_t + c_out F(c_in x_t, c_noise), F the network", SOURCE, VALUE,
        of_level("x_t", sigma_data=DATA_DEVIATIONS, network=draws.just(RAW)), _with_data(level_edges("x_t", network=RAW)),
        ByHand(lambda i: (_denoised(i, i["x_t"]),)), (book.denoised(X_T, _raw(X_T), COEFFICIENTS),), after=("sigma_scalings",)),
    Quantity(
        "sigma_weight", "SIG.WEIGHT", "1/c_out² = (σ² + σ_d²)/(σ σ_d)², the weight of |D − x_0|² in training", SOURCE, VALUE,
        of_level(sigma_data=DATA_DEVIATIONS), _with_data(level_edges()), Theory(sigma.weight, "sigma", fixed=("sigma_data",)),
        (book.weight(SIGMA, SIGMA_DATA),)),
    Quantity(
        "sigma_loss", "SIG.LOSS", "|D(x_0 + σ ε) − x_0|²/c_out², the mean over the examples of a batch and their components",
        SOURCE, (Output("VALUE", "loss"),), of_level("x_0", "noise", sigma_data=DATA_DEVIATIONS, network=draws.just(RAW)),
        _with_data(level_edges("x_0", "noise", network=RAW)), ByHand(_loss),
        (mean_loss(book.denoised(AT_LEVEL, _raw(AT_LEVEL), COEFFICIENTS), X_0, book.weight(SIGMA, SIGMA_DATA)),),
        after=("sigma_denoised", "sigma_weight")),
    Quantity(
        "sigma_drawn", "SIG.DRAWN", "exp(P_mean + P_std z), the σ that training draws, for standard normal noise z", SOURCE, VALUE,
        drawn(noise=arrays(N, 1), p_mean=draws.numbers(-2, 1), p_std=draws.numbers(0.25, 2)),
        listed(*(dict(noise=spread_out(5, 1), p_mean=mean, p_std=std) for mean, std in ((-1.25, 1.5), (0.5, 0.75)))),
        ByHand(lambda i: (sigma.log_normal(np.asarray(i["p_mean"]), np.asarray(i["p_std"]), noise=i["noise"]),)),
        (book.log_normal(given("p_mean"), given("p_std"), NOISE),)),
    Quantity(
        "sigma_density", "SIG.DENSITY", "exp(−½ ((log σ − P_mean)/P_std)²)/(σ P_std √(2π)), the density of the σ of training",
        SOURCE,
        VALUE, drawn(sigma=COLUMN, p_mean=draws.numbers(-2, 1), p_std=draws.numbers(0.5, 2)),
        listed(*(dict(sigma=levels_of(*rows), p_mean=mean, p_std=std) for rows, mean, std in (
            ((0.5, 2.0, 0.125, 7.0), -1.25, 1.5), ((0.03125, 1.0, 0.25), 0.5, 0.75)))),
        ByHand(lambda i: (sigma.log_normal_density(i["sigma"], np.asarray(i["p_mean"]), np.asarray(i["p_std"])),)),
        (book.log_normal_density(SIGMA, given("p_mean"), given("p_std")),)),
    Quantity(
        "sigma_levels", "SIG.LEVELS", "(σ_max^(1/ρ) + i/(count−1) (σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ for i = 0 … count−1, and then 0",
        SOURCE, VALUE, drawn(count=draws.integers(2, 12), sigma_max=draws.one_of([80.0, 10.0, 2.5]),
                             sigma_min=draws.one_of([0.0625, 0.25]), rho=draws.one_of([7.0, 7.0, 3.0])),
        listed(*(dict(count=count, sigma_max=high, sigma_min=low, rho=rho) for count, high, low, rho in (
            (5, 80.0, 0.03125, 7.0), (18, 80.0, 0.25, 7.0), (2, 10.0, 0.5, 7.0), (4, 16.0, 0.5, 3.0)))),
        ByHand(lambda i: (sigma.levels(i["count"], high=i["sigma_max"], low=i["sigma_min"], rho=i["rho"]),)),
        (book.levels(*map(given, ("count", "sigma_max", "sigma_min", "rho"))),)),
)


# -- laws ----------------------------------------------------------------------------------------------------------------

PROBES = exactly([0.03125, 0.3, 0.5, 1.25, 6.0, 40.0])[:, None]


def _of_variance_1(says: str, variance: Callable[..., Array]) -> Callable[[Any, Given, int], Finding]:
    """That a number made of σ, c_skip, c_out, c_in is 1 at every level, for the adapter's own σ_d."""
    def run(subject: Any, given: Given, seed: int) -> Finding:
        inputs = {"sigma": PROBES, "sigma_data": DATA}
        answer = subject.ask("sigma_scalings", inputs)
        skip, out, into, _ = answer.values
        with np.errstate(all="ignore"):
            off = np.abs(variance(skip, out, into) - 1)
        ratio = float(np.max(np.nan_to_num(off, nan=np.inf))) / (LIMIT * LIMIT * UNITS[answer.dtype])
        return Finding(ratio, f"{says}, and is {1 + np.max(off):.6g}" if ratio > 1 else "", inputs if ratio > 1 else None)
    return run


def _of_input(skip: Array, out: Array, into: Array) -> Array:
    return into ** 2 * (PROBES ** 2 + DATA ** 2)


def _of_target(skip: Array, out: Array, into: Array) -> Array:
    return ((1 - skip) ** 2 * DATA ** 2 + skip ** 2 * PROBES ** 2) / out ** 2


def _weighed(subject: Any, given: Given, seed: int) -> Finding:
    weight, = subject.ask("sigma_weight", {"sigma": PROBES, "sigma_data": DATA}).values
    return _of_variance_1("weight · c_out² should be 1", lambda skip, out, into: weight * out ** 2)(subject, given, seed)


LAWS: tuple[Law, ...] = (
    Law("SIG.IN_LAW", "c_in x_t, which F is given, has variance 1 for data of deviation σ_d", SOURCE, ("sigma_scalings",),
        _of_variance_1("the variance of c_in x_t should be 1", _of_input), ("later.sigma.scalings",)),
    Law("SIG.TARGET_LAW", "what F should say, (x_0 − c_skip x_t)/c_out, has variance 1", SOURCE, ("sigma_scalings",),
        _of_variance_1("the variance of what F should say should be 1", _of_target), ("later.sigma.scalings",)),
    Law("SIG.WEIGHT_LAW", "weight · c_out² is 1, so that every error of F weighs the same", SOURCE,
        ("sigma_scalings", "sigma_weight"), _weighed, ("later.sigma.weight", "later.sigma.scalings")),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

DEVIATION = wide(1e-3, 1e3, 1.0)
SMALL = wide(1e-3, 4.0, signs=BOTH)

ENDS = {
    "later.sigma.deviation": ends(BELOW), "later.sigma.level": ends(wide(1e-6, 1e6)),
    "later.sigma.unscaled": ends(STATE, BELOW), "later.sigma.noised": ends(STATE, DEVIATION, noise=STATE),
    "later.sigma.scalings": ends(DEVIATION, sigma_data=0.5), "later.sigma.weight": ends(DEVIATION, sigma_data=0.5),
    "later.sigma.denoised": ends(STATE, STATE, DEVIATION, sigma_data=0.5),
    "later.sigma.log_normal": ends(SMALL, SMALL, noise=SMALL),
    "later.sigma.log_normal_density": ends(DEVIATION, SMALL, wide(0.5, 4.0)),
    "later.sigma.levels": tuple(lambda rng, n, of=of: ((of[0],), dict(high=of[1], low=of[2], rho=of[3])) for of in (
        (40, 80.0, 0.002, 7.0), (2, 10.0, 0.5, 3.0)))}


# -- mistakes ------------------------------------------------------------------------------------------------------------

def _coefficients_exchanged(x: Array, said: Array, sigma_of: Array, *, sigma_data: float) -> Array:
    c = sigma.scalings(sigma_of, sigma_data=sigma_data)
    return c.out * x + c.skip * said


def _short_of_the_end(count: int, *, high: float, low: float, rho: float) -> Array:
    start, end = high ** (1 / rho), low ** (1 / rho)
    return np.append((start + np.arange(count) / count * (end - start)) ** rho, 0.0)


in_density = of("later.sigma.log_normal_density")

MISTAKES = (
    Mistake("SIG-SUM", "(σ² + σ_d²)/(σ + σ_d)² → over (σ σ_d)²", "lucidrains/alphafold3-pytorch#68", "later.sigma.weight", "value",
            instead(lambda sigma, *, sigma_data: (sigma ** 2 + sigma_data ** 2) / (sigma + sigma_data) ** 2)),
    Mistake("SIG-SQUARE", "x_0 + σ² ε → x_0 + σ ε", "a variance for a deviation", "later.sigma.noised", "value",
            told(sigma=np.square)),
    Mistake("SIG-IN-WEIGHT", "weight 1/(σ² + σ_d²) → (σ² + σ_d²)/(σ σ_d)²", "c_in² for 1/c_out²", "later.sigma.weight", "value",
            instead(lambda sigma, *, sigma_data: 1 / (sigma ** 2 + sigma_data ** 2))),
    Mistake("SIG-CHAIN", "(x_0 + σ ε)/√(1 + σ²) → x_0 + σ ε", "the state of the chain in the other coordinates",
            "later.sigma.noised", "value", then(lambda x, sigma: x / np.sqrt(1 + sigma * sigma))),
    Mistake("SIG-IN", "c_in = 1/σ and c_out = σ → with σ_d in them", "the scalings of data without a size", "later.sigma.scalings",
            "value", then(lambda c, sigma: c._replace(into=1 / sigma, out=sigma))),
    Mistake("SIG-UNSCALED", "c_skip = 1/(σ² + 1), c_out = σ/√(σ² + 1) → with σ_d", "huggingface/diffusers#9563",
            "later.sigma.scalings", "value",
            then(lambda c, sigma: c._replace(skip=1 / (sigma ** 2 + 1), out=sigma / np.sqrt(sigma ** 2 + 1)))),
    Mistake("SIG-ADDED", "c_in = 1/(σ + σ_d) → 1/√(σ² + σ_d²)", "deviations added", "later.sigma.scalings", "value",
            then(lambda c, sigma, sigma_data: c._replace(into=1 / (sigma + sigma_data)))),
    Mistake("SIG-EXCHANGED", "c_out x + c_skip F → c_skip x + c_out F", "the coefficients exchanged", "later.sigma.denoised",
            "value", instead(_coefficients_exchanged)),
    Mistake("SIG-NOISE", "c_noise = σ → ¼ log σ", "a network told the level itself", "later.sigma.scalings", "value",
            then(lambda c, sigma: c._replace(noise=sigma))),
    Mistake("SIG-P", "exp(P_std + P_mean z) → exp(P_mean + P_std z)", "P_mean and P_std exchanged", "later.sigma.log_normal",
            "value", told(mean=lambda mean, spread: spread, spread=lambda spread, mean: mean)),
    in_density("SIG-DENSITY-P", "P_mean and P_std exchanged → each where it belongs", "SIG-P",
               told(mean=lambda mean, spread: spread, spread=lambda spread, mean: mean)),
    Mistake("SIG-COUNT", "i/count → i/(count − 1), so that σ_min is reached", "the last level left out of the grid",
            "later.sigma.levels", "value", instead(_short_of_the_end)),
    Mistake("SIG-LAST", "σ_min once more at the end → 0", "a chain that stops before x_0", "later.sigma.levels", "value",
            then(lambda levels: np.append(levels[:-1], levels[-2]))),
    Mistake("SIG-SUB", "1/ᾱ − 1 by subtraction → e^−ℓ − 1", "the textbook form", "later.sigma.deviation", "accuracy",
            instead(lambda level: np.sqrt(1 / np.exp(level) - 1))),
)
