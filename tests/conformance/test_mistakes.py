"""Named mistakes are found by evidence of their own kind; planting leaves no trace; and correct variants are not accused.

`python -m refdpm audit` looks for all mistakes, of each kind, with the functions that are tried here on a sample of those of values
and of gradients; `.ci/run` runs it.
"""

from contextlib import suppress
import inspect
import os

import numpy as np
import pytest
import scipy.signal
import scipy.special
import scipy.stats

from refdpm import activation, binomial, gaussian, gradcheck, schedule
from refdpm.binomial import Bernoulli
from refdpm.conformance import cases
from refdpm.conformance.accuracy import cases_of
from refdpm.conformance.checks import CHECKS
from refdpm.conformance.detection import accused_by, caught_by
from refdpm.conformance.mistakes import MISTAKES, Mistake, planted
from refdpm.conformance.planting import instead, target
from refdpm.gaussian import Gaussian
from refdpm.networks import readout
from refdpm.optimize import Moments
from refdpm.vjp import leaves, tree_map

CHECK = {check.name: check for check in CHECKS}
OF_KIND = {kind: [m for m in MISTAKES if m.kind == kind] for kind in ("value", "gradient", "accuracy", "clause")}
ALL = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def sample(kind):
    """Of the mistakes of a kind in the functions of one module the first."""
    firsts = {mistake.target.rpartition(".")[0]: mistake for mistake in reversed(OF_KIND[kind])}
    return [mistake for mistake in OF_KIND[kind] if ALL or mistake in firsts.values()]


@pytest.mark.parametrize("mistake", sample("value"), ids=lambda mistake: mistake.id)
def test_wrong_value_is_found_by_a_check_that_names_the_function_or_by_its_digits(mistake):
    found = caught_by(mistake)
    targets = {target for name in found for target in (CHECK[name].targets if name in CHECK else (name,))}
    assert any(name.startswith(mistake.target.removesuffix("_vjp")) for name in targets)


@pytest.mark.parametrize("mistake", sample("gradient"), ids=lambda mistake: mistake.id)
def test_wrong_gradient_is_found_by_the_adjoint_test_of_its_pair(mistake):
    pair = mistake.target.removesuffix("_vjp")
    assert any(found.startswith(f"{pair}:") for found in caught_by(mistake))


@pytest.mark.parametrize("mistake", OF_KIND["gradient"], ids=lambda mistake: mistake.id)
def test_wrong_gradient_leaves_the_value_as_it_is(mistake):
    """No value check could see it, bit by bit."""
    module, name = target(mistake)
    for arguments, fixed in cases.examples(mistake.target.removesuffix("_vjp"), count=2):
        right = getattr(module, name)(*arguments, **fixed)[0]
        with planted(mistake):
            wrong = getattr(module, name)(*arguments, **fixed)[0]
        assert all(map(np.array_equal, leaves(right), leaves(wrong)))


def test_the_right_package_is_not_accused():
    nothing = Mistake("", "", "", "gaussian.kl", "value", lambda right: lambda q, p: right(q, p))
    assert caught_by(nothing) == []
    assert caught_by(nothing._replace(target="gaussian.kl_vjp", kind="gradient")) == []
    assert caught_by(nothing._replace(kind="accuracy")) == []


# -- the list ----------------------------------------------------------------------------------------------------------

def test_every_mistake_has_a_name_of_its_own_and_says_where_it_happened():
    assert len({m.id for m in MISTAKES}) == len(MISTAKES)
    assert all("→" in m.says and m.source and m.kind in OF_KIND for m in MISTAKES)
    assert all(m.target.endswith("_vjp") for m in OF_KIND["gradient"])


def test_planted_functions_keep_name_and_signature_and_are_taken_out_again():
    for mistake in MISTAKES:
        module, name = target(mistake)
        right = getattr(module, name)
        with planted(mistake):
            wrong = getattr(module, name)
            assert wrong is not right and wrong.__name__ == name, mistake.id
            assert inspect.signature(wrong) == inspect.signature(right), mistake.id
        assert getattr(module, name) is right, mistake.id


@pytest.mark.parametrize("mistake", [m for m in MISTAKES if "_by_formula" in getattr(m.plant, "__qualname__", "")],
                         ids=lambda mistake: mistake.id)
def test_every_edit_that_a_mistake_names_is_one_of_its_formula(mistake):
    """Otherwise the planted function raises, which looks like a mistake that is found.  Another choice may have another formula."""
    (module, name), pair = target(mistake), mistake.target.removesuffix("_vjp")

    def has_the_edit(arguments, fixed):
        with suppress(ValueError), planted(mistake):
            getattr(module, name)(*arguments, **fixed)
            return True

    drawn = cases.examples(pair, count=cases.LIMIT) if pair in cases.CASES else []
    assert any(has_the_edit(*case) for case in [*cases_of(pair), *drawn])


def test_planted_wherever_it_was_imported_and_taken_out_after_an_error():
    right = activation.sigmoid
    zero = Mistake("", "", "", "activation.sigmoid", "value", instead(lambda x: 0 * x))
    with pytest.raises(RuntimeError), planted(zero):
        assert schedule.sigmoid is activation.sigmoid is readout.sigmoid is not right
        assert schedule.learned(np.array([1.0]), beta_1=0.1)[2] == 0
        raise RuntimeError
    assert schedule.sigmoid is activation.sigmoid is readout.sigmoid is right


def test_pairs_see_what_is_planted_in_the_primitive():
    x, p = np.zeros((1, 1)), Gaussian(np.ones((1, 1)), np.ones((1, 1)))
    with planted(next(m for m in MISTAKES if m.id == "BND-17")):
        assert np.array_equal(gaussian.log_prob_vjp(x, p)[0], gaussian.log_prob(x, p))


def test_a_wrong_formula_with_its_own_gradient_is_consistent():
    """Why the kinds are kept apart: the eq. 14 with the KL the wrong way round passes every gradient test."""
    def reversed_vjp(q, p):
        value, pullback = right_vjp(p, q)
        return value, lambda dvalue: pullback(dvalue)[::-1]

    right_vjp, pair = gaussian.kl_vjp, gradcheck.Pair("kl", lambda q, p: gaussian.kl(p, q), reversed_vjp)
    for arguments, fixed in cases.examples("gaussian.kl", count=5):
        assert max(gradcheck.gaps(pair, arguments, fixed, np.random.default_rng(0)).values()) <= gradcheck.GAP


# -- false alarms ------------------------------------------------------------------------------------------------------

def _kl_of_log_deviations(q, p):
    log_ratio = (np.log(p.var) - np.log(q.var)) / 2
    return log_ratio + (q.var + (q.mean - p.mean) ** 2) / (2 * p.var) - 0.5


def _posterior_by_precision(x_t, x_0, beta, level):
    a = np.exp(level)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = 1 / (1 - a) + (1 - beta) / beta
        mean = (np.sqrt(a) * x_0 / (1 - a) + np.sqrt(1 - beta) * x_t / beta) / precision
    return Gaussian(np.where(level == 0, x_0, mean), 1 / precision)


def _posterior_by_gain(x_t, x_0, beta, level):
    v, keep = 1 - np.exp(level), np.sqrt(1 - beta)
    gain, guess = v * keep / (keep * keep * v + beta), np.exp(level / 2) * x_0
    return Gaussian(guess + gain * (x_t - keep * guess), v * (1 - gain * keep))


def _eq65_with_sorted_terms(heads, x_t, beta):
    var = 1 / (1 + np.exp(-heads.var) * (1 - beta) / beta)
    return Gaussian(np.sqrt(1 - var) * x_t + (1 - np.sqrt(1 - var)) * heads.mean, var)


def _denoising_through_the_posterior(heads, x_t, beta, level):
    w = 1 - (1 - beta) * np.exp(level)
    c_0 = np.sqrt(np.exp(level)) * beta / w
    q = _posterior_by_gain(x_t, np.sqrt((1 - beta) * np.exp(level)) * x_t + heads.mean, beta, level)
    return Gaussian(q.mean, q.var + c_0 ** 2 * w * np.exp(heads.var))


def _cosine_on_another_grid(T, *, offset=0.008, cap=0.999):
    N = T + 1
    f = np.cos((np.linspace(0, N, N) / N + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.append(0.0, np.minimum(1 - f[1:] / f[:-1], cap))


def _product_by_precisions(p, r):
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = 1 / p.var + 1 / r.var
        mean = (p.mean / p.var + r.mean / r.var) / precision
    return Gaussian(np.where(r.var == 0, r.mean, mean), 1 / precision)


def _bit_product_by_probabilities(p, r):
    one, zero = p.prob * r.prob, scipy.special.expit(-p.logit) * scipy.special.expit(-r.logit)
    return Bernoulli(scipy.special.logit(one / (one + zero)))


def _adam_with_a_rate_of_its_own(parameters, gradient, state, *, rate, decay_1=0.9, decay_2=0.999, epsilon=1e-8):
    k = state.steps + 1
    mean = tree_map(lambda m, g: m + (1 - decay_1) * (g - m), state.mean, gradient)
    square = tree_map(lambda s, g: s + (1 - decay_2) * (g * g - s), state.square, gradient)
    root = np.sqrt(1 - decay_2 ** k)
    step = rate * root / (1 - decay_1 ** k)
    moved = tree_map(lambda x, m, s: x - step * m / (np.sqrt(s) + epsilon * root), parameters, mean, square)
    return moved, Moments(k, mean, square)


def _log_normal(x, *, mean, covariance):
    return scipy.stats.multivariate_normal(mean, covariance).logpdf(x)


def _sigmoid_by_cases(x):
    small = np.exp(np.where(np.real(x) < 0, x, -x))
    return np.where(np.real(x) < 0, small / (1 + small), 1 / (1 + small))


def _per_step_at_once(x, weight, bias, *, t):
    return np.einsum("ni,nij->nj", x, weight[t]) + bias[t]


def _marginal_by_subtraction(x_0, level, *, rate=0.5):
    one, zero = (np.exp(level) * x + (1 - np.exp(level)) * r for x, r in ((x_0, rate), (1 - x_0, 1 - rate)))
    return Bernoulli(np.log(one / zero))


def _posterior_by_products(x_t, x_0, beta, level, *, rate=0.5):
    one, zero = (np.exp(level) * x - np.expm1(level) * r for x, r in ((x_0, rate), (1 - x_0, 1 - rate)))
    drawn = beta * np.where(x_t == 1, rate, 1 - rate)
    return Bernoulli(np.log(one * (x_t * (1 - beta) + drawn)) - np.log(zero * ((1 - x_t) * (1 - beta) + drawn)))


def _log_mass(x, p):
    return scipy.special.log_expit((2 * x - 1) * p.logit)


def _draw_by_logits(p, *, noise):
    return (scipy.special.logit(noise) < p.logit).astype(float)


def _convolution_by_fourier(x, weight, bias):
    y = [scipy.signal.fftconvolve(image[..., None], weight[::-1, ::-1, ::-1], axes=(0, 1, 2), mode="full") for image in x]
    above, left, C = weight.shape[0] // 2, weight.shape[1] // 2, weight.shape[2]
    return np.stack(y)[:, above:above + x.shape[1], left:left + x.shape[2], C - 1] + bias


def _convolution_of_patches(x, weight, bias):
    sides = weight.shape[:2]
    padded = np.pad(x, ((0, 0), *((side // 2, side // 2) for side in sides), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, sides, axis=(1, 2))
    return np.tensordot(patches, weight, axes=([3, 4, 5], [2, 0, 1])) + bias


def _bumps_of_centres(t, *, T, count, basis="paper"):
    if basis not in ("paper", "released"):
        raise ValueError(basis)
    tau = T * (np.arange(1, count + 1) - 0.5) / count if basis == "paper" else np.linspace(1, T, count)
    width = T / count if basis == "paper" else (T - 1) / max(count - 1, 1) / 2
    heights = np.exp(-((t[:, None] - tau) / width) ** 2 / 2)
    return heights / heights.sum(axis=1, keepdims=True)


def _x_0_by_snr(noise, x_t, level):
    sigma = np.sqrt(np.expm1(-level))                       # of x_t/√ᾱ
    return x_t / np.sqrt(np.exp(level)) - sigma * noise


def _jump_by_its_direction(x_0, x_t, beta, level, *, eta):
    before, after = np.exp(level), np.exp(level) * (1 - beta)
    sigma = eta * np.sqrt((1 - before) / (1 - after)) * np.sqrt(1 - after / before)
    noise = (x_t - np.sqrt(after) * x_0) / np.sqrt(1 - after)
    return Gaussian(np.sqrt(before) * x_0 + np.sqrt(np.maximum(1 - before - sigma ** 2, 0)) * noise, sigma ** 2)


def _rates_of_levels(beta, *, times):
    kept = np.append(1.0, np.cumprod(1 - beta)[times])
    return np.append(0.0, 1 - kept[1:] / kept[:-1])


FALSE_ALARMS = (
    ("x_0 in units of the signal", "later.parametrisation.x_0_from_noise", _x_0_by_snr),
    ("mean from noise as c_0 x_0 + c_t x_t", "later.mean.mean_from_noise", lambda noise, x_t, beta, level: gaussian.posterior(
        x_t, _x_0_by_snr(noise, x_t, level + np.log1p(-beta)), beta, level).mean),
    ("range in logarithms", "later.variance.ranged", lambda head, beta, small: np.exp(
        ((head + 1) * np.log(beta) + (1 - head) * np.log(small)) / 2)),
    ("prior term by the divergence", "later.objective.prior_kl", lambda x_0, level: gaussian.kl(
        gaussian.marginal(x_0, level), gaussian.prior(x_0.shape))),
    ("DDIM as printed", "later.sampler.jump", _jump_by_its_direction),
    ("kept rates from levels", "later.sampler.respaced", _rates_of_levels),
    ("steps by a floor", "later.sampler.spaced", lambda T, count: np.floor(np.arange(1, count + 1) * T / count + 0.5).astype(int)
     if 1 <= count <= T else schedule.checked(np.zeros(0))),
    ("FA-01: cosine on the grid linspace(0, N, N)/N", "schedule.cosine", _cosine_on_another_grid),
    ("levels as logs of products", "schedule.log_alpha_bar", lambda beta: np.log(np.cumprod(1 - beta))),
    ("1 − ᾱ by subtraction", "gaussian.marginal", lambda x, level: Gaussian(np.sqrt(np.exp(level)) * x, 1 - np.exp(level))),
    ("posterior by precisions", "gaussian.posterior", _posterior_by_precision),
    ("posterior as a measurement update", "gaussian.posterior", _posterior_by_gain),
    ("FA-03: KL of log deviations", "gaussian.kl", _kl_of_log_deviations),
    ("KL as a difference of entropies", "gaussian.kl", lambda q, p: gaussian.cross_entropy(q, p) - gaussian.entropy(q)),
    ("entropy as a cross-entropy", "gaussian.entropy", lambda q: gaussian.cross_entropy(q, q)),
    ("density by SciPy", "gaussian.log_prob", lambda x, p: scipy.stats.norm.logpdf(x, p.mean, np.sqrt(p.var))),
    ("noise by inversion", "gaussian.draw_noise", lambda rng, shape: scipy.special.ndtri(rng.random(shape))),
    ("t by scaling a uniform number", "bound.draw_steps", lambda rng, T, shape: 2 + (rng.random(shape) * (T - 1)).astype(int)),
    ("K with the average KL", "bound.assemble",
     lambda terms, *, T: terms.entropy_T - terms.entropy_1 - terms.entropy_prior
     - ((T - 1) * terms.kl.mean(axis=0) if len(terms.kl) else 0)),
    ("log-density by SciPy", "likelihood.gaussian_log_likelihood", _log_normal),
    ("softplus as logaddexp", "activation.softplus", lambda x: np.logaddexp(0, x)),
    ("sigmoid by cases", "activation.sigmoid", _sigmoid_by_cases),
    ("rows at once", "layers.linear.per_step", _per_step_at_once),
    ("eq. 65 with its terms sorted", "networks.readout.eq65", _eq65_with_sorted_terms),
    ("denoising through the posterior", "networks.readout.denoising", _denoising_through_the_posterior),
    ("bits: 1 − ᾱ by subtraction", "binomial.marginal", _marginal_by_subtraction),
    ("bits: posterior by products", "binomial.posterior", _posterior_by_products),
    ("bits: KL as a difference of entropies", "binomial.kl", lambda q, p: binomial.cross_entropy(q, p) - binomial.entropy(q)),
    ("bits: mass by SciPy", "binomial.log_prob", _log_mass),
    ("bits: noise by logits", "binomial.draw", _draw_by_logits),
    ("convolution by Fourier transforms", "layers.conv.conv2d", _convolution_by_fourier),
    ("convolution of patches", "layers.conv.conv2d", _convolution_of_patches),
    ("pooling by reshaping", "layers.pool.mean_pool", lambda x, *, factor: x.reshape(
        len(x), x.shape[1] // factor, factor, x.shape[2] // factor, factor, x.shape[3]).mean(axis=(2, 4))),
    ("repetition by np.repeat", "layers.pool.upsample", lambda x, *, factor: x.repeat(factor, axis=1).repeat(factor, axis=2)),
    ("bumps by their centres", "layers.temporal.bumps", _bumps_of_centres),
    ("mixtures by einsum", "layers.temporal.temporal", lambda y, *, g: np.einsum("n...j,nj->n...", y, g)),
    ("pixels by einsum", "layers.linear.linear", lambda x, weight, bias: np.einsum("...i,ij->...j", x, weight) + bias),
    ("product by precisions", "product.times_gaussian", _product_by_precisions),
    ("bits: product by probabilities", "product.times_bernoulli", _bit_product_by_probabilities),
    ("Adam's correction in the rate", "optimize.adam", _adam_with_a_rate_of_its_own),
)


@pytest.mark.parametrize("name,where,variant", FALSE_ALARMS, ids=[row[0] for row in FALSE_ALARMS])
def test_correct_variant_is_not_accused(name, where, variant):
    assert accused_by(Mistake(name, "", "", where, "value", instead(variant))) == []
