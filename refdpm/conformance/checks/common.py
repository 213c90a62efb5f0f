"""What a value check is, and the small tools that the checks share."""

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from refdpm.gaussian import Gaussian
from refdpm.oracles.linear_gaussian import Kernels
from refdpm.vjp import Array

Law = Callable[[Array, Any], tuple[Array, Array]]


class Check(NamedTuple):
    """A fact that some functions of the package must agree with.  `run` gives the worst error in units of its tolerance."""

    name: str
    targets: tuple[str, ...]
    run: Callable[[], float]


def check(name: str, *targets: str) -> Callable[[Callable[[], float]], Check]:
    """Makes a check of a function, which judges the named functions of the package."""
    return lambda run: Check(name, targets, run)


def residual(check: Check) -> float:
    """The worst error of a check in units of its tolerance: at most 1 if it passes, ∞ for NaN and for an exception."""
    try:
        worst_error = float(check.run())
    except Exception:
        return float("inf")
    return worst_error if worst_error == worst_error else float("inf")


def apart(actual: Any, expected: Any, *, within: float = 1e-12, scale: Any = None) -> float:
    """The largest |actual − expected| in units of within·scale, where scale is the largest |expected| unless it is given.

    ∞ where the shapes differ; 0 where both are the same infinity.
    """
    actual, expected = np.asarray(actual), np.asarray(expected, dtype=np.float64)
    if actual.shape != expected.shape:
        return float("inf")
    if scale is None:
        scale = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected)) or 1.0
    same = actual == expected
    error = np.abs(np.subtract(actual, expected, where=~same, out=np.zeros_like(actual + expected)))
    return float(np.max(error / np.where(same, 1.0, within * np.asarray(scale)), initial=0.0))


def column(*values: float) -> Array:
    """(N, 1): one value for each row."""
    return np.array(values, dtype=np.float64)[:, None]


def worst(*residuals: float) -> float:
    """The largest of them, NaN if one is NaN (which `max` would drop)."""
    return float(np.max(residuals))


def passes(*facts: Any) -> float:
    """0 if all facts hold, ∞ otherwise."""
    return 0.0 if all(bool(np.all(fact)) for fact in facts) else float("inf")


def refused(call: Callable[[], Any]) -> bool:
    """True if the call raises ValueError."""
    try:
        call()
    except ValueError:
        return True
    return False


def signs(k: int) -> Array:
    """All points of {−1, 1}^k, shape (2^k, k): the Gauss–Hermite rule of two nodes in every direction.

    The plain average over its rows is the expectation under N(0, 1)^k of every polynomial of degree 3 or less, and K of linear
    Gaussian models is of degree 2 in the data and the noise.  So nothing here is sampled.
    """
    return np.array(list(product((-1.0, 1.0), repeat=k)))


def gaussian_data(covariance: Array) -> tuple[Array, Array]:
    """x_0 ~ N(0, covariance) and noise ~ N(0, 1), jointly, as points of equal weight: two arrays (4^n, n)."""
    n = len(covariance)
    points = signs(2 * n)
    return points[:, :n] @ np.linalg.cholesky(covariance).T, points[:, n:]


def grid(*axes: Array) -> tuple[Array, ...]:
    """Every combination of the entries of the axes: one flat array for each axis."""
    return tuple(a.ravel() for a in np.meshgrid(*axes, indexing="ij"))


def network(law: Law) -> SimpleNamespace:
    """A network from law(x_t, t) → (mean, var), which acts on every component alike."""
    def reverse(parameters: Any, x_t: Array, step: Any, *, t: Array) -> Gaussian:
        mean, var = law(x_t, t.reshape((-1,) + (1,) * (x_t.ndim - 1)))
        return Gaussian(mean, np.broadcast_to(var, np.shape(mean)))

    return of_values(reverse)


def of_values(law: Callable[..., Any]) -> SimpleNamespace:
    """A network of values alone, without a pullback, that refuses t = 1, where the step is not the network's."""
    def reverse(parameters: Any, x_t: Array, step: Any, *, t: Array) -> Any:
        if np.any(t < 2):
            raise ValueError(f"t: expected steps from 2 on, got {np.min(t)}")
        return law(parameters, x_t, step, t=t)

    return SimpleNamespace(reverse=reverse, reverse_vjp=lambda *args, **fixed: (reverse(*args, **fixed), None))


def forward_law(beta: Array) -> Law:
    """Every reverse step the forward step over again: the exact reversal of isotropic data."""
    return lambda x, t: (np.sqrt(1 - beta[t]) * x, beta[t] + 0 * x)


def _linear(parameters: Kernels, x_t: Array, step: Any, *, t: Array) -> Gaussian:
    return Gaussian(np.einsum("nij,nj->ni", parameters.gain[t], x_t), np.diagonal(parameters.cov[t], axis1=1, axis2=2))


linear = of_values(_linear)
"""The network whose parameters are `oracles.linear_gaussian.Kernels` with diagonal covariances; states (N, n)."""
