"""Mistakes in pullbacks: the value is right, the gradient is not.  The adjoint test has to find them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from refdpm.activation import sigmoid
from refdpm.conformance.mistakes.planting import Mistake, Plant, pullback_then, pulled_by, zero
from refdpm.gaussian import Gaussian
from refdpm.networks.readout import Heads
from refdpm.schedule import Step
from refdpm.vjp import Array, tree_map

# Not yet plantable: GRD-02 needs a hybrid loss; GRD-10 an argument at an exact edge; GRD-11 is a mistake of a checker.


def _cut(part: str, name: str, keep: Callable[..., Any]) -> Plant:
    """step_kl_vjp with the cotangents of kernel.name or network.name changed by keep: one path of the gradient detached."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def step_kl_vjp(*args: Any, **fixed: Any) -> Any:
            members = vars(fixed[part])
            fixed[part] = SimpleNamespace(**{**members, name: pullback_then(keep)(members[name])})
            return right(*args, **fixed)
        return step_kl_vjp
    return plant


def _pulled_with(change: Callable[[Any], Any]) -> Plant:
    """The right pullback, of another cotangent."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*args: Any, **fixed: Any) -> Any:
            value, pullback = right(*args, **fixed)
            return value, lambda dvalue: pullback(change(dvalue))
        return wrong
    return plant


def _scattered_once(dstep: Step, beta: Array, level: Array, *, t: Array, ndim: int) -> tuple[Array, Array]:
    """Fancy += keeps only one of the rows that share a t."""
    dbeta, dlevel = 0 * (beta + dstep.beta.ravel()[0]), 0 * (beta + dstep.beta.ravel()[0])
    dbeta[t] += dstep.beta.ravel()
    dlevel[t - 1] += dstep.log_alpha_bar_prev.ravel()
    dlevel[t] += dstep.log_alpha_bar.ravel()
    return dbeta, dlevel


def _softmax_diagonal(dg: Array, x: Array, centre: Array, log_width: Array) -> tuple[Array, Array, Array]:
    offset, inverse = x[:, None, :] - centre, np.exp(-2 * log_width)
    s = -(offset ** 2).sum(axis=2) * inverse / 2
    g = np.exp(s - s.max(axis=1, keepdims=True))
    g /= g.sum(axis=1, keepdims=True)
    ds = g * (1 - g) * dg
    pull = (ds * inverse)[:, :, None] * offset
    return -pull.sum(axis=1), pull.sum(axis=0), -2 * (ds * s).sum(axis=0)


def _of_the_norm(dvalue: Array, x: Array, p: Gaussian) -> tuple[Array, Gaussian]:
    """|x − mean|/σ differentiated instead of its square."""
    dx = -dvalue * np.sign(x - p.mean) / np.sqrt(p.var)
    return dx, Gaussian(-dx, dvalue * ((x - p.mean) ** 2 / p.var - 1) / (2 * p.var))


def _in_place(dy: Array, x: Array) -> Array:
    dy *= 1 - np.tanh(x) ** 2
    return dy


_VLB = "DavidRuhe/simple-variational-diffusion-models@4907ac7"

MISTAKES = (
    Mistake("GRD-01", "x_t detached: the schedule's gradient through the draw cut → kept",
            _VLB, "bound.step_kl_vjp", "gradient", _cut("kernel", "draw_vjp", zero)),
    Mistake("GRD-01b", "posterior taken for a constant of the schedule → differentiated",
            _VLB, "bound.step_kl_vjp", "gradient",
            _cut("kernel", "posterior_vjp", lambda d: (d[0], d[1], zero(d[2]), zero(d[3])))),
    Mistake("GRD-01c", "posterior's x_t detached → differentiated",
            _VLB, "bound.step_kl_vjp", "gradient", _cut("kernel", "posterior_vjp", lambda d: (zero(d[0]), *d[1:]))),
    Mistake("GRD-01d", "β in the read-out taken for a constant → differentiated",
            _VLB, "bound.step_kl_vjp", "gradient", _cut("network", "reverse_vjp", lambda d: (d[0], d[1], zero(d[2])))),
    Mistake("GRD-01e", "x_t through the network detached → differentiated",
            _VLB, "bound.step_kl_vjp", "gradient", _cut("network", "reverse_vjp", lambda d: (d[0], zero(d[1]), d[2]))),
    Mistake("NEW-KL-PARTS", "parameters get the gradient of half the KL → of all of it",
            "a ½ too many", "bound.network_kl_vjp", "gradient", _pulled_with(lambda dkl: dkl / 2)),
    Mistake("GRD-01f", "entropies taken for constants → differentiated",
            _VLB + " (BND-35)", "bound.entropy_at_vjp", "gradient", pullback_then(zero)),
    Mistake("SCH-11", "learned rates never get a gradient → they do",
            "ORIG model.py", "schedule.learned_vjp", "gradient", pullback_then(zero)),
    Mistake("GRD-04", "cotangent broadcast to (N, N): all rows get the mean → each its own",
            "lucidrains/denoising-diffusion-pytorch@01c6bed", "bound.assemble_vjp", "gradient",
            _pulled_with(lambda dbound: np.full_like(dbound, dbound.mean()))),
    Mistake("GRD-05", "gradient divided by the batch, value not → neither",
            "AkiRusProd/numpy-diffusion@5116f79", "bound.bound_vjp", "gradient",
            pullback_then(lambda d: tree_map(lambda leaf: leaf / len(d[2]), d))),
    Mistake("GRD-07", "no gradient through p.var of the KL → with it",
            "gmongaras/Diffusion_models_from_scratch@e855d56", "gaussian.kl_vjp", "gradient",
            pullback_then(lambda d: (d[0], Gaussian(d[1].mean, zero(d[1].var))))),
    Mistake("GRD-07b", "log-variance differentiated as a log-deviation: factor 2 → 1",
            "gmongaras/Diffusion_models_from_scratch@c58823f", "networks.readout.denoising_vjp", "gradient",
            pullback_then(lambda d: (Heads(d[0].mean, 2 * d[0].var), *d[1:]))),
    Mistake("GRD-08", "norm differentiated → the square of the norm",
            "hwlee11/Example_diffusion_probabilistic_models@07942cd", "gaussian.log_prob_vjp", "gradient",
            pulled_by(_of_the_norm)),
    Mistake("LAY-01", "softmax pulled back by its diagonal g (1 − g) → g (dg − ⟨g, dg⟩)",
            "deeplearning4j/libnd4j#440", "layers.rbf.rbf_vjp", "gradient", pulled_by(_softmax_diagonal)),
    Mistake("LAY-02", "layer's pullback divided by the batch → not",
            "AkiRusProd/numpy-diffusion@5116f79", "layers.linear.linear_vjp", "gradient",
            pullback_then(lambda d: tree_map(lambda leaf: leaf / len(d[0]), d))),
    Mistake("LAY-19", "softplus′(0) = 0 → ½",
            "jax-ml/jax#2107", "activation.softplus_vjp", "gradient",
            pulled_by(lambda dy, x: np.where(x == 0, 0, sigmoid(x)) * dy)),
    Mistake("LAY-20", "softplus pulled back at the cotangent → at the input",
            "NVlabs/tiny-cuda-nn!130", "activation.softplus_vjp", "gradient", pulled_by(lambda dy, x: sigmoid(dy) * dy)),
    Mistake("LAY-22", "broadcast undone by a sum over the rows → over the components",
            "deeplearning4j/nd4j#2424", "gaussian.marginal_vjp", "gradient",
            pullback_then(lambda d: (d[0], np.broadcast_to(d[1].sum(axis=0), d[1].shape)))),
    Mistake("LAY-23", "input used where the output was kept: 1 − x² → 1 − y²",
            "ddbourgin/numpy-ml@be8ae23", "activation.tanh_vjp", "gradient", pulled_by(lambda dy, x: (1 - x * x) * dy)),
    Mistake("NEW-IN-PLACE", "cotangent overwritten by the pullback → left alone",
            "allowed in thinc", "activation.tanh_vjp", "gradient", pulled_by(_in_place)),
    Mistake("NEW-SCATTER", "rows that share a t overwrite each other → add up",
            "NumPy's fancy +=", "schedule.step_vjp", "gradient", pulled_by(_scattered_once)),
    Mistake("NEW-CUMSUM", "β_t collects the levels before it → those from t on",
            "chain rule of ᾱ, the wrong way along t", "schedule.log_alpha_bar_vjp", "gradient",
            pulled_by(lambda dlevel, beta: -np.cumsum(dlevel) / (1 - beta))),
)
