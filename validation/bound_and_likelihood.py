"""Claim: K and the strict bound have their exact values and close in on the exact log-likelihood L as T grows, at the predicted
rate; what is left between K and L is what β_1 leaves, and for the heartbeat a cost of independent bits that falls as 1/T.

Gaussian data N(0, s), the exact reversal as network, schedule 1/(T − t + 1), β_1 = 1/T: from K = −½ log 2πe v_1 and L = the
log-likelihood of N(0, v_1 + β_1 (1 − v_1)), v_1 = s + β_1 (1 − s),

    T (L − K) → (1 − s)/2s        T (L − strict bound) → (1 − s)²/2s        T² (−H(X_0) − L) → (1 − s)²/s².

Heartbeat, r = 0.2: each of 4 ones flips with probability 0.8/T in the first step, each of 16 zeros with 0.2/T, and sequences differ
in 8 bits, so H(X_1) = log 5 + 4 h(0.8/T) + 16 h(0.2/T) but for O(T⁻⁴); a perfect x_1 re-noised leaves L = −log 5 − 12.8/T + O(T⁻²).

    python validation/bound_and_likelihood.py
"""

from types import SimpleNamespace
import time

from claim import claim_of, conclude, row
import numpy as np
from scipy.special import entr

from refdpm import binomial, bound, gaussian, schedule
from refdpm.conformance.checks.common import gaussian_data, linear
from refdpm.likelihood import average, bits, in_bits
from refdpm.oracles import enumeration, heartbeat, linear_gaussian
from refdpm.vjp import fix

PRINTED = {  # PAPER §4.3: K, strict bound, L in nats
    ("const .1, T = 20", 0.25): (-.904779, -.821688, -.770457), ("const .1, T = 20", 2.0): (-1.682498, -1.793286, -1.769489),
    ("1/(T−t+1), T = 40", 0.25): (-.761952, -.752577, -.730349), ("1/(T−t+1), T = 40", 2.0): (-1.759223, -1.771723, -1.765670),
    ("released, T = 1000", 0.25): (-.729154, -.728033, -.725827), ("released, T = 1000", 2.0): (-1.764516, -1.766012, -1.765513)}
HEARTBEAT = {5: (-9.815646, -6.816930), 20: (-4.842575, -3.297621), 100: (-2.973699, -2.508549), 500: (-2.481963, -2.358937),
             2000: (-2.368335, -2.331166)}                                                  # PAPER §4.1: K*, L* in bits, r = 0.2


def released(T):
    """The authors' schedule (PAPER §3)."""
    least = np.full(T, 1e-6)
    least[0] = 0.001001
    return np.concatenate([[0.0], least + (1 - least - 1e-5) / np.linspace(T, 2, T)])


SCHEDULES = {"const .1, T = 20": np.r_[0, np.full(20, 0.1)], "1/(T−t+1), T = 40": schedule.reciprocal(40),
             "released, T = 1000": released(1000)}


def of_gaussian(beta, s):
    """K, strict bound, by the package without sampling, and L, by the oracle, of N(0, s)."""
    kernels = linear_gaussian.reverse_kernels(np.array([[s]]), beta)
    x_0, noise = gaussian_data(np.array([[s]]))
    t = bound.every_step(len(beta) - 1, len(x_0))
    parts = dict(noise=np.broadcast_to(noise, (len(t), *noise.shape)), t=t, kernel=gaussian, network=linear)
    k, strict = (what(kernels, beta, x_0, **parts).mean() for what in (bound.bound, bound.strict_bound))
    return np.array([k, strict, linear_gaussian.log_likelihood(np.array([[s]]), beta)])


def best_network(beta):
    """The oracle's best steps as a network, one t of a batch after another."""
    best = heartbeat.optimal_reverse(beta, rate=0.2)

    def reverse(parameters, x_t, step, *, t):
        one = np.empty_like(x_t)
        for s in np.unique(t):
            one[t == s] = best(x_t[t == s], s)
        return binomial.Bernoulli(np.log(one) - np.log1p(-one))

    return SimpleNamespace(reverse=reverse, reverse_vjp=lambda *args, **named: (reverse(*args, **named), None))


def sampled(T, N):
    """K in bits by the package, with the best steps, on N draws for every t."""
    beta, rng = schedule.reciprocal(T), np.random.default_rng(0)
    x_0, t = np.resize(enumeration.periodic(20, 5), (N, 20)).astype(float), bound.every_step(T, N)
    return in_bits(average(bound.bound((), beta, x_0, noise=rng.random((*t.shape, 20)), t=t, kernel=fix(binomial, rate=0.2),
                                       network=best_network(beta))))


def main() -> int:
    started, rows = time.perf_counter(), []
    off = max(np.abs(of_gaussian(SCHEDULES[name], s) - np.array(found)).max() for (name, s), found in PRINTED.items())
    rows.append(row("K, strict bound, L of N(0, ¼) and N(0, 2) under three schedules: off PAPER §4.3 by ≤ {off:.1e} nats",
                    "its six digits, ≤ 6e-7", off < 6e-7, off=off))
    for s in (0.25, 2.0):
        ends = (1 - s) / (2 * s), (1 - s) ** 2 / (2 * s), (1 - s) ** 2 / s ** 2
        gaps = []
        for T in (40, 160, 640, 2560):
            k, strict, log_p = of_gaussian(schedule.reciprocal(T), s)
            gaps.append(log_p - k)
        found = T * (log_p - k), T * (log_p - strict), T * T * (-linear_gaussian.entropy(np.array([[s]])) - log_p)
        rows.append(row("N(0, {s:g}): L − K = {gaps[0]:.6f}, {gaps[1]:.6f}, {gaps[2]:.6f}, {gaps[3]:.6f} at T = 40, 160, 640, "
                        "2560; at the last T(L − K) = {ends[0]:.4f}, T(L − strict bound) = {ends[1]:.4f}, T²(−H(X_0) − L) = "
                        "{ends[2]:.4f}",
                        f"{ends[0]:.4f}, {ends[1]:.4f}, {ends[2]:.4f} to 1 %; L ≥ strict bound",
                        np.allclose(found, ends, rtol=0.01, atol=0) and log_p >= strict, s=s, gaps=gaps, ends=found))
    cost = []
    for T, (k_printed, l_printed) in HEARTBEAT.items():
        beta = schedule.reciprocal(T)
        k, log_p, top = (bits(f(beta, rate=0.2)) for f in (heartbeat.bound, heartbeat.log_likelihood, heartbeat.ceiling))
        flips = bits(4 * (entr(0.8 / T) + entr(1 - 0.8 / T)) + 16 * (entr(0.2 / T) + entr(1 - 0.2 / T)))
        edge = -np.log2(5) - bits(12.8 / T)
        holds = abs(k - k_printed) < 6e-7 and abs(log_p - l_printed) < 6e-7 and k <= top and k <= log_p
        if T >= 100:
            holds &= abs(-np.log2(5) - flips - top) < (6.4 / T) ** 4 and abs(edge - log_p) < 30 / T ** 2
        cost.append(T * (top - k))
        rows.append(row("heartbeat, T = {T}: K* = {K:.6f}, L* = {L:.6f} bits, L* − K* = {gap:.5f}, of which "
                        "independent bits cost {independent:.5f}; −H(X_1) = {top:.6f}",
                        "PAPER §4.1" + (f", −H(X_1) = {-np.log2(5) - flips:.6f}, L* = {edge:.6f} ± 30/T²" if T >= 100
                                        else ", K* ≤ −H(X_1), L*"), holds, T=T, K=k, L=log_p, gap=log_p - k,
                        independent=top - k, top=top))
    rows.append(row(f"heartbeat: T times the cost of independent bits = {', '.join(f'{c:.3f}' for c in cost)} at these T",
                    "the last two within 1 %: it falls as 1/T", abs(cost[-1] / cost[-2] - 1) < 0.01, cost=cost))
    value, stderr = sampled(20, 20_000)
    rows.append(row("heartbeat, T = 20: the package's K with the best steps = {K:.4f} ± {stderr:.4f} bits",
                    f"{HEARTBEAT[20][0]} within 4 standard errors (a false alarm in 16,000)",
                    abs(value - HEARTBEAT[20][0]) < 4 * stderr, K=value, stderr=stderr))
    return conclude("bound_and_likelihood", claim_of(__doc__), rows, seconds=time.perf_counter() - started, settings={"seed": 0})


if __name__ == "__main__":
    raise SystemExit(main())
