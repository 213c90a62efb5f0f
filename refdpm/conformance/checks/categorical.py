"""Checks of the chain for symbols: matrices multiplied, Bayes' rule class by class, and numbers by hand."""

from functools import partial

import numpy as np
from scipy.special import softmax

from refdpm import schedule
from refdpm.conformance.checks.common import apart, check, passes, refused, worst
from refdpm.later import categorical
from refdpm.later.categorical import Categorical
from refdpm.schedule import Step
from refdpm.vjp import Array

K = 3
BETA = np.array([0.0, 0.04, 0.5, 0.25, 0.6])
MATRIX = [np.full((K, K), b / K) + (1 - b) * np.diag(np.ones(K)) for b in BETA]
PRODUCT = [np.linalg.multi_dot([np.eye(K), np.eye(K), *MATRIX[1:t + 1]]) for t in range(len(BETA))]
EVERY = np.eye(K)
X_0, X_T = np.repeat(np.arange(K), K), np.tile(np.arange(K), K)
SOFT = softmax(2 * np.sin(np.arange(9.0) + 1).reshape(3, K), axis=1)


def _step(t: int, n: int, ndim: int = 2) -> Step:
    return schedule.step(BETA, np.log(np.cumprod(1 - BETA)), t=np.full(n, t), ndim=ndim)


@check("symbols: matrices multiply", "later.categorical.transition", "later.categorical.cumulative", "later.categorical.marginal")
def matrices_multiply() -> float:
    """Q̄ is a product of matrices Q, the mask's too, entry by entry; a law times Q̄."""
    mask, masks = np.eye(K)[-1], [np.array([[1 - b, 0, b], [0, 1 - b, b], [0, 0, 1]]) for b in BETA[1:3]]
    return worst(apart(categorical.transition(BETA[1:], classes=K), MATRIX[1:]),
                 apart(categorical.transition(BETA[1:3], classes=K, law=mask), masks),
                 apart(categorical.cumulative(np.log([np.prod(1 - BETA[:3])]), classes=K, law=mask), [masks[0] @ masks[1]]),
                 apart(categorical.cumulative(np.log(np.cumprod(1 - BETA)), classes=K), PRODUCT),
                 *(apart(categorical.marginal(SOFT, _step(t, K).log_alpha_bar).prob, SOFT @ PRODUCT[t]) for t in range(len(BETA))))


def _by_bayes(t: int, x_t: int, x_0: int) -> list[float]:
    """q(x_{t−1} | x_t, x_0), class by class."""
    joint = [PRODUCT[t - 1][x_0][j] * MATRIX[t][j][x_t] for j in range(K)]
    return [value / PRODUCT[t][x_0][x_t] for value in joint]


@check("symbols: posterior and reverse step by enumeration", "later.categorical.posterior", "later.categorical.reverse_vjp")
def steps_by_enumeration() -> float:
    """All nine pairs (x_t, x_0) at every t by Bayes' rule, with the product of matrices below the line.  Sums over x_0: of
    posteriors, and of joint laws, normalised; at t = 1 what is said itself; other names are refused."""
    logits, found = np.log(SOFT)[[0, 1, 2, 0, 1, 2, 0, 1, 2]] + 0.7, []
    for t in range(1, len(BETA)):
        step, said = _step(t, len(X_T)), SOFT[[0, 1, 2] * 3]
        q = categorical.posterior(EVERY[X_T], EVERY[X_0], step.beta, step.log_alpha_bar_prev)
        found.append(apart(q.prob, [_by_bayes(t, x_t, x_0) for x_t, x_0 in zip(X_T.tolist(), X_0.tolist())]))
        average = np.array([sum(p[k] * np.array(_by_bayes(t, x, k)) for k in range(K)) for p, x in zip(said, X_T)])
        joint = np.array([sum(p[k] * PRODUCT[t][k][x] * np.array(_by_bayes(t, x, k)) for k in range(K)) for p, x in zip(said, X_T)])
        joint /= joint.sum(axis=1, keepdims=True)
        expected = {"average": average, "joint": joint, "joint_but_first": said if t == 1 else joint}
        found += [apart(categorical.reverse(logits, EVERY[X_T], step, mixing=name).prob, value) for name, value in expected.items()]
        z, x = (part[:8].reshape(4, 2, K) for part in (logits, EVERY[X_T]))
        found.append(apart(categorical.reverse(z, x, _step(t, 4, 3), mixing="joint").prob, joint[:8].reshape(4, 2, K)))
    return worst(*found, passes(refused(partial(categorical.reverse, logits, EVERY[X_T], step, mixing="mean"))))


@check("symbols: posterior with a law of its own by enumeration", "later.categorical.posterior")
def posterior_of_a_law() -> float:
    """All nine pairs (x_t, x_0) by Bayes' rule, class by class, where a fresh draw is from π = (½, ⅓, ⅙)."""
    law, t = np.array([1 / 2, 1 / 3, 1 / 6]), 2
    one, two = ((1 - b) * np.eye(K) + b * law for b in BETA[1:t + 1])
    joint = one[X_0] * two[:, X_T].T
    step = _step(t, len(X_T))
    q = categorical.posterior(EVERY[X_T], EVERY[X_0], step.beta, step.log_alpha_bar_prev, law=law)
    return apart(q.prob, joint / joint.sum(axis=1, keepdims=True))


@check("symbols: the gradient of a law that is said at t = 1", "later.categorical.reverse_vjp")
def gradient_of_what_is_said() -> float:
    """That of a softmax, p (w − Σ p w), class by class, and none for x_1."""
    logits, w = np.log(SOFT) + 0.3, np.cos(np.arange(9.0)).reshape(3, K)
    p, back = categorical.reverse_vjp(logits, EVERY, _step(1, K), mixing="joint_but_first")
    dlogits, dx_1, _ = back(categorical.Categorical(w))
    expected = [[p_k * (w_k - sum(map(float, row_p * row_w))) for p_k, w_k in zip(row_p, row_w)] for row_p, row_w in zip(SOFT, w)]
    return worst(apart(p.prob, SOFT), apart(dlogits, expected), apart(dx_1, np.zeros((K, K))))


@check("symbols: a mask that is never data, class by class", "later.categorical.reverse_vjp")
def mask_is_no_datum() -> float:
    """From the mask p̂ without the mask is unmasked with the share (ᾱ_{t−1} − ᾱ_t)/(1 − ᾱ_t); any other symbol stays."""
    mask, p, alpha_bar = np.eye(K)[-1], SOFT[:, :-1] / SOFT[:, :-1].sum(axis=1, keepdims=True), np.cumprod(1 - BETA)
    others, found = np.eye(K)[[0, 1, 0]], []
    for t in range(2, len(BETA)):
        step, logits = _step(t, len(SOFT)), np.log(SOFT) + 0.3
        share = (alpha_bar[t - 1] - alpha_bar[t]) / (1 - alpha_bar[t])
        expected = np.append(share * p, np.full((len(p), 1), 1 - share), axis=1)
        for x_t, value in ((np.tile(mask, (K, 1)), expected), (others, others)):
            got = categorical.reverse(logits, x_t, step, mixing="average_unmasked", law=mask)
            found.append(apart(got.prob, value))
    return worst(*found)


@check("symbols: the bound's term at t = 1 by Bayes' rule", "later.categorical.step_kl_vjp")
def term_at_1_by_bayes() -> float:
    """−log p(x_0 | x_1) with p in proportion to p̂ q(x_1 | ·), for all nine pairs (x_1, x_0)."""
    said = SOFT[[0, 1, 2] * 3]
    p = said * MATRIX[1][:, X_T].T
    expected = -np.log((p / p.sum(axis=1, keepdims=True))[np.arange(len(X_0)), X_0])
    step = _step(1, len(X_0))
    return apart(categorical.step_kl(np.log(said), x_0=EVERY[X_0], x_t=EVERY[X_T], step=step, mixing="joint"), expected)


@check("symbols: divergence by hand", "later.categorical.kl")
def divergence_by_hand() -> float:
    """Of (1, 0, 0) from (½, ½, 0) it is log 2, the other way round ∞, of a law from itself 0; of (½, ¼, ¼) from (¼, ½, ¼) it is
    ¼ log 2."""
    one, half = (Categorical(np.array([law])) for law in ([1.0, 0.0, 0.0], [0.5, 0.5, 0.0]))
    q, p = (Categorical(np.array([law])) for law in ([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]))
    return worst(apart(categorical.kl(one, half), [np.log(2)]), apart(categorical.kl(q, p), [np.log(2) / 4]),
                 passes(categorical.kl(half, half) == 0, categorical.kl(half, one) == np.inf))


@check("symbols: any matrices in their order", "later.categorical.accumulated")
def any_matrices_in_their_order() -> float:
    """From 0 to 1, from there to 2 and from there to 0: the other way round nothing would get from 0 to 2."""
    one, two = np.array([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]]), np.array([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]])
    three = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]])
    _, both, all_three = categorical.accumulated(np.array([one, two, three]))
    return passes(both == [[0, 0, 1], [0, 0, 1], [0, 0, 1]], all_three == [[1, 0, 0], [1, 0, 0], [1, 0, 0]])


@check("symbols: a chain told its steps", "later.categorical.path")
def a_chain_told_its_steps() -> float:
    """At rates of 0.99 numbers near 1 and 0 choose the class, 0, 1, 0 in turn; the network is told each state and its t."""
    asked = []

    def network(x_t: Array, t: Array) -> Array:
        asked.append((int(x_t[0, 0]), int(t[0])))
        return np.zeros((1, 1, 2))

    noise = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])[:, None, None]
    found = [(t, int(x_t[0, 0])) for t, x_t in categorical.path(
        np.array([0.0, 0.99, 0.99, 0.99]), symbols=np.array([[1]]), network=network, noise=noise, mixing="average")]
    return passes(found == [(3, 1), (2, 0), (1, 1), (0, 0)], asked == [(1, 3), (0, 2), (1, 1)])
