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
    pytest.param("schedules by hand", marks=pytest.mark.eq("15", "App.1 G targets")),
    "schedule: stretched to ᾱ = 0 by hand",
    "wrong schedules are refused",
    pytest.param("forward step and draw by hand", marks=pytest.mark.eq("2", "App.1 G forward")),
    pytest.param("steps compose to the marginal", marks=pytest.mark.eq("App.1 G marginal")),
    pytest.param("π is stationary, the step reversible", marks=pytest.mark.eq("1", "44", "App.1 G prior")),
    pytest.param("posterior is Bayes' rule on a grid", marks=pytest.mark.eq("47", "48", "App.1 G posterior")),
    "divergence, entropies and density by quadrature",
    "noise is standard normal",
    pytest.param("bits: forward step and draw by hand", marks=pytest.mark.eq("2", "App.1 B forward")),
    pytest.param("bits: π is stationary, the step reversible", marks=pytest.mark.eq("1", "44", "App.1 B prior")),
    pytest.param("bits: posterior is Bayes' rule", marks=pytest.mark.eq("47", "48", "App.1 B posterior")),
    "bits: divergences by hand",
    "bits: noise is uniform",
    pytest.param("K and strict bound of Gaussian data", marks=pytest.mark.eq(
        "12", "14", "38", "40", "41", "45", "51", "App.1 G bound")),
    pytest.param("K and strict bound by quadrature", marks=pytest.mark.eq("12", "14", "38", "51")),
    pytest.param("isotropic data gain nothing: K = L_null", marks=pytest.mark.eq("14")),
    "examples do not mix, components add",
    "drawn t are uniform on 2..T",
    pytest.param("exact reversal: every path weighs π(x_0)", marks=pytest.mark.eq("9", "44")),
    pytest.param("weights average to the likelihood", marks=pytest.mark.eq("5", "6", "7", "8", "9")),
    pytest.param("averages, bits and the null model by hand", marks=pytest.mark.eq("9", "11", "14", "App.1 B likelihood")),
    pytest.param("bits: K and strict bound by enumeration", marks=pytest.mark.eq(
        "12", "14", "38", "40", "41", "45", "51", "App.1 B bound")),
    pytest.param("bits: weights by enumeration", marks=pytest.mark.eq(
        "3", "5", "6", "7", "8", "9", "12", "44", "App.1 B forward law", "App.1 B reverse law")),
    pytest.param("bits: bounds of the reverse entropy by enumeration", marks=pytest.mark.eq("24", "30", "35", "36")),
    pytest.param("read-outs by hand", marks=pytest.mark.eq("64", "65")),
    "denoising has the moments of the reversal",
    "the network starts on the data",
    pytest.param("reverse path has the model's law", marks=pytest.mark.eq("4", "5", "App.1 G reverse law")),
    pytest.param("reverse path asks the network in order", marks=pytest.mark.eq("5", "44")),
    pytest.param("forward path has the forward law", marks=pytest.mark.eq("3", "App.1 G forward law")),
    "optimisers for three steps",
    "L-BFGS finds the minimum",
    pytest.param("products by hand", marks=pytest.mark.eq("22", "52", "53", "60", "61", "App.1 B perturbed", "App.1 G perturbed")),
    pytest.param("factors by hand", marks=pytest.mark.eq("22", "23", "61")),
    "what is known of x_0",
    pytest.param("multiplied chain has the method's law", marks=pytest.mark.eq("16", "22", "23", "61", "App.1 G perturbed")),
    pytest.param("bits: multiplied chain by enumeration", marks=pytest.mark.eq("16", "22", "23", "App.1 B perturbed")),
    "noisy states enter the chain",
    "images: mean square 1 with the noise",
    "images: there and back by hand",
    "heartbeat: every phase alike",
    pytest.param("bits: read-outs by hand", marks=pytest.mark.eq("App.1 B reverse")),
    "bits: denoising makes the best step",
    "the heartbeat's network starts at the forward kernel",
    "convolution by SciPy",
    "pooling and repetition by laws",
    pytest.param("bumps and their mixtures by hand", marks=pytest.mark.eq("62", "63")),
    "layers at special points",
    "softmax by hand",
    "group normalisation by hand",
    "the image network starts at the forward kernel",
    "the image network starts with the layers asked for",
    "the image network starts with features of order 1",
    pytest.param("later: turned by hand", marks=pytest.mark.eq("48")),
    "later: losses by hand",
    "later: variances by hand",
    "later: masses add to 1 and are fine densities",
    pytest.param("later: with the paper's edge it is the strict bound", marks=pytest.mark.eq("12", "41", "43", "44")),
    "later: kept steps are rounded as stated",
    "later: chains along the flow",
    "later: chains with noise",
    "later: likelihood by the flow",
    "later: times of repeated inpainting by hand",
    "later: DDIM has the exact law",
    "later: ancestral steps have the exact law",
    "later: a clipped x_0 is clipped everywhere",
    "symbols: matrices multiply",
    "symbols: any matrices in their order",
    "symbols: posterior and reverse step by enumeration",
    "symbols: posterior with a law of its own by enumeration",
    "symbols: a mask that is never data, class by class",
    "symbols: the gradient of a law that is said at t = 1",
    "symbols: the bound's term at t = 1 by Bayes' rule",
    "symbols: divergence by hand",
    "symbols: a chain told its steps",
])
def test_check_passes(name):
    assert residual(BY_NAME[name]) <= 1


def test_every_check_is_run_above():
    rows, = (mark.args[1] for mark in test_check_passes.pytestmark if mark.name == "parametrize")
    names = [getattr(row, "values", (row,))[0] for row in rows]
    assert sorted(names) == sorted(check.name for check in CHECKS)
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
