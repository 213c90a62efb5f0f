"""The log-likelihood as an average over forward paths, the null models, and units.

The model's probability of x_0 is a sum over all paths that end there (eq. 6), which nobody can compute.  Multiply and divide each
term by the probability that the forward process takes the path (eq. 7), and the sum becomes an average over forward paths
(eqs. 8, 9), which can be estimated from samples:

    p(x_0) = ∫ dx_{1:T} q(x_{1:T} | x_0) p(x_{0:T})/q(x_{1:T} | x_0) = E_q [ w ]
    log w  = log π(x_T) + Σ_{t=1..T} [ log p(x_{t−1} | x_t) − log q(x_t | x_{t−1}) ]

The division is allowed because no forward step excludes a state: where p has a path, q has it too.

The objective is the average of log p(x_0) over the data (eq. 10).  With eq. 9 it is the logarithm of an average (eq. 11), of which
one path gives no unbiased estimate.  The logarithm is concave, so log E w ≥ E log w by Jensen's inequality (eq. 12), and of
E log w one path does give an unbiased estimate.  E log w is the strict bound.  It is below log p(x_0) by the divergence between the
paths that the forward process takes from x_0 and those by which the model comes to x_0,

    log p(x_0) − E log w = KL( q(x_{1:T} | x_0) ‖ p(x_{1:T} | x_0) )

which is 0 if the model is the exact reversal: then all paths from x_0 have the same weight.

Here log p(x_0) and E log w are both estimated from paths.  `bound` goes on from eq. 12: it computes the expectation over a step in
closed form where there is one, so that its estimate has less noise.
"""

from math import prod
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from refdpm import schedule
from refdpm.doors import open_doors
from refdpm.paper import eq
from refdpm.vjp import Array, Module, Pullback, Tree


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    stderr: float


def bits(nats: float) -> float:
    """The one place where nats become bits: divided by log 2."""
    return nats / np.log(2)


def in_bits(estimate: Estimate) -> Estimate:
    """An estimate in nats, in bits."""
    return Estimate(float(bits(estimate.value)), float(bits(estimate.stderr)))


def total(per_component: Array) -> Array:
    """The sum over the components of each example.   Shapes: (N, …) → (N,)."""
    return per_component.sum(axis=tuple(range(1, per_component.ndim)))


def total_vjp(per_component: Array) -> tuple[Array, Pullback]:
    """Adjoint of `total`: every component gets its example's cotangent."""
    column = (-1,) + (1,) * (per_component.ndim - 1)
    return total(per_component), lambda dtotal: np.broadcast_to(dtotal.reshape(column), per_component.shape)


def average(per_example: Array) -> Estimate:
    """The mean of independent values and its standard error; the latter is NaN for a single value.

    Raises: ValueError for no values, which have no mean.
    """
    n = len(per_example)
    if n == 0:
        raise ValueError("per_example: expected at least one value to average, got none")
    return Estimate(float(per_example.mean()), float(per_example.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"))


# -- null models -------------------------------------------------------------------------------------------------------

@eq("App.1 G likelihood", "App.1 B likelihood")
def null_log_likelihood(x_0: Array, *, kernel: Module) -> Array:
    """log π(x_0) per example, in nats: what the stationary law alone gives.   (N, …) → (N,)."""
    return total(kernel.log_prob(x_0, kernel.prior(x_0.shape)))


def gaussian_log_likelihood(x_0: Array, *, mean: Array, covariance: Array) -> Array:
    """log N(x_0; mean, covariance) per example, in nats: the best null model with second moments only.   (N, D) → (N,)."""
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, (x_0 - mean).T)
    return -(np.square(white) + np.log(2 * np.pi)).sum(axis=0) / 2 - np.log(np.diag(root)).sum()


def parzen_log_likelihood(x: Array, centres: Array, *, bandwidth: float) -> Array:
    """log (1/M) Σ_m N(x; c_m, bandwidth² I) per example, in nats: the density of samples c_m smeared out (a Parzen window).

    The measure of the paper's Table 2.  It judges samples, has little to do with the likelihood in many dimensions, depends on
    the units of x, and is not comparable with K.

    Shapes: x (N, …), centres (M, …) with M ≥ 1 → (N,).
    """
    if len(centres) == 0 or x.shape[1:] != centres.shape[1:]:
        raise ValueError(f"centres: expected shape (M, …) like x {x.shape} with M ≥ 1, got {centres.shape}")
    D = prod(x.shape[1:])
    rows, points = x.reshape(len(x), D), centres.reshape(len(centres), D)
    distances = (np.square(row - points).sum(axis=1) for row in rows)
    log_sums = np.array([logsumexp(-distance / (2 * bandwidth * bandwidth)) for distance in distances])
    return log_sums - np.log(len(points)) - D * (np.log(2 * np.pi) / 2 + np.log(bandwidth))


# -- the average over forward paths ------------------------------------------------------------------------------------

@eq("3", "5", "7", "8", "9", "44", "App.1 G forward law", "App.1 G reverse law", "App.1 B forward law",
    "App.1 B reverse law")
def log_weights(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, kernel: Module, network: Module) -> Array:
    """log w of one forward path per example, in nats, drawn with frozen noise.

    The last reverse step, p(x_0 | x_1), is the forward kernel at β_1 and is not learned.

    Shapes: x_0 (N, …), noise (T, N, …), with noise[t−1] used for x_t; → (N,).
    """
    T = len(schedule.checked(beta)) - 1
    level = schedule.log_alpha_bar(beta)
    log_w, x_prev = np.zeros(len(x_0)), x_0
    for t in range(1, T + 1):
        rows = np.full(len(x_0), t)
        step = schedule.step(beta, level, t=rows, ndim=x_0.ndim)
        q = kernel.forward(x_prev, step.beta)
        x_t = kernel.draw(q, noise=noise[t - 1])
        p = network.reverse(parameters, x_t, step, t=rows) if t > 1 else kernel.forward(x_t, step.beta)
        log_w += total(kernel.log_prob(x_prev, p) - kernel.log_prob(x_t, q))
        x_prev = x_t
    return log_w + null_log_likelihood(x_prev, kernel=kernel)


@eq("9")
def log_likelihood(log_w: Array) -> Estimate:
    """log p(x_0), averaged over examples, from several paths for each of them.

    The logarithm of an average of M weights is biased downwards by about var(w)/(2M mean(w)²); the standard error is that of
    the mean over examples of log((1/M) Σ_m w_m), from the spread of the weights within each example (the delta method).
    Both hold for M ≫ var(w)/mean(w)².  With fewer paths, as for an x_0 that is very unlikely under the model, the heaviest are
    missing, and the standard error is too small.

    Shapes: log_w (M, N), in nats, with M ≥ 1 and N ≥ 1 → one number and its standard error.
    """
    M, N = log_w.shape
    if log_w.size == 0:
        raise ValueError(f"log_w: expected shape (M, N) with M ≥ 1 and N ≥ 1, got {log_w.shape}")
    log_mean = logsumexp(log_w, axis=0) - np.log(M)
    relative = np.exp(log_w - log_mean)
    variance = relative.var(axis=0, ddof=1) / M if M > 1 else np.full(N, np.nan)
    return Estimate(float(log_mean.mean()), float(np.sqrt(variance.sum()) / N))


open_doors(globals())
