"""The multi-scale convolution: an image convolved at several resolutions, each with a kernel of its own, so that a pixel hears of
distant ones at the cost of a few taps.

    y = Σ_{s<S} up_{2^s}( φ( conv_s( pool_{2^s}(x) ) ) )

computed from inside out, because pooling by 2^s is pooling by 2 s times over, and so is the repetition of pixels:

    y = φ(conv_0(x)) + up₂( φ(conv_1(pool₂ x)) + up₂( … ) ).

In the paper φ is the identity, and one softplus follows.  In the released code φ is a leaky ReLU, nothing follows, and the sum
is divided by S.
"""

from refdpm.activation import leaky_relu_vjp
from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.layers.conv import conv2d_vjp
from refdpm.layers.linear import Affine
from refdpm.layers.pool import mean_pool_vjp, upsample_vjp
from refdpm.vjp import Array, Pullback

Kernels = tuple[Affine, ...]


def multiscale(x: Array, kernels: Kernels) -> Array:
    """Σ_s up( conv_s( pool(x) ) ): the paper's, up to its softplus.

    Shapes: x (N, H, W, C), kernels[s] weight (kh, kw, C, K) and bias (K,), s = 0 the finest → (N, H, W, K).
    Domain: H and W divisible by 2^(S−1).
    Source: App. D.2.1.
    """
    return multiscale_vjp(x, kernels)[0]


def multiscale_vjp(x: Array, kernels: Kernels) -> tuple[Array, Pullback]:
    """Adjoint of `multiscale`."""
    return _scales_vjp(x, kernels, rectified=False)


def multiscale_released(x: Array, kernels: Kernels) -> Array:
    """1/S Σ_s up( leaky ReLU( conv_s( pool(x) ) ) ).

    Shapes, Domain: as for `multiscale`.
    Source: the authors' published code.
    """
    return multiscale_released_vjp(x, kernels)[0]


def multiscale_released_vjp(x: Array, kernels: Kernels) -> tuple[Array, Pullback]:
    """Adjoint of `multiscale_released`."""
    total, back = _scales_vjp(x, kernels, rectified=True)
    S = len(kernels)
    return total / S, lambda dy: back(dy / S)


def _scales_vjp(x: Array, kernels: Kernels, *, rectified: bool) -> tuple[Array, Pullback]:
    """φ(conv(x)) with the first kernel, plus up₂ of the same for the pooled image and the other kernels."""
    y, back_conv = conv2d_vjp(x, *kernels[0])
    y, back_inside = leaky_relu_vjp(y) if rectified else (y, lambda dy: dy)
    if len(kernels) == 1:
        def pullback_finest(dy: Array) -> tuple[Array, Kernels]:
            dx, *dkernel = back_conv(back_inside(dy))
            return dx, (Affine(*dkernel),)
        return y, pullback_finest
    pooled, back_pool = mean_pool_vjp(x, factor=2)
    coarse, back_coarse = _scales_vjp(pooled, kernels[1:], rectified=rectified)
    repeated, back_up = upsample_vjp(coarse, factor=2)

    def pullback(dy: Array) -> tuple[Array, Kernels]:
        dpooled, dcoarser = back_coarse(back_up(dy))
        dx_conv, *dkernel = back_conv(back_inside(dy))
        return dx_conv + back_pool(dpooled), (Affine(*dkernel), *dcoarser)

    return y + repeated, pullback


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
