"""The model times a second factor: samples of p(x_0) r(x_0)/Z without training anew, for denoising and inpainting (sec. 2.5).

Multiply every marginal of the reverse chain by a factor, p̃(x_t) = p(x_t) r_t(x_t)/Z̃_t (eq. 16).  The steps p(x_t | x_{t+1})
carry p to p (eq. 17); wanted are steps p̃(x_t | x_{t+1}) that carry p̃ to p̃ (eq. 18).  Put eq. 16 into eq. 18 (eq. 19), collect
the factors under the integral (eq. 20), and compare with eq. 17: it is enough that

    p̃(x_t | x_{t+1}) = p(x_t | x_{t+1}) · r_t(x_t)/r_{t+1}(x_{t+1}) · Z̃_{t+1}/Z̃_t                                     (eq. 21)

which is a law of x_t only if its integral is 1.  The paper normalises it, with Z̃(x_{t+1}) = ∫ p(x_t | x_{t+1}) r_t(x_t) dx_t,

    p̃(x_t | x_{t+1}) = p(x_t | x_{t+1}) r_t(x_t)/Z̃(x_{t+1})                                                             (eq. 22)

and that is the step taken here.  **It is an approximation.**  What normalising drops is Z̃(x_{t+1})/r_{t+1}(x_{t+1}): a factor
1 + O(β) in one step, but there are about 1/β steps, so it is of order one in the end and does not go away as β → 0.

    r_t = r                  the same at every t (eq. 23, and the released code).  r acts too strongly: if p = π, the chain tends
                             to p r² instead of p r (below)
    r_t = r^((T−t)/T)        nothing at T, all of it at 0 (eq. 23).  Biased too, now this way and now that
    r_t = E_p[r(x_0) | x_t]  exact, because then E[r_t(x_t) | x_{t+1}] = r_{t+1}(x_{t+1}) and eq. 21 is a law as it stands (Doob's
                             h-transform).  It needs the whole model below t: `expected` has it for linear Gaussian steps

Why p r²: let p = π and x, y be neighbours in the chain.  The step k(y | x) = T_π(y | x) r(y)/Z̃(x) has the law m = π r Z̃ for its
stationary one, because m(x) k(y | x) = π(x) T_π(y | x) r(x) r(y) does not change when x and y change places (T_π obeys detailed
balance).  As β → 0 a step stays near x, Z̃(x) → r(x), and m → π r².  Or seen as a force: a small step moves x by
F = β (∇log r − x/2) and adds noise of variance β, and the density of such a walk in equilibrium is exp(2 ∫F/β) ∝ π r²; half the
pull towards large r would be right.

For p = N(0, 1), r = N(2; x, 1) and β_t = 1/(T−t+1) the law wanted is N(1, ½); the three give, as T → ∞, means 1.33, 0.92, 1 and
variances 0.33, 0.43, 0.5.
A known component held at its value at every t (inpainting) is the first choice with a point for r, and as biased: of two
components with correlation 0.8 and one held at 1.5, the other gets mean 0.91 and variance 0.49 instead of 1.2 and 0.36.

Here r is a law of the kernel's own family, up to a constant.  Normal: N(mean, var), where variance 0 is a point and infinite
variance says nothing.  Bits: logit = log r(1) − log r(0), where ±∞ is a known bit and 0 says nothing.  Then the product is exact.
For any other r on real numbers `perturbed` has the product to first order (eq. 61), from the gradient of log r.

A *factor* is a function (p, t) → p̃: the law p of x_t, multiplied by r_t.

For normal noise there is a way round the bias, without a factor (`enter`, `denoiser`): √ᾱ_t times an image with noise of variance
(1−ᾱ_t)/ᾱ_t *is* a state x_t of the chain, and the steps below t draw from the model's p(x_0 | x_t).
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from refdpm import schedule
from refdpm.binomial import Bernoulli
from refdpm.doors import open_doors
from refdpm.gaussian import Gaussian
from refdpm.paper import eq
from refdpm.sample import reverse_path
from refdpm.vjp import Array, Module, Pullback, Tree, unbroadcast

Law = TypeVar("Law", Gaussian, Bernoulli)
Factor = Callable[[Any, int], Any]

CHOICES = ("constant", "ramp")


# -- one law times r ---------------------------------------------------------------------------------------------------

@eq("22", "52", "53")
def times_gaussian(p: Gaussian, r: Gaussian) -> Gaussian:
    """p(x) r(x)/Z for normal p and r.   With k = p.var/(p.var + r.var), the share of r,

        mean = (1−k) p.mean + k r.mean        var = (1−k) p.var.

    Derivation: precisions add, 1/var = 1/p.var + 1/r.var, and mean/var = p.mean/p.var + r.mean/r.var.
    Edge: r.var = 0 gives the point r.mean, exactly; r.var = ∞ gives p.
    Domain: p.var > 0, r.var ≥ 0, r.mean finite.
    """
    rest, k = _shares(p.var, r.var)
    return Gaussian(rest * p.mean + k * r.mean, rest * p.var)


def _shares(p_var: Array, r_var: Array) -> tuple[Array, Array]:
    """The shares r_var/(p_var + r_var) = 1 − k and p_var/(p_var + r_var) = k, neither by subtraction."""
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / (1 + p_var / r_var), p_var / (p_var + r_var)


def times_gaussian_vjp(p: Gaussian, r: Gaussian) -> tuple[Gaussian, Pullback]:
    """Adjoint of `times_gaussian`:

        dmean = (1−k) dp.mean + k dr.mean + (r.mean − p.mean) dk        dvar = (1−k)² dp.var + k² dr.var
        dk    = [k (1−k) dp.var − k² dr.var]/p.var.
    """
    rest, k = _shares(p.var, r.var)

    def pullback(dproduct: Gaussian) -> tuple[Gaussian, Gaussian]:
        dk = unbroadcast((r.mean - p.mean) * dproduct.mean, k.shape) / p.var
        dp_var, dr_var = rest * (k * dk + rest * dproduct.var), k * k * (dproduct.var - dk)
        return (Gaussian(unbroadcast(rest * dproduct.mean, p.mean.shape), unbroadcast(dp_var, p.var.shape)),
                Gaussian(unbroadcast(k * dproduct.mean, r.mean.shape), unbroadcast(dr_var, r.var.shape)))

    return times_gaussian(p, r), pullback


@eq("22", "App.1 B perturbed")
def times_bernoulli(p: Bernoulli, r: Bernoulli) -> Bernoulli:
    """p(x) r(x)/Z for bits:   logit = p.logit + log r(1) − log r(0).

    Derivation: P(1) = c d/(c d + (1−c)(1−d)) with c = P(1) under p and d = r(1)/(r(0) + r(1)); the odds are multiplied.
    Edge: an infinite logit of r is a known bit.
    """
    return Bernoulli(p.logit + r.logit)


def times_bernoulli_vjp(p: Bernoulli, r: Bernoulli) -> tuple[Bernoulli, Pullback]:
    """Adjoint of `times_bernoulli`:   dlogit = dp.logit + dr.logit."""

    def pullback(dproduct: Bernoulli) -> tuple[Bernoulli, Bernoulli]:
        return (Bernoulli(unbroadcast(dproduct.logit, p.logit.shape)), Bernoulli(unbroadcast(dproduct.logit, r.logit.shape)))

    return times_bernoulli(p, r), pullback


@eq("60", "61", "App.1 G perturbed")
def perturbed(p: Gaussian, gradient: Array) -> Gaussian:
    """p(x) r(x)/Z to first order in log r:   N(p.mean + p.var·g, p.var), where g = ∇log r at p.mean.

    Shapes: p.mean, p.var and g (N, …) → mean and var (N, …).
    Derivation: p r is exp(−E) with the energy E(x) = (x − p.mean)²/(2 p.var) − log r(x) (eqs. 54, 55).  About the mean
    log r(x) ≈ log r(p.mean) + g·(x − p.mean) (eq. 56), which makes E quadratic (eq. 57).  Multiplied out (eq. 58), with the square
    completed (eq. 59) it is (x − p.mean − p.var·g)²/(2 p.var) and a constant, which normalising takes away (eqs. 60, 61).
    For a normal r the mean is off by (r.mean − p.mean)·(p.var/r.var)² and the variance by a share p.var/r.var, to leading order.
    """
    return Gaussian(p.mean + p.var * gradient, p.var)


def perturbed_vjp(p: Gaussian, gradient: Array) -> tuple[Gaussian, Pullback]:
    """Adjoint of `perturbed`, for a gradient that is held apart from p:

        dmean = dp.mean + p.var dg + g dp.var        dvar = dp.var.
    """

    def pullback(dproduct: Gaussian) -> tuple[Gaussian, Array]:
        dvar = unbroadcast(gradient * dproduct.mean, p.var.shape) + dproduct.var
        return Gaussian(unbroadcast(dproduct.mean, p.mean.shape), dvar), unbroadcast(p.var * dproduct.mean, gradient.shape)

    return perturbed(p, gradient), pullback


def times(p: Law, r: Law) -> Law:
    """p(x) r(x)/Z, for whichever of the two families p and r belong to."""
    if isinstance(p, Gaussian):
        return times_gaussian(p, r)
    return times_bernoulli(p, r)


# -- r at every t ------------------------------------------------------------------------------------------------------

@eq("23")
def exponent(t: int, *, T: int, choice: str = "constant") -> float:
    """The power to which r is raised at t: always 1, or (T−t)/T.

    Raises: ValueError for a choice that is not one of `CHOICES`.
    """
    if choice not in CHOICES:
        raise ValueError(f"choice: expected one of {CHOICES}, got {choice!r}")
    return 1.0 if choice == "constant" else (T - t) / T


def power(r: Law, e: float) -> Law:
    """r^e:   N(mean, var/e), or e·logit.   Edge: a point stays a point, until e = 0, where r says nothing."""
    if isinstance(r, Gaussian):
        return Gaussian(r.mean, r.var / e if e else np.full(r.var.shape, np.inf))
    return Bernoulli(r.logit * e if e else np.zeros(r.logit.shape))


def expected(r: Gaussian, gain: Array, var: Array) -> Gaussian:
    """E[r(x_{t−1}) | x_t] as a function of x_t, for the step N(gain·x_t, var):   N(r.mean/gain, (r.var + var)/gain²).

    Applied from r_0 = r upwards it gives E_p[r(x_0) | x_t] for every t, the choice for which the samples are exact.

    Derivation: ∫ N(x; gain·x_t, var) N(x; r.mean, r.var) dx = N(gain·x_t; r.mean, r.var + var).
    Edge: where gain = 0, r says nothing about x_t any more: N(0, ∞).
    """
    nothing = gain == 0
    safe = np.where(nothing, 1.0, gain)
    return Gaussian(np.where(nothing, 0.0, r.mean / safe), np.where(nothing, np.inf, (r.var + var) / (safe * safe)))


def powers(r: Law, *, T: int, choice: str = "constant") -> Factor:
    """The factor with r_t = r, or r_t = r^((T−t)/T) for `choice="ramp"`; the product is exact."""
    return lambda p, t: times(p, power(r, exponent(t, T=T, choice=choice)))


def guided(gradient: Callable[[Array], Array], *, T: int, choice: str = "constant") -> Factor:
    """The factor of any r on real numbers, by gradient(x) = ∇log r(x), taken at the mean of each step; to first order (eq. 61)."""
    return lambda p, t: perturbed(p, exponent(t, T=T, choice=choice) * gradient(p.mean))


# -- what is known of x_0 ----------------------------------------------------------------------------------------------

def noisy(y: Array, *, std: float) -> Gaussian:
    """r(x) = N(y; x, std²): y is x with normal noise added."""
    return Gaussian(y, np.full(np.shape(y), std * std))


def flipped(y: Array, *, rate: float) -> Bernoulli:
    """r(x) = P(y | x): y is x with each bit flipped with probability `rate`."""
    return Bernoulli((2 * y - 1) * (np.log1p(-rate) - np.log(rate)))


def known(y: Array, *, mask: Array, kernel: Module) -> Any:
    """r(x) = δ(x − y) where `mask` is true and 1 elsewhere, in the family of the kernel.

    Shapes: y and mask (N, …), or broadcasting to that; what y holds where the mask is false is never used.
    """
    if isinstance(kernel.prior(np.shape(y)), Gaussian):
        return Gaussian(np.where(mask, y, 0.0), np.where(mask, 0.0, np.inf))
    return Bernoulli(np.where(mask, np.where(y > 0.5, np.inf, -np.inf), 0.0))


# -- the chain ---------------------------------------------------------------------------------------------------------

@eq("16", "22")
def posterior_path(parameters: Tree, beta: Array, *, noise: Array, kernel: Module, network: Module, factor: Factor
                   ) -> Iterator[tuple[int, Array]]:
    """Yields (t, x_t) for t = T, …, 0: `sample.reverse_path` with every law it draws from multiplied by r_t.

    That is π(x_T) at the start (not the noisy image itself, where the released code starts), each learned step, and the last,
    fixed step p(x_0 | x_1).

    Shapes: beta (T+1,), noise (T+1, N, …); noise[t] draws x_t.
    """
    def reverse(parameters: Tree, x_t: Array, step: Any, *, t: Array) -> Any:
        return factor(network.reverse(parameters, x_t, step, t=t), int(np.max(t, initial=1)) - 1)

    ends = SimpleNamespace(draw=kernel.draw, prior=lambda shape: factor(kernel.prior(shape), len(beta) - 1),
                           forward=lambda x_1, beta_1: factor(kernel.forward(x_1, beta_1), 0))
    return reverse_path(parameters, beta, noise=noise, kernel=ends, network=SimpleNamespace(reverse=reverse))


def posterior_sample(parameters: Tree, beta: Array, *, noise: Array, kernel: Module, network: Module, factor: Factor) -> Array:
    """x_0 of each path of `posterior_path`."""
    path = posterior_path(parameters, beta, noise=noise, kernel=kernel, network=network, factor=factor)
    return next(x for t, x in path if t == 0)


def denoise(parameters: Tree, beta: Array, y: Array, *, noise_std: float, noise: Array, kernel: Module, network: Module,
            choice: str = "constant") -> Array:
    """Samples of x_0 given y = x_0 + noise_std·(normal noise).

    Shapes: beta (T+1,), noise (T+1, N, …), y (N, …) or (1, …), which makes N samples for one y.
    """
    factor = powers(noisy(y, std=noise_std), T=len(beta) - 1, choice=choice)
    return posterior_sample(parameters, beta, noise=noise, kernel=kernel, network=network, factor=factor)


def enter(parameters: Tree, beta: Array, y: Array, *, noise_std: float, noise: Array, kernel: Module, network: Module) -> Array:
    """Samples of x_0 given y = x_0 + noise_std·(normal noise): the reverse chain from √ᾱ_t y down, with no factor and no bias.

    No bias against the model's own x_0, whose fixed last step has put the noise of β_1 on it: noise far below √β_1 cannot be seen.

    t is the first step with at least as much noise, (1−ᾱ_t)/ᾱ_t ≥ noise_std²; what is missing is added, from noise[T].

    Shapes: as in `denoise`.   Raises: ValueError if the chain never has as much noise.
    """
    level = schedule.log_alpha_bar(schedule.checked(beta))
    missing = np.expm1(-level) - noise_std * noise_std
    if missing[-1] < 0:
        raise ValueError(f"noise_std: expected at most that of x_T, {np.sqrt(np.expm1(-level[-1])):.4g}, got {noise_std}")
    t = max(1, int(np.argmax(missing >= 0)))
    x_t = np.exp(level[t] / 2) * (y + np.sqrt(missing[t]) * noise[-1])
    start = SimpleNamespace(draw=kernel.draw, prior=lambda shape: Gaussian(x_t, np.zeros_like(x_t)), forward=kernel.forward)
    return next(x for s, x in reverse_path(parameters, beta[:t + 1], noise=noise[:t + 1], kernel=start, network=network) if s == 0)


def denoiser(parameters: Tree, beta: Array, x_t: Array, *, t: int, kernel: Module, network: Module) -> Array:
    """E[x_0 | x_t] as the reverse step at t ≥ 2 implies it: its mean is the posterior's, c_0 E[x_0 | x_t] + c_t x_t.

    Shapes: x_t (N, …), which is √ᾱ_t times a noisy image → (N, …).
    """
    schedule.check(beta, t=t, first=2)
    rows = np.full(len(x_t), t)
    step = schedule.step_at(beta, t=rows, ndim=x_t.ndim)
    p = network.reverse(parameters, x_t, step, t=rows)
    nothing, levels = np.zeros_like(x_t), (step.beta, step.log_alpha_bar_prev)
    c_0 = kernel.posterior(nothing, nothing + 1, *levels).mean
    return (p.mean - kernel.posterior(x_t, nothing, *levels).mean) / c_0


def inpaint(parameters: Tree, beta: Array, y: Array, *, mask: Array, noise: Array, kernel: Module, network: Module,
            choice: str = "constant") -> Array:
    """Samples of x_0 that agree with y where `mask` is true, bit for bit.   Shapes: as in `denoise`; mask like y."""
    factor = powers(known(y, mask=mask, kernel=kernel), T=len(beta) - 1, choice=choice)
    return posterior_sample(parameters, beta, noise=noise, kernel=kernel, network=network, factor=factor)


open_doors(globals())
