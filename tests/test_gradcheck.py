"""The door for anybody: no false alarm on gradients as people write them, and every mistake found, located and described."""

from functools import wraps
import re

import numpy as np
import pytest

from refdpm.gradcheck import adjoint_gaps, assert_adjoint, differences, forms
from refdpm.gradcheck.question import COTANGENT, DIGITS, DIRECTION, STEP, Question
from written_by_others import INPUT, WRITTEN, X

A = np.random.default_rng(1).normal(size=(7, 7))
WRONG = [pytest.param(name, gradient, says, id=f"{name}-{number}") for name, written in WRITTEN.items()
         for number, (gradient, says) in enumerate(written.wrong)]
IN_DOUBLE = [name for name in WRITTEN if "float32" not in name]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("seed", range(5))
def test_right_gradient_passes_and_the_method_is_said(name, seed):
    written = WRITTEN[name]
    found = assert_adjoint(written.f, written.gradient, *written.arguments, seed=seed)
    assert {written.method} <= {gap.method for gap in found} <= {written.method, "complex step"}
    assert all(gap.why for gap in found if gap.method == "differences")


@pytest.mark.parametrize("name,gradient,says", WRONG)
def test_wrong_gradient_is_found_and_described(name, gradient, says):
    with pytest.raises(AssertionError) as raised:
        assert_adjoint(WRITTEN[name].f, gradient, *WRITTEN[name].arguments)
    assert re.search(says, str(raised.value), re.DOTALL), raised.value


def changed(answer, change):
    """What a gradient answered, in any form, with every floating-point leaf of the gradients changed."""
    if isinstance(answer, tuple) and len(answer) == 2 and callable(answer[1]):
        return answer[0], lambda dvalue: changed(answer[1](dvalue), change)
    leaves = (change(leaf) if forms.is_floating(leaf) else leaf for _, leaf in forms.named_leaves(answer, ""))
    return forms.rebuilt(answer, leaves)


@pytest.mark.parametrize("name", IN_DOUBLE)
@pytest.mark.parametrize("size,seed", [(1e-4, 0), (1e-8, 0), (1e-8, 1), (1e-8, 2), (1e-12, 0)])
def test_a_small_relative_error_is_found_in_every_argument(name, size, seed):
    """1e-12 by the complex step alone; differences know no derivative so well."""
    written = WRITTEN[name]

    @wraps(written.gradient)                                            # the names of its arguments say how it is called
    def inexact(*arguments):
        answer = written.gradient(*arguments)
        if name == "loss with a mean":
            return answer[0], answer[1] * (1 + size)
        return changed(answer, lambda leaf: leaf * (1 + size))

    found = adjoint_gaps(written.f, inexact, *written.arguments, seed=seed)
    seen = [not gap.ok for gap in found if size > 1e-12 or gap.method == "complex step"]
    assert all(seen) and (seen or written.method == "differences"), found


def test_they_are_more_than_twelve_in_all_forms_and_of_both_methods():
    forms_found = {adjoint_gaps(one.f, one.gradient, *one.arguments)[0].form for one in WRITTEN.values()}
    methods = {one.method for one in WRITTEN.values()}
    assert len(WRITTEN) >= 12 and len(forms_found) >= 6 and methods == {"complex step", "differences"}


def test_error_in_a_single_entry_is_located():
    def planted(dvalue, x):
        gradient = 2 * x * dvalue
        gradient[2, 1] *= 1 + 1e-8
        return gradient

    wrong, = adjoint_gaps(lambda x: x * x, planted, X)
    assert wrong.wrong.startswith("x[2, 1]: ") and "1 of 12 entries" in wrong.wrong


# -- what is no verdict ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("f,slope", [(np.abs, np.sign), (lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
                                     (lambda x: np.where(x >= 0, x, 0) ** 1.0, lambda x: 1.0 * (x > 0))])
def test_kink_at_the_very_point_is_not_decided(f, slope):
    found, = adjoint_gaps(f, lambda dvalue, x: dvalue * slope(x), np.array([0.0, 1.0, -2.0]))
    assert found.wrong.startswith("not decided")


@pytest.mark.parametrize("seed", range(8))
def test_a_kink_that_a_step_meets_makes_no_right_gradient_wrong(seed):
    """Of ReLU of a product, with an entry of it that is 8e-4."""
    rng = np.random.default_rng(47)
    x, w = rng.normal(size=(5, 4)), rng.normal(size=(4, 3))
    found = adjoint_gaps(lambda x, w: np.maximum(x @ w, 0), lambda dvalue, x, w: (
        (dvalue * (x @ w > 0)) @ w.T, x.T @ (dvalue * (x @ w > 0))), x, w, seed=seed)
    assert all(gap.ok or gap.wrong.startswith("not decided") for gap in found), found


@pytest.mark.parametrize("f, backward", [
    (lambda x: np.where(A[:4] > 0, x ** 2, 0), lambda dvalue, x: 2 * x * dvalue),
    (lambda x: np.maximum(x, 0), lambda dvalue, x: dvalue)])
def test_a_mask_that_is_forgotten_is_named(f, backward):
    with pytest.raises(AssertionError, match="likely: it is wrong exactly where 0 is right: a mask"):
        assert_adjoint(f, backward, np.random.default_rng(0).normal(size=(4, 7)))


def test_what_is_not_decided_is_not_called_wrong():
    with pytest.raises(AssertionError, match=r"the gradient of absolute is not decided .*\n  .*: NOT DECIDED, gap"):
        assert_adjoint(np.abs, lambda dvalue, x: dvalue * np.sign(x), np.array([0.0, 1.0, -2.0]))


def test_function_that_no_other_argument_suits_is_not_decided():
    def only_here(x):
        if not np.array_equal(x, X):
            raise ValueError("another x")
        return 2 * x

    found, = adjoint_gaps(only_here, lambda dvalue, x: 2 * dvalue, X)
    assert found.wrong.startswith("not decided")


def test_function_of_a_domain_that_a_step_leaves_is_judged_by_the_complex_step():
    def of_probabilities(p):
        if abs(p.sum() - 1) > 1e-12:
            raise ValueError("no probabilities")
        return p ** 2

    found, = assert_adjoint(of_probabilities, lambda dvalue, p: 2 * p * dvalue, np.array([0.2, 0.3, 0.5]))
    assert found.method == "complex step" and "could not confirm" in found.why


def test_digits_that_f_loses_are_no_mistake():
    """E[x²] − E[x]² far from zero loses ten digits; its gradient written the other way does not."""
    def backward(dvalue, x):
        return 2 * (x - x.mean(0)) / len(x) * dvalue

    found, = assert_adjoint(lambda x: (x ** 2).mean(0) - x.mean(0) ** 2, backward, X + 1e4)
    assert found.gap < 1e-8


@pytest.mark.parametrize("f,gradient,arguments,says", [
    (np.sin, lambda a, b, c, d: a, (X,), "gradient: expected a function"),
    (np.sin, lambda dvalue, x: 1 / 0, (X,), "gradient: expected one of the forms.*ZeroDivisionError"),
    (lambda n: n + 1.0, lambda dvalue, n: dvalue, (3,), "arguments: expected floating-point numbers"),
    (lambda x: np.log(x), lambda dvalue, x: dvalue / x, (X,), "f is finite"),
    (lambda x, rng=np.random.default_rng(0): x * rng.random(), lambda dvalue, x: dvalue, (X,), "f: expected the same answer"),
])
def test_what_cannot_be_judged_is_refused(f, gradient, arguments, says):
    with pytest.raises(ValueError, match=says):
        adjoint_gaps(f, gradient, *arguments)


def test_error_of_f_itself_is_shown_as_it_is():
    with pytest.raises(KeyError):
        adjoint_gaps(lambda x: {}["weight"], lambda dvalue, x: dvalue, X)


def test_named_choices_are_given_to_both():
    found = assert_adjoint(lambda x, *, power: x ** power, lambda dvalue, x, *, power: power * x ** (power - 1) * dvalue, X,
                           fixed={"power": 3})
    assert [gap.argument for gap in found] == ["x"]


def test_arguments_are_left_as_they_are():
    before = INPUT.copy()

    def in_place(dvalue, x):
        dvalue *= np.cos(x)
        x += 1
        return dvalue

    with pytest.raises(AssertionError, match="the call changes in place, for whoever uses it afterwards: x"):
        assert_adjoint(np.sin, in_place, INPUT)
    assert np.array_equal(INPUT, before)


# -- differences -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("f,slope", [(np.exp, np.exp), (np.sqrt, lambda x: 0.5 / np.sqrt(x)), (np.log, lambda x: 1 / x),
                                     (lambda x: np.sin(9 * x), lambda x: 9 * np.cos(9 * x)), (np.abs, np.sign)])
def test_error_of_differences_is_at_most_ten_times_their_estimate(f, slope):
    x = np.linspace(0.1, 3, 20)
    found, error = differences(f, x, x)
    assert np.linalg.norm(found - slope(x) * x) <= 10 * error <= 1e-8 * np.linalg.norm(slope(x) * x)


def rms_norm(x, scale):
    return x / np.sqrt((x ** 2).mean(axis=-1, keepdims=True)) * scale


def layer_norm(x):
    d = x - x.mean(axis=-1, keepdims=True)
    return d / np.sqrt((d ** 2).mean(axis=-1, keepdims=True))


@pytest.mark.parametrize("share", [0.0, 2.0, 5.0, -1.0])
def test_a_wrong_term_of_a_norm_is_described(share):
    """The term through the mean of squares left out, twice, without 1/D, or with the other sign."""
    def backward(dvalue, x, scale):
        r = 1 / np.sqrt((x ** 2).mean(axis=-1, keepdims=True))
        g = dvalue * scale
        return r * g - share * x * r ** 3 * (g * x).mean(axis=-1, keepdims=True), (dvalue * x * r).sum(axis=0)

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match=r"likely: the error is a multiple of x along axis 1: a term with x is wrong"):
        assert_adjoint(rms_norm, backward, rng.normal(size=(4, 5)), rng.normal(size=5))


def test_a_mean_that_is_left_out_of_a_norm_is_described():
    def backward(dvalue, x):
        d = x - x.mean(axis=-1, keepdims=True)
        s = np.sqrt((d ** 2).mean(axis=-1, keepdims=True))
        return (dvalue - d / s * (dvalue * d / s).mean(axis=-1, keepdims=True)) / s

    with pytest.raises(AssertionError, match="likely: the error is the same for all entries along axis 1: a term that is a sum"):
        assert_adjoint(layer_norm, backward, np.random.default_rng(0).normal(size=(4, 6)))


def test_a_scale_by_the_root_of_a_length_is_told_beside_what_else_a_factor_may_be():
    """Scores of attention, whose 1/√d is missing in the gradient of the keys: √4 is 2, the number of examples too."""
    def scores(query, key):
        return query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])

    def backward(dvalue, query, key):
        return dvalue @ key / np.sqrt(query.shape[-1]), dvalue.swapaxes(-1, -2) @ query

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError) as raised:
        assert_adjoint(scores, backward, rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 3, 4)))
    told = str(raised.value)
    assert "every entry is 2 times" in told and "; or that is √4, where 4 is the length of axis 2" in told
    assert told.index("key") < told.index("query: right")


@pytest.mark.parametrize("wrong,says", [
    (lambda w, d: np.cos(w) * d + 0.2 * w, "the term dvalue is missing"),
    (lambda w, d: np.cos(w) * d + d, "the term 0.2 times w is missing"),
    (lambda w, d: np.cos(w) * d + 0.2 * w + d + d * w, "the term dvalue · w is one too many"),
])
def test_a_missing_term_is_named(wrong, says):
    """Of sin w + w, whose loss has decay of the weights: the path beside sin, and the decay, are what people forget."""
    def decayed(w):
        return np.sin(w) + w, 0.1 * (w ** 2).sum()

    def backward(dvalue, w):
        d, dloss = dvalue
        return wrong(w, d) + (dloss - 1) * 0.2 * w

    with pytest.raises(AssertionError, match=f"likely: {says}"):
        assert_adjoint(decayed, backward, np.random.default_rng(0).normal(size=(4, 3)))


TURNED = {
    "cumulative sum": lambda x: np.cumsum(x, axis=-1),
    "shift": lambda x: np.roll(x, 2, axis=-1),
    "convolution": lambda x: sum(k * np.pad(x, [(0, 0), (1, 1)])[:, i:i + 7] for i, k in enumerate((0.3, -1.2, 0.8))),
    "matrix": lambda x: x @ A,
    "by differences": lambda x: np.real(x) @ A,
}


@pytest.mark.parametrize("f", TURNED.values(), ids=TURNED)
@pytest.mark.parametrize("seed", range(3))
def test_the_jacobian_does_not_pass_for_its_transpose(f, seed):
    """⟨w, J v⟩ = ⟨J w, v⟩ whenever v = w: a direction that is also the cotangent sees nothing."""
    x = np.random.default_rng(0).normal(size=(4, 7))
    with pytest.raises(AssertionError, match="likely: it is the derivative of f along dvalue, J dvalue, and not Jᵀ dvalue"):
        assert_adjoint(f, lambda dvalue, x: f(dvalue), x, seed=seed)


def correlated(x, w):
    """Two-dimensional, where the kernel fits in."""
    height, width = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    return sum(w[i, j] * x[i:i + height, j:j + width] for i, j in np.ndindex(w.shape))


def test_a_kernel_that_is_not_flipped_is_named():
    def backward(dvalue, x, w):
        return correlated(np.pad(dvalue, [(2, 2), (1, 1)]), w), correlated(x, dvalue)

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="likely: it is right for an f with w reversed along axes 0, 1: a kernel"):
        assert_adjoint(correlated, backward, rng.normal(size=(6, 7)), rng.normal(size=(3, 2)))


@pytest.mark.parametrize("slope", [lambda g: np.tanh(g), lambda g: 1 - np.tanh(g)])
def test_of_several_ways_back_the_wrong_one_is_named(slope):
    """Of a gated layer, tanh(x W) · x V, whose slope of the gate is wrong."""
    def gated(x, W, V):
        return np.tanh(x @ W) * (x @ V)

    def backward(dvalue, x, W, V):
        g = x @ W
        dg, du = dvalue * (x @ V) * slope(g), dvalue * np.tanh(g)
        return dg @ W.T + du @ V.T, x.T @ dg, x.T @ du

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="x: WRONG(.|\n)*likely: what comes back through W is missing or wrong, and the rest"):
        assert_adjoint(gated, backward, rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=(4, 3)))


def test_what_is_drawn_for_one_purpose_is_drawn_for_no_other():
    def backward(dvalue, x):
        return dvalue * np.cos(x)

    question = Question(np.sin, backward, next(iter(forms.fitting(np.sin, backward, (X,)))), (X,), 0)
    drawn = [question.rng(what, number).normal() for what in (COTANGENT, DIRECTION, STEP, DIGITS) for number in range(4)]
    assert len(set(drawn)) == len(drawn)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sum_of(x):
    return x.sum(axis=-1, keepdims=True)


OF_ALL = {
    "the error is a multiple of value along axis 1: a term with value is wrong, as the sum in the slope of a softmax":
        (softmax, lambda dvalue, x: softmax(x) * dvalue),
    "every entry of the value is taken to depend on its own entry alone":
        (softmax, lambda dvalue, x: softmax(x) * (1 - softmax(x)) * dvalue),
    "the error is a multiple of x − its mean along axis 1: a term with x is wrong, as that from a mean of squares":
        (layer_norm, lambda dvalue, x: (dvalue - dvalue.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)),
    "the error is a constant and a multiple of x along axis 1: of a norm the term through the mean, or":
        (layer_norm, lambda dvalue, x: dvalue / x.std(-1, keepdims=True)),
    "the factor 1 [+] value is missing": (np.tanh, lambda dvalue, x: dvalue * (1 - np.tanh(x))),
    "every entry is 0.5 times what it should be, and 2 is the factor that a square": (np.square, lambda dvalue, x: dvalue * x),
    "it is shifted by one along axis 1": (np.exp, lambda dvalue, x: np.roll(dvalue * np.exp(x), 1, axis=1)),
}


@pytest.mark.parametrize("says", OF_ALL)
def test_what_people_forget_in_a_slope_is_named(says):
    f, backward = OF_ALL[says]
    with pytest.raises(AssertionError, match=f"likely: {says}"):
        assert_adjoint(f, backward, np.random.default_rng(0).normal(size=(3, 5)))


@pytest.mark.parametrize("backward,says", [
    (lambda dvalue, x, w, b: (x.T @ dvalue, dvalue @ w.T, dvalue.sum(axis=0)),
     "the right gradient came for w: the gradients come in another order"),
    (lambda dvalue, x, w, b: (dvalue @ w.T, x.T @ dvalue, dvalue.sum()), "it is added up over axis 0, over which"),
    (lambda dvalue, x, w, b: (dvalue @ w.T, x.T @ dvalue, dvalue.sum(axis=0).mean()), "it is averaged over axis 0, over which"),
])
def test_gradients_of_another_shape_are_explained(backward, says):
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match=f"likely: {says}"):
        assert_adjoint(lambda x, w, b: x @ w + b, backward, rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), rng.normal(size=5))


def test_gradients_in_another_order_are_called_so_where_all_have_one_shape():
    """No two of the three are exchanged."""
    def f(a, b, c):
        return a * b ** 2 * np.exp(c)

    def backward(dvalue, a, b, c):
        return dvalue * f(a, b, c), dvalue * f(a, b, c) / a, dvalue * 2 * f(a, b, c) / b

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError) as raised:
        assert_adjoint(f, backward, *(rng.normal(size=(3, 4)) for _ in range(3)))
    assert str(raised.value).count("the gradients come in another order than the arguments") == 3
    assert "exchanged" not in str(raised.value) and "the right gradient came for b" in str(raised.value)


@pytest.mark.parametrize("wrong", ["mean", "squares", "both"])
def test_a_term_that_a_norm_of_many_numbers_misses_is_described(wrong):
    """Of more entries than are compared one by one."""
    def norm(x, groups=2):
        parts = x.reshape(*x.shape[:3], groups, -1)
        d = parts - parts.mean(axis=(1, 2, 4), keepdims=True)
        return (d / np.sqrt((d ** 2).mean(axis=(1, 2, 4), keepdims=True))).reshape(x.shape)

    def backward(dvalue, x, groups=2):
        parts = x.reshape(*x.shape[:3], groups, -1)
        d, dz = parts - parts.mean(axis=(1, 2, 4), keepdims=True), dvalue.reshape(parts.shape)
        s = np.sqrt((d ** 2).mean(axis=(1, 2, 4), keepdims=True))
        mean, squares = dz.mean(axis=(1, 2, 4), keepdims=True), d / s * (dz * d / s).mean(axis=(1, 2, 4), keepdims=True)
        return ((dz - (wrong == "squares") * mean - (wrong == "mean") * squares) / s).reshape(x.shape)

    says = "the error is the same for all entries along axis" if wrong == "mean" else "of a norm the term through the mean"
    with pytest.raises(AssertionError, match=f"likely: .*{says}"):
        assert_adjoint(norm, backward, np.random.default_rng(0).normal(size=(3, 4, 5, 6)))


def test_what_a_softmax_inside_subtracts_is_missed_by_the_sum_of_the_gradient():
    def attention(q, k, v):
        return softmax(q @ k.T) @ v

    def backward(dvalue, q, k, v):
        p = softmax(q @ k.T)
        ds = p * (dvalue @ v.T)                              # without − p (p · ds)
        return ds @ k, ds.T @ q, p.T @ dvalue

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError) as raised:
        assert_adjoint(attention, backward, *(rng.normal(size=shape) for shape in ((4, 3), (5, 3), (5, 2))))
    k = str(raised.value).partition("k: WRONG")[2].partition("\n  q:")[0]
    assert "likely: the right gradient adds up to 0 along axis 0, because f does not change when one number is added" in k


@pytest.mark.parametrize("last,says", [
    (np.tanh, "multiplied by 1 − value², the slope of tanh"),
    (lambda a: 1 / (1 + np.exp(-a)), "multiplied by value · (1 − value), the slope of a sigmoid"),
])
def test_the_slope_of_the_last_step_is_missed(last, says):
    def backward(dvalue, x, w):
        return dvalue @ w.T, x.T @ dvalue

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError) as raised:
        assert_adjoint(lambda x, w: last(x @ w), backward, rng.normal(size=(5, 4)), rng.normal(size=(4, 3)))
    assert str(raised.value).count(f"likely: it is right if dvalue is first {says}: this factor") == 2


def cell(x, c, w):
    """A cell with two values, and four gates beside each other."""
    i, f, g, o = np.split(x @ w, 4, axis=1)
    new = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    return np.tanh(new) / (1 + np.exp(-o)), new


@pytest.mark.parametrize("wrong,argument,says", [
    ("state", "x", "it does not depend on dvalue\\[1\\], the cotangent of the value's part 1"),
    ("gate", "w", "it is wrong at indices 4, 5 of axis 1, and right elsewhere"),
    ("half", "w", "it is 0.5 times what it should be at indices 0, 1 of axis 1, and right elsewhere"),
    ("none", "w", "it is 0 at indices 6, 7 of axis 1, and right elsewhere"),
])
def test_a_part_that_is_wrong_is_told(wrong, argument, says):
    def backward(dvalue, x, c, w):
        dh, dnew = dvalue
        i, f, g, o = np.split(x @ w, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        h = np.tanh(cell(x, c, w)[1])
        dnew = dh * o * (1 - h ** 2) + (wrong != "state") * dnew
        ds = np.hstack([dnew * np.tanh(g) * i * (1 - i) / (1 + (wrong == "half")), dnew * c * f * (1 - f),
                        dnew * i * (1 - np.tanh(g) ** (1 + (wrong != "gate"))), (wrong != "none") * dh * h * o * (1 - o)])
        return ds @ w.T, dnew * f, x.T @ ds

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match=f"(?s){argument}: WRONG[^=]*likely: {says}"):
        assert_adjoint(cell, backward, rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.normal(size=(3, 8)))


@pytest.mark.parametrize("wrong", ["gain", "deviation"])
def test_what_a_layer_norm_forgets_is_named(wrong):
    """The gain in the gradient of x; or the mean that is subtracted, in that of the gain."""
    def backward(dvalue, x, gain):
        s, d = x.std(axis=-1, keepdims=True), x - x.mean(axis=-1, keepdims=True)
        z, g = d / s, dvalue * (1 if wrong == "gain" else gain)
        dx = (g - g.mean(axis=-1, keepdims=True) - z * (g * z).mean(axis=-1, keepdims=True)) / s
        return dx, (dvalue * (z if wrong == "gain" else x / s)).sum(axis=0)

    says = {"gain": "it is right if dvalue is first multiplied by gain: this factor of the last step of f is missing",
            "deviation": "adding one number to all entries of x along axis 1 changes neither f nor the right gradient"}[wrong]
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match=f"likely: {says}"):
        assert_adjoint(lambda x, gain: layer_norm(x) * gain, backward, rng.normal(size=(4, 6)), rng.normal(size=6))


def test_a_wrong_sign_is_called_so_though_another_gradient_is_the_negative():
    def loss(prediction, target):
        return ((prediction - target) ** 2).mean()

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="target: WRONG[^=]*likely: the sign is wrong"):
        assert_adjoint(loss, lambda a, b: ((a - b) / 6, (a - b) / 6), rng.normal(size=(4, 3)), rng.normal(size=(4, 3)))


def test_a_gradient_of_another_shape_has_no_gap():
    with pytest.raises(AssertionError) as raised:
        assert_adjoint(np.sin, lambda dvalue, x: dvalue[0] * np.cos(x[0]), np.random.default_rng(0).normal(size=(3, 4)))
    assert "WRONG\n" in str(raised.value) and "inf" not in str(raised.value)


@pytest.mark.parametrize("seed", range(8))
def test_names_say_which_argument_is_the_cotangent_also_where_the_gradient_is_wrong(seed):
    """Of an RMS norm whose `gain` is forgotten in one term of dx; x and dout have one shape, so that shapes say nothing."""
    def norm(x, gain):
        return gain * x / np.sqrt((x * x).mean(-1, keepdims=True))

    def norm_backward(dout, x, gain):
        r = 1 / np.sqrt((x * x).mean(-1, keepdims=True))
        return r * gain * dout - x * r ** 3 * (dout * x).mean(-1, keepdims=True), (dout * x * r).sum(0)

    rng = np.random.default_rng(seed)
    with pytest.raises(AssertionError, match="called as backward\\(dvalue, ...\\)") as raised:
        assert_adjoint(norm, norm_backward, rng.normal(size=(4, 3)), rng.normal(size=3))
    assert "gain: right" in str(raised.value)


def test_a_first_argument_before_all_others_is_the_cotangent():
    """2 dvalue would be right of a gradient that is asked at x; it is written for a loss whose slope is 2 x dvalue."""
    def f(x):
        return (x ** 2).sum()

    assert_adjoint(f, lambda dvalue, *given: 2 * dvalue * given[0], X)
    with pytest.raises(AssertionError, match="called as backward\\(dvalue, ...\\)"):
        assert_adjoint(f, lambda dvalue, *given: 2 * dvalue, X)


def test_the_gradient_of_an_objective_with_data_is_asked_at_its_parameters():
    def slope(theta, *data):
        return 2 * (theta - data[0]), 2 * (data[0] - theta)

    assert_adjoint(lambda x, *data: ((x - data[0]) ** 2).sum(), slope, X, X + 1)


def test_a_gradient_in_a_lower_precision_than_its_argument_is_told():
    with pytest.raises(AssertionError, match="in float32, beside an argument in float64"):
        assert_adjoint(np.exp, lambda dvalue, x: (dvalue * np.exp(x)).astype(np.float32), X)
    assert_adjoint(np.exp, lambda dvalue, x: dvalue * np.exp(x), X.astype(np.float32))
