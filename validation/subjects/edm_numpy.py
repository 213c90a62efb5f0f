"""EDM (Karras, Aittala, Aila, Laine 2022) in NumPy: x = y + sigma * n, a denoiser D(x; sigma), and the samplers
that go with it.  Plain functions; `F` is the raw network F(x_in, c_noise), `D` a denoiser D(x, sigma)."""
import math

import numpy as np

SIGMA_DATA, P_MEAN, P_STD = 0.5, -1.2, 1.2
SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0


def append_dims(s, ndim):
    s = np.asarray(s, dtype=np.float64)
    return s.reshape(s.shape + (1,) * (ndim - s.ndim))


# ---------------------------------------------------------------- noise levels

def karras_sigmas(n, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, rho=RHO):
    ramp = np.arange(n) / (n - 1)
    hi, lo = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (hi + ramp * (lo - hi)) ** rho
    return np.concatenate([sigmas, [0.0]])


def vp_sigmas(betas):
    """The noise levels of a DDPM chain, sigma[0] the least noisy one."""
    acp = np.cumprod(1.0 - betas)
    return np.sqrt((1.0 - acp) / acp)


def vp_to_ve(x_t, t, betas):
    """State of a DDPM chain -> state of the variance exploding chain (divides by sqrt(acp))."""
    sigma = append_dims(vp_sigmas(betas)[t], x_t.ndim)
    return x_t * np.sqrt(sigma ** 2 + 1.0)


def positional_embedding(x, channels, max_positions=10000, endpoint=False):
    half = channels // 2
    freqs = np.arange(half) / (half - (1 if endpoint else 0))
    freqs = (1.0 / max_positions) ** freqs
    arg = np.outer(x, freqs)
    return np.concatenate([np.cos(arg), np.sin(arg)], axis=1)


# ---------------------------------------------------------------- preconditioning, training

def scalings(sigma, sigma_data=SIGMA_DATA):
    total = sigma ** 2 + sigma_data ** 2
    c_skip = sigma_data ** 2 / total
    c_out = sigma * sigma_data / np.sqrt(total)
    c_in = 1.0 / np.sqrt(total)
    c_noise = np.log(sigma) / 4.0
    return c_skip, c_out, c_in, c_noise


def denoise(F, x, sigma, sigma_data=SIGMA_DATA):
    sigma = append_dims(sigma, x.ndim)
    c_skip, c_out, c_in, c_noise = scalings(sigma, sigma_data)
    f = F(c_in * x, c_noise.reshape(-1))
    return c_skip * x + c_out * f


def diffuse(y, n, sigma):
    return y + append_dims(sigma, y.ndim) * n


def draw_sigma(rnd_normal, p_mean=P_MEAN, p_std=P_STD):
    return np.exp(rnd_normal * p_std + p_mean)


def sigma_pdf(sigma, p_mean=P_MEAN, p_std=P_STD):
    """Density of the training noise levels, with respect to sigma (not ln sigma)."""
    u = (np.log(sigma) - p_mean) / p_std
    return np.exp(-0.5 * u ** 2) / (sigma * p_std * math.sqrt(2 * math.pi))


def loss_weight(sigma, sigma_data=SIGMA_DATA):
    return (sigma ** 2 + sigma_data ** 2) / (sigma * sigma_data) ** 2


def edm_loss(F, y, n, sigma, sigma_data=SIGMA_DATA):
    sigma = append_dims(sigma, y.ndim)
    d_yn = denoise(F, diffuse(y, n, sigma), sigma, sigma_data)
    return np.mean(loss_weight(sigma, sigma_data) * (d_yn - y) ** 2)


# ---------------------------------------------------------------- single steps

def to_d(x, sigma, denoised):
    return (x - denoised) / append_dims(sigma, x.ndim)


def euler_step(D, x, sigma, sigma_next):
    return x + (sigma_next - sigma) * to_d(x, sigma, D(x, sigma))


def heun_step(D, x, sigma, sigma_next):
    d_cur = to_d(x, sigma, D(x, sigma))
    dt = sigma_next - sigma
    x_next = x + dt * d_cur
    if sigma_next > 0:
        d_prime = to_d(x_next, sigma_next, D(x_next, sigma_next))
        x_next = x + dt * (0.5 * d_cur + 0.5 * d_prime)
    return x_next


def churn(x, eps, sigma, n, s_churn, s_min, s_max, s_noise):
    """Raise the noise from sigma to sigma_hat."""
    gamma = min(s_churn / n, math.sqrt(2) - 1) if s_min <= sigma <= s_max else 0.0
    sigma_hat = sigma * (1 + gamma)
    x_hat = x + math.sqrt(sigma_hat ** 2 - sigma ** 2) * s_noise * eps
    return x_hat, sigma_hat


def stochastic_heun_step(D, x, eps, sigma, sigma_next, n, s_churn=0.0, s_min=0.0, s_max=float("inf"), s_noise=1.0):
    x_hat, sigma_hat = churn(x, eps, sigma, n, s_churn, s_min, s_max, s_noise)
    return heun_step(D, x_hat, sigma_hat, sigma_next)


def get_ancestral_step(sigma_from, sigma_to, eta=1.0):
    """How far down to go by the ODE, and how much noise to put back."""
    up = eta * math.sqrt(sigma_to ** 2 * (sigma_from ** 2 - sigma_to ** 2) / sigma_from ** 2)
    sigma_up = min(sigma_to, up)
    sigma_down = math.sqrt(sigma_to ** 2 - sigma_up ** 2)
    return sigma_down, sigma_up


def ancestral_euler_step(D, x, eps, sigma, sigma_next, eta=1.0):
    sigma_down, sigma_up = get_ancestral_step(sigma, sigma_next, eta)
    d = to_d(x, sigma, D(x, sigma))
    x = x + d * (sigma_down - sigma)
    return x + eps * sigma_up


def dpmpp_2m_step(x, denoised, old_denoised, sigma_old, sigma, sigma_next):
    """Second order multistep of DPM-Solver++ in the data prediction; lambda = -ln sigma."""
    lam_old, lam, lam_next = -math.log(sigma_old), -math.log(sigma), -math.log(sigma_next)
    h, h_last = lam_next - lam, lam - lam_old
    r = h_last / h
    denoised_d = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * old_denoised
    return sigma_next / sigma * x - math.expm1(-h) * denoised_d


# ---------------------------------------------------------------- samplers

def sample_euler(D, x, sigmas):
    for s, s_next in zip(sigmas[:-1], sigmas[1:]):
        x = euler_step(D, x, s, s_next)
    return x


def sample_heun(D, x, sigmas):
    for s, s_next in zip(sigmas[:-1], sigmas[1:]):
        x = heun_step(D, x, s, s_next)
    return x


def sample_stochastic(D, x, sigmas, rng, **churn_options):
    n = len(sigmas) - 1
    for s, s_next in zip(sigmas[:-1], sigmas[1:]):
        x = stochastic_heun_step(D, x, rng.standard_normal(x.shape), s, s_next, n, **churn_options)
    return x


def sample_ancestral(D, x, sigmas, rng, eta=1.0):
    for s, s_next in zip(sigmas[:-1], sigmas[1:]):
        x = ancestral_euler_step(D, x, rng.standard_normal(x.shape), s, s_next, eta)
    return x


def sample_dpmpp_2m(D, x, sigmas):
    old = None
    for i in range(len(sigmas) - 1):
        s, s_next = sigmas[i], sigmas[i + 1]
        denoised = D(x, s)
        if s_next == 0:
            x = denoised
        elif old is None:
            x = s_next / s * x + (1 - s_next / s) * denoised
        else:
            x = dpmpp_2m_step(x, denoised, old, sigmas[i - 1], s, s_next)
        old = denoised
    return x


def ode_log_likelihood(D, trace, x, sigmas):
    """ln p(x) in nats by the probability flow, sigmas rising; `trace(x, sigma)` is tr dD/dx of each example.
    Heun's rule for x and for the divergence together, in ln sigma."""
    dim = x[0].size
    logdet = np.zeros(len(x))

    def rates(x, s):
        return x - D(x, s), dim - trace(x, s)          # d/d(ln sigma)

    for s, s_next in zip(sigmas[:-1], sigmas[1:]):
        h = math.log(s_next / s)
        k1, l1 = rates(x, s)
        k2, l2 = rates(x + h * k1, s_next)
        x = x + 0.5 * h * (k1 + k2)
        logdet = logdet + 0.5 * h * (l1 + l2)
    s_end = sigmas[-1]
    energy = 0.5 * np.sum(x.reshape(len(x), -1) ** 2, axis=1) / s_end ** 2
    return logdet - energy - 0.5 * dim * math.log(2 * math.pi * s_end ** 2)
