"""Deep unsupervised learning by nonequilibrium thermodynamics, after the notation of the 2015 paper.

beta[t - 1] is the diffusion rate of step t = 1 .. T.  A state x has its example on the first axis.
t may be one number or one number for each example.  Everything is in nats.

Gaussian laws are pairs (mu, Sigma) with a diagonal Sigma, a variance.  Laws of bits are the
probability of a one, and pi(1) is called r.
"""
import numpy as np


# ---------------------------------------------------------------------------------- schedules


def erase_uniformly(T):
    """Erases a constant fraction 1/T of the original signal at every step."""
    return 1.0 / (T - np.arange(1, T + 1) + 1)


def ramp(T, first, last):
    return np.linspace(first, last, T)


def from_logits(first, u):
    """beta_1 is fixed, the other rates are the sigmoid of what is learned."""
    e = np.exp(-np.abs(u))
    return np.concatenate([[first], np.where(u >= 0, 1 / (1 + e), e / (1 + e))])


def signal(beta):
    """abar_0 .. abar_T: how much of the variance of x_0 is left."""
    return np.concatenate([[1.0], np.cumprod(1.0 - np.asarray(beta))])


def noise_level(beta):
    """1 - abar_0 .. 1 - abar_T, by a recursion without subtraction of nearly equal numbers."""
    c = [0.0]
    for b in np.asarray(beta):
        c.append(c[-1] * (1.0 - b) + b)
    return np.array(c)


def at(values, t, x):
    """values[t], shaped so that it multiplies x."""
    v = np.asarray(values)[t]
    return np.reshape(v, np.shape(v) + (1,) * (np.ndim(x) - np.ndim(v))) if np.ndim(v) else v


def total(x):
    return np.sum(np.reshape(x, (len(x), -1)), axis=1)


# ------------------------------------------------------------------------- Gaussian diffusion


def T_gauss(y, b):
    """The kernel T_pi(y' | y; beta), which leaves N(0, 1) as it is."""
    return np.sqrt(1.0 - b) * y, b * np.ones_like(y)


def q_step(x_prev, t, beta):
    return T_gauss(x_prev, at(beta, t - 1, x_prev))


def q_jump(x_0, t, beta):
    return np.sqrt(at(signal(beta), t, x_0)) * x_0, at(noise_level(beta), t, x_0) * np.ones_like(x_0)


def draw(law, eps):
    mu, Sigma = law
    return mu + np.sqrt(Sigma) * eps


def q_back(x_t, x_0, t, beta):
    """q(x_{t-1} | x_t, x_0): the product of the prior N(sqrt(abar) x_0, c) with the likelihood of x_t."""
    b, c = at(beta, t - 1, x_t), noise_level(beta)
    a_prev, c_prev, c_now = at(signal(beta), t - 1, x_t), at(c, t - 1, x_t), at(c, t, x_t)
    mu = (np.sqrt(a_prev) * b * x_0 + np.sqrt(1.0 - b) * c_prev * x_t) / c_now
    return mu, b * c_prev / c_now * np.ones_like(x_t)


def log_N(x, mu, Sigma):
    return -0.5 * (np.log(2 * np.pi * Sigma) + (x - mu) ** 2 / Sigma)


def H_N(Sigma):
    return 0.5 * (1.0 + np.log(2 * np.pi) + np.log(Sigma))


def cross_H_N(q, p):
    return 0.5 * (np.log(2 * np.pi * p[1]) + (q[1] + (q[0] - p[0]) ** 2) / p[1])


def KL_N(q, p):
    ratio = q[1] / p[1]
    return 0.5 * (ratio - 1.0 - np.log(ratio) + (q[0] - p[0]) ** 2 / p[1])


def KL_N_grad(q, p):
    """Derivatives of KL_N with respect to (mu_q, Sigma_q, mu_p, Sigma_p)."""
    d = (q[0] - p[0]) / p[1]
    return d, 0.5 * (1 / p[1] - 1 / q[1]), -d, 0.5 * ((1 - q[1] / p[1]) / p[1] - d ** 2)


def product(p, r):
    """N(p) times N(r), normalised: how denoising and inpainting change a reverse step."""
    precision = 1.0 / p[1] + 1.0 / r[1]
    return (p[0] / p[1] + r[0] / r[1]) / precision, 1.0 / precision


def nudge(p, g):
    """The same to first order, for any r with gradient g of log r at the mean."""
    return p[0] + p[1] * g, p[1]


def fixed_width(f_mu, beta):
    """A reverse kernel whose network f_mu gives means; its widths are those of the posterior."""
    c = noise_level(beta)

    def kernel(x, t):
        s = np.maximum(t, 2) if len(beta) > 1 else t        # the first posterior is a point
        Sigma = at(beta, s - 1, x) * at(c, s - 1, x) / at(c, s, x)
        return f_mu(x, t), Sigma * np.ones_like(x)
    return kernel


def free_width(f, beta):
    """A network with 2n outputs: the mean by eq. 65 with the root, the width by eq. 64."""
    def kernel(x, t):
        z_mu, z_Sigma = np.split(f(x, t), 2, axis=-1)
        b = at(beta, t - 1, x)
        Sigma = 1.0 / (1.0 + (1.0 - b) / b * np.exp(-z_Sigma))
        return (x - z_mu) * np.sqrt(1.0 - Sigma) + z_mu, Sigma
    return kernel


def KL_step(x_0, t, eps, beta, kernel):
    """KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) of each example, t >= 2."""
    x_t = draw(q_jump(x_0, t, beta), eps)
    return total(KL_N(q_back(x_t, x_0, t, beta), kernel(x_t, t)))


def entropies(beta, n):
    """H_q(X_T|X_0), H_q(X_1|X_0), H_p(X_T) of n components."""
    c = noise_level(beta)
    return n * H_N(c[-1]), n * H_N(c[1]), n * H_N(1.0)


def K(x_0, eps, beta, kernel):
    """The lower bound of eq. 14 for each example; eps[t - 1] is the noise in x_t."""
    T, n = len(beta), x_0[0].size
    kls = sum(KL_step(x_0, np.full(len(x_0), t), eps[t - 1], beta, kernel) for t in range(2, T + 1))
    H_T, H_1, H_pi = entropies(beta, n)
    return -kls + H_T - H_1 - H_pi


def K_from_one(x_0, t, eps, beta, kernel):
    """An unbiased estimate of K with one t, uniform on 2 .. T, for each example."""
    H_T, H_1, H_pi = entropies(beta, x_0[0].size)
    return -(len(beta) - 1) * KL_step(x_0, t, eps, beta, kernel) + H_T - H_1 - H_pi


def L_null(x_0):
    return total(log_N(x_0, 0.0, 1.0))


def log_w(x_0, eps, beta, kernel):
    """log p(x_0 .. x_T)/q(x_1 .. x_T | x_0) on one forward trajectory; the step t = 1 is not learned."""
    x, out = x_0, 0.0
    for t in range(1, len(beta) + 1):
        tt = np.full(len(x_0), t)
        fwd = q_step(x, tt, beta)
        x_next = draw(fwd, eps[t - 1])
        back = kernel(x_next, tt) if t > 1 else T_gauss(x_next, beta[0])
        out = out + total(log_N(x, *back)) - total(log_N(x_next, *fwd))
        x = x_next
    return out + L_null(x)


def log_average(log_weight):
    m = log_weight.max(axis=0)
    return m + np.log(np.mean(np.exp(log_weight - m), axis=0))


def parzen(x, centres, h):
    n = x[0].size
    d2 = total((np.reshape(x, (len(x), 1, n)) - np.reshape(centres, (1, len(centres), n))).reshape(-1, n) ** 2)
    e = -0.5 * d2.reshape(len(x), len(centres)) / h ** 2 - n * np.log(h) - 0.5 * n * np.log(2 * np.pi)
    return log_average(e.T)


def sample(eps, beta, kernel, r=None):
    """Runs p from x_T = eps[T] to x_0, each step multiplied by N(r) if r is given; the last gives its mean."""
    x = eps[len(beta)]
    for t in range(len(beta), 0, -1):
        law = kernel(x, np.full(len(x), t))
        law = law if r is None else product(law, r)
        x = draw(law, eps[t - 1]) if t > 1 else law[0]
    return x


def inpaint(x, known, mask):
    """A factor r that is a delta function where the mask is set."""
    return np.where(mask, known, x)


# ------------------------------------------------------------------------- binomial diffusion


def q_step_bits(x_prev, t, beta, r):
    b = at(beta, t - 1, x_prev)
    return x_prev * (1 - b) + r * b


def q_jump_bits(x_0, t, beta, r):
    return at(signal(beta), t, x_0) * x_0 + at(noise_level(beta), t, x_0) * r


def q_back_bits(x_t, x_0, t, beta, r):
    """P(x_{t-1} = 1 | x_t, x_0) by Bayes' rule over the two values of x_{t-1}."""
    m1 = q_jump_bits(x_0, t - 1, beta, r)
    m0 = at(signal(beta), t - 1, x_0) * (1 - x_0) + at(noise_level(beta), t - 1, x_0) * (1 - r)
    b = at(beta, t - 1, x_t)
    like1 = np.where(x_t > 0, (1 - b) + b * r, b * (1 - r))
    like0 = np.where(x_t > 0, b * r, (1 - b) + b * (1 - r))
    return m1 * like1 / (m1 * like1 + m0 * like0)


def xlogy(x, y):
    return np.where(x == 0, 0.0, x * np.log(np.where(x == 0, 1.0, y)))


def H_bits(p):
    return -xlogy(p, p) - xlogy(1 - p, 1 - p)


def cross_H_bits(q, p):
    return -xlogy(q, p) - xlogy(1 - q, 1 - p)


def KL_bits(q, p):
    return xlogy(q, q) - xlogy(q, p) + xlogy(1 - q, 1 - q) - xlogy(1 - q, 1 - p)


def log_B(x, p):
    return np.log(np.where(x > 0, p, 1 - p))


def draw_bits(p, u):
    return (u < p).astype(np.asarray(p).dtype)


def product_bits(p, r):
    return p * r / (p * r + (1 - p) * (1 - r))


def KL_step_bits(x_0, x_t, t, beta, r, logit):
    """The network gives the logit of a one; log p comes from the logit without a detour."""
    q, z = q_back_bits(x_t, x_0, t, beta, r), logit(x_t, t)
    return total(-H_bits(q) + q * np.logaddexp(0, -z) + (1 - q) * np.logaddexp(0, z))


def K_bits(x_0, x, beta, r, logit):
    """Eq. 14 for bits; x[t - 1] is a draw of x_t."""
    T = len(beta)
    kls = sum(KL_step_bits(x_0, x[t - 1], np.full(len(x_0), t), beta, r, logit) for t in range(2, T + 1))
    H = lambda t: total(H_bits(q_jump_bits(x_0, np.full(len(x_0), t), beta, r)))
    return -kls + H(T) - H(1) - x_0[0].size * H_bits(r)
