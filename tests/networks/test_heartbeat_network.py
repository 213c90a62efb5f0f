"""The heartbeat's network: it starts as the forward kernel, keeps rows apart, and learns."""

import numpy as np
import pytest

from refdpm import binomial, bound, likelihood, schedule, train
from refdpm.data import heartbeat as data
from refdpm.networks import bit_readout, heartbeat
from refdpm.oracles import heartbeat as oracle
from refdpm.vjp import fix, leaves, tree_map

T = 6
BETA = schedule.reciprocal(T)
LEVEL = schedule.log_alpha_bar(BETA)
TIMES = np.array([3, 6, 2, 3, 5])
KERNEL = fix(binomial, rate=0.2)


def trained(last, bits=7, hidden=(4, 5), chain=T):
    rng = np.random.default_rng(1)
    start = heartbeat.init(rng, T=chain, bits=bits, hidden=hidden, last=last)
    return tree_map(lambda leaf: leaf + 0.5 * rng.standard_normal(leaf.shape), start)


def reverse(parameters, x, rows=slice(None), **named):
    t = TIMES[rows]
    return heartbeat.reverse(parameters, x[rows], schedule.step(BETA, LEVEL, t=t, ndim=2), t=t, T=T, **named)


X = (np.random.default_rng(2).random((5, 7)) < 0.4).astype(float)


def test_sizes_of_the_paper():
    """PAPER §3: 2,046,150 numbers if there are T read-outs, T = 2000, without the hidden layers 20-50-50-50."""
    parameters = heartbeat.init(np.random.default_rng(0), T=2000)
    shared = (20 + 1) * 50 + 2 * (50 + 1) * 50
    assert sum(leaf.size for leaf in leaves(parameters)) - (50 + 1) * 20 == 2_046_150 == shared + 2000 * (50 + 1) * 20


@pytest.mark.eq("14", "App.1 B reverse", "App.1 B bound")
@pytest.mark.parametrize("last", heartbeat.LAST)
@pytest.mark.parametrize("readout", ["denoising", "skip"])
def test_starts_as_the_forward_kernel(last, readout):
    """A head of 0 costs what the forward kernel costs, row by row; that this is L_null for data like π is the kernel's affair."""
    network = fix(heartbeat, rate=0.2, readout=readout, last=last, T=T)
    x_0 = data.draw(np.random.default_rng(3), 40)
    t = bound.every_step(T, 40)
    noise = np.random.default_rng(4).random((T - 1, 40, 20))
    start = heartbeat.init(np.random.default_rng(0), T=T, last=last)
    forward = type(network)(reverse_vjp=lambda parameters, x_t, step, *, t: (KERNEL.forward(x_t, step.beta), None))
    same = dict(beta=BETA, x_0=np.tile(x_0, (T - 1, 1)), noise=noise.reshape(-1, 20), t=t.ravel(), kernel=KERNEL)
    expected = bound.network_kl((), network=forward, **same)
    assert bound.network_kl(start, network=network, **same) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("last", heartbeat.LAST)
@pytest.mark.parametrize("readout", bit_readout.READOUTS)
def test_rows_do_not_mix(last, readout):
    parameters = trained(last)
    whole = reverse(parameters, X, last=last, readout=readout).logit
    order = np.array([4, 0, 3, 1, 2])
    assert reverse(parameters, X, order, last=last, readout=readout).logit == pytest.approx(whole[order], rel=1e-12)
    for i in range(5):
        assert reverse(parameters, X, slice(i, i + 1), last=last, readout=readout).logit[0] == pytest.approx(whole[i], rel=1e-12)


def test_every_step_has_weights_of_its_own():
    """A change of W_3 changes rows at t = 3 alone; one of the third bump, at t = 1 + 10/9, those near it."""
    own, mixed = trained("per_step"), trained("bumps")
    weight, other = own.weight.copy(), mixed.weight.copy()
    weight[3] += 1
    other[:, 2::heartbeat.COUNT] += 1
    moved = reverse(own._replace(weight=weight), X).logit != reverse(own, X).logit
    assert np.array_equal(moved.any(axis=1), TIMES == 3)
    moved = np.abs(reverse(mixed._replace(weight=other), X, last="bumps").logit - reverse(mixed, X, last="bumps").logit)
    assert np.array_equal(moved.max(axis=1) > 1e-12, TIMES <= 3)


@pytest.mark.eq("15", "App.1 B targets")
@pytest.mark.parametrize("last", heartbeat.LAST)
def test_learns(last):
    """A fifth of the way from L_null = −14.44 bits to K* in a second, at T = 20, without passing K*."""
    beta, network = schedule.reciprocal(20), fix(heartbeat, rate=0.2, last=last, T=20)
    start = heartbeat.init(np.random.default_rng(0), T=20, hidden=(50,), last=last)
    recipe = train.Recipe(steps=150, batch=32, draws=10, rate=0.02, schedule_rate=0.0, beta_1=beta[1], seed=0)
    for state, _ in train.fit(train.begin(train.Model(start, np.empty(0))), recipe, draw_data=data.draw, kernel=KERNEL,
                              network=network, beta=beta):
        pass
    x_0 = data.draw(np.random.default_rng(5), 1000)
    found = train.evaluate(state.model.parameters, beta, x_0, rng=np.random.default_rng(6), kernel=KERNEL, network=network)
    null, best = likelihood.null_log_likelihood(x_0[:1], kernel=KERNEL)[0], oracle.bound(beta, rate=0.2)
    assert found.bound.value > null + 0.2 * (best - null)
    assert found.bound.value < best + 5 * found.bound.stderr                          # false alarm: one seed in 3·10⁶


@pytest.mark.parametrize("last,chain,words", [("bumps", 0, "T: expected the length of the chain.*got 0"),
                                              ("own", T, "last: expected one of .*'per_step', 'bumps'.*got 'own'")])
def test_other_choices_are_refused(last, chain, words):
    step = schedule.step(BETA, LEVEL, t=TIMES, ndim=2)
    with pytest.raises(ValueError, match=words):
        heartbeat.reverse(trained("bumps"), X, step, t=TIMES, T=chain, last=last)
    if last == "own":
        with pytest.raises(ValueError, match=words):
            heartbeat.init(np.random.default_rng(0), T=T, last=last)
