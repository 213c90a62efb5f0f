"""A small DDPM in float32, as somebody else might have written it, and at once an adapter: `make` is all that the kit asks for.

t counts from 0, tables begin with the first step, the network predicts noise, the reverse variance is that of the posterior.
"""

import math

import numpy as np

dtype = "float32"


class DDPM:
    """Ho, Jain and Abbeel 2020, with tables as most programs have them."""

    def __init__(self, betas):
        self.betas = np.asarray(betas, np.float64)
        alphas = 1 - self.betas
        self.abar = np.cumprod(alphas)
        self.abar_prev = self.previous(self.abar)
        self.coef_x0 = self.betas * np.sqrt(self.abar_prev) / (1 - self.abar)
        self.coef_xt = np.sqrt(alphas) * (1 - self.abar_prev) / (1 - self.abar)
        self.post_var = self.betas * (1 - self.abar_prev) / (1 - self.abar)

    def previous(self, abar):
        """ᾱ_{t−1}, 1 before the first step."""
        return np.append(1.0, abar[:-1])

    @staticmethod
    def at(table, t, x):
        """Entries of a table, one for each row of x."""
        return table[t].astype(x.dtype).reshape(len(x), *[1] * (x.ndim - 1))

    # the forward process
    def alpha_bar(self):
        return self.abar.astype(np.float32)

    def forward(self, x_prev, t):
        return self.at(np.sqrt(1 - self.betas), t, x_prev) * x_prev, self.at(self.betas, t, x_prev)

    def marginal(self, x_0, t):
        return self.at(np.sqrt(self.abar), t, x_0) * x_0, self.at(1 - self.abar, t, x_0)

    def marginal_sample(self, x_0, t, noise):
        return self.at(np.sqrt(self.abar), t, x_0) * x_0 + self.at(np.sqrt(1 - self.abar), t, x_0) * noise

    def posterior(self, x_0, x_t, t):
        return self.at(self.coef_x0, t, x_t) * x_0 + self.at(self.coef_xt, t, x_t) * x_t, self.at(self.post_var, t, x_t)

    # the network and the reverse process
    def x_0_from_noise(self, noise, x_t, t):
        return self.at(np.sqrt(1 / self.abar), t, x_t) * x_t - self.at(np.sqrt(1 / self.abar - 1), t, x_t) * noise

    def noise_from_x_0(self, x_0, x_t, t):
        return (x_t - self.at(np.sqrt(self.abar), t, x_t) * x_0) / self.at(np.sqrt(1 - self.abar), t, x_t)

    def velocity(self, x_0, noise, t):
        return self.at(np.sqrt(self.abar), t, x_0) * noise - self.at(np.sqrt(1 - self.abar), t, x_0) * x_0

    def reverse(self, model, x_t, t):
        mean, _ = self.posterior(self.x_0_from_noise(model(x_t, t), x_t, t), x_t, t)
        var = self.post_var.copy()
        var[0] = var[min(1, len(var) - 1)]                  # the posterior's own is 0 there
        return mean, self.at(var, t, x_t)

    def ancestral_step(self, model, x_t, t, noise):
        mean, var = self.reverse(model, x_t, t)
        return mean + np.where(self.at(np.arange(len(self.betas)), t, x_t) > 0, np.sqrt(var), 0) * noise

    # the bound
    @staticmethod
    def kl(mean_q, var_q, mean_p, var_p):
        return 0.5 * (np.log(var_p) - np.log(var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1)

    @staticmethod
    def log_prob(x, mean, var):
        return -0.5 * (np.log(2 * math.pi * var) + (x - mean) ** 2 / var)

    def step_kl(self, model, x_0, t, noise):
        x_t = self.marginal_sample(x_0, t, noise)
        kl = self.kl(*self.posterior(x_0, x_t, t), *self.reverse(model, x_t, t))
        return kl.reshape(len(kl), -1).sum(1)

    def prior_kl(self, x_0):
        last = np.full(len(x_0), len(self.betas) - 1)
        kl = self.kl(*self.marginal(x_0, last), np.zeros_like(x_0), np.ones_like(x_0))
        return kl.reshape(len(kl), -1).sum(1)


def make(beta):
    """What the kit asks for: the object that has the functions, for a schedule (T,)."""
    return DDPM(beta)
