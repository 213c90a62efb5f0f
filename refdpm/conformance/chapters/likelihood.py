"""Clauses of the likelihood as an average over forward paths, of null models, and of averages.

At t = 1 the reverse step of a path is the forward kernel (eq. 44), which the network has no part in.
"""

import numpy as np
from scipy.special import logsumexp

from refdpm import gaussian, likelihood
from refdpm.conformance import terms
from refdpm.conformance.chapters import textbook
from refdpm.conformance.chapters.bound import model_of, path, path_edges
from refdpm.conformance.chapters.common import (D, N, Quantity, Inputs, Output, arrays, drawn, exactly, listed, numbers, scales,
                                               spread_out)
from refdpm.conformance.terms import Terms
from refdpm.later.model import as_network
from refdpm.vjp import Array

M = 4                           # paths of an example, or centres
UNSEEN = 2.0 ** -48             # a number so small that float32 loses its square
TOTAL = (Output("VALUE", "total"),)


def _log_weights(i: Inputs) -> tuple[Array, ...]:
    parameters, model = model_of(i)
    return (likelihood.log_weights(parameters, i["beta"], i["x_0"], noise=i["noise"], kernel=gaussian, network=as_network(model)),)


def _weight_terms(i: Inputs) -> Terms:
    count, parts, before = len(i["x_0"]), [], terms.exact(i["x_0"])
    for t in range(1, len(i["beta"])):
        at = np.full(count, t)
        row = textbook.rows(i["beta"], at)
        q = textbook.Normal(terms.sqrt(row.alpha) * before, row.beta)
        x_t = textbook.draw(q, i["noise"][t - 1])
        p = textbook.reverse(i, at, x_t) if t > 1 else textbook.Normal(terms.sqrt(row.alpha) * x_t, row.beta)
        parts.append(terms.total(textbook.log_prob(before, p) - textbook.log_prob(x_t, q)))
        before = x_t
    return textbook.summed(parts, over=count) + _null(before)


def _null(x: Terms) -> Terms:
    return terms.total((np.log(2 * np.pi) + x * x) / -2)


def _log_mean_terms(i: Inputs) -> Terms:
    largest = i["log_w"].max(axis=0)
    weight = terms.exp(terms.exact(i["log_w"]) - largest)
    mean = terms.exact(0.0)
    for part in range(len(i["log_w"])):
        mean = mean + weight[part]
    return largest + terms.log(mean / len(i["log_w"]))


def _log_mean(i: Inputs) -> tuple[Array, ...]:
    """Example by example; `likelihood.log_likelihood` averages over them."""
    return (np.array([likelihood.log_likelihood(column[:, None]).value for column in i["log_w"].T]),)


def _standard_error(i: Inputs) -> tuple[Array, ...]:
    return (np.asarray(likelihood.average(i["values"]).stderr),)


def _standard_error_scale(i: Inputs) -> tuple[Array, ...]:
    """Of a mean of n values each is short by u Σ|values|/n, and so is its distance from the mean; its square may underflow."""
    n = len(i["values"])
    return (np.asarray((np.abs(i["values"]).max() + UNSEEN) * 4 / np.sqrt(n - 1) + float(_standard_error(i)[0])),)


def _normal_scale(i: Inputs) -> tuple[Array, ...]:
    """The quadratic form's error grows with the condition of the covariance."""
    value = likelihood.gaussian_log_likelihood(i["x_0"], mean=i["mean"], covariance=i["covariance"])
    offset = i["x_0"] - i["mean"]
    form = np.einsum("nd,de,ne->n", offset, np.linalg.inv(i["covariance"]), offset)
    return (8 * np.linalg.cond(i["covariance"]) * (form + D * np.log(2 * np.pi) + D) + np.abs(value),)


def _normal(i: Inputs) -> tuple[Array, ...]:
    return (likelihood.gaussian_log_likelihood(i["x_0"], mean=i["mean"], covariance=i["covariance"]),)


def _covariance(root: Array) -> Array:
    return exactly(root @ root.T + 0.25 * np.eye(D))


def _parzen(i: Inputs) -> tuple[Array, ...]:
    return (likelihood.parzen_log_likelihood(i["x_0"], i["centres"], bandwidth=float(i["bandwidth"])),)


def _parzen_scale(i: Inputs) -> tuple[Array, ...]:
    difference = i["x_0"][:, None] - i["centres"]
    exponent = (difference ** 2).sum(axis=2) / (2 * i["bandwidth"] ** 2)
    weight = np.exp(-exponent - logsumexp(-exponent, axis=1, keepdims=True))
    return (6 * (weight * exponent).sum(axis=1) + np.abs(_parzen(i)[0]) + exponent.min(axis=1) + 4 * D,)


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "null_log_likelihood", "LIK.NULL", "log N(x_0; 0, 1) = −½ Σ [log 2π + x_0²]: L_null", ("App.1 G likelihood",), TOTAL,
        drawn(x_0=arrays(N, D)), listed({"x_0": spread_out(N, D)}, {"x_0": spread_out(3, 4, 5, 2)}),
        lambda i: (likelihood.null_log_likelihood(i["x_0"], kernel=gaussian),), lambda i: scales(_null(terms.exact(i["x_0"])))),
    Quantity(
        "gaussian_log_likelihood", "LIK.NORMAL", "log N(x_0; mean, covariance), whole vectors", ("App.1 G likelihood",),
        (Output("VALUE", "information"),),
        drawn(x_0=arrays(N, D), mean=arrays(D), covariance=arrays(D, D).map(_covariance)),
        listed({"x_0": spread_out(N, D), "mean": exactly([0.5, -0.25]), "covariance": exactly([[2.0, 0.5], [0.5, 0.25]])}),
        _normal, _normal_scale),
    Quantity(
        "parzen_log_likelihood", "LIK.PARZEN", "log (1/M) Σ_m N(x_0; c_m, h² I) with centres c_m and bandwidth h, a deviation",
        ("Table 2",), (Output("VALUE", "information"),),
        drawn(x_0=arrays(N, D), centres=arrays(M, D), bandwidth=numbers(0.25, 2.0).map(np.asarray)),
        listed({"x_0": spread_out(N, D), "centres": spread_out(M, D, start=0.4), "bandwidth": np.asarray(0.5)}),
        _parzen, _parzen_scale),
    Quantity(
        "log_weights", "LIK.WEIGHT", "log w = log π(x_T) + Σ_t log p(x_{t−1} | x_t) − log q(x_t | x_{t−1}) on the path "
        "x_t = √(1−β_t) x_{t−1} + √β_t ε_t, noise (T, N, …); p(x_0 | x_1) is the forward kernel at β_1", ("7", "8", "9", "44"),
        TOTAL, path, path_edges, _log_weights, textbook.remembered(lambda i: scales(_weight_terms(i))),
        choices=("predicts", "variance")),
    Quantity(
        "log_mean_weight", "LIK.MEAN", "log (1/M) Σ_m w_m of each example from log w (M, N)", ("9",),
        (Output("VALUE", "information"),), drawn(log_w=arrays(M, N, low=-30.0, high=10.0)),
        listed({"log_w": spread_out(M, N, low=-3.0, high=2.0)}, {"log_w": spread_out(M, N, low=-1000.0, high=-900.0)}),
        _log_mean, lambda i: scales(_log_mean_terms(i))),
    Quantity(
        "standard_error", "LIK.ERROR", "the standard error of the mean of n values, √[Σ (x − x̄)²/(n(n−1))]", ("Table 1",),
        (Output("VALUE"),), drawn(values=arrays(5)), listed({"values": exactly([1.0, 2.5, -0.5])}, {"values": spread_out(9)}),
        _standard_error, _standard_error_scale, sizes=lambda i: 1),
)
