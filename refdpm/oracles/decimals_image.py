"""The layers of images and their network in decimals of 70 digits, with scales by the rules of `decimals`.

An image is a list of rows of pixels, and a pixel a list of channels.  What a layer is fed with may have been rounded before: so
channels are `Exact`, and a sum Σ x w has the scale Σ scale(x)·|w|.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from refdpm.oracles.decimals import Exact, Law, exactly, joined, summed
from refdpm.oracles.decimals import denoising as read_out

Pixel = list[Exact]
Image = list[list[Pixel]]
Numbers = list[list[list[Decimal]]]
SLOPE = Decimal(0.05)


def _rounded(x: Any) -> Any:
    """Numbers, each as one term."""
    return [_rounded(part) for part in x] if isinstance(x, list) else summed(x)


# -- layers ------------------------------------------------------------------------------------------------------------

@exactly
def conv2d(x: Numbers, weight: list[Any], bias: list[Decimal]) -> Image:
    """b + Σ over the taps that meet a pixel: every product is a term."""
    return _convolved(_rounded(x), weight, bias)


def _convolved(x: Image, weight: list[Any], bias: list[Decimal]) -> Image:
    above, left = len(weight) // 2, len(weight[0]) // 2

    def at(h: int, w: int) -> Pixel:
        met = [(x[h + i - above][w + j - left], weight[i][j]) for i in range(len(weight)) for j in range(len(weight[0]))
               if 0 <= h + i - above < len(x) and 0 <= w + j - left < len(x[0])]
        return _affine([unit for pixel, _ in met for unit in pixel], [row for _, tap in met for row in tap], bias)

    return [[at(h, w) for w in range(len(x[0]))] for h in range(len(x))]


def _affine(x: list[Exact], weight: list[list[Decimal]], bias: list[Decimal]) -> Pixel:
    return [joined([*(Exact(unit.value * row[k], unit.scale * abs(row[k])) for unit, row in zip(x, weight)), summed(b)])
            for k, b in enumerate(bias)]


@exactly
def mean_pool(x: Numbers, factor: Decimal) -> Image:
    """Σ/factor² over every square."""
    return _pooled(_rounded(x), int(factor))


def _pooled(x: Image, factor: int) -> Image:
    def mean(h: int, w: int, c: int) -> Exact:
        whole = joined([x[h + i][w + j][c] for i in range(factor) for j in range(factor)])
        return Exact(whole.value / factor ** 2, whole.scale / factor ** 2)

    return [[[mean(h, w, c) for c in range(len(x[0][0]))] for w in range(0, len(x[0]), factor)] for h in range(0, len(x), factor)]


@exactly
def upsample(x: Numbers, factor: Decimal) -> Image:
    """Every pixel as a square."""
    return _repeated(_rounded(x), int(factor))


def _repeated(x: Image, factor: int) -> Image:
    return [[x[h // factor][w // factor] for w in range(len(x[0]) * factor)] for h in range(len(x) * factor)]


@exactly
def multiscale(x: Numbers, kernels: list[Any]) -> Image:
    """Σ_s up( conv_s( pool(x) ) )."""
    return _scales(_rounded(x), kernels, lambda unit: unit)


@exactly
def multiscale_released(x: Numbers, kernels: list[Any]) -> Image:
    """The mean over s of up( leaky ReLU( conv_s( pool(x) ) ) )."""
    return _mean_of_leaky_scales(_rounded(x), kernels)


def _scales(x: Image, kernels: list[Any], inside: Callable[[Exact], Exact]) -> Image:
    total: list[Image] = []
    for s, (weight, bias) in enumerate(kernels):
        coarse = _each(_convolved(_pooled(x, 2 ** s), weight, bias), inside)
        total.append(_repeated(coarse, 2 ** s))
    return [[[joined(parts) for parts in zip(*pixels)] for pixels in zip(*rows)] for rows in zip(*total)]


def _mean_of_leaky_scales(x: Image, kernels: list[Any]) -> Image:
    S = len(kernels)
    return _each(_scales(x, kernels, _leaky), lambda unit: Exact(unit.value / S, unit.scale / S))


def _each(x: Image, f: Callable[[Exact], Exact]) -> Image:
    return [[[f(unit) for unit in pixel] for pixel in row] for row in x]


@exactly
def temporal(y: list[Decimal], g: list[Decimal]) -> Exact:
    """Σ_j y_j g_j."""
    return summed(*(a * b for a, b in zip(y, g)))


@exactly
def side_by_side(a: list[Decimal], b: list[Decimal]) -> Pixel:
    """[a/√A, b/√B]."""
    return [summed(x / Decimal(len(part)).sqrt()) for part in (a, b) for x in part]


# -- bumps in t --------------------------------------------------------------------------------------------------------

@exactly
def bumps(t: Decimal, T: Decimal, count: Decimal) -> list[Exact]:
    """Centres (j − ½) T/J, width T/J."""
    return _bumps(t, [T * (2 * j + 1) / (2 * count) for j in range(int(count))], T / count)


@exactly
def bumps_released(t: Decimal, T: Decimal, count: Decimal) -> list[Exact]:
    """Centres 1 + (j − 1) (T − 1)/(J − 1), width half their spacing; one alone is 1."""
    spacing = (T - 1) / (count - 1) if count > 1 else Decimal(1)
    return _bumps(t, [1 + j * spacing for j in range(int(count))], spacing / 2)


def _bumps(t: Decimal, centres: list[Decimal], width: Decimal) -> list[Exact]:
    """e^{s_j}/Σ_k e^{s_k}, s = −(t − τ)²/2w².  The two terms of t − τ and then s are rounded, which moves log g_j by
    what they move s_j, and on average over g.  One bump alone is 1, whatever its s.
    """
    if len(centres) == 1:
        return [summed(Decimal(1))]
    s = [-((t - tau) / width) ** 2 / 2 for tau in centres]
    moved = [abs(s_j) + abs(t - tau) * (abs(t) + abs(tau)) / width ** 2 for s_j, tau in zip(s, centres)]
    whole = sum((s_j.exp() for s_j in s), Decimal(0))
    g = [s_j.exp() / whole for s_j in s]
    shared = 1 + sum((g_j * by for g_j, by in zip(g, moved)), Decimal(0))
    return [Exact(g_j, g_j * (shared + by)) for g_j, by in zip(g, moved)]


# -- non-linearities of rounded numbers --------------------------------------------------------------------------------

def _leaky(a: Exact) -> Exact:
    slope = Decimal(1) if a.value > 0 else SLOPE
    return Exact(slope * a.value, slope * a.scale)


def _softplus(a: Exact) -> Exact:
    value = (1 + a.value.exp()).ln()
    return Exact(value, value + a.scale / (1 + (-a.value).exp()))


def _tanh(a: Exact) -> Exact:
    value = 1 - 2 / ((2 * a.value).exp() + 1)
    return Exact(value, abs(value) + (1 - value * value) * a.scale)


# -- the network -------------------------------------------------------------------------------------------------------

@exactly
def image(conv: list[Any], dense: list[Any], pixelwise: list[Any], last: list[Any], x_t: Numbers, t: Decimal, T: Decimal,
          count: Decimal, released: Decimal, beta: Decimal, log_alpha_bar_prev: Decimal) -> list[list[list[Law]]]:
    """One image at its step t through the network in the paper's form, or (released = 1) the other, with the read-out `denoising`;
    every layer is [weight, bias], a convolution a list of those.

    Rounded heads z move the mean by c_0 z, and the logarithm of a part of the variance by z.
    """
    then = _leaky if released else _tanh
    C, g = len(x_t[0][0]), (bumps_released if released else bumps)(t, T, count)
    features = _features(_rounded(x_t), conv, dense, then, bool(released))
    for weight, bias in pixelwise:
        features = [[[then(total) for total in _affine(pixel, weight, bias)] for pixel in row] for row in features]

    def laws(pixel: Pixel, state: list[Decimal]) -> list[Law]:
        y, J = _affine(pixel, *last), int(count)
        z = [_mixed(y[k * J:(k + 1) * J], g) for k in range(2 * C)]
        return [_law(mean, var, x, beta, log_alpha_bar_prev) for mean, var, x in zip(z[:C], z[C:], state)]

    return [[laws(pixel, state) for pixel, state in zip(*rows)] for rows in zip(features, x_t)]


def _features(x: Image, conv: list[Any], dense: list[Any], then: Callable[[Exact], Exact], released: bool) -> Image:
    near, far = x, [unit for row in x for pixel in row for unit in pixel]
    for kernels in conv:
        near = _mean_of_leaky_scales(near, kernels) if released else _each(_scales(near, kernels, lambda unit: unit), _softplus)
    for weight, bias in dense:
        far = [then(total) for total in _affine(far, weight, bias)]
    if not dense:
        return near
    width, columns = len(far) // (len(x) * len(x[0])), len(x[0])
    dealt = [[far[(h * columns + w) * width:(h * columns + w + 1) * width] for w in range(columns)] for h in range(len(x))]
    if not conv:
        return dealt
    return [[_scaled(a) + _scaled(b) for a, b in zip(*rows)] for rows in zip(near, dealt)]


def _scaled(pixel: Pixel) -> Pixel:
    root = Decimal(len(pixel)).sqrt()
    return [Exact(unit.value / root, unit.scale / root) for unit in pixel]


def _mixed(y: Pixel, g: list[Exact]) -> Exact:
    return joined(Exact(a.value * b.value, a.scale * b.value + abs(a.value) * b.scale) for a, b in zip(y, g))


def _law(mean: Exact, var: Exact, x: Decimal, beta: Decimal, log_alpha_bar_prev: Decimal) -> Law:
    law, fixed = read_out(mean.value, var.value, x, beta, log_alpha_bar_prev), read_out(0, 0, x, beta, log_alpha_bar_prev)
    before = log_alpha_bar_prev.exp()
    share = before.sqrt() * beta / (1 - before * (1 - beta))
    moves = share * share * (1 - before * (1 - beta)) * var.value.exp()
    return Law(Exact(law.mean.value, fixed.mean.scale + share * (abs(mean.value) + mean.scale)),
               Exact(law.var.value, law.var.scale + moves * var.scale))
