"""Gradients of an adapter: what its hook refuses, leaves out or answers with None, and the words for a wrong derivative."""

from types import SimpleNamespace

import numpy as np
import pytest

from refdpm.conformance import gradients
from refdpm.conformance.adapter import Local
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.judge import Effort
from refdpm.conformance.profile import Profile
from refdpm.conformance.session import check
from refdpm.conformance.subject import Subject
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import given
from refdpm.textbook.layers import softmax
from refdpm.textbook.slope import named_cotangents, slopes

NAMES = frozenset(quantity.name for quantity in QUANTITIES) | {"vjp"}


class Divergence:
    """The divergence of two normal laws with its four gradients."""

    def kl(self, mean_q, var_q, mean_p, var_p):
        return (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1) / 2

    def vjp(self, name, args, cotangent):
        q, v, p, w = (args[key] for key in ("mean_q", "var_q", "mean_p", "var_p"))
        r = (q - p) / w
        return {"mean_q": r * cotangent, "mean_p": -r * cotangent, "var_q": (1 / w - 1 / v) / 2 * cotangent,
                "var_p": (1 / w - v / w ** 2 - r * r) / 2 * cotangent}


def verdicts(change):
    """The verdicts on the gradients of the divergence, by argument; `change` makes another answer of the hook's right one."""
    class Changed(Divergence):
        calls = 0

        def vjp(self, name, args, cotangent):
            self.calls += 1
            return change(super().vjp(name, args, cotangent), self.calls, args)

    subject = Subject(Local(Changed(), names=NAMES), QUANTITIES)
    found = gradients.judge(subject, subject.functions["kl"], Effort(max_examples=3, power=False))
    return {result.id.rpartition(".")[2].lower(): result for result in found}


# -- the right ones are those of the values ------------------------------------------------------------------------------

CHOSEN = Profile(predicts="v", weight_of="v", variance="ranged", readout="denoising")


def parameter(inputs, argument):
    """What the gradient is with respect to; of β without β_0, which is 0."""
    if argument in ("weight", "bias") and "model" in inputs:
        return getattr(inputs["model"], argument)
    return inputs[argument][1:] if argument == "beta" else inputs[argument]


def moved(inputs, argument, by):
    if argument in ("weight", "bias") and "model" in inputs:
        return inputs | {"model": inputs["model"]._replace(**{argument: parameter(inputs, argument) + by})}
    return inputs | {argument: inputs[argument] + (np.append(0.0, by) if argument == "beta" else by)}


# a gradient goes through one part of LOSS.HYBRID and not through the other, as its writers want it: test_loss
@pytest.mark.parametrize("quantity, argument", [
    pytest.param(quantity, argument, id=f"{quantity.name}-{argument}") for quantity in QUANTITIES if quantity.id != "LOSS.HYBRID"
    for argument in quantity.arguments if argument != "output"])
def test_gradient_by_differences(quantity, argument):
    """Along a random direction that leaves no domain; heads that are not read have no entries."""
    rng, looked = np.random.default_rng(0), 0
    for drawn in quantity.edges(Given())[:4]:
        inputs = drawn | {choice: getattr(CHOSEN, choice) for choice in quantity.choices}
        cotangents = tuple(rng.standard_normal(np.shape(value)) for value in quantity.reference(inputs))
        with np.errstate(all="ignore"):
            gradient = quantity.gradients(inputs, cotangents)[argument]
        if np.all(np.isfinite(gradient)):
            at = np.asarray(parameter(inputs, argument))
            room = at * (1 - at) if argument in ("beta", "p", "q") else np.minimum(1, at) if np.min(at) > 0 else 1 + 0 * at
            slots = tuple(slice(size) for size in np.shape(gradient))
            direction = np.zeros(np.shape(at))
            direction[slots] = (rng.standard_normal(np.shape(at)) * room)[slots]
            below, above = (quantity.reference(moved(inputs, argument, h * direction)) for h in (-1e-6, 1e-6))
            slope = sum(np.sum(c * (b - a)) for c, a, b in zip(cotangents, below, above)) / 2e-6
            size = np.sum(np.abs(gradient * direction[slots])) + sum(np.sum(np.abs(c * v)) for c, v in zip(cotangents, above))
            assert abs(np.sum(gradient * direction[slots]) - slope) < 1e-6 * size + 1e-9
            looked += 1
    assert looked


# -- theirs --------------------------------------------------------------------------------------------------------------

def test_right_gradients_pass():
    assert {result.verdict for result in verdicts(lambda found, calls, args: found).values()} == {"pass"}


def test_what_is_refused_is_not_checked_and_the_place_is_said():
    def refuse(found, calls, args):
        raise RuntimeError("no gradient today")

    found = verdicts(refuse)
    assert {result.verdict for result in found.values()} == {"not checked"}
    assert all("RuntimeError: no gradient today (test_clauses_gradients.py, line" in result.reason for result in found.values())


@pytest.mark.parametrize("kind", [RuntimeError, NotImplementedError])
def test_a_refused_input_says_nothing_about_the_others(kind):
    def refuse_the_first(found, calls, args):
        if calls == 1:
            raise kind("not this one")
        return found

    def wrong_after_the_first(found, calls, args):
        return refuse_the_first(found, calls, args) | {"mean_q": 2 * found["mean_q"]}

    assert {result.verdict for result in verdicts(refuse_the_first).values()} == {"pass"}
    assert verdicts(wrong_after_the_first)["mean_q"].verdict == "wrong"


def test_what_is_left_out_is_skipped_and_none_is_zero():
    found = verdicts(lambda found, calls, args: {"mean_q": found["mean_q"], "var_p": None})
    assert [found[name].verdict for name in ("mean_q", "mean_p", "var_q", "var_p")] == ["pass", "skipped", "skipped", "wrong"]
    assert found["var_p"].mistake and "var_q" in found["var_q"].reason


def test_a_gradient_of_another_shape_is_a_verdict_on_its_own_argument():
    found = verdicts(lambda found, calls, args: found | {"var_q": np.ones((2, 3, 5))})
    assert found["var_q"].verdict == "wrong" and "(2, 3, 5)" in found["var_q"].reason
    assert {found[name].verdict for name in ("mean_q", "mean_p", "var_p")} == {"pass"}


class Symbols:
    """The reverse step of symbols, drawn afresh from a law; it answers with log-probabilities, or with them up to a constant."""

    def __init__(self, shift):
        self.shift = shift

    def _parts(self, logits, law, x_t, t, beta, **_):
        rate, kept = (table[t - 1][:, None, None] for table in (beta, np.append(1.0, np.cumprod(1 - beta))))
        guess = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
        before = kept * guess + (1 - kept) * law
        joint = before * ((1 - rate) * np.eye(len(law))[x_t] + rate * law[x_t][..., None])
        return guess, before, kept, joint / joint.sum(axis=-1, keepdims=True)

    def categorical_reverse(self, logits, law, x_t, t, beta):
        return np.log(self._parts(logits, law, x_t, t, beta)[-1]) + self.shift

    def vjp(self, name, args, cotangent):
        guess, before, kept, p = self._parts(**args)
        step = (cotangent - p * cotangent.sum(axis=-1, keepdims=True)) * kept / before
        return {"logits": guess * (step - (step * guess).sum(axis=-1, keepdims=True))}


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_gradient_of_log_probabilities_is_that_of_what_is_made_of_them(shift):
    report = check(Symbols(shift), only=("CAT.REVERSE", "GRAD.CAT.REVERSE"), effort=Effort(max_examples=3, power=False))
    assert {row["id"]: row["verdict"] for row in report["clauses"]} == {
        "CAT.REVERSE.PROB": "pass", "GRAD.CAT.REVERSE.LOGITS": "pass", "GRAD.CAT.REVERSE.BETA": "skipped"}


class Ranged:
    """A training loss of noise, of a network that has heads for a learned range besides; the loss does not read them."""

    def __init__(self, heads):
        self.heads = heads

    def reverse(self, model, x_t, t, beta):
        kept = np.cumprod(1 - beta)
        before = np.append(1.0, kept[:-1])
        least = beta * (1 - before) / (1 - kept)
        least[0] = least[1] if len(least) > 1 else beta[0]
        noise, head = np.split(model(x_t, t), 2, axis=-1)
        rate, all_kept, least = (table[t - 1].reshape(-1, *[1] * (x_t.ndim - 1)) for table in (beta, kept, least))
        share = (head + 1) / 2
        return ((x_t - rate / np.sqrt(1 - all_kept) * noise) / np.sqrt(1 - rate),
                np.exp(share * np.log(rate) + (1 - share) * np.log(least)))

    def _at(self, x_0, t, noise, model, beta, **_):
        kept = np.cumprod(1 - beta)[t - 1].reshape(-1, *[1] * (x_0.ndim - 1))
        x_t = np.sqrt(kept) * x_0 + np.sqrt(1 - kept) * noise
        return x_t, model(x_t, t)[..., :x_0.shape[-1]] - noise

    def training_loss(self, x_0, t, noise, model, beta):
        return np.mean(self._at(x_0, t, noise, model, beta)[1] ** 2)

    def vjp(self, name, args, cotangent):
        x_t, error = self._at(**args)
        weight, bias = np.zeros_like(args["model"].weight), np.zeros_like(args["model"].bias)
        for row, step in enumerate(args["t"]):
            slope = 2 * error[row] / error.size * cotangent
            weight[step, :, :len(slope)] += np.outer(x_t[row], slope)
            bias[step, :len(slope)] += slope
            weight[step, :, len(slope):] += self.heads
        return {"weight": weight, "bias": bias}


@pytest.mark.parametrize("heads, verdict", [(0.0, "pass"), (1.0, "wrong")])
def test_heads_that_a_loss_does_not_read_have_no_gradient(heads, verdict):
    report = check(Ranged(heads), only=("REV", "LOSS", "GRAD.LOSS.WEIGHT"), effort=Effort(max_examples=3, power=False))
    assert {row["id"]: row["verdict"] for row in report["clauses"]}["GRAD.LOSS.WEIGHT"] == verdict


def test_one_slip_in_the_derivative_is_described():
    found = verdicts(lambda found, calls, args: found | {"mean_q": found["mean_q"] * args["var_p"]})
    assert found["mean_q"].verdict == "wrong" and found["mean_q"].mistake.startswith("in the derivative, divisor left out")
    found = verdicts(lambda found, calls, args: found | {"var_q": found["var_q"] * 2 + 1 / args["var_p"]})
    assert found["var_q"].mistake is None


def test_the_sum_in_the_derivative_of_softmax_has_words_of_its_own():
    x = given("x")
    slope, = slopes([softmax(x)], named_cotangents(1)).values()
    says = [edit.says for edit in edits(slope) if "the sum over classes is left out" in edit.says]
    assert says and all("cotangent" in one for one in says)


@pytest.mark.parametrize("change,says", [
    (lambda d, c: d + 0.3 * c, "the term 0.3 times dvalue is one too many, or has a wrong factor"),
    (lambda d, c: 0.3 * d + 0.4 * np.sin(d), None),
    (lambda d, c: np.sort(d, axis=None).reshape(d.shape), "the numbers are right, but in another order"),
])
def test_what_no_edit_explains_is_told_as_by_the_adjoint_test(change, says):
    def tanh_vjp(name, args, cotangent):
        return {"x": change((1 - np.tanh(args["x"]) ** 2) * cotangent, cotangent)}

    report = check(SimpleNamespace(tanh=lambda x: np.tanh(x), vjp=tanh_vjp), only="GRAD.LAY.TANH", effort=Effort(max_examples=3))
    row, = (row for row in report["clauses"] if row["verdict"] != "skipped")
    assert row["verdict"] == "wrong" and row["mistake"] == says


@pytest.mark.parametrize("name", ["eps", "epsilon"])
def test_epsilon_goes_by_two_names_and_may_be_built_in(name):
    def normed(x, scale, epsilon=1e-5):
        return x / np.sqrt((x ** 2).mean(axis=-1, keepdims=True) + epsilon) * scale

    asking = {"eps": lambda x, scale, eps: normed(x, scale, eps), "epsilon": normed}[name]
    for adapter in (SimpleNamespace(rms_norm=asking), SimpleNamespace(rms_norm=lambda x, scale: normed(x, scale))):
        assert check(adapter, only="LAY.RMSNORM", effort=Effort(max_examples=3))["summary"]["pass"] == 1


class ByMatrices:
    """The reverse step of D3PM by the whole matrix, and back through it as automatic differentiation goes."""

    def kept(self, t, beta, classes):
        return np.append(1.0, np.cumprod(1 - beta[1:] if beta[0] == 0 else 1 - beta))[t][:, None, None]

    def forward(self, logits, x_t, t, beta, classes):
        said = np.exp(logits - logits.max(-1, keepdims=True))
        said /= said.sum(-1, keepdims=True)
        before, now = (self.kept(at, beta, classes) for at in (t - 1, t))
        matrix = before * np.eye(classes) + (1 - before) / classes
        stays = now / before
        seen = stays * np.eye(classes)[x_t] + (1 - stays) / classes
        joint = seen * np.einsum("ndk,nkj->ndj", said, matrix)
        return said, matrix, seen, joint.sum(-1, keepdims=True), joint / joint.sum(-1, keepdims=True)

    def categorical_reverse(self, logits, x_t, t, beta, classes):
        return self.forward(logits, x_t, t, beta, classes)[-1]

    def vjp(self, name, args, cotangent):
        if name != "categorical_reverse":
            raise NotImplementedError(name)
        said, matrix, seen, total, law = self.forward(*(args[key] for key in ("logits", "x_t", "t", "beta", "classes")))
        of_joint = (cotangent - (cotangent * law).sum(-1, keepdims=True)) / total
        of_said = np.einsum("ndj,nkj->ndk", of_joint * seen, matrix)
        return {"logits": said * (of_said - (said * of_said).sum(-1, keepdims=True))}


def test_what_the_rows_of_a_matrix_have_in_common_may_be_lost_in_a_gradient():
    report = check(ByMatrices(), only="GRAD.CAT.REVERSE", effort=Effort(max_examples=3))
    assert [row["verdict"] for row in report["clauses"]] == ["pass", "skipped"]
