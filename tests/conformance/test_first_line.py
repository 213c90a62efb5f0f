"""What somebody who does not know the kit reads first, of mistakes in plain NumPy that owes the kit nothing."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import ndtr, softmax, xlogy

from refdpm.conformance.judge import Effort
from refdpm.conformance.report import headline
from refdpm.conformance.session import check


EFFORT = Effort(max_examples=1, shrinks=5, power=False)      # what would have passed too is not in the first line


def first_line(functions):
    return headline(check(SimpleNamespace(__name__="program", **functions), effort=EFFORT))


class Chain:
    """A chain of numbers, one schedule at a time, and the loss of a network that predicts noise."""

    def __init__(self, beta):
        self.abar = np.append(1.0, np.cumprod(1 - np.asarray(beta, dtype=float)))

    def at(self, t, x):
        return self.abar[t].reshape(-1, *[1] * (x.ndim - 1))

    def marginal_sample(self, x_0, t, noise):
        a = self.at(t, x_0)
        return np.sqrt(a) * x_0 + np.sqrt(1 - a) * noise

    def x_0_from_noise(self, noise, x_t, t):
        a = self.at(t, x_t)
        return (x_t - np.sqrt(1 - a) * noise) / np.sqrt(a)

    def x_0_from_model(self, x_t, t, model):
        return self.x_0_from_noise(model(x_t, t), x_t, t)

    def weight(self, snr):
        return np.minimum(snr, 5.0) / snr

    def mean(self, weight, error):
        return (weight * error).mean()

    def training_loss(self, x_0, t, noise, model):
        a = self.at(t, x_0)
        return self.mean(self.weight(a / (1 - a)), (noise - model(self.marginal_sample(x_0, t, noise), t)) ** 2)


def of_chain(**otherwise):
    return first_line({"make": type("Changed", (Chain,), otherwise)})


def test_the_programs_without_their_mistakes_pass():
    assert "pass" in of_chain() and "wrong" not in of_chain()


# a wrong weight of a loss tells nothing of the weight that is meant
@pytest.mark.parametrize("weight, says", [
    (lambda self, snr: np.maximum(snr, 5.0) / snr,
     "the larger of ᾱ_t/(1 − ᾱ_t) and gamma, for the smaller; if its loss_weight is min_snr"),
    (lambda self, snr: np.minimum(1 / snr, 5.0) / snr, "ᾱ_t/(1 − ᾱ_t) the other way round"),
    (lambda self, snr: np.minimum(snr, 5.0), "divisor left out: ᾱ_t/(1 − ᾱ_t)")])
def test_a_wrong_weight_of_a_loss_is_found_among_all_weights(weight, says):
    assert says in of_chain(weight=weight)


@pytest.mark.parametrize("mean, says", [
    (lambda self, w, error: w.mean() * error.mean(), "is averaged by itself, and not together with"),
    (lambda self, w, error: (w * error).sum() / w.sum(), "divided by the sum of min(ᾱ_t/(1 − ᾱ_t), gamma)"),
    (lambda self, w, error: (w * error).mean() / len(error), "it is divided by the number of rows")])
def test_a_mean_in_the_place_of_another(mean, says):
    assert says in of_chain(mean=mean)


class Flow:
    """Straight paths and levels σ, with the samplers."""

    def at(self, time):
        return time

    def path_sample(self, x_0, noise, time):
        return (1 - time) * x_0 + time * noise

    def velocity_at(self, network, x, time):
        return network(x, time)

    def path_step(self, x_t, time, time_next, network):
        return x_t + (time_next - time) * self.velocity_at(network, x_t, time)

    def grid(self, count):
        return np.linspace(1, 0, count + 1)

    def after(self, first, x):
        return x

    def path_euler_sample(self, x_t, count, network):
        x, times = x_t, self.grid(count)
        for now, after in zip(times[:-1], times[1:]):
            x = self.after(x_t, x) + (after - now) * network(x, np.full((len(x), 1), now))
        return x

    def sigma_euler_sample(self, x_t, sigmas, network):
        x = x_t
        for now, after in zip(sigmas[:-1], sigmas[1:]):
            start = self.after(x_t, x)
            x = start + (after - now) * (start - network(start, now)) / now
        return x


def of_flow(**otherwise):
    changed = type("Changed", (Flow,), otherwise)()
    return first_line({name: getattr(changed, name) for name in dir(changed) if name.startswith(("path_", "sigma_"))})


@pytest.mark.parametrize("otherwise, says", [
    (dict(path_sample=lambda self, x_0, noise, time: np.sqrt(1 - time ** 2) * x_0 + time * noise),
     "√(1 − time²) for 1 − time"),
    (dict(velocity_at=lambda self, network, x, time: network(x, 1 - time)), "the network is told 1 − time, and not time"),
    (dict(velocity_at=lambda self, network, x, time: np.tanh(network(x, time))), "tanh is put around what the network says"),
    (dict(grid=lambda self, count: np.linspace(1, 1e-3, count + 1)), "the chain goes down to 0.001, and not to 0"),
    (dict(after=lambda self, first, x: first), "every step is taken from the state with which the chain starts")])
def test_paths_and_chains_along_levels(otherwise, says):
    assert says in of_flow(**otherwise)


class Symbols:
    """A chain of five classes that are masked, with matrices."""

    classes = 5

    def __init__(self, beta):
        self.steps = np.array([self.matrix(b) for b in self.rates(np.asarray(beta, dtype=float))])
        self.bars = [np.eye(5)]
        for step in self.steps:
            self.bars.append(self.bars[-1] @ step)

    def rates(self, beta):
        return beta

    def matrix(self, beta):
        return (1 - beta) * np.eye(5) + beta * np.eye(5)[4]

    def transition_matrix(self, t):
        return self.steps[t - 1]

    def before(self, x_0, t):
        return self.bars[t - 1][x_0]

    def said(self, logits):
        e = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def categorical_marginal(self, x_0, t):
        return np.array([self.bars[s][x] for s, x in zip(t, x_0)])

    def over_classes(self, joint):
        return joint.sum(axis=-1, keepdims=True)

    def categorical_posterior(self, x_0, x_t, t):
        joint = np.array([self.steps[s - 1].T[b] * self.before(a, s) for s, a, b in zip(t, x_0, x_t)])
        with np.errstate(invalid="ignore"):
            return joint / self.over_classes(joint)

    def categorical_reverse(self, logits, x_t, t):
        joint = np.array([self.steps[s - 1].T[b] * (p @ self.bars[s - 1]) for s, p, b in zip(t, self.said(logits), x_t)])
        return joint / joint.sum(axis=-1, keepdims=True)


class SymbolsWithTerm(Symbols):
    """And a term of the bound."""

    def divergence(self, q, p):
        return (xlogy(q, q) - xlogy(q, p)).sum(axis=-1)

    def categorical_step_kl(self, logits, x_0, x_t, t):
        q, p = self.categorical_posterior(x_0, x_t, t), self.categorical_reverse(logits, x_t, t)
        score = -np.log(np.take_along_axis(p, x_0[..., None], axis=-1))[..., 0]
        return np.where(t[:, None] == 1, score, self.divergence(q, p))


class Masked:
    """The same chain, as masked diffusion writes it: shown, or still masked."""

    classes = 5

    def __init__(self, beta):
        self.beta, self.left = np.append(0.0, beta), np.append(1.0, np.cumprod(1 - beta))

    def shown(self, t):
        return self.left[t - 1] * self.beta[t] / (1 - self.left[t])

    def seen(self, x_t, anew):
        return np.eye(5)[x_t]

    def law(self, x_0, x_t, t):
        shown = self.shown(t)[:, None, None]
        return np.where((x_t == 4)[..., None], shown * x_0 + (1 - shown) * np.eye(5)[4], self.seen(x_t, x_0))

    def without_mask(self, logits):
        return np.where(np.arange(5) < 4, logits, -np.inf)

    def categorical_posterior(self, x_0, x_t, t):
        return self.law(np.eye(5)[x_0], x_t, t)

    def categorical_reverse(self, logits, x_t, t):
        return self.law(Symbols.said(self, self.without_mask(logits)), x_t, t)


LOST = "divisor left out: 1 − ᾱ_t"


@pytest.mark.parametrize("offered, otherwise, says", [
    ((), {}, "clauses pass"),
    (["categorical_posterior"], dict(shown=lambda self, t: self.left[t - 1] * self.beta[t]), LOST),
    (["categorical_reverse"], dict(shown=lambda self, t: self.left[t - 1] * self.beta[t]), LOST),
    (["categorical_posterior"], dict(shown=lambda self, t: self.left[t] * self.beta[t] / (1 - self.left[t])),
     "ᾱ_t for ᾱ_{t−1} in ᾱ_{t−1} β_t"),
    ((), dict(without_mask=lambda self, logits: np.where(np.arange(5) < 4, logits, 0.0)), "CAT-MASK-0"),
    ((), dict(law=lambda self, x_0, x_t, t: Masked.law(self, x_0, x_t if x_0.max() == 1 else 0 * x_t + 4, t)), "CAT-REMASK-b"),
    ((), dict(seen=lambda self, x_t, anew: anew), "CAT-REMASK-c")])
def test_masked_chains(offered, otherwise, says):
    """Where posterior and reverse step share a line, each has the name if it is offered alone."""
    left_out = {"categorical_posterior", "categorical_reverse"} - set(offered) if offered else set()
    assert says in first_line({"make": type("Changed", (Masked,), dict.fromkeys(left_out) | otherwise), "profile": {
        "kernel": "absorbing"} | ({} if offered else {"mixing": "average_unmasked"})})


def of_symbols(*offered, **otherwise):
    """What is not offered is None, and need not be judged."""
    return first_line({"make": type("Changed", (SymbolsWithTerm,), dict.fromkeys(set(LAWS).difference(offered)) | otherwise)})


LAWS = ("transition_matrix", "categorical_marginal", "categorical_posterior", "categorical_reverse", "categorical_step_kl")


@pytest.mark.parametrize("offered, otherwise, says", [
    (LAWS[:2], dict(matrix=lambda self, beta: (1 - beta) * np.eye(5) + beta * np.eye(5)[0]),
     "the first class is the mask, and not the last"),
    (LAWS[:1], dict(matrix=lambda self, beta: beta * np.eye(5)[4] * (1 - np.eye(5)) + (1 - beta) * np.eye(5)),
     "term left out: β_t mask"),
    (LAWS[:1], dict(matrix=lambda self, beta: np.where(np.arange(5) < 4, (1 - beta) * np.eye(5), beta)), "CAT-OVERWRITTEN"),
    (LAWS[:2], dict(rates=lambda self, beta: 1 - np.cumprod(1 - beta)),
     "1 − ᾱ_t for β_t, and ᾱ_t for 1 − β_t, everywhere"),
    (LAWS[2:3], dict(before=lambda self, x_0, t: self.bars[t - 1].T[x_0]),
     "the column for the row of the matrix with ᾱ_{t−1} on its diagonal"),
    (LAWS[2:3], dict(over_classes=lambda self, joint: joint.sum(axis=1, keepdims=True)),       # 0/0 for a class that is nowhere
     "over the axis before the last, and not over classes"),
    (LAWS[2:], dict(divergence=lambda self, q, p: SymbolsWithTerm.divergence(self, p, q)), "NEW-CAT-KL"),
    (LAWS[2:3], dict(categorical_posterior=lambda self, x_0, x_t, t: (lambda p: p / p.sum(axis=-1, keepdims=True))(np.array(
        [self.steps[s - 1].T[b] + self.before(a, s) for s, a, b in zip(t, x_0, x_t)]))), "plus for times in "),
    (LAWS[2:3], dict(categorical_posterior=lambda self, x_0, x_t, t: softmax(np.array(
        [self.steps[s - 1].T[b] * self.before(a, s) for s, a, b in zip(t, x_0, x_t)]), axis=-1)), "softmax of "),
    (LAWS[2:], dict(divergence=lambda self, q, p: (xlogy(q, q) - q * np.log(p + 1e-6)).sum(axis=-1)),
     "1e-06 is added in a logarithm, to "),
    (LAWS[2:], dict(divergence=lambda self, q, p: (q * np.log(q + 1e-8) - q * np.log(p + 1e-8)).sum(axis=-1)),
     "1e-08 is added in all logarithms"),
    (LAWS[3:4], dict(categorical_reverse=lambda self, logits, x_t, t: np.where(
        (t == 2)[:, None, None], self.said(logits), Symbols.categorical_reverse(self, logits, x_t, t))),
     "what is right at t = 1 is at t = 2, and not there"),
    (LAWS[3:4], dict(categorical_reverse=lambda self, logits, x_t, t: np.where(
        (t <= 2)[:, None, None], self.said(logits), Symbols.categorical_reverse(self, logits, x_t, t))),
     "at t = 2 what is right at t = 1"),
    (LAWS[3:4], dict(categorical_reverse=lambda self, logits, x_t, t: np.where(
        (t == 1)[:, None, None], np.exp(logits), Symbols.categorical_reverse(self, logits, x_t, t))),
     "divisor left out: Σ_classes exp(logits)"),
    (LAWS[2:], dict(categorical_step_kl=lambda self, logits, x_0, x_t, t: np.where(
        (t == 1)[:, None], -np.exp(-SymbolsWithTerm.categorical_step_kl(self, logits, x_0, x_t, t)),
        SymbolsWithTerm.categorical_step_kl(self, logits, x_0, x_t, t))), "log left out: "),
    # as masked diffusion has it, where no data are the mask
    (LAWS[:4], dict(said=lambda self, logits: Symbols.said(self, np.where(np.arange(5) < 4, logits, -1e30))), "clauses pass"),
    (LAWS[:4], dict(said=lambda self, logits: Symbols.said(self, np.where(np.arange(5) > 0, logits, -1e30))), "is wrong")])
def test_chains_of_symbols(offered, otherwise, says):
    assert says in of_symbols(*offered, **otherwise)


def test_the_other_programs_without_their_mistakes_pass():
    assert "wrong" not in of_flow() and "wrong" not in of_symbols(*LAWS)


class Bound(Chain):
    """The posterior as what a measurement leaves of a prior, and K with it."""

    def __init__(self, beta):
        super().__init__(beta)
        self.beta = np.append(0.0, beta)

    def gain(self, prior, keep, rate):
        return prior * keep / (keep ** 2 * prior + rate)

    def expected(self, keep, mean):
        return keep * mean

    def posterior(self, x_0, x_t, t):
        before, rate = self.at(t - 1, x_t), self.beta[t].reshape(-1, *[1] * (x_t.ndim - 1))
        keep, prior, mean = np.sqrt(1 - rate), 1 - before, np.sqrt(before) * x_0
        gain = self.gain(prior, keep, rate)
        return mean + gain * (x_t - self.expected(keep, mean)), (1 - gain * keep) * prior

    def steps(self):
        return range(2, len(self.beta))

    def K(self, x_0, noise, model):
        total = np.zeros(len(x_0))
        for step in self.steps():
            t = np.full(len(x_0), step)
            x_t = self.marginal_sample(x_0, t, noise[step - 1])
            (mean, var), (guess, _) = (self.posterior(x, x_t, t) for x in (x_0, self.x_0_from_noise(model(x_t, t), x_t, t)))
            total -= ((mean - guess) ** 2 / (2 * var)).reshape(len(x_0), -1).sum(axis=1)
        size = np.prod(x_0.shape[1:])
        ends = size / 2 * (np.log(1 - self.abar[-1]) - np.log(1 - self.abar[1]))
        return total + ends - self.prior_size(x_0) / 2 * (np.log(2 * np.pi) + 1)

    def prior_size(self, x_0):
        return np.prod(x_0.shape[1:])


def of_bound(**otherwise):
    return first_line({"make": type("Changed", (Bound,), otherwise), "profile": {"variance": "small"}})


@pytest.mark.parametrize("otherwise, says", [
    (dict(expected=lambda self, keep, mean: mean, K=None), "factor left out: √α_t"),
    (dict(gain=lambda self, prior, keep, rate: prior * keep / (keep * prior + rate), K=None), "root of"),
    (dict(steps=lambda self: range(2, len(self.beta) - 1)), "the last step left out of the sum"),
    (dict(steps=lambda self: range(3, len(self.beta))), "the first step left out of the sum"),
    (dict(prior_size=lambda self, x_0: x_0.size), "counted for all examples, and not for each by itself: ½ (1 + log(2 π))"),
    ({}, "pass")])
def test_a_posterior_by_a_gain_and_the_bound_with_it(otherwise, says):
    assert says in of_bound(**otherwise)


class Steps(Chain):
    """Steps by way of x̂_0: one, one over several t, and one by DDIM."""

    def __init__(self, beta):
        super().__init__(beta)
        self.beta = np.append(0.0, beta)

    def said(self, noise):
        return noise

    def guess(self, x_0):
        return x_0

    def x_0_from_model(self, x_t, t, model):
        return self.guess(self.x_0_from_noise(self.said(model(x_t, t)), x_t, t))

    def single(self, t, kept):
        return kept

    def strided_step(self, x_t, noise, t, t_prev, model):
        now, before, guess = self.at(t, x_t), self.at(t_prev, x_t), self.x_0_from_model(x_t, t, model)
        kept = now / before
        mean = (np.sqrt(before) * (1 - kept) * guess + np.sqrt(self.single(t, kept)) * (1 - before) * x_t) / (1 - now)
        return mean + np.sqrt((1 - kept) * (1 - before) / (1 - now)) * noise * (t_prev > 0).reshape(-1, *[1] * (x_t.ndim - 1))

    def ancestral_step(self, x_t, noise, t, model):
        return self.strided_step(x_t, noise, t, t - 1, model)

    def taken(self, deviation):
        return deviation ** 2

    def level_of_guess(self, t, before):
        return before

    def ddim_step(self, x_t, noise, t, t_prev, eta, model):
        now, before, guess = self.at(t, x_t), self.at(t_prev, x_t), self.x_0_from_model(x_t, t, model)
        deviation = eta * np.sqrt((1 - before) / (1 - now) * (1 - now / before))
        direction = np.sqrt(np.maximum(1 - before - self.taken(deviation), 0))
        share = np.sqrt(self.level_of_guess(t, before))
        return share * guess + direction * (x_t - np.sqrt(now) * guess) / np.sqrt(1 - now) + deviation * noise


def of_steps(**otherwise):
    return first_line({"make": type("Changed", (Steps,), otherwise), "profile": {"predicts": "noise", "variance": "small"}})


def test_a_step_whose_guess_is_clipped_is_told_so_where_the_guess_is_not_seen():
    program = type("Changed", (Steps,), dict(guess=lambda self, x_0: np.clip(x_0, -1, 1)))
    steps = {"ancestral_step": lambda x_t, noise, t, beta, model: program(beta).ancestral_step(x_t, noise, t, model),
             "profile": {"predicts": "noise", "variance": "small"}}
    assert "(SMP.STEP.X_PREV) is wrong: x̂_0 is clipped to [-1, 1]" in first_line(steps)


@pytest.mark.parametrize("offered, otherwise, says", [
    ("x_0_from_model", dict(said=lambda self, noise: np.clip(noise, -1, 1)), "what the network says is clipped to [-1, 1]"),
    ("x_0_from_model", dict(guess=lambda self, x_0: np.clip(x_0, -1, 1)), "it is clipped to [-1, 1]"),
    ("strided_step", dict(single=lambda self, t, kept: (1 - self.beta[t]).reshape(kept.shape)),
     "α_t, of one step, for ᾱ_t/ᾱ_{t_prev} in √"),
    ("ddim_step", dict(taken=lambda self, deviation: deviation), "square left out: "),
    ("ddim_step", dict(level_of_guess=lambda self, t, before: self.at(t - 1, before)),
     "ᾱ_{t−1} for ᾱ_{t_prev} in √ᾱ_{t_prev}"),
    (None, {}, "pass")])
def test_steps_by_way_of_a_guess(offered, otherwise, says):
    """Of the steps all are offered, or one."""
    steps = {"ancestral_step", "strided_step", "ddim_step"}
    assert says in of_steps(**dict.fromkeys(steps - {offered} if offered else ()), **otherwise)


@pytest.mark.parametrize("functions, says", [
    # right at T = 1
    (dict(categorical_prior_kl=lambda x_0, beta, classes: (lambda kept: xlogy(kept, kept * classes).sum(axis=-1))(
        (lambda a: a * np.eye(classes)[x_0] + (1 - a) / classes)(np.cumprod(1 - beta)[max(len(beta) - 2, 0)]))), "REV-07"),
    (dict(path_alpha_bar=lambda time: (1 - time) / (1 - time + time ** 2)), "square left out: (1 − time)²"),
    (dict(alpha_bar=lambda beta: np.exp(-np.cumsum(beta))), "the limit of small rates"),
    (dict(linear_schedule=lambda T, beta_1, beta_T: np.linspace(beta_1 ** 0.5, beta_T ** 0.5, T) ** 2), "√β_t in equal steps"),
    (dict(sigma_of_t=lambda beta, t: (lambda a: np.sqrt(1 - a) / a)(np.cumprod(1 - beta)[t - 1])),
     "the root is taken of 1 − ᾱ_t alone"),
    (dict(marginal_sample=lambda beta, x_0, t, noise: (lambda a: np.sqrt(a) * x_0 + (1 - np.sqrt(a)) * noise)(
        np.cumprod(1 - beta)[t - 1].reshape(-1, *[1] * (x_0.ndim - 1)))), "the root is taken of the second part alone"),
    (dict(sigma_euler_step=lambda x_t, sigma, sigma_next, network: (lambda share, guess: share * guess + (1 - share) * x_t)(
        sigma_next / sigma, network(x_t, sigma))), "x and denoised are exchanged")])
def test_schedules_levels_and_steps(functions, says):
    assert says in first_line(functions)


class Terms(Chain):
    """One term of the bound, of a network that predicts noise, and the prior term."""

    def law(self, x_0, x_t, t):
        now, before = self.at(t, x_t), self.at(t - 1, x_t)
        kept = now / before
        mean = (np.sqrt(before) * (1 - kept) * x_0 + np.sqrt(kept) * (1 - before) * x_t) / (1 - now)
        return mean, (1 - kept) * (1 - before) / (1 - now) + 0 * mean

    def posterior(self, x_0, x_t, t):
        return self.law(x_0, x_t, t)

    def reverse(self, x_t, t, model):
        return self.law(self.guess(self.x_0_from_model(x_t, t, model)), x_t, t)

    def guess(self, x_0):
        return x_0

    def kl(self, mean_q, var_q, mean_p, var_p):
        return 0.5 * (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1)

    def laws(self, x_0, x_t, t, model):
        return self.posterior(x_0, x_t, t), self.reverse(x_t, t, model)

    def step_kl(self, x_0, t, noise, model):
        q, p = self.laws(x_0, self.marginal_sample(x_0, t, noise), t, model)
        return self.kl(*q, *p).reshape(len(x_0), -1).sum(axis=1)

    def end_var(self, x_0, T):
        return 1 - self.at(T, x_0)

    def prior_kl(self, x_0):
        T = np.full(len(x_0), len(self.abar) - 1)
        kl = self.kl(np.sqrt(self.at(T, x_0)) * x_0, self.end_var(x_0, T), 0.0, 1.0)
        return kl.reshape(len(x_0), -1).sum(axis=1)


@pytest.mark.parametrize("otherwise, says", [
    ({}, "pass"),
    (dict(laws=lambda self, x_0, x_t, t, model: (self.posterior(x_0, x_t, t), self.reverse(x_0, t, model))),
     "x_0 for √ᾱ_t x_0 + √(1 − ᾱ_t) noise in p"),
    (dict(laws=lambda self, x_0, x_t, t, model: (self.posterior(x_0, x_t, np.maximum(t - 1, 1)), self.reverse(x_t, t, model))),
     "every table at t − 1 in q"),
    (dict(guess=lambda self, x_0: np.clip(x_0, 0, 1)), "x̂_0 is clipped to [0, 1]"),
    (dict(end_var=lambda self, x_0, T: self.law(x_0, x_0, T)[1]), "β_T (1 − ᾱ_{T−1})/(1 − ᾱ_T) for 1 − ᾱ_T")])
def test_terms_of_the_bound(otherwise, says):
    functions = {"make": type("Changed", (Terms,), otherwise), "profile": {"predicts": "noise", "variance": "small"}}
    assert says in first_line(functions)


@pytest.mark.parametrize("base, says", [(10000, "pass"), (1000, "1000 for 10000 in log(10000)")])
def test_formulas_of_another_width_have_the_same_edits(base, says):
    def sinusoidal(time, width):
        angle = time[:, None] * np.exp(-np.log(base) * np.arange(width // 2) / (width // 2))
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)

    assert says in first_line(dict(sinusoidal=sinusoidal))


def test_the_state_of_a_network_for_levels():
    def sigma_state(beta, x_t, t):
        abar = np.cumprod(1 - beta)[t - 1].reshape(-1, *[1] * (x_t.ndim - 1))
        return x_t * np.sqrt(np.sqrt((1 - abar) / abar) + 1)

    assert "square left out: " in first_line(dict(sigma_state=sigma_state))


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def mean_pool(image, factor):
    n, h, w, c = image.shape
    return image.reshape(n, h // factor, factor, w // factor, factor, c).mean(axis=(2, 4))


def spread(image, factor):
    return image.repeat(factor, axis=1).repeat(factor, axis=2)


def gelu(x):
    return x * ndtr(x)


@pytest.mark.parametrize("function, backward, says", [
    (gelu, lambda dvalue, x: {"x": dvalue * (ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(np.pi))},
     "in the derivative, √π for √(2π) in φ(x)"),
    (log_softmax, lambda dvalue, x: {"x": dvalue - np.exp(log_softmax(x)) * dvalue},
     "every entry of the value is taken to depend on its own entry alone"),
    (mean_pool, lambda dvalue, image, factor: {"image": spread(dvalue, factor) / factor},
     "every entry is factor times what it should be")])
def test_slopes_of_layers(function, backward, says):
    assert says in first_line({function.__name__: function, "vjp": lambda name, args, cotangent: backward(cotangent, **args)})


@pytest.mark.parametrize("function, says", [
    (dict(sigma_scalings=lambda sigma, sigma_data: (sigma_data ** 2 / (sigma ** 2 + sigma_data ** 2), sigma * sigma_data / np.sqrt(
        sigma ** 2 + sigma_data ** 2), (sigma ** 2 + sigma_data ** 2) * -0.5, np.log(sigma) / 4)),
     "times −½, for the power −½ of sigma²"),
    (dict(marginal_sample=lambda beta, x_0, t, noise: (lambda a: np.sqrt(a) * x_0 + (1 - a) * 0.5 * noise)(
        np.cumprod(1 - beta)[t - 1].reshape(-1, *[1] * (x_0.ndim - 1)))), "half of 1 − ᾱ_t for its root")])
def test_a_power_that_became_a_factor(function, says):
    assert says in first_line(function)


def churned(*, level=lambda sigma, sigma_next: sigma, scale=lambda share, s_noise: s_noise, power=2):
    """Heun's step after churn, which asks whether a level is within the bounds, and scales the noise."""
    def sigma_churned_step(x_t, sigma, sigma_next, network, noise, count, s_churn, s_min, s_max, s_noise):
        share = min(s_churn / count, 2 ** 0.5 - 1) if s_min <= level(sigma, sigma_next) <= s_max else 0.0
        raised = sigma * (1 + share)
        x = x_t + np.sqrt(max(raised ** power - sigma ** power, 0)) * scale(share, s_noise) * noise
        slope = (x - network(x, raised)) / raised
        end = x + (sigma_next - raised) * slope
        after = (end - network(end, sigma_next)) / sigma_next if sigma_next else slope
        return x + (sigma_next - raised) * (slope + after) / 2

    return first_line(dict(sigma_churned_step=sigma_churned_step))


@pytest.mark.parametrize("otherwise, says", [
    ({}, "pass"), (dict(scale=lambda share, s_noise: share), "gamma is taken for scale"),
    (dict(power=1), "both squares left out: "),
    (dict(level=lambda sigma, sigma_next: sigma_next), "sigma_next for sigma in the conditions")])
def test_churn(otherwise, says):
    assert says in churned(**otherwise)


@pytest.mark.parametrize("data_at", [0, 1])
def test_a_sampler_of_a_straight_path_alone_tells_its_direction(data_at):
    def path_euler_sample(x_t, count, network):
        for time in np.arange(count) / count:
            x_t = x_t + (1 if data_at else -1) * network(x_t, time if data_at else 1 - time) / count
        return x_t

    assert "clauses pass" in first_line(dict(path_euler_sample=path_euler_sample))


def test_a_named_mistake_stands_before_spoilt_tables():
    class Spoilt(Chain):
        def marginal_sample(self, x_0, t, noise):
            self.abar = self.abar.astype(x_0.dtype)
            return Chain.marginal_sample(self, x_0, t, noise)

        def x_0_from_noise(self, noise, x_t, t):
            a = self.at(t, x_t)
            return (x_t - (1 - a) * noise) / np.sqrt(a)

    said = first_line({"make": Spoilt})
    assert "(PAR.X_0_OF_NOISE.VALUE) is wrong: root left out" in said and "another reason: PURE.SAME" in said


def test_another_output_that_the_mistake_does_not_explain_has_another_cause():
    def sigma_scalings(sigma, sigma_data):
        var = sigma ** 2 + sigma_data ** 2
        return sigma_data ** 2 / var, sigma * sigma_data / np.sqrt(var), var * -0.5, np.sin(3 * sigma)

    assert "perhaps for another reason: SIG.SCALINGS.C_NOISE" in first_line(dict(sigma_scalings=sigma_scalings))


def sides(t, beta, x):
    return np.cumprod(1 - beta)[t - 1].reshape(-1, *[1] * (x.ndim - 1))


@pytest.mark.parametrize("functions, says", [
    (dict(sigma_scalings=lambda sigma, sigma_data: (lambda var: (
        sigma_data ** 2 / var, sigma * sigma_data / var ** 0.5, var ** -0.5, np.log(sigma / 4)))(sigma ** 2 + sigma_data ** 2)),
     "log(sigma/4) for log(sigma)/4"),
    (dict(path_loss=lambda x_0, noise, time, network: (lambda x_t: ((network(x_t, time) - (noise - x_t)) ** 2).mean())(
        (1 - time) * x_0 + time * noise)), "(1 − time) x_0 + time noise for x_0"),
    (dict(path_shifted=lambda time, shift: np.exp(shift) * time / (1 + (np.exp(shift) - 1) * time)), "exp(shift) for shift"),
    (dict(guided_noise=lambda beta, noise, gradient, t: noise - np.sqrt(1 / sides(t, beta, noise) - 1) * gradient),
     "√((1 − ᾱ_t)/ᾱ_t) for √(1 − ᾱ_t)"),
    (dict(kl=lambda mean_q, var_q, mean_p, var_p: 0.5 * (var_q / var_p + (mean_q - mean_p) ** 2 / var_p - np.log(var_q))),
     "terms left out: log(var_p), and −1"),
    (dict(rms_norm=lambda x, scale, epsilon: scale * x / np.sqrt(x ** 2 + epsilon)), "mean over the last axis left out: x²"),
    (dict(path_drawn=lambda mean, spread, noise: np.exp(mean + spread * noise)), "term left out: 1"),
    (dict(cosine_schedule=lambda T, offset, cap: (lambda f: np.minimum(1 - f[1:] / f[:-1], cap))(
        np.cos((np.arange(T + 1) / (T + 1) + offset) / (1 + offset) * np.pi / 2) ** 2)), "T + 1 for T in (1 … (T + 1) − 1)/T"),
    (dict(mask_schedule=lambda mask_time, floor: (lambda a: (floor + (1 - floor) * a, np.sin(np.pi / 2 * mask_time) * np.pi / 2 / (
        (1 - floor) * (1 - a))))(np.cos(np.pi / 2 * mask_time))), "factor left out: 1 − floor")])
def test_brackets_targets_levels_and_slopes(functions, says):
    assert says in first_line(functions)


@pytest.mark.parametrize("levels, says", [
    (("t_prev", "t_prev", "t_prev"), "clauses pass"),
    (("t − 1", "t − 1", "t_prev"), "ᾱ_{t−1} for ᾱ_{t_prev} in 1 − ᾱ_{t_prev} in 1 − ᾱ_{t_prev} − eta² (1"),
    (("t − 1", "t − 1", "t_prev"), "and in √ᾱ_{t_prev}"),
    (("t_prev", "t_prev", "t − 1"),
     "ᾱ_{t−1} for ᾱ_{t_prev} in ᾱ_t/ᾱ_{t_prev} and in 1 − ᾱ_{t_prev} in (1 − ᾱ_t/ᾱ_{t_prev}) (1 − ᾱ_{t_prev})")])
def test_another_level_in_some_of_the_places(levels, says):
    def ddim_step(x_t, noise, t, beta, model, t_prev, eta):
        found = np.append(1.0, np.cumprod(1 - beta))
        now, mean, direction, var = (found[{"t": t, "t − 1": t - 1, "t_prev": t_prev}[at]].reshape(-1, *[1] * (x_t.ndim - 1))
                                     for at in ("t", *levels))
        predicted = model(x_t, t)
        x_0 = (x_t - np.sqrt(1 - now) * predicted) / np.sqrt(now)
        sigma = eta * np.sqrt((1 - var) / (1 - now) * (1 - now / var))
        return np.sqrt(mean) * x_0 + np.sqrt(np.maximum(1 - direction - sigma ** 2, 0)) * predicted + sigma * noise

    assert says in first_line({"ddim_step": ddim_step})


@pytest.mark.parametrize("looks, says", [
    (lambda now, before, share: (1 + share) * now - share * before, "clauses pass"),
    (lambda now, before, share: (1 + share) * before - share * now, "denoised and before are exchanged in multistep(x, denoised"),
    (lambda now, before, share: (1 + 2 * share) * now - 2 * share * before, "factor left out: 2")])
def test_a_chain_whose_steps_know_the_look_before(looks, says):
    def sigma_multistep_sample(x_t, sigmas, network):
        h, x, before = -np.diff(np.log(np.maximum(sigmas, 1e-300))), x_t, None
        for n, (sigma, after) in enumerate(zip(sigmas, sigmas[1:])):
            now = network(x, sigma)
            guess = now if before is None or after == 0 else looks(now, before, h[n] / h[n - 1] / 2)
            x, before = after / sigma * x + (1 - after / sigma) * guess, now
        return x

    assert says in first_line({"sigma_multistep_sample": sigma_multistep_sample})


def test_a_network_that_is_asked_at_another_state_is_told_so_where_an_edit_gives_the_same():
    def sigma_heun_step(x_t, sigma, sigma_next, network):
        slope = (x_t - network(x_t, sigma)) / sigma
        there = x_t + (sigma_next - sigma) * slope
        again = (there - network(x_t, sigma_next)) / sigma_next if np.all(sigma_next > 0) else slope
        return x_t + (sigma_next - sigma) * (slope + again) / 2

    assert "(SLV.HEUN.X_NEXT) is wrong: the network is asked at x_t, and not at euler(x" in first_line(
        {"sigma_heun_step": sigma_heun_step})


def levels_and_rate(t, beta, x):
    found = np.append(1.0, np.cumprod(1 - beta[1:] if beta[0] == 0 else 1 - beta))
    return (column.reshape(-1, *[1] * (x.ndim - 1)) for column in (found[t], found[t - 1], 1 - found[t] / found[t - 1]))


@pytest.mark.parametrize("of_t, says", [
    (lambda t, T: t < 3, "root left out: √ᾱ_{t−1}"), (lambda t, T: t < T, "root left out: √ᾱ_{t−1}"), (lambda t, T: t > 0, "pass")])
def test_a_mistake_at_some_steps_alone_has_its_name(of_t, says):
    def posterior(x_0, x_t, t, beta):
        now, before, rate = levels_and_rate(t, beta, x_t)
        right = of_t(t, len(beta)).reshape(before.shape)
        share = np.where(right, np.sqrt(before), before) * rate / (1 - now)
        return share * x_0 + np.sqrt(1 - rate) * (1 - before) / (1 - now) * x_t, rate * (1 - before) / (1 - now)

    assert says in first_line({"posterior": posterior})


def posterior_of(x_0, x_t, t, beta):
    now, before, rate = levels_and_rate(t, beta, x_t)
    mean = np.sqrt(before) * rate / (1 - now) * x_0 + np.sqrt(1 - rate) * (1 - before) / (1 - now) * x_t
    return mean, rate * (1 - before) / (1 - now)


def reverse_by_noise(said, x_t, t, beta, of_t):
    now, *_ = levels_and_rate(t, beta, x_t)
    return posterior_of((x_t - np.sqrt(1 - now) * said) / np.sqrt(now), x_t, of_t, beta)


def test_the_posterior_of_another_step_in_a_reverse_step_is_told_so():
    def reverse(x_t, t, beta, model):
        return reverse_by_noise(model(x_t, t), x_t, t, beta, np.maximum(t - 1, 1))

    assert "the reverse step's mean (REV.LAW.MEAN) is wrong: posterior(x_t, x_0) of t − 1, and not of t" in first_line(
        {"reverse": reverse})


@pytest.mark.parametrize("error, says", [
    (np.square, "pass"), (np.abs, "the hybrid loss (LOSS.HYBRID.VALUE) is wrong: absolute value for the square")])
def test_a_hybrid_loss_is_judged_beside_a_reverse_step_with_a_fixed_variance(error, says):
    def reverse(x_t, t, beta, model):
        return reverse_by_noise(model(x_t, t), x_t, t, beta, t)

    def hybrid_loss(x_0, t, noise, beta, model, share):
        now, _, rate = levels_and_rate(t, beta, x_0)
        x_t = np.sqrt(now) * x_0 + np.sqrt(1 - now) * noise
        said, head = np.split(model(x_t, t), 2, axis=1)
        (right, small), (mean, _) = posterior_of(x_0, x_t, t, beta), reverse_by_noise(said, x_t, t, beta, t)
        var = rate ** ((head + 1) / 2) * small ** ((1 - head) / 2)
        kl = (np.log(var / small) + (small + (right - mean) ** 2) / var - 1) / 2
        return (error(said - noise) + share * kl).mean()

    found = check(SimpleNamespace(__name__="program", reverse=reverse, hybrid_loss=hybrid_loss), effort=EFFORT)
    skipped = [row["id"] for row in found["clauses"] if row["verdict"] == "skipped"]
    assert says in headline(found) and "LOSS.HYBRID.VALUE" not in skipped


def noised(x_0, t, noise, beta):
    return np.sqrt(sides(t, beta, x_0)) * x_0 + np.sqrt(1 - sides(t, beta, x_0)) * noise


def guided(noise, gradient, t, beta):
    return noise - np.sqrt(1 - sides(t + 1, beta, noise)) * gradient


def test_of_two_functions_that_count_t_otherwise_neither_is_accused():
    told = first_line(dict(marginal_sample=noised, guided_noise=guided))
    assert "does not agree with marginal_sample: it is right if first_t is 0, and marginal_sample if first_t is 1" in told


def test_of_three_functions_the_one_that_counts_otherwise_is_accused():
    from_noise = {"x_0_from_noise": lambda noise, x_t, t, beta: (
        x_t - np.sqrt(1 - sides(t, beta, x_t)) * noise) / np.sqrt(sides(t, beta, x_t))}
    told = first_line(dict(marginal_sample=noised, guided_noise=guided) | from_noise)
    assert "does not agree" not in told and "the noise guided by a classifier (GUI.NOISE.VALUE) is wrong" in told


def test_a_draw_by_logarithms_beside_probabilities_is_wrong():
    """Gumbel noise added to probabilities is a mistake, and right of logarithms: who means these says so."""
    def categorical_draw(law_p, uniform):
        return np.argmax(law_p - np.log(-np.log(uniform)), axis=-1)

    def categorical_kl(law_q, law_p):
        return (xlogy(law_q, law_q) - xlogy(law_q, law_p)).sum(axis=-1)

    functions = dict(categorical_draw=categorical_draw, categorical_kl=categorical_kl)
    assert ("(CAT.DRAW.CLASS) does not agree with the other functions: it is right if its law comes as log_probability, but theirs "
            "comes as probability, so that it draws from another law") in first_line(functions)
    assert "clauses pass" in first_line(functions | {"profile": {"categorical_draw.categories": "log_probability"}})


class Clipped(Terms):
    """DDPM's decoder: the posterior's variance is 0 at t = 1, and the decoder takes that of t = 2 there."""

    upper = 1 / 255
    lower = 1 / 255

    def decoder_nll(self, x_0, noise, model):
        t = np.ones(len(x_0), dtype=int)
        mean, _ = self.reverse(self.marginal_sample(x_0, t, noise), t, model)
        deviation = np.sqrt(self.law(x_0, x_0, t + 1)[1])
        high, low = (ndtr((x_0 - mean + side) / deviation) for side in (self.upper, -self.lower))
        mass = np.where(x_0 < -0.999, high, np.where(x_0 > 0.999, 1 - low, high - low))
        return -np.log(np.maximum(mass, 1e-12)).reshape(len(x_0), -1).sum(axis=1)


def test_a_decoder_with_a_variance_of_its_own_is_not_skipped():
    """The reverse step has no variance at t = 1, which a decoder must have: a wrong decoder told nothing of which it has."""
    def of_decoder(**otherwise):
        program = type("Changed", (Clipped,), {"step_kl": None, "prior_kl": None} | otherwise)
        return first_line({"make": program, "profile": {"predicts": "noise", "variance": "small"}})

    assert "pass" in of_decoder() and "wrong" not in of_decoder()
    assert "(OBJ.DECODER.VALUE) is wrong: divisor left out: 2" in of_decoder(upper=1 / 127.5)


def test_a_wrong_formula_that_rounding_would_allow_is_no_pass():
    """In single precision a bin that is too narrow by 0.2 % is within what the decoder's formula loses."""
    class Single(Clipped):
        lower = 1 / 255

        def at(self, t, x):
            return self.abar[t].astype(np.float32).reshape(-1, *[1] * (x.ndim - 1))

    def row(lower):
        program = SimpleNamespace(make=type("Changed", (Single,), {"lower": lower}), dtype="float32",
                                  profile={"predicts": "noise", "variance": "small"})
        return check(program, effort=Effort(max_examples=1, shrinks=5), only="OBJ.DECODER")["clauses"][0]

    assert "fits better" not in row(1 / 255)["reason"]
    assert row(1 / 256)["verdict"] == "undecided" and "a wrong formula fits better" in row(1 / 256)["reason"]


def test_a_small_number_that_may_be_added_is_nothing_that_a_pass_excludes():
    def kl(mean_q, var_q, mean_p, var_p):
        return 0.5 * (-1 + np.log(var_p) - np.log(var_q) + var_q / var_p + (mean_q - mean_p) ** 2 / var_p)

    program = SimpleNamespace(__name__="program", kl=kl, dtype="float32")
    row = next(one for one in check(program, only="GAU.KL.VALUE")["clauses"] if one["id"] == "GAU.KL.VALUE")
    assert (row["verdict"], row["reason"]) == ("pass", "")


def test_a_unit_of_its_own_is_tried_for_what_is_wrong():
    def entropy(var):
        return 0.5 * np.log(2 * np.pi * np.e * var) / np.log(2)

    def kl(mean_q, var_q, mean_p, var_p):
        return 0.5 * (np.log(var_q / var_p) + (var_p + (mean_q - mean_p) ** 2) / var_q - 1)

    assert "(known mistake BND-34)" in first_line(dict(entropy=entropy, kl=kl))


def levels(count, sigma_max, sigma_min, rho, outside=None):
    share = np.linspace(0, 1, count)
    inside = sigma_max ** (1 / rho) + share * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))
    return np.append(inside ** (outside or rho), 0.0)


def on_the_path(x_0, noise, time, scale=1.0):
    share = np.reshape(time, (-1,) + (1,) * (x_0.ndim - 1))
    return (1 - scale * share) * x_0 + share * noise


@pytest.mark.parametrize("functions, says", [
    ({"sigma_levels": levels}, "pass"), ({"path_sample": on_the_path}, "pass"),
    ({"sigma_levels": lambda count, sigma_max, sigma_min, rho: levels(count, sigma_max, sigma_min, rho, 7)},
     "is wrong: 7 for rho in rho log("),
    ({"path_sample": lambda x_0, noise, time: on_the_path(x_0, noise, time, 0.999)}, "is wrong: 0.999 times time in 1 − time"),
    ({"path_sample": lambda x_0, noise, time: on_the_path(x_0, noise, time, 1 / 3)}, "is wrong: 0.3333 times time in 1 − time")])
def test_a_number_that_somebody_wrote_is_found(functions, says):
    assert says in first_line(functions)


def test_a_number_that_is_another_at_every_input_is_none():
    """So that no number explains what none does."""
    told = first_line({"path_sample": lambda x_0, noise, time: on_the_path(x_0, noise, time, 0.9 + 0.01 * x_0[:, :1])})
    assert "is wrong: no mistake that is known explains it" in told


def test_no_number_of_levels_is_tried_that_is_none():
    """Where nothing explains a list whose length is an argument."""
    def of_another_power(count, sigma_max, sigma_min, rho):
        return levels(count, sigma_max, sigma_min, rho, rho + np.sin(count))

    told = first_line({"sigma_levels": of_another_power})
    assert "is wrong: no mistake that is known explains it" in told


def noised_again(x_prev, noise, t, beta):
    rate = beta[t - 2].reshape((-1,) + (1,) * (x_prev.ndim - 1))
    return np.sqrt(1 - rate) * x_prev + np.sqrt(rate) * noise


def respaced_schedule(beta, times):
    now = np.cumprod(1 - beta)[np.asarray(times) - 1]
    return np.append(1.0, now[:-1]) - now


def huber(x_0, noise, time, network):
    error = np.abs(network(on_the_path(x_0, noise, time), time) - (noise - x_0))
    return np.where(error < 1, error ** 2 / 2, error - 0.5).mean()


@pytest.mark.parametrize("functions, says", [
    ({"guided_prediction": lambda conditional, unconditional, weight: unconditional + (weight - 1) * (conditional - unconditional)},
     "is wrong: weight − 1 for weight"),
    ({"noised_again": noised_again}, "is wrong: it is the answer for t − 1, and that for T at t = 1, as an index of −1 takes it"),
    ({"respaced_schedule": respaced_schedule}, "is wrong: ᾱ_{0,3,6,9} − ᾱ_{3,6,9,10} for 1 − ᾱ_{3,6,9,10}/ᾱ_{0,3,6,9}"),
    ({"path_loss": lambda x_0, noise, time, network: np.mean(
        network(on_the_path(x_0, noise, time), time) - (noise - x_0)) ** 2},
     "is wrong: the square of the mean of what the network says"),
    ({"path_loss": huber}, "is wrong: smooth L1 (Huber's loss) for the square"),
    ({"mask_sigma": lambda mask_time, sigma_min, sigma_max: (
        (s := sigma_min ** (1 - mask_time) * sigma_max ** mask_time), s * np.log(sigma_max - sigma_min))},
     "is wrong: log(sigma_max − sigma_min) for log(sigma_max/sigma_min)")])
def test_what_is_written_for_what_looks_like_it_is_told(functions, says):
    assert says in first_line(functions)


def cumulative_one_step_behind(t, beta, classes):
    kept = np.cumprod(np.append(1 - beta[0], 1 - beta[:-1]))[t - 1, None, None]
    return kept * np.eye(classes) + (1 - kept) / classes


def posterior_that_ends_early(x_t, x_0, t, beta, classes):
    kept = np.append(1.0, np.cumprod(1 - beta))
    seen, before = np.where(t <= 2, 1.0, kept[t - 1]), np.eye(classes)
    step, seen = (value.reshape(-1, *[1] * x_t.ndim) for value in (1 - beta[t - 1], seen))
    joint = (step * before[x_t] + (1 - step) / classes) * (seen * before[x_0] + (1 - seen) / classes)
    return joint / joint.sum(axis=-1, keepdims=True)


def x_0_from_score(x_t, t, score, beta):
    level = np.cumprod(1 - beta)[t - 1].reshape(-1, *[1] * (x_t.ndim - 1))
    return (x_t + (1 - level) / level * score) / np.sqrt(level)


def path_that_is_asked_at(factor):
    def path_step(x_t, time, time_next, network):
        return x_t + (time_next - time) * network(x_t, factor * np.asarray(time))
    return path_step


def to_data_at_1(x_0, noise, time):
    share = np.reshape(time, (-1,) + (1,) * (x_0.ndim - 1))
    return share * x_0 + (1 - 0.999 * share) * noise


def absorbing_ratio(x_0, x_t, sigma, mask):
    sigma = np.reshape(sigma, (-1, *[1] * x_0.ndim))
    ratio = 1 / np.where(sigma < 0.5, np.expm1(sigma), np.exp(sigma))
    return (x_t == mask)[..., None] * np.eye(mask)[x_0] * ratio


def kept_tokens(mask_time, floor):
    kept = (1 - floor) * np.cos(np.pi / 2 * mask_time) + floor
    return kept, (1 - 2 * floor) * np.pi / 2 * np.sin(np.pi / 2 * mask_time) / (1 - kept)


@pytest.mark.parametrize("functions, says", [
    ({"cumulative_matrix": cumulative_one_step_behind}, "is wrong: step 1 twice, and step t never, in the product ᾱ_t"),
    ({"categorical_posterior": posterior_that_ends_early}, "is wrong: 1 at t = 2 too for ᾱ_{t−1}"),
    ({"x_0_from_score": x_0_from_score}, "is wrong: (1 − ᾱ_t)/ᾱ_t for 1 − ᾱ_t"),
    ({"path_loss": lambda x_0, noise, time, network: np.mean(np.sqrt(np.mean(
        ((network(on_the_path(x_0, noise, time), time) - (noise - x_0)) ** 2).reshape(len(x_0), -1), axis=1)))},
     "is wrong: the mean of the roots of the examples' means"),
    ({"path_drawn": lambda mean, spread, noise: mean + spread / (1 + np.exp(-noise))},
     "is wrong: mean + spread sigmoid(noise) for sigmoid(mean + spread noise)"),
    ({"path_step": path_that_is_asked_at(1000), "profile": {"data_at": 1}},
     "is wrong: the network is told 1000 times 1 − time, for once; said with t = 0 at the data"),
    ({"path_sample": to_data_at_1, "profile": {"data_at": 1}}, "is wrong: 0.999 times (1 − time) in 1 − (1 − time)"),
    ({"absorbing_ratio": absorbing_ratio}, "“0 for 1 in exp(sigma) − 1”: the same on these inputs); in some rows only"),
    ({"mask_schedule": kept_tokens, "profile": {"masking": "cosine"}}, "; if its floor_at is both_ends")])
def test_what_an_outsider_wrote_is_told(functions, says):
    assert says in first_line(functions)


def levels_with_a_power_of_7(count, sigma_min, sigma_max, rho):
    high, low = sigma_max ** (1 / 7), sigma_min ** (1 / 7)
    return np.append((high + np.linspace(0, 1, count) * (low - high)) ** rho, 0.0)


def by_sums(x_0, t, beta, classes):
    """Rates that are added up, and not multiplied."""
    lost = np.cumsum(beta)[t - 1][:, None, None]
    return (1 - lost) * np.eye(classes)[x_0] + lost / classes


def drawn_as_another(t, beta, law):
    rate = beta[t - 1][:, None, None]
    return (1 - rate) * np.eye(len(law)) + rate * (1 - np.eye(len(law))) * law


def beside_the_uniform_law(x_0, beta, law):
    left = np.prod(1 - beta)
    q = left * np.eye(len(law))[x_0] + (1 - left) * law
    return (xlogy(q, q) + q * np.log(len(law))).sum(axis=-1)


def preconditioned_loss(x_0, noise, sigma, network, sigma_data, inside=None, clean=True):
    """Of a denoiser that is told another σ_data than the weight, or that is compared with what it sees."""
    x, used, level = x_0 + sigma * noise, sigma_data if inside is None else inside, sigma ** 2
    var = level + used ** 2
    said = used ** 2 / var * x + sigma * used / np.sqrt(var) * network(x / np.sqrt(var), np.log(sigma) / 4)
    return np.mean((level + sigma_data ** 2) / (sigma * sigma_data) ** 2 * (said - (x_0 if clean else x)) ** 2)


def heun(x_t, sigma, sigma_next, network, lost):
    dt, slope = sigma_next - sigma, (x_t - network(x_t, sigma)) / sigma
    euler = x_t + dt * slope
    if not np.any(sigma_next):
        return euler
    after = (euler - network(euler, sigma_next)) / sigma_next
    return x_t + dt * slope + after / 2 if lost else x_t + dt * (slope + after) / 2


def denoiser(x_t, sigma, network, sigma_data):
    """Whose skip carries what the network is told."""
    var = sigma ** 2 + sigma_data ** 2
    told = x_t / np.sqrt(var)
    return sigma_data ** 2 / var * told + sigma * sigma_data / np.sqrt(var) * network(told, np.log(sigma) / 4)


def mask_sigma(mask_time, sigma_min, sigma_max):
    sigma = sigma_min ** (1 - mask_time) * sigma_max ** mask_time
    return sigma, sigma * (sigma_max - sigma_min)


def ddim_step(x_t, noise, t, t_prev, eta, model, beta, direction):
    level = np.append(1.0, np.cumprod(1 - beta))
    now, after = (level[s].reshape(-1, *[1] * (x_t.ndim - 1)) for s in (t, t_prev))
    said, var = model(x_t, t), eta ** 2 * (1 - after) / (1 - now) * (1 - now / after)
    guess = (x_t - np.sqrt(1 - now) * said) / np.sqrt(now)
    return np.sqrt(after) * guess + direction(1 - after, var) * said + np.sqrt(var) * noise


def zero_snr_schedule(beta):
    """That loses its first rate."""
    root = np.sqrt(np.cumprod(1 - beta))
    level = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    return 1 - np.append(1.0, level[1:] / level[:-1])


def flow_sample(x_t, count, network, end=0.0):
    times = np.linspace(1, end if end == 0 else 1 / count, count + 1)
    for now, after in zip(times, times[1:]):
        x_t = x_t + (after - now) * network(x_t, now)
    return x_t


def attention(query, key, value, axis):
    power = query @ np.swapaxes(key, -1, -2) / np.sqrt(key.shape[axis])
    share = np.exp(power - power.max(axis=-1, keepdims=True))
    return share / share.sum(axis=-1, keepdims=True) @ value


def back_with_noise_of_all_steps(x_prev, noise, t, beta):
    rate, left = (value[t - 1].reshape((-1,) + (1,) * (x_prev.ndim - 1)) for value in (beta, np.cumprod(1 - beta)))
    return np.sqrt(1 - rate) * x_prev + np.sqrt(1 - left) * noise


@pytest.mark.parametrize("functions, says", [
    ({"sigma_loss": preconditioned_loss}, "pass"),
    ({"sigma_loss": partial(preconditioned_loss, inside=0.5)}, "is wrong: 0.5 for sigma_data in scalings(sigma, data)"),
    ({"sigma_drawn": lambda noise, p_mean, p_std: np.exp(p_std + p_mean * noise)}, "(known mistake SIG-P)"),
    ({"sigma_levels": levels_with_a_power_of_7}, "is wrong: 7 for rho in 1/rho"),
    ({"score_from_velocity": lambda velocity, time: -velocity / time}, "“velocity for x_t + (1 − time) velocity”"),
    ({"categorical_marginal": by_sums}, "is wrong: 1 − (β_1 + … + β_t) for ᾱ_t"),
    ({"transition_matrix": drawn_as_another, "profile": {"kernel": "given"}}, "is wrong: term left out: β_t law"),
    ({"categorical_prior_kl": beside_the_uniform_law, "profile": {"kernel": "given"}},
     "is wrong: the uniform law, 1/classes, for law in law + "),
    ({"path_drawn": lambda mean, spread, noise: 1 / (1 + np.exp((mean - noise) / spread))},
     "is wrong: (noise − mean)/spread for mean + spread noise"),
    ({"sigma_loss": partial(preconditioned_loss, clean=False)}, "is wrong: x_0 + sigma noise for x_0"),
    ({"categorical_kl": lambda law_q, law_p: np.where(
        law_q > 0, xlogy(law_q, law_q) - np.log(np.maximum(law_p, 1e-300)), 0).sum(axis=-1)}, "(known mistake CAT-BRACKETS)"),
    ({"sigma_heun_step": partial(heun, lost=False)}, "pass"),
    ({"sigma_heun_step": partial(heun, lost=True)},
     "is wrong: brackets lost: sigma_next − sigma times the first term alone, and ½ times the last, of (x_t − "),
    ({"path_euler_sample": flow_sample}, "pass"),
    ({"path_euler_sample": partial(flow_sample, end=1)}, "is wrong: the chain goes down to 1/n in n steps, and not to 0"),
    ({"attention": partial(attention, axis=-1)}, "pass"),
    ({"attention": partial(attention, axis=-2)},
     "is wrong: the number of rows of key, for the number of components of a query"),
    ({"noised_again": back_with_noise_of_all_steps}, "is wrong: 1 − ᾱ_t for β_t"),
    ({"ddim_step": partial(ddim_step, direction=lambda rest, var: np.sqrt(np.maximum(rest - var, 0)))}, "pass"),
    ({"ddim_step": partial(ddim_step, direction=lambda rest, var: np.sqrt(rest) - np.sqrt(var))}, "the root is taken of each part"),
    ({"sigma_denoised": denoiser}, "is wrong: 1/√(sigma² + sigma_data²) x_t for x_t"),
    ({"mask_sigma": mask_sigma}, "is wrong: sigma_max − sigma_min for log(sigma_max/sigma_min)"),
    ({"zero_terminal_schedule": zero_snr_schedule}, "is wrong: ᾱ_0 for ᾱ_1 (or "),
    ({"nearest_bytes": lambda x: np.clip((x.astype(np.float32) + 1) * np.float32(127.5), 0, 255).astype(np.uint8)},
     "is wrong: bytes cut off"),
    ({"respaced_schedule": lambda beta, times: (lambda now: np.append(1.0, now[:-1]) / now - 1)(
        np.cumprod(1 - beta)[np.asarray(times) - 1])}, "is wrong: ᾱ_{0,3,6,9}/ᾱ_{3,6,9,10} − 1 for 1 − ᾱ_{3,6,9,10}/ᾱ_{0,3,6,9}")])
def test_what_another_outsider_wrote_is_told(functions, says):
    assert says in first_line(functions)


def test_an_index_of_minus_1_is_told_in_a_list_of_kept_steps():
    def respaced(beta, times):
        level = np.append(np.cumprod(1 - beta), 1.0)
        kept = np.asarray(times) - 1
        return 1 - level[kept] / np.append(1.0, level[(kept[:-1] - 1) % len(beta)])

    assert "is wrong: the entry before is read for ᾱ_{0,3,6,9}, and ᾱ_T before the first" in first_line(
        {"respaced_schedule": respaced})


def test_where_an_argument_is_large_is_told():
    told = headline(check(SimpleNamespace(__name__="program", absorbing_ratio=absorbing_ratio), effort=Effort(shrinks=5)))
    assert told.split("; ")[-1].startswith("where sigma is above ")


def test_a_sum_over_the_components_is_told_so_at_an_input_of_which_all_is_defined():
    """The smallest input has no variance of 0, of which the divergence would be no number."""
    def kl(mean_q, var_q, mean_p, var_p):
        ratio = var_q / var_p
        return ((ratio - 1 - np.log(ratio) + (mean_q - mean_p) ** 2 / var_p) / 2).sum(axis=tuple(range(1, mean_q.ndim)))

    found = check(SimpleNamespace(__name__="program", kl=kl), effort=EFFORT)
    assert "is wrong: it is the sum over the components, and not one answer for each" in headline(found)
    shown = next(row for row in found["clauses"] if row["id"] == "GAU.KL.VALUE")
    assert np.isfinite(np.asarray(shown["observed"], dtype=float)).all()


def test_a_root_may_be_taken_before_the_logarithm():
    """Near σ = 1 that loses digits that log σ/4 has."""
    def sigma_scalings(sigma, sigma_data):
        root = np.sqrt(sigma ** 2 + sigma_data ** 2)
        return (sigma_data / root) ** 2, sigma * sigma_data / root, 1 / root, np.log(sigma ** 0.25)

    program = SimpleNamespace(__name__="program", sigma_scalings=sigma_scalings)
    assert "4 clauses pass" in headline(check(program, only="SIG.SCALINGS", effort=EFFORT._replace(max_examples=20, seed=2)))


def test_a_posterior_is_not_accused_before_the_matrices_of_which_it_is_made():
    """Matrices multiplied entry by entry: what that makes of the posterior has the name of another slip."""
    class Entries:
        def __init__(self, beta):
            self.beta = beta

        def products(self, classes):
            steps = (1 - self.beta[:, None, None]) * np.eye(classes) + self.beta[:, None, None] / classes
            return steps, np.concatenate([np.eye(classes)[None], np.cumprod(steps, axis=0)])

        def cumulative_matrix(self, t, classes):
            return self.products(classes)[1][t]

        def categorical_posterior(self, x_0, x_t, t, classes):
            steps, products = self.products(classes)
            joint = np.array([steps[s - 1].T[b] * products[s - 1][a] for s, a, b in zip(t, x_0, x_t)])
            return joint / joint.sum(axis=-1, keepdims=True)

    assert "(CAT.CUMULATIVE.MATRIX) is wrong" in first_line({"make": Entries, "profile": {"kernel": "uniform"}})


# -- what is said first of what is the same ------------------------------------------------------------------------------

def test_a_wrong_sign_is_said_as_such():
    def score_from_x_0(x_0, x_t, t, beta):
        level = np.cumprod(1 - beta)[t - 1].reshape(-1, *[1] * (x_t.ndim - 1))
        return (x_t - np.sqrt(level) * x_0) / (1 - level)

    assert "it has the wrong sign" in first_line({"score_from_x_0": score_from_x_0})


def test_what_is_noted_of_a_function_is_not_what_is_wrong_with_it():
    class Foreign:
        """An array of another package."""

        def __init__(self, value):
            self.value = value

        def __array__(self, dtype=None, copy=None):
            return self.value

    def alpha_bar(beta):
        print("making a table")
        return Foreign(np.cumprod(1 - beta) ** 1.5)

    assert "is wrong: no mistake that is known explains it" in first_line({"alpha_bar": alpha_bar}).split(";")[0]


def test_lost_digits_are_explained_by_no_number():
    def posterior(x_0, x_t, t, beta):
        level = np.append(1.0, np.cumprod(1 - beta))
        now, before, rate = (one.reshape(-1, *[1] * (x_0.ndim - 1)) for one in (level[t], level[t - 1], beta[t - 1]))
        mean = (np.sqrt(before) * rate * x_0 + np.sqrt(1 - rate) * (1 - before) * x_t) / (1 - now)
        return mean * (1 + 4e-14), rate * (1 - before) / (1 - now) * np.ones_like(x_0)

    said = first_line({"posterior": posterior})
    assert "GAU.POST.MEAN" in said and "inaccurate" in said and "times what it should be" not in said


# -- what the network is asked -------------------------------------------------------------------------------------------

def test_a_level_that_is_told_otherwise_is_said_where_nothing_else_explains_the_numbers():
    def sigma_euler_step(x_t, sigma, sigma_next, network):
        return x_t + (sigma_next - sigma) * (x_t - network(x_t, np.sqrt(sigma + 0.375))) / sigma

    assert "its network is asked at the level = 0.7906, expected 0.25" in first_line({"sigma_euler_step": sigma_euler_step})


def test_a_time_that_is_told_otherwise_is_said_as_the_program_counts_it():
    def path_step(x_t, time, time_next, network):
        return x_t + (time_next - time) * network(x_t, time ** 2 / (time + 0.1))

    said = first_line({"path_step": path_step, "path_velocity": lambda x_0, noise: x_0 - noise,
                       "profile": {"data_at": 1}})
    assert "its network is asked at the level = " in said


def test_a_t_that_is_told_otherwise_is_said():
    class Late(Chain):
        def x_0_from_model(self, x_t, t, model):
            return self.x_0_from_noise(model(x_t, np.maximum(t - 2, 1)), x_t, t)

    said = first_line({"make": Late})
    assert "its network is asked at t = " in said
