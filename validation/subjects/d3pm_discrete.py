"""Discrete diffusion with K categories and uniform noise, in PyTorch.

Q[t] is the transition matrix of step t, t = 0 .. T-1, rows being the class that is left, and
Q_bar[t] the product of the first t + 1.  Data are integers of any shape (B, ...), laws have the
classes on a last axis of their own.
"""
import math

import torch
import torch.nn.functional as F


def uniform_matrices(betas, num_classes):
    """Stay with probability 1 - beta, else be any class, the old one included."""
    betas = torch.as_tensor(betas)
    eye = torch.eye(num_classes, dtype=betas.dtype)
    b = betas[:, None, None]
    return (1 - b) * eye + b / num_classes


def cosine_rates(T, s=0.008):
    """Austin et al.: rates that follow the cosine of Nichol and Dhariwal, capped below one."""
    steps = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((steps + s) / (1 + s) * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=0.999)


def kl_categorical(p, q, eps=0.0):
    """KL of the last axis, where 0 log 0 = 0."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q + eps)).sum(-1)


class UniformD3PM:
    def __init__(self, betas, num_classes, dtype=torch.float32, hybrid_coeff=0.001):
        betas = torch.as_tensor(betas, dtype=torch.float64)
        self.T, self.K = len(betas), num_classes
        self.dtype, self.hybrid_coeff = dtype, hybrid_coeff
        one_step = uniform_matrices(betas, num_classes)
        products = [one_step[0]]
        for matrix in one_step[1:]:
            products.append(products[-1] @ matrix)
        self.Q = one_step.to(dtype)
        self.Q_bar = torch.stack(products).to(dtype)
        # With the identity in front, Q_before[t] takes x_0 to the state that step t starts from.
        identity = torch.eye(num_classes, dtype=torch.float64)[None]
        self.Q_before = torch.cat([identity, torch.stack(products)[:-1]]).to(dtype)

    # -- forward -----------------------------------------------------------------------------

    @staticmethod
    def rows(matrices, t, x):
        """matrices[t][x, :] for every symbol of x: the law of what x turns into."""
        t = t.reshape(-1, *([1] * (x.dim() - 1)))
        return matrices[t, x]

    @staticmethod
    def columns(matrices, t, x):
        """matrices[t][:, x]: the likelihood of x for every class it may have come from."""
        t = t.reshape(-1, *([1] * (x.dim() - 1)))
        return matrices.transpose(1, 2)[t, x]

    def q_probs(self, x_0, t):
        return self.rows(self.Q_bar, t, x_0)

    def q_sample(self, x_0, t, uniform):
        """Gumbel-max with given uniform numbers of shape (..., K)."""
        tiny = torch.finfo(uniform.dtype).tiny
        gumbel = -torch.log(-torch.log(uniform.clamp(min=tiny)))
        return (torch.log(self.q_probs(x_0, t)) + gumbel).argmax(-1)

    def q_posterior(self, x_0, x_t, t):
        """q(x_{t-1} | x_t, x_0), proportional to Q[:, x_t] * Q_before[x_0, :]."""
        joint = self.columns(self.Q, t, x_t) * self.rows(self.Q_before, t, x_0)
        return joint / joint.sum(-1, keepdim=True)

    # -- reverse -----------------------------------------------------------------------------

    def p_probs(self, logits, x_t, t):
        """p(x_{t-1} | x_t) from logits of x_0: sum over x_0 of q(x_{t-1}, x_t | x_0) p(x_0 | x_t)."""
        p0 = logits.softmax(-1)
        before = self.Q_before[t].reshape(len(t), *([1] * (x_t.dim() - 1)), self.K, self.K)
        prior = (p0.unsqueeze(-2) @ before).squeeze(-2)
        joint = self.columns(self.Q, t, x_t) * prior
        probs = joint / joint.sum(-1, keepdim=True)
        first = (t == 0).reshape(-1, *([1] * x_t.dim()))
        return torch.where(first, p0, probs)

    # -- bound and loss ----------------------------------------------------------------------

    def kl_prior(self, x_0):
        t = torch.full((len(x_0),), self.T - 1)
        law = self.q_probs(x_0, t)
        return kl_categorical(law, torch.full_like(law, 1.0 / self.K)).flatten(1).sum(1)

    def kl_step(self, logits, x_0, x_t, t):
        """The term t > 0 of the bound in nats; for t = 0 the negative log-likelihood."""
        q, p = self.q_posterior(x_0, x_t, t), self.p_probs(logits, x_t, t)
        kl = kl_categorical(q, p).flatten(1).sum(1)
        nll = -torch.log(p).gather(-1, x_0.unsqueeze(-1)).flatten(1).sum(1)
        return torch.where(t == 0, nll, kl)

    def bound(self, model, x_0, uniform):
        """Upper bound of -log p(x_0) in nats; uniform (T, B, ..., K) draws x_t for each t anew."""
        total = self.kl_prior(x_0)
        for i in range(self.T):
            t = torch.full((len(x_0),), i)
            x_t = self.q_sample(x_0, t, uniform[i])
            total = total + self.kl_step(model(x_t, t), x_0, x_t, t)
        return total

    def bits_per_symbol(self, nats, x_0):
        return nats / x_0[0].numel() / math.log(2)

    def training_loss(self, model, x_0, t, uniform):
        x_t = self.q_sample(x_0, t, uniform)
        logits = model(x_t, t)
        vb = self.kl_step(logits, x_0, x_t, t) / x_0[0].numel()
        cross = F.cross_entropy(logits.reshape(-1, self.K), x_0.reshape(-1))
        return vb.mean() + self.hybrid_coeff * cross

    # -- sampler -----------------------------------------------------------------------------

    def p_sample(self, model, x_t, t, uniform):
        probs = self.p_probs(model(x_t, t), x_t, t)
        gumbel = -torch.log(-torch.log(uniform.clamp(min=torch.finfo(uniform.dtype).tiny)))
        active = (t > 0).reshape(-1, *([1] * x_t.dim())).to(probs.dtype)
        return (torch.log(probs) + active * gumbel).argmax(-1)

    @torch.no_grad()
    def sample(self, model, shape, generator=None):
        x = torch.randint(0, self.K, shape, generator=generator)
        for i in reversed(range(self.T)):
            t = torch.full((shape[0],), i)
            uniform = torch.rand(*shape, self.K, generator=generator, dtype=self.dtype)
            x = self.p_sample(model, x, t, uniform)
        return x


class TinyDenoiser(torch.nn.Module):
    """Embeds every symbol and the step, mixes along the sequence, answers with logits of x_0."""

    def __init__(self, num_classes, length, T, width=32):
        super().__init__()
        self.symbol = torch.nn.Embedding(num_classes, width)
        self.step = torch.nn.Embedding(T, width)
        self.mix = torch.nn.Linear(length * width, length * width)
        self.out = torch.nn.Linear(width, num_classes)

    def forward(self, x, t):
        h = self.symbol(x) + self.step(t)[:, None, :]
        h = h + self.mix(F.silu(h).flatten(1)).reshape(h.shape)
        return self.out(F.silu(h))


if __name__ == "__main__":
    torch.manual_seed(0)
    T, K, length = 20, 4, 3
    diffusion = UniformD3PM(cosine_rates(T), K)
    net = TinyDenoiser(K, length, T)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(600):
        start = torch.randint(0, K, (64, 1))
        x_0 = (start + torch.arange(length)) % K                    # runs like 2, 3, 0
        loss = diffusion.training_loss(net, x_0, torch.randint(0, T, (64,)), torch.rand(64, length, K))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = diffusion.sample(net, (500, length))
    good = ((x[:, 1:] - x[:, :-1]) % K == 1).all(1).float().mean()
    nats = diffusion.bound(net, x_0, torch.rand(T, 64, length, K)).mean()
    print(f"loss {loss:.3f}, valid samples {good:.2f}, bound {nats:.3f} nats, log K = {math.log(K):.3f}")
