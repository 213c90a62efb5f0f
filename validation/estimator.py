"""Claim: the average over forward paths (eq. 9) is p(x_0) without bias, with variance 0 where the reverse steps are the exact
reversal; its logarithm has the bias −var(w)/(2M mean(w)²) and the standard error that is reported where M is well above
var(w)/mean(w)², not below.

Exact reversal: data N(0, 1), and, what is the same thing, forward steps as the model whatever x_0 is (detailed balance): every
path has log w = log π(x_0).  Data N(0, s) with exact steps t ≥ 2: the weight depends on the two ends x_1 and x_T alone,
log w = log q(x_1) − log π(x_1) + log π(x_0) + log π(x_T) − log q(x_T).
Wrong models whose p(x_0) is known: linear (closed form), a bent mean and an uneven variance (quadrature), bits (all paths summed).

    python validation/estimator.py
"""

from types import SimpleNamespace
import time

from claim import claim_of, conclude, row
import numpy as np

from refdpm import binomial, gaussian, likelihood, schedule
from refdpm.conformance.checks.common import linear
from refdpm.oracles import enumeration, linear_gaussian, quadrature
from refdpm.oracles.linear_gaussian import Kernels
from refdpm.sample import forward_path
from refdpm.vjp import fix

PATHS, REPEATED, BETA = 400_000, 400, schedule.geometric(8, beta_1=0.02, beta_T=0.6)


def log_weights(parameters, x_0, *, paths=PATHS, kernel=gaussian, network=linear, beta=BETA, seed=0):
    """log w, (paths, N), for N examples x_0."""
    rows = np.tile(x_0, (paths, 1))
    noise = kernel.draw_noise(np.random.default_rng(seed), (len(beta) - 1, *rows.shape))
    return likelihood.log_weights(parameters, beta, rows, noise=noise, kernel=kernel, network=network).reshape(paths, -1)


def exact_reversals():
    x_0, found = np.array([[-3.0], [-0.4], [1.7]]), []
    for s, kernels in ((1.0, "full"), (0.25, "forward")):
        model = linear_gaussian.reverse_kernels(np.array([[s]]), BETA, kernels=kernels)
        found.append(np.abs(log_weights(model, x_0, paths=2000) + (x_0[:, 0] ** 2 + np.log(2 * np.pi)) / 2).max())
    yield row("exact reversal of N(0, 1), and forward steps as model: |log w − log π(x_0)| ≤ {off:.1e} on all of 12,000 paths",
              "rounding, ≤ 1e-12", max(found) <= 1e-12, off=max(found))
    s, noise = 0.25, np.random.default_rng(0).standard_normal((8, 2000, 1))
    x_0 = np.linspace(-1, 1, 2000)[:, None]
    model, v = linear_gaussian.reverse_kernels(np.array([[s]]), BETA), np.cumprod(1 - BETA) * (s - 1) + 1
    x = {t: x_t[:, 0] for t, x_t in forward_path(BETA, x_0, noise=noise, kernel=gaussian)}
    log_w = likelihood.log_weights(model, BETA, x_0, noise=noise, kernel=gaussian, network=linear)

    def log_ratio(t):
        """log q(x_t) − log π(x_t)"""
        return -(x[t] ** 2 / v[t] - x[t] ** 2 + np.log(v[t])) / 2

    ends = log_ratio(1) - log_ratio(8) - (x[0] ** 2 + np.log(2 * np.pi)) / 2
    yield row("exact steps for N(0, ¼): log w off its two ends by ≤ {off:.1e}; standard deviation of log w {deviation:.3f}",
              "rounding, ≤ 1e-12; the deviation is of the ends alone", np.abs(log_w - ends).max() <= 1e-12,
              off=np.abs(log_w - ends).max(), deviation=(log_w - ends.mean()).std())


def judged(name, log_w, log_p):
    """E w = p(x_0), the bias of the logarithm as M grows, and the reported standard error, for one model and one x_0.

    The paths are cut into REPEATED parts; in a part they are cut into groups of M.  The bias is that of log w̄ − (w̄ − 1), which
    is the same and much less noisy, because E w̄ = 1 after division by p(x_0).
    """
    w, biases = np.exp(log_w - log_p), []
    off, deviation = (w.mean() - 1) / (w.std() / np.sqrt(len(w))), w.std() / w.mean()
    yield row("{name}: mean of w/p(x_0) = {mean:.4f} over {paths} paths, {scores:+.1f} standard errors from 1; relative "
              "deviation of w {deviation:.2f}", "1, within 4.5 standard errors (a false alarm in 150,000)", abs(off) < 4.5,
              name=name, mean=w.mean(), paths=len(w), scores=off, deviation=deviation)
    control = w.reshape(REPEATED, -1).mean(axis=1) - 1
    for M in (1, 10, 100, 1000):
        parts = [likelihood.log_likelihood(part.reshape(M, -1)) for part in np.split(log_w, REPEATED)]
        value = np.array([part.value for part in parts]) - log_p
        biases.append(((value - control).mean(), (value - control).std(ddof=1) / np.sqrt(REPEATED)))
    bias, stderr = biases[-1]
    spread, reported = value.std(ddof=1), np.sqrt(np.mean(np.square([part.stderr for part in parts])))
    enough, predicted = deviation ** 2 < M / 100, -deviation ** 2 / 2 / M
    as_told = abs(bias - predicted) < 4 * stderr - 0.1 * predicted and abs(spread / reported - 1) < 0.15
    rising = all(b[0] > a[0] for a, b in zip(biases, biases[1:])) and biases[-1][0] < 0
    told = ", ".join(f"{value:.6f} ± {error:.6f}" for value, error in biases)
    yield row(f"{name}: bias of the logarithm for M = 1, 10, 100, 1000: {told}; at the last "
              "predicted {predicted:.6f}, spread {spread:.4f}, reported {reported:.4f}",
              "below 0 and rising; at the last " + ("bias as predicted to 4 standard errors and 10 %, spread as reported to 15 %"
              if enough else "M is too small for this deviation: spread above what is reported"),
              rising and (as_told if enough else spread > reported),
              biases=biases, predicted=predicted, spread=spread, reported=reported)


def wrong_models():
    x_0 = np.array([[-1.2], [0.3]])
    best = linear_gaussian.reverse_kernels(np.array([[0.25]]), BETA)
    wrong = best._replace(gain=best.gain * 1.05, cov=best.cov * 1.15)
    wrong = Kernels(*(np.concatenate([a[:1], b[1:2], c[2:]]) for a, b, c in zip(best, best, wrong)))     # step 1 is not the model's
    P_0 = linear_gaussian.model_covariances(np.array([[0.25]]), BETA, kernels=wrong)[0, 0, 0]
    yield "a wrong linear model", log_weights(wrong, x_0), -(x_0[:, 0] ** 2 / P_0 + np.log(2 * np.pi * P_0)) / 2

    def bent(x, t):
        return np.sqrt(1 - BETA[t]) * x + 0.8 * BETA[t] * np.sin(2 * x), BETA[t] * (1 + 0.3 * np.tanh(x))

    network = SimpleNamespace(reverse=lambda parameters, x, step, *, t: gaussian.Gaussian(*bent(x, t[:, None])))
    yield "a bent model", log_weights((), x_0, network=network), quadrature.log_likelihood(x_0[:, 0], BETA, bent)
    for n, period, rate, T in ((4, 2, 0.5, 3), (6, 3, 1 / 3, 10)):
        beta, data = schedule.reciprocal(T), enumeration.distribution(enumeration.periodic(n, period))
        best = enumeration.optimal_reverse(data, beta, rate=rate)
        network = SimpleNamespace(reverse=lambda parameters, x, step, *, t: binomial.Bernoulli(
            binomial.logit(0.9 * best(x, int(t[0])) + 0.1 * rate)))
        law = enumeration.model_law(lambda x, t: 0.9 * best(x, t) + 0.1 * rate, beta, n, rate=rate)
        x = np.stack([enumeration.periodic(n, period)[0], enumeration.states(n)[3]]).astype(float)
        log_w = log_weights((), x, kernel=fix(binomial, rate=rate), network=network, beta=beta)
        yield f"{n} bits, r = {rate:.2f}, T = {T}", log_w, np.log(law[enumeration.number(x)])


def main() -> int:
    started = time.perf_counter()
    rows = [*exact_reversals(), *(found for name, log_w, log_p in wrong_models() for j in range(2)
                                  for found in judged(f"{name}, {('first', 'second')[j]} x_0", log_w[:, j], log_p[j]))]
    return conclude("estimator", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings={"paths": PATHS, "beta": [float(b) for b in BETA], "seed": 0})


if __name__ == "__main__":
    raise SystemExit(main())
