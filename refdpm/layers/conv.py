"""Convolution of images, as a matrix product.

At every pixel the kernel sees a patch of kh × kw pixels, zeros where that reaches beyond the image.  The patches as rows of a
matrix, times the kernel as a matrix (kh·kw·C, K), are the convolution.  All patches at once would be kh·kw times the image, so some
hundred at a time are copied out, and stay in cache.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.vjp import Array, Pullback

BLOCK = 128                         # pixels whose patches are copied out at a time


def conv2d(x: Array, weight: Array, bias: Array) -> Array:
    """y[n, h, w] = b + Σ_ij x[n, h + i − a, w + j − b] W[i, j]        a = (kh − 1)/2, b = (kw − 1)/2; x is 0 outside of the image.

    This is a cross-correlation: W[0, 0] meets the pixel above and to the left.

    Shapes: x (N, H, W, C), weight (kh, kw, C, K) with kh, kw odd, bias (K,) → (N, H, W, K).
    """
    y = np.empty((*x.shape[:3], len(bias)), np.result_type(x, weight, bias))
    for block, patches in _patches(x, weight):
        y[block] = (patches @ _matrix(weight) + bias).reshape(y[block].shape)
    return y


def conv2d_vjp(x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback]:
    """Adjoint of `conv2d`.  With p = (h, w) and s = (i − a, j − b),

        dy[p] = db + Σ_s dx[p + s] W[s] + x[p + s] dW[s]

    so that dx[p] = Σ_s dy[p − s] Wᵀ[s] and dWᵀ[s] = Σ_p dy[p − s]ᵀ x[p]: both see the patches of dy, turned by 180°.
    """

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        turned = _turn(weight)
        dx, dturned = np.empty(x.shape, np.result_type(dy, weight)), np.zeros(turned.shape, np.result_type(x, dy))
        for block, patches in _patches(dy, weight):
            dx[block] = (patches @ _matrix(turned)).reshape(dx[block].shape)
            dturned += (patches.T @ _matrix(x[block])).reshape(turned.shape)
        return dx, _turn(dturned), _matrix(dy).sum(axis=0)

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


def _patches(image: Array, weight: Array) -> Iterator[tuple[tuple[slice, slice], Array]]:
    """Blocks of images and rows, with the patches around their pixels as rows of a matrix, (pixels, kh·kw·C)."""
    (N, H, W, C), (kh, kw) = image.shape, weight.shape[:2]
    padded = np.zeros((N, H + kh - 1, W + kw - 1, C), image.dtype)
    padded[:, kh // 2:kh // 2 + H, kw // 2:kw // 2 + W] = image
    of_image, of_row, of_pixel, of_channel = padded.strides
    patches = as_strided(padded, (N, H, W, kh, kw * C), (of_image, of_row, of_pixel, of_row, of_channel), writeable=False)
    images, rows = max(1, BLOCK // (H * W)), min(H, max(1, BLOCK // W))
    for n in range(0, N, images):
        for h in range(0, H, rows):
            block = slice(n, n + images), slice(h, h + rows)
            yield block, patches[block].reshape(-1, kh * kw * C)


def _matrix(x: Array) -> Array:
    """(…, width) → (rows, width)."""
    return x.reshape(-1, x.shape[-1])


def _turn(weight: Array) -> Array:
    """The kernel turned by 180°, from K channels to C."""
    return weight[::-1, ::-1].swapaxes(2, 3)


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
