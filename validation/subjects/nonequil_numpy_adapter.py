"""The functions of nonequil_numpy under the kit's names.  PRECISION=float32 runs all of it in single."""
import os

import numpy as np

import nonequil_numpy as ne

dtype = os.environ.get("PRECISION", "float64")
WIDTH = os.environ.get("WIDTH", "fixed")


def array(a):
    a = np.asarray(a)
    return a.astype(dtype) if a.dtype.kind == "f" else a


def kernel(model, beta): return (ne.fixed_width if WIDTH == "fixed" else ne.free_width)(model, beta)


def linear_schedule(T, beta_1, beta_T): return ne.ramp(T, beta_1, beta_T)
def reciprocal_schedule(T): return ne.erase_uniformly(T)
def learned_schedule(logit_beta, beta_1): return ne.from_logits(beta_1, logit_beta)
def alpha_bar(beta): return ne.signal(beta)


def forward(x_prev, t, beta): return ne.q_step(x_prev, t, beta)
def marginal(x_0, t, beta): return ne.q_jump(x_0, t, beta)
def marginal_sample(x_0, noise, t, beta): return ne.draw(ne.q_jump(x_0, t, beta), noise)
def posterior(x_0, x_t, t, beta): return ne.q_back(x_t, x_0, t, beta)
def kl(mean_q, var_q, mean_p, var_p): return ne.KL_N((mean_q, var_q), (mean_p, var_p))
def entropy(mean, var): return ne.H_N(var)
def cross_entropy(mean_q, var_q, mean_p, var_p): return ne.cross_H_N((mean_q, var_q), (mean_p, var_p))
def log_prob(x, mean, var): return ne.log_N(x, mean, var)


def reverse(x_t, t, beta, model): return kernel(model, beta)(x_t, t)
def entropy_at(x_0, t, beta): return ne.total(ne.H_N(ne.q_jump(x_0, t, beta)[1]))
def step_kl(x_0, t, noise, beta, model): return ne.KL_step(x_0, t, noise, beta, kernel(model, beta))
def K(x_0, noise, beta, model): return ne.K(x_0, noise, beta, kernel(model, beta))
def one_step_bound(x_0, t, noise, beta, model): return ne.K_from_one(x_0, t, noise, beta, kernel(model, beta))
def null_log_likelihood(x_0): return ne.L_null(x_0)
def parzen_log_likelihood(x_0, centres, bandwidth): return ne.parzen(x_0, centres, bandwidth)
def log_weights(x_0, noise, beta, model): return ne.log_w(x_0, noise, beta, kernel(model, beta))
def log_mean_weight(log_w): return ne.log_average(log_w)


def ancestral_step(x_t, t, beta, model, noise):
    mu, Sigma = kernel(model, beta)(x_t, t)
    return np.where(ne.at(np.arange(len(beta) + 1), t, x_t) == 1, mu, ne.draw((mu, Sigma), noise))


def sample(noise, beta, model): return ne.sample(noise, beta, kernel(model, beta))


def times_gaussian(mean, var, mean_r, var_r): return ne.product((mean, var), (mean_r, var_r))
def guided_mean(mean, var, gradient): return ne.nudge((mean, var), gradient)[0]
def conditioned_step(mean, var, mean_r, var_r, noise): return ne.draw(ne.product((mean, var), (mean_r, var_r)), noise)
def keep_known(x, y, mask): return ne.inpaint(x, y, mask)
def noised_known(y, noise, t, beta): return ne.draw(ne.q_jump(y, t, beta), noise)


def inpaint_step(x_prev, y, noise, t, beta, mask):
    return ne.inpaint(x_prev, ne.draw(ne.q_jump(y, t - 1, beta), noise), mask)


def binomial_forward(x_prev, t, beta, rate): return ne.q_step_bits(x_prev, t, beta, rate)
def binomial_marginal(x_0, t, beta, rate): return ne.q_jump_bits(x_0, t, beta, rate)
def binomial_posterior(x_0, x_t, t, beta, rate): return ne.q_back_bits(x_t, x_0, t, beta, rate)
def binomial_kl(q, p): return ne.KL_bits(q, p)
def binomial_entropy(p): return ne.H_bits(p)
def binomial_cross_entropy(q, p): return ne.cross_H_bits(q, p)
def binomial_log_prob(x, p): return ne.log_B(x, p)
def binomial_draw(p, noise): return ne.draw_bits(p, noise)
def binomial_step_kl(x_0, x_t, t, beta, rate, model): return ne.KL_step_bits(x_0, x_t, t, beta, rate, model)
def binomial_bound(x_0, x_t, beta, rate, model): return ne.K_bits(x_0, x_t, beta, rate, model)
def times_bits(p, r): return ne.product_bits(p, r)


def vjp(name, args, cotangent):
    if name != "kl":
        raise NotImplementedError
    names = "mean_q", "var_q", "mean_p", "var_p"
    grads = ne.KL_N_grad((args["mean_q"], args["var_q"]), (args["mean_p"], args["var_p"]))
    return {k: cotangent * g for k, g in zip(names, grads)}
