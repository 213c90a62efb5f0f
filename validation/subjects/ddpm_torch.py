"""Gaussian diffusion in PyTorch: DDPM, improved DDPM, DDIM.

Time runs over 0 .. T-1, where index 0 is the least noisy step.  Every table is computed once in
double precision and stored as a buffer in the working precision.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

LOG_2PI = math.log(2.0 * math.pi)


def linear_betas(timesteps, start=1e-4, end=2e-2):
    return torch.linspace(start, end, timesteps, dtype=torch.float64)


def cosine_betas(timesteps, s=0.008, max_beta=0.999):
    grid = torch.linspace(0, timesteps, timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((grid + s) / (1 + s) * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=max_beta)


def gather(table, t, like):
    """table[t] with as many trailing axes of length one as `like` needs."""
    return table[t].reshape(t.shape[0], *([1] * (like.dim() - 1)))


def sum_flat(x):
    return x.flatten(1).sum(1)


def normal_kl(mean1, logvar1, mean2, logvar2):
    """KL(N1 || N2) for each component, in nats."""
    return 0.5 * (logvar2 - logvar1 + torch.exp(logvar1 - logvar2)
                  + (mean1 - mean2) ** 2 * torch.exp(-logvar2) - 1.0)


def discretized_gaussian_log_prob(x, mean, logvar, levels=256):
    """Log mass of the bin around x, for data on `levels` points from -1 to 1; outer bins are open."""
    half = 1.0 / (levels - 1)
    inv_std = torch.exp(-0.5 * logvar)
    upper = (x - mean + half) * inv_std
    lower = (x - mean - half) * inv_std
    # A bin in the upper tail is mirrored, so that the difference is always taken in the lower one.
    flip = (upper + lower) > 0
    a = torch.where(flip, -upper, lower)
    b = torch.where(flip, -lower, upper)
    log_a, log_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    inner = log_b + torch.log(-torch.expm1(torch.minimum(log_a - log_b, log_a.new_tensor(-1e-30))))
    bottom = torch.special.log_ndtr(upper)
    top = torch.special.log_ndtr(-lower)
    edge = 1 - half
    return torch.where(x < -edge, bottom, torch.where(x > edge, top, inner))


class GaussianDiffusion(nn.Module):
    """predict: 'eps', 'x0' or 'v'.  variance: 'small', 'large' or 'learned_range'."""

    def __init__(self, betas, predict="eps", variance="small", dtype=torch.float32):
        super().__init__()
        betas = torch.as_tensor(betas, dtype=torch.float64)
        self.predict, self.variance = predict, variance
        self.num_timesteps = betas.shape[0]
        alphas = 1.0 - betas
        # Sums of log1p keep 1 - abar accurate while abar is still close to one.
        log_abar = torch.cumsum(torch.log1p(-betas), 0)
        abar = torch.exp(log_abar)
        one_minus = -torch.expm1(log_abar)
        abar_prev = F.pad(abar[:-1], (1, 0), value=1.0)
        one_minus_prev = F.pad(one_minus[:-1], (1, 0), value=0.0)
        post_var = betas * one_minus_prev / one_minus
        # The first posterior is a point; its logarithm borrows the second one.
        post_var_clipped = torch.cat([post_var[1:2], post_var[1:]]) if len(betas) > 1 else betas
        tables = dict(
            betas=betas,
            log_betas=betas.log(),
            alphas_cumprod=abar,
            log_alphas_cumprod=log_abar,
            alphas_cumprod_prev=abar_prev,
            one_minus_alphas_cumprod=one_minus,
            one_minus_alphas_cumprod_prev=one_minus_prev,
            sqrt_alphas=alphas.sqrt(),
            sqrt_alphas_cumprod=abar.sqrt(),
            sqrt_one_minus_alphas_cumprod=one_minus.sqrt(),
            log_one_minus_alphas_cumprod=one_minus.log(),
            sqrt_recip_alphas_cumprod=abar.rsqrt(),
            sqrt_recipm1_alphas_cumprod=(one_minus / abar).sqrt(),
            posterior_variance=post_var,
            posterior_log_variance_clipped=post_var_clipped.log(),
            posterior_mean_coef1=betas * abar_prev.sqrt() / one_minus,
            posterior_mean_coef2=one_minus_prev * alphas.sqrt() / one_minus,
            snr=abar / one_minus,
        )
        for name, value in tables.items():
            self.register_buffer(name, value.to(dtype))

    # ---- forward process -------------------------------------------------------------------

    def q_mean_variance(self, x0, t):
        mean = gather(self.sqrt_alphas_cumprod, t, x0) * x0
        return mean, gather(self.one_minus_alphas_cumprod, t, x0).expand_as(x0)

    def q_sample(self, x0, t, noise):
        return (gather(self.sqrt_alphas_cumprod, t, x0) * x0
                + gather(self.sqrt_one_minus_alphas_cumprod, t, x0) * noise)

    def q_posterior(self, x0, xt, t):
        mean = (gather(self.posterior_mean_coef1, t, xt) * x0
                + gather(self.posterior_mean_coef2, t, xt) * xt)
        return mean, gather(self.posterior_variance, t, xt).expand_as(xt)

    # ---- changes of parametrisation ----------------------------------------------------------

    def x0_from_eps(self, xt, t, eps):
        return (gather(self.sqrt_recip_alphas_cumprod, t, xt) * xt
                - gather(self.sqrt_recipm1_alphas_cumprod, t, xt) * eps)

    def eps_from_x0(self, xt, t, x0):
        return ((xt - gather(self.sqrt_alphas_cumprod, t, xt) * x0)
                / gather(self.sqrt_one_minus_alphas_cumprod, t, xt))

    def x0_from_v(self, xt, t, v):
        return (gather(self.sqrt_alphas_cumprod, t, xt) * xt
                - gather(self.sqrt_one_minus_alphas_cumprod, t, xt) * v)

    def v_target(self, x0, t, noise):
        return (gather(self.sqrt_alphas_cumprod, t, x0) * noise
                - gather(self.sqrt_one_minus_alphas_cumprod, t, x0) * x0)

    # ---- reverse process -----------------------------------------------------------------------

    def split_output(self, out, channels):
        """The prediction, and the variance head if there is one (second half of axis 1)."""
        if self.variance != "learned_range":
            return out, None
        return out.split(channels, dim=1)

    def to_x0(self, xt, t, pred):
        if self.predict == "eps":
            return self.x0_from_eps(xt, t, pred)
        return self.x0_from_v(xt, t, pred) if self.predict == "v" else pred

    def range_log_variance(self, head, t):
        low = gather(self.posterior_log_variance_clipped, t, head)
        high = gather(self.log_betas, t, head)
        share = (head + 1) / 2
        return share * high + (1 - share) * low

    def p_mean_variance(self, model, xt, t, clip=False):
        pred, head = self.split_output(model(xt, t), xt.shape[1])
        x0 = self.to_x0(xt, t, pred)
        if clip:
            x0 = x0.clamp(-1, 1)
        mean, _ = self.q_posterior(x0, xt, t)
        if self.variance == "learned_range":
            logvar = self.range_log_variance(head, t)
        elif self.variance == "small":
            logvar = gather(self.posterior_log_variance_clipped, t, xt).expand_as(xt)
        else:
            logvar = gather(self.log_betas, t, xt).expand_as(xt)
        return mean, logvar, x0

    # ---- bound -----------------------------------------------------------------------------------

    def step_kl(self, model, x0, t, noise, clip=False):
        """KL(q(x_{t-1}|x_t,x_0) || p(x_{t-1}|x_t)) of each example in nats; not meant for t = 0."""
        xt = self.q_sample(x0, t, noise)
        true_mean, _ = self.q_posterior(x0, xt, t)
        true_logvar = gather(self.posterior_log_variance_clipped, t, xt)
        mean, logvar, _ = self.p_mean_variance(model, xt, t, clip)
        return sum_flat(normal_kl(true_mean, true_logvar, mean, logvar))

    def decoder_nll(self, model, x0, noise, clip=False):
        t = torch.zeros(x0.shape[0], dtype=torch.long, device=x0.device)
        mean, logvar, _ = self.p_mean_variance(model, self.q_sample(x0, t, noise), t, clip)
        return -sum_flat(discretized_gaussian_log_prob(x0, mean, logvar))

    def prior_kl(self, x0):
        abar = self.alphas_cumprod[-1]
        log_one_minus = self.log_one_minus_alphas_cumprod[-1]
        return 0.5 * sum_flat(abar * x0 ** 2 - abar - log_one_minus)

    def vb_terms(self, model, x0, noise, clip=False):
        """(T, N) in nats: the decoder's term first, then the divergences for t = 1 .. T-1."""
        rows = [self.decoder_nll(model, x0, noise[0], clip)]
        for i in range(1, self.num_timesteps):
            t = torch.full((x0.shape[0],), i, dtype=torch.long, device=x0.device)
            rows.append(self.step_kl(model, x0, t, noise[i], clip))
        return torch.stack(rows)

    def nll_bound(self, model, x0, noise, clip=False):
        return self.vb_terms(model, x0, noise, clip).sum(0) + self.prior_kl(x0)

    def bits_per_dim(self, nats, x0):
        return nats / (x0[0].numel() * math.log(2.0))

    # ---- sampling ----------------------------------------------------------------------------------

    def p_sample(self, model, xt, t, noise, clip=False):
        mean, logvar, _ = self.p_mean_variance(model, xt, t, clip)
        active = (t > 0).to(xt.dtype).reshape(-1, *([1] * (xt.dim() - 1)))
        return mean + active * torch.exp(0.5 * logvar) * noise

    @torch.no_grad()
    def p_sample_loop(self, model, noise, clip=False):
        """noise[T] is the starting point, noise[i] is used by the step from index i."""
        x = noise[self.num_timesteps]
        for i in reversed(range(self.num_timesteps)):
            t = torch.full((x.shape[0],), i, dtype=torch.long, device=x.device)
            x = self.p_sample(model, x, t, noise[i], clip)
        return x

    def ddim_step(self, model, xt, t, t_prev, noise, eta=0.0):
        """One DDIM step from t to t_prev, where -1 means clean data."""
        pred, _ = self.split_output(model(xt, t), xt.shape[1])
        x0 = self.to_x0(xt, t, pred)
        eps = self.eps_from_x0(xt, t, x0)
        last = t_prev < 0
        prev = t_prev.clamp(min=0)
        pick = lambda table, end: gather(torch.where(last, torch.full_like(table[prev], end), table[prev]),
                                         torch.arange(len(t)), xt)
        abar_prev, rest_prev = pick(self.alphas_cumprod, 1.0), pick(self.one_minus_alphas_cumprod, 0.0)
        rest = gather(self.one_minus_alphas_cumprod, t, xt)
        # 1 - abar_t / abar_s; the difference of two logarithms does not cancel at either end
        jump = -torch.expm1(gather(self.log_alphas_cumprod, t, xt) - pick(self.log_alphas_cumprod, 0.0))
        var = eta ** 2 * rest_prev / rest * jump
        return abar_prev.sqrt() * x0 + (rest_prev - var).clamp(min=0).sqrt() * eps + var.sqrt() * noise

    @torch.no_grad()
    def ddim_loop(self, model, noise, steps, eta=0.0):
        """steps: kept indices, increasing; noise[len(steps)] starts, noise[n] is used at steps[n]."""
        x = noise[len(steps)]
        for n in reversed(range(len(steps))):
            t = torch.full((x.shape[0],), int(steps[n]), dtype=torch.long, device=x.device)
            s = torch.full_like(t, int(steps[n - 1]) if n > 0 else -1)
            x = self.ddim_step(model, x, t, s, noise[n], eta)
        return x

    # ---- training ------------------------------------------------------------------------------------

    def loss_weight(self, t, kind="simple", gamma=5.0):
        """Weights of the squared error of what is predicted."""
        snr = self.snr[t]
        if kind == "simple":
            return torch.ones_like(snr)
        if kind != "min_snr":
            raise ValueError(kind)
        clipped = snr.clamp(max=gamma)
        return {"x0": clipped, "eps": clipped / snr, "v": clipped / (snr + 1)}[self.predict]

    def training_loss(self, model, x0, t, noise, weighting="simple"):
        xt = self.q_sample(x0, t, noise)
        pred, head = self.split_output(model(xt, t), x0.shape[1])
        target = {"eps": lambda: noise, "x0": lambda: x0, "v": lambda: self.v_target(x0, t, noise)}[self.predict]()
        mse = ((pred - target) ** 2).flatten(1).mean(1)
        loss = self.loss_weight(t, weighting) * mse
        if head is not None:
            # The bound trains the variance only; the mean is frozen in it.
            frozen = torch.cat([pred.detach(), head], 1)
            vb = self.step_kl(lambda *_: frozen, x0, t, noise)
            nll = self.decoder_nll(lambda *_: frozen, x0, noise)
            loss = loss + torch.where(t == 0, nll, vb) / x0[0].numel() / math.log(2.0) * self.num_timesteps / 1000
        return loss.mean()

    def draw_times(self, n):
        return torch.randint(0, self.num_timesteps, (n,))
