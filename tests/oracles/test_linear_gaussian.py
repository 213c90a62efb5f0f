"""linear_gaussian against the joint Gaussian law of whole trajectories, and against the paper's closed-form table."""

import numpy as np
import pytest

from refdpm.oracles import linear_gaussian as lg

CONSTANT = np.r_[0, np.full(20, 0.1)]
HARMONIC = np.r_[0, 1 / np.arange(40.0, 0, -1)]
SHORT = np.array([0, 0.03, 0.2, 0.5, 0.35])
SHORT_TO_ONE = np.array([0, 0.03, 0.2, 0.5, 1.0])
MODELS = ["full", "diagonal", "forward", "any"]


def code_schedule(T, first=0.001001):
    """The schedule of the authors' released code."""
    lift = np.r_[first, np.full(T - 1, 1e-6)]
    return np.r_[0, lift + (1 - lift - 1e-5) / np.linspace(T, 2, T)]


def random_covariance(n, seed):
    A = np.random.default_rng(seed).normal(size=(n, n))
    return A @ A.T / n


def model_of(name, S0, beta):
    """A named model, or "any": nothing optimal, nothing symmetric about it."""
    if name != "any":
        return lg.reverse_kernels(S0, beta, kernels=name)
    rng, (gain, cov) = np.random.default_rng(5), lg.reverse_kernels(S0, beta, kernels="forward")
    gain[2:] += 0.3 * rng.normal(size=gain[2:].shape)
    cov[2:] = [random_covariance(len(S0), seed) + 0.1 * np.eye(len(S0)) for seed in range(len(beta) - 2)]
    return lg.Kernels(gain, cov)


class Trajectory:
    """The law of (x_0, …, x_T) under q and under p as two large covariance matrices, by propagating unit noises."""

    def __init__(self, S0, beta, model):
        self.n, self.T = len(S0), len(beta) - 1
        unit, root = np.eye(self.n * (self.T + 1)), np.linalg.cholesky
        x = [root(S0) @ self.rows(unit, 0)]
        for t in range(1, self.T + 1):
            x.append(np.sqrt(1 - beta[t]) * x[-1] + np.sqrt(beta[t]) * self.rows(unit, t))
        y = [self.rows(unit, self.T)]
        for t in range(self.T, 0, -1):
            y.append(model.gain[t] @ y[-1] + root(model.cov[t]) @ self.rows(unit, t - 1))
        x, y = np.concatenate(x), np.concatenate(y[::-1])
        self.q, self.p = x @ x.T, y @ y.T

    def rows(self, a, *times):
        return np.concatenate([a[t * self.n: (t + 1) * self.n] for t in times])

    def block(self, law, i, j):
        return self.rows(self.rows(law, *i).T, *j).T

    def conditional(self, i, j):
        """Gain and covariance of q(x_i | x_j)."""
        gain = np.linalg.solve(self.block(self.q, j, j), self.block(self.q, j, i)).T
        return gain, self.block(self.q, i, i) - gain @ self.block(self.q, j, i)

    def entropy(self, i, j):
        return 0.5 * np.linalg.slogdet(2 * np.pi * np.e * self.conditional(i, j)[1])[1]

    def strict_bound(self):
        """E_q log p(x_0 … x_T) + H_q(X_1 … X_T | X_0)."""
        trace = np.trace(np.linalg.solve(self.p, self.q))
        return (-0.5 * (np.linalg.slogdet(2 * np.pi * self.p)[1] + trace)
                + self.entropy(range(1, self.T + 1), [0]))

    def log_likelihood(self):
        P, S0 = self.block(self.p, [0], [0]), self.block(self.q, [0], [0])
        return -0.5 * (np.linalg.slogdet(2 * np.pi * P)[1] + np.trace(np.linalg.solve(P, S0)))

    def bound(self, model):
        """Eq. 14 from conditional covariances; the KL by its definition, cross-entropy minus entropy."""
        total = self.entropy([self.T], [0]) - self.entropy([1], [0]) - 0.5 * self.n * np.log(2 * np.pi * np.e)
        for t in range(2, self.T + 1):
            G, C = model.gain[t], model.cov[t]
            V, cross = self.block(self.q, [t], [t]), G @ self.block(self.q, [t], [t - 1])
            residual = self.block(self.q, [t - 1], [t - 1]) - cross - cross.T + G @ V @ G.T
            cross_entropy = 0.5 * (np.linalg.slogdet(2 * np.pi * C)[1] + np.trace(np.linalg.solve(C, residual)))
            total -= cross_entropy - self.entropy([t - 1], [t, 0])
        return total


@pytest.mark.eq("14", "12", "10")
@pytest.mark.parametrize("beta, s, K, strict, L, minus_H", [
    (CONSTANT, .25, -.904779, -.821688, -.770457, -.725791),
    (CONSTANT, 2, -1.682498, -1.793286, -1.769489, -1.765512),
    (HARMONIC, .25, -.761952, -.752577, -.730349, -.725791),
    (HARMONIC, 2, -1.759223, -1.771723, -1.765670, -1.765512),
    (code_schedule(1000), .25, -.729154, -.728033, -.725827, -.725791),
    (code_schedule(1000), 2, -1.764516, -1.766012, -1.765513, -1.765512)])
def test_published_table(beta, s, K, strict, L, minus_H):
    S0 = np.array([[float(s)]])
    found = [f(S0, beta) for f in (lg.bound, lg.strict_bound, lg.log_likelihood)] + [-lg.entropy(S0)]
    assert [f"{a:.6f}" for a in found] == [f"{a:.6f}" for a in (K, strict, L, minus_H)]


@pytest.mark.eq("12", "14", "51")
@pytest.mark.parametrize("beta", [SHORT, SHORT_TO_ONE])
@pytest.mark.parametrize("name", MODELS)
def test_trajectory_algebra(beta, name):
    S0 = random_covariance(3, 1)
    model = model_of(name, S0, beta)
    kernels = model if name == "any" else name
    law = Trajectory(S0, beta, model)
    np.testing.assert_allclose(lg.bound(S0, beta, kernels=kernels), law.bound(model), rtol=1e-11)
    np.testing.assert_allclose(lg.bound(S0, beta, kernels=model), law.bound(model), rtol=1e-11)
    np.testing.assert_allclose(lg.strict_bound(S0, beta, kernels=kernels), law.strict_bound(), rtol=1e-11)
    np.testing.assert_allclose(lg.log_likelihood(S0, beta, kernels=kernels), law.log_likelihood(), rtol=1e-11)
    np.testing.assert_allclose(lg.model_covariances(S0, beta, kernels=kernels)[2], law.block(law.p, [2], [2]))
    np.testing.assert_allclose(lg.covariances(S0, beta)[2], law.block(law.q, [2], [2]))


def test_exact_reversal():
    S0 = random_covariance(3, 2)
    full = lg.reverse_kernels(S0, SHORT)
    law = Trajectory(S0, SHORT, full)
    for t in (2, 3, 4):
        gain, cov = law.conditional([t - 1], [t])
        np.testing.assert_allclose(full.gain[t], gain, atol=1e-13)
        np.testing.assert_allclose(full.cov[t], cov, atol=1e-13)


@pytest.mark.eq("44")
def test_edge_step_is_the_forward_kernel():
    for name in ("full", "diagonal", "forward"):
        gain, cov = lg.reverse_kernels(random_covariance(3, 2), SHORT, kernels=name)
        np.testing.assert_allclose(gain[1], np.sqrt(0.97) * np.eye(3))
        np.testing.assert_allclose(cov[1], 0.03 * np.eye(3))


@pytest.mark.eq("12", "14")
@pytest.mark.parametrize("name", MODELS)
def test_strict_bound_differs_by_the_edges(name):
    """Eq. 12 − eq. 14 = ½ (n − tr S0)(ᾱ_T + β_1), whatever the model."""
    S0 = random_covariance(4, 3)
    model = model_of(name, S0, SHORT)
    correction = 0.5 * (4 - np.trace(S0)) * (np.prod(1 - SHORT) + SHORT[1])
    gap = lg.strict_bound(S0, SHORT, kernels=model) - lg.bound(S0, SHORT, kernels=model)
    np.testing.assert_allclose(gap, correction, rtol=1e-10)


@pytest.mark.eq("37")
@pytest.mark.parametrize("seed", range(5))
def test_order_of_the_bounds(seed):
    """K_forward, K_diagonal ≤ K_full ≤ −H(X^1) when tr S0 = n, and eq. 12 ≤ L ≤ −H(X^0) always."""
    S0 = random_covariance(4, seed)
    for name in MODELS:
        model = model_of(name, S0, SHORT)
        L = lg.log_likelihood(S0, SHORT, kernels=model)
        assert lg.strict_bound(S0, SHORT, kernels=model) <= L + 1e-12 and L < -lg.entropy(S0)
    S0 *= 4 / np.trace(S0)
    ceiling = -lg.entropy(lg.covariances(S0, SHORT)[1])
    K = {name: lg.bound(S0, SHORT, kernels=name) for name in ("full", "diagonal", "forward")}
    assert max(K["forward"], K["diagonal"]) < K["full"] < ceiling


@pytest.mark.eq("14")
@pytest.mark.parametrize("name", ["full", "diagonal"])
def test_optimum(name):
    """No small change of gain or covariance, within what is allowed, raises K; and to first order it changes nothing."""
    S0, rng = random_covariance(3, 4), np.random.default_rng(0)
    gain, cov = lg.reverse_kernels(S0, SHORT, kernels=name)
    best = lg.bound(S0, SHORT, kernels=name)
    for step in (1e-3, -1e-3):
        tilt = rng.normal(size=(3, 3))
        scale = np.diag(np.exp(step * rng.normal(size=3)))
        changed = [lg.Kernels(gain + step * tilt, cov), lg.Kernels(gain, scale @ cov @ scale)]
        losses = [best - lg.bound(S0, SHORT, kernels=model) for model in changed]
        assert all(0 < loss < 1e-3 for loss in losses)


@pytest.mark.eq("1", "12")
def test_forward_steps_keep_the_prior():
    """The reverse chain of forward steps never leaves π, and the bound is tight: it is q started in π, read backwards."""
    S0 = random_covariance(3, 7)
    for f in (lg.strict_bound, lg.log_likelihood):
        np.testing.assert_allclose(f(S0, SHORT, kernels="forward"), lg.null_log_likelihood(S0), rtol=1e-12)


def test_unit_covariance_loses_nothing():
    """s = 1: K = eq. 12 = L = L_null, whatever the schedule."""
    S0 = np.eye(3)
    for beta in (CONSTANT, HARMONIC, SHORT):
        for name in ("full", "diagonal", "forward"):
            for f in (lg.bound, lg.strict_bound, lg.log_likelihood):
                np.testing.assert_allclose(f(S0, beta, kernels=name), lg.null_log_likelihood(S0), rtol=1e-12)


@pytest.mark.eq("65")
@pytest.mark.parametrize("T, loss", [(40, "-0.371"), (1000, "-0.765")])
def test_published_cost_of_the_missing_root(T, loss):
    """Eq. 65 as printed shrinks by 1 − β where the forward kernel shrinks by √(1 − β)."""
    beta = code_schedule(T)
    gain, cov = lg.reverse_kernels(np.eye(1), beta, kernels="forward")
    gain[2:, 0, 0] = 1 - beta[2:]
    found = lg.bound(np.eye(1), beta, kernels=lg.Kernels(gain, cov)) - lg.null_log_likelihood(np.eye(1))
    assert f"{found:.3f}" == loss


def test_diagonal_loss_falls_with_T():
    """Six dimensions, smallest eigenvalue 3e-4: the loss to full covariances halves only over several doublings of T."""
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    S0 = Q * np.array([3e-4, .01, .1, .5, 1.5, 3.8897]) @ Q.T
    losses = []
    for T in (10, 20, 40, 80, 160, 320, 640):
        beta = code_schedule(T)
        beta[1] = 1e-3
        losses.append(lg.bound(S0, beta) - lg.bound(S0, beta, kernels="diagonal"))
    ratio = np.array(losses[1:]) / losses[:-1]
    assert losses[0] > 1 and losses[-1] > 0.05
    assert np.all(ratio > 0.5) and np.all(np.diff(ratio) < 0)


def test_one_step():
    """T = 1: the sum of eq. 14 is empty, and the model is the edge step from π."""
    S0, beta = random_covariance(2, 6), np.array([0, 0.3])
    np.testing.assert_allclose(lg.bound(S0, beta), -np.log(2 * np.pi) - 1)
    np.testing.assert_allclose(lg.model_covariances(S0, beta)[0], np.eye(2))


@pytest.mark.parametrize("call, message", [
    (lambda: lg.bound(np.eye(2), np.array([0.1, 0.2])), "beta: expected shape"),
    (lambda: lg.bound(np.eye(2), np.array([0, 0.2, -0.1])), r"beta: .* got -0.1 at t = 2"),
    (lambda: lg.bound(np.eye(2), np.array([0, 1.0, 0.1])), r"beta: .* got 1.0 at t = 1"),
    (lambda: lg.bound(np.ones((2, 3)), SHORT), "S0: expected a symmetric"),
    (lambda: lg.bound(np.eye(2), SHORT, kernels="best"), "kernels: expected"),
    (lambda: lg.reverse_kernels(np.eye(2), SHORT, kernels="best"), "kernels: expected")])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
