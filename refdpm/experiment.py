"""The Swiss-roll experiment from end to end: settings, training, and the report with its two ceilings.

The ceilings come from `oracles.swiss_roll`, which knows the law of the data and nothing of the network:

    K_max = −h(X¹)    no model can exceed it, because the step at t = 1 is fixed; it depends on β_1 alone
    K*                what the best Gaussian kernels with independent components reach with the best schedule of T steps;
                      the schedule is found by a search, so this is a value that can be reached, within 1e-3 of the largest
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from refdpm import gaussian, likelihood, optimize, sample, schedule, train
from refdpm.data import swiss_roll as roll
from refdpm.likelihood import in_bits
from refdpm.networks import swiss_roll as network_module
from refdpm.oracles import swiss_roll as oracle, two_sample
from refdpm.train import Purpose
from refdpm.vjp import Array, Module, fix, leaves

PAPER = {"K": 2.35, "K_minus_L_null": 6.45,
         "not_comparable": "the paper gives neither its roll's noise nor β_1; on this noiseless roll 2.35 bits would need "
                           "β_1 ≤ 1.4e-5 even with perfect kernels"}
HELD_OUT = 50000


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


DEFAULT = Settings()
FULL = Settings(units=192, steps=90000)


def checked(settings: Settings) -> Settings:
    """The settings if they make sense.   Raises: ValueError that names the first that does not."""
    for name in ("T", "units", "steps", "batch"):
        value, least = getattr(settings, name), 2 if name == "T" else 1
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: expected an integer ≥ {least}, got {value!r}")
    for name in ("width", "rate", "schedule_rate"):
        if not 0 < getattr(settings, name) < np.inf:
            raise ValueError(f"{name}: expected a positive number, got {getattr(settings, name)!r}")
    if not 1e-5 <= settings.beta_1 <= 0.5:
        raise ValueError(f"beta_1: expected a value in [1e-5, 0.5], where the ceilings are computed, got {settings.beta_1!r}")
    if not 0 < settings.beta_T < 1:
        raise ValueError(f"beta_T: expected a value in (0, 1), got {settings.beta_T!r}")
    if not isinstance(settings.seed, int) or settings.seed < 0:
        raise ValueError(f"seed: expected an integer ≥ 0, got {settings.seed!r}")
    if not isinstance(settings.learn_schedule, bool):
        raise ValueError(f"learn_schedule: expected true or false, got {settings.learn_schedule!r}")
    if settings.readout not in network_module.READOUTS:
        raise ValueError(f"readout: expected one of {network_module.READOUTS}, got {settings.readout!r}")
    return settings


def from_dict(content: dict[str, Any]) -> Settings:
    """Settings from a run file's header.   Raises: ValueError for a missing, unknown or impossible one."""
    if content.keys() != set(Settings._fields):
        raise ValueError(f"settings: expected {list(Settings._fields)}, got {list(content)}")
    try:
        return checked(Settings(**content))
    except TypeError as error:
        raise ValueError(f"settings: expected numbers, got {content} ({error})") from None


def network(settings: Settings) -> Module:
    """The network with the read-out that the settings name."""
    return fix(network_module, readout=settings.readout)


def begin(settings: Settings) -> train.State:
    """The state before the first step: a geometric schedule, centres on data points, read-outs zero."""
    rng = train.generator(settings.seed, Purpose.START)
    parameters = network_module.init(roll.draw(rng, 32 * settings.units), T=settings.T, units=settings.units,
                                     width=settings.width)
    beta = schedule.geometric(settings.T, beta_1=settings.beta_1, beta_T=settings.beta_T)
    return train.begin(train.Model(parameters, schedule.logits_of(beta)))


def template(settings: Settings) -> train.State:
    """The structure and shapes of a state, with zeros that take no memory."""
    T, K = settings.T, settings.units
    shapes = ((K, 2), (K,), (T + 1, K, 4), (T + 1, 4))
    parameters = network_module.SwissRoll(*(np.broadcast_to(0.0, shape) for shape in shapes))
    model = train.Model(parameters, np.broadcast_to(0.0, (T - 1,)))
    network_moments, schedule_moments = (optimize.Moments(np.zeros(()), part, part) for part in model)
    return train.State(model, network_moments, schedule_moments, 0)


def checked_state(settings: Settings, state: train.State) -> train.State:
    """The state if it can be one of this run.   Raises: ValueError that names what cannot be."""
    if not 0 <= state.steps_done <= settings.steps:
        raise ValueError(f"steps_done: expected 0 to {settings.steps}, got {state.steps_done}")
    for name, moments in (("network_moments", state.network_moments), ("schedule_moments", state.schedule_moments)):
        if moments.steps != state.steps_done or not all((square >= 0).all() for square in leaves(moments.square)):
            raise ValueError(f"{name}: expected averages of {state.steps_done} steps, with squares ≥ 0, got others")
    return state


def fit(settings: Settings, state: train.State) -> Iterator[tuple[train.State, float]]:
    """`train.fit` on the roll, from any state of this run on."""
    recipe = train.Recipe(steps=settings.steps, batch=settings.batch, rate=settings.rate, beta_1=settings.beta_1,
                          schedule_rate=settings.schedule_rate if settings.learn_schedule else 0.0, seed=settings.seed)
    return train.fit(state, recipe, draw_data=roll.draw, kernel=gaussian, network=network(settings))


def beta_of(settings: Settings, state: train.State) -> Array:
    """The schedule that a run has learned."""
    return schedule.learned(state.model.logit_beta, beta_1=settings.beta_1)


def held_out(settings: Settings, n: int = HELD_OUT) -> Array:
    """Points that no training step has seen."""
    return roll.draw(train.generator(settings.seed, Purpose.HELD_OUT), n)


def evaluate(settings: Settings, state: train.State, x_0: Array) -> train.Evaluation:
    """K and its parts on given points, with noise that depends on the seed alone."""
    return train.evaluate(state.model.parameters, beta_of(settings, state), x_0, kernel=gaussian, network=network(settings),
                          rng=train.generator(settings.seed, Purpose.EVALUATION))


def samples(settings: Settings, state: train.State, n: int, *, seed: int, end: str = "x_0") -> Array:
    """n points drawn from the model."""
    noise = gaussian.draw_noise(train.generator(seed, Purpose.SAMPLES), (settings.T + 1, n, 2))
    return sample.sample(state.model.parameters, beta_of(settings, state), noise=noise, kernel=gaussian,
                         network=network(settings), end=end)


# -- reports, in bits --------------------------------------------------------------------------------------------------

def bound_report(settings: Settings, state: train.State, x_0: Array) -> dict[str, Any]:
    """K, L_null, the strict bound and every term of K on given points."""
    result = evaluate(settings, state, x_0)
    k, elbo, l_null, gain, c = map(in_bits, (result.bound, result.strict_bound, result.null, result.gain, result.correction))
    return {"K": k.value, "K_stderr": k.stderr, "L_null": l_null.value, "L_null_stderr": l_null.stderr,
            "K_minus_L_null": gain.value, "K_minus_L_null_stderr": gain.stderr,
            "elbo": elbo.value, "elbo_stderr": elbo.stderr, "correction": c.value, "correction_stderr": c.stderr,
            "points": len(x_0), "seed": settings.seed,
            "terms": {"kl": [_bits(v) for v in result.terms.kl], "H(x_T|x_0)": _bits(result.terms.entropy_T),
                      "H(x_1|x_0)": _bits(result.terms.entropy_1), "H(pi)": _bits(result.terms.entropy_prior)},
            "beta": [float(b) for b in beta_of(settings, state)]}


def ceilings(settings: Settings, state: train.State) -> dict[str, float]:
    """K_max, K* for T steps, and K* of the schedule that was learned."""
    return {"K_max": _bits(oracle.k_max(settings.beta_1)),
            "K_star": _bits(oracle.best_schedule(settings.beta_1, settings.T).k_star),
            "K_star_of_its_schedule": _bits(oracle.k_star_of(beta_of(settings, state)))}


def sample_report(settings: Settings, state: train.State, n: int = 1000) -> dict[str, Any]:
    """Samples against held-out points that were put through the first forward step twice, which is what a perfect model draws.

    The energy distance with a permutation test of 999 relabellings: for a perfect model p ≤ 0.001 comes once in a thousand runs.
    """
    rng = train.generator(settings.seed, Purpose.COMPARISON)
    x, beta_1 = held_out(settings, n), np.full((n, 1), settings.beta_1)
    for _ in range(2):
        x = gaussian.draw(gaussian.forward(x, beta_1), noise=rng.standard_normal(x.shape))
    drawn = samples(settings, state, n, seed=settings.seed)
    distance, p_value = two_sample.energy_test(drawn, x, rng=rng)
    return {"n": n, "energy_distance": distance, "p_value": p_value,
            "distance_to_roll": float(oracle.distance_to_curve(drawn).mean()),
            "distance_to_roll_expected": float(oracle.distance_to_curve(x).mean())}


def _bits(nats: Any) -> float:
    return float(likelihood.bits(nats))
