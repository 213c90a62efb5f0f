"""Clauses on what is drawn: the law of t, of the noise of Gaussians and of the noise of bits.

    draw_times(T, N, seed)       N integers, uniform on 1..T; of the paper's bound also on 2..T, for its step t = 1 is fixed
    draw_noise(shape, seed)      independent standard normal numbers
    draw_uniform(shape, seed)    independent numbers uniform on [0, 1)

An adapter may ask for less, such as draw_noise(shape) from a generator of its own.  False alarms: a law of t is rejected at
p < 1e-6 in each of two tests, a moment or a correlation beyond 6 standard errors, of which there are about ten; a right adapter
fails one of these clauses in fewer than one run in 100 000.
"""

from typing import Any

import numpy as np
from scipy.special import chdtrc

from refdpm.conformance.adapter import Fault
from refdpm.conformance.chapters.inputs import Given, Inputs
from refdpm.conformance.chapters.quantity import Finding, Law
from refdpm.vjp import Array

COUNT = 20_000                  # of drawn t
SHAPE = (200, 4, 5, 2)          # of drawn noise
RARE = 1e-6
OF_THE_PAPER = {"K", "one_step_bound", "strict_bound", "binomial_bound"}     # whose step from x_1 is the forward kernel
FIRST_STEP = (", counted from 1: right where the first step is fixed, as in the paper's bound, and otherwise a step that is never "
              "trained; offer also the bound, or the training loss, which tell")
ERRORS = 6.0
FARTHEST = 9.0                  # a standard normal number beyond it comes once in 10¹⁹
SIZES = (5, 2)                  # T, where the adapter's schedule leaves it free


# -- the law of t ------------------------------------------------------------------------------------------------------

def times(subject: Any, given: Given, seed: int) -> Finding:
    """Support and uniformity, and whether the examples of a batch have each its own t."""
    worst = Finding(0.0)
    for T in SIZES if given.beta is None else (len(given.beta) - 1,):
        found = _times(subject, given, T, seed)
        if found.ratio > 1:
            return found
        worst = max(worst, found, key=lambda finding: finding.ratio)
    return worst


def _times(subject: Any, given: Given, T: int, seed: int) -> Finding:
    first, second = (_drawn_times(subject, given, T, at) for at in (seed, seed + 1))
    inputs = {"T": T, "N": COUNT, "seed": seed}
    shifts = (subject.profile.of("draw_times").first_t,) if _is_told_from_where(subject) else (1, 0)
    if T > 2 and len(np.unique(first)) == 1:
        return Finding(np.inf, "one t for the whole batch (RNG-11): unbiased, but noisier than one for each example", inputs)
    if len(np.unique(first)) > 1 and np.array_equal(first, second):
        return Finding(np.inf, "the same t for another seed (RNG-08)", inputs)
    is_asked = any("predicts" in quantity.choices for quantity in subject.functions.values())
    fixed = True if subject.functions.keys() & OF_THE_PAPER else False if is_asked else None
    return min((_uniform(first + 1 - shift, T, inputs, fixed) for shift in shifts), key=lambda finding: finding.ratio)


def _is_told_from_where(subject: Any) -> bool:
    """Whether it is known from where the adapter counts t, or another function shows it."""
    how = subject.known.get("draw_times.first_t", subject.known.get("first_t"))
    shown = any("t" in inputs for function in subject.functions.values() for inputs in subject.edges(function)[:1])
    return how in ("stated", "inferred") or shown


def _drawn_times(subject: Any, given: Given, T: int, seed: int) -> Array:
    beta = np.linspace(0.125, 0.5, T) if given.beta is None else given.beta[1:]
    value = np.asarray(subject.raw("draw_times", {"T": T, "N": COUNT, "seed": seed, "beta": beta}))
    if value.shape != (COUNT,):
        raise Fault(f"draw_times returns shape {value.shape}, expected ({COUNT},)")
    if not np.array_equal(value, np.rint(value)):
        raise Fault("draw_times returns numbers that are no integers")
    return value.astype(np.int64)


def _uniform(t: Array, T: int, inputs: Inputs, fixed: bool | None) -> Finding:
    """t counted from 1, which is never drawn if the first step is fixed; None says that nobody knows whether it is."""
    if t.min() < 1 or t.max() > T:
        return Finding(np.inf, f"draws t from {t.min()} to {t.max()}, counted from 1, with T = {T}", inputs)
    low = 1 if T == 1 or np.any(t == 1) or fixed is False else 2
    counts = np.bincount(t, minlength=T + 1)[low:]
    if np.any(counts == 0):
        never = low + int(np.argmin(counts))
        which = ", the last (RNG-02)" * (never == T) + ", the first" * (never == 1)
        return Finding(np.inf, f"t = {never} is never drawn{which}", inputs)
    expected = COUNT / len(counts)
    p = float(chdtrc(len(counts) - 1, ((counts - expected) ** 2 / expected).sum())) if len(counts) > 1 else 1.0
    ratio = np.log(max(p, 1e-300)) / np.log(RARE)
    if ratio > 1:
        return Finding(ratio, _of_counts(counts, expected, low, T), inputs)
    is_open = low == 2 and fixed is None
    return Finding(ratio, f"uniform on {low}..T" + FIRST_STEP * is_open, inputs, is_open)


def _of_counts(counts: Array, expected: float, low: int, T: int) -> str:
    share = counts / expected
    if len(counts) > 2 and max(share[0], share[-1]) < 0.75 * share[1:-1].min():
        return f"t = {low} and t = T = {T} are drawn half as often as the others (RNG-01)"
    return f"not uniform on {low}..{T}: shares {', '.join(f'{one:.3f}' for one in share[:8])} of what is expected"


# -- the law of the noise ------------------------------------------------------------------------------------------------

def noise(subject: Any, given: Given, seed: int) -> Finding:
    """Moments 1 to 4 of a normal law, and correlations."""
    x, y = (_drawn(subject, "draw_noise", at) for at in (seed, seed + 1))
    if np.max(np.abs(x)) > FARTHEST:
        return Finding(np.inf, f"draws numbers as large as {np.max(np.abs(x)):.3g}, which no normal law does", {"shape": SHAPE})
    return _worst(_moments(x, (0, 1, 0, 3), (1, 2, 15, 96)) | _correlations(x, y), seed)


def uniform(subject: Any, given: Given, seed: int) -> Finding:
    """The same of a uniform law, and its support."""
    u, v = (_drawn(subject, "draw_uniform", at) for at in (seed, seed + 1))
    if u.min() < 0 or u.max() >= 1:
        return Finding(np.inf, f"draws numbers from {u.min():.9g} to {u.max():.9g}, outside [0, 1)", {"shape": SHAPE, "seed": seed})
    x, y = ((one - 0.5) * np.sqrt(12) for one in (u, v))
    return _worst(_moments(x, (0, 1, 0, 9 / 5), (1, 4 / 5, 27 / 7, 9 - 81 / 25)) | _correlations(x, y), seed)


def _drawn(subject: Any, name: str, seed: int) -> Array:
    value = np.asarray(subject.raw(name, {"shape": SHAPE, "seed": seed}), dtype=np.float64)
    if value.shape != SHAPE:
        raise Fault(f"{name} returns shape {value.shape}, expected {SHAPE}")
    if not np.all(np.isfinite(value)):
        raise Fault(f"{name} returns {value[~np.isfinite(value)][0]}, expected finite numbers")
    return value


def _moments(x: Array, means: tuple[float, ...], variances: tuple[float, ...]) -> dict[str, float]:
    """How many standard errors the mean of x^k is off, k = 1..4; `means` and `variances` are those of x^k."""
    return {f"moment {k} is {np.mean(x ** k):.4f}, expected {mean:.4g}": float(np.mean(x ** k) - mean) * np.sqrt(x.size / variance)
            for k, (mean, variance) in enumerate(zip(means, variances), 1)}


def _correlations(x: Array, y: Array) -> dict[str, float]:
    """The same for the correlations of neighbours along each axis and of two draws."""
    found = {"two draws with different seeds are correlated (RNG-08)": float(np.mean(x * y)) * np.sqrt(x.size)}
    for axis, says in enumerate(("examples (RNG-08)", "rows", "columns", "channels")):
        ahead, behind = (np.take(x, np.arange(SHAPE[axis] - 1) + shift, axis=axis) for shift in (1, 0))
        found[f"neighbouring {says} are correlated"] = float(np.mean(ahead * behind)) * np.sqrt(ahead.size)
    return found


def _worst(errors: dict[str, float], seed: int) -> Finding:
    says = max(errors, key=lambda name: abs(errors[name]))
    ratio = abs(errors[says]) / ERRORS
    return Finding(ratio, f"{says}: {abs(errors[says]):.1f} standard errors" if ratio > 1 else "", {"shape": SHAPE, "seed": seed})


LAWS: tuple[Law, ...] = (
    Law("LAW.TIMES", "t is uniform on 1..T, or on 2..T for the paper's bound; every example has its own t", ("14",),
        ("draw_times",), times, ("bound.draw_steps",)),
    Law("LAW.NOISE", "noise is standard normal and independent: moments 1–4, examples, components, calls", ("App.1 G marginal",),
        ("draw_noise",), noise, ("gaussian.draw_noise",)),
    Law("LAW.UNIFORM", "noise of bits is uniform on [0, 1) and independent: moments 1–4, examples, components, calls",
        ("App.1 B marginal",), ("draw_uniform",), uniform, ("binomial.draw_noise",)),
)
