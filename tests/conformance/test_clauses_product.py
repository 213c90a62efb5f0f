"""The clauses of sec. 2.5: right ones pass in both precisions and every convention, every planted mistake is seen and named."""

import numpy as np
import pytest

from refdpm.conformance import gradients
from refdpm.conformance.adapter import Local
from refdpm.conformance.chapters import gaussian, product as family
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.inference import infer
from refdpm.conformance.judge import Effort, judge
from refdpm.conformance.mistakes import MISTAKES
from refdpm.conformance.naming import touched
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import Subject
from tests.conformance.explained import explains

QUANTITIES = (gaussian.ALPHA_BAR, *family.QUANTITIES)
NAMES = frozenset(function.name for function in QUANTITIES) | {"vjp"}
EFFORT, QUICK = Effort(max_examples=6, shrinks=5, power=False), Effort(max_examples=4, shrinks=0, power=False)
UNSEEN = {"NEW-P-UNKNOWN": "reads what is not known, and uses none of it unless it is no number"}


# -- this package's own ------------------------------------------------------------------------------------------------

def planted():
    """(function, mistake): every mistake of the product that the clause or its adjoint calls; and RePaint's."""
    for function in family.QUANTITIES:
        inputs = function.edges(Given())[0]
        cotangents = tuple(np.ones(np.shape(value)) for value in function.reference(inputs))
        called = touched(lambda i: function.reference(i), inputs)
        adjoint = touched(lambda i: function.gradients(i, cotangents), inputs) if function.arguments else []
        for mistake in [m for m in called if m.kind == "value"] + [m for m in adjoint if m.kind == "gradient"]:
            if mistake.target.startswith("product.") and mistake.id not in UNSEEN or mistake.id == "CON-04":
                yield pytest.param(function, mistake, id=f"{function.name}-{mistake.id}")


CASES = list(planted())


@pytest.mark.parametrize("function,mistake", CASES)
def test_a_planted_mistake_is_seen_and_named(function, mistake):
    subject = Subject(Reference("float32", mistake, functions=QUANTITIES), QUANTITIES)
    found = (gradients.judge if mistake.kind == "gradient" else judge)(subject, function, QUICK)
    failed = [result for result in found if result.verdict != "pass"]
    assert failed and all(explains(result, mistake) for result in failed), found


def test_every_mistake_in_one_law_times_r_is_planted_above():
    tried, functions = {case.values[1].id for case in CASES}, ("times_gaussian", "times_bernoulli", "perturbed", "times", "known")
    assert {m.id for m in MISTAKES if m.target.removesuffix("_vjp") in [f"product.{f}" for f in functions]} - tried == set(UNSEEN)


# -- somebody else's ---------------------------------------------------------------------------------------------------

class Textbook:
    """Bayes' rule as printed, in one precision; `spread` and `bits` as asked for."""

    def __init__(self, dtype="float32", spread="variance", bits="probability", first_t=1):
        self.dtype, self.spread, self.bits, self.first_t = dtype, spread, bits, first_t

    def alpha_bar(self, beta):
        return np.cumprod(1 - beta)

    def _variance(self, given):
        return {"variance": lambda v: v, "log_variance": np.exp, "deviation": np.square}[self.spread](given)

    def times_gaussian(self, mean, var, mean_r, var_r):
        new_mean, new_var = self._product(mean, var, mean_r, var_r)
        return new_mean, {"variance": lambda v: v, "log_variance": np.log, "deviation": np.sqrt}[self.spread](new_var)

    def _product(self, mean, var, mean_r, var_r):
        one, other = 1 / self._variance(var), 1 / self._variance(var_r)
        return (one * mean + other * mean_r) / (one + other), 1 / (one + other)

    def times_bits(self, p, r):
        if self.bits == "logit":
            return p + r
        return p * r / (p * r + (1 - p) * (1 - r))

    def guided_mean(self, mean, var, gradient):
        return mean + self._variance(var) * gradient

    def conditioned_step(self, mean, var, mean_r, var_r, noise):
        new_mean, new_var = self._product(mean, var, mean_r, var_r)
        return new_mean + np.sqrt(new_var) * noise

    def keep_known(self, x, y, mask):
        return mask * y + (1 - mask) * x

    def noised_known(self, y, t, noise, beta):
        alpha_bar = self.alpha_bar(beta)[t - self.first_t].reshape(-1, *(1,) * (y.ndim - 1))
        return np.sqrt(alpha_bar) * y + np.sqrt(1 - alpha_bar) * noise

    def inpaint_step(self, x_prev, y, t, noise, mask, beta):
        before = np.append(1, self.alpha_bar(beta))[t - self.first_t].reshape(-1, *(1,) * (y.ndim - 1)).astype(self.dtype)
        return np.where(mask, np.sqrt(before) * y + np.sqrt(1 - before) * noise, x_prev)

    def vjp(self, name, args, cotangent):
        """Number by number, by the complex step."""
        cotangents = [c.astype(np.float64) for c in (cotangent if isinstance(cotangent, tuple) else (cotangent,))]
        wide = {key: value.astype(np.float64) if value.dtype.kind == "f" else value for key, value in args.items()}
        function, found = getattr(self, name), {}
        for key in [key for key, value in wide.items() if value.dtype.kind == "f"]:
            found[key] = np.zeros(wide[key].shape)
            for at in np.ndindex(wide[key].shape):
                moved = wide[key].astype(complex)
                moved[at] += 1e-30j
                value = function(**(wide | {key: moved}))
                parts = value if isinstance(value, tuple) else (value,)
                found[key][at] = sum(np.sum(np.imag(part) / 1e-30 * c) for part, c in zip(parts, cotangents, strict=True))
        return {key: value.astype(self.dtype) for key, value in found.items()}


CONVENTIONS = [dict(), dict(spread="log_variance", bits="logit", first_t=0), dict(spread="deviation")]


@pytest.mark.parametrize("conventions", CONVENTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_textbook_passes(dtype, conventions):
    subject = Subject(Local(Textbook(dtype, **conventions), names=NAMES), QUANTITIES)
    subject.profile, known = infer(subject, {})
    assert conventions.items() <= subject.profile.stated().items()
    assert [known[name] for name in ("spread", "bits", "first_t")] == ["inferred"] * 3
    found = [result for function in family.QUANTITIES for result in judge(subject, function, EFFORT)]
    assert {result.verdict for result in found} == {"pass"}, [result for result in found if result.verdict != "pass"]


@pytest.mark.parametrize("conventions", CONVENTIONS, ids=str)
@pytest.mark.parametrize("name", [function.name for function in family.QUANTITIES if function.arguments])
def test_its_gradients_pass(name, conventions):
    subject = Subject(Local(Textbook("float64", **conventions), names=NAMES), QUANTITIES)
    subject.profile, _ = infer(subject, {})
    found = gradients.judge(subject, subject.functions[name], QUICK)
    assert {result.verdict for result in found} == {"pass"}, found


def test_what_is_known_is_kept_to_the_last_bit():
    class Nearly(Textbook):
        def keep_known(self, x, y, mask):
            return np.where(mask, x + (y - x), x)

    subject = Subject(Local(Nearly("float32"), names=NAMES), QUANTITIES)
    result, = judge(subject, subject.functions["keep_known"], EFFORT)
    assert result.verdict in ("inaccurate", "wrong")                 # as small as the drawn y are


def test_the_level_before_is_the_one_of_x_prev():
    """What is known put in at the noise of t, where x_{t−1} has that of t − 1."""
    class Late(Textbook):
        def inpaint_step(self, x_prev, y, t, noise, mask, beta):
            return np.where(mask, self.noised_known(y, t, noise, beta), x_prev)

    subject = Subject(Local(Late(), names=NAMES), QUANTITIES)
    assert judge(subject, subject.functions["inpaint_step"], QUICK)[0].verdict == "wrong"
    assert judge(subject, subject.functions["noised_known"], QUICK)[0].verdict == "pass"
