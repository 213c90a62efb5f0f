"""The textbook's layers tried in digits: laws, numbers by hand, and that no single edit leaves those as they are."""

from decimal import Decimal
from fractions import Fraction
from math import exp, log

import numpy as np
import pytest

from refdpm.conformance import accuracy
from refdpm.layers.linear import Affine
from refdpm.networks.image import Image
from refdpm.textbook import images, layers
from refdpm.textbook.chain import forward, from_levels
from refdpm.textbook.digits import digits
from refdpm.textbook.edits import edits
from refdpm.textbook.expression import E, exp as power, given, log as logarithm, node, total
from refdpm.textbook.page import Page, exactly, to_float
from refdpm.textbook.slope import slopes

X = given("x")
RNG = np.random.default_rng(3)


def worth(formula, **numbers):
    """The value of a formula, an array of Decimals."""
    return digits([formula], Page(numbers)).values[0]


def apart(formula, expected, **numbers):
    """The largest difference of a formula from numbers, or from another formula; ∞ for another shape, and for no number."""
    wanted = worth(expected, **numbers) if isinstance(expected, E) else exactly(expected)
    got = worth(formula, **numbers)
    far = np.float64(np.inf) if got.shape != wanted.shape else np.max(np.abs(to_float(got - wanted).astype(np.float64)))
    return float(np.nan_to_num(far, nan=np.inf))


def unseen(formula, expected, **numbers):
    """The edits of a formula after which it is still worth what it should be; some have another shape, or none."""
    def holds(one):
        try:
            return apart(one, expected, **numbers) < 1e-14
        except (ValueError, IndexError):
            return False

    assert holds(formula)
    return {edit.says for edit in edits(formula) if holds(edit.formulas[0])}


# -- element by element ------------------------------------------------------------------------------------------------

PLACES = np.array([-800.0, -3, -1e-20, 0, 0.5, 30])


@pytest.mark.parametrize("name,left,right", [
    ("softplus(x) − softplus(−x) = x", layers.softplus(X) - layers.softplus(-X), X),
    ("softplus = log(1 + eˣ)", layers.softplus(X), logarithm(1 + power(X))),
    ("sigmoid(x) + sigmoid(−x) = 1", layers.sigmoid(X) + layers.sigmoid(-X), 1 + 0 * X),
    ("log sigmoid(x) = −softplus(−x)", logarithm(layers.sigmoid(X)), -layers.softplus(-X)),
    ("tanh x = 2 sigmoid(2x) − 1", layers.tanh(X), 2 * layers.sigmoid(2 * X) - 1),
    ("logit is the inverse of sigmoid", layers.logit(layers.sigmoid(X)), X),
    ("softplus′ = sigmoid", slopes([layers.softplus(X)], [node(1)])[X], layers.sigmoid(X)),
    ("leaky ReLU of slope 1 is nothing", layers.leaky_relu(X, 1), X),
], ids=lambda value: value if isinstance(value, str) else "")
def test_functions_of_one_number(name, left, right):
    assert apart(left, right, x=PLACES) < 1e-28


# -- sums of products --------------------------------------------------------------------------------------------------

IMAGE, KERNEL, BIAS = RNG.integers(-9, 9, (2, 4, 6, 2)), RNG.integers(-9, 9, (3, 5, 2, 3)), np.array([0.5, -1, 2])


def test_affine_layers_by_hand():
    numbers = dict(x=np.array([[1, 2], [3, -1]]), weight=np.array([[[1, 0], [2, 1]], [[5, 1], [0, 2]]]),
                   bias=np.array([[1, 2], [0, 4]]))
    own = layers.per_step(X, given("weight"), given("bias"), np.array([1, 0]))
    assert apart(own, [[5, 9], [2, 1]], **numbers) == 0
    one = layers.linear(X, given("weight"), given("bias"))
    assert not unseen(one, [[6, 4], [2, 1]], **numbers | dict(weight=numbers["weight"][0], bias=numbers["bias"][0]))


def test_a_convolution_turns_the_kernel_about_a_point():
    """One white pixel shows the kernel turned round; an image in a black frame is the same image."""
    convolution = layers.conv2d(given("image"), given("kernel"), given("bias"))
    point = np.zeros((1, 3, 5, 1))
    point[0, 1, 2, 0] = 1
    kernel = np.arange(1.0, 16).reshape(3, 5, 1, 1)
    assert apart(convolution, kernel[::-1, ::-1].reshape(1, 3, 5, 1) + 0.5, image=point, kernel=kernel, bias=np.array([0.5])) == 0
    numbers = dict(kernel=KERNEL, bias=BIAS)
    framed = worth(convolution, image=np.pad(IMAGE, ((0, 0), (2, 1), (1, 4), (0, 0))), **numbers)[:, 2:6, 1:7]
    assert not unseen(convolution, framed, image=IMAGE, **numbers)


def test_pooling_undoes_repetition():
    assert apart(layers.mean_pool(layers.upsample(X, 3), 3), X, x=IMAGE) < 1e-28
    assert apart(layers.mean_pool(layers.mean_pool(X, 2), 2), layers.mean_pool(X, 4), x=IMAGE[:, :, :4]) == 0
    assert not unseen(layers.mean_pool(X, 2), [[[[Decimal("0.75")]]]], x=np.array([[[[1], [3]], [[5], [-6]]]]))


def test_scales_by_hand():
    """Two pixels by two, one tap: 2x + 1 of every pixel and −x of the mean, ½."""
    x, weights, biases = np.array([[1, -2], [4, -1]]), (2, -1), (1, 0)
    kernels = tuple(Affine(node(np.full((1, 1, 1, 1), w)), node(np.array([b]))) for w, b in zip(weights, biases))
    fine = 2 * x + 1
    leaky = (np.where(fine > 0, fine, 0.05 * fine) - 0.05 * 0.5) / 2
    assert apart(layers.multiscale(X, kernels), (fine - 0.5)[None, :, :, None], x=x[None, :, :, None]) == 0
    assert apart(layers.multiscale_released(X, kernels), leaky[None, :, :, None], x=x[None, :, :, None]) < 1e-15


# -- layers together, bumps ----------------------------------------------------------------------------------------------

def test_paths_have_the_same_weight():
    """|y|² = |a|²/A + |b|²/B."""
    a, b = given("a"), given("b")
    sizes = total(a * a) / 4 + total(b * b) / 9
    both = layers.side_by_side(a, b)
    assert apart(total(both * both), sizes, a=RNG.normal(size=(2, 4)), b=RNG.normal(size=(2, 9))) < 1e-28
    assert apart(both, [[1, -2, 3]], a=np.array([[2.0, -4, 6, 1]])[:, :1] / 2, b=np.array([[-2, 3]]) * 2 ** 0.5) < 1e-15


@pytest.mark.eq("63")
@pytest.mark.parametrize("basis,T,exponents", [("paper", 6, {1: (0, -1 / 2, -2), 4: (-9 / 8, -1 / 8, -1 / 8)}),
                                               ("released", 13, {1: (0, -2, -8), 4: (-0.5, -0.5, -4.5)})])
def test_three_bumps_by_hand(basis, T, exponents):
    """Centres 1, 3, 5, w = 2, and as released 1, 7, 13, w = 3.  What moves all exponents alike changes nothing, nor does τ − t for
    t − τ, nor what is there for one bump alone."""
    heights = np.exp(list(exponents.values()))
    formula = layers.bumps(given("t"), T, node(np.array([1.0, 2, 3])), node(3), basis)
    left = unseen(formula, heights / heights.sum(axis=1, keepdims=True), t=np.array(list(exponents)))
    one_by_one = {says.split(" in ")[0] for says in left if " max " not in says and "way round" not in says}
    assert one_by_one <= {"0 for 1", "2 for 1", "½ for 1", "the case 3 > 1 also where it is not: always 3 − 1"}


@pytest.mark.eq("62", "63")
def test_bumps_add_up_to_one():
    """So that coefficients which are all alike are what they are at every t."""
    for basis in ("paper", "released"):
        formula = layers.bumps(given("t"), 9, node(np.arange(1.0, 5)), node(4), basis)
        assert apart(total(formula), np.ones(9), t=np.arange(1, 10)) < 1e-28
        assert apart(layers.temporal(X, formula), 7 * np.ones((9, 2)), t=np.arange(1, 10), x=np.full((9, 2, 4), 7.0)) < 1e-28


# -- normalised --------------------------------------------------------------------------------------------------------

def test_softmax_of_logarithms_is_their_share():
    left = unseen(layers.softmax(X), [[0.125, 0.25, 0.625]], x=np.log([[1.0, 2, 5]]))
    assert left == {"plus for minus before max x", "term left out: max x"}
    assert apart(layers.softmax(X), [[0.75, 0.25]], x=np.array([[log(3), 0.0]])) < 1e-15


def test_two_centres_part_by_the_difference_of_their_squares():
    """x = (1, 2), centres (½, 0) and (3, 4), widths ½ and 2: exponents −17/2 and −1."""
    numbers = dict(x=np.array([[1.0, 2]]), centre=np.array([[0.5, 0], [3, 4]]), log_width=np.log([0.5, 2]))
    share = 1 / (1 + exp(-Fraction(15, 2)))
    left = unseen(layers.rbf(X, given("centre"), given("log_width")), [[1 - share, share]], **numbers)
    assert all(" max " in says or "way round" in says for says in left)


def test_a_group_has_mean_0_and_variance_1():
    """1, 3, 5, 7 have mean 4 and variance 5, with ε = 4 the root 3; a group of equal numbers leaves the shift."""
    numbers = dict(x=np.array([[[1, 5, 2, 2], [3, 7, 2, 2]]]), scale=np.array([3, 6, 1, 1]), shift=np.array([0, 1, 5, -5]))
    formula = layers.group_norm(X, given("scale"), given("shift"), 2, 4)
    assert not unseen(formula, [[[-3, 3, 5, -5], [-1, 7, 5, -5]]], **numbers)


# -- the network of images -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("form", images.FORMS)
def test_a_network_without_a_last_layer_is_the_forward_kernel(form):
    """Whatever its features; and each example at its own step."""
    def affine(*shape):
        return Affine(node(RNG.normal(size=shape)), node(RNG.normal(size=shape[-1])))

    network = Image(((affine(3, 1, 2, 3), affine(1, 1, 2, 3)),), (affine(16, 8),), (affine(4, 4),),
                    Affine(node(np.zeros((4, 12))), node(np.zeros(12))))
    row, t = from_levels(given("beta"), given("level")), np.array([2, 5])
    numbers = dict(x=RNG.normal(size=(2, 2, 4, 2)), beta=np.array([0.1, 0.5]).reshape(2, 1, 1, 1),
                   level=np.array([-0.3, -1.0]).reshape(2, 1, 1, 1))
    for basis, readout in (("paper", "denoising"), ("released", "eq65"), ("paper", "released")):
        mean, var = images.reverse(network, X, row, t=t, T=5, form=form, basis=basis, readout=readout)
        assert apart(mean, forward(X, row).mean, **numbers) < 1e-28
        assert apart(var + 0 * X, row.beta + 0 * X, **numbers) < 1e-28


@pytest.mark.eq("App.1 G reverse", "62", "64", "65")
def test_the_network_of_images_in_digits():
    """Values, and every gradient against the slope of the printed formula."""
    found = accuracy.accuracy(names=("networks.image.reverse",))
    assert len(found) == 17 and all(one.units <= accuracy.LIMIT for one in found)
