"""One layer worked through: group normalisation, a mistake in its gradient, and what the checker says of it.

`layers.norm` derives the differential of z = (x − m)/√(v + ε).  A number of x moves z in three ways: by itself, through the mean m
of its group, and through the variance v,

    dz = [dx − M dx − z M(z dx)]/√(v + ε)

where M takes the mean over the group.  The pullback has the same three terms, because M is its own adjoint.  A backward pass
that is written from memory often lacks the last one, as though the variance were a constant: `layer_backward` below is such a
program.

Nothing about it looks wrong.  The shapes are right.  Training goes on, because what is missing points along z, to which the right
gradient is all but orthogonal: to stretch a group by a factor changes nothing in its output, ε apart.  Even a comparison with
differences passes if the cotangent is all ones and the scale is the same for every channel, because the right gradient is then 0,
and so is this one.

`check` asks `gradcheck` about it, and about the right one.  With random cotangents the wrong gradient is mostly off by a tenth to a
third of its length; along random directions this leaves a gap of about 0.01, for x alone.  The right one has a gap of 1e-16.  The
tolerance is what rounding explains.  It lies twelve orders of magnitude below the mistake, so that nobody has to judge what is
acceptable.
"""

import numpy as np

from refdpm.gradcheck.anybody import adjoint_gaps, assert_adjoint
from refdpm.layers.norm import group_norm, group_norm_vjp
from refdpm.vjp import Array

GROUPS = 2


def layer(x: Array, scale: Array, shift: Array) -> Array:
    """The layer with two groups."""
    return group_norm(x, scale, shift, groups=GROUPS)


def layer_backward(dy: Array, x: Array, scale: Array, shift: Array) -> tuple[Array, Array, Array]:
    """Its backward pass with the mistake: M(z dz) is missing."""
    groups = (len(x), -1, GROUPS, x.shape[-1] // GROUPS)
    grouped = x.reshape(groups)
    offset = grouped - grouped.mean(axis=(1, 3), keepdims=True)
    root = np.sqrt((offset * offset).mean(axis=(1, 3), keepdims=True) + 1e-5)
    z = offset / root
    dz = (dy * scale).reshape(groups)
    dx = (dz - dz.mean(axis=(1, 3), keepdims=True)) / root                      # right: … − z·mean(z·dz)
    over = tuple(range(x.ndim - 1))
    return dx.reshape(x.shape), (z.reshape(x.shape) * dy).sum(axis=over), dy.sum(axis=over)


def check() -> str:
    """What the checker says of the backward pass above, then of the right one."""
    rng = np.random.default_rng(0)
    arguments = rng.normal(size=(3, 2, 5, 4)), rng.normal(size=4), rng.normal(size=4)
    try:
        assert_adjoint(layer, layer_backward, *arguments)
        wrong = "nothing wrong was found"
    except AssertionError as error:
        wrong = f"AssertionError: {error}"
    right = adjoint_gaps(layer, lambda *given: group_norm_vjp(*given, groups=GROUPS), *arguments)
    return "\n".join([wrong, "", "the right one:", *(f"  {gap.argument}: gap {gap.gap:.1e}" for gap in right)])
