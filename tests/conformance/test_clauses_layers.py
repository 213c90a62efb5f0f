"""The clauses of layers: right ones pass in both precisions and layouts, every planted mistake is seen and named."""

import numpy as np
import pytest
from scipy import special

from refdpm.conformance import gradients
from refdpm.conformance.adapter import Local
from refdpm.conformance.chapters import in_chapters
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.inference import infer
from refdpm.conformance.judge import Effort, judge
from refdpm.conformance.mistakes import MISTAKES
from refdpm.conformance.naming import touched
from refdpm.conformance.profile import Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import Subject
from refdpm.layers.embedding import ORDERS, SPACINGS
from tests.conformance.explained import explains

QUANTITIES = tuple(in_chapters(Quantity, "layers"))
NAMES = frozenset(function.name for function in QUANTITIES) | {"vjp"}
EFFORT, QUICK = Effort(max_examples=6, shrinks=5, power=False), Effort(max_examples=2, shrinks=0, power=False)
PROFILES = {basis: Profile(basis=basis) for basis in ("paper", "released")}
UNSEEN = {"NEW-IN-PLACE": "overwrites what it is given, and is right otherwise: purity's business",
          "NEW-N-SQUARES": "what PyTorch does, and as good as long as the mean is not many times the deviation"}
UNSEEN_IN = {"temporal_basis": {"NEW-N-FAR"},                  # some bump is always near t, so that its sum needs no shift
             "strided_conv2d": {"NEW-I-REFLECT", "NEW-I-EDGE", "NEW-I-WRAP", "NEW-I-STRIP"},     # its image has a frame
             "layer_norm": {"LAY-07", "LAY-07b", "NEW-N-DEAL", "NEW-N-DLAYOUT"}}                 # it has one group
OF_OTHER_BASIS = {"paper": {"NEW-I-WHOLE", "NEW-I-OPEN"}, "released": {"NEW-I-HALF", "NEW-I-ENDS", "NEW-I-ZERO"}}


@pytest.mark.parametrize("name,choices", [
    ("gelu", {"gelu": "tanh"}), *(("sinusoidal", {"time_order": order, "frequencies": spacing})
                                  for order in ORDERS for spacing in SPACINGS)])
def test_every_choice_passes_and_is_inferred(name, choices):
    function, profile = next(one for one in QUANTITIES if one.name == name), Profile(**choices)
    subject = Subject(Reference("float32", functions=(function,), profile=profile), QUANTITIES)
    subject.profile, known = infer(subject, {})
    assert {field: getattr(subject.profile, field) for field in choices} == choices
    assert {known[field] for field in choices} == {"inferred"}
    assert {result.verdict for result in judge(subject, function, EFFORT)} == {"pass"}


def planted():
    """(function, mistake, basis): every mistake in a function that the clause or its adjoint calls."""
    for function in QUANTITIES:
        for basis in PROFILES if "basis" in function.choices else ("paper",):
            inputs = function.edges(Given())[0] | {name: getattr(PROFILES[basis], name) for name in function.choices}
            cotangents = tuple(np.ones(np.shape(value)) for value in function.reference(inputs))
            called = touched(lambda i: function.reference(i), inputs)
            adjoint = touched(lambda i: function.gradients(i, cotangents), inputs) if function.arguments else []
            for mistake in [m for m in called if m.kind != "gradient"] + [m for m in adjoint if m.kind == "gradient"]:
                unseen = {*UNSEEN, *OF_OTHER_BASIS[basis], *UNSEEN_IN.get(function.name, ())}
                if mistake.target.startswith(("layers.", "activation.")) and mistake.id not in unseen:
                    yield pytest.param(function, mistake, basis, id=f"{function.name}-{basis}-{mistake.id}")


CASES = list(planted())


@pytest.mark.parametrize("function,mistake,basis", CASES)
def test_a_planted_mistake_is_seen_and_named(function, mistake, basis):
    """In single precision; lost digits, which another precision loses otherwise, in double precision."""
    dtype = "float64" if mistake.kind == "accuracy" else "float32"
    subject = Subject(Reference(dtype, mistake, functions=QUANTITIES, profile=PROFILES[basis]), QUANTITIES, PROFILES[basis])
    found = (gradients.judge if mistake.kind == "gradient" else judge)(subject, function, QUICK)
    failed = [result for result in found if result.verdict != "pass"]
    assert failed and all(explains(result, mistake) for result in failed), found


def test_every_mistake_in_a_layer_that_has_a_clause_is_planted_above():
    tried = {case.values[1].id for case in CASES}
    modules = ("activation", "linear", "conv", "pool", "rbf", "norm", "temporal", "attention", "embedding")
    functions = {f"layers.{module}.{function.name}" for module in modules for function in QUANTITIES}
    functions |= {f"activation.{function.name}" for function in QUANTITIES} | {"layers.temporal.bumps"}
    assert {m.id for m in MISTAKES if m.target.removesuffix("_vjp") in functions} - tried == set(UNSEEN)


# -- somebody else's ---------------------------------------------------------------------------------------------------

class Textbook:
    """Loops and printed formulas in one precision; gradients by the complex step in double precision."""

    def __init__(self, dtype="float32", layout="channels_last", basis="paper"):
        self.dtype, self.channels_first, self.basis = dtype, layout == "channels_first", basis

    def linear(self, x, weight, bias):
        return x @ weight + bias

    def conv2d(self, image, kernel, bias):
        if not self.channels_first:
            return self._conv2d(image, kernel, bias)
        y = self._conv2d(np.moveaxis(image, 1, -1), np.transpose(kernel, (2, 3, 1, 0)), bias)
        return np.moveaxis(y, -1, 1)

    @staticmethod
    def _conv2d(image, kernel, bias):
        (_, H, W, _), sides = image.shape, kernel.shape[:2]
        framed = np.pad(image, ((0, 0), *(((side - 1) // 2, side // 2) for side in sides), (0, 0)))
        return sum(framed[:, i:i + H, j:j + W] @ kernel[i, j] for i, j in np.ndindex(sides)) + bias

    def mean_pool(self, image, factor):
        for axis in (2, 3) if self.channels_first else (1, 2):
            shape = image.shape[:axis] + (image.shape[axis] // factor, factor) + image.shape[axis + 1:]
            image = image.reshape(shape).mean(axis=axis + 1)
        return image

    def upsample(self, image, factor):
        axis = 2 if self.channels_first else 1
        return image.repeat(factor, axis=axis).repeat(factor, axis=axis + 1)

    def softplus(self, x):
        if np.iscomplexobj(x):
            return np.where(x.real > 0, x, 0) + np.log(1 + np.exp(np.where(x.real > 0, -x, x)))
        return np.logaddexp(x, np.zeros_like(x))

    def sigmoid(self, x):
        z = np.exp(np.where(np.real(x) > 0, -x, x))
        return np.where(np.real(x) > 0, 1, z) / (1 + z)

    def tanh(self, x):
        return np.tanh(x)

    def leaky_relu(self, x, slope):
        return np.where(np.real(x) > 0, x, slope * x)

    def log_softmax(self, x):
        below = x - np.max(np.real(x), axis=-1, keepdims=True)
        return below - np.log(np.exp(below).sum(axis=-1, keepdims=True))

    def softmax(self, x):
        e = np.exp(x - np.real(x).max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def rbf(self, x, centre, log_width):
        squared = ((x[:, None] - centre) ** 2).sum(axis=-1)
        return self.softmax(-squared / (2 * np.exp(log_width) ** 2))

    def group_norm(self, image, scale, shift, groups, epsilon):
        x = image if self.channels_first else np.moveaxis(image, -1, 1)
        rows = x.reshape(len(x), groups, -1)
        mean = rows.mean(axis=-1, keepdims=True)
        var = ((rows - mean) ** 2).mean(axis=-1, keepdims=True)
        z = ((rows - mean) / np.sqrt(var + x.dtype.type(epsilon))).reshape(x.shape)
        y = z * scale.reshape(-1, 1, 1) + shift.reshape(-1, 1, 1)
        return y if self.channels_first else np.moveaxis(y, 1, -1)

    def layer_norm(self, x, scale, shift, epsilon):
        offset = x - x.mean(axis=-1, keepdims=True)
        return offset / np.sqrt((offset ** 2).mean(axis=-1, keepdims=True) + x.dtype.type(epsilon)) * scale + shift

    def rms_norm(self, x, scale, epsilon):
        return x / np.sqrt((x * x).sum(axis=-1, keepdims=True) / x.shape[-1] + x.dtype.type(epsilon)) * scale

    def silu(self, x):
        return x * self.sigmoid(x)

    def gelu(self, x):
        return x * (1 + special.erf(x / 2 ** 0.5)) / 2

    def dropout(self, x, keep, rate):
        return x * keep / (1 - x.dtype.type(rate))

    def attention(self, query, key, value):
        return np.einsum("nlm,nme->nle", self.softmax(np.einsum("nld,nmd->nlm", query, key) / query.shape[-1] ** 0.5), value)

    def strided_conv2d(self, image, kernel, bias, stride, padding):
        if self.channels_first:
            y = self._strided(np.moveaxis(image, 1, -1), np.transpose(kernel, (2, 3, 1, 0)), bias, stride, padding)
            return np.moveaxis(y, -1, 1)
        return self._strided(image, kernel, bias, stride, padding)

    @staticmethod
    def _strided(image, kernel, bias, stride, padding):
        framed = np.pad(image, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
        seen = np.lib.stride_tricks.sliding_window_view(framed, kernel.shape[:2], axis=(1, 2))[:, ::stride, ::stride]
        return np.einsum("nhwcij,ijck->nhwk", seen, kernel) + bias

    def sinusoidal(self, time, width):
        one, half = np.dtype(self.dtype).type, width // 2
        angle = time[:, None] * one(10000) ** (-np.arange(half).astype(self.dtype) / half)
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)

    def temporal_basis(self, t, T, count):
        one = np.dtype(self.dtype).type
        centres, width = T * (np.arange(count) + one(0.5)) / count, T / count
        if self.basis == "released":
            centres, width = np.linspace(1, T, count), (T - 1) / max(count - 1, 1) / 2
        heights = np.exp(-((t[:, None] - centres.astype(one)) / one(width)) ** 2 / 2)
        return heights / heights.sum(axis=1, keepdims=True)

    def vjp(self, name, args, cotangent):
        """Number by number."""
        wide = {key: value.astype(np.float64) if hasattr(value, "astype") else value for key, value in args.items()}
        function, found = getattr(self, name), {}
        for key in [key for key, value in args.items() if isinstance(value, np.ndarray)]:
            found[key] = np.zeros(wide[key].shape)
            for at in np.ndindex(wide[key].shape):
                moved = wide[key].astype(complex)
                moved[at] += 1e-30j
                value = np.imag(function(**(wide | {key: moved}))) / 1e-30
                found[key][at] = np.sum(value * cotangent.astype(np.float64))
        return {key: value.astype(self.dtype) for key, value in found.items()}


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_textbook_passes(dtype, layout):
    basis = "released" if layout == "channels_first" else "paper"
    subject = Subject(Local(Textbook(dtype, layout, basis), names=NAMES), QUANTITIES)
    subject.profile, known = infer(subject, {})
    assert (subject.profile.layout, subject.profile.basis) == (layout, basis) and known["layout"] == known["basis"] == "inferred"
    found = [result for function in QUANTITIES for result in judge(subject, function, EFFORT)]
    assert {result.verdict for result in found} == {"pass"}, [result for result in found if result.verdict != "pass"]


@pytest.mark.parametrize("name", [function.name for function in QUANTITIES if function.arguments])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_its_gradients_pass(name, layout):
    subject = Subject(Local(Textbook("float64", layout), names=NAMES), QUANTITIES, Profile(layout=layout))
    found = gradients.judge(subject, subject.functions[name], QUICK)
    assert {result.verdict for result in found} == {"pass"}, found


def test_a_biased_variance_is_right():
    """FA-04: group normalisation divides by the number; who divides by one less is told so."""
    class Unbiased(Textbook):
        def group_norm(self, image, scale, shift, groups, epsilon):
            x = np.moveaxis(image, -1, 1)
            rows = x.reshape(len(x), groups, -1)
            var = rows.var(axis=-1, ddof=1, keepdims=True) + x.dtype.type(epsilon)
            z = (rows - rows.mean(axis=-1, keepdims=True)) / np.sqrt(var)
            return np.moveaxis(z.reshape(x.shape) * scale.reshape(-1, 1, 1) + shift.reshape(-1, 1, 1), 1, -1)

    subject = Subject(Local(Unbiased(), names=NAMES), QUANTITIES)
    result, = judge(subject, subject.functions["group_norm"], EFFORT)
    assert result.verdict == "wrong" and result.mistake == "NEW-N-UNBIASED"


def test_unstable_ones_are_seen():
    """log(1 + eˣ) and eˣ/(1 + eˣ) as printed, softmax without its shift."""
    class Printed(Textbook):
        def softplus(self, x):
            return np.log(1 + np.exp(x))

        def sigmoid(self, x):
            return np.exp(x) / (1 + np.exp(x))

        def softmax(self, x):
            return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)

    subject = Subject(Local(Printed(), names=NAMES), QUANTITIES)
    with np.errstate(all="ignore"):
        found = {name: judge(subject, subject.functions[name], EFFORT)[0] for name in ("softplus", "sigmoid", "softmax")}
    assert {result.verdict for result in found.values()} == {"wrong"}
    assert [found[name].mistake for name in found] == ["NEW-SOFTPLUS", "NEW-SIGMOID", "NEW-N-FAR"]
