"""A masked diffusion language model (MDLM / SEDD-absorb / MD4) in NumPy.

Tokens 0 .. V-1, the mask is number V.  The network puts out logits for the V real tokens only (so the mask is never
predicted), and a token that has been revealed is kept ("SUBS").  Time runs from 0 (text) to 1 (all mask).
Everything works on a batch (B, L) without loops."""
import numpy as np


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def one_hot(ids, n):
    return (np.asarray(ids)[..., None] == np.arange(n)).astype(np.float64)


def gather_last(a, ids):
    """a[b, l, ids[b, l]]"""
    return np.take_along_axis(a, np.asarray(ids)[..., None], axis=-1)[..., 0]


def per_row(v, ndim):
    v = np.asarray(v, dtype=np.float64)
    return v.reshape(v.shape[:1] + (1,) * (ndim - 1))


# ------------------------------------------------------------------ schedules

class CosineSchedule:
    """MD4: alpha_t = 1 - cos(pi/2 (1 - t)), squeezed into [eps, 1 - eps]."""

    def __init__(self, eps=1e-4):
        self.eps = eps

    def alpha(self, t):
        a = 1.0 - np.cos(0.5 * np.pi * (1.0 - t))
        return (1.0 - 2.0 * self.eps) * a + self.eps

    def dalpha(self, t):
        return -(1.0 - 2.0 * self.eps) * 0.5 * np.pi * np.sin(0.5 * np.pi * (1.0 - t))

    def weight(self, t):
        return -self.dalpha(t) / (1.0 - self.alpha(t))


class GeometricNoise:
    """SEDD: total noise sigma(t), with alpha = exp(-sigma)."""

    def __init__(self, sigma_min=1e-3, sigma_max=20.0):
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def total(self, t):
        return self.sigma_min ** (1 - t) * self.sigma_max ** t

    def rate(self, t):
        return self.total(t) * (np.log(self.sigma_max) - np.log(self.sigma_min))


# ------------------------------------------------------------------ continuous time

class MaskedDiffusion:
    def __init__(self, mask):
        self.mask = mask

    def forward(self, x0, sigma, u):
        """Mask every token with probability 1 - exp(-sigma); u uniform, shaped like x0."""
        p_mask = -np.expm1(-per_row(sigma, x0.ndim))
        return np.where(u < p_mask, self.mask, x0)

    def reverse_probs(self, logits, xt, sigma, sigma_next):
        """p(x_s | x_t) over V + 1 classes, (B, L, V + 1)."""
        p0 = np.exp(log_softmax(logits))
        sig, sig_s = per_row(sigma, xt.ndim), per_row(sigma_next, xt.ndim)
        p_masked = -np.expm1(-sig)
        stay = np.expm1(-sig_s) / np.expm1(-sig)
        reveal = (np.exp(-sig_s) - np.exp(-sig)) / p_masked
        unmasking = np.concatenate(
            [reveal[..., None] * p0, np.broadcast_to(stay, xt.shape)[..., None]], axis=-1)
        kept = one_hot(xt, self.mask + 1)
        return np.where((xt == self.mask)[..., None], unmasking, kept)

    def nelbo(self, logits, x0, xt, sigma, dsigma):
        """The negative bound's integrand, in nats, one number for each sequence."""
        nll = -gather_last(log_softmax(logits), x0)
        is_masked = xt == self.mask
        weight = np.asarray(dsigma) / np.expm1(sigma)
        return weight * np.where(is_masked, nll, 0.0).sum(axis=-1)

    def concrete_score(self, x0, xt, sigma, vocab):
        """SEDD's target: p_t(y | x0) / p_t(mask | x0) for the tokens y, where x_t is the mask."""
        ratio = 1.0 / np.expm1(per_row(sigma, xt.ndim + 1))
        target = ratio * one_hot(x0, vocab)
        return target * (xt == self.mask)[..., None]

    def sample(self, net, shape, steps, noise, rng):
        xt = np.full(shape, self.mask)
        ts = np.linspace(1.0, 0.0, steps + 1)
        for t, s in zip(ts[:-1], ts[1:]):
            sig, sig_s = np.full(shape[0], noise.total(t)), np.full(shape[0], noise.total(s) if s > 0 else 0.0)
            p = self.reverse_probs(net(xt, sig), xt, sig, sig_s)
            xt = gumbel_argmax(p, rng.random(p.shape))
        return xt


def gumbel_argmax(probs, u):
    """A draw for each row of `probs` from uniforms of the same shape."""
    with np.errstate(divide="ignore"):
        return np.argmax(np.log(probs) - np.log(-np.log(u)), axis=-1)


# ------------------------------------------------------------------ discrete time

def kl_divergence(q, p):
    """sum q ln(q / p) along the last axis, 0 ln 0 = 0."""
    pos = q > 0
    with np.errstate(divide="ignore"):
        log_ratio = np.log(np.where(pos, q, 1.0)) - np.log(np.where(pos, p, 1.0))
    return np.sum(q * log_ratio, axis=-1)


class AbsorbingChain:
    """T steps; step i (from 0) masks a token with probability betas[i].  The mask is the last of `n` classes."""

    def __init__(self, betas, n):
        self.betas, self.n = np.asarray(betas, dtype=np.float64), n
        self.log_keep = np.cumsum(np.log1p(-self.betas))
        self.acp = np.exp(self.log_keep)
        self.acp_prev = np.concatenate([[1.0], self.acp[:-1]])

    def _matrix(self, keep):
        keep = np.asarray(keep)[..., None, None]
        to_mask = one_hot(self.n - 1, self.n)
        return keep * np.eye(self.n) + (1.0 - keep) * to_mask

    def q_onestep_mat(self, i):
        return self._matrix(1.0 - self.betas[i])

    def q_mat(self, i):
        return self._matrix(self.acp[i])

    def q_mat_prev(self, i):
        return self._matrix(self.acp_prev[i])

    def marginal(self, x0, i):
        rows = np.arange(len(x0)).reshape(-1, *[1] * (x0.ndim - 1))
        return self.q_mat(i)[rows, x0]

    def posterior(self, x0, xt, i):
        """q(x_{i-1} | x_i, x_0) by Bayes' rule with the matrices."""
        return matrix_bayes(self.q_onestep_mat(i), self.q_mat_prev(i), x0, xt)

    def reverse(self, logits, xt, i):
        """The posterior averaged over the network's law of x_0, which has no mask."""
        z = logits.copy()
        z[..., -1] = -np.inf
        p0 = np.exp(log_softmax(z))
        prev, now = per_row(self.acp_prev[i], xt.ndim), per_row(self.acp[i], xt.ndim)
        unmask, stay = (prev - now) / (1.0 - now), (1.0 - prev) / (1.0 - now)
        is_masked = (xt == self.n - 1)[..., None]
        to_mask = one_hot(self.n - 1, self.n)
        return np.where(is_masked, unmask[..., None] * p0 + stay[..., None] * to_mask, one_hot(xt, self.n))

    def bound_term(self, logits, x0, xt, i):
        """KL of the step, and at the first one -ln p(x_0 | x_1); nats for each token."""
        p = self.reverse(logits, xt, i)
        kl = kl_divergence(self.posterior(x0, xt, i), p)
        with np.errstate(divide="ignore"):
            nll = -np.log(gather_last(p, x0))
        return np.where(per_row(i, xt.ndim) == 0, nll, kl)


def matrix_bayes(step, before, x0, xt):
    """q(x_{t-1} | x_t, x_0) for any matrices (B, K, K), whose row is the class that is left."""
    rows = np.arange(len(xt)).reshape(-1, *[1] * (xt.ndim - 1))
    evidence = np.swapaxes(step, -1, -2)[rows, xt]
    joint = evidence * before[rows, x0]
    return joint / joint.sum(-1, keepdims=True)


def chain_product(mats):
    """Q_1, Q_1 Q_2, Q_1 Q_2 Q_3, ..."""
    out = [mats[0]]
    for q in mats[1:]:
        out.append(out[-1] @ q)
    return np.stack(out)
