"""Claim: at few steps the schedule is worth a lot: on the Swiss roll (β_1 = 1e-3, T = 40), trained alike, learned > geometric >
reciprocal in K, by more than 5 standard errors of the paired difference; so "a fixed schedule is as good" (the paper's footnote 2)
must not be carried over to few steps.

Learning starts from the geometric schedule.  All runs have the same budget, data and noise in training; K is compared point by
point, on the same held-out points and noise.  Beside K stands K* of each schedule, from the oracle: what its best kernels reach.

    python validation/learned_schedule.py [--steps N] [--seeds N]
"""

import argparse
import time

from claim import claim_of, conclude, row, run_quietly
import numpy as np

from refdpm import bound, schedule, train
from refdpm.experiments import common, swiss_roll as experiment
from refdpm.likelihood import average, bits, in_bits
from refdpm.oracles import swiss_roll as oracle

POINTS, PIECE = 20_000, 1000
REPORTED = {1e-3: {"geometric": -0.897, "reciprocal": -1.804, "the best": -0.825}}        # K* in PAPER §4.4, diagonal, T = 40


def schedules(T, beta_1):
    """The fixed ones; the reciprocal one with β_1 in place of 1/T."""
    reciprocal = schedule.reciprocal(T)
    reciprocal[1] = beta_1
    return {"geometric": schedule.geometric(T, beta_1=beta_1, beta_T=experiment.DEFAULT.beta_T),
            "linear": schedule.linear(T, beta_1=beta_1, beta_T=0.3), "reciprocal": reciprocal}


def bound_of_points(run):
    """K of every held-out point, in nats, with noise that is the same for all schedules."""
    x_0, beta = common.held_out(run.problem, POINTS), common.beta_of(run.problem, run.state)
    rng, found = train.generator(run.settings.seed, train.Purpose.EVALUATION), []
    for part in np.split(x_0, POINTS // PIECE):
        t = bound.every_step(run.settings.T, PIECE)
        found.append(bound.bound(run.state.model.parameters, beta, part, noise=rng.standard_normal((*t.shape, 2)), t=t,
                                 kernel=run.problem.kernel, network=run.problem.network))
    return np.concatenate(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    base, started, rows = experiment.DEFAULT._replace(steps=options.steps), time.perf_counter(), []
    fixed = schedules(base.T, base.beta_1)
    star = {name: bits(oracle.k_star_of(beta)) for name, beta in fixed.items()}
    star["the best"] = bits(oracle.best_schedule(base.beta_1, base.T).k_star)
    rows.append(row(f"K* of {', '.join(f'{name} {k:.4f}' for name, k in star.items())} bits",
                    "PAPER's " + ", ".join(f"{name} {k}" for name, k in REPORTED[1e-3].items()) + ", within 0.004",
                    all(abs(star[name] - k) < 0.004 for name, k in REPORTED[1e-3].items()), K_star=star))
    for seed in range(options.seeds):
        settings, k, learned = base._replace(seed=seed), {}, 0.0
        for name in ("learned", *fixed):
            choice = {} if name == "learned" else {"beta": fixed[name]}
            run, seconds = run_quietly("swiss-roll", settings._replace(learn_schedule=not choice), **choice)
            k[name] = bound_of_points(run)
            if name == "learned":
                learned = bits(oracle.k_star_of(common.beta_of(run.problem, run.state)))
            ceiling, estimate = star.get(name, learned), in_bits(average(k[name]))
            rows.append(row("seed {seed}, {name}: K = {K:.4f} ± {stderr:.4f} bits, K* of this schedule {K_star:.4f}",
                            "K ≤ K* + 5 standard errors", estimate.value <= ceiling + 5 * estimate.stderr,
                            seed=seed, name=name, K=estimate.value, stderr=estimate.stderr, K_star=ceiling))
            print(rows[-1]["number"], f"({seconds:.0f} s)", flush=True)
        for better, worse in (("learned", "geometric"), ("geometric", "reciprocal")):
            value, stderr = in_bits(average(k[better] - k[worse]))
            rows.append(row("seed {seed}: K({better}) − K({worse}) = {gain:.4f} ± {stderr:.4f} bits, paired",
                            "more than 5 standard errors above 0", value > 5 * stderr,
                            seed=seed, better=better, worse=worse, gain=value, stderr=stderr))
        rows.append(row("seed {seed}: K* of the learned schedule − K* of the geometric one = {gain:.4f} bits, of the best − the "
                        "geometric one {most:.4f}",
                        "above 0: it learned a better schedule, not only a better network", learned > star["geometric"],
                        seed=seed, gain=learned - star["geometric"], most=star["the best"] - star["geometric"]))
    return conclude("learned_schedule", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings=base._asdict() | {"seeds": options.seeds, "points": POINTS})


if __name__ == "__main__":
    raise SystemExit(main())
