"""Claim: where the middle of a patch of dead leaves is unknown, the model fills it in with what fits the rest: the pixels that
are known are kept to the last bit, and the mean of its samples is nearer to the truth than the mean of all images, which
knows nothing of the rest.

    python validation/inpainting.py [--full] [--run DIR]     --run: a finished run of `refdpm train dead-leaves`, not a new one

Beside it stands the best linear estimate from the known pixels. Clamping at every t (eq. 22 with a point for r) is biased,
so no law of the filled-in pixels is claimed.
"""

import time

import numpy as np
from claim import claim_of, conclude, row, run_of

from refdpm.experiments import common, images

PATCHES, SAMPLES = 32, 4


def main() -> int:
    started = time.perf_counter()
    posed, _, full = run_of("dead-leaves", __doc__)
    problem, state = posed.problem, posed.state
    x = common.held_out(problem, PATCHES)
    height, width, _ = problem.shape
    mask = np.ones(x.shape, dtype=bool)
    mask[:, height // 4:-(height // 4), width // 4:-(width // 4)] = False
    draws = [common.inpainted(problem, state, np.where(mask, x, np.nan), mask=mask, seed=seed) for seed in range(SAMPLES)]
    hole = ~mask[0].ravel()
    truth = x.reshape(len(x), -1)[:, hole]
    law = images.normal_law(posed.settings)
    known, cov = x.reshape(len(x), -1)[:, ~hole], law.covariance
    linear = law.mean[hole] + np.linalg.solve(cov[np.ix_(~hole, ~hole)], (known - law.mean[~hole]).T).T @ cov[np.ix_(~hole, hole)]
    estimates = {"mean of all images": np.broadcast_to(law.mean[hole], truth.shape), "best linear estimate": linear,
                 f"mean of {SAMPLES} samples": np.mean(draws, axis=0).reshape(len(x), -1)[:, hole]}
    errors = {name: np.square(estimate - truth).mean(axis=1) for name, estimate in estimates.items()}
    measured = {name: (error.mean(), error.std(ddof=1) / np.sqrt(len(error))) for name, error in errors.items()}
    text = ", ".join(f"{name} {value:.4f} ± {stderr:.4f}" for name, (value, stderr) in measured.items())
    gain = errors["mean of all images"] - errors[f"mean of {SAMPLES} samples"]
    score = gain.mean() / (gain.std(ddof=1) / np.sqrt(len(gain)))
    kept = [bool((draw[mask] == x[mask]).all()) for draw in draws]
    rows = [row("{kept} of {draws} draws keep all known pixels of {patches} patches", "all of them", all(kept),
                kept=sum(kept), draws=SAMPLES, patches=PATCHES),
            row(f"mean squared error in the unknown middle: {text}",
                f"samples below the mean of all images by more than 3 standard errors ({score:.1f})", score > 3,
                errors=measured, scores=score)]
    return conclude(f"inpainting{'_full' if full else ''}", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings=posed.settings._asdict())


if __name__ == "__main__":
    raise SystemExit(main())
