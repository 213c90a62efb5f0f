"""A network that predicts, and the choices with which it is read as a chain of reverse steps.

A *predictor* is a module with predict(parameters, x_t, step, *, t) → Heads and its predict_vjp; t = 1 is a step like any other.
`as_network` makes of it what `bound`, `likelihood` and `sample` ask for, so that all they say holds for it.

Shapes: x_t (N, …), step three columns (N, 1, …), beta (T+1,).
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from refdpm import gaussian
from refdpm.doors import open_doors
from refdpm.gaussian import Gaussian
from refdpm.later.variance import first_vjp, read_out_vjp, small_vjp
from refdpm.schedule import Step
from refdpm.vjp import Array, Module, Pullback, Tree, tree_map, unbroadcast


class Model(NamedTuple):
    """A predictor and how it is read: `mean.PREDICTIONS`, `variance.VARIANCES` and, at t = 1, `variance.FIRST`."""

    predictor: Module
    predicts: str = "noise"
    variance: str = "small"
    first: str = "next"


def as_network(model: Model) -> SimpleNamespace:
    """The network with `reverse` and `reverse_vjp` for the steps t ≥ 2, which need nothing in the place of β̃_1."""
    def reverse(parameters: Tree, x_t: Array, step: Step, *, t: Array) -> Gaussian:
        return reverse_vjp(parameters, x_t, step, t=t)[0]

    def reverse_vjp(parameters: Tree, x_t: Array, step: Step, *, t: Array) -> tuple[Gaussian, Pullback]:
        small, back_small = small_vjp(step.beta, step.log_alpha_bar_prev)
        p, back_law = _law_vjp(parameters, x_t, step, small, t=t, model=model)

        def pullback(dp: Gaussian) -> tuple[Tree, Array, Step]:
            dparameters, dx_t, dstep, dsmall = back_law(dp)
            dbeta, dprev = back_small(dsmall)
            return dparameters, dx_t, dstep._replace(beta=dstep.beta + dbeta, log_alpha_bar_prev=dstep.log_alpha_bar_prev + dprev)

        return p, pullback

    return SimpleNamespace(reverse=reverse, reverse_vjp=reverse_vjp)


def last_step(parameters: Tree, beta: Array, x_1: Array, step: Step, *, t: Array, model: Model) -> Gaussian:
    """p(x_0 | x_1) as model.first has it: about x̂_0 with that in the place of β̃_1, or for "fixed" the forward kernel (eq. 44).

    Shapes: step is that of beta's first step in every row; t (N,) is what the network is told, 1 unless steps are
    left out; x_1 (N, …) → mean (N, …), var (N, 1, …), or of a learned variance (N, …).
    """
    return last_step_vjp(parameters, beta, x_1, step, t=t, model=model)[0]


def last_step_vjp(parameters: Tree, beta: Array, x_1: Array, step: Step, *, t: Array, model: Model) -> tuple[Gaussian, Pullback]:
    """Adjoint of `last_step`; the forward kernel leaves zeros for the network."""
    if model.first == "fixed":
        return _edge_vjp(parameters, beta, x_1, step)
    value, back_first = first_vjp(beta, policy=model.first)
    column = np.broadcast_to(value, step.beta.shape)
    p, back_law = _law_vjp(parameters, x_1, step, column, t=t, model=model)

    def pullback(dp: Gaussian) -> tuple[Tree, Array, Array, Step]:
        dparameters, dx_1, dstep, dcolumn = back_law(dp)
        return dparameters, back_first(unbroadcast(dcolumn.ravel(), value.shape)), dx_1, dstep

    return p, pullback


def _edge_vjp(parameters: Tree, beta: Array, x_1: Array, step: Step) -> tuple[Gaussian, Pullback]:
    p, back_forward = gaussian.forward_vjp(x_1, step.beta)

    def pullback(dp: Gaussian) -> tuple[Tree, Array, Array, Step]:
        dx_1, dbeta_1 = back_forward(dp)
        dstep = Step(*map(np.zeros_like, step))._replace(beta=dbeta_1)
        return tree_map(np.zeros_like, parameters), np.zeros_like(beta), dx_1, dstep

    return p, pullback


def _law_vjp(parameters: Tree, x_t: Array, step: Step, small: Array, *, t: Array, model: Model) -> tuple[Gaussian, Pullback]:
    """The reverse step with `small` for β̃, and its adjoint for (parameters, x_t, step, small)."""
    heads, back_predict = model.predictor.predict_vjp(parameters, x_t, step, t=t)
    p, back_read = read_out_vjp(heads, x_t, step, small, predicts=model.predicts, variance=model.variance)

    def pullback(dp: Gaussian) -> tuple[Tree, Array, Step, Array]:
        dheads, dx_read, dstep_read, dsmall = back_read(dp)
        dparameters, dx_predict, dstep_predict = back_predict(dheads)
        return dparameters, dx_read + dx_predict, Step(*map(np.add, dstep_read, dstep_predict)), dsmall

    return p, pullback


open_doors(globals())
