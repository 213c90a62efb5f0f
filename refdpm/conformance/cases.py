"""Arguments for every `f`/`f_vjp` pair.  A pair without cases is a failure of the audit and of the tests.

All sizes of one case differ (N ≠ D ≠ units ≠ T), so that a transposed or misplaced axis cannot hide.
"""

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from refdpm import gaussian, strategies as s
from refdpm.layers import bit_readout
from refdpm.layers.multiscale import multiscale_vjp
from refdpm.layers.readout import READOUTS
from refdpm.layers.temporal import BASES
from refdpm.networks import heartbeat, swiss_roll
from refdpm.vjp import fix

N, D, UNITS, T, S = 5, 2, 4, 6, 3
PAIR_MODULES = ("layers.activation", "schedule", "gaussian", "binomial", "likelihood", "bound", "layers.linear", "layers.rbf",
                "layers.readout", "layers.conv", "layers.pool", "layers.multiscale", "layers.temporal", "layers.stack",
                "networks.swiss_roll", "networks.image", "product", "layers.bit_readout", "networks.heartbeat")

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
