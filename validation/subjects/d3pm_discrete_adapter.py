import os

import torch

from d3pm_discrete import UniformD3PM, cosine_rates, kl_categorical

dtype = os.environ.get("PRECISION", "float32")
DTYPE = getattr(torch, dtype)


def array(a):
    a = torch.as_tensor(a)
    return a.to(DTYPE) if a.is_floating_point() else a


class Adapter:
    def __init__(self, beta):
        self.beta = beta
        self.made = {}

    def d3pm(self, classes):
        if classes not in self.made:
            self.made[classes] = UniformD3PM(self.beta, int(classes), DTYPE)
        return self.made[classes]

    def cosine_schedule(self, T, offset, cap):
        if cap != 0.999:
            raise NotImplementedError
        return cosine_rates(T, offset)

    def transition_matrix(self, t, classes): return self.d3pm(classes).Q[t]
    def cumulative_matrix(self, t, classes): return self.d3pm(classes).Q_bar[t]
    def categorical_marginal(self, x_0, t, classes): return self.d3pm(classes).q_probs(x_0, t)
    def categorical_posterior(self, x_0, x_t, t, classes): return self.d3pm(classes).q_posterior(x_0, x_t, t)
    def categorical_reverse(self, logits, x_t, t, classes): return self.d3pm(classes).p_probs(logits, x_t, t)
    def categorical_kl(self, law_q, law_p): return kl_categorical(law_q, law_p)
    def bits_per_dimension(self, nats, x_0): return self.d3pm(2).bits_per_symbol(nats, x_0)
    def softmax(self, x): return x.softmax(-1)

    def vjp(self, name, args, cotangent):
        args = dict(args)
        beta = torch.as_tensor(args.pop("beta", self.beta)).double().clone().requires_grad_()
        leaves = {k: v.clone().requires_grad_() for k, v in args.items()
                  if torch.is_tensor(v) and v.is_floating_point()}
        value = getattr(Adapter(beta), name)(**{**args, **leaves})
        leaves["beta"] = beta
        grads = torch.autograd.grad((value * cotangent).sum(), list(leaves.values()), allow_unused=True)
        return {k: g for (k, v), g in zip(leaves.items(), grads) if g is not None}


make = Adapter
