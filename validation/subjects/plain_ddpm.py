# A plain DDPM: global tensors, float32, no classes for the diffusion.  Steps are 0 .. T-1.
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

T = 1000
betas = torch.linspace(1e-4, 0.02, T)


def precompute(b):
    """Fills the global tables from the rates b."""
    global T, betas, alphas, abar, abar_prev, sqrt_abar, sqrt_one_minus_abar
    global sqrt_recip_alphas, posterior_variance, coef_x0, coef_xt
    betas = b
    T = len(b)
    alphas = 1.0 - betas
    abar = torch.cumprod(alphas, dim=0)
    abar_prev = torch.cat([torch.ones(1), abar[:-1]])
    sqrt_abar = torch.sqrt(abar)
    sqrt_one_minus_abar = torch.sqrt(1.0 - abar)
    sqrt_recip_alphas = torch.sqrt(1.0 / alphas)
    posterior_variance = betas * (1.0 - abar_prev) / (1.0 - abar)
    coef_x0 = betas * torch.sqrt(abar_prev) / (1.0 - abar)
    coef_xt = (1.0 - abar_prev) * torch.sqrt(alphas) / (1.0 - abar)


precompute(betas)


def pick(table, t, x):
    return table[t].view(-1, *([1] * (x.dim() - 1)))


# forward


def q_sample(x0, t, noise):
    return pick(sqrt_abar, t, x0) * x0 + pick(sqrt_one_minus_abar, t, x0) * noise


def q_posterior(x0, xt, t):
    mean = pick(coef_x0, t, xt) * x0 + pick(coef_xt, t, xt) * xt
    return mean, pick(posterior_variance, t, xt) * torch.ones_like(xt)


# reverse


def predict_x0(xt, t, eps):
    return (xt - pick(sqrt_one_minus_abar, t, xt) * eps) / pick(sqrt_abar, t, xt)


def p_mean(xt, t, eps):
    return pick(sqrt_recip_alphas, t, xt) * (xt - pick(betas, t, xt) / pick(sqrt_one_minus_abar, t, xt) * eps)


def p_sample(model, xt, t, noise):
    """One step down with variance beta; no noise is added by the last one."""
    eps = model(xt, t)
    mean = p_mean(xt, t, eps)
    keep = (t != 0).float().view(-1, *([1] * (xt.dim() - 1)))
    return mean + keep * torch.sqrt(pick(betas, t, xt)) * noise


@torch.no_grad()
def sample(model, noises):
    """noises[T] is where the chain starts, noises[i] is for the step from i."""
    x = noises[T]
    for i in range(T - 1, -1, -1):
        x = p_sample(model, x, torch.full((len(x),), i), noises[i])
    return x


@torch.no_grad()
def ddim_sample(model, noises, steps, eta=0.0):
    x = noises[len(steps)]
    for n in range(len(steps) - 1, -1, -1):
        now = int(steps[n])
        a = abar[now]
        a_prev = abar[int(steps[n - 1])] if n > 0 else torch.tensor(1.0)
        eps = model(x, torch.full((len(x),), now))
        x0 = (x - torch.sqrt(1 - a) * eps) / torch.sqrt(a)
        sigma = eta * torch.sqrt((1 - a_prev) / (1 - a) * (1 - a / a_prev))
        x = torch.sqrt(a_prev) * x0 + torch.sqrt(1 - a_prev - sigma ** 2) * eps + sigma * noises[n]
    return x


# training


def loss_fn(model, x0, t, noise):
    return F.mse_loss(model(q_sample(x0, t, noise), t), noise)


def draw_times(n):
    return torch.randint(0, T, (n,))


def draw_noise(x0):
    return torch.randn_like(x0)


class Net(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 + 32, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                                    nn.Linear(width, 2))

    def forward(self, x, t):
        f = torch.exp(-math.log(10000.0) * torch.arange(16) / 16)
        a = t.float()[:, None] * f
        return self.layers(torch.cat([x, a.sin(), a.cos()], dim=1))


if __name__ == "__main__":
    torch.manual_seed(0)
    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for step in range(2000):
        angle = torch.rand(256) * 2 * math.pi
        x0 = torch.stack([angle.cos(), angle.sin()], dim=1)
        loss = loss_fn(net, x0, draw_times(256), torch.randn_like(x0))
        opt.zero_grad()
        loss.backward()
        opt.step()
    out = sample(net, torch.randn(T + 1, 500, 2))
    print("loss %.3f, radius %.2f +- %.2f (1.00 is right)" % (loss, out.norm(dim=1).mean(), out.norm(dim=1).std()))
