"""Consistent: every `f_vjp` is the adjoint of its `f`.  One test for all pairs; it says nothing about whether f is right."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from refdpm import gradcheck
from refdpm.conformance import cases

PAIRS = list(gradcheck.pairs(cases.PAIR_MODULES))
seeds = st.integers(0, 2 ** 32 - 1)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_pair(pair):
    """Adjoint gap per argument, value bitwise, pure, linear, inputs untouched, complex in and out, guard, symmetry."""
    @given(cases.CASES[pair.name], seeds)
    def check(case, seed):
        arguments, fixed = case
        rng = np.random.default_rng(seed)
        for name, gap in gradcheck.gaps(pair, arguments, fixed, rng).items():
            assert gap <= gradcheck.GAP, f"{pair.name}, {name}: adjoint gap {gap:.1e}"
        assert not gradcheck.breaches(pair, arguments, fixed, rng)

    check()
