"""Arguments for every `f`/`f_vjp` pair.  A pair without cases is a failure of the audit and of the tests.

All sizes of one case differ (N ≠ D ≠ units ≠ T), so that a transposed or misplaced axis cannot hide.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from refdpm import gaussian, schedule, strategies as s
from refdpm.gaussian import Gaussian
from refdpm.later.categorical import MIXINGS, Categorical
from refdpm.later.decoder import Grid
from refdpm.later.mean import PREDICTIONS
from refdpm.later.model import Model
from refdpm.later.variance import FIRST, VARIANCES
from refdpm.layers import bit_readout
from refdpm.layers.linear import Affine, per_step_vjp
from refdpm.layers.multiscale import multiscale_vjp
from refdpm.layers.readout import READOUTS, Heads
from refdpm.layers.temporal import BASES
from refdpm.networks import heartbeat, swiss_roll
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, fix

N, D, UNITS, T, S, K = 5, 2, 4, 6, 3, 3
PAIR_MODULES = ("layers.activation", "schedule", "gaussian", "binomial", "likelihood", "bound", "layers.linear", "layers.rbf",
                "layers.readout", "layers.conv", "layers.pool", "layers.multiscale", "layers.temporal",
                "layers.stack", "layers.norm",
                "networks.swiss_roll", "networks.image", "product", "layers.bit_readout", "networks.heartbeat",
                "later.parametrisation", "later.mean", "later.weights", "later.variance", "later.decoder", "later.model",
                "later.objective", "later.sampler", "later.categorical")

IMAGES, KERNEL, FILTERS = (3, 4, 6, 2), (3, 5), 5         # (N, H, W, C), (kh, kw), K

Case = tuple[tuple[Any, ...], dict[str, Any]]


def _case(*arguments: s.Strategy, **fixed: Any) -> st.SearchStrategy[Case]:
    """Arguments and keywords of one call; a keyword that is no strategy is passed as it is."""
    drawn = {key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in fixed.items()}
    return st.tuples(st.tuples(*arguments), st.fixed_dictionaries(drawn))


def _any_network() -> st.SearchStrategy[Any]:
    return st.sampled_from([fix(swiss_roll, readout=name) for name in swiss_roll.READOUTS])


def _bound() -> st.SearchStrategy[Case]:
    return _case(s.swiss_roll_networks(T, UNITS, D), s.schedules(T), s.states(N, D), noise=s.arrays(S, N, D),
                 t=s.times(S, N, low=2, high=T), kernel=gaussian, network=_any_network())


def _convolutions() -> st.SearchStrategy[Case]:
    """Kernels of several odd sides, one of them larger than the image."""
    def of(kernel: tuple[int, int]) -> st.SearchStrategy[Case]:
        return _case(s.normal_arrays(*IMAGES), s.normal_arrays(*kernel, IMAGES[3], FILTERS), s.normal_arrays(FILTERS))

    return st.sampled_from([(1, 1), (3, 3), (1, 3), (3, 1), (5, 3), (3, 7), (9, 3)]).flatmap(of)


def _image_networks(drawn: tuple[Any, Any]) -> st.SearchStrategy[Case]:
    """The image network at drawn steps, in either form."""
    step, t = drawn
    named: dict[str, Any] = dict(t=t, T=T, basis=st.sampled_from(BASES), readout=st.sampled_from(READOUTS))
    return (_case(s.image_networks(*IMAGES[1:], form="paper"), s.normal_arrays(*IMAGES), st.just(step), form="paper", **named)
            | _case(s.image_networks(*IMAGES[1:], form="released"), s.normal_arrays(*IMAGES).map(s.alternating_images),
                    st.just(step), form="released", **named))


def _shared_variances() -> st.SearchStrategy[Any]:
    """Normal laws with one variance for all components of a row."""
    return s.gaussians(N, D).map(lambda p: p._replace(var=p.var[:, :1]))


# -- what came later ---------------------------------------------------------------------------------------------------

GRIDS = (Grid(), Grid(-1.5, 2.5, 4), Grid(0.0, 1.0, 2))


def _predict_vjp(parameters: Affine, x_t: Array, step: Step, *, t: Array) -> tuple[Heads, Pullback]:
    """Heads that are affine in x_t, another map at every t."""
    z, back = per_step_vjp(x_t, *parameters, t=t)

    def pullback(dheads: Heads) -> tuple[Affine, Array, Step]:
        dx_t, *dparameters = back(np.concatenate(dheads, axis=1))
        return Affine(*dparameters), dx_t, Step(*map(np.zeros_like, step))

    return Heads(*np.split(z, 2, axis=1)), pullback


PREDICTOR = SimpleNamespace(predict=lambda *args, **fixed: _predict_vjp(*args, **fixed)[0], predict_vjp=_predict_vjp)


def _models() -> st.SearchStrategy[Model]:
    """Every way to read a predictor; a variance of 1e-20 at t = 1 alone leaves nothing to compare."""
    return st.builds(Model, st.just(PREDICTOR), st.sampled_from(PREDICTIONS), st.sampled_from(VARIANCES),
                     st.sampled_from([policy for policy in FIRST if policy != "floor"]))


def _step_case(**fixed: Any) -> st.SearchStrategy[Case]:
    """A state and another at the steps of a schedule."""
    return s.steps(N, T).flatmap(lambda drawn: _case(s.states(N, D), s.other_states(N, D), st.just(drawn[0]), **fixed))


def _last_steps() -> st.SearchStrategy[Case]:
    def of(beta: Array) -> st.SearchStrategy[Case]:
        t = np.ones(N, dtype=int)
        step = schedule.step(beta, schedule.log_alpha_bar(beta), t=t, ndim=2)
        return _case(s.predictors(T, D), st.just(beta), s.states(N, D), st.just(step), t=t, model=_models())

    return s.schedules(T).flatmap(of)


def _on_a_grid(**fixed: Any) -> st.SearchStrategy[Case]:
    """A predictor and a schedule, with levels of one of the grids."""
    return st.sampled_from(GRIDS).flatmap(lambda grid: _case(
        s.predictors(T, D), s.schedules(T), k=s.times(N, D, low=0, high=grid.levels - 1), grid=grid, model=_models(), **fixed))


def _masses() -> st.SearchStrategy[Case]:
    """Levels in bins of every kind: open ones, narrow and wide ones, near the mean and far from it."""
    return st.sampled_from(GRIDS).flatmap(lambda grid: _case(
        s.gaussians(N, D) | s.gaussians(N, D).map(lambda p: Gaussian(p.mean, p.var[:, :1])),
        k=s.times(N, D, low=0, high=grid.levels - 1), grid=grid))


def _line(columns: s.Strategy) -> s.Strategy:
    return columns.map(lambda column: column[:, 0])


def _third(column: Array) -> Array:
    return column[:, :, None]


CASES: dict[str, st.SearchStrategy[Case]] = {
    "layers.activation.softplus": _case(s.arrays(N, D, low=-40, high=40)),
    "layers.activation.sigmoid": _case(s.arrays(N, D, low=-40, high=40)),
    "layers.activation.logit": _case(s.rate_columns(N)),
    "layers.activation.tanh": _case(s.states(N, D)),
    "layers.activation.leaky_relu": _case(s.nonzero_arrays(N, D), slope=s.numbers(0, 0.9)),
    "schedule.learned": _case(s.arrays(T - 1), beta_1=s.numbers(1e-4, 0.5)),
    "schedule.log_alpha_bar": _case(s.schedules(T)),
    "schedule.step": _case(s.schedules(T), s.arrays(T + 1), t=s.times(N, low=1, high=T), ndim=st.integers(2, 4)),
    "gaussian.forward": _case(s.states(N, D), s.rate_columns(N)),
    "gaussian.marginal": _case(s.states(N, D), s.level_columns(N)),
    "gaussian.posterior": _case(s.states(N, D), s.other_states(N, D), s.rate_columns(N), s.level_columns(N)),
    "gaussian.kl": _case(s.gaussians(N, D), s.other_gaussians(N, D)),
    "gaussian.entropy": _case(s.gaussians(N, D)),
    "gaussian.cross_entropy": _case(s.gaussians(N, D), s.other_gaussians(N, D)),
    "gaussian.log_prob": _case(s.states(N, D), s.gaussians(N, D)),
    "gaussian.draw": _case(s.gaussians(N, D), noise=s.states(N, D)),
    "binomial.forward": _case(s.soft_bits(N, D), s.rate_columns(N), rate=s.rates()),
    "binomial.marginal": _case(s.soft_bits(N, D), s.level_columns(N), rate=s.rates()),
    "binomial.posterior": _case(s.bits(N, D), s.soft_bits(N, D), s.rate_columns(N), s.level_columns(N), rate=s.rates()),
    "binomial.kl": _case(s.bernoullis(N, D), s.other_bernoullis(N, D)),
    "binomial.entropy": _case(s.bernoullis(N, D)),
    "binomial.cross_entropy": _case(s.bernoullis(N, D), s.other_bernoullis(N, D)),
    "binomial.log_prob": _case(s.bits(N, D), s.bernoullis(N, D)),
    "binomial.draw": _case(s.bernoullis(N, D), noise=s.arrays(N, D, low=0, high=1)),
    "likelihood.total": _case(s.states(N, D)),
    "bound.step_kl": _case(s.swiss_roll_networks(T, UNITS, D), s.schedules(T), s.states(N, D), noise=s.states(N, D),
                           t=s.times(N, low=2, high=T), kernel=gaussian, network=_any_network()),
    "bound.network_kl": _case(s.swiss_roll_networks(T, UNITS, D), beta=s.schedules(T), x_0=s.states(N, D), noise=s.states(N, D),
                              t=s.times(N, low=2, high=T), kernel=gaussian, network=_any_network()),
    "bound.entropy_at": _case(s.schedules(T), s.states(N, D), t=st.integers(1, T), kernel=gaussian),
    "bound.prior_cross_entropy_at": _case(s.schedules(T), s.states(N, D), t=st.integers(0, T), kernel=gaussian),
    "bound.terms": _bound(),
    "bound.assemble": _case(s.bound_terms(S, N), T=st.integers(1, 50)),
    "bound.bound": _bound(),
    "bound.correction": _case(s.schedules(T), s.states(N, D), kernel=gaussian),
    "bound.strict_bound": _bound(),
    "layers.linear.linear": _case(s.states(N, D), s.arrays(D, UNITS), s.arrays(UNITS))
    | _case(s.normal_arrays(*IMAGES), s.arrays(2, UNITS), s.arrays(UNITS)),
    "layers.linear.per_step": _case(s.states(N, UNITS), s.arrays(T + 1, UNITS, D), s.arrays(T + 1, D),
                                    t=s.times(N, low=0, high=T)),
    "layers.rbf.rbf": _case(s.states(N, D), s.states(UNITS, D), s.arrays(UNITS, low=-1, high=1)),
    "layers.readout.eq65": _case(s.heads(N, D), s.states(N, D), s.rate_columns(N)),
    "layers.readout.released": _case(s.heads(N, D), s.states(N, D), s.rate_columns(N), T=st.integers(1, 50)),
    "layers.readout.denoising": _case(s.heads(N, D), s.states(N, D), s.rate_columns(N), s.level_columns(N)),
    "layers.readout.read_out": s.steps(N, T).flatmap(
        lambda drawn: _case(s.heads(N, D), s.states(N, D), st.just(drawn[0]), T=st.integers(1, 50),
                            readout=st.sampled_from(READOUTS))),
    "layers.conv.conv2d": _convolutions(),
    "layers.pool.mean_pool": _case(s.normal_arrays(3, 6, 12, 2), factor=st.integers(1, 3)),
    "layers.pool.upsample": _case(s.normal_arrays(*IMAGES), factor=st.integers(1, 3)),
    "layers.multiscale.multiscale": _case(s.normal_arrays(*IMAGES), s.kernels(KERNEL, 2, FILTERS, scales=2)),
    "layers.multiscale.multiscale_released": _case(s.normal_arrays(*IMAGES).map(s.alternating_images),
                                                   s.kernels(KERNEL, 2, FILTERS, scales=2).map(s.alternating)),
    "layers.temporal.temporal": _case(s.arrays(N, S, D, UNITS), g=s.arrays(N, UNITS)),
    "layers.stack.stack": _case(s.normal_arrays(*IMAGES), st.tuples(s.kernels(KERNEL, 2, FILTERS, scales=2),
                                                                    s.kernels((1, 3), FILTERS, 1, scales=1)),
                                layer_vjp=multiscale_vjp),
    "layers.stack.side_by_side": _case(s.normal_arrays(3, 4, 6, 2), s.normal_arrays(3, 4, 6, 5)),
    "layers.norm.softmax": _case(s.normal_arrays(N, S, UNITS)),
    "layers.norm.group_norm": _case(s.normal_arrays(3, 4, 5, 6), s.normal_arrays(6), s.normal_arrays(6),
                                    groups=st.sampled_from([1, 2, 3, 6]), epsilon=st.sampled_from([1e-5, 0.5])),
    "networks.image.reverse": s.steps(3, T, ndim=4).flatmap(_image_networks),
    "networks.swiss_roll.reverse": s.steps(N, T).flatmap(
        lambda drawn: _case(s.swiss_roll_networks(T, UNITS, D), s.states(N, D), st.just(drawn[0]), t=drawn[1],
                            readout=st.sampled_from(swiss_roll.READOUTS))),
    "product.times_gaussian": _case(s.gaussians(N, D), s.other_gaussians(N, D))
    | _case(_shared_variances(), s.other_gaussians(1, D)),
    "product.times_bernoulli": _case(s.bernoullis(N, D), s.other_bernoullis(1, D)),
    "product.perturbed": _case(s.gaussians(N, D), s.states(N, D)) | _case(_shared_variances(), s.states(1, D)),
    "layers.bit_readout.paper": _case(s.bit_heads(N, D)),
    "layers.bit_readout.skip": _case(s.bit_heads(N, D), s.soft_bits(N, D), s.rate_columns(N), rate=s.rates()),
    "layers.bit_readout.denoising": _case(s.bit_heads(N, D), s.soft_bits(N, D), s.rate_columns(N), s.level_columns(N),
                                          rate=s.rates()),
    "layers.bit_readout.read_out": s.steps(N, T).flatmap(
        lambda drawn: _case(s.bit_heads(N, D), s.soft_bits(N, D), st.just(drawn[0]), rate=s.rates(),
                            readout=st.sampled_from(bit_readout.READOUTS))),
    "networks.heartbeat.reverse": s.steps(N, T).flatmap(
        lambda drawn: st.sampled_from(heartbeat.LAST).flatmap(
            lambda last: _case(s.heartbeat_networks(T, D, last=last), s.soft_bits(N, D), st.just(drawn[0]), t=drawn[1], T=T,
                               rate=s.rates(), readout=st.sampled_from(bit_readout.READOUTS), last=last))),
    **{f"later.parametrisation.{name}": _case(s.states(N, D), s.other_states(N, D), s.level_columns(N))
       for name in ("x_0_from_noise", "x_0_from_v", "x_0_from_score", "noise_from_x_0", "v_from_x_0", "score_from_x_0")},
    **{f"later.mean.{name}": _case(s.states(N, D), s.other_states(N, D), s.rate_columns(N), s.level_columns(N))
       for name in ("x_0_from_mean", "mean_from_x_0", "mean_from_noise", "mean_from_v")},
    "later.mean.mean_from_score": _case(s.states(N, D), s.other_states(N, D), s.rate_columns(N)),
    **{f"later.mean.{name}": _step_case(predicts=st.sampled_from(PREDICTIONS)) for name in ("x_0_from", "from_x_0", "mean_from")},
    "later.weights.snr": _case(s.level_columns(N)),
    **{f"later.weights.{name}": _case(s.rate_columns(N), s.level_columns(N), predicts=st.sampled_from(PREDICTIONS))
       for name in ("error_weight", "kl_weight")},
    "later.weights.kl_of_x_0": _case(s.states(N, D), s.other_states(N, D), s.rate_columns(N), s.level_columns(N)),
    "later.variance.small": _case(s.rate_columns(N), s.level_columns(N)),
    "later.variance.first": _case(s.schedules(T), policy=st.sampled_from(FIRST)),
    "later.variance.ranged": _case(s.states(N, D), s.rate_columns(N), s.rate_columns(N)),
    "later.variance.read_out": s.steps(N, T).flatmap(
        lambda drawn: _case(s.heads(N, D), s.other_states(N, D), st.just(drawn[0]), s.rate_columns(N),
                            predicts=st.sampled_from(PREDICTIONS), variance=st.sampled_from(VARIANCES))),
    "later.decoder.log_mass": _masses(),
    "later.model.last_step": _last_steps(),
    "later.objective.prior_kl": _case(s.states(N, D), s.level_columns(N)),
    "later.objective.edge": _case(s.states(N, D), s.rate_columns(N)),
    "later.objective.decoder": _on_a_grid(noise=s.states(N, D)),
    "later.objective.terms": _on_a_grid(noise=s.arrays(S, N, D), noise_1=s.states(N, D), t=s.times(S, N, low=2, high=T)),
    "later.objective.assemble": _case(s.later_terms(S, N), T=st.integers(1, 50)),
    "later.objective.per_dimension": _case(s.arrays(N), k=s.times(N, D, low=0, high=9)),
    "later.sampler.jump": _case(s.states(N, D), s.other_states(N, D), s.rate_columns(N), s.level_columns(N),
                                eta=s.numbers(0, 1)),
    "later.categorical.transition": _case(_line(s.rate_columns(N)), classes=st.integers(2, 5)),
    "later.categorical.cumulative": _case(_line(s.level_columns(N)), classes=st.integers(2, 5)),
    "later.categorical.marginal": _case(s.soft_symbols(N, D, K), s.level_columns(N).map(_third)),
    "later.categorical.posterior": _case(s.soft_symbols(N, D, K), s.soft_symbols(N, D, K), s.rate_columns(N).map(_third),
                                         s.level_columns(N).map(_third)),
    "later.categorical.softmax": _case(s.normal_arrays(N, D, K, scale=3.0)),
    "later.categorical.reverse": s.steps(N, T, 3).flatmap(
        lambda drawn: _case(s.normal_arrays(N, D, K), s.soft_symbols(N, D, K), st.just(drawn[0]), mixing=st.sampled_from(MIXINGS))),
    "later.categorical.kl": _case(s.soft_symbols(N, D, K).map(Categorical), s.soft_symbols(N, D, K, scale=2.0).map(Categorical)),
    "later.sampler.respaced": _case(s.schedules(T), times=st.sampled_from([np.arange(1, T + 1), np.array([2, 3, T]),
                                                                           np.array([T]), np.array([1, 4])])),
}


def examples(name: str, *, count: int) -> list[Case]:
    """`count` cases of a pair, the same at every call."""
    found: list[Case] = []

    @settings(max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(CASES[name])
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found
