"""Checks of the chain for symbols: matrices multiplied, Bayes' rule class by class, and bits as its case of two classes."""

from functools import partial

import numpy as np
from scipy.special import rel_entr, softmax

from refdpm import activation, binomial, schedule
from refdpm.conformance.checks.common import Check, apart, passes, refused, worst
from refdpm.later import categorical
from refdpm.later.categorical import Categorical
from refdpm.schedule import Step

K = 3
BETA = np.array([0.0, 0.04, 0.5, 0.25, 0.6])
MATRIX = [np.full((K, K), b / K) + (1 - b) * np.diag(np.ones(K)) for b in BETA]
PRODUCT = [np.linalg.multi_dot([np.eye(K), np.eye(K), *MATRIX[1:t + 1]]) for t in range(len(BETA))]
EVERY = np.eye(K)
X_0, X_T = np.repeat(np.arange(K), K), np.tile(np.arange(K), K)
SOFT = softmax(2 * np.sin(np.arange(9.0) + 1).reshape(3, K), axis=1)


def _step(t: int, n: int, ndim: int = 2) -> Step:
    return schedule.step(BETA, np.log(np.cumprod(1 - BETA)), t=np.full(n, t), ndim=ndim)


def matrices_multiply() -> float:
    """Rows of Q by hand, and Q̄ as their product; a symbol times Q̄."""
    found = [apart(categorical.transition(BETA[1:], classes=K), MATRIX[1:]),
             apart(categorical.cumulative(np.log(np.cumprod(1 - BETA)), classes=K), PRODUCT)]
    for t in range(1, len(BETA)):
        level = _step(t, K).log_alpha_bar
        found += [apart(categorical.marginal(EVERY, level).prob, PRODUCT[t]),
                  apart(categorical.marginal(SOFT, level).prob, SOFT @ PRODUCT[t])]
    return worst(*found)


def _by_bayes(t: int, x_t: int, x_0: int) -> list[float]:
    """q(x_{t−1} | x_t, x_0), class by class."""
    joint = [PRODUCT[t - 1][x_0][j] * MATRIX[t][j][x_t] for j in range(K)]
    return [value / PRODUCT[t][x_0][x_t] for value in joint]


def posterior_by_bayes() -> float:
    """All nine pairs (x_t, x_0) at every t, with q(x_t | x_0) from the product of matrices below the line."""
    found = []
    for t in range(1, len(BETA)):
        step = _step(t, K * K)
        q = categorical.posterior(EVERY[X_T], EVERY[X_0], step.beta, step.log_alpha_bar_prev)
        found.append(apart(q.prob, [_by_bayes(t, x_t, x_0) for x_t, x_0 in zip(X_T.tolist(), X_0.tolist())]))
    return worst(*found)


def reverse_by_enumeration() -> float:
    """Sums over x_0: of posteriors, and of joint laws, normalised; at t = 1 what is said itself; other names are refused."""
    logits, found = np.log(SOFT)[[0, 1, 2, 0, 1, 2, 0, 1, 2]] + 0.7, []
    for t in range(1, len(BETA)):
        step, said = _step(t, len(X_T)), SOFT[[0, 1, 2] * 3]
        average = np.array([sum(p[k] * np.array(_by_bayes(t, x, k)) for k in range(K)) for p, x in zip(said, X_T)])
        joint = np.array([sum(p[k] * PRODUCT[t][k][x] * np.array(_by_bayes(t, x, k)) for k in range(K)) for p, x in zip(said, X_T)])
        joint /= joint.sum(axis=1, keepdims=True)
        expected = {"average": average, "joint": joint, "joint_but_first": said if t == 1 else joint}
        found += [apart(categorical.reverse(logits, EVERY[X_T], step, mixing=name).prob, value) for name, value in expected.items()]
        z, x = (part[:8].reshape(4, 2, K) for part in (logits, EVERY[X_T]))
        found.append(apart(categorical.reverse(z, x, _step(t, 4, 3), mixing="joint").prob, joint[:8].reshape(4, 2, K)))
    return worst(*found, passes(refused(partial(categorical.reverse, logits, EVERY[X_T], step, mixing="mean"))))


def two_classes_are_bits() -> float:
    """K = 2 is the chain of bits with r = ½."""
    x_t, x_0 = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    found = []
    for t in (2, 3, 4):
        step = _step(t, 4)
        q = categorical.posterior(np.eye(2)[x_t], np.eye(2)[x_0], step.beta, step.log_alpha_bar_prev).prob
        bits = binomial.posterior(x_t[:, None], x_0[:, None], step.beta, step.log_alpha_bar_prev).prob
        found += [apart(q[:, 1:], bits), apart(categorical.marginal(np.eye(2)[x_0], step.log_alpha_bar).prob[:, 1:],
                                               binomial.marginal(x_0[:, None], step.log_alpha_bar).prob)]
    return worst(*found)


def softmax_and_divergence() -> float:
    """SciPy's softmax, also far out; SciPy's relative entropy, one class left out on either side, and 0 between equals."""
    logits = np.array([[0.0, 1.0, -2.0], [800.0, 799.0, -800.0]])
    q = np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [0.125, 0.375, 0.5]])
    p = np.array([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25], SOFT[1]])
    one, other = Categorical(np.array([[0.5, 0.5, 0.0]])), Categorical(np.array([[1.0, 0.0, 0.0]]))
    return worst(apart(activation.softmax(logits), softmax(logits, axis=1)),
                 apart(categorical.kl(Categorical(q), Categorical(p)), rel_entr(q, p).sum(axis=1)),
                 passes(categorical.kl(one, one) == 0, categorical.kl(one, other) == np.inf),
                 apart(categorical.kl(other, one), [np.log(2)]))


CHECKS = (
    Check("symbols: matrices multiply", ("later.categorical.transition", "later.categorical.cumulative",
                                         "later.categorical.marginal"), matrices_multiply),
    Check("symbols: posterior by Bayes' rule", ("later.categorical.posterior",), posterior_by_bayes),
    Check("symbols: reverse step by enumeration", ("later.categorical.reverse_vjp",), reverse_by_enumeration),
    Check("symbols: two classes are bits", ("later.categorical.posterior", "later.categorical.marginal"), two_classes_are_bits),
    Check("symbols: softmax and divergence", ("activation.softmax", "later.categorical.kl"), softmax_and_divergence),
)
