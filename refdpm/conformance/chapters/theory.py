"""From a pair `f`/`f_vjp` and a schedule to the values of a quantity, and to the gradient for each of its arguments.

A quantity is asked for with arguments by name: states, laws as means and variances, a schedule `beta` and steps `t`.  A pair takes
positional arguments: laws as `Gaussian` or `Bernoulli`, and of the schedule a column or a level.  A *take* makes one of those from
the inputs, and hands its cotangent back to the inputs that it was made of:

    Theory(gaussian.posterior, "x_t", "x_0", BETA, PREV)

is all that there is to say about the posterior, its values and its gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple
import sys

import numpy as np

from refdpm import schedule
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters.inputs import Inputs, states_of
from refdpm.gaussian import Gaussian
from refdpm.later.categorical import Categorical
from refdpm.later.model import Model
from refdpm.later.variance import WITH_HEAD
from refdpm import activation
from refdpm.layers.linear import Affine, per_step_vjp
from refdpm.networks.readout import Heads
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, unbroadcast

Gradients = dict[str, Array]
CERTAIN = 750.0                                     # the logit of a bit that is certain: e^−750 is 0


class Take(NamedTuple):
    """An argument of a pair: made from the inputs, and its cotangent handed back to them."""

    make: Callable[[Inputs], Any]
    back: Callable[[Inputs, Any], Gradients]


# -- the schedule ------------------------------------------------------------------------------------------------------

def _axes_of_states(inputs: Inputs) -> int:
    return states_of(inputs).ndim


def step_of(inputs: Inputs, axes: Callable[[Inputs], int] = _axes_of_states) -> Step:
    """The schedule's columns at inputs["t"]; of the adapter's own levels where `given` has put them."""
    beta, level = inputs["beta"], inputs.get("log_alpha_bar")
    level = schedule.log_alpha_bar(beta) if level is None else level
    return schedule.step(beta, level, t=inputs["t"], ndim=axes(inputs))


def _step_vjp_of(inputs: Inputs, axes: Callable[[Inputs], int]) -> tuple[Step, Callable[[Step], Gradients]]:
    """`step_of`, and the way back from the cotangent of a `Step` to the gradient with respect to β_1 … β_T."""
    level, back_level = schedule.log_alpha_bar_vjp(inputs["beta"])
    step, back_step = schedule.step_vjp(inputs["beta"], level, t=inputs["t"], ndim=axes(inputs))

    def pullback(dstep: Step) -> Gradients:
        dbeta, dlevel = back_step(dstep)
        return {"beta": np.asarray(dbeta + back_level(dlevel))[1:]}

    return step, pullback


def columns(axes: Callable[[Inputs], int] = _axes_of_states) -> tuple[Take, Take, Take, Take]:
    """β_t, ℓ_{t−1}, ℓ_t and all three of them as a `Step`, in arrays of so many axes."""
    def column(field: str) -> Take:
        def back(inputs: Inputs, cotangent: Array) -> Gradients:
            step, back_step = _step_vjp_of(inputs, axes)
            return back_step(Step(*map(np.zeros_like, step))._replace(**{field: cotangent}))

        return Take(lambda inputs: getattr(step_of(inputs, axes), field), back)

    step = Take(lambda inputs: step_of(inputs, axes), lambda inputs, cotangent: _step_vjp_of(inputs, axes)[1](cotangent))
    return column("beta"), column("log_alpha_bar_prev"), column("log_alpha_bar"), step


BETA, PREV, LEVEL, STEP = columns()
SCHEDULE = Take(lambda inputs: inputs["beta"], lambda inputs, cotangent: {"beta": cotangent[1:]})


# -- states and laws -----------------------------------------------------------------------------------------------------

def _as_it_is(name: str) -> Take:
    return Take(lambda inputs: inputs[name], lambda inputs, cotangent: {name: cotangent})


def normal(mean: str, var: str) -> Take:
    """The normal law whose mean and variance are inputs."""
    return Take(lambda inputs: Gaussian(inputs[mean], inputs[var]), lambda inputs, d: {mean: d.mean, var: d.var})


def bit(prob: str) -> Take:
    """The bit whose probability is an input."""
    def make(inputs: Inputs) -> Bernoulli:
        with np.errstate(divide="ignore"):
            return Bernoulli(np.clip(activation.logit(inputs[prob]), -CERTAIN, CERTAIN))

    return Take(make, lambda inputs, d: {prob: activation.logit_vjp(inputs[prob])[1](d.logit)})


def symbol(prob: str) -> Take:
    """The symbol whose probabilities are an input."""
    return Take(lambda inputs: Categorical(inputs[prob]), lambda inputs, d: {prob: d.prob})


# -- the network that an adapter is given ----------------------------------------------------------------------------------

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


PREDICTOR = SimpleNamespace(predict=lambda *args, **fixed: _predict_vjp(*args, **fixed)[0], predict_vjp=_predict_vjp)
PREDICTOR_OF_ROWS = SimpleNamespace(predict_vjp=lambda *args, t: _predict_vjp(*args, t=np.arange(len(t))))


def tables_of(inputs: Inputs) -> Affine:
    """weight (T+1, D, K) and bias (T+1, K); without the heads for the variance where it is not learned."""
    model = inputs["model"] if inputs.get("variance") in WITH_HEAD else inputs["model"].without_head()
    return Affine(model.weight, model.bias)


def _rows_of(inputs: Inputs) -> Affine:
    return Affine(*(table[inputs["t"]] for table in tables_of(inputs)))


def _at_their_steps(inputs: Inputs, drows: Affine) -> Gradients:
    found = [np.zeros_like(table) for table in tables_of(inputs)]
    for table, rows in zip(found, drows):
        np.add.at(table, inputs["t"], rows)
    return {"weight": found[0], "bias": found[1], "output": drows.bias}


NETWORK = Take(tables_of, lambda inputs, d: {"weight": d.weight, "bias": d.bias})
ROWS = Take(_rows_of, _at_their_steps)              # each row has tables of its own: the gradient of its bias is that of its output


def said_by(inputs: Inputs, predictor: SimpleNamespace = PREDICTOR) -> Model:
    """How the network is read: `predicts`, `variance` and `first`, as far as they are chosen."""
    return Model(predictor, inputs["predicts"], inputs["variance"], inputs.get("first", "fixed"))


# -- what a pair returns, as the outputs of a quantity -----------------------------------------------------------------------

def outputs_vjp(value: Any) -> tuple[tuple[Array, ...], Callable[..., Any]]:
    """The arrays that a value is told in, and the way back from their cotangents: a law's mean and its variance, one for each
    component; a bit's probability; what is an array, or a tuple of them, as it is."""
    if isinstance(value, Gaussian):
        var = np.broadcast_to(value.var, np.shape(value.mean))
        return (value.mean, var), lambda *d: Gaussian(d[0], unbroadcast(d[1], np.shape(value.var)))
    if isinstance(value, Bernoulli):
        prob, back = activation.sigmoid_vjp(value.logit)
        return (prob,), lambda prob: Bernoulli(back(prob))
    if isinstance(value, tuple):
        return tuple(value), lambda *cotangents: type(value)(*cotangents) if hasattr(value, "_fields") else cotangents
    return (value,), lambda cotangent: cotangent


class Theory:
    """A function, its adjoint, what they take, and the inputs that are their keywords.

    f          the function; one with a name in _vjp has its value from its adjoint
    takes      its positional arguments: the name of an input, or a `Take`
    vjp        its adjoint, if that is not the f_vjp that stands next to it; what has none is not differentiated
    fixed      keyword-only arguments: the names of inputs, or name=function of the inputs for what is made of them
    table      the result has β_0 or ᾱ_0 in front, of which nobody is asked
    """

    def __init__(self, f: Callable[..., Any], *takes: str | Take, vjp: Callable[..., Any] | None = None,
                 fixed: tuple[str, ...] = (), table: bool = False, **made: Callable[[Inputs], Any]) -> None:
        self.f, self.f_vjp, self.table = f, vjp or _adjoint_of(f), table
        self.takes = tuple(take if isinstance(take, Take) else _as_it_is(take) for take in takes)
        self.fixed = {name: (lambda inputs, name=name: inputs[name]) for name in fixed} | made

    def _call(self, f: Callable[..., Any], inputs: Inputs) -> Any:
        fixed = {name: make(inputs) for name, make in self.fixed.items()}
        return as_planted(f)(*(take.make(inputs) for take in self.takes), **fixed)

    def values(self, inputs: Inputs) -> tuple[Array, ...]:
        """One array for each output."""
        value = self._call(self.f, inputs)
        value = value[0] if self.f is self.f_vjp else value
        return (value[1:],) if self.table else outputs_vjp(value)[0]

    def gradients(self, inputs: Inputs, cotangents: tuple[Array, ...]) -> Gradients:
        """The gradient of Σ ⟨cotangent, output⟩ with respect to every input that has a part in it."""
        assert self.f_vjp is not None
        value, back = self._call(self.f_vjp, inputs)
        cotangent = np.append(0.0, cotangents[0]) if self.table else outputs_vjp(value)[1](*cotangents)
        parts = back(cotangent)
        found: Gradients = {}
        for take, part in zip(self.takes, parts if len(self.takes) > 1 else (parts,), strict=True):
            for name, gradient in take.back(inputs, part).items():
                found[name] = found[name] + gradient if name in found else gradient
        return found


def _adjoint_of(f: Callable[..., Any]) -> Callable[..., Any] | None:
    return f if f.__name__.endswith("_vjp") else getattr(sys.modules[f.__module__], f"{f.__name__}_vjp", None)


def as_planted(f: Callable[..., Any]) -> Callable[..., Any]:
    """What its module has under the name of a function now: the function, or a mistake in its place."""
    found: Callable[..., Any] = getattr(sys.modules[f.__module__], f.__name__, f)
    return found


def composed(f_vjp: Callable[..., Any], g_vjp: Callable[..., Any]) -> Callable[..., tuple[Any, Pullback]]:
    """The adjoint of g(f(…)); keyword-only arguments are g's."""
    def composed_vjp(*arguments: Any, **fixed: Any) -> tuple[Any, Pullback]:
        middle, back_f = as_planted(f_vjp)(*arguments)
        value, back_g = as_planted(g_vjp)(middle, **fixed)
        return value, lambda dvalue: back_f(back_g(dvalue))

    return composed_vjp
