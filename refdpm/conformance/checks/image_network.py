"""Checks of the network of images: composed by hand of loops over pixels, and what it is before training."""

from fractions import Fraction
from functools import partial
from itertools import product
from math import sqrt
from typing import Any

import numpy as np

from refdpm.conformance.checks.common import Check, apart, passes, refused, worst
from refdpm.conformance.checks.image import Quantity, eq63, leaky, normal, scale_by_scale
from refdpm.layers import temporal
from refdpm.networks import image
from refdpm.networks.image import Image
from refdpm.schedule import Step
from refdpm.vjp import Array, tree_map

N, H, W, C, T, J = 3, 2, 4, 2, 9, 3
TIMES, BETA = np.array([4, 9, 2]), np.array([[[[0.2]]], [[[0.5]]], [[[0.05]]]])
LEVEL = np.log(np.array([0.3, 0.1, 0.9])).reshape(3, 1, 1, 1)
STEP = Step(BETA, LEVEL, LEVEL + np.log1p(-BETA))
PATHS: tuple[dict[str, Any], ...] = (dict(conv=(3, 5), dense=()), dict(conv=(4,), dense=(6, 7)), dict(conv=(), dense=(6,)))
BUMPS = {"paper": ([Fraction(3, 2), Fraction(9, 2), Fraction(15, 2)], Fraction(3)),
         "released": ([Fraction(1), Fraction(5), Fraction(9)], Fraction(2))}
FORMS: dict[str, Any] = {"paper": (np.tanh, lambda y: np.log1p(np.exp(y))), "released": (leaky, None)}


def _start(form: str, *, seed: int = 5, **paths: Any) -> Image:
    return image.init(np.random.default_rng(seed), shape=(H, W, C), scales=2, kernel=(3, 1), dense_features=3, pixelwise=(5, 4),
                      count=J, form=form, **paths)


def _off_the_start(form: str, **paths: Any) -> Image:
    rng = np.random.default_rng(6)
    return tree_map(lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape), _start(form, **paths))


def _heads_by_hand(parameters: Image, x: Array, t: int, form: str, basis: str) -> Array:
    """z (2, H, W, C) of one image (H, W, C), by definition: (mean, var), pixel by pixel."""
    (then, smooth), F = FORMS[form], 3
    near, far, paths = x[None], [x[h, w, c] for h in range(H) for w in range(W) for c in range(C)], []
    for kernels in parameters.conv:
        near = smooth(scale_by_scale(near, kernels)) if smooth else scale_by_scale(near, kernels, leaky) / len(kernels)
    for weight, bias in parameters.dense:
        far = [float(then(np.dot(far, column) + b)) for column, b in zip(weight.T, bias)]
    if parameters.conv:
        paths.append(near[0])
    if parameters.dense:
        paths.append(np.array([[far[k:k + F] for k in range(h * W * F, (h + 1) * W * F, F)] for h in range(H)]))
    g = eq63(t, *BUMPS[basis])
    z = np.zeros((2, H, W, C))
    for h, w in np.ndindex(H, W):
        hidden = [value / sqrt(len(path[h, w])) if len(paths) == 2 else value for path in paths for value in path[h, w]]
        for weight, bias in parameters.pixelwise:
            hidden = then(hidden @ weight + bias)
        y = np.array(hidden) @ parameters.last.weight + parameters.last.bias
        for s, c in np.ndindex(2, C):
            z[s, h, w, c] = sum(y[(s * C + c) * J + j] * g[j] for j in range(J))
    return z


def _read_by_hand(z: Array, x: Array, step: Step, readout: str) -> tuple[Array, Array]:
    """Mean and variance from both heads, with T = 9."""
    beta, before, after = step.beta, np.exp(step.log_alpha_bar_prev), np.exp(step.log_alpha_bar)
    if readout == "denoising":
        share = np.sqrt(before) * beta / (1 - after)
        return (np.sqrt(1 - beta) * x + share * z[0],
                beta * (1 - before) / (1 - after) + share ** 2 * (1 - after) * np.exp(z[1]))
    odds = beta / (1 - beta) * np.exp(z[1] if readout == "eq65" else z[1] / 3)
    if readout == "eq65":
        return (x - z[0]) / np.sqrt(1 + odds) + z[0], odds / (1 + odds)
    return np.sqrt(1 - beta) * x + np.sqrt(beta) * z[0], odds / (1 + odds)


def network_is_its_layers() -> float:
    """Both forms, each with both paths and with one: features, coefficients and bumps of every image at its own t, by loops over
    pixels; both bases, three read-outs; what has no such name is refused."""
    x, found = normal(N, H, W, C, seed=7), []
    for k, (form, paths) in enumerate(product(FORMS, PATHS)):
        parameters = _off_the_start(form, **paths)
        basis, readout = temporal.BASES[k % 2], ("denoising", "eq65", "released")[k % 3]
        p = image.reverse(parameters, x, STEP, t=TIMES, T=T, form=form, basis=basis, readout=readout)
        for n, t in enumerate(TIMES.tolist()):
            z = _heads_by_hand(parameters, x[n], t, form, basis)
            mean, var = _read_by_hand(z, x[n], Step(*(part[n] for part in STEP)), readout)
            found += [apart(p.mean[n], mean), apart(p.var[n], var)]
    asked = partial(image.reverse, parameters, x, STEP, t=TIMES, T=T)
    wrong: tuple[dict[str, Any], ...] = (dict(form="unet"), dict(basis="fourier"), dict(readout="none"))
    return worst(*found, passes(*(refused(partial(asked, **named)) for named in wrong)))


def network_starts_at_the_forward_kernel() -> float:
    """N(√(1−β) x, β) whatever the form, the paths, the basis and the read-out; what cannot be a network is refused."""
    x, found = normal(N, H, W, C, seed=7), []
    for k, (form, paths) in enumerate(product(FORMS, PATHS)):
        basis, readout = temporal.BASES[k // 3], ("denoising", "eq65", "released")[k % 3]
        p = image.reverse(_start(form, **paths), x, STEP, t=TIMES, T=T, form=form, basis=basis, readout=readout)
        found += [apart(p.mean, np.sqrt(1 - BETA) * x), apart(p.var + 0 * x, BETA + 0 * x)]
    wrong: tuple[dict[str, Any], ...] = (dict(conv=(), dense=()), dict(kernel=(3, 2)), dict(scales=0), dict(form="unet"),
                                         dict(shape=(6, 8, 1)))
    fresh = partial(image.init, np.random.default_rng(0))
    return worst(*found, passes(*(refused(partial(fresh, **(dict(shape=(8, 8, 1)) | named))) for named in wrong)))


def network_starts_with_the_layers_asked_for() -> float:
    """Shapes, layer by layer; zeros in the last one and in every bias; of all the other weights no two alike."""
    start = image.init(np.random.default_rng(8), shape=(2, 4, 3), conv=(32, 24), scales=2, kernel=(3, 5), dense=(30, 40, 50),
                       dense_features=5, pixelwise=(36, 28), count=4)
    layers = (*start.conv[0], *start.conv[1], *start.dense, *start.pixelwise, start.last)
    shapes = ([(3, 5, 3, 32)] * 2 + [(3, 5, 32, 24)] * 2
              + [(24, 30), (30, 40), (40, 50), (50, 2 * 4 * 5), (24 + 5, 36), (36, 28), (28, 2 * 3 * 4)])
    drawn = np.concatenate([layer.weight.ravel() for layer in layers[:-1]])
    return passes([layer.weight.shape for layer in layers] == shapes, start.last.weight == 0, len(np.unique(drawn)) == drawn.size,
                  *(len(layer.bias) == shape[-1] and not layer.bias.any() for layer, shape in zip(layers, shapes)))


def _deviation(f: Quantity) -> float:
    """Of f of a standard normal number, by quadrature."""
    nodes, masses = np.polynomial.hermite_e.hermegauss(60)
    return float(np.sqrt(np.average(f(nodes) ** 2, weights=masses) - np.average(f(nodes), weights=masses) ** 2))


def network_starts_with_features_of_order_one() -> float:
    """Every unit's Σ x w has variance 1 for white noise, for x functions of standard normal numbers with independent w; of each
    path ½ where two meet; ½ in each of two scales that are added, 2 where they are averaged (so that their sum and mean have 1).

    The functions have the deviations found by quadrature, leaky ReLU its root mean square.  The weights on softplus, whose
    mean is not 0, add up to 0 in every tap, which takes one part in their number.  Within 1 % and four standard errors of a mean of
    n squares, √(2/n): with another seed a false alarm in 500.
    """
    smooth, sigmoidal, root, found = _deviation(FORMS["paper"][1]), _deviation(np.tanh), sqrt((1 + 0.05 ** 2) / 2), []
    for form, near, other, share in (("paper", smooth, sigmoidal, 1 / 2), ("released", root, root, 2.0)):
        start = image.init(np.random.default_rng(8), shape=(2, 4, 3), conv=(32, 24), scales=2, kernel=(3, 5), dense=(60, 40),
                           dense_features=5, pixelwise=(36, 28), count=4, form=form)
        meeting, lost = start.pixelwise[0].weight, 1.0 if form == "paper" else 0.0
        fed_by_scales = [layer.weight for layer in start.conv[1]]
        blocks = [(layer.weight, 1.0, share) for layer in start.conv[0]]
        blocks += [(weight, near, share * (1 - lost / 32)) for weight in fed_by_scales]
        blocks += [(start.dense[0].weight, 1.0, 1.0)]
        blocks += [(layer.weight, other, 1.0) for layer in (*start.dense[1:], start.pixelwise[1])]
        blocks += [(meeting[:24], near / sqrt(24), (1 - lost / 24) / 2), (meeting[24:], other / sqrt(5), 1 / 2)]
        alone = partial(image.init, np.random.default_rng(9), shape=(2, 4, 3), scales=2, pixelwise=(36,), form=form)
        blocks += [(alone(conv=(24,)).pixelwise[0].weight, near, 1 - lost / 24),
                   (alone(conv=(), dense=(20,), dense_features=15).pixelwise[0].weight, other, 1.0)]
        for weight, deviation, variance in blocks:
            of_unit = (weight ** 2).sum() / weight.shape[-1] * deviation ** 2
            found += [abs(of_unit / variance - 1) / (0.01 + 4 * sqrt(2 / weight.size))]
        if lost:
            found += [apart(weight.mean(axis=-2), 0 * weight[..., 0, :], scale=1.0) for weight in (*fed_by_scales, meeting[:24])]
    return worst(*found)


CHECKS = (
    Check("the image network is its layers", ("networks.image.reverse_vjp",), network_is_its_layers),
    Check("the image network starts at the forward kernel", ("networks.image.init", "networks.image.reverse_vjp"),
          network_starts_at_the_forward_kernel),
    Check("the image network starts with the layers asked for", ("networks.image.init",),
          network_starts_with_the_layers_asked_for),
    Check("the image network starts with features of order 1", ("networks.image.init",), network_starts_with_features_of_order_one),
)
