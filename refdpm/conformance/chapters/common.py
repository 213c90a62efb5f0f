"""What chapters that are not yet made from the textbook still use; it goes with the last of them."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from refdpm.conformance import terms
from refdpm.conformance.adapter import Model
from refdpm.conformance.chapters import quantity
from refdpm.conformance.chapters.inputs import (  # noqa: F401
    SCHEDULES, D, Given, Inputs, N, Strategy, arrays, chain, chain_edges, copied, drawn, edge_network, edge_schedules, exactly,
    listed, network, numbers, positive, rates, schedules, spread_out, states_of as _states, times_of)
from refdpm.conformance.chapters.quantity import Ask, Finding, Law, Output, own_levels  # noqa: F401
from refdpm.conformance.chapters.theory import step_of, step_vjp_of as _step_vjp_of  # noqa: F401
from refdpm.conformance.terms import Terms
from refdpm.later import model as later_model
from refdpm.layers.linear import Affine, per_step_vjp
from refdpm.networks.readout import Heads
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback


def step_vjp_of(inputs: Inputs) -> tuple[Step, Pullback]:
    step, back = _step_vjp_of(inputs)
    return step, lambda dstep: back(dstep)["beta"]


class Quantity(quantity.Quantity):
    """In the form that quantities had before they were made from the textbook."""

    def __new__(cls, name: str, id: str, says: str, equations: Any, outputs: Any, inputs: Any, edges: Any, reference: Any,
                scale: Any, given: Any = None, after: Any = (), choices: Any = (), vjp: Any = None, arguments: Any = (),
                **more: Any) -> Any:
        made: Any = super().__new__(cls, name, id, says, equations, outputs, inputs, edges, quantity.ByHand(reference, vjp), scale,
                                    given, after, choices, arguments=arguments, **more)
        return made

    def scale(self, inputs: Inputs) -> Any:
        return self.book(inputs)

    def formulas(self, inputs: Inputs) -> Any:
        return ()

    def followed(self, inputs: Inputs) -> Any:
        return [SimpleNamespace(value=np.nan * scale, scale=scale) for scale in self.scale(inputs)]

    def _replace(self, **changes: Any) -> Any:
        fields = self._asdict() | changes
        made: Any = tuple.__new__(type(self), fields.values())
        return made


def predictor(model: Model) -> tuple[Affine, SimpleNamespace]:
    """The parameters of the network that an adapter is given, and how `later.model` reads them: the first D outputs are the
    prediction, the next D, where there are any, the head of the variance."""
    return Affine(model.weight, model.bias), SimpleNamespace(
        predict=lambda *args, **fixed: _predict_vjp(*args, **fixed)[0], predict_vjp=_predict_vjp)


def _predict_vjp(parameters: Affine, x_t: Array, step: Step, *, t: Array) -> tuple[Heads, Pullback]:
    size = int(np.prod(x_t.shape[1:]))
    z, back = per_step_vjp(x_t.reshape(len(x_t), size), *parameters, t=t)
    K = z.shape[1]
    head = z[:, size:] if K > size else np.zeros_like(z)

    def pullback(dheads: Heads) -> tuple[Affine, Array, Step]:
        dz = np.concatenate([part.reshape(len(x_t), size) for part in dheads], axis=1)[:, :K]
        dx_t, *dparameters = back(dz)
        return Affine(*dparameters), dx_t.reshape(x_t.shape), Step(*map(np.zeros_like, step))

    return Heads(z[:, :size].reshape(x_t.shape), head.reshape(x_t.shape)), pullback


class Row(NamedTuple):
    """The textbook's columns at t, with the errors that tables have: β, α = 1 − β, ᾱ, ᾱ_{t−1}."""

    beta: Terms
    alpha: Terms
    alpha_bar: Terms
    alpha_bar_prev: Terms


def row_of(inputs: Inputs, *, ndim: int | None = None) -> Row:
    """The columns at inputs["t"], for `scale`."""
    beta, t = terms.exact(inputs["beta"]), inputs["t"]
    alpha = 1 - beta
    alpha_bar = terms.cumulative_product(alpha)
    alpha_bar.value[0], alpha_bar.error[0] = 1, 0
    column = (-1,) + (1,) * ((_states(inputs).ndim if ndim is None else ndim) - 1)
    parts = (table[at].reshape(*column) for table, at in ((beta, t), (alpha, t), (alpha_bar, t), (alpha_bar, t - 1)))
    return Row(*terms.columns(**dict(zip(("β", "α", "ᾱ", "ᾱ_{t−1}"), parts))))


class Textbook(tuple[Array, ...]):
    """The scale of each output; and as `values` what the formulas give that it was followed through."""

    values: tuple[Array, ...]


def scales(*found: Terms) -> Textbook:
    """The scale of each output, from the textbook's formulas."""
    textbook = Textbook(part.scale for part in found)
    textbook.values = tuple(part.value for part in found)
    return textbook


def model_of(i: Inputs, *, first: str = "fixed") -> tuple[Any, Any]:
    parameters, module = predictor(i["model"] if i["variance"] == "ranged" else i["model"].without_head())
    return parameters, later_model.Model(module, i["predicts"], i["variance"], i.get("first", first))


def with_shown(scale: Array, i: Inputs) -> tuple[Array, ...]:
    return (scale + sum(np.abs(value[0]).reshape(-1, *scale.shape[-1:]).sum(axis=0) for name, value in i.items()
                        if name in ("own_kl", "own_K", "own_prior", "own_decoder", "own_entropy_T", "own_entropy_1")),)
