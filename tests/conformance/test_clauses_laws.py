"""Clauses on what is drawn and on how functions behave: right ones pass at every seed that is tried, wrong ones are seen."""

import numpy as np
import pytest

from refdpm import binomial, bound, gaussian
from refdpm.conformance.adapter import Fault, Local
from refdpm.conformance.session import NAMES
from refdpm.conformance.chapters import in_chapters
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.chapters import laws, purity
from refdpm.conformance.chapters.inputs import Given
from refdpm.conformance.mistakes import MISTAKES, planted
from refdpm.conformance.profile import Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import Subject

QUANTITIES = tuple(in_chapters(Quantity, "gaussian", "bound"))
LAWS = {law.id: law for law in laws.LAWS + purity.LAWS}
DTYPES = ("float64", "float32")


def found(target, name, profile=Profile(), seed=0):
    source = target if isinstance(target, Reference) else Local(target, names=NAMES)
    return LAWS[name].run(Subject(source, QUANTITIES, profile), Given(source.beta), seed)


# -- laws ----------------------------------------------------------------------------------------------------------------

class Draws:
    """What this package draws."""

    def draw_times(self, T, N, seed):
        return bound.draw_steps(np.random.default_rng(seed), T, (1, N))[0]

    def draw_noise(self, shape, seed):
        return gaussian.draw_noise(np.random.default_rng(seed), shape)

    def draw_uniform(self, shape, seed):
        return binomial.draw_noise(np.random.default_rng(seed), shape)


class FromOne(Draws):
    def draw_times(self, T, N, seed):
        return np.random.default_rng(seed).integers(1, T + 1, N)


class FromZero(Draws):
    def draw_times(self, T, N, seed):
        return np.random.default_rng(seed).integers(0, T, N)


class Single(Draws):
    def draw_noise(self, shape, seed):
        return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)

    def draw_uniform(self, shape, seed):
        return np.random.default_rng(seed).random(shape, dtype=np.float32)


@pytest.mark.parametrize("adapter", [Draws, FromOne, FromZero, Single])
@pytest.mark.parametrize("law", ["LAW.TIMES", "LAW.NOISE", "LAW.UNIFORM"])
def test_right_draws_pass(adapter, law):
    assert max(found(adapter(), law, seed=seed).ratio for seed in range(10)) <= 1


def test_time_counted_from_zero_is_right_where_that_is_the_convention():
    class Both(FromZero):
        def marginal_sample(self, x_0, t, beta, noise):
            raise AssertionError

    assert found(Both(), "LAW.TIMES", Profile(first_t=0)).ratio <= 1
    assert found(Both(), "LAW.TIMES", Profile(first_t=1)).ratio == np.inf


def test_an_adapters_own_schedule_says_what_T_is():
    class Long(FromOne):
        beta = np.full(1000, 0.01)

        def draw_times(self, N, seed):
            return np.random.default_rng(seed).integers(1, 1001, N)

    assert found(Long(), "LAW.TIMES").ratio <= 1


@pytest.mark.parametrize("id, law", [("RNG-01", "LAW.TIMES"), ("RNG-02", "LAW.TIMES"), ("RNG-11", "LAW.TIMES"),
                                     ("RNG-08", "LAW.NOISE"), ("RNG-08c", "LAW.UNIFORM")])
def test_planted_mistakes_of_draws_are_seen_and_named(id, law):
    with planted(next(mistake for mistake in MISTAKES if mistake.id == id)):
        result = found(Draws(), law)
    assert result.ratio > 1
    assert id.rstrip("c") in result.reason


def wrong_noise(change):
    class Wrong(Draws):
        def draw_noise(self, shape, seed):
            return change(np.random.default_rng(seed), shape)

    return Wrong()


@pytest.mark.parametrize("change", [
    lambda rng, shape: rng.standard_normal(shape) + 0.1, lambda rng, shape: 1.05 * rng.standard_normal(shape),
    lambda rng, shape: np.sqrt(12) * (rng.random(shape) - 0.5), lambda rng, shape: rng.exponential(size=shape) - 1,
    lambda rng, shape: np.random.default_rng(0).standard_normal(shape),
    *(lambda rng, shape, axis=axis: np.repeat(rng.standard_normal(tuple(1 if a == axis else n for a, n in enumerate(shape))),
                                              shape[axis], axis=axis) for axis in range(4))],
    ids=["mean", "variance", "uniform", "skewed", "the same for every seed", "examples", "rows", "columns", "channels"])
def test_wrong_noise_is_seen(change):
    assert found(wrong_noise(change), "LAW.NOISE").ratio > 1


@pytest.mark.parametrize("change", [lambda rng, shape: np.full(shape, np.nan), lambda rng, shape: rng.standard_normal(shape[:-1])])
def test_what_is_no_noise_is_a_fault(change):
    with pytest.raises(Fault, match="expected"):
        found(wrong_noise(change), "LAW.NOISE")


@pytest.mark.parametrize("change", [lambda rng, shape: rng.standard_normal(shape), lambda rng, shape: 1 - rng.random(shape),
                                    lambda rng, shape: rng.random(shape) ** 1.1, lambda rng, shape: np.round(rng.random(shape), 1)])
def test_wrong_uniform_noise_is_seen(change):
    class Wrong(Draws):
        def draw_uniform(self, shape, seed):
            u = change(np.random.default_rng(seed), shape)
            return np.where(u == u.max(), 1.0, u) if u.max() <= 1 else u

    assert found(Wrong(), "LAW.UNIFORM").ratio > 1


# -- behaviour -----------------------------------------------------------------------------------------------------------

class Forward:
    """Two functions as they should be."""

    def marginal_sample(self, x_0, t, beta, noise):
        alpha_bar = np.cumprod(1 - beta)[t - 1].reshape((-1,) + (1,) * (x_0.ndim - 1))
        return np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * noise

    def forward(self, x_prev, t, beta):
        b = beta[t - 1].reshape((-1,) + (1,) * (x_prev.ndim - 1))
        return np.sqrt(1 - b) * x_prev, b

    def K(self, model, x_0, noise, beta):
        return np.array([float(model(x_0, np.full(len(x_0), 1)).sum())] * len(x_0))          # wrong, but that is not asked here


class InPlace(Forward):
    def marginal_sample(self, x_0, t, beta, noise):
        x_0 *= 0.5
        return super().marginal_sample(2 * x_0, t, beta, noise)


class ShiftsTime(Forward):
    def marginal_sample(self, x_0, t, beta, noise):
        t -= 1
        return super().marginal_sample(x_0, t + 1, beta, noise)


class ChangesTheModel(Forward):
    def K(self, model, x_0, noise, beta):
        model.bias[0] += 1
        return np.zeros(len(x_0))


class Remembers(Forward):
    last = 0.0

    def marginal_sample(self, x_0, t, beta, noise):
        self.last, last = float(noise.sum()) * 1e-9, self.last
        return super().marginal_sample(x_0, t, beta, noise) + last


class Random(Forward):
    def marginal_sample(self, x_0, t, beta, noise):
        return super().marginal_sample(x_0, t, beta, noise + 1e-9 * np.random.default_rng().standard_normal(noise.shape))


class OneTime(Forward):
    def marginal_sample(self, x_0, t, beta, noise):
        return super().marginal_sample(x_0, np.full_like(t, t[0]), beta, noise)


class Sorted(Forward):
    def forward(self, x_prev, t, beta):
        return super().forward(x_prev, np.sort(t), beta)


class Centred(Forward):
    def forward(self, x_prev, t, beta):
        mean, var = super().forward(x_prev - 1e-3 * x_prev.mean(axis=0), t, beta)
        return mean, var


@pytest.mark.parametrize("law", ["PURE.INPUTS", "PURE.SAME", "PURE.ROWS"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_this_package_is_pure(law, dtype):
    result = found(Reference(dtype, functions=QUANTITIES), law)
    assert result.ratio <= 1, result.reason


@pytest.mark.parametrize("adapter, law, says", [
    (InPlace, "PURE.INPUTS", "marginal_sample changes its input x_0"),
    (ShiftsTime, "PURE.INPUTS", "marginal_sample changes its input t"),
    (ChangesTheModel, "PURE.INPUTS", "K changes its input model"),
    (Remembers, "PURE.SAME", "marginal_sample answers the same call"),
    (Random, "PURE.SAME", "marginal_sample answers the same call"),
    (OneTime, "PURE.ROWS", "marginal_sample answers otherwise for rows"),
    (Sorted, "PURE.ROWS", "forward answers otherwise for rows"),
    (Centred, "PURE.ROWS", "forward answers otherwise for rows alone")])
def test_impure_functions_are_seen(adapter, law, says):
    result = found(adapter(), law)
    assert result.ratio > 1 and says in result.reason
    assert isinstance(result.inputs, dict)
    assert all(found(Forward(), name).ratio <= 1 for name in ("PURE.INPUTS", "PURE.SAME", "PURE.ROWS"))


@pytest.mark.parametrize("id", ["SHP-02"])
def test_rows_that_mix_in_a_planted_mistake(id):
    mistake = next(mistake for mistake in MISTAKES if mistake.id == id)
    assert found(Reference("float32", mistake, functions=QUANTITIES), "PURE.ROWS").ratio > 1


@pytest.mark.parametrize("id", ["SHP-07"])
def test_inputs_that_a_planted_mistake_changes(id):
    mistake = next(mistake for mistake in MISTAKES if mistake.id == id)
    assert found(Reference("float64", mistake, functions=QUANTITIES), "PURE.INPUTS").ratio > 1
