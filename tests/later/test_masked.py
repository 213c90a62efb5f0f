"""Symbols of any kernel, and masked tokens, against enumeration, integrals and numbers by hand."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from refdpm import binomial
from refdpm.conformance.adapter import Local
from refdpm.conformance.chapters import categorical as chapter
from refdpm.conformance.inference import infer
from refdpm.conformance.judge import Effort, judge
from refdpm.conformance.session import NAMES
from refdpm.conformance.subject import Subject
from refdpm.later import categorical, masked
from refdpm.later.categorical import Categorical
from refdpm.schedule import Step

QUICK = Effort(max_examples=3, shrinks=0, power=False)
RNG = np.random.default_rng(5)
Q = RNG.dirichlet(np.ones(3), (3, 3))                      # three steps, rows add to 1, no symmetry


# -- any matrices ----------------------------------------------------------------------------------------------------------

def test_any_matrices_by_every_path():
    """The joint law of x_1, x_2, x_3 given x_0 path by path: its marginal, and its posterior."""
    total = categorical.accumulated(Q)
    for x_0, x_3, x_2 in np.ndindex(3, 3, 3):
        paths = {(a, b): Q[0, x_0, a] * Q[1, a, b] * Q[2, b, x_3] for a in range(3) for b in range(3)}
        assert total[2, x_0, x_3] == pytest.approx(math.fsum(paths.values()), rel=1e-13)
        q = categorical.posterior_by_matrices(np.eye(3)[[[x_3]]], np.eye(3)[[[x_0]]], Q[2:], total[1:2]).prob[0, 0]
        assert q[x_2] == pytest.approx(sum(paths[a, x_2] for a in range(3)) / math.fsum(paths.values()), rel=1e-13)


def test_the_absorbing_chain_as_matrices():
    """K = 3, mask last, β = (¼, ½), t = 2, x_0 = 0, x_t = mask: q(x_1) = (0.6, 0, 0.4)."""
    one, two = (np.array([[1 - b, 0, b], [0, 1 - b, b], [0, 0, 1]]) for b in (0.25, 0.5))
    q = categorical.posterior_by_matrices(np.eye(3)[[[2]]], np.eye(3)[[[0]]], two[None], one[None])
    assert q.prob[0, 0] == pytest.approx([0.6, 0, 0.4], abs=1e-15)


def test_two_classes_are_the_bits_of_the_paper():
    """With π = (1 − r, r): marginal and posterior by `binomial`, for every bit."""
    rate, beta, level = 0.3, np.array([[0.4]]), np.array([[-0.7]])
    law = np.array([1 - rate, rate])
    for x_0, x_t in np.ndindex(2, 2):
        bit_0, bit_t = np.array([[float(x_0)]]), np.array([[float(x_t)]])
        q = categorical.posterior(np.eye(2)[[[x_t]]], np.eye(2)[[[x_0]]], beta[..., None], level[..., None], law=law)
        assert q.prob[0, 0, 1] == pytest.approx(binomial.posterior(bit_t, bit_0, beta, level, rate=rate).prob.item(), rel=1e-13)
        m = categorical.marginal(np.eye(2)[[[x_0]]], level[..., None], law=law)
        assert m.prob[0, 0, 1] == pytest.approx(binomial.marginal(bit_0, level, rate=rate).prob.item(), rel=1e-13)


def test_a_term_of_the_bound_is_minus_log_p_at_t_1_and_the_terms_bound_log_p():
    """Two steps of two classes with a law of its own, one symbol: the bound against −log p by all paths."""
    law, rates = np.array([0.25, 0.75]), np.array([0.3, 0.6])
    one = [(1 - b) * np.eye(2) + b * law for b in rates]
    logits, levels = RNG.normal(size=(2, 2, 2)), np.append(0.0, np.cumsum(np.log1p(-rates)))

    def step(t):
        return Step(*(np.full((1, 1, 1), x) for x in (rates[t - 1], levels[t - 1], levels[t])))

    def reverse(t, x_t):
        return categorical.reverse(logits[t - 1, x_t][None, None], np.eye(2)[[[x_t]]], step(t), mixing="joint", law=law).prob[0, 0]

    for x_0 in (0, 1):
        p = sum(law[c] * reverse(2, c)[b] * reverse(1, b)[x_0] for b in (0, 1) for c in (0, 1))
        bound = categorical.kl(categorical.marginal(np.eye(2)[[[x_0]]], levels[2:].reshape(1, 1, 1), law=law),
                               Categorical(law)).item()
        for t, total in ((1, one[0]), (2, one[0] @ one[1])):
            for x_t in (0, 1):
                term = categorical.step_kl(logits[t - 1, x_t][None, None], x_0=np.eye(2)[[[x_0]]], x_t=np.eye(2)[[[x_t]]],
                                           step=step(t), mixing="joint", law=law).item()
                assert t > 1 or term == pytest.approx(-math.log(reverse(1, x_t)[x_0]), rel=1e-12)
                bound += total[x_0, x_t] * term
        assert 0 < bound + math.log(p) < 1


def test_classes_are_drawn_as_often_as_they_are_likely():
    """Within six standard errors."""
    law, count = np.array([0.1, 0.6, 0.3]), 200000
    drawn = categorical.draw(Categorical(np.broadcast_to(law, (count, 3))), noise=RNG.random((count, 3)))
    shares = np.bincount(drawn, minlength=3) / count
    assert np.all(np.abs(shares - law) < 6 * np.sqrt(law * (1 - law) / count))


# -- masked tokens ---------------------------------------------------------------------------------------------------------

def test_how_many_are_kept_by_hand():
    """At t = ⅓: ⅔ with weight 3; cos 30° with (π/2) sin 30°/(1 − cos 30°); ½ with (π/2) cot 30°; cos² 30° with π cot 30°.

    ε keeps a share of the rest; and 0.1 at both ends leaves 0.1 and 0.8 of it, of which 0.9 less the share is masked.
    """
    third, half = np.array([1 / 3]), np.pi / 2
    for masking, alpha, weight in (("linear", 2 / 3, 3), ("cosine", math.sqrt(0.75), half * 0.5 / (1 - math.sqrt(0.75))),
                                   ("cosine_masks", 0.5, half * math.sqrt(3)),
                                   ("cosine_squared", 0.75, np.pi * math.sqrt(3))):
        assert masked.kept(third, masking=masking) == pytest.approx((alpha, weight), rel=1e-14)
        assert masked.kept(third, masking=masking, floor=0.1) == pytest.approx((0.1 + 0.9 * alpha, weight), rel=1e-14)
        both = masked.kept(third, masking=masking, floor=0.1, floor_at="both_ends")
        assert both == pytest.approx((0.1 + 0.8 * alpha, 0.8 * weight * (1 - alpha) / (0.9 - 0.8 * alpha)), rel=1e-14)
    with pytest.raises(ValueError, match="masking: expected one of"):
        masked.kept(third, masking="log-linear")
    with pytest.raises(ValueError, match="floor_at: expected one of"):
        masked.kept(third, masking="linear", floor_at="start")


def test_levels_of_masks_by_hand():
    """A quarter of the way from 1 to 9 is 3, by equal steps, and √3, by equal factors; the rates are 8 and √3 log 9."""
    quarter = np.array([0.25])
    assert masked.rising(quarter, rise="linear", low=1.0, high=9.0) == pytest.approx((3, 8), rel=1e-15)
    assert masked.rising(quarter, rise="geometric", low=1.0, high=9.0) == pytest.approx(
        (math.sqrt(3), math.sqrt(3) * math.log(9)), rel=1e-15)
    with pytest.raises(ValueError, match="rise: expected one of"):
        masked.rising(quarter, rise="cosine", low=1.0, high=9.0)


@pytest.mark.parametrize("rise", masked.RISES)
def test_whatever_way_the_level_rises_a_model_that_knows_nothing_pays_for_what_is_masked_on_the_way(rise):
    """One token of four classes: ∫ σ′/(e^σ − 1) (1 − α) dt log 4 = (α_0 − α_1) log 4, so that 0.3 … 4 cost what their ends say."""
    def integrand(at):
        sigma, rate = masked.rising(np.array([[at]]), rise=rise, low=0.3, high=4.0)
        loss = masked.masked_loss(np.zeros((1, 1, 4)), x_0=np.eye(4)[[[2]]], masked=np.array([[True]]), sigma=sigma, rate=rate)
        return loss.item() * -math.expm1(-sigma.item())

    assert quad(integrand, 0, 1)[0] == pytest.approx((math.exp(-0.3) - math.exp(-4)) * math.log(4), rel=1e-9)


@pytest.mark.parametrize("masking", masked.MASKINGS)
def test_the_weight_is_that_of_the_share(masking):
    """−α′/(1 − α) by differences, whatever ε; and for a loss that is the same for every masked token its integral is that loss."""
    t, h = np.array([0.2, 0.5, 0.9]), 1e-6
    for floor_at in masked.FLOORS:
        ahead, behind, here = (masked.kept(at, masking=masking, floor=0.2, floor_at=floor_at) for at in (t + h, t - h, t))
        assert here.weight == pytest.approx((behind.alpha - ahead.alpha) / (2 * h) / (1 - here.alpha), rel=1e-8)

    def integrand(at):
        alpha, weight = masked.kept(np.array(at), masking=masking)
        return weight * (1 - alpha)

    assert quad(integrand, 0, 1)[0] == pytest.approx(1)


def uniform_loss(alpha, slope):
    """The integrand for two tokens of four classes and a model that knows nothing, averaged over the masks."""
    total = 0.0
    for bits in np.ndindex(2, 2):
        hidden = np.array([bits]) > 0
        weight = math.prod(1 - alpha if b else alpha for b in bits)
        total += weight * masked.masked_loss(np.zeros((1, 2, 4)), x_0=np.eye(4)[[[1, 3]]], masked=hidden,
                                             sigma=np.array([[-math.log(alpha)]]), rate=np.array([[-slope / alpha]])).item()
    return total


@pytest.mark.parametrize("alpha,slope", [(lambda t: 1 - t, lambda t: -1.0),
                                         (lambda t: math.cos(math.pi * t / 2), lambda t: -math.pi / 2 * math.sin(math.pi * t / 2))])
def test_two_tokens_of_four_symbols_cost_2_log_4(alpha, slope):
    value, _ = quad(lambda t: uniform_loss(alpha(t), slope(t)), 0, 1)
    assert value == pytest.approx(2.7725887, abs=1e-6)


def test_the_loss_is_above_minus_log_p_of_a_model_that_knows_something():
    """Two tokens are shown in either order, each given what is there: p is the mean of the two products, and the integral is −log
    of their geometric mean."""
    alone, given = np.array([0.5, 0.125]), np.array([0.25, 0.75])          # of the right token: with the other masked, and shown

    def integrand(alpha):
        total = 0.0
        for hidden in np.ndindex(2, 2):
            right = [alone[i] if hidden[1 - i] else given[i] for i in range(2)]
            logits = np.log([[[right[i], 1 - right[i]] for i in range(2)]])
            weight = math.prod(1 - alpha if one else alpha for one in hidden)
            total += weight * masked.masked_loss(logits, x_0=np.eye(2)[[[0, 0]]], masked=np.array([hidden]) > 0,
                                                 sigma=np.array([[-math.log(alpha)]]), rate=np.array([[1 / alpha]])).item()
        return total

    found, _ = quad(integrand, 0, 1)
    orders = alone * given[::-1]                                             # the first token first, and the second first
    assert found == pytest.approx(-np.log(orders).mean()) and found > -math.log(orders.mean()) + 0.01


def test_the_loss_is_the_limit_of_the_absorbing_chain():
    """The term of a step from α to α (1 − β), by the chain of symbols with the mask as a class, divided by its length."""
    logits, alpha, short = RNG.normal(size=(1, 1, 3)), 0.4, 1e-6
    level = np.full((1, 1, 1), math.log(alpha))
    step = Step(np.full((1, 1, 1), short), level, level + math.log1p(-short))
    with_mask = np.concatenate([logits, np.full((1, 1, 1), -800.0)], axis=-1)
    term = categorical.step_kl(with_mask, x_0=np.eye(4)[[[1]]], x_t=np.eye(4)[[[3]]], step=step, mixing="joint", law=np.eye(4)[3])
    limit = masked.masked_loss(logits, x_0=np.eye(3)[[[1]]], masked=np.array([[True]]), sigma=-level[0],
                               rate=np.array([[1.0]]))                         # dσ/dt of e^−σ = ∏(1 − β)
    assert term.item() / short == pytest.approx(limit.item(), rel=1e-5)


def test_a_step_is_that_of_the_absorbing_chain():
    """From α_t = 0.3 to α_s = 0.45, with the mask as a class that the network never says; a token that is there stays."""
    logits, high, low = RNG.normal(size=(1, 3, 3)), -math.log(0.3), -math.log(0.45)
    x_t = np.eye(4)[[[3, 1, 3]]]
    step = Step(*(np.full((1, 1, 1), x) for x in (1 - 0.3 / 0.45, -low, -high)))
    with_mask = np.concatenate([logits, np.full((1, 3, 1), -800.0)], axis=-1)
    chain = categorical.reverse(with_mask, x_t, step, mixing="joint", law=np.eye(4)[3]).prob[:, [0, 2]]
    got = masked.reverse(logits, np.array([[high]]), np.array([[low]]), x_t=x_t).prob
    assert got[:, [0, 2]] == pytest.approx(chain, rel=1e-13) and got[0, 0, 3] == pytest.approx(0.55 / 0.7, rel=1e-14)
    assert got[0, 1].tolist() == [0, 1, 0, 0]


def test_a_last_step_shows_every_token_also_from_where_nothing_is_left():
    logits = RNG.normal(size=(1, 1, 3))
    law = masked.reverse(logits, np.array([[1000.0]]), np.array([[0.0]]), x_t=np.eye(4)[[[3]]]).prob[0, 0]
    assert law == pytest.approx([*np.exp(logits[0, 0]) / np.exp(logits[0, 0]).sum(), 0], rel=1e-15, abs=0)


def test_the_ratio_by_hand():
    """σ = 0.7: e^−0.7/(1 − e^−0.7) = 0.9864339; nothing for other classes and for tokens that are there."""
    got = masked.absorbing_ratio(np.array([[0.7]]), x_0=np.eye(3)[[[2, 0]]], masked=np.array([[True, False]]))
    assert got[0, 0] == pytest.approx([0, 0, 0.9864339], abs=5e-8) and got[0, 0, 2] == pytest.approx(
        math.exp(-0.7) / (1 - math.exp(-0.7)), rel=1e-15)
    assert got[0, 1].tolist() == [0, 0, 0]


# -- in the kit ------------------------------------------------------------------------------------------------------------

class Masked:
    """A masked diffusion in float32, by α; matrices with their columns for the state that is left; a law that is given."""

    dtype = "float32"

    def masked_loss(self, logits, x_0, x_t, sigma, dsigma, mask):
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        alpha = np.exp(-sigma)
        nll = -np.take_along_axis(log_p, x_0[..., None], axis=-1)[..., 0] * (x_t == mask)
        return nll.sum(axis=1) * dsigma * alpha / (1 - alpha)

    def masked_reverse(self, logits, x_t, sigma, sigma_next, mask):
        moved, moved_next = (1 - np.exp(-s)[:, None, None] for s in (sigma, sigma_next))
        said = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        law = np.concatenate([said * (moved - moved_next), np.broadcast_to(moved_next, (*x_t.shape, 1))], axis=-1) / moved
        return np.where((x_t == mask)[..., None], law, np.eye(mask + 1, dtype=np.float32)[x_t])

    def absorbing_ratio(self, x_0, x_t, sigma, mask):
        ratio = np.exp(-sigma) / (1 - np.exp(-sigma))
        return np.where((x_t == mask)[..., None], ratio[:, None, None] * np.eye(mask, dtype=np.float32)[x_0], 0)

    def mask_schedule(self, t, eps):
        """By σ and σ′, as they are handed to the loss."""
        sigma = -np.log(eps + (1 - eps) * np.cos(np.pi / 2 * t))
        rate = (1 - eps) * np.pi / 2 * np.sin(np.pi / 2 * t) / (eps + (1 - eps) * np.cos(np.pi / 2 * t))
        return np.exp(-sigma), rate / np.expm1(sigma)

    def mask_sigma(self, t, sigma_min, sigma_max):
        return sigma_min + t * (sigma_max - sigma_min), sigma_max - sigma_min

    def categorical_draw(self, law_p, uniform):
        return (np.log(law_p) - np.log(-np.log(uniform))).argmax(axis=-1)

    def matrix_product(self, matrices):
        return np.stack([matrices[0], matrices[1] @ matrices[0], matrices[2] @ matrices[1] @ matrices[0]])

    def matrix_posterior(self, x_0, x_t, step, before):
        rows = np.arange(len(x_0))[:, None]
        joint = step[rows, x_t] * before[rows, :, x_0]
        return joint / joint.sum(axis=-1, keepdims=True)

    def categorical_marginal(self, x_0, t, beta, classes, law):
        bar = np.cumprod(np.append(1.0, 1 - beta.astype(np.float64)))[t][:, None, None]
        return (bar * np.eye(classes)[x_0] + (1 - bar) * law).astype(np.float32)

    def categorical_prior_kl(self, x_0, beta, classes, law):
        q = self.categorical_marginal(x_0, np.full(len(x_0), len(beta)), beta, classes, law).astype(np.float64)
        return (q * np.log(q / law)).sum(axis=-1).astype(np.float32)


def judged(adapter, **stated):
    subject = Subject(Local(adapter, names=NAMES), chapter.QUANTITIES)
    subject.profile, known = infer(subject, stated)
    results = {name: judge(subject, function, QUICK) for name, function in subject.functions.items()}
    return {name: min(found, key=lambda one: one.verdict == "pass") for name, found in results.items()}, subject.profile


def test_right_ones_pass_and_their_conventions_are_found():
    found, profile = judged(Masked())
    assert {name: result.verdict for name, result in found.items()} == dict.fromkeys(found, "pass"), found
    assert (profile.kernel, profile.orientation, profile.reduction) == ("given", "columns", "sum")
    assert (profile.masking, profile.floor_at, profile.rise) == ("cosine", "end", "linear")


@pytest.mark.parametrize("name,change,words", [
    ("masked_loss", lambda self, logits, x_0, x_t, sigma, dsigma, mask: Masked.masked_loss(
        self, logits, x_0, np.full_like(x_t, mask), sigma, dsigma, mask), "CAT-ALL-TOKENS"),
    ("masked_loss", lambda self, logits, x_0, x_t, sigma, dsigma, mask: Masked.masked_loss(
        self, logits, x_0, x_t, sigma, dsigma, mask) * (1 - np.exp(-sigma)), "0 for 1 in exp(sigma) − 1"),
    ("masked_reverse", lambda self, logits, x_t, sigma, sigma_next, mask: Masked.masked_reverse(
        self, logits, np.full_like(x_t, mask), sigma, sigma_next, mask), "CAT-REMASK"),
    ("masked_reverse", lambda self, logits, x_t, sigma, sigma_next, mask: Masked.masked_reverse(
        self, logits, x_t, sigma, sigma_next, mask) * (1 - (x_t == mask) * np.exp(-sigma)[:, None])[..., None],
     "divisor left out everywhere: 1 − exp(−sigma)"),
    ("mask_schedule", lambda self, t, eps: (1 - Masked.mask_schedule(self, t, eps)[0],
                                                Masked.mask_schedule(self, t, eps)[1]), "CAT-KEPT-MASKS"),
    ("mask_sigma", lambda self, t, sigma_min, sigma_max: (sigma_min ** t * sigma_max ** (1 - t), np.log(sigma_max / sigma_min) * (
        sigma_min ** (1 - t) * sigma_max ** t)), "sigma_min and sigma_max are exchanged"),
    ("mask_sigma", lambda self, t, sigma_min, sigma_max: (sigma_min ** (1 - t) * sigma_max ** t,) * 2,
     "its two outputs are the same"),
    ("absorbing_ratio", lambda self, x_0, x_t, sigma, mask: Masked.absorbing_ratio(
        self, x_0, x_t, sigma, mask) * (1 - np.exp(-sigma))[:, None, None], "CAT-RATIO"),
    ("categorical_draw", lambda self, law_p, uniform: law_p.argmax(axis=-1), "CAT-GREEDY"),
    ("matrix_posterior", lambda self, x_0, x_t, step, before: Masked.matrix_posterior(
        self, x_0, x_t, np.swapaxes(step, 1, 2), before), "CAT-ROW")])
def test_wrong_ones_are_named(name, change, words):
    found, _ = judged(type("Wrong", (Masked,), {name: change})(), orientation="columns", kernel="given", reduction="sum")
    assert found[name].verdict == "wrong" and words in " ".join([found[name].mistake or "", *found[name].also])
