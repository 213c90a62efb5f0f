"""How accurate every pair of the package is: its values and its pullbacks against the textbook in as many digits as it takes.

    units = |float64 − exact| / (u · scale),   u = 2⁻⁵³

with the exact value from `textbook.digits`, and the scale of an accurate evaluation from `textbook.rounding`.  A gradient is
compared with the slope of the printed formula, which no hand has derived.  The worst of it is found for every function, over
the cases of its pair and over its *ends*: β from 1e-15 to 1, ℓ down to −700, variances from 1e-12 to 1e6, apart and all but
equal.  A function in good order costs a few roundings; `LIMIT` is what is accepted.  One that is written badly (1 − exp ℓ, the log
of a product, log(1 + eˣ)) costs thousands, or all there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from refdpm.conformance import cases
from refdpm.conformance.chapters import ENDS
from refdpm.conformance.in_textbook import Judged, book, function, in_textbook
from refdpm.textbook.digits import digits
from refdpm.textbook.expression import E, versions
from refdpm.textbook.page import Page
from refdpm.textbook.rounding import rounding, units
from refdpm.textbook.slope import argument_of, gradient, named_cotangents, slopes as slopes_of
from refdpm.vjp import Array, Tree, leaves, tree_map

BOOK = book()
finite = np.frompyfunc(lambda x: x.is_finite(), 1, 1)
LIMIT = 8.0
SEED = 2015
CASES, ROWS = 2, 40                     # of each pair: drawn cases, and rows of its ends

Case = tuple[tuple[Any, ...], dict[str, Any]]


class Accuracy(NamedTuple):
    """The worst error of one number of a pair, in units of u·scale, and where it is."""

    name: str
    units: float
    where: str


def accuracy(thorough: bool = False, *, names: tuple[str, ...] | None = None, slopes: bool = True) -> list[Accuracy]:
    """The worst units of every function, of its values and with `slopes` of its pullbacks, or of the named ones; the same at every
    call."""
    worst: dict[str, Accuracy] = {}
    for name in BOOK if names is None else names:
        for case in cases_of(name, thorough):
            book = in_textbook(name, *case)
            for found in (*values(name, *case, exact_values(name, *case, book)),
                          *(pullbacks(name, *case, exact_pullbacks(name, *case, book)) if slopes and name in cases.CASES else ())):
                if found.name not in worst or found.units > worst[found.name].units:
                    worst[found.name] = found
    return list(worst.values())


def cases_of(name: str, thorough: bool = False) -> Iterator[Case]:
    """The pair's own cases, and rows of its ends; without cases of what the textbook does not have, which serve the adjoint."""
    if name in cases.CASES:
        drawn = cases.examples(name, count=CASES * (5 if thorough else 1))
        yield from (case for case in drawn if not any(map(cases.beyond_the_textbook, case[1].values())))
    samplers = ENDS.get(name, ())
    for sampler in samplers if isinstance(samplers, tuple) else (samplers,):
        yield sampler(np.random.default_rng(SEED), ROWS * (5 if thorough else 1))


# -- one case ----------------------------------------------------------------------------------------------------------

class Exact(NamedTuple):
    """What the textbook says to one case, leaf by leaf: the exact numbers and their scales, by name; and the page."""

    numbers: dict[str, Array]
    scales: dict[str, Array]
    page: Page


def values(name: str, arguments: tuple[Tree, ...], fixed: dict[str, Any], exact: Exact | None = None) -> Iterator[Accuracy]:
    """The worst of each leaf of a value."""
    exact = exact or exact_values(name, arguments, fixed)
    got = leaves(function(name)(*arguments, **fixed))
    for leaf, value in zip(exact.numbers, got, strict=True):
        yield from _compared(leaf, np.asarray(value), exact.numbers[leaf], exact.scales[leaf], exact.page)


def pullbacks(name: str, arguments: tuple[Tree, ...], fixed: dict[str, Any], exact: Exact | None = None) -> Iterator[Accuracy]:
    """The worst of the cotangent of each leaf of the arguments, for a random cotangent."""
    exact = exact or exact_pullbacks(name, arguments, fixed)
    value, back = function(f"{name}_vjp")(*arguments, **fixed)
    for leaf, got in _by_name(name, arguments, fixed, back(_cotangent(value))).items():
        if leaf in exact.numbers:
            yield from _compared(f"{name} pullback to {leaf}", got, exact.numbers[leaf], exact.scales[leaf], exact.page,
                                 only_finite=True)


def exact_values(name: str, arguments: tuple[Tree, ...], fixed: dict[str, Any], book: Judged | None = None) -> Exact:
    """The leaves of the value of a function; with the call in the textbook, if somebody has it."""
    book = book or in_textbook(name, arguments, fixed)
    names = [f"{name} {number}" if len(book.formulas) > 1 else name for number in range(len(book.formulas))]
    right, lost = exactly(book.formulas, book.page)
    return Exact(dict(zip(names, right)), dict(zip(names, lost)), book.page)


def exact_pullbacks(name: str, arguments: tuple[Tree, ...], fixed: dict[str, Any], book: Judged | None = None) -> Exact:
    """The gradients with respect to the leaves of the arguments; a scale is the least of those that the forms of a formula have.

    What the value has in common with them is known where the call is one whose value is.
    """
    cotangent = _cotangent(function(name)(*arguments, **fixed))
    book = book or in_textbook(name, arguments, fixed)
    page = book.page.beside(**{f"w{i}": w for i, w in enumerate(leaves(cotangent))})
    found = []
    for formulas in versions(book.formulas):
        slope_of = slopes_of(formulas, named_cotangents(len(formulas)))
        read = [leaf for leaf in slope_of if argument_of(leaf) in book.names]
        right, lost = exactly([slope_of[leaf] for leaf in read], page)
        found.append((gradient(read, right, page), gradient(read, lost, page, sizes=True)))
    (exact, _), *_ = found
    least = {leaf: np.fmin.reduce([np.abs(scale[leaf]) for _, scale in found if leaf in scale]) for leaf in exact}
    return Exact({leaf: _below_rate_1(leaf, value, page) for leaf, value in exact.items()}, least, page)


def _below_rate_1(leaf: str, slope: Array, page: Page) -> Array:
    """The slope by a rate, but not a number where the rate is 1 and √(1 − β) has none."""
    held = np.asarray(page.given[leaf])
    if not leaf.endswith("beta") or held.shape != slope.shape:
        return slope
    return np.asarray(np.where(held == 1, np.array(Decimal("NaN"), dtype=object), slope))


def exactly(formulas: list[E], page: Page) -> tuple[list[Array], list[Array]]:
    """The values of formulas in digits, and the scales of an accurate evaluation."""
    def lost(nodes: Mapping[E, Array]) -> list[Array]:
        return [part.scale for part in rounding(formulas, page, accurate=True, known=nodes, memo=page.memo("accurate"))]

    found = digits(formulas, page, lost=lost)
    return found.values, found.scales


def _cotangent(value: Tree) -> Tree:
    rng = np.random.default_rng(SEED)
    return tree_map(lambda leaf: rng.standard_normal(np.shape(leaf)), value)


def _by_name(name: str, arguments: tuple[Tree, ...], fixed: dict[str, Any], got: Tree) -> dict[str, Array]:
    """What a pullback gives, by the names of the leaves of the arguments."""
    trees = got if len(arguments) > 1 else (got,)
    return dict(zip(in_textbook(name, arguments, fixed).names, map(np.asarray, leaves(trees)), strict=True))


def _compared(name: str, value: Array, exact: Array, scale: Array, page: Page, *, only_finite: bool = False) -> Iterator[Accuracy]:
    """The worst entry; of a derivative only where there is one."""
    if np.broadcast_shapes(value.shape, exact.shape) != value.shape:
        yield Accuracy(name, float("inf"), f"shape {value.shape}, expected {exact.shape}")
    elif value.size:
        exact = np.broadcast_to(exact, value.shape)
        far = units(value, exact, np.broadcast_to(scale, value.shape))
        far = np.where(np.asarray(finite(exact), dtype=bool), far, 0.0) if only_finite else far
        at = np.unravel_index(int(np.argmax(far)), value.shape)
        numbers = {key: np.asarray(held) for key, held in page.given.items() if np.asarray(held).dtype.kind == "f"}
        where = ", ".join(f"{key} = {_entry(held, at):.6g}" for key, held in numbers.items())
        yield Accuracy(name, float(far[at]), f"at {tuple(map(int, at))}: {where}")


def _entry(held: Array, at: tuple[Any, ...]) -> float:
    """The entry of an argument that belongs to an entry of the value, as far as the shapes say which."""
    place = tuple(min(int(i), size - 1) for i, size in zip(at, held.shape))
    return float(np.ravel(held[place] if held.size else 0.0)[0])
