"""Gradients: the adapter's automatic differentiation beside the adjoints derived by hand.

vjp(name, args, cotangent) of the adapter gets what the function got and one cotangent for each of its outputs (bare where there is
one), and returns a dict: the gradient of ⟨cotangent, output⟩ with respect to every argument that it can differentiate.  Both are
translated by the chain rule where the adapter's conventions are not ours.

An error is measured in u·scale, as that of a value is: the scale is the largest entry, in the same row, of what rounding can do to
the slope of the textbook's formula.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from refdpm.conformance import naming, profile as profiles
from refdpm.conformance.adapter import Fault, Skip, our_name, to_array
from refdpm.conformance.chapters.inputs import Inputs, exactly
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.judge import FAILING, FAULTS, Effort, Result, examples, skipped, with_mistake
from refdpm.conformance.power import LONG
from refdpm.conformance.smallest import size
from refdpm.conformance.symptoms import Failure, Part
from refdpm.conformance.profile import Profile, in_shape
from refdpm.conformance.subject import COARSE, LIMIT, UNITS, Subject, ratios
from refdpm.gradcheck.symptoms import Evidence, sizes_of, symptom
from refdpm.textbook.edits import aligned, edits
from refdpm.textbook.expression import E, nodes, versions
from refdpm.textbook.page import Page
from refdpm.textbook.rounding import rounding
from refdpm.textbook.slope import argument_of, gradient as gradient_of, named_cotangents, slopes
from refdpm.textbook.values import floats
from refdpm.vjp import Array, unbroadcast

DRAWS = 5
SMALL = 200                     # entries of a value whose Jacobian is written out


class Slip(NamedTuple):
    """What can go wrong with any gradient, whatever the function."""

    id: str
    says: str
    source: str
    change: Callable[[Array, Inputs], Array]


SLIPS = (
    Slip("GRD-01-CUT", "gradient cut off, 0 → what flows through (the argument was detached, or a table taken for a constant)",
         "DavidRuhe/simple-variational-diffusion-models@4907ac7", lambda g, inputs: 0 * g),
    Slip("GRD-05-N", "gradient divided by the number of rows → of the sum over them",
         "AkiRusProd/numpy-diffusion@5116f79 and others", lambda g, inputs: g / _row_count(inputs)),
    Slip("GRD-07-TWO", "gradient twice as large → once", "gmongaras/Diffusion_models_from_scratch@c58823f",
         lambda g, inputs: 2 * g),
    Slip("NEW-GRAD-SIGN", "gradient with the other sign → with its own", "of −K where K is asked for", lambda g, inputs: -g),
)


def _variant_with_slip(slip: Slip, right: naming.Reference, inputs: Inputs) -> tuple[Array, ...]:
    return tuple(slip.change(value, inputs) for value in right(inputs))


def _row_count(inputs: Inputs) -> int:
    return next(len(value) for value in inputs.values() if isinstance(value, np.ndarray) and value.ndim > 0)


def clause_ids(quantity: Quantity) -> list[str]:
    """The ids of the clauses on the gradients of a quantity."""
    return [f"GRAD.{quantity.id}.{argument.upper()}" for argument in quantity.arguments]


class _Case(NamedTuple):
    """What the gradient with respect to one argument was at one input, and error/(u·scale); or why it cannot be compared."""

    inputs: Inputs
    failure: Failure | None
    ratio: float
    dtype: str
    reason: str = ""


def judge(subject: Subject, quantity: Quantity, effort: Effort) -> list[Result]:
    """The verdict on the gradient with respect to every argument of a quantity.

    An input that the hook refuses, by an exception, says nothing about the others; nor does an argument that it leaves out.
    """
    found: dict[str, list[_Case]] = {argument: [] for argument in quantity.arguments}
    skips: list[str] = []
    refusals: list[str] = []
    try:
        drawn = examples(quantity.inputs(subject.given), effort._replace(max_examples=min(effort.max_examples, DRAWS)))
    except Skip as skip:
        return skipped(clause_ids(quantity), str(skip))
    for number, inputs in enumerate(subject.edges(quantity) + drawn):
        try:
            for argument, case in _cases(subject, quantity, inputs, effort.seed + number).items():
                found[argument].append(case)
        except Skip as skip:
            skips.append(str(skip))
        except Fault as fault:
            refusals.append(str(fault))
        if len(refusals) == FAULTS or (len(skips) == FAULTS and not any(found.values())):
            break
    return [_verdict(quantity, argument, name, found[argument]) if found[argument] else
            _nothing_to_compare(argument, name, skips, refusals, any(found.values()))
            for name, argument in zip(clause_ids(quantity), quantity.arguments)]


def _nothing_to_compare(argument: str, name: str, skips: list[str], refusals: list[str], others: bool) -> Result:
    """The verdict on an argument for which no gradient came."""
    if others:
        return Result(name, "skipped", reason=f"vjp gives no gradient with respect to {argument}")
    if refusals:
        return Result(name, "not checked", reason=f"no gradient came: {refusals[0]}")
    return Result(name, "skipped", reason=skips[0] if skips else f"vjp gives no gradient with respect to {argument}")


def _cases(subject: Subject, quantity: Quantity, inputs: Inputs, seed: int) -> dict[str, _Case]:
    """The gradients that the adapter gives at an input, by argument, beside ours.   Raises: Skip, Fault."""
    chosen = with_cotangents(quantity, subject.chosen(quantity, inputs), seed)
    right, scale = gradients_and_scales(quantity, chosen)
    if not all(np.all(np.isfinite(part)) for part in right.values()):                # no derivative there
        return {}
    answers, dtype = their_gradients(subject, quantity, inputs, chosen)
    found = {}
    for argument, answer in answers.items():
        if isinstance(answer, Fault):
            found[argument] = _Case(inputs, None, np.inf, dtype, f"of the gradient with respect to {argument}, {answer}")
            continue
        parts = answer, right[argument], scale[argument]
        failure = Failure(chosen, (Part(*parts[:2], UNITS[dtype] * parts[2]),))
        found[argument] = _Case(chosen, failure, float(np.max(ratios(*parts, UNITS[dtype]), initial=0.0)), dtype)
    return found


def _verdict(quantity: Quantity, argument: str, name: str, cases: list[_Case]) -> Result:
    worst = max(case.ratio for case in cases)
    if worst <= LIMIT:
        return Result(name, "pass", worst)
    wrong = [case for case in cases if case.ratio > LIMIT]
    smallest, dtype = min(wrong, key=lambda case: size(case.inputs)), wrong[0].dtype
    inaccurate = worst * UNITS[dtype] / COARSE[dtype] <= LIMIT and COARSE[dtype] > UNITS[dtype]
    result = Result(name, "inaccurate" if inaccurate else "wrong", worst, smallest_input=smallest.inputs, reason=wrong[0].reason)
    if smallest.failure:
        part, = smallest.failure.parts
        result = result._replace(observed=part.observed, right=part.expected)
    failing = [case.failure for case in wrong if case.failure and not _is_rounding_of_0(case.failure, case.dtype)]
    if not failing:
        return result

    def right(inputs: Inputs) -> tuple[Array, ...]:
        return gradient(quantity, inputs)[argument],

    def slips() -> naming.Variants:
        known = [((slip.id,), partial(_variant_with_slip, slip, right)) for slip in SLIPS]
        return [*known, *_edited_variants(quantity, argument, failing[0].inputs)]

    found = naming.name([right], failing[:FAILING], slips, slips_first=True)
    if not (found and found.reproduces) and (says := symptom(*(_evidence(quantity, argument, one) for one in failing[:FAILING]))):
        found = naming.name_of_symptom(says)
    return with_mistake(result, found)


def _evidence(quantity: Quantity, argument: str, failure: Failure) -> Evidence:
    """What a wrong gradient may have to do with."""
    part, = failure.parts
    arrays = {name: value for name, value in failure.inputs.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
    numbers = {name: float(value) for name, value in failure.inputs.items() if isinstance(value, int | float) and value}
    cotangents = failure.inputs["cotangents"]
    evidence = Evidence(came=part.observed, right=part.expected, again=None, cotangents=cotangents, others={}, arguments=arrays,
                        sizes=sizes_of([*arrays.items(), *(("the value", cotangent) for cotangent in cotangents)]), numbers=numbers)
    w = cotangents[0]
    if len(cotangents) > 1 or w.shape != part.expected.shape or not 1 < w.size <= SMALL:
        return evidence
    ones = np.eye(w.size).reshape(-1, *w.shape)                    # the gradients of single entries are the rows of J
    J = np.array([gradient(quantity, failure.inputs | {"cotangents": (one,)})[argument].ravel() for one in ones])
    return evidence._replace(forward=(J @ w.ravel()).reshape(w.shape), diagonal=np.diag(J).reshape(w.shape) * w)


def _is_rounding_of_0(failure: Failure, dtype: str) -> bool:
    """Whether 0 is right and what came is no more than a cotangent rounds: wrong, but what a mistake leaves there is no number of
    its own, by which it could be known."""
    part, = failure.parts
    largest = max(float(np.max(np.abs(cotangent), initial=0.0)) for cotangent in failure.inputs["cotangents"])
    return not np.any(part.expected) and bool(np.all(np.abs(part.observed) <= LIMIT * UNITS[dtype] * largest))


def _edited_variants(quantity: Quantity, argument: str, inputs: Inputs) -> naming.Variants:
    """The derivative of the textbook's formulas with one edit each; what an edit leaves as it was is evaluated once an input."""
    pages: dict[int, tuple[Inputs, list[tuple[str, list[E], tuple[E, ...]]], Page, dict[E, Any]]] = {}

    def edited(inputs: Inputs) -> list[tuple[str, list[E], tuple[E, ...]]]:
        return _edited_slopes(quantity.formulas(_without_cotangents(inputs)), argument)

    def values(number: int, inputs: Inputs) -> tuple[Array, ...]:
        if id(inputs) not in pages:                          # of another ε, or other axes, other formulas with the same edits
            pages[id(inputs)] = inputs, aligned(edited(inputs), found), _page_of_slopes(quantity, inputs), {}
        _, own, page, memo = pages[id(inputs)]
        _, leaves, formulas = own[number]
        value = gradient_of(leaves, floats(formulas, page, memo), page)[argument]
        return (value[1:] if argument == "beta" else value),

    found = edited(inputs)
    return [((f"in the derivative, {says}",), partial(values, number)) for number, (says, *_) in enumerate(found)]


@lru_cache(maxsize=64)
def _edited_slopes(formulas: tuple[E, ...], argument: str) -> list[tuple[str, list[E], tuple[E, ...]]]:
    """The edits of the slopes of formulas by an argument: what each says, the leaves, and their slopes after it."""
    found = []
    for slope_of in _slopes(formulas):
        leaves = [leaf for leaf in slope_of if argument_of(leaf) == argument]
        here = tuple(slope_of[leaf] for leaf in leaves)
        if len(nodes(*here)) <= LONG:
            found += [(edit.says, leaves, edit.formulas) for edit in edits(*here, all_ways=True)]
    return found


# -- ours --------------------------------------------------------------------------------------------------------------

def with_cotangents(quantity: Quantity, inputs: Inputs, seed: int) -> Inputs:
    """The inputs with a normal cotangent for every output."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        drawn = tuple(exactly(rng.standard_normal(np.shape(value))) for value in quantity.reference(inputs))
    return inputs | {"cotangents": drawn}


def gradient(quantity: Quantity, inputs: Inputs) -> dict[str, Array]:
    """Our gradient with respect to every argument, for inputs["cotangents"]."""
    assert quantity.arguments
    with np.errstate(all="ignore"):
        return quantity.gradients(_without_cotangents(inputs), inputs["cotangents"])


def _without_cotangents(inputs: Inputs) -> Inputs:
    return {name: value for name, value in inputs.items() if name != "cotangents"}


def _page_of_slopes(quantity: Quantity, inputs: Inputs) -> Page:
    """The page of the inputs, with the cotangents besides."""
    page = quantity.page(_without_cotangents(inputs))
    return page.at(page.t, **{f"w{n}": cotangent for n, cotangent in enumerate(inputs["cotangents"])})


def gradients_and_scales(quantity: Quantity, inputs: Inputs) -> tuple[dict[str, Array], dict[str, Array]]:
    """`gradient`, and the scale by which an error of it is measured."""
    right, found = gradient(quantity, inputs), _scales(quantity, inputs)
    return right, {name: _largest_of_row(np.fmax(np.abs(value), _in_shape_of(found[name], value) if name in found else 0.0))
                   for name, value in right.items()}


def _scales(quantity: Quantity, inputs: Inputs) -> dict[str, Array]:
    """What the slope of the textbook's formula rounds for every argument: the most of what the forms of the formula do."""
    page = _page_of_slopes(quantity, inputs)
    found: dict[str, Array] = {}
    for slope_of in _slopes(quantity.formulas(_without_cotangents(inputs))):
        scales = {leaf: part.scale for leaf, part in zip(slope_of, rounding(slope_of.values(), page))}
        by_name = gradient_of(list(scales), list(scales.values()), page, sizes=True)
        by_name |= {"output": scale for leaf, scale in scales.items() if leaf.op == "gathered" and leaf.how.name == "bias"}
        by_name |= {"beta": by_name["beta"][1:]} if "beta" in by_name else {}
        found |= {name: np.fmax(scale, found.get(name, 0.0)) for name, scale in by_name.items()}
    return found


@lru_cache(maxsize=1000)
def _slopes(formulas: tuple[E, ...]) -> list[dict[E, E]]:
    """The slopes of every form of formulas."""
    return [slopes(form, named_cotangents(len(form))) for form in versions(formulas)]


def _in_shape_of(scale: Array, value: Array) -> Array:
    """A scale in the shape of a gradient, which has no entries for heads of the network that are not read."""
    return np.broadcast_to(scale[tuple(slice(size) for size in value.shape[-scale.ndim:])] if scale.ndim else scale, value.shape)


def _largest_of_row(scale: Array) -> Array:
    """The largest entry of the same row, or of the whole where there is one axis."""
    axes = tuple(range(1 if scale.ndim > 1 else 0, scale.ndim))
    return np.asarray(np.broadcast_to(np.max(scale, axis=axes, keepdims=True), scale.shape)) if scale.size else scale


# -- theirs ------------------------------------------------------------------------------------------------------------

def their_gradients(subject: Subject, quantity: Quantity, inputs: Inputs, chosen: Inputs
                    ) -> tuple[dict[str, Array | Fault], str]:
    """The adapter's gradients in our terms, or why one of them is none, and the precision they are judged at."""
    values, profile = subject.ask(quantity.name, inputs), subject.profile.of(quantity.name)
    parts = [_their_cotangent(value, cotangent, output.kind, profile, quantity.batch(inputs), shape)
             for value, cotangent, output, shape in zip(values.values, chosen["cotangents"], quantity.outputs, values.shapes)]
    typed = [part.astype(values.dtype) for part in parts]
    arguments = subject.arguments(quantity.name, inputs)
    found = subject.raw("vjp", {"name": quantity.name, "args": arguments, "cotangent": tuple(typed) if len(typed) > 1 else typed[0]}
                        | {key: value for key, value in arguments.items() if key == "beta"})
    if not isinstance(found, dict):
        raise Fault(f"vjp returns {type(found).__name__}, expected a dict from arguments to gradients")
    given = {our_name(name, inputs): value for name, value in found.items()}
    return {name: _our_gradient_or_fault(name, to_array(given[name]), inputs, profile, np.shape(right))
            for name, right in gradient(quantity, chosen).items() if name in given}, values.dtype


def _our_gradient_or_fault(name: str, theirs: Array, inputs: Inputs, profile: Profile, shape: tuple[int, ...]) -> Array | Fault:
    try:
        value = _without_unread_heads(theirs.astype(np.float64), shape)
        return in_shape(_our_gradient(name, value, inputs, profile) if value.ndim else value, shape)
    except (Fault, ValueError) as wrong:
        return wrong if isinstance(wrong, Fault) else Fault(f"returns shape {theirs.shape}, expected {shape}")


def _without_unread_heads(theirs: Array, shape: tuple[int, ...]) -> Array:
    """A gradient in the shape of the whole network, of which a loss does not read the second half, where it is 0."""
    read = shape[-1] if shape else 0
    is_whole = theirs.shape == (*shape[:-1], 2 * read) and not np.any(theirs[..., read:])
    return theirs[..., :read] if is_whole else theirs


def _their_cotangent(value: Array, cotangent: Array, kind: str, profile: Profile, batch: tuple[int, ...],
                     shape: tuple[int, ...]) -> Array:
    """The cotangent of what they return, of `shape`, from the cotangent of what we make of it."""
    slope: Any = 1.0
    components = int(np.prod(batch[1:]))
    if kind == "variance":
        slope = {"variance": 1.0, "log_variance": value, "deviation": 2 * np.sqrt(value)}[profile.spread]
    if kind == "probability":
        slope = {"probability": 1.0, "logit": value * (1 - value), "log_probability": value}[profile.bits]
    if kind == "law" and profile.categories != "probability":        # of logits, of which we make the softmax, less Σ p c
        cotangent = cotangent - (value * cotangent).sum(axis=-1, keepdims=True) * (profile.categories == "logits")
        slope = value
    if kind in ("information", "total", "table_of_totals") and profile.unit == "bits":
        slope = np.log(2)
    if kind in ("total", "table_of_totals") and profile.reduction == "mean":
        slope = slope * components
    if kind == "loss":                                               # of which we make the mean
        slope = 1 / (np.prod(shape) * (components if profile.loss_reduction == "sum" else 1))
    changed = np.asarray(cotangent * slope)
    if kind in ("table", "table_of_totals") and profile.order == "descending":
        changed = changed[::-1]
    if kind == "table" and profile.tables == "from_0":
        changed = np.concatenate([[0.0], changed])
    if kind == "matrix" and profile.orientation == "columns":
        changed = np.swapaxes(changed, -1, -2)
    if kind == "velocity" and profile.data_at:
        changed = -changed
    if kind == "image" and profile.layout == "channels_first":
        changed = np.moveaxis(changed, -1, 1)
    if len(shape) > changed.ndim:                                    # one number each for what we add up
        return np.broadcast_to(changed.reshape(changed.shape + (1,) * (len(shape) - changed.ndim)), shape)
    full = shape + (1,) * (changed.ndim - len(shape))
    return unbroadcast(changed, full).reshape(shape)


def _our_gradient(name: str, theirs: Array, inputs: Inputs, profile: Profile) -> Array:
    """The gradient with respect to our argument, from the one with respect to theirs."""
    match profiles.INPUTS.get(name):
        case "spread":
            slopes = {"variance": 1.0, "log_variance": 1 / inputs[name], "deviation": 0.5 / np.sqrt(inputs[name])}
            return np.asarray(theirs * slopes[profile.spread])
        case "bits":
            p = inputs[name]
            return np.asarray(theirs * {"probability": 1.0, "logit": 1 / (p * (1 - p)), "log_probability": 1 / p}[profile.bits])
        case "data_at" if profile.data_at:
            return -theirs
        case "layout" if profile.layout == "channels_first":
            return np.moveaxis(theirs, 1, -1) if name == "image" else np.transpose(theirs, (2, 3, 1, 0))
    return theirs
