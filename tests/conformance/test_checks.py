"""Correct: every value agrees with something that shares no line with it; and every check that says so can also say no.

The numbers in the margin are the equations that a check is evidence for.
"""

import importlib
import inspect

import numpy as np
import pytest

from refdpm.conformance import accuracy, cases
from refdpm.conformance.checks import CHECKS, Check, residual
from refdpm.conformance.checks.common import apart, passes, refused, signs, worst
from refdpm.conformance.mistakes import MISTAKES, planted

BY_NAME = {check.name: check for check in CHECKS}


@pytest.mark.parametrize("name", [
    "reciprocal: ᾱ falls evenly to 0",
    "linear and geometric end as asked",
    pytest.param("a learned schedule starts where it is told", marks=pytest.mark.eq("15", "App.1 G targets")),
    "wrong schedules are refused",
    pytest.param("forward step by hand", marks=pytest.mark.eq("2", "App.1 G forward")),
    pytest.param("steps compose to the marginal", marks=pytest.mark.eq("App.1 G marginal")),
    pytest.param("π is stationary, the step reversible", marks=pytest.mark.eq("1", "44", "App.1 G prior")),
    pytest.param("posterior is Bayes' rule on a grid", marks=pytest.mark.eq("47", "48", "App.1 G posterior")),
    pytest.param("posterior averages to the marginal", marks=pytest.mark.eq("App.1 G posterior")),
    "divergence by quadrature",
    "divergence is 0 at equality",
    "density integrates to 1",
    "entropies by quadrature",
    "a draw is mean + √var · noise",
    "noise is standard normal",
    pytest.param("bits: forward step by hand", marks=pytest.mark.eq("2", "App.1 B forward")),
    pytest.param("bits: π is stationary, the step reversible", marks=pytest.mark.eq("1", "44", "App.1 B prior")),
    pytest.param("bits: posterior is Bayes' rule", marks=pytest.mark.eq("47", "48", "App.1 B posterior")),
    "bits: divergences by hand",
    "bits: a draw is a threshold",
    "bits: noise is uniform",
    pytest.param("K of Gaussian data", marks=pytest.mark.eq("14", "51", "App.1 G bound")),
    pytest.param("strict bound of Gaussian data", marks=pytest.mark.eq("12", "38", "40", "41", "45")),
    pytest.param("K and strict bound by quadrature", marks=pytest.mark.eq("12", "14", "38", "51")),
    pytest.param("isotropic data gain nothing: K = L_null", marks=pytest.mark.eq("14")),
    pytest.param("T = 1 has no divergence", marks=pytest.mark.eq("14", "44")),
    pytest.param("divergences of K one by one", marks=pytest.mark.eq("14", "49", "50", "App.1 G bound")),
    pytest.param("K assembled by hand", marks=pytest.mark.eq("14")),
    pytest.param("every t drawn is the full sum", marks=pytest.mark.eq("14")),
    "examples do not mix",
    "components add",
    "drawn t are uniform on 2..T",
    "arguments are left alone",
    pytest.param("exact reversal: every path weighs π(x_0)", marks=pytest.mark.eq("9", "44")),
    pytest.param("weights average to the likelihood", marks=pytest.mark.eq("5", "6", "7", "8", "9")),
    pytest.param("log-likelihood of given weights", marks=pytest.mark.eq("9", "11")),
    pytest.param("sampled log-likelihood", marks=pytest.mark.eq("9", "10", "11")),
    "bits and averages by hand",
    pytest.param("bits: K by enumeration", marks=pytest.mark.eq("14", "51", "App.1 B bound")),
    pytest.param("bits: strict bound by enumeration", marks=pytest.mark.eq("12", "38", "40", "41", "45")),
    pytest.param("bits: terms of K one by one", marks=pytest.mark.eq("14", "49", "50", "App.1 B bound")),
    pytest.param("bits: correction in closed form", marks=pytest.mark.eq("43", "46")),
    pytest.param("bits: weights by enumeration", marks=pytest.mark.eq(
        "3", "5", "6", "7", "8", "9", "12", "44", "App.1 B forward law", "App.1 B reverse law")),
    pytest.param("bits: null model by hand", marks=pytest.mark.eq("App.1 B likelihood")),
    "activations at special points",
    "affine layers by loops",
    "radial basis by loops",
    pytest.param("read-outs start at the forward kernel", marks=pytest.mark.eq("64", "65")),
    pytest.param("read-outs by hand", marks=pytest.mark.eq("64", "65")),
    "denoising has the moments of the reversal",
    "the network starts on the data",
    pytest.param("reverse path has the model's law", marks=pytest.mark.eq("4", "5", "App.1 G reverse law")),
    pytest.param("reverse path asks the network in order", marks=pytest.mark.eq("5", "44")),
    pytest.param("samples end as named", marks=pytest.mark.eq("44")),
    pytest.param("forward path has the forward law", marks=pytest.mark.eq("3", "App.1 G forward law")),
    "momentum for three steps",
    "RMSprop for three steps",
    "Adam for three steps",
    "L-BFGS finds the minimum",
    pytest.param("a product of normal laws by hand", marks=pytest.mark.eq("22", "52", "53")),
    pytest.param("bits: a product by hand", marks=pytest.mark.eq("22", "App.1 B perturbed")),
    pytest.param("a product to first order by hand", marks=pytest.mark.eq("60", "61", "App.1 G perturbed")),
    pytest.param("powers of r", marks=pytest.mark.eq("23")),
    pytest.param("factors by hand", marks=pytest.mark.eq("22", "23", "61")),
    pytest.param("expectations over what follows", marks=pytest.mark.eq("21")),
    "what is known of x_0",
    pytest.param("multiplied chain has the method's law", marks=pytest.mark.eq("16", "22", "23")),
    pytest.param("guided chain by hand", marks=pytest.mark.eq("61", "App.1 G perturbed")),
    pytest.param("denoising and inpainting have the method's law", marks=pytest.mark.eq("16", "22", "23")),
    "noisy states enter the chain",
    pytest.param("bits: multiplied chain by enumeration", marks=pytest.mark.eq("16", "22", "23", "App.1 B perturbed")),
    "heartbeat: every phase alike",
    "images: constants by fractions",
    "images: mean square 1 with the noise",
    "images: there and back by hand",
    pytest.param("bits: read-outs by hand", marks=pytest.mark.eq("App.1 B reverse")),
    "bits: denoising is a sum over x_0",
    "bits: denoising makes the best step",
    pytest.param("heartbeat: known phases give K*", marks=pytest.mark.eq("14", "App.1 B bound")),
    "the heartbeat's network starts at the forward kernel",
    "convolution by SciPy",
    "convolution of a point",
    "convolution moves with the image",
    "pooling and repetition by laws",
    pytest.param("bumps by hand", marks=pytest.mark.eq("63")),
    pytest.param("bumps part 1", marks=pytest.mark.eq("63")),
    pytest.param("mixtures of coefficients", marks=pytest.mark.eq("62")),
    "layers one after another",
    "paths side by side",
    "the image network starts at the forward kernel",
    "the image network starts with the layers asked for",
    "the image network starts with features of order 1",
    "later: turned by hand",
    pytest.param("later: every prediction is the same step", marks=pytest.mark.eq("48")),
    "later: the first step is x_0",
    "later: score of a mixture",
    "later: weights are squares of errors",
    "later: signal-to-noise ratios by hand",
    "later: variances by hand",
    "later: variances at t = 1 by hand",
    "later: the read-out takes what is named",
    pytest.param("later: models are read as named", marks=pytest.mark.eq("44")),
    "later: levels end as asked",
    "later: masses add to 1",
    "later: masses are differences",
    "later: fine masses are densities",
    pytest.param("later: the bound's ends by integration", marks=pytest.mark.eq("44")),
    pytest.param("later: with the paper's edge it is the strict bound", marks=pytest.mark.eq("12", "41", "43", "44")),
    pytest.param("later: terms with a decoder one by one", marks=pytest.mark.eq("14")),
    "later: bits per dimension by hand",
    "later: jumps keep the marginals",
    "later: kept steps are rounded as stated",
    "later: DDIM has the exact law",
    "later: white data shrink by cosines",
    "later: ancestral steps have the exact law",
    "later: a clipped x_0 is clipped everywhere",
    "symbols: matrices multiply",
    "symbols: posterior by Bayes' rule",
    "symbols: reverse step by enumeration",
    "symbols: divergence by hand",
    "softmax by hand",
    "softmax of two is a sigmoid",
    "group normalisation by hand",
    "group normalisation makes mean 0 and variance 1",
])
def test_check_passes(name):
    assert residual(BY_NAME[name]) <= 1


def test_every_check_is_run_above():
    rows, = (mark.args[1] for mark in test_check_passes.pytestmark if mark.name == "parametrize")
    assert [getattr(row, "values", (row,))[0] for row in rows] == [check.name for check in CHECKS]
    assert len(BY_NAME) == len(CHECKS)


def test_every_public_function_is_judged():
    """By a check or in digits; adjoints are judged by the adjoint test, training by what it is made of."""
    judged = {target.removesuffix("_vjp") for check in CHECKS for target in check.targets} | set(accuracy.BOOK)
    for name in (*cases.PAIR_MODULES, "likelihood", "sample", "optimize"):
        module = importlib.import_module(f"refdpm.{name}")
        public = {f"{name}.{f}" for f, member in vars(module).items() if inspect.isfunction(member)
                  and member.__module__ == module.__name__ and f[0] != "_" and not f.endswith("_vjp")}
        assert public <= judged


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_check_can_fail(check):
    """For every check there is a mistake that it finds; a check that finds none checks nothing."""
    own = [m for m in MISTAKES if m.kind == "value" and {m.target, f"{m.target}_vjp"} & set(check.targets)]
    others = [m for m in MISTAKES if m.kind == "value" and m not in own]
    with np.errstate(all="ignore"):
        assert any(_fails_under(check, mistake) for mistake in own + others)


def _fails_under(check, mistake):
    with planted(mistake):
        return not residual(check) <= 1


# -- the tools of the checks -------------------------------------------------------------------------------------------

def test_nan_and_exceptions_count_as_failures():
    def broken():
        raise ValueError("no")

    assert residual(Check("", (), lambda: float("nan"))) == np.inf
    assert residual(Check("", (), broken)) == np.inf
    assert residual(Check("", (), lambda: 0.25)) == 0.25


def test_distance_is_in_units_of_the_tolerance():
    assert apart([1.0, 2.0], [1.0, 2.0]) == 0
    assert apart([1.0, 2.0 + 2e-6], [1.0, 2.0], within=1e-6) == pytest.approx(1)
    assert apart([1e-6, 1.0], [0.0, 1.0], within=1e-6) == pytest.approx(1)
    assert apart([2e-6, 1.0], [1e-6, 1.0], within=1, scale=[1e-6, 1.0]) == pytest.approx(1)
    assert apart(np.zeros((0, 2)), np.zeros((0, 2))) == 0


def test_distance_sees_shapes_nan_and_infinity():
    assert apart([[1.0, 2.0]], [1.0, 2.0]) == np.inf
    assert apart([1.0, 1.0], 1.0) == np.inf
    assert np.isnan(apart([np.nan, 1.0], [1.0, 1.0]))
    assert apart([-np.inf, 1.0], [-np.inf, 1.0]) == 0
    assert apart([-np.inf, 1.0], [1.0, 1.0]) == np.inf


def test_worst_keeps_nan_wherever_it_stands():
    assert worst(0.1, 0.7, 0.2) == 0.7
    assert np.isnan(worst(np.nan, 1.0)) and np.isnan(worst(1.0, np.nan))


def test_facts_and_refusals():
    def refuse():
        raise ValueError("no")

    assert passes(True, np.array([True])) == 0 and passes(True, np.array([True, False])) == np.inf
    assert refused(refuse) and not refused(lambda: None)


def test_signs_have_the_moments_of_the_normal_law_up_to_the_third():
    x = signs(3)
    assert np.array_equal(x.mean(axis=0), np.zeros(3)) and np.array_equal(x.T @ x / 8, np.eye(3))
    assert not np.einsum("ni,nj,nk->ijk", x, x, x).any()
