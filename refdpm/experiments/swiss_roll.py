"""The Swiss roll: settings, training, and the report with its two ceilings.

The ceilings come from `oracles.swiss_roll`, which knows the law of the data and nothing of the network:

    K_max = −h(X¹)    no model can exceed it, because the step at t = 1 is fixed; it depends on β_1 alone
    K*                what the best Gaussian kernels with independent components reach with the best schedule of T steps;
                      the schedule is found by a search, so this is a value that can be reached, within 1e-3 of the largest
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refdpm import gaussian, run, schedule, train
from refdpm.data import checked as checked_data, swiss_roll as roll
from refdpm.experiments import common
from refdpm.networks import swiss_roll as network_module
from refdpm.networks.readout import READOUTS
from refdpm.oracles import swiss_roll as oracle, two_sample
from refdpm.single import DTYPES
from refdpm.train import Purpose
from refdpm.vjp import Array, fix, unallocated_zeros

PAPER = {"K": 2.35, "K_minus_L_null": 6.45,
         "not_comparable": "the paper gives neither its roll's noise nor β_1; on this noiseless roll 2.35 bits would need "
                           "β_1 ≤ 1.4e-5 even with perfect kernels"}


class Settings(NamedTuple):
    """What a run is a function of.  `beta_1` and `beta_T` are the ends of the geometric schedule that learning starts from."""

    T: int = 40
    beta_1: float = 1e-3
    beta_T: float = 0.5
    units: int = 128
    width: float = 0.17
    readout: str = "denoising"
    steps: int = 12000
    batch: int = 64
    rate: float = 5e-3
    schedule_rate: float = 2e-2
    learn_schedule: bool = True
    seed: int = 0
    dtype: str = "float64"


DEFAULT = Settings()
FULL = Settings(units=192, steps=90000)
FLAGS = {
    "dtype": ("--dtype", "float64, or float32 for a network in single precision"),
    "seed": ("--seed", "default 0"), "steps": ("--steps", "steps of the optimiser"),
    "units": ("--units", "radial basis units (the paper has 16)"), "width": ("--width", "of the units at the start, default 0.17"),
    "readout": ("--readout", "denoising, eq65 (the paper's) or released (the authors' code)"),
    "beta_1": ("--beta-1", "the fixed first rate, default 1e-3"), "T": ("--T", "steps of the chain, default 40"),
    "learn_schedule": ("--fixed-schedule", "keep the geometric schedule"),
}


def checked(settings: Settings) -> Settings:
    """The settings if they make sense.   Raises: ValueError that names the first that does not."""
    common.check_integers(settings, T=2, units=1, steps=1, batch=1, seed=0)
    common.check_numbers(settings, width=(0, np.inf), rate=(0, np.inf), schedule_rate=(0, np.inf), beta_T=(0, 1))
    if not 1e-5 <= settings.beta_1 <= 0.5:
        raise ValueError(f"beta_1: expected a value in [1e-5, 0.5], where the ceilings are computed, got {settings.beta_1!r}")
    common.check_choice(settings, learn_schedule=(True, False), readout=READOUTS, dtype=DTYPES)
    return settings


resolved = checked


def problem(settings: Settings) -> common.Problem:
    """The Gaussian kernel, the radial basis network, the roll."""
    recipe = train.Recipe(steps=settings.steps, batch=settings.batch, rate=settings.rate, beta_1=settings.beta_1,
                          schedule_rate=settings.schedule_rate if settings.learn_schedule else 0.0, seed=settings.seed)
    network = common.in_precision(fix(network_module, readout=settings.readout), settings.dtype)
    return common.Problem(kernel=gaussian, network=network, beta=None, recipe=recipe, shape=(2,), draw_data=roll.draw,
                          draw_held_out=roll.draw, unit="point", size=1, glance=2000,
                          held_out=common.in_proportion(50_000, settings, DEFAULT))


def begin(settings: Settings) -> train.State:
    """The state before the first step: a geometric schedule, centres on data points, read-outs zero."""
    rng = train.generator(settings.seed, Purpose.START)
    parameters = network_module.init(roll.draw(rng, 32 * settings.units), T=settings.T, units=settings.units,
                                     width=settings.width)
    beta = schedule.geometric(settings.T, beta_1=settings.beta_1, beta_T=settings.beta_T)
    return train.begin(train.Model(common.of_type(parameters, settings.dtype), schedule.logits_of(beta)))


def template(settings: Settings) -> train.State:
    """The structure and shapes of a state, with zeros that take no memory."""
    T, K = settings.T, settings.units
    *parts, logit_beta = map(unallocated_zeros, ((K, 2), (K,), (T + 1, K, 4), (T + 1, 4), (T - 1,)))
    return common.template_of(train.Model(common.of_type(network_module.SwissRoll(*parts), settings.dtype), logit_beta))


def read(settings: Settings, path: Path) -> Array:
    """Points of one's own from a `.npy` file, (N, 2), centred, with mean square 1.   Raises: ValueError naming the file."""
    x_0 = run.load_points(path)
    if x_0.ndim != 2 or x_0.shape[1] != 2:
        raise ValueError(f"{path}: expected numbers of shape (N, 2), got shape {x_0.shape}")
    return checked_data(x_0, name=str(path))


# -- reports, in bits --------------------------------------------------------------------------------------------------

def report(posed: common.Problem, settings: Settings, state: train.State) -> dict[str, Any]:
    """The ceilings, and samples compared with the data."""
    return ceilings(posed, settings, state) | {"samples": sample_report(posed, settings, state), "paper": PAPER}


def ceilings(posed: common.Problem, settings: Settings, state: train.State) -> dict[str, float]:
    """K_max, K* for T steps, and K* of the schedule that was learned."""
    return {name: common.in_bits_per(posed, nats) for name, nats in (
        ("K_max", oracle.k_max(settings.beta_1)), ("K_star", oracle.best_schedule(settings.beta_1, settings.T).k_star),
        ("K_star_of_its_schedule", oracle.k_star_of(common.beta_of(posed, state))))}


def sample_report(posed: common.Problem, settings: Settings, state: train.State, n: int = 1000) -> dict[str, Any]:
    """Samples against held-out points that were put through the first forward step twice, which is what a perfect model draws.

    The energy distance with a permutation test of 999 relabellings: for a perfect model p ≤ 0.001 comes once in a thousand runs.
    """
    rng = train.generator(settings.seed, Purpose.COMPARISON)
    x, beta_1 = common.held_out(posed, n), np.full((n, 1), settings.beta_1)
    for _ in range(2):
        x = gaussian.draw(gaussian.forward(x, beta_1), noise=rng.standard_normal(x.shape))
    drawn = common.samples(posed, state, n, seed=settings.seed)
    distance, p_value = two_sample.energy_test(drawn, x, rng=rng)
    return {"n": n, "energy_distance": distance, "p_value": p_value,
            "distance_to_roll": float(oracle.distance_to_curve(drawn).mean()),
            "distance_to_roll_expected": float(oracle.distance_to_curve(x).mean())}


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    settings, drawn, paper = report["settings"], report["samples"], report["paper"]
    return f"""Swiss roll, T = {settings['T']}, β_1 = {settings['beta_1']:g}, {settings['units']} units, \
read-out '{settings['readout']}', seed {report['seed']}

{common.bound_text(report, 'held-out points')}

ceilings
  K*     {report['K_star']:9.4f} bits   the best independent Gaussian kernels and the best schedule of T steps
  K_max  {report['K_max']:9.4f} bits   −h(X¹): no kernels can do better, β_1 alone sets it
  K* of the schedule learned here: {report['K_star_of_its_schedule']:.4f} bits
  paper: K = {paper['K']}, K − L_null = {paper['K_minus_L_null']} bits; not comparable, because
         {paper['not_comparable']}

samples against held-out points: energy distance {drawn['energy_distance']:.2e}, p = {drawn['p_value']:.3f}
  (for a perfect model p ≤ 0.001 comes once in a thousand runs)"""
