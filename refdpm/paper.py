"""The paper in one line an equation: Sohl-Dickstein, Weiss, Maheswaranathan, Ganguli, ICML 2015 (arXiv 1503.03585v8).

`EQUATIONS` holds equations 1 to 65 and both columns of Table App.1 ("App.1 G forward" is its Gaussian forward kernel, "App.1 B forward"
the binomial one), completed by the marginal and the posterior, which the table leaves out. Every row has one of three statuses:

    code            a function computes it and carries its number in the margin: `@eq("14")`
    property        a relation that a test checks, `@pytest.mark.eq("1")`; it needs no function, though one may carry its number
    prose           nothing to compute; the note gives the reason

`says` is the equation as printed, in the names of this package. What is wrong with it stands in the note, after one of three words:

    Typo            a slip of the pen; the meaning is clear
    Correction      what is printed does not hold, or holds only under the condition given; 14 and 65 matter most
    Released code   where the authors' program (Theano, at de92b57) departs from their paper. It covers Gaussian images alone:
                    no binomial half, no heartbeat, no radial basis functions, no learned β.

`SYMBOLS` says what the letters stand for.

Which code and which tests carry which number is found by `traceability`.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar
import re

__all__ = ["EQUATIONS", "SYMBOLS", "Equation", "CITED", "cited", "code_of", "eq", "known"]

CITED = re.compile(r"\b[Ee]qs?\. \d+(?:(?:–|, | and )\d+)*|\bequations? \d+")


class Equation(NamedTuple):
    """One equation of the paper, or one cell of Table App.1."""

    number: str
    section: str
    says: str
    status: str
    note: str


SYMBOLS = {
    "α": "α_t = 1 − β_t, what a step keeps", "ᾱ": "ᾱ_t = α_1 ⋯ α_t, what t steps keep; ᾱ_0 = 1",
    "T_π": "the diffusion kernel, whose stationary law is π; q(x_t | x_{t−1}) = T_π(x_t | x_{t−1}; β_t) is a step forward (eq. 2)",
    "L": "the expected log-likelihood of a datum (eq. 10)",
    "K": "the paper's letter for two things: the right side of eq. 12 (eqs. 13 and 37 to 42) and that of eq. 14, which lacks C "
         "(eqs. 14, 15, 46 and 51, and this package)",
    "C": "the correction that eq. 14 lacks, C = [E log π(x_T) + H(π)] + [E log π(x_0) − E log π(x_1)]",
    "H": "an entropy: H_q of the forward chain, H_p of the model", "KL": "the divergence D_KL(q ‖ p) = E_q log(q/p)",
    "n": "the number of dimensions or bits",
    "r": "the rate of ones of the binomial π; with an argument, r(x) is the factor of sec. 2.5",
    "S": "E‖x_0‖², the mean square of the data", "M": "the expected number of ones in x_0", "h": "the entropy of one bit",
    "E": "an expectation, without an index over q(x_{0:T})",
}
TABLE = "Table App.1"
_ROWS: tuple[tuple[str, ...], ...] = (      # number, section, status, what it says; then the note, if there is one
    # -- 2.1 to 2.4: the two chains, the likelihood, the bound --
    ("1", "2.1", "property", "π(y) = ∫ dy′ T_π(y | y′; β) π(y′): the diffusion kernel leaves π as it is",
     "Both kernels obey the stronger detailed balance T_π(y | y′) π(y′) = T_π(y′ | y) π(y), which eq. 44 needs."),
    ("2", "2.1", "code", "q(x_t | x_{t−1}) = T_π(x_t | x_{t−1}; β_t): one forward step"),
    ("3", "2.1", "code", "q(x_{0:T}) = q(x_0) ∏_{t=1..T} q(x_t | x_{t−1}): the forward trajectory"),
    ("4", "2.2", "code", "p(x_T) = π(x_T): the reverse chain starts at the stationary law"),
    ("5", "2.2", "code", "p(x_{0:T}) = p(x_T) ∏_{t=1..T} p(x_{t−1} | x_t): the reverse trajectory, which is the model",
     "Released code: the sampler stops at x_1 and leaves out the factor t = 1 (eq. 44)."),
    ("6", "2.3", "property", "p(x_0) = ∫ dx_{1:T} p(x_{0:T}): the probability the model gives to a datum",
     "Intractable as it stands; quadrature on small cases is its oracle, eq. 9 its estimator."),
    ("7", "2.3", "code", "the integrand of eq. 6 times 1 = q(x_{1:T} | x_0) / q(x_{1:T} | x_0)"),
    ("8", "2.3", "code", "p(x_0) = ∫ dx_{1:T} q(x_{1:T} | x_0) · p(x_{0:T}) / q(x_{1:T} | x_0)"),
    ("9", "2.3", "code", "p(x_0) = E_{q(x_{1:T} | x_0)} [ p(x_T) ∏_{t=1..T} p(x_{t−1} | x_t) / q(x_t | x_{t−1}) ]",
     "Annealed importance sampling along the diffusion; every path has the same weight if p is the exact reversal."),
    ("10", "2.4", "property", "L = ∫ dx_0 q(x_0) log p(x_0): the objective"),
    ("11", "2.4", "property", "L with eq. 9 in the place of p(x_0): the logarithm of an average over forward paths"),
    ("12", "2.4", "code", "L ≥ E log [ p(x_T) ∏_{t=1..T} p(x_{t−1} | x_t) / q(x_t | x_{t−1}) ]: Jensen's inequality",
     "The strict bound, valid for every q and p. Eq. 14 equals it only up to C."),
    ("13", "2.4", "property", "L ≥ K",
     "Correction: sure when K is the right side of eq. 12; when it is eq. 14, sure only if C ≥ 0."),
    ("14", "2.4", "code",
     "K = −Σ_{t=2..T} E KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) + H_q(X_T | X_0) − H_q(X_1 | X_0) − H_p(X_T)",
     "Correction: the right side of eq. 12 is K + C. Gaussian: C = ½(n − S)(ᾱ_T + β_1), so K can exceed L when S > n. "
     "Binomial: C = (ᾱ_T + β_1)(M − n·r) log(r/(1 − r)), 0 if r = ½. The caption of Table 1 cites eq. 12 for K. "
     "Released code: the KL of one t out of 2..T is multiplied by T instead of T − 1."),
    ("15", "2.4", "code", "p̂(x_{t−1} | x_t) = argmax_p K: training",
     "The Gaussian β_2..β_T are learned too, β_1 is not (sec. 2.4.1). Released code: every β is fixed."),
    # -- 2.5: the model times a second factor r(x) --
    ("16", "2.5", "code", "p̃(x_t) = p(x_t) r(x_t) / Z̃_t: every marginal multiplied by r",
     "Released code: denoising starts at the noisy image itself, not at a draw from p̃(x_T) ∝ π(x_T) r(x_T)."),
    ("17", "2.5", "property", "p(x_t) = ∫ dx_{t+1} p(x_t | x_{t+1}) p(x_{t+1}): reverse steps carry marginals to marginals",
     "Typo: a parenthesis is missing."),
    ("18", "2.5", "property", "p̃(x_t) = ∫ dx_{t+1} p̃(x_t | x_{t+1}) p̃(x_{t+1}): what the perturbed steps ought to do"),
    ("19", "2.5", "property", "p(x_t) r(x_t) / Z̃_t = ∫ dx_{t+1} p̃(x_t | x_{t+1}) p(x_{t+1}) r(x_{t+1}) / Z̃_{t+1}: 16 in 18"),
    ("20", "2.5", "property", "p(x_t) = ∫ dx_{t+1} p̃(x_t | x_{t+1}) [Z̃_t r(x_{t+1}) / (Z̃_{t+1} r(x_t))] p(x_{t+1})"),
    ("21", "2.5", "property", "p̃(x_t | x_{t+1}) = p(x_t | x_{t+1}) Z̃_{t+1} r(x_t) / (Z̃_t r(x_{t+1})): enough for eq. 20",
     "In general not normalised in x_t; it is for r_t(x_t) = E_p[r(x_0) | x_t], the choice that is exact."),
    ("22", "2.5", "code", "p̃(x_t | x_{t+1}) = p(x_t | x_{t+1}) r(x_t) / Z̃_t(x_{t+1}): eq. 21 normalised, the step in use",
     "Correction: not equivalent to eq. 21. A step loses a factor 1 + O(β), T ~ 1/β steps O(1): biased even as β → 0."),
    ("23", "2.5", "code", "r(x_t) = r(x_0), one function for all t; or r(x_t) = r(x_0)^{(T−t)/T}, which leaves x_T alone",
     "Correction: neither is exact. With eq. 22 and p = π the first tends to π·r² instead of π·r as β → 0. "
     "Released code: the first one."),
    # -- 2.6 and appendix A: the entropy of one reverse step --
    ("24", "2.6", "code", "H_q(X_t|X_{t−1}) + H_q(X_{t−1}|X_0) − H_q(X_t|X_0) ≤ H_q(X_{t−1}|X_t) ≤ H_q(X_t|X_{t−1})",
     "Correction: the upper bound needs the condition of eq. 28. Good for a step, too loose for the sum over t."),
    ("25", "A", "property", "H(X_{t−1}, X_t) = H(X_t, X_{t−1})"),
    ("26", "A", "property", "H(X_{t−1} | X_t) + H(X_t) = H(X_t | X_{t−1}) + H(X_{t−1}): the chain rule both ways"),
    ("27", "A", "property", "H(X_{t−1} | X_t) = H(X_t | X_{t−1}) + H(X_{t−1}) − H(X_t)"),
    ("28", "A", "property", "H(X_t) ≥ H(X_{t−1})",
     "Correction: that π maximises entropy does not prove it. KL(q(x_t) ‖ π) never rises, so it is enough that E log π(x_t) does "
     "not either, which is C ≥ 0: Gaussian S ≤ n; binomial r = ½, or r < ½ and M ≤ n·r. Otherwise it can fail."),
    ("29", "A", "property", "H(X_{t−1}) − H(X_t) ≤ 0", "Under the condition of eq. 28."),
    ("30", "A", "code", "H(X_{t−1} | X_t) ≤ H(X_t | X_{t−1}): the upper bound", "Under the condition of eq. 28."),
    ("31", "A", "property", "H(X_0 | X_t) ≥ H(X_0 | X_{t−1}): a further step does not tell more about x_0"),
    ("32", "A", "property", "H(X_{t−1}) − H(X_t) ≥ H(X_0 | X_{t−1}) + H(X_{t−1}) − H(X_0 | X_t) − H(X_t)"),
    ("33", "A", "property", "H(X_{t−1}) − H(X_t) ≥ H(X_0, X_{t−1}) − H(X_0, X_t)"),
    ("34", "A", "property", "H(X_{t−1}) − H(X_t) ≥ H(X_{t−1} | X_0) − H(X_t | X_0)"),
    ("35", "A", "code", "H(X_{t−1} | X_t) ≥ H(X_t | X_{t−1}) + H(X_{t−1} | X_0) − H(X_t | X_0): the lower bound",
     "At t = 1 it contains H(X_0 | X_0): 0 for bits, −∞ for densities, where it says nothing."),
    ("36", "A", "code", "eqs. 35 and 30 together, which is eq. 24", "The upper half under the condition of eq. 28."),
    # -- appendix B: from eq. 12 to eq. 14 --
    ("37", "B", "property", "L ≥ K", "Sure, for up to eq. 42 K is the right side of eq. 12; of eq. 14 it is sure only if C ≥ 0."),
    ("38", "B", "property", "K = E log [ p(x_T) ∏_{t=1..T} p(x_{t−1} | x_t) / q(x_t | x_{t−1}) ]: the right side of eq. 12",
     "From here to eq. 42 K is that right side. Eq. 14 is not equal to it: it lacks C."),
    ("39", "B", "prose", "(no formula)", "The number appears to stand at nothing."),
    ("40", "B.1", "property", "K = Σ_{t=1..T} E log [ p(x_{t−1} | x_t) / q(x_t | x_{t−1}) ] + E log p(x_T)",
     "Still the right side of eq. 12, as a sum."),
    ("41", "B.1", "property", "eq. 40 with p(x_T) = π(x_T); K is as there", "Still the right side of eq. 12. Typo: the superscript T lacks its parentheses."),
    ("42", "B.1", "prose", "(no formula)", "An empty continuation of eq. 41, it appears."),
    ("43", "B.1", "property", "K = Σ_{t=1..T} E log [ p(x_{t−1} | x_t) / q(x_t | x_{t−1}) ] − H_p(X_T)",
     "Correction: no longer equal to the right side of eq. 12, because −H(π) stands for E log π(x_T). The difference is the first "
     "half of C; Gaussian: ½(n − S) ᾱ_T."),
    ("44", "B.2", "code", "p(x_0 | x_1) = q(x_1 | x_0) π(x_0) / π(x_1) = T_π(x_0 | x_1; β_1): the edge step, not learned",
     "Released code: the sampler never takes it."),
    ("45", "B.2", "property", "the term t = 1 of eq. 43 is E log [ q(x_1 | x_0) π(x_0) / (q(x_1 | x_0) π(x_1)) ]"),
    ("46", "B.2", "property", "K = Σ_{t=2..T} E log [ p(x_{t−1} | x_t) / q(x_t | x_{t−1}) ] − H_p(X_T)",
     "Correction: equal to eq. 14, and no longer to eq. 43, because it takes E log π(x_0) = E log π(x_1). The difference is the "
     "second half of C; Gaussian: ½(n − S) β_1. The right side of eq. 12 is eq. 46 + C."),
    ("47", "B.3", "property", "q(x_t | x_{t−1}) = q(x_t | x_{t−1}, x_0): the chain is Markov",
     "Typo: the heading of B.3 names q(x_{t−1} | x_0); its object is q(x_{t−1} | x_t, x_0)."),
    ("48", "B.3", "property", "q(x_t | x_{t−1}, x_0) = q(x_{t−1} | x_t, x_0) q(x_t | x_0) / q(x_{t−1} | x_0): Bayes"),
    ("49", "B.4", "property", "Σ_{t=2..T} E log [ q(x_{t−1} | x_0) / q(x_t | x_0) ] = Σ_{t=2..T} [ H_q(X_t | X_0) − H_q(X_{t−1} | X_0) ]"),
    ("50", "B.4", "property", "that sum telescopes: H_q(X_T | X_0) − H_q(X_1 | X_0)"),
    ("51", "B.4", "property", "what remains of eq. 46 is minus the sum of the KLs: eq. 14"),
    # -- appendix C: a Gaussian reverse step times r(x); μ = f_μ(x_t, t), Σ = f_Σ(x_t, t), y = x_{t−1} --
    ("52", "C", "code", "p̃(y | x_t) ∝ p(y | x_t) r(y)"),
    ("53", "C", "code", "p̃(y | x_t) ∝ N(y; μ, Σ) r(y)",
     "No expansion is needed if r is Gaussian (precision Λ, centre c): precision Σ⁻¹ + Λ, mean (Σ⁻¹ + Λ)⁻¹(Σ⁻¹μ + Λc)."),
    ("54", "C", "property", "p̃(y | x_t) ∝ exp(−E(y))"),
    ("55", "C", "property", "E(y) = ½(y − μ)ᵀ Σ⁻¹ (y − μ) + E_r(y), with E_r = −log r"),
    ("56", "C", "property", "E_r(y) ≈ E_r(μ) + (y − μ)ᵀ g, with g = ∇E_r(μ)", "Typo: printed without the transpose."),
    ("57", "C", "property", "E(y) ≈ ½(y − μ)ᵀ Σ⁻¹ (y − μ) + (y − μ)ᵀ g + constant", "Typo: printed without the transpose."),
    ("58", "C", "property", "eq. 57 multiplied out, on the way to a complete square"),
    ("59", "C", "property", "E(y) ≈ ½(y − μ + Σg)ᵀ Σ⁻¹ (y − μ + Σg) + constant: the square completed"),
    ("60", "C", "code", "p̃(y | x_t) ≈ N(y; μ − Σg, Σ)"),
    ("61", "C", "code", "p̃(x_{t−1} | x_t) ≈ N(f_μ + f_Σ ∇log r(f_μ), f_Σ)",
     "The first order in ΣΛ of the exact product in 53. Released code: denoising takes the exact product at every step."),
    # -- appendix D: the networks --
    ("62", "D", "code", "z_i^μ = Σ_{j=1..J} y_ij^μ g_j(t), and z_i^Σ from y_ij^Σ: temporal basis of the image networks"),
    ("63", "D", "code", "g_j(t) = exp(−(t − τ_j)²/2w²) / Σ_k exp(−(t − τ_k)²/2w²), τ_j in (0, T), w the spacing of the τ_j",
     "J is not given. Released code: J = 10, τ_j in linspace(−1, 1, J) for t in linspace(−1, 1, T), w half the spacing."),
    ("64", "D", "code", "Σ_ii = sigmoid(z_i^Σ + logit β_t): the variance", "Released code: z_i^Σ/√T instead of z_i^Σ."),
    ("65", "D", "code", "μ_i = (x_i − z_i^μ)(1 − Σ_ii) + z_i^μ: the mean",
     "Correction: read √(1 − Σ_ii). Without the root z = 0, Σ_ii = β_t shrinks by 1 − β_t, not by the forward kernel's √(1 − β_t), "
     "and the stationary variance is near ½ instead of 1. Released code: x_i √(1 − β_t) + z_i^μ √β_t, with β and not Σ."),
    # -- Table App.1, Gaussian column --
    ("App.1 G prior", TABLE, "code", "π(x_T) = N(0, I)"),
    ("App.1 G forward", TABLE, "code", "q(x_t | x_{t−1}) = N(x_{t−1} √(1 − β_t), β_t I)", "β_t is a variance."),
    ("App.1 G marginal", TABLE, "code", "q(x_t | x_0) = N(√ᾱ_t x_0, (1 − ᾱ_t) I)", "Derived, not printed."),
    ("App.1 G posterior", TABLE, "code",
     "q(x_{t−1} | x_t, x_0) = N([√ᾱ_{t−1} β_t x_0 + √α_t (1 − ᾱ_{t−1}) x_t]/(1 − ᾱ_t), β_t (1 − ᾱ_{t−1})/(1 − ᾱ_t) I)",
     "Derived, not printed. A point at x_0 for t = 1. Released code: the same, but divided by α_t (no β_T = 1)."),
    ("App.1 G reverse", TABLE, "code", "p(x_{t−1} | x_t) = N(f_μ(x_t, t), f_Σ(x_t, t))"),
    ("App.1 G targets", TABLE, "code", "f_μ, f_Σ, β_{1..T}: what training changes",
     "Correction: β_{2..T}; the text (sec. 2.4.1) fixes β_1, at a value never given. Released code: a fixed schedule that rises "
     "to β_T = ½, with β_1 ≈ 0.002 at T = 1000."),
    ("App.1 G forward law", TABLE, "code", "eq. 3 with the Gaussian kernel"),
    ("App.1 G reverse law", TABLE, "code", "eq. 5 with the Gaussian kernel"),
    ("App.1 G likelihood", TABLE, "code", "eq. 10, a density: nats of n real numbers"),
    ("App.1 G bound", TABLE, "code", "eq. 14 with H_q(X_t | X_0) = ½n log(2πe(1 − ᾱ_t)) and H_p(X_T) = ½n log(2πe)"),
    ("App.1 G perturbed", TABLE, "code", "p̃(x_{t−1} | x_t) = N(f_μ + f_Σ ∇log r(f_μ), f_Σ)", "Eq. 61."),
    # -- Table App.1, binomial column: every bit by itself; the probability of a one --
    ("App.1 B prior", TABLE, "code", "π(x_T) = B(0.5)",
     "Correction: any rate r in (0, 1); the heartbeat experiment (D.1.2) has 0.2, and only 0.2 explains its K − L_null."),
    ("App.1 B forward", TABLE, "code", "q(x_t = 1 | x_{t−1}) = x_{t−1}(1 − β_t) + 0.5 β_t",
     "Correction: r·β_t for 0.5 β_t. β_t is no flip probability: a one flips with β_t(1 − r), a zero with β_t r. "
     "Typo: the caption calls the printed expression b and never uses it."),
    ("App.1 B marginal", TABLE, "code", "q(x_t = 1 | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) r", "Derived, not printed. No roots here."),
    ("App.1 B posterior", TABLE, "code",
     "q(x_{t−1} = 1 | x_t, x_0) = m ℓ_1/(m ℓ_1 + (1 − m) ℓ_0), m = q(x_{t−1} = 1 | x_0), ℓ_k = q(x_t | x_{t−1} = k)",
     "Derived, not printed. The denominator is q(x_t | x_0). It is x_0 at t = 1, and m, whatever x_T, at β_T = 1."),
    ("App.1 B reverse", TABLE, "code", "p(x_{t−1} = 1 | x_t) = f_b(x_t, t)",
     "Correction: a probability of a one, although sec. 2.2 calls it a flip probability."),
    ("App.1 B targets", TABLE, "code", "f_b: what training changes", "β_t = 1/(T − t + 1) is fixed: ᾱ_t = 1 − t/T."),
    ("App.1 B forward law", TABLE, "code", "eq. 3 with the binomial kernel"),
    ("App.1 B reverse law", TABLE, "code", "eq. 5 with the binomial kernel"),
    ("App.1 B likelihood", TABLE, "code", "eq. 10, a probability: nats of n bits"),
    ("App.1 B bound", TABLE, "code", "eq. 14 with H_q(X_t | X_0) = E Σ_i h(ᾱ_t x_0,i + (1 − ᾱ_t) r) and H_p(X_T) = n h(r)",
     "Unless r = ½ the entropies given x_0 depend on x_0."),
    ("App.1 B perturbed", TABLE, "code", "p̃(x_{t−1} = 1 | x_t) = c d/(x d + (1 − c)(1 − d)), c = f_b(x_{t+1}, t), d = r(x = 1)",
     "Typo: c d, not x d, in the denominator; and c = f_b(x_t, t) for this step: the caption's c has the x of one step and the t "
     "of another. Correction: d = r(1)/(r(0) + r(1)); r need not be normalised."),
)

EQUATIONS: dict[str, Equation] = {
    number: Equation(number, section, says, status, "".join(note)) for number, section, status, says, *note in _ROWS}


# -- the number in the margin --

_code: dict[str, set[str]] = {}
_F = TypeVar("_F", bound=Callable[..., object])


def symbols_in(text: str) -> dict[str, str]:
    """The letters that stand in a text, and what they stand for."""
    return {symbol: says for symbol, says in SYMBOLS.items() if re.search(rf"(?<![^\W_]){symbol}(?![^\W_])", text)}


def known(number: object, where: str) -> str:
    """`number`, if it is one of the registry.   Raises: ValueError that begins with `where`."""
    if isinstance(number, str) and number in EQUATIONS:
        return number
    raise ValueError(f"{where}: expected a number of the registry, got {number!r}")


def eq(*numbers: str) -> Callable[[_F], _F]:
    """Mark a function as the code of these equations. The function itself is not changed.

    Raises: ValueError when the module is imported, if a number is not in the registry.
    """
    marked = [known(number, "eq") for number in numbers or (None,)]

    def record(function: _F) -> _F:
        name = f"{function.__module__}.{function.__qualname__}".removeprefix("refdpm.")
        for number in marked:
            _code.setdefault(number, set()).add(name)
        return function
    return record


def code_of(number: str) -> tuple[str, ...]:
    """The functions that carry `number`, as "module.function", sorted; of the modules imported so far."""
    return tuple(sorted(_code.get(known(number, "code_of"), ())))


def cited(text: str) -> list[str]:
    """The numbers of the equations that a text names, of a range all of them."""
    found = []
    for several in CITED.findall(text):
        for first, last in re.findall(r"(\d+)(?:–(\d+))?", several):
            found += [str(number) for number in range(int(first), int(last or first) + 1)]
    return found
