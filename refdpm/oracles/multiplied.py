"""A model times a factor r, step by step: the exact law of the method, and the law that was wanted.

Every step p(x_{t−1} | x_t) is replaced by p(x_{t−1} | x_t) r_{t−1}(x_{t−1})/Z(x_t), and the start π by π r_T/Z. What the chain
then ends in is not p r in general; here it is computed exactly, to compare a sampler with the method it is meant to be and
not with the law it was hoped to have.

Gaussian. Steps N(G_t x_t, C_t) (`linear_gaussian.Kernels`), and factors exp(h·x − ½ xᵀΛx), by Λ and h alone, so that Λ may be
singular. Means and covariances are carried from T to 0. Some components held at known values are a factor too, a point, for
which a step is conditioned instead.

Bits. Everything is a table over all 2ⁿ states, as in `enumeration`; a factor is any table, not only a product over bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .common import Array, Moments, open_doors
from .enumeration import Reverse, prior, reverse_step
from .linear_gaussian import Kernels


class Factor(NamedTuple):
    """r(x) = exp(h·x − ½ xᵀΛx).   Shapes: precision Λ (n, n), linear h (n,)."""

    precision: Array
    linear: Array


def normal_factor(centre: Array, cov: Array) -> Factor:
    """r(x) = N(x; centre, cov), up to a constant."""
    precision = np.linalg.inv(np.asarray(cov, dtype=float))
    return Factor(precision, precision @ np.asarray(centre, dtype=float))


# -- Gaussian: r at every t ------------------------------------------------------------------------------------

def constant(r: Factor, T: int) -> list[Factor]:
    """r_t = r, t = 0..T."""
    return [r] * (T + 1)


def ramp(r: Factor, T: int) -> list[Factor]:
    """r_t = r^((T−t)/T), t = 0..T."""
    return [Factor(r.precision * (T - t) / T, r.linear * (T - t) / T) for t in range(T + 1)]


def exact(r: Factor, model: Kernels) -> list[Factor]:
    """r_t(x_t) = E_p[ r(x_0) | x_t ], t = 0..T.   Λ_t = Aᵀ (1 + ΛC)⁻¹ Λ A,   h_t = Aᵀ (1 + ΛC)⁻¹ h

    Derivation: x_0 given x_t is N(A x_t, C) with A = G_1 ⋯ G_t and C summed up on the way; multiply by r and integrate.
    """
    n = len(r.linear)
    A, C, found = np.eye(n), np.zeros((n, n)), [r]
    for G, step in zip(model.gain[1:], model.cov[1:]):
        C = C + A @ step @ A.T
        A = A @ G
        shrink = A.T @ np.linalg.inv(np.eye(n) + r.precision @ C)
        found.append(Factor(shrink @ r.precision @ A, shrink @ r.linear))
    return found


# -- Gaussian: the laws ------------------------------------------------------------------------------------------

def times(law: Moments, r: Factor) -> Moments:
    """law · r/Z.   cov = (C⁻¹ + Λ)⁻¹, mean = cov (C⁻¹ m + h).   Shapes: one row, mean (1, n), cov (1, n, n)."""
    precision = np.linalg.inv(law.cov[0])
    cov = np.linalg.inv(precision + r.precision)
    return Moments((cov @ (precision @ law.mean[0] + r.linear))[None], cov[None])


def method(model: Kernels, factors: Sequence[Factor]) -> list[Moments]:
    """The law of x_t, t = 0..T, of the chain with every step multiplied by its r_t and normalised, the last one too.

    Derivation: N(G x, C) r = N(K (C⁻¹ G x + h), K) with K = (C⁻¹ + Λ)⁻¹, whose mean is again linear in x.
    """
    n = len(factors[0].linear)
    law = times(Moments(np.zeros((1, n)), np.eye(n)[None]), factors[-1])
    found = [law]
    for t in range(len(model.gain) - 1, 0, -1):
        precision = np.linalg.inv(model.cov[t])
        K = np.linalg.inv(precision + factors[t - 1].precision)
        law = _step(law, K @ precision @ model.gain[t], K @ factors[t - 1].linear, K)
        found.append(law)
    return found[::-1]


def held(model: Kernels, known: Array, values: Array) -> list[Moments]:
    """The law of x_t, t = 0..T, when the components `known` are held at `values` at every t, in each step and at the start.

    Derivation: conditioned on the known components k, the others u of N(m, C) have mean m_u + C_uk C_kk⁻¹ (values − m_k) and
    covariance C_uu − C_uk C_kk⁻¹ C_ku.
    Shapes: known (n,) of bool, values (n,), of which only the known ones are read.
    """
    known, values = np.asarray(known, dtype=bool), np.where(known, values, 0.0)
    n = len(known)
    law = _step(Moments(np.zeros((1, n)), np.eye(n)[None]), *_condition(np.zeros((n, n)), np.eye(n), known, values))
    found = [law]
    for t in range(len(model.gain) - 1, 0, -1):
        law = _step(law, *_condition(model.gain[t], model.cov[t], known, values))
        found.append(law)
    return found[::-1]


def _condition(gain: Array, cov: Array, known: Array, values: Array) -> tuple[Array, Array, Array]:
    """gain, shift and covariance of N(gain x, cov) given its known components."""
    k, u = np.flatnonzero(known), np.flatnonzero(~known)
    pull = cov[np.ix_(u, k)] @ np.linalg.inv(cov[np.ix_(k, k)])
    new_gain, shift, new_cov = np.zeros_like(gain), values.copy(), np.zeros_like(cov)
    new_gain[u] = gain[u] - pull @ gain[k]
    shift[u] = pull @ values[k]
    new_cov[np.ix_(u, u)] = cov[np.ix_(u, u)] - pull @ cov[np.ix_(k, u)]
    return new_gain, shift, new_cov


def _step(law: Moments, gain: Array, shift: Array, cov: Array) -> Moments:
    """The law of gain x + shift + N(0, cov), x ~ law."""
    return Moments((gain @ law.mean[0] + shift)[None], (gain @ law.cov[0] @ gain.T + cov)[None])


# -- bits ----------------------------------------------------------------------------------------------------------

def exact_bits(r: Array, reverse: Reverse, beta: Array, n: int, *, rate: float) -> list[Array]:
    """r_t(x_t) = E_p[ r(x_0) | x_t ] of every state, t = 0..T.   Shapes: r (2ⁿ,) → T+1 such tables."""
    found = [np.asarray(r, dtype=float)]
    for t in range(1, len(beta)):
        found.append(reverse_step(reverse, beta, t, n, rate=rate) @ found[-1])
    return found


def ramp_bits(r: Array, T: int) -> list[Array]:
    """r^((T−t)/T), t = 0..T."""
    return [np.asarray(r, dtype=float) ** ((T - t) / T) for t in range(T + 1)]


def method_bits(reverse: Reverse, beta: Array, n: int, factors: Sequence[Array], *, rate: float) -> Array:
    """The law of x_t, t = 0..T, of the chain with every step multiplied by its r_t and normalised.   (T+1, 2ⁿ)"""
    law = _over_row_sums(prior(n, rate=rate) * factors[-1])
    found = [law]
    for t in range(len(beta) - 1, 0, -1):
        law = law @ _over_row_sums(reverse_step(reverse, beta, t, n, rate=rate) * factors[t - 1])
        found.append(law)
    return np.stack(found[::-1])


def _over_row_sums(table: Array) -> Array:
    """Every row divided by its sum."""
    return table / table.sum(axis=-1, keepdims=True)


open_doors(globals())
