"""Clauses of the likelihood as an average over forward paths, of null models, and of averages.

At t = 1 the reverse step of a path is the forward kernel (eq. 44), which the network has no part in.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from refdpm import gaussian, likelihood, schedule
from refdpm.conformance.chapters.bound import FIXED, PATH, RATES, path_edges, reverse
from refdpm.conformance.chapters.draws import arrays, numbers
from refdpm.conformance.chapters.ends import BOTH, Case, Sampler, wide
from refdpm.conformance.chapters.inputs import D, N, WIDE, Inputs, drawn, exactly, listed, spread_out
from refdpm.conformance.chapters.quantity import ByHand, Output, Quantity, arguments_of
from refdpm.conformance.chapters.theory import NETWORK, SCHEDULE, Theory
from refdpm.conformance.planting import Mistake, Plant, edited, instead, then
from refdpm.gaussian import Gaussian
from refdpm.networks import swiss_roll
from refdpm.networks.readout import READOUTS
from refdpm.networks.swiss_roll import SwissRoll
from refdpm.textbook import bound as book
from refdpm.textbook.expression import given
from refdpm.textbook.page import Page
from refdpm.vjp import Array, fix

M = 4                           # paths of an example, or centres
TOTAL = (Output("VALUE", "total"),)
X_0, MEAN, COVARIANCE, CENTRES, BANDWIDTH, LOG_W, VALUES = map(given, (
    "x_0", "mean", "covariance", "centres", "bandwidth", "log_w", "values"))


def _page_of_paths(i: Inputs) -> Page:
    return Page(arguments_of(i), beta=i["beta"], t=np.arange(2, len(i["beta"])), ndim=3, steps=True)


def _log_mean(i: Inputs) -> tuple[Array, ...]:
    """Example by example; `likelihood.log_likelihood` averages over them."""
    return (np.array([likelihood.log_likelihood(column[:, None]).value for column in i["log_w"].T]),)


def _covariance(root: Array) -> Array:
    return exactly(root @ root.T + 0.25 * np.eye(D))


# -- the clauses -----------------------------------------------------------------------------------------------------------

QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "null_log_likelihood", "LIK.NULL", "log N(x_0; 0, 1) = −½ Σ [log 2π + x_0²]: L_null", ("App.1 G likelihood",), TOTAL,
        drawn(x_0=arrays(N, D)), listed({"x_0": spread_out(N, D)}, {"x_0": spread_out(3, 4, 5, 2)}),
        Theory(likelihood.null_log_likelihood, "x_0", kernel=lambda i: gaussian), book.log_prior(X_0)),
    Quantity(
        "gaussian_log_likelihood", "LIK.NORMAL", "log N(x_0; mean, covariance), whole vectors", ("App.1 G likelihood",),
        (Output("VALUE", "information"),), drawn(x_0=arrays(N, D), mean=arrays(D), covariance=arrays(D, D).map(_covariance)),
        listed({"x_0": spread_out(N, D), "mean": exactly([0.5, -0.25]), "covariance": exactly([[2.0, 0.5], [0.5, 0.25]])}),
        Theory(likelihood.gaussian_log_likelihood, "x_0", fixed=("mean", "covariance")),
        book.gaussian_log_likelihood(X_0, MEAN, COVARIANCE)),
    Quantity(
        "parzen_log_likelihood", "LIK.PARZEN", "log (1/M) Σ_m N(x_0; c_m, h² I) with centres c_m and bandwidth h, a deviation",
        ("Table 2",), (Output("VALUE", "information"),),
        drawn(x_0=arrays(N, D), centres=arrays(M, D), bandwidth=numbers(0.25, 2.0).map(np.asarray)),
        listed(*({"x_0": spread_out(N, components), "centres": spread_out(M, components, start=0.4), "bandwidth": np.asarray(0.5)}
                 for components in (D, WIDE))),
        Theory(likelihood.parzen_log_likelihood, "x_0", "centres", bandwidth=lambda i: float(i["bandwidth"])),
        book.parzen_log_likelihood(X_0, CENTRES, BANDWIDTH)),
    Quantity(
        "log_weights", "LIK.WEIGHT", "log w = log π(x_T) + Σ_t log p(x_{t−1} | x_t) − log q(x_t | x_{t−1}) on the path "
        "x_t = √(1−β_t) x_{t−1} + √β_t ε_t, noise (T, N, …); p(x_0 | x_1) is the forward kernel at β_1", ("7", "8", "9", "44"),
        TOTAL, PATH, path_edges, Theory(likelihood.log_weights, NETWORK, SCHEDULE, "x_0", fixed=("noise",), **FIXED),
        lambda i: book.log_weights(lambda x_t: reverse(i, x_t)), choices=("predicts", "variance"), page=_page_of_paths),
    Quantity(
        "log_mean_weight", "LIK.MEAN", "log (1/M) Σ_m w_m of each example from log w (M, N)", ("9",),
        (Output("VALUE", "information"),), drawn(log_w=arrays(M, N, low=-30.0, high=10.0)),
        listed({"log_w": spread_out(M, N, low=-3.0, high=2.0)}, {"log_w": spread_out(M, N, low=-1000.0, high=-900.0)}),
        ByHand(_log_mean), book.log_mean(LOG_W)),
    Quantity(
        "standard_error", "LIK.ERROR", "the standard error of the mean of n values, √[Σ (x − x̄)²/(n(n−1))]", ("Table 1",),
        (Output("VALUE"),), drawn(values=arrays(5)), listed({"values": exactly([1.0, 2.5, -0.5])}, {"values": spread_out(9)}),
        Theory(lambda values: np.asarray(likelihood.average(values).stderr), "values"), book.average(VALUES).stderr),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

NUMBERS = wide(1e-6, 1e6, 0.0, signs=BOTH)


def _paths(rng: np.random.Generator, n: int, beta: Array, readout: str) -> Case:
    T = len(beta) - 1
    parameters = SwissRoll(rng.normal(size=(4, 2)), rng.normal(size=4), rng.normal(size=(T + 1, 4, 4)), rng.normal(size=(T + 1, 4)))
    model = fix(swiss_roll, readout=readout)
    return (parameters, beta, rng.normal(size=(6, 2))), dict(noise=rng.normal(size=(T, 6, 2)), kernel=gaussian, network=model)


def _normal(rng: np.random.Generator, n: int, least: float) -> Case:
    """Two dimensions, almost one where `least` is small."""
    root = np.tril(rng.normal(size=(2, 2)))
    return (rng.normal(size=(n, 2)) * 100,), dict(mean=rng.normal(size=2), covariance=root @ root.T + least * np.eye(2))


def _window(rng: np.random.Generator, n: int, bandwidth: float) -> Case:
    return (rng.normal(size=(n, 5, 1)), rng.normal(size=(M, 5, 1))), dict(bandwidth=bandwidth)


def _of(*shape: int, size: float = 1.0, offset: float = 0.0) -> Sampler:
    return lambda rng, n: ((rng.normal(size=shape) * size + offset,), {})


ENDS = {
    "likelihood.total": lambda rng, n: ((NUMBERS(rng, 5 * n).reshape(n, 5),), {}),
    "likelihood.null_log_likelihood": lambda rng, n: ((NUMBERS(rng, 5 * n).reshape(n, 5),), {"kernel": gaussian}),
    "likelihood.bits": _of(1), "likelihood.in_bits": lambda rng, n: ((likelihood.Estimate(*rng.random(2)),), {}),
    "likelihood.average": tuple(_of(n, offset=offset) for n in (2, 6, 60) for offset in (0.0, 100.0, 1e6)),
    "likelihood.log_likelihood": tuple(_of(*shape, size=size) for shape in ((2, 1), (4, 3), (40, 1)) for size in (1e-3, 50.0)),
    "likelihood.gaussian_log_likelihood": tuple(partial(_normal, least=least) for least in (0.1, 1e-3, 1e-8)),
    "likelihood.parzen_log_likelihood": tuple(partial(_window, bandwidth=bandwidth) for bandwidth in (0.05, 0.5, 3.0)),
    "likelihood.log_weights": tuple(partial(_paths, beta=beta, readout=readout) for beta in RATES for readout in READOUTS)}


# -- mistakes ----------------------------------------------------------------------------------------------------------

def _last_step(law: Callable[[Gaussian, Callable[[], Gaussian]], Gaussian]) -> Plant:
    """log_weights with another law(right one, what the network would say) of the last reverse step, which is fixed."""
    def changed(log_w: Array, parameters: Any, beta: Array, x_0: Array, noise: Array, kernel: Any, network: Any) -> Array:
        t = np.ones(len(x_0), dtype=int)
        step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=x_0.ndim)
        x_1 = kernel.draw(kernel.forward(x_0, step.beta), noise=noise[0])
        p = kernel.forward(x_1, step.beta)
        gain = kernel.log_prob(x_0, law(p, lambda: network.reverse(parameters, x_1, step, t=t))) - kernel.log_prob(x_0, p)
        return np.asarray(log_w + gain.reshape(len(x_0), -1).sum(axis=1))
    return then(changed)


MISTAKES = (
    Mistake("BND-16b", "log determinant of a covariance without ½ → with it", "KarenUllrich/Tutorial_BayesianCompressionForDL#8",
            "likelihood.gaussian_log_likelihood", "value",
            then(lambda value, covariance: value - np.linalg.slogdet(covariance)[1] / 2)),
    Mistake("NEW-PARZEN", "Parzen window: sum over samples → mean", "the 1/M forgotten", "likelihood.parzen_log_likelihood",
            "value", then(lambda value, centres: value + np.log(len(centres)))),
    Mistake("BND-25", "log10 → log2", "horenbergerb/BernoulliDiffusion@8192d6a", "likelihood.bits", "value",
            instead(lambda nats: nats / np.log(10))),
    Mistake("NEW-EDGE", "network asked for the last step too → the forward kernel at β_1", "eq. 44 overlooked",
            "likelihood.log_weights", "value", _last_step(lambda p, network: network())),
    Mistake("NEW-JENSEN", "average of log w, which is eq. 12 → log of the average", "eqs. 9 and 12", "likelihood.log_likelihood",
            "value", then(lambda found, log_w: found._replace(value=float(log_w.mean())))),
    Mistake("NEW-NULL", "L_null a mean over components → a sum", "keras-team/keras!3383 (BND-19)", "likelihood.null_log_likelihood",
            "value", edited("mean over components, for the sum of -1/2 (log(2 π) + x_0²)")),
    Mistake("TRN-07", "deviation with n → with n − 1", "ORIG@93f8ae3", "likelihood.average", "value", edited("term left out: 1")),
)
