"""Symptoms: relations between what came and what should have come, which need no knowledge of the formula.

A symptom makes of the right answers, of the inputs or of the function itself what somebody with that symptom gets, one array for
each output.  It explains a failure if it agrees with what came wherever that was wrong, to rounding; where the answer was right it
need not, for the mistake may be in a part alone, which `where` says.  Of several that explain it the one is named that agrees with
most of what was right too.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from refdpm.conformance.adapter import Skip
from refdpm.conformance.chapters.inputs import Inputs, states_of
from refdpm.conformance.precision import LIMIT, UNITS, rounded
from refdpm.schedule import alpha_bar
from refdpm.vjp import Array

Values = tuple[Array, ...]
Reference = Callable[[Inputs], Values]
ALWAYS_0, WRONG_SIGN = "it is always 0", "it has the wrong sign"
ENOUGH = 4                      # wrong numbers in which something has to be found
MOST_TIMES = 1001               # of a schedule, all of which are tried
LEAST, FAR = 1e-300, 1e150      # of a unit, and of a distance in units
LAST_UNITS, LAST_DIGITS = 64 * LIMIT, 1e-9     # of an error in units, and relative to the largest number, which is no number's
ROUNDING = 4.0                  # times the tolerance of the right answer: what a wrong one loses on its way


@dataclass(frozen=True, eq=False)
class Part:
    """One output of a function at one input; `unit` is u·scale of every entry."""

    observed: Array
    expected: Array
    unit: Array

    def only(self, entries: Array) -> "Part":
        """Some of the entries."""
        return Part(self.observed[entries], self.expected[entries], self.unit[entries])

    @cached_property
    def error(self) -> float:
        """The distance of what came from what should have come."""
        return distance_in_units(self.observed, self.expected, self.unit)

    @cached_property
    def wrong(self) -> Array:
        """Which entries are."""
        with np.errstate(all="ignore"):
            near = np.abs(self.observed - self.expected) <= LIMIT * self.unit
        same = (self.observed == self.expected) | (np.isnan(self.observed) & np.isnan(self.expected))
        return np.asarray(~(near | same))


def distance_in_units(x: Array, y: Array, unit: Array) -> float:
    """The distance of two arrays, where an answer is asked for; an infinity, or no number, is far from anything else."""
    with np.errstate(all="ignore"):
        far = np.abs((x - y) / unit)
        if not ((unit >= LEAST).all() and (far <= FAR).all()):
            far = _far(x, y, unit)
    largest = far.max(initial=0.0)
    return float(largest * np.sqrt(((far / largest) ** 2).sum())) if largest > 0 else 0.0


def _far(x: Array, y: Array, unit: Array) -> Array:
    """How far apart two arrays are, entry by entry, where a unit or a difference is no number, or 0."""
    unit = np.where(unit > 0, unit, UNITS["float32"] * np.maximum(np.abs(x), np.abs(y)))           # 0 where only 0 is right
    far = np.where(np.isfinite(x) & np.isfinite(y), np.minimum(np.abs(x - y) / np.maximum(unit, LEAST), FAR), FAR)
    same = (x == y) | (np.isnan(x) & np.isnan(y)) | np.isinf(unit)
    return np.asarray(np.where(same, 0.0, far))


class Failure(NamedTuple):
    """An input, and what the adapter answered there: a part for each output."""

    inputs: Inputs
    parts: tuple[Part, ...]

    @property
    def right(self) -> Values:
        """What should have come."""
        return tuple(part.expected for part in self.parts)


class Symptom(NamedTuple):
    """What is wrong, as a sentence about "it", the answer; and the answers that somebody with it gives.

    `rounded_as` are the numbers of the outputs as which the answers are rounded, where that is not each as itself.
    """

    says: str
    values: Reference
    rounded_as: tuple[int, ...] | None = None


def telling(failures: list[Failure], reference: Reference) -> tuple[str | None, bool]:
    """The sentence of the first symptom that says what is wrong, what came in the place of what, or None; and whether by that some
    numbers would be wrong that are right."""
    came = [part.observed for failure in failures for part in failure.parts]
    if sum(map(np.size, came)) >= ENOUGH and not any(map(np.any, came)):       # also where 0 is right in most places
        return ALWAYS_0, False
    says, against = _first_explaining(failures, lambda wrong: _telling(wrong, reference))
    return says, bool(says) and against > 0


def has_wrong_sign(failures: list[Failure]) -> bool:
    """Whether everything that is wrong is right but for its sign, and nothing is right that would not be with another one."""
    return _first_explaining(failures, lambda wrong: [_changes_of(wrong)(WRONG_SIGN, np.negative)]) == (WRONG_SIGN, 0)


def are_last_digits(failures: list[Failure]) -> bool:
    """Whether everything that is wrong has lost its last digits alone."""
    def at_most(part: Part) -> Array:
        return np.minimum(LAST_UNITS * part.unit, LAST_DIGITS * np.max(np.abs(part.expected), initial=0.0))

    with np.errstate(all="ignore"):
        return all(np.all((np.abs(part.observed - part.expected) <= at_most(part)) | ~part.wrong)
                   for failure in failures for part in failure.parts)


def arithmetic(failures: list[Failure], reference: Reference) -> str | None:
    """The sentence of the first symptom that says by how much it is wrong: times what, plus what; or to which time a step goes
    instead.   None if there is none."""
    return (_first_explaining(failures, _arithmetic)[0]
            or _first_explaining(failures, lambda wrong: _to_another_time(wrong, reference))[0])


def _first_explaining(failures: list[Failure], symptoms: Callable[[list[Failure]], Iterable[Symptom]]) -> tuple[str | None, float]:
    """The symptom that would be otherwise in the fewest numbers that are right, and in how many."""
    wrong = [failure for failure in failures if any(np.any(part.wrong) for part in failure.parts)]
    if sum(int(np.sum(part.wrong)) for failure in wrong for part in failure.parts) < ENOUGH:
        return None, 0
    best, fewest = None, np.inf
    with np.errstate(all="ignore"):
        for symptom in symptoms(wrong):
            against = _denied_count(symptom, wrong)
            if against is not None and against < fewest:
                best, fewest = symptom.says, against
            if fewest == 0:
                break
    return best, fewest


def _denied_count(symptom: Symptom, wrong: list[Failure]) -> int | None:
    """How many of the numbers that are right it would have otherwise; None if it does not agree with what came wherever that is
    wrong, or is told apart from what is right nowhere."""
    told, against = False, 0
    for failure in wrong:
        try:
            values = symptom.values(failure.inputs)
            units = [failure.parts[at].unit for at in symptom.rounded_as or range(len(failure.parts))]
            for value, part, unit in zip(values, failure.parts, units, strict=True):
                value = np.broadcast_to(np.asarray(value, dtype=np.float64), part.observed.shape)
                apart = _told_apart(value, part, unit)
                if not _agrees(value, part, unit, apart):
                    return None
                told = told or bool(np.any(apart & part.wrong))
                against += int(np.sum(apart & ~part.wrong & (part.observed != value)))
        except (Skip, ValueError, IndexError, TypeError, KeyError):  # what it needs is not there
            return None
    return against if told else None


def _told_apart(value: Array, part: Part, unit: Array) -> Array:
    """Where a symptom gives another number than the right one."""
    return np.asarray((np.abs(value - part.expected) > _allowed(value, part, unit)) | (part.observed == value))


def _allowed(value: Array, part: Part, unit: Array) -> Array:
    """How far what came may be from it, entry by entry; of a number that is larger than the right one more."""
    larger = np.maximum(1, np.abs(value) / np.abs(part.expected))
    return ROUNDING * LIMIT * unit * np.where(np.isfinite(larger), larger, 1)


def _agrees(value: Array, part: Part, unit: Array, apart: Array) -> bool:
    """Whether what came is that wherever it was wrong, and nearer to that than to what is right."""
    left = np.abs(part.observed - value)
    as_right_is = apart & (left > np.abs(part.observed - part.expected) / 2)
    explained = (left <= _allowed(value, part, unit)) & ~as_right_is | (part.observed == value)
    return bool(np.all(explained | ~part.wrong))


# -- all of them, the most telling first ---------------------------------------------------------------------------------

def _telling(wrong: list[Failure], reference: Reference) -> Iterator[Symptom]:
    inputs, of_right = wrong[0].inputs, _changes_of(wrong)
    yield from _of_other_inputs(wrong, reference)
    yield from _of_its_inputs(inputs)
    if len(wrong[0].parts) == 2:
        at_0, at_1 = (any(np.any(failure.parts[at].wrong) for failure in wrong) for at in range(2))
        comes = (1, 0) if at_0 and at_1 else (1, 1) if at_0 else (0, 0)
        yield Symptom(f"its two outputs are {'exchanged' if at_0 and at_1 else 'the same'}",
                      lambda i: tuple(_right_at(wrong, i)[at] for at in comes), comes)
    if all(part.expected.ndim > 2 and part.expected.shape[-1] == part.expected.shape[-2] for part in wrong[0].parts):
        yield of_right("its rows and columns are exchanged", lambda x: x.swapaxes(-1, -2))
    yield of_right("it is the mean over the rows, and not one answer for each", lambda x: x.mean(axis=0, keepdims=True))
    yield of_right("it is the mean over the components, and not one answer for each",
                   lambda x: x.mean(axis=tuple(range(1, x.ndim)), keepdims=True))
    yield of_right("it is the sum over the rows, and not one answer for each", lambda x: x.sum(axis=0, keepdims=True))
    yield of_right("it is the sum over the components, and not one answer for each",
                   lambda x: x.sum(axis=tuple(range(1, x.ndim)), keepdims=True))
    yield of_right("it is its first number, everywhere", lambda x: np.full_like(x, x.flat[0]))
    for low, high in ((-1, 1), (0, 1), (0, np.inf)):
        yield of_right(f"it is clipped to [{low}, {high}]", partial(np.clip, a_min=low, a_max=high))


def _arithmetic(wrong: list[Failure]) -> Iterator[Symptom]:
    of_right = _changes_of(wrong)
    yield of_right("it is 0 there", np.zeros_like)
    yield of_right(WRONG_SIGN, np.negative)
    for what, change in _FUNCTIONS:
        yield of_right(f"it is {what} of what it should be", change)
    yield of_right("it is 1 minus what it should be", lambda x: 1 - x)
    yield from _with_more_noise(wrong)
    yield from _with_its_inputs(wrong)
    yield from _numbers(wrong)
    yield from _with_columns(wrong)


_FUNCTIONS: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("the square", np.square), ("the square root", np.sqrt), ("the logarithm", np.log), ("the exponential", np.exp),
    ("the inverse 1/x", np.reciprocal), ("the absolute value", np.abs), ("tanh", np.tanh), ("the sigmoid", expit))


def _right_at(failures: list[Failure], inputs: Inputs) -> Values:
    return next(failure.right for failure in failures if failure.inputs is inputs)


def _changes_of(failures: list[Failure]) -> Callable[[str, Callable[[Array], Any]], Symptom]:
    """What makes a symptom of a change of the right answer."""
    return lambda says, change: Symptom(says, lambda inputs: tuple(map(change, _right_at(failures, inputs))))


def _is_of_one_step(wrong: list[Failure]) -> bool:
    """Whether all rows that are wrong have the same t."""
    rows = [(failure.inputs["t"], part.wrong) for failure in wrong for part in failure.parts]
    if any(np.shape(row)[:1] != t.shape for t, row in rows):
        return False
    return len({int(one) for t, row in rows for one in t[row.reshape(len(t), -1).any(axis=1)]}) == 1


def _of_another_t(reference: Reference) -> Iterator[Symptom]:
    """The right answer to the same inputs at another t."""
    yield Symptom("it is the answer for t + 1", lambda i: reference(_at(i, i["t"] + 1)))
    yield Symptom("it is the answer for t − 1", lambda i: reference(_at(i, i["t"] - 1)))
    yield Symptom("it is the answer for t − 1, and that for T at t = 1, as an index of −1 takes it",
                  lambda i: reference(_at(i, np.where(i["t"] > 1, i["t"] - 1, len(i["beta"]) - 1))))
    yield Symptom("it is the answer for T + 1 − t: the steps are counted from the other end",
                  lambda i: reference(_at(i, len(i["beta"]) - i["t"])))
    yield Symptom("it is the answer for t = 1, at every t", lambda i: reference(_at(i, np.ones_like(i["t"]))))
    yield Symptom("it is the answer for the t of the first row, in all rows",
                  lambda i: reference(_at(i, np.full_like(i["t"], i["t"][0]))))


def _of_other_inputs(wrong: list[Failure], reference: Reference) -> Iterator[Symptom]:
    """The right answer to another question: at another t, or with one argument in the place of another."""
    inputs = wrong[0].inputs
    if isinstance(inputs.get("t"), np.ndarray) and "beta" in inputs:
        for dtype in ("bfloat16", "float16"):
            if np.any(_held(inputs["t"], dtype) != inputs["t"]):
                yield Symptom(f"it is the answer for t as {dtype} holds it, which has not every integer",
                              partial(_with_t_held, reference, dtype))
        if not _is_of_one_step(wrong):                           # else it is an exception that stands at another step
            yield from _of_another_t(reference)
    if isinstance(inputs.get("t_prev"), np.ndarray):
        for says, other in _OTHER_TARGETS:
            yield Symptom(f"it is the step to {says}, and not to t_prev", partial(_with_target, reference, other))
    yield from _of_other_noise(inputs, reference)
    real = [name for name, value in inputs.items() if isinstance(value, np.ndarray | float) and np.asarray(value).dtype.kind == "f"]
    names = [name for name in real if np.ndim(inputs[name]) > 1]
    numbers = [name for name in real if np.ndim(inputs[name]) < 2 and name != "beta"]
    for name in (*names, *numbers):                              # first: an argument that is 0 in all of them could be anything
        yield _with_changed(f"{name} is left out (taken for 0)", reference, name, np.zeros_like)
    for a, b in (*combinations(names, 2), *combinations(numbers, 2)):
        yield _with_others(f"{a} and {b} are exchanged", reference, {a: b, b: a})
        yield _with_others(f"{b} is taken for {a}", reference, {a: b})
        yield _with_others(f"{a} is taken for {b}", reference, {b: a})
    for name in names:
        yield _with_changed(f"{name} has the wrong sign", reference, name, np.negative)
        yield _with_changed(f"tanh is put around {name}", reference, name, np.tanh)
        yield _with_changed(f"{name} is clipped to [−1, 1]", reference, name, partial(np.clip, a_min=-1, a_max=1))


_OTHER_TARGETS: tuple[tuple[str, Callable[[Array, Array], Array]], ...] = (
    ("t − 1", lambda t, t_prev: t - 1), ("t_prev − 1", lambda t, t_prev: t_prev - 1), ("t_prev + 1", lambda t, t_prev: t_prev + 1),
    ("t", lambda t, t_prev: t), ("0", lambda t, t_prev: 0 * t))


def _to_another_time(wrong: list[Failure], reference: Reference) -> Iterator[Symptom]:
    """A step to whatever time fits best, found row by row."""
    inputs = wrong[0].inputs
    if not isinstance(inputs.get("t_prev"), np.ndarray) or len(inputs["beta"]) > MOST_TIMES:
        return

    def fitting(failure: Failure) -> tuple[Array, Array]:
        """The time for each row, and what the step to it gives."""
        observed, t = failure.parts[0].observed, failure.inputs["t"]
        found = np.stack([reference(failure.inputs | {"t_prev": np.minimum(s, t - 1)})[0] for s in range(int(np.max(t)))])
        best = np.argmin(np.abs(found - observed).reshape(*found.shape[:2], -1).max(axis=-1), axis=0)
        return np.minimum(best, t - 1), found[best, np.arange(len(t))]

    row = int(np.argmax(wrong[0].parts[0].wrong.reshape(len(inputs["t"]), -1).any(axis=1)))
    try:
        nearest, _ = fitting(wrong[0])
    except Skip:                                                     # under these choices a step does not go everywhere
        return
    t, t_prev, to = (int(times[row]) for times in (inputs["t"], inputs["t_prev"], nearest))
    yield Symptom(f"it is the step from t = {t} to {to}, and not to t_prev = {t_prev}, and so on",
                  lambda i: (fitting(next(failure for failure in wrong if failure.inputs is i))[1],))


def _with_target(reference: Reference, other: Callable[[Array, Array], Array], i: Inputs) -> Values:
    return reference(i | {"t_prev": np.clip(other(i["t"], i["t_prev"]), 0, len(i["beta"]) - 1)})


def _with_t_held(reference: Reference, dtype: str, i: Inputs) -> Values:
    return reference(_at(i, _held(i["t"], dtype)))


def _held(t: Array, dtype: str) -> Array:
    return rounded(t.astype(np.float64), dtype).astype(t.dtype)


def _of_other_noise(inputs: Inputs, reference: Reference) -> Iterator[Symptom]:
    """Of a chain, whose noise has an entry for each step: with that of another step."""
    if not _has_steps(inputs):
        return
    for says, moved in _OTHER_NOISE:
        yield _with_changed(says, reference, "noise", moved)
    yield Symptom("it is the noise with which the chain starts", lambda i: (i["noise"][-1],))


_OTHER_NOISE: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("the noise of another step is taken: that of t − 1 at t", lambda noise: np.roll(noise, 1, axis=0)),
    ("the noise of another step is taken: that of t − 1 at t", lambda noise: np.concatenate([noise[-1:], noise[:-2], noise[-1:]])),
    ("the noise of another step is taken: that of t + 1 at t", lambda noise: np.append(noise[1:], noise[-1:], axis=0)),
    ("the noise with which the chain starts is taken in all steps", lambda noise: 0 * noise + noise[-1:]),
    ("the noise of the steps is taken in the other order", lambda noise: noise[::-1]),
    ("the noise of the first step is taken in all steps", lambda noise: 0 * noise + noise[:1]),
    ("the chain starts from the noise of its first step", lambda noise: np.append(noise[:-1], noise[-2:-1], axis=0)))


def _has_steps(inputs: Inputs) -> bool:
    noise = inputs.get("noise")
    return isinstance(noise, np.ndarray) and noise.ndim > 2 and "t" not in inputs and "beta" in inputs


def _with_others(says: str, reference: Reference, others: dict[str, str]) -> Symptom:
    """With one argument in the place of another."""
    return Symptom(says, lambda i: reference(i | {name: _like(i[other], i[name]) for name, other in others.items()}))


def _with_changed(says: str, reference: Reference, name: str, change: Callable[[Array], Array]) -> Symptom:
    return Symptom(says, lambda i: reference(i | {name: change(i[name])}))


def _its_input(name: str) -> Symptom:
    return Symptom(f"it is its own input {name}", lambda i: (i[name],))


def _at(inputs: Inputs, t: Array) -> Inputs:
    return inputs | {"t": np.clip(t, 1, len(inputs["beta"]) - 1)}


def _like(value: Array, other: Array) -> Array:
    if np.shape(value) != np.shape(other):
        raise ValueError("shape: expected the same")
    return value


def _of_its_inputs(inputs: Inputs) -> Iterator[Symptom]:
    for name, value in inputs.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name != "beta":
            yield _its_input(name)


def _with_more_noise(wrong: list[Failure]) -> Iterator[Symptom]:
    """At one step the right answer, and in every row some multiple of its noise, which has several components."""
    def values(inputs: Inputs) -> Values:
        part = next(failure for failure in wrong if failure.inputs is inputs).parts[0]
        noise, axes = inputs["noise"], tuple(range(1, part.observed.ndim))
        along, size = (np.sum(x * noise, axis=axes, keepdims=True) for x in (part.observed - part.expected, noise))
        return part.expected + along / size * noise,

    def has_noise(failure: Failure) -> bool:
        noise, came = failure.inputs.get("noise"), failure.parts[0].observed
        return len(failure.parts) == 1 and isinstance(noise, np.ndarray) and noise.shape == came.shape and came[0].size > 1

    if all("t" in failure.inputs and has_noise(failure) for failure in wrong) and _is_of_one_step(wrong):
        yield Symptom("another multiple of the noise is in it", values)


def _with_its_inputs(wrong: list[Failure]) -> Iterator[Symptom]:
    """The right answer, and one of the inputs too many."""
    for name, value in wrong[0].inputs.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name != "beta":
            for says, change in (("multiplied by", np.multiply), ("divided by", np.divide)):
                yield Symptom(f"it is {says} its own input {name}", partial(_with_its_input, wrong, name, change))
                yield Symptom(f"it is {says} 1 minus its own input {name}",
                              partial(_with_its_input, wrong, name, change, rest=True))


def _with_its_input(wrong: list[Failure], name: str, change: Callable[[Array, Array], Array], inputs: Inputs, rest: bool = False
                    ) -> Values:
    return tuple(change(x, 1 - inputs[name] if rest else inputs[name]) for x in _right_at(wrong, inputs))


def _with_columns(wrong: list[Failure]) -> Iterator[Symptom]:
    """The right answer, and a column of the schedule too many."""
    inputs = wrong[0].inputs
    if isinstance(inputs.get("t"), np.ndarray) and "beta" in inputs:
        for name, column in _COLUMNS:
            for says, change in (("multiplied by", np.multiply), ("divided by", np.divide)):
                yield Symptom(f"it is {says} {name}", partial(_with_column, wrong, column, change))


def _with_column(wrong: list[Failure], column: Callable[[Array], Array], change: Callable[[Array, Array], Array], inputs: Inputs
                 ) -> Values:
    found = column(inputs["beta"])[inputs["t"]]
    return tuple(change(x, found.reshape(found.shape + (1,) * (x.ndim - found.ndim))) for x in _right_at(wrong, inputs))


_COLUMNS: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("√ᾱ_t", lambda beta: np.sqrt(alpha_bar(beta))), ("ᾱ_t", alpha_bar), ("√(1 − ᾱ_t)", lambda beta: np.sqrt(1 - alpha_bar(beta))),
    ("1 − ᾱ_t", lambda beta: 1 - alpha_bar(beta)), ("√β_t", np.sqrt), ("β_t", np.array),
    ("√(1 − β_t)", lambda beta: np.sqrt(1 - beta)), ("1 − β_t", lambda beta: 1 - beta))


# -- a number too many ---------------------------------------------------------------------------------------------------

def _numbers(wrong: list[Failure]) -> Iterator[Symptom]:
    """Times a number, or plus one: sizes of the input first, then any that all wrong entries have in common."""
    for what, size in _SIZES:
        also = " (or 2, which it is in all these)" if _is_2_always(size, wrong) else ""
        yield _scaled(f"it is multiplied by {what}{also}", wrong, size)
        yield _scaled(f"it is divided by {what}{also}", wrong, partial(_inverse, size))
    factor, offset, number = (_common(wrong, relation) for relation in (np.divide, np.subtract, lambda came, _: came))
    if factor is not None:
        yield _scaled(f"it is {_number_text(factor)} times what it should be", wrong, lambda failure: factor)
    if offset is not None:
        yield _changes_of(wrong)(f"it is {abs(offset):.6g} too {'large' if offset > 0 else 'small'}, everywhere",
                                 lambda x: x + offset)
    if number is not None:
        if any(np.any(part.observed[~part.wrong] != number) for failure in wrong for part in failure.parts):
            for less, limited in (("less", np.maximum), ("more", np.minimum)):
                yield _changes_of(wrong)(f"it is never {less} than {_number_text(number)}, also where {less} is right",
                                         partial(limited, number))
        yield _changes_of(wrong)(f"it is always {_number_text(number)}", lambda x: np.full_like(x, number))


def _inverse(size: Callable[[Failure], float], failure: Failure) -> float:
    return float(np.divide(1.0, size(failure)))                     # infinite, and so no explanation, where there is nothing


def _is_2_always(size: Callable[[Failure], float], failures: list[Failure]) -> bool:
    """Whether a size is 2 wherever it can be seen, so that it cannot be told from the number."""
    try:
        return {size(failure) for failure in failures} == {2.0}
    except (KeyError, IndexError):
        return False


def _scaled(says: str, failures: list[Failure], factor: Callable[[Failure], float]) -> Symptom:
    def values(inputs: Inputs) -> Values:
        failure = next(failure for failure in failures if failure.inputs is inputs)
        return tuple(factor(failure) * x for x in failure.right)
    return Symptom(says, values)


def _components(failure: Failure) -> float:
    return float(np.prod(states_of(failure.inputs).shape[1:]))


_SIZES: tuple[tuple[str, Callable[[Failure], float]], ...] = (
    ("the number of components", _components),
    ("the number of rows", lambda failure: float(len(states_of(failure.inputs)))),
    ("T", lambda failure: float(len(failure.inputs["beta"]) - 1)),
    ("T − 1", lambda failure: float(len(failure.inputs["beta"]) - 2)))


def _common(wrong: list[Failure], relation: Callable[[Array, Array], Array]) -> float | None:
    """What the largest answers have in common: their median ratio to the right ones, or difference; None where there is none."""
    with np.errstate(all="ignore"):
        found = np.concatenate([relation(part.observed, part.expected)[part.wrong & (np.abs(part.expected) > 0)]
                                for failure in wrong for part in failure.parts])
    found = found[np.isfinite(found)]
    return float(np.median(found)) if len(found) >= ENOUGH and np.median(found) != 0 else None


_KNOWN = ((2.0, "2"), (0.5, "½"), (np.log(2), "log 2"), (1 / np.log(2), "1/log 2"), (np.sqrt(2), "√2"), (np.sqrt(0.5), "1/√2"),
          (2 * np.pi, "2π"), (4.0, "4"), (0.25, "¼"), (1 / 255, "1/255"), (1 / 256, "1/256"), (127.5, "127.5"), (255.0, "255"))


def _number_text(factor: float) -> str:
    return next((text for value, text in _KNOWN if abs(factor / value - 1) < 1e-4), f"{factor:.6g}")


# -- on which part -------------------------------------------------------------------------------------------------------

def where(failures: Iterable[Failure]) -> str:
    """On which part of the inputs the answers are wrong, where it is only a part; "" where it is everywhere, or no simple one."""
    failures = list(failures)
    found = [(failure, np.any([np.broadcast_to(part.wrong, part.wrong.shape).reshape(len(part.wrong), -1).any(axis=1)
                               for part in failure.parts if part.wrong.ndim and len(part.wrong)], axis=0))
             for failure in failures if all(part.wrong.ndim and len(part.wrong) == len(failure.parts[0].wrong)
                                            for part in failure.parts)]
    return (_single_step_text(failures) or _steps_text(found) or _range_text(found)
            or _components_text([failure for failure, _ in found]))


def _steps_text(found: list[tuple[Failure, Array]]) -> str:
    along = [(t, T, rows) for failure, rows in found for t, T in _steps_of(failure.inputs, rows)]
    if not along:
        return ""
    t, T, wrong = (np.concatenate(parts) for parts in zip(*((t, np.full_like(t, T), rows) for t, T, rows in along)))
    if not np.any(wrong) or np.all(wrong):
        return ""
    for says, holds in (("at t = 1 only", t == 1), ("at t = T only", t == T)):
        if np.all(holds[wrong]) and not np.all(holds):
            return says
    for says, holds in (("at every t but 1", t > 1), ("at every t but T", t < T)):
        if np.all(wrong == holds):
            return says
    first = int(np.min(t[wrong]))
    if np.all(t[wrong] == first) and np.all(wrong == (t == first)):
        return f"at t = {first} only"
    if first > 2 and np.all(wrong[t >= first]):
        return f"from t = {first} on"
    last = int(np.max(t[wrong]))
    return f"up to t = {last}" if np.all(wrong[t <= last]) else ""


def _steps_of(inputs: Inputs, rows: Array) -> Iterator[tuple[Array, int]]:
    """The t of every row, and T; of a table, which has a row for every t, those."""
    T = inputs.get("T", len(inputs.get("beta", ())) - 1)
    if "beta" in inputs and np.shape(inputs.get("t", 0)) == rows.shape:
        yield inputs["t"], T
    elif "t" not in inputs and rows.shape == (T,):
        yield np.arange(1, T + 1), T


def _range_text(found: list[tuple[Failure, Array]]) -> str:
    """Whether it is wrong in those rows alone in which an argument that is one number is large, or small."""
    names = dict.fromkeys(name for failure, _ in found for name, value in failure.inputs.items() if isinstance(value, np.ndarray))
    for name in names:
        values = [(np.ravel(np.asarray(failure.inputs.get(name, 0))), rows) for failure, rows in found]
        if all(value.dtype.kind == "f" and value.shape == rows.shape for value, rows in values):
            value, wrong = (np.concatenate(parts) for parts in zip(*values))
            if min(np.sum(wrong), np.sum(~wrong)) < ENOUGH:
                return ""
            if np.max(value[wrong]) < (least := np.min(value[~wrong])):
                return f"where {name} is below {least:.4g}"
            if np.min(value[wrong]) > (largest := np.max(value[~wrong])):
                return f"where {name} is above {largest:.4g}"
    return ""


def _single_step_text(failures: list[Failure]) -> str:
    """Whether it is wrong where there is one step, and nowhere else."""
    steps = [(failure.inputs.get("T", len(failure.inputs.get("beta", ())) - 1), any(np.any(part.wrong) for part in failure.parts))
             for failure in failures]
    only = all(wrong == (T == 1) for T, wrong in steps) and any(wrong for _, wrong in steps)
    return "at T = 1 only" if only and len(steps) > 1 else ""


def _components_text(failures: list[Failure]) -> str:
    firsts = set()
    for failure in failures:
        for part in failure.parts:
            if part.wrong.ndim > 1 and np.any(part.wrong):
                columns = np.any(part.wrong, axis=tuple(range(part.wrong.ndim - 1)))
                first = int(np.argmax(columns))
                firsts.add(first if first and np.all(columns[first:]) else 0)
    first = min(firsts, default=0)
    return f"from the {_ORDINALS[first]} component (or channel) on" if 0 < first < len(_ORDINALS) else ""


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
