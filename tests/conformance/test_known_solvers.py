"""Ready-made adapters of solvers and denoisers: right objects pass, wrong ones fail with a name, others are not claimed."""

from types import SimpleNamespace

import numpy as np
import pytest

from refdpm.conformance.judge import Effort
from refdpm.conformance.known import detect, solvers
from refdpm.conformance.session import check

QUICK = Effort(max_examples=4, shrinks=10)


class Config(SimpleNamespace):
    """What a scheduler was made with."""


class Scheduler:
    """What schedulers in σ have in common: a list of levels, and where in it they are."""

    order = 1

    def __init__(self, bug="", **config):
        self.bug, self.config = bug, Config(**{"prediction_type": "epsilon", **config})
        self.sigmas, self.timesteps = np.array([2, 1, 0], dtype=np.float32), np.array([2, 1], dtype=np.float32)
        self._step_index = self._begin_index = None
        self.alphas_cumprod = np.array([0.9, 0.5], dtype=np.float32)

    def register_to_config(self, **config):
        vars(self.config).update(config)

    def set_timesteps(self, count):
        high, low = (level ** (1 / 7) for level in (self.config.sigma_max, self.config.sigma_min))
        levels = (high + np.linspace(0, 1, count) * (low - high)) ** 7
        self.sigmas = np.append(levels, 0).astype(np.float32)

    def add_noise(self, original_samples, noise, timesteps):
        at = [list(self.timesteps).index(t) for t in timesteps]
        return original_samples + self.sigmas[at].reshape((-1,) + (1,) * (noise.ndim - 1)) * noise

    def next_levels(self):
        at = 0 if self._step_index is None else self._step_index
        self._step_index = at + 1
        return self.sigmas[at], self.sigmas[at + 1]

    def said(self, output, x, sigma):
        kind = self.config.prediction_type
        if kind == "v_prediction":
            return x / (sigma ** 2 + 1) - output * sigma / np.sqrt(sigma ** 2 + 1)
        return output if kind == "sample" else x - sigma * output


class Euler(Scheduler):
    def step(self, model_output, timestep, sample, s_churn=0.0, s_noise=1.0):
        sigma, after = self.next_levels()
        slope = (sample - self.said(model_output, sample, sigma)) / (after if self.bug else sigma)
        return SimpleNamespace(prev_sample=sample + (after - sigma) * slope)


class Heun(Scheduler):
    order = 2

    def __init__(self, *given, **config):
        super().__init__(*given, **config)
        self.prev_derivative = None

    def step(self, model_output, timestep, sample):
        at = 0 if self._step_index is None else self._step_index
        first = self.prev_derivative is None
        sigma, after = (self.sigmas[at], self.sigmas[at + 1]) if first else (self.sigmas[at - 1], self.sigmas[at])
        self._step_index = at + 1
        level = sigma if first or self.bug else after
        slope = (sample - self.said(model_output, sample, sigma if first else after)) / level
        if first:
            self.prev_derivative, self.start = slope, sample
            return SimpleNamespace(prev_sample=sample + (after - sigma) * slope)
        found = self.start + (after - sigma) * (self.prev_derivative + slope) / 2
        self.prev_derivative = None
        return SimpleNamespace(prev_sample=found)


class Multistep(Scheduler):
    def __init__(self, *given, **config):
        super().__init__(*given, algorithm_type="dpmsolver++", solver_type="midpoint", solver_order=2, **config)
        self.model_outputs, self.lower_order_nums = [None, None], 0

    def add_noise(self, original_samples, noise, timesteps):
        at = [list(self.timesteps).index(t) for t in timesteps]
        sigma = self.sigmas[at].reshape((-1,) + (1,) * (noise.ndim - 1))
        return super().add_noise(original_samples, noise, timesteps) / np.sqrt(1 + sigma ** 2)

    def step(self, model_output, timestep, sample):
        before = self.sigmas[(self._step_index or 0) - 1]
        sigma, after = self.next_levels()
        keep, keep_after = (1 / np.sqrt(1 + level ** 2) for level in (sigma, after))
        now = (sample - sigma * keep * model_output) / keep if self.config.prediction_type == "epsilon" else model_output
        self.model_outputs = [self.model_outputs[1], now]
        if self.lower_order_nums and after > 0:
            r = np.log(before / sigma) / np.log(sigma / after)
            now = now + (now - self.model_outputs[0]) / 2 * (r if self.bug else 1 / r)
        self.lower_order_nums = 1
        ratio = after / sigma
        return SimpleNamespace(prev_sample=keep_after * (ratio * sample / keep + (1 - ratio) * now))


class Flow(Scheduler):
    def __init__(self, bug="", num_train_timesteps=1000, shift=1.0):
        super().__init__(bug, shift=shift, num_train_timesteps=num_train_timesteps, stochastic_sampling=False, invert_sigmas=False)
        self.shift = shift
        self.sigmas = self.moved(np.arange(num_train_timesteps, 0, -1) / num_train_timesteps)
        self.ends = (self.sigmas[0], self.sigmas[-1]) if bug == "list" else (1.0, 1 / num_train_timesteps)

    @classmethod
    def from_config(cls, config, **more):
        bug = "list" if cls is WithWrongList else ""
        return Flow(bug, **{name: getattr(config, name) for name in ("shift", "num_train_timesteps")} | more)

    def moved(self, t):
        return self.shift * t / (1 + (self.shift - 1) * t)

    def set_shift(self, shift):
        self.shift = shift

    def set_timesteps(self, count=None, sigmas=None):
        t = np.linspace(*self.ends, count) if sigmas is None else np.array(sigmas)
        self.sigmas = np.append(self.moved(t), 0).astype(np.float32)

    def scale_noise(self, sample, timestep, noise):
        at = [list(self.timesteps).index(t) for t in timestep]
        t = self.sigmas[at].reshape((-1,) + (1,) * (noise.ndim - 1))
        return (1 - t) * sample + t * noise

    def step(self, model_output, timestep, sample):
        time, after = self.next_levels()
        return SimpleNamespace(prev_sample=sample + (time - after if self.bug == "back" else after - time) * model_output)


class WithWrongList(Flow):
    """Ends that are kept after they have been shifted."""


def failing(report):
    return {row["id"]: row["mistake"] for row in report["clauses"] if row["verdict"] not in ("pass", "skipped")}


@pytest.mark.parametrize("scheduler,passing", [
    (Euler(), {"SIG.SAMPLE.VALUE", "SIG.LEVELS.VALUE", "SLV.EULER.X_NEXT", "SLV.EULER_PATH.X_0", "SLV.EULER_LAW"}),
    (Euler(prediction_type="v_prediction"), {"SLV.EULER.X_NEXT"}), (Heun(prediction_type="sample"), {"SLV.HEUN.X_NEXT"}),
    (Heun(), {"SLV.HEUN.X_NEXT", "SLV.HEUN_PATH.X_0", "SLV.HEUN_LAW"}),
    (Multistep(), {"SLV.MULTISTEP.X_NEXT", "SLV.MULTI_PATH.X_0", "SLV.MULTI_LAW"}),
    (Flow(), {"PTH.SAMPLE.VALUE", "PTH.STEP.X_NEXT", "PTH.SHIFT.VALUE"}), (Flow(shift=3.0), {"PTH.SHIFT.VALUE"})])
def test_right_schedulers_pass(scheduler, passing):
    report = check(scheduler, effort=QUICK)
    assert not failing(report) and passing <= {row["id"] for row in report["clauses"] if row["verdict"] == "pass"}


@pytest.mark.parametrize("scheduler,clause,mistake", [
    (Euler("bug"), "SLV.EULER.X_NEXT", "SLV-EULER-AT"), (Heun("bug"), "SLV.HEUN.X_NEXT", "SLV-HEUN-BY"),
    (Multistep("bug"), "SLV.MULTISTEP.X_NEXT", "SLV-2M-R"),
    (Flow("back"), "PTH.STEP.X_NEXT", "time_next − time the other way round"),
    (WithWrongList(shift=3.0), "PTH.SHIFT.VALUE", "PTH-LIST")])
def test_wrong_schedulers_are_told_what_is_wrong(scheduler, clause, mistake):
    assert failing(check(scheduler, effort=QUICK))[clause] == mistake


@pytest.mark.parametrize("change", [
    dict(precondition_inputs=None), dict(order=2), dict(config=Config(use_flow_sigmas=True)),
    dict(step=lambda model_output, timestep, sample, order: None)])
def test_other_solvers_are_not_claimed(change):
    other = Euler()
    vars(other).update(change)
    assert solvers.kind_of(other) == "" and solvers.kind_of(Euler) == ""
    with pytest.raises(ValueError, match="a solver in σ coordinates; no clause is about it: .*Heun"):
        check(other)


class UniPC(Multistep):
    """As published, as far as it can be told from DPM-Solver++: with a corrector."""

    def __init__(self):
        super().__init__(predict_x0=True)
        vars(self.config).update(solver_type="bh2", algorithm_type=None)
        self.last_sample, self.disable_corrector, self.timestep_list = None, [], [None, None]

    def multistep_uni_p_bh_update(self, model_output, sample, order):
        raise AssertionError

    multistep_uni_c_bh_update = multistep_uni_p_bh_update


class CosineDPM(Multistep):
    """With the attributes of CosineDPMSolverMultistepScheduler, which draws by a package that may be absent."""

    def __init__(self):
        super().__init__(sigma_data=1.0)
        self.noise_sampler = None

    def precondition_inputs(self, sample, sigma):
        raise AssertionError


class DPMSolverSDE(Scheduler):
    """With the attributes of DPMSolverSDEScheduler, which draws by the same package."""

    order, noise_sampler, mid_point_sigma = 2, None, None

    def step(self, model_output, timestep, sample, return_dict=True, s_noise=1.0):
        raise AssertionError


class ScoreSde:
    """With the attributes of ScoreSdeVpScheduler, whose step has another name."""

    sigmas = timesteps = None
    config = Config(beta_min=0.1, beta_max=20, sampling_eps=1e-3)

    def set_timesteps(self, num_inference_steps):
        raise AssertionError

    def step_pred(self, score, x, t, generator=None):
        raise AssertionError


class OnPath(Flow):
    """Of second order, and with no list of levels before it is told a number of steps."""

    order = 2

    def __init__(self):
        super().__init__()
        self.sigmas = None


@pytest.mark.parametrize("other,says", [
    (UniPC(), "UniPC, a predictor with a corrector"), (CosineDPM(), "a solver in σ coordinates"),
    (DPMSolverSDE(), "a solver in σ coordinates"), (OnPath(), "another solver on a straight path"),
    (ScoreSde(), "a sampler of a stochastic differential equation, whose network says the score")])
def test_other_schedulers_are_recognised_and_refused_with_words(other, says):
    assert solvers.kind_of(other) == ""
    with pytest.raises(ValueError, match=f"{type(other).__name__} is {says}; no clause is about it: expected a DDPM or DDIM"):
        check(other)


# -- denoisers -----------------------------------------------------------------------------------------------------------

class EDM:
    """As published: images, a network that is told ¼ log σ."""

    def __init__(self, bug="", sigma_data=0.5):
        self.bug, self.sigma_data, self.sigma_min, self.model = bug, sigma_data, 0.002, None

    def round_sigma(self, sigma):
        return sigma

    def __call__(self, x, sigma, class_labels=None):
        sigma, data = sigma.reshape(-1, 1, 1, 1), self.sigma_data
        root = np.sqrt(sigma ** 2 + data ** 2)
        said = self.model(x / root, (np.log(sigma) / 4).reshape(-1), class_labels=None)
        return data ** 2 / root ** 2 * x + sigma * (1 if self.bug else data) / root * said


class KDiffusion:
    """As published: a network that is told σ, and a loss, which may weigh levels and frequencies."""

    def __init__(self, bug="", sigma_data=1.0, weighting=np.ones_like, scales=1):
        self.bug, self.sigma_data, self.inner_model = bug, sigma_data, None
        self.weighting, self.scales = weighting, scales

    def get_scalings(self, sigma):
        total = sigma ** 2 + self.sigma_data ** 2
        return self.sigma_data ** 2 / total, sigma * self.sigma_data / np.sqrt(total), 1 / np.sqrt(total)

    def loss(self, x, noise, sigma):
        skip, out, into = (c.reshape(-1, 1, 1, 1) for c in self.get_scalings(sigma))
        x_t = x + sigma.reshape(-1, 1, 1, 1) * noise
        target = (x - (0 if self.bug else skip) * x_t) / out
        return ((self.inner_model(into * x_t, sigma) - target) ** 2).reshape(len(x), -1).mean(axis=1) * self.weighting(sigma)

    def __call__(self, x, sigma):
        skip, out, into = (c.reshape(-1, 1, 1, 1) for c in self.get_scalings(sigma))
        return skip * x + out * self.inner_model(into * x, sigma)


@pytest.mark.parametrize("of,passing", [
    (EDM(), {"SIG.DENOISED.VALUE"}), (EDM(sigma_data=1.5), {"SIG.DENOISED.VALUE"}),
    (KDiffusion(), {"SIG.DENOISED.VALUE", "SIG.LOSS.VALUE"})])
def test_right_denoisers_pass(of, passing):
    report = check(of, effort=QUICK)
    assert not failing(report) and passing <= {row["id"] for row in report["clauses"] if row["verdict"] == "pass"}


class Simple(KDiffusion):
    """With the loss of DDPM in place of that of its class."""

    def loss(self, x, noise, sigma):
        x_t = x + sigma.reshape(-1, 1, 1, 1) * noise
        return (((x_t - self(x_t, sigma)) / sigma.reshape(-1, 1, 1, 1) - noise) ** 2).reshape(len(x), -1).mean(axis=1)


@pytest.mark.parametrize("of,says", [
    (Simple(), "puts a loss of its own in the place of that of KDiffusion"),
    (KDiffusion(weighting=lambda sigma: 1 / (1 + sigma ** 2)), "weighs levels otherwise"),
    (KDiffusion(scales=4), "weighs frequencies")])
def test_another_loss_is_not_judged_by_that_of_edm(of, says):
    report = check(of, effort=QUICK)
    rows = {row["id"]: row for row in report["clauses"]}
    assert not failing(report) and rows["SIG.DENOISED.VALUE"]["verdict"] == "pass"
    assert rows["SIG.LOSS.VALUE"]["verdict"] == "skipped" and says in rows["SIG.LOSS.VALUE"]["reason"]


class ToldTimes(KDiffusion):
    """Around a network that says v and is told a time."""

    def sigma_to_t(self, sigma):
        return np.arctan(sigma) / np.pi * 2

    def __call__(self, x, sigma):
        skip, out, into = (c.reshape(-1, 1, 1, 1) for c in self.get_scalings(sigma))
        return skip * x - out * self.inner_model(into * x, self.sigma_to_t(sigma))


class VE:
    """Of EDM's repository, with the scalings of another paper."""

    model = None

    def round_sigma(self, sigma):
        return sigma

    def __call__(self, x, sigma, class_labels=None):
        return x + sigma * self.model(x, np.log(sigma / 2))


class Numbered(VE):
    """With levels by their numbers; its `alpha_bar` has the name of a function of ours, and asks for other things."""

    def alpha_bar(self, j):
        return np.sin(j) ** 2


@pytest.mark.parametrize("of,says", [(ToldTimes(), "around a network that is told a time"), (VE(), "with other scalings"),
                                     (Numbered(), "with other scalings")])
def test_other_denoisers_are_not_claimed(of, says):
    with pytest.raises(ValueError, match=f"is a denoiser {says}.*; no clause is about it: expected a denoiser of EDM"):
        check(of)


def test_wrong_denoisers_are_told_what_is_wrong():
    assert failing(check(EDM("bug"), effort=QUICK)) == {"SIG.DENOISED.VALUE": "factor left out: sigma_data"}
    assert "SIG.LOSS.VALUE" in failing(check(KDiffusion("bug"), effort=QUICK))
    assert detect(EDM()) is None
