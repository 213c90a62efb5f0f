"""The numbers of README.md, from the packages and from formulas written down here; the kit has no part in it.

    python validation/foreign/confirm.py
"""

import numpy as np
import torch
from diffusers import CogVideoXDDIMScheduler, DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from monai.networks.schedulers import DDPMScheduler as MonaiDDPM

BETA = np.linspace(1e-4, 0.02, 1000)
LEVEL = np.cumprod(1 - BETA)


def large_log() -> None:
    """1."""
    scheduler = DDPMScheduler(variance_type="fixed_large_log", clip_sample=False)
    said = float(scheduler._get_variance(500))
    x = scheduler.step(torch.zeros(1, 2), 500, torch.zeros(1, 2)).prev_sample
    print(f"1. fixed_large_log, t = 500: _get_variance {said:.6f}, log β {np.log(BETA[500]):.6f}; step from 0 by 0: {x.tolist()}")


def large() -> None:
    """2."""
    scheduler = DDPMScheduler(variance_type="fixed_large", clip_sample=False)
    said = np.array([float(scheduler._get_variance(t)) for t in range(1000)])
    table = scheduler.betas.numpy().astype(np.float64)
    error = np.abs(said / table - 1)
    worst = int(np.argmax(error))
    print(f"2. fixed_large: worst at t = {worst}: _get_variance {said[worst]:.9e}, betas[t] {table[worst]:.9e}, off by "
          f"{error[worst]:.2e} of it; median {np.median(error):.1e}; the table is within {np.max(np.abs(table / BETA - 1)):.1e}")


def last_step() -> None:
    """3."""
    for kind in ("fixed_small", "fixed_large"):
        scheduler = DDPMScheduler(variance_type=kind, clip_sample=False, timestep_spacing="trailing")
        scheduler.set_timesteps(20)
        t = int(scheduler.timesteps[-1])
        x = torch.zeros(1, 100000)
        x_0 = scheduler.step(x, t, x, generator=torch.Generator().manual_seed(0)).prev_sample
        print(f"3. {kind}, trailing, 20 steps: last t = {t}, previous {int(scheduler.previous_timestep(t))}; "
              f"from x_t = 0 and ε = 0 the x_0 returned has variance {float(x_0.var()):.6e}; "
              f"1 − ᾱ_t = {1 - LEVEL[t]:.6e}; x̂_0 itself is 0")


def ranged() -> None:
    """4."""
    monai, ours = MonaiDDPM(variance_type="learned_range", clip_sample=False), DDPMScheduler(variance_type="learned_range")
    for t in (1, 2, 10, 500):
        small = BETA[t] * (1 - LEVEL[t - 1]) / (1 - LEVEL[t])
        head = torch.zeros(1, 1)
        print(f"4. learned_range, head 0, t = {t}: MONAI {float(monai._get_variance(t, head)):.6e}, "
              f"(β + β̃)/2 = {(BETA[t] + small) / 2:.6e}; "
              f"diffusers {float(torch.exp(ours._get_variance(t, head))):.6e}, √(ββ̃) = {np.sqrt(BETA[t] * small):.6e}")


def final_alpha() -> None:
    """5."""
    for to_one in (True, False):
        scheduler = DDIMScheduler(set_alpha_to_one=to_one, clip_sample=False)
        scheduler.set_timesteps(1000)
        x_0 = float(scheduler.step(torch.zeros(1, 1), 0, torch.ones(1, 1)).prev_sample)
        print(f"5. set_alpha_to_one={to_one}: last step from x_1 = 1 by ε = 0: {x_0:.9f}; "
              f"x̂_0 = 1/√ᾱ_1 = {1 / np.sqrt(LEVEL[0]):.9f}")


def shifted_twice() -> None:
    """13."""
    def moved(t: np.ndarray) -> np.ndarray:
        return 3 * t / (1 + 2 * t)

    scheduler, times = FlowMatchEulerDiscreteScheduler(shift=3.0), np.linspace(1, 1e-3, 4)
    scheduler.set_timesteps(4)
    lists = {"its list": scheduler.sigmas[:-1].numpy(), "shifted once": moved(times),
             "between ends that are shifted, shifted again": moved(np.linspace(moved(1), moved(1e-3), 4))}
    print("13. shift=3, 4 steps: " + "; ".join(f"{name} {', '.join(f'{t:.6f}' for t in found)}" for name, found in lists.items()))


def cogvideox() -> None:
    """14."""
    scheduler = CogVideoXDDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(1000)
    x = torch.ones(1, 1, dtype=torch.float64)
    eta_0, eta_1 = (float(scheduler.step(x / 2, 500, x, eta=eta, variance_noise=3 * x).prev_sample) for eta in (0.0, 1.0))
    level, before = (float(scheduler.alphas_cumprod[t]) for t in (500, 499))
    x_0, var = (1 - np.sqrt(1 - level) / 2) / np.sqrt(level), (1 - before) / (1 - level) * (1 - level / before)
    noisy = np.sqrt(before) * x_0 + np.sqrt(1 - before - var) / 2 + 3 * np.sqrt(var)
    print(f"14. CogVideoX, t = 500, x_t = 1, ε̂ = ½, noise 3: η = 0 {eta_0:.6f}, η = 1 {eta_1:.6f}; by DDIM's formula {noisy:.6f}; "
          f"betas[t] {float(scheduler.betas[500]):.6f}, 1 − ᾱ_t/ᾱ_t−1 {1 - level / before:.6f}")
    scheduler = CogVideoXDDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(7)
    there = float(scheduler.step(0 * x, 999, x).prev_sample)
    print(f"14. CogVideoX, trailing, 7 steps: {scheduler.timesteps[:2].tolist()}; from x_999 = 1 by ε̂ = 0 to {there:.6f}; "
          + ", ".join(f"√(ᾱ_{t}/ᾱ_999) = {float((scheduler.alphas_cumprod[t] / scheduler.alphas_cumprod[999]).sqrt()):.6f}"
                      for t in (856, 857)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for confirm in (large_log, large, last_step, ranged, final_alpha, shifted_twice, cogvideox):
        confirm()
