"""Sampling step by step with given noise: DDIM, of which the ancestral step is one, on all steps of the chain or on some.

Any chain whose steps leave every q(x_t | x_0) as it is has the same bound's ingredients, and there is one for every k:

    x_{t−1} = √a x_0 + k (x_t − √ᾱ_t x_0) + σ z        k² w + σ² = v,

because given x_0 the bracket has variance w, and x_{t−1} has to get v.  DDIM writes σ² = η² β̃.  At η = 1 that is the posterior of
`gaussian`, at η = 0 the step is a map.  The sampler puts x̂_0(x_t) in the place of x_0 (Song, Meng, Ermon 2021).

Exact laws.  With data N(0, 1) and the exact x̂_0 = √ᾱ_t x_t, the step multiplies x_t by g = √(aᾱ_t) + k w and adds σ² = η² β̃, so
that P_{t−1} = g² P_t + σ² from P_T = 1.  At η = 0, g = cos(φ_t − φ_{t−1}) with cos φ = √ᾱ, and the samples have the variance
∏ cos²(φ_t − φ_{t−1}) < 1, near 1 if the steps are many.  At η = 1, g² = 1 − β_t and σ² = β̃_t < β_t: too little again, where the
variance β_t gives P = 1 exactly.  For any data that are normal, x̂_0 is linear, and the same recursion holds.

Fewer steps: the levels ᾱ at the kept steps are a schedule of their own, with the rates of `respaced`, and everything said about a
step holds for it.  The network is asked for the kept t, not for its number among them.

Shapes: x_0, x_t (N, …); beta, log_alpha_bar_prev (N, 1, …).
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import log1p

from refdpm import gaussian, schedule
from refdpm.doors import open_doors
from refdpm.gaussian import Gaussian, shares
from refdpm.later.mean import x_0_from
from refdpm.later.model import Model, as_network, last_step
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, Tree, unbroadcast


# -- one step ----------------------------------------------------------------------------------------------------------

def jump(x_0: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, *, eta: float) -> Gaussian:
    """The step to x_{t−1} that leaves the marginals as they are:

        mean = √a x_0 + k (x_t − √ᾱ_t x_0)        var = η² βv/w        k = √(v g)/w        g = (1−β) v + (1−η²) β.

    Derivation: k² w = v − η² βv/w = v (w − η²β)/w, and w − β = (1−β) v.  The weight of x_0 is √a (1 − √(1−β) k), in which
    1 − (1−β) k² = [w² − (1−β) v g]/w² and w² − (1−β)² v² = β (β + 2 (1−β) v); so without a difference it is

        √a β [β + (1+η²)(1−β) v] / (w [w + √((1−β) v g)]).

    Shapes: x_0 and x_t (N, …); beta, log_alpha_bar_prev (N, 1, …) → mean (N, …), var (N, 1, …).
    Domain: 0 ≤ η ≤ 1.
    Edge: at t = 1 it is exactly x_0 with variance 0.
    """
    c_0, k = _jump_weights(beta, log_alpha_bar_prev, eta)
    _, v, w = shares(beta, log_alpha_bar_prev)
    return Gaussian(c_0 * x_0 + k * x_t, eta * eta * beta * v / w)


def _jump_weights(beta: Array, log_alpha_bar_prev: Array, eta: float) -> tuple[Array, Array]:
    """The weights of x_0 and of x_t."""
    a, v, w = shares(beta, log_alpha_bar_prev)
    kept = (1 - beta) * v
    g = kept + (1 - eta * eta) * beta
    c_0 = np.sqrt(a) * beta * (beta + (1 + eta * eta) * kept) / (w * (w + np.sqrt(kept * g)))
    return c_0, np.sqrt(v * g) / w


def jump_vjp(x_0: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, *, eta: float) -> tuple[Gaussian, Pullback]:
    """Adjoint of `jump`.  With ℓ = log a, κ = 1−β, e = η², the weight c_0 of x_0, R = √(κvg), N = β + (1+e) κv and

        dv = −a dℓ    dw = a dβ − aκ dℓ    dg = (a − e) dβ − aκ dℓ    dN = [1 − (1+e) v] dβ − (1+e) κa dℓ:

        dmean = c_0 dx_0 + k dx_t + x_0 dc_0 + x_t dk        dvar = e [(v/w)² dβ − a (β/w)² dℓ]
        dk    = k [½ dv/v + ½ dg/g − dw/w]                   dR   = ½ R [dv/v + dg/g − dβ/κ]
        dc_0  = c_0 [½ dℓ + dβ/β + dN/N − dw/w − (dw + dR)/(w + R)],

    which cancels for dβ where v is small; there c_0 = √a (1 − R/w) has dc_0 = −√a (R/w) [½ dg/g − ½ dβ/κ − dw/w] without loss.

    Domain: β < 1, t ≥ 2.
    """
    c_0, k = _jump_weights(beta, log_alpha_bar_prev, eta)
    a, v, w = shares(beta, log_alpha_bar_prev)
    keep, e = 1 - beta, eta * eta
    g, N = keep * v + (1 - e) * beta, beta + (1 + e) * keep * v
    R = np.sqrt(keep * v * g)

    dlog_k = (a - e) / g / 2 - a / w
    by_beta = -np.sqrt(a) * R / w * (dlog_k - 1 / keep / 2), k * dlog_k
    dw, dlog_vg = -a * keep, -a / v - a * keep / g
    dc_0 = c_0 * (0.5 - (1 + e) * keep * a / N - dw / w - (dw + R / 2 * dlog_vg) / (w + R))
    by_level = dc_0, k * (dlog_vg / 2 - dw / w)

    def pullback(dq: Gaussian) -> tuple[Array, Array, Array, Array]:
        dc_0, dk = unbroadcast(x_0 * dq.mean, w.shape), unbroadcast(x_t * dq.mean, w.shape)
        dbeta = dc_0 * by_beta[0] + dk * by_beta[1] + dq.var * e * (v / w) ** 2
        dlevel = dc_0 * by_level[0] + dk * by_level[1] - dq.var * e * a * (beta / w) ** 2
        return (unbroadcast(c_0 * dq.mean, x_0.shape), unbroadcast(k * dq.mean, x_t.shape),
                unbroadcast(dbeta, beta.shape), unbroadcast(dlevel, log_alpha_bar_prev.shape))

    return jump(x_0, x_t, beta, log_alpha_bar_prev, eta=eta), pullback


# -- fewer steps -------------------------------------------------------------------------------------------------------

def spaced(T: int, count: int) -> Array:
    """`count` steps out of 1..T as evenly as integers can, the last of them T: round(i T/count), i = 1..count, halves up.

    Raises: ValueError if there are not so many.
    """
    if not 1 <= count <= T:
        raise ValueError(f"count: expected 1 to {T} steps, got {count}")
    return (2 * T * np.arange(1, count + 1) + count) // (2 * count)


def respaced(beta: Array, *, times: Array) -> Array:
    """The schedule of the kept steps: 1 − ᾱ_t/ᾱ_s with s the kept step before t, and s = 0 before the first.

    Each is −expm1 of the sum of log(1−β) over its own steps, not of a difference of levels.

    Shapes: beta (T+1,), times increasing integers (S,) in 1..T → (S+1,).
    Raises: ValueError for other times.
    """
    schedule.check(beta, t=times)
    if times.ndim != 1 or len(times) == 0 or np.any(np.diff(times) < 1):
        raise ValueError(f"times: expected increasing steps (S,) with S ≥ 1, got {times.tolist()}")
    return np.append(0 * beta[:1], -np.expm1(_sums(log1p(-beta[1:]), times)))


def respaced_vjp(beta: Array, *, times: Array) -> tuple[Array, Pullback]:
    """Adjoint of `respaced`:   dβ′_i = (1−β′_i) Σ dβ_r/(1−β_r), over the steps r that it takes at once.   Domain: β < 1."""
    kept = np.exp(_sums(log1p(-beta[1:]), times))

    def pullback(dvalue: Array) -> Array:
        lengths = np.diff(times, prepend=0)
        taken = np.repeat(kept * dvalue[1:], lengths) / (1 - beta[1:times[-1] + 1])
        return np.concatenate([[0.0], taken, np.zeros(len(beta) - 1 - times[-1])])

    return respaced(beta, times=times), pullback


def _sums(terms: Array, times: Array) -> Array:
    """Sums over the terms up to the first of the times, from there to the second, and so on."""
    return np.array([part.sum() for part in np.split(terms, times)[:-1]])


# -- paths -------------------------------------------------------------------------------------------------------------

def ddim_path(parameters: Tree, beta: Array, *, noise: Array, times: Array, model: Model, eta: float, clip: float | None = None
              ) -> Iterator[tuple[int, Array]]:
    """Yields (t, x_t) for t = T, the kept steps below it, and 0, drawn with frozen noise; the last step adds none.

    `clip` cuts x̂_0 off at ±clip; the direction of the step follows from what is left of it.

    Shapes: beta (T+1,), times increasing integers (S,), T the last; noise (S+1, N, …): noise[S] is x_T, noise[i] draws the i-th
    kept step.
    """
    def law(x: Array, step: Step, t: Array) -> Gaussian:
        heads = model.predictor.predict(parameters, x, step, t=t)
        x_0 = x_0_from(heads.mean, x, step, predicts=model.predicts)
        return jump(x_0 if clip is None else np.clip(x_0, -clip, clip), x, step.beta, step.log_alpha_bar_prev, eta=eta)

    return _path(law, respaced(beta, times=times), noise, times)


def ancestral_path(parameters: Tree, beta: Array, *, noise: Array, times: Array, model: Model, end: str = "mean"
                   ) -> Iterator[tuple[int, Array]]:
    """Yields (t, x_t) of the model's own reverse steps, as `ddim_path` does.

    The last step is drawn from p(x_0 | x_1), as model.first has it, with end = "draw"; with "mean" it is that law's mean.

    Raises: ValueError for another end.
    """
    if end not in ("mean", "draw"):
        raise ValueError(f"end: expected 'mean' or 'draw', got {end!r}")
    network, rates = as_network(model), respaced(beta, times=times)
    last = model if end == "draw" or model.first == "fixed" else model._replace(first="beta")       # of the same mean

    def law(x: Array, step: Step, t: Array) -> Gaussian:
        if np.all(t > times[0]) and len(t):
            return network.reverse(parameters, x, step, t=t)
        p = last_step(parameters, rates, x, step, t=t, model=last)
        return p if end == "draw" else Gaussian(p.mean, np.zeros_like(p.var))

    return _path(law, rates, noise, times)


def _path(law: Callable[[Array, Step, Array], Gaussian], beta: Array, noise: Array, times: Array) -> Iterator[tuple[int, Array]]:
    """From noise[S] down, every step drawn from law(x, step, t); `beta` is the schedule of the kept steps."""
    x, level = noise[len(times)], schedule.log_alpha_bar(beta)
    yield int(times[-1]), x
    for i in range(len(times), 0, -1):
        step = schedule.step(beta, level, t=np.full(len(x), i), ndim=x.ndim)
        x = gaussian.draw(law(x, step, np.full(len(x), times[i - 1])), noise=noise[i - 1])
        yield int(times[i - 2]) if i > 1 else 0, x


open_doors(globals())
