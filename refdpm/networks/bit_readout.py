"""From the head of a network, one number z a bit, to its reverse step p(x_{t−1} | x_t): every bit a law of its own, by its logit.

Three forms.  With z = 0 the last two are the forward kernel, the exact reversal of stationary data, so that training starts from
K = L_null and the network learns what is special about the data.

    paper       the literal one: P(1) = f_b = sigmoid(z)
    skip        the forward kernel's logit at x_t, plus z
    denoising   ours: what is known of x_0, passed through the posterior

Why a third.  The best of all steps with independent bits has f*_i = E_q[ x_{t−1,i} | x_t ]: the cross-entropy
−f* log f − (1−f*) log(1−f), which is all of E KL that depends on the model's f, has its minimum at f = f*.  Given x_0,i too, bit i
has the posterior's law, which knows only x_t,i and x_0,i, so that

    f*_i = Σ_k P(x_0,i = k | x_t) q(x_{t−1,i} = 1 | x_t,i, x_0,i = k)        (bits without an index i from here on)

and a network that knows P(x_0 | x_t) needs nothing else.  Its head says how P(x_0 | x_t) differs from that of stationary data,

    P(x_0 = k | x_t) ∝ q(x_t | x_0 = k) π(k) e^{kz},

where q(x_t | k) π(k) = π(x_t) q(k | x_t) by detailed balance: the logit is that of `marginal` at x_t and ℓ_t, plus z.  Nothing
more than z is left to learn, and z means the same at every t: it is the log odds, relative to r, that all other bits of x_t give
x_0; at t = 1 they would decide, at T say nothing.

The sum over k has a closed form.  By Bayes' rule the posterior is q(x_{t−1} | k) q(x_t | x_{t−1})/q(x_t | k), whose denominator
cancels, and with x̂ = sigmoid(logit r + z), the rate that π would have to have,

    p(x_{t−1} | x_t) ∝ q(x_t | x_{t−1}) Σ_k π(k) e^{kz} q(x_{t−1} | k) ∝ q(x_t | x_{t−1}) q(x_{t−1} | x_0 = x̂):

Bayes' rule once more, for a bit that was 1 with probability x̂ at the start.  Detailed balance turns its first factor into the
forward kernel at x_t divided by π, and in logits the three factors add.
"""

import numpy as np

from refdpm.activation import logit, sigmoids
from refdpm.binomial import Bernoulli, forward, forward_vjp
from refdpm.doors import DOUBLE_AND_SINGLE, open_doors
from refdpm.schedule import Step
from refdpm.vjp import Array, Pullback, unbroadcast

READOUTS = ("denoising", "skip", "paper")


def paper(z: Array) -> Bernoulli:
    """logit = z: nothing of x_t passes by the network, which has to learn that almost every bit stays as it is."""
    return Bernoulli(z)


def paper_vjp(z: Array) -> tuple[Bernoulli, Pullback]:
    """Adjoint of `paper`:   dlogit = dz."""
    return paper(z), lambda dp: dp.logit


def skip(z: Array, x_t: Array, beta: Array, *, rate: float = 0.5) -> Bernoulli:
    """logit = that of the forward kernel at x_t, + z.

    Shapes: z, x_t (N, …), beta (N, 1, …) → as z.
    """
    return skip_vjp(z, x_t, beta, rate=rate)[0]


def skip_vjp(z: Array, x_t: Array, beta: Array, *, rate: float = 0.5) -> tuple[Bernoulli, Pullback]:
    """Adjoint of `skip`:   dlogit = dz + dlogit of the forward kernel."""
    before, back_forward = forward_vjp(x_t, beta, rate=rate)
    return Bernoulli(before.logit + z), lambda dp: (unbroadcast(dp.logit, z.shape), *back_forward(dp))


def denoising(z: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, *, rate: float = 0.5) -> Bernoulli:
    """logit = that of the forward kernel at x_t, + logit m − logit r, with a = ᾱ_{t−1}, x̂ = sigmoid(logit r + z) and

        m = a x̂ + (1−a) r        1 − m = a (1−x̂) + (1−a)(1−r)        (sums of positive terms, neither from the other)

    Derivation: above; m = q(x_{t−1} = 1 | x_0 = x̂).
    Shapes: z, x_t (N, …); beta, log_alpha_bar_prev (N, 1, …) → as z.
    Edge: at β = 1 the forward kernel is π, and m remains.   Domain: ℓ < 0.
    """
    one, zero, *_ = _at_level(z, log_alpha_bar_prev, rate)
    return _joined(forward(x_t, beta, rate=rate), one, zero, _log_odds(rate, z))


def _joined(before: Bernoulli, one: Array, zero: Array, log_odds: Array) -> Bernoulli:
    """The two factors, the forward kernel at x_t and m, divided by π."""
    return Bernoulli(before.logit + (np.log(one / zero) - log_odds))


def _log_odds(rate: float, z: Array) -> Array:
    """logit r, in the precision of z."""
    return logit(np.asarray(rate)).astype(np.real(z).dtype)


def _at_level(z: Array, log_alpha_bar: Array, rate: float) -> tuple[Array, Array, Array, Array]:
    """m, 1 − m, x̂ and 1 − x̂."""
    kept, drawn = np.exp(log_alpha_bar), -np.expm1(log_alpha_bar)
    one, zero = sigmoids(z + _log_odds(rate, z))
    return kept * one + drawn * rate, kept * zero + drawn * (1 - rate), one, zero


def denoising_vjp(z: Array, x_t: Array, beta: Array, log_alpha_bar_prev: Array, *, rate: float = 0.5
                  ) -> tuple[Bernoulli, Pullback]:
    """Adjoint of `denoising`:

        dlogit = dlogit of the forward kernel + dm/(m(1−m))        dm = a x̂ (1−x̂) dz + a (x̂ − r) dℓ.
    """
    one, zero, x_one, x_zero = _at_level(z, log_alpha_bar_prev, rate)
    before, back_forward = forward_vjp(x_t, beta, rate=rate)

    def pullback(dp: Bernoulli) -> tuple[Array, Array, Array, Array]:
        dm = np.exp(log_alpha_bar_prev) * dp.logit / (one * zero)
        dlevel = unbroadcast((x_one - rate) * dm, log_alpha_bar_prev.shape)
        return unbroadcast(x_one * x_zero * dm, z.shape), *back_forward(dp), dlevel

    return _joined(before, one, zero, _log_odds(rate, z)), pullback


# -- by name -----------------------------------------------------------------------------------------------------------

def read_out(z: Array, x_t: Array, step: Step, *, rate: float, readout: str) -> Bernoulli:
    """The read-out of that name, which takes from x_t and the step what it needs.

    Shapes: z, x_t (N, …), step three columns (N, 1, …) → as z.
    Raises: ValueError for another name.
    """
    return read_out_vjp(z, x_t, step, rate=rate, readout=readout)[0]


def read_out_vjp(z: Array, x_t: Array, step: Step, *, rate: float, readout: str) -> tuple[Bernoulli, Pullback]:
    """Adjoint of `read_out`; what it does not take gets zeros."""
    if readout == "denoising":
        p, back = denoising_vjp(z, x_t, step.beta, step.log_alpha_bar_prev, rate=rate)
    elif readout == "skip":
        p, back = skip_vjp(z, x_t, step.beta, rate=rate)
    elif readout == "paper":
        p, back_paper = paper_vjp(z)
        back = lambda dp: (back_paper(dp),)
    else:
        raise ValueError(f"readout: expected one of {READOUTS}, got {readout!r}")
    unused = [np.zeros_like(x_t), *map(np.zeros_like, step)]

    def pullback(dp: Bernoulli) -> tuple[Array, Array, Step]:
        dz, *used = back(dp)
        dx_t, *dstep = used + unused[len(used):]
        return dz, dx_t, Step(*dstep)

    return p, pullback


open_doors(globals(), keep=DOUBLE_AND_SINGLE)
