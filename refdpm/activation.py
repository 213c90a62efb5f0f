"""Element-wise functions: softplus, sigmoid, logit, tanh, leaky ReLU, SiLU, GELU, dropout; and softmax, along the last axis.

They stand before everything else because the schedule, the kernels, the layers and the read-outs all use them.  Each is accurate
from −800 to 800 and complex-analytic: `np.maximum` and `np.minimum` order complex numbers by their real part, and where real parts
tie both branches agree.
"""

from math import pi, sqrt

import numpy as np
from scipy import special

from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.vjp import Array, Pullback, unbroadcast


def _minus_abs(x: Array) -> Array:
    """−|x| for real x, continued analytically from either side of 0."""
    below = np.asarray(-x)
    return np.minimum(x, below, out=below)


def _e_minus_abs(x: Array) -> tuple[Array, Array]:
    """e^−|x|, and whether that is e^−x, not e^x."""
    below = _minus_abs(x)
    is_positive = np.asarray(below != x)
    return np.exp(below, out=below), is_positive


def softplus(x: Array) -> Array:
    """log(1 + eˣ) = max(x, 0) + log1p(e^−|x|)."""
    return _softplus(x, _e_minus_abs(x)[0])


def _softplus(x: Array, e: Array) -> Array:
    """The same, from e = e^−|x|."""
    y = log1p(e)
    y += np.maximum(x, 0)
    return y


def log1p(x: Array) -> Array:
    """log(1 + x).   Of complex numbers, where NumPy's loses digits, it is log w + (x − (w − 1))/w with w = 1 + x as it is rounded:
    what was rounded off is found exactly, and to the next order it adds its share of w.   Domain: x > −1.
    """
    if not np.iscomplexobj(x):
        return np.asarray(np.log1p(x))
    w = 1 + x
    y = x - (w - 1)
    y /= w
    y += np.log(w)
    return y


def softplus_vjp(x: Array) -> tuple[Array, Pullback]:
    """Adjoint of `softplus`:   dy = sigmoid(x) dx   (½ at x = 0)."""
    e, is_positive = _e_minus_abs(x)
    return _softplus(x, e), lambda dy: _sigmoid(e, is_positive) * dy


def sigmoid(x: Array) -> Array:
    """1/(1 + e^−x)."""
    return _sigmoid(*_e_minus_abs(x))


def _sigmoid(e: Array, is_positive: Array) -> Array:
    """The same from e = e^−|x|:   1/(1 + e) where x > 0, and e/(1 + e) elsewhere."""
    y = np.asarray(1 - e)
    y *= is_positive
    y += e
    y /= 1 + e
    return y


def sigmoids(x: Array) -> tuple[Array, Array]:
    """sigmoid(x) and 1 − sigmoid(x) = sigmoid(−x), neither of them taken from 1."""
    e, is_positive = _e_minus_abs(x)
    return _sigmoid(e, is_positive), _sigmoid(e, ~is_positive)


def sigmoid_vjp(x: Array) -> tuple[Array, Pullback]:
    """Adjoint of `sigmoid`:   dy = y (1 − y) dx,   with 1 − y = sigmoid(−x)."""
    y = sigmoid(x)
    return y, lambda dy: y * sigmoid(-x) * dy


def logit(y: Array) -> Array:
    """log(y/(1 − y)) = log y − log1p(−y), the inverse of `sigmoid`; +∞ at y = 1.   Domain: 0 < y ≤ 1."""
    return np.log(y) - special.log1p(-y)


def logit_vjp(y: Array) -> tuple[Array, Pullback]:
    """Adjoint of `logit`:   dx = dy/(y (1 − y)).   Domain: 0 < y < 1."""
    return logit(y), lambda dx: dx / (y * (1 - y))


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


def tanh_vjp(x: Array) -> tuple[Array, Pullback]:
    """Adjoint of `tanh`:   dy = (1 − y²) dx."""
    y = tanh(x)

    def pullback(dy: Array) -> Array:
        slope = np.asarray(y * y)
        return np.subtract(1, slope, out=slope) * dy

    return y, pullback


def leaky_relu(x: Array, *, slope: float = 0.05) -> Array:
    """max(x, slope·x), the released code's non-linearity.   Domain: 0 ≤ slope < 1."""
    return np.maximum(x, slope * x)


def leaky_relu_vjp(x: Array, *, slope: float = 0.05) -> tuple[Array, Pullback]:
    """Adjoint of `leaky_relu`:   dy = dx where x > 0, slope·dx elsewhere."""
    factor = slope + (1 - slope) * (np.real(x) > 0).astype(np.real(x).dtype)
    return leaky_relu(x, slope=slope), lambda dy: factor * dy


def silu(x: Array) -> Array:
    """x sigmoid(x), also called swish."""
    return x * sigmoid(x)


def silu_vjp(x: Array) -> tuple[Array, Pullback]:
    """Adjoint of `silu`.  With s = sigmoid(x),   dy = s (1 + x (1 − s)) dx,   and 1 − s = sigmoid(−x)."""
    def pullback(dy: Array) -> Array:
        s, rest = sigmoids(x)
        return s * (1 + x * rest) * dy

    return silu(x), pullback


GELU = ("exact", "tanh")
_CUBE, _SLOPE = 0.044715, sqrt(2 / pi)


def gelu(x: Array, *, form: str = "exact") -> Array:
    """x Φ(x), or with form = "tanh" ½ x (1 + tanh u), u = √(2/π) (x + 0.044715 x³), which is up to 5e-4 away from it.

    Derivation: ½ (1 + tanh u) = sigmoid(2u), in which nothing cancels.   Raises: ValueError for another form.
    Source: Hendrycks and Gimpel 2016.
    """
    if form not in GELU:
        raise ValueError(f"form: expected one of {GELU}, got {form!r}")
    return x * (_normal(x)[1] if form == "exact" else sigmoid(2 * _SLOPE * x * (1 + _CUBE * x * x)))


def _normal(x: Array) -> tuple[Array, Array]:
    """φ(x) and Φ(x), with all digits in the tail: x² is that of the nearest 64th, which is exact, and what is left."""
    near = np.rint(64 * np.real(x)) / 64
    density = np.exp(-near * near / 2) * np.exp(-(x - near) * (x + near) / 2) / sqrt(2 * pi)
    tail = density * sqrt(pi / 2) * special.erfcx(-_minus_abs(x) / sqrt(2))
    return density, np.where(np.real(x) < -1, tail, special.ndtr(x))


def gelu_vjp(x: Array, *, form: str = "exact") -> tuple[Array, Pullback]:
    """Adjoint of `gelu`:   dy = (Φ + x φ) dx;   or with s = sigmoid(2u)   dy = s (1 + 2 x u′ (1 − s)) dx."""
    def pullback(dy: Array) -> Array:
        if form == "exact":
            density, below = _normal(x)
            return (below + x * density) * dy
        u, slope = _SLOPE * x * (1 + _CUBE * x * x), _SLOPE * (1 + 3 * _CUBE * x * x)
        s, rest = sigmoids(2 * u)
        return s * (1 + 2 * x * slope * rest) * dy

    return gelu(x, form=form), pullback


def dropout(x: Array, *, keep: Array, rate: float) -> Array:
    """x/(1 − rate) where `keep` is true, and 0 elsewhere: its mean over masks is x, if `rate` is the share of what is left out."""
    return np.where(keep, x / (1 - rate), 0)


def dropout_vjp(x: Array, *, keep: Array, rate: float) -> tuple[Array, Pullback]:
    """Adjoint of `dropout`, which is itself."""
    return dropout(x, keep=keep, rate=rate), lambda dy: unbroadcast(dropout(dy, keep=keep, rate=rate), x.shape)


# -- along an axis -----------------------------------------------------------------------------------------------------

def softmax(x: Array) -> Array:
    """g_k = exp(x_k)/Σ_j exp(x_j), along the last axis: positive weights, Σ_k g_k = 1.

    Shapes: (…, K) → (…, K).
    Edge: a number added to all x_k of a row changes nothing; so the largest is subtracted, and no x is too large.  Of complex
    numbers the one with the largest real part is subtracted as a whole, and its own g loses no digits near 1.
    """
    g = x - np.max(x, axis=-1, keepdims=True)
    np.exp(g, out=g)
    g /= g.sum(axis=-1, keepdims=True)
    return g


def softmax_vjp(x: Array) -> tuple[Array, Pullback]:
    """Adjoint of `softmax`:   dg_k = g_k (dx_k − Σ_j g_j dx_j), which is its own adjoint."""
    g = softmax(x)

    def pullback(dg: Array) -> Array:
        dx = off_average(dg, g)
        dx *= g
        return dx

    return g, pullback


def off_average(x: Array, g: Array) -> Array:
    """x_k − Σ_j g_j x_j.   Shapes: (…, K), (…, K) → (…, K).

    Taken twice, which changes nothing but rounding: where one k has nearly all of the weight, the first average is nearly x_k, and
    what is left of it is a rounding error, which the second average takes away.
    """
    x = x - np.einsum("...k,...k->...", g, x)[..., None]
    x -= np.einsum("...k,...k->...", g, x)[..., None]
    return np.asarray(x)


def log_softmax(x: Array) -> Array:
    """log g_k = x_k − log Σ_j exp(x_j), along the last axis, of the weights g of `softmax`: finite where they are 0.

    Shapes: (…, K) → (…, K).
    """
    below = x - np.max(x, axis=-1, keepdims=True)
    return below - np.log(np.exp(below).sum(axis=-1, keepdims=True))


def log_softmax_vjp(x: Array) -> tuple[Array, Pullback]:
    """Adjoint of `log_softmax`:   d(log g_k) = dx_k − Σ_j g_j dx_j."""
    value = log_softmax(x)
    return value, lambda dvalue: dvalue - np.exp(value) * dvalue.sum(axis=-1, keepdims=True)


# -- differences of elementary functions that cancel ------------------------------------------------------------------

def x_minus_log1p(x: Array) -> Array:
    """x − log(1 + x) for −½ < x < 1, to rounding error although both terms are nearly equal.

    Derivation: with s = x/(2 + x), log(1 + x) = 2 artanh s, hence x − log(1 + x) = s [x − 2 (s²/3 + s⁴/5 + s⁶/7 + …)].
    Here |s| < ⅓, and 16 terms reach rounding error.
    """
    s = x / (2 + x)
    square, series = s * s, np.zeros_like(s)
    for k in range(16, 0, -1):
        series += 1 / (2 * k + 1)
        series *= square
    return s * (x - 2 * series)


def expm1_minus_x(x: Array) -> Array:
    """eˣ − 1 − x for |x| < 1.3, to rounding error.

    Derivation: with h = x/2, eˣ − 1 = 2/(coth h − 1) = x/(h coth h − h), and h coth h = 1 + q with Lambert's continued fraction
    q = h²/(3 + h²/(5 + h²/(7 + …))).  Hence eˣ − 1 − x = x (h − q)/(1 − (h − q)), and q, about h²/3, takes little from h.
    """
    h = x / 2
    square, q = h * h, np.zeros_like(h)
    for k in range(17, 1, -2):
        q = square / (k + q)
    h -= q
    return x * h / (1 - h)


open_doors(globals(), keep=DOUBLE_AND_SINGLE, inside=("log1p", "sigmoids", "x_minus_log1p", "expm1_minus_x"))
