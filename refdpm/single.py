"""A network in single precision, in a chain that stays in double precision.

Parameters, state and step go down to float32, and the law that comes back goes up again; of the adjoint, the cotangent of the law
goes down, and those of state and step go up.  A network then takes about half the time and memory.  What loses digits where two
laws are nearly equal, the divergences between them and their sums, is in double precision all the same.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np

from refdpm.schedule import Step
from refdpm.vjp import Array, Module, Pullback, Tree, tree_map

DTYPES = ("float64", "float32")


def in_single(network: Module) -> SimpleNamespace:
    """The network in single precision; the gradient with respect to its parameters is in it too."""
    return SimpleNamespace(**vars(network) | {"reverse": partial(_reverse, network), "reverse_vjp": partial(_reverse_vjp, network)})


def _reverse(network: Module, parameters: Tree, x_t: Array, step: Step, *, t: Array) -> Tree:
    return _double(network.reverse(*_single((parameters, x_t, step)), t=t))


def _reverse_vjp(network: Module, parameters: Tree, x_t: Array, step: Step, *, t: Array) -> tuple[Tree, Pullback]:
    """Adjoint of `_reverse`."""
    p, back = network.reverse_vjp(*_single((parameters, x_t, step)), t=t)

    def pullback(dp: Tree) -> tuple[Tree, Array, Step]:
        dparameters, *others = back(_single(dp))
        return dparameters, *_double(tuple(others))

    return _double(p), pullback


def _single(tree: Tree) -> Tree:
    return tree_map(lambda x: x.astype(np.complex64 if np.iscomplexobj(x) else np.float32, copy=False), tree)


def _double(tree: Tree) -> Tree:
    return tree_map(lambda x: x.astype(np.complex128 if np.iscomplexobj(x) else np.float64, copy=False), tree)
