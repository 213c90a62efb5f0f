import os

import torch

from ddpm_torch import GaussianDiffusion, cosine_betas, discretized_gaussian_log_prob, linear_betas, normal_kl

dtype = os.environ.get("PRECISION", "float32")
DTYPE = getattr(torch, dtype)
PREDICT = os.environ.get("PREDICT", "eps")
VARIANCE = os.environ.get("VARIANCE", "small")


def array(a):
    a = torch.as_tensor(a)
    return a.to(DTYPE) if a.is_floating_point() else a


class Net:
    """The kit's affine network written out, so that autograd sees it; its tables have a row for t = 0."""

    def __init__(self, weight, bias):
        self.weight, self.bias, self.output = weight, bias, None

    def __call__(self, x, t):
        self.output = torch.einsum("ni,nij->nj", x, self.weight[t + 1]) + self.bias[t + 1]
        return self.output


class Adapter:
    def __init__(self, beta=None, diffusion=None):
        self.d = diffusion or GaussianDiffusion(beta, PREDICT, VARIANCE, DTYPE)

    # schedules
    def linear_schedule(self, T, beta_1, beta_T): return linear_betas(T, beta_1, beta_T)
    def cosine_schedule(self, T, offset, cap): return cosine_betas(T, offset, cap)
    def alpha_bar(self): return self.d.alphas_cumprod

    # forward process
    def marginal(self, x_0, t): return self.d.q_mean_variance(x_0, t)
    def marginal_sample(self, x_0, t, noise): return self.d.q_sample(x_0, t, noise)
    def posterior(self, x_0, x_t, t): return self.d.q_posterior(x_0, x_t, t)
    def kl(self, mean_q, var_q, mean_p, var_p): return normal_kl(mean_q, var_q.log(), mean_p, var_p.log())

    # parametrisations
    def x_0_from_noise(self, noise, x_t, t): return self.d.x0_from_eps(x_t, t, noise)
    def noise_from_x_0(self, x_0, x_t, t): return self.d.eps_from_x0(x_t, t, x_0)
    def x_0_from_v(self, v, x_t, t): return self.d.x0_from_v(x_t, t, v)
    def velocity(self, x_0, noise, t): return self.d.v_target(x_0, t, noise)
    def snr(self, t): return self.d.snr[t]

    # reverse process
    def reverse_variance(self, t):
        if VARIANCE == "learned_range":
            raise NotImplementedError
        return (self.d.betas if VARIANCE == "large" else self.d.posterior_log_variance_clipped.exp())[t]

    def ranged_variance(self, head, t): return self.d.range_log_variance(head, t).exp()
    def x_0_from_model(self, model, x_t, t): return self.d.p_mean_variance(model, x_t, t)[2]

    def reverse(self, model, x_t, t):
        mean, logvar, _ = self.d.p_mean_variance(model, x_t, t)
        return mean, logvar.exp()

    # bound
    def step_kl(self, model, x_0, t, noise): return self.d.step_kl(model, x_0, t, noise)

    def decoder_log_mass(self, k, x_0, mean, var, low, high, levels):
        if low != -1 or high != 1:
            raise NotImplementedError
        return discretized_gaussian_log_prob(x_0, mean, var.log(), levels)

    def prior_kl(self, x_0): return self.d.prior_kl(x_0)
    def decoder_nll(self, x_0, k, noise, model): return self.d.decoder_nll(model, x_0, noise)
    def bound_terms(self, x_0, k, noise, model): return self.d.vb_terms(model, x_0, noise)
    def bound(self, x_0, k, noise, model): return self.d.nll_bound(model, x_0, noise)
    def bits_per_dimension(self, nats, x_0): return self.d.bits_per_dim(nats, x_0)

    # sampling
    def ancestral_step(self, x_t, t, model, noise): return self.d.p_sample(model, x_t, t, noise)
    def ddim_step(self, x_t, t, model, noise, t_prev, eta): return self.d.ddim_step(model, x_t, t, t_prev, noise, eta)
    def sample(self, noise, model): return self.d.p_sample_loop(model, noise)
    def ddim_sample(self, noise, times, eta, model): return self.d.ddim_loop(model, noise, times, eta)
    def draw_times(self, T, N): return self.d.draw_times(N)

    def vjp(self, name, args, cotangent):
        args = dict(args)
        beta = args.pop("beta", None)
        leaves = {k: v.detach().clone().requires_grad_() for k, v in args.items()
                  if torch.is_tensor(v) and v.is_floating_point()}
        model, net = args.get("model"), None
        if model is not None:
            net = Net(torch.as_tensor(model.weight, dtype=DTYPE).clone().requires_grad_(),
                      torch.as_tensor(model.bias, dtype=DTYPE).clone().requires_grad_())
            args["model"] = net
            leaves.update(weight=net.weight, bias=net.bias)
        args.update({k: v for k, v in leaves.items() if k in args})
        if beta is not None:
            leaves["beta"] = torch.as_tensor(beta).double().clone().requires_grad_()
            subject = Adapter(leaves["beta"])
        else:
            subject = self
        value = getattr(subject, name)(**args)
        if name == "step_kl" and net is not None:
            leaves["output"] = net.output
        pairs = list(zip(value, cotangent)) if isinstance(cotangent, tuple) else [(value, cotangent)]
        total = sum((v * c).sum() for v, c in pairs)
        grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        return {k: (g if g is not None else torch.zeros_like(v)) for (k, v), g in zip(leaves.items(), grads)}


make = Adapter
