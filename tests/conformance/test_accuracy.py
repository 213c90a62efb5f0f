"""Every formula of the package is accurate to a few roundings, and the measure notices one that is not."""

from decimal import Decimal
import importlib
import inspect

import numpy as np
import pytest
from scipy.special import log1p, ndtr, softmax

from refdpm import activation, binomial, bound, gaussian, likelihood, product, schedule
from refdpm.binomial import Bernoulli
from refdpm.conformance.accuracy import LIMIT, SMALLEST, UNIT, accuracy, units
from refdpm.conformance.accuracy.core import FORMULAS
from refdpm.conformance.cases import PAIR_MODULES
from refdpm.gaussian import Gaussian
from refdpm.later import decoder
from refdpm.layers import conv, linear, pool, rbf, temporal
from refdpm.networks import bit_readout, image, readout
from refdpm.oracles.decimals import Exact


ASSEMBLE = bound.assemble


@pytest.fixture(scope="module")
def found():
    return accuracy()


def too_large(rows):
    return {row.name for row in rows if not row.units <= LIMIT}


PARTS = ("activation", "schedule", "gaussian", "binomial", "likelihood", "bound", "linear", "rbf", "readout", "swiss_roll", "chain",
         "product", "bit_readout", "heartbeat", "conv", "pool", "multiscale", "temporal", "stack", "image",
         "parametrisation", "mean.", "weights", "variance", "decoder", "objective", "sampler", "categorical", "norm")


@pytest.mark.parametrize("part", PARTS)
def test_every_formula_is_accurate(found, part):
    rows = [row for row in found if row.name.startswith(part)]
    assert rows and not too_large(rows), [row for row in rows if row.name in too_large(rows)]


def test_every_formula_has_its_rows(found):
    names = [row.name for row in found]
    assert len(names) == len(set(names))
    for formula in [formula for group in FORMULAS.values() for formula in group]:
        assert any(covers(name, formula.name) for name in names)


# public functions without a row of their own name, and why
WITHOUT_ROW = {
    "schedule.checked": "returns its argument",
    "schedule.step": "gathers",
    "schedule.step_at": "gathers from log_alpha_bar",
    "gaussian.prior": "zeros and ones",
    "gaussian.draw_noise": "random",
    "binomial.draw": "bits, by one comparison; the probability is activation.sigmoid",
    "binomial.draw_noise": "random",
    "bound.every_step": "integers",
    "bound.draw_steps": "random integers",
    "swiss_roll.init": "chooses data points; one logarithm",
    "product.times": "one of the two products",
    "product.powers": "makes a function of product.times and product.power",
    "product.guided": "makes a function of product.perturbed",
    "product.known": "chooses",
    "product.posterior_path": "draws, from the products at every t",
    "product.posterior_sample": "draws, from the products at every t",
    "product.denoise": "draws, from the products at every t",
    "product.enter": "draws, from the network's steps",
    "product.denoiser": "one difference and one quotient of gaussian.posterior's means, which cancel where c_t x_t is most of them",
    "product.inpaint": "draws, from the products at every t",
    "bit_readout.read_out": "one of the three read-outs",
    "heartbeat.init": "random",
    "readout.read_out": "one of the three read-outs",
    "stack.stack": "calls its layers",
    "image.init": "random; zeros",
    "mean.x_0_from": "one of the conversions",
    "mean.from_x_0": "one of the conversions",
    "mean.mean_from": "one of the conversions",
    "variance.read_out": "a mean and a variance, each with a row",
    "model.as_network": "makes a module of a predictor and variance.read_out",
    "model.last_step": "variance.read_out or gaussian.forward",
    "objective.decoder": "decoder.log_mass of model.last_step at a drawn x_1",
    "objective.terms": "bound.step_kl, objective.prior_kl and objective.decoder",
    "categorical.reverse": "a softmax, a logarithm and a posterior, each with a row",
    "sampler.spaced": "integers",
    "sampler.ddim_path": "draws, from sampler.jump at every kept step",
    "sampler.ancestral_path": "draws, from the network's steps",
}
ELSEWHERE = {"schedule.log_alpha_bar": "chain.log_alpha_bar", "schedule.alpha_bar": "chain.alpha_bar"}


def covers(row, name):
    """The row `name` itself, or with a field or a label behind it."""
    return row == name or row.startswith((f"{name}.", f"{name} "))


def public_functions():
    for path in PAIR_MODULES:
        module = importlib.import_module(f"refdpm.{path}")
        for name, member in vars(module).items():
            if inspect.isfunction(member) and member.__module__ == module.__name__ and not name.startswith("_"):
                if not name.endswith("_vjp"):
                    yield f"{path.rpartition('.')[2]}.{name}"


def test_every_public_function_has_a_row_or_a_reason(found):
    names, functions = [row.name for row in found], set(public_functions())
    without = {f for f in functions if not any(covers(row, ELSEWHERE.get(f, f)) for row in names)}
    assert without == set(WITHOUT_ROW) and set(ELSEWHERE) <= functions


def test_the_same_at_every_call(found):
    assert set(accuracy(groups=("activation", "rbf"))) <= set(found)


# -- the measure fails where it should -----------------------------------------------------------------------------------

def naive_kl(q, p):
    return (np.log(p.var / q.var) + (q.var + (q.mean - p.mean) ** 2) / p.var - 1) / 2


def naive_rbf(x, centre, log_width):
    """|x|² − 2 x·c + |c|², which cancels near a centre."""
    squared = (x * x).sum(axis=1)[:, None] - 2 * x @ centre.T + (centre * centre).sum(axis=1)
    weight = np.exp(-squared / (2 * np.exp(2 * log_width)))
    return weight / weight.sum(axis=1, keepdims=True)


def naive_posterior(x_t, x_0, beta, log_alpha_bar_prev):
    """Precisions added, as in Bayes' rule, with 1 − ᾱ_{t−1} by subtraction."""
    a = np.exp(log_alpha_bar_prev)
    precision = 1 / (1 - a) + (1 - beta) / beta
    return Gaussian((np.sqrt(a) / (1 - a) * x_0 + np.sqrt(1 - beta) / beta * x_t) / precision, 1 / precision)


def naive_cosine(T, *, offset=0.008, cap=0.999):
    level = np.cos((np.arange(T + 1.0) / T + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.append(0.0, np.minimum(1 - level[1:] / level[:-1], cap))


def naive_eq65(heads, x_t, beta):
    odds = np.exp(-heads.var) * (1 / beta - 1)
    return Gaussian((x_t - heads.mean) * np.sqrt(1 - 1 / (1 + odds)) + heads.mean, 1 / (1 + odds))


def naive_product(p, r):
    """As a measurement update, by subtraction."""
    gain = p.var / (p.var + r.var)
    return Gaussian(p.mean + gain * (r.mean - p.mean), p.var - gain * p.var)


def naive_bumps(t, *, T, count, basis="paper"):
    """t² − 2tτ + τ², of which t² is the same for every bump."""
    tau = T * (np.arange(count) + 0.5) / count if basis == "paper" else np.linspace(1, T, count)
    width = T / count if basis == "paper" else (T - 1) / max(count - 1, 1) / 2
    return softmax((2.0 * np.multiply.outer(t, tau) - tau * tau) / (2 * width ** 2), axis=1)


def naive_bits_forward(x_prev, beta, *, rate=0.5):
    p = x_prev * (1 - beta) + rate * beta
    return Bernoulli(np.log(p) - np.log(1 - p))


def naive_bits_marginal(x_0, log_alpha_bar, *, rate=0.5):
    kept = np.exp(log_alpha_bar)
    p = kept * x_0 + (1 - kept) * rate
    return Bernoulli(np.log(p) - np.log(1 - p))


def naive_bits_posterior(x_t, x_0, beta, log_alpha_bar_prev, *, rate=0.5):
    """The logit of a probability: near 1 half of its digits are gone."""
    p = binomial.sigmoid(POSTERIOR(x_t, x_0, beta, log_alpha_bar_prev, rate=rate).logit)
    return Bernoulli(np.log(p) - np.log(1 - p))


def naive_bit_readout(z, x_t, beta, log_alpha_bar_prev, *, rate=0.5):
    """The logit of 1 − q(x_{t−1} = 0)."""
    p = 1 - binomial.sigmoid(-BIT_READOUT(z, x_t, beta, log_alpha_bar_prev, rate=rate).logit)
    return Bernoulli(np.log(p) - np.log(1 - p))


def naive_bits_kl(q, p):
    s, r = q.prob, p.prob
    return s * np.log(s / r) + (1 - s) * np.log((1 - s) / (1 - r))


def naive_bits_entropy(q):
    return -q.prob * np.log(q.prob) - (1 - q.prob) * np.log(1 - q.prob)


BIT_READOUT = bit_readout.denoising
POSTERIOR, CORRECTION, CROSS_ENTROPY = binomial.posterior, bound.correction, gaussian.cross_entropy
CONV2D, MEAN_POOL = conv.conv2d, pool.mean_pool
NAIVE_SERIES = {"x_minus_log1p": lambda x: x - np.log1p(x), "expm1_minus_x": lambda x: np.expm1(x) - x}

PLANTED = {
    "probabilities, forward": ("binomial", binomial, "forward", naive_bits_forward),
    "probabilities, marginal": ("binomial", binomial, "marginal", naive_bits_marginal),
    "probabilities, posterior": ("binomial", binomial, "posterior", naive_bits_posterior),
    "probabilities, chain": ("binomial chain", binomial, "posterior", naive_bits_posterior),
    "1 − ᾱ by subtraction, chain": ("binomial chain", binomial, "marginal", naive_bits_marginal),
    "p log(p/q)": ("binomial", binomial, "kl", naive_bits_kl),
    "three softplus terms": ("binomial", binomial, "kl", lambda q, p: (
        activation.softplus(p.logit) - activation.softplus(q.logit) - q.prob * (p.logit - q.logit))),
    "p log p": ("binomial", binomial, "entropy", naive_bits_entropy),
    "log(1 − p), cross-entropy": ("binomial", binomial, "cross_entropy", lambda q, p: (
        -q.prob * np.log(p.prob) - (1 - q.prob) * np.log(1 - p.prob))),
    "log(1 − p)": ("binomial", binomial, "log_prob", lambda x, p: np.log(np.where(x > 0, p.prob, 1 - p.prob))),
    "x − log1p(x)": ("activation", activation, "x_minus_log1p", NAIVE_SERIES["x_minus_log1p"]),
    "expm1(x) − x": ("activation", activation, "expm1_minus_x", NAIVE_SERIES["expm1_minus_x"]),
    "float32, cross-entropy": ("gaussian", gaussian, "cross_entropy", lambda q, p: np.float32(CROSS_ENTROPY(q, p))),
    "ᾱ_T left out of C": ("bound", bound, "correction", lambda beta, x_0, *, kernel: (
        CORRECTION(np.append(beta, 1.0), x_0, kernel=kernel))),
    "variance of w by subtraction": ("likelihood", likelihood, "average", lambda x: likelihood.Estimate(
        x.mean(), np.sqrt(((x * x).mean() - x.mean() ** 2) / (len(x) - 1)))),
    "float32, null model": ("likelihood", likelihood, "null_log_likelihood", lambda x_0, *, kernel: np.float32(
        likelihood.total(kernel.log_prob(x_0, kernel.prior(x_0.shape))))),
    "w, not log w": ("likelihood", likelihood, "logsumexp", lambda x, axis=None: np.log(1e-9 + np.exp(x).sum(axis=axis))),
    "float32, linear": ("linear", linear, "linear", lambda x, weight, bias: np.float32(x) @ np.float32(weight) + bias),
    "1 − ᾱ by subtraction, network": ("network", readout, "shares", lambda beta, level: (
        np.exp(level), 1 - np.exp(level), 1 - np.exp(level) * (1 - beta))),
    "log of the product": ("chain", schedule, "log_alpha_bar", lambda beta: np.log(np.cumprod(1 - beta))),
    "uncompensated sum": ("chain", schedule, "log_alpha_bar", lambda beta: np.cumsum(log1p(-beta))),
    "shifted by one": ("chain", schedule, "log_alpha_bar", lambda beta: np.append(0.0, np.cumsum(log1p(-beta))[:-1])),
    "1 − exp ℓ": ("gaussian", gaussian, "marginal", lambda x, level: Gaussian(np.exp(level / 2) * x, 1 - np.exp(level))),
    "precisions added": ("gaussian", gaussian, "posterior", naive_posterior),
    "log of a ratio": ("gaussian", gaussian, "kl", naive_kl),
    "1 − exp ℓ, in K": ("bound", gaussian, "marginal", lambda x, level: Gaussian(np.exp(level / 2) * x, 1 - np.exp(level))),
    "T terms for T − 1, in K": ("bound", bound, "assemble", lambda terms, *, T: ASSEMBLE(terms, T=T + 1)),
    "log of 2π var": ("gaussian", gaussian, "entropy", lambda q: np.log(2 * 3.141592653589 * np.e * q.var) / 2),
    "float32": ("gaussian", gaussian, "draw", lambda p, *, noise: p.mean + np.sqrt(p.var, dtype="f4") * noise),
    "log(1 + eˣ)": ("activation", activation, "softplus", lambda x: np.log(1 + np.exp(x))),
    "1/(1 + e^−x)": ("activation", activation, "sigmoid", lambda x: 1 - 1 / (1 + np.exp(x))),
    "log(1 − y)": ("activation", activation, "logit", lambda y: -np.log(1 / y - 1)),
    "a ratio of exponentials": ("activation", activation, "tanh", lambda x: np.expm1(2 * x) / (np.exp(2 * x) + 1)),
    "logit of an average": ("bit_readout", bit_readout, "denoising", naive_bit_readout),
    "float32, convolution": ("image layers", conv, "conv2d", lambda x, weight, bias: (
        CONV2D(np.float32(x), np.float32(weight), np.float32(bias)))),
    "float32, pooling": ("image layers", pool, "mean_pool", lambda x, *, factor: MEAN_POOL(np.float32(x), factor=factor)),
    "expanded square, bumps": ("bumps", temporal, "bumps", naive_bumps),
    "float32, one layer of the network": ("image", image, "linear_vjp", lambda x, weight, bias: (
        np.float32(x) @ np.float32(weight) + bias, None)),
    "Φ less Φ": ("decoder", decoder, "log_mass_vjp", lambda p, *, k, grid: (np.log(ndtr(
        (decoder.level(k, grid=grid) + grid.width / 2 - p.mean) / np.sqrt(p.var)) - ndtr(
            (decoder.level(k, grid=grid) - grid.width / 2 - p.mean) / np.sqrt(p.var))), None)),
    "a measurement update": ("product", product, "times_gaussian", naive_product),
    "expanded square": ("rbf", rbf, "rbf", naive_rbf),
    "logit of a ratio": ("readout", readout, "eq65", naive_eq65),
    "a ratio of cosines": ("schedules", schedule, "cosine", naive_cosine),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")                   # the naive forms overflow: that is what is found
@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_exceeds_the_limit(found, monkeypatch, mistake):
    group, module, name, wrong = PLANTED[mistake]
    monkeypatch.setattr(module, name, wrong)
    assert too_large(accuracy(groups=(group,))) - too_large(found)


# -- the measure itself ------------------------------------------------------------------------------------------------

def test_units():
    third = Exact(Decimal(1) / 3, Decimal(1))
    assert units(1 / 3, third) < 0.5
    assert units(1 / 3 + 2.0 ** -53, third) == pytest.approx(1, abs=0.5)
    assert units(float("nan"), third) == units(float("inf"), third) == float("inf")


def test_units_of_infinities_and_of_numbers_below_the_normal_range():
    infinite = Exact(Decimal("-Infinity"), Decimal("Infinity"))
    assert units(float("-inf"), infinite) == 0 and units(-1e300, infinite) == units(float("inf"), infinite) == float("inf")
    lost = Exact(Decimal("1e-340"), Decimal("1e-340"))
    assert units(0.0, lost) < 1 and units(1e-320, lost) > LIMIT
    assert float(UNIT) == np.finfo(float).eps / 2 and float(SMALLEST) == np.finfo(float).tiny
