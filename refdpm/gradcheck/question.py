"""One function with its gradient in one form, asked leaf by leaf; and the derivative of the function by the better method."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple
import inspect
import warnings

import numpy as np

from refdpm.gradcheck import forms
from refdpm.gradcheck.derivative import SAFETY, UNIT, differences, directional, discrepancy, norm, scale_of, vector
from refdpm.vjp import Array

OWN = 2015                # in front of every seed: a cotangent is not what somebody has drawn with the same seed
COTANGENT, DIRECTION, STEP, DIGITS = range(1, 5)       # what is drawn, each from a stream of its own
LEAST = 32.0              # a gap of so many units is rounding
SLACK = 1e3               # units by which the complex step may always differ from the differences that confirm it
JITTERS = 6               # arguments with other last digits
COMPLEX, DIFFERENCES = "complex step", "differences"


class Answer(NamedTuple):
    """What came for one cotangent, leaf by leaf."""

    value: tuple[Any, ...]
    cotangent: tuple[Any, ...]
    gradients: list[Any]
    changed: set[int]                                      # the leaves of the arguments that the call has changed


class Question:
    """A function and its gradient in one form, with arguments and values as lists of leaves."""

    def __init__(self, f: Callable[..., Any], gradient: Callable[..., Any], form: forms.Form, arguments: Sequence[Any], seed: int):
        self.f, self.gradient, self.form, self.arguments, self.seed = f, gradient, form, tuple(arguments), seed
        self.tops = _argument_names(f, len(arguments))
        named = [pair for name, argument in zip(self.tops, arguments) for pair in forms.named_leaves(argument, name)]
        self.names, self.leaves = [name for name, _ in named], [leaf for _, leaf in named]
        self.floating = [i for i, leaf in enumerate(self.leaves) if forms.is_floating(leaf)]

    def value(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The leaves of f, its cache left out."""
        answer = self.f(*self.rebuilt_arguments(leaves))
        value = answer[0] if self.form.has_cache else answer
        return tuple(leaf for _, leaf in forms.named_leaves(value, "") if np.asarray(leaf).dtype.kind in "fc")

    def ask(self, leaves: Sequence[Any], probe: int = 0) -> Answer:
        """The gradient for the random cotangent of that number."""
        def draw(value: Any) -> Any:
            return forms.cotangent_like(value, self.rng(COTANGENT, probe))

        given = self.rebuilt_arguments(leaves)
        value, w, came = forms.ask(self.form, self.f, self.gradient, given, draw)
        changed = {i for i, ((_, now), before) in enumerate(zip(forms.named_leaves(given, ""), leaves))
                   if isinstance(before, np.ndarray) and not np.array_equal(now, before)}
        each = forms.per_argument(came, self.arguments, self.tops)
        gradients = [leaf for part, argument in zip(each, self.arguments) for leaf in forms.aligned(part, argument)]
        pairs = [(leaf, d) for (_, leaf), (_, d) in zip(forms.named_leaves(value, ""), forms.named_leaves(w, ""), strict=True)
                 if np.asarray(leaf).dtype.kind in "fc"]
        return Answer(tuple(leaf for leaf, _ in pairs), tuple(d for _, d in pairs), gradients, changed)

    def rng(self, what: int, number: int) -> np.random.Generator:
        """Random numbers for one purpose.  A direction that is also the cotangent would let J pass for Jᵀ."""
        return np.random.default_rng([OWN, self.seed, number, what])

    def rebuilt_arguments(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(forms.copied(forms.rebuilt(self.arguments, iter(leaves))))

    def of_one(self, i: int, leaves: Sequence[Any], x: Any) -> tuple[Any, ...]:
        """The leaves of f where leaf i is x."""
        return self.value([*leaves[:i], x, *leaves[i + 1:]])


def _argument_names(f: Callable[..., Any], count: int) -> list[str]:
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + [f"argument_{i}" for i in range(len(names), count)]


def unit_of(*leaves: Any) -> float:
    """Half the distance from 1 to the next number of the lowest precision."""
    return max([UNIT, *(float(np.finfo(np.asarray(leaf).dtype).eps) / 2 for leaf in leaves if forms.is_floating(leaf))])


class Slope:
    """J v of f with respect to one leaf, by the better method."""

    def __init__(self, question: Question, i: int):
        self.question, self.i = question, i
        self.leaves = _in_double_where_equal(question)
        self.x = np.asarray(self.leaves[i])
        self.unit = unit_of(*question.value(self.leaves))
        v = self.direction(question.rng(STEP, i))
        by_differences, error = self.by_differences(v)
        by_step, says = self._complex_step_and_reason(v)
        self.method, self.why = COMPLEX, ""
        if by_step is not None and not np.all(np.isfinite(by_differences)):
            self.why = "which differences could not confirm"
        elif by_step is not None and not np.isfinite(error):
            self.method, self.why = DIFFERENCES, "f has a kink here"
        elif by_step is None or norm(by_step - by_differences) > SAFETY * error + SLACK * UNIT * norm(by_step):
            self.method, self.why = DIFFERENCES, says
        elif not error <= 1e-6 * norm(by_step) and norm(by_step) > 0:
            self.why = f"which differences confirm only to {error / norm(by_step):.0e}"

    def direction(self, rng: np.random.Generator) -> Array:
        """A random direction, of the size of the entries, so that a small step leaves no domain."""
        return np.asarray(rng.standard_normal(self.x.shape) * self.sizes())

    def sizes(self) -> Array:
        """The size of the steps of differences for every entry."""
        typical = np.sqrt(np.mean(self.x ** 2)) if np.any(self.x) else 1.0
        return np.asarray(np.where(self.x == 0, typical, np.maximum(np.abs(self.x), 1e-2 * typical)))

    def by_step(self, v: Array, leaves: Sequence[Any] | None = None) -> Array:
        """J v by the complex step, at the arguments or at others."""
        leaves = self.leaves if leaves is None else leaves
        f = partial(self.question.of_one, self.i, leaves)
        return vector(directional(f, np.asarray(leaves[self.i])[()], v[()]))

    def by_differences(self, v: Array) -> tuple[Array, float]:
        """J v by differences, and what its error is."""
        centre = self.question.value(self.leaves)

        def f(x: Array) -> tuple[Any, ...]:
            try:
                return self.question.of_one(self.i, self.leaves, np.asarray(x).astype(self.x.dtype)[()])
            except Exception:                                                   # f may refuse what is outside its domain
                return tuple(np.full(np.shape(leaf), np.nan) for leaf in centre)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return differences(f, self.x, v, unit=self.unit)

    def _complex_step_and_reason(self, v: Array) -> tuple[Array | None, str]:
        """J v by the complex step, or None; and the reason if that is not the derivative."""
        shifted = (self.x + 0j)[()]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                values = self.question.of_one(self.i, self.leaves, shifted)
                found = self.by_step(v)
        except np.exceptions.ComplexWarning:
            return None, "f drops the imaginary part of complex numbers"
        except Exception as error:
            return None, f"f takes no complex numbers: {type(error).__name__}"
        if not any(np.iscomplexobj(value) for value in values):
            return found, "f answers complex numbers with real ones"
        return found, "f is not analytic: the complex step gives another derivative"

    def gap(self, answer: Answer, probe: int, unit: float) -> tuple[float, float]:
        """The gap and its tolerance for one cotangent and a direction of its own."""
        rng = self.question.rng(DIRECTION, probe)
        w, jtw = vector(answer.cotangent), np.asarray(answer.gradients[self.i])
        if self.method == COMPLEX:
            v = rng.standard_normal(self.x.shape)
            gap = discrepancy(w, self.by_step(v), jtw, v)
            return abs(gap), (LEAST * unit if abs(gap) <= LEAST * unit else max(LEAST * unit, SAFETY * self._noise(gap, v, probe)))
        v = self.direction(rng)
        jv, error = self.by_differences(v)
        scale = scale_of(w, jv, jtw, v)
        if not np.isfinite(error):
            return abs(discrepancy(w, jv, jtw, v)), np.inf
        own = SAFETY * error * norm(w) / scale if scale > 0 else 0.0
        return abs(discrepancy(w, jv, jtw, v)), LEAST * unit + own

    def _noise(self, gap: float, v: Array, probe: int) -> float:
        """By how much the gap changes when the last digits of the arguments do."""
        rng = self.question.rng(DIGITS, probe)
        changes = []
        for _ in range(JITTERS):
            leaves = [_with_other_last_digits(leaf, rng) for leaf in self.question.leaves]
            answer = self.question.ask(leaves, probe)
            jtw = np.asarray(answer.gradients[self.i])
            precise = [_in_double(leaf) for leaf in leaves] if self.leaves is not self.question.leaves else leaves
            changes.append(abs(discrepancy(vector(answer.cotangent), self.by_step(v, precise), jtw, v) - gap))
        return max(changes)

    def along(self, v: Array) -> Array:
        """J v by the method, as a vector."""
        return self.by_step(v) if self.method == COMPLEX else self.by_differences(v)[0]

    def column(self, where: tuple[int, ...]) -> Array:
        """The derivative of the value with respect to one entry, as a vector."""
        v = np.zeros(self.x.shape)
        v[where] = size = float(self.sizes()[where])
        return self.along(v) / size


def _in_double_where_equal(question: Question) -> list[Any]:
    """The arguments in double precision, where f takes that and computes the same; otherwise as they are."""
    raised = [_in_double(leaf) for leaf in question.leaves]
    try:
        plain, precise = vector(question.value(question.leaves)), vector(question.value(raised))
    except Exception:
        return question.leaves
    unit = unit_of(*(leaf for leaf in question.leaves if forms.is_floating(leaf)))
    return raised if norm(precise - plain) <= SLACK * unit * norm(plain) else question.leaves


def _in_double(leaf: Any) -> Any:
    """A floating-point leaf in double precision; any other as it is."""
    is_numpy = isinstance(leaf, (np.ndarray, np.generic))
    return np.asarray(leaf).astype(np.float64)[()] if is_numpy and forms.is_floating(leaf) else leaf


def _with_other_last_digits(leaf: Any, rng: np.random.Generator) -> Any:
    """A leaf whose entries are changed by up to four units in the last place."""
    if not forms.is_floating(leaf):
        return leaf
    array = np.asarray(leaf)
    return (array * (1 + unit_of(array) * rng.integers(-4, 5, array.shape) * 2)).astype(array.dtype)[()]
