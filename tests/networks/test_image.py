"""The network of images: it starts as the forward kernel, is its layers, and leaves the images of a batch to themselves."""

import numpy as np
import pytest
from scipy.special import softmax

from refdpm import bound, gaussian, schedule
from refdpm.gaussian import Gaussian
from refdpm.networks import image
from refdpm.vjp import fix, leaves, tree_map

T, SHAPE = 6, (4, 8, 3)
BETA = schedule.geometric(T, beta_1=0.02, beta_T=0.4)
LEVEL = schedule.log_alpha_bar(BETA)
TIMES = np.array([3, 6, 2, 3, 5])
PATHS = [dict(conv=(5, 7), dense=()), dict(conv=(5,), dense=(6, 9)), dict(conv=(), dense=(6,))]


def start(form, seed=0, **paths):
    paths = paths or PATHS[1]
    return image.init(np.random.default_rng(seed), shape=SHAPE, scales=2, kernel=(3, 5), pixelwise=(4, 6), count=3, form=form,
                      **paths)


def trained(form, **paths):
    rng = np.random.default_rng(1)
    return tree_map(lambda leaf: leaf + 0.2 * rng.standard_normal(leaf.shape), start(form, **paths))


def states(N=5):
    return np.random.default_rng(2).standard_normal((N, *SHAPE))


def step(t=TIMES):
    return schedule.step(BETA, LEVEL, t=t, ndim=4)


@pytest.mark.parametrize("paths", PATHS, ids=str)
@pytest.mark.parametrize("form", image.FORMS)
@pytest.mark.parametrize("readout", ["denoising", "eq65", "released"])
def test_starts_as_the_forward_kernel(form, readout, paths):
    p, q = image.reverse(start(form, **paths), states(), step(), t=TIMES, T=T, form=form, readout=readout), gaussian.forward(
        states(), step().beta)
    assert np.abs(p.mean - q.mean).max() < 1e-14 and np.abs(p.var / q.var - 1).max() < 1e-13


@pytest.mark.eq("14", "15")
def test_starts_at_the_null_model():
    """Data whose squares are 1 have the second moments of π; frozen noise ±1 gives every expectation of KLs exactly."""
    rng, t = np.random.default_rng(3), bound.every_step(T, 16)
    x_0 = rng.choice([-1.0, 1.0], size=(16, *SHAPE))
    noise = rng.choice([-1.0, 1.0], size=(T - 1, 8, *SHAPE))
    noise = np.concatenate([noise, -noise], axis=1)
    x_0[8:] = x_0[:8]
    k = bound.bound(start("paper"), BETA, x_0, noise=noise, t=t, kernel=gaussian, network=fix(image, T=T)).mean()
    null = -0.5 * np.log(2 * np.pi * np.e) * np.prod(SHAPE)
    assert abs(k / null - 1) < 1e-12


@pytest.mark.eq("62", "63")
@pytest.mark.parametrize("form", image.FORMS)
def test_is_its_layers(form):
    """Everything behind the features by formulas; the features by asking a network without anything behind them."""
    parameters, x = trained(form), states()
    leaky, tanh = lambda y: np.maximum(y, 0.05 * y), np.tanh
    then = tanh if form == "paper" else leaky
    near = image.stack_vjp(x, parameters.conv, layer_vjp=image._layers(form)[0])[0]
    far = x.reshape(5, -1)
    for weight, bias in parameters.dense:
        far = then(far @ weight + bias)
    hidden = np.concatenate([near / np.sqrt(5), far.reshape(5, *SHAPE[:2], 2) / np.sqrt(2)], axis=-1)
    for weight, bias in parameters.pixelwise:
        hidden = then(np.einsum("nhwc,ck->nhwk", hidden, weight) + bias)
    y = (np.einsum("nhwc,ck->nhwk", hidden, parameters.last.weight) + parameters.last.bias).reshape(5, *SHAPE[:2], 2, 3, 3)
    g = softmax(-(TIMES[:, None] - np.array([1, 3, 5])) ** 2 / 8, axis=1)          # T = 6, J = 3: w = 2
    z = np.einsum("nhwscj,nj->snhwc", y, g)
    s = step()
    expected = Gaussian(np.sqrt(1 - s.beta) * x + np.sqrt(s.beta) * z[0],
                        1 / (1 + (1 - s.beta) / s.beta * np.exp(-z[1] / np.sqrt(T))))
    p = image.reverse(parameters, x, s, t=TIMES, T=T, form=form, readout="released")
    assert np.abs(p.mean - expected.mean).max() < 1e-12 and np.abs(p.var - expected.var).max() < 1e-12


@pytest.mark.parametrize("paths", PATHS, ids=str)
@pytest.mark.parametrize("form", image.FORMS)
def test_an_image_alone_or_in_a_batch(form, paths):
    """Matrix products of other sizes may round differently, so not to the last bit."""
    parameters, named = trained(form, **paths), dict(T=T, form=form)
    p = image.reverse(parameters, states(), step(), t=TIMES, **named)
    for n, t in enumerate(TIMES):
        alone = image.reverse(parameters, states()[n:n + 1], step(TIMES[n:n + 1]), t=TIMES[n:n + 1], **named)
        assert np.abs(alone.mean[0] - p.mean[n]).max() < 1e-12 and np.abs(alone.var[0] - p.var[n]).max() < 1e-12


@pytest.mark.parametrize("form", image.FORMS)
def test_a_convolutional_network_takes_other_sizes(form):
    parameters = trained(form, conv=(5,), dense=())
    x = np.random.default_rng(0).standard_normal((5, 6, 4, 3))
    assert image.reverse(parameters, x, step(), t=TIMES, T=T, form=form).mean.shape == x.shape


@pytest.mark.parametrize("paths", PATHS, ids=str)
@pytest.mark.parametrize("form", image.FORMS)
@pytest.mark.parametrize("readout", ["denoising", "eq65", "released"])
def test_single_precision_stays(form, readout, paths):
    single = lambda tree: tree_map(lambda leaf: leaf.astype(np.float32), tree)
    p, pullback = image.reverse_vjp(single(trained(form, **paths)), single(states()), single(step()), t=TIMES, T=T, form=form,
                                    readout=readout)
    assert {leaf.dtype for leaf in leaves((p, pullback(p)))} == {np.dtype(np.float32)}


@pytest.mark.parametrize("form", image.FORMS)
def test_activations_start_of_order_one(form):
    """For white noise and for images that are all one grey: every hidden layer has a spread between 0.1 and 2, none is dead."""
    rng = np.random.default_rng(0)
    parameters = image.init(rng, shape=(16, 16, 1), dense=(40, 40), form=form)
    conv_vjp, layer_vjp = image._layers(form)
    for x in (rng.standard_normal((20, 16, 16, 1)), rng.standard_normal((20, 1, 1, 1)) * np.ones((1, 16, 16, 1))):
        near = [image.stack_vjp(x, parameters.conv[:count], layer_vjp=conv_vjp)[0] for count in (1, 2, 3)]
        far = [image.stack_vjp(x.reshape(20, -1), parameters.dense[:count], layer_vjp=layer_vjp)[0] for count in (1, 2, 3)]
        both = image.side_by_side_vjp(near[-1], far[-1].reshape(20, 16, 16, 2))[0]
        after = [image.stack_vjp(both, parameters.pixelwise[:count], layer_vjp=layer_vjp)[0] for count in (1, 2)]
        for y in (*near, *far, *after):
            assert 0.1 < y.std(axis=0).mean() < 2


@pytest.mark.parametrize("named,message", [
    (dict(conv=(), dense=()), "conv, dense: expected at least one"), (dict(kernel=(3, 2)), "kernel: expected odd"),
    (dict(shape=(6, 8, 1), scales=3), "shape: expected sides"), (dict(form="unet"), "form: expected one of"),
    (dict(scales=0), "shape: expected sides")], ids=lambda value: str(value)[:20])
def test_wrong_networks_are_refused(named, message):
    with pytest.raises(ValueError, match=message):
        image.init(np.random.default_rng(0), **{"shape": (8, 8, 1), **named})


def test_wrong_names_are_refused():
    for named in (dict(form="unet"), dict(basis="fourier"), dict(readout="none")):
        with pytest.raises(ValueError, match=f"{next(iter(named))}: expected one of"):
            image.reverse(start("paper"), states(), step(), t=TIMES, T=T, **named)
