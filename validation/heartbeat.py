"""Claim: on the binary heartbeat (r = 0.2) the short default run (T = 200) ends within 0.02 bits of the exact ceiling K*, and the
long one (T = 2000, --full) has K ≥ −2.378 bits, where the paper has −2.414; neither is above K*, and of 10⁵ samples no more are
invalid than the exact model's share plus 0.2 % (long run).

    python validation/heartbeat.py [--full] [--run DIR]      --run: a finished run of `refdpm train heartbeat`, not a new one
"""

import time

import numpy as np
from claim import claim_of, conclude, row, run_of

from refdpm.experiments import common, heartbeat

PAPER = -2.414
SAMPLES = 100_000
SEQUENCES = {200: 40_000, 2000: 20_000}


def main() -> int:
    started = time.perf_counter()
    posed, seconds, full = run_of("heartbeat", __doc__)
    T = posed.settings.T
    n = SEQUENCES.get(T, 20_000)
    found = common.bound_report(posed.problem, posed.state, common.held_out(posed.problem, n))
    exact = heartbeat.report(posed.problem, posed.settings, posed.state, SAMPLES)
    k, stderr, star, drawn = found["K"], found["K_stderr"], exact["K_star"], exact["samples"]
    least = -2.378 if T == 2000 else star - 0.02
    share, expected = drawn["invalid"], drawn["invalid_expected"]
    noise = np.sqrt(expected * (1 - expected) / drawn["n"])
    rows = [
        row("T = {T}: K = {K:.4f} ± {stderr:.4f} bits on {n} held-out sequences, full sum over t; {steps} steps of training in "
            "{time}", f"K ≥ {least:.4f}", k >= least, T=T, K=k, stderr=stderr, n=n, steps=posed.settings.steps, time=seconds),
        row("K* = {K_star:.6f}, −H(X¹) = {K_max:.6f}; the paper's K is {paper} at T = 2000",
            "K ≤ K* up to 5 standard errors", k <= star + 5 * stderr, K_star=star, K_max=exact["K_max"], paper=PAPER),
        row("{invalid:.3%} of {n} samples are invalid, of the exact model's {expected:.3%}",
            f"≤ exact + 3 standard errors ({3 * noise:.3%}) + 0.2 %", share <= expected + 3 * noise + 0.002,
            invalid=share, n=drawn["n"], expected=expected)]
    return conclude(f"heartbeat{'_full' if full else ''}", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings=posed.settings._asdict())


if __name__ == "__main__":
    raise SystemExit(main())
