"""Checks of chains along the flow, of which no formula has the whole: on normal data every step is a number (`oracles.flow`)."""

from itertools import pairwise

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
    """Along 9 levels, and to 0 after them, x is multiplied by what the oracle says; and along a straight path in 7 steps."""
    found = []
    for levels in (np.geomspace(10, 0.05, 9), np.append(np.geomspace(10, 0.05, 9), 0)):
        found += [apart(solver.path(ONE, levels, denoiser=_said, step=solver.euler_step), flow.euler(S2, levels) * ONE),
                  apart(solver.path(ONE, levels, denoiser=_said, step=solver.heun_step), flow.heun(S2, levels) * ONE),
                  apart(solver.multistep_path(ONE, levels, denoiser=_said), flow.multistep(S2, levels) * ONE)]
    return worst(*found, apart(path.sample(ONE, 7, flow=_velocity), flow.straight_steps(S2, np.linspace(1, 0, 8)) * ONE))


@check("later: ancestral chains", "later.solver.ancestral_step", "later.solver.split", "later.solver.euler_step")
def ancestral_chains() -> float:
    """From one unit of noise at a time, the squares of a chain's coefficients add up to the variance that the oracle says."""
    levels, units = np.geomspace(10, 0.05, 7), np.eye(7)
    found = []
    for eta in (0.5, 1.0):
        x = units[:, :1] * np.sqrt(S2 + levels[0] ** 2)
        for n, (sigma, after) in enumerate(pairwise(levels)):
            x = solver.ancestral_step(x, sigma, after, denoiser=_said, noise=units[:, n + 1:n + 2], eta=eta)
        found.append(apart(np.sum(x ** 2), flow.ancestral(S2, levels, eta=eta)))
    return worst(*found)


@check("later: likelihood by the flow", "later.solver.log_likelihood")
def likelihood_by_the_flow() -> float:
    """The density of N(0, ¼) at ½ and −1, to what 400 levels leave of it."""
    x_0 = np.array([[0.5], [-1.0]])
    found = solver.log_likelihood(x_0, np.geomspace(1e-3, 1000, 400), denoiser=_said,
                                  trace=lambda x, sigma: np.full(len(x), S2 / (S2 + sigma ** 2)))
    return apart(found, norm(0, np.sqrt(S2)).logpdf(x_0[:, 0]), within=2e-3)
