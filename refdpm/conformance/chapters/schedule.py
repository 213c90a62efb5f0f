"""Clauses of the schedules: those with a name, the learned one, and the schedule of fewer steps.

They are asked for with plain numbers, which an adapter may round to its own precision; so each has an error of u of its own.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from refdpm import schedule
from refdpm.conformance.chapters import draws
from refdpm.conformance.chapters.draws import Draw, arrays, numbers
from refdpm.conformance.chapters.ends import Case, rate
from refdpm.conformance.chapters.inputs import Given, Inputs, drawn, drawn_with, edge_schedules, listed, on_schedules, spread_out
from refdpm.conformance.chapters.quantity import Finding, Law, Output, Quantity, own_levels
from refdpm.conformance.chapters.theory import SCHEDULE, Take, Theory
from refdpm.conformance.planting import PRINTED, Mistake, Plant, edited, instead, of, pulled_by, then, told
from refdpm.later import sampler
from refdpm.schedule import Step
from refdpm.textbook import chain as book
from refdpm.textbook.expression import column, given as argument
from refdpm.textbook.page import Page, exactly, to_float
from refdpm.vjp import Array

RATES = (Output("RATES", "rates"),)
STEPS = (10, 3, 2, 1, 20, 1000)
LENGTH, FIRST, LAST, OFFSET, CAP = map(argument, ("T", "beta_1", "beta_T", "offset", "cap"))


def of_plain_numbers(inputs: Inputs) -> Page:
    """A page whose numbers an adapter may have rounded to its own precision."""
    given = {name: np.asarray(value, dtype=np.float64) for name, value in inputs.items()}
    return Page(given, ndim=1, errors={name: np.abs(value) for name, value in given.items() if name not in ("T", "logit_beta")})


# -- named -------------------------------------------------------------------------------------------------------------

SIZES = draws.one_of(STEPS[:-1])
TWO_ENDS_EDGES = listed(*(dict(T=T, beta_1=1e-4, beta_T=0.02 if T > 1 else 1e-4) for T in STEPS),
                        dict(T=10, beta_1=0.25, beta_T=0.96875))


def TWO_ENDS(given: Given) -> Draw:
    """The rates at both ends; of a single step both are the same."""
    apart = drawn(T=SIZES, beta_1=numbers(1e-4, 0.01), beta_T=numbers(0.015625, 0.9375))(given)
    return apart.map(lambda inputs: inputs if inputs["T"] > 1 else inputs | {"beta_T": inputs["beta_1"]})


NAMED = (
    Quantity(
        "linear_schedule", "SCH.LINEAR", "β_t = β_1 + (β_T − β_1) (t−1)/(T−1); if T = 1 both are the same",
        ("Ho, Jain, Abbeel 2020",), RATES, TWO_ENDS, TWO_ENDS_EDGES,
        Theory(schedule.linear, "T", fixed=("beta_1", "beta_T"), table=True), book.linear(LENGTH, FIRST, LAST),
        page=of_plain_numbers),
    Quantity(
        "geometric_schedule", "SCH.GEOM", "β_t = β_1^(1−f) β_T^f with f = (t−1)/(T−1); if T = 1 both are the same",
        ("sec. 2.4.1",), RATES, TWO_ENDS, TWO_ENDS_EDGES,
        Theory(schedule.geometric, "T", fixed=("beta_1", "beta_T"), table=True), book.geometric(LENGTH, FIRST, LAST),
        page=of_plain_numbers),
    Quantity(
        "reciprocal_schedule", "SCH.RECIP", "β_t = 1/(T − t + 1), so that ᾱ_t = 1 − t/T", ("App.1 B targets",), RATES,
        drawn(T=draws.integers(1, 40)), listed(*({"T": T} for T in STEPS)), Theory(schedule.reciprocal, "T", table=True),
        book.reciprocal(LENGTH), page=of_plain_numbers),
    Quantity(
        "cosine_schedule", "SCH.COSINE", "β_t = min(1 − f(t)/f(t−1), cap) with f(t) = cos²[(π/2) (t/T + offset)/(1 + offset)]",
        ("Nichol, Dhariwal 2021",), RATES, drawn(T=SIZES, offset=draws.just(0.008), cap=draws.just(0.999)),
        listed(*(dict(T=T, offset=0.008, cap=0.999) for T in STEPS), dict(T=10, offset=0.125, cap=0.875)),
        Theory(schedule.cosine, "T", fixed=("offset", "cap"), table=True),
        book.cosine(LENGTH, OFFSET, CAP), page=of_plain_numbers),
)


FITTED = (
    Quantity(
        "linear_schedule_for", "SCH.FITTED", "the linear schedule from 1000/T · beta_1 to 1000/T · beta_T, each β_t at most cap",
        ("Nichol, Dhariwal 2021",), RATES, drawn(T=draws.one_of((20, 50, 250)), beta_1=draws.just(1e-4), beta_T=draws.just(0.02),
                                                 cap=draws.just(0.999)),
        listed(*(dict(T=T, beta_1=1e-4, beta_T=0.02, cap=0.999) for T in (10, 100, 4, 1000, 25))),
        Theory(schedule.linear_for, "T", fixed=("beta_1", "beta_T", "cap"), table=True),
        book.linear_for(LENGTH, FIRST, LAST, CAP), page=of_plain_numbers),
    Quantity(
        "zero_terminal_schedule", "SCH.ZERO", "the rates that make every √ᾱ_t to (√ᾱ_t − √ᾱ_T) √ᾱ_1/(√ᾱ_1 − √ᾱ_T): ᾱ_T = 0, and "
        "ᾱ_1 stays; T ≥ 2",
        ("Lin 2023",), RATES, on_schedules(low=2), lambda given: [{"beta": beta} for beta in edge_schedules(given, low=2)],
        Theory(schedule.to_zero, SCHEDULE, table=True), book.to_zero(column("t")),
        page=lambda i: Page({}, beta=i["beta"], t=np.arange(1, len(i["beta"])), ndim=1)),
)


# -- learned -----------------------------------------------------------------------------------------------------------

def _learned_edges(given: Given) -> list[Inputs]:
    found = [{"logit_beta": spread_out(T - 1, low=-9, high=4), "beta_1": 1e-4} for T in (10, 3, 2, 20)]
    return [*found, {"logit_beta": np.array([-12.0, 0.0, 6.0]), "beta_1": 0.03125}]


LOGITS: Draw = draws.one_of((1, 2, 4, 9)).flatmap(lambda size: arrays(size, low=-9.0, high=5.0))

LEARNED = (
    Quantity(
        "learned_schedule", "SCH.LEARNED", "β_1 as given, β_t = 1/(1 + exp(−logit_beta[t−2])) for t ≥ 2", ("15",), RATES,
        drawn(logit_beta=LOGITS, beta_1=numbers(1e-4, 0.5)), _learned_edges,
        Theory(schedule.learned, "logit_beta", fixed=("beta_1",), table=True),
        book.learned(argument("logit_beta"), FIRST), arguments=("logit_beta",), page=of_plain_numbers),
    Quantity(
        "schedule_logits", "SCH.LOGITS", "log β_t − log(1 − β_t) for t ≥ 2: the parameters with which learning starts at β",
        ("15",), (Output("VALUE"),), on_schedules(low=2), lambda given: [{"beta": beta} for beta in edge_schedules(given, low=2)],
        Theory(schedule.logits_of, SCHEDULE), book.logits_of(book.row()),
        page=lambda i: Page({}, beta=i["beta"], t=np.arange(2, len(i["beta"])), ndim=1)),
)


# -- fewer steps -------------------------------------------------------------------------------------------------------

def _own_rates(i: Inputs) -> Array:
    """The schedule, or the rates of the adapter's own levels where it has shown them."""
    level = i.get("log_alpha_bar")
    return np.asarray(i["beta"] if level is None else np.append(0.0, -np.expm1(np.diff(level))))


def _kept_steps(T: int) -> Draw:
    return draws.subsets(1, T, least=1).map(lambda times: np.array(sorted(times)))


def _kept_edges(given: Given) -> list[Inputs]:
    found = []
    for beta in edge_schedules(given):
        T = len(beta) - 1
        found += [{"beta": beta, "times": np.append(np.arange(stride, T, stride), T)} for stride in (3, 1) if stride <= T]
    return found


FEWER = (
    Quantity(
        "respaced_schedule", "SCH.RESPACED", "1 − ᾱ_t/ᾱ_s for every kept t, s the kept step before it; ᾱ_0 = 1 before the first",
        ("Song, Meng, Ermon 2021",), RATES, drawn_with(on_schedules(), times=_kept_steps), _kept_edges,
        Theory(sampler.respaced, Take(_own_rates, SCHEDULE.back), fixed=("times",), table=True),
        lambda i: book.respaced(tuple(i["times"].tolist())), given=own_levels, after=("alpha_bar",), arguments=("beta",),
        page=lambda i: Page({}, beta=i["beta"], ndim=1)),
)


COUNTS = ((20, 3), (1000, 7), (10, 1), (10, 10), (10, 3), (1000, 50), (1, 1), (3, 2), (10, 4))


def _spaced(subject: Any, given: Given, seed: int) -> Finding:
    """Exactly `count` steps, in order, the last of them T, and evenly spaced: halves may be rounded up or down.  A single step may
    be 1, as in guided-diffusion."""
    first = subject.profile.first_t
    for T, count in COUNTS:
        inputs = {"T": T, "count": count}
        times = np.asarray(subject.raw("spaced_times", dict(inputs))).reshape(-1).astype(np.int64) + 1 - first
        times = times[::-1] if len(times) > 1 and times[0] > times[-1] else times
        if len(times) != count:
            return Finding(np.inf, f"{len(times)} steps, expected {count} (SCH-16)", inputs)
        counts_otherwise = times - 1 + 2 * first                     # from 1 for 0, or from 0 for 1
        if times[-1] != T == counts_otherwise[-1] and _are_even(counts_otherwise, T):
            return Finding(np.inf, f"counts t from {1 - first}, where the rest of the adapter counts from {first}", inputs)
        if times[-1] != T and times.tolist() != [1]:
            return Finding(np.inf, f"ends at t = {times[-1]}, expected T = {T} (SCH-17b)", inputs)
        if not _are_even(times, T):
            return Finding(np.inf, f"steps {times.tolist()} are not as even as integers can be", inputs)
    return Finding(0.0)


def _are_even(times: Array, T: int) -> bool:
    even = np.arange(1, len(times) + 1) * T / len(times), np.linspace(1, T, len(times))
    return bool(np.all(np.diff(times) >= 1)) and any(np.all(np.abs(times - one) < 1) for one in even)


LAWS: tuple[Law, ...] = (
    Law("SCH.SPACED", "spaced_times(T, count): count steps out of 1..T in order; the last of them is T, and each is less than one "
        "step away from its place among equal distances: from i T/count, or from linspace(1, T, count)",
        ("Song, Meng, Ermon 2021",), ("spaced_times",), _spaced, ("later.sampler.spaced",)),
)


# -- the pairs at the ends of the range ------------------------------------------------------------------------------------

def _rates(T: int) -> Any:
    """One schedule of T steps, with small and large rates."""
    def drawn(rng: np.random.Generator, n: int) -> Case:
        return (np.concatenate([[0.0], np.minimum(rate(rng, T), 1 - 1e-6)]),), {}
    return drawn


def _long(rng: np.random.Generator, n: int) -> Case:
    """A schedule of 2000 steps that are all alike, whose sum is rounded in the same direction many times."""
    return (np.append(0.0, np.full(2000, 0.0011)),), {}


ENDS = {
    "schedule.reciprocal": lambda rng, n: ((n,), {}), "schedule.linear": lambda rng, n: ((n,), dict(beta_1=1e-12, beta_T=1 - 1e-6)),
    "schedule.geometric": lambda rng, n: ((n,), dict(beta_1=1e-12, beta_T=0.5)),
    "schedule.cosine": (lambda rng, n: ((n,), dict(offset=1e-4, cap=1.0)), lambda rng, n: ((n,), {})),
    "schedule.linear_for": lambda rng, n: ((n,), {}),
    "schedule.logits_of": _rates(60), "schedule.log_alpha_bar": (_rates(400), _long), "schedule.alpha_bar": _rates(40)}


# -- mistakes ----------------------------------------------------------------------------------------------------------

def _first_unscaled(beta: Array, T: int, offset: float, cap: float) -> Array:
    first = np.cos(np.pi / 2 * (1 / T + offset) / (1 + offset)) ** 2
    return np.append([0, min(1 - first, cap)], beta[2:])


def _scattered_once(dstep: Step, beta: Array, level: Array, *, t: Array, ndim: int) -> tuple[Array, Array]:
    """Fancy += keeps only one of the rows that share a t."""
    dbeta, dlevel = 0 * (beta + dstep.beta.ravel()[0]), 0 * (beta + dstep.beta.ravel()[0])
    dbeta[t] += dstep.beta.ravel()
    dlevel[t - 1] += dstep.log_alpha_bar_prev.ravel()
    dlevel[t] += dstep.log_alpha_bar.ravel()
    return dbeta, dlevel


def _shifting(step: Step, t: Array) -> Step:
    t -= 1
    return step


def _levels_shifted(beta: Array) -> Array:
    """ᾱ_t less ᾱ_T, and not its root."""
    level = np.cumprod(1 - beta[1:])
    level = (level - level[-1]) * level[0] / (level[0] - level[-1])
    return np.concatenate([beta[:2], 1 - level[1:] / level[:-1]])


def _since_the_start(T: int, *, offset: float, cap: float) -> Array:
    f = np.cos((np.arange(T + 1) / T + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.append(0.0, np.minimum(1 - f[1:] / f[0], cap))


in_step, in_cosine, in_log_alpha_bar = of("schedule.step"), of("schedule.cosine"), of("schedule.log_alpha_bar")
in_table_of = of("textbook.page.table_of", "clause")

MISTAKES = (
    Mistake("SCH-FIT", "ends divided by 1000/T → times 1000/T", "fewer steps with smaller rates", "schedule.linear_for", "value",
            then(lambda beta, T, beta_1, beta_T: np.append(0, np.linspace(beta_1, beta_T, T) * T / 1000))),
    Mistake("SCH-ZERO-LEVEL", "ᾱ_t shifted and stretched → its root", "a level for its root", "schedule.to_zero", "value",
            instead(_levels_shifted)),
    Mistake("SCH-ZERO-LAST", "β_T alone set to 1 → all levels shifted", "ᾱ_T = 0 by force", "schedule.to_zero", "value",
            instead(lambda beta: np.append(beta[:-1], 1.0))),
    in_step("SCH-01", "table of ᾱ_{t−1} padded on the right, so that it holds ᾱ_t → 1 in front",
            "lucidrains/denoising-diffusion-pytorch#18", then(lambda step: step._replace(log_alpha_bar_prev=step.log_alpha_bar))),
    in_step("SCH-02", "ᾱ_{t−1} at t = 1 is the first entry of the table, ᾱ_1 → 1", "CompVis/stable-diffusion@21f890f",
            told(log_alpha_bar=lambda level: np.append(level[1], level[1:]))),
    in_cosine("SCH-04", "cosine ᾱ_t = f(t) → f(t)/f(0): β_1 five times too large", "Michedev/DDPMs-Pytorch@26ba864",
            then(_first_unscaled)),
    in_cosine("SCH-05", "cosine offset 0.0008 → 0.008", "Michedev/DDPMs-Pytorch@7fb5203", told(offset=lambda offset: offset / 10)),
    in_cosine("SCH-07", "cosine not cut off, so that β_T is 1 → cut off at 0.999", "Burak599/NumPy-Diffusion@71f6e20",
            told(cap=1 - 1e-12)),
    Mistake("SCH-08", "learned schedule normalised by f(0) − f(1): it runs backwards → a larger parameter is a larger rate",
            "lucidrains/denoising-diffusion-pytorch@a19331a", "schedule.learned", "value", told(logit_beta=np.negative)),
    Mistake("SCH-10", "perturbation added to β inside the sigmoid → to logit β",
            "metric-space/diffusion-probabilistic-models-JAX@a216435", "schedule.logits_of", "value",
            instead(lambda beta: beta[2:])),
    in_log_alpha_bar("SCH-EXP", "ᾱ = exp(−Σ β), the limit of small rates → ∏ (1 − β)", "the law of continuous time",
                     instead(lambda beta: -np.cumsum(beta))),
    in_log_alpha_bar("SCH-14", "ᾱ = ∏ β → ∏ (1 − β)", "LuChengTHU/dpm-solver#13",
            instead(lambda beta: np.concatenate([[0.0], np.cumsum(np.log(beta[1:]))]))),
    Mistake("SCH-17", "rates that stop before β_T → end with it",
            "openai/improved-diffusion#44; as REV-08, DavidRuhe/simple-variational-diffusion-models@4a25952", "schedule.linear",
            "value", instead(lambda T, *, beta_1, beta_T: np.append(0.0, np.linspace(beta_1, beta_T, T, endpoint=False)))),
    Mistake("SCH-ROOTS", "√β_t in equal steps → β_t in equal steps", "the schedule of latent diffusion, for the linear one",
            "schedule.linear", "value", instead(
                lambda T, *, beta_1, beta_T: np.append(0.0, np.linspace(beta_1 ** 0.5, beta_T ** 0.5, T) ** 2))),
    in_cosine("SCH-SINCE-0", "β_t = 1 − f(t)/f(0), what is lost since the start → 1 − f(t)/f(t−1)", "a level taken for a step",
              instead(_since_the_start)),
    Mistake("NEW-GEOMETRIC", "exponent t/T, so that no step has the rate β_1 → (t − 1)/(T − 1)", "an index, as in SCH-17",
            "schedule.geometric", "value", edited("term left out: 1", also="term left out: 1")),
    in_cosine("SCH-22", "step size 1/1000 whatever T → 1/T", "microsoft/mattergen#79",
            lambda right: lambda T, **fixed: right(1000, **fixed)[:T + 1]),
    Mistake("SCH-25", "β from 1/linspace(T, 2), which stops at β_T = ½ → 1/(T − t + 1)", "ORIG generate_beta_arr",
            "schedule.reciprocal", "value", instead(lambda T: np.append(0.0, 1 / np.linspace(T, 2, T)))),
    Mistake("SCH-26", "smallest rate added to β_1 → β_1 as configured", "ORIG generate_beta_arr", "schedule.learned", "value",
            then(lambda beta: beta + 1e-6 * (np.arange(len(beta)) == 1))),
    in_log_alpha_bar("REV-07", "∏ (1 − β) over s < t, without its own factor → s ≤ t",
            "gmongaras/Diffusion_models_from_scratch@65ebc69", then(lambda level: np.append(0.0, level[:-1]))),
    in_log_alpha_bar("REV-22", "ᾱ_0 = 0.999 written down → 1", "gmongaras/Diffusion_models_from_scratch@99617c6",
            then(lambda level: np.append(np.log(0.999), level[1:]))),
    in_step("POS-07", "index t − 1 = −1 of a table that starts at ᾱ_1 wraps to ᾱ_T at the first step → ᾱ_0 = 1",
            "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8",
            then(lambda step, log_alpha_bar, t: step._replace(
                 log_alpha_bar_prev=log_alpha_bar[1:][t - 2].reshape(step.beta.shape)))),
    in_step("SHP-01", "the schedule's values at t lie along the last axis → one for each row", "huggingface/diffusers@3304538",
            then(lambda step: Step(*(column.reshape((1,) * (column.ndim - 1) + (-1,)) for column in step)))),
    in_step("SHP-07", "t shifted in place: the second call sees t − 1 → t left alone", "plainerman/DiffDock-Pocket#6",
            then(_shifting)),
    Mistake("BND-10", "guard looks whether all values are bad → whether any is", "horenbergerb/BernoulliDiffusion@3d1f72a",
            "schedule.checked", "value",
            lambda right: lambda beta: np.asarray(beta, float) if np.any(np.asarray(beta) > 0) else right(beta)),
    Mistake("SCH-19", "table of levels in single precision → double", "AUTOMATIC1111/stable-diffusion-webui#14071",
            "schedule.log_alpha_bar", "accuracy", then(lambda level: level.astype(np.float32).astype(np.float64))),
    Mistake("NEW-LOG", "level as the log of a product, 0 for small β → sum of log1p(−β)", "the textbook form",
            "schedule.log_alpha_bar", "accuracy", instead(lambda beta: np.log(np.cumprod(1 - beta)))),
    Mistake("NEW-SCATTER", "rows that share a t overwrite each other → add up", "NumPy's fancy +=", "schedule.step_vjp", "gradient",
            pulled_by(_scattered_once)),
    Mistake("NEW-CUMSUM", "β_t collects the levels before it → those from t on", "chain rule of ᾱ, the wrong way along t",
            "schedule.log_alpha_bar_vjp", "gradient", pulled_by(lambda dlevel, beta: -np.cumsum(dlevel) / (1 - beta))),
    Mistake("NEW-COSINE", "β_t of the cosine schedule as 1 − a ratio near 1 → as a product of sines", "openai/improved-diffusion",
            "schedule.cosine", "accuracy", PRINTED),
)


# -- tables ------------------------------------------------------------------------------------------------------------
#
# Most programs keep tables of β_t, α_t, ᾱ_t and ᾱ_{t−1}, each for itself.  This package has no table of ᾱ_{t−1} that could disagree
# with its ᾱ_t; the textbook has, in `textbook.page.table_of`, and every formula with tables takes its columns from there.

def _previous(change: Callable[[Array], Any]) -> Plant:
    """Another table of ᾱ_{t−1} over t = 0..T, made from that of ᾱ_t; its first entry is of no use."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def table_of(name: str, shift: int, beta: Array) -> Array:
            changed = (name, shift) == ("alpha_bar", -1)
            return np.array(change(right(name, 0, beta)), dtype=object) if changed else right(name, shift, beta)
        return table_of
    return plant


TABLES = (
    in_table_of("SCH-01b", "table of ᾱ_{t−1} padded on the right, so that it holds ᾱ_t → 1 in front, ᾱ_T left out",
            "lucidrains/denoising-diffusion-pytorch#18", _previous(lambda level: level)),
    in_table_of("SCH-01c", "table of ᾱ_{t−1} with a 1 behind and no ᾱ_1, so that it holds ᾱ_{t+1} → 1 in front, ᾱ_T left out",
            "lucidrains/denoising-diffusion-pytorch#18", _previous(lambda level: [*level[1:], Decimal(1)])),
    in_table_of("SCH-01d", "table of ᾱ_{t−1} with a 0 behind and no ᾱ_1, so that it holds ᾱ_{t+1} → 1 in front, ᾱ_T left out",
            "lucidrains/denoising-diffusion-pytorch#18", _previous(lambda level: [*level[1:], Decimal(0)])),
    in_table_of("SCH-01e", "table of ᾱ_{t−1} padded behind with a 1, so that it holds ᾱ_t, and 1 at t = T → 1 in front",
            "lucidrains/denoising-diffusion-pytorch@0b8cdb4", _previous(lambda level: [*level[:-1], Decimal(1)])),
    in_table_of("SCH-02b", "ᾱ_{t−1} at t = 1 is the first entry of the table, ᾱ_1 → 1", "CompVis/stable-diffusion@21f890f",
            _previous(lambda level: [level[0], level[1], *level[1:-1]])),
    in_table_of("POS-07b", "index t − 1 = −1 of a table that starts at ᾱ_1 wraps to ᾱ_T at the first step → ᾱ_0 = 1",
            "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8",
            _previous(lambda level: [level[0], level[-1], *level[1:-1]])),
    in_table_of("REV-22b", "ᾱ_0 = 0.999 written down → 1", "gmongaras/Diffusion_models_from_scratch@99617c6",
            _previous(lambda level: [level[0], Decimal("0.999"), *level[1:-1]])),
    in_table_of("REV-07b", "∏ (1 − β) over s < t, without its own factor → s ≤ t",
            "gmongaras/Diffusion_models_from_scratch@65ebc69", told(shift=lambda shift, name: shift - (name == "alpha_bar"))),
    in_table_of("SCH-EXPb", "ᾱ = exp(−Σ β), the limit of small rates → ∏ (1 − β)", "the law of continuous time",
            told(beta=lambda beta, name: -np.expm1(-beta) if name == "alpha_bar" else beta)),
    in_table_of("SCH-14b", "ᾱ = ∏ β → ∏ (1 − β)", "LuChengTHU/dpm-solver#13",
            told(beta=lambda beta, name: np.append(0.0, 1 - beta[1:]) if name == "alpha_bar" else beta)),
    in_table_of("SCH-19b", "table of ᾱ in half precision → in the precision of everything else",
            "AUTOMATIC1111/stable-diffusion-webui#14071",
            then(lambda table, name: exactly(np.asarray(to_float(table), dtype=np.float16)) if name == "alpha_bar" else table)),
    in_table_of("NEW-TABLE-NEXT", "every table at t + 1 → at t", "an index from 0 for a table from 1",
            told(shift=lambda shift, name: shift + (name != "t"))),
    in_table_of("NEW-TABLE-BEFORE", "every table at t − 1 → at t", "an index from 1 for a table from 0",
            told(shift=lambda shift, name: shift - (name != "t"))),
)
