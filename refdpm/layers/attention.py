"""Attention: each place takes a weighted mean of the values of others, and its query and their keys say with which weights."""

from math import sqrt

from refdpm.activation import softmax_vjp
from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.vjp import Array, Pullback


def attention(query: Array, key: Array, value: Array) -> Array:
    """y_l = Σ_m a_lm v_m with a_l· = softmax(q_l · k_m/√d).

    For queries and keys of independent components of variance 1, q · k has the variance d: so the root keeps the weights apart
    from both 1/M and 1, whatever d is.

    Shapes: query (…, L, d), key (…, M, d), value (…, M, e) → (…, L, e); heads are an axis in front.
    Source: Vaswani et al. 2017.
    """
    return attention_vjp(query, key, value)[0]


def attention_vjp(query: Array, key: Array, value: Array) -> tuple[Array, Pullback]:
    """Adjoint of `attention`.  With the scores s_lm = q_l · k_m/√d,   dy = da v + a dv,   ds_lm = (dq_l · k_m + q_l · dk_m)/√d."""
    root = sqrt(query.shape[-1])
    weights, back_softmax = softmax_vjp(query @ key.swapaxes(-1, -2) / root)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dscores = back_softmax(dy @ value.swapaxes(-1, -2)) / root
        return dscores @ key, dscores.swapaxes(-1, -2) @ query, weights.swapaxes(-1, -2) @ dy

    return weights @ value, pullback


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
