"""Hypothesis strategies for schedules, states, distributions, steps and networks, named by what they draw; public.

    from hypothesis import given
    from refdpm import strategies

    @given(strategies.schedules(T=5), strategies.states(N=3, D=2))
    def test_my_marginal(beta, x_0): ...

Sizes are arguments, so a test can keep them all different (N ≠ D ≠ T) and mix and repeat t within a batch.  Values shrink
towards simple ones.  Schedules are (T+1,) with beta[0] == 0; `column` strategies are (N, 1) and broadcast against states.

What the arguments mean, each with an example of what is drawn:

    N           rows, one example each              states(N=3, D=2)                    (3, 2)
    D           components of a row                 gaussians(N=3, D=2).mean            (3, 2)
    T           steps of the chain                  schedules(T=5)                      (6,), β_0 = 0
    S           values of t per example             bound_terms(S=4, N=3).kl            (4, 3)
    K           classes, or filters                 hard_symbols(N=3, D=2, K=4)         (3, 2, 4), one 1 in each of the last axes
    H, W, C     rows, columns, channels of images   images(N=3, H=4, W=6, C=2)          (3, 4, 6, 2)
    shape       of an array                         nonzero_arrays(3, 2)                (3, 2)
    low, high   ends of a range, both included      times(5, low=2, high=6)             [2, 6, 3, 3, 5]
    ndim        axes of the states                  steps(N=5, T=6, ndim=4)             columns (5, 1, 1, 1), and t (5,)
    units       hidden units                        swiss_roll_networks(T=6, units=4, D=2).centre   (4, 2)
    bits, last  of the heartbeat's network          heartbeat_networks(T=6, bits=3, last="bumps")
    form        of the image network                image_networks(H=4, W=6, C=2, form="paper")
    scale       size of normal numbers              normal_arrays(3, 2, scale=0.1)      about ±0.1
    scales      of a multi-scale convolution        kernels((3, 1), 2, 5, scales=2)     two kernels (3, 1, 2, 5)
    kernel      sides of a convolution's kernel     kernels(kernel=(3, 1), C=2, K=5, scales=1)

Bugs live at the ends: `any_schedules` has those of the field, with β_T = 1, β_1 = 1e-4 and 1e-3, rising and falling; T, N and D may
be 1; `times` reaches both of its ends, and rows whose t are all different as well as all the same.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from refdpm import schedule
from refdpm.binomial import Bernoulli
from refdpm.bound import Terms
from refdpm.gaussian import Gaussian
from refdpm.later import objective
from refdpm.layers.linear import Affine
from refdpm.networks import heartbeat, image
from refdpm.networks.heartbeat import Heartbeat
from refdpm.networks.image import Image
from refdpm.networks.readout import Heads
from refdpm.networks.swiss_roll import SwissRoll
from refdpm.schedule import Step
from refdpm.vjp import Array, Tree, tree_map

Strategy = st.SearchStrategy[Any]


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """Finite floats in [low, high]."""
    return st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def arrays(*shape: int, low: float = -3.0, high: float = 3.0) -> st.SearchStrategy[Array]:
    """Float64 arrays of a given shape with entries in [low, high]: arrays(3, 2, low=0) is (3, 2), from 0 to 3."""
    return npst.arrays(np.float64, shape, elements=numbers(low, high))


def nonzero_arrays(*shape: int) -> st.SearchStrategy[Array]:
    """Arrays without entries near 0, for functions with a kink there."""
    return st.builds(np.multiply, arrays(*shape, low=0.01), npst.arrays(np.float64, shape, elements=st.sampled_from([-1.0, 1.0])))


def positive(*shape: int) -> st.SearchStrategy[Array]:
    """Arrays of variances between e⁻⁶ and e³."""
    return arrays(*shape, low=-6.0).map(np.exp)


# -- schedules and steps -----------------------------------------------------------------------------------------------

def schedules(T: int) -> st.SearchStrategy[Array]:
    """beta of shape (T+1,), rates between 0.005 and 0.95."""
    return arrays(T, low=np.log(0.005), high=np.log(0.95)).map(lambda log_rate: np.concatenate([[0.0], np.exp(log_rate)]))


def named_schedules(T: int) -> st.SearchStrategy[Array]:
    """The schedules that are in use: 1/(T−t+1), the cosine, from 1e-4 or 1e-3 upwards in equal steps or in equal ratios, the same
    downwards, and one rate for all steps; any of them also with β_T = 1.   Domain: formulas, but not all derivatives, have β_T = 1.
    """
    def ends(beta_1: float, beta_T: float) -> list[Array]:
        if T == 1:
            return [np.array([0.0, beta_1])]
        return [make(T, beta_1=beta_1, beta_T=beta_T) for make in (schedule.linear, schedule.geometric)]

    rising = [beta for beta_1, beta_T in ((1e-4, 0.02), (1e-3, 0.5)) for beta in ends(beta_1, beta_T)]
    falling = [np.append(0.0, beta[:0:-1]) for beta in rising]
    constant = [np.append(0.0, np.full(T, rate)) for rate in (1e-4, 1e-3, 0.2)]
    found = [schedule.reciprocal(T), schedule.cosine(T), *rising, *falling, *constant]
    return st.builds(_with_last_rate, st.sampled_from(found), st.booleans())


def _with_last_rate(beta: Array, forgets: bool) -> Array:
    return np.append(beta[:-1], 1.0) if forgets else beta.copy()


def any_schedules(T: int) -> st.SearchStrategy[Array]:
    """Schedules as they come, and those that are in use: any_schedules(T=5) may be [0, 1/5, 1/4, 1/3, 1/2, 1]."""
    return schedules(T) | named_schedules(T)


def rate_columns(N: int) -> st.SearchStrategy[Array]:
    """β_t of each row, (N, 1), between 1e-3 and 0.95."""
    return arrays(N, 1, low=np.log(1e-3), high=np.log(0.95)).map(np.exp)


def level_columns(N: int) -> st.SearchStrategy[Array]:
    """ℓ = log ᾱ of each row, (N, 1), between −7 and −1e-3."""
    return arrays(N, 1, low=np.log(1e-3), high=np.log(7.0)).map(lambda x: -np.exp(x))


def times(*shape: int, low: int, high: int) -> st.SearchStrategy[Array]:
    """Integers t in low..high, each drawn by itself: mixed and repeated, and all different or all the same among others."""
    each = npst.arrays(np.int64, shape, elements=st.integers(low, high), fill=st.nothing())
    return st.one_of(each, each, st.builds(lambda t: np.full(shape, t), st.sampled_from((low, high))))


@st.composite
def steps(draw: st.DrawFn, N: int, T: int, ndim: int = 2) -> tuple[Step, Array]:
    """The schedule's columns for N rows at steps t in 2..T of one schedule, and t."""
    beta, t = draw(schedules(T)), draw(times(N, low=2, high=T))
    return schedule.step_at(beta, t=t, ndim=ndim), t


# -- states, distributions, networks -----------------------------------------------------------------------------------

def states(N: int, D: int) -> st.SearchStrategy[Array]:
    """x of shape (N, D)."""
    return arrays(N, D)


def images(N: int, H: int, W: int, C: int) -> st.SearchStrategy[Array]:
    """States that are images, (N, H, W, C); their columns have the axes (N, 1, 1, 1), as `steps(N, T, ndim=4)` has."""
    return arrays(N, H, W, C)


def other_states(N: int, D: int) -> st.SearchStrategy[Array]:
    """Like `states`, with another simplest example: where x_t = x_0, the two parts of a posterior's derivative cancel."""
    return states(N, D).map(lambda x: x + 0.71)


def gaussians(N: int, D: int) -> st.SearchStrategy[Gaussian]:
    """Independent normal components, with variances far from 1 on both sides."""
    return st.builds(Gaussian, states(N, D), positive(N, D))


def other_gaussians(N: int, D: int) -> st.SearchStrategy[Gaussian]:
    """Like `gaussians`, with another simplest example: where two laws are equal, their divergence has no derivative to test."""
    return gaussians(N, D).map(lambda p: Gaussian(p.mean + 0.71, p.var * 1.37))


def bits(N: int, D: int) -> st.SearchStrategy[Array]:
    """Zeros and ones of shape (N, D), as floats."""
    return npst.arrays(np.float64, (N, D), elements=st.sampled_from([0.0, 1.0]))


def soft_bits(N: int, D: int) -> st.SearchStrategy[Array]:
    """Numbers between bits, where formulas that are defined for 0 and 1 can be differentiated on both sides."""
    return arrays(N, D, low=0.2, high=0.8)


def soft_symbols(N: int, D: int, K: int, *, scale: float = 1.0) -> st.SearchStrategy[Array]:
    """Probabilities of K classes, (N, D, K), none of them 0: symbols that formulas for classes can be differentiated by.

    They are not the softmax of `normal_arrays` from the same seed, with which a divergence would be 0 but for rounding.
    """
    return normal_arrays(N, D, K, scale=scale).map(lambda z: np.exp(z[..., ::-1]) / np.exp(z).sum(axis=-1, keepdims=True))


def hard_symbols(N: int, D: int, K: int) -> st.SearchStrategy[Array]:
    """Symbols of K classes as they are in data: (N, D, K) with a single 1 in the last axis."""
    return times(N, D, low=0, high=K - 1).map(lambda k: np.eye(K)[k])


def bernoullis(N: int, D: int) -> st.SearchStrategy[Bernoulli]:
    """Independent bits, by their logits."""
    return st.builds(Bernoulli, arrays(N, D, low=-5, high=5))


def other_bernoullis(N: int, D: int) -> st.SearchStrategy[Bernoulli]:
    """Like `bernoullis`, with another simplest example."""
    return bernoullis(N, D).map(lambda p: Bernoulli(p.logit + 0.71))


def rates() -> st.SearchStrategy[float]:
    """The stationary rate of ones."""
    return numbers(0.1, 0.9)


def heads(N: int, D: int) -> st.SearchStrategy[Heads]:
    """What a network puts out for the mean and for the variance."""
    return st.builds(Heads, arrays(N, D), arrays(N, D))


def bound_terms(S: int, N: int) -> st.SearchStrategy[Terms]:
    """The terms of K for S values of t and N examples."""
    return st.builds(Terms, arrays(S, N), arrays(N), arrays(N), arrays(N))


def later_terms(S: int, N: int) -> st.SearchStrategy[objective.Terms]:
    """The terms of the bound with a decoder for S values of t and N examples."""
    return st.builds(objective.Terms, arrays(N), arrays(S, N), arrays(N))


def predictors(T: int, D: int) -> st.SearchStrategy[Affine]:
    """Parameters of heads that are affine in x_t: a prediction and a head for the variance of D components, at t = 0..T."""
    return st.builds(Affine, arrays(T + 1, D, 2 * D, low=-1, high=1), arrays(T + 1, 2 * D, low=-1, high=1))


def swiss_roll_networks(T: int, units: int, D: int) -> st.SearchStrategy[SwissRoll]:
    """Parameters of the Swiss-roll network."""
    return st.builds(SwissRoll, arrays(units, D), arrays(units, low=-1, high=1), arrays(T + 1, units, 2 * D, low=-1, high=1),
                     arrays(T + 1, 2 * D, low=-1, high=1))


def bit_heads(N: int, D: int) -> st.SearchStrategy[Array]:
    """What a network puts out for bits, never 0 all over."""
    return arrays(N, D).map(lambda z: z + 0.71)


def heartbeat_networks(T: int, bits: int, *, last: str) -> st.SearchStrategy[Heartbeat]:
    """Parameters of the heartbeat's network off their start, one hidden layer wider and one narrower than the input."""
    def build(seed: int) -> Heartbeat:
        rng = np.random.default_rng(seed)
        start = heartbeat.init(rng, T=T, bits=bits, hidden=(bits + 2, bits + 1), last=last)
        return tree_map(lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape), start)

    return st.integers(0, 2 ** 32 - 1).map(build)


# -- images ------------------------------------------------------------------------------------------------------------

seeds = st.integers(0, 2 ** 32 - 1)


def normal_arrays(*shape: int, scale: float = 1.0) -> st.SearchStrategy[Array]:
    """Arrays too large to be drawn number by number: normal ones from a drawn seed."""
    return seeds.map(lambda seed: scale * np.random.default_rng(seed).standard_normal(shape))


def kernels(kernel: tuple[int, int], C: int, K: int, *, scales: int) -> st.SearchStrategy[tuple[Affine, ...]]:
    """The kernels of a multi-scale convolution."""
    return st.tuples(*(st.builds(Affine, normal_arrays(*kernel, C, K, scale=0.3), normal_arrays(K)) for _ in range(scales)))


def alternating(tree: Tree) -> Tree:
    """The same magnitudes, none below 0.1, with signs that alternate from channel to channel: of weights, along both of them.

    All that a unit of such a network adds up for such an image then has the same sign, far from the kink of a ReLU at 0.
    Domain: even widths.
    """
    return tree_map(lambda leaf: alternating_images(leaf) * (_signs(leaf.shape[-2])[:, None] if leaf.ndim > 1 else 1.0), tree)


def alternating_images(x: Array) -> Array:
    """The images that `alternating` speaks of: signs alternate from channel to channel."""
    return np.maximum(np.abs(x), 0.1) * _signs(x.shape[-1])


def _signs(width: int) -> Array:
    return 1.0 - 2.0 * (np.arange(width) % 2)


def image_networks(H: int, W: int, C: int, *, form: str) -> st.SearchStrategy[Image]:
    """Parameters of the image network off their start: both paths, or one; of the released form, `alternating` ones."""
    def build(seed: int, conv: tuple[int, ...], dense: tuple[int, ...]) -> Image:
        rng = np.random.default_rng(seed)
        start = image.init(rng, shape=(H, W, C), conv=conv, scales=2, kernel=(3, 1), dense=dense, dense_features=2, pixelwise=(6,),
                           count=3, form=form)
        parameters = tree_map(lambda leaf: leaf + 0.2 * rng.standard_normal(leaf.shape), start)
        return alternating(parameters) if form == "released" else parameters

    return st.one_of(*(st.builds(build, seeds, st.just(conv), st.just(dense))
                       for conv, dense in (((4,), ()), ((4,), (8,)), ((), (8,)))))
