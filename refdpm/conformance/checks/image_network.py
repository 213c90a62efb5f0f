"""Checks of the network of images: what it is before training."""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm.conformance.checks.common import apart, check, passes, refused, worst
from refdpm.conformance.checks.layers import normal
from refdpm.layers import temporal
from refdpm.networks import image
from refdpm.networks.image import Image
from refdpm.schedule import Step
from refdpm.vjp import Array, leaves

N, H, W, C, T, J = 3, 2, 4, 2, 9, 3
TIMES, BETA = np.array([4, 9, 2]), np.array([[[[0.2]]], [[[0.5]]], [[[0.05]]]])
LEVEL = np.log(np.array([0.3, 0.1, 0.9])).reshape(3, 1, 1, 1)
STEP = Step(BETA, LEVEL, LEVEL + np.log1p(-BETA))
PATHS: tuple[dict[str, Any], ...] = (dict(conv=(3, 5), dense=()), dict(conv=(4,), dense=(6, 7)), dict(conv=(), dense=(6,)))


def _start(form: str, *, seed: int = 5, **paths: Any) -> Image:
    return image.init(np.random.default_rng(seed), shape=(H, W, C), scales=2, kernel=(3, 1), dense_features=3, pixelwise=(5, 4),
                      count=J, form=form, **paths)


@check("the image network starts at the forward kernel", "networks.image.init", "networks.image.reverse_vjp")
def network_starts_at_the_forward_kernel() -> float:
    """N(√(1−β) x, β) whatever the form, the paths, the basis and the read-out; what cannot be a network is refused."""
    x, found = normal(N, H, W, C, seed=7), []
    for k, (form, paths) in enumerate(product(image.FORMS, PATHS)):
        basis, readout = temporal.BASES[k // 3], ("denoising", "eq65", "released")[k % 3]
        p = image.reverse(_start(form, **paths), x, STEP, t=TIMES, T=T, form=form, basis=basis, readout=readout)
        found += [apart(p.mean, np.sqrt(1 - BETA) * x), apart(p.var + 0 * x, BETA + 0 * x)]
    wrong: tuple[dict[str, Any], ...] = (dict(conv=(), dense=()), dict(kernel=(3, 2)), dict(scales=0), dict(form="unet"),
                                         dict(shape=(6, 8, 1)))
    fresh = partial(image.init, np.random.default_rng(0))
    return worst(*found, passes(*(refused(partial(fresh, **(dict(shape=(8, 8, 1)) | named))) for named in wrong)))


@check("the image network starts with the layers asked for", "networks.image.init", "networks.image.template")
def network_starts_with_the_layers_asked_for() -> float:
    """Shapes, layer by layer, the template's too; zeros in the last one, in every bias; of all the other weights no two alike."""
    asked: dict[str, Any] = dict(shape=(2, 4, 3), conv=(32, 24, 28), scales=2, kernel=(3, 5), dense=(30, 40, 50),
                                 dense_features=5, pixelwise=(36, 28), count=4)
    start = image.init(np.random.default_rng(8), **asked)
    alike = zip(leaves(start), leaves(image.template(**asked, form="paper")), strict=True)
    layers = (*(layer for conv in start.conv for layer in conv), *start.dense, *start.pixelwise, start.last)
    shapes = ([(3, 5, 3, 32)] * 2 + [(3, 5, 32, 24)] * 2 + [(3, 5, 24, 28)] * 2
              + [(24, 30), (30, 40), (40, 50), (50, 2 * 4 * 5), (28 + 5, 36), (36, 28), (28, 2 * 3 * 4)])
    drawn = np.concatenate([layer.weight.ravel() for layer in layers[:-1]])
    return passes([layer.weight.shape for layer in layers] == shapes, start.last.weight == 0, len(np.unique(drawn)) == drawn.size,
                  *(len(layer.bias) == shape[-1] and not layer.bias.any() for layer, shape in zip(layers, shapes)),
                  *(one.shape == other.shape for one, other in alike))


def _deviation(f: Callable[[Array], Array]) -> float:
    """Of f of a standard normal number, by quadrature."""
    nodes, masses = np.polynomial.hermite_e.hermegauss(60)
    return float(np.sqrt(np.average(f(nodes) ** 2, weights=masses) - np.average(f(nodes), weights=masses) ** 2))


SIGNS: Any = SimpleNamespace(standard_normal=lambda shape: np.broadcast_to((-1.0) ** np.arange(shape[-2])[:, None], shape).copy())
"""In the place of normal numbers ones of the same size, which add up to 0 over an even number of inputs."""


@check("the image network starts with features of order 1", "networks.image.init")
def network_starts_with_features_of_order_one() -> float:
    """Every unit's Σ x w has variance 1 for white noise, for x functions of standard normal numbers with independent w; of each
    path ½ where two meet; ½ in each of two scales that are added, 2 where they are averaged (so that their sum and mean have 1).

    The functions have the deviations found by quadrature, leaky ReLU its root mean square, to the two decimals of the gains; all
    the rest is exact where every weight has the same size.  Drawn weights on softplus, whose mean is not 0, add up to 0 in every
    tap.
    """
    smooth, sigmoidal, root, found = _deviation(lambda y: np.log1p(np.exp(y))), _deviation(np.tanh), sqrt((1 + 0.05 ** 2) / 2), []
    for form, near, other, share in (("paper", smooth, sigmoidal, 1 / 2), ("released", root, root, 2.0)):
        near, other = 1 / round(1 / near, 2), 1 / round(1 / other, 2)
        whole = partial(image.init, shape=(2, 4, 3), conv=(32, 24, 28), scales=2, kernel=(3, 5), dense=(60, 40), dense_features=6,
                        pixelwise=(36, 28), count=4, form=form)
        start, drawn = whole(SIGNS), whole(np.random.default_rng(8))
        blocks = [(layer.weight, 1.0, share) for layer in start.conv[0]]
        blocks += [(layer.weight, near, share) for conv in start.conv[1:] for layer in conv]
        blocks += [(start.dense[0].weight, 1.0, 1.0)]
        blocks += [(layer.weight, other, 1.0) for layer in (*start.dense[1:], *start.pixelwise[1:])]
        meeting = start.pixelwise[0].weight
        blocks += [(meeting[:28], near / sqrt(28), 1 / 2), (meeting[28:], other / sqrt(6), 1 / 2)]
        alone = partial(image.init, SIGNS, shape=(2, 4, 3), scales=2, pixelwise=(36,), form=form)
        blocks += [(alone(conv=(24,)).pixelwise[0].weight, near, 1.0),
                   (alone(conv=(), dense=(20,), dense_features=16).pixelwise[0].weight, other, 1.0)]
        found += [apart((weight ** 2).sum() / weight.shape[-1] * deviation ** 2, wanted) for weight, deviation, wanted in blocks]
        if form == "paper":
            on_softplus = [layer.weight for conv in drawn.conv[1:] for layer in conv] + [drawn.pixelwise[0].weight[:28]]
            found += [apart(weight.mean(axis=-2), 0 * weight[..., 0, :], scale=1.0) for weight in on_softplus]
    return worst(*found)
