"""Clauses of the paper's bound K: the divergence of a step, the entropies at both ends, the sum, and what makes it strict.

What the network predicts and the variance of its step are the adapter's choice (`predicts`, `variance`); x_t is drawn with frozen
noise.  Full sums over t take noise (T, N, …), of which noise[t−1] is for x_t; K has no use for noise[0].
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import bound, gaussian
from refdpm.bound import Terms as Parts
from refdpm.conformance import terms
from refdpm.conformance.adapter import Fault, Skip
from refdpm.conformance.chapters import textbook
from refdpm.conformance.chapters.common import (D, N, Ask, Quantity, Given, Inputs, Output, Strategy, arrays, chain, chain_edges,
                                               edge_network, edge_schedules, network, predictor, rates, scales, schedules,
                                               spread_out, times_of)
from refdpm.conformance.terms import Terms
from refdpm.gaussian import Gaussian
from refdpm.later.model import Model, as_network
from refdpm.vjp import Array

CHOICES = ("predicts", "variance")
TOTAL = (Output("VALUE", "total"),)
NETWORK = ("weight", "bias", "beta", "x_0")
TAME = rates([0.5, 0.375, 0.5])


# -- inputs ------------------------------------------------------------------------------------------------------------

@st.composite
def _path(draw: st.DrawFn, given: Given, low: int, outputs: int) -> Inputs:
    beta = draw(schedules(given, low=low))
    T = len(beta) - 1
    return {"x_0": draw(arrays(N, D)), "noise": draw(arrays(T, N, D)), "beta": beta, "model": draw(network(T, outputs=outputs))}


@st.composite
def _step(draw: st.DrawFn, given: Given) -> Inputs:
    beta = draw(schedules(given, low=2))
    return {"x_0": draw(arrays(N, D)), "t": draw(npst.arrays(np.int64, N, elements=st.integers(2, len(beta) - 1))),
            "noise": draw(arrays(N, D)), "beta": beta, "model": draw(network(len(beta) - 1))}


def tame_first(given: Given, *, low: int = 1) -> list[Array]:
    """The schedules of the edges, those first where little is lost in 1 − ᾱ: conventions show there."""
    edges = edge_schedules(given, low=low)
    return edges if given.beta is not None else [TAME, *sorted(edges, key=lambda beta: -float(beta[1]))]


def path(given: Given) -> Strategy:
    """Draws examples, noise for every t, and a network."""
    return _path(given, 1, 2 * D)


def path_edges(given: Given) -> list[Inputs]:
    """The same on the schedules of the edges."""
    return [{"x_0": spread_out(N, D), "noise": spread_out(len(beta) - 1, N, D, start=0.3), "beta": beta,
             "model": edge_network(len(beta) - 1)} for beta in tame_first(given)]


def step(given: Given) -> Strategy:
    """Draws examples at mixed t ≥ 2, with noise and a network."""
    return _step(given)


def step_edges(given: Given) -> list[Inputs]:
    """The same at every t ≥ 2 of the schedules of the edges."""
    found = []
    for beta in tame_first(given, low=2):
        t = times_of(beta, low=2)
        found.append({"x_0": spread_out(len(t), D), "t": t, "noise": spread_out(len(t), D, start=0.3), "beta": beta,
                      "model": edge_network(len(beta) - 1)})
    return found


# -- what the adapter had before -----------------------------------------------------------------------------------------

def own(ask: Ask, name: str, inputs: Inputs) -> tuple[Array, ...] | None:
    """The adapter's own answer; None if it has none."""
    try:
        return ask(name, inputs)
    except (Skip, Fault, KeyError):
        return None


def shown(**found: tuple[Array, ...] | None) -> Inputs:
    """What it shows of what is upstream.   Raises: Skip if that is nothing."""
    kept = {name: value for name, value in found.items() if value is not None}
    if not kept:
        raise Skip("nothing upstream is offered")
    return kept


def _own_laws(i: Inputs, ask: Ask) -> Inputs:
    """Its x_t, and its posterior and its reverse step there."""
    at = {"t": i["t"], "beta": i["beta"]}
    x_t = own(ask, "marginal_sample", {"x_0": i["x_0"], "noise": i["noise"]} | at)
    state = x_t[0] if x_t else gaussian.draw(_marginal(i), noise=i["noise"])
    return shown(own_x_t=x_t, own_q=own(ask, "posterior", {"x_0": i["x_0"], "x_t": state} | at),
                 own_p=own(ask, "reverse", {"x_t": state, "model": i["model"]} | at))


def _marginal(i: Inputs) -> Gaussian:
    row = textbook.rows(i["beta"], i["t"]).alpha_bar.value
    return Gaussian(np.sqrt(row) * i["x_0"], 1 - row)


def own_kl(i: Inputs, ask: Ask) -> tuple[Array, ...] | None:
    """Its divergences for t = 2..T, (T−1, N)."""
    found = [own(ask, "step_kl", {"x_0": i["x_0"], "t": np.full(len(i["x_0"]), t), "noise": i["noise"][t - 1],
                                  "beta": i["beta"], "model": i["model"]}) for t in range(2, len(i["beta"]))]
    return None if not found or None in found else (np.array([value[0] for value in found if value]),)


def _own_ends(i: Inputs, ask: Ask) -> Inputs:
    count, T = len(i["x_0"]), len(i["beta"]) - 1
    return {f"own_{name}": own(ask, "entropy_at", {"x_0": i["x_0"], "t": np.full(count, t), "beta": i["beta"]})
            for name, t in (("entropy_T", T), ("entropy_1", 1))}


def _own_parts(i: Inputs, ask: Ask) -> Inputs:
    return shown(own_kl=own_kl(i, ask), **_own_ends(i, ask))


def _own_step(i: Inputs, ask: Ask) -> Inputs:
    found = own(ask, "step_kl", {name: i[name] for name in ("x_0", "t", "noise", "beta", "model")})
    return shown(own_kl=None if found is None else (found[0][None],), **_own_ends(i, ask))


# -- the reference -------------------------------------------------------------------------------------------------------

def model_of(i: Inputs, *, first: str = "fixed") -> tuple[Any, Model]:
    """The parameters of the adapter's network, and how it is read."""
    parameters, module = predictor(i["model"] if i["variance"] == "ranged" else i["model"].without_head())
    return parameters, Model(module, i["predicts"], i["variance"], i.get("first", first))


def _shown_law(module: Any, name: str, law: Any) -> Any:
    return module if law is None else SimpleNamespace(**{**vars(module), name: lambda *_, **__: (law, None)})


def step_kl(i: Inputs) -> tuple[Array, ...]:
    """`bound.step_kl`; of the adapter's own laws where they are shown."""
    parameters, model = model_of(i)
    kernel = _shown_law(gaussian, "draw_vjp", i["own_x_t"][0] if "own_x_t" in i else None)
    kernel = _shown_law(kernel, "posterior_vjp", Gaussian(*i["own_q"]) if "own_q" in i else None)
    reverse = _shown_law(as_network(model), "reverse_vjp", Gaussian(*i["own_p"]) if "own_p" in i else None)
    return (bound.step_kl(parameters, i["beta"], i["x_0"], noise=i["noise"], t=i["t"], kernel=kernel, network=reverse),)


def _step_kl_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    parameters, model = model_of(i)
    _, back = bound.step_kl_vjp(parameters, i["beta"], i["x_0"], noise=i["noise"], t=i["t"], kernel=gaussian,
                                network=as_network(model))
    return _named(*back(cotangents[0])) | {"output": _at_output(i, cotangents[0])}


def _at_output(i: Inputs, cotangent: Array) -> Array:
    """The gradient with respect to what the network puts out: that of a bias that every row has for itself."""
    alone = i["model"]._replace(weight=i["model"].weight[i["t"]], bias=i["model"].bias[i["t"]])
    parameters, model = model_of(i | {"model": alone})
    own_rows = SimpleNamespace(predict_vjp=lambda *args, t: model.predictor.predict_vjp(*args, t=np.arange(len(t))))
    _, back = bound.network_kl_vjp(parameters, beta=i["beta"], x_0=i["x_0"], noise=i["noise"], t=i["t"], kernel=gaussian,
                                   network=as_network(model._replace(predictor=own_rows)))
    return np.asarray(back(cotangent).bias)


def _named(dparameters: Any, dbeta: Array, dx_0: Array) -> dict[str, Array]:
    return {"weight": dparameters.weight, "bias": dparameters.bias, "beta": dbeta[1:], "x_0": dx_0}


def entropy_at(i: Inputs) -> tuple[Array, ...]:
    """`bound.entropy_at` of every row at its own t."""
    return (np.concatenate([bound.entropy_at(i["beta"], x[None], t=int(t), kernel=gaussian) for x, t in zip(i["x_0"], i["t"])]),)


def _entropy_at_vjp(i: Inputs, cotangents: tuple[Array, ...]) -> dict[str, Array]:
    rows = [bound.entropy_at_vjp(i["beta"], x[None], t=int(t), kernel=gaussian)[1](w[None])
            for x, t, w in zip(i["x_0"], i["t"], cotangents[0])]
    return {"beta": np.sum([dbeta for dbeta, _ in rows], axis=0)[1:]}


def _full(f: Callable[..., Any]) -> Callable[[Inputs], Any]:
    """f with the full sum over t."""
    def full(i: Inputs) -> Any:
        parameters, model = model_of(i)
        t = bound.every_step(len(i["beta"]) - 1, len(i["x_0"]))
        return f(parameters, i["beta"], i["x_0"], noise=i["noise"][t[:, 0] - 1], t=t, kernel=gaussian, network=as_network(model))
    return full


def _drawn(f: Callable[..., Any]) -> Callable[[Inputs], Any]:
    """f with one t per example."""
    def drawn(i: Inputs) -> Any:
        parameters, model = model_of(i)
        return f(parameters, i["beta"], i["x_0"], noise=i["noise"][None], t=i["t"][None], kernel=gaussian,
                 network=as_network(model))
    return drawn


def _value(sums: Callable[..., Callable[[Inputs], Any]], f: str) -> Callable[[Inputs], tuple[Array, ...]]:
    """The bound f; assembled from the adapter's own terms where they are shown."""
    def value(i: Inputs) -> tuple[Array, ...]:
        given = {name: i[f"own_{name}"][0] for name in Parts._fields if f"own_{name}" in i}
        if not given:
            return (sums(getattr(bound, f))(i),)
        return (bound.assemble(sums(bound.terms)(i)._replace(**given), T=len(i["beta"]) - 1),)
    return value


def _vjp(sums: Callable[..., Callable[[Inputs], Any]], f: str) -> Callable[[Inputs, tuple[Array, ...]], dict[str, Array]]:
    return lambda i, cotangents: _named(*sums(getattr(bound, f))(i)[1](cotangents[0]))


def strict(i: Inputs) -> tuple[Array, ...]:
    """`bound.strict_bound`; the adapter's own K with our C where it is shown."""
    if "own_K" in i:
        return (i["own_K"][0] + bound.correction(i["beta"], i["x_0"], kernel=gaussian),)
    return (_full(bound.strict_bound)(i),)


# -- the scale ---------------------------------------------------------------------------------------------------------

def with_shown(scale: Array, i: Inputs) -> tuple[Array, ...]:
    """What the adapter's own terms round besides, where they stand in the place of ours and are larger."""
    return (scale + sum(np.abs(value[0]).reshape(-1, *scale.shape[-1:]).sum(axis=0) for name, value in i.items()
                        if name in ("own_kl", "own_K", "own_prior", "own_decoder", "own_entropy_T", "own_entropy_1")),)


def _step_scale(i: Inputs) -> tuple[Array, ...]:
    x_0 = terms.exact(i["x_0"])
    scale = textbook.step_kl(i, x_0, i["t"], i["noise"]).scale
    if not {"own_x_t", "own_q", "own_p"} & i.keys():
        return (scale,)
    row = textbook.rows(i["beta"], i["t"])
    x_t = terms.exact(i["own_x_t"][0]) if "own_x_t" in i else textbook.draw(textbook.marginal(row, x_0), i["noise"])
    q = textbook.Normal(*map(terms.exact, i["own_q"])) if "own_q" in i else textbook.posterior(row, x_0, x_t)
    p = textbook.Normal(*map(terms.exact, i["own_p"])) if "own_p" in i else textbook.reverse(i, i["t"], x_t)
    return (np.maximum(scale, terms.total(textbook.kl(q, p)).scale),)


def _ends(i: Inputs) -> Terms:
    count, T = len(i["x_0"]), len(i["beta"]) - 1
    at_T, at_1 = (textbook.entropy_at(i, i["x_0"], np.full(count, t)) for t in (T, 1))
    return at_T - at_1 - i["x_0"][0].size * (1 + np.log(2 * np.pi)) / 2


def k_terms(i: Inputs) -> Terms:
    """K of each example."""
    return _ends(i) - textbook.over_t(textbook.steps_kl(i, terms.exact(i["x_0"]), i["noise"]))


def _strict_terms(i: Inputs) -> Terms:
    x_0, count, T = terms.exact(i["x_0"]), len(i["x_0"]), len(i["beta"]) - 1
    at_T, at_1 = (terms.total(textbook.cross_entropy(textbook.marginal(textbook.rows(i["beta"], np.full(count, t)), x_0)))
                  for t in (T, 1))
    prior = terms.total((np.log(2 * np.pi) + x_0 * x_0) / 2)
    return k_terms(i) + i["x_0"][0].size * (1 + np.log(2 * np.pi)) / 2 - at_T + at_1 - prior


def _one_step_scale(i: Inputs) -> tuple[Array, ...]:
    many = len(i["beta"]) - 2
    found = _ends(i) - many * textbook.step_kl(i, terms.exact(i["x_0"]), i["t"], i["noise"])
    shown = {name: (many * value[0],) if name == "own_kl" else value for name, value in i.items() if name.startswith("own_")}
    return with_shown(found.scale, shown)


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "entropy_at", "BND.ENTROPY", "H(x_t | x_0) = ½ Σ [1 + log 2π + log(1−ᾱ_t)]", ("14", "App.1 G bound"), TOTAL,
        chain("x_0"), chain_edges("x_0"), entropy_at,
        lambda i: scales(textbook.entropy_at(i, i["x_0"].reshape(len(i["t"]), -1), i["t"])),
        vjp=_entropy_at_vjp, arguments=("beta",)),
    Quantity(
        "step_kl", "BND.STEP", "KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) for x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, t ≥ 2",
        ("14", "App.1 G bound"), TOTAL, step, step_edges, step_kl, textbook.remembered(_step_scale), given=_own_laws,
        after=("marginal_sample", "posterior", "reverse"), choices=CHOICES, vjp=_step_kl_vjp, arguments=("output", *NETWORK)),
    Quantity(
        "K", "BND.K", "K = −Σ_{t=2}^T KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) + H(x_T | x_0) − H(x_1 | x_0) − H(π), "
        "noise (T, N, …)", ("14", "App.1 G bound"), TOTAL, path, path_edges, _value(_full, "bound"),
        textbook.remembered(lambda i: with_shown(k_terms(i).scale, i)),
        given=_own_parts, after=("step_kl", "entropy_at"), choices=CHOICES,
        vjp=_vjp(_full, "bound_vjp"), arguments=NETWORK),
    Quantity(
        "one_step_bound", "BND.DRAWN", "K from one t of 2..T per example: −(T−1) KL at t + H(x_T | x_0) − H(x_1 | x_0) − H(π)",
        ("14",), TOTAL, step, step_edges, _value(_drawn, "bound"), textbook.remembered(_one_step_scale), given=_own_step,
        after=("step_kl", "entropy_at"), choices=CHOICES, vjp=_vjp(_drawn, "bound_vjp"), arguments=NETWORK),
    Quantity(
        "strict_bound", "BND.STRICT", "K + C ≤ log p(x_0) for any data, C = ½ (ᾱ_T + β_1) Σ (1 − x_0²)", ("12", "43", "46"), TOTAL,
        path, path_edges, strict, textbook.remembered(lambda i: with_shown(_strict_terms(i).scale, i)),
        given=lambda i, ask: shown(own_K=own(ask, "K", i)), after=("K",), choices=CHOICES,
        vjp=_vjp(_full, "strict_bound_vjp"), arguments=NETWORK),
)
