"""What all experiments share: from settings to a state, its training, and its report in bits.

An experiment is a module with these names; the commands know nothing else of it:

    Settings          a NamedTuple: what a run is a function of, with `steps` and `seed` among its fields
    DEFAULT, FULL     the minutes' run and the long one
    FLAGS             {field: (flag of the command line, its help)} for the fields that a user may set
    checked           the settings if they make sense
    resolved          the same, with what only the data can tell
    moved             the settings of a run whose data lie elsewhere now (only where `data` is one of the FLAGS)
    problem           what they stand for: a `Problem`
    begin, template   the state before the first step; its structure and shapes alone
    read              examples of one's own from a file
    report            what there is to say of a state of the problem beside K: ceilings, samples
    text              the report of a finished run for people
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from math import prod
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from refdpm import likelihood, optimize, product, sample, schedule, single, train
from refdpm.console import Progress
from refdpm.likelihood import in_bits
from refdpm.train import Draw, Purpose
from refdpm.vjp import Array, Module, Tree, fix, leaves, tree_map
from refdpm.workers import Workers, mapping


class Problem(NamedTuple):
    """All that training, evaluation and sampling need of an experiment.

    beta         the fixed schedule; None where it is learned
    shape        of one example
    unit, size   what bits are counted per in reports, and how many of it an example has: 1 point, 256 pixels
    held_out     how many examples a report is made on, fewer in a run of fewer steps (`in_proportion`)
    glance       how many examples a look at K during training is made on
    shift, scale from the units of files to the model's: x = (value − shift)·scale
    low, high    of pictures, in the units of files; None for what is none
    """

    kernel: Module
    network: Module
    beta: Array | None
    recipe: train.Recipe
    shape: tuple[int, ...]
    draw_data: Draw
    draw_held_out: Draw
    unit: str
    size: int
    held_out: int
    glance: int
    shift: float = 0.0
    scale: float = 1.0
    low: float | None = None
    high: float | None = None

    @property
    def real(self) -> bool:
        """Whether examples are real numbers, not bits."""
        return "var" in self.kernel.prior(self.shape)._fields


# -- settings ------------------------------------------------------------------------------------------------------------

def from_dict(experiment: Any, content: dict[str, Any]) -> Any:
    """Settings from a run file's header.   Raises: ValueError for a missing, unknown or impossible one."""
    fields, content = experiment.Settings._fields, {"dtype": "float64"} | content         # which older runs do not name
    if content.keys() != set(fields):
        raise ValueError(f"settings: expected {list(fields)}, got {list(content)}")
    try:
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
        return experiment.checked(experiment.Settings(**plain))
    except TypeError as error:
        raise ValueError(f"settings: expected numbers, got {content} ({error})") from None


def check_integers(settings: Any, **least: int) -> None:
    """Raises: ValueError that names the first field that is no integer or below its least value."""
    for name, low in least.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ValueError(f"{name}: expected an integer ≥ {low}, got {value!r}")


def check_numbers(settings: Any, **ranges: tuple[float, float]) -> None:
    """Raises: ValueError that names the first field that is no number strictly between its two ends."""
    for name, (low, high) in ranges.items():
        if not low < getattr(settings, name) < high:
            raise ValueError(f"{name}: expected a number between {low:g} and {high:g}, got {getattr(settings, name)!r}")


def check_choice(settings: Any, **choices: tuple[Any, ...]) -> None:
    """Raises: ValueError that names the first field whose value is none of its choices."""
    for name, allowed in choices.items():
        if getattr(settings, name) not in allowed:
            raise ValueError(f"{name}: expected one of {allowed}, got {getattr(settings, name)!r}")


def checked_state(problem: Problem, state: train.State) -> train.State:
    """The state if it can be one of this run.   Raises: ValueError that names what cannot be."""
    if not 0 <= state.steps_done <= problem.recipe.steps:
        raise ValueError(f"steps_done: expected 0 to {problem.recipe.steps}, got {state.steps_done}")
    for name, moments in (("network_moments", state.network_moments), ("schedule_moments", state.schedule_moments)):
        if moments.steps != state.steps_done or not all((square >= 0).all() for square in leaves(moments.square)):
            raise ValueError(f"{name}: expected averages of {state.steps_done} steps, with squares ≥ 0, got others")
    return state


def in_proportion(full: int, settings: Any, default: Any, *, least: int = 2) -> int:
    """How many of `full` examples a run of fewer steps than the default looks at, so that no part of it takes long."""
    return min(full, max(least, -(-full * settings.steps // default.steps)))


def in_precision(network: Module, dtype: str) -> Module:
    """The network in float64, as it is, or in float32."""
    return network if dtype == "float64" else single.in_single(network)


def of_type(parameters: Tree, dtype: str) -> Tree:
    """Parameters of this type; those that take no memory take none."""
    return parameters if dtype == "float64" else tree_map(lambda x: x.astype(dtype), parameters)


# -- a run ---------------------------------------------------------------------------------------------------------------

def fit(problem: Problem, state: train.State) -> Iterator[tuple[train.State, float]]:
    """`train.fit`, from any state of this run on."""
    return train.fit(state, problem.recipe, draw_data=problem.draw_data, kernel=problem.kernel, network=problem.network,
                     beta=problem.beta)


def beta_of(problem: Problem, state: train.State) -> Array:
    """The schedule: the fixed one, or what has been learned."""
    return problem.beta if problem.beta is not None else schedule.learned(state.model.logit_beta, beta_1=problem.recipe.beta_1)


def held_out(problem: Problem, n: int) -> Array:
    """Examples from a stream that no training step draws from."""
    return problem.draw_held_out(train.generator(problem.recipe.seed, Purpose.HELD_OUT), n)


def evaluate(problem: Problem, state: train.State, x_0: Array, *, workers: Workers = 1) -> train.Evaluation:
    """K and its parts on given examples, with noise that depends on the seed alone."""
    return train.evaluate(state.model.parameters, beta_of(problem, state), x_0, kernel=problem.kernel, network=problem.network,
                          rng=train.generator(problem.recipe.seed, Purpose.EVALUATION), rows=max(1, 40000 // prod(problem.shape)),
                          workers=workers)


@contextmanager
def watched(problem: Problem, *, quiet: bool) -> Iterator[Problem]:
    """The same problem, whose network says how often it has been asked, and at which t, where somebody looks at a terminal."""
    if quiet:
        yield problem
        return
    with Progress() as progress:
        calls = count(1)

        def telling(function: Any) -> Any:
            def asked(parameters: Tree, x_t: Array, step: Any, *, t: Array) -> Any:
                progress.show(f"call {next(calls)} of the network, t = {np.max(t, initial=0)}")
                return function(parameters, x_t, step, t=t)
            return asked

        functions = {name: telling(getattr(problem.network, name)) for name in ("reverse", "reverse_vjp")}
        yield problem._replace(network=SimpleNamespace(**vars(problem.network) | functions))


def samples(problem: Problem, state: train.State, n: int, *, seed: int, end: str = "x_0", workers: Workers = 1) -> Array:
    """n examples drawn from the model."""
    return _in_parts(problem, state, partial(_new, end=end), np.empty(n), seed=seed, workers=workers)


def denoised(problem: Problem, state: train.State, y: Array, *, noise: float, seed: int, choice: str = "constant",
             workers: Workers = 1) -> Array:
    """One sample of x_0 for each y = x_0 + normal noise of deviation `noise`, or with each bit flipped with that probability.

    choice   one of r_t, `product.CHOICES`; or "enter", for normal noise, which is no factor (`product.enter`)
    """
    if choice == "enter":
        draw = partial(product.enter, noise_std=noise)
    elif problem.real:
        draw = partial(product.denoise, noise_std=noise, choice=choice)
    else:
        draw = partial(_unflipped, flipped=noise, choice=choice)
    return _in_parts(problem, state, draw, y, seed=seed, workers=workers)


def inpainted(problem: Problem, state: train.State, y: Array, *, mask: Array, seed: int, choice: str = "constant",
              workers: Workers = 1) -> Array:
    """One sample of x_0 for each y, equal to it where `mask` is true."""
    return _in_parts(problem, state, partial(_filled_in, choice=choice), (y, mask), seed=seed, workers=workers)


def _new(parameters: Tree, beta: Array, given: Array, *, end: str, **chain: Any) -> Array:
    return sample.sample(parameters, beta, end=end, **chain)


def _unflipped(parameters: Tree, beta: Array, y: Array, *, flipped: float, choice: str, **chain: Any) -> Array:
    factor = product.powers(product.flipped(y, rate=flipped), T=len(beta) - 1, choice=choice)
    return product.posterior_sample(parameters, beta, factor=factor, **chain)


def _filled_in(parameters: Tree, beta: Array, given: tuple[Array, Array], *, choice: str, **chain: Any) -> Array:
    y, mask = given
    return product.inpaint(parameters, beta, y, mask=mask, choice=choice, **chain)


def _in_parts(problem: Problem, state: train.State, draw: Callable[..., Array], given: Tree, *, seed: int, workers: Workers
              ) -> Array:
    """draw(parameters, beta, given, …) for as many examples at a time as `_parts` says, each part with noise of its own."""
    beta = beta_of(problem, state)
    parts = [tree_map(lambda x: x[part], given) for part in _parts(problem, len(beta), len(next(leaves(given))))]
    task = partial(_part, draw=partial(draw, state.model.parameters, beta), seed=seed, shape=problem.shape, times=len(beta),
                   chain={"kernel": fix(problem.kernel), "network": fix(problem.network)})
    with mapping(workers) as each:
        return np.concatenate(list(each(task, list(enumerate(parts)))))


def _part(numbered: tuple[int, Tree], *, draw: Callable[..., Array], seed: int, shape: tuple[int, ...], times: int,
          chain: dict[str, Any]) -> Array:
    """One part of the examples, by its number."""
    index, given = numbered
    rng = train.generator(seed, Purpose.SAMPLES, index)
    noise = chain["kernel"].draw_noise(rng, (times, len(next(leaves(given))), *shape))
    return draw(given, noise=noise, **chain)


def _parts(problem: Problem, times: int, n: int) -> Iterator[slice]:
    """n examples in parts whose noise at so many times is at most 4·10⁶ numbers."""
    size = max(1, 4_000_000 // (times * prod(problem.shape)))
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


# -- its report, in bits -------------------------------------------------------------------------------------------------

def bound_report(problem: Problem, state: train.State, x_0: Array, *, name: str = "run", workers: Workers = 1) -> dict[str, Any]:
    """K, L_null, the strict bound and every term of K on given examples, in bits per `problem.unit`.

    Raises: ValueError if K is no finite number, as after a training that diverged; `name` is that of the run or of the examples.
    """
    result = evaluate(problem, state, x_0, workers=workers)
    if not np.isfinite([*result.bound, *result.strict_bound]).all():
        raise ValueError(f"{name}: expected a finite K, got {result.bound.value}; the training has diverged, or the examples are "
                         f"too far from the data")
    report: dict[str, Any] = {"unit": problem.unit}
    for name, estimate in (("K", result.bound), ("L_null", result.null), ("K_minus_L_null", result.gain),
                           ("elbo", result.strict_bound), ("correction", result.correction)):
        value, stderr = in_bits(estimate)
        report |= {name: value / problem.size, f"{name}_stderr": stderr / problem.size}

    def bits(nats: Any) -> float:
        return in_bits_per(problem, nats)

    return report | {
        "examples": len(x_0), "seed": problem.recipe.seed,
        "terms": {"kl": [bits(v) for v in result.terms.kl], "H(x_T|x_0)": bits(result.terms.entropy_T),
                  "H(x_1|x_0)": bits(result.terms.entropy_1), "H(pi)": bits(result.terms.entropy_prior)},
        "beta": [float(b) for b in beta_of(problem, state)]}


def in_bits_per(problem: Problem, nats: Any) -> float:
    """Nats per example as bits per unit."""
    return float(likelihood.bits(nats)) / problem.size


def parzen_report(problem: Problem, state: train.State, x_0: Array, *, count: int) -> dict[str, Any]:
    """The Parzen-window log-likelihood of examples, in bits per example, from samples of the model.

    In units in which images run from 0 to 1, as in the literature.  The first half of the examples chooses the bandwidth, one of
    ten from 0.1 to 1; the result is on the second half.
    """
    drawn = _from_zero_to_one(problem, samples(problem, state, count, seed=problem.recipe.seed))
    first, second = np.array_split(_from_zero_to_one(problem, x_0), 2)
    widths = np.logspace(-1, 0, 10)
    scores = [likelihood.parzen_log_likelihood(first, drawn, bandwidth=width).mean() for width in widths]
    bandwidth = float(widths[int(np.argmax(scores))])
    value, stderr = in_bits(likelihood.average(likelihood.parzen_log_likelihood(second, drawn, bandwidth=bandwidth)))
    return {"bits": value, "bits_stderr": stderr, "bandwidth": bandwidth, "samples": count, "examples": len(second)}


def _from_zero_to_one(problem: Problem, x: Array) -> Array:
    """Model units to those in which pictures are 0 to 1; other data as they are."""
    if problem.low is None or problem.high is None:
        return x
    return (x / problem.scale + problem.shift - problem.low) / (problem.high - problem.low)


def parzen_text(report: dict[str, Any]) -> str:
    """The Parzen-window log-likelihood, for people."""
    found = report["parzen"]
    edge = "; that is at the edge of those tried" if found["bandwidth"] in (0.1, 1.0) else ""
    return f"""
  Parzen window {found['bits']:9.4f} ± {found['bits_stderr']:.4f}   bits per example, on {found['examples']} of them; bandwidth \
{found['bandwidth']:.3g}, {found['samples']} samples (Table 2's measure; not comparable with K){edge}"""


def bound_text(report: dict[str, Any], examples: str) -> str:
    """K and what it is made of, for people."""
    terms = report["terms"]
    parts = (f"−Σ KL {-sum(terms['kl']):+.4f}, H(x_T|x_0) {terms['H(x_T|x_0)']:+.4f}, "
             f"−H(x_1|x_0) {-terms['H(x_1|x_0)']:+.4f}, −H(π) {-terms['H(pi)']:+.4f}")
    return f"""on {report['examples']} {examples}, in bits per {report['unit']}
  K             {report['K']:9.4f} ± {report['K_stderr']:.4f}   the sum of {parts}
  L_null        {report['L_null']:9.4f} ± {report['L_null_stderr']:.4f}   the data under π
  K − L_null    {report['K_minus_L_null']:9.4f} ± {report['K_minus_L_null_stderr']:.4f}
  strict bound  {report['elbo']:9.4f} ± {report['elbo_stderr']:.4f}   K + C, with C = {report['correction']:+.5f}"""


def template_of(model: train.Model) -> train.State:
    """A state with the structure and shapes of a model; where the model takes no memory, it takes none either."""
    network_moments, schedule_moments = (optimize.Moments(np.zeros(()), part, part) for part in model)
    return train.State(model, network_moments, schedule_moments, 0)
