"""The accuracy of the layers of images, of the bumps in t and of the whole network, in both forms."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from refdpm import schedule
from refdpm.conformance.accuracy.common import BOTH, Generator, Groups, Point, wide
from refdpm.layers import conv, multiscale, pool, stack, temporal
from refdpm.layers.linear import Affine
from refdpm.networks import image
from refdpm.oracles import decimals_image
from refdpm.vjp import Array, tree_map


def _points(name: str, got: Array, exact: Any, **where: Any) -> Iterator[Point]:
    """Number by number: an array, and nested lists of `Exact`."""
    for index in np.ndindex(got.shape):
        value = exact
        for i in index:
            value = value[i]
        yield Point(name, float(got[index]), value, where | dict(index=index))


def _lists(tree: Any) -> Any:
    return [_lists(part) for part in tree] if isinstance(tree, tuple) else tree.tolist()


def _some(rng: Generator, *shape: int) -> Array:
    """Normal numbers, or of sizes from 1e-6 to 1e6 next to each other."""
    far_apart = wide(1e-6, 1e6, 0.0, signs=BOTH)(rng, int(np.prod(shape))).reshape(shape)
    return rng.normal(size=shape) if rng.random() < 0.5 else far_apart


def _layers(rng: Generator, n: int) -> Iterator[Point]:
    """Images of 4 × 8 pixels in two colours, kernels of unequal sides and sizes."""
    for _ in range(n // 250):
        x = _some(rng, 2, 4, 8, 2)
        kernels = tuple(Affine(_some(rng, *sides, 2, 3), _some(rng, 3)) for sides in ((3, 3), (1, 3), (3, 1)))
        y = conv.conv2d(x, *kernels[0])
        for i, pixels in enumerate(x.tolist()):
            yield from _points("conv.conv2d", y[i], decimals_image.conv2d(pixels, *_lists(kernels[0])), image=i)
            for f in (2, 4):
                yield from _points("pool.mean_pool", pool.mean_pool(x, factor=f)[i], decimals_image.mean_pool(pixels, f),
                                   factor=f, image=i)
            yield from _points("pool.upsample", pool.upsample(x, factor=2)[i], decimals_image.upsample(pixels, 2), image=i)
        for name in ("multiscale", "multiscale_released"):
            got, exact = getattr(multiscale, name)(x, kernels), getattr(decimals_image, name)
            yield from _points(f"multiscale.{name}", got[1], exact(x[1].tolist(), _lists(kernels)), image=1)


def _bumps(rng: Generator, n: int) -> Iterator[Point]:
    """T up to 1000, J up to 100, at both ends and between."""
    for T, J in ((2, 1), (9, 3), (40, 10), (1000, 10), (1000, 100)):
        t = np.unique([1, 2, T, *rng.integers(1, T + 1, max(n // 250, 1))])
        for basis, exact in (("paper", decimals_image.bumps), ("released", decimals_image.bumps_released)):
            g = temporal.bumps(t, T=T, count=J, basis=basis)
            for i, s in enumerate(t.tolist()):
                yield from _points("temporal.bumps", g[i], exact(s, T, J), t=s, T=T, count=J, basis=basis)


def _mixtures(rng: Generator, n: int) -> Iterator[Point]:
    """Sums over ten bumps; two paths of three and five features."""
    for _ in range(n // 50):
        y, g = rng.normal(size=(2, 3, 10)), temporal.bumps(rng.integers(1, 41, 2), T=40, count=10)
        z = temporal.temporal(y, g=g)
        for i, j in np.ndindex(2, 3):
            yield Point("temporal.temporal", float(z[i, j]), decimals_image.temporal(y[i, j].tolist(), g[i].tolist()),
                        dict(y=y[i, j].tolist(), g=g[i].tolist()))
        a, b = rng.normal(size=3), rng.normal(size=5) * 1e3
        yield from _points("stack.side_by_side", stack.side_by_side(a, b),
                           decimals_image.side_by_side(a.tolist(), b.tolist()), a=a.tolist(), b=b.tolist())


def _network(rng: Generator, n: int) -> Iterator[Point]:
    """2 × 4 pixels in two colours, either form, with one path and with both, two images at their own steps."""
    T, J = 5, 3
    for form in image.FORMS * max(n // 1000, 1):
        for paths in (dict(conv=(3,), dense=()), dict(conv=(3,), dense=(5,)), dict(conv=(), dense=(5,))):
            start = image.init(rng, shape=(2, 4, 2), scales=2, kernel=(3, 1), dense_features=2, pixelwise=(4,), count=J, form=form,
                               **paths)
            parameters = tree_map(lambda leaf: leaf + 0.5 * rng.normal(size=leaf.shape), start)
            beta, x, t = np.append(0.0, wide(1e-12, 0.9)(rng, T)), rng.normal(size=(2, 2, 4, 2)), rng.integers(2, T + 1, 2)
            step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=4)
            p = image.reverse(parameters, x, step, t=t, T=T, form=form, basis=form)
            for i, s in enumerate(t.tolist()):
                level = step.log_alpha_bar_prev[i].item()
                laws = decimals_image.image(*_lists(parameters), x[i].tolist(), s, T, J, form == "released", beta[s], level)
                for field in ("mean", "var"):
                    exact = [[[getattr(law, field) for law in pixel] for pixel in row] for row in laws]
                    yield from _points(f"image.reverse.{field}", getattr(p, field)[i], exact, form=form, t=s, beta=beta[s].item(),
                                       **paths)


GROUPS: Groups = {"image layers": _layers, "bumps": _bumps, "mixtures": _mixtures, "image": _network}
