"""K, the bound that training maximises (eq. 14), term by term, and its whole gradient.

    K = − Σ_{t=2..T} E KL( q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t) ) + H(x_T | x_0) − H(x_1 | x_0) − H(π)

**From the strict bound to K.**  `likelihood` ends with the strict bound B = E log w (eqs. 12, 38), where E is over the forward
paths and the data.  Written as a sum (eq. 40), with p(x_T) = π(x_T) for the model's start (eq. 41), it is

    B = E log π(x_T) + Σ_{t=1..T} E log [ p(x_{t−1} | x_t) / q(x_t | x_{t−1}) ]

Under the logarithm p is a law of x_{t−1}, but q is a law of x_t.  To compare the two, Bayes' rule writes the forward step as a
law of x_{t−1}.  This is possible for t ≥ 2 only, and t = 1 comes first.

**The step t = 1** has nothing to be compared with: q(x_0 | x_1, x_0) only says that x_0 is x_0.  So the paper does not learn
p(x_0 | x_1), but fixes it.  Write T_π(y | x; β) for the forward kernel (eq. 2), so that q(x_1 | x_0) is T_π(x_1 | x_0; β_1).  It
obeys detailed balance for normal states and for bits,

    π(x_0) T_π(x_1 | x_0; β_1) = π(x_1) T_π(x_0 | x_1; β_1)

where T_π on the right is the same kernel, used from x_1 to x_0.  With a normal π the exponent of the left side is

    −½ (x_0² − 2 √(1−β_1) x_0 x_1 + x_1²)/β_1

which does not change when x_0 and x_1 are exchanged.  For bits, see `binomial`.  So q(x_1 | x_0) π(x_0)/π(x_1) is equal to
T_π(x_0 | x_1; β_1), a law of x_0, and the model takes it as its last step (eq. 44):  p(x_0 | x_1) = q(x_1 | x_0) π(x_0)/π(x_1).
In B it is divided by q(x_1 | x_0), and π(x_0)/π(x_1) is left.  So the term t = 1 is E log π(x_0) − E log π(x_1) (eq. 45).

**The steps t ≥ 2.**  The chain is Markov: if x_{t−1} is known, x_0 says nothing more about x_t (eq. 47).  Then Bayes' rule gives
(eq. 48)

    q(x_t | x_{t−1}) = q(x_t | x_{t−1}, x_0) = q(x_{t−1} | x_t, x_0) q(x_t | x_0) / q(x_{t−1} | x_0)

In B, p is divided by this, so that the last two factors come as q(x_{t−1} | x_0)/q(x_t | x_0).  The average of the logarithm of a
law is minus its entropy, E log q(x_t | x_0) = −H(x_t | x_0), and all these entropies are finite because β_1 > 0.  Their sum over t
telescopes (eqs. 49, 50):

    Σ_{t=2..T} E log [ q(x_{t−1} | x_0) / q(x_t | x_0) ]
      = Σ_{t=2..T} [ H(x_t | x_0) − H(x_{t−1} | x_0) ] = H(x_T | x_0) − H(x_1 | x_0)

What is left for each t is E log [ p(x_{t−1} | x_t)/q(x_{t−1} | x_t, x_0) ].  Its average over x_{t−1}, with x_t and x_0 given, is
minus the divergence KL( q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t) ), for which both kernels have a closed form (eq. 51).  Together:

    B = − Σ_{t=2..T} E KL + H(x_T | x_0) − H(x_1 | x_0) + E log π(x_T) + [ E log π(x_0) − E log π(x_1) ]

**From B to eq. 14.**  Up to here all is exact, and B is equal to the right side of eq. 12.  The paper now makes two replacements.
It writes −H(π) for E log π(x_T) (eq. 43), which is right only if x_T has the law π.  And it writes 0 for the bracket (eq. 46),
which is right only if E log π(x_0) and E log π(x_1) are the same.  The result is K, eq. 14.  So eq. 14 is not equal to eq. 12:
the difference is C, computed by `correction`,

    B = K + C        C = [E log π(x_T) + H(π)] + [E log π(x_0) − E log π(x_1)]

In both kernels, given x_0, E log π(x_t) is ᾱ_t log π(x_0) − (1 − ᾱ_t) H(π).  For a normal π this follows from
−log π(x) = ½ log 2π + ½ x² per component and E x_t² = ᾱ_t x_0² + 1 − ᾱ_t; for bits it follows from
log π(x) = x log r + (1−x) log(1−r) and E x_t = ᾱ_t x_0 + (1−ᾱ_t) r.  Therefore, with ᾱ_1 = 1 − β_1,

    E log π(x_t) + H(π) = ᾱ_t [log π(x_0) + H(π)]
    C = (ᾱ_T + 1 − ᾱ_1) [log π(x_0) + H(π)] = (ᾱ_T + β_1) [log π(x_0) + H(π)]

which is ½ (ᾱ_T + β_1)(1 − x_0²) per Gaussian component and (ᾱ_T + β_1)(x_0 − r) log(r/(1−r)) per bit.  K is sure to be a bound on
the average of log p(x_0) only if the average of C is not negative.  That average is 0 for Gaussian data with E x² = 1.  For bits it
is 0 if r = ½, or if a share r of them are ones.  This is why Gaussian data are centred and scaled here, and why reports give C.

**How large K can get.**  Now use Bayes' rule without x_0: q(x_t | x_{t−1}) = q(x_{t−1} | x_t) q(x_t)/q(x_{t−1}).  The entropies
telescope in the same way, and

    K + C = − H(x_1) − Σ_{t=2..T} E KL( q(x_{t−1} | x_t) ‖ p(x_{t−1} | x_t) ) − KL( q(x_T) ‖ π ) + [E log π(x_0) − E log π(x_1)]

If the bracket is 0, K + C ≤ −H(x_1), whatever the network does.  This ceiling depends on β_1.  For data on a curve, as the roll
is, −H(x_1) grows without limit as β_1 → 0.  If β_1 were learned, K would rise with it although nothing about the data is learned.
So β_1 is not learned.

**The gradient.**  The expectation over x_t is sampled with frozen noise, x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, and ε is what is held
constant: x_t moves when the schedule does.  With a kernel whose draws are smooth (the Gaussian) K is then a smooth function of
the network's parameters *and* of the schedule.  The schedule enters along five paths, written with ℓ = log ᾱ:

    the draw of x_t      dx_t = ½ [√ᾱ_t x_0 − ᾱ_t/√(1−ᾱ_t) ε] dℓ_t, and x_t is in the posterior's mean
    x_t in the network   the same dx_t, through the Jacobian of the network, and through its read-out
    the posterior        β_t and ℓ_{t−1} in its two weights and in its variance (`gaussian.posterior_vjp`)
    the read-out         logit β_t, √(1−β_t) or c_0, whichever form it has (`networks.readout`)
    the entropies        dH(x_T | x_0) = −½ ᾱ_T/(1−ᾱ_T) dℓ_T  and  dH(x_1 | x_0) = ½ dβ_1/β_1, per component

The level ℓ_t is a sum over all rates up to t, dℓ_t = −Σ_{s≤t} dβ_s/(1−β_s), so that the gradient for β_s has a part from every
t ≥ s.  The functions below name each of these cotangents, and `bound_vjp` adds them up.

A bit is drawn by comparing its noise with a probability.  When the schedule moves, the bit stays, or it jumps.  A derivative with
frozen noise does not see the jumps, but they are a part of the gradient of E K.  So for the binomial kernel a pullback through a
draw is refused; `network_kl` has the gradient with respect to the network alone.
"""

from typing import NamedTuple

import numpy as np

from refdpm import schedule
from refdpm.doors import open_doors
from refdpm.likelihood import total, total_vjp
from refdpm.paper import eq
from refdpm.vjp import Array, Module, Pullback, Tree, unbroadcast


class Terms(NamedTuple):
    """K = −(T−1)/S Σ_s kl[s] + entropy_T − entropy_1 − entropy_prior, in nats, per example: kl (S, N), the others (N,)."""

    kl: Array
    entropy_T: Array
    entropy_1: Array
    entropy_prior: Array


# -- which steps -------------------------------------------------------------------------------------------------------

def every_step(T: int, N: int) -> Array:
    """t = 2..T, each once for each of N examples: the full sum.   → integers (T−1, N)."""
    return np.repeat(np.arange(2, T + 1)[:, None], N, axis=1)


def draw_steps(rng: np.random.Generator, T: int, shape: tuple[int, int]) -> Array:
    """t drawn uniformly from 2..T, for the estimator with S values of t per example.   → integers (S, N)."""
    return rng.integers(2, T + 1, size=shape)


# -- one step ----------------------------------------------------------------------------------------------------------

def step_kl(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, kernel: Module, network: Module) -> Array:
    """KL( q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t) ) of each row at its own t, summed over components, in nats.

    Shapes: beta (T+1,), x_0 and noise (N, …), t integers (N,) in 2..T → (N,).
    """
    return step_kl_vjp(parameters, beta, x_0, noise=noise, t=t, kernel=kernel, network=network)[0]


def step_kl_vjp(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, kernel: Module, network: Module
                ) -> tuple[Array, Pullback]:
    """Adjoint of `step_kl`.

    Raises: ValueError, by the pullback, for a kernel whose draws are not smooth.
    """
    schedule.check(beta, t=t, first=2)
    step, back_step = schedule.step_at_vjp(beta, t=t, ndim=x_0.ndim)
    q_t, back_marginal = kernel.marginal_vjp(x_0, step.log_alpha_bar)
    x_t, back_draw = kernel.draw_vjp(q_t, noise=noise)
    q, back_posterior = kernel.posterior_vjp(x_t, x_0, step.beta, step.log_alpha_bar_prev)
    p, back_reverse = network.reverse_vjp(parameters, x_t, step, t=t)
    per_component, back_kl = kernel.kl_vjp(q, p)
    kl, back_total = total_vjp(per_component)

    def pullback(dkl: Array) -> tuple[Tree, Array, Array]:
        _check_draws(kernel, x_t)
        dq, dp = back_kl(back_total(dkl))
        dparameters, dx_t_reverse, dstep = back_reverse(dp)
        dx_t_posterior, dx_0_posterior, dbeta_posterior, dprev_posterior = back_posterior(dq)
        dq_t = back_draw(dx_t_posterior + dx_t_reverse)
        dx_0_marginal, dlevel_marginal = back_marginal(dq_t)
        dbeta = back_step(schedule.Step(dstep.beta + dbeta_posterior, dstep.log_alpha_bar_prev + dprev_posterior,
                                        dstep.log_alpha_bar + dlevel_marginal))
        return dparameters, dbeta, dx_0_posterior + dx_0_marginal

    return kl, pullback


def _check_draws(kernel: Module, x_t: Array) -> None:
    if len(x_t) and not kernel.SMOOTH_DRAWS:
        raise ValueError("kernel: expected one whose draws are smooth, for a gradient with respect to the schedule and the data, "
                         "got one that draws bits; network_kl_vjp has the gradient with respect to the network")


def network_kl(parameters: Tree, *, beta: Array, x_0: Array, noise: Array, t: Array, kernel: Module, network: Module) -> Array:
    """`step_kl` as a function of the network alone: what training needs where the schedule is fixed.

    For bits it is the only one with a gradient, because no gradient passes through their draw.   Shapes as in `step_kl`; β_T = 1 is
    allowed.
    """
    return network_kl_vjp(parameters, beta=beta, x_0=x_0, noise=noise, t=t, kernel=kernel, network=network)[0]


def network_kl_vjp(parameters: Tree, *, beta: Array, x_0: Array, noise: Array, t: Array, kernel: Module, network: Module
                   ) -> tuple[Array, Pullback]:
    """Adjoint of `network_kl`."""
    schedule.check(beta, t=t, first=2)
    step = schedule.step_at(beta, t=t, ndim=x_0.ndim)
    x_t = kernel.draw(kernel.marginal(x_0, step.log_alpha_bar), noise=noise)
    q = kernel.posterior(x_t, x_0, step.beta, step.log_alpha_bar_prev)
    p, back_reverse = network.reverse_vjp(parameters, x_t, step, t=t)
    per_component, back_kl = kernel.kl_vjp(q, p)
    kl, back_total = total_vjp(per_component)

    def pullback(dkl: Array) -> Tree:
        _, dp = back_kl(back_total(dkl))
        with np.errstate(divide="ignore", invalid="ignore"):        # of the step's cotangent, infinite at β_T = 1 and not wanted
            dparameters, _, _ = back_reverse(dp)
        return dparameters

    return kl, pullback


# -- the two ends of the chain -----------------------------------------------------------------------------------------

def entropy_at(beta: Array, x_0: Array, *, t: int, kernel: Module) -> Array:
    """H(x_t | x_0) per example, in nats.   Shapes: beta (T+1,), x_0 (N, …) → (N,)."""
    return entropy_at_vjp(beta, x_0, t=t, kernel=kernel)[0]


def entropy_at_vjp(beta: Array, x_0: Array, *, t: int, kernel: Module) -> tuple[Array, Pullback]:
    """Adjoint of `entropy_at`."""
    return _entropy_vjp(beta, x_0, t=np.full(len(x_0), t), kernel=kernel)


def _entropy_vjp(beta: Array, x_0: Array, *, t: Array, kernel: Module) -> tuple[Array, Pullback]:
    """H(x_t | x_0) of each row at its own t, and its adjoint for (beta, x_0)."""
    q, back_marginal = _marginal_at_vjp(beta, x_0, t=t, kernel=kernel)
    per_component, back_entropy = kernel.entropy_vjp(q)
    entropy, back_total = total_vjp(per_component)
    return entropy, lambda dentropy: back_marginal(back_entropy(back_total(dentropy)))


def prior_cross_entropy_at(beta: Array, x_0: Array, *, t: int, kernel: Module) -> Array:
    """−E log π(x_t) given x_0, per example, in nats.   Shapes as in `entropy_at`."""
    return prior_cross_entropy_at_vjp(beta, x_0, t=t, kernel=kernel)[0]


def prior_cross_entropy_at_vjp(beta: Array, x_0: Array, *, t: int, kernel: Module) -> tuple[Array, Pullback]:
    """Adjoint of `prior_cross_entropy_at`."""
    q, back_marginal = _marginal_at_vjp(beta, x_0, t=np.full(len(x_0), t), kernel=kernel)
    per_component, back_cross_entropy = kernel.cross_entropy_vjp(q, kernel.prior(x_0.shape))
    value, back_total = total_vjp(per_component)

    def pullback(dvalue: Array) -> tuple[Array, Array]:
        dq, _ = back_cross_entropy(back_total(dvalue))
        return back_marginal(dq)

    return value, pullback


def _marginal_at_vjp(beta: Array, x_0: Array, *, t: Array, kernel: Module) -> tuple[Tree, Pullback]:
    """q(x_t | x_0) of each row at its own t, and its adjoint for (beta, x_0)."""
    schedule.check(beta, t=t, first=0)
    step, back_step = schedule.step_at_vjp(beta, t=t, ndim=x_0.ndim)
    q, back_marginal = kernel.marginal_vjp(x_0, step.log_alpha_bar)

    def pullback(dq: Tree) -> tuple[Array, Array]:
        dx_0, dlevel_t = back_marginal(dq)
        unused = np.zeros_like(dlevel_t)
        return back_step(schedule.Step(unused, unused, dlevel_t)), dx_0

    return q, pullback


# -- the bound ---------------------------------------------------------------------------------------------------------

def terms(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, kernel: Module, network: Module) -> Terms:
    """The terms of K, for S values of t per example.

    Shapes: beta (T+1,), x_0 (N, …), noise (S, N, …), t integers (S, N) in 2..T → kl (S, N), the others (N,).
    """
    return terms_vjp(parameters, beta, x_0, noise=noise, t=t, kernel=kernel, network=network)[0]


def terms_vjp(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, kernel: Module, network: Module
              ) -> tuple[Terms, Pullback]:
    """Adjoint of `terms`: with respect to the network, to every β_t, and to the data; for kernels whose draws are smooth."""
    check_shapes(x_0, noise, t)
    shape = t.shape + x_0.shape[1:]
    rows = (t.size,) + x_0.shape[1:]
    kl, back_kl = step_kl_vjp(parameters, beta, np.broadcast_to(x_0, shape).reshape(rows), noise=noise.reshape(rows),
                              t=t.ravel(), kernel=kernel, network=network)
    ends, back_ends = end_terms_vjp(beta, x_0, kernel=kernel)

    def pullback(dterms: Terms) -> tuple[Tree, Array, Array]:
        dbeta_ends, dx_0_ends = back_ends(dterms[1:])
        dparameters, dbeta_kl, dx_0_rows = back_kl(dterms.kl.ravel())
        dx_0_kl = unbroadcast(dx_0_rows.reshape(shape), x_0.shape)
        return dparameters, dbeta_kl + dbeta_ends, dx_0_kl + dx_0_ends

    return Terms(kl.reshape(t.shape), *ends), pullback


def end_terms(beta: Array, x_0: Array, *, kernel: Module) -> tuple[Array, Array, Array]:
    """The terms of K that do not depend on the network, H(x_T | x_0), H(x_1 | x_0) and H(π).

    Shapes: beta (T+1,), x_0 (N, …) → three (N,).
    """
    return end_terms_vjp(beta, x_0, kernel=kernel)[0]


def end_terms_vjp(beta: Array, x_0: Array, *, kernel: Module) -> tuple[tuple[Array, Array, Array], Pullback]:
    """Adjoint of `end_terms`: both entropies at once, of 2N rows, the first N at t = T and the others at t = 1."""
    N, twice = len(x_0), np.concatenate([x_0, x_0])
    entropies, back = _entropy_vjp(beta, twice, t=np.repeat([len(beta) - 1, 1], N), kernel=kernel)

    def pullback(dterms: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        dbeta, dtwice = back(np.concatenate(dterms[:2]))
        return dbeta, dtwice[:N] + dtwice[N:]

    return (entropies[:N], entropies[N:], total(kernel.entropy(kernel.prior(x_0.shape)))), pullback


def check_shapes(x_0: Array, noise: Array, t: Array) -> None:
    """Raises: ValueError if x_0 (N, …), noise (S, N, …) and t (S, N) do not belong together; x_0 may be one row for all."""
    if t.ndim != 2 or len(x_0) not in (1, t.shape[1]):
        raise ValueError(f"t: expected shape (S, N) with N = {len(x_0)} as x_0 has rows, got {t.shape}")
    if noise.shape != t.shape + x_0.shape[1:]:
        raise ValueError(f"noise: expected shape (S, N, …) = {t.shape + x_0.shape[1:]}, got {noise.shape}")


def assemble(terms: Terms, *, T: int) -> Array:
    """K per example from its terms:   −(T−1)/S Σ_s kl[s] + entropy_T − entropy_1 − entropy_prior.

    The sum over t has T − 1 terms; S of them, drawn at random, are multiplied by (T−1)/S.   Shapes: as in `Terms` → (N,).
    """
    S = len(terms.kl)
    return -(T - 1) / max(S, 1) * terms.kl.sum(axis=0) + terms.entropy_T - terms.entropy_1 - terms.entropy_prior


def assemble_vjp(terms: Terms, *, T: int) -> tuple[Array, Pullback]:
    """Adjoint of `assemble`:   dK = −(T−1)/S Σ_s dkl[s] + dentropy_T − dentropy_1 − dentropy_prior."""
    S = len(terms.kl)

    def pullback(dbound: Array) -> Terms:
        dkl = -(T - 1) / max(S, 1) * unbroadcast(dbound, terms.kl.shape[1:])
        return Terms(np.broadcast_to(dkl, terms.kl.shape), unbroadcast(dbound, terms.entropy_T.shape),
                     -unbroadcast(dbound, terms.entropy_1.shape), -unbroadcast(dbound, terms.entropy_prior.shape))

    return assemble(terms, T=T), pullback


@eq("14", "15", "38", "51", "App.1 G bound")
def bound(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, kernel: Module, network: Module) -> Array:
    """K per example, in nats: with `every_step` the full sum over t, with `draw_steps` an unbiased estimate of it.

    Shapes: beta (T+1,), x_0 (N, …), noise (S, N, …), t integers (S, N) in 2..T → (N,).
    """
    return bound_vjp(parameters, beta, x_0, noise=noise, t=t, kernel=kernel, network=network)[0]


def bound_vjp(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, kernel: Module, network: Module
              ) -> tuple[Array, Pullback]:
    """Adjoint of `bound`."""
    parts, back_terms = terms_vjp(parameters, beta, x_0, noise=noise, t=t, kernel=kernel, network=network)
    value, back_assemble = assemble_vjp(parts, T=len(beta) - 1)
    return value, lambda dbound: back_terms(back_assemble(dbound))


# -- the strict bound --------------------------------------------------------------------------------------------------

@eq("41", "43", "46")
def correction(beta: Array, x_0: Array, *, kernel: Module) -> Array:
    """C = [E log π(x_T) + H(π)] + [log π(x_0) − E log π(x_1)] per example, in nats: what turns K into the strict bound.

    Shapes: beta (T+1,), x_0 (N, …) → (N,).
    """
    return correction_vjp(beta, x_0, kernel=kernel)[0]


def correction_vjp(beta: Array, x_0: Array, *, kernel: Module) -> tuple[Array, Pullback]:
    """Adjoint of `correction`."""
    cross_T, back_T = prior_cross_entropy_at_vjp(beta, x_0, t=len(beta) - 1, kernel=kernel)
    cross_1, back_1 = prior_cross_entropy_at_vjp(beta, x_0, t=1, kernel=kernel)
    prior = kernel.prior(x_0.shape)
    per_component, back_prior = kernel.log_prob_vjp(x_0, prior)
    log_prior, back_total = total_vjp(per_component)

    def pullback(dvalue: Array) -> tuple[Array, Array]:
        dx_0_prior, _ = back_prior(back_total(dvalue))
        (dbeta_1, dx_0_1), (dbeta_T, dx_0_T) = back_1(dvalue), back_T(-dvalue)
        return dbeta_1 + dbeta_T, dx_0_1 + dx_0_T + dx_0_prior

    return total(kernel.entropy(prior)) - cross_T + cross_1 + log_prior, pullback


@eq("12", "13", "37")
def strict_bound(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, kernel: Module, network: Module
                 ) -> Array:
    """K + C per example, in nats: a lower bound on log p(x_0) whatever the data.   Shapes as in `bound`."""
    return strict_bound_vjp(parameters, beta, x_0, noise=noise, t=t, kernel=kernel, network=network)[0]


def strict_bound_vjp(parameters: Tree, beta: Array, x_0: Array, *, noise: Array, t: Array, kernel: Module, network: Module
                     ) -> tuple[Array, Pullback]:
    """Adjoint of `strict_bound`."""
    k, back_bound = bound_vjp(parameters, beta, x_0, noise=noise, t=t, kernel=kernel, network=network)
    c, back_correction = correction_vjp(beta, x_0, kernel=kernel)

    def pullback(dvalue: Array) -> tuple[Tree, Array, Array]:
        dbeta_c, dx_0_c = back_correction(unbroadcast(dvalue, c.shape))
        dparameters, dbeta, dx_0 = back_bound(dvalue)
        return dparameters, dbeta + dbeta_c, dx_0 + dx_0_c

    return k + c, pullback


open_doors(globals())
