"""Claim: eq. 24's two bounds enclose the entropy of every true reverse step, for Gaussian data of variance ≤ 1, the heartbeat, and
bits with r = ½ or no more ones than π (r < ½); for data more spread out than π the upper one can fail (normal data: at every step),
the lower one never.

The bounds are the package's, from the forward process alone; the entropy between them is the oracles', from the law of the data.
PAPER §1 names no chain for its 1.610 > 1.448 nats, so that case is shown here on a chain of its own: three fair bits, r = 0.2.

    python validation/entropy_bounds.py
"""

import time

from claim import claim_of, conclude, row
import numpy as np

from refdpm import binomial, gaussian, reversal, schedule
from refdpm.likelihood import bits
from refdpm.oracles import enumeration, heartbeat, linear_gaussian
from refdpm.vjp import fix

MIDPOINTS, LAWS, SLACK = 4000, 200, 1e-12
BETA = np.array([0.0, 0.1, 0.25, 0.4, 0.7])
PRINTED = {0.2: {1: (0, .000079, 2.261859), 2: (.745744, .746960, 2.355650), 10: (2.968302, 3.124970, 3.601784),
                 19: (11.287063, 11.385030, 11.387732), 20: (14.403704, 14.438381, 14.438562)},       # PAPER §4.1, T = 20, bits
           0.5: {2: (1.156580, 1.158429, 3.511301), 10: (4.493594, 4.679626, 5.335300), 20: (19.963918, 19.986940, 20)}}


def package_bounds(x_0, weight, beta, kernel):
    """Both bounds at t = 2..T, averaged over x_0; noise at midpoints makes the average over x_{t−1} exact to 1/MIDPOINTS a
    bit, and where MIDPOINTS·P(1) is an integer, as for the heartbeat at T = 20, to rounding."""
    rows, middle = np.repeat(x_0, MIDPOINTS, axis=0), np.tile((np.arange(MIDPOINTS) + 0.5) / MIDPOINTS, len(x_0))
    noise, weight = np.repeat(middle[:, None], x_0.shape[1], axis=1), np.repeat(weight, MIDPOINTS) / MIDPOINTS
    found = [reversal.entropy_bounds(beta, rows, t=t, noise=noise, kernel=kernel) for t in range(2, len(beta))]
    return np.array([[weight @ side for side in both] for both in found]).T


def of_gaussian(s, T):
    """How far the exact reverse entropy of N(0, s) is above the lower and below the upper bound, least over t = 2..T."""
    beta = schedule.geometric(T, beta_1=1e-3, beta_T=0.5)
    var = linear_gaussian.reverse_kernels(np.array([[s]]), beta).cov[2:, 0, 0]
    lower, upper = package_bounds(np.zeros((1, 1)), np.ones(1), beta, gaussian)
    exact = np.log(2 * np.pi * np.e * var) / 2
    return (exact - lower).min(), upper - exact


def of_heartbeat(rate):
    """Package against oracle, the oracle's order, and the printed digits.   nats, steps 2..20"""
    beta, exact = schedule.reciprocal(20), heartbeat.entropies(schedule.reciprocal(20), rate=rate)
    ours = package_bounds(enumeration.periodic(20, 5)[:1].astype(float), np.ones(1), beta, fix(binomial, rate=rate))
    apart = np.abs(ours - np.stack([exact.lower, exact.upper])[:, 2:]).max()
    printed = max(np.abs(bits(np.array([exact.lower[t], exact.reverse[t], exact.upper[t]])) - found).max()
                  for t, found in PRINTED[rate].items())
    inside = (ours[0] <= exact.reverse[2:] + 1e-3).all() and (exact.reverse[2:] <= ours[1] + 1e-3).all()
    return apart, printed, inside and (exact.lower <= exact.reverse + SLACK).all() and (exact.reverse <= exact.upper + SLACK).all()


def laws(rate, spread):
    """Random laws of three bits, all with fewer ("less"), as many ("same") or more ("more") ones than π."""
    rng, ones, found = np.random.default_rng(0), enumeration.states(3).sum(axis=1), []
    while len(found) < LAWS:
        a, b = rng.dirichlet(np.full(8, 0.3), size=2)
        off_a, off_b = a @ ones - 3 * rate, b @ ones - 3 * rate
        if spread == "same" and off_a * off_b < 0:
            found.append((off_b * a - off_a * b) / (off_b - off_a))
        elif spread == "any" or spread != "same" and (off_a > 0) == (spread == "more"):
            found.append(a)
    return found


def main() -> int:
    started, rows = time.perf_counter(), []
    for s in (1e-3, 0.25, 1.0, 2.0):
        lowest, room = of_gaussian(s, 40)
        rows.append(row("Gaussian data of variance {s:g}, T = 40: reverse − lower ≥ {lower:.2e}, upper − reverse from "
                        "{least:.2e} to {most:.2e} nats over t = 2..40",
                        "both ≥ 0" if s < 1 else f"lower holds, upper {'reached' if s == 1 else 'broken'} at every step",
                        lowest >= -SLACK and (np.abs(room).max() < SLACK if s == 1 else (np.sign(room) == np.sign(1 - s)).all()),
                        s=s, lower=lowest, least=room.min(), most=room.max()))
    for rate in (0.2, 0.5):
        apart, printed, inside = of_heartbeat(rate)
        rows.append(row("heartbeat, T = 20, r = {rate}: package − oracle ≤ {apart:.1e} nats; printed digits off by ≤ "
                        "{printed:.1e} bits",
                        "bounds enclose at t = 1..20; package exact to 1e-9 nats, PAPER §4.1 to its last digit",
                        inside and apart < 1e-9 and printed < 6e-7, rate=rate, apart=apart, printed=printed))
    for rate, spread in ((0.5, "any"), (0.2, "same"), (0.2, "less"), (0.2, "more")):
        found = [enumeration.entropies(law, BETA, rate=rate) for law in laws(rate, spread)]
        broken = np.array([e.reverse[1:] > e.upper[1:] + SLACK for e in found])
        falls = np.array([np.diff(e.marginal) < -SLACK for e in found])
        lower = all((e.reverse >= e.lower - SLACK).all() for e in found)
        name = {"any": "any share of ones", "same": "the share of ones of π", "less": "fewer ones", "more": "more ones"}[spread]
        rows.append(row("{laws} random laws of 3 bits, T = 4, r = {rate}, {name}: upper bound broken at {broken} of "
                        f"{broken.size} steps, lower bound at {'none' if lower else 'SOME'}",
                        ("broken" if spread == "more" else "never") + ", and just where H(X_t) < H(X_{t−1}); lower never",
                        lower and (broken == falls).all() and broken.any() == (spread == "more"),
                        laws=LAWS, rate=rate, name=name, broken=broken.sum(), steps=broken.size))
    fair = enumeration.entropies(np.full(8, 1 / 8), BETA, rate=0.2)
    lower, upper = package_bounds(enumeration.states(3).astype(float), np.full(8, 1 / 8), BETA, fix(binomial, rate=0.2))
    rows.append(row("three fair bits, r = 0.2, β = {beta}: last step reverse {reverse:.4f}, package's upper bound {upper:.4f}, "
                    "lower {lower:.4f} nats", "reverse above upper by more than 0.1, and above lower",
                    fair.reverse[4] > upper[-1] + 0.1 and fair.reverse[4] > lower[-1],
                    beta=BETA[1:], reverse=fair.reverse[4], upper=upper[-1], lower=lower[-1]))
    return conclude("entropy_bounds", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings={"laws": LAWS, "midpoints": MIDPOINTS, "seed": 0})


if __name__ == "__main__":
    raise SystemExit(main())
