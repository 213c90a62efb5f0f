"""`assert_adjoint` and `adjoint_gaps`: is this gradient, written by anybody in the usual ways, that of this function?

    assert_adjoint(f, f_vjp, x, y)              f(x, y) → value;  f_vjp(x, y) → value, pullback

Every array of floating-point numbers in the arguments is judged by itself, with random directions and cotangents.  J v is taken
by the complex step where f is analytic, which differences must confirm first; otherwise by differences.  The answer says which.

The gap is judged by what is known of the errors.  By the complex step: rounding errors change when the last digits of the arguments
change, and a mistake does not; what exceeds ten times the largest change that is seen is a mistake.  By differences: ten
times their own estimate.  Where that would let pass too much for every direction, nothing is decided, and that is not a pass.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refdpm.gradcheck import forms
from refdpm.gradcheck.derivative import discrepancy, inner, norm, vector
from refdpm.gradcheck.question import COMPLEX, DIGITS, DIRECTION, SLACK, Answer, Question, Slope, unit_of
from refdpm.gradcheck.symptoms import Evidence, is_stretched, sizes_of, symptom, turns
from refdpm.vjp import Array

LIKELY = "likely: "
NOT_DECIDED = "not decided"
FAR = 5.0                 # times the tolerance, beyond which a gap is a mistake though the derivative is not known well
PROBES = 3                # directions for every leaf
MOST_PROBES = 12          # where none of those decides
OTHER_VALUE = "the value that came with the gradient is not that of f"
CHANGED = "the call changes in place, for whoever uses it afterwards:"
ENTRIES = 300             # the entries of a wrong gradient that are compared one by one


class Gap(NamedTuple):
    """How far the gradient with respect to one array of the arguments is from the derivative of f."""

    argument: str         # its name, as x or params['W']
    gap: float            # |⟨w, J v⟩ − ⟨Jᵀw, v⟩| / (‖w‖‖J v‖ + ‖Jᵀw‖‖v‖), the largest of some
    tolerance: float      # what rounding, or the error of the differences, explains
    method: str           # "complex step" or "differences"
    why: str              # why differences; or how well they confirm the complex step
    wrong: str            # what is wrong, and what mistake that is likely to be; "" if nothing is
    form: str             # how the gradient was called

    @property
    def ok(self) -> bool:
        """Whether the gradient is right."""
        return not self.wrong

    def __str__(self) -> str:
        verdict = "right" if self.ok else NOT_DECIDED.upper() if self.wrong.startswith(NOT_DECIDED) else "WRONG"
        measured = f", gap {self.gap:.1e}, tolerance {self.tolerance:.1e}, by the {self.method}" if np.isfinite(self.gap) else ""
        why = f" ({self.why})" if self.why and measured else ""
        return f"{self.argument}: {verdict}{measured}{why}" + (f"\n    {self.wrong}" if self.wrong else "")


def assert_adjoint(f: Callable[..., Any], gradient: Callable[..., Any], *arguments: Any, fixed: Mapping[str, Any] | None = None,
                   seed: int = 0) -> tuple[Gap, ...]:
    """Raise AssertionError unless `gradient` is that of `f`, with argument, entry and ratio, and a likely mistake if one is known.

    It takes what `adjoint_gaps` takes, and returns what that returns; an argument whose gradient is None is held still.
    """
    __tracebackhide__ = True                                 # in pytest the failure is shown where the user called this
    found = adjoint_gaps(f, gradient, *arguments, fixed=fixed, seed=seed)
    if not all(gap.ok for gap in found):
        name = getattr(f, "__name__", "f")
        is_wrong = any(not gap.ok and not gap.wrong.startswith(NOT_DECIDED) for gap in found)
        first = (f"the gradient of {name} is {'wrong' if is_wrong else NOT_DECIDED} (it was called as {found[0].form}, "
                 f"with seed {seed})")
        wrong_first = [str(gap).replace("\n", "\n  ") for gap in sorted(found, key=lambda gap: (gap.ok, LIKELY not in gap.wrong))]
        raise AssertionError("\n  ".join([first, *wrong_first]))
    return found


def adjoint_gaps(f: Callable[..., Any], gradient: Callable[..., Any], *arguments: Any, fixed: Mapping[str, Any] | None = None,
                 seed: int = 0) -> tuple[Gap, ...]:
    """The adjoint gap of every array of floating-point numbers in `arguments`, each with its tolerance and verdict.

    f           a function of the arguments, which are arrays and numbers, or tuples, lists, named tuples and dicts of them
    gradient    f_vjp(…) → value, pullback;  backward(dvalue, …);  backward(…, dvalue);  backward(dvalue, cache) where f
                returns (value, cache);  backward(dvalue) of an object that remembers;  where f returns one number, the gradient
                itself or (value, gradient).  Which of these it is follows from the number and the names of its arguments, and
                from what comes
    arguments   generic values: a function is asked only here, so not at 0 or 1, and no two sizes alike.  Integers, flags and
                strings are held still, and so is an argument whose gradient is None
    fixed       keyword arguments, given to both as they are
    seed        of the random directions and cotangents

    Raises: ValueError if there is nothing to judge, if f gives two answers, or if the gradient cannot be asked.
    """
    f, gradient = (partial(function, **fixed) if fixed else function for function in (f, gradient))
    with np.errstate(all="ignore"):
        questions = [Question(f, gradient, form, arguments, seed) for form in forms.fitting(f, gradient, arguments)]
        return _best(questions, f, arguments)


def _best(questions: list[Question], f: Callable[..., Any], arguments: Sequence[Any]) -> tuple[Gap, ...]:
    """The gaps in the form in which the gradient is right; or else the one in which it is nearest to that."""
    if not questions:
        raise ValueError(f"gradient: expected a function of the {len(arguments)} arguments, of those and the cotangent, or of the "
                         "cotangent and a cache, got one that takes another number of arguments")
    if not questions[0].floating:
        raise ValueError("arguments: expected floating-point numbers in at least one of them, got none")
    tried: list[tuple[Gap, ...]] = []
    refused: list[tuple[str, Exception]] = []
    for question in questions:
        try:
            tried.append(_gaps_in(question))
        except Unsteady:
            raise
        except Exception as error:
            refused.append((question.form.says, error))
            continue
        if all(gap.ok for gap in tried[-1]):
            return tried[-1]
    if not tried:
        f(*forms.copied(tuple(arguments)))                                      # an error of f itself is the user's to see
        says = "; ".join(f"{form}: " + f"{type(error).__name__}: " * (type(error) is not forms.Unfit) + f"{error}"
                         for form, error in refused)
        raise ValueError(f"gradient: expected one of the forms that adjoint_gaps knows, got errors from all that fit: {says}"
                         ) from refused[0][1]
    return min(tried, key=_distance)


def _distance(found: tuple[Gap, ...]) -> float:
    """How far a form is from one in which the gradient is right; by much if not even the value is."""
    return sum(min(gap.gap, 1e3) + 10 * gap.wrong.startswith(OTHER_VALUE) for gap in found)


class Unsteady(ValueError):
    """f is no function of its arguments."""


def _gaps_in(question: Question) -> tuple[Gap, ...]:
    answers = [question.ask(question.leaves, probe) for probe in range(PROBES)]
    values = question.value(question.leaves)
    if not all(np.all(np.isfinite(leaf)) for leaf in values):
        raise Unsteady("arguments: expected values at which f is finite, got one where it is not")
    if not _identical(values, question.value(question.leaves)):
        raise Unsteady("f: expected the same answer for the same arguments, got two; give its random numbers as an argument")
    judged = [_leaf(question, i, answers) for i in question.floating if answers[0].gradients[i] is not None]
    changed = ", ".join(question.names[i] for i in sorted(answers[0].changed))
    if not judged:
        raise forms.Unfit("gave no gradient for any floating-point argument")
    of_all = ["" if _same_value(values, answers[0].value) else OTHER_VALUE, f"{CHANGED} {changed}" if changed else ""]
    return tuple(gap._replace(form=question.form.says, wrong="; ".join(filter(None, [*of_all, gap.wrong]))) for gap in judged)


def _identical(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b))


def _same_value(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two values are the same but for rounding."""
    if len(a) != len(b) or any(np.shape(x) != np.shape(y) for x, y in zip(a, b)):
        return False
    return norm(vector(a) - vector(b)) <= SLACK * unit_of(*a, *b) * norm(vector(a))


# -- one leaf ----------------------------------------------------------------------------------------------------------

def _leaf(question: Question, i: int, answers: list[Answer]) -> Gap:
    name, x = question.names[i], np.asarray(question.leaves[i])
    first = forms.as_array(answers[0].gradients[i])
    if first is None:
        return Gap(name, np.inf, 0.0, "", "", "no gradient came for it", "")
    slope = Slope(question, i)
    if first.shape != x.shape:
        return Gap(name, np.inf, 0.0, slope.method, slope.why, _wrong_shape(question, slope, answers), "")
    if not np.all(np.isfinite(first)):
        where = tuple(map(int, np.argwhere(~np.isfinite(first))[0]))
        return Gap(name, np.inf, 0.0, slope.method, slope.why, f"{_entry(name, where)} is {first[where]}", "")
    unit = unit_of(x, *answers[0].value)
    probed = [slope.gap(answer, probe, unit) for probe, answer in enumerate(answers)]
    blur = min(50 * np.sqrt(unit), 0.1)
    while all(tolerance > blur for _, tolerance in probed) and len(probed) < MOST_PROBES:       # their steps have met a kink
        probed.append(slope.gap(question.ask(question.leaves, len(probed)), len(probed), unit))
    sharp = [pair for pair in probed if pair[1] <= blur]
    gap, tolerance = max(sharp or probed, key=lambda pair: pair[0] / pair[1])
    wrong = ""
    if not gap <= (tolerance if sharp else FAR * tolerance):
        wrong = _wrong_numbers(question, slope, answers)
    elif not sharp:
        wrong = (f"{NOT_DECIDED}: the derivative of f is known only to that tolerance.  If f has a kink or a jump near "
                 "these arguments, take others")
    return Gap(name, gap, tolerance, slope.method, slope.why, wrong, "")


# -- what is wrong -----------------------------------------------------------------------------------------------------

def _right_entries(question: Question, slope: Slope, cotangents: Sequence[Array]) -> tuple[list[Array], Array]:
    """The right gradients for some cotangents, and what the first would be if an entry of the value depended on its own entry
    alone, where the value is as long; nan at all but ENTRIES entries of a large one."""
    shape, w = slope.x.shape, cotangents[0]
    chosen = np.random.default_rng(question.seed).permutation(slope.x.size)[:ENTRIES]
    right, diagonal = [np.full(shape, np.nan) for _ in cotangents], np.full(shape, np.nan)
    for k in np.sort(chosen):
        where = tuple(map(int, np.unravel_index(k, shape)))
        column = slope.column(where)
        for entries, one in zip(right, cotangents):
            entries[where] = inner(one, column)
        diagonal[where] = w[k] * column[k] if w.size == slope.x.size else np.nan
    return right, diagonal


def _other_cotangents(values: Sequence[Array], cotangents: Sequence[Array], arguments: Mapping[str, Array]) -> Iterator[
        tuple[str, Array]]:
    """What a cotangent is in a gradient that ignores a part of it, or a factor of the last step of f; each with a sentence."""
    for k, zero in enumerate(cotangents if len(cotangents) > 1 else ()):
        yield (f"it does not depend on dvalue[{k}], the cotangent of the value's part {k}",
               vector((*cotangents[:k], 0 * zero, *cotangents[k + 1:])))
    if len(values) > 1:
        return
    y, = values
    slopes = {"1 − value², the slope of tanh": 1 - y ** 2, "value · (1 − value), the slope of a sigmoid": y * (1 - y)}
    factors = {name: array for name, array in arguments.items() if array.size > 1 and is_stretched(array.shape, y.shape)}
    for name, factor in (slopes | factors).items():
        yield f"it is right if dvalue is first multiplied by {name}: this factor of the last step of f is missing", (
            vector(cotangents) / np.broadcast_to(factor, y.shape).ravel())
        yield f"it is right if dvalue is first divided by {name}: this factor is one too many", (
            vector(cotangents) * np.broadcast_to(factor, y.shape).ravel())


def _wrong_shape(question: Question, slope: Slope, answers: list[Answer]) -> str:
    evidence = _evidence(question, slope, answers)
    return f"a gradient of shape {evidence.came.shape} came, expected {evidence.right.shape}{_likely(evidence)}"


def _wrong_numbers(question: Question, slope: Slope, answers: list[Answer]) -> str:
    """The entry that is most wrong, how many there are, and the likely mistake."""
    evidence = _evidence(question, slope, answers)
    came, right = evidence.came, evidence.right
    error = np.nan_to_num(np.abs(came - right))
    where = tuple(map(int, np.unravel_index(np.argmax(error), error.shape)))
    wrong, known = np.sum(error > 1e-3 * np.max(error)), np.sum(np.isfinite(right))
    ratio = f", ratio {came[where] / right[where]:.9g}" if right[where] else ""
    is_coarse = unit_of(came) > unit_of(slope.x, *answers[0].value)
    precision = f", in {came.dtype}, beside an argument in {slope.x.dtype}" if is_coarse else ""
    return (f"{_entry(question.names[slope.i], where)}: {came[where]:.9g} came, expected {right[where]:.9g}{ratio}{precision}; "
            f"{wrong} of {known} entries are wrong{_likely(evidence)}")


def _evidence(question: Question, slope: Slope, answers: list[Answer]) -> Evidence:
    values, cotangents = (tuple(map(np.asarray, leaves)) for leaves in (answers[0].value, answers[0].cotangent))
    arrays = {question.names[k]: np.asarray(question.leaves[k]) for k in question.floating}
    came = {name: forms.as_array(answers[0].gradients[k]) for name, k in zip(arrays, question.floating) if k != slope.i}
    w, others = vector(cotangents), dict(_other_cotangents(values, cotangents, arrays))
    (right, *instead), diagonal = _right_entries(question, slope, [w, *others.values()])
    is_like_x = [one.shape for one in values] == [slope.x.shape]
    return Evidence(came=np.asarray(answers[0].gradients[slope.i]), right=right,
                    again=forms.as_array(answers[1].gradients[slope.i]) if question.form.has_cotangent else None,
                    cotangents=cotangents, others={name: array for name, array in came.items() if array is not None},
                    arguments=arrays | ({"value": values[0]} if is_like_x else {}),
                    sizes=sizes_of([*arrays.items(), *(("the value", one) for one in values)]),
                    forward=slope.along(w.reshape(slope.x.shape)).reshape(slope.x.shape) if is_like_x else None,
                    diagonal=diagonal if is_like_x else None, instead=dict(zip(others, instead)),
                    steady=dict(_steady(question, slope, answers[0])), turned=tuple(_turned(question, slope, answers)))


def _steady(question: Question, slope: Slope, answer: Answer) -> Iterator[tuple[str, bool]]:
    """What may be added to the arguments so that f stays the same, in words; and whether the gradient stays the same too."""
    came = np.asarray(answer.gradients[slope.i])
    for k in question.floating:
        array = np.asarray(question.leaves[k])
        for axis in (axis for axis in range(array.ndim) if array.shape[axis] > 1):
            added = question.rng(DIGITS, axis).standard_normal(np.delete(array.shape, axis))
            leaves = [*question.leaves]
            leaves[k] = (array + np.expand_dims(added, axis)).astype(array.dtype)
            try:
                moved = question.ask(leaves)
            except Exception:                                                   # f may refuse what is outside its domain
                continue
            if _same_value(moved.value, answer.value):
                yield f"adding one number to all entries of {question.names[k]} along axis {axis}", bool(
                    norm(np.asarray(moved.gradients[slope.i]) - came) <= 1e-3 * norm(came))


def _turned(question: Question, slope: Slope, answers: list[Answer]) -> Iterator[str]:
    """The other arguments that may be reversed or transposed so that what came is the right gradient there, in words."""
    came = [np.asarray(answer.gradients[slope.i]) for answer in answers]
    if slope.method != COMPLEX or any(one.shape != slope.x.shape for one in came):
        return
    directions = [question.rng(DIRECTION, probe).standard_normal(slope.x.shape) for probe in range(len(answers))]
    for k in (k for k in question.floating if k != slope.i):
        for says, array in turns(np.asarray(slope.leaves[k])):
            leaves = [*slope.leaves]
            leaves[k] = array
            try:
                gaps = [discrepancy(vector(answer.cotangent), slope.by_step(v, leaves), one, v)
                        for answer, v, one in zip(answers, directions, came)]
            except Exception:                                                   # f may refuse what is outside its domain
                continue
            if max(map(abs, gaps)) <= np.sqrt(slope.unit):
                yield f"{question.names[k]} {says}"


def _likely(evidence: Evidence) -> str:
    """The likely mistake, as the end of a sentence."""
    says = symptom(evidence)
    return f"\n    {LIKELY}{says}" if says else ""


def _entry(name: str, where: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, where))}]" if where else name
