"""The losses that networks are trained with: the error of a prediction, squared, weighed and added up.

At x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε a network says something of x_0, and what it should have said is known.  For one example

    loss = W_t Σ (said − target)²        over components,

and W_t is one of `weights.LOSS_WEIGHTS`.  With the weight of the bound the loss is the divergence of the step, where both laws have
the posterior's variance; so every loss that is minimised is the paper's bound, its steps weighed in another way.

The target is made of x_0 and the frozen noise, and not from x_t: at a small 1−ᾱ_t, x_t has forgotten the noise.

Shapes: x_0, noise (N, …), beta (T+1,), t (N,), the columns of a step (N, 1, …); a loss (N,).
"""

import numpy as np

from refdpm import gaussian, schedule
from refdpm.doors import open_doors
from refdpm.later.mean import PREDICTIONS, mean_from_x_0_vjp
from refdpm.later.model import Model
from refdpm.later.variance import read_out_vjp, small
from refdpm.later.weights import loss_weight_vjp
from refdpm.likelihood import total_vjp
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, Tree, unbroadcast


# -- what the network should have said -----------------------------------------------------------------------------------

def velocity(x_0: Array, log_alpha_bar: Array, *, noise: Array) -> Array:
    """v = √ᾱ ε − √(1−ᾱ) x_0."""
    return np.exp(log_alpha_bar / 2) * noise - np.sqrt(-np.expm1(log_alpha_bar)) * x_0


def velocity_vjp(x_0: Array, log_alpha_bar: Array, *, noise: Array) -> tuple[Array, Pullback]:
    """Adjoint of `velocity`.  With s = √ᾱ and σ = √(1−ᾱ),   dv = −σ dx_0 + ½ [s ε + (ᾱ/σ) x_0] dℓ."""
    s, sigma = np.exp(log_alpha_bar / 2), np.sqrt(-np.expm1(log_alpha_bar))

    def pullback(dv: Array) -> tuple[Array, Array]:
        dlevel = (s * noise + s * s / sigma * x_0) / 2 * dv
        return unbroadcast(-sigma * dv, x_0.shape), unbroadcast(dlevel, log_alpha_bar.shape)

    return velocity(x_0, log_alpha_bar, noise=noise), pullback


def score(log_alpha_bar: Array, *, noise: Array) -> Array:
    """∇ log q(x_t | x_0) = −ε/√(1−ᾱ)."""
    return -noise / np.sqrt(-np.expm1(log_alpha_bar))


def score_vjp(log_alpha_bar: Array, *, noise: Array) -> tuple[Array, Pullback]:
    """Adjoint of `score`.  With σ² = 1−ᾱ and dσ = −½ (ᾱ/σ) dℓ,   dscore = −½ ᾱ ε/σ³ dℓ."""
    value, var = score(log_alpha_bar, noise=noise), -np.expm1(log_alpha_bar)

    def pullback(dscore: Array) -> Array:
        return unbroadcast(np.exp(log_alpha_bar) / (2 * var) * value * dscore, log_alpha_bar.shape)

    return value, pullback


def target(x_0: Array, step: Step, *, noise: Array, predicts: str) -> Array:
    """What a network of that kind should say at x_t: x_0, the noise, v, the score, or the posterior's mean.

    Shapes: x_0 and noise (N, …), step three columns (N, 1, …) → (N, …).
    Raises: ValueError for another name.
    """
    return target_vjp(x_0, step, noise=noise, predicts=predicts)[0]


def target_vjp(x_0: Array, step: Step, *, noise: Array, predicts: str) -> tuple[Array, Pullback]:
    """Adjoint of `target`; what it does not take from the step gets zeros."""
    none = Step(*map(np.zeros_like, step))
    match predicts:
        case "x_0":
            return x_0, lambda dsaid: (dsaid, none)
        case "noise":
            return noise + np.zeros_like(x_0), lambda dsaid: (np.zeros_like(x_0), none)
        case "v":
            v, back_v = velocity_vjp(x_0, step.log_alpha_bar, noise=noise)

            def pullback_v(dv: Array) -> tuple[Array, Step]:
                dx_0, dlevel = back_v(dv)
                return dx_0, none._replace(log_alpha_bar=dlevel)

            return v, pullback_v
        case "score":
            value, back_score = score_vjp(step.log_alpha_bar, noise=noise)
            return value, lambda dscore: (np.zeros_like(x_0), none._replace(log_alpha_bar=back_score(dscore)))
        case "mean":
            return _posterior_mean_vjp(x_0, step, noise)
    raise ValueError(f"predicts: expected one of {PREDICTIONS}, got {predicts!r}")


def _posterior_mean_vjp(x_0: Array, step: Step, noise: Array) -> tuple[Array, Pullback]:
    q, back_marginal = gaussian.marginal_vjp(x_0, step.log_alpha_bar)
    x_t, back_draw = gaussian.draw_vjp(q, noise=noise)
    mean, back_mean = mean_from_x_0_vjp(x_0, x_t, step.beta, step.log_alpha_bar_prev)

    def pullback(dmean: Array) -> tuple[Array, Step]:
        dx_0_said, dx_t, dbeta, dprev = back_mean(dmean)
        dx_0, dlevel = back_marginal(back_draw(dx_t))
        return dx_0 + dx_0_said, Step(dbeta, dprev, dlevel)

    return mean, pullback


# -- the loss ------------------------------------------------------------------------------------------------------------

def training_loss(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, model: Model, weight: str,
                  gamma: float) -> Array:
    """W_t Σ (said − target)² of each example, with what the network says at x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε and t.

    Shapes: beta (T+1,), x_0 and noise (N, …), t integers (N,) → (N,).
    """
    return training_loss_vjp(parameters, beta, x_0, noise=noise, t=t, model=model, weight=weight, gamma=gamma)[0]


def training_loss_vjp(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, model: Model, weight: str,
                      gamma: float) -> tuple[Array, Pullback]:
    """Adjoint of `training_loss`.  With e = said − target,   d(W e²) = 2 W e (dsaid − dtarget) + e² dW."""
    step, back_step = schedule.step_at_vjp(beta, t=t, ndim=x_0.ndim)
    q, back_marginal = gaussian.marginal_vjp(x_0, step.log_alpha_bar)
    x_t, back_draw = gaussian.draw_vjp(q, noise=noise)
    heads, back_predict = model.predictor.predict_vjp(parameters, x_t, step, t=t)
    right, back_target = target_vjp(x_0, step, noise=noise, predicts=model.predicts)
    W, back_weight = loss_weight_vjp(step.beta, step.log_alpha_bar_prev, predicts=model.predicts, weight=weight, gamma=gamma)
    error = heads.mean - right
    loss, back_total = total_vjp(W * error * error)

    def pullback(dloss: Array) -> tuple[Tree, Array, Array]:
        dper_component = back_total(dloss)
        derror = 2 * W * error * dper_component
        dW = (error * error * dper_component).sum(axis=tuple(range(1, error.ndim)), keepdims=True)
        dbeta_W, dprev_W = back_weight(dW)
        dx_0_target, dstep_target = back_target(-derror)
        dparameters, dx_t, dstep_said = back_predict(heads._replace(mean=derror, var=np.zeros_like(heads.var)))
        dx_0, dlevel = back_marginal(back_draw(dx_t))
        dstep = Step(dbeta_W, dprev_W, dlevel)
        dbeta = back_step(Step(*(a + b + c for a, b, c in zip(dstep, dstep_target, dstep_said))))
        return dparameters, dbeta, dx_0 + dx_0_target

    return loss, pullback


def hybrid_loss(parameters: Tree, *, held: Tree, beta: Array, x_0: Array, noise: Array, t: Array, model: Model, share: float
                ) -> Array:
    """Σ [(said − target)² + share · KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t))] of each example, t ≥ 2, in nats.

    p has the model's variance and the mean that `held` says: the same parameters, held constant.  So only the variance learns from
    the bound, which is noisy, and what the network predicts learns from the simple loss alone.

    Shapes: beta (T+1,), x_0 and noise (N, …), t integers (N,) in 2..T → (N,).
    Source: Nichol, Dhariwal 2021.
    """
    return hybrid_loss_vjp(parameters, held=held, beta=beta, x_0=x_0, noise=noise, t=t, model=model, share=share)[0]


def hybrid_loss_vjp(parameters: Tree, *, held: Tree, beta: Array, x_0: Array, noise: Array, t: Array, model: Model, share: float
                    ) -> tuple[Array, Pullback]:
    """Adjoint of `hybrid_loss`, for the parameters alone."""
    step = schedule.step_at(beta, t=t, ndim=x_0.ndim)
    x_t = gaussian.draw(gaussian.marginal(x_0, step.log_alpha_bar), noise=noise)
    heads, back_predict = model.predictor.predict_vjp(parameters, x_t, step, t=t)
    still = heads._replace(mean=model.predictor.predict(held, x_t, step, t=t).mean)
    p, back_read = read_out_vjp(still, x_t, step, small(step.beta, step.log_alpha_bar_prev), predicts=model.predicts,
                                variance=model.variance)
    kl, back_kl = gaussian.kl_vjp(gaussian.posterior(x_t, x_0, step.beta, step.log_alpha_bar_prev), p)
    error = heads.mean - target(x_0, step, noise=noise, predicts=model.predicts)
    loss, back_total = total_vjp(error * error + share * kl)

    def pullback(dloss: Array) -> Tree:
        dper_component = back_total(dloss)
        dhead = back_read(back_kl(share * dper_component)[1])[0].var
        return back_predict(heads._replace(mean=2 * error * dper_component, var=dhead))[0]

    return loss, pullback


open_doors(globals())
