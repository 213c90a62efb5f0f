"""Reverse steps of symbols where x_t rules some classes of x_0 out, and chains of them."""

import numpy as np
import pytest

from refdpm.later import categorical
from refdpm.schedule import Step


@pytest.mark.parametrize("first", [False, True])
def test_the_average_in_the_absorbing_chain_is_over_what_x_t_can_come_from(first):
    """By enumeration over the classes of x_0; and p̂ itself at t = 1 where that is what is asked."""
    rng, mask = np.random.default_rng(3), np.array([0.0, 0.0, 1.0])
    logits, x_t = rng.normal(size=(3, 3)), np.eye(3)
    before = 0.0 if first else np.log(0.6)
    step = Step(*(np.full((3, 1), value) for value in (0.25, before, before + np.log(0.75))))
    q_t, q_before = (level * np.eye(3) + (1 - level) * mask for level in (0.75, np.exp(before)))
    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.zeros((3, 3))
    for n in range(3):
        laws = {k: law / law.sum() for k in range(3) if (law := q_t[:, n] * q_before[k]).sum() > 0}
        expected[n] = sum(said[n, k] * law for k, law in laws.items()) / sum(said[n, k] for k in laws)
    found = categorical.reverse(logits, x_t, step, mixing="average", law=mask).prob
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=0)
    by_d3pm = categorical.reverse(logits, x_t, step, mixing="joint_but_first", law=mask).prob
    if first:
        np.testing.assert_allclose(by_d3pm, said, rtol=1e-14)


def test_a_chain_has_the_law_of_its_steps():
    """From the mask, by enumeration over x_1; 20,000 symbols, and five standard errors."""
    beta, mask, n = np.array([0, 0.4, 0.5]), np.array([0.2, 0.3, 0.5]), 20_000
    rng = np.random.default_rng(5)
    table = rng.normal(size=(3, 3, 3))
    *_, (t, x_0) = categorical.path(beta, symbols=np.full((n, 1), 2), network=lambda x, t: table[t[:, None], x],
                                    noise=rng.uniform(size=(2, n, 1, 3)), mixing="joint", law=mask)
    first, then = ((1 - b) * np.eye(3) + b * mask for b in beta[1:])

    def step(x, t):
        said = np.exp(table[t, x]) / np.exp(table[t, x]).sum()
        if t == 1:
            joint = first[:, x] * said
        else:
            joint = then[:, x] * (said @ first)
        return joint / joint.sum()

    law = sum(step(2, 2)[x] * step(x, 1) for x in range(3))
    found = np.bincount(x_0[:, 0], minlength=3) / n
    assert t == 0 and np.all(np.abs(found - law) < 5 * np.sqrt(law * (1 - law) / n)), (found, law)
