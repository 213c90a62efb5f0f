"""Claim: dead leaves under normal noise as strong as themselves are restored better by the model than by the Wiener filter
with the full covariance of the training images, which is the best linear estimate; and the method of sec. 2.5 (eq. 22 with
a constant r) is biased, in the way its theory says: its samples trust the noisy image too much.

    python validation/denoising.py [--full] [--run DIR]      --run: a finished run of `refdpm train dead-leaves`, not a new one
"""

from typing import Any
import time

import numpy as np
from claim import claim_of, conclude, row, run_of

from refdpm import product, schedule, train
from refdpm.experiments import common, images
from refdpm.oracles import wiener

PATCHES, SAMPLES = 32, 4


def standard_error(x: np.ndarray) -> float:
    """Of the mean of independent numbers."""
    return float(x.std(ddof=1) / np.sqrt(len(x)))


def main() -> int:
    started = time.perf_counter()
    posed, _, full = run_of("dead-leaves", __doc__)
    problem, state, settings = posed.problem, posed.state, posed.settings
    level = schedule.log_alpha_bar(problem.beta)
    t = int(np.argmin(np.abs(-np.expm1(level) - np.exp(level))))                   # noise of variance 1, in units of the image's
    std = float(np.sqrt(-np.expm1(level[t]) / np.exp(level[t])))
    x = common.held_out(problem, PATCHES)
    y = x + std * train.generator(settings.seed, train.Purpose.COMPARISON).standard_normal(x.shape)
    law = images.normal_law(settings)
    once = product.denoiser(state.model.parameters, problem.beta, np.exp(level[t] / 2) * y, t=t, kernel=problem.kernel,
                            network=problem.network)
    drawn, entered = (np.mean([common.denoised(problem, state, y, noise=std * (1 - 1e-12), seed=seed, choice=choice)
                               for seed in range(SAMPLES)], axis=0) for choice in ("constant", "enter"))
    errors = {name: wiener.squared_error(estimate, x) for name, estimate in (
        ("Wiener filter", wiener.denoise(y, law, noise_var=std * std)), ("the model's E[x_0 | x_t], one step", once),
        (f"mean of {SAMPLES} samples of sec. 2.5", drawn), (f"mean of {SAMPLES} samples that enter the chain", entered))}

    def measured(name: str) -> dict[str, Any]:
        """Its error, and how far that is below the Wiener filter's, patch by patch, also in standard errors."""
        error, gain = errors[name], errors["Wiener filter"] - errors[name]
        value, stderr, below, below_stderr = (f(x) for x in (error, gain) for f in (np.mean, standard_error))
        return {"name": name, "error": value, "stderr": stderr, "below": below, "scores": below / max(below_stderr, 1e-300)}

    said = "{name}: {error:.4f} ± {stderr:.4f}"

    one, many, unbiased = list(errors)[1:]
    expected = wiener.expected_error(law, noise_var=std * std)
    rows = [row(said + " (expected of its law {expected:.4f}), noise variance {noise_var:.3f}, {patches} patches, t = {t}",
                "mean squared error, in units of the variance of the images, within 5 standard errors of its law's",
                abs(errors["Wiener filter"].mean() - expected) < 5 * standard_error(errors["Wiener filter"]),
                expected=expected, noise_var=std * std, patches=PATCHES, t=t, **measured("Wiener filter")),
            row(said + "; {below:.4f} below the filter, patch by patch {scores:.1f} standard errors",
                "more than 3 standard errors below the filter", measured(one)["scores"] > 3, **measured(one)),
            row(said + "; {below:+.4f} below the filter, {scores:+.1f} standard errors",
                "above E[x_0 | x_t]: samples spread, and the method is biased", errors[many].mean() > errors[one].mean(),
                **measured(many)),
            row(said + "; {below:+.4f} below the filter, {scores:+.1f} standard errors",
                f"1 + 1/{SAMPLES} times the error of E[x_0 | x_t], to a fifth, as samples of its own law",
                abs(errors[unbiased].mean() / errors[one].mean() / (1 + 1 / SAMPLES) - 1) < 0.2, **measured(unbiased))]
    return conclude(f"denoising{'_full' if full else ''}", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings=settings._asdict())


if __name__ == "__main__":
    raise SystemExit(main())
