"""The binary heartbeat: settings, training, and the report with its exact ceilings.

The ceilings come from `oracles.heartbeat`, which knows the law of the data and nothing of the network:

    K_max = −H(X¹)    no model can exceed it, because the step at t = 1 is fixed
    K*                what the best steps with independent bits reach; it is exact, and so is their share of invalid sequences,
                      which the fixed last step alone would keep from being 0

The schedule is fixed, β_t = 1/(T − t + 1): no gradient passes a bit.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refdpm import binomial, likelihood, run, schedule, train
from refdpm.data import heartbeat as data
from refdpm.experiments import common
from refdpm.networks import heartbeat as network_module
from refdpm.oracles import heartbeat as oracle
from refdpm.single import DTYPES
from refdpm.train import Purpose
from refdpm.vjp import Array, fix

BITS, PERIOD = 20, 5
RATE = 1 / PERIOD
HIDDEN = (50, 50, 50)
LONGEST = 20_000              # the last layer's weights grow with T
PAPER = {"K": -2.414, "K_minus_L_null": 12.024, "T": 2000}


class Settings(NamedTuple):
    """What a run is a function of.  `draws` values of t for every example of a batch."""

    T: int = 200
    readout: str = "denoising"
    last: str = "bumps"
    steps: int = 30000
    batch: int = 32
    draws: int = 25
    rate: float = 1e-2
    decay_2: float = 0.999
    seed: int = 0
    dtype: str = "float64"


DEFAULT = Settings()
FULL = Settings(T=2000, steps=60_000, rate=7e-3)
FLAGS = {
    "dtype": ("--dtype", "float64, or float32 for a network in single precision"),
    "seed": ("--seed", "default 0"), "steps": ("--steps", "steps of the optimiser"),
    "readout": ("--readout", "denoising, skip, or paper (the probability itself)"),
    "last": ("--last", "bumps, or per_step (the paper's: a read-out of its own for every t)"),
    "T": ("--T", "steps of the chain, default 200; the paper has 2000"),
}


def checked(settings: Settings) -> Settings:
    """The settings if they make sense.   Raises: ValueError that names the first that does not."""
    common.check_integers(settings, T=2, steps=1, batch=1, draws=1, seed=0)
    common.check_numbers(settings, rate=(0, np.inf), decay_2=(0, 1))
    common.check_choice(settings, readout=network_module.READOUTS, last=network_module.LAST, dtype=DTYPES)
    if settings.T > LONGEST:
        raise ValueError(f"T: expected at most {LONGEST}, got {settings.T}")
    return settings


resolved = checked


def problem(settings: Settings) -> common.Problem:
    """The binomial kernel with the rate of the data, the paper's network, the heartbeat."""
    recipe = train.Recipe(steps=settings.steps, batch=settings.batch, draws=settings.draws, rate=settings.rate, schedule_rate=0.0,
                          beta_1=1 / settings.T, decay_2=settings.decay_2, seed=settings.seed)
    network = common.in_precision(fix(network_module, T=settings.T, rate=RATE, readout=settings.readout, last=settings.last),
                                  settings.dtype)
    held_out = common.in_proportion(max(1000, min(20_000, 4_000_000 // settings.T)), settings, DEFAULT)
    return common.Problem(kernel=fix(binomial, rate=RATE), network=network, beta=schedule.reciprocal(settings.T),
                          recipe=recipe, shape=(BITS,), draw_data=data.draw, draw_held_out=data.draw, unit="sequence", size=1,
                          held_out=held_out, glance=100)


def begin(settings: Settings) -> train.State:
    """The state before the first step."""
    rng = train.generator(settings.seed, Purpose.START)
    parameters = network_module.init(rng, T=settings.T, bits=BITS, hidden=HIDDEN, last=settings.last)
    return train.begin(train.Model(common.of_type(parameters, settings.dtype), np.empty(0)))


template = begin


def read(settings: Settings, path: Path) -> Array:
    """Sequences of one's own from a `.npy` file, (N, 20) zeros and ones.   Raises: ValueError naming the file."""
    x_0 = run.load_points(path)
    if x_0.ndim != 2 or x_0.shape[1] != BITS or len(x_0) < 2:
        raise ValueError(f"{path}: expected at least two sequences, shape (N, {BITS}), got shape {x_0.shape}")
    if not np.isin(x_0, (0, 1)).all():
        raise ValueError(f"{path}: expected zeros and ones, got {x_0[~np.isin(x_0, (0, 1))][0]}")
    return x_0.astype(np.float64)


# -- reports, in bits ----------------------------------------------------------------------------------------------------

def report(posed: common.Problem, settings: Settings, state: train.State, n: int | None = None) -> dict[str, Any]:
    """The exact ceilings, and how many of n samples are no heartbeat; 10⁵, or fewer where T > 200 and in a short run."""
    n = common.in_proportion(min(100_000, 20_000_000 // settings.T), settings, DEFAULT) if n is None else n
    beta = schedule.reciprocal(settings.T)
    exact = {"K_max": oracle.ceiling(beta, rate=RATE), "K_star": oracle.bound(beta, rate=RATE),
             "L_star": oracle.log_likelihood(beta, rate=RATE), "log_likelihood_of_the_data": -np.log(PERIOD)}
    drawn = common.samples(posed, state, n, seed=settings.seed)
    return {name: float(likelihood.bits(nats)) for name, nats in exact.items()} | {
        "samples": {"n": n, "invalid": float(invalid(drawn).mean()),
                    "invalid_expected": oracle.invalid_probability(beta, rate=RATE)}, "paper": PAPER}


def invalid(x: Array) -> Array:
    """Which of the sequences (N, 20) are none of the five of the data.   → bool (N,)."""
    phases = x.reshape(len(x), -1, PERIOD)
    return ~((phases == phases[:, :1]).all(axis=(1, 2)) & (phases[:, 0].sum(axis=1) == 1))


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    settings, drawn, paper = report["settings"], report["samples"], report["paper"]
    stderr = np.sqrt(drawn["invalid_expected"] * (1 - drawn["invalid_expected"]) / drawn["n"])
    return f"""Heartbeat, T = {settings['T']}, read-out '{settings['readout']}', seed {report['seed']}

{common.bound_text(report, 'held-out sequences')}

exact limits
  K*     {report['K_star']:9.4f} bits   the best steps with independent bits
  K_max  {report['K_max']:9.4f} bits   −H(X¹): no steps can do better, β_1 = 1/T alone sets it
  −H(X⁰) {report['log_likelihood_of_the_data']:9.4f} bits   one of five
  paper: K = {paper['K']}, K − L_null = {paper['K_minus_L_null']} bits at T = {paper['T']}

of {drawn['n']} samples {100 * drawn['invalid']:.3f} % are no heartbeat; of the best model's, \
{100 * drawn['invalid_expected']:.3f} % (± {100 * stderr:.3f} % in as many)"""
