"""Straight paths: the same chain once more, with the noise's share of x as its time.

    x_t = (1 − t) x_0 + t ε,   0 ≤ t ≤ 1,   so that dx_t/dt = ε − x_0, the velocity v, is the same all along the path

(Liu, Gong, Liu 2023; Lipman et al. 2023).  Divided by 1 − t this is x_0 + σ ε of `sigma` with σ = t/(1 − t), and divided by
√((1−t)² + t²) the x_t of the chain at ᾱ = (1−t)²/((1−t)² + t²).  So whatever is said of levels holds here, with weights that
follow: a network that says v says x̂_0 = x_t − t v and ε̂ = x_t + (1 − t) v.

A step of Euler's rule from t to t' is x_t + (t' − t) v = (1 − t') x̂_0 + t' ε̂: it keeps the noise that it finds, and is the
step of `solver.euler`, and of DDIM.  Straight paths change nothing at first order but which levels are visited.

Steps may add noise and still have the laws of the path.  With variance w dt added in every dt, the slope has to take away what
the noise spreads: going back from t to t' = t − h,

    x' = x − h (v − ½ w s) + √(w h) ε,      s = −ε̂/t,  the score

Derivation: the density changes by −div(v p) along v, and noise adds ½ w Δp = ½ w div(p s) whichever way one goes; so −h v with
noise needs h ½ w s besides.  In the chain the same freedom is k² w + σ² = v of `sampler`.

Others let t run from noise at 0 to data at 1: that is 1 − t here, and v with the other sign.

Shapes: states and predictions (N, …); time (N, 1, …), or one number.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.special import log1p

from refdpm.activation import sigmoid
from refdpm.doors import open_doors
from refdpm.vjp import Array, Pullback, unbroadcast


# -- path and velocity -----------------------------------------------------------------------------------------------------

def between(x_0: Array, noise: Array, time: Array) -> Array:
    """x_t = (1 − t) x_0 + t ε."""
    return (1 - time) * x_0 + time * noise


def between_vjp(x_0: Array, noise: Array, time: Array) -> tuple[Array, Pullback]:
    """Adjoint of `between`:   dx_t = (1 − t) dx_0 + t dε + (ε − x_0) dt."""
    def pullback(d: Array) -> tuple[Array, Array, Array]:
        return (unbroadcast((1 - time) * d, x_0.shape), unbroadcast(time * d, noise.shape),
                unbroadcast((noise - x_0) * d, time.shape))

    return between(x_0, noise, time), pullback


def velocity(x_0: Array, noise: Array) -> Array:
    """v = ε − x_0, what a network is to say."""
    return noise - x_0


def velocity_vjp(x_0: Array, noise: Array) -> tuple[Array, Pullback]:
    """Adjoint of `velocity`:   dv = dε − dx_0."""
    return velocity(x_0, noise), lambda d: (unbroadcast(-d, x_0.shape), unbroadcast(d, noise.shape))


def x_0_from_velocity(velocity: Array, x_t: Array, time: Array) -> Array:
    """x_0 = x_t − t v."""
    return x_t - time * velocity


def x_0_from_velocity_vjp(velocity: Array, x_t: Array, time: Array) -> tuple[Array, Pullback]:
    """Adjoint of `x_0_from_velocity`:   dx_0 = dx_t − t dv − v dt."""
    def pullback(d: Array) -> tuple[Array, Array, Array]:
        return unbroadcast(-time * d, velocity.shape), unbroadcast(d, x_t.shape), unbroadcast(-velocity * d, time.shape)

    return x_0_from_velocity(velocity, x_t, time), pullback


def noise_from_velocity(velocity: Array, x_t: Array, time: Array) -> Array:
    """ε = x_t + (1 − t) v."""
    return x_t + (1 - time) * velocity


def noise_from_velocity_vjp(velocity: Array, x_t: Array, time: Array) -> tuple[Array, Pullback]:
    """Adjoint of `noise_from_velocity`:   dε = dx_t + (1 − t) dv − v dt."""
    def pullback(d: Array) -> tuple[Array, Array, Array]:
        return unbroadcast((1 - time) * d, velocity.shape), unbroadcast(d, x_t.shape), unbroadcast(-velocity * d, time.shape)

    return noise_from_velocity(velocity, x_t, time), pullback


def velocity_from_x_0(x_0: Array, x_t: Array, time: Array) -> Array:
    """v = (x_t − x_0)/t.   Domain: t > 0."""
    return (x_t - x_0) / time


def velocity_from_x_0_vjp(x_0: Array, x_t: Array, time: Array) -> tuple[Array, Pullback]:
    """Adjoint of `velocity_from_x_0`:   dv = (dx_t − dx_0 − v dt)/t."""
    value = velocity_from_x_0(x_0, x_t, time)

    def pullback(d: Array) -> tuple[Array, Array, Array]:
        return unbroadcast(-d / time, x_0.shape), unbroadcast(d / time, x_t.shape), unbroadcast(-value * d / time, time.shape)

    return value, pullback


def score_from_velocity(velocity: Array, x_t: Array, time: Array) -> Array:
    """s = −ε/t = −(x_t + (1 − t) v)/t.   Derivation: x_t given x_0 is N((1 − t) x_0, t²), whose score is ((1 − t) x_0 − x_t)/t².

    Domain: t > 0.
    """
    return -(x_t + (1 - time) * velocity) / time


def score_from_velocity_vjp(velocity: Array, x_t: Array, time: Array) -> tuple[Array, Pullback]:
    """Adjoint of `score_from_velocity`:   ds = −(dx_t + (1 − t) dv)/t + (v − s)/t dt."""
    score = score_from_velocity(velocity, x_t, time)

    def pullback(d: Array) -> tuple[Array, Array, Array]:
        return (unbroadcast((time - 1) / time * d, velocity.shape), unbroadcast(-d / time, x_t.shape),
                unbroadcast((velocity - score) / time * d, time.shape))

    return score, pullback


# -- the level ---------------------------------------------------------------------------------------------------------------

def level(time: Array) -> Array:
    """ℓ = log ᾱ = −log(1 + σ²), σ = t/(1 − t).   Domain: t < 1."""
    sigma = time / (1 - time)
    return -log1p(sigma * sigma)


def level_vjp(time: Array) -> tuple[Array, Pullback]:
    """Adjoint of `level`:   dℓ = −2 t/[(1 − t) ((1 − t)² + t²)] dt."""
    rest = 1 - time
    return level(time), lambda dlevel: -2 * time / (rest * (rest * rest + time * time)) * dlevel


def bound_weight(time: Array) -> Array:
    """(1 − t)/t, the weight of (v̂ − v)² with which the loss is the paper's bound for ever more steps.

    Derivation: the bound counts ½ (x̂_0 − x_0)² for all that SNR drops (`weights`).  Here SNR = ((1 − t)/t)², so that it drops by
    2 (1 − t)/t³ in a unit of t, and an error of v is one of x_0 that is t times as large.   Domain: t > 0.
    """
    return (1 - time) / time


def bound_weight_vjp(time: Array) -> tuple[Array, Pullback]:
    """Adjoint of `bound_weight`:   dw = −dt/t²."""
    return bound_weight(time), lambda d: -d / time / time


def shifted(time: Array, *, shift: float) -> Array:
    """s t/(1 + (s − 1) t): σ = t/(1 − t) times s, for data whose noise shows less because there is more of it to average."""
    return shift * time / (1 + (shift - 1) * time)


def shifted_vjp(time: Array, *, shift: float) -> tuple[Array, Pullback]:
    """Adjoint of `shifted`:   dt' = s/(1 + (s − 1) t)² dt."""
    return shifted(time, shift=shift), lambda d: shift / (1 + (shift - 1) * time) ** 2 * d


def logit_normal(mean: Array, spread: Array, *, noise: Array) -> Array:
    """t = 1/(1 + exp(−m − s z)), a time at which to train, for unit normal z."""
    return sigmoid(mean + spread * noise)


def logit_normal_vjp(mean: Array, spread: Array, *, noise: Array) -> tuple[Array, Pullback]:
    """Adjoint of `logit_normal`:   dt = t (1 − t) (dm + z ds)."""
    logit = mean + spread * noise
    slope = sigmoid(logit) * sigmoid(-logit)
    return logit_normal(mean, spread, noise=noise), lambda d: (
        unbroadcast(slope * d, mean.shape), unbroadcast(noise * slope * d, spread.shape))


# -- a step ------------------------------------------------------------------------------------------------------------------

def step(x_t: Array, velocity: Array, time: Array, time_next: Array) -> Array:
    """x_t + (t' − t) v: Euler's rule along the path."""
    return x_t + (time_next - time) * velocity


def step_vjp(x_t: Array, velocity: Array, time: Array, time_next: Array) -> tuple[Array, Pullback]:
    """Adjoint of `step`:   dx' = dx_t + (t' − t) dv + v (dt' − dt)."""
    def pullback(d: Array) -> tuple[Array, Array, Array, Array]:
        return (unbroadcast(d, x_t.shape), unbroadcast((time_next - time) * d, velocity.shape),
                unbroadcast(-velocity * d, time.shape), unbroadcast(velocity * d, time_next.shape))

    return step(x_t, velocity, time, time_next), pullback


def noisy_step(x_t: Array, velocity: Array, *, time: Array, time_next: Array, diffusion: Array, noise: Array) -> Array:
    """x_t + (t' − t) (v − ½ w s) + √(w (t − t')) ε with w = `diffusion`; at w = 0 it is `step`.

    Domain: 0 ≤ t' ≤ t, 0 < t, 0 ≤ w.
    """
    return noisy_step_vjp(x_t, velocity, time=time, time_next=time_next, diffusion=diffusion, noise=noise)[0]


def noisy_step_vjp(x_t: Array, velocity: Array, *, time: Array, time_next: Array, diffusion: Array, noise: Array
                   ) -> tuple[Array, Pullback]:
    """Adjoint of `noisy_step`: of `step` along v − ½ w s, and of the score in it."""
    score, back_score = score_from_velocity_vjp(velocity, x_t, time)
    there, back_step = step_vjp(x_t, velocity - diffusion / 2 * score, time, time_next)

    def pullback(d: Array) -> tuple[Array, Array]:
        dx_t, dslope, *_ = back_step(d)
        dvelocity, dx_of_score, _ = back_score(-diffusion / 2 * dslope)
        return dx_t + dx_of_score, unbroadcast(dslope, velocity.shape) + dvelocity

    return there + np.sqrt(diffusion * (time - time_next)) * noise, pullback


Flow = Callable[[Array, Array], Array]                               # v(x_t, t)


def flow_step(x_t: Array, time: Array, time_next: Array, *, flow: Flow) -> Array:
    """`step` with v from a network."""
    return step(x_t, flow(x_t, time), time, time_next)


def sample(x_t: Array, count: int, *, flow: Flow) -> Array:
    """x_0 by `count` such steps of one length, from x_t at t = 1.   `count` steps have count + 1 times."""
    for time, after in pairwise(np.linspace(1.0, 0.0, count + 1)):
        x_t = flow_step(x_t, np.asarray(time), np.asarray(after), flow=flow)
    return x_t


open_doors(globals())
