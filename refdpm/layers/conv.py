"""Convolution of images, as matrix products of shifted views.

Every image stands in a grid of (H + a) × (W + b) cells, a and b the half widths of the kernel, with zeros in the cells that are no
pixels; grid after grid, row after row, the cells of the batch are the rows of one matrix (cells, channels).  The zeros to the
right of a row of pixels are those to the left of the next, the zeros below an image those above the next.  So every tap of the
kernel sees the whole batch as this matrix shifted by a constant number of rows: a view, and a product with a (C, K) matrix.  What
comes out in cells that are no pixels is dropped.  Some hundred cells at a time go through all taps, so that they stay in cache.
"""

from collections.abc import Iterator

import numpy as np

from refdpm.vjp import Array, Pullback

BLOCK = 768


def conv2d(x: Array, weight: Array, bias: Array) -> Array:
    """y[n, h, w] = b + Σ_ij x[n, h + i − a, w + j − b] W[i, j]        a = (kh − 1)/2, b = (kw − 1)/2; x is 0 outside of the image.

    This is a cross-correlation: W[0, 0] meets the pixel above and to the left.

    Shapes: x (N, H, W, C), weight (kh, kw, C, K) with kh, kw odd, bias (K,) → (N, H, W, K).
    """
    return _correlate(_cells(x, weight), x, weight) + bias


def conv2d_vjp(x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback]:
    """Adjoint of `conv2d`.  With p = (h, w) and s = (i − a, j − b),

        dy[p] = db + Σ_s dx[p + s] W[s] + x[p + s] dW[s]

    so that dx[p] = Σ_s dy[p − s] Wᵀ[s], the correlation with the flipped kernel, and dW[s] = Σ_p x[p + s]ᵀ dy[p].
    """
    cells = _cells(x, weight)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dcells = _cells(dy, weight)
        dx = _correlate(dcells, dy, weight[::-1, ::-1].swapaxes(2, 3))
        margin = (len(dcells) - _count(x, weight)) // 2
        middle = dcells[margin:len(dcells) - margin]
        dweight = np.zeros(weight.shape, np.result_type(x, dy))
        for block, tap, shifted in _shifted(cells, x, weight):
            dweight[tap] += shifted.T @ middle[block]
        return dx, dweight, middle.sum(axis=0)

    return _correlate(cells, x, weight) + bias, pullback


def _grid(image: Array, weight: Array) -> tuple[int, int]:
    """Rows and columns of an image's grid."""
    return image.shape[1] + weight.shape[0] // 2, image.shape[2] + weight.shape[1] // 2


def _count(image: Array, weight: Array) -> int:
    """The number of cells of the batch."""
    rows, columns = _grid(image, weight)
    return len(image) * rows * columns


def _cells(image: Array, weight: Array) -> Array:
    """The cells of the batch as rows of a matrix, with a margin of zeros at either end that the largest shift fits in."""
    (rows, columns), count = _grid(image, weight), _count(image, weight)
    margin = weight.shape[0] // 2 * columns + weight.shape[1] // 2
    cells = np.zeros((margin + count + margin, image.shape[3]), image.dtype)
    grid = cells[margin:margin + count].reshape(len(image), rows, columns, -1)
    grid[:, :image.shape[1], :image.shape[2]] = image
    return cells


def _shifted(cells: Array, image: Array, weight: Array) -> Iterator[tuple[slice, tuple[int, int], Array]]:
    """Every block of cells with every tap of the kernel, and what this tap sees from there: a view."""
    (_, columns), count = _grid(image, weight), _count(image, weight)
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        for i, j in np.ndindex(weight.shape[:2]):
            shift = i * columns + j
            yield slice(start, stop), (i, j), cells[start + shift:stop + shift]


def _correlate(cells: Array, image: Array, weight: Array) -> Array:
    """Σ over the taps, where there are pixels."""
    total = np.zeros((_count(image, weight), weight.shape[3]), np.result_type(cells, weight))
    term = np.empty_like(total[:BLOCK])
    product = np.matmul if cells.shape[1] > 1 else np.multiply         # a column times a row, which BLAS is slow at
    for block, tap, shifted in _shifted(cells, image, weight):
        part = total[block]
        part += product(shifted, weight[tap], out=term[:len(part)])
    return total.reshape(len(image), *_grid(image, weight), -1)[:, :image.shape[1], :image.shape[2]]
