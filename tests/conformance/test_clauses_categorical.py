"""The clauses of the chain for symbols: right ones pass in both precisions, every planted mistake is seen and named."""

import numpy as np
import pytest

from refdpm.conformance.adapter import Local
from refdpm.conformance.session import NAMES, check
from refdpm.conformance.chapters import categorical as chapter
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.inference import infer
from refdpm.conformance.judge import Effort, judge
from refdpm.conformance.profile import Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import Subject
from tests.conformance.explained import explains

EFFORT = Effort(max_examples=4, shrinks=5, power=False)
OF_MASKS = ("CAT-MASK-0", "CAT-REMASK-b", "CAT-REMASK-c", "CAT-OVERWRITTEN")
VALUE = [mistake for mistake in chapter.MISTAKES if mistake.kind == "value"]


def results(source, profile):
    subject = Subject(source, chapter.QUANTITIES, profile)
    return (result for function in subject.functions.values() for result in judge(subject, function, EFFORT))


@pytest.mark.parametrize("mistake", VALUE, ids=lambda mistake: mistake.id)
def test_a_planted_mistake_is_seen_and_named(mistake):
    profile = Profile(mixing={"NEW-CAT-MIX": "average", "CAT-MASK-0": "average_unmasked"}.get(mistake.id, "joint"),
                      kernel={"DIS-16b": "given", **dict.fromkeys(OF_MASKS, "absorbing")}.get(mistake.id, "uniform"))
    found = results(Reference("float32", mistake, functions=chapter.QUANTITIES, profile=profile), profile)
    assert any(result.verdict == "wrong" and explains(result, mistake) for result in found)


# -- somebody else's ---------------------------------------------------------------------------------------------------

class Textbook:
    """D3PM as printed: matrices multiplied, tables looked up, in one precision; t from 0."""

    def __init__(self, beta, dtype="float32", K=4, mixing="joint", form="probability", transposed=False):
        self.beta, self.dtype, self.classes, self.mixing, self.form, self.transposed = beta, dtype, K, mixing, form, transposed
        one = [((1 - b) * np.eye(K) + b * np.ones((K, K)) / K).astype(dtype) for b in np.asarray(beta).astype(dtype)]
        total = [one[0]]
        for matrix in one[1:]:
            total.append(total[-1] @ matrix)
        self.one, self.total = np.stack(one).astype(dtype), np.stack(total).astype(dtype)
        self.before = np.concatenate([np.eye(K, dtype=dtype)[None], self.total[:-1]])

    def alpha_bar(self):
        return np.cumprod(1 - np.asarray(self.beta).astype(self.dtype))

    def transition_matrix(self, t):
        return np.swapaxes(self.one[t], 1, 2) if self.transposed else self.one[t]

    def cumulative_matrix(self, t):
        return self.total[t]

    def _given(self, law):
        return law if self.form == "probability" else np.log(law) + (1.5 if self.form == "logits" else 0)

    def categorical_marginal(self, x_0, t):
        return self._given(self.total[t[:, None], x_0])

    def _posterior(self, x_0, x_t, t):
        joint = self.one[t[:, None], :, x_t] * np.einsum("ndk,nkj->ndj", x_0, self.before[t])
        return joint / joint.sum(axis=-1, keepdims=True)

    def categorical_posterior(self, x_0, x_t, t):
        with np.errstate(divide="ignore"):
            return self._given(self._posterior(np.eye(self.classes, dtype=self.dtype)[x_0], x_t, t))

    def categorical_reverse(self, logits, x_t, t):
        said = np.exp(logits - logits.max(axis=-1, keepdims=True))
        said = said / said.sum(axis=-1, keepdims=True)
        if self.mixing == "average":
            every = [self._posterior(np.broadcast_to(row, logits.shape), x_t, t) for row in np.eye(self.classes, dtype=self.dtype)]
            return self._given(sum(said[..., k:k + 1] * p for k, p in enumerate(every)))
        p = self._posterior(said, x_t, t)
        return self._given(np.where((t == 0)[:, None, None] & (self.mixing == "joint_but_first"), said, p))

    def _law(self, found):
        return found if self.form == "probability" else np.exp(found) / np.exp(found).sum(axis=-1, keepdims=True)

    def categorical_sample(self, network, x_t, uniform, told=0, last=0, order=1, likeliest=0):
        """As D3PM: the last step takes the likeliest class if that is asked for."""
        for t in range(len(self.beta) - 1, last - 1, -1):
            at = np.full(len(x_t), t)
            p = self._law(self.categorical_reverse(network(x_t, np.maximum(at + told, 0)).astype(self.dtype), x_t, at))
            noise = -np.log(-np.log(uniform[::order][t]))
            x_t = np.argmax(np.log(p) + (t >= likeliest) * noise, axis=-1)
        return x_t

    def categorical_kl(self, law_q, law_p):
        q, p = law_q, law_p
        if self.form != "probability":
            q, p = np.exp(q - np.log(np.exp(q).sum(-1, keepdims=True))), np.exp(p - np.log(np.exp(p).sum(-1, keepdims=True)))
        return (q * (np.log(np.where(q > 0, q, 1)) - np.log(np.where(q > 0, p, 1)))).sum(axis=-1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mixing,form", [("average", "probability"), ("joint", "log_probability"), ("joint_but_first", "logits")])
def test_a_textbook_passes_and_its_conventions_are_found(dtype, mixing, form):
    beta = np.linspace(0.02, 0.7, 12).astype(np.float32).astype(np.float64)
    subject = Subject(Local(Textbook(beta, dtype, mixing=mixing, form=form), names=NAMES), chapter.QUANTITIES)
    subject.profile, known = infer(subject, {})
    found = {result.id: result for function in subject.functions.values() for result in judge(subject, function, EFFORT)}
    assert {result.verdict for result in found.values()} == {"pass"}, found
    assert (subject.profile.first_t, subject.profile.mixing, subject.profile.categories) == (0, mixing, form)
    assert known["orientation"] == "undetermined"


def test_a_long_chain_in_float32_passes():
    beta = np.linspace(1e-4, 0.02, 1000)
    report = check(Textbook(beta), only="CAT", effort=EFFORT)
    assert report["summary"]["pass"] >= 6 and not report["summary"]["wrong"] + report["summary"]["inaccurate"], report["clauses"]


def test_laws_to_compare_add_to_1_in_float32():
    for inputs in chapter._laws_edges(Given(classes=5)) + chapter._laws_edges(Given()):
        for law in inputs.values():
            assert np.array_equal(law, law.astype(np.float32)) and np.all(law.sum(axis=1) == 1)


def test_a_draw_among_equally_likely_classes_has_no_two_equal_numbers():
    """Seed 27 drew such a pair, of which nobody can say which comes: the kit called itself unsound."""
    class Draws:
        def categorical_draw(self, law_p, uniform):
            with np.errstate(divide="ignore"):
                return np.argmax(np.log(law_p) - np.log(-np.log(uniform)), axis=-1)

    found = check(Draws(), only="CAT.DRAW", effort=Effort(max_examples=3, seed=27, power=False))
    assert [row["verdict"] for row in found["clauses"] if row["id"] == "CAT.DRAW.CLASS"] == ["pass"]


# -- chains ------------------------------------------------------------------------------------------------------------

class Chain(Textbook):
    """A textbook whose chain does something of its own."""

    def __init__(self, way, T=8, **more):
        super().__init__(np.linspace(0.02, 0.7, T).astype(np.float32).astype(np.float64), **more)
        self.way = way

    def categorical_sample(self, network, x_t, uniform):
        return super().categorical_sample(network, x_t, uniform, **self.way)


def of_chain(adapter, seed=0):
    rows = check(adapter, only=["CAT.CHAIN"], effort=EFFORT._replace(seed=seed))["clauses"]
    return next(row for row in rows if row["id"] == "CAT.CHAIN")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("way", [{}, {"likeliest": 1}])
@pytest.mark.parametrize("dtype,K,mixing,form", [
    ("float32", 4, "joint", "probability"), ("float64", 2, "joint_but_first", "logits"), ("float32", 5, "average", "probability")])
def test_a_right_chain_passes(way, dtype, K, mixing, form, seed):
    assert of_chain(Chain(way, dtype=dtype, K=K, mixing=mixing, form=form), seed)["verdict"] == "pass"


@pytest.mark.parametrize("way,says", [
    ({"last": 1}, "the last step is left out"), ({"told": -1}, "the network is told the t to which a step goes"),
    ({"told": 1}, "IndexError"), ({"order": -1}, "the first step takes the noise of the last, and so on"),
    ({"likeliest": 99}, "every step takes the class that is likeliest, and draws none")])
def test_a_wrong_chain_is_told(way, says):
    class Counted(Chain):
        """Its table of the network ends at T, so that t + 1 is none of its numbers."""

        def categorical_sample(self, network, x_t, uniform):
            def bounded(x, t):
                if np.any(t >= len(self.beta)):
                    raise IndexError("there is no such t")
                return network(x, t)
            return super().categorical_sample(bounded, x_t, uniform)

    row = of_chain(Counted(way))
    assert (row["verdict"] == "wrong" or says == "IndexError") and says in row["reason"], row


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_whole_numbers_are_no_whole_numbers_and_have_the_adapter_s_precision(dtype):
    seen = []

    class Looking(Chain):
        def categorical_sample(self, network, x_t, uniform):
            seen.append(network(x_t, np.full(len(x_t), 3)))
            return x_t

    of_chain(Looking({}, dtype=dtype))
    assert {said.dtype.name for said in seen} == {dtype} and np.any(seen[0] != np.round(seen[0]))


def test_a_wrong_draw_is_blamed_and_not_the_chain():
    """A Gumbel number with the other sign: the chain has it too, and had come first, without a name."""
    class Draws(Chain):
        def categorical_draw(self, law_p, uniform):
            with np.errstate(divide="ignore"):
                return np.argmax(np.log(law_p) + np.log(-np.log(uniform)), axis=-1)

        def categorical_sample(self, network, x_t, uniform):
            for t in reversed(range(len(self.beta))):
                at = np.full(len(x_t), t)
                x_t = self.categorical_draw(self.categorical_reverse(network(x_t, at).astype(self.dtype), x_t, at), uniform[t])
            return x_t

    report = check(Draws({}), only=["CAT.CHAIN", "CAT.DRAW"], effort=EFFORT)
    found = {row["id"]: row["verdict"] for row in report["clauses"]}
    assert (found["CAT.CHAIN"], found["CAT.DRAW.CLASS"]) == ("pass", "wrong"), found


def test_a_right_chain_in_tensors_passes():
    """Symbols are tensors of integers, and the logits were cut to integers as well: right chains were wrong."""
    torch = pytest.importorskip("torch")

    class Tensors(Chain):
        array = staticmethod(torch.as_tensor)

        def categorical_reverse(self, logits, x_t, t):
            assert logits.dtype == getattr(torch, self.dtype)
            return torch.as_tensor(super().categorical_reverse(*(part.numpy() for part in (logits, x_t, t))))

        def categorical_sample(self, network, x_t, uniform):
            for t in reversed(range(len(self.beta))):
                at = torch.full((len(x_t),), t)
                law = self.categorical_reverse(network(x_t, at), x_t, at)
                x_t = torch.argmax(torch.log(law) - torch.log(-torch.log(uniform[t])), dim=-1)
            return x_t

    assert [of_chain(Tensors({}, dtype=dtype))["verdict"] for dtype in ("float32", "float64")] == ["pass", "pass"]


def test_a_long_chain_and_one_of_another_shape_are_no_verdict():
    class Short(Chain):
        def categorical_sample(self, network, x_t, uniform):
            return x_t[:3]

    class NoNumbers(Chain):
        def categorical_reverse(self, logits, x_t, t):
            return np.nan * super().categorical_reverse(logits, x_t, t)

    class Still(Chain):
        def categorical_reverse(self, logits, x_t, t):
            return np.eye(self.classes, dtype=self.dtype)[x_t]

    for adapter, says in ((NoNumbers({}), "do not say which class"), (Still({}), "so that nothing is shown")):
        row = of_chain(adapter)
        assert row["verdict"] != "pass" and says in row["reason"], row
    assert "too long" in of_chain(Chain({}, T=60))["reason"]
    assert "expected (200, 2)" in of_chain(Short({}))["reason"]
