"""The loss that is minimised: what the network is asked, what it should say, and how an error is weighed and added up.

    training_loss(model, x_0, t, noise)    one number for the batch, the mean over its examples; or one for each example, or for
                                           each component

What the network predicts is a convention (`predicts`), and so are the weight (`loss_weight`) and whether components are averaged or
added up (`loss_reduction`).  γ is 5 unless the function asks for `gamma`.  The hybrid loss has a share of the bound besides, in
which the mean of the step is held constant; and two weights are asked for by themselves.

Sources: Ho, Jain, Abbeel 2020; Salimans, Ho 2022; Hang et al. 2023 (min-SNR); Choi et al. 2022 (P2); Nichol, Dhariwal 2021
(hybrid).
"""

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from refdpm import bound, gaussian
from refdpm.conformance.adapter import Observed, Skip
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.bound import RATES, own, shown, shown_or
from refdpm.conformance.chapters.ends import BELOW, STATE, Case, ends, wide
from refdpm.conformance.chapters.inputs import (D, WIDE, Given, Inputs, at_every_step, chain, chain_edges, drawn_with, edge_network,
                                                network, rates, spread_out, telling, times_of)
from refdpm.conformance.chapters.parametrisation import NORMAL, rate_below_1
from refdpm.conformance.chapters.quantity import Ask, Finding, Law, Output, Quantity, arguments_of, own_levels
from refdpm.conformance.chapters.reverse import model_of
from refdpm.conformance.chapters.theory import BETA, LEVEL, NETWORK, PREDICTOR, PREV, SCHEDULE, Theory, said_by
from refdpm.conformance.planting import Mistake, Plant, edited, instead, told
from refdpm.conformance.precision import LIMIT, unit_of_law
from refdpm.later import loss, weights
from refdpm.later.mean import PREDICTIONS
from refdpm.later.model import Model, as_network
from refdpm.later.weights import LOSS_WEIGHTS
from refdpm.layers.linear import Affine
from refdpm.schedule import Step
from refdpm.textbook import loss as book, prediction
from refdpm.textbook.chain import draw, forward, marginal, posterior, row, small
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import E, gathered, given, log, sqrt
from refdpm.textbook.page import Page
from refdpm.textbook.rounding import rounding
from refdpm.textbook.values import floats
from refdpm.vjp import Array, Pullback, Tree, tree_map

SOURCE = ("Ho 2020", "Hang 2023")
CHOICES = ("predicts", "loss_weight")
GAMMA = 5.0
APART = rates([0.0625, 0.03125, 0.03125, 0.75])        # SNR is above γ at t = 2 and 3 and below at t = 4
FAR = 8.0                       # how much nearer the right state must be than rounding, to be taken for it


# -- inputs ------------------------------------------------------------------------------------------------------------

INPUTS = drawn_with(chain("x_0", "noise", low=2, gamma=draws.one_of([GAMMA, GAMMA, 1.0])), model=network)


def _batch(beta: Array, t: Array, gamma: float = GAMMA, components: int = D) -> Inputs:
    return {"x_0": spread_out(len(t), components), "t": t, "noise": spread_out(len(t), components, start=0.3), "beta": beta,
            "model": edge_network(len(beta) - 1, components=components), "gamma": gamma}


def _edges(given: Given) -> list[Inputs]:
    """Every t ≥ 2 of a schedule in a batch, and of some schedules each alone, so that nothing is averaged; then wide states, t = 1,
    of which not every weight is finite, and another γ."""
    schedules = [beta for beta in (*(() if given.beta is not None else (APART,)), *telling(given)) if len(beta) > 2]
    found = []
    for number, beta in enumerate(schedules):
        found.append(_batch(beta, times_of(beta, low=2)))
        if number < 2:
            found += [_batch(beta, np.array([t])) for t in sorted(set(times_of(beta, low=2).tolist()))]
    return [*found, *(_batch(beta, times_of(beta, low=2), components=WIDE) for beta in schedules[:1]),
            *(_batch(beta, np.array([1])) for beta in schedules[:2]),
            *(_batch(beta, times_of(beta, low=2), 1.0) for beta in schedules[:1])]


def _hybrid_edges(given: Given) -> list[Inputs]:
    """The same batches at t ≥ 2, with the whole divergence first, and once more with a share of it."""
    names = ("x_0", "t", "noise", "beta", "model")
    batches = [{name: edge[name] for name in names} for edge in _edges(given) if min(edge["t"]) > 1]
    return [*(batch | {"share": 1.0} for batch in batches), *(batch | {"share": 0.25} for batch in batches[:3])]


def _edges_of_weights(**usual: float) -> Callable[[Given], list[Inputs]]:
    """Every t of the schedules of the edges with the usual numbers, and of some with others."""
    def edges(given: Given) -> list[Inputs]:
        found = ([] if given.beta is not None else at_every_step(betas=[APART], low=2)) + chain_edges()(given)
        return [*(edge | usual for edge in found),
                *(edge | {name: 0.375 * value for name, value in usual.items()} for edge in found[:3])]
    return edges


# -- the theory ----------------------------------------------------------------------------------------------------------

def mean_loss_vjp(parameters: Tree, beta: Array, x_0: Array, **fixed: Any) -> tuple[Array, Pullback]:
    """The mean over examples and components of `loss.training_loss`, and its adjoint."""
    value, back = loss.training_loss_vjp(parameters, beta, x_0, **fixed)
    return np.asarray(value.sum() / x_0.size), lambda dvalue: back(np.full_like(value, dvalue / x_0.size))


def _checked(i: Inputs) -> str:
    """The weight of the loss.   Raises: Skip where it is infinite."""
    if i["loss_weight"] == "bound" and np.any(i["t"] == 1):
        raise Skip("the weight of the bound is infinite at t = 1, where the posterior has no variance")
    return str(i["loss_weight"])


class _Loss(Theory):
    """The pair on the tables of the network; the values by asking the network itself, as an adapter does."""

    def values(self, inputs: Inputs) -> tuple[Array, ...]:
        """One number."""
        fixed = {name: make(inputs) for name, make in self.fixed.items()} | {"model": model_of(inputs)}
        return mean_loss_vjp((), inputs["beta"], inputs["x_0"], **fixed)[0],


LOSS = _Loss(mean_loss_vjp, NETWORK, SCHEDULE, "x_0",
             fixed=("noise", "t", "gamma"), weight=_checked, model=lambda i: said_by(i | {"variance": "small"}))


class _Hybrid(_Loss):
    """The same for the hybrid loss, whose pair holds the tables of the network twice."""

    def values(self, inputs: Inputs) -> tuple[Array, ...]:
        """One number."""
        fixed = {name: make(inputs) for name, make in self.fixed.items()} | {"model": model_of(inputs), "held": ()}
        return mean_hybrid_vjp((), **fixed)[0],


def mean_hybrid_vjp(parameters: Tree, **fixed: Any) -> tuple[Array, Pullback]:
    """The mean over examples and components of `loss.hybrid_loss`, and its adjoint."""
    value, back = loss.hybrid_loss_vjp(parameters, **fixed)
    size = fixed["x_0"].size
    return np.asarray(value.sum() / size), lambda dvalue: back(np.full_like(value, dvalue / size))


def _share(i: Inputs) -> float:
    """The share of nats.   Raises: Skip for a variance that is not learned."""
    if i["variance"] != "ranged":
        raise Skip("the variance is not learned")
    return i["share"] / np.log(2) if i["unit"] == "bits" else i["share"]


HYBRID = _Hybrid(mean_hybrid_vjp, NETWORK, fixed=("beta", "x_0", "noise", "t"), share=_share, model=said_by,
                 held=lambda i: Affine(i["model"].weight, i["model"].bias))


# -- the textbook --------------------------------------------------------------------------------------------------------

X_0, NOISE = given("x_0"), given("noise")
STATE_AT_T = draw(marginal(X_0, row()), NOISE)


def _own_state(i: Inputs, ask: Ask) -> Inputs:
    return shown(own_x_t=own(ask, "marginal_sample", {name: i[name] for name in ("x_0", "t", "noise", "beta")}))


def _loss(i: Inputs) -> E:
    x_t = shown_or(i, "x_t", STATE_AT_T)
    said = prediction.affine(x_t, gathered("weight"), gathered("bias")).mean
    right = book.target(X_0, NOISE, row(), i["predicts"])
    weight = book.loss_weight(row(), i["predicts"], i["loss_weight"], given("gamma"))
    return book.mean_loss(said, right, weight)


def _hybrid(i: Inputs) -> E:
    x_t = shown_or(i, "x_t", STATE_AT_T)
    heads, still = (prediction.affine(x_t, gathered(weight), gathered(bias)) for weight, bias in (
        ("weight", "bias"), ("held weight", "held bias")))
    p = prediction.reverse(prediction.Heads(still.mean, heads.var), x_t, row(), small(row()), predicts=i["predicts"],
                           variance=i["variance"])
    share = given("share") / log(2) if i["unit"] == "bits" else given("share")
    right = book.target(X_0, NOISE, row(), i["predicts"])
    return book.mean_of(book.hybrid(heads.mean, right, posterior(x_t, X_0, row()), p, share))


def _held_page(i: Inputs) -> Page:
    held = {"held weight": i["model"].weight, "held bias": i["model"].bias}
    return Page(arguments_of(i) | held, beta=i["beta"], t=i["t"], ndim=i["x_0"].ndim)


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "training_loss", "LOSS", "the mean of W_t (said − target)² over a batch and its components: model(x_t, t) says, at "
        "x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, x_0, ε, v, the score or the posterior's mean; W_t is 1, SNR, "
        "min(SNR, γ) or ½ (SNR_{t−1} − SNR_t) per error of x_0", SOURCE, (Output("VALUE", "loss"),), INPUTS, _edges, LOSS,
        lambda i: (_loss(i),),
        given=_own_state, after=("marginal_sample",), choices=CHOICES, arguments=("weight", "bias", "beta", "x_0")),
    Quantity(
        "hybrid_loss", "LOSS.HYBRID", "(said − target)² + share · KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)), the mean over "
        "examples and components, t ≥ 2, p with a variance that is learned and a mean that is held constant", ("Nichol 2021",),
        (Output("VALUE", "loss"),), drawn_with(chain("x_0", "noise", low=2, share=draws.one_of([1.0, 0.25])), model=network),
        _hybrid_edges, HYBRID, lambda i: (_hybrid(i),), given=_own_state, after=("training_loss", "reverse"),
        choices=("predicts", "variance", "unit"), own=(("variance", "ranged"),), arguments=("weight", "bias"), page=_held_page),
    Quantity(
        "min_snr_weight", "LOSS.MINSNR", "min(SNR_t, γ) for a squared error of x_0, min(SNR_t, γ)/SNR_t of noise, "
        "min(SNR_t, γ)/(SNR_t + 1) of v; one number for each row", ("Hang 2023",), (Output("VALUE"),),
        chain(gamma=draws.one_of([GAMMA, 1.0])), _edges_of_weights(gamma=GAMMA),
        Theory(weights.loss_weight, BETA, PREV, fixed=("gamma",), weight=lambda i: "min_snr", predicts=lambda i: i["predicts"]),
        lambda i: (book.loss_weight(row(), i["predicts"], "min_snr", given("gamma")),), given=own_levels, after=("snr",),
        choices=("predicts",)),
    Quantity(
        "p2_weight", "LOSS.P2", "(k + SNR_t)^−γ for a squared error of noise, with p2_k and p2_gamma; one number for each row",
        ("Choi 2022",), (Output("VALUE"),), chain(p2_k=draws.one_of([1.0, 0.5]), p2_gamma=draws.one_of([1.0, 0.5])),
        _edges_of_weights(p2_k=1.0, p2_gamma=1.0),
        Theory(weights.p2_weight, LEVEL, k=lambda i: i["p2_k"], gamma=lambda i: i["p2_gamma"]),
        prediction.p2_weight(row(), given("p2_k"), given("p2_gamma")), given=own_levels, after=("snr",), arguments=("beta",)),
)


# -- what the network is asked -------------------------------------------------------------------------------------------

def asked(subject: Any, given: Given, seed: int) -> Finding:
    """The states and t at which the network is asked, on the first edges; the loss itself, and its digits, are judged elsewhere."""
    worst, unit = Finding(0.0), unit_of_law(subject.source.dtype, "float64")
    for inputs in _edges(given)[:2]:
        arguments = subject.arguments("training_loss", inputs)
        arguments["model"] = Observed(arguments["model"])
        subject.raw("training_loss", arguments)
        found = _of_questions(arguments["model"].asked, inputs, arguments["t"], unit)
        worst = max(worst, found, key=lambda finding: finding.ratio)
    return worst


def _of_questions(questions: list[tuple[Array, Array]], inputs: Inputs, t: Array, unit: float) -> Finding:
    """The best of what is asked in one call."""
    if not questions:
        return Finding(np.inf, "the network is not asked", inputs)
    return min((_of_question(*question, inputs, t, unit) for question in questions), key=lambda finding: finding.ratio)


def _of_question(state: Array, times: Array, inputs: Inputs, t: Array, unit: float) -> Finding:
    if state.size != inputs["x_0"].size:
        return Finding(np.inf, f"the network is asked at states of shape {state.shape}, expected {inputs['x_0'].shape}", inputs)
    told = np.broadcast_to(times.reshape(-1), t.shape) if times.size in (1, len(t)) else np.zeros(0)
    if not np.array_equal(told, t):
        return Finding(np.inf, f"the network is asked at {_told_text(told, t)}", inputs)
    page = Page(inputs | {"model": None}, beta=inputs["beta"], t=inputs["t"], ndim=2)
    right, = rounding([STATE_AT_T], page)
    far = _distance(state, right.value, right.scale, unit)
    if far <= 1:
        return Finding(far)
    return Finding(far, f"the network is asked at another state than x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε: "
                        f"{_state_text(state, page, right.scale, unit)}", inputs)


def _distance(state: Array, value: Array, scale: Array, unit: float) -> float:
    with np.errstate(all="ignore"):
        error = np.max(np.abs(state.reshape(value.shape) - value) / (unit * LIMIT * scale))
    return float(error) if np.isfinite(error) else float("inf")


def _told_text(told: Array, t: Array) -> str:
    shifts = set((told - t).tolist()) if told.shape == t.shape else set()
    if len(shifts) == 1 and (shift := shifts.pop()) in (-1, 1):
        return f"t {'−' if shift < 0 else '+'} 1, for t"
    return f"other t than those of the examples: {told[:4].tolist()} for {t[:4].tolist()}"


def _state_text(state: Array, page: Page, scale: Array, unit: float) -> str:
    """What the state is instead: an input, or the formula with one edit."""
    for says, value in _other_states(page):
        if np.shape(value) == np.shape(scale) and _distance(state, value, scale, unit) <= FAR:
            return says
    return "none that one slip explains"


def _other_states(page: Page) -> Iterator[tuple[str, Array]]:
    yield from ((f"at {words}", page.given[name]) for name, words in (("x_0", "x_0 itself"), ("noise", "the noise itself")))
    here = row()
    for says, formula in (("at √ᾱ_t x_0 + ε, where the noise has no scale", sqrt(here.alpha_bar) * X_0 + NOISE),
                          ("at x_0 + √(1−ᾱ_t) ε, where x_0 has no scale", X_0 + sqrt(here.rest) * NOISE),
                          ("at x_0 + ε, where nothing has a scale", X_0 + NOISE),
                          ("at ᾱ_t x_0 + (1−ᾱ_t) ε, where the roots are left out", here.alpha_bar * X_0 + here.rest * NOISE),
                          ("at √(1−β_t) x_0 + √β_t ε, one step from x_0", draw(forward(X_0, here), NOISE)),
                          ("at x_{t−1}", draw(marginal(X_0, row(-1)), NOISE)), ("at x_{t+1}", draw(marginal(X_0, row(1)), NOISE))):
        yield says, floats([formula], page)[0]
    for edit in edits(STATE_AT_T):
        yield edit.says, floats(edit.formulas, page)[0]


LAWS: tuple[Law, ...] = (
    Law("LOSS.ASKED", "in a training loss the network is asked exactly at x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε and at t", ("Ho 2020",),
        ("training_loss",), asked, ("gaussian.marginal", "gaussian.draw", "later.loss.training_loss_vjp")),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _step_below_1(rng: np.random.Generator, n: int) -> Step:
    beta, before = rate_below_1(rng, n), NORMAL(rng, n)
    return Step(beta, before, before + np.log1p(-beta))


def _targets(predicts: str) -> Any:
    return ends(STATE, _step_below_1, noise=STATE, predicts=predicts)


def _on_a_chain(rng: np.random.Generator, n: int, beta: Array, predicts: str, weight: str) -> Case:
    T, count = len(beta) - 1, n // 4
    weights, bias = np.eye(2, 4) + 0.1 * rng.normal(size=(T + 1, 2, 4)), 0.1 * rng.normal(size=(T + 1, 4))
    fixed = dict(noise=rng.normal(size=(count, 2)), t=rng.integers(2, T + 1, count), model=Model(PREDICTOR, predicts),
                 weight=weight, gamma=GAMMA)
    return (Affine(weights, bias), beta, rng.normal(size=(count, 2))), fixed


def _hybrid_on_a_chain(rng: np.random.Generator, n: int, beta: Array, predicts: str) -> Case:
    (parameters, _, x_0), fixed = _on_a_chain(rng, n, beta, predicts, "none")
    fixed |= {"held": parameters, "beta": beta, "x_0": x_0, "share": 0.3, "model": Model(PREDICTOR, predicts, "ranged")}
    return (parameters,), {name: value for name, value in fixed.items() if name not in ("weight", "gamma")}


ENDS = {
    "later.weights.p2_weight": ends(wide(1e-12, 300.0, signs=(-1,)), k=1.0, gamma=0.7),
    "later.loss.hybrid_loss": tuple(partial(lambda rng, n, kind: _hybrid_on_a_chain(rng, n, *kind), kind=(beta, PREDICTIONS[n % 5]))
                                    for n, beta in enumerate(beta for beta in RATES if len(beta) > 2)),
    "later.loss.velocity": ends(STATE, BELOW, noise=STATE),
    "later.loss.score": ends(BELOW, noise=STATE),
    "later.loss.target": tuple(map(_targets, PREDICTIONS)),
    "later.weights.loss_weight": tuple(ends(rate_below_1, NORMAL, predicts=predicts, weight=weight, gamma=GAMMA)
                                       for predicts in PREDICTIONS for weight in LOSS_WEIGHTS),
    "later.loss.training_loss": tuple(
        partial(lambda rng, n, kind: _on_a_chain(rng, n, *kind), kind=(beta, PREDICTIONS[n % 5], LOSS_WEIGHTS[n % 4]))
        for n, beta in enumerate(beta for beta in (*RATES, *RATES) if len(beta) > 2))}


# -- mistakes ----------------------------------------------------------------------------------------------------------

def _told_network(**changes: Any) -> Plant:
    """The network told something else."""
    def plant(right: Any) -> Any:
        def wrong(*arguments: Any, model: Model, **fixed: Any) -> Any:
            def predict_vjp(parameters: Tree, x_t: Array, step: Step, *, t: Array) -> Any:
                told = {"x_t": x_t, "t": t} | {name: change(arguments[2], fixed, t) for name, change in changes.items()}
                return model.predictor.predict_vjp(parameters, told["x_t"], step, t=told["t"])

            return right(*arguments, model=model._replace(predictor=SimpleNamespace(predict_vjp=predict_vjp)), **fixed)
        return wrong
    return plant


def _one_too_many(right: Any) -> Any:
    """min(SNR + 1, γ)/(SNR + 1) = min(1, γ (1−ᾱ_t)), whatever is predicted."""
    def wrong(beta: Array, log_alpha_bar_prev: Array, *, predicts: str, weight: str, gamma: float) -> tuple[Array, Pullback]:
        value, back = right(beta, log_alpha_bar_prev, predicts=predicts, weight=weight, gamma=gamma)
        rest = -np.expm1(log_alpha_bar_prev + np.log1p(-beta))
        return np.minimum(1.0, gamma * rest) if weight == "min_snr" else value, back
    return wrong


def _share_elsewhere(right: Any) -> Any:
    """share · simple + KL is `share` times what it is with 1/share."""
    def wrong(parameters: Tree, *, share: float, **fixed: Any) -> Any:
        value, back = right(parameters, share=1 / share, **fixed)
        return share * value, back
    return wrong


def _mean_learns(right: Any) -> Any:
    """The gradient of the simple loss, and that of the divergence by everything that the network puts out."""
    def wrong(parameters: Tree, *, held: Tree, beta: Array, x_0: Array, share: float, **fixed: Any) -> Any:
        value, _ = right(parameters, held=held, beta=beta, x_0=x_0, share=share, **fixed)
        _, back_simple = loss.training_loss_vjp(parameters, beta, x_0, weight="none", gamma=GAMMA, **fixed)
        _, back_kl = bound.step_kl_vjp(parameters, beta, x_0, noise=fixed["noise"], t=fixed["t"], kernel=gaussian,
                                       network=as_network(fixed["model"]))
        return value, lambda d: tree_map(np.add, back_simple(d)[0], back_kl(share * d)[0])
    return wrong


MISTAKES = (
    Mistake("LOSS-CLEAN", "network asked at x_0 → at x_t", "noise that was drawn and not added", "later.loss.training_loss_vjp",
            "value", _told_network(x_t=lambda x_0, fixed, t: x_0)),
    Mistake("LOSS-XT", "target x_t → x_0, or the noise", "irom-princeton/dppo#14", "later.loss.target_vjp", "value",
            lambda right: lambda x_0, step, *, noise, predicts: (
                gaussian.draw(gaussian.marginal(x_0, step.log_alpha_bar), noise=noise),
                right(x_0, step, noise=noise, predicts=predicts)[1])),
    Mistake("LOSS-V", "target of a v-network is the noise → √ᾱ ε − √(1−ᾱ) x_0", "huggingface/diffusers#1429",
            "later.loss.target_vjp", "value", told(predicts=lambda predicts: "noise" if predicts == "v" else predicts)),
    Mistake("LOSS-SCORE", "score ε/√(1−ᾱ) → −ε/√(1−ᾱ)", "NEW-SCORE with its sign", "later.loss.score", "value",
            edited("plus for minus: −given numbers/√(1 − ᾱ_t)")),
    Mistake("LOSS-UNWEIGHED", "no weight → the one that is named", "NEW-SIMPLE on the side of training",
            "later.weights.loss_weight_vjp", "value", told(weight="none")),
    Mistake("LOSS-V-ONE", "min-SNR: min(SNR + 1, γ)/(SNR + 1) → min(SNR, γ), divided by SNR + 1 for v",
            "huggingface/diffusers#5654", "later.weights.loss_weight_vjp", "value", _one_too_many),
    Mistake("DIS-07", "the share on the simple loss → on the bound", "cloneofsimo/d3pm#5, for symbols",
            "later.loss.hybrid_loss_vjp", "value", _share_elsewhere),
    Mistake("LOSS-HYBRID-MEAN", "the bound moves the mean too → the mean held constant", "a prediction that was not detached",
            "later.loss.hybrid_loss_vjp", "gradient", _mean_learns),
    Mistake("LOSS-P2-POWER", "1/(k + SNR^γ) → (k + SNR)^−γ", "a matter of brackets", "later.weights.p2_weight", "value", instead(
        lambda level, *, k, gamma: 1 / (k + np.exp(level * gamma) * (-np.expm1(level)) ** -gamma))),
    Mistake("LOSS-WEIGHT-T", "weight of t − 1 → of t", "an index from 0 for a step from 1", "later.weights.loss_weight_vjp",
            "value", told(log_alpha_bar_prev=lambda level, beta: level - np.log1p(-beta))),
)
