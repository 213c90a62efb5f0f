"""The helpers of the contract."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as npst

from refdpm import gaussian, vjp
from refdpm.networks import swiss_roll


class Pair(NamedTuple):
    a: np.ndarray
    b: tuple


TREE = Pair(np.arange(3.0), (np.ones((2, 2)), np.zeros(1)))


@given(npst.array_shapes(max_dims=4, max_side=4).flatmap(
    lambda shape: st.tuples(st.just(shape), npst.arrays(bool, len(shape)), st.integers(0, len(shape)))))
def test_unbroadcast_is_the_adjoint_of_broadcasting(drawn):
    shape, ones, dropped = drawn
    small = tuple(1 if one else size for one, size in zip(ones, shape))[dropped:]
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(small), rng.standard_normal(shape)
    back = vjp.unbroadcast(w, small)
    assert back.shape == small
    assert (np.broadcast_to(x, shape) * w).sum() == pytest.approx((x * back).sum())


def test_trees_keep_their_structure():
    doubled = vjp.tree_map(lambda x: 2 * x, TREE)
    assert isinstance(doubled, Pair) and type(doubled.b) is tuple
    assert [leaf.sum() for leaf in vjp.leaves(doubled)] == [6, 8, 0]


def test_trees_of_different_structure_are_refused():
    with pytest.raises(ValueError):
        vjp.tree_map(np.add, TREE, Pair(np.arange(3.0), (np.ones((2, 2)),)))


def test_fix_makes_a_named_choice():
    fixed = vjp.fix(swiss_roll, readout="eq65")
    assert fixed.reverse.keywords == {"readout": "eq65"} and fixed.init is swiss_roll.init
    assert vjp.fix(gaussian).kl is gaussian.kl


def test_fix_refuses_a_keyword_that_nothing_takes():
    with pytest.raises(ValueError, match="colour: expected a keyword-only argument"):
        vjp.fix(swiss_roll, colour="red")
