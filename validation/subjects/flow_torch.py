"""Rectified flow / conditional flow matching in PyTorch (float32).

Time runs from noise (t = 0) to data (t = 1), as in Liu et al. 2022 and Lipman et al. 2023:
    z_t = t * data + (1 - t) * noise,      v = dz_t/dt = data - noise.
"""
import torch
import torch.nn.functional as F


def bc(t, like):
    """time -> tensor that broadcasts against a batch."""
    t = torch.as_tensor(t, dtype=like.dtype, device=like.device)
    return t if t.ndim == 0 else t.reshape(t.shape[0], *[1] * (like.ndim - 1))


# ------------------------------------------------------------------------------------------ the probability path

class LinearPath:
    def coeffs(self, t):
        return t, 1 - t                                    # a_t of the data, b_t of the noise

    def mix(self, data, noise, t):
        a, b = self.coeffs(bc(t, data))
        return a * data + b * noise

    def target(self, data, noise):
        return data - noise

    def data_from_v(self, v, z, t):
        _, b = self.coeffs(bc(t, z))
        return z + b * v

    def noise_from_v(self, v, z, t):
        a, _ = self.coeffs(bc(t, z))
        return z - a * v

    def v_from_data(self, data, z, t):
        _, b = self.coeffs(bc(t, z))
        return (data - z) / b

    def v_from_noise(self, noise, z, t):
        a, _ = self.coeffs(bc(t, z))
        return (z - noise) / a

    def score_from_v(self, v, z, t):
        _, b = self.coeffs(bc(t, z))
        return -self.noise_from_v(v, z, t) / b

    def alpha_bar(self, t):
        """Level of the variance preserving chain with the same signal to noise ratio."""
        a, b = self.coeffs(t)
        return a ** 2 / (a ** 2 + b ** 2)


# ------------------------------------------------------------------------------------------------------- training

def logit_normal_time(normal, loc=0.0, scale=1.0):
    return torch.sigmoid(loc + scale * normal)


def shift_time(t, shift):
    """SD3's shift towards the noise for large images; SD3 counts time the other way, s u / (1 + (s - 1) u)."""
    u = 1 - t
    u = shift * u / (1 + (shift - 1) * u)
    return 1 - u


class FlowMatching:
    def __init__(self, net, path=None, loc=0.0, scale=1.0, shift=1.0):
        self.net, self.path = net, path or LinearPath()
        self.loc, self.scale, self.shift = loc, scale, shift

    def draw_time(self, n=None, normal=None):
        if normal is None:
            normal = torch.randn(n)
        return shift_time(logit_normal_time(normal, self.loc, self.scale), self.shift)

    def loss(self, data, noise=None, t=None):
        if t is None:
            t = self.draw_time(len(data)).to(data)
        if noise is None:
            noise = torch.randn_like(data)
        z = self.path.mix(data, noise, t)
        return F.mse_loss(self.net(z, t), self.path.target(data, noise))


# ------------------------------------------------------------------------------------------------------- guidance

def cfg(cond, uncond, scale):
    return uncond + scale * (cond - uncond)


def per_sample_std(x):
    return x.flatten(1).std(dim=1).reshape(-1, *[1] * (x.ndim - 1))


def cfg_rescale(guided, cond, phi=0.7):
    """Lin et al. 2023, section 3.4: keep the standard deviation of the conditional prediction."""
    rescaled = guided * (per_sample_std(cond) / per_sample_std(guided))
    return phi * rescaled + (1 - phi) * guided


class GuidedField:
    def __init__(self, net, label, scale, phi=0.0):
        self.net, self.label, self.scale, self.phi = net, label, scale, phi

    def __call__(self, z, t):
        cond, uncond = self.net(z, t, self.label), self.net(z, t, None)
        return cfg_rescale(cfg(cond, uncond, self.scale), cond, self.phi)


# ------------------------------------------------------------------------------------------------------- sampling

class ODESampler:
    def __init__(self, field, path=None, method="euler", shift=1.0):
        self.field, self.path, self.shift = field, path or LinearPath(), shift
        self.step = {"euler": self.euler, "heun": self.heun}[method]

    def timesteps(self, n):
        return shift_time(torch.linspace(0.0, 1.0, n + 1), self.shift)

    def euler(self, z, t, t_next):
        return z + (t_next - t) * self.field(z, t)

    def heun(self, z, t, t_next):
        dt = t_next - t
        v = self.field(z, t)
        return z + dt / 2 * (v + self.field(z + dt * v, t_next))

    def sde(self, z, t, t_next, noise, w):
        """Euler-Maruyama for dz = (v + w/2 score) dt + sqrt(w) dB, which has the marginals of the ODE."""
        dt = t_next - t
        v = self.field(z, t)
        drift = v + 0.5 * w * self.path.score_from_v(v, z, t)
        return z + dt * drift + (w * dt) ** 0.5 * noise

    @torch.no_grad()
    def sample(self, z, n):
        ts = self.timesteps(n).to(z)
        for i in range(n):
            z = self.step(z, ts[i], ts[i + 1])
        return z
