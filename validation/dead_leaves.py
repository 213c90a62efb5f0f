"""Claim: on dead leaves of 16 × 16 pixels the model's K on held-out patches, strict bound included, is clearly above the
log-likelihood of the best normal law with a full covariance on the same patches.

    python validation/dead_leaves.py [--full] [--run DIR]    --run: a finished run of `refdpm train dead-leaves`, not a new one

The paper's 1.489 bits per pixel, 3.536 above L_null, are of other images: Theis et al. 2012's are larger, of other radii,
and what β_1 was is not said.
"""

import time

import numpy as np
from claim import claim_of, conclude, row, run_of

from refdpm import bound, gaussian, likelihood
from refdpm.experiments import common, images
from refdpm.oracles import wiener

PATCHES = {False: 40, True: 200}
MARGIN = {False: 0.3, True: 1.0}             # bits per pixel; "clearly"


def main() -> int:
    started = time.perf_counter()
    posed, seconds, full = run_of("dead-leaves", __doc__)
    problem, state, settings = posed.problem, posed.state, posed.settings
    x_0 = common.held_out(problem, PATCHES[full])
    found = common.bound_report(problem, state, x_0)
    normal = likelihood.bits(wiener.log_likelihood_per_pixel(x_0, images.normal_law(settings)))
    c = likelihood.bits(bound.correction(problem.beta, x_0, kernel=gaussian)) / problem.size
    rows = [
        row(f"K = {found['K']:.4f} ± {found['K_stderr']:.4f} bits per pixel on {len(x_0)} held-out patches, T = {settings.T}, "
            f"β_1 = {settings.beta_1:g}; {settings.steps} steps of {settings.batch} patches in {seconds}; "
            f"K − L_null = {found['K_minus_L_null']:.4f} ± {found['K_minus_L_null_stderr']:.4f}, "
            f"strict bound {found['elbo']:.4f} ± {found['elbo_stderr']:.4f}",
            "K − L_null above 0 by 5 standard errors; the paper's 1.489 and 3.536 are of other images",
            found["K_minus_L_null"] > 5 * found["K_minus_L_null_stderr"]),
        row(f"normal law: {normal.mean():.4f} ± {normal.std(ddof=1) / np.sqrt(len(normal)):.4f} bits per pixel",
            f"at least {MARGIN[full]} below K and below the strict bound",
            min(found["K"], found["elbo"]) - normal.mean() >= MARGIN[full]),
        row(f"C = {c.mean():+.4f} bits per pixel", "so small that K and the strict bound agree to 0.02", abs(c.mean()) < 0.02)]
    return conclude(f"dead_leaves{'_full' if full else ''}", claim_of(__doc__), rows,
                    seconds=time.perf_counter() - started, settings=settings._asdict())


if __name__ == "__main__":
    raise SystemExit(main())
