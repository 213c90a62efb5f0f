"""Guidance: a prediction that is drawn towards a class, and the times at which inpainting goes back.

By Bayes' rule log q(y | x) = log q(x | y) − log q(x) + constant.  Its gradient is the difference of two scores, and the noise is
ε = −√(1−ᾱ) score, so that the law q(x) q(y | x)^w, w times as sure of y, has the noise

    u + w (c − u)        c, u: with and without the class           classifier-free (`guided`)
    ε − √(1−ᾱ_t) ∇       ∇ = w ∇ log q(y | x_t)                     with a classifier (`guided_noise`)

Any prediction that is affine in the noise given x_t (see `parametrisation`) is combined with the same w, because 1 − w and w add
to 1.  Some write c + w (c − u), whose w is one less: `start` says from which of the two w is counted.

The sampler of the paper multiplies a step N(mean, var) by r instead, and has the mean + var ∇ with ∇ at the mean (eq. 61,
`product.perturbed`).  In `guided_noise` the gradient is taken at x_t, and the step's mean moves by β_t ∇/√(1−β_t).  With var = β_t
the two differ by a share of order β_t, and by the way from x_t to the mean.

Shapes: predictions, gradients (N, …); log_alpha_bar (N, 1, …).
"""

import numpy as np

from refdpm.doors import open_doors
from refdpm.vjp import Array, Pullback, unbroadcast

STARTS = ("unconditional", "conditional")


def guided(conditional: Array, unconditional: Array, *, weight: float, start: str = "unconditional") -> Array:
    """u + w (c − u), or with start = "conditional" c + w (c − u).   Raises: ValueError for another start."""
    base = {"unconditional": unconditional, "conditional": conditional}.get(start)
    if base is None:
        raise ValueError(f"start: expected one of {STARTS}, got {start!r}")
    return base + weight * (conditional - unconditional)


def guided_vjp(conditional: Array, unconditional: Array, *, weight: float, start: str = "unconditional") -> tuple[Array, Pullback]:
    """Adjoint of `guided`:   dg = w dc + (1 − w) du,   or (1 + w) dc − w du."""
    of_c, of_u = (1 + weight, -weight) if start == "conditional" else (weight, 1 - weight)

    def pullback(dg: Array) -> tuple[Array, Array]:
        return unbroadcast(of_c * dg, conditional.shape), unbroadcast(of_u * dg, unconditional.shape)

    return guided(conditional, unconditional, weight=weight, start=start), pullback


def rescaled(guided: Array, conditional: Array, *, share: float) -> Array:
    """φ g std(c)/std(g) + (1 − φ) g with the share φ: part of the way to a prediction that is as wide as the conditional one.

    std is over all components of one example; whether their squares are divided by their number, or one less, cancels.
    Domain: examples whose components are not all alike.
    """
    c, g = _off_mean(conditional), _off_mean(guided)
    return (share * np.sqrt(_total(c * c) / _total(g * g)) + (1 - share)) * guided


def _off_mean(x: Array) -> Array:
    return x - x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)


def _total(x: Array) -> Array:
    return x.sum(axis=tuple(range(1, x.ndim)), keepdims=True)


def rescaled_vjp(guided: Array, conditional: Array, *, share: float) -> tuple[Array, Pullback]:
    """Adjoint of `rescaled`.  With c̃ and g̃ the two less their means, and r = |c̃|/|g̃|,

        dvalue = (φ r + 1 − φ) dg + φ g dr        dr = r (⟨c̃, dc⟩/|c̃|² − ⟨g̃, dg⟩/|g̃|²).
    """
    c, g = _off_mean(conditional), _off_mean(guided)
    size_c, size_g = _total(c * c), _total(g * g)
    ratio = np.sqrt(size_c / size_g)

    def pullback(dvalue: Array) -> tuple[Array, Array]:
        dlog_ratio = share * ratio * _total(guided * dvalue)
        return (share * ratio + (1 - share)) * dvalue - dlog_ratio * g / size_g, dlog_ratio * c / size_c

    return rescaled(guided, conditional, share=share), pullback


def guided_noise(noise: Array, gradient: Array, log_alpha_bar: Array) -> Array:
    """ε − √(1−ᾱ) ∇, where ∇ is the gradient of log q(y | x_t) at x_t."""
    return noise - np.sqrt(-np.expm1(log_alpha_bar)) * gradient


def guided_noise_vjp(noise: Array, gradient: Array, log_alpha_bar: Array) -> tuple[Array, Pullback]:
    """Adjoint of `guided_noise`.  With σ = √(1−ᾱ) and dσ = −½ (ᾱ/σ) dℓ,   dvalue = dε − σ d∇ + ½ (ᾱ/σ) ∇ dℓ."""
    sigma = np.sqrt(-np.expm1(log_alpha_bar))

    def pullback(dvalue: Array) -> tuple[Array, Array, Array]:
        dlevel = np.exp(log_alpha_bar) / (2 * sigma) * gradient * dvalue
        return (unbroadcast(dvalue, noise.shape), unbroadcast(-sigma * dvalue, gradient.shape),
                unbroadcast(dlevel, log_alpha_bar.shape))

    return guided_noise(noise, gradient, log_alpha_bar), pullback


def repeated_times(T: int, *, length: int, repeats: int) -> Array:
    """The times of repeated inpainting (Lugmayr et al. 2022), in order: the t of every state from x_T to x_1.

    Where t falls, a reverse step is taken; where it rises, the state is noised again by one step of the chain.  At t = 1,
    1 + length, 1 + 2 length … below T + 1 − length the chain goes up by `length` steps and down again, `repeats` − 1 times.

    Raises: ValueError for a length or a number of repeats below 1.
    """
    if length < 1 or repeats < 1:
        raise ValueError(f"length, repeats: expected at least 1, got {length} and {repeats}")
    left = {t: repeats - 1 for t in range(1, T + 1 - length, length)}
    times = [T]
    while times[-1] > 1 or left.get(1, 0):
        t = times[-1]
        if left.get(t, 0):
            left[t] -= 1
            times += range(t + 1, t + length + 1)
        else:
            times.append(t - 1)
    return np.array(times)


open_doors(globals())
