"""Ready-made adapters of ElucidatedDiffusion and of diffusions in continuous time: right ones pass, each fault is named.

What they draw, they draw by a module `torch` of their own, which is NumPy: PyTorch need not be there.
"""

from types import SimpleNamespace
import operator
import sys

import numpy as np
import pytest

from refdpm.conformance.judge import Effort
from refdpm.conformance.known import continuous, detect, elucidated
from refdpm.conformance.session import check

QUICK = Effort(max_examples=2, shrinks=0, power=False)


class Tensor(np.ndarray):
    """An array that PyTorch's way of a cast works on."""

    def to(self, dtype):
        return np.asarray(self).astype(dtype)


def nothing_is_drawn(*_, **__):
    raise AssertionError("what is drawn is given in a check")


@pytest.fixture(autouse=True)
def torch(monkeypatch):
    module = SimpleNamespace(randn=nothing_is_drawn, randn_like=nothing_is_drawn, get_rng_state=int, equal=operator.eq,
                             as_tensor=lambda array: array.view(Tensor), get_default_dtype=lambda: np.float32)
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def randn(*size):
    return sys.modules["torch"].randn(*size)


NET = SimpleNamespace(parameters=lambda: iter([np.ones(1, dtype=np.float32)]))


def image(column):
    return column.reshape(-1, 1, 1, 1)


class ElucidatedDiffusion:
    """As published: images, a network that is told ¼ log σ, Heun's rule with churn and DPM-Solver++ 2M."""

    def __init__(self, bug="", sigma_data=0.5):
        self.bug, self.net, self.sigma_data, self.self_condition = bug, NET, sigma_data, False
        self.sigma_min, self.sigma_max, self.rho, self.P_mean, self.P_std = 0.002, 80, 7, -1.2, 1.2
        self.S_churn, self.S_tmin, self.S_tmax, self.S_noise = 80, 0.05, 50, 1.003
        self.channels, self.image_size = 3, 8

    def c_skip(self, sigma):
        return self.sigma_data ** 2 / (sigma ** 2 + self.sigma_data ** 2)

    def c_out(self, sigma):
        return sigma * self.sigma_data / np.sqrt(self.sigma_data ** 2 + sigma ** 2)

    def c_in(self, sigma):
        return 1 / np.sqrt(sigma ** 2 + self.sigma_data ** 2)

    def c_noise(self, sigma):
        return np.log(sigma) * (1 if self.bug == "no quarter" else 0.25)

    def preconditioned_network_forward(self, noised_images, sigma, self_cond=None, clamp=False):
        said = self.net(self.c_in(image(sigma)) * noised_images, self.c_noise(sigma), self_cond)
        return self.c_skip(image(sigma)) * noised_images + self.c_out(image(sigma)) * said

    def sample_schedule(self, count):
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        steps = np.arange(count) / (count if self.bug == "count" else count - 1)
        return np.append((high + steps * (low - high)) ** self.rho, 0).astype(np.float32)

    def shape(self, count):
        return count, self.channels, self.image_size, self.image_size

    def sample(self, batch_size, num_sample_steps, clamp=True):
        sigmas = self.sample_schedule(num_sample_steps)
        x = sigmas[0] * randn(self.shape(batch_size))
        for sigma, after in zip(sigmas[:-1].tolist(), sigmas[1:].tolist()):
            gamma = min(self.S_churn / num_sample_steps, np.sqrt(2) - 1) * (self.S_tmin <= sigma <= self.S_tmax)
            high, noise = sigma + gamma * sigma, self.S_noise * randn(self.shape(batch_size))
            x = x + np.float32((high - sigma) if self.bug == "churn" else np.sqrt(high ** 2 - sigma ** 2)) * noise
            first = (x - self.preconditioned_network_forward(x, high, None, clamp=clamp)) / (high or np.inf)
            there = x + (after - high) * first
            if after:
                second = (there - self.preconditioned_network_forward(there, after, None, clamp=clamp)) / after
                there = x + (after - (sigma if self.bug == "from below" else high)) * (first + second) / 2
            x = there
        return (np.clip(x, -1, 1) + 1) / 2

    def sample_using_dpmpp(self, batch_size, num_sample_steps):
        sigmas, before = self.sample_schedule(num_sample_steps), None
        x = sigmas[0] * randn(self.shape(batch_size))
        for i, (sigma, after) in enumerate(zip(sigmas[:-1].tolist(), sigmas[1:].tolist())):
            now = said = self.preconditioned_network_forward(x, sigma)
            if before is not None and after:
                r = np.log(sigmas[i - 1] / sigma) / np.log(sigma / after)
                said = now + (now - before) / 2 * (r if self.bug == "ratio" else 1 / r)
            x, before = after / (sigma or np.inf) * (x - said) + said, now
        return (np.clip(x, -1, 1) + 1) / 2

    def loss_weight(self, sigma):
        below = sigma + self.sigma_data if self.bug == "sum" else sigma * self.sigma_data
        return (sigma ** 2 + self.sigma_data ** 2) / below ** 2

    def noise_distribution(self, batch_size):
        mean, std = (self.P_std, self.P_mean) if self.bug == "exchanged" else (self.P_mean, self.P_std)
        return np.exp(mean + std * randn((batch_size,)))

    def forward(self, images, sigma=None):
        assert images.shape[1:] == self.shape(1)[1:]
        images = images * 2 - 1
        noise = sys.modules["torch"].randn_like(images)
        x = images + image(sigma ** 2 if self.bug == "square" else sigma) * noise
        errors = (self.preconditioned_network_forward(x, sigma) - images) ** 2
        return (errors.mean(axis=(1, 2, 3)) * self.loss_weight(sigma)).mean()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Continuous:
    """As published: a network that says noise and is told log-SNR; a loss that may be weighed by min-SNR."""

    def __init__(self, bug="", min_snr_loss_weight=False):
        self.bug, self.model, self.clip_sample_denoised = bug, NET, True
        self.min_snr_loss_weight, self.min_snr_gamma = min_snr_loss_weight, 5

    def log_snr(self, t):
        return -np.log(np.expm1(1e-4 + 10 * t ** 2))

    def random_times(self, batch_size):
        raise AssertionError("times are given in a check")

    def levels(self, t):
        return sigmoid(self.log_snr(t)), sigmoid(-self.log_snr(t))

    def q_sample(self, x_start, times, noise):
        level, rest = (part.reshape((-1,) + (1,) * (x_start.ndim - 1)) for part in self.levels(times))
        return x_start * np.sqrt(level) + noise * (rest if self.bug == "variance for deviation" else np.sqrt(rest)), None

    def x_0_and_noise(self, x, said, level, rest):
        return (x - np.sqrt(rest) * said) / np.sqrt(level), said

    def target(self, x_0, noise, level, rest):
        return noise

    def p_sample(self, x, time, time_next):
        c = -np.expm1(self.log_snr(time) - self.log_snr(time_next))
        (level, rest), (level_next, rest_next) = self.levels(time), self.levels(time_next)
        x_0, _ = self.x_0_and_noise(x, self.model(x, np.full(len(x), self.log_snr(time))), level, rest)
        x_0 = np.clip(x_0, -1, 1) if self.clip_sample_denoised else x_0
        var = (rest if self.bug == "variance of the old time" else rest_next) * c
        noise = sys.modules["torch"].randn_like(x)
        return np.sqrt(level_next) * (x * (1 - c) / np.sqrt(level) + c * x_0) + np.sqrt(var) * noise

    def p_losses(self, x_start, times, noise):
        level, rest = (part.reshape(-1, 1) for part in self.levels(times))
        said = self.model(self.q_sample(x_start, times, noise)[0], self.log_snr(times))
        errors, snr = (said - self.target(x_start, noise, level, rest)) ** 2, np.exp(self.log_snr(times))
        return (errors.mean(axis=1) * (np.minimum(snr, self.min_snr_gamma) / snr if self.min_snr_loss_weight else 1)).mean()


class VParam(Continuous):
    """The same with a network that says v."""

    def x_0_and_noise(self, x, said, level, rest):
        return np.sqrt(level) * x - np.sqrt(rest) * said, None

    def target(self, x_0, noise, level, rest):
        return np.sqrt(level) * noise + (1 if self.bug == "sign of v" else -1) * np.sqrt(rest) * x_0


def verdicts(report, *kinds):
    return {row["id"]: row["mistake"] for row in report["clauses"] if row["verdict"] in kinds}


OF_EDM = {"SIG.SCALINGS.C_SKIP", "SIG.SCALINGS.C_OUT", "SIG.SCALINGS.C_IN", "SIG.SCALINGS.C_NOISE", "SIG.DENOISED.VALUE",
          "SIG.WEIGHT.VALUE", "SIG.LOSS.VALUE", "SIG.DRAWN.VALUE", "SIG.LEVELS.VALUE", "SLV.HEUN.X_NEXT", "SLV.CHURN.X_NEXT",
          "SLV.MULTISTEP.X_NEXT", "SLV.HEUN_PATH.X_0", "SLV.MULTI_PATH.X_0", "SLV.HEUN_LAW", "SLV.MULTI_LAW"}
OF_TIME = {"GAU.DRAW.X_T", "SMP.STRIDE.X_PREV", "LOSS.VALUE", "LOSS.ASKED"}


@pytest.mark.parametrize("of,adapter,passing", [
    (ElucidatedDiffusion(), elucidated.Elucidated, OF_EDM), (ElucidatedDiffusion(sigma_data=1.5), elucidated.Elucidated, OF_EDM),
    (Continuous(), continuous.Continuous, OF_TIME), (Continuous(min_snr_loss_weight=True), continuous.Continuous, OF_TIME),
    (VParam(), continuous.Continuous, OF_TIME)])
def test_right_objects_are_known_and_pass(of, adapter, passing):
    before = dict(vars(of))
    report = check(of, effort=QUICK)
    assert detect(of) is adapter and vars(of) == before
    assert not verdicts(report, "wrong", "inaccurate", "undecided") and passing <= set(verdicts(report, "pass"))


@pytest.mark.parametrize("of,clause,mistake", [
    (ElucidatedDiffusion("no quarter"), "SIG.SCALINGS.C_NOISE", "divisor left out: 4"),
    (ElucidatedDiffusion("no quarter"), "SIG.DENOISED.VALUE", "divisor left out: 4"),
    (ElucidatedDiffusion("count"), "SIG.LEVELS.VALUE", "SIG-COUNT"),
    (ElucidatedDiffusion("churn"), "SLV.CHURN.X_NEXT", "SLV-CHURN"), (ElucidatedDiffusion("from below"), "SLV.CHURN.X_NEXT", None),
    (ElucidatedDiffusion("ratio"), "SLV.MULTISTEP.X_NEXT", "SLV-2M-R"), (ElucidatedDiffusion("sum"), "SIG.WEIGHT.VALUE", "SIG-SUM"),
    (ElucidatedDiffusion("exchanged"), "SIG.DRAWN.VALUE", "SIG-P"), (ElucidatedDiffusion("square"), "SIG.LOSS.VALUE", "SIG-SQUARE"),
    (Continuous("variance for deviation"), "GAU.DRAW.X_T", "NEW-DRAW"),
    (Continuous("variance of the old time"), "SMP.STRIDE.X_PREV", "NEW-SWAP"),
    (VParam("sign of v"), "LOSS.VALUE", "plus for minus before √(1 − ᾱ_t) x_0")])
def test_a_fault_is_found_and_named(of, clause, mistake):
    row, = (row for row in check(of, only=clause, effort=QUICK)["clauses"] if row["id"] == clause)
    assert row["verdict"] == "wrong" and mistake in (row["mistake"], *row["also"])


def test_what_no_clause_looks_at_is_listed():
    assert elucidated.Elucidated(ElucidatedDiffusion()).unasked == ("the clipping of samples", "self_condition")
    assert continuous.Continuous(Continuous()).unasked == ("log_snr", "random_times", "clip_sample_denoised")


def test_a_step_to_time_0_is_not_asked_for():
    adapter = continuous.Continuous(Continuous())
    assert all(steps[0] == 1 for steps in adapter.own_steps)
    with pytest.raises(NotImplementedError, match="to time 0"):
        adapter.strided_step(None, np.zeros((1, 2)), np.array([1]), np.array([0]), np.zeros((1, 2)))


def test_a_port_that_takes_other_arguments_is_no_verdict():
    class Atoms(ElucidatedDiffusion):
        def preconditioned_network_forward(self, noised, sigma, atoms):
            raise AssertionError

    rows = {row["id"]: row for row in check(Atoms(), only="SIG", effort=QUICK)["clauses"]}
    assert rows["SIG.DENOISED.VALUE"]["verdict"] == "skipped" and "takes other arguments" in rows["SIG.DENOISED.VALUE"]["reason"]
    assert rows["SIG.WEIGHT.VALUE"]["verdict"] == "pass"
