"""Convolution of images, as matrix products.

At every pixel the kernel sees a patch of kh × kw pixels, zeros where that reaches beyond the image.  A row of the patch, kw pixels
beside each other, times that row of the kernel as a matrix (kw·C, K), is one product for all pixels; for the next row of the patch
the same rows of pixels are taken from one further down.  So each pixel is copied kw times, and not kh·kw times, and some images
are taken at a time, which stay in cache.
"""

from collections.abc import Iterator

import numpy as np

from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.vjp import Array, Pullback

BLOCK = 1024                        # pixels that are copied out at a time, but whole images


def conv2d(x: Array, weight: Array, bias: Array) -> Array:
    """y[n, h, w] = b + Σ_ij x[n, h + i − a, w + j − b] W[i, j]        a = (kh − 1)/2, b = (kw − 1)/2; x is 0 outside of the image.

    This is a cross-correlation: W[0, 0] meets the pixel above and to the left.

    Shapes: x (N, H, W, C), weight (kh, kw, C, K) with kh, kw odd, bias (K,) → (N, H, W, K).
    """
    y = np.empty((*x.shape[:3], len(bias)), np.result_type(x, weight, bias))
    y[...] = bias
    for block, rows in _rows_of_patches(x, weight):
        pixels = _pixels(y[block])
        for of_patches, of_kernel in zip(rows, _matrices(weight)):
            pixels += of_patches @ of_kernel
    return y


def _pixels(images: Array) -> Array:
    """(N, H, W, C) → (N, H·W, C), of the same memory."""
    N, H, W, C = images.shape
    return images.reshape(N, H * W, C)


def conv2d_vjp(x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback]:
    """Adjoint of `conv2d`.  With p = (h, w) and s = (i − a, j − b),

        dy[p] = db + Σ_s dx[p + s] W[s] + x[p + s] dW[s]

    so that dx[p] = Σ_s dy[p − s] Wᵀ[s] and dWᵀ[s] = Σ_p dy[p − s]ᵀ x[p]: both see the patches of dy, turned by 180°.
    """

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        turned = _turn(weight)
        dx, dturned = np.zeros(x.shape, np.result_type(dy, weight)), np.zeros(turned.shape, np.result_type(x, dy))
        for block, rows in _rows_of_patches(dy, weight):
            pixels, dpixels = _pixels(x[block]), _pixels(dx[block])
            for of_patches, of_kernel, dof_kernel in zip(rows, _matrices(turned), _matrices(dturned)):
                dpixels += of_patches @ of_kernel
                dof_kernel += (of_patches.swapaxes(1, 2) @ pixels).sum(axis=0)
        drows = dy.reshape(-1, dy.shape[-1])
        return dx, _turn(dturned), np.ones(len(drows), np.real(dy).dtype) @ drows          # a product sums faster

    return conv2d(x, weight, bias), pullback


def strided_conv2d(x: Array, weight: Array, bias: Array, *, stride: int, padding: int) -> Array:
    """y[n, h, w] = b + Σ_ij x[h s + i − p, w s + j − p] W[i, j]        s = stride, p = padding; x is 0 outside of the image.

    Shapes: x (N, H, W, C), weight (kh, kw, C, K), bias (K,) → (N, ⌊(H + 2p − kh)/s⌋ + 1, ⌊(W + 2p − kw)/s⌋ + 1, K).
    """
    return strided_conv2d_vjp(x, weight, bias, stride=stride, padding=padding)[0]


def strided_conv2d_vjp(x: Array, weight: Array, bias: Array, *, stride: int, padding: int) -> tuple[Array, Pullback]:
    """Adjoint of `strided_conv2d`: `conv2d` of the image in a frame of zeros, of which every s-th pixel is kept where the whole
    kernel sees the framed image.  A kernel with even sides gets a row and a column of zeros behind."""
    kh, kw = weight.shape[:2]
    frame = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    y, back = conv2d_vjp(frame, np.pad(weight, ((0, 1 - kh % 2), (0, 1 - kw % 2), (0, 0), (0, 0))), bias)
    rows, columns = (slice(side // 2, side // 2 + length - side + 1, stride) for side, length in zip((kh, kw), frame.shape[1:]))

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dwhole = np.zeros(y.shape, dy.dtype)
        dwhole[:, rows, columns] = dy
        dframe, dweight, dbias = back(dwhole)
        height, width = x.shape[1:3]
        return dframe[:, padding:padding + height, padding:padding + width], dweight[:kh, :kw], dbias

    return y[:, rows, columns], pullback


def _rows_of_patches(image: Array, weight: Array) -> Iterator[tuple[slice, list[Array]]]:
    """Blocks of images, with the kh rows of the patches around their pixels, each (images, H·W, kw·C)."""
    (N, H, W, C), (kh, kw) = image.shape, weight.shape[:2]
    images = max(1, BLOCK // (H * W))
    for n in range(0, N, images):
        block = slice(n, n + images)
        padded = np.zeros((len(image[block]), H + kh - 1, W + kw - 1, C), image.dtype)
        padded[:, kh // 2:kh // 2 + H, kw // 2:kw // 2 + W] = image[block]
        beside = np.concatenate([padded[:, :, j:j + W] for j in range(kw)], axis=3)
        yield block, [beside[:, i:i + H].reshape(-1, H * W, kw * C) for i in range(kh)]


def _matrices(weight: Array) -> Array:
    """The rows of a kernel, (kh, kw, C, K), as matrices: (kh, kw·C, K)."""
    return weight.reshape(len(weight), -1, weight.shape[-1])


def _turn(weight: Array) -> Array:
    """The kernel turned by 180°, from K channels to C."""
    return weight[::-1, ::-1].swapaxes(2, 3)


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
