"""Numbers of any kind, schedules and steps at the doors: what comes in is taken for what it is, or refused by name."""

from itertools import count

import numpy as np
import pytest

from refdpm import binomial, bound, doors, gaussian, gradcheck, likelihood, product, reversal, sample, schedule, train
from refdpm.conformance import cases
from refdpm.later import objective, sampler, variance
from refdpm.layers.temporal import bumps
from refdpm.networks import heartbeat, swiss_roll
from refdpm.oracles import linear_gaussian, two_sample
from refdpm.vjp import fix, leaves, tree_map

PAIRS = list(gradcheck.pairs(cases.PAIR_MODULES))
IN_SINGLE = ("activation", "layers", "networks")                                   # where float32 stays float32
KINDS = {
    "int8": lambda x: np.rint(20 * x).clip(-100, 100).astype(np.int8),
    "uint8": lambda x: np.rint(100 * np.abs(x)).clip(0, 250).astype(np.uint8),
    "int64": lambda x: np.rint(3 * x).astype(np.int64),
    "bool": lambda x: x > 0,
    "float16": lambda x: x.astype(np.float16),
    "float32": lambda x: x.astype(np.float32),
}
LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
    "backwards": lambda x: x[::-1].copy()[::-1] if x.ndim else x,
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


def answers(pair, arguments, fixed, cotangent=None):
    """The value and the cotangents, for a given cotangent or a random one."""
    with np.errstate(all="ignore"):
        value, pullback = pair.f_vjp(*arguments, **fixed)
        cotangent = gradcheck.random_like(value, np.random.default_rng(0)) if cotangent is None else cotangent
        return tuple(leaves((value, pullback(cotangent))))


def allowed(pair, arguments, fixed):
    """What float64 gives, where the arguments are of the domain; else None."""
    try:
        found = answers(pair, arguments, fixed)
    except (ValueError, ZeroDivisionError):
        return None
    return found if all(np.isfinite(leaf).all() for leaf in found) else None


def with_leaf(arguments, wanted, change):
    place = count()
    return tree_map(lambda leaf: change(leaf) if next(place) == wanted else leaf, arguments)


def apart(found, right):
    """The largest difference in units of the largest number of its array."""
    return max((np.abs(a - b).max() / max(np.abs(b).max(), 1e-3) for a, b in zip(found, right, strict=True) if b.size), default=0.0)


def as_float64(kind):
    return lambda leaf: KINDS[kind](leaf).astype(np.float64)


def in_single(pair):
    return pair.name.startswith(IN_SINGLE)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_every_kind_of_number_is_taken_for_the_number_that_it_is(pair):
    """One leaf of the arguments after another, in every kind whose numbers are of its domain; in float32 to single precision where
    float32 stays, else bitwise."""
    for arguments, fixed in cases.examples(pair.name, count=2):
        for leaf in range(len(list(leaves(arguments)))):
            for kind in KINDS:
                right = allowed(pair, with_leaf(arguments, leaf, as_float64(kind)), fixed)
                if right is not None:
                    found = answers(pair, with_leaf(arguments, leaf, KINDS[kind]), fixed)
                    limit = 1e-3 if kind == "float32" and in_single(pair) else 0.0
                    assert apart(found, right) <= limit, f"{pair.name}, leaf {leaf} in {kind}"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_what_is_held_fixed_and_cotangents_are_taken_so_too(pair):
    for arguments, fixed in cases.examples(pair.name, count=3):
        arrays = [name for name, value in fixed.items() if isinstance(value, np.ndarray)]
        for name in arrays:
            for kind in KINDS if name not in doors.INTEGERS else ():
                right = allowed(pair, arguments, fixed | {name: as_float64(kind)(fixed[name])})
                if right is not None:
                    found = answers(pair, arguments, fixed | {name: KINDS[kind](fixed[name])})
                    assert apart(found, right) <= (1e-3 if in_single(pair) else 0.0), f"{pair.name}, {name} in {kind}"
            for dtype in (np.int8, np.uint8, np.int32, np.float64) if name in doors.INTEGERS else ():
                if np.max(fixed[name], initial=0) < 128:
                    found = answers(pair, arguments, fixed | {name: fixed[name].astype(dtype)})
                    assert apart(found, answers(pair, arguments, fixed)) == 0, f"{pair.name}, {name} in {dtype.__name__}"
        for name in (name for name, value in fixed.items() if isinstance(value, float)):
            for dtype in (np.uint8, np.int64, np.float16, np.float32):
                single = dtype(3 * fixed[name]) if dtype in (np.uint8, np.int64) and fixed[name] > 0 else dtype(fixed[name])
                right = allowed(pair, arguments, fixed | {name: float(single)})
                if right is not None:
                    found = answers(pair, arguments, fixed | {name: single})
                    assert apart(found, right) <= (1e-3 if in_single(pair) else 0.0), f"{pair.name}, {name} in {dtype.__name__}"
        cotangent = gradcheck.random_like(pair.f(*arguments, **fixed), np.random.default_rng(1))
        for kind in ("int8", "uint8", "bool"):
            found, right = (answers(pair, arguments, fixed, tree_map(change, cotangent))
                            for change in (KINDS[kind], as_float64(kind)))
            assert apart(found, right) == 0, f"{pair.name}, a cotangent in {kind}"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_every_layout_of_memory_does(pair):
    """Sums may be taken in another order, and that is all; the cotangent has that layout, too."""
    for arguments, fixed in cases.examples(pair.name, count=3):
        cotangent = tree_map(np.asarray, gradcheck.random_like(pair.f(*arguments, **fixed), np.random.default_rng(1)))
        right = answers(pair, arguments, fixed, cotangent)
        for layout, laid in LAYOUTS.items():
            again = {name: laid(value) if isinstance(value, np.ndarray) else value for name, value in fixed.items()}
            found = answers(pair, tree_map(laid, arguments), again, tree_map(laid, cotangent))
            assert apart(found, right) < 1e-11, layout


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if in_single(pair)], ids=lambda pair: pair.name)
def test_float32_stays_where_it_is_said_so_and_is_float64_elsewhere(pair):
    single = lambda tree: tree_map(np.float32, tree)
    for arguments, fixed in cases.examples(pair.name, count=2):
        if "rate" not in fixed:                                     # bits go through their kernel, in float64
            held = {name: single(value) if name == "g" else value for name, value in fixed.items()}
            found = answers(pair, single(arguments), held, single(pair.f(*arguments, **fixed)))
            assert {leaf.dtype for leaf in found} == {np.dtype(np.float32)}


def test_what_is_no_number_is_named():
    for wrong in ("abc", [[1.0], [1.0, 2.0]], None, np.array([object()]), np.array(["1.0"])):
        with pytest.raises(ValueError, match="x_prev: expected"):
            gaussian.forward(wrong, np.array([[0.1]]))
    with pytest.raises(ValueError, match="x_prev: expected an array with all of its entries"):
        gaussian.forward(np.ma.masked_array([[1.0]], mask=[[True]]), np.array([[0.1]]))
    for wrong in (np.array([1.5]), np.array([np.nan]), np.array(["2"])):
        with pytest.raises(ValueError, match="t: expected integers"):
            bumps(wrong, T=4, count=3)
    with pytest.raises(ValueError, match="T: expected an integer, got 2.5"):
        bumps(np.array([1]), T=2.5, count=3)


@pytest.mark.parametrize("std", [np.uint8(20), np.int8(20), np.float16(300.0), np.float32(20.1), np.array(20, np.uint8)])
def test_one_number_of_few_bits_does_not_overflow(std):
    assert np.array_equal(product.noisy(np.zeros(2), std=std).var, np.full(2, float(std) ** 2))


def test_a_module_with_its_doors_closed_would_be_seen():
    """Without its door, a function of bytes is wrong without a word."""
    y = np.array([0, 1], np.uint8)
    assert np.array_equal(product.flipped(y, rate=0.1).logit, product.flipped(y.astype(float), rate=0.1).logit)
    assert not np.array_equal(product.flipped.__wrapped__(y, rate=0.1).logit, product.flipped(y, rate=0.1).logit)


# -- functions that are no pair ----------------------------------------------------------------------------------------

T, N, BITS = 5, 3, 20
RNG = np.random.default_rng(0)
BETA = schedule.geometric(T, beta_1=0.05, beta_T=0.4)
BIT_KERNEL, BIT_NETWORK = fix(binomial, rate=0.2), fix(heartbeat, rate=0.2)
BIT_PARAMETERS = heartbeat.init(RNG, T=T)
X_BITS, UNIFORM = (RNG.random((N, BITS)) < 0.2).astype(float), RNG.random((T + 1, N, BITS))
OF_BITS = dict(kernel=BIT_KERNEL, network=BIT_NETWORK)
TAKES_BITS = {
    "strict bound": lambda x: bound.strict_bound(BIT_PARAMETERS, BETA, x, noise=UNIFORM[:4], t=bound.every_step(T, N), **OF_BITS),
    "correction": lambda x: bound.correction(BETA, x, kernel=BIT_KERNEL),
    "null model": lambda x: likelihood.null_log_likelihood(x, kernel=BIT_KERNEL),
    "weights": lambda x: likelihood.log_weights(BIT_PARAMETERS, BETA, x, noise=UNIFORM[:T], **OF_BITS),
    "Parzen": lambda x: likelihood.parzen_log_likelihood(x, x[:2], bandwidth=0.3),
    "normal": lambda x: likelihood.gaussian_log_likelihood(x[:, :2], mean=x[0, :2], covariance=np.eye(2)),
    "flipped": lambda x: product.flipped(x, rate=0.1).logit,
    "known": lambda x: product.known(x, mask=x, kernel=BIT_KERNEL).logit,
    "forward path": lambda x: list(sample.forward_path(BETA, x, noise=UNIFORM[:T], kernel=BIT_KERNEL))[-1][1],
    "inpainting": lambda x: product.inpaint(BIT_PARAMETERS, BETA, x, mask=x, noise=UNIFORM, **OF_BITS),
    "entropy bounds": lambda x: reversal.entropy_bounds(BETA, x, t=2, noise=UNIFORM[0], kernel=BIT_KERNEL).lower,
    "evaluation": lambda x: np.array(train.evaluate(BIT_PARAMETERS, BETA, x, rng=np.random.default_rng(1), **OF_BITS).bound),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64, bool, np.float16, np.float32])
@pytest.mark.parametrize("name", TAKES_BITS)
def test_bits_come_as_bytes(name, dtype):
    assert np.array_equal(TAKES_BITS[name](X_BITS.astype(dtype)), TAKES_BITS[name](X_BITS))


# -- schedules and steps -----------------------------------------------------------------------------------------------

PARAMETERS = swiss_roll.init(RNG.standard_normal((9, 2)), T=T, units=4, width=1.0)
X, NOISE = RNG.standard_normal((N, 2)), RNG.standard_normal((T + 1, N, 2))
OF_NUMBERS = dict(kernel=gaussian, network=swiss_roll)
SAID = cases.Model(cases.PREDICTOR, "noise", "small", "beta")
TABLES = cases.Affine(np.zeros((T + 1, 2, 4)), np.zeros((T + 1, 4)))
LEVELS = dict(k=np.ones((N, 2), dtype=int), grid=cases.Grid(0.0, 1.0, 2), model=SAID)
TAKES_A_SCHEDULE = {
    "bound": lambda beta: bound.bound(PARAMETERS, beta, X, noise=NOISE[:1], t=np.full((1, N), 2), **OF_NUMBERS),
    "strict bound": lambda beta: bound.strict_bound(PARAMETERS, beta, X, noise=NOISE[:1], t=np.full((1, N), 2), **OF_NUMBERS),
    "step_kl": lambda beta: bound.step_kl(PARAMETERS, beta, X, noise=NOISE[0], t=np.full(N, 2), **OF_NUMBERS),
    "network_kl": lambda beta: bound.network_kl(PARAMETERS, beta=beta, x_0=X, noise=NOISE[0], t=np.full(N, 2), **OF_NUMBERS),
    "entropy_at": lambda beta: bound.entropy_at(beta, X, t=1, kernel=gaussian),
    "alpha_bar": schedule.alpha_bar,
    "correction": lambda beta: bound.correction(beta, X, kernel=gaussian),
    "log_weights": lambda beta: likelihood.log_weights(PARAMETERS, beta, X, noise=NOISE[:T], **OF_NUMBERS),
    "sample": lambda beta: sample.sample(PARAMETERS, beta, noise=NOISE, **OF_NUMBERS),
    "forward_path": lambda beta: list(sample.forward_path(beta, X, noise=NOISE, kernel=gaussian)),
    "denoise": lambda beta: product.denoise(PARAMETERS, beta, X, noise_std=0.1, noise=NOISE, **OF_NUMBERS),
    "enter": lambda beta: product.enter(PARAMETERS, beta, X, noise_std=0.1, noise=NOISE, **OF_NUMBERS),
    "denoiser": lambda beta: product.denoiser(PARAMETERS, beta, X, t=2, **OF_NUMBERS),
    "entropy_bounds": lambda beta: reversal.entropy_bounds(beta, X, t=2, noise=X, kernel=gaussian),
    "evaluate": lambda beta: train.evaluate(PARAMETERS, beta, X, rng=RNG, **OF_NUMBERS),
    "respaced": lambda beta: sampler.respaced(beta, times=np.array([1, 2])),
    "decoder": lambda beta: objective.decoder(TABLES, beta, noise=X, **LEVELS),
    "terms": lambda beta: objective.terms(TABLES, beta, noise=NOISE[:1], noise_1=X, t=np.full((1, N), 2), **LEVELS),
    "first": lambda beta: variance.first(beta, policy="beta"),
}
NO_SCHEDULES = {
    "without β_0": (BETA[1:], "beta: expected beta\\[0\\] == 0"),
    "a column": (BETA[:, None], "beta: expected shape"),
    "a rate of 0": (np.where(np.arange(T + 1) == 3, 0.0, BETA), "got 0.0 at t = 3"),
    "a rate of 1 before T": (np.where(np.arange(T + 1) == 2, 1.0, BETA), "got 1.0 at t = 2"),
    "not a number": (np.where(np.arange(T + 1) == 2, np.nan, BETA), "got nan at t = 2"),
}


@pytest.mark.parametrize("wrong", NO_SCHEDULES)
@pytest.mark.parametrize("name", TAKES_A_SCHEDULE)
def test_what_is_no_schedule_is_refused_at_every_door(name, wrong):
    TAKES_A_SCHEDULE[name](BETA)
    beta, words = NO_SCHEDULES[wrong]
    with pytest.raises(ValueError, match=words):
        TAKES_A_SCHEDULE[name](beta)


def rows_at(t):
    return np.array([2, t, 2])


TAKES_A_STEP = {
    "bound": (2, lambda t: bound.bound(PARAMETERS, BETA, X, noise=NOISE[:1], t=rows_at(t)[None], **OF_NUMBERS)),
    "step_kl": (2, lambda t: bound.step_kl(PARAMETERS, BETA, X, noise=NOISE[0], t=rows_at(t), **OF_NUMBERS)),
    "network_kl": (2, lambda t: bound.network_kl(PARAMETERS, beta=BETA, x_0=X, noise=NOISE[0], t=rows_at(t), **OF_NUMBERS)),
    "entropy_at": (0, lambda t: bound.entropy_at(BETA, X_BITS, t=t, kernel=BIT_KERNEL)),
    "prior_cross_entropy_at": (0, lambda t: bound.prior_cross_entropy_at(BETA, X, t=t, kernel=gaussian)),
    "denoiser": (2, lambda t: product.denoiser(PARAMETERS, BETA, X, t=t, **OF_NUMBERS)),
    "entropy_bounds": (1, lambda t: reversal.entropy_bounds(BETA, X, t=t, noise=X, kernel=gaussian)),
    "respaced": (1, lambda t: sampler.respaced(BETA, times=np.array([t]))),
    "terms": (2, lambda t: objective.terms(TABLES, BETA, noise=NOISE[:1], noise_1=X, t=rows_at(t)[None], **LEVELS)),
}


@pytest.mark.parametrize("name", TAKES_A_STEP)
def test_a_step_that_the_chain_does_not_have_is_refused_at_every_door(name):
    first, call = TAKES_A_STEP[name]
    for t in range(max(first, 2), T + 1):
        call(t)
    for t in (-1, first - 1, T + 1):
        with pytest.raises(ValueError, match=f"t: expected steps from {first} to T = {T}, got {t}$"):
            call(t)


@pytest.mark.parametrize("arguments,words", [
    (dict(noise=NOISE[:4].swapaxes(0, 1), t=bound.every_step(T, N)), "noise: expected shape"),
    (dict(noise=NOISE[:4], t=bound.every_step(T, N).T), "t: expected shape"),
    (dict(noise=NOISE[0], t=np.full(N, 2)), "t: expected shape")])
def test_noise_and_steps_of_another_shape_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        bound.bound(PARAMETERS, BETA, X, **arguments, **OF_NUMBERS)
    with pytest.raises(ValueError, match=words):
        train.mean_network_bound(PARAMETERS, X, **arguments, beta=BETA, **OF_NUMBERS)


@pytest.mark.parametrize("make", [schedule.linear, schedule.geometric])
def test_one_step_has_one_rate(make):
    assert np.array_equal(make(1, beta_1=0.1, beta_T=0.1), [0, 0.1])
    with pytest.raises(ValueError, match="beta_T: expected beta_1 = 0.1 where T = 1"):
        make(1, beta_1=0.1, beta_T=0.2)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if "beta" in gradcheck.argument_names(pair.f)], ids=lambda pair: pair.name)
def test_beta_0_is_a_constant(pair):
    """Where an argument is a whole schedule, the cotangent of β_0 is 0, and moving it moves nothing."""
    place = gradcheck.argument_names(pair.f).index("beta")
    for arguments, fixed in cases.examples(pair.name, count=3):
        if arguments[place].ndim == 1 and len(arguments[place]) and arguments[place][0] == 0:
            value, pullback = pair.f_vjp(*arguments, **fixed)
            cotangents = pullback(gradcheck.random_like(value, np.random.default_rng(0)))
            assert (cotangents if len(arguments) == 1 else cotangents[place])[0] == 0


# -- no examples -------------------------------------------------------------------------------------------------------

NOTHING, NO_NOISE, EVERY = np.zeros((0, 2)), np.zeros((T + 1, 0, 2)), np.arange(1, T + 1)
WITHOUT_EXAMPLES = {
    "log_weights": lambda: likelihood.log_weights(PARAMETERS, BETA, NOTHING, noise=NO_NOISE[:T], **OF_NUMBERS),
    "parzen": lambda: likelihood.parzen_log_likelihood(NOTHING, X, bandwidth=1.0),
    "normal": lambda: likelihood.gaussian_log_likelihood(NOTHING, mean=np.zeros(2), covariance=np.eye(2)),
    "sample": lambda: sample.sample(PARAMETERS, BETA, noise=NO_NOISE, **OF_NUMBERS),
    "forward_path": lambda: list(sample.forward_path(BETA, NOTHING, noise=NO_NOISE, kernel=gaussian))[-1][1],
    "denoise": lambda: product.denoise(PARAMETERS, BETA, NOTHING, noise_std=0.1, noise=NO_NOISE, **OF_NUMBERS),
    "inpaint": lambda: product.inpaint(PARAMETERS, BETA, NOTHING, mask=NOTHING, noise=NO_NOISE, **OF_NUMBERS),
    "enter": lambda: product.enter(PARAMETERS, BETA, NOTHING, noise_std=0.5, noise=NO_NOISE, **OF_NUMBERS),
    "denoiser": lambda: product.denoiser(PARAMETERS, BETA, NOTHING, t=2, **OF_NUMBERS),
    "entropy_bounds": lambda: reversal.entropy_bounds(BETA, NOTHING, t=2, noise=NOTHING, kernel=gaussian).upper,
    "ancestral_path": lambda: list(sampler.ancestral_path(TABLES, BETA, noise=NO_NOISE, times=EVERY, model=SAID))[-1][1],
    "ddim_path": lambda: list(sampler.ddim_path(TABLES, BETA, noise=NO_NOISE, times=EVERY, model=SAID, eta=0.0))[-1][1],
}
NO_AVERAGES = {
    "average": lambda: likelihood.average(np.zeros(0)),
    "likelihood": lambda: likelihood.log_likelihood(np.zeros((3, 0))),
    "paths": lambda: likelihood.log_likelihood(np.zeros((0, 3))),
    "centres": lambda: likelihood.parzen_log_likelihood(X, NOTHING, bandwidth=1.0),
    "mean_bound": lambda: train.mean_bound(train.Model(PARAMETERS, schedule.logits_of(BETA)), NOTHING, noise=NO_NOISE[:4],
                                           t=bound.every_step(T, 0), beta_1=0.05, **OF_NUMBERS),
    "mean_network_bound": lambda: train.mean_network_bound(PARAMETERS, NOTHING, noise=NO_NOISE[:4], t=bound.every_step(T, 0),
                                                           beta=BETA, **OF_NUMBERS),
    "evaluate": lambda: train.evaluate(PARAMETERS, BETA, NOTHING, rng=RNG, **OF_NUMBERS),
    "energy test": lambda: two_sample.energy_test(NOTHING, X, rng=RNG),
    "start": lambda: swiss_roll.init(NOTHING, T=T, units=3, width=1.0),
}


@pytest.mark.parametrize("name", WITHOUT_EXAMPLES)
def test_no_examples_give_no_results(name):
    assert len(WITHOUT_EXAMPLES[name]()) == 0


@pytest.mark.parametrize("name", NO_AVERAGES)
def test_an_average_over_nothing_is_refused(name):
    with pytest.raises(ValueError, match="expected .*(at least one|≥ 1)"):
        NO_AVERAGES[name]()


# -- bits and the schedule ---------------------------------------------------------------------------------------------

def test_no_gradient_passes_a_draw_of_bits():
    """The value is there, and the gradient for the network; one for the schedule or the data is refused."""
    arguments = dict(noise=UNIFORM[:T - 1], t=bound.every_step(T, N), **OF_BITS)
    for f_vjp in (bound.bound_vjp, bound.strict_bound_vjp):
        value, pullback = f_vjp(BIT_PARAMETERS, BETA, X_BITS, **arguments)
        with pytest.raises(ValueError, match="kernel: expected one whose draws are smooth"):
            pullback(np.ones(N))
    kl, back = bound.network_kl_vjp(BIT_PARAMETERS, beta=BETA, x_0=X_BITS, noise=UNIFORM[0], t=np.full(N, 2), **OF_BITS)
    assert all(np.isfinite(leaf).all() for leaf in leaves(back(np.ones(N))))


def test_a_learned_schedule_of_bits_is_refused():
    state = train.begin(train.Model(BIT_PARAMETERS, schedule.logits_of(BETA)))
    recipe = train.Recipe(steps=1, batch=N, rate=0.01, schedule_rate=0.01, beta_1=0.05, seed=0)
    with pytest.raises(ValueError, match="beta: expected a fixed schedule for a kernel that draws bits"):
        next(train.fit(state, recipe, draw_data=lambda rng, count: X_BITS, **OF_BITS))


# -- ends of the range -------------------------------------------------------------------------------------------------

INFINITE = np.array([np.inf, -np.inf])


@pytest.mark.parametrize("f_vjp", [binomial.kl_vjp, binomial.cross_entropy_vjp])
def test_known_bits_cost_nothing(f_vjp):
    known = binomial.Bernoulli(INFINITE)
    value, pullback = f_vjp(known, known)
    assert not value.any() and not any(leaf.any() for leaf in leaves(pullback(np.ones(2))))


def test_known_bits_have_no_entropy_and_are_no_surprise():
    known = binomial.Bernoulli(INFINITE)
    assert not binomial.entropy(known).any() and not binomial.log_prob(np.array([1.0, 0.0]), known).any()
    assert not binomial.entropy_vjp(known)[1](np.ones(2)).logit.any()


def test_divergence_from_and_to_what_is_known():
    """−log P where q is certain, and infinite where p excludes what q has."""
    q, p = np.array([np.inf, -np.inf, 1.0, 1.0, np.inf]), np.array([1.0, 1.0, np.inf, -np.inf, -np.inf])
    softplus = np.log1p(np.exp([-1.0, 1.0]))
    found = binomial.kl(binomial.Bernoulli(q), binomial.Bernoulli(p))
    assert found[:2] == pytest.approx(softplus, rel=1e-15) and np.isposinf(found[2:]).all()


@pytest.mark.parametrize("q,p,expected", [
    (1e-200, 1e200, 200 * np.log(10) - 0.5), (1e160, 1e-160, np.inf), (1.0, 5e-324, np.inf), (5e-324, 1.0, 537 * np.log(2) - 0.5)])
def test_divergence_of_laws_whose_variances_are_far_apart(q, p, expected):
    """½ (ρ − 1 − log ρ) where ρ is beyond the range of numbers; 5e-324 is 2⁻¹⁰⁷⁴."""
    of = lambda var: gaussian.Gaussian(np.zeros(1), np.array([var]))
    assert gaussian.kl(of(q), of(p))[0] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("q,p,dq,dp", [
    (1e160, 1e-160, 5e159, -np.inf), (1e-200, 1e200, -5e199, 5e-201), (1e-160, 1e160, -5e159, 5e-161)])
def test_its_slope_there(q, p, dq, dp):
    """½ (1/p − 1/q) and ½ (1/p − q/p²), infinite only where they leave the range of numbers."""
    of = lambda var: gaussian.Gaussian(np.zeros(1), np.array([var]))
    found = gaussian.kl_vjp(of(q), of(p))[1](np.ones(1))
    assert [law.var[0] for law in found] == pytest.approx([dq, dp], rel=1e-15)


@pytest.mark.parametrize("s", [1e-9, 1e-3, 1.0, 1e3, 1e6, 1e9])
def test_strict_bound_of_large_and_small_variances(s):
    """K and its correction ½ (ᾱ_T + β_1)(1 − s), neither of which cancels."""
    expected = linear_gaussian.bound([[s]], BETA) + (schedule.alpha_bar(BETA)[-1] + BETA[1]) * (1 - s) / 2
    assert linear_gaussian.strict_bound([[s]], BETA) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("wrong,words", [([[-1.0]], "negative eigenvalue"), ([[1.0, 2.0], [2.0, 1.0]], "negative eigenvalue"),
                                         ([[np.inf]], "finite"), ([[1.0, 0.5], [0.2, 1.0]], "symmetric")])
def test_what_is_no_covariance_is_refused(wrong, words):
    for function in (linear_gaussian.bound, linear_gaussian.strict_bound, linear_gaussian.covariances):
        with pytest.raises(ValueError, match=f"S0: expected .*{words}"):
            function(wrong, BETA)


def test_ties_of_the_energy_test_do_not_depend_on_rounding():
    """Points on a grid have the same distance in many labellings; in units of 1 they are exact, in units of 0.1 not."""
    rng = np.random.default_rng(0)
    for x, y in ((rng.integers(0, 3, (6, 1)), rng.integers(0, 3, (7, 1))) for _ in range(30)):
        p, q = (two_sample.energy_test(unit * x, unit * y, rng=np.random.default_rng(1))[1] for unit in (1.0, 0.1))
        assert p == q
