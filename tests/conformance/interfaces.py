"""Small objects with the interfaces that the ready-made adapters know, written from what those interfaces say.

Everything is looked up in tables of one precision, as there.  They are right, unless `bug` names what is done wrong.
"""

from functools import wraps
from types import SimpleNamespace

import numpy as np
from scipy.special import ndtr

LOG_2 = np.log(2)


def column(table, t, x):
    return table[t].reshape((-1,) + (1,) * (x.ndim - 1))


class Tables:
    """ᾱ, ᾱ_{t−1} and β, and the weights of the posterior; bugs that all interfaces can have."""

    def __init__(self, beta, dtype, bug=""):
        self.bug, self.dtype = bug, dtype
        beta = np.asarray(beta, dtype=np.float64)
        level = np.cumprod(1 - beta)
        before = np.append(level[0] if bug == "padded with itself" else 1.0, level[:-1])
        self.table = {name: value.astype(dtype) for name, value in {
            "beta": beta, "level": level, "root": np.sqrt(level), "rest": 1 - level, "root_rest": np.sqrt(1 - level),
            "over": np.sqrt(1 / level), "ratio": np.sqrt(1 / level - 1),
            "c_0": beta * np.sqrt(before) / (1 - level), "c_t": (1 - before) * np.sqrt(1 - beta) / (1 - level),
            "small": beta * (1 - before) / (1 - level)}.items()}
        if bug == "no root":
            self.table["c_t"] = ((1 - before) * (1 - beta) / (1 - level)).astype(dtype)
        if bug == "root of the wrong level":
            self.table["c_t"] = ((1 - before) * np.sqrt(level) / (1 - level)).astype(dtype)
        if bug == "deviation for variance":
            self.table["small"] = np.sqrt(self.table["small"])

    def __getitem__(self, name):
        return self.table[name]

    def sample(self, x_0, t, noise):
        spread = "rest" if self.bug == "variance for deviation" else "root_rest"
        return column(self["root"], t, x_0) * x_0 + column(self[spread], t, x_0) * noise

    def mean(self, x_0, x_t, t):
        return column(self["c_0"], t, x_t) * x_0 + column(self["c_t"], t, x_t) * x_t

    def x_0_of_noise(self, noise, x_t, t):
        return column(self["over"], t, x_t) * x_t - column(self["ratio"], t, x_t) * noise

    def noise_of_x_0(self, x_0, x_t, t):
        return (column(self["over"], t, x_t) * x_t - x_0) / column(self["ratio"], t, x_t)

    def v(self, x_0, noise, t):
        sign = -1 if self.bug == "sign of v" else 1
        return sign * (column(self["root"], t, x_0) * noise - column(self["root_rest"], t, x_0) * x_0)

    def x_0_of_v(self, v, x_t, t):
        return column(self["root"], t, x_t) * x_t - column(self["root_rest"], t, x_t) * v


class Guided:
    """Of guided-diffusion.   `predicts` EPSILON, START_X or PREVIOUS_X; `variance` FIXED_SMALL, FIXED_LARGE or LEARNED_RANGE."""

    def __init__(self, beta, dtype="float32", bug="", predicts="EPSILON", variance="FIXED_SMALL"):
        self._tables, self._bug = Tables(beta, dtype, bug), bug
        self.betas, self.alphas_cumprod = np.asarray(beta, dtype=np.float64), self._tables["level"]
        self.model_mean_type, self.model_var_type = SimpleNamespace(name=predicts), SimpleNamespace(name=variance)
        self.loss_type = SimpleNamespace(name="MSE")

    def q_mean_variance(self, x_start, t):
        rest = column(self._tables["rest"], t, x_start)
        return column(self._tables["root"], t, x_start) * x_start, rest + 0 * x_start.astype(rest.dtype), np.log(rest)

    def q_sample(self, x_start, t, noise):
        return self._tables.sample(x_start, t, noise)

    def _first_is_next(self, variance):
        return np.append(self._tables["small"][1], variance[1:])

    def q_posterior_mean_variance(self, x_start, x_t, t):
        small = self._tables["small"]
        log_clipped = column(np.log(self._first_is_next(small)), t, x_t)
        return self._tables.mean(x_start, x_t, t), column(small, t, x_t), log_clipped

    def _predict_xstart_from_eps(self, x_t, t, eps):
        return self._tables.x_0_of_noise(eps, x_t, t)

    def _predict_eps_from_xstart(self, x_t, t, pred_xstart):
        return self._tables.noise_of_x_0(pred_xstart, x_t, t)

    def _predict_xstart_from_xprev(self, x_t, t, xprev):
        return (xprev - column(self._tables["c_t"], t, x_t) * x_t) / column(self._tables["c_0"], t, x_t)

    def p_mean_variance(self, model, x, t, clip_denoised=True):
        output, C = model(x, t), x.shape[1]
        small, beta = self._first_is_next(self._tables["small"]), self._tables["beta"]
        if self.model_var_type.name == "LEARNED_RANGE":
            output, head = output[:, :C], output[:, C:]
            share = (head + 1) / 2
            low, high = column(np.log(small), t, x), column(np.log(beta), t, x)
            if self._bug == "range of variances":
                log_variance = np.log(share * np.exp(high) + (1 - share) * np.exp(low))
            else:
                log_variance = share * high + (1 - share) * low
        else:
            chosen = small if self.model_var_type.name == "FIXED_SMALL" else self._first_is_next(beta)
            log_variance = column(np.log(chosen), t, x) + 0 * x
        match self.model_mean_type.name:
            case "EPSILON":
                x_0 = self._tables.x_0_of_noise(output, x, t)
            case "START_X":
                x_0 = output
            case "PREVIOUS_X":
                x_0 = self._predict_xstart_from_xprev(x, t, output)
        x_0 = np.clip(x_0, -1, 1) if clip_denoised else x_0
        mean = output if self.model_mean_type.name == "PREVIOUS_X" else self._tables.mean(x_0, x, t)
        return {"mean": mean, "variance": np.exp(log_variance), "log_variance": log_variance, "pred_xstart": x_0}

    def _vb_terms_bpd(self, model, x_start, x_t, t, clip_denoised=True):
        q_mean, _, q_log = self.q_posterior_mean_variance(x_start, x_t, t)
        p = self.p_mean_variance(model, x_t, t, clip_denoised=clip_denoised)
        kl = (p["log_variance"] - q_log - 1 + np.exp(q_log - p["log_variance"])
              + (q_mean - p["mean"]) ** 2 * np.exp(-p["log_variance"])) / 2
        if self._bug == "no half":
            kl = 2 * kl
        first = (t == 0).reshape((-1,) + (1,) * (x_t.ndim - 1))
        terms = np.where(first, self._decoder(x_start, p["mean"], np.exp(p["log_variance"] / 2)), kl)
        return {"output": terms.reshape(len(terms), -1).mean(axis=1) / LOG_2, "pred_xstart": p["pred_xstart"]}

    def _decoder(self, x_0, mean, deviation):
        high, low = (x_0 + 1 / 255 - mean) / deviation, (x_0 - 1 / 255 - mean) / deviation
        high, low = np.where(x_0 > 0.999, np.inf, high), np.where(x_0 < -0.999, -np.inf, low)
        if self._bug == "tanh":
            high, low = (np.where(np.isinf(z), np.sign(z), np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * np.where(
                np.isinf(z), 0, z) ** 3))) / 2 + 0.5 for z in (high, low))
            return -np.log(np.maximum(high - low, 1e-12))
        swap = low > 0                                            # in the upper tail from the other side
        mass = np.where(swap, ndtr(-low.astype(np.float64)) - ndtr(-high.astype(np.float64)),
                        ndtr(high.astype(np.float64)) - ndtr(low.astype(np.float64)))
        return -np.log(mass)

    def training_losses(self, model, x_start, t, noise):
        x_t = self.q_sample(x_start, t, noise)
        targets = {"EPSILON": noise, "START_X": x_start, "PREVIOUS_X": self._tables.mean(x_start, x_t, t)}
        said = model(x_start if self._bug == "asked at the data" else x_t, t)[:, :x_t.shape[1]]
        loss = ((said - targets[self.model_mean_type.name]) ** 2).reshape(len(x_t), -1).mean(axis=1)
        if self.model_var_type.name == "LEARNED_RANGE":
            loss = loss + (2 if self._bug == "twice the bound" else 1) * self._vb_terms_bpd(model, x_start, x_t, t, False)["output"]
        return {"loss": loss}

    def _prior_bpd(self, x_start):
        level = self._tables["level"][-1]
        kl = (level * x_start * x_start - level - np.log(1 - level)) / 2
        return kl.reshape(len(kl), -1).mean(axis=1) / LOG_2


class Respaced(Guided):
    """Of guided-diffusion, made of every second step of a longer one; the network is told their times, from 0 to 1000."""

    rescale_timesteps = True

    def __init__(self, beta, dtype="float32", bug="", **choices):
        super().__init__(beta, dtype, bug, **choices)
        self.timestep_map = [2 * t + 1 for t in range(len(self.betas))]
        self.original_num_steps = 2 * len(self.betas)

    def _telling(self, model):
        told = np.arange(len(self.betas)) if self._bug == "told the number" else np.array(self.timestep_map)
        return lambda x, t: model(x, told[t] * np.float32(1000 / self.original_num_steps))

    def p_mean_variance(self, model, x, t, clip_denoised=True):
        return super().p_mean_variance(self._telling(model), x, t, clip_denoised)

    def training_losses(self, model, x_start, t, noise):
        return super().training_losses(self._telling(model), x_start, t, noise)


def with_samplers(torch):
    """The class of one of guided-diffusion that draws, in NumPy but for the noise."""
    class Drawing(Guided):
        def _noise(self, x):
            if self._bug == "noise of another kind":
                return torch.empty(x.shape).normal_().numpy()
            return torch.randn_like(torch.as_tensor(x)).numpy()

        def p_sample(self, model, x, t, clip_denoised=True):
            p, noise = self.p_mean_variance(model, x, t, clip_denoised), self._noise(x)
            drawn = column((np.arange(len(self.betas)) != 0).astype(x.dtype), t, x) * np.exp(p["log_variance"] / 2) * noise
            return {"sample": p["mean"] + drawn}

        def p_sample_loop(self, model, shape, noise, clip_denoised=True, device=None):
            for t in reversed(range(2 if self._bug == "two steps too early" else 0, len(self.betas))):
                noise = self.p_sample(model, noise, np.full(shape[0], t), clip_denoised)["sample"]
            return noise

    return Drawing


def in_tensors(torch):
    """The class of one of guided-diffusion that takes and gives tensors, and whose tables are looked up at whole numbers only."""
    class InTensors:
        def __init__(self, beta, dtype="float32", bug="", **choices):
            self._of = Guided(beta, dtype, bug, **choices)

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            member = getattr(self._of, name)
            return asked_in_tensors(member) if callable(member) else member

    def asked_in_tensors(function):
        @wraps(function)
        def call(*given, **named):
            value = function(*map(in_numpy, given), **{name: in_numpy(part) for name, part in named.items()})
            if isinstance(value, dict):
                return {name: torch.as_tensor(part) for name, part in value.items()}
            return tuple(map(torch.as_tensor, value)) if isinstance(value, tuple) else torch.as_tensor(value)
        return call

    def in_numpy(part):
        return part.numpy() if isinstance(part, torch.Tensor) else part

    return InTensors


class Lucid:
    """Of denoising_diffusion_pytorch."""

    def __init__(self, beta, dtype="float32", bug="", objective="pred_noise", gamma=np.inf):
        self._tables, self.objective, self._bug = Tables(beta, dtype, bug), objective, bug
        self.betas, self.alphas_cumprod = self._tables["beta"], self._tables["level"]
        ratio = self.alphas_cumprod / (1 - self.alphas_cumprod)
        self.loss_weight = np.minimum(ratio, gamma).astype(dtype)
        if bug != "weight of x_0":
            self.loss_weight /= {"pred_noise": ratio, "pred_x0": 1, "pred_v": ratio + 1}.get(objective, 1)

    def p_losses(self, x_start, t, noise=None):
        targets = {"pred_noise": noise, "pred_x0": x_start, "pred_v": self._tables.v(x_start, noise, t)}
        error = self.model(self.q_sample(x_start, t, noise), t, None) - targets[self.objective]
        return ((error ** 2).mean(axis=(1, 2, 3)) * self.loss_weight[t]).mean()

    def q_sample(self, x_start, t, noise):
        return self._tables.sample(x_start, t, noise)

    def predict_start_from_noise(self, x_t, t, noise):
        return self._tables.x_0_of_noise(noise, x_t, t)

    def predict_noise_from_start(self, x_t, t, x0):
        return self._tables.noise_of_x_0(x0, x_t, t)

    def predict_v(self, x_start, t, noise):
        return self._tables.v(x_start, noise, t)

    def predict_start_from_v(self, x_t, t, v):
        return self._tables.x_0_of_v(v, x_t, t)

    def q_posterior(self, x_start, x_t, t):
        variance = column(self._tables["small"], t, x_t)
        return self._tables.mean(x_start, x_t, t), variance, np.log(np.maximum(variance, variance.dtype.type(1e-20)))

    def p_mean_variance(self, x, t, x_self_cond=None, clip_denoised=True):
        said = self.model(x, t, x_self_cond)
        x_0 = {"pred_noise": lambda: self.predict_start_from_noise(x, t, said), "pred_x0": lambda: said,
               "pred_v": lambda: self.predict_start_from_v(x, t, said)}[self.objective]()
        return *self.q_posterior(np.clip(x_0, -1, 1) if clip_denoised else x_0, x, t), x_0


class Learned(Lucid):
    """With a learned variance, and arguments by name; it predicts noise, whatever its objective says."""

    vb_loss_weight = 0.001

    def p_mean_variance(self, *, x, t, clip_denoised, model_output=None, **more):
        said, head = np.split(self.model(x, t), 2, axis=1)
        small, large = self._tables["small"], self._tables["beta"]
        low = column(np.log(np.maximum(small, small.dtype.type(1e-20))), t, x)
        log_variance = low + (head + 1) / 2 * (column(np.log(large), t, x) - low)
        x_0 = self.predict_start_from_noise(x, t, said)
        return self.q_posterior(x_0, x, t)[0], np.exp(log_variance), log_variance, x_0


class Classes(Lucid):
    """With classes and guidance."""

    def p_mean_variance(self, x, t, classes, cond_scale, rescaled_phi, clip_denoised=True):
        with_classes, without = self.model.forward_with_cond_scale(x, t, classes, cond_scale=cond_scale, rescaled_phi=rescaled_phi)
        x_0 = self.predict_start_from_noise(x, t, without + cond_scale * (with_classes - without))
        return *self.q_posterior(np.clip(x_0, -1, 1) if clip_denoised else x_0, x, t), x_0


class DDIM:
    """A scheduler of DDIM as diffusers has it, without a framework: the noise of a step may be given."""

    def __init__(self, beta, dtype="float32", bug="", prediction_type="epsilon", set_alpha_to_one=True, steps_offset=0,
                 **choices):
        self.betas, self._bug = np.asarray(beta).astype(dtype), bug
        if "snr_shift_scale" in choices:                   # SNR over that, in the table of ᾱ alone
            level = np.append(1.0, np.cumprod(1 - beta))
            level /= level + choices["snr_shift_scale"] * (1 - level)
            beta = 1 - level[1:] / level[:-1]
        self._tables = Tables(beta, dtype, bug)
        self.alphas_cumprod = self._tables["level"]
        self.final_alpha_cumprod = self.betas.dtype.type(1) if set_alpha_to_one else self.alphas_cumprod[0]
        self.config = SimpleNamespace(prediction_type=prediction_type, num_train_timesteps=len(self.betas), **choices)
        self.num_inference_steps, self._offset = None, steps_offset

    def set_timesteps(self, num_inference_steps):
        self.num_inference_steps, T = num_inference_steps, len(self.betas)
        steps = np.arange(num_inference_steps) * (T // num_inference_steps) + self._offset
        if self._bug == "stride of another list":
            steps = np.linspace(0, T - 1, num_inference_steps).round().astype(np.int64)
        self.timesteps = steps[::-1]

    def add_noise(self, original_samples, noise, timesteps):
        return self._tables.sample(original_samples, timesteps, noise)

    def get_velocity(self, sample, noise, timesteps):
        return self._tables.v(sample, noise, timesteps)

    def step(self, model_output, timestep, sample, eta=0.0, variance_noise=None):
        eta = 0 if self._bug == "no noise" else eta
        back = timestep - len(self.betas) // self.num_inference_steps
        level, before = self.alphas_cumprod[timestep], self.alphas_cumprod[back] if back >= 0 else self.final_alpha_cumprod
        x_0 = {"epsilon": lambda: (sample - np.sqrt(1 - level) * model_output) / np.sqrt(level), "sample": lambda: model_output,
               "v_prediction": lambda: np.sqrt(level) * sample - np.sqrt(1 - level) * model_output}[self.config.prediction_type]()
        noise = (sample - np.sqrt(level) * x_0) / np.sqrt(1 - level)
        variance = eta ** 2 * (1 - before) / (1 - level) * (1 - level / before)
        kept = 1 - before if self._bug == "all of the noise" else np.maximum(1 - before - variance, 0)
        spread = variance if self._bug == "variance for deviation" else np.sqrt(variance)
        drawn = spread * variance_noise if eta > 0 else 0
        return np.sqrt(before) * x_0 + np.sqrt(kept) * noise + drawn, x_0


def ddpm_scheduler(torch):
    """The class of a scheduler as diffusers has it, which draws from a generator."""
    class DDPM:
        def __init__(self, beta, dtype="float32", bug="", prediction_type="epsilon", variance_type="fixed_small"):
            self.dtype_, self._bug = getattr(torch, dtype), bug
            self.betas = torch.as_tensor(np.asarray(beta)).to(self.dtype_)
            self.alphas_cumprod = torch.cumprod(1 - self.betas, dim=0)
            self.config = SimpleNamespace(prediction_type=prediction_type, variance_type=variance_type)

        def _columns(self, timesteps, x):
            level = self.alphas_cumprod[timesteps].reshape((-1,) + (1,) * (x.ndim - 1))
            return level ** 0.5, (1 - level) ** 0.5

        def add_noise(self, original_samples, noise, timesteps):
            root, rest = self._columns(timesteps, original_samples)
            return root * original_samples + rest * noise

        def get_velocity(self, sample, noise, timesteps):
            root, rest = self._columns(timesteps, sample)
            return (rest * sample - root * noise) if self._bug == "sign of v" else root * noise - rest * sample

        def _get_variance(self, t, predicted_variance=None):
            before = self.alphas_cumprod[t - 1] if t > 0 else torch.ones((), dtype=self.dtype_)
            small = self.betas[t] * (1 - before) / (1 - self.alphas_cumprod[t])
            return {"fixed_small": small.clamp(min=1e-20), "fixed_large": self.betas[t]}[self.config.variance_type]

        def step(self, model_output, timestep, sample, generator=None):
            t = timestep
            level, alpha = self.alphas_cumprod[t], 1 - self.betas[t]
            before = self.alphas_cumprod[t - 1] if t > 0 else torch.ones((), dtype=self.dtype_)
            x_0 = {"epsilon": lambda: (sample - (1 - level) ** 0.5 * model_output) / level ** 0.5, "sample": lambda: model_output,
                   "v_prediction": lambda: level ** 0.5 * sample - (1 - level) ** 0.5 * model_output}[self.config.prediction_type]()
            c_t = alpha if self._bug == "no root" else alpha ** 0.5
            mean = (before ** 0.5 * self.betas[t] * x_0 + c_t * (1 - before) * sample) / (1 - level)
            if t > 0 or self._bug == "noise at the end":
                z = torch.randn(sample.shape, generator=generator, dtype=sample.dtype)
                spread = self._get_variance(t) if t > 0 else self.betas[t]
                mean = mean + (spread if self._bug == "variance for deviation" else spread ** 0.5) * z
            return SimpleNamespace(prev_sample=mean, pred_original_sample=x_0)

    return DDPM


class Symbols:
    """Of D3PM as cloneofsimo has it: t from 1, transposed matrices."""

    def __init__(self, beta, dtype="float32", bug="", K=4):
        self._bug, self.beta_t, self.num_classes = bug, np.asarray(beta, dtype=np.float64), K
        self._logits_of = np.log(np.eye(K, dtype=dtype) + np.finfo(dtype).tiny)
        changed = [b * K / (K - 1) if bug == "shared among the others" else b for b in self.beta_t]
        one = [(1 - b) * np.eye(K) + b / K * np.ones((K, K)) for b in changed]
        total = [one[0]]
        for matrix in one[1:]:
            total.append(total[-1] @ matrix)
        self.q_one_step_transposed, self.q_mats = (np.swapaxes(one, 1, 2).astype(dtype), np.stack(total).astype(dtype))

    def q_posterior_logits(self, x_0, x_t, t):
        logits = self._logits_of[x_0] if x_0.dtype.kind == "i" else x_0
        weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
        said = weight / weight.sum(axis=-1, keepdims=True)
        if self._bug == "softmax twice" and x_0.dtype.kind == "f":
            weight = np.exp(said)
            said = weight / weight.sum(axis=-1, keepdims=True)
            logits = np.log(said)
        at = t - 1 if self._bug == "an index off" else t - 2
        evidence = self.q_one_step_transposed[(t - 1)[:, None], x_t]
        before = np.einsum("ndk,nkj->ndj", said, self.q_mats[at])
        found = np.log(before) if self._bug == "no evidence" else np.log(evidence) + np.log(before)
        return np.where((t == 1)[:, None, None], logits, found)


class Pixels(Symbols):
    """Of D3PM as google-research has it: t from 0, images, and a flag for logits."""

    def __init__(self, beta, dtype="float32", bug="", K=4):
        super().__init__(beta, dtype, bug, K)
        self.transpose_q_onestep_mats, self.betas = self.q_one_step_transposed, self.beta_t

    def q_probs(self, x_start, t):
        return self.q_mats[t[:, None], x_start]

    def q_posterior_logits(self, x_start, x_t, t, x_start_logits):
        assert x_t.ndim == 4 and x_start.ndim == 4 + x_start_logits
        flat = x_start.reshape((len(x_start), -1) + x_start.shape[4:])
        return super().q_posterior_logits(flat, x_t.reshape(len(x_t), -1), t + 1).reshape(x_t.shape + (self.num_classes,))


class LogLinear:
    """σ_t and dσ/dt of masks."""

    eps = 1e-3

    def __call__(self, t):
        kept = 1 - (1 - self.eps) * t
        return -np.log(kept), (1 - self.eps) / kept


def _sample_categorical(law):
    raise AssertionError("nothing is drawn in a check")


class MDLM:
    """A masked diffusion around a backbone that says logits, the mask among them; t is of no account to it."""

    def __init__(self, beta, dtype="float32", bug="", parameterization="subs", T=0):
        self._bug, self.parameterization, self.T = bug, parameterization, T
        self.mask_index, self.noise, self.backbone = 50257, LogLinear(), None

    def q_xt(self, x, move_chance):
        raise AssertionError("x_t is given in a check")

    def _log_p(self, x, sigma):
        logits = np.array(self.backbone(x, sigma))
        if self._bug != "the mask may be said":
            logits[..., self.mask_index] = -1e6
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        there = np.where(np.arange(logits.shape[-1]) == x[..., None], 0, np.float32(-1e6))
        return np.where((x == self.mask_index)[..., None], log_p, there)

    def _forward_pass_diffusion(self, x0):
        sigma, dsigma = self.noise(np.zeros(len(x0)))
        log_p = self._log_p(self.q_xt(x0, 1 - np.exp(-sigma)), sigma)
        weight = dsigma if self._bug == "no weight" else dsigma / np.expm1(sigma)
        return -np.take_along_axis(log_p, x0[..., None], axis=-1)[..., 0] * weight[:, None]

    def _ddpm_update(self, x, t, dt):
        moved, moved_next = (1 - np.exp(-self.noise(at)[0])[:, None, None] for at in (t, t - dt))
        law = np.exp(self._log_p(x, t)) * (moved - moved_next)
        law[..., self.mask_index] = moved_next[..., 0]
        drawn = _sample_categorical(law)
        return drawn if self._bug == "drawn again" else np.where(x == self.mask_index, drawn, x)
