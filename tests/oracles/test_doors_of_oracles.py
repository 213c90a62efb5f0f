"""The doors of the oracles: numbers of any kind are taken for what they are, and a step that the chain does not have is refused."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

from refdpm import oracles
from refdpm.oracles import (empirical, enumeration, flow, heartbeat, linear_gaussian, mixture, multiplied, quadrature, roll_curve,
                            swiss_roll, two_sample, wiener)

BETA = np.array([0.0, 0.1, 0.3, 0.6])
RNG = np.random.default_rng(0)
POINTS, BITS = RNG.integers(0, 100, (6, 2)).astype(float), (RNG.random((6, 3)) < 0.4).astype(float)
IMAGES = RNG.integers(0, 100, (40, 2, 2, 1)).astype(float)
S0, SIGMAS = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([90.0, 40.0, 10.0, 2.0, 1.0])
LAW = wiener.fit(IMAGES)
MIXTURE = mixture.Mixture(np.ones(2) / 2, POINTS[:2], POINTS[2:4] + 1)
KERNELS, OPTIMUM = linear_gaussian.reverse_kernels(S0, BETA), quadrature.gauss_hermite(0.0, 1.0, 9)
TAKES_NUMBERS = {
    "the rows of a data set": (POINTS, lambda x: empirical.reverse(x, POINTS, -0.2, -0.7)),
    "states": (POINTS, lambda x: empirical.step_cost(POINTS, x, -0.2, -0.7)),
    "the bound of a data set": (POINTS, lambda x: empirical.bound(x, BETA, draws=5, rng=np.random.default_rng(1))),
    "bits of a data set": (BITS, lambda x: empirical.bit_bound(x, BETA, rate=0.2)),
    "states of bits": (BITS, lambda x: empirical.bit_reverse(BITS, x, -0.2, -0.7, rate=0.2)),
    "sequences": (BITS, enumeration.distribution),
    "a covariance": (S0, lambda x: linear_gaussian.strict_bound(x, BETA)),
    "a mixture's means": (POINTS[:2], lambda x: mixture.score(MIXTURE._replace(mean=x), POINTS, 0.0)),
    "states of a mixture": (POINTS, lambda x: mixture.posterior_moments(MIXTURE, x, -0.2, -0.7)),
    "images": (IMAGES, wiener.fit),
    "images with noise": (IMAGES, lambda x: wiener.denoise(x, LAW, noise_var=2.0)),
    "two images": (IMAGES, lambda x: wiener.squared_error(x, IMAGES[::-1].astype(np.asarray(x).dtype))),
    "a sample": (POINTS, lambda x: two_sample.energy_test(x, POINTS + 1, rng=np.random.default_rng(2))),
    "points near the roll": (POINTS, lambda x: roll_curve.distance_to_curve(x)),
    "states of the roll": (POINTS // 50, lambda x: swiss_roll.denoiser_moments(x, -0.7)),
    "levels by Euler": (SIGMAS, lambda x: flow.euler(1.0, x)), "by Heun": (SIGMAS, lambda x: flow.heun(1.0, x)),
    "multistep": (SIGMAS, lambda x: flow.multistep(1.0, x)), "ancestral": (SIGMAS, lambda x: flow.ancestral(1.0, x)),
    "ratios": (SIGMAS, lambda x: flow.kl_terms(1.0, x)),
    "times": (np.array([1.0, 0.0]), lambda x: flow.straight_steps(2.0, x)),
    "what is known": (np.array([90.0, 0.0]), lambda x: multiplied.held(KERNELS, [True, False], x)),
    "a point": (np.array([1.0, 2.0]), lambda x: quadrature.posterior(x, 0.0, -0.2, -0.7).density),
    "an endpoint": (np.array(90.0), lambda x: flow.flow(1.0, x, 2.0)),
}
KINDS = {"uint8": lambda x: x.astype(np.uint8), "int8": lambda x: x.astype(np.int8), "int64": lambda x: x.astype(np.int64),
         "float16": lambda x: x.astype(np.float16), "float32": lambda x: x.astype(np.float32), "list": np.ndarray.tolist,
         "Fortran": lambda x: np.array(x, order="F"), "read-only": lambda x: np.frombuffer(x.tobytes()).reshape(x.shape)}


def numbers(value):
    if isinstance(value, (tuple, list)):
        return [part for each in value for part in numbers(each)]
    return [np.asarray(value, dtype=float)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TAKES_NUMBERS)
def test_every_kind_of_number_is_taken_for_the_number_that_it_is(name, kind):
    value, ask = TAKES_NUMBERS[name]
    for found, right in zip(numbers(ask(KINDS[kind](value))), numbers(ask(value)), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-13, atol=1e-13 * np.abs(right).max(initial=0))


def test_without_its_door_an_oracle_would_be_wrong():
    sigmas = SIGMAS.astype(np.uint8)
    with np.errstate(over="ignore"):
        assert flow.euler.__wrapped__(1.0, sigmas) != pytest.approx(flow.euler(1.0, sigmas))


def test_every_oracle_opens_its_doors():
    names = [path.stem for path in Path(oracles.__file__).parent.glob("*.py") if path.stem not in ("__init__", "common")]
    for module in (importlib.import_module(f"refdpm.oracles.{name}") for name in names):
        shut = [name for name, member in vars(module).items() if inspect.isfunction(member) and not name.startswith("_")
                and member.__module__ == module.__name__ and not hasattr(member, "__wrapped__")]
        assert not shut, f"{module.__name__}: {shut}"


@pytest.mark.parametrize("wrong", ["abc", [[1.0], [1.0, 2.0]], np.array([object()]), np.ma.masked_array(POINTS, mask=True)])
def test_what_is_no_number_is_named(wrong):
    with pytest.raises(ValueError, match="^(x|y): expected"):
        wiener.fit(np.asarray(wrong) if isinstance(wrong, str) else wrong)


UNIT = np.eye(8)
TAKES_A_STEP = {
    "posterior": (1, lambda t: enumeration.posterior(UNIT, BETA, t, rate=0.2)),
    "reverse_step": (1, lambda t: enumeration.reverse_step(lambda x, t: x * 0.5, BETA, t, 3, rate=0.2)),
    "the best for bits": (2, lambda t: enumeration.optimal_reverse(enumeration.distribution(BITS), BETA, rate=0.2)(BITS, t)),
    "the best heartbeat": (2, lambda t: heartbeat.optimal_reverse(BETA, rate=0.2, n=4, period=2)(np.eye(4), t)),
    "the best on a line": (2, lambda t: quadrature.optimal_reverse(OPTIMUM, BETA)(np.zeros(2), t)),
}


@pytest.mark.parametrize("name", TAKES_A_STEP)
def test_a_step_that_the_chain_does_not_have_is_refused(name):
    first, ask = TAKES_A_STEP[name]
    ask(first), ask(3)
    for t in (-1, first - 1, 4):
        with pytest.raises(ValueError, match=f"t: expected a step from {first} to T = 3, got {t}"):
            ask(t)


TAKES_A_SCHEDULE = {
    "empirical": lambda beta: empirical.bound(POINTS, beta, draws=3, rng=np.random.default_rng(0)),
    "enumeration": lambda beta: enumeration.entropies(enumeration.distribution(BITS), beta, rate=0.2),
    "heartbeat": lambda beta: heartbeat.bound(beta, rate=0.2, n=4, period=2),
    "linear_gaussian": lambda beta: linear_gaussian.reverse_kernels(S0, beta),
    "forward kernels": lambda beta: linear_gaussian.reverse_kernels(S0, beta, kernels="forward"),
    "multiplied": lambda beta: multiplied.exact_bits(np.ones(8), lambda x, t: x * 0.5, beta, 3, rate=0.2),
    "quadrature": lambda beta: quadrature.bound(OPTIMUM, beta, lambda x, t: (x, 1.0 + 0 * x)),
    "swiss_roll": lambda beta: swiss_roll.step_costs(beta),
}


@pytest.mark.parametrize("wrong", [BETA[1:], BETA[:, None], np.array([0.0, 0.1, 1.0, 0.3]), np.array([0.0, 0.1, np.nan, 0.3])],
                         ids=["without β_0", "a column", "a rate of 1 before T", "not a number"])
@pytest.mark.parametrize("name", TAKES_A_SCHEDULE)
def test_what_is_no_schedule_is_refused(name, wrong):
    with pytest.raises(ValueError, match="beta: expected"):
        TAKES_A_SCHEDULE[name](wrong)
