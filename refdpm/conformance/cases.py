"""Arguments for every `f`/`f_vjp` pair.  A pair without cases is a failure of the audit and of the tests.

The cases of a pair come from several strategies, its alternatives, and `examples` takes from every one of them:

    the usual sizes     all different (N ≠ D ≠ units ≠ T), so that a transposed or misplaced axis cannot hide
    stretched           each argument in its turn with an axis of length 1, or as one number, where the others are longer: the
                        cotangent has to be summed over what was stretched
    the least sizes     one row, one component, one unit, T = 1, and no rows at all, which come last
"""

from collections.abc import Callable, Iterable
from functools import cache, partial
from types import SimpleNamespace
from itertools import count as counted
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from refdpm import binomial, gaussian, schedule, strategies as s
from refdpm.activation import GELU
from refdpm.binomial import Bernoulli
from refdpm.conformance.chapters.theory import PREDICTOR
from refdpm.gaussian import Gaussian
from refdpm.later.categorical import MIXINGS, Categorical
from refdpm.later.decoder import Grid
from refdpm.later.guidance import STARTS
from refdpm.later.masked import FLOORS, MASKINGS, RISES
from refdpm.later.mean import PREDICTIONS
from refdpm.later.model import Model
from refdpm.later.variance import FIRST, VARIANCES
from refdpm.later.weights import LOSS_WEIGHTS
from refdpm.layers.linear import Affine
from refdpm.layers.multiscale import multiscale_vjp
from refdpm.layers.temporal import BASES
from refdpm.networks import bit_readout, heartbeat, swiss_roll
from refdpm.networks.readout import READOUTS, Heads
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, fix, leaves, tree_map, unbroadcast

Case = tuple[tuple[Any, ...], dict[str, Any]]
Alternatives = tuple[st.SearchStrategy[Case], ...]
Cut = Callable[[Array], Array]

PAIR_MODULES = ("activation", "schedule", "gaussian", "binomial", "likelihood", "bound",
                "layers.linear", "layers.rbf", "layers.conv", "layers.pool", "layers.multiscale", "layers.temporal", "layers.stack",
                "layers.norm", "layers.attention", "networks.readout", "networks.bit_readout", "networks.swiss_roll",
                "networks.heartbeat", "networks.image", "product",
                "later.parametrisation", "later.mean", "later.weights", "later.variance", "later.decoder", "later.model",
                "later.objective", "later.loss", "later.sampler", "later.sigma", "later.solver", "later.path", "later.categorical",
                "later.masked", "later.guidance")

SEED = 2015
MANY = 8                                                  # examples, of which the last is taken where the first is plain
AT_ONCE = 5                                               # cases
LIMIT = 15                                                # of alternatives: as many examples as the audit looks at
N, D, UNITS, T, S, K = 5, 2, 4, 6, 3, 3
SMALL = ((1, 3), (4, 1), (1, 1), (0, 2))                  # (N, D)
IMAGES = (3, 4, 6, 2)                                     # (N, H, W, C)
SMALL_IMAGES = ((1, 4, 2, 2), (2, 2, 4, 1), (0, 2, 4, 3))


def _case(*arguments: s.Strategy, **fixed: Any) -> st.SearchStrategy[Case]:
    """Arguments and keywords of one call; a keyword that is no strategy is passed as it is."""
    drawn = {key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in fixed.items()}
    return st.tuples(st.tuples(*arguments), st.fixed_dictionaries(drawn))


# -- arguments that are stretched --------------------------------------------------------------------------------------

def rows(leaf: Array) -> Array:
    """One row for all."""
    return leaf[:1]


def components(leaf: Array) -> Array:
    """One component for all of a row."""
    return leaf[:, :1]


def both(leaf: Array) -> Array:
    """One component of one row for all."""
    return leaf[:1, :1]


def number(leaf: Array) -> Array:
    """One number for all, without an axis."""
    return np.array(leaf.flat[0])


def _with_cut(case: st.SearchStrategy[Case], leaf: int, *cuts: Cut) -> st.SearchStrategy[Case]:
    """Cases in which the argument, or the part of one, that is counted as `leaf` has been cut in one of these ways."""
    return st.tuples(case, st.sampled_from(cuts)).map(partial(_apply_cut, leaf))


def _apply_cut(leaf: int, drawn: tuple[Case, Cut]) -> Case:
    (arguments, fixed), cut = drawn
    position = counted()
    return tree_map(lambda part: cut(part) if next(position) == leaf else part, arguments), fixed


def _with_stretched_axes(case: st.SearchStrategy[Case], *, states: Iterable[int] = (), columns: Iterable[int] = ()) -> Alternatives:
    """Each of these leaves in its turn: states have one row or one component for all, columns one row."""
    return (*(_with_cut(case, leaf, rows, both, number) for leaf in states),
            *(_with_cut(case, leaf, components) for leaf in states),
            *(_with_cut(case, leaf, rows, number) for leaf in columns))


def _of_all_sizes(of: Callable[..., st.SearchStrategy[Case]], *, states: Iterable[int] = (), columns: Iterable[int] = ()
                  ) -> Alternatives:
    """The usual size of `of(N, D)`, those leaves stretched, and the least sizes."""
    return (of(N, D), *_with_stretched_axes(of(4, 3), states=states, columns=columns), *(of(*size) for size in SMALL))


def _of_sizes(of: Callable[..., st.SearchStrategy[Case]], *sizes: tuple[int, ...]) -> Alternatives:
    return tuple(of(*size) for size in sizes)


def _step(N: int) -> st.SearchStrategy[Step]:
    """The columns of a schedule at steps of their own for every row."""
    return s.steps(N, T).map(lambda drawn: drawn[0])


def _quarters(N: int, D: int) -> st.SearchStrategy[Array]:
    """Uniform noise of 0, ¼, ½ or ¾."""
    return s.times(N, D, low=0, high=3).map(lambda k: k / 4)


def _off_the_quarters(N: int, D: int) -> st.SearchStrategy[Bernoulli]:
    """Bits whose logits are not near that of a quarter: a bit that jumps has no derivative."""
    return s.bernoullis(N, D).map(lambda p: Bernoulli(np.round(2 * p.logit) / 2 + 0.25))


def _deviations(N: int) -> st.SearchStrategy[Array]:
    """σ of each row, (N, 1), between 0.05 and 1, or at twice and four times that."""
    return s.rate_columns(N).map(lambda x: 0.05 + x)


def _higher(N: int) -> st.SearchStrategy[Array]:
    return s.rate_columns(N).map(lambda x: 1.1 + x)


def _highest(N: int) -> st.SearchStrategy[Array]:
    return s.rate_columns(N).map(lambda x: 2.2 + x)


def _parts_of_1(N: int) -> st.SearchStrategy[Array]:
    """t of a straight path of each row, between 0 and 1."""
    return s.rate_columns(N).map(lambda x: x / 2 + 0.25)


# of arguments that consist of several leaves, how many there are; and those that have one column
LEAVES = {s.gaussians: 2, s.other_gaussians: 2, s.heads: 2, _step: 3}
COLUMNS = (s.rate_columns, s.level_columns, _step, _deviations, _higher, _highest, _parts_of_1)
TWO_STATES = (s.states, s.other_states, s.rate_columns, s.level_columns)


def _on_rows(*kinds: Callable[..., s.Strategy], noise: Callable[..., s.Strategy] | None = None, **fixed: Any) -> Alternatives:
    """The alternatives of a pair whose arguments are states and columns of N rows; with noise in the shape of a state."""
    def of(N: int, D: int) -> st.SearchStrategy[Case]:
        drawn = {} if noise is None else {"noise": noise(N, D)}
        return _case(*(kind(N) if kind in COLUMNS else kind(N, D) for kind in kinds), **drawn, **fixed)

    is_column = [kind in COLUMNS for kind in kinds for _ in range(LEAVES.get(kind, 1))]
    if len(is_column) == 1 and noise is None:                         # nothing that it could be stretched to
        return _of_all_sizes(of)
    states, columns = ([leaf for leaf, found in enumerate(is_column) if found == wanted] for wanted in (False, True))
    return _of_all_sizes(of, states=states, columns=columns)


def _in_turn(ways: list[Alternatives]) -> Alternatives:
    """The first alternative of the first way, the second of the second, and so on."""
    return tuple(ways[n % len(ways)][n] for n in range(len(ways[0])))


# -- the bound ---------------------------------------------------------------------------------------------------------

def _any_network() -> st.SearchStrategy[Any]:
    return st.sampled_from([fix(swiss_roll, readout=name) for name in READOUTS])


def _times(*shape: int, T: int) -> st.SearchStrategy[Array]:
    """Steps of which the bound takes the divergence; T = 1 has none, and only an array without entries will do."""
    return s.times(*shape, low=2, high=max(T, 2))


def _step_kl(N: int, D: int, T: int = T, units: int = UNITS) -> st.SearchStrategy[Case]:
    return _case(s.swiss_roll_networks(T, units, D), s.schedules(T), s.states(N, D), noise=s.states(N, D), t=_times(N, T=T),
                 kernel=gaussian, network=_any_network())


def _network_kl(N: int, D: int, T: int = T, units: int = UNITS) -> st.SearchStrategy[Case]:
    return _case(s.swiss_roll_networks(T, units, D), beta=s.schedules(T), x_0=s.states(N, D), noise=s.states(N, D),
                 t=_times(N, T=T), kernel=gaussian, network=_any_network())


def _bound(S: int, N: int, D: int, T: int = T, units: int = UNITS) -> st.SearchStrategy[Case]:
    return _case(s.swiss_roll_networks(T, units, D), s.schedules(T), s.states(N, D), noise=s.arrays(S, N, D),
                 t=_times(S, N, T=T), kernel=gaussian, network=_any_network())


BITS = fix(binomial, rate=0.3)


def _ends_of_bits(N: int, bits: int) -> st.SearchStrategy[Case]:
    """The bound of bits without a step between: unlike those of normal noise its ends depend on the data."""
    return _case(s.heartbeat_networks(T, bits, last="per_step"), s.schedules(T), s.soft_bits(N, bits), noise=s.arrays(0, N, bits),
                 t=_times(0, N, T=T), kernel=BITS, network=heartbeat)


def _bounds() -> Alternatives:
    """Also S = 1 and S = 0, T = 1 and 2, one row of data for many, and none; bits."""
    return (_bound(S, N, D), _with_cut(_bound(S, N, D), 5, rows),
            *_of_sizes(_bound, (1, 4, 3), (2, 1, 1, 2, 1), (2, 3, 1, 4, 2), (0, 3, 2), (0, 2, 1, 1), (2, 0, 3)),
            _ends_of_bits(N, D))


def _at_one_step(N: int, D: int, T: int, low: int) -> st.SearchStrategy[Case]:
    return _case(s.schedules(T), s.states(N, D), t=st.integers(low, T), kernel=gaussian)


def _along_a_chain(N: int, D: int, T: int) -> st.SearchStrategy[Case]:
    return _case(s.schedules(T), s.states(N, D), kernel=gaussian)


def _assemblies(terms: Callable[[int, int], s.Strategy], kl: int, others: Iterable[int]) -> Alternatives:
    """The terms of a bound, of which `kl` counts the divergences and `others` the rest."""
    def of(S: int, N: int) -> st.SearchStrategy[Case]:
        return _case(terms(S, N), T=st.integers(1, 50))

    return (of(S, N), of(1, 4), _with_cut(of(S, N), kl, components), *_with_stretched_axes(of(2, 4), columns=others),
            *_of_sizes(of, (2, 1), (1, 1), (0, 3), (2, 0)))


# -- layers ------------------------------------------------------------------------------------------------------------

def _convolution(kernel: tuple[int, int], image: tuple[int, ...] = IMAGES, filters: int = 5) -> st.SearchStrategy[Case]:
    return _case(s.normal_arrays(*image), s.normal_arrays(*kernel, image[3], filters), s.normal_arrays(filters))


def _convolutions() -> Alternatives:
    """Kernels of several odd sides, one of them larger than the image; one image, channel, filter, pixel; none; a row wider
    than what is multiplied at once."""
    return (*(_convolution(kernel) for kernel in ((3, 3), (1, 1), (1, 3), (3, 1), (5, 3), (3, 7), (9, 3))),
            _convolution((3, 1), (1, 4, 6, 2)), _convolution((1, 3), (2, 4, 3, 1)), _convolution((3, 3), (2, 3, 4, 3), 1),
            _convolution((3, 5), (2, 1, 1, 3)), _convolution((3, 3), (0, 4, 6, 2)), _convolution((1, 3), (1, 2, 130, 1), 1))


def _multiscale(image: tuple[int, ...] = IMAGES, filters: int = 5, scales: int = 2) -> st.SearchStrategy[Case]:
    return _case(s.normal_arrays(*image), s.kernels((3, 5), image[3], filters, scales=scales))


def _multiscales() -> Alternatives:
    return (_multiscale(), _multiscale((2, 4, 8, 3), 2, 3), _multiscale((1, 4, 2, 2)), _multiscale((2, 2, 4, 1)),
            _multiscale((2, 6, 4, 3), 1), _multiscale((2, 1, 3, 2), 4, 1), _multiscale((0, 2, 4, 3)))


def _alternating(case: Case) -> Case:
    (x, kernels), fixed = case
    return (s.alternating_images(x), s.alternating(kernels)), fixed


def _normalisation(*shape: int, scale: tuple[int, ...] | None = None, groups: tuple[int, ...] = (1,)) -> st.SearchStrategy[Case]:
    of = (shape[-1],) if scale is None else scale
    return _case(s.normal_arrays(*shape), s.normal_arrays(*of), s.normal_arrays(*of), groups=st.sampled_from(groups),
                 epsilon=st.sampled_from([1e-5, 0.5]))


def _normalisations() -> Alternatives:
    """The usual layer; scale and shift of every example its own; one of them for all channels; one channel, one image, none."""
    usual = _normalisation(3, 4, 5, 6, groups=(1, 2, 3, 6))
    own = _normalisation(3, 4, 5, 6, scale=(3, 1, 1, 6), groups=(1, 2, 3, 6))
    return (usual, own, *(_with_cut(case, leaf, rows, number) for leaf in (1, 2) for case in (usual, own)),
            _normalisation(1, 3, 2, 4, groups=(2,)), _normalisation(3, 4, 5, 1), _normalisation(5, 6, groups=(2, 3)),
            _normalisation(2, 1, 1, 4, groups=(1, 2)), _with_cut(own, 0, rows), _normalisation(0, 3, 2, 4, groups=(2,)))


# -- networks ----------------------------------------------------------------------------------------------------------

def _image_network(form: str, *image: int) -> st.SearchStrategy[Case]:
    """The image network at drawn steps."""
    images = s.normal_arrays(*image)
    return s.steps(image[0], T, ndim=4).flatmap(lambda drawn: _case(
        s.image_networks(*image[1:], form=form), images.map(s.alternating_images) if form == "released" else images,
        st.just(drawn[0]), form=form, t=drawn[1], T=T, basis=st.sampled_from(BASES), readout=st.sampled_from(READOUTS)))


def _image_networks() -> Alternatives:
    return tuple(_image_network(form, *image) for image in (IMAGES, *SMALL_IMAGES) for form in ("paper", "released"))


def _swiss_roll(N: int, D: int, T: int, units: int) -> st.SearchStrategy[Case]:
    return s.steps(N, T).flatmap(lambda drawn: _case(s.swiss_roll_networks(T, units, D), s.states(N, D), st.just(drawn[0]),
                                                     t=drawn[1], readout=st.sampled_from(READOUTS)))


def _heartbeat(N: int, bits: int, T: int, last: str) -> st.SearchStrategy[Case]:
    return s.steps(N, T).flatmap(lambda drawn: _case(
        s.heartbeat_networks(T, bits, last=last), s.soft_bits(N, bits), st.just(drawn[0]), t=drawn[1], T=T, rate=s.rates(),
        readout=st.sampled_from(bit_readout.READOUTS), last=last))


def _by_name(*kinds: Callable[..., s.Strategy], **fixed: Any) -> Alternatives:
    """What takes the name of a prediction, with each of them in its turn in the usual size."""
    return (*_on_rows(*kinds, predicts=st.sampled_from(PREDICTIONS[:2]), **fixed),
            *(_on_rows(*kinds, predicts=name, **fixed)[0] for name in PREDICTIONS[2:]))


def _shared_variances(N: int, D: int) -> st.SearchStrategy[Gaussian]:
    """Normal laws with one variance for all components of a row."""
    return s.gaussians(N, D).map(lambda p: Gaussian(p.mean, p.var[:, :1]))


# -- what came later ---------------------------------------------------------------------------------------------------

GRIDS = (Grid(), Grid(-1.5, 2.5, 4), Grid(0.0, 1.0, 2))


def _predict_by_step_vjp(parameters: Affine, x_t: Array, step: Step, *, t: Array) -> tuple[Heads, Pullback]:
    """Affine heads with a part that is read from the columns of the step."""
    heads, back = PREDICTOR.predict_vjp(parameters, x_t, step, t=t)
    read = sum(share * column for share, column in zip(SHARES, step))

    def pullback(dheads: Heads) -> tuple[Affine, Array, Step]:
        dparameters, dx_t, _ = back(dheads)
        dread = unbroadcast(np.subtract(*dheads), np.shape(read))
        return dparameters, dx_t, Step(*(share * dread for share in SHARES))

    return Heads(heads[0] + read, heads[1] - read), pullback


SHARES = 0.5, -0.2, 0.1
BY_STEP = SimpleNamespace(predict=lambda *args, **fixed: _predict_by_step_vjp(*args, **fixed)[0], predict_vjp=_predict_by_step_vjp)


def beyond_the_textbook(value: Any) -> bool:
    """A kernel or a model of which the textbook has no formula."""
    return value is BITS or getattr(value, "predictor", PREDICTOR) is BY_STEP


def _models(T: int, predictor: SimpleNamespace = BY_STEP) -> st.SearchStrategy[Model]:
    """Every way to read a predictor; a variance of 1e-20 at t = 1 alone leaves nothing to compare, and T = 1 has no next one."""
    left_out = {"floor"} if T > 1 else {"floor", "next"}
    return st.builds(Model, st.just(predictor), st.sampled_from(PREDICTIONS), st.sampled_from(VARIANCES),
                     st.sampled_from([policy for policy in FIRST if policy not in left_out]))


def _last_step(N: int, D: int, T: int) -> st.SearchStrategy[Case]:
    """Rates from 0.3: at t = 1 the parts of a level's cotangent are as large as 3/β, and may cancel but for rounding errors."""
    def of(beta: Array) -> st.SearchStrategy[Case]:
        t = np.ones(N, dtype=int)
        step = schedule.step_at(beta, t=t, ndim=2)
        return _case(s.predictors(T, D), st.just(beta), s.states(N, D), st.just(step), t=t, model=_models(T, PREDICTOR))

    return s.schedules(T).map(lambda beta: np.append(beta[:1], np.maximum(beta[1:], 0.3))).flatmap(of)


def _decoder(N: int, D: int, T: int, **fixed: Any) -> st.SearchStrategy[Case]:
    """A predictor and a schedule, with levels of one of the grids."""
    return st.sampled_from(GRIDS).flatmap(lambda grid: _case(
        s.predictors(T, D), s.schedules(T), k=s.times(N, D, low=0, high=grid.levels - 1), grid=grid, model=_models(T), **fixed))


def _later_bound(S: int, N: int, D: int, T: int) -> st.SearchStrategy[Case]:
    return _decoder(N, D, T, noise=s.arrays(S, N, D), noise_1=s.states(N, D), t=_times(S, N, T=T))


def _training_loss(N: int, D: int, T: int) -> st.SearchStrategy[Case]:
    """Steps from t = 2 on, where every weight is finite."""
    return _case(s.predictors(T, D), s.schedules(T), s.states(N, D), noise=s.other_states(N, D), t=s.times(N, low=2, high=T),
                 model=_models(T), **WEIGHED)


def _hybrid_loss(N: int, D: int, T: int) -> st.SearchStrategy[Case]:
    return _case(s.predictors(T, D), held=s.predictors(T, D), beta=s.schedules(T), x_0=s.states(N, D), noise=s.other_states(N, D),
                 t=s.times(N, low=2, high=T), model=_models(T), share=s.numbers(0.1, 1))


WEIGHED: dict[str, Any] = {"weight": st.sampled_from(LOSS_WEIGHTS), "gamma": s.numbers(0.5, 8)}


def _masses(N: int, D: int) -> st.SearchStrategy[Case]:
    """Levels in bins of every kind: open ones, narrow and wide ones, near the mean and far from it."""
    return st.sampled_from(GRIDS).flatmap(lambda grid: _case(
        s.gaussians(N, D), k=s.times(N, D, low=0, high=grid.levels - 1), grid=grid))


def _line(columns: s.Strategy) -> s.Strategy:
    return columns.map(lambda column: column[:, 0])


def _laws(K: int) -> st.SearchStrategy[Array | None]:
    """The stationary law of symbols: none, which is the uniform one, or any other."""
    return st.one_of(st.none(), s.arrays(K).map(lambda x: np.exp(x) / np.exp(x).sum()))


def _third(column: Array) -> Array:
    return column[:, :, None]


def _of_symbols(of: Callable[..., st.SearchStrategy[Case]], *, states: Iterable[int] = (), columns: Iterable[int] = ()
                ) -> Alternatives:
    """As `_of_all_sizes`, for of(N, D, K); symbols keep their axis of classes."""
    case = of(4, 3, 2)
    return (of(N, D, K), *(_with_cut(case, leaf, rows, both) for leaf in states),
            *(_with_cut(case, leaf, components) for leaf in states), *(_with_cut(case, leaf, rows, number) for leaf in columns),
            *_of_sizes(of, (1, 3, 2), (4, 1, 3), (1, 1, 4), (2, 3, 1), (0, 2, 3)))


def _reverse_symbols(N: int, D: int, K: int) -> st.SearchStrategy[Case]:
    return s.steps(N, T, 3).flatmap(lambda drawn: _case(
        s.normal_arrays(N, D, K), s.soft_symbols(N, D, K), st.just(drawn[0]), mixing=st.sampled_from(MIXINGS), law=_laws(K)))


def _term_of_symbols(N: int, D: int, K: int) -> st.SearchStrategy[Case]:
    return s.steps(N, T, 3).flatmap(lambda drawn: _case(
        s.normal_arrays(N, D, K), x_0=s.soft_symbols(N, D, K), x_t=s.hard_symbols(N, D, K), step=st.just(drawn[0]),
        mixing=st.sampled_from(MIXINGS), law=_laws(K)))


def _hidden(N: int, D: int) -> st.SearchStrategy[Array]:
    return s.times(N, D, low=0, high=1).map(lambda k: k > 0)


def _masked_loss(N: int, D: int, K: int) -> st.SearchStrategy[Case]:
    return _case(s.normal_arrays(N, D, K), x_0=s.hard_symbols(N, D, K), masked=_hidden(N, D), sigma=s.arrays(N, 1, low=0.1, high=3),
                 rate=s.arrays(N, 1, low=0.1, high=3))


def _unmasking(N: int, D: int, K: int) -> st.SearchStrategy[Case]:
    return _case(s.normal_arrays(N, D, K), s.arrays(N, 1, low=1.5, high=3), s.arrays(N, 1, low=0.1, high=1.5),
                 x_t=s.hard_symbols(N, D, K + 1))


def _respacing(T: int, *times: int) -> st.SearchStrategy[Case]:
    return _case(s.schedules(T), times=np.array(times))


# -- all of them -------------------------------------------------------------------------------------------------------

def _normalised_weights() -> Alternatives:
    return tuple(_case(s.normal_arrays(*shape, scale=3.0)) for shape in ((N, S, UNITS), (4,), (1, 3), (4, 1), (0, 3)))


def _elementwise(of: Callable[..., s.Strategy], **fixed: Any) -> Alternatives:
    return tuple(_case(of(*shape), **fixed) for shape in ((N, D), (), (1, 1), (3,), (0, 2)))


def _beside_zero(x: Array) -> Array:
    return np.append(x, 0.0)


def _of_a_schedule(**fixed: Any) -> Alternatives:
    return tuple(_case(s.schedules(T), **fixed) for T in (6, 1, 2))


ALTERNATIVES: dict[str, Alternatives] = {
    "activation.softplus": (*_elementwise(partial(s.arrays, low=-40, high=40)), _case(s.arrays(3).map(_beside_zero))),
    "activation.sigmoid": _elementwise(partial(s.arrays, low=-40, high=40)),
    "activation.logit": _elementwise(partial(s.arrays, low=1e-3, high=0.95)),
    "activation.tanh": _elementwise(s.arrays),
    "activation.leaky_relu": _elementwise(s.nonzero_arrays, slope=s.numbers(0, 0.9)),
    "activation.silu": _elementwise(partial(s.arrays, low=-40, high=40)),
    "activation.gelu": _elementwise(partial(s.arrays, low=-6, high=6), form=st.sampled_from(GELU)),
    "activation.dropout": tuple(_case(x, keep=s.times(N, D, low=0, high=1).map(lambda k: k > 0), rate=s.numbers(0, 0.9))
                                for x in (s.states(N, D), s.states(1, D), s.arrays(N, 1))),
    "activation.softmax": _normalised_weights(),
    "activation.log_softmax": _normalised_weights(),
    "schedule.learned": tuple(_case(s.arrays(T - 1), beta_1=s.numbers(1e-4, 0.5)) for T in (6, 2, 1)),
    "schedule.log_alpha_bar": _of_a_schedule(),
    "schedule.step": tuple(_case(s.schedules(T), s.arrays(T + 1), t=s.times(N, low=1, high=T), ndim=st.integers(1, 4))
                           for N, T in ((5, 6), (4, 2), (2, 5), (1, 3), (3, 1), (0, 2))),
    "schedule.step_at": tuple(_case(s.schedules(T), t=s.times(N, low=1, high=T), ndim=st.integers(1, 4))
                              for N, T in ((5, 6), (4, 2), (2, 5), (1, 3), (3, 1), (0, 2))),
    "gaussian.forward": _on_rows(s.states, s.rate_columns),
    "gaussian.marginal": _on_rows(s.states, s.level_columns),
    "gaussian.posterior": _on_rows(*TWO_STATES),
    "gaussian.kl": _on_rows(s.gaussians, s.other_gaussians),
    "gaussian.entropy": _on_rows(s.gaussians),
    "gaussian.cross_entropy": _on_rows(s.gaussians, s.other_gaussians),
    "gaussian.log_prob": _on_rows(s.states, s.gaussians),
    "gaussian.draw": _on_rows(s.gaussians, noise=s.states),
    "binomial.forward": _on_rows(s.soft_bits, s.rate_columns, rate=s.rates()),
    "binomial.marginal": _on_rows(s.soft_bits, s.level_columns, rate=s.rates()),
    "binomial.posterior": _on_rows(s.bits, s.soft_bits, s.rate_columns, s.level_columns, rate=s.rates()),
    "binomial.kl": _on_rows(s.bernoullis, s.other_bernoullis),
    "binomial.entropy": _on_rows(s.bernoullis),
    "binomial.cross_entropy": _on_rows(s.bernoullis, s.other_bernoullis),
    "binomial.log_prob": _on_rows(s.bits, s.bernoullis),
    "binomial.draw": _on_rows(_off_the_quarters, noise=_quarters),
    "likelihood.total": tuple(_case(s.arrays(*shape)) for shape in ((N, D), (3,), (4, 2, 3), (1, 1), (0, 2), (2, 0))),
    "bound.step_kl": (_step_kl(N, D), _with_cut(_step_kl(4, 3), 5, rows), _with_cut(_step_kl(4, 3), 5, components),
                      *_of_sizes(_step_kl, (1, 3), (4, 1, 2, 1), (1, 1, 3), (0, 2), (0, 2, 1))),
    "bound.network_kl": _of_sizes(_network_kl, (N, D), (1, 3), (4, 1, 2, 1), (1, 1, 3), (0, 2), (0, 2, 1)),
    "bound.entropy_at": _of_sizes(_at_one_step, (N, D, T, 1), (1, 3, 2, 1), (4, 1, 3, 1), (3, 2, 1, 1), (0, 2, 4, 1)),
    "bound.end_terms": _of_sizes(_along_a_chain, (N, D, T), (1, 3, 2), (4, 1, 3), (3, 2, 1), (0, 2, 4)),
    "bound.prior_cross_entropy_at": _of_sizes(_at_one_step, (N, D, T, 0), (1, 3, 2, 0), (4, 1, 3, 0), (3, 2, 1, 0), (0, 2, 4, 0)),
    "bound.terms": _bounds(),
    "bound.assemble": _assemblies(s.bound_terms, 0, (1, 2, 3)),
    "bound.bound": _bounds(),
    "bound.correction": _of_sizes(_along_a_chain, (5, 2, 6), (1, 3, 2), (4, 1, 3), (3, 2, 1), (0, 2, 4)),
    "bound.strict_bound": _bounds(),
    "layers.linear.linear": (
        _case(s.states(N, D), s.arrays(D, UNITS), s.arrays(UNITS)),
        _case(s.normal_arrays(*IMAGES), s.arrays(2, UNITS), s.arrays(UNITS)),
        _with_cut(_case(s.states(N, D), s.arrays(D, UNITS), s.arrays(UNITS)), 2, rows, number),
        *(_case(s.arrays(*shape), s.arrays(shape[-1], out), s.arrays(out))
          for shape, out in (((1, 3), 2), ((4, 1), 3), ((3, 2), 1), ((2,), 3), ((0, 2), 3)))),
    "layers.linear.per_step": tuple(
        _case(s.states(N, inside), s.arrays(T + 1, inside, out), s.arrays(T + 1, out), t=s.times(N, low=0, high=T))
        for N, inside, out, T in ((5, 4, 2, 6), (1, 3, 2, 4), (4, 1, 3, 2), (4, 3, 1, 2), (3, 2, 4, 1), (0, 3, 2, 4))),
    "layers.rbf.rbf": (
        *_with_stretched_axes(_case(s.states(4, 3), s.states(2, 3), s.arrays(2, low=-1, high=1)), columns=[2]),
        _with_cut(_case(s.states(4, 3), s.states(2, 3), s.arrays(2, low=-1, high=1)), 1, rows),
        *(_case(s.states(N, D), s.states(units, D), s.arrays(units, low=-1, high=1))
          for N, D, units in ((5, 2, 4), (1, 3, 2), (4, 1, 3), (3, 2, 1), (0, 3, 2)))),
    "networks.readout.eq65": _on_rows(s.heads, s.states, s.rate_columns),
    "networks.readout.released": _on_rows(s.heads, s.states, s.rate_columns, T=st.integers(1, 50)),
    "networks.readout.denoising": _on_rows(s.heads, s.states, s.rate_columns, s.level_columns),
    "networks.readout.read_out": _on_rows(s.heads, s.states, _step, T=st.integers(1, 50), readout=st.sampled_from(READOUTS)),
    "layers.conv.conv2d": _convolutions(),
    "layers.pool.mean_pool": tuple(_case(s.normal_arrays(*image), factor=factor) for image, factor in (
        ((3, 6, 12, 2), 2), ((3, 6, 12, 2), 3), ((1, 6, 6, 2), 2), ((2, 12, 6, 1), 3), ((2, 3, 5, 2), 1), ((0, 6, 6, 2), 2))),
    "layers.pool.upsample": tuple(_case(s.normal_arrays(*image), factor=factor) for image, factor in (
        *((image, 2) for image in (IMAGES, *SMALL_IMAGES)), (IMAGES, 3), (IMAGES, 1))),
    "layers.multiscale.multiscale": _multiscales(),
    "layers.multiscale.multiscale_released": tuple(case.map(_alternating) for case in _multiscales()),
    "layers.temporal.temporal": tuple(_case(s.arrays(*shape), g=s.arrays(rows, shape[-1])) for shape, rows in (
        ((N, S, D, UNITS), N), ((4, 3, 2), 4), ((4, 3), 4), ((4, 3, 2), 1), ((1, 3, 2), 1), ((1, 3, 2), 4), ((1, 2), 4),
        ((4, 3, 1), 4), ((0, 2, 3), 0))),
    "layers.stack.stack": tuple(
        _case(s.normal_arrays(*image), st.tuples(*layers), layer_vjp=multiscale_vjp) for image, layers in (
            (IMAGES, (s.kernels((3, 5), 2, 5, scales=2), s.kernels((1, 3), 5, 1, scales=1))),
            (IMAGES, (s.kernels((3, 1), 2, 2, scales=1), s.kernels((1, 3), 2, 2, scales=2))),
            (IMAGES, ()), ((1, 2, 4, 3), (s.kernels((3, 1), 3, 2, scales=1),)),
            ((2, 4, 3, 1), (s.kernels((1, 3), 1, 1, scales=1),)), ((0, 2, 4, 3), (s.kernels((3, 1), 3, 2, scales=1),)))),
    "layers.stack.side_by_side": tuple(_case(s.normal_arrays(*shape, a), s.normal_arrays(*shape, b)) for shape, a, b in (
        ((3, 4, 6), 2, 5), ((1, 4, 6), 3, 2), ((4,), 1, 3), ((4,), 2, 1), ((0, 3), 2, 4))),
    "layers.norm.group_norm": _normalisations(),
    **{f"layers.norm.{name}": tuple(
        _case(s.normal_arrays(*shape), *(s.normal_arrays(shape[-1]) for _ in range(count)), epsilon=st.sampled_from([1e-5, 0.5]))
        for shape in ((N, S, UNITS), (4, 3), (1, 4), (0, 3))) for name, count in (("layer_norm", 2), ("rms_norm", 1))},
    "layers.attention.attention": tuple(
        _case(s.normal_arrays(*batch, L, d), s.normal_arrays(*batch, M, d), s.normal_arrays(*batch, M, e))
        for batch, L, M, d, e in (((2, 3), 4, 5, 3, 2), ((), 3, 2, 4, 5), ((3,), 1, 4, 2, 3), ((2,), 3, 1, 1, 1),
                                  ((0,), 2, 3, 2, 2))),
    "layers.conv.strided_conv2d": tuple(
        _case(s.normal_arrays(*image), s.normal_arrays(*kernel, image[3], 5), s.normal_arrays(5), stride=stride, padding=padding)
        for image, kernel, stride, padding in ((IMAGES, (3, 3), 2, 1), (IMAGES, (4, 2), 2, 1), (IMAGES, (1, 5), 3, 2), (
            (2, 7, 5, 1), (3, 2), 2, 0), ((0, 4, 6, 2), (3, 3), 2, 1))),
    "networks.image.reverse": _image_networks(),
    "networks.swiss_roll.reverse": _of_sizes(_swiss_roll, (N, D, T, UNITS), (1, 3, 4, 2), (4, 1, 3, 2), (3, 2, 4, 1), (3, 1, 2, 4),
                                             (0, 2, 4, 3)),
    "product.times_gaussian": (
        *_on_rows(s.gaussians, s.other_gaussians),
        _case(_shared_variances(4, 3), _shared_variances(1, 3).map(lambda r: Gaussian(r.mean + 0.71, r.var * 1.37)))),
    "product.times_bernoulli": _on_rows(s.bernoullis, s.other_bernoullis),
    "product.perturbed": _on_rows(s.gaussians, s.states),
    "networks.bit_readout.paper": _on_rows(s.bit_heads),
    "networks.bit_readout.skip": _on_rows(s.bit_heads, s.soft_bits, s.rate_columns, rate=s.rates()),
    "networks.bit_readout.denoising": _on_rows(s.bit_heads, s.soft_bits, s.rate_columns, s.level_columns, rate=s.rates()),
    "networks.bit_readout.read_out": _on_rows(s.bit_heads, s.soft_bits, _step, rate=s.rates(),
                                              readout=st.sampled_from(bit_readout.READOUTS)),
    "networks.heartbeat.reverse": tuple(_heartbeat(*size, last) for size in ((N, D, T), (1, 3, 4), (4, 1, 2), (0, 2, 4))
                                        for last in heartbeat.LAST),
    **{f"later.parametrisation.{name}": _on_rows(s.states, s.other_states, s.level_columns)
       for name in ("x_0_from_noise", "x_0_from_v", "x_0_from_score", "noise_from_x_0", "v_from_x_0", "score_from_x_0")},
    **{f"later.mean.{name}": _on_rows(*TWO_STATES)
       for name in ("x_0_from_mean", "mean_from_x_0", "mean_from_noise", "mean_from_v")},
    "later.mean.mean_from_score": _on_rows(s.states, s.other_states, s.rate_columns),
    **{f"later.mean.{name}": _by_name(s.states, s.other_states, _step) for name in ("x_0_from", "from_x_0", "mean_from")},
    "later.weights.snr": _on_rows(s.level_columns),
    "later.weights.log_snr": _on_rows(s.level_columns),
    **{f"later.weights.{name}": _by_name(s.rate_columns, s.level_columns)
       for name in ("error_weight", "kl_weight")},
    **{f"later.weights.{name}": _on_rows(*TWO_STATES) for name in ("kl_of_x_0", "kl_of_v")},
    "later.weights.loss_weight": _by_name(s.rate_columns, s.level_columns, **WEIGHED),
    "later.loss.velocity": _on_rows(s.states, s.level_columns, noise=s.other_states),
    "later.loss.score": _on_rows(s.level_columns, noise=s.other_states),
    "later.loss.target": _by_name(s.states, _step, noise=s.other_states),
    "later.weights.p2_weight": _on_rows(s.level_columns, k=s.numbers(0.5, 2), gamma=s.numbers(0.2, 2)),
    "later.loss.hybrid_loss": _of_sizes(_hybrid_loss, (N, D, T), (1, 3, 2), (4, 1, 3), (3, 2, 4), (0, 2, 4)),
    "later.loss.training_loss": _of_sizes(_training_loss, (N, D, T), (1, 3, 2), (4, 1, 3), (3, 2, 4), (0, 2, 4)),
    "later.variance.small": _on_rows(s.rate_columns, s.level_columns),
    "later.variance.first": (*_of_a_schedule(policy=st.sampled_from([policy for policy in FIRST if policy != "next"])),
                             *(_case(s.schedules(T), policy="next") for T in (6, 2))),
    "later.variance.ranged": _on_rows(s.states, s.rate_columns, s.rate_columns),
    "later.variance.read_out": _in_turn([_on_rows(s.heads, s.other_states, _step, s.rate_columns, variance=name,
                                                  predicts=st.sampled_from(PREDICTIONS)) for name in VARIANCES]),
    "later.decoder.log_mass": _of_all_sizes(_masses, states=range(2)),
    "later.model.last_step": _of_sizes(_last_step, (N, D, T), (1, 3, 2), (4, 1, 3), (3, 2, 1), (0, 2, 4)),
    "later.objective.prior_kl": _on_rows(s.states, s.level_columns),
    "later.objective.edge": _on_rows(s.states, s.rate_columns),
    "later.objective.decoder": _of_sizes(lambda N, D, T: _decoder(N, D, T, noise=s.states(N, D)),
                                         (N, D, T), (1, 3, 2), (4, 1, 3), (3, 2, 1), (0, 2, 4)),
    "later.objective.terms": _of_sizes(_later_bound, (S, N, D, T), (1, 4, 3, 2), (2, 1, 1, 4), (0, 3, 2, 4), (0, 2, 3, 1),
                                       (2, 0, 3, 4)),
    "later.objective.assemble": _assemblies(s.later_terms, 1, (0, 2)),
    "later.objective.per_dimension": tuple(_case(s.arrays(N), k=s.times(N, D, low=0, high=9)) for N, D in ((N, D), *SMALL)),
    "later.sampler.jump": _on_rows(*TWO_STATES, eta=s.numbers(0, 1)),
    "later.sigma.deviation": _on_rows(s.level_columns),
    "later.sigma.level": _on_rows(_deviations),
    "later.sigma.unscaled": _on_rows(s.states, s.level_columns),
    "later.sigma.noised": _on_rows(s.states, _deviations, noise=s.other_states),
    **{f"later.sigma.{name}": _on_rows(_deviations, sigma_data=s.numbers(0.25, 2)) for name in ("scalings", "weight")},
    "later.sigma.denoised": _on_rows(s.states, s.other_states, _deviations, sigma_data=s.numbers(0.25, 2)),
    "later.sigma.log_normal": _on_rows(s.level_columns, _deviations, noise=s.states),
    "later.sigma.log_normal_density": _on_rows(_deviations, s.level_columns, _higher),
    "later.solver.slope": _on_rows(s.states, s.other_states, _deviations),
    "later.solver.euler": _on_rows(s.states, s.other_states, _higher, _deviations),
    "later.solver.heun": _on_rows(s.states, s.other_states, s.states, _higher, _deviations),
    "later.solver.multistep": _on_rows(s.states, s.other_states, s.states, _highest, _higher, _deviations),
    "later.solver.split": (*_on_rows(_higher, _deviations, eta=s.numbers(0.25, 1)),                    # and σ_up = σ'
                           _case(s.arrays(N, 1, low=3, high=8), s.arrays(N, 1, low=0.5, high=1.5), eta=s.numbers(1.5, 3))),
    "later.solver.raised": _of_all_sizes(
        lambda N, D: _case(s.states(N, D), _deviations(N), noise=s.other_states(N, D), gamma=s.rate_columns(N)),
        states=[0], columns=[1]),
    "later.path.between": _on_rows(s.states, s.other_states, _parts_of_1),
    "later.path.velocity": _on_rows(s.states, s.other_states),
    **{f"later.path.{name}": _on_rows(s.states, s.other_states, _parts_of_1)
       for name in ("x_0_from_velocity", "noise_from_velocity", "velocity_from_x_0", "score_from_velocity")},
    "later.path.noisy_step": _of_all_sizes(
        lambda N, D: _case(s.states(N, D), s.other_states(N, D), noise=s.states(N, D), time=_parts_of_1(N),
                           time_next=s.numbers(0, 0.25), diffusion=s.numbers(0.1, 2)), states=[0, 1]),
    "later.path.level": _on_rows(_parts_of_1),
    "later.path.bound_weight": _on_rows(_parts_of_1),
    "later.path.shifted": _on_rows(_parts_of_1, shift=s.numbers(0.5, 6)),
    "later.path.logit_normal": _on_rows(s.level_columns, _deviations, noise=s.states),
    "later.path.step": _on_rows(s.states, s.other_states, _parts_of_1, _deviations),
    "later.categorical.transition": (*(_case(_line(s.rate_columns(N)), classes=st.integers(1, 5)) for N in (5, 1, 0)),
                                     _case(_line(s.rate_columns(4)), classes=3, law=_laws(3))),
    "later.categorical.cumulative": (*(_case(_line(s.level_columns(N)), classes=st.integers(1, 5)) for N in (5, 1, 0)),
                                     _case(_line(s.level_columns(4)), classes=3, law=_laws(3))),
    **{f"later.categorical.{name}": _of_symbols(
        lambda N, D, K: _case(s.soft_symbols(N, D, K), s.level_columns(N).map(_third), law=_laws(K)), states=[0], columns=[1])
       for name in ("marginal", "evidence")},
    "later.categorical.posterior": _of_symbols(
        lambda N, D, K: _case(s.soft_symbols(N, D, K), s.soft_symbols(N, D, K), s.rate_columns(N).map(_third),
                              s.level_columns(N).map(_third), law=_laws(K)), states=range(2), columns=[2, 3]),
    "later.categorical.reverse": _of_symbols(_reverse_symbols, states=range(2), columns=[2, 3, 4]),
    "later.categorical.posterior_by_matrices": tuple(
        _case(s.soft_symbols(N, D, K), s.soft_symbols(N, D, K), s.soft_symbols(N, K, K), s.soft_symbols(N, K, K))
        for N, D, K in ((N, D, K), (1, 3, 2), (4, 1, 3), (0, 2, 3))),
    "later.categorical.step_kl": _of_sizes(_term_of_symbols, (N, D, K), (1, 3, 2), (4, 1, 3), (0, 2, 3)),
    "later.masked.kept": _elementwise(partial(s.arrays, low=0.1, high=1), masking=st.sampled_from(MASKINGS),
                                      floor=s.numbers(0, 0.25), floor_at=st.sampled_from(FLOORS)),
    "later.masked.rising": _elementwise(partial(s.arrays, low=0, high=1), rise=st.sampled_from(RISES), low=s.numbers(0.01, 0.5),
                                        high=s.numbers(1, 20)),
    "later.masked.reverse": _of_sizes(_unmasking, (N, D, K), (1, 3, 2), (4, 1, 3), (0, 2, 3)),
    "later.masked.masked_loss": _of_sizes(_masked_loss, (N, D, K), (1, 3, 2), (4, 1, 3), (0, 2, 3)),
    "later.masked.absorbing_ratio": tuple(_case(s.arrays(N, 1, low=0.1, high=3), x_0=s.hard_symbols(N, D, K), masked=_hidden(N, D))
                                          for N, D, K in ((N, D, K), (1, 3, 2), (4, 1, 3), (0, 2, 3))),
    "later.categorical.kl": _of_symbols(
        lambda N, D, K: _case(s.soft_symbols(N, D, K).map(Categorical), s.soft_symbols(N, D, K, scale=2.0).map(Categorical)),
        states=range(2)),
    "later.guidance.guided": _on_rows(s.states, s.other_states, weight=s.numbers(0.1, 8), start=st.sampled_from(STARTS)),
    "later.guidance.rescaled": tuple(_case(s.normal_arrays(*shape), s.normal_arrays(*shape).map(lambda x: 2 * x + 1),
                                           share=s.numbers(0.1, 1)) for shape in ((N, S), (1, 4), (3, 4, 5, 2), (0, 3))),
    "later.guidance.guided_noise": _on_rows(s.states, s.other_states, s.level_columns),
    "later.sampler.respaced": (_respacing(T, *range(1, T + 1)), _respacing(T, 2, 3, T), _respacing(T, T), _respacing(T, 1, 4),
                               _respacing(1, 1), _respacing(2, 2)),
}

CASES: dict[str, st.SearchStrategy[Case]] = {name: st.one_of(*alternatives) for name, alternatives in ALTERNATIVES.items()}


def examples(name: str, *, count: int) -> list[Case]:
    """`count` cases of a pair, the same at every call, from all of its alternatives as evenly as their number allows.

    Few are some of the many; what somebody does to their arrays is done to copies.
    """
    alternatives = len(ALTERNATIVES[name])
    return [_copied(_drawn(name, n // AT_ONCE)[n % AT_ONCE]) for n in sorted(range(count), key=lambda n: n % alternatives)]


def _copied(case: Case) -> Case:
    def copied(leaf: Any) -> Any:
        return leaf.copy() if isinstance(leaf, np.ndarray) else leaf

    arguments, fixed = case
    return tuple(tree_map(copied, tree) for tree in arguments), {name: copied(value) for name, value in fixed.items()}


@cache
def _drawn(name: str, number: int) -> list[Case]:
    """Some of the cases, of the alternatives in turn; several are drawn at once, for to begin to draw takes longer than to draw."""
    ways = ALTERNATIVES[name]
    alternatives = [ways[n % len(ways)] for n in range(number * AT_ONCE, (number + 1) * AT_ONCE)]
    found = _first(st.tuples(*alternatives), 1, SEED + number)
    few = found[-1] if found else [None] * AT_ONCE                     # more than Hypothesis draws at once
    return [_first(alternative.map(lambda case: (case,)), MANY, SEED + number)[-1][0] if case is None or _is_plain(case) else case
            for alternative, case in zip(alternatives, few)]


def _first(cases: st.SearchStrategy[tuple[Case, ...]], number: int, start: int) -> list[tuple[Case, ...]]:
    """So many draws, or fewer where there are no more; without the simplest values there are, which always come first."""
    found: list[tuple[Case, ...]] = []

    @seed(start)
    @settings(max_examples=number + 1, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(st.booleans().flatmap(lambda drawn: cases if drawn else st.just(())))
    def collect(drawn: tuple[Case, ...]) -> None:
        if drawn:
            found.append(drawn)

    collect()
    return found


def _is_plain(case: Case) -> bool:
    """Whether every array repeats one number, though some have several."""
    arrays = [leaf for leaf in leaves(case[0]) if isinstance(leaf, np.ndarray) and leaf.size > 1]
    return bool(arrays) and all(np.all(leaf == leaf.flat[0]) for leaf in arrays)
