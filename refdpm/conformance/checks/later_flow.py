"""Checks of chains along the flow, of which no formula has the whole: on normal data every step is a number (`oracles.flow`)."""

from functools import partial

import numpy as np
from scipy.stats import norm

from refdpm.conformance.checks.common import apart, check, worst
from refdpm.later import path, solver
from refdpm.oracles import flow
from refdpm.vjp import Array

S2 = 0.25
ONE = np.ones((1, 1))


def _said(x: Array, sigma: Array) -> Array:
    return x * S2 / (S2 + sigma ** 2)


def _velocity(x: Array, t: Array) -> Array:
    return x * (t - (1 - t) * S2) / ((1 - t) ** 2 * S2 + t ** 2)


@check("later: chains along the flow", "later.solver.euler_step", "later.solver.heun_step", "later.solver.multistep_path",
       "later.solver.path", "later.path.sample", "later.solver.heun", "later.solver.multistep", "later.path.step",
       "later.path.flow_step")
def chains_along_the_flow() -> float:
    """Along 9 levels, and to 0 after them, x is multiplied by what the oracle says, also where the last step is Euler's; and along
    a straight path in 7 steps."""
    found = []
    for levels in (np.geomspace(10, 0.05, 9), np.append(np.geomspace(10, 0.05, 9), 0)):
        found += [apart(solver.path(ONE, levels, denoiser=_said, step=solver.euler_step), flow.euler(S2, levels) * ONE),
                  apart(solver.path(ONE, levels, denoiser=_said, step=solver.heun_step), flow.heun(S2, levels) * ONE),
                  apart(solver.path(ONE, levels, denoiser=_said, last=solver.euler_step),
                        flow.heun(S2, levels[:-1]) * flow.euler(S2, levels[-2:]) * ONE),
                  apart(solver.multistep_path(ONE, levels, denoiser=_said), flow.multistep(S2, levels) * ONE)]
    return worst(*found, apart(path.sample(ONE, 7, flow=_velocity), flow.straight_steps(S2, np.linspace(1, 0, 8)) * ONE))


@check("later: chains with noise", "later.solver.noisy_path", "later.solver.ancestral_step", "later.solver.split",
       "later.solver.churned_step", "later.solver.churn", "later.solver.raised", "later.solver.euler_step")
def chains_with_noise() -> float:
    """From one unit of noise at a time, the squares of a chain's coefficients add up to the variance that the oracle says."""
    levels, units = np.geomspace(10, 0.05, 7), np.eye(7)
    start, noise = units[:, :1] * np.sqrt(S2 + levels[0] ** 2), units[1:, :, None]

    def variance(step: solver.Step, **last: solver.Step) -> float:
        x = solver.noisy_path(start, levels, denoiser=_said, noise=noise, step=step, **last)
        return float(np.sum(x ** 2))

    ancestral = [apart(variance(partial(solver.ancestral_step, eta=eta)), flow.ancestral(S2, levels, eta=eta))
                 for eta in (0.5, 1.0)]
    some = partial(solver.churned_step, count=6, amount=1.5, low=0.1, high=5.0, scale=1.25)
    gammas = np.where((levels[:-1] >= 0.1) & (levels[:-1] <= 5), 0.25, 0.0)
    churned = flow.churned(S2, levels, gammas=gammas, scale=1.25)
    last = levels[-2:] * np.append(1 + gammas[-1], 1)
    with_euler = churned * (flow.euler(S2, last) / flow.heun(S2, last)) ** 2
    return worst(*ancestral, apart(variance(some), churned),
                 apart(variance(some, last=partial(some, step=solver.euler_step)), with_euler))


@check("later: likelihood by the flow", "later.solver.log_likelihood")
def likelihood_by_the_flow() -> float:
    """The density of N(0, ¼) at ½ and −1, to what 400 levels leave of it."""
    x_0 = np.array([[0.5], [-1.0]])
    found = solver.log_likelihood(x_0, np.geomspace(1e-3, 1000, 400), denoiser=_said,
                                  trace=lambda x, sigma: np.full(len(x), S2 / (S2 + sigma ** 2)))
    return apart(found, norm(0, np.sqrt(S2)).logpdf(x_0[:, 0]), within=2e-3)
