"""Claim: dead leaves under normal noise as strong as themselves are restored better by the model than by the Wiener filter
with the full covariance of the training images, which is the best linear estimate; and the method of sec. 2.5 (eq. 22 with
a constant r) is biased, in the way its theory says: its samples trust the noisy image too much.

    python validation/denoising.py [--full] [--run DIR]      --run: a finished run of `refdpm train dead-leaves`, not a new one
"""

import time

import numpy as np
from claim import claim_of, conclude, row, run_of

from refdpm import product, schedule, train
from refdpm.experiments import common, images
from refdpm.oracles import wiener

PATCHES, SAMPLES = 32, 4


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

    def said(name: str) -> str:
        error = errors[name]
        return f"{name}: {error.mean():.4f} ± {error.std(ddof=1) / np.sqrt(len(error)):.4f}"

    def below(name: str) -> tuple[float, float]:
        """How far below the Wiener filter's error, patch by patch, in standard errors."""
        gain = errors["Wiener filter"] - errors[name]
        return float(gain.mean()), float(gain.mean() / (gain.std(ddof=1) / np.sqrt(len(gain))))

    one, many, unbiased = list(errors)[1:]
    expected = wiener.expected_error(law, noise_var=std * std)
    rows = [row(f"{said('Wiener filter')} (expected of its law {expected:.4f}), noise variance {std * std:.3f}, {PATCHES} patches, "
                f"t = {t}", "mean squared error, in units of the variance of the images, within 5 standard errors of its law's",
                abs(errors["Wiener filter"].mean() - expected) < 5 * errors["Wiener filter"].std(ddof=1) / np.sqrt(PATCHES)),
            row(f"{said(one)}; {below(one)[0]:.4f} below the filter, patch by patch {below(one)[1]:.1f} standard errors",
                "more than 3 standard errors below the filter", below(one)[1] > 3),
            row(f"{said(many)}; {below(many)[0]:+.4f} below the filter, {below(many)[1]:+.1f} standard errors",
                "above E[x_0 | x_t]: samples spread, and the method is biased", errors[many].mean() > errors[one].mean()),
            row(f"{said(unbiased)}; {below(unbiased)[0]:+.4f} below the filter, {below(unbiased)[1]:+.1f} standard errors",
                f"1 + 1/{SAMPLES} times the error of E[x_0 | x_t], to a fifth, as samples of its own law",
                abs(errors[unbiased].mean() / errors[one].mean() / (1 + 1 / SAMPLES) - 1) < 0.2)]
    return conclude(f"denoising{'_full' if full else ''}", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings=settings._asdict())


if __name__ == "__main__":
    raise SystemExit(main())
