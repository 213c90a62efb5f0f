"""The chain of the paper for symbols: K classes and one stationary law π (Hoogeboom 2021; Austin 2021, D3PM).

One step keeps a symbol with probability 1 − β and otherwise draws it anew from π:

    q(x_t = j | x_{t−1} = i) = (1−β_t) [i = j] + β_t π_j.

π gives each class 1/K unless another `law` is named: with all of it on one class, the mask, the chain is the absorbing one.  This
is `binomial` with more than two values: K = 2 is the chain of bits with r = π_1, and β is the probability of a fresh draw, not of
a change.  Steps compose as levels do, and every law of the chain is a mixture of a given one and π.

A symbol is a row of K numbers, 1 for its class and 0 elsewhere, on the last axis; soft symbols, the probabilities of classes, go
through the same formulas.  Every probability is a sum of products of positive numbers, so that none loses digits, and logits are
for networks alone.

Shapes: symbols (N, …, K); beta and levels (N, 1, …), with a last axis of 1.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from refdpm import schedule
from refdpm.activation import off_average, softmax, x_minus_log1p
from refdpm.doors import open_doors
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, unbroadcast

MIXINGS = ("joint", "joint_but_first", "average", "average_unmasked")


class Categorical(NamedTuple):
    """Independent symbols; `prob` are the probabilities of the classes, on the last axis."""

    prob: Array


def _mixture(x: Array, kept: Array, drawn: Array, law: Array | None) -> Array:
    """x Q: the symbol x with probability `kept`, a draw from π with probability `drawn`."""
    if law is None:
        return kept * x + drawn * x.mean(axis=-1, keepdims=True)
    return kept * x + drawn * law * x.sum(axis=-1, keepdims=True)


def _evidence(x: Array, kept: Array, drawn: Array, law: Array | None) -> Array:
    """Q x, the adjoint of `_mixture`: how likely the symbol x is after each class.   With a uniform π it is the mixture itself."""
    return kept * x + drawn * _under(x, law)


def _under(x: Array, law: Array | None) -> Array:
    """⟨π, x⟩, with an axis of length 1."""
    return x.mean(axis=-1, keepdims=True) if law is None else (law * x).sum(axis=-1, keepdims=True)


# -- forward -----------------------------------------------------------------------------------------------------------

def transition(beta: Array, *, classes: int, law: Array | None = None) -> Array:
    """Q with Q_ij = q(x_t = j | x_{t−1} = i): rows are what is left, and add to 1.   Shapes: (N,) → (N, K, K)."""
    return _mixture(np.eye(classes), (1 - beta)[:, None, None], beta[:, None, None], law)


def transition_vjp(beta: Array, *, classes: int, law: Array | None = None) -> tuple[Array, Pullback]:
    """Adjoint of `transition`:   dQ = (1πᵀ − I) dβ."""
    drawn = 1 / classes if law is None else law
    return transition(beta, classes=classes, law=law), lambda dQ: ((drawn - np.eye(classes)) * dQ).sum(axis=(1, 2))


def cumulative(log_alpha_bar: Array, *, classes: int, law: Array | None = None) -> Array:
    """Q̄_t = Q_1 Q_2 … Q_t = ᾱ_t I + (1−ᾱ_t) 1πᵀ:  q(x_t = j | x_0 = i).   Shapes: (N,) → (N, K, K)."""
    level = log_alpha_bar[:, None, None]
    return _mixture(np.eye(classes), np.exp(level), -np.expm1(level), law)


def cumulative_vjp(log_alpha_bar: Array, *, classes: int, law: Array | None = None) -> tuple[Array, Pullback]:
    """Adjoint of `cumulative`:   dQ̄ = ᾱ (I − 1πᵀ) dℓ."""
    drawn = 1 / classes if law is None else law

    def pullback(dQ: Array) -> Array:
        return np.exp(log_alpha_bar) * ((np.eye(classes) - drawn) * dQ).sum(axis=(1, 2))

    return cumulative(log_alpha_bar, classes=classes, law=law), pullback


def marginal(x_0: Array, log_alpha_bar: Array, *, law: Array | None = None) -> Categorical:
    """q(x_t | x_0) = ᾱ_t x_0 + (1−ᾱ_t) π.

    Derivation: a symbol has not been drawn anew in any of t steps with probability ∏(1−β) = ᾱ_t; else it is a draw from π.
    """
    return Categorical(_mixture(x_0, np.exp(log_alpha_bar), -np.expm1(log_alpha_bar), law))


def marginal_vjp(x_0: Array, log_alpha_bar: Array, *, law: Array | None = None) -> tuple[Categorical, Pullback]:
    """Adjoint of `marginal`:   dprob = ᾱ dx_0 + (1−ᾱ) π Σ dx_0 + ᾱ (x_0 − π Σ x_0) dℓ,   sums over classes."""
    kept = np.exp(log_alpha_bar)

    def pullback(dq: Categorical) -> tuple[Array, Array]:
        moved = kept * (x_0 - _mixture(x_0, np.zeros(1), np.ones(1), law)) * dq.prob
        dx_0 = _evidence(dq.prob, kept, -np.expm1(log_alpha_bar), law)
        return unbroadcast(dx_0, x_0.shape), unbroadcast(moved, log_alpha_bar.shape)

    return marginal(x_0, log_alpha_bar, law=law), pullback


def evidence(x_t: Array, log_alpha_bar: Array, *, law: Array | None = None) -> Array:
    """q(x_t | x_0 = k) = ᾱ_t x_t + (1−ᾱ_t) ⟨π, x_t⟩ for each class k of x_0: a column of Q̄_t, where `marginal` is a row."""
    return _evidence(x_t, np.exp(log_alpha_bar), -np.expm1(log_alpha_bar), law)


def evidence_vjp(x_t: Array, log_alpha_bar: Array, *, law: Array | None = None) -> tuple[Array, Pullback]:
    """Adjoint of `evidence`:   de = ᾱ dx_t + (1−ᾱ) ⟨π, dx_t⟩ + ᾱ (x_t − ⟨π, x_t⟩) dℓ."""
    kept = np.exp(log_alpha_bar)

    def pullback(de: Array) -> tuple[Array, Array]:
        dx_t = _mixture(de, kept, -np.expm1(log_alpha_bar), law)
        return unbroadcast(dx_t, x_t.shape), unbroadcast(kept * (x_t - _under(x_t, law)) * de, log_alpha_bar.shape)

    return evidence(x_t, log_alpha_bar, law=law), pullback


# -- backward ----------------------------------------------------------------------------------------------------------

def posterior(x_t: Array, x_0: Array, beta: Array, log_alpha_bar_prev: Array, *, law: Array | None = None) -> Categorical:
    """q(x_{t−1} | x_t, x_0) = e m/Σ e m   with m = q(x_{t−1} | x_0) and the evidence e = q(x_t | x_{t−1}) = (1−β) x_t + β ⟨π, x_t⟩.

    Derivation: Bayes' rule, for each class of x_{t−1}.  With a uniform π the kernel is symmetric, and e is x_t itself, mixed.
    Edge: at t = 1 it is x_0 if that is one class, and x_0 times the evidence if it is soft; at β = 1 x_t says nothing.
    Domain: an x_t that can come from x_0; in the absorbing chain that is x_0 itself, or the mask.
    """
    joint = _evidence(x_t, 1 - beta, beta, law) * marginal(x_0, log_alpha_bar_prev, law=law).prob
    return Categorical(joint / joint.sum(axis=-1, keepdims=True))


def posterior_vjp(x_t: Array, x_0: Array, beta: Array, log_alpha_bar_prev: Array, *, law: Array | None = None
                  ) -> tuple[Categorical, Pullback]:
    """Adjoint of `posterior`.  With p = prob and s = Σ e m,

        dp = [d(e m) − p Σ d(e m)]/s        de = (1−β) dx_t + β ⟨π, dx_t⟩ − (x_t − ⟨π, x_t⟩) dβ.
    """
    q = posterior(x_t, x_0, beta, log_alpha_bar_prev, law=law)
    m, back_marginal = marginal_vjp(x_0, log_alpha_bar_prev, law=law)
    e = _evidence(x_t, 1 - beta, beta, law)
    s = (e * m.prob).sum(axis=-1, keepdims=True)

    def pullback(dq: Categorical) -> tuple[Array, Array, Array, Array]:
        djoint = off_average(dq.prob, q.prob) / s
        de = m.prob * djoint
        dx_0, dlevel = back_marginal(Categorical(e * djoint))
        dbeta = unbroadcast((_under(x_t, law) - x_t) * de, beta.shape)
        return unbroadcast(_mixture(de, 1 - beta, beta, law), x_t.shape), dx_0, dbeta, dlevel

    return q, pullback


def reverse(logits: Array, x_t: Array, step: Step, *, mixing: str, law: Array | None = None) -> Categorical:
    """p(x_{t−1} | x_t) from a network's logits z of x_0, with p̂ = softmax(z).  What p̂ means has a name, one of `MIXINGS`:

        average             Σ_k p̂_k q(x_{t−1} | x_t, k):          p̂ is the network's p(x_0 | x_t)
        average_unmasked    average, with p̂ = 0 for a k that π has for sure, the mask, which no data have: masked diffusion
        joint               ∝ Σ_k p̂_k q(x_{t−1}, x_t | k):        p̂ leaves out what x_t says of x_0, and the step puts it in
        joint_but_first     joint, but p̂ itself at t = 1          D3PM

    Derivation: q(x_{t−1} | x_t, k) = q(x_{t−1}, x_t | k)/q(x_t | k), so that the average is the joint form of z − log q(x_t | ·);
    at t = 1 that is p̂.  And a sum of joint laws is linear in p̂, so that it is the `posterior` of p̂ as a soft x_0.
    Edge: the average is over those k from which x_t can come; a symbol that is no mask stays, in the absorbing chain.
    Raises: ValueError for another name.
    """
    return reverse_vjp(logits, x_t, step, mixing=mixing, law=law)[0]


def reverse_vjp(logits: Array, x_t: Array, step: Step, *, mixing: str, law: Array | None = None
                ) -> tuple[Categorical, Pullback]:
    """Adjoint of `reverse`."""
    if mixing not in MIXINGS:
        raise ValueError(f"mixing: expected one of {MIXINGS}, got {mixing!r}")
    seen, back_seen = evidence_vjp(x_t, step.log_alpha_bar, law=law)
    averages = mixing.startswith("average")
    divisor = np.where(seen == 0, 1.0, seen) if averages else np.ones(1)
    left_out = (seen == 0) | (law == 1.0) if mixing == "average_unmasked" and law is not None else seen == 0
    z = np.broadcast_to(logits, np.broadcast_shapes(logits.shape, x_t.shape, *(column.shape for column in step)))
    said = softmax(z)
    x_0 = softmax(np.where(left_out, -np.inf, z - np.log(divisor))) if averages else said
    p, back_posterior = posterior_vjp(x_t, x_0, step.beta, step.log_alpha_bar_prev, law=law)
    itself = 1.0 * (step.log_alpha_bar_prev == 0) if mixing == "joint_but_first" else np.zeros(1)

    def pullback(dp: Categorical) -> tuple[Array, Array, Step]:
        dx_t, dx_0, dbeta, dprev = back_posterior(Categorical((1 - itself) * dp.prob))
        dx_0 = x_0 * off_average(dx_0, x_0)                         # as in `softmax_vjp`, and near certainty too
        dsaid = said * off_average(itself * dp.prob, said)
        dx_t_seen, dlevel = back_seen(-dx_0 / divisor * averages)
        return unbroadcast(dx_0 + dsaid, logits.shape), dx_t + dx_t_seen, Step(dbeta, dprev, dlevel)

    return Categorical(np.where(itself, said, p.prob)), pullback


# -- any matrices ------------------------------------------------------------------------------------------------------

def accumulated(matrices: Array) -> Array:
    """Q̄_1 … Q̄_T, the products Q_1 Q_2 … Q_t of matrices whose rows add to 1, whatever they are.   Shapes: (T, K, K)."""
    found = [np.eye(matrices.shape[-1])]
    for matrix in matrices:
        found.append(found[-1] @ matrix)
    return np.array(found[1:])


def posterior_by_matrices(x_t: Array, x_0: Array, step: Array, before: Array) -> Categorical:
    """q(x_{t−1} | x_t, x_0) ∝ (Q_t x_t) ⊙ (x_0 Q̄_{t−1}): a column of one matrix times a row of the other, as Q_t need not be
    symmetric.   Shapes: symbols (N, D, K), step = Q_t and before = Q̄_{t−1} (N, K, K) → prob (N, D, K)."""
    return posterior_by_matrices_vjp(x_t, x_0, step, before)[0]


def posterior_by_matrices_vjp(x_t: Array, x_0: Array, step: Array, before: Array) -> tuple[Categorical, Pullback]:
    """Adjoint of `posterior_by_matrices`.  With e = Q_t x_t, m = x_0 Q̄_{t−1}, p = prob and s = Σ e m:

        dp = [d(e m) − p Σ d(e m)]/s.
    """
    e, m = x_t @ step.swapaxes(1, 2), x_0 @ before
    s = (e * m).sum(axis=-1, keepdims=True)
    q = Categorical(e * m / s)

    def pullback(dq: Categorical) -> tuple[Array, Array, Array, Array]:
        djoint = off_average(dq.prob, q.prob) / s
        de, dm = m * djoint, e * djoint
        return de @ step, dm @ before.swapaxes(1, 2), de.swapaxes(1, 2) @ x_t, x_0.swapaxes(1, 2) @ dm

    return q, pullback


# -- divergence ----------------------------------------------------------------------------------------------------------

def kl(q: Categorical, p: Categorical) -> Array:
    """D_KL(q ‖ p) = Σ_k q_k log(q_k/p_k) per symbol, in nats; for laws that add to 1.   Shapes: (N, …, K) → (N, …).

    Derivation: as Σ q − Σ p = 0, every class may have its own term q (δ − log(1+δ)) ≥ 0 with δ = (p−q)/q, and nothing cancels.
    Edge: a class that q does not have costs p_k, which is what the others leave out; one that only q has costs ∞.
    """
    q_k, p_k = np.where(q.prob == 0, 1.0, q.prob), p.prob
    delta = (p_k - q_k) / q_k
    near = (np.real(delta) > -0.5) & (np.real(delta) < 1)
    with np.errstate(divide="ignore"):
        excess = np.where(near, x_minus_log1p(np.where(near, delta, 0.0)), delta - np.log(np.where(near, 1.0, p_k / q_k)))
    return np.where(q.prob == 0, p_k, q_k * excess).sum(axis=-1)


def kl_vjp(q: Categorical, p: Categorical) -> tuple[Array, Pullback]:
    """Adjoint of `kl`:   dD = Σ [−log(p/q) dq + ((p−q)/p) dp], that of the terms one by one.   Domain: q > 0, p > 0."""

    def pullback(dvalue: Array) -> tuple[Categorical, Categorical]:
        dterm = dvalue[..., None]
        return (Categorical(unbroadcast(np.log(q.prob / p.prob) * dterm, q.prob.shape)),
                Categorical(unbroadcast((p.prob - q.prob) / p.prob * dterm, p.prob.shape)))

    return kl(q, p), pullback


def step_kl(logits: Array, *, x_0: Array, x_t: Array, step: Step, mixing: str, law: Array | None = None) -> Array:
    """KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) per symbol, in nats: a term of the bound.

    Shapes: logits, x_0 and x_t (N, D, K), step three columns (N, 1, 1) → (N, D).
    Edge: at t = 1 the posterior is x_0 itself, and this is −log p(x_0 | x_1).
    """
    return step_kl_vjp(logits, x_0=x_0, x_t=x_t, step=step, mixing=mixing, law=law)[0]


def step_kl_vjp(logits: Array, *, x_0: Array, x_t: Array, step: Step, mixing: str, law: Array | None = None
                ) -> tuple[Array, Pullback]:
    """Adjoint of `step_kl`:   dD = Σ ((p−q)/p) dp.   Domain: no class of p is impossible, as unmasked symbols make all others."""
    q = posterior(x_t, x_0, step.beta, step.log_alpha_bar_prev, law=law)
    p, back = reverse_vjp(logits, x_t, step, mixing=mixing, law=law)
    return kl(q, p), lambda dvalue: back(Categorical((p.prob - q.prob) / p.prob * dvalue[..., None]))[0]


def draw(law: Categorical, *, noise: Array) -> Array:
    """The number of a class: argmax_k [log p_k − log(−log u_k)], which is k with probability p_k for independent uniform u.

    Derivation: −log u_k/p_k is exponential with the rate p_k, and the first of such times is that of k with probability p_k.
    Shapes: law (N, …, K), noise u on (0, 1) (N, …, K) → integers (N, …).
    """
    return np.argmax(law.prob / -np.log(noise), axis=-1)


def path(beta: Array, *, symbols: Array, network: Callable[[Array, Array], Array], noise: Array, mixing: str,
         law: Array | None = None) -> Iterator[tuple[int, Array]]:
    """(t, x_t) from t = T, where x_T are the `symbols`, down to 0, each drawn from the reverse step of what the network says.

    Shapes: beta (T+1,); symbols and x_t (N, …), the numbers of classes; network(x_t, t) → logits (N, …, K); noise uniform on
    (0, 1), (T, N, …, K), of which noise[t−1] draws the step from t.
    """
    level, x_t = schedule.log_alpha_bar(beta), symbols
    yield len(beta) - 1, x_t
    for t in range(len(beta) - 1, 0, -1):
        at = np.full(len(x_t), t)
        logits = network(x_t, at)
        step = schedule.step(beta, level, t=at, ndim=logits.ndim)
        x_t = draw(reverse(logits, np.eye(logits.shape[-1])[x_t], step, mixing=mixing, law=law), noise=noise[t - 1])
        yield t - 1, x_t


open_doors(globals())
