import torch

import plain_ddpm as p

dtype = "float32"


def array(a):
    a = torch.as_tensor(a)
    return a.float() if a.is_floating_point() else a


class Adapter:
    def __init__(self, beta):
        self.beta = beta.float()
        p.precompute(self.beta)

    def __getattribute__(self, name):                       # the tables are global, two adapters share them
        if not name.startswith("_") and name != "beta":
            p.precompute(self.beta)
        return object.__getattribute__(self, name)

    def linear_schedule(self, T, beta_1, beta_T): return torch.linspace(beta_1, beta_T, T)
    def alpha_bar(self): return p.abar
    def marginal_sample(self, x_0, t, noise): return p.q_sample(x_0, t, noise)
    def posterior(self, x_0, x_t, t): return p.q_posterior(x_0, x_t, t)
    def x_0_from_noise(self, noise, x_t, t): return p.predict_x0(x_t, t, noise)
    def mean_from_noise(self, noise, x_t, t): return p.p_mean(x_t, t, noise)
    def x_0_from_model(self, x_t, t, model): return p.predict_x0(x_t, t, model(x_t, t))

    def reverse(self, x_t, t, model):
        return p.p_mean(x_t, t, model(x_t, t)), p.pick(p.betas, t, x_t) * torch.ones_like(x_t)

    def ancestral_step(self, x_t, t, model, noise): return p.p_sample(model, x_t, t, noise)
    def sample(self, noise, model): return p.sample(model, noise)
    def ddim_sample(self, noise, times, eta, model): return p.ddim_sample(model, noise, times, eta)
    def draw_times(self, T, N): return p.draw_times(N)
    def draw_noise(self, shape): return p.draw_noise(torch.empty(*shape))

    def vjp(self, name, args, cotangent):
        if "model" in args:
            raise NotImplementedError("not differentiated")
        args = dict(args)
        beta = args.pop("beta", self.beta).detach().clone().float().requires_grad_()
        of = {k: v.detach().clone().requires_grad_() for k, v in args.items() if torch.is_tensor(v) and v.is_floating_point()}
        value = getattr(Adapter(beta), name)(**{**args, **of})
        of["beta"] = beta
        pairs = zip(value, cotangent) if isinstance(cotangent, tuple) else [(value, cotangent)]
        grads = torch.autograd.grad(sum((v * c).sum() for v, c in pairs), list(of.values()), allow_unused=True)
        return {k: g for k, g in zip(of, grads) if g is not None}


make = Adapter
