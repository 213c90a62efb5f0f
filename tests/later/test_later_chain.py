"""Parametrisations at the ends of the chain, names that are refused, and DDIM as a map."""

from types import SimpleNamespace

import numpy as np
import pytest

from refdpm import schedule
from refdpm.later import mean, model, objective, parametrisation, sampler, variance, weights
from refdpm.later.decoder import Grid
from refdpm.later.model import Model
from refdpm.networks.readout import Heads
from refdpm.schedule import Step


def predictor(f):
    of = lambda parameters, x_t, step, *, t: f(x_t, t[:, None])
    return SimpleNamespace(predict=of, predict_vjp=lambda *args, **fixed: (of(*args, **fixed), None))


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_v_is_exact_at_both_ends():
    x_t, v, level = column(1.5, 1.5), column(-0.25, -0.25), column(0, -np.inf)
    assert np.array_equal(parametrisation.x_0_from_v(v, x_t, level), column(1.5, 0.25))


def test_last_step_of_a_chain_that_forgets_everything():
    """β_T = 1: v is −x_0, and the mean of the step √a x_0, whatever x_T."""
    before = column(-0.3)
    assert np.allclose(mean.mean_from_v(column(-2.0), column(0.7), column(1.0), before), np.exp(-0.15) * 2.0)


@pytest.mark.parametrize("f", [mean.x_0_from, mean.from_x_0, mean.mean_from])
def test_unknown_predictions_are_named(f):
    step = Step(column(0.1), column(-0.2), column(-0.3))
    with pytest.raises(ValueError, match="predicts: expected one of .*'epsilon'"):
        f(column(1.0), column(1.0), step, predicts="epsilon")


def test_unknown_policies_are_named():
    with pytest.raises(ValueError, match="policy.*T = 1"):
        variance.first(np.array([0.0, 0.1]), policy="next")
    with pytest.raises(ValueError, match="predicts: expected one of"):
        weights.kl_weight(column(0.1), column(-0.2), predicts="eps")
    with pytest.raises(ValueError, match="count: expected 1 to 4"):
        sampler.spaced(4, 5)


def test_first_variance_is_the_posterior_s_at_the_second_step():
    beta = np.array([0.0, 1e-12, 0.3])
    assert variance.first(beta, policy="next") == pytest.approx(float(variance.small(
        beta[2:], schedule.log_alpha_bar(beta)[1:2])[0]), rel=1e-12)


def test_a_map_can_be_run_with_any_noise():
    """η = 0: of the noise only x_T matters."""
    beta, times = schedule.cosine(10), np.array([3, 7, 10])
    said = Model(predictor(lambda x, t: Heads(np.tanh(x) + 0.1 * t, 0 * x)), "v")
    noise, other = np.random.default_rng(0).standard_normal((2, 4, 5, 2))
    other[-1] = noise[-1]
    for (t, x), (s, y) in zip(*(sampler.ddim_path(None, beta, noise=n, times=times, model=said, eta=0.0) for n in (noise, other))):
        assert t == s and np.array_equal(x, y)


def test_eta_1_is_the_ancestral_path():
    beta, times = schedule.linear(6, beta_1=0.01, beta_T=0.4), np.array([1, 2, 4, 6])
    said = Model(predictor(lambda x, t: Heads(np.sin(x) - 0.1 * t, 0 * x)), "noise")
    noise = np.random.default_rng(1).standard_normal((5, 3, 2))
    both = (sampler.ddim_path(None, beta, noise=noise, times=times, model=said, eta=1.0),
            sampler.ancestral_path(None, beta, noise=noise, times=times, model=said))
    for (t, x), (s, y) in zip(*both, strict=True):
        assert t == s and np.allclose(x, y, rtol=0, atol=1e-12)


def test_a_respaced_chain_by_hand():
    """β = ¼, ½, ½ has ᾱ = ¾, ⅜, 3/16; with the steps 1 and 3 alone the rates are ¼ and 1 − (3/16)/(3/4) = ¾."""
    assert sampler.respaced(np.array([0, 0.25, 0.5, 0.5]), times=np.array([1, 3])) == pytest.approx([0, 0.25, 0.75], rel=1e-14)


def test_on_a_fine_grid_the_bound_is_the_density_s():
    """With the paper's edge it is −(K + C) − D log(width), the average over x_1 by a Gauss rule."""
    levels, beta = Grid(-6.0, 6.0, 4801), np.array([0.0, 0.05, 0.3])
    k = np.array([[2400, 2700], [1900, 2500]])
    x_0, level = k * 0.0025 - 6.0, schedule.log_alpha_bar(beta)
    said = Model(predictor(lambda x, t: Heads(0.6 * x, 0 * x)), "x_0", "small", "fixed")
    node, weight = np.polynomial.hermite_e.hermegauss(20)
    decoded = sum(w * objective.decoder(None, beta, k=k, grid=levels, noise=np.full((2, 2), z), model=said)
                  for z, w in zip(node, weight / weight.sum()))
    density = objective.edge(x_0, np.full((2, 1), 0.05)).sum(axis=1)
    assert np.allclose(-decoded, density + 2 * np.log(levels.width), rtol=0, atol=1e-4)
    assert level[1] == np.log1p(-0.05)


def test_as_network_serves_the_bound_of_the_paper():
    """An exact predictor of white data with the variance β is the forward kernel: K = L_null, so each KL is that of eq. 14."""
    beta = np.array([0.0, 0.05, 0.3, 0.5])
    white = Model(predictor(lambda x, t: Heads(np.exp(schedule.log_alpha_bar(beta)[t] / 2) * x, 0 * x)), "x_0", "large")
    step, x = schedule.step(beta, schedule.log_alpha_bar(beta), t=np.array([2, 3]), ndim=2), column(0.3, -2.0)
    p = model.as_network(white).reverse(None, x, step, t=np.array([2, 3]))
    assert np.allclose(p.mean, np.sqrt(1 - step.beta) * x) and np.array_equal(p.var, step.beta)
